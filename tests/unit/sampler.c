/* The sampler against a straightforward one in double that sorts everything; the choice's
 * distribution; penalties and DRY by their formulas; bad input; cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/os.h"
#include "gguf/gguf.h"
#include "sample/sampler_impl.h"
#include "text/vocab.h"

enum { N = 500 };

/* ---- the reference ---- */
struct ref {
    int n;
    struct item {
        int id;
        double logit, p;
    } item[N];
};

static int by_logit(const void *a, const void *b) {
    const struct item *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return x->id - y->id;
}

static void ref_softmax(struct ref *r) {
    double sum = 0, max = -INFINITY;
    for (int i = 0; i < r->n; i++) max = fmax(max, r->item[i].logit);
    for (int i = 0; i < r->n; i++) sum += r->item[i].p = exp(r->item[i].logit - max);
    for (int i = 0; i < r->n; i++) r->item[i].p /= sum;
}

static void ref_sort(struct ref *r) {
    qsort(r->item, (size_t)r->n, sizeof *r->item, by_logit);
    ref_softmax(r);
}

static int max_int(int a, int b) {
    return a > b ? a : b;
}

static void ref_typical(struct ref *r, double typical, int min_keep) {
    struct ref old = *r;
    double entropy = 0, mass = 0;
    for (int i = 0; i < r->n; i++)
        if (r->item[i].p > 0) entropy -= r->item[i].p * log(r->item[i].p);
    for (int i = 0; i < r->n; i++) r->item[i].logit = -fabs(-log(r->item[i].p) - entropy);
    qsort(r->item, (size_t)r->n, sizeof *r->item, by_logit);
    int n = 0;
    while (n < r->n) {
        mass += r->item[n++].p;
        if (mass > typical && n >= min_keep) break;
    }
    r->n = n;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < old.n; k++)
            if (old.item[k].id == r->item[i].id) r->item[i].logit = old.item[k].logit;
}

static void ref_chain(struct ref *r, const float *logits, const struct sampler_params *p) {
    r->n = 0;
    int min_keep = (int)p->min_keep;
    for (int i = 0; i < N; i++)
        if (isfinite(logits[i])) r->item[r->n++] = (struct item){i, (double)logits[i], 0};
    ref_sort(r);
    if (p->top_n_sigma > 0) {
        double mean = 0, var = 0, max = r->item[0].logit;
        for (int i = 0; i < r->n; i++) mean += r->item[i].logit / r->n;
        for (int i = 0; i < r->n; i++) var += pow(r->item[i].logit - mean, 2) / r->n;
        int n = 0;
        while (n < r->n && r->item[n].logit >= max - p->top_n_sigma * sqrt(var)) n++;
        r->n = n;
    }
    if (p->mirostat) return;
    int k = max_int((int)p->top_k, min_keep);
    if (p->top_k && k < r->n) r->n = k;
    ref_softmax(r);
    if (p->typical_p < 1) ref_typical(r, p->typical_p, min_keep);
    ref_sort(r);
    if (p->top_p < 1) {
        double mass = 0;
        int n = 0;
        while (n < r->n) {
            mass += r->item[n++].p;
            if (mass >= p->top_p && n >= min_keep) break;
        }
        r->n = n;
    }
    if (p->min_p > 0) {
        int n = 0;
        while (n < r->n && (n < min_keep || r->item[n].logit >= r->item[0].logit + log(p->min_p)))
            n++;
        r->n = n;
    }
    for (int i = 0; i < r->n; i++) r->item[i].logit /= p->temp;
    ref_sort(r);
}

/* ---- helpers ---- */
static struct sampler_params plain(void) {
    struct sampler_params p = sampler_defaults();
    p.temp = 1, p.top_k = 0, p.top_p = 1, p.min_p = 0;
    return p;
}

static struct sampler *make(const struct sampler_params *p, const struct vocab *v, int n) {
    struct err e = {0};
    struct sampler *s = sampler_new(p, v, n, &e);
    if (!s) fail_msg("%s", e.msg);
    return s;
}

static int32_t pick(struct sampler *s, float *logits, const uint32_t *mask) {
    struct sampler_choice c;
    struct err e = {0};
    if (!sampler_choose(s, logits, mask, &c, &e)) fail_msg("%s", e.msg);
    return c.id;
}

