/* Attention on the CPU: rope tables, storing K and V, and the walk over their units.
 *
 * A block is some query heads of one kv head times some consecutive queries of one sequence: its
 * columns (head, query) read each unit of K and V together. Units merge into spans of 8 and spans
 * into the result, always in index order and always per column, so no bit depends on how columns
 * are grouped or which thread takes what. With few blocks (decoding) the spans of a block are
 * shared out too, and their partial results merge in a second phase.
 * Called by the forward pass from one thread; allocates in reserve only. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/fmath.h"
#include "base/mem.h"
#include "kern/attn.h"
#include "ops/cpu.h"

enum {
    SPAN_UNITS = 8,
    TASKS_PER_THREAD = 4,  /* fewer blocks than this: share out spans */
    PART_FLOATS = 1 << 20, /* of span partials, at least */
    ROPE_SERIAL_ROWS = 16, /* up to here the caller computes angles alone */
};

/* What one worker needs for a block. */
struct attn_scratch {
    struct attn_state span, total;
    struct attn_step step;
    float *q; /* (ATTN_COLS, pad32(k_dim)) */
    struct act_block *q_quant;
    float *row; /* one head of a row */
};

struct attn_job {
    struct pool_tasks tasks;
    struct cpu *c;
    const struct op_attn *a;
    const struct kern_attn *k;
    int heads, queries; /* of a block, at most */
    int head_blocks;    /* per kv head */
    int64_t query_blocks, n_blocks;
    int64_t n_stores; /* tasks that store (a unit of a kv head), before those that prepare q */
    int64_t span0, n_spans; /* of this round, counted from each block's first span */
    bool first_round, last_round;
};

struct attn_block {
    const struct batch_seq *seq;
    int row0, n_rows; /* of the sequence's rows */
    int kv, head0, n_heads;
    int first_unit, last_unit;
};

static int min_int(int a, int b) {
    return a < b ? a : b;
}
static int max_int(int a, int b) {
    return a > b ? a : b;
}

/* ---- rope -------------------------------------------------------------------------------------*/

/* Radians per position of each pair (spec/architectures.md C1). */
static void rope_freqs(const struct rope_spec *s, double *freq) {
    for (int i = 0; i < s->n_rot / 2; i++) {
        double theta = fmath_pow(s->base, -2.0 * i / s->n_rot);
        if (s->factors) theta /= (double)s->factors[i];
        double width = s->yarn_hi - s->yarn_lo, ramp = 0;
        if (s->yarn) {
            ramp = (i - s->yarn_lo) / (width > 0.001 ? width : 0.001);
            ramp = 1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp);
        }
        freq[i] = theta * (s->freq_scale * (1 - ramp) + ramp);
    }
}

struct rope_job {
    struct pool_tasks tasks;
    struct cpu *c;
    const struct batch *batch;
    int n_specs;
};

static void rope_seq_row(const struct rope_job *j, const struct batch_seq *seq, int i) {
    const double *freq = j->c->rope_freq;
    for (int s = 0; s < j->n_specs; s++) {
        const struct cpu_rope *r = &j->c->rope[s];
        int half = r->spec->n_rot / 2;
        float *cs = r->cs + (int64_t)(seq->first + i) * r->spec->n_rot;
        for (int p = 0; p < half; p++) {
            double si, co;
            fmath_sincos((double)(seq->pos + i) * freq[p], &si, &co);
            cs[p] = (float)(co * r->spec->magnitude);
            cs[half + p] = (float)(si * r->spec->magnitude);
        }
        freq += half;
    }
}

static void rope_worker(void *ctx, int worker) {
    struct rope_job *j = ctx;
    int64_t begin, end;
    (void)worker;
    while (pool_take(&j->tasks, &begin, &end))
        for (int s = 0; s < j->batch->n_seqs; s++) {
            const struct batch_seq *seq = &j->batch->seqs[s];
            for (int i = max_int((int)begin - seq->first, 0); i < seq->n && seq->first + i < end;
                 i++)
                rope_seq_row(j, seq, i);
        }
}

