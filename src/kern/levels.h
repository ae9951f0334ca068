/* What the translation units of each level put into the table. A level starts as a copy of the
 * one below it, so each part sets only the slots that it has a better kernel for. Only kern.c
 * calls these; a part whose instruction set the compiler lacks does not exist (KERN_X86). */
#ifndef HOLDFAST_KERN_LEVELS_H
#define HOLDFAST_KERN_LEVELS_H

#include "kern/kern.h"

#if defined(__x86_64__)
#define KERN_X86 1
#else
#define KERN_X86 0
#endif

/* The arguments of a kern_matmul_fn, for the templates behind it. */
struct matmul_args {
    const char *rows;
    size_t row_bytes;
    int64_t row0, row1;
    const struct kern_cols *x;
    float *y;
    int64_t y_ld;
};

void kern_elem_scalar(struct kern *k);
void kern_act_scalar(struct kern *k);
void kern_matmul_scalar(struct kern *k);
void kern_attn_scalar(struct kern *k);

#if KERN_X86
void kern_elem_avx2(struct kern *k);
void kern_elem_avx512(struct kern *k);
void kern_act_avx2(struct kern *k);
void kern_act_avx512(struct kern *k);
void kern_matmul_avx2(struct kern *k);
void kern_attn_avx2(struct kern *k);
void kern_attn_avx512(struct kern *k);
void kern_matmul_avx512(struct kern *k);
#endif

#endif
