/* The door of chat rendering: opens templates, renders requests, falls back where a template
 * fails. Adapting, checking and probing have files of their own. */
#include "text/chat_impl.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

#include <string.h>

/* A template, or one of its variants. */
struct variant {
    struct jinja *jinja;
    struct chat_style style;
    struct chat_can can;
};

struct chat {
    struct variant plain, tools; /* tools.jinja may be NULL: plain serves both */
    struct variant builtin;      /* the last resort; always there */
    const char *builtin_name;
    bool uses_builtin; /* plain is the built-in format */
    char *bos, *eos;
    struct buf notes;
};

/* ---- opening */

static bool open_variant(struct chat *c, struct variant *v, struct str source, struct buf *notes,
                         struct err *e) {
    v->jinja = jinja_parse(source, e);
    if (v->jinja &&
        chat_probe(v->jinja, str_of(c->bos), str_of(c->eos), &v->style, &v->can, notes, e))
        return true;
    jinja_free(v->jinja);
    *v = (struct variant){0};
    return false;
}

/* The template that the source names, or the built-in format with a note. false: no memory. */
static bool open_plain(struct chat *c, const struct chat_source *s, struct str builtin,
                       struct err *e) {
    if (s->template.len && open_variant(c, &c->plain, s->template, &c->notes, e)) return true;
    if (s->template.len && e->code == ERR_NOMEM) return false;
    buf_clear(&c->notes);
    c->uses_builtin = true;
    if (s->template.len) buf_printf(&c->notes, "the chat template cannot be used: %s\n", e->msg);
    buf_printf(&c->notes, "%s the built-in format '%s' is used\n",
               s->template.len ? "instead" : "the file has no chat template:", c->builtin_name);
    return open_variant(c, &c->plain, builtin, &c->notes, e);
}

struct chat *chat_open(const struct chat_source *s, struct err *e) {
    struct err why = {0};
    struct buf ignored = {0};
    struct str builtin;
    struct chat *c = mem_calloc(1, sizeof *c);
    if (!c) {
        err_nomem(e, "a chat template", sizeof *c);
        return NULL;
    }
    c->builtin_name = chat_builtin(s, &builtin);
    c->bos = mem_strndup(s->bos.p ? s->bos.p : "", s->bos.len);
    c->eos = mem_strndup(s->eos.p ? s->eos.p : "", s->eos.len);
    bool ok = c->bos && c->eos && open_plain(c, s, builtin, &why) &&
              open_variant(c, &c->builtin, builtin, &ignored, &why);
    buf_free(&ignored);
    if (ok && s->tool_template.len && !c->uses_builtin &&
        !open_variant(c, &c->tools, s->tool_template, &c->notes, &why)) {
        ok = why.code != ERR_NOMEM;
        buf_printf(&c->notes, "the variant for tools cannot be used: %s\n", why.msg);
    }
    if (ok && buf_add(&c->notes, "", 0)) return c;
    err_nomem(e, "a chat template", s->template.len);
    chat_close(c);
    return NULL;
}

void chat_close(struct chat *c) {
    if (!c) return;
    jinja_free(c->plain.jinja);
    jinja_free(c->tools.jinja);
    jinja_free(c->builtin.jinja);
    mem_free(c->bos);
    mem_free(c->eos);
    buf_free(&c->notes);
    mem_free(c);
}

static bool vocab_has(const void *v, const char *text) {
    return vocab_find(v, str_of(text)) >= 0;
}

static struct str token_text(const struct vocab *v, int32_t id) {
    return v && id >= 0 ? vocab_text(v, id) : (struct str){0};
}

struct chat *chat_open_model(const struct gguf *g, const struct vocab *v, struct str template,
                             struct err *e) {
    struct err ignored = {0};
    struct chat_source s = {.template = template};
    if (!template.len) {
        gguf_str(g, "tokenizer.chat_template", &s.template, &ignored);
        gguf_str(g, "tokenizer.chat_template.tool_use", &s.tool_template, &ignored);
        if (!s.template.len) s.template = s.tool_template, s.tool_template.len = 0;
    }
    if (v) {
        s.bos = token_text(v, vocab_special(v)->bos);
        s.eos = token_text(v, vocab_special(v)->eos);
        s.has_token = vocab_has;
        s.ctx = v;
    }
    return chat_open(&s, e);
}

