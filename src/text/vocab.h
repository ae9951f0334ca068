/* A vocabulary and its tokenizer: text to token ids and back (spec/tokenizer.md). Immutable after
 * vocab_open; tokenizing is thread-safe. Does not know chat templates. */
#ifndef HOLDFAST_TEXT_VOCAB_H
#define HOLDFAST_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct gguf;
struct vocab;

enum token_type { /* ids of the file format */
                  TOKEN_UNDEFINED,
                  TOKEN_NORMAL,
                  TOKEN_UNKNOWN,
                  TOKEN_CONTROL,
                  TOKEN_USER,
                  TOKEN_UNUSED,
                  TOKEN_BYTE
};

/* Growable ids. Zero-initialise; free with tokens_free. */
struct tokens {
    int32_t *id;
    size_t n, cap;
};
void tokens_free(struct tokens *t);
bool tokens_add(struct tokens *t, int32_t id);

/* Reads tokenizer.ggml.* ; NULL with e filled. Copies what it needs: g may be closed. */
struct vocab *vocab_open(const struct gguf *g, struct err *e);
void vocab_close(struct vocab *v);

int32_t vocab_size(const struct vocab *v);
enum token_type vocab_type(const struct vocab *v, int32_t id);
/* The token's text as it stands in the file. */
struct str vocab_text(const struct vocab *v, int32_t id);
/* The bytes the token prints (spec 11); empty for control tokens unless special. The view is
 * valid as long as the vocabulary. */
struct str vocab_bytes(const struct vocab *v, int32_t id, bool special);
int32_t vocab_find(const struct vocab *v, struct str text); /* -1: none */
bool vocab_is_eog(const struct vocab *v, int32_t id);

struct vocab_special { /* -1: none */
    int32_t bos, eos, unk, sep, pad, eot, eom, fim_pre, fim_suf, fim_mid, fim_pad, fim_rep, fim_sep;
    bool add_bos, add_eos;
};
const struct vocab_special *vocab_special(const struct vocab *v);
const int32_t *vocab_suppress(const struct vocab *v, int *n); /* tokenizer.ggml.suppress_tokens */

/* Appends the ids of text. add_special: BOS/EOS as the model wants; parse_special: control
 * tokens may be matched in the text. false: no memory. */
bool vocab_tokenize(const struct vocab *v, struct str text, bool add_special, bool parse_special,
                    struct tokens *out, struct err *e);
/* A run of text with one origin; consecutive spans form one text. `special`: tokens like
 * <|im_start|> may form inside it; never across or in other spans. Normal merges do cross span
 * borders, so that the ids equal those of the joined text wherever no marker is involved. */
struct text_span {
    struct str text;
    bool special;
};
bool vocab_tokenize_spans(const struct vocab *v, const struct text_span *spans, size_t n,
                          bool add_special, struct tokens *out, struct err *e);
/* Whole-sequence detokenization (spec 11). */
bool vocab_detokenize(const struct vocab *v, const int32_t *ids, size_t n, bool special,
                      struct buf *out);

/* Streaming detokenization: never emits half a character. Zero-initialise. */
struct vocab_stream {
    char pending[8];
    int n_pending;
};
/* Appends to out the text that is complete after this token. */
bool vocab_stream_add(const struct vocab *v, struct vocab_stream *s, int32_t id, bool special,
                      struct buf *out);
/* End of the answer: leftovers become U+FFFD. */
bool vocab_stream_end(struct vocab_stream *s, struct buf *out);

#endif
