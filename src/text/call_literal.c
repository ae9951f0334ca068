/* Values that are nearly JSON, turned into JSON while they come: Python literals and keyword
 * arguments, and Gemma's objects with bare keys and strings between quote tokens. */
#include "text/toolcall_impl.h"

#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 128 }; /* bytes of a number, a bare word or a keyword */

/* container: 'k' when the opening bracket is already read, 0 when a value is expected. */
void call_literal_start(struct literal *l, bool gemma, char container) {
    *l = (struct literal){.gemma = gemma, .state = LIT_VALUE, .first = true};
    if (!container) return;
    l->stack[l->depth++] = container;
    l->state = LIT_KEY;
}

static char top(const struct literal *l) {
    return l->depth ? l->stack[l->depth - 1] : 0;
}
static bool has_keys(char container) {
    return container == 'k' || container == 'd';
}

static bool open_container(struct toolcall *p, struct literal *l, char c) {
    if (l->depth == LIMIT_JSON_DEPTH) return false;
    char kind = c == '{' ? 'd' : c == '[' ? 'l' : 't';
    l->stack[l->depth++] = kind;
    l->state = kind == 'd' ? LIT_KEY : LIT_VALUE;
    l->first = true;
    buf_char(&p->out, c == '{' ? '{' : '[');
    p->pos++;
    return true;
}

static void value_end(struct literal *l) {
    l->state = l->depth ? LIT_NEXT : LIT_END;
    l->first = false;
}

static void close_container(struct toolcall *p, struct literal *l) {
    buf_char(&p->out, has_keys(top(l)) ? '}' : ']');
    l->depth--;
    p->pos++;
    value_end(l);
}

static bool closes(char container, char c) {
    return (container == 'k' || container == 't') ? c == ')' : c == (container == 'd' ? '}' : ']');
}

/* ---- strings */

/* Whether what follows a quote says that it ends the string: strings may hold unescaped quotes.
 * In keyword arguments that is `)` or `, name=`, elsewhere a comma, colon or closing bracket. */
static enum match ends_string(const struct toolcall *p, char container, size_t at) {
    size_t i = at;
    while (i < p->in.len && toolcall_is_space(p->in.p[i])) i++;
    if (i == p->in.len) return p->final ? MATCH_FULL : MATCH_PART;
    char c = p->in.p[i];
    if (container != 'k') return strchr(",:]})", c) && c ? MATCH_FULL : MATCH_NO;
    if (c != ',') return c == ')' ? MATCH_FULL : MATCH_NO;
    for (i++; i < p->in.len && toolcall_is_space(p->in.p[i]); i++) {
    }
    size_t word = i;
    for (; i < p->in.len && i - word < WORD_MAX; i++) {
        unsigned char w = (unsigned char)p->in.p[i];
        bool part =
            w == '_' || w >= 0x80 || (w >= '0' && w <= '9') || ((w | 32) >= 'a' && (w | 32) <= 'z');
        if (!part) break;
    }
    if (i == p->in.len) return p->final ? MATCH_NO : MATCH_PART;
    return i > word && p->in.p[i] == '=' ? MATCH_FULL : MATCH_NO;
}

/* A backslash in a Python string. What Python does not know stays as it is. */
static enum step escape(struct toolcall *p) {
    static const char from[] = "nrtbfav0", to[] = "\n\r\t\b\f\a\v";
    const char *s = p->in.p + p->pos;
    size_t n = p->in.len - p->pos;
    if (n < 2) {
        if (!p->final) return STEP_MORE;
        json_escape(&p->out, (struct str){s, n});
        p->pos += n;
        return STEP_ON;
    }
    size_t digits = s[1] == 'x' ? 2 : s[1] == 'u' ? 4 : s[1] == 'U' ? 8 : 0;
    const char *simple = s[1] ? strchr(from, s[1]) : NULL;
    char hex[9] = {0};
    if (digits && n < 2 + digits && !p->final) return STEP_MORE;
    if (digits && n >= 2 + digits) memcpy(hex, s + 2, digits);
    if (digits && strspn(hex, "0123456789abcdefABCDEF") == digits) {
        uint32_t cp = (uint32_t)strtoul(hex, NULL, 16);
        bool pair = cp >= 0xD800 && cp < 0xE000;
        if (pair) buf_printf(&p->out, "\\u%04x", (unsigned)cp);
        else if (cp < 0x80) json_escape(&p->out, (struct str){(char[]){(char)cp}, 1});
        else buf_utf8(&p->out, cp <= 0x10FFFF ? cp : 0xFFFD);
        p->pos += 2 + digits;
    } else if (simple) {
        json_escape(&p->out, (struct str){to + (simple - from), 1});
        p->pos += 2;
    } else if (strchr("\\'\"\n", s[1]) && s[1]) {
        if (s[1] != '\n') json_escape(&p->out, (struct str){s + 1, 1});
        p->pos += 2;
    } else {
        json_escape(&p->out, (struct str){s, 1});
        p->pos++;
    }
    return STEP_ON;
}

