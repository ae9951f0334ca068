/* Lark's notation, as Codex's freeform tools bring it: rules in lower case, terminals in upper
 * case, quoted texts, /patterns/, ranges, groups, repetitions, %import common.NAME, %ignore. Order
 * and priorities of terminals choose between readings of one text; which texts there are does not
 * depend on them. Templates, %extend, %override and the pattern flags i and x are refused. */
#include "base/limits.h"
#include "sample/grammar.h"
#include "sample/source.h"

#include <stdio.h>
#include <string.h>

enum { NEST = 100, COUNT_MOST = 1000000, FLAGS = 8 };

struct lark {
    bool ignores;         /* the source says %ignore: where terminals end, that may stand */
    bool terminal;        /* the definition at hand is a terminal's */
    struct expr *ignored; /* what */
};

/* Lark's library, as patterns. */
static const struct {
    const char *name, *pattern;
} common[] = {
    {"DIGIT", "[0-9]"},
    {"HEXDIGIT", "[0-9a-fA-F]"},
    {"INT", "[0-9]+"},
    {"SIGNED_INT", "[+-]?[0-9]+"},
    {"DECIMAL", "[0-9]+\\.[0-9]*|\\.[0-9]+"},
    {"FLOAT", "([0-9]+|[0-9]+\\.[0-9]*|\\.[0-9]+)[eE][+-]?[0-9]+|[0-9]+\\.[0-9]*|\\.[0-9]+"},
    {"SIGNED_FLOAT",
     "[+-]?(([0-9]+|[0-9]+\\.[0-9]*|\\.[0-9]+)[eE][+-]?[0-9]+|[0-9]+\\.[0-9]*|\\.[0-9]+)"},
    {"NUMBER", "([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+)?"},
    {"SIGNED_NUMBER", "[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+)?"},
    {"ESCAPED_STRING", "\"([^\"\\\\\\n]|\\\\[^\\n])*\""},
    {"LCASE_LETTER", "[a-z]"},
    {"UCASE_LETTER", "[A-Z]"},
    {"LETTER", "[A-Za-z]"},
    {"WORD", "[A-Za-z]+"},
    {"CNAME", "[_A-Za-z][_A-Za-z0-9]*"},
    {"WS_INLINE", "[ \\t]+"},
    {"WS", "[ \\t\\f\\r\\n]+"},
    {"CR", "\\r"},
    {"LF", "\\n"},
    {"NEWLINE", "(\\r?\\n)+"},
    {"SH_COMMENT", "#[^\\n]*"},
    {"CPP_COMMENT", "//[^\\n]*"},
    {"C_COMMENT", "/\\*([^*]|\\*+[^*/])*\\*+/"},
    {"SQL_COMMENT", "--[^\\n]*"},
};

/* Blanks and comments. A line's end goes too where the next line goes on with an alternative, and
 * everywhere inside of groups. */
static void skip(struct source *p, bool lines) {
    for (;; p->at++) {
        int c = source_peek(p);
        if (source_starts(p, "//") || c == '#')
            while (source_peek(p) >= 0 && source_peek(p) != '\n') p->at++;
        c = source_peek(p);
        if (c != ' ' && c != '\t' && c != '\r' && !(lines && c == '\n')) return;
    }
}

