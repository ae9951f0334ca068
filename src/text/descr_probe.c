/* Renders the probe conversations for descr_learn. A template may refuse some of them; each is
 * then tried in the next of its forms, and what never renders stays unknown. Formats that a
 * template explains but never writes are recognised by the markers in its text. */
#include "base/limits.h"
#include "text/descr.h"
#include "text/jinja.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

struct prober {
    const struct jinja *t;
    struct str bos, eos;
    struct arena *mem;
    bool stop; /* a rendering hit a limit: the template is hostile, or far too large */
};

enum { PROMPT = 1, THINK = 2, NOTHINK = 4, TOOLS = 8 }; /* of a rendering */

static json_t *str_json(struct str s) {
    return s.len ? json_stringn(s.p, s.len) : json_string("");
}

static json_t *parameters(void) {
    return json_pack("{s:s, s:{s:{s:s, s:s}, s:{s:s, s:s}}, s:[s]}", "type", "object", "properties",
                     descr_words.key1, "type", "string", "description", "d", descr_words.key2,
                     "type", "integer", "description", "d", "required", descr_words.key1);
}

static json_t *tools(void) {
    json_t *list = json_array();
    const char *names[] = {descr_words.name1, descr_words.name2};
    for (int i = 0; i < 2; i++)
        json_array_append_new(list, json_pack("{s:s, s:{s:s, s:s, s:o}}", "type", "function",
                                              "function", "name", names[i], "description", "d",
                                              "parameters", parameters()));
    return list;
}

static json_t *message(const char *role, const char *content) {
    return json_pack("{s:s, s:s}", "role", role, "content", content);
}

/* One call. as_text: its arguments as a string of JSON. */
static json_t *call(const char *id, const char *name, json_t *args, bool as_text) {
    if (as_text) {
        char *text = json_dumps(args, 0);
        json_decref(args);
        args = json_string(text ? text : "{}");
        void (*release)(void *);
        json_malloc_t unused;
        json_get_alloc_funcs(&unused, &release);
        release(text);
    }
    return json_pack("{s:s, s:s, s:{s:s, s:o}}", "id", id, "type", "function", "function", "name",
                     name, "arguments", args);
}

/* Renders messages (stolen); empty when the template refuses. */
static struct str render(struct prober *p, json_t *messages, int how) {
    if (p->stop) {
        json_decref(messages);
        return (struct str){0};
    }
    json_t *vars = json_pack("{s:o, s:b, s:o, s:o}", "messages", messages, "add_generation_prompt",
                             (how & PROMPT) != 0, "bos_token", str_json(p->bos), "eos_token",
                             str_json(p->eos));
    if (how & TOOLS) json_object_set_new(vars, "tools", tools());
    if (how & (THINK | NOTHINK)) {
        json_object_set_new(vars, "enable_thinking", json_boolean(how & THINK));
        json_object_set_new(vars, "thinking", json_boolean(how & THINK));
    }
    /* two templates need what others do not */
    json_object_set_new(vars, "functions", json_string(""));
    json_object_set_new(vars, "datetime", json_string(""));
    struct tm now = {.tm_year = 126, .tm_mday = 1};
    struct jinja_input in = {.vars = vars, .now = &now};
    struct jinja_output out = {0};
    struct str s = {0};
    struct err e = {0};
    bool ok = jinja_render(p->t, &in, &out, &e) && out.text.len <= LIMIT_TEMPLATE_BYTES;
    p->stop = e.code == ERR_LIMIT || out.text.len > LIMIT_TEMPLATE_BYTES;
    if (ok && out.text.len) {
        char *copy = arena_strndup(p->mem, out.text.p, out.text.len);
        if (copy) s = (struct str){copy, out.text.len};
    }
    jinja_output_free(&out);
    json_decref(vars);
    return s;
}

static json_t *conversation(void) {
    return json_pack("[o]", message("user", descr_words.user));
}

/* An assistant message: content (NULL: null), reasoning under its three names, n calls. */
static json_t *assistant(const char *content, const char *reasoning, int n_calls, bool as_text) {
    json_t *m = json_pack("{s:s, s:s?}", "role", "assistant", "content", content);
    static const char *const names[] = {"reasoning_content", "reasoning", "thinking"};
    for (size_t i = 0; reasoning && i < 3; i++)
        json_object_set_new(m, names[i], json_string(reasoning));
    if (!n_calls) return m;
    json_t *calls = json_array();
    const struct descr_words *w = &descr_words;
    json_array_append_new(
        calls,
        call(w->id1, w->name1, json_pack("{s:s, s:i}", w->key1, w->text1, w->key2, 7351), as_text));
    if (n_calls > 1)
        json_array_append_new(
            calls, call(w->id2, w->name2, json_pack("{s:s}", w->key1, w->text2), as_text));
    json_object_set_new(m, "tool_calls", calls);
    return m;
}

