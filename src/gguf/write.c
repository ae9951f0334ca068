/* Writes a GGUF v3: keys and tensor infos are collected in memory, then the head is written at
 * once and the tensors' data streams behind it. Works under PATH.tmp until everything, fsync and
 * close included, has succeeded; only then the file gets its name. The first error sticks. */
#include "gguf/file.h"
#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNMENT = 32 };

struct gguf_writer {
    char *path, *temp;
    FILE *file;
    struct buf keys, infos; /* as they will stand in the file */
    uint64_t n_kv, n_tensors;
    struct sized {
        char name[LIMIT_GGUF_NAME];
        uint64_t bytes;
    } * tensor;
    size_t tensor_cap;
    uint64_t offset;  /* of the next tensor info */
    uint64_t current; /* the tensor whose data is being written */
    uint64_t written; /* bytes of it */
    bool head_written;
    struct err err;
};

static bool failed(const struct gguf_writer *w) {
    return w->err.code != ERR_NONE;
}
static bool nomem(struct gguf_writer *w) {
    return err_nomem(&w->err, w->path, w->keys.len + w->infos.len);
}

struct gguf_writer *gguf_write_open(const char *path, struct err *e) {
    struct gguf_writer *w = mem_calloc(1, sizeof *w);
    size_t len = strlen(path);
    if (w) w->path = mem_strdup(path);
    if (w) w->temp = mem_alloc(len + sizeof ".tmp");
    if (!w || !w->path || !w->temp) {
        err_nomem(e, path, sizeof *w);
        gguf_write_abort(w);
        return NULL;
    }
    snprintf(w->temp, len + sizeof ".tmp", "%s.tmp", path);
    w->file = fopen(w->temp, "wbe");
    if (!w->file) {
        err_set(e, ERR_IO, "cannot create %s: %s", w->temp, strerror(errno));
        mem_free(w->temp); /* whatever stands there is not ours to remove */
        w->temp = NULL;
        gguf_write_abort(w);
        return NULL;
    }
    return w;
}

/* --- the head --- */

static void put(struct buf *b, uint64_t v, int bytes) {
    unsigned char le[8];
    for (int i = 0; i < bytes; i++) le[i] = (unsigned char)(v >> (8 * i));
    buf_add(b, le, (size_t)bytes);
}
static void put_str(struct buf *b, struct str s) {
    put(b, s.len, 8);
    buf_str(b, s);
}

/* Begins a key; false when the writer has failed before. */
static bool put_key(struct gguf_writer *w, const char *key, enum gguf_kind kind) {
    assert(!w->head_written);
    if (failed(w)) return false;
    put_str(&w->keys, str_of(key));
    put(&w->keys, kind, 4);
    w->n_kv++;
    return true;
}
static bool put_done(struct gguf_writer *w) {
    return w->keys.failed || w->infos.failed ? nomem(w) : true;
}

bool gguf_write_u32(struct gguf_writer *w, const char *key, uint32_t v) {
    if (!put_key(w, key, GGUF_U32)) return false;
    put(&w->keys, v, 4);
    return put_done(w);
}

bool gguf_write_f32(struct gguf_writer *w, const char *key, float v) {
    if (!put_key(w, key, GGUF_F32)) return false;
    put(&w->keys, quant_bits(v), 4);
    return put_done(w);
}

bool gguf_write_bool(struct gguf_writer *w, const char *key, bool v) {
    if (!put_key(w, key, GGUF_BOOL)) return false;
    put(&w->keys, v, 1);
    return put_done(w);
}

bool gguf_write_str(struct gguf_writer *w, const char *key, struct str v) {
    if (!put_key(w, key, GGUF_STR)) return false;
    put_str(&w->keys, v);
    return put_done(w);
}

bool gguf_write_array(struct gguf_writer *w, const char *key, enum gguf_kind elem, const void *data,
                      uint64_t count) {
    assert(elem != GGUF_ARR);
    if (!put_key(w, key, GGUF_ARR)) return false;
    put(&w->keys, elem, 4);
    put(&w->keys, count, 8);
    const struct str *s = data;
    if (elem != GGUF_STR) buf_add(&w->keys, data, count * gguf_kind_bytes(elem));
    else
        for (uint64_t i = 0; i < count; i++) put_str(&w->keys, s[i]);
    return put_done(w);
}

bool gguf_write_kv(struct gguf_writer *w, const struct gguf_kv *kv) {
    char key[LIMIT_GGUF_KEY];
    snprintf(key, sizeof key, "%.*s", (int)kv->key.len, kv->key.p);
    bool is_array = kv->kind == GGUF_ARR;
    enum gguf_kind kind = is_array ? kv->elem : kv->kind;
    if (!put_key(w, key, kv->kind)) return false;
    if (is_array) {
        put(&w->keys, kv->elem, 4);
        put(&w->keys, kv->count, 8);
    }
    if (kind != GGUF_STR) buf_add(&w->keys, kv->data, kv->count * gguf_kind_bytes(kind));
    else
        for (uint64_t i = 0; i < kv->count; i++) put_str(&w->keys, gguf_arr_str(kv, i));
    return put_done(w);
}

