/* The engine: opening, closing, and the one thread that owns all that is mutable. Other threads
 * reach it through the inbox and through calls, which it takes between two steps. */
#include "engine/engine.h"
#include "base/log.h"
#include "base/os.h"
#include "engine/store.h"

#include <string.h>

enum { PAGE_UNITS_DEFAULT = 1, LEDGER_BYTES = 64 << 20 };

const char *hold_version(void) {
    return HOLDFAST_VERSION;
}
void hold_free(void *p) {
    mem_free(p);
}

/* ---- errors, options, messages ------------------------------------------------------------ */
void error_out(struct hold_error *to, const struct err *from) {
    if (!to) return;
    *to = (struct hold_error){.code = (enum hold_code)from->code, .pos = from->pos};
    memcpy(to->msg, from->msg, sizeof to->msg);
}

void options_take(void *to, size_t size, const void *from) {
    size_t given;
    memcpy(&given, from, sizeof given);
    memcpy(to, from, given < size ? given : size);
    memcpy(to, &size, sizeof size);
}

static struct {
    void (*fn)(void *ctx, enum hold_level level, const char *text);
    void *ctx;
} sink;

static void forward_log(void *ctx, enum log_level level, const char *text) {
    (void)ctx;
    sink.fn(sink.ctx, (enum hold_level)level, text);
}

void hold_log_sink(void (*fn)(void *ctx, enum hold_level level, const char *text), void *ctx) {
    sink.fn = fn;
    sink.ctx = ctx;
    log_sink(fn ? forward_log : NULL, NULL);
}

/* ---- the thread --------------------------------------------------------------------------- */
static struct hold_request *reversed(struct hold_request *list) {
    struct hold_request *out = NULL;
    for (struct hold_request *next; list; list = next) {
        next = list->next;
        list->next = out;
        out = list;
    }
    return out;
}

static void run_calls(struct hold_engine *eng, struct engine_call *calls) {
    for (struct engine_call *c = calls, *next; c; c = next) {
        next = c->next; /* c is gone once it is done */
        c->fn(c->ctx);
        pthread_mutex_lock(&eng->lock);
        c->done = true;
        pthread_cond_broadcast(&eng->answered);
        pthread_mutex_unlock(&eng->lock);
    }
}

static void publish(struct hold_engine *eng) {
    pthread_mutex_lock(&eng->lock);
    for (struct hold_model *m = eng->models; m; m = m->next) {
        struct hold_stats *s = &m->stats;
        s->n_models = 1;
        s->n_running = m->n_active;
        s->n_parked = m->n_parked;
        s->n_queued = m->n_waiting - m->n_parked;
        s->kv_budget = pages_budget(eng->pool);
        s->kv_used = pages_used(eng->pool);
        s->kv_cached = prefix_evictable(eng->prefix);
        m->published = *s;
    }
    pthread_mutex_unlock(&eng->lock);
}

/* Takes what has come in; waits for it when there is nothing else to do. false: stop. */
static bool take_inbox(struct hold_engine *eng, bool busy) {
    pthread_mutex_lock(&eng->lock);
    while (!busy && !eng->inbox && !eng->calls && !eng->poked && !eng->stop)
        pthread_cond_wait(&eng->work, &eng->lock);
    struct hold_request *in = reversed(eng->inbox);
    struct engine_call *calls = eng->calls;
    bool stop = eng->stop;
    eng->inbox = NULL;
    eng->calls = NULL;
    eng->poked = false;
    pthread_mutex_unlock(&eng->lock);
    for (struct hold_request *next; in; in = next) {
        next = in->next;
        in->id = ++eng->n_requests;
        in->model->stats.n_requests++;
        sched_enqueue(in);
    }
    run_calls(eng, calls); /* behind the requests: one may unload their model */
    return !stop;
}

struct boot { /* what the thread reports when it has started */
    struct hold_engine *eng;
    struct err e;
    struct engine_call ready;
};

static void *engine_main(void *arg) {
    struct boot *boot = arg;
    struct hold_engine *eng = boot->eng;
    eng->backend = backend_cpu(eng->o.n_threads, eng->o.pin, &boot->e);
    bool ok = eng->backend != NULL;
    pthread_mutex_lock(&eng->lock);
    boot->ready.done = true;
    pthread_cond_broadcast(&eng->answered);
    pthread_mutex_unlock(&eng->lock);
    for (bool busy = false; ok && take_inbox(eng, busy);) {
        busy = sched_step(eng);
        publish(eng);
    }
    return NULL;
}

static void wait_done(struct hold_engine *eng, const struct engine_call *c) {
    while (!c->done) pthread_cond_wait(&eng->answered, &eng->lock);
}

void engine_call(struct hold_engine *eng, void (*fn)(void *ctx), void *ctx) {
    struct engine_call c = {.fn = fn, .ctx = ctx};
    pthread_mutex_lock(&eng->lock);
    struct engine_call **end = &eng->calls;
    while (*end) end = &(*end)->next;
    *end = &c;
    pthread_cond_signal(&eng->work);
    wait_done(eng, &c);
    pthread_mutex_unlock(&eng->lock);
}

void engine_poke(void *ctx) {
    struct hold_engine *eng = ctx;
    pthread_mutex_lock(&eng->lock);
    eng->poked = true;
    pthread_cond_signal(&eng->work);
    pthread_mutex_unlock(&eng->lock);
}

void engine_submit(struct hold_request *r) {
    struct hold_engine *eng = r->model->eng;
    pthread_mutex_lock(&eng->lock);
    r->next = eng->inbox;
    eng->inbox = r;
    pthread_cond_signal(&eng->work);
    pthread_mutex_unlock(&eng->lock);
}

