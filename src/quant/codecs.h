/* The rows of the type table: one decoder per supported type, one encoder per type that we write.
 * Signatures as in struct quant_info. Private to quant/. */
#ifndef HOLDFAST_QUANT_CODECS_H
#define HOLDFAST_QUANT_CODECS_H

#include <stdint.h>

typedef void quant_decode_fn(const void *blocks, float *out, int64_t n);
typedef void quant_encode_fn(const float *x, void *blocks, int64_t n);

quant_decode_fn decode_f32, decode_f16, decode_bf16, decode_q4_0, decode_q4_1, decode_q5_0,
    decode_q5_1, decode_q8_0, decode_q2_k, decode_q3_k, decode_q4_k, decode_q5_k, decode_q6_k,
    decode_iq4_nl, decode_iq4_xs, decode_mxfp4, decode_nvfp4;
quant_encode_fn encode_f32, encode_f16, encode_bf16, encode_q8_0, encode_q4_0, encode_q4_k,
    encode_q6_k;

#endif
