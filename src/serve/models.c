/* The registry of models (contract in models.h). One lock guards every entry; loading and
 * unloading, which take long, happen outside of it with the entry marked as busy. */
#include "serve/models.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct entry {
    struct model_entry pub;
    enum model_state state;
    _Atomic double progress;
    int n_users;
    uint64_t last_ns, bytes; /* last use; what it holds or is about to hold */
    bool has_info;
    struct hold_model_info info;
    char error[500];
};

struct models {
    struct hold_engine *engine;
    struct config *config;
    struct arena arena; /* names that were found, texts of infos */
    uint64_t budget, kv;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t sweeper;
    bool sweeping, stop;
    uint64_t scanned_ns;
    struct entry *order[CONFIG_MODELS_MAX]; /* by name */
    struct entry entry[CONFIG_MODELS_MAX];  /* parallel to config->model */
    size_t n;
};

/* ---- names -------------------------------------------------------------------------------- */
static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool in_list(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; p && *p;) {
        size_t len = strcspn(p, ",");
        const char *end = p + len, *at = p + strspn(p, " ");
        while (end > at && end[-1] == ' ') end--;
        if ((size_t)(end - at) == n && memcmp(at, name, n) == 0) return true;
        p += len + (p[len] == ',');
    }
    return false;
}

static bool answers_to(const struct model_config *c, const char *name) {
    if (strcmp(c->name, name) == 0 || in_list(c->aliases, name)) return true;
    const char *file = base_name(c->path);
    size_t n = strlen(name);
    return strncmp(file, name, n) == 0 && (!file[n] || strcmp(file + n, ".gguf") == 0);
}

static struct entry *find(struct models *m, const char *name) {
    for (size_t i = 0; i < m->n; i++)
        if (answers_to(m->entry[i].pub.config, name)) return &m->entry[i];
    return NULL;
}

/* Takes over what the configuration lists beyond m->n. */
static void adopt(struct models *m) {
    for (; m->n < m->config->n_models; m->n++) {
        struct entry *e = &m->entry[m->n];
        e->pub.config = &m->config->model[m->n];
        size_t at = m->n;
        for (; at > 0 && strcmp(m->order[at - 1]->pub.config->name, e->pub.config->name) > 0; at--)
            m->order[at] = m->order[at - 1];
        m->order[at] = e;
    }
}

static bool known_path(const struct models *m, const char *path) {
    for (size_t i = 0; i < m->config->n_models; i++)
        if (strcmp(m->config->model[i].path, path) == 0) return true;
    return false;
}

/* "x.gguf" gives "x"; later shards of a split file and other files give nothing. */
static bool model_stem(const char *file, char out[256]) {
    size_t n = strlen(file);
    if (n < 6 || n > 255 || strcmp(file + n - 5, ".gguf") != 0) return false;
    const char *shard = strstr(file, "-of-");
    if (shard && shard - file >= 6 && strncmp(shard - 6, "-00001", 6) != 0) return false;
    if (strncmp(file, "mmproj", 6) == 0) return false;
    snprintf(out, 256, "%.*s", (int)(n - 5), file);
    return true;
}

static bool scan(struct models *m, struct err *e) {
    const char *dir = m->config->models_dir;
    m->scanned_ns = os_now_ns();
    if (!dir) return true;
    DIR *d = opendir(dir);
    if (!d) return err_set(e, ERR_IO, "cannot read the folder %s: %s", dir, strerror(errno));
    bool ok = true;
    for (struct dirent *f; ok && (f = readdir(d));) {
        char stem[256], path[4096];
        if (!model_stem(f->d_name, stem)) continue;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, f->d_name) >= sizeof path) continue;
        if (known_path(m, path)) continue;
        const char *name = arena_strndup(&m->arena, stem, strlen(stem));
        const char *copy = arena_strndup(&m->arena, path, strlen(path));
        ok = name && copy && config_add_model(m->config, name, copy);
        if (!ok) err_set(e, ERR_LIMIT, "%s: more than %d models", dir, CONFIG_MODELS_MAX);
    }
    closedir(d);
    adopt(m);
    return ok;
}

/* New files are seen when somebody looks, at most every two seconds. */
static void rescan(struct models *m) {
    struct err e = {0};
    if (os_now_ns() - m->scanned_ns > 2000000000u && !scan(m, &e)) log_warn("%s", e.msg);
}

/* ---- loading and unloading ---------------------------------------------------------------- */
static void fail(struct http_error *e, int status, const char *text) {
    *e = (struct http_error){.status = status, .why.code = HOLD_ERR_ARG};
    if (status >= 500) e->why.code = status == 503 ? HOLD_ERR_BUSY : HOLD_ERR_IO;
    snprintf(e->why.msg, sizeof e->why.msg, "%s", text);
}

