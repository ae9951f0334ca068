/* Strings: patterns, formats and lengths of all parts as one language. */
#include "base/json.h"
#include "base/mem.h"
#include "sample/expr.h"
#include "sample/schema.h"

/* Formats as patterns. Each takes at least what its standard takes, so that nothing valid is
 * lost; years, months and days are ranges, not a calendar. */
static const struct format {
    const char *name, *pattern;
} formats[] = {
    {"date", "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])$"},
    {"time",
     "^([01]\\d|2[0-3]):[0-5]\\d:([0-5]\\d|60)(\\.\\d{1,9})?([zZ]|[+-]([01]\\d|2[0-3]):[0-5]\\d)$"},
    {"date-time",
     "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])[tT]([01]\\d|2[0-3]):[0-5]\\d:([0-5]\\d|60)"
     "(\\.\\d{1,9})?([zZ]|[+-]([01]\\d|2[0-3]):[0-5]\\d)$"},
    {"duration", "^P((\\d+D|\\d+M(\\d+D)?|\\d+Y(\\d+M(\\d+D)?)?)(T(\\d+H(\\d+M(\\d+S)?)?|\\d+M(\\d+"
                 "S)?|\\d+S))?|"
                 "T(\\d+H(\\d+M(\\d+S)?)?|\\d+M(\\d+S)?|\\d+S)|\\d+W)$"},
    {"email", "^[^\\s@\"]+@[A-Za-z0-9\\[][A-Za-z0-9.:\\-\\]]*$"},
    {"idn-email", "^[^\\s@\"]+@[^\\s@]+$"},
    {"hostname", "^[A-Za-z0-9]([A-Za-z0-9\\-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9\\-]{0,"
                 "61}[A-Za-z0-9])?)*$"},
    {"ipv4",
     "^((25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)$"},
    {"ipv6", "^(([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,7}:|([0-9a-fA-F]{1,4}:"
             "){1,6}:[0-9a-fA-F]{1,4}|"
             "([0-9a-fA-F]{1,4}:){1,5}(:[0-9a-fA-F]{1,4}){1,2}|([0-9a-fA-F]{1,4}:){1,4}(:[0-9a-fA-"
             "F]{1,4}){1,3}|"
             "([0-9a-fA-F]{1,4}:){1,3}(:[0-9a-fA-F]{1,4}){1,4}|([0-9a-fA-F]{1,4}:){1,2}(:[0-9a-fA-"
             "F]{1,4}){1,5}|"
             "[0-9a-fA-F]{1,4}:(:[0-9a-fA-F]{1,4}){1,6}|:((:[0-9a-fA-F]{1,4}){1,7}|:))$"},
    {"uri", "^[A-Za-z][A-Za-z0-9+.\\-]*:[A-Za-z0-9\\-._~:/?#\\[\\]@!$&'()*+,;=%]+$"},
    {"uri-reference", "^[A-Za-z0-9\\-._~:/?#\\[\\]@!$&'()*+,;=%]*$"},
    {"iri", "^[A-Za-z][A-Za-z0-9+.\\-]*:[^\\s<>\"{}|\\\\^`]+$"},
    {"iri-reference", "^[^\\s<>\"{}|\\\\^`]*$"},
    {"url", "^[A-Za-z][A-Za-z0-9+.\\-]*:[A-Za-z0-9\\-._~:/?#\\[\\]@!$&'()*+,;=%]+$"},
    {"uuid", "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"},
    {"json-pointer", "^(/([^/~]|~[01])*)*$"},
};
/* Formats of numbers, and those that say how to show a text. */
static const char *const no_format[] = {
    "int32",    "int64",    "float",     "double", "password", "binary",         "byte",
    "textarea", "markdown", "multiline", "string", "enum",     "date-time-local"};

struct lang *schema_pattern(struct schema *sc, struct str pattern, const char *path) {
    struct err e = {0};
    struct build *b = build_new(&e);
    struct expr *x = b ? build_regex(b, pattern, true, &e) : NULL;
    struct lang *l = x ? lang_from_expr(x, &e) : NULL;
    build_free(b);
    if (l) return l;
    char what[400];
    snprintf(what, sizeof what, "the pattern '%.*s' (%.200s)",
             (int)(pattern.len < 100 ? pattern.len : 100), pattern.p, e.msg);
    if (!schema_unsupported(sc, path, what)) sc->failed = true;
    return NULL;
}

static const char *format_pattern(struct str name, bool *known) {
    *known = true;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (str_is(name, formats[i].name)) return formats[i].pattern;
    for (size_t i = 0; i < sizeof no_format / sizeof *no_format; i++)
        if (str_is(name, no_format[i])) return NULL;
    *known = false;
    return NULL;
}

/* l = l and more; both are taken over. Too large: more is dropped, with a note. */
static struct lang *intersect(struct schema *sc, struct lang *l, struct lang *more,
                              const char *path, const char *what) {
    if (!more || !l) {
        if (!l) return more;
        return l;
    }
    struct lang *both = lang_combine(l, more, LANG_AND);
    lang_free(more);
    if (!both) {
        if (!schema_unsupported(sc, path, what)) sc->failed = true;
        return l;
    }
    lang_free(l);
    return both;
}

static struct lang *add_format(struct schema *sc, struct lang *l, const struct part *p) {
    struct str name = json_get_str(p->s, "format");
    bool known;
    const char *pattern = format_pattern(name, &known);
    if (!known) {
        char what[100];
        snprintf(what, sizeof what, "the format '%.*s'", (int)(name.len < 60 ? name.len : 60),
                 name.p);
        if (!schema_unsupported(sc, p->path, what)) sc->failed = true;
    }
    if (!pattern) return l;
    return intersect(sc, l, schema_pattern(sc, str_of(pattern), p->path), p->path,
                     "a format beside a large pattern");
}

