/* Grammars without a model: what each construct accepts, where it refuses, which errors it gives,
 * and that token masks agree with feeding every token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "sample/build.h"
#include "sample/mask.h"

/* A text beginning with '!' must be refused (or be incomplete), any other accepted. */
static int check(struct grammar *g, const char *const *text, const char *what) {
    int bad = 0;
    for (; *text; text++) {
        bool want = **text != '!';
        struct str s = str_of(*text + !want);
        struct grammar_state *st = grammar_start(g, NULL, NULL);
        size_t n;
        bool got = grammar_bytes(st, s, &n) && grammar_done(st);
        if (got != want) {
            print_error("%s: '%s' should be %s (byte %zu)\n", what, s.p,
                        want ? "accepted" : "refused", n);
            bad++;
        }
        grammar_end(st);
    }
    return bad;
}

struct row {
    const char *source;
    const char *text[16];
};

typedef struct grammar *(*compile_fn)(struct str s, struct err *e);
static struct grammar *from_schema(struct str s, struct err *e) {
    return grammar_from_schema(s, true, NULL, e);
}

static void check_rows(const struct row *row, size_t n, compile_fn compile) {
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        struct grammar *g = compile(str_of(row[i].source), &e);
        if (!g) {
            print_error("%s: %s\n", row[i].source, e.msg);
            bad++;
            continue;
        }
        bad += check(g, row[i].text, row[i].source);
        grammar_free(g);
    }
    assert_int_equal(bad, 0);
}
#define CHECK_ROWS(rows, compile) check_rows(rows, sizeof(rows) / sizeof *(rows), compile)

struct error_row {
    const char *source, *message; /* part of the message */
    int64_t pos;                  /* -1: any */
};
static void check_errors(const struct error_row *row, size_t n, compile_fn compile) {
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        struct grammar *g = compile(str_of(row[i].source), &e);
        bool ok = !g && strstr(e.msg, row[i].message) && (row[i].pos < 0 || e.pos == row[i].pos);
        if (!ok)
            print_error("%s: got '%s' at %d\n", row[i].source, g ? "no error" : e.msg, (int)e.pos);
        bad += !ok;
        grammar_free(g);
    }
    assert_int_equal(bad, 0);
}
#define CHECK_ERRORS(rows, compile) check_errors(rows, sizeof(rows) / sizeof *(rows), compile)

static void test_gbnf(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"root ::= \"a\" | \"bc\"", {"a", "bc", "!b", "!", "!ab"}},
        {"root ::= x*\nx ::= [a-c]", {"", "abcabc", "!abd"}},
        {"root ::= [^a-c\\n]+ # a comment\n", {"xyz", "!xa", "!", "\xC3\xA9", "!\xC3"}},
        {"root ::= \"a\"{2,3}", {"aa", "aaa", "!a", "!aaaa"}},
        {"root ::= \"a\"{2}", {"aa", "!a", "!aaa"}},
        {"root ::= \"a\"{2,}", {"aa", "aaaaaaa", "!a"}},
        {"root ::= [a-z]{300,302}", {"!abc"}},
        {"root ::= (\"a\" | \"b\")? \"c\"", {"c", "ac", "bc", "!abc"}},
        {"root ::= \"(\" root \")\" | \"x\"", {"x", "((x))", "!((x)", "!(x))"}},
        {"root ::= list\nlist ::= \"[\" (list (\",\" list)*)? \"]\"",
         {"[]", "[[],[[]]]", "![[]", "![,]"}},
        {"root ::= \"\\x41\\u00e9\\t\\\"\"", {"A\xC3\xA9\t\""}},
        {"root ::= .+", {"a\n\xE2\x82\xAC", "!", "!\xE2\x82", "!\xFF"}},
        {"root ::= a |\n  b\na ::= \"1\"\nb ::= \"2\"", {"1", "2", "!3"}},
        {"root ::= x y\nx ::= \"a\"?\ny ::= \"b\"", {"b", "ab", "!a"}},
        {"root ::= [\\U0001F600-\\U0001F64F]", {"\xF0\x9F\x98\x81", "!\xF0\x9F\x99\xB0"}},
        {"root ::= e\ne ::= t (\"+\" t)*\nt ::= \"n\" | \"(\" e \")\"",
         {"n+n", "(n+(n))+n", "!n+", "!(n"}},
        {"root ::= (\"a\" \"b\"){1000} \"c\"", {"!abab", "!c"}},
    };
    CHECK_ROWS(rows, grammar_from_gbnf);
    static const struct error_row errors[] = {
        {"root ::= root \"a\" | \"b\"", "left recursion", 0},
        {"root ::= a\na ::= b? a2\nb ::= \"x\"\na2 ::= a", "left recursion", -1},
        {"root ::= nope", "'nope' is not defined", 9},
        {"a ::= \"x\"", "no rule 'root'", -1},
        {"root ::= (\"a\"?)*", "empty loop", 15},
        {"root ::= x+\nx ::= \"a\"?", "empty loop", 10},
        {"root ::= \"a", "never closed", 9},
        {"root ::= [z-a]", "out of order", -1},
        {"root ::= \"a\"{3,2}", "out of order", 12},
        {"root ::= (\"a\"", "never closed", 9},
        {"root ::= \"\\q\"", "unknown escape", 10},
        {"root = \"a\"", "'::='", 5},
        {"root ::= \"a\"\nroot ::= \"b\"", "defined twice", 13},
        {"root ::= x\nx ::= \"a\" x", "never ends", -1},
        {"root ::= \"\xFF\"", "UTF-8", -1},
        {"root ::= \"a\"{9999999}", "too large", -1},
    };
    CHECK_ERRORS(errors, grammar_from_gbnf);
}

/* A patch in the notation of the tools that agents bring. */
static const char patch_lark[] = "start: begin file+ end\n"
                                 "begin: \"*** Begin\" LF\n"
                                 "end: \"*** End\" LF? // may close the text\n"
                                 "file: new | change\n"
                                 "new: \"*** New: \" name LF line+\n"
                                 "change: \"*** Change: \" name LF (context | edit)+ last?\n"
                                 "name: /(.+)/\n"
                                 "line: \"+\" /(.*)/ LF -> added\n"
                                 "context: (\"@@\" | \"@@ \" /(.+)/) LF\n"
                                 "edit: (\"+\" | \"-\" | \" \") /(.*)/ LF\n"
                                 "last: \"*** Last\" LF\n\n"
                                 "%import common.LF\n";

