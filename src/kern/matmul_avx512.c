/* The AVX-512 (VNNI) matmuls. */
#include "kern/levels.h"

#if defined(__AVX512VNNI__) || defined(HOLDFAST_SIMDE)
#include "kern/dense_tmpl.h"
#include "kern/gemm_avx512_tmpl.h"
#include "kern/gemv_tmpl.h"
#include "kern/matmul_kinds.h"

void kern_matmul_avx512(struct kern *k) {
    k->gemv_cols = GEMV_COLS;
#define ROW(id, type) k->matmul[QUANT_##id] = matmul_##type;
#include "kern/matmul_types.h"
}
#endif
