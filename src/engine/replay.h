/* Tokens of a rendered conversation, where answers of ours take the tokens they were generated as.
 * Any thread. */
#ifndef HOLDFAST_ENGINE_REPLAY_H
#define HOLDFAST_ENGINE_REPLAY_H

#include "engine/ledger.h"
#include "engine/output.h"
#include "text/chat.h"
#include "text/memo.h"

struct replay {
    struct ledger *ledger; /* NULL: plain tokenizing */
    uint64_t scope;
    const struct vocab *vocab;
    struct token_memo *memo; /* or NULL */
    bool space_prefix; /* the vocabulary puts a space before a text: no text may start mid-way */
    const json_t *messages;
    struct str prompt; /* the template's generation prompt: an answer begins behind it */
};
bool replay_tokenize(const struct replay *x, const struct chat_rendering *r, struct tokens *out,
                     struct err *e);

/* Keeps the pieces of a finished answer of a parser; token[0, n) are its tokens. */
void replay_keep(struct ledger *l, uint64_t scope, const struct output *o, const int32_t *token,
                 int n);

#endif
