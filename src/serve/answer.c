/* Runs what was asked (contract in answer.h). One answer belongs to its connection's thread; the
 * engine's thread only sets a flag through `wake`, the watcher's only cancels. */
#include "serve/answer.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "serve/serve.h"
#include "serve/sse.h"
#include "serve/track.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct answer_run {
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool awake;
    bool started, over, failed;
    uint64_t alive_ns, quiet_since; /* interval of signs of life; when something was sent last */
    http_refuse refuse;
    struct buf clean; /* a delta whose bytes were no UTF-8 */
};

static struct serve *server_of(const struct answer *a) {
    return http_ctx(a->http);
}

/* ---- waiting ------------------------------------------------------------------------------ */
static void wake(void *ctx) {
    struct answer_run *run = ctx;
    pthread_mutex_lock(&run->lock);
    run->awake = true;
    pthread_cond_signal(&run->woken);
    pthread_mutex_unlock(&run->lock);
}

/* Until an event is there or the time is over. */
static void wait_event(struct answer_run *run, uint64_t ns) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t end = (uint64_t)until.tv_nsec + ns;
    until.tv_sec += (time_t)(end / 1000000000u);
    until.tv_nsec = (long)(end % 1000000000u);
    pthread_mutex_lock(&run->lock);
    while (!run->awake && pthread_cond_timedwait(&run->woken, &run->lock, &until) == 0) {
    }
    run->awake = false;
    pthread_mutex_unlock(&run->lock);
}

static void cancel(void *ctx) {
    struct answer *a = ctx;
    for (int i = 0; i < a->n; i++) hold_request_cancel(a->choice[i].request);
}

/* ---- submitting --------------------------------------------------------------------------- */
static bool submit(struct answer *a, struct http_error *e) {
    struct ask *k = a->ask;
    struct hold_request_options *o = &k->o;
    if (k->messages) {
        if (!ask_chat(k, e)) return false;
        o->chat = &k->chat;
    } else if (k->is_text) {
        o->text = k->text.p ? k->text.p : "";
        o->text_len = k->text.len;
    } else {
        o->ids = k->ids;
        o->n_ids = k->n_ids;
    }
    o->cache_key = http_key(a->http);
    o->wake = wake;
    o->wake_ctx = a->run;
    uint64_t seed = o->sampling.seed;
    for (a->n = 0; a->n < k->n; a->n++) {
        o->sampling.seed = seed + (uint64_t)a->n;
        a->choice[a->n].request = hold_request_submit(k->entry->model, o, &e->why);
        if (a->choice[a->n].request) continue;
        e->status = ask_status(e->why.code);
        return false;
    }
    return true;
}

/* ---- collecting --------------------------------------------------------------------------- */
static bool collect_block(struct answer_choice *c, const struct hold_event *ev) {
    const struct hold_block *b = &ev->block;
    if (ev->kind == HOLD_BLOCK_START) {
        if (!mem_grow((void **)&c->block, &c->cap_blocks, c->n_blocks + 1, sizeof *c->block))
            return false;
        struct answer_block *new = &c->block[c->n_blocks++];
        *new = (struct answer_block){.kind = b->kind};
        new->id = mem_strdup(b->id ? b->id : "");
        new->name = mem_strdup(b->name ? b->name : "");
        return new->id &&new->name;
    }
    struct answer_block *last = &c->block[c->n_blocks - 1];
    if (ev->kind == HOLD_BLOCK_DELTA) return buf_add(&last->text, b->text, b->len);
    last->cut = b->cut;
    return true;
}

static bool collect_token(struct answer *a, struct answer_choice *c, const struct hold_token *t) {
    struct arena *arena = &a->ask->arena;
    struct hold_top *top = arena_calloc(arena, (size_t)t->n_top + 1, sizeof *top);
    const char *bytes = arena_strndup(arena, t->bytes, t->len);
    if (!top || !bytes ||
        !mem_grow((void **)&c->token, &c->cap_tokens, c->n_tokens + 1, sizeof *c->token))
        return false;
    if (t->n_top) memcpy(top, t->top, (size_t)t->n_top * sizeof *top);
    c->token[c->n_tokens++] = (struct answer_token){.id = t->id,
                                                    .logprob = t->logprob,
                                                    .bytes = {bytes, t->len},
                                                    .n_top = t->n_top,
                                                    .top = top};
    return true;
}

static bool collect(struct answer *a, struct answer_choice *c, const struct hold_event *ev) {
    if (ev->kind == HOLD_TOKEN) return collect_token(a, c, &ev->token);
    if (ev->kind >= HOLD_BLOCK_START && ev->kind <= HOLD_BLOCK_END) return collect_block(c, ev);
    return true;
}

/* ---- events ------------------------------------------------------------------------------- */
static void fail(struct answer *a, const struct http_error *e, struct buf *out) {
    a->run->over = a->run->failed = true;
    cancel(a);
    http_note(a->http, "error=\"%.200s\"", e->why.msg);
    if (a->ask->stream) a->sink->error(a, e, out);
    else a->run->refuse(a->http, e);
}

