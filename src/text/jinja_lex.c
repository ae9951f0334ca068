/* The lexer of the template language: text, tags, names, numbers, strings and operators, with
 * Jinja's white space control (trim_blocks and lstrip_blocks on) applied to the text.
 * Called once per template; bounded by the source's length. */
#include "text/jinja_ast.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lexer {
    struct jinja *t;
    struct jtokens *out;
    struct err *e;
    struct str s;
    size_t at;
    bool line_starting; /* the last thing taken ended with a newline */
};

void jinja_position(const struct jinja *t, size_t pos, int *line, int *column) {
    *line = *column = 1;
    for (size_t i = 0; i < pos && i < t->source.len; i++) {
        if (t->source.p[i] == '\n') ++*line, *column = 1;
        else if (((unsigned char)t->source.p[i] & 0xC0) != 0x80) ++*column;
    }
}

bool jinja_error_at(const struct jinja *t, struct err *e, enum err_code code, size_t pos,
                    const char *fmt, ...) {
    char msg[400];
    int line, column;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    jinja_position(t, pos, &line, &column);
    return err_set_at(e, code, (int64_t)pos, "line %d column %d: %s", line, column, msg);
}

static bool bad(struct lexer *l, size_t pos, const char *what) {
    return jinja_error_at(l->t, l->e, ERR_FORMAT, pos, "%s", what);
}

static struct jtoken *push(struct lexer *l, enum jtoken_kind kind, size_t pos) {
    void *array = l->out->tok;
    if (!mem_grow(&array, &l->out->cap, l->out->n + 1, sizeof(struct jtoken))) {
        err_nomem(l->e, "template tokens", l->out->n * sizeof(struct jtoken));
        return NULL;
    }
    l->out->tok = array;
    struct jtoken *t = &l->out->tok[l->out->n++];
    *t = (struct jtoken){.kind = (uint8_t)kind, .pos = (uint32_t)pos};
    return t;
}

static char at(const struct lexer *l, size_t i) {
    return i < l->s.len ? l->s.p[i] : 0;
}
static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c) ||
           (unsigned char)c >= 0x80;
}

static size_t skip_space(const struct lexer *l, size_t i) {
    while (i < l->s.len && is_space(l->s.p[i])) i++;
    return i;
}

/* Text from l->at up to a tag at `end` whose sign stands behind its two opening characters. */
static bool take_text(struct lexer *l, size_t end, bool is_tag) {
    size_t from = l->at, to = end;
    char sign = is_tag ? at(l, end + 2) : 0;
    if (is_tag && sign == '-') {
        while (to > from && is_space(l->s.p[to - 1])) to--;
    } else if (is_tag && sign != '+' && at(l, end + 1) != '{') { /* lstrip_blocks */
        size_t start = to;
        while (start > from && (l->s.p[start - 1] == ' ' || l->s.p[start - 1] == '\t')) start--;
        if (start > from ? l->s.p[start - 1] == '\n' : l->line_starting) to = start;
    }
    l->at = end;
    if (to == from) return true;
    struct jtoken *t = push(l, JT_TEXT, from);
    if (t) t->text = (struct str){l->s.p + from, to - from};
    return t != NULL;
}

/* Behind the two closing characters of a tag: `-` eats white space, a block tag one newline. */
static void close_tag(struct lexer *l, size_t end, char sign, bool is_block) {
    l->at = end;
    if (sign == '-') l->at = skip_space(l, end);
    else if (is_block && sign != '+' && at(l, end) == '\n') l->at++;
    l->line_starting = l->at > end && l->s.p[l->at - 1] == '\n';
}

static bool take_comment(struct lexer *l) {
    size_t start = l->at;
    int64_t end = str_find(l->s, STR("#}"), start + 2);
    if (end < 0) return bad(l, start, "a comment is not closed: expected '#}'");
    char sign = (size_t)end > start + 2 ? l->s.p[end - 1] : 0;
    close_tag(l, (size_t)end + 2, sign, true);
    return true;
}

/* If the tag at i is `{% word %}` returns the index behind it and its closing sign, else 0. */
static size_t plain_tag(const struct lexer *l, size_t i, const char *word, char *sign) {
    if (at(l, i) != '{' || at(l, i + 1) != '%') return 0;
    i += 2;
    if (at(l, i) == '-' || at(l, i) == '+') i++;
    i = skip_space(l, i);
    size_t n = strlen(word);
    if (l->s.len - i < n || memcmp(l->s.p + i, word, n) != 0) return 0;
    i = skip_space(l, i + n);
    *sign = at(l, i) == '-' || at(l, i) == '+' ? at(l, i) : 0;
    if (*sign) i++;
    return at(l, i) == '%' && at(l, i + 1) == '}' ? i + 2 : 0;
}

