/* libFuzzer target: any bytes as a Lark grammar. */
#include "tests/fuzz/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_grammar(grammar_from_lark, data, size);
}
