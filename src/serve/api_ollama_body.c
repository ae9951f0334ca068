/* Bodies of Ollama's /api/chat and /api/generate into a struct ask. Its calls have no ids: they get
 * one here, and results take those of the calls before them, by name, else in order. Its options
 * are llama.cpp's samplers; those that size the model (num_ctx, ...) are the server's to decide.
 * tool_choice, which it lacks, is taken as OpenAI has it. */
#include "serve/api_ollama.h"
#include "serve/api_openai.h"

#include <stdio.h>
#include <string.h>

static bool no_memory(struct http_error *e) {
    return ask_refuse(e, 503, NULL, "out of memory");
}

bool ollama_open(struct ask *k, struct models *m, const json_t *body, struct http_error *e) {
    struct str name = json_get_str(body, "model"), latest = STR(":latest");
    if (!name.p) name = json_get_str(body, "name"); /* its first name */
    if (str_ends(name, latest)) name.len -= latest.len;
    char *copy = mem_strndup(name.p ? name.p : "", name.len);
    bool ok = copy ? ask_open(k, m, copy, e) : no_memory(e);
    mem_free(copy);
    return ok;
}

/* ---- options ------------------------------------------------------------------------------ */
static bool format(struct ask *k, const json_t *v, struct http_error *e) {
    if (!v || json_is_null(v) || (json_is_string(v) && !json_string_length(v))) return true;
    bool any = json_is_string(v) && strcmp(json_string_value(v), "json") == 0;
    if (!any && !json_is_object(v))
        return ask_refuse(e, 400, "format", "'format': expected \"json\" or a JSON Schema");
    json_t *none = json_object();
    bool ok = none ? ask_grammar(k, HOLD_GRAMMAR_SCHEMA, any ? none : v, e) : no_memory(e);
    json_decref(none);
    return ok;
}

static bool think(struct ask *k, const json_t *v, struct http_error *e) {
    if (json_is_boolean(v)) k->chat.thinking = json_is_true(v);
    if (json_is_string(v)) return ask_effort(k, json_string_value(v), e);
    return !v || json_is_null(v) || json_is_boolean(v) ||
           ask_refuse(e, 400, "think", "'think': expected true, false, low, medium or high");
}

static bool common(struct ask *k, const json_t *body, struct http_error *e) {
    static const struct ask_field limit = {"num_predict", ASK_INT,
                                           offsetof(struct ask, o.max_tokens), -2, INT32_MAX},
                                  stream = {"stream", ASK_BOOL, offsetof(struct ask, stream), 0, 1},
                                  top = {"top_logprobs", ASK_INT, offsetof(struct ask, o.n_probs),
                                         0, 20};
    const json_t *options = json_object_get(body, "options");
    if (options && !json_is_null(options) && !json_is_object(options))
        return ask_refuse(e, 400, "options", "'options': expected an object");
    k->stream = true;
    if (!ask_fields(k, options, ask_sampling, ask_n_sampling, e) ||
        !ask_fields(k, options, &limit, 1, e) || !ask_fields(k, body, &stream, 1, e) ||
        !ask_fields(k, body, &top, 1, e) || !ask_stop(k, json_object_get(options, "stop"), e) ||
        !format(k, json_object_get(body, "format"), e) ||
        !think(k, json_object_get(body, "think"), e))
        return false;
    if (k->o.max_tokens < -1) k->o.max_tokens = -1; /* -2: until the context is full */
    k->o.want_tokens = json_is_true(json_object_get(body, "logprobs"));
    return true;
}

/* ---- messages ----------------------------------------------------------------------------- */
struct convert {
    json_t *out;
    json_t *open; /* calls without a result: {"id", "name"} */
    int n_calls;
};

/* Text, and a part for each image, which ask_media answers for. */
static json_t *content_of(const json_t *m) {
    json_t *text = json_object_get(m, "content"), *images = json_object_get(m, "images"), *parts;
    text = json_is_string(text) ? json_incref(text) : json_string("");
    if (!json_array_size(images)) return text;
    parts = json_pack("[{s:s, s:o}]", "type", "text", "text", text);
    for (size_t i = 0; i < json_array_size(images); i++)
        json_array_append_new(parts, json_pack("{s:s}", "type", "image"));
    return parts;
}

