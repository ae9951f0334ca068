/* Timing of the matmul kernels, not a test: without arguments it exits at once (the test runner
 * starts every program of this folder). bench_matmul TYPE|all [LEVEL] [THREADS]
 *
 * gemv: one column over 256 MiB of weights, beside a plain read of the same bytes in the same
 * second. gemm: 512 columns over 1024 rows of 2048. Best of several rounds, since other work
 * only ever adds time. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "tests/kernels/matmul_cases.h"

enum { ROUNDS = 5, MAX_THREADS = 64, GEMM_COLS = 512 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct job {
    const struct product *p;
    const struct kern *kern; /* NULL: read the weights only */
    float *y;
    int thread, n_threads;
    uint64_t sum;
};

static void *work(void *arg) {
    struct job *j = arg;
    const struct product *p = j->p;
    int64_t chunk = (p->rows / j->n_threads + 15) / 16 * 16, r0 = j->thread * chunk;
    int64_t r1 = r0 + chunk < p->rows ? r0 + chunk : p->rows;
    if (r0 >= r1) return NULL;
    if (j->kern) {
        char *scratch = (char *)p->scratch + (size_t)j->thread * kern_scratch_bytes(p->k);
        j->kern->matmul[p->type->type](p->w.data, p->row_bytes, r0, r1, &p->in, j->y, p->rows,
                                       scratch);
        return NULL;
    }
    const uint8_t *w = p->w.data + (size_t)r0 * p->row_bytes;
    size_t n = (size_t)(r1 - r0) * p->row_bytes / 64;
    uint64_t s[8] = {0};
    for (size_t i = 0; i < n; i++, w += 64) {
        uint64_t v[8];
        memcpy(v, w, sizeof v);
        for (int k = 0; k < 8; k++) s[k] += v[k];
    }
    for (int k = 0; k < 8; k++) j->sum += s[k];
    return NULL;
}

static double run(const struct product *p, const struct kern *kern, float *y, int n_threads) {
    struct job jobs[MAX_THREADS];
    pthread_t id[MAX_THREADS];
    double start = now();
    for (int t = 0; t < n_threads; t++) {
        jobs[t] = (struct job){p, kern, y, t, n_threads, 0};
        if (t) pthread_create(&id[t], NULL, work, &jobs[t]);
    }
    work(&jobs[0]);
    for (int t = 1; t < n_threads; t++) pthread_join(id[t], NULL);
    volatile uint64_t sink = jobs[0].sum;
    (void)sink;
    return now() - start;
}

static void bench(const struct type_case *t, const struct kern *kern, int n_threads) {
    int64_t k = 2048;
    size_t row_bytes = quant_row_bytes(t->type, k);
    int rows = (int)((256u << 20) / row_bytes) / 32 * 32;
    struct product p = product_make(t, rows, 1, k, 1);
    float *y = test_alloc((size_t)rows * GEMM_COLS * sizeof *y);
    mem_free_aligned(p.scratch);
    p.scratch = test_alloc((size_t)n_threads * kern_scratch_bytes(k));
    product_quantize(&p, kern);
    double read = 1e9, gemv = 1e9, gemm = 1e9, unpack = 1e9,
           gb = (double)rows * (double)row_bytes / 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        double a = run(&p, NULL, y, n_threads), b = run(&p, kern, y, n_threads);
        if (a < read) read = a;
        if (b < gemv) gemv = b;
    }
    product_free(&p);
    rows = 1024;
    p = product_make(t, rows, GEMM_COLS, k, 1);
    mem_free_aligned(p.scratch);
    p.scratch = test_alloc((size_t)n_threads * kern_scratch_bytes(k));
    product_quantize(&p, kern);
    for (int i = 0; i < ROUNDS; i++) {
        double a = run(&p, kern, y, n_threads);
        if (a < gemm) gemm = a;
        p.in.n_cols = 9;
        a = run(&p, kern, y, n_threads);
        if (a < unpack) unpack = a;
        p.in.n_cols = GEMM_COLS;
    }
    product_free(&p);
    mem_free_aligned(y);
    printf("%-8s %-7s %d  %6.1f %6.1f  %4.0f %%  %7.0f  (9 columns %5.0f)\n",
           quant_info(t->type)->name, kern->level, n_threads, gb / read, gb / gemv,
           100 * read / gemv, 2.0 * rows * GEMM_COLS * (double)k / gemm / 1e9,
           2.0 * rows * 9 * (double)k / unpack / 1e9);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2) return 0;
    const struct kern *kern = argc > 2 ? kern_level(argv[2]) : kern_get();
    int n_threads = argc > 3 ? atoi(argv[3]) : 2;
    if (!kern || n_threads < 1 || n_threads > MAX_THREADS) return 1;
    printf("type     level threads  read  gemv GB/s       gemm Gop/s\n");
    for (int i = 0; i < N_TYPE_CASES; i++)
        if (strcmp(argv[1], "all") == 0 || type_cases[i].type == quant_by_name(argv[1]))
            bench(&type_cases[i], kern, n_threads);
    return 0;
}
