/* `holdfast grammar`: what a JSON schema, a GBNF grammar or a pattern accepts, random members of
 * it, and how long its token masks take. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "gguf/gguf.h"
#include "sample/grammar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINE_BYTES = 64 << 20, MEMBER_BYTES = 1 << 16 };

struct options {
    const char *schema, *gbnf, *lark, *regex, *model;
    bool check, strict, time, lines;
    int64_t n_samples, seed, n_predict;
};

static const struct opt opts[] = {
    {"-j, --json-schema", "FILE", OPT_STR, offsetof(struct options, schema), "a JSON schema"},
    {"--gbnf", "FILE", OPT_STR, offsetof(struct options, gbnf), "a grammar in GBNF"},
    {"--lark", "FILE", OPT_STR, offsetof(struct options, lark), "a grammar in Lark's notation"},
    {"--regex", "PATTERN", OPT_STR, offsetof(struct options, regex), "a regular expression"},
    {"--strict", NULL, OPT_FLAG, offsetof(struct options, strict),
     "refuse a schema with keywords that are not supported (otherwise: widen it, with a note)"},
    {"--check", NULL, OPT_FLAG, offsetof(struct options, check),
     "say for each line of stdin whether it is accepted, or at which byte it is not"},
    {"--sample", "N", OPT_INT, offsetof(struct options, n_samples), "print N random members"},
    {"-s, --seed", "S", OPT_INT, offsetof(struct options, seed), "seed of --sample (default 1)"},
    {"-n, --predict", "N", OPT_INT, offsetof(struct options, n_predict),
     "give up a member after N tokens (default 2048)"},
    {"-m, --model", "MODEL", OPT_STR, offsetof(struct options, model),
     "draw tokens of this model's vocabulary through the masks"},
    {"--lines", NULL, OPT_FLAG, offsetof(struct options, lines),
     "members as JSON lines: {\"text\", \"cut\"}"},
    {"--time", NULL, OPT_FLAG, offsetof(struct options, time),
     "microseconds of each mask along the lines of stdin, as JSON (needs -m)"},
};

static int run(int argc, char **argv);
const struct verb verb_grammar = {
    "grammar",
    "(--json-schema FILE | --gbnf FILE | --lark FILE | --regex PATTERN) [options]",
    "What a grammar accepts, and random members of it.",
    "  echo '{\"city\": \"Oslo\"}' | holdfast grammar --json-schema weather.json --check\n"
    "  holdfast grammar --json-schema weather.json --sample 3 -m SmolLM2-135M-Instruct.Q4_1\n"
    "  holdfast grammar --regex '[a-z]+@[a-z]+\\.(org|net)' --sample 5\n",
    opts,
    (int)(sizeof opts / sizeof *opts),
    run,
};

/* Everything one run holds. */
struct session {
    const struct options *o;
    struct grammar *g;
    struct vocab *v;
    struct grammar_vocab *gv;
    uint32_t *mask, *closing; /* sets of tokens; closing: that begin by closing something */
    double compile_us;
};

/* CPU time, so that a busy machine does not count. */
static double cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool compile(struct session *s, struct err *e) {
    const struct options *o = s->o;
    struct buf text = {0}, notes = {0};
    const char *file = o->schema ? o->schema : o->gbnf ? o->gbnf : o->lark;
    int given = (o->schema != NULL) + (o->gbnf != NULL) + (o->lark != NULL) + (o->regex != NULL);
    if (given != 1)
        return err_set(e, ERR_ARG,
                       "give one of --json-schema FILE, --gbnf FILE, --lark FILE, --regex PATTERN");
    if (file && !cmd_read(file, o->schema ? LIMIT_SCHEMA_BYTES : LIMIT_GRAMMAR_BYTES, &text, e)) {
        buf_free(&text);
        return false;
    }
    double start = cpu_us();
    if (o->schema) s->g = grammar_from_schema(buf_view(&text), o->strict, &notes, e);
    else if (o->gbnf) s->g = grammar_from_gbnf(buf_view(&text), e);
    else if (o->lark) s->g = grammar_from_lark(buf_view(&text), e);
    else s->g = grammar_from_regex(str_of(o->regex), e);
    s->compile_us = cpu_us() - start;
    if (!s->g && file) err_prefix(e, "%s", file);
    if (notes.len) fprintf(stderr, "%s", notes.p);
    buf_free(&text);
    buf_free(&notes);
    return s->g != NULL;
}

