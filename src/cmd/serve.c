/* holdfast serve: reads settings (flags over the file), opens the server, waits for a signal and
 * stops it gracefully. The server itself is src/serve. */
#include "serve/serve.h"
#include "base/limits.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/running.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { GRACE_SECONDS = 30 };

struct serve_flags {
    struct config c;
    struct opt_list models, allow_hosts, allow_origins;
    const char *config_file, *alias;
    char cache_dir[4096];
    double grace;
    bool quiet;
};

#define FIELD(f) offsetof(struct serve_flags, f)
static const struct opt options[] = {
    {"-m, --model", "FILE", OPT_LIST, FIELD(models),
     "GGUF file, or its name in the models folder; loaded at start (may be repeated)"},
    {"-a, --alias", "NAME,...", OPT_STR, FIELD(alias), "further names of the first -m"},
    {"--models-dir", "DIR", OPT_STR, FIELD(c.models_dir),
     "host every GGUF file of a folder, loaded by name on demand (without -m: the models folder)"},
    {"--config", "FILE", OPT_STR, FIELD(config_file),
     "settings and models (~/.config/holdfast/config.ini)"},
    {"--host", "ADDRESS", OPT_STR, FIELD(c.host), "listen there (127.0.0.1)"},
    {"--port", "N", OPT_INT, FIELD(c.port), "(8080; 0: any free one)"},
    {"--unix-socket", "PATH", OPT_STR, FIELD(c.unix_path), "listen on a socket instead"},
    {"--api-key-file", "FILE", OPT_STR, FIELD(c.key_file),
     "lines NAME:KEY; needed to listen on other than loopback"},
    {"--allow-host", "NAME", OPT_LIST, FIELD(allow_hosts), "a name that clients may use in Host"},
    {"--allow-origin", "URL", OPT_LIST, FIELD(allow_origins),
     "a web site whose pages may send requests, e.g. https://app.example"},
    {"-c, --ctx-size", "N", OPT_INT, FIELD(c.base.n_ctx), "context in tokens (0: as trained)"},
    {"-np, --parallel", "N", OPT_INT, FIELD(c.base.n_parallel), "most sequences in one step"},
    {"-t, --threads", "N", OPT_INT, FIELD(c.n_threads), "compute threads (0: one per core)"},
    {"-ub, --ubatch-size", "N", OPT_INT, FIELD(c.base.n_ubatch), "most tokens in one forward pass"},
    {"-ctk, --cache-type-k", "TYPE", OPT_STR, FIELD(c.base.k_type),
     "K cache: f32, f16, q8_0, q4_0 (auto: q8_0; f16 where K has a bias)"},
    {"-ctv, --cache-type-v", "TYPE", OPT_STR, FIELD(c.base.v_type),
     "V cache: f32, f16, q8_0, q4_0 (auto: q8_0)"},
    {"--load", "mmap|copy", OPT_STR, FIELD(c.base.load),
     "map the weights, or copy them into 2 MiB pages"},
    {"--chat-template-file", "FILE", OPT_STR, FIELD(c.base.chat_template),
     "Jinja template to use instead of the file's"},
    {"--memory", "GIB", OPT_REAL, FIELD(c.memory_gib),
     "weights of all models and the K/V cache together (0: all of the machine's)"},
    {"--kv-memory", "GIB", OPT_REAL, FIELD(c.kv_gib),
     "of it the K/V cache (0: a third, or half of what is free)"},
    {"--disk-cache", "DIR", OPT_STR, FIELD(c.disk_dir),
     "keep conversations there over restarts ($XDG_CACHE_HOME/holdfast, else ~/.cache/holdfast)"},
    {"--disk-cache-size", "GIB", OPT_REAL, FIELD(c.disk_gib), "most it takes there (10)"},
    {"--no-disk-cache", NULL, OPT_FLAG, FIELD(c.no_disk_cache), "keep nothing on disk"},
    {"--idle", "SECONDS", OPT_REAL, FIELD(c.base.idle_seconds),
     "unload a model on demand after this long without a request (3600; 0: never)"},
    {"--prefill-share", "X", OPT_REAL, FIELD(c.prefill_share),
     "least share of the time for prompts while others are being answered"},
    {"--max-connections", "N", OPT_INT, FIELD(c.max_connections), "(256)"},
    {"--request-timeout", "SECONDS", OPT_INT, FIELD(c.request_seconds),
     "a request has to arrive whole, and a piece of an answer be taken, within this (120)"},
    {"--keep-alive", "SECONDS", OPT_INT, FIELD(c.alive_seconds),
     "a quiet stream shows a sign of life this often (10)"},
    {"--log-prompts", "DIR", OPT_STR, FIELD(c.log_prompts),
     "write each request and its answer to a file there"},
    {"--metrics-open", NULL, OPT_FLAG, FIELD(c.metrics_open), "/metrics needs no key"},
    {"--grace", "SECONDS", OPT_REAL, FIELD(grace),
     "when stopping, wait this long for running answers (30)"},
    {"--pin", NULL, OPT_FLAG, FIELD(c.pin), "pin compute threads to cores"},
    {"-q, --quiet", NULL, OPT_FLAG, FIELD(quiet), "log warnings only"},
};

