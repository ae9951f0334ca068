/* Methods of dictionaries, lists and loops, and the global functions. append, pop and the like,
 * which the sandbox of transformers refuses, work: some templates need them. */
#include "text/jinja_funcs.h"
#include "text/jinja_ast.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- dictionaries */

static bool d_get(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue *at;
    if (!jdict_find(r, a->self.dict, a->arg[0], &at)) return false;
    *out = at ? *at : a->arg[1].type == JV_ABSENT ? jv(JV_NONE) : a->arg[1];
    return true;
}

/* what: 'k'eys, 'v'alues, 'i'tems */
static bool view(struct jrender *r, struct jdict *d, char what, struct jvalue *out) {
    struct jvalue v;
    if (!jdict_open(r, d) || !jv_list(r, JV_VIEW, d->n, out)) return false;
    out->markup = (uint8_t)what;
    for (uint32_t i = 0; i < d->n; i++) {
        v = what == 'k' ? d->e[i].key : d->e[i].value;
        if (what == 'i' && !jv_pair(r, d->e[i].key, d->e[i].value, &v)) return false;
        if (!jr_step(r, 1) || !jlist_add(r, out->list, v)) return false;
    }
    return true;
}
static bool d_keys(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return view(r, a->self.dict, 'k', out);
}
static bool d_values(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return view(r, a->self.dict, 'v', out);
}
static bool d_items(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return view(r, a->self.dict, 'i', out);
}

static bool merge(struct jrender *r, struct jdict *into, const struct jvalue *from) {
    struct jlist *l;
    if (from->type == JV_DICT) {
        if (!jdict_open(r, from->dict)) return false;
        for (uint32_t i = 0; i < from->dict->n; i++)
            if (!jr_step(r, 1) || !jdict_set(r, into, from->dict->e[i].key, from->dict->e[i].value))
                return false;
        return true;
    }
    if (!jv_items(r, from, &l)) return false;
    for (uint32_t i = 0; i < l->n; i++) {
        struct jlist *pair;
        if (!jv_items(r, &l->v[i], &pair)) return false;
        if (pair->n != 2) return jr_fail(r, "ValueError", "a dictionary wants pairs");
        if (!jr_step(r, 1) || !jdict_set(r, into, pair->v[0], pair->v[1])) return false;
    }
    return true;
}

/* Positional arguments are mappings, keywords single entries. */
static bool merge_args(struct jrender *r, struct jdict *into, const struct jargs *a) {
    for (int i = 0; i < a->n; i++) {
        struct jvalue key;
        if (!a->key[i].p ? !merge(r, into, &a->arg[i])
                         : !jv_text(r, a->key[i], JINJA_TEMPLATE, &key) ||
                               !jdict_set(r, into, key, a->arg[i]))
            return false;
    }
    return true;
}

static bool d_copy(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return jv_dict(r, out) && merge(r, out->dict, &a->self);
}
static bool d_update(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv(JV_NONE);
    return merge_args(r, a->self.dict, a);
}
static bool d_setdefault(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue *at;
    if (!jdict_find(r, a->self.dict, a->arg[0], &at)) return false;
    *out = at ? *at : a->arg[1].type == JV_ABSENT ? jv(JV_NONE) : a->arg[1];
    return at || jdict_set(r, a->self.dict, a->arg[0], *out);
}
static bool d_pop(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue *at;
    if (!jdict_find(r, a->self.dict, a->arg[0], &at)) return false;
    if (!at && a->arg[1].type == JV_ABSENT) return jr_fail(r, "KeyError", "no such key");
    *out = at ? *at : a->arg[1];
    if (at) jdict_remove(a->self.dict, at);
    return jr_step(r, a->self.dict->n / 8);
}
static bool d_clear(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv(JV_NONE);
    (void)r;
    *a->self.dict = (struct jdict){0};
    return true;
}

/* ---- lists */

