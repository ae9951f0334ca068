/* /metrics in Prometheus' text format: one table of figures for the engine, one per loaded model,
 * one per key. */
#include "base/os.h"
#include "serve/api_openai.h"
#include "serve/serve.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum value_kind { VALUE_INT, VALUE_U64, VALUE_REAL };
struct metric {
    const char *name, *type, *help;
    enum value_kind kind;
    size_t offset; /* in struct hold_stats */
};
#define AT(f) offsetof(struct hold_stats, f)
static const struct metric engine_metrics[] = {
    {"kv_budget_bytes", "gauge", "Most bytes of K/V pages", VALUE_U64, AT(kv_budget)},
    {"requests_queued", "gauge", "Requests that wait for their first step", VALUE_INT,
     AT(n_queued)},
    {"requests_running", "gauge", "Requests in prefill or decode", VALUE_INT, AT(n_running)},
    {"requests_parked", "gauge", "Requests that wait for pages", VALUE_INT, AT(n_parked)},
    {"steps_total", "counter", "Forward passes", VALUE_U64, AT(n_steps)},
    {"prefill_tokens_per_second", "gauge", "Over the last seconds of work", VALUE_REAL,
     AT(prefill_rate)},
    {"decode_tokens_per_second", "gauge", "Over the last seconds of work", VALUE_REAL,
     AT(decode_rate)},
    {"disk_cache_bytes", "gauge", "Size of the disk cache", VALUE_U64, AT(disk_bytes)},
    {"disk_cache_queue_bytes", "gauge", "Not written to it yet", VALUE_U64, AT(disk_queue_bytes)},
};
static const struct metric model_metrics[] = {
    {"model_kv_used_bytes", "gauge", "Pages in use", VALUE_U64, AT(kv_used)},
    {"model_kv_cached_bytes", "gauge", "Of them, what could be dropped", VALUE_U64, AT(kv_cached)},
    {"model_requests_total", "counter", "Requests submitted", VALUE_U64, AT(n_requests)},
    {"model_requests_finished_total", "counter", "Answered", VALUE_U64, AT(n_finished)},
    {"model_requests_failed_total", "counter", "Ended by an error", VALUE_U64, AT(n_failed)},
    {"model_requests_cancelled_total", "counter", "Given up by the client", VALUE_U64,
     AT(n_cancelled)},
    {"model_prompt_tokens_total", "counter", "Tokens of prompts, cached ones included", VALUE_U64,
     AT(n_prompt_tokens)},
    {"model_cached_tokens_total", "counter", "Of them, taken from the cache", VALUE_U64,
     AT(n_cached_tokens)},
    {"model_generated_tokens_total", "counter", "Tokens generated", VALUE_U64,
     AT(n_generated_tokens)},
};
#undef AT

static void head(struct buf *out, const struct metric *m) {
    buf_printf(out, "# HELP holdfast_%s %s.\n# TYPE holdfast_%s %s\n", m->name, m->help, m->name,
               m->type);
}

static void value(struct buf *out, const struct metric *m, const struct hold_stats *s) {
    const char *field = (const char *)s + m->offset;
    if (m->kind == VALUE_INT) buf_printf(out, " %d\n", *(const int *)(const void *)field);
    else if (m->kind == VALUE_REAL)
        buf_printf(out, " %.3f\n", *(const double *)(const void *)field);
    else buf_printf(out, " %llu\n", (unsigned long long)*(const uint64_t *)(const void *)field);
}

/* A label's value: backslash, quote and line break are escaped. */
static void label(struct buf *out, const char *name, const char *text) {
    buf_printf(out, "{%s=\"", name);
    for (const char *p = text; *p; p++) {
        if (*p == '\\' || *p == '"') buf_char(out, '\\');
        if (*p == '\n') buf_cstr(out, "\\n");
        else buf_char(out, *p);
    }
    buf_cstr(out, "\"}");
}

static void models(struct buf *out, struct serve *s) {
    struct model_view v;
    for (size_t k = 0; k < sizeof model_metrics / sizeof *model_metrics; k++) {
        head(out, &model_metrics[k]);
        for (size_t i = 0; models_view(s->models, i, &v); i++) {
            if (v.state != MODEL_LOADED) continue;
            buf_printf(out, "holdfast_%s", model_metrics[k].name);
            label(out, "model", v.config->name);
            value(out, &model_metrics[k], &v.stats);
        }
    }
}

static void keys(struct buf *out, struct serve *s) {
    static const struct metric m = {.name = "key_tokens_total",
                                    .type = "counter",
                                    .help = "Tokens of prompts and answers of a key"};
    struct http_usage u;
    if (http_key_usage(s->http, 0, &u)) head(out, &m);
    for (size_t i = 0; http_key_usage(s->http, i, &u); i++) {
        buf_printf(out, "holdfast_%s", m.name);
        label(out, "key", u.name);
        buf_printf(out, " %llu\n", (unsigned long long)(u.n_prompt + u.n_generated));
    }
}

static void histogram(struct buf *out, struct serve *s) {
    static const struct metric m = {.name = "time_to_first_token_seconds",
                                    .type = "histogram",
                                    .help = "From the request's arrival"};
    struct track_ttft t;
    track_ttft(s->track, &t);
    head(out, &m);
    uint64_t sum = 0;
    for (int i = 0; i < TRACK_BUCKETS; i++) {
        sum += t.count[i];
        if (i + 1 < TRACK_BUCKETS)
            buf_printf(out, "holdfast_%s_bucket{le=\"%g\"} %llu\n", m.name, track_bucket[i],
                       (unsigned long long)sum);
        else
            buf_printf(out, "holdfast_%s_bucket{le=\"+Inf\"} %llu\n", m.name,
                       (unsigned long long)sum);
    }
    buf_printf(out, "holdfast_%s_sum %.6f\nholdfast_%s_count %llu\n", m.name, t.seconds, m.name,
               (unsigned long long)sum);
}

static void metrics(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct hold_stats e = {.size = sizeof e};
    struct buf out = {0};
    hold_engine_stats(s->engine, &e);
    for (size_t i = 0; i < sizeof engine_metrics / sizeof *engine_metrics; i++) {
        head(&out, &engine_metrics[i]);
        buf_printf(&out, "holdfast_%s", engine_metrics[i].name);
        value(&out, &engine_metrics[i], &e);
    }
    models(&out, s);
    keys(&out, s);
    histogram(&out, s);
    buf_printf(&out,
               "# HELP holdfast_resident_bytes Memory of the process.\n"
               "# TYPE holdfast_resident_bytes gauge\nholdfast_resident_bytes %llu\n",
               (unsigned long long)os_memory_resident());
    http_reply(r, out.failed ? 503 : 200, METRICS_TYPE, buf_view(&out));
    buf_free(&out);
}

static const struct http_route routes[] = {{"GET", "/metrics", metrics, openai_refuse, 0}};
static const struct http_route open_route[] = {
    {"GET", "/metrics", metrics, openai_refuse, HTTP_OPEN}};
const struct http_routes metrics_routes = {routes, 1};
const struct http_routes metrics_open_routes = {open_route, 1};
