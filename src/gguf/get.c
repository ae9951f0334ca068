/* Looking things up in an open GGUF: names, lenient scalars, array elements. Reads the mapping
 * byte by byte or by memcpy, since nothing in it is aligned. */
#include "gguf/file.h"
#include "base/limits.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* --- names --- */

/* The slot of a name, or the free one where it belongs; NULL after too many probes. */
static struct names_slot *names_slot(const struct names *s, struct str name) {
    size_t mask = s->n_slots - 1, at = (size_t)str_hash(name) & mask;
    for (int probe = 0; probe < LIMIT_GGUF_PROBES; probe++, at = (at + 1) & mask) {
        struct names_slot *slot = &s->slot[at];
        if (!slot->used || str_eq(slot->name, name)) return slot;
    }
    return NULL;
}

static enum names_result names_grow(struct names *s) {
    struct names bigger = {.n = s->n, .n_slots = s->n_slots ? 2 * s->n_slots : 64};
    bigger.slot = mem_calloc(bigger.n_slots, sizeof *bigger.slot);
    if (!bigger.slot) return NAMES_NOMEM;
    for (size_t i = 0; i < s->n_slots; i++) {
        if (!s->slot[i].used) continue;
        struct names_slot *to = names_slot(&bigger, s->slot[i].name);
        if (!to) {
            names_free(&bigger);
            return NAMES_CROWDED;
        }
        *to = s->slot[i];
    }
    names_free(s);
    *s = bigger;
    return NAMES_OK;
}

enum names_result names_add(struct names *s, struct str name, size_t index) {
    if (2 * (s->n + 1) > s->n_slots) {
        enum names_result r = names_grow(s);
        if (r != NAMES_OK) return r;
    }
    struct names_slot *slot = names_slot(s, name);
    if (!slot) return NAMES_CROWDED;
    if (slot->used) return NAMES_DUPLICATE;
    *slot = (struct names_slot){name, index, true};
    s->n++;
    return NAMES_OK;
}

bool names_find(const struct names *s, struct str name, size_t *index) {
    if (!s->n_slots) return false;
    const struct names_slot *slot = names_slot(s, name);
    if (!slot || !slot->used) return false;
    *index = slot->index;
    return true;
}

void names_free(struct names *s) {
    mem_free(s->slot);
    *s = (struct names){0};
}

/* --- plain access --- */

const char *gguf_path(const struct gguf *g) {
    return g->path;
}
uint32_t gguf_version(const struct gguf *g) {
    return g->version;
}
uint64_t gguf_file_bytes(const struct gguf *g) {
    uint64_t sum = 0;
    for (int i = 0; i < g->n_shards; i++) sum += g->shard[i].len;
    return sum;
}
int gguf_n_shards(const struct gguf *g) {
    return g->n_shards;
}
uint64_t gguf_n_kv(const struct gguf *g) {
    return g->keys.n;
}
const struct gguf_kv *gguf_kv_at(const struct gguf *g, uint64_t i) {
    assert(i < g->keys.n);
    return &g->keys.at[i];
}
const struct gguf_kv *keys_find(const struct keys *k, const char *key) {
    size_t i;
    return names_find(&k->names, str_of(key), &i) ? &k->at[i] : NULL;
}
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key) {
    return keys_find(&g->keys, key);
}
uint64_t gguf_n_tensors(const struct gguf *g) {
    return g->n_tensors;
}
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, uint64_t i) {
    assert(i < g->n_tensors);
    return &g->tensor[i];
}
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name) {
    size_t i;
    return names_find(&g->tensor_names, str_of(name), &i) ? &g->tensor[i] : NULL;
}
void gguf_prefetch(const struct gguf *g) {
    for (int i = 0; i < g->n_shards; i++)
        if (g->shard[i].map.data) os_map_advise(&g->shard[i].map, true);
}

/* --- kinds and elements --- */

