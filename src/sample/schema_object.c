/* Objects and arrays: the order of properties, what may be skipped, what may be added, counts.
 * The graph of an object has a place for each (next property, properties written so far). */
#include "base/json.h"
#include "base/mem.h"
#include "sample/expr.h"
#include "sample/schema.h"

#include <stdlib.h>
#include <string.h>

enum {
    PROPERTIES = 4096,
    ONE_RULE = 64,    /* properties that go into one rule; more are cut into */
    CHUNK = 16,       /* chunks of this size */
    PLACES = 1 << 12, /* places in one object, for counts above one */
    PATTERNS = 4,
    PAIR_STATES = 20,      /* that a property comes to at least */
    NAMES_STATES = 1 << 11 /* of the listed names, when others have to be kept apart from them */
};

struct property {
    struct str name;
    struct expr *pair; /* NULL: may not appear */
    bool required;
};
struct object {
    const struct parts *p;
    struct property *property;
    size_t n, cap;
    json_t *index;                /* place of each name */
    struct str pattern[PATTERNS]; /* of patternProperties, each once */
    struct lang *pattern_lang[PATTERNS];
    size_t n_patterns;
    struct parts names; /* propertyNames */
    struct expr *extra; /* one further property, or NULL */
    int64_t min, max;
};

static struct expr *lit(struct schema *sc, struct str s) {
    return build_lit(sc->b, s);
}

static struct property *add_name(struct schema *sc, struct object *o, struct str name) {
    const json_t *known = json_object_get(o->index, name.p);
    if (known) return &o->property[json_integer_value(known)];
    void *grown = o->property;
    if (o->n == PROPERTIES) {
        err_set(sc->e, ERR_LIMIT, "schema at %.300s: more than %d properties", o->p->p[0].path,
                PROPERTIES);
        return NULL;
    }
    if (json_object_set_new(o->index, name.p, json_integer((json_int_t)o->n)) != 0 ||
        !mem_grow(&grown, &o->cap, o->n + 1, sizeof *o->property))
        return NULL;
    o->property = grown;
    o->property[o->n] = (struct property){.name = name};
    return &o->property[o->n++];
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct property *)a)->name.p, ((const struct property *)b)->name.p);
}

static bool collect_names(struct schema *sc, struct object *o) {
    for (size_t i = 0; i < o->p->n; i++) {
        json_t *all = json_object_get(o->p->p[i].s, "properties");
        for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at))
            if (!add_name(sc, o, str_of(json_object_iter_key(at)))) return false;
    }
    for (size_t i = 0; i < o->p->n; i++) {
        const json_t *list = json_object_get(o->p->p[i].s, "required");
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *v = json_array_get(list, k);
            if (!json_is_string(v)) continue;
            struct str name = {json_string_value(v), json_string_length(v)};
            struct property *p = add_name(sc, o, name);
            if (!p) return false;
            p->required = true;
        }
    }
    if (sc->style.sorted && o->n) qsort(o->property, o->n, sizeof *o->property, by_name);
    return true;
}

static bool collect_patterns(struct schema *sc, struct object *o) {
    for (size_t i = 0; i < o->p->n; i++) {
        const struct part *part = &o->p->p[i];
        json_t *all = json_object_get(part->s, "patternProperties");
        for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
            struct str pattern = str_of(json_object_iter_key(at));
            size_t k = 0;
            while (k < o->n_patterns && !str_eq(o->pattern[k], pattern)) k++;
            if (k < o->n_patterns) continue;
            struct lang *l = NULL;
            if (k == PATTERNS) {
                if (!schema_unsupported(sc, part->path, "more than 4 patternProperties"))
                    return false;
            } else {
                l = schema_pattern(sc, pattern, schema_path(sc, part->path, "patternProperties"));
            }
            if (sc->failed) return false;
            if (!l) continue;
            o->pattern[k] = pattern;
            o->pattern_lang[o->n_patterns++] = l;
        }
    }
    return true;
}

/* Are some of a part's patterns among those that we gave up? Then nothing can be said of names
 * that it does not list. */
