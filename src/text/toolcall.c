/* The output parser's door: input buffer, the loop over the states, blocks and events. Owns no
 * syntax. Called by the server and the verbs, one parser per answer. Invariant: events account
 * for the input in order; `emitted` is where the next one begins. */
#include "base/mem.h"
#include "text/toolcall_impl.h"

#include <string.h>

/* ---- events */

/* to: offset in p->in up to which this event accounts. */
void toolcall_emit(struct toolcall *p, struct toolcall_event *ev, size_t to) {
    ev->raw_from = p->emitted;
    ev->raw_to = p->base + to;
    if (ev->raw_to < ev->raw_from) ev->raw_to = ev->raw_from;
    p->emitted = ev->raw_to;
    p->fn(p->ctx, ev);
}

void toolcall_block_end(struct toolcall *p, bool complete, size_t to) {
    if (!p->open) return;
    struct toolcall_event ev = {.type = TOOLCALL_END,
                                .kind = p->kind,
                                .index = p->n_blocks - 1,
                                .complete = complete,
                                .malformed = p->block_malformed};
    if (p->kind == TOOLCALL_CALL) {
        ev.id = buf_view(&p->id);
        ev.name = buf_view(&p->name);
        ev.malformed = p->call.malformed;
    }
    p->open = false;
    toolcall_emit(p, &ev, to);
}

void toolcall_block_start(struct toolcall *p, enum toolcall_kind kind, size_t to) {
    if (p->open && p->kind == kind && kind != TOOLCALL_CALL) return;
    toolcall_block_end(p, true, to);
    struct toolcall_event ev = {.type = TOOLCALL_START, .kind = kind, .index = p->n_blocks++};
    if (kind == TOOLCALL_CALL) {
        ev.id = buf_view(&p->id);
        ev.name = buf_view(&p->name);
    }
    p->open = true;
    p->kind = kind;
    p->block_malformed = false;
    toolcall_emit(p, &ev, kind == TOOLCALL_CALL ? p->pos : to);
}

void toolcall_block_text(struct toolcall *p, enum toolcall_kind kind, size_t from, size_t n,
                         bool malformed) {
    if (!n) return;
    toolcall_block_start(p, kind, from);
    p->fresh = p->keep_space = false;
    p->block_malformed |= malformed;
    struct toolcall_event ev = {.type = TOOLCALL_DELTA,
                                .kind = kind,
                                .index = p->n_blocks - 1,
                                .text = {p->in.p + from, n},
                                .malformed = malformed};
    toolcall_emit(p, &ev, from + n);
}

void toolcall_call_start(struct toolcall *p) {
    toolcall_block_end(p, true, p->hold);
    toolcall_block_start(p, TOOLCALL_CALL, p->pos);
    p->call.announced = true;
    p->fresh = p->keep_space = false;
}

/* Emits the collected arguments; whole characters only unless all. */
void toolcall_flush_args(struct toolcall *p, bool all) {
    if (!p->call.announced || !p->out.len) return;
    size_t n = all ? p->out.len : utf8_complete(p->out.p, p->out.len);
    if (!n) return;
    struct buf clean = {0};
    struct str text = {p->out.p, n};
    if (!utf8_valid(text.p, n)) {
        buf_clean(&clean, text);
        text = buf_view(&clean);
    }
    p->failed |= clean.failed;
    struct toolcall_event ev = {.type = TOOLCALL_DELTA,
                                .kind = TOOLCALL_CALL,
                                .index = p->n_blocks - 1,
                                .text = text,
                                .malformed = p->call.malformed};
    toolcall_emit(p, &ev, p->pos);
    memmove(p->out.p, p->out.p + n, p->out.len - n);
    p->out.len -= n;
    buf_free(&clean);
}

bool toolcall_is_tool(const struct toolcall *p, struct str name) {
    return call_tool(p->tools, name) != NULL;
}

/* ---- the loop */

static enum step step(struct toolcall *p) {
    static enum step (*const table[])(struct toolcall *) = {
        /* ORDER state */
        toolcall_step_header, toolcall_step_text, toolcall_step_text,  toolcall_step_head,
        toolcall_step_args,   toolcall_step_raw,  toolcall_step_close, toolcall_step_between};
    return table[p->state](p);
}

