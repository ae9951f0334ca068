/* Anthropic's Messages API: routes, errors, and answers as peers.md D2 and D5 have them (every
 * event with its `event:` line; signs of life as empty deltas of an open block, which Claude Code
 * counts, unlike comments and pings). The stream begins with the first progress of the prompt, so
 * that message_start tells the usage. */
#include "serve/api_anthropic.h"
#include "serve/answer.h"
#include "serve/serve.h"
#include "serve/sse.h"

#include <stdio.h>
#include <string.h>

struct message_state {
    bool begun;    /* message_start is out */
    bool is_open;  /* a block is */
    bool is_blank; /* it was opened as a sign of life and has no text yet */
    int index;     /* of the open block, or of the next */
    enum hold_block_kind kind;
};

/* ---- errors ------------------------------------------------------------------------------- */
static const char *error_type(int status) {
    static const struct {
        int status;
        const char *type;
    } known[] = {{401, "authentication_error"}, {403, "permission_error"},
                 {404, "not_found_error"},      {413, "request_too_large"},
                 {429, "rate_limit_error"},     {503, "overloaded_error"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].status == status) return known[i].type;
    return status >= 500 ? "api_error" : "invalid_request_error";
}

/* Claude Code compacts when it reads the first words of an overflow (peers.md D5). */
static json_t *error_body(const struct http_req *r, const struct http_error *e) {
    char text[600];
    bool overflow = e->why.code == HOLD_ERR_OVERFLOW;
    if (overflow)
        snprintf(text, sizeof text, "prompt is too long: %lld tokens > %lld maximum",
                 (long long)e->why.n_prompt, (long long)e->why.n_ctx);
    else snprintf(text, sizeof text, "%s", e->why.msg);
    const char *type = error_type(e->status);
    json_t *error = json_pack("{s:s, s:s}", "type", type, "message", text);
    if (!error) /* a message that is no UTF-8 */
        error = json_pack("{s:s, s:s}", "type", type, "message", "the request is not valid");
    if (overflow) {
        json_object_set_new(error, "n_prompt_tokens", json_integer(e->why.n_prompt));
        json_object_set_new(error, "n_ctx", json_integer(e->why.n_ctx));
    }
    return json_pack("{s:s, s:o, s:s}", "type", "error", "error", error, "request_id", http_id(r));
}

static void refuse(struct http_req *r, const struct http_error *e) {
    if (e->status == 503) http_header_add(r, "Retry-After", "2");
    http_header_add(r, "request-id", http_id(r));
    json_reply(r, e->status, error_body(r, e));
}

/* ---- shapes ------------------------------------------------------------------------------- */
/* Anthropic's input_tokens are those that no cache served. */
static json_t *usage(int64_t n_prompt, int64_t n_cached, int64_t n_generated) {
    return json_pack("{s:I, s:i, s:I, s:I}", "input_tokens", (json_int_t)(n_prompt - n_cached),
                     "cache_creation_input_tokens", 0, "cache_read_input_tokens",
                     (json_int_t)n_cached, "output_tokens", (json_int_t)n_generated);
}

static const char *stop_reason(const struct hold_done *d) {
    static const char *const names[] = {[HOLD_FINISH_STOP] = "end_turn",
                                        [HOLD_FINISH_STOP_STRING] = "stop_sequence",
                                        [HOLD_FINISH_LENGTH] = "max_tokens",
                                        [HOLD_FINISH_CALLS] = "tool_use",
                                        [HOLD_FINISH_CANCELLED] = "end_turn"};
    return names[d->finish];
}

static const char *stop_sequence(const struct answer *a) {
    const struct hold_done *d = &a->choice[0].done;
    return d->finish == HOLD_FINISH_STOP_STRING && d->stop >= 0 ? a->ask->o.stop[d->stop] : NULL;
}

/* Clients send a block of thinking back only when it is signed; what is in it does not matter, the
 * text itself comes back. */
static json_t *signature(const struct answer *a) {
    char id[64];
    answer_id(a, "sig_", id, sizeof id);
    return json_string(id);
}

