/* How JSON goes out: as a whole reply, and in the two kinds of streams, server-sent events and JSON
 * lines, whose writers append to the buffer that http_stream's fill function is given. */
#ifndef HOLDFAST_SERVE_SSE_H
#define HOLDFAST_SERVE_SSE_H

#include "base/json.h"
#include "serve/http.h"

#define SSE_TYPE    "text/event-stream"
#define NDJSON_TYPE "application/x-ndjson"
#define JSON_TYPE   "application/json"

/* Replies with it, as the last thing a handler does. Takes the reference; NULL (no memory) is an
 * empty object with status 503. */
void json_reply(struct http_req *r, int status, json_t *value);

/* "event: NAME" (none when name is NULL) and "data: JSON". Takes the reference; NULL (no memory)
 * makes out fail. */
void sse_event(struct buf *out, const char *name, json_t *data);
/* A literal data line, such as [DONE]. */
void sse_text(struct buf *out, const char *text);
/* ": text", which clients skip. */
void sse_comment(struct buf *out, const char *text);
/* One JSON value and a newline. Takes the reference. */
void ndjson_line(struct buf *out, json_t *data);

#endif