bool gguf_write_tensor(struct gguf_writer *w, const char *name, int type, int n_dims,
                       const int64_t *dim) {
    assert(!w->head_written && n_dims >= 0 && n_dims <= 4 && quant_info(type));
    if (failed(w)) return false;
    if (strlen(name) >= LIMIT_GGUF_NAME)
        return err_set(&w->err, ERR_ARG, "tensor name %s is longer than %d bytes", name,
                       LIMIT_GGUF_NAME - 1);
    void *at = w->tensor;
    if (!mem_grow(&at, &w->tensor_cap, w->n_tensors + 1, sizeof *w->tensor)) return nomem(w);
    w->tensor = at;
    int64_t rows = 1;
    put_str(&w->infos, str_of(name));
    put(&w->infos, (uint64_t)n_dims, 4);
    for (int i = 0; i < n_dims; i++) {
        put(&w->infos, (uint64_t)dim[i], 8);
        if (i) rows *= dim[i];
    }
    put(&w->infos, (uint64_t)type, 4);
    put(&w->infos, w->offset, 8);
    struct sized *t = &w->tensor[w->n_tensors++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->bytes = quant_row_bytes(type, n_dims ? dim[0] : 1) * (uint64_t)rows;
    w->offset += (t->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return put_done(w);
}

/* --- the data --- */

static bool write_bytes(struct gguf_writer *w, const void *p, size_t len) {
    if (failed(w)) return false;
    if (len && fwrite(p, 1, len, w->file) != len)
        return err_set(&w->err, ERR_IO, "cannot write %s: %s", w->temp, strerror(errno));
    return true;
}

static bool write_padding(struct gguf_writer *w, uint64_t behind) {
    static const unsigned char zero[ALIGNMENT];
    return write_bytes(w, zero, (size_t)(-behind % ALIGNMENT));
}

static bool write_head(struct gguf_writer *w) {
    if (w->head_written) return !failed(w);
    w->head_written = true;
    struct buf head = {0};
    buf_cstr(&head, "GGUF");
    put(&head, 3, 4);
    put(&head, w->n_tensors, 8);
    put(&head, w->n_kv, 8);
    if (head.failed) nomem(w);
    uint64_t len = head.len + w->keys.len + w->infos.len;
    bool ok = write_bytes(w, head.p, head.len) && write_bytes(w, w->keys.p, w->keys.len) &&
              write_bytes(w, w->infos.p, w->infos.len) && (!w->n_tensors || write_padding(w, len));
    buf_free(&head);
    return ok;
}

/* Goes on to the next tensor while the current one is complete. */
static bool next_tensor(struct gguf_writer *w) {
    while (w->current < w->n_tensors && w->written == w->tensor[w->current].bytes) {
        if (!write_padding(w, w->written)) return false;
        w->current++;
        w->written = 0;
    }
    return true;
}

bool gguf_write_data(struct gguf_writer *w, const void *data, size_t len) {
    if (!write_head(w) || !next_tensor(w)) return false;
    if (w->current == w->n_tensors || len > w->tensor[w->current].bytes - w->written)
        return err_set(&w->err, ERR_ARG, "%s: %zu bytes of data more than tensor %s has", w->path,
                       len, w->n_tensors ? w->tensor[w->n_tensors - 1].name : "(none)");
    if (!write_bytes(w, data, len)) return false;
    w->written += len;
    return next_tensor(w);
}

/* --- the end --- */

static bool finish(struct gguf_writer *w) {
    if (!write_head(w) || !next_tensor(w)) return false;
    if (w->current < w->n_tensors)
        return err_set(&w->err, ERR_ARG, "%s: tensor %s has %" PRIu64 " of %" PRIu64 " bytes",
                       w->path, w->tensor[w->current].name, w->written,
                       w->tensor[w->current].bytes);
    if (fflush(w->file) != 0 || fsync(fileno(w->file)) != 0)
        return err_set(&w->err, ERR_IO, "cannot write %s: %s", w->temp, strerror(errno));
    FILE *f = w->file;
    w->file = NULL;
    if (fclose(f) != 0)
        return err_set(&w->err, ERR_IO, "cannot close %s: %s", w->temp, strerror(errno));
    if (rename(w->temp, w->path) != 0)
        return err_set(&w->err, ERR_IO, "cannot rename %s to %s: %s", w->temp, w->path,
                       strerror(errno));
    return true;
}

bool gguf_write_close(struct gguf_writer *w, struct err *e) {
    bool ok = !failed(w) && finish(w);
    if (ok) {
        mem_free(w->temp); /* it has its final name: nothing to remove */
        w->temp = NULL;
    } else if (e) {
        *e = w->err;
    }
    gguf_write_abort(w);
    return ok;
}

void gguf_write_abort(struct gguf_writer *w) {
    if (!w) return;
    if (w->file) fclose(w->file);
    if (w->temp) unlink(w->temp);
    mem_free(w->path);
    mem_free(w->temp);
    mem_free(w->tensor);
    buf_free(&w->keys);
    buf_free(&w->infos);
    mem_free(w);
}