static bool l_append(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv(JV_NONE);
    return jlist_open(r, a->self.list) && jlist_add(r, a->self.list, a->arg[0]);
}
static bool l_extend(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *from;
    *out = jv(JV_NONE);
    if (!jlist_open(r, a->self.list) || !jv_items(r, &a->arg[0], &from)) return false;
    for (uint32_t i = 0, n = from->n; i < n; i++)
        if (!jr_step(r, 1) || !jlist_add(r, a->self.list, from->v[i])) return false;
    return true;
}
static bool l_insert(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t i;
    struct jlist *l = a->self.list;
    *out = jv(JV_NONE);
    if (!ja_int(r, a, 0, 0, &i) || !jlist_open(r, l) || !jlist_add(r, l, a->arg[1])) return false;
    int64_t n = (int64_t)l->n - 1;
    if (i < 0) i = i < -n ? 0 : i + n;
    if (i > n) i = n;
    memmove(l->v + i + 1, l->v + i, (size_t)(n - i) * sizeof *l->v);
    l->v[i] = a->arg[1];
    return jr_step(r, (size_t)n / 32);
}
static bool l_pop(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t i;
    struct jlist *l = a->self.list;
    if (!ja_int(r, a, 0, -1, &i) || !jlist_open(r, l)) return false;
    if (i < 0) i += l->n;
    if (i < 0 || i >= l->n) return jr_fail(r, "IndexError", "pop index out of range");
    *out = l->v[i];
    l->n--;
    memmove(l->v + i, l->v + i + 1, (l->n - (size_t)i) * sizeof *l->v);
    return jr_step(r, l->n / 32);
}
static bool l_find(struct jrender *r, struct jargs *a, int64_t *at) {
    struct jlist *l = a->self.list;
    *at = -1;
    if (!jlist_open(r, l) || !jr_step(r, l->n / 8)) return false;
    for (uint32_t i = 0; *at < 0 && i < l->n; i++) {
        bool same;
        if (!jv_equal(r, &l->v[i], &a->arg[0], &same)) return false;
        if (same) *at = i;
    }
    return true;
}
static bool l_index(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t at;
    if (!l_find(r, a, &at)) return false;
    *out = jv_int(at);
    return at >= 0 || jr_fail(r, "ValueError", "the value is not in the list");
}
static bool l_remove(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t at;
    struct jlist *l = a->self.list;
    if (!l_find(r, a, &at)) return false;
    if (at < 0) return jr_fail(r, "ValueError", "the value is not in the list");
    l->n--;
    memmove(l->v + at, l->v + at + 1, (l->n - (size_t)at) * sizeof *l->v);
    *out = jv(JV_NONE);
    return true;
}
static bool l_count(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t n = 0;
    if (!jlist_open(r, a->self.list)) return false;
    for (uint32_t i = 0; i < a->self.list->n; i++) {
        bool same;
        if (!jr_step(r, 1) || !jv_equal(r, &a->self.list->v[i], &a->arg[0], &same)) return false;
        n += same;
    }
    *out = jv_int(n);
    return true;
}
static bool l_copy(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return jv_list(r, JV_LIST, 0, out) &&
           l_extend(r, &(struct jargs){.self = *out, .arg = {a->self}}, &(struct jvalue){0});
}
static bool l_sort(struct jrender *r, struct jargs *a, struct jvalue *out) {
    bool reverse;
    *out = jv(JV_NONE);
    return ja_bool(r, a, 0, false, &reverse) && jlist_open(r, a->self.list) &&
           jl_sort(r, a->self.list, reverse);
}
static bool l_reverse(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l = a->self.list;
    *out = jv(JV_NONE);
    if (!jlist_open(r, l)) return false;
    for (uint32_t i = 0, k = l->n; i + 1 < k; i++) {
        struct jvalue t = l->v[i];
        l->v[i] = l->v[--k];
        l->v[k] = t;
    }
    return jr_step(r, l->n / 8);
}
static bool l_clear(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv(JV_NONE);
    (void)r;
    a->self.list->json = NULL;
    a->self.list->n = 0; /* the array stays: a loop may be looking at it */
    return true;
}

/* ---- loops and cyclers */

