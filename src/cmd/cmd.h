/* Verbs and their options. A verb is a table row: its options are rows too, so that --help, the
 * man page and completions come from one place. Only this room prints and exits. */
#ifndef HOLDFAST_CMD_CMD_H
#define HOLDFAST_CMD_CMD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum opt_kind {
    OPT_FLAG,   /* bool: set */
    OPT_ON_OFF, /* bool: "on|off|1|0|true|false", alone = on */
    OPT_INT,    /* int64_t */
    OPT_REAL,   /* double */
    OPT_STR,    /* const char *: the last one wins */
    OPT_LIST    /* struct opt_list: may be given several times */
};

enum { OPT_LIST_MAX = 64 };
struct opt_list {
    int n;
    const char *item[OPT_LIST_MAX];
};

struct opt {
    const char *names; /* "-m, --model": short and long, in the order that help shows */
    const char *arg;   /* "FILE", or NULL for a flag */
    enum opt_kind kind;
    size_t offset; /* of the field in the verb's options struct */
    const char *help;
};

struct verb {
    const char *name, *args, *summary;
    const char *examples; /* lines, each "holdfast ..." */
    const struct opt *opts;
    int n_opts;
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit code */
};

/* ORDER VERB: one row per verb in cmd.c, defined in cmd/NAME.c */
extern const struct verb *const cmd_verbs[];
extern const int cmd_n_verbs;
extern const struct verb verb_bench, verb_cache, verb_connect, verb_eval, verb_grammar, verb_ps,
    verb_quantize, verb_run, verb_serve, verb_show, verb_stop, verb_synth, verb_template,
    verb_tokenize;

int cmd_main(int argc, char **argv);

/* Parses options into out; words that are no options go to words[] (at most max_words). "--" ends
 * options. Prints help and returns false with *code = 0 for -h/--help; prints the error (with the
 * nearest known flag) and returns false with *code = 1 otherwise. */
bool cmd_parse(const struct verb *v, int argc, char **argv, void *out, const char **words,
               int max_words, int *n_words, int *code);
/* Prints "holdfast VERB: message" to stderr; returns 1, the exit code. */
int cmd_fail(const char *verb, const struct err *e);

/* A model given as -m: a path as it is, or a file name (also without .gguf) in the models folder.
 * Writes at most size bytes. */
bool cmd_model_path(const char *name, char *path, size_t size, struct err *e);
/* $HOLDFAST_MODELS, else ~/.local/share/holdfast/models */
void cmd_models_dir(char *path, size_t size);
/* $XDG_CACHE_HOME/holdfast, else ~/.cache/holdfast */
void cmd_cache_dir(char *path, size_t size);

/* Reads a whole file, or stdin for "-", at most max bytes; the caller frees with buf_free. */
struct buf;
bool cmd_read(const char *path, size_t max, struct buf *out, struct err *e);
/* An array whose elements name a function each; path is for the message. */
bool cmd_check_tools(const json_t *tools, const char *path, struct err *e);

/* One line on stderr that overwrites itself; silent when stderr is no terminal. */
void cmd_progress(const char *what, double done, double total);

#endif
