/* Opens and checks a GGUF (spec/gguf.md 1-3). Every byte is read through one bounded cursor;
 * sizes are compared with what is left of the file before anything is allocated, so memory stays
 * in proportion to the file. Nothing is trusted: after gguf_open every view in a struct gguf
 * lies inside the mapping. Makes no use of what keys mean, apart from general.alignment and
 * split.*. */
#include "gguf/file.h"
#include "base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HEADER_BYTES = 24, KV_MIN_BYTES = 13, INFO_MIN_BYTES = 24, DEFAULT_ALIGNMENT = 32 };

/* --- the cursor --- */

struct cursor {
    const unsigned char *start, *p;
    size_t left;
    struct err *e;
};

static int64_t position(const struct cursor *c) {
    return c->p - c->start;
}

/* Takes n bytes, or complains that the file ends inside `what`. */
static const unsigned char *take(struct cursor *c, uint64_t n, const char *what) {
    if (n > c->left) {
        err_set_at(c->e, ERR_FORMAT, position(c),
                   "the file ends inside %s: %" PRIu64 " bytes expected at byte %" PRId64
                   ", %zu are left; is the download complete?",
                   what, n, position(c), c->left);
        return NULL;
    }
    const unsigned char *p = c->p;
    c->p += n;
    c->left -= (size_t)n;
    return p;
}

static bool take_u32(struct cursor *c, uint32_t *v, const char *what) {
    const unsigned char *p = take(c, 4, what);
    if (!p) return false;
    *v = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    return true;
}

static bool take_u64(struct cursor *c, uint64_t *v, const char *what) {
    uint32_t low, high;
    if (!take_u32(c, &low, what) || !take_u32(c, &high, what)) return false;
    *v = low | (uint64_t)high << 32;
    return true;
}

static bool take_str(struct cursor *c, struct str *s, const char *what) {
    uint64_t len;
    if (!take_u64(c, &len, what)) return false;
    if (len > LIMIT_GGUF_STRING)
        return err_set_at(c->e, ERR_LIMIT, position(c),
                          "%s at byte %" PRId64 " has %" PRIu64 " bytes, over the limit of %d",
                          what, position(c), len, LIMIT_GGUF_STRING);
    const unsigned char *p = take(c, len, what);
    if (!p) return false;
    *s = (struct str){(const char *)p, (size_t)len};
    return true;
}

/* A name from the file made fit to stand in a message: short, and printable ASCII. */
struct label {
    char text[80];
};
static struct label label_of(struct str s) {
    struct label l;
    size_t n = s.len < sizeof l.text - 4 ? s.len : sizeof l.text - 4;
    for (size_t i = 0; i < n; i++) l.text[i] = s.p[i] >= 32 && s.p[i] < 127 ? s.p[i] : '?';
    strcpy(l.text + n, n < s.len ? "..." : "");
    return l;
}

static bool add_name(struct names *names, struct str name, size_t index, const char *what,
                     struct err *e) {
    switch (names_add(names, name, index)) {
    case NAMES_OK:
        return true;
    case NAMES_DUPLICATE:
        return err_set(e, ERR_FORMAT, "%s %s occurs twice", what, label_of(name).text);
    case NAMES_CROWDED:
        return err_set(e, ERR_LIMIT, "more than %d names of kind '%s' hash alike",
                       LIMIT_GGUF_PROBES, what);
    case NAMES_NOMEM:
        break;
    }
    return err_nomem(e, "the index of names", names->n * 2 * sizeof *names->slot);
}

/* --- header --- */

/* Files that people take for a GGUF by mistake. */
static const struct {
    const char *start, *what;
} lookalikes[] = {
    {"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull`"},
    {"<!DOCTYPE", "a web page: the download went wrong"},
    {"<html", "a web page: the download went wrong"},
    {"PK\003\004", "a zip archive, perhaps a PyTorch checkpoint: convert it to GGUF first"},
    {"tjgg", "a GGML file from before GGUF: get the model as a GGUF"},
    {"lmgg", "a GGML file from before GGUF: get the model as a GGUF"},
    {"fmgg", "a GGML file from before GGUF: get the model as a GGUF"},
    {"FUGG", "a big-endian GGUF, which is not supported"},
};

