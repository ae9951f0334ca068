/* Markers: made from the descriptor once per parser, searched in the input buffer. A match may be
 * partial at the end of the input, and then the parser waits. White space inside a marker matches
 * any amount of it, because models are less exact about it than templates. */
#include "text/toolcall_impl.h"
#include "text/vocab.h"

#include <string.h>

bool toolcall_is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

void toolcall_skip_space(struct toolcall *p) {
    while (p->pos < p->in.len && toolcall_is_space(p->in.p[p->pos])) p->pos++;
}

static struct str trim(struct str s) {
    while (s.len && toolcall_is_space(s.p[0])) s.p++, s.len--;
    while (s.len && toolcall_is_space(s.p[s.len - 1])) s.len--;
    return s;
}

static struct str from(struct str s, size_t i) {
    return s.p ? (struct str){s.p + i, s.len - i} : s;
}

/* End of the first tag of a text: behind its '>' or ']', or all of it. */
static size_t tag_end(struct str s) {
    if (!s.len || (s.p[0] != '<' && s.p[0] != '[')) {
        size_t i = 0;
        while (i < s.len && s.p[i] != '<' && s.p[i] != '[') i++;
        return i;
    }
    const char *close = memchr(s.p, s.p[0] == '<' ? '>' : ']', s.len);
    return close ? (size_t)(close - s.p) + 1 : s.len;
}

static bool is_control(const struct vocab *v, struct str text) {
    if (!v || !text.len) return false;
    int32_t id = vocab_find(v, (struct str){text.p, tag_end(text)});
    return id >= 0 && vocab_type(v, id) == TOKEN_CONTROL;
}

/* The part of call_open in front of the object that holds the name. */
static struct str before_object(struct str open) {
    for (size_t i = open.len; i > 0; i--)
        if (open.p[i - 1] == '{') return (struct str){open.p, i - 1};
    return open;
}

static struct str drop_bracket(struct str s, bool first) {
    s = trim(s);
    if (first && s.len && s.p[0] == ']') return trim(from(s, 1));
    if (first || !s.len || s.p[s.len - 1] != '[') return s;
    struct str left = trim((struct str){s.p, s.len - 1});
    /* a word in front of it is no marker alone */
    bool tag = left.len && (left.p[left.len - 1] == '>' || left.p[left.len - 1] == ']');
    return tag ? left : s;
}

/* Splits a trailing word such as "functions." or "call:" off call_open. */
static struct str split_prefix(struct str *open) {
    size_t i = open->len;
    if (!i) return (struct str){0};
    while (i > 0 && open->p[i - 1] != '>' && open->p[i - 1] != ']') i--;
    struct str tail = from(*open, i);
    if (i == 0 || memchr(tail.p, '<', tail.len) || memchr(tail.p, '[', tail.len))
        return (struct str){0};
    open->len = i;
    return trim(tail);
}

static void set_close(struct toolcall *p, struct str close) {
    close = trim(close);
    for (int i = 0; i < MARK_N - MARK_CLOSE && close.len; i++) {
        size_t n = i == MARK_N - MARK_CLOSE - 1 ? close.len : tag_end(close);
        p->mark[MARK_CLOSE + i].text = trim((struct str){close.p, n});
        close = trim(from(close, n));
    }
}

