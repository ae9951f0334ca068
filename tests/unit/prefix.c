/* The prefix tree against a naive model: a list of every token sequence that was added. Random
 * adds, lookups, holds and evictions; pages carry the tokens they stand for, so that a wrong page
 * shows. Then marks, eviction order and refused memory. */
#include "cache/prefix.h"
#include "base/mem.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { PAGE = 4, SEQ_MAX = 40, N_SEQS = 400, PAGE_BYTES = PAGE * 4 };

struct naive { /* every sequence whose nodes may be in the tree */
    int32_t token[SEQ_MAX];
    int n;
};

static struct page *page_for(struct pages *pool, const int32_t *token, int n) {
    struct page *g = page_new(pool, PAGE_BYTES);
    assert_non_null(g);
    memcpy(g->data, token, (size_t)n * sizeof *token);
    return g;
}

/* Adds a whole sequence as a request would: page by page, standing on the last full node. Returns
 * that node, held. */
static struct prefix_node *add_sequence(struct prefix *p, struct pages *pool, struct prefix_tree *t,
                                        const int32_t *token, int n) {
    struct prefix_path path;
    prefix_match(t, token, n, &path);
    struct prefix_node *at = path.node;
    prefix_hold(at);
    for (int pos = path.n_pages * PAGE; pos < n; pos += PAGE) {
        int len = n - pos < PAGE ? n - pos : PAGE;
        assert_true(prefix_reserve(p, 1));
        struct page *g = page_for(pool, token + pos, len);
        struct prefix_node *node = prefix_add(at, token + pos, len, &g);
        assert_non_null(node);
        assert_memory_equal(g->data, token + pos, (size_t)len * sizeof *token);
        page_unref(pool, g);
        if (len < PAGE) break;
        prefix_hold(node);
        prefix_release(at);
        at = node;
    }
    return at;
}

static int naive_match(const struct naive *all, int n_all, const int32_t *token, int n) {
    int best = 0;
    for (int i = 0; i < n_all; i++) {
        int k = 0, max = n < all[i].n ? n : all[i].n;
        while (k < max && all[i].token[k] == token[k]) k++;
        if (k > best) best = k;
    }
    return best;
}

/* The pages on the path hold exactly the tokens that match. */
static void check_path(const struct prefix_path *path, const int32_t *token) {
    if (path->part)
        assert_memory_equal(prefix_page(path->part)->data, token + path->n_pages * PAGE,
                            (size_t)(path->n - path->n_pages * PAGE) * sizeof *token);
    int i = path->n_pages;
    for (struct prefix_node *n = path->node; prefix_page(n); n = prefix_parent(n)) {
        i--;
        assert_memory_equal(prefix_page(n)->data, token + i * PAGE, PAGE * sizeof *token);
    }
    assert_int_equal(i, 0);
}

static void random_tokens(struct rng *r, const struct naive *all, int n_all, struct naive *out) {
    int keep = 0;
    if (n_all && rng_below(r, 4)) { /* mostly: fork one that is there */
        const struct naive *from = &all[rng_below(r, (uint64_t)n_all)];
        keep = (int)rng_below(r, (uint64_t)from->n + 1);
        memcpy(out->token, from->token, (size_t)keep * sizeof *out->token);
    }
    out->n = keep + (int)rng_below(r, (uint64_t)(SEQ_MAX - keep) + 1);
    for (int i = keep; i < out->n; i++) out->token[i] = (int32_t)rng_below(r, 3);
}

static void test_against_naive(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng r = {seed};
        struct pages *pool = pages_open(1 << 30, NULL);
        struct prefix *p = prefix_new(pool, PAGE, NULL);
        struct prefix_key key = {7, seed, 1.0, 0.01};
        struct prefix_tree *t = prefix_tree(p, &key);
        static struct naive all[N_SEQS];
        int n_all = 0;
        while (n_all < N_SEQS) {
            struct naive *s = &all[n_all];
            random_tokens(&r, all, n_all, s);
            struct prefix_path path;
            prefix_match(t, s->token, s->n, &path);
            assert_int_equal(path.n, naive_match(all, n_all, s->token, s->n));
            check_path(&path, s->token);
            prefix_release(add_sequence(p, pool, t, s->token, s->n));
            n_all++;
        }
        size_t all_bytes = prefix_evictable(p);
        assert_int_equal(all_bytes, pages_used(pool));
        assert_int_equal(prefix_evict(p, SIZE_MAX), all_bytes);
        assert_int_equal(pages_used(pool), 0);
        assert_int_equal(prefix_evictable(p), 0);
        prefix_free(p);
        pages_close(pool);
    }
}

