/* From generated tokens to the events of a request: characters, blocks, stop strings. One per
 * request; the engine thread feeds it. */
#ifndef HOLDFAST_ENGINE_OUTPUT_H
#define HOLDFAST_ENGINE_OUTPUT_H

#include "base/err.h"
#include "base/str.h"
#include "engine/events.h"
#include "text/toolcall.h"
#include "text/vocab.h"

enum { OUTPUT_ID = 64 };

struct output_piece { /* where the text of a block stands in `raw` */
    enum hold_block_kind kind;
    bool exact; /* byte for byte */
    size_t from, to;
    char id[OUTPUT_ID];
};

struct output {
    const struct vocab *vocab;
    struct events *events;
    const struct str *stop; /* not empty, each */
    size_t n_stop;
    struct toolcall *parser; /* NULL: all of it is one text block */
    struct str call_close;   /* of its template */
    struct vocab_stream stream;
    struct buf raw;             /* everything generated, control tokens too */
    struct buf text;            /* of the current block, held back: a stop string may begin in it */
    struct buf name;            /* of the current call */
    struct hold_block block;    /* the current one */
    char id[OUTPUT_ID];         /* of the current call */
    struct output_piece *piece; /* of every block, with a parser */
    size_t n_pieces, piece_cap;
    bool open;             /* a block has been started */
    bool thinking;         /* the answer is inside a reasoning block */
    bool finished, failed; /* failed: no memory */
    int stopped;           /* index of the stop string that was found, or -1 */
    int n_blocks, n_calls;
    int64_t n_reasoning; /* tokens */
    uint64_t id_state;   /* for the ids of calls */
};

void output_init(struct output *o, const struct vocab *v, struct events *q, const struct str *stop,
                 size_t n_stop);
/* Reads the answer with a template's parser. thinking: the prompt leaves reasoning open. */
bool output_parse(struct output *o, const struct descr *d, const struct toolcall_options *how,
                  bool thinking, struct err *e);
void output_free(struct output *o);
/* Room for one more token. */
bool output_reserve(struct output *o);
/* Emits what is certain after this token. Look at stopped and failed afterwards. */
void output_token(struct output *o, int32_t id);
/* Whether this token, which ends the answer, is markup that the parser waits for. */
bool output_ends_call(const struct output *o, int32_t id);
/* The answer is over; cut: it ran into a limit. Emits the rest. Further calls do nothing. */
void output_finish(struct output *o, bool cut);

/* Where in text the first stop string begins, *which is its index; text.len when there is none.
 * *safe: bytes before anything that could become one. */
size_t output_find_stop(struct str text, const struct str *stop, size_t n_stop, int *which,
                        size_t *safe);

#endif
