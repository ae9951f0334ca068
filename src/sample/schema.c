/* JSON Schema: resolves references, multiplies out the alternatives, and hands each list of parts
 * to the files for its types. Decides what is supported; nothing is dropped without a note.
 * Called through grammar_from_schema and build_schema. */
#include "sample/schema.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sample/expr.h"
#include "sample/grammar.h"

#include <stdlib.h>
#include <string.h>

enum { DISJOINT_VALUES = 256, SCALAR_TEXT = 300 };
enum support { ANNOTATION, SUPPORTED, IF_TRUE, UNSUPPORTED };

static const struct keyword {
    const char *name;
    enum support support; /* IF_TRUE: only the value true is unsupported */
} keywords[] = {
    {"type", SUPPORTED},
    {"enum", SUPPORTED},
    {"const", SUPPORTED},
    {"properties", SUPPORTED},
    {"required", SUPPORTED},
    {"additionalProperties", SUPPORTED},
    {"patternProperties", SUPPORTED},
    {"minProperties", SUPPORTED},
    {"maxProperties", SUPPORTED},
    {"propertyNames", SUPPORTED},
    {"items", SUPPORTED},
    {"prefixItems", SUPPORTED},
    {"additionalItems", SUPPORTED},
    {"minItems", SUPPORTED},
    {"maxItems", SUPPORTED},
    {"pattern", SUPPORTED},
    {"format", SUPPORTED},
    {"minLength", SUPPORTED},
    {"maxLength", SUPPORTED},
    {"minimum", SUPPORTED},
    {"maximum", SUPPORTED},
    {"exclusiveMinimum", SUPPORTED},
    {"exclusiveMaximum", SUPPORTED},
    {"multipleOf", SUPPORTED},
    {"anyOf", SUPPORTED},
    {"oneOf", SUPPORTED},
    {"allOf", SUPPORTED},
    {"$ref", SUPPORTED},
    {"$defs", SUPPORTED},
    {"definitions", SUPPORTED},
    {"nullable", SUPPORTED},
    {"uniqueItems", IF_TRUE},
    {"not", UNSUPPORTED},
    {"if", UNSUPPORTED},
    {"dependentRequired", UNSUPPORTED},
    {"dependentSchemas", UNSUPPORTED},
    {"dependencies", UNSUPPORTED},
    {"contains", UNSUPPORTED},
    {"unevaluatedItems", UNSUPPORTED},
    {"unevaluatedProperties", UNSUPPORTED},
    {"$dynamicRef", UNSUPPORTED},
    {"$recursiveRef", UNSUPPORTED},
    {"then", ANNOTATION}, /* nothing without "if" */
    {"else", ANNOTATION},
    {"minContains", ANNOTATION}, /* nothing without "contains" */
    {"maxContains", ANNOTATION},
    {"title", ANNOTATION},
    {"description", ANNOTATION},
    {"default", ANNOTATION},
    {"example", ANNOTATION},
    {"examples", ANNOTATION},
    {"deprecated", ANNOTATION},
    {"readOnly", ANNOTATION},
    {"writeOnly", ANNOTATION},
    {"contentEncoding", ANNOTATION},
    {"contentMediaType", ANNOTATION},
    {"contentSchema", ANNOTATION},
    {"discriminator", ANNOTATION},
    {"markdownDescription", ANNOTATION},
    {"enumDescriptions", ANNOTATION},
    {"enumNames", ANNOTATION},
    {"$schema", ANNOTATION},
    {"$id", ANNOTATION},
    {"id", ANNOTATION},
    {"$anchor", ANNOTATION},
    {"$dynamicAnchor", ANNOTATION},
    {"$recursiveAnchor", ANNOTATION},
    {"$comment", ANNOTATION},
    {"$vocabulary", ANNOTATION},
};

static struct expr *expand(struct schema *sc, const struct parts *todo, struct parts done,
                           struct expr *alt, int *left);

static void note(struct schema *sc, const char *path, const char *what) {
    if (!sc->notes || sc->n_notes > SCHEMA_NOTES) return;
    if (sc->n_notes++ < SCHEMA_NOTES)
        buf_printf(sc->notes, "schema at %s: %s\n", *path ? path : "/", what);
    else buf_cstr(sc->notes, "and further places of the schema\n");
}

