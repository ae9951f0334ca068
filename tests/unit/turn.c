/* The grammar of a turn: our own formats in every syntax, and, where the shared vectors are
 * present, everything that 57 templates write for their calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "gguf/gguf.h"
#include "sample/turn.h"
#include "text/descr.h"
#include "text/jinja.h"

static const char tools_text[] =
    "[{\"name\":\"get_weather\",\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{"
    "\"type\":"
    "\"string\"},\"days\":{\"type\":\"integer\"},\"unit\":{\"enum\":[\"c\",\"f\"]}},\"required\":["
    "\"city\"],\"additionalProperties\":false}},{\"name\":\"now\",\"parameters\":{\"type\":"
    "\"object\","
    "\"properties\":{}, \"additionalProperties\":false}}]";

static struct grammar *build(const struct turn_format *f, enum turn_choice choice, bool reasoning,
                             const json_t *tools) {
    struct turn_tool tool[64];
    size_t n = 0;
    for (; n < json_array_size(tools) && n < 64; n++) {
        const json_t *t = json_array_get(tools, n);
        if (json_object_get(t, "function")) t = json_object_get(t, "function");
        tool[n] = (struct turn_tool){json_get_str(t, "name"), json_object_get(t, "parameters")};
    }
    struct turn_request r = {.format = f,
                             .tool = tool,
                             .n_tools = n,
                             .choice = choice,
                             .parallel = true,
                             .reasoning = reasoning};
    struct err e = {0};
    struct grammar *g = turn_grammar(&r, &e);
    if (!g) print_error("%s\n", e.msg);
    return g;
}

static bool accepts(struct grammar *g, struct str s, size_t *n) {
    struct grammar_state *st = grammar_start(g, NULL, NULL);
    bool ok = grammar_bytes(st, s, n) && grammar_done(st);
    grammar_end(st);
    return ok;
}

/* Texts that begin with '!' must be refused. */
static int check(const struct turn_format *f, enum turn_choice choice, bool reasoning,
                 const char *const *text) {
    json_t *tools = json_loads(tools_text, 0, NULL);
    struct grammar *g = build(f, choice, reasoning, tools);
    int bad = !g;
    for (; g && *text; text++) {
        bool want = **text != '!';
        size_t n = 0;
        if (accepts(g, str_of(*text + !want), &n) == want) continue;
        print_error("'%s' should be %s (byte %zu)\n", *text + !want, want ? "accepted" : "refused",
                    n);
        bad++;
    }
    grammar_free(g);
    json_decref(tools);
    return bad;
}

static const struct turn_format hermes = {.think_open = {"<think>", 7},
                                          .think_close = {"</think>", 8},
                                          .syntax = TURN_JSON,
                                          .call_sep = {"\n", 1},
                                          .call_open = {"<tool_call>\n{\"name\": \"", 22},
                                          .name_args = {"\", \"arguments\": ", 16},
                                          .call_close = {"}\n</tool_call>", 14},
                                          .trigger = {"<tool_call>", 11}};

static void test_json(void **state) {
    (void)state;
    const char *const text[] = {
        "plain text",
        "",
        "a <tool_cal> is no call",
        "Well:\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": "
        "\"Oslo\"}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": "
        "{}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
        "<think>what <tool_call> is</think>\n\nyes",
        "!<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {}}\n</tool_call>",
        "!<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": 3}}\n</tool_call>",
        "!<tool_call>\n{\"name\": \"nope\"",
        "!x <tool_call>y",
        NULL};
    assert_int_equal(check(&hermes, TURN_AUTO, false, text), 0);
    const char *const required[] = {
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
        "\n\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
        "<think>hm</think>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
        "!text",
        "!",
        NULL};
    assert_int_equal(check(&hermes, TURN_REQUIRED, false, required), 0);
    const char *const thinking[] = {
        "so </think>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
        "!<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>", NULL};
    assert_int_equal(check(&hermes, TURN_REQUIRED, true, thinking), 0);
}

