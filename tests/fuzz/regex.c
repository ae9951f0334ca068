/* libFuzzer target: any bytes as a pattern. */
#include "tests/fuzz/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_grammar(grammar_from_regex, data, size);
}
