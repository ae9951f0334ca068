/* JSON arguments: alone, and in an object that holds a call's name beside them. */
#include "text/toolcall_impl.h"

#include <string.h>

/* ---- arguments alone */

/* Arguments given as a string that holds JSON text. */
static enum step unpack_args(struct toolcall *p) {
    struct buf text = {0};
    bool ok = json_unescape(buf_view(&p->text), &text);
    bool json = ok && json_whole(buf_view(&text), &p->out);
    if (!json) buf_str(&p->out, ok ? buf_view(&text) : buf_view(&p->text));
    buf_free(&text);
    p->call.args_done = json;
    return json ? STEP_ON : STEP_BAD;
}

/* Scans one byte of the input. What does not fit stays in the input, and out as it was. */
static enum json_step scan_next(struct toolcall *p, struct buf *out) {
    struct json_scan *s = &p->call.json;
    size_t before = out->len;
    enum json_step r = json_scan_byte(s, p->in.p[p->pos], out);
    if (r == SCAN_BAD) {
        out->len = before;
        if (s->state == SCAN_WORD) buf_add(out, s->word_text, (size_t)(s->word - s->word_text));
    } else if (r != SCAN_DONE_BEFORE) {
        p->pos++;
    }
    return r;
}

enum step call_json_args(struct toolcall *p) {
    struct call *c = &p->call;
    if (!c->args_started) {
        toolcall_skip_space(p);
        if (p->pos == p->in.len) return STEP_MORE;
        struct found f;
        uint64_t after = MARKS_CLOSE | MARKS_END | MARK(MARK_CALL_OPEN) | MARK(MARK_SECTION_OPEN) |
                         MARK(MARK_SECTION_CLOSE);
        enum match m = toolcall_match_any(p, after, p->pos, &f);
        if (m == MATCH_PART) return STEP_MORE;
        if (m == MATCH_FULL) {
            buf_cstr(&p->out, "{}");
            c->args_done = true;
            return STEP_ON;
        }
        char first = p->in.p[p->pos];
        if (first != '{' && first != '"') return STEP_BAD;
        json_scan_start(&c->json);
        buf_clear(&p->text);
        c->args_started = true;
        c->env = first == '"' ? ENV_ARGS_TEXT : ENV_ARGS;
    }
    struct buf *out = c->env == ENV_ARGS_TEXT ? &p->text : &p->out;
    while (p->pos < p->in.len) {
        enum json_step r = scan_next(p, out);
        if (r == SCAN_MORE && p->text.len <= LIMIT_CALL_VALUE) continue;
        if (r != SCAN_DONE && out == &p->text) buf_str(&p->out, buf_view(out));
        if (r != SCAN_DONE) return STEP_BAD;
        if (out == &p->text) return unpack_args(p);
        c->args_done = true;
        return STEP_ON;
    }
    return STEP_MORE;
}

/* ---- an object with the name and the arguments */

enum key { KEY_OTHER, KEY_NAME, KEY_ARGS, KEY_ID, KEY_WRAPPER };
static const struct {
    const char *text;
    enum key key;
} known_keys[] = {{"name", KEY_NAME},        {"tool_name", KEY_NAME}, {"arguments", KEY_ARGS},
                  {"parameters", KEY_ARGS},  {"id", KEY_ID},          {"tool_call_id", KEY_ID},
                  {"function", KEY_WRAPPER}, {"type", KEY_OTHER}};

/* What a key means: as the template has it, or by the usual names. -1: unheard of. */
static int key_of(const struct toolcall *p, struct str key) {
    const struct descr *d = p->d;
    if (d->syntax == DESCR_NAMED) return KEY_ARGS;
    if (d->name_key.len && str_eq(key, d->name_key)) return KEY_NAME;
    if (d->args_key.len && str_eq(key, d->args_key)) return KEY_ARGS;
    if (d->id_key.len && str_eq(key, d->id_key)) return KEY_ID;
    for (size_t i = 0; i < sizeof known_keys / sizeof *known_keys; i++)
        if (str_is(key, known_keys[i].text)) return (int)known_keys[i].key;
    return -1;
}

/* Goes on to read a value with the scanner; its first byte is at pos. */
static enum step start_value(struct call *c, enum envelope_state state, struct buf *text) {
    json_scan_start(&c->json);
    buf_clear(text);
    c->env = state;
    return STEP_ON;
}

