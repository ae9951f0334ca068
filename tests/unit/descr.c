/* Descriptors: templates of our own that write the formats of call_formats.h must be learnt back
 * exactly; templates that refuse, hide or loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/unit/call_formats.h"
#include "text/jinja.h"

/* A chat template around the way it writes calls (a string expression is printed at the end of an
 * assistant's turn). */
#define CHAT(calls)                                                                                \
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|me|>\n' }}"                        \
    "{% if m.reasoning_content %}{{ '<muse>\n' + m.reasoning_content + '\n</muse>\n\n' }}"         \
    "{% endif %}{{ m.content or '' }}" calls "{{ '<|over|>\n' }}{% else %}"                        \
    "{{ '<|you|>\n' + m.content + '<|over|>\n' }}{% endif %}{% endfor %}"                          \
    "{% if add_generation_prompt %}{{ '<|me|>\n' }}{% endif %}"
#define EACH(write) "{% for c in m.tool_calls or [] %}{% set f = c.function %}" write "{% endfor %}"
#define SECTION(open, write, sep, close)                                                           \
    "{% if m.tool_calls %}{{ '" open                                                               \
    "' }}" EACH(write "{% if not loop.last %}{{ '" sep "' }}{% endif %}") "{{ '" close             \
                                                                          "' }}{% endif %}"
#define ARGS(write) "{% for k, v in f.arguments.items() %}" write "{% endfor %}"

static const char *const templates[N_FORMATS] = {
    [FORMAT_OBJECT] = CHAT(EACH("{{ '\n<call>\n{\"name\": \"' + f.name + '\", \"arguments\": ' + "
                                "f.arguments|tojson + '}\n</call>' }}")),
    [FORMAT_ARRAY] = CHAT(SECTION("<calls>[",
                                  "{{ '{\"tool\": \"' + f.name + '\", \"with\": ' + "
                                  "f.arguments|tojson + ', \"ref\": \"' + c.id + '\"}' }}",
                                  ", ", "]</calls>")),
    [FORMAT_NAMED] = CHAT(SECTION(
        "<calls>[", "{{ '{\"' + f.name + '\": ' + f.arguments|tojson + '}' }}", ", ", "]</calls>")),
    [FORMAT_JSON] = CHAT(EACH("{{ '[CALL]' + f.name + '[WITH]' + f.arguments|tojson }}")),
    [FORMAT_JSON_ID] =
        CHAT(SECTION("<|calls|>",
                     "{{ '<|call|>fn.' + f.name + ':' + loop.index0|string + '<|with|>' + "
                     "f.arguments|tojson + '<|end call|>' }}",
                     "", "<|end calls|>")),
    [FORMAT_TAGS] = CHAT(EACH("{{ '\n<call>\n<tool=' + f.name + '>\n' }}" ARGS(
        "{{ '<arg=' + k + '>\n' + v|string + '\n</arg>\n' }}") "{{ '</tool>\n</call>' }}")),
    [FORMAT_KEYS] = CHAT(EACH("{{ '\n<call>' + f.name + '\n' }}" ARGS(
        "{{ '<key>' + k + '</key>\n<val>' + v|string + '</val>\n' }}") "{{ '</call>' }}")),
    [FORMAT_TYPED] = CHAT(SECTION(
        "\n<calls>\n",
        "{{ '<do name=\"' + f.name + '\">\n' }}" ARGS(
            "{{ '<arg name=\"' + k + '\" text=\"' + ('yes' if v is string else 'no') + '\">' + "
            "v|string + '</arg>\n' }}") "{{ '</do>' }}",
        "\n", "\n</calls>")),
    [FORMAT_PYTHON] = CHAT(
        SECTION("<|calls|>[",
                "{{ f.name + '(' }}" ARGS("{{ k + '=' + v|tojson }}{% if not loop.last %}{{ ', ' }}"
                                          "{% endif %}") "{{ ')' }}",
                ", ", "]<|end calls|>")),
    [FORMAT_GEMMA] = CHAT(EACH("{{ '<|call>do:' + f.name + '{' }}" ARGS(
        "{{ k + ':' + (\"<|'|>\" + v + \"<|'|>\" if v is string else v|string) }}"
        "{% if not loop.last %}{{ ',' }}{% endif %}") "{{ '}<call|>' }}")),
    [FORMAT_FRAMED] =
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        "{% if m.thinking %}{{ '<|from|>me<|way|>inner<|say|>' + m.thinking + '<|next|>' }}{% "
        "endif %}"
        "{% if m.tool_calls %}{% set f = m.tool_calls[0].function %}"
        "{{ '<|from|>me to=fn.' + f.name + '<|way|>tool json<|say|>' + f.arguments|tojson + "
        "'<|go|>' }}{% else %}{{ '<|from|>me<|way|>outer<|say|>' + m.content + '<|done|>' }}"
        "{% endif %}{% else %}{{ '<|from|>you<|say|>' + m.content + '<|next|>' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|from|>me' }}{% endif %}",
    [FORMAT_BARE] = CHAT(
        "{% if m.tool_calls|length > 1 %}{{ raise_exception('one at a time') }}{% endif %}" EACH(
            "{{ '{\"name\": \"' + f.name + '\", \"parameters\": ' + f.arguments|tojson + '}' }}")),
};

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
#define F(f)                                                                                       \
    { #f, offsetof(struct descr, f) }
    F(turn_open),    F(prompt),        F(text_open),    F(think_open),
    F(think_close),  F(header_end),    F(think_header), F(text_header),
    F(section_open), F(section_close), F(call_sep),     F(call_open),
    F(name_again),   F(name_args),     F(call_close),   F(id_sep),
    F(name_key),     F(args_key),      F(id_key),       F(param_open),
    F(key_close),    F(value_close),   F(param_sep),    F(key_close_json),
    F(quote)
#undef F
};

