/* What the files of the tokenizer share: the vocabulary's tables and the encoder of one word.
 * Only vocab.c, special.c, merge.c, tokenize.c and detok.c include it. */
#ifndef HOLDFAST_TEXT_VOCAB_IMPL_H
#define HOLDFAST_TEXT_VOCAB_IMPL_H

#include "base/mem.h"
#include "text/pretok.h"
#include "text/vocab.h"

enum vocab_kind {
    VOCAB_SPM,      /* "llama": merges by score, spaces as U+2581, bytes as <0xHH> */
    VOCAB_BYTE_BPE, /* "gpt2": merges by rank over mapped bytes */
    VOCAB_RAW_BPE   /* "gemma4": merges by rank over characters, else as SPM */
};

/* Places of the two open-addressing tables, powers of two. */
struct text_slot {
    uint64_t key;
    int32_t id_1; /* id + 1; 0 = free */
};
struct pair_slot {
    int32_t left, right;
    int32_t merged_1; /* id of the merged text + 1; 0 = free */
    uint32_t rank;
};

enum { TOKEN_IS_EOG = 1, TOKEN_STRIPS_RIGHT = 2, TOKEN_IS_MARKER = 4 };

/* A token that is cut out of the text before anything else. */
struct cut_token {
    struct str text;
    int32_t id;
};

struct vocab {
    struct arena arena; /* texts, bytes and the fixed arrays */
    enum vocab_kind kind;
    const struct pretok *words; /* byte-level BPE */
    bool ignore_merges, add_space_prefix, clean_spaces;

    int32_t n;             /* tokens */
    struct str *text;      /* (n_texts): texts[n..] occur in merges only */
    struct str *bytes;     /* (n): what a token prints; empty for control tokens */
    uint8_t *type, *flags; /* (n): enum token_type, TOKEN_IS_* */
    uint32_t *priority;    /* (n): SPM: the lower merges first */
    size_t n_texts, cap_texts;
    size_t longest; /* bytes of the longest text */
    struct text_slot *by_text;
    size_t n_by_text;
    struct pair_slot *pairs;
    size_t n_pairs;

    bool before_space[256]; /* this byte and U+2581 may be joined by merges */
    int32_t byte_id[256];   /* the token or merge text of one byte; -1: none */
    struct vocab_special special;
    int32_t *suppress;
    int n_suppress;
    struct cut_token *cut; /* sorted by text */
    size_t n_cut;
    uint32_t cut_from[257]; /* first index in cut by first byte */
};

#define WORD_SPACE "\xE2\x96\x81" /* U+2581 */

/* The id of a text that ordinary text may become: of a token that is no control token, or of a
 * merge; -1: none. So what users write never turns into a control token by merging. */
int32_t vocab_find_plain(const struct vocab *v, struct str text);
/* Reads the special ids, applies section 12, fills flags and may change types. */
bool vocab_read_special(struct vocab *v, const struct gguf *g, struct err *e);
/* Fills bytes; needs the final types. */
bool vocab_make_bytes(struct vocab *v, struct err *e);
/* The character that stands for byte b in texts of byte-level BPE (GPT-2's map). */
uint32_t vocab_byte_char(unsigned char b);

static inline bool vocab_is_control(const struct vocab *v, int32_t id) {
    return v->type[id] == TOKEN_CONTROL || v->type[id] == TOKEN_UNKNOWN;
}

/* Merging of one word: scratch that lives for one call of vocab_tokenize. */
struct merge_symbol {
    int32_t id; /* -1: the text is no token */
    uint32_t end;
    int32_t prev, next;
};
struct merge_pair {
    uint64_t order; /* priority, then the left symbol's index */
    int32_t merged;
    uint32_t end; /* of the right symbol when this was queued; else it is stale */
};
struct merger {
    const struct vocab *v;
    struct merge_symbol *sym;
    struct merge_pair *heap;
    size_t cap_sym, n_heap, cap_heap;
};
/* Appends the ids of a word: for SPM and raw BPE with spaces already escaped. */
bool merge_word(struct merger *m, struct str word, struct tokens *out, struct err *e);
void merge_free(struct merger *m);
/* Enters a merge; the first of equal pairs stays. pairs has room. */
void merge_add_pair(struct vocab *v, int32_t left, int32_t right, int32_t merged, uint32_t rank);

/* Spans joined to one text: what memo.c keeps of a call. */
struct span_end {
    size_t at; /* in the joined text */
    bool special;
};
struct joined {
    struct str text;
    struct span_end *ends; /* (n) */
    size_t n;
    struct buf copy; /* text may point to it */
};
/* A place behind a token that was cut out: what follows is tokenized for itself. */
struct token_mark {
    size_t text, id; /* bytes and ids before it */
};
struct token_marks {
    struct token_mark *m;
    size_t n, cap;
};
bool token_marks_add(struct token_marks *k, struct token_mark mark);
bool token_join(const struct vocab *v, const struct text_span *spans, struct joined *j,
                struct err *e);
void joined_free(struct joined *j);
/* Appends to out, which holds the ids of the first `from` bytes (0, or a mark); marks: NULL, or
 * those of the rest are appended. */
bool token_encode(const struct vocab *v, const struct joined *j, size_t from, bool add_special,
                  struct tokens *out, struct token_marks *marks, struct err *e);

#endif
