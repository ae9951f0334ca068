/* The states outside of calls: text, reasoning, and the headers of framed messages. White space
 * and turn ends are soft: they are held back, and dropped where markup or the end follows. */
#include "text/toolcall_impl.h"

#include <string.h>

static bool is_end(enum marker_id id) {
    return id >= MARK_END && id < MARK_CLOSE;
}

/* Whether a marker means something at this place. Text that merely talks about markup stays text:
 * reasoning opens at the start of a line, stray closing tags count only where no text is open. */
static bool allowed(const struct toolcall *p, enum marker_id id, size_t at, bool nothing_before) {
    enum toolcall_kind kind = p->state == STATE_TEXT ? TOOLCALL_TEXT : TOOLCALL_REASONING;
    bool start = nothing_before && !(p->open && p->kind == kind);
    bool control = p->source.p[at] == TOOLCALL_CONTROL;
    bool line = start || control || (at > 0 ? p->in.p[at - 1] == '\n' : !p->open);
    switch (id) {
    case MARK_THINK_OPEN:
        return p->state == STATE_TEXT ? line : start;
    case MARK_THINK_CLOSE:
        return p->state == STATE_REASONING || start;
    case MARK_SECTION_CLOSE:
        return start || control;
    case MARK_SECTION_OPEN:
    case MARK_CALL_OPEN:
    case MARK_CALL_SHORT:
        return p->state == STATE_TEXT || line;
    default:
        return true;
    }
}

static uint64_t text_marks(const struct toolcall *p) {
    uint64_t m = MARK(MARK_TEXT_OPEN) | MARK(MARK_TURN_OPEN) | MARKS_END | MARK(MARK_SECTION_OPEN) |
                 MARK(MARK_SECTION_CLOSE) | MARK(MARK_CALL_OPEN) | MARK(MARK_CALL_SHORT);
    m |= MARK(MARK_THINK_OPEN); /* in reasoning: said again by a model whose prompt opened it */
    if (p->state == STATE_REASONING || p->fresh) m |= MARK(MARK_THINK_CLOSE);
    /* in framed formats a header opens reasoning and, where arguments are JSON, calls */
    if (p->d->framed) m &= ~(MARK(MARK_THINK_OPEN) | MARK(MARK_TEXT_OPEN));
    if (p->d->framed && !p->d->name_again.len)
        m &= ~(MARK(MARK_CALL_OPEN) | MARK(MARK_CALL_SHORT) | MARK(MARK_SECTION_OPEN));
    return m;
}

struct scan {
    size_t text_end; /* behind the last byte that is text for certain */
    size_t at;       /* where the scan stopped */
    bool ended;      /* a turn end stands in the soft part */
    enum match match;
    struct found found;
};

/* Runs from pos to the first marker that counts, or to where more input is needed. */
static void scan_text(const struct toolcall *p, struct scan *s) {
    uint64_t mask = text_marks(p);
    size_t from = p->pos;
    *s = (struct scan){.text_end = p->pos, .at = p->pos};
    while (s->at < p->in.len) {
        struct found f;
        enum match m = toolcall_find(p, mask, from, &f);
        for (; s->at < f.at; s->at++)
            if (!toolcall_is_space(p->in.p[s->at])) s->text_end = s->at + 1;
        if (m == MATCH_NO) return;
        /* several markers may read the same: the first that counts here */
        uint64_t rest = mask;
        while (m == MATCH_FULL && !allowed(p, f.id, f.at, s->text_end == p->pos)) {
            rest &= ~MARK(f.id);
            m = toolcall_match_any(p, rest, f.at, &f);
        }
        if (m == MATCH_FULL && is_end(f.id) && !p->d->framed) {
            s->ended = true;
            s->at = from = f.end;
        } else if (m != MATCH_NO) {
            s->match = m;
            s->found = f;
            return;
        } else {
            from = f.at + 1;
            s->text_end = s->at = from;
        }
    }
}

/* Acts on a marker found in text or reasoning; what stands between pos and it is soft. */
static void take_marker(struct toolcall *p, const struct found *f) {
    size_t at = f->at;
    switch (f->id) {
    case MARK_SECTION_OPEN:
    case MARK_CALL_OPEN:
    case MARK_CALL_SHORT:
        p->section = f->id == MARK_SECTION_OPEN;
        toolcall_try_call(p, p->pos, f->end, false);
        return;
    case MARK_TEXT_OPEN:
        if (p->state == STATE_REASONING) toolcall_block_end(p, true, at);
        p->state = STATE_TEXT;
        break;
    case MARK_THINK_OPEN:
        toolcall_block_end(p, true, at);
        p->state = STATE_REASONING;
        break;
    case MARK_TURN_OPEN:
        toolcall_block_end(p, true, at);
        p->fresh = true;
        p->state = p->d->framed ? STATE_HEADER : STATE_TEXT;
        break;
    case MARK_THINK_CLOSE:
        toolcall_block_end(p, true, f->end);
        p->state = p->d->framed ? STATE_HEADER : STATE_TEXT;
        break;
    default:
        if (is_end(f->id)) {
            toolcall_block_end(p, true, f->end);
            p->state = STATE_HEADER;
        }
        break;
    }
    p->pos = f->end;
    p->keep_space = false;
}

