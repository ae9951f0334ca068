/* The ledger: an answer that comes back takes its own tokens, though the tokenizer would cut the
 * text differently and the client writes the arguments of a call in its own way. */
#include "engine/ledger.h"
#include "engine/replay.h"
#include "gguf/gguf.h"
#include "holdfast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the table ---------------------------------------------------------------------------- */
static void test_table(void **state) {
    (void)state;
    struct ledger *l = ledger_new(1 << 20, NULL);
    struct arena mem = {0};
    struct ledger_piece hit,
        p = {.text = STR("hello world"), .from = 1, .to = 9, .token = (int32_t[]){7, 8, 9}, .n = 3};
    ledger_add(l, 1, NULL, &p);
    assert_true(ledger_find_text(l, 1, STR("hello world"), &mem, &hit));
    assert_int_equal(hit.n, 3);
    assert_int_equal(hit.token[2], 9);
    assert_int_equal(hit.from, 1);
    assert_int_equal(hit.to, 9);
    assert_false(ledger_find_text(l, 2, STR("hello world"), &mem, &hit));
    assert_false(ledger_find_text(l, 1, STR("hello worl"), &mem, &hit));
    p = (struct ledger_piece){
        .text = STR("{\"a\":1, \"b\":[2]}"), .to = 16, .token = (int32_t[]){1, 2}, .n = 2};
    ledger_add(l, 1, "id1", &p);
    json_t *same = json_loads("{ \"a\": 1, \"b\": [ 2 ] }", 0, NULL);
    json_t *other = json_loads("{\"a\": 1, \"b\": [3]}", 0, NULL);
    assert_true(ledger_find_call(l, 1, "id1", same, &mem, &hit));
    assert_int_equal(hit.token[0], 1);
    assert_false(ledger_find_call(l, 1, "id1", other, &mem, &hit));
    assert_false(ledger_find_call(l, 1, "id2", same, &mem, &hit));
    json_decref(same);
    json_decref(other);
    arena_free(&mem);
    ledger_free(l);
}

static void test_bounded(void **state) {
    (void)state;
    struct ledger *l = ledger_new(4096, NULL);
    struct arena mem = {0};
    struct ledger_piece hit;
    int found = 0;
    for (int i = 0; i < 1000; i++) {
        char text[32];
        size_t len = (size_t)snprintf(text, sizeof text, "text %d", i);
        struct ledger_piece p = {.text = {text, len}, .to = len, .token = (int32_t[]){i}, .n = 1};
        ledger_add(l, 1, NULL, &p);
        assert_true(ledger_find_text(l, 1, STR("text 0"), &mem, &hit)); /* used, so it stays */
    }
    for (int i = 0; i < 1000; i++) {
        char text[32];
        size_t len = (size_t)snprintf(text, sizeof text, "text %d", i);
        found += ledger_find_text(l, 1, (struct str){text, len}, &mem, &hit);
    }
    assert_in_range(found, 10, 100);
    arena_free(&mem);
    ledger_free(l);
}

/* ---- conversations ------------------------------------------------------------------------ */
/* A template in the manner of Hermes. */
static const char template[] =
    "{% if tools %}<|im_start|>system\n<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}"
    "</tools><|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content %}{{ m.content }}{% endif %}"
    "{% for c in m.tool_calls or [] %}\n<tool_call>\n{\"name\": \"{{ c.function.name }}\", "
    "\"arguments\": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

struct answer {
    struct hold_done done;
    char text[4096], args[4096], id[64], name[64];
};

static void ask(struct hold_model *m, const json_t *messages, struct hold_request_options *o,
                struct hold_chat *c, struct answer *a) {
    struct hold_error e = {0};
    struct hold_event ev;
    char *text = json_dumps(messages, JSON_COMPACT);
    memset(a, 0, sizeof *a);
    c->messages = text;
    o->chat = c;
    struct hold_request *r = hold_request_submit(m, o, &e);
    if (!r) fail_msg("%s", e.msg);
    while (hold_request_next(r, &ev, 60000) == 1) {
        if (ev.kind == HOLD_ERROR) fail_msg("%s", ev.error.msg);
        if (ev.kind == HOLD_BLOCK_START && ev.block.kind == HOLD_CALL) {
            snprintf(a->id, sizeof a->id, "%s", ev.block.id);
            snprintf(a->name, sizeof a->name, "%s", ev.block.name);
        }
        if (ev.kind == HOLD_BLOCK_DELTA)
            strncat(ev.block.kind == HOLD_CALL ? a->args : a->text, ev.block.text, ev.block.len);
        if (ev.kind == HOLD_DONE) a->done = ev.done;
    }
    hold_request_free(r);
    free(text);
}

static struct hold_model *open_model(struct hold_engine **eng, const char *file) {
    struct hold_error e = {0};
    struct hold_engine_options eo;
    struct hold_model_options mo;
    if (access(file, R_OK) != 0) skip();
    hold_engine_options_init(&eo, sizeof eo);
    hold_model_options_init(&mo, sizeof mo);
    eo.n_threads = 1;
    eo.kv_bytes = 64 << 20;
    mo.path = file;
    mo.n_ctx = 4096;
    mo.chat_template = template;
    *eng = hold_engine_open(&eo, &e);
    struct hold_model *m = hold_model_load(*eng, &mo, &e);
    if (!m) fail_msg("%s", e.msg);
    return m;
}

