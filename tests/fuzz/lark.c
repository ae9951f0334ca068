/* libFuzzer target: any bytes as a Lark grammar; what compiles is walked a little. */
#include <stddef.h>
#include <stdint.h>

#include "sample/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err e = {0};
    struct str source = {(const char *)data, size};
    struct grammar *g = grammar_from_lark(source, &e);
    if (!g) return 0;
    struct grammar_state *s = grammar_start(g, NULL, &e);
    size_t n;
    if (s) {
        grammar_bytes(s, source, &n);
        grammar_done(s);
    }
    grammar_end(s);
    grammar_free(g);
    return 0;
}