static void test_bare(void **state) {
    (void)state;
    struct turn_format f = {.syntax = TURN_JSON,
                            .call_open = STR("{\"name\": \""),
                            .name_args = STR("\", \"parameters\": "),
                            .call_close = STR("}")};
    const char *const text[] = {"text", "{\"a\": 1}", "{\"name\": \"now\", \"parameters\": {}}",
                                "!{\"name\": \"other\", \"parameters\": {}}", NULL};
    assert_int_equal(check(&f, TURN_AUTO, false, text), 0);
}

static const struct turn_format tags = {
    .syntax = TURN_TAGS,
    .call_sep = {"\n", sizeof "\n" - 1},
    .call_open = {"<tool_call>\n<function=", sizeof "<tool_call>\n<function=" - 1},
    .name_args = {">\n", sizeof ">\n" - 1},
    .call_close = {"\n</function>\n</tool_call>", sizeof "\n</function>\n</tool_call>" - 1},
    .param_open = {"<parameter=", sizeof "<parameter=" - 1},
    .key_close = {">\n", sizeof ">\n" - 1},
    .value_close = {"\n</parameter>", sizeof "\n</parameter>" - 1},
    .param_sep = {"\n", sizeof "\n" - 1},
    .trigger = {"<tool_call>\n<function=", sizeof "<tool_call>\n<function=" - 1}};

static void test_tags(void **state) {
    (void)state;
#define CALL(args) "<tool_call>\n<function=get_weather>\n" args "\n</function>\n</tool_call>"
    const char *const text[] = {
        CALL("<parameter=city>\nOslo \"x\"\n\nand </parameter>\n</parameter>"),
        CALL("<parameter=city>\nA\n</parameter>\n<parameter=days>\n3\n</"
             "parameter>\n<parameter=unit>\nc\n</parameter>"),
        "!" CALL("<parameter=city>\nA\n</parameter>\n<parameter=unit>\nk\n</parameter>"),
        "!" CALL("<parameter=city>\nA\n</parameter>\n<parameter=days>\nx\n</parameter>"),
        "!" CALL("<parameter=days>\n3\n</parameter>"),
        "<tool_call>\n<function=now>\n</function>\n</tool_call>",
        NULL};
    assert_int_equal(check(&tags, TURN_AUTO, false, text), 0);
}

static void test_python(void **state) {
    (void)state;
    struct turn_format f = {.syntax = TURN_PYTHON,
                            .section_open = STR("<|start|>["),
                            .section_close = STR("]<|end|>"),
                            .call_sep = STR(", "),
                            .name_args = STR("("),
                            .call_close = STR(")"),
                            .trigger = STR("<|start|>")};
    const char *const text[] = {"<|start|>[get_weather(city='Oslo', days=3), now()]<|end|>",
                                "<|start|>[get_weather(city=\"it's\", unit='c')]<|end|>",
                                "!<|start|>[get_weather(days=3)]<|end|>",
                                "!<|start|>[get_weather(city=Oslo)]<|end|>", NULL};
    assert_int_equal(check(&f, TURN_REQUIRED, false, text), 0);
}

static void test_gemma(void **state) {
    (void)state;
    struct turn_format f = {.syntax = TURN_GEMMA,
                            .call_open = STR("<|tool_call>call:"),
                            .call_close = STR("<tool_call|>"),
                            .quote = STR("<|\"|>"),
                            .trigger = STR("<|tool_call>call:")};
    const char *const text[] = {
        "<|tool_call>call:get_weather{city:<|\"|>Oslo \"x\"<|\"|>,days:3}<tool_call|>",
        "<|tool_call>call:now{}<tool_call|><|tool_call>call:now{}<tool_call|>",
        "!<|tool_call>call:get_weather{days:3}<tool_call|>",
        "!<|tool_call>call:get_weather{city:\"Oslo\"}<tool_call|>", NULL};
    assert_int_equal(check(&f, TURN_AUTO, false, text), 0);
}

