/* Bodies of /v1/chat/completions and /v1/completions into a struct ask. Beside OpenAI's fields it
 * takes those that llama-server and vLLM added and clients send. Fields nobody knows are ignored;
 * fields we know and cannot serve refuse the request. */
#include "serve/api_openai.h"
#include "base/limits.h"

#include <string.h>

static bool text_is(const json_t *v, const char *text) {
    return json_is_string(v) && strcmp(json_string_value(v), text) == 0;
}

/* ---- structure ---------------------------------------------------------------------------- */
bool openai_format(struct ask *k, const json_t *f, const char *param, struct http_error *e) {
    const json_t *type = json_object_get(f, "type"), *schema = json_object_get(f, "json_schema");
    if (!f || json_is_null(f) || text_is(type, "text")) return true;
    if (text_is(type, "json_object")) {
        const json_t *given = json_object_get(f, "schema"); /* llama-server's */
        json_t *any = given ? NULL : json_object();
        bool ok = ask_grammar(k, HOLD_GRAMMAR_SCHEMA, given ? given : any, e);
        json_decref(any);
        return ok;
    }
    if (!text_is(type, "json_schema"))
        return ask_refuse(e, 400, param, "'%s.type': expected text, json_object or json_schema",
                          param);
    if (!schema) schema = f; /* as responses have it */
    const json_t *inner = json_object_get(schema, "schema");
    if (!json_is_object(inner) && !json_is_boolean(inner))
        return ask_refuse(e, 400, param, "'%s': expected a JSON Schema under 'schema'", param);
    k->o.grammar_strict = json_is_true(json_object_get(schema, "strict"));
    return ask_grammar(k, HOLD_GRAMMAR_SCHEMA, inner, e);
}

/* A grammar text that begins so is in Lark's notation, as llama-server's users write it. */
static bool is_lark(const json_t *v) {
    return str_starts((struct str){json_string_value(v), json_string_length(v)},
                      STR("%llguidance"));
}

static bool lark(struct ask *k, const json_t *v, struct http_error *e) {
    const char *rest = strchr(json_string_value(v), '\n'); /* behind the line that says so */
    json_t *text = json_string(rest ? rest : "");
    bool ok = ask_grammar(k, HOLD_GRAMMAR_LARK, text, e);
    json_decref(text);
    return ok;
}

/* llama-server's names, vLLM's old ones, and its new ones inside of structured_outputs. */
static bool structure(struct ask *k, const json_t *body, struct http_error *e) {
    static const struct {
        const char *name, *inside;
        enum hold_grammar kind;
    } fields[] = {
        {"grammar", "grammar", HOLD_GRAMMAR_GBNF},   {"json_schema", "json", HOLD_GRAMMAR_SCHEMA},
        {"guided_grammar", NULL, HOLD_GRAMMAR_GBNF}, {"guided_json", NULL, HOLD_GRAMMAR_SCHEMA},
        {"guided_regex", NULL, HOLD_GRAMMAR_REGEX},  {"guided_choice", NULL, HOLD_GRAMMAR_CHOICES},
        {"regex", "regex", HOLD_GRAMMAR_REGEX},      {"choices", "choice", HOLD_GRAMMAR_CHOICES},
    };
    const json_t *outputs = json_object_get(body, "structured_outputs");
    if (!openai_format(k, json_object_get(body, "response_format"), "response_format", e))
        return false;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *v = json_object_get(body, fields[i].name);
        if (!v && fields[i].inside) v = json_object_get(outputs, fields[i].inside);
        if (!v || json_is_null(v) || text_is(v, "")) continue;
        bool by_lark = fields[i].kind == HOLD_GRAMMAR_GBNF && is_lark(v);
        if (by_lark ? lark(k, v, e) : ask_grammar(k, fields[i].kind, v, e)) continue;
        if (!e->param) e->param = fields[i].name;
        return false;
    }
    return true;
}