bool schema_unsupported(struct schema *sc, const char *path, const char *what) {
    if (sc->strict)
        return err_set(sc->e, ERR_UNSUPPORTED, "schema at %s: %s is not supported",
                       *path ? path : "/", what);
    char text[700];
    snprintf(text, sizeof text, "%s is not supported; anything is allowed there", what);
    note(sc, path, text);
    return true;
}

bool schema_room(struct schema *sc, const char *path, size_t n) {
    if (sc->b->spent + n <= BUILD_STATES && lang_work() > 0) return true;
    return err_set(sc->e, ERR_LIMIT, "schema at %.300s: the schema as a whole is too large",
                   *path ? path : "/");
}

const char *schema_path(struct schema *sc, const char *path, const char *key) {
    size_t n = strlen(path), m = strlen(key);
    if (n > 300) return path;
    char *p = arena_alloc(&sc->b->arena, n + m + 2);
    if (!p) return "";
    memcpy(p, path, n);
    p[n] = '/';
    memcpy(p + n + 1, key, m + 1);
    return p;
}

static const char *index_path(struct schema *sc, const char *path, const char *key, size_t i) {
    char text[64];
    snprintf(text, sizeof text, "%.40s/%zu", key, i);
    return schema_path(sc, path, text);
}

static bool too_large(struct schema *sc, const char *path) {
    return err_set(sc->e, ERR_LIMIT, "schema at %s: too many schemas apply at one place",
                   *path ? path : "/");
}

bool parts_add(struct schema *sc, struct parts *to, const json_t *s, const char *path) {
    for (size_t i = 0; i < to->n; i++)
        if (to->p[i].s == s) return true;
    if (to->n == PARTS) return too_large(sc, path);
    to->p[to->n++] = (struct part){s, path};
    return true;
}

/* Every keyword is either supported, an annotation, or complained about; once per schema. */
static bool check_keywords(struct schema *sc, const struct part *p) {
    for (size_t i = 0; i < sc->n_checked; i++)
        if (sc->checked[i] == p->s) return true;
    void *grown = sc->checked;
    if (!mem_grow(&grown, &sc->cap_checked, sc->n_checked + 1, sizeof *sc->checked))
        return err_nomem(sc->e, "a schema", sc->n_checked);
    sc->checked = grown;
    sc->checked[sc->n_checked++] = p->s;
    json_t *s = schema_json(p->s);
    for (void *at = json_object_iter(s); at; at = json_object_iter_next(s, at)) {
        const char *key = json_object_iter_key(at);
        size_t i = 0, n = sizeof keywords / sizeof *keywords;
        while (i < n && strcmp(keywords[i].name, key) != 0) i++;
        bool fine =
            i < n ? keywords[i].support <= SUPPORTED || (keywords[i].support == IF_TRUE &&
                                                         !json_is_true(json_object_iter_value(at)))
                  : strncmp(key, "x-", 2) == 0;
        char what[100];
        snprintf(what, sizeof what, "the keyword '%.60s'", key);
        if (!fine && !schema_unsupported(sc, p->path, what)) return false;
    }
    return true;
}

/* The schema with this $anchor ("#name") or $id. */
static const json_t *find_named(const json_t *s, struct str name, int depth) {
    if (depth > LIMIT_SCHEMA_DEPTH) return NULL;
    struct str anchor = {name.p + 1, name.len - 1};
    if (json_is_object(s) &&
        (str_eq(json_get_str(s, "$id"), name) ||
         (name.p[0] == '#' && (str_eq(json_get_str(s, "$anchor"), anchor) ||
                               str_eq(json_get_str(s, "$dynamicAnchor"), anchor)))))
        return s;
    const json_t *found = NULL;
    if (json_is_object(s)) {
        json_t *o = schema_json(s);
        for (void *at = json_object_iter(o); at && !found; at = json_object_iter_next(o, at))
            found = find_named(json_object_iter_value(at), name, depth + 1);
    }
    for (size_t i = 0; i < json_array_size(s) && !found; i++)
        found = find_named(json_array_get(s, i), name, depth + 1);
    return found;
}