static void test_framed(void **state) {
    (void)state;
    struct turn_format f = {.turn_open = STR("<|start|>assistant"),
                            .framed = true,
                            .header_end = STR("<|message|>"),
                            .think_open = STR("<|channel|>analysis<|message|>"),
                            .think_close = STR("<|end|>"),
                            .think_header = STR("<|channel|>analysis"),
                            .syntax = TURN_JSON,
                            .call_open = STR(" to=functions."),
                            .name_args = STR("<|channel|>commentary json<|message|>"),
                            .trigger = STR("to=functions.")};
    const char *const text[] = {"<|channel|>analysis<|message|>hm<|end|><|start|>assistant "
                                "to=functions.now<|channel|>commentary json<|message|>{}",
                                "<|channel|>final<|message|>yes",
                                "!<|channel|>commentary to=functions.nope", NULL};
    assert_int_equal(check(&f, TURN_AUTO, false, text), 0);
    const char *const required[] = {
        " to=functions.now<|channel|>commentary json<|message|>{}",
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant "
        "to=functions.get_weather<|channel|>commentary json<|message|>{\"city\": \"Oslo\"}",
        "!<|channel|>final<|message|>yes", NULL};
    assert_int_equal(check(&f, TURN_REQUIRED, false, required), 0);
}

static void test_answer(void **state) {
    (void)state;
    json_t *schema = json_loads("{\"type\":\"object\",\"required\":[\"a\"]}", 0, NULL);
    struct turn_request r = {
        .format = &hermes, .choice = TURN_ANSWER, .answer = schema, .reasoning = true};
    struct err e = {0};
    struct grammar *g = turn_grammar(&r, &e);
    assert_non_null(g);
    size_t n;
    assert_true(accepts(g, STR("so</think>\n\n{\"a\": 1}\n"), &n));
    assert_false(accepts(g, STR("so</think>\n\n{}"), &n));
    assert_false(accepts(g, STR("{\"a\": 1}"), &n));
    grammar_free(g);
    json_decref(schema);
}

/* ---- the templates ---- */

static struct turn_format from_descr(const struct descr *d) {
    static const enum turn_syntax syntax[DESCR_N_SYNTAX] = {
        [DESCR_TAGS] = TURN_TAGS, [DESCR_PYTHON] = TURN_PYTHON, [DESCR_GEMMA] = TURN_GEMMA};
    return (struct turn_format){.turn_open = d->turn_open,
                                .think_open = d->think_open,
                                .think_close = d->think_close,
                                .framed = d->framed,
                                .header_end = d->header_end,
                                .think_header = d->think_header,
                                .text_header = d->text_header,
                                .syntax = syntax[d->syntax],
                                .section_open = d->section_open,
                                .section_close = d->section_close,
                                .call_sep = d->call_sep,
                                .call_open = d->call_open,
                                .name_again = d->name_again,
                                .name_args = d->name_args,
                                .call_close = d->call_close,
                                .id_place = (enum turn_id)d->id_place,
                                .id_sep = d->id_sep,
                                .trigger = descr_trigger(d),
                                .param_open = d->param_open,
                                .key_close = d->key_close,
                                .value_close = d->value_close,
                                .param_sep = d->param_sep,
                                .key_close_json = d->key_close_json,
                                .quote = d->quote};
}

