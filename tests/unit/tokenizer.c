/* The tokenizer on our own vocabularies (tools/make_vocab.py): ids against an independent
 * implementation, round trips, spans, streams, special rules, and bad input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "gguf/gguf.h"
#include "text/memo.h"
#include "text/vocab.h"

static const char *const names[] = {"bpe", "spm", "gemma4"};
static struct vocab *vocabs[3];

static struct vocab *open_path(const char *path, struct err *e) {
    struct gguf *g = gguf_open(path, e);
    struct vocab *v = g ? vocab_open(g, e) : NULL;
    gguf_close(g);
    return v;
}

static int open_all(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        char path[64];
        struct err e = {0};
        snprintf(path, sizeof path, "tests/vectors/vocab-%s.gguf", names[i]);
        vocabs[i] = open_path(path, &e);
        if (!vocabs[i]) fail_msg("%s: %s", path, e.msg);
    }
    return 0;
}

static int close_all(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) vocab_close(vocabs[i]);
    return 0;
}

static const struct vocab *named(const char *name) {
    for (int i = 0; i < 3; i++)
        if (strcmp(names[i], name) == 0) return vocabs[i];
    fail_msg("no vocabulary %s", name);
    return NULL;
}

static void check_case(const json_t *c, size_t row) {
    const struct vocab *v = named(json_string_value(json_object_get(c, "vocab")));
    const json_t *spans = json_object_get(c, "spans"), *ids = json_object_get(c, "ids");
    bool add = json_is_true(json_object_get(c, "add_special")), ok;
    bool parse = json_is_true(json_object_get(c, "parse_special"));
    struct tokens got = {0};
    struct err e = {0};
    if (spans) {
        struct text_span span[3];
        for (size_t i = 0; i < 3; i++) {
            const json_t *s = json_array_get(spans, i), *t = json_array_get(s, 0);
            span[i] = (struct text_span){{json_string_value(t), json_string_length(t)},
                                         json_is_true(json_array_get(s, 1))};
        }
        ok = vocab_tokenize_spans(v, span, 3, add, &got, &e);
    } else {
        ok = vocab_tokenize(v, json_get_str(c, "text"), add, parse, &got, &e);
    }
    if (!ok) fail_msg("row %zu: %s", row, e.msg);
    bool same = got.n == json_array_size(ids);
    for (size_t i = 0; same && i < got.n; i++)
        same = got.id[i] == json_integer_value(json_array_get(ids, i));
    if (!same) {
        struct buf b = {0};
        for (size_t i = 0; i < got.n; i++) buf_printf(&b, " %d", got.id[i]);
        fail_msg("tokenizer.json, case %zu: got%s", row, b.p);
    }
    tokens_free(&got);
}

static void vectors(void **state) {
    (void)state;
    struct err e = {0};
    json_t *all = json_load("tests/vectors/tokenizer.json", LIMIT_JSON_BYTES, &e);
    if (!all) fail_msg("%s", e.msg);
    assert_true(json_array_size(all) > 500);
    for (size_t i = 0; i < json_array_size(all); i++) check_case(json_array_get(all, i), i);
    json_decref(all);
}

/* What the ids print, as one text. */
static void print_ids(const struct vocab *v, const struct tokens *t, struct buf *out) {
    struct vocab_stream s = {0};
    buf_clear(out);
    for (size_t i = 0; i < t->n; i++) {
        size_t from = out->len;
        assert_true(vocab_stream_add(v, &s, t->id[i], true, out));
        assert_true(out->len == from || utf8_valid(out->p + from, out->len - from));
    }
    assert_true(vocab_stream_end(&s, out));
}