const char *chat_notes(const struct chat *c) {
    return c->notes.p;
}

static const struct variant *variant_for(const struct chat *c, bool with_tools) {
    return with_tools && c->tools.jinja ? &c->tools : &c->plain;
}

const struct jinja *chat_jinja(const struct chat *c, bool with_tools) {
    return variant_for(c, with_tools)->jinja;
}

struct chat_can chat_can(const struct chat *c) {
    struct chat_can can = variant_for(c, true)->can;
    can.builtin = c->uses_builtin ? c->builtin_name : NULL;
    return can;
}

struct str chat_bos(const struct chat *c) {
    return str_of(c->bos);
}
struct str chat_eos(const struct chat *c) {
    return str_of(c->eos);
}

/* ---- rendering */

static bool check_calls(const json_t *calls, size_t message, struct err *e) {
    size_t i;
    json_t *call;
    if (!calls || json_is_null(calls)) return true;
    bool ok = json_is_array(calls);
    json_array_foreach(calls, i, call) ok = ok && json_is_object(json_object_get(call, "function"));
    return ok || err_set(e, ERR_ARG, "message %zu: tool_calls must be an array of function calls",
                         message);
}

static bool check_request(const struct chat_request *q, struct err *e) {
    size_t i;
    json_t *m;
    if (!json_is_array(q->messages)) return err_set(e, ERR_ARG, "messages must be an array");
    json_array_foreach(q->messages, i, m) {
        if (!json_is_object(m)) return err_set(e, ERR_ARG, "message %zu is no object", i);
        if (!json_is_string(json_object_get(m, "role")))
            return err_set(e, ERR_ARG, "message %zu has no role", i);
        if (!check_calls(json_object_get(m, "tool_calls"), i, e)) return false;
    }
    if (q->tools && !json_is_array(q->tools) && !json_is_null(q->tools))
        return err_set(e, ERR_ARG, "tools must be an array");
    if (q->kwargs && !json_is_object(q->kwargs) && !json_is_null(q->kwargs))
        return err_set(e, ERR_ARG, "template variables must be an object");
    return true;
}

/* The request while it is being rendered. */
struct job {
    const struct chat *c;
    const struct chat_request *q;
    const json_t *messages;
    json_t *tools;
    bool prompt;
};

static bool attempt(const struct job *j, const struct jinja *t, const struct chat_style *style,
                    const bool *as_text, struct buf *notes, struct chat_attempt *a, struct err *e) {
    const json_t *kwargs = json_is_object(j->q->kwargs) ? j->q->kwargs : NULL;
    struct chat_variables v = {.bos = str_of(j->c->bos),
                               .eos = str_of(j->c->eos),
                               .kwargs = kwargs,
                               .thinking = j->q->thinking,
                               .prompt = j->prompt,
                               .now = j->q->now};
    *a = (struct chat_attempt){.work = {.style = style,
                                        .in = j->messages,
                                        .tools = j->tools,
                                        .as_text = as_text,
                                        .notes = notes}};
    return chat_attempt(t, &v, a, e);
}

/* Everything in the form that every template takes: strict alternation of plain texts. */
static void plainest(struct chat_style *s) {
    static const enum chat_axis axes[] = {STYLE_SYSTEM,  STYLE_DEVELOPER, STYLE_SECOND, STYLE_LATE,
                                          STYLE_REPEAT,  STYLE_OPENING,   STYLE_TOOLS,  STYLE_CALLS,
                                          STYLE_RESULTS, STYLE_UNKNOWN};
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) s->v[axes[i]] = 1;
}

static int n_missing(const struct chat_attempt *a) {
    return a->missing.content + a->missing.calls + a->missing.tools;
}

