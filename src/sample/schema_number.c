/* Numbers: bounds and multiples as languages of decimal texts. Bounded numbers are written without
 * exponents. */
#include "base/mem.h"
#include "sample/expr.h"
#include "sample/schema.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 400, MORE_DIGITS = 18, FRACTION = 18, MOST_DIGITS = 40 };

/* sign * whole . part, no leading or trailing zeros ("" is zero). */
struct decimal {
    bool negative;
    char whole[DIGITS], part[DIGITS];
};
struct bound {
    bool set, strict;
    struct decimal d;
};

static struct expr *lit(struct build *b, const char *s, size_t n) {
    return build_lit(b, (struct str){s, n});
}

static struct expr *digits(struct build *b, int lo, int hi, int64_t min, int64_t max) {
    uint64_t set[4] = {0};
    if (lo > hi) return max == 0 || min == 0 ? build_empty(b) : build_never(b);
    set_add(set, (unsigned)lo, (unsigned)hi);
    return build_repeat(b, build_bytes(b, set), min, max);
}

/* From the shortest text that reads back as the number. */
static bool to_decimal(const json_t *v, struct decimal *d) {
    char text[64];
    *d = (struct decimal){0};
    if (json_is_integer(v)) {
        snprintf(text, sizeof text, "%llde0", (long long)json_integer_value(v));
    } else {
        double x = json_real_value(v);
        if (!isfinite(x)) return false;
        for (int n = 0; n <= 17; n++) {
            snprintf(text, sizeof text, "%.*e", n, x);
            if (strtod(text, NULL) == x) break;
        }
    }
    const char *s = text;
    if (*s == '-') d->negative = true, s++;
    char all[64];
    size_t n = 0, point = 0;
    bool seen = false;
    for (; *s && *s != 'e'; s++) {
        if (*s == '.') seen = true;
        else all[n++] = *s, point += !seen;
    }
    long shift = (long)point + strtol(*s ? s + 1 : s, NULL, 10);
    size_t w = 0, f = 0;
    for (long i = shift < 0 ? shift : 0; i < (long)n || i < shift; i++) {
        char c = i >= 0 && i < (long)n ? all[i] : '0';
        if (w >= DIGITS - 1 || f >= DIGITS - 1) return false;
        if (i < shift) {
            if (w || c != '0') d->whole[w++] = c;
        } else {
            d->part[f++] = c;
        }
    }
    while (f > 0 && d->part[f - 1] == '0') d->part[--f] = 0;
    if (!*d->whole && !*d->part) d->negative = false;
    return true;
}

static int compare_size(const struct decimal *a, const struct decimal *b) {
    size_t n = strlen(a->whole), m = strlen(b->whole);
    if (n != m) return n < m ? -1 : 1;
    int c = strcmp(a->whole, b->whole);
    return c ? c : strcmp(a->part, b->part);
}

static int compare(const struct decimal *a, const struct decimal *b) {
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    int c = compare_size(a, b);
    return a->negative ? -c : c;
}

/* side -1: lower bounds, the largest counts; 1: upper bounds. */
static void tighten(struct bound *to, const json_t *v, bool strict, int side) {
    struct bound x = {true, strict, {0}};
    if (!json_is_number(v) || !to_decimal(v, &x.d)) return;
    int c = to->set ? compare(&x.d, &to->d) * -side : 1;
    if (c > 0 || (c == 0 && strict)) *to = x;
}

static void collect(const struct parts *p, struct bound *lo, struct bound *hi) {
    *lo = *hi = (struct bound){0};
    for (size_t i = 0; i < p->n; i++) {
        const json_t *s = p->p[i].s;
        const json_t *xmin = json_object_get(s, "exclusiveMinimum");
        const json_t *xmax = json_object_get(s, "exclusiveMaximum");
        /* In draft 4 the exclusive ones are switches. */
        tighten(lo, json_object_get(s, "minimum"), json_is_true(xmin), -1);
        tighten(hi, json_object_get(s, "maximum"), json_is_true(xmax), 1);
        tighten(lo, xmin, true, -1);
        tighten(hi, xmax, true, 1);
    }
    /* Beyond what we write anyway. */
    if (hi->set && !hi->d.negative && strlen(hi->d.whole) > MOST_DIGITS) hi->set = false;
    if (lo->set && lo->d.negative && strlen(lo->d.whole) > MOST_DIGITS) lo->set = false;
}

