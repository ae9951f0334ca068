/* Shared by bench.c (measuring, tables) and bench_plot.c (the picture). */
#ifndef HOLDFAST_CMD_BENCH_H
#define HOLDFAST_CMD_BENCH_H

#include <jansson.h>

#include "base/err.h"

/* Draws tokens per second over context depth, one panel for prefill and one for decode, one line
 * per result list. Each series is an array of objects with llama-bench's fields; labels are file
 * names or models. Writes SVG. */
struct bench_series {
    char label[96];
    const json_t *results;
};
bool bench_plot(const char *path, const struct bench_series *series, int n, struct err *e);

#endif
