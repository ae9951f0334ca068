/* What the server is doing and did last: the list of running answers and a short history with the
 * cache's explanation of each miss. Any thread. */
#ifndef HOLDFAST_SERVE_TRACK_H
#define HOLDFAST_SERVE_TRACK_H

#include "serve/answer.h"

enum { TRACK_HISTORY = 256, TRACK_BUCKETS = 12 };

struct track;

/* One request, copied. */
struct track_view {
    char id[32], path[64], key[64];
    const char *model; /* the configuration's */
    int64_t started;   /* seconds since 1970 */
    double seconds;    /* so far, or in the end */
    bool running, failed, stream;
    struct hold_progress progress; /* of the prompt, while it runs */
    int64_t n_generated;
    struct hold_done done; /* of its first answer, when it is over */
    bool has_miss;
    struct hold_miss miss;
    char notes[256]; /* what the template made of it, shortened */
};

struct track *track_open(const char *log_prompts, struct err *e);
void track_close(struct track *t);

/* Called by answer.c: an answer runs, got further, is over. */
void track_start(struct track *t, struct answer *a);
void track_progress(struct answer *a, int i, const struct hold_event *ev);
void track_end(struct answer *a, bool failed);

/* Ends every running answer with an error event: the server stops. */
void track_stop(struct track *t);
bool track_stopping(struct track *t);

/* Running ones first, then the newest; false past the end. */
bool track_view(struct track *t, size_t i, struct track_view *out);
bool track_find(struct track *t, const char *id, struct track_view *out);
/* false: it does not run (any more). */
bool track_cancel(struct track *t, const char *id);

/* Times to the first token since the start, in buckets; the last has no upper bound. */
extern const double track_bucket[TRACK_BUCKETS - 1]; /* upper bounds, seconds */
struct track_ttft {
    uint64_t count[TRACK_BUCKETS];
    double seconds; /* summed */
};
void track_ttft(struct track *t, struct track_ttft *out);

#endif
