/* The output parser: every generation in shared/vectors/templates/toolcalls.json, in every way of
 * cutting it into pieces and cut off anywhere; formats of our own; garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/unit/call_formats.h"
#include "text/jinja.h"
#include "text/toolcall.h"

/* What came out, and whether the events were well formed. */
struct got {
    struct buf content, reasoning, args;
    json_t *calls;
    struct buf name;
    bool open, stopped, bad, cut, malformed;
    enum toolcall_kind kind;
    int index;
    uint64_t at;
};

static void on_event(void *ctx, const struct toolcall_event *ev) {
    struct got *g = ctx;
    g->bad |= g->stopped || ev->raw_from != g->at || ev->raw_to < ev->raw_from;
    g->at = ev->raw_to;
    switch (ev->type) {
    case TOOLCALL_START:
        g->bad |= g->open || ev->index != g->index;
        g->open = true;
        g->kind = ev->kind;
        g->index++;
        if (ev->kind != TOOLCALL_CALL) break;
        g->bad |= !ev->name.len;
        buf_clear(&g->name);
        buf_clear(&g->args);
        buf_str(&g->name, ev->name);
        break;
    case TOOLCALL_DELTA:
        g->bad |= !g->open || ev->kind != g->kind || ev->index != g->index - 1 || !ev->text.len;
        g->malformed |= ev->malformed;
        buf_str(ev->kind == TOOLCALL_CALL   ? &g->args
                : ev->kind == TOOLCALL_TEXT ? &g->content
                                            : &g->reasoning,
                ev->text);
        break;
    case TOOLCALL_END: {
        g->bad |= !g->open || ev->kind != g->kind || ev->index != g->index - 1;
        g->open = false;
        g->cut |= !ev->complete;
        g->malformed |= ev->malformed;
        if (ev->kind != TOOLCALL_CALL) break;
        g->bad |= g->args.len && !utf8_valid(g->args.p, g->args.len);
        json_t *args = json_parse(buf_view(&g->args), LIMIT_JSON_BYTES, NULL);
        g->bad |= ev->complete && !ev->malformed && !json_is_object(args);
        if (!args) args = json_stringn_nocheck(g->args.len ? g->args.p : "", g->args.len);
        json_array_append_new(
            g->calls, json_pack("{s:s%,s:o}", "name", g->name.p, g->name.len, "arguments", args));
        break;
    }
    case TOOLCALL_STOP:
        g->bad |= g->open;
        g->stopped = true;
    }
}

static void got_free(struct got *g) {
    buf_free(&g->content);
    buf_free(&g->reasoning);
    buf_free(&g->args);
    buf_free(&g->name);
    json_decref(g->calls);
    *g = (struct got){0};
}

/* Parses text in pieces of `piece` bytes after a first one of `first`. */
static void parse(struct got *g, const struct descr *d, const struct toolcall_options *o,
                  struct str text, size_t first, size_t piece) {
    *g = (struct got){.calls = json_array()};
    struct toolcall *p = toolcall_open(d, o, on_event, g, NULL);
    assert_non_null(p);
    size_t n = first < text.len ? first : text.len;
    assert_true(toolcall_feed(p, (struct str){text.p, n}, TOOLCALL_ANY));
    for (size_t i = n; i < text.len; i += n) {
        n = piece < text.len - i ? piece : text.len - i;
        assert_true(toolcall_feed(p, (struct str){text.p + i, n}, TOOLCALL_ANY));
    }
    assert_true(toolcall_finish(p, false));
    toolcall_close(p);
    g->bad |= g->at != text.len || !g->stopped;
}

static struct str trim(struct str s) {
    while (s.len && strchr(" \n\r\t", s.p[0])) s.p++, s.len--;
    while (s.len && strchr(" \n\r\t", s.p[s.len - 1])) s.len--;
    return s;
}

static bool same(struct got *g, struct str content, struct str reasoning, const json_t *calls) {
    return !g->bad && str_eq(trim(buf_view(&g->content)), trim(content)) &&
           str_eq(trim(buf_view(&g->reasoning)), trim(reasoning)) && json_equal(g->calls, calls);
}

