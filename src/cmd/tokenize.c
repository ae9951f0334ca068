/* holdfast tokenize: the token ids of a text, from an argument, a file or a pipe. Flags and output
 * are llama-tokenize's. */
#include "base/limits.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

#include <stdio.h>
#include <unistd.h>

struct tokenize_options {
    const char *model, *prompt, *file;
    bool from_stdin, ids, count, no_bos, parse_special, no_parse_special;
};

#define OPT(field) offsetof(struct tokenize_options, field)
static const struct opt options[] = {
    {"-m, --model", "FILE", OPT_STR, OPT(model), "the model or vocabulary (GGUF)"},
    {"-p, --prompt", "TEXT", OPT_STR, OPT(prompt), "the text; also as a plain argument"},
    {"-f, --file", "FILE", OPT_STR, OPT(file), "read the text from a file, - is standard input"},
    {"--stdin", NULL, OPT_FLAG, OPT(from_stdin), "read the text from standard input"},
    {"--ids", NULL, OPT_FLAG, OPT(ids), "only the ids, as [1, 2, 3]"},
    {"--show-count", NULL, OPT_FLAG, OPT(count), "end with the number of tokens"},
    {"--no-bos", NULL, OPT_FLAG, OPT(no_bos), "no BOS or EOS, even if the model wants one"},
    {"--parse-special", "on|off", OPT_ON_OFF, OPT(parse_special),
     "whether texts like <|im_start|> become control tokens (default on)"},
    {"--no-parse-special", NULL, OPT_FLAG, OPT(no_parse_special), "the same as off"},
};

static int run(int argc, char **argv);

const struct verb verb_tokenize = {
    "tokenize",
    "-m MODEL [TEXT]",
    "show how a model's tokenizer cuts a text",
    "  holdfast tokenize -m SmolLM2-135M-Instruct.Q4_1 'Hello world'\n"
    "  holdfast tokenize -m model.gguf -f notes.txt --ids\n"
    "  git diff | holdfast tokenize -m model.gguf --show-count\n",
    options,
    sizeof options / sizeof *options,
    run,
};

/* Puts the text in *text; false with e filled. */
static bool get_text(const struct tokenize_options *o, const char *word, struct buf *text,
                     struct err *e) {
    const char *prompt = o->prompt ? o->prompt : word, *file = o->file;
    if (o->from_stdin || (!prompt && !file && !isatty(STDIN_FILENO))) file = "-";
    if (prompt && (word ? o->prompt || file : file != NULL))
        return err_set(e, ERR_ARG, "more than one text: give an argument, -f or --stdin");
    if (!prompt && !file)
        return err_set(e, ERR_ARG, "no text: give it as an argument, with -f FILE or in a pipe");
    if (file) return cmd_read(file, LIMIT_PROMPT_BYTES, text, e);
    return buf_cstr(text, prompt) || err_nomem(e, "the text", 0);
}

/* A token's bytes so that each token stays on its line and half characters can be seen. */
static void print_bytes(struct str b) {
    for (size_t i = 0, n; i < b.len; i += n) {
        uint32_t cp;
        unsigned char c = (unsigned char)b.p[i];
        n = utf8_decode(b.p + i, b.len - i, &cp);
        if (c == '\n') printf("\\n");
        else if (c == '\t') printf("\\t");
        else if (c == '\r') printf("\\r");
        else if (c < 32 || c == 127 || (n == 1 && c > 127)) printf("\\x%02X", c);
        else fwrite(b.p + i, 1, n, stdout);
    }
}

static void print_tokens(const struct vocab *v, const struct tokens *t,
                         const struct tokenize_options *o) {
    if (o->ids) printf("[");
    for (size_t i = 0; i < t->n; i++) {
        if (o->ids) {
            printf("%s%d", i ? ", " : "", t->id[i]);
            continue;
        }
        printf("%6d -> '", t->id[i]);
        print_bytes(vocab_bytes(v, t->id[i], true));
        printf("'\n");
    }
    if (o->ids) printf("]\n");
    if (o->count) printf("Total number of tokens: %zu\n", t->n);
}

static int run(int argc, char **argv) {
    struct tokenize_options o = {.parse_special = true};
    const char *word = NULL;
    int n_words, code;
    if (!cmd_parse(&verb_tokenize, argc, argv, &o, &word, 1, &n_words, &code)) return code;
    struct err e = {0};
    char path[4096];
    struct buf text = {0};
    struct tokens t = {0};
    struct gguf *g = NULL;
    struct vocab *v = NULL;
    bool ok = cmd_model_path(o.model, path, sizeof path, &e) &&
              get_text(&o, n_words ? word : NULL, &text, &e) && (g = gguf_open(path, &e)) &&
              (v = vocab_open(g, &e)) &&
              vocab_tokenize(v, buf_view(&text), !o.no_bos, o.parse_special && !o.no_parse_special,
                             &t, &e);
    if (ok) print_tokens(v, &t, &o);
    if (ok && (fflush(stdout) != 0 || ferror(stdout)))
        ok = err_set(&e, ERR_IO, "cannot write the tokens");
    tokens_free(&t);
    vocab_close(v);
    gguf_close(g);
    buf_free(&text);
    return ok ? 0 : cmd_fail("tokenize", &e);
}
