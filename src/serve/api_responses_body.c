/* Bodies of /v1/responses into a struct ask. Tools of every type are taken: functions, custom ones
 * (free text, also bound by a grammar), namespaces of either, tool_search that the client runs.
 * Those that a service of its own would run are left out; nothing unknown refuses a request. */
#include "serve/api_openai.h"
#include "serve/api_responses.h"
#include "serve/custom_tool.h"

#include <string.h>

static bool no_memory(struct http_error *e) {
    return ask_refuse(e, 503, NULL, "out of memory");
}

void responses_want_free(struct responses_want *w) {
    json_decref(w->items);
    json_decref(w->echo);
    *w = (struct responses_want){0};
}

/* ---- tools -------------------------------------------------------------------------------- */
struct collect {
    struct ask *k;
    struct responses_tool *tool;
    size_t n, cap; /* cap: as many as there can be */
};

const char *responses_flat(struct ask *k, struct str space, struct str name) {
    struct buf text = {0};
    if (space.len) {
        buf_str(&text, space);
        if (!str_ends(space, STR("__"))) buf_cstr(&text, "__");
    }
    buf_str(&text, name);
    const char *flat = text.failed ? NULL : ask_text(k, buf_view(&text));
    buf_free(&text);
    return flat;
}

/* Adds one tool; false: no memory. Two of a name: the first counts. */
static bool add_tool(struct collect *c, const json_t *tool, struct str space,
                     enum responses_kind kind) {
    struct str name = kind == RESPONSES_SEARCH ? STR("tool_search") : json_get_str(tool, "name");
    const char *flat = name.len ? responses_flat(c->k, space, name) : NULL;
    if (!name.len) return true;
    for (size_t i = 0; flat && i < c->n; i++)
        if (strcmp(c->tool[i].flat, flat) == 0) return true;
    json_t *parameters = kind == RESPONSES_CUSTOM
                             ? custom_parameters(json_object_get(tool, "format"))
                             : json_incref(json_object_get(tool, "parameters"));
    if (!json_is_object(parameters)) {
        json_decref(parameters);
        parameters = json_pack("{s:s, s:{}}", "type", "object", "properties");
    }
    json_t *about = json_object_get(tool, "description");
    json_t *f = json_pack("{s:s, s:O*, s:o}", "name", flat ? flat : "", "description",
                          json_is_string(about) ? about : NULL, "parameters", parameters);
    struct responses_tool *t = &c->tool[c->n++];
    *t = (struct responses_tool){.flat = flat, .name = ask_text(c->k, name), .kind = kind};
    if (space.len) t->space = ask_text(c->k, space);
    return flat && t->name && (!space.len || t->space) &&
           json_array_append_new(c->k->tools,
                                 json_pack("{s:s, s:o}", "type", "function", "function", f)) == 0;
}

static bool add_tools(struct collect *c, const json_t *list, struct str space) {
    size_t i;
    json_t *tool;
    bool ok = true;
    json_array_foreach(list, i, tool) {
        struct str type = json_get_str(tool, "type");
        if (!ok) break;
        if (str_is(type, "namespace") && !space.len)
            ok = add_tools(c, json_object_get(tool, "tools"), json_get_str(tool, "name"));
        else if (str_is(type, "function")) ok = add_tool(c, tool, space, RESPONSES_FUNCTION);
        else if (str_is(type, "custom")) ok = add_tool(c, tool, space, RESPONSES_CUSTOM);
        else if (str_is(type, "tool_search") && str_is(json_get_str(tool, "execution"), "client"))
            ok = add_tool(c, tool, space, RESPONSES_SEARCH);
    }
    return ok;
}

static size_t count_tools(const json_t *list) {
    size_t n = json_array_size(list), i;
    json_t *tool;
    json_array_foreach(list, i, tool) n += json_array_size(json_object_get(tool, "tools"));
    return n;
}