static bool is_name(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct str take_name(struct source *p) {
    size_t start = p->at;
    while (is_name(source_peek(p))) p->at++;
    return (struct str){p->s.p + start, p->at - start};
}

static bool is_terminal(struct str name) {
    size_t i = 0;
    while (i < name.len && name.p[i] == '_') i++;
    return i < name.len && name.p[i] >= 'A' && name.p[i] <= 'Z';
}

/* ---- atoms -------------------------------------------------------------------------------- */
static bool take_char(struct source *p, uint32_t *cp) {
    static const char from[] = "nrtfv0", to[] = "\n\r\t\f\v";
    if (source_peek(p) != '\\') {
        p->at += utf8_decode(p->s.p + p->at, p->s.len - p->at, cp);
        return true;
    }
    p->at++;
    int c = source_peek(p);
    if (c < 0) return source_bad(p, p->at, "the text is never closed") != NULL;
    p->at++;
    const char *known = memchr(from, c, sizeof from - 1);
    if (c == 'x') return source_hex(p, 2, cp);
    if (c == 'u') return source_hex(p, 4, cp);
    if (c == 'U') return source_hex(p, 8, cp);
    *cp = known ? (uint32_t)to[known - from] : (uint32_t)c;
    return c < 0x80 || source_bad(p, p->at - 1, "unknown escape") != NULL;
}

/* The inside of "..." */
static bool quoted(struct source *p, struct buf *out) {
    size_t start = p->at++;
    while (source_peek(p) != '"') {
        uint32_t cp;
        if (source_peek(p) < 0 || source_peek(p) == '\n')
            return source_bad(p, start, "the text is never closed") != NULL;
        if (!take_char(p, &cp)) return false;
        buf_utf8(out, cp);
    }
    p->at++;
    return true;
}

/* A text whose ASCII letters may be of either case. */
static struct expr *any_case(struct build *b, struct str text) {
    struct expr *seq = build_seq(b);
    for (size_t i = 0; i < text.len; i++) {
        uint64_t set[4] = {0};
        unsigned c = (unsigned char)text.p[i], letter = c | 32;
        set_add(set, c, c);
        if (letter >= 'a' && letter <= 'z') set_add(set, c ^ 32, c ^ 32);
        build_push(b, seq, build_bytes(b, set));
    }
    return seq;
}

static struct expr *range(struct source *p, size_t start, struct str lo, struct str hi) {
    struct char_range r;
    if (!lo.len || !hi.len || utf8_decode(lo.p, lo.len, &r.lo) != lo.len ||
        utf8_decode(hi.p, hi.len, &r.hi) != hi.len || r.hi < r.lo)
        return source_bad(p, start, "a range is written \"a\"..\"z\"");
    return build_chars(p->b, &r, 1, false);
}

static struct expr *text(struct source *p) {
    struct buf out = {0}, to = {0};
    size_t start = p->at;
    struct expr *x = NULL;
    if (!quoted(p, &out)) goto end;
    struct str s = out.p ? buf_view(&out) : STR("");
    if (source_starts(p, "..\"")) {
        p->at += 2;
        if (quoted(p, &to)) x = range(p, start, s, to.p ? buf_view(&to) : STR(""));
    } else if (source_peek(p) == 'i') {
        p->at++;
        x = any_case(p->b, s);
    } else {
        x = build_lit(p->b, s);
    }
end:
    buf_free(&out);
    buf_free(&to);
    return x;
}

/* Python's "." is everything but a newline, and with the flag s that too. */
static void plain_dots(struct buf *out, struct str pattern, bool all) {
    bool in_class = false;
    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.p[i];
        if (c == '.' && !in_class) {
            buf_cstr(out, all ? "[\\s\\S]" : "[^\\n]");
            continue;
        }
        if (c == '[') in_class = true;
        if (c == ']') in_class = false;
        buf_char(out, c);
        if (c == '\\' && i + 1 < pattern.len) buf_char(out, pattern.p[++i]);
    }
}

static struct expr *pattern(struct source *p) {
    size_t start = p->at++, from = p->at;
    bool all = false;
    while (source_peek(p) != '/') {
        if (source_peek(p) == '\\') p->at++;
        if (source_peek(p) < 0 || source_peek(p) == '\n')
            return source_bad(p, start, "the pattern is never closed");
        p->at++;
    }
    struct str inside = {p->s.p + from, p->at - from};
    for (p->at++; source_peek(p) > 0 && strchr("imslux", source_peek(p)); p->at++) {
        all |= source_peek(p) == 's';
        if (strchr("ix", source_peek(p)))
            return source_bad(p, p->at, "the pattern flags i and x are not supported");
    }
    struct buf out = {0};
    struct err e = {0};
    plain_dots(&out, inside, all);
    struct expr *x = build_regex(p->b, out.p ? buf_view(&out) : STR(""), false, &e);
    buf_free(&out);
    return x ? x : source_bad(p, start, e.msg);
}