static int hex_digit(int c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* One step of a JSON pointer: ~0 ~1 and %XX undone. */
static bool pointer_step(struct str ref, size_t *at, struct buf *out) {
    buf_clear(out);
    for (; *at < ref.len && ref.p[*at] != '/'; ++*at) {
        char c = ref.p[*at];
        if (c == '%' && *at + 2 < ref.len + 0 && hex_digit(ref.p[*at + 1]) >= 0) {
            c = (char)(hex_digit(ref.p[*at + 1]) * 16 + hex_digit(ref.p[*at + 2]));
            *at += 2;
        }
        if (c == '~' && *at + 1 < ref.len) {
            c = ref.p[*at + 1] == '1' ? '/' : '~';
            ++*at;
        }
        if (!buf_char(out, c)) return false;
    }
    return buf_add(out, "", 0);
}

const json_t *schema_ref(const struct schema *sc, struct str ref) {
    struct str id = json_get_str(sc->root, "$id");
    if (id.len && str_starts(ref, id) && (ref.len == id.len || ref.p[id.len] == '#'))
        ref = (struct str){ref.p + id.len, ref.len - id.len};
    if (ref.len == 0 || str_is(ref, "#")) return sc->root;
    if (!str_starts(ref, STR("#/"))) return find_named(sc->root, ref, 0);
    const json_t *s = sc->root;
    struct buf step = {0};
    for (size_t at = 1; s && at < ref.len;) {
        at++;
        if (!pointer_step(ref, &at, &step)) s = NULL;
        else if (json_is_array(s)) s = json_array_get(s, (size_t)strtoul(step.p, NULL, 10));
        else s = json_object_get(s, step.p);
    }
    buf_free(&step);
    return s;
}

static int type_bit(struct str t) {
    static const struct {
        const char *name;
        int bit;
    } table[] = {{"null", TYPE_NULL},       {"boolean", TYPE_BOOLEAN},
                 {"integer", TYPE_INTEGER}, {"number", TYPE_INTEGER | TYPE_FRACTION},
                 {"string", TYPE_STRING},   {"array", TYPE_ARRAY},
                 {"object", TYPE_OBJECT},   {"any", TYPE_ALL}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (str_is(t, table[i].name)) return table[i].bit;
    return 0;
}

static struct str text_of(const json_t *v) {
    return json_is_string(v) ? (struct str){json_string_value(v), json_string_length(v)}
                             : (struct str){0};
}

int schema_types(const json_t *s) {
    const json_t *type = json_object_get(s, "type");
    int mask = type ? type_bit(text_of(type)) : TYPE_ALL;
    for (size_t i = 0; i < json_array_size(type); i++)
        mask |= type_bit(text_of(json_array_get(type, i)));
    return json_is_true(json_object_get(s, "nullable")) ? mask | TYPE_NULL : mask;
}

/* Names of types that we do not know. */
static bool check_type(struct schema *sc, const struct part *p) {
    const json_t *type = json_object_get(p->s, "type");
    if (!type || schema_types(p->s)) return true;
    return schema_unsupported(sc, p->path, "the value of 'type'");
}

/* ---- one list of parts without alternatives left in it ---- */

bool schema_is_raw(const struct schema *sc, const struct parts *p) {
    bool picked = false;
    for (size_t i = 0; i < p->n; i++) picked = picked || p->p[i].s == sc->only_string;
    return picked && sc->style.tags && sc->style.tags->raw_strings;
}

static struct expr *constant(struct schema *sc, const struct parts *p, const json_t *v) {
    if (!json_is_string(v) || !schema_is_raw(sc, p)) return text_value(sc, v);
    return BUILD_SEQ(sc->b, build_lit(sc->b, text_of(v)),
                     build_lit(sc->b, sc->style.tags->value_end));
}

static const json_t *enum_of(const json_t *s, json_t **made) {
    *made = NULL;
    const json_t *v = json_object_get(s, "const");
    if (v) {
        *made = json_array();
        if (*made) json_array_append(*made, schema_json(v));
        return *made;
    }
    v = json_object_get(s, "enum");
    return json_is_array(v) ? v : NULL;
}

/* The values of the first enum or const that satisfy everything else as well. NULL with *is_enum
 * false: there is no enum. */
static struct expr *enum_values(struct schema *sc, const struct parts *p, bool *is_enum) {
    *is_enum = false;
    for (size_t i = 0; i < p->n; i++) {
        json_t *made;
        const json_t *values = enum_of(p->p[i].s, &made);
        if (!values) continue;
        *is_enum = true;
        struct expr *alt = build_alt(sc->b);
        sc->listed = p->p[i].s;
        for (size_t k = 0; k < json_array_size(values) && alt; k++) {
            const json_t *v = json_array_get(values, k);
            bool ok = true;
            for (size_t m = 0; m < p->n && ok; m++) ok = schema_check_own(sc, v, p->p[m].s, 0);
            if (ok) build_push(sc->b, alt, constant(sc, p, v));
            if (!schema_room(sc, p->p[i].path, 0)) alt = NULL;
        }
        sc->listed = NULL;
        json_decref(made);
        return alt;
    }
    return NULL;
}

static bool mentions(const struct parts *p, const char *const *key) {
    for (size_t i = 0; i < p->n; i++)
        for (const char *const *k = key; *k; k++)
            if (json_object_get(p->p[i].s, *k)) return true;
    return false;
}

static struct expr *of_type(struct schema *sc, const struct parts *p, int type) {
    switch (type) {
    case TYPE_NULL:
        return text_value(sc, json_null());
    case TYPE_BOOLEAN:
        return BUILD_ALT(sc->b, text_value(sc, json_true()), text_value(sc, json_false()));
    case TYPE_STRING:
        return schema_string(sc, p);
    case TYPE_ARRAY:
        return schema_array(sc, p);
    case TYPE_OBJECT:
        return schema_object(sc, p);
    default:
        return NULL;
    }
}

static struct expr *leaf(struct schema *sc, const struct parts *p) {
    static const char *const constraints[] = {"properties",
                                              "required",
                                              "additionalProperties",
                                              "patternProperties",
                                              "minProperties",
                                              "maxProperties",
                                              "propertyNames",
                                              "items",
                                              "prefixItems",
                                              "minItems",
                                              "maxItems",
                                              "pattern",
                                              "format",
                                              "minLength",
                                              "maxLength",
                                              "minimum",
                                              "maximum",
                                              "exclusiveMinimum",
                                              "exclusiveMaximum",
                                              "multipleOf",
                                              NULL};
    int types = TYPE_ALL;
    for (size_t i = 0; i < p->n; i++) {
        if (!check_type(sc, &p->p[i])) return NULL;
        int t = schema_types(p->p[i].s);
        types &= t ? t : TYPE_ALL;
    }
    bool is_enum;
    struct expr *values = enum_values(sc, p, &is_enum);
    if (is_enum) return values;
    if (types == TYPE_ALL && !sc->tagged && !mentions(p, constraints)) return text_any(sc);
    struct expr *alt = build_alt(sc->b);
    if (types & (TYPE_INTEGER | TYPE_FRACTION)) {
        struct expr *x = schema_number(sc, p, !(types & TYPE_FRACTION));
        if (!x || !build_push(sc->b, alt, x)) return NULL;
    }
    for (int t = 1; t <= TYPE_OBJECT; t *= 2) {
        if (!(types & t) || t == TYPE_INTEGER || t == TYPE_FRACTION) continue;
        struct expr *x = of_type(sc, p, t);
        if (!x || !build_push(sc->b, alt, x)) return NULL;
    }
    return alt && alt->u.list.n == 1 ? alt->u.list.item[0] : alt;
}

/* ---- scalars that are alike ---- */

/* Nothing is left to say for annotations, and for what the list of parts comes from. */
static bool says_more(const char *key) {
    static const char *const done[] = {"anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions"};
    for (size_t i = 0; i < sizeof done / sizeof *done; i++)
        if (strcmp(done[i], key) == 0) return false;
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(keywords[i].name, key) == 0) return keywords[i].support != ANNOTATION;
    return true;
}

/* Appends what a schema says; false: more than a scalar's, or a large one. */
static bool scalar_text(const json_t *s, struct buf *out) {
    static const char *const plain[] = {"type",      "enum",      "const",      "pattern",
                                        "format",    "minimum",   "maximum",    "exclusiveMinimum",
                                        "minLength", "maxLength", "multipleOf", "exclusiveMaximum",
                                        "nullable"};
    json_t *o = schema_json(s);
    for (void *at = json_object_iter(o); at; at = json_object_iter_next(o, at)) {
        const char *key = json_object_iter_key(at);
        size_t i = 0, n = sizeof plain / sizeof *plain;
        while (i < n && strcmp(plain[i], key) != 0) i++;
        if (i == n && !says_more(key)) continue;
        if (i == n || !buf_printf(out, "%s:", key)) return false;
        if (!json_write(out, json_object_iter_value(at)) || out->len > SCALAR_TEXT) return false;
    }
    return buf_char(out, ';');
}

/* The text by which equal scalars are recognised; empty: by their place only. */
static struct str scalar_key(struct schema *sc, const struct parts *p, struct buf *out) {
    int types = p->n ? TYPE_ALL : 0;
    for (size_t i = 0; i < p->n; i++)
        types &= json_is_object(p->p[i].s) ? schema_types(p->p[i].s) : 0;
    bool ok = types && !(types & (TYPE_OBJECT | TYPE_ARRAY)) &&
              buf_char(out, schema_is_raw(sc, p) ? 'r' : 'v');
    for (size_t i = 0; i < p->n && ok; i++) ok = scalar_text(p->p[i].s, out);
    return ok ? buf_view(out) : (struct str){0};
}

static struct expr *find_alike(const struct schema *sc, struct str key) {
    const json_t *at = key.len ? json_object_get(sc->shared.alike, key.p) : NULL;
    return at ? sc->shared.x[json_integer_value(at)] : NULL;
}

static void keep_alike(struct schema *sc, struct str key, struct expr *x) {
    struct schema_shared *h = &sc->shared;
    void *grown = h->x;
    if (!mem_grow(&grown, &h->cap, h->n + 1, sizeof *h->x)) return;
    h->x = grown;
    if (json_object_set_new(h->alike, key.p, json_integer((json_int_t)h->n)) == 0) h->x[h->n++] = x;
}

/* Small enough to stand in each place; otherwise a rule. */
static struct expr *as_rule(struct schema *sc, struct expr *x) {
    if (!x || x->kind == EXPR_CALL || (x->regular && x->size <= 24)) return x;
    int rule = build_rule(sc->b, NULL, -1);
    build_define(sc->b, rule, x);
    return build_call(sc->b, rule);
}

static struct expr *leaf_alike(struct schema *sc, const struct parts *p) {
    struct buf text = {0};
    struct str key = scalar_key(sc, p, &text);
    size_t n_notes = sc->n_notes;
    struct expr *x = find_alike(sc, key);
    if (!x) {
        x = leaf(sc, p);
        if (key.len && x && sc->n_notes == n_notes) /* otherwise each place has its note */
            keep_alike(sc, key, x = as_rule(sc, x));
    }
    buf_free(&text);
    return x;
}

/* ---- alternatives ---- */

/* Certainly no value satisfies both: different types, or different constants. */
static bool disjoint(struct schema *sc, const json_t *a, const json_t *b, int depth) {
    if (!json_is_object(a) || !json_is_object(b) || depth > 3) return false;
    const json_t *ra = json_object_get(a, "$ref"), *rb = json_object_get(b, "$ref");
    if (ra) return disjoint(sc, schema_ref(sc, text_of(ra)), b, depth + 1);
    if (rb) return disjoint(sc, a, schema_ref(sc, text_of(rb)), depth + 1);
    int both = schema_types(a) & schema_types(b);
    if (!both) return true;
    json_t *made, *other;
    const json_t *x = enum_of(a, &made), *y = enum_of(b, &other);
    bool apart = x || y;
    for (size_t i = 0; x && i < json_array_size(x); i++)
        apart = apart && !schema_check(sc, json_array_get(x, i), b, 0);
    for (size_t i = 0; !x && y && i < json_array_size(y); i++)
        apart = apart && !schema_check(sc, json_array_get(y, i), a, 0);
    json_decref(made);
    json_decref(other);
    if (apart || both != TYPE_OBJECT) return apart;
    const json_t *required = json_object_get(a, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        const json_t *pa = name ? json_object_get(json_object_get(a, "properties"), name) : NULL;
        const json_t *pb = name ? json_object_get(json_object_get(b, "properties"), name) : NULL;
        if (pa && pb && disjoint(sc, pa, pb, depth + 1)) return true;
    }
    return false;
}

static void check_one_of(struct schema *sc, const json_t *list, const char *path) {
    size_t n = json_array_size(list), values = n;
    for (size_t i = 0; i < n; i++)
        values += json_array_size(json_object_get(json_array_get(list, i), "enum"));
    bool large = values > DISJOINT_VALUES; /* every pair of values is compared */
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (large || !disjoint(sc, json_array_get(list, i), json_array_get(list, k), 0)) {
                note(sc, path, "oneOf is treated as anyOf: its branches may overlap");
                return;
            }
}

static struct expr *branches(struct schema *sc, struct part p, const char *key,
                             const struct parts *todo, const struct parts *done, struct expr *alt,
                             int *left) {
    const json_t *list = json_object_get(p.s, key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct parts next = *todo;
        const char *path = index_path(sc, p.path, key, i);
        if (next.n == PARTS) return too_large(sc, path) ? alt : NULL;
        next.p[next.n++] = (struct part){json_array_get(list, i), path};
        if (!expand(sc, &next, *done, alt, left)) return NULL;
    }
    return alt;
}

/* Does `from` apply `to` to the same value? */
static bool loops(const struct schema *sc, const json_t *from, const json_t *to, int depth) {
    if (from == to) return true;
    if (!json_is_object(from) || depth > 6) return false;
    const json_t *ref = json_object_get(from, "$ref");
    if (json_is_string(ref) && loops(sc, schema_ref(sc, text_of(ref)), to, depth + 1)) return true;
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    for (size_t k = 0; k < 3; k++) {
        const json_t *list = json_object_get(from, lists[k]);
        for (size_t i = 0; i < json_array_size(list) && i < 8; i++)
            if (loops(sc, json_array_get(list, i), to, depth + 1)) return true;
    }
    return false;
}

/* What `ref` names; NULL with *ok true: it was given up, with a note. */
static const json_t *follow(struct schema *sc, struct part p, const char *ref, bool *ok) {
    const json_t *target = schema_ref(sc, str_of(ref));
    const char *path = schema_path(sc, p.path, "$ref");
    char what[120];
    snprintf(what, sizeof what, "the reference '%.80s'", ref);
    *ok = target || schema_unsupported(sc, path, what);
    if (!target || !loops(sc, target, p.s, 0)) return target;
    *ok = schema_unsupported(sc, path, "a reference that only leads back to itself");
    return NULL;
}

/* Puts on top of todo, in their order: the target of a reference, and allOf. */
static bool flatten(struct schema *sc, struct part p, struct parts *todo) {
    const json_t *all = json_object_get(p.s, "allOf");
    const char *ref = json_string_value(json_object_get(p.s, "$ref"));
    size_t n = json_array_size(all);
    if (todo->n + n + 1 > PARTS) return too_large(sc, p.path);
    while (n-- > 0)
        todo->p[todo->n++] =
            (struct part){json_array_get(all, n), index_path(sc, p.path, "allOf", n)};
    if (!ref) return true;
    bool ok;
    const json_t *target = follow(sc, p, ref, &ok);
    if (target) todo->p[todo->n++] = (struct part){target, schema_path(sc, p.path, "$ref")};
    return ok;
}

static bool seen(const struct parts *done, const json_t *s) {
    for (size_t i = 0; i < done->n; i++)
        if (done->p[i].s == s) return true;
    return false;
}

/* Pushes onto alt what the parts in todo and done allow together. NULL: failed. */
static struct expr *expand(struct schema *sc, const struct parts *todo_given, struct parts done,
                           struct expr *alt, int *left) {
    struct parts todo = *todo_given;
    while (todo.n > 0) {
        struct part p = todo.p[--todo.n];
        if (json_is_true(p.s) || seen(&done, p.s)) continue;
        if (json_is_false(p.s)) return alt;
        if (!json_is_object(p.s)) {
            if (!schema_unsupported(sc, p.path, "a schema that is no object")) return NULL;
            continue;
        }
        if (!check_keywords(sc, &p) || !parts_add(sc, &done, p.s, p.path) || !flatten(sc, p, &todo))
            return NULL;
        const json_t *any = json_object_get(p.s, "anyOf"), *one = json_object_get(p.s, "oneOf");
        if (!any && !one) continue;
        if (one) check_one_of(sc, one, p.path);
        if (any && one) { /* the second list waits inside an allOf of its own */
            const char *path = schema_path(sc, p.path, "oneOf");
            json_t *wrap = json_pack("{sO}", "anyOf", one);
            if (json_array_append_new(sc->made, wrap) || todo.n == PARTS)
                return too_large(sc, path) ? alt : NULL;
            todo.p[todo.n++] = (struct part){wrap, path};
        }
        return branches(sc, p, any ? "anyOf" : "oneOf", &todo, &done, alt, left);
    }
    if (--*left < 0) {
        const char *path = done.n ? done.p[0].path : "";
        return err_set(sc->e, ERR_LIMIT, "schema at %s: more than %d alternatives", path,
                       ALTERNATIVES)
                   ? alt
                   : NULL;
    }
    struct expr *x = leaf_alike(sc, &done);
    return x && build_push(sc->b, alt, x) ? alt : NULL;
}

/* ---- rules ---- */

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t) * (const json_t *const *)a,
              y = (uintptr_t) * (const json_t *const *)b;
    return (x > y) - (x < y);
}

