/* Holdfast's own API, /api/v1/: what the others lack. Models with capabilities, context and memory;
 * load and unload with progress; live figures; the cache; requests with the reason of each cache
 * miss; usage per key. */
#include "base/os.h"
#include "serve/api_openai.h"
#include "serve/serve.h"
#include "serve/sse.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- models ------------------------------------------------------------------------------- */
static json_t *aliases(const char *list) {
    json_t *out = json_array();
    for (const char *p = list; p && *p;) {
        size_t len = strcspn(p, ","), skip = strspn(p, " ");
        if (len > skip) json_array_append_new(out, json_stringn(p + skip, len - skip));
        p += len + (p[len] == ',');
    }
    return out;
}

static json_t *stats_json(const struct hold_stats *s) {
    return json_pack("{s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}",
                     "queued", s->n_queued, "running", s->n_running, "parked", s->n_parked,
                     "requests", (json_int_t)s->n_requests, "finished", (json_int_t)s->n_finished,
                     "failed", (json_int_t)s->n_failed, "cancelled", (json_int_t)s->n_cancelled,
                     "prompt_tokens", (json_int_t)s->n_prompt_tokens, "cached_tokens",
                     (json_int_t)s->n_cached_tokens, "generated_tokens",
                     (json_int_t)s->n_generated_tokens, "kv_used", (json_int_t)s->kv_used,
                     "kv_cached", (json_int_t)s->kv_cached, "prefill_rate", s->prefill_rate,
                     "decode_rate", s->decode_rate);
}

static void add_info(json_t *out, const struct hold_model_info *i) {
    json_object_set_new(out, "architecture", json_string(i->arch));
    json_object_set_new(out, "title", json_string(i->name));
    json_object_set_new(out, "parameters", json_integer(i->n_params));
    json_object_set_new(out, "capabilities",
                        json_pack("{s:b, s:b, s:b, s:b, s:b, s:b}", "chat", i->has_template,
                                  "system", i->has_system, "tools", i->has_tools, "reasoning",
                                  i->has_reasoning, "fill_in_the_middle", i->fim_mid >= 0, "vision",
                                  0));
    json_object_set_new(out, "context",
                        json_pack("{s:i, s:i, s:i}", "tokens", (int)i->n_ctx, "trained",
                                  (int)i->n_ctx_train, "parallel", (int)i->n_parallel));
    json_object_set_new(
        out, "memory",
        json_pack("{s:I, s:I, s:I, s:I, s:s, s:s}", "weights", (json_int_t)i->weight_bytes,
                  "kv_per_token", (json_int_t)i->kv_bytes_per_token, "kv_full",
                  (json_int_t)(i->kv_bytes_per_token * (uint64_t)i->n_ctx), "state",
                  (json_int_t)i->state_bytes, "k_type", i->k_type, "v_type", i->v_type));
    json_object_set_new(out, "template_notes", json_string(i->template_notes));
}

static json_t *model_json(const struct model_view *v) {
    static const char *const state[] = {"unloaded", "loading", "loaded", "failed"};
    json_t *out = json_pack("{s:s, s:o, s:s, s:s, s:b, s:i, s:f, s:f, s:I}", "name",
                            v->config->name, "aliases", aliases(v->config->aliases), "path",
                            v->config->path, "state", state[v->state], "pinned", v->config->pinned,
                            "users", v->n_users, "idle_seconds", v->idle_seconds, "idle_limit",
                            v->config->idle_seconds, "file_bytes", (json_int_t)v->file_bytes);
    if (v->state == MODEL_LOADING) json_object_set_new(out, "progress", json_real(v->progress));
    if (v->state == MODEL_FAILED) json_object_set_new(out, "error", json_string(v->error));
    if (v->has_info) add_info(out, &v->info);
    if (v->state == MODEL_LOADED) json_object_set_new(out, "stats", stats_json(&v->stats));
    return out;
}

static void list_models(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct model_view v;
    json_t *list = json_array();
    for (size_t i = 0; models_view(s->models, i, &v); i++)
        json_array_append_new(list, model_json(&v));
    struct models_memory m;
    models_memory(s->models, &m);
    json_reply(r, 200,
               json_pack("{s:o, s:{s:I, s:I, s:I}}", "models", list, "memory", "budget",
                         (json_int_t)m.budget, "kv", (json_int_t)m.kv, "weights",
                         (json_int_t)m.weights));
}