static void test_templates(void **state) {
    (void)state;
    const char *shared = getenv("HOLDFAST_SHARED");
    char path[4096];
    snprintf(path, sizeof path, "%s/vectors/templates/toolcalls.json",
             shared ? shared : "../shared");
    struct err e = {0};
    json_t *all = json_load(path, 64 << 20, &e);
    if (!all) skip();
    snprintf(path, sizeof path, "%s/vectors/templates/toolcalls_cases.json", shared);
    json_t *cases = json_load(path, 64 << 20, &e);
    json_t *tools = json_object_get(cases, "tools");
    int n_checked = 0, n_refused = 0;
    const char *last = "";
    struct descr d = {0};
    struct grammar *g = NULL;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *x = json_array_get(all, i);
        const char *name = json_string_value(json_object_get(x, "template"));
        if (!json_object_get(x, "rendered_call") || json_object_get(x, "lossy")) continue;
        if (strcmp(name, last) != 0) {
            last = name;
            grammar_free(g);
            g = NULL;
            descr_free(&d);
            d = (struct descr){0};
            snprintf(path, sizeof path, "%s/data/templates/%s.jinja", shared, name);
            FILE *f = fopen(path, "rb");
            static char source[1 << 20];
            size_t n = f ? fread(source, 1, sizeof source, f) : 0;
            if (f) fclose(f);
            struct jinja *t = jinja_parse((struct str){source, n}, &e);
            if (!t || !descr_probe(&d, t, STR("<s>"), STR("</s>"), &e)) continue;
            jinja_free(t);
            struct turn_format format = from_descr(&d);
            g = build(&format, TURN_AUTO, false, tools);
        }
        /* In the case "types" a null stands where the schema wants numbers. */
        if (!g || d.syntax == DESCR_NO_CALLS || d.generic) continue;
        if (str_is(json_get_str(x, "case"), "types")) continue;
        size_t at = 0;
        struct str text = json_get_str(x, "rendered_call");
        n_checked++;
        if (accepts(g, text, &at)) continue;
        n_refused++;
        if (n_refused <= 60)
            print_error("%s %s: refused at byte %zu: ...%.*s|%.*s\n", name,
                        json_string_value(json_object_get(x, "case")), at, (int)(at < 30 ? at : 30),
                        text.p + (at < 30 ? 0 : at - 30),
                        (int)(text.len - at < 40 ? text.len - at : 40), text.p + at);
    }
    print_message("%d texts of templates checked, %d refused\n", n_checked, n_refused);
    grammar_free(g);
    descr_free(&d);
    json_decref(cases);
    json_decref(all);
    assert_true(n_refused <= n_checked / 50);
}

/* ---- real vocabularies ---- */

struct rig {
    struct gguf *file;
    struct vocab *v;
    struct grammar_vocab *gv;
    uint32_t *mask;
};

static bool rig_open(struct rig *r, const char *name) {
    const char *shared = getenv("HOLDFAST_SHARED");
    char path[4096];
    struct err e = {0};
    snprintf(path, sizeof path, "%s/data/vocab/%s.gguf", shared ? shared : "../shared", name);
    *r = (struct rig){.file = gguf_open(path, &e)};
    if (!r->file) return false;
    r->v = vocab_open(r->file, &e);
    r->gv = r->v ? grammar_vocab_new(r->v, &e) : NULL;
    assert_non_null(r->gv);
    r->mask = mem_calloc((size_t)vocab_size(r->v) / 32 + 1, 4);
    return true;
}

static void rig_close(struct rig *r) {
    grammar_vocab_free(r->gv);
    vocab_close(r->v);
    gguf_close(r->file);
    mem_free(r->mask);
}

/* How many tokens the mask and trying do not agree on. */
static int differences(struct rig *r, struct grammar_state *s, size_t *n_allowed) {
    int bad = 0;
    *n_allowed = 0;
    assert_true(grammar_mask(s, r->mask));
    for (int32_t id = 0; id < vocab_size(r->v); id++) {
        bool bit = r->mask[id >> 5] >> (id & 31) & 1, ok = grammar_token(s, id);
        if (ok) grammar_rollback(s, 1);
        *n_allowed += bit;
        bad += ok != bit;
    }
    return bad;
}

static void feed(struct rig *r, struct grammar_state *s, const char *text) {
    struct tokens ids = {0};
    assert_true(vocab_tokenize(r->v, str_of(text), false, true, &ids, NULL));
    for (size_t i = 0; i < ids.n; i++) assert_true(grammar_token(s, ids.id[i]));
    tokens_free(&ids);
}

