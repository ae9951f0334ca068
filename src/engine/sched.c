/* The scheduler: what a step computes, and what becomes of its results. Runs on the engine thread.
 * A step is one row for every sequence that decodes, and then some parts of the slice of prompts
 * that is under way: sized by slice.c, so that who decodes waits a bounded time.
 * Rank decides who gets pages: interactive before background, then the older; when the pool is
 * full, the lowest rank is parked: its pages fall to the prefix tree, and later it computes again
 * what was evicted meanwhile, to the same bits. So the highest rank always goes on. */
#include "engine/engine.h"
#include "base/os.h"
#include "engine/plan.h"
#include "engine/store.h"

#include <assert.h>
#include <string.h>

enum {
    PROGRESS_NS = 50000000,
    ALONE_NS = 100000000, /* a turn of a slice when nobody decodes */
    ONLY_MAX = 64         /* rows beside other sequences */
};

struct step {
    struct plan now, slice; /* slice: n_parts > 0 while one is under way */
    struct model_pass pass; /* of the slice */
    struct slice_run run;
    float *logits;        /* (n_vocab): the row that is sampled from */
    uint32_t *mask;       /* (n_vocab) bits */
    struct hold_top *top; /* (TOP_MAX) */
};

bool sched_model_init(struct hold_model *m, struct err *e) {
    size_t rows = (size_t)m->info.n_ubatch, seqs = (size_t)m->info.n_parallel;
    size_t vocab = (size_t)m->info.n_vocab;
    struct step *st = m->step = mem_calloc(1, sizeof *st);
    m->active = mem_calloc(seqs, sizeof(struct hold_request *));
    if (st)
        *st = (struct step){.logits = mem_aligned(vocab * sizeof *st->logits),
                            .mask = mem_array((vocab + 31) / 32, sizeof *st->mask),
                            .top = mem_array(N_PROBS_MAX, sizeof *st->top)};
    return (m->active && st && plan_alloc(&st->now, rows, seqs) &&
            plan_alloc(&st->slice, rows, seqs) && st->logits && st->mask && st->top) ||
           err_nomem(e, "the buffers of a step", vocab * sizeof *st->logits);
}

void sched_model_free(struct hold_model *m) {
    struct step *st = m->step;
    if (st) {
        plan_free(&st->now);
        plan_free(&st->slice);
        mem_free_aligned(st->logits);
        mem_free(st->mask);
        mem_free(st->top);
    }
    mem_free(st);
    mem_free(m->active);
}

/* ---- ranks and lists ---------------------------------------------------------------------- */
static bool ranks_before(const struct hold_request *a, const struct hold_request *b) {
    if (a->o.priority != b->o.priority) return a->o.priority < b->o.priority;
    return a->id < b->id;
}

static void wait_in_line(struct hold_request *r) {
    struct hold_request **at = &r->model->waiting;
    while (*at && ranks_before(*at, r)) at = &(*at)->next;
    r->next = *at;
    *at = r;
    r->model->n_waiting++;
}

static bool has_work(const struct hold_model *m) {
    return m->n_active || m->waiting;
}

void sched_enqueue(struct hold_request *r) {
    struct hold_model *m = r->model;
    if (!has_work(m)) { /* idle time is not saved up */
        uint64_t least = UINT64_MAX;
        for (struct hold_model *o = m->eng->models; o; o = o->next)
            if (has_work(o) && o->spent_ns < least) least = o->spent_ns;
        if (least != UINT64_MAX && m->spent_ns < least) m->spent_ns = least;
    }
    r->state = REQUEST_WAITING;
    wait_in_line(r);
}

static void leave_active(struct hold_request *r) {
    struct hold_model *m = r->model;
    int i = 0;
    plan_leave(&m->step->now, r);
    plan_leave(&m->step->slice, r);
    while (m->active[i] != r) i++;
    m->active[i] = m->active[--m->n_active];
    m->active[m->n_active] = NULL;
}

