/* Answers of /v1/responses: the events of a stream, each item opened, filled and closed as peers.md
 * D2 and D5 have it, and the response in one piece, built by the same functions without a place to
 * send events to. A response is kept for later when its request asked for it. */
#include "serve/api_openai.h"
#include "serve/api_responses.h"
#include "serve/custom_tool.h"
#include "serve/sse.h"

#include <stdio.h>
#include <string.h>

struct state {
    struct responses_want want;
    int64_t n_events;
    json_t *output; /* items that are done */
    /* The open item. */
    bool is_open, has_part;
    enum hold_block_kind kind;
    const struct responses_tool *tool; /* of a call, NULL: not one of the request's */
    char id[80];
    char *call_id, *name;
    struct buf text;          /* reasoning, text, arguments or input so far */
    struct custom_input free; /* finds the text in a custom call's arguments */
    json_t *logprobs, *fresh; /* of the text; of these, what no delta carried yet */
};

static struct str text_so_far(const struct state *s) {
    return s->text.p ? buf_view(&s->text) : STR("");
}

static bool is_custom(const struct state *s) {
    return s->kind == HOLD_CALL && s->tool && s->tool->kind == RESPONSES_CUSTOM;
}
static bool is_search(const struct state *s) {
    return s->kind == HOLD_CALL && s->tool && s->tool->kind == RESPONSES_SEARCH;
}

/* ---- shapes ------------------------------------------------------------------------------- */
static json_t *call_json(const struct state *s, struct str text) {
    struct err e;
    json_t *call = json_pack("{s:s, s:s?}", "call_id", s->call_id, "name",
                             is_search(s) ? NULL
                             : s->tool    ? s->tool->name
                                          : s->name);
    if (s->tool && s->tool->space)
        json_object_set_new(call, "namespace", json_string(s->tool->space));
    if (is_search(s)) {
        json_t *arguments = json_parse(text, text.len, &e);
        json_object_del(call, "name");
        json_object_set_new(call, "execution", json_string("client"));
        json_object_set_new(call, "arguments", arguments ? arguments : json_object());
    } else {
        json_object_set_new(call, is_custom(s) ? "input" : "arguments", json_text(text));
    }
    return call;
}

static json_t *part_json(const struct state *s, struct str text) {
    if (s->kind == HOLD_REASONING)
        return json_pack("{s:s, s:o}", "type", "reasoning_text", "text", json_text(text));
    return json_pack("{s:s, s:o, s:[], s:O}", "type", "output_text", "text", json_text(text),
                     "annotations", "logprobs", s->logprobs);
}

static json_t *item_json(const struct state *s, const char *status, bool empty) {
    struct str text = empty ? STR("") : text_so_far(s);
    json_t *parts =
        empty || s->kind == HOLD_CALL ? json_array() : json_pack("[o]", part_json(s, text));
    json_t *item;
    if (s->kind == HOLD_CALL) {
        item = call_json(s, text);
        json_decref(parts);
    } else if (s->kind == HOLD_TEXT) {
        item = json_pack("{s:s, s:o}", "role", "assistant", "content", parts);
    } else {
        item = json_pack("{s:[], s:o}", "summary", "content", parts);
        if (s->want.encrypted && !empty)
            json_object_set_new(item, "encrypted_content", responses_seal(text));
    }
    const char *type = s->kind == HOLD_REASONING ? "reasoning"
                       : s->kind == HOLD_TEXT    ? "message"
                       : is_custom(s)            ? "custom_tool_call"
                       : is_search(s)            ? "tool_search_call"
                                                 : "function_call";
    json_object_set_new(item, "id", json_string(s->id));
    json_object_set_new(item, "type", json_string(type));
    json_object_set_new(item, "status", json_string(status));
    return item;
}

static json_t *usage_json(const struct answer *a) {
    return json_pack("{s:I, s:{s:I}, s:I, s:{s:I}, s:I}", "input_tokens", (json_int_t)a->n_prompt,
                     "input_tokens_details", "cached_tokens", (json_int_t)a->n_cached,
                     "output_tokens", (json_int_t)a->n_generated, "output_tokens_details",
                     "reasoning_tokens", (json_int_t)a->choice[0].done.n_reasoning, "total_tokens",
                     (json_int_t)(a->n_prompt + a->n_generated));
}