static struct known *find_known(struct schema *sc, const json_t **s, size_t n, uint32_t **slot) {
    uint64_t h = str_hash((struct str){(const char *)s, n * sizeof *s});
    *slot = &sc->bucket[h % 256];
    for (uint32_t i = **slot; i; i = sc->known[i - 1].chain) {
        struct known *k = &sc->known[i - 1];
        if (k->n == n && (n == 0 || !memcmp(k->s, s, n * sizeof *s))) return k;
    }
    return NULL;
}

/* Those of an earlier schema of the builder, if it was written in the same style. */
static bool take_shared(struct schema *sc) {
    struct schema_shared *of = &sc->b->shared;
    const struct schema_style *a = &of->style, *b = &sc->style;
    bool same = of->used && a->syntax == b->syntax && a->free == b->free &&
                a->sorted == b->sorted && !a->tags == !b->tags;
    if (!same) {
        json_decref(of->alike);
        mem_free(of->x);
        *of = (struct schema_shared){.used = true, .style = sc->style, .alike = json_object()};
    }
    sc->shared = *of;
    return sc->shared.alike != NULL;
}

/* ---- values ---- */

/* Instead of what is too large: any value of its type. */
static struct expr *widen(struct schema *sc, const struct parts *p, bool tagged) {
    char what[400];
    const char *path = p->n ? p->p[0].path : "", *said = strstr(sc->e->msg, ": ");
    snprintf(what, sizeof what, "%.300s; anything of its type is allowed there",
             said ? said + 2 : "it is too large");
    note(sc, path, what);
    *sc->e = (struct err){0};
    sc->failed = false;
    int types = TYPE_ALL;
    for (size_t i = 0; i < p->n; i++)
        if (json_is_object(p->p[i].s)) types &= schema_types(p->p[i].s);
    if (types == TYPE_OBJECT || tagged) {
        struct parts any = {{{sc->any_object, path}}, 1};
        sc->tagged = tagged;
        if (tagged) lang_set_work(EXPR_WORK); /* for the names of its properties */
        return schema_object(sc, &any);
    }
    if (types == TYPE_STRING) return schema_is_raw(sc, p) ? text_raw(sc) : text_string(sc);
    if (types & ~(TYPE_INTEGER | TYPE_FRACTION)) return text_any(sc);
    return text_number(sc, types == TYPE_INTEGER);
}