static void leave_line(struct hold_request *r) {
    struct hold_request **at = &r->model->waiting;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    r->model->n_waiting--;
    if (r->state == REQUEST_PARKED) r->model->n_parked--;
}

static struct hold_request *lowest_rank(struct hold_engine *eng) {
    struct hold_request *low = NULL;
    for (struct hold_model *m = eng->models; m; m = m->next)
        for (int i = 0; i < m->n_active; i++)
            if (!low || ranks_before(low, m->active[i])) low = m->active[i];
    return low;
}

/* ---- ends --------------------------------------------------------------------------------- */
static double ms(uint64_t from, uint64_t to) {
    return from && to > from ? (double)(to - from) / 1e6 : 0;
}

/* Takes the request out of everything; its last event has been put. */
static void end(struct hold_request *r, bool keep) {
    bool ran = r->state != REQUEST_WAITING && r->state != REQUEST_PARKED;
    if (keep && ran) seq_share_tail(&r->seq, r->model);
    if (ran) leave_active(r);
    else leave_line(r);
    seq_leave(&r->seq, r->model);
    sampler_free(r->seq.sampler);
    grammar_end(r->seq.grammar);
    r->seq.sampler = NULL;
    r->seq.grammar = NULL;
    r->eng->tight = false;
    r->state = REQUEST_ENDED;
    request_unref(r);
}

static void finish(struct hold_request *r, enum hold_finish why) {
    uint64_t now = os_now_ns();
    struct hold_stats *st = &r->model->stats;
    output_finish(&r->output, why == HOLD_FINISH_LENGTH || why == HOLD_FINISH_CANCELLED);
    uint64_t first = r->first_ns ? r->first_ns : now;
    struct hold_event ev = {
        .kind = HOLD_DONE,
        .done = {.finish = why,
                 .stop = r->output.stopped,
                 .n_prompt = r->seq.n_prompt,
                 .n_cached = r->n_cached > 0 ? r->n_cached : 0,
                 .n_generated = r->seq.n - r->seq.n_prompt,
                 .n_reasoning = r->output.n_reasoning,
                 .n_ctx = r->model->info.n_ctx,
                 .queue_ms = ms(r->submitted_ns, r->started_ns ? r->started_ns : now),
                 .prefill_ms = ms(r->started_ns, first),
                 .decode_ms = ms(r->first_ns, now),
                 .ttft_ms = ms(r->submitted_ns, r->first_ns)}};
    if (!r->o.no_ledger && r->output.n_pieces)
        replay_keep(r->eng->ledger, r->scope, &r->output, r->seq.token + r->seq.n_prompt,
                    r->seq.n - r->seq.n_prompt);
    st->n_finished++;
    if (why == HOLD_FINISH_CANCELLED) st->n_cancelled++;
    events_put(&r->events, &ev);
    end(r, true);
}

static void fail(struct hold_request *r, const struct err *e) {
    struct hold_event ev = {.kind = HOLD_ERROR};
    output_finish(&r->output, true);
    error_out(&ev.error, e);
    ev.error.n_prompt = r->seq.n_prompt;
    ev.error.n_ctx = r->model->info.n_ctx;
    r->model->stats.n_failed++;
    events_put(&r->events, &ev);
    end(r, false);
}

/* Calls fn for every request of a model; fn may end it. */
static void each_request(struct hold_model *m, void (*fn)(struct hold_request *r, void *ctx),
                         void *ctx) {
    for (int i = m->n_active - 1; i >= 0; i--) fn(m->active[i], ctx);
    for (struct hold_request *r = m->waiting, *next; r; r = next) {
        next = r->next;
        fn(r, ctx);
    }
}

static void reap(struct hold_request *r, void *ctx) {
    (void)ctx;
    if (atomic_load(&r->cancelled)) finish(r, HOLD_FINISH_CANCELLED);
}
static void cancel(struct hold_request *r, void *ctx) {
    (void)ctx;
    finish(r, HOLD_FINISH_CANCELLED);
}
void sched_cancel_all(struct hold_model *m) {
    each_request(m, cancel, NULL);
}

