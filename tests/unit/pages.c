/* The page pool: budget, references, reuse, idle pages that make room, failed allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "cache/pages.h"

static void budget_is_kept(void **state) {
    (void)state;
    struct err e;
    struct pages *p = pages_open(10000, &e);
    struct page *a = page_new(p, 4000), *b = page_new(p, 6000);
    assert_non_null(a), assert_non_null(b);
    assert_true((uintptr_t)a->data % 64 == 0 && (uintptr_t)b->data % 64 == 0);
    assert_true(pages_used(p) == 10000 && pages_peak(p) == 10000 && pages_budget(p) == 10000);
    assert_null(page_new(p, 1));
    page_ref(a);
    page_unref(p, a);
    assert_true(pages_used(p) == 10000);
    page_unref(p, a);
    page_unref(p, NULL);
    assert_true(pages_used(p) == 6000 && pages_idle(p) == 4000);
    assert_null(page_new(p, 4001));
    page_unref(p, b);
    pages_close(p);
}

static void pages_come_back(void **state) {
    (void)state;
    struct err e;
    struct pages *p = pages_open(10000, &e);
    struct page *a = page_new(p, 4000), *b = page_new(p, 4000);
    unsigned char *first = a->data;
    page_unref(p, a);
    struct page *c = page_new(p, 4000);
    assert_ptr_equal(c->data, first);
    assert_int_equal(pages_idle(p), 0);
    page_unref(p, b), page_unref(p, c);
    assert_int_equal(pages_idle(p), 8000);
    struct page *other = page_new(p, 5000); /* one idle page of the other size goes, one stays */
    assert_non_null(other);
    assert_int_equal(pages_idle(p), 4000);
    pages_trim(p);
    assert_int_equal(pages_idle(p), 0);
    page_unref(p, other);
    pages_close(p);
}

static void refused_memory(void **state) {
    (void)state;
    struct err e;
    for (int n = 1; n <= 2; n++) {
        struct pages *p = pages_open(10000, &e);
        mem_fail_after(n);
        assert_null(page_new(p, 100));
        mem_fail_after(0);
        assert_int_equal(pages_used(p), 0);
        pages_close(p);
    }
    mem_fail_after(1);
    assert_null(pages_open(1, &e));
    mem_fail_after(0);
    assert_int_equal(e.code, ERR_NOMEM);
}

/* Random traffic over more sizes than the pool keeps lists for; every page keeps its bytes. */
static void traffic(void **state) {
    (void)state;
    enum { N = 200 };
    struct page *held[N] = {0};
    struct err e;
    struct rng r = {9};
    struct pages *p = pages_open(200000, &e);
    uint64_t used = 0;
    for (int i = 0; i < 20000; i++) {
        size_t at = rng_below(&r, N);
        if (held[at]) {
            for (size_t j = 0; j < held[at]->bytes; j += 97)
                assert_int_equal(held[at]->data[j], at);
            used -= held[at]->bytes;
            page_unref(p, held[at]);
            held[at] = NULL;
        } else {
            size_t bytes = 1000 + 10 * rng_below(&r, 100);
            held[at] = page_new(p, bytes);
            assert_true((held[at] != NULL) == (used + bytes <= 200000));
            if (!held[at]) continue;
            memset(held[at]->data, (int)at, bytes);
            used += bytes;
        }
        assert_true(pages_used(p) == used && used + pages_idle(p) <= 200000);
    }
    for (int i = 0; i < N; i++) page_unref(p, held[i]);
    pages_close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget_is_kept),
        cmocka_unit_test(pages_come_back),
        cmocka_unit_test(refused_memory),
        cmocka_unit_test(traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