/* What is held survives any eviction; what a lookup still finds is right. */
static void test_hold_and_evict(void **state) {
    (void)state;
    struct rng r = {99};
    struct pages *pool = pages_open(1 << 30, NULL);
    struct prefix *p = prefix_new(pool, PAGE, NULL);
    struct prefix_tree *t = prefix_tree(p, &(struct prefix_key){1, 2, 1.0, 0.01});
    enum { HELD = 8 };
    static struct naive all[N_SEQS];
    struct {
        struct prefix_node *node;
        struct naive seq;
    } held[HELD] = {0};
    for (int i = 0; i < 4000; i++) {
        struct naive *s = &all[i % N_SEQS];
        random_tokens(&r, all, i < N_SEQS ? i : N_SEQS, s);
        int h = (int)rng_below(&r, HELD);
        if (held[h].node) prefix_release(held[h].node);
        held[h].node = add_sequence(p, pool, t, s->token, s->n);
        held[h].seq = *s;
        size_t before = pages_used(pool), can = prefix_evictable(p);
        size_t freed = prefix_evict(p, rng_below(&r, 6) * PAGE_BYTES);
        assert_int_equal(before - freed, pages_used(pool));
        assert_int_equal(can - freed, prefix_evictable(p));
        for (int k = 0; k < HELD; k++) {
            if (!held[k].node) continue;
            struct prefix_path path;
            prefix_match(t, held[k].seq.token, held[k].seq.n, &path);
            assert_ptr_equal(path.node, held[k].node);
            check_path(&path, held[k].seq.token);
        }
    }
    for (int k = 0; k < HELD; k++)
        if (held[k].node) prefix_release(held[k].node);
    prefix_drop_model(p, 1);
    assert_int_equal(pages_used(pool), 0);
    prefix_free(p);
    pages_close(pool);
}

static void test_keys_are_apart(void **state) {
    (void)state;
    struct pages *pool = pages_open(1 << 20, NULL);
    struct prefix *p = prefix_new(pool, PAGE, NULL);
    struct prefix_tree *a = prefix_tree(p, &(struct prefix_key){1, 1, 1, 0});
    struct prefix_tree *b = prefix_tree(p, &(struct prefix_key){1, 2, 1, 0});
    struct prefix_tree *c = prefix_tree(p, &(struct prefix_key){2, 1, 1, 0});
    int32_t token[PAGE] = {1, 2, 3, 4};
    struct prefix_node *n = add_sequence(p, pool, a, token, PAGE);
    struct prefix_path path;
    prefix_match(a, token, PAGE, &path);
    assert_int_equal(path.n, PAGE);
    prefix_match(b, token, PAGE, &path);
    assert_int_equal(path.n, 0);
    prefix_match(c, token, PAGE, &path);
    assert_int_equal(path.n, 0);
    struct prefix_node *m = add_sequence(p, pool, b, token, PAGE);
    assert_true(prefix_hash(n) != prefix_hash(m));
    prefix_release(n);
    prefix_release(m);
    prefix_free(p);
    assert_int_equal(pages_used(pool), 0);
    pages_close(pool);
}

/* A cheap, long unused conversation goes before an expensive or fresh one. */
static void test_eviction_order(void **state) {
    (void)state;
    struct pages *pool = pages_open(1 << 20, NULL);
    struct prefix *p = prefix_new(pool, PAGE, NULL);
    struct prefix_tree *cheap = prefix_tree(p, &(struct prefix_key){1, 1, 1, 0});
    struct prefix_tree *dear = prefix_tree(p, &(struct prefix_key){2, 1, 100, 0});
    int32_t token[PAGE] = {1, 2, 3, 4}, other[PAGE] = {5, 6, 7, 8};
    prefix_release(add_sequence(p, pool, dear, token, PAGE));
    prefix_release(add_sequence(p, pool, cheap, token, PAGE));
    struct prefix_path path;
    assert_int_equal(prefix_evict(p, 1), PAGE_BYTES);
    prefix_match(cheap, token, PAGE, &path);
    assert_int_equal(path.n, 0);
    /* Ageing: many cheap ones come and go, and in the end the dear one is the oldest. */
    bool gone = false;
    for (int i = 0; i < 1000 && !gone; i++) {
        other[0] = i;
        prefix_release(add_sequence(p, pool, cheap, other, PAGE));
        prefix_match(cheap, other, PAGE, &path);
        prefix_touch(path.node);
        if (i) prefix_evict(p, 1);
        prefix_match(dear, token, PAGE, &path);
        gone = path.n == 0;
    }
    assert_true(gone);
    prefix_free(p);
    pages_close(pool);
}

