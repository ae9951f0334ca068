/* What the fuzz targets of the APIs share: a server with one tiny model, opened once. */
#ifndef HOLDFAST_TESTS_FUZZ_API_H
#define HOLDFAST_TESTS_FUZZ_API_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "serve/ask.h"
#include "serve/serve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An abort says what did not hold: libFuzzer's stack trace does not. */
#define require(ok) ((ok) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #ok, ""))
static void fuzz_fail(const char *file, int line, const char *what, const char *found) {
    fprintf(stderr, "%s:%d: not so: %s (%s)%s%s\n", file, line, what, strerror(errno),
            *found ? "; found: " : "", found);
    abort();
}

static struct serve *fuzz_server(void) {
    static struct serve server;
    static struct config config;
    static bool is_open;
    struct err e = {0};
    if (is_open) return &server;
    config_init(&config);
    config.port = 0;
    config.n_threads = 1;
    config.kv_gib = 0.03;
    config.no_disk_cache = true;
    config.base.n_ctx = 512;
    config.base.max_tokens = 8;
    require(config_add_model(&config, "m", "tests/vectors/models/qwen3.gguf") != NULL);
    is_open = serve_open(&server, &config, &e);
    require(is_open);
    return &server;
}

/* The body as a JSON object, as ask_body has it; NULL: it is none. */
static json_t *fuzz_body(const uint8_t *data, size_t size) {
    struct err e;
    json_t *body = json_parse((struct str){(const char *)data, size}, LIMIT_JSON_BYTES, &e);
    if (json_is_object(body)) return body;
    json_decref(body);
    return NULL;
}

/* What a handler does with an ask, up to the generation; a refusal has to say why. */
static void fuzz_use(struct ask *k, bool ok, const struct http_error *e) {
    struct http_error why = {0};
    struct hold_rendering text = {0};
    require(ok || (e->status >= 400 && e->why.msg[0]));
    if (ok && k->messages && ask_chat(k, &why) &&
        hold_render(k->entry->model, &k->chat, &text, NULL))
        hold_rendering_free(&text);
    ask_free(k);
}

#endif
