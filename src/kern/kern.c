/* The kernel table: which levels exist, which of them this machine runs, and their parts. Built
 * without instruction-set flags, so that it runs anywhere. */
#include "kern/kern.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kern/levels.h"
#include "kern/panel.h"

typedef void (*part_fn)(struct kern *k);
enum { MAX_PARTS = 5 };

static bool always(void) {
    return true;
}

#if KERN_X86
#include <cpuid.h>

static bool has_avx2(void) {
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
}
static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

/* From the lowest level up. */
static const struct level {
    const char *name;
    bool (*available)(void);
    part_fn parts[MAX_PARTS];
} levels[] = {
    {"scalar", always, {kern_elem_scalar, kern_act_scalar, kern_matmul_scalar, kern_attn_scalar}},
#if KERN_X86
    {"avx2", has_avx2, {kern_elem_avx2, kern_act_avx2, kern_matmul_avx2, kern_attn_avx2}},
    {"avx512",
     has_avx512,
     {kern_elem_avx512, kern_act_avx512, kern_matmul_avx512, kern_attn_avx512}},
#endif
};
enum { N_LEVELS = sizeof levels / sizeof levels[0] };

static struct kern tables[N_LEVELS];
static int n_available;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_tables(void) {
    for (int i = 0; i < N_LEVELS && levels[i].available(); i++, n_available++) {
        if (i > 0) tables[i] = tables[i - 1];
        tables[i].level = levels[i].name;
        for (int p = 0; p < MAX_PARTS && levels[i].parts[p]; p++) levels[i].parts[p](&tables[i]);
    }
}

const struct kern *kern_level(const char *name) {
    pthread_once(&once, fill_tables);
    for (int i = 0; i < n_available; i++)
        if (strcmp(tables[i].level, name) == 0) return &tables[i];
    return NULL;
}

const struct kern *kern_get(void) {
    const char *forced = getenv("HOLDFAST_CPU");
    const struct kern *k = forced ? kern_level(forced) : NULL;
    pthread_once(&once, fill_tables);
    return k ? k : &tables[n_available - 1];
}

size_t kern_scratch_bytes(int64_t k) {
    (void)k; /* panels cover one segment of a row, whatever its length */
    return PANELS * sizeof(struct panel);
}

size_t kern_packed_bytes(int n_cols, int64_t k) {
    return (size_t)((n_cols + PANEL_COLS - 1) / PANEL_COLS) * (size_t)act_blocks(k) *
           (sizeof(struct pack_block) + sizeof(struct pack_wide));
}
