/* Values: making them (lazily from JSON), comparing, looking into containers; and the limits of a
 * rendering. Does not print (jinja_print.c) and knows no syntax. */
#include "text/jinja_ast.h"
#include "text/jinja_run.h"
#include "base/limits.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- errors and limits */

bool jr_fail(struct jrender *r, const char *kind, const char *fmt, ...) {
    if (r->failed) return false;
    r->failed = true;
    char msg[480];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    msg[utf8_complete(msg, strlen(msg))] = 0;
    enum err_code code = strcmp(kind, "limit") == 0    ? ERR_LIMIT
                         : strcmp(kind, "memory") == 0 ? ERR_NOMEM
                                                       : ERR_FORMAT;
    jinja_position(r->t, r->pos, &r->out->line, &r->out->column);
    struct buf full = {0};
    buf_printf(&full, "%s: %s", kind, msg);
    r->out->message = full.failed ? NULL : mem_strndup(full.p, full.len);
    jinja_error_at(r->t, r->e, code, r->pos, "%s: %s", kind, msg);
    buf_free(&full);
    return false;
}

bool jr_step(struct jrender *r, size_t work) {
    r->steps -= (int64_t)work;
    return r->steps >= 0 ||
           jr_fail(r, "limit", "the template runs for more than %d steps", LIMIT_TEMPLATE_STEPS);
}

bool jr_enter(struct jrender *r) {
    if (r->depth >= JR_FRAMES) return jr_fail(r, "RecursionError", "template recursion");
    r->depth++;
    return true;
}

void *jr_alloc(struct jrender *r, size_t n, size_t size) {
    void *p = arena_calloc(&r->arena, n, size);
    if (!p && r->arena.limit && r->arena.total + n * size > r->arena.limit)
        jr_fail(r, "limit", "the template needs more than %zu bytes of memory", r->arena.limit);
    else if (!p) jr_fail(r, "memory", "no memory for a rendering");
    return p;
}

/* ---- making values */

bool jv_text(struct jrender *r, struct str text, uint32_t origin, struct jvalue *out) {
    struct jstr *s = jr_alloc(r, 1, sizeof *s);
    if (!s) return false;
    s->p = text.p ? text.p : "";
    s->len = (uint32_t)text.len;
    s->n_run = 1;
    s->run = &s->one;
    s->one.origin = origin;
    s->n_chars = -1;
    *out = jv_of_str(s);
    return true;
}

bool jv_list(struct jrender *r, enum jtype type, size_t cap, struct jvalue *out) {
    struct jlist *l = jr_alloc(r, 1, sizeof *l);
    if (!l || (cap && !(l->v = jr_alloc(r, cap, sizeof *l->v)))) return false;
    l->cap = (uint32_t)cap;
    *out = jv(type);
    out->list = l;
    return true;
}

bool jv_pair(struct jrender *r, struct jvalue a, struct jvalue b, struct jvalue *out) {
    return jv_list(r, JV_TUPLE, 2, out) && jlist_add(r, out->list, a) && jlist_add(r, out->list, b);
}

bool jv_dict(struct jrender *r, struct jvalue *out) {
    *out = jv(JV_DICT);
    return (out->dict = jr_alloc(r, 1, sizeof *out->dict)) != NULL;
}

bool jv_missing(struct jrender *r, const char *owner, struct str name, struct jvalue *out) {
    *out = jv(JV_UNDEFINED);
    if (!(out->miss = jr_alloc(r, 1, sizeof *out->miss))) return false;
    out->miss->owner = owner;
    out->miss->name = name;
    return true;
}

static uint32_t child_origin(struct jrender *r, uint32_t parent, const char *key, size_t i,
                             const json_t *json) {
    return r->in->origin ? r->in->origin(r->in->origin_ctx, parent, key, i, json) : parent;
}

