/* The template interpreter against reference renderings: every template and conversation of
 * shared/vectors/templates (rules in its README) and every probe, byte for byte. Skips without
 * the shared folder; tests/unit/jinja.c checks the same constructs with texts of our own. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/os.h"
#include "text/jinja.h"

static const struct tm sunday_noon = {
    .tm_year = 126, .tm_mon = 10, .tm_mday = 22, .tm_hour = 12, .tm_yday = 325, .tm_isdst = -1};

static bool shared_path(char *out, size_t size, const char *name) {
    const char *root = getenv("HOLDFAST_SHARED");
    snprintf(out, size, "%s/%s", root ? root : "../shared", name);
    FILE *f = fopen(out, "rb");
    if (f) fclose(f);
    return f != NULL;
}

static json_t *load(const char *name) {
    char path[1024];
    struct err e;
    if (!shared_path(path, sizeof path, name)) return NULL;
    json_t *v = json_load(path, 64 << 20, &e);
    if (!v) fail_msg("%s: %s", path, e.msg);
    return v;
}

/* One rendering compared with one expected result; prints the first difference. */
struct check {
    const struct jinja *t;
    const char *label;
    bool html_safe;
    int failures;
};

static void complain(struct check *c, const char *what, struct str got, struct str want) {
    size_t i = 0;
    while (i < got.len && i < want.len && got.p[i] == want.p[i]) i++;
    size_t from = i > 60 ? i - 60 : 0;
    if (c->failures++ < 20)
        print_error("%s: %s at byte %zu\n  got  %.*s\n  want %.*s\n", c->label, what, i,
                    (int)(got.len - from < 140 ? got.len - from : 140), got.p + from,
                    (int)(want.len - from < 140 ? want.len - from : 140), want.p + from);
}

static struct str text_of(const json_t *object, const char *key) {
    return json_get_str(object, key);
}

/* Whether `result` (a RESULT of the README) is what rendering gave. */
static bool matches(bool ok, const struct jinja_output *out, const json_t *result) {
    struct str want = text_of(result, "rendered"), got = buf_view(&out->text);
    if (json_object_get(result, "rendered")) return ok && str_eq(got, want);
    if (ok) return false;
    bool raised = str_is(text_of(result, "kind"), "raise_exception");
    return raised == out->raised &&
           (!raised || (out->message && str_is(text_of(result, "error"), out->message)));
}

static void run(struct check *c, const json_t *vars, const json_t *result) {
    struct jinja_input in = {.vars = vars, .now = &sunday_noon, .html_safe = c->html_safe};
    struct jinja_output out = {0};
    struct err e = {0};
    bool ok = jinja_render(c->t, &in, &out, &e);
    const json_t *extended = json_object_get(result, "extended"),
                 *safe_noop = json_object_get(result, "safe_noop");
    bool good = matches(ok, &out, extended ? extended : result);
    if (!good && safe_noop) good = matches(ok, &out, safe_noop);
    if (!good) {
        if (extended) result = extended;
        const char *key = json_object_get(result, "rendered") ? "rendered" : "error";
        struct str got = ok ? buf_view(&out.text) : str_of(e.msg);
        complain(c, ok ? "other text" : "error", got, text_of(result, key));
    }
    jinja_output_free(&out);
}

/* transformers: a tag behind the last text of the last message, the output cut at the tag. */
static const char tag[] = "CONTINUE_FINAL_MESSAGE_TAG ";

static void tag_last_text(json_t *messages) {
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_t *content = json_object_get(last, "content");
    struct buf b = {0};
    if (json_is_string(content)) {
        buf_add(&b, json_string_value(content), json_string_length(content));
        buf_cstr(&b, tag);
        json_object_set_new(last, "content", json_stringn(b.p, b.len));
    }
    buf_free(&b);
}

static void run_continued(struct check *c, json_t *vars, const json_t *result) {
    struct jinja_output out = {0};
    struct err e = {0};
    json_t *messages = json_deep_copy(json_object_get(vars, "messages"));
    tag_last_text(messages);
    json_object_set_new(vars, "messages", messages);
    struct jinja_input in = {.vars = vars, .now = &sunday_noon};
    bool ok = jinja_render(c->t, &in, &out, &e);
    struct str got = buf_view(&out.text), want = text_of(result, "rendered");
    int64_t last = -1, hit;
    for (size_t i = 0; (hit = str_find(got, STR("CONTINUE_FINAL_MESSAGE_TAG"), i)) >= 0;)
        last = hit, i = (size_t)hit + 1;
    bool not_found = ok && last < 0;
    if (ok && last >= 0) {
        bool trimmed = !str_starts((struct str){got.p + last, got.len - (size_t)last}, str_of(tag));
        got.len = (size_t)last;
        while (trimmed && got.len && strchr(" \n\t\r", got.p[got.len - 1])) got.len--;
    }
    bool good = not_found ? str_is(text_of(result, "kind"), "continue_final_message")
                : json_object_get(result, "rendered") ? ok && str_eq(got, want)
                                                      : !ok;
    if (!good) complain(c, "continued", ok ? got : str_of(e.msg), want);
    jinja_output_free(&out);
}

