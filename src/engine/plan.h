/* One batch of the scheduler: whose tokens it computes. Made before each step and each slice, from
 * memory reserved at load; requests may leave it at any time. The engine thread's. */
#ifndef HOLDFAST_ENGINE_PLAN_H
#define HOLDFAST_ENGINE_PLAN_H

#include "engine/engine.h"

struct plan_part {
    struct hold_request *r; /* NULL: has left meanwhile */
    int n;
    float *rows; /* where streamed logits go, or NULL */
};
struct plan {               /* of one batch */
    int32_t *token;         /* (n_ubatch) */
    uint8_t *want;          /* (n_ubatch) */
    struct batch_seq *seqs; /* (n_parallel) */
    struct plan_part *part; /* (n_parallel) */
    int n_parts, n_rows, n_decode, n_logits;
    struct batch batch; /* n_rows 0: not built yet */
};
bool plan_alloc(struct plan *p, size_t rows, size_t seqs);
void plan_free(struct plan *p);
void plan_clear(struct plan *p);
bool plan_has(const struct plan *p, const struct hold_request *r);
/* Takes in n rows of the request, or fewer where they are streamed. */
void plan_add(struct plan *p, struct hold_request *r, int n);
/* The request leaves; a batch that is being computed goes on without it. */
void plan_leave(struct plan *p, const struct hold_request *r);
/* The batch of those that are still there, whose pages cover it. */
void plan_build(struct plan *p);

#endif