/* Drops input that is done with. */
static void compact(struct toolcall *p) {
    size_t n = p->state == STATE_HEAD ? p->hold : p->pos;
    if (!n) return;
    memmove(p->in.p, p->in.p + n, p->in.len - n);
    memmove(p->source.p, p->source.p + n, p->source.len - n);
    p->in.len -= n;
    p->source.len -= n;
    p->pos -= n;
    p->hold -= p->state == STATE_HEAD ? n : 0;
    p->hold_end -= p->state == STATE_HEAD ? n : 0;
    p->base += n;
}

static bool run(struct toolcall *p) {
    while (!p->failed && step(p) == STEP_ON) {
        p->failed =
            p->in.failed || p->out.failed || p->id.failed || p->name.failed || p->text.failed;
    }
    if (!p->failed) toolcall_flush_args(p, false);
    compact(p);
    return !p->failed;
}

static bool buf_fill(struct buf *b, char c, size_t n) {
    char block[256];
    memset(block, c, sizeof block);
    for (; n > sizeof block; n -= sizeof block)
        if (!buf_add(b, block, sizeof block)) return false;
    return buf_add(b, block, n);
}

bool toolcall_feed(struct toolcall *p, struct str bytes, enum toolcall_source source) {
    if (p->failed || p->stopped) return false;
    /* piece by piece, so that a large input needs no large buffer */
    while (bytes.len) {
        size_t n = bytes.len < 65536 ? bytes.len : 65536;
        if (!buf_add(&p->in, bytes.p, n) || !buf_fill(&p->source, (char)source, n))
            return !(p->failed = true);
        if (!run(p)) return false;
        bytes.p += n;
        bytes.len -= n;
    }
    return true;
}

bool toolcall_finish(struct toolcall *p, bool cut) {
    if (p->stopped) return !p->failed;
    p->final = true;
    p->cut = cut;
    bool ok = run(p);
    if (ok) {
        bool call = p->open && p->kind == TOOLCALL_CALL;
        bool thinking = p->open && p->kind == TOOLCALL_REASONING;
        if (call) toolcall_flush_args(p, true);
        toolcall_block_end(p, call ? p->call.args_done : !cut && !thinking, p->in.len);
    }
    struct toolcall_event ev = {.type = TOOLCALL_STOP, .index = p->n_blocks};
    toolcall_emit(p, &ev, p->in.len);
    p->stopped = true;
    return ok;
}

/* ---- opening */

static int64_t find_last(struct str hay, struct str needle) {
    int64_t last = -1;
    if (!needle.len) return -1;
    for (int64_t i = 0; (i = str_find(hay, needle, (size_t)i)) >= 0; i++) last = i;
    return last;
}

/* Where the answer begins: the end of the prompt may have opened the reasoning block, or, in
 * formats with headers, have left the header to the model. */
static enum state first_state(struct toolcall *p, struct str prompt) {
    const struct marker *m = p->mark;
    int64_t turn = find_last(prompt, m[MARK_TURN_OPEN].text);
    size_t skip = turn < 0 ? 0 : (size_t)turn + m[MARK_TURN_OPEN].text.len;
    struct str tail = {prompt.p + skip, prompt.len - skip};
    if (turn < 0 && tail.len > LIMIT_CALL_HOLD) {
        tail.p += tail.len - LIMIT_CALL_HOLD;
        tail.len = LIMIT_CALL_HOLD;
    }
    int64_t open = find_last(tail, m[MARK_THINK_OPEN].text);
    int64_t close = find_last(tail, m[MARK_THINK_CLOSE].text);
    if (open > close) return STATE_REASONING;
    if (p->d->framed && find_last(tail, m[MARK_HEADER_END].text) < 0) return STATE_HEADER;
    return STATE_TEXT;
}

struct toolcall *toolcall_open(const struct descr *d, const struct toolcall_options *o,
                               toolcall_fn fn, void *ctx, struct err *e) {
    struct toolcall *p = mem_calloc(1, sizeof *p);
    if (!p) {
        err_nomem(e, "output parser", sizeof *p);
        return NULL;
    }
    p->d = d;
    p->fn = fn;
    p->ctx = ctx;
    p->tools = o->tools;
    p->no_calls = o->no_calls;
    p->fresh = p->keep_space = true;
    toolcall_marks(p, o->vocab);
    p->state = first_state(p, o->prompt.p ? o->prompt : d->prompt);
    return p;
}

void toolcall_close(struct toolcall *p) {
    if (!p) return;
    struct buf *all[] = {&p->in, &p->source, &p->out, &p->id, &p->name, &p->text};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) buf_free(all[i]);
    mem_free(p);
}
