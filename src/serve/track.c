/* Running answers and the history (contract in track.h). Everything is guarded by one lock, which
 * is never held while anything waits. */
#include "serve/track.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tracked {
    struct tracked *next;
    struct track *track;
    struct answer *answer;
    uint64_t start_ns;
    struct track_view view;
};

struct track {
    pthread_mutex_t lock;
    const char *log_prompts;
    struct tracked *running;
    struct track_view past[TRACK_HISTORY]; /* a ring; n counts all that ever came */
    size_t n;
    struct track_ttft ttft;
    bool stopping;
};

const double track_bucket[TRACK_BUCKETS - 1] = {.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60};

struct track *track_open(const char *log_prompts, struct err *e) {
    struct track *t = mem_calloc(1, sizeof *t);
    if (!t) {
        err_nomem(e, "the history", sizeof *t);
        return NULL;
    }
    t->log_prompts = log_prompts;
    pthread_mutex_init(&t->lock, NULL);
    if (!log_prompts || mkdir(log_prompts, 0700) == 0 || errno == EEXIST) return t;
    err_set(e, ERR_IO, "cannot create %s: %s", log_prompts, strerror(errno));
    track_close(t);
    return NULL;
}

void track_close(struct track *t) {
    if (!t) return;
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

/* ---- one answer --------------------------------------------------------------------------- */
void track_start(struct track *t, struct answer *a) {
    struct tracked *x = mem_calloc(1, sizeof *x);
    a->tracked = x;
    if (!x) return; /* it runs without being seen */
    x->track = t;
    x->answer = a;
    x->start_ns = os_now_ns();
    struct track_view *v = &x->view;
    snprintf(v->id, sizeof v->id, "%s", http_id(a->http));
    snprintf(v->path, sizeof v->path, "%s", http_path(a->http));
    snprintf(v->key, sizeof v->key, "%s", http_key(a->http));
    snprintf(v->notes, sizeof v->notes, "%s", hold_request_notes(a->choice[0].request));
    v->model = a->ask->entry->config->name;
    v->started = a->created;
    v->running = true;
    v->stream = a->ask->stream;
    pthread_mutex_lock(&t->lock);
    x->next = t->running;
    t->running = x;
    bool stops = t->stopping;
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; stops && i < a->n; i++) hold_request_cancel(a->choice[i].request);
}

void track_progress(struct answer *a, int i, const struct hold_event *ev) {
    struct tracked *x = a->tracked;
    if (!x || i != 0) return;
    pthread_mutex_lock(&x->track->lock);
    if (ev->kind == HOLD_PROGRESS) x->view.progress = ev->progress;
    if (ev->kind == HOLD_BLOCK_DELTA) x->view.n_generated++;
    if (ev->kind == HOLD_DONE) {
        x->view.done = ev->done;
        x->view.n_generated = ev->done.n_generated;
    }
    pthread_mutex_unlock(&x->track->lock);
}

static void write_json(int fd, json_t *value) {
    struct buf text = {0};
    if (value && json_write(&text, value)) buf_char(&text, '\n');
    size_t at = 0;
    while (at < text.len) {
        ssize_t n = write(fd, text.p + at, text.len - at);
        if (n <= 0) break;
        at += (size_t)n;
    }
    if (!value || text.failed || at < text.len) log_warn("a prompt could not be logged");
    buf_free(&text);
    json_decref(value);
}

/* DIR/ID.json: the body as it came, and what the model made of it, markers included. */
static void log_prompt(const struct track *t, const struct answer *a) {
    char path[4096];
    struct str body = http_body(a->http);
    snprintf(path, sizeof path, "%s/%s.json", t->log_prompts, http_id(a->http));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0) {
        log_warn("cannot create %s: %s", path, strerror(errno));
        return;
    }
    json_t *answers = json_array();
    for (int i = 0; i < a->n; i++) {
        size_t len = 0;
        const char *raw = a->choice[i].is_done ? hold_request_raw(a->choice[i].request, &len) : "";
        json_array_append_new(answers, json_text((struct str){raw, raw ? len : 0}));
    }
    write_json(fd, json_pack("{s:s, s:s, s:s, s:o, s:o}", "id", http_id(a->http), "path",
                             http_path(a->http), "model", a->ask->entry->config->name, "body",
                             json_text(body), "answers", answers));
    close(fd);
}

static void count_ttft(struct track_ttft *t, double seconds) {
    int i = 0;
    while (i + 1 < TRACK_BUCKETS && seconds > track_bucket[i]) i++;
    t->count[i]++;
    t->seconds += seconds;
}

void track_ttft(struct track *t, struct track_ttft *out) {
    pthread_mutex_lock(&t->lock);
    *out = t->ttft;
    pthread_mutex_unlock(&t->lock);
}

void track_end(struct answer *a, bool failed) {
    struct tracked *x = a->tracked;
    if (!x) return;
    struct track *t = x->track;
    x->view.has_miss = hold_request_explain(a->choice[0].request, &x->view.miss);
    x->view.running = false;
    x->view.failed = failed;
    if (!failed && !a->choice[0].is_done) x->view.done.finish = HOLD_FINISH_CANCELLED;
    x->view.seconds = (double)(os_now_ns() - x->start_ns) / 1e9;
    if (t->log_prompts) log_prompt(t, a);
    pthread_mutex_lock(&t->lock);
    struct tracked **at = &t->running;
    while (*at != x) at = &(*at)->next;
    *at = x->next;
    if (a->choice[0].is_done && x->view.n_generated)
        count_ttft(&t->ttft, x->view.done.ttft_ms / 1e3);
    t->past[t->n++ % TRACK_HISTORY] = x->view;
    pthread_mutex_unlock(&t->lock);
    mem_free(x);
    a->tracked = NULL;
}

/* ---- all ---------------------------------------------------------------------------------- */
static void cancel(const struct answer *a) {
    for (int i = 0; i < a->n; i++) hold_request_cancel(a->choice[i].request);
}

void track_stop(struct track *t) {
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    for (struct tracked *x = t->running; x; x = x->next) cancel(x->answer);
    pthread_mutex_unlock(&t->lock);
}

bool track_stopping(struct track *t) {
    pthread_mutex_lock(&t->lock);
    bool stops = t->stopping;
    pthread_mutex_unlock(&t->lock);
    return stops;
}

/* Under the lock. */
static void copy_running(const struct tracked *x, struct track_view *out) {
    *out = x->view;
    out->seconds = (double)(os_now_ns() - x->start_ns) / 1e9;
    out->has_miss = hold_request_explain(x->answer->choice[0].request, &out->miss);
}

bool track_view(struct track *t, size_t i, struct track_view *out) {
    pthread_mutex_lock(&t->lock);
    const struct tracked *x = t->running;
    for (; x && i > 0; x = x->next) i--;
    size_t n_past = t->n < TRACK_HISTORY ? t->n : TRACK_HISTORY;
    bool is = x || i < n_past;
    if (x) copy_running(x, out);
    else if (is) *out = t->past[(t->n - 1 - i) % TRACK_HISTORY];
    pthread_mutex_unlock(&t->lock);
    return is;
}

bool track_find(struct track *t, const char *id, struct track_view *out) {
    for (size_t i = 0; track_view(t, i, out); i++)
        if (strcmp(out->id, id) == 0) return true;
    return false;
}

bool track_cancel(struct track *t, const char *id) {
    pthread_mutex_lock(&t->lock);
    struct tracked *x = t->running;
    while (x && strcmp(x->view.id, id) != 0) x = x->next;
    if (x) cancel(x->answer);
    pthread_mutex_unlock(&t->lock);
    return x != NULL;
}
