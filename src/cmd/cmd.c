/* The verb table, option parsing and help. Called by main; every verb calls cmd_parse. */
#include "cmd/cmd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ORDER VERB */
const struct verb *const cmd_verbs[] = {
    &verb_run,     &verb_serve,    &verb_ps,       &verb_stop,     &verb_cache,
    &verb_connect, &verb_grammar,  &verb_show,     &verb_eval,     &verb_bench,
    &verb_synth,   &verb_quantize, &verb_template, &verb_tokenize,
};
const int cmd_n_verbs = (int)(sizeof cmd_verbs / sizeof *cmd_verbs);

static void log_to_stderr(void *ctx, enum log_level level, const char *text) {
    static const char *const name[] = {"error", "warning", "note", "debug"};
    (void)ctx;
    if (level <= LOG_INFO) fprintf(stderr, "holdfast: %s: %s\n", name[level], text);
}

/* True if name is one of the comma-separated names. */
static bool names_has(const char *names, const char *name) {
    size_t n = strlen(name);
    for (const char *p = names; *p;) {
        size_t len = strcspn(p, ", ");
        if (len == n && memcmp(p, name, n) == 0) return true;
        p += len;
        p += strspn(p, ", ");
    }
    return false;
}

static const char *nearest(const char *const *names, int n, const char *name) {
    const char *best = NULL;
    int at = (int)strlen(name) / 3 + 2;
    for (int i = 0; i < n; i++) {
        int d = str_distance(names[i], name);
        if (d < at) at = d, best = names[i];
    }
    return best;
}

static const char *nearest_option(const struct verb *v, const char *name) {
    static char word[64];
    const char *found = NULL;
    int at = (int)strlen(name) / 3 + 2;
    for (int i = 0; i < v->n_opts; i++) {
        for (const char *p = v->opts[i].names; *p;) {
            size_t len = strcspn(p, ", ");
            char one[64];
            snprintf(one, sizeof one, "%.*s", (int)len, p);
            int d = str_distance(one, name);
            if (d < at) {
                at = d;
                memcpy(word, one, sizeof word);
                found = word;
            }
            p += len;
            p += strspn(p, ", ");
        }
    }
    return found;
}

static void help(const struct verb *v) {
    printf("usage: holdfast %s %s\n\n%s\n\n", v->name, v->args, v->summary);
    if (v->n_opts) printf("options:\n");
    for (int i = 0; i < v->n_opts; i++) {
        char left[80];
        const struct opt *o = &v->opts[i];
        int n = snprintf(left, sizeof left, "%s%s%s", o->names, o->arg ? " " : "",
                         o->arg ? o->arg : "");
        if (n < 26) printf("  %-26s%s\n", left, o->help);
        else printf("  %s\n  %26s%s\n", left, "", o->help);
    }
    printf("  %-26s%s\n", "-h, --help", "this text");
    if (v->examples) printf("\nexamples:\n%s", v->examples);
}

static void usage(FILE *f) {
    fprintf(f,
            "Holdfast %s: language models on your own machine, at a speed that holds.\n\n"
            "usage: holdfast VERB [OPTIONS]\n\nverbs:\n",
            HOLDFAST_VERSION);
    for (int i = 0; i < cmd_n_verbs; i++)
        fprintf(f, "  %-10s %s\n", cmd_verbs[i]->name, cmd_verbs[i]->summary);
    fprintf(f, "\n`holdfast VERB --help` explains a verb.\n");
}

/* The tables as JSON, for tools/make_docs.py: man page and completions. */
static int help_json(void) {
    json_t *verbs = json_array();
    for (int i = 0; i < cmd_n_verbs; i++) {
        const struct verb *v = cmd_verbs[i];
        json_t *opts = json_array();
        for (int k = 0; k < v->n_opts; k++)
            json_array_append_new(opts, json_pack("{s:s, s:s?, s:s}", "names", v->opts[k].names,
                                                  "arg", v->opts[k].arg, "help", v->opts[k].help));
        json_array_append_new(verbs, json_pack("{s:s, s:s, s:s, s:s, s:o}", "name", v->name, "args",
                                               v->args, "summary", v->summary, "examples",
                                               v->examples ? v->examples : "", "options", opts));
    }
    json_t *all = json_pack("{s:s, s:o}", "version", HOLDFAST_VERSION, "verbs", verbs);
    struct buf text = {0};
    bool ok = all && json_write(&text, all);
    if (ok) printf("%s\n", text.p);
    json_decref(all);
    buf_free(&text);
    return !ok;
}

