/* In the place of sample/ until it is built: the exact argmax. */
#include "sample/grammar.h"
#include "sample/sampler.h"
struct sampler {
    int32_t n;
    struct sampler_top top;
};
struct sampler_params sampler_defaults(void) {
    return (struct sampler_params){.temp = 0.8};
}
struct sampler *sampler_new(const struct sampler_params *p, const struct vocab *v, int32_t n,
                            struct err *e) {
    (void)p;
    (void)v;
    struct sampler *s = mem_calloc(1, sizeof *s);
    if (s) s->n = n;
    else err_nomem(e, "s", 1);
    return s;
}
void sampler_free(struct sampler *s) {
    mem_free(s);
}
bool sampler_choose(struct sampler *s, float *l, const uint32_t *mask, struct sampler_choice *out,
                    struct err *e) {
    (void)mask;
    int best = 0;
    for (int i = 0; i < s->n; i++) {
        if (!isfinite(l[i])) return err_set(e, ERR_FORMAT, "not finite");
        if (l[i] > l[best]) best = i;
    }
    *out = (struct sampler_choice){.id = best};
    return true;
}
void sampler_accept(struct sampler *s, int32_t id) {
    (void)s;
    (void)id;
}
struct grammar *grammar_from_gbnf(struct str a, struct err *e) {
    (void)a;
    (void)e;
    return NULL;
}
struct grammar *grammar_from_regex(struct str a, struct err *e) {
    (void)a;
    (void)e;
    return NULL;
}
struct grammar *grammar_from_choices(const struct str *a, size_t n, struct err *e) {
    (void)a;
    (void)n;
    (void)e;
    return NULL;
}
struct grammar *grammar_from_schema(struct str a, bool s, struct buf *n, struct err *e) {
    (void)a;
    (void)s;
    (void)n;
    (void)e;
    return NULL;
}
void grammar_free(struct grammar *g) {
    (void)g;
}
struct grammar_vocab *grammar_vocab_new(const struct vocab *v, struct err *e) {
    (void)v;
    (void)e;
    return NULL;
}
void grammar_vocab_free(struct grammar_vocab *v) {
    (void)v;
}
struct grammar_state *grammar_start(struct grammar *g, struct grammar_vocab *v,
                                    struct err *e) {
    (void)g;
    (void)v;
    (void)e;
    return NULL;
}
void grammar_end(struct grammar_state *s) {
    (void)s;
}
bool grammar_token(struct grammar_state *s, int32_t id) {
    (void)s;
    (void)id;
    return true;
}
bool grammar_mask(struct grammar_state *s, uint32_t *m) {
    (void)s;
    (void)m;
    return true;
}
