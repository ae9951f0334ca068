/* Opens and closes the server's parts in order (contract in serve.h). */
#include "serve/serve.h"
#include "base/log.h"
#include "base/os.h"
#include "serve/api_openai.h"
#include "serve/api_responses.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Each API is one row. The first table that has a path answers it; the metrics come last. */
static const struct http_routes *const apis[] = {
    &openai_routes, &responses_routes, &anthropic_routes, &ollama_routes,
    &embed_routes,  &llama_routes,     &native_routes,    &metrics_routes,
};
enum { N_APIS = sizeof apis / sizeof *apis };

static bool open_engine(struct serve *s, struct err *e) {
    const struct config *c = s->config;
    struct hold_engine_options o;
    struct hold_error why;
    hold_engine_options_init(&o, sizeof o);
    o.n_threads = (int)c->n_threads;
    o.pin = c->pin;
    double kv = c->kv_gib > 0 ? c->kv_gib : c->memory_gib > 0 ? c->memory_gib / 3 : 0;
    o.kv_bytes = (uint64_t)(kv * (1 << 30));
    o.disk_dir = c->no_disk_cache ? NULL : c->disk_dir;
    o.disk_bytes = (uint64_t)(c->disk_gib * (1 << 30));
    if (!isnan(c->prefill_share)) o.prefill_share = c->prefill_share;
    s->engine = hold_engine_open(&o, &why);
    return s->engine || err_set(e, ERR_IO, "%s", why.msg);
}

bool serve_open(struct serve *s, struct config *c, struct err *e) {
    static struct http_routes tables[N_APIS];
    for (size_t i = 0; i < N_APIS; i++) tables[i] = *apis[i];
    if (c->metrics_open) tables[N_APIS - 1] = metrics_open_routes;
    *s = (struct serve){.config = c, .started_ns = os_now_ns(), .started = (int64_t)time(NULL)};
    struct http_options o = {.host = c->host,
                             .port = (int)c->port,
                             .unix_path = c->unix_path,
                             .key_file = c->key_file,
                             .allow_hosts = c->allow_hosts,
                             .allow_origins = c->allow_origins,
                             .max_connections = (int)c->max_connections,
                             .request_seconds = (int)c->request_seconds,
                             .tables = tables,
                             .n_tables = N_APIS,
                             .refuse = openai_refuse,
                             .ctx = s};
    s->responses = responses_store_new();
    bool ok = (s->responses || err_nomem(e, "the server", sizeof *s)) && open_engine(s, e) &&
              (s->track = track_open(c->log_prompts, e)) &&
              (s->models = models_open(s->engine, c, e)) && (s->http = http_open(&o, e));
    if (!ok) serve_close(s, 0);
    return ok;
}

void serve_close(struct serve *s, double seconds) {
    if (s->http) {
        http_drain(s->http);
        uint64_t end = os_now_ns() + (uint64_t)(seconds * 1e9);
        const struct timespec tick = {.tv_nsec = 20000000};
        while (http_n_running(s->http) > 0 && os_now_ns() < end) nanosleep(&tick, NULL);
        if (http_n_running(s->http) > 0) {
            track_stop(s->track); /* they get an error event, then two seconds to take it */
            end = os_now_ns() + 2000000000u;
            while (http_n_running(s->http) > 0 && os_now_ns() < end) nanosleep(&tick, NULL);
        }
        http_close(s->http);
    }
    models_close(s->models);
    track_close(s->track);
    responses_store_free(s->responses);
    if (s->engine) hold_engine_close(s->engine);
    *s = (struct serve){0};
}
