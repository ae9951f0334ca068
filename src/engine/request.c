/* Requests on the caller's side: from options to a sequence that can be queued, and back. Nothing
 * here touches what the engine thread owns; a request crosses over in engine_submit. */
#include "base/limits.h"
#include "base/os.h"
#include "engine/constrain.h"

#include <math.h>
#include <string.h>

void hold_request_options_init(struct hold_request_options *o, size_t size) {
    struct sampler_params p = sampler_defaults();
    struct hold_request_options d = {.size = size,
                                     .text_flags = HOLD_ADD_SPECIAL | HOLD_PARSE_SPECIAL,
                                     .max_tokens = -1,
                                     .reasoning_budget = -1,
                                     .sampling = {.temp = p.temp,
                                                  .top_p = p.top_p,
                                                  .min_p = p.min_p,
                                                  .typical_p = p.typical_p,
                                                  .top_n_sigma = p.top_n_sigma,
                                                  .top_k = p.top_k,
                                                  .min_keep = p.min_keep,
                                                  .repeat_penalty = p.repeat_penalty,
                                                  .presence_penalty = p.presence_penalty,
                                                  .frequency_penalty = p.frequency_penalty,
                                                  .repeat_last_n = p.repeat_last_n,
                                                  .dry_multiplier = p.dry_multiplier,
                                                  .dry_base = p.dry_base,
                                                  .dry_allowed_length = p.dry_allowed_length,
                                                  .dry_last_n = p.dry_last_n,
                                                  .xtc_probability = p.xtc_probability,
                                                  .xtc_threshold = p.xtc_threshold,
                                                  .mirostat = p.mirostat,
                                                  .mirostat_tau = p.mirostat_tau,
                                                  .mirostat_eta = p.mirostat_eta,
                                                  .seed = p.seed}};
    memset(o, 0, size);
    memcpy(o, &d, size < sizeof d ? size : sizeof d);
}

/* ---- parts of a request ------------------------------------------------------------------- */
static bool take_prompt(struct hold_request *r, const struct hold_request_options *o,
                        struct tokens *out, struct err *e) {
    const struct vocab *v = r->model->vocab;
    if (!constrain_text(r, e)) return false;
    if (o->text) {
        if (o->text_len > LIMIT_PROMPT_BYTES)
            return err_set(e, ERR_LIMIT, "a prompt of %zu bytes is larger than the limit of %d",
                           o->text_len, LIMIT_PROMPT_BYTES);
        return vocab_tokenize(v, (struct str){o->text, o->text_len},
                              o->text_flags & HOLD_ADD_SPECIAL, o->text_flags & HOLD_PARSE_SPECIAL,
                              out, e);
    }
    for (size_t i = 0; i < o->n_ids; i++) {
        if (o->ids[i] < 0 || o->ids[i] >= r->model->info.n_vocab)
            return err_set(e, ERR_ARG, "token %zu is %d; the vocabulary has %d", i, (int)o->ids[i],
                           (int)r->model->info.n_vocab);
        if (!tokens_add(out, o->ids[i])) return err_nomem(e, "a prompt", o->n_ids * 4);
    }
    return true;
}

/* What stays of a rendering: the spans, the notes, the tools. */
static bool keep_rendering(struct hold_request *r, struct prompt *p, struct err *e) {
    size_t bytes = p->text.n_span * sizeof *r->span;
    r->notes = p->text.notes;
    p->text.notes = (struct buf){0};
    r->n_span = p->text.n_span;
    r->bos_added = !p->text.has_bos && vocab_special(r->model->vocab)->add_bos;
    r->span = arena_alloc(&r->arena, bytes + 1);
    if (!r->span) return err_nomem(e, "a request", bytes);
    if (bytes) memcpy(r->span, p->text.span, bytes);
    r->tools = json_incref(p->tools);
    return true;
}

/* The parser of the answer, and what ends its reasoning. */
static bool make_parser(struct hold_request *r, const struct prompt *p, struct err *e) {
    const struct vocab *v = r->model->vocab;
    struct toolcall_options how = {.tools = r->tools, /* none, or none to be called: NULL */
                                   .vocab = v,
                                   .prompt = prompt_tail(p),
                                   .no_calls = !r->tools};
    struct str open = p->descr->think_open, close = p->descr->think_close;
    struct tokens first = {0};
    if (r->o.raw) return true;
    bool thinking = prompt_opens_reasoning(p);
    bool ok = output_parse(&r->output, p->descr, &how, thinking, e) &&
              (!close.len || vocab_tokenize(v, close, false, true, &r->force, e)) &&
              (!open.len || thinking || vocab_tokenize(v, open, false, true, &first, e));
    if (first.n && r->o.chat->thinking != 0) r->think_open = first.id[0];
    tokens_free(&first);
    return ok;
}

