/* The template interpreter on templates of our own: every construct against Python's results
 * (tests/vectors/jinja.json), origins through every filter and method, limits, damage, failing
 * allocations, and the time of one rendering. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/os.h"
#include "text/jinja.h"

static const struct tm sunday_noon = {
    .tm_year = 126, .tm_mon = 10, .tm_mday = 22, .tm_hour = 12, .tm_yday = 325, .tm_isdst = -1};

static struct jinja *parse(const char *source) {
    struct err e = {0};
    struct jinja *t = jinja_parse(str_of(source), &e);
    if (!t) fail_msg("%s: %s", source, e.msg);
    return t;
}

static void test_constructs(void **state) {
    (void)state;
    struct err e = {0};
    json_t *file = json_load("tests/vectors/jinja.json", 1 << 20, &e), *row;
    if (!file) fail_msg("%s", e.msg);
    size_t i;
    int wrong = 0;
    json_array_foreach(json_object_get(file, "cases"), i, row) {
        struct str source = json_get_str(row, "template"), want = json_get_str(row, "rendered");
        struct jinja *t = jinja_parse(source, &e);
        struct jinja_output out = {0};
        struct jinja_input in = {
            .vars = json_object_get(file, "context"), .now = &sunday_noon, .html_safe = true};
        bool ok = t && jinja_render(t, &in, &out, &e), expected = want.p != NULL;
        bool raised = str_is(json_get_str(row, "kind"), "raise_exception");
        if (ok != expected || (ok && !str_eq(buf_view(&out.text), want)) ||
            (t && out.raised != raised)) {
            print_error("%s\n  got  %s\n  want %s\n", source.p, ok ? out.text.p : e.msg,
                        want.p ? want.p : "an error");
            wrong++;
        }
        if (!ok) assert_non_null(strstr(e.msg, "line "));
        jinja_output_free(&out);
        jinja_free(t);
    }
    json_decref(file);
    assert_int_equal(wrong, 0);
}

/* What transformers' sandbox refuses and some templates need. */
static void test_extended(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"{% set l = [1] %}{% set _ = l.append(2) %}{{ l }}", "[1, 2]"},
        {"{% set l = [1, 2] %}{{ l.pop(0) }}{{ l }}{{ l.pop() }}{{ l }}", "1[2]2[]"},
        {"{% set d = {'a': 1} %}{% set _ = d.update({'b': 2}) %}{{ d }}{{ d.pop('a') }}{{ d }}",
         "{'a': 1, 'b': 2}1{'b': 2}"},
        {"{{ {'a': 1}.setdefault('b', 2) }}", "2"},
        {"{% set l = [3, 1] %}{% set _ = l.sort() %}{% set _ = l.insert(1, 2) %}{{ l }}",
         "[1, 2, 3]"},
        {"{% set l = [1] %}{% set _ = l.extend([2, 3]) %}{% set _ = l.reverse() %}{% set _ = "
         "l.remove(2) %}{{ l }}",
         "[3, 1]"},
        {"{{ '{\"a\": [1, 2.0, null]}'|from_json }}", "{'a': [1, 2.0, None]}"},
        {"{{ [1]|map('string')|tojson }}", "[\"1\"]"},
        {"{% set l = [1, 2, 3] %}{% for x in l %}{{ x }}{% set _ = l.clear() %}{% endfor %}", "1"},
        {"{{ '<b>'|safe + '<i>' }}", "<b><i>"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct jinja *t = parse(pairs[i][0]);
        struct jinja_output out = {0};
        struct err e = {0};
        if (!jinja_render(t, &(struct jinja_input){0}, &out, &e))
            fail_msg("%s: %s", pairs[i][0], e.msg);
        assert_string_equal(out.text.p, pairs[i][1]);
        jinja_output_free(&out);
        jinja_free(t);
    }
}

/* ---- origins */

/* Expressions over c, a text of the request. Whatever they do to it, no byte of it may count as
 * the template's. */
