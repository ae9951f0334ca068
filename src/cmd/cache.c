/* holdfast cache: what the disk cache of `holdfast serve` holds, and removing it. */
#include "base/json.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/flags.h"
#include "holdfast.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct cache_flags {
    const char *dir;
    bool json;
};
static const struct opt options[] = {
    {"--disk-cache", "DIR", OPT_STR, offsetof(struct cache_flags, dir),
     "its folder ($XDG_CACHE_HOME/holdfast, else ~/.cache/holdfast)"},
    {"--json", NULL, OPT_FLAG, offsetof(struct cache_flags, json), "ls: one JSON object a line"},
};
static int run(int argc, char **argv);
const struct verb verb_cache = {
    .name = "cache",
    .args = "ls|clear [OPTIONS]",
    .summary = "List or remove the conversations kept on disk.",
    .examples = "  holdfast cache ls\n  holdfast cache clear\n",
    .opts = options,
    .n_opts = sizeof options / sizeof *options,
    .run = run,
};

struct sums {
    bool json;
    uint64_t files, bytes, pages, entries, unusable;
};

static void show_json(const struct hold_cache_file *f) {
    struct buf text = {0};
    json_t *o = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I}", "path", json_text(str_of(f->path)),
                          "bytes", (json_int_t)f->bytes, "pages", (json_int_t)f->n_pages, "entries",
                          (json_int_t)f->n_entries, "unusable_bytes", (json_int_t)f->n_unusable,
                          "created", (json_int_t)f->created);
    if (o && json_write(&text, o)) printf("%s\n", text.p);
    json_decref(o);
    buf_free(&text);
}

static void show(void *ctx, const struct hold_cache_file *f) {
    struct sums *s = ctx;
    char when[32];
    struct tm tm;
    time_t t = (time_t)f->created;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
    s->files++;
    s->bytes += f->bytes;
    s->pages += f->n_pages;
    s->entries += f->n_entries;
    s->unusable += f->n_unusable;
    if (s->json) show_json(f);
    else
        printf("%s  %10.1f MiB  %8" PRIu64 " pages  %6" PRIu64 " answers  %s\n", when,
               (double)f->bytes / (1 << 20), f->n_pages, f->n_entries, f->path);
}

static int list(const char *dir, bool json) {
    struct sums s = {.json = json};
    struct hold_error e;
    if (!hold_cache_list(dir, show, &s, &e)) return flags_fail("cache", &e);
    if (json) return 0;
    printf("%" PRIu64 " files in %s, %.1f MiB, %" PRIu64 " pages\n", s.files, dir,
           (double)s.bytes / (1 << 20), s.pages);
    if (s.unusable)
        printf("%" PRIu64 " bytes are damaged or were cut short, and are not used\n", s.unusable);
    return 0;
}

static int clear(const char *dir) {
    struct hold_error e;
    uint64_t bytes;
    if (!hold_cache_clear(dir, &bytes, &e)) return flags_fail("cache", &e);
    printf("removed %.1f MiB from %s\n", (double)bytes / (1 << 20), dir);
    return 0;
}

static int run(int argc, char **argv) {
    struct cache_flags f = {0};
    const char *word = NULL;
    char dir[4096];
    int n_words, code;
    if (!cmd_parse(&verb_cache, argc, argv, &f, &word, 1, &n_words, &code)) return code;
    cmd_cache_dir(dir, sizeof dir);
    if (f.dir) snprintf(dir, sizeof dir, "%s", f.dir);
    if (n_words && strcmp(word, "ls") == 0) return list(dir, f.json);
    if (n_words && strcmp(word, "clear") == 0) return clear(dir);
    fprintf(stderr, "holdfast cache: expected ls or clear%s%s; see holdfast cache --help\n",
            n_words ? ", not " : "", n_words ? word : "");
    return 1;
}
