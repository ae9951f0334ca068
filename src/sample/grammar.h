/* Grammars: JSON Schema, GBNF, Lark, regex and choices compiled to one pushdown automaton whose
 * alphabet is bytes and token ids, and masks over a vocabulary. A struct grammar is immutable and
 * may be shared between threads; a struct grammar_state belongs to one sequence. */
#ifndef HOLDFAST_SAMPLE_GRAMMAR_H
#define HOLDFAST_SAMPLE_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "text/vocab.h"

struct grammar;
struct grammar_state;
struct grammar_vocab; /* the trie over a vocabulary and the cached masks; one per model */

/* Compilers. Positions in e are byte offsets in the source. */
struct grammar *grammar_from_gbnf(struct str source, struct err *e);
struct grammar *grammar_from_lark(struct str source, struct err *e);
struct grammar *grammar_from_regex(struct str pattern, struct err *e);
struct grammar *grammar_from_choices(const struct str *choice, size_t n, struct err *e);
/* strict: what is not supported is refused by name and path; otherwise it is widened there and
 * reported, one line each, in notes (may be NULL). */
struct grammar *grammar_from_schema(struct str schema, bool strict, struct buf *notes,
                                    struct err *e);
/* Grammars are counted: grammar_ref adds a user, grammar_free takes one away. Any thread. */
void grammar_ref(struct grammar *g);
void grammar_free(struct grammar *g);

/* Keeps compiled grammars (up to 64, 64 MB) by the text that they were made from. Any thread. */
struct grammar_cache;
typedef struct grammar *(*grammar_make)(void *ctx, struct buf *notes, struct err *e);
struct grammar_cache *grammar_cache_new(struct err *e);
void grammar_cache_free(struct grammar_cache *c);
/* The grammar of key, made by make when it is not known; the caller owns a reference. key has to
 * hold all that make looks at. notes (may be NULL) are those of the making. */
struct grammar *grammar_cache_get(struct grammar_cache *c, struct str key, grammar_make make,
                                  void *ctx, struct buf *notes, struct err *e);

/* v must outlive it. A grammar_vocab and all states that use it belong to one thread. */
struct grammar_vocab *grammar_vocab_new(const struct vocab *v, struct err *e);
/* All its states must have ended. */
void grammar_vocab_free(struct grammar_vocab *gv);

/* A position in a grammar, from which a generation may start at any point. gv NULL: bytes only
 * (checking text). The state keeps g alive. */
struct grammar_state *grammar_start(struct grammar *g, struct grammar_vocab *gv, struct err *e);
/* An independent copy at the same position; costs the history only. */
struct grammar_state *grammar_fork(const struct grammar_state *s, struct err *e);
void grammar_end(struct grammar_state *s);
/* Feeds bytes; false at the first byte that is not allowed, *accepted = bytes taken before it
 * (those stay taken). */
bool grammar_bytes(struct grammar_state *s, struct str bytes, size_t *accepted);
bool grammar_token(struct grammar_state *s, int32_t id); /* false: not allowed, state unchanged */
bool grammar_done(const struct grammar_state *s);        /* what was fed is a complete member */
/* Sets bit c of live for every byte that may come next (tokens by id not counted). */
bool grammar_next(struct grammar_state *s, uint64_t live[4]);
/* Sets bit id of mask (vocab_size bits, 32 per word) for every allowed token; end-of-generation
 * tokens are allowed exactly when done. */
bool grammar_mask(struct grammar_state *s, uint32_t *mask);
/* Bytes that must come next whatever is sampled (may be empty). */
bool grammar_forced(struct grammar_state *s, struct buf *out);
/* Appends the tokens of that text, up to the last token boundary that no longer token which the
 * grammar allows would cross: they can be appended without sampling. Does not accept them. */
bool grammar_forced_tokens(struct grammar_state *s, struct tokens *out, struct err *e);
/* Takes back the last n steps (tokens, or calls of grammar_bytes that took something); at least
 * 4096 are remembered. false: there are not so many. */
bool grammar_rollback(struct grammar_state *s, size_t n);
size_t grammar_memory(const struct grammar_state *s);

#endif
