/* OpenAI's API: routes, models, errors, and the answers of /v1/completions. */
#include "serve/api_openai.h"
#include "serve/serve.h"
#include "serve/sse.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- shapes that its answers share -------------------------------------------------------- */
static const char *error_type(const struct http_error *e) {
    if (e->why.code == HOLD_ERR_OVERFLOW) return "exceed_context_size_error";
    switch (e->status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 503:
        return "unavailable_error";
    default:
        return e->status >= 500 ? "server_error" : "invalid_request_error";
    }
}

/* Agents compact and go on when they find one of the two phrases that the text of an overflow has
 * (peers.md D5). */
json_t *openai_error(const struct http_error *e) {
    char text[900];
    bool overflow = e->why.code == HOLD_ERR_OVERFLOW;
    if (overflow)
        snprintf(text, sizeof text,
                 "This model's maximum context length is %lld tokens. However, your messages "
                 "resulted in %lld tokens: the request exceeds the available context size.",
                 (long long)e->why.n_ctx, (long long)e->why.n_prompt);
    else snprintf(text, sizeof text, "%s", e->why.msg);
    const char *code = overflow                       ? "context_length_exceeded"
                       : e->status == 401             ? "invalid_api_key"
                       : e->status == 404 && e->param ? "model_not_found"
                                                      : NULL;
    json_t *body =
        json_pack("{s:s%, s:s, s:s?, s:s?}", "message", text, strlen(text), "type", error_type(e),
                  "param", overflow ? "messages" : e->param, "code", code);
    if (!body) /* a message that is no UTF-8 */
        body =
            json_pack("{s:s, s:s}", "message", "the request is not valid", "type", error_type(e));
    if (overflow) {
        json_object_set_new(body, "n_prompt_tokens", json_integer(e->why.n_prompt));
        json_object_set_new(body, "n_ctx", json_integer(e->why.n_ctx));
    }
    return json_pack("{s:o}", "error", body);
}

void openai_refuse(struct http_req *r, const struct http_error *e) {
    if (e->status == 503) http_header_add(r, "Retry-After", "2");
    json_reply(r, e->status, openai_error(e));
}

const char *openai_finish(const struct hold_done *d) {
    return d->finish == HOLD_FINISH_LENGTH  ? "length"
           : d->finish == HOLD_FINISH_CALLS ? "tool_calls"
                                            : "stop";
}

json_t *openai_usage(const struct answer *a) {
    int64_t reasoning = 0;
    for (int i = 0; i < a->n; i++) reasoning += a->choice[i].done.n_reasoning;
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I}}", "prompt_tokens", (json_int_t)a->n_prompt,
                     "completion_tokens", (json_int_t)a->n_generated, "total_tokens",
                     (json_int_t)(a->n_prompt + a->n_generated), "prompt_tokens_details",
                     "cached_tokens", (json_int_t)a->n_cached, "completion_tokens_details",
                     "reasoning_tokens", (json_int_t)reasoning);
}

static double rate(double n, double ms) {
    return ms > 0 ? 1e3 * n / ms : 0;
}

json_t *openai_timings(const struct answer *a) {
    const struct hold_done *d = &a->choice[0].done;
    double fresh = (double)(d->n_prompt - d->n_cached), made = (double)d->n_generated;
    return json_pack(
        "{s:I, s:I, s:f, s:f, s:f, s:I, s:f, s:f, s:f}", "cache_n", (json_int_t)d->n_cached,
        "prompt_n", (json_int_t)(d->n_prompt - d->n_cached), "prompt_ms", d->prefill_ms,
        "prompt_per_token_ms", fresh > 0 ? d->prefill_ms / fresh : 0, "prompt_per_second",
        rate(fresh, d->prefill_ms), "predicted_n", (json_int_t)d->n_generated, "predicted_ms",
        d->decode_ms, "predicted_per_token_ms", made > 0 ? d->decode_ms / made : 0,
        "predicted_per_second", rate(made, d->decode_ms));
}

/* "token" shows bytes that are no whole characters as U+FFFD; "bytes" has them all. */
static json_t *one_logprob(struct str s, float logprob) {
    json_t *bytes = json_array();
    for (size_t i = 0; i < s.len; i++)
        json_array_append_new(bytes, json_integer((unsigned char)s.p[i]));
    double value = isfinite(logprob) ? (double)logprob : -9999.0;
    return json_pack("{s:o, s:f, s:o}", "token", json_text(s), "logprob", value, "bytes", bytes);
}

