/* The compute workers. The caller of pool_run is worker 0, so n threads are the caller plus
 * n - 1 others; workers spin briefly between phases and then sleep. One owner thread. */
#ifndef HOLDFAST_BASE_POOL_H
#define HOLDFAST_BASE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct pool;

/* n >= 1 threads; NULL with e filled when a thread cannot be started. */
struct pool *pool_open(int n_threads, bool pin, struct err *e);
void pool_close(struct pool *p);
int pool_threads(const struct pool *p);

/* Runs fn(ctx, 0) on the caller and fn(ctx, worker) on each other worker that comes in time, and
 * returns when all that came are done: whatever has to be done must be handed out by pool_take. */
void pool_run(struct pool *p, void (*fn)(void *ctx, int worker), void *ctx);

/* Work that is handed out in chunks. Reset before pool_run; then each worker calls
 * `while (pool_take(&t, &begin, &end))`. Chunks are [k * chunk, min(n, (k + 1) * chunk)). */
struct pool_tasks {
    _Alignas(64) atomic_llong next;
    int64_t n, chunk;
};
static inline void pool_tasks_reset(struct pool_tasks *t, int64_t n, int64_t chunk) {
    atomic_store_explicit(&t->next, 0, memory_order_relaxed);
    t->n = n;
    t->chunk = chunk;
}
static inline bool pool_take(struct pool_tasks *t, int64_t *begin, int64_t *end) {
    int64_t b = atomic_fetch_add_explicit(&t->next, t->chunk, memory_order_relaxed);
    if (b >= t->n) return false;
    *begin = b;
    *end = b + t->chunk < t->n ? b + t->chunk : t->n;
    return true;
}

#endif