/* ---- common fields ------------------------------------------------------------------------ */
bool openai_common(struct ask *k, const json_t *body, struct http_error *e) {
    static const struct ask_field more[] = {
        {"max_tokens", ASK_INT, offsetof(struct ask, o.max_tokens), -1, INT32_MAX},
        {"n_predict", ASK_INT, offsetof(struct ask, o.max_tokens), -1, INT32_MAX},
        {"max_completion_tokens", ASK_INT, offsetof(struct ask, o.max_tokens), -1, INT32_MAX},
        {"reasoning_budget", ASK_INT, offsetof(struct ask, o.reasoning_budget), -1, INT32_MAX},
        {"thinking_budget", ASK_INT, offsetof(struct ask, o.reasoning_budget), -1, INT32_MAX},
        {"thinking_budget_tokens", ASK_INT, offsetof(struct ask, o.reasoning_budget), -1,
         INT32_MAX},
        {"stream", ASK_BOOL, offsetof(struct ask, stream), 0, 1},
        {"return_progress", ASK_BOOL, offsetof(struct ask, progress), 0, 1},
    };
    if (!ask_fields(k, body, ask_sampling, ask_n_sampling, e) ||
        !ask_fields(k, body, more, sizeof more / sizeof *more, e) ||
        !ask_stop(k, json_object_get(body, "stop"), e) ||
        !ask_bias(k, json_object_get(body, "logit_bias"), e) || !structure(k, body, e))
        return false;
    const json_t *v = json_object_get(body, "n");
    if (v && !json_is_null(v)) {
        int64_t n = json_is_integer(v) ? json_integer_value(v) : 0;
        if (n < 1 || n > ASK_N_MAX)
            return ask_refuse(e, 400, "n", "'n': expected a whole number of 1 to %d", ASK_N_MAX);
        k->n = (int)n;
    }
    k->o.no_cache = json_is_false(json_object_get(body, "cache_prompt"));
    if (text_is(json_object_get(body, "priority"), "background")) k->o.priority = HOLD_BACKGROUND;
    return true;
}

static bool stream_options(const json_t *body, struct openai_want *want, struct http_error *e) {
    const json_t *o = json_object_get(body, "stream_options");
    if (o && !json_is_null(o) && !json_is_object(o))
        return ask_refuse(e, 400, "stream_options", "'stream_options': expected an object");
    want->usage = json_is_true(json_object_get(o, "include_usage"));
    return true;
}

/* ---- chat --------------------------------------------------------------------------------- */
static bool messages(struct ask *k, const json_t *body, struct http_error *e) {
    json_t *v = json_object_get(body, "messages"), *m;
    size_t i, n = json_array_size(v);
    if (!json_is_array(v) || n == 0)
        return ask_refuse(e, 400, "messages", "'messages': expected an array of messages");
    json_array_foreach(v, i, m) {
        if (!json_is_object(m) || !json_is_string(json_object_get(m, "role")))
            return ask_refuse(e, 400, "messages",
                              "'messages[%zu]': expected an object with a 'role'", i);
    }
    const json_t *last = json_array_get(v, n - 1);
    k->chat.continue_last = text_is(json_object_get(last, "role"), "assistant") &&
                            json_array_size(json_object_get(last, "tool_calls")) == 0;
    k->messages = openai_history(v);
    return k->messages || ask_refuse(e, 503, NULL, "out of memory");
}

bool openai_thinking(struct ask *k, const json_t *body, struct http_error *e) {
    json_t *v = json_object_get(body, "chat_template_kwargs");
    if (v && !json_is_null(v) && !json_is_object(v))
        return ask_refuse(e, 400, "chat_template_kwargs",
                          "'chat_template_kwargs': expected an object");
    if (json_object_size(v)) k->kwargs = json_copy(v);
    const json_t *on = json_object_get(k->kwargs, "enable_thinking");
    if (!on) on = json_object_get(body, "enable_thinking");
    if (json_is_boolean(on)) k->chat.thinking = json_is_true(on);
    const json_t *effort = json_object_get(body, "reasoning_effort");
    if (!effort) effort = json_object_get(json_object_get(body, "reasoning"), "effort");
    return !json_is_string(effort) || ask_effort(k, json_string_value(effort), e);
}

static bool chat_logprobs(struct ask *k, const json_t *body, struct openai_want *want,
                          struct http_error *e) {
    static const struct ask_field top = {"top_logprobs", ASK_INT, offsetof(struct ask, o.n_probs),
                                         0, 20};
    want->logprobs = json_is_true(json_object_get(body, "logprobs"));
    k->o.want_tokens = want->logprobs;
    return !want->logprobs || ask_fields(k, body, &top, 1, e);
}

bool openai_chat_fields(struct ask *k, const json_t *body, struct openai_want *want,
                        struct http_error *e) {
    return messages(k, body, e) && openai_tools(k, body, e) && openai_thinking(k, body, e) &&
           openai_common(k, body, e) && chat_logprobs(k, body, want, e) &&
           stream_options(body, want, e);
}

bool openai_chat_ask(struct ask *k, struct models *m, const json_t *body, struct openai_want *want,
                     struct http_error *e) {
    return ask_open(k, m, json_string_value(json_object_get(body, "model")), e) &&
           openai_chat_fields(k, body, want, e);
}

