/* What the fuzz targets of grammar languages share: what compiles is walked a little. */
#ifndef HOLDFAST_TESTS_FUZZ_GRAMMAR_H
#define HOLDFAST_TESTS_FUZZ_GRAMMAR_H

#include <stddef.h>
#include <stdint.h>

#include "sample/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_grammar(struct grammar *(*compile)(struct str source, struct err *e),
                        const uint8_t *data, size_t size) {
    struct err e = {0};
    struct str source = {(const char *)data, size};
    struct grammar *g = compile(source, &e);
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

#endif
