/* libFuzzer target: a JSON schema (the first byte: strict or not); what compiles is walked a
 * little, along what must come next. */
#include <stddef.h>
#include <stdint.h>

#include "sample/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    struct err e = {0};
    struct buf notes = {.limit = 1 << 16}, forced = {.limit = 1 << 16};
    struct str source = {(const char *)data + 1, size - 1};
    struct grammar *g = grammar_from_schema(source, data[0] & 1, &notes, &e);
    struct grammar_state *s = g ? grammar_start(g, NULL, &e) : NULL;
    size_t n;
    if (s) {
        grammar_bytes(s, source, &n);
        grammar_forced(s, &forced);
        grammar_done(s);
    }
    grammar_end(s);
    grammar_free(g);
    buf_free(&notes);
    buf_free(&forced);
    return 0;
}