int cmd_main(int argc, char **argv) {
    log_sink(log_to_stderr, NULL);
    if (argc < 2) {
        usage(stderr);
        return 1;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 && argc > 2 && strcmp(argv[2], "--json") == 0) return help_json();
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0) {
        printf("holdfast %s\n", HOLDFAST_VERSION);
        return 0;
    }
    const char *known[64];
    for (int i = 0; i < cmd_n_verbs; i++) {
        known[i] = cmd_verbs[i]->name;
        if (strcmp(name, known[i]) == 0) return cmd_verbs[i]->run(argc - 1, argv + 1);
    }
    const char *near = nearest(known, cmd_n_verbs, name);
    fprintf(stderr, "holdfast: there is no verb '%s'%s%s%s; see holdfast --help\n", name,
            near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    return 1;
}

static bool set_on_off(const char *text, bool *out) {
    static const char *const yes[] = {"on", "1", "true", "yes", "auto"};
    static const char *const no[] = {"off", "0", "false", "no"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (strcmp(text, yes[i]) == 0) return *out = true;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (strcmp(text, no[i]) == 0) return !(*out = false);
    return false;
}

/* Stores one value; false when the text does not fit the kind. */
static bool set_value(const struct opt *o, const char *text, void *out) {
    void *field = (char *)out + o->offset;
    char *end;
    errno = 0;
    switch (o->kind) {
    case OPT_FLAG:
        *(bool *)field = true;
        return true;
    case OPT_ON_OFF:
        return set_on_off(text, field);
    case OPT_INT:
        *(int64_t *)field = strtoll(text, &end, 10);
        return *text && !*end && !errno;
    case OPT_REAL:
        *(double *)field = strtod(text, &end);
        return *text && !*end && !errno;
    case OPT_STR:
        *(const char **)field = text;
        return true;
    case OPT_LIST: {
        struct opt_list *list = field;
        if (list->n == OPT_LIST_MAX) return false;
        list->item[list->n++] = text;
        return true;
    }
    }
    return false;
}

static const struct opt *find_option(const struct verb *v, const char *name) {
    for (int i = 0; i < v->n_opts; i++)
        if (names_has(v->opts[i].names, name)) return &v->opts[i];
    return NULL;
}

/* Negative numbers and a lone "-" are words. */
static bool is_option(const char *s) {
    return s[0] == '-' && s[1] != 0 && !(s[1] >= '0' && s[1] <= '9') && s[1] != '.';
}

static int complain(const struct verb *v, const char *what, const char *name, const char *tail) {
    fprintf(stderr, "holdfast %s: %s '%s'%s; see holdfast %s --help\n", v->name, what, name, tail,
            v->name);
    return 1;
}

/* Takes one option at argv[*i]; returns -1 to go on, else an exit code. */
static int take_option(const struct verb *v, int argc, char **argv, int *i, void *out) {
    char name[64];
    const char *arg = argv[*i], *eq = strncmp(arg, "--", 2) == 0 ? strchr(arg, '=') : NULL;
    snprintf(name, sizeof name, "%.*s", eq ? (int)(eq - arg) : (int)strlen(arg), arg);
    if (strcmp(name, "help") == 0 && argc > 2 && strcmp(argv[2], "--json") == 0) return help_json();
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
        help(v);
        return 0;
    }
    const struct opt *o = find_option(v, name);
    if (!o) {
        const char *near = nearest_option(v, name);
        char tail[96] = "";
        if (near) snprintf(tail, sizeof tail, ", did you mean '%s'?", near);
        return complain(v, "unknown option", name, tail);
    }
    const char *value = eq ? eq + 1 : NULL;
    bool takes = o->kind != OPT_FLAG;
    if (!takes && value) return complain(v, "no value belongs to", name, "");
    if (takes && !value) {
        bool optional = o->kind == OPT_ON_OFF, ignored;
        const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
        if (optional && (!next || !set_on_off(next, &ignored))) value = "on";
        else if (next) value = next, ++*i;
        else return complain(v, "a value is missing behind", name, "");
    }
    if (!set_value(o, value, out)) {
        char tail[128];
        snprintf(tail, sizeof tail, " of %s: expected %s", name, o->arg ? o->arg : "nothing");
        return complain(v, "bad value", value ? value : "", tail);
    }
    return -1;
}

