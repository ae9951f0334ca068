/* Thompson construction (built backwards, so that every piece knows what follows it) and subset
 * construction with a bound on states and on work. */
#include "sample/nfa.h"
#include "sample/lang.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char too_large[] = "it needs too many states", no_memory[] = "no memory";

void nfa_free(struct nfa *a) {
    mem_free(a->state);
    mem_free(a->label);
    *a = (struct nfa){.limit = a->limit};
}

static uint32_t stop(struct nfa *a, const char *why) {
    if (!a->fail) a->fail = why;
    return NFA_NONE;
}

static uint32_t add(struct nfa *a, enum nfa_kind kind, uint32_t to) {
    if (a->fail) return NFA_NONE;
    if (a->n >= a->limit) return stop(a, too_large);
    void *p = a->state;
    if (!mem_grow(&p, &a->cap, a->n + 1, sizeof *a->state)) return stop(a, no_memory);
    a->state = p;
    a->state[a->n] = (struct nfa_state){.kind = kind, .a = to, .b = NFA_NONE};
    return (uint32_t)a->n++;
}

static uint32_t add_set(struct nfa *a, const uint64_t set[4], uint32_t to) {
    uint32_t s = add(a, NFA_SET, to);
    if (s == NFA_NONE) return s;
    struct nfa_state *st = &a->state[s];
    memcpy(st->u.set, set, sizeof st->u.set);
    unsigned lo = 0, hi = 255;
    while (lo < 192 && !set[lo >> 6]) lo += 64;
    while (hi > 64 && !set[hi >> 6]) hi -= 64;
    while (lo < hi && !set_has(set, lo)) lo++;
    while (hi > lo && !set_has(set, hi)) hi--;
    st->lo = (uint8_t)lo;
    st->hi = (uint8_t)hi;
    return s;
}

static uint32_t add_byte(struct nfa *a, unsigned char c, uint32_t to) {
    uint32_t s = add(a, NFA_SET, to);
    if (s == NFA_NONE) return s;
    set_add(a->state[s].u.set, c, c);
    a->state[s].lo = a->state[s].hi = c;
    return s;
}

static uint32_t add_split(struct nfa *a, uint32_t x, uint32_t y) {
    uint32_t s = add(a, NFA_EPSILON, x);
    if (s != NFA_NONE) a->state[s].b = y;
    return s;
}

static uint32_t label_state(struct nfa *a, int label) {
    size_t need = (size_t)label + 1;
    void *p = a->label;
    if (!mem_grow(&p, &a->cap_labels, need, sizeof *a->label)) return stop(a, no_memory);
    a->label = p;
    while (a->n_labels < need) a->label[a->n_labels++] = NFA_NONE;
    if (a->label[label] == NFA_NONE) a->label[label] = add(a, NFA_EPSILON, NFA_NONE);
    return a->label[label];
}

static uint32_t emit(struct nfa *a, const struct expr *x, uint32_t next, bool unroll, int depth);

static uint32_t emit_repeat(struct nfa *a, const struct expr *x, uint32_t next, bool unroll,
                            int depth) {
    uint32_t min = x->u.repeat.min, max = x->u.repeat.max;
    if (x->u.repeat.rule >= 0 && !unroll) {
        uint32_t s = add(a, NFA_CALL, next);
        if (s == NFA_NONE) return s;
        a->state[s].u.call.rule = (uint32_t)x->u.repeat.rule;
        a->state[s].u.call.min = min;
        a->state[s].u.call.max = max;
        return s;
    }
    uint32_t s = next;
    if (max == COUNT_MANY) {
        s = add_split(a, NFA_NONE, next);
        if (s == NFA_NONE) return s;
        uint32_t body = emit(a, x->u.repeat.x, s, unroll, depth + 1);
        if (a->fail) return NFA_NONE;
        a->state[s].a = body;
    } else {
        for (uint32_t i = min; i < max && !a->fail; i++)
            s = add_split(a, emit(a, x->u.repeat.x, s, unroll, depth + 1), next);
    }
    for (uint32_t i = 0; i < min && !a->fail; i++) s = emit(a, x->u.repeat.x, s, unroll, depth + 1);
    return a->fail ? NFA_NONE : s;
}

/* The bytes of one state of an automaton, by where they lead. */
struct targets {
    uint16_t to[256];
    uint64_t set[256][4];
    unsigned n;
};

