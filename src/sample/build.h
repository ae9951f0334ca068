/* The builder: grammars from pieces. An expression describes a set of texts; rules name
 * expressions so that they can be shared or call each other. The front ends (GBNF, Lark, regex,
 * JSON Schema, turns) only ever build expressions; build_finish makes the automaton.
 *
 * Every function returns NULL when memory is refused or an argument is NULL, so that calls nest
 * and only the end result is looked at. Expressions belong to the builder, never change once they
 * are used inside another, and may be used any number of times. One thread. */
#ifndef HOLDFAST_SAMPLE_BUILD_H
#define HOLDFAST_SAMPLE_BUILD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct build;
struct expr;
struct grammar;

struct build *build_new(struct err *e);
void build_free(struct build *b);

struct expr *build_empty(struct build *b); /* the empty text */
struct expr *build_never(struct build *b); /* no text at all */
struct expr *build_lit(struct build *b, struct str bytes);
struct expr *build_bytes(struct build *b, const uint64_t set[4]); /* one byte of a 256-bit set */

struct char_range { /* code points, both ends included; surrogates are left out */
    uint32_t lo, hi;
};
/* One character in UTF-8 out of the ranges, or out of all others. */
struct expr *build_chars(struct build *b, const struct char_range *r, size_t n, bool negated);
struct expr *build_char_any(struct build *b);

/* Exactly this token, by its id: its bytes are not looked at. */
struct expr *build_token(struct build *b, int32_t id);

struct expr *build_seq(struct build *b); /* growing lists: complete them with build_push before */
struct expr *build_alt(struct build *b); /* they are used; an empty alternation is "never" */
bool build_push(struct build *b, struct expr *list, struct expr *item);
struct expr *build_seq_of(struct build *b, struct expr *const *item, size_t n);
struct expr *build_alt_of(struct build *b, struct expr *const *item, size_t n);
#define BUILD_N(...)                                                                               \
    (struct expr *const[]){__VA_ARGS__},                                                           \
        sizeof((struct expr *const[]){__VA_ARGS__}) / sizeof(void *)
#define BUILD_SEQ(b, ...) build_seq_of(b, BUILD_N(__VA_ARGS__))
#define BUILD_ALT(b, ...) build_alt_of(b, BUILD_N(__VA_ARGS__))

enum { BUILD_MANY = -1 };
/* x repeated min to max times (BUILD_MANY: without end). Small regular repetitions are unrolled,
 * the others count at run time, so that {0,500000} costs no more than {0,5}. */
struct expr *build_repeat(struct build *b, struct expr *x, int64_t min, int64_t max);
struct expr *build_opt(struct build *b, struct expr *x);

/* A position inside a rule, and a jump to it that ends a sequence: for graphs that are no trees.
 * A label's number is unique in the builder; jump and label must stand in the same rule. */
int build_label_new(struct build *b);
struct expr *build_label(struct build *b, int label);
struct expr *build_goto(struct build *b, int label);

/* Rules. name (may be NULL) and pos (source offset, or -1) are for error messages. */
int build_rule(struct build *b, const char *name, int64_t pos);
void build_define(struct build *b, int rule, struct expr *body);
bool build_defined(const struct build *b, int rule);
struct expr *build_call(struct build *b, int rule);

/* Any bytes up to and including the first occurrence of one of the markers (none of them empty).
 * with_marker false: the text that holds none of the markers, and need not end. */
struct expr *build_until(struct build *b, const struct str *marker, size_t n, bool with_marker);

/* How values are written. */
enum value_syntax {
    VALUE_JSON,
    VALUE_GEMMA, /* keys without quotes; strings between quote marks, nothing escaped */
    VALUE_PYTHON /* True, False, None; strings in single or double quotes */
};
/* How the properties of the outermost object are written where they are no JSON object, e.g.
 * <parameter=NAME>\nVALUE\n</parameter>\n. Texts may be empty. */
struct tag_style {
    struct str open, close;         /* of the whole */
    struct str key_open, key_close; /* around a name */
    struct str key_close_string;    /* instead, when the value is a string; empty: the same */
    struct str value_end;           /* behind a value; what a raw string may not contain */
    struct str item;                /* between two properties */
    bool raw_strings;               /* strings stand as they are, up to value_end */
};
struct schema_style {
    enum value_syntax syntax;
    bool sorted;            /* properties in the order of their names, not of the schema */
    bool free;              /* white space may be none, one blank, or a newline and indent */
    struct str item, key;   /* separators if not free; empty: ", " and ": " as Python prints */
    struct expr *quote;     /* VALUE_GEMMA: the mark around strings, and its bytes */
    struct str quote_bytes; /* (a string may not contain them) */
    const struct tag_style *tags; /* NULL: an ordinary object */
};
/* A value that satisfies the schema. The schema may be freed afterwards; $ref is resolved in
 * root. strict, notes: as grammar_from_schema. path: how messages begin, e.g. "tools[3]". */
struct schema_request {
    const json_t *schema, *root;
    const char *path;
    bool strict;
    struct buf *notes;
    struct schema_style style;
};
struct expr *build_schema(struct build *b, const struct schema_request *r, struct err *e);
/* Text in one of the other notations. search: the match may stand anywhere in the text. */
struct expr *build_regex(struct build *b, struct str pattern, bool search, struct err *e);
struct expr *build_lark(struct build *b, struct str source, struct err *e);
/* The texts of x as they stand between the double quotes of a string (JSON's and Python's); NULL
 * also for what is no text (tokens, labels) and too deep. */
struct expr *build_escaped(struct build *b, const struct expr *x);

/* The grammar whose members are the texts of x; frees the builder in any case. */
struct grammar *build_finish(struct build *b, struct expr *x, struct err *e);

#endif
