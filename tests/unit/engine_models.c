/* The engine on real weights: tiny models with known greedy tokens, through the public door, with
 * every kind of sharing. Models of tests/vectors and, where present, of ../shared/vectors. */
#include "holdfast.h"

#include "base/json.h"
#include "base/limits.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX = 4096 };

struct model_case {
    char name[256];
    json_t *json;
    struct hold_engine *eng;
    struct hold_model *m;
};

static struct hold_request_options ids_request(const int32_t *ids, int n, int64_t max_tokens) {
    struct hold_request_options o;
    hold_request_options_init(&o, sizeof o);
    o.ids = ids;
    o.n_ids = (size_t)n;
    o.max_tokens = max_tokens;
    o.want_tokens = true;
    o.ignore_end = true;
    o.sampling.temp = 0;
    return o;
}

/* Reads to the end; returns the number of tokens. */
static int collect(struct hold_request *r, int32_t *out, struct hold_done *done) {
    struct hold_event ev;
    int n = 0, rc;
    while ((rc = hold_request_next(r, &ev, 60000)) == 1) {
        if (ev.kind == HOLD_ERROR) fail_msg("%s", ev.error.msg);
        if (ev.kind == HOLD_TOKEN) out[n++] = ev.token.id;
        if (ev.kind == HOLD_DONE && done) *done = ev.done;
    }
    assert_int_equal(rc, -1);
    hold_request_free(r);
    return n;
}

static int ask(struct hold_model *m, struct hold_request_options o, int32_t *out,
               struct hold_done *done) {
    struct hold_error e = {0};
    struct hold_request *r = hold_request_submit(m, &o, &e);
    if (!r) fail_msg("%s", e.msg);
    return collect(r, out, done);
}