static void group_bytes(const uint16_t next[256], struct targets *t) {
    unsigned last = 0;
    t->n = 0;
    for (unsigned c = 0; c < 256; c++) {
        if (next[c] == LANG_DEAD) continue;
        if (t->n == 0 || t->to[last] != next[c])
            for (last = 0; last < t->n && t->to[last] != next[c];) last++;
        if (last == t->n) {
            t->to[t->n] = next[c];
            memset(t->set[t->n++], 0, sizeof t->set[0]);
        }
        set_add(t->set[last], c, c);
    }
}

/* One epsilon state per state of the automaton, and behind it one set per target. */
static uint32_t emit_lang(struct nfa *a, const struct expr *x, uint32_t next, bool unroll,
                          int depth) {
    const struct lang *l = x->u.lang.dfa;
    uint32_t base = (uint32_t)a->n;
    for (uint32_t i = 0; i < l->n; i++) add(a, NFA_EPSILON, NFA_NONE);
    uint32_t tail = NFA_NONE;
    if (x->u.lang.tail && l->any) tail = emit(a, x->u.lang.tail, next, unroll, depth + 1);
    if (x->u.lang.close) next = emit(a, x->u.lang.close, next, unroll, depth + 1);
    for (uint32_t i = 1; i < l->n && !a->fail; i++) {
        if (i == l->any && tail != NFA_NONE) {
            a->state[base + i].a = tail;
            continue;
        }
        struct targets t;
        uint32_t chain = l->final[i] ? next : NFA_NONE;
        group_bytes(l->next[i], &t);
        for (unsigned k = 0; k < t.n && !a->fail; k++) {
            uint32_t s = add_set(a, t.set[k], base + t.to[k]);
            chain = chain == NFA_NONE ? s : add_split(a, s, chain);
        }
        if (!a->fail) a->state[base + i].a = chain;
    }
    return a->fail ? NFA_NONE : base + LANG_START;
}

static uint32_t emit_list(struct nfa *a, const struct expr *x, uint32_t next, bool unroll,
                          int depth) {
    uint32_t n = x->u.list.n, s = x->kind == EXPR_SEQ ? next : NFA_NONE;
    for (uint32_t i = n; i-- > 0 && !a->fail;) {
        const struct expr *item = x->u.list.item[i];
        if (x->kind == EXPR_SEQ) {
            s = emit(a, item, s, unroll, depth + 1);
        } else {
            uint32_t one = emit(a, item, next, unroll, depth + 1);
            s = s == NFA_NONE ? one : add_split(a, one, s);
        }
    }
    if (n == 0 && x->kind == EXPR_ALT) s = add(a, NFA_EPSILON, NFA_NONE); /* never */
    return a->fail ? NFA_NONE : s;
}

static uint32_t emit(struct nfa *a, const struct expr *x, uint32_t next, bool unroll, int depth) {
    if (a->fail) return NFA_NONE;
    if (depth > EXPR_DEPTH) return stop(a, "it is nested too deeply");
    uint32_t s = next;
    switch (x->kind) {
    case EXPR_LIT:
        for (size_t i = x->u.lit.len; i-- > 0 && !a->fail;) {
            s = add_byte(a, (unsigned char)x->u.lit.p[i], s);
        }
        return s;
    case EXPR_SET:
        return add_set(a, x->u.set, next);
    case EXPR_TOKEN:
        s = add(a, NFA_TOKEN, next);
        if (s != NFA_NONE) a->state[s].u.token = x->u.token;
        return s;
    case EXPR_SEQ:
    case EXPR_ALT:
        return emit_list(a, x, next, unroll, depth);
    case EXPR_REPEAT:
        return emit_repeat(a, x, next, unroll, depth);
    case EXPR_CALL:
        s = add(a, NFA_CALL, next);
        if (s == NFA_NONE) return s;
        a->state[s].u.call.rule = (uint32_t)x->u.rule;
        a->state[s].u.call.min = a->state[s].u.call.max = 1;
        return s;
    case EXPR_LANG:
        return emit_lang(a, x, next, unroll, depth);
    case EXPR_LABEL:
        s = label_state(a, x->u.label);
        if (s == NFA_NONE) return s;
        assert(a->state[s].a == NFA_NONE); /* a label stands in one place */
        a->state[s].a = next;
        return s;
    case EXPR_GOTO:
        return label_state(a, x->u.label);
    }
    return stop(a, "unknown expression");
}