static void test_lark(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"start: \"a\" | \"bc\"\n", {"a", "bc", "!b", "!", "!ab"}},
        {"start: A b*\nA: /[a-c]/\nb: \"x\"i \"1\"..\"3\"", {"a", "bx1X3", "!d", "!ax4"}},
        {"?start.2: e\n!e: t (\"+\" t)*\n    | \"-\" e -> minus\nt: \"n\" | \"(\" e \")\"",
         {"n+n", "(n+(n))+n", "--n", "!n+", "!(n"}},
        {"start: \"a\"~2 [\"b\"] \"c\"~1..2 \"d\"?", {"aac", "aabccd", "!ac", "!aabccc"}},
        {"start: /a.b/s /c.d/", {"a\nbcxd", "!a\nbc\nd", "acbc\rd"}},
        {"%import common (INT, WS_INLINE -> BLANK)\n%ignore BLANK\nstart: INT (\",\" INT)*",
         {"1, 2 ,3 ", "12", "!1 ,", "!a"}},
        {"// comment\nstart: \"\\n\\x41\\u00e9\\\"\" /\\/[^\\/.]/",
         {"\nA\xC3\xA9\"/a", "!\nA\xC3\xA9\"/."}},
        {patch_lark,
         {"*** Begin\n*** New: a.c\n+int x;\n+\n*** End\n",
          "*** Begin\n*** Change: b\n@@ f\n x\n-y\n+\"z\\\n*** Last\n*** End",
          "!*** Begin\n*** End\n", "!*** Begin\n*** New: \n+\n*** End",
          "!*** Begin\n*** New: a\nint\n*** End"}},
    };
    CHECK_ROWS(rows, grammar_from_lark);
    static const struct error_row errors[] = {
        {"a: \"x\"", "no rule 'start'", -1},
        {"start: nope", "'nope' is not defined", 7},
        {"start: \"a", "never closed", 7},
        {"start: /a", "never closed", 7},
        {"start: /(?=a)/", "lookahead", 7},
        {"start: /a/i", "flags", 10},
        {"start: (\"a\"", "never closed", 7},
        {"start: \"a\"\nstart: \"b\"", "defined twice", 11},
        {"start: \"a\"~3..2", "~N..M", 10},
        {"start: \"z\"..\"a\"", "range", 7},
        {"start: x{a}\n", "templates", 8},
        {"%import foo.BAR\nstart: \"a\"", "common", 8},
        {"%import common.NOPE\nstart: \"a\"", "no terminal", 15},
        {"%extend a: b\nstart: \"a\"", "directives", 0},
        {"start: start \"a\" | \"b\"", "left recursion", 0},
        {"start = \"a\"", "':'", 6},
    };
    CHECK_ERRORS(errors, grammar_from_lark);
}

/* x-lark in a schema: the same texts, between the quotes of a string. */
static void test_lark_in_schema(void **state) {
    (void)state;
    json_t *input = json_pack("{s:s, s:s}", "type", "string", "x-lark", patch_lark);
    json_t *schema = json_pack("{s:s, s:{s:o}, s:[s], s:b}", "type", "object", "properties",
                               "input", input, "required", "input", "additionalProperties", 0);
    char *source = json_dumps(schema, 0);
    const struct row rows[] = {
        {source,
         {"{\"input\": \"*** Begin\\n*** New: a\\n+x \\\"y\\\" \\\\ \\u0009\\n*** End\"}",
          "!{\"input\": \"*** Begin\\n*** End\"}",
          "!{\"input\": \"*** Begin\n*** New: a\\n+x\\n*** End\"}",
          "!{\"input\": \"*** Begin\\n*** New: a\\n+\"x\\n*** End\"}"}},
        {"{\"type\":\"string\",\"x-lark\":\"start: \\\"(\\\" start* \\\")\\\" | /\\\"\\\\n/\"}",
         {"\"(\\\"\\n()(()))\"", "!\"(\\\"\\n\"", "!\"()()\""}},
    };
    CHECK_ROWS(rows, from_schema);
    static const struct error_row errors[] = {
        {"{\"type\":\"string\",\"x-lark\":\"start: nope\"}", "'nope' is not defined", -1}};
    CHECK_ERRORS(errors, from_schema);
    struct buf notes = {0};
    struct grammar *g = grammar_from_schema(str_of(errors[0].source), false, &notes, NULL);
    assert_non_null(g);
    assert_non_null(strstr(notes.p, "anything is allowed there"));
    grammar_free(g);
    buf_free(&notes);
    free(source);
    json_decref(schema);
}

static void test_regex(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"abc", {"abc", "!ab", "!abcd", "!xabc"}},
        {"^abc$", {"abc", "!ab"}},
        {"a|b|", {"a", "b", "", "!ab"}},
        {"(a|b)+?c{2,}", {"acc", "babcccc", "!ac", "!cc"}},
        {"\\d{3}-\\d{4}", {"123-4567", "!12-4567", "!123-456x"}},
        {"[\\w.+-]+@\\w+\\.\\w{2,}", {"a.b+c@d.org", "!@d.org", "!a@d.o"}},
        {"\\s\\S\\D\\W", {" ax-", "!axx-"}},
        {"[^\\d\\s]", {"a", "!1", "! ", "\xE2\x82\xAC"}},
        {".", {"a", "\xC3\xA9", "!\n", "!"}},
        {"\\u00e9\\x41\\u{1F600}\\ud83d\\ude00",
         {"\xC3\xA9"
          "A\xF0\x9F\x98\x80\xF0\x9F\x98\x80"}},
        {"(?:ab)*(?<name>c)", {"c", "ababc", "!abc1"}},
        {"a{,3}", {"a{,3}", "!aaa"}},
        {"[a-]", {"a", "-", "!b"}},
        {"[\\]\\\\^-]", {"]", "\\", "^", "-", "!a"}},
        {"(a?){3}b", {"b", "aaab", "!aaaab"}},
        {"(a*)*b", {"b", "aaab"}},
        {"\\.\\*\\$\\/", {".*$/"}},
        {"(x{2}){2}", {"xxxx", "!xxx", "!xxxxxx"}},
        {"[a-z]{2,400}", {"ab", "!a"}},
        {"(^a|b$)", {"a", "b"}},
    };
    CHECK_ROWS(rows, grammar_from_regex);
    static const struct error_row errors[] = {
        {"(a)\\1", "backreference", 3},
        {"a(?=b)", "a lookahead", 1},
        {"(?<!b)a", "negative lookbehind", 0},
        {"(?>a)", "atomic", 0},
        {"a++", "possessive", 1},
        {"\\bword", "word boundary", 0},
        {"\\p{L}", "Unicode property", 0},
        {"(?i)a", "inline option", 0},
        {"(a", "never closed", 0},
        {"a)", "')' without '('", 1},
        {"[a", "never closed", 0},
        {"*a", "nothing to repeat", 0},
        {"a**", "nothing to repeat", -1},
        {"[z-a]", "out of order", -1},
        {"a{3,2}", "out of order", 1},
        {"x(?R)", "recursion", 1},
        {"a^b", "anchor", 1},
        {"\\q", "escape '\\q'", 0},
        {"[[:alpha:]]", "POSIX", 1},
        {"\\", "backslash", 0},
        {"a{1000001}", "too large", 1},
    };
    CHECK_ERRORS(errors, grammar_from_regex);
}

