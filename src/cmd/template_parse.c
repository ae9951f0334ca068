/* holdfast template --parse and --markup: what a generation says, and what the template's markup
 * is. Called by template.c. */
#include "cmd/template_parse.h"
#include "base/json.h"
#include "base/limits.h"
#include "cmd/cmd.h"
#include "text/chat.h"
#include "text/descr.h"
#include "text/toolcall.h"

#include <stdio.h>
#include <string.h>

static bool print_json(json_t *v) {
    struct buf b = {0};
    bool ok = v && json_write(&b, v) && printf("%s\n", b.p) >= 0;
    buf_free(&b);
    json_decref(v);
    return ok;
}

/* ---- events */

static const char *const kinds[] = {"text", "reasoning", "call"};

static void print_event(void *ctx, const struct toolcall_event *ev) {
    static const char *const types[] = {"start", "delta", "end", "stop"};
    bool *ok = ctx;
    json_t *v = json_pack("{s:s}", "event", types[ev->type]);
    if (ev->type != TOOLCALL_STOP) {
        json_object_set_new(v, "block", json_integer(ev->index));
        json_object_set_new(v, "kind", json_string(kinds[ev->kind]));
    }
    if (ev->name.len) {
        json_object_set_new(v, "id", json_text(ev->id));
        json_object_set_new(v, "name", json_text(ev->name));
    }
    if (ev->type == TOOLCALL_DELTA) json_object_set_new(v, "text", json_text(ev->text));
    if (ev->type == TOOLCALL_END)
        json_object_set_new(v, "end", json_string(ev->complete ? "complete" : "cut"));
    if (ev->malformed) json_object_set_new(v, "malformed", json_true());
    json_object_set_new(v, "raw",
                        json_pack("[I,I]", (json_int_t)ev->raw_from, (json_int_t)ev->raw_to));
    *ok = print_json(v) && *ok;
}

/* ---- the sum of them */

struct sum {
    struct buf content, reasoning, args;
    json_t *calls;
};

static void add_call(struct sum *s, const struct toolcall_event *ev) {
    json_t *args = json_parse(buf_view(&s->args), LIMIT_JSON_BYTES, NULL);
    json_t *call = json_object();
    json_object_set_new(call, "name", json_text(ev->name));
    json_object_set_new(call, "arguments", args ? args : json_text(buf_view(&s->args)));
    if (!ev->complete) json_object_set_new(call, "cut", json_true());
    if (ev->malformed) json_object_set_new(call, "malformed", json_true());
    json_array_append_new(s->calls, call);
    buf_clear(&s->args);
}

static void add_event(void *ctx, const struct toolcall_event *ev) {
    struct sum *s = ctx;
    struct buf *to[] = {&s->content, &s->reasoning, &s->args};
    if (ev->type == TOOLCALL_DELTA) buf_str(to[ev->kind], ev->text);
    if (ev->type == TOOLCALL_END && ev->kind == TOOLCALL_CALL) add_call(s, ev);
}

static bool print_sum(struct sum *s, struct err *e) {
    bool failed = s->content.failed || s->reasoning.failed || s->args.failed;
    json_t *v = json_pack("{s:o,s:o,s:O}", "content", json_text(buf_view(&s->content)), "reasoning",
                          json_text(buf_view(&s->reasoning)), "calls", s->calls);
    bool ok = print_json(v) && !failed;
    buf_free(&s->content);
    buf_free(&s->reasoning);
    buf_free(&s->args);
    json_decref(s->calls);
    return ok || err_nomem(e, "calls", 0);
}

/* ---- */

static struct str trim(struct str s) {
    while (s.len && strchr(" \n\r\t", s.p[0])) s.p++, s.len--;
    while (s.len && strchr(" \n\r\t", s.p[s.len - 1])) s.len--;
    return s;
}

/* Without a prompt we know what the template adds by itself, and the whole generation: one that
 * closes a reasoning block which it did not open began inside of it. */
