/* Records in a buffer: a header, the part of struct hold_event that its kind uses, and the bytes
 * that pointers in it point to, all padded to 8 bytes. Pointers are stored as offsets + 1. */
#include "engine/events.h"
#include "base/mem.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

struct record {
    uint32_t kind, size; /* size: of the whole record */
    union {              /* as in struct hold_event, without what is large */
        struct hold_progress progress;
        struct hold_block block;
        struct hold_token token;
        struct hold_logits logits;
        struct hold_done done;
    };
};

bool events_init(struct events *q, int max_rows, int n_cols, struct err *e) {
    *q = (struct events){.reading = -1};
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->filled, NULL);
    q->fill = (struct events_buffer){.p = mem_alloc(EVENTS_BYTES), .cap = EVENTS_BYTES};
    q->drain = (struct events_buffer){.p = mem_alloc(EVENTS_BYTES), .cap = EVENTS_BYTES};
    bool ok = q->fill.p && q->drain.p;
    size_t block = (size_t)max_rows * (size_t)n_cols;
    for (int i = 0; i < 2 && max_rows; i++) {
        q->rows[i].p = mem_array(block, sizeof(float));
        ok = ok && q->rows[i].p;
    }
    return ok || err_nomem(e, "the events of a request", 2 * (EVENTS_BYTES + block * 4));
}

void events_free(struct events *q) {
    mem_free(q->fill.p);
    mem_free(q->drain.p);
    mem_free(q->rows[0].p);
    mem_free(q->rows[1].p);
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->lock);
}

/* ---- producer ----------------------------------------------------------------------------- */
bool events_have_room(struct events *q) {
    pthread_mutex_lock(&q->lock);
    bool ok = q->fill.len + EVENTS_STEP_BYTES + EVENTS_END_BYTES <= q->fill.cap;
    q->stalled = !ok;
    pthread_mutex_unlock(&q->lock);
    return ok;
}

float *events_rows_get(struct events *q) {
    pthread_mutex_lock(&q->lock);
    float *p = NULL;
    for (int i = 0; i < 2 && !p; i++)
        if (!q->rows[i].busy) p = q->rows[i].p;
    q->stalled = q->stalled || !p;
    pthread_mutex_unlock(&q->lock);
    return p;
}

static size_t pad(size_t n) {
    return (n + 7) & ~(size_t)7;
}

/* Appends len bytes behind the record and makes *pointer their offset + 1. */
static void attach(struct events_buffer *b, const void **pointer, size_t len) {
    if (!*pointer) return;
    assert(b->len + pad(len) <= b->cap);
    memcpy(b->p + b->len, *pointer, len);
    *pointer = (const void *)(uintptr_t)(b->len + 1);
    b->len += pad(len);
}

static size_t cstr_size(const char *s) {
    return s ? strlen(s) + 1 : 0;
}

/* Makes room for a record with n bytes behind it, beside what is kept for the last event. */
static bool make_room(struct events_buffer *b, const struct hold_event *ev) {
    size_t n = sizeof(struct record) + 64, keep = EVENTS_END_BYTES;
    switch (ev->kind) {
    case HOLD_BLOCK_START:
    case HOLD_BLOCK_DELTA:
    case HOLD_BLOCK_END:
        n += cstr_size(ev->block.id) + cstr_size(ev->block.name) + ev->block.len;
        break;
    case HOLD_TOKEN:
        n += ev->token.len + (size_t)ev->token.n_top * sizeof *ev->token.top;
        break;
    case HOLD_DONE:
    case HOLD_ERROR:
        return true;
    default:
        break;
    }
    size_t cap = b->cap;
    while (b->len + n + keep > cap) cap *= 2;
    if (cap == b->cap) return true;
    unsigned char *p = mem_realloc(b->p, cap, 1);
    if (!p) return false;
    b->p = p;
    b->cap = cap;
    return true;
}

