/* holdfast template: what a model sees of a conversation. Shows the rendered text with special
 * tokens marked and counted, or, with --context, the bare rendering of a template file. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/template_parse.h"
#include "gguf/gguf.h"
#include "text/chat.h"
#include "text/jinja.h"
#include "text/vocab.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options {
    const char *model, *messages, *tools, *kwargs, *context, *now, *bos, *eos;
    bool no_prompt, continue_last, mark, spans;
    const char *thinking;
    bool parse, events, markup;
    const char *prompt;
    int64_t split;
};

#define FIELD(f) offsetof(struct options, f)
static const struct opt opts[] = {
    {"-m, --model", "MODEL", OPT_STR, FIELD(model), "the same as the first argument"},
    {"--messages", "FILE", OPT_STR, FIELD(messages),
     "the conversation: a JSON array of messages, or an object with messages and tools"},
    {"--tools", "FILE", OPT_STR, FIELD(tools), "JSON array of tools"},
    {"--kwargs", "JSON", OPT_STR, FIELD(kwargs),
     "further template variables, e.g. {\"reasoning_effort\": \"low\"}"},
    {"--thinking", "on|off", OPT_STR, FIELD(thinking), "sets enable_thinking"},
    {"--no-generation-prompt", NULL, OPT_FLAG, FIELD(no_prompt), "end behind the last message"},
    {"--continue", NULL, OPT_FLAG, FIELD(continue_last),
     "the last message is the start of the answer"},
    {"--context", "FILE", OPT_STR, FIELD(context),
     "all variables as one JSON object; prints the bare rendering, nothing adapted"},
    {"--now", "TIME", OPT_STR, FIELD(now), "clock of the template, e.g. 2026-11-22T12:00:00"},
    {"--bos", "TEXT", OPT_STR, FIELD(bos), "text of the BOS token (a model's file has its own)"},
    {"--eos", "TEXT", OPT_STR, FIELD(eos), "text of the EOS token"},
    {"--mark", NULL, OPT_FLAG, FIELD(mark), "mark special tokens also where there are no colours"},
    {"--spans", NULL, OPT_FLAG, FIELD(spans), "print the spans with their origin as JSON lines"},
    {"--parse", NULL, OPT_FLAG, FIELD(parse),
     "read a generation on stdin; prints its content, reasoning and calls as JSON"},
    {"--events", NULL, OPT_FLAG, FIELD(events), "with --parse: every event as a JSON line"},
    {"--split", "N", OPT_INT, FIELD(split), "with --parse: feed pieces of N bytes"},
    {"--prompt", "TEXT", OPT_STR, FIELD(prompt),
     "with --parse: the end of the prompt (--messages gives it too; else the template's own)"},
    {"--markup", NULL, OPT_FLAG, FIELD(markup),
     "print what is known about the template's markup as JSON"},
};

static int run(int argc, char **argv);
const struct verb verb_template = {
    .name = "template",
    .args = "FILE.jinja|MODEL --messages FILE|--parse|--markup [--tools FILE]",
    .summary = "shows what the model sees of a conversation, or reads an answer back",
    .examples = "  holdfast template model.gguf --messages conversation.json --tools tools.json\n"
                "  holdfast template chat.jinja --context variables.json --now 2026-11-22\n"
                "  holdfast template model.gguf --parse --tools tools.json < generation.txt\n",
    .opts = opts,
    .n_opts = (int)(sizeof opts / sizeof *opts),
    .run = run};

/* What the first word names: a model, or the text of a template. */
struct subject {
    struct gguf *gguf;
    struct vocab *vocab;
    struct buf text;
};

static bool is_gguf(const char *path) {
    char magic[4] = {0};
    FILE *f = fopen(path, "rb");
    bool yes = f && fread(magic, 1, 4, f) == 4 && memcmp(magic, "GGUF", 4) == 0;
    if (f) fclose(f);
    return yes;
}

static bool open_subject(struct subject *s, const char *name, struct err *e) {
    char path[4096];
    if (!cmd_model_path(name, path, sizeof path, e)) return false;
    if (!is_gguf(path)) return cmd_read(path, LIMIT_TEMPLATE_BYTES, &s->text, e);
    return (s->gguf = gguf_open(path, e)) != NULL && (s->vocab = vocab_open(s->gguf, e)) != NULL;
}

