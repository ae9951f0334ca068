/* Pre-tokenizer patterns as tables, and the matcher that runs them.
 *
 * Every pattern of the field is a list of alternatives, each a short sequence of greedy runs over
 * a set of characters; the first alternative that matches wins. So a pattern is data here, beside
 * the regular expression it stands for, and one matcher of 30 lines runs all of them: Unicode
 * version and the meaning of \s are ours on every machine, and no word is too long for a
 * backtracking limit. tests/unit/pretok.c checks every table against PCRE2. */
#include "text/pretok.h"
#include "gen/unicode.h"

#include <stdint.h>
#include <string.h>

/* Properties of a character; a set is a union of them, NOT(set) everything else. */
enum {
    LU = 1 << 0,
    LL = 1 << 1,
    LT = 1 << 2,
    LM = 1 << 3,
    LO = 1 << 4,
    M = 1 << 5,
    N = 1 << 6,
    P = 1 << 7,
    S = 1 << 8,
    WHITE = 1 << 9, /* \s */
    CRLF = 1 << 10,
    SPACE = 1 << 11,
    SLASH = 1 << 12,
    ALPHA = 1 << 13, /* A-Z a-z */
    DIGIT = 1 << 14, /* 0-9 */
    PUNCT = 1 << 15, /* ASCII punctuation and symbols */
    SIGN = 1 << 16,  /* $ + < = > ^ | ~ */
    TICK = 1 << 17,  /* ` */
    NEGATED = 1 << 30,
    L = LU | LL | LT | LM | LO
};
#define NOT(set) ((set) | NEGATED)

/* The ASCII characters, rows of 16. */
#define DI (N | DIGIT)
#define UP (LU | ALPHA)
#define LW (LL | ALPHA)
#define PU (P | PUNCT)
#define SI (S | PUNCT | SIGN)
#define NL (WHITE | CRLF)
// clang-format off
static const uint32_t ascii[128] = {
    0,  0,  0,  0,  0,  0,  0,  0,  0,  WHITE, NL, WHITE, WHITE, NL, 0, 0,
    0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
    WHITE | SPACE, PU, PU, PU, SI, PU, PU, PU, PU, PU, PU, SI, PU, PU, PU, PU | SLASH,
    DI, DI, DI, DI, DI, DI, DI, DI, DI, DI, PU, PU, SI, SI, SI, PU,
    PU, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP,
    UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, UP, PU, PU, PU, SI, PU,
    S | PUNCT | TICK, LW, LW, LW, LW, LW, LW, LW, LW, LW, LW, LW, LW, LW, LW, LW,
    LW, LW, LW, LW, LW, LW, LW, LW, LW, LW, LW, PU, SI, PU, SI, 0,
};
// clang-format on

/* ORDER CATEGORY */
static const uint32_t of_category[UNICODE_N_CATEGORIES] = {0, LU, LL, LT, LM, LO, M, M, M, N, N, N,
                                                           P, P,  P,  P,  P,  P,  P, S, S, S, S};

enum op {
    OP_MATCHED,
    OP_RUN,             /* min..max characters of the set, as many as possible */
    OP_CONTRACTION,     /* 's 't 're 've 'm 'll 'd, lower case; min 0: optional */
    OP_CONTRACTION_ANY, /* in any case */
    OP_NO_TEXT_NEXT,    /* (?!\S) */
    OP_AT_END           /* $ */
};
struct item {
    enum op op;
    uint32_t set;
    uint32_t min, max;
    const uint32_t *also; /* belong to the set too: first, last, first, last ... 0; sorted */
};
struct rule {
    struct item item[5];
};
struct step {
    const struct rule *rules;
    int n_rules;
};
enum { MAX_STEPS = 6 };
struct pretok {
    const char *names; /* values of tokenizer.ggml.pre, separated by spaces */
    unsigned flags;
    struct step steps[MAX_STEPS]; /* applied in turn, each to every piece of the one before */
};

