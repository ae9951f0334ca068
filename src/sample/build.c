/* Expressions: the pieces that front ends put together. Owns their memory (one arena per
 * builder); knows nothing of automata. Called by the front ends of this room. */
#include "sample/build.h"
#include "base/limits.h"
#include "sample/expr.h"
#include "sample/lang.h"

#include <string.h>

enum {
    BUILD_BYTES = 40 << 20,
    LANG_COST = 8 /* states for one of an automaton: it and its sets of bytes */
};

struct build *build_new(struct err *e) {
    struct build *b = mem_calloc(1, sizeof *b);
    if (!b) {
        err_nomem(e, "a grammar", sizeof *b);
        return NULL;
    }
    b->arena.limit = BUILD_BYTES;
    b->work = BUILD_WORK;
    return b;
}

void build_free(struct build *b) {
    if (!b) return;
    for (size_t i = 0; i < b->n_langs; i++) lang_free(b->lang[i]);
    mem_free(b->lang);
    json_decref(b->shared.alike);
    mem_free(b->shared.x);
    mem_free(b->loop);
    mem_free(b->rule);
    arena_free(&b->arena);
    mem_free(b);
}

static uint32_t sum(uint64_t a, uint64_t c) {
    return a + c > UINT32_MAX ? UINT32_MAX : (uint32_t)(a + c);
}

static struct expr *make(struct build *b, enum expr_kind kind, uint32_t size, bool regular) {
    struct expr *x = arena_calloc(&b->arena, 1, sizeof *x);
    if (!x) {
        b->failed = true;
        return NULL;
    }
    x->kind = kind;
    x->size = size;
    x->regular = regular;
    b->spent += 1 + (kind == EXPR_LIT || kind == EXPR_LANG ? size : 0);
    return x;
}

struct expr *build_lit(struct build *b, struct str bytes) {
    struct expr *x = make(b, EXPR_LIT, sum(bytes.len, 0), true);
    if (!x) return NULL;
    x->u.lit = (struct str){arena_strndup(&b->arena, bytes.p, bytes.len), bytes.len};
    if (!x->u.lit.p) b->failed = true;
    return x->u.lit.p ? x : NULL;
}

struct expr *build_empty(struct build *b) {
    return build_lit(b, STR(""));
}
struct expr *build_never(struct build *b) {
    return build_alt(b);
}

struct expr *build_bytes(struct build *b, const uint64_t set[4]) {
    struct expr *x = make(b, EXPR_SET, 1, true);
    if (x) memcpy(x->u.set, set, sizeof x->u.set);
    return x;
}

struct expr *build_token(struct build *b, int32_t id) {
    struct expr *x = make(b, EXPR_TOKEN, 1, false);
    if (x) x->u.token = id;
    return x;
}

struct expr *build_seq(struct build *b) {
    return make(b, EXPR_SEQ, 0, true);
}
struct expr *build_alt(struct build *b) {
    return make(b, EXPR_ALT, 1, true);
}

bool build_push(struct build *b, struct expr *list, struct expr *item) {
    if (!list || !item) return false;
    if (list->u.list.n == list->u.list.cap) {
        uint32_t cap = list->u.list.cap ? list->u.list.cap * 2 : 4;
        struct expr **grown = arena_alloc(&b->arena, cap * sizeof *grown);
        if (!grown) return !(b->failed = true);
        if (list->u.list.n) memcpy(grown, list->u.list.item, list->u.list.n * sizeof *grown);
        list->u.list.item = grown;
        list->u.list.cap = cap;
    }
    list->u.list.item[list->u.list.n++] = item;
    list->size = sum(list->size, (uint64_t)item->size + (list->kind == EXPR_ALT));
    list->regular = list->regular && item->regular;
    return true;
}

static struct expr *list_of(struct build *b, struct expr *list, struct expr *const *item,
                            size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!build_push(b, list, item[i])) return NULL;
    return list;
}
struct expr *build_seq_of(struct build *b, struct expr *const *item, size_t n) {
    return list_of(b, build_seq(b), item, n);
}
struct expr *build_alt_of(struct build *b, struct expr *const *item, size_t n) {
    return list_of(b, build_alt(b), item, n);
}