static void close_subject(struct subject *s) {
    vocab_close(s->vocab);
    gguf_close(s->gguf);
    buf_free(&s->text);
}

static bool read_time(const char *text, struct tm *tm, struct err *e) {
    int n = 0, year, month, day;
    *tm = (struct tm){.tm_isdst = -1};
    int got = sscanf(text, "%d-%d-%d%n", &year, &month, &day, &n);
    if (got == 3 && (text[n] == 'T' || text[n] == ' '))
        got += sscanf(text + n + 1, "%d:%d:%d", &tm->tm_hour, &tm->tm_min, &tm->tm_sec);
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    tm->tm_mday = day;
    if (got < 3 || got == 4 || mktime(tm) == (time_t)-1)
        return err_set(e, ERR_ARG, "'%s' is no time like 2026-11-22T12:00:00", text);
    return true;
}

static json_t *read_json(const char *path, struct err *e) {
    struct buf b = {0};
    json_t *v = NULL;
    if (cmd_read(path, LIMIT_JSON_BYTES, &b, e)) {
        v = json_parse(buf_view(&b), LIMIT_JSON_BYTES, e);
        if (!v) err_prefix(e, "%s", path);
    }
    buf_free(&b);
    return v;
}

/* ---- --context */

static bool bare(const struct subject *s, const struct options *o, const struct tm *now,
                 struct err *e) {
    struct str source = buf_view(&s->text);
    struct err ignored = {0};
    struct jinja_output out = {0};
    if (s->gguf && !gguf_str(s->gguf, "tokenizer.chat_template", &source, &ignored))
        return err_set(e, ERR_ARG, "the model has no chat template");
    json_t *vars = read_json(o->context, e);
    struct jinja *t = vars ? jinja_parse(source, e) : NULL;
    struct jinja_input in = {.vars = vars, .now = now, .html_safe = true};
    bool ok = t && !json_is_object(vars)
                  ? err_set(e, ERR_ARG, "%s: expected a JSON object", o->context)
                  : t && jinja_render(t, &in, &out, e);
    if (ok) fwrite(out.text.p, 1, out.text.len, stdout);
    jinja_output_free(&out);
    jinja_free(t);
    json_decref(vars);
    return ok;
}

/* ---- the conversation */

enum look { LOOK_PLAIN, LOOK_MARKED, LOOK_COLOURS };

static void put(enum look look, bool special, struct str s) {
    const char *before = !special ? "" : look == LOOK_COLOURS ? "\033[1;36m" : "\u27e6";
    const char *behind = !special ? "" : look == LOOK_COLOURS ? "\033[0m" : "\u27e7";
    if (look == LOOK_PLAIN) before = behind = "";
    fputs(before, stdout);
    for (size_t i = 0; i < s.len; i++) { /* a terminal must not obey what a message says */
        unsigned char c = (unsigned char)s.p[i];
        if (look == LOOK_COLOURS && (c == 127 || (c < 32 && c != '\n' && c != '\t')))
            printf("\\x%02x", c);
        else putchar(c);
    }
    fputs(behind, stdout);
}

/* Gemma has runs of newlines and blanks as user tokens: those are text. */
static bool is_marker(enum token_type type, struct str text) {
    if (type == TOKEN_CONTROL) return true;
    return type == TOKEN_USER && text.len && text.p[0] != '\n' && text.p[0] != ' ';
}

static bool print_tokens(const struct vocab *v, const struct chat_rendering *r, enum look look,
                         struct err *e) {
    struct text_span *spans;
    size_t n, special = 0;
    struct tokens t = {0};
    if (!chat_text_spans(r, &spans, &n)) return err_nomem(e, "spans", r->n_span);
    bool ok = vocab_tokenize_spans(v, spans, n, !r->has_bos, &t, e);
    mem_free(spans);
    if (!ok) return false;
    for (size_t i = 0; i < t.n; i++) {
        struct str text = vocab_bytes(v, t.id[i], true);
        bool is_special = is_marker(vocab_type(v, t.id[i]), text);
        special += is_special;
        put(look, is_special, text);
    }
    fflush(stdout);
    fprintf(stderr, "\n%zu tokens, %zu of them special\n", t.n, special);
    tokens_free(&t);
    return true;
}