static void test_choices(void **state) {
    (void)state;
    const struct str choice[] = {STR("yes"), STR("no"), STR("yesterday")};
    struct grammar *g = grammar_from_choices(choice, 3, NULL);
    const char *const text[] = {"yes", "no", "yesterday", "!ye", "!yesno", NULL};
    assert_int_equal(check(g, text, "choices"), 0);
    grammar_free(g);
    struct err e = {0};
    assert_null(grammar_from_choices(NULL, 0, &e));
    assert_int_equal(e.code, ERR_ARG);
}

static void test_schema_scalars(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"type\":\"string\"}",
         {"\"\"", "\"a\\n\\u00e9\\ud83d\\ude00\\/\"", "!\"\\ud83d\"", "!\"a\nb\"", "!\"\\x\"", "!a",
          "!\"\xFF\"", "!\"\\udc00\""}},
        {"{\"type\":\"integer\"}", {"0", "-5", "120", "!01", "!1.5", "!-", "!+1"}},
        {"{\"type\":\"number\"}", {"0", "-0.5", "1e10", "1.5E-3", "!.5", "!1.", "!1e", "!00"}},
        {"{\"type\":\"boolean\"}", {"true", "false", "!True", "!1"}},
        {"{\"type\":\"null\"}", {"null", "!nul"}},
        {"{\"type\":[\"string\",\"null\"]}", {"null", "\"a\"", "!1"}},
        {"{\"type\":\"integer\",\"nullable\":true}", {"null", "3", "!\"a\""}},
        {"{\"enum\":[\"a\",1,null,[1,{\"x\":2}]]}",
         {"\"a\"", "1", "null", "[1, {\"x\": 2}]", "[1,{\"x\":2}]", "!\"b\"", "!2"}},
        {"{\"const\":\"a\\\"b\\n\"}", {"\"a\\\"b\\n\"", "!\"ab\""}},
        {"{\"enum\":[\"a\",1,2.5],\"type\":\"number\"}", {"1", "2.5", "!\"a\""}},
        {"{\"enum\":[1,5,10],\"minimum\":5}", {"5", "10", "!1"}},
        {"true", {"1", "\"a\"", "{\"a\": [null, true]}", "[]", "!{", "!}"}},
        {"{}", {"[1,2, {\n  \"a\": \"b\"}]", "!["}},
        {"{\"minLength\":2}", {"1", "\"ab\"", "!\"a\"", "{}"}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"a\\n\\u00e9\"", "\"\xC3\xA9\xC3\xA9\"", "!\"a\"", "!\"abcd\""}},
        {"{\"type\":\"string\",\"maxLength\":500000}", {"\"\"", "\"abc\""}},
        {"{\"type\":\"string\",\"pattern\":\"^[a-c]+$\"}", {"\"abc\"", "!\"\"", "!\"abd\""}},
        {"{\"type\":\"string\",\"pattern\":\"b\"}", {"\"abc\"", "\"b\"", "!\"ac\"", "\"\\\"b\""}},
        {"{\"type\":\"string\",\"pattern\":\"^(a|b)$|^\\\\d\"}", {"\"a\"", "\"7xyz\"", "!\"ab\""}},
        {"{\"type\":\"string\",\"pattern\":\"^a+$\",\"maxLength\":2}",
         {"\"a\"", "\"aa\"", "!\"aaa\""}},
        {"{\"type\":\"string\",\"pattern\":\"^\\\\S+\\\\n$\"}",
         {"\"ab\\n\"", "\"ab\\u000a\"", "!\"ab\"", "!\"ab\n\""}},
        {"{\"type\":\"string\",\"format\":\"date\"}",
         {"\"2024-02-29\"", "!\"2024-13-01\"", "!\"24-1-1\""}},
        {"{\"type\":\"string\",\"format\":\"uuid\"}",
         {"\"123e4567-e89b-12d3-a456-426614174000\"", "!\"123\""}},
        {"{\"type\":\"string\",\"format\":\"ipv4\"}", {"\"127.0.0.1\"", "!\"256.0.0.1\""}},
        {"{\"type\":\"string\",\"format\":\"date-time\"}",
         {"\"2024-02-29T12:30:00Z\"", "\"2024-02-29T12:30:00.5+02:00\"", "!\"2024-02-29\""}},
    };
    CHECK_ROWS(rows, from_schema);
}

static void test_schema_numbers(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"type\":\"integer\",\"minimum\":1,\"maximum\":14}",
         {"1", "9", "10", "14", "!0", "!15", "!-1", "!100"}},
        {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":5}",
         {"-5", "0", "5", "!-6", "!6", "!-05"}},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":10,\"exclusiveMaximum\":20}",
         {"11", "19", "!10", "!20"}},
        {"{\"type\":\"integer\",\"minimum\":1.5}", {"2", "100", "!1"}},
        {"{\"type\":\"integer\",\"maximum\":-3}", {"-3", "-30", "!-2", "!0", "!3"}},
        {"{\"type\":\"integer\",\"maximum\":9007199254740991}",
         {"9007199254740991", "!9007199254740992", "-7"}},
        {"{\"type\":\"number\",\"minimum\":0.5,\"maximum\":2.25}",
         {"0.5", "0.75", "1", "2.25", "2.2", "2.250", "!0.4", "!2.26", "!3", "!0"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0}", {"0.001", "5", "!0", "!0.0", "!-1"}},
        {"{\"type\":\"number\",\"exclusiveMaximum\":0}", {"-0.001", "-5", "!0", "!1", "!-0"}},
        {"{\"type\":\"number\",\"minimum\":-1.5,\"exclusiveMaximum\":1}",
         {"-1.5", "-0.3", "0.999", "0", "!1", "!-1.51", "!1.0"}},
        {"{\"type\":\"number\",\"minimum\":5,\"exclusiveMinimum\":true}", {"6", "5.1", "!5"}},
        {"{\"type\":\"integer\",\"multipleOf\":7}", {"0", "7", "-14", "70", "!8", "!1"}},
        {"{\"type\":\"integer\",\"multipleOf\":5,\"minimum\":12,\"maximum\":30}",
         {"15", "20", "30", "!10", "!12", "!35"}},
        {"{\"type\":\"number\",\"multipleOf\":0.01}", {"1.25", "3", "0.5", "!1.255"}},
        {"{\"type\":\"number\",\"multipleOf\":1.5}", {"1.5", "3", "4.5", "!1", "!2.5"}},
        {"{\"type\":\"integer\",\"multipleOf\":0.5}", {"1", "22", "!0.5"}},
        {"{\"type\":\"number\",\"maximum\":1e308}", {"12345", "-3"}},
        {"{\"maximum\":3,\"type\":[\"integer\",\"string\"]}", {"3", "\"x\"", "!4"}},
    };
    CHECK_ROWS(rows, from_schema);
}

