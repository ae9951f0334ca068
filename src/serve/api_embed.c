/* Embeddings, for OpenAI's /v1/embeddings and Ollama's /api/embed: each text's hidden states behind
 * the last norm, pooled as the model's file says (the mean, where it says nothing) and normalised.
 * Texts are computed side by side; a vector's bits do not depend on what else is. A text that does
 * not fit the context is refused, unless the client asked for it to be cut (Ollama's truncate). */
#include "base/base64.h"
#include "base/limits.h"
#include "serve/api_ollama.h"
#include "serve/api_openai.h"
#include "serve/serve.h"
#include "serve/sse.h"

#include <math.h>
#include <string.h>

enum { AT_ONCE = 16 };

struct embed {
    struct http_req *http;
    struct ask k;
    const struct hold_model_info *info;
    bool last, cut; /* pooling: the last token's, else the mean; texts may be cut */
    int64_t n_tokens;
    struct http_error e;
};

/* ---- one vector --------------------------------------------------------------------------- */
struct pending {
    struct hold_request *request;
    double *sum; /* (n_embd) over the rows so far */
    float *x;    /* (n_embd) the vector */
};

static bool no_memory(struct embed *m) {
    return ask_refuse(&m->e, 503, NULL, "out of memory");
}

static bool submit(struct embed *m, struct pending *p, const int32_t *ids, size_t n) {
    struct hold_request_options o = m->k.o;
    o.ids = ids;
    o.n_ids = n;
    o.max_tokens = 0;
    o.raw = o.want_hidden = true;
    o.logits_from = m->last ? (int64_t)n - 1 : 0;
    o.cache_key = http_key(m->http);
    o.priority = HOLD_BACKGROUND;
    p->sum = mem_calloc((size_t)m->info->n_embd, sizeof *p->sum);
    p->x = mem_calloc((size_t)m->info->n_embd, sizeof *p->x);
    if (!p->sum || !p->x) return no_memory(m);
    p->request = hold_request_submit(m->k.entry->model, &o, &m->e.why);
    if (!p->request) m->e.status = ask_status(m->e.why.code);
    return p->request != NULL;
}

/* Rows come in the order of their positions, so that the sum is the same however they were
 * computed. */
static void add_rows(struct embed *m, struct pending *p, const struct hold_logits *l) {
    for (int r = 0; r < l->n_rows; r++)
        for (int i = 0; i < m->info->n_embd; i++)
            p->sum[i] += (double)l->rows[(size_t)r * (size_t)l->n_cols + (size_t)i];
}

static bool collect(struct embed *m, struct pending *p) {
    struct hold_event ev;
    for (;;) {
        int got = hold_request_next(p->request, &ev, 200);
        if (got < 0) return true;
        if (got == 0 && http_gone(m->http)) return ask_refuse(&m->e, 503, NULL, "the client left");
        if (got == 0) continue;
        if (ev.kind == HOLD_HIDDEN) add_rows(m, p, &ev.logits);
        if (ev.kind == HOLD_DONE) {
            m->n_tokens += ev.done.n_prompt;
            http_count(m->http, &ev.done);
            return ev.done.finish != HOLD_FINISH_CANCELLED ||
                   ask_refuse(&m->e, 503, NULL, "the server is stopping");
        }
        if (ev.kind == HOLD_ERROR) {
            m->e = (struct http_error){.status = ask_status(ev.error.code), .why = ev.error};
            return false;
        }
    }
}

/* The normalised vector. */
static const float *finish(struct embed *m, struct pending *p) {
    double squares = 0;
    for (int i = 0; i < m->info->n_embd; i++) squares += p->sum[i] * p->sum[i];
    double scale = squares > 0 ? 1 / sqrt(squares) : 0;
    for (int i = 0; i < m->info->n_embd; i++) p->x[i] = (float)(p->sum[i] * scale);
    return p->x;
}

static void release(struct pending *p) {
    hold_request_free(p->request);
    mem_free(p->sum);
    mem_free(p->x);
    *p = (struct pending){0};
}

