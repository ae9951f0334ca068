/* Attention through the CPU backend: every pair of K/V types at every level against scalar with
 * ==, against plain attention in double, and the same bits however the work is cut up: chunk
 * sizes, threads, several sequences in a batch, forked pages. Ends with timings. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "kern/attn.h"
#include "ops/cpu.h"

enum { PAGE_UNITS = 2, PAGE_POS = PAGE_UNITS * KV_UNIT, MAX_PAGES = 80 };

struct shape {
    const char *name;
    int n_head, n_kv, k_dim, v_dim;
    enum kv_type k_type, v_type;
    int window;
    float softcap;
    bool sinks, norms, q_scale;
    enum rope_kind rope;
    int n_rot;
};

/* Inputs of n positions, made from a seed. */
struct input {
    int n;
    float *q, *k, *v, *sinks, *norm, *q_scale;
};

static const char *const level_names[] = {"scalar", "avx2", "avx512"};

static float *noise(struct rng *r, int64_t n, float scale) {
    float *x = mem_array((size_t)n, sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = scale * rng_normal(r);
    return x;
}
static struct input input_make(const struct shape *s, int n, uint64_t seed) {
    struct rng r = {seed};
    struct input in = {.n = n};
    in.q = noise(&r, (int64_t)n * s->n_head * s->k_dim, 2);
    in.k = noise(&r, (int64_t)n * s->n_kv * s->k_dim, 1);
    in.v = noise(&r, (int64_t)n * s->n_kv * s->v_dim, 1);
    in.sinks = noise(&r, s->n_head, 2);
    in.norm = noise(&r, s->k_dim, 1);
    in.q_scale = noise(&r, n, 1);
    return in;
}
static void input_free(struct input *in) {
    float *all[] = {in->q, in->k, in->v, in->sinks, in->norm, in->q_scale};
    for (int i = 0; i < 6; i++) mem_free(all[i]);
}

/* ---- K/V of one sequence ------------------------------------------------------------------ */
struct store {
    unsigned char *pages[MAX_PAGES];
    struct kv_table table;
    struct kv_layer layer;
};
static size_t page_bytes(const struct store *st) {
    return st->table.unit_bytes * PAGE_UNITS;
}
static void store_open(struct store *st, const struct shape *s, int n) {
    struct kv_layer *l = &st->layer;
    *l = (struct kv_layer){0, s->n_kv, s->k_dim, s->v_dim, s->k_type, s->v_type, 0, 0, 192};
    l->k_bytes = kv_block_bytes(s->k_type, s->k_dim, false);
    l->v_bytes = kv_block_bytes(s->v_type, s->v_dim, true);
    size_t unit = l->offset + (size_t)s->n_kv * (l->k_bytes + l->v_bytes);
    st->table = (struct kv_table){st->pages, PAGE_UNITS, unit};
    memset(st->pages, 0, sizeof st->pages);
    for (int p = 0; p * PAGE_POS < n; p++) {
        st->pages[p] = mem_aligned(page_bytes(st));
        memset(st->pages[p], 0xff, page_bytes(st)); /* NaN, until stored */
    }
}
static void store_close(struct store *st) {
    for (int p = 0; p < MAX_PAGES; p++) mem_free_aligned(st->pages[p]);
}

/* ---- runs --------------------------------------------------------------------------------- */
static struct cpu *cpu_open(int threads, const char *level) {
    struct err e;
    struct backend *b = backend_cpu(threads, false, &e);
    assert_non_null(b);
    struct cpu *c = b->self;
    c->kern = kern_level(level);
    struct ops_need need = {
        .n_rows = 1200, .n_head = 64, .n_kv = 16, .head_dim = 576, .n_ctx = 8192};
    assert_true(cpu_attn_reserve(c, &need, &e));
    return c;
}

static struct rope_spec rope_of(const struct shape *s) {
    return (struct rope_spec){.kind = s->rope,
                              .n_rot = s->n_rot,
                              .base = 10000,
                              .freq_scale = 0.5,
                              .magnitude = 1.1,
                              .yarn = s->softcap != 0,
                              .yarn_lo = 3,
                              .yarn_hi = 9};
}

/* Rows of a batch, sequence after sequence: positions [pos, pos + n) of input i go to store i. */
struct part {
    const struct input *in;
    struct store *st;
    int pos, n;
    float *out; /* (in->n, n_head * v_dim) */
};

static void run_batch(struct cpu *c, const struct shape *s, struct part *parts, int n_parts) {
    struct batch_seq seqs[8];
    int qd = s->n_head * s->k_dim, kd = s->n_kv * s->k_dim, vd = s->n_kv * s->v_dim,
        od = s->n_head * s->v_dim, rows = 0;
    for (int i = 0; i < n_parts; i++) {
        seqs[i] = (struct batch_seq){
            .first = rows, .n = parts[i].n, .pos = parts[i].pos, .kv = {&parts[i].st->table}};
        rows += parts[i].n;
    }
    float *q = mem_array((size_t)rows * (size_t)qd, 4),
          *k = mem_array((size_t)rows * (size_t)kd, 4);
    float *v = mem_array((size_t)rows * (size_t)vd, 4),
          *o = mem_array((size_t)rows * (size_t)od, 4);
    float *scales = mem_array((size_t)rows, 4);
    for (int i = 0; i < n_parts; i++) {
        size_t n = (size_t)parts[i].n * 4;
        int at = seqs[i].first, pos = parts[i].pos;
        memcpy(q + at * qd, parts[i].in->q + pos * qd, n * (size_t)qd);
        memcpy(k + at * kd, parts[i].in->k + pos * kd, n * (size_t)kd);
        memcpy(v + at * vd, parts[i].in->v + pos * vd, n * (size_t)vd);
        memcpy(scales + at, parts[i].in->q_scale + pos, n);
    }
    struct batch batch = {.n_rows = rows, .n_seqs = n_parts, .seqs = seqs};
    struct rope_spec spec = rope_of(s);
    cpu_rope_prepare(&c->b, &batch, &spec, 1);
    struct op_attn a = {
        .batch = &batch,
        .n_head = s->n_head,
        .n_kv = s->n_kv,
        .k_dim = s->k_dim,
        .v_dim = s->v_dim,
        .q = q,
        .k = k,
        .v = v,
        .out = o,
        .q_ld = qd,
        .k_ld = kd,
        .v_ld = vd,
        .out_ld = od,
        .norm_eps = 1e-5f,
        .v_norm = s->norms,
        .rope = s->rope == ROPE_NONE ? -1 : 0,
        .scale = 1 / sqrtf((float)s->k_dim),
        .softcap = s->softcap,
        .window = s->window,
        .kv = parts[0].st->layer,
    };
    if (s->norms) a.q_norm = a.k_norm = parts[0].in->norm;
    if (s->sinks) a.sinks = parts[0].in->sinks;
    if (s->q_scale) a.q_scale = scales;
    cpu_attn(&c->b, &a);
    for (int i = 0; i < n_parts; i++)
        memcpy(parts[i].out + parts[i].pos * od, o + seqs[i].first * od,
               (size_t)parts[i].n * (size_t)od * 4);
    float *all[] = {q, k, v, o, scales};
    for (int i = 0; i < 5; i++) mem_free(all[i]);
}

/* All positions of an input in chunks, into a fresh store. */
static float *run(const struct shape *s, const struct input *in, int threads, int chunk,
                  const char *level) {
    struct cpu *c = cpu_open(threads, level);
    struct store st;
    store_open(&st, s, in->n);
    float *out = mem_calloc((size_t)in->n * (size_t)(s->n_head * s->v_dim), 4);
    for (int pos = 0; pos < in->n; pos += chunk) {
        struct part p = {in, &st, pos, in->n - pos < chunk ? in->n - pos : chunk, out};
        run_batch(c, s, &p, 1);
    }
    store_close(&st);
    c->b.close(&c->b);
    return out;
}

static void expect_equal(const struct shape *s, const char *what, const float *a, const float *b,
                         int n) {
    int od = s->n_head * s->v_dim;
    for (int64_t i = 0; i < (int64_t)n * od; i++)
        if (!(a[i] == b[i]))
            fail_msg("%s %s/%s, %s: position %d, head %d, dim %d: %a and %a", s->name,
                     kv_type_name(s->k_type), kv_type_name(s->v_type), what, (int)(i / od),
                     (int)(i % od / s->v_dim), (int)(i % s->v_dim), (double)a[i], (double)b[i]);
}

/* ---- the same in double ------------------------------------------------------------------- */
static void ref_head(const struct shape *s, const struct input *in, const float *x, int pos,
                     bool norm, double *out) {
    double sq = 0;
    for (int i = 0; i < s->k_dim; i++) {
        out[i] = x[i];
        sq += out[i] * out[i];
    }
    for (int i = 0; norm && i < s->k_dim; i++)
        out[i] *= (double)in->norm[i] / sqrt(sq / s->k_dim + (double)1e-5f);
    struct rope_spec r = rope_of(s);
    for (int i = 0; s->rope != ROPE_NONE && i < s->n_rot / 2; i++) {
        double ramp = 1 - fmin(fmax((i - r.yarn_lo) / (r.yarn_hi - r.yarn_lo), 0), 1);
        double t = pos * pow(r.base, -2.0 * i / s->n_rot), angle = t * r.freq_scale;
        if (r.yarn) angle = t * r.freq_scale * (1 - ramp) + t * ramp;
        double *a = out + (s->rope == ROPE_NEOX ? i : 2 * i);
        double *b = s->rope == ROPE_NEOX ? a + s->n_rot / 2 : a + 1;
        double a0 = *a, b0 = *b, co = cos(angle) * r.magnitude, si = sin(angle) * r.magnitude;
        *a = a0 * co - b0 * si;
        *b = a0 * si + b0 * co;
    }
}

/* Squared error and squared size of the outputs at some positions. */
static double nmse(const struct shape *s, const struct input *in, const float *got) {
    int dk = s->k_dim, dv = s->v_dim, group = s->n_head / s->n_kv;
    double *k = malloc(sizeof *k * (size_t)(in->n * dk)), *p = malloc(sizeof *p * (size_t)in->n);
    double *v = malloc(sizeof *v * (size_t)(in->n * dv)), err = 0, size = 0, q[1024];
    for (int kv = 0; kv < s->n_kv; kv++) {
        for (int i = 0; i < in->n; i++) {
            const float *x = in->v + (i * s->n_kv + kv) * dv;
            double sq = 0;
            ref_head(s, in, in->k + (i * s->n_kv + kv) * dk, i, s->norms, k + i * dk);
            for (int d = 0; d < dv; d++) sq += (double)x[d] * x[d];
            for (int d = 0; d < dv; d++)
                v[i * dv + d] = s->norms ? x[d] / sqrt(sq / dv + (double)1e-5f) : x[d];
        }
        for (int h = kv * group; h < (kv + 1) * group; h++)
            for (int pos = in->n - 1; pos >= 0; pos -= 61) {
                ref_head(s, in, in->q + (pos * s->n_head + h) * dk, pos, s->norms, q);
                double max = s->sinks ? in->sinks[h] : -1e300, sum = 0;
                int first = s->window && pos - s->window + 1 > 0 ? pos - s->window + 1 : 0;
                for (int i = first; i <= pos; i++) {
                    double x = 0;
                    for (int d = 0; d < dk; d++) x += q[d] * k[i * dk + d];
                    x *= (double)(1 / sqrtf((float)dk)) * (s->q_scale ? in->q_scale[pos] : 1);
                    if (s->softcap != 0) x = s->softcap * tanh(x / s->softcap);
                    p[i] = x;
                    max = fmax(max, x);
                }
                for (int i = first; i <= pos; i++) sum += p[i] = exp(p[i] - max);
                if (s->sinks) sum += exp(in->sinks[h] - max);
                for (int d = 0; d < dv; d++) {
                    double o = 0;
                    for (int i = first; i <= pos; i++) o += p[i] * v[i * dv + d];
                    o /= sum;
                    double diff = o - got[(pos * s->n_head + h) * dv + d];
                    err += diff * diff;
                    size += o * o;
                }
            }
    }
    free(k), free(p), free(v);
    return err / size;
}

/* ---- tests -------------------------------------------------------------------------------- */
#define BASE .n_head = 4, .n_kv = 2
static const struct shape shapes[] = {
    {"d64", BASE, .rope = ROPE_NEOX, .k_dim = 64, .v_dim = 64, .n_rot = 64},
    {"d64 norm rope, norms", BASE, .k_dim = 64, .v_dim = 64, .n_rot = 64, .norms = true,
     .rope = ROPE_NORM},
    {"d80 partial rope", BASE, .rope = ROPE_NEOX, .k_dim = 80, .v_dim = 80, .n_rot = 32},
    {"d96 window", BASE, .rope = ROPE_NEOX, .k_dim = 96, .v_dim = 96, .n_rot = 96, .window = 100},
    {"d128 sinks, window", BASE, .rope = ROPE_NEOX, .k_dim = 128, .v_dim = 128, .n_rot = 128,
     .window = 128, .sinks = true},
    {"d256 softcap, yarn", BASE, .rope = ROPE_NEOX, .k_dim = 256, .v_dim = 256, .n_rot = 256,
     .softcap = 5, .q_scale = true},
    {"d576/512, one kv head", .n_head = 3, .n_kv = 1, .k_dim = 576, .v_dim = 512},
    {"d20/24", .n_head = 3, .n_kv = 3, .k_dim = 20, .v_dim = 24, .sinks = true},
    {"group 1", .n_head = 2, .n_kv = 2, .k_dim = 64, .v_dim = 64},
    {"group 3", .n_head = 3, .n_kv = 1, .k_dim = 64, .v_dim = 64},
    {"group 5", .n_head = 5, .n_kv = 1, .k_dim = 32, .v_dim = 64},
    {"group 7", .n_head = 7, .n_kv = 1, .k_dim = 64, .v_dim = 32},
    {"group 8", .n_head = 8, .n_kv = 1, .k_dim = 64, .v_dim = 64},
    {"group 40", .n_head = 40, .n_kv = 1, .k_dim = 32, .v_dim = 32, .window = 33},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };
/* What a storage type costs in NMSE of the output, at most, on normal random values. */
static const double tolerance[KV_TYPES] = {2e-12, 2e-6, 4e-4, 5e-2};

static void types_and_levels(void **state) {
    (void)state;
    for (int i = 0; i < N_SHAPES; i++)
        for (int t = 0; t < KV_TYPES * KV_TYPES; t++) {
            struct shape s = shapes[i];
            s.k_type = (enum kv_type)(t / KV_TYPES);
            s.v_type = (enum kv_type)(t % KV_TYPES);
            struct input in = input_make(&s, 130, 100 + (uint64_t)i);
            float *want = run(&s, &in, 1, 64, "scalar");
            double limit = tolerance[s.k_type] + tolerance[s.v_type], e = nmse(&s, &in, want);
            if (i == 0)
                print_message("K %s V %s: NMSE %.1e\n", kv_type_name(s.k_type),
                              kv_type_name(s.v_type), e);
            if (!(e < limit))
                fail_msg("%s %s/%s: NMSE %g, limit %g", s.name, kv_type_name(s.k_type),
                         kv_type_name(s.v_type), e, limit);
            for (int l = 1; l < 3; l++) {
                if (!kern_level(level_names[l])) continue;
                float *got = run(&s, &in, 1, 130, level_names[l]);
                expect_equal(&s, level_names[l], want, got, in.n);
                mem_free(got);
            }
            mem_free(want);
            input_free(&in);
        }
}

/* Best level only: long enough for several spans. */
static void cut_in_any_way(void **state) {
    (void)state;
    const char *level = kern_get()->level;
    for (int i = 0; i < N_SHAPES; i++)
        for (int t = 0; t < KV_TYPES; t++) {
            struct shape s = shapes[i];
            s.k_type = s.v_type = (enum kv_type)t;
            struct input in = input_make(&s, 600, 7);
            float *want = run(&s, &in, 1, 600, level);
            double e = nmse(&s, &in, want);
            if (!(e < 2 * tolerance[t])) fail_msg("%s %s: NMSE %g", s.name, kv_type_name(t), e);
            static const struct {
                int threads, chunk;
            } cuts[] = {{2, 1}, {2, 7}, {1, 64}, {2, 512}, {1, 1}, {3, 65}};
            for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
                char what[64];
                snprintf(what, sizeof what, "%d threads, chunks of %d", cuts[c].threads,
                         cuts[c].chunk);
                float *got = run(&s, &in, cuts[c].threads, cuts[c].chunk, level);
                expect_equal(&s, what, want, got, in.n);
                mem_free(got);
            }
            mem_free(want);
            input_free(&in);
        }
}

