/* Slice sizes (contract in slice.h). Rates are running means, so that they follow the depth of the
 * sequences and the load of the machine. */
#include "engine/slice.h"

enum { REFRESH = 16 }; /* mixed steps between two that only decode */

void slice_follow(double *mean, double x) {
    *mean = *mean > 0 ? *mean + 0.3 * (x - *mean) : x;
}

static int size_index(int n_rows) {
    int i = 0;
    while (i + 1 < SLICE_SIZES && SLICE_MIN << (i + 1) <= n_rows) i++;
    return i;
}

void slice_measure(struct slice_rates *r, int n_decode, int n_prefill, uint64_t ns) {
    double t = (double)ns;
    if (n_prefill == 0) {
        slice_follow(&r->decode_ns, t);
        r->since_decode = 0;
        return;
    }
    if (n_decode > 0) r->since_decode++;
    if (n_prefill < SLICE_MIN) return; /* the end of a prompt says little */
    double extra = n_decode > 0 ? t - r->decode_ns : t;
    if (n_decode > 0 && r->decode_ns <= 0) return;
    slice_follow(&r->row_ns[size_index(n_prefill)], extra > 0 ? extra / n_prefill : 1);
}

/* Cost of a row in slices of this size; sizes not seen yet cost what the next smaller one does. */
static double row_cost(const struct slice_rates *r, int i) {
    for (; i >= 0; i--)
        if (r->row_ns[i] > 0) return r->row_ns[i];
    return 0;
}

int slice_rows(struct slice_rates *r, int n_decode, int most, double share) {
    if (n_decode == 0) return most;
    if (r->decode_ns <= 0 || r->since_decode >= REFRESH) return 0;
    if (share > 0.95) share = 0.95;
    double budget = r->decode_ns * share / (1 - share);
    int best = SLICE_MIN;
    for (int i = 0; i < SLICE_SIZES; i++) {
        double cost = row_cost(r, i);
        int lo = SLICE_MIN << i;
        if (cost <= 0 || cost * lo > budget) continue;
        double fit = budget / cost;
        int rows = fit < 2.0 * lo ? (int)fit : 2 * lo - 1;
        if (rows > best) best = rows;
        if (r->row_ns[i] <= 0) break; /* try one size that is new, not several at once */
    }
    return best < most ? best : most;
}