/* ---- parking and admission ---------------------------------------------------------------- */
static void park(struct hold_request *r) {
    leave_active(r);
    seq_share_tail(&r->seq, r->model);
    seq_leave(&r->seq, r->model);
    r->state = REQUEST_PARKED;
    r->model->n_parked++;
    r->eng->tight = true;
    wait_in_line(r);
}

static int n_active_all(const struct hold_engine *eng) {
    int n = 0;
    for (const struct hold_model *m = eng->models; m; m = m->next) n += m->n_active;
    return n;
}

/* Whether pages for the whole sequence could be had now. A parked one asks for a margin and waits
 * until somebody has ended, so that it does not come back only to be parked again. */
static bool fits(const struct hold_request *r) {
    const struct hold_engine *eng = r->eng;
    uint64_t need = seq_bytes(r->model, r->seq.n);
    if (r->state == REQUEST_PARKED && eng->tight) return false;
    if (r->state == REQUEST_PARKED) need += need / 4 + 2 * seq_bytes(r->model, 1);
    return pages_budget(eng->pool) - pages_used(eng->pool) + prefix_evictable(eng->prefix) >= need;
}

/* The message that token i of the prompt belongs to, or -1. */
static int message_at(const struct hold_request *r, int i) {
    size_t at = 0;
    const struct vocab *v = r->model->vocab;
    for (int k = r->bos_added; k < i; k++) at += vocab_bytes(v, r->seq.token[k], true).len;
    for (size_t k = 0; k < r->n_span; k++)
        if (at < r->span[k].start + r->span[k].len) return r->span[k].message;
    return -1;
}

static void explain(struct hold_request *r, const struct prefix_path *path) {
    enum { SHOWN = 24 };
    int32_t behind[SHOWN];
    const struct seq *s = &r->seq;
    const struct vocab *v = r->model->vocab;
    int n = path->node ? prefix_behind(path, behind, SHOWN) : 0, left = s->n - path->n;
    struct hold_miss miss = {.n_prompt = s->n_prompt,
                             .n_cached = r->n_cached,
                             .n_match = path->n,
                             .cached = n ? behind[0] : -1,
                             .found = left ? s->token[path->n] : -1,
                             .message = message_at(r, path->n)};
    const struct {
        const int32_t *id;
        int n;
        char *out;
    } side[] = {{behind, n, miss.cached_text},
                {s->token + path->n, left < SHOWN ? left : SHOWN, miss.found_text}};
    for (int i = 0; i < 2; i++) {
        size_t len = 0;
        for (int k = 0; k < side[i].n; k++) {
            struct str t = vocab_bytes(v, side[i].id[k], true);
            if (len + t.len >= sizeof miss.cached_text) break;
            if (t.len) memcpy(side[i].out + len, t.p, t.len);
            len += t.len;
        }
        side[i].out[utf8_complete(side[i].out, len)] = 0;
    }
    pthread_mutex_lock(&r->miss_lock);
    r->miss = miss;
    r->has_miss = true;
    pthread_mutex_unlock(&r->miss_lock);
}

static void progress(struct hold_request *r, uint64_t now) {
    if (now - r->progress_ns < PROGRESS_NS) return;
    r->progress_ns = now;
    events_put(&r->events, &(struct hold_event){.kind = HOLD_PROGRESS,
                                                .progress = {.n_done = r->seq.n_past,
                                                             .n_total = r->seq.n_prompt,
                                                             .n_cached = r->n_cached}});
}

/* Most tokens that may come from the cache: one is left to compute, if its logits are needed. */
static int reuse_limit(const struct hold_request *r) {
    int limit = r->o.max_tokens == 0 && !request_streams(r) ? r->seq.n : r->seq.n - 1;
    return request_streams(r) && r->o.logits_from < limit ? (int)r->o.logits_from : limit;
}

