/* The scanner behind JSON arguments: a byte-wise automaton that checks and passes on. Lenient where
 * models are sloppy and the meaning is clear: raw line breaks in strings, Python's True, False,
 * None. */
#include "text/toolcall_json.h"
#include "base/json.h"

#include <string.h>

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

void json_scan_start(struct json_scan *s) {
    *s = (struct json_scan){.state = SCAN_VALUE};
}

static bool push(struct json_scan *s, bool object) {
    if (s->depth == LIMIT_JSON_DEPTH) return false;
    unsigned char bit = (unsigned char)(1u << (s->depth % 8));
    if (object) s->is_object[s->depth / 8] |= bit;
    else s->is_object[s->depth / 8] &= (unsigned char)~bit;
    s->depth++;
    s->state = object ? SCAN_FIRST_KEY : SCAN_FIRST_ITEM;
    return true;
}

static bool in_object(const struct json_scan *s) {
    return s->depth && s->is_object[(s->depth - 1) / 8] >> ((s->depth - 1) % 8) & 1;
}

static enum json_step value_end(struct json_scan *s) {
    s->state = s->depth ? SCAN_NEXT : SCAN_END;
    return s->depth ? SCAN_MORE : SCAN_DONE;
}

static enum json_step pop(struct json_scan *s) {
    s->depth--;
    return value_end(s);
}

/* Numbers: the states are minus, 0, digits, dot, fraction, e, sign, exponent; the table says where
 * a digit 0, a digit 1-9, '.', 'e' and a sign lead (0: nowhere). */
enum { N_MINUS = 1, N_ZERO, N_INT, N_DOT, N_FRAC, N_E, N_SIGN, N_EXP };
static int number_next(int state, char c) {
    static const unsigned char table[][5] = {
        /*           0       1-9     .      e    +-  */
        [N_MINUS] = {N_ZERO, N_INT, 0, 0, 0},    [N_ZERO] = {0, 0, N_DOT, N_E, 0},
        [N_INT] = {N_INT, N_INT, N_DOT, N_E, 0}, [N_DOT] = {N_FRAC, N_FRAC, 0, 0, 0},
        [N_FRAC] = {N_FRAC, N_FRAC, 0, N_E, 0},  [N_E] = {N_EXP, N_EXP, 0, 0, N_SIGN},
        [N_SIGN] = {N_EXP, N_EXP, 0, 0, 0},      [N_EXP] = {N_EXP, N_EXP, 0, 0, 0}};
    int column = c == '0'               ? 0
                 : c >= '1' && c <= '9' ? 1
                 : c == '.'             ? 2
                 : c == 'e' || c == 'E' ? 3
                 : c == '+' || c == '-' ? 4
                                        : -1;
    return column < 0 ? 0 : table[state][column];
}

bool json_scan_end(struct json_scan *s) {
    if (s->state == SCAN_NUMBER && s->depth == 0)
        return s->number == N_ZERO || s->number == N_INT || s->number == N_FRAC ||
               s->number == N_EXP;
    return s->state == SCAN_END;
}

static const struct {
    const char *text, *json;
} words[] = {{"true", "true"}, {"false", "false"}, {"null", "null"},
             {"True", "true"}, {"False", "false"}, {"None", "null"}};

static enum json_step value_start(struct json_scan *s, char c, struct buf *out) {
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (words[i].text[0] != c) continue;
        s->state = SCAN_WORD;
        s->word_text = words[i].text;
        s->word = words[i].text + 1;
        s->word_json = words[i].json;
        return SCAN_MORE;
    }
    buf_char(out, c);
    if (is_space(c)) return SCAN_MORE;
    if (c == '{' || c == '[') return push(s, c == '{') ? SCAN_MORE : SCAN_BAD;
    if (c == '"') {
        s->state = SCAN_STRING;
        s->in_key = false;
        return SCAN_MORE;
    }
    s->state = SCAN_NUMBER;
    s->number = c == '-' ? N_MINUS : c == '0' ? N_ZERO : N_INT;
    return c == '-' || (c >= '0' && c <= '9') ? SCAN_MORE : SCAN_BAD;
}