struct expr *build_repeat_at(struct build *b, struct expr *x, int64_t min, int64_t max,
                             int64_t pos) {
    if (!x) return NULL;
    if (min == 1 && max == 1) return x;
    if (max == 0) return build_empty(b);
    struct expr *r = make(b, EXPR_REPEAT, 0, x->regular);
    if (!r) return NULL;
    r->u.repeat.x = x;
    r->u.repeat.pos = pos;
    r->u.repeat.rule = -1;
    r->u.repeat.min = (uint32_t)min;
    r->u.repeat.max = max < 0 ? COUNT_MANY : (uint32_t)max;
    uint64_t copies = max < 0 ? (uint64_t)min + 1 : (uint64_t)max;
    r->size = sum(copies * ((uint64_t)x->size + 1), 1);
    b->spent += r->size < EXPR_UNROLL ? r->size : EXPR_UNROLL;
    if (pos >= 0) {
        void *p = b->loop;
        if (!mem_grow(&p, &b->cap_loops, b->n_loops + 1, sizeof *b->loop)) {
            b->failed = true;
            return NULL;
        }
        b->loop = p;
        b->loop[b->n_loops++] = r;
    }
    if (copies > 1 && r->size > EXPR_UNROLL && !(max < 0 && min <= 1)) {
        int rule = x->kind == EXPR_CALL ? x->u.rule : build_rule(b, NULL, pos);
        if (rule < 0) return NULL;
        if (x->kind != EXPR_CALL) build_define(b, rule, x);
        r->u.repeat.rule = rule;
    }
    return r;
}

struct expr *build_repeat(struct build *b, struct expr *x, int64_t min, int64_t max) {
    return build_repeat_at(b, x, min, max, -1);
}
struct expr *build_opt(struct build *b, struct expr *x) {
    return build_repeat(b, x, 0, 1);
}

int build_label_new(struct build *b) {
    return b->n_labels++;
}

static struct expr *with_label(struct build *b, enum expr_kind kind, int label) {
    struct expr *x = make(b, kind, 1, false);
    if (x) x->u.label = label;
    return x;
}
struct expr *build_label(struct build *b, int label) {
    return with_label(b, EXPR_LABEL, label);
}
struct expr *build_goto(struct build *b, int label) {
    return with_label(b, EXPR_GOTO, label);
}

int build_rule(struct build *b, const char *name, int64_t pos) {
    void *p = b->rule;
    bool ok = b->n_rules < LIMIT_GRAMMAR_STATES &&
              mem_grow(&p, &b->cap_rules, b->n_rules + 1, sizeof *b->rule);
    if (!ok) {
        b->failed = true;
        return -1;
    }
    b->rule = p;
    const char *copy = name ? arena_strndup(&b->arena, name, strlen(name)) : NULL;
    b->rule[b->n_rules] = (struct build_rule){copy, pos, NULL};
    return (int)b->n_rules++;
}

void build_define(struct build *b, int rule, struct expr *body) {
    if (rule < 0) return;
    if (!body) b->failed = true;
    b->rule[rule].body = body;
}

bool build_defined(const struct build *b, int rule) {
    return b->rule[rule].body != NULL;
}

struct expr *build_call(struct build *b, int rule) {
    if (rule < 0) return NULL;
    struct expr *x = make(b, EXPR_CALL, 1, false);
    if (x) x->u.rule = rule;
    return x;
}

struct expr *build_lang(struct build *b, struct lang *dfa, struct expr *tail, struct expr *close) {
    void *p = b->lang;
    if (!dfa || !mem_grow(&p, &b->cap_langs, b->n_langs + 1, sizeof *b->lang)) {
        lang_free(dfa);
        b->failed = true;
        return NULL;
    }
    b->lang = p;
    b->lang[b->n_langs++] = dfa;
    struct expr *x =
        make(b, EXPR_LANG, sum((uint64_t)lang_size(dfa) * LANG_COST, 0), !tail && !close);
    if (!x) return NULL;
    x->u.lang.dfa = dfa;
    x->u.lang.tail = tail;
    x->u.lang.close = close;
    return x;
}