static void test_schema_objects(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
         "\"string\"},\"c\":{\"type\":\"null\"}},\"required\":[\"b\"],\"additionalProperties\":"
         "false}",
         {"{\"b\":\"x\"}", "{\"a\": 1, \"b\": \"x\"}", "{\"b\":\"\",\"c\":null}",
          "{\"a\":1,\"b\":\"\",\"c\":null}", "!{\"a\":1}", "!{}", "!{\"b\":\"x\",\"a\":1}",
          "!{\"b\":\"x\",}", "!{\"b\":\"x\",\"d\":1}", "{\n  \"b\": \"x\"\n}",
          "!{\n\n\"b\":\"\"}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}",
         {"{}", "{\"a\":1}", "{\"a\":1,\"z\":[]}", "{\"z\":1}", "{\"ab\":\"x\"}", "!{\"a\":\"x\"}",
          "{\"\":1}"}},
        {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
         {"{}", "{\"x\":1,\"y\":2}", "!{\"x\":\"a\"}"}},
        {"{\"type\":\"object\",\"required\":[\"q\"]}",
         {"{\"q\":1}", "{\"q\":null,\"r\":2}", "!{}", "!{\"r\":1}"}},
        {"{\"type\":\"object\",\"patternProperties\":{\"^n_\":{\"type\":\"integer\"}},"
         "\"additionalProperties\":{\"type\":\"string\"}}",
         {"{\"n_a\":1}", "{\"x\":\"y\"}", "!{\"n_a\":\"s\"}", "!{\"x\":1}"}},
        {"{\"type\":\"object\",\"patternProperties\":{\"^a\":{\"type\":\"integer\"},\"b$\":{"
         "\"minimum\":5}}}",
         {"{\"ab\":7}", "!{\"ab\":1}", "{\"a\":1}", "{\"b\":9}", "!{\"b\":1}", "{\"b\":\"x\"}",
          "{\"c\":\"x\"}"}},
        {"{\"type\":\"object\",\"properties\":{\"ab\":{}},\"patternProperties\":{\"^a\":{\"type\":"
         "\"integer\"}},\"additionalProperties\":false}",
         {"{\"ab\":1}", "!{\"ab\":\"x\"}", "{\"ac\":2}", "!{\"b\":1}"}},
        {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-z]+$\",\"maxLength\":3}}",
         {"{\"abc\":1}", "!{\"abcd\":1}", "!{\"A\":1}", "{}"}},
        {"{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"x\",\"y\"]},\"additionalProperties\":"
         "{\"type\":\"integer\"}}",
         {"{\"x\":1}", "{\"y\":1}", "!{\"z\":1}"}},
        {"{\"type\":\"object\",\"minProperties\":2,\"maxProperties\":3}",
         {"{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2,\"c\":3}", "!{\"a\":1}", "!{}",
          "!{\"a\":1,\"b\":2,\"c\":3,\"d\":4}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},"
         "\"additionalProperties\":false,\"minProperties\":2}",
         {"{\"a\":1,\"c\":2}", "{\"a\":1,\"b\":1,\"c\":2}", "!{\"b\":1}", "!{}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"maxProperties\":1}",
         {"{\"a\":1}", "{\"b\":1}", "{\"x\":1}", "{}", "!{\"a\":1,\"b\":1}"}},
        {"{\"type\":\"object\",\"properties\":{\"\\u00e9\":{\"type\":\"integer\"}},"
         "\"additionalProperties\":{\"type\":\"string\"}}",
         {"{\"\xC3\xA9\":1}", "{\"\xC3\xA8\":\"x\"}", "!{\"\xC3\xA9\":\"x\"}",
          "!{\"\xC3\xA8\":1}"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":false}}", {"{}", "!{\"a\":1}", "{\"b\":1}"}},
    };
    CHECK_ROWS(rows, from_schema);
}

/* More properties than one rule takes; each may be skipped, the order stays. */
static void test_schema_large_object(void **state) {
    (void)state;
    struct buf schema = {0};
    buf_cstr(&schema, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 200; i++)
        buf_printf(&schema, "%s\"p%d\":{\"type\":\"integer\"}", i ? "," : "", i);
    buf_cstr(&schema, "},\"required\":[\"p150\"],\"additionalProperties\":{\"type\":\"null\"}}");
    struct err e = {0};
    struct grammar *g = grammar_from_schema(buf_view(&schema), true, NULL, &e);
    if (!g) print_error("%s\n", e.msg);
    assert_non_null(g);
    const char *const text[] = {
        "{\"p150\":1}",     "{\"p0\":1, \"p15\":2, \"p16\":3, \"p150\":1, \"p199\":0, \"q\":null}",
        "!{\"p0\":1}",      "!{\"p150\":1,\"p149\":1}",
        "!{\"p150\":null}", NULL};
    assert_int_equal(check(g, text, "200 properties"), 0);
    grammar_free(g);
    buf_free(&schema);
}

static void test_schema_arrays(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
         {"[]", "[1]", "[1, 2,3]", "![\"a\"]", "![1,]", "![,1]"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}",
         {"[1,2]", "[1,2,3]", "![1]", "![1,2,3,4]", "![]"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"null\"}},"
         "\"maxItems\":2}",
         {"[[],[]]", "[[null],[null,null]]", "![[],[],[]]", "![[null],[null],[null]]"}},
        {"{\"type\":\"array\",\"minItems\":1}", {"[1]", "![]"}},
        {"{\"type\":\"array\",\"maxItems\":0}", {"[]", "![1]"}},
        {"{\"type\":\"array\",\"items\":{\"const\":1},\"minItems\":300}", {"![1,1]"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],"
         "\"items\":false}",
         {"[]", "[1]", "[1,\"a\"]", "![\"a\"]", "![1,\"a\",2]"}},
        {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"}],\"items\":{\"type\":"
         "\"null\"},\"minItems\":2}",
         {"[1,null]", "[1,null,null]", "![1]", "![1,1]"}},
        {"{\"type\":\"array\",\"items\":[{\"type\":\"integer\"}],\"additionalItems\":{\"type\":"
         "\"string\"}}",
         {"[1,\"a\"]", "![1,1]", "[]"}},
    };
    CHECK_ROWS(rows, from_schema);
}