static void choice_done(struct answer *a, int i, const struct hold_done *d, struct buf *out) {
    struct answer_choice *c = &a->choice[i];
    c->done = *d;
    c->is_done = true;
    a->n_prompt += i == 0 ? d->n_prompt : 0; /* the prompt is one, whatever n is */
    a->n_cached += i == 0 ? d->n_cached : 0;
    a->n_generated += d->n_generated;
    http_count(a->http, d);
    if (d->finish == HOLD_FINISH_CANCELLED) {
        struct http_error e;
        bool stops = track_stopping(server_of(a)->track);
        ask_refuse(&e, 503, NULL, "%s",
                   stops ? "the server is stopping" : "the request was cancelled");
        e.why.code = HOLD_ERR_CANCELLED;
        fail(a, &e, out);
    } else if (a->ask->stream && a->sink->choice) a->sink->choice(a, i, out);
}

static void stream_event(struct answer *a, int i, const struct hold_event *ev, struct buf *out) {
    const struct answer_sink *s = a->sink;
    if (ev->kind == HOLD_PROGRESS && s->progress) s->progress(a, i, &ev->progress, out);
    else if (ev->kind == HOLD_TOKEN && s->token) s->token(a, i, &ev->token, out);
    else if (ev->kind >= HOLD_BLOCK_START && ev->kind <= HOLD_BLOCK_END && s->block)
        s->block(a, i, ev, out);
}

/* Models may generate bytes that are no UTF-8; JSON cannot hold them. Deltas end at whole
 * characters, so each can be mended alone: what is invalid becomes U+FFFD. */
static struct str mend(struct answer_run *run, struct str s) {
    if (utf8_valid(s.p, s.len)) return s;
    buf_clear(&run->clean);
    buf_clean(&run->clean, s);
    return run->clean.p ? buf_view(&run->clean) : STR("");
}

/* Ids are the engine's own; a name is the model's where no grammar binds it. */
static void mend_block(struct answer_run *run, struct hold_event *ev) {
    struct hold_block *b = &ev->block;
    if (ev->kind == HOLD_BLOCK_START && b->name) b->name = mend(run, str_of(b->name)).p;
    if (ev->kind != HOLD_BLOCK_DELTA) return;
    struct str text = mend(run, (struct str){b->text, b->len});
    b->text = text.p;
    b->len = text.len;
}

static void take_event(struct answer *a, int i, struct hold_event *ev, struct buf *out) {
    struct http_error e;
    if (ev->kind <= HOLD_BLOCK_DELTA) mend_block(a->run, ev);
    track_progress(a, i, ev);
    if (ev->kind == HOLD_DONE) {
        choice_done(a, i, &ev->done, out);
    } else if (ev->kind == HOLD_ERROR) {
        e = (struct http_error){.status = ask_status(ev->error.code), .why = ev->error};
        if (e.status == 400 && a->ask->stream) e.status = 500;
        fail(a, &e, out);
    } else {
        bool keep = !a->ask->stream || a->sink->keep;
        if (a->ask->stream) stream_event(a, i, ev, out);
        if (!keep || collect(a, &a->choice[i], ev)) return;
        ask_refuse(&e, 503, NULL, "out of memory");
        fail(a, &e, out);
    }
}

/* Takes all events that are there. */
static void take_events(struct answer *a, struct buf *out) {
    int n_done = 0;
    for (int i = 0; i < a->n && !a->run->over; i++) {
        struct hold_event ev;
        while (!a->choice[i].is_done && !a->run->over &&
               hold_request_next(a->choice[i].request, &ev, 0) == 1)
            take_event(a, i, &ev, out);
        n_done += a->choice[i].is_done;
    }
    if (a->run->over || n_done < a->n) return;
    a->run->over = true;
    if (a->ask->stream && a->sink->done) a->sink->done(a, out);
}

/* ---- a stream ----------------------------------------------------------------------------- */
static bool fill(void *ctx, struct buf *out) {
    struct answer *a = ctx;
    struct answer_run *run = a->run;
    if (!run->started) {
        run->started = true;
        if (a->sink->start) a->sink->start(a, out);
        if (!out->len && strcmp(a->sink->type, SSE_TYPE) == 0) sse_comment(out, "hello");
    }
    for (;;) {
        take_events(a, out);
        uint64_t now = os_now_ns();
        if (out->len || run->over || out->failed) {
            run->quiet_since = now;
            return !run->over;
        }
        uint64_t quiet = now - run->quiet_since;
        if (quiet < run->alive_ns) {
            wait_event(run, run->alive_ns - quiet);
        } else {
            run->quiet_since = now;
            if (a->sink->alive) a->sink->alive(a, out);
            else if (strcmp(a->sink->type, SSE_TYPE) == 0) sse_comment(out, "alive");
        }
    }
}

