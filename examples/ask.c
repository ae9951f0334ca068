/* The smallest program on libholdfast: asks a model one question and prints the answer as it comes.
 * usage: ask MODEL.gguf QUESTION
 * build: cc -std=c17 ask.c $(pkg-config --cflags --libs holdfast) */
#include <holdfast.h>

#include <stdio.h>
#include <string.h>

/* A question as the JSON of a one-message conversation. */
static void message(char *out, size_t size, const char *question) {
    size_t n = (size_t)snprintf(out, size, "[{\"role\": \"user\", \"content\": \"");
    for (const char *p = question; *p && n + 16 < size; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') n += (size_t)snprintf(out + n, size - n, "\\%c", c);
        else if (c < 32) n += (size_t)snprintf(out + n, size - n, "\\u%04x", c);
        else out[n++] = *p;
    }
    snprintf(out + n, size - n, "\"}]");
}

static int ask(struct hold_model *model, const char *question, struct hold_error *e) {
    char messages[8192];
    message(messages, sizeof messages, question);
    struct hold_chat chat = {.messages = messages, .thinking = -1};
    struct hold_request_options o;
    hold_request_options_init(&o, sizeof o);
    o.chat = &chat;
    o.max_tokens = 200;
    o.sampling.temp = 0;
    struct hold_request *request = hold_request_submit(model, &o, e);
    if (!request) return 1;
    struct hold_event ev = {0};
    while (hold_request_next(request, &ev, -1) == 1) {
        if (ev.kind == HOLD_BLOCK_DELTA) {
            fwrite(ev.block.text, 1, ev.block.len, stdout);
            fflush(stdout);
        } else if (ev.kind == HOLD_ERROR) {
            *e = ev.error;
        } else if (ev.kind == HOLD_DONE) {
            printf("\n[%lld + %lld tokens, %.0f ms to the first]\n", (long long)ev.done.n_prompt,
                   (long long)ev.done.n_generated, ev.done.ttft_ms);
        }
    }
    hold_request_free(request);
    return ev.kind == HOLD_DONE ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: ask MODEL.gguf QUESTION\n");
        return 1;
    }
    struct hold_error e = {0};
    struct hold_model_options o;
    hold_model_options_init(&o, sizeof o);
    o.path = argv[1];
    int rc = 1;
    struct hold_engine *engine = hold_engine_open(NULL, &e);
    struct hold_model *model = engine ? hold_model_load(engine, &o, &e) : NULL;
    if (model) rc = ask(model, argv[2], &e);
    if (rc) fprintf(stderr, "ask: %s\n", e.msg);
    hold_engine_close(engine);
    return rc;
}