static struct grammar *with_vocab(struct rig *r, const struct turn_format *f,
                                  enum turn_choice choice) {
    json_t *tools = json_loads(tools_text, 0, NULL);
    struct turn_tool tool[2];
    for (size_t i = 0; i < 2; i++) {
        const json_t *t = json_array_get(tools, i);
        tool[i] = (struct turn_tool){json_get_str(t, "name"), json_object_get(t, "parameters")};
    }
    struct turn_request q = {
        .format = f, .vocab = r->v, .tool = tool, .n_tools = 2, .choice = choice, .parallel = true};
    struct err e = {0};
    struct grammar *g = turn_grammar(&q, &e);
    if (!g) print_error("%s\n", e.msg);
    json_decref(tools);
    return g;
}

static void test_vocab_text(void **state) {
    (void)state;
    struct rig r;
    if (!rig_open(&r, "qwen2")) skip();
    struct grammar *g = with_vocab(&r, &hermes, TURN_AUTO);
    struct grammar_state *s = grammar_start(g, r.gv, NULL);
    size_t n;
    int32_t eos = vocab_special(r.v)->eos;
    assert_int_equal(differences(&r, s, &n), 0);
    assert_true(n > 150000); /* free text: all but tokens that go wrong behind the marker */
    feed(&r, s, "Let me look <tool");
    assert_int_equal(differences(&r, s, &n), 0);
    assert_true(grammar_token(s, eos)); /* text may end anywhere */
    assert_true(grammar_rollback(s, 1));
    feed(&r, s, "_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo");
    assert_int_equal(differences(&r, s, &n), 0);
    assert_false(grammar_token(s, eos)); /* a call is never cut short */
    feed(&r, s, "\"}}\n</tool_call>");
    assert_true(grammar_token(s, eos));
    grammar_end(s);
    grammar_free(g);
    rig_close(&r);
}

/* What is forced may be appended: up to where a longer token could begin. */
static void test_forced_tokens(void **state) {
    (void)state;
    struct rig r;
    if (!rig_open(&r, "qwen2")) skip();
    struct grammar *g = with_vocab(&r, &hermes, TURN_REQUIRED);
    struct grammar_state *s = grammar_start(g, r.gv, NULL);
    struct tokens ids = {0};
    struct buf text = {0};
    feed(&r, s, "<tool_call>");
    assert_true(grammar_forced(s, &text));
    assert_string_equal(text.p, "\n{\"name\": \"");
    assert_true(grammar_forced_tokens(s, &ids, NULL));
    buf_clear(&text);
    for (size_t i = 0; i < ids.n; i++) {
        assert_true(grammar_token(s, ids.id[i]));
        buf_str(&text, vocab_bytes(r.v, ids.id[i], false));
    }
    /* a token like ` "get` could cross the last quote */
    assert_string_equal(text.p, "\n{\"name\":");
    ids.n = 0;
    buf_clear(&text);
    feed(&r, s, " \"get");
    assert_true(grammar_forced(s, &text));
    assert_string_equal(text.p, "_weather\", \"arguments\": {");
    tokens_free(&ids);
    buf_free(&text);
    grammar_end(s);
    grammar_free(g);
    rig_close(&r);
}

static void test_vocab_controls(void **state) {
    (void)state;
    struct rig r;
    if (!rig_open(&r, "gemma-4")) skip();
    struct turn_format f = {.think_open = STR("<|channel>thought"),
                            .think_close = STR("<channel|>"),
                            .syntax = TURN_GEMMA,
                            .call_open = STR("<|tool_call>call:"),
                            .call_close = STR("<tool_call|>"),
                            .quote = STR("<|\"|>"),
                            .trigger = STR("<|tool_call>call:")};
    struct grammar *g = with_vocab(&r, &f, TURN_AUTO);
    struct grammar_state *s = grammar_start(g, r.gv, NULL);
    size_t n;
    assert_int_equal(differences(&r, s, &n), 0);
    feed(&r, s, "So: <|tool_call>call:get_weather{city:<|\"|>Oslo \"x\"");
    assert_int_equal(differences(&r, s, &n), 0);
    feed(&r, s, "<|\"|>,days:3");
    assert_int_equal(differences(&r, s, &n), 0);
    feed(&r, s, "}<tool_call|>");
    assert_int_equal(differences(&r, s, &n), 0);
    assert_true(grammar_token(s, vocab_special(r.v)->eos));
    grammar_end(s);
    grammar_free(g);
    rig_close(&r);
}

