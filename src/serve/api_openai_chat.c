/* Answers of /v1/chat/completions: chunks as peers.md D2 has them (role first, a call's id and name
 * once, index in every delta, usage last), and the answer in one piece. */
#include "serve/api_openai.h"
#include "serve/custom_tool.h"
#include "serve/serve.h"
#include "serve/sse.h"

#include <string.h>

/* What a stream keeps of each choice. */
struct chat_choice {
    int n_calls;
    bool is_custom; /* the open call: of a tool that takes one text */
    struct custom_input input;
    json_t *tokens; /* log probabilities that no chunk carried yet */
};
struct chat_state { /* answer.ctx begins with the want */
    struct openai_want want;
    struct chat_choice choice[ASK_N_MAX];
};

/* ---- chunks ------------------------------------------------------------------------------- */
static json_t *envelope(const struct answer *a, const char *object, json_t *choices) {
    char id[64];
    answer_id(a, "chatcmpl-", id, sizeof id);
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", id, "object", object, "created",
                     (json_int_t)a->created, "model", a->ask->entry->config->name, "choices",
                     choices);
}

static json_t *chunk(const struct answer *a, int i, json_t *delta, const char *finish) {
    struct chat_state *s = a->ctx;
    json_t *choice =
        json_pack("{s:i, s:o, s:s?}", "index", i, "delta", delta, "finish_reason", finish);
    if (s->choice[i].tokens && choice) {
        json_object_set_new(choice, "logprobs", json_pack("{s:o}", "content", s->choice[i].tokens));
        s->choice[i].tokens = NULL;
    }
    return envelope(a, "chat.completion.chunk", json_pack("[o]", choice));
}

static void start(struct answer *a, struct buf *out) {
    for (int i = 0; i < a->n; i++)
        sse_event(out, NULL,
                  chunk(a, i, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL));
}

static void progress(struct answer *a, int i, const struct hold_progress *p, struct buf *out) {
    if (!a->ask->progress || i != 0) return;
    json_t *c = chunk(a, i, json_object(), NULL);
    json_object_set_new(c, "prompt_progress",
                        json_pack("{s:I, s:I, s:I}", "total", (json_int_t)p->n_total, "cache",
                                  (json_int_t)p->n_cached, "processed", (json_int_t)p->n_done));
    sse_event(out, NULL, c);
}

static bool is_custom(const struct answer *a, const char *name) {
    return json_object_get(a->ask->custom, name) != NULL;
}

static json_t *call_start(const struct answer *a, struct chat_choice *c,
                          const struct hold_block *b) {
    c->is_custom = is_custom(a, b->name);
    c->input = (struct custom_input){0};
    const char *type = c->is_custom ? "custom" : "function";
    return json_pack("{s:[{s:i, s:s, s:s, s:{s:s, s:s}}]}", "tool_calls", "index", c->n_calls++,
                     "id", b->id, "type", type, type, "name", b->name,
                     c->is_custom ? "input" : "arguments", "");
}

/* NULL: these bytes say nothing of a custom tool's text. */
static json_t *call_delta(struct chat_choice *c, const struct hold_block *b) {
    struct buf found = {0};
    json_t *text = NULL;
    if (!c->is_custom) text = json_stringn_nocheck(b->text, b->len);
    else custom_input_add(&c->input, (struct str){b->text, b->len}, &found);
    if (found.len) text = json_text(buf_view(&found));
    buf_free(&found);
    if (!text) return NULL;
    return json_pack("{s:[{s:i, s:{s:o}}]}", "tool_calls", "index", c->n_calls - 1,
                     c->is_custom ? "custom" : "function", c->is_custom ? "input" : "arguments",
                     text);
}

static void block(struct answer *a, int i, const struct hold_event *ev, struct buf *out) {
    struct chat_state *s = a->ctx;
    const struct hold_block *b = &ev->block;
    bool is_call = b->kind == HOLD_CALL;
    if (ev->kind == HOLD_BLOCK_END || (ev->kind == HOLD_BLOCK_START && !is_call)) return;
    json_t *delta;
    if (!is_call)
        delta = json_pack("{s:o}", b->kind == HOLD_TEXT ? "content" : "reasoning_content",
                          json_stringn_nocheck(b->text, b->len));
    else if (ev->kind == HOLD_BLOCK_START) delta = call_start(a, &s->choice[i], b);
    else if (!(delta = call_delta(&s->choice[i], b))) return;
    sse_event(out, NULL, chunk(a, i, delta, NULL));
}