/* Length of a marker at the start of s: <...> or [...] of one line without blanks. */
static size_t marker_len(struct str s) {
    char close = s.p[0] == '<' ? '>' : s.p[0] == '[' ? ']' : 0;
    for (size_t i = 1; close && i < s.len && i < 80; i++) {
        if (s.p[i] == close) return i > 1 ? i + 1 : 0;
        if (s.p[i] == ' ' || s.p[i] == '\n' || s.p[i] == '"' || s.p[i] == s.p[0]) break;
    }
    return 0;
}

/* Without a vocabulary: what looks like a marker in the template's own text. */
static void print_markers(const struct chat_rendering *r, enum look look) {
    size_t n = 0;
    for (size_t k = 0; k < r->n_span; k++) {
        struct str s = {r->text.p + r->span[k].start, r->span[k].len};
        for (size_t i = 0; i < s.len;) {
            size_t m = r->span[k].special ? marker_len((struct str){s.p + i, s.len - i}) : 0;
            n += m > 0;
            put(look, m > 0, (struct str){s.p + i, m ? m : 1});
            i += m ? m : 1;
        }
    }
    fflush(stdout);
    fprintf(stderr, "\n%zu bytes, %zu markers of the template (a MODEL counts tokens)\n",
            r->text.len, n);
}

static void print_spans(const struct chat_rendering *r) {
    static const char *const part[] = {"template", "variable",  "tools", "message",
                                       "content",  "reasoning", "call"};
    for (size_t i = 0; i < r->n_span; i++) {
        const struct chat_span *s = &r->span[i];
        json_t *line =
            json_pack("{s:s,s:i,s:b,s:s%}", "origin", part[s->part], "message", s->message,
                      "special", s->special, "text", r->text.p + s->start, s->len);
        struct buf b = {0};
        if (line && json_write(&b, line)) printf("%s\n", b.p);
        buf_free(&b);
        json_decref(line);
    }
}

static void print_notes(const char *title, const char *notes) {
    if (notes && *notes) fprintf(stderr, "%s:\n%s", title, notes);
}

static bool show(const struct subject *s, const struct options *o, const struct chat *c,
                 const struct chat_request *q, struct err *e) {
    struct chat_rendering r = {0};
    enum look look = isatty(STDOUT_FILENO) ? LOOK_COLOURS : o->mark ? LOOK_MARKED : LOOK_PLAIN;
    bool ok = chat_render(c, q, &r, e);
    if (ok && o->spans) print_spans(&r);
    else if (ok && s->vocab) ok = print_tokens(s->vocab, &r, look, e);
    else if (ok) print_markers(&r, look);
    if (ok) {
        print_notes("the template", chat_notes(c));
        print_notes("this conversation", r.notes.p);
    }
    chat_rendering_free(&r);
    return ok;
}

static struct chat *open_chat(const struct subject *s, const struct options *o, struct err *e) {
    if (s->gguf) return chat_open_model(s->gguf, s->vocab, (struct str){0}, e);
    struct jinja *t = jinja_parse(buf_view(&s->text), e); /* whoever writes one wants the error */
    if (!t) {
        err_prefix(e, "%s", o->model);
        return NULL;
    }
    jinja_free(t);
    struct chat_source source = {
        .template = buf_view(&s->text), .bos = str_of(o->bos), .eos = str_of(o->eos)};
    return chat_open(&source, e);
}

/* The files of a request; free with files_free. */
struct files {
    json_t *messages, *tools, *kwargs;
};

static void files_free(struct files *f) {
    json_decref(f->messages);
    json_decref(f->tools);
    json_decref(f->kwargs);
}

/* An object that holds the value under a key may stand for the value. */
static json_t *inside(json_t *v, const char *key) {
    return json_is_object(v) ? json_object_get(v, key) : v;
}