/* The same once more, the messages that were not shown as plain turns; the better one stays. */
static bool repair(const struct job *j, const struct variant *v, struct buf *notes,
                   struct chat_attempt *a, struct err *e) {
    struct chat_attempt b;
    struct buf other = {0};
    bool ok = attempt(j, v->jinja, &v->style, a->missing.message, &other, &b, e);
    if (!ok && e->code == ERR_NOMEM) {
        chat_attempt_free(&b);
        buf_free(&other);
        return false;
    }
    if (ok && n_missing(&b) < n_missing(a)) {
        struct chat_attempt t = *a;
        struct buf n = *notes;
        *a = b;
        b = t;
        *notes = other;
        other = n;
        a->work.notes = notes;
    }
    chat_attempt_free(&b);
    buf_free(&other);
    return true;
}

/* In the template's style; if it refuses that, in the plainest style; if that too, in the
 * built-in format. */
static bool render_somehow(const struct job *j, struct buf *notes, struct chat_attempt *a,
                           struct err *e) {
    const struct variant *v = variant_for(j->c, j->tools != NULL);
    struct chat_style plain = v->style;
    struct err why;
    if (attempt(j, v->jinja, &v->style, NULL, notes, a, e))
        return n_missing(a) == 0 || repair(j, v, notes, a, e);
    if (e->code == ERR_NOMEM) return false;
    why = *e;
    chat_attempt_free(a);
    buf_clear(notes);
    plainest(&plain);
    buf_printf(notes, "the template refuses these messages (%s); they are put into plain turns\n",
               why.msg);
    if (attempt(j, v->jinja, &plain, NULL, notes, a, e)) return true;
    if (e->code == ERR_NOMEM) return false;
    chat_attempt_free(a);
    buf_clear(notes);
    buf_printf(notes,
               "the template refuses these messages (%s); the built-in format '%s' is used\n",
               why.msg, j->c->builtin_name);
    v = &j->c->builtin;
    return attempt(j, v->jinja, &v->style, NULL, notes, a, e);
}

static void note_missing(const struct chat_attempt *a, struct buf *notes) {
    enum { MOST = 8 };
    const struct chat_missing *m = &a->missing;
    int told = 0;
    for (size_t i = 0; i < m->n && n_missing(a); i++) {
        if (!m->message[i] || told++ >= MOST) continue;
        struct str role = json_get_str(json_array_get(a->work.in, i), "role");
        buf_printf(notes, "message %zu (%.*s) is not shown in full by the template\n", i,
                   (int)(role.len < 40 ? role.len : 40), role.p);
    }
    if (told > MOST) buf_printf(notes, "and %d more messages\n", told - MOST);
    if (m->tools) buf_printf(notes, "%d tools are not shown by the template\n", m->tools);
    if (m->reasoning)
        buf_printf(notes, "reasoning of %d earlier messages is left out by the template\n",
                   m->reasoning);
}

/* ---- spans */

static bool add_span(struct chat_rendering *out, struct chat_span s) {
    struct chat_span *last = out->n_span ? &out->span[out->n_span - 1] : NULL;
    void *array = out->span;
    if (s.len == 0) return true;
    if (last && last->part == s.part && last->message == s.message && last->special == s.special &&
        last->start + last->len == s.start) {
        last->len += s.len;
        return true;
    }
    if (!mem_grow(&array, &out->span_cap, out->n_span + 1, sizeof *out->span)) return false;
    out->span = array;
    out->span[out->n_span++] = s;
    return true;
}

/* The nearest marker in text at or behind `from`; its length is 0 if there is none. */
static struct str next_marker(const struct chat_request *q, struct str text, size_t from,
                              size_t *at) {
    struct str found = {0};
    *at = text.len;
    for (size_t i = 0; i < q->n_markers; i++) {
        int64_t hit = q->markers[i].len ? str_find(text, q->markers[i], from) : -1;
        if (hit < 0 || (size_t)hit > *at) continue;
        if ((size_t)hit == *at && q->markers[i].len <= found.len) continue;
        *at = (size_t)hit;
        found = q->markers[i];
    }
    return found;
}

