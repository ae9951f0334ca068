/* holdfast run: one question from an argument or a pipe, or a conversation in the terminal. The
 * conversation's loop is in run_chat.c; this file has the options and the streaming of an answer.
 * Answers go to stdout, everything else (status, notes) to stderr. */
#include "cmd/run.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELD(f) offsetof(struct run_flags, f)
static const struct opt options[] = {
    MODEL_OPTS(struct run_flags, model),
    {"-p, --prompt", "TEXT", OPT_STR, FIELD(prompt), "ask this and leave"},
    {"-f, --file", "FILE", OPT_STR, FIELD(file), "take the prompt from a file (-: stdin)"},
    {"-sys, --system-prompt", "TEXT", OPT_STR, FIELD(system), "instructions for the model"},
    {"-n, --predict, --n-predict", "N", OPT_INT, FIELD(n_predict),
     "most tokens to generate (-1: until the context is full)"},
    {"--raw, -no-cnv", NULL, OPT_FLAG, FIELD(raw),
     "no chat template: the model continues the text"},
    {"--thinking", "on|off", OPT_STR, FIELD(thinking), "switch the template's thinking on or off"},
    {"--reasoning-budget", "N", OPT_INT, FIELD(reasoning_budget), "most tokens of reasoning"},
    {"--ignore-eos", NULL, OPT_FLAG, FIELD(ignore_eos), "go on behind the end of the answer"},
    {"-j, --json-schema", "FILE", OPT_STR, FIELD(schema), "the answer is JSON of this schema"},
    {"--grammar, --grammar-file", "FILE", OPT_STR, FIELD(grammar), "the answer follows this GBNF"},
    {"--tools", "FILE", OPT_STR, FIELD(tools),
     "tools (JSON array); calls are printed as JSON lines"},
    {"--tool-choice", "auto|none|required|NAME", OPT_STR, FIELD(tool_choice), "(auto)"},
    {"--no-status", NULL, OPT_FLAG, FIELD(no_status), "no line of figures behind the answer"},
    SAMPLE_OPTS(struct run_flags, sample),
};

static int run_main(int argc, char **argv);
const struct verb verb_run = {
    .name = "run",
    .args = "[OPTIONS] -m MODEL [PROMPT]",
    .summary = "Ask a model, or chat with it in the terminal.",
    .examples = "  holdfast run -m SmolLM2-135M-Instruct.Q4_1 \"What is a monad?\"\n"
                "  git diff | holdfast run -m coder.gguf -p \"Review this change:\"\n"
                "  holdfast run -m coder.gguf            # a conversation; /help lists commands\n"
                "  holdfast run -m coder.gguf --json-schema person.json \"Invent a person\"\n",
    .opts = options,
    .n_opts = sizeof options / sizeof *options,
    .run = run_main,
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig) {
    (void)sig;
    interrupted = 1;
}

bool run_interrupted(void) {
    bool was = interrupted;
    interrupted = 0;
    return was;
}

static const char *finish_text(const struct hold_done *d) {
    static const char *const text[] = {
        [HOLD_FINISH_STOP] = "end of answer",       [HOLD_FINISH_STOP_STRING] = "stop text",
        [HOLD_FINISH_LENGTH] = "length limit",      [HOLD_FINISH_CALLS] = "tool calls",
        [HOLD_FINISH_CANCELLED] = "you stopped it",
    };
    return text[d->finish];
}

void run_status(const struct hold_done *d) {
    int64_t fresh = d->n_prompt - d->n_cached;
    bool color = isatty(STDERR_FILENO);
    fprintf(stderr, "%s[ prompt %lld tokens", color ? "\033[2m" : "", (long long)d->n_prompt);
    if (d->n_cached > 0) fprintf(stderr, " (%lld cached)", (long long)d->n_cached);
    if (d->prefill_ms > 0) fprintf(stderr, " at %.1f tok/s", 1e3 * (double)fresh / d->prefill_ms);
    fprintf(stderr, " | generated %lld", (long long)d->n_generated);
    if (d->decode_ms > 0 && d->n_generated > 1)
        fprintf(stderr, " at %.1f tok/s", 1e3 * (double)(d->n_generated - 1) / d->decode_ms);
    fprintf(stderr, " | first token %.2f s | context %lld of %lld | %s ]%s\n", d->ttft_ms / 1e3,
            (long long)(d->n_prompt + d->n_generated), (long long)d->n_ctx, finish_text(d),
            color ? "\033[0m" : "");
}

