/* How many prompt tokens go into a step beside the sequences that decode: rates measured step by
 * step, and the choice made from them. Pure arithmetic on numbers; no clock of its own. */
#ifndef HOLDFAST_ENGINE_SLICE_H
#define HOLDFAST_ENGINE_SLICE_H

#include <stdint.h>

enum { SLICE_MIN = 8, SLICE_SIZES = 10 }; /* sizes 8, 16, ... 4096 */

struct slice_rates {
    double decode_ns;           /* of a step that only decodes; 0: not measured */
    double row_ns[SLICE_SIZES]; /* what one more prompt token costs in a slice of size 8 << i */
    int since_decode;           /* mixed steps since decode_ns was measured */
};

/* Moves a running mean towards x; 0: no mean yet. */
void slice_follow(double *mean, double x);
/* Tells what a step of n_decode and n_prefill rows took. */
void slice_measure(struct slice_rates *r, int n_decode, int n_prefill, uint64_t ns);
/* Rows of prefill for the next step: all of `most` when nothing decodes; else as many as keep the
 * step under decode_ns / (1 - share), so that prefill gets about `share` of the time; 0 now and
 * then, to measure a step that only decodes. */
int slice_rows(struct slice_rates *r, int n_decode, int most, double share);

#endif