/* (.digits)? with up to FRACTION digits; nothing for integers. */
static struct expr *free_part(struct build *b, bool integer) {
    if (integer) return build_empty(b);
    return build_opt(b, BUILD_SEQ(b, lit(b, ".", 1), digits(b, '0', '9', 1, FRACTION)));
}

/* Fractions above .part: a larger digit somewhere, or all of its digits and more behind them. */
static struct expr *part_above(struct build *b, const char *part, bool strict) {
    size_t n = strlen(part);
    struct expr *alt = build_alt(b), *rest = digits(b, '0', '9', 0, FRACTION);
    struct expr *zeros = digits(b, '0', '0', 0, FRACTION), *nonzero = digits(b, '1', '9', 1, 1);
    for (size_t k = 0; k < n; k++)
        if (part[k] < '9')
            build_push(b, alt,
                       BUILD_SEQ(b, lit(b, part, k), digits(b, part[k] + 1, '9', 1, 1), rest));
    build_push(b, alt,
               strict ? BUILD_SEQ(b, lit(b, part, n), zeros, nonzero, rest)
                      : BUILD_SEQ(b, lit(b, part, n), n ? rest : digits(b, '0', '9', 1, FRACTION)));
    struct expr *x = BUILD_SEQ(b, lit(b, ".", 1), alt);
    return n == 0 && !strict ? build_opt(b, x) : x;
}

static struct expr *part_below(struct build *b, const char *part, bool strict) {
    size_t n = strlen(part);
    struct expr *alt = build_alt(b), *rest = digits(b, '0', '9', 0, FRACTION);
    for (size_t k = 0; k < n; k++) {
        if (part[k] > '0')
            build_push(b, alt,
                       BUILD_SEQ(b, lit(b, part, k), digits(b, '0', part[k] - 1, 1, 1), rest));
        if (k > 0) build_push(b, alt, lit(b, part, k));
    }
    if (!strict)
        build_push(b, alt,
                   n ? BUILD_SEQ(b, lit(b, part, n), digits(b, '0', '0', 0, FRACTION))
                     : digits(b, '0', '0', 1, FRACTION));
    struct expr *x = BUILD_SEQ(b, lit(b, ".", 1), alt);
    return n == 0 && strict ? build_never(b) : build_opt(b, x);
}

/* Sizes at least (above) or at most d; `strict` leaves d itself out. */
static struct expr *magnitude(struct build *b, const struct decimal *d, bool above, bool strict,
                              bool integer) {
    const char *whole = *d->whole ? d->whole : "0", *part = d->part;
    size_t n = strlen(whole);
    struct expr *alt = build_alt(b), *end = free_part(b, integer);
    if (above) {
        build_push(b, alt,
                   BUILD_SEQ(b, digits(b, '1', '9', 1, 1),
                             digits(b, '0', '9', (int64_t)n, (int64_t)n + MORE_DIGITS), end));
    } else if (n > 1) {
        build_push(b, alt, BUILD_SEQ(b, lit(b, "0", 1), end));
        build_push(
            b, alt,
            BUILD_SEQ(b, digits(b, '1', '9', 1, 1), digits(b, '0', '9', 0, (int64_t)n - 2), end));
    }
    for (size_t k = 0; k < n; k++) {
        int least = k == 0 && n > 1 ? '1' : '0';
        int from = above ? whole[k] + 1 : least, to = above ? '9' : whole[k] - 1;
        if (from > to) continue;
        build_push(b, alt,
                   BUILD_SEQ(b, lit(b, whole, k), digits(b, from, to, 1, 1),
                             digits(b, '0', '9', (int64_t)(n - 1 - k), (int64_t)(n - 1 - k)), end));
    }
    if (integer) {
        /* x.5 as a lower bound is above x, as an upper one it lets x in */
        bool equal = *part ? !above : !strict;
        if (equal) build_push(b, alt, lit(b, whole, n));
    } else {
        struct expr *rest = above ? part_above(b, part, strict) : part_below(b, part, strict);
        build_push(b, alt, BUILD_SEQ(b, lit(b, whole, n), rest));
    }
    return alt;
}

/* Sizes between two bounds, either of which may be absent, as a language. NULL: too large. */
static struct lang *between(const struct bound *lo, const struct bound *hi, bool integer) {
    struct build *b = build_new(NULL);
    if (!b) return NULL;
    struct decimal zero = {0};
    struct lang *l = lang_from_expr(
        magnitude(b, lo->set ? &lo->d : &zero, true, lo->set && lo->strict, integer), NULL);
    if (l && hi->set) {
        struct lang *upper = lang_from_expr(magnitude(b, &hi->d, false, hi->strict, integer), NULL);
        struct lang *both = upper ? lang_combine(l, upper, LANG_AND) : NULL;
        lang_free(upper);
        lang_free(l);
        l = both;
    }
    build_free(b);
    return l;
}

