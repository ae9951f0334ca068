/* The chain of stages and the choice. Only the stages that a request asks for are in its chain;
 * greedy never gathers candidates. Called by the engine, once per token; probabilities that a
 * client asked for are taken before any stage but bias and mask. */
#include "sample/sampler.h"
#include "base/fmath.h"
#include "base/mem.h"
#include "sample/sampler_impl.h"

#include <math.h>
#include <string.h>

static const struct str default_breakers[] = {{"\n", 1}, {":", 1}, {"\"", 1}, {"*", 1}};

struct sampler_params sampler_defaults(void) {
    return (struct sampler_params){
        .temp = 0.8,
        .top_p = 0.95,
        .min_p = 0.05,
        .typical_p = 1,
        .top_n_sigma = -1,
        .top_k = 40,
        .repeat_penalty = 1,
        .repeat_last_n = 64,
        .dry_base = 1.75,
        .dry_allowed_length = 2,
        .dry_last_n = -1,
        .xtc_threshold = 0.1,
        .mirostat_tau = 5,
        .mirostat_eta = 0.1,
        .n_probs = -1,
    };
}

static bool want_penalties(const struct sampler_params *p) {
    return p->repeat_last_n != 0 &&
           (p->repeat_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0);
}
static bool want_dry(const struct sampler_params *p) {
    return p->dry_multiplier != 0 && p->dry_base >= 1 && p->dry_last_n != 0;
}
static bool want_top_n_sigma(const struct sampler_params *p) {
    return p->temp > 0 && p->top_n_sigma > 0;
}
static bool want_typical(const struct sampler_params *p) {
    return p->typical_p < 1 && !p->mirostat;
}
static bool want_top_p(const struct sampler_params *p) {
    return p->top_p < 1 && !p->mirostat;
}
static bool want_min_p(const struct sampler_params *p) {
    return p->min_p > 0 && !p->mirostat;
}
static bool want_xtc(const struct sampler_params *p) {
    return p->xtc_probability > 0 && !p->mirostat;
}
static bool want_temp(const struct sampler_params *p) {
    return p->temp != 1 && !p->mirostat;
}
static bool want_mirostat(const struct sampler_params *p) {
    return p->mirostat != 0;
}

/* On the logits, then on the candidates; between them stands top-k, which gathers them. */
static const struct stage before[] = {
    {"penalties", want_penalties, stage_penalties},
    {"dry", want_dry, stage_dry},
    {"top-n-sigma", want_top_n_sigma, stage_top_n_sigma},
};
static const struct stage after[] = {
    {"typical", want_typical, stage_typical}, {"top-p", want_top_p, stage_top_p},
    {"min-p", want_min_p, stage_min_p},       {"xtc", want_xtc, stage_xtc},
    {"temperature", want_temp, stage_temp},   {"mirostat", want_mirostat, stage_mirostat},
};

static void make_chain(const struct stage **chain, const struct stage *all, size_t n,
                       const struct sampler_params *p) {
    for (size_t i = 0; i < n; i++)
        if (all[i].wanted(p)) *chain++ = &all[i];
    *chain = NULL;
}