static void random_logits(struct rng *r, float *x, int n) {
    float spread = (float)(rng_unit(r) * 4 + 0.3);
    bool coarse = rng_below(r, 3) == 0; /* many ties */
    for (int i = 0; i < n; i++) {
        x[i] = rng_normal(r) * spread;
        if (coarse) x[i] = rintf(x[i] * 2) / 2;
    }
}

static void check_against_ref(const struct sampler_params *p, struct rng *r, int rounds) {
    struct sampler *s = make(p, NULL, N);
    static struct ref want;
    for (int k = 0; k < rounds; k++) {
        float x[N], y[N];
        random_logits(r, x, N);
        memcpy(y, x, sizeof x);
        ref_chain(&want, x, p);
        int32_t id = pick(s, y, NULL);
        bool found = false;
        if (s->cand.n != want.n)
            fail_msg("round %d: %d candidates, expected %d", k, s->cand.n, want.n);
        for (int i = 0; i < want.n; i++) {
            const struct item *w = &want.item[i];
            int at = 0;
            while (at < s->cand.n && s->cand.c[at].id != w->id) at++;
            if (at == s->cand.n) fail_msg("round %d: candidate %d of %d is missing", k, i, want.n);
            assert_true(fabs((double)s->cand.c[at].p - w->p) <= 1e-6 + 1e-5 * w->p);
            found = found || id == w->id;
        }
        assert_true(found);
    }
    sampler_free(s);
}

static void against_reference(void **state) {
    (void)state;
    struct rng r = {1};
    for (int k = 0; k < 300; k++) {
        struct sampler_params p = plain();
        p.seed = (uint64_t)k;
        if (rng_below(&r, 2)) p.top_k = (int64_t)rng_below(&r, 60) + 1;
        if (rng_below(&r, 2)) p.top_p = rng_unit(&r);
        if (rng_below(&r, 3) == 0) p.min_p = rng_unit(&r) * 0.3 + 1e-3;
        if (rng_below(&r, 4) == 0) p.typical_p = rng_unit(&r);
        if (rng_below(&r, 4) == 0) p.top_n_sigma = rng_unit(&r) * 3 + 0.1;
        if (rng_below(&r, 2)) p.temp = rng_unit(&r) * 2 + 0.1;
        if (rng_below(&r, 4) == 0) p.min_keep = (int64_t)rng_below(&r, 20);
        check_against_ref(&p, &r, 10);
    }
}

static void greedy_is_argmax(void **state) {
    (void)state;
    struct rng r = {2};
    struct sampler_params p = sampler_defaults();
    p.temp = 0;
    for (int n = 1; n < 700; n += 1 + n / 20) {
        struct sampler *s = make(&p, NULL, n);
        assert_null(s->room);
        for (int k = 0; k < 20; k++) {
            float x[700];
            random_logits(&r, x, n);
            int best = 0;
            for (int i = 1; i < n; i++)
                if (x[i] > x[best]) best = i;
            assert_int_equal(pick(s, x, NULL), best);
        }
        sampler_free(s);
    }
    float ties[] = {1, 3, 3, -0.0f, 0}, zeros[] = {-1, -0.0f, 0};
    struct sampler *s = make(&p, NULL, 5);
    assert_int_equal(pick(s, ties, NULL), 1);
    sampler_free(s);
    s = make(&p, NULL, 3);
    assert_int_equal(pick(s, zeros, NULL), 1);
    sampler_free(s);
}

/* Frequencies of the choices against the probabilities: chi-square, 9 degrees of freedom. */
static void distribution(void **state) {
    (void)state;
    const float logits[10] = {2, 1, 0.5f, 0, -0.5f, 1.5f, 0.2f, -1, 0.9f, -2};
    double p[10], sum = 0, chi = 0;
    int count[10] = {0}, rounds = 100000;
    struct sampler_params sp = plain();
    sp.temp = 0.7, sp.seed = 42;
    struct sampler *s = make(&sp, NULL, 10);
    for (int i = 0; i < 10; i++) sum += p[i] = exp((double)logits[i] / 0.7);
    for (int k = 0; k < rounds; k++) {
        float x[10];
        memcpy(x, logits, sizeof x);
        count[pick(s, x, NULL)]++;
    }
    for (int i = 0; i < 10; i++)
        chi += pow(count[i] - rounds * p[i] / sum, 2) / (rounds * p[i] / sum);
    assert_true(chi < 27.9); /* 0.1 % */
    sampler_free(s);
}

