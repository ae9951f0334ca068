/* The CPU backend from inside: what its files share. cpu.c owns the struct, the workers and the
 * dense ops; cpu_attn.c and cpu_moe.c own the fields under their name.
 * Nothing here is allocated after reserve(). */
#ifndef HOLDFAST_OPS_CPU_H
#define HOLDFAST_OPS_CPU_H

#include "base/pool.h"
#include "kern/kern.h"
#include "ops/ops.h"

enum {
    CPU_UNIT = 32,        /* rows of weights in a unit of work */
    CPU_ROPE_SPECS = 8,   /* of one rope_prepare */
    CPU_ROPE_DIMS = 2048, /* sum of n_rot over those specs */
};

/* Angles of one rope spec: for each row n_rot/2 cosines, then n_rot/2 sines. */
struct cpu_rope {
    const struct rope_spec *spec;
    float *cs; /* (n_rows, n_rot) */
};

struct cpu_worker {
    void *scratch; /* kern_scratch_bytes(max_k) */
    float *tmp;    /* (2, n_rows, CPU_UNIT) */
};

struct cpu {
    struct backend b; /* b.self is this struct */
    struct pool *pool;
    const struct kern *kern;
    struct cpu_worker *workers;
    int64_t max_k; /* widest activations */
    int n_rows;    /* reserved */

    struct moe_buffers *moe; /* cpu_moe.c */

    /* cpu_attn.c */
    int attn_rows; /* reserved */
    struct cpu_rope rope[CPU_ROPE_SPECS];
    float *rope_cs;             /* (attn_rows, CPU_ROPE_DIMS) */
    double *rope_freq;          /* (CPU_ROPE_DIMS / 2) radians per position, spec after spec */
    struct attn_scratch **attn; /* one per worker */
    float *attn_parts;          /* span partials of a decode step */
    int64_t attn_part_floats;
};

static inline struct cpu *cpu_of(struct backend *b) {
    return b->self;
}

/* The right-hand side of a matmul on these activations; cpu_quantize makes q and packed fresh. */
struct kern_cols cpu_cols(const struct act *a);
void cpu_quantize(struct cpu *c, struct act *a);
/* y[col * y_ld + r] = row (row0 + r) of an expert's matrix times each column, r < n <= CPU_UNIT,
 * with the weight's scale and bias. */
void cpu_rows(struct cpu *c, const struct weight *w, int64_t expert, int64_t row0, int64_t n,
              const struct kern_cols *cols, float *y, int64_t y_ld, int worker);
/* Units that a worker takes at a time. */
int64_t cpu_chunk(const struct cpu *c, int64_t units);

struct cpu_glu { /* out[col] = act(gate x[col]) * (up x[col]) */
    struct kern_cols cols;
    struct weight gate, up;
    int64_t expert;
    enum kern_act act;
    float *out; /* (n_cols, out_ld) */
    int64_t out_ld;
};
void cpu_glu_rows(struct cpu *c, const struct cpu_glu *g, int64_t row0, int64_t n, int worker);

/* Called by the backend's reserve and close; reserve may be called again with larger needs. */
bool cpu_attn_reserve(struct cpu *c, const struct ops_need *need, struct err *e);
void cpu_attn_free(struct cpu *c);
bool cpu_moe_reserve(struct cpu *c, const struct ops_need *need, struct err *e);
void cpu_moe_free(struct cpu *c);
/* The ops of the backend table that cpu_attn.c implements. */
void cpu_rope_prepare(struct backend *b, const struct batch *batch, const struct rope_spec *specs,
                      int n_specs);
void cpu_attn(struct backend *b, const struct op_attn *a);
void cpu_moe(struct backend *b, struct act *in, const struct op_moe *m);

#endif
