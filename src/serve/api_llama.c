/* llama-server's own endpoints, for the clients that expect them: /tokenize, /detokenize,
 * /apply-template, /props, /slots, /health, /completion and /infill. */
#include "base/limits.h"
#include "serve/api_openai.h"
#include "serve/serve.h"
#include "serve/sse.h"

#include <stdio.h>
#include <string.h>

/* Text of a field; an empty view when it is not there. */
static struct str text_of(const json_t *body, const char *name) {
    return json_get_str(body, name);
}

static bool engine_error(struct http_error *e) {
    e->status = ask_status(e->why.code);
    return false;
}

/* ---- tokens ------------------------------------------------------------------------------- */
static json_t *piece(const struct hold_model *m, int32_t id) {
    size_t len;
    const char *p = hold_token_bytes(m, id, &len);
    if (utf8_valid(p, len)) return json_stringn_nocheck(p, len);
    json_t *bytes = json_array();
    for (size_t i = 0; i < len; i++)
        json_array_append_new(bytes, json_integer((unsigned char)p[i]));
    return bytes;
}

/* {"content", "add_special", "parse_special", "with_pieces"} */
static json_t *tokenize(struct ask *k, const json_t *body, struct http_error *e) {
    struct str text = text_of(body, "content");
    const struct hold_model *m = k->entry->model;
    const json_t *special = json_object_get(body, "parse_special");
    int flags = json_is_true(json_object_get(body, "add_special")) ? HOLD_ADD_SPECIAL : 0;
    bool pieces = json_is_true(json_object_get(body, "with_pieces"));
    if (!special || json_is_true(special)) flags |= HOLD_PARSE_SPECIAL;
    int32_t *ids;
    size_t n;
    if (!hold_tokenize(m, text.p ? text.p : "", text.len, flags, &ids, &n, &e->why)) {
        engine_error(e);
        return NULL;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list, pieces ? json_pack("{s:i, s:o}", "id", (int)ids[i], "piece", piece(m, ids[i]))
                         : json_integer(ids[i]));
    hold_free(ids);
    return json_pack("{s:o}", "tokens", list);
}

static json_t *detokenize(struct ask *k, const json_t *body, struct http_error *e) {
    const json_t *list = json_object_get(body, "tokens"), *v;
    size_t n = json_array_size(list), i, len;
    int32_t *ids = arena_calloc(&k->arena, n + 1, sizeof *ids);
    char *text;
    if (!json_is_array(list) || !ids) {
        ask_refuse(e, 400, "tokens", "'tokens': expected an array of token ids");
        return NULL;
    }
    for (i = 0; i < n; i++) {
        v = json_array_get(list, i);
        bool fits =
            json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= INT32_MAX;
        ids[i] = fits ? (int32_t)json_integer_value(v) : -1;
    }
    if (!hold_detokenize(k->entry->model, ids, n, HOLD_PARSE_SPECIAL, &text, &len, &e->why)) {
        engine_error(e);
        return NULL;
    }
    json_t *out = json_pack("{s:o}", "content", json_text((struct str){text, len}));
    hold_free(text);
    return out;
}

/* The text and the number of tokens that a chat body gives, and what was adapted. */
static json_t *apply_template(struct ask *k, const json_t *body, struct http_error *e) {
    struct openai_want want = {0};
    struct hold_rendering text;
    if (!openai_chat_fields(k, body, &want, e) || !ask_chat(k, e)) return NULL;
    if (!hold_render(k->entry->model, &k->chat, &text, &e->why)) {
        engine_error(e);
        return NULL;
    }
    json_t *out =
        json_pack("{s:o, s:I, s:s}", "prompt", json_stringn_nocheck(text.text, text.text_len),
                  "n_tokens", (json_int_t)text.n_ids, "notes", text.notes);
    hold_rendering_free(&text);
    return out;
}

/* Runs fn with the body's model. */
static void with_model(struct http_req *r,
                       json_t *(*fn)(struct ask *, const json_t *, struct http_error *)) {
    struct serve *s = http_ctx(r);
    struct http_error e = {0};
    struct ask k = {0};
    json_t *body = ask_body(r, &e), *out = NULL;
    if (body && ask_open(&k, s->models, json_string_value(json_object_get(body, "model")), &e))
        out = fn(&k, body, &e);
    if (out) {
        json_reply(r, 200, out);
    } else {
        if (!e.status) ask_refuse(&e, 503, NULL, "out of memory");
        openai_refuse(r, &e);
    }
    json_decref(body);
    ask_free(&k);
}

