/* The GGUF container (spec/gguf.md): a checked view of a read-only mapping, and a writer.
 * Knows keys, arrays and tensor infos; knows nothing about models. A struct gguf never changes
 * after gguf_open and may be read from any thread. */
#ifndef HOLDFAST_GGUF_GGUF_H
#define HOLDFAST_GGUF_GGUF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"
#include "quant/quant.h"

enum gguf_kind {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARR,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};

/* One key. A scalar's value or an array's elements stand at `data`, unaligned, inside the
 * mapping; elements of a string array are found through gguf_arr_str. */
struct gguf_kv {
    struct str key;
    enum gguf_kind kind;
    enum gguf_kind elem; /* of an array */
    uint64_t count;      /* of an array, else 1 */
    const unsigned char *data;
    const uint64_t *offset; /* string arrays: count + 1 byte offsets of the length words */
};

struct gguf_tensor {
    char name[64];
    struct tensor t; /* data points into the mapping */
    int n_dims;
    int shard;
    uint64_t offset, bytes; /* in the shard's data section */
};

const char *gguf_kind_name(enum gguf_kind kind); /* "u32", "string" ... */

struct gguf; /* opaque: one or more shards */

/* Opens a file; a name of the pattern PREFIX-00001-of-000NN.gguf opens all shards. All checks of
 * spec/gguf.md section 3 (1-15, 22) are made. NULL with e filled on any error. */
struct gguf *gguf_open(const char *path, struct err *e);
/* The same over bytes that the caller keeps alive (tests, fuzzing); one shard. */
struct gguf *gguf_open_memory(const void *data, size_t len, struct err *e);
void gguf_close(struct gguf *g);

const char *gguf_path(const struct gguf *g);
uint32_t gguf_version(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g); /* all shards */
int gguf_n_shards(const struct gguf *g);
uint64_t gguf_n_kv(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, uint64_t i);
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key); /* NULL: absent */
uint64_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, uint64_t i);
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name);
/* Asks the system to read all tensor data soon. */
void gguf_prefetch(const struct gguf *g);

/* Lenient scalar reads (spec 3.17): any integer kind for integers with a range check, any real or
 * integer kind for reals. false: absent (e untouched, *out untouched) or wrong (e filled).
 * Look at e->code to tell. Pass a zeroed err. */
bool gguf_int(const struct gguf *g, const char *key, int64_t min, int64_t max, int64_t *out,
              struct err *e);
bool gguf_real(const struct gguf *g, const char *key, double *out, struct err *e);
bool gguf_bool(const struct gguf *g, const char *key, bool *out, struct err *e);
bool gguf_str(const struct gguf *g, const char *key, struct str *out, struct err *e);
/* Element i of a numeric or bool array or of a scalar (i = 0). i < count. */
int64_t gguf_arr_int(const struct gguf_kv *kv, uint64_t i);
double gguf_arr_real(const struct gguf_kv *kv, uint64_t i);
struct str gguf_arr_str(const struct gguf_kv *kv, uint64_t i);

/* Writer: keys first, then tensor infos, then data in the order of the infos. Writes to
 * PATH.tmp and renames in gguf_write_close; on any error the temporary is removed and nothing
 * stands under the final name. */
struct gguf_writer;
struct gguf_writer *gguf_write_open(const char *path, struct err *e);
bool gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t v);
bool gguf_write_f32(struct gguf_writer *w, const char *key, float v);
bool gguf_write_bool(struct gguf_writer *w, const char *key, bool v);
bool gguf_write_str(struct gguf_writer *w, const char *key, struct str v);
bool gguf_write_array(struct gguf_writer *w, const char *key, enum gguf_kind elem, const void *data,
                      uint64_t count); /* GGUF_STR: data = struct str[count] */
/* A key of another file as it stands; its name has at most LIMIT_GGUF_KEY - 1 bytes. */
bool gguf_write_kv(struct gguf_writer *w, const struct gguf_kv *kv);
bool gguf_write_tensor(struct gguf_writer *w, const char *name, int type, int n_dims,
                       const int64_t *dim);
/* Appends to the data of the next tensor; padding is made between tensors. */
bool gguf_write_data(struct gguf_writer *w, const void *data, size_t len);
/* Closes in either case; false with e filled if anything failed since gguf_write_open. */
bool gguf_write_close(struct gguf_writer *w, struct err *e);
/* Gives up: removes the temporary file. */
void gguf_write_abort(struct gguf_writer *w);

#endif