bool cmd_parse(const struct verb *v, int argc, char **argv, void *out, const char **words,
               int max_words, int *n_words, int *code) {
    *n_words = 0;
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && is_option(argv[i])) {
            *code = take_option(v, argc, argv, &i, out);
            if (*code >= 0) return false;
        } else if (*n_words == max_words) {
            *code = complain(v, "one word too many:", argv[i], "");
            return false;
        } else {
            words[(*n_words)++] = argv[i];
        }
    }
    return true;
}

int cmd_fail(const char *verb, const struct err *e) {
    fprintf(stderr, "holdfast %s: %s\n", verb, e->msg);
    return 1;
}

void cmd_models_dir(char *path, size_t size) {
    const char *dir = getenv("HOLDFAST_MODELS"), *home = getenv("HOME");
    if (dir && *dir) snprintf(path, size, "%s", dir);
    else snprintf(path, size, "%s/.local/share/holdfast/models", home ? home : "");
}

void cmd_cache_dir(char *path, size_t size) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache) snprintf(path, size, "%s/holdfast", cache);
    else snprintf(path, size, "%s/.cache/holdfast", home ? home : "");
}

bool cmd_model_path(const char *name, char *path, size_t size, struct err *e) {
    if (!name || !*name)
        return err_set(e, ERR_ARG,
                       "no model: give a GGUF file with -m FILE; `make models` fetches "
                       "small ones");
    snprintf(path, size, "%s", name);
    if (access(path, F_OK) == 0) return true;
    char dir[4096];
    cmd_models_dir(dir, sizeof dir);
    if (!strchr(name, '/')) {
        snprintf(path, size, "%s/%s", dir, name);
        if (access(path, F_OK) == 0) return true;
        snprintf(path, size, "%s/%s.gguf", dir, name);
        if (access(path, F_OK) == 0) return true;
    }
    return err_set(e, ERR_IO, "there is no file %s, and no model of that name in %s", name, dir);
}

bool cmd_read(const char *path, size_t max, struct buf *out, struct err *e) {
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(path, "rb");
    if (!f) return err_set(e, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    char part[65536];
    size_t n;
    bool ok = true;
    while (ok && (n = fread(part, 1, sizeof part, f)) > 0) {
        if (n > max - out->len)
            ok = err_set(e, ERR_LIMIT, "%s is larger than the limit of %zu bytes", path, max);
        else if (!buf_add(out, part, n)) ok = err_nomem(e, path, out->len + n);
    }
    if (ok && ferror(f)) ok = err_set(e, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (!is_stdin) fclose(f);
    return ok;
}

bool cmd_check_tools(const json_t *tools, const char *path, struct err *e) {
    if (!json_is_array(tools))
        return err_set(e, ERR_ARG,
                       "%s: expected a JSON array of tools, "
                       "[{\"type\": \"function\", \"function\": {\"name\": ...}}]",
                       path);
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *t = json_array_get(tools, i), *f = json_object_get(t, "function");
        if (json_get_str(f ? f : t, "name").len == 0)
            return err_set(e, ERR_ARG, "%s: tools[%zu] has no function name", path, i);
    }
    return true;
}

void cmd_progress(const char *what, double done, double total) {
    static int is_terminal = -1;
    if (is_terminal < 0) is_terminal = isatty(STDERR_FILENO);
    if (!is_terminal) return;
    if (done >= total) fprintf(stderr, "\r\033[K");
    else fprintf(stderr, "\r\033[K%s %.0f %%", what, total > 0 ? 100 * done / total : 0);
    fflush(stderr);
}