static struct str field(const struct descr *d, size_t i) {
    struct str s;
    memcpy(&s, (const char *)d + fields[i].offset, sizeof s);
    return s;
}

static bool learn(struct descr *d, const char *source) {
    struct err e = {0};
    struct jinja *t = jinja_parse(str_of(source), &e);
    if (!t) fprintf(stderr, "%s\n", e.msg);
    assert_non_null(t);
    bool ok = descr_probe(d, t, STR("<|bos|>"), STR("<|eos|>"), &e);
    jinja_free(t);
    return ok;
}

static void learnt_back(void **state) {
    (void)state;
    int failed = 0;
    for (int f = 0; f < N_FORMATS; f++) {
        struct descr d;
        const struct descr *want = &call_formats[f];
        assert_true(learn(&d, templates[f]));
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            struct str got = field(&d, i), expected = field(want, i);
            if (str_eq(got, expected)) continue;
            failed++;
            fprintf(stderr, "format %d %s: '%.*s', expected '%.*s'\n", f, fields[i].name,
                    (int)got.len, got.p ? got.p : "", (int)expected.len,
                    expected.p ? expected.p : "");
        }
        bool same = d.syntax == want->syntax && d.id_place == want->id_place &&
                    d.array == want->array && d.bare == want->bare && d.framed == want->framed &&
                    !d.generic && d.parallel == (want->parallel && f != FORMAT_BARE) &&
                    !d.prompt_thinks;
        for (int i = 0; i < want->n_ends; i++) {
            bool found = false;
            for (int k = 0; k < d.n_ends; k++) found |= str_eq(want->ends[i], d.ends[k]);
            same = same && found;
        }
        if (!same || d.n_ends != want->n_ends) {
            failed++;
            fprintf(stderr, "format %d: syntax %s, id %d, %d ends\n", f,
                    descr_syntax_name(d.syntax), (int)d.id_place, d.n_ends);
        }
        descr_free(&d);
    }
    assert_int_equal(failed, 0);
}

/* What a template does not show is known from its words, or stays generic. */
static void not_shown(void **state) {
    (void)state;
    struct descr d;
    static const char plain[] =
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}<|over|>"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|><think>{% endif %}";
    assert_true(learn(&d, plain));
    assert_true(str_is(d.think_open, "<think>") && str_is(d.think_close, "</think>"));
    assert_true(d.prompt_thinks && d.generic && d.syntax == DESCR_OBJECT);
    assert_true(str_is(d.turn_open, "<|assistant|>"));
    assert_true(str_is(descr_trigger(&d), "<tool_call>"));
    descr_free(&d);
    static const char *const hostile[] = {
        "",
        "no messages at all",
        "{{ raise_exception('never') }}",
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for m in messages %}{{ m.content * 3 }}{{ m.tool_calls }}{% endfor %}",
        "{% for m in messages %}<<<<{{ m.content }}>>>>{{ m|tojson }}[[[[{% endfor %}"};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        assert_true(learn(&d, hostile[i]));
        descr_free(&d);
    }
}

static void tags(void **state) {
    (void)state;
    struct str t[DESCR_TAGS_MAX];
    assert_int_equal(descr_tags(&call_formats[FORMAT_JSON], t), 4);
    assert_true(str_is(t[0], "<muse>") && str_is(t[2], "[CALL]") && str_is(t[3], "[WITH]"));
    assert_int_equal(descr_tags(&call_formats[FORMAT_JSON_ID], t), 7);
}

static void no_memory(void **state) {
    (void)state;
    struct err e;
    struct jinja *t = jinja_parse(str_of(templates[FORMAT_TYPED]), &e);
    for (int64_t n = 1; n < 3000; n += 7) {
        struct descr d;
        mem_fail_after(n);
        descr_probe(&d, t, STR(""), STR(""), &e);
        mem_fail_after(0);
        descr_free(&d);
    }
    jinja_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(learnt_back), cmocka_unit_test(not_shown),
                                       cmocka_unit_test(tags), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