/* The key is in p->text, the value begins with c. */
static enum step value_of_key(struct toolcall *p, char c) {
    struct buf key = {0};
    int what = json_unescape(buf_view(&p->text), &key) ? key_of(p, buf_view(&key)) : -1;
    bool named = p->d->syntax == DESCR_NAMED && !p->call.env_args;
    if (named) buf_str(&p->name, buf_view(&key));
    buf_free(&key);
    if (what < 0 && p->call.bare) return STEP_BAD;
    if (what == KEY_ARGS && p->call.env_args) return STEP_BAD;
    if (what == KEY_WRAPPER && c == '"') what = KEY_NAME;
    if (what == KEY_WRAPPER && c == '{' && !p->call.env_depth) {
        p->call.env_depth = 1;
        p->call.env = ENV_START;
        return STEP_ON;
    }
    if (what == KEY_NAME && c == '"' && !p->call.announced)
        return start_value(&p->call, ENV_NAME, &p->text);
    if (what == KEY_ID && c == '"') return start_value(&p->call, ENV_ID, &p->text);
    if (what != KEY_ARGS || (c != '{' && c != '"'))
        return start_value(&p->call, ENV_SKIP, &p->text);
    p->call.env_args = true;
    return start_value(&p->call, c == '{' ? ENV_ARGS : ENV_ARGS_TEXT, &p->text);
}

/* A value has been read whole. */
static enum step value_done(struct toolcall *p) {
    enum envelope_state was = p->call.env;
    p->call.env = ENV_NEXT;
    if (was == ENV_NAME || was == ENV_ID) {
        struct buf *to = was == ENV_NAME ? &p->name : &p->id;
        buf_clear(to);
        if (!json_unescape(buf_view(&p->text), to) || to->len > LIMIT_CALL_NAME) return STEP_BAD;
    }
    if (was == ENV_ARGS_TEXT) {
        enum step s = unpack_args(p);
        p->call.args_done = false; /* the object goes on */
        return s;
    }
    return STEP_ON;
}

static enum step scan_value(struct toolcall *p) {
    struct call *c = &p->call;
    bool args = c->env == ENV_ARGS;
    enum json_step r = scan_next(p, args ? &p->out : &p->text);
    if (c->env == ENV_SKIP) buf_clear(&p->text);
    if (r == SCAN_DONE || r == SCAN_DONE_BEFORE) {
        if (c->env != ENV_IN_KEY) return value_done(p);
        c->env = ENV_COLON;
        return STEP_ON;
    }
    bool small = c->env == ENV_IN_KEY || c->env == ENV_NAME || c->env == ENV_ID;
    if (r == SCAN_BAD || p->text.len > (small ? 4 * LIMIT_CALL_NAME : LIMIT_CALL_VALUE)) {
        if (c->env == ENV_ARGS_TEXT) buf_str(&p->out, buf_view(&p->text));
        return STEP_BAD;
    }
    return STEP_ON;
}

static enum step object_end(struct toolcall *p) {
    struct call *c = &p->call;
    if (c->env_depth) {
        c->env_depth = 0;
        c->env = ENV_NEXT;
        return STEP_ON;
    }
    if (!p->name.len) return STEP_BAD;
    if (!c->env_args) buf_cstr(&p->out, "{}");
    c->env = ENV_END;
    c->args_done = true;
    return STEP_ON;
}

/* The bytes of the object outside of its values. */
static enum step object_byte(struct toolcall *p) {
    struct call *c = &p->call;
    char b = p->in.p[p->pos];
    if (c->env == ENV_VALUE && !toolcall_is_space(b)) return value_of_key(p, b);
    if (c->env == ENV_KEY && b == '"') return start_value(c, ENV_IN_KEY, &p->text);
    p->pos++;
    if (toolcall_is_space(b)) return STEP_ON;
    if (c->env == ENV_START && b == '[' && !p->bracket && !c->bare && !c->env_depth) {
        p->bracket = true;
    } else if (c->env == ENV_START && b == '{') {
        c->env = ENV_KEY;
    } else if (c->env == ENV_COLON && b == ':') {
        c->env = ENV_VALUE;
    } else if (c->env == ENV_NEXT && b == ',' && p->d->syntax != DESCR_NAMED) {
        c->env = ENV_KEY;
    } else if (b == '}' && (c->env == ENV_KEY || c->env == ENV_NEXT)) {
        return object_end(p);
    } else {
        p->pos--;
        return STEP_BAD;
    }
    return STEP_ON;
}

enum step call_object(struct toolcall *p) {
    struct call *c = &p->call;
    while (p->pos < p->in.len && !c->args_done) {
        bool scanning = c->env == ENV_IN_KEY || (c->env >= ENV_NAME && c->env <= ENV_SKIP);
        enum step s = scanning ? scan_value(p) : object_byte(p);
        if (s == STEP_BAD) return s;
        if (p->name.len && !c->announced) return STEP_ON;
    }
    return c->args_done ? STEP_ON : STEP_MORE;
}