/* The least multiple m / 10^k of all parts; false: not one that we can count. */
static bool multiples(struct schema *sc, const struct parts *p, struct lang **l) {
    *l = NULL;
    for (size_t i = 0; i < p->n; i++) {
        const json_t *v = json_object_get(p->p[i].s, "multipleOf");
        struct decimal d;
        struct lang *one = NULL;
        if (!json_is_number(v)) continue;
        if (to_decimal(v, &d) && !d.negative && strlen(d.whole) + strlen(d.part) <= 9) {
            char all[32];
            snprintf(all, sizeof all, "%.9s%.9s", d.whole, d.part);
            one = lang_multiple((uint32_t)strtoul(all, NULL, 10), (uint32_t)strlen(d.part));
        }
        if (!one) {
            if (!schema_unsupported(sc, p->p[i].path, "'multipleOf' of this value")) return false;
            continue;
        }
        struct lang *both = *l ? lang_combine(*l, one, LANG_AND) : one;
        if (*l) {
            lang_free(*l);
            lang_free(one);
        }
        *l = both;
        if (!both && !schema_unsupported(sc, p->p[i].path, "'multipleOf' several times"))
            return false;
    }
    return true;
}

static bool push_sizes(struct schema *sc, struct expr *alt, const char *sign, struct lang *sizes,
                       const struct lang *multiple) {
    struct lang *l = sizes && multiple ? lang_combine(sizes, multiple, LANG_AND) : NULL;
    if (multiple) lang_free(sizes);
    else l = sizes;
    if (!l) return false;
    return build_push(
        sc->b, alt,
        BUILD_SEQ(sc->b, lit(sc->b, sign, strlen(sign)), build_lang(sc->b, l, NULL, NULL)));
}

/* Where the expression for bounds is kept: the same few occur again and again. NULL: no room. */
static struct expr **known_range(struct schema *sc, const struct bound *lo, const struct bound *hi,
                                 bool integer, char key[NUMBER_KEY]) {
    int n = snprintf(key, NUMBER_KEY, "%d%d%d%d%d%d%d%s.%s,%s.%s", integer, lo->set, lo->strict,
                     lo->d.negative, hi->set, hi->strict, hi->d.negative, lo->d.whole, lo->d.part,
                     hi->d.whole, hi->d.part);
    if (n >= NUMBER_KEY) return NULL;
    size_t i = 0;
    while (i < sc->n_ranges && strcmp(sc->range[i].key, key) != 0) i++;
    if (i == KNOWN_RANGES) return NULL;
    if (i == sc->n_ranges) {
        sc->n_ranges++;
        memcpy(sc->range[i].key, key, NUMBER_KEY);
    }
    return &sc->range[i].x;
}

struct expr *schema_number(struct schema *sc, const struct parts *p, bool integer) {
    struct bound lo, hi;
    struct lang *multiple;
    collect(p, &lo, &hi);
    if (!multiples(sc, p, &multiple)) return NULL;
    if (!lo.set && !hi.set && !multiple) return text_number(sc, integer);
    char key[NUMBER_KEY];
    struct expr **known = multiple ? NULL : known_range(sc, &lo, &hi, integer, key);
    if (known && *known) return *known;
    struct expr *alt = build_alt(sc->b);
    struct bound none = {0}, above_zero = {true, true, {0}};
    bool ok = alt != NULL;
    if (!hi.set || !hi.d.negative) { /* from zero on */
        struct bound from = lo.set && !lo.d.negative ? lo : none;
        ok = ok && push_sizes(sc, alt, "", between(&from, &hi, integer), multiple);
    }
    if (!lo.set || lo.d.negative) { /* below zero: the bounds change places */
        struct bound from = hi.set && hi.d.negative ? hi : above_zero;
        ok = ok && push_sizes(sc, alt, "-", between(&from, &lo, integer), multiple);
    }
    lang_free(multiple);
    if (ok && known) *known = alt;
    if (ok) return alt;
    err_set(sc->e, ERR_LIMIT, "schema at %.300s: the bounds of the number are too large",
            p->n ? p->p[0].path : "/");
    return NULL;
}
