/* From expressions to states: a Thompson construction and the subset construction over it.
 * Shared by compile.c (rules, with calls and tokens) and lang.c (bytes only). */
#ifndef HOLDFAST_SAMPLE_NFA_H
#define HOLDFAST_SAMPLE_NFA_H

#include "base/err.h"
#include "sample/expr.h"

enum nfa_kind { NFA_EPSILON, NFA_SET, NFA_TOKEN, NFA_CALL, NFA_ACCEPT };

struct nfa_state {
    enum nfa_kind kind;
    uint8_t lo, hi; /* first and last byte of a set */
    uint32_t a, b;  /* successors; NFA_NONE: none. Only epsilon states have two */
    union {
        uint64_t set[4];
        int32_t token;
        struct {
            uint32_t rule, min, max;
        } call;
    } u;
};
#define NFA_NONE UINT32_MAX

struct nfa {
    struct nfa_state *state;
    size_t n, cap;
    uint32_t *label; /* NFA state of each label, NFA_NONE: not met yet */
    size_t n_labels, cap_labels;
    size_t limit;     /* states */
    const char *fail; /* why it stopped, or NULL */
};
void nfa_free(struct nfa *a);
/* State 0 is the accepting one. Returns the entry, or NFA_NONE with a->fail set. unroll: all
 * repetitions become states (otherwise those with a rule become calls). */
uint32_t nfa_compile(struct nfa *a, const struct expr *x, bool unroll);

/* Sets of NFA states, closed under epsilon, numbered from 0 in the order of their discovery. */
struct subset {
    struct nfa *nfa;
    struct subset_set {
        uint32_t first, n, chain;
        uint64_t hash;
    } * set;
    size_t n, cap;
    uint32_t *item; /* states that are no epsilon states, sorted, set after set */
    size_t n_items, cap_items;
    uint32_t *bucket, n_buckets;
    uint32_t *mark, generation; /* by NFA state */
    size_t cap_mark;
    uint32_t *stack, *found, *to;
    size_t cap_stack, cap_found, cap_to;
    uint64_t work, work_limit;
    size_t limit;     /* sets */
    const char *fail; /* why it stopped, or NULL */
};
struct subset_run {
    uint8_t lo, hi;
    uint32_t to;
};
bool subset_init(struct subset *s, struct nfa *nfa, size_t limit, uint64_t work_limit);
void subset_free(struct subset *s);
/* The set that contains the closure of these states; NFA_NONE with s->fail set. */
uint32_t subset_add(struct subset *s, const uint32_t *state, size_t n);
/* What bytes lead where from a set: disjoint runs in ascending order; at most 256. -1: s->fail. */
int subset_runs(struct subset *s, uint32_t set, struct subset_run run[256]);
/* The same without determinising: runs may overlap. Appends to *runs. */
bool subset_edges(struct subset *s, uint32_t set, struct subset_run **run, size_t *n, size_t *cap);

#endif