/* The same seed gives the same choices: on every machine, so the ids stand here. */
static void seeded(void **state) {
    (void)state;
    static const int32_t want[12] = {331, 16, 9, 198, 322, 77, 172, 295, 416, 385, 394, 292};
    struct sampler_params p = sampler_defaults();
    p.seed = 1234, p.top_k = 0;
    struct sampler *s = make(&p, NULL, N);
    struct rng r = {5};
    for (int k = 0; k < 12; k++) {
        float x[N];
        for (int i = 0; i < N; i++) x[i] = (float)(int)rng_below(&r, 1000) / 50.0f;
        int32_t id = pick(s, x, NULL);
        if (id != want[k]) fail_msg("choice %d is %d, expected %d", k, id, want[k]);
    }
    sampler_free(s);
}

static void bias_and_mask(void **state) {
    (void)state;
    struct logit_bias bias[] = {{3, 100}, {4, -INFINITY}};
    struct sampler_params p = plain();
    p.temp = 0, p.bias = bias, p.n_bias = 2;
    struct sampler *s = make(&p, NULL, 40);
    bias[0].id = 7; /* the sampler has its own copy */
    float x[40] = {0};
    assert_int_equal(pick(s, x, NULL), 3);
    uint32_t mask[2] = {1u << 4 | 1u << 9, 1u << 5};
    float y[40] = {0};
    y[37] = 1, y[4] = 50;
    assert_int_equal(pick(s, y, mask), 37);
    sampler_free(s);
    p = plain(), p.top_k = 5;
    s = make(&p, NULL, 40);
    for (int k = 0; k < 200; k++) {
        float z[40] = {0};
        int32_t id = pick(s, z, mask);
        assert_true(id == 4 || id == 9 || id == 37);
    }
    uint32_t none[2] = {0, ~0u << 8}; /* bits behind the vocabulary do not count */
    struct sampler_choice c;
    struct err e = {0};
    float z[40] = {0};
    assert_false(sampler_choose(s, z, none, &c, &e));
    assert_true(e.code == ERR_ARG);
    sampler_free(s);
}

static void penalties(void **state) {
    (void)state;
    struct sampler_params p = plain();
    p.repeat_penalty = 1.5, p.presence_penalty = 0.25, p.frequency_penalty = 0.125;
    p.repeat_last_n = 5;
    struct sampler *s = make(&p, NULL, 8);
    const int32_t said[] = {6, 0, 1, 0, 2, 0}; /* 6 has left the window of 5 */
    for (int i = 0; i < 6; i++) sampler_accept(s, said[i]);
    sampler_accept(s, -1);
    sampler_accept(s, 8);
    float x[8] = {3, -2, 0, 1, 1, 1, 1, 1};
    pick(s, x, NULL);
    const float want[8] = {2 - 3 * 0.125f - 0.25f, -3 - 0.375f, -0.375f, 1, 1, 1, 1, 1};
    for (int i = 0; i < 8; i++) assert_true(fabsf(x[i] - want[i]) < 1e-6f);
    sampler_free(s);
    /* against counting, over many steps */
    struct rng r = {9};
    p.repeat_last_n = 16, p.repeat_penalty = 1, p.presence_penalty = 0, p.frequency_penalty = 1;
    s = make(&p, NULL, 8);
    int32_t all[400];
    for (int k = 0; k < 400; k++) {
        sampler_accept(s, all[k] = (int32_t)rng_below(&r, 8));
        float z[8] = {0};
        pick(s, z, NULL);
        for (int id = 0; id < 8; id++) {
            int n = 0;
            for (int i = max_int(0, k - 15); i <= k; i++) n += all[i] == id;
            assert_true(z[id] == (float)-n);
        }
    }
    sampler_free(s);
}

/* DRY by its definition: for every place, how long is the repetition that a token there continued.
 */
