/* Pre-tokenizers: the patterns that cut text into words before byte-level BPE merges
 * (spec/tokenizer.md sections 6 and 7). Everything is constant data. */
#ifndef HOLDFAST_TEXT_PRETOK_H
#define HOLDFAST_TEXT_PRETOK_H

#include <stdbool.h>

#include "base/str.h"

enum pretok_flag {
    PRETOK_IGNORE_MERGES = 1, /* a word that is a token is taken whole */
    PRETOK_ADD_BOS = 2,
    PRETOK_CLEAN_SPACES = 4,
    PRETOK_NO_BOS = 8, /* bos has no default */
    PRETOK_RAW = 16    /* merges work on UTF-8 characters, not on mapped bytes */
};

struct pretok;
/* By the value of tokenizer.ggml.pre; NULL: unknown. */
const struct pretok *pretok_find(struct str name);
unsigned pretok_flags(const struct pretok *p);
/* Cuts text (valid UTF-8) into words and calls word for each, in order; together they are the
 * text. Stops and returns false when word does. Time is linear in the text. */
bool pretok_split(const struct pretok *p, struct str text, bool (*word)(void *ctx, struct str w),
                  void *ctx);

#endif