void cpu_rope_prepare(struct backend *b, const struct batch *batch, const struct rope_spec *specs,
                      int n_specs) {
    struct cpu *c = cpu_of(b);
    struct rope_job j = {.c = c, .batch = batch, .n_specs = n_specs};
    float *cs = c->rope_cs;
    double *freq = c->rope_freq;
    assert(n_specs <= CPU_ROPE_SPECS && batch->n_rows <= c->attn_rows);
    for (int s = 0; s < n_specs; s++) {
        c->rope[s] = (struct cpu_rope){&specs[s], cs};
        cs += (int64_t)batch->n_rows * specs[s].n_rot;
        rope_freqs(&specs[s], freq);
        freq += specs[s].n_rot / 2;
    }
    assert(freq - c->rope_freq <= CPU_ROPE_DIMS / 2);
    pool_tasks_reset(&j.tasks, batch->n_rows, ROPE_SERIAL_ROWS);
    if (batch->n_rows <= ROPE_SERIAL_ROWS) rope_worker(&j, 0);
    else pool_run(c->pool, rope_worker, &j);
}

static void rotate(const struct attn_job *j, int row, float *x) {
    if (j->a->rope < 0) return;
    const struct cpu_rope *r = &j->c->rope[j->a->rope];
    if (r->spec->kind == ROPE_NONE) return;
    j->k->rope(x, r->cs + (int64_t)row * r->spec->n_rot, r->spec->n_rot,
               r->spec->kind == ROPE_NEOX);
}

/* ---- store and queries ------------------------------------------------------------------------*/

/* The K block of a kv head in a unit; the V block follows it. */
static unsigned char *unit_block(const struct attn_job *j, const struct batch_seq *seq, int unit,
                                 int kv) {
    const struct kv_layer *l = &j->a->kv;
    const struct kv_table *t = &seq->kv.tables[l->group];
    unsigned char *page = t->pages[unit / t->page_units];
    assert(page);
    return page + (size_t)(unit % t->page_units) * t->unit_bytes + l->offset +
           (size_t)kv * (l->k_bytes + l->v_bytes);
}

static void store_row(const struct attn_job *j, int row, int kv, int at, unsigned char *block,
                      float *x) {
    const struct op_attn *a = j->a;
    const struct kern *kern = j->c->kern;
    memcpy(x, a->k + row * a->k_ld + (int64_t)kv * a->k_dim, (size_t)a->k_dim * sizeof *x);
    if (a->k_norm) kern->rms_norm(x, a->k_norm, x, a->k_dim, a->norm_eps);
    rotate(j, row, x);
    if (attn_quantized((enum attn_type)a->kv.k_type)) j->k->hadamard(x, a->k_dim);
    j->k->store_k[a->kv.k_type](block, a->k_dim, at, x);

    memcpy(x, a->v + row * a->v_ld + (int64_t)kv * a->v_dim, (size_t)a->v_dim * sizeof *x);
    if (a->v_norm) kern->rms_norm(x, NULL, x, a->v_dim, a->norm_eps);
    if (a->kv.v_type == KV_Q4_0) j->k->hadamard(x, a->v_dim);
    j->k->store_v[a->kv.v_type](block + a->kv.k_bytes, a->v_dim, at, x);
}

static int units_of(const struct batch_seq *seq) {
    return seq->n ? (seq->pos + seq->n - 1) / KV_UNIT - seq->pos / KV_UNIT + 1 : 0;
}

/* One unit of one kv head: no two workers write to the same unit. A unit is cleared with its first
 * position, so that stale bytes of an earlier owner of the page are never read as numbers. */
