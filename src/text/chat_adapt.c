/* Adapts messages to a template's style, in place: what a template refuses is said in the nearest
 * form that it takes, at the position where it stood; nothing is hoisted or dropped. Two passes:
 * each message by itself, then neighbours. */
#include "text/chat_impl.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static bool is(const struct chat_work *w, enum chat_axis axis, int option) {
    return w->style->v[axis] == option;
}

const char *const chat_axis_note[STYLE_AXES] = {
    [STYLE_SYSTEM] = "the system text is put in front of the first user text",
    [STYLE_DEVELOPER] = "role developer is shown as system",
    [STYLE_SECOND] = "system messages in a row are joined",
    [STYLE_LATE] = "a system message further on is shown as a user turn, in its place",
    [STYLE_REPEAT] = "messages of one role in a row are joined",
    [STYLE_OPENING] = "an empty user turn stands before the first answer",
    [STYLE_TOOLS] = "tools are explained in the system text: the template has no place for them",
    [STYLE_CALLS] = "tool calls are shown as text: the template has no place for them",
    [STYLE_IDS] = "ids of tool calls are rewritten: the template wants its own form",
    [STYLE_BESIDE] = "text beside tool calls stands in a turn of its own before them",
    [STYLE_RESULTS] = "tool results are shown as user turns: the template has no place for them",
    [STYLE_PARALLEL] = "parallel calls stand one after the other, each with its result",
    [STYLE_MALFORMED] = "a past call whose arguments are no JSON is shown as text",
    [STYLE_UNKNOWN] = "a message of an unknown role is shown as a user turn",
    [STYLE_RESUME] = "empty turns keep user and assistant alternating around tool results",
};

/* Notes once per request that an axis was used. */
static void tell(struct chat_work *w, enum chat_axis axis) {
    if (w->told[axis] || !w->notes || !chat_axis_note[axis]) return;
    w->told[axis] = true;
    if (!buf_printf(w->notes, "%s\n", chat_axis_note[axis])) w->failed = true;
}

static bool role_is(const json_t *m, const char *role) {
    return str_is(json_get_str(m, "role"), role);
}

static void set_text(struct chat_work *w, json_t *m, const char *key, struct str text) {
    if (json_object_set_new(m, key, json_stringn(text.p ? text.p : "", text.len)) != 0)
        w->failed = true;
}

static void set_str(struct chat_work *w, json_t *m, const char *key, const char *text) {
    set_text(w, m, key, str_of(text));
}

/* Takes the reference to m. */
static void emit(struct chat_work *w, json_t *m, int from) {
    void *array = w->from;
    if (!m || !mem_grow(&array, &w->cap, w->n + 1, sizeof *w->from)) {
        w->failed = true;
        json_decref(m);
        return;
    }
    w->from = array;
    w->from[w->n++] = from;
    if (json_array_append_new(w->out, m) != 0) w->failed = true;
}

static int write_piece(const char *data, size_t len, void *b) {
    return buf_add(b, data, len) ? 0 : -1;
}

/* JSON text as Python writes it, with blanks behind , and : */
static bool write_spaced(struct buf *b, const json_t *v) {
    return json_dump_callback(v, write_piece, b, JSON_ENCODE_ANY) == 0;
}

/* ---- contents */

static struct str content_of(const json_t *m) {
    return json_get_str(m, "content");
}

static void add_paragraph(struct buf *b, struct str s, const char *gap) {
    if (b->len && s.len) buf_cstr(b, gap);
    buf_str(b, s);
}

/* Parts become one text; parts that are no text are told of, thinking goes where it belongs. */
static void join_parts(struct chat_work *w, json_t *m) {
    struct buf text = {0}, thinking = {0};
    json_t *parts = json_object_get(m, "content"), *part;
    size_t i;
    if (!json_is_array(parts)) return;
    json_array_foreach(parts, i, part) {
        struct str type = json_get_str(part, "type"), s = json_get_str(part, "text");
        if (json_is_string(part)) {
            s = (struct str){json_string_value(part), json_string_length(part)};
        } else if (str_is(type, "thinking")) {
            add_paragraph(&thinking, json_get_str(part, "thinking"), "\n");
        } else if (!s.p && w->notes) {
            buf_printf(w->notes, "a part of type %.*s is left out: only text can be shown\n",
                       (int)type.len, type.p ? type.p : "");
        }
        add_paragraph(&text, s, "\n");
    }
    if (text.failed || thinking.failed) w->failed = true;
    set_text(w, m, "content", buf_view(&text));
    if (thinking.len) set_text(w, m, "reasoning_content", buf_view(&thinking));
    buf_free(&text);
    buf_free(&thinking);
}