static struct str with_turn(struct prober *p, json_t *turn, int how) {
    json_t *messages = conversation();
    json_array_append_new(messages, turn);
    return render(p, messages, how);
}

static bool has(struct str s, const char *word) {
    return str_find(s, str_of(word), 0) >= 0;
}

/* Whether the arguments came out readable: not as Python text, not encoded twice. */
static bool good_call(struct str s) {
    int64_t at = str_find(s, str_of(descr_words.text1), 0);
    if (at < 2) return false;
    const char *before = s.p + at;
    bool python_dict = before[-1] == '\'' && before[-2] == ' ';
    return !python_dict && before[-2] != '\\';
}

/* The first form of a turn with n calls that the template renders well. */
static struct str calls(struct prober *p, int n) {
    static const char *const contents[] = {"Vk content probe", "", NULL};
    for (int as_text = 0; as_text < 2; as_text++)
        for (size_t i = 0; i < 3; i++) {
            struct str s = with_turn(p, assistant(contents[i], NULL, n, as_text), TOOLS);
            if (good_call(s)) return s;
        }
    return (struct str){0};
}

static struct str reasoning(struct prober *p) {
    for (int i = 0; i < 4; i++) {
        bool as_text = i == 3;
        const char *content = i == 1 ? descr_words.content : "";
        struct str s = with_turn(
            p, assistant(content, descr_words.reasoning, i == 1 ? 0 : 1, as_text), TOOLS | THINK);
        if (has(s, descr_words.reasoning)) return s;
    }
    return (struct str){0};
}

static bool literal_has(const struct jinja *t, const char *word) {
    const struct str *s;
    for (size_t i = 0; (s = jinja_literal(t, i)); i++)
        if (has(*s, word)) return true;
    return false;
}

/* Reasoning that templates leave out of the history. */
static void known_reasoning(struct descr_renders *r, const struct jinja *t) {
    static const char *const pairs[][2] = {{"<think>", "</think>"},
                                           {"[THINK]", "[/THINK]"},
                                           {"<|START_THINKING|>", "<|END_THINKING|>"},
                                           {"<|inner_prefix|>", "<|inner_suffix|>"}};
    for (size_t i = 0; !r->known_close.len && i < sizeof pairs / sizeof *pairs; i++) {
        if (!literal_has(t, pairs[i][1])) continue;
        r->known_open = str_of(pairs[i][0]);
        r->known_close = str_of(pairs[i][1]);
    }
}

/* Calls that templates explain to the model but do not write. */
static void known_calls(struct descr *d, const struct jinja *t) {
    if (literal_has(t, "<|tool_list_start|>")) {
        d->syntax = DESCR_PYTHON;
        d->section_open = STR("<|tool_call_start|>[");
        d->section_close = STR("]<|tool_call_end|>");
        d->call_sep = STR(", ");
        d->name_args = STR("(");
        d->call_close = STR(")");
        d->array = d->parallel = true;
    } else if (literal_has(t, "<|tool_call|> followed by a JSON list")) {
        descr_set_generic(d);
        d->generic = false;
        d->section_open = STR("<|tool_call|>[");
        d->section_close = STR("]");
        d->call_open = STR("{\"name\": \"");
        d->call_close = STR("}");
        d->call_sep = STR(", ");
        d->array = true;
    } else {
        descr_set_generic(d);
    }
}

bool descr_probe(struct descr *d, const struct jinja *t, struct str bos, struct str eos,
                 struct err *e) {
    *d = (struct descr){0};
    struct arena mem = {0};
    struct prober p = {.t = t, .bos = bos, .eos = eos, .mem = &mem};
    json_t *again = conversation();
    json_array_append_new(again, message("assistant", descr_words.content));
    json_array_append_new(again, message("user", descr_words.user));
    struct descr_renders r = {
        .user = render(&p, conversation(), TOOLS),
        .prompt = render(&p, conversation(), TOOLS | PROMPT),
        .prompt_think = render(&p, conversation(), TOOLS | PROMPT | THINK),
        .prompt_nothink = render(&p, conversation(), TOOLS | PROMPT | NOTHINK),
        .text = with_turn(&p, assistant(descr_words.content, NULL, 0, false), TOOLS),
        .history = render(&p, again, TOOLS),
        .reasoning = reasoning(&p),
        .call = calls(&p, 1),
        .calls = calls(&p, 2)};
    known_reasoning(&r, t);
    bool ok = descr_learn(d, &r);
    if (ok && d->syntax == DESCR_NO_CALLS) known_calls(d, t);
    if (ok && d->bare && literal_has(t, "<|python_tag|>")) d->text_open = STR("<|python_tag|>");
    arena_free(&mem);
    return ok || err_nomem(e, "template descriptor", 0);
}
