/* Regular expressions: the part of PCRE and ECMA 262 that describes regular languages without
 * looking around. What is not supported is refused by its name, with its position. */
#include "base/limits.h"
#include "sample/expr.h"
#include "sample/grammar.h"

#include <string.h>

enum { CLASS_RANGES = 512, NEST = 100, COUNT_MOST = 1000000 };

struct parser {
    struct build *b;
    struct str s;
    size_t at;
    int depth;
    bool search;
    struct err *e;
};

struct ranges {
    struct char_range r[CLASS_RANGES];
    size_t n;
};

static struct expr *bad(struct parser *p, size_t at, const char *what) {
    err_set_at(p->e, ERR_FORMAT, (int64_t)at, "pattern, byte %zu: %s", at, what);
    return NULL;
}

static struct expr *refuse(struct parser *p, size_t at, const char *what) {
    err_set_at(p->e, ERR_UNSUPPORTED, (int64_t)at, "pattern, byte %zu: %s is not supported", at,
               what);
    return NULL;
}

static int peek(const struct parser *p, size_t ahead) {
    return p->at + ahead < p->s.len ? (unsigned char)p->s.p[p->at + ahead] : -1;
}

static uint32_t take_char(struct parser *p) {
    uint32_t cp = 0;
    p->at += utf8_decode(p->s.p + p->at, p->s.len - p->at, &cp);
    return cp;
}

static bool add_range(struct parser *p, struct ranges *r, uint32_t lo, uint32_t hi) {
    if (r->n == CLASS_RANGES)
        return bad(p, p->at, "the character class has too many parts") != NULL;
    r->r[r->n++] = (struct char_range){lo, hi};
    return true;
}

/* \d \w \s and their opposites; ASCII, as ECMA 262 has it without flags. */
static bool add_class(struct parser *p, struct ranges *r, int c) {
    static const struct char_range digit[] = {{'0', '9'}};
    static const struct char_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const struct char_range space[] = {
        {9, 13},          {32, 32},         {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    static const struct {
        int c;
        size_t n;
        const struct char_range *r;
    } table[] = {{'d', 1, digit}, {'w', 4, word}, {'s', 10, space}};
    for (size_t i = 0; i < 3; i++) {
        bool positive = c == table[i].c;
        if (!positive && c != table[i].c - 32) continue;
        uint32_t next = 0;
        for (size_t k = 0; k < table[i].n; k++) {
            struct char_range x = table[i].r[k];
            if (positive && !add_range(p, r, x.lo, x.hi)) return false;
            if (!positive && x.lo > next && !add_range(p, r, next, x.lo - 1)) return false;
            next = x.hi + 1;
        }
        return positive || add_range(p, r, next, 0x10FFFF);
    }
    return false;
}

static bool hex(struct parser *p, int least, int most, uint32_t *value) {
    *value = 0;
    int n = 0;
    for (; n < most; n++) {
        int c = peek(p, 0);
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) break;
        *value = *value * 16 + (uint32_t)d;
        p->at++;
    }
    return n >= least && *value <= 0x10FFFF;
}

/* \uXXXX, also as a pair of surrogates, \u{X}, \xXX. */
static bool hex_escape(struct parser *p, int c, uint32_t *cp) {
    size_t at = p->at;
    if (peek(p, 0) == '{') {
        p->at++;
        bool ok = hex(p, 1, 6, cp) && peek(p, 0) == '}';
        p->at++;
        return ok || bad(p, at, "a hexadecimal number and '}' are expected") != NULL;
    }
    int digits = c == 'x' ? 2 : 4;
    if (!hex(p, digits, digits, cp)) return bad(p, at, "hexadecimal digits are expected") != NULL;
    uint32_t low;
    if (*cp >= 0xD800 && *cp < 0xDC00 && peek(p, 0) == '\\' && peek(p, 1) == 'u') {
        p->at += 2;
        if (!hex(p, 4, 4, &low) || low < 0xDC00 || low > 0xDFFF)
            return bad(p, at, "the second half of a surrogate pair is expected") != NULL;
        *cp = 0x10000 + ((*cp - 0xD800) << 10) + (low - 0xDC00);
    }
    return true;
}

/* Behind a backslash: one character. false with p->e filled. */
static bool char_escape(struct parser *p, bool in_class, uint32_t *cp) {
    static const char from[] = "tnrfv0ae", to[] = "\t\n\r\f\v\0\a\033";
    size_t at = p->at - 1;
    int c = peek(p, 0);
    if (c < 0) return bad(p, at, "the pattern ends in a backslash") != NULL;
    if (c == 'u' || c == 'x') {
        p->at++;
        return hex_escape(p, c, cp);
    }
    if (c == '0' && peek(p, 1) >= '0' && peek(p, 1) <= '9')
        return refuse(p, at, "an octal escape") != NULL;
    const char *simple = memchr(from, c, sizeof from - 1);
    if (simple) {
        p->at++;
        *cp = (unsigned char)to[simple - from];
        return true;
    }
    if (c == 'b' && in_class) {
        p->at++;
        *cp = '\b';
        return true;
    }
    if (c == 'c' && ((peek(p, 1) | 32) >= 'a' && (peek(p, 1) | 32) <= 'z')) {
        *cp = (uint32_t)peek(p, 1) & 31;
        p->at += 2;
        return true;
    }
    if (c >= '1' && c <= '9') return refuse(p, at, "a backreference") != NULL;
    if (c == 'k' || c == 'g') return refuse(p, at, "a backreference or subroutine call") != NULL;
    if (c == 'b' || c == 'B') return refuse(p, at, "a word boundary") != NULL;
    if (c == 'p' || c == 'P') return refuse(p, at, "a Unicode property class") != NULL;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        char what[] = "the escape '\\x'";
        what[13] = (char)c;
        return refuse(p, at, what) != NULL;
    }
    *cp = take_char(p);
    return true;
}