#define MANY UINT32_MAX
// clang-format off
#define ONE(s) {OP_RUN, s, 1, 1, 0}            /* s */
#define OPT(s) {OP_RUN, s, 0, 1, 0}            /* s? */
#define PLUS(s) {OP_RUN, s, 1, MANY, 0}        /* s+ */
#define STAR(s) {OP_RUN, s, 0, MANY, 0}        /* s* */
#define UP_TO(n, s) {OP_RUN, s, 1, n, 0}       /* s{1,n} */
#define EXACTLY(n, s) {OP_RUN, s, n, n, 0}     /* s{n} */
#define PLUS_ALSO(s, ranges) {OP_RUN, s, 1, MANY, ranges}
#define CONTRACTION {OP_CONTRACTION, 0, 1, 1, 0}
#define CONTRACTION_ANY {OP_CONTRACTION_ANY, 0, 1, 1, 0}
#define OPT_CONTRACTION_ANY {OP_CONTRACTION_ANY, 0, 0, 1, 0}
#define NO_TEXT_NEXT {OP_NO_TEXT_NEXT, 0, 0, 0, 0}
#define AT_END {OP_AT_END, 0, 0, 0, 0}
#define RULE(...) {{__VA_ARGS__}}
// clang-format on

/* |\s+(?!\S)|\s+ */
#define SPACES RULE(PLUS(WHITE), NO_TEXT_NEXT), RULE(PLUS(WHITE))
/* |\s*[\r\n]+ and the above */
#define NEWLINES_SPACES RULE(STAR(WHITE), PLUS(CRLF)), SPACES

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ */
#define LLAMA3_RULES(n_digits, letters)                                                            \
    RULE(CONTRACTION_ANY), RULE(OPT(NOT(CRLF | L | N)), PLUS(letters)), RULE(UP_TO(n_digits, N)),  \
        RULE(OPT(SPACE), PLUS(NOT(WHITE | N | (letters))), STAR(CRLF)), NEWLINES_SPACES
static const struct rule llama3[] = {LLAMA3_RULES(3, L)};
/* the same with \p{N} */
static const struct rule qwen2[] = {LLAMA3_RULES(1, L)};
/* and with [\p{L}\p{M}] for letters; what may stand before them stays [^\r\n\p{L}\p{N}] */
static const struct rule qwen35[] = {LLAMA3_RULES(1, L | M)};

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static const struct rule gpt2[] = {
    RULE(CONTRACTION),
    RULE(OPT(SPACE), PLUS(L)),
    RULE(OPT(SPACE), PLUS(N)),
    RULE(OPT(SPACE), PLUS(NOT(WHITE | L | N))),
    SPACES,
};

/* With U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], W = [\p{Ll}\p{Lm}\p{Lo}\p{M}]:
 * [^\r\n\p{L}\p{N}]?U*W+(?i:C)?|[^\r\n\p{L}\p{N}]?U+W*(?i:C)?|\p{N}{1,3}
 * | ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
#define U (LU | LT | LM | LO | M)
#define W (LL | LM | LO | M)
static const struct rule gpt4o[] = {
    RULE(OPT(NOT(CRLF | L | N)), STAR(U), PLUS(W), OPT_CONTRACTION_ANY),
    RULE(OPT(NOT(CRLF | L | N)), PLUS(U), STAR(W), OPT_CONTRACTION_ANY),
    RULE(UP_TO(3, N)),
    RULE(OPT(SPACE), PLUS(NOT(WHITE | L | N)), STAR(CRLF | SLASH)),
    NEWLINES_SPACES,
};
/* the same without (?i:C)? and with \p{N} */
static const struct rule tekken[] = {
    RULE(OPT(NOT(CRLF | L | N)), STAR(U), PLUS(W)),
    RULE(OPT(NOT(CRLF | L | N)), PLUS(U), STAR(W)),
    RULE(ONE(N)),
    RULE(OPT(SPACE), PLUS(NOT(WHITE | L | N)), STAR(CRLF | SLASH)),
    NEWLINES_SPACES,
};