static void say(json_t *messages, const char *role, const char *text) {
    json_array_append_new(messages, json_pack("{s:s, s:s}", "role", role, "content", text));
}

/* Random letters, so that the tokens are not those the tokenizer would choose. */
static void text_turns(const char *file) {
    struct hold_engine *eng;
    struct hold_model *m = open_model(&eng, file);
    struct hold_request_options o;
    struct hold_chat c = {.thinking = -1};
    static struct answer a;
    hold_request_options_init(&o, sizeof o);
    o.grammar_kind = HOLD_GRAMMAR_REGEX;
    o.grammar = "[a-zA-Z][a-zA-Z ]{60,90}[a-z]";
    o.sampling.temp = 3;
    o.sampling.top_p = 1;
    o.sampling.min_p = 0;
    o.sampling.top_k = 0;
    json_t *messages = json_array();
    say(messages, "user", "Say something.");
    int64_t had = 0;
    for (int turn = 0; turn < 4; turn++) {
        o.sampling.seed = (uint64_t)turn;
        ask(m, messages, &o, &c, &a);
        assert_true(strlen(a.text) >= 60);
        assert_in_range(a.done.n_cached, had, a.done.n_prompt - 1);
        /* The last token of an answer is not computed, nor is what ends it. */
        had = a.done.n_prompt + a.done.n_generated - 1;
        say(messages, "assistant", a.text);
        say(messages, "user", "And now?");
    }
    /* Without the ledger the tokens of the answers differ. */
    o.no_ledger = true;
    ask(m, messages, &o, &c, &a);
    assert_true(a.done.n_cached < had);
    json_decref(messages);
    hold_engine_close(eng);
}

static void test_text(void **state) {
    (void)state;
    text_turns("tests/vectors/models/qwen2.gguf");
}
static void test_text_spm(void **state) {
    (void)state;
    text_turns("tests/vectors/models/llama.gguf");
}

/* Each byte a token: surely not what the tokenizer chooses. */
static size_t byte_tokens(const struct vocab *v, const char *text, int32_t *out) {
    size_t n = 0;
    for (; *text; text++) {
        struct tokens t = {0};
        assert_true(vocab_tokenize(v, (struct str){text, 1}, false, false, &t, NULL));
        out[n++] = t.id[0];
        tokens_free(&t);
    }
    return n;
}

static bool holds(const struct tokens *t, const int32_t *part, size_t n) {
    for (size_t i = 0; i + n <= t->n; i++)
        if (memcmp(t->id + i, part, n * sizeof *part) == 0) return true;
    return false;
}

static void test_calls(void **state) {
    (void)state;
    struct err e = {0};
    struct gguf *g = gguf_open("tests/vectors/models/qwen2.gguf", &e);
    if (!g) skip();
    struct vocab *v = vocab_open(g, &e);
    struct chat *c = chat_open_model(g, v, str_of(template), &e);
    struct ledger *l = ledger_new(1 << 20, &e);
    static const char *const args[] = {"{\"n\":  [1,2] }", "{\n\"up\":true}"};
    int32_t token[2][64];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        n[i] = byte_tokens(v, args[i], token[i]);
        struct ledger_piece p = {.text = str_of(args[i]), .to = n[i], .token = token[i], .n = n[i]};
        if (i) p.to--, p.n--; /* the last token goes beyond the arguments */
        ledger_add(l, 3, i ? "id1" : "id0", &p);
    }
    json_t *messages = json_loads(
        "[{\"role\":\"user\",\"content\":\"Go.\"},{\"role\":\"assistant\",\"content\":null,"
        "\"tool_calls\":[{\"id\":\"id0\",\"type\":\"function\",\"function\":{\"name\":\"a\","
        "\"arguments\":\"{\\\"n\\\":[1,2]}\"}},{\"id\":\"id1\",\"type\":\"function\","
        "\"function\":{\"name\":\"b\",\"arguments\":\"{\\\"up\\\": true}\"}}]}]",
        0, NULL);
    struct chat_request q = {.messages = messages, .thinking = -1};
    struct chat_rendering r = {0};
    assert_true(chat_render(c, &q, &r, &e));
    struct replay x = {.ledger = l, .scope = 3, .vocab = v, .messages = messages};
    struct tokens t = {0}, plain = {0};
    assert_true(replay_tokenize(&x, &r, &t, &e));
    assert_true(holds(&t, token[0], n[0]));
    assert_true(holds(&t, token[1], n[1] - 1));
    struct buf text = {0};
    assert_true(vocab_detokenize(v, t.id, t.n, true, &text));
    assert_non_null(strstr(text.p, "{\"name\": \"a\", \"arguments\": {\"n\":  [1,2] }}"));
    assert_non_null(strstr(text.p, "\"arguments\": {\n\"up\":true}}\n</tool_call><|im_end|>"));
    /* Of somebody else: as the tokenizer has it. */
    x.scope = 4;
    assert_true(replay_tokenize(&x, &r, &plain, &e));
    assert_false(holds(&plain, token[0], n[0]));
    tokens_free(&t);
    tokens_free(&plain);
    buf_free(&text);
    chat_rendering_free(&r);
    json_decref(messages);
    ledger_free(l);
    chat_close(c);
    vocab_close(v);
    gguf_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_text),  cmocka_unit_test(test_text_spm),
        cmocka_unit_test(test_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