static void string_end(struct toolcall *p, struct literal *l) {
    buf_char(&p->out, '"');
    if (l->state == LIT_KEY_STRING) l->state = LIT_COLON;
    else value_end(l);
}

static enum step gemma_string(struct toolcall *p, struct literal *l) {
    struct found f;
    enum match m = toolcall_find(p, MARK(MARK_QUOTE), p->pos, &f);
    json_escape(&p->out, (struct str){p->in.p + p->pos, f.at - p->pos});
    p->pos = f.at;
    if (m != MATCH_FULL) return STEP_MORE;
    p->pos = f.end;
    string_end(p, l);
    return STEP_ON;
}

static enum step python_string(struct toolcall *p, struct literal *l) {
    size_t n = strlen(l->quote);
    while (p->pos < p->in.len) {
        const char *s = p->in.p + p->pos;
        size_t rest = p->in.len - p->pos;
        if (*s == '\\') {
            enum step e = escape(p);
            if (e != STEP_ON) return e;
            continue;
        }
        if (*s != l->quote[0]) {
            json_escape(&p->out, (struct str){s, 1});
            p->pos++;
            continue;
        }
        if (rest < n && !p->final) return STEP_MORE;
        enum match m = rest >= n && memcmp(s, l->quote, n) == 0 ? ends_string(p, top(l), p->pos + n)
                                                                : MATCH_NO;
        if (m == MATCH_PART && rest < LIMIT_CALL_HOLD) return STEP_MORE;
        if (m == MATCH_FULL) {
            p->pos += n;
            string_end(p, l);
            return STEP_ON;
        }
        json_escape(&p->out, (struct str){s, 1});
        p->pos++;
    }
    return STEP_MORE;
}

/* Begins a string if one begins here. */
static enum match start_string(struct toolcall *p, struct literal *l) {
    struct found f;
    char c = p->in.p[p->pos];
    if (l->gemma) {
        enum match m = toolcall_match_any(p, MARK(MARK_QUOTE), p->pos, &f);
        if (m != MATCH_FULL) return m;
        p->pos = f.end;
    } else {
        if (c != '"' && c != '\'') return MATCH_NO;
        size_t n = 1;
        while (n < 3 && p->pos + n < p->in.len && p->in.p[p->pos + n] == c) n++;
        if (p->pos + n == p->in.len && n < 3 && !p->final) return MATCH_PART;
        if (n == 2) n = 1; /* the empty string */
        memset(l->quote, 0, sizeof l->quote);
        memset(l->quote, c, n);
        p->pos += n;
    }
    l->state = l->state == LIT_KEY ? LIT_KEY_STRING : LIT_STRING;
    buf_char(&p->out, '"');
    return MATCH_FULL;
}

/* ---- words */

/* Numbers and the names of the constants; other words are strings, in Gemma's syntax only. */
static bool put_word(struct toolcall *p, const struct literal *l, struct str w) {
    static const struct { const char *text, *json; } words[] = {{"none", "null"}, {"nil", "null"}};
    if (json_whole(w, &p->out)) return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!str_is(w, words[i].text)) continue;
        buf_cstr(&p->out, words[i].json);
        return true;
    }
    if (!l->gemma) return false;
    buf_char(&p->out, '"');
    json_escape(&p->out, w);
    buf_char(&p->out, '"');
    return true;
}

static enum step bare_word(struct toolcall *p, struct literal *l) {
    size_t end = p->pos;
    while (end < p->in.len && !strchr(",:]})=", p->in.p[end]) && p->in.p[end] != '\n') end++;
    if (end - p->pos > WORD_MAX) return STEP_BAD;
    if (end == p->in.len && !(p->final && !l->depth)) return STEP_MORE;
    struct str w = {p->in.p + p->pos, end - p->pos};
    while (w.len && toolcall_is_space(w.p[w.len - 1])) w.len--;
    if (!put_word(p, l, w)) return STEP_BAD;
    p->pos = end;
    value_end(l);
    return STEP_ON;
}