static const char *final_status(const struct answer *a) {
    return a->choice[0].done.finish == HOLD_FINISH_LENGTH ? "incomplete" : "completed";
}

/* status NULL: it goes on. */
static json_t *response_json(const struct answer *a, const char *status) {
    const struct state *s = a->ctx;
    char id[64];
    answer_id(a, "resp_", id, sizeof id);
    json_t *out = json_copy(s->want.echo);
    json_t *rest = json_pack("{s:s, s:s, s:I, s:s, s:b, s:n, s:n, s:s, s:O, s:b, s:n}", "id", id,
                             "object", "response", "created_at", (json_int_t)a->created, "status",
                             status ? status : "in_progress", "background", 0, "error",
                             "incomplete_details", "model", a->ask->entry->config->name, "output",
                             s->output, "store", s->want.store, "usage");
    json_object_update_new(out, rest);
    if (!status) return out;
    if (strcmp(status, "failed") != 0) json_object_set_new(out, "usage", usage_json(a));
    if (strcmp(status, "incomplete") == 0)
        json_object_set_new(out, "incomplete_details",
                            json_pack("{s:s}", "reason", "max_output_tokens"));
    return out;
}

/* ---- events; out is NULL for a response in one piece --------------------------------------- */
static void event(struct state *s, struct buf *out, const char *name, json_t *data) {
    if (out && data) {
        json_object_set_new(data, "type", json_string(name));
        json_object_set_new(data, "sequence_number", json_integer(s->n_events++));
        sse_event(out, name, data);
    } else if (out) {
        out->failed = true;
    } else {
        json_decref(data);
    }
}

/* An event of the open item, with "output_index". */
static void item_event(struct state *s, struct buf *out, const char *name, json_t *data) {
    json_object_set_new(data, "output_index", json_integer((json_int_t)json_array_size(s->output)));
    event(s, out, name, data);
}

/* One of its content. `key`: what it carries. */
static void content_event(struct state *s, struct buf *out, const char *name, const char *key,
                          json_t *value) {
    json_t *data = json_pack("{s:s, s:o}", "item_id", s->id, key, value);
    if (s->kind != HOLD_CALL) json_object_set_new(data, "content_index", json_integer(0));
    item_event(s, out, name, data);
}

/* The names of an item's delta and done events, and what the latter calls the text. */
struct names {
    const char *delta, *done, *key;
};
static struct names names_of(const struct state *s) {
    static const struct names text = {"response.output_text.delta", "response.output_text.done",
                                      "text"},
                              reasoning = {"response.reasoning_text.delta",
                                           "response.reasoning_text.done", "text"},
                              call = {"response.function_call_arguments.delta",
                                      "response.function_call_arguments.done", "arguments"},
                              custom = {"response.custom_tool_call_input.delta",
                                        "response.custom_tool_call_input.done", "input"};
    return s->kind == HOLD_TEXT        ? text
           : s->kind == HOLD_REASONING ? reasoning
           : is_custom(s)              ? custom
                                       : call;
}

static const struct responses_tool *tool_named(const struct state *s, const char *flat) {
    for (size_t i = 0; i < s->want.n_tools; i++)
        if (strcmp(s->want.tool[i].flat, flat) == 0) return &s->want.tool[i];
    return NULL;
}

