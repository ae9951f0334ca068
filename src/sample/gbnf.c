/* GBNF as llama.cpp's users write it: NAME ::= alternatives of quoted text, character classes,
 * names, groups and repetitions; # comments; the rule "root" is the grammar. <[N]> is token N. */
#include "base/limits.h"
#include "sample/expr.h"
#include "sample/grammar.h"

#include <stdio.h>
#include <string.h>

enum { NAME_LEN = 128, CLASS_RANGES = 512, NEST = 100, COUNT_MOST = 1000000, NAMES = 1 << 12 };

struct parser {
    struct build *b;
    struct str s;
    size_t at;
    int depth;
    struct err *e;
    struct name {
        struct str text;
        int rule;
        uint32_t chain;
    } * name;
    size_t n_names, cap_names;
    uint32_t bucket[NAMES];
};

static struct expr *bad(struct parser *p, size_t at, const char *what) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < p->s.len; i++) {
        column++;
        if (p->s.p[i] == '\n') line++, column = 1;
    }
    err_set_at(p->e, ERR_FORMAT, (int64_t)at, "grammar, line %zu column %zu: %s", line, column,
               what);
    return NULL;
}

static int peek(const struct parser *p) {
    return p->at < p->s.len ? (unsigned char)p->s.p[p->at] : -1;
}

static bool starts(const struct parser *p, const char *text) {
    return str_starts((struct str){p->s.p + p->at, p->s.len - p->at}, str_of(text));
}

/* Blanks and comments; line ends only where a rule cannot end (inside of groups, or in front of
 * an alternative). */
static void skip(struct parser *p, bool lines) {
    for (;; p->at++) {
        int c = peek(p);
        if (c == '#')
            while (peek(p) >= 0 && peek(p) != '\n') p->at++;
        c = peek(p);
        if (c != ' ' && c != '\t' && c != '\r' && !(lines && c == '\n')) return;
    }
}

static bool is_name(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static struct str take_name(struct parser *p) {
    size_t start = p->at;
    while (is_name(peek(p))) p->at++;
    return (struct str){p->s.p + start, p->at - start};
}

static int rule_of(struct parser *p, struct str text, size_t pos) {
    uint32_t *at = &p->bucket[str_hash(text) % NAMES];
    for (uint32_t i = *at; i; i = p->name[i - 1].chain)
        if (str_eq(p->name[i - 1].text, text)) return p->name[i - 1].rule;
    void *grown = p->name;
    if (!mem_grow(&grown, &p->cap_names, p->n_names + 1, sizeof *p->name)) return -1;
    p->name = grown;
    char copy[NAME_LEN];
    size_t n = text.len < sizeof copy - 1 ? text.len : sizeof copy - 1;
    memcpy(copy, text.p, n);
    copy[n] = 0;
    int rule = build_rule(p->b, copy, (int64_t)pos);
    if (rule < 0) return rule;
    p->name[p->n_names++] = (struct name){text, rule, *at};
    *at = (uint32_t)p->n_names;
    return rule;
}

static bool take_hex(struct parser *p, int digits, uint32_t *cp) {
    *cp = 0;
    for (int i = 0; i < digits; i++, p->at++) {
        int c = peek(p);
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) return bad(p, p->at, "a hexadecimal digit is expected") != NULL;
        *cp = *cp * 16 + (uint32_t)d;
    }
    return *cp <= 0x10FFFF || bad(p, p->at, "there is no such character") != NULL;
}

/* One character of a text or class. */
static bool take_char(struct parser *p, uint32_t *cp) {
    if (peek(p) != '\\') {
        p->at += utf8_decode(p->s.p + p->at, p->s.len - p->at, cp);
        return true;
    }
    p->at++;
    int c = peek(p);
    p->at++;
    switch (c) {
    case 'x':
        return take_hex(p, 2, cp);
    case 'u':
        return take_hex(p, 4, cp);
    case 'U':
        return take_hex(p, 8, cp);
    case 't':
        *cp = '\t';
        return true;
    case 'r':
        *cp = '\r';
        return true;
    case 'n':
        *cp = '\n';
        return true;
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^':
        *cp = (uint32_t)c;
        return true;
    default:
        return bad(p, p->at - 2, "unknown escape") != NULL;
    }
}