static const char *const origin_cases[] = {
    "c",
    "c ~ '.'",
    "'.' + c + '.'",
    "c|upper",
    "c|lower",
    "c|title",
    "c|capitalize",
    "c|trim",
    "c|trim('<')",
    "c|replace('x', 'y')",
    "c|replace('|', c)",
    "'aba'|replace('b', c)",
    "c|replace('', '.')",
    "[c, c]|join(', ')",
    "['a', 'b']|join(c)",
    "c|indent",
    "c|indent(2, true)",
    "'a\nb'|indent(c)",
    "c|string",
    "c|safe",
    "c|e",
    "c|list",
    "c|reverse",
    "c|first",
    "c|last",
    "c|tojson",
    "c|tojson(ensure_ascii=true)",
    "[c]|tojson(indent=2)",
    "{c: c}|tojson",
    "c|center(60)",
    "c|truncate(12)",
    "c|default('x')",
    "[c]|map('upper')|join",
    "[c]|map('replace', '<', c)|join",
    "[c, 'a']|sort|join",
    "[c]|unique|join",
    "[c]|select('string')|join",
    "{'k': c}|dictsort",
    "[{'n': c}]|map(attribute='n')|join",
    "[{'n': c}]|groupby('n')",
    "[c]|batch(2)|list",
    "[c]|slice(2)|list",
    "{'k': c}|items|list",
    "c|from_json if false else c",
    "[c]|min",
    "[c]|max",
    "('\"' ~ c ~ '\"')|from_json",
    "(c ~ '%s')|format('x')",
    "'%s'|format(c)",
    "'%9s.%r' % (c, c)",
    "'{}{0!r}'.format(c) if false else '{0}{0!r:>9}'.format(c)",
    "c.upper()",
    "c.lower()",
    "c.title()",
    "c.capitalize()",
    "c.swapcase()",
    "c.strip()",
    "c.lstrip('<')",
    "c.rstrip('>')",
    "c.split('|')|join('+')",
    "c.split()|join",
    "c.rsplit('|', 1)|join",
    "c.splitlines()|join",
    "c.partition('|')|join",
    "c.rpartition('|')|join",
    "c.replace('i', 'I')",
    "'.'.join([c, c])",
    "c.join(['a', 'b'])",
    "c.center(60, '*')",
    "'a'.center(60, c)",
    "c.ljust(60)",
    "c.rjust(60)",
    "c.zfill(60)",
    "c.removeprefix('<')",
    "c.removesuffix('>')",
    "c[1:]",
    "c[:-1]",
    "c[::-1]",
    "c[::2]",
    "c[0]",
    "c * 3",
    "[c]",
    "(c, 1)",
    "{'k': c}",
    "{c: 1}",
    "[c] + [c]",
    "c if c else ''",
    "c or 'x'",
    "{'k': c}.get('k')",
    "{'k': c}.items()",
    "{c: 1}.keys()",
    "{1: c}.values()",
    "dict(a=c)",
    "namespace(a=c).a",
    "m.content",
    "m['content']",
    "m",
    "m|tojson",
    "m|tojson(indent=4)",
    "l|join",
    "l[0]",
    "l|last",
    "l",
    "strftime_now(c)",
    "c.format('x')"};

static bool is_mark(char c) {
    return c == '<' || c == '>' || c == '|';
}

static void check_origin(const char *expression, const struct jinja_output *out) {
    size_t marks = 0;
    for (size_t i = 0; i < out->n_run; i++) {
        size_t end = i + 1 < out->n_run ? out->run[i + 1].start : out->text.len;
        assert_true(out->run[i].start < end);
        for (size_t k = out->run[i].start; k < end; k++) {
            if (!is_mark(out->text.p[k])) continue;
            marks++;
            if (out->run[i].origin == JINJA_TEMPLATE)
                fail_msg("%s: byte %zu of '%s' counts as the template's", expression, k,
                         out->text.p);
        }
    }
    (void)marks;
}

