/* Replies, server-sent events and JSON lines (contracts in sse.h). */
#include "serve/sse.h"

void json_reply(struct http_req *r, int status, json_t *value) {
    struct buf text = {0};
    bool ok = value && json_write(&text, value);
    json_decref(value);
    http_reply(r, ok ? status : 503, JSON_TYPE, ok ? buf_view(&text) : STR("{}"));
    buf_free(&text);
}

static void add_json(struct buf *out, json_t *data) {
    if (!data || !json_write(out, data)) out->failed = true;
    json_decref(data);
}

void sse_event(struct buf *out, const char *name, json_t *data) {
    if (name) buf_printf(out, "event: %s\n", name);
    buf_cstr(out, "data: ");
    add_json(out, data); /* compact JSON has no line breaks */
    buf_cstr(out, "\n\n");
}

void sse_text(struct buf *out, const char *text) {
    buf_printf(out, "data: %s\n\n", text);
}

void sse_comment(struct buf *out, const char *text) {
    buf_printf(out, ": %s\n\n", text);
}

void ndjson_line(struct buf *out, json_t *data) {
    add_json(out, data);
    buf_char(out, '\n');
}