static bool not_gguf(const unsigned char *data, size_t len, struct err *e) {
    struct str head = {(const char *)data, len < 64 ? len : 64};
    for (size_t i = 0; i < sizeof lookalikes / sizeof *lookalikes; i++)
        if (str_starts(head, str_of(lookalikes[i].start)))
            return err_set_at(e, ERR_FORMAT, 0, "this is no GGUF file but %s", lookalikes[i].what);
    bool safetensors = len > 9 && data[8] == '{';
    head.len = head.len < 4 ? head.len : 4;
    return err_set_at(e, ERR_FORMAT, 0, "this is no GGUF file: it starts with '%s', not 'GGUF'%s",
                      label_of(head).text,
                      safetensors ? "; it looks like safetensors, convert it to GGUF first" : "");
}

static bool read_header(struct cursor *c, uint32_t *version, uint64_t *n_tensors, uint64_t *n_kv) {
    if (c->left < 4 || memcmp(c->p, "GGUF", 4) != 0) return not_gguf(c->p, c->left, c->e);
    if (!take(c, 4, "the header") || !take_u32(c, version, "the header") ||
        !take_u64(c, n_tensors, "the header") || !take_u64(c, n_kv, "the header"))
        return false;
    if ((*version & 0xFFFF) == 0)
        return err_set_at(c->e, ERR_UNSUPPORTED, 4, "a big-endian GGUF is not supported");
    if (*version != 2 && *version != 3)
        return err_set_at(c->e, ERR_UNSUPPORTED, 4,
                          "GGUF version 2 or 3 expected, found %" PRIu32 "%s", *version,
                          *version < 2 ? "; convert the model again with a newer converter" : "");
    if (*n_kv > c->left / KV_MIN_BYTES || *n_kv > LIMIT_GGUF_KEYS)
        return err_set_at(c->e, ERR_FORMAT, 16,
                          "the header announces %" PRIu64 " keys, which %zu bytes cannot hold or "
                          "which is over the limit of %d",
                          *n_kv, c->left, LIMIT_GGUF_KEYS);
    if (*n_tensors > c->left / INFO_MIN_BYTES || *n_tensors > LIMIT_GGUF_TENSORS)
        return err_set_at(c->e, ERR_FORMAT, 8,
                          "the header announces %" PRIu64 " tensors, which %zu bytes cannot hold "
                          "or which is over the limit of %d",
                          *n_tensors, c->left, LIMIT_GGUF_TENSORS);
    return true;
}

/* --- keys --- */

static bool take_kind(struct cursor *c, enum gguf_kind *kind, const char *what) {
    uint32_t id;
    if (!take_u32(c, &id, what)) return false;
    if (id > GGUF_F64)
        return err_set_at(c->e, ERR_FORMAT, position(c) - 4,
                          "%s has the unknown value type %" PRIu32, what, id);
    *kind = (enum gguf_kind)id;
    return true;
}

/* Notes where each string begins, so that any of them is found at once. */
static bool read_strings(struct cursor *c, struct arena *arena, struct gguf_kv *kv,
                         const char *what) {
    if (kv->count > c->left / 8)
        return err_set_at(c->e, ERR_FORMAT, position(c),
                          "%s announces %" PRIu64 " strings, which %zu bytes cannot hold", what,
                          kv->count, c->left);
    uint64_t *offset = arena_alloc(arena, ((size_t)kv->count + 1) * sizeof *offset);
    if (!offset) return err_nomem(c->e, what, (kv->count + 1) * sizeof *offset);
    for (uint64_t i = 0; i < kv->count; i++) {
        struct str s;
        offset[i] = (uint64_t)(c->p - kv->data);
        if (!take_str(c, &s, what)) return false;
    }
    offset[kv->count] = (uint64_t)(c->p - kv->data);
    kv->offset = offset;
    return true;
}

static bool read_array(struct cursor *c, struct arena *arena, struct gguf_kv *kv,
                       const char *what) {
    if (!take_kind(c, &kv->elem, what) || !take_u64(c, &kv->count, what)) return false;
    if (kv->elem == GGUF_ARR)
        return err_set_at(c->e, ERR_UNSUPPORTED, position(c) - 12, "%s is an array of arrays",
                          what);
    if (kv->count > LIMIT_GGUF_ARRAY)
        return err_set_at(c->e, ERR_LIMIT, position(c) - 8,
                          "%s has %" PRIu64 " elements, over the limit of %d", what, kv->count,
                          LIMIT_GGUF_ARRAY);
    kv->data = c->p;
    if (kv->elem == GGUF_STR) return read_strings(c, arena, kv, what);
    /* at most 2^30 * 8: no overflow */
    return take(c, kv->count * gguf_kind_bytes(kv->elem), what) != NULL;
}