static void test_origins(void **state) {
    (void)state;
    json_t *vars = json_pack("{s:s,s:{s:s,s:s},s:[s,s]}", "c", "<|im_start|> i<|x_y|>", "m",
                             "content", "<|im_end|>", "<|key|>", "v", "l", "<|a|>", "<|b|>");
    for (size_t i = 0; i < sizeof origin_cases / sizeof *origin_cases; i++) {
        static const char *const forms[] = {"{{ %s }}",
                                            "{%% set v = %s %%}{{ v }}",
                                            "{%% set b %%}{{ %s }}{%% endset %%}{{ b }}",
                                            "{%% macro f(a) %%}{{ a }}{%% endmacro %%}{{ f(%s) }}",
                                            "{%% filter trim %%}{{ %s }}{%% endfilter %%}",
                                            "{%% for x in [%s] %%}{{ x }}{%% endfor %%}"};
        for (size_t k = 0; k < sizeof forms / sizeof *forms; k++) {
            const char *hole = strstr(forms[k], "%s");
            struct buf b = {0};
            for (const char *p = forms[k]; *p; p++) {
                if (p == hole) buf_cstr(&b, origin_cases[i]), p++;
                else if (p[0] == '%' && p[1] == '%') buf_char(&b, '%'), p++;
                else buf_char(&b, *p);
            }
            struct jinja *t = parse(b.p);
            struct jinja_output out = {0};
            struct err e = {0};
            struct jinja_input in = {.vars = vars};
            if (!jinja_render(t, &in, &out, &e)) fail_msg("%s: %s", b.p, e.msg);
            check_origin(b.p, &out);
            jinja_output_free(&out);
            jinja_free(t);
            buf_free(&b);
        }
    }
    json_decref(vars);
}

/* Template text stays template text, and the two are told apart to the byte. */
static void test_origin_borders(void **state) {
    (void)state;
    json_t *vars = json_pack("{s:s,s:s}", "c", "abc", "bos_token", "<s>");
    struct jinja *t = parse("{{ bos_token + '<' ~ c|upper|replace('B', '<b>') }}>");
    struct jinja_output out = {0};
    struct jinja_input in = {.vars = vars};
    assert_true(jinja_render(t, &in, &out, NULL));
    assert_string_equal(out.text.p, "<s><A<b>C>");
    static const char want[] = "0000100010";
    for (size_t i = 0; i < out.text.len; i++) {
        uint32_t origin = 0;
        for (size_t k = 0; k < out.n_run && out.run[k].start <= i; k++) origin = out.run[k].origin;
        assert_int_equal(origin, want[i] - '0');
    }
    jinja_output_free(&out);
    jinja_free(t);
    json_decref(vars);
}

/* ---- hostile templates */

