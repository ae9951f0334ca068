/* Reading metadata for arch*.c: a reader with a sticky error, so that an architecture is a plain
 * list of assignments. Private to this room. */
#ifndef HOLDFAST_MODEL_ARCH_H
#define HOLDFAST_MODEL_ARCH_H

#include "gguf/gguf.h"
#include "model/config.h"

struct reader {
    const struct gguf *g;
    const char *arch; /* prefix of the keys */
    struct err *e;
    bool ok;
};

enum { REQUIRED = INT32_MIN };

/* %.key as an integer in [0, 2^31), def when absent (REQUIRED: an error). _at: element il of an
 * array, or the scalar for every layer. */
int read_int(struct reader *r, const char *key, int def);
int read_int_at(struct reader *r, const char *key, int il, int n_layer, int def);
float read_real(struct reader *r, const char *key, double def);
bool read_bool(struct reader *r, const char *key, bool def);
bool read_is(struct reader *r, const char *key, const char *value); /* a string key equals value */
/* True for sliding layers: an array of bools, or a period n (il % n < n - 1). */
bool read_is_sliding(struct reader *r, int il, int n_layer, int default_period);

/* One row per architecture: fills the parts of c and of every layer that differ from the common
 * reading. The common reading is done before. */
struct arch {
    const char *name;
    enum rope_kind rope;
    void (*fill)(struct reader *r, struct config *c);
};
extern const struct arch arch_table[]; /* ends with a NULL name */

/* Shared by several architectures. */
/* YaRN's ramp bounds and magnitude of rope[0] (spec C1); own_keys: the file's betas and log
 * multiplier count. Does nothing without yarn scaling. */
void arch_yarn(struct reader *r, struct config *c, bool own_keys);
void arch_moe(struct reader *r, struct config *c, struct layer_spec *s, const char *ff_key);

#endif
