/* holdfast ps and holdfast stop: the servers of this user, what they host and do, and their end. */
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/running.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- ps ----------------------------------------------------------------------------------- */
struct ps_flags {
    bool json;
};
static const struct opt ps_options[] = {
    {"--json", NULL, OPT_FLAG, offsetof(struct ps_flags, json), "one JSON object a line"},
};
static int ps_run(int argc, char **argv);
const struct verb verb_ps = {
    .name = "ps",
    .args = "[OPTIONS]",
    .summary = "List running servers, their models and what they do.",
    .examples = "  holdfast ps\n",
    .opts = ps_options,
    .n_opts = sizeof ps_options / sizeof *ps_options,
    .run = ps_run,
};

static void address(const struct running_server *s, char *out, size_t size) {
    if (s->unix_path) snprintf(out, size, "unix:%s", s->unix_path);
    else snprintf(out, size, "http://%s:%d", s->host, s->port);
}

static void show_models(json_t *models) {
    json_t *m;
    size_t i;
    json_array_foreach(models, i, m) {
        const char *name = json_string_value(json_object_get(m, "name"));
        printf("  %-40s %8lld tokens  %6.2f GiB  %lld in use\n", name ? name : "",
               (long long)json_integer_value(json_object_get(m, "context")),
               (double)json_integer_value(json_object_get(m, "weights")) / (1 << 30),
               (long long)json_integer_value(json_object_get(m, "users")));
    }
}

static void show(void *ctx, const struct running_server *s) {
    const struct ps_flags *f = ctx;
    char where[300];
    address(s, where, sizeof where);
    json_t *status = running_get(s, "/api/v1/status");
    if (f->json) {
        struct buf text = {0};
        json_t *line =
            json_pack("{s:i, s:s, s:O?}", "pid", s->pid, "address", where, "status", status);
        if (line && json_write(&text, line)) printf("%s\n", text.p);
        json_decref(line);
        buf_free(&text);
    } else if (!status) {
        printf("%d  %s  does not answer\n", s->pid, where);
    } else {
        const json_t *e = json_object_get(status, "engine");
        printf("%d  %s  up %.0f s, %lld running, %lld queued, %.1f tok/s\n", s->pid, where,
               json_number_value(json_object_get(status, "seconds")),
               (long long)json_integer_value(json_object_get(e, "running")),
               (long long)json_integer_value(json_object_get(e, "queued")),
               json_number_value(json_object_get(e, "decode_rate")));
        show_models(json_object_get(status, "models"));
    }
    json_decref(status);
}

static int ps_run(int argc, char **argv) {
    struct ps_flags f = {0};
    int n_words, code;
    if (!cmd_parse(&verb_ps, argc, argv, &f, NULL, 0, &n_words, &code)) return code;
    if (running_each(show, &f) == 0 && !f.json) fprintf(stderr, "no server is running\n");
    return 0;
}

/* ---- stop --------------------------------------------------------------------------------- */
struct stop_flags {
    int64_t port;
    double wait;
};
static const struct opt stop_options[] = {
    {"--port", "N", OPT_INT, offsetof(struct stop_flags, port), "only the one at this port"},
    {"--wait", "SECONDS", OPT_REAL, offsetof(struct stop_flags, wait),
     "until it is gone, at most (60)"},
};
static int stop_run(int argc, char **argv);
const struct verb verb_stop = {
    .name = "stop",
    .args = "[OPTIONS]",
    .summary = "Stop running servers; they finish what they are answering.",
    .examples = "  holdfast stop\n  holdfast stop --port 8080\n",
    .opts = stop_options,
    .n_opts = sizeof stop_options / sizeof *stop_options,
    .run = stop_run,
};

struct stop_job {
    int64_t port;
    int n;
    bool tell;
};

static void stop_one(void *ctx, const struct running_server *s) {
    struct stop_job *j = ctx;
    char where[300];
    if (j->port && (s->unix_path || s->port != j->port)) return;
    j->n++;
    if (!j->tell) return;
    address(s, where, sizeof where);
    if (kill(s->pid, SIGTERM) == 0) printf("stopping %d (%s)\n", s->pid, where);
    else fprintf(stderr, "cannot stop %d: %s\n", s->pid, strerror(errno));
}

static int stop_run(int argc, char **argv) {
    struct stop_flags f = {.wait = 60};
    int n_words, code;
    if (!cmd_parse(&verb_stop, argc, argv, &f, NULL, 0, &n_words, &code)) return code;
    struct stop_job j = {.port = f.port, .tell = true};
    running_each(stop_one, &j);
    if (!j.n) {
        fprintf(stderr, "no server is running%s\n", f.port ? " at that port" : "");
        return 1;
    }
    const struct timespec tick = {.tv_nsec = 100000000};
    for (double waited = 0; j.n && waited < f.wait; waited += .1) {
        nanosleep(&tick, NULL);
        j = (struct stop_job){.port = f.port};
        running_each(stop_one, &j);
    }
    if (j.n) fprintf(stderr, "holdfast stop: still running after %.0f s\n", f.wait);
    return j.n != 0;
}