static bool read_key(struct cursor *c, struct arena *arena, struct gguf_kv *kv) {
    *kv = (struct gguf_kv){.count = 1};
    if (!take_str(c, &kv->key, "a key's name")) return false;
    if (kv->key.len == 0) return err_set_at(c->e, ERR_FORMAT, position(c), "a key has no name");
    struct label name = label_of(kv->key);
    char what[sizeof name.text + 8];
    snprintf(what, sizeof what, "key %s", name.text);
    if (!take_kind(c, &kv->kind, what)) return false;
    kv->elem = kv->kind;
    kv->data = c->p;
    if (kv->kind == GGUF_ARR) return read_array(c, arena, kv, what);
    struct str s;
    if (kv->kind == GGUF_STR) return take_str(c, &s, what);
    return take(c, gguf_kind_bytes(kv->kind), what) != NULL;
}

static bool read_keys(struct cursor *c, struct arena *arena, struct keys *keys, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        void *at = keys->at;
        if (!mem_grow(&at, &keys->cap, keys->n + 1, sizeof *keys->at))
            return err_nomem(c->e, "keys", (keys->n + 1) * sizeof *keys->at);
        keys->at = at;
        struct gguf_kv *kv = &keys->at[keys->n];
        if (!read_key(c, arena, kv) || !add_name(&keys->names, kv->key, keys->n, "key", c->e))
            return false;
        keys->n++;
    }
    return true;
}

static bool read_alignment(const struct keys *keys, uint64_t *alignment, struct err *e) {
    *alignment = DEFAULT_ALIGNMENT;
    const struct gguf_kv *kv = keys_find(keys, "general.alignment");
    if (!kv) return true;
    if (kv->kind != GGUF_U32)
        return err_set(e, ERR_FORMAT, "general.alignment: expected u32, found %s",
                       gguf_kind_name(kv->kind));
    *alignment = (uint64_t)gguf_arr_int(kv, 0);
    if (*alignment == 0 || (*alignment & (*alignment - 1)))
        return err_set(e, ERR_FORMAT, "general.alignment: expected a power of two, found %" PRIu64,
                       *alignment);
    return true;
}

/* --- tensor infos --- */

/* Dimensions and type are within bounds: sets t->bytes. */
static bool size_tensor(struct gguf_tensor *t, struct err *e) {
    struct label name = label_of(str_of(t->name));
    int64_t left = INT64_MAX;
    bool empty = false;
    for (int i = 0; i < 4; i++) {
        int64_t n = t->t.dim[i];
        if (n < 0)
            return err_set(e, ERR_FORMAT, "tensor %s: dimension %d is %" PRId64, name.text, i, n);
        if (n == 0) empty = true;
        else if ((left /= n) == 0)
            return err_set(e, ERR_FORMAT, "tensor %s: more than 2^63 elements", name.text);
    }
    const struct quant_info *q = quant_info(t->t.type);
    if (!q)
        return err_set(e, ERR_UNSUPPORTED, "tensor %s: type %d is not one of the format", name.text,
                       t->t.type);
    if (t->t.dim[0] % q->block != 0)
        return err_set(e, ERR_FORMAT,
                       "tensor %s: rows of %s are multiples of %d elements, found %" PRId64,
                       name.text, q->name, q->block, t->t.dim[0]);
    uint64_t blocks = empty ? 0 : (uint64_t)tensor_count(&t->t) / (uint64_t)q->block;
    if (blocks > SIZE_MAX / (size_t)q->bytes)
        return err_set(e, ERR_FORMAT, "tensor %s: its size overflows", name.text);
    t->bytes = blocks * (uint64_t)q->bytes;
    return true;
}

static bool read_info(struct cursor *c, struct gguf_tensor *t, struct str *name) {
    uint32_t n_dims, type;
    if (!take_str(c, name, "a tensor's name")) return false;
    if (name->len >= LIMIT_GGUF_NAME || (name->len && memchr(name->p, 0, name->len)))
        return err_set_at(c->e, ERR_FORMAT, position(c),
                          "tensor name %s: expected less than %d bytes without NUL, found %zu",
                          label_of(*name).text, LIMIT_GGUF_NAME, name->len);
    *t = (struct gguf_tensor){.t.dim = {1, 1, 1, 1}};
    if (name->len) memcpy(t->name, name->p, name->len);
    if (!take_u32(c, &n_dims, "a tensor's dimensions")) return false;
    if (n_dims > 4)
        return err_set_at(c->e, ERR_FORMAT, position(c) - 4,
                          "tensor %s: expected at most 4 dimensions, found %" PRIu32,
                          label_of(*name).text, n_dims);
    t->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < n_dims; i++) {
        uint64_t n;
        if (!take_u64(c, &n, "a tensor's dimensions")) return false;
        t->t.dim[i] = n <= INT64_MAX ? (int64_t)n : -1;
    }
    if (!take_u32(c, &type, "a tensor's type") || !take_u64(c, &t->offset, "a tensor's offset"))
        return false;
    t->t.type = type < QUANT_TYPES ? (int)type : QUANT_TYPES;
    if (size_tensor(t, c->e)) return true;
    c->e->pos = position(c);
    return false;
}

