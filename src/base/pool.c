/* Threads that run one function together and wait for each other.
 * One word holds the phase's number, whether it is open, and how many workers are inside. A worker
 * enters only while the phase is open, and the caller closes it once its own part has found no
 * more work: a worker that the system keeps off its core is not waited for. Between phases a
 * worker spins for SPIN_NS and then sleeps, so that an idle program uses no CPU. */
#include "base/pool.h"
#include "base/mem.h"
#include "base/os.h"

#include <pthread.h>
#include <sched.h>

enum { SPIN_NS = 200000, SPINS_PER_CLOCK = 64, SPINS_BEFORE_YIELD = 20000 };
#define PHASE  ((uint64_t)1 << 32) /* the number counts in the upper half */
#define OPEN   ((uint64_t)1 << 31)
#define INSIDE (OPEN - 1)

struct pool {
    int n;
    bool pin;
    _Alignas(64) _Atomic uint64_t state;
    _Alignas(64) atomic_int sleepers;
    void (*fn)(void *ctx, int worker);
    void *ctx;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t *threads;
    struct worker {
        struct pool *pool;
        int index;
    } * workers;
};

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool is_new(struct pool *p, uint64_t seen) {
    return atomic_load_explicit(&p->state, memory_order_acquire) / PHASE != seen;
}

static bool spin_for(struct pool *p, uint64_t seen) {
    uint64_t until = os_now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < SPINS_PER_CLOCK; i++) {
            if (is_new(p, seen)) return true;
            relax();
        }
    } while (os_now_ns() < until);
    return false;
}

static void sleep_for(struct pool *p, uint64_t seen) {
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (!is_new(p, seen)) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

/* Counts the caller in unless the phase is closed; *seen is the phase that was found. */
static bool enter(struct pool *p, uint64_t *seen) {
    uint64_t s = atomic_load_explicit(&p->state, memory_order_acquire);
    while ((s & OPEN) && !atomic_compare_exchange_weak(&p->state, &s, s + 1)) {
    }
    *seen = s / PHASE;
    return (s & OPEN) != 0;
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    struct pool *p = w->pool;
    if (p->pin) os_pin_thread(w->index);
    for (uint64_t seen = 0;;) {
        if (!spin_for(p, seen)) sleep_for(p, seen);
        bool inside = enter(p, &seen);
        if (atomic_load(&p->stop)) return NULL; /* pool_close's phase has no work: none is inside */
        if (!inside) continue;
        p->fn(p->ctx, w->index);
        atomic_fetch_sub_explicit(&p->state, 1, memory_order_release);
    }
}

/* The next phase; open: with work to do. */
static void begin(struct pool *p, uint64_t open) {
    uint64_t s = atomic_load_explicit(&p->state, memory_order_relaxed);
    atomic_store(&p->state, (s / PHASE + 1) * PHASE + open);
    if (atomic_load(&p->sleepers) == 0) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

struct pool *pool_open(int n_threads, bool pin, struct err *e) {
    if (n_threads < 1) n_threads = 1;
    struct pool *p = mem_aligned(sizeof *p);
    size_t others = (size_t)n_threads - 1;
    if (!p) {
        err_nomem(e, "the thread pool", sizeof *p);
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->n = 1;
    p->pin = pin;
    p->threads = mem_calloc(others, sizeof *p->threads);
    p->workers = mem_calloc(others, sizeof *p->workers);
    if (!p->threads || !p->workers) {
        err_nomem(e, "the thread pool", others * sizeof *p->workers);
        pool_close(p);
        return NULL;
    }
    if (pin) os_pin_thread(0);
    for (size_t i = 0; i < others; i++) {
        p->workers[i] = (struct worker){p, (int)i + 1};
        if (pthread_create(&p->threads[i], NULL, worker_main, &p->workers[i]) != 0) {
            err_set(e, ERR_IO, "cannot start thread %d of %d; try fewer with -t", (int)i + 2,
                    n_threads);
            pool_close(p);
            return NULL;
        }
        p->n++;
    }
    return p;
}

void pool_close(struct pool *p) {
    if (!p) return;
    atomic_store(&p->stop, true);
    begin(p, 0);
    for (int i = 0; i < p->n - 1; i++) pthread_join(p->threads[i], NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    mem_free(p->threads);
    mem_free(p->workers);
    mem_free_aligned(p);
}

int pool_threads(const struct pool *p) {
    return p->n;
}

void pool_run(struct pool *p, void (*fn)(void *ctx, int worker), void *ctx) {
    if (p->n == 1) {
        fn(ctx, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    begin(p, OPEN);
    fn(ctx, 0);
    atomic_fetch_and(&p->state, ~OPEN);
    for (int i = 0; atomic_load_explicit(&p->state, memory_order_acquire) & INSIDE; i++) {
        if (i < SPINS_BEFORE_YIELD) relax();
        else sched_yield(); /* more threads than cores: let the last one finish */
    }
}