static bool read_request(const struct options *o, const struct tm *now, struct files *f,
                         struct chat_request *q, struct err *e) {
    if (o->messages && !(f->messages = read_json(o->messages, e))) return false;
    if (o->tools && !(f->tools = read_json(o->tools, e))) return false;
    if (o->kwargs && !(f->kwargs = json_parse(str_of(o->kwargs), LIMIT_JSON_BYTES, e)))
        return err_prefix(e, "--kwargs");
    bool on = o->thinking && strcmp(o->thinking, "on") == 0;
    if (o->thinking && !on && strcmp(o->thinking, "off") != 0)
        return err_set(e, ERR_ARG, "--thinking is on or off, not '%s'", o->thinking);
    if (o->tools && !cmd_check_tools(inside(f->tools, "tools"), o->tools, e)) return false;
    *q = (struct chat_request){.messages = inside(f->messages, "messages"),
                               .tools = f->tools ? inside(f->tools, "tools")
                                                 : json_object_get(f->messages, "tools"),
                               .kwargs = f->kwargs,
                               .thinking = o->thinking ? on : -1,
                               .no_prompt = o->no_prompt,
                               .continue_last = o->continue_last,
                               .now = now};
    return true;
}

static bool conversation(const struct subject *s, const struct options *o, const struct tm *now,
                         struct err *e) {
    if (!o->messages) return err_set(e, ERR_ARG, "give a conversation with --messages FILE");
    struct files f = {0};
    struct chat_request q;
    struct chat *c = read_request(o, now, &f, &q, e) ? open_chat(s, o, e) : NULL;
    bool ok = c && show(s, o, c, &q, e);
    chat_close(c);
    files_free(&f);
    return ok;
}

/* ---- --parse, --markup */

/* The prompt that the generation continues: rendered, when a conversation or variables that may
 * change it are given. */
static bool prompt_for(const struct chat *c, const struct options *o, struct chat_request *q,
                       struct buf *out, struct err *e) {
    if (!o->messages && !o->kwargs && !o->thinking) return true;
    json_t *any = json_pack("[{s:s,s:s}]", "role", "user", "content", "?");
    struct chat_rendering r = {0};
    if (!q->messages) q->messages = any;
    bool ok = chat_render(c, q, &r, e) &&
              (buf_str(out, buf_view(&r.text)) || err_nomem(e, "prompt", r.text.len));
    chat_rendering_free(&r);
    json_decref(any);
    return ok;
}

static bool parse(const struct subject *s, const struct options *o, const struct tm *now,
                  struct err *e) {
    struct files f = {0};
    struct chat_request q;
    struct buf prompt = {0};
    struct chat *c = read_request(o, now, &f, &q, e) ? open_chat(s, o, e) : NULL;
    bool ok = c && (o->markup ? template_markup(c, e) : prompt_for(c, o, &q, &prompt, e));
    if (ok && !o->markup) {
        struct template_parse t = {.tools = q.tools,
                                   .prompt = o->prompt ? str_of(o->prompt) : buf_view(&prompt),
                                   .split = o->split,
                                   .events = o->events};
        ok = template_parse(c, &t, e);
    }
    chat_close(c);
    buf_free(&prompt);
    files_free(&f);
    return ok;
}

static int run(int argc, char **argv) {
    struct options o = {0};
    struct subject s = {0};
    struct err e = {0};
    struct tm now;
    const char *words[1] = {NULL};
    int n, code;
    if (!cmd_parse(&verb_template, argc, argv, &o, words, 1, &n, &code)) return code;
    if (!o.model && n == 1) o.model = words[0];
    bool ok = o.model || err_set(&e, ERR_ARG, "give a template file or a model");
    ok = ok && open_subject(&s, o.model, &e) && (!o.now || read_time(o.now, &now, &e));
    const struct tm *clock = o.now ? &now : NULL;
    bool (*what)(const struct subject *, const struct options *, const struct tm *, struct err *) =
        o.parse || o.markup ? parse
        : o.context         ? bare
                            : conversation;
    ok = ok && what(&s, &o, clock, &e);
    close_subject(&s);
    return ok ? 0 : cmd_fail("template", &e);
}