/* Forty tools as agents and MCP servers bring them: a dozen parameters of every kind each. */
static json_t *forty_tools(void) {
    static const char *const kinds[] = {
        "{\"type\":\"string\",\"description\":\"What to do, in a sentence or two.\"}",
        "{\"type\":\"integer\",\"minimum\":1,\"maximum\":2000}",
        "{\"type\":\"boolean\",\"default\":false}",
        "{\"enum\":[\"low\",\"medium\",\"high\"]}",
        "{\"type\":\"string\",\"format\":\"date-time\"}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":8}",
        "{\"type\":[\"string\",\"null\"]}",
        "{\"type\":\"number\",\"exclusiveMinimum\":0}",
        "{\"type\":\"string\",\"pattern\":\"^[a-z0-9_-]{1,40}$\"}",
        "{\"type\":\"object\",\"properties\":{\"key\":{\"type\":\"string\"},\"value\":{}},"
        "\"required\":["
        "\"key\"]}",
        "{\"anyOf\":[{\"type\":\"string\",\"maxLength\":200},{\"type\":\"integer\"}]}"};
    enum { N_KINDS = sizeof kinds / sizeof *kinds };
    json_t *tools = json_array();
    for (int i = 0; i < 40; i++) {
        json_t *properties = json_object(), *required = json_array();
        for (int k = 0; k < 12; k++) {
            char name[40];
            snprintf(name, sizeof name, "%s_%d", k % 2 ? "option" : "target", (i + k) % 17);
            json_object_set_new(properties, name, json_loads(kinds[(i + k) % N_KINDS], 0, NULL));
            if (k % 3 == 0) json_array_append_new(required, json_string(name));
        }
        json_array_append_new(tools,
                              json_pack("{s:o,s:{s:s,s:o,s:o,s:b}}", "name",
                                        json_sprintf("server__tool_%d", i), "parameters", "type",
                                        "object", "properties", properties, "required", required,
                                        "additionalProperties", i % 2));
    }
    return tools;
}

static void test_forty_tools(void **state) {
    (void)state;
    static const struct {
        const char *name;
        const struct turn_format *f;
    } formats[] = {{"JSON", &hermes}, {"tags", &tags}};
    json_t *tools = forty_tools();
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        double best = 1e9;
        for (int k = 0; k < 5; k++) {
            clock_t start = clock(); /* of the processor: the machine may be busy */
            struct grammar *g = build(formats[i].f, TURN_AUTO, false, tools);
            double ms = (double)(clock() - start) * 1e3 / CLOCKS_PER_SEC;
            assert_non_null(g);
            grammar_free(g);
            if (ms < best) best = ms;
        }
        print_message("40 tools with 12 parameters, %s: %.1f ms\n", formats[i].name, best);
        if (!getenv("TEST_SANITIZED")) assert_true(best < 60); /* 20 on a quiet machine */
    }
    json_decref(tools);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),           cmocka_unit_test(test_bare),
        cmocka_unit_test(test_tags),           cmocka_unit_test(test_python),
        cmocka_unit_test(test_gemma),          cmocka_unit_test(test_framed),
        cmocka_unit_test(test_answer),         cmocka_unit_test(test_templates),
        cmocka_unit_test(test_vocab_text),     cmocka_unit_test(test_forced_tokens),
        cmocka_unit_test(test_vocab_controls), cmocka_unit_test(test_forty_tools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
