/* The conversation of `holdfast run`: line editing with history (libedit), /-commands. Ctrl-C
 * stops an answer, or empties the line; Ctrl-D leaves. */
#include "cmd/run.h"
#include "base/mem.h"

#include <editline/readline.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct chat {
    struct run *r;
    json_t *messages;
    struct hold_done last;
    char system[4096]; /* what /system set */
    bool left;
};

static void answer(struct chat *c);

static void cmd_help(struct chat *c, const char *arg);

static void cmd_exit(struct chat *c, const char *arg) {
    (void)arg;
    c->left = true;
}

static void reset(struct chat *c) {
    json_array_clear(c->messages);
    if (c->r->flags.system) run_say(c->messages, "system", c->r->flags.system);
}

static void cmd_clear(struct chat *c, const char *arg) {
    (void)arg;
    reset(c);
    fprintf(stderr, "the conversation is empty\n");
}

static void cmd_regen(struct chat *c, const char *arg) {
    size_t n = json_array_size(c->messages);
    (void)arg;
    while (n > 0 && !str_is(json_get_str(json_array_get(c->messages, n - 1), "role"), "user"))
        json_array_remove(c->messages, --n);
    if (n == 0) fprintf(stderr, "nothing was asked yet\n");
    else answer(c);
}

static void cmd_system(struct chat *c, const char *arg) {
    snprintf(c->system, sizeof c->system, "%s", arg);
    c->r->flags.system = *arg ? c->system : NULL;
    reset(c);
    fprintf(stderr, "new instructions; the conversation is empty\n");
}

static void cmd_stats(struct chat *c, const char *arg) {
    struct hold_stats s = {.size = sizeof s};
    (void)arg;
    hold_engine_stats(c->r->engine, &s);
    if (c->last.n_prompt) run_status(&c->last);
    fprintf(stderr, "K/V cache: %.1f of %.1f MiB used\n", (double)s.kv_used / 0x1p20,
            (double)s.kv_budget / 0x1p20);
}

static void cmd_save(struct chat *c, const char *arg) {
    if (!*arg) {
        fprintf(stderr, "/save FILE\n");
    } else if (json_dump_file(c->messages, arg, JSON_INDENT(2)) != 0) {
        fprintf(stderr, "cannot write %s\n", arg);
    } else {
        fprintf(stderr, "saved %zu messages\n", json_array_size(c->messages));
    }
}

static void cmd_temp(struct chat *c, const char *arg) {
    char *end;
    double t = strtod(arg, &end);
    if (end == arg || t < 0) fprintf(stderr, "temperature is %g\n", c->r->flags.sample.temp);
    else c->r->flags.sample.temp = t;
}

static const struct command {
    const char *name, *arg, *help;
    void (*fn)(struct chat *c, const char *arg);
} commands[] = {
    {"help", "", "this list", cmd_help},
    {"clear", "", "forget the conversation", cmd_clear},
    {"regen", "", "answer the last question again", cmd_regen},
    {"system", "TEXT", "new instructions, and forget the conversation", cmd_system},
    {"temp", "X", "show or set the temperature", cmd_temp},
    {"stats", "", "figures of the last answer and the cache", cmd_stats},
    {"save", "FILE", "write the conversation as JSON", cmd_save},
    {"exit", "", "leave (also Ctrl-D)", cmd_exit},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void cmd_help(struct chat *c, const char *arg) {
    (void)c;
    (void)arg;
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(stderr, "  /%-7s %-5s %s\n", commands[i].name, commands[i].arg, commands[i].help);
    fprintf(stderr, "  Ctrl-C stops an answer. A line that ends in \\ goes on in the next.\n");
}

static void command(struct chat *c, const char *line) {
    size_t n = strcspn(line, " ");
    const char *arg = line + n + strspn(line + n, " ");
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strlen(commands[i].name) == n && strncmp(commands[i].name, line, n) == 0) {
            commands[i].fn(c, arg);
            return;
        }
    }
    fprintf(stderr, "there is no /%.*s; /help lists commands\n", (int)n, line);
}

/* Puts the answer into the history as the API wants to see it again. */
static void keep(struct chat *c, const struct run_answer *a) {
    json_t *m = json_pack("{s:s, s:o}", "role", "assistant", "content",
                          json_stringn_nocheck(a->content.p ? a->content.p : "", a->content.len));
    if (a->reasoning.len)
        json_object_set_new(m, "reasoning_content",
                            json_stringn_nocheck(a->reasoning.p, a->reasoning.len));
    if (a->calls) json_object_set(m, "tool_calls", a->calls);
    json_array_append_new(c->messages, m);
}

static void answer(struct chat *c) {
    struct hold_error e = {0};
    struct hold_request_options o;
    struct hold_chat chat;
    struct run_answer a = {0};
    struct buf text = {0};
    struct hold_request *q = NULL;
    bool ok = json_write(&text, c->messages);
    run_chat_options(c->r, text.p, &chat);
    run_interrupted();
    ok = ok && run_request(c->r, &chat, NULL, &o, &e) &&
         (q = hold_request_submit(c->r->model, &o, &e)) && run_stream(c->r, q, &a, &e);
    if (a.content.len && a.content.p[a.content.len - 1] != '\n') putchar('\n');
    fflush(stdout);
    if (ok) {
        c->last = a.done;
        keep(c, &a);
        if (!c->r->flags.no_status) run_status(&a.done);
    } else {
        flags_fail("run", &e);
        json_array_remove(c->messages, json_array_size(c->messages) - 1);
    }
    if (q) hold_request_free(q);
    run_answer_free(&a);
    buf_free(&text);
}

/* One message: a line, or several joined by a trailing backslash. NULL at the end of input. */
static char *read_message(struct buf *out) {
    const char *prompt = "> ";
    buf_clear(out);
    for (;;) {
        char *line = readline(prompt);
        if (!line) {
            if (!run_interrupted()) return NULL;
            putchar('\n');
            buf_clear(out);
            prompt = "> ";
            continue;
        }
        run_interrupted();
        size_t n = strlen(line);
        bool more = n > 0 && line[n - 1] == '\\';
        buf_add(out, line, more ? n - 1 : n);
        mem_free(line) /* libedit allocated it */;
        if (!more) return out->p;
        buf_char(out, '\n');
        prompt = "  ";
    }
}

static void history_path(char *path, size_t size) {
    const char *home = getenv("HOME");
    snprintf(path, size, "%s/.cache/holdfast", home ? home : ".");
    mkdir(path, 0700);
    snprintf(path, size, "%s/.cache/holdfast/history", home ? home : ".");
}

int run_conversation(struct run *r) {
    struct chat c = {.r = r, .messages = json_array()};
    struct buf line = {0};
    char path[4096];
    history_path(path, sizeof path);
    rl_readline_name = "holdfast";
    using_history();
    read_history(path);
    reset(&c);
    const struct hold_model_info *info = hold_model_info(r->model);
    fprintf(stderr, "%s, context %d tokens; /help lists commands\n", info->alias, info->n_ctx);
    while (!c.left) {
        char *text = read_message(&line);
        if (!text) break;
        if (!text[strspn(text, " \t\n")]) continue;
        add_history(text);
        if (text[0] == '/') {
            command(&c, text + 1);
            continue;
        }
        run_say(c.messages, "user", text);
        answer(&c);
    }
    write_history(path);
    buf_free(&line);
    json_decref(c.messages);
    return 0;
}