static void split_parts(struct chat_work *w, json_t *m) {
    struct str s = content_of(m);
    if (!s.p) return;
    json_t *parts = json_pack("[{s:s,s:s%}]", "type", "text", "text", s.p, s.len);
    if (!parts || json_object_set_new(m, "content", parts) != 0) w->failed = true;
}

/* The text of m, which has calls, as a message of its own. */
static void emit_text_first(struct chat_work *w, const json_t *m, size_t at) {
    struct str text = content_of(m);
    tell(w, STYLE_BESIDE);
    emit(w, json_pack("{s:s,s:s%}", "role", "assistant", "content", text.p, text.len), (int)at);
}

/* The field that the template reads reasoning from. Harmony takes either thinking or a text
 * beside calls, not both. */
static void move_reasoning(struct chat_work *w, json_t *m, size_t at) {
    static const char *const keys[] = {"reasoning_content", "thinking", "reasoning"};
    struct str s = {0};
    for (int i = 0; s.len == 0 && i < 3; i++) s = json_get_str(m, keys[i]);
    int option = w->style->v[STYLE_REASONING];
    if (s.len == 0 || option == 0) {
        if (s.len && !json_object_get(m, keys[0])) set_text(w, m, keys[0], s);
        return;
    }
    if (option != 3) {
        bool alone = option == 4 && json_object_get(m, "tool_calls");
        set_text(w, m, option == 2 ? keys[2] : keys[1], s);
        if (alone && content_of(m).len) emit_text_first(w, m, at);
        if (alone) json_object_del(m, "content");
        return;
    }
    json_t *parts = json_pack("[{s:s,s:s%}]", "type", "thinking", "thinking", s.p, s.len);
    struct str text = content_of(m);
    if (parts && text.len &&
        json_array_append_new(
            parts, json_pack("{s:s,s:s%}", "type", "text", "text", text.p, text.len)) != 0)
        w->failed = true;
    for (int i = 0; i < 3; i++) json_object_del(m, keys[i]);
    if (!parts || json_object_set_new(m, "content", parts) != 0) w->failed = true;
}

/* Whatever the content is: parts are joined, nothing is nothing, other values are JSON text. */
static void content_to_text(struct chat_work *w, json_t *m) {
    join_parts(w, m);
    const json_t *content = json_object_get(m, "content");
    struct buf b = {0};
    if (json_is_string(content)) return;
    if (content && !json_is_null(content) && !write_spaced(&b, content)) w->failed = true;
    set_text(w, m, "content", buf_view(&b));
    buf_free(&b);
}

/* ---- calls */