static bool open_model(struct session *s, struct err *e) {
    char path[4096];
    if (!s->o->model) return true;
    if (!cmd_model_path(s->o->model, path, sizeof path, e)) return false;
    struct gguf *file = gguf_open(path, e);
    if (!file) return false;
    s->v = vocab_open(file, e);
    gguf_close(file);
    s->gv = s->v ? grammar_vocab_new(s->v, e) : NULL;
    if (!s->gv) return false;
    size_t n_words = ((size_t)vocab_size(s->v) + 31) / 32;
    s->mask = mem_calloc(n_words, sizeof *s->mask);
    s->closing = mem_calloc(n_words, sizeof *s->closing);
    if (!s->mask || !s->closing) return err_nomem(e, "a mask", n_words * 4);
    for (int32_t id = 0; id < vocab_size(s->v); id++) {
        struct str t = vocab_bytes(s->v, id, false);
        if (t.len && memchr("\"}])>", t.p[0], 5)) s->closing[id >> 5] |= 1u << (id & 31);
    }
    return true;
}

/* ---- lines of stdin ---- */

typedef bool (*line_fn)(struct session *s, struct str line, struct err *e);

static bool each_line(struct session *s, line_fn fn, struct err *e) {
    struct buf text = {0};
    bool ok = cmd_read("-", LINE_BYTES, &text, e);
    for (size_t at = 0; ok && at < text.len;) {
        const char *end = memchr(text.p + at, '\n', text.len - at);
        size_t n = end ? (size_t)(end - text.p) - at : text.len - at;
        ok = fn(s, (struct str){text.p + at, n}, e);
        at += n + 1;
    }
    buf_free(&text);
    return ok;
}

static bool check_line(struct session *s, struct str line, struct err *e) {
    struct grammar_state *state = grammar_start(s->g, NULL, e);
    size_t n = 0;
    if (!state) return false;
    bool all = grammar_bytes(state, line, &n);
    if (all && grammar_done(state)) printf("accepted\n");
    else if (all) printf("incomplete: more is expected at byte %zu\n", n);
    else printf("refused at byte %zu\n", n);
    grammar_end(state);
    return true;
}

static bool time_line(struct session *s, struct str line, struct err *e) {
    struct tokens ids = {0};
    struct grammar_state *state = grammar_start(s->g, s->gv, e);
    bool ok = state && vocab_tokenize(s->v, line, false, false, &ids, e);
    bool allowed = true;
    printf("{\"compile_us\": %.1f, \"mask_us\": [", s->compile_us);
    for (size_t i = 0; ok && i <= ids.n && allowed; i++) {
        double start = cpu_us();
        ok = grammar_mask(state, s->mask) || err_set(e, ERR_NOMEM, "the mask failed");
        printf("%s%.2f", i ? ", " : "", cpu_us() - start);
        if (i < ids.n) allowed = grammar_token(state, ids.id[i]);
    }
    printf("], \"ids\": [");
    for (size_t i = 0; i < ids.n; i++) printf("%s%d", i ? ", " : "", (int)ids.id[i]);
    printf("], \"accepted\": %s}\n", ok && allowed && grammar_done(state) ? "true" : "false");
    grammar_end(state);
    tokens_free(&ids);
    return ok;
}

/* ---- members ---- */

static bool print_member(const struct session *s, struct buf *out, bool cut, struct err *e) {
    if (!s->o->lines) {
        fwrite(out->p, 1, out->len, stdout);
        printf("%s\n", cut ? " (cut)" : "");
        return true;
    }
    if (cut) out->len = utf8_complete(out->p, out->len);
    json_t *row = json_pack("{ss%sb}", "text", out->p ? out->p : "", out->len, "cut", cut);
    struct buf line = {0};
    bool ok = row && json_write(&line, row);
    if (ok) printf("%s\n", line.p);
    else err_set(e, ERR_FORMAT, "a member is no valid UTF-8");
    json_decref(row);
    buf_free(&line);
    return ok;
}

static int random_bit(struct rng *r, const uint64_t set[4], const char *among) {
    int found[256], n = 0;
    for (int c = 0; c < 256; c++)
        if ((set[c >> 6] >> (c & 63) & 1) && (!among || (c && strchr(among, c)))) found[n++] = c;
    return n ? found[rng_below(r, (uint64_t)n)] : -1;
}

