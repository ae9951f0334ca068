/* A model that is easy to check, in the place of model/ and ops/: it writes each token and its
 * position into the K/V pages, and its logits are a hash of everything that it finds there. So a
 * sequence goes on right if and only if its page tables show exactly its own tokens, whatever was
 * shared, copied, dropped, evicted or parked. fake_next says what must come. */
#ifndef HOLDFAST_TESTS_FAKE_MODEL_H
#define HOLDFAST_TESTS_FAKE_MODEL_H

#include "base/mem.h"
#include "gguf/gguf.h"
#include "model/model.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FAKE_VOCAB = 300, FAKE_SLOT = 8, FAKE_EOS = 2 };

/* Set before a model is loaded. */
static int fake_window;           /* > 0: a second layer group that sees only so many positions */
static _Atomic int fake_nan_at;   /* > 0: logits at this position are not finite */
static _Atomic int fake_delay_us; /* of a forward pass */
static _Atomic int fake_end_every = 40; /* one answer token in so many is the end */
static _Atomic long fake_rows;          /* computed so far */

struct model {
    struct model_info info;
    struct model_group group[2];
    int n_groups, n_ubatch, n_logits;
    float *logits;
};
struct fake_slot {
    int32_t token, pos;
};

static uint64_t fake_mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

/* The best token behind a hash, and its logits. */
static int32_t fake_choice(uint64_t h) {
    h = fake_mix(h, 77);
    if (h % (uint64_t)fake_end_every == 0) return FAKE_EOS;
    return 3 + (int32_t)((h >> 20) % (FAKE_VOCAB - 3));
}
static void fake_logits(uint64_t h, float *out) {
    for (int i = 0; i < FAKE_VOCAB; i++)
        out[i] = (float)(fake_mix(h, (uint64_t)i) >> 40) * 0x1p-24f;
    out[fake_choice(h)] = 3;
}

/* What comes behind token[0, n), read from the tokens alone. */
static uint64_t fake_hash(const int32_t *token, int n) {
    uint64_t h = 1;
    for (int i = 0; i < n; i++) h = fake_mix(h, (uint64_t)token[i] << 32 | (uint64_t)i);
    for (int i = fake_window && n > fake_window ? n - fake_window : 0; fake_window && i < n; i++)
        h = fake_mix(h, (uint64_t)token[i] << 32 | (uint64_t)i);
    return h;
}
static int32_t fake_next(const int32_t *token, int n) {
    return fake_choice(fake_hash(token, n));
}

static struct fake_slot *fake_at(const struct kv_table *t, int pos) {
    int page_len = t->page_units * KV_UNIT;
    unsigned char *page = t->pages[pos / page_len];
    if (!page) return NULL;
    return (struct fake_slot *)(void *)(page + (size_t)(pos % page_len) * FAKE_SLOT);
}

static uint64_t fake_read(uint64_t h, const struct kv_table *t, int from, int n) {
    for (int i = from; i < n; i++) {
        const struct fake_slot *s = fake_at(t, i);
        if (!s) return fake_mix(h, 0xBAD);
        h = fake_mix(h, (uint64_t)s->token << 32 | (uint64_t)s->pos);
    }
    return h;
}

const float *model_forward(struct model *m, const struct batch *b, struct err *e) {
    (void)e;
    int n_out = 0;
    if (fake_delay_us) usleep((useconds_t)fake_delay_us);
    fake_rows += b->n_rows;
    for (int i = 0; i < b->n_seqs; i++) {
        const struct batch_seq *s = &b->seqs[i];
        for (int k = 0; k < s->n; k++) {
            int pos = s->pos + k;
            for (int g = 0; g < m->n_groups; g++)
                *fake_at(&s->kv.tables[g], pos) = (struct fake_slot){b->token[s->first + k], pos};
            if (!b->want_logits[s->first + k]) continue;
            uint64_t h = fake_read(1, &s->kv.tables[0], 0, pos + 1);
            int from = fake_window && pos + 1 > fake_window ? pos + 1 - fake_window : 0;
            if (m->n_groups > 1) h = fake_read(h, &s->kv.tables[1], from, pos + 1);
            float *out = m->logits + (size_t)n_out++ * FAKE_VOCAB;
            fake_logits(h, out);
            if (fake_nan_at && pos == fake_nan_at) out[5] = NAN;
        }
    }
    return m->logits;
}

