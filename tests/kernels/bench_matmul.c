/* Timing of the matmul kernels, not a test: without arguments it exits at once (the test runner
 * starts every program of this folder). bench_matmul TYPE|all [LEVEL] [THREADS]
 *
 * gemv: one column over 256 MiB of weights, beside a plain read of the same bytes in the same
 * second. gemm: 512 columns over 1024 rows of 2048, beside the machine's rate of int8 products.
 * Times are CPU times of the threads, best of several rounds: other work only ever adds. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "tests/kernels/matmul_cases.h"

enum { ROUNDS = 5, MAX_THREADS = 64, GEMM_COLS = 512 };

static double cpu_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct job {
    const struct product *p;
    const struct kern *kern; /* NULL: read the weights only */
    float *y;
    int thread, n_threads;
    double seconds;
};

#if defined(__x86_64__)
#include <immintrin.h>
__attribute__((target("avx2"))) static uint64_t read_all(const uint8_t *w, size_t n) {
    __m256i a = _mm256_setzero_si256(), b = a;
    for (size_t i = 0; i + 64 <= n; i += 64) {
        a = _mm256_add_epi64(a, _mm256_loadu_si256((const __m256i *)(w + i)));
        b = _mm256_add_epi64(b, _mm256_loadu_si256((const __m256i *)(w + i + 32)));
    }
    return (uint64_t)_mm256_extract_epi64(_mm256_add_epi64(a, b), 0);
}

/* Gop/s of one core that only multiplies bytes in registers (AVX2). */
__attribute__((target("avx2"))) static double peak_rate(void) {
    enum { STEPS = 1 << 22 };
    __m256i x = _mm256_set1_epi8(1), a = x, b = x, c = x, d = x, e = x, f = x;
    double start = cpu_time();
    for (int i = 0; i < STEPS; i++) {
        a = _mm256_maddubs_epi16(a, x);
        b = _mm256_maddubs_epi16(b, x);
        c = _mm256_maddubs_epi16(c, x);
        d = _mm256_maddubs_epi16(d, x);
        e = _mm256_maddubs_epi16(e, x);
        f = _mm256_maddubs_epi16(f, x);
    }
    double seconds = cpu_time() - start;
    a = _mm256_add_epi8(_mm256_add_epi8(a, b), _mm256_add_epi8(c, d));
    a = _mm256_add_epi8(a, _mm256_add_epi8(e, f));
    volatile int sink = _mm256_extract_epi32(a, 0);
    (void)sink;
    return 64.0 * 6 * STEPS / seconds / 1e9;
}
#else
static uint64_t read_all(const uint8_t *w, size_t n) {
    uint64_t sum = 0, v;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        memcpy(&v, w + i, 8);
        sum += v;
    }
    return sum;
}
static double peak_rate(void) {
    return 0;
}
#endif

static void *work(void *arg) {
    struct job *j = arg;
    const struct product *p = j->p;
    int64_t chunk = (p->rows / j->n_threads + 15) / 16 * 16, r0 = j->thread * chunk;
    int64_t r1 = r0 + chunk < p->rows ? r0 + chunk : p->rows;
    if (r0 >= r1) return NULL;
    double start = cpu_time();
    if (j->kern) {
        char *scratch = (char *)p->scratch + (size_t)j->thread * kern_scratch_bytes(p->k);
        j->kern->matmul[p->type->type](p->w.data, p->row_bytes, r0, r1, &p->in, j->y, p->rows,
                                       scratch);
    } else {
        volatile uint64_t sink =
            read_all(p->w.data + (size_t)r0 * p->row_bytes, (size_t)(r1 - r0) * p->row_bytes);
        (void)sink;
    }
    j->seconds = cpu_time() - start;
    return NULL;
}

/* Seconds the work takes n_threads undisturbed cores. */
static double run(const struct product *p, const struct kern *kern, float *y, int n_threads) {
    struct job jobs[MAX_THREADS];
    pthread_t id[MAX_THREADS];
    for (int t = 0; t < n_threads; t++) {
        jobs[t] = (struct job){p, kern, y, t, n_threads, 0};
        if (t) pthread_create(&id[t], NULL, work, &jobs[t]);
    }
    work(&jobs[0]);
    for (int t = 1; t < n_threads; t++) {
        pthread_join(id[t], NULL);
        jobs[0].seconds += jobs[t].seconds;
    }
    return jobs[0].seconds / n_threads;
}

static void bench(const struct type_case *t, const struct kern *kern, int n_threads) {
    int64_t k = getenv("BK") ? atoi(getenv("BK")) : 2048;
    size_t row_bytes = quant_row_bytes(t->type, k);
    int rows = (int)((256u << 20) / row_bytes) / 32 * 32;
    struct product p = product_make(t, rows, 1, k, 1);
    float *y = test_alloc((size_t)rows * GEMM_COLS * sizeof *y);
    mem_free_aligned(p.scratch);
    p.scratch = test_alloc((size_t)n_threads * kern_scratch_bytes(k));
    product_quantize(&p, kern);
    double peak = 0, read = 1e9, gemv = 1e9, gemm = 1e9, unpack = 1e9,
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
        double rate = n_threads * peak_rate();
        if (rate > peak) peak = rate;
    }
    product_free(&p);
    mem_free_aligned(y);
    double gop = 2e-9 * rows * (double)k;
    printf("%-8s %-7s %d %6.1f %6.1f %5.0f%% %6.0f %6.0f %4.0f%% %8.0f\n",
           quant_info(t->type)->name, kern->level, n_threads, gb / read, gb / gemv,
           100 * read / gemv, peak, gop * GEMM_COLS / gemm, 100 * gop * GEMM_COLS / gemm / peak,
           gop * 9 / unpack);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2) return 0;
    const struct kern *kern = argc > 2 ? kern_level(argv[2]) : kern_get();
    int n_threads = argc > 3 ? atoi(argv[3]) : 2;
    if (!kern || n_threads < 1 || n_threads > MAX_THREADS) return 1;
    printf("              gemv, GB/s            gemm, Gop/s\n"
           "type     level   T   read  kernel        peak 512 columns   9 columns\n");
    for (int i = 0; i < N_TYPE_CASES; i++)
        if (strcmp(argv[1], "all") == 0 || type_cases[i].type == quant_by_name(argv[1]))
            bench(&type_cases[i], kern, n_threads);
    return 0;
}