json_t *openai_logprobs(const struct answer *a, const struct answer_token *t, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *top = json_array(), *one = one_logprob(t[i].bytes, t[i].logprob);
        for (int j = 0; j < t[i].n_top; j++) {
            size_t len;
            const char *p = hold_token_bytes(a->ask->entry->model, t[i].top[j].id, &len);
            json_array_append_new(top, one_logprob((struct str){p, len}, t[i].top[j].logprob));
        }
        json_object_set_new(one, "top_logprobs", top);
        json_array_append_new(list, one);
    }
    return json_pack("{s:o}", "content", list);
}

void openai_logprobs_add(const struct answer *a, json_t **list, const struct hold_token *t) {
    struct answer_token one = {t->id, t->logprob, {t->bytes, t->len}, t->n_top, t->top};
    json_t *more = openai_logprobs(a, &one, 1);
    if (!*list) *list = json_array();
    json_array_extend(*list, json_object_get(more, "content"));
    json_decref(more);
}

/* ---- /v1/models --------------------------------------------------------------------------- */
static json_t *model_json(const struct model_view *v) {
    json_t *m = json_pack("{s:s, s:s, s:I, s:s}", "id", v->config->name, "object", "model",
                          "created", (json_int_t)v->mtime, "owned_by", "holdfast");
    if (v->has_info) {
        json_object_set_new(m, "context_length", json_integer(v->info.n_ctx));
        json_object_set_new(m, "meta",
                            json_pack("{s:i, s:i, s:i, s:i, s:I, s:I}", "n_vocab",
                                      (int)v->info.n_vocab, "n_ctx", (int)v->info.n_ctx,
                                      "n_ctx_train", (int)v->info.n_ctx_train, "n_embd",
                                      (int)v->info.n_embd, "n_params", (json_int_t)v->info.n_params,
                                      "size", (json_int_t)v->info.file_bytes));
    }
    return m;
}