/* Byte by byte. What closes something is preferred a little, so that members end. */
static bool sample_bytes(struct session *s, struct rng *r, struct err *e) {
    struct grammar_state *state = grammar_start(s->g, NULL, e);
    struct buf out = {0};
    bool ok = state != NULL, ended = false;
    while (ok && !ended && out.len < MEMBER_BYTES) {
        uint64_t live[4];
        size_t n;
        ok = grammar_next(state, live);
        bool can_go_on = live[0] || live[1] || live[2] || live[3];
        ended = grammar_done(state) && (!can_go_on || rng_below(r, 4) == 0);
        if (!ok || ended) break;
        int c = rng_below(r, 6) == 0 ? random_bit(r, live, "\"}]>)") : -1;
        if (c < 0) c = random_bit(r, live, NULL);
        char byte = (char)c;
        ok = c >= 0 && grammar_bytes(state, (struct str){&byte, 1}, &n) && buf_char(&out, byte);
    }
    if (ok) ok = print_member(s, &out, !ended, e);
    else if (state) err_set(e, ERR_NOMEM, "the grammar's state failed");
    grammar_end(state);
    buf_free(&out);
    return ok;
}

/* The k-th allowed token, or how many there are; closing: only those that begin by closing
 * something. */
static uint64_t pick(const struct session *s, bool closing, uint64_t k, int32_t *id) {
    uint64_t n = 0;
    for (int32_t w = 0; w < (vocab_size(s->v) + 31) / 32; w++) {
        uint32_t word = closing ? s->mask[w] & s->closing[w] : s->mask[w];
        for (int32_t i = w * 32; word; word >>= 1, i++)
            if ((word & 1) && n++ == k) *id = i;
    }
    return n;
}

/* Each allowed token is equally likely, but for one draw in eight: that one closes something if
 * it can, so that members end. */
static int32_t random_token(const struct session *s, struct rng *r) {
    int32_t id = -1;
    bool closing = rng_below(r, 8) == 0;
    uint64_t n = pick(s, closing, UINT64_MAX, &id);
    if (n == 0 && closing) n = pick(s, closing = false, UINT64_MAX, &id);
    if (n) pick(s, closing, rng_below(r, n), &id);
    return id;
}

static bool sample_tokens(struct session *s, struct rng *r, struct err *e) {
    struct grammar_state *state = grammar_start(s->g, s->gv, e);
    struct buf out = {0};
    bool ok = state != NULL, ended = false;
    int64_t most = s->o->n_predict > 0 ? s->o->n_predict : 2048;
    for (int64_t i = 0; ok && !ended && i < most; i++) {
        ok = grammar_mask(state, s->mask);
        int32_t id = ok ? random_token(s, r) : -1;
        ended = ok && (id < 0 || vocab_is_eog(s->v, id));
        if (ok && !ended)
            ok = grammar_token(state, id) && buf_str(&out, vocab_bytes(s->v, id, true));
    }
    if (ok) ok = print_member(s, &out, !ended, e);
    else if (state) err_set(e, ERR_NOMEM, "the grammar's state failed");
    grammar_end(state);
    buf_free(&out);
    return ok;
}

static bool act(struct session *s, struct err *e) {
    const struct options *o = s->o;
    struct rng r = {(uint64_t)o->seed};
    if (!compile(s, e) || !open_model(s, e)) return false;
    if (o->time && !s->gv) return err_set(e, ERR_ARG, "--time needs -m MODEL");
    if (o->time) return each_line(s, time_line, e);
    if (o->check) return each_line(s, check_line, e);
    bool ok = true;
    for (int64_t i = 0; i < o->n_samples && ok; i++)
        ok = s->gv ? sample_tokens(s, &r, e) : sample_bytes(s, &r, e);
    if (ok && o->n_samples == 0) printf("the grammar is fine\n");
    return ok;
}

static int run(int argc, char **argv) {
    struct options o = {.seed = 1};
    const char *words[1];
    int n_words, code;
    if (!cmd_parse(&verb_grammar, argc, argv, &o, words, 0, &n_words, &code)) return code;
    struct session s = {.o = &o};
    struct err e = {0};
    bool ok = act(&s, &e);
    grammar_vocab_free(s.gv);
    vocab_close(s.v);
    grammar_free(s.g);
    mem_free(s.mask);
    mem_free(s.closing);
    return ok ? 0 : cmd_fail("grammar", &e);
}
