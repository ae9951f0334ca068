/* Ollama's API, for the clients that speak only that: JSON lines, a call whole in one of them,
 * durations in nanoseconds. A prompt that is too long is refused, never cut. */
#include "serve/api_ollama.h"
#include "serve/api_openai.h"
#include "serve/serve.h"
#include "serve/sse.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct state {
    bool is_chat;
    char *id, *call; /* of the open one, its name */
    struct buf arguments;
    json_t *logprobs; /* that no line carried yet */
};

/* ---- errors ------------------------------------------------------------------------------- */
json_t *ollama_error(const struct http_error *e) {
    json_t *said = openai_error(e), *inner = json_object_get(said, "error");
    json_t *out = json_pack("{s:O}", "error", json_object_get(inner, "message"));
    if (e->why.code == HOLD_ERR_OVERFLOW) {
        json_object_set(out, "n_prompt_tokens", json_object_get(inner, "n_prompt_tokens"));
        json_object_set(out, "n_ctx", json_object_get(inner, "n_ctx"));
    }
    json_decref(said);
    return out;
}

void ollama_refuse(struct http_req *r, const struct http_error *e) {
    json_reply(r, e->status, ollama_error(e));
}

/* ---- lines -------------------------------------------------------------------------------- */
static json_t *line(const struct answer *a, bool done) {
    return json_pack("{s:s, s:o, s:b}", "model", a->ask->entry->config->name, "created_at",
                     ollama_time(a->created), "done", done);
}

static json_t *call_json(const char *id, const char *name, struct str arguments) {
    return json_pack("{s:s*, s:{s:s, s:o}}", "id", id, "function", "name", name, "arguments",
                     answer_arguments(arguments));
}

/* {"role", "content", "thinking", "tool_calls"} for chat; "response", "thinking" for generate.
 * Takes what it is given; NULL: nothing of that. */
static void add_said(const struct state *s, json_t *out, json_t *text, json_t *thinking,
                     json_t *calls) {
    json_t *to = s->is_chat ? json_pack("{s:s}", "role", "assistant") : json_incref(out);
    json_object_set_new(to, s->is_chat ? "content" : "response", text ? text : json_string(""));
    if (thinking) json_object_set_new(to, "thinking", thinking);
    if (calls) json_object_set_new(to, "tool_calls", calls);
    if (s->is_chat) json_object_set_new(out, "message", to);
    else json_decref(to);
}

static void take_logprobs(struct state *s, json_t *out) {
    if (s->logprobs) json_object_set_new(out, "logprobs", s->logprobs);
    s->logprobs = NULL;
}

static json_int_t ns(double ms) {
    return (json_int_t)(ms * 1e6);
}

static void add_figures(const struct answer *a, json_t *out) {
    const struct hold_done *d = &a->choice[0].done;
    json_t *figures =
        json_pack("{s:s, s:I, s:i, s:I, s:I, s:I, s:I, s:I}", "done_reason",
                  d->finish == HOLD_FINISH_LENGTH ? "length" : "stop", "total_duration",
                  ns(d->queue_ms + d->prefill_ms + d->decode_ms), "load_duration", 0,
                  "prompt_eval_count", (json_int_t)d->n_prompt, "prompt_eval_duration",
                  ns(d->prefill_ms), "eval_count", (json_int_t)d->n_generated, "eval_duration",
                  ns(d->decode_ms), "cached_tokens", (json_int_t)d->n_cached);
    json_object_update_new(out, figures);
}

/* ---- a stream ----------------------------------------------------------------------------- */
static void on_block(struct answer *a, int i, const struct hold_event *ev, struct buf *out) {
    struct state *s = a->ctx;
    const struct hold_block *b = &ev->block;
    (void)i;
    if (b->kind != HOLD_CALL) {
        if (ev->kind != HOLD_BLOCK_DELTA) return;
        json_t *text = json_text((struct str){b->text, b->len}), *chunk = line(a, false);
        bool thinks = b->kind == HOLD_REASONING;
        add_said(s, chunk, thinks ? NULL : text, thinks ? text : NULL, NULL);
        take_logprobs(s, chunk);
        ndjson_line(out, chunk);
    } else if (ev->kind == HOLD_BLOCK_START) {
        mem_free(s->id);
        mem_free(s->call);
        s->id = mem_strdup(b->id);
        s->call = mem_strdup(b->name);
        buf_clear(&s->arguments);
    } else if (ev->kind == HOLD_BLOCK_DELTA) {
        buf_add(&s->arguments, b->text, b->len);
    } else {
        json_t *chunk = line(a, false);
        add_said(s, chunk, NULL, NULL,
                 json_pack("[o]", call_json(s->id, s->call ? s->call : "",
                                            s->arguments.p ? buf_view(&s->arguments) : STR(""))));
        ndjson_line(out, chunk);
    }
}

