/* Finding the few best of many logits: scans in vector-friendly blocks, a heap of the k best,
 * partial sorting. Everything here is a total order (logit, then id), so that results depend on
 * nothing but the numbers. Allocates nothing. */
#include "sample/sampler_impl.h"

#include <math.h>
#include <string.h>

enum { LANES = 8, BLOCK = 256 };

bool select_all_finite(const float *x, int32_t n) {
    float lane[LANES] = {0}; /* x * 0 is 0, or NaN for inf and NaN */
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane[j] += x[i + j] * 0.0f;
    for (; i < n; i++) lane[0] += x[i] * 0.0f;
    float sum = 0;
    for (int j = 0; j < LANES; j++) sum += lane[j];
    return sum == 0;
}

float select_max(const float *x, int32_t n) {
    float lane[LANES];
    for (int j = 0; j < LANES; j++) lane[j] = -INFINITY;
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < n; i++) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    float max = lane[0];
    for (int j = 1; j < LANES; j++) max = lane[j] > max ? lane[j] : max;
    return max;
}

int32_t select_argmax(const float *x, int32_t n) {
    int32_t best = 0;
    float max = -INFINITY;
    for (int32_t i = 0; i < n; i += BLOCK) {
        float m = select_max(x + i, n - i < BLOCK ? n - i : BLOCK);
        if (m > max) max = m, best = i;
    }
    while (best < n - 1 && x[best] != max) best++;
    return best;
}

static bool better(const struct candidate *a, const struct candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* A heap with the worst on top: puts v where the top was. */
static void replace_top(struct candidate *heap, int32_t n, struct candidate v) {
    int32_t i = 0, child;
    for (; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && better(&heap[child], &heap[child + 1])) child++;
        if (!better(&v, &heap[child])) break;
        heap[i] = heap[child];
    }
    heap[i] = v;
}

static void push(struct candidate *heap, int32_t *n, struct candidate v) {
    int32_t i = (*n)++;
    for (; i > 0 && better(&heap[(i - 1) / 2], &v); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = v;
}

/* A heap becomes a list, best first. */
static void unheap(struct candidate *heap, int32_t n) {
    while (n > 1) {
        struct candidate worst = heap[0];
        n--;
        replace_top(heap, n, heap[n]);
        heap[n] = worst;
    }
}

void select_top(struct candidates *out, const float *x, int32_t n, int32_t k) {
    struct candidate *heap = out->c;
    int32_t held = 0;
    for (int32_t from = 0; from < n; from += BLOCK) {
        int32_t to = n - from < BLOCK ? n : from + BLOCK;
        /* behind k candidates only a greater logit gets in: of equal ones the lower id has come */
        if (held == k && select_max(x + from, to - from) <= heap[0].logit) continue;
        for (int32_t i = from; i < to; i++) {
            struct candidate v = {x[i], 0, i};
            if (held < k && x[i] > -INFINITY) push(heap, &held, v);
            else if (held == k && x[i] > heap[0].logit) replace_top(heap, held, v);
        }
    }
    unheap(heap, held);
    out->n = out->n_sorted = held;
}

void select_all(struct candidates *out, const float *x, int32_t n) {
    out->n = out->n_sorted = 0;
    for (int32_t i = 0; i < n; i++)
        if (x[i] > -INFINITY) out->c[out->n++] = (struct candidate){x[i], 0, i};
}

/* Reorders c around one of its n elements: returns the place it has then, all better ones before
 * it. The choice is random, so that no order of the input is a bad one. */
static int32_t split(struct candidate *c, int32_t n, struct rng *r) {
    int32_t at = 0, chosen = (int32_t)rng_below(r, (uint64_t)n);
    struct candidate pivot = c[chosen];
    c[chosen] = c[n - 1];
    for (int32_t i = 0; i < n - 1; i++) {
        if (!better(&c[i], &pivot)) continue;
        struct candidate swap = c[i];
        c[i] = c[at];
        c[at++] = swap;
    }
    c[n - 1] = c[at];
    c[at] = pivot;
    return at;
}

/* Moves the m best of n to the front, in any order (Hoare's selection). */
static void partition(struct candidate *c, int32_t n, int32_t m) {
    struct rng r = {(uint64_t)n};
    for (int32_t lo = 0, hi = n; lo < m && m < hi;) {
        int32_t at = lo + split(c + lo, hi - lo, &r);
        if (at < m) lo = at + 1;
        else hi = at;
    }
}

int32_t select_mass(struct candidates *c, double mass) {
    struct rng r = {(uint64_t)c->n};
    int32_t lo = 0, hi = c->n;
    double before = 0; /* mass of those better than c[lo..hi) */
    c->n_sorted = 0;
    while (lo < hi) {
        int32_t at = lo + split(c->c + lo, hi - lo, &r);
        double better_ones = before;
        for (int32_t i = lo; i < at; i++) better_ones += (double)c->c[i].p;
        if (better_ones >= mass && at > lo) {
            hi = at;
            continue;
        }
        before = better_ones + (double)c->c[at].p;
        lo = at + 1;
        if (before >= mass) break;
    }
    return lo;
}

void select_sort(struct candidates *c, int32_t m) {
    if (m > c->n) m = c->n;
    if (m <= c->n_sorted) return;
    struct candidate *rest = c->c + c->n_sorted;
    int32_t n = 0;
    partition(rest, c->n - c->n_sorted, m - c->n_sorted);
    for (int32_t i = c->n_sorted; i < m; i++) push(rest, &n, rest[n]);
    unheap(rest, n);
    c->n_sorted = m;
}

float select_exp(float x) {
    x = x > -87 ? x : -87;
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* rounds */
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;   /* ln 2 in two parts */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

double select_sum_exp(const float *x, int32_t n, float max) {
    double sum = 0;
    for (int32_t i = 0; i < n; i += BLOCK) {
        float lane[LANES] = {0};
        int32_t to = n - i < BLOCK ? n - i : BLOCK, k = 0;
        for (; k + LANES <= to; k += LANES)
            for (int j = 0; j < LANES; j++) lane[j] += select_exp(x[i + k + j] - max);
        for (; k < to; k++) lane[0] += select_exp(x[i + k] - max);
        for (int j = 0; j < LANES; j++) sum += (double)lane[j];
    }
    return sum;
}