static void test_schema_combined(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}",
         {"1", "\"a\"", "!\"ab\""}},
        {"{\"oneOf\":[{\"const\":\"a\"},{\"type\":\"null\"}]}", {"\"a\"", "null", "!1"}},
        {"{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},"
         "\"required\":[\"a\"]},{\"properties\":{\"a\":{\"minimum\":3},\"b\":{\"type\":\"null\"}}}]"
         "}",
         {"{\"a\":3,\"b\":null}", "!{\"a\":2}", "!{\"b\":null}", "!{\"a\":3,\"b\":1}"}},
        {"{\"type\":\"string\",\"allOf\":[{\"minLength\":2},{\"maxLength\":2},{\"pattern\":\"^a\"}]"
         "}",
         {"\"ab\"", "!\"a\"", "!\"bb\"", "!\"abc\""}},
        {"{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"}},\"anyOf\":[{"
         "\"required\":[\"k\"]},{\"maxProperties\":0}]}",
         {"{}", "{\"k\":\"\"}", "!{\"x\":1}"}},
        {"{\"$ref\":\"#/$defs/n\",\"$defs\":{\"n\":{\"type\":\"integer\"}}}", {"1", "!\"a\""}},
        {"{\"$defs\":{\"a~b/c%\":{\"type\":\"null\"}},\"$ref\":\"#/$defs/a~0b~1c%25\"}",
         {"null", "!1"}},
        {"{\"$defs\":{\"x\":{\"$anchor\":\"here\",\"type\":\"null\"}},\"$ref\":\"#here\"}",
         {"null", "!1"}},
        {"{\"$ref\":\"#/definitions/"
         "t\",\"definitions\":{\"t\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":"
         "\"integer\"},\"next\":{\"$ref\":\"#/definitions/"
         "t\"}},\"required\":[\"v\"],\"additionalProperties\":false}}}",
         {"{\"v\":1}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3}}}",
          "!{\"v\":1,\"next\":{}}"}},
        {"{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}", {"[]", "[[],[[]]]", "![1]"}},
        {"{\"allOf\":[{\"$ref\":\"#/$defs/"
         "a\"}],\"$defs\":{\"a\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"array\",\"items\":{\"$"
         "ref\":\"#/$defs/a\"}}]}}}",
         {"null", "[null,[]]", "!1"}},
        {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}],\"oneOf\":[{\"type\":"
         "\"integer\"},{\"type\":\"null\"}]}",
         {"1", "!null", "!\"a\""}},
        {"{\"anyOf\":[true,{\"type\":\"null\"}],\"type\":\"integer\"}", {"1", "!null"}},
    };
    CHECK_ROWS(rows, from_schema);
}

static void test_schema_errors(void **state) {
    (void)state;
    static const struct error_row errors[] = {
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"not\":{}}}}",
         "/properties/a: the keyword 'not'", -1},
        {"{\"if\":{}}", "the keyword 'if'", -1},
        {"{\"uniqueItems\":true}", "'uniqueItems'", -1},
        {"{\"bogus\":1}", "'bogus'", -1},
        {"{\"$ref\":\"http://x/y\"}", "the reference 'http://x/y'", -1},
        {"{\"$ref\":\"#/nowhere\"}", "the reference", -1},
        {"{\"$ref\":\"#\"}", "back to itself", -1},
        {"{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "lookahead", -1},
        {"{\"type\":\"string\",\"format\":\"zork\"}", "the format 'zork'", -1},
        {"{\"type\":\"strange\"}", "'type'", -1},
        {"false", "nothing matches", -1},
        {"{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", "nothing matches", -1},
        {"{\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#/$defs/"
         "a\"}},\"required\":[\"x\"]}},\"$ref\":\"#/$defs/a\"}",
         "nothing matches", -1},
        {"{\"type\":", "JSON", -1},
    };
    CHECK_ERRORS(errors, from_schema);
    struct buf notes = {0};
    struct err e = {0};
    struct grammar *g =
        grammar_from_schema(STR("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\","
                                "\"not\":{\"const\":\"x\"},\"pattern\":\"\\\\bx\"}},\"x-ours\":1}"),
                            false, &notes, &e);
    assert_non_null(g);
    assert_non_null(strstr(notes.p, "/properties/a: the keyword 'not'"));
    assert_non_null(strstr(notes.p, "word boundary"));
    const char *const text[] = {"{\"a\":\"anything\"}", "!{\"a\":1}", NULL};
    assert_int_equal(check(g, text, "widened"), 0);
    grammar_free(g);
    buf_free(&notes);
}

/* ---- masks ---- */

struct word {
    const char *text;
    enum token_use use;
};
static const struct word fixed[] = {{"<end>", TOKEN_USE_END}, {"<call>", TOKEN_USE_ID_ONLY}};
enum { N_VOCAB = 3000 };
struct test_vocab {
    char text[N_VOCAB][12];
    size_t len[N_VOCAB];
};

static enum token_use view(const void *ctx, int32_t id, struct str *bytes) {
    const struct test_vocab *v = ctx;
    if (id < 2) return fixed[id].use;
    *bytes = (struct str){v->text[id], v->len[id]};
    return TOKEN_USE_TEXT;
}

/* All bytes, then pieces of JSON and of words. */
static struct grammar_vocab *make_vocab(struct test_vocab *v) {
    static const char pieces[] =
        "{}[]\",: \n\t0123456789-.etruefalsnabcdefghij\\un\xC3\xA9\xE2\x82\xAC<>/=_Z";
    static const char *const characters[] = {"a",      "x",      "7",      "-",         "\"",
                                             "\u00A0", "\u00E9", "\u2003", "\u205F",    "\u20AC",
                                             "\u3000", "\u3042", "\u4E00", "\U0001F600"};
    struct rng r = {7};
    memset(v, 0, sizeof *v);
    for (int id = 2; id < N_VOCAB; id++) {
        if (id >= 258 && id % 4 == 3) { /* whole characters, or all but the last byte */
            while (v->len[id] < 7) {
                const char *c = characters[rng_below(&r, sizeof characters / sizeof *characters)];
                memcpy(v->text[id] + v->len[id], c, strlen(c));
                v->len[id] += strlen(c);
            }
            v->len[id] -= rng_below(&r, 2);
            continue;
        }
        size_t among = id % 2 ? sizeof pieces - 1 : 8; /* half of them of eight letters only */
        const char *from = id % 2 ? pieces : strstr(pieces, "abcdefgh");
        v->len[id] = id < 258 ? 1 : 1 + rng_below(&r, 6);
        for (size_t k = 0; k < v->len[id]; k++)
            v->text[id][k] = id < 258 ? (char)(id - 2) : from[rng_below(&r, among)];
    }
    struct err e = {0};
    struct grammar_vocab *gv = mask_vocab_new(v, N_VOCAB, view, &e);
    if (!gv) print_error("%s\n", e.msg);
    assert_non_null(gv);
    return gv;
}

