/* What the files of engine/ share: the structs behind include/holdfast.h and who owns which part.
 *
 * A request begins on the caller's thread (request.c: render, tokenize, compile), crosses to the
 * engine thread through hold_engine.inbox, runs there as a sequence (sched.c decides what a step
 * computes, seq.c keeps pages and the prefix tree, output.c turns tokens into text and blocks),
 * and comes back through its event queue (events.c). What is not marked otherwise is touched by
 * the engine thread alone. */
#ifndef HOLDFAST_ENGINE_ENGINE_H
#define HOLDFAST_ENGINE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "cache/prefix.h"
#include "engine/events.h"
#include "engine/ledger.h"
#include "engine/output.h"
#include "engine/prompt.h"
#include "engine/seq.h"
#include "engine/slice.h"
#include "holdfast.h"
#include "sample/grammar.h"
#include "text/vocab.h"

enum { N_PROBS_MAX = 256 };

struct engine_call { /* a function that another thread has run on the engine's, and waits for */
    void (*fn)(void *ctx);
    void *ctx;
    struct engine_call *next;
    bool done;
};

struct hold_engine {
    struct hold_engine_options o;
    struct backend *backend; /* opened by the engine thread: its pool counts that as worker 0 */
    struct pages *pool;
    struct prefix *prefix;
    struct ledger *ledger; /* shared */
    struct disk *disk;     /* or NULL */
    int page_len;
    struct hold_model *models;
    uint64_t n_requests; /* also the id of the last one */
    uint64_t round;      /* of sched_step */
    bool tight;          /* somebody was parked, and nobody has ended since */

    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work, answered;
    struct hold_request *inbox; /* submitted, newest first */
    struct engine_call *calls;
    bool poked, stop;
};

struct hold_model {
    struct hold_engine *eng;
    struct hold_model *next;
    struct arena arena; /* texts of info */
    struct gguf *gguf;
    struct vocab *vocab;              /* immutable: any thread */
    struct token_memo *memo;          /* any thread */
    struct prompt_template templates; /* immutable: any thread */
    struct model *model;
    struct hold_model_info info; /* immutable: any thread */
    int n_groups;
    struct model_group group[ENGINE_GROUPS_MAX];
    size_t page_bytes[ENGINE_GROUPS_MAX];
    bool windowed; /* some group drops pages: reuse starts at marks */
    struct prefix_key key;
    int n_logits, stream_rows; /* logits rows of one step, and of one HOLD_LOGITS event */

    struct hold_request *waiting; /* queued and parked, in the order of their rank */
    struct hold_request **active; /* (info.n_parallel) */
    int n_active, n_waiting, n_parked;
    struct step *step; /* buffers of a step: sched.c */
    struct slice_rates rates;
    uint64_t spent_ns, tried;    /* time it has had; round of sched_step it was last tried in */
    struct hold_stats stats;     /* the engine thread's */
    struct hold_stats published; /* a copy, guarded by eng->lock */

    pthread_mutex_t text_lock; /* guards the making of grammar_vocab */
    struct grammar_vocab *grammar_vocab;
    struct grammar_cache *grammars; /* any thread */
};

enum request_state {
    REQUEST_WAITING,
    REQUEST_PARKED, /* waits again, after its pages were taken */
    REQUEST_FETCH,  /* its pages come from the disk */
    REQUEST_PREFILL,
    REQUEST_DECODE,
    REQUEST_ENDED
};

struct hold_request {
    struct hold_engine *eng;
    struct hold_model *model;  /* gone once the request has ended and the model is unloaded */
    struct hold_request *next; /* in inbox or waiting */
    uint64_t id;
    atomic_int refs; /* the consumer's and the engine's */
    atomic_bool cancelled;
    enum request_state state;
    struct hold_request_options o; /* numbers only: pointers are cleared */
    struct arena arena;
    struct seq seq;
    struct events events; /* shared */
    struct output output;
    struct grammar *grammar;
    bool grammar_is_turn; /* it has a place for reasoning itself */
    json_t *tools;        /* the parser reads them */
    struct buf notes;
    struct chat_span *span; /* of the rendered text: what an explanation names */
    size_t n_span;
    bool bos_added;         /* the first token is not of that text */
    struct tokens only;     /* those the grammar leaves no choice about */
    struct tokens force;    /* what ends the reasoning when its budget is spent */
    size_t n_forced;        /* chosen so far */
    int32_t think_open;     /* first token of a reasoning block, or -1 */
    uint64_t tenant, scope; /* of the prefix tree, of the ledger */
    int64_t n_cached;       /* -1: not looked up yet */
    uint64_t submitted_ns, started_ns, first_ns, progress_ns; /* 0: not yet */
    pthread_mutex_t miss_lock;                                /* guards miss */
    struct hold_miss miss;
    bool has_miss;
};

/* engine.c */
void engine_call(struct hold_engine *eng, void (*fn)(void *ctx), void *ctx);
void engine_poke(void *eng); /* look again: an event was read, something was cancelled */
void engine_submit(struct hold_request *r);
void error_out(struct hold_error *to, const struct err *from);
/* Copies an option struct of the caller's size over our defaults. */
void options_take(void *to, size_t size, const void *from);

/* sched.c */
bool sched_model_init(struct hold_model *m, struct err *e);
void sched_model_free(struct hold_model *m);
void sched_enqueue(struct hold_request *r);
/* Drops what was cancelled, then one step of one model; false: nothing to do until poked. */
bool sched_step(struct hold_engine *eng);
void sched_cancel_all(struct hold_model *m);

/* request.c */
static inline bool request_streams(const struct hold_request *r) {
    return r->o.want_logits || r->o.want_hidden;
}
void request_unref(struct hold_request *r);

#endif
