/* Mixes: which type each tensor of a file takes under a name like q4_k_m, as the usual quantizer
 * chooses (spec/gguf.md 4 and 7). For synth, quantize and show. */
#ifndef HOLDFAST_QUANT_MIX_H
#define HOLDFAST_QUANT_MIX_H

#include <stdbool.h>
#include <stdint.h>

struct quant_mix; /* a row of the table */

/* By name in any case ("q4_k_m"), or NULL. */
const struct quant_mix *quant_mix_by_name(const char *name);
/* i = 0, 1, ... lists the names; NULL behind the last. */
const char *quant_mix_name(int i);
/* Name of a general.file_type value, or NULL; and the value of a mix. */
const char *quant_file_type_name(int64_t file_type);
int quant_mix_file_type(const struct quant_mix *m);

/* A weight matrix: its name ("blk.3.attn_v.weight"), elements per row, layer (-1: global) of
 * n_layer. tied: the embedding is the output head too. Vectors are always F32. */
int quant_mix_type(const struct quant_mix *m, const char *tensor, int64_t row, int layer,
                   int n_layer, bool tied);

#endif
