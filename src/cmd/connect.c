/* holdfast connect: the settings that point a coding agent to this server. Prints them, or writes
 * them into the agent's own files, keeping what else stands there and a backup. An agent is a row
 * of the table with one function that builds its settings; facts in peers.md D7. */
#include "base/json.h"
#include "base/mem.h"
#include "base/limits.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/running.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct connect_flags {
    const char *url, *model, *key;
    int64_t context;
    bool write;
};
#define FIELD(f) offsetof(struct connect_flags, f)
static const struct opt options[] = {
    {"--write", NULL, OPT_FLAG, FIELD(write),
     "write the agent's settings (a copy of the old ones stays beside them)"},
    {"--url", "URL", OPT_STR, FIELD(url), "the server (the one that runs; http://127.0.0.1:8080)"},
    {"--model", "NAME", OPT_STR, FIELD(model), "the model's name there (its first one)"},
    {"--context", "N", OPT_INT, FIELD(context), "its context in tokens (what the server says)"},
    {"--api-key", "KEY", OPT_STR, FIELD(key), "when the server needs one"},
};
static int run(int argc, char **argv);
const struct verb verb_connect = {
    .name = "connect",
    .args = "[OPTIONS] opencode|codex|pi|qwen|claude",
    .summary = "Point a coding agent to this server.",
    .examples = "  holdfast connect opencode            # print the settings\n"
                "  holdfast connect codex --write       # write them, keeping a backup\n",
    .opts = options,
    .n_opts = sizeof options / sizeof *options,
    .run = run,
};

/* ---- one agent's settings ----------------------------------------------------------------- */
struct target {
    const char *url, *model, *key;
    int context, output; /* tokens */
};

/* A JSON file takes `patch` (merged key by key); a text file a marked block; `hint` is for people.
 */
struct settings {
    json_t *patch;
    struct buf block, hint;
};

static void opencode(const struct target *t, struct settings *s) {
    s->patch = json_pack(
        "{s:s, s:{s:{s:s, s:s, s:{s:s+, s:s}, s:{s:{s:s, s:b, s:b, s:{s:i, s:i}}}}}, s:s+}",
        "$schema", "https://opencode.ai/config.json", "provider", "holdfast", "npm",
        "@ai-sdk/openai-compatible", "name", "Holdfast", "options", "baseURL", t->url, "/v1",
        "apiKey", t->key, "models", t->model, "name", t->model, "tool_call", 1, "reasoning", 1,
        "limit", "context", t->context, "output", t->output, "small_model", "holdfast/", t->model);
    buf_printf(&s->hint, "opencode -m holdfast/%s\n", t->model);
}

/* KEY = "TEXT": TOML escapes as JSON does. */
static void toml_text(struct buf *out, const char *key, const char *text) {
    json_t *value = json_string(text);
    buf_printf(out, "%s = ", key);
    if (!value || !json_write(out, value)) out->failed = true;
    buf_char(out, '\n');
    json_decref(value);
}

/* A profile is a file of its own. */
static void codex(const struct target *t, struct settings *s) {
    char text[512];
    struct buf *out = &s->block;
    toml_text(out, "model_provider", "holdfast");
    toml_text(out, "model", t->model);
    buf_printf(out, "model_context_window = %d\n\n[model_providers.holdfast]\n", t->context);
    toml_text(out, "name", "Holdfast");
    snprintf(text, sizeof text, "%s/v1", t->url);
    toml_text(out, "base_url", text);
    toml_text(out, "wire_api", "responses");
    buf_cstr(out, "requires_openai_auth = false\nstream_idle_timeout_ms = 900000\n"
                  "supports_websockets = false\n");
    snprintf(text, sizeof text, "Bearer %s", t->key);
    if (strcmp(t->key, "none") != 0) toml_text(out, "http_headers.Authorization", text);
    buf_cstr(&s->hint, "codex -p holdfast\n");
}

static void pi(const struct target *t, struct settings *s) {
    s->patch = json_pack(
        "{s:{s:{s:s+, s:s, s:s, s:[{s:s, s:s, s:b, s:[s], s:i, s:i, s:{s:i, s:i, s:i, s:i}}]}}}",
        "providers", "holdfast", "baseUrl", t->url, "/v1", "api", "openai-completions", "apiKey",
        t->key, "models", "id", t->model, "name", t->model, "reasoning", 1, "input", "text",
        "contextWindow", t->context, "maxTokens", t->output, "cost", "input", 0, "output", 0,
        "cacheRead", 0, "cacheWrite", 0);
    buf_printf(&s->hint, "pi --provider holdfast --model %s\n", t->model);
}