static bool take_raw(struct lexer *l, size_t body, char open_sign) {
    size_t start = l->at;
    l->at = open_sign == '-' ? skip_space(l, body) : body;
    l->line_starting = false;
    for (size_t i = l->at; i < l->s.len;) {
        int64_t tag = str_find(l->s, STR("{%"), i);
        if (tag < 0) break;
        char sign;
        size_t end = plain_tag(l, (size_t)tag, "endraw", &sign);
        if (end) {
            if (!take_text(l, (size_t)tag, true)) return false;
            close_tag(l, end, sign, true);
            return true;
        }
        i = (size_t)tag + 2;
    }
    return bad(l, start, "a raw block is not closed: expected {% endraw %}");
}

static int hex_value(struct str s, size_t i, int n, uint32_t *cp) {
    *cp = 0;
    for (int k = 0; k < n; k++, i++) {
        char c = i < s.len ? s.p[i] : 0;
        int d = is_digit(c)                          ? c - '0'
                : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                     : -1;
        if (d < 0) return 0;
        *cp = *cp << 4 | (uint32_t)d;
    }
    return n;
}

/* One Python escape at s[i] == '\\'; appends to b, returns the bytes taken. */
static size_t unescape(struct str s, size_t i, struct buf *b) {
    static const char from[] = "ntrabfv\\'\"", to[] = "\n\t\r\a\b\f\v\\'\"";
    char c = i + 1 < s.len ? s.p[i + 1] : 0;
    const char *hit = c ? strchr(from, c) : NULL;
    uint32_t cp, low;
    int n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (hit) {
        buf_char(b, to[hit - from]);
        return 2;
    }
    if (c == '\n') return 2;
    if (n && hex_value(s, i + 2, n, &cp)) {
        size_t used = 2 + (size_t)n;
        bool high = cp >= 0xD800 && cp < 0xDC00; /* a surrogate pair is one character to us */
        if (high && i + used + 1 < s.len && s.p[i + used] == '\\' && s.p[i + used + 1] == 'u' &&
            hex_value(s, i + used + 2, 4, &low) && low >= 0xDC00 && low < 0xE000) {
            cp = 0x10000 + ((cp - 0xD800) << 10 | (low - 0xDC00));
            used += 6;
        }
        buf_utf8(b, cp);
        return used;
    }
    if (c >= '0' && c <= '7') {
        size_t k = i + 1;
        for (cp = 0; k < i + 4 && k < s.len && s.p[k] >= '0' && s.p[k] <= '7'; k++)
            cp = cp << 3 | (uint32_t)(s.p[k] - '0');
        buf_utf8(b, cp);
        return k - i;
    }
    buf_char(b, '\\');
    return 1;
}

static bool take_string(struct lexer *l) {
    size_t start = l->at, end = start + 1;
    char quote = l->s.p[start];
    bool escaped = false;
    while (end < l->s.len && l->s.p[end] != quote) {
        if (l->s.p[end] == '\\') escaped = true, end++;
        end++;
    }
    if (end >= l->s.len) return bad(l, start, "a string is not closed");
    struct jtoken *t = push(l, JT_STRING, start);
    if (!t) return false;
    t->text = (struct str){l->s.p + start + 1, end - start - 1};
    l->at = end + 1;
    if (!escaped) return true;
    struct buf b = {0};
    for (size_t i = 0; i < t->text.len;) {
        if (t->text.p[i] == '\\') i += unescape(t->text, i, &b);
        else buf_char(&b, t->text.p[i++]);
    }
    t->text = (struct str){arena_strndup(&l->t->arena, b.p, b.len), b.len};
    bool ok = !b.failed && t->text.p;
    buf_free(&b);
    return ok || err_nomem(l->e, "template string", t->text.len);
}

/* Copies digits without the underscores; false if there are too many. */
static bool clean_digits(const struct lexer *l, size_t from, size_t to, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = from; i < to; i++) {
        if (l->s.p[i] == '_') continue;
        if (n + 1 == size) return false;
        out[n++] = l->s.p[i];
    }
    out[n] = 0;
    return true;
}

static size_t digits(const struct lexer *l, size_t i) {
    while (is_digit(at(l, i)) || (at(l, i) == '_' && is_digit(at(l, i + 1)))) i++;
    return i;
}