static void dry(void **state) {
    (void)state;
    struct err e = {0};
    struct gguf *g = gguf_open("tests/vectors/vocab-bpe.gguf", &e);
    struct vocab *v = g ? vocab_open(g, &e) : NULL;
    if (!v) fail_msg("%s", e.msg);
    gguf_close(g);
    struct sampler_params p = plain();
    p.dry_multiplier = 0.8, p.dry_last_n = 50;
    int n_vocab = vocab_size(v), colon = vocab_find(v, STR(":"));
    struct sampler *s = make(&p, v, n_vocab);
    float *x = calloc((size_t)n_vocab, sizeof *x);
    struct rng r = {4};
    int32_t said[300];
    for (int n = 0; n < 300; n++) {
        said[n] = rng_below(&r, 12) == 0 ? colon : 'a' - 33 + (int32_t)rng_below(&r, 3);
        sampler_accept(s, said[n]);
        memset(x, 0, (size_t)n_vocab * sizeof *x);
        pick(s, x, NULL);
        for (int id = 60; id < 72; id++) {
            int longest = 0, first = max_int(0, n - 49);
            for (int at = first + 1; at <= n; at++) {
                int len = 0;
                while (said[at] == id && at - 1 - len >= first && said[n - len] != colon &&
                       said[at - 1 - len] == said[n - len])
                    len++;
                longest = max_int(longest, len);
            }
            double want = longest >= 2 ? -0.8 * pow(1.75, longest - 2) : 0;
            if (fabs((double)x[id] - want) > 1e-5 * fabs(want))
                fail_msg("step %d, token %d: %g, expected %g", n, id, (double)x[id], want);
        }
    }
    free(x);
    sampler_free(s);
    vocab_close(v);
}

static void xtc(void **state) {
    (void)state;
    struct sampler_params p = plain();
    p.xtc_probability = 1, p.xtc_threshold = 0.2;
    struct sampler *s = make(&p, NULL, 5);
    const float logits[5] = {-1.2f, -1.1f, -1.3f, -3, -4}; /* three above 0.2, id 2 the least */
    for (int k = 0; k < 200; k++) {
        float x[5];
        memcpy(x, logits, sizeof x);
        assert_true(pick(s, x, NULL) >= 2);
        assert_int_equal(s->cand.n, 3);
    }
    sampler_free(s);
    p.xtc_probability = 0.3;
    s = make(&p, NULL, 5);
    int cut = 0;
    for (int k = 0; k < 2000; k++) {
        float x[5];
        memcpy(x, logits, sizeof x);
        pick(s, x, NULL);
        cut += s->cand.n == 3;
    }
    assert_in_range(cut, 520, 680);
    sampler_free(s);
}

/* Mirostat steers the mean surprise to tau. */
static void mirostat(void **state) {
    (void)state;
    struct sampler_params p = plain();
    p.mirostat = 2, p.mirostat_tau = 3, p.mirostat_eta = 0.05;
    struct sampler *s = make(&p, NULL, N);
    struct rng r = {6};
    double sum = 0;
    for (int k = 0; k < 3000; k++) {
        float x[N];
        for (int i = 0; i < N; i++) x[i] = rng_normal(&r) * 2;
        int32_t id = pick(s, x, NULL);
        for (int i = 0; i < s->cand.n; i++)
            if (s->cand.c[i].id == id && k >= 1000) sum -= log2((double)s->cand.c[i].p);
    }
    assert_true(fabs(sum / 2000 - 3) < 0.15);
    sampler_free(s);
}

static void log_probs(void **state) {
    (void)state;
    struct rng r = {8};
    struct sampler_params p = sampler_defaults();
    p.n_probs = 7, p.repeat_penalty = 1.3;
    struct sampler *s = make(&p, NULL, N);
    for (int k = 0; k < 100; k++) {
        float x[N], raw[N];
        struct ref want = {0};
        struct sampler_choice c;
        random_logits(&r, x, N);
        memcpy(raw, x, sizeof x);
        assert_true(sampler_choose(s, x, NULL, &c, NULL));
        sampler_accept(s, c.id);
        for (int i = 0; i < N; i++) want.item[want.n++] = (struct item){i, (double)raw[i], 0};
        ref_sort(&want);
        assert_int_equal(c.n_top, 7);
        for (int i = 0; i < 7; i++) {
            assert_int_equal(c.top[i].id, want.item[i].id);
            assert_true(fabs((double)c.top[i].logprob - log(want.item[i].p)) < 2e-6);
        }
        for (int i = 0; i < N; i++)
            if (want.item[i].id == c.id)
                assert_true(fabs((double)c.logprob - log(want.item[i].p)) < 4e-6);
    }
    sampler_free(s);
}

