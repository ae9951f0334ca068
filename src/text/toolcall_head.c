/* The states of a call around its arguments: from its marker to its name, raw text after an
 * error, the closing tags, and what may stand between calls. Until the name is certain nothing is
 * emitted, and the input is kept from the marker on, so that it can become text again. */
#include "text/toolcall_impl.h"

#include <string.h>

static bool is_object(const struct toolcall *p) {
    return p->d->syntax == DESCR_OBJECT || p->d->syntax == DESCR_NAMED;
}

/* Begins to read a call whose marker stands in [at, end). */
void toolcall_try_call(struct toolcall *p, size_t at, size_t end, bool bare) {
    p->back = p->state == STATE_REASONING ? STATE_REASONING : STATE_TEXT;
    p->hold = at;
    p->hold_end = p->pos = end;
    p->state = STATE_HEAD;
    p->call = (struct call){.bare = bare, .head = HEAD_OPEN};
    bool opened = !p->section || p->bracket;
    if (bare || opened) p->call.head = is_object(p) ? HEAD_OBJECT : HEAD_NAME;
    buf_clear(&p->out);
    buf_clear(&p->id);
    buf_clear(&p->name);
    buf_clear(&p->text);
}

void toolcall_no_call(struct toolcall *p) {
    enum toolcall_kind kind = p->back == STATE_TEXT ? TOOLCALL_TEXT : TOOLCALL_REASONING;
    bool bare = p->call.bare;
    p->state = p->back;
    p->section = p->bracket = false;
    p->call = (struct call){0};
    buf_clear(&p->out);
    p->pos = p->hold;
    if (bare) {
        p->fresh = false; /* plain text from here on */
        return;
    }
    bool open = p->open && p->kind == kind;
    if (!open && !p->keep_space)
        while (p->pos < p->hold_end && toolcall_is_space(p->in.p[p->pos])) p->pos++;
    toolcall_block_text(p, kind, p->pos, p->hold_end - p->pos, true);
    p->pos = p->hold_end;
}

/* ---- the name */

static bool valid_name(struct str s) {
    if (!s.len || s.len > LIMIT_CALL_NAME) return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && c < 0x80 && !(c && strchr("_-.:/$@", c))) return false;
    }
    return true;
}

/* With a name at hand: whether this is a call, and if so its START. */
static enum step announce(struct toolcall *p) {
    struct str name = buf_view(&p->name);
    if (!valid_name(name)) return STEP_BAD;
    bool known = toolcall_is_tool(p, name);
    if (p->call.bare && !known) return STEP_BAD;
    if (p->back == STATE_REASONING && p->tools && !known) return STEP_BAD;
    toolcall_call_start(p);
    p->state = STATE_ARGS;
    return STEP_ON;
}

static struct str trim(struct str s) {
    while (s.len && toolcall_is_space(s.p[0])) s.p++, s.len--;
    while (s.len && toolcall_is_space(s.p[s.len - 1])) s.len--;
    return s;
}

/* Splits the text between call_open and name_args into id and name. */
static void split_name(struct toolcall *p, struct str s) {
    struct str sep = p->mark[MARK_ID_SEP].text, prefix = p->name_prefix, id = {0};
    enum descr_id place = p->d->id_place;
    s = trim(s);
    if (prefix.len && str_starts(s, prefix)) s.p += prefix.len, s.len -= prefix.len;
    int64_t at = -1;
    if (sep.len && (place == DESCR_ID_FIRST || place == DESCR_ID_SECOND))
        for (int64_t i = 0; (i = str_find(s, sep, (size_t)i)) >= 0; i++) at = i;
    if (at >= 0) {
        struct str first = {s.p, (size_t)at};
        struct str second = {s.p + at + sep.len, s.len - (size_t)at - sep.len};
        id = trim(place == DESCR_ID_FIRST ? first : second);
        s = trim(place == DESCR_ID_FIRST ? second : first);
    }
    buf_str(&p->id, id);
    buf_str(&p->name, s);
}

