/* The CPU backend: fused phases over the worker pool. Attention is in cpu_attn.c, experts in
 * cpu_moe.c. A phase hands out rows of weights in units; each result is computed by one worker
 * from one unit, so its bits depend neither on the number of threads nor on the batch. Called by
 * the forward pass, from one thread. */
#include "ops/cpu.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

enum { LD_ALIGN = 16 };

static bool act_alloc(struct backend *b, struct act *a, int n_rows, int64_t n, struct err *e) {
    struct cpu *c = cpu_of(b);
    int64_t ld = (n + LD_ALIGN - 1) / LD_ALIGN * LD_ALIGN;
    *a = (struct act){.n = n, .ld = ld, .n_rows = n_rows};
    a->q_cap = (size_t)n_rows * (size_t)act_blocks(n) * sizeof(struct act_block);
    a->packed_cap = n_rows > c->kern->gemv_cols ? kern_packed_bytes(n_rows, n) : 0;
    a->x = mem_aligned((size_t)n_rows * (size_t)ld * sizeof(float));
    a->q = mem_aligned(a->q_cap);
    a->packed = a->packed_cap ? mem_aligned(a->packed_cap) : NULL;
    if (n > c->max_k) c->max_k = n;
    if (a->x && a->q && (a->packed || !a->packed_cap)) return true;
    return err_nomem(e, "activations", (uint64_t)n_rows * (uint64_t)ld * sizeof(float));
}

static void act_free(struct backend *b, struct act *a) {
    (void)b;
    mem_free_aligned(a->x);
    mem_free_aligned(a->q);
    mem_free_aligned(a->packed);
    *a = (struct act){0};
}

struct kern_cols cpu_cols(const struct act *a) {
    return (struct kern_cols){
        .n_cols = a->n_rows, .k = a->n, .f32 = a->x, .ld = a->ld, .q = a->q, .packed = a->packed};
}

/* ---- phases that work on rows of activations ---------------------------------------------- */

struct rows_phase {
    struct cpu *c;
    struct pool_tasks tasks;
    void (*fn)(const struct rows_phase *p, int64_t begin, int64_t end);
    const struct act *in;
    struct act *out;
    const int32_t *rows;
    const float *w;
    float eps, scale;
    const struct tensor *table;
};

static void rows_worker(void *ctx, int worker) {
    struct rows_phase *p = ctx;
    int64_t begin, end;
    (void)worker;
    while (pool_take(&p->tasks, &begin, &end)) p->fn(p, begin, end);
}

/* Few rows are done by the caller: a barrier costs more than a row. */
static void run_rows(struct rows_phase *p, int64_t n, int64_t chunk) {
    if (n <= chunk) {
        p->fn(p, 0, n);
        return;
    }
    pool_tasks_reset(&p->tasks, n, chunk);
    pool_run(p->c->pool, rows_worker, p);
}

static void quantize_rows(const struct rows_phase *p, int64_t begin, int64_t end) {
    const struct act *a = p->in;
    const struct kern *k = p->c->kern;
    struct act_block *q = a->q;
    for (int64_t r = begin; r < end; r++)
        k->act_quantize(a->x + r * a->ld, a->n, 16, q + r * act_blocks(a->n));
    if (a->n_rows <= k->gemv_cols) return;
    struct kern_cols cols = cpu_cols(a);
    k->act_pack(&cols, (int)begin, a->packed);
}

void cpu_quantize(struct cpu *c, struct act *a) {
    if (a->fresh) return;
    struct rows_phase p = {.c = c, .fn = quantize_rows, .in = a};
    run_rows(&p, a->n_rows, KERN_PACK_COLS); /* one chunk = one packed group */
    a->fresh = true;
}

static void norm_rows(const struct rows_phase *p, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
        const float *x = p->in->x + (p->rows ? p->rows[r] : r) * p->in->ld;
        p->c->kern->rms_norm(x, p->w, p->out->x + r * p->out->ld, p->out->n, p->eps);
    }
}

static void norm(struct backend *b, const struct act *x, const int32_t *rows, const float *w,
                 float eps, struct act *out) {
    struct rows_phase p = {
        .c = cpu_of(b), .fn = norm_rows, .in = x, .rows = rows, .w = w, .eps = eps, .out = out};
    run_rows(&p, out->n_rows, 4);
    out->fresh = false;
}

static void embed_rows(const struct rows_phase *p, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
        float *x = p->out->x + r * p->out->ld;
        tensor_row(p->table, p->rows[r], x);
        if (p->scale != 1) p->c->kern->scale(x, p->scale, p->out->n);
    }
}

static void embed(struct backend *b, const struct tensor *table, const int32_t *token, float scale,
                  struct act *out) {
    struct rows_phase p = {.c = cpu_of(b),
                           .fn = embed_rows,
                           .table = table,
                           .rows = token,
                           .scale = scale,
                           .out = out};
    run_rows(&p, out->n_rows, 8);
    out->fresh = false;
}