static bool read_infos(struct cursor *c, struct gguf *g, int shard, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        void *at = g->tensor;
        if (!mem_grow(&at, &g->tensor_cap, g->n_tensors + 1, sizeof *g->tensor))
            return err_nomem(c->e, "tensor infos", (g->n_tensors + 1) * sizeof *g->tensor);
        g->tensor = at;
        struct str name;
        struct gguf_tensor *t = &g->tensor[g->n_tensors];
        if (!read_info(c, t, &name) ||
            !add_name(&g->tensor_names, name, g->n_tensors, "tensor", c->e))
            return false;
        t->shard = shard;
        g->n_tensors++;
    }
    return true;
}

/* A file with an alignment below 4 may hold numbers that cannot be read in place. */
static bool align_tensor(struct gguf *g, struct tensor *t, uint64_t bytes, struct err *e) {
    const struct quant_info *q = quant_info(t->type);
    if (q->block != 1 || (uintptr_t)t->data % (uintptr_t)q->bytes == 0) return true;
    void *copy = arena_alloc(&g->arena, (size_t)bytes);
    if (!copy) return err_nomem(e, "an unaligned tensor", bytes);
    memcpy(copy, t->data, (size_t)bytes);
    t->data = copy;
    return true;
}

/* Points the tensors from `first` on into the data section, which starts behind the cursor. */
static bool place_tensors(struct cursor *c, struct gguf *g, size_t first, uint64_t alignment) {
    uint64_t at = ((uint64_t)position(c) + alignment - 1) & ~(alignment - 1);
    uint64_t len = (uint64_t)position(c) + c->left, size = at < len ? len - at : 0;
    for (size_t i = first; i < g->n_tensors; i++) {
        struct gguf_tensor *t = &g->tensor[i];
        struct label name = label_of(str_of(t->name));
        if (t->offset % alignment != 0)
            return err_set(c->e, ERR_FORMAT,
                           "tensor %s: offset %" PRIu64
                           " is not a multiple of the alignment %" PRIu64,
                           name.text, t->offset, alignment);
        if (t->offset > size || t->bytes > size - t->offset)
            return err_set(c->e, ERR_FORMAT,
                           "tensor %s: needs bytes %" PRIu64 "+%" PRIu64
                           " of the data section, which has %" PRIu64 "; is the download complete?",
                           name.text, t->offset, t->bytes, size);
        t->t.data = t->bytes ? c->start + at + t->offset : c->start;
        if (t->bytes && !align_tensor(g, &t->t, t->bytes, c->e)) return false;
    }
    return true;
}

/* --- files and shards --- */

/* Parses shard `i`: its tensors go to g, its keys to `keys`. */
static bool read_shard(struct gguf *g, int i, struct keys *keys, struct err *e) {
    const struct shard *s = &g->shard[i];
    struct cursor c = {s->data, s->data, s->len, e};
    uint64_t n_tensors, n_kv, alignment;
    size_t first = g->n_tensors;
    return read_header(&c, &g->version, &n_tensors, &n_kv) &&
           read_keys(&c, &g->arena, keys, n_kv) && read_alignment(keys, &alignment, e) &&
           read_infos(&c, g, i, n_tensors) && place_tensors(&c, g, first, alignment);
}

/* Value of an integer key of any kind, or `none`. */
static int64_t key_int(const struct keys *keys, const char *key, int64_t none) {
    const struct gguf_kv *kv = keys_find(keys, key);
    bool ok = kv && kv->kind != GGUF_ARR && kv->kind != GGUF_STR;
    return ok ? gguf_arr_int(kv, 0) : none;
}

static void free_keys(struct keys *keys) {
    mem_free(keys->at);
    names_free(&keys->names);
}

enum { SUFFIX_LEN = sizeof "-00001-of-00002.gguf" - 1 };