static bool add_calls(struct convert *c, json_t *message, const json_t *calls,
                      struct http_error *e) {
    size_t i;
    json_t *call, *list = json_array();
    json_array_clear(c->open);
    json_array_foreach(calls, i, call) {
        const json_t *f = json_object_get(call, "function");
        json_t *arguments = json_object_get(f, "arguments");
        struct str id = json_get_str(call, "id"), name = json_get_str(f, "name");
        char made[32];
        struct buf text = {0};
        snprintf(made, sizeof made, "call_%d", c->n_calls++);
        if (!id.len) id = str_of(made);
        if (json_is_string(arguments)) buf_str(&text, json_get_str(f, "arguments"));
        else json_write(&text, arguments ? arguments : json_null());
        json_array_append_new(list, json_pack("{s:o, s:s, s:{s:o, s:o}}", "id", json_text(id),
                                              "type", "function", "function", "name",
                                              json_text(name.p ? name : STR("")), "arguments",
                                              json_text(text.p ? buf_view(&text) : STR(""))));
        json_array_append_new(c->open, json_pack("{s:o, s:o}", "id", json_text(id), "name",
                                                 json_text(name.p ? name : STR(""))));
        buf_free(&text);
    }
    return json_object_set_new(message, "tool_calls", list) == 0 || no_memory(e);
}

/* The id of the call that a result answers. */
static json_t *answered(struct convert *c, const json_t *m) {
    struct str id = json_get_str(m, "tool_call_id"), name = json_get_str(m, "tool_name");
    size_t n = json_array_size(c->open), i = 0;
    if (id.len) return json_text(id);
    while (i < n && !str_eq(json_get_str(json_array_get(c->open, i), "name"), name)) i++;
    json_t *call = json_array_get(c->open, i < n ? i : 0);
    json_t *found = json_incref(json_object_get(call, "id"));
    if (call) json_array_remove(c->open, i < n ? i : 0);
    return found ? found : json_string("call");
}

static bool add_message(struct convert *c, const json_t *m, size_t i, struct http_error *e) {
    struct str role = json_get_str(m, "role");
    const json_t *calls = json_object_get(m, "tool_calls");
    if (!role.p)
        return ask_refuse(e, 400, "messages", "'messages[%zu]': expected an object with a 'role'",
                          i);
    json_t *out = json_pack("{s:o, s:o}", "role", json_text(role), "content", content_of(m));
    struct str thought = json_get_str(m, "thinking");
    if (thought.len) json_object_set_new(out, "reasoning_content", json_text(thought));
    if (str_is(role, "tool")) json_object_set_new(out, "tool_call_id", answered(c, m));
    if (json_array_append_new(c->out, out) != 0) return no_memory(e);
    return !json_array_size(calls) || add_calls(c, out, calls, e);
}

bool ollama_chat_ask(struct ask *k, struct models *m, const json_t *body, bool *empty,
                     struct http_error *e) {
    json_t *list = json_object_get(body, "messages"), *message;
    size_t i;
    if (!ollama_open(k, m, body, e)) return false;
    if (list && !json_is_null(list) && !json_is_array(list))
        return ask_refuse(e, 400, "messages", "'messages': expected an array");
    struct convert c = {.out = json_array(), .open = json_array()};
    bool ok = (c.out && c.open) || no_memory(e);
    k->messages = c.out;
    json_array_foreach(list, i, message) if (ok) ok = add_message(&c, message, i, e);
    json_decref(c.open);
    *empty = json_array_size(list) == 0;
    const json_t *last = json_array_get(c.out, json_array_size(c.out) - 1);
    k->chat.continue_last =
        str_is(json_get_str(last, "role"), "assistant") && !json_object_get(last, "tool_calls");
    return ok && openai_tools(k, body, e) && common(k, body, e);
}

/* ---- generate ----------------------------------------------------------------------------- */
/* The prompt as it is (raw), between a code's prefix and suffix, or as a user's message. */
bool ollama_generate_ask(struct ask *k, struct models *m, const json_t *body, bool *empty,
                         struct http_error *e) {
    struct str prompt = json_get_str(body, "prompt"), suffix = json_get_str(body, "suffix");
    struct str system = json_get_str(body, "system");
    if (!ollama_open(k, m, body, e) || !common(k, body, e)) return false;
    *empty = !prompt.len && !suffix.len && !json_array_size(json_object_get(body, "images"));
    if (json_array_size(json_object_get(body, "context")))
        return ask_refuse(e, 400, "context",
                          "'context' is not served; send the conversation to /api/chat");
    if (json_is_true(json_object_get(body, "raw"))) {
        k->o.raw = true;
        return openai_prompt(k, json_object_get(body, "prompt"), e);
    }
    if (suffix.len) {
        k->o.raw = true;
        return openai_fim(k, prompt.p ? prompt : STR(""), suffix, e);
    }
    json_t *said = json_pack("{s:o, s:O*}", "content", json_text(prompt.p ? prompt : STR("")),
                             "images", json_object_get(body, "images"));
    k->messages = json_array();
    if (system.len)
        json_array_append_new(
            k->messages, json_pack("{s:s, s:o}", "role", "system", "content", json_text(system)));
    json_t *user = json_pack("{s:s, s:o}", "role", "user", "content", content_of(said));
    json_decref(said);
    return json_array_append_new(k->messages, user) == 0 || no_memory(e);
}
