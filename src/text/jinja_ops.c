/* Arithmetic, attributes, subscripts and slices, as Python has them. Integers have 64 bits here:
 * what does not fit is an error. */
#include "text/jinja_run.h"

#include <math.h>
#include <string.h>

/* ---- arithmetic */

static bool overflow(struct jrender *r) {
    return jr_fail(r, "OverflowError", "an integer does not fit 64 bits");
}

static bool add_int(struct jrender *r, int64_t a, int64_t b, int64_t *out) {
    if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b) return overflow(r);
    *out = a + b;
    return true;
}

static bool mul_int(struct jrender *r, int64_t a, int64_t b, int64_t *out) {
    int64_t v = (int64_t)((uint64_t)a * (uint64_t)b);
    bool wraps = (a == -1 && b == INT64_MIN) || (b == -1 && a == INT64_MIN) ||
                 (b != 0 && b != -1 && v / b != a);
    *out = v;
    return !wraps || overflow(r);
}

static bool div_int(struct jrender *r, int64_t a, int64_t b, int64_t *quotient, int64_t *rest) {
    if (b == 0) return jr_fail(r, "ZeroDivisionError", "integer division or modulo by zero");
    if (a == INT64_MIN && b == -1) return overflow(r);
    *quotient = a / b;
    *rest = a % b;
    if (*rest != 0 && (*rest < 0) != (b < 0)) *rest += b, --*quotient; /* rounds down */
    return true;
}

static bool pow_int(struct jrender *r, int64_t base, int64_t n, struct jvalue *out) {
    int64_t v = 1;
    if (n < 0) {
        if (base == 0) return jr_fail(r, "ZeroDivisionError", "0.0 to a negative power");
        *out = jv_float(pow((double)base, (double)n));
        return true;
    }
    if (base == 0 || base == 1 || base == -1) n = n == 0 ? 0 : base == -1 ? 2 - n % 2 : 1;
    for (; n > 0; n--)
        if (!mul_int(r, v, base, &v)) return false;
    *out = jv_int(v);
    return true;
}

static bool math_int(struct jrender *r, uint16_t op, int64_t a, int64_t b, struct jvalue *out) {
    int64_t v = 0, other;
    bool ok;
    switch (op) {
    case '+':
        ok = add_int(r, a, b, &v);
        break;
    case '-':
        ok = b == INT64_MIN ? overflow(r) : add_int(r, a, -b, &v);
        break;
    case '*':
        ok = mul_int(r, a, b, &v);
        break;
    case '%':
        ok = div_int(r, a, b, &other, &v);
        break;
    case JOP2('/', '/'):
        ok = div_int(r, a, b, &v, &other);
        break;
    default:
        return pow_int(r, a, b, out);
    }
    *out = jv_int(v);
    return ok;
}

static bool math_real(struct jrender *r, uint16_t op, double a, double b, struct jvalue *out) {
    bool divides = op == '/' || op == '%' || op == JOP2('/', '/');
    if (divides && !(b < 0 || b > 0)) return jr_fail(r, "ZeroDivisionError", "division by zero");
    double v = op == '+'              ? a + b
               : op == '-'            ? a - b
               : op == '*'            ? a * b
               : op == '/'            ? a / b
               : op == '%'            ? a - b * floor(a / b)
               : op == JOP2('/', '/') ? floor(a / b)
                                      : pow(a, b);
    *out = jv_float(v);
    return true;
}

static bool repeat(struct jrender *r, const struct jvalue *v, int64_t n, struct jvalue *out) {
    if (n < 0) n = 0;
    if (v->type == JV_STR) {
        if (n == 1 || v->s->len == 0) {
            *out = *v;
            return true;
        }
        struct jbuild b = {.r = r};
        for (; n > 0; n--)
            if (!jr_step(r, 1) || !jb_str(&b, v->s)) return false;
        return jb_done(&b, out);
    }
    if (!jlist_open(r, v->list) || !jv_list(r, v->type, 0, out)) return false;
    for (; n > 0 && v->list->n > 0; n--)
        for (uint32_t i = 0; i < v->list->n; i++)
            if (!jr_step(r, 1) || !jlist_add(r, out->list, v->list->v[i])) return false;
    return true;
}