static bool lost_patterns(const struct object *o, const json_t *s) {
    json_t *all = json_object_get(s, "patternProperties");
    for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
        size_t k = 0;
        while (k < o->n_patterns && !str_is(o->pattern[k], json_object_iter_key(at))) k++;
        if (k == o->n_patterns) return true;
    }
    return false;
}

/* What a property has to satisfy: `name` if it is listed anywhere, and the patterns in `match`
 * (bit k: pattern k). */
static bool view(struct schema *sc, const struct object *o, const char *name, unsigned match,
                 struct parts *out) {
    out->n = 0;
    for (size_t i = 0; i < o->p->n; i++) {
        const struct part *part = &o->p->p[i];
        const json_t *listed =
            name ? json_object_get(json_object_get(part->s, "properties"), name) : NULL;
        const json_t *patterns = json_object_get(part->s, "patternProperties");
        bool any = listed != NULL;
        if (listed && !parts_add(sc, out, listed,
                                 schema_path(sc, schema_path(sc, part->path, "properties"), name)))
            return false;
        for (size_t k = 0; k < o->n_patterns; k++) {
            const json_t *s = patterns ? json_object_get(patterns, o->pattern[k].p) : NULL;
            if (!s || !(match >> k & 1)) continue;
            any = true;
            if (!parts_add(sc, out, s, schema_path(sc, part->path, "patternProperties")))
                return false;
        }
        const json_t *other = json_object_get(part->s, "additionalProperties");
        if (any || !other || lost_patterns(o, part->s)) continue;
        if (!parts_add(sc, out, other, schema_path(sc, part->path, "additionalProperties")))
            return false;
    }
    return true;
}

static bool forbidden(const struct parts *p) {
    for (size_t i = 0; i < p->n; i++)
        if (json_is_false(p->p[i].s)) return true;
    return false;
}

/* ---- key and value ---- */

/* A value between tags: text as it stands, or a value of the syntax at hand; then the end. */
static struct expr *tagged_value(struct schema *sc, const struct parts *given, bool string) {
    const struct tag_style *t = sc->style.tags;
    struct parts p = *given;
    const char *path = p.n ? p.p[0].path : "";
    if (!parts_add(sc, &p, string ? sc->only_string : sc->no_string, path)) return NULL;
    struct expr *x = schema_value(sc, &p);
    return string && t->raw_strings ? x : BUILD_SEQ(sc->b, x, lit(sc, t->value_end));
}

static struct expr *tagged_pair(struct schema *sc, struct expr *name, const struct parts *p) {
    const struct tag_style *t = sc->style.tags;
    struct build *b = sc->b;
    struct str close = t->key_close_string.len ? t->key_close_string : t->key_close;
    if (!t->raw_strings && !t->key_close_string.len)
        return BUILD_SEQ(b, lit(sc, t->key_open), name, lit(sc, t->key_close), schema_value(sc, p),
                         lit(sc, t->value_end));
    struct expr *text = BUILD_SEQ(b, lit(sc, close), tagged_value(sc, p, true));
    struct expr *other = BUILD_SEQ(b, lit(sc, t->key_close), tagged_value(sc, p, false));
    return BUILD_SEQ(b, lit(sc, t->key_open), name, BUILD_ALT(b, text, other));
}

static struct expr *pair(struct schema *sc, struct str name, const struct parts *p, bool tagged) {
    if (tagged) return tagged_pair(sc, lit(sc, name), p);
    return BUILD_SEQ(sc->b, text_key(sc, name), text_key_separator(sc), schema_value(sc, p));
}

static bool name_allowed(struct schema *sc, const struct object *o, struct str name) {
    json_t *v = json_stringn(name.p, name.len);
    bool ok = v != NULL;
    for (size_t i = 0; i < o->names.n && ok; i++) ok = schema_check(sc, v, o->names.p[i].s, 0);
    json_decref(v);
    return ok;
}