/* Text of the assistant: the markup of reasoning and calls in it may be tokens. */
static bool add_marked(struct chat_rendering *out, const struct chat_request *q,
                       struct chat_span s) {
    struct str text = {out->text.p + s.start, s.len};
    for (size_t i = 0; i < text.len;) {
        size_t at;
        struct str marker = next_marker(q, text, i, &at);
        struct chat_span plain = s, special = s;
        plain.start = s.start + i;
        plain.len = at - i;
        special.start = s.start + at;
        special.len = marker.len;
        special.special = true;
        if (!add_span(out, plain) || !add_span(out, special)) return false;
        i = at + marker.len;
    }
    return true;
}

static bool add_spans(const struct chat_request *q, const struct chat_attempt *a,
                      struct chat_rendering *out) {
    for (size_t i = 0; i < a->out.n_run; i++) {
        uint32_t origin = a->out.run[i].origin;
        int at = chat_index_of(origin);
        size_t start = a->out.run[i].start,
               end = i + 1 < a->out.n_run ? a->out.run[i + 1].start : out->text.len;
        if (start >= out->text.len) break; /* cut: continue_last */
        if (end > out->text.len) end = out->text.len;
        struct chat_span s = {.start = start, .len = end - start, .part = chat_part_of(origin)};
        s.special = s.part == CHAT_TEMPLATE;
        s.message = at >= 0 && (size_t)at < a->work.n ? a->work.from[at] : -1;
        bool assistant =
            at >= 0 &&
            str_is(json_get_str(json_array_get(a->work.out, (size_t)at), "role"), "assistant");
        if (!(assistant ? add_marked(out, q, s) : add_span(out, s))) return false;
    }
    return true;
}

/* ---- continuing the last message */

/* Stands behind the text that is to be continued; the rendering is cut there. The blank shows
 * whether the template trims its texts. */
static const char cut_tag[] = "HOLDFAST_CONTINUES_HERE ";

/* The messages with the tag; NULL if the last is no assistant's text. */
static json_t *tag_last(const json_t *messages) {
    size_t n = json_array_size(messages);
    json_t *copy, *last = json_array_get(messages, n ? n - 1 : 0);
    struct str text = json_get_str(last, "content");
    struct buf b = {0};
    if (!str_is(json_get_str(last, "role"), "assistant") || !text.p) return NULL;
    buf_str(&b, text);
    buf_cstr(&b, cut_tag);
    copy = json_copy((json_t *)messages);
    last = json_copy(last);
    bool ok = !b.failed && copy && last &&
              json_object_set_new(last, "content", json_stringn(b.p, b.len)) == 0;
    if (ok) ok = json_array_set_new(copy, n - 1, json_incref(last)) == 0;
    json_decref(last);
    buf_free(&b);
    if (ok) return copy;
    json_decref(copy);
    return NULL;
}

static bool cut_at_tag(struct buf *text) {
    int64_t at = -1;
    struct str blank = str_of(cut_tag), tag = {blank.p, blank.len - 1}, view = buf_view(text);
    for (int64_t hit; (hit = str_find(view, tag, (size_t)(at + 1))) >= 0;) at = hit;
    if (at < 0) return false;
    bool trims = !str_starts((struct str){view.p + at, view.len - (size_t)at}, blank);
    while (trims && at > 0 && strchr(" \n\r\t", text->p[at - 1])) at--;
    text->len = (size_t)at;
    text->p[at] = 0;
    return true;
}

/* The template did not show the last text: it goes behind the generation prompt of the rest. */
static bool append_last(struct chat_rendering *out, const json_t *messages) {
    size_t n = json_array_size(messages);
    struct str text = json_get_str(json_array_get(messages, n - 1), "content");
    struct chat_span s = {
        .start = out->text.len, .len = text.len, .part = CHAT_CONTENT, .message = (int)n - 1};
    return buf_str(&out->text, text) && add_span(out, s);
}

/* ---- the door */