static bool id_char(char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

static bool is_nine(struct str id) {
    bool ok = id.len == 9;
    for (size_t i = 0; ok && i < id.len; i++) ok = id_char(id.p[i]);
    return ok;
}

/* Nine letters and digits that follow from the id. */
static void nine(struct str id, char out[10]) {
    static const char digit[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint64_t h = str_hash(id);
    if (is_nine(id)) memcpy(out, id.p, 9);
    else
        for (int i = 0; i < 9; i++, h /= 36) out[i] = digit[h % 36];
    out[9] = 0;
}

struct found {
    const json_t *call; /* NULL: none */
    bool any;           /* there are other calls */
    size_t message;
    int number; /* among all calls */
};

/* The call with this id in the messages before `end`. */
static struct found find_call(const struct chat_work *w, size_t end, struct str id) {
    struct found found = {0};
    int at = 0;
    for (size_t i = 0; i < end; i++) {
        size_t k;
        json_t *call;
        json_array_foreach(json_object_get(json_array_get(w->in, i), "tool_calls"), k, call) {
            if (str_eq(json_get_str(call, "id"), id)) found = (struct found){call, true, i, at};
            found.any = true;
            at++;
        }
    }
    return found;
}

static void set_id(struct chat_work *w, json_t *object, const char *key, const json_t *call,
                   int number) {
    struct str id = json_get_str(object, key);
    char text[200];
    if (is(w, STYLE_IDS, 0) || (is(w, STYLE_IDS, 1) && is_nine(id))) return;
    if (is(w, STYLE_IDS, 1)) {
        nine(id, text);
    } else {
        struct str name = json_get_str(json_object_get(call, "function"), "name");
        snprintf(text, sizeof text, "functions.%.*s:%d", (int)(name.len < 150 ? name.len : 150),
                 name.p ? name.p : "", number);
        if (str_is(id, text)) return;
    }
    tell(w, STYLE_IDS);
    set_str(w, object, key, text);
}

static json_t *parse_arguments(const json_t *args) {
    struct err e;
    if (!json_is_string(args)) return NULL;
    struct str s = {json_string_value(args), json_string_length(args)};
    json_t *v = s.len ? json_parse(s, 16 << 20, &e) : json_object();
    if (json_is_object(v)) return v;
    json_decref(v);
    return NULL;
}

/* A string is taken as it is. Freed by the caller. */
static char *arguments_text(const json_t *args) {
    if (json_is_string(args)) return mem_strndup(json_string_value(args), json_string_length(args));
    struct buf b = {0};
    if (args ? write_spaced(&b, args) : buf_cstr(&b, "{}")) return b.p;
    buf_free(&b);
    return NULL;
}

/* A copy of a call in the template's shape. */
static json_t *normal_call(struct chat_work *w, const json_t *call, int number) {
    json_t *out = json_copy((json_t *)call), *f = json_copy(json_object_get(call, "function"));
    if (!f) f = json_object();
    const json_t *args = json_object_get(f, "arguments");
    json_t *object = parse_arguments(args);
    if (is(w, STYLE_ARGUMENTS, 0)) {
        if (!args) object = json_object();
        if (object && json_object_set(f, "arguments", object) != 0) w->failed = true;
    } else if (!json_is_string(args)) {
        char *text = arguments_text(args);
        if (text) set_str(w, f, "arguments", text);
        else w->failed = true;
        mem_free(text);
    }
    json_decref(object);
    if (!out || json_object_set_new(out, "function", f) != 0) w->failed = true;
    if (out && !json_object_get(out, "type")) set_str(w, out, "type", "function");
    if (out && json_object_get(out, "id")) set_id(w, out, "id", call, number);
    return out;
}

static void call_as_text(struct chat_work *w, const json_t *call, struct buf *b) {
    const json_t *f = json_object_get(call, "function");
    struct str name = json_get_str(f, "name");
    char *args = arguments_text(json_object_get(f, "arguments"));
    if (!args) w->failed = true;
    if (b->len) buf_char(b, '\n');
    buf_printf(b, "<tool_call>\n{\"name\": \"%.*s\", \"arguments\": %s}\n</tool_call>",
               (int)name.len, name.p ? name.p : "", args ? args : "{}");
    mem_free(args);
}

static bool is_malformed(const json_t *call) {
    const json_t *args = json_object_get(json_object_get(call, "function"), "arguments");
    json_t *object = parse_arguments(args);
    json_decref(object);
    return json_is_string(args) && !object;
}

/* Moves calls that the template cannot show, all of them or the malformed ones, into the text. */
static void calls_to_text(struct chat_work *w, json_t *m, bool all) {
    json_t *calls = json_object_get(m, "tool_calls"), *kept = json_array(), *call;
    struct buf text = {0};
    size_t i;
    struct str content = content_of(m);
    buf_str(&text, content);
    json_array_foreach(calls, i, call) {
        bool move = all || (is(w, STYLE_MALFORMED, 1) && is_malformed(call));
        if (move) call_as_text(w, call, &text);
        else if (json_array_append(kept, call) != 0) w->failed = true;
    }
    if (text.len > content.len) {
        tell(w, all ? STYLE_CALLS : STYLE_MALFORMED);
        set_text(w, m, "content", buf_view(&text));
    }
    if (json_array_size(kept) == 0) json_object_del(m, "tool_calls");
    else if (json_object_set(m, "tool_calls", kept) != 0) w->failed = true;
    if (text.failed) w->failed = true;
    json_decref(kept);
    buf_free(&text);
}

static void set_empty_content(struct chat_work *w, json_t *m) {
    if (is(w, STYLE_EMPTY, 2)) json_object_del(m, "content");
    else if (is(w, STYLE_EMPTY, 1)) set_str(w, m, "content", "");
    else if (json_object_set_new(m, "content", json_null()) != 0) w->failed = true;
}

static void add_result(struct chat_work *w, size_t i);

/* Calls one after the other, each with its result, which is taken from further on. */
static void emit_serial(struct chat_work *w, json_t *m, const json_t *calls, size_t at) {
    size_t i, n = json_array_size(calls);
    for (i = 0; i < n; i++) {
        json_t *one = i ? json_pack("{s:s}", "role", "assistant") : json_copy(m);
        json_t *call = json_array_get(calls, i);
        if (!one || json_object_set_new(one, "tool_calls", json_pack("[O]", call)) != 0)
            w->failed = true;
        if (i && one) set_empty_content(w, one);
        emit(w, one, (int)at);
        struct str id = json_get_str(
            json_array_get(json_object_get(json_array_get(w->in, at), "tool_calls"), i), "id");
        for (size_t k = at + 1; k < json_array_size(w->in); k++) {
            const json_t *r = json_array_get(w->in, k);
            if (!role_is(r, "tool")) break;
            if (w->used[k] || !str_eq(json_get_str(r, "tool_call_id"), id)) continue;
            add_result(w, k);
            w->used[k] = true;
            break;
        }
    }
    json_decref(m);
}

static void add_assistant(struct chat_work *w, json_t *m, size_t at) {
    bool as_text = w->as_text && w->as_text[at];
    json_t *calls = json_object_get(m, "tool_calls"), *call;
    if (json_array_size(calls) == 0) {
        json_object_del(m, "tool_calls");
    } else {
        json_t *normal = json_array();
        size_t i;
        json_array_foreach(calls, i, call) {
            struct found f = find_call(w, at + 1, json_get_str(call, "id"));
            if (json_array_append_new(normal, normal_call(w, call, f.number)) != 0)
                w->failed = true;
        }
        if (json_object_set_new(m, "tool_calls", normal) != 0) w->failed = true;
        calls_to_text(w, m, as_text || is(w, STYLE_CALLS, 1));
    }
    calls = json_object_get(m, "tool_calls");
    if (calls && content_of(m).len && is(w, STYLE_BESIDE, 1)) {
        emit_text_first(w, m, at);
        set_str(w, m, "content", "");
    }
    if (calls && content_of(m).len == 0) set_empty_content(w, m);
    if (!calls && json_is_null(json_object_get(m, "content"))) set_str(w, m, "content", "");
    move_reasoning(w, m, at);
    if (json_array_size(calls) < 2 || is(w, STYLE_PARALLEL, 0)) {
        emit(w, m, (int)at);
        return;
    }
    tell(w, STYLE_PARALLEL);
    emit_serial(w, m, json_incref(calls), at);
    json_decref(calls);
}

/* ---- results */

/* A result follows its call into the text, and is text when nothing was called at all. */
static bool result_as_text(const struct chat_work *w, size_t i, const struct found *f) {
    if (w->as_text && (w->as_text[i] || (f->call && w->as_text[f->message]))) return true;
    return !f->any || (f->call && is(w, STYLE_MALFORMED, 1) && is_malformed(f->call));
}

static void add_result(struct chat_work *w, size_t i) {
    json_t *m = json_copy(json_array_get(w->in, i));
    if (!m) {
        w->failed = true;
        return;
    }
    struct str id = json_get_str(m, "tool_call_id");
    struct found f = find_call(w, i, id);
    content_to_text(w, m);
    if (!json_object_get(m, "name") && f.call)
        set_text(w, m, "name", json_get_str(json_object_get(f.call, "function"), "name"));
    if (id.p) set_id(w, m, "tool_call_id", f.call, f.number);
    if (is(w, STYLE_RESULTS, 1) || result_as_text(w, i, &f)) {
        struct buf b = {0};
        struct str text = content_of(m);
        tell(w, STYLE_RESULTS);
        buf_printf(&b, "<tool_response>\n%.*s\n</tool_response>", (int)text.len,
                   text.p ? text.p : "");
        if (b.failed) w->failed = true;
        json_decref(m);
        m = json_pack("{s:s,s:s%}", "role", "user", "content", b.p ? b.p : "", b.len);
        buf_free(&b);
    }
    emit(w, m, (int)i);
}

/* ---- one message */

static void add_message(struct chat_work *w, size_t i) {
    json_t *m = json_copy(json_array_get(w->in, i));
    if (!m) {
        w->failed = true;
        return;
    }
    if (role_is(m, "function")) set_str(w, m, "role", "tool");
    if (role_is(m, "developer") && is(w, STYLE_DEVELOPER, 1)) {
        tell(w, STYLE_DEVELOPER);
        set_str(w, m, "role", "system");
    }
    if (role_is(m, "tool")) {
        if (!w->used[i]) add_result(w, i);
        json_decref(m);
        return;
    }
    if (role_is(m, "assistant")) {
        join_parts(w, m);
        add_assistant(w, m, i);
        return;
    }
    content_to_text(w, m);
    bool known = role_is(m, "user") || role_is(m, "system") || role_is(m, "developer");
    if (!known && is(w, STYLE_UNKNOWN, 1)) tell(w, STYLE_UNKNOWN);
    if ((!known && is(w, STYLE_UNKNOWN, 1)) || (w->as_text && w->as_text[i]))
        set_str(w, m, "role", "user");
    emit(w, m, (int)i);
}

/* ---- the system text */

static const char tools_head[] =
    "You can call tools. These are the tools, one JSON object per line:\n<tools>\n",
                  tools_tail[] =
                      "</tools>\n\nTo call a tool, answer with a JSON object inside of tool_call "
                      "tags for each call:\n<tool_call>\n{\"name\": \"name of the tool\", "
                      "\"arguments\": {\"name of an argument\": value}}\n</tool_call>\n"
                      "The results come back inside of tool_response tags.";

/* Puts the explanation of the tools behind the first system text, or in front of everything. */
static void explain_tools(struct chat_work *w) {
    json_t *first = json_array_get(w->out, 0), *tool;
    struct buf b = {0};
    size_t i;
    tell(w, STYLE_TOOLS);
    if (role_is(first, "system")) buf_str(&b, content_of(first));
    add_paragraph(&b, str_of(tools_head), "\n\n");
    json_array_foreach(w->tools, i, tool) {
        if (!write_spaced(&b, tool) || !buf_char(&b, '\n')) w->failed = true;
    }
    buf_cstr(&b, tools_tail);
    if (role_is(first, "system")) {
        set_text(w, first, "content", buf_view(&b));
    } else {
        json_t *m = json_pack("{s:s,s:s%}", "role", "system", "content", b.p ? b.p : "", b.len);
        emit(w, json_null(), -1); /* makes room */
        memmove(w->from + 1, w->from, (w->n - 1) * sizeof *w->from);
        w->from[0] = -1;
        json_array_remove(w->out, json_array_size(w->out) - 1);
        if (!m || json_array_insert_new(w->out, 0, m) != 0) w->failed = true;
    }
    if (b.failed) w->failed = true;
    buf_free(&b);
}

/* ---- neighbours */

static void join_content(struct chat_work *w, json_t *into, struct str text, const char *gap) {
    struct buf b = {0};
    buf_str(&b, content_of(into));
    add_paragraph(&b, text, gap);
    set_text(w, into, "content", buf_view(&b));
    if (b.failed) w->failed = true;
    buf_free(&b);
}

/* Decides what becomes of message m behind `last` (NULL: none). Returns true when it was joined. */
static bool join_neighbours(struct chat_work *w, json_t *last, json_t *m) {
    bool same = last && str_eq(json_get_str(last, "role"), json_get_str(m, "role"));
    if (!same || role_is(m, "tool")) return false;
    bool system = role_is(m, "system");
    if (system ? !is(w, STYLE_SECOND, 1) : !is(w, STYLE_REPEAT, 1)) return false;
    if (json_object_get(last, "tool_calls") || json_object_get(m, "tool_calls")) return false;
    tell(w, system ? STYLE_SECOND : STYLE_REPEAT);
    join_content(w, last, content_of(m), "\n\n");
    return true;
}

/* The system text in front goes before the first user text. */
static void fold_system(struct chat_work *w) {
    json_t *system = json_array_get(w->out, 0), *next = json_array_get(w->out, 1);
    if (!role_is(system, "system") || is(w, STYLE_SYSTEM, 0)) return;
    tell(w, STYLE_SYSTEM);
    if (!role_is(next, "user")) {
        set_str(w, system, "role", "user");
        return;
    }
    json_incref(system);
    join_content(w, system, content_of(next), "\n\n");
    set_text(w, next, "content", content_of(system));
    json_array_remove(w->out, 0);
    memmove(w->from, w->from + 1, --w->n * sizeof *w->from);
    json_decref(system);
}

/* Whether the template counts m as a turn: it looks past calls and their results. */
static bool is_turn(const json_t *m) {
    return role_is(m, "user") || (role_is(m, "assistant") && !json_object_get(m, "tool_calls"));
}

/* Emits m again behind what needs to stand between it and the turn before (*turn). */
static void add_turn(struct chat_work *w, json_t *m, int from, struct str *turn) {
    json_t *last = json_array_get(w->out, json_array_size(w->out) - 1);
    bool opens = !turn->len && (!last || role_is(last, "system")), user = role_is(m, "user");
    if (opens && role_is(m, "assistant") && is(w, STYLE_OPENING, 1)) {
        tell(w, STYLE_OPENING);
        emit(w, json_pack("{s:s,s:s}", "role", "user", "content", ""), -1);
    }
    if (last && !is_turn(last) && is_turn(m) && str_eq(*turn, json_get_str(m, "role")) &&
        !is(w, STYLE_RESUME, 0)) {
        const char *text = is(w, STYLE_RESUME, 1) ? "" : " ";
        tell(w, STYLE_RESUME);
        emit(w, json_pack("{s:s,s:s}", "role", user ? "assistant" : "user", "content", text), -1);
    }
    if (is_turn(m)) *turn = user ? STR("user") : STR("assistant");
    emit(w, json_incref(m), from);
}

static void second_pass(struct chat_work *w) {
    json_t *all = w->out, *m;
    int *from = w->from;
    size_t n = w->n, i;
    w->out = json_array();
    w->from = NULL;
    w->n = w->cap = 0;
    struct str turn = {0};
    bool opening = true; /* nothing but system messages so far */
    json_array_foreach(all, i, m) {
        if (i >= n || w->failed) break;
        if (!role_is(m, "system")) opening = false;
        else if (!opening && is(w, STYLE_LATE, 1)) {
            tell(w, STYLE_LATE);
            set_str(w, m, "role", "user");
        }
        json_t *last = json_array_get(w->out, json_array_size(w->out) - 1);
        if (!join_neighbours(w, last, m)) add_turn(w, m, from[i], &turn);
    }
    json_decref(all);
    mem_free(from);
}

static void finish(struct chat_work *w) {
    size_t i;
    json_t *m;
    if (is(w, STYLE_CONTENT, 1)) json_array_foreach(w->out, i, m) split_parts(w, m);
}

bool chat_adapt(struct chat_work *w) {
    size_t n = json_array_size(w->in);
    w->out = json_array();
    w->used = mem_calloc(n ? n : 1, sizeof *w->used);
    if (!w->out || !w->used) return false;
    for (size_t i = 0; i < n && !w->failed; i++) add_message(w, i);
    if (w->tools && is(w, STYLE_TOOLS, 1)) explain_tools(w);
    if (!w->failed) second_pass(w);
    if (!w->failed) fold_system(w);
    if (!w->failed) finish(w);
    return !w->failed;
}

void chat_work_free(struct chat_work *w) {
    json_decref(w->out);
    mem_free(w->from);
    mem_free(w->used);
    w->out = NULL;
    w->from = NULL;
    w->used = NULL;
}

json_t *chat_normal_tools(const json_t *tools) {
    size_t i;
    json_t *tool, *out = json_array_size(tools) ? json_array() : NULL;
    json_array_foreach(tools, i, tool) {
        bool flat = !json_object_get(tool, "function") && json_object_get(tool, "name");
        json_t *t =
            flat ? json_pack("{s:s,s:O}", "type", "function", "function", tool) : json_incref(tool);
        if (!out || json_array_append_new(out, t) != 0) break;
    }
    return out;
}