/* ---- open and close ----------------------------------------------------------------------- */
void hold_engine_options_init(struct hold_engine_options *o, size_t size) {
    struct hold_engine_options d = {
        .size = size, .disk_bytes = (uint64_t)10 << 30, .prefill_share = 0.42};
    memset(o, 0, size);
    memcpy(o, &d, size < sizeof d ? size : sizeof d);
}

static bool start(struct hold_engine *eng, struct err *e) {
    struct boot boot = {.eng = eng};
    if (eng->o.n_threads <= 0) eng->o.n_threads = os_physical_cores();
    if (eng->o.kv_bytes == 0) eng->o.kv_bytes = os_memory_available() / 2;
    if (eng->o.page_units <= 0) eng->o.page_units = PAGE_UNITS_DEFAULT;
    if (eng->o.prefill_share <= 0 || eng->o.prefill_share >= 1)
        return err_set(e, ERR_ARG, "prefill_share is %g; it lies between 0 and 1",
                       eng->o.prefill_share);
    eng->page_len = eng->o.page_units * KV_UNIT;
    eng->pool = pages_open(eng->o.kv_bytes, e);
    eng->prefix = eng->pool ? prefix_new(eng->pool, eng->page_len, e) : NULL;
    eng->ledger = ledger_new(LEDGER_BYTES, e);
    if (!eng->prefix || !eng->ledger) return false;
    store_open(eng);
    if (pthread_create(&eng->thread, NULL, engine_main, &boot) != 0)
        return err_set(e, ERR_IO, "cannot start the engine's thread");
    pthread_mutex_lock(&eng->lock);
    wait_done(eng, &boot.ready);
    pthread_mutex_unlock(&eng->lock);
    if (eng->backend) return true;
    pthread_join(eng->thread, NULL);
    *e = boot.e;
    return false;
}

static void engine_free(struct hold_engine *eng) {
    if (eng->backend) eng->backend->close(eng->backend);
    disk_close(eng->disk);
    prefix_free(eng->prefix);
    ledger_free(eng->ledger);
    if (eng->pool) pages_close(eng->pool);
    pthread_cond_destroy(&eng->work);
    pthread_cond_destroy(&eng->answered);
    pthread_mutex_destroy(&eng->lock);
    mem_free(eng);
}

struct hold_engine *hold_engine_open(const struct hold_engine_options *o,
                                     struct hold_error *error) {
    struct err e = {0};
    struct hold_engine *eng = mem_calloc(1, sizeof *eng);
    if (!eng) {
        err_nomem(&e, "the engine", sizeof *eng);
        error_out(error, &e);
        return NULL;
    }
    hold_engine_options_init(&eng->o, sizeof eng->o);
    if (o) options_take(&eng->o, sizeof eng->o, o);
    pthread_mutex_init(&eng->lock, NULL);
    pthread_cond_init(&eng->work, NULL);
    pthread_cond_init(&eng->answered, NULL);
    if (start(eng, &e)) return eng;
    error_out(error, &e);
    engine_free(eng);
    return NULL;
}

void hold_engine_close(struct hold_engine *eng) {
    if (!eng) return;
    while (eng->models) hold_model_unload(eng->models);
    pthread_mutex_lock(&eng->lock);
    eng->stop = true;
    pthread_cond_signal(&eng->work);
    pthread_mutex_unlock(&eng->lock);
    pthread_join(eng->thread, NULL);
    engine_free(eng);
}

/* ---- stats -------------------------------------------------------------------------------- */
static void stats_out(struct hold_stats *to, const struct hold_stats *from) {
    size_t size = to->size;
    memcpy(to, from, size < sizeof *from ? size : sizeof *from);
    to->size = size;
}

static void add_stats(struct hold_stats *sum, const struct hold_stats *s) {
    sum->n_models++;
    sum->n_queued += s->n_queued;
    sum->n_running += s->n_running;
    sum->n_parked += s->n_parked;
    sum->n_requests += s->n_requests;
    sum->n_finished += s->n_finished;
    sum->n_failed += s->n_failed;
    sum->n_cancelled += s->n_cancelled;
    sum->n_prompt_tokens += s->n_prompt_tokens;
    sum->n_cached_tokens += s->n_cached_tokens;
    sum->n_generated_tokens += s->n_generated_tokens;
    sum->n_steps += s->n_steps;
    sum->prefill_rate += s->prefill_rate;
    sum->decode_rate += s->decode_rate;
    sum->kv_budget = s->kv_budget;
    sum->kv_used = s->kv_used;
    sum->kv_cached = s->kv_cached;
}

void hold_engine_stats(const struct hold_engine *engine, struct hold_stats *out) {
    struct hold_engine *eng = (struct hold_engine *)(uintptr_t)engine;
    struct hold_stats sum = {.kv_budget = eng->o.kv_bytes};
    pthread_mutex_lock(&eng->lock);
    for (const struct hold_model *m = eng->models; m; m = m->next) add_stats(&sum, &m->published);
    pthread_mutex_unlock(&eng->lock);
    if (eng->disk) {
        struct disk_stats disk;
        disk_stats(eng->disk, &disk);
        sum.disk_bytes = disk.bytes;
        sum.disk_queue_bytes = disk.queue_bytes;
    }
    stats_out(out, &sum);
}

void hold_model_stats(const struct hold_model *m, struct hold_stats *out) {
    struct hold_stats s;
    pthread_mutex_lock(&m->eng->lock);
    s = m->published;
    pthread_mutex_unlock(&m->eng->lock);
    stats_out(out, &s);
}