static struct expr *expansions(struct source *p, bool in_group);

static struct expr *group(struct source *p, char close) {
    size_t start = p->at++;
    if (++p->depth > NEST) return source_bad(p, start, "groups are nested too deeply");
    struct expr *x = expansions(p, true);
    p->depth--;
    if (!x) return NULL;
    if (source_peek(p) != close) return source_bad(p, start, "the bracket is never closed");
    p->at++;
    return close == ']' ? build_opt(p->b, x) : x;
}

/* What ends a terminal inside of a rule. */
static struct expr *ended(struct source *p, struct expr *x) {
    struct lark *l = p->ctx;
    return l->ignores && !l->terminal
               ? BUILD_SEQ(p->b, x, build_call(p->b, source_rule(p, STR("%ignore"), 0)))
               : x;
}

static struct expr *atom(struct source *p) {
    int c = source_peek(p);
    if (c == '"') return ended(p, text(p));
    if (c == '/') return ended(p, pattern(p));
    if (c == '(') return group(p, ')');
    if (c == '[') return group(p, ']');
    size_t start = p->at;
    struct str name = take_name(p);
    if (!name.len) return source_bad(p, start, "a text, pattern, name or group is expected");
    if (source_peek(p) == '{') return source_bad(p, p->at, "templates are not supported");
    int rule = source_rule(p, name, start);
    if (rule < 0) return source_bad(p, start, "no memory");
    struct expr *x = build_call(p->b, rule);
    return is_terminal(name) ? ended(p, x) : x;
}

/* ?, *, +, ~N, ~N..M behind an atom; false: none. *ok false: an error. */
static bool repetition(struct source *p, int64_t *min, int64_t *max, bool *ok) {
    int c = source_peek(p);
    size_t start = p->at;
    if (c != '?' && c != '*' && c != '+' && c != '~') return false;
    p->at++;
    *min = c == '+';
    *max = c == '?' ? 1 : BUILD_MANY;
    if (c != '~') return true;
    skip(p, false);
    *ok = source_number(p, min);
    *max = *min;
    if (*ok && source_starts(p, "..")) {
        p->at += 2;
        *ok = source_number(p, max);
    }
    *ok = (*ok && *min <= *max && *max <= COUNT_MOST) ||
          source_bad(p, start, "a count is written ~N or ~N..M") != NULL;
    return true;
}

static struct expr *expansion(struct source *p, bool in_group) {
    struct expr *seq = build_seq(p->b);
    for (;;) {
        skip(p, in_group);
        int c = source_peek(p);
        if (c < 0 || c == '\n' || c == '|' || c == ')' || c == ']' || source_starts(p, "->"))
            return seq;
        struct expr *x = atom(p);
        int64_t min, max;
        bool ok = true;
        if (!x) return NULL;
        skip(p, in_group);
        size_t at = p->at;
        if (repetition(p, &min, &max, &ok))
            x = ok ? build_repeat_at(p->b, x, min, max, (int64_t)at) : NULL;
        if (!build_push(p->b, seq, x)) return NULL;
    }
}

static struct expr *expansions(struct source *p, bool in_group) {
    struct expr *alt = build_alt(p->b);
    for (;;) {
        struct expr *x = expansion(p, in_group);
        if (!build_push(p->b, alt, x)) return NULL;
        if (source_starts(p, "->")) {
            p->at += 2;
            skip(p, false);
            if (!take_name(p).len) return source_bad(p, p->at, "a name is expected");
        }
        size_t at = p->at;
        skip(p, true);
        if (source_peek(p) != '|') {
            if (!in_group) p->at = at;
            return alt->u.list.n == 1 ? alt->u.list.item[0] : alt;
        }
        p->at++;
    }
}