static bool began_thinking(const struct descr *d, struct str text) {
    struct str open = trim(d->think_open), close = trim(d->think_close);
    int64_t end = close.len ? str_find(text, close, 0) : -1;
    int64_t start = open.len ? str_find(text, open, 0) : -1;
    return !d->framed && end >= 0 && trim((struct str){text.p, (size_t)end}).len &&
           (start < 0 || start > end);
}

static bool probe(const struct chat *c, struct descr *d, struct err *e) {
    return descr_probe(d, chat_jinja(c, true), chat_bos(c), chat_eos(c), e);
}

bool template_parse(const struct chat *c, const struct template_parse *o, struct err *e) {
    struct descr d = {0};
    struct buf text = {0};
    struct sum sum = {.calls = json_array()};
    bool printed = true;
    bool ok = probe(c, &d, e) && cmd_read("-", LIMIT_PROMPT_BYTES, &text, e);
    struct toolcall_options q = {.tools = o->tools, .prompt = o->prompt};
    if (ok && !q.prompt.p && began_thinking(&d, buf_view(&text))) q.prompt = d.think_open;
    struct toolcall *p = ok ? toolcall_open(&d, &q, o->events ? print_event : add_event,
                                            o->events ? (void *)&printed : (void *)&sum, e)
                            : NULL;
    size_t piece = o->split > 0 ? (size_t)o->split : text.len;
    for (size_t i = 0; p && i < text.len; i += piece) {
        size_t n = piece < text.len - i ? piece : text.len - i;
        if (!toolcall_feed(p, (struct str){text.p + i, n}, TOOLCALL_ANY)) break;
    }
    ok = p && (toolcall_finish(p, false) || err_nomem(e, "output parser", 0));
    if (ok && !o->events) ok = print_sum(&sum, e);
    else json_decref(sum.calls);
    toolcall_close(p);
    descr_free(&d);
    buf_free(&text);
    return ok && (printed || err_nomem(e, "events", 0));
}

static void put_text(json_t *v, const char *key, struct str s) {
    if (s.len) json_object_set_new(v, key, json_text(s));
}
static void put_flag(json_t *v, const char *key, bool yes) {
    if (yes) json_object_set_new(v, key, json_true());
}

bool template_markup(const struct chat *c, struct err *e) {
    static const char *const places[] = {"none", "before the name", "behind the name",
                                         "behind the arguments"};
    struct descr d;
    if (!probe(c, &d, e)) return false;
    json_t *v = json_object(), *ends = json_array();
    for (int i = 0; i < d.n_ends; i++) json_array_append_new(ends, json_text(d.ends[i]));
    json_object_set_new(v, "syntax", json_string(descr_syntax_name(d.syntax)));
    const struct {
        const char *key;
        bool yes;
    } flags[] = {{"generic", d.generic}, {"array", d.array},   {"parallel", d.parallel},
                 {"bare", d.bare},       {"framed", d.framed}, {"prompt_thinks", d.prompt_thinks}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        put_flag(v, flags[i].key, flags[i].yes);
    const struct {
        const char *key;
        struct str text;
    } texts[] = {{"turn_open", d.turn_open},
                 {"prompt", d.prompt},
                 {"text_open", d.text_open},
                 {"think_open", d.think_open},
                 {"think_close", d.think_close},
                 {"header_end", d.header_end},
                 {"think_header", d.think_header},
                 {"text_header", d.text_header},
                 {"section_open", d.section_open},
                 {"call_open", d.call_open},
                 {"id_sep", d.id_sep},
                 {"name_again", d.name_again},
                 {"name_args", d.name_args},
                 {"param_open", d.param_open},
                 {"key_close", d.key_close},
                 {"key_close_json", d.key_close_json},
                 {"value_close", d.value_close},
                 {"param_sep", d.param_sep},
                 {"quote", d.quote},
                 {"call_close", d.call_close},
                 {"call_sep", d.call_sep},
                 {"section_close", d.section_close},
                 {"trigger", descr_trigger(&d)}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put_text(v, texts[i].key, texts[i].text);
    if (d.id_place) json_object_set_new(v, "id", json_string(places[d.id_place]));
    json_object_set_new(v, "ends", ends);
    descr_free(&d);
    return print_json(v) || err_nomem(e, "markup", 0);
}