static void explain(const char *what, const struct got *g, struct str text, const json_t *want) {
    char *a = json_dumps(g->calls, 0), *b = json_dumps(want, 0);
    fprintf(stderr,
            "%s\n  text: %.*s\n  content: %.*s\n  reasoning: %.*s\n  calls: %s\n  want:  %s\n%s",
            what, (int)text.len, text.p, (int)g->content.len, g->content.len ? g->content.p : "",
            (int)g->reasoning.len, g->reasoning.len ? g->reasoning.p : "", a, b,
            g->bad ? "  events are not well formed\n" : "");
    free(a);
    free(b);
}

/* ---- shared vectors */

static bool shared_path(char *path, size_t size, const char *rest) {
    const char *dir = getenv("HOLDFAST_SHARED");
    snprintf(path, size, "%s/%s", dir ? dir : "../shared", rest);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

static bool load_descr(struct descr *d, const char *name) {
    char rest[300], path[512];
    struct err e;
    snprintf(rest, sizeof rest, "data/templates/%s.jinja", name);
    if (!shared_path(path, sizeof path, rest)) return false;
    struct buf source = {0};
    FILE *f = fopen(path, "rb");
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) buf_add(&source, part, n);
    fclose(f);
    struct jinja *t = jinja_parse(buf_view(&source), &e);
    buf_free(&source);
    bool ok = t && descr_probe(d, t, STR("<|bos|>"), STR("<|eos|>"), &e);
    jinja_free(t);
    return ok;
}

/* The prompt in front of the rendered call: without what the template leaves out of the history,
 * unless the reasoning of the case stands there unopened. */
static struct str prompt_of(const json_t *entry, const struct descr *d) {
    struct str prompt = json_get_str(entry, "generation_prompt");
    struct str tail = json_get_str(entry, "prompt_tail_not_in_history");
    struct str call = json_get_str(entry, "rendered_call");
    bool opens = str_find(call, trim(d->think_open), 0) >= 0;
    bool closes = d->think_close.len && str_find(call, d->think_close, 0) >= 0;
    bool tail_opens = str_find(tail, trim(d->think_open), 0) >= 0;
    if (str_ends(prompt, tail) && !(closes && !opens && tail_opens)) prompt.len -= tail.len;
    if (!prompt.p) prompt.p = "";
    return prompt;
}

static bool has_flag(const json_t *entry, const char *flag) {
    size_t i;
    json_t *f;
    json_array_foreach(json_object_get(entry, "lossy"), i, f) {
        if (strcmp(json_string_value(f), flag) == 0) return true;
    }
    return false;
}

/* Renderings that show something else than the case: no parser could give what is asked. */
static bool is_exception(const char *template, const char *id) {
    static const char *const list[][2] = {
        /* content null is written as None or null */
        {"CohereForAI-c4ai-command-r-plus-tool_use", "single_null_content"},
        {"GLM-4.6", "single_null_content"},
        {"LFM2-8B-A1B", "single_null_content"},
        {"MiniMax-M2", "single_null_content"},
        {"google-gemma-2-2b-it", "single_null_content"},
        /* the content stands inside a reasoning block that is never closed */
        {"NVIDIA-Nemotron-Nano-v2", "content_before"},
        {"NVIDIA-Nemotron-Nano-v2", "reasoning_content"},
        /* U+2028 becomes a raw line break inside a JSON string; we accept that, so there is a call
         * where the vectors say there is none */
        {"CohereForAI-c4ai-command-r-plus-tool_use", "unicode"}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(template, list[i][0]) == 0 && strcmp(id, list[i][1]) == 0) return true;
    return false;
}

struct tally {
    int entries, right, lossy, lossy_right, runs, failed;
};