static void lengths(const struct parts *p, int64_t *min, int64_t *max) {
    *min = 0;
    *max = -1;
    for (size_t i = 0; i < p->n; i++) {
        int64_t x;
        if (schema_count(p->p[i].s, "minLength", &x) && x > *min) *min = x;
        if (schema_count(p->p[i].s, "maxLength", &x) && (*max < 0 || x < *max)) *max = x;
    }
}

/* The bounds that the language does not keep by itself. */
static struct lang *add_lengths(struct schema *sc, struct lang *l, const struct parts *p,
                                int64_t min, int64_t max) {
    if (min == 0 && max < 0) return l;
    int64_t least, most = lang_longest(l, &least);
    if (least >= min) min = 0;
    if (most >= 0 && max >= most) max = -1;
    if (min == 0 && max < 0) return l;
    struct lang *bounds = lang_length(min, max);
    if (bounds)
        return intersect(sc, l, bounds, p->p[0].path, "minLength or maxLength beside this pattern");
    if (!schema_unsupported(sc, p->p[0].path,
                            "minLength or maxLength of this size beside a pattern"))
        sc->failed = true;
    return l;
}

static struct lang *patterns(struct schema *sc, const struct parts *p, struct lang *l) {
    for (size_t i = 0; i < p->n && !sc->failed; i++) {
        const json_t *s = p->p[i].s;
        if (json_is_string(json_object_get(s, "pattern")))
            l = intersect(sc, l, schema_pattern(sc, json_get_str(s, "pattern"), p->p[i].path),
                          p->p[i].path, "another pattern beside a large one");
        if (json_is_string(json_object_get(s, "format"))) l = add_format(sc, l, &p->p[i]);
    }
    return l;
}

/* x-lark, our own keyword: the text is what a Lark grammar describes. *found: there is one, and
 * nothing else counts; NULL without failure: it is widened to any string. */
static struct expr *by_grammar(struct schema *sc, const struct parts *p, bool *found) {
    struct err e = {0};
    for (size_t i = 0; i < p->n; i++) {
        struct str source = json_get_str(p->p[i].s, "x-lark");
        if (!source.p) continue;
        struct expr *x = build_lark(sc->b, source, &e);
        *found = x != NULL;
        if (x) return text_string_in(sc, x, schema_is_raw(sc, p));
        char what[600];
        snprintf(what, sizeof what, "this Lark grammar (%.500s)", e.msg);
        if (!schema_unsupported(sc, p->p[i].path, what)) sc->failed = true;
    }
    return NULL;
}

struct expr *schema_string(struct schema *sc, const struct parts *p) {
    int64_t min, max;
    bool by = false;
    struct expr *x = by_grammar(sc, p, &by);
    if (by || sc->failed) return x;
    lengths(p, &min, &max);
    if (max >= 0 && min > max) return build_never(sc->b);
    struct lang *l = patterns(sc, p, NULL);
    if (l && !sc->failed) l = add_lengths(sc, l, p, min, max);
    if (sc->failed) {
        lang_free(l);
        return NULL;
    }
    if (l && lang_is_empty(l)) {
        lang_free(l);
        return build_never(sc->b);
    }
    if (!schema_is_raw(sc, p))
        return l || min > 0 || max >= 0 ? text_string_of(sc, l, min, max) : text_string(sc);
    if (!l && (min > 0 || max >= 0)) l = lang_length(min, max);
    if (!l && (min > 0 || max >= 0) &&
        !schema_unsupported(sc, p->p[0].path, "a length of this size in this notation"))
        return NULL;
    return l ? text_raw_of(sc, l) : text_raw(sc);
}

/* Names out of an enum, or a const. */
static struct lang *enum_lang(const json_t *s) {
    const json_t *constant = json_object_get(s, "const");
    json_t *values =
        constant ? json_pack("[O]", constant) : json_incref(json_object_get(s, "enum"));
    struct build *b = build_new(NULL);
    struct expr *alt = b ? build_alt(b) : NULL;
    for (size_t i = 0; alt && i < json_array_size(values); i++) {
        const json_t *v = json_array_get(values, i);
        if (json_is_string(v))
            build_push(b, alt,
                       build_lit(b, (struct str){json_string_value(v), json_string_length(v)}));
    }
    struct lang *l = alt ? lang_from_expr(alt, NULL) : NULL;
    build_free(b);
    json_decref(values);
    return l;
}

struct lang *schema_string_lang(struct schema *sc, const struct parts *p, struct lang *of,
                                bool *none) {
    int64_t min, max;
    struct lang *l = patterns(sc, p, of);
    for (size_t i = 0; i < p->n && l && !sc->failed; i++) {
        const json_t *s = p->p[i].s;
        if (json_is_false(s) || !(schema_types(s) & TYPE_STRING)) *none = true;
        if (json_object_get(s, "const") || json_is_array(json_object_get(s, "enum")))
            l = intersect(sc, l, enum_lang(s), p->p[i].path, "this enum");
        static const char *const other[] = {"anyOf", "oneOf", "allOf", "$ref", NULL};
        for (const char *const *k = other; *k; k++) {
            char what[80];
            snprintf(what, sizeof what, "'%s' in propertyNames", *k);
            if (json_object_get(s, *k) && !schema_unsupported(sc, p->p[i].path, what))
                sc->failed = true;
        }
    }
    lengths(p, &min, &max);
    if (l && !sc->failed) l = add_lengths(sc, l, p, min, max);
    if (max >= 0 && min > max) *none = true;
    if (l && lang_is_empty(l)) *none = true;
    return l;
}