static bool take_number(struct lexer *l) {
    size_t start = l->at, end = start;
    char radix = (char)(at(l, start + 1) | 32), text[400];
    int base = 10;
    if (at(l, start) == '0' && (radix == 'x' || radix == 'b' || radix == 'o')) {
        base = radix == 'x' ? 16 : radix == 'b' ? 2 : 8;
        end = start + 2;
        while (is_name(at(l, end))) end++;
    } else {
        end = digits(l, start);
    }
    bool real = false, after_dot = start > 0 && l->s.p[start - 1] == '.';
    if (base == 10 && !after_dot) {
        if (at(l, end) == '.' && is_digit(at(l, end + 1))) real = true, end = digits(l, end + 1);
        size_t k = end + 1;
        if (at(l, k) == '+' || at(l, k) == '-') k++;
        if ((at(l, end) | 32) == 'e' && is_digit(at(l, k))) real = true, end = digits(l, k);
    }
    if (!clean_digits(l, start + (base == 10 ? 0 : 2), end, text, sizeof text))
        return bad(l, start, "a number has too many digits");
    struct jtoken *t = push(l, real ? JT_FLOAT : JT_INT, start);
    if (!t) return false;
    char *rest;
    unsigned long long v = 0;
    if (real) t->real = strtod(text, &rest);
    else v = strtoull(text, &rest, base);
    if (*rest || (!real && v > INT64_MAX)) return bad(l, start, "not a number we can hold");
    if (!real) t->integer = (int64_t)v;
    l->at = end;
    return true;
}

static bool take_operator(struct lexer *l) {
    static const char *const two[] = {"//", "**", "==", "!=", "<=", ">="};
    static const char one[] = "+-*/%~[](){}<>=.:|,;";
    char c = at(l, l->at), d = at(l, l->at + 1);
    uint16_t op = 0;
    size_t n = 1;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (c == two[i][0] && d == two[i][1]) op = JOP2(c, d), n = 2;
    if (!op && c && strchr(one, c)) op = (uint16_t)c;
    if (!op) return bad(l, l->at, "a character that is no part of the template language");
    struct jtoken *t = push(l, JT_OP, l->at);
    if (!t) return false;
    t->op = op;
    t->text = (struct str){l->s.p + l->at, n};
    l->at += n;
    return true;
}

/* The inside of {{ }} or {% %}. Brackets shield a closing tag, as in {{ {'a': {}} }}. */
static bool take_tag(struct lexer *l, bool is_block) {
    size_t start = l->at;
    int open = 0;
    if (!push(l, is_block ? JT_BLOCK_BEGIN : JT_PRINT_BEGIN, start)) return false;
    l->at += 2;
    if (at(l, l->at) == '-' || (is_block && at(l, l->at) == '+')) l->at++;
    for (;;) {
        l->at = skip_space(l, l->at);
        if (l->at >= l->s.len) return bad(l, start, "a tag is not closed");
        char c = l->s.p[l->at], close = is_block ? '%' : '}';
        bool sign = c == '-' || (is_block && c == '+');
        size_t k = l->at + sign;
        if (open == 0 && at(l, k) == close && at(l, k + 1) == '}') {
            if (!push(l, is_block ? JT_BLOCK_END : JT_PRINT_END, l->at)) return false;
            close_tag(l, k + 2, sign ? c : 0, is_block);
            return true;
        }
        if (strchr("([{", c)) open++;
        if (strchr(")]}", c) && open > 0) open--;
        if (c == '"' || c == '\'') {
            if (!take_string(l)) return false;
        } else if (is_digit(c)) {
            if (!take_number(l)) return false;
        } else if (is_name(c)) {
            struct jtoken *t = push(l, JT_NAME, l->at);
            size_t from = l->at;
            while (is_name(at(l, l->at))) l->at++;
            if (!t) return false;
            t->text = (struct str){l->s.p + from, l->at - from};
        } else if (!take_operator(l)) {
            return false;
        }
    }
}

/* The next {{, {% or {# at or behind i; the length of the source if there is none. */
static size_t next_tag(const struct lexer *l, size_t i) {
    for (; i + 1 < l->s.len; i++) {
        const char *hit = memchr(l->s.p + i, '{', l->s.len - i - 1);
        if (!hit) break;
        i = (size_t)(hit - l->s.p);
        if (strchr("{%#", l->s.p[i + 1]) && l->s.p[i + 1]) return i;
    }
    return l->s.len;
}

bool jinja_lex(struct jinja *t, struct jtokens *out, struct err *e) {
    struct lexer l = {t, out, e, t->source, 0, true};
    while (l.at < l.s.len) {
        size_t tag = next_tag(&l, l.at), body;
        char kind = at(&l, tag + 1), sign;
        if (!take_text(&l, tag, tag < l.s.len)) return false;
        bool ok = true;
        if (tag == l.s.len) break;
        if (kind == '#') ok = take_comment(&l);
        else if (kind == '%' && (body = plain_tag(&l, tag, "raw", &sign)) != 0)
            ok = take_raw(&l, body, sign);
        else ok = take_tag(&l, kind == '%');
        if (!ok) return false;
    }
    return push(&l, JT_END, l.s.len) != NULL;
}