static const uint32_t kana_han[] = {0x3040, 0x30FF, 0x4E00, 0x9FA5, 0};
static const struct rule deepseek3_han[] = {RULE(PLUS_ALSO(0, kana_han))};
/* [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ */
static const struct rule deepseek3[] = {
    RULE(ONE(PUNCT), PLUS(ALPHA)),
    RULE(OPT(NOT(CRLF | L | P | S)), PLUS(L | M)),
    RULE(OPT(SPACE), PLUS(P | S), STAR(CRLF)),
    NEWLINES_SPACES,
};

static const uint32_t han_hangul[] = {0x0800, 0x9FA5, 0xAC00, 0xD7FF, 0};
static const struct rule deepseek_han[] = {RULE(PLUS_ALSO(0, han_hangul))};
static const struct rule one_newline[] = {RULE(ONE(CRLF))};
static const struct rule one_digit[] = {RULE(ONE(N))};
static const struct rule upto3_digits[] = {RULE(UP_TO(3, N))};
static const struct rule digits[] = {RULE(PLUS(N))};
static const struct rule three_digits[] = {RULE(EXACTLY(3, DIGIT))};
static const struct rule space_letters[] = {RULE(OPT(WHITE), PLUS(L))};
static const struct rule space_punct[] = {RULE(OPT(WHITE), PLUS(P))};
static const struct rule spaces_at_end[] = {RULE(PLUS(WHITE), AT_END)};

/* The letters with case that the deepseek-llm tokenizer lists. */
static const uint32_t cased[] = {
    0x41,    0x5A,    0x61,    0x7A,    0xB5,    0xB5,    0xC0,    0xD6,    0xD8,    0xF6,
    0xF8,    0x1BA,   0x1BC,   0x1BF,   0x1C4,   0x293,   0x295,   0x2AF,   0x370,   0x373,
    0x376,   0x377,   0x37B,   0x37D,   0x37F,   0x37F,   0x386,   0x386,   0x388,   0x38A,
    0x38C,   0x38C,   0x38E,   0x3A1,   0x3A3,   0x3F5,   0x3F7,   0x481,   0x48A,   0x52F,
    0x531,   0x556,   0x10A0,  0x10C5,  0x13A0,  0x13F5,  0x13F8,  0x13FD,  0x1C90,  0x1CBA,
    0x1CBD,  0x1CBF,  0x1D00,  0x1D2B,  0x1D6B,  0x1D77,  0x1D79,  0x1D9A,  0x1E00,  0x1F15,
    0x1F18,  0x1F1D,  0x1F20,  0x1F45,  0x1F48,  0x1F4D,  0x1F50,  0x1F57,  0x1F59,  0x1F59,
    0x1F5B,  0x1F5B,  0x1F5D,  0x1F5D,  0x1F5F,  0x1F7D,  0x1F80,  0x1FB4,  0x1FB6,  0x1FBC,
    0x1FBE,  0x1FBE,  0x1FC2,  0x1FC4,  0x1FC6,  0x1FCC,  0x1FD0,  0x1FD3,  0x1FD6,  0x1FDB,
    0x1FE0,  0x1FEC,  0x1FF2,  0x1FF4,  0x1FF6,  0x1FFC,  0x2102,  0x2102,  0x2107,  0x2107,
    0x210A,  0x2113,  0x2115,  0x2115,  0x2119,  0x211D,  0x2124,  0x2124,  0x2126,  0x2126,
    0x2128,  0x2128,  0x212A,  0x212D,  0x212F,  0x2134,  0x2139,  0x2139,  0x213C,  0x213F,
    0x2145,  0x2149,  0x214E,  0x214E,  0x2183,  0x2184,  0x2C00,  0x2C7B,  0x2C7E,  0x2CE4,
    0x2CEB,  0x2CEE,  0x2CF2,  0x2CF3,  0xA640,  0xA66D,  0xA680,  0xA69B,  0xA722,  0xA76F,
    0xA771,  0xA787,  0xA78B,  0xA78E,  0xAB70,  0xABBF,  0xFB00,  0xFB06,  0xFB13,  0xFB17,
    0xFF21,  0xFF3A,  0xFF41,  0xFF5A,  0x10400, 0x1044F, 0x104B0, 0x104D3, 0x104D8, 0x104FB,
    0x10C80, 0x10CB2, 0x10CC0, 0x10CF2, 0x118A0, 0x118DF, 0x1E900, 0x1E943, 0};
