/* jansson with our limits and errors. Values are json_t; this only adds what it lacks. */
#ifndef HOLDFAST_BASE_JSON_H
#define HOLDFAST_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

/* Parses exactly one JSON value of at most max_bytes and LIMIT_JSON_DEPTH; NULL with e filled
 * (position, line, column in the message). Any top-level type; U+0000 in strings is kept. The
 * caller owns the reference. */
json_t *json_parse(struct str text, size_t max_bytes, struct err *e);
/* Appends compact JSON text (order kept, UTF-8 raw). */
bool json_write(struct buf *out, const json_t *value);
/* String value of a key, or none. */
struct str json_get_str(const json_t *object, const char *key);
/* A string of bytes that may be no UTF-8 (what models generate): those become U+FFFD. */
json_t *json_text(struct str s);
/* A whole file as JSON. */
json_t *json_load(const char *path, size_t max_bytes, struct err *e);

#endif
