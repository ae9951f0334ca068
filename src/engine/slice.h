/* How many prompt tokens make a slice, and how long it runs beside sequences that decode.
 * A slice is computed in parts (a layer's mixer or ffn each), a few after each decoding step, so
 * its size is a matter of throughput, and the size of its parts one of smoothness. Both are chosen
 * from times that were measured here. Pure arithmetic on numbers; no clock of its own. */
#ifndef HOLDFAST_ENGINE_SLICE_H
#define HOLDFAST_ENGINE_SLICE_H

#include <stdbool.h>
#include <stdint.h>

enum { SLICE_MIN = 8, SLICE_SIZES = 10 }; /* sizes 8, 16, ... 4096 */

struct slice_cost { /* running means over slices of 8 << i tokens and more; n 0: none yet */
    double n;       /* tokens */
    double part[2]; /* ns of a mixer, of an ffn */
};
struct slice_rates {
    double decode_ns; /* of a step that only decodes; 0: not measured */
    double ride_ns;   /* of one prompt token more in such a step */
    struct slice_cost cost[SLICE_SIZES];
};

/* One slice under way. */
struct slice_run {
    double expect[2]; /* ns of a part of each kind */
    double ns[2];     /* all of each kind so far */
    int n[2];
    double budget;        /* ns for this turn */
    uint64_t begin, last; /* of the turn, of the part */
};

/* Moves a running mean towards x; 0: no mean yet. */
void slice_follow(double *mean, double x);
/* Time that prompts may take beside a step of the sequences that decode: about `share` of both. */
double slice_budget(const struct slice_rates *r, double share);
/* Prompt tokens that may be computed in the very step of n_decode rows: a prompt's short rest. */
int slice_ride(const struct slice_rates *r, int n_decode, double share);
/* Tells what a step of n_decode rows and n_ride prompt tokens took. */
void slice_measure_step(struct slice_rates *r, int n_decode, int n_ride, uint64_t ns);
/* Prompt tokens of the next slice: all of `most` when nothing decodes, else the size that gets
 * through prompts fastest in turns that fit the budget. */
int slice_rows(const struct slice_rates *r, int n_decode, int most, int n_parts, double share);

/* A slice of n_rows tokens begins; a turn of it. */
void slice_start(struct slice_run *s, const struct slice_rates *r, int n_rows);
void slice_turn(struct slice_run *s, double budget, uint64_t now);
/* A part has ended; whether the next one has to wait. */
bool slice_pause(struct slice_run *s, int part, uint64_t now);
/* Whether parts are so much larger than the budget that smaller slices should be made of it. */
bool slice_too_coarse(const struct slice_run *s, double budget);
/* Tells what the parts took of a slice of n_rows tokens, whole or not. */
void slice_measure(struct slice_rates *r, const struct slice_run *s, int n_rows);

#endif