static void on_tokenize(struct http_req *r) {
    with_model(r, tokenize);
}
static void on_detokenize(struct http_req *r) {
    with_model(r, detokenize);
}
static void on_apply_template(struct http_req *r) {
    with_model(r, apply_template);
}

/* ---- state -------------------------------------------------------------------------------- */
static void health(struct http_req *r) {
    json_reply(r, 200, json_pack("{s:s}", "status", "ok"));
}

static json_t *token_text(const struct hold_model *m, int32_t id) {
    return id < 0 ? json_string("") : piece(m, id);
}

static void props(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct http_error e = {0};
    struct ask k = {0};
    if (!ask_open(&k, s->models, http_query(r, "model"), &e)) {
        openai_refuse(r, &e);
        ask_free(&k);
        return;
    }
    const struct hold_model *m = k.entry->model;
    const struct hold_model_info *i = hold_model_info(m);
    const struct hold_sampling *p = &k.o.sampling;
    json_t *params =
        json_pack("{s:f, s:I, s:f, s:f, s:f, s:I, s:I}", "temperature", p->temp, "top_k",
                  (json_int_t)p->top_k, "top_p", p->top_p, "min_p", p->min_p, "repeat_penalty",
                  p->repeat_penalty, "n_predict", (json_int_t)k.o.max_tokens, "repeat_last_n",
                  (json_int_t)p->repeat_last_n);
    json_t *caps =
        json_pack("{s:b, s:b, s:b}", "supports_system_role", i->has_system, "supports_tools",
                  i->has_tools, "supports_reasoning", i->has_reasoning);
    json_reply(r, 200,
               json_pack("{s:{s:i, s:o}, s:i, s:s, s:s, s:o, s:o, s:o, s:{s:b, s:b}, s:s, s:b}",
                         "default_generation_settings", "n_ctx", (int)i->n_ctx, "params", params,
                         "total_slots", (int)i->n_parallel, "model_alias", i->alias, "model_path",
                         i->path, "chat_template_caps", caps, "bos_token", token_text(m, i->bos),
                         "eos_token", token_text(m, i->eos), "modalities", "vision", 0, "audio", 0,
                         "build_info", hold_version(), "is_sleeping", 0));
    ask_free(&k);
}

/* A slot is a running request here; nothing is reserved for those that are not there. */
static void slots(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct track_view v;
    json_t *list = json_array();
    for (size_t i = 0; track_view(s->track, i, &v) && v.running; i++)
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:b, s:{s:I, s:I, s:I}, s:{s:I}}",
                                              "id", (json_int_t)i, "id_task", v.id, "model",
                                              v.model, "is_processing", 1, "prompt", "n_tokens",
                                              (json_int_t)v.progress.n_total, "n_processed",
                                              (json_int_t)v.progress.n_done, "n_cached",
                                              (json_int_t)v.progress.n_cached, "next_token",
                                              "n_decoded", (json_int_t)v.n_generated));
    json_reply(r, 200, list);
}

/* ---- /completion and /infill -------------------------------------------------------------- */
static json_t *piece_chunk(int i, json_t *text) {
    return json_pack("{s:i, s:o, s:b}", "index", i, "content", text, "stop", 0);
}

static void on_block(struct answer *a, int i, const struct hold_event *ev, struct buf *out) {
    (void)a;
    if (ev->kind != HOLD_BLOCK_DELTA) return;
    sse_event(out, NULL, piece_chunk(i, json_stringn_nocheck(ev->block.text, ev->block.len)));
}

static json_t * final(const struct answer *a, int i, bool with_text) {
    static const char *const type[] = {"eos", "word", "limit", "eos", "none"};
    const struct answer_choice *c = &a->choice[i];
    const struct hold_done *d = &c->done;
    struct buf text = {0};
    for (size_t b = 0; with_text && b < c->n_blocks; b++)
        buf_str(&text, buf_view(&c->block[b].text));
    json_t *out = json_pack(
        "{s:i, s:o, s:b, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:o}", "index", i, "content",
        json_stringn_nocheck(text.p ? text.p : "", text.len), "stop", 1, "id", http_id(a->http),
        "model", a->ask->entry->config->name, "stop_type", type[d->finish], "stopping_word",
        d->stop >= 0 ? a->ask->o.stop[d->stop] : "", "truncated", 0, "tokens_predicted",
        (json_int_t)d->n_generated, "tokens_evaluated", (json_int_t)d->n_prompt, "tokens_cached",
        (json_int_t)d->n_cached, "timings", openai_timings(a));
    if (a->ask->o.want_tokens) {
        json_t *probs = openai_logprobs(a, c->token, c->n_tokens);
        json_object_set(out, "completion_probabilities", json_object_get(probs, "content"));
        json_decref(probs);
    }
    buf_free(&text);
    return out;
}