struct expr *build_until(struct build *b, const struct str *marker, size_t n, bool with_marker) {
    return build_lang(b, lang_until(marker, n, with_marker), NULL, NULL);
}

/* Code points lo..hi as byte sequences: at each position the range splits into one with the same
 * first byte, or into runs of first bytes whose continuations are complete. */
static bool add_utf8(struct build *b, struct expr *alt, uint32_t lo, uint32_t hi) {
    static const uint32_t last[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
    for (size_t i = 0; i < 4; i++)
        if (lo <= last[i] && hi > last[i])
            return add_utf8(b, alt, lo, last[i]) && add_utf8(b, alt, last[i] + 1, hi);
    char a[4], z[4];
    size_t n = utf8_encode(lo, a);
    utf8_encode(hi, z);
    for (size_t i = 1; i < n; i++) {
        uint32_t m = (1u << 6 * i) - 1;
        if ((lo & ~m) == (hi & ~m)) continue;
        if (lo & m) return add_utf8(b, alt, lo, lo | m) && add_utf8(b, alt, (lo | m) + 1, hi);
        if ((hi & m) != m)
            return add_utf8(b, alt, lo, (hi & ~m) - 1) && add_utf8(b, alt, hi & ~m, hi);
    }
    struct expr *seq = n > 1 ? build_seq(b) : NULL;
    for (size_t i = 0; i < n; i++) {
        uint64_t set[4] = {0};
        set_add(set, (unsigned char)a[i], (unsigned char)z[i]);
        struct expr *one = build_bytes(b, set);
        if (n == 1) return build_push(b, alt, one);
        if (!build_push(b, seq, one)) return false;
    }
    return build_push(b, alt, seq);
}

static bool add_range(struct build *b, struct expr *alt, uint32_t lo, uint32_t hi) {
    if (hi > 0x10FFFF) hi = 0x10FFFF;
    if (lo < 0xD800 && hi >= 0xD800)
        return add_range(b, alt, lo, 0xD7FF) && add_range(b, alt, 0xD800, hi);
    if (lo >= 0xD800 && lo <= 0xDFFF) lo = 0xE000;
    return lo > hi || add_utf8(b, alt, lo, hi);
}

static void sort_ranges(struct char_range *r, size_t n) {
    for (size_t i = 1; i < n; i++) {
        struct char_range x = r[i];
        size_t j = i;
        for (; j > 0 && r[j - 1].lo > x.lo; j--) r[j] = r[j - 1];
        r[j] = x;
    }
}

struct expr *build_chars(struct build *b, const struct char_range *r, size_t n, bool negated) {
    struct char_range *sorted = arena_alloc(&b->arena, (n + 1) * sizeof *sorted);
    struct expr *alt = build_alt(b);
    if (!sorted || !alt) {
        b->failed = true;
        return NULL;
    }
    if (n) memcpy(sorted, r, n * sizeof *r);
    sort_ranges(sorted, n);
    uint32_t next = 0; /* first code point that is not dealt with */
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        uint32_t lo = sorted[i].lo, hi = sorted[i].hi;
        if (lo > hi || hi < next) continue;
        if (negated && lo > next) ok = add_range(b, alt, next, lo - 1);
        if (!negated) ok = add_range(b, alt, lo > next ? lo : next, hi);
        next = hi + 1;
    }
    if (negated && next <= 0x10FFFF) ok = ok && add_range(b, alt, next, 0x10FFFF);
    if (!ok) return NULL;
    return alt->u.list.n == 1 ? alt->u.list.item[0] : alt;
}

struct expr *build_char_any(struct build *b) {
    return build_chars(b, NULL, 0, true);
}