/* Makes a waiting request active. */
static void start(struct hold_request *r) {
    struct hold_model *m = r->model;
    struct prefix_path path = {0};
    bool again = r->state == REQUEST_PARKED;
    leave_line(r);
    m->active[m->n_active++] = r;
    r->state = REQUEST_PREFILL;
    m->key.tenant = r->tenant;
    if (!r->o.no_cache) seq_adopt(&r->seq, m, reuse_limit(r), &path);
    if (store_fetch(&r->seq, m, reuse_limit(r))) r->state = REQUEST_FETCH;
    if (again) return;
    struct err e = {0};
    if (r->grammar && !(r->seq.grammar = grammar_start(r->grammar, m->grammar_vocab, &e))) {
        fail(r, &e);
        return;
    }
    uint64_t now = os_now_ns();
    r->n_cached = r->seq.n_past;
    r->started_ns = now;
    for (int i = 0; i < r->seq.n && r->seq.sampler; i++)
        sampler_accept(r->seq.sampler, r->seq.token[i]);
    m->stats.n_prompt_tokens += (uint64_t)r->seq.n_prompt;
    m->stats.n_cached_tokens += (uint64_t)r->n_cached;
    explain(r, &path);
    progress(r, now);
    if (r->seq.n_past == r->seq.n && !r->seq.fetching) finish(r, HOLD_FINISH_LENGTH);
}

/* Pages that have come from the disk; then the next ones, or what is left is computed. */
static void take_fetched(struct hold_request *r, void *ctx) {
    struct seq *s = &r->seq;
    (void)ctx;
    if (r->state != REQUEST_FETCH || !atomic_load(&s->fetch.done)) return;
    int before = s->n_past;
    bool more = store_take(s, r->model) && store_fetch(s, r->model, reuse_limit(r));
    if (!r->first_ns) {
        r->n_cached += s->n_past - before;
        r->model->stats.n_cached_tokens += (uint64_t)(s->n_past - before);
        pthread_mutex_lock(&r->miss_lock);
        r->miss.n_cached = r->n_cached;
        pthread_mutex_unlock(&r->miss_lock);
    }
    progress(r, os_now_ns());
    if (more) return;
    r->state = REQUEST_PREFILL;
    if (s->n_past == s->n) finish(r, HOLD_FINISH_LENGTH);
}

static void admit(struct hold_model *m) {
    while (m->waiting) {
        struct hold_request *r = m->waiting;
        if (m->n_active == m->info.n_parallel) { /* only for somebody of a higher class */
            struct hold_request *low = m->active[0];
            for (int i = 1; i < m->n_active; i++)
                if (ranks_before(low, m->active[i])) low = m->active[i];
            if (low->o.priority <= r->o.priority) return;
            park(low);
        }
        if (n_active_all(m->eng) > 0 && !fits(r)) return;
        start(r);
    }
}

/* ---- planning ----------------------------------------------------------------------------- */
static bool ready(struct hold_request *r, enum request_state state) {
    return r->state == state && events_have_room(&r->events);
}

/* The prompt to go on with: of the highest class, the one with the least left, where waiting counts
 * as if half the time since then had been its own. */
static struct hold_request *next_prefill(struct hold_model *m, uint64_t now) {
    struct hold_request *best = NULL;
    double best_left = 0, rate = m->stats.prefill_rate;
    for (int i = 0; i < m->n_active; i++) {
        struct hold_request *r = m->active[i];
        if (plan_has(&m->step->now, r) || plan_has(&m->step->slice, r)) continue;
        if (!ready(r, REQUEST_PREFILL)) continue;
        double left = r->seq.n - r->seq.n_past - ms(r->submitted_ns, now) / 1e3 * rate / 2;
        bool better = !best || r->o.priority < best->o.priority ||
                      (r->o.priority == best->o.priority && left < best_left);
        if (better) best = r, best_left = left;
    }
    return best;
}

/* Takes over what another sequence has computed of the same prompt meanwhile. */
static void catch_up(struct hold_request *r) {
    int before = r->seq.n_past, limit = reuse_limit(r);
    seq_catch_up(&r->seq, r->model, limit < r->seq.n ? limit : limit - 1);
    if (!r->first_ns) r->n_cached += r->seq.n_past - before;
}

