/* libFuzzer target of the template interpreter and of chat rendering: the input is a template,
 * rendered with a fixed conversation; behind a NUL byte it may bring messages of its own. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "text/chat.h"
#include "text/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char fixed[] =
    "[{\"role\":\"system\",\"content\":\"be <|im_start|> nice\"},{\"role\":\"user\",\"content\":"
    "[{\"type\":\"text\",\"text\":\"h\\u00e9llo\"}]},{\"role\":\"assistant\",\"content\":null,"
    "\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
    "\"arguments\":"
    "{\"x\":[1,2.5,null,true,\"y\"]}}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"{}"
    "\"}]";

static void render_bare(struct str template, const json_t *messages) {
    struct err e;
    struct jinja_output out = {0};
    struct jinja *t = jinja_parse(template, &e);
    json_t *vars = json_pack("{s:O,s:b,s:s}", "messages", messages, "add_generation_prompt", 1,
                             "bos_token", "<s>");
    struct jinja_input in = {.vars = vars, .html_safe = true};
    if (t) jinja_render(t, &in, &out, &e);
    jinja_output_free(&out);
    jinja_free(t);
    json_decref(vars);
}

static void render_chat(struct str template, const json_t *messages) {
    struct err e;
    struct chat_source s = {.template = template, .bos = STR("<s>"), .eos = STR("</s>")};
    struct chat_rendering r = {0};
    struct chat *c = chat_open(&s, &e);
    struct chat_request q = {.messages = messages, .thinking = -1};
    if (c) chat_render(c, &q, &r, &e);
    chat_rendering_free(&r);
    chat_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err e;
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t len = nul ? (size_t)(nul - data) : size;
    struct str template = {(const char *)data, len}, own = STR(fixed);
    if (nul) own = (struct str){(const char *)nul + 1, size - len - 1};
    json_t *messages = json_parse(own, 1 << 16, &e);
    if (messages) render_bare(template, messages);
    if (messages && nul) render_chat(template, messages);
    json_decref(messages);
    return 0;
}