static void round_trips(void **state) {
    (void)state;
    struct rng r = {7};
    for (int k = 0; k < 3000; k++) {
        const struct vocab *v = vocabs[k % 3];
        char bytes[40];
        size_t n = rng_below(&r, sizeof bytes + 1);
        bool letters = rng_below(&r, 2);
        for (size_t i = 0; i < n; i++)
            bytes[i] =
                (char)(letters ? "ab <\n\xC3\xA9|1'"[rng_below(&r, 10)] : (int)rng_below(&r, 256));
        struct tokens t = {0};
        struct buf got = {0}, want = {0};
        assert_true(vocab_tokenize(v, (struct str){bytes, n}, false, false, &t, NULL));
        if (v == vocabs[1]) { /* every byte has a token: the raw bytes come back */
            for (size_t i = 0; i < t.n; i++) buf_str(&got, vocab_bytes(v, t.id[i], true));
            buf_add(&want, " ", n > 0); /* the space prefix */
            buf_add(&want, bytes, n);
        } else {
            print_ids(v, &t, &got);
            for (size_t i = 0; i < n;) {
                uint32_t cp;
                i += utf8_decode(bytes + i, n - i, &cp);
                buf_utf8(&want, cp);
            }
        }
        /* SPM strips what follows a special token and prefixes it; only text without them */
        bool plain = true;
        for (size_t i = 0; i < t.n; i++) plain = plain && vocab_type(v, t.id[i]) != TOKEN_USER;
        if (plain && !str_eq(buf_view(&got), buf_view(&want)))
            fail_msg("%s, text %d does not come back", names[k % 3], k);
        tokens_free(&t);
        buf_free(&got);
        buf_free(&want);
    }
}

/* Joining texts gives the joined text's ids; a marker forms in its own special span only. */
static void spans(void **state) {
    (void)state;
    const struct vocab *v = named("bpe");
    int32_t start = vocab_find(v, STR("<|im_start|>"));
    struct tokens t = {0}, joined = {0};
    struct text_span split[] = {{STR("hol"), false}, {STR("dfa"), true}, {STR("st runs"), false}};
    assert_true(vocab_tokenize_spans(v, split, 3, false, &t, NULL));
    assert_true(vocab_tokenize(v, STR("holdfast runs"), false, false, &joined, NULL));
    assert_int_equal(t.n, joined.n);
    assert_memory_equal(t.id, joined.id, t.n * sizeof *t.id);

    struct {
        struct text_span s[2];
        bool forms;
    } marks[] = {
        {{{STR("<|im_start|>"), true}, {STR("x"), false}}, true},
        {{{STR("<|im_start|>"), false}, {STR("x"), true}}, false},
        {{{STR("<|im_st"), true}, {STR("art|>"), true}}, false},
        {{{STR("<|im_st"), true}, {STR("art|>"), false}}, false},
        {{{STR("x"), false}, {STR("y<|im_start|>z"), true}}, true},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        bool formed = false;
        t.n = 0;
        assert_true(vocab_tokenize_spans(v, marks[i].s, 2, false, &t, NULL));
        for (size_t k = 0; k < t.n; k++) formed = formed || t.id[k] == start;
        assert_int_equal(formed, marks[i].forms);
    }
    tokens_free(&t);
    tokens_free(&joined);
}

/* Conversations that grow, are edited and fork: the tokens never depend on what was kept. Users
 * write markers too, and texts stop in the middle of one. */
