/* How values stand in the text: the syntax table, separators, white space, strings and constants.
 * The other schema files never write a quote or a comma. */
#include "base/json.h"
#include "base/mem.h"
#include "sample/expr.h"
#include "sample/schema.h"

#include <stdlib.h>
#include <string.h>

enum { INDENT = 24, INTEGER_DIGITS = 30, FRACTION_DIGITS = 30 };

static struct expr *lit(struct schema *sc, const char *s) {
    return build_lit(sc->b, str_of(s));
}

static struct expr *bytes_of(struct schema *sc, const char *set) {
    uint64_t bits[4] = {0};
    for (const char *c = set; *c; c++) set_add(bits, (unsigned char)*c, (unsigned char)*c);
    return build_bytes(sc->b, bits);
}

static struct expr *digit(struct schema *sc, unsigned lo) {
    uint64_t set[4] = {0};
    set_add(set, lo, '9');
    return build_bytes(sc->b, set);
}

/* At most one newline with its indent: white space in which no model can lose itself. */
struct expr *text_space(struct schema *sc) {
    if (!sc->style.free) return build_empty(sc->b);
    if (!sc->shared.space) {
        struct build *b = sc->b;
        struct expr *indent = BUILD_ALT(b, build_repeat(b, lit(sc, " "), 0, INDENT),
                                        build_repeat(b, lit(sc, "\t"), 1, INDENT / 4));
        int rule = build_rule(b, "space", -1);
        build_define(b, rule,
                     build_opt(b, BUILD_ALT(b, lit(sc, " "), BUILD_SEQ(b, lit(sc, "\n"), indent))));
        sc->shared.space = build_call(b, rule);
    }
    return sc->shared.space;
}

struct expr *text_item_separator(struct schema *sc) {
    if (sc->style.free) return BUILD_SEQ(sc->b, lit(sc, ","), text_space(sc));
    return sc->style.item.len ? build_lit(sc->b, sc->style.item) : lit(sc, ", ");
}

struct expr *text_key_separator(struct schema *sc) {
    if (sc->style.free) return BUILD_SEQ(sc->b, lit(sc, ":"), build_opt(sc->b, lit(sc, " ")));
    return sc->style.key.len ? build_lit(sc->b, sc->style.key) : lit(sc, ": ");
}

/* ---- strings ---- */

static struct expr *hex_digits(struct schema *sc, int n) {
    return build_repeat(sc->b, bytes_of(sc, "0123456789abcdefABCDEF"), n, n);
}

/* \uXXXX for one character: no half of a surrogate pair alone. */
static struct expr *unicode_escape(struct schema *sc) {
    struct build *b = sc->b;
    struct expr *not_d = bytes_of(sc, "0123456789abcefABCEF"), *d = bytes_of(sc, "dD");
    struct expr *plain = BUILD_SEQ(b, not_d, hex_digits(sc, 3));
    struct expr *below = BUILD_SEQ(b, d, bytes_of(sc, "01234567"), hex_digits(sc, 2));
    struct expr *high = BUILD_SEQ(b, d, bytes_of(sc, "89abAB"), hex_digits(sc, 2));
    struct expr *low = BUILD_SEQ(b, lit(sc, "\\u"), d, bytes_of(sc, "cdefCDEF"), hex_digits(sc, 2));
    return BUILD_SEQ(b, lit(sc, "u"), BUILD_ALT(b, plain, below, BUILD_SEQ(b, high, low)));
}

/* One character between the quotes of a JSON string. */
static struct expr *json_char(struct schema *sc) {
    static const struct char_range escaped[] = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
    struct build *b = sc->b;
    struct expr *escape = BUILD_ALT(b, bytes_of(sc, "\"\\/bfnrt"), unicode_escape(sc));
    return BUILD_ALT(b, build_chars(b, escaped, 3, true), BUILD_SEQ(b, lit(sc, "\\"), escape));
}

/* The rest of a JSON string from a point between the quotes on. */
static struct expr *string_tail(struct schema *sc) {
    if (!sc->shared.string_tail) {
        struct build *b = sc->b;
        int rule = build_rule(b, "string", -1);
        build_define(b, rule,
                     BUILD_SEQ(b, build_repeat(b, json_char(sc), 0, BUILD_MANY), lit(sc, "\"")));
        sc->shared.string_tail = build_call(b, rule);
    }
    return sc->shared.string_tail;
}

/* A language between two equal quotes. */
static struct expr *quoted(struct schema *sc, const struct lang *l, char quote) {
    char q[2] = {quote, 0};
    struct lang *inner =
        quote == '"' && sc->style.syntax == VALUE_JSON ? lang_json(l) : lang_quoted(l, quote);
    struct expr *tail =
        inner && inner->any && sc->style.syntax == VALUE_JSON ? string_tail(sc) : NULL;
    return BUILD_SEQ(sc->b, lit(sc, q), build_lang(sc->b, inner, tail, lit(sc, q)));
}