static bool build_pairs(struct schema *sc, struct object *o, bool tagged, bool *possible) {
    if (o->n && !schema_room(sc, o->p->p[0].path, o->n * PAIR_STATES)) return false;
    for (size_t i = 0; i < o->n; i++) {
        struct property *p = &o->property[i];
        unsigned match = 0;
        for (size_t k = 0; k < o->n_patterns; k++)
            if (lang_match(o->pattern_lang[k], p->name)) match |= 1u << k;
        struct parts v;
        if (!view(sc, o, p->name.p, match, &v)) return false;
        if (forbidden(&v) || !name_allowed(sc, o, p->name)) {
            *possible = *possible && !p->required;
            continue;
        }
        p->pair = pair(sc, p->name, &v, tagged);
        if (!p->pair) return false;
    }
    return true;
}

/* ---- properties that are not listed ---- */

/* Names in tags and unquoted keys. */
static struct lang *plain_names(struct lang *l) {
    struct build *b = build_new(NULL);
    struct expr *x = b ? build_regex(b, STR("[A-Za-z0-9_.$-]+"), false, NULL) : NULL;
    struct lang *plain = x ? lang_from_expr(x, NULL) : NULL;
    struct lang *both = plain && l ? lang_combine(l, plain, LANG_AND) : NULL;
    build_free(b);
    lang_free(plain);
    lang_free(l);
    return both;
}

/* Unlisted names that match exactly the patterns of `match`. *none: there are none. */
static struct lang *extra_names(struct schema *sc, const struct object *o, unsigned match,
                                bool *none) {
    struct str *name = mem_array(o->n + 1, sizeof *name);
    if (!name) return NULL;
    for (size_t i = 0; i < o->n; i++) name[i] = o->property[i].name;
    struct lang *l = lang_not_names(name, o->n);
    mem_free(name);
    if (!l || lang_size(l) > NAMES_STATES) {
        lang_free(l);
        l = lang_utf8();
        if (!schema_unsupported(sc, o->p->p[0].path,
                                "telling other names from so many listed ones"))
            sc->failed = true;
    }
    for (size_t k = 0; k < o->n_patterns && l; k++) {
        struct lang *next =
            lang_combine(l, o->pattern_lang[k], match >> k & 1 ? LANG_AND : LANG_AND_NOT);
        lang_free(l);
        l = next;
    }
    if (l && o->names.n) l = schema_string_lang(sc, &o->names, l, none);
    if (l && lang_is_empty(l)) *none = true;
    return l;
}

static struct expr *extra_pair(struct schema *sc, const struct object *o, unsigned match,
                               bool tagged) {
    struct parts v;
    if (!view(sc, o, NULL, match, &v)) return NULL;
    if (forbidden(&v)) return build_never(sc->b);
    bool none = false, simple = o->n == 0 && o->n_patterns == 0 && o->names.n == 0;
    bool plain = tagged || sc->style.syntax == VALUE_GEMMA;
    struct lang *l = simple && !plain ? NULL : extra_names(sc, o, match, &none);
    if (l && plain) l = plain_names(l);
    if (none || sc->failed) {
        lang_free(l);
        return sc->failed ? NULL : build_never(sc->b);
    }
    if (tagged) return tagged_pair(sc, build_lang(sc->b, l, NULL, NULL), &v);
    struct expr *key = simple && !plain ? text_string(sc)
                       : plain          ? build_lang(sc->b, l, NULL, NULL)
                                        : text_string_of(sc, l, 0, -1);
    return BUILD_SEQ(sc->b, key, text_key_separator(sc), schema_value(sc, &v));
}

/* Which patterns a name matches divides the names into classes. */
static bool build_extra(struct schema *sc, struct object *o, bool tagged) {
    struct expr *alt = build_alt(sc->b);
    for (unsigned match = 0; match < 1u << o->n_patterns; match++) {
        struct expr *x = extra_pair(sc, o, match, tagged);
        if (!x) return false;
        bool never = x->kind == EXPR_ALT && x->u.list.n == 0;
        if (!never && !build_push(sc->b, alt, x)) return false;
    }
    if (alt && alt->u.list.n == 1) o->extra = alt->u.list.item[0];
    else if (alt && alt->u.list.n > 1) o->extra = alt;
    return alt != NULL;
}

