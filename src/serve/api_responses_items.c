/* Items of a conversation to messages in the shape of OpenAI's chat API. An assistant's reasoning,
 * text and calls in a row are one message. What leads (instructions, developer and system items) is
 * one system message; later ones stay where they stand. Calls and results of kinds that nobody
 * here knows become calls and results of a function of that name, so that no text is lost. */
#include "base/base64.h"
#include "serve/api_responses.h"

#include <string.h>

#define SEAL "holdfast."

struct convert {
    struct ask *k;
    json_t *out;
    json_t *assistant; /* the message that goes on, in out */
    struct buf lead;   /* the leading system text */
    bool leading;
    struct http_error *e;
};

static bool no_memory(struct http_error *e) {
    return ask_refuse(e, 503, NULL, "out of memory");
}

/* ---- reasoning ---------------------------------------------------------------------------- */
json_t *responses_seal(struct str reasoning) {
    struct buf text = {0};
    buf_cstr(&text, SEAL);
    base64_encode(&text, reasoning.p, reasoning.len);
    json_t *sealed = text.failed ? NULL : json_stringn(text.p, text.len);
    buf_free(&text);
    return sealed;
}

json_t *responses_unseal(const json_t *sealed) {
    struct str s = {json_string_value(sealed), json_string_length(sealed)};
    struct buf text = {0};
    json_t *out = NULL;
    if (s.p && str_starts(s, STR(SEAL)) &&
        base64_decode(&text, (struct str){s.p + strlen(SEAL), s.len - strlen(SEAL)}))
        out = json_stringn(text.p ? text.p : "", text.len); /* NULL when it is no UTF-8 */
    buf_free(&text);
    return out;
}

/* ---- content ------------------------------------------------------------------------------ */
static bool is_text_part(const json_t *part) {
    return json_is_string(json_object_get(part, "text")) ||
           json_is_string(json_object_get(part, "refusal"));
}

static struct str part_text(const json_t *part) {
    struct str text = json_get_str(part, "text");
    return text.p ? text : json_get_str(part, "refusal");
}

/* The texts of a content (a text or a list of parts) as one. */
static void add_texts(struct buf *out, const json_t *content, const char *between) {
    size_t i;
    json_t *part;
    if (json_is_string(content))
        buf_str(out, (struct str){json_string_value(content), json_string_length(content)});
    json_array_foreach(content, i, part) {
        if (is_text_part(part) && out->len) buf_cstr(out, between);
        if (is_text_part(part)) buf_str(out, part_text(part));
    }
}

static json_t *text_of(const struct buf *b) {
    return json_text(b->p ? buf_view(b) : STR(""));
}

/* Parts in the chat API's shape; what is no text keeps its type only, for ask_media. */
static json_t *content_of(json_t *content) {
    size_t i;
    json_t *part;
    if (!json_is_array(content))
        return json_is_string(content) ? json_incref(content) : json_string("");
    json_t *parts = json_array();
    json_array_foreach(content, i, part) {
        struct str text = part_text(part);
        json_array_append_new(
            parts, text.p ? json_pack("{s:s, s:o}", "type", "text", "text", json_text(text))
                          : json_pack("{s:O?}", "type", json_object_get(part, "type")));
    }
    return parts;
}

/* ---- an assistant's message --------------------------------------------------------------- */
static json_t *assistant(struct convert *c) {
    if (c->assistant) return c->assistant;
    c->assistant = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
    if (json_array_append_new(c->out, c->assistant) != 0) c->assistant = NULL;
    return c->assistant;
}

/* Puts text behind what stands under `key`. */
static bool append(struct convert *c, const char *key, const struct buf *text) {
    json_t *m = assistant(c);
    struct buf all = {0};
    buf_str(&all, json_get_str(m, key));
    buf_str(&all, buf_view(text));
    bool ok = m && !all.failed && json_object_set_new(m, key, text_of(&all)) == 0;
    buf_free(&all);
    return ok || no_memory(c->e);
}

static bool add_reasoning(struct convert *c, const json_t *item) {
    struct buf text = {0};
    add_texts(&text, json_object_get(item, "content"), "");
    json_t *own = text.len ? NULL : responses_unseal(json_object_get(item, "encrypted_content"));
    if (own) add_texts(&text, own, "");
    else if (!text.len) add_texts(&text, json_object_get(item, "summary"), "\n");
    json_decref(own);
    /* Reasoning behind an answer's text begins another answer. */
    if (json_string_length(json_object_get(c->assistant, "content"))) c->assistant = NULL;
    bool ok = !text.len || append(c, "reasoning_content", &text);
    buf_free(&text);
    return ok;
}

/* What a call of any kind passes, as JSON text. */
static json_t *arguments_of(json_t *item) {
    json_t *given = json_object_get(item, "arguments"), *input = json_object_get(item, "input");
    if (json_is_string(given)) return json_incref(given);
    struct buf text = {0};
    json_t *made = given   ? json_incref(given)
                   : input ? json_pack("{s:O}", "input", input)
                           : json_copy(item);
    static const char *const not_said[] = {"id", "type", "call_id", "status", "execution"};
    for (size_t i = 0; !given && !input && i < sizeof not_said / sizeof *not_said; i++)
        json_object_del(made, not_said[i]);
    json_t *out = json_write(&text, made) ? text_of(&text) : NULL;
    json_decref(made);
    buf_free(&text);
    return out;
}

