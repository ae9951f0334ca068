/* What the front ends of written grammars (GBNF, Lark) share: a cursor over the source, errors with
 * line and column, and rules that may be used before they are defined. */
#ifndef HOLDFAST_SAMPLE_SOURCE_H
#define HOLDFAST_SAMPLE_SOURCE_H

#include "sample/expr.h"

enum { SOURCE_NAME = 128, SOURCE_BUCKETS = 1 << 12 };

struct source {
    struct build *b;
    struct str s;
    size_t at;
    int depth;
    struct err *e;
    void *ctx; /* the front end's own */
    struct source_name {
        struct str text;
        int rule;
        uint32_t chain;
    } * name;
    size_t n_names, cap_names;
    uint32_t bucket[SOURCE_BUCKETS];
};

/* Fills e; returns NULL. */
struct expr *source_bad(struct source *p, size_t at, const char *what);
int source_peek(const struct source *p); /* -1: the end */
bool source_starts(const struct source *p, const char *text);
/* The rule of that name, made when it is first seen; < 0: no memory. */
int source_rule(struct source *p, struct str text, size_t pos);
/* Behind "\x" and the like: so many digits. */
bool source_hex(struct source *p, int digits, uint32_t *cp);
/* Decimal digits; false: there are none. Saturates above INT32_MAX. */
bool source_number(struct source *p, int64_t *value);

/* Reads a whole source; the expression is what rule `start` describes. NULL with e filled. */
struct expr *source_expr(struct build *b, struct str source, const char *start,
                         bool (*parse)(struct source *p), struct err *e);
struct grammar *source_grammar(struct str source, const char *start,
                               bool (*parse)(struct source *p), struct err *e);

#endif
