/* Token ids of real vocabularies against the reference's: the pairs NAME.inp, NAME.out and the
 * table of spec/tokenizer.md section 14. Skipped where ../shared is absent; tests/unit/tokenizer.c
 * checks the same code on our own vocabularies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/str.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

static const char *shared(void) {
    const char *dir = getenv("HOLDFAST_SHARED");
    return dir && *dir ? dir : "../shared";
}

static bool read_file(const char *path, struct buf *out) {
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) buf_add(out, part, n);
    fclose(f);
    return true;
}

static struct vocab *open_vocab(const char *name) {
    char path[4096];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/data/vocab/%s.gguf", shared(), name);
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fclose(f);
    struct gguf *g = gguf_open(path, &e);
    if (!g) fail_msg("%s: %s", path, e.msg);
    struct vocab *v = vocab_open(g, &e);
    gguf_close(g);
    if (!v) fail_msg("%s: %s", path, e.msg);
    return v;
}

static void check_ids(const struct vocab *v, const char *name, struct str text, const char *want) {
    struct tokens got = {0};
    struct err e = {0};
    struct buf ids = {0};
    if (!vocab_tokenize(v, text, false, false, &got, &e)) fail_msg("%s", e.msg);
    for (size_t i = 0; i < got.n; i++) buf_printf(&ids, "%s%d", i ? " " : "", got.id[i]);
    buf_cstr(&ids, "");
    while (*want == ' ') want++;
    if (strcmp(ids.p, want) != 0)
        fail_msg("%s: '%.*s'\n  expected %s\n  got      %s", name, (int)text.len, text.p, want,
                 ids.p);
    /* and back: in pieces, what the stream says is the text */
    struct vocab_stream s = {0};
    struct buf back = {0};
    for (size_t i = 0; i < got.n; i++) vocab_stream_add(v, &s, got.id[i], true, &back);
    vocab_stream_end(&s, &back);
    struct str b = buf_view(&back);
    if (b.len == text.len + 1) b.p++, b.len--; /* the space prefix of SPM */
    if (!str_eq(b, text))
        fail_msg("%s: '%.*s' comes back as '%s'", name, (int)text.len, text.p, b.p);
    buf_free(&ids);
    buf_free(&back);
    tokens_free(&got);
}

static void check_vectors(void **state) {
    const char *name = *state;
    struct vocab *v = open_vocab(name);
    if (!v) skip();
    char path[4096];
    struct buf inp = {0}, out = {0};
    snprintf(path, sizeof path, "%s/data/vocab/%s.inp", shared(), name);
    assert_true(read_file(path, &inp));
    snprintf(path, sizeof path, "%s/data/vocab/%s.out", shared(), name);
    assert_true(read_file(path, &out));
    const struct str mark = STR("\n__ggml_vocab_test__\n");
    char *line = out.p;
    int n = 0;
    for (size_t from = 0; from < inp.len; n++) {
        int64_t end = str_find(buf_view(&inp), mark, from);
        if (end < 0) end = (int64_t)inp.len; /* some files end without a marker */
        char *newline = strchr(line, '\n');
        assert_non_null(newline);
        *newline = 0;
        check_ids(v, name, (struct str){inp.p + from, (size_t)end - from}, line);
        line = newline + 1;
        from = (size_t)end + mark.len;
    }
    assert_true(n >= 40);
    assert_true(*line == 0);
    buf_free(&inp);
    buf_free(&out);
    vocab_close(v);
}

