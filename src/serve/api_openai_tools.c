/* The tools of a chat body, which one may or must be called, and calls in the history. Custom tools
 * become functions of one text (custom_tool.h). */
#include "serve/api_openai.h"
#include "serve/custom_tool.h"

#include <string.h>

static bool no_memory(struct http_error *e) {
    return ask_refuse(e, 503, NULL, "out of memory");
}

/* {"type": "custom", "custom": {...}}: the inner object, or NULL. */
static json_t *custom_of(const json_t *v) {
    json_t *custom = json_object_get(v, "custom");
    return str_is(json_get_str(v, "type"), "custom") && json_is_object(custom) ? custom : NULL;
}

static struct str name_of(const json_t *v) {
    const json_t *inner = custom_of(v);
    if (!inner) inner = json_object_get(v, "function");
    return json_get_str(inner ? inner : v, "name");
}

/* ---- tools -------------------------------------------------------------------------------- */
static json_t *as_function(const json_t *custom) {
    const json_t *format = json_object_get(custom, "format");
    json_t *about = json_object_get(custom, "description");
    return json_pack("{s:s, s:{s:O, s:O*, s:o}}", "type", "function", "function", "name",
                     json_object_get(custom, "name"), "description",
                     json_is_string(about) ? about : NULL, "parameters",
                     custom_parameters(json_object_get(format, "grammar")));
}

static bool take_tools(struct ask *k, const json_t *list, struct http_error *e) {
    size_t i;
    json_t *tool;
    if (!json_array_size(list)) return true;
    k->tools = json_array();
    json_array_foreach(list, i, tool) {
        const json_t *custom = custom_of(tool);
        const char *name = json_string_value(json_object_get(custom, "name"));
        if (custom && !name)
            return ask_refuse(e, 400, "tools", "'tools[%zu].custom.name': expected a name", i);
        if (custom && !k->custom) k->custom = json_object();
        if (custom && json_object_set_new(k->custom, name, json_true()) != 0) return no_memory(e);
        json_t *one = custom ? as_function(custom) : json_incref(tool);
        if (json_array_append_new(k->tools, one) != 0) return no_memory(e);
    }
    return true;
}

/* Leaves the tools that are named; the others cannot be called. */
static bool allow(struct ask *k, const json_t *list, struct http_error *e) {
    json_t *left = json_array(), *tool, *one;
    size_t i, j;
    json_array_foreach(k->tools, i, tool) {
        bool named = false;
        struct str name = name_of(tool);
        json_array_foreach(list, j, one) named |= name.p && str_eq(name_of(one), name);
        if (named) json_array_append(left, tool);
    }
    json_decref(k->tools);
    k->tools = left;
    return left || no_memory(e);
}

/* ---- tool_choice -------------------------------------------------------------------------- */
static bool choose(struct ask *k, struct str mode) {
    static const struct {
        const char *name;
        enum hold_tool_choice choice;
    } known[] = {{"auto", HOLD_TOOLS_AUTO},
                 {"none", HOLD_TOOLS_NONE},
                 {"required", HOLD_TOOLS_REQUIRED},
                 {"any", HOLD_TOOLS_REQUIRED}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!str_is(mode, known[i].name)) continue;
        k->chat.tool_choice = known[i].choice;
        return true;
    }
    return false;
}

static bool tool_choice(struct ask *k, const json_t *v, struct http_error *e) {
    const json_t *allowed = json_object_get(v, "allowed_tools");
    struct str name = name_of(v), mode = {json_string_value(v), json_string_length(v)};
    if (!v || json_is_null(v)) return true;
    if (json_is_object(allowed)) {
        mode = json_get_str(allowed, "mode");
        if (!allow(k, json_object_get(allowed, "tools"), e)) return false;
    }
    if (mode.p && choose(k, mode)) return true;
    if (!name.p)
        return ask_refuse(e, 400, "tool_choice",
                          "'tool_choice': expected auto, none, required or "
                          "{\"type\": \"function\", \"function\": {\"name\": ...}}");
    k->chat.tool_choice = HOLD_TOOLS_NAMED;
    k->chat.tool_name = ask_text(k, name);
    return k->chat.tool_name || no_memory(e);
}

bool openai_tools(struct ask *k, const json_t *body, struct http_error *e) {
    const json_t *v = json_object_get(body, "tools");
    if (json_array_size(json_object_get(body, "functions")))
        return ask_refuse(e, 400, "functions", "'functions' is not served; send 'tools'");
    if (v && !json_is_null(v) && !json_is_array(v))
        return ask_refuse(e, 400, "tools", "'tools': expected an array");
    k->chat.one_call = json_is_false(json_object_get(body, "parallel_tool_calls"));
    if (!take_tools(k, v, e) || !tool_choice(k, json_object_get(body, "tool_choice"), e))
        return false;
    bool forced =
        k->chat.tool_choice == HOLD_TOOLS_REQUIRED || k->chat.tool_choice == HOLD_TOOLS_NAMED;
    if (forced && !json_array_size(k->tools))
        return ask_refuse(e, 400, "tool_choice",
                          "'tool_choice' asks for a call, but there are no "
                          "'tools'");
    return true;
}

/* ---- history ------------------------------------------------------------------------------ */
static json_t *function_call(json_t *call) {
    const json_t *custom = custom_of(call);
    json_t *input = json_object_get(custom, "input"), *id = json_object_get(call, "id");
    if (!custom) return json_incref(call);
    json_t *none = input ? NULL : json_string("");
    json_t *out = json_pack("{s:O*, s:s, s:{s:O*, s:o}}", "id", id, "type", "function", "function",
                            "name", json_object_get(custom, "name"), "arguments",
                            custom_arguments(input ? input : none));
    json_decref(none);
    return out;
}

static json_t *plain_message(json_t *m) {
    json_t *calls = json_object_get(m, "tool_calls"), *call, *list;
    size_t i, n_custom = 0;
    json_array_foreach(calls, i, call) n_custom += custom_of(call) != NULL;
    if (!n_custom) return json_incref(m);
    json_t *out = json_copy(m);
    json_object_set_new(out, "tool_calls", list = json_array());
    json_array_foreach(calls, i, call) json_array_append_new(list, function_call(call));
    return out;
}

json_t *openai_history(json_t *messages) {
    json_t *out = json_array(), *m;
    size_t i;
    json_array_foreach(messages, i, m) json_array_append_new(out, plain_message(m));
    return out;
}