static void store_task(const struct attn_job *j, int64_t task, float *x) {
    const struct batch_seq *seq = j->a->batch->seqs;
    int kv = (int)(task % j->a->n_kv);
    int64_t index = task / j->a->n_kv;
    for (; index >= units_of(seq); seq++) index -= units_of(seq);
    int unit = seq->pos / KV_UNIT + (int)index;
    int from = max_int(seq->pos, unit * KV_UNIT);
    int to = min_int(seq->pos + seq->n, (unit + 1) * KV_UNIT);
    unsigned char *block = unit_block(j, seq, unit, kv);
    if (from == unit * KV_UNIT) memset(block, 0, j->a->kv.k_bytes + j->a->kv.v_bytes);
    for (int p = from; p < to; p++)
        store_row(j, seq->first + p - seq->pos, kv, p - unit * KV_UNIT, block, x);
}

/* The query heads of one kv head in one row. */
static void query_task(const struct attn_job *j, int64_t task) {
    const struct op_attn *a = j->a;
    int row = (int)(task / a->n_kv), group = a->n_head / a->n_kv;
    float *x = a->q + row * a->q_ld + task % a->n_kv * group * a->k_dim;
    for (int h = 0; h < group; h++, x += a->k_dim) {
        if (a->q_norm) j->c->kern->rms_norm(x, a->q_norm, x, a->k_dim, a->norm_eps);
        rotate(j, row, x);
        if (a->q_scale) j->c->kern->scale(x, a->q_scale[row], a->k_dim);
        if (attn_quantized((enum attn_type)a->kv.k_type)) j->k->hadamard(x, a->k_dim);
    }
}

static void prepare_worker(void *ctx, int worker) {
    struct attn_job *j = ctx;
    int64_t begin, end;
    while (pool_take(&j->tasks, &begin, &end))
        for (int64_t t = begin; t < end; t++)
            if (t < j->n_stores) store_task(j, t, j->c->attn[worker]->row);
            else query_task(j, t - j->n_stores);
}

static void prepare(struct attn_job *j) {
    const struct batch *batch = j->a->batch;
    for (int s = 0; j->a->k && s < batch->n_seqs; s++)
        j->n_stores += (int64_t)units_of(&batch->seqs[s]) * j->a->n_kv;
    int64_t n = j->n_stores + (int64_t)batch->n_rows * j->a->n_kv;
    pool_tasks_reset(&j->tasks, n, cpu_chunk(j->c, n));
    pool_run(j->c->pool, prepare_worker, j);
}

/* ---- blocks -----------------------------------------------------------------------------------*/

static int64_t query_blocks(const struct attn_job *j, const struct batch_seq *seq) {
    return (seq->n + j->queries - 1) / j->queries;
}

static struct attn_block block_at(const struct attn_job *j, int64_t index) {
    const struct op_attn *a = j->a;
    const struct batch_seq *seq = a->batch->seqs;
    int64_t outer = index / j->query_blocks, q = index % j->query_blocks;
    for (; q >= query_blocks(j, seq); seq++) q -= query_blocks(j, seq);
    int group = a->n_head / a->n_kv, at = (int)(outer % j->head_blocks) * j->heads;
    struct attn_block b = {.seq = seq, .kv = (int)(outer / j->head_blocks)};
    b.row0 = (int)(query_blocks(j, seq) - 1 - q) * j->queries; /* the longest first */
    b.n_rows = min_int(j->queries, seq->n - b.row0);
    b.head0 = b.kv * group + at;
    b.n_heads = min_int(j->heads, group - at);
    int pos = seq->pos + b.row0;
    b.first_unit = a->window ? max_int(pos - a->window + 1, 0) / KV_UNIT : 0;
    b.last_unit = (pos + b.n_rows - 1) / KV_UNIT;
    return b;
}