static bool add_call(struct convert *c, json_t *item, struct str type) {
    struct str name = json_get_str(item, "name"), space = json_get_str(item, "namespace");
    json_t *m = assistant(c), *id = json_object_get(item, "call_id");
    if (!name.p) name = (struct str){type.p, type.len - strlen("_call")};
    const char *flat = responses_flat(c->k, space, name);
    json_t *calls = json_object_get(m, "tool_calls");
    if (m && !calls) json_object_set_new(m, "tool_calls", calls = json_array());
    json_t *call = json_pack("{s:O, s:s, s:{s:s, s:o}}", "id", id, "type", "function", "function",
                             "name", flat ? flat : "", "arguments", arguments_of(item));
    return (flat && json_array_append_new(calls, call) == 0) || no_memory(c->e);
}

static bool add_result(struct convert *c, json_t *item) {
    json_t *output = json_object_get(item, "output"), *content;
    struct buf text = {0};
    if (!output) output = json_object_get(item, "tools");
    bool is_parts = json_is_array(output) && json_object_get(json_array_get(output, 0), "type") &&
                    !json_object_get(item, "tools");
    if (json_is_string(output) || is_parts) content = content_of(output);
    else content = json_write(&text, output ? output : item) ? text_of(&text) : NULL;
    buf_free(&text);
    c->assistant = NULL;
    return json_array_append_new(c->out, json_pack("{s:s, s:O, s:o}", "role", "tool",
                                                   "tool_call_id", json_object_get(item, "call_id"),
                                                   "content", content)) == 0 ||
           no_memory(c->e);
}

/* ---- items -------------------------------------------------------------------------------- */
/* The leading system text becomes a message when something else follows. */
static bool end_lead(struct convert *c) {
    if (!c->leading) return true;
    c->leading = false;
    return !c->lead.len ||
           (!c->lead.failed &&
            json_array_append_new(c->out, json_pack("{s:s, s:o}", "role", "system", "content",
                                                    text_of(&c->lead))) == 0) ||
           no_memory(c->e);
}

static bool add_message(struct convert *c, const json_t *item, size_t i) {
    struct str role = json_get_str(item, "role");
    json_t *content = json_object_get(item, "content");
    bool system = str_is(role, "system") || str_is(role, "developer");
    if (!system && !str_is(role, "user") && !str_is(role, "assistant"))
        return ask_refuse(c->e, 400, "input",
                          "'input[%zu].role': expected user, assistant, system or developer", i);
    if (!json_is_string(content) && !json_is_array(content))
        return ask_refuse(c->e, 400, "input",
                          "'input[%zu].content': expected text or an array of parts", i);
    if (system && c->leading) {
        if (c->lead.len) buf_cstr(&c->lead, "\n\n");
        add_texts(&c->lead, content, "\n");
        return true;
    }
    if (!end_lead(c)) return false;
    if (str_is(role, "assistant")) {
        struct buf text = {0};
        add_texts(&text, content, "");
        bool ok = append(c, "content", &text);
        buf_free(&text);
        return ok;
    }
    c->assistant = NULL;
    return json_array_append_new(c->out, json_pack("{s:s, s:o}", "role", system ? "system" : "user",
                                                   "content", content_of(content))) == 0 ||
           no_memory(c->e);
}

static bool add_item(struct convert *c, json_t *item, size_t i) {
    struct str type = json_get_str(item, "type");
    if (!json_is_object(item))
        return ask_refuse(c->e, 400, "input", "'input[%zu]': expected an object", i);
    if (!type.p || str_is(type, "message")) return add_message(c, item, i);
    if (!end_lead(c)) return false;
    if (str_is(type, "reasoning")) return add_reasoning(c, item);
    bool named = json_is_string(json_object_get(item, "call_id"));
    bool is_call = str_ends(type, STR("_call")), is_result = str_ends(type, STR("_output"));
    if ((str_is(type, "function_call") || str_is(type, "custom_tool_call")) &&
        !(named && json_is_string(json_object_get(item, "name"))))
        return ask_refuse(c->e, 400, "input", "'input[%zu]': expected a 'call_id' and a 'name'", i);
    if (is_result && !named)
        return ask_refuse(c->e, 400, "input", "'input[%zu]': expected a 'call_id'", i);
    if (is_result) return add_result(c, item);
    /* Others were run by a service and say nothing to a model. */
    return !is_call || !named || add_call(c, item, type);
}

bool responses_messages(struct ask *k, const json_t *instructions, const struct responses_want *w,
                        struct http_error *e) {
    struct convert c = {.k = k, .out = json_array(), .leading = true, .e = e};
    size_t i;
    json_t *item;
    bool ok = c.out || no_memory(e);
    k->messages = c.out;
    add_texts(&c.lead, instructions, "\n");
    json_array_foreach(w->items, i, item) if (ok) ok = add_item(&c, item, i);
    ok = ok && end_lead(&c);
    buf_free(&c.lead);
    /* An answer that was cut is gone on with. */
    const json_t *last = json_array_get(w->items, json_array_size(w->items) - 1);
    k->chat.continue_last = str_is(json_get_str(last, "role"), "assistant") &&
                            str_is(json_get_str(last, "status"), "incomplete") &&
                            !json_object_get(c.assistant, "tool_calls");
    return ok && (json_array_size(c.out) || ask_refuse(e, 400, "input", "'input' is empty"));
}