/* Finds what ends the name: a marker, or the bracket that opens the arguments. */
static enum match find_name_end(const struct toolcall *p, struct found *f) {
    enum descr_syntax syntax = p->d->syntax;
    uint64_t mask = MARK(MARK_NAME_ARGS);
    if (syntax == DESCR_TAGS && !p->mark[MARK_NAME_ARGS].text.len)
        mask = MARK(MARK_PARAM_OPEN) | MARKS_CLOSE;
    enum match m = syntax == DESCR_GEMMA ? MATCH_NO : toolcall_find(p, mask, p->pos, f);
    if (m == MATCH_NO) f->at = p->in.len;
    if (syntax != DESCR_JSON && syntax != DESCR_GEMMA) return m;
    const char *brace = memchr(p->in.p + p->pos, '{', f->at - p->pos);
    if (!brace) return m;
    f->at = f->end = (size_t)(brace - p->in.p);
    f->id = MARK_NAME_ARGS;
    return MATCH_FULL;
}

static enum step read_name(struct toolcall *p) {
    toolcall_skip_space(p);
    if (p->d->syntax == DESCR_PYTHON && p->pos < p->in.len && p->in.p[p->pos] == '[' &&
        !p->bracket) {
        p->bracket = true;
        p->pos++;
        return STEP_ON;
    }
    struct found f;
    enum match m = find_name_end(p, &f);
    if (m != MATCH_FULL)
        return p->final || p->in.len - p->pos > LIMIT_CALL_HOLD ? STEP_BAD : STEP_MORE;
    split_name(p, (struct str){p->in.p + p->pos, f.at - p->pos});
    p->pos = f.id == MARK_NAME_ARGS ? f.end : f.at;
    return announce(p);
}

static enum step read_object(struct toolcall *p) {
    enum step s = call_object(p);
    if (s == STEP_BAD || (s == STEP_MORE && p->final)) return STEP_BAD;
    if (p->pos - p->hold > LIMIT_CALL_VALUE) return STEP_BAD;
    return s == STEP_ON && p->name.len ? announce(p) : s;
}

/* Behind section_open: the first call_open. */
static enum step read_open(struct toolcall *p) {
    struct str open = p->mark[MARK_SECTION_OPEN].text;
    if (open.len && open.p[open.len - 1] == '[') p->bracket = true;
    toolcall_skip_space(p);
    struct found f;
    p->call.head = is_object(p) ? HEAD_OBJECT : HEAD_NAME;
    if (!p->mark[MARK_CALL_OPEN].text.len) return STEP_ON;
    enum match m = toolcall_match_any(p, MARK(MARK_CALL_OPEN) | MARK(MARK_CALL_SHORT), p->pos, &f);
    if (m == MATCH_FULL) {
        p->pos = f.end;
        return STEP_ON;
    }
    p->call.head = HEAD_OPEN;
    bool wait = m == MATCH_PART || p->pos == p->in.len;
    return wait && !p->final && p->in.len - p->hold <= LIMIT_CALL_HOLD ? STEP_MORE : STEP_BAD;
}

enum step toolcall_step_head(struct toolcall *p) {
    static enum step (*const table[])(struct toolcall *) = {/* ORDER head_state */
                                                            read_open, read_name, read_object};
    enum step s = table[p->call.head](p);
    if (s != STEP_BAD) return s;
    toolcall_no_call(p);
    return STEP_ON;
}

/* ---- arguments */

static enum step no_args(struct toolcall *p) {
    (void)p;
    return STEP_BAD;
}

enum step toolcall_step_args(struct toolcall *p) {
    static enum step (*const table[])(struct toolcall *) = {
        /* ORDER SYNTAX */
        no_args, call_json_args, call_object, call_object, call_tags, call_literal, call_literal};
    struct call *c = &p->call;
    bool literal = p->d->syntax == DESCR_PYTHON || p->d->syntax == DESCR_GEMMA;
    if (literal && !c->args_started) {
        c->args_started = true;
        call_literal_start(&c->lit, p->d->syntax == DESCR_GEMMA,
                           p->d->syntax == DESCR_GEMMA ? 0 : 'k');
        if (!c->lit.gemma) buf_char(&p->out, '{');
    }
    enum step s = c->args_done ? STEP_ON : table[p->d->syntax](p);
    if (s == STEP_BAD) {
        c->malformed = true;
        p->state = STATE_RAW;
        return STEP_ON;
    }
    if (c->args_done) {
        toolcall_flush_args(p, true);
        p->state = STATE_CLOSE;
        return STEP_ON;
    }
    return s;
}