static void test_hostile(void **state) {
    (void)state;
    static const char *const sources[] = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% "
        "endfor %}",
        "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
        "endfor %}{{ ns.s }}",
        "{{ 'x' * 999999999 }}",
        "{{ [0] * 999999999 }}",
        "{{ 'x'.center(999999999) }}",
        "{{ '%999999999d' % 5 }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{% set l = [] %}{% for i in range(99999) %}{% for j in range(999) %}{{ l.append(l) }}{% "
        "endfor %}{% endfor %}",
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}",
        "{% set l = [] %}{% set _ = l.append(l) %}{{ l == [[[]]] or l == l }}{{ l < l }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor "
        "%}{{ ns.l }}",
        "{% set l = [1] %}{% for x in l %}{% set _ = l.append(x) %}{% endfor %}",
        "{% for x in 'a' * 999999 %}{% for y in 'a' * 999999 %}{{ x }}{% endfor %}{% endfor %}",
        "{{ ('a' * 999999).replace('a', 'b' * 999) }}",
        "{{ ('a' * 4000000).find('a' * 2000000 ~ 'b') }}",
        "{{ ('a' * 4000000 ~ 'b').count('a' * 2000000 ~ 'c') }}{{ ('a'*2000000 ~ 'b') in "
        "('a'*4000000) }}",
        "{{ range(99999)|list|join('x' * 9999) }}",
        "{{ range(99999)|map('string')|list|sort|unique|list|tojson(indent=32) }}{% for i in "
        "range(99999) %}{{ range(99999)|sum }}{% endfor %}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ -9223372036854775807 - 2 }}",
        "{{ 99999999999 * 99999999999 }}",
        "{{ 9 ** 9999999999 }}",
        "{{ 1 ** 9223372036854775807 }}{% for i in range(99999) %}{{ 2 ** 62 }}{% for j in "
        "range(999) %}{{ 3 ** 39 }}{% endfor %}{% endfor %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ ('{0.__class__}'.format('')).x.y }}",
        "{% for i in range(99999) %}{% set x = '[[[[[[[[[[[[[[[[' * 9999 %}{{ x|from_json }}{% "
        "endfor %}",
        "{% for i in range(99999) %}{% macro m() %}{{ i }}{% endmacro %}{% for j in range(999) "
        "%}{{ m() }}{% endfor %}{% endfor %}",
        "{{ 'x'|indent(999999999) }}",
        "{% set ns = namespace() %}{% for i in range(99999) %}{% for j in range(999) %}{% set d = "
        "{i: j} %}{{ {i: d, j: d} == {i: d, j: 1} }}{% endfor %}{% endfor %}"};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        struct err e = {0};
        struct jinja_output out = {0};
        uint64_t before = os_memory_resident();
        clock_t start = clock(); /* of the processor: the machine may be busy */
        struct jinja *t = jinja_parse(str_of(sources[i]), &e);
        bool ok = t && jinja_render(t, &(struct jinja_input){0}, &out, &e);
        double ms = (double)(clock() - start) * 1e3 / CLOCKS_PER_SEC;
        double mb = ((double)os_memory_resident() - (double)before) / 1e6;
        if (getenv("VERBOSE")) print_message("%6.1f ms %5.1f MB %s\n", ms, mb, ok ? "ok" : e.msg);
        if (ok && out.text.len > 4096) fail_msg("%s gave %zu bytes", sources[i], out.text.len);
        assert_true(ok || strlen(e.msg) > 10);
        jinja_output_free(&out);
        jinja_free(t);
        if (ms > 500 && !getenv("TEST_SANITIZED"))
            fail_msg("%s took %.0f ms", sources[i], ms); /* 60 on a quiet machine */
    }
}

/* Deep nesting in the source, and sources that are only brackets. */
static void test_deep_source(void **state) {
    (void)state;
    static const char *const pieces[][3] = {{"{{ ", "(", "1"},
                                            {"{{ ", "[", "1"},
                                            {"{{ ", "not ", "1"},
                                            {"{{ ", "-", "1"},
                                            {"{{ x", ".a", ""},
                                            {"{{ x", "|trim", ""},
                                            {"{{ x", "[0]", ""},
                                            {"{{ 1", " + 1", " }}"},
                                            {"{{ 1", " if 1 else 1", " }}"},
                                            {"", "{% if 1 %}", ""},
                                            {"", "{% for x in y %}", ""},
                                            {"{{ ", "{1:", "1"},
                                            {"{% set ", "(", "a"},
                                            {"{{ 'a'", " 'a'", " }}"},
                                            {"{{ x", " is defined", " }}"},
                                            {"", "{{ 1 }}{% x", ""},
                                            {"{{ f(", "f(", ""},
                                            {"{{ 1", " < 1", " }}"},
                                            {"{% if 1 %}", "{% elif 1 %}", "{% endif %}"}};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct buf b = {0};
        struct err e = {0};
        buf_cstr(&b, pieces[i][0]);
        for (int k = 0; k < 20000; k++) buf_cstr(&b, pieces[i][1]);
        buf_cstr(&b, pieces[i][2]);
        struct jinja *t = jinja_parse(buf_view(&b), &e);
        struct jinja_output out = {0};
        if (t) jinja_render(t, &(struct jinja_input){0}, &out, &e);
        jinja_output_free(&out);
        jinja_free(t);
        buf_free(&b);
    }
}

