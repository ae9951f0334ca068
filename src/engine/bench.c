/* hold_bench: the forward pass alone, timed on the engine's thread, as llama-bench does it. */
#include "base/os.h"
#include "base/rng.h"
#include "engine/engine.h"

struct bench {
    struct hold_model *m;
    const struct hold_bench_options *o;
    uint64_t *ns;
    struct seq seq;
    uint8_t *want; /* (n_ubatch) */
    struct err e;
    bool ok;
};

/* The next n tokens of the sequence, in passes of at most n_ubatch rows; logits of the last row. */
static bool forward(struct bench *b, int n) {
    struct hold_model *m = b->m;
    struct seq *s = &b->seq;
    while (n > 0) {
        int rows = n < m->info.n_ubatch ? n : m->info.n_ubatch;
        if (!seq_cover(s, m, rows))
            return err_set(&b->e, ERR_NOMEM, "the K/V budget of %llu MiB ends at %d tokens",
                           (unsigned long long)(pages_budget(m->eng->pool) >> 20), s->n_past);
        struct batch_seq bs = {.n = rows, .pos = s->n_past, .kv = {.tables = s->kv}};
        struct batch batch = {.n_rows = rows,
                              .token = s->token + s->n_past,
                              .want_logits = b->want + m->info.n_ubatch - rows,
                              .n_seqs = 1,
                              .seqs = &bs};
        if (!model_forward(m->model, &batch, &b->e)) return false;
        s->n_past += rows;
        n -= rows;
    }
    return true;
}

static bool once(struct bench *b, int n_prompt, int n_gen, uint64_t *ns) {
    uint64_t begin = os_now_ns();
    b->seq.n_past = b->o->n_depth;
    bool ok = forward(b, n_prompt);
    for (int i = 0; ok && i < n_gen; i++) ok = forward(b, 1);
    *ns = os_now_ns() - begin;
    return ok;
}

static bool measure(struct bench *b) {
    const struct hold_bench_options *o = b->o;
    uint64_t ignored;
    if (!o->no_warmup && !once(b, o->n_prompt ? 1 : 0, o->n_gen ? 1 : 0, &ignored)) return false;
    b->seq.n_past = 0;
    if (!forward(b, o->n_depth)) return false;
    for (int i = 0; i < o->n_reps; i++) {
        if (!once(b, o->n_prompt, o->n_gen, &b->ns[i])) return false;
        if (o->each && !o->each(o->ctx, i, b->ns[i])) break;
    }
    return true;
}

static void bench_call(void *ctx) {
    struct bench *b = ctx;
    b->ok = measure(b);
    seq_leave(&b->seq, b->m);
}

bool hold_bench(struct hold_model *m, const struct hold_bench_options *o, uint64_t *ns,
                struct hold_error *error) {
    struct bench b = {.m = m, .o = o, .ns = ns};
    struct rng rng = {1};
    int n = o->n_depth + o->n_prompt + o->n_gen;
    bool ok = o->n_depth >= 0 && o->n_prompt >= 0 && o->n_gen >= 0 && o->n_reps > 0 && n > 0;
    if (!ok) err_set(&b.e, ERR_ARG, "nothing to measure");
    else if (n > m->info.n_ctx)
        ok = err_set(&b.e, ERR_OVERFLOW, "%d tokens exceed the context of %d; raise n_ctx", n,
                     m->info.n_ctx);
    ok = ok && seq_init(&b.seq, m, n, &b.e);
    if (ok) {
        b.want = mem_calloc((size_t)m->info.n_ubatch, 1);
        ok = b.want || err_nomem(&b.e, "a bench", (uint64_t)m->info.n_ubatch);
    }
    if (ok) {
        b.want[m->info.n_ubatch - 1] = BATCH_LOGITS;
        for (int i = 0; i < n; i++)
            b.seq.token[i] = (int32_t)rng_below(&rng, (uint64_t)m->info.n_vocab);
        engine_call(m->eng, bench_call, &b);
        ok = b.ok;
    }
    if (!ok) error_out(error, &b.e);
    seq_free(&b.seq);
    mem_free(b.want);
    return ok;
}
