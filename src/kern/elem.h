/* The element-wise half of a level's table: fills rms_norm, glu, act, add, scale, softcap and
 * softmax. Called by kern.c for levels this build has; the sums' order stands in simd.h. */
#ifndef HOLDFAST_KERN_ELEM_H
#define HOLDFAST_KERN_ELEM_H

#include "kern/kern.h"

void kern_elem_scalar(struct kern *k);
void kern_elem_avx2(struct kern *k);
void kern_elem_avx512(struct kern *k);

#endif