static struct expr *python_quoted(struct schema *sc, const struct lang *l) {
    return BUILD_ALT(sc->b, quoted(sc, l, '"'), quoted(sc, l, '\''));
}

/* Between quote marks of the template's own: everything that does not contain the mark. */
static struct expr *marked(struct schema *sc, const struct lang *l) {
    struct lang *no_mark = lang_until(&sc->style.quote_bytes, 1, false);
    struct lang *inner = no_mark && l ? lang_combine(l, no_mark, LANG_AND) : NULL;
    lang_free(no_mark);
    struct expr *x = inner ? build_lang(sc->b, inner, NULL, NULL) : NULL;
    return BUILD_SEQ(sc->b, sc->style.quote, x, sc->style.quote);
}

struct expr *text_string_of(struct schema *sc, struct lang *l, int64_t min, int64_t max) {
    struct build *b = sc->b;
    bool json = sc->style.syntax == VALUE_JSON;
    if (!l && json) {
        struct expr *inner = build_repeat(b, json_char(sc), min, max < 0 ? BUILD_MANY : max);
        return BUILD_SEQ(b, lit(sc, "\""), inner, lit(sc, "\""));
    }
    if (!l) l = min == 0 && max < 0 ? lang_utf8() : lang_length(min, max);
    struct expr *x = NULL;
    if (l)
        x = json                              ? quoted(sc, l, '"')
            : sc->style.syntax == VALUE_GEMMA ? marked(sc, l)
                                              : python_quoted(sc, l);
    lang_free(l);
    return x;
}

struct expr *text_string_in(struct schema *sc, struct expr *x, bool raw) {
    if (raw) return BUILD_SEQ(sc->b, x, build_lit(sc->b, sc->style.tags->value_end));
    if (sc->style.syntax == VALUE_GEMMA)
        return BUILD_SEQ(sc->b, sc->style.quote, x, sc->style.quote);
    return BUILD_SEQ(sc->b, lit(sc, "\""), build_escaped(sc->b, x), lit(sc, "\""));
}

struct expr *text_string(struct schema *sc) {
    if (!sc->shared.string) {
        int rule = build_rule(sc->b, "string", -1);
        struct expr *x = sc->style.syntax == VALUE_JSON
                             ? BUILD_SEQ(sc->b, lit(sc, "\""), string_tail(sc))
                             : text_string_of(sc, NULL, 0, -1);
        build_define(sc->b, rule, x);
        sc->shared.string = build_call(sc->b, rule);
    }
    return sc->shared.string;
}

struct expr *text_raw(struct schema *sc) {
    if (!sc->shared.raw) {
        int rule = build_rule(sc->b, "text", -1);
        build_define(sc->b, rule, build_until(sc->b, &sc->style.tags->value_end, 1, true));
        sc->shared.raw = build_call(sc->b, rule);
    }
    return sc->shared.raw;
}

struct expr *text_raw_of(struct schema *sc, struct lang *l) {
    struct str end = sc->style.tags->value_end;
    struct lang *no_end = lang_until(&end, 1, false);
    struct lang *inner = no_end && l ? lang_combine(l, no_end, LANG_AND) : NULL;
    lang_free(no_end);
    lang_free(l);
    return inner ? BUILD_SEQ(sc->b, build_lang(sc->b, inner, NULL, NULL), build_lit(sc->b, end))
                 : NULL;
}

/* ---- numbers ---- */

struct expr *text_number(struct schema *sc, bool integer) {
    struct expr **known = integer ? &sc->shared.integer : &sc->shared.number;
    if (*known) return *known;
    struct build *b = sc->b;
    struct expr *more = build_repeat(b, digit(sc, '0'), 0, INTEGER_DIGITS);
    struct expr *whole = BUILD_SEQ(b, build_opt(b, lit(sc, "-")),
                                   BUILD_ALT(b, lit(sc, "0"), BUILD_SEQ(b, digit(sc, '1'), more)));
    struct expr *fraction =
        BUILD_SEQ(b, lit(sc, "."), build_repeat(b, digit(sc, '0'), 1, FRACTION_DIGITS));
    struct expr *power = BUILD_SEQ(b, bytes_of(sc, "eE"), build_opt(b, bytes_of(sc, "+-")),
                                   build_repeat(b, digit(sc, '0'), 1, 3));
    int rule = build_rule(b, integer ? "integer" : "number", -1);
    build_define(b, rule,
                 integer ? whole
                         : BUILD_SEQ(b, whole, build_opt(b, fraction), build_opt(b, power)));
    return *known = build_call(b, rule);
}

/* ---- constants ---- */

static bool write_string(struct buf *out, struct str s) {
    json_t *v = json_stringn(s.p, s.len);
    bool ok = v && json_write(out, v);
    json_decref(v);
    return ok;
}

