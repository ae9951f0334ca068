/* The stages that thin out or weigh the candidates: top-n-sigma, typical, top-p, min-p, XTC,
 * temperature, mirostat 2. Each leaves at least min_keep candidates. Probabilities are those of
 * the candidates that the stages before have left. */
#include "base/fmath.h"
#include "sample/sampler_impl.h"

#include <math.h>

void sampler_softmax(struct candidates *c) {
    float max = c->c[0].logit;
    for (int32_t i = 1; i < c->n && c->n_sorted == 0; i++)
        if (c->c[i].logit > max) max = c->c[i].logit;
    double sum = 0;
    for (int32_t i = 0; i < c->n; i++) {
        c->c[i].p = select_exp(c->c[i].logit - max);
        sum += (double)c->c[i].p;
    }
    float scale = (float)(1 / sum);
    for (int32_t i = 0; i < c->n; i++) c->c[i].p *= scale;
}

static int32_t at_least(const struct sampler *s, int32_t n) {
    int64_t keep = s->p.min_keep > n ? s->p.min_keep : n;
    return keep < s->cand.n ? (int32_t)keep : s->cand.n;
}

static void cut(struct candidates *c, int32_t n) {
    c->n = n;
    if (c->n_sorted > n) c->n_sorted = n;
}

/* Keeps the best that reach the mass. */
static void keep_mass(struct sampler *s, double mass) {
    int32_t n = select_mass(&s->cand, mass), least = at_least(s, n);
    if (n < least) select_sort(&s->cand, least);
    cut(&s->cand, least);
}

/* Keeps the logits within n standard deviations of the greatest (Tang et al. 2024). */
void stage_top_n_sigma(struct sampler *s) {
    double sum = 0, squares = 0;
    int32_t n = 0;
    float max = select_max(s->logits, s->n_vocab);
    for (int32_t i = 0; i < s->n_vocab; i++) {
        if (!(s->logits[i] > -INFINITY)) continue;
        double d = (double)s->logits[i] - (double)max; /* no cancellation near the best */
        sum += d, squares += d * d, n++;
    }
    double mean = sum / n, variance = squares / n - mean * mean;
    double least = (double)max - s->p.top_n_sigma * sqrt(variance > 0 ? variance : 0);
    for (int32_t i = 0; i < s->n_vocab; i++)
        if ((double)s->logits[i] < least) s->logits[i] = -INFINITY;
}

/* Keeps the most probable whose mass reaches top_p (Holtzman et al. 2019). */
void stage_top_p(struct sampler *s) {
    sampler_softmax(&s->cand);
    keep_mass(s, s->p.top_p);
}

/* Keeps what is at least min_p times as probable as the best. */
void stage_min_p(struct sampler *s) {
    struct candidates *c = &s->cand;
    select_sort(c, at_least(s, 1));
    float least = (float)((double)c->c[0].logit + fmath_log(s->p.min_p));
    int32_t n = c->n_sorted;
    while (n > at_least(s, 1) && c->c[n - 1].logit < least) n--;
    if (n < c->n_sorted) {
        cut(c, n);
        return;
    }
    for (int32_t i = n; i < c->n; i++)
        if (c->c[i].logit >= least) c->c[n++] = c->c[i];
    c->n = n;
}

/* Locally typical sampling (Meister et al. 2022): keeps those whose surprise is nearest to the
 * entropy, until their mass reaches typical_p. */
void stage_typical(struct sampler *s) {
    struct candidates *c = &s->cand;
    sampler_softmax(c);
    double entropy = 0;
    for (int32_t i = 0; i < c->n; i++)
        if (c->c[i].p > 0) entropy -= (double)c->c[i].p * fmath_log((double)c->c[i].p);
    /* for a while the distance, negative, stands in place of the logit */
    for (int32_t i = 0; i < c->n; i++) {
        double surprise = c->c[i].p > 0 ? -fmath_log((double)c->c[i].p) : 1e9;
        c->c[i].logit = -(float)fabs(surprise - entropy);
    }
    keep_mass(s, s->p.typical_p);
    for (int32_t i = 0; i < c->n; i++) c->c[i].logit = s->logits[c->c[i].id];
    c->n_sorted = 0;
}

/* Exclude top choices: now and then drops all but the last of those above the threshold. */
void stage_xtc(struct sampler *s) {
    struct candidates *c = &s->cand;
    if (s->p.xtc_threshold > 0.5 || c->n < 2) return;
    if (rng_unit(&s->rng) > s->p.xtc_probability) return;
    sampler_softmax(c);
    int32_t last = -1; /* of those above the threshold; at most 1 / threshold of them */
    for (int32_t i = 0; i < c->n; i++) {
        if (i >= c->n_sorted) select_sort(c, i < 8 ? 32 : 8 * i);
        if ((double)c->c[i].p < s->p.xtc_threshold) break;
        last = i;
    }
    if (last <= 0 || c->n - last < s->p.min_keep) return;
    c->c += last;
    c->n -= last;
    c->n_sorted -= last;
}

void stage_temp(struct sampler *s) {
    for (int32_t i = 0; i < s->cand.n; i++)
        s->cand.c[i].logit = (float)((double)s->cand.c[i].logit / s->p.temp);
}

/* Mirostat 2 (Basu et al. 2021): drops what surprises more than mu bits. mu moves once the choice
 * is made, in sampler.c. */
void stage_mirostat(struct sampler *s) {
    struct candidates *c = &s->cand;
    stage_temp(s);
    select_sort(c, 1);
    sampler_softmax(c);
    int32_t n = 1;
    for (int32_t i = 1; i < c->n; i++)
        if (c->c[i].p > 0 && -fmath_log((double)c->c[i].p) <= s->mu * 0.69314718055994531)
            c->c[n++] = c->c[i];
    cut(c, n);
    c->n_sorted = 1;
}