/* The arguments do not parse: hand them on as they are, up to what ends the call. */
enum step toolcall_step_raw(struct toolcall *p) {
    uint64_t mask = MARKS_CLOSE | MARKS_END | MARK(MARK_SECTION_CLOSE) | MARK(MARK_SECTION_OPEN) |
                    MARK(MARK_CALL_OPEN);
    struct found f;
    enum match m = toolcall_find(p, mask, p->pos, &f);
    buf_add(&p->out, p->in.p + p->pos, f.at - p->pos);
    p->pos = f.at;
    toolcall_flush_args(p, m == MATCH_FULL || p->final);
    if (m != MATCH_FULL) return STEP_MORE;
    p->call.args_done = true;
    p->state = STATE_CLOSE;
    return STEP_ON;
}

/* ---- behind the arguments */

enum step toolcall_step_close(struct toolcall *p) {
    size_t at = p->pos;
    for (int i = MARK_CLOSE; i < MARK_N; i++) {
        if (!p->mark[i].text.len) continue;
        size_t to = at;
        while (to < p->in.len && toolcall_is_space(p->in.p[to])) to++;
        if (to == p->in.len && !p->final && to - p->pos <= LIMIT_CALL_HOLD) return STEP_MORE;
        enum match m = toolcall_match(p, (enum marker_id)i, to, &to);
        if (m == MATCH_PART) return STEP_MORE;
        if (m == MATCH_FULL) at = to;
    }
    p->pos = at;
    toolcall_block_end(p, true, at);
    p->state = p->section || p->bracket || p->call.bare ? STATE_BETWEEN : STATE_TEXT;
    return STEP_ON;
}

static enum step leave_section(struct toolcall *p) {
    p->section = p->bracket = false;
    p->state = STATE_TEXT;
    return STEP_ON;
}

/* What one character between calls means; false: nothing. */
static bool between_char(struct toolcall *p, size_t at) {
    char c = p->in.p[at];
    if (p->bracket && c == ']') {
        p->bracket = false;
        p->pos = at + 1;
    } else if (p->bracket && c == ',') {
        toolcall_try_call(p, at, at + 1, false);
    } else if (p->call.bare && (c == ';' || c == ',')) {
        p->pos = at + 1;
    } else if (c == '{' && (p->call.bare ||
                            (!p->bracket && is_object(p) && !p->mark[MARK_CALL_OPEN].text.len))) {
        toolcall_try_call(p, at, at, p->call.bare);
        p->call.head = HEAD_OBJECT;
    } else {
        return false;
    }
    return true;
}

enum step toolcall_step_between(struct toolcall *p) {
    size_t at = p->pos;
    while (at < p->in.len && toolcall_is_space(p->in.p[at])) at++;
    if (at == p->in.len) {
        if (at - p->pos > LIMIT_CALL_HOLD) return leave_section(p);
        if (p->final) p->pos = at;
        return STEP_MORE;
    }
    if (between_char(p, at)) return STEP_ON;
    struct found f;
    uint64_t mask = MARK(MARK_SECTION_CLOSE) | MARKS_CLOSE;
    if (!p->bracket) mask |= MARK(MARK_CALL_OPEN) | MARK(MARK_CALL_SHORT);
    enum match m = toolcall_match_any(p, mask, at, &f);
    if (m == MATCH_PART) return STEP_MORE;
    if (m == MATCH_NO) return leave_section(p);
    if (f.id == MARK_CALL_OPEN || f.id == MARK_CALL_SHORT) {
        toolcall_try_call(p, at, f.end, false);
        p->call.head = is_object(p) ? HEAD_OBJECT : HEAD_NAME;
        return STEP_ON;
    }
    p->pos = f.end;
    return f.id == MARK_SECTION_CLOSE ? leave_section(p) : STEP_ON;
}