static void test_error_position(void **state) {
    (void)state;
    struct err e = {0};
    struct jinja_output out = {0};
    assert_null(jinja_parse(STR("ab\n  é{{ 1 + }}"), &e));
    assert_non_null(strstr(e.msg, "line 2 column 11"));
    assert_null(jinja_parse(STR("ab\ncd\xC3{{ 1 }}"), &e));
    assert_non_null(strstr(e.msg, "line 2 column 3: the template is not valid UTF-8"));
    struct jinja *t = parse("x\n{% if true %}\n  {{ a.b.c }}{% endif %}");
    assert_false(jinja_render(t, &(struct jinja_input){0}, &out, &e));
    assert_int_equal(out.line, 3);
    assert_non_null(strstr(e.msg, "'a' is undefined"));
    jinja_free(t);
    t = parse("{{ raise_exception('a\\nb' * 400) }}");
    assert_false(jinja_render(t, &(struct jinja_input){0}, &out, &e));
    assert_true(out.raised && strlen(out.message) == 1200);
    jinja_output_free(&out);
    jinja_free(t);
}

/* ---- damage and failing allocations */

static const char busy[] =
    "{%- macro show(x, deep=false) -%}{{ x|tojson(indent=2) if deep else x }}{%- endmacro -%}"
    "{% set ns = namespace(n=0, all=[]) %}{% for m in messages if m.role != 'x' %}"
    "{% set ns.n = ns.n + 1 %}{% set _ = ns.all.append(m.role|upper) %}"
    "<{{ m['role'] }}>{{ show(m.content|trim, true) }}{{ loop.index ~ '/' ~ loop.length }}"
    "{% if m.content.split('\\n')[-1].startswith('a') %}A{% elif m is mapping %}M{% endif %}"
    "{% endfor %}{{ ns.all|join(', ') }}{{ {'k': [1, 2.5, none]} }}{% set b | upper %}x{{ ns.n }}"
    "{% endset %}{{ b }}{{ '%s {}' % 5 }}{{ '{:>4}'.format(ns.n) }}{{ "
    "messages|map(attribute='role')"
    "|unique|sort|list }}{% raw %}{{ raw }}{% endraw %}{{ strftime_now('%Y') }}";

static json_t *conversation(int n) {
    json_t *messages = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(messages, json_pack("{s:s,s:s}", "role", i % 2 ? "assistant" : "user",
                                                  "content", " Some text\nof message é "));
    return json_pack("{s:o}", "messages", messages);
}

static void test_damaged(void **state) {
    (void)state;
    json_t *vars = conversation(3);
    struct jinja_input in = {.vars = vars, .now = &sunday_noon};
    uint32_t seed = 1;
    for (size_t i = 0; i < 2 * sizeof busy; i++) {
        char source[sizeof busy];
        memcpy(source, busy, sizeof busy);
        size_t len = i < sizeof busy ? i : sizeof busy - 1;
        for (int k = 0; i >= sizeof busy && k < 3; k++) {
            seed = seed * 1664525 + 1013904223;
            source[seed % len] = busy[(seed >> 8) % len];
        }
        struct err e = {0};
        struct jinja_output out = {0};
        struct jinja *t = jinja_parse((struct str){source, len}, &e);
        if (t) jinja_render(t, &in, &out, &e);
        jinja_output_free(&out);
        jinja_free(t);
    }
    json_decref(vars);
}

