/* Mixture of experts on the CPU (spec/architectures.md C4). Rows are sorted by expert, so that
 * every expert is one small matmul over its rows; a decode step is the same path with one row.
 * An expert's result goes to a slot of its own and the slots of a row add by rank, so the bits do
 * not depend on which rows share a batch. */
#include "base/mem.h"
#include "ops/cpu.h"

#include <math.h>
#include <string.h>

struct moe_buffers {
    struct act logits; /* (n_rows, n_expert) */
    struct act in;     /* (n_rows * n_used, n_embd): input rows in expert order */
    struct act inner;  /* (n_rows * n_used, n_ff) */
    struct act down;   /* (n_rows * n_used, n_embd) */
    int32_t *chosen;   /* (n_rows, n_used) expert by rank */
    float *weight;     /* (n_rows, n_used) */
    int32_t *slot;     /* (n_rows, n_used) place of a row's rank in expert order */
    int32_t *source;   /* (n_rows * n_used) row of each place */
    int32_t *first;    /* (n_expert + 1) first place of each expert */
    int32_t *used;     /* experts that have rows */
    int n_used_experts;
    void *packed_in, *packed_inner; /* each expert's columns from a group border on */
    size_t packed_in_cap, packed_inner_cap;
    int64_t *group; /* (n_expert + 1) first packed group of each expert */
};

void cpu_moe_free(struct cpu *c) {
    struct moe_buffers *m = c->moe;
    if (!m) return;
    struct act *const acts[] = {&m->logits, &m->in, &m->inner, &m->down};
    for (size_t i = 0; i < 4; i++) c->b.act_free(&c->b, acts[i]);
    void *const plain[] = {m->chosen, m->weight, m->slot, m->source, m->first, m->used, m->group};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) mem_free(plain[i]);
    mem_free_aligned(m->packed_in);
    mem_free_aligned(m->packed_inner);
    mem_free(m);
    c->moe = NULL;
}

bool cpu_moe_reserve(struct cpu *c, const struct ops_need *need, struct err *e) {
    cpu_moe_free(c);
    if (need->n_expert == 0) return true;
    struct moe_buffers *m = c->moe = mem_calloc(1, sizeof *m);
    if (!m) return err_nomem(e, "expert buffers", sizeof *m);
    int places = need->n_rows * need->n_used;
    size_t n = (size_t)places, experts = (size_t)need->n_expert;
    /* every expert may waste most of a packed group of columns */
    int groups = places / KERN_PACK_COLS + need->n_expert + 1;
    if (!c->b.act_alloc(&c->b, &m->logits, need->n_rows, need->n_expert, e) ||
        !c->b.act_alloc(&c->b, &m->in, places, need->n_embd, e) ||
        !c->b.act_alloc(&c->b, &m->inner, places, need->n_ff_expert, e) ||
        !c->b.act_alloc(&c->b, &m->down, places, need->n_embd, e))
        return false;
    m->chosen = mem_array(n, sizeof *m->chosen);
    m->weight = mem_array(n, sizeof *m->weight);
    m->slot = mem_array(n, sizeof *m->slot);
    m->source = mem_array(n, sizeof *m->source);
    m->first = mem_array(experts + 1, sizeof *m->first);
    m->used = mem_array(experts, sizeof *m->used);
    m->group = mem_array(experts + 1, sizeof *m->group);
    m->packed_in_cap = kern_packed_bytes(groups * KERN_PACK_COLS, need->n_embd);
    m->packed_inner_cap = kern_packed_bytes(groups * KERN_PACK_COLS, need->n_ff_expert);
    m->packed_in = mem_aligned(m->packed_in_cap);
    m->packed_inner = mem_aligned(m->packed_inner_cap);
    if (m->chosen && m->weight && m->slot && m->source && m->first && m->used && m->group &&
        m->packed_in && m->packed_inner)
        return true;
    return err_nomem(e, "expert buffers", m->packed_in_cap + m->packed_inner_cap);
}

/* ---- which experts, with which weight ----------------------------------------------------- */

/* One row of router logits, changed in place: the n_used largest, ties to the lower index. */
static void choose(const struct cpu *c, const struct op_moe *m, float *p, int32_t *chosen,
                   float *weight) {
    if (m->gating == MOE_SOFTMAX) c->kern->softmax(p, m->n_expert);
    for (int k = 0; k < m->n_used; k++) {
        int top = 0;
        for (int i = 1; i < m->n_expert; i++)
            if (p[i] > p[top]) top = i;
        chosen[k] = top;
        weight[k] = p[top];
        p[top] = -INFINITY;
    }
    if (m->gating == MOE_SOFTMAX_TOP) c->kern->softmax(weight, m->n_used);
    float sum = 0;
    for (int k = 0; k < m->n_used; k++) sum += weight[k];
    if (m->norm) {
        if (!(sum > 6.103515625e-5f)) sum = 6.103515625e-5f;
        for (int k = 0; k < m->n_used; k++) weight[k] /= sum;
    }
    if (m->scale != 0 && m->scale != 1)
        for (int k = 0; k < m->n_used; k++) weight[k] *= m->scale;
}