static struct expr *text(struct parser *p) {
    size_t start = p->at++;
    struct buf out = {0};
    struct expr *x = NULL;
    while (peek(p) != '"') {
        uint32_t cp;
        if (peek(p) < 0 || peek(p) == '\n') {
            bad(p, start, "the text is never closed");
            goto end;
        }
        if (!take_char(p, &cp)) goto end;
        buf_utf8(&out, cp);
    }
    p->at++;
    x = build_lit(p->b, (struct str){out.p ? out.p : "", out.len});
end:
    buf_free(&out);
    return x;
}

static struct expr *char_class(struct parser *p) {
    struct char_range r[CLASS_RANGES];
    size_t n = 0, start = p->at++;
    bool negated = peek(p) == '^';
    if (negated) p->at++;
    while (peek(p) != ']') {
        if (peek(p) < 0) return bad(p, start, "'[' is never closed");
        if (n == CLASS_RANGES) return bad(p, p->at, "the character class has too many parts");
        if (!take_char(p, &r[n].lo)) return NULL;
        r[n].hi = r[n].lo;
        if (peek(p) == '-' && p->at + 1 < p->s.len && p->s.p[p->at + 1] != ']') {
            p->at++;
            if (!take_char(p, &r[n].hi)) return NULL;
            if (r[n].hi < r[n].lo) return bad(p, p->at, "the range is out of order");
        }
        n++;
    }
    p->at++;
    if (n == 0 && !negated) return bad(p, start, "the character class is empty");
    return build_chars(p->b, r, n, negated);
}

static bool number(struct parser *p, int64_t *value) {
    size_t start = p->at;
    *value = 0;
    while (peek(p) >= '0' && peek(p) <= '9') {
        if (*value <= INT32_MAX) *value = *value * 10 + (peek(p) - '0');
        p->at++;
    }
    return p->at > start;
}

static struct expr *token(struct parser *p) {
    size_t start = p->at;
    int64_t id;
    p->at += 2;
    if (!number(p, &id) || id > INT32_MAX || !starts(p, "]>"))
        return bad(p, start, "a token is written <[NUMBER]>");
    p->at += 2;
    return build_token(p->b, (int32_t)id);
}

static struct expr *alternatives(struct parser *p, bool in_group);

static struct expr *group(struct parser *p) {
    size_t start = p->at++;
    if (++p->depth > NEST) return bad(p, start, "groups are nested too deeply");
    struct expr *x = alternatives(p, true);
    p->depth--;
    if (!x) return NULL;
    if (peek(p) != ')') return bad(p, start, "'(' is never closed");
    p->at++;
    return x;
}

static struct expr *atom(struct parser *p) {
    int c = peek(p);
    if (c == '"') return text(p);
    if (c == '[') return char_class(p);
    if (c == '(') return group(p);
    if (starts(p, "<[")) return token(p);
    if (c == '.') {
        p->at++;
        return build_char_any(p->b);
    }
    size_t start = p->at;
    struct str name = take_name(p);
    if (name.len == 0) return bad(p, start, "a text, class, name or group is expected");
    int rule = rule_of(p, name, start);
    return rule < 0 ? bad(p, start, "no memory") : build_call(p->b, rule);
}

static bool braces(struct parser *p, int64_t *min, int64_t *max) {
    size_t start = p->at++;
    skip(p, true);
    bool has_min = number(p, min);
    skip(p, true);
    *max = *min;
    if (peek(p) == ',') {
        p->at++;
        skip(p, true);
        if (!number(p, max)) *max = BUILD_MANY;
        skip(p, true);
    } else if (!has_min) {
        return bad(p, start, "a number is expected") != NULL;
    }
    if (peek(p) != '}') return bad(p, start, "'{' is never closed") != NULL;
    p->at++;
    if (*min > COUNT_MOST || *max > COUNT_MOST)
        return bad(p, start, "the count is too large") != NULL;
    return *max < 0 || *min <= *max || bad(p, start, "the counts are out of order") != NULL;
}