/* ---- keys */

static enum step bare_key(struct toolcall *p, struct literal *l) {
    char stop = top(l) == 'k' ? '=' : ':';
    size_t end = p->pos;
    while (end < p->in.len && p->in.p[end] != stop && p->in.p[end] != '\n') end++;
    if (end - p->pos > WORD_MAX) return STEP_BAD;
    if (end == p->in.len) return STEP_MORE;
    struct str key = {p->in.p + p->pos, end - p->pos};
    while (key.len && toolcall_is_space(key.p[key.len - 1])) key.len--;
    bool empty = !key.len && !l->gemma;
    if (p->in.p[end] != stop || empty || memchr(key.p, '(', key.len)) return STEP_BAD;
    buf_char(&p->out, '"');
    json_escape(&p->out, key);
    buf_char(&p->out, '"');
    p->pos = end;
    l->state = LIT_COLON;
    return STEP_ON;
}

static enum step key_start(struct toolcall *p, struct literal *l) {
    if (closes(top(l), p->in.p[p->pos])) {
        close_container(p, l);
        return STEP_ON;
    }
    if (!l->first) buf_char(&p->out, ',');
    l->first = true; /* the comma is out, also if this has to wait */
    enum match m = top(l) == 'k' ? MATCH_NO : start_string(p, l);
    if (m == MATCH_PART) return STEP_MORE;
    return m == MATCH_FULL ? STEP_ON : bare_key(p, l);
}

static enum step value_start(struct toolcall *p, struct literal *l) {
    char c = p->in.p[p->pos];
    bool in_list = l->depth && !has_keys(top(l));
    if (in_list && closes(top(l), c)) {
        close_container(p, l);
        return STEP_ON;
    }
    if (in_list && !l->first) buf_char(&p->out, ',');
    l->first = true;
    if (c == '{' || c == '[' || (c == '(' && !l->gemma))
        return open_container(p, l, c) ? STEP_ON : STEP_BAD;
    enum match m = start_string(p, l);
    if (m == MATCH_PART) return STEP_MORE;
    return m == MATCH_FULL ? STEP_ON : bare_word(p, l);
}

static enum step next_item(struct toolcall *p, struct literal *l) {
    char c = p->in.p[p->pos];
    if (closes(top(l), c)) {
        close_container(p, l);
        return STEP_ON;
    }
    if (c != ',') return STEP_BAD;
    p->pos++;
    l->state = has_keys(top(l)) ? LIT_KEY : LIT_VALUE;
    return STEP_ON;
}

static enum step colon(struct toolcall *p, struct literal *l) {
    if (p->in.p[p->pos] != (top(l) == 'k' ? '=' : ':')) return STEP_BAD;
    buf_char(&p->out, ':');
    p->pos++;
    l->state = LIT_VALUE;
    l->first = true;
    return STEP_ON;
}

static enum step one_step(struct toolcall *p, struct literal *l) {
    if (l->state == LIT_STRING || l->state == LIT_KEY_STRING)
        return l->gemma ? gemma_string(p, l) : python_string(p, l);
    toolcall_skip_space(p);
    if (p->pos == p->in.len) return STEP_MORE;
    switch (l->state) {
    case LIT_KEY:
        return key_start(p, l);
    case LIT_COLON:
        return colon(p, l);
    case LIT_NEXT:
        return next_item(p, l);
    default:
        return value_start(p, l);
    }
}

enum step call_literal(struct toolcall *p) {
    struct literal *l = &p->call.lit;
    while (l->state != LIT_END) {
        enum step s = one_step(p, l);
        if (s != STEP_ON) return s;
    }
    p->call.args_done = true;
    return STEP_ON;
}

bool literal_whole(struct str text, struct buf *out) {
    struct toolcall p = {.final = true, .in = {.p = (char *)(uintptr_t)text.p, .len = text.len}};
    struct literal *l = &p.call.lit;
    size_t before = out->len;
    p.out = *out;
    call_literal_start(l, false, 0);
    enum step s = call_literal(&p);
    toolcall_skip_space(&p);
    *out = p.out;
    if (s == STEP_ON && p.pos == text.len) return true;
    out->len = before;
    return false;
}