bool jv_json(struct jrender *r, const json_t *json, uint32_t origin, struct jvalue *out) {
    switch (json_typeof(json)) {
    case JSON_NULL:
        *out = jv(JV_NONE);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = jv_bool(json_is_true(json));
        break;
    case JSON_INTEGER:
        *out = jv_int(json_integer_value(json));
        break;
    case JSON_REAL:
        *out = jv_float(json_real_value(json));
        break;
    case JSON_STRING: {
        struct str s = {json_string_value(json), json_string_length(json)};
        if (s.len > LIMIT_PROMPT_BYTES)
            return jr_fail(r, "limit", "a text of the messages is larger than %d bytes",
                           LIMIT_PROMPT_BYTES);
        r->arena.limit += 8 * s.len; /* long contents may be worked with */
        r->steps += (int64_t)s.len / 16;
        return jv_text(r, s, origin, out);
    }
    case JSON_ARRAY:
        if (!jv_list(r, JV_LIST, 0, out)) return false;
        out->list->json = json;
        out->list->origin = origin;
        break;
    case JSON_OBJECT:
        if (!jv_dict(r, out)) return false;
        out->dict->json = json;
        out->dict->origin = origin;
        break;
    }
    out->origin = origin;
    return true;
}

bool jlist_add(struct jrender *r, struct jlist *l, struct jvalue v) {
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 4;
        struct jvalue *p = jr_alloc(r, cap, sizeof *p);
        if (!p) return false;
        if (l->n) memcpy(p, l->v, l->n * sizeof *p);
        l->v = p;
        l->cap = cap;
    }
    l->v[l->n++] = v;
    return true;
}

bool jlist_open(struct jrender *r, struct jlist *l) {
    const json_t *json = l->json;
    if (!json) return true;
    l->json = NULL;
    size_t n = json_array_size(json);
    if (n > UINT32_MAX / 2 || !jr_step(r, n / 4)) return r->failed ? false : jr_step(r, n);
    if (n && !(l->v = jr_alloc(r, n, sizeof *l->v))) return false;
    l->cap = (uint32_t)n;
    for (; l->n < n; l->n++) {
        const json_t *x = json_array_get(json, l->n);
        if (!jv_json(r, x, child_origin(r, l->origin, NULL, l->n, x), &l->v[l->n])) return false;
    }
    return true;
}

/* ---- dictionaries: insertion order, an index from the ninth entry on */

static bool hash_value(struct jrender *r, const struct jvalue *v, uint64_t *h) {
    switch (v->type) {
    case JV_STR:
        *h = str_hash(js(v->s));
        return true;
    case JV_BOOL:
    case JV_INT:
        *h = (uint64_t)jv_integer(v) * 0x9E3779B97F4A7C15u;
        return true;
    case JV_FLOAT:
        *h = v->f == floor(v->f) && fabs(v->f) < 9e18
                 ? (uint64_t)(int64_t)v->f * 0x9E3779B97F4A7C15u
                 : 3;
        return true;
    case JV_NONE:
    case JV_TUPLE:
        *h = 5 + v->type;
        return true;
    default:
        return jr_fail(r, "TypeError", "unhashable type: '%s'", jv_type_name(v));
    }
}

bool jv_is_hashable(const struct jvalue *v) {
    return jv_is_number(v) || v->type == JV_STR || v->type == JV_NONE || v->type == JV_TUPLE;
}

static bool jdict_reindex(struct jrender *r, struct jdict *d) {
    uint32_t bits = 4;
    while ((1u << bits) < d->cap * 2) bits++;
    if (bits != d->index_bits || !d->index) {
        if (!(d->index = jr_alloc(r, (size_t)1 << bits, sizeof *d->index))) return false;
        d->index_bits = bits;
    } else {
        memset(d->index, 0, ((size_t)1 << bits) * sizeof *d->index);
    }
    uint32_t mask = (1u << bits) - 1;
    for (uint32_t i = 0; i < d->n; i++) {
        uint64_t h;
        if (!hash_value(r, &d->e[i].key, &h)) return false;
        uint32_t k = (uint32_t)(h >> 7) & mask;
        while (d->index[k]) k = (k + 1) & mask;
        d->index[k] = i + 1;
    }
    return true;
}

