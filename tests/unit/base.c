/* The ground everything stands on: text, buffers, arenas, JSON limits, the worker pool. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_str(void **state) {
    (void)state;
    assert_int_equal(str_find(STR("abcabd"), STR("abd"), 0), 3);
    assert_int_equal(str_find(STR("abcabd"), STR("abc"), 1), -1);
    assert_int_equal(str_find(STR("aaa"), STR(""), 3), 3);
    assert_int_equal(str_find(STR("aaa"), STR("aaaa"), 0), -1);
    assert_true(str_starts(STR("abc"), STR("ab")) && str_ends(STR("abc"), STR("bc")));
    assert_false(str_ends(STR("c"), STR("bc")));
    assert_int_equal(str_distance("--temp", "--tmep"), 2);
    assert_int_equal(str_distance("", "abc"), 3);
}

/* Every code point survives, and every way of being invalid gives U+FFFD and one byte. */
static void test_utf8(void **state) {
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp += cp < 0x3000 ? 1 : 37) {
        char c[4];
        uint32_t back;
        if (cp >= 0xD800 && cp < 0xE000) continue;
        size_t n = utf8_encode(cp, c);
        assert_int_equal(utf8_decode(c, n, &back), n);
        assert_int_equal(back, cp);
        assert_true(utf8_valid(c, n));
        assert_int_equal(utf8_complete(c, n), n);
        for (size_t cut = 1; cut < n; cut++) {
            assert_int_equal(utf8_complete(c, cut), 0);
            assert_false(utf8_valid(c, cut));
        }
    }
    const char *const bad[] = {
        "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x80\x80",
        "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t cp;
        assert_int_equal(utf8_decode(bad[i], strlen(bad[i]), &cp), 1);
        assert_int_equal(cp, 0xFFFD);
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    }
}

static void test_buf(void **state) {
    (void)state;
    struct buf b = {.limit = 10};
    assert_true(buf_printf(&b, "%d-%s", 12, "ab"));
    assert_string_equal(b.p, "12-ab");
    assert_false(buf_cstr(&b, "123456"));
    assert_true(b.failed);
    assert_false(buf_char(&b, 'x'));
    assert_string_equal(b.p, "12-ab");
    buf_free(&b);
    mem_fail_after(1);
    assert_false(buf_cstr(&b, "x"));
    assert_true(b.failed);
    buf_free(&b);
    mem_fail_after(0);
}

/* What debug builds do to an allocation inside a step. */
static void test_forbid(void **state) {
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(2);
        mem_forbid("a test");
        mem_free(mem_alloc(1));
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    mem_forbid("a test");
    mem_forbid(NULL);
    void *p = mem_alloc(1);
    assert_non_null(p);
    mem_free(p);
}

static void test_mem(void **state) {
    (void)state;
    struct arena a = {.limit = 100000};
    char *first = arena_alloc(&a, 10), *big = arena_alloc(&a, 50000), *second = arena_alloc(&a, 10);
    assert_non_null(big);
    assert_int_equal(second - first, 16); /* a large piece does not end the block in use */
    assert_null(arena_alloc(&a, 60000));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    arena_free(&a);
    assert_null(mem_array(SIZE_MAX / 2, 3));
    unsigned char *p = mem_aligned(5 << 20);
    assert_int_equal((uintptr_t)p % (2 << 20), 0);
    for (size_t i = 0; i < 5 << 20; i += 4096) assert_int_equal(p[i], 0);
    mem_free_aligned(p);
}

static void test_json(void **state) {
    (void)state;
    struct err e = {0};
    char deep[2 * LIMIT_JSON_DEPTH + 16];
    memset(deep, '[', LIMIT_JSON_DEPTH + 1);
    assert_null(json_parse((struct str){deep, LIMIT_JSON_DEPTH + 1}, 1000, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    assert_null(json_parse(STR("{\"a\": }"), 1000, &e));
    assert_int_equal(e.code, ERR_FORMAT);
    assert_non_null(strstr(e.msg, "column"));
    assert_null(json_parse(STR("[1]"), 2, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    json_t *v = json_parse(STR("{\"b\": \"\\u0000[[{\", \"a\": 1.0}"), 1000, &e);
    assert_non_null(v);
    assert_int_equal(json_get_str(v, "b").len, 4);
    struct buf out = {0};
    assert_true(json_write(&out, v));
    assert_string_equal(out.p, "{\"b\":\"\\u0000[[{\",\"a\":1.0}");
    buf_free(&out);
    json_decref(v);
}

struct sums {
    struct pool_tasks tasks;
    atomic_llong total;
};

static void add_range(void *ctx, int worker) {
    struct sums *s = ctx;
    int64_t begin, end;
    (void)worker;
    while (pool_take(&s->tasks, &begin, &end))
        for (int64_t i = begin; i < end; i++) atomic_fetch_add(&s->total, i);
}

static void test_pool(void **state) {
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        struct err e = {0};
        struct pool *p = pool_open(threads, false, &e);
        assert_non_null(p);
        for (int64_t n = 0; n < 300; n += 7) {
            struct sums s = {.total = 0};
            pool_tasks_reset(&s.tasks, n, 3);
            pool_run(p, add_range, &s);
            assert_int_equal(s.total, n * (n - 1) / 2);
        }
        pool_close(p);
    }
}

/* A worker may be between two phases when the pool closes: it must see that, and call nothing. */
static void test_pool_closes(void **state) {
    (void)state;
    for (int i = 0; i < 10000; i++) {
        struct err e = {0};
        struct pool *p = pool_open(3, false, &e);
        assert_non_null(p);
        for (int64_t n = 0; n < 3; n++) {
            struct sums s = {.total = 0};
            pool_tasks_reset(&s.tasks, n, 1);
            pool_run(p, add_range, &s);
        }
        pool_close(p);
    }
}

static void test_err(void **state) {
    (void)state;
    struct err e = {0};
    assert_false(err_set_at(&e, ERR_FORMAT, 17, "bad %s", "thing"));
    assert_false(err_prefix(&e, "file %d", 3));
    assert_string_equal(e.msg, "file 3: bad thing");
    assert_int_equal(e.pos, 17);
    assert_int_equal(e.code, ERR_FORMAT);
    for (int i = 0; i < 60; i++) err_prefix(&e, "a rather long prefix");
    assert_true(strlen(e.msg) < sizeof e.msg);
    assert_false(err_set(NULL, ERR_IO, "nobody listens"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str),    cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_buf),    cmocka_unit_test(test_mem),
        cmocka_unit_test(test_forbid), cmocka_unit_test(test_json),
        cmocka_unit_test(test_pool),   cmocka_unit_test(test_pool_closes),
        cmocka_unit_test(test_err),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
