/* Inside of this room: a compiled grammar, and the machine that runs it.
 *
 * A grammar is a set of nodes with byte edges, token edges and calls. A position is a set of
 * stacks; a stack is a node with the stacks below it, so that alternatives share what they have in
 * common (a graph-structured stack). All such sets are interned: equal positions have equal
 * numbers, steps are looked up after the first time, and a copy of a position is one number. */
#ifndef HOLDFAST_SAMPLE_AUTOMATON_H
#define HOLDFAST_SAMPLE_AUTOMATON_H

#include <stdatomic.h>

#include "sample/grammar.h"

struct edge {
    uint8_t lo, hi;
    uint32_t to;
};
struct token_edge {
    int32_t id;
    uint32_t to;
};
/* The callee min to max times (COUNT_MANY: without end), then next. As an element of a stack,
 * node n_nodes + i is call i with the number of times that are done. */
struct call {
    uint32_t start, min, max, next;
};
struct node { /* first of its edges, tokens, calls; they end where the next node's begin */
    uint32_t edge, token, call;
    bool final, leaf; /* leaf: final and nothing else */
    bool through;     /* one plain call and nothing else */
};
struct grammar {
    atomic_uint refs;
    uint32_t n_nodes, n_calls, start;
    struct node *node; /* n_nodes + 1 */
    struct edge *edge;
    struct token_edge *token;
    struct call *call;
    uint8_t byte_class[256];
    uint32_t n_classes;
    size_t bytes;
};

struct elem {
    uint32_t node, count; /* count: times done, for calls */
    uint32_t below;       /* the set to go on with when node's rule ends */
};
#define NODE_BOTTOM  UINT32_MAX /* the grammar ends */
#define NODE_UNKNOWN (UINT32_MAX - 1)
enum { SET_DEAD, SET_BOTTOM, SET_UNKNOWN, SET_FIRST_FREE };

struct set {
    uint32_t first, n; /* elements, sorted by node and count, each pair once */
    uint32_t chain, closed;
    uint32_t depth;
    uint32_t mask, mask_generation; /* mask.c: cached mask + 1 */
};
struct loop {
    uint64_t groups;
    uint32_t room, end; /* see mask.h */
};
/* What a set can do next, after calls are entered and finished rules are left. */
struct closed {
    uint64_t live[4]; /* bytes that lead somewhere */
    uint32_t first, n;
    uint32_t row; /* transitions by byte class, ROW_UNSET: not looked at yet; 0: no row */
    bool accept;  /* the grammar may end here */
    bool exit;    /* leads out below SET_UNKNOWN */
    bool tokens;  /* has token edges */
    bool looked;  /* mask_loop.c has filled loop */
    struct loop loop;
};
#define ROW_UNSET UINT32_MAX

struct machine {
    struct grammar *g;
    uint32_t refs;
    struct machine *next; /* mask.c keeps a list */
    struct grammar_state *states;
    uint64_t serial, used;
    struct elem *elem;
    struct set *set;
    struct closed *closed; /* [0] unused */
    uint32_t *row;         /* rows of n_classes; [0] unused */
    size_t n_elems, cap_elems, n_sets, cap_sets, n_closed, cap_closed, n_rows, cap_rows;
    uint32_t *bucket;
    size_t n_buckets;
    struct union_memo {
        uint32_t a, b, result;
    } * memo;
    struct work *work; /* closure in progress */
    size_t n_work, cap_work;
    uint32_t *head, *stamp, generation; /* by node and call */
    struct elem *tmp;
    size_t n_tmp, cap_tmp;
    uint64_t *node_hash; /* mask.c, by node and call; 0 = not computed */
    bool failed;         /* no memory, or more alternatives at once than we follow */
};

struct machine *machine_new(struct grammar *g, struct err *e); /* takes a reference of g */
void machine_free(struct machine *m);
size_t machine_bytes(const struct machine *m);
uint32_t machine_start(struct machine *m); /* SET_DEAD: failed */
/* The set after a byte or a token id; SET_DEAD: not allowed, or m->failed. */
uint32_t machine_step(struct machine *m, uint32_t set, uint8_t byte);
uint32_t machine_token(struct machine *m, uint32_t set, int32_t id);
/* NULL: m->failed. Valid until the next call that may make sets. */
const struct closed *machine_close(struct machine *m, uint32_t set);
/* The set of one element. */
uint32_t machine_single(struct machine *m, struct elem e);
/* Copies a set of one machine into another of the same grammar: how tables are cleaned. map: the
 * new number of each old set that was copied, else 0. */
uint32_t machine_copy(struct machine *to, const struct machine *from, uint32_t set, uint32_t *map);

void grammar_ref(struct grammar *g);

static inline uint64_t hash_mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

#endif