/* ---- text --------------------------------------------------------------------------------- */
static bool prompt_ids(struct ask *k, const json_t *list, struct http_error *e) {
    size_t n = json_array_size(list), i;
    int32_t *ids = arena_calloc(&k->arena, n + 1, sizeof *ids);
    json_t *v;
    if (!ids) return ask_refuse(e, 503, NULL, "out of memory");
    json_array_foreach(list, i, v) {
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            return ask_refuse(e, 400, "prompt", "'prompt[%zu]': expected a token id", i);
        ids[i] = (int32_t)json_integer_value(v);
    }
    k->ids = ids;
    k->n_ids = n;
    return true;
}

bool openai_prompt(struct ask *k, const json_t *v, struct http_error *e) {
    if (json_is_array(v) && json_array_size(v) == 1 && !json_is_integer(json_array_get(v, 0)))
        v = json_array_get(v, 0);
    if (json_is_array(v) && json_is_integer(json_array_get(v, 0))) return prompt_ids(k, v, e);
    if (!json_is_string(v))
        return ask_refuse(e, 400, "prompt", "'prompt': expected one text or one list of tokens%s",
                          json_is_array(v) ? "; send several prompts as several requests" : "");
    struct str text = {json_string_value(v), json_string_length(v)};
    k->text = (struct str){ask_text(k, text), text.len};
    k->is_text = true;
    k->o.text_flags = HOLD_ADD_SPECIAL | HOLD_PARSE_SPECIAL;
    return k->text.p || ask_refuse(e, 503, NULL, "out of memory");
}

static bool add_text(struct ask *k, int32_t *out, size_t *n, struct str text, int flags,
                     struct http_error *e) {
    int32_t *ids = NULL;
    size_t got = 0;
    if (!hold_tokenize(k->entry->model, text.p, text.len, flags, &ids, &got, &e->why)) {
        e->status = 400;
        return false;
    }
    if (out) memcpy(out + *n, ids, got * sizeof *ids);
    *n += got;
    hold_free(ids);
    return true;
}

bool openai_fim(struct ask *k, struct str prefix, struct str suffix, struct http_error *e) {
    const struct hold_model_info *info = hold_model_info(k->entry->model);
    if (info->fim_pre < 0 || info->fim_suf < 0 || info->fim_mid < 0)
        return ask_refuse(e, 400, "suffix",
                          "%s has no tokens to fill in the middle; use a model made for code",
                          info->alias);
    size_t n = 0, most = 0;
    if (!add_text(k, NULL, &most, prefix, 0, e) || !add_text(k, NULL, &most, suffix, 0, e))
        return false;
    int32_t *ids = arena_calloc(&k->arena, most + 4, sizeof *ids);
    if (!ids) return ask_refuse(e, 503, NULL, "out of memory");
    if (info->add_bos && info->bos >= 0) ids[n++] = info->bos;
    ids[n++] = info->fim_pre;
    if (!add_text(k, ids, &n, prefix, 0, e)) return false;
    ids[n++] = info->fim_suf;
    if (!add_text(k, ids, &n, suffix, 0, e)) return false;
    ids[n++] = info->fim_mid;
    k->ids = ids;
    k->n_ids = n;
    k->is_text = false;
    return true;
}

bool openai_text_ask(struct ask *k, struct models *m, const json_t *body, struct openai_want *want,
                     struct http_error *e) {
    static const struct ask_field probs = {"logprobs", ASK_INT, offsetof(struct ask, o.n_probs), 0,
                                           20};
    const json_t *suffix = json_object_get(body, "suffix"), *lp = json_object_get(body, "logprobs");
    if (!ask_open(k, m, json_string_value(json_object_get(body, "model")), e)) return false;
    k->o.raw = true;
    if (k->o.max_tokens < 0) k->o.max_tokens = 16; /* OpenAI's default here */
    want->echo = json_is_true(json_object_get(body, "echo"));
    want->logprobs = json_is_integer(lp);
    k->o.want_tokens = want->logprobs;
    if (!openai_common(k, body, e) || !stream_options(body, want, e) ||
        !openai_prompt(k, json_object_get(body, "prompt"), e) ||
        (want->logprobs && !ask_fields(k, body, &probs, 1, e)))
        return false;
    if (want->echo && k->is_text) want->prompt = mem_strndup(k->text.p, k->text.len);
    if (!json_is_string(suffix) || !json_string_length(suffix)) return true;
    if (!k->is_text)
        return ask_refuse(e, 400, "suffix", "'suffix' goes with a prompt that is text");
    return openai_fim(k, k->text,
                      (struct str){json_string_value(suffix), json_string_length(suffix)}, e);
}