/* A call that nothing marks: an object that opens the answer. */
static bool try_bare(struct toolcall *p) {
    const struct descr *d = p->d;
    if (!d->bare || p->no_calls || !p->tools || !p->fresh || p->open) return false;
    size_t at = p->pos;
    while (at < p->in.len && toolcall_is_space(p->in.p[at])) at++;
    if (at == p->in.len || p->in.p[at] != '{') return false;
    toolcall_try_call(p, at, at, true);
    return true;
}

enum step toolcall_step_text(struct toolcall *p) {
    enum toolcall_kind kind = p->state == STATE_TEXT ? TOOLCALL_TEXT : TOOLCALL_REASONING;
    if (kind == TOOLCALL_TEXT && try_bare(p)) return STEP_ON;
    struct scan s;
    scan_text(p, &s);
    bool open = p->open && p->kind == kind;
    /* too much white space to hold back, or the end: it is text where a block is open */
    bool all = s.at - s.text_end > LIMIT_CALL_HOLD || (p->final && !s.ended);
    if (all && s.match == MATCH_NO && (open || s.text_end > p->pos)) s.text_end = s.at;
    size_t from = p->pos, end = s.text_end;
    if (s.match == MATCH_NO && !p->final && end == p->in.len)
        end = from + utf8_complete(p->in.p + from, end - from);
    if (!open && !p->keep_space)
        while (from < end && toolcall_is_space(p->in.p[from])) from++;
    if (end > from) {
        toolcall_block_text(p, kind, from, end - from, false);
        p->pos = end;
    } else if (!open && s.match == MATCH_NO && s.at - p->pos > LIMIT_CALL_HOLD) {
        p->pos = s.at; /* endless white space in front of nothing */
    }
    if (s.match == MATCH_FULL) {
        take_marker(p, &s.found);
        return STEP_ON;
    }
    if (p->final && s.match == MATCH_NO) p->pos = p->in.len;
    return STEP_MORE;
}

/* ---- headers of framed messages */

/* The recipient "to=NAME" of a header; empty when there is none. */
static struct str recipient(struct str header) {
    int64_t at = str_find(header, STR("to="), 0);
    if (at < 0) return (struct str){0};
    struct str r = {header.p + at + 3, header.len - (size_t)at - 3};
    size_t n = 0;
    while (n < r.len && !toolcall_is_space(r.p[n]) && r.p[n] != '<') n++;
    r.len = n;
    return r;
}

static struct str drop_prefix(struct str s, struct str prefix) {
    if (!prefix.len || !str_starts(s, prefix)) return s;
    return (struct str){s.p + prefix.len, s.len - prefix.len};
}

/* "to=functions." of call_open: what stands between "to=" and the name. */
static struct str recipient_prefix(const struct descr *d) {
    int64_t at = str_find(d->call_open, STR("to="), 0);
    if (at < 0) return (struct str){0};
    return (struct str){d->call_open.p + at + 3, d->call_open.len - (size_t)at - 3};
}

/* Decides from the header what the message is. pos stands behind header_end. */
static void take_header(struct toolcall *p, struct str header) {
    const struct descr *d = p->d;
    struct str to = recipient(header), prefix = recipient_prefix(d);
    bool call = to.len && d->syntax == DESCR_JSON && !p->no_calls;
    struct str name = drop_prefix(to, prefix);
    call = call && (str_starts(to, prefix) || !p->tools || toolcall_is_tool(p, name));
    if (call && name.len && name.len <= LIMIT_CALL_NAME) {
        buf_clear(&p->name);
        buf_clear(&p->id);
        buf_str(&p->name, name);
        p->call = (struct call){0};
        toolcall_call_start(p);
        p->state = STATE_ARGS;
        return;
    }
    struct str think = d->think_header;
    while (think.len && toolcall_is_space(think.p[0])) think.p++, think.len--;
    p->state = think.len && str_find(header, think, 0) >= 0 ? STATE_REASONING : STATE_TEXT;
    toolcall_block_end(p, true, p->hold);
}

/* No header: what stands here is text. */
static enum step no_header(struct toolcall *p) {
    p->state = STATE_TEXT;
    return STEP_ON;
}

enum step toolcall_step_header(struct toolcall *p) {
    size_t start = p->pos;
    while (start < p->in.len && toolcall_is_space(p->in.p[start])) start++;
    if (start == p->in.len) {
        if (p->final) p->pos = start;
        return STEP_MORE;
    }
    struct str rest = {p->in.p + start, p->in.len - start};
    struct found f;
    enum match m = toolcall_match_any(p, MARK(MARK_TURN_OPEN) | MARKS_END, start, &f);
    if (m == MATCH_FULL) {
        p->pos = f.end;
        return STEP_ON;
    }
    struct str to = STR("to=");
    bool plausible = rest.p[0] == '<' || str_starts(rest, to) ||
                     (rest.len < to.len && str_starts(to, rest) && !p->final);
    if (!plausible) return no_header(p);
    m = toolcall_find(p, MARK(MARK_HEADER_END), start, &f);
    if (m != MATCH_FULL && (p->final || rest.len > LIMIT_CALL_HOLD)) return no_header(p);
    if (m != MATCH_FULL) return STEP_MORE;
    p->hold = start;
    p->pos = f.end;
    p->keep_space = false;
    take_header(p, (struct str){p->in.p + start, f.at - start});
    return STEP_ON;
}