static const struct rule space_cased[] = {RULE(OPT(WHITE), PLUS_ALSO(0, cased))};
static const uint32_t llm_punct[] = {0x21,   0x2F,   0x3A,   0x7E,   0x2018, 0x201F, 0x3000,
                                     0x3002, 0xFF01, 0xFF0F, 0xFF1A, 0xFF5E, 0};
static const struct rule space_llm_punct[] = {RULE(OPT(WHITE), PLUS_ALSO(0, llm_punct))};

/* [\p{P}\$\+<=>\^~\|]+ and the same with ` */
static const struct rule punct_signs[] = {RULE(PLUS(P | SIGN))};
static const struct rule punct_signs_tick[] = {RULE(PLUS(P | SIGN | TICK))};

#define STEP(rules)                                                                                \
    { rules, (int)(sizeof(rules) / sizeof *(rules)) }
enum {
    IGNORE_MERGES = PRETOK_IGNORE_MERGES,
    ADD_BOS = PRETOK_ADD_BOS,
    CLEAN = PRETOK_CLEAN_SPACES,
    NO_BOS = PRETOK_NO_BOS
};
static const struct pretok table[] = {
    {"default", CLEAN, {STEP(punct_signs), STEP(gpt2), STEP(digits), STEP(three_digits)}},
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     IGNORE_MERGES | ADD_BOS | CLEAN,
     {STEP(llama3)}},
    {"dbrx smaug-bpe", CLEAN, {STEP(llama3)}},
    {"glm4", IGNORE_MERGES | NO_BOS | CLEAN, {STEP(llama3)}},
    {"chatglm-bpe", NO_BOS | CLEAN, {STEP(llama3)}},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2", 0, {STEP(qwen2)}},
    {"megrez stablelm2 hunyuan solar-open", CLEAN, {STEP(qwen2)}},
    {"qwen35", 0, {STEP(qwen35)}},
    {"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert "
     "jina-v1-en jina-v2-code roberta-bpe mpt olmo jais trillion granite-docling",
     CLEAN,
     {STEP(gpt2)}},
    {"starcoder refact codeshell exaone", CLEAN, {STEP(one_digit), STEP(gpt2)}},
    {"smollm command-r", 0, {STEP(one_digit), STEP(gpt2)}},
    {"gpt-4o llama4 kanana2 talkie", 0, {STEP(gpt4o)}},
    {"tekken", IGNORE_MERGES | ADD_BOS, {STEP(tekken)}},
    {"deepseek-llm",
     0,
     {STEP(one_newline), STEP(space_cased), STEP(space_llm_punct), STEP(spaces_at_end),
      STEP(deepseek_han), STEP(digits)}},
    {"deepseek-coder",
     0,
     {STEP(one_newline), STEP(space_letters), STEP(space_punct), STEP(deepseek_han),
      STEP(one_digit)}},
    {"deepseek-v3 hunyuan-dense joyai-llm",
     0,
     {STEP(upto3_digits), STEP(deepseek3_han), STEP(deepseek3)}},
    {"falcon", CLEAN, {STEP(punct_signs_tick), STEP(gpt2), STEP(three_digits)}},
    {"gemma4 granite-embed-multi-311m", ADD_BOS | PRETOK_RAW, {{NULL, 0}}},
};
static bool names_has(const char *names, struct str name) {
    for (const char *p = names; *p;) {
        size_t len = strcspn(p, " ");
        if (str_eq((struct str){p, len}, name)) return true;
        p += len + (p[len] == ' ');
    }
    return false;
}

const struct pretok *pretok_find(struct str name) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (names_has(table[i].names, name)) return &table[i];
    return NULL;
}

unsigned pretok_flags(const struct pretok *p) {
    return p->flags;
}