static void add_rows(const struct rows_phase *p, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++)
        p->c->kern->add(p->out->x + r * p->out->ld, p->in->x + r * p->in->ld, p->scale, p->out->n);
}

static void add(struct backend *b, struct act *x, const struct act *y, float scale) {
    struct rows_phase p = {.c = cpu_of(b), .fn = add_rows, .in = y, .out = x, .scale = scale};
    run_rows(&p, x->n_rows, 8);
    x->fresh = false;
}

static void softcap_part(const struct rows_phase *p, int64_t begin, int64_t end) {
    p->c->kern->softcap(p->out->x + begin, p->scale, end - begin);
}

static void softcap(struct backend *b, float *x, float cap, int64_t n) {
    struct act whole = {.x = x};
    struct rows_phase p = {.c = cpu_of(b), .fn = softcap_part, .out = &whole, .scale = cap};
    run_rows(&p, n, 8192);
}

/* ---- matmuls ------------------------------------------------------------------------------ */

void cpu_rows(struct cpu *c, const struct weight *w, int64_t expert, int64_t row0, int64_t n,
              const struct kern_cols *cols, float *y, int64_t y_ld, int worker) {
    const struct tensor *t = w->w;
    size_t row_bytes = quant_row_bytes(t->type, t->dim[0]);
    const char *rows = (const char *)t->data + (size_t)(expert * w->expert_rows + row0) * row_bytes;
    c->kern->matmul[t->type](rows, row_bytes, 0, n, cols, y, y_ld, c->workers[worker].scratch);
    if (!w->scale && !w->bias) return;
    for (int col = 0; col < cols->n_cols; col++) {
        float *v = y + col * y_ld;
        if (w->scale) c->kern->scale(v, w->scale[expert], n);
        if (w->bias) c->kern->add(v, w->bias + expert * w->expert_rows + row0, 1, n);
    }
}

enum { MAX_JOBS = 4 };

struct linear_phase {
    struct cpu *c;
    struct pool_tasks tasks;
    struct kern_cols cols;
    const struct op_linear *jobs;
    int n_jobs;
    int64_t first[MAX_JOBS + 1]; /* first unit of each job */
};

static void linear_unit(struct linear_phase *p, const struct op_linear *j, int64_t row0, int64_t n,
                        int worker) {
    struct cpu *c = p->c;
    float *out = j->out + row0, *tmp = c->workers[worker].tmp;
    if (!j->add && j->scale == 1) {
        cpu_rows(c, &j->w, 0, row0, n, &p->cols, out, j->out_ld, worker);
        return;
    }
    cpu_rows(c, &j->w, 0, row0, n, &p->cols, tmp, n, worker);
    for (int col = 0; col < p->cols.n_cols; col++) {
        float *to = out + col * j->out_ld;
        if (!j->add) memset(to, 0, (size_t)n * sizeof *to);
        c->kern->add(to, tmp + col * n, j->scale, n);
    }
}

static void linear_worker(void *ctx, int worker) {
    struct linear_phase *p = ctx;
    int64_t begin, end;
    while (pool_take(&p->tasks, &begin, &end)) {
        for (int j = 0; j < p->n_jobs; j++) {
            int64_t rows = p->jobs[j].w.w->dim[1];
            int64_t from = begin > p->first[j] ? begin : p->first[j];
            int64_t to = end < p->first[j + 1] ? end : p->first[j + 1];
            if (from >= to) continue;
            int64_t row0 = (from - p->first[j]) * CPU_UNIT, row1 = (to - p->first[j]) * CPU_UNIT;
            if (row1 > rows) row1 = rows;
            /* tmp holds one unit per column: a long run of units is cut */
            for (int64_t r = row0; r < row1; r += CPU_UNIT)
                linear_unit(p, &p->jobs[j], r, row1 - r < CPU_UNIT ? row1 - r : CPU_UNIT, worker);
        }
    }
}

int64_t cpu_chunk(const struct cpu *c, int64_t units) {
    int64_t chunk = units / (pool_threads(c->pool) * 8);
    return chunk < 1 ? 1 : chunk;
}

static bool is_quantized(const struct weight *w) {
    return quant_info(w->w->type)->block > 1;
}

static void linear(struct backend *b, struct act *in, const struct op_linear *jobs, int n_jobs) {
    struct linear_phase p = {.c = cpu_of(b), .jobs = jobs, .n_jobs = n_jobs};
    assert(n_jobs <= MAX_JOBS);
    bool quantized = false;
    for (int j = 0; j < n_jobs; j++) {
        p.first[j + 1] = p.first[j] + (jobs[j].w.w->dim[1] + CPU_UNIT - 1) / CPU_UNIT;
        quantized |= is_quantized(&jobs[j].w);
    }
    if (quantized) cpu_quantize(p.c, in);
    p.cols = cpu_cols(in);
    pool_tasks_reset(&p.tasks, p.first[n_jobs], cpu_chunk(p.c, p.first[n_jobs]));
    pool_run(p.c->pool, linear_worker, &p);
}

