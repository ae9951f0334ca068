/* Fuzz target of the output parser. First byte: the call format; second: the size of the pieces;
 * third: the source of the bytes and whether there are tools. Aborts when events are not well
 * formed or a byte is not accounted for. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/call_formats.h"
#include "text/toolcall.h"

struct watch {
    uint64_t at;
    int index;
    bool open, stopped;
    enum toolcall_kind kind;
};

static void require(bool ok) {
    if (!ok) abort();
}

static void on_event(void *ctx, const struct toolcall_event *ev) {
    struct watch *w = ctx;
    require(!w->stopped && ev->raw_from == w->at && ev->raw_to >= w->at);
    w->at = ev->raw_to;
    if (ev->type == TOOLCALL_START) {
        require(!w->open && ev->index == w->index++);
        require(ev->kind != TOOLCALL_CALL || ev->name.len);
        w->open = true;
        w->kind = ev->kind;
    } else if (ev->type == TOOLCALL_STOP) {
        require(!w->open);
        w->stopped = true;
    } else {
        require(w->open && ev->kind == w->kind && ev->index == w->index - 1);
        require(ev->type == TOOLCALL_END || ev->text.len);
        require(ev->kind != TOOLCALL_CALL || !ev->text.len || utf8_valid(ev->text.p, ev->text.len));
        if (ev->type == TOOLCALL_END) w->open = false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static json_t *tools;
    if (!tools)
        tools = json_loads("[{\"name\":\"f\",\"parameters\":{\"properties\":{\"s\":{\"type\":"
                           "\"string\"},\"n\":{\"type\":\"integer\"},\"m\":{}}}}]",
                           0, NULL);
    if (size < 3) return 0;
    struct toolcall_options o = {.tools = data[2] & 4 ? NULL : tools, .no_calls = data[2] & 8};
    struct watch w = {0};
    struct toolcall *p = toolcall_open(&call_formats[data[0] % N_FORMATS], &o, on_event, &w, NULL);
    require(p != NULL);
    size_t piece = data[1] ? data[1] : size;
    for (size_t i = 3; i < size; i += piece) {
        size_t n = piece < size - i ? piece : size - i;
        require(toolcall_feed(p, (struct str){(const char *)data + i, n},
                              (enum toolcall_source)(data[2] % 3)));
    }
    require(toolcall_finish(p, data[2] & 16));
    require(w.stopped && w.at == size - 3);
    toolcall_close(p);
    return 0;
}