static void list_models(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct model_view v;
    json_t *list = json_array();
    for (size_t i = 0; models_view(s->models, i, &v); i++)
        json_array_append_new(list, model_json(&v));
    json_reply(r, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

static void one_model(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct model_view v;
    struct http_error e;
    if (models_find(s->models, http_rest(r), &v)) {
        json_reply(r, 200, model_json(&v));
        return;
    }
    ask_refuse(&e, 404, "model", "there is no model '%.200s'", http_rest(r));
    openai_refuse(r, &e);
}

/* ---- /v1/completions ---------------------------------------------------------------------- */
static json_t *text_logprobs(const struct answer *a, const struct answer_choice *c) {
    json_t *tokens = json_array(), *probs = json_array(), *top = json_array();
    json_t *offsets = json_array();
    size_t at = 0;
    for (size_t i = 0; i < c->n_tokens; i++) {
        const struct answer_token *t = &c->token[i];
        json_t *best = json_object();
        for (int j = 0; j < t->n_top; j++) {
            size_t len;
            const char *p = hold_token_bytes(a->ask->entry->model, t->top[j].id, &len);
            json_t *key = json_text((struct str){p, len});
            json_object_set_new_nocheck(best, json_string_value(key),
                                        json_real((double)t->top[j].logprob));
            json_decref(key);
        }
        json_array_append_new(tokens, json_text(t->bytes));
        json_array_append_new(probs, json_real(isfinite(t->logprob) ? (double)t->logprob : -9999));
        json_array_append_new(top, best);
        json_array_append_new(offsets, json_integer((json_int_t)at));
        at += t->bytes.len;
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", probs,
                     "top_logprobs", top, "text_offset", offsets);
}

static json_t *text_envelope(const struct answer *a, json_t *choices) {
    char id[64];
    answer_id(a, "cmpl-", id, sizeof id);
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", id, "object", "text_completion", "created",
                     (json_int_t)a->created, "model", a->ask->entry->config->name, "choices",
                     choices);
}

static json_t *text_choice(int i, json_t *text, const char *finish) {
    return json_pack("{s:i, s:o, s:n, s:s?}", "index", i, "text", text, "logprobs", "finish_reason",
                     finish);
}

static void text_start(struct answer *a, struct buf *out) {
    const struct openai_want *w = a->ctx;
    for (int i = 0; w->prompt && i < a->n; i++)
        sse_event(out, NULL,
                  text_envelope(a, json_pack("[o]", text_choice(i, json_string(w->prompt), NULL))));
}

static void text_block(struct answer *a, int i, const struct hold_event *ev, struct buf *out) {
    if (ev->kind != HOLD_BLOCK_DELTA) return;
    json_t *text = json_stringn_nocheck(ev->block.text, ev->block.len);
    sse_event(out, NULL, text_envelope(a, json_pack("[o]", text_choice(i, text, NULL))));
}

static void text_choice_done(struct answer *a, int i, struct buf *out) {
    json_t *c = text_choice(i, json_string(""), openai_finish(&a->choice[i].done));
    const struct openai_want *w = a->ctx;
    if (w->logprobs) json_object_set_new(c, "logprobs", text_logprobs(a, &a->choice[i]));
    json_t *chunk = text_envelope(a, json_pack("[o]", c));
    if (a->n == 1) json_object_set_new(chunk, "timings", openai_timings(a));
    sse_event(out, NULL, chunk);
}

static void text_done(struct answer *a, struct buf *out) {
    const struct openai_want *w = a->ctx;
    if (w->usage) {
        json_t *c = text_envelope(a, json_array());
        json_object_set_new(c, "usage", openai_usage(a));
        sse_event(out, NULL, c);
    }
    sse_text(out, "[DONE]");
}

static void text_error(struct answer *a, const struct http_error *e, struct buf *out) {
    (void)a;
    sse_event(out, NULL, openai_error(e));
}

static json_t *text_whole(struct answer *a) {
    const struct openai_want *w = a->ctx;
    json_t *choices = json_array();
    for (int i = 0; i < a->n; i++) {
        const struct answer_choice *c = &a->choice[i];
        struct buf text = {0};
        if (w->prompt) buf_cstr(&text, w->prompt);
        for (size_t b = 0; b < c->n_blocks; b++) buf_str(&text, buf_view(&c->block[b].text));
        json_t *one = text_choice(i, json_stringn_nocheck(text.p ? text.p : "", text.len),
                                  openai_finish(&c->done));
        if (w->logprobs) json_object_set_new(one, "logprobs", text_logprobs(a, c));
        json_array_append_new(choices, one);
        buf_free(&text);
    }
    json_t *out = text_envelope(a, choices);
    json_object_set_new(out, "usage", openai_usage(a));
    json_object_set_new(out, "timings", openai_timings(a));
    return out;
}

static void text_close(struct answer *a) {
    struct openai_want *w = a->ctx;
    mem_free(w->prompt);
    mem_free(w);
}

static const struct answer_sink text_sink = {
    .start = text_start,
    .block = text_block,
    .choice = text_choice_done,
    .done = text_done,
    .error = text_error,
    .whole = text_whole,
    .close = text_close,
    .type = SSE_TYPE,
    .keep = true,
};

static void completions(struct http_req *r) {
    struct serve *server = http_ctx(r);
    struct http_error e = {0};
    struct ask k = {0};
    struct openai_want *w = mem_calloc(1, sizeof *w);
    json_t *body = ask_body(r, &e);
    bool ok = body && (w || ask_refuse(&e, 503, NULL, "out of memory")) &&
              openai_text_ask(&k, server->models, body, w, &e);
    json_decref(body);
    if (ok) {
        answer_run(r, &k, &text_sink, w, openai_refuse);
        return;
    }
    openai_refuse(r, &e);
    ask_free(&k);
    if (w) mem_free(w->prompt);
    mem_free(w);
}

/* ---- routes ------------------------------------------------------------------------------- */
static const struct http_route routes[] = {
    {"GET", "/v1/models", list_models, openai_refuse, 0},
    {"GET", "/models", list_models, openai_refuse, 0},
    {"GET", "/v1/models/*", one_model, openai_refuse, 0},
    {"POST", "/v1/chat/completions", openai_chat, openai_refuse, 0},
    {"POST", "/chat/completions", openai_chat, openai_refuse, 0},
    {"POST", "/v1/completions", completions, openai_refuse, 0},
};
const struct http_routes openai_routes = {routes, sizeof routes / sizeof *routes};