static void memo(void **state) {
    (void)state;
    enum { MESSAGES = 60, ROUNDS = 400 };
    static const char *const word[] = {
        "<|im_start|>", "<|im_end|>\n", "<|im_", "<bos>", "</s>", " ",
        "\n\n",         "w\xC3\xB6rld", "\xFF",  "tool "};
    struct rng rng = {21};
    for (size_t k = 0; k < 3; k++) {
        const struct vocab *v = named(names[k]);
        struct token_memo *m = token_memo_new(v);
        static char text[MESSAGES][700];
        struct text_span span[2 * MESSAGES];
        struct tokens got = {0}, want = {0};
        size_t n = 0;
        for (int round = 0; round < ROUNDS; round++) {
            size_t edit = rng_below(&rng, 4) ? n : rng_below(&rng, n + 1);
            n = edit == n && n < MESSAGES ? n + 1 : n;
            if (edit == MESSAGES) edit = MESSAGES - 1;
            text[edit][0] = 0;
            for (int w = 0; w < 40; w++) strcat(text[edit], word[rng_below(&rng, 10)]);
            for (size_t i = 0; i < n; i++) {
                span[2 * i] =
                    (struct text_span){str_of(i % 2 ? "<|im_start|>" : "<end_of_turn>"), true};
                span[2 * i + 1] = (struct text_span){str_of(text[i]), i % 7 == 3};
            }
            if (rng_below(&rng, 8) == 0 && n > 1) n -= rng_below(&rng, n / 2);
            bool special = rng_below(&rng, 5) == 0;
            got.n = want.n = 0;
            assert_true(
                token_memo_tokenize(m, rng_below(&rng, 2), span, 2 * n, special, &got, NULL));
            assert_true(vocab_tokenize_spans(v, span, 2 * n, special, &want, NULL));
            assert_int_equal(got.n, want.n);
            if (want.n) assert_memory_equal(got.id, want.id, want.n * sizeof *want.id);
        }
        tokens_free(&got);
        tokens_free(&want);
        token_memo_free(m);
    }
}

static void detokenize(void **state) {
    (void)state;
    const struct vocab *v = named("spm");
    struct tokens t = {0};
    struct buf b = {0};
    assert_true(vocab_tokenize(v, STR("small token"), true, false, &t, NULL));
    assert_int_equal(t.id[0], vocab_special(v)->bos);
    assert_int_equal(t.id[t.n - 1], vocab_special(v)->eos);
    assert_true(vocab_detokenize(v, t.id + 1, t.n - 1, false, &b));
    assert_string_equal(b.p, "small token");
    buf_clear(&b);
    assert_true(vocab_detokenize(v, t.id, t.n, true, &b));
    assert_string_equal(b.p, "<s> small token</s>");
    tokens_free(&t);
    buf_clear(&b);
    const int32_t out_of_range[] = {-1, INT32_MAX, 1 << 20};
    assert_true(vocab_detokenize(v, out_of_range, 3, true, &b));
    assert_int_equal(b.len, 0);
    /* llama-bpe takes back the space before punctuation, in whole sequences only */
    v = named("bpe");
    assert_true(
        vocab_tokenize(v, STR("it 's a . b , c ! d ? e ' f 're 'x"), false, false, &t, NULL));
    assert_true(vocab_detokenize(v, t.id, t.n, false, &b));
    assert_string_equal(b.p, "it's a. b, c! d? e'f're 'x");
    tokens_free(&t);
    buf_free(&b);
}