bool responses_tools(struct ask *k, const json_t *body, struct responses_want *w,
                     struct http_error *e) {
    const json_t *list = json_object_get(body, "tools");
    size_t n = count_tools(list), i;
    json_t *item;
    if (list && !json_is_null(list) && !json_is_array(list))
        return ask_refuse(e, 400, "tools", "'tools': expected an array");
    json_array_foreach(w->items, i, item) n += count_tools(json_object_get(item, "tools"));
    struct collect c = {.k = k, .tool = arena_calloc(&k->arena, n + 1, sizeof *c.tool)};
    k->tools = json_array();
    if (!c.tool || !k->tools || !add_tools(&c, list, STR(""))) return no_memory(e);
    json_array_foreach(w->items, i, item) {
        if (str_is(json_get_str(item, "type"), "tool_search_output") &&
            !add_tools(&c, json_object_get(item, "tools"), STR("")))
            return no_memory(e);
    }
    w->tool = c.tool;
    w->n_tools = c.n;
    if (c.n) return true;
    json_decref(k->tools);
    k->tools = NULL;
    return true;
}

/* ---- tool_choice -------------------------------------------------------------------------- */
static const struct responses_tool *tool_of(const struct responses_want *w, const json_t *choice) {
    struct str name = json_get_str(choice, "name"), space = json_get_str(choice, "namespace");
    for (size_t i = 0; i < w->n_tools; i++) {
        const struct responses_tool *t = &w->tool[i];
        if ((str_is(name, t->name) && (!space.p || str_eq(space, str_of(t->space)))) ||
            str_is(name, t->flat))
            return t;
    }
    return NULL;
}

/* Leaves the tools that are named; the others cannot be called. */
static bool allow(struct ask *k, const struct responses_want *w, const json_t *list) {
    json_t *left = json_array(), *choice, *tool;
    size_t i, j;
    json_array_foreach(k->tools, i, tool) {
        bool named = false;
        json_array_foreach(list, j, choice) named |= tool_of(w, choice) == &w->tool[i];
        if (named) json_array_append(left, tool);
    }
    json_decref(k->tools);
    k->tools = left;
    return left != NULL;
}

static bool choose(struct ask *k, const struct responses_want *w, const json_t *v,
                   struct http_error *e) {
    static const struct {
        const char *name;
        enum hold_tool_choice choice;
    } known[] = {
        {"auto", HOLD_TOOLS_AUTO}, {"none", HOLD_TOOLS_NONE}, {"required", HOLD_TOOLS_REQUIRED}};
    struct str mode = {json_string_value(v), json_string_length(v)};
    if (str_is(json_get_str(v, "type"), "allowed_tools")) {
        mode = json_get_str(v, "mode");
        if (!allow(k, w, json_object_get(v, "tools"))) return no_memory(e);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_is(mode, known[i].name)) k->chat.tool_choice = known[i].choice;
    if (json_is_string(v) && k->chat.tool_choice == HOLD_TOOLS_AUTO && !str_is(mode, "auto"))
        return ask_refuse(e, 400, "tool_choice",
                          "'tool_choice': expected auto, none, required or an object");
    if (!json_is_object(v) || !json_get_str(v, "name").p) return true;
    const struct responses_tool *t = tool_of(w, v);
    if (!t)
        return ask_refuse(e, 400, "tool_choice", "'tool_choice': there is no tool '%.100s'",
                          json_get_str(v, "name").p);
    k->chat.tool_choice = HOLD_TOOLS_NAMED;
    k->chat.tool_name = t->flat;
    return true;
}

static bool tool_choice(struct ask *k, const json_t *body, const struct responses_want *w,
                        struct http_error *e) {
    k->chat.one_call = json_is_false(json_object_get(body, "parallel_tool_calls"));
    if (!choose(k, w, json_object_get(body, "tool_choice"), e)) return false;
    return k->chat.tool_choice != HOLD_TOOLS_REQUIRED || json_array_size(k->tools) ||
           ask_refuse(e, 400, "tool_choice",
                      "'tool_choice' asks for a call, but there are no "
                      "tools that could be called");
}

/* ---- the conversation --------------------------------------------------------------------- */
static json_t *resolve(struct serve *s, const char *key, json_t *item, struct http_error *e) {
    if (!str_is(json_get_str(item, "type"), "item_reference")) return json_incref(item);
    struct str id = json_get_str(item, "id");
    json_t *found = id.p ? responses_store_item(s->responses, key, id.p) : NULL;
    if (!found)
        ask_refuse(e, 400, "input", "there is no stored item '%.100s'; send the item itself",
                   id.p ? id.p : "");
    return found;
}