static void on_choice(struct answer *a, int i, struct buf *out) {
    sse_event(out, NULL, final(a, i, false));
}

static void on_error(struct answer *a, const struct http_error *e, struct buf *out) {
    (void)a;
    sse_event(out, NULL, openai_error(e));
}

static json_t *whole(struct answer *a) {
    if (a->n == 1) return final(a, 0, true);
    json_t *list = json_array();
    for (int i = 0; i < a->n; i++) json_array_append_new(list, final(a, i, true));
    return list;
}

static const struct answer_sink sink = {
    .block = on_block,
    .choice = on_choice,
    .error = on_error,
    .whole = whole,
    .type = SSE_TYPE,
    .keep = true,
};

static bool common(struct ask *k, const json_t *body, struct http_error *e) {
    static const struct ask_field probs = {"n_probs", ASK_INT, offsetof(struct ask, o.n_probs), 0,
                                           20};
    k->o.raw = true;
    if (!openai_common(k, body, e) || !ask_fields(k, body, &probs, 1, e)) return false;
    k->o.want_tokens = k->o.n_probs > 0;
    return true;
}

static bool completion_ask(struct ask *k, const json_t *body, struct http_error *e) {
    return common(k, body, e) && openai_prompt(k, json_object_get(body, "prompt"), e);
}

/* {"input_prefix", "input_suffix", "input_extra": [{"filename", "text"}], "prompt"}: other files
 * stand before the prefix, what the user has typed (prompt) behind it. */
static bool infill_ask(struct ask *k, const json_t *body, struct http_error *e) {
    struct buf prefix = {0};
    const json_t *extra = json_object_get(body, "input_extra"), *file;
    for (size_t i = 0; i < json_array_size(extra); i++) {
        file = json_array_get(extra, i);
        buf_str(&prefix, text_of(file, "filename"));
        buf_char(&prefix, '\n');
        buf_str(&prefix, text_of(file, "text"));
        buf_char(&prefix, '\n');
    }
    buf_str(&prefix, text_of(body, "input_prefix"));
    buf_str(&prefix, text_of(body, "prompt"));
    struct str suffix = text_of(body, "input_suffix");
    if (!suffix.p) suffix = STR("");
    bool ok = common(k, body, e) &&
              openai_fim(k, (struct str){prefix.p ? prefix.p : "", prefix.len}, suffix, e);
    buf_free(&prefix);
    return ok;
}

static void run(struct http_req *r,
                bool (*fill)(struct ask *, const json_t *, struct http_error *)) {
    struct serve *s = http_ctx(r);
    struct http_error e = {0};
    struct ask k = {0};
    json_t *body = ask_body(r, &e);
    bool ok = body &&
              ask_open(&k, s->models, json_string_value(json_object_get(body, "model")), &e) &&
              fill(&k, body, &e);
    json_decref(body);
    if (ok) {
        answer_run(r, &k, &sink, NULL, openai_refuse);
        return;
    }
    openai_refuse(r, &e);
    ask_free(&k);
}

static void completion(struct http_req *r) {
    run(r, completion_ask);
}
static void infill(struct http_req *r) {
    run(r, infill_ask);
}

static const struct http_route routes[] = {
    {"GET", "/health", health, openai_refuse, HTTP_OPEN},
    {"GET", "/v1/health", health, openai_refuse, HTTP_OPEN},
    {"GET", "/props", props, openai_refuse, 0},
    {"GET", "/slots", slots, openai_refuse, 0},
    {"POST", "/tokenize", on_tokenize, openai_refuse, 0},
    {"POST", "/detokenize", on_detokenize, openai_refuse, 0},
    {"POST", "/apply-template", on_apply_template, openai_refuse, 0},
    {"POST", "/completion", completion, openai_refuse, 0},
    {"POST", "/infill", infill, openai_refuse, 0},
};
const struct http_routes llama_routes = {routes, sizeof routes / sizeof *routes};
