/* Filters over lists: order, grouping, and picking items by attribute or test. */
#include "text/jinja_funcs.h"

#include <string.h>

/* ---- attributes by path: "a.b", "0.name" or a number */

static bool attribute(struct jrender *r, struct jvalue v, const struct jvalue *path,
                      struct jvalue *out) {
    *out = v;
    if (path->type == JV_ABSENT || path->type == JV_NONE) return true;
    if (path->type != JV_STR) return jo_item(r, &v, path, out);
    struct str p = js(path->s);
    for (size_t i = 0; i <= p.len;) {
        size_t end = i;
        int64_t n = 0;
        bool number = true;
        for (; end < p.len && p.p[end] != '.'; end++) {
            number = number && p.p[end] >= '0' && p.p[end] <= '9' && end - i < 9;
            if (number) n = n * 10 + (p.p[end] - '0');
        }
        struct jvalue key = jv_int(n);
        if (!(number && end > i) && !jv_text(r, (struct str){p.p + i, end - i}, 0, &key))
            return false;
        v = *out;
        if (!jo_item(r, &v, &key, out)) return false;
        i = end + 1;
    }
    return true;
}

/* Text compares without case unless asked to. */
static bool fold(struct jrender *r, const struct jvalue *v, bool case_sensitive,
                 struct jvalue *out) {
    *out = *v;
    return case_sensitive || v->type != JV_STR || js_case(r, v->s, "lower", out);
}

/* ---- stable merge sort over (key, value) */

struct pair {
    struct jvalue key, value;
};

static bool before(struct jrender *r, const struct pair *a, const struct pair *b, bool reverse,
                   bool *out) {
    int c;
    if (!jr_step(r, 1)) return false;
    /* b goes first only if it is strictly smaller */
    bool ok = reverse ? jv_compare(r, &a->key, &b->key, "<", &c)
                      : jv_compare(r, &b->key, &a->key, "<", &c);
    *out = c >= 0;
    return ok;
}

static bool merge_sort(struct jrender *r, struct pair *p, struct pair *tmp, size_t n,
                       bool reverse) {
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n, hi = mid + width < n ? mid + width : n;
            size_t a = lo, b = mid, k = lo;
            while (a < mid && b < hi) {
                bool first;
                if (!before(r, &p[a], &p[b], reverse, &first)) return false;
                tmp[k++] = first ? p[a++] : p[b++];
            }
            while (a < mid) tmp[k++] = p[a++];
            while (b < hi) tmp[k++] = p[b++];
        }
        memcpy(p, tmp, n * sizeof *p);
    }
    return true;
}

/* Keys are attribute(path) of the items, folded. NULL after a failure. */
static struct pair *sorted(struct jrender *r, struct jlist *l, const struct jvalue *path,
                           bool case_sensitive, bool reverse) {
    struct pair *p = jr_alloc(r, 2 * (size_t)l->n + 1, sizeof *p);
    struct jvalue key;
    if (!p) return NULL;
    for (uint32_t i = 0; i < l->n; i++) {
        p[i].value = l->v[i];
        if (!attribute(r, l->v[i], path, &key) || !fold(r, &key, case_sensitive, &p[i].key))
            return NULL;
    }
    return merge_sort(r, p, p + l->n, l->n, reverse) ? p : NULL;
}

static bool pairs_to_list(struct jrender *r, const struct pair *p, size_t n, struct jvalue *out) {
    if (!p || !jv_list(r, JV_LIST, n, out)) return false;
    for (size_t i = 0; i < n; i++)
        if (!jlist_add(r, out->list, p[i].value)) return false;
    return true;
}

/* reverse case_sensitive attribute */
bool jf_sort(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    bool reverse, exact;
    if (!jv_items(r, &a->self, &l) || !ja_bool(r, a, 0, false, &reverse) ||
        !ja_bool(r, a, 1, false, &exact))
        return false;
    return pairs_to_list(r, sorted(r, l, &a->arg[2], exact, reverse), l->n, out);
}

bool jl_sort(struct jrender *r, struct jlist *l, bool reverse) {
    struct pair *p = sorted(r, l, &(struct jvalue){0}, true, reverse);
    for (uint32_t i = 0; p && i < l->n; i++) l->v[i] = p[i].value;
    return p != NULL;
}

