/* The filters. The table at the end is the list; what needs an order or a test is in
 * jinja_list.c, JSON in jinja_json.c. */
#include "text/jinja_funcs.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values */

static bool f_default(struct jrender *r, struct jargs *a, struct jvalue *out) {
    bool falsy, truth;
    if (!ja_bool(r, a, 1, false, &falsy) || !jv_truth(r, &a->self, &truth)) return false;
    *out = a->self;
    if (a->self.type != JV_UNDEFINED && !(falsy && !truth)) return true;
    if (a->arg[0].type == JV_ABSENT) return jv_text(r, STR(""), JINJA_TEMPLATE, out);
    *out = a->arg[0];
    return true;
}

static bool f_length(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t n;
    if (!jv_len(r, &a->self, &n)) return false;
    *out = jv_int(n);
    return true;
}

static bool f_string(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return jv_to_str(r, &a->self, out);
}

static bool f_safe(struct jrender *r, struct jargs *a, struct jvalue *out) {
    if (!jv_to_str(r, &a->self, out)) return false;
    if (r->in->html_safe) out->markup = 1;
    return true;
}

static bool f_escape(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return js_escape_html(r, &a->self, out);
}

/* A number from the start of a text; false if the whole text is none. */
static bool parse_real(struct str s, double *out) {
    char text[400];
    size_t n = 0, skip = js_space_prefix(s);
    s.p += skip, s.len -= skip;
    s.len -= js_space_suffix(s);
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '_') continue;
        if (n + 1 == sizeof text || !strchr("0123456789+-.eE", s.p[i]) || !s.p[i]) return false;
        text[n++] = s.p[i];
    }
    text[n] = 0;
    char *end;
    *out = strtod(text, &end);
    return n > 0 && *end == 0;
}

static bool parse_int(struct str s, int base, int64_t *out) {
    char text[80], *end;
    size_t skip = js_space_prefix(s);
    s.p += skip, s.len -= skip;
    s.len -= js_space_suffix(s);
    if (s.len == 0 || s.len >= sizeof text) return false;
    memcpy(text, s.p, s.len);
    text[s.len] = 0;
    errno = 0;
    char radix = (char)(s.len > 2 && text[0] == '0' ? text[1] | 32 : 0);
    bool prefixed = (base == 2 && radix == 'b') || (base == 8 && radix == 'o');
    *out = strtoll(text + (prefixed ? 2 : 0), &end, base);
    return *end == 0 && errno == 0;
}

static bool f_int(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t v = 0, base;
    double d = 0;
    if (!ja_int(r, a, 1, 10, &base)) return false;
    bool ok = false;
    if (a->self.type == JV_STR)
        ok = (base >= 2 && base <= 36 && parse_int(js(a->self.s), (int)base, &v)) ||
             (parse_real(js(a->self.s), &d) && fabs(d) < 9e18 && (v = (int64_t)d, true));
    else if (jv_is_number(&a->self) && fabs(jv_real(&a->self)) < 9.3e18)
        ok = true, v = a->self.type == JV_FLOAT ? (int64_t)a->self.f : jv_integer(&a->self);
    *out = ok || a->arg[0].type == JV_ABSENT ? jv_int(v) : a->arg[0];
    out->origin = jv_origin(&a->self);
    return true;
}

static bool f_float(struct jrender *r, struct jargs *a, struct jvalue *out) {
    double v = 0;
    (void)r;
    bool ok = a->self.type == JV_STR ? parse_real(js(a->self.s), &v) : jv_is_number(&a->self);
    if (ok && a->self.type != JV_STR) v = jv_real(&a->self);
    *out = ok ? jv_float(v) : a->arg[0].type == JV_ABSENT ? jv_float(0) : a->arg[0];
    out->origin = jv_origin(&a->self);
    return true;
}

static bool want_number(struct jrender *r, const struct jargs *a) {
    return jv_is_number(&a->self) || jr_fail(r, "TypeError", "%s wants a number, not '%s'",
                                             a->func->name, jv_type_name(&a->self));
}

static bool f_abs(struct jrender *r, struct jargs *a, struct jvalue *out) {
    if (!want_number(r, a)) return false;
    *out = a->self;
    struct jvalue zero = jv_int(0);
    if (a->self.type == JV_FLOAT) out->f = fabs(a->self.f);
    else if (jv_integer(&a->self) < 0) return jo_math(r, '-', &zero, &a->self, out);
    return true;
}

