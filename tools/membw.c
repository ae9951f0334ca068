/* Read bandwidth of this machine, this minute: N threads sum their own part of 512 MiB in 2 MiB
 * pages. Prints the median and the best of the samples in GB/s. usage: membw [THREADS [SAMPLES]] */
#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"

#include <stdio.h>
#include <stdlib.h>

enum { BYTES = 512 << 20, MAX_SAMPLES = 200 };

struct job {
    const uint64_t *data;
    int n_threads;
    _Atomic uint64_t sum;
};

static void work(void *ctx, int worker) {
    struct job *j = ctx;
    size_t n = BYTES / sizeof(uint64_t) / (size_t)j->n_threads;
    const uint64_t *p = j->data + n * (size_t)worker;
    uint64_t a[8] = {0};
    for (size_t i = 0; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) a[k] += p[i + (size_t)k];
    for (int k = 0; k < 8; k++) j->sum += a[k];
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : os_physical_cores();
    int samples = argc > 2 ? atoi(argv[2]) : 15;
    double rate[MAX_SAMPLES];
    struct err e;
    if (samples < 1 || samples > MAX_SAMPLES) samples = 15;
    struct pool *pool = pool_open(threads, false, &e);
    struct job job = {.data = mem_aligned(BYTES), .n_threads = threads};
    if (!pool || !job.data) return 1;
    for (int i = 0; i < samples; i++) {
        uint64_t start = os_now_ns();
        pool_run(pool, work, &job);
        rate[i] = (double)BYTES / (double)(os_now_ns() - start);
    }
    qsort(rate, (size_t)samples, sizeof *rate, ascending);
    printf("%.2f %.2f\n", rate[samples / 2], rate[samples - 1]);
    return 0;
}