/* Prompts join until `left` rows are taken; whole: only with all that is left of them. */
static void plan_prompts(struct hold_model *m, struct plan *p, int left, bool whole) {
    uint64_t now = os_now_ns();
    while (left > 0 && p->n_parts < m->info.n_parallel) {
        struct hold_request *r = next_prefill(m, now);
        if (!r) return;
        catch_up(r);
        int n = r->seq.n - r->seq.n_past, before = p->n_rows;
        if (whole && n > left) return;
        plan_add(p, r, n < left ? n : left);
        if (p->n_rows == before) return; /* its consumer has to read logits first */
        left -= p->n_rows - before;
    }
}

/* Who decodes, and what is as little as that. */
static void plan_now(struct hold_model *m) {
    struct plan *p = &m->step->now;
    plan_clear(p);
    for (int i = 0; i < m->n_active && p->n_rows < m->info.n_ubatch; i++)
        if (ready(m->active[i], REQUEST_DECODE)) {
            int n = m->active[i]->seq.n - m->active[i]->seq.n_past;
            int room = m->info.n_ubatch - p->n_rows - (m->n_active - i - 1);
            plan_add(p, m->active[i], n < room ? n : room);
        }
    if (p->n_rows > p->n_decode) return; /* tokens that a grammar forced */
    plan_prompts(m, p, slice_ride(&m->rates, p->n_decode, m->eng->o.prefill_share), true);
}

static bool pause_slice(void *ctx, int part) {
    struct hold_model *m = ctx;
    return slice_pause(&m->step->run, part, os_now_ns());
}

/* No page can be had although nobody else runs. */
static void out_of_pages(struct hold_request *r) {
    struct hold_model *m = r->model;
    struct err e = {0};
    if (r->state == REQUEST_DECODE) {
        finish(r, HOLD_FINISH_LENGTH);
        return;
    }
    err_set(&e, ERR_OVERFLOW,
            "the prompt of %d tokens needs %llu MiB of K/V cache and the budget is %llu MiB; raise "
            "the budget or choose a smaller K/V type",
            r->seq.n_prompt, (unsigned long long)(seq_bytes(m, r->seq.n) >> 20),
            (unsigned long long)(pages_budget(m->eng->pool) >> 20));
    fail(r, &e);
}

/* Pages for every part, by rank; whoever has to give way leaves the plan. */
static void cover(struct hold_model *m, struct plan *p) {
    for (int done = 0; done < p->n_parts; done++) {
        int first = done;
        for (int i = done; i < p->n_parts; i++)
            if (!p->part[first].r || (p->part[i].r && ranks_before(p->part[i].r, p->part[first].r)))
                first = i;
        struct plan_part part = p->part[first];
        p->part[first] = p->part[done];
        p->part[done] = part;
        while (p->part[done].r && !seq_cover(&part.r->seq, m, part.n)) {
            struct hold_request *low = lowest_rank(m->eng);
            if (low == part.r && n_active_all(m->eng) == 1) out_of_pages(part.r);
            else park(low);
        }
    }
}

/* Everything that the results will need, so that they allocate nothing. */
static void reserve(struct hold_model *m, struct plan *p) {
    struct err e = {0};
    int nodes = 0;
    for (int i = 0; i < p->n_parts; i++) {
        struct plan_part part = p->part[i];
        if (!part.r) continue;
        nodes += part.n / m->eng->page_len + 3; /* pages filled, and tails shared */
        if (prefix_reserve(m->eng->prefix, nodes) && output_reserve(&part.r->output)) continue;
        err_nomem(&e, "an answer", sizeof(struct prefix_node *));
        fail(part.r, &e);
    }
}

/* Pages and memory for a plan, and its batch. false: nobody is left. */
static bool prepare(struct hold_model *m, struct plan *p) {
    cover(m, p);
    reserve(m, p);
    plan_build(p);
    return p->n_parts > 0;
}

