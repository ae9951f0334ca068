/* The part of the verb `template` that reads a generation back. */
#ifndef HOLDFAST_CMD_TEMPLATE_PARSE_H
#define HOLDFAST_CMD_TEMPLATE_PARSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct chat;

struct template_parse {
    const json_t *tools; /* or NULL */
    struct str prompt;   /* the end of the prompt; no text (p NULL): the template's own, see .c */
    int64_t split;       /* bytes of a piece; 0: all at once */
    bool events;         /* print each event as a JSON line instead of the sum of them */
};
/* Parses standard input and prints it as JSON. */
bool template_parse(const struct chat *c, const struct template_parse *o, struct err *e);
/* Prints what is known about the template's markup, as JSON. */
bool template_markup(const struct chat *c, struct err *e);

#endif