static int run(int argc, char **argv);
const struct verb verb_serve = {
    .name = "serve",
    .args = "[OPTIONS] [-m MODEL]...",
    .summary = "Serve models to agents and apps over HTTP.",
    .examples =
        "  holdfast serve -m coder.gguf              # one model at http://127.0.0.1:8080/v1\n"
        "  holdfast serve --models-dir ~/models      # load by name on demand\n"
        "  holdfast serve -m coder.gguf --host 0.0.0.0 --api-key-file keys\n"
        "  holdfast serve -m coder.gguf --unix-socket /run/holdfast.sock\n",
    .opts = options,
    .n_opts = sizeof options / sizeof *options,
    .run = run,
};

/* ---- log ---------------------------------------------------------------------------------- */
static bool log_quiet;

static void log_line(void *ctx, enum log_level level, const char *text) {
    static const char *const name[] = {"error", "warn", "info", "debug"};
    (void)ctx;
    if (level > (log_quiet ? LOG_WARN : LOG_INFO)) return;
    struct timespec now;
    struct tm tm;
    char time[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &tm);
    fprintf(stderr, "%s.%03ldZ %s %s\n", time, now.tv_nsec / 1000000, name[level], text);
}

/* ---- settings ----------------------------------------------------------------------------- */
static bool settings_path(const struct serve_flags *f, char *path, size_t size) {
    const char *home = getenv("HOME"), *config = getenv("XDG_CONFIG_HOME");
    if (f->config_file) snprintf(path, size, "%s", f->config_file);
    else if (config && *config) snprintf(path, size, "%s/holdfast/config.ini", config);
    else snprintf(path, size, "%s/.config/holdfast/config.ini", home ? home : "");
    return f->config_file || access(path, R_OK) == 0;
}

/* "~/x", and names relative to the models folder. */
static const char *full_path(struct config *c, const char *path) {
    char text[4096];
    const char *home = getenv("HOME");
    if (strncmp(path, "~/", 2) == 0)
        snprintf(text, sizeof text, "%s/%s", home ? home : "", path + 2);
    else if (*path != '/' && c->models_dir) {
        snprintf(text, sizeof text, "%s/%s", c->models_dir, path);
        if (access(text, F_OK) != 0) return path;
    } else return path;
    return arena_strndup(&c->arena, text, strlen(text));
}

static bool add_models(struct serve_flags *f, struct err *e) {
    struct config *c = &f->c;
    if (c->models_dir) c->models_dir = full_path(c, c->models_dir);
    for (size_t i = 0; i < c->n_models; i++) {
        c->model[i].path = full_path(c, c->model[i].path);
        if (!c->model[i].path) return err_nomem(e, "settings", 4096);
    }
    for (int i = 0; i < f->models.n; i++) {
        char path[4096], stem[256];
        if (!cmd_model_path(f->models.item[i], path, sizeof path, e)) return false;
        const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
        size_t n = strlen(file);
        if (n > 5 && strcmp(file + n - 5, ".gguf") == 0) n -= 5;
        snprintf(stem, sizeof stem, "%.*s", (int)(n < 255 ? n : 255), file);
        const char *name = arena_strndup(&c->arena, stem, strlen(stem));
        const char *copy = arena_strndup(&c->arena, path, strlen(path));
        if (!name || !copy) return err_nomem(e, "settings", sizeof path);
        struct model_config *m = config_add_model(c, name, copy);
        if (!m) return err_set(e, ERR_LIMIT, "more than %d models", CONFIG_MODELS_MAX);
        m->pinned = true;
        if (i == 0) m->aliases = f->alias;
    }
    if (c->n_models || c->models_dir) return true;
    char dir[4096];
    cmd_models_dir(dir, sizeof dir);
    c->models_dir = arena_strndup(&c->arena, dir, strlen(dir));
    return c->models_dir || err_nomem(e, "settings", sizeof dir);
}