bool jdict_find(struct jrender *r, struct jdict *d, struct jvalue key, struct jvalue **out) {
    *out = NULL;
    uint64_t h;
    if (!jdict_open(r, d) || !hash_value(r, &key, &h)) return false;
    uint32_t mask = d->index ? (1u << d->index_bits) - 1 : 0, k = (uint32_t)(h >> 7) & mask;
    for (uint32_t i = 0; d->index ? d->index[k] != 0 : i < d->n; i++, k = (k + 1) & mask) {
        struct jentry *e = &d->e[d->index ? d->index[k] - 1 : i];
        bool same = false;
        if (key.type == JV_STR && e->key.type == JV_STR) same = str_eq(js(key.s), js(e->key.s));
        else if (!jv_equal(r, &e->key, &key, &same)) return false;
        if (same) {
            *out = &e->value;
            return true;
        }
        if (i > 32 && !jr_step(r, 1)) return false;
    }
    return true;
}

bool jdict_set(struct jrender *r, struct jdict *d, struct jvalue key, struct jvalue value) {
    struct jvalue *at;
    if (!jdict_find(r, d, key, &at)) return false;
    if (at) {
        *at = value;
        return true;
    }
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : 4;
        struct jentry *e = jr_alloc(r, cap, sizeof *e);
        if (!e) return false;
        if (d->n) memcpy(e, d->e, d->n * sizeof *e);
        d->e = e;
        d->cap = cap;
        d->index = NULL;
    }
    d->e[d->n++] = (struct jentry){key, value};
    if (d->n <= 8) return true;
    if (!d->index) return jdict_reindex(r, d);
    uint64_t h;
    hash_value(r, &key, &h);
    uint32_t mask = (1u << d->index_bits) - 1, k = (uint32_t)(h >> 7) & mask;
    while (d->index[k]) k = (k + 1) & mask;
    d->index[k] = d->n;
    return true;
}

void jdict_remove(struct jdict *d, struct jvalue *at) {
    uint32_t i = 0;
    while (&d->e[i].value != at) i++;
    memmove(d->e + i, d->e + i + 1, (d->n - i - 1) * sizeof *d->e);
    d->n--;
    d->cap = d->n; /* the next insertion makes a new array and index */
    d->index = NULL;
}

bool jdict_open(struct jrender *r, struct jdict *d) {
    const json_t *json = d->json;
    if (!json) return true;
    d->json = NULL;
    size_t n = json_object_size(json);
    if (n > UINT32_MAX / 4 || !jr_step(r, n / 4)) return r->failed ? false : jr_step(r, n);
    if (n && !(d->e = jr_alloc(r, n, sizeof *d->e))) return false;
    d->cap = (uint32_t)n;
    void *it = json_object_iter((json_t *)json);
    for (; it; it = json_object_iter_next((json_t *)json, it), d->n++) {
        const json_t *x = json_object_iter_value(it);
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        uint32_t origin = child_origin(r, d->origin, key.p, d->n, x);
        if (!jv_text(r, key, origin, &d->e[d->n].key) || !jv_json(r, x, origin, &d->e[d->n].value))
            return false;
    }
    return d->n <= 8 || jdict_reindex(r, d);
}

/* ---- looking at values */

const char *jv_type_name(const struct jvalue *v) {
    static const char *const name[JV_TYPES] = {
        /* ORDER JV */
        "absent",      "Undefined", "NoneType", "bool",      "int",       "float", "str",
        "list",        "tuple",     "dict",     "generator", "dict view", "range", "Namespace",
        "LoopContext", "Macro",     "function", "Cycler",    "Joiner"};
    return name[v->type];
}

uint32_t jv_origin(const struct jvalue *v) {
    if (v->type != JV_STR) return v->origin;
    for (uint32_t i = 0; i < v->s->n_run; i++)
        if (v->s->run[i].origin != JINJA_TEMPLATE) return v->s->run[i].origin;
    return JINJA_TEMPLATE;
}

bool jv_truth(struct jrender *r, const struct jvalue *v, bool *out) {
    int64_t n;
    switch (v->type) {
    case JV_ABSENT:
    case JV_UNDEFINED:
    case JV_NONE:
        *out = false;
        return true;
    case JV_BOOL:
        *out = v->b;
        return true;
    case JV_INT:
        *out = v->i != 0;
        return true;
    case JV_FLOAT:
        *out = v->f < 0 || v->f > 0 || isnan(v->f);
        return true;
    case JV_STR:
        *out = v->s->len != 0;
        return true;
    case JV_LIST:
    case JV_TUPLE:
    case JV_DICT:
    case JV_VIEW:
    case JV_RANGE:
        if (!jv_len(r, v, &n)) return false;
        *out = n != 0;
        return true;
    default:
        return *out = true;
    }
}

