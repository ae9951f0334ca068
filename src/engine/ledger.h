/* The ledger: what was generated, as text and as tokens, so that an answer which a client sends
 * back takes the tokens it was generated as (a tokenizer may cut the same text differently, and
 * clients re-serialise the arguments of calls). Bounded; the least recently used goes first.
 * Any thread. */
#ifndef HOLDFAST_ENGINE_LEDGER_H
#define HOLDFAST_ENGINE_LEDGER_H

#include "base/json.h"
#include "base/mem.h"
#include "cache/disk.h"
#include "text/vocab.h"

struct ledger;
struct ledger *ledger_new(size_t max_bytes, struct err *e);
void ledger_free(struct ledger *l);
/* Takes over what the disk has of it; from then on everything that is added is stored there. d must
 * outlive the last ledger_add. */
void ledger_keep_on(struct ledger *l, struct disk *d);

/* A piece of an answer: bytes [from, to) of text are exactly these tokens; what stands before and
 * behind shares tokens with markup. Of a call also what leads to `from`: everything since the piece
 * before it or, if it opens the answer, since the generation prompt. */
struct ledger_piece {
    struct str text;
    size_t from, to;
    const int32_t *token;
    size_t n;
    struct str lead;
    const int32_t *lead_token;
    size_t n_lead;
    bool opens;
};
/* scope: of model and tenant. Text is found by its bytes, white space at its ends aside; the
 * arguments of a call (call_id not NULL) by that id. Without memory nothing is kept. */
void ledger_add(struct ledger *l, uint64_t scope, const char *call_id,
                const struct ledger_piece *piece);

/* The piece with this text, without the white space at its ends. What hit points to is in mem. */
bool ledger_find_text(struct ledger *l, uint64_t scope, struct str text, struct arena *mem,
                      struct ledger_piece *hit);
/* The arguments of a call, if they are this JSON value. */
bool ledger_find_call(struct ledger *l, uint64_t scope, const char *call_id, const json_t *args,
                      struct arena *mem, struct ledger_piece *hit);

/* Text without white space at its ends. */
struct str ledger_core(struct str s);

#endif