static void copy_list(const char **to, const struct opt_list *from) {
    int n = from->n < CONFIG_LIST_MAX ? from->n : CONFIG_LIST_MAX;
    if (!n) return;
    for (int i = 0; i < n; i++) to[i] = from->item[i];
    to[n] = NULL;
}

static bool in_range(const struct config *c, struct err *e) {
    const struct {
        const char *name;
        int64_t value, min, max;
    } all[] = {{"port", c->port, 0, 65535},
               {"max-connections", c->max_connections, 1, 100000},
               {"request-timeout", c->request_seconds, 1, 86400},
               {"keep-alive", c->alive_seconds, 1, 3600},
               {"threads", c->n_threads, 0, 1024},
               {"ctx-size", c->base.n_ctx, 0, INT32_MAX}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].value < all[i].min || all[i].value > all[i].max)
            return err_set(e, ERR_ARG, "%s is %lld; expected %lld to %lld", all[i].name,
                           (long long)all[i].value, (long long)all[i].min, (long long)all[i].max);
    return true;
}

static void init(struct serve_flags *f) {
    *f = (struct serve_flags){.grace = GRACE_SECONDS};
    config_init(&f->c);
    cmd_cache_dir(f->cache_dir, sizeof f->cache_dir);
}

/* Flags are parsed twice: to find the file, and over what the file says. */
static bool read_settings(struct serve_flags *f, int argc, char **argv, int *code) {
    char path[4096];
    struct buf text = {0};
    struct err e;
    int n_words;
    init(f);
    if (!cmd_parse(&verb_serve, argc, argv, f, NULL, 0, &n_words, code)) return false;
    bool file = settings_path(f, path, sizeof path);
    init(f);
    bool ok = !file || (cmd_read(path, LIMIT_CONFIG_BYTES, &text, &e) &&
                        config_parse(&f->c, CONFIG_SETTINGS, buf_view(&text), path, &e));
    ok = ok && cmd_parse(&verb_serve, argc, argv, f, NULL, 0, &n_words, code);
    copy_list(f->c.allow_hosts, &f->allow_hosts);
    copy_list(f->c.allow_origins, &f->allow_origins);
    ok = ok &&
         (!file || f->models.n || config_parse(&f->c, CONFIG_MODELS, buf_view(&text), path, &e));
    if (!f->c.disk_dir) f->c.disk_dir = f->cache_dir;
    ok = ok && add_models(f, &e) && in_range(&f->c, &e);
    buf_free(&text);
    if (!ok) *code = cmd_fail("serve", &e);
    return ok;
}

/* ---- running ------------------------------------------------------------------------------ */
/* A model's file that shrinks while it is mapped. */
static void on_bus(int sig) {
    static const char text[] = "holdfast serve: a model's file was cut short or its disk failed "
                               "while it was mapped; --load copy is safe from that\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(128 + sig);
    _exit(128 + sig);
}

static void show_address(const struct serve *s) {
    const struct config *c = s->config;
    if (c->unix_path) log_info("listening unix=%s", c->unix_path);
    else log_info("listening url=http://%s:%d", c->host, http_port(s->http));
}

static int wait_and_stop(struct serve *s, const sigset_t *signals, double grace) {
    int sig;
    sigwait(signals, &sig);
    log_info("stopping signal=%d running=%d grace=%.0f", sig, http_n_running(s->http), grace);
    sigset_t none;
    sigemptyset(&none);
    signal(SIGINT, SIG_DFL); /* a second one ends it at once */
    signal(SIGTERM, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    serve_close(s, grace);
    log_info("stopped");
    return 0;
}

static int run(int argc, char **argv) {
    static struct serve_flags f;
    struct serve s;
    struct running_file running = {0};
    struct err e;
    int code;
    if (!read_settings(&f, argc, argv, &code)) return code;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread starts */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of the write */
    signal(SIGBUS, on_bus);
    log_quiet = f.quiet;
    log_sink(log_line, NULL);
    bool ok = serve_open(&s, &f.c, &e);
    if (ok) {
        const struct running_server me = {.pid = getpid(),
                                          .port = http_port(s.http),
                                          .host = f.c.host,
                                          .unix_path = f.c.unix_path,
                                          .secret = http_local_key(s.http)};
        if (!running_write(&running, &me, &e)) log_warn("%s; ps and stop cannot see this", e.msg);
        show_address(&s);
        code = wait_and_stop(&s, &signals, f.grace);
        running_remove(&running);
    } else code = cmd_fail("serve", &e);
    config_free(&f.c);
    return code;
}
