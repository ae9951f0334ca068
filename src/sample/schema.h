/* Inside of this room: from JSON Schema to expressions.
 *
 * A place in an instance has to satisfy several schemas at once (allOf, $ref beside other
 * keywords, properties of several of them): that list of parts is what everything here works on,
 * never a schema that was merged beforehand. anyOf and oneOf multiply the lists. */
#ifndef HOLDFAST_SAMPLE_SCHEMA_H
#define HOLDFAST_SAMPLE_SCHEMA_H

#include "sample/build.h"
#include "sample/expr.h"
#include "sample/lang.h"

enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_FRACTION = 8, /* numbers that are no integers */
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127
};
enum {
    SCHEMA_NOTES = 100,
    PARTS = 48,
    ALTERNATIVES = 256,
    SCHEMA_RULES = 1 << 14,
    KNOWN_RANGES = 16,
    NUMBER_KEY = 96
};

struct part {
    const json_t *s; /* an object, true or false */
    const char *path;
};
struct parts {
    struct part p[PARTS];
    size_t n;
};

struct schema {
    struct build *b;
    const json_t *root;
    json_t *made;                          /* schemas that do not stand in root */
    const json_t *only_string, *no_string; /* parts that pick a type; of made */
    const json_t *any_object;
    bool strict, tagged; /* tagged: the outermost object is not yet written */
    struct buf *notes;
    size_t n_notes;
    struct schema_style style;
    struct err *e;
    int depth;
    struct known { /* lists of parts that have a rule */
        const json_t **s;
        size_t n;
        struct expr *x;
        uint32_t chain;
    } * known;
    size_t n_known, cap_known;
    uint32_t bucket[256];
    json_t *alike;       /* index in known + 1, by the text of scalars */
    const char *pattern; /* the last one that schema_check compiled */
    struct lang *pattern_lang;
    const json_t *listed; /* the enum of this schema holds: the value was taken from it */
    struct {
        char key[NUMBER_KEY];
        struct expr *x;
    } range[KNOWN_RANGES]; /* bounds of numbers */
    size_t n_ranges;
    const json_t **checked; /* schemas whose keywords were looked at */
    size_t n_checked, cap_checked;
    struct schema_shared shared;
    bool failed;
};

/* Strict: an error, returns false. Otherwise one line in notes; the caller goes on without. */
bool schema_unsupported(struct schema *sc, const char *path, const char *what);
/* Is there room for about n further states? Otherwise an error. */
bool schema_room(struct schema *sc, const char *path, size_t n);
/* PATH/KEY, in the builder's memory; "" when there is none. */
const char *schema_path(struct schema *sc, const char *path, const char *key);
bool parts_add(struct schema *sc, struct parts *to, const json_t *s, const char *path);
/* An instance that satisfies all parts; NULL: failed. */
struct expr *schema_value(struct schema *sc, const struct parts *p);
/* Are strings to stand as they are, between tags? */
bool schema_is_raw(const struct schema *sc, const struct parts *p);
/* Resolves "#/a/b", "#name"; NULL: not found. */
const json_t *schema_ref(const struct schema *sc, struct str ref);
int schema_types(const json_t *s); /* TYPE_ mask of `type` and `nullable` */

/* schema_text.c: how things are written in the syntax at hand */
struct expr *text_value(struct schema *sc, const json_t *v);
struct expr *text_key(struct schema *sc, struct str name);
struct expr *text_any(struct schema *sc);    /* any value */
struct expr *text_string(struct schema *sc); /* any string */
/* Strings out of a language (taken over); of min to max characters (max < 0: any) if l is NULL. */
struct expr *text_string_of(struct schema *sc, struct lang *l, int64_t min, int64_t max);
/* Strings that a grammar describes; in the syntax at hand, between tags with the tag that ends. */
struct expr *text_string_in(struct schema *sc, struct expr *x, bool raw);
/* The same as they stand between tags, up to the tag that ends them; that tag included. */
struct expr *text_raw(struct schema *sc);
struct expr *text_raw_of(struct schema *sc, struct lang *l);
struct expr *text_number(struct schema *sc, bool integer);
struct expr *text_space(struct schema *sc); /* inside of brackets */
struct expr *text_item_separator(struct schema *sc);
struct expr *text_key_separator(struct schema *sc);

/* schema_string.c, schema_number.c, schema_object.c (arrays too): all parts of one type */
struct expr *schema_string(struct schema *sc, const struct parts *p);
/* Keys out of `of` (taken over) that satisfy all parts; *none: there are none. */
struct lang *schema_string_lang(struct schema *sc, const struct parts *p, struct lang *of,
                                bool *none);
struct lang *schema_pattern(struct schema *sc, struct str pattern, const char *path);
struct expr *schema_number(struct schema *sc, const struct parts *p, bool integer);
struct expr *schema_object(struct schema *sc, const struct parts *p);
struct expr *schema_array(struct schema *sc, const struct parts *p);
/* schema_check.c: does a value satisfy a schema? Keywords that are not supported count as kept. */
bool schema_check(struct schema *sc, const json_t *v, const json_t *s, int depth);
/* The same without $ref, allOf, anyOf and oneOf. */
bool schema_check_own(struct schema *sc, const json_t *v, const json_t *s, int depth);

/* jansson's iterators take objects that they do not change as not const. */
static inline json_t *schema_json(const json_t *s) {
    return (json_t *)(uintptr_t)s;
}

/* The number under a key; false: there is none. */
static inline bool schema_real(const json_t *s, const char *key, double *out) {
    const json_t *v = json_object_get(s, key);
    if (!json_is_number(v)) return false;
    *out = json_number_value(v);
    return true;
}
/* A count that is not negative; larger ones than 2^31 - 1 count as that. */
static inline bool schema_count(const json_t *s, const char *key, int64_t *out) {
    double x;
    if (!schema_real(s, key, &x) || !(x >= 0)) return false;
    *out = x > 2147483647.0 ? 2147483647 : (int64_t)x;
    return true;
}

#endif
