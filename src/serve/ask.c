/* Fields of a body into a struct ask (contracts in ask.h). Nothing is taken over in silence: a
 * field of the wrong type or out of range refuses the request and names itself. */
#include "serve/ask.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/rng.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool ask_refuse(struct http_error *e, int status, const char *param, const char *fmt, ...) {
    va_list ap;
    *e = (struct http_error){.status = status, .param = param};
    e->why.code = status == 503 ? HOLD_ERR_BUSY : status >= 500 ? HOLD_ERR_IO : HOLD_ERR_ARG;
    e->why.pos = -1;
    va_start(ap, fmt);
    vsnprintf(e->why.msg, sizeof e->why.msg, fmt, ap);
    va_end(ap);
    return false;
}

static bool no_memory(struct http_error *e) {
    ask_refuse(e, 503, NULL, "out of memory");
    e->why.code = HOLD_ERR_NOMEM;
    return false;
}

int ask_status(enum hold_code code) {
    static const int status[] = {
        [HOLD_OK] = 200,
        [HOLD_ERR_IO] = 500,
        [HOLD_ERR_FORMAT] = 400,
        [HOLD_ERR_LIMIT] = 400,
        [HOLD_ERR_NOMEM] = 503,
        [HOLD_ERR_ARG] = 400,
        [HOLD_ERR_UNSUPPORTED] = 400,
        [HOLD_ERR_CANCELLED] = 503,
        [HOLD_ERR_OVERFLOW] = 400,
        [HOLD_ERR_BUSY] = 503,
    };
    return status[code];
}

