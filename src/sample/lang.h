/* Regular languages over bytes as deterministic automata: what patterns need that grammars do not
 * have, namely intersection and complement. Sizes are bounded; NULL means no memory or too large
 * (e says which where there is one). */
#ifndef HOLDFAST_SAMPLE_LANG_H
#define HOLDFAST_SAMPLE_LANG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum { LANG_DEAD = 0, LANG_START = 1, LANG_STATES = 1 << 13 };

struct lang {
    uint32_t n; /* states; LANG_DEAD and LANG_START among them */
    uint32_t cap;
    uint32_t any;          /* state from which every continuation is allowed to be replaced by an
                              expression (build_lang's tail); 0: none */
    uint16_t (*next)[256]; /* by state and byte */
    bool *final;
};

/* What this thread may still spend on automata, in steps of some nanoseconds; when it is spent,
 * every construction fails as too large. UINT64_MAX, as at first: no limit. */
void lang_set_work(uint64_t steps);
uint64_t lang_work(void);

void lang_free(struct lang *l);
uint32_t lang_size(const struct lang *l);
struct lang *lang_copy(const struct lang *l);

struct expr;
/* x must be regular. Characters, not bytes, are what its classes speak of; lang only sees UTF-8. */
struct lang *lang_from_expr(const struct expr *x, struct err *e);
/* All texts of valid UTF-8. */
struct lang *lang_utf8(void);
/* See build_until. */
struct lang *lang_until(const struct str *marker, size_t n, bool with_marker);
/* Valid UTF-8 that is none of the names; its `any` is "already different from all of them". */
struct lang *lang_not_names(const struct str *name, size_t n);

enum lang_op { LANG_AND, LANG_AND_NOT };
/* Consumes nothing. States from which no member can be reached are removed. */
struct lang *lang_combine(const struct lang *a, const struct lang *b, enum lang_op op);
/* Texts of lo to hi characters (hi < 0: any number). */
struct lang *lang_length(int64_t lo, int64_t hi);
/* The longest member in characters, -1: no longest; the shortest in *shortest. */
int64_t lang_longest(const struct lang *l, int64_t *shortest);

/* Decimal numbers without sign and exponent that are multiples of m / 10^k; at most k digits stand
 * behind the point. */
struct lang *lang_multiple(uint32_t m, uint32_t k);

bool lang_match(const struct lang *l, struct str text);
bool lang_is_empty(const struct lang *l);
/* From texts to how they stand between the quotes of a JSON string: what must be escaped is
 * escaped in every usual way, other characters stand as they are. */
struct lang *lang_json(const struct lang *l);
/* The same for a string in quotes of one kind whose escapes are those of Python. */
struct lang *lang_quoted(const struct lang *l, char quote);

#endif