static bool join_lists(struct jrender *r, const struct jvalue *a, const struct jvalue *b,
                       struct jvalue *out) {
    const struct jvalue *part[2] = {a, b};
    if (!jlist_open(r, a->list) || !jlist_open(r, b->list) ||
        !jv_list(r, a->type, a->list->n + b->list->n, out) ||
        !jr_step(r, (a->list->n + b->list->n) / 16))
        return false;
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; i < part[k]->list->n; i++)
            if (!jlist_add(r, out->list, part[k]->list->v[i])) return false;
    return true;
}

static bool add_strings(struct jrender *r, const struct jvalue *a, const struct jvalue *b,
                        struct jvalue *out) {
    struct jvalue x = *a, y = *b;
    bool markup = a->markup || b->markup;
    if (markup && (!js_escape_html(r, a, &x) || !js_escape_html(r, b, &y))) return false;
    if (!js_concat(r, x.s, y.s, out)) return false;
    out->markup = markup;
    return true;
}

static bool unsupported(struct jrender *r, uint16_t op, const struct jvalue *a,
                        const struct jvalue *b) {
    const struct jvalue *miss = a->type == JV_UNDEFINED ? a : b->type == JV_UNDEFINED ? b : NULL;
    if (miss) return jo_attr(r, miss, STR(""), &(struct jvalue){0});
    char name[3] = {(char)(op >> 8 ? op >> 8 : op), (char)(op >> 8 ? op : 0), 0};
    if (op == '+' && (a->type == JV_STR || a->type == JV_LIST || a->type == JV_TUPLE))
        return jr_fail(r, "TypeError", "can only concatenate %s (not \"%s\") to %s",
                       jv_type_name(a), jv_type_name(b), jv_type_name(a));
    return jr_fail(r, "TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", name,
                   jv_type_name(a), jv_type_name(b));
}

static bool is_sequence(const struct jvalue *v) {
    return v->type == JV_STR || v->type == JV_LIST || v->type == JV_TUPLE;
}
static bool is_whole(const struct jvalue *v) {
    return v->type == JV_INT || v->type == JV_BOOL;
}

bool jo_math(struct jrender *r, uint16_t op, const struct jvalue *a, const struct jvalue *b,
             struct jvalue *out) {
    if (jv_is_number(a) && jv_is_number(b)) {
        uint32_t origin = a->origin ? a->origin : b->origin;
        bool ok = is_whole(a) && is_whole(b) && op != '/'
                      ? math_int(r, op, jv_integer(a), jv_integer(b), out)
                      : math_real(r, op, jv_real(a), jv_real(b), out);
        out->origin = origin;
        return ok;
    }
    if (op == '+' && a->type == JV_STR && b->type == JV_STR) return add_strings(r, a, b, out);
    if (op == '+' && a->type == b->type && (a->type == JV_LIST || a->type == JV_TUPLE))
        return join_lists(r, a, b, out);
    if (op == '*' && is_sequence(a) && is_whole(b)) return repeat(r, a, jv_integer(b), out);
    if (op == '*' && is_sequence(b) && is_whole(a)) return repeat(r, b, jv_integer(a), out);
    if (op == '%' && a->type == JV_STR) return jp_format_percent(r, a, b, out);
    return unsupported(r, op, a, b);
}

/* ---- attributes and subscripts */

static bool fail_undefined(struct jrender *r, const struct jmiss *m) {
    if (m && m->unsafe)
        return jr_fail(r, "SecurityError", "access to attribute '%.*s' of %s is unsafe",
                       (int)m->name.len, m->name.p, m->owner);
    if (!m || !m->name.p) return jr_fail(r, "UndefinedError", "the value is undefined");
    if (!m->owner)
        return jr_fail(r, "UndefinedError", "'%.*s' is undefined", (int)m->name.len, m->name.p);
    return jr_fail(r, "UndefinedError", "'%s' has no attribute '%.*s'", m->owner, (int)m->name.len,
                   m->name.p);
}