json_t *ask_body(struct http_req *r, struct http_error *e) {
    struct err bad = {0};
    struct str text = http_body(r);
    if (!text.len) {
        ask_refuse(e, 400, NULL, "the body is empty; expected a JSON object");
        return NULL;
    }
    json_t *body = json_parse(text, LIMIT_JSON_BYTES, &bad);
    if (!body && bad.code == ERR_NOMEM) ask_refuse(e, 503, NULL, "%s", bad.msg);
    else if (!body) ask_refuse(e, 400, NULL, "the body is not JSON: %s", bad.msg);
    if (!body || json_is_object(body)) return body;
    json_decref(body);
    ask_refuse(e, 400, NULL, "the body is JSON, but not an object");
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------- */
static void take(double *field, double value) {
    if (!isnan(value)) *field = value;
}

static void take_defaults(struct ask *a) {
    const struct model_config *c = a->entry->config;
    struct hold_sampling *s = &a->o.sampling;
    take(&s->temp, c->temp);
    take(&s->top_p, c->top_p);
    take(&s->min_p, c->min_p);
    take(&s->repeat_penalty, c->repeat_penalty);
    take(&s->presence_penalty, c->presence_penalty);
    take(&s->frequency_penalty, c->frequency_penalty);
    if (!isnan(c->top_k)) s->top_k = (int64_t)c->top_k;
    a->o.max_tokens = c->max_tokens;
    a->o.reasoning_budget = c->reasoning_budget;
}

static uint64_t any_seed(const void *p) {
    struct rng r = {os_now_ns() ^ (uint64_t)(uintptr_t)p};
    return rng_u64(&r);
}

bool ask_open(struct ask *a, struct models *m, const char *model, struct http_error *e) {
    *a = (struct ask){.models = m, .n = 1, .arena.limit = LIMIT_JSON_BYTES};
    a->chat.thinking = -1;
    hold_request_options_init(&a->o, sizeof a->o);
    a->o.sampling.seed = any_seed(a);
    a->entry = models_use(m, model, e);
    if (!a->entry) return false;
    take_defaults(a);
    return true;
}

void ask_free(struct ask *a) {
    models_done(a->models, a->entry);
    json_decref(a->messages);
    json_decref(a->tools);
    json_decref(a->kwargs);
    json_decref(a->custom);
    arena_free(&a->arena);
    *a = (struct ask){0};
}

const char *ask_text(struct ask *a, struct str s) {
    return arena_strndup(&a->arena, s.p ? s.p : "", s.len);
}

static const char *ask_json(struct ask *a, const json_t *value) {
    struct buf text = {0};
    const char *copy = json_write(&text, value) ? ask_text(a, buf_view(&text)) : NULL;
    buf_free(&text);
    return copy;
}

/* ---- plain fields ------------------------------------------------------------------------- */
#define OF(f)       offsetof(struct ask, o.f)
#define SAMPLING(f) offsetof(struct ask, o.sampling.f)
const struct ask_field ask_sampling[] = {
    {"temperature", ASK_REAL, SAMPLING(temp), 0, 100},
    {"top_p", ASK_REAL, SAMPLING(top_p), 0, 1},
    {"top_k", ASK_INT, SAMPLING(top_k), -1, INT32_MAX},
    {"min_p", ASK_REAL, SAMPLING(min_p), 0, 1},
    {"typical_p", ASK_REAL, SAMPLING(typical_p), 0, 1},
    {"top_n_sigma", ASK_REAL, SAMPLING(top_n_sigma), -1, 1e6},
    {"min_keep", ASK_INT, SAMPLING(min_keep), 0, INT32_MAX},
    {"repeat_penalty", ASK_REAL, SAMPLING(repeat_penalty), 0, 100},
    {"repeat_last_n", ASK_INT, SAMPLING(repeat_last_n), -1, INT32_MAX},
    {"presence_penalty", ASK_REAL, SAMPLING(presence_penalty), -100, 100},
    {"frequency_penalty", ASK_REAL, SAMPLING(frequency_penalty), -100, 100},
    {"dry_multiplier", ASK_REAL, SAMPLING(dry_multiplier), 0, 1e6},
    {"dry_base", ASK_REAL, SAMPLING(dry_base), 0, 1e6},
    {"dry_allowed_length", ASK_INT, SAMPLING(dry_allowed_length), 0, INT32_MAX},
    {"dry_penalty_last_n", ASK_INT, SAMPLING(dry_last_n), -1, INT32_MAX},
    {"xtc_probability", ASK_REAL, SAMPLING(xtc_probability), 0, 1},
    {"xtc_threshold", ASK_REAL, SAMPLING(xtc_threshold), 0, 1},
    {"mirostat", ASK_INT, SAMPLING(mirostat), 0, 2},
    {"mirostat_tau", ASK_REAL, SAMPLING(mirostat_tau), 0, 1e6},
    {"mirostat_eta", ASK_REAL, SAMPLING(mirostat_eta), 0, 1e6},
    {"seed", ASK_UINT, SAMPLING(seed), -DBL_MAX, DBL_MAX},
    {"ignore_eos", ASK_BOOL, OF(ignore_end), 0, 1},
};
const size_t ask_n_sampling = sizeof ask_sampling / sizeof *ask_sampling;

static bool take_number(const struct ask_field *f, const json_t *v, void *field) {
    bool whole =
        json_is_integer(v) || (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)) &&
                               fabs(json_real_value(v)) < 9e15);
    int64_t n = json_is_integer(v) ? json_integer_value(v)
                : whole            ? (int64_t)json_real_value(v)
                                   : 0;
    if (f->kind == ASK_REAL) *(double *)field = json_number_value(v);
    else if (!whole) return false;
    else if (f->kind == ASK_INT) *(int64_t *)field = n;
    else if (n >= 0) *(uint64_t *)field = (uint64_t)n;
    return true;
}

static bool take_field(struct ask *a, const struct ask_field *f, const json_t *v,
                       struct http_error *e) {
    void *field = (char *)a + f->offset;
    if (f->kind == ASK_BOOL) {
        if (!json_is_boolean(v))
            return ask_refuse(e, 400, f->name, "'%s': expected true or false", f->name);
        *(bool *)field = json_is_true(v);
        return true;
    }
    const char *what = f->kind == ASK_REAL ? "a number" : "a whole number";
    if (!json_is_number(v)) return ask_refuse(e, 400, f->name, "'%s': expected %s", f->name, what);
    double x = json_number_value(v);
    if (!(x >= f->min && x <= f->max))
        return ask_refuse(e, 400, f->name, "'%s' is %g; expected %s of %g to %g", f->name, x, what,
                          f->min, f->max);
    return take_number(f, v, field) ||
           ask_refuse(e, 400, f->name, "'%s' is %g; expected %s", f->name, x, what);
}

bool ask_fields(struct ask *a, const json_t *body, const struct ask_field *f, size_t n,
                struct http_error *e) {
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(body, f[i].name);
        if (v && !json_is_null(v) && !take_field(a, &f[i], v, e)) return false;
    }
    return true;
}