static void qwen(const struct target *t, struct settings *s) {
    s->patch =
        json_pack("{s:{s:{s:s}}, s:{s:s, s:{s:i}}}", "security", "auth", "selectedType", "openai",
                  "model", "name", t->model, "generationConfig", "contextWindowSize", t->context);
    buf_printf(&s->hint,
               "export OPENAI_BASE_URL=%s/v1 OPENAI_API_KEY=%s OPENAI_MODEL=%s\n"
               "export QWEN_CODE_MAX_OUTPUT_TOKENS=%d\nqwen --auth-type openai\n",
               t->url, t->key, t->model, t->output);
}

static void claude(const struct target *t, struct settings *s) {
    static const char *const model[] = {
        "ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL"};
    char context[16];
    snprintf(context, sizeof context, "%d", t->context);
    json_t *env = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "ANTHROPIC_BASE_URL", t->url,
                            "ANTHROPIC_AUTH_TOKEN", t->key, "CLAUDE_CODE_ATTRIBUTION_HEADER", "0",
                            "API_TIMEOUT_MS", "900000", "CLAUDE_STREAM_IDLE_TIMEOUT_MS", "900000",
                            "CLAUDE_CODE_AUTO_COMPACT_WINDOW", context,
                            "CLAUDE_CODE_MAX_CONTEXT_TOKENS", context);
    for (size_t i = 0; i < sizeof model / sizeof *model; i++)
        json_object_set_new(env, model[i], json_string(t->model));
    s->patch = json_pack("{s:o}", "env", env);
    buf_cstr(&s->hint, "claude\n");
}

static const struct agent {
    const char *name, *file; /* below $HOME */
    void (*fill)(const struct target *t, struct settings *s);
} agents[] = {
    {"opencode", ".config/opencode/opencode.json", opencode},
    {"codex", ".codex/holdfast.config.toml", codex},
    {"pi", ".pi/agent/models.json", pi},
    {"qwen", ".qwen/settings.json", qwen},
    {"claude", ".claude/settings.json", claude},
};

/* ---- writing ------------------------------------------------------------------------------ */
#define BEGIN_MARK "# >>> holdfast connect\n"
#define END_MARK   "# <<< holdfast connect\n"

/* Keys of patch go into to, objects into objects; everything else there stays. */
static void merge(json_t *to, json_t *patch) {
    const char *key;
    json_t *v;
    json_object_foreach(patch, key, v) {
        json_t *old = json_object_get(to, key);
        if (json_is_object(old) && json_is_object(v)) merge(old, v);
        else json_object_set(to, key, v);
    }
}

/* The old text without our block, and the block at its end. */
static void put_block(struct str old, struct str block, struct buf *out) {
    int64_t from = str_find(old, STR(BEGIN_MARK), 0);
    int64_t to = from < 0 ? -1 : str_find(old, STR(END_MARK), (size_t)from);
    if (to >= 0) {
        size_t end = (size_t)to + strlen(END_MARK);
        buf_add(out, old.p, (size_t)from);
        buf_add(out, old.p + end, old.len - end);
    } else buf_str(out, old);
    if (out->len && out->p[out->len - 1] != '\n') buf_char(out, '\n');
    buf_cstr(out, BEGIN_MARK);
    buf_str(out, block);
    buf_cstr(out, END_MARK);
}

static bool put_json(struct str old, json_t *patch, struct buf *out, const char *path,
                     struct err *e) {
    json_t *all = old.len ? json_parse(old, LIMIT_CONFIG_BYTES, e) : json_object();
    if (!all || !json_is_object(all)) {
        json_decref(all);
        return err_set(e, ERR_FORMAT,
                       "%s is no JSON object (comments are not JSON); nothing was "
                       "changed",
                       path);
    }
    merge(all, patch);
    char *text = json_dumps(all, JSON_INDENT(2));
    json_decref(all);
    bool ok = text && buf_cstr(out, text) && buf_char(out, '\n');
    mem_free(text);
    return ok || err_nomem(e, path, out->len);
}