static const char *owner_name(const struct jvalue *v) {
    switch (v->type) {
    case JV_DICT:
        return "dict object";
    case JV_STR:
        return "str object";
    case JV_LIST:
        return "list object";
    case JV_NONE:
        return "None";
    default:
        return jv_type_name(v);
    }
}

static bool is_dunder(struct str name) {
    return name.len > 4 && memcmp(name.p, "__", 2) == 0 && name.p[name.len - 1] == '_';
}

static bool bind_method(struct jrender *r, const struct jfunc *f, const struct jvalue *v,
                        struct jvalue *out) {
    *out = jv(JV_FUNC);
    if (!(out->bound = jr_alloc(r, 1, sizeof *out->bound))) return false;
    out->bound->func = f;
    out->bound->self = *v;
    return true;
}

static bool loop_attr(struct jrender *r, const struct jloop *l, struct str name, struct jvalue *out,
                      bool *found) {
    uint32_t i = l->at, n = l->items->n;
    const struct {
        const char *name;
        struct jvalue value;
    } field[] = {{"index", jv_int((int64_t)i + 1)},
                 {"index0", jv_int(i)},
                 {"revindex", jv_int((int64_t)n - i)},
                 {"revindex0", jv_int((int64_t)n - i - 1)},
                 {"first", jv_bool(i == 0)},
                 {"last", jv_bool(i + 1 == n)},
                 {"length", jv_int(n)},
                 {"depth", jv_int(l->depth + 1)},
                 {"depth0", jv_int(l->depth)}};
    *found = true;
    for (size_t k = 0; k < sizeof field / sizeof *field; k++) {
        if (!str_is(name, field[k].name)) continue;
        *out = field[k].value;
        return true;
    }
    bool prev = str_is(name, "previtem"), next = str_is(name, "nextitem");
    if (prev && i > 0) *out = l->items->v[i - 1];
    else if (next && i + 1 < n) *out = l->items->v[i + 1];
    else if (prev || next) return jv_missing(r, NULL, name, out);
    else *found = false;
    return true;
}

/* What is neither item nor method. */
static bool special_attr(struct jrender *r, const struct jvalue *v, struct str name,
                         struct jvalue *out, bool *found) {
    struct jvalue key, *at;
    *found = false;
    if (v->type == JV_LOOP) return loop_attr(r, v->loop, name, out, found);
    if (v->type == JV_NAMESPACE) {
        if (!jv_text(r, name, 0, &key) || !jdict_find(r, v->dict, key, &at)) return false;
        if ((*found = at != NULL)) *out = *at;
    } else if (v->type == JV_MACRO && str_is(name, "name")) {
        *found = true;
        *out = jv_of_str(v->macro->name);
    } else if (v->type == JV_CYCLER && str_is(name, "current")) {
        *found = true;
        *out = v->list->v[v->list->origin % v->list->n];
    }
    return true;
}

bool jo_attr(struct jrender *r, const struct jvalue *v, struct str name, struct jvalue *out) {
    struct jvalue self = *v, key, *at;
    bool found = false;
    if (self.type == JV_UNDEFINED) return fail_undefined(r, self.miss);
    const struct jfunc *f = jf_method_of(jf_method(name), &self);
    if (f) return bind_method(r, f, &self, out);
    if (!special_attr(r, &self, name, out, &found)) return false;
    if (found) return true;
    if (self.type == JV_DICT) {
        if (!jv_text(r, name, 0, &key) || !jdict_find(r, self.dict, key, &at)) return false;
        if (at) {
            *out = *at;
            return true;
        }
    }
    if (!jv_missing(r, owner_name(&self), name, out)) return false;
    out->miss->unsafe = is_dunder(name);
    return true;
}