static void print_block(const struct run *r, const struct hold_event *ev, struct run_answer *a) {
    const struct hold_block *b = &ev->block;
    bool dim = b->kind == HOLD_REASONING && isatty(STDOUT_FILENO);
    struct buf *to = b->kind == HOLD_TEXT        ? &a->content
                     : b->kind == HOLD_REASONING ? &a->reasoning
                                                 : &a->call;
    (void)r;
    if (ev->kind == HOLD_BLOCK_START) {
        if (dim) fputs("\033[2m", stdout);
        if (b->kind == HOLD_CALL) {
            buf_clear(&a->call);
            snprintf(a->call_id, sizeof a->call_id, "%s", b->id ? b->id : "");
            snprintf(a->call_name, sizeof a->call_name, "%s", b->name ? b->name : "");
        }
    } else if (ev->kind == HOLD_BLOCK_DELTA) {
        buf_add(to, b->text, b->len);
        if (b->kind != HOLD_CALL) fwrite(b->text, 1, b->len, stdout);
    } else {
        if (dim) fputs("\033[0m\n", stdout);
        if (b->kind == HOLD_CALL) run_add_call(a, b->cut);
    }
    fflush(stdout);
}

/* A finished call: a JSON line on stdout, and kept for the history. */
void run_add_call(struct run_answer *a, bool cut) {
    struct err e;
    json_t *args = json_parse(buf_view(&a->call), LIMIT_JSON_BYTES, &e);
    json_t *line = json_pack("{s:s, s:o}", "name", a->call_name, "arguments",
                             args ? args : json_stringn(a->call.p ? a->call.p : "", a->call.len));
    struct buf text = {0};
    if (a->content.len && a->content.p[a->content.len - 1] != '\n') putchar('\n');
    if (line && json_write(&text, line)) printf("%s%s\n", text.p, cut ? "  (cut)" : "");
    buf_free(&text);
    json_decref(line);
    if (!a->calls) a->calls = json_array();
    json_array_append_new(a->calls,
                          json_pack("{s:s, s:s, s:{s:s, s:s%}}", "id", a->call_id, "type",
                                    "function", "function", "name", a->call_name, "arguments",
                                    a->call.p ? a->call.p : "", a->call.len));
}

void run_answer_free(struct run_answer *a) {
    buf_free(&a->content);
    buf_free(&a->reasoning);
    buf_free(&a->call);
    json_decref(a->calls);
    *a = (struct run_answer){0};
}

bool run_stream(struct run *r, struct hold_request *q, struct run_answer *a, struct hold_error *e) {
    struct hold_event ev;
    bool showed = false;
    const char *notes = hold_request_notes(q);
    if (notes && *notes) fprintf(stderr, "note: %s\n", notes);
    for (;;) {
        if (run_interrupted()) hold_request_cancel(q);
        int got = hold_request_next(q, &ev, 50);
        if (got < 0) return true;
        if (got == 0) continue;
        if (ev.kind == HOLD_PROGRESS) {
            showed = ev.progress.n_total > 512;
            if (showed)
                cmd_progress("reading the prompt", (double)ev.progress.n_done,
                             (double)ev.progress.n_total);
            continue;
        }
        if (showed) cmd_progress("", 1, 1);
        showed = false;
        if (ev.kind <= HOLD_BLOCK_END) print_block(r, &ev, a);
        if (ev.kind == HOLD_DONE) a->done = ev.done;
        if (ev.kind == HOLD_ERROR) {
            *e = ev.error;
            return false;
        }
    }
}

/* What is no JSON is said with its file's name, before a model is loaded. */
static bool check_json(const struct run_flags *f, const struct run *r, struct err *e) {
    const char *path = f->schema;
    json_t *v = path ? json_parse(buf_view(&r->grammar), LIMIT_SCHEMA_BYTES, e) : NULL;
    bool ok = v || !path;
    json_decref(v);
    if (ok && (path = f->tools)) {
        v = json_parse(buf_view(&r->tools), LIMIT_JSON_BYTES, e);
        if (v && !cmd_check_tools(v, path, e)) {
            json_decref(v);
            return false;
        }
        ok = v != NULL;
        json_decref(v);
    }
    return ok || err_prefix(e, "%s", path);
}

/* Reads the files that options name; everything lives as long as r. */
static bool load_inputs(struct run *r, struct hold_error *e) {
    struct run_flags *f = &r->flags;
    const struct {
        const char *path;
        struct buf *to;
    } all[] = {{f->schema, &r->grammar}, {f->grammar, &r->grammar}, {f->tools, &r->tools}};
    struct err bad = {0};
    bool ok = !f->schema || !f->grammar ||
              err_set(&bad, ERR_ARG, "give one of --json-schema and --grammar, not both");
    for (size_t i = 0; i < sizeof all / sizeof *all && ok; i++)
        ok = !all[i].path || cmd_read(all[i].path, LIMIT_JSON_BYTES, all[i].to, &bad);
    if (!ok || !check_json(f, r, &bad)) {
        *e = (struct hold_error){.code = HOLD_ERR_IO};
        memcpy(e->msg, bad.msg, sizeof e->msg);
        return false;
    }
    r->grammar_kind = f->schema    ? HOLD_GRAMMAR_SCHEMA
                      : f->grammar ? HOLD_GRAMMAR_GBNF
                                   : HOLD_GRAMMAR_NONE;
    return true;
}