bool jv_len(struct jrender *r, const struct jvalue *v, int64_t *out) {
    switch (v->type) {
    case JV_UNDEFINED:
        *out = 0;
        return true;
    case JV_STR:
        *out = js_chars(v->s);
        return true;
    case JV_LIST:
    case JV_TUPLE:
    case JV_VIEW:
        *out = v->list->json ? (int64_t)json_array_size(v->list->json) : v->list->n;
        return true;
    case JV_DICT:
        *out = v->dict->json ? (int64_t)json_object_size(v->dict->json) : v->dict->n;
        return true;
    case JV_RANGE:
        *out = v->range->n;
        return true;
    default:
        return jr_fail(r, "TypeError", "object of type '%s' has no len()", jv_type_name(v));
    }
}

static bool equal_lists(struct jrender *r, struct jlist *a, struct jlist *b, bool *out) {
    *out = false;
    if (!jlist_open(r, a) || !jlist_open(r, b)) return false;
    if (a->n != b->n) return true;
    *out = true;
    for (uint32_t i = 0; *out && i < a->n; i++)
        if (!jv_equal(r, &a->v[i], &b->v[i], out)) return false;
    return true;
}

static bool equal_dicts(struct jrender *r, struct jdict *a, struct jdict *b, bool *out) {
    *out = false;
    if (!jdict_open(r, a) || !jdict_open(r, b)) return false;
    if (a->n != b->n) return true;
    *out = true;
    for (uint32_t i = 0; *out && i < a->n; i++) {
        struct jvalue *other;
        if (!jdict_find(r, b, a->e[i].key, &other)) return false;
        if (!other) *out = false;
        else if (!jv_equal(r, &a->e[i].value, other, out)) return false;
    }
    return true;
}

static bool equal_same_type(struct jrender *r, const struct jvalue *a, const struct jvalue *b,
                            bool *out) {
    switch (a->type) {
    case JV_UNDEFINED:
    case JV_NONE:
        return *out = true;
    case JV_STR:
        *out = str_eq(js(a->s), js(b->s));
        return jr_step(r, a->s->len / 256);
    case JV_LIST:
    case JV_TUPLE:
    case JV_VIEW:
        return equal_lists(r, a->list, b->list, out);
    case JV_DICT:
        return equal_dicts(r, a->dict, b->dict, out);
    case JV_RANGE:
        *out = memcmp(a->range, b->range, sizeof *a->range) == 0;
        return true;
    default:
        *out = a->list == b->list;
        return true;
    }
}

bool jv_equal(struct jrender *r, const struct jvalue *a, const struct jvalue *b, bool *out) {
    *out = false;
    if (jv_is_number(a) && jv_is_number(b)) {
        if (a->type == JV_FLOAT || b->type == JV_FLOAT) {
            double x = jv_real(a), y = jv_real(b);
            *out = x <= y && x >= y;
        } else {
            *out = jv_integer(a) == jv_integer(b);
        }
        return true;
    }
    if (a->type != b->type) return true;
    if (!jr_step(r, 1) || !jr_enter(r)) return false;
    bool ok = equal_same_type(r, a, b, out);
    r->depth--;
    return ok;
}

static bool compare_lists(struct jrender *r, struct jlist *a, struct jlist *b, const char *op,
                          int *out) {
    if (!jlist_open(r, a) || !jlist_open(r, b)) return false;
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        bool same;
        if (!jv_equal(r, &a->v[i], &b->v[i], &same)) return false;
        if (!same) return jv_compare(r, &a->v[i], &b->v[i], op, out);
    }
    *out = (a->n > b->n) - (a->n < b->n);
    return true;
}

