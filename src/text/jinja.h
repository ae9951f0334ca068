/* Jinja2 as chat templates use it (spec/chat.md 1-2): parsed once, rendered per request, every
 * byte of the output with its origin. Templates are untrusted: limits.h bounds steps, depth,
 * memory and output. Knows nothing about messages; chat.h does. */
#ifndef HOLDFAST_TEXT_JINJA_H
#define HOLDFAST_TEXT_JINJA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

struct jinja; /* a parsed template: immutable, any number of threads may render it */

/* Copies what it needs of source. NULL with e filled: "line L column C: ..." (e->pos: byte offset
 * in the source with its line ends normalised). */
struct jinja *jinja_parse(struct str source, struct err *e);
void jinja_free(struct jinja *t);
/* Whether the template mentions this name as a variable, attribute or argument. */
bool jinja_mentions(const struct jinja *t, const char *name);
/* The literal text of the template outside of tags and inside of string literals, one piece after
 * the other; NULL behind the last. For looking at markers without rendering. */
const struct str *jinja_literal(const struct jinja *t, size_t i);

/* Where text comes from: the template, or a source that the caller numbers (from 1). */
enum { JINJA_TEMPLATE = 0, JINJA_CONTENT = 1 };

/* Names the origin of one JSON value met on the way down from the variables: `parent` is the
 * origin given to the container (0 for the variables themselves), key is NULL in arrays. */
typedef uint32_t (*jinja_origin_fn)(void *ctx, uint32_t parent, const char *key, size_t index,
                                    const json_t *value);

struct jinja_input {
    const json_t *vars;     /* an object; read only, must outlive the call. NULL: none */
    jinja_origin_fn origin; /* NULL: all of it JINJA_CONTENT, but bos_token and eos_token */
    void *origin_ctx;
    const struct tm *now; /* of strftime_now; NULL: the local time */
    bool html_safe;       /* `safe` marks HTML, and + escapes what is joined to it, as Jinja2 does;
                             off, `safe` does nothing */
};

/* Bytes [start, next start) of the output have this origin. */
struct jinja_run {
    size_t start;
    uint32_t origin;
};

/* Zero-initialise; free with jinja_output_free. Valid after jinja_render gave true. */
struct jinja_output {
    struct buf text;
    struct jinja_run *run;
    size_t n_run, run_cap;
    bool raised; /* the error is the template's own raise_exception */
    int line, column;
    char *message; /* of the error without its position, in full; NULL: none */
};

/* Renders. false with e filled: "line L column C: ...", and out->message. out may be used again. */
bool jinja_render(const struct jinja *t, const struct jinja_input *in, struct jinja_output *out,
                  struct err *e);
void jinja_output_free(struct jinja_output *out);

#endif