static bool write_all(const char *path, struct str text, mode_t mode, struct err *e) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool ok = fd >= 0 && write(fd, text.p, text.len) == (ssize_t)text.len;
    if (!ok) err_set(e, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return ok;
}

static void make_folders(char *path) {
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        mkdir(path, 0755);
        *p = '/';
    }
}

static bool write_settings(const struct agent *a, const struct settings *s, struct err *e) {
    char path[1024], other[1100];
    const char *home = getenv("HOME");
    struct buf old = {0}, new = {0};
    snprintf(path, sizeof path, "%s/%s", home ? home : "", a->file);
    bool there = access(path, F_OK) == 0;
    bool ok = !there || cmd_read(path, LIMIT_CONFIG_BYTES, &old, e);
    if (ok && s->patch) ok = put_json(buf_view(&old), s->patch, &new, path, e);
    else if (ok) put_block(buf_view(&old), buf_view(&s->block), &new);
    if (ok && there) {
        snprintf(other, sizeof other, "%s.before-holdfast", path);
        if (access(other, F_OK) != 0) ok = write_all(other, buf_view(&old), 0600, e);
    }
    make_folders(path);
    snprintf(other, sizeof other, "%s.tmp", path);
    ok = ok && write_all(other, buf_view(&new), 0600, e);
    if (ok && rename(other, path) != 0)
        ok = err_set(e, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (ok) printf("wrote %s%s\n", path, there ? " (the first version: .before-holdfast)" : "");
    buf_free(&old);
    buf_free(&new);
    return ok;
}

static void print_settings(const struct agent *a, const struct settings *s) {
    printf("# ~/%s\n", a->file);
    char *text = s->patch ? json_dumps(s->patch, JSON_INDENT(2)) : NULL;
    if (text) printf("%s\n", text);
    else printf("%.*s", (int)s->block.len, s->block.p ? s->block.p : "");
    mem_free(text);
}

/* ---- the server --------------------------------------------------------------------------- */
struct found {
    char url[300], model[256], key[128];
    int context;
};

static void take_server(void *ctx, const struct running_server *s) {
    struct found *f = ctx;
    if (*f->url || s->unix_path) return;
    bool any = strcmp(s->host, "0.0.0.0") == 0 || strcmp(s->host, "::") == 0;
    snprintf(f->url, sizeof f->url, "http://%s:%d", any ? "127.0.0.1" : s->host, s->port);
    json_t *list = running_get(s, "/v1/models");
    const json_t *m = json_array_get(json_object_get(list, "data"), 0);
    const char *id = json_string_value(json_object_get(m, "id"));
    snprintf(f->model, sizeof f->model, "%s", id ? id : "");
    f->context = (int)json_integer_value(json_object_get(m, "context_length"));
    json_decref(list);
}

static int run(int argc, char **argv) {
    struct connect_flags f = {0};
    struct found found = {0};
    struct settings s = {0};
    struct err e;
    const char *word = NULL;
    int n_words, code;
    if (!cmd_parse(&verb_connect, argc, argv, &f, &word, 1, &n_words, &code)) return code;
    const struct agent *a = NULL;
    for (size_t i = 0; word && i < sizeof agents / sizeof *agents; i++)
        if (strcmp(agents[i].name, word) == 0) a = &agents[i];
    if (!a) {
        err_set(&e, ERR_ARG, "which agent? opencode, codex, pi, qwen or claude");
        return cmd_fail("connect", &e);
    }
    running_each(take_server, &found);
    struct target t = {.url = f.url        ? f.url
                              : *found.url ? found.url
                                           : "http://127.0.0.1:8080",
                       .model = f.model        ? f.model
                                : *found.model ? found.model
                                               : "default",
                       .key = f.key ? f.key : "none",
                       .context = f.context > 0 ? (int)f.context : found.context};
    if (t.context <= 0) t.context = 32768;
    t.output = t.context / 4 < 8192 ? t.context / 4 : 8192;
    a->fill(&t, &s);
    bool ok = true;
    if (f.write) ok = write_settings(a, &s, &e);
    else print_settings(a, &s);
    if (ok) fprintf(stderr, "\nthen:\n%.*s", (int)s.hint.len, s.hint.p ? s.hint.p : "");
    json_decref(s.patch);
    buf_free(&s.block);
    buf_free(&s.hint);
    return ok ? 0 : cmd_fail("connect", &e);
}