/* Counting sort of (row, rank) by expert. */
static void sort_by_expert(struct moe_buffers *m, int n_rows, const struct op_moe *o) {
    int places = n_rows * o->n_used;
    memset(m->first, 0, ((size_t)o->n_expert + 1) * sizeof *m->first);
    for (int i = 0; i < places; i++) m->first[m->chosen[i] + 1]++;
    m->n_used_experts = 0;
    m->group[0] = 0;
    for (int x = 0; x < o->n_expert; x++) {
        int count = m->first[x + 1];
        if (count) m->used[m->n_used_experts++] = x;
        m->group[x + 1] = m->group[x] + (count + KERN_PACK_COLS - 1) / KERN_PACK_COLS;
        m->first[x + 1] += m->first[x];
    }
    int32_t *next = m->first; /* shifted back below */
    for (int i = 0; i < places; i++) {
        int at = next[m->chosen[i]]++;
        m->slot[i] = at;
        m->source[at] = i / o->n_used;
    }
    for (int x = o->n_expert; x > 0; x--) m->first[x] = m->first[x - 1];
    m->first[0] = 0;
}

/* ---- phases ------------------------------------------------------------------------------- */

struct moe_phase {
    struct cpu *c;
    const struct op_moe *o;
    struct moe_buffers *m;
    const struct act *x; /* the op's input */
    struct act *quant;   /* quantize phase: in or inner */
    void *packed;
    struct pool_tasks tasks;
    int64_t units; /* per expert */
};

/* Columns of one expert inside activations that are sorted by expert. */
static struct kern_cols expert_cols(const struct moe_phase *p, const struct act *a, void *packed,
                                    int expert) {
    const struct moe_buffers *m = p->m;
    int first = m->first[expert], n = m->first[expert + 1] - first;
    struct kern_cols cols = {.n_cols = n, .k = a->n, .f32 = a->x + first * a->ld, .ld = a->ld};
    cols.q = (const struct act_block *)a->q + first * act_blocks(a->n);
    cols.packed =
        (char *)packed + (size_t)m->group[expert] * kern_packed_bytes(KERN_PACK_COLS, a->n);
    return cols;
}

static void gather_worker(void *ctx, int worker) {
    struct moe_phase *p = ctx;
    const struct act *x = p->x;
    struct act *in = &p->m->in;
    int64_t blocks = act_blocks(x->n), begin, end;
    (void)worker;
    while (pool_take(&p->tasks, &begin, &end)) {
        for (int64_t at = begin; at < end; at++) {
            int32_t r = p->m->source[at];
            memcpy(in->x + at * in->ld, x->x + r * x->ld, (size_t)x->n * sizeof(float));
            if (x->fresh)
                memcpy((struct act_block *)in->q + at * blocks,
                       (const struct act_block *)x->q + r * blocks,
                       (size_t)blocks * sizeof(struct act_block));
        }
    }
}

static void inner_quantize_worker(void *ctx, int worker) {
    struct moe_phase *p = ctx;
    struct act *a = p->quant;
    int64_t begin, end;
    (void)worker;
    while (pool_take(&p->tasks, &begin, &end))
        for (int64_t r = begin; r < end; r++)
            p->c->kern->act_quantize(a->x + r * a->ld, a->n, 16,
                                     (struct act_block *)a->q + r * act_blocks(a->n));
}

static void pack_worker(void *ctx, int worker) {
    struct moe_phase *p = ctx;
    int64_t begin, end;
    (void)worker;
    while (pool_take(&p->tasks, &begin, &end)) {
        for (int64_t i = begin; i < end; i++) {
            struct kern_cols cols = expert_cols(p, p->quant, p->packed, p->m->used[i]);
            if (cols.n_cols <= p->c->kern->gemv_cols) continue;
            for (int col = 0; col < cols.n_cols; col += KERN_PACK_COLS)
                p->c->kern->act_pack(&cols, col, (void *)(uintptr_t)cols.packed);
        }
    }
}

