/* The CPU backend from inside: what its files share. cpu.c owns the struct and every op but
 * attention; cpu_attn.c owns rope tables and attention with the fields under its name.
 * Nothing here is allocated after reserve(). */
#ifndef HOLDFAST_OPS_CPU_H
#define HOLDFAST_OPS_CPU_H

#include "base/pool.h"
#include "kern/kern.h"
#include "ops/ops.h"

enum {
    CPU_ROPE_SPECS = 8,   /* of one rope_prepare */
    CPU_ROPE_DIMS = 2048, /* sum of n_rot over those specs */
};

/* Angles of one rope spec: for each row n_rot/2 cosines, then n_rot/2 sines. */
struct cpu_rope {
    const struct rope_spec *spec;
    float *cs; /* (n_rows, n_rot) */
};

struct cpu {
    struct backend b; /* b.self is this struct */
    struct pool *pool;
    int n_threads;
    const struct kern *kern;
    int n_rows; /* reserved */

    /* cpu_attn.c */
    struct cpu_rope rope[CPU_ROPE_SPECS];
    float *rope_cs;             /* (n_rows, CPU_ROPE_DIMS) */
    struct attn_scratch **attn; /* one per worker */
    float *attn_parts;          /* span partials of a split phase */
    struct pool_tasks attn_tasks;
};

/* Called by the backend's reserve and close; reserve may be called again with more rows. */
bool cpu_attn_reserve(struct cpu *c, int n_rows, struct err *e);
void cpu_attn_free(struct cpu *c);
/* The ops of the backend table that cpu_attn.c implements. */
void cpu_rope_prepare(struct backend *b, const struct batch *batch, const struct rope_spec *specs,
                      int n_specs);
void cpu_attn(struct backend *b, const struct op_attn *a);

#endif
