/* Every pre-tokenizer table against its regular expressions run by PCRE2, on made-up texts; and
 * that no pattern is worse than linear. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/os.h"
#include "base/rng.h"
#include "gen/unicode.h"
#include "text/pretok.h"

/* \s and \S as Unicode's White_Space, which PCRE2 knows under no name */
#define WS                                                                                         \
    "\\x09-\\x0D\\x20\\x85\\xA0\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}"   \
    "\\x{3000}"
#define WHITE  "[" WS "]"
#define SPACES "|" WHITE "*[\\r\\n]+|" WHITE "+(?![^" WS "])|" WHITE "+"
#define C      "'s|'t|'re|'ve|'m|'ll|'d"
#define LLAMA3(digits)                                                                             \
    "(?i:" C ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*" SPACES
#define U "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define W "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASES(tail)                                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?" U "*" W "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" U "+" W "*" tail
#define GPT2       C "| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" WHITE "+(?![^" WS "])|" WHITE "+"
#define HAN_HANGUL "[\\x{4E00}-\\x{9FA5}\\x{0800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"

static const struct {
    const char *name, *steps[6];
} patterns[] = {
    {"llama-bpe", {LLAMA3("\\p{N}{1,3}")}},
    {"glm4", {LLAMA3("\\p{N}{1,3}")}},
    {"dbrx", {LLAMA3("\\p{N}{1,3}")}},
    {"chatglm-bpe", {LLAMA3("\\p{N}{1,3}")}},
    {"qwen2", {LLAMA3("\\p{N}")}},
    {"stablelm2", {LLAMA3("\\p{N}")}},
    {"qwen35",
     {"(?i:" C ")|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS
      "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES}},
    {"gpt-2", {GPT2}},
    {"smollm", {"\\p{N}", GPT2}},
    {"refact", {"\\p{N}", GPT2}},
    {"gpt-4o", {CASES("(?i:" C ")?") "|\\p{N}{1,3}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*" SPACES}},
    {"tekken", {CASES("") "|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*" SPACES}},
    {"deepseek-v3",
     {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
      "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" SPACES}},
    {"deepseek-coder", {"[\\r\\n]", WHITE "?\\p{L}+", WHITE "?\\p{P}+", HAN_HANGUL, "\\p{N}"}},
    {"deepseek-llm", /* of the letters with case, those that the texts below use */
     {"[\\r\\n]",
      WHITE "?[A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}"
            "\\x{410}-\\x{44F}\\x{1E00}-\\x{1EFF}\\x{FF21}-\\x{FF3A}\\x{10400}-"
            "\\x{1044F}]+",
      WHITE "?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-"
            "\\x{3002}]+",
      WHITE "+$", HAN_HANGUL, "\\p{N}+"}},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
};
enum { N_PATTERNS = sizeof patterns / sizeof *patterns, MAX_TEXT = 128 };

/* A text as its cuts: cut[i] = a word ends behind byte i. */
struct cuts {
    const char *text;
    bool cut[MAX_TEXT];
};

static bool on_word(void *ctx, struct str w) {
    struct cuts *c = ctx;
    c->cut[w.p + w.len - 1 - c->text] = true;
    return true;
}

static pcre2_code *compile(const char *pattern) {
    int code;
    size_t at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
    if (!re) fail_msg("pattern error %d at %zu: %s", code, at, pattern);
    pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);
    return re;
}

static void split(pcre2_code *const *re, const char *p, size_t len, struct cuts *out) {
    if (!*re) {
        on_word(out, (struct str){p, len});
        return;
    }
    pcre2_match_data *m = pcre2_match_data_create(1, NULL);
    size_t from = 0;
    while (from < len && pcre2_match(*re, (PCRE2_SPTR)p, len, from, 0, m, NULL) >= 0) {
        const size_t *at = pcre2_get_ovector_pointer(m);
        size_t begin = at[0], end = at[1];
        assert_true(end > begin);
        if (begin > from) split(re + 1, p + from, begin - from, out);
        split(re + 1, p + begin, end - begin, out);
        from = end;
    }
    if (from < len) split(re + 1, p + from, len - from, out);
    pcre2_match_data_free(m);
}

static uint32_t any_char(struct rng *r) {
    static const uint32_t few[] = {' ',    ' ',    '\n',   '\r',    '\t',   '\'',  '\'',  's',
                                   'T',    'l',    'L',    'v',     'e',    'A',   'z',   '1',
                                   '9',    '/',    '`',    '$',     '.',    '_',   0x85,  0xA0,
                                   0x3000, 0x2028, 0x200B, 0xFEFF,  0xE9,   0x416, 0x301, 0xBD,
                                   0x661,  0x4E2D, 0x3042, 0x30FC,  0xAC00, 0x1C5, 0x2B0, 0x1F999,
                                   0x2019, 0xFF21, 0xFF01, 0x10400, 0x20AC, 0};
    uint32_t cp;
    if (rng_below(r, 4)) return few[rng_below(r, sizeof few / sizeof *few)];
    do cp = (uint32_t)rng_below(r, rng_below(r, 2) ? 0x3100 : 0x20000);
    while (unicode_category(cp) == UNICODE_CN || unicode_category(cp) == UNICODE_CS ||
           cp == 0x17F); /* PCRE2 folds the long s, the tokenizers do not */
    return cp;
}

static bool in_cased_excerpt(uint32_t cp) {
    return cp < 0x1BB || (cp >= 0x410 && cp <= 0x44F) || (cp >= 0x2010 && cp < 0x2070) ||
           (cp >= 0x3000 && cp < 0xA000) || cp >= 0x1F000;
}

static void against_pcre2(void **state) {
    (void)state;
    for (size_t k = 0; k < N_PATTERNS; k++) {
        const struct pretok *p = pretok_find(str_of(patterns[k].name));
        assert_non_null(p);
        pcre2_code *re[7] = {0};
        for (int i = 0; i < 6 && patterns[k].steps[i]; i++) re[i] = compile(patterns[k].steps[i]);
        bool excerpt = strcmp(patterns[k].name, "deepseek-llm") == 0;
        struct rng r = {k};
        for (int i = 0; i < 4000; i++) {
            char text[MAX_TEXT];
            size_t len = 0;
            for (uint64_t n = rng_below(&r, 25) + 1; n > 0; n--) {
                uint32_t cp = any_char(&r);
                if (!excerpt || in_cased_excerpt(cp)) len += utf8_encode(cp, text + len);
            }
            struct cuts want = {.text = text}, got = {.text = text};
            split(re, text, len, &want);
            assert_true(len == 0 || pretok_split(p, (struct str){text, len}, on_word, &got));
            for (size_t b = 0; b < len; b++)
                if (want.cut[b] != got.cut[b])
                    fail_msg("%s: '%.*s' %s behind byte %zu", patterns[k].name, (int)len, text,
                             want.cut[b] ? "should be cut" : "is cut", b);
        }
        for (int i = 0; re[i]; i++) pcre2_code_free(re[i]);
    }
}

static bool count_words(void *ctx, struct str w) {
    *(size_t *)ctx += w.len;
    return true;
}

static void linear_time(void **state) {
    (void)state;
    static const char *const unit[] = {" ", "\n", "A",   "a",  "\xE4\xB8\xAD", "\xCC\x81",
                                       "1", "'",  " \n", "Aa", "\xE1\xB5\x80", "'s",
                                       " x"};
    for (size_t k = 0; k < N_PATTERNS; k++) {
        const struct pretok *p = pretok_find(str_of(patterns[k].name));
        for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
            size_t len = strlen(unit[u]), n = 1000000 / len * len, seen = 0;
            char *text = malloc(n + 2);
            for (size_t i = 0; i < n; i++) text[i] = unit[u][i % len];
            text[n] = 'x', text[n + 1] = '.'; /* so that runs end before the text does */
            uint64_t start = os_now_ns();
            assert_true(pretok_split(p, (struct str){text, n + 2}, count_words, &seen));
            double took = (double)(os_now_ns() - start) / 1e9;
            assert_int_equal(seen, n + 2);
            if (took > 3) fail_msg("%s: 1 MB of '%s' takes %g s", patterns[k].name, unit[u], took);
            free(text);
        }
    }
}

static bool stop(void *ctx, struct str w) {
    (void)w;
    return ++*(int *)ctx < 2;
}

static void names(void **state) {
    (void)state;
    assert_null(pretok_find(STR("")));
    assert_null(pretok_find(STR("llama")));
    assert_null(pretok_find(STR("llama3 llama-v3")));
    assert_ptr_equal(pretok_find(STR("pixtral")), pretok_find(STR("lfm2")));
    assert_true(pretok_flags(pretok_find(STR("lfm2"))) & PRETOK_IGNORE_MERGES);
    assert_true(pretok_flags(pretok_find(STR("tekken"))) & PRETOK_ADD_BOS);
    assert_false(pretok_flags(pretok_find(STR("qwen2"))) & PRETOK_CLEAN_SPACES);
    int calls = 0;
    assert_false(pretok_split(pretok_find(STR("gpt-2")), STR("a b c d"), stop, &calls));
    assert_int_equal(calls, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_pcre2),
                                       cmocka_unit_test(linear_time), cmocka_unit_test(names)};
    return cmocka_run_group_tests_name("pretok", tests, NULL, NULL);
}