/* Columns of a block: column c is head c % n_heads of query c / n_heads. */
static void load_queries(const struct attn_job *j, const struct attn_block *b,
                         struct attn_scratch *s) {
    const struct op_attn *a = j->a;
    int ld = attn_pad32(a->k_dim);
    s->step.n = b->n_rows * b->n_heads;
    for (int c = 0; c < s->step.n; c++) {
        int64_t row = b->seq->first + b->row0 + c / b->n_heads, head = b->head0 + c % b->n_heads;
        float *q = s->q + c * ld;
        memcpy(q, a->q + row * a->q_ld + head * a->k_dim, (size_t)a->k_dim * sizeof *q);
        memset(q + a->k_dim, 0, (size_t)(ld - a->k_dim) * sizeof *q);
        if (attn_quantized((enum attn_type)a->kv.k_type))
            j->c->kern->act_quantize(q, ld, 32, s->q_quant + c * act_blocks(ld));
    }
}

/* Which positions of a unit each column sees; false when none sees any. */
static bool mask_unit(const struct attn_job *j, const struct attn_block *b, int unit,
                      struct attn_step *st) {
    st->lo = KV_UNIT;
    st->hi = 0;
    for (int c = 0; c < st->n; c++) {
        int pos = b->seq->pos + b->row0 + c / b->n_heads;
        int first = j->a->window ? pos - j->a->window + 1 : 0;
        st->first[c] = max_int(first - unit * KV_UNIT, 0);
        st->end[c] = min_int(pos + 1 - unit * KV_UNIT, KV_UNIT);
        if (st->first[c] >= st->end[c]) continue;
        st->lo = min_int(st->lo, st->first[c]);
        st->hi = max_int(st->hi, st->end[c]);
    }
    return st->lo < st->hi;
}

static void reset_state(struct attn_state *st, int n, int dim) {
    for (int c = 0; c < ATTN_COLS; c++) {
        st->max[c] = -INFINITY;
        st->sum[c] = 0;
    }
    memset(st->acc, 0, (size_t)n * (size_t)attn_pad32(dim) * sizeof *st->acc);
}

static void attend_span(const struct attn_job *j, const struct attn_block *b, int64_t span,
                        struct attn_scratch *s, struct attn_state *out) {
    const struct op_attn *a = j->a;
    struct attn_step *st = &s->step;
    st->scale = a->scale;
    st->softcap = a->softcap;
    reset_state(out, st->n, a->v_dim);
    int from = max_int((int)span * SPAN_UNITS, b->first_unit);
    int to = min_int((int)(span + 1) * SPAN_UNITS - 1, b->last_unit);
    for (int unit = from; unit <= to; unit++) {
        if (!mask_unit(j, b, unit, st)) continue;
        const unsigned char *k = unit_block(j, b->seq, unit, b->kv);
        const unsigned char *next = unit < to ? unit_block(j, b->seq, unit + 1, b->kv) : k;
        struct attn_query q = {
            .n = st->n, .dim = a->k_dim, .f = s->q, .q = s->q_quant, .lo = st->lo, .hi = st->hi};
        attn_prefetch(next, a->kv.k_bytes);
        j->k->scores[a->kv.k_type](k, &q, st->w);
        j->k->weights(st, out);
        attn_prefetch(next + a->kv.k_bytes, a->kv.v_bytes);
        j->k->values[a->kv.v_type](k + a->kv.k_bytes, a->v_dim, st, out->acc);
    }
}

static void finish_block(const struct attn_job *j, const struct attn_block *b,
                         const struct attn_state *st) {
    const struct op_attn *a = j->a;
    for (int c = 0; c < b->n_rows * b->n_heads; c++) {
        int64_t row = b->seq->first + b->row0 + c / b->n_heads, head = b->head0 + c % b->n_heads;
        float *out = a->out + row * a->out_ld + head * a->v_dim;
        j->k->finish(st, c, a->v_dim, a->sinks ? a->sinks + head : NULL, out);
        if (a->kv.v_type == KV_Q4_0) j->k->hadamard(out, a->v_dim);
    }
}

