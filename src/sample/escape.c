/* From an expression to how its texts stand between the double quotes of a string: the same tree,
 * with other bytes. Rules get a second body, so that recursion stays what it is. */
#include "sample/expr.h"
#include "sample/lang.h"

#include <stdio.h>
#include <string.h>

struct escape {
    struct build *b;
    int *rule; /* (n_rules): the escaped rule of each, or -1 */
    int n_rules;
};

static bool is_plain(unsigned c) {
    return c >= 0x20 && c != '"' && c != '\\';
}

/* \n or \u000a, \" ... */
static struct expr *escaped(struct build *b, unsigned c) {
    static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
    const char *known = memchr(from, (int)c, sizeof from - 1);
    char lower[8], upper[8], brief[3] = {'\\', known ? to[known - from] : 0, 0};
    snprintf(lower, sizeof lower, "\\u%04x", c);
    snprintf(upper, sizeof upper, "\\u%04X", c);
    struct expr *alt = build_alt(b);
    if (known) build_push(b, alt, build_lit(b, str_of(brief)));
    build_push(b, alt, build_lit(b, str_of(lower)));
    if (strcmp(lower, upper) != 0) build_push(b, alt, build_lit(b, str_of(upper)));
    return alt;
}

static struct expr *literal(struct build *b, struct str s) {
    struct expr *seq = build_seq(b);
    for (size_t i = 0, from = 0; i <= s.len; i++) {
        if (i < s.len && is_plain((unsigned char)s.p[i])) continue;
        if (i > from) build_push(b, seq, build_lit(b, (struct str){s.p + from, i - from}));
        if (i < s.len) build_push(b, seq, escaped(b, (unsigned char)s.p[i]));
        from = i + 1;
    }
    return seq;
}

static struct expr *set(struct build *b, const uint64_t bits[4]) {
    uint64_t plain[4];
    struct expr *alt = build_alt(b);
    memcpy(plain, bits, sizeof plain);
    for (unsigned c = 0; c < 128; c++) {
        if (is_plain(c) || !set_has(bits, c)) continue;
        plain[c >> 6] &= ~(1ull << (c & 63));
        build_push(b, alt, escaped(b, c));
    }
    if (plain[0] | plain[1] | plain[2] | plain[3]) build_push(b, alt, build_bytes(b, plain));
    return alt;
}

static struct expr *map(struct escape *m, const struct expr *x, int depth);

static struct expr *call(struct escape *m, int rule, int depth) {
    if (rule >= m->n_rules) return NULL;
    if (m->rule[rule] < 0) {
        m->rule[rule] = build_rule(m->b, m->b->rule[rule].name, m->b->rule[rule].pos);
        if (m->rule[rule] < 0) return NULL;
        build_define(m->b, m->rule[rule], map(m, m->b->rule[rule].body, depth + 1));
    }
    return build_call(m->b, m->rule[rule]);
}

static struct expr *list(struct escape *m, const struct expr *x, int depth) {
    struct expr *out = x->kind == EXPR_SEQ ? build_seq(m->b) : build_alt(m->b);
    for (uint32_t i = 0; i < x->u.list.n; i++)
        if (!build_push(m->b, out, map(m, x->u.list.item[i], depth + 1))) return NULL;
    return out;
}

static struct expr *map(struct escape *m, const struct expr *x, int depth) {
    if (!x || depth > EXPR_DEPTH) return NULL;
    switch (x->kind) {
    case EXPR_LIT:
        return literal(m->b, x->u.lit);
    case EXPR_SET:
        return set(m->b, x->u.set);
    case EXPR_SEQ:
    case EXPR_ALT:
        return list(m, x, depth);
    case EXPR_REPEAT: {
        int64_t max = x->u.repeat.max == COUNT_MANY ? BUILD_MANY : (int64_t)x->u.repeat.max;
        return build_repeat_at(m->b, map(m, x->u.repeat.x, depth + 1), x->u.repeat.min, max,
                               x->u.repeat.pos);
    }
    case EXPR_CALL:
        return call(m, x->u.rule, depth);
    case EXPR_LANG:
        return x->u.lang.tail || x->u.lang.close
                   ? NULL
                   : build_lang(m->b, lang_json(x->u.lang.dfa), NULL, NULL);
    case EXPR_TOKEN: /* stands for itself, not for a text */
    case EXPR_LABEL:
    case EXPR_GOTO:
        break;
    }
    return NULL;
}

struct expr *build_escaped(struct build *b, const struct expr *x) {
    struct escape m = {b, mem_array(b->n_rules + 1, sizeof *m.rule), (int)b->n_rules};
    if (!m.rule) return NULL;
    memset(m.rule, -1, b->n_rules * sizeof *m.rule);
    struct expr *out = map(&m, x, 0);
    mem_free(m.rule);
    return out;
}