static json_t *message(const struct answer *a, json_t *content, json_t *used) {
    char id[64];
    answer_id(a, "msg_", id, sizeof id);
    const struct answer_choice *c = &a->choice[0];
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s?, s:s?, s:o}", "id", id, "type", "message",
                     "role", "assistant", "model", a->ask->entry->config->name, "content", content,
                     "stop_reason", c->is_done ? stop_reason(&c->done) : NULL, "stop_sequence",
                     c->is_done ? stop_sequence(a) : NULL, "usage", used);
}

/* ---- a stream ----------------------------------------------------------------------------- */
static void event(struct buf *out, const char *name, json_t *data) {
    if (data) json_object_set_new(data, "type", json_string(name));
    sse_event(out, name, data);
}

static void begin(struct answer *a, const struct hold_progress *p, struct buf *out) {
    struct message_state *s = a->ctx;
    if (s->begun) return;
    s->begun = true;
    json_t *used = usage(p ? p->n_total : 0, p ? p->n_cached : 0, 0);
    event(out, "message_start", json_pack("{s:o}", "message", message(a, json_array(), used)));
}

static void open_block(struct message_state *s, enum hold_block_kind kind, json_t *block,
                       struct buf *out) {
    s->is_open = true;
    s->kind = kind;
    event(out, "content_block_start",
          json_pack("{s:i, s:o}", "index", s->index, "content_block", block));
}

static void send_delta(const struct message_state *s, const char *type, const char *key,
                       json_t *text, struct buf *out) {
    event(out, "content_block_delta",
          json_pack("{s:i, s:{s:s, s:o}}", "index", s->index, "delta", "type", type, key, text));
}

static void add_text(const struct message_state *s, struct str text, struct buf *out) {
    static const struct {
        const char *type, *key;
    } names[] = {[HOLD_TEXT] = {"text_delta", "text"},
                 [HOLD_REASONING] = {"thinking_delta", "thinking"},
                 [HOLD_CALL] = {"input_json_delta", "partial_json"}};
    send_delta(s, names[s->kind].type, names[s->kind].key, json_stringn_nocheck(text.p, text.len),
               out);
}

static void close_block(struct answer *a, struct buf *out) {
    struct message_state *s = a->ctx;
    if (!s->is_open) return;
    if (s->kind == HOLD_REASONING) send_delta(s, "signature_delta", "signature", signature(a), out);
    event(out, "content_block_stop", json_pack("{s:i}", "index", s->index));
    s->is_open = s->is_blank = false;
    s->index++;
}

static json_t *blank_block(const struct hold_block *b) {
    if (b->kind == HOLD_CALL)
        return json_pack("{s:s, s:s, s:s, s:{}}", "type", "tool_use", "id", b->id, "name", b->name,
                         "input");
    if (b->kind == HOLD_REASONING)
        return json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", "", "signature", "");
    return json_pack("{s:s, s:s}", "type", "text", "text", "");
}

static void on_block(struct answer *a, int i, const struct hold_event *ev, struct buf *out) {
    struct message_state *s = a->ctx;
    const struct hold_block *b = &ev->block;
    (void)i;
    begin(a, NULL, out);
    if (ev->kind == HOLD_BLOCK_DELTA) {
        s->is_blank = false;
        add_text(s, (struct str){b->text, b->len}, out);
    } else if (ev->kind == HOLD_BLOCK_END) {
        close_block(a, out);
    } else if (!s->is_blank || b->kind != HOLD_TEXT) { /* else the open one is taken */
        close_block(a, out);
        open_block(s, b->kind, blank_block(b), out);
    }
}

static void on_progress(struct answer *a, int i, const struct hold_progress *p, struct buf *out) {
    (void)i;
    begin(a, p, out);
}

static void on_alive(struct answer *a, struct buf *out) {
    struct message_state *s = a->ctx;
    begin(a, NULL, out);
    if (!s->is_open) {
        open_block(s, HOLD_TEXT, blank_block(&(struct hold_block){.kind = HOLD_TEXT}), out);
        s->is_blank = true;
    }
    add_text(s, STR(""), out);
}

