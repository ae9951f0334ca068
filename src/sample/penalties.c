/* Stages that look back: repeat, presence and frequency penalties over the last tokens, and DRY,
 * which punishes what would continue a repetition. Owns their histories. */
#include "base/fmath.h"
#include "base/mem.h"
#include "sample/sampler_impl.h"
#include "text/vocab.h"

#include <math.h>

enum { WHOLE_CONTEXT = 65536 };

/* Token i steps back; 0 is the newest. */
static int32_t ago(const struct history *h, int32_t i) {
    int32_t at = h->next - 1 - i;
    return h->ring[at < 0 ? at + h->size : at];
}

/* Puts id in; returns the token that falls out of a full ring, or -1. */
static int32_t put(struct history *h, int32_t id) {
    int32_t out = h->n == h->size ? h->ring[h->next] : -1;
    h->ring[h->next] = id;
    h->next = h->next + 1 == h->size ? 0 : h->next + 1;
    h->n += h->n < h->size;
    return out;
}

static bool open_history(struct history *h, int64_t last_n, const struct sampler_params *p) {
    int64_t whole = p->n_ctx > 0 ? p->n_ctx : WHOLE_CONTEXT;
    h->size = (int32_t)(last_n < 0 || last_n > whole ? whole : last_n);
    h->ring = mem_array((size_t)h->size, sizeof *h->ring);
    return h->ring != NULL;
}

/* A token breaks repetitions when what it prints holds one of the breakers. */
static void mark_breakers(struct sampler *s, const struct vocab *v) {
    for (int32_t id = 0; id < s->n_vocab; id++) {
        struct str text = vocab_bytes(v, id, true);
        for (size_t i = 0; i < s->p.n_dry_breakers; i++)
            if (s->p.dry_breakers[i].len && str_find(text, s->p.dry_breakers[i], 0) >= 0)
                s->breaker[id / 32] |= 1u << (id % 32);
    }
}

bool penalties_open(struct sampler *s, const struct vocab *v, struct err *e) {
    size_t n = (size_t)s->n_vocab;
    bool ok = true;
    for (int i = 0; s->before[i]; i++) {
        if (s->before[i]->apply == stage_penalties) {
            s->count = mem_calloc(n, sizeof *s->count);
            s->seen = mem_array(n, sizeof *s->seen);
            s->place = mem_array(n, sizeof *s->place);
            ok = ok && open_history(&s->recent, s->p.repeat_last_n, &s->p) && s->count && s->seen &&
                 s->place;
        } else if (s->before[i]->apply == stage_dry) {
            ok = ok && open_history(&s->text, s->p.dry_last_n, &s->p);
            s->newest_first = mem_array((size_t)s->text.size, sizeof *s->newest_first);
            s->match = mem_array((size_t)s->text.size, sizeof *s->match);
            s->repeat = mem_calloc(n, sizeof *s->repeat);
            s->breaker = mem_calloc(n / 32 + 1, sizeof *s->breaker);
            ok = ok && s->newest_first && s->match && s->repeat && s->breaker;
            if (ok && v) mark_breakers(s, v);
        }
    }
    return ok || err_nomem(e, "the sampler's history", n * sizeof *s->count);
}

void penalties_close(struct sampler *s) {
    void *const all[] = {s->recent.ring,  s->count, s->seen,   s->place,  s->text.ring,
                         s->newest_first, s->match, s->repeat, s->breaker};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
}

void penalties_accept(struct sampler *s, int32_t id) {
    if (s->text.ring) put(&s->text, id);
    if (!s->recent.ring) return;
    int32_t out = put(&s->recent, id);
    if (s->count[id]++ == 0) {
        s->place[id] = s->n_seen;
        s->seen[s->n_seen++] = id;
    }
    if (out >= 0 && --s->count[out] == 0) {
        int32_t last = s->seen[--s->n_seen];
        s->seen[s->place[out]] = last;
        s->place[last] = s->place[out];
    }
}

void stage_penalties(struct sampler *s) {
    for (int32_t i = 0; i < s->n_seen; i++) {
        int32_t id = s->seen[i];
        double x = (double)s->logits[id];
        x = x > 0 ? x / s->p.repeat_penalty : x * s->p.repeat_penalty;
        x -= s->count[id] * s->p.frequency_penalty + s->p.presence_penalty;
        s->logits[id] = (float)x;
    }
}

/* match[k] = how many tokens before and with the k-th newest equal the newest ones: the Z
 * algorithm over the history backwards, linear in n. */
static void match_suffixes(const int32_t *r, int32_t *match, int32_t n) {
    int32_t left = 0, right = 0;
    match[0] = n;
    for (int32_t k = 1; k < n; k++) {
        int32_t m = 0;
        if (k < right) m = match[k - left] < right - k ? match[k - left] : right - k;
        while (k + m < n && r[m] == r[k + m]) m++;
        match[k] = m;
        if (k + m > right) left = k, right = k + m;
    }
}

/* DRY (p-e-w, text-generation-webui 5677): a token that would make a repetition of length l >=
 * allowed longer loses multiplier * base^(l - allowed). Nothing is a repetition across a breaker.
 */
void stage_dry(struct sampler *s) {
    int32_t n = s->text.n, limit = 0, allowed = (int32_t)s->p.dry_allowed_length;
    for (int32_t i = 0; i < n; i++) s->newest_first[i] = ago(&s->text, i);
    const int32_t *r = s->newest_first;
    while (limit < n && !(s->breaker[r[limit] / 32] >> (r[limit] % 32) & 1)) limit++;
    if (limit < allowed) return;
    match_suffixes(r, s->match, n);
    for (int32_t k = 1; k < n; k++) {
        int32_t len = s->match[k] < limit ? s->match[k] : limit;
        if (len >= allowed && len > s->repeat[r[k - 1]]) s->repeat[r[k - 1]] = len;
    }
    for (int32_t k = 0; k < n; k++) {
        int32_t len = s->repeat[r[k]];
        if (len == 0) continue;
        s->repeat[r[k]] = 0;
        double penalty = s->p.dry_multiplier * fmath_pow(s->p.dry_base, len - allowed);
        s->logits[r[k]] -= (float)(penalty < 1e30 ? penalty : 1e30);
    }
}