static bool loop_cycle(struct jrender *r, struct jargs *a, struct jvalue *out) {
    if (a->n == 0) return jr_fail(r, "TypeError", "no items for cycling given");
    *out = a->arg[a->self.loop->at % (uint32_t)a->n];
    return true;
}
static bool loop_changed(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue now;
    bool same = false;
    if (!jv_list(r, JV_TUPLE, (size_t)a->n, &now)) return false;
    for (int i = 0; i < a->n; i++)
        if (!jlist_add(r, now.list, a->arg[i])) return false;
    struct jvalue *last = &a->self.loop->changed;
    if (last->type != JV_ABSENT && !jv_equal(r, last, &now, &same)) return false;
    *last = now;
    *out = jv_bool(!same);
    return true;
}
static bool cycler_next(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l = a->self.list;
    (void)r;
    *out = l->v[l->origin % l->n];
    l->origin = (l->origin + 1) % l->n;
    return true;
}
static bool cycler_reset(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)r;
    a->self.list->origin = 0;
    *out = jv(JV_NONE);
    return true;
}

/* dict.fromkeys: a method of the global function `dict` */
static bool g_fromkeys(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jlist *l;
    if (!jv_items(r, &a->arg[0], &l) || !jv_dict(r, out)) return false;
    struct jvalue v = a->arg[1].type == JV_ABSENT ? jv(JV_NONE) : a->arg[1];
    for (uint32_t i = 0; i < l->n; i++)
        if (!jr_step(r, 1) || !jdict_set(r, out->dict, l->v[i], v)) return false;
    return true;
}

enum { ON_DICT = 1 << JV_DICT, ON_LIST = 1 << JV_LIST, ON_TUPLE = 1 << JV_TUPLE };

/* sorted by name; the first of a name has all types */
const struct jfunc jf_object_methods[] = {
    {"append", l_append, "object", 1, ON_LIST},
    {"changed", loop_changed, "*", 0, 1 << JV_LOOP},
    {"clear", d_clear, "", 0, ON_DICT},
    {"clear", l_clear, "", 0, ON_LIST},
    {"copy", d_copy, "", 0, ON_DICT},
    {"copy", l_copy, "", 0, ON_LIST},
    {"count", l_count, "value", 1, ON_LIST | ON_TUPLE},
    {"cycle", loop_cycle, "*", 0, 1 << JV_LOOP},
    {"extend", l_extend, "iterable", 1, ON_LIST},
    {"fromkeys", g_fromkeys, "iterable value", 1, ON_DICT | 1 << JV_FUNC},
    {"get", d_get, "key default", 1, ON_DICT},
    {"index", l_index, "value", 1, ON_LIST | ON_TUPLE},
    {"insert", l_insert, "index object", 2, ON_LIST},
    {"items", d_items, "", 0, ON_DICT},
    {"keys", d_keys, "", 0, ON_DICT},
    {"next", cycler_next, "", 0, 1 << JV_CYCLER},
    {"pop", d_pop, "key default", 1, ON_DICT},
    {"pop", l_pop, "index", 0, ON_LIST},
    {"remove", l_remove, "value", 1, ON_LIST},
    {"reset", cycler_reset, "", 0, 1 << JV_CYCLER},
    {"reverse", l_reverse, "", 0, ON_LIST},
    {"setdefault", d_setdefault, "key default", 1, ON_DICT},
    {"sort", l_sort, "reverse", 0, ON_LIST},
    {"update", d_update, "*", 0, ON_DICT},
    {"values", d_values, "", 0, ON_DICT},
};
const int jf_n_object_methods = (int)(sizeof jf_object_methods / sizeof *jf_object_methods);

/* ---- globals */

static bool g_raise(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue text;
    (void)out;
    if (!jv_to_str(r, &a->arg[0], &text)) return false;
    jr_fail(r, "raise_exception", "%.*s", (int)text.s->len, text.s->p);
    r->out->raised = true; /* its message is given on in full */
    mem_free(r->out->message);
    r->out->message = mem_strndup(text.s->p, text.s->len);
    return jinja_error_at(r->t, r->e, ERR_FORMAT, r->pos, "%.*s", (int)text.s->len, text.s->p);
}

