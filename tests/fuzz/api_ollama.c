/* Fuzz target of the bodies of Ollama's chat and (first byte odd) generate. */
#include "tests/fuzz/api.h"

#include "serve/api_ollama.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct serve *s = fuzz_server();
    json_t *body = size ? fuzz_body(data + 1, size - 1) : NULL;
    struct ask k = {0};
    struct http_error e = {0};
    bool empty;
    if (!body) return 0;
    bool ok = data[0] & 1 ? ollama_generate_ask(&k, s->models, body, &empty, &e)
                          : ollama_chat_ask(&k, s->models, body, &empty, &e);
    json_decref(body);
    fuzz_use(&k, ok, &e);
    json_decref(ollama_error(&e));
    return 0;
}