/* The next slice, beside n_decode sequences. false: there is nothing to compute. */
static bool plan_slice(struct hold_model *m, int n_decode) {
    struct step *st = m->step;
    plan_clear(&st->slice);
    st->pass = (struct model_pass){.batch = &st->slice.batch, .pause = pause_slice, .ctx = m};
    plan_prompts(m, &st->slice,
                 slice_rows(&m->rates, n_decode, m->info.n_ubatch, model_parts(m->model),
                            m->eng->o.prefill_share),
                 false);
    bool any = st->slice.n_parts > 0;
    prepare(m, &st->slice);
    slice_start(&st->run, &m->rates, st->slice.n_rows);
    return any;
}

/* ---- results ------------------------------------------------------------------------------ */
static void token_event(struct hold_request *r, const struct sampler_choice *c) {
    struct hold_top *top = r->model->step->top;
    int n = c->n_top < N_PROBS_MAX ? c->n_top : N_PROBS_MAX;
    for (int i = 0; i < n; i++) top[i] = (struct hold_top){c->top[i].id, c->top[i].logprob};
    struct str bytes = vocab_bytes(r->model->vocab, c->id, true);
    events_put(&r->events, &(struct hold_event){.kind = HOLD_TOKEN,
                                                .token = {.id = c->id,
                                                          .logprob = c->logprob,
                                                          .bytes = bytes.p,
                                                          .len = bytes.len,
                                                          .n_top = n,
                                                          .top = top}});
}

/* The chosen token joins the sequence and the answer, unless it ends it. false: it is over. */
static bool accept(struct hold_request *r, const struct sampler_choice *c) {
    struct seq *s = &r->seq;
    struct output *out = &r->output;
    struct err e = {0};
    if (r->o.want_tokens) token_event(r, c);
    if (vocab_is_eog(r->model->vocab, c->id) && !r->o.ignore_end) {
        if (output_ends_call(out, c->id)) output_token(out, c->id);
        output_finish(out, false);
        finish(r, out->n_calls ? HOLD_FINISH_CALLS : HOLD_FINISH_STOP);
        return false;
    }
    sampler_accept(s->sampler, c->id);
    s->token[s->n++] = c->id;
    r->model->stats.n_generated_tokens++;
    output_token(out, c->id);
    bool over = out->failed || out->stopped >= 0 || s->n == s->cap;
    if (out->failed) {
        err_nomem(&e, "an answer", out->raw.len);
        fail(r, &e);
    } else if (over) {
        finish(r, out->stopped >= 0 ? HOLD_FINISH_STOP_STRING : HOLD_FINISH_LENGTH);
    }
    return !over;
}

/* Debug builds abort on an allocation in here. */
static void forbid_memory(bool on) {
#ifdef HOLDFAST_DEBUG
    mem_forbid(on ? "a step" : NULL);
#else
    (void)on;
#endif
}

/* A spent reasoning budget: the block is closed with the template's own tokens. */
static bool forced(struct hold_request *r, struct sampler_choice *c) {
    const struct output *out = &r->output;
    bool spent =
        out->thinking && r->o.reasoning_budget >= 0 && out->n_reasoning >= r->o.reasoning_budget;
    if (r->n_forced == r->force.n || (r->n_forced == 0 && !spent)) return false;
    *c = (struct sampler_choice){.id = r->force.id[r->n_forced++]};
    return true;
}

/* Whether the grammar has a say in the next token. One that is not made for whole turns leaves
 * reasoning alone. */
static bool bound(const struct hold_request *r) {
    return r->seq.grammar && (r->grammar_is_turn || !r->output.thinking);
}