/* A walk of random allowed tokens; at every position the mask has to say the same as trying every
 * token on a copy. */
static int walk(struct grammar *g, struct grammar_vocab *gv, uint64_t seed, int steps) {
    struct grammar_state *s = grammar_start(g, gv, NULL);
    uint32_t mask[(N_VOCAB + 31) / 32];
    struct rng r = {seed};
    int bad = 0;
    for (int i = 0; i < steps; i++) {
        assert_true(grammar_mask(s, mask));
        int32_t allowed[N_VOCAB];
        size_t n = 0;
        for (int32_t id = 0; id < N_VOCAB; id++) {
            bool bit = mask[id >> 5] >> (id & 31) & 1, ok = grammar_token(s, id);
            if (ok) grammar_rollback(s, 1);
            if (bit != ok && bad++ == 0)
                print_error("step %d: token %d is %s, the mask says otherwise\n", i, (int)id,
                            ok ? "allowed" : "refused");
            if (ok && id) allowed[n++] = id;
        }
        if (n == 0) break;
        assert_true(grammar_token(s, allowed[rng_below(&r, n)]));
    }
    grammar_end(s);
    return bad;
}

static void test_masks(void **state) {
    (void)state;
    static const char *const schemas[] = {
        "{\"type\":\"string\"}",
        "{\"type\":\"string\",\"maxLength\":7}",
        "{\"type\":\"string\",\"minLength\":3,\"maxLength\":300}",
        "{\"type\":\"string\",\"minLength\":2,\"maxLength\":2}",
        "{\"type\":\"string\",\"minLength\":4,\"maxLength\":5}",
        "{\"type\":\"string\",\"minLength\":40}",
        "{\"type\":\"string\",\"pattern\":\"\\\\.json$\"}",
        "{\"type\":\"string\",\"pattern\":\"^[a-f]+(-[0-9]+)*$\"}",
        "{\"type\":\"string\",\"format\":\"hostname\"}",
        "{\"type\":\"string\",\"pattern\":\"^[^\\\\s@]{1,9}x[^-]*$\"}",
        "{\"type\":\"string\",\"pattern\":\"^[^\\\\s7]*$\",\"minLength\":2,\"maxLength\":40}",
        "{\"type\":\"string\",\"pattern\":\"^(ab)?[^\\\\u3042-\\\\u4dff]{3,50}$\"}",
        "{}",
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"ab\":{\"type\":"
        "\"integer\",\"minimum\":3},\"b\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}},"
        "\"required\":[\"ab\"]}",
        "{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"ab\",\"abc\",1,12,null]},\"maxItems\":"
        "400}",
        "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"},\"x\":{\"type\":"
        "\"string\"}},\"required\":[\"k\"]},{\"type\":\"object\",\"properties\":{\"k\":{\"const\":"
        "\"b\"}},\"required\":[\"k\"],\"additionalProperties\":false}]}",
    };
    static struct test_vocab v;
    struct grammar_vocab *gv = make_vocab(&v);
    int bad = 0;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct err e = {0};
        struct grammar *g = grammar_from_schema(str_of(schemas[i]), true, NULL, &e);
        if (!g) print_error("%s\n", e.msg);
        assert_non_null(g);
        for (uint64_t seed = 1; seed <= 4; seed++) bad += walk(g, gv, seed, 25);
        if (bad) print_error("after %s\n", schemas[i]);
        grammar_free(g);
    }
    static const char *const gbnf[] = {
        "root ::= a\na ::= \"a\" a \"b\" | \"a\" a \"c\" | \"\"",
        "root ::= (\"a\" | \"aa\"){0,40} \"e\"",
        "root ::= ([a-e]+ \",\" | [0-9]+ \",\")* <[1]> [^\"]*",
        "root ::= [a-j]{2,5} \"a\" | \"-\" [^0-9]{1,4} [a-z]*",
        "root ::= x y \"!\"\nx ::= [a-e]*\ny ::= [a-z ]* | [^a-z]{0,3} x",
        "root ::= (x | x x){2,3} \".\"\nx ::= [a-j]{0,4} [0-9]",
        "root ::= x \"a!\"\nx ::= ([a-h] | "
        "\"0123456789012345678901234567890123456789012345678"
        "901234567890123456789\"){1,4}",
        "root ::= x{3} x*\nx ::= [a-z] | [\\x80-\\U0010FFFF]",
    };
    for (size_t i = 0; i < sizeof gbnf / sizeof *gbnf; i++) {
        struct grammar *g = grammar_from_gbnf(str_of(gbnf[i]), NULL);
        assert_non_null(g);
        for (uint64_t seed = 1; seed <= 4; seed++) bad += walk(g, gv, seed, 25);
        grammar_free(g);
    }
    assert_int_equal(bad, 0);
    grammar_vocab_free(gv);
}

static void test_tokens_by_id(void **state) {
    (void)state;
    static struct test_vocab v;
    struct grammar_vocab *gv = make_vocab(&v);
    struct grammar *g = grammar_from_gbnf(STR("root ::= [^x]* <[1]> \"x\""), NULL);
    struct grammar_state *s = grammar_start(g, gv, NULL);
    size_t n;
    assert_true(grammar_bytes(s, STR("<call>"), &n)); /* the same bytes are only text */
    assert_false(grammar_token(s, 2 + 'x'));
    assert_false(grammar_token(s, 0));
    assert_true(grammar_token(s, 1));
    struct buf forced = {0};
    assert_true(grammar_forced(s, &forced));
    assert_string_equal(forced.p, "x");
    buf_free(&forced);
    struct grammar_state *copy = grammar_fork(s, NULL);
    assert_true(grammar_token(s, 2 + 'x'));
    assert_true(grammar_done(s));
    assert_false(grammar_done(copy));
    assert_true(grammar_token(s, 0)); /* the end, now that it is complete */
    assert_true(grammar_rollback(s, 3));
    assert_false(grammar_token(s, 2 + 'x'));
    assert_false(grammar_rollback(s, 100));
    grammar_end(s);
    assert_true(grammar_token(copy, 2 + 'x'));
    grammar_end(copy);
    grammar_free(g);
    grammar_vocab_free(gv);
}

static int n_made;
static struct grammar *make_regex(void *ctx, struct buf *notes, struct err *e) {
    n_made++;
    buf_cstr(notes, "a note");
    return grammar_from_regex(str_of(ctx), e);
}