static void on_token(struct answer *a, int i, const struct hold_token *t, struct buf *out) {
    struct state *s = a->ctx;
    (void)i;
    (void)out;
    openai_logprobs_add(a, &s->logprobs, t);
}

static void on_done(struct answer *a, struct buf *out) {
    struct state *s = a->ctx;
    json_t *last = line(a, true);
    add_said(s, last, NULL, NULL, NULL);
    take_logprobs(s, last);
    add_figures(a, last);
    ndjson_line(out, last);
}

static void on_error(struct answer *a, const struct http_error *e, struct buf *out) {
    (void)a;
    ndjson_line(out, ollama_error(e));
}

static void on_alive(struct answer *a, struct buf *out) {
    json_t *chunk = line(a, false);
    add_said(a->ctx, chunk, NULL, NULL, NULL);
    ndjson_line(out, chunk);
}

/* ---- in one piece ------------------------------------------------------------------------- */
static json_t *whole(struct answer *a) {
    const struct answer_choice *c = &a->choice[0];
    json_t *calls = NULL, *out = line(a, true);
    for (size_t i = 0; i < c->n_blocks; i++) {
        const struct answer_block *b = &c->block[i];
        if (b->kind != HOLD_CALL) continue;
        if (!calls) calls = json_array();
        json_array_append_new(calls,
                              call_json(b->id, b->name, b->text.p ? buf_view(&b->text) : STR("")));
    }
    add_said(a->ctx, out, answer_text(c, HOLD_TEXT), answer_text(c, HOLD_REASONING), calls);
    if (a->ask->o.want_tokens) {
        json_t *probs = openai_logprobs(a, c->token, c->n_tokens);
        json_object_set(out, "logprobs", json_object_get(probs, "content"));
        json_decref(probs);
    }
    add_figures(a, out);
    return out;
}

static void close_state(struct answer *a) {
    struct state *s = a->ctx;
    mem_free(s->id);
    mem_free(s->call);
    buf_free(&s->arguments);
    json_decref(s->logprobs);
    mem_free(s);
}

static const struct answer_sink sink = {
    .block = on_block,
    .token = on_token,
    .done = on_done,
    .error = on_error,
    .alive = on_alive,
    .whole = whole,
    .close = close_state,
    .type = NDJSON_TYPE,
};

/* ---- handlers ----------------------------------------------------------------------------- */
/* Nothing to say: the model is loaded now, or (keep_alive 0) is to go. */
static void load_only(struct http_req *r, struct ask *k, bool is_chat, bool unload) {
    struct serve *server = http_ctx(r);
    struct http_error e;
    struct state s = {.is_chat = is_chat};
    const char *name = k->entry->config->name;
    json_t *out = json_pack("{s:s, s:o, s:b, s:s}", "model", name, "created_at",
                            ollama_time((int64_t)time(NULL)), "done", 1, "done_reason",
                            unload ? "unload" : "load");
    add_said(&s, out, NULL, NULL, NULL);
    ask_free(k);
    if (unload && !models_unload(server->models, name, &e)) {
        json_decref(out);
        ollama_refuse(r, &e);
        return;
    }
    json_reply(r, 200, out);
}

static void run(struct http_req *r, bool is_chat) {
    struct serve *server = http_ctx(r);
    struct http_error e = {0};
    struct ask k = {0};
    bool empty = false;
    struct state *s = mem_calloc(1, sizeof *s);
    json_t *body = ask_body(r, &e);
    bool ok = body && (s || ask_refuse(&e, 503, NULL, "out of memory")) &&
              (is_chat ? ollama_chat_ask(&k, server->models, body, &empty, &e)
                       : ollama_generate_ask(&k, server->models, body, &empty, &e));
    const json_t *keep = json_object_get(body, "keep_alive");
    bool unload = json_is_number(keep) && json_number_value(keep) == 0;
    json_decref(body);
    if (ok && !empty) {
        s->is_chat = is_chat;
        answer_run(r, &k, &sink, s, ollama_refuse);
        return;
    }
    mem_free(s);
    if (ok) {
        load_only(r, &k, is_chat, unload);
    } else {
        ollama_refuse(r, &e);
        ask_free(&k);
    }
}

static void chat(struct http_req *r) {
    run(r, true);
}
static void generate(struct http_req *r) {
    run(r, false);
}

static const struct http_route routes[] = {
    {"POST", "/api/chat", chat, ollama_refuse, 0},
    {"POST", "/api/generate", generate, ollama_refuse, 0},
    {"GET", "/api/tags", ollama_tags, ollama_refuse, 0},
    {"POST", "/api/show", ollama_show, ollama_refuse, 0},
    {"GET", "/api/ps", ollama_ps, ollama_refuse, 0},
    {"GET", "/api/version", ollama_version, ollama_refuse, HTTP_OPEN},
};
const struct http_routes ollama_routes = {routes, sizeof routes / sizeof *routes};