static bool begin_item(struct answer *a, enum hold_block_kind kind, const char *call_id,
                       const char *name, struct buf *out) {
    static const char *const prefix[] = {
        [HOLD_TEXT] = "msg_", [HOLD_REASONING] = "rs_", [HOLD_CALL] = "fc_"};
    struct state *s = a->ctx;
    char id[64];
    s->kind = kind;
    s->is_open = true;
    s->tool = kind == HOLD_CALL ? tool_named(s, name) : NULL;
    answer_id(a, is_custom(s) ? "ctc_" : prefix[kind], id, sizeof id);
    snprintf(s->id, sizeof s->id, "%s%02zx", id, json_array_size(s->output));
    mem_free(s->call_id);
    mem_free(s->name);
    s->call_id = mem_strdup(call_id ? call_id : "");
    s->name = mem_strdup(name ? name : "");
    buf_clear(&s->text);
    s->free = (struct custom_input){0};
    if (kind == HOLD_TEXT) {
        json_decref(s->logprobs);
        s->logprobs = json_array();
    }
    item_event(s, out, "response.output_item.added",
               json_pack("{s:o}", "item", item_json(s, "in_progress", true)));
    if (kind != HOLD_CALL)
        content_event(s, out, "response.content_part.added", "part", part_json(s, STR("")));
    return s->call_id && s->name;
}

static void add_delta(struct answer *a, struct str text, struct buf *out) {
    struct state *s = a->ctx;
    struct buf found = {0};
    if (is_custom(s)) {
        custom_input_add(&s->free, text, &found);
        text = found.p ? buf_view(&found) : STR("");
    }
    buf_str(&s->text, text);
    if (s->kind == HOLD_TEXT && s->fresh) json_array_extend(s->logprobs, s->fresh);
    if (text.len && !is_search(s)) {
        json_t *data = json_pack("{s:s, s:o}", "item_id", s->id, "delta", json_text(text));
        if (s->kind != HOLD_CALL) json_object_set_new(data, "content_index", json_integer(0));
        if (s->kind == HOLD_TEXT)
            json_object_set_new(data, "logprobs", s->fresh ? json_incref(s->fresh) : json_array());
        item_event(s, out, names_of(s).delta, data);
    }
    json_decref(s->fresh);
    s->fresh = NULL;
    buf_free(&found);
}

static void end_item(struct answer *a, bool cut, struct buf *out) {
    struct state *s = a->ctx;
    struct names names = names_of(s);
    if (!s->is_open) return;
    s->is_open = false;
    json_t *done = json_pack("{s:s, s:o}", "item_id", s->id, names.key, json_text(text_so_far(s)));
    if (s->kind == HOLD_TEXT) json_object_set(done, "logprobs", s->logprobs);
    if (s->kind != HOLD_CALL) json_object_set_new(done, "content_index", json_integer(0));
    else json_object_set_new(done, "name", json_string(s->tool ? s->tool->name : s->name));
    if (is_search(s)) json_decref(done);
    else item_event(s, out, names.done, done);
    if (s->kind != HOLD_CALL)
        content_event(s, out, "response.content_part.done", "part", part_json(s, text_so_far(s)));
    json_t *item = item_json(s, cut ? "incomplete" : "completed", false);
    item_event(s, out, "response.output_item.done", json_pack("{s:O}", "item", item));
    json_array_append_new(s->output, item);
}

/* ---- a stream ----------------------------------------------------------------------------- */
static void on_start(struct answer *a, struct buf *out) {
    event(a->ctx, out, "response.created", json_pack("{s:o}", "response", response_json(a, NULL)));
    event(a->ctx, out, "response.in_progress",
          json_pack("{s:o}", "response", response_json(a, NULL)));
}

static void on_block(struct answer *a, int i, const struct hold_event *ev, struct buf *out) {
    const struct hold_block *b = &ev->block;
    (void)i;
    if (ev->kind == HOLD_BLOCK_DELTA) add_delta(a, (struct str){b->text, b->len}, out);
    else if (ev->kind == HOLD_BLOCK_END) end_item(a, b->cut, out);
    else if (!begin_item(a, b->kind, b->id, b->name, out)) out->failed = true;
}

static void on_token(struct answer *a, int i, const struct hold_token *t, struct buf *out) {
    struct state *s = a->ctx;
    (void)i;
    (void)out;
    openai_logprobs_add(a, &s->fresh, t);
}

static json_t *finish(struct answer *a) {
    const struct state *s = a->ctx;
    struct serve *server = http_ctx(a->http);
    json_t *response = response_json(a, final_status(a));
    if (s->want.store && response)
        responses_store_put(server->responses, http_key(a->http),
                            json_string_value(json_object_get(response, "id")), response,
                            s->want.items);
    return response;
}