bool run_request(struct run *r, const struct hold_chat *chat, const char *text,
                 struct hold_request_options *o, struct hold_error *e) {
    hold_request_options_init(o, sizeof *o);
    if (!flags_sampling(&r->flags.sample, o, r->bias, e)) return false;
    o->chat = chat;
    if (!chat) {
        o->text = text;
        o->text_len = strlen(text);
        o->text_flags = HOLD_ADD_SPECIAL | HOLD_PARSE_SPECIAL;
        o->raw = true;
    }
    o->max_tokens = r->flags.n_predict;
    o->ignore_end = r->flags.ignore_eos;
    o->reasoning_budget = r->flags.reasoning_budget;
    o->grammar_kind = r->grammar_kind;
    o->grammar = r->grammar.p;
    o->grammar_strict = true;
    return true;
}

void run_chat_options(const struct run *r, const char *messages, struct hold_chat *c) {
    const char *choice = r->flags.tool_choice, *think = r->flags.thinking;
    *c = (struct hold_chat){.messages = messages, .tools = r->tools.p, .thinking = -1};
    if (think) c->thinking = strcmp(think, "off") != 0;
    if (!choice || strcmp(choice, "auto") == 0) return;
    if (strcmp(choice, "none") == 0) c->tool_choice = HOLD_TOOLS_NONE;
    else if (strcmp(choice, "required") == 0) c->tool_choice = HOLD_TOOLS_REQUIRED;
    else {
        c->tool_choice = HOLD_TOOLS_NAMED;
        c->tool_name = choice;
    }
}

static int run_once(struct run *r, const char *prompt) {
    struct hold_error e = {0};
    struct hold_request_options o;
    struct hold_chat chat;
    struct run_answer a = {0};
    struct buf messages = {0};
    json_t *list = json_array();
    if (r->flags.system) run_say(list, "system", r->flags.system);
    run_say(list, "user", prompt);
    bool ok = json_write(&messages, list);
    run_chat_options(r, messages.p, &chat);
    ok = ok && run_request(r, r->flags.raw ? NULL : &chat, prompt, &o, &e);
    struct hold_request *q = ok ? hold_request_submit(r->model, &o, &e) : NULL;
    ok = q && run_stream(r, q, &a, &e);
    if (ok && a.content.len && a.content.p[a.content.len - 1] != '\n') putchar('\n');
    fflush(stdout);
    if (ok && !r->flags.no_status) run_status(&a.done);
    if (q) hold_request_free(q);
    run_answer_free(&a);
    buf_free(&messages);
    json_decref(list);
    return ok ? 0 : flags_fail("run", &e);
}

void run_say(json_t *messages, const char *role, const char *text) {
    json_array_append_new(messages, json_pack("{s:s, s:o}", "role", role, "content",
                                              json_stringn_nocheck(text, strlen(text))));
}

/* The prompt from the argument, a file and a pipe, in that order; nothing: a conversation. */
static bool gather_prompt(struct run_flags *f, const char *word, struct buf *out, struct err *e) {
    const char *first = f->prompt ? f->prompt : word;
    bool piped = !isatty(STDIN_FILENO) && !(f->file && strcmp(f->file, "-") == 0);
    struct buf more = {0};
    if (first) buf_cstr(out, first);
    bool ok = true;
    if (f->file) ok = cmd_read(f->file, LIMIT_PROMPT_BYTES, &more, e);
    if (ok && piped) ok = cmd_read("-", LIMIT_PROMPT_BYTES - more.len, &more, e);
    if (ok && more.len) {
        if (out->len) buf_cstr(out, "\n\n");
        buf_str(out, buf_view(&more));
    }
    buf_free(&more);
    return ok && !out->failed;
}

static int run_main(int argc, char **argv) {
    static struct run r;
    struct hold_error e = {0};
    struct err bad = {0};
    const char *word = NULL;
    struct buf prompt = {0};
    int n_words, code;
    r.flags.n_predict = -1;
    r.flags.reasoning_budget = -1;
    flags_init(&r.flags.model, &r.flags.sample);
    if (!cmd_parse(&verb_run, argc, argv, &r.flags, &word, 1, &n_words, &code)) return code;
    if (!gather_prompt(&r.flags, word, &prompt, &bad)) return cmd_fail("run", &bad);
    if (!prompt.len && !isatty(STDIN_FILENO)) {
        err_set(&bad, ERR_ARG, "the prompt is empty");
        return cmd_fail("run", &bad);
    }
    if (!load_inputs(&r, &e) || !flags_open(&r.flags.model, &r.engine, &r.model, &e))
        return flags_fail("run", &e);
    struct sigaction act = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &act, NULL);
    code = prompt.len ? run_once(&r, prompt.p) : run_conversation(&r);
    hold_model_unload(r.model);
    hold_engine_close(r.engine);
    buf_free(&prompt);
    buf_free(&r.grammar);
    buf_free(&r.tools);
    return code;
}
