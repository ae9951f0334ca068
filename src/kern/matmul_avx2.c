/* The AVX2 matmuls. */
#include "kern/levels.h"

#if defined(__AVX2__)
#include "kern/dense_tmpl.h"
#include "kern/gemm_avx2_tmpl.h"
#include "kern/gemv_tmpl.h"
#include "kern/matmul_kinds.h"

void kern_matmul_avx2(struct kern *k) {
    k->gemv_cols = GEMV_COLS;
#define ROW(id, type) k->matmul[QUANT_##id] = matmul_##type;
#include "kern/matmul_types.h"
}
#endif