/* One end of a range, or a class like \d (*is_class). */
static bool class_item(struct parser *p, struct ranges *r, uint32_t *cp, bool *is_class) {
    *is_class = false;
    if (peek(p, 0) != '\\') {
        if (peek(p, 0) == '[' && peek(p, 1) == ':')
            return refuse(p, p->at, "a POSIX class such as [:alpha:]") != NULL;
        *cp = take_char(p);
        return true;
    }
    p->at++;
    int c = peek(p, 0);
    if (c > 0 && strchr("dwsDWS", c)) {
        *is_class = true;
        p->at++;
        return add_class(p, r, c);
    }
    return char_escape(p, true, cp);
}

static struct expr *char_class(struct parser *p) {
    struct ranges r = {.n = 0};
    size_t start = p->at - 1;
    bool negated = peek(p, 0) == '^';
    if (negated) p->at++;
    for (bool first = true; first || peek(p, 0) != ']'; first = false) {
        if (peek(p, 0) < 0) return bad(p, start, "'[' is never closed");
        if (first && peek(p, 0) == ']') break;
        uint32_t lo = 0, hi;
        bool is_class, hi_class;
        if (!class_item(p, &r, &lo, &is_class)) return NULL;
        hi = lo;
        size_t at = p->at;
        if (peek(p, 0) == '-' && peek(p, 1) != ']' && peek(p, 1) >= 0) {
            p->at++;
            if (!class_item(p, &r, &hi, &hi_class)) return NULL;
            if (is_class || hi_class) return bad(p, at, "a range needs a character at both ends");
            if (hi < lo) return bad(p, at, "the range is out of order");
        }
        if (!is_class && !add_range(p, &r, lo, hi)) return NULL;
    }
    p->at++;
    return build_chars(p->b, r.r, r.n, negated);
}

static struct expr *alternatives(struct parser *p, bool top);