static bool take_chat(struct hold_request *r, struct tokens *out, struct err *e) {
    struct prompt p;
    struct replay how = {.ledger = r->o.no_ledger ? NULL : r->eng->ledger,
                         .scope = r->scope,
                         .vocab = r->model->vocab,
                         .memo = r->model->memo};
    bool ok = prompt_render(&p, &r->model->templates, &how, r->o.chat, e) &&
              keep_rendering(r, &p, e) && make_parser(r, &p, e) && constrain_chat(r, &p, e);
    *out = p.ids;
    p.ids = (struct tokens){0};
    prompt_free(&p);
    return ok;
}

static bool check_length(const struct hold_request *r, size_t n, struct err *e) {
    int n_ctx = r->model->info.n_ctx;
    bool answers = r->o.max_tokens != 0;
    if (n == 0) return err_set(e, ERR_ARG, "the prompt is empty");
    if (n + answers <= (size_t)n_ctx) return true;
    return err_set(e, ERR_OVERFLOW,
                   "the prompt of %zu tokens exceeds the available context size of %d tokens", n,
                   n_ctx);
}

/* Room for the prompt and the answer, at most the context. */
static bool make_seq(struct hold_request *r, const struct tokens *prompt, struct err *e) {
    int64_t n = (int64_t)prompt->n, n_ctx = r->model->info.n_ctx, cap = n_ctx;
    if (r->o.max_tokens >= 0 && r->o.max_tokens < n_ctx - n) cap = n + r->o.max_tokens;
    if (!seq_init(&r->seq, r->model, (int)cap, e)) return false;
    memcpy(r->seq.token, prompt->id, prompt->n * sizeof *prompt->id);
    r->seq.n = r->seq.n_prompt = (int)n;
    return true;
}

static bool copy_stops(struct hold_request *r, struct str **out, struct err *e) {
    struct str *stop = arena_calloc(&r->arena, r->o.n_stop + 1, sizeof *stop);
    if (!stop) return err_nomem(e, "stop strings", r->o.n_stop * sizeof *stop);
    size_t n = 0;
    for (size_t i = 0; i < r->o.n_stop; i++) {
        size_t len = strlen(r->o.stop[i]);
        stop[n].p = arena_strndup(&r->arena, r->o.stop[i], len);
        if (!stop[n].p) return err_nomem(e, "stop strings", len);
        stop[n++].len = len;
        if (len == 0) return err_set(e, ERR_ARG, "stop string %zu is empty", i);
    }
    *out = stop;
    return true;
}

static bool make_sampler(struct hold_request *r, struct err *e) {
    const struct hold_sampling *s = &r->o.sampling;
    struct hold_model *m = r->model;
    int n_suppress = 0;
    const int32_t *suppress = vocab_suppress(m->vocab, &n_suppress);
    size_t n_bias = s->n_bias + (size_t)n_suppress;
    struct logit_bias *bias = arena_calloc(&r->arena, n_bias + 1, sizeof *bias);
    struct str *breakers = arena_calloc(&r->arena, s->n_dry_breakers + 1, sizeof *breakers);
    if (!bias || !breakers) return err_nomem(e, "sampling", n_bias * sizeof *bias);
    for (size_t i = 0; i < s->n_bias; i++)
        bias[i] = (struct logit_bias){s->bias[i].id, s->bias[i].bias};
    for (int i = 0; i < n_suppress; i++)
        bias[s->n_bias + (size_t)i] = (struct logit_bias){suppress[i], -INFINITY};
    for (size_t i = 0; i < s->n_dry_breakers; i++) breakers[i] = str_of(s->dry_breakers[i]);
    struct sampler_params p = {.temp = s->temp,
                               .top_p = s->top_p,
                               .min_p = s->min_p,
                               .typical_p = s->typical_p,
                               .top_n_sigma = s->top_n_sigma,
                               .top_k = s->top_k,
                               .repeat_penalty = s->repeat_penalty,
                               .presence_penalty = s->presence_penalty,
                               .frequency_penalty = s->frequency_penalty,
                               .repeat_last_n = s->repeat_last_n,
                               .n_ctx = m->info.n_ctx,
                               .dry_multiplier = s->dry_multiplier,
                               .dry_base = s->dry_base,
                               .dry_allowed_length = s->dry_allowed_length,
                               .dry_last_n = s->dry_last_n,
                               .dry_breakers = breakers,
                               .n_dry_breakers = s->n_dry_breakers,
                               .xtc_probability = s->xtc_probability,
                               .xtc_threshold = s->xtc_threshold,
                               .mirostat = s->mirostat,
                               .mirostat_tau = s->mirostat_tau,
                               .mirostat_eta = s->mirostat_eta,
                               .seed = s->seed,
                               .bias = bias,
                               .n_bias = n_bias,
                               .n_probs = r->o.want_tokens ? r->o.n_probs : -1,
                               .min_keep = s->min_keep};
    r->seq.sampler = sampler_new(&p, m->vocab, m->info.n_vocab, e);
    return r->seq.sampler != NULL;
}

