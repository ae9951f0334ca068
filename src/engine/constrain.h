/* The grammar of an answer, if it has one: what was given, or a template's calls. The caller's
 * thread. */
#ifndef HOLDFAST_ENGINE_CONSTRAIN_H
#define HOLDFAST_ENGINE_CONSTRAIN_H

#include "engine/engine.h"

bool constrain_text(struct hold_request *r, struct err *e);
bool constrain_chat(struct hold_request *r, const struct prompt *p, struct err *e);

#endif
