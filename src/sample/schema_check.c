/* Validates a value against a schema: for the constants of enums, which have to satisfy what
 * stands beside them, and for showing that branches of oneOf exclude each other. */
#include "base/json.h"
#include "base/limits.h"
#include "sample/schema.h"

#include <math.h>

static bool equal(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b) == 1;
}

static int type_of(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_NULL:
        return TYPE_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return TYPE_BOOLEAN;
    case JSON_INTEGER:
        return TYPE_INTEGER;
    case JSON_REAL:
        return floor(json_real_value(v)) == json_real_value(v) ? TYPE_INTEGER : TYPE_FRACTION;
    case JSON_STRING:
        return TYPE_STRING;
    case JSON_ARRAY:
        return TYPE_ARRAY;
    case JSON_OBJECT:
        return TYPE_OBJECT;
    }
    return 0;
}

static bool check_number(const json_t *v, const json_t *s) {
    double x = json_number_value(v), bound;
    bool strict_min = json_is_true(json_object_get(s, "exclusiveMinimum"));
    bool strict_max = json_is_true(json_object_get(s, "exclusiveMaximum"));
    if (schema_real(s, "minimum", &bound) && (x < bound || (strict_min && x == bound)))
        return false;
    if (schema_real(s, "maximum", &bound) && (x > bound || (strict_max && x == bound)))
        return false;
    if (schema_real(s, "exclusiveMinimum", &bound) && x <= bound) return false;
    if (schema_real(s, "exclusiveMaximum", &bound) && x >= bound) return false;
    if (schema_real(s, "multipleOf", &bound) && bound > 0) {
        double q = x / bound;
        if (fabs(q - nearbyint(q)) > 1e-9) return false;
    }
    return true;
}

static int64_t n_chars(const json_t *v) {
    const char *p = json_string_value(v);
    int64_t n = 0;
    for (size_t i = 0; i < json_string_length(v); i++) n += (p[i] & 0xC0) != 0x80;
    return n;
}

/* Whoever compiles the schema reports a pattern that is not supported; here it counts as kept. */
static bool matches(struct schema *sc, struct str pattern, struct str text) {
    if (sc->pattern != pattern.p) {
        bool strict = sc->strict, failed = sc->failed;
        struct buf *notes = sc->notes;
        sc->strict = false;
        sc->notes = NULL;
        lang_free(sc->pattern_lang);
        sc->pattern_lang = schema_pattern(sc, pattern, "");
        sc->pattern = pattern.p;
        sc->strict = strict;
        sc->notes = notes;
        sc->failed = failed;
    }
    return !sc->pattern_lang || lang_match(sc->pattern_lang, text);
}

static bool check_string(struct schema *sc, const json_t *v, const json_t *s) {
    int64_t bound, n = n_chars(v);
    if (schema_count(s, "minLength", &bound) && n < bound) return false;
    if (schema_count(s, "maxLength", &bound) && n > bound) return false;
    struct str pattern = json_get_str(s, "pattern");
    return !json_is_string(json_object_get(s, "pattern")) ||
           matches(sc, pattern, (struct str){json_string_value(v), json_string_length(v)});
}

static bool check_array(struct schema *sc, const json_t *v, const json_t *s, int depth) {
    int64_t bound, n = (int64_t)json_array_size(v);
    if (schema_count(s, "minItems", &bound) && n < bound) return false;
    if (schema_count(s, "maxItems", &bound) && n > bound) return false;
    const json_t *prefix = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items");
    const json_t *rest = items;
    if (!prefix && json_is_array(items)) {
        prefix = items;
        rest = json_object_get(s, "additionalItems");
    }
    for (size_t i = 0; i < (size_t)n; i++) {
        const json_t *item = i < json_array_size(prefix) ? json_array_get(prefix, i) : rest;
        if (item && !schema_check(sc, json_array_get(v, i), item, depth + 1)) return false;
    }
    return true;
}