/* Two parts, of which the last one computes. */
int model_parts(const struct model *m) {
    (void)m;
    return 2;
}
bool model_continue(struct model *m, struct model_pass *p, struct err *e) {
    bool pause = false;
    if (p->part == 0) pause = p->pause(p->ctx, ++p->part);
    if (pause) return true;
    p->logits = model_forward(m, p->batch, e);
    p->pause(p->ctx, ++p->part);
    return p->logits != NULL;
}

struct model *model_load(const struct gguf *g, struct backend *b, const struct model_options *o,
                         struct err *e) {
    (void)g;
    (void)b;
    struct model *m = mem_calloc(1, sizeof *m);
    float *logits = mem_array((size_t)o->n_logits * FAKE_VOCAB, sizeof *logits);
    if (!m || !logits) {
        mem_free(m);
        mem_free(logits);
        err_nomem(e, "the model", sizeof *m);
        return NULL;
    }
    m->logits = logits;
    m->n_groups = fake_window ? 2 : 1;
    for (int i = 0; i < 2; i++)
        m->group[i] = (struct model_group){.window = i ? fake_window : 0,
                                           .unit_bytes = KV_UNIT * FAKE_SLOT,
                                           .page_units = o->page_units};
    m->info = (struct model_info){.arch = "fake",
                                  .name = "fake",
                                  .n_layer = m->n_groups,
                                  .n_embd = 8,
                                  .n_vocab = FAKE_VOCAB,
                                  .n_ctx_train = 4096,
                                  .n_ctx = o->n_ctx ? o->n_ctx : 4096,
                                  .n_params = 1000,
                                  .kv_bytes_per_token = FAKE_SLOT,
                                  .fingerprint = 42};
    return m;
}
void model_free(struct model *m) {
    if (m) mem_free(m->logits);
    mem_free(m);
}
const struct model_info *model_info(const struct model *m) {
    return &m->info;
}
const struct model_group *model_groups(const struct model *m, int *n) {
    *n = m->n_groups;
    return m->group;
}
const float *model_hidden(const struct model *m, int64_t *ld) {
    (void)m;
    *ld = 0;
    return NULL;
}

static void fake_close(struct backend *b) {
    mem_free(b);
}
struct backend *backend_cpu(int n_threads, bool pin, struct err *e) {
    (void)n_threads;
    (void)pin;
    struct backend *b = mem_calloc(1, sizeof *b);
    if (b) b->close = fake_close;
    else err_nomem(e, "the backend", sizeof *b);
    return b;
}
size_t kv_block_bytes(enum kv_type type, int dim, bool is_v) {
    return (size_t)type + (size_t)dim + is_v;
}
int kv_type_by_name(const char *name) {
    return strcmp(name, "q8_0") == 0 ? KV_Q8_0 : -1;
}
const char *kv_type_name(enum kv_type t) {
    (void)t;
    return "q8_0";
}

/* A file with a vocabulary (bytes and some letters) and nothing else. */
static bool fake_write_gguf(const char *path) {
    static char text[FAKE_VOCAB][8];
    static struct str token[FAKE_VOCAB];
    static int32_t type[FAKE_VOCAB];
    static float score[FAKE_VOCAB];
    for (int i = 0; i < FAKE_VOCAB; i++) {
        if (i == 0) snprintf(text[i], sizeof text[i], "<unk>");
        else if (i == 1) snprintf(text[i], sizeof text[i], "<s>");
        else if (i == FAKE_EOS) snprintf(text[i], sizeof text[i], "</s>");
        else if (i < 259) snprintf(text[i], sizeof text[i], "<0x%02X>", (unsigned)(i - 3));
        else snprintf(text[i], sizeof text[i], "%c%c", 'a' + (i - 259) % 26, 'a' + i % 7);
        token[i] = str_of(text[i]);
        type[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
    }
    struct err e = {0};
    struct gguf_writer *w = gguf_write_open(path, &e);
    return w && gguf_write_str(w, "general.architecture", STR("llama")) &&
           gguf_write_str(w, "tokenizer.ggml.model", STR("llama")) &&
           gguf_write_array(w, "tokenizer.ggml.tokens", GGUF_STR, token, FAKE_VOCAB) &&
           gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_I32, type, FAKE_VOCAB) &&
           gguf_write_array(w, "tokenizer.ggml.scores", GGUF_F32, score, FAKE_VOCAB) &&
           gguf_write_u32(w, "tokenizer.ggml.eos_token_id", FAKE_EOS) && gguf_write_close(w, &e);
}

#endif