static void test_cache(void **state) {
    (void)state;
    struct grammar_cache *c = grammar_cache_new(NULL);
    struct buf notes = {0};
    char pattern[16];
    n_made = 0;
    for (int i = 0; i < 300; i++) {
        snprintf(pattern, sizeof pattern, "a{%d}", i % 3 == 0 ? 1 : i);
        struct grammar *g =
            grammar_cache_get(c, str_of(pattern), make_regex, pattern, &notes, NULL);
        const char *const text[] = {i % 3 == 0 ? "a" : "!", NULL};
        assert_int_equal(check(g, text, pattern), 0);
        assert_string_equal(notes.p, "a note");
        buf_clear(&notes);
        grammar_free(g);
    }
    assert_int_equal(n_made, 200); /* the one in regular use was made once */
    struct err e = {0};
    assert_null(grammar_cache_get(c, STR("("), make_regex, "(", NULL, &e));
    assert_int_equal(e.code, ERR_FORMAT);
    buf_free(&notes);
    grammar_cache_free(c);
}

/* A long generation through few cached tables: the tables are cleaned, positions survive. */
static void test_bounded_memory(void **state) {
    (void)state;
    struct grammar *g = grammar_from_schema(STR("{}"), true, NULL, NULL);
    struct grammar_state *s = grammar_start(g, NULL, NULL);
    size_t n;
    assert_true(grammar_bytes(s, STR("["), &n));
    for (int i = 0; i < 3000; i++) {
        char item[64];
        snprintf(item, sizeof item, "{\"k%d\": [[[\"v%d\", %d.%d]]]}, ", i, i, i, i);
        assert_true(grammar_bytes(s, str_of(item), &n));
        for (int k = 0; i % 16 == 0 && k < 200; k++) assert_true(grammar_bytes(s, STR("["), &n));
        for (int k = 0; i % 16 == 0 && k < 200; k++) assert_true(grammar_bytes(s, STR("]"), &n));
        if (i % 16 == 0) assert_true(grammar_bytes(s, STR(", "), &n));
    }
    assert_true(grammar_memory(s) < 40 << 20);
    assert_true(grammar_bytes(s, STR("1]"), &n));
    assert_true(grammar_done(s));
    grammar_end(s);
    grammar_free(g);
}

/* Every allocation fails once: an error, never a crash, and nothing is lost. */
static void test_no_memory(void **state) {
    (void)state;
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^a+$\"},"
        "\"n\":{\"minimum\":3}},\"required\":[\"a\"]}";
    bool done = false;
    for (int64_t n = 1; n < 4000 && !done; n++) {
        struct err e = {0};
        mem_fail_after(n);
        struct grammar *g = grammar_from_schema(STR(schema), true, NULL, &e);
        if (!g) {
            mem_fail_after(0);
            assert_int_not_equal(e.code, ERR_NONE);
            continue;
        }
        struct grammar_state *s = grammar_start(g, NULL, &e);
        size_t taken;
        bool ok = s && grammar_bytes(s, STR("{\"a\":\"aaa\",\"n\":4}"), &taken) && grammar_done(s);
        mem_fail_after(0);
        done = ok;
        grammar_end(s);
        grammar_free(g);
    }
    assert_true(done);
}

