/* Running what was asked, and handing events to an API's formatter.
 *
 * An API implements struct answer_sink: functions that format one event each into `out`. With
 * answer_stream they are called as the answer comes and their text goes to the client at once;
 * with answer_reply the answer is collected first and one function formats it whole. */
#ifndef HOLDFAST_SERVE_ANSWER_H
#define HOLDFAST_SERVE_ANSWER_H

#include "serve/ask.h"

/* One block of a collected answer. */
struct answer_block {
    enum hold_block_kind kind;
    char *id, *name; /* of a call */
    struct buf text; /* of a call: its arguments */
    bool cut;
};
struct answer_token { /* collected when the ask wants tokens */
    int32_t id;
    float logprob;
    struct str bytes;
    int n_top;
    const struct hold_top *top;
};
/* One of the n answers. */
struct answer_choice {
    struct hold_request *request;
    struct hold_done done;
    bool is_done;
    struct answer_block *block;
    size_t n_blocks, cap_blocks;
    struct answer_token *token;
    size_t n_tokens, cap_tokens;
};

struct answer {
    struct http_req *http;
    const struct answer_sink *sink;
    void *ctx; /* the API's own state, freed by sink->close */
    struct ask *ask;
    struct answer_choice *choice; /* (ask->n) */
    int n;
    int64_t created;         /* seconds since 1970 */
    struct tracked *tracked; /* its place in the list of running answers (track.h) */
    struct answer_run *run;  /* private: waiting */
    int64_t n_prompt, n_cached, n_generated; /* summed over the choices, when done */
};

/* All members but done and error may be NULL. `i` is the choice. Text appended to out is sent. */
struct answer_sink {
    void (*start)(struct answer *a, struct buf *out); /* before anything else, at once */
    void (*progress)(struct answer *a, int i, const struct hold_progress *p, struct buf *out);
    /* HOLD_BLOCK_START, _DELTA, _END in order */
    void (*block)(struct answer *a, int i, const struct hold_event *ev, struct buf *out);
    void (*token)(struct answer *a, int i, const struct hold_token *t, struct buf *out);
    void (*choice)(struct answer *a, int i, struct buf *out); /* choice i is done */
    void (*done)(struct answer *a, struct buf *out);          /* all are */
    /* The answer breaks off: an error event, so that nobody takes it for a normal end. */
    void (*error)(struct answer *a, const struct http_error *e, struct buf *out);
    /* Nothing was sent for a while: a sign of life in the form this API's clients count. */
    void (*alive)(struct answer *a, struct buf *out);
    /* The whole answer as one JSON value (answer_reply). NULL: no memory. */
    json_t *(*whole)(struct answer *a);
    void (*close)(struct answer *a); /* frees ctx */
    const char *type;                /* of the stream: SSE_TYPE, NDJSON_TYPE */
    bool keep; /* collect blocks and tokens while streaming too (whole is called at the end) */
};

/* Submits and answers `ask` (taken over, freed at the end; so is ctx, through close): as a stream
 * when ask->stream, else in one piece. Refusals go through refuse. The last thing a handler does.
 */
void answer_run(struct http_req *r, struct ask *ask, const struct answer_sink *sink, void *ctx,
                http_refuse refuse);

/* The text of all blocks of a kind, in order, as a JSON string; NULL when there are none. */
json_t *answer_text(const struct answer_choice *c, enum hold_block_kind kind);
/* A call's arguments as an object. One that a limit cut is none: its text stands under one key. */
json_t *answer_arguments(struct str text);
/* "chatcmpl-" and the request's id: prefix, then 24 hex digits. Into out (at least 64 bytes). */
void answer_id(const struct answer *a, const char *prefix, char *out, size_t size);

#endif
