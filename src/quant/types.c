/* THE table of tensor types: every id of the format by name and size; those that this build reads
 * have a decoder. Also row sizes and access to a row of a tensor. */
#include "quant/codecs.h"
#include "quant/quant.h"

#include <assert.h>
#include <stddef.h>
#include <strings.h>

/* Files are little-endian and blocks are read in place. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a little-endian machine is needed");

/* ORDER QT. Ids that are missing here were removed from the format. */
static const struct quant_info types[QUANT_TYPES] = {
    [QUANT_F32] = {"f32", 1, 4, decode_f32, encode_f32},
    [QUANT_F16] = {"f16", 1, 2, decode_f16, encode_f16},
    [QUANT_Q4_0] = {"q4_0", 32, 18, decode_q4_0, encode_q4_0},
    [QUANT_Q4_1] = {"q4_1", 32, 20, decode_q4_1, NULL},
    [QUANT_Q5_0] = {"q5_0", 32, 22, decode_q5_0, NULL},
    [QUANT_Q5_1] = {"q5_1", 32, 24, decode_q5_1, NULL},
    [QUANT_Q8_0] = {"q8_0", 32, 34, decode_q8_0, encode_q8_0},
    [9] = {"q8_1", 32, 36, NULL, NULL},
    [QUANT_Q2_K] = {"q2_k", 256, 84, decode_q2_k, NULL},
    [QUANT_Q3_K] = {"q3_k", 256, 110, decode_q3_k, NULL},
    [QUANT_Q4_K] = {"q4_k", 256, 144, decode_q4_k, encode_q4_k},
    [QUANT_Q5_K] = {"q5_k", 256, 176, decode_q5_k, NULL},
    [QUANT_Q6_K] = {"q6_k", 256, 210, decode_q6_k, encode_q6_k},
    [15] = {"q8_k", 256, 292, NULL, NULL},
    [16] = {"iq2_xxs", 256, 66, NULL, NULL},
    [17] = {"iq2_xs", 256, 74, NULL, NULL},
    [18] = {"iq3_xxs", 256, 98, NULL, NULL},
    [19] = {"iq1_s", 256, 50, NULL, NULL},
    [QUANT_IQ4_NL] = {"iq4_nl", 32, 18, decode_iq4_nl, NULL},
    [21] = {"iq3_s", 256, 110, NULL, NULL},
    [22] = {"iq2_s", 256, 82, NULL, NULL},
    [QUANT_IQ4_XS] = {"iq4_xs", 256, 136, decode_iq4_xs, NULL},
    [24] = {"i8", 1, 1, NULL, NULL},
    [25] = {"i16", 1, 2, NULL, NULL},
    [26] = {"i32", 1, 4, NULL, NULL},
    [27] = {"i64", 1, 8, NULL, NULL},
    [28] = {"f64", 1, 8, NULL, NULL},
    [29] = {"iq1_m", 256, 56, NULL, NULL},
    [QUANT_BF16] = {"bf16", 1, 2, decode_bf16, encode_bf16},
    [34] = {"tq1_0", 256, 54, NULL, NULL},
    [35] = {"tq2_0", 256, 66, NULL, NULL},
    [QUANT_MXFP4] = {"mxfp4", 32, 17, decode_mxfp4, NULL},
    [QUANT_NVFP4] = {"nvfp4", 64, 36, decode_nvfp4, NULL},
    [41] = {"q1_0", 128, 18, NULL, NULL},
    [42] = {"q2_0", 64, 18, NULL, NULL},
};

const struct quant_info *quant_info(int type) {
    if (type < 0 || type >= QUANT_TYPES || !types[type].name) return NULL;
    return &types[type];
}

int quant_by_name(const char *name) {
    for (int i = 0; i < QUANT_TYPES; i++)
        if (types[i].name && strcasecmp(types[i].name, name) == 0) return i;
    return -1;
}

size_t quant_row_bytes(int type, int64_t n) {
    const struct quant_info *q = quant_info(type);
    assert(q && n >= 0 && n % q->block == 0);
    return (size_t)(n / q->block) * (size_t)q->bytes;
}

void tensor_row(const struct tensor *t, int64_t r, float *out) {
    const struct quant_info *q = quant_info(t->type);
    assert(q && q->decode && r >= 0 && r < tensor_rows(t));
    size_t bytes = quant_row_bytes(t->type, t->dim[0]);
    q->decode((const char *)t->data + (size_t)r * bytes, out, t->dim[0]);
}