/* Half characters wait; what can never become one turns into U+FFFD. */
static void stream(void **state) {
    (void)state;
    const struct vocab *v = named("spm");
    static const struct {
        const char *bytes, *after[6], *end;
    } rows[] = {
        {"\xE4\xB8\x96x", {"", "", "世", "世x"}, "世x"},
        {"\xF0\x9F\xA6\x99", {"", "", "", "🦙"}, "🦙"},
        {"\xE4\x41",
         {"", "\xEF\xBF\xBD"
              "A"},
         "\xEF\xBF\xBD"
         "A"},
        {"\xE4\xE4\xE4",
         {"", "\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD"},
         "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xE4\xB8", {"", ""}, "\xEF\xBF\xBD"},
        {"\x80\xFF", {"\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD"}, "\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vocab_stream s = {0};
        struct buf out = {0};
        buf_cstr(&out, "");
        for (size_t k = 0; rows[i].bytes[k]; k++) {
            char name[8];
            snprintf(name, sizeof name, "<0x%02X>", (unsigned char)rows[i].bytes[k]);
            assert_true(vocab_stream_add(v, &s, vocab_find(v, str_of(name)), false, &out));
            assert_string_equal(out.p, rows[i].after[k]);
        }
        assert_true(vocab_stream_end(&s, &out));
        assert_string_equal(out.p, rows[i].end);
        buf_free(&out);
    }
}

/* A vocabulary of 256 byte tokens and the given ones, as a file. */
struct extra {
    const char *text;
    int32_t type;
};
static struct vocab *make(const char *model, const char *pre, const struct extra *extra, size_t n,
                          const char *key, uint32_t value, struct err *e) {
    char path[] = "/tmp/holdfast-vocab-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    static char byte_text[256][5];
    struct str text[300];
    int32_t type[300];
    for (uint32_t b = 0; b < 256; b++) {
        bool own = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
        uint32_t cp = own ? b : b <= 0x20 ? b + 256 : b < 0xA1 ? b - 0x7F + 0x121 : 0x143;
        text[b] = (struct str){byte_text[b], utf8_encode(cp, byte_text[b])};
        type[b] = TOKEN_NORMAL;
    }
    for (size_t i = 0; i < n; i++)
        text[256 + i] = str_of(extra[i].text), type[256 + i] = extra[i].type;
    struct str merge = STR("a b"); /* "ab" is not among the tokens */
    struct gguf_writer *w = gguf_write_open(path, e);
    assert_non_null(w);
    gguf_write_str(w, "general.architecture", STR("llama"));
    gguf_write_str(w, "tokenizer.ggml.model", str_of(model));
    if (pre) gguf_write_str(w, "tokenizer.ggml.pre", str_of(pre));
    gguf_write_array(w, "tokenizer.ggml.tokens", GGUF_STR, text, 256 + n);
    gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_I32, type, 256 + n);
    gguf_write_array(w, "tokenizer.ggml.merges", GGUF_STR, &merge, 1);
    if (key) gguf_write_u32(w, key, value);
    if (!gguf_write_close(w, e)) fail_msg("%s", e->msg);
    struct vocab *v = open_path(path, e);
    unlink(path);
    return v;
}

static void special_rules(void **state) {
    (void)state;
    struct err e = {0};
    /* gpt-oss: the inner end is no end, and the channel markup is visible */
    const struct extra oss[] = {{"<|return|>", TOKEN_CONTROL}, {"<|call|>", TOKEN_NORMAL},
                                {"<|end|>", TOKEN_CONTROL},    {"<|channel|>", TOKEN_CONTROL},
                                {"<|start|>", TOKEN_CONTROL},  {"<|message|>", TOKEN_CONTROL}};
    struct vocab *v = make("gpt2", "gpt-4o", oss, 6, "tokenizer.ggml.eos_token_id", 256, &e);
    if (!v) fail_msg("%s", e.msg);
    assert_true(vocab_is_eog(v, 256) && vocab_is_eog(v, 257) && !vocab_is_eog(v, 258));
    assert_int_equal(vocab_type(v, 257), TOKEN_CONTROL);
    assert_int_equal(vocab_type(v, 258), TOKEN_USER);
    assert_int_equal(vocab_type(v, 259), TOKEN_USER);
    assert_true(str_is(vocab_bytes(v, 259, false), "<|channel|>"));
    assert_int_equal(vocab_bytes(v, 256, false).len, 0);
    assert_false(vocab_special(v)->add_bos);
    /* a merge whose text is no token comes out as its bytes */
    struct tokens t = {0};
    assert_true(vocab_tokenize(v, STR("ab"), true, true, &t, &e));
    assert_int_equal(t.n, 2);
    assert_true(t.id[0] == 'a' && t.id[1] == 'b');
    tokens_free(&t);
    vocab_close(v);

    const struct extra qwen[] = {{"<|endoftext|>", TOKEN_CONTROL}, {"<|im_end|>", TOKEN_CONTROL},
                                 {"<|fim_prefix|>", TOKEN_USER},   {"<|fim_pad|>", TOKEN_USER},
                                 {"<|file_sep|>", TOKEN_CONTROL},  {"<tool_call>", TOKEN_USER}};
    v = make("gpt2", "qwen2", qwen, 6, "tokenizer.ggml.eos_token_id", 257, &e);
    assert_non_null(v);
    const struct vocab_special *s = vocab_special(v);
    assert_int_equal(s->eos, 257);
    assert_int_equal(s->eot, 257);
    assert_int_equal(s->fim_pre, 258);
    assert_int_equal(s->fim_pad, 259);
    assert_int_equal(s->fim_sep, 260);
    assert_int_equal(vocab_type(v, 258), TOKEN_CONTROL);
    for (int32_t id = 256; id < 262; id++)
        assert_int_equal(vocab_is_eog(v, id), id != 258 && id != 261);
    vocab_close(v);

    /* gemma4: a tool response ends the turn, and </s> is text */
    const struct extra gemma[] = {
        {"<|tool_response>", TOKEN_USER}, {"</s>", TOKEN_CONTROL}, {"<turn|>", TOKEN_CONTROL}};
    v = make("gemma4", NULL, gemma, 3, NULL, 0, &e);
    assert_non_null(v);
    assert_true(vocab_is_eog(v, 256) && !vocab_is_eog(v, 257) && vocab_is_eog(v, 258));
    assert_int_equal(vocab_type(v, 256), TOKEN_CONTROL);
    assert_int_equal(vocab_type(v, 257), TOKEN_NORMAL);
    assert_true(vocab_special(v)->add_bos);
    vocab_close(v);
    /* an id beyond the vocabulary is ignored; glm4 has no BOS of its own */
    v = make("gpt2", "glm4", gemma, 3, "tokenizer.ggml.eos_token_id", 4000, &e);
    assert_non_null(v);
    assert_int_equal(vocab_special(v)->eos, -1);
    assert_int_equal(vocab_special(v)->bos, -1);
    vocab_close(v);
}

