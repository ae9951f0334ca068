/* Bodies of Anthropic's Messages API into a struct ask: content blocks become messages in OpenAI's
 * shape, in the order they stand in; a system message among the messages stays there. cache_control
 * and everything else that says nothing to a model is left out, so that a prompt stays
 * byte-stable when a client moves its cache marks. */
#include "serve/api_anthropic.h"

#include <string.h>

static bool no_memory(struct http_error *e) {
    return ask_refuse(e, 503, NULL, "out of memory");
}

static bool type_is(const json_t *block, const char *type) {
    return str_is(json_get_str(block, "type"), type);
}

/* ---- content ------------------------------------------------------------------------------ */
/* A block as a part of OpenAI's content. What is no text keeps its type only: ask_media answers for
 * images and files, the text layer reports the rest. */
static json_t *part_of(const json_t *block) {
    json_t *text = json_object_get(block, "text");
    const json_t *source = json_object_get(block, "source");
    bool is_document = type_is(block, "document");
    if (is_document && type_is(source, "text")) text = json_object_get(source, "data");
    if (json_is_string(text)) return json_pack("{s:s, s:O}", "type", "text", "text", text);
    if (is_document) return json_pack("{s:s}", "type", "file");
    return json_pack("{s:O?}", "type", json_object_get(block, "type"));
}

/* Claude Code's line for the billing of another service changes from one call to the next. */
static bool is_billing(const json_t *block) {
    return str_starts(json_get_str(block, "text"), STR("x-anthropic-billing-header:"));
}

/* A text or a list of blocks as OpenAI's content; NULL: neither, or no memory. */
static json_t *content_of(json_t *v) {
    size_t i;
    json_t *block;
    if (!v || json_is_null(v)) return json_string("");
    if (json_is_string(v)) return json_incref(v);
    json_t *parts = json_is_array(v) ? json_array() : NULL;
    json_array_foreach(v, i, block) {
        if (!is_billing(block)) json_array_append_new(parts, part_of(block));
    }
    return parts;
}

/* The texts under `key` of all blocks of a type as one, or NULL when there are none. */
static json_t *joined(const json_t *blocks, const char *type, const char *key) {
    struct buf all = {0};
    size_t i;
    json_t *block;
    json_array_foreach(blocks, i, block) {
        if (type_is(block, type)) buf_str(&all, json_get_str(block, key));
    }
    json_t *text = all.len ? json_stringn_nocheck(all.p, all.len) : NULL;
    buf_free(&all);
    return text;
}

/* ---- messages ----------------------------------------------------------------------------- */
static bool add_system(json_t *out, json_t *system, struct http_error *e) {
    if (!system || json_is_null(system)) return true;
    json_t *content = content_of(system);
    if (!content)
        return ask_refuse(e, 400, "system", "'system': expected text or an array of blocks");
    bool empty = json_is_string(content) ? !json_string_length(content) : !json_array_size(content);
    json_t *m = json_pack("{s:s, s:o}", "role", "system", "content", content);
    if (!empty) return json_array_append_new(out, m) == 0 || no_memory(e);
    json_decref(m);
    return true;
}

static json_t *call_of(const json_t *block) {
    struct buf text = {0};
    const json_t *input = json_object_get(block, "input");
    if (!input) buf_cstr(&text, "{}");
    else if (!json_write(&text, input)) buf_clear(&text);
    json_t *call = json_pack("{s:O, s:s, s:{s:O, s:o}}", "id", json_object_get(block, "id"), "type",
                             "function", "function", "name", json_object_get(block, "name"),
                             "arguments", json_stringn_nocheck(text.p ? text.p : "", text.len));
    buf_free(&text);
    return call;
}

/* An assistant's blocks are one message: reasoning, text, calls. */
static json_t *assistant_of(const json_t *blocks) {
    size_t i;
    json_t *block, *calls = json_array();
    json_t *text = joined(blocks, "text", "text");
    json_t *thinking = joined(blocks, "thinking", "thinking");
    json_array_foreach(blocks, i, block) {
        if (type_is(block, "tool_use")) json_array_append_new(calls, call_of(block));
    }
    json_t *m = json_pack("{s:s, s:o}", "role", "assistant", "content",
                          text                     ? text
                          : json_array_size(calls) ? json_null()
                                                   : json_string(""));
    if (thinking) json_object_set_new(m, "reasoning_content", thinking);
    if (json_array_size(calls)) json_object_set(m, "tool_calls", calls);
    json_decref(calls);
    return m;
}