static void on_done(struct answer *a, struct buf *out) {
    char name[40];
    snprintf(name, sizeof name, "response.%s", final_status(a));
    end_item(a, true, out);
    event(a->ctx, out, name, json_pack("{s:o}", "response", finish(a)));
}

/* Codex explains itself for the code of an overflow, and retries for the others. */
static json_t *failure(const struct http_error *e) {
    json_t *said = openai_error(e);
    json_t *out = json_pack("{s:s, s:O}", "code",
                            e->why.code == HOLD_ERR_OVERFLOW ? "context_length_exceeded"
                            : e->status == 503               ? "server_is_overloaded"
                                                             : "server_error",
                            "message", json_object_get(json_object_get(said, "error"), "message"));
    json_decref(said);
    return out;
}

static void on_error(struct answer *a, const struct http_error *e, struct buf *out) {
    json_t *response = response_json(a, "failed");
    json_object_set_new(response, "error", failure(e));
    event(a->ctx, out, "response.failed", json_pack("{s:o}", "response", response));
}

json_t *responses_failed(const struct http_req *r, const struct http_error *e) {
    return json_pack("{s:s, s:s+, s:s, s:o, s:[]}", "object", "response", "id", "resp_",
                     http_id(r) + strlen("req_"), "status", "failed", "error", failure(e),
                     "output");
}

/* A stream that could not even begin: an overflow has to be seen as an event of its own. */
static void refuse_stream(struct http_req *r, const struct http_error *e) {
    struct buf out = {0};
    if (e->why.code != HOLD_ERR_OVERFLOW) {
        openai_refuse(r, e);
        return;
    }
    struct state s = {0};
    event(&s, &out, "response.created", json_pack("{s:o}", "response", responses_failed(r, e)));
    event(&s, &out, "response.failed", json_pack("{s:o}", "response", responses_failed(r, e)));
    http_reply(r, 200, SSE_TYPE, buf_view(&out));
    buf_free(&out);
}

/* ---- in one piece ------------------------------------------------------------------------- */
static json_t *whole(struct answer *a) {
    const struct answer_choice *c = &a->choice[0];
    struct state *s = a->ctx;
    for (size_t i = 0; i < c->n_blocks; i++) {
        const struct answer_block *b = &c->block[i];
        if (!begin_item(a, b->kind, b->id, b->name, NULL)) return NULL;
        if (b->kind == HOLD_TEXT && c->n_tokens) {
            json_t *all = openai_logprobs(a, c->token, c->n_tokens);
            s->fresh = json_incref(json_object_get(all, "content"));
            json_decref(all);
        }
        add_delta(a, b->text.p ? buf_view(&b->text) : STR(""), NULL);
        end_item(a, b->cut, NULL);
    }
    return finish(a);
}

static void close_state(struct answer *a) {
    struct state *s = a->ctx;
    responses_want_free(&s->want);
    json_decref(s->output);
    json_decref(s->logprobs);
    json_decref(s->fresh);
    mem_free(s->call_id);
    mem_free(s->name);
    buf_free(&s->text);
    mem_free(s);
}

static const struct answer_sink sink = {
    .start = on_start,
    .block = on_block,
    .token = on_token,
    .done = on_done,
    .error = on_error,
    .whole = whole,
    .close = close_state,
    .type = SSE_TYPE,
};

void responses_run(struct http_req *r, struct ask *k, const struct responses_want *w) {
    struct state *s = mem_calloc(1, sizeof *s);
    struct http_error e;
    struct responses_want mine = *w;
    if (s) s->output = json_array();
    if (s && s->output) {
        s->want = *w;
        answer_run(r, k, &sink, s, k->stream ? refuse_stream : openai_refuse);
        return;
    }
    mem_free(s);
    responses_want_free(&mine);
    ask_free(k);
    ask_refuse(&e, 503, NULL, "out of memory");
    openai_refuse(r, &e);
}