static void on_done(struct answer *a, struct buf *out) {
    begin(a, NULL, out);
    close_block(a, out);
    event(out, "message_delta",
          json_pack("{s:{s:s, s:s?}, s:o}", "delta", "stop_reason", stop_reason(&a->choice[0].done),
                    "stop_sequence", stop_sequence(a), "usage",
                    usage(a->n_prompt, a->n_cached, a->n_generated)));
    event(out, "message_stop", json_object());
}

static void on_error(struct answer *a, const struct http_error *e, struct buf *out) {
    event(out, "error", error_body(a->http, e));
}

/* ---- in one piece ------------------------------------------------------------------------- */
static json_t *block_of(const struct answer *a, const struct answer_block *b) {
    json_t *text = json_stringn_nocheck(b->text.p ? b->text.p : "", b->text.len);
    if (b->kind == HOLD_REASONING)
        return json_pack("{s:s, s:o, s:o}", "type", "thinking", "thinking", text, "signature",
                         signature(a));
    if (b->kind == HOLD_TEXT) return json_pack("{s:s, s:o}", "type", "text", "text", text);
    json_decref(text);
    return json_pack("{s:s, s:s, s:s, s:o}", "type", "tool_use", "id", b->id, "name", b->name,
                     "input", answer_arguments(b->text.p ? buf_view(&b->text) : STR("")));
}

static json_t *whole(struct answer *a) {
    const struct answer_choice *c = &a->choice[0];
    json_t *content = json_array();
    for (size_t i = 0; i < c->n_blocks; i++)
        if (c->block[i].text.len || c->block[i].kind == HOLD_CALL)
            json_array_append_new(content, block_of(a, &c->block[i]));
    return message(a, content, usage(a->n_prompt, a->n_cached, a->n_generated));
}

static void close_state(struct answer *a) {
    mem_free(a->ctx);
}

static const struct answer_sink sink = {
    .progress = on_progress,
    .block = on_block,
    .done = on_done,
    .error = on_error,
    .alive = on_alive,
    .whole = whole,
    .close = close_state,
    .type = SSE_TYPE,
};

/* ---- handlers ----------------------------------------------------------------------------- */
/* false: *k is empty and the request was refused. */
static bool open_ask(struct http_req *r, struct ask *k) {
    struct serve *server = http_ctx(r);
    struct http_error e = {0};
    json_t *body = ask_body(r, &e);
    bool ok = body && anthropic_ask(k, server->models, body, &e);
    json_decref(body);
    if (ok) return true;
    if (k->entry) ask_free(k);
    refuse(r, &e);
    return false;
}

static void messages(struct http_req *r) {
    struct ask k = {0};
    struct message_state *s = mem_calloc(1, sizeof *s);
    if (!s) {
        struct http_error e;
        ask_refuse(&e, 503, NULL, "out of memory");
        refuse(r, &e);
    } else if (open_ask(r, &k)) {
        http_header_add(r, "request-id", http_id(r));
        answer_run(r, &k, &sink, s, refuse);
    } else {
        mem_free(s);
    }
}

static void count_tokens(struct http_req *r) {
    struct ask k = {0};
    struct hold_rendering out = {0};
    struct http_error e = {.status = 400};
    if (!open_ask(r, &k)) return;
    if (!ask_chat(&k, &e)) goto end;
    if (!hold_render(k.entry->model, &k.chat, &out, &e.why)) e.status = ask_status(e.why.code);
    else e.status = 200;
end:
    if (e.status == 200)
        json_reply(r, 200, json_pack("{s:I}", "input_tokens", (json_int_t)out.n_ids));
    else refuse(r, &e);
    hold_rendering_free(&out);
    ask_free(&k);
}

static const struct http_route routes[] = {
    {"POST", "/v1/messages", messages, refuse, 0},
    {"POST", "/v1/messages/count_tokens", count_tokens, refuse, 0},
};
const struct http_routes anthropic_routes = {routes, sizeof routes / sizeof *routes};