/* Results become messages of their own; what stands before, between and behind them stays there. */
static bool add_blocks(json_t *out, json_t *role, const json_t *blocks) {
    size_t i;
    json_t *block, *parts = NULL;
    bool ok = true;
    json_array_foreach(blocks, i, block) {
        bool is_result = type_is(block, "tool_result");
        if (is_result && parts) {
            ok &= json_array_append_new(
                      out, json_pack("{s:O, s:o}", "role", role, "content", parts)) == 0;
            parts = NULL;
        }
        if (is_result) {
            json_t *content = content_of(json_object_get(block, "content"));
            ok &= json_array_append_new(out,
                                        json_pack("{s:s, s:O, s:o}", "role", "tool", "tool_call_id",
                                                  json_object_get(block, "tool_use_id"), "content",
                                                  content ? content : json_string(""))) == 0;
        } else {
            if (!parts) parts = json_array();
            ok &= json_array_append_new(parts, part_of(block)) == 0;
        }
    }
    if (parts)
        ok &= json_array_append_new(out, json_pack("{s:O, s:o}", "role", role, "content", parts)) ==
              0;
    return ok;
}

/* What jansson would not pack: names and ids that are no text. */
static bool check_blocks(const json_t *blocks, size_t at, struct http_error *e) {
    static const struct {
        const char *type, *key;
    } needs[] = {{"text", "text"},
                 {"tool_use", "id"},
                 {"tool_use", "name"},
                 {"tool_result", "tool_use_id"},
                 {"thinking", "thinking"}};
    size_t i;
    json_t *block;
    json_array_foreach(blocks, i, block) {
        if (!json_is_string(json_object_get(block, "type")))
            return ask_refuse(e, 400, "messages",
                              "messages.%zu.content.%zu: expected an object with a 'type'", at, i);
        for (size_t k = 0; k < sizeof needs / sizeof *needs; k++)
            if (type_is(block, needs[k].type) &&
                !json_is_string(json_object_get(block, needs[k].key)))
                return ask_refuse(e, 400, "messages", "messages.%zu.content.%zu.%s: expected text",
                                  at, i, needs[k].key);
    }
    return true;
}

static bool add_message(json_t *out, const json_t *m, size_t at, struct http_error *e) {
    json_t *role = json_object_get(m, "role"), *content = json_object_get(m, "content");
    struct str name = json_get_str(m, "role");
    if (!str_is(name, "user") && !str_is(name, "assistant") && !str_is(name, "system"))
        return ask_refuse(e, 400, "messages",
                          "messages.%zu.role: expected user, assistant or system", at);
    if (!json_is_string(content) && !json_is_array(content))
        return ask_refuse(e, 400, "messages",
                          "messages.%zu.content: expected text or an array of blocks", at);
    if (json_is_string(content))
        return json_array_append_new(
                   out, json_pack("{s:O, s:O}", "role", role, "content", content)) == 0 ||
               no_memory(e);
    if (!check_blocks(content, at, e)) return false;
    bool ok = str_is(name, "assistant") ? json_array_append_new(out, assistant_of(content)) == 0
                                        : add_blocks(out, role, content);
    return ok || no_memory(e);
}

static bool messages(struct ask *k, const json_t *body, struct http_error *e) {
    const json_t *list = json_object_get(body, "messages"), *m;
    size_t i, n = json_array_size(list);
    if (n == 0)
        return ask_refuse(e, 400, "messages",
                          "messages: expected an array of at least one message");
    k->messages = json_array();
    if (!k->messages) return no_memory(e);
    if (!add_system(k->messages, json_object_get(body, "system"), e)) return false;
    json_array_foreach(list, i, m) if (!add_message(k->messages, m, i, e)) return false;
    /* An assistant's text at the end is the start of the answer. */
    const json_t *last = json_array_get(k->messages, json_array_size(k->messages) - 1);
    k->chat.continue_last =
        str_is(json_get_str(last, "role"), "assistant") && !json_object_get(last, "tool_calls");
    return true;
}

/* ---- tools -------------------------------------------------------------------------------- */
/* Tools that the service itself would run (web_search_...) have no schema; they are left out. */
static bool tools(struct ask *k, const json_t *body, struct http_error *e) {
    const json_t *list = json_object_get(body, "tools");
    size_t i;
    json_t *tool;
    if (list && !json_is_null(list) && !json_is_array(list))
        return ask_refuse(e, 400, "tools", "tools: expected an array");
    json_array_foreach(list, i, tool) {
        json_t *schema = json_object_get(tool, "input_schema");
        json_t *about = json_object_get(tool, "description");
        if (!json_is_string(json_object_get(tool, "name")))
            return ask_refuse(e, 400, "tools", "tools.%zu.name: expected text", i);
        if (!schema) continue;
        if (!k->tools) k->tools = json_array();
        json_t *function = json_pack("{s:O, s:O*, s:O}", "name", json_object_get(tool, "name"),
                                     "description", about, "parameters", schema);
        if (json_array_append_new(
                k->tools, json_pack("{s:s, s:o}", "type", "function", "function", function)) != 0)
            return no_memory(e);
    }
    return true;
}