void cpu_glu_rows(struct cpu *c, const struct cpu_glu *g, int64_t row0, int64_t n, int worker) {
    float *gate = c->workers[worker].tmp, *up = gate + g->cols.n_cols * n;
    cpu_rows(c, &g->gate, g->expert, row0, n, &g->cols, gate, n, worker);
    cpu_rows(c, &g->up, g->expert, row0, n, &g->cols, up, n, worker);
    for (int col = 0; col < g->cols.n_cols; col++)
        c->kern->glu(g->act, gate + col * n, up + col * n, g->out + col * g->out_ld + row0, n);
}

struct glu_run {
    struct cpu *c;
    struct pool_tasks tasks;
    struct cpu_glu g;
};

static void glu_worker(void *ctx, int worker) {
    struct glu_run *p = ctx;
    int64_t begin, end, rows = p->g.gate.w->dim[1];
    while (pool_take(&p->tasks, &begin, &end))
        for (int64_t r = begin * CPU_UNIT; r < end * CPU_UNIT && r < rows; r += CPU_UNIT)
            cpu_glu_rows(p->c, &p->g, r, rows - r < CPU_UNIT ? rows - r : CPU_UNIT, worker);
}

static void glu(struct backend *b, struct act *in, struct weight gate, struct weight up,
                enum ops_act act, struct act *out) {
    struct cpu *c = cpu_of(b);
    if (is_quantized(&gate) || is_quantized(&up)) cpu_quantize(c, in);
    struct glu_run p = {.c = c,
                        .g = {.cols = cpu_cols(in),
                              .gate = gate,
                              .up = up,
                              .act = (enum kern_act)act,
                              .out = out->x,
                              .out_ld = out->ld}};
    int64_t units = (gate.w->dim[1] + CPU_UNIT - 1) / CPU_UNIT;
    pool_tasks_reset(&p.tasks, units, cpu_chunk(c, units));
    pool_run(c->pool, glu_worker, &p);
    out->fresh = false;
}

/* ---- life --------------------------------------------------------------------------------- */

static bool reserve(struct backend *b, const struct ops_need *need, struct err *e) {
    struct cpu *c = cpu_of(b);
    if (need->n_ff_expert > c->max_k) c->max_k = need->n_ff_expert;
    size_t scratch = kern_scratch_bytes(c->max_k);
    size_t tmp = 2 * (size_t)need->n_rows * CPU_UNIT * sizeof(float);
    for (int i = 0; i < pool_threads(c->pool); i++) {
        struct cpu_worker *w = &c->workers[i];
        mem_free_aligned(w->scratch);
        mem_free_aligned(w->tmp);
        w->scratch = mem_aligned(scratch);
        w->tmp = mem_aligned(tmp);
        if (!w->scratch || !w->tmp) return err_nomem(e, "a worker's scratch", scratch + tmp);
    }
    return cpu_attn_reserve(c, need, e) && cpu_moe_reserve(c, need, e);
}

static void cpu_close(struct backend *b) {
    struct cpu *c = cpu_of(b);
    for (int i = 0; c->workers && i < pool_threads(c->pool); i++) {
        mem_free_aligned(c->workers[i].scratch);
        mem_free_aligned(c->workers[i].tmp);
    }
    cpu_attn_free(c);
    cpu_moe_free(c);
    mem_free(c->workers);
    pool_close(c->pool);
    mem_free(c);
}

struct backend *backend_cpu(int n_threads, bool pin, struct err *e) {
    struct cpu *c = mem_calloc(1, sizeof *c);
    if (!c) {
        err_nomem(e, "the CPU backend", sizeof *c);
        return NULL;
    }
    c->b = (struct backend){.name = "cpu",
                            .self = c,
                            .close = cpu_close,
                            .reserve = reserve,
                            .act_alloc = act_alloc,
                            .act_free = act_free,
                            .embed = embed,
                            .norm = norm,
                            .linear = linear,
                            .glu = glu,
                            .rope_prepare = cpu_rope_prepare,
                            .attn = cpu_attn,
                            .moe = cpu_moe,
                            .add = add,
                            .softcap = softcap};
    c->kern = kern_get();
    c->pool = pool_open(n_threads, pin, e);
    if (c->pool) c->workers = mem_calloc((size_t)pool_threads(c->pool), sizeof *c->workers);
    if (c->workers) return &c->b;
    if (c->pool) err_nomem(e, "workers", sizeof *c->workers);
    pool_close(c->pool);
    mem_free(c);
    return NULL;
}