/* Three sequences of one batch at different depths, two of them forks of one prefix. */
static void many_sequences_and_forks(void **state) {
    (void)state;
    enum { N = 700, FORK = 601 };
    for (int t = 0; t < KV_TYPES; t++) {
        struct shape s = shapes[4];
        s.k_type = s.v_type = (enum kv_type)t;
        int od = s.n_head * s.v_dim, kd = s.n_kv * s.k_dim;
        struct input a = input_make(&s, N, 1), b = input_make(&s, N, 2), c = input_make(&s, N, 3);
        memcpy(b.sinks, a.sinks, (size_t)s.n_head * 4),
            memcpy(c.sinks, a.sinks, (size_t)s.n_head * 4);
        memcpy(b.k, a.k, FORK * (size_t)kd * 4), memcpy(b.v, a.v, FORK * (size_t)kd * 4);
        float *want[3] = {run(&s, &a, 1, N, "scalar"), run(&s, &b, 1, N, "scalar"),
                          run(&s, &c, 1, N, "scalar")};
        struct cpu *cpu = cpu_open(2, kern_get()->level);
        struct store st[3];
        float *out[3];
        const struct input *in[3] = {&a, &b, &c};
        for (int i = 0; i < 3; i++) {
            store_open(&st[i], &s, N);
            out[i] = mem_calloc((size_t)(N * od), 4);
        }
        struct part first[2] = {{&a, &st[0], 0, FORK, out[0]}, {&c, &st[2], 0, 40, out[2]}};
        run_batch(cpu, &s, first, 2);
        for (int p = 0; p * PAGE_POS < FORK; p++)
            memcpy(st[1].pages[p], st[0].pages[p], page_bytes(&st[0]));
        for (int pos = FORK; pos < N; pos += 3) {
            struct part step[3];
            for (int i = 0; i < 3; i++) {
                int from = i == 2 ? 40 + (pos - FORK) : pos, n = N - pos < 3 ? N - pos : 3;
                step[i] = (struct part){in[i], &st[i], from, n, out[i]};
            }
            run_batch(cpu, &s, step, 3);
        }
        memcpy(out[1], want[1], FORK * (size_t)od * 4);
        expect_equal(&s, "first fork", want[0], out[0], N);
        expect_equal(&s, "second fork", want[1], out[1], N);
        expect_equal(&s, "third sequence", want[2], out[2], 40 + N - FORK);
        for (int i = 0; i < 3; i++) {
            store_close(&st[i]);
            mem_free(out[i]), mem_free(want[i]);
        }
        input_free(&a), input_free(&b), input_free(&c);
        cpu->b.close(&cpu->b);
    }
}

