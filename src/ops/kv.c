/* Names and sizes of K/V storage types, for everyone who may not see kern/. */
#include "ops/ops.h"

#include <assert.h>
#include <string.h>

#include "kern/attn.h"

_Static_assert((int)KV_UNIT == (int)ATTN_UNIT, "one unit");
_Static_assert(KV_F32 == (int)ATTN_F32 && KV_Q4_0 == (int)ATTN_Q4_0, "ORDER KV");

static const char *const names[KV_TYPES] = {"f32", "f16", "q8_0", "q4_0"}; /* ORDER KV */

size_t kv_block_bytes(enum kv_type type, int dim, bool is_v) {
    assert(type < KV_TYPES && dim > 0 && dim <= ATTN_MAX_DIM);
    return attn_block_bytes((enum attn_type)type, dim, is_v);
}

int kv_type_by_name(const char *name) {
    for (int i = 0; i < KV_TYPES; i++)
        if (strcmp(name, names[i]) == 0) return i;
    return -1;
}

const char *kv_type_name(enum kv_type t) {
    return names[t];
}