static void check_entry(struct tally *t, const struct descr *d, const json_t *entry,
                        const json_t *tools) {
    struct str text = json_get_str(entry, "rendered_call");
    struct str content = json_get_str(entry, "content"),
               reasoning = json_get_str(entry, "reasoning");
    const json_t *calls = json_object_get(entry, "calls");
    struct toolcall_options o = {.tools = tools, .prompt = prompt_of(entry, d)};
    const char *template = json_string_value(json_object_get(entry, "template"));
    const char *id = json_string_value(json_object_get(entry, "case"));
    /* gpt-oss writes content beside a call as reasoning: the two cannot be told apart */
    if (d->framed && strcmp(id, "content_before") == 0 && content.len) {
        reasoning = content;
        content = (struct str){0};
    }
    bool lossy = has_flag(entry, "unescaped") || is_exception(template, id);
    char what[200];
    struct got g;
    parse(&g, d, &o, text, text.len, 1);
    bool ok = same(&g, content, reasoning, calls);
    t->entries++;
    t->lossy += lossy;
    t->right += ok && !lossy;
    t->lossy_right += ok && lossy;
    snprintf(what, sizeof what, "%s %s", template, id);
    if (!ok && (!lossy || g.bad)) {
        t->failed++;
        explain(what, &g, text, calls);
    }
    struct got whole = g;
    /* cut in two anywhere, and into pieces of 1, 2, 3, 7 bytes */
    for (size_t k = 0; k < text.len + 4 && !(lossy && !ok); k++) {
        static const size_t sizes[] = {1, 2, 3, 7};
        size_t piece = k < text.len ? text.len : sizes[k - text.len];
        if (k < text.len && text.len > 700 && k % 7) continue;
        parse(&g, d, &o, text, k < text.len ? k : piece, piece);
        t->runs++;
        if (!same(&g, buf_view(&whole.content), buf_view(&whole.reasoning), whole.calls)) {
            t->failed++;
            snprintf(what, sizeof what, "%s %s cut at %zu", template, id, k);
            explain(what, &g, text, calls);
            k = text.len + 4;
        }
        got_free(&g);
    }
    /* ended anywhere */
    for (size_t k = 0; k < text.len; k++) {
        parse(&g, d, &o, (struct str){text.p, k}, k, 1);
        if (g.bad) {
            t->failed++;
            snprintf(what, sizeof what, "%s %s ended at %zu", template, id, k);
            explain(what, &g, (struct str){text.p, k}, calls);
            k = text.len;
        }
        got_free(&g);
    }
    got_free(&whole);
}

static void vectors(void **state) {
    (void)state;
    char path[512];
    if (!shared_path(path, sizeof path, "vectors/templates/toolcalls.json")) skip();
    struct err e;
    json_t *entries = json_load(path, LIMIT_JSON_BYTES, &e);
    shared_path(path, sizeof path, "vectors/templates/toolcalls_cases.json");
    json_t *cases = json_load(path, LIMIT_JSON_BYTES, &e);
    assert_non_null(entries);
    assert_non_null(cases);
    struct tally t = {0};
    struct descr d = {0};
    const char *loaded = "";
    size_t i;
    json_t *entry;
    json_array_foreach(entries, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "template"));
        if (json_object_get(entry, "error")) continue;
        if (strcmp(name, loaded) != 0) {
            descr_free(&d);
            assert_true(load_descr(&d, name));
            loaded = name;
        }
        check_entry(&t, &d, entry, json_object_get(cases, "tools"));
    }
    printf("%d entries: %d right, of %d lossy ones %d; %d cuts\n", t.entries, t.right, t.lossy,
           t.lossy_right, t.runs);
    descr_free(&d);
    json_decref(entries);
    json_decref(cases);
    assert_int_equal(t.failed, 0);
}

/* ---- formats of our own */