/* A block by one worker, all its spans in order. */
static void whole_worker(void *ctx, int worker) {
    struct attn_job *j = ctx;
    struct attn_scratch *s = j->c->attn[worker];
    int64_t begin, end;
    while (pool_take(&j->tasks, &begin, &end))
        for (int64_t i = begin; i < end; i++) {
            struct attn_block b = block_at(j, i);
            load_queries(j, &b, s);
            reset_state(&s->total, s->step.n, j->a->v_dim);
            for (int span = b.first_unit / SPAN_UNITS; span <= b.last_unit / SPAN_UNITS; span++) {
                attend_span(j, &b, span, s, &s->span);
                j->k->merge(&s->total, &s->span, s->step.n, j->a->v_dim);
            }
            finish_block(j, &b, &s->total);
        }
}

/* ---- shared-out spans -------------------------------------------------------------------------*/

static int64_t part_floats(int dim) {
    return (int64_t)(sizeof(struct attn_state) / sizeof(float)) + ATTN_COLS * attn_pad32(dim);
}
/* Slot 0 of a block is its total, the others are the spans of this round. */
static struct attn_state *part_at(const struct attn_job *j, int64_t block, int64_t slot) {
    float *p = j->c->attn_parts + (block * (j->n_spans + 1) + slot) * part_floats(j->a->v_dim);
    struct attn_state *st = (void *)p;
    st->acc = p + sizeof *st / sizeof *p;
    return st;
}
static int spans_of(const struct attn_block *b) {
    return b->last_unit / SPAN_UNITS - b->first_unit / SPAN_UNITS + 1;
}

static void span_worker(void *ctx, int worker) {
    struct attn_job *j = ctx;
    struct attn_scratch *s = j->c->attn[worker];
    int64_t begin, end;
    while (pool_take(&j->tasks, &begin, &end))
        for (int64_t t = begin; t < end; t++) {
            int64_t block = t / j->n_spans, slot = t % j->n_spans;
            struct attn_block b = block_at(j, block);
            if (j->span0 + slot >= spans_of(&b)) continue;
            load_queries(j, &b, s);
            attend_span(j, &b, b.first_unit / SPAN_UNITS + j->span0 + slot, s,
                        part_at(j, block, slot + 1));
        }
}

static void merge_worker(void *ctx, int worker) {
    struct attn_job *j = ctx;
    int64_t begin, end;
    (void)worker;
    while (pool_take(&j->tasks, &begin, &end))
        for (int64_t block = begin; block < end; block++) {
            struct attn_block b = block_at(j, block);
            struct attn_state *total = part_at(j, block, 0);
            int n = b.n_rows * b.n_heads;
            if (j->first_round) reset_state(total, n, j->a->v_dim);
            for (int64_t i = 0; i < j->n_spans && j->span0 + i < spans_of(&b); i++)
                j->k->merge(total, part_at(j, block, i + 1), n, j->a->v_dim);
            if (j->last_round) finish_block(j, &b, total);
        }
}

/* As many spans of every block at a time as the partials have room for. */
static void run_spans(struct attn_job *j, int64_t most_spans) {
    struct pool *pool = j->c->pool;
    int64_t room = j->c->attn_part_floats / (j->n_blocks * part_floats(j->a->v_dim)) - 1;
    assert(room >= 1);
    j->n_spans = room < most_spans ? room : most_spans;
    for (j->span0 = 0; j->span0 < most_spans; j->span0 += j->n_spans) {
        j->first_round = j->span0 == 0;
        j->last_round = j->span0 + j->n_spans >= most_spans;
        pool_tasks_reset(&j->tasks, j->n_blocks * j->n_spans, 1);
        pool_run(pool, span_worker, j);
        pool_tasks_reset(&j->tasks, j->n_blocks, 1);
        pool_run(pool, merge_worker, j);
    }
}