/* ---- lists -------------------------------------------------------------------------------- */
/* A C string of our own; U+0000 would end it early. */
static const char *plain_text(struct ask *a, const json_t *v, const char *param,
                              struct http_error *e) {
    const char *text = json_string_value(v), *copy = NULL;
    if (!text || strlen(text) != json_string_length(v))
        ask_refuse(e, 400, param, "'%s': expected text%s", param, text ? " without U+0000" : "");
    else if (!(copy = ask_text(a, str_of(text)))) no_memory(e);
    return copy;
}

bool ask_stop(struct ask *a, const json_t *stop, struct http_error *e) {
    if (!stop || json_is_null(stop)) return true;
    size_t n = json_is_array(stop) ? json_array_size(stop) : 1;
    if (n > LIMIT_STOPS)
        return ask_refuse(e, 400, "stop", "%zu stop strings; at most %d", n, LIMIT_STOPS);
    const char **list = arena_calloc(&a->arena, n + 1, sizeof *list);
    if (!list) return no_memory(e);
    a->o.n_stop = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_is_array(stop) ? json_array_get(stop, i) : stop;
        const char *text = plain_text(a, v, "stop", e);
        if (!text) return false;
        if (*text) list[a->o.n_stop++] = text; /* clients send [""] and mean none */
    }
    a->o.stop = list;
    return true;
}

static bool bias_value(const json_t *v, float *out) {
    if (json_is_false(v)) *out = -INFINITY;
    else if (json_is_number(v)) *out = (float)json_number_value(v);
    else return false;
    /* OpenAI's range ends at a ban */
    if (*out <= -100) *out = -INFINITY;
    return !isnan(*out);
}

/* Adds one entry; a text stands for each of its tokens. */
static bool add_bias(struct ask *a, struct hold_bias *list, size_t max, const char *text,
                     int64_t id, float bias, struct http_error *e) {
    int32_t *ids = NULL, one = (int32_t)id;
    size_t n = 1;
    struct hold_error why;
    if (text && !hold_tokenize(a->entry->model, text, strlen(text), 0, &ids, &n, &why))
        return ask_refuse(e, 400, "logit_bias", "%s", why.msg);
    int32_t n_vocab = hold_model_info(a->entry->model)->n_vocab;
    bool ok = text || (id >= 0 && id < n_vocab) ||
              ask_refuse(e, 400, "logit_bias", "there is no token %lld; the vocabulary has %d",
                         (long long)id, (int)n_vocab);
    if (ok && a->o.sampling.n_bias + n > max)
        ok = ask_refuse(e, 400, "logit_bias", "more than %zu tokens", max);
    for (size_t i = 0; ok && i < n; i++)
        list[a->o.sampling.n_bias++] = (struct hold_bias){text ? ids[i] : one, bias};
    hold_free(ids);
    return ok;
}

static bool bias_pair(struct ask *a, struct hold_bias *list, const json_t *pair,
                      struct http_error *e) {
    const json_t *what = json_array_get(pair, 0);
    float bias;
    if (json_array_size(pair) != 2 || !bias_value(json_array_get(pair, 1), &bias) ||
        !(json_is_integer(what) || json_is_string(what)))
        return ask_refuse(e, 400, "logit_bias",
                          "'logit_bias': expected [token or text, bias or false]");
    return add_bias(a, list, LIMIT_BIASES, json_string_value(what), json_integer_value(what), bias,
                    e);
}

bool ask_bias(struct ask *a, const json_t *bias, struct http_error *e) {
    if (!bias || json_is_null(bias)) return true;
    struct hold_bias *list = arena_calloc(&a->arena, LIMIT_BIASES, sizeof *list);
    if (!list) return no_memory(e);
    a->o.sampling.bias = list;
    size_t i;
    json_t *v;
    const char *key;
    bool ok = json_is_array(bias) || json_is_object(bias) ||
              ask_refuse(e, 400, "logit_bias", "'logit_bias': expected an object");
    if (json_is_array(bias)) json_array_foreach(bias, i, v) if (ok) ok = bias_pair(a, list, v, e);
    if (json_is_object(bias)) json_object_foreach((json_t *)bias, key, v) {
            char *end;
            float value;
            long long id = strtoll(key, &end, 10);
            if (!ok) break;
            if (!bias_value(v, &value))
                ok = ask_refuse(e, 400, "logit_bias", "'logit_bias.%s': expected a number", key);
            else ok = add_bias(a, list, LIMIT_BIASES, *key && !*end ? NULL : key, id, value, e);
        }
    return ok;
}