static bool find(struct http_req *r, const char *name, struct model_view *v) {
    struct serve *s = http_ctx(r);
    struct http_error e;
    if (models_find(s->models, name, v)) return true;
    ask_refuse(&e, 404, "model", "there is no model '%.200s'", name ? name : "");
    openai_refuse(r, &e);
    return false;
}

/* With what loading it would take, when it is not loaded. */
static void one_model(struct http_req *r) {
    struct model_view v;
    if (!find(r, http_rest(r), &v)) return;
    json_t *out = model_json(&v);
    struct hold_model_options o;
    struct hold_memory need;
    struct hold_error why;
    hold_model_options_init(&o, sizeof o);
    o.path = v.config->path;
    o.n_ctx = (int)v.config->n_ctx;
    if (v.config->k_type) o.k_type = v.config->k_type;
    if (v.config->v_type) o.v_type = v.config->v_type;
    if (hold_memory_estimate(&o, &need, &why))
        json_object_set_new(
            out, "needs",
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "weights", (json_int_t)need.weights, "kv_full",
                      (json_int_t)need.kv, "compute", (json_int_t)need.compute, "total",
                      (json_int_t)need.total, "available", (json_int_t)need.available));
    json_reply(r, 200, out);
}

/* ---- loading ------------------------------------------------------------------------------ */
/* A load that is watched: a thread of its own loads, the connection's thread reports. */
struct loading {
    struct serve *serve;
    char *name;
    pthread_t thread;
    pthread_mutex_t lock;
    bool running, over;
    struct http_error e;
    double reported;
};

static void *load_thread(void *arg) {
    struct loading *l = arg;
    struct http_error e = {0};
    const struct model_entry *x = models_use(l->serve->models, l->name, &e);
    models_done(l->serve->models, x);
    pthread_mutex_lock(&l->lock);
    l->e = e;
    l->over = true;
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static bool report(void *ctx, struct buf *out) {
    struct loading *l = ctx;
    const struct timespec tick = {.tv_nsec = 50000000};
    for (;;) {
        struct model_view v;
        pthread_mutex_lock(&l->lock);
        bool over = l->over;
        pthread_mutex_unlock(&l->lock);
        bool is = models_find(l->serve->models, l->name, &v);
        if (over && l->e.status) sse_event(out, "error", openai_error(&l->e));
        else if (over) sse_event(out, "loaded", is ? model_json(&v) : json_object());
        if (over) return false;
        if (is && v.state == MODEL_LOADING && v.progress != l->reported) {
            l->reported = v.progress;
            sse_event(out, "progress",
                      json_pack("{s:s, s:f}", "model", v.config->name, "fraction", v.progress));
            return true;
        }
        nanosleep(&tick, NULL);
    }
}

static void load_done(void *ctx) {
    struct loading *l = ctx;
    if (l->running) pthread_join(l->thread, NULL);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->name);
    mem_free(l);
}

static void load_stream(struct http_req *r, const char *name) {
    struct http_error e;
    struct loading *l = mem_calloc(1, sizeof *l);
    if (l) {
        l->serve = http_ctx(r);
        l->name = mem_strdup(name);
        l->reported = -1;
        pthread_mutex_init(&l->lock, NULL);
        l->running = l->name && pthread_create(&l->thread, NULL, load_thread, l) == 0;
    }
    if (l && l->running) {
        http_stream(r, SSE_TYPE, report, load_done, l);
        return;
    }
    if (l) load_done(l);
    ask_refuse(&e, 503, NULL, "out of memory");
    openai_refuse(r, &e);
}

/* Calls fn with the body's "model". */
static void with_name(struct http_req *r,
                      void (*fn)(struct http_req *r, const char *name, const json_t *body)) {
    struct http_error e = {0};
    json_t *body = ask_body(r, &e);
    const char *name = json_string_value(json_object_get(body, "model"));
    if (body && !name) ask_refuse(&e, 400, "model", "'model': expected a name");
    if (name) fn(r, name, body);
    else openai_refuse(r, &e);
    json_decref(body);
}

/* {"model", "stream"} */
static void load(struct http_req *r, const char *name, const json_t *body) {
    struct serve *s = http_ctx(r);
    struct model_view v;
    struct http_error e = {0};
    if (json_is_true(json_object_get(body, "stream"))) {
        if (find(r, name, &v)) load_stream(r, name);
        return;
    }
    const struct model_entry *x = models_use(s->models, name, &e);
    models_done(s->models, x);
    if (!x) openai_refuse(r, &e);
    else if (find(r, name, &v)) json_reply(r, 200, model_json(&v));
}