static void append(struct events *q, const struct hold_event *ev) {
    struct events_buffer *b = &q->fill;
    struct record *r = (struct record *)(void *)(b->p + b->len);
    size_t start = b->len;
    b->len += pad(sizeof *r);
    r->kind = ev->kind;
    switch (ev->kind) {
    case HOLD_PROGRESS:
        r->progress = ev->progress;
        break;
    case HOLD_BLOCK_START:
    case HOLD_BLOCK_DELTA:
    case HOLD_BLOCK_END:
        r->block = ev->block;
        attach(b, (const void **)&r->block.id, cstr_size(ev->block.id));
        attach(b, (const void **)&r->block.name, cstr_size(ev->block.name));
        attach(b, (const void **)&r->block.text, ev->block.len);
        break;
    case HOLD_TOKEN:
        r->token = ev->token;
        attach(b, (const void **)&r->token.bytes, ev->token.len);
        attach(b, (const void **)&r->token.top, (size_t)ev->token.n_top * sizeof *ev->token.top);
        break;
    case HOLD_LOGITS:
    case HOLD_HIDDEN:
        r->logits = ev->logits;
        q->rows[ev->logits.rows == q->rows[1].p].busy = true;
        break;
    case HOLD_DONE:
        r->done = ev->done;
        q->ended = true;
        break;
    case HOLD_ERROR: {
        const void *error = &ev->error;
        attach(b, &error, sizeof ev->error);
        q->ended = true;
        break;
    }
    }
    r->size = (uint32_t)(b->len - start);
}

bool events_put(struct events *q, const struct hold_event *ev) {
    pthread_mutex_lock(&q->lock);
    bool was_empty = q->fill.len == 0, ok = !q->ended && make_room(&q->fill, ev);
    if (ok) append(q, ev);
    if (ok && was_empty && q->wake) q->wake(q->wake_ctx); /* locked: its ctx may be freed soon */
    pthread_cond_signal(&q->filled);
    pthread_mutex_unlock(&q->lock);
    return ok;
}

/* ---- consumer ----------------------------------------------------------------------------- */
void events_leave(struct events *q) {
    pthread_mutex_lock(&q->lock);
    q->wake = NULL;
    pthread_mutex_unlock(&q->lock);
}

static void point(const struct events_buffer *b, const void **pointer) {
    if (*pointer) *pointer = b->p + (uintptr_t)*pointer - 1;
}

static void take(struct events *q, struct hold_event *ev) {
    struct events_buffer *b = &q->drain;
    const struct record *r = (const struct record *)(const void *)(b->p + b->at);
    ev->kind = (enum hold_event_kind)r->kind;
    switch (ev->kind) {
    case HOLD_PROGRESS:
        ev->progress = r->progress;
        break;
    case HOLD_BLOCK_START:
    case HOLD_BLOCK_DELTA:
    case HOLD_BLOCK_END:
        ev->block = r->block;
        point(b, (const void **)&ev->block.id);
        point(b, (const void **)&ev->block.name);
        point(b, (const void **)&ev->block.text);
        break;
    case HOLD_TOKEN:
        ev->token = r->token;
        point(b, (const void **)&ev->token.bytes);
        point(b, (const void **)&ev->token.top);
        break;
    case HOLD_LOGITS:
    case HOLD_HIDDEN:
        ev->logits = r->logits;
        q->reading = ev->logits.rows == q->rows[1].p;
        break;
    case HOLD_DONE:
        ev->done = r->done;
        q->end_read = true;
        break;
    case HOLD_ERROR:
        memcpy(&ev->error, b->p + b->at + pad(sizeof *r), sizeof ev->error);
        q->end_read = true;
        break;
    }
    b->at += r->size;
}

static struct timespec deadline(int64_t timeout_ms) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += (time_t)(timeout_ms / 1000);
    t.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}

/* Waits until the fill buffer has something; the lock is held. */
static bool wait_filled(struct events *q, int64_t timeout_ms) {
    struct timespec until = deadline(timeout_ms > 0 ? timeout_ms : 0);
    while (q->fill.len == 0) {
        if (q->ended || timeout_ms == 0) return false;
        int rc = timeout_ms < 0 ? pthread_cond_wait(&q->filled, &q->lock)
                                : pthread_cond_timedwait(&q->filled, &q->lock, &until);
        if (rc != 0) return q->fill.len > 0;
    }
    return true;
}

int events_next(struct events *q, struct hold_event *ev, int64_t timeout_ms) {
    bool roomy = false, got = true;
    pthread_mutex_lock(&q->lock);
    if (q->reading >= 0) {
        q->rows[q->reading].busy = false;
        q->reading = -1;
        roomy = q->stalled;
    }
    if (q->drain.at == q->drain.len && !q->end_read) {
        got = wait_filled(q, timeout_ms);
        if (got) {
            struct events_buffer empty = q->drain;
            empty.len = empty.at = 0;
            q->drain = q->fill;
            q->fill = empty;
            roomy = roomy || q->stalled;
        }
    }
    if (roomy) q->stalled = false;
    bool end = q->end_read;
    if (got && !end) take(q, ev);
    pthread_mutex_unlock(&q->lock);
    if (roomy && q->room) q->room(q->room_ctx);
    return end ? -1 : got;
}
