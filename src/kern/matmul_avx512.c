/* The AVX-512 matmuls: VNNI tiles for many columns. Few columns are bound by memory, and the
 * AVX2 templates (here with 32 registers) reach it. */
#include "kern/levels.h"

#if defined(__AVX512VNNI__) || defined(HOLDFAST_SIMDE)
#include "kern/dense_avx2_tmpl.h"
#include "kern/gemm_avx512_tmpl.h"
#include "kern/gemv_avx2_tmpl.h"
#include "kern/matmul_kinds_avx2.h"

void kern_matmul_avx512(struct kern *k) {
#define ROW(id, type) k->matmul[QUANT_##id] = matmul_##type;
#include "kern/matmul_types.h"
}
#endif