bool jv_compare(struct jrender *r, const struct jvalue *a, const struct jvalue *b, const char *op,
                int *out) {
    if (jv_is_number(a) && jv_is_number(b)) {
        if (a->type != JV_FLOAT && b->type != JV_FLOAT) {
            int64_t x = jv_integer(a), y = jv_integer(b);
            *out = (x > y) - (x < y);
        } else {
            double x = jv_real(a), y = jv_real(b);
            *out = (x > y) - (x < y);
        }
        return true;
    }
    if (a->type == JV_STR && b->type == JV_STR) {
        size_t n = a->s->len < b->s->len ? a->s->len : b->s->len;
        int c = n ? memcmp(a->s->p, b->s->p, n) : 0;
        *out = c ? c : (a->s->len > b->s->len) - (a->s->len < b->s->len);
        return jr_step(r, n / 256);
    }
    if (a->type == b->type && (a->type == JV_LIST || a->type == JV_TUPLE)) {
        if (!jr_enter(r)) return false;
        bool ok = compare_lists(r, a->list, b->list, op, out);
        r->depth--;
        return ok;
    }
    if (a->type == JV_UNDEFINED || b->type == JV_UNDEFINED)
        return jr_fail(r, "UndefinedError", "an undefined value has no order");
    return jr_fail(r, "TypeError", "'%s' not supported between instances of '%s' and '%s'", op,
                   jv_type_name(a), jv_type_name(b));
}

bool jv_contains(struct jrender *r, const struct jvalue *hay, const struct jvalue *x, bool *out) {
    *out = false;
    if (hay->type == JV_STR) {
        if (x->type != JV_STR)
            return jr_fail(r, "TypeError", "'in <string>' requires string as left operand, not %s",
                           jv_type_name(x));
        *out = str_find(js(hay->s), js(x->s), 0) >= 0;
        return js_charge_search(r, hay->s->len, x->s->len);
    }
    if (hay->type == JV_DICT) {
        struct jvalue *at;
        if (!jdict_find(r, hay->dict, *x, &at)) return false;
        *out = at != NULL;
        return true;
    }
    struct jlist *l;
    if (jv_is_number(hay) || hay->type == JV_NONE)
        return jr_fail(r, "TypeError", "argument of type '%s' is not iterable", jv_type_name(hay));
    if (!jv_items(r, hay, &l)) return false;
    for (uint32_t i = 0; !*out && i < l->n; i++)
        if (!jv_equal(r, &l->v[i], x, out)) return false;
    return jr_step(r, l->n / 8);
}

static bool chars_as_list(struct jrender *r, const struct jstr *s, struct jlist *l) {
    for (size_t i = 0; i < s->len;) {
        uint32_t cp;
        size_t n = utf8_decode(s->p + i, s->len - i, &cp);
        struct jvalue c;
        if (!jr_step(r, 1) || !js_sub(r, s, i, i + n, &c) || !jlist_add(r, l, c)) return false;
        i += n;
    }
    return true;
}

bool jv_items(struct jrender *r, const struct jvalue *v, struct jlist **out) {
    struct jvalue list;
    switch (v->type) {
    case JV_LIST:
    case JV_TUPLE:
    case JV_GENERATOR:
    case JV_VIEW:
        *out = v->list;
        return jlist_open(r, v->list);
    case JV_UNDEFINED:
    case JV_STR:
    case JV_DICT:
    case JV_RANGE:
        break;
    default:
        return jr_fail(r, "TypeError", "'%s' object is not iterable", jv_type_name(v));
    }
    if (!jv_list(r, JV_LIST, 0, &list)) return false;
    *out = list.list;
    if (v->type == JV_STR) return chars_as_list(r, v->s, list.list);
    if (v->type == JV_DICT) {
        if (!jdict_open(r, v->dict) || !jr_step(r, v->dict->n / 4)) return false;
        for (uint32_t i = 0; i < v->dict->n; i++)
            if (!jlist_add(r, list.list, v->dict->e[i].key)) return false;
    }
    for (int64_t i = 0; v->type == JV_RANGE && i < v->range->n; i++)
        if (!jr_step(r, 1) ||
            !jlist_add(r, list.list, jv_int(v->range->start + i * v->range->step)))
            return false;
    return true;
}

bool jv_is_callable(const struct jvalue *v) {
    return v->type == JV_MACRO || v->type == JV_FUNC || v->type == JV_UNDEFINED ||
           v->type == JV_JOINER || v->type == JV_LOOP;
}