/* ---- submit ------------------------------------------------------------------------------- */
static bool check_options(const struct hold_request_options *o, struct err *e) {
    int n_given = (o->chat != NULL) + (o->text != NULL) + (o->ids != NULL);
    if (n_given != 1)
        return err_set(e, ERR_ARG, "a request has exactly one of chat, text and ids; %d are given",
                       n_given);
    if (o->n_probs < 0 || o->n_probs > N_PROBS_MAX)
        return err_set(e, ERR_ARG, "n_probs is %lld; at most %d", (long long)o->n_probs,
                       N_PROBS_MAX);
    if (o->want_hidden && (o->want_logits || o->max_tokens != 0))
        return err_set(e, ERR_ARG,
                       "hidden states are given of a prompt (max_tokens 0), without logits");
    if (o->max_tokens < -1)
        return err_set(e, ERR_ARG, "max_tokens is %lld; -1 means no bound",
                       (long long)o->max_tokens);
    return true;
}

static bool fill(struct hold_request *r, struct err *e) {
    struct hold_model *m = r->model;
    struct tokens prompt = {0};
    struct str *stop = NULL;
    bool ok = check_options(&r->o, e) && copy_stops(r, &stop, e) &&
              events_init(&r->events, request_streams(r) ? m->stream_rows : 0,
                          r->o.want_hidden ? m->info.n_embd : m->info.n_vocab, e);
    if (!ok) return false;
    r->tenant = str_hash(str_of(r->o.cache_key ? r->o.cache_key : ""));
    r->scope = r->tenant ^ m->key.model * 0x9E3779B97F4A7C15u;
    output_init(&r->output, m->vocab, &r->events, stop, r->o.n_stop);
    ok = (r->o.chat ? take_chat(r, &prompt, e) : take_prompt(r, &r->o, &prompt, e)) &&
         check_length(r, prompt.n, e) && make_seq(r, &prompt, e) &&
         (r->o.max_tokens == 0 || make_sampler(r, e));
    r->seq.n_prompt = (int)prompt.n; /* also where it overflows: the error says it */
    tokens_free(&prompt);
    if (!ok) return false;
    r->events.wake = r->o.wake;
    r->events.wake_ctx = r->o.wake_ctx;
    r->events.room = engine_poke;
    r->events.room_ctx = m->eng;
    r->o.chat = NULL; /* the caller's memory is not looked at again */
    r->o.text = r->o.grammar = r->o.cache_key = NULL;
    r->o.ids = NULL;
    r->o.stop = NULL;
    return true;
}

struct hold_request *hold_request_submit(struct hold_model *m, const struct hold_request_options *o,
                                         struct hold_error *error) {
    struct err e = {0};
    struct hold_request *r = mem_calloc(1, sizeof *r);
    if (!r) {
        err_nomem(&e, "a request", sizeof *r);
        error_out(error, &e);
        return NULL;
    }
    r->model = m;
    r->eng = m->eng;
    r->n_cached = -1;
    r->think_open = -1;
    r->submitted_ns = os_now_ns();
    pthread_mutex_init(&r->miss_lock, NULL);
    atomic_init(&r->refs, 1);
    hold_request_options_init(&r->o, sizeof r->o);
    options_take(&r->o, sizeof r->o, o);
    if (!fill(r, &e)) {
        error_out(error, &e);
        if (error) error->n_prompt = r->seq.n_prompt, error->n_ctx = m->info.n_ctx;
        request_unref(r);
        return NULL;
    }
    atomic_init(&r->refs, 2);
    engine_submit(r);
    return r;
}

void request_unref(struct hold_request *r) {
    if (atomic_fetch_sub(&r->refs, 1) > 1) return;
    seq_free(&r->seq);
    grammar_free(r->grammar);
    output_free(&r->output);
    if (r->events.fill.p || r->events.drain.p) events_free(&r->events);
    pthread_mutex_destroy(&r->miss_lock);
    tokens_free(&r->force);
    tokens_free(&r->only);
    buf_free(&r->notes);
    json_decref(r->tools);
    arena_free(&r->arena);
    mem_free(r);
}

/* ---- the consumer's side ------------------------------------------------------------------ */
void hold_request_cancel(struct hold_request *r) {
    atomic_store(&r->cancelled, true);
    engine_poke(r->eng);
}

void hold_request_free(struct hold_request *r) {
    if (!r) return;
    hold_request_cancel(r);
    events_leave(&r->events);
    request_unref(r);
}

int hold_request_next(struct hold_request *r, struct hold_event *ev, int64_t timeout_ms) {
    return events_next(&r->events, ev, timeout_ms);
}

const char *hold_request_raw(const struct hold_request *r, size_t *len) {
    *len = r->output.raw.len;
    return r->output.raw.p ? r->output.raw.p : "";
}

const char *hold_request_notes(const struct hold_request *r) {
    return r->notes.p ? r->notes.p : "";
}

bool hold_request_explain(const struct hold_request *r, struct hold_miss *out) {
    struct hold_request *shared = (struct hold_request *)(uintptr_t)r;
    pthread_mutex_lock(&shared->miss_lock);
    bool has = shared->has_miss;
    if (has) *out = shared->miss;
    pthread_mutex_unlock(&shared->miss_lock);
    return has;
}
