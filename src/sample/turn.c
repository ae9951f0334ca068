/* Builds the grammar of a turn from pieces. Free text up to a marker is a rule of its own, so that
 * its masks are shared by all requests; what follows a marker is bound by the tools' schemas.
 * Called for each request with tools or a schema (the result is worth caching). */
#include "sample/turn.h"
#include "base/json.h"
#include "base/mem.h"
#include "sample/build.h"

#include <stdio.h>
#include <string.h>

enum { HEADER_CHARS = 64, BLANKS = 4 };

struct turn {
    const struct turn_request *r;
    const struct turn_format *f;
    struct build *b;
    int32_t *control; /* ids that match by id only, end tokens among them */
    size_t n_control, cap_control;
    struct err *e;
};

static bool add_control(struct turn *t, int32_t id) {
    void *p = t->control;
    if (!mem_grow(&p, &t->cap_control, t->n_control + 1, sizeof *t->control))
        return err_nomem(t->e, "a turn's grammar", t->n_control);
    t->control = p;
    t->control[t->n_control++] = id;
    return true;
}

static bool list_controls(struct turn *t) {
    const struct vocab *v = t->r->vocab;
    for (int32_t id = 0; v && id < vocab_size(v); id++)
        if (vocab_type(v, id) == TOKEN_CONTROL && !add_control(t, id)) return false;
    return true;
}

/* The longest control token that stands at the beginning of s. */
static int32_t control_at(const struct turn *t, struct str s) {
    int32_t best = -1;
    size_t len = 0;
    for (size_t i = 0; i < t->n_control; i++) {
        struct str text = vocab_text(t->r->vocab, t->control[i]);
        if (text.len > len && str_starts(s, text)) {
            best = t->control[i];
            len = text.len;
        }
    }
    return best;
}

/* The first control token in s: its place, or s.len. */
static size_t find_control(const struct turn *t, struct str s, int32_t *id) {
    for (size_t i = 0; i < s.len; i++) {
        if ((s.p[i] & 0xC0) == 0x80) continue; /* inside of a character */
        *id = control_at(t, (struct str){s.p + i, s.len - i});
        if (*id >= 0) return i;
    }
    *id = -1;
    return s.len;
}

static struct str tail(struct str s, size_t from) {
    return from < s.len ? (struct str){s.p + from, s.len - from} : STR("");
}

/* Template text: control tokens by id, the rest by its bytes. */
static struct expr *text(struct turn *t, struct str s) {
    struct expr *seq = build_seq(t->b);
    while (s.len) {
        int32_t id;
        size_t n = find_control(t, s, &id);
        if (n) build_push(t->b, seq, build_lit(t->b, (struct str){s.p, n}));
        if (id < 0) break;
        build_push(t->b, seq, build_token(t->b, id));
        s = tail(s, n + vocab_text(t->r->vocab, id).len);
    }
    return seq;
}

/* Any control token that goes on with free text; not `but`, and no end token. */
static struct expr *other_controls(struct turn *t, int32_t but) {
    struct expr *alt = build_alt(t->b);
    for (size_t i = 0; i < t->n_control; i++)
        if (t->control[i] != but && !vocab_is_eog(t->r->vocab, t->control[i]))
            build_push(t->b, alt, build_token(t->b, t->control[i]));
    return alt;
}