/* ---- all of them -------------------------------------------------------------------------- */
/* A text or a list of token ids, as ids in the arena. */
static bool tokens_of(struct embed *m, const json_t *input, size_t i, int32_t **ids, size_t *n) {
    size_t k;
    json_t *v;
    int32_t *made = NULL;
    if (json_is_string(input)) {
        if (!hold_tokenize(m->k.entry->model, json_string_value(input), json_string_length(input),
                           HOLD_ADD_SPECIAL, &made, n, &m->e.why)) {
            m->e.status = ask_status(m->e.why.code);
            return false;
        }
    } else {
        *n = json_array_size(input);
    }
    *ids = arena_calloc(&m->k.arena, *n + 1, sizeof **ids);
    if (*ids && made) memcpy(*ids, made, *n * sizeof **ids);
    hold_free(made);
    if (!*ids) return no_memory(m);
    json_array_foreach(input, k, v) {
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            return ask_refuse(&m->e, 400, "input", "'input[%zu]': expected text or token ids", i);
        (*ids)[k] = (int32_t)json_integer_value(v);
    }
    if (*n == 0) return ask_refuse(&m->e, 400, "input", "'input[%zu]' is empty", i);
    if (m->cut && *n > (size_t)m->info->n_ctx) *n = (size_t)m->info->n_ctx;
    return true;
}

typedef json_t *(*write_fn)(const float *x, int n);

/* Submits a few at a time, so that they share steps; appends what write makes of each. */
static bool run(struct embed *m, const json_t *inputs, write_fn write, json_t *out) {
    struct pending p[AT_ONCE] = {{0}};
    size_t n = json_array_size(inputs), next = 0;
    bool ok = true;
    for (size_t done = 0; ok && done < n; done++) {
        for (; ok && next < n && next < done + AT_ONCE; next++) {
            int32_t *ids;
            size_t len;
            ok = tokens_of(m, json_array_get(inputs, next), next, &ids, &len) &&
                 submit(m, &p[next % AT_ONCE], ids, len);
        }
        struct pending *one = &p[done % AT_ONCE];
        ok = ok && collect(m, one);
        if (ok)
            ok = json_array_append_new(out, write(finish(m, one), m->info->n_embd)) == 0 ||
                 no_memory(m);
        release(one);
    }
    for (size_t i = 0; i < AT_ONCE; i++) release(&p[i]);
    return ok;
}

/* One text, several, one list of tokens, or several: always as a list. NULL: none of these. */
static json_t *inputs_of(json_t *input) {
    bool one = json_is_string(input) || json_is_integer(json_array_get(input, 0));
    if (one) return json_pack("[O]", input);
    return json_is_array(input) && json_array_size(input) ? json_incref(input) : NULL;
}

static bool open_model(struct embed *m, const json_t *body) {
    const json_t *dimensions = json_object_get(body, "dimensions");
    m->info = hold_model_info(m->k.entry->model);
    m->last = m->info->pooling == HOLD_POOL_LAST;
    if (m->info->pooling == HOLD_POOL_OTHER)
        return ask_refuse(&m->e, 400, "model",
                          "%s pools its vectors in a way that is not served; mean and last are",
                          m->info->alias);
    return !dimensions || json_is_null(dimensions) ||
           json_integer_value(dimensions) == m->info->n_embd ||
           ask_refuse(&m->e, 400, "dimensions",
                      "%s gives vectors of %d dimensions and no shorter ones", m->info->alias,
                      (int)m->info->n_embd);
}

static void close_model(struct embed *m, json_t *body, json_t *inputs) {
    http_note(m->http, "tokens=%lld", (long long)m->n_tokens);
    json_decref(inputs);
    json_decref(body);
    ask_free(&m->k);
}

/* ---- OpenAI's shape ----------------------------------------------------------------------- */
static json_t *as_numbers(const float *x, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_real((double)x[i]));
    return list;
}