static bool sequence_item(struct jrender *r, const struct jvalue *v, int64_t i, struct jvalue *out,
                          bool *found) {
    int64_t n;
    if (!jv_len(r, v, &n)) return false;
    if (i < 0) i += n;
    *found = i >= 0 && i < n;
    if (!*found) return true;
    if (v->type == JV_RANGE) {
        *out = jv_int(v->range->start + i * v->range->step);
        return true;
    }
    if (v->type == JV_STR) {
        size_t from = js_offset(v->s, i), to = js_offset(v->s, i + 1);
        return jr_step(r, v->s->n_chars == v->s->len ? 1 : v->s->len / 64) &&
               js_sub(r, v->s, from, to, out);
    }
    if (!jlist_open(r, v->list)) return false;
    *out = v->list->v[i];
    return true;
}

bool jo_item(struct jrender *r, const struct jvalue *v, const struct jvalue *key,
             struct jvalue *out) {
    struct jvalue self = *v, *at;
    bool found = false;
    if (self.type == JV_UNDEFINED) return fail_undefined(r, self.miss);
    if (self.type == JV_DICT && jv_is_hashable(key)) {
        if (!jdict_find(r, self.dict, *key, &at)) return false;
        if (at) {
            *out = *at;
            return true;
        }
    }
    bool sequence = is_sequence(&self) || self.type == JV_RANGE;
    if (sequence && is_whole(key)) {
        if (!sequence_item(r, &self, jv_integer(key), out, &found)) return false;
        if (found) return true;
    }
    if (key->type == JV_STR) return jo_attr(r, &self, js(key->s), out);
    struct jvalue name;
    return jv_to_str(r, key, &name) && jv_missing(r, owner_name(&self), js(name.s), out);
}

/* ---- slices */

static bool slice_part(struct jrender *r, const struct jvalue *v, int64_t *n, bool *given) {
    *given = v->type != JV_ABSENT && v->type != JV_NONE;
    if (*given && !is_whole(v))
        return v->type == JV_UNDEFINED
                   ? fail_undefined(r, v->miss)
                   : jr_fail(r, "TypeError", "slice indices must be integers or None");
    if (*given) *n = jv_integer(v);
    return true;
}

static int64_t clamp(int64_t i, int64_t n, int64_t low, int64_t high) {
    if (i < 0) i = i < -n ? -1 : i + n;
    return i < low ? low : i > high ? high : i;
}

bool jo_slice(struct jrender *r, const struct jvalue *v, const struct jvalue part[3],
              struct jvalue *out) {
    int64_t n, from = 0, to = 0, step = 1;
    bool has_from, has_to, has_step;
    struct jlist *l = NULL;
    struct jvalue self = *v;
    if (self.type == JV_UNDEFINED) return fail_undefined(r, self.miss);
    if (!is_sequence(&self) && self.type != JV_RANGE)
        return jv_missing(r, owner_name(&self), STR("slice"), out);
    if (!slice_part(r, &part[0], &from, &has_from) || !slice_part(r, &part[1], &to, &has_to) ||
        !slice_part(r, &part[2], &step, &has_step) || !jv_len(r, &self, &n))
        return false;
    if (step == 0) return jr_fail(r, "ValueError", "slice step cannot be zero");
    if (step == INT64_MIN) step++;
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    from = has_from ? clamp(from, n, low, high) : step < 0 ? high : 0;
    to = has_to ? clamp(to, n, low, high) : step < 0 ? -1 : n;
    if (self.type == JV_STR && step == 1) {
        size_t a = js_offset(self.s, from), b = js_offset(self.s, to);
        return jr_step(r, self.s->len / 1024) && js_sub(r, self.s, a, b > a ? b : a, out);
    }
    if (!jv_items(r, &self, &l) || !jv_list(r, self.type == JV_TUPLE ? JV_TUPLE : JV_LIST, 0, out))
        return false;
    for (int64_t i = from; step < 0 ? i > to : i < to; i += step) {
        if (!jlist_add(r, out->list, l->v[i])) return false;
        if (step > n || step < -n) break;
    }
    if (!jr_step(r, out->list->n / 8)) return false;
    if (self.type != JV_STR) return true;
    struct jbuild b = {.r = r};
    for (uint32_t i = 0; i < out->list->n; i++)
        if (!jb_str(&b, out->list->v[i].s)) return false;
    return jb_done(&b, out);
}