/* The bytes of the character at p if it belongs to the set, else 0. */
static inline size_t in_set(const struct item *it, const char *p, const char *end) {
    unsigned char c = (unsigned char)*p;
    uint32_t cp = c, props;
    size_t len = 1;
    if (c < 128) {
        props = ascii[c];
    } else {
        len = utf8_decode(p, (size_t)(end - p), &cp);
        props = of_category[unicode_category(cp)] | (unicode_is_space(cp) ? WHITE : 0);
    }
    bool in = props & it->set & ~(uint32_t)NEGATED;
    for (const uint32_t *r = it->also; !in && r && *r && *r <= cp; r += 2) in = cp <= r[1];
    return in != ((it->set & NEGATED) != 0) ? len : 0;
}

/* The bytes of a contraction at p, or 0. */
static size_t contraction(const char *p, const char *end, bool any_case) {
    static const char *const tails[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    if (*p != '\'') return 0;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        const char *t = tails[i], *q = p + 1;
        while (*t && q < end && (*q == *t || (any_case && *q == *t - 'a' + 'A'))) t++, q++;
        if (!*t) return (size_t)(q - p);
    }
    return 0;
}

/* The end of a match of the items at p, or NULL. A run that the rest of the rule does not fit
 * behind gives back one character at a time; depth is the number of items. */
static const char *match(const struct item *it, const char *p, const char *end) {
    static const struct item white = ONE(WHITE);
    switch (it->op) {
    case OP_MATCHED:
        return p;
    case OP_NO_TEXT_NEXT:
        return p == end || in_set(&white, p, end) ? match(it + 1, p, end) : NULL;
    case OP_AT_END:
        return p == end ? match(it + 1, p, end) : NULL;
    case OP_CONTRACTION:
    case OP_CONTRACTION_ANY: {
        size_t len = p < end ? contraction(p, end, it->op == OP_CONTRACTION_ANY) : 0;
        return len || it->min == 0 ? match(it + 1, p + len, end) : NULL;
    }
    case OP_RUN:
        break;
    }
    const char *q = p, *found;
    uint32_t n = 0;
    for (size_t len; n < it->max && q < end && (len = in_set(it, q, end)); n++) q += len;
    for (; n >= it->min; n--) {
        if ((found = match(it + 1, q, end))) return found;
        if (n == 0) break;
        do q--;
        while (((unsigned char)*q & 0xC0) == 0x80);
    }
    return NULL;
}

static const char *match_any(const struct step *s, const char *p, const char *end) {
    const char *found = NULL;
    for (int i = 0; !found && i < s->n_rules; i++) found = match(s->rules[i].item, p, end);
    return found;
}

/* Behind p, where the step does not match, the first place that is worth a try. A rule that
 * starts with a run and fails at its start fails everywhere in it. */
static const char *skip(const struct step *s, const char *p, const char *end) {
    const struct item *first = s->rules[0].item;
    bool by_run = s->n_rules == 1 && first->op == OP_RUN && first->min == 1 && first->max == MANY;
    size_t len = by_run ? in_set(first, p, end) : 0;
    uint32_t cp;
    if (len == 0) return p + utf8_decode(p, (size_t)(end - p), &cp);
    while (p < end && (len = in_set(first, p, end))) p += len;
    return p;
}

struct sink {
    bool (*word)(void *ctx, struct str w);
    void *ctx;
};

/* Cuts [p, end) into matches of the first step and the gaps between them, and hands each piece
 * to the next step. */
static bool split(const struct step *s, int n_steps, const char *p, const char *end,
                  const struct sink *to) {
    if (n_steps == 0 || s->n_rules == 0)
        return to->word(to->ctx, (struct str){p, (size_t)(end - p)});
    const char *gap = p;
    while (p < end) {
        const char *q = match_any(s, p, end);
        if (!q) {
            p = skip(s, p, end);
            continue;
        }
        if (gap < p && !split(s + 1, n_steps - 1, gap, p, to)) return false;
        if (!split(s + 1, n_steps - 1, p, q, to)) return false;
        gap = p = q;
    }
    return gap == end || split(s + 1, n_steps - 1, gap, end, to);
}

bool pretok_split(const struct pretok *p, struct str text, bool (*word)(void *ctx, struct str w),
                  void *ctx) {
    struct sink to = {word, ctx};
    if (text.len == 0) return true;
    return split(p->steps, MAX_STEPS, text.p, text.p + text.len, &to);
}
