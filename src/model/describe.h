/* The tensor table used the other way round: what a file of some shape contains. For show, synth
 * and memory estimates; needs no weights. */
#ifndef HOLDFAST_MODEL_DESCRIBE_H
#define HOLDFAST_MODEL_DESCRIBE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "quant/quant.h"

struct gguf;
struct gguf_writer;

/* The names of the K and the V cache type, as for -ctk: "auto" becomes q8_0, but f16 for keys that
 * have a bias, whose few large values leave 8 bits too coarse for the others (SPEED.md). false
 * when a name is unknown. */
bool describe_kv_types(const struct gguf *g, const char *type[2], struct err *e);

/* Bytes of K/V (both) that n_ctx positions take, per the file's metadata; window layers are capped.
 * k_type, v_type: names as for -ctk. false when the architecture is not known. */
bool describe_kv_bytes(const struct gguf *g, int64_t n_ctx, const char *k_type, const char *v_type,
                       uint64_t *bytes, struct err *e);

/* Published shapes by name ("llama3.2-1b"): NULL-terminated list and lookup. */
struct shape;
const char *const *describe_shape_names(void);
const struct shape *describe_shape(const char *name);
const char *describe_shape_summary(const struct shape *s);
/* Writes the metadata keys (architecture ones; the tokenizer is the caller's) with n_layer layers
 * (0 = all). */
bool describe_write_keys(const struct shape *s, int n_layer, struct gguf_writer *w);
int64_t describe_vocab(const struct shape *s);
bool describe_tied(const struct shape *s); /* the embedding is the output head too */

/* Calls fn for every tensor of the shape in file order. is_matrix: takes the quantized type. */
struct described_tensor {
    char name[64];
    int n_dims;
    int64_t dim[4];
    bool is_matrix;
    int layer, n_layer;  /* layer -1: global */
    const float *values; /* what the tensor holds, or NULL: weights */
};
typedef bool (*describe_fn)(void *ctx, const struct described_tensor *t);
bool describe_tensors(const struct shape *s, int n_layer, describe_fn fn, void *ctx);

#endif