static struct expr *any_bytes(struct turn *t) {
    const uint64_t all[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    return build_repeat(t->b, build_bytes(t->b, all), 0, BUILD_MANY);
}

/* Free text in which the marker does not occur. A marker with a control token in it is known by
 * that token alone; *at is where in the marker it begins. */
static struct expr *free_text(struct turn *t, struct str marker, size_t *at) {
    struct build *b = t->b;
    int32_t id;
    *at = find_control(t, marker, &id);
    if (id < 0) *at = 0;
    struct expr *part = id >= 0 || !marker.len ? any_bytes(t) : build_until(b, &marker, 1, false);
    struct expr *more = BUILD_SEQ(b, other_controls(t, id), part);
    return BUILD_SEQ(b, part, build_repeat(b, more, 0, BUILD_MANY));
}

/* A rule for free text up to the marker and with it. */
static struct expr *until(struct turn *t, struct str marker) {
    size_t at;
    struct expr *free = free_text(t, marker, &at);
    int rule = build_rule(t->b, "text", -1);
    build_define(t->b, rule, BUILD_SEQ(t->b, free, text(t, tail(marker, at))));
    return build_call(t->b, rule);
}

/* Free text without the marker up to the end of the answer. The end is a token, where there are
 * tokens: then the rule is left in one place only, which makes its masks small. */
static struct expr *to_the_end(struct turn *t, struct str marker) {
    size_t at;
    const struct vocab *v = t->r->vocab;
    struct expr *free = free_text(t, marker, &at), *end = v ? build_alt(t->b) : build_empty(t->b);
    for (int32_t id = 0; v && id < vocab_size(v); id++)
        if (vocab_is_eog(v, id)) build_push(t->b, end, build_token(t->b, id));
    int rule = build_rule(t->b, "text", -1);
    build_define(t->b, rule, BUILD_SEQ(t->b, free, end));
    return build_call(t->b, rule);
}

static struct expr *chars(struct turn *t, const struct char_range *r, size_t n, bool negated,
                          int64_t min, int64_t max) {
    return build_repeat(t->b, build_chars(t->b, r, n, negated), min, max);
}

static struct expr *blanks(struct turn *t) {
    static const struct char_range r[] = {{' ', ' '}, {'\n', '\n'}};
    return chars(t, r, 2, false, 0, BLANKS);
}

static struct expr *call_id(struct turn *t) {
    static const struct char_range r[] = {
        {'0', '9'}, {'A', 'Z'}, {'a', 'z'}, {'_', '_'}, {'-', '-'}};
    return chars(t, r, 5, false, 1, 40);
}

/* ---- a call ---- */

static struct expr *arguments(struct turn *t, const struct turn_tool *tool, size_t index) {
    const struct turn_format *f = t->f;
    char path[80];
    snprintf(path, sizeof path, "tools[%zu] (%.*s)", index,
             (int)(tool->name.len < 40 ? tool->name.len : 40), tool->name.p);
    json_t *none =
        tool->parameters ? NULL : json_pack("{s{}sb}", "properties", "additionalProperties", 0);
    const json_t *given = tool->parameters ? tool->parameters : none;
    bool is_object = str_is(json_get_str(given, "type"), "object");
    json_t *object = is_object ? json_incref((json_t *)(uintptr_t)given)
                               : json_pack("{sss[O]}", "type", "object", "allOf", given);
    struct tag_style tags = {.key_open = f->param_open,
                             .key_close = f->key_close_json.len ? f->key_close_json : f->key_close,
                             .key_close_string = f->key_close_json.len ? f->key_close : STR(""),
                             .value_end = f->value_close,
                             .item = f->param_sep,
                             .raw_strings = true};
    struct schema_request q = {.schema = object,
                               .root = given,
                               .path = path,
                               .strict = t->r->strict,
                               .notes = t->r->notes};
    q.style.free = true;
    switch (f->syntax) {
    case TURN_JSON:
        break;
    case TURN_TAGS:
        q.style.tags = &tags;
        break;
    case TURN_PYTHON:
        tags = (struct tag_style){.key_close = STR("="), .item = STR(", ")};
        q.style.tags = &tags;
        q.style.syntax = VALUE_PYTHON;
        q.style.free = false;
        break;
    case TURN_GEMMA:
        q.style.syntax = VALUE_GEMMA;
        q.style.free = false;
        q.style.sorted = true;
        q.style.item = STR(",");
        q.style.key = STR(":");
        q.style.quote = text(t, f->quote);
        q.style.quote_bytes = f->quote;
        break;
    }
    struct expr *x = object ? build_schema(t->b, &q, t->e) : NULL;
    json_decref(object);
    json_decref(none);
    return x;
}

/* The end of a message's header, whatever else the model says in it. */
static struct expr *rest_of_header(struct turn *t) {
    static const struct char_range line[] = {{'\n', '\n'}, {'<', '<'}};
    int32_t end;
    find_control(t, t->f->header_end, &end);
    struct expr *part = chars(t, line, 2, true, 0, HEADER_CHARS);
    struct expr *more = BUILD_SEQ(t->b, other_controls(t, end), part);
    return BUILD_SEQ(t->b, part, build_repeat(t->b, more, 0, 3), text(t, t->f->header_end));
}

static struct expr *name_args(struct turn *t) {
    const struct turn_format *f = t->f;
    struct expr *x = text(t, f->name_args);
    bool header = f->framed && f->header_end.len && str_ends(f->name_args, f->header_end);
    return header ? BUILD_ALT(t->b, x, rest_of_header(t)) : x;
}

/* The end of a call. Where tags stand on lines of their own, one newline is too many if there are
 * none. */
static struct expr *call_close(struct turn *t) {
    const struct turn_format *f = t->f;
    bool lines = f->syntax == TURN_TAGS && str_ends(f->name_args, STR("\n")) &&
                 str_starts(f->call_close, STR("\n"));
    if (!lines) return text(t, f->call_close);
    return BUILD_SEQ(t->b, build_opt(t->b, build_lit(t->b, STR("\n"))),
                     text(t, tail(f->call_close, 1)));
}

/* From the name on. */
static struct expr *named_call(struct turn *t, const struct turn_tool *tool, size_t index) {
    const struct turn_format *f = t->f;
    struct build *b = t->b;
    struct expr *args = arguments(t, tool, index), *name = build_lit(b, tool->name);
    struct expr *seq = build_seq(b);
    if (!args) return NULL;
    build_push(b, seq, name);
    if (f->name_again.len) build_push(b, seq, text(t, f->name_again));
    if (f->name_again.len) build_push(b, seq, name);
    if (f->id_place == TURN_ID_SECOND) {
        build_push(b, seq, text(t, f->id_sep));
        build_push(b, seq, call_id(t));
    }
    build_push(b, seq, name_args(t));
    build_push(b, seq, args);
    if (f->id_place == TURN_ID_LAST) {
        build_push(b, seq, text(t, f->id_sep));
        build_push(b, seq, call_id(t));
    }
    return build_push(b, seq, call_close(t)) ? seq : NULL;
}

/* What follows call_open. */
static struct expr *call(struct turn *t) {
    struct expr *alt = build_alt(t->b);
    for (size_t i = 0; i < t->r->n_tools; i++) {
        struct expr *x = named_call(t, &t->r->tool[i], i);
        if (!x || !build_push(t->b, alt, x)) return NULL;
    }
    int rule = build_rule(t->b, "call", -1);
    if (t->f->id_place == TURN_ID_FIRST)
        alt = BUILD_SEQ(t->b, call_id(t), text(t, t->f->id_sep), alt);
    build_define(t->b, rule, alt);
    return build_call(t->b, rule);
}

/* The calls of a section, from behind `opened` bytes of section_open and call_open on. */
static struct expr *calls(struct turn *t, struct expr *one, struct str rest) {
    const struct turn_format *f = t->f;
    struct build *b = t->b;
    struct expr *first = BUILD_SEQ(b, text(t, rest), one), *more = NULL;
    if (t->r->parallel && !f->framed)
        more = BUILD_SEQ(b, text(t, f->call_sep), text(t, f->call_open), one);
    if (more) more = build_repeat(b, more, 0, BUILD_MANY);
    struct expr *close = text(t, f->section_close);
    /* Some templates close the section only behind several calls. */
    if (!str_starts(f->section_close, STR("]"))) close = build_opt(b, close);
    return BUILD_SEQ(b, first, more ? more : build_empty(b), close);
}

/* ---- the turn ---- */

/* A reasoning block that the prompt has opened, or one that the model may open. */
static struct expr *reasoning(struct turn *t) {
    const struct turn_format *f = t->f;
    if (!f->think_close.len) return build_empty(t->b);
    if (t->r->reasoning) return until(t, f->think_close);
    return build_opt(t->b,
                     BUILD_SEQ(t->b, blanks(t), text(t, f->think_open), until(t, f->think_close)));
}

/* Headers that begin like a call but are none: " to=self" where calls are " to=NAME". */
static struct expr *other_header(struct turn *t, struct str header) {
    int64_t at = t->f->framed && header.len ? str_find(header, t->f->trigger, 0) : -1;
    if (at < 0) return build_never(t->b);
    struct str rest = tail(header, (size_t)at + t->f->trigger.len);
    return BUILD_SEQ(t->b, text(t, rest), text(t, t->f->header_end));
}

/* Texts that begin otherwise than with `head`. */
static struct expr *not_beginning(struct turn *t, struct str head) {
    struct build *b = t->b;
    struct expr *alt = build_alt(b), *rest = to_the_end(t, STR(""));
    for (size_t i = 0; i < head.len; i++) {
        uint64_t other[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
        unsigned char c = (unsigned char)head.p[i];
        other[c >> 6] &= ~(1ull << (c & 63));
        build_push(
            b, alt,
            BUILD_SEQ(b, build_lit(b, (struct str){head.p, i}), build_bytes(b, other), rest));
    }
    return alt;
}

static struct expr *automatic(struct turn *t) {
    const struct turn_format *f = t->f;
    struct build *b = t->b;
    struct expr *one = call(t);
    if (!one) return NULL;
    if (!f->trigger.len) /* a call has no mark but that the answer begins like one */
        return BUILD_SEQ(
            b, reasoning(t), blanks(t),
            BUILD_ALT(b, BUILD_SEQ(b, text(t, f->call_open), one), not_beginning(t, f->call_open)));
    struct buf head = {0};
    buf_str(&head, f->section_open);
    buf_str(&head, f->call_open);
    int64_t at = str_find(buf_view(&head), f->trigger, 0);
    struct str rest = tail(buf_view(&head), (size_t)(at < 0 ? 0 : at) + f->trigger.len);
    int loop = build_label_new(b);
    struct expr *again = build_goto(b, loop);
    struct expr *after = t->r->parallel ? again : blanks(t);
    struct expr *marked = BUILD_ALT(
        b, BUILD_SEQ(b, calls(t, one, rest), after),
        BUILD_SEQ(b,
                  BUILD_ALT(b, other_header(t, f->think_header), other_header(t, f->text_header)),
                  again));
    struct expr *x = BUILD_SEQ(
        b, reasoning(t), build_label(b, loop),
        BUILD_ALT(b, BUILD_SEQ(b, until(t, f->trigger), marked), to_the_end(t, f->trigger)));
    buf_free(&head);
    return x;
}

/* Harmony and its like: a message of reasoning, then one that is a call. */
static struct expr *required_framed(struct turn *t, struct expr *one) {
    const struct turn_format *f = t->f;
    struct build *b = t->b;
    int32_t end;
    find_control(t, f->header_end, &end);
    struct expr *thought = build_empty(b);
    if (f->think_open.len && f->think_close.len)
        thought = build_opt(b, BUILD_SEQ(b, text(t, f->think_open), until(t, f->think_close),
                                         build_opt(b, text(t, f->turn_open))));
    struct expr *channel =
        build_opt(b, BUILD_SEQ(b, other_controls(t, end), build_lit(b, STR("commentary"))));
    return BUILD_SEQ(b, thought, channel, text(t, f->call_open), one);
}

static struct expr *required(struct turn *t) {
    const struct turn_format *f = t->f;
    struct build *b = t->b;
    struct expr *one = call(t);
    if (!one) return NULL;
    if (f->framed) return required_framed(t, one);
    struct expr *open = BUILD_SEQ(b, text(t, f->section_open), text(t, f->call_open));
    return BUILD_SEQ(b, reasoning(t), blanks(t), open, calls(t, one, STR("")), blanks(t));
}

static struct expr *answer(struct turn *t) {
    struct schema_request q = {.schema = t->r->answer,
                               .root = t->r->answer,
                               .path = "",
                               .strict = t->r->strict,
                               .notes = t->r->notes,
                               .style = {.free = true}};
    struct expr *x = build_schema(t->b, &q, t->e);
    if (!x) return NULL;
    return BUILD_SEQ(t->b, reasoning(t), blanks(t), x, build_opt(t->b, build_lit(t->b, STR("\n"))));
}

struct grammar *turn_grammar(const struct turn_request *r, struct err *e) {
    struct err found = {0};
    struct turn t = {.r = r, .f = r->format, .e = &found};
    if (r->choice != TURN_ANSWER && r->n_tools == 0) {
        err_set(e, ERR_ARG, "there are no tools to call");
        return NULL;
    }
    t.b = build_new(&found);
    struct expr *x = NULL;
    if (t.b && list_controls(&t))
        x = r->choice == TURN_AUTO       ? automatic(&t)
            : r->choice == TURN_REQUIRED ? required(&t)
                                         : answer(&t);
    mem_free(t.control);
    if (x) return build_finish(t.b, x, e);
    if (!found.code) err_set(&found, ERR_LIMIT, "the tools' grammar is too large");
    if (e) *e = found;
    build_free(t.b);
    return NULL;
}