bool ask_grammar(struct ask *a, enum hold_grammar kind, const json_t *value, struct http_error *e) {
    if (a->o.grammar_kind != HOLD_GRAMMAR_NONE)
        return ask_refuse(e, 400, NULL, "a request takes one grammar, schema or format");
    bool is_text =
        kind == HOLD_GRAMMAR_GBNF || kind == HOLD_GRAMMAR_REGEX || kind == HOLD_GRAMMAR_LARK;
    a->o.grammar = is_text ? plain_text(a, value, "grammar", e) : ask_json(a, value);
    if (!a->o.grammar) return is_text ? false : no_memory(e);
    a->o.grammar_kind = kind;
    return true;
}

static bool is_media(const json_t *part) {
    static const char *const media[] = {"image_url", "image", "input_image", "input_audio",
                                        "audio",     "file",  "input_file",  "video_url"};
    const char *type = json_string_value(json_object_get(part, "type"));
    for (size_t i = 0; type && i < sizeof media / sizeof *media; i++)
        if (strcmp(type, media[i]) == 0) return true;
    return false;
}

static bool media_of(json_t **message, bool now, struct http_error *e) {
    json_t *parts = json_object_get(*message, "content"), *part;
    size_t i, n = 0;
    json_array_foreach(parts, i, part) n += is_media(part);
    if (!n) return true;
    if (now)
        return ask_refuse(e, 400, "messages",
                          "this model takes text only: the last message has %zu image, sound or "
                          "file part%s",
                          n, n == 1 ? "" : "s");
    json_t *copy = json_deep_copy(*message);
    parts = json_object_get(copy, "content");
    json_array_foreach(parts, i, part) {
        if (!is_media(part)) continue;
        const char *type = json_string_value(json_object_get(part, "type"));
        char text[80];
        snprintf(text, sizeof text, "[%.20s: this model takes text only]", type);
        json_array_set_new(parts, i, json_pack("{s:s, s:s}", "type", "text", "text", text));
    }
    *message = copy;
    return copy || no_memory(e);
}

bool ask_media(struct ask *a, struct http_error *e) {
    size_t n = json_array_size(a->messages), last = n;
    while (last > 0) {
        const json_t *role = json_object_get(json_array_get(a->messages, --last), "role");
        if (json_is_string(role) && strcmp(json_string_value(role), "user") == 0) break;
    }
    json_t *all = NULL;
    for (size_t i = 0; i < n; i++) {
        json_t *was = json_array_get(a->messages, i), *message = was;
        if (!media_of(&message, i == last && i + 1 == n, e)) {
            json_decref(all);
            return false;
        }
        if (message == was) continue;
        if (!all) all = json_copy(a->messages);
        json_array_set_new(all, i, message);
    }
    if (!all) return true;
    json_decref(a->messages);
    a->messages = all;
    return true;
}

bool ask_chat(struct ask *a, struct http_error *e) {
    if (!ask_media(a, e)) return false;
    a->chat.messages = ask_json(a, a->messages);
    a->chat.tools = a->tools ? ask_json(a, a->tools) : NULL;
    a->chat.kwargs = a->kwargs ? ask_json(a, a->kwargs) : NULL;
    return (a->chat.messages && !a->tools == !a->chat.tools && !a->kwargs == !a->chat.kwargs) ||
           no_memory(e);
}

bool ask_effort(struct ask *a, const char *effort, struct http_error *e) {
    static const struct {
        const char *name;
        int thinking;
        int64_t budget;
    } known[] = {{"none", 0, 0},   {"minimal", 0, 0}, {"low", -1, 1024}, {"medium", -1, 8192},
                 {"high", -1, -1}, {"xhigh", -1, -1}, {"max", -1, -1}};
    size_t n = sizeof known / sizeof *known, i = 0;
    while (i < n && strcmp(known[i].name, effort) != 0) i++;
    if (i == n)
        return ask_refuse(e, 400, "reasoning_effort",
                          "there is no reasoning effort '%.60s'; expected none, minimal, low, "
                          "medium, high or xhigh",
                          effort);
    if (!a->kwargs) a->kwargs = json_object();
    if (known[i].thinking == 0) a->chat.thinking = 0;
    else if (!json_object_get(a->kwargs, "reasoning_effort"))
        json_object_set_new(a->kwargs, "reasoning_effort", json_string(effort));
    if (a->o.reasoning_budget < 0) a->o.reasoning_budget = known[i].budget;
    return a->kwargs || no_memory(e);
}