static void glu_worker(void *ctx, int worker) {
    struct moe_phase *p = ctx;
    struct moe_buffers *m = p->m;
    int64_t begin, end;
    while (pool_take(&p->tasks, &begin, &end)) {
        for (int64_t u = begin; u < end; u++) {
            int x = m->used[u / p->units];
            int64_t row0 = u % p->units * CPU_UNIT, left = p->o->n_ff - row0;
            struct cpu_glu g = {.cols = expert_cols(p, &m->in, m->packed_in, x),
                                .gate = p->o->gate,
                                .up = p->o->up,
                                .expert = x,
                                .act = (enum kern_act)p->o->act,
                                .out = m->inner.x + m->first[x] * m->inner.ld,
                                .out_ld = m->inner.ld};
            cpu_glu_rows(p->c, &g, row0, left < CPU_UNIT ? left : CPU_UNIT, worker);
        }
    }
}

static void down_worker(void *ctx, int worker) {
    struct moe_phase *p = ctx;
    struct moe_buffers *m = p->m;
    int64_t begin, end;
    while (pool_take(&p->tasks, &begin, &end)) {
        for (int64_t u = begin; u < end; u++) {
            int x = m->used[u / p->units];
            int64_t row0 = u % p->units * CPU_UNIT, left = m->down.n - row0;
            struct kern_cols cols = expert_cols(p, &m->inner, m->packed_inner, x);
            cpu_rows(p->c, &p->o->down, x, row0, left < CPU_UNIT ? left : CPU_UNIT, &cols,
                     m->down.x + m->first[x] * m->down.ld + row0, m->down.ld, worker);
        }
    }
}

/* out[r] += out_scale * sum by rank of weight * result; the sum begins at zero. */
static void combine_worker(void *ctx, int worker) {
    struct moe_phase *p = ctx;
    struct moe_buffers *m = p->m;
    const struct op_moe *o = p->o;
    int64_t begin, end, n = m->down.n;
    float *sum = p->c->workers[worker].tmp;
    while (pool_take(&p->tasks, &begin, &end)) {
        for (int64_t r = begin; r < end; r++) {
            for (int64_t at = 0; at < n; at += CPU_UNIT) {
                int64_t part = n - at < CPU_UNIT ? n - at : CPU_UNIT;
                memset(sum, 0, (size_t)part * sizeof *sum);
                for (int k = 0; k < o->n_used; k++)
                    p->c->kern->add(sum, m->down.x + m->slot[r * o->n_used + k] * m->down.ld + at,
                                    m->weight[r * o->n_used + k], part);
                p->c->kern->add(o->out + r * o->out_ld + at, sum, o->out_scale, part);
            }
        }
    }
}

static void run(struct moe_phase *p, void (*worker)(void *, int), int64_t n, int64_t chunk) {
    pool_tasks_reset(&p->tasks, n, chunk);
    pool_run(p->c->pool, worker, p);
}

static void pack(struct moe_phase *p, struct act *a, void *packed) {
    p->quant = a;
    p->packed = packed;
    run(p, pack_worker, p->m->n_used_experts, 1);
}

void cpu_moe(struct backend *b, struct act *in, const struct op_moe *o) {
    struct cpu *c = cpu_of(b);
    struct moe_buffers *m = c->moe;
    struct moe_phase p = {.c = c, .o = o, .m = m, .x = in};
    int n_rows = in->n_rows, places = n_rows * o->n_used;
    bool quant_in = quant_info(o->gate.w->type)->block > 1 || quant_info(o->up.w->type)->block > 1;
    bool quant_down = quant_info(o->down.w->type)->block > 1;

    m->logits.n = o->n_expert;
    const struct op_linear router = {
        .w = o->router, .out = m->logits.x, .out_ld = m->logits.ld, .scale = 1};
    b->linear(b, in, &router, 1);
    for (int r = 0; r < n_rows; r++)
        choose(c, o, m->logits.x + r * m->logits.ld, m->chosen + r * o->n_used,
               m->weight + r * o->n_used);
    sort_by_expert(m, n_rows, o);

    if (quant_in) cpu_quantize(c, in);
    m->in.n = in->n;
    m->in.n_rows = m->inner.n_rows = m->down.n_rows = places;
    m->inner.n = o->n_ff;
    m->down.n = o->down.w->dim[1];
    run(&p, gather_worker, places, 16);
    if (quant_in) pack(&p, &m->in, m->packed_in);
    p.units = (o->n_ff + CPU_UNIT - 1) / CPU_UNIT;
    run(&p, glu_worker, p.units * m->n_used_experts, 1);
    if (quant_down) {
        p.quant = &m->inner;
        run(&p, inner_quantize_worker, places, 4);
        pack(&p, &m->inner, m->packed_inner);
    }
    p.units = (m->down.n + CPU_UNIT - 1) / CPU_UNIT;
    run(&p, down_worker, p.units * m->n_used_experts, 1);
    run(&p, combine_worker, n_rows, 1);
}