static void test_hostile(void **state) {
    (void)state;
    struct buf b = {0};
    struct err e = {0};
    for (int i = 0; i < 60; i++) buf_cstr(&b, "{\"items\":");
    buf_cstr(&b, "1");
    for (int i = 0; i < 60; i++) buf_char(&b, '}');
    struct grammar *g = grammar_from_schema(buf_view(&b), true, NULL, &e);
    assert_null(g);
    buf_clear(&b);
    for (int i = 0; i < 5000; i++) buf_char(&b, '(');
    assert_null(grammar_from_regex(buf_view(&b), &e));
    buf_clear(&b);
    buf_cstr(&b, "root ::= ");
    for (int i = 0; i < 5000; i++) buf_char(&b, '(');
    assert_null(grammar_from_gbnf(buf_view(&b), &e));
    assert_non_null(strstr(e.msg, "nested"));
    buf_clear(&b);
    for (int i = 0; i < 2 << 20; i++) buf_char(&b, ' ');
    assert_null(grammar_from_schema(buf_view(&b), true, NULL, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    buf_free(&b);
}

/* Compiles one hostile text: a grammar or an error that says something, in 100 ms of the processor
 * and 64 MB. */
static void hostile(char kind, struct str text) {
    struct err e = {0};
    uint64_t before = os_memory_resident();
    clock_t start = clock();
    struct grammar *g = kind == 'r'   ? grammar_from_regex(text, &e)
                        : kind == 'g' ? grammar_from_gbnf(text, &e)
                                      : grammar_from_schema(text, false, NULL, &e);
    double ms = (double)(clock() - start) * 1e3 / CLOCKS_PER_SEC;
    double mb = ((double)os_memory_resident() - (double)before) / 1e6;
    if (getenv("VERBOSE"))
        print_message("%6.1f ms %5.1f MB %.60s: %s\n", ms, mb, text.p, g ? "ok" : e.msg);
    assert_true(g || strlen(e.msg) > 10);
    if (!getenv("TEST_SANITIZED") && (ms > 250 || mb > 64)) /* 100 ms; neighbours cost some */
        fail_msg("%.60s took %.1f ms and %.1f MB", text.p, ms, mb);
    grammar_free(g);
}

static const char *const hostile_patterns[] = {"(a|a)*b",
                                               "(.*a.{20}){3}",
                                               "((((a{100}){100}){100}){100})",
                                               "(x+x+)+y",
                                               "([a-z]{1,1000}){1,1000}",
                                               ".*a.{14}",
                                               "(.*){30}",
                                               "(a?){500}a{500}",
                                               "(\\w+\\s?)*@",
                                               "(.{1,100}){50}",
                                               "(ab|a|b|abc){300}",
                                               "^(([a-z])+.)+[A-Z]([a-z])+$",
                                               ".{5000}",
                                               "[^x]{2000}y[^x]{2000}",
                                               "((a{1,30}){1,30}){1,30}",
                                               "(a|b|c|d|e|f)*a(a|b|c|d|e|f){11}",
                                               "([01]*1[01]{13})",
                                               "(.*x){3}.{12}"};
enum { N_HOSTILE_PATTERNS = sizeof hostile_patterns / sizeof *hostile_patterns };

static void test_hostile_patterns(void **state) {
    (void)state;
    struct buf all = {0}, both = {0}, one = {0};
    buf_cstr(&all, "{\"properties\": {");
    buf_cstr(&both, "{\"type\": \"string\", \"allOf\": [");
    for (int i = 0; i < 4 * N_HOSTILE_PATTERNS; i++) {
        const char *p = hostile_patterns[i % N_HOSTILE_PATTERNS];
        char escaped[128], *to = escaped;
        for (const char *c = p; *c; c++) {
            if (*c == '\\') *to++ = '\\';
            *to++ = *c;
        }
        *to = 0;
        if (i < N_HOSTILE_PATTERNS) {
            buf_clear(&one);
            buf_printf(&one, "{\"type\": \"string\", \"pattern\": \"%s\"}", escaped);
            hostile('r', str_of(p));
            hostile('s', buf_view(&one));
        }
        buf_printf(&all, "%s\"p%d\": {\"pattern\": \"%s%d\", \"maxLength\": %d}", i ? ", " : "", i,
                   escaped, i, 40 + i);
        buf_printf(&both, "%s{\"pattern\": \"%s%d\"}", i ? ", " : "", escaped, i);
    }
    buf_cstr(&all, "}}");
    buf_cstr(&both, "]}");
    hostile('s', buf_view(&all));
    hostile('s', buf_view(&both));
    buf_free(&all);
    buf_free(&both);
    buf_free(&one);
}

static void test_hostile_grammars(void **state) {
    (void)state;
    static const char *const schemas[] = {
        "{\"$ref\": \"#\"}",
        "{\"$ref\": \"#/a\"}",
        "{\"allOf\": [{\"$ref\": \"#\"}, {\"$ref\": \"#\"}]}",
        "{\"anyOf\": [{\"$ref\": \"#\"}, {\"items\": {\"$ref\": \"#\"}}]}",
        "{\"items\": {\"$ref\": \"#\"}, \"minItems\": 1, \"type\": \"array\"}",
        "{\"minItems\": 999999999, \"maxItems\": 1e300}",
        "{\"maxLength\": -1, \"minLength\": 1e99}",
        "{\"multipleOf\": 1e-300}",
        "{\"minimum\": -1e308, \"maximum\": 1e308, \"multipleOf\": 999999937}",
        "{\"patternProperties\": {\".*a.{9}\": {}, \".*b.{9}\": {}, \".*c.{9}\": {}}}",
        "{\"type\": \"\\ud800\"}",
        "{\"enum\": [\"\xff\"]}",
        "[",
        "{\"type\": [[[[]]]]}"};
    static const char *const gbnf[] = {
        "root ::= root \"a\"",
        "root ::= a\na ::= b\nb ::= a",
        "root ::= (\"\"*)*",
        "root ::= x",
        "root ::= [\xff-\xfe]*",
        "root ::= \"a\"{1000000000}",
        "root ::= a a a a\na ::= b b b b\nb ::= c c c c\nc ::= d{1000}\nd ::= [a-z]{1000} | root",
        "root ::= (((\"a\"?)*)+)*",
        "root ::=",
        "::=",
        "root ::= \"\\x\""};
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) hostile('s', str_of(schemas[i]));
    for (size_t i = 0; i < sizeof gbnf / sizeof *gbnf; i++) hostile('g', str_of(gbnf[i]));
}

/* What is too large: refused when strict, otherwise widened in its place, with a note; in the time
 * and memory of hostile(). */
static void too_large(struct str schema, const char *path, const char *member, const char *other) {
    struct err e = {0};
    struct buf notes = {0};
    hostile('s', schema);
    assert_null(grammar_from_schema(schema, true, NULL, &e));
    assert_true(e.code == ERR_LIMIT || e.code == ERR_UNSUPPORTED);
    struct grammar *g = grammar_from_schema(schema, false, &notes, &e);
    if (!g) print_error("%s\n", e.msg);
    assert_non_null(g);
    assert_non_null(strstr(notes.p, path));
    assert_true(notes.len < 20000);
    size_t n;
    struct grammar_state *s = grammar_start(g, NULL, &e);
    assert_true(grammar_bytes(s, str_of(member), &n) && grammar_done(s));
    grammar_end(s);
    s = grammar_start(g, NULL, &e);
    assert_false(grammar_bytes(s, str_of(other), &n) && grammar_done(s));
    grammar_end(s);
    grammar_free(g);
    buf_free(&notes);
}

static void test_too_large(void **state) {
    (void)state;
    struct buf b = {0};
    buf_cstr(&b, "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}");
    for (int k = 0; k < 10; k++) {
        buf_printf(&b, ",\"o%d\":{\"type\":\"object\",\"properties\":{", k);
        for (int i = 0; i < 4000; i++) buf_printf(&b, "%s\"p%d\":{}", i ? "," : "", i);
        buf_cstr(&b, "}}");
    }
    buf_cstr(&b, "}}");
    too_large(buf_view(&b), "/properties/o2",
              "{\"n\": 1, \"o0\": {\"p7\": [1]}, \"o9\": {\"x\": 2}}", "{\"n\": 1, \"o9\": [1]}");
    buf_clear(&b);
    buf_cstr(&b,
             "{\"type\":\"object\",\"required\":[\"a\",\"b\"],\"properties\":{\"a\":{\"anyOf\":[");
    for (int i = 0; i < 300; i++) buf_printf(&b, "%s{\"const\":%d}", i ? "," : "", i);
    buf_cstr(&b, "]},\"b\":{\"enum\":[");
    for (int i = 0; i < 40000; i++) buf_printf(&b, "%s\"value %d\"", i ? "," : "", i);
    buf_cstr(&b, "],\"type\":\"string\"}}}");
    too_large(buf_view(&b), "/properties/a", "{\"a\": 301, \"b\": \"other\"}", "{\"a\": 1}");
    buf_clear(&b);
    for (int i = 0; i < 90; i++) buf_cstr(&b, "{\"type\":\"array\",\"items\":");
    buf_cstr(&b, "true");
    for (int i = 0; i < 90; i++) buf_char(&b, '}');
    too_large(buf_view(&b), "/items/items/items", "[[[]]]", "[[1]]");
    buf_clear(&b);
    buf_cstr(&b, "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"null\"}");
    for (int i = 0; i < 5000; i++)
        buf_printf(&b, ",\"p%d\":{\"type\":\"string\",\"pattern\":\"^[a-z]{1,%d}x[0-9]+$\"}", i,
                   i % 50 + 1);
    buf_cstr(&b, "}}");
    too_large(buf_view(&b), "schema at /:", "{\"p1\": 1}", "[]");
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gbnf),
        cmocka_unit_test(test_lark),
        cmocka_unit_test(test_lark_in_schema),
        cmocka_unit_test(test_regex),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_schema_scalars),
        cmocka_unit_test(test_schema_numbers),
        cmocka_unit_test(test_schema_objects),
        cmocka_unit_test(test_schema_large_object),
        cmocka_unit_test(test_schema_arrays),
        cmocka_unit_test(test_schema_combined),
        cmocka_unit_test(test_schema_errors),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_tokens_by_id),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_bounded_memory),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_hostile_patterns),
        cmocka_unit_test(test_hostile_grammars),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
