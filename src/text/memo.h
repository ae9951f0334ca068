/* Tokenizations kept, so that a conversation that has grown is not tokenized from its beginning
 * again: what stands before a token that is matched verbatim (a turn's marker) is independent of
 * what follows. The tokens are those of vocab_tokenize_spans, always. Any thread. */
#ifndef HOLDFAST_TEXT_MEMO_H
#define HOLDFAST_TEXT_MEMO_H

#include "text/vocab.h"

struct token_memo;

/* v must outlive it. NULL: no memory. */
struct token_memo *token_memo_new(const struct vocab *v);
void token_memo_free(struct token_memo *m);
/* Nothing that was kept for one scope helps another. */
bool token_memo_tokenize(struct token_memo *m, uint64_t scope, const struct text_span *spans,
                         size_t n, bool add_special, struct tokens *out, struct err *e);

#endif