static void on_progress(void *ctx, double fraction) {
    struct entry *e = ctx;
    e->progress = fraction;
}

static char *read_template(const char *path, struct hold_error *e) {
    struct os_map map;
    struct err bad = {0};
    char *text = NULL;
    if (os_map_open(&map, path, &bad)) {
        if (map.len <= LIMIT_TEMPLATE_BYTES) text = mem_strndup((const char *)map.data, map.len);
        else err_set(&bad, ERR_LIMIT, "%s is larger than %d bytes", path, LIMIT_TEMPLATE_BYTES);
        os_map_close(&map);
    }
    if (!text) {
        e->code = HOLD_ERR_IO;
        memcpy(e->msg, bad.msg, sizeof e->msg);
    }
    return text;
}

static void fill_options(const struct model_config *c, struct hold_model_options *o) {
    hold_model_options_init(o, sizeof *o);
    o->path = c->path;
    o->alias = c->name;
    o->n_ctx = (int)c->n_ctx;
    if (c->k_type) o->k_type = c->k_type;
    if (c->v_type) o->v_type = c->v_type;
    if (c->load) o->load = c->load;
    if (c->n_ubatch) o->n_ubatch = (int)c->n_ubatch;
    if (c->n_parallel) o->n_parallel = (int)c->n_parallel;
}

static const char *keep_text(struct models *m, const char *old, const char *text) {
    if (!text) text = "";
    if (old && strcmp(old, text) == 0) return old;
    const char *copy = arena_strndup(&m->arena, text, strlen(text));
    return copy ? copy : "";
}

/* The engine's texts live as long as the model; ours as long as the registry. */
static void keep_info(struct models *m, struct entry *e, const struct hold_model_info *now) {
    struct hold_model_info old = e->info;
    e->info = *now;
    e->info.alias = e->pub.config->name;
    e->info.path = e->pub.config->path;
    e->info.arch = keep_text(m, old.arch, now->arch);
    e->info.name = keep_text(m, old.name, now->name);
    e->info.k_type = keep_text(m, old.k_type, now->k_type);
    e->info.v_type = keep_text(m, old.v_type, now->v_type);
    e->info.template_notes = keep_text(m, old.template_notes, now->template_notes);
    e->has_info = true;
}

/* Without the lock; the entry is marked as loading. */
static struct hold_model *load(struct models *m, struct entry *e, struct hold_error *bad) {
    const struct model_config *c = e->pub.config;
    struct hold_model_options o;
    fill_options(c, &o);
    o.progress = on_progress;
    o.progress_ctx = e;
    char *text = NULL;
    if (c->chat_template && !(text = read_template(c->chat_template, bad))) return NULL;
    o.chat_template = text;
    uint64_t start = os_now_ns();
    struct hold_model *model = hold_model_load(m->engine, &o, bad);
    if (model)
        log_info("model name=%s state=loaded ms=%.0f", c->name,
                 (double)(os_now_ns() - start) / 1e6);
    else log_warn("model name=%s state=failed error=\"%s\"", c->name, bad->msg);
    mem_free(text);
    return model;
}

/* Under the lock, which is released meanwhile. The entry is idle. */
static void unload(struct models *m, struct entry *e, const char *why) {
    struct hold_model *model = e->pub.model;
    e->state = MODEL_LOADING;
    e->pub.model = NULL;
    pthread_mutex_unlock(&m->lock);
    log_info("model name=%s state=unloaded why=%s", e->pub.config->name, why);
    hold_model_unload(model);
    pthread_mutex_lock(&m->lock);
    e->state = MODEL_UNLOADED;
    e->bytes = 0;
    pthread_cond_broadcast(&m->changed);
}

static uint64_t held(const struct models *m) {
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n; i++) sum += m->entry[i].bytes;
    return sum;
}

static struct entry *oldest_idle(struct models *m) {
    struct entry *best = NULL;
    for (size_t i = 0; i < m->n; i++) {
        struct entry *e = &m->entry[i];
        if (e->state != MODEL_LOADED || e->n_users || e->pub.config->pinned) continue;
        if (!best || e->last_ns < best->last_ns) best = e;
    }
    return best;
}

static double gib(uint64_t bytes) {
    return (double)bytes / (1 << 30);
}