static int read_ids(const json_t *list, int32_t *out) {
    int n = (int)json_array_size(list);
    for (int i = 0; i < n; i++)
        out[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    return n;
}

/* The reference's greedy tokens, asked for twice: the second time from the cache. */
static void check_greedy(const struct model_case *c, const json_t *sequence) {
    int32_t ids[MAX], want[MAX], got[MAX];
    int n = read_ids(json_object_get(sequence, "tokens"), ids);
    int k = read_ids(json_object_get(sequence, "greedy"), want);
    struct hold_done done;
    for (int round = 0; round < 2 && k > 0; round++) {
        struct hold_request_options o = ids_request(ids, n, k);
        assert_int_equal(ask(c->m, o, got, &done), k);
        assert_memory_equal(got, want, (size_t)k * sizeof *got);
        if (round) assert_int_equal(done.n_cached, n - 1);
    }
}

/* Forks of one sequence at many positions, all at once, against each one alone without a cache. */
static void check_forks(const struct model_case *c, const json_t *sequence) {
    enum { FORKS = 12, ANSWER = 6 };
    int32_t ids[FORKS][MAX], got[MAX], alone[MAX];
    int n = read_ids(json_object_get(sequence, "tokens"), ids[0]);
    struct hold_request *r[FORKS];
    for (int i = 1; i < FORKS; i++) {
        memcpy(ids[i], ids[0], sizeof ids[0]);
        for (int at = n * i / FORKS; at < n; at++) ids[i][at] = ids[0][(at * 7 + i) % n];
    }
    for (int i = 0; i < FORKS; i++) {
        struct hold_request_options o = ids_request(ids[i], n, ANSWER);
        r[i] = hold_request_submit(c->m, &o, NULL);
        assert_non_null(r[i]);
    }
    for (int i = 0; i < FORKS; i++) {
        int k = collect(r[i], got, NULL);
        struct hold_request_options o = ids_request(ids[i], n, ANSWER);
        o.no_cache = true;
        assert_int_equal(ask(c->m, o, alone, NULL), k);
        assert_memory_equal(got, alone, (size_t)k * sizeof *got);
    }
}

/* Streamed logits (or hidden states) are the same bits from a cache of other requests and from
 * none. */
static void check_rows(const struct model_case *c, const json_t *sequence, bool hidden) {
    int32_t ids[MAX];
    int n = read_ids(json_object_get(sequence, "tokens"), ids), from = n / 2;
    const struct hold_model_info *info = hold_model_info(c->m);
    size_t n_cols = (size_t)(hidden ? info->n_embd : info->n_vocab);
    float *rows[2];
    for (int round = 0; round < 2; round++) {
        struct hold_request_options o = ids_request(ids, n, 0);
        struct hold_event ev;
        int next = from;
        o.want_logits = !hidden;
        o.want_hidden = hidden;
        o.logits_from = from;
        o.no_cache = round == 0;
        rows[round] = malloc((size_t)n * n_cols * sizeof(float));
        struct hold_request *r = hold_request_submit(c->m, &o, NULL);
        while (hold_request_next(r, &ev, 60000) == 1) {
            if (ev.kind != (hidden ? HOLD_HIDDEN : HOLD_LOGITS)) continue;
            assert_int_equal(ev.logits.first, next);
            memcpy(rows[round] + (size_t)(next - from) * n_cols, ev.logits.rows,
                   (size_t)ev.logits.n_rows * n_cols * sizeof(float));
            next += ev.logits.n_rows;
        }
        assert_int_equal(next, n);
        hold_request_free(r);
    }
    assert_memory_equal(rows[0], rows[1], (size_t)(n - from) * n_cols * sizeof(float));
    free(rows[0]);
    free(rows[1]);
}

static bool open_case(struct model_case *c, const char *dir, const char *name, int64_t n_ctx) {
    char path[1024];
    struct hold_error e = {0};
    struct hold_engine_options eo;
    struct hold_model_options mo;
    hold_engine_options_init(&eo, sizeof eo);
    hold_model_options_init(&mo, sizeof mo);
    eo.n_threads = 2;
    eo.kv_bytes = 64 << 20;
    snprintf(path, sizeof path, "%s/%s.gguf", dir, name);
    mo.path = path;
    mo.k_type = mo.v_type = "f32";
    mo.n_ctx = (int)n_ctx;
    c->eng = hold_engine_open(&eo, &e);
    assert_non_null(c->eng);
    c->m = hold_model_load(c->eng, &mo, &e);
    if (!c->m && e.code != HOLD_ERR_UNSUPPORTED) fail_msg("%s", e.msg);
    return c->m != NULL;
}

static int run_dir(const char *dir) {
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *f; d && (f = readdir(d));) {
        struct model_case c = {0};
        char *dot = strstr(f->d_name, ".json"), path[1024];
        if (!dot || strcmp(dot, ".json") != 0) continue;
        snprintf(c.name, sizeof c.name, "%.*s", (int)(dot - f->d_name), f->d_name);
        snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
        c.json = json_load(path, LIMIT_JSON_BYTES, NULL);
        assert_non_null(c.json);
        json_t *list = json_object_get(c.json, "sequences");
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *s = json_array_get(list, i);
            if (json_is_true(json_object_get(s, "mtp"))) continue;
            int64_t n_ctx = json_integer_value(json_object_get(s, "n_ctx"));
            if (open_case(&c, dir, c.name, n_ctx)) {
                check_greedy(&c, s);
                check_forks(&c, s);
                check_rows(&c, s, false);
                check_rows(&c, s, true);
                n++;
            }
            hold_engine_close(c.eng);
        }
        json_decref(c.json);
    }
    if (d) closedir(d);
    return n;
}

static void test_own_models(void **state) {
    (void)state;
    if (run_dir("tests/vectors/models") == 0) skip();
}

static void test_shared_models(void **state) {
    (void)state;
    char dir[1024];
    const char *shared = getenv("HOLDFAST_SHARED");
    snprintf(dir, sizeof dir, "%s/vectors/models", shared ? shared : "../shared");
    if (run_dir(dir) == 0) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_models),
        cmocka_unit_test(test_shared_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