static bool check_params(const struct sampler_params *p, int32_t n_vocab, struct err *e) {
    const struct {
        const char *name;
        double value, min, max;
    } reals[] = {
        {"temperature", p->temp, -1e6, 1e6},
        {"top_p", p->top_p, 0, 1},
        {"min_p", p->min_p, 0, 1},
        {"typical_p", p->typical_p, 0, 1},
        {"top_n_sigma", p->top_n_sigma, -1, 1e6},
        {"repeat_penalty", p->repeat_penalty, 1e-6, 1e6},
        {"presence_penalty", p->presence_penalty, -1e6, 1e6},
        {"frequency_penalty", p->frequency_penalty, -1e6, 1e6},
        {"dry_multiplier", p->dry_multiplier, 0, 1e6},
        {"dry_base", p->dry_base, 0, 1e6},
        {"xtc_probability", p->xtc_probability, 0, 1},
        {"xtc_threshold", p->xtc_threshold, 0, 1},
        {"mirostat_tau", p->mirostat_tau, 0, 1e6},
        {"mirostat_eta", p->mirostat_eta, 0, 1e6},
        {"dry_allowed_length", (double)p->dry_allowed_length, 1, INT32_MAX},
        {"top_k", (double)p->top_k, 0, INT32_MAX},
        {"min_keep", (double)p->min_keep, 0, INT32_MAX},
        {"repeat_last_n", (double)p->repeat_last_n, -1, INT32_MAX},
        {"dry_last_n", (double)p->dry_last_n, -1, INT32_MAX},
        {"n_ctx", (double)p->n_ctx, 0, INT32_MAX},
        {"logprobs", (double)p->n_probs, -1, n_vocab},
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        if (!(reals[i].value >= reals[i].min && reals[i].value <= reals[i].max))
            return err_set(e, ERR_ARG, "%s is %g, expected %g to %g", reals[i].name, reals[i].value,
                           reals[i].min, reals[i].max);
    if (p->mirostat != 0 && p->mirostat != 2)
        return err_set(e, ERR_ARG, "mirostat is %d, expected 0 or 2", (int)p->mirostat);
    for (size_t i = 0; i < p->n_bias; i++)
        if (p->bias[i].id < 0 || p->bias[i].id >= n_vocab || !(p->bias[i].bias < INFINITY))
            return err_set(e, ERR_ARG, "logit_bias: token %d with %g; there are %d tokens",
                           p->bias[i].id, (double)p->bias[i].bias, n_vocab);
    return true;
}

/* The caller's arrays become ours. */
static bool copy_bias(struct sampler *s) {
    struct logit_bias *bias = mem_array(s->p.n_bias + 1, sizeof *bias);
    if (bias && s->p.n_bias) memcpy(bias, s->p.bias, s->p.n_bias * sizeof *bias);
    s->p.bias = bias;
    return bias != NULL;
}

static bool allocate(struct sampler *s, const struct vocab *v, struct err *e) {
    size_t n = (size_t)s->n_vocab, n_probs = (size_t)(s->p.n_probs > 0 ? s->p.n_probs : 0);
    int64_t k = s->p.top_k > s->p.min_keep ? s->p.top_k : s->p.min_keep;
    if (s->p.top_k == 0 || s->p.mirostat || k > s->n_vocab) k = s->n_vocab;
    s->p.top_k = k;
    bool ok = copy_bias(s);
    if (s->p.temp > 0) ok = (s->room = mem_array((size_t)k, sizeof *s->room)) && ok;
    if (s->p.n_probs >= 0 && s->before[0]) ok = (s->raw = mem_array(n, sizeof *s->raw)) && ok;
    s->best.c = mem_array(n_probs + 1, sizeof *s->best.c);
    s->top = mem_array(n_probs + 1, sizeof *s->top);
    if (!ok || !s->best.c || !s->top) return err_nomem(e, "the sampler", n * sizeof *s->room);
    return penalties_open(s, v, e);
}

struct sampler *sampler_new(const struct sampler_params *p, const struct vocab *v, int32_t n_vocab,
                            struct err *e) {
    if (!check_params(p, n_vocab, e)) return NULL;
    struct sampler *s = mem_calloc(1, sizeof *s);
    if (!s) {
        err_nomem(e, "the sampler", sizeof *s);
        return NULL;
    }
    s->p = *p;
    if (p->n_dry_breakers == 0) {
        s->p.dry_breakers = default_breakers;
        s->p.n_dry_breakers = sizeof default_breakers / sizeof *default_breakers;
    }
    s->n_vocab = n_vocab;
    s->rng.state = p->seed;
    s->mu = 2 * p->mirostat_tau;
    make_chain(s->before, before, sizeof before / sizeof *before, p);
    make_chain(s->after, after, sizeof after / sizeof *after, p);
    if (allocate(s, v, e)) {
        s->p.dry_breakers = NULL; /* the caller's */
        return s;
    }
    sampler_free(s);
    return NULL;
}

void sampler_free(struct sampler *s) {
    if (!s) return;
    penalties_close(s);
    mem_free((void *)(uintptr_t)s->p.bias);
    mem_free(s->room);
    mem_free(s->raw);
    mem_free(s->best.c);
    mem_free(s->top);
    mem_free(s);
}

static void apply_mask(float *logits, const uint32_t *mask, int32_t n) {
    for (int32_t w = 0; w * 32 < n; w++) {
        if (mask[w] == UINT32_MAX) continue;
        for (int32_t i = 0; i < 32 && w * 32 + i < n; i++)
            if (!(mask[w] >> i & 1)) logits[w * 32 + i] = -INFINITY;
    }
}

static int32_t draw(struct sampler *s) {
    struct candidates *c = &s->cand;
    sampler_softmax(c);
    double total = 0, at = 0;
    for (int32_t i = 0; i < c->n; i++) total += (double)c->c[i].p;
    double u = rng_unit(&s->rng) * total;
    int32_t i = 0;
    while (i < c->n - 1 && (at += (double)c->c[i].p) <= u) i++;
    if (s->p.mirostat) {
        double surprise = -fmath_log((double)c->c[i].p / total) / 0.69314718055994531;
        s->mu -= s->p.mirostat_eta * (surprise - s->p.mirostat_tau);
    }
    return c->c[i].id;
}

/* The chosen id; -1: everything is forbidden. */
static int32_t choose(struct sampler *s) {
    if (s->p.temp <= 0) {
        int32_t id = select_argmax(s->logits, s->n_vocab);
        return s->logits[id] > -INFINITY ? id : -1;
    }
    s->cand = (struct candidates){.c = s->room};
    if (s->p.top_k < s->n_vocab) select_top(&s->cand, s->logits, s->n_vocab, (int32_t)s->p.top_k);
    else select_all(&s->cand, s->logits, s->n_vocab);
    if (s->cand.n == 0) return -1;
    for (const struct stage **st = s->after; *st; st++) (*st)->apply(s);
    return draw(s);
}

static void log_probabilities(struct sampler *s, const float *raw, struct sampler_choice *out) {
    float max = select_max(raw, s->n_vocab);
    float norm = (float)((double)max + fmath_log(select_sum_exp(raw, s->n_vocab, max)));
    out->logprob = raw[out->id] - norm;
    if (s->p.n_probs == 0) return;
    select_top(&s->best, raw, s->n_vocab, (int32_t)s->p.n_probs);
    for (int32_t i = 0; i < s->best.n; i++)
        s->top[i] = (struct sampler_top){s->best.c[i].id, s->best.c[i].logit - norm};
    out->n_top = s->best.n;
}

bool sampler_choose(struct sampler *s, float *logits, const uint32_t *mask,
                    struct sampler_choice *out, struct err *e) {
    if (!select_all_finite(logits, s->n_vocab))
        return err_set(e, ERR_FORMAT, "the model's logits are not finite");
    s->logits = logits;
    for (size_t i = 0; i < s->p.n_bias; i++) logits[s->p.bias[i].id] += s->p.bias[i].bias;
    if (mask) apply_mask(logits, mask, s->n_vocab);
    const float *raw = logits;
    if (s->raw) raw = memcpy(s->raw, logits, (size_t)s->n_vocab * sizeof *raw);
    for (const struct stage **st = s->before; *st; st++) (*st)->apply(s);
    *out = (struct sampler_choice){.id = choose(s), .top = s->top};
    if (out->id < 0) return err_set(e, ERR_ARG, "no token is allowed here");
    if (s->p.n_probs >= 0) log_probabilities(s, raw, out);
    return true;
}

void sampler_accept(struct sampler *s, int32_t id) {
    if (id >= 0 && id < s->n_vocab) penalties_accept(s, id);
}
