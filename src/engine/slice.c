/* Slice sizes (contract in slice.h). Rates are running means, so that they follow the depth of the
 * sequences and the load of the machine. */
#include "engine/slice.h"

#include <stddef.h>

/* A size that was never tried is taken to cost like its neighbour in rows, of which unpacking the
 * weights is so many. Where a known size has become slower or faster, with the depth or the load of
 * the machine, so have the others; and what is known of them fades, so that they are tried again.
 */
static const double FOLLOW = 0.3, FADE = 0.998, UNPACK_ROWS = 24, MAX_SHARE = 0.95, COARSE = 1.25;

void slice_follow(double *mean, double x) {
    *mean = *mean > 0 ? *mean + FOLLOW * (x - *mean) : x;
}

double slice_budget(const struct slice_rates *r, double share) {
    if (share > MAX_SHARE) share = MAX_SHARE;
    return r->decode_ns * share / (1 - share);
}

int slice_ride(const struct slice_rates *r, int n_decode, double share) {
    int room = SLICE_MIN - n_decode;
    if (n_decode == 0 || room <= 0) return 0;
    if (r->ride_ns <= 0 || r->decode_ns <= 0) return 1; /* to learn what it costs */
    double fit = slice_budget(r, share) / r->ride_ns;
    return fit < room ? (int)fit : room;
}

void slice_measure_step(struct slice_rates *r, int n_decode, int n_ride, uint64_t ns) {
    double t = (double)ns, extra = t - r->decode_ns;
    if (n_decode == 0) return;
    if (n_ride == 0) slice_follow(&r->decode_ns, t);
    else if (r->decode_ns > 0 && n_decode + n_ride <= SLICE_MIN)
        slice_follow(&r->ride_ns, extra > 0 ? extra / n_ride : 1);
}

/* What a part of each kind costs in a slice of n rows: between two sizes that were measured, or
 * beyond the last. false: none was. */
static bool cost_of(const struct slice_rates *r, int n, double part[2]) {
    const struct slice_cost *lo = NULL, *hi = NULL;
    for (int i = 0; i < SLICE_SIZES; i++) {
        const struct slice_cost *c = &r->cost[i];
        if (c->n > 0 && c->n <= n) lo = c;
        if (c->n > n && !hi) hi = c;
    }
    const struct slice_cost *one = lo ? lo : hi;
    for (int k = 0; one && k < 2; k++)
        part[k] = lo && hi
                      ? lo->part[k] + (hi->part[k] - lo->part[k]) * (n - lo->n) / (hi->n - lo->n)
                      : one->part[k] * (n + UNPACK_ROWS) / (one->n + UNPACK_ROWS);
    return one != NULL;
}

/* Turns that n_parts take, each filled until the next part does not fit. */
static int turns_of(const double part[2], int n_parts, double budget) {
    int turns = 0;
    double used = budget;
    for (int i = 0; i < n_parts; i++) {
        if (used + part[i % 2] > budget) turns++, used = 0;
        used += part[i % 2];
    }
    return turns;
}

int slice_rows(const struct slice_rates *r, int n_decode, int most, int n_parts, double share) {
    if (n_decode == 0) return most;
    double budget = slice_budget(r, share), best_rate = 0, part[2];
    int best = SLICE_MIN;
    for (int n = SLICE_MIN; n <= most && cost_of(r, n, part); n += SLICE_MIN) {
        if (part[0] > budget || part[1] > budget) break;
        double ns = (part[0] + part[1]) * n_parts / 2;
        double rate = n / (ns + turns_of(part, n_parts, budget) * r->decode_ns);
        if (rate > best_rate) best = n, best_rate = rate;
    }
    return best < most ? best : most;
}

void slice_start(struct slice_run *s, const struct slice_rates *r, int n_rows) {
    *s = (struct slice_run){0};
    cost_of(r, n_rows, s->expect);
}

void slice_turn(struct slice_run *s, double budget, uint64_t now) {
    s->budget = budget;
    s->begin = s->last = now;
}

static double mean_of(const struct slice_run *s, int kind) {
    return s->n[kind] ? s->ns[kind] / s->n[kind] : s->expect[kind];
}

bool slice_pause(struct slice_run *s, int part, uint64_t now) {
    int kind = (part - 1) % 2;
    s->ns[kind] += (double)(now - s->last);
    s->n[kind]++;
    s->last = now;
    return (double)(now - s->begin) + mean_of(s, part % 2) > s->budget;
}

bool slice_too_coarse(const struct slice_run *s, double budget) {
    return mean_of(s, 0) > COARSE * budget || mean_of(s, 1) > COARSE * budget;
}

void slice_measure(struct slice_rates *r, const struct slice_run *s, int n_rows) {
    if (n_rows < SLICE_MIN) return; /* the end of a prompt says little */
    int size = 0;
    while (size + 1 < SLICE_SIZES && SLICE_MIN << (size + 1) <= n_rows) size++;
    struct slice_cost *c = &r->cost[size];
    for (int k = 0; k < 2; k++) {
        double now = mean_of(s, k);
        double change = c->n > 0 && s->expect[k] > 0 ? now / s->expect[k] : 1;
        for (int i = 0; i < SLICE_SIZES; i++)
            if (i != size) r->cost[i].part[k] *= FADE * (1 + FOLLOW * (change - 1));
        slice_follow(&c->part[k], now);
    }
    slice_follow(&c->n, n_rows);
}