static struct expr *expand_value(struct schema *sc, const struct parts *p) {
    bool tagged = sc->tagged, before = sc->b->failed;
    int left = ALTERNATIVES, depth = sc->depth++;
    const char *path = p->n ? p->p[0].path : "";
    struct expr *alt = build_alt(sc->b), *x = NULL;
    if (depth >= LIMIT_SCHEMA_DEPTH)
        err_set(sc->e, ERR_LIMIT, "schema at %.300s: nested too deeply", path);
    else if (sc->n_known <= SCHEMA_RULES && schema_room(sc, path, 0))
        x = expand(sc, p, (struct parts){.n = 0}, alt, &left);
    if (!x && !sc->e->code && !schema_room(sc, path, 0)) sc->b->failed = before;
    if (!x && !sc->strict && sc->e->code == ERR_LIMIT) x = widen(sc, p, tagged);
    sc->depth = depth;
    return x && x->kind == EXPR_ALT && x->u.list.n == 1 ? x->u.list.item[0] : x;
}

static struct expr *new_value(struct schema *sc, const struct parts *p, const json_t *const *key,
                              size_t n, uint32_t *slot) {
    void *grown = sc->known;
    const json_t **copy = arena_alloc(&sc->b->arena, (n + 1) * sizeof *copy);
    if (!copy || !mem_grow(&grown, &sc->cap_known, sc->n_known + 1, sizeof *sc->known)) return NULL;
    sc->known = grown;
    memcpy(copy, key, n * sizeof *key);
    int rule = build_rule(sc->b, NULL, -1);
    struct expr *call = build_call(sc->b, rule);
    size_t at = sc->n_known;
    sc->known[sc->n_known++] = (struct known){copy, n, call, *slot};
    *slot = (uint32_t)sc->n_known;
    struct expr *x = call ? expand_value(sc, p) : NULL;
    if (!x) return NULL;
    build_define(sc->b, rule, x);
    /* Small enough to stand in each place; labels may stand in one only. */
    if (x->kind == EXPR_CALL || (x->regular && x->size <= 24)) sc->known[at].x = call = x;
    return call;
}