static void set_call_marks(struct toolcall *p) {
    const struct descr *d = p->d;
    struct marker *m = p->mark;
    bool object = d->syntax == DESCR_OBJECT || d->syntax == DESCR_NAMED;
    struct str open = trim(object ? before_object(d->call_open) : d->call_open);
    /* a header with the name, and then the name again: the body alone is looked at */
    if (d->name_again.len)
        open = trim(str_starts(d->name_again, d->header_end)
                        ? (struct str){d->name_again.p + d->header_end.len,
                                       d->name_again.len - d->header_end.len}
                        : d->name_again);
    if (!object) p->name_prefix = split_prefix(&open);
    m[MARK_CALL_OPEN].text = open = trim(open);
    size_t first = tag_end(open);
    struct str rest = trim(from(open, first));
    if (rest.len > 5 && rest.p[0] == '<') m[MARK_CALL_SHORT].text = rest;
    m[MARK_SECTION_OPEN].text = drop_bracket(d->section_open, false);
    m[MARK_SECTION_CLOSE].text = drop_bracket(d->section_close, true);
    m[MARK_ID_SEP].text = object ? (struct str){0} : trim(d->id_sep);
    if (!object) m[MARK_NAME_ARGS].text = trim(d->name_args);
    struct str close = d->call_close;
    const char *own = d->syntax == DESCR_PYTHON ? ")" : object ? "}" : NULL;
    int64_t at = own ? str_find(close, str_of(own), 0) : -1;
    if (at >= 0) close = from(close, (size_t)at + 1);
    set_close(p, close);
    m[MARK_PARAM_OPEN].text = trim(d->param_open);
    m[MARK_KEY_CLOSE].text = trim(d->key_close);
    m[MARK_KEY_CLOSE_JSON].text = trim(d->key_close_json);
    m[MARK_VALUE_CLOSE].text = trim(d->value_close);
    m[MARK_QUOTE].text = d->quote;
    m[MARK_CDATA].text = STR("<![CDATA[");
    m[MARK_CDATA_CLOSE].text = STR("]]>");
    p->newline_values = d->value_close.len && d->value_close.p[0] == '\n';
}

void toolcall_marks(struct toolcall *p, const struct vocab *v) {
    const struct descr *d = p->d;
    struct marker *m = p->mark;
    m[MARK_THINK_OPEN].text = trim(d->think_open);
    m[MARK_THINK_CLOSE].text = trim(d->think_close);
    m[MARK_TEXT_OPEN].text = trim(d->text_open);
    m[MARK_TURN_OPEN].text = trim(d->turn_open);
    m[MARK_HEADER_END].text = trim(d->header_end);
    for (int i = 0; i < d->n_ends; i++) m[MARK_END + i].text = trim(d->ends[i]);
    if (d->syntax != DESCR_NO_CALLS && !p->no_calls) set_call_marks(p);
    for (int i = 0; i < MARK_N; i++) m[i].control = is_control(v, m[i].text);
}

enum match toolcall_match(const struct toolcall *p, enum marker_id id, size_t at, size_t *end) {
    const struct marker *m = &p->mark[id];
    struct str t = m->text;
    if (!t.len || at >= p->in.len) return MATCH_NO;
    if (m->control && p->source.p[at] == TOOLCALL_PLAIN) return MATCH_NO;
    size_t i = at, j = 0;
    while (j < t.len) {
        if (toolcall_is_space(t.p[j])) {
            while (toolcall_is_space(t.p[j])) j++;
            while (i < p->in.len && toolcall_is_space(p->in.p[i])) i++;
            continue;
        }
        if (i == p->in.len) return p->final ? MATCH_NO : MATCH_PART;
        if (p->in.p[i++] != t.p[j++]) return MATCH_NO;
    }
    *end = i;
    return MATCH_FULL;
}

enum match toolcall_match_any(const struct toolcall *p, uint64_t mask, size_t at, struct found *f) {
    enum match best = MATCH_NO;
    *f = (struct found){.id = MARK_N, .at = at, .end = at};
    for (int id = 0; id < MARK_N; id++) {
        size_t end;
        if (!(mask & MARK(id))) continue;
        enum match m = toolcall_match(p, (enum marker_id)id, at, &end);
        if (m == MATCH_PART) best = MATCH_PART; /* it may become longer than what matches now */
        if (m == MATCH_FULL && end > f->end) {
            if (best == MATCH_NO) best = MATCH_FULL;
            f->id = (enum marker_id)id;
            f->end = end;
        }
    }
    return best;
}

enum match toolcall_find(const struct toolcall *p, uint64_t mask, size_t from, struct found *f) {
    bool first[256] = {false};
    for (int id = 0; id < MARK_N; id++)
        if (mask & MARK(id) && p->mark[id].text.len)
            first[(unsigned char)p->mark[id].text.p[0]] = true;
    for (size_t i = from; i < p->in.len; i++) {
        if (!first[(unsigned char)p->in.p[i]]) continue;
        enum match m = toolcall_match_any(p, mask, i, f);
        if (m != MATCH_NO) return m;
    }
    f->at = f->end = p->in.len;
    return MATCH_NO;
}
