/* What the files of Anthropic's API share: api_anthropic.c (routes, errors, answers) and
 * api_anthropic_body.c (bodies). */
#ifndef HOLDFAST_SERVE_API_ANTHROPIC_H
#define HOLDFAST_SERVE_API_ANTHROPIC_H

#include "serve/ask.h"

/* Fills an ask from a body of /v1/messages or count_tokens; false with e filled. The model is
 * taken first: *k is to be freed when its entry is set. */
bool anthropic_ask(struct ask *k, struct models *m, const json_t *body, struct http_error *e);

#endif