static bool g_strftime(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct str format;
    struct tm local;
    char text[512], pattern[128];
    if (!ja_str(r, a, 0, &format)) return false;
    if (format.len >= sizeof pattern - 1) return jr_fail(r, "limit", "a date format is too long");
    if (r->in->now) {
        local = *r->in->now;
    } else {
        time_t now = time(NULL);
        if (!localtime_r(&now, &local)) return jr_fail(r, "ValueError", "no local time");
    }
    snprintf(pattern, sizeof pattern, "%.*s", (int)format.len, format.p);
    size_t n = *pattern ? strftime(text, sizeof text, pattern, &local) : 0;
    char *copy = arena_strndup(&r->arena, text, n);
    if (!copy) return jr_fail(r, "memory", "no memory for a date");
    return jv_text(r, (struct str){copy, n}, jv_origin(&a->arg[0]), out);
}

static bool g_namespace(struct jrender *r, struct jargs *a, struct jvalue *out) {
    if (!jv_dict(r, out)) return false;
    out->type = JV_NAMESPACE;
    for (int i = 0; i < a->n; i++)
        if (a->key[i].len && a->key[i].p[0] == '_')
            return jr_fail(r, "SecurityError", "a namespace has no attribute '%.*s'",
                           (int)a->key[i].len, a->key[i].p);
    return merge_args(r, out->dict, a);
}

static bool g_dict(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return jv_dict(r, out) && merge_args(r, out->dict, a);
}

static bool g_range(struct jrender *r, struct jargs *a, struct jvalue *out) {
    int64_t start, stop, step;
    if (!ja_int(r, a, 0, 0, &start) || !ja_int(r, a, 1, 0, &stop) || !ja_int(r, a, 2, 1, &step))
        return false;
    if (a->arg[1].type == JV_ABSENT) stop = start, start = 0;
    if (step == 0) return jr_fail(r, "ValueError", "range() arg 3 must not be zero");
    double n = step > 0 ? ((double)stop - (double)start + (double)step - 1) / (double)step
                        : ((double)start - (double)stop - (double)step - 1) / -(double)step;
    if (n > JR_RANGE_MAX)
        return jr_fail(r, "OverflowError", "Range too big: the limit is %d.", JR_RANGE_MAX);
    *out = jv(JV_RANGE);
    if (!(out->range = jr_alloc(r, 1, sizeof *out->range))) return false;
    *out->range = (struct jrange){start, stop, step, n >= 1 ? (int64_t)n : 0};
    return true;
}

static bool g_cycler(struct jrender *r, struct jargs *a, struct jvalue *out) {
    if (a->n == 0) return jr_fail(r, "TypeError", "at least one item has to be provided");
    if (!jv_list(r, JV_CYCLER, (size_t)a->n, out)) return false;
    for (int i = 0; i < a->n; i++)
        if (!jlist_add(r, out->list, a->arg[i])) return false;
    return true;
}

/* A text that is empty the first time it is called. */
static bool g_joiner(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jvalue sep = a->arg[0], empty;
    return (sep.type != JV_ABSENT || jv_text(r, STR(", "), JINJA_TEMPLATE, &sep)) &&
           jv_text(r, STR(""), JINJA_TEMPLATE, &empty) && jv_list(r, JV_JOINER, 2, out) &&
           jlist_add(r, out->list, empty) && jlist_add(r, out->list, sep);
}

static bool g_unsupported(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)out;
    return jr_fail(r, "NotImplementedError", "%s() is not offered to chat templates",
                   a->func->name);
}

static const struct jfunc globals[] = {
    {"raise_exception", g_raise, "message", 1, 0},
    {"strftime_now", g_strftime, "format", 1, 0},
    {"namespace", g_namespace, "*", 0, 0},
    {"range", g_range, "start stop step", 1, 0},
    {"dict", g_dict, "*", 0, 0},
    {"cycler", g_cycler, "*", 0, 0},
    {"joiner", g_joiner, "sep", 0, 0},
    {"lipsum", g_unsupported, "*", 0, 0},
    {"self", g_unsupported, "*", 0, 0},
};

bool jf_global(struct jrender *r, struct str name, struct jvalue *out) {
    *out = jv(JV_ABSENT);
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (!str_is(name, globals[i].name)) continue;
        *out = jv(JV_FUNC);
        if (!(out->bound = jr_alloc(r, 1, sizeof *out->bound))) return false;
        out->bound->func = &globals[i];
        return true;
    }
    return true;
}
