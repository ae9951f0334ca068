/* Fuzz target of the bodies of OpenAI's chat/completions and (first byte odd) completions. */
#include "tests/fuzz/api.h"

#include "serve/api_openai.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct serve *s = fuzz_server();
    json_t *body = size ? fuzz_body(data + 1, size - 1) : NULL;
    struct ask k = {0};
    struct openai_want want = {0};
    struct http_error e = {0};
    if (!body) return 0;
    bool ok = data[0] & 1 ? openai_text_ask(&k, s->models, body, &want, &e)
                          : openai_chat_ask(&k, s->models, body, &want, &e);
    json_decref(body);
    fuzz_use(&k, ok, &e);
    mem_free(want.prompt);
    json_decref(openai_error(&e));
    return 0;
}
