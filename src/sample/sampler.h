/* From logits to a token: a chain of stages, each absent unless a request asks for it. One
 * sampler per sequence, one owner thread; nothing is allocated after sampler_new. */
#ifndef HOLDFAST_SAMPLE_SAMPLER_H
#define HOLDFAST_SAMPLE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct vocab;

struct logit_bias {
    int32_t id;
    float bias; /* -INFINITY forbids */
};

/* Defaults (sampler_defaults) follow llama.cpp's where users know them. Meaning and order of the
 * stages: bias, grammar mask, penalties, dry, top-n-sigma, top-k, typical, top-p, min-p, xtc,
 * temperature; mirostat replaces everything from top-k on. temp <= 0 is the exact argmax, ties to
 * the lower id. */
struct sampler_params {
    double temp, top_p, min_p, typical_p, top_n_sigma; /* 1 / 0 / 1 / -1 = off */
    int64_t top_k;                                     /* 0 = off */
    double repeat_penalty, presence_penalty, frequency_penalty;
    int64_t repeat_last_n; /* -1 = whole context */
    int64_t n_ctx;         /* tokens that "whole context" means; 0 = 65536 */
    double dry_multiplier, dry_base;
    int64_t dry_allowed_length, dry_last_n;
    const struct str *dry_breakers; /* none given: newline, colon, quote, star; "" = really none */
    size_t n_dry_breakers;
    double xtc_probability, xtc_threshold;
    int64_t mirostat; /* 0 or 2 */
    double mirostat_tau, mirostat_eta;
    uint64_t seed;
    const struct logit_bias *bias;
    size_t n_bias;
    int64_t n_probs; /* log probabilities of the choice and the n best; -1 = none at all */
    int64_t min_keep;
};
struct sampler_params sampler_defaults(void);

struct sampler_choice {
    int32_t id;
    float logprob; /* of the model's distribution before any stage but bias and mask; 0 if none */
    int n_top;     /* <= n_probs */
    const struct sampler_top {
        int32_t id;
        float logprob;
    } * top; /* best first; valid until the next call */
};

struct sampler;
/* n_vocab logits per call; copies p. v is needed for dry breakers only. */
struct sampler *sampler_new(const struct sampler_params *p, const struct vocab *v, int32_t n_vocab,
                            struct err *e);
void sampler_free(struct sampler *s);
/* Chooses from logits (n_vocab), which it may change. mask: allowed ids (32 per word) or NULL.
 * false: nothing is allowed or the logits are not finite. Does not accept the token. */
bool sampler_choose(struct sampler *s, float *logits, const uint32_t *mask,
                    struct sampler_choice *out, struct err *e);
/* Tells the history (prompt and chosen tokens) to the penalties. */
void sampler_accept(struct sampler *s, int32_t id);

#endif