/* ---- the graph ---- */

static void count_bounds(struct object *o) {
    int64_t n_required = 0, n_possible = 0;
    o->min = 0;
    o->max = -1;
    for (size_t i = 0; i < o->p->n; i++) {
        int64_t x;
        if (schema_count(o->p->p[i].s, "minProperties", &x) && x > o->min) o->min = x;
        if (schema_count(o->p->p[i].s, "maxProperties", &x) && (o->max < 0 || x < o->max))
            o->max = x;
    }
    for (size_t i = 0; i < o->n; i++) {
        n_required += o->property[i].required;
        n_possible += o->property[i].pair != NULL;
    }
    if (n_required >= o->min) o->min = 0;
    if (!o->extra && o->max >= n_possible) o->max = -1;
}

struct writer {
    struct schema *sc;
    struct object *o;
    bool tagged;
    int64_t cap; /* counts above are the same as this one */
    struct expr *separator, *space;
    int *rule; /* of the rest of the object from CHUNK * i properties on, k written; -1: not yet */
    /* the chunk at hand */
    size_t from, to;
    int *label, end;
};

static int place(const struct writer *w, size_t i, int64_t k) {
    return w->label[(i - w->from) * (size_t)(w->cap + 1) + (size_t)k];
}

static struct expr *jump(struct writer *w, size_t i, int64_t k) {
    return build_goto(w->sc->b, place(w, i, k));
}

/* Property i with k written before it. */
static struct expr *property_step(struct writer *w, size_t i, int64_t k) {
    struct build *b = w->sc->b;
    const struct property *p = &w->o->property[i];
    int64_t next = k < w->cap ? k + 1 : k;
    bool full = w->o->max >= 0 && k >= w->o->max;
    struct expr *alt = build_alt(b);
    if (p->pair && !full)
        build_push(b, alt,
                   k ? BUILD_SEQ(b, w->separator, p->pair, jump(w, i + 1, next))
                     : BUILD_SEQ(b, p->pair, jump(w, i + 1, next)));
    if (!p->required) build_push(b, alt, jump(w, i + 1, k));
    return BUILD_SEQ(b, build_label(b, place(w, i, k)), alt);
}

/* Behind the listed properties, k written. */
static struct expr *extra_step(struct writer *w, int64_t k) {
    struct build *b = w->sc->b;
    struct object *o = w->o;
    struct expr *leave = build_goto(b, w->end), *alt = build_alt(b);
    struct expr *label = build_label(b, place(w, o->n, k));
    int64_t least = o->min > k ? o->min - k : 0, most = o->max < 0 ? BUILD_MANY : o->max - k;
    if (least == 0) build_push(b, alt, k ? BUILD_SEQ(b, w->space, leave) : leave);
    if (o->extra && most != 0) {
        struct expr *more = BUILD_SEQ(b, w->separator, o->extra);
        int64_t least_more = least > 1 ? least - 1 : 0, most_more = most < 0 ? most : most - 1;
        struct expr *rest = build_repeat(b, more, least_more, most_more);
        build_push(b, alt, BUILD_SEQ(b, k ? more : o->extra, rest, w->space, leave));
    }
    return BUILD_SEQ(b, label, alt);
}

static int rest_rule(struct writer *w, size_t i, int64_t k);

static struct expr *step(struct writer *w, size_t i, int64_t k) {
    if (i < w->to) return property_step(w, i, k);
    if (i == w->o->n) return extra_step(w, k);
    struct build *b = w->sc->b;
    return BUILD_SEQ(b, build_label(b, place(w, i, k)), build_call(b, rest_rule(w, i, k)),
                     build_goto(b, w->end));
}