uint32_t nfa_compile(struct nfa *a, const struct expr *x, bool unroll) {
    a->n = a->n_labels = 0;
    a->fail = NULL;
    uint32_t accept = add(a, NFA_ACCEPT, NFA_NONE);
    return accept == NFA_NONE ? accept : emit(a, x, accept, unroll, 0);
}

bool subset_init(struct subset *s, struct nfa *nfa, size_t limit, uint64_t work_limit) {
    *s = (struct subset){.nfa = nfa, .limit = limit, .work_limit = work_limit};
    s->n_buckets = 256;
    s->bucket = mem_array(s->n_buckets, sizeof *s->bucket);
    s->mark = mem_calloc(nfa->n + 1, sizeof *s->mark);
    if (!s->bucket || !s->mark) {
        subset_free(s);
        s->fail = no_memory;
        return false;
    }
    memset(s->bucket, 0xFF, s->n_buckets * sizeof *s->bucket);
    return true;
}

void subset_free(struct subset *s) {
    mem_free(s->set);
    mem_free(s->item);
    mem_free(s->bucket);
    mem_free(s->mark);
    mem_free(s->stack);
    mem_free(s->found);
    mem_free(s->to);
    *s = (struct subset){0};
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool push(struct subset *s, uint32_t **array, size_t *cap, size_t *n, uint32_t x) {
    if (*n == *cap) {
        void *p = *array;
        if (!mem_grow(&p, cap, *n + 1, sizeof x)) {
            s->fail = no_memory;
            return false;
        }
        *array = p;
    }
    (*array)[(*n)++] = x;
    return true;
}

/* The states behind epsilon, sorted, in s->found. */
static bool close_over(struct subset *s, const uint32_t *state, size_t n, size_t *n_found) {
    size_t top = 0;
    *n_found = 0;
    s->generation++;
    for (size_t i = 0; i < n; i++)
        if (!push(s, &s->stack, &s->cap_stack, &top, state[i])) return false;
    while (top > 0) {
        uint32_t q = s->stack[--top];
        if (q == NFA_NONE || s->mark[q] == s->generation) continue;
        s->mark[q] = s->generation;
        s->work++;
        const struct nfa_state *st = &s->nfa->state[q];
        if (st->kind != NFA_EPSILON) {
            if (!push(s, &s->found, &s->cap_found, n_found, q)) return false;
            continue;
        }
        if (!push(s, &s->stack, &s->cap_stack, &top, st->b)) return false;
        if (!push(s, &s->stack, &s->cap_stack, &top, st->a)) return false;
    }
    if (*n_found > 1) qsort(s->found, *n_found, sizeof *s->found, by_number);
    s->work += 4 * *n_found;
    return true;
}

static bool rehash(struct subset *s) {
    uint32_t n = s->n_buckets * 4;
    uint32_t *bucket = mem_array(n, sizeof *bucket);
    if (!bucket) {
        s->fail = no_memory;
        return false;
    }
    memset(bucket, 0xFF, n * sizeof *bucket);
    for (size_t i = 0; i < s->n; i++) {
        uint32_t *at = &bucket[s->set[i].hash & (n - 1)];
        s->set[i].chain = *at;
        *at = (uint32_t)i;
    }
    mem_free(s->bucket);
    s->bucket = bucket;
    s->n_buckets = n;
    return true;
}

uint32_t subset_add(struct subset *s, const uint32_t *state, size_t n) {
    size_t n_found;
    if (s->fail || !close_over(s, state, n, &n_found)) return NFA_NONE;
    uint64_t hash = str_hash((struct str){(const char *)s->found, n_found * sizeof *s->found});
    for (uint32_t i = s->bucket[hash & (s->n_buckets - 1)]; i != NFA_NONE; i = s->set[i].chain) {
        const struct subset_set *t = &s->set[i];
        if (t->hash == hash && t->n == n_found &&
            (n_found == 0 || !memcmp(s->item + t->first, s->found, n_found * sizeof *s->found)))
            return i;
    }
    if (s->n >= s->limit || s->work > s->work_limit) {
        s->fail = too_large;
        return NFA_NONE;
    }
    if (s->n > s->n_buckets && !rehash(s)) return NFA_NONE;
    uint32_t first = (uint32_t)s->n_items;
    for (size_t i = 0; i < n_found; i++)
        if (!push(s, &s->item, &s->cap_items, &s->n_items, s->found[i])) return NFA_NONE;
    void *p = s->set;
    if (!mem_grow(&p, &s->cap, s->n + 1, sizeof *s->set)) {
        s->fail = no_memory;
        return NFA_NONE;
    }
    s->set = p;
    uint32_t *at = &s->bucket[hash & (s->n_buckets - 1)];
    s->set[s->n] = (struct subset_set){first, (uint32_t)n_found, *at, hash};
    *at = (uint32_t)s->n;
    return (uint32_t)s->n++;
}

static uint64_t mix(uint64_t x) {
    x = (x + 1) * 0x9E3779B97F4A7C15u;
    return (x ^ x >> 29) * 0xBF58476D1CE4E5B9u | 1;
}

/* Where byte c leads from a set. */
static uint32_t target_of(struct subset *s, uint32_t set, unsigned c) {
    size_t n = 0;
    const struct subset_set *t = &s->set[set];
    for (uint32_t i = 0; i < t->n && !s->fail; i++) {
        const struct nfa_state *st = &s->nfa->state[s->item[t->first + i]];
        if (st->kind == NFA_SET && set_has(st->u.set, c)) push(s, &s->to, &s->cap_to, &n, st->a);
    }
    return subset_add(s, s->to, n);
}

/* Bytes with the same sum of target hashes lead to the same set: only one of them is followed. */
int subset_runs(struct subset *s, uint32_t set, struct subset_run run[256]) {
    uint64_t sum[256], known_sum[256];
    uint32_t known_to[256];
    int n = 0, n_known = 0;
    unsigned lo = 256, hi = 0;
    for (uint32_t i = 0; i < s->set[set].n; i++) {
        const struct nfa_state *st = &s->nfa->state[s->item[s->set[set].first + i]];
        if (st->kind != NFA_SET) continue;
        if (lo > hi) memset(sum, 0, sizeof sum);
        if (st->lo < lo) lo = st->lo;
        if (st->hi > hi) hi = st->hi;
        uint64_t h = mix(st->a);
        for (unsigned c = st->lo; c <= st->hi; c++)
            if (set_has(st->u.set, c)) sum[c] += h;
        s->work += 8u + st->hi - st->lo;
    }
    for (unsigned c = lo; c <= hi; c++) {
        if (!sum[c]) continue;
        if (n && run[n - 1].hi + 1u == c && sum[c] == sum[c - 1]) {
            run[n - 1].hi = (uint8_t)c;
            continue;
        }
        int k = 0;
        while (k < n_known && known_sum[k] != sum[c]) k++;
        if (k == n_known) {
            known_sum[k] = sum[c];
            known_to[k] = target_of(s, set, c);
            if (known_to[k] == NFA_NONE) return -1;
            n_known++;
        }
        run[n++] = (struct subset_run){(uint8_t)c, (uint8_t)c, known_to[k]};
    }
    return n;
}

bool subset_edges(struct subset *s, uint32_t set, struct subset_run **run, size_t *n, size_t *cap) {
    for (uint32_t i = 0; i < s->set[set].n; i++) {
        struct nfa_state *st = &s->nfa->state[s->item[s->set[set].first + i]];
        if (st->kind != NFA_SET) continue;
        uint32_t to = subset_add(s, &st->a, 1);
        if (s->work > s->work_limit) s->fail = too_large;
        if (to == NFA_NONE || s->fail) return false;
        s->work += 8u + st->hi - st->lo;
        for (unsigned c = st->lo; c <= st->hi; c++) {
            if (!set_has(st->u.set, c)) continue;
            unsigned hi = c;
            while (hi < 255 && set_has(st->u.set, hi + 1)) hi++;
            void *p = *run;
            if (!mem_grow(&p, cap, *n + 1, sizeof **run)) {
                s->fail = no_memory;
                return false;
            }
            *run = p;
            (*run)[(*n)++] = (struct subset_run){(uint8_t)c, (uint8_t)hi, to};
            c = hi;
        }
    }
    return true;
}