static void refusals(void **state) {
    (void)state;
    const struct extra twice[] = {{"x1", TOKEN_NORMAL}, {"x1", TOKEN_NORMAL}};
    static const struct {
        const char *model, *pre, *says;
    } rows[] = {{"bert", NULL, "'bert'"},
                {"t5", NULL, "'t5'"},
                {"gpt2", "nonesuch", "'nonesuch'"},
                {"gpt2", "gpt-2", "same text"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e = {0};
        assert_null(make(rows[i].model, rows[i].pre, twice, 2, NULL, 0, &e));
        if (!strstr(e.msg, rows[i].says)) fail_msg("'%s' should name %s", e.msg, rows[i].says);
    }
    struct err e = {0};
    struct tokens t = {0};
    char *big = malloc(LIMIT_PROMPT_BYTES + 1);
    memset(big, 'a', LIMIT_PROMPT_BYTES + 1);
    assert_false(
        vocab_tokenize(vocabs[0], (struct str){big, LIMIT_PROMPT_BYTES + 1}, false, false, &t, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    free(big);
}

/* Words as long as the text, of every kind that merges far: time stays near linear. */
static void long_words(void **state) {
    (void)state;
    static const char *const unit[] = {" ", "a", "\n", "\xFF", "世", "ab", "1", "=", " \n"};
    for (size_t k = 0; k < sizeof unit / sizeof *unit; k++) {
        size_t len = strlen(unit[k]), n = 300000 / len * len;
        char *text = malloc(n + 1);
        for (size_t i = 0; i < n; i++) text[i] = unit[k][i % len];
        text[n] = 'x';
        for (int i = 0; i < 3; i++) {
            struct tokens t = {0};
            struct buf back = {0};
            uint64_t start = os_now_ns();
            assert_true(
                vocab_tokenize(vocabs[i], (struct str){text, n + 1}, false, false, &t, NULL));
            uint64_t took = os_now_ns() - start;
            if (took > 5000000000u)
                fail_msg("%s: '%s' took %g s", names[i], unit[k], (double)took / 1e9);
            print_ids(vocabs[i], &t, &back);
            if (k != 3) assert_int_equal(back.len, n + 1 + (i == 1));
            buf_free(&back);
            tokens_free(&t);
        }
        free(text);
    }
}

/* Windows of a long word give what one pass gives: here through cuts at known places. The text
 * is one word of many; each part alone is shorter than a window. */
static void windows(void **state) {
    (void)state;
    const struct vocab *v = named("bpe");
    struct rng r = {3};
    size_t n = 120000;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++) text[i] = "abcdeorst"[rng_below(&r, 9)];
    struct tokens whole = {0};
    assert_true(vocab_tokenize(v, (struct str){text, n}, false, false, &whole, NULL));
    /* the text cut where a token begins is as many ids: no merge crossed that place */
    size_t at = 0, i = 0;
    struct tokens parts = {0};
    while (at < n) {
        size_t end = at;
        while (i < whole.n && end - at < 20000) end += vocab_bytes(v, whole.id[i++], false).len;
        assert_true(
            vocab_tokenize(v, (struct str){text + at, end - at}, false, false, &parts, NULL));
        at = end;
    }
    assert_int_equal(parts.n, whole.n);
    assert_memory_equal(parts.id, whole.id, whole.n * sizeof *whole.id);
    tokens_free(&whole);
    tokens_free(&parts);
    free(text);
}

static bool use(const void *data, size_t len) {
    struct err e = {0};
    struct gguf *g = gguf_open_memory(data, len, &e);
    struct vocab *v = g ? vocab_open(g, &e) : NULL;
    gguf_close(g);
    if (!v) {
        assert_true(e.code != ERR_NONE && e.msg[0]);
        return false;
    }
    struct tokens t = {0};
    struct buf b = {0};
    if (vocab_tokenize(v, STR("Hello <|im_start|> wörld\n\n \xFF 12345"), true, true, &t, &e))
        vocab_detokenize(v, t.id, t.n, true, &b);
    tokens_free(&t);
    buf_free(&b);
    vocab_close(v);
    return true;
}

static void bad_files(void **state) {
    (void)state;
    struct rng r = {11};
    int opened = 0;
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "tests/vectors/vocab-%s.gguf", names[i]);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        static char file[1 << 16], copy[1 << 16];
        size_t n = fread(file, 1, sizeof file, f);
        fclose(f);
        for (size_t len = 0; len < n; len += 61) {
            char *part = malloc(len + 1); /* sanitizers see reads behind the end */
            memcpy(part, file, len);
            assert_false(use(part, len));
            free(part);
        }
        for (int k = 0; k < 1000; k++) {
            memcpy(copy, file, n);
            for (uint64_t m = rng_below(&r, 4) + 1; m > 0; m--)
                copy[rng_below(&r, n)] = (char)rng_below(&r, 256);
            opened += use(copy, n);
        }
    }
    assert_true(opened > 100);
}