/* Half to even in decimal, through the correctly rounded decimal text as Python does it. */
static bool f_round(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t digits;
    if (!want_number(r, a) || !ja_int(r, a, 0, 0, &digits)) return false;
    bool up = jv_is_str(&a->arg[1], "ceil"), down = jv_is_str(&a->arg[1], "floor");
    *out = a->self;
    if (a->self.type != JV_FLOAT && digits >= 0 && !up && !down) return true;
    if (digits < -300 || digits > 300) return jr_fail(r, "ValueError", "too many digits");
    double v = jv_real(&a->self), scale = pow(10, (double)digits);
    char text[700];
    if (up || down) {
        *out = jv_float((up ? ceil(v * scale) : floor(v * scale)) / scale);
    } else if (digits < 0) {
        *out = jv_float(rint(v * scale) / scale);
    } else {
        snprintf(text, sizeof text, "%.*f", (int)digits, v);
        *out = jv_float(strtod(text, NULL));
    }
    out->origin = a->self.origin;
    return true;
}

/* ---- text */

static bool f_trim(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue s;
    return jv_to_str(r, &a->self, &s) && js_strip(r, s.s, &a->arg[0], 3, out);
}

/* lower, upper, capitalize and title differ only in the name. */
static bool f_case(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue s;
    return jv_to_str(r, &a->self, &s) && js_case(r, s.s, a->func->name, out);
}

static bool f_replace(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue s, from, to;
    int64_t max;
    return jv_to_str(r, &a->self, &s) && jv_to_str(r, &a->arg[0], &from) &&
           jv_to_str(r, &a->arg[1], &to) && ja_int(r, a, 2, -1, &max) &&
           js_replace(r, s.s, from.s, to.s, max, out);
}

static bool f_join(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jbuild b = {.r = r};
    struct jlist *l;
    if (!jv_items(r, &a->self, &l)) return false;
    for (uint32_t i = 0; i < l->n; i++) {
        struct jvalue v = l->v[i];
        if (a->arg[1].type != JV_ABSENT && !jo_item(r, &l->v[i], &a->arg[1], &v)) return false;
        if ((i && !jp_str(&b, &a->arg[0])) || !jp_str(&b, &v) || !jr_step(r, 1)) return false;
    }
    return jb_done(&b, out);
}

static bool f_indent(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue text, pad = a->arg[0];
    bool first, blank;
    int64_t width;
    if (!jv_to_str(r, &a->self, &text) || !ja_bool(r, a, 1, false, &first) ||
        !ja_bool(r, a, 2, false, &blank))
        return false;
    if (pad.type != JV_STR) {
        struct jvalue space;
        if (!ja_int(r, a, 0, 4, &width) || !jv_text(r, STR(" "), JINJA_TEMPLATE, &space))
            return false;
        struct jvalue n = jv_int(width);
        if (!jo_math(r, '*', &space, &n, &pad)) return false;
    }
    struct jbuild b = {.r = r};
    const struct jstr *s = text.s;
    for (size_t i = 0; i <= s->len;) {
        const char *nl = i < s->len ? memchr(s->p + i, '\n', s->len - i) : NULL;
        size_t end = nl ? (size_t)(nl - s->p) : s->len;
        bool want = i == 0 ? first : blank || end > i;
        if ((want && !jb_str(&b, pad.s)) || !jb_sub(&b, s, i, end)) return false;
        if (!nl) break;
        if (!jr_step(r, 1) || !jb_sub(&b, s, end, end + 1)) return false;
        i = end + 1;
    }
    return jb_done(&b, out);
}

static bool f_center(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue s;
    int64_t width;
    return jv_to_str(r, &a->self, &s) && ja_int(r, a, 0, 80, &width) &&
           js_pad(r, s.s, width, NULL, 1, out);
}

static bool f_format(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue text, args;
    if (!jv_to_str(r, &a->self, &text) || !jv_list(r, JV_TUPLE, (size_t)a->n, &args)) return false;
    for (int i = 0; i < a->n; i++)
        if (!jlist_add(r, args.list, a->arg[i])) return false;
    return jp_format_percent(r, &text, &args, out);
}