static void note(struct answer *a) {
    static const char *const finish[] = {"stop", "stop_string", "length", "calls", "cancelled"};
    const struct answer_choice *c = &a->choice[0];
    http_note(a->http, "model=%s", a->ask->entry->config->name);
    if (!c->is_done) return;
    const struct hold_done *d = &c->done;
    http_note(a->http,
              "prompt=%lld cached=%lld generated=%lld queue_ms=%.1f prefill_ms=%.1f "
              "decode_ms=%.1f ttft_ms=%.1f finish=%s",
              (long long)d->n_prompt, (long long)d->n_cached, (long long)a->n_generated,
              d->queue_ms, d->prefill_ms, d->decode_ms, d->ttft_ms, finish[d->finish]);
}

static void free_choice(struct answer_choice *c) {
    for (size_t i = 0; i < c->n_blocks; i++) {
        mem_free(c->block[i].id);
        mem_free(c->block[i].name);
        buf_free(&c->block[i].text);
    }
    mem_free(c->block);
    mem_free(c->token);
    if (c->request) hold_request_free(c->request);
}

/* Ends it wherever it is. The request's notes for the log are written here. */
static void answer_close(void *ctx) {
    struct answer *a = ctx;
    http_on_gone(a->http, NULL, NULL);
    note(a);
    track_end(a, a->run->failed);
    if (a->sink->close) a->sink->close(a);
    for (int i = 0; i < a->n; i++) free_choice(&a->choice[i]);
    ask_free(a->ask);
    buf_free(&a->run->clean);
    pthread_cond_destroy(&a->run->woken);
    pthread_mutex_destroy(&a->run->lock);
    mem_free(a->ask);
    mem_free(a->choice);
    mem_free(a->run);
    mem_free(a);
}

/* ---- in one piece ------------------------------------------------------------------------- */
static void reply(struct answer *a) {
    struct buf none = {0}, text = {0};
    while (!a->run->over) {
        take_events(a, &none);
        if (!a->run->over) wait_event(a->run, 1000000000u);
    }
    if (!a->run->failed) {
        struct http_error e;
        json_t *whole = a->sink->whole(a);
        if (whole && json_write(&text, whole)) {
            http_reply(a->http, 200, JSON_TYPE, buf_view(&text));
        } else {
            ask_refuse(&e, 503, NULL, "out of memory");
            a->run->refuse(a->http, &e);
        }
        json_decref(whole);
        buf_free(&text);
    }
    answer_close(a);
}

static struct answer *answer_new(struct http_req *r, struct ask *ask) {
    struct answer *a = mem_calloc(1, sizeof *a);
    struct answer_run *run = mem_calloc(1, sizeof *run);
    struct answer_choice *choice = mem_calloc((size_t)ask->n, sizeof *choice);
    struct ask *copy = mem_alloc(sizeof *copy);
    if (!a || !run || !choice || !copy) {
        mem_free(a);
        mem_free(run);
        mem_free(choice);
        mem_free(copy);
        return NULL;
    }
    *copy = *ask;
    *a = (struct answer){.http = r, .ask = copy, .choice = choice, .run = run};
    a->created = (int64_t)time(NULL);
    pthread_mutex_init(&run->lock, NULL);
    pthread_cond_init(&run->woken, NULL);
    return a;
}

void answer_run(struct http_req *r, struct ask *ask, const struct answer_sink *sink, void *ctx,
                http_refuse refuse) {
    struct http_error e = {0};
    struct serve *s = http_ctx(r);
    struct answer *a = answer_new(r, ask);
    if (!a) {
        struct answer gone = {.http = r, .ctx = ctx};
        if (sink->close) sink->close(&gone);
        ask_free(ask);
        ask_refuse(&e, 503, NULL, "out of memory");
        refuse(r, &e);
        return;
    }
    a->sink = sink;
    a->ctx = ctx;
    a->run->refuse = refuse;
    a->run->alive_ns = (uint64_t)s->config->alive_seconds * 1000000000u;
    a->run->quiet_since = os_now_ns();
    if (!submit(a, &e)) {
        a->run->over = a->run->failed = true;
        refuse(r, &e);
        answer_close(a);
        return;
    }
    track_start(s->track, a);
    http_on_gone(r, cancel, a);
    if (a->ask->stream) http_stream(r, sink->type, fill, answer_close, a);
    else reply(a);
}

/* ---- helpers of formatters ---------------------------------------------------------------- */
json_t *answer_text(const struct answer_choice *c, enum hold_block_kind kind) {
    struct buf all = {0};
    bool any = false;
    for (size_t i = 0; i < c->n_blocks; i++) {
        if (c->block[i].kind != kind) continue;
        any = true;
        buf_str(&all, buf_view(&c->block[i].text));
    }
    json_t *text = any ? json_stringn_nocheck(all.p ? all.p : "", all.len) : NULL;
    buf_free(&all);
    return text;
}

json_t *answer_arguments(struct str text) {
    struct err e;
    json_t *object = json_parse(text, LIMIT_JSON_BYTES, &e);
    if (json_is_object(object)) return object;
    json_decref(object);
    return json_pack("{s:o}", "unfinished", json_text(text));
}

void answer_id(const struct answer *a, const char *prefix, char *out, size_t size) {
    snprintf(out, size, "%s%s", prefix, http_id(a->http) + strlen("req_"));
}