static bool check_property(struct schema *sc, const char *name, const json_t *v, const json_t *s,
                           int depth) {
    const json_t *listed = json_object_get(json_object_get(s, "properties"), name);
    bool any = listed != NULL;
    if (listed && !schema_check(sc, v, listed, depth + 1)) return false;
    json_t *patterns = json_object_get(s, "patternProperties");
    for (void *at = json_object_iter(patterns); at; at = json_object_iter_next(patterns, at)) {
        if (!matches(sc, str_of(json_object_iter_key(at)), str_of(name))) continue;
        any = true;
        if (!schema_check(sc, v, json_object_iter_value(at), depth + 1)) return false;
    }
    const json_t *other = json_object_get(s, "additionalProperties");
    if (!any && other && !schema_check(sc, v, other, depth + 1)) return false;
    const json_t *names = json_object_get(s, "propertyNames");
    if (!names) return true;
    json_t *text = json_string(name);
    bool ok = schema_check(sc, text, names, depth + 1);
    json_decref(text);
    return ok;
}

static bool check_object(struct schema *sc, const json_t *v, const json_t *s, int depth) {
    int64_t bound, n = (int64_t)json_object_size(v);
    if (schema_count(s, "minProperties", &bound) && n < bound) return false;
    if (schema_count(s, "maxProperties", &bound) && n > bound) return false;
    const json_t *required = json_object_get(s, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name && !json_object_get(v, name)) return false;
    }
    json_t *o = schema_json(v);
    for (void *at = json_object_iter(o); at; at = json_object_iter_next(o, at))
        if (!check_property(sc, json_object_iter_key(at), json_object_iter_value(at), s, depth))
            return false;
    return true;
}

/* How many schemas of a list hold; all of them if there is no list. */
static size_t n_holding(struct schema *sc, const json_t *v, const json_t *list, int depth) {
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        n += schema_check(sc, v, json_array_get(list, i), depth + 1);
    return n;
}

static bool check_applied(struct schema *sc, const json_t *v, const json_t *s, int depth) {
    const json_t *all = json_object_get(s, "allOf"), *any = json_object_get(s, "anyOf");
    const json_t *one = json_object_get(s, "oneOf");
    struct str ref = json_get_str(s, "$ref");
    const json_t *target = ref.p ? schema_ref(sc, ref) : NULL;
    if (target && !schema_check(sc, v, target, depth + 1)) return false;
    if (all && n_holding(sc, v, all, depth) < json_array_size(all)) return false;
    if (any && n_holding(sc, v, any, depth) == 0) return false;
    return !one || n_holding(sc, v, one, depth) == 1;
}

bool schema_check_own(struct schema *sc, const json_t *v, const json_t *s, int depth) {
    if (!json_is_object(s)) return !json_is_false(s);
    int type = type_of(v), allowed = schema_types(s);
    if (allowed && !(type & allowed)) return false;
    const json_t *constant = json_object_get(s, "const"), *list = json_object_get(s, "enum");
    if (constant && !equal(v, constant)) return false;
    bool found = !json_is_array(list) || sc->listed == s;
    for (size_t i = 0; i < json_array_size(list) && !found; i++)
        found = equal(v, json_array_get(list, i));
    if (!found) return false;
    switch (type) {
    case TYPE_INTEGER:
    case TYPE_FRACTION:
        return check_number(v, s);
    case TYPE_STRING:
        return check_string(sc, v, s);
    case TYPE_ARRAY:
        return check_array(sc, v, s, depth);
    case TYPE_OBJECT:
        return check_object(sc, v, s, depth);
    default:
        return true;
    }
}

bool schema_check(struct schema *sc, const json_t *v, const json_t *s, int depth) {
    if (depth > LIMIT_SCHEMA_DEPTH) return true;
    return schema_check_own(sc, v, s, depth) &&
           (!json_is_object(s) || check_applied(sc, v, s, depth));
}