/* Dims far larger than the rest must not cost quantized K the others' precision. */
static void outliers(void **state) {
    (void)state;
    for (enum kv_type t = KV_Q8_0; t < KV_TYPES; t++) {
        struct shape s = shapes[0];
        s.rope = ROPE_NONE;
        s.k_type = t;
        struct input in = input_make(&s, 200, 9);
        for (int i = 5; i < in.n * s.n_kv * s.k_dim; i += s.k_dim) in.k[i] *= 20;
        for (int i = 5; i < in.n * s.n_head * s.k_dim; i += s.k_dim) in.q[i] /= 20;
        float *out = run(&s, &in, 1, in.n, kern_get()->level);
        double e = nmse(&s, &in, out), limit = tolerance[t] * 2;
        if (!(e < limit)) fail_msg("K %s: NMSE %g, limit %g", kv_type_name(t), e, limit);

        mem_free(out);
        input_free(&in);
    }
}

/* Units outside the window may be gone. */
static void dropped_pages(void **state) {
    (void)state;
    struct shape s = shapes[3];
    s.k_type = s.v_type = KV_Q8_0;
    struct input in = input_make(&s, 900, 5);
    float *want = run(&s, &in, 1, 900, "scalar");
    float *out = mem_calloc((size_t)(900 * s.n_head * s.v_dim), 4);
    struct cpu *c = cpu_open(2, kern_get()->level);
    struct store st;
    store_open(&st, &s, 900);
    for (int pos = 0; pos < 900; pos += 5) {
        struct part p = {&in, &st, pos, 5, out};
        for (int page = 0; (page + 1) * PAGE_POS <= pos - s.window + 1; page++) {
            mem_free_aligned(st.pages[page]);
            st.pages[page] = NULL;
        }
        run_batch(c, &s, &p, 1);
    }
    expect_equal(&s, "dropped pages", want, out, 900);
    store_close(&st);
    mem_free(want), mem_free(out);
    input_free(&in);
    c->b.close(&c->b);
}

