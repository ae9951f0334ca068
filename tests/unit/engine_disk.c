/* The engine over its disk cache, on the fake model, whose answers show every page that is not what
 * it should be: restarts, evicted prefixes, windows, damage, cancelling on the way, two tenants. */
#include "fake_client.h"

#include <dirent.h>
#include <pthread.h>

enum { N = 700, ANSWER = 30 };

static char top[64];
static int32_t ids[MAX];
static struct answer a;

static void fresh_dir(void) {
    static char dir[96];
    static int n;
    struct rng rng = {(uint64_t)n + 50};
    snprintf(dir, sizeof dir, "%s/%d", top, n++);
    disk_dir = dir;
    random_prompt(&rng, ids, MAX);
}

/* Asks for the first n tokens and checks the answer; returns how many were cached. */
static int64_t cached(struct hold_model *m, int n) {
    struct hold_request_options o = ids_request(ids, (size_t)n, ANSWER);
    ask(m, &o, &a);
    check(&a, ids, n, ANSWER);
    return a.done.n_cached;
}

static int64_t after_restart(int n) {
    struct hold_engine *eng = open_engine(200);
    int64_t got = cached(open_model(eng, 4), n);
    hold_engine_close(eng);
    return got;
}

static void test_restart(void **state) {
    (void)state;
    fresh_dir();
    assert_int_equal(after_restart(N), 0);
    assert_int_equal(after_restart(N), N / KV_UNIT * KV_UNIT);
    assert_int_equal(after_restart(640), 640 - KV_UNIT); /* one token is left to compute */
    assert_int_equal(after_restart(N - 200), (N - 200) / KV_UNIT * KV_UNIT);
    ids[300]++; /* from there on it is another prompt */
    assert_int_equal(after_restart(N), 300 / KV_UNIT * KV_UNIT);
    ids[300]--;
    assert_int_equal(after_restart(N), N / KV_UNIT * KV_UNIT);
    disk_dir = NULL;
    assert_int_equal(after_restart(N), 0);
}

static void test_windows(void **state) {
    (void)state;
    fake_window = 100;
    test_restart(state);
    fake_window = 0;
}

/* What the pool has lost the disk still has. */
static void test_evicted(void **state) {
    (void)state;
    fresh_dir();
    struct hold_engine *eng = open_engine(16);
    struct hold_model *m = open_model(eng, 4);
    static int32_t other[MAX];
    struct rng rng = {3};
    cached(m, N);
    memcpy(other, ids, sizeof ids);
    random_prompt(&rng, ids, MAX);
    cached(m, N); /* evicts the first */
    memcpy(ids, other, sizeof ids);
    assert_in_range(cached(m, N), N / KV_UNIT * KV_UNIT, N - 1);
    hold_engine_close(eng);
}

static void test_other_tenant(void **state) {
    (void)state;
    fresh_dir();
    assert_int_equal(after_restart(N), 0);
    struct hold_engine *eng = open_engine(200);
    struct hold_model *m = open_model(eng, 4);
    struct hold_request_options o = ids_request(ids, N, ANSWER);
    o.cache_key = "somebody else";
    ask(m, &o, &a);
    check(&a, ids, N, ANSWER);
    assert_int_equal(a.done.n_cached, 0);
    hold_engine_close(eng);
}

/* Bytes of the files change while the engine runs and between two engines. */
static void damage(uint64_t seed) {
    struct rng rng = {seed};
    DIR *d = opendir(disk_dir);
    for (struct dirent *f; (f = readdir(d));) {
        char file[512];
        if (f->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s", disk_dir, f->d_name);
        FILE *x = fopen(file, "r+b");
        fseek(x, 0, SEEK_END);
        long at = (long)rng_below(&rng, (uint64_t)ftell(x));
        fseek(x, at, SEEK_SET);
        int c = fgetc(x);
        fseek(x, at, SEEK_SET);
        fputc(c ^ 1, x);
        fclose(x);
    }
    closedir(d);
}

static void test_damage(void **state) {
    (void)state;
    fresh_dir();
    after_restart(N);
    for (uint64_t i = 0; i < 60; i++) {
        struct hold_engine *eng = open_engine(200);
        struct hold_model *m = open_model(eng, 4);
        damage(i);
        assert_in_range(cached(m, N), 0, N);
        hold_engine_close(eng);
        damage(i + 1000);
    }
}

/* Many at once in a small pool, with cancels: pages come and go in all ways. */
struct client {
    struct hold_model *m;
    uint64_t seed;
    int n_wrong;
};
static void *client_main(void *arg) {
    struct client *c = arg;
    struct rng rng = {c->seed};
    struct answer *mine = malloc(sizeof *mine);
    int32_t own[N];
    for (int i = 0; i < 30; i++) {
        int n = 65 + (int)rng_below(&rng, 300), share = (int)rng_below(&rng, (uint64_t)n);
        memcpy(own, ids, (size_t)share * sizeof *own);
        random_prompt(&rng, own + share, n - share);
        struct hold_request_options o = ids_request(own, (size_t)n, ANSWER);
        struct hold_request *r = hold_request_submit(c->m, &o, NULL);
        struct hold_event ev;
        if (rng_below(&rng, 4) == 0) {
            hold_request_next(r, &ev, (int64_t)rng_below(&rng, 3));
            hold_request_free(r);
            continue;
        }
        read_answer(r, mine);
        hold_request_free(r);
        c->n_wrong += !right(mine, own, n, ANSWER);
    }
    free(mine);
    return NULL;
}

static void test_crowd(void **state) {
    (void)state;
    enum { CLIENTS = 12 };
    fresh_dir();
    for (int round = 0; round < 2; round++) {
        struct hold_engine *eng = open_engine(14 + 20 * (uint64_t)round);
        struct hold_model *m = open_model(eng, 8);
        pthread_t thread[CLIENTS];
        struct client c[CLIENTS];
        for (int i = 0; i < CLIENTS; i++) {
            c[i] = (struct client){m, (uint64_t)i + 100, 0};
            pthread_create(&thread[i], NULL, client_main, &c[i]);
        }
        for (int i = 0; i < CLIENTS; i++) {
            pthread_join(thread[i], NULL);
            assert_int_equal(c[i].n_wrong, 0);
        }
        hold_engine_close(eng);
    }
}

/* Prefill only: everything may come from the disk, and nothing is computed. */
static void test_prefill_only(void **state) {
    (void)state;
    fresh_dir();
    after_restart(640);
    struct hold_engine *eng = open_engine(200);
    struct hold_request_options o = ids_request(ids, 640, 0);
    long before = fake_rows;
    ask(open_model(eng, 4), &o, &a);
    assert_int_equal(a.done.finish, HOLD_FINISH_LENGTH);
    assert_int_equal(a.done.n_cached, 640);
    assert_int_equal(fake_rows, before);
    hold_engine_close(eng);
}

static void test_unusable_folder(void **state) {
    (void)state;
    fresh_dir();
    disk_dir = "/proc/nowhere/x";
    assert_int_equal(after_restart(N), 0); /* a warning, and no cache */
}

int main(void) {
    snprintf(top, sizeof top, "/tmp/holdfast-engine-disk.XXXXXX");
    if (!mkdtemp(top) || !fake_path("engine-disk")) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart),      cmocka_unit_test(test_windows),
        cmocka_unit_test(test_evicted),      cmocka_unit_test(test_other_tenant),
        cmocka_unit_test(test_damage),       cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_prefill_only), cmocka_unit_test(test_unusable_folder),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    char command[192];
    snprintf(command, sizeof command, "rm -rf %s %s", top, path);
    return system(command) ? 1 : rc;
}