void cpu_attn(struct backend *be, const struct op_attn *a) {
    struct cpu *c = cpu_of(be);
    int group = a->n_head / a->n_kv, threads = pool_threads(c->pool);
    struct attn_job j = {.c = c, .a = a, .k = c->kern->attn};
    assert(group * a->n_kv == a->n_head && a->batch->n_rows <= c->attn_rows);
    j.heads = min_int(group, ATTN_COLS);
    j.queries = max_int(ATTN_COLS / group, 1);
    j.head_blocks = (group + j.heads - 1) / j.heads;
    for (int s = 0; s < a->batch->n_seqs; s++)
        j.query_blocks += query_blocks(&j, &a->batch->seqs[s]);
    j.n_blocks = j.query_blocks * j.head_blocks * a->n_kv;
    prepare(&j);

    int most_spans = 1;
    bool few = threads > 1 && j.n_blocks < (int64_t)threads * TASKS_PER_THREAD;
    for (int64_t i = 0; few && i < j.n_blocks; i++) {
        struct attn_block b = block_at(&j, i);
        most_spans = max_int(most_spans, spans_of(&b));
    }
    if (most_spans > 1) {
        run_spans(&j, most_spans);
        return;
    }
    pool_tasks_reset(&j.tasks, j.n_blocks, 1);
    pool_run(c->pool, whole_worker, &j);
}

/* ---- life -------------------------------------------------------------------------------------*/

/* One block of memory per worker, its parts in a row. */
static struct attn_scratch *scratch_open(int dim, struct err *e) {
    size_t ld = (size_t)attn_pad32(dim), cols = ATTN_COLS;
    size_t head = (sizeof(struct attn_scratch) + 63) / 64 * 64;
    size_t quant = cols * (size_t)act_blocks((int64_t)ld) * sizeof(struct act_block);
    size_t floats = cols * ld * 3 + cols * KV_UNIT + ld;
    unsigned char *p = mem_aligned(head + quant + floats * sizeof(float));
    if (!p) {
        err_nomem(e, "attention scratch", head + quant + floats * sizeof(float));
        return NULL;
    }
    struct attn_scratch *s = (void *)p;
    s->q_quant = (void *)(p + head);
    s->q = (void *)(p + head + quant);
    s->span.acc = s->q + cols * ld;
    s->total.acc = s->span.acc + cols * ld;
    s->step.w = s->total.acc + cols * ld;
    s->row = s->step.w + cols * KV_UNIT;
    return s;
}

bool cpu_attn_reserve(struct cpu *c, const struct ops_need *need, struct err *e) {
    int threads = pool_threads(c->pool);
    int64_t parts = TASKS_PER_THREAD * threads * 2 * part_floats(need->head_dim);
    cpu_attn_free(c);
    c->attn_rows = need->n_rows;
    c->attn_part_floats = threads > 1 ? (parts > PART_FLOATS ? parts : PART_FLOATS) : 0;
    c->rope_cs = mem_aligned((size_t)need->n_rows * CPU_ROPE_DIMS * sizeof(float));
    c->rope_freq = mem_array(CPU_ROPE_DIMS / 2, sizeof(double));
    c->attn_parts = mem_aligned((size_t)c->attn_part_floats * sizeof(float));
    c->attn = mem_calloc((size_t)threads, sizeof(*c->attn));
    if (!c->rope_cs || !c->rope_freq || !c->attn_parts || !c->attn)
        return err_nomem(e, "attention buffers", (uint64_t)c->attn_part_floats * sizeof(float));
    for (int i = 0; i < threads; i++)
        if (!(c->attn[i] = scratch_open(need->head_dim, e))) return false;
    return true;
}

void cpu_attn_free(struct cpu *c) {
    for (int i = 0; c->attn && i < pool_threads(c->pool); i++) mem_free_aligned(c->attn[i]);
    mem_free(c->attn);
    mem_free(c->rope_freq);
    mem_free_aligned(c->rope_cs);
    mem_free_aligned(c->attn_parts);
    c->attn = NULL;
    c->rope_freq = NULL;
    c->rope_cs = c->attn_parts = NULL;
}
