/* The event queue of one request: the engine thread puts, one consumer thread reads.
 * Two buffers change places: the producer appends to one while pointers into the other stay valid.
 * The producer asks for room before it computes, so that putting never waits or allocates. */
#ifndef HOLDFAST_ENGINE_EVENTS_H
#define HOLDFAST_ENGINE_EVENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "holdfast.h"

enum {
    EVENTS_BYTES = 64 << 10,      /* of one buffer, to begin with */
    EVENTS_STEP_BYTES = 24 << 10, /* room that a step wants; what a parser gives back at once may
                                     be more, then the buffer grows */
    EVENTS_END_BYTES = 1 << 10    /* kept for the last event */
};

struct events_buffer {
    unsigned char *p;
    size_t len, at, cap; /* at: read up to here */
};
struct events_rows { /* a block of logits or hidden states on its way */
    float *p;
    bool busy;
};
struct events {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct events_buffer fill, drain;
    struct events_rows rows[2];
    int reading; /* index of the rows that the consumer looks at, or -1 */
    bool stalled, ended, end_read;
    void (*wake)(void *ctx); /* the consumer's */
    void *wake_ctx;
    void (*room)(void *ctx); /* the producer's: there is room again */
    void *room_ctx;
};

/* Hooks are set by the caller afterwards. max_rows > 0: rows are streamed in such blocks. */
bool events_init(struct events *q, int max_rows, int n_cols, struct err *e);
void events_free(struct events *q);

/* Producer. */
bool events_have_room(struct events *q);  /* false: `room` will be called when there is */
float *events_rows_get(struct events *q); /* a free block of max_rows rows, or NULL likewise */
/* Copies what ev points to. false: no memory; the last event always has room. */
bool events_put(struct events *q, const struct hold_event *ev);

/* Consumer: contract of hold_request_next. */
int events_next(struct events *q, struct hold_event *ev, int64_t timeout_ms);
/* The consumer goes: its wake is not called any more once this returns. */
void events_leave(struct events *q);

#endif