/* The graph of one chunk, entered at its first property with k written. */
static struct expr *chunk(struct writer *w, size_t from, int64_t k) {
    struct build *b = w->sc->b;
    struct writer outer = *w;
    size_t n = w->o->n, width = (size_t)(w->cap + 1);
    w->from = from;
    w->to = n > ONE_RULE && n - from > CHUNK ? from + CHUNK : n;
    w->label = arena_alloc(&b->arena, (w->to - from + 1) * width * sizeof *w->label);
    if (!w->label) return NULL;
    for (size_t i = 0; i < (w->to - from + 1) * width; i++) w->label[i] = build_label_new(b);
    w->end = build_label_new(b);
    struct expr *seq = build_seq(b);
    bool ok = build_push(b, seq, jump(w, from, k));
    for (size_t i = from; i <= w->to; i++)
        for (int64_t c = k; c <= w->cap && c <= k + (int64_t)(i - from) && ok; c++)
            ok = build_push(b, seq, step(w, i, c));
    ok = ok && build_push(b, seq, build_label(b, w->end));
    *w = outer;
    return ok ? seq : NULL;
}

static int rest_rule(struct writer *w, size_t i, int64_t k) {
    int *rule = &w->rule[i / CHUNK * (size_t)(w->cap + 1) + (size_t)k];
    if (*rule < 0) {
        *rule = build_rule(w->sc->b, NULL, -1);
        if (*rule >= 0) build_define(w->sc->b, *rule, chunk(w, i, k));
    }
    return *rule;
}

static struct expr *write_object(struct writer *w) {
    struct schema *sc = w->sc;
    const struct tag_style *t = sc->style.tags;
    size_t n_rules = (w->o->n / CHUNK + 1) * (size_t)(w->cap + 1);
    w->rule = mem_array(n_rules, sizeof *w->rule);
    if (!w->rule) return NULL;
    for (size_t i = 0; i < n_rules; i++) w->rule[i] = -1;
    struct expr *open = lit(sc, w->tagged ? t->open : STR("{"));
    struct expr *close = lit(sc, w->tagged ? t->close : STR("}"));
    struct expr *x = BUILD_SEQ(sc->b, open, w->space, chunk(w, 0, 0), close);
    mem_free(w->rule);
    return x;
}

static struct expr *object_of(struct schema *sc, struct object *o, bool tagged) {
    bool possible = true;
    for (size_t i = 0; i < o->p->n; i++) {
        const json_t *names = json_object_get(o->p->p[i].s, "propertyNames");
        if (names && !json_is_true(names) &&
            !parts_add(sc, &o->names, names, schema_path(sc, o->p->p[i].path, "propertyNames")))
            return NULL;
    }
    if (!collect_names(sc, o) || !collect_patterns(sc, o) || !build_pairs(sc, o, tagged, &possible))
        return NULL;
    if (!possible) return build_never(sc->b);
    if (!build_extra(sc, o, tagged)) return NULL;
    count_bounds(o);
    struct writer w = {.sc = sc, .o = o, .tagged = tagged, .cap = 1};
    if (o->min > w.cap) w.cap = o->min;
    if (o->max > w.cap) w.cap = o->max;
    if (w.cap > (int64_t)o->n + 1) w.cap = (int64_t)o->n + 1; /* more are counted at run time */
    if (w.cap > 1 && (size_t)w.cap * o->n > PLACES) {
        if (!schema_unsupported(sc, o->p->p[0].path, "minProperties or maxProperties of this size"))
            return NULL;
        o->min = 0;
        o->max = -1;
        w.cap = 1;
    }
    w.separator = tagged ? lit(sc, sc->style.tags->item) : text_item_separator(sc);
    w.space = tagged ? build_empty(sc->b) : text_space(sc);
    return write_object(&w);
}

struct expr *schema_object(struct schema *sc, const struct parts *p) {
    struct object o = {.p = p, .index = json_object()};
    bool tagged = sc->tagged;
    sc->tagged = false; /* only the outermost object */
    struct expr *x = o.index ? object_of(sc, &o, tagged) : NULL;
    json_decref(o.index);
    for (size_t k = 0; k < o.n_patterns; k++) lang_free(o.pattern_lang[k]);
    mem_free(o.property);
    return x;
}