static void unload(struct http_req *r, const char *name, const json_t *body) {
    struct serve *s = http_ctx(r);
    struct model_view v;
    struct http_error e = {0};
    (void)body;
    if (!models_unload(s->models, name, &e)) openai_refuse(r, &e);
    else if (find(r, name, &v)) json_reply(r, 200, model_json(&v));
}

static void on_load(struct http_req *r) {
    with_name(r, load);
}
static void on_unload(struct http_req *r) {
    with_name(r, unload);
}

/* ---- figures ------------------------------------------------------------------------------ */
static json_t *status_json(const struct serve *s) {
    struct hold_stats e = {.size = sizeof e};
    struct model_view v;
    json_t *loaded = json_array();
    hold_engine_stats(s->engine, &e);
    for (size_t i = 0; models_view(s->models, i, &v); i++)
        if (v.state == MODEL_LOADED)
            json_array_append_new(
                loaded, json_pack("{s:s, s:i, s:i, s:I, s:f}", "name", v.config->name, "users",
                                  v.n_users, "context", (int)v.info.n_ctx, "weights",
                                  (json_int_t)v.info.weight_bytes, "idle_seconds", v.idle_seconds));
    json_t *out = stats_json(&e);
    json_object_set_new(out, "kv_budget", json_integer((json_int_t)e.kv_budget));
    json_object_set_new(out, "steps", json_integer((json_int_t)e.n_steps));
    json_object_set_new(out, "resident", json_integer((json_int_t)os_memory_resident()));
    return json_pack("{s:s, s:i, s:f, s:o, s:o}", "version", hold_version(), "pid", (int)getpid(),
                     "seconds", (double)(os_now_ns() - s->started_ns) / 1e9, "models", loaded,
                     "engine", out);
}

static void status(struct http_req *r) {
    json_reply(r, 200, status_json(http_ctx(r)));
}

struct live {
    struct http_req *r;
    int ms;
    bool started;
};

static bool live_fill(void *ctx, struct buf *out) {
    struct live *l = ctx;
    struct serve *s = http_ctx(l->r);
    for (int slept = 0; l->started && slept < l->ms; slept += 50) {
        const struct timespec tick = {.tv_nsec = 50000000};
        if (http_gone(l->r) || http_draining(s->http)) return false;
        nanosleep(&tick, NULL);
    }
    l->started = true;
    sse_event(out, "stats", status_json(s));
    return true;
}

/* Figures as events, every ?ms=1000. */
static void live(struct http_req *r) {
    struct http_error e;
    struct live *l = mem_calloc(1, sizeof *l);
    const char *ms = http_query(r, "ms");
    if (!l) {
        ask_refuse(&e, 503, NULL, "out of memory");
        openai_refuse(r, &e);
        return;
    }
    l->r = r;
    l->ms = ms ? atoi(ms) : 1000;
    if (l->ms < 100) l->ms = 100;
    if (l->ms > 60000) l->ms = 60000;
    http_stream(r, SSE_TYPE, live_fill, mem_free, l);
}

static void cache(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct hold_stats e = {.size = sizeof e};
    struct model_view v;
    json_t *list = json_array();
    hold_engine_stats(s->engine, &e);
    for (size_t i = 0; models_view(s->models, i, &v); i++) {
        if (v.state != MODEL_LOADED) continue;
        uint64_t all = v.stats.n_prompt_tokens;
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:I}", "model", v.config->name,
                            "kv_used", (json_int_t)v.stats.kv_used, "kv_cached",
                            (json_int_t)v.stats.kv_cached, "prompt_tokens", (json_int_t)all,
                            "cached_tokens", (json_int_t)v.stats.n_cached_tokens, "hit_share",
                            all ? (double)v.stats.n_cached_tokens / (double)all : 0.0,
                            "kv_per_token", (json_int_t)v.info.kv_bytes_per_token));
    }
    json_reply(r, 200,
               json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:o}", "kv_budget",
                         (json_int_t)e.kv_budget, "kv_used", (json_int_t)e.kv_used, "kv_cached",
                         (json_int_t)e.kv_cached, "disk_bytes", (json_int_t)e.disk_bytes,
                         "disk_queue_bytes", (json_int_t)e.disk_queue_bytes, "parked", e.n_parked,
                         "models", list));
}

static void keys(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct http_usage u;
    json_t *list = json_array();
    for (size_t i = 0; http_key_usage(s->http, i, &u); i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", u.name,
                                              "requests", (json_int_t)u.n_requests, "prompt_tokens",
                                              (json_int_t)u.n_prompt, "cached_tokens",
                                              (json_int_t)u.n_cached, "generated_tokens",
                                              (json_int_t)u.n_generated));
    json_reply(r, 200, json_pack("{s:o}", "keys", list));
}