static enum json_step in_string(struct json_scan *s, char c, struct buf *out) {
    if ((unsigned char)c < 0x20) {
        json_escape(out, (struct str){&c, 1});
        return SCAN_MORE;
    }
    buf_char(out, c);
    if (c == '\\') s->state = SCAN_ESCAPE;
    if (c != '"') return SCAN_MORE;
    if (!s->in_key) return value_end(s);
    s->state = SCAN_COLON;
    return SCAN_MORE;
}

static enum json_step in_escape(struct json_scan *s, char c, struct buf *out) {
    buf_char(out, c);
    if (s->state == SCAN_HEX) {
        bool hex = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
        if (--s->hex == 0) s->state = SCAN_STRING;
        return hex ? SCAN_MORE : SCAN_BAD;
    }
    s->state = c == 'u' ? SCAN_HEX : SCAN_STRING;
    s->hex = 4;
    return c && strchr("\"\\/bfnrtu", c) ? SCAN_MORE : SCAN_BAD;
}

static enum json_step between(struct json_scan *s, char c, struct buf *out) {
    buf_char(out, c);
    if (is_space(c)) return SCAN_MORE;
    if (s->state == SCAN_COLON) {
        s->state = SCAN_VALUE;
        return c == ':' ? SCAN_MORE : SCAN_BAD;
    }
    if (s->state == SCAN_NEXT && c == ',') {
        s->state = in_object(s) ? SCAN_KEY : SCAN_VALUE;
        return SCAN_MORE;
    }
    if (s->state != SCAN_KEY && c == (in_object(s) ? '}' : ']')) return pop(s);
    if (s->state == SCAN_NEXT || c != '"') return SCAN_BAD;
    s->state = SCAN_STRING;
    s->in_key = true;
    return SCAN_MORE;
}

enum json_step json_scan_byte(struct json_scan *s, char c, struct buf *out) {
    switch (s->state) {
    case SCAN_FIRST_ITEM:
        if (c == ']') return between(s, c, out);
        if (!is_space(c)) s->state = SCAN_VALUE;
        return value_start(s, c, out);
    case SCAN_VALUE:
        return value_start(s, c, out);
    case SCAN_STRING:
        return in_string(s, c, out);
    case SCAN_ESCAPE:
    case SCAN_HEX:
        return in_escape(s, c, out);
    case SCAN_WORD:
        if (c != *s->word) return SCAN_BAD;
        if (*++s->word) return SCAN_MORE;
        buf_cstr(out, s->word_json);
        return value_end(s);
    case SCAN_NUMBER: {
        int next = number_next(s->number, c);
        if (next) {
            s->number = next;
            buf_char(out, c);
            return SCAN_MORE;
        }
        bool ok =
            s->number == N_ZERO || s->number == N_INT || s->number == N_FRAC || s->number == N_EXP;
        if (!ok) return SCAN_BAD;
        if (value_end(s) == SCAN_DONE) return SCAN_DONE_BEFORE;
        return between(s, c, out);
    }
    case SCAN_END:
        return SCAN_BAD;
    default:
        return between(s, c, out);
    }
}

void json_escape(struct buf *out, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        if (c == '"' || c == '\\') buf_char(out, '\\');
        if (c == '\n') buf_cstr(out, "\\n");
        else if (c == '\t') buf_cstr(out, "\\t");
        else if (c == '\r') buf_cstr(out, "\\r");
        else if ((unsigned char)c < 0x20) buf_printf(out, "\\u%04x", c);
        else buf_char(out, c);
    }
}

bool json_unescape(struct str quoted, struct buf *out) {
    json_t *v = json_parse(quoted, LIMIT_CALL_VALUE * 2, NULL);
    bool ok = json_is_string(v);
    if (ok) buf_add(out, json_string_value(v), json_string_length(v));
    json_decref(v);
    return ok;
}

bool json_whole(struct str text, struct buf *out) {
    struct json_scan s;
    size_t start = out->len;
    json_scan_start(&s);
    while (text.len && is_space(text.p[0])) text.p++, text.len--;
    while (text.len && is_space(text.p[text.len - 1])) text.len--;
    for (size_t i = 0; i < text.len; i++) {
        enum json_step r = json_scan_byte(&s, text.p[i], out);
        if (r == SCAN_MORE || (r == SCAN_DONE && i + 1 == text.len)) continue;
        out->len = start;
        return false;
    }
    if (json_scan_end(&s)) return true;
    out->len = start;
    return false;
}
