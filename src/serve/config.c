/* The configuration file: INI with the types of TOML's strings, numbers and booleans (format in
 * config.h). A table per section; keys are those of the command line. */
#include "serve/config.h"
#include "base/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum config_kind { CONFIG_STR, CONFIG_INT, CONFIG_REAL, CONFIG_BOOL, CONFIG_LIST };
struct config_key {
    const char *name;
    enum config_kind kind;
    size_t offset;
};

#define AT(f) offsetof(struct config, f)
static const struct config_key server_keys[] = {
    {"host", CONFIG_STR, AT(host)},
    {"port", CONFIG_INT, AT(port)},
    {"unix-socket", CONFIG_STR, AT(unix_path)},
    {"models-dir", CONFIG_STR, AT(models_dir)},
    {"api-key-file", CONFIG_STR, AT(key_file)},
    {"allow-host", CONFIG_LIST, AT(allow_hosts)},
    {"allow-origin", CONFIG_LIST, AT(allow_origins)},
    {"memory", CONFIG_REAL, AT(memory_gib)},
    {"kv-memory", CONFIG_REAL, AT(kv_gib)},
    {"disk-cache", CONFIG_STR, AT(disk_dir)},
    {"disk-cache-size", CONFIG_REAL, AT(disk_gib)},
    {"no-disk-cache", CONFIG_BOOL, AT(no_disk_cache)},
    {"threads", CONFIG_INT, AT(n_threads)},
    {"pin", CONFIG_BOOL, AT(pin)},
    {"prefill-share", CONFIG_REAL, AT(prefill_share)},
    {"max-connections", CONFIG_INT, AT(max_connections)},
    {"request-timeout", CONFIG_INT, AT(request_seconds)},
    {"keep-alive", CONFIG_INT, AT(alive_seconds)},
    {"log-prompts", CONFIG_STR, AT(log_prompts)},
    {"metrics-open", CONFIG_BOOL, AT(metrics_open)},
};
#undef AT
#define AT(f) offsetof(struct model_config, f)
static const struct config_key model_keys[] = {
    {"path", CONFIG_STR, AT(path)},
    {"alias", CONFIG_STR, AT(aliases)},
    {"ctx-size", CONFIG_INT, AT(n_ctx)},
    {"ubatch-size", CONFIG_INT, AT(n_ubatch)},
    {"parallel", CONFIG_INT, AT(n_parallel)},
    {"cache-type-k", CONFIG_STR, AT(k_type)},
    {"cache-type-v", CONFIG_STR, AT(v_type)},
    {"load", CONFIG_STR, AT(load)},
    {"chat-template-file", CONFIG_STR, AT(chat_template)},
    {"pinned", CONFIG_BOOL, AT(pinned)},
    {"idle", CONFIG_REAL, AT(idle_seconds)},
    {"temp", CONFIG_REAL, AT(temp)},
    {"top-k", CONFIG_REAL, AT(top_k)},
    {"top-p", CONFIG_REAL, AT(top_p)},
    {"min-p", CONFIG_REAL, AT(min_p)},
    {"repeat-penalty", CONFIG_REAL, AT(repeat_penalty)},
    {"presence-penalty", CONFIG_REAL, AT(presence_penalty)},
    {"frequency-penalty", CONFIG_REAL, AT(frequency_penalty)},
    {"predict", CONFIG_INT, AT(max_tokens)},
    {"reasoning-budget", CONFIG_INT, AT(reasoning_budget)},
};
#undef AT

void config_init(struct config *c) {
    *c = (struct config){.host = "127.0.0.1",
                         .port = 8080,
                         .max_connections = 256,
                         .request_seconds = 120,
                         .alive_seconds = 10,
                         .disk_gib = 10,
                         .prefill_share = NAN};
    c->base = (struct model_config){.idle_seconds = 3600,
                                    .temp = NAN,
                                    .top_p = NAN,
                                    .min_p = NAN,
                                    .top_k = NAN,
                                    .repeat_penalty = NAN,
                                    .presence_penalty = NAN,
                                    .frequency_penalty = NAN,
                                    .max_tokens = -1,
                                    .reasoning_budget = -1};
}

struct model_config *config_add_model(struct config *c, const char *name, const char *path) {
    if (c->n_models == CONFIG_MODELS_MAX) return NULL;
    struct model_config *m = &c->model[c->n_models++];
    *m = c->base;
    m->name = name;
    m->path = path;
    return m;
}

void config_free(struct config *c) {
    arena_free(&c->arena);
}

/* ---- lines -------------------------------------------------------------------------------- */
struct line {
    struct config *c;
    const char *file;
    int number;
    const struct config_key *keys; /* of the section */
    size_t n_keys;
    void *out;
    enum config_part part;
    struct config other; /* takes the settings of the part that is not wanted */
};

static struct str trim(struct str s) {
    while (s.len && strchr(" \t\r", s.p[s.len - 1])) s.len--;
    while (s.len && strchr(" \t\r", *s.p)) s.p++, s.len--;
    return s;
}

/* Everything before a '#' that is not inside quotes. */
static struct str without_comment(struct str s) {
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"') quoted = !quoted;
        if (s.p[i] == '#' && !quoted) return (struct str){s.p, i};
    }
    return s;
}

static bool wrong(const struct line *l, struct err *e, const char *what, struct str found) {
    int n = found.len < 80 ? (int)found.len : 80;
    return err_set(e, ERR_FORMAT, "%s:%d: %s '%.*s'", l->file, l->number, what, n, found.p);
}