/* length killwords end leeway */
static bool f_truncate(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue text, end = a->arg[2];
    int64_t length, leeway;
    bool kill;
    if (!jv_to_str(r, &a->self, &text) || !ja_int(r, a, 0, 255, &length) ||
        !ja_bool(r, a, 1, false, &kill) || !ja_int(r, a, 3, 5, &leeway))
        return false;
    if (end.type != JV_STR && !jv_text(r, STR("..."), JINJA_TEMPLATE, &end)) return false;
    *out = text;
    if (js_chars(text.s) <= length + leeway) return true;
    struct jbuild b = {.r = r};
    int64_t keep = length - js_chars(end.s);
    size_t cut = js_offset(text.s, keep > 0 ? keep : 0);
    if (!kill)
        for (size_t i = cut; i > 0; i--)
            if (text.s->p[i - 1] == ' ') {
                cut = i - 1;
                break;
            }
    return jb_sub(&b, text.s, 0, cut) && jb_str(&b, end.s) && jb_done(&b, out);
}

static bool f_wordcount(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue text;
    int64_t n = 0;
    if (!jv_to_str(r, &a->self, &text)) return false;
    bool inside = false;
    for (size_t i = 0; i < text.s->len; i++) {
        unsigned char c = (unsigned char)text.s->p[i];
        bool word =
            c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        n += word && !inside;
        inside = word;
    }
    *out = jv_int(n);
    return jr_step(r, text.s->len / 16);
}

/* ---- lists */

static bool f_list(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    if (!jv_items(r, &a->self, &l) || !jv_list(r, JV_LIST, l->n, out)) return false;
    for (uint32_t i = 0; i < l->n; i++)
        if (!jlist_add(r, out->list, l->v[i])) return false;
    return jr_step(r, l->n / 8);
}

static bool f_items(struct jrender *r, struct jargs *a, struct jvalue *out) {
    if (!jv_list(r, JV_GENERATOR, 0, out)) return false;
    if (a->self.type == JV_UNDEFINED) return true;
    if (a->self.type != JV_DICT)
        return jr_fail(r, "TypeError", "Can only get item pairs from a mapping.");
    struct jdict *d = a->self.dict;
    struct jvalue pair;
    if (!jdict_open(r, d)) return false;
    for (uint32_t i = 0; i < d->n; i++)
        if (!jr_step(r, 1) || !jv_pair(r, d->e[i].key, d->e[i].value, &pair) ||
            !jlist_add(r, out->list, pair))
            return false;
    return true;
}

static bool f_first(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    if (!jv_items(r, &a->self, &l)) return false;
    if (l->n == 0) return jv_missing(r, NULL, STR("no item of an empty sequence"), out);
    *out = l->v[0];
    return true;
}

static bool f_last(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    if (!jv_items(r, &a->self, &l)) return false;
    if (l->n == 0) return jv_missing(r, NULL, STR("no item of an empty sequence"), out);
    *out = l->v[l->n - 1];
    return true;
}

static bool f_reverse(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue part[3] = {{0}, {0}, jv_int(-1)};
    struct jlist *l;
    if (a->self.type == JV_STR) return jo_slice(r, &a->self, part, out);
    if (!jv_items(r, &a->self, &l) || !jv_list(r, JV_GENERATOR, l->n, out)) return false;
    for (uint32_t i = l->n; i-- > 0;)
        if (!jlist_add(r, out->list, l->v[i])) return false;
    return jr_step(r, l->n / 8);
}

static bool f_sum(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    if (!jv_items(r, &a->self, &l)) return false;
    *out = a->arg[1].type == JV_ABSENT ? jv_int(0) : a->arg[1];
    for (uint32_t i = 0; i < l->n; i++) {
        struct jvalue v = l->v[i], sum = *out;
        if (a->arg[0].type != JV_ABSENT && !jo_item(r, &l->v[i], &a->arg[0], &v)) return false;
        if (!jr_step(r, 1) || !jo_math(r, '+', &sum, &v, out)) return false;
    }
    return true;
}

static bool f_batch(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    int64_t size;
    struct jvalue row = {0};
    if (!jv_items(r, &a->self, &l) || !ja_int(r, a, 0, 0, &size) ||
        !jv_list(r, JV_GENERATOR, 0, out))
        return false;
    if (size < 1) return jr_fail(r, "ValueError", "batch wants a positive size");
    for (uint32_t i = 0; i < l->n; i++) {
        if (i % size == 0 && (!jv_list(r, JV_LIST, 0, &row) || !jlist_add(r, out->list, row)))
            return false;
        if (!jlist_add(r, row.list, l->v[i])) return false;
    }
    while (l->n && a->arg[1].type != JV_ABSENT && row.list->n < size)
        if (!jr_step(r, 1) || !jlist_add(r, row.list, a->arg[1])) return false;
    return true;
}

