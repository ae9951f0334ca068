/* Fuzz target of the bodies of Anthropic's messages. */
#include "tests/fuzz/api.h"

#include "serve/api_anthropic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct serve *s = fuzz_server();
    json_t *body = fuzz_body(data, size);
    struct ask k = {0};
    struct http_error e = {0};
    if (!body) return 0;
    bool ok = anthropic_ask(&k, s->models, body, &e);
    json_decref(body);
    fuzz_use(&k, ok, &e);
    return 0;
}