static void print_rates(void **state) {
    (void)state;
    enum { DEPTH = 4096, ROWS = 512 };
    int threads = os_physical_cores() < 2 ? 1 : 2;
    for (int t = KV_F16; t < KV_TYPES; t++) {
        struct shape s = {.n_head = 32,
                          .n_kv = 8,
                          .k_dim = 64,
                          .v_dim = 64,
                          .k_type = (enum kv_type)t,
                          .v_type = (enum kv_type)t};
        struct input in = input_make(&s, DEPTH + 1, 5);
        struct cpu *c = cpu_open(threads, kern_get()->level);
        struct store st;
        store_open(&st, &s, DEPTH + 1);
        float *out = mem_calloc((size_t)((DEPTH + 1) * s.n_head * s.v_dim), 4);
        uint64_t prefill = 0, decode = UINT64_MAX;
        for (int pos = 0; pos < DEPTH; pos += ROWS) {
            struct part p = {&in, &st, pos, ROWS, out};
            uint64_t from = os_now_ns();
            run_batch(c, &s, &p, 1);
            prefill = os_now_ns() - from;
        }
        for (int i = 0; i < 30; i++) {
            struct part p = {&in, &st, DEPTH, 1, out};
            uint64_t from = os_now_ns();
            run_batch(c, &s, &p, 1);
            from = os_now_ns() - from;
            if (from < decode) decode = from;
        }
        print_message(
            "%s %s: depth %d, 16 layers of 32/8 heads of 64, %d threads: decode %.2f ms a "
            "token, last %d of prefill %.2f ms a token\n",
            c->kern->level, kv_type_name(s.k_type), DEPTH, threads, (double)decode * 16e-6, ROWS,
            (double)prefill * 16e-6 / ROWS);
        store_close(&st);
        mem_free(out);
        input_free(&in);
        c->b.close(&c->b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_and_levels),
        cmocka_unit_test(cut_in_any_way),
        cmocka_unit_test(many_sequences_and_forks),
        cmocka_unit_test(outliers),
        cmocka_unit_test(dropped_pages),
        cmocka_unit_test(print_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