static bool choose(struct hold_request *r, const float *logits, struct sampler_choice *c,
                   struct err *e) {
    struct step *st = r->model->step;
    struct seq *s = &r->seq;
    const uint32_t *mask = NULL;
    bool is_bound = bound(r), may_think = !r->grammar_is_turn && s->n == s->n_prompt;
    if (forced(r, c)) {
        if (is_bound) grammar_token(s->grammar, c->id);
        return true;
    }
    if (is_bound) {
        if (!grammar_mask(s->grammar, st->mask)) return err_nomem(e, "the grammar", 0);
        if (may_think && r->think_open >= 0)
            st->mask[r->think_open / 32] |= 1u << r->think_open % 32;
        mask = st->mask;
    }
    memcpy(st->logits, logits, (size_t)r->model->info.n_vocab * sizeof *logits);
    forbid_memory(true);
    bool ok = sampler_choose(s->sampler, st->logits, mask, c, e);
    forbid_memory(false);
    if (!ok) return false;
    if (may_think && c->id == r->think_open) r->output.thinking = true;
    else if (is_bound) grammar_token(s->grammar, c->id);
    return true;
}

/* Tokens that the grammar leaves no choice about join without being sampled; the next step computes
 * them together. Returns how many; *over: the answer has ended with them. */
static size_t accept_only_ones(struct hold_request *r, bool *over) {
    struct err e = {0};
    size_t n = 0;
    r->only.n = 0;
    *over = false;
    if (!bound(r) || !grammar_forced_tokens(r->seq.grammar, &r->only, &e)) return 0;
    size_t room = r->seq.cap > r->seq.n ? (size_t)(r->seq.cap - r->seq.n) : 0;
    for (size_t end = r->only.n < ONLY_MAX ? r->only.n : ONLY_MAX; n < end && n < room; n++) {
        struct sampler_choice c = {.id = r->only.id[n]};
        if (!output_reserve(&r->output) || !grammar_token(r->seq.grammar, c.id)) break;
        *over = !accept(r, &c);
        if (*over) return n + 1;
    }
    return n;
}

static void next_token(struct hold_request *r, const float *logits) {
    struct sampler_choice c;
    struct err e = {0};
    bool over;
    if (accept_only_ones(r, &over) > 0) return;
    if (!choose(r, logits, &c, &e)) fail(r, &e);
    else if (accept(r, &c)) accept_only_ones(r, &over);
}

/* Streams n rows of the step, from `row` on: of logits, or of what the head would read. */
static void stream_rows(struct hold_request *r, float *to, int first, int n, const float *logits,
                        size_t row) {
    struct hold_model *m = r->model;
    bool hidden = r->o.want_hidden;
    int64_t ld = m->info.n_vocab;
    int n_cols = hidden ? m->info.n_embd : m->info.n_vocab;
    const float *rows = hidden ? model_hidden(m->model, &ld) : logits;
    for (int i = 0; i < n; i++)
        memcpy(to + (size_t)i * (size_t)n_cols, rows + ((int64_t)row + i) * ld,
               (size_t)n_cols * sizeof *to);
    struct hold_event ev = {.kind = hidden ? HOLD_HIDDEN : HOLD_LOGITS,
                            .logits = {.first = first, .n_rows = n, .n_cols = n_cols, .rows = to}};
    events_put(&r->events, &ev);
    r->o.logits_from = first + n; /* should it be parked: not again */
}

/* Streams rows and, behind the last token of the sequence, samples the next. Its rows of the step
 * begin with `row`; returns how many they are. */
static int results(struct hold_request *r, struct plan_part p, const float *logits, size_t row) {
    struct hold_model *m = r->model;
    struct seq *s = &r->seq;
    int pos = s->n_past, n_rows = 0;
    int from = pos < r->o.logits_from ? (int)r->o.logits_from : pos;
    if (p.rows && from < pos + p.n) {
        n_rows = pos + p.n - from;
        stream_rows(r, p.rows, from, n_rows, logits, row);
    }
    forbid_memory(true); /* what it needs was reserved */
    seq_advance(s, m, p.n);
    forbid_memory(false);
    uint64_t now = os_now_ns();
    if (s->n_past < s->n) {
        if (r->state == REQUEST_PREFILL) progress(r, now);
        return n_rows;
    }
    if (r->state == REQUEST_PREFILL) seq_share_tail(s, m);
    if (r->o.max_tokens == 0) {
        finish(r, HOLD_FINISH_LENGTH);
        return n_rows;
    }
    if (n_rows == 0) n_rows = 1;
    if (!r->first_ns) r->first_ns = now;
    r->state = REQUEST_DECODE;
    next_token(r, logits + (row + (size_t)n_rows - 1) * (size_t)m->info.n_vocab);
    return n_rows;
}

