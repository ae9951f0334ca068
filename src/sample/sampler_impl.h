/* What the files of the sampler share. Only sampler.c, stages.c, penalties.c and select.c include
 * it. */
#ifndef HOLDFAST_SAMPLE_SAMPLER_IMPL_H
#define HOLDFAST_SAMPLE_SAMPLER_IMPL_H

#include "base/rng.h"
#include "sample/sampler.h"

struct candidate {
    float logit, p; /* p: only after sampler_softmax */
    int32_t id;
};

/* Candidates; the first n_sorted are the best, best first: higher logit, then lower id. */
struct candidates {
    struct candidate *c;
    int32_t n, n_sorted;
};

/* The tokens that penalties look back on: a ring of the last `size`, newest at (next - 1). */
struct history {
    int32_t *ring;
    int32_t size, n, next;
};

struct sampler;
/* A stage changes s->logits (those before the candidates are gathered) or s->cand. */
struct stage {
    const char *name;
    bool (*wanted)(const struct sampler_params *p);
    void (*apply)(struct sampler *s);
};

struct sampler {
    struct sampler_params p;
    int32_t n_vocab;
    struct rng rng;
    const struct stage *before[8], *after[8]; /* the chain, NULL-terminated */
    float *logits;                            /* (n_vocab) of the call */
    struct candidate *room;                   /* what cand.c begins with in each call */
    struct candidates cand;
    double mu; /* mirostat's estimate */

    struct history recent;                 /* for penalties */
    int32_t *count, *seen, *place, n_seen; /* (n_vocab): how often in recent; the ids in recent,
                                              each once; where an id stands in seen */
    struct history text;                   /* for dry */
    int32_t *newest_first, *match;         /* (text.size) */
    int32_t *repeat;                       /* (n_vocab): longest repeat that id would continue */
    uint32_t *breaker;                     /* (n_vocab) bits */

    float *raw; /* (n_vocab): logits before penalties, for log probabilities */
    struct candidates best;
    struct sampler_top *top;
};

/* select.c */
bool select_all_finite(const float *x, int32_t n);
float select_max(const float *x, int32_t n);
/* Index of the greatest, the lowest of equal ones. */
int32_t select_argmax(const float *x, int32_t n);
/* The k best above -inf, sorted. */
void select_top(struct candidates *out, const float *x, int32_t n, int32_t k);
/* All above -inf, in the order of ids. */
void select_all(struct candidates *out, const float *x, int32_t n);
/* Sorts the best m to the front (or all, if there are fewer). */
void select_sort(struct candidates *c, int32_t m);
/* Moves the best to the front whose p first sum up to mass; returns how many those are. */
int32_t select_mass(struct candidates *c, double mass);
/* Sum of exp(x - max). */
double select_sum_exp(const float *x, int32_t n, float max);
/* e^x for x <= 0 to about 1e-7; the same bits on every machine. */
float select_exp(float x);

/* penalties.c */
bool penalties_open(struct sampler *s, const struct vocab *v, struct err *e);
void penalties_accept(struct sampler *s, int32_t id);
void penalties_close(struct sampler *s);
void stage_penalties(struct sampler *s);
void stage_dry(struct sampler *s);

/* stages.c */
void stage_top_n_sigma(struct sampler *s);
void stage_typical(struct sampler *s);
void stage_top_p(struct sampler *s);
void stage_min_p(struct sampler *s);
void stage_xtc(struct sampler *s);
void stage_temp(struct sampler *s);
void stage_mirostat(struct sampler *s);
/* Fills p so that they sum to 1. */
void sampler_softmax(struct candidates *c);

#endif