static struct expr *group(struct parser *p) {
    size_t start = p->at - 1;
    if (peek(p, 0) == '?') {
        static const struct {
            const char *mark, *name;
        } refused[] = {{"?=", "a lookahead"},
                       {"?!", "a negative lookahead"},
                       {"?<=", "a lookbehind"},
                       {"?<!", "a negative lookbehind"},
                       {"?>", "an atomic group"},
                       {"?(", "a conditional group"},
                       {"?R", "recursion"},
                       {"?&", "a subroutine call"},
                       {"?P=", "a backreference"},
                       {"?P>", "a subroutine call"},
                       {"?|", "a branch reset group"},
                       {"?#", "a comment"}};
        struct str rest = {p->s.p + p->at, p->s.len - p->at};
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
            if (str_starts(rest, str_of(refused[i].mark))) return refuse(p, start, refused[i].name);
        if (str_starts(rest, STR("?:"))) {
            p->at += 2;
        } else if (str_starts(rest, STR("?<")) || str_starts(rest, STR("?P<"))) {
            int64_t end = str_find(rest, STR(">"), 0);
            if (end < 0) return bad(p, start, "the group's name is never closed");
            p->at += (size_t)end + 1;
        } else {
            return refuse(p, start, "an inline option");
        }
    } else if (peek(p, 0) == '*') {
        return refuse(p, start, "a control verb");
    }
    if (++p->depth > NEST) return bad(p, start, "groups are nested too deeply");
    struct expr *x = alternatives(p, false);
    p->depth--;
    if (!x) return NULL;
    if (peek(p, 0) != ')') return bad(p, start, "'(' is never closed");
    p->at++;
    return x;
}

static struct expr *atom(struct parser *p) {
    size_t at = p->at;
    int c = peek(p, 0);
    struct ranges r = {.n = 0};
    switch (c) {
    case '(':
        p->at++;
        return group(p);
    case '[':
        p->at++;
        return char_class(p);
    case '.':
        p->at++;
        return build_chars(p->b, (struct char_range[]){{'\n', '\n'}, {'\r', '\r'}}, 2, true);
    case '*':
    case '+':
    case '?':
        return bad(p, at, "nothing to repeat");
    case '^':
    case '$':
        return refuse(p, at, "an anchor that is not at the end of the pattern");
    case '\\':
        p->at++;
        c = peek(p, 0);
        if (c > 0 && strchr("dwsDWS", c)) {
            p->at++;
            return add_class(p, &r, c) ? build_chars(p->b, r.r, r.n, false) : NULL;
        }
        if (!char_escape(p, false, &r.r[0].lo)) return NULL;
        r.r[0].hi = r.r[0].lo;
        return build_chars(p->b, r.r, 1, false);
    default:
        r.r[0].lo = r.r[0].hi = take_char(p);
        return build_chars(p->b, r.r, 1, false);
    }
}

static bool number(struct parser *p, int64_t *value) {
    size_t start = p->at;
    *value = 0;
    while (peek(p, 0) >= '0' && peek(p, 0) <= '9') {
        if (*value <= COUNT_MOST) *value = *value * 10 + (peek(p, 0) - '0');
        p->at++;
    }
    return p->at > start;
}

/* {m}, {m,}, {m,n}; anything else in braces is text. */
static bool braces(struct parser *p, int64_t *min, int64_t *max) {
    size_t start = p->at++;
    bool ok = number(p, min);
    *max = *min;
    if (ok && peek(p, 0) == ',') {
        p->at++;
        if (!number(p, max)) *max = BUILD_MANY;
    }
    if (ok && peek(p, 0) == '}') {
        p->at++;
        return true;
    }
    p->at = start;
    return false;
}

static struct expr *quantified(struct parser *p) {
    struct expr *x = atom(p);
    while (x) {
        size_t at = p->at;
        int64_t min = 0, max = BUILD_MANY;
        int c = peek(p, 0);
        if (c == '*' || c == '+' || c == '?') {
            p->at++;
            min = c == '+';
            if (c == '?') max = 1;
        } else if (c != '{' || !braces(p, &min, &max)) {
            return x;
        }
        if (min > COUNT_MOST || max > COUNT_MOST) return bad(p, at, "the count is too large");
        if (max >= 0 && max < min) return bad(p, at, "the counts are out of order");
        if (peek(p, 0) == '+') return refuse(p, at, "a possessive quantifier");
        if (peek(p, 0) == '?') p->at++; /* lazy: the same set of texts */
        else if (peek(p, 0) == '*') return bad(p, p->at, "nothing to repeat");
        x = build_repeat(p->b, x, min, max);
    }
    return NULL;
}