/* ---- arrays ---- */

static const json_t *prefix_of(const json_t *s) {
    const json_t *list = json_object_get(s, "prefixItems");
    if (!list) list = json_object_get(s, "items"); /* before 2020 */
    return json_is_array(list) ? list : NULL;
}

/* What item i has to satisfy; SIZE_MAX: those behind all prefixes. */
static bool item_view(struct schema *sc, const struct parts *p, size_t i, struct parts *out) {
    out->n = 0;
    for (size_t k = 0; k < p->n; k++) {
        const json_t *s = p->p[k].s, *list = prefix_of(s), *rest = json_object_get(s, "items");
        if (json_is_array(rest)) rest = json_object_get(s, "additionalItems");
        const json_t *item = i < json_array_size(list) ? json_array_get(list, i) : rest;
        if (item && !parts_add(sc, out, item, schema_path(sc, p->p[k].path, "items"))) return false;
    }
    return true;
}

struct items {
    size_t n_prefix;
    int64_t min, max;
    bool rest_forbidden;
};

static bool array_bounds(struct schema *sc, const struct parts *p, struct items *a) {
    struct parts v;
    *a = (struct items){.max = -1};
    for (size_t k = 0; k < p->n; k++) {
        int64_t x;
        size_t n = json_array_size(prefix_of(p->p[k].s));
        if (n > a->n_prefix) a->n_prefix = n;
        if (schema_count(p->p[k].s, "minItems", &x) && x > a->min) a->min = x;
        if (schema_count(p->p[k].s, "maxItems", &x) && (a->max < 0 || x < a->max)) a->max = x;
    }
    for (size_t i = 0; i <= a->n_prefix; i++) {
        if (!item_view(sc, p, i < a->n_prefix ? i : SIZE_MAX, &v)) return false;
        if (forbidden(&v) && (a->max < 0 || (int64_t)i < a->max)) a->max = (int64_t)i;
    }
    return true;
}

struct expr *schema_array(struct schema *sc, const struct parts *p) {
    struct build *b = sc->b;
    struct items a;
    if (!array_bounds(sc, p, &a)) return NULL;
    if (a.max >= 0 && a.min > a.max) return build_never(b);
    struct parts v;
    int end = build_label_new(b);
    struct expr *seq = build_seq(b), *space = text_space(sc), *separator = text_item_separator(sc);
    build_push(b, seq, lit(sc, STR("[")));
    build_push(b, seq, space);
    size_t n = a.max >= 0 && (size_t)a.max < a.n_prefix ? (size_t)a.max : a.n_prefix;
    for (size_t i = 0; i < n; i++) {
        if (!item_view(sc, p, i, &v)) return NULL;
        struct expr *item = schema_value(sc, &v), *leave = build_goto(b, end);
        if (i) leave = BUILD_SEQ(b, space, leave);
        if (i) item = BUILD_SEQ(b, separator, item);
        if ((int64_t)i >= a.min) item = BUILD_ALT(b, leave, item);
        if (!build_push(b, seq, item)) return NULL;
    }
    if (a.max < 0 || a.max > (int64_t)n) {
        if (!item_view(sc, p, SIZE_MAX, &v)) return NULL;
        struct expr *item = schema_value(sc, &v), *more = BUILD_SEQ(b, separator, item);
        int64_t done = n ? (int64_t)n : 1, least = a.min > done ? a.min - done : 0;
        struct expr *rest = build_repeat(b, more, least, a.max < 0 ? BUILD_MANY : a.max - done);
        if (n == 0) rest = BUILD_SEQ(b, item, rest, space);
        if (n == 0 && a.min == 0) rest = build_opt(b, rest);
        if (!build_push(b, seq, n ? BUILD_SEQ(b, rest, space) : rest)) return NULL;
    } else if (n) {
        build_push(b, seq, space);
    }
    build_push(b, seq, build_label(b, end));
    return build_push(b, seq, lit(sc, STR("]"))) ? seq : NULL;
}
