/* GBNF as llama.cpp's users write it: NAME ::= alternatives of quoted text, character classes,
 * names, groups and repetitions; # comments; the rule "root" is the grammar. <[N]> is token N. */
#include "sample/expr.h"
#include "sample/grammar.h"
#include "sample/source.h"

enum { NEST = 100, CLASS_RANGES = 512, COUNT_MOST = 1000000 };

/* Blanks and comments; line ends only where a rule cannot end (inside of groups, or in front of
 * an alternative). */
static void skip(struct source *p, bool lines) {
    for (;; p->at++) {
        int c = source_peek(p);
        if (c == '#')
            while (source_peek(p) >= 0 && source_peek(p) != '\n') p->at++;
        c = source_peek(p);
        if (c != ' ' && c != '\t' && c != '\r' && !(lines && c == '\n')) return;
    }
}

static bool is_name(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static struct str take_name(struct source *p) {
    size_t start = p->at;
    while (is_name(source_peek(p))) p->at++;
    return (struct str){p->s.p + start, p->at - start};
}

/* One character of a text or class. */
static bool take_char(struct source *p, uint32_t *cp) {
    if (source_peek(p) != '\\') {
        p->at += utf8_decode(p->s.p + p->at, p->s.len - p->at, cp);
        return true;
    }
    p->at++;
    int c = source_peek(p);
    p->at++;
    switch (c) {
    case 'x':
        return source_hex(p, 2, cp);
    case 'u':
        return source_hex(p, 4, cp);
    case 'U':
        return source_hex(p, 8, cp);
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
        return source_bad(p, p->at - 2, "unknown escape") != NULL;
    }
}

static struct expr *text(struct source *p) {
    size_t start = p->at++;
    struct buf out = {0};
    struct expr *x = NULL;
    while (source_peek(p) != '"') {
        uint32_t cp;
        if (source_peek(p) < 0 || source_peek(p) == '\n') {
            source_bad(p, start, "the text is never closed");
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

static struct expr *char_class(struct source *p) {
    struct char_range r[CLASS_RANGES];
    size_t n = 0, start = p->at++;
    bool negated = source_peek(p) == '^';
    if (negated) p->at++;
    while (source_peek(p) != ']') {
        if (source_peek(p) < 0) return source_bad(p, start, "'[' is never closed");
        if (n == CLASS_RANGES)
            return source_bad(p, p->at, "the character class has too many parts");
        if (!take_char(p, &r[n].lo)) return NULL;
        r[n].hi = r[n].lo;
        if (source_peek(p) == '-' && p->at + 1 < p->s.len && p->s.p[p->at + 1] != ']') {
            p->at++;
            if (!take_char(p, &r[n].hi)) return NULL;
            if (r[n].hi < r[n].lo) return source_bad(p, p->at, "the range is out of order");
        }
        n++;
    }
    p->at++;
    if (n == 0 && !negated) return source_bad(p, start, "the character class is empty");
    return build_chars(p->b, r, n, negated);
}

static struct expr *token(struct source *p) {
    size_t start = p->at;
    int64_t id;
    p->at += 2;
    if (!source_number(p, &id) || id > INT32_MAX || !source_starts(p, "]>"))
        return source_bad(p, start, "a token is written <[NUMBER]>");
    p->at += 2;
    return build_token(p->b, (int32_t)id);
}

static struct expr *alternatives(struct source *p, bool in_group);

static struct expr *group(struct source *p) {
    size_t start = p->at++;
    if (++p->depth > NEST) return source_bad(p, start, "groups are nested too deeply");
    struct expr *x = alternatives(p, true);
    p->depth--;
    if (!x) return NULL;
    if (source_peek(p) != ')') return source_bad(p, start, "'(' is never closed");
    p->at++;
    return x;
}

static struct expr *atom(struct source *p) {
    int c = source_peek(p);
    if (c == '"') return text(p);
    if (c == '[') return char_class(p);
    if (c == '(') return group(p);
    if (source_starts(p, "<[")) return token(p);
    if (c == '.') {
        p->at++;
        return build_char_any(p->b);
    }
    size_t start = p->at;
    struct str name = take_name(p);
    if (name.len == 0) return source_bad(p, start, "a text, class, name or group is expected");
    int rule = source_rule(p, name, start);
    return rule < 0 ? source_bad(p, start, "no memory") : build_call(p->b, rule);
}

static bool braces(struct source *p, int64_t *min, int64_t *max) {
    size_t start = p->at++;
    skip(p, true);
    bool has_min = source_number(p, min);
    skip(p, true);
    *max = *min;
    if (source_peek(p) == ',') {
        p->at++;
        skip(p, true);
        if (!source_number(p, max)) *max = BUILD_MANY;
        skip(p, true);
    } else if (!has_min) {
        return source_bad(p, start, "a number is expected") != NULL;
    }
    if (source_peek(p) != '}') return source_bad(p, start, "'{' is never closed") != NULL;
    p->at++;
    if (*min > COUNT_MOST || *max > COUNT_MOST)
        return source_bad(p, start, "the count is too large") != NULL;
    return *max < 0 || *min <= *max || source_bad(p, start, "the counts are out of order") != NULL;
}

static struct expr *sequence(struct source *p, bool in_group) {
    struct expr *seq = build_seq(p->b);
    for (;;) {
        skip(p, in_group);
        int c = source_peek(p);
        if (c < 0 || c == '\n' || c == '|' || c == ')') return seq;
        struct expr *x = atom(p);
        for (;;) {
            if (!x) return NULL;
            skip(p, in_group);
            c = source_peek(p);
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

static struct expr *alternatives(struct source *p, bool in_group) {
    struct expr *alt = build_alt(p->b);
    for (;;) {
        struct expr *x = sequence(p, in_group);
        if (!x) return NULL;
        build_push(p->b, alt, x);
        size_t at = p->at;
        skip(p, true);
        if (source_peek(p) != '|') {
            if (!in_group) p->at = at;
            break;
        }
        p->at++;
        skip(p, true);
    }
    return alt && alt->u.list.n == 1 ? alt->u.list.item[0] : alt;
}

static bool rule(struct source *p) {
    size_t start = p->at;
    struct str name = take_name(p);
    if (name.len == 0) return source_bad(p, start, "the name of a rule is expected") != NULL;
    if (name.len >= SOURCE_NAME) return source_bad(p, start, "the name is too long") != NULL;
    skip(p, false);
    if (!source_starts(p, "::=")) return source_bad(p, p->at, "'::=' is expected") != NULL;
    p->at += 3;
    skip(p, true);
    int r = source_rule(p, name, start);
    if (r < 0) return source_bad(p, start, "no memory") != NULL;
    if (build_defined(p->b, r)) return source_bad(p, start, "the rule is defined twice") != NULL;
    p->b->rule[r].pos = (int64_t)start;
    struct expr *x = alternatives(p, false);
    if (!x) return false;
    build_define(p->b, r, x);
    int c = source_peek(p);
    return c < 0 || c == '\n' ||
           source_bad(p, p->at, c == ')' ? "')' without '('" : "unexpected text");
}

static bool parse(struct source *p) {
    for (skip(p, true); source_peek(p) >= 0; skip(p, true))
        if (!rule(p)) return false;
    return true;
}

struct grammar *grammar_from_gbnf(struct str source, struct err *e) {
    return source_grammar(source, "root", parse, e);
}