/* case_sensitive by reverse */
bool jf_dictsort(struct jrender *r, struct jargs *a, struct jvalue *out) {
    bool exact, reverse, by_value = jv_is_str(&a->arg[1], "value");
    struct jvalue list, pair;
    if (a->self.type != JV_DICT)
        return jr_fail(r, "AttributeError", "'%s' object has no attribute 'items'",
                       jv_type_name(&a->self));
    if (!by_value && a->arg[1].type != JV_ABSENT && !jv_is_str(&a->arg[1], "key"))
        return jr_fail(r, "FilterArgumentError", "You can only sort by either 'key' or 'value'");
    if (!ja_bool(r, a, 0, false, &exact) || !ja_bool(r, a, 2, false, &reverse) ||
        !jdict_open(r, a->self.dict) || !jv_list(r, JV_LIST, a->self.dict->n, &list))
        return false;
    for (uint32_t i = 0; i < a->self.dict->n; i++)
        if (!jv_pair(r, a->self.dict->e[i].key, a->self.dict->e[i].value, &pair) ||
            !jlist_add(r, list.list, pair))
            return false;
    struct jvalue which = jv_int(by_value);
    return pairs_to_list(r, sorted(r, list.list, &which, exact, reverse), list.list->n, out);
}

/* case_sensitive attribute */
bool jf_unique(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    bool exact;
    struct jvalue seen, key, *at;
    if (!jv_items(r, &a->self, &l) || !ja_bool(r, a, 0, false, &exact) || !jv_dict(r, &seen) ||
        !jv_list(r, JV_GENERATOR, 0, out))
        return false;
    for (uint32_t i = 0; i < l->n; i++) {
        if (!attribute(r, l->v[i], &a->arg[1], &key) || !fold(r, &key, exact, &key) ||
            !jdict_find(r, seen.dict, key, &at))
            return false;
        if (at) continue;
        if (!jdict_set(r, seen.dict, key, jv(JV_NONE)) || !jlist_add(r, out->list, l->v[i]))
            return false;
    }
    return true;
}

/* attribute default case_sensitive */
bool jf_groupby(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    struct jvalue group, key, last = {0};
    if (!jv_items(r, &a->self, &l)) return false;
    struct pair *p = sorted(r, l, &a->arg[0], false, false);
    if (!p || !jv_list(r, JV_LIST, 0, out)) return false;
    for (uint32_t i = 0; i < l->n; i++) {
        bool same = false;
        if (i && !jv_equal(r, &p[i].key, &last, &same)) return false;
        last = p[i].key;
        if (!same) {
            struct jvalue pair;
            if (!attribute(r, p[i].value, &a->arg[0], &key) || !jv_list(r, JV_LIST, 0, &group) ||
                !jv_pair(r, key, group, &pair) || !jlist_add(r, out->list, pair))
                return false;
        }
        if (!jlist_add(r, group.list, p[i].value)) return false;
    }
    return true;
}

/* case_sensitive attribute */
static bool extreme(struct jrender *r, struct jargs *a, int sign, struct jvalue *out) {
    struct jlist *l;
    bool exact;
    struct jvalue best, key;
    if (!jv_items(r, &a->self, &l) || !ja_bool(r, a, 0, false, &exact)) return false;
    if (l->n == 0) return jv_missing(r, NULL, STR("no item of an empty sequence"), out);
    for (uint32_t i = 0; i < l->n; i++) {
        int c = 1;
        if (!jr_step(r, 1) || !attribute(r, l->v[i], &a->arg[1], &key) ||
            !fold(r, &key, exact, &key) || (i && !jv_compare(r, &key, &best, "<", &c)))
            return false;
        if (i && c * sign <= 0) continue;
        best = key;
        *out = l->v[i];
    }
    return true;
}
bool jf_min(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return extreme(r, a, -1, out);
}
bool jf_max(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return extreme(r, a, 1, out);
}

/* ---- map, select, reject */

/* Takes the keyword argument `name` out of a; JV_ABSENT if it is not there. */
static struct jvalue take_keyword(struct jargs *a, const char *name) {
    for (int i = 0; i < a->n; i++) {
        if (!a->key[i].p || !str_is(a->key[i], name)) continue;
        struct jvalue v = a->arg[i];
        a->n--;
        memmove(a->arg + i, a->arg + i + 1, (size_t)(a->n - i) * sizeof *a->arg);
        memmove(a->key + i, a->key + i + 1, (size_t)(a->n - i) * sizeof *a->key);
        return v;
    }
    return (struct jvalue){0};
}

/* What map and select iterate; Jinja2 does not look into what is falsy, be it iterable or not. */
static bool items_or_none(struct jrender *r, const struct jvalue *v, struct jlist **out) {
    bool truth;
    if (!jv_truth(r, v, &truth)) return false;
    return jv_items(r, truth ? v : &(struct jvalue){.type = JV_UNDEFINED}, out);
}