static void test_marks(void **state) {
    (void)state;
    struct pages *pool = pages_open(1 << 20, NULL);
    struct prefix *p = prefix_new(pool, PAGE, NULL);
    struct prefix_tree *t = prefix_tree(p, &(struct prefix_key){1, 1, 1, 0});
    int32_t token[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    prefix_release(add_sequence(p, pool, t, token, 10));
    struct prefix_path path;
    int at = -1;
    prefix_match(t, token, 10, &path);
    assert_int_equal(path.n, 10);
    assert_null(prefix_find_mark(&path, 10, &at));
    struct page *w = page_new(pool, 100);
    assert_true(prefix_add_mark(path.node, 4, 6, &(struct prefix_mark_page){1, 1, w}, 1));
    assert_true(prefix_add_mark(path.part, 8, 10, &(struct prefix_mark_page){1, 2, w}, 1));
    page_unref(pool, w);
    assert_int_equal(prefix_evictable(p), 3 * PAGE_BYTES + 200); /* a shared page counts twice */
    const struct prefix_mark *m = prefix_find_mark(&path, 9, &at);
    assert_non_null(m);
    assert_int_equal(at, 9);
    assert_int_equal(m->page[0].index, 2);
    m = prefix_find_mark(&path, 7, &at);
    assert_int_equal(at, 6);
    assert_int_equal(m->page[0].index, 1);
    assert_null(prefix_find_mark(&path, 3, &at));
    /* A longer leaf takes over the marks of the one it continues. */
    int32_t longer[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    prefix_release(add_sequence(p, pool, t, longer, 12));
    assert_int_equal(pages_used(pool), 3 * PAGE_BYTES + 100);
    prefix_match(t, longer, 12, &path);
    m = prefix_find_mark(&path, 11, &at);
    assert_int_equal(at, 10);
    assert_int_equal(prefix_evict(p, SIZE_MAX), 3 * PAGE_BYTES + 200);
    assert_int_equal(pages_used(pool), 0);
    prefix_free(p);
    pages_close(pool);
}

static void test_behind(void **state) {
    (void)state;
    struct pages *pool = pages_open(1 << 20, NULL);
    struct prefix *p = prefix_new(pool, PAGE, NULL);
    struct prefix_tree *t = prefix_tree(p, &(struct prefix_key){1, 1, 1, 0});
    int32_t token[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, ask[6] = {1, 2, 3, 4, 5, 77}, got[8];
    prefix_release(add_sequence(p, pool, t, token, 10));
    struct prefix_path path;
    prefix_match(t, ask, 6, &path);
    assert_int_equal(path.n, 5);
    assert_int_equal(prefix_behind(&path, got, 8), 5);
    assert_memory_equal(got, token + 5, 5 * sizeof *got);
    assert_int_equal(prefix_behind(&path, got, 2), 2);
    prefix_match(t, token, 10, &path);
    assert_int_equal(prefix_behind(&path, got, 8), 0);
    prefix_free(p);
    pages_close(pool);
}

static void test_no_memory(void **state) {
    (void)state;
    for (int n = 1; n < 8; n++) {
        struct pages *pool = pages_open(1 << 20, NULL);
        mem_fail_after(n);
        struct prefix *p = prefix_new(pool, PAGE, NULL);
        struct prefix_tree *t = p ? prefix_tree(p, &(struct prefix_key){1, 1, 1, 0}) : NULL;
        if (t) prefix_reserve(p, 3);
        mem_fail_after(0);
        prefix_free(p);
        pages_close(pool);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_naive),  cmocka_unit_test(test_hold_and_evict),
        cmocka_unit_test(test_keys_are_apart), cmocka_unit_test(test_eviction_order),
        cmocka_unit_test(test_marks),          cmocka_unit_test(test_behind),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