static struct expr *string_constant(struct schema *sc, struct str s) {
    struct build *b = sc->b;
    if (sc->style.syntax == VALUE_GEMMA)
        return BUILD_SEQ(b, sc->style.quote, build_lit(b, s), sc->style.quote);
    struct buf out = {0};
    struct expr *x = write_string(&out, s) ? build_lit(b, buf_view(&out)) : NULL;
    if (x && sc->style.syntax == VALUE_PYTHON && !memchr(s.p, '\'', s.len) &&
        !memchr(s.p, '"', s.len)) {
        out.p[0] = out.p[out.len - 1] = '\'';
        x = BUILD_ALT(b, x, build_lit(b, buf_view(&out)));
    }
    buf_free(&out);
    return x;
}

struct expr *text_key(struct schema *sc, struct str name) {
    return sc->style.syntax == VALUE_GEMMA ? build_lit(sc->b, name) : string_constant(sc, name);
}

static struct expr *array_constant(struct schema *sc, const json_t *v) {
    struct expr *seq = build_seq(sc->b);
    build_push(sc->b, seq, lit(sc, "["));
    build_push(sc->b, seq, text_space(sc));
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (i) build_push(sc->b, seq, text_item_separator(sc));
        if (!build_push(sc->b, seq, text_value(sc, json_array_get(v, i)))) return NULL;
    }
    if (json_array_size(v)) build_push(sc->b, seq, text_space(sc));
    return build_push(sc->b, seq, lit(sc, "]")) ? seq : NULL;
}

static struct expr *object_constant(struct schema *sc, const json_t *v) {
    struct expr *seq = build_seq(sc->b);
    build_push(sc->b, seq, lit(sc, "{"));
    build_push(sc->b, seq, text_space(sc));
    json_t *o = schema_json(v);
    bool first = true;
    for (void *at = json_object_iter(o); at; at = json_object_iter_next(o, at)) {
        if (!first) build_push(sc->b, seq, text_item_separator(sc));
        first = false;
        build_push(sc->b, seq, text_key(sc, str_of(json_object_iter_key(at))));
        build_push(sc->b, seq, text_key_separator(sc));
        if (!build_push(sc->b, seq, text_value(sc, json_object_iter_value(at)))) return NULL;
    }
    if (!first) build_push(sc->b, seq, text_space(sc));
    return build_push(sc->b, seq, lit(sc, "}")) ? seq : NULL;
}

struct expr *text_value(struct schema *sc, const json_t *v) {
    bool python = sc->style.syntax == VALUE_PYTHON;
    char number[40];
    switch (json_typeof(v)) {
    case JSON_NULL:
        return lit(sc, python ? "None" : "null");
    case JSON_TRUE:
        return lit(sc, python ? "True" : "true");
    case JSON_FALSE:
        return lit(sc, python ? "False" : "false");
    case JSON_STRING:
        return string_constant(sc, (struct str){json_string_value(v), json_string_length(v)});
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        return lit(sc, number);
    case JSON_REAL:
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(number, sizeof number, "%.*g", digits, json_real_value(v));
            if (strtod(number, NULL) == json_real_value(v)) break;
        }
        if (!strpbrk(number, ".e")) strcat(number, ".0");
        return lit(sc, number);
    case JSON_ARRAY:
        return array_constant(sc, v);
    case JSON_OBJECT:
        return object_constant(sc, v);
    }
    return NULL;
}

/* ---- any value ---- */

/* item (separator item)* between brackets, or nothing between them. */
static struct expr *bracketed(struct schema *sc, const char *open, struct expr *item,
                              const char *close) {
    struct build *b = sc->b;
    struct expr *more = BUILD_SEQ(b, text_item_separator(sc), item);
    struct expr *items = BUILD_SEQ(b, item, build_repeat(b, more, 0, BUILD_MANY), text_space(sc));
    return BUILD_SEQ(b, lit(sc, open), text_space(sc), build_opt(b, items), lit(sc, close));
}

static struct expr *any_key(struct schema *sc) {
    if (sc->style.syntax != VALUE_GEMMA) return text_string(sc);
    static const struct char_range name[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'},
                                             {'-', '-'}, {'.', '.'}, {'$', '$'}};
    return build_repeat(sc->b, build_chars(sc->b, name, 7, false), 1, BUILD_MANY);
}

struct expr *text_any(struct schema *sc) {
    if (sc->shared.any) return sc->shared.any;
    struct build *b = sc->b;
    int rule = build_rule(b, "value", -1);
    sc->shared.any = build_call(b, rule);
    struct expr *pair = BUILD_SEQ(b, any_key(sc), text_key_separator(sc), sc->shared.any);
    struct expr *array = bracketed(sc, "[", sc->shared.any, "]");
    struct expr *object = bracketed(sc, "{", pair, "}");
    build_define(b, rule,
                 BUILD_ALT(b, text_string(sc), text_number(sc, false), object, array,
                           text_value(sc, json_true()), text_value(sc, json_false()),
                           text_value(sc, json_null())));
    return sc->shared.any;
}