/* ---- statements --------------------------------------------------------------------------- */
static bool define(struct source *p, struct str name, size_t start, struct expr *x) {
    int rule = x ? source_rule(p, name, start) : -1;
    if (!x) return false;
    if (rule < 0) return source_bad(p, start, "no memory") != NULL;
    if (build_defined(p->b, rule)) return source_bad(p, start, "the rule is defined twice") != NULL;
    p->b->rule[rule].pos = (int64_t)start;
    build_define(p->b, rule, x);
    return true;
}

static bool import_one(struct source *p, struct str name, struct str as, size_t at) {
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (str_is(name, common[i].name))
            return define(p, as.len ? as : name, at,
                          build_regex(p->b, str_of(common[i].pattern), false, p->e));
    return source_bad(p, at, "common has no terminal of this name") != NULL;
}

/* common.NAME [-> NAME], common (NAME, ...) */
static bool import(struct source *p) {
    size_t start = p->at;
    struct str module = take_name(p), name;
    if (!str_is(module, "common"))
        return source_bad(p, start, "only 'common' can be imported") != NULL;
    bool list = false;
    if (source_peek(p) == '.') {
        p->at++;
    } else {
        skip(p, false);
        list = source_peek(p) == '(';
        if (!list) return source_bad(p, p->at, "'.' or '(' is expected") != NULL;
        p->at++;
    }
    do {
        skip(p, list);
        size_t at = p->at;
        struct str as = {0};
        name = take_name(p);
        skip(p, list);
        if (source_starts(p, "->")) {
            p->at += 2;
            skip(p, false);
            as = take_name(p);
        }
        if (!import_one(p, name, as, at)) return false;
        skip(p, list);
    } while (list && source_peek(p) == ',' && p->at++ < p->s.len);
    if (!list) return true;
    return source_peek(p) == ')' ? p->at++ < p->s.len
                                 : source_bad(p, p->at, "')' is expected") != NULL;
}

static bool directive(struct source *p) {
    struct lark *l = p->ctx;
    size_t start = p->at++;
    struct str name = take_name(p);
    skip(p, false);
    if (str_is(name, "import")) return import(p);
    if (!str_is(name, "ignore"))
        return source_bad(p, start, "of the directives, %import and %ignore are supported") != NULL;
    l->terminal = true;
    struct expr *x = expansions(p, false);
    return x && build_push(p->b, l->ignored, x);
}

static bool definition(struct source *p) {
    struct lark *l = p->ctx;
    size_t start = p->at;
    int64_t priority;
    while (source_peek(p) == '!' || source_peek(p) == '?') p->at++;
    struct str name = take_name(p);
    if (!name.len) return source_bad(p, start, "the name of a rule is expected") != NULL;
    if (source_peek(p) == '{') return source_bad(p, p->at, "templates are not supported") != NULL;
    if (source_peek(p) == '.') {
        p->at++;
        if (source_peek(p) == '-') p->at++;
        if (!source_number(p, &priority))
            return source_bad(p, p->at, "a priority is expected") != NULL;
    }
    skip(p, false);
    if (source_peek(p) != ':') return source_bad(p, p->at, "':' is expected") != NULL;
    p->at++;
    l->terminal = is_terminal(name);
    return define(p, name, start, expansions(p, false));
}

static bool parse(struct source *p) {
    struct lark l = {.ignored = build_alt(p->b), .ignores = str_find(p->s, STR("%ignore"), 0) >= 0};
    bool ok = l.ignored != NULL;
    p->ctx = &l;
    for (skip(p, true); ok && source_peek(p) >= 0; skip(p, true)) {
        ok = source_peek(p) == '%' ? directive(p) : definition(p);
        skip(p, false);
        if (ok && source_peek(p) >= 0 && source_peek(p) != '\n')
            ok = source_bad(p, p->at, "unexpected text") != NULL;
    }
    if (ok && l.ignores)
        ok = define(p, STR("%ignore"), 0, build_repeat(p->b, l.ignored, 0, BUILD_MANY));
    return ok;
}

struct expr *build_lark(struct build *b, struct str source, struct err *e) {
    return source_expr(b, source, "start", parse, e);
}

struct grammar *grammar_from_lark(struct str source, struct err *e) {
    return source_grammar(source, "start", parse, e);
}
