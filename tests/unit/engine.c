/* The engine from its public door, on a fake model whose answers depend on every page it sees:
 * sharing, forks, parking, cancelling, windows, priorities, slow readers, refused memory. */
#include "fake_client.h"

#include <pthread.h>

static void test_one(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(100);
    struct hold_model *m = open_model(eng, 4);
    struct rng rng = {5};
    int32_t ids[700];
    static struct answer a;
    random_prompt(&rng, ids, 700);
    static const int length[] = {1, 2, 63, 64, 65, 127, 128, 129, 500, 700};
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) {
        struct hold_request_options o = ids_request(ids, (size_t)length[i], 50);
        ask(m, &o, &a);
        check(&a, ids, length[i], 50);
    }
    hold_engine_close(eng);
}

/* A conversation that grows: each turn computes only what is new. */
static void test_turns_are_cached(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(200);
    struct hold_model *m = open_model(eng, 4);
    struct rng rng = {6};
    int32_t ids[MAX];
    static struct answer a;
    int n = 300, had = 0;
    random_prompt(&rng, ids, n);
    for (int turn = 0; turn < 5; turn++) {
        struct hold_request_options o = ids_request(ids, (size_t)n, 30);
        ask(m, &o, &a);
        check(&a, ids, n, 30);
        /* The last token was never computed, so at most one is missing. */
        assert_in_range(a.done.n_cached, had ? had - 1 : 0, had);
        memcpy(ids + n, a.token, (size_t)a.n * sizeof *ids);
        n += a.n;
        had = n;
        random_prompt(&rng, ids + n, 20);
        n += 20;
    }
    /* Again, exactly: all but the one that gives the logits. */
    struct hold_request_options o = ids_request(ids, 300, 30);
    ask(m, &o, &a);
    check(&a, ids, 300, 30);
    assert_int_equal(a.done.n_cached, 299);
    o.no_cache = true;
    ask(m, &o, &a);
    check(&a, ids, 300, 30);
    assert_int_equal(a.done.n_cached, 0);
    o.no_cache = false;
    o.cache_key = "somebody else";
    ask(m, &o, &a);
    check(&a, ids, 300, 30);
    assert_int_equal(a.done.n_cached, 0);
    hold_engine_close(eng);
}

/* Forks at every position of a cached sequence. */
static void test_forks(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(600);
    struct hold_model *m = open_model(eng, 4);
    struct rng rng = {7};
    int32_t ids[210], fork[210];
    static struct answer a;
    random_prompt(&rng, ids, 210);
    struct hold_request_options o = ids_request(ids, 200, 5);
    ask(m, &o, &a);
    for (int at = 0; at <= 200; at += 3) {
        memcpy(fork, ids, sizeof ids);
        random_prompt(&rng, fork + at, 210 - at);
        o = ids_request(fork, 210, 5);
        ask(m, &o, &a);
        check(&a, fork, 210, 5);
        assert_true(a.done.n_cached >= at);
    }
    hold_engine_close(eng);
}

/* Many threads, shared prefixes, cancels, a pool that is far too small: every answer is right. */
struct client {
    struct hold_model *m;
    uint64_t seed;
    const int32_t *shared;
    int n_requests, n_wrong, max_prompt;
};

