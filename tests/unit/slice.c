/* Slice sizes: chosen from measured times only, within the budget, learned anew when times change.
 * A machine is a function from rows to time; steps and slices run on a clock that it moves. */
#include "engine/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { N_PARTS = 32, MOST = 512 };
static const double SHARE = 0.4;

struct machine {
    double decode_ns, unpack_ns, mixer_row_ns, ffn_row_ns;
    uint64_t now;
    double longest, prefill_ns, total_ns; /* of what ran beside decoding; longest: a turn */
    int n_rows, n_turns, n_over;          /* over: by more than a quarter of the budget */
};

static void run_part(struct machine *m, int kind, int n) {
    double row = kind ? m->ffn_row_ns : m->mixer_row_ns;
    m->now += (uint64_t)(m->unpack_ns + row * n);
}

/* Turns of a slice until it is done or given up; each behind a step that decodes. */
static bool slice(struct machine *m, struct slice_rates *r, int n) {
    struct slice_run run;
    slice_start(&run, r, n);
    for (int part = 0; part < N_PARTS;) {
        uint64_t begin = m->now;
        m->now += (uint64_t)m->decode_ns;
        slice_measure_step(r, 1, 0, (uint64_t)m->decode_ns);
        double budget = slice_budget(r, SHARE);
        slice_turn(&run, budget, m->now);
        do run_part(m, part % 2, n);
        while (++part, !slice_pause(&run, part, m->now) && part < N_PARTS);
        double turn = (double)(m->now - begin);
        m->longest = turn > m->longest ? turn : m->longest;
        m->n_turns++;
        m->n_over += turn > m->decode_ns + 1.25 * budget;
        m->total_ns += turn;
        m->prefill_ns += turn - m->decode_ns;
        if (part < N_PARTS / 2 && n > SLICE_MIN && slice_too_coarse(&run, budget)) {
            slice_measure(r, &run, n);
            return false;
        }
    }
    slice_measure(r, &run, n);
    m->n_rows += n;
    return true;
}

static void work(struct machine *m, struct slice_rates *r, int n_slices) {
    m->longest = m->prefill_ns = m->total_ns = 0;
    m->n_rows = m->n_turns = m->n_over = 0;
    for (int i = 0; i < n_slices; i++) slice(m, r, slice_rows(r, 1, MOST, N_PARTS, SHARE));
}

/* Time per token of whole batches of MOST, per time per token of what ran beside decoding. */
static double kept(const struct machine *m) {
    double alone =
        (2 * m->unpack_ns + (m->mixer_row_ns + m->ffn_row_ns) * MOST) * N_PARTS / 2 / MOST;
    return alone / (m->total_ns / m->n_rows);
}

static void test_nothing_decodes(void **state) {
    (void)state;
    struct slice_rates r = {0};
    assert_int_equal(slice_rows(&r, 0, MOST, N_PARTS, SHARE), MOST);
    assert_int_equal(slice_rows(&r, 1, MOST, N_PARTS, SHARE), SLICE_MIN);
    assert_int_equal(slice_rows(&r, 1, 3, N_PARTS, SHARE), 3);
}

/* Times of a 1B model on two cores, from a cold start: soon within the budget, and most of the
 * share is used. */
static void test_settles(void **state) {
    (void)state;
    struct machine m = {45e6, 4e6, 60e3, 235e3, 0, 0, 0, 0, 0, 0, 0};
    struct slice_rates r = {0};
    work(&m, &r, 20);
    work(&m, &r, 100);
    assert_true(m.n_over * 100 <= m.n_turns);
    assert_true(m.prefill_ns / m.total_ns > 0.8 * SHARE);
    assert_true(kept(&m) > 0.7 * SHARE);
}

/* Attention deep in a prompt makes mixers ten times as long, and then prompts are short again. */
static void test_follows_depth(void **state) {
    (void)state;
    struct machine m = {45e6, 4e6, 60e3, 235e3, 0, 0, 0, 0, 0, 0, 0};
    struct slice_rates r = {0};
    work(&m, &r, 100);
    int before = slice_rows(&r, 1, MOST, N_PARTS, SHARE);
    m.mixer_row_ns *= 10;
    work(&m, &r, 20);
    work(&m, &r, 100);
    assert_true(m.n_over * 100 <= m.n_turns);
    assert_true(m.longest < 4 * m.decode_ns);
    assert_true(kept(&m) > 0.5 * SHARE);
    m.mixer_row_ns /= 10;
    work(&m, &r, 300);
    assert_in_range(slice_rows(&r, 1, MOST, N_PARTS, SHARE), before * 3 / 4, before * 4 / 3);
}

/* What was learned from batches alone is too large to begin with, and no more than that. */
static void test_after_large_batches(void **state) {
    (void)state;
    struct machine m = {45e6, 4e6, 60e3, 235e3, 0, 0, 0, 0, 0, 0, 0};
    struct slice_rates r = {0};
    slice(&m, &r, MOST);
    work(&m, &r, 1);
    assert_true(m.longest < 4 * m.decode_ns);
    work(&m, &r, 20);
    assert_true(m.n_over * 100 <= m.n_turns);
}

/* Parts that are longer than the budget at any size: one a turn, of the smallest slices. */
static void test_coarse_model(void **state) {
    (void)state;
    struct machine m = {10e6, 30e6, 60e3, 235e3, 0, 0, 0, 0, 0, 0, 0};
    struct slice_rates r = {0};
    work(&m, &r, 50);
    assert_int_equal(slice_rows(&r, 1, MOST, N_PARTS, SHARE), SLICE_MIN);
    assert_true(m.n_rows > 0);
}

static void test_rides(void **state) {
    (void)state;
    struct slice_rates r = {0};
    assert_int_equal(slice_ride(&r, 0, SHARE), 0);
    assert_int_equal(slice_ride(&r, 1, SHARE), 1);
    slice_measure_step(&r, 1, 0, 45000000);
    slice_measure_step(&r, 1, 1, 54000000);
    assert_int_equal(slice_ride(&r, 1, SHARE), 3); /* 30 ms of 9 each */
    assert_int_equal(slice_ride(&r, 8, SHARE), 0);
    slice_measure_step(&r, 1, 64, 900000000); /* not one that rides */
    assert_int_equal(slice_ride(&r, 1, SHARE), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_decodes),     cmocka_unit_test(test_settles),
        cmocka_unit_test(test_follows_depth),       cmocka_unit_test(test_coarse_model),
        cmocka_unit_test(test_after_large_batches), cmocka_unit_test(test_rides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
