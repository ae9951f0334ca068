/* From generated tokens to the events of a request: characters, stop strings, blocks. One per
 * request; the engine thread feeds it. */
#ifndef HOLDFAST_ENGINE_OUTPUT_H
#define HOLDFAST_ENGINE_OUTPUT_H

#include "base/err.h"
#include "base/str.h"
#include "engine/events.h"
#include "text/vocab.h"

struct output {
    const struct vocab *vocab;
    struct events *events;
    const struct str *stop; /* not empty, each */
    size_t n_stop;
    size_t longest_stop;
    struct vocab_stream stream;
    struct buf raw;  /* everything generated, control tokens too */
    struct buf text; /* of the current block, held back because a stop string may begin in it */
    int stopped;     /* index of the stop string that was found, or -1 */
    int n_blocks;
    bool open;               /* a block has been started */
    struct hold_block block; /* the current one */
    int n_calls;
    bool failed; /* no memory */
};

void output_init(struct output *o, const struct vocab *v, struct events *q, const struct str *stop,
                 size_t n_stop);
void output_free(struct output *o);
/* Room for one more token, so that output_token does not allocate. */
bool output_reserve(struct output *o);
/* Emits what is certain after this token. Look at stopped and failed afterwards. */
void output_token(struct output *o, int32_t id);
/* The answer is over; cut: it ran into a limit. Emits the rest. */
void output_finish(struct output *o, bool cut);

/* Where in text the first stop string begins, *which is its index; text.len when there is none.
 * *safe: bytes before anything that could become one. */
size_t output_find_stop(struct str text, const struct str *stop, size_t n_stop, int *which,
                        size_t *safe);

#endif