/* ---- requests ----------------------------------------------------------------------------- */
static json_t *miss_json(const struct track_view *v) {
    const struct hold_miss *m = &v->miss;
    if (!v->has_miss) return json_null();
    json_t *out = json_pack(
        "{s:I, s:I, s:I, s:i, s:i, s:o, s:o, s:o}", "prompt_tokens", (json_int_t)m->n_prompt,
        "cached_tokens", (json_int_t)m->n_cached, "matching_tokens", (json_int_t)m->n_match,
        "cached_token", (int)m->cached, "found_token", (int)m->found, "message",
        m->message < 0 ? json_null() : json_integer(m->message), "cached_text",
        json_text(str_of(m->cached_text)), "found_text", json_text(str_of(m->found_text)));
    return out ? out : json_null();
}

static json_t *request_json(const struct track_view *v) {
    static const char *const finish[] = {"stop", "stop_string", "length", "calls", "cancelled"};
    const struct hold_done *d = &v->done;
    bool failed = v->failed && d->finish != HOLD_FINISH_CANCELLED;
    const char *state = v->running ? "running" : failed ? "failed" : finish[d->finish];
    json_t *out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:f, s:b, s:o}", "id", v->id, "path",
                            v->path, "key", v->key, "model", v->model, "state", state, "started",
                            (json_int_t)v->started, "seconds", v->seconds, "stream", v->stream,
                            "notes", json_text(str_of(v->notes)));
    if (v->running)
        json_object_set_new(out, "progress",
                            json_pack("{s:I, s:I, s:I}", "done", (json_int_t)v->progress.n_done,
                                      "total", (json_int_t)v->progress.n_total, "cached",
                                      (json_int_t)v->progress.n_cached));
    else
        json_object_set_new(out, "timing",
                            json_pack("{s:f, s:f, s:f, s:f}", "queue_ms", d->queue_ms, "prefill_ms",
                                      d->prefill_ms, "decode_ms", d->decode_ms, "ttft_ms",
                                      d->ttft_ms));
    json_object_set_new(out, "generated_tokens", json_integer(v->n_generated));
    json_object_set_new(out, "cache", miss_json(v));
    return out;
}

static void list_requests(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct track_view v;
    json_t *list = json_array();
    for (size_t i = 0; track_view(s->track, i, &v); i++)
        json_array_append_new(list, request_json(&v));
    json_reply(r, 200, json_pack("{s:o}", "requests", list));
}

static void no_request(struct http_req *r, const char *what) {
    struct http_error e;
    ask_refuse(&e, 404, NULL, "%s", what);
    openai_refuse(r, &e);
}

static void one_request(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct track_view v;
    if (track_find(s->track, http_rest(r), &v)) json_reply(r, 200, request_json(&v));
    else no_request(r, "there is no request of that id among the last ones");
}

/* DELETE ends it at the next step; what it has read stays cached. */
static void cancel_request(struct http_req *r) {
    struct serve *s = http_ctx(r);
    if (track_cancel(s->track, http_rest(r)))
        json_reply(r, 200, json_pack("{s:b}", "cancelled", 1));
    else no_request(r, "no request of that id is running");
}

/* What looks whether a server is there: agents' HEAD, people's browsers. */
static void root(struct http_req *r) {
    http_reply(r, 200, "text/plain; charset=utf-8", STR("Holdfast is running.\n"));
}

static const struct http_route routes[] = {
    {"GET", "/", root, openai_refuse, HTTP_OPEN},
    {"GET", "/api/v1/models", list_models, openai_refuse, 0},
    {"POST", "/api/v1/models/load", on_load, openai_refuse, 0},
    {"POST", "/api/v1/models/unload", on_unload, openai_refuse, 0},
    {"GET", "/api/v1/models/*", one_model, openai_refuse, 0},
    {"GET", "/api/v1/status", status, openai_refuse, 0},
    {"GET", "/api/v1/live", live, openai_refuse, 0},
    {"GET", "/api/v1/cache", cache, openai_refuse, 0},
    {"GET", "/api/v1/keys", keys, openai_refuse, 0},
    {"GET", "/api/v1/requests", list_requests, openai_refuse, 0},
    {"GET", "/api/v1/requests/*", one_request, openai_refuse, 0},
    {"DELETE", "/api/v1/requests/*", cancel_request, openai_refuse, 0},
};
const struct http_routes native_routes = {routes, sizeof routes / sizeof *routes};