/* Evicts idle models, the longest unused first, until `need` more bytes fit. Under the lock. */
static bool make_room(struct models *m, const struct entry *e, uint64_t need,
                      struct http_error *bad) {
    uint64_t room = m->budget > m->kv ? m->budget - m->kv : 0;
    struct entry *old;
    while (need <= room && need > room - (held(m) < room ? held(m) : room) &&
           (old = oldest_idle(m)))
        unload(m, old, "memory");
    if (need + held(m) <= room) return true;
    char text[400];
    bool never = need > room;
    int n =
        snprintf(text, sizeof text,
                 "%s needs %.2f GiB; of %.2f GiB (--memory) the K/V cache has %.2f (--kv-memory)",
                 e->pub.config->name, gib(need), gib(m->budget), gib(m->kv));
    if (never) snprintf(text + n, sizeof text - (size_t)n, " and %.2f are left", gib(room));
    else
        snprintf(text + n, sizeof text - (size_t)n,
                 ", models that are in use or pinned %.2f, and %.2f are left; try again later",
                 gib(held(m)), gib(room - held(m)));
    fail(bad, never ? 400 : 503, text);
    return false;
}

/* Loads an entry that is not loaded. Under the lock, which is released meanwhile. */
static bool start(struct models *m, struct entry *e, struct http_error *bad) {
    struct hold_model_options o;
    struct hold_memory need;
    struct hold_error why = {0};
    fill_options(e->pub.config, &o);
    if (!hold_memory_estimate(&o, &need, &why)) {
        fail(bad, 500, why.msg);
        e->state = MODEL_FAILED;
        memcpy(e->error, why.msg, sizeof e->error);
        return false;
    }
    e->state = MODEL_LOADING; /* others wait instead of loading it too */
    e->progress = 0;
    bool fits = make_room(m, e, need.weights + need.compute, bad);
    struct hold_model *model = NULL;
    if (fits) {
        e->bytes = need.weights + need.compute;
        pthread_mutex_unlock(&m->lock);
        model = load(m, e, &why);
        pthread_mutex_lock(&m->lock);
        if (!model) fail(bad, why.code == HOLD_ERR_NOMEM ? 503 : 500, why.msg);
    }
    e->pub.model = model;
    e->state = model ? MODEL_LOADED : MODEL_FAILED;
    e->last_ns = os_now_ns();
    if (model) keep_info(m, e, hold_model_info(model));
    else e->bytes = 0;
    if (!model) memcpy(e->error, bad->why.msg, sizeof e->error);
    pthread_cond_broadcast(&m->changed);
    return model != NULL;
}

/* ---- use ---------------------------------------------------------------------------------- */
static struct entry *choose(struct models *m, const char *name, struct http_error *e) {
    char text[400];
    struct entry *found = name && *name ? find(m, name) : NULL;
    if (!found && name && *name && m->config->models_dir) {
        rescan(m);
        found = find(m, name);
    }
    if (found) return found;
    if (m->n == 1) return &m->entry[0];
    if (!name || !*name) {
        for (size_t i = 0; i < m->n; i++)
            if (m->entry[i].state == MODEL_LOADED) return &m->entry[i];
        fail(e, 400, "the request names no model, and none is loaded");
        e->param = "model";
        return NULL;
    }
    int best = (int)strlen(name) / 3 + 2;
    const char *near = NULL;
    for (size_t i = 0; i < m->n; i++) {
        int d = str_distance(name, m->entry[i].pub.config->name);
        if (d < best) best = d, near = m->entry[i].pub.config->name;
    }
    snprintf(text, sizeof text, "there is no model '%.200s'%s%.150s%s", name,
             near ? ", did you mean '" : "", near ? near : "; GET /v1/models lists them",
             near ? "'?" : "");
    fail(e, 404, text);
    e->param = "model";
    return NULL;
}

const struct model_entry *models_use(struct models *m, const char *name, struct http_error *e) {
    pthread_mutex_lock(&m->lock);
    struct entry *x = choose(m, name, e);
    while (x && x->state == MODEL_LOADING) pthread_cond_wait(&m->changed, &m->lock);
    if (x && x->state != MODEL_LOADED && !start(m, x, e)) x = NULL;
    if (x) {
        x->n_users++;
        x->last_ns = os_now_ns();
    }
    pthread_mutex_unlock(&m->lock);
    return x ? &x->pub : NULL;
}