/* Little-endian floats. */
static json_t *as_base64(const float *x, int n) {
    struct buf text = {0};
    unsigned char *bytes = mem_array((size_t)n, 4);
    for (int i = 0; bytes && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        for (int k = 0; k < 4; k++) bytes[4 * i + k] = (unsigned char)(bits >> 8 * k);
    }
    json_t *out =
        bytes && base64_encode(&text, bytes, (size_t)n * 4) ? json_stringn(text.p, text.len) : NULL;
    mem_free(bytes);
    buf_free(&text);
    return out;
}

static write_fn encoding(struct embed *m, const json_t *body) {
    struct str how = json_get_str(body, "encoding_format");
    if (!how.p || str_is(how, "float")) return as_numbers;
    if (str_is(how, "base64")) return as_base64;
    ask_refuse(&m->e, 400, "encoding_format", "'encoding_format': expected float or base64");
    return NULL;
}

static void embeddings(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct embed m = {.http = r};
    write_fn write = NULL;
    json_t *body = ask_body(r, &m.e), *inputs = NULL, *vectors = json_array(), *data = NULL;
    bool ok = body &&
              ask_open(&m.k, s->models, json_string_value(json_object_get(body, "model")), &m.e) &&
              open_model(&m, body) && (write = encoding(&m, body));
    if (ok && !(inputs = inputs_of(json_object_get(body, "input"))))
        ok = ask_refuse(&m.e, 400, "input", "'input': expected text, token ids, or a list of them");
    ok = ok && run(&m, inputs, write, vectors);
    if (ok) {
        data = json_array();
        for (size_t i = 0; i < json_array_size(vectors); i++)
            json_array_append_new(data, json_pack("{s:s, s:I, s:O}", "object", "embedding", "index",
                                                  (json_int_t)i, "embedding",
                                                  json_array_get(vectors, i)));
        json_reply(r, 200,
                   json_pack("{s:s, s:o, s:s, s:{s:I, s:I}}", "object", "list", "data", data,
                             "model", m.k.entry->config->name, "usage", "prompt_tokens",
                             (json_int_t)m.n_tokens, "total_tokens", (json_int_t)m.n_tokens));
    } else {
        openai_refuse(r, &m.e);
    }
    json_decref(vectors);
    close_model(&m, body, inputs);
}

/* ---- Ollama's ----------------------------------------------------------------------------- */
/* /api/embed has `input` and "embeddings"; before it was /api/embeddings, with `prompt` and one. */
static void embed(struct http_req *r, const char *field, bool old) {
    struct serve *s = http_ctx(r);
    struct embed m = {.http = r};
    json_t *body = ask_body(r, &m.e), *inputs = NULL, *vectors = json_array();
    bool ok = body && ollama_open(&m.k, s->models, body, &m.e) && open_model(&m, body);
    m.cut = json_is_true(json_object_get(body, "truncate"));
    if (ok && !(inputs = inputs_of(json_object_get(body, field))))
        ok = ask_refuse(&m.e, 400, field, "'%s': expected text or a list of texts", field);
    ok = ok && run(&m, inputs, as_numbers, vectors);
    if (!ok) ollama_refuse(r, &m.e);
    else if (old) json_reply(r, 200, json_pack("{s:O}", "embedding", json_array_get(vectors, 0)));
    else
        json_reply(r, 200,
                   json_pack("{s:s, s:O, s:I}", "model", m.k.entry->config->name, "embeddings",
                             vectors, "prompt_eval_count", (json_int_t)m.n_tokens));
    json_decref(vectors);
    close_model(&m, body, inputs);
}

static void embed_new(struct http_req *r) {
    embed(r, "input", false);
}
static void embed_old(struct http_req *r) {
    embed(r, "prompt", true);
}

static const struct http_route routes[] = {
    {"POST", "/v1/embeddings", embeddings, openai_refuse, 0},
    {"POST", "/embeddings", embeddings, openai_refuse, 0},
    {"POST", "/api/embed", embed_new, ollama_refuse, 0},
    {"POST", "/api/embeddings", embed_old, ollama_refuse, 0},
};
const struct http_routes embed_routes = {routes, sizeof routes / sizeof *routes};
