/* What each type is made of, and its matmul from the templates: the table that the AVX2 and the
 * AVX-512 level share. The including file has defined gemm for its level. */

#define MATMUL(type, body)                                                                         \
    static void matmul_##type(const void *rows, size_t row_bytes, int64_t row0, int64_t row1,      \
                              const struct kern_cols *x, float *y, int64_t y_ld, void *scratch) {  \
        struct matmul_args g = {rows, row_bytes, row0, row1, x, y, y_ld};                          \
        (void)scratch;                                                                             \
        body                                                                                       \
    }

#define SUPER(type, ...)                                                                           \
    static const struct super_kind kind_##type = {                                                 \
        .bytes = sizeof(struct block_##type), .unpack = unpack_##type, __VA_ARGS__};               \
    MATMUL(type, if (x->n_cols > GEMV_COLS) gemm(&kind_##type, NULL, &g, scratch);                 \
           else if (x->n_cols > 1) gemv_super(&kind_##type, &g, x->n_cols);                        \
           else gemv_super(&kind_##type, &g, 1);)
#define CHUNK(type, ...)                                                                           \
    static const struct chunk_kind kind_##type = {.block_bytes = sizeof(struct block_##type),      \
                                                  .unpack = unpack_##type,                         \
                                                  .scales = scales_##type,                         \
                                                  __VA_ARGS__};                                    \
    MATMUL(type, if (x->n_cols > GEMV_COLS) gemm(NULL, &kind_##type, &g, scratch);                 \
           else if (x->n_cols > 1) gemv_chunk(&kind_##type, &g, x->n_cols);                        \
           else gemv_chunk(&kind_##type, &g, 1);)
#define DENSE(type, size)                                                                          \
    static const struct dense_kind kind_##type = {.bytes = size, .load = load_##type};             \
    MATMUL(type, matmul_dense(&kind_##type, &g);)

SUPER(q2_k, .mins = true, .max_code = 3)
SUPER(q3_k, .offset_log = 2, .max_code = 7)
SUPER(q4_k, .mins = true, .max_code = 15)
SUPER(q5_k, .mins = true, .max_code = 31)
SUPER(q6_k, .offset_log = 5, .max_code = 63)
SUPER(iq4_xs, .is_signed = true, .max_code = 255)
CHUNK(q4_0, .offset = 8, .max_code = 15)
CHUNK(q4_1, .mins = true, .max_code = 15)
CHUNK(q5_0, .offset = 16, .max_code = 31)
CHUNK(q5_1, .mins = true, .max_code = 31)
CHUNK(q8_0, .is_signed = true, .max_code = 255)
CHUNK(iq4_nl, .is_signed = true, .max_code = 255)
CHUNK(mxfp4, .offset = FP4_OFFSET, .max_code = 24)
CHUNK(nvfp4, .two = true, .halves = true, .offset = FP4_OFFSET, .max_code = 24)
DENSE(f32, 4)
DENSE(f16, 2)
DENSE(bf16, 2)