static const char own_tools[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
    "\"$defs\":{\"t\":{\"enum\":[\"a\",\"b\"]}},\"properties\":{\"s\":{\"type\":\"string\"},"
    "\"n\":{\"type\":[\"integer\",\"null\"]},\"b\":{\"type\":\"boolean\"},"
    "\"l\":{\"type\":\"array\"},\"m\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]},"
    "\"r\":{\"$ref\":\"#/$defs/t\"},\"u\":{}}}}},{\"name\":\"g\",\"input_schema\":{}}]";

enum { CUT = 1, MALFORMED = 2, NO_TOOLS = 4, THINKING = 8, NO_CALLS = 16 };

static const struct {
    int format;
    const char *text, *content, *reasoning, *calls;
    int flags;
} own[] = {
    /* text, reasoning and calls in any order */
    {FORMAT_OBJECT, "just text\n", "just text", "", "[]", 0},
    {FORMAT_OBJECT, "<muse>\nhm\n</muse>\n\nyes", "yes", "hm", "[]", 0},
    {FORMAT_OBJECT, "hm</muse>\nyes<|over|>", "yes", "hm", "[]", THINKING},
    {FORMAT_OBJECT, "<muse>hm</muse>", "", "hm", "[]", THINKING},
    {FORMAT_OBJECT, "never closed", "", "never closed", "[]", THINKING | CUT},
    {FORMAT_OBJECT, "a <muse> in the middle</muse> of a line",
     "a <muse> in the middle</muse> of a line", "", "[]", 0},
    {FORMAT_OBJECT, "one <|over|> two", "one <|over|> two", "", "[]", 0},
    {FORMAT_OBJECT, "one<|over|>\n<|me|>\ntwo<|over|>\n", "onetwo", "", "[]", 0},
    {FORMAT_OBJECT,
     "a\n<call>\n{\"name\": \"f\", \"arguments\": {\"s\": \"x\"}}\n</call>\nb\n"
     "<call>{\"name\":\"g\",\"arguments\":{}}</call>\nc",
     "abc", "", "[{\"name\":\"f\",\"arguments\":{\"s\":\"x\"}},{\"name\":\"g\",\"arguments\":{}}]",
     0},
    {FORMAT_OBJECT, "hm\n<call>{\"name\":\"f\",\"arguments\":{}}</call>", "", "hm",
     "[{\"name\":\"f\",\"arguments\":{}}]", THINKING},
    {FORMAT_OBJECT, "I could\n<call>{\"name\":\"nobody\",\"arguments\":{}}</call></muse>no", "no",
     "I could\n<call>{\"name\":\"nobody\",\"arguments\":{}}</call>", "[]", THINKING | MALFORMED},
    /* objects: order, wrappers, arguments as text, none, more keys */
    {FORMAT_OBJECT, "<call>{\"arguments\": {\"s\":\"x\"}, \"id\":\"7\", \"name\": \"f\"}</call>",
     "", "", "[{\"name\":\"f\",\"arguments\":{\"s\":\"x\"}}]", 0},
    {FORMAT_OBJECT,
     "<call>{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
     "\"{\\\"s\\\": \\\"\\\\u00e9\\\\n\\\"}\"}}</call>",
     "", "", "[{\"name\":\"f\",\"arguments\":{\"s\":\"\\u00e9\\n\"}}]", 0},
    {FORMAT_OBJECT, "<call>{\"name\":\"f\"}</call>", "", "", "[{\"name\":\"f\",\"arguments\":{}}]",
     0},
    {FORMAT_OBJECT,
     "<call>[{\"name\":\"f\",\"parameters\":{}},{\"name\":\"g\",\"arguments\":null}]</call>ok",
     "ok", "", "[{\"name\":\"f\",\"arguments\":{}},{\"name\":\"g\",\"arguments\":{}}]", 0},
    {FORMAT_OBJECT, "<call>{\"name\":\"f\",\"arguments\":{\"s\":\"two\nlines\",\"b\":True}}</call>",
     "", "", "[{\"name\":\"f\",\"arguments\":{\"s\":\"two\\nlines\",\"b\":true}}]", 0},
    {FORMAT_OBJECT, "use <call> like this", "use <call> like this", "", "[]", MALFORMED},
    {FORMAT_OBJECT, "<call>{\"name\":\"f\",\"arguments\":{\"s\":oops}}</call>after", "after", "",
     "[{\"name\":\"f\",\"arguments\":\"{\\\"s\\\":oops}}\"}]", MALFORMED},
    {FORMAT_OBJECT, "<call>{\"name\":\"f\",\"arguments\":{\"s\":\"x", "", "",
     "[{\"name\":\"f\",\"arguments\":\"{\\\"s\\\":\\\"x\"}]", CUT},
    {FORMAT_OBJECT, "<call>{\"name\":\"f\"", "", "", "[{\"name\":\"f\",\"arguments\":\"\"}]", CUT},
    {FORMAT_OBJECT, "<call>{\"na", "<call>{\"na", "", "[]", MALFORMED},
    {FORMAT_OBJECT, "<call>{\"name\":\"f\",\"arguments\":{}}</call>",
     "<call>{\"name\":\"f\",\"arguments\":{}}</call>", "", "[]", NO_CALLS},
    /* sections */
    {FORMAT_ARRAY,
     "a<calls>[{\"tool\": \"f\", \"with\": {\"n\": -1.5e3}, \"ref\": \"q\"}, "
     "{\"tool\": \"g\", \"with\": {}}]</calls>b",
     "ab", "", "[{\"name\":\"f\",\"arguments\":{\"n\":-1500.0}},{\"name\":\"g\",\"arguments\":{}}]",
     0},
    {FORMAT_NAMED, "<calls>[{\"f\": {\"s\": \"}\"}}, {\"g\": {}}]</calls>", "", "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\"}\"}},{\"name\":\"g\",\"arguments\":{}}]", 0},
    {FORMAT_JSON, "hi[CALL]f[WITH]{\"s\": \"[CALL]g[WITH]{}\"}[CALL]g[WITH]{}", "hi", "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\"[CALL]g[WITH]{}\"}},{\"name\":\"g\",\"arguments\":{}}"
     "]",
     0},
    {FORMAT_JSON, "[CALL]f[WITH][CALL]g{}", "", "",
     "[{\"name\":\"f\",\"arguments\":{}},{\"name\":\"g\",\"arguments\":{}}]", 0},
    {FORMAT_JSON, "[CALL] this is no name", "[CALL] this is no name", "", "[]", MALFORMED},
    {FORMAT_JSON_ID,
     "<|calls|><|call|>fn.f:0<|with|>{\"n\":1}<|end call|><|call|>g<|with|>{}"
     "<|end call|><|end calls|>",
     "", "", "[{\"name\":\"f\",\"arguments\":{\"n\":1}},{\"name\":\"g\",\"arguments\":{}}]", 0},
    {FORMAT_JSON_ID, "<|call|>fn.f:0<|with|>{}<|end call|>done", "done", "",
     "[{\"name\":\"f\",\"arguments\":{}}]", 0},
    /* tags: types from the schema */
    {FORMAT_TAGS,
     "<call>\n<tool=f>\n<arg=s>\n\n 12\n\n</arg>\n<arg=n>\n12\n</arg>\n<arg=b>\nFalse\n</arg>\n"
     "<arg=l>\n['a', "
     "None]\n</arg>\n<arg=m>\n7\n</arg>\n<arg=r>\n1\n</arg>\n<arg=u>\ntrue\n</arg>\n</tool>\n</"
     "call>",
     "", "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\"\\n "
     "12\\n\",\"n\":12,\"b\":false,\"l\":[\"a\",null],\"m\":7,"
     "\"r\":\"1\",\"u\":true}}]",
     0},
    {FORMAT_TAGS, "<tool=f>\n<arg=n>\ntwelve\n</arg>\n<arg=m>\nseven\n</arg>\n</tool>", "", "",
     "[{\"name\":\"f\",\"arguments\":{\"n\":\"twelve\",\"m\":\"seven\"}}]", 0},
    {FORMAT_TAGS, "<call>\n<tool=f>\n<arg=s>\na\n</arg>\nb</tool>\n</arg>\n</tool>\n</call>", "",
     "", "[{\"name\":\"f\",\"arguments\":{\"s\":\"a\\n</arg>\\nb</tool>\"}}]", 0},
    {FORMAT_TAGS, "<call>\n<tool=f>\n<arg=s></arg><arg=u>\n</arg>\n</tool>\n</call>", "", "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\"\",\"u\":\"\"}}]", 0},
    {FORMAT_TAGS, "<call>\n<tool=f>\n<arg=s>\na", "", "",
     "[{\"name\":\"f\",\"arguments\":\"{\\\"s\\\":\\\"a\"}]", CUT},
    {FORMAT_TAGS,
     "<call>\n<tool=f>\n<arg=s>\na\n</arg>\n</tool>\n</call>\n<call>\n<tool=g>\n</tool>\n</call>",
     "", "", "[{\"name\":\"f\",\"arguments\":{\"s\":\"a\"}},{\"name\":\"g\",\"arguments\":{}}]",
     NO_TOOLS},
    {FORMAT_KEYS,
     "<call>f\n<key>s</key>\n<val> x </val>\n<key>n</key>\n<val>null</val>\n</call><call>g</call>",
     "", "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\" x "
     "\",\"n\":null}},{\"name\":\"g\",\"arguments\":{}}]",
     0},
    {FORMAT_TYPED,
     "<calls>\n<do name=\"f\">\n<arg name=\"x\" text=\"yes\">1</arg>\n"
     "<arg name=\"y\" text=\"no\">1</arg>\n</do>\n<do name=\"g\">\n</do>\n</calls>",
     "", "",
     "[{\"name\":\"f\",\"arguments\":{\"x\":\"1\",\"y\":1}},{\"name\":\"g\",\"arguments\":{}}]", 0},
    /* nearly JSON */
    {FORMAT_PYTHON,
     "<|calls|>[f(s='it\\'s \"so\"', n=None, l=[1, (2,), {'k': True}]), g()]<|end calls|>x", "x",
     "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\"it's "
     "\\\"so\\\"\",\"n\":null,\"l\":[1,[2],{\"k\":true}]}},"
     "{\"name\":\"g\",\"arguments\":{}}]",
     0},
    {FORMAT_PYTHON, "<|calls|>[f(s='it's, \"so\", x', u=\"a\\x41\\u00e9\\n\\d\")]<|end calls|>", "",
     "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\"it's, \\\"so\\\", x\",\"u\":\"aA\\u00e9\\n\\\\d\"}}]",
     0},
    {FORMAT_PYTHON, "<|calls|>[f(s=\"\"\"a\n\"b\" \"\"\", u='')]<|end calls|>", "", "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\"a\\n\\\"b\\\" \",\"u\":\"\"}}]", 0},
    {FORMAT_GEMMA,
     "<|call>do:f{s:<|'|>a{b}:,<|'|>,l:[1,{k:<|'|><|'|>},None],n:3,<|'|>b<|'|>:true}<call|>"
     "<|call>do:g{}<call|>ok",
     "ok", "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\"a{b}:,\",\"l\":[1,{\"k\":\"\"},null],\"n\":3,\"b\":"
     "true}},"
     "{\"name\":\"g\",\"arguments\":{}}]",
     0},
    /* headers */
    {FORMAT_FRAMED,
     "<|way|>inner<|say|>hm<|next|><|from|>me to=fn.f<|way|>tool json<|say|>{\"s\":1}<|go|>", "",
     "hm", "[{\"name\":\"f\",\"arguments\":{\"s\":1}}]", 0},
    {FORMAT_FRAMED, "<|way|>tool to=fn.f <|x|>json<|say|>{}<|go|>", "", "",
     "[{\"name\":\"f\",\"arguments\":{}}]", 0},
    {FORMAT_FRAMED, "<|way|>outer<|say|>to be<|next|><|from|>me<|way|>outer<|say|>or not<|done|>",
     "to beor not", "", "[]", 0},
    {FORMAT_FRAMED, "no header at all", "no header at all", "", "[]", 0},
    /* bare objects */
    {FORMAT_BARE, "{\"name\": \"f\", \"parameters\": {\"s\":\"x\"}}", "", "",
     "[{\"name\":\"f\",\"arguments\":{\"s\":\"x\"}}]", 0},
    {FORMAT_BARE, "{\"type\":\"function\",\"name\": \"f\", \"parameters\": {}}; {\"name\":\"g\"}",
     "", "", "[{\"name\":\"f\",\"arguments\":{}},{\"name\":\"g\",\"arguments\":{}}]", 0},
    {FORMAT_BARE, "{\"name\": \"Ada\", \"born\": 1815}", "{\"name\": \"Ada\", \"born\": 1815}", "",
     "[]", 0},
    {FORMAT_BARE, "{\"city\": \"Oslo\"}", "{\"city\": \"Oslo\"}", "", "[]", 0},
    {FORMAT_BARE, "It is {\"name\": \"f\", \"parameters\": {}}",
     "It is {\"name\": \"f\", \"parameters\": {}}", "", "[]", 0},
};

static void own_formats(void **state) {
    (void)state;
    json_t *tools = json_loads(own_tools, 0, NULL);
    assert_non_null(tools);
    int failed = 0;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        struct str text = str_of(own[i].text), content = str_of(own[i].content);
        int flags = own[i].flags;
        struct toolcall_options o = {.tools = flags & NO_TOOLS ? NULL : tools,
                                     .no_calls = flags & NO_CALLS,
                                     .prompt = flags & THINKING ? STR("<|me|>\n<muse>\n")
                                                                : STR("<|me|>\n")};
        if (own[i].format == FORMAT_FRAMED) o.prompt = (struct str){0};
        json_t *calls = json_loads(own[i].calls, 0, NULL);
        assert_non_null(calls);
        for (size_t k = 0; k <= text.len + 1; k++) { /* whole, byte by byte, and cut in two */
            struct got g;
            parse(&g, &call_formats[own[i].format], &o, text, k ? k : text.len,
                  k > text.len ? 1 : text.len);
            if (k == text.len + 1)
                got_free(&g), parse(&g, &call_formats[own[i].format], &o, text, 1, 1);
            bool ok = same(&g, content, str_of(own[i].reasoning), calls) &&
                      g.cut == ((flags & CUT) != 0) && g.malformed == ((flags & MALFORMED) != 0);
            if (!ok) {
                failed++;
                fprintf(stderr, "own %zu, first piece %zu, cut %d, malformed %d\n", i, k, g.cut,
                        g.malformed);
                explain("", &g, text, calls);
                k = text.len + 2;
            }
            got_free(&g);
        }
        json_decref(calls);
    }
    json_decref(tools);
    assert_int_equal(failed, 0);
}