struct expr *schema_value(struct schema *sc, const struct parts *p) {
    const json_t *key[PARTS];
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (!json_is_true(p->p[i].s)) key[n++] = p->p[i].s;
    if (n == 0 && !sc->tagged) return text_any(sc);
    qsort(key, n, sizeof *key, by_address);
    uint32_t *slot;
    struct known *known = find_known(sc, key, n, &slot);
    if (known) return known->x;
    return new_value(sc, p, key, n, slot);
}

struct expr *build_schema(struct build *b, const struct schema_request *r, struct err *e) {
    struct schema *sc = mem_calloc(1, sizeof *sc);
    if (!sc) {
        err_nomem(e, "a schema", sizeof *sc);
        return NULL;
    }
    struct err found = {0};
    *sc = (struct schema){.b = b,
                          .strict = r->strict,
                          .tagged = r->style.tags != NULL,
                          .notes = r->notes,
                          .style = r->style,
                          .e = &found};
    sc->root = r->root;
    sc->made = json_pack("[{ss}{s[sssss]}{ss}]", "type", "string", "type", "null", "boolean",
                         "number", "array", "object", "type", "object");
    sc->only_string = json_array_get(sc->made, 0);
    sc->no_string = json_array_get(sc->made, 1);
    sc->any_object = json_array_get(sc->made, 2);
    struct parts p = {{{r->schema, r->path ? r->path : ""}}, 1};
    lang_set_work(b->work);
    struct expr *x = take_shared(sc) && sc->made ? schema_value(sc, &p) : NULL;
    b->work = lang_work();
    lang_set_work(UINT64_MAX);
    if (!x && !found.code)
        err_set(&found, ERR_NOMEM, "no memory for the schema, or it is too large");
    if (!x && e) *e = found;
    json_decref(sc->made);
    sc->b->shared = sc->shared;
    mem_free(sc->known);
    lang_free(sc->pattern_lang);
    mem_free(sc->checked);
    mem_free(sc);
    return x;
}

struct grammar *grammar_from_schema(struct str schema, bool strict, struct buf *notes,
                                    struct err *e) {
    json_t *root = json_parse(schema, LIMIT_SCHEMA_BYTES, e);
    if (!root) return NULL;
    struct build *b = build_new(e);
    struct schema_request r = {
        .schema = root, .root = root, .strict = strict, .notes = notes, .style = {.free = true}};
    struct expr *x = b ? build_schema(b, &r, e) : NULL;
    json_decref(root);
    if (x) return build_finish(b, x, e);
    build_free(b);
    return NULL;
}
