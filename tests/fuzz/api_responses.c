/* Fuzz target of the bodies of OpenAI's responses, of what is sealed in their reasoning, and of the
 * decoder of custom calls, which has to say the same however its input is cut. */
#include "tests/fuzz/api.h"

#include "serve/api_responses.h"
#include "serve/custom_tool.h"

#include <string.h>

static void decode(const uint8_t *data, size_t size) {
    struct custom_input whole = {0}, piecewise = {0};
    struct buf a = {0}, b = {0};
    custom_input_add(&whole, (struct str){(const char *)data, size}, &a);
    for (size_t i = 0; i < size; i++)
        custom_input_add(&piecewise, (struct str){(const char *)data + i, 1}, &b);
    require(a.len == b.len && (!a.len || memcmp(a.p, b.p, a.len) == 0));
    buf_free(&a);
    buf_free(&b);
}

static void seal(const uint8_t *data, size_t size) {
    struct str text = {(const char *)data, size};
    json_t *sealed = responses_seal(text), *back = responses_unseal(sealed);
    require(sealed && (back != NULL) == utf8_valid(text.p, text.len));
    require(!back || json_string_length(back) == size);
    json_decref(sealed);
    json_decref(back);
}

/* Asks; what was asked is kept as "resp_1", so that a second time it may go on from itself. */
static void ask(struct serve *s, const json_t *body) {
    struct responses_want want = {0};
    struct ask k = {0};
    struct http_error e = {0};
    bool ok = responses_ask(&k, s, "", body, &want, &e);
    if (ok) responses_store_put(s->responses, "", "resp_1", want.echo, want.items);
    responses_want_free(&want);
    fuzz_use(&k, ok, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct serve *s = fuzz_server();
    decode(data, size);
    if (size) seal(data, size);
    json_t *body = fuzz_body(data, size);
    if (!body) return 0;
    for (int i = 0; i < 2; i++) ask(s, body);
    json_decref(body);
    /* Nothing stays, or libFuzzer looks for leaks after each input, which takes most of the time.
     */
    while (responses_store_delete(s->responses, "", "resp_1")) continue;
    return 0;
}