/* Anchors count where they stand first or last in a branch of the whole pattern. */
static struct expr *branch(struct parser *p, bool top) {
    bool open = p->search && top, open_end = open;
    if (top && peek(p, 0) == '^') {
        open = false;
        p->at++;
    }
    struct expr *seq = build_seq(p->b);
    static const struct char_range none[1] = {{0, 0}};
    struct expr *any = build_repeat(p->b, build_chars(p->b, none, 0, true), 0, BUILD_MANY);
    if (open) build_push(p->b, seq, any);
    while (peek(p, 0) >= 0 && peek(p, 0) != '|' && peek(p, 0) != ')') {
        if (top && peek(p, 0) == '$' && (peek(p, 1) < 0 || peek(p, 1) == '|')) {
            open_end = false;
            p->at++;
            break;
        }
        struct expr *x = quantified(p);
        if (!x) return NULL;
        build_push(p->b, seq, x);
    }
    if (open_end) build_push(p->b, seq, any);
    return seq;
}

static struct expr *alternatives(struct parser *p, bool top) {
    struct expr *alt = build_alt(p->b);
    for (;;) {
        struct expr *x = branch(p, top);
        if (!x) return NULL;
        build_push(p->b, alt, x);
        if (peek(p, 0) != '|') break;
        p->at++;
    }
    return alt && alt->u.list.n == 1 ? alt->u.list.item[0] : alt;
}

/* ^(...)$ around everything, so that anchors inside of one outer group work as well. */
static bool whole_group(struct str s, struct str *inner) {
    if (s.len < 4 || s.p[0] != '(' || s.p[s.len - 1] != ')') return false;
    size_t from = 1;
    if (s.p[1] == '?') {
        if (s.p[2] != ':') return false;
        from = 3;
    }
    int depth = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '\\') i++;
        else if (s.p[i] == '[') return false;
        else if (s.p[i] == '(') depth++;
        else if (s.p[i] == ')' && --depth == 0 && i + 1 < s.len) return false;
    }
    *inner = (struct str){s.p + from, s.len - 1 - from};
    return depth == 0;
}

struct expr *build_regex(struct build *b, struct str pattern, bool search, struct err *e) {
    if (pattern.len > LIMIT_GRAMMAR_BYTES) {
        err_set(e, ERR_LIMIT, "a pattern of %zu bytes is larger than the limit of %d", pattern.len,
                LIMIT_GRAMMAR_BYTES);
        return NULL;
    }
    if (!utf8_valid(pattern.p, pattern.len)) {
        err_set(e, ERR_FORMAT, "the pattern is not valid UTF-8");
        return NULL;
    }
    struct str inner;
    size_t skipped = 0;
    if (whole_group(pattern, &inner)) {
        skipped = (size_t)(inner.p - pattern.p);
        pattern.len = skipped + inner.len;
    }
    struct parser p = {.b = b, .s = pattern, .at = skipped, .search = search, .e = e};
    struct expr *x = alternatives(&p, true);
    if (x && p.at < p.s.len) return bad(&p, p.at, "')' without '('");
    if (!x && b->failed) err_set(e, ERR_LIMIT, "the pattern is too large");
    return x;
}

struct grammar *grammar_from_regex(struct str pattern, struct err *e) {
    struct build *b = build_new(e);
    if (!b) return NULL;
    struct expr *x = build_regex(b, pattern, false, e);
    if (x) return build_finish(b, x, e);
    build_free(b);
    return NULL;
}

struct grammar *grammar_from_choices(const struct str *choice, size_t n, struct err *e) {
    struct build *b = build_new(e);
    struct expr *alt = b ? build_alt(b) : NULL;
    bool ok = alt != NULL;
    for (size_t i = 0; i < n && ok; i++) ok = build_push(b, alt, build_lit(b, choice[i]));
    if (n == 0 || !ok) {
        if (b) err_set(e, n ? ERR_NOMEM : ERR_ARG, n ? "no memory for choices" : "no choices");
        build_free(b);
        return NULL;
    }
    return build_finish(b, alt, e);
}