static bool finish(const struct job *j, struct chat_attempt *a, struct chat_rendering *out,
                   struct err *e) {
    struct str bos = str_of(j->c->bos);
    out->text = a->out.text;
    a->out.text = (struct buf){0};
    bool cut = !j->q->continue_last || cut_at_tag(&out->text);
    note_missing(a, &out->notes);
    out->has_bos = bos.len && str_starts(buf_view(&out->text), bos);
    bool ok = add_spans(j->q, a, out) && buf_add(&out->notes, "", 0);
    return ok ? cut || err_set(e, ERR_UNSUPPORTED, "the template does not show the last message")
              : err_nomem(e, "a rendering", out->text.len);
}

static void clear(struct chat_rendering *out) {
    buf_free(&out->text);
    buf_clear(&out->notes);
    out->n_span = 0;
    out->has_bos = false;
}

static bool render(const struct chat *c, const struct chat_request *q, const json_t *messages,
                   bool prompt, struct chat_rendering *out, struct err *e) {
    struct chat_attempt a = {0};
    struct job j = {.c = c, .q = q, .messages = messages, .prompt = prompt};
    clear(out);
    j.tools = chat_normal_tools(json_is_array(q->tools) ? q->tools : NULL);
    bool ok = render_somehow(&j, &out->notes, &a, e) && finish(&j, &a, out, e);
    chat_attempt_free(&a);
    json_decref(j.tools);
    return ok;
}

static bool render_continued(const struct chat *c, const struct chat_request *q,
                             struct chat_rendering *out, struct err *e) {
    json_t *tagged = tag_last(q->messages);
    if (!tagged)
        return err_set(e, ERR_ARG, "the last message is no text of the assistant to continue");
    bool ok = render(c, q, tagged, false, out, e);
    json_decref(tagged);
    if (ok || e->code != ERR_UNSUPPORTED) return ok;
    struct chat_request rest = *q;
    json_t *messages = json_copy((json_t *)q->messages);
    rest.continue_last = false;
    ok = messages && json_array_remove(messages, json_array_size(messages) - 1) == 0 &&
         render(c, &rest, messages, true, out, e) &&
         (append_last(out, q->messages) || err_nomem(e, "a rendering", 0));
    json_decref(messages);
    return ok;
}

bool chat_render(const struct chat *c, const struct chat_request *q, struct chat_rendering *out,
                 struct err *e) {
    struct err ignored;
    if (!e) e = &ignored;
    if (!check_request(q, e)) return false;
    if (q->continue_last) return render_continued(c, q, out, e);
    return render(c, q, q->messages, !q->no_prompt, out, e);
}

void chat_rendering_free(struct chat_rendering *r) {
    buf_free(&r->text);
    buf_free(&r->notes);
    mem_free(r->span);
    *r = (struct chat_rendering){0};
}

bool chat_text_spans(const struct chat_rendering *r, struct text_span **out, size_t *n) {
    *n = 0;
    *out = mem_array(r->n_span ? r->n_span : 1, sizeof **out);
    for (size_t i = 0; *out && i < r->n_span; i++) {
        const struct chat_span *s = &r->span[i];
        struct text_span *last = *n ? &(*out)[*n - 1] : NULL;
        if (last && last->special == s->special) last->text.len += s->len;
        else (*out)[(*n)++] = (struct text_span){{r->text.p + s->start, s->len}, s->special};
    }
    return *out != NULL;
}

bool chat_generation_prompt(const struct chat *c, const struct chat_request *q, struct buf *out,
                            struct err *e) {
    struct chat_rendering with = {0}, without = {0};
    struct chat_request one = *q;
    one.continue_last = false;
    one.no_prompt = false;
    bool ok = chat_render(c, &one, &with, e);
    one.no_prompt = true;
    ok = ok && chat_render(c, &one, &without, e);
    size_t same = 0;
    if (ok)
        while (same < with.text.len && same < without.text.len &&
               with.text.p[same] == without.text.p[same])
            same++;
    if (ok && !buf_add(out, with.text.p ? with.text.p + same : "", with.text.len - same))
        ok = err_nomem(e, "a generation prompt", with.text.len);
    chat_rendering_free(&with);
    chat_rendering_free(&without);
    return ok;
}