static void *client_main(void *arg) {
    struct client *c = arg;
    struct rng rng = {c->seed};
    struct answer *a = malloc(sizeof *a);
    int32_t ids[MAX];
    for (int i = 0; i < c->n_requests; i++) {
        int share = (int)rng_below(&rng, (uint64_t)c->max_prompt / 2);
        int n = share + 1 + (int)rng_below(&rng, (uint64_t)c->max_prompt / 2);
        int max = 1 + (int)rng_below(&rng, 100);
        memcpy(ids, c->shared, (size_t)share * sizeof *ids);
        random_prompt(&rng, ids + share, n - share);
        struct hold_request_options o = ids_request(ids, (size_t)n, max);
        o.priority = rng_below(&rng, 3) ? HOLD_INTERACTIVE : HOLD_BACKGROUND;
        struct hold_request *r = hold_request_submit(c->m, &o, NULL);
        struct hold_event ev;
        if (rng_below(&rng, 8) == 0) { /* leaves after an event or two */
            hold_request_next(r, &ev, 5);
            if (rng_below(&rng, 2)) hold_request_cancel(r);
            else {
                hold_request_free(r);
                continue;
            }
        }
        read_answer(r, a);
        hold_request_free(r);
        if (!right(a, ids, n, max)) c->n_wrong++;
    }
    free(a);
    return NULL;
}

