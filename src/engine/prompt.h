/* From a conversation to tokens: the one place where the engine renders. Any thread. */
#ifndef HOLDFAST_ENGINE_PROMPT_H
#define HOLDFAST_ENGINE_PROMPT_H

#include "base/json.h"
#include "engine/replay.h"
#include "holdfast.h"
#include "text/chat.h"
#include "text/descr.h"
#include "text/vocab.h"

/* The templates of a model and what was learnt of them; immutable. */
struct prompt_template {
    struct chat *chat;
    struct descr descr[2]; /* without and with tools */
    bool has_descr[2];
    bool space_prefix; /* the vocabulary puts a space before a text */
};
bool prompt_template_open(struct prompt_template *t, const struct gguf *g, const struct vocab *v,
                          struct str override, struct err *e);
void prompt_template_close(struct prompt_template *t);

struct prompt {
    json_t *messages, *tools, *kwargs;
    struct chat_rendering text;
    struct tokens ids;
    const struct descr *descr;
};
/* Parses, renders and tokenizes; `how` says what is replayed (its messages are filled in). Free
 * with prompt_free in either case. */
bool prompt_render(struct prompt *p, const struct prompt_template *t, const struct replay *how,
                   const struct hold_chat *c, struct err *e);
void prompt_free(struct prompt *p);

/* The end of the rendered text, by which an output parser knows what is open. */
struct str prompt_tail(const struct prompt *p);
/* Whether the rendered text leaves a reasoning block open. */
bool prompt_opens_reasoning(const struct prompt *p);

#endif