static bool start_section(struct line *l, struct str s, struct err *e) {
    struct str name = trim((struct str){s.p + 1, s.len - 2});
    if (str_is(name, "server")) {
        l->keys = server_keys;
        l->n_keys = sizeof server_keys / sizeof *server_keys;
        l->out = l->part == CONFIG_SETTINGS ? l->c : &l->other;
        return true;
    }
    bool all = str_is(name, "model");
    if (!all && !(str_starts(name, STR("model.")) && name.len > 6))
        return wrong(l, e, "expected [server], [model] or [model.NAME], found", s);
    l->keys = model_keys;
    l->n_keys = sizeof model_keys / sizeof *model_keys;
    bool wanted = all == (l->part == CONFIG_SETTINGS);
    l->out = wanted ? &l->c->base : &l->other.base;
    if (all || !wanted) return true;
    struct str own = {name.p + 6, name.len - 6};
    if (own.len > 1 && own.p[0] == '"' && own.p[own.len - 1] == '"')
        own = (struct str){own.p + 1, own.len - 2};
    const char *copy = arena_strndup(&l->c->arena, own.p, own.len);
    if (!copy) return err_nomem(e, "settings", own.len);
    l->out = config_add_model(l->c, copy, NULL);
    if (l->out) return true;
    return err_set(e, ERR_LIMIT, "%s:%d: more than %d models", l->file, l->number,
                   CONFIG_MODELS_MAX);
}

static bool set_list(const char **list, char *text) {
    size_t n = 0;
    for (char *p = text; *p;) {
        size_t len = strcspn(p, ",");
        char *end = p + len, *next = *end ? end + 1 : end;
        while (end > p && end[-1] == ' ') end--;
        *end = 0;
        p += strspn(p, " ");
        if (*p) {
            if (n == CONFIG_LIST_MAX) return false;
            list[n++] = p;
        }
        p = next;
    }
    list[n] = NULL;
    return true;
}

/* text is the arena's own and ends in NUL. */
static bool set_value(const struct config_key *k, char *text, void *out) {
    void *field = (char *)out + k->offset;
    char *end = text;
    switch (k->kind) {
    case CONFIG_STR:
        *(const char **)field = text;
        return true;
    case CONFIG_INT:
        *(int64_t *)field = strtoll(text, &end, 10);
        return *text && !*end;
    case CONFIG_REAL:
        *(double *)field = strtod(text, &end);
        return *text && !*end;
    case CONFIG_BOOL:
        *(bool *)field = strcmp(text, "true") == 0 || strcmp(text, "on") == 0;
        return *(bool *)field || strcmp(text, "false") == 0 || strcmp(text, "off") == 0;
    case CONFIG_LIST:
        return set_list(field, text);
    }
    return false;
}

static const struct config_key *find_key(const struct line *l, struct str name, const char **near) {
    int best = (int)name.len / 3 + 2;
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)(name.len < 63 ? name.len : 63), name.p);
    for (size_t i = 0; i < l->n_keys; i++) {
        if (str_is(name, l->keys[i].name)) return &l->keys[i];
        int d = str_distance(word, l->keys[i].name);
        if (d < best) best = d, *near = l->keys[i].name;
    }
    return NULL;
}

static bool take_setting(struct line *l, struct str s, struct err *e) {
    int64_t eq = str_find(s, STR("="), 0);
    if (eq < 0) return wrong(l, e, "expected KEY = VALUE, found", s);
    if (!l->keys) return wrong(l, e, "this stands before the first [section]:", s);
    struct str name = trim((struct str){s.p, (size_t)eq});
    struct str value = trim((struct str){s.p + eq + 1, s.len - (size_t)eq - 1});
    if (value.len > 1 && value.p[0] == '"' && value.p[value.len - 1] == '"')
        value = (struct str){value.p + 1, value.len - 2};
    const char *near = NULL;
    const struct config_key *k = find_key(l, name, &near);
    if (!k) {
        wrong(l, e, "there is no setting", name);
        size_t n = strlen(e->msg);
        if (near) snprintf(e->msg + n, sizeof e->msg - n, ", did you mean '%s'?", near);
        return false;
    }
    char *copy = arena_strndup(&l->c->arena, value.p, value.len);
    if (!copy) return err_nomem(e, "settings", value.len);
    return set_value(k, copy, l->out) || wrong(l, e, "a value that does not fit its key:", s);
}

static bool take_lines(struct line *l, struct str text, struct err *e) {
    for (size_t at = 0; at < text.len;) {
        int64_t nl = str_find(text, STR("\n"), at);
        size_t end = nl < 0 ? text.len : (size_t)nl;
        struct str s = trim(without_comment((struct str){text.p + at, end - at}));
        l->number++;
        at = end + 1;
        if (!s.len) continue;
        bool section = s.p[0] == '[' && s.p[s.len - 1] == ']' && s.len > 2;
        if (!(section ? start_section(l, s, e) : take_setting(l, s, e))) return false;
    }
    for (size_t i = 0; i < l->c->n_models; i++)
        if (!l->c->model[i].path)
            return err_set(e, ERR_FORMAT, "%s: [model.%s] has no path", l->file,
                           l->c->model[i].name);
    return true;
}

bool config_parse(struct config *c, enum config_part part, struct str text, const char *file,
                  struct err *e) {
    if (text.len > LIMIT_CONFIG_BYTES)
        return err_set(e, ERR_LIMIT, "%s is larger than %d bytes", file, LIMIT_CONFIG_BYTES);
    if (text.len && memchr(text.p, 0, text.len))
        return err_set(e, ERR_FORMAT, "%s holds a NUL byte; is it text?", file);
    struct line *l = mem_calloc(1, sizeof *l);
    if (!l) return err_nomem(e, "settings", sizeof *l);
    l->c = c;
    l->file = file;
    l->part = part;
    bool ok = take_lines(l, text, e);
    mem_free(l);
    return ok;
}
