/* Tensor types: THE type table, block sizes, scalar decode and encode (the truth that every
 * kernel is checked against), and the tensor view. Knows nothing about files or models. */
#ifndef HOLDFAST_QUANT_QUANT_H
#define HOLDFAST_QUANT_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/half.h" /* quant_f16_to_f32 and its three siblings */

/* Numbers are those of the file format (spec/gguf.md 5). ORDER QT: quant/types.c */
enum quant_type {
    QUANT_F32 = 0,
    QUANT_F16 = 1,
    QUANT_Q4_0 = 2,
    QUANT_Q4_1 = 3,
    QUANT_Q5_0 = 6,
    QUANT_Q5_1 = 7,
    QUANT_Q8_0 = 8,
    QUANT_Q2_K = 10,
    QUANT_Q3_K = 11,
    QUANT_Q4_K = 12,
    QUANT_Q5_K = 13,
    QUANT_Q6_K = 14,
    QUANT_IQ4_NL = 20,
    QUANT_IQ4_XS = 23,
    QUANT_BF16 = 30,
    QUANT_MXFP4 = 39,
    QUANT_NVFP4 = 40,
    QUANT_TYPES = 43 /* one past the last id of the format */
};

struct quant_info {
    const char *name; /* as users write it, lower case: "q4_k"; NULL: no such id in the format */
    int block;        /* elements per block */
    int bytes;        /* bytes per block */
    /* Decodes n elements (a multiple of block). NULL: this build refuses the type by name. */
    void (*decode)(const void *blocks, float *out, int64_t n);
    /* Encodes n finite elements; NULL where we do not quantize to the type. */
    void (*encode)(const float *x, void *blocks, int64_t n);
};

/* The row of a type id, or NULL when the format has no such id. */
const struct quant_info *quant_info(int type);
/* Type of a name in any case, or -1. */
int quant_by_name(const char *name);
/* Bytes of n elements; n must be a multiple of the type's block. */
size_t quant_row_bytes(int type, int64_t n);

/* Writes n made-up elements of a decodable type: mean about 0, standard deviation about std. */
struct rng;
void quant_random(int type, float std, struct rng *r, void *blocks, int64_t n);

/* A view of stored numbers. dim[0] is the contiguous one; a matrix [in, out] has dim[1] = out
 * rows of dim[0] elements. Missing dimensions are 1. The memory belongs to the file's mapping. */
struct tensor {
    int type; /* enum quant_type */
    int64_t dim[4];
    const void *data;
};
static inline int64_t tensor_count(const struct tensor *t) {
    return t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
}
static inline int64_t tensor_rows(const struct tensor *t) {
    return t->dim[1] * t->dim[2] * t->dim[3];
}
/* Row r as floats, out[dim[0]]. */
void tensor_row(const struct tensor *t, int64_t r, float *out);

#endif
