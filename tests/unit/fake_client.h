/* Requests to an engine on the fake model, and what their answers must be. */
#ifndef HOLDFAST_TESTS_FAKE_CLIENT_H
#define HOLDFAST_TESTS_FAKE_CLIENT_H

#include "fake_model.h"
#include "holdfast.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PAGE_BYTES = KV_UNIT * FAKE_SLOT, MAX = 1024 };

static char path[64];
static const char *disk_dir; /* of engines that are opened, or NULL */

static bool fake_path(const char *name) {
    snprintf(path, sizeof path, "/tmp/holdfast-%s-%d.gguf", name, (int)getpid());
    return fake_write_gguf(path);
}

static struct hold_engine *open_engine(uint64_t pages) {
    struct hold_engine_options o;
    struct hold_error e;
    hold_engine_options_init(&o, sizeof o);
    o.n_threads = 1;
    o.kv_bytes = pages * PAGE_BYTES;
    o.disk_dir = disk_dir;
    struct hold_engine *eng = hold_engine_open(&o, &e);
    assert_non_null(eng);
    return eng;
}

static struct hold_model *open_model(struct hold_engine *eng, int n_parallel) {
    struct hold_model_options o;
    struct hold_error e = {0};
    hold_model_options_init(&o, sizeof o);
    o.path = path;
    o.n_parallel = n_parallel;
    o.n_ubatch = 128;
    struct hold_model *m = hold_model_load(eng, &o, &e);
    if (!m) print_error("%s\n", e.msg);
    assert_non_null(m);
    return m;
}

/* An answer as the consumer sees it. */
struct answer {
    int32_t token[MAX];
    int n;
    enum hold_event_kind last;
    struct hold_done done;
    struct hold_error error;
    char text[8 * MAX];
    size_t text_len;
    int n_starts, n_ends;
};

static void read_answer(struct hold_request *r, struct answer *a) {
    struct hold_event ev;
    memset(a, 0, sizeof *a);
    for (int rc; (rc = hold_request_next(r, &ev, 30000)) != -1;) {
        assert_int_equal(rc, 1);
        a->last = ev.kind;
        if (ev.kind == HOLD_TOKEN && ev.token.id != FAKE_EOS) a->token[a->n++] = ev.token.id;
        if (ev.kind == HOLD_BLOCK_START) a->n_starts++;
        if (ev.kind == HOLD_BLOCK_END) a->n_ends++;
        if (ev.kind == HOLD_BLOCK_DELTA) {
            memcpy(a->text + a->text_len, ev.block.text, ev.block.len);
            a->text_len += ev.block.len;
        }
        if (ev.kind == HOLD_DONE) a->done = ev.done;
        if (ev.kind == HOLD_ERROR) a->error = ev.error;
    }
    if (a->last == HOLD_DONE) assert_int_equal(a->n_starts, a->n_ends);
}

static struct hold_request_options ids_request(const int32_t *ids, size_t n, int64_t max_tokens) {
    struct hold_request_options o;
    hold_request_options_init(&o, sizeof o);
    o.ids = ids;
    o.n_ids = n;
    o.max_tokens = max_tokens;
    o.want_tokens = true;
    o.sampling.temp = 0;
    return o;
}

static void ask(struct hold_model *m, const struct hold_request_options *o, struct answer *a) {
    struct hold_error e = {0};
    struct hold_request *r = hold_request_submit(m, o, &e);
    if (!r) print_error("%s\n", e.msg);
    assert_non_null(r);
    read_answer(r, a);
    hold_request_free(r);
}

/* What the fake model must answer: the tokens, and whether it ends by itself. */
static int expect(const int32_t *prompt, int n, int max, int32_t *out, bool *ends) {
    static _Thread_local int32_t all[8192];
    memcpy(all, prompt, (size_t)n * sizeof *prompt);
    int k = 0;
    *ends = false;
    while (k < max) {
        int32_t t = fake_next(all, n + k);
        if (t == FAKE_EOS) {
            *ends = true;
            break;
        }
        all[n + k] = out[k] = t;
        k++;
    }
    return k;
}

static void check(const struct answer *a, const int32_t *prompt, int n, int max) {
    int32_t want[MAX];
    bool ends;
    int k = expect(prompt, n, max, want, &ends);
    assert_int_equal(a->last, HOLD_DONE);
    assert_int_equal(a->n, k);
    assert_memory_equal(a->token, want, (size_t)k * sizeof *want);
    assert_int_equal(a->done.finish, ends ? HOLD_FINISH_STOP : HOLD_FINISH_LENGTH);
    assert_int_equal(a->done.n_prompt, n);
    assert_int_equal(a->done.n_generated, k);
}

static void random_prompt(struct rng *r, int32_t *ids, int n) {
    for (int i = 0; i < n; i++) ids[i] = 3 + (int32_t)rng_below(r, 290);
}

/* Right as far as it goes: it may have been cancelled. */
static bool right(const struct answer *a, const int32_t *ids, int n, int max) {
    int32_t want[MAX];
    bool ends;
    int k = expect(ids, n, max, want, &ends);
    if (a->last != HOLD_DONE) return false;
    if (a->done.finish == HOLD_FINISH_CANCELLED) k = a->n <= k ? a->n : -1;
    return a->n == k && memcmp(a->token, want, (size_t)k * sizeof *want) == 0;
}

#endif