static void test_out_of_memory(void **state) {
    (void)state;
    json_t *vars = conversation(3);
    struct jinja_input in = {.vars = vars, .now = &sunday_noon};
    bool done = false;
    int n = 0;
    while (!done && n++ < 2000) {
        struct err e = {0};
        struct jinja_output out = {0};
        mem_fail_after(n);
        struct jinja *t = jinja_parse(str_of(busy), &e);
        done = t && jinja_render(t, &in, &out, &e);
        mem_fail_after(0);
        if (!done) assert_int_equal(e.code, ERR_NOMEM);
        jinja_output_free(&out);
        jinja_free(t);
    }
    assert_true(done && n > 20);
    json_decref(vars);
}

/* ---- speed */

static const char chatml[] =
    "{%- if tools %}{{- '<|im_start|>system\\n# Tools\\n' }}{%- for tool in tools %}{{- '\\n' }}"
    "{{- tool | tojson }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- elif message.role == 'assistant' %}{{- '<|im_start|>' + message.role }}"
    "{%- if message.content %}{{- '\\n' + message.content }}{%- endif %}"
    "{%- for tool_call in message.tool_calls %}{{- '\\n<tool_call>\\n{\"name\": \"' }}"
    "{{- tool_call.function.name }}{{- '\", \"arguments\": ' }}"
    "{{- tool_call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}"
    "{{- '<|im_end|>\\n' }}"
    "{%- elif message.role == 'tool' %}{{- '<|im_start|>user\\n<tool_response>\\n' + "
    "message.content"
    " + '\\n</tool_response><|im_end|>\\n' }}{%- endif %}{%- endfor %}";

static json_t *agent_loop(void) {
    json_t *messages = json_array(), *tools = json_array();
    char name[32];
    for (int i = 0; i < 30; i++) {
        json_t *m =
            i % 3 == 0 ? json_pack("{s:s,s:s}", "role", "user", "content",
                                   "Please look into the file and change the two lines.")
            : i % 3 == 1
                ? json_pack("{s:s,s:n,s:[{s:s,s:s,s:{s:s,s:{s:s,s:i}}}]}", "role", "assistant",
                            "content", "tool_calls", "id", "call_1", "type", "function", "function",
                            "name", "read_file", "arguments", "path", "src/main.c", "line", i)
                : json_pack("{s:s,s:s}", "role", "tool", "content",
                            "int main(int argc, char **argv) {\n    return 0;\n}\n");
        json_array_append_new(messages, m);
    }
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "tool_%d", i);
        json_array_append_new(
            tools, json_pack("{s:s,s:{s:s,s:s,s:{s:s,s:{s:{s:s,s:s},s:{s:s}},s:[s]}}}", "type",
                             "function", "function", "name", name, "description",
                             "Reads a file of the workspace and returns its lines with numbers",
                             "parameters", "type", "object", "properties", "path", "type", "string",
                             "description", "relative to the root", "line", "type", "integer",
                             "required", "path"));
    }
    return json_pack("{s:o,s:o,s:b}", "messages", messages, "tools", tools, "add_generation_prompt",
                     1);
}

static void test_speed(void **state) {
    (void)state;
    enum { ROUNDS = 50 };
    json_t *vars = agent_loop();
    struct jinja *t = parse(chatml);
    struct jinja_input in = {.vars = vars};
    struct jinja_output out = {0};
    double best = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = os_now_ns();
        assert_true(jinja_render(t, &in, &out, NULL));
        double ms = (double)(os_now_ns() - start) / 1e6;
        if (ms < best) best = ms;
    }
    print_message("30 messages and 12 tools, %zu bytes: %.3f ms\n", out.text.len, best);
    if (!getenv("TEST_SANITIZED")) assert_true(best < 1);
    jinja_output_free(&out);
    jinja_free(t);
    json_decref(vars);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constructs),     cmocka_unit_test(test_extended),
        cmocka_unit_test(test_origins),        cmocka_unit_test(test_origin_borders),
        cmocka_unit_test(test_hostile),        cmocka_unit_test(test_deep_source),
        cmocka_unit_test(test_error_position), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_out_of_memory),  cmocka_unit_test(test_speed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
