/* What an open GGUF is made of. Private to gguf/: read.c fills it, get.c looks things up. */
#ifndef HOLDFAST_GGUF_FILE_H
#define HOLDFAST_GGUF_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf.h"

/* A hash set of names with the index each stands for: open addressing, at most half full. The
 * bytes of the names stay where they are, in the mapping. */
struct names {
    struct names_slot {
        struct str name;
        size_t index;
        bool used;
    } * slot;
    size_t n, n_slots; /* n_slots is a power of two, or 0 */
};
enum names_result { NAMES_OK, NAMES_DUPLICATE, NAMES_CROWDED, NAMES_NOMEM };
/* CROWDED: more than LIMIT_GGUF_PROBES names hash alike, which only a crafted file does. */
enum names_result names_add(struct names *s, struct str name, size_t index);
bool names_find(const struct names *s, struct str name, size_t *index);
void names_free(struct names *s);

struct keys {
    struct gguf_kv *at;
    size_t n, cap;
    struct names names;
};
const struct gguf_kv *keys_find(const struct keys *k, const char *key);

struct shard {
    struct os_map map; /* empty when the bytes belong to the caller */
    const unsigned char *data;
    size_t len;
};

struct gguf {
    char *path;
    uint32_t version;
    int n_shards;
    struct shard *shard;
    struct keys keys; /* of the first shard */
    struct gguf_tensor *tensor;
    size_t n_tensors, tensor_cap;
    struct names tensor_names;
    struct arena arena; /* offsets of string arrays, copies of unaligned tensors */
};

/* Bytes of a scalar kind; 0 for strings and arrays. */
size_t gguf_kind_bytes(enum gguf_kind kind);

#endif