static json_t *variables(const json_t *conversation, bool undefined_tools) {
    json_t *vars = undefined_tools ? json_pack("{s:b}", "add_generation_prompt", 0)
                                   : json_pack("{s:n,s:n,s:b}", "tools", "documents",
                                               "add_generation_prompt", 0);
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(conversation, "kwargs"), key, value) {
        bool skip = undefined_tools && json_is_null(value) &&
                    (strcmp(key, "tools") == 0 || strcmp(key, "documents") == 0);
        if (!skip) json_object_set(vars, key, value);
    }
    json_object_set(vars, "messages", json_object_get(conversation, "messages"));
    return vars;
}

static int run_template(const char *file, const json_t *conversations, int *n) {
    char path[1024], label[256];
    struct os_map map;
    struct err e;
    snprintf(label, sizeof label, "vectors/templates/%.*s.json", (int)strlen(file) - 6, file);
    json_t *vector = load(label);
    if (!vector) return 0;
    snprintf(label, sizeof label, "data/templates/%s", file);
    if (!shared_path(path, sizeof path, label) || !os_map_open(&map, path, &e))
        fail_msg("%s", path);
    struct jinja *t = jinja_parse((struct str){(const char *)map.data, map.len}, &e);
    os_map_close(&map);
    if (!t) fail_msg("%s: %s", file, e.msg);
    struct check c = {.t = t, .label = label};
    size_t i;
    json_t *conversation;
    json_array_foreach(conversations, i, conversation) {
        const char *id = json_string_value(json_object_get(conversation, "id"));
        json_t *result = json_object_get(json_object_get(vector, "results"), id), *other;
        if (!result) continue;
        snprintf(label, sizeof label, "%s %s", file, id);
        json_t *vars = variables(conversation, false);
        bool continued = json_is_true(json_object_get(conversation, "continue_final_message"));
        if (continued) run_continued(&c, vars, result);
        else run(&c, vars, result);
        json_decref(vars);
        ++*n;
        if (!(other = json_object_get(result, "tools_undefined"))) continue;
        vars = variables(conversation, true);
        if (continued) run_continued(&c, vars, other);
        else run(&c, vars, other);
        json_decref(vars);
        ++*n;
    }
    jinja_free(t);
    json_decref(vector);
    return c.failures;
}

static void test_templates(void **state) {
    (void)state;
    char path[1024];
    json_t *conversations = load("vectors/templates/conversations.json");
    if (!conversations) skip();
    shared_path(path, sizeof path, "data/templates");
    DIR *dir = opendir(path);
    if (!dir) skip();
    int failures = 0, files = 0, n = 0;
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        size_t len = strlen(d->d_name);
        if (len < 6 || strcmp(d->d_name + len - 6, ".jinja") != 0) continue;
        failures += run_template(d->d_name, conversations, &n);
        files++;
    }
    closedir(dir);
    json_decref(conversations);
    print_message("%d templates, %d renderings, %d differ\n", files, n, failures);
    assert_int_equal(failures, 0);
}

static void test_probes(void **state) {
    (void)state;
    json_t *probes = load("vectors/templates/probes.json"), *probe;
    if (!probes) skip();
    size_t i;
    int failures = 0;
    json_array_foreach(probes, i, probe) {
        struct err e = {0};
        struct str source = text_of(probe, "template");
        struct jinja *t = jinja_parse(source, &e);
        struct check c = {.t = t, .label = source.p, .html_safe = true};
        if (t) run(&c, json_object_get(probe, "context"), probe);
        else if (!json_object_get(probe, "error"))
            complain(&c, "does not parse", str_of(e.msg), text_of(probe, "rendered"));
        failures += c.failures;
        jinja_free(t);
    }
    print_message("%zu probes, %d differ\n", json_array_size(probes), failures);
    json_decref(probes);
    assert_int_equal(failures, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_probes),
                                       cmocka_unit_test(test_templates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