/* Writes the path of shard i; false when `path` is not that of a shard out of n. */
static bool shard_path(const char *path, int64_t i, int64_t n, char *out, size_t size) {
    size_t len = strlen(path);
    if (len < SUFFIX_LEN) return false;
    const char *suffix = path + len - SUFFIX_LEN;
    for (int k = 0; k < 5; k++)
        if (suffix[1 + k] < '0' || suffix[1 + k] > '9') return false;
    char tail[32];
    snprintf(tail, sizeof tail, "-of-%05" PRId64 ".gguf", n);
    if (suffix[0] != '-' || strcmp(suffix + 6, tail) != 0) return false;
    int written =
        snprintf(out, size, "%.*s-%05" PRId64 "%s", (int)(len - SUFFIX_LEN), path, i + 1, tail);
    return written > 0 && (size_t)written < size;
}

static bool open_shard(struct gguf *g, int i, const char *path, struct keys *keys, struct err *e) {
    struct shard *s = &g->shard[i];
    if (!os_map_open(&s->map, path, e)) return false;
    s->data = s->map.data;
    s->len = s->map.len;
    g->n_shards = i + 1;
    return read_shard(g, i, keys, e) || err_prefix(e, "%s", path);
}

/* Opens shards 1 to n - 1 of a file whose first one is open. */
static bool open_rest(struct gguf *g, int64_t n, struct err *e) {
    char path[4096];
    int64_t no = key_int(&g->keys, "split.no", 0);
    if (n > LIMIT_GGUF_SHARDS)
        return err_set(e, ERR_LIMIT, "%s: split into %" PRId64 " files, over the limit of %d",
                       g->path, n, LIMIT_GGUF_SHARDS);
    if (!shard_path(g->path, 0, n, path, sizeof path))
        return err_set(e, ERR_FORMAT,
                       "%s: one of %" PRId64 " shards, so its name must end in -00001-of-%05" PRId64
                       ".gguf",
                       g->path, n, n);
    if (no != 0)
        return err_set(e, ERR_ARG, "%s: shard %" PRId64 " of %" PRId64 "; open %s instead", g->path,
                       no + 1, n, path);
    struct shard *shards = mem_realloc(g->shard, (size_t)n, sizeof *shards);
    if (!shards) return err_nomem(e, "shards", (uint64_t)n * sizeof *shards);
    g->shard = shards;
    for (int i = 1; i < n; i++) {
        struct keys keys = {0};
        g->shard[i] = (struct shard){0};
        shard_path(g->path, i, n, path, sizeof path);
        bool ok = open_shard(g, i, path, &keys, e);
        no = key_int(&keys, "split.no", -1);
        free_keys(&keys);
        if (!ok) return false;
        if (no != i)
            return err_set(e, ERR_FORMAT, "%s: expected split.no %d, found %" PRId64, path, i, no);
    }
    int64_t total = key_int(&g->keys, "split.tensors.count", (int64_t)g->n_tensors);
    if (total != (int64_t)g->n_tensors)
        return err_set(e, ERR_FORMAT, "%s: split.tensors.count is %" PRId64 ", the shards have %zu",
                       g->path, total, g->n_tensors);
    return true;
}

static struct gguf *gguf_new(const char *path, struct err *e) {
    struct gguf *g = mem_calloc(1, sizeof *g);
    if (g) g->path = mem_strdup(path);
    if (g) g->shard = mem_calloc(1, sizeof *g->shard);
    if (g && g->path && g->shard) return g;
    gguf_close(g);
    err_nomem(e, path, sizeof *g);
    return NULL;
}

struct gguf *gguf_open(const char *path, struct err *e) {
    struct err unwanted;
    if (!e) e = &unwanted;
    struct gguf *g = gguf_new(path, e);
    if (!g || !open_shard(g, 0, path, &g->keys, e)) goto fail;
    int64_t n = key_int(&g->keys, "split.count", 0);
    if (n > 1 && !open_rest(g, n, e)) goto fail;
    return g;
fail:
    gguf_close(g);
    return NULL;
}

struct gguf *gguf_open_memory(const void *data, size_t len, struct err *e) {
    struct err unwanted;
    if (!e) e = &unwanted;
    struct gguf *g = gguf_new("(memory)", e);
    if (!g) return NULL;
    g->shard[0] = (struct shard){.data = data, .len = len};
    g->n_shards = 1;
    if (read_shard(g, 0, &g->keys, e)) return g;
    gguf_close(g);
    return NULL;
}

void gguf_close(struct gguf *g) {
    if (!g) return;
    for (int i = 0; i < g->n_shards; i++)
        if (g->shard[i].map.data) os_map_close(&g->shard[i].map);
    mem_free(g->shard);
    mem_free(g->path);
    mem_free(g->tensor);
    free_keys(&g->keys);
    names_free(&g->tensor_names);
    arena_free(&g->arena);
    mem_free(g);
}