static bool tool_choice(struct ask *k, const json_t *body, struct http_error *e) {
    static const struct {
        const char *name;
        enum hold_tool_choice choice;
    } known[] = {{"auto", HOLD_TOOLS_AUTO},
                 {"any", HOLD_TOOLS_REQUIRED},
                 {"tool", HOLD_TOOLS_NAMED},
                 {"none", HOLD_TOOLS_NONE}};
    const json_t *v = json_object_get(body, "tool_choice");
    size_t n = sizeof known / sizeof *known, i = 0;
    if (!v || json_is_null(v)) return true;
    while (i < n && !type_is(v, known[i].name)) i++;
    if (i == n)
        return ask_refuse(e, 400, "tool_choice",
                          "tool_choice.type: expected auto, any, tool or none");
    k->chat.tool_choice = known[i].choice;
    k->chat.one_call = json_is_true(json_object_get(v, "disable_parallel_tool_use"));
    bool forced = known[i].choice == HOLD_TOOLS_REQUIRED || known[i].choice == HOLD_TOOLS_NAMED;
    if (forced && !k->tools)
        return ask_refuse(e, 400, "tool_choice",
                          "tool_choice asks for a call, but no tools are given");
    if (known[i].choice != HOLD_TOOLS_NAMED) return true;
    struct str name = json_get_str(v, "name");
    if (!name.p) return ask_refuse(e, 400, "tool_choice", "tool_choice.name: expected text");
    k->chat.tool_name = ask_text(k, name);
    return k->chat.tool_name || no_memory(e);
}

/* ---- thinking and limits ------------------------------------------------------------------ */
/* A budget above max_tokens is no error: agents send it (peers.md D3). */
static bool thinking(struct ask *k, const json_t *body, struct http_error *e) {
    const json_t *v = json_object_get(body, "thinking");
    const json_t *budget = json_object_get(v, "budget_tokens");
    const json_t *effort = json_object_get(json_object_get(body, "output_config"), "effort");
    bool adaptive = type_is(v, "adaptive");
    k->chat.thinking = adaptive ? -1 : type_is(v, "enabled");
    if (json_is_integer(budget) && json_integer_value(budget) >= 0)
        k->o.reasoning_budget = json_integer_value(budget);
    return !adaptive || !json_is_string(effort) || ask_effort(k, json_string_value(effort), e);
}

static bool format(struct ask *k, const json_t *body, struct http_error *e) {
    const json_t *v = json_object_get(json_object_get(body, "output_config"), "format");
    if (!json_is_object(v)) v = json_object_get(body, "output_format"); /* its first name */
    if (!json_is_object(v)) return true;
    const json_t *schema = json_object_get(v, "schema");
    if (!type_is(v, "json_schema") || !json_is_object(schema))
        return ask_refuse(e, 400, "output_config",
                          "output_config.format: expected type json_schema and a schema");
    return ask_grammar(k, HOLD_GRAMMAR_SCHEMA, schema, e);
}

static bool limits(struct ask *k, const json_t *body, struct http_error *e) {
    static const struct ask_field more[] = {
        {"max_tokens", ASK_INT, offsetof(struct ask, o.max_tokens), 0, INT32_MAX},
        {"stream", ASK_BOOL, offsetof(struct ask, stream), 0, 1},
    };
    if (!ask_fields(k, body, ask_sampling, ask_n_sampling, e) ||
        !ask_fields(k, body, more, sizeof more / sizeof *more, e))
        return false;
    if (ask_stop(k, json_object_get(body, "stop_sequences"), e)) return true;
    if (e->param) e->param = "stop_sequences";
    return false;
}

bool anthropic_ask(struct ask *k, struct models *m, const json_t *body, struct http_error *e) {
    return ask_open(k, m, json_string_value(json_object_get(body, "model")), e) &&
           messages(k, body, e) && tools(k, body, e) && tool_choice(k, body, e) &&
           thinking(k, body, e) && format(k, body, e) && limits(k, body, e);
}