/* Calls func on item with the arguments of `a` from number `first` on. */
static bool apply(struct jrender *r, const struct jfunc *func, const struct jargs *a, int first,
                  const struct jvalue *item, struct jvalue *out) {
    struct jargs call = {.func = func, .self = *item};
    for (int i = first; i < a->n; i++) {
        call.key[call.n] = a->key[i];
        call.arg[call.n++] = a->arg[i];
    }
    return jr_step(r, 1) && jf_run(r, &call, out);
}

static bool map_attribute(struct jrender *r, struct jargs *a, struct jlist *l,
                          const struct jvalue *path, struct jvalue *out) {
    struct jvalue fallback = take_keyword(a, "default"), v;
    for (uint32_t i = 0; i < l->n; i++) {
        bool failed_before = r->failed;
        struct jvalue item = l->v[i];
        /* with a default, a missing step of the path is no error */
        if (fallback.type != JV_ABSENT && path->type == JV_STR) {
            struct str p = js(path->s);
            for (size_t from = 0, end; from <= p.len && item.type != JV_UNDEFINED; from = end + 1) {
                for (end = from; end < p.len && p.p[end] != '.';) end++;
                struct jvalue one;
                if (!jv_text(r, (struct str){p.p + from, end - from}, 0, &one) ||
                    !attribute(r, item, &one, &v))
                    return failed_before;
                item = v;
            }
        } else if (!attribute(r, l->v[i], path, &v)) {
            return false;
        }
        if (v.type == JV_UNDEFINED && fallback.type != JV_ABSENT) v = fallback;
        if (!jlist_add(r, out->list, v)) return false;
    }
    return true;
}

bool jf_map(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    struct jvalue path = take_keyword(a, "attribute"), v;
    if (!items_or_none(r, &a->self, &l) || !jv_list(r, JV_GENERATOR, l->n, out)) return false;
    if (path.type != JV_ABSENT) return map_attribute(r, a, l, &path, out);
    if (a->n == 0 || a->arg[0].type != JV_STR)
        return jr_fail(r, "FilterArgumentError", "map requires a filter argument");
    const struct jfunc *f = jf_filter(js(a->arg[0].s));
    if (!f)
        return jr_fail(r, "TemplateRuntimeError", "No filter named '%.*s'.", (int)a->arg[0].s->len,
                       a->arg[0].s->p);
    for (uint32_t i = 0; i < l->n; i++)
        if (!apply(r, f, a, 1, &l->v[i], &v) || !jlist_add(r, out->list, v)) return false;
    return true;
}

/* Keeps the items whose attribute (path, or themselves) passes the test named by argument `at`. */
static bool pick(struct jrender *r, struct jargs *a, const struct jvalue *path, int at, bool keep,
                 struct jvalue *out) {
    struct jlist *l;
    const struct jfunc *test = NULL;
    if (!items_or_none(r, &a->self, &l) || !jv_list(r, JV_GENERATOR, 0, out)) return false;
    if (a->n > at) {
        struct str name = a->arg[at].type == JV_STR ? js(a->arg[at].s) : STR("");
        if (!(test = jf_test(name)))
            return jr_fail(r, "TemplateRuntimeError", "No test named '%.*s'.", (int)name.len,
                           name.p);
    }
    for (uint32_t i = 0; i < l->n; i++) {
        struct jvalue v, result;
        bool yes;
        if (!jr_step(r, 1) || !attribute(r, l->v[i], path, &v)) return false;
        if (test && !apply(r, test, a, at + 1, &v, &result)) return false;
        if (!jv_truth(r, test ? &result : &v, &yes)) return false;
        if (yes == keep && !jlist_add(r, out->list, l->v[i])) return false;
    }
    return true;
}

static bool pick_attribute(struct jrender *r, struct jargs *a, bool keep, struct jvalue *out) {
    if (a->n == 0) return jr_fail(r, "FilterArgumentError", "missing attribute argument");
    struct jvalue path = a->arg[0];
    return pick(r, a, &path, 1, keep, out);
}

bool jf_select(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return pick(r, a, &(struct jvalue){0}, 0, true, out);
}
bool jf_reject(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return pick(r, a, &(struct jvalue){0}, 0, false, out);
}
bool jf_selectattr(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return pick_attribute(r, a, true, out);
}
bool jf_rejectattr(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return pick_attribute(r, a, false, out);
}