static void refusals(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    struct sampler_params p = plain();
    struct sampler *s = make(&p, NULL, N);
    for (int k = 0; k < 3; k++) {
        for (int at = 0; at < N; at += 7) {
            float x[N] = {0};
            struct sampler_choice c;
            struct err e = {0};
            x[at] = bad[k];
            assert_false(sampler_choose(s, x, NULL, &c, &e));
            assert_true(e.msg[0]);
        }
    }
    sampler_free(s);
    struct err e = {0};
    const struct logit_bias wrong[] = {{N, 1}};
    p.temp = NAN;
    assert_null(sampler_new(&p, NULL, N, &e));
    p = plain(), p.top_p = -0.1;
    assert_null(sampler_new(&p, NULL, N, &e));
    p = plain(), p.mirostat = 1;
    assert_null(sampler_new(&p, NULL, N, &e));
    p = plain(), p.bias = wrong, p.n_bias = 1;
    assert_null(sampler_new(&p, NULL, N, &e));
    assert_non_null(strstr(e.msg, "500"));
}

static void no_memory(void **state) {
    (void)state;
    struct sampler_params p = sampler_defaults();
    p.dry_multiplier = 1, p.repeat_penalty = 1.1, p.n_probs = 3;
    for (int64_t n = 1;; n++) {
        struct err e = {0};
        mem_fail_after(n);
        struct sampler *s = sampler_new(&p, NULL, N, &e);
        mem_fail_after(0);
        if (s) { /* and no call allocates from here on */
            struct rng r = {1};
            for (int k = 0; k < 50; k++) {
                float x[N];
                struct sampler_choice c;
                random_logits(&r, x, N);
                mem_forbid("sampling");
                assert_true(sampler_choose(s, x, NULL, &c, &e));
                sampler_accept(s, c.id);
                mem_forbid(NULL);
            }
            sampler_free(s);
            assert_true(n > 5);
            return;
        }
        assert_int_equal(e.code, ERR_NOMEM);
    }
}

/* Bounds are three times what an idle machine takes, for machines that are not idle. */
static void cost(void **state) {
    (void)state;
    enum { BIG = 151936 };
    static float logits[BIG], x[BIG];
    struct rng r = {3};
    for (int i = 0; i < BIG; i++) logits[i] = rng_normal(&r) * 3;
    struct sampler_params greedy = plain(), usual = sampler_defaults(), nucleus = plain(),
                          probs = plain();
    greedy.temp = 0, usual.min_p = 0, nucleus.top_p = 0.95, probs.temp = 0, probs.n_probs = 20;
    const struct {
        const char *name;
        const struct sampler_params *p;
        double us;
    } rows[] = {{"greedy", &greedy, 150},
                {"top-k 40, top-p, temp", &usual, 900},
                {"top-p alone", &nucleus, 30000},
                {"greedy with 20 log probabilities", &probs, 6000}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct sampler *s = make(rows[k].p, NULL, BIG);
        double best = 1e18;
        for (int i = 0; i < 30; i++) {
            memcpy(x, logits, sizeof x);
            uint64_t start = os_now_ns();
            pick(s, x, NULL);
            best = fmin(best, (double)(os_now_ns() - start) / 1e3);
        }
        print_message("%s: %.0f us of %d logits\n", rows[k].name, best, BIG);
        if (!getenv("TEST_SANITIZED")) assert_true(best < rows[k].us);
        sampler_free(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_reference),
        cmocka_unit_test(greedy_is_argmax),
        cmocka_unit_test(distribution),
        cmocka_unit_test(seeded),
        cmocka_unit_test(bias_and_mask),
        cmocka_unit_test(penalties),
        cmocka_unit_test(dry),
        cmocka_unit_test(xtc),
        cmocka_unit_test(mirostat),
        cmocka_unit_test(log_probs),
        cmocka_unit_test(refusals),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(cost),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