/* Control tokens: text that only reads like a marker is text. */
static void control_source(void **state) {
    (void)state;
    struct got g = {.calls = json_array()};
    struct toolcall_options o = {.prompt = STR("<|me|>\n")};
    struct toolcall *p = toolcall_open(&call_formats[FORMAT_JSON_ID], &o, on_event, &g, NULL);
    assert_non_null(p);
    assert_true(toolcall_feed(p, STR("a \xff<|calls|> b\xc3"), TOOLCALL_PLAIN));
    assert_true(toolcall_feed(p, STR("\xa9"), TOOLCALL_PLAIN));
    assert_true(toolcall_finish(p, true));
    assert_false(toolcall_feed(p, STR("more"), TOOLCALL_PLAIN));
    toolcall_close(p);
    assert_false(g.bad);
    assert_true(g.cut);
    got_free(&g);
}

/* Random pieces of markup and bytes, in every format: well formed, and nothing lost. */
static void garbage(void **state) {
    (void)state;
    static const char *const bits[] = {"<call>",     "</call>",
                                       "<calls>",    "[",
                                       "]",          "{",
                                       "}",          "\"",
                                       "name",       ":",
                                       ",",          "f",
                                       "<|call|>",   "<|with|>",
                                       "fn.",        "<muse>",
                                       "</muse>",    "\n",
                                       " ",          "<tool=",
                                       ">",          "<arg=",
                                       "</arg>",     "<do name=\"",
                                       "\">",        "\" text=\"no\">",
                                       "<|calls|>",  "(",
                                       ")",          "s=",
                                       "'",          "\\",
                                       "<|call>do:", "<|'|>",
                                       "<call|>",    "<|way|>",
                                       "inner",      "<|say|>",
                                       "<|next|>",   " to=fn.",
                                       "<|from|>me", "<|over|>",
                                       "[CALL]",     "[WITH]",
                                       "1",          "-",
                                       "true",       "None",
                                       "\xff",       "\xc3",
                                       "\xe2\x82",   "<key>",
                                       "</key>",     "<val>",
                                       "</val>",     "<",
                                       "arguments",  "{\"name\": \"f\", \"arguments\": {",
                                       "<![CDATA[",  "]]>",
                                       "</tool>",    "\0"};
    struct rng r = {42};
    json_t *tools = json_loads(own_tools, 0, NULL);
    for (int i = 0; i < 20000; i++) {
        struct buf text = {0};
        size_t n = 1 + rng_below(&r, 40);
        for (size_t k = 0; k < n; k++)
            buf_cstr(&text, bits[rng_below(&r, sizeof bits / sizeof *bits)]);
        struct toolcall_options o = {.tools = rng_below(&r, 2) ? tools : NULL};
        const struct descr *d = &call_formats[i % N_FORMATS];
        struct got a, b;
        parse(&a, d, &o, buf_view(&text), text.len, text.len);
        parse(&b, d, &o, buf_view(&text), 1, 1 + rng_below(&r, 5));
        bool ok = !a.bad && !b.bad && str_eq(buf_view(&a.content), buf_view(&b.content)) &&
                  str_eq(buf_view(&a.reasoning), buf_view(&b.reasoning)) &&
                  json_equal(a.calls, b.calls);
        if (!ok) {
            fprintf(stderr, "format %d\n", i % N_FORMATS);
            explain("whole", &a, buf_view(&text), b.calls);
            explain("in pieces", &b, buf_view(&text), a.calls);
        }
        assert_true(ok);
        got_free(&a);
        got_free(&b);
        buf_free(&text);
    }
    json_decref(tools);
}