/* ORDER GGUF_KIND */
static const struct {
    const char *name;
    size_t bytes;
} kinds[] = {
    [GGUF_U8] = {"u8", 1},     [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},   [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},   [GGUF_BOOL] = {"bool", 1}, [GGUF_STR] = {"string", 0},
    [GGUF_ARR] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_kind_name(enum gguf_kind kind) {
    return kinds[kind].name;
}
size_t gguf_kind_bytes(enum gguf_kind kind) {
    return kinds[kind].bytes;
}

static enum gguf_kind element_kind(const struct gguf_kv *kv) {
    return kv->kind == GGUF_ARR ? kv->elem : kv->kind;
}
static bool is_integer(enum gguf_kind k) {
    return kinds[k].bytes && k != GGUF_F32 && k != GGUF_F64 && k != GGUF_BOOL;
}
static bool is_number(enum gguf_kind k) {
    return is_integer(k) || k == GGUF_F32 || k == GGUF_F64;
}

/* The element's bytes as a little-endian number, sign-extended for signed kinds. */
static uint64_t element_bits(const struct gguf_kv *kv, uint64_t i) {
    enum gguf_kind k = element_kind(kv);
    size_t bytes = kinds[k].bytes;
    assert(bytes && i < kv->count);
    const unsigned char *p = kv->data + i * bytes;
    uint64_t v = 0;
    for (size_t b = 0; b < bytes; b++) v |= (uint64_t)p[b] << (8 * b);
    bool is_signed = k == GGUF_I8 || k == GGUF_I16 || k == GGUF_I32;
    if (is_signed && p[bytes - 1] & 0x80) v |= ~(uint64_t)0 << (8 * bytes);
    return v;
}

double gguf_arr_real(const struct gguf_kv *kv, uint64_t i) {
    uint64_t bits = element_bits(kv, i);
    enum gguf_kind k = element_kind(kv);
    double d;
    memcpy(&d, &bits, sizeof d);
    if (k == GGUF_F64) return d;
    if (k == GGUF_F32) return (double)quant_from_bits((uint32_t)bits);
    return k == GGUF_U64 ? (double)bits : (double)(int64_t)bits;
}

int64_t gguf_arr_int(const struct gguf_kv *kv, uint64_t i) {
    enum gguf_kind k = element_kind(kv);
    if (k == GGUF_F32 || k == GGUF_F64) {
        double d = gguf_arr_real(kv, i);
        return d >= -0x1p63 && d < 0x1p63 ? (int64_t)d : INT64_MIN;
    }
    uint64_t bits = element_bits(kv, i);
    if (k == GGUF_BOOL) return bits != 0;
    return k == GGUF_U64 && bits > INT64_MAX ? INT64_MAX : (int64_t)bits;
}

struct str gguf_arr_str(const struct gguf_kv *kv, uint64_t i) {
    assert(element_kind(kv) == GGUF_STR && i < kv->count);
    const unsigned char *p = kv->data + (kv->offset ? kv->offset[i] : 0);
    uint64_t len = 0;
    for (int b = 0; b < 8; b++) len |= (uint64_t)p[b] << (8 * b);
    return (struct str){(const char *)p + 8, (size_t)len};
}

/* --- lenient scalars --- */

/* The key if it is there; complains unless ok(kind). */
static const struct gguf_kv *scalar(const struct gguf *g, const char *key,
                                    bool (*ok)(enum gguf_kind), const char *expected,
                                    struct err *e) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv || ok(kv->kind)) return kv;
    err_set(e, ERR_FORMAT, "key %s: expected %s, found %s%s", key, expected,
            gguf_kind_name(kv->kind), kv->kind == GGUF_ARR ? " of values" : "");
    return NULL;
}

bool gguf_int(const struct gguf *g, const char *key, int64_t min, int64_t max, int64_t *out,
              struct err *e) {
    const struct gguf_kv *kv = scalar(g, key, is_integer, "an integer", e);
    if (!kv) return false;
    int64_t v = gguf_arr_int(kv, 0);
    if (v < min || v > max)
        return err_set(e, ERR_FORMAT, "key %s: expected %" PRId64 " to %" PRId64 ", found %" PRId64,
                       key, min, max, v);
    *out = v;
    return true;
}

bool gguf_real(const struct gguf *g, const char *key, double *out, struct err *e) {
    const struct gguf_kv *kv = scalar(g, key, is_number, "a number", e);
    if (!kv) return false;
    double v = gguf_arr_real(kv, 0);
    if (!isfinite(v))
        return err_set(e, ERR_FORMAT, "key %s: expected a finite number, found %g", key, v);
    *out = v;
    return true;
}

static bool is_boolean(enum gguf_kind k) {
    return k == GGUF_BOOL || is_integer(k);
}
bool gguf_bool(const struct gguf *g, const char *key, bool *out, struct err *e) {
    const struct gguf_kv *kv = scalar(g, key, is_boolean, "a bool", e);
    if (!kv) return false;
    *out = gguf_arr_int(kv, 0) != 0;
    return true;
}

static bool is_string(enum gguf_kind k) {
    return k == GGUF_STR;
}
bool gguf_str(const struct gguf *g, const char *key, struct str *out, struct err *e) {
    const struct gguf_kv *kv = scalar(g, key, is_string, "a string", e);
    if (!kv) return false;
    *out = gguf_arr_str(kv, 0);
    return true;
}