static struct expr *sequence(struct parser *p, bool in_group) {
    struct expr *seq = build_seq(p->b);
    for (;;) {
        skip(p, in_group);
        int c = peek(p);
        if (c < 0 || c == '\n' || c == '|' || c == ')') return seq;
        struct expr *x = atom(p);
        for (;;) {
            if (!x) return NULL;
            skip(p, in_group);
            c = peek(p);
            size_t at = p->at;
            int64_t min = c == '+', max = c == '?' ? 1 : BUILD_MANY;
            if (c == '{') {
                if (!braces(p, &min, &max)) return NULL;
            } else if (c == '*' || c == '+' || c == '?') {
                p->at++;
            } else {
                break;
            }
            x = build_repeat_at(p->b, x, min, max, (int64_t)at);
        }
        build_push(p->b, seq, x);
    }
}

static struct expr *alternatives(struct parser *p, bool in_group) {
    struct expr *alt = build_alt(p->b);
    for (;;) {
        struct expr *x = sequence(p, in_group);
        if (!x) return NULL;
        build_push(p->b, alt, x);
        size_t at = p->at;
        skip(p, true);
        if (peek(p) != '|') {
            if (!in_group) p->at = at;
            break;
        }
        p->at++;
        skip(p, true);
    }
    return alt && alt->u.list.n == 1 ? alt->u.list.item[0] : alt;
}

static bool rule(struct parser *p) {
    size_t start = p->at;
    struct str name = take_name(p);
    if (name.len == 0) return bad(p, start, "the name of a rule is expected") != NULL;
    if (name.len >= NAME_LEN) return bad(p, start, "the name is too long") != NULL;
    skip(p, false);
    if (!starts(p, "::=")) return bad(p, p->at, "'::=' is expected") != NULL;
    p->at += 3;
    skip(p, true);
    int r = rule_of(p, name, start);
    if (r < 0) return bad(p, start, "no memory") != NULL;
    if (build_defined(p->b, r)) return bad(p, start, "the rule is defined twice") != NULL;
    p->b->rule[r].pos = (int64_t)start;
    struct expr *x = alternatives(p, false);
    if (!x) return false;
    build_define(p->b, r, x);
    int c = peek(p);
    return c < 0 || c == '\n' || bad(p, p->at, c == ')' ? "')' without '('" : "unexpected text");
}

static bool parse(struct parser *p) {
    if (p->s.len > LIMIT_GRAMMAR_BYTES)
        return err_set(p->e, ERR_LIMIT, "a grammar of %zu bytes is larger than the limit of %d",
                       p->s.len, LIMIT_GRAMMAR_BYTES);
    if (!utf8_valid(p->s.p, p->s.len))
        return err_set(p->e, ERR_FORMAT, "the grammar is not valid UTF-8");
    for (skip(p, true); peek(p) >= 0; skip(p, true))
        if (!rule(p)) return false;
    for (size_t i = 0; i < p->n_names; i++) {
        struct name *n = &p->name[i];
        if (build_defined(p->b, n->rule)) continue;
        char what[NAME_LEN + 40];
        snprintf(what, sizeof what, "rule '%.*s' is not defined", (int)n->text.len, n->text.p);
        return bad(p, (size_t)p->b->rule[n->rule].pos, what) != NULL;
    }
    for (size_t i = 0; i < p->n_names; i++)
        if (str_is(p->name[i].text, "root")) return true;
    return bad(p, 0, "there is no rule 'root'") != NULL;
}

struct grammar *grammar_from_gbnf(struct str source, struct err *e) {
    struct build *b = build_new(e);
    struct parser *p = b ? mem_calloc(1, sizeof *p) : NULL;
    struct expr *x = NULL;
    if (p) {
        struct err found = {0};
        p->b = b;
        p->s = source;
        p->e = &found;
        if (parse(p)) x = build_call(b, rule_of(p, STR("root"), 0));
        if (!x && !found.code) err_set(&found, ERR_LIMIT, "the grammar is too large");
        if (!x && e) *e = found;
        mem_free(p->name);
        mem_free(p);
    } else if (b) {
        err_nomem(e, "a grammar", sizeof *p);
    }
    if (x) return build_finish(b, x, e);
    build_free(b);
    return NULL;
}
