/* Compiled grammars by the text they came from, least recently used out first. Owns a reference of
 * each; any thread. Called where requests are parsed. */
#include "base/mem.h"
#include "sample/automaton.h"

#include <pthread.h>
#include <string.h>

enum { ENTRIES = 64, CACHE_BYTES = 64 << 20 };

struct grammar_cache {
    pthread_mutex_t lock;
    struct entry {
        uint64_t hash, used;
        struct buf key, notes;
        struct grammar *g;
    } entry[ENTRIES];
    size_t n;
    uint64_t clock;
};

struct grammar_cache *grammar_cache_new(struct err *e) {
    struct grammar_cache *c = mem_calloc(1, sizeof *c);
    if (!c) err_nomem(e, "the grammar cache", sizeof *c);
    else pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void drop(struct grammar_cache *c, size_t i) {
    grammar_free(c->entry[i].g);
    buf_free(&c->entry[i].key);
    buf_free(&c->entry[i].notes);
    c->entry[i] = c->entry[--c->n];
}

void grammar_cache_free(struct grammar_cache *c) {
    if (!c) return;
    while (c->n) drop(c, 0);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static struct grammar *find(struct grammar_cache *c, struct str key, uint64_t hash,
                            struct buf *notes) {
    for (size_t i = 0; i < c->n; i++) {
        struct entry *x = &c->entry[i];
        if (x->hash != hash || !str_eq(buf_view(&x->key), key)) continue;
        x->used = ++c->clock;
        if (notes) buf_str(notes, buf_view(&x->notes));
        grammar_ref(x->g);
        return x->g;
    }
    return NULL;
}

static void insert(struct grammar_cache *c, struct str key, uint64_t hash, struct grammar *g,
                   struct str notes) {
    size_t bytes = g->bytes, oldest = 0;
    for (size_t i = 0; i < c->n; i++) bytes += c->entry[i].g->bytes;
    while (c->n && (c->n == ENTRIES || bytes > CACHE_BYTES)) {
        oldest = 0;
        for (size_t i = 1; i < c->n; i++)
            if (c->entry[i].used < c->entry[oldest].used) oldest = i;
        bytes -= c->entry[oldest].g->bytes;
        drop(c, oldest);
    }
    struct entry x = {.hash = hash, .used = ++c->clock, .g = g};
    if (!buf_str(&x.key, key) || !buf_str(&x.notes, notes)) {
        buf_free(&x.key);
        buf_free(&x.notes);
        return;
    }
    grammar_ref(g);
    c->entry[c->n++] = x;
}

struct grammar *grammar_cache_get(struct grammar_cache *c, struct str key, grammar_make make,
                                  void *ctx, struct buf *notes, struct err *e) {
    uint64_t hash = str_hash(key);
    pthread_mutex_lock(&c->lock);
    struct grammar *g = find(c, key, hash, notes);
    pthread_mutex_unlock(&c->lock);
    if (g) return g;
    struct buf own = {0}; /* compiled outside of the lock: others need not wait */
    g = make(ctx, &own, e);
    if (g) {
        pthread_mutex_lock(&c->lock);
        struct grammar *other = find(c, key, hash, NULL);
        if (!other) insert(c, key, hash, g, buf_view(&own));
        pthread_mutex_unlock(&c->lock);
        if (other) {
            grammar_free(g);
            g = other;
        }
    }
    if (notes) buf_str(notes, buf_view(&own));
    buf_free(&own);
    return g;
}