/* Whatever is refused, the parser ends in order. */
static void no_memory(void **state) {
    (void)state;
    struct str text = str_of(own[8].text);
    for (int64_t n = 1; n < 40; n++) {
        struct got g = {.calls = json_array()};
        struct toolcall_options o = {.prompt = STR("<|me|>\n")};
        mem_fail_after(n);
        struct toolcall *p = toolcall_open(&call_formats[FORMAT_OBJECT], &o, on_event, &g, NULL);
        if (p) {
            toolcall_feed(p, text, TOOLCALL_ANY);
            toolcall_finish(p, false);
            mem_fail_after(0);
            assert_true(g.stopped);
            toolcall_close(p);
        }
        mem_fail_after(0);
        got_free(&g);
    }
}

/* What is held back is bounded, and time is linear in the input. */
static void bounded(void **state) {
    (void)state;
    static const char *const units[] = {
        " ",        "\n",    "x", "<",  "<call", "{\"name\":", "<call>{\"a\":1,",
        "<|over|>", "<arg=", "'", "\\", "[",     "<muse>"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        for (int f = 0; f < N_FORMATS; f++) {
            struct buf text = {0};
            while (text.len < 20000) buf_cstr(&text, units[u]);
            struct toolcall_options o = {0};
            struct got g;
            parse(&g, &call_formats[f], &o, buf_view(&text), 1, 1);
            assert_false(g.bad);
            got_free(&g);
            buf_free(&text);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_formats), cmocka_unit_test(control_source), cmocka_unit_test(garbage),
        cmocka_unit_test(no_memory),   cmocka_unit_test(bounded),        cmocka_unit_test(vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