/* spec/tokenizer.md section 14 */
static const char *const columns[] = {"llama-bpe", "qwen2", "gpt-2", "gemma-4", "llama-spm"};
static const struct {
    const char *text, *ids[5];
} table[] = {
    {"Hello world", {"9906 1917", "9707 1879", "15496 995", "9259 1902", "15043 3186"}},
    {" Hello World!",
     {"22691 4435 0", "21927 4337 0", "18435 2159 0", "26352 4109 236888",
      "29871 15043 2787 29991"}},
    {"Hello, world!",
     {"9906 11 1917 0", "9707 11 1879 0", "15496 11 995 0", "9259 236764 1902 236888",
      "15043 29892 3186 29991"}},
    {" ", {"220", "220", "220", "236743", "259"}},
    {"   ", {"262", "262", "220 220 220", "139", "268"}},
    {"\t", {"197", "197", "197", "255968", "29871 12"}},
    {"\n", {"198", "198", "198", "107", "29871 13"}},
    {"\n\n\n", {"1432", "1406", "628 198", "109", "29871 13 13 13"}},
    {"\t\n", {"1602", "1572", "197 198", "255968 107", "29871 12 13"}},
    {"  Hello", {"220 22691", "220 21927", "220 18435", "138 9259", "259 15043"}},
    {"    Hello\n    Hello",
     {"262 22691 198 262 22691", "262 21927 198 262 21927",
      "220 220 220 18435 198 220 220 220 18435", "140 9259 107 140 9259",
      "268 15043 13 1678 15043"}},
    {"\n =", {"198 284", "198 284", "198 796", "107 578", "29871 13 353"}},
    {"' era", {"6 11639", "6 11385", "6 6980", "236789 6933", "525 3152"}},
    {"33333",
     {"8765 1644", "18 18 18 18 18", "2091 20370", "236800 236800 236800 236800 236800",
      "29871 29941 29941 29941 29941 29941"}},
    {"3333333",
     {"8765 8765 18", "18 18 18 18 18 18 18", "24840 20370",
      "236800 236800 236800 236800 236800 236800 236800",
      "29871 29941 29941 29941 29941 29941 29941 29941"}},
    {"!!!!!!", {"17523 3001", "17085 2928", "13896 3228", "123947", "1738 6824 21004"}},
    {"Äpfel",
     {"88075 16276 301", "86975 15897 301", "127 226 79 69 417", "239122 22744 535",
      "11585 7810 295"}},
    {"ied 4 ½ months",
     {"1142 220 19 220 27154 4038", "1122 220 19 220 26062 3951", "798 604 25208 1933",
      "1178 236743 236812 47041 3794", "474 287 29871 29946 29871 30226 7378"}},
    {"Cửa Việt",
     {"34 91163 101798", "34 90063 128324", "34 157 119 255 64 16049 157 119 229 83",
      "236780 29719 33154", "315 228 190 176 29874 10630 30529 29873"}},
    {"w048 7tuijk dsdfhu",
     {"86 23904 220 22 83 2005 42908 11729 3013 17156",
      "86 15 19 23 220 22 83 1963 41808 11472 2940 16739",
      "86 47202 767 28047 45961 288 82 7568 13415",
      "236765 236771 236812 236828 236743 236832 11372 12065 31806 3405 9360",
      "281 29900 29946 29947 29871 29955 9161 13535 18031 2176 6905"}},
    {" this is 🦙.cpp",
     {"420 374 11410 99 247 13 11055", "419 374 11162 99 247 13 10821",
      "428 318 12520 99 247 13 20322", "672 563 236743 478 397 404 391 236761 12362",
      "29871 445 338 29871 243 162 169 156 29889 8223"}},
};

static void spec_table(void **state) {
    (void)state;
    for (int c = 0; c < 5; c++) {
        struct vocab *v = open_vocab(columns[c]);
        if (!v) skip();
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            check_ids(v, columns[c], str_of(table[i].text), table[i].ids[c]);
        vocab_close(v);
    }
    struct vocab *v = open_vocab("qwen35");
    check_ids(v, "qwen35", STR("e\xCC\x81"), "68 53839");
    check_ids(v, "qwen35", STR("re\xCC\x81sume\xCC\x81"), "265 53839 31323 53839");
    vocab_close(v);
}

static void no_control_from_text(void **state) {
    (void)state;
    static const char *const names[] = {"llama-spm", "phi-3", "gemma-4", "llama-bpe", "qwen2"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        struct vocab *v = open_vocab(names[k]);
        if (!v) skip();
        for (int32_t id = 0; id < vocab_size(v); id++) {
            if (vocab_type(v, id) != TOKEN_CONTROL) continue;
            struct tokens got = {0};
            struct text_span span = {vocab_text(v, id), false};
            assert_true(vocab_tokenize_spans(v, &span, 1, false, &got, NULL));
            for (size_t i = 0; i < got.n; i++)
                assert_true(vocab_type(v, got.id[i]) != TOKEN_CONTROL);
            got.n = 0;
            assert_true(vocab_tokenize(v, span.text, false, true, &got, NULL));
            assert_int_equal(got.n, 1);
            assert_int_equal(got.id[0], id);
            tokens_free(&got);
        }
        vocab_close(v);
    }
}

int main(void) {
    static char names[][16] = {"llama-bpe", "qwen2",     "qwen35", "gpt-2",
                               "gemma-4",   "llama-spm", "phi-3",  "deepseek-llm"};
    struct CMUnitTest tests[16] = {
        {"spec table", spec_table, NULL, NULL, NULL},
        {"no control token from text", no_control_from_text, NULL, NULL, NULL}};
    size_t n = 2;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        tests[n++] = (struct CMUnitTest){names[i], check_vectors, NULL, NULL, names[i]};
    return _cmocka_run_group_tests("tokenizer_shared", tests, n, NULL, NULL);
}