static void crowd(uint64_t pages, int n_parallel, int max_prompt) {
    enum { CLIENTS = 24 };
    struct hold_engine *eng = open_engine(pages);
    struct hold_model *m = open_model(eng, n_parallel);
    struct rng rng = {8};
    int32_t shared[MAX];
    random_prompt(&rng, shared, MAX);
    pthread_t thread[CLIENTS];
    struct client c[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        c[i] = (struct client){m, (uint64_t)i + 100, shared, 25, 0, max_prompt};
        pthread_create(&thread[i], NULL, client_main, &c[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(c[i].n_wrong, 0);
    }
    struct hold_stats st = {.size = sizeof st};
    do { /* those that nobody waited for may still be on their way */
        usleep(1000);
        hold_model_stats(m, &st);
    } while (st.n_running + st.n_queued + st.n_parked > 0);
    assert_int_equal(st.n_failed, 0);
    assert_int_equal(st.n_finished, st.n_requests);
    hold_model_unload(m);
    hold_engine_close(eng);
}

static void test_crowd(void **state) {
    (void)state;
    crowd(2000, 16, 300);
}
static void test_crowd_in_a_small_pool(void **state) {
    (void)state;
    crowd(14, 16, 300); /* one sequence takes up to 7 pages */
}
static void test_crowd_with_windows(void **state) {
    (void)state;
    fake_window = 100;
    crowd(2000, 16, 600);
    crowd(40, 16, 600);
    fake_window = 0;
}

static void test_windows(void **state) {
    (void)state;
    fake_window = 100;
    struct hold_engine *eng = open_engine(200);
    struct hold_model *m = open_model(eng, 4);
    struct rng rng = {9};
    int32_t ids[MAX];
    static struct answer a;
    int n = 500;
    random_prompt(&rng, ids, n);
    struct hold_request_options o = ids_request(ids, (size_t)n, 30);
    ask(m, &o, &a);
    check(&a, ids, n, 30);
    ask(m, &o, &a); /* the same: from the mark at the end of the prompt */
    check(&a, ids, n, 30);
    assert_int_equal(a.done.n_cached, n - 1);
    memcpy(ids + n, a.token, (size_t)a.n * sizeof *ids);
    n += a.n;
    random_prompt(&rng, ids + n, 20);
    o = ids_request(ids, (size_t)n + 20, 30);
    ask(m, &o, &a);
    check(&a, ids, n + 20, 30);
    assert_in_range(a.done.n_cached, n - 1, n);
    ids[250]++; /* no mark there: from the start, and right */
    ask(m, &o, &a);
    check(&a, ids, n + 20, 30);
    assert_int_equal(a.done.n_cached, 0);
    struct hold_stats st = {.size = sizeof st};
    hold_model_stats(m, &st);
    assert_true(st.kv_used < 40 * PAGE_BYTES);
    hold_engine_close(eng);
    fake_window = 0;
}

static void test_overflow(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(10);
    struct hold_model *m = open_model(eng, 4);
    static int32_t ids[5000];
    static struct answer a;
    struct hold_error e = {0};
    struct rng rng = {10};
    random_prompt(&rng, ids, 5000);
    struct hold_request_options o = ids_request(ids, 5000, 10);
    assert_null(hold_request_submit(m, &o, &e));
    assert_int_equal(e.code, HOLD_ERR_OVERFLOW);
    assert_int_equal(e.n_prompt, 5000);
    assert_int_equal(e.n_ctx, 4096);
    /* It fits the context, but not the pool. */
    o = ids_request(ids, 2000, 10);
    ask(m, &o, &a);
    assert_int_equal(a.last, HOLD_ERROR);
    assert_int_equal(a.error.code, HOLD_ERR_OVERFLOW);
    /* The pool ends while it answers. */
    fake_end_every = 1 << 30;
    o = ids_request(ids, 600, 200);
    ask(m, &o, &a);
    assert_int_equal(a.last, HOLD_DONE);
    assert_int_equal(a.done.finish, HOLD_FINISH_LENGTH);
    assert_in_range(a.n, 40, 41);
    fake_end_every = 40;
    o = ids_request(ids, 0, 10);
    assert_null(hold_request_submit(m, &o, &e));
    ids[3] = 12345;
    o = ids_request(ids, 10, 10);
    assert_null(hold_request_submit(m, &o, &e));
    assert_int_equal(e.code, HOLD_ERR_ARG);
    hold_engine_close(eng);
}

static void test_logits_not_finite(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(100);
    struct hold_model *m = open_model(eng, 4);
    int32_t ids[20];
    static struct answer a;
    struct rng rng = {11};
    random_prompt(&rng, ids, 20);
    struct hold_request_options o = ids_request(ids, 20, 10);
    fake_nan_at = 19;
    ask(m, &o, &a);
    fake_nan_at = 0;
    assert_int_equal(a.last, HOLD_ERROR);
    ask(m, &o, &a);
    check(&a, ids, 20, 10);
    hold_engine_close(eng);
}

static void test_streams_logits(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(100);
    struct hold_model *m = open_model(eng, 4);
    enum { N = 500, FROM = 100 };
    int32_t ids[N];
    struct rng rng = {12};
    random_prompt(&rng, ids, N);
    struct hold_request_options o = ids_request(ids, N, 0);
    for (int round = 0; round < 2; round++) { /* cached prefixes change nothing */
        o.want_logits = true;
        o.logits_from = FROM;
        struct hold_request *r = hold_request_submit(m, &o, NULL);
        struct hold_event ev;
        int next = FROM;
        while (hold_request_next(r, &ev, 30000) == 1) {
            if (ev.kind != HOLD_LOGITS) continue;
            assert_int_equal(ev.logits.first, next);
            for (int i = 0; i < ev.logits.n_rows; i++, next++) {
                float want[FAKE_VOCAB];
                fake_logits(fake_hash(ids, next + 1), want);
                assert_memory_equal(ev.logits.rows + i * FAKE_VOCAB, want, sizeof want);
            }
        }
        assert_int_equal(ev.kind, HOLD_DONE);
        assert_int_equal(next, N);
        hold_request_free(r);
    }
    hold_engine_close(eng);
}

/* A consumer that does not read holds up itself and nobody else. */
static void test_slow_reader(void **state) {
    (void)state;
    fake_end_every = 1 << 30;
    struct hold_engine *eng = open_engine(400);
    struct hold_model *m = open_model(eng, 4);
    int32_t ids[20];
    static struct answer a, b;
    struct rng rng = {13};
    random_prompt(&rng, ids, 20);
    struct hold_request_options o = ids_request(ids, 20, 900);
    o.n_probs = 40;
    struct hold_request *slow = hold_request_submit(m, &o, NULL);
    struct hold_request_options p = ids_request(ids, 19, 900);
    ask(m, &p, &a);
    check(&a, ids, 19, 900);
    struct hold_stats st = {.size = sizeof st};
    hold_model_stats(m, &st);
    assert_true(st.n_generated_tokens < 1700);
    read_answer(slow, &b);
    check(&b, ids, 20, 900);
    hold_request_free(slow);
    hold_engine_close(eng);
    fake_end_every = 40;
}

static void test_stop_strings(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(100);
    struct hold_model *m = open_model(eng, 4);
    static struct answer a, b;
    struct hold_request_options o = ids_request((int32_t[]){5, 6, 7}, 3, 60);
    o.ids = NULL;
    o.text = "hello there";
    o.text_len = 11;
    o.ignore_end = true;
    ask(m, &o, &a);
    assert_true(a.text_len > 60);
    /* Stops in the middle of the text: cut there, whatever the tokens are. */
    for (size_t at = 5; at < 50; at += 3) {
        char stop[8] = {0};
        memcpy(stop, a.text + at, 5);
        if (strlen(stop) < 5) continue;
        const char *stops[] = {"never seen", stop};
        o.stop = stops;
        o.n_stop = 2;
        ask(m, &o, &b);
        size_t first = (size_t)(strstr(a.text, stop) - a.text);
        if (first > at) continue;
        assert_int_equal(b.done.finish, HOLD_FINISH_STOP_STRING);
        assert_int_equal(b.done.stop, 1);
        assert_int_equal(b.text_len, first);
        assert_memory_equal(b.text, a.text, first);
    }
    o.stop = (const char *[]){""};
    o.n_stop = 1;
    assert_null(hold_request_submit(m, &o, NULL));
    hold_engine_close(eng);
}

/* Interactive requests take the places of background ones. */
static void test_priority(void **state) {
    (void)state;
    fake_end_every = 1 << 30;
    fake_delay_us = 300;
    struct hold_engine *eng = open_engine(100);
    struct hold_model *m = open_model(eng, 2);
    int32_t ids[3][20];
    static struct answer a, b;
    struct rng rng = {14};
    struct hold_request *back[2];
    for (int i = 0; i < 3; i++) random_prompt(&rng, ids[i], 20);
    for (int i = 0; i < 2; i++) {
        struct hold_request_options o = ids_request(ids[i], 20, 900);
        o.priority = HOLD_BACKGROUND;
        back[i] = hold_request_submit(m, &o, NULL);
    }
    struct hold_request_options o = ids_request(ids[2], 20, 30);
    ask(m, &o, &a);
    check(&a, ids[2], 20, 30);
    struct hold_stats st = {.size = sizeof st};
    hold_model_stats(m, &st);
    assert_true(st.n_finished <= 1);
    for (int i = 0; i < 2; i++) {
        read_answer(back[i], &b);
        check(&b, ids[i], 20, 900);
        hold_request_free(back[i]);
    }
    hold_engine_close(eng);
    fake_end_every = 40;
    fake_delay_us = 0;
}

/* A prompt that another request is just computing is computed once. */
static void test_same_prompt_at_once(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(300);
    struct hold_model *m = open_model(eng, 8);
    int32_t ids[800];
    static struct answer a;
    struct rng rng = {15};
    random_prompt(&rng, ids, 800);
    fake_delay_us = 2000;
    struct hold_request_options o = ids_request(ids, 800, 5);
    struct hold_request *r[6];
    long before = fake_rows;
    for (int i = 0; i < 6; i++) r[i] = hold_request_submit(m, &o, NULL);
    for (int i = 0; i < 6; i++) {
        read_answer(r[i], &a);
        check(&a, ids, 800, 5);
        hold_request_free(r[i]);
    }
    assert_true(fake_rows - before < 800 + 5 * KV_UNIT + 128 + 6 * 6);
    fake_delay_us = 0;
    hold_engine_close(eng);
}

/* A cancelled answer computes at most the step it is in, and leaves its prefix behind. */
static void test_cancel(void **state) {
    (void)state;
    enum { N = 1000, UBATCH = 128 };
    struct hold_engine *eng = open_engine(300);
    struct hold_model *m = open_model(eng, 4);
    int32_t ids[N];
    static struct answer a;
    struct rng rng = {18};
    random_prompt(&rng, ids, N);
    fake_end_every = 1 << 30;
    fake_delay_us = 3000;
    for (int phase = 0; phase < 2; phase++) { /* while it answers, and during its prefill */
        struct hold_request_options o = ids_request(ids, phase ? N : N / 2, 900);
        struct hold_request *r = hold_request_submit(m, &o, NULL);
        struct hold_event ev = {.kind = HOLD_DONE};
        enum hold_event_kind until = phase ? HOLD_PROGRESS : HOLD_TOKEN;
        while (ev.kind != until) assert_int_equal(hold_request_next(r, &ev, 30000), 1);
        long before = fake_rows;
        hold_request_cancel(r);
        read_answer(r, &a);
        hold_request_free(r);
        assert_int_equal(a.done.finish, HOLD_FINISH_CANCELLED);
        assert_true(fake_rows - before <= UBATCH);
        o = ids_request(ids, N / 2, 5);
        ask(m, &o, &a);
        check(&a, ids, N / 2, 5);
        assert_int_equal(a.done.n_cached, N / 2 - 1);
    }
    fake_delay_us = 0;
    fake_end_every = 40;
    hold_engine_close(eng);
}

static void test_two_models(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(30);
    struct hold_model *m[2] = {open_model(eng, 4), open_model(eng, 4)};
    int32_t ids[600];
    static struct answer a;
    struct rng rng = {16};
    random_prompt(&rng, ids, 600);
    struct hold_request *r[8];
    struct hold_request_options o = ids_request(ids, 600, 40);
    for (int i = 0; i < 8; i++) r[i] = hold_request_submit(m[i % 2], &o, NULL);
    for (int i = 0; i < 8; i++) {
        read_answer(r[i], &a);
        check(&a, ids, 600, 40);
        hold_request_free(r[i]);
    }
    hold_model_unload(m[0]);
    ask(m[1], &o, &a);
    check(&a, ids, 600, 40);
    hold_engine_close(eng);
}

static void test_explains_a_miss(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(100);
    struct hold_model *m = open_model(eng, 4);
    static struct answer a;
    struct hold_request_options o = ids_request(NULL, 0, 1);
    static const char *const text[] = {"the quick brown fox jumps", "the quick red fox jumps"};
    struct hold_miss miss = {0};
    for (int i = 0; i < 2; i++) {
        o.ids = NULL;
        o.text = text[i];
        o.text_len = strlen(text[i]);
        struct hold_request *r = hold_request_submit(m, &o, NULL);
        read_answer(r, &a);
        assert_true(hold_request_explain(r, &miss));
        hold_request_free(r);
    }
    assert_int_equal(strncmp(miss.cached_text, "brown", 5), 0);
    assert_int_equal(strncmp(miss.found_text, "red", 3), 0);
    hold_engine_close(eng);
}

/* Every allocation fails once, at load, submit and run: an error or the right answer. */
static void test_no_memory(void **state) {
    (void)state;
    int32_t ids[100];
    static struct answer a;
    struct rng rng = {17};
    random_prompt(&rng, ids, 100);
    bool done = false;
    for (int n = 1; n < 1000000 && !done; n += 1 + n / 16) {
        struct hold_engine_options eo;
        struct hold_model_options mo;
        hold_engine_options_init(&eo, sizeof eo);
        eo.n_threads = 1;
        eo.kv_bytes = 50 * PAGE_BYTES;
        hold_model_options_init(&mo, sizeof mo);
        mo.path = path;
        mo.n_ubatch = 64;
        mem_fail_after(n);
        struct hold_engine *eng = hold_engine_open(&eo, NULL);
        struct hold_model *m = eng ? hold_model_load(eng, &mo, NULL) : NULL;
        struct hold_request_options o = ids_request(ids, 100, 20);
        struct hold_request *r = m ? hold_request_submit(m, &o, NULL) : NULL;
        if (r) {
            read_answer(r, &a);
            if (a.last == HOLD_DONE && a.n == 20) check(&a, ids, 100, 20);
            else
                assert_int_equal(a.last == HOLD_DONE ? a.done.finish : HOLD_FINISH_LENGTH,
                                 HOLD_FINISH_LENGTH);
        }
        done = mem_fail_after(0) > 0;
        hold_request_free(r);
        hold_engine_close(eng);
    }
    assert_true(done);
}

static void test_bench(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(100);
    struct hold_model *m = open_model(eng, 4);
    uint64_t ns[3] = {0};
    struct hold_bench_options o = {.n_prompt = 200, .n_gen = 10, .n_depth = 300, .n_reps = 3};
    struct hold_error e;
    assert_true(hold_bench(m, &o, ns, &e));
    assert_true(ns[0] && ns[1] && ns[2]);
    o.n_depth = 10000;
    assert_false(hold_bench(m, &o, ns, &e));
    assert_int_equal(e.code, HOLD_ERR_OVERFLOW);
    struct hold_stats st = {.size = sizeof st};
    hold_model_stats(m, &st);
    assert_int_equal(st.kv_used, 0);
    hold_engine_close(eng);
}

static void test_bad_options(void **state) {
    (void)state;
    struct hold_error e;
    struct hold_engine *eng = open_engine(10);
    struct hold_model_options o;
    hold_model_options_init(&o, sizeof o);
    assert_null(hold_model_load(eng, &o, &e));
    o.path = "/nowhere/x.gguf";
    assert_null(hold_model_load(eng, &o, &e));
    assert_int_equal(e.code, HOLD_ERR_IO);
    o.path = path;
    o.k_type = "q9";
    assert_null(hold_model_load(eng, &o, &e));
    assert_int_equal(e.code, HOLD_ERR_ARG);
    assert_non_null(strstr(e.msg, "there is no K/V type 'q9'"));
    hold_engine_close(eng);
    struct hold_engine_options eo;
    hold_engine_options_init(&eo, sizeof eo);
    eo.prefill_share = 2;
    assert_null(hold_engine_open(&eo, &e));
}

/* What a schema asks for in vain is reported, also when the grammar comes out of the cache. */
static void test_grammar_notes(void **state) {
    (void)state;
    struct hold_engine *eng = open_engine(100);
    struct hold_model *m = open_model(eng, 1);
    const int32_t ids[] = {3, 4, 5};
    for (int i = 0; i < 3; i++) {
        struct hold_request_options o = ids_request(ids, 3, 4);
        struct hold_error e = {0};
        static struct answer a;
        o.grammar_kind = HOLD_GRAMMAR_SCHEMA;
        o.grammar = "{\"type\":\"string\",\"format\":\"nonesuch\"}";
        o.grammar_strict = i == 2;
        struct hold_request *r = hold_request_submit(m, &o, &e);
        if (i == 2) { /* strict: another grammar, and an error */
            assert_null(r);
            assert_non_null(strstr(e.msg, "nonesuch"));
            continue;
        }
        assert_non_null(r);
        assert_non_null(strstr(hold_request_notes(r), "nonesuch"));
        read_answer(r, &a);
        hold_request_free(r);
    }
    hold_model_unload(m);
    hold_engine_close(eng);
}

int main(void) {
    if (!fake_path("engine")) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_grammar_notes),
        cmocka_unit_test(test_turns_are_cached),
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_crowd_in_a_small_pool),
        cmocka_unit_test(test_crowd_with_windows),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_logits_not_finite),
        cmocka_unit_test(test_streams_logits),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_same_prompt_at_once),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_two_models),
        cmocka_unit_test(test_explains_a_miss),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_bad_options),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return rc;
}