void models_done(struct models *m, const struct model_entry *entry) {
    if (!entry) return;
    struct entry *e = &m->entry[entry->config - m->config->model];
    pthread_mutex_lock(&m->lock);
    e->n_users--;
    e->last_ns = os_now_ns();
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

bool models_unload(struct models *m, const char *name, struct http_error *e) {
    pthread_mutex_lock(&m->lock);
    struct entry *x = choose(m, name, e);
    while (x && x->state == MODEL_LOADING) pthread_cond_wait(&m->changed, &m->lock);
    bool ok = x != NULL;
    if (ok && x->n_users) {
        fail(e, 409, "requests use this model; try again when they are done");
        ok = false;
    } else if (ok && x->state == MODEL_LOADED) unload(m, x, "asked");
    pthread_mutex_unlock(&m->lock);
    return ok;
}

/* ---- views -------------------------------------------------------------------------------- */
static void view(struct entry *e, struct model_view *out) {
    struct stat st;
    *out = (struct model_view){.config = e->pub.config,
                               .state = e->state,
                               .progress = e->progress,
                               .n_users = e->n_users,
                               .has_info = e->has_info,
                               .info = e->info};
    if (e->state == MODEL_LOADED) {
        out->stats.size = sizeof out->stats;
        hold_model_stats(e->pub.model, &out->stats);
        if (!e->n_users) out->idle_seconds = (double)(os_now_ns() - e->last_ns) / 1e9;
    }
    if (e->state == MODEL_FAILED) memcpy(out->error, e->error, sizeof out->error);
    if (stat(e->pub.config->path, &st) == 0) {
        out->file_bytes = (uint64_t)st.st_size;
        out->mtime = (int64_t)st.st_mtime;
    }
}

bool models_view(struct models *m, size_t i, struct model_view *out) {
    pthread_mutex_lock(&m->lock);
    if (i == 0) rescan(m);
    bool is = i < m->n;
    if (is) view(m->order[i], out);
    pthread_mutex_unlock(&m->lock);
    return is;
}

bool models_find(struct models *m, const char *name, struct model_view *out) {
    pthread_mutex_lock(&m->lock);
    struct entry *e = name && *name ? find(m, name) : m->n == 1 ? &m->entry[0] : NULL;
    if (e) view(e, out);
    pthread_mutex_unlock(&m->lock);
    return e != NULL;
}

void models_memory(struct models *m, struct models_memory *out) {
    pthread_mutex_lock(&m->lock);
    *out = (struct models_memory){.budget = m->budget, .kv = m->kv, .weights = held(m)};
    pthread_mutex_unlock(&m->lock);
}

/* ---- idle models -------------------------------------------------------------------------- */
static bool is_stale(const struct entry *e, uint64_t now) {
    double limit = e->pub.config->idle_seconds;
    return e->state == MODEL_LOADED && !e->n_users && !e->pub.config->pinned && limit > 0 &&
           (double)(now - e->last_ns) > limit * 1e9;
}

static void *sweep(void *arg) {
    struct models *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!m->stop) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        if (held(m)) pthread_cond_timedwait(&m->changed, &m->lock, &until);
        else pthread_cond_wait(&m->changed, &m->lock);
        for (size_t i = 0; i < m->n && !m->stop; i++)
            if (is_stale(&m->entry[i], os_now_ns())) unload(m, &m->entry[i], "idle");
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------- */
struct models *models_open(struct hold_engine *eng, struct config *c, struct err *e) {
    struct models *m = mem_calloc(1, sizeof *m);
    if (!m) {
        err_nomem(e, "the list of models", sizeof *m);
        return NULL;
    }
    struct hold_stats s = {.size = sizeof s};
    hold_engine_stats(eng, &s);
    m->engine = eng;
    m->config = c;
    m->kv = s.kv_budget;
    m->budget = c->memory_gib > 0 ? (uint64_t)(c->memory_gib * (1 << 30)) : os_memory_total();
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    adopt(m);
    bool ok = scan(m, e);
    if (ok && !m->n)
        ok = err_set(e, ERR_ARG, "there is no model to serve%s%s; `make models` fetches small ones",
                     c->models_dir ? " in " : "", c->models_dir ? c->models_dir : "");
    for (size_t i = 0; ok && i < m->n; i++) {
        struct http_error bad = {0};
        if (!m->entry[i].pub.config->pinned) continue;
        const struct model_entry *x = models_use(m, m->entry[i].pub.config->name, &bad);
        if (x) models_done(m, x);
        else ok = err_set(e, ERR_IO, "%s", bad.why.msg);
    }
    ok = ok && (m->sweeping = pthread_create(&m->sweeper, NULL, sweep, m) == 0);
    if (ok) return m;
    models_close(m);
    return NULL;
}

void models_close(struct models *m) {
    if (!m) return;
    pthread_mutex_lock(&m->lock);
    m->stop = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    if (m->sweeping) pthread_join(m->sweeper, NULL);
    for (size_t i = 0; i < m->n; i++)
        if (m->entry[i].pub.model) hold_model_unload(m->entry[i].pub.model);
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
    arena_free(&m->arena);
    mem_free(m);
}