/* What was computed, in the order of the plan; logits NULL: it failed with e. */
static void take_results(struct plan *p, const float *logits, const struct err *e) {
    size_t row = 0;
    for (int i = 0; i < p->n_parts; i++) { /* n_parts becomes 0 when the last one ends */
        struct plan_part part = p->part[i];
        if (!part.r) continue;
        if (!logits) fail(part.r, e);
        else row += (size_t)results(part.r, part, logits, row);
    }
    plan_clear(p);
}

/* One step of all that decode. */
static void run_now(struct hold_model *m) {
    struct plan *p = &m->step->now;
    struct err e = {0};
    uint64_t begin = os_now_ns();
    forbid_memory(true);
    const float *logits = model_forward(m->model, &p->batch, &e);
    forbid_memory(false);
    uint64_t ns = os_now_ns() - begin;
    slice_measure_step(&m->rates, p->n_decode, p->n_rows - p->n_decode, ns);
    if (p->n_rows == p->n_decode)
        slice_follow(&m->stats.decode_rate, p->n_decode / ((double)ns / 1e9));
    take_results(p, logits, &e);
}

/* A turn of the slice that is under way, beside n_decode sequences. One whose parts turn out to be
 * too long is given up early: nothing of it counts before its end. */
static void run_slice(struct hold_model *m, int n_decode) {
    struct step *st = m->step;
    struct plan *p = &st->slice;
    struct err e = {0};
    double budget = n_decode ? slice_budget(&m->rates, m->eng->o.prefill_share) : ALONE_NS;
    int n_parts = model_parts(m->model);
    slice_turn(&st->run, budget, os_now_ns());
    forbid_memory(true);
    bool ok = model_continue(m->model, &st->pass, &e);
    forbid_memory(false);
    bool coarse = n_decode && p->n_rows > SLICE_MIN && slice_too_coarse(&st->run, budget);
    if (ok && !st->pass.logits && (!coarse || st->pass.part > n_parts / 2)) return;
    if (ok) slice_measure(&m->rates, &st->run, p->n_rows);
    if (st->pass.logits)
        slice_follow(&m->stats.prefill_rate, p->n_rows / ((st->run.ns[0] + st->run.ns[1]) / 1e9));
    if (!ok || st->pass.logits) take_results(p, st->pass.logits, &e);
    else plan_clear(p);
}

static bool model_step(struct hold_model *m) {
    struct step *st = m->step;
    uint64_t begin = os_now_ns();
    admit(m);
    each_request(m, take_fetched, NULL);
    plan_now(m);
    bool any = st->now.n_parts > 0;
    int n_decode = any && prepare(m, &st->now) ? st->now.n_decode : 0;
    if (st->now.n_parts > 0) run_now(m);
    if (st->slice.n_parts > 0) reserve(m, &st->slice); /* others may have used it up */
    else any = plan_slice(m, n_decode) || any;
    any = any || st->slice.n_parts > 0;
    if (st->slice.n_parts > 0) run_slice(m, n_decode);
    m->stats.n_steps += any;
    m->spent_ns += os_now_ns() - begin;
    return any;
}

bool sched_step(struct hold_engine *eng) {
    for (struct hold_model *m = eng->models; m; m = m->next) each_request(m, reap, NULL);
    eng->round++;
    for (;;) { /* the model that has had the least time; the next one if it cannot go on */
        struct hold_model *next = NULL;
        for (struct hold_model *m = eng->models; m; m = m->next)
            if (has_work(m) && m->tried != eng->round && (!next || m->spent_ns < next->spent_ns))
                next = m;
        if (!next) return false;
        next->tried = eng->round;
        if (model_step(next)) return true;
    }
}
