/* The tests (`x is name`). One function per kind; several rows share one and look at the name. */
#include "text/jinja_funcs.h"

#include <string.h>

enum {
    ON_NUMBER = 1 << JV_INT | 1 << JV_FLOAT | 1 << JV_BOOL,
    ON_SEQUENCE = 1 << JV_STR | 1 << JV_LIST | 1 << JV_TUPLE | 1 << JV_DICT | 1 << JV_RANGE |
                  1 << JV_UNDEFINED,
    ON_ITERABLE = ON_SEQUENCE | 1 << JV_GENERATOR | 1 << JV_VIEW | 1 << JV_LOOP
};

/* True for values whose type is in the row's mask. */
static bool t_type(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)r;
    *out = jv_bool(a->func->on >> a->self.type & 1);
    return true;
}
static bool t_defined(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)r;
    *out = jv_bool(a->self.type != JV_UNDEFINED);
    return true;
}
static bool t_true(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)r;
    *out = jv_bool(a->self.type == JV_BOOL && a->self.b);
    return true;
}
static bool t_false(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)r;
    *out = jv_bool(a->self.type == JV_BOOL && !a->self.b);
    return true;
}
static bool t_callable(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)r;
    *out = jv_bool(jv_is_callable(&a->self));
    return true;
}
static bool t_escaped(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv_bool(a->self.type == JV_STR && (a->self.markup || !r->in->html_safe));
    return true;
}
static bool t_filter(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)r;
    *out = jv_bool(a->self.type == JV_STR && jf_filter(js(a->self.s)));
    return true;
}
static bool t_test(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)r;
    *out = jv_bool(a->self.type == JV_STR && jf_test(js(a->self.s)));
    return true;
}

static bool remainder_is(struct jrender *r, struct jargs *a, int64_t divisor, int64_t rest,
                         struct jvalue *out) {
    struct jvalue n = jv_int(divisor), m;
    if (!jo_math(r, '%', &a->self, &n, &m)) return false;
    *out = jv_bool(jv_is_number(&m) && jv_real(&m) >= (double)rest && jv_real(&m) <= (double)rest);
    return true;
}
static bool t_odd(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return remainder_is(r, a, 2, 1, out);
}
static bool t_even(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return remainder_is(r, a, 2, 0, out);
}
static bool t_divisibleby(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t n;
    return ja_int(r, a, 0, 0, &n) && remainder_is(r, a, n, 0, out);
}

static bool t_lower(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue s;
    if (!jv_to_str(r, &a->self, &s)) return false;
    *out = jv_bool(js_has_case(s.s, false));
    return true;
}
static bool t_upper(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue s;
    if (!jv_to_str(r, &a->self, &s)) return false;
    *out = jv_bool(js_has_case(s.s, true));
    return true;
}

static bool t_eq(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv_bool(false);
    return jv_equal(r, &a->self, &a->arg[0], &out->b);
}
static bool t_ne(struct jrender *r, struct jargs *a, struct jvalue *out) {
    bool same;
    if (!jv_equal(r, &a->self, &a->arg[0], &same)) return false;
    *out = jv_bool(!same);
    return true;
}
static bool order(struct jrender *r, struct jargs *a, int *c) {
    return jv_compare(r, &a->self, &a->arg[0], a->func->name, c);
}
static bool t_gt(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int c;
    if (!order(r, a, &c)) return false;
    *out = jv_bool(c > 0);
    return true;
}
static bool t_ge(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int c;
    if (!order(r, a, &c)) return false;
    *out = jv_bool(c >= 0);
    return true;
}
static bool t_lt(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int c;
    if (!order(r, a, &c)) return false;
    *out = jv_bool(c < 0);
    return true;
}
static bool t_le(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int c;
    if (!order(r, a, &c)) return false;
    *out = jv_bool(c <= 0);
    return true;
}
static bool t_in(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv_bool(false);
    return jv_contains(r, &a->arg[0], &a->self, &out->b);
}

/* Python's `is`: the same object; small constants are one object each. */
static bool t_sameas(struct jrender *r, struct jargs *a, struct jvalue *out) {
    const struct jvalue *x = &a->self, *y = &a->arg[0];
    *out = jv_bool(false);
    if (x->type != y->type) return true;
    if (x->type == JV_LIST || x->type == JV_DICT) out->b = x->list == y->list;
    else return jv_equal(r, x, y, &out->b);
    return true;
}

/* sorted by name */
const struct jfunc jf_tests[] = {
    {"!=", t_ne, "other", 1, 0},
    {"<", t_lt, "other", 1, 0},
    {"<=", t_le, "other", 1, 0},
    {"==", t_eq, "other", 1, 0},
    {">", t_gt, "other", 1, 0},
    {">=", t_ge, "other", 1, 0},
    {"boolean", t_type, "", 0, 1 << JV_BOOL},
    {"callable", t_callable, "", 0, 0},
    {"defined", t_defined, "", 0, 0},
    {"divisibleby", t_divisibleby, "num", 1, 0},
    {"eq", t_eq, "other", 1, 0},
    {"equalto", t_eq, "other", 1, 0},
    {"escaped", t_escaped, "", 0, 0},
    {"even", t_even, "", 0, 0},
    {"false", t_false, "", 0, 0},
    {"filter", t_filter, "", 0, 0},
    {"float", t_type, "", 0, 1 << JV_FLOAT},
    {"ge", t_ge, "other", 1, 0},
    {"greaterthan", t_gt, "other", 1, 0},
    {"gt", t_gt, "other", 1, 0},
    {"in", t_in, "seq", 1, 0},
    {"integer", t_type, "", 0, 1 << JV_INT},
    {"iterable", t_type, "", 0, ON_ITERABLE},
    {"le", t_le, "other", 1, 0},
    {"lessthan", t_lt, "other", 1, 0},
    {"lower", t_lower, "", 0, 0},
    {"lt", t_lt, "other", 1, 0},
    {"mapping", t_type, "", 0, 1 << JV_DICT},
    {"ne", t_ne, "other", 1, 0},
    {"none", t_type, "", 0, 1 << JV_NONE},
    {"number", t_type, "", 0, ON_NUMBER},
    {"odd", t_odd, "", 0, 0},
    {"sameas", t_sameas, "other", 1, 0},
    {"sequence", t_type, "", 0, ON_SEQUENCE},
    {"string", t_type, "", 0, 1 << JV_STR},
    {"test", t_test, "", 0, 0},
    {"true", t_true, "", 0, 0},
    {"undefined", t_type, "", 0, 1 << JV_UNDEFINED},
    {"upper", t_upper, "", 0, 0},
};
const int jf_n_tests = (int)(sizeof jf_tests / sizeof *jf_tests);