static bool f_slice(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    int64_t n;
    if (!jv_items(r, &a->self, &l) || !ja_int(r, a, 0, 0, &n) || !jv_list(r, JV_GENERATOR, 0, out))
        return false;
    if (n < 1) return jr_fail(r, "ValueError", "slice wants a positive number");
    uint32_t at = 0;
    for (int64_t k = 0; k < n; k++) {
        struct jvalue row;
        int64_t size = l->n / n + (k < l->n % n);
        if (!jr_step(r, 1) || !jv_list(r, JV_LIST, 0, &row) || !jlist_add(r, out->list, row))
            return false;
        for (int64_t i = 0; i < size; i++)
            if (!jlist_add(r, row.list, l->v[at++])) return false;
        if (a->arg[1].type != JV_ABSENT && k >= l->n % n && l->n % n &&
            !jlist_add(r, row.list, a->arg[1]))
            return false;
    }
    return true;
}

static bool f_attr(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct str name;
    if (!ja_str(r, a, 0, &name)) return false;
    if (a->self.type == JV_DICT && !jf_method_of(jf_method(name), &a->self))
        return jv_missing(r, "dict object", name, out);
    return jo_attr(r, &a->self, name, out);
}

/* sorted by name */
const struct jfunc jf_filters[] = {
    {"abs", f_abs, "", 0, 0},
    {"attr", f_attr, "name", 1, 0},
    {"batch", f_batch, "linecount fill_with", 1, 0},
    {"capitalize", f_case, "", 0, 0},
    {"center", f_center, "width", 0, 0},
    {"count", f_length, "", 0, 0},
    {"d", f_default, "default_value boolean", 0, 0},
    {"default", f_default, "default_value boolean", 0, 0},
    {"dictsort", jf_dictsort, "case_sensitive by reverse", 0, 0},
    {"e", f_escape, "", 0, 0},
    {"escape", f_escape, "", 0, 0},
    {"first", f_first, "", 0, 0},
    {"float", f_float, "default", 0, 0},
    {"format", f_format, "*", 0, 0},
    {"from_json", jf_from_json, "", 0, 0},
    {"groupby", jf_groupby, "attribute", 1, 0},
    {"indent", f_indent, "width first blank", 0, 0},
    {"int", f_int, "default base", 0, 0},
    {"items", f_items, "", 0, 0},
    {"join", f_join, "d attribute", 0, 0},
    {"last", f_last, "", 0, 0},
    {"length", f_length, "", 0, 0},
    {"list", f_list, "", 0, 0},
    {"lower", f_case, "", 0, 0},
    {"map", jf_map, "*", 0, 0},
    {"max", jf_max, "case_sensitive attribute", 0, 0},
    {"min", jf_min, "case_sensitive attribute", 0, 0},
    {"reject", jf_reject, "*", 0, 0},
    {"rejectattr", jf_rejectattr, "*", 0, 0},
    {"replace", f_replace, "s new count", 2, 0},
    {"reverse", f_reverse, "", 0, 0},
    {"round", f_round, "precision method", 0, 0},
    {"safe", f_safe, "", 0, 0},
    {"select", jf_select, "*", 0, 0},
    {"selectattr", jf_selectattr, "*", 0, 0},
    {"slice", f_slice, "slices fill_with", 1, 0},
    {"sort", jf_sort, "reverse case_sensitive attribute", 0, 0},
    {"string", f_string, "", 0, 0},
    {"sum", f_sum, "attribute start", 0, 0},
    {"title", f_case, "", 0, 0},
    {"tojson", jf_tojson, "ensure_ascii indent separators sort_keys", 0, 0},
    {"trim", f_trim, "chars", 0, 0},
    {"truncate", f_truncate, "length killwords end leeway", 0, 0},
    {"unique", jf_unique, "case_sensitive attribute", 0, 0},
    {"upper", f_case, "", 0, 0},
    {"wordcount", f_wordcount, "", 0, 0},
};
const int jf_n_filters = (int)(sizeof jf_filters / sizeof *jf_filters);