static void token(struct answer *a, int i, const struct hold_token *t, struct buf *out) {
    struct chat_choice *c = &((struct chat_state *)a->ctx)->choice[i];
    (void)out;
    openai_logprobs_add(a, &c->tokens, t);
}

static void choice(struct answer *a, int i, struct buf *out) {
    json_t *c = chunk(a, i, json_object(), openai_finish(&a->choice[i].done));
    if (a->n == 1) json_object_set_new(c, "timings", openai_timings(a));
    sse_event(out, NULL, c);
}

static void done(struct answer *a, struct buf *out) {
    struct chat_state *s = a->ctx;
    if (s->want.usage) {
        json_t *c = envelope(a, "chat.completion.chunk", json_array());
        json_object_set_new(c, "usage", openai_usage(a));
        sse_event(out, NULL, c);
    }
    sse_text(out, "[DONE]");
}

static void error(struct answer *a, const struct http_error *e, struct buf *out) {
    (void)a;
    sse_event(out, NULL, openai_error(e));
}

/* ---- in one piece ------------------------------------------------------------------------- */
static json_t *whole_call(const struct answer *a, const struct answer_block *b) {
    struct str text = {b->text.p ? b->text.p : "", b->text.len};
    struct custom_input input = {0};
    struct buf found = {0};
    bool custom = is_custom(a, b->name);
    if (custom) custom_input_add(&input, text, &found);
    if (custom) text = (struct str){found.p ? found.p : "", found.len};
    const char *type = custom ? "custom" : "function";
    json_t *out = json_pack("{s:s, s:s, s:{s:s, s:o}}", "id", b->id, "type", type, type, "name",
                            b->name, custom ? "input" : "arguments", json_text(text));
    buf_free(&found);
    return out;
}

static json_t *calls(const struct answer *a, const struct answer_choice *c) {
    json_t *list = NULL;
    for (size_t i = 0; i < c->n_blocks; i++) {
        const struct answer_block *b = &c->block[i];
        if (b->kind != HOLD_CALL) continue;
        if (!list) list = json_array();
        json_array_append_new(list, whole_call(a, b));
    }
    return list;
}

static json_t *whole_choice(const struct answer *a, int i) {
    const struct answer_choice *c = &a->choice[i];
    const struct chat_state *s = a->ctx;
    json_t *text = answer_text(c, HOLD_TEXT), *reasoning = answer_text(c, HOLD_REASONING);
    json_t *called = calls(a, c);
    json_t *message = json_pack("{s:s, s:o}", "role", "assistant", "content",
                                text     ? text
                                : called ? json_null()
                                         : json_string(""));
    if (reasoning) json_object_set_new(message, "reasoning_content", reasoning);
    if (called) json_object_set_new(message, "tool_calls", called);
    json_t *out = json_pack("{s:i, s:o, s:s}", "index", i, "message", message, "finish_reason",
                            openai_finish(&c->done));
    json_object_set_new(out, "logprobs",
                        s->want.logprobs ? openai_logprobs(a, c->token, c->n_tokens) : json_null());
    return out;
}

static json_t *whole(struct answer *a) {
    json_t *choices = json_array();
    for (int i = 0; i < a->n; i++) json_array_append_new(choices, whole_choice(a, i));
    json_t *out = envelope(a, "chat.completion", choices);
    json_object_set_new(out, "usage", openai_usage(a));
    json_object_set_new(out, "timings", openai_timings(a));
    return out;
}

static void close_state(struct answer *a) {
    struct chat_state *s = a->ctx;
    if (!s) return;
    for (int i = 0; i < ASK_N_MAX; i++) json_decref(s->choice[i].tokens);
    mem_free(s->want.prompt);
    mem_free(s);
}

static const struct answer_sink sink = {
    .start = start,
    .progress = progress,
    .block = block,
    .token = token,
    .choice = choice,
    .done = done,
    .error = error,
    .whole = whole,
    .close = close_state,
    .type = SSE_TYPE,
};

void openai_chat(struct http_req *r) {
    struct serve *server = http_ctx(r);
    struct http_error e = {0};
    struct ask k = {0};
    struct chat_state *s = mem_calloc(1, sizeof *s);
    json_t *body = ask_body(r, &e);
    bool ok = body && (s || ask_refuse(&e, 503, NULL, "out of memory")) &&
              openai_chat_ask(&k, server->models, body, &s->want, &e);
    json_decref(body);
    if (ok) {
        answer_run(r, &k, &sink, s, openai_refuse);
        return;
    }
    openai_refuse(r, &e);
    ask_free(&k);
    mem_free(s);
}