/* Every allocation fails once: an error, no crash, no leak. */
static void no_memory(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        char path[64];
        struct err e = {0};
        snprintf(path, sizeof path, "tests/vectors/vocab-%s.gguf", names[i]);
        struct gguf *g = gguf_open(path, &e);
        assert_non_null(g);
        bool ok = false;
        for (int64_t n = 1; !ok && n < 10000; n++) {
            e = (struct err){0};
            mem_fail_after(n);
            struct vocab *v = vocab_open(g, &e);
            struct tokens t = {0};
            struct text_span s[] = {{STR("Hello <|im_"), true}, {STR("start|> 世界\n\xFF"), false}};
            ok = v && vocab_tokenize_spans(v, s, 2, true, &t, &e);
            mem_fail_after(0);
            if (!ok) assert_int_equal(e.code, ERR_NOMEM);
            tokens_free(&t);
            vocab_close(v);
        }
        assert_true(ok);
        gguf_close(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),   cmocka_unit_test(round_trips),
        cmocka_unit_test(spans),     cmocka_unit_test(detokenize),
        cmocka_unit_test(stream),    cmocka_unit_test(special_rules),
        cmocka_unit_test(refusals),  cmocka_unit_test(long_words),
        cmocka_unit_test(windows),   cmocka_unit_test(bad_files),
        cmocka_unit_test(no_memory), cmocka_unit_test(memo),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, open_all, close_all);
}