/* Items of the response that this one goes on from, its output among them. */
static bool before(struct serve *s, const char *key, const char *id, json_t *items,
                   struct http_error *e) {
    json_t *old = responses_store_get(s->responses, key, id, RESPONSES_ITEMS);
    json_t *last = responses_store_get(s->responses, key, id, RESPONSES_RESPONSE);
    bool ok = old && last && json_array_extend(items, old) == 0 &&
              json_array_extend(items, json_object_get(last, "output")) == 0;
    json_decref(old);
    json_decref(last);
    return ok || ask_refuse(e, 400, "previous_response_id",
                            "there is no stored response '%.100s' (any more); send the whole "
                            "conversation as 'input'",
                            id);
}

static bool items(struct serve *s, const char *key, const json_t *body, struct responses_want *w,
                  struct http_error *e) {
    json_t *input = json_object_get(body, "input"), *item;
    const char *previous = json_string_value(json_object_get(body, "previous_response_id"));
    size_t i;
    if (!json_is_string(input) && !json_is_array(input) && !previous)
        return ask_refuse(e, 400, "input", "'input': expected text or an array of items");
    w->items = json_array();
    if (previous && !before(s, key, previous, w->items, e)) return false;
    if (json_is_string(input))
        json_array_append_new(w->items, json_pack("{s:s, s:s, s:O}", "type", "message", "role",
                                                  "user", "content", input));
    json_array_foreach(input, i, item) {
        json_t *whole = resolve(s, key, item, e);
        if (!whole || json_array_append_new(w->items, whole) != 0) return false;
    }
    return true;
}

/* ---- the rest ----------------------------------------------------------------------------- */
static json_t *echo_of(const json_t *body) {
    static const char *const same[] = {"instructions",
                                       "max_output_tokens",
                                       "metadata",
                                       "previous_response_id",
                                       "prompt_cache_key",
                                       "reasoning",
                                       "temperature",
                                       "text",
                                       "tool_choice",
                                       "tools",
                                       "top_p",
                                       "user"};
    json_t *out = json_pack("{s:n, s:n, s:{}, s:n, s:{}, s:{s:{s:s}}, s:s, s:[], s:s, s:b}",
                            "instructions", "max_output_tokens", "metadata", "previous_response_id",
                            "reasoning", "text", "format", "type", "text", "tool_choice", "auto",
                            "tools", "truncation", "disabled", "parallel_tool_calls",
                            !json_is_false(json_object_get(body, "parallel_tool_calls")));
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        json_t *v = json_object_get(body, same[i]);
        if (v && !json_is_null(v)) json_object_set(out, same[i], v);
    }
    return out;
}

static bool options(struct ask *k, const json_t *body, struct responses_want *w,
                    struct http_error *e) {
    static const struct ask_field more[] = {
        {"max_output_tokens", ASK_INT, offsetof(struct ask, o.max_tokens), 1, INT32_MAX},
        {"top_logprobs", ASK_INT, offsetof(struct ask, o.n_probs), 0, 20},
    };
    const json_t *include = json_object_get(body, "include"), *v;
    size_t i;
    if (json_is_true(json_object_get(body, "background")))
        return ask_refuse(e, 400, "background",
                          "'background' is not served; read the response as a stream");
    json_array_foreach(include, i, v) {
        struct str name = {json_string_value(v), json_string_length(v)};
        w->encrypted |= str_is(name, "reasoning.encrypted_content");
        w->logprobs |= str_is(name, "message.output_text.logprobs");
    }
    w->store = !json_is_false(json_object_get(body, "store"));
    if (!openai_common(k, body, e) || !ask_fields(k, body, more, 2, e) ||
        !openai_thinking(k, body, e) ||
        !openai_format(k, json_object_get(json_object_get(body, "text"), "format"), "text.format",
                       e))
        return false;
    w->logprobs |= k->o.n_probs > 0;
    k->o.want_tokens = w->logprobs;
    return k->n == 1 || ask_refuse(e, 400, "n", "a request is answered by one response");
}

bool responses_ask(struct ask *k, struct serve *s, const char *key, const json_t *body,
                   struct responses_want *w, struct http_error *e) {
    return ask_open(k, s->models, json_string_value(json_object_get(body, "model")), e) &&
           items(s, key, body, w, e) &&
           responses_messages(k, json_object_get(body, "instructions"), w, e) &&
           responses_tools(k, body, w, e) && tool_choice(k, body, w, e) && options(k, body, w, e) &&
           ((w->echo = echo_of(body)) || no_memory(e));
}
