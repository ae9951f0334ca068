/* One tag per parameter: <parameter=KEY>VALUE</parameter> and its relatives. Values are text; what
 * type they are the tag may say, else the tool's schema. Strings stream; the rest is collected
 * and converted when it is complete. */
#include "text/toolcall_impl.h"

#include <string.h>

/* What may follow the end of a value. A closing tag in front of anything else belongs to it. */
static uint64_t followers(void) {
    return MARK(MARK_PARAM_OPEN) | MARKS_CLOSE | MARK(MARK_SECTION_CLOSE) | MARKS_END;
}

static enum match followed(const struct toolcall *p, size_t at) {
    while (at < p->in.len && toolcall_is_space(p->in.p[at])) at++;
    if (at == p->in.len) return p->final ? MATCH_FULL : MATCH_PART;
    struct found f;
    return toolcall_match_any(p, followers(), at, &f);
}

/* Whether the value ends at `at`; *end is behind its closing tag. */
static enum match value_end_at(const struct toolcall *p, size_t at, size_t *end) {
    size_t i = at;
    enum match m;
    if (p->call.cdata) {
        m = toolcall_match(p, MARK_CDATA_CLOSE, i, &i);
        if (m != MATCH_FULL) return m;
        while (i < p->in.len && toolcall_is_space(p->in.p[i])) i++;
        *end = i;
        if (i == p->in.len) return p->final ? MATCH_FULL : MATCH_PART;
    } else if (p->newline_values && p->in.p[i] == '\n') {
        if (++i == p->in.len) return p->final ? MATCH_NO : MATCH_PART;
    }
    m = toolcall_match(p, MARK_VALUE_CLOSE, i, end);
    return m == MATCH_FULL ? followed(p, *end) : m;
}

/* Finds the end of the value behind pos: *at is where its text ends for certain. */
static enum match find_value_end(const struct toolcall *p, size_t *at, size_t *end) {
    char first = p->call.cdata ? ']' : p->mark[MARK_VALUE_CLOSE].text.p[0];
    for (*at = p->pos; *at < p->in.len; ++*at) {
        char c = p->in.p[*at];
        if (c != first && !(p->newline_values && !p->call.cdata && c == '\n')) continue;
        enum match m = value_end_at(p, *at, end);
        if (m != MATCH_NO) return m;
    }
    return MATCH_NO;
}

/* Appends a collected value in the type that its schema allows. */
static void put_value(struct toolcall *p) {
    struct str text = buf_view(&p->text);
    size_t before = p->out.len;
    unsigned type = p->call.type;
    bool other = type & (TYPE_OTHER | TYPE_UNKNOWN);
    if (other && json_whole(text, &p->out)) {
        /* where a string is allowed too, quotes belong to it */
        if (p->out.p[before] != '"' || !(type & (TYPE_STRING | TYPE_UNKNOWN))) return;
        p->out.len = before;
    }
    if (other && !(type & TYPE_STRING) && literal_whole(text, &p->out)) return;
    p->out.len = before;
    buf_char(&p->out, '"');
    json_escape(&p->out, text);
    buf_char(&p->out, '"');
}

static enum step read_value(struct toolcall *p) {
    size_t at, end;
    bool stream = p->call.tags == TAGS_STREAM;
    enum match m = find_value_end(p, &at, &end);
    struct str text = {p->in.p + p->pos, at - p->pos};
    if (stream) json_escape(&p->out, text);
    else buf_str(&p->text, text);
    p->pos = at;
    if (!stream && p->text.len > LIMIT_CALL_VALUE) { /* too long to be anything but a string */
        buf_char(&p->out, '"');
        json_escape(&p->out, buf_view(&p->text));
        buf_clear(&p->text);
        p->call.tags = TAGS_STREAM;
    }
    if (m != MATCH_FULL) return STEP_MORE;
    p->pos = end;
    if (p->call.tags == TAGS_STREAM) buf_char(&p->out, '"');
    else put_value(p);
    p->call.tags = TAGS_NEXT;
    return STEP_ON;
}

/* Behind key_close: a line break that belongs to the markup, CDATA. */
static enum step start_value(struct toolcall *p) {
    if (p->pos == p->in.len) return STEP_MORE;
    size_t at = p->pos;
    if (p->newline_values) {
        if (p->in.p[at] == '\r' && at + 1 == p->in.len && !p->final) return STEP_MORE;
        if (p->in.p[at] == '\r' && at + 1 < p->in.len && p->in.p[at + 1] == '\n') at++;
        if (p->in.p[at] == '\n') at++;
        /* an empty value may have one line break only, which then stands in front of the tag */
        size_t end;
        enum match m = at > p->pos ? toolcall_match(p, MARK_VALUE_CLOSE, at, &end) : MATCH_NO;
        if (at == p->in.len && !p->final) m = MATCH_PART;
        if (m == MATCH_PART) return STEP_MORE;
    }
    enum match m = toolcall_match(p, MARK_CDATA, at, &at);
    if (m == MATCH_PART) return STEP_MORE;
    p->call.cdata = m == MATCH_FULL;
    p->pos = at;
    buf_clear(&p->text);
    p->call.tags = p->call.type == TYPE_STRING ? TAGS_STREAM : TAGS_BUFFER;
    if (p->call.tags == TAGS_STREAM) buf_char(&p->out, '"');
    return STEP_ON;
}

static enum step read_key(struct toolcall *p) {
    struct found f;
    uint64_t mask = MARK(MARK_KEY_CLOSE) | MARK(MARK_KEY_CLOSE_JSON);
    enum match m = toolcall_find(p, mask, p->pos, &f);
    if (f.at - p->pos > LIMIT_CALL_NAME) return STEP_BAD;
    if (m != MATCH_FULL) return STEP_MORE;
    struct str key = {p->in.p + p->pos, f.at - p->pos};
    bool typed = p->mark[MARK_KEY_CLOSE_JSON].text.len > 0;
    p->call.type = !typed                   ? call_type(p->tools, buf_view(&p->name), key)
                   : f.id == MARK_KEY_CLOSE ? TYPE_STRING
                                            : TYPE_OTHER;
    buf_cstr(&p->out, p->call.any_param ? ",\"" : "\"");
    json_escape(&p->out, key);
    buf_cstr(&p->out, "\":");
    p->call.any_param = true;
    p->call.tags = TAGS_VALUE;
    p->pos = f.end;
    return STEP_ON;
}

static enum step next_param(struct toolcall *p) {
    size_t at = p->pos;
    while (at < p->in.len && toolcall_is_space(p->in.p[at])) at++;
    if (at == p->in.len) {
        if (at - p->pos > LIMIT_CALL_HOLD || p->final) p->pos = at;
        return STEP_MORE;
    }
    struct found f;
    enum match m = toolcall_match_any(p, followers(), at, &f);
    if (m == MATCH_PART) return STEP_MORE;
    if (m == MATCH_FULL && f.id == MARK_PARAM_OPEN) {
        p->pos = f.end;
        p->call.tags = TAGS_KEY;
        return STEP_ON;
    }
    /* the end of the call, or something that does not belong here: what we have stands */
    p->call.malformed |= m == MATCH_NO;
    buf_char(&p->out, '}');
    p->call.args_done = true;
    return STEP_ON;
}

enum step call_tags(struct toolcall *p) {
    static enum step (*const table[])(struct toolcall *) = {/* ORDER tags_state */
                                                            next_param, read_key, start_value,
                                                            read_value, read_value};
    if (!p->call.args_started) buf_char(&p->out, '{');
    p->call.args_started = true;
    return table[p->call.tags](p);
}
