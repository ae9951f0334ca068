/* Tokens to text to blocks (contract in output.h). */
#include "engine/output.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

enum { TOKEN_BYTES = 4096 }; /* room made before a token: its text and what was held back */

void output_init(struct output *o, const struct vocab *v, struct events *q, const struct str *stop,
                 size_t n_stop) {
    *o = (struct output){.vocab = v,
                         .events = q,
                         .stop = stop,
                         .n_stop = n_stop,
                         .stopped = -1,
                         .id_state = os_now_ns() ^ (uint64_t)(uintptr_t)o << 20};
}

void output_free(struct output *o) {
    toolcall_close(o->parser);
    mem_free(o->piece);
    buf_free(&o->raw);
    buf_free(&o->text);
    buf_free(&o->name);
}

static bool reserve(struct buf *b, size_t more) {
    size_t len = b->len;
    if (b->cap - len > more && b->cap) return true;
    static const char zero[TOKEN_BYTES];
    bool ok = buf_add(b, zero, more);
    b->len = len;
    return ok;
}

bool output_reserve(struct output *o) {
    return reserve(&o->raw, TOKEN_BYTES) && reserve(&o->text, TOKEN_BYTES);
}

/* ---- stop strings ------------------------------------------------------------------------- */
/* Length of the longest proper prefix of stop that text ends with. */
static size_t begun(struct str text, struct str stop) {
    size_t n = stop.len - 1 < text.len ? stop.len - 1 : text.len;
    while (n > 0 && memcmp(text.p + text.len - n, stop.p, n) != 0) n--;
    return n;
}

size_t output_find_stop(struct str text, const struct str *stop, size_t n_stop, int *which,
                        size_t *safe) {
    size_t at = text.len;
    *which = -1;
    *safe = text.len;
    for (size_t i = 0; i < n_stop; i++) {
        int64_t found = str_find(text, stop[i], 0);
        if (found >= 0 && (size_t)found < at) at = (size_t)found, *which = (int)i;
        size_t held = text.len - begun(text, stop[i]);
        if (held < *safe) *safe = held;
    }
    if (*which >= 0) *safe = at;
    return at;
}

/* ---- events ------------------------------------------------------------------------------- */
static void put(struct output *o, enum hold_event_kind kind, struct str text) {
    struct hold_event ev = {.kind = kind, .block = o->block};
    ev.block.text = text.len ? text.p : NULL;
    ev.block.len = text.len;
    if (!events_put(o->events, &ev)) o->failed = true;
}

static void block_start(struct output *o, enum hold_block_kind kind, uint64_t raw_from) {
    bool call = kind == HOLD_CALL;
    o->block = (struct hold_block){.index = o->n_blocks++,
                                   .kind = kind,
                                   .id = call ? o->id : NULL,
                                   .name = call ? o->name.p : NULL,
                                   .raw_from = (int64_t)raw_from};
    o->open = true;
    o->thinking = kind == HOLD_REASONING;
    put(o, HOLD_BLOCK_START, (struct str){0});
    o->block.id = o->block.name = NULL;
}

/* Emits the text that no stop string can claim; looks for them in text blocks only. */
static void flush_text(struct output *o, bool all) {
    struct str text = buf_view(&o->text);
    size_t safe = text.len;
    if (o->block.kind == HOLD_TEXT && o->n_stop) {
        int which;
        output_find_stop(text, o->stop, o->n_stop, &which, &safe);
        if (which >= 0) o->stopped = which;
        else if (all) safe = text.len;
    }
    if (safe) put(o, HOLD_BLOCK_DELTA, (struct str){text.p, safe});
    size_t rest = o->stopped >= 0 ? 0 : text.len - safe;
    if (rest) memmove(o->text.p, text.p + safe, rest);
    o->text.len = rest;
}

static void block_end(struct output *o, bool cut, uint64_t raw_to) {
    if (!o->open) return;
    if (o->stopped < 0 && o->text.len) flush_text(o, true);
    o->block.cut = cut;
    o->block.raw_to = (int64_t)raw_to;
    put(o, HOLD_BLOCK_END, (struct str){0});
    o->open = o->thinking = false;
}

/* ---- with a parser ------------------------------------------------------------------------ */
/* Nine letters and digits: the one form of id that every template takes. */
static void make_id(struct output *o, struct str given) {
    static const char digit[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    struct rng rng = {o->id_state};
    if (given.len > 0 && given.len < sizeof o->id) {
        memcpy(o->id, given.p, given.len);
        o->id[given.len] = 0;
        return;
    }
    for (int i = 0; i < 9; i++) o->id[i] = digit[rng_below(&rng, sizeof digit - 1)];
    o->id[9] = 0;
    o->id_state = rng.state;
}

static void piece_start(struct output *o, enum hold_block_kind kind) {
    void *p = o->piece;
    if (!mem_grow(&p, &o->piece_cap, o->n_pieces + 1, sizeof *o->piece)) {
        o->failed = true;
        return;
    }
    o->piece = p;
    o->piece[o->n_pieces] = (struct output_piece){.kind = kind, .exact = true};
    memcpy(o->piece[o->n_pieces++].id, o->id, sizeof o->id);
}

/* Where the text of an event stands in the bytes that it accounts for; the first of a call may hold
 * markup before it, the last one behind it. -1: nowhere. */
static int64_t place(const struct output *o, const struct toolcall_event *ev, bool first) {
    struct str all = {o->raw.p + ev->raw_from, ev->raw_to - ev->raw_from};
    if (str_starts(all, ev->text)) return (int64_t)ev->raw_from;
    if (!first) return -1;
    if (str_ends(all, ev->text)) return (int64_t)(ev->raw_to - ev->text.len);
    int64_t at = str_find(all, ev->text, 0);
    return at < 0 ? -1 : (int64_t)ev->raw_from + at;
}

static void piece_add(struct output *o, const struct toolcall_event *ev) {
    struct output_piece *p = o->n_pieces ? &o->piece[o->n_pieces - 1] : NULL;
    if (!p || ev->text.len == 0) return;
    bool first = p->to == 0;
    int64_t at = place(o, ev, first);
    if (first && at >= 0) p->from = p->to = (size_t)at;
    p->exact = p->exact && at >= 0 && (size_t)at == p->to;
    p->to = (size_t)(at < 0 ? (int64_t)ev->raw_to : at + (int64_t)ev->text.len);
}

static void on_parsed(void *ctx, const struct toolcall_event *ev) {
    static const enum hold_block_kind kind[] = {/* ORDER toolcall_kind */
                                                HOLD_TEXT, HOLD_REASONING, HOLD_CALL};
    struct output *o = ctx;
    if (o->stopped >= 0 && ev->type != TOOLCALL_END) return;
    switch (ev->type) {
    case TOOLCALL_START:
        buf_clear(&o->name);
        if (ev->kind == TOOLCALL_CALL) {
            make_id(o, ev->id);
            buf_str(&o->name, ev->name);
        }
        piece_start(o, kind[ev->kind]);
        block_start(o, kind[ev->kind], ev->raw_from);
        break;
    case TOOLCALL_DELTA:
        piece_add(o, ev);
        buf_str(&o->text, ev->text);
        flush_text(o, false);
        break;
    case TOOLCALL_END:
        o->n_calls += ev->kind == TOOLCALL_CALL && ev->complete;
        block_end(o, !ev->complete, ev->raw_to);
        break;
    case TOOLCALL_STOP:
        break;
    }
}

bool output_parse(struct output *o, const struct descr *d, const struct toolcall_options *how,
                  bool thinking, struct err *e) {
    o->parser = toolcall_open(d, how, on_parsed, o, e);
    o->thinking = thinking;
    o->call_close = d->call_close;
    return o->parser != NULL;
}

/* ---- tokens ------------------------------------------------------------------------------- */
void output_token(struct output *o, int32_t id) {
    struct str bytes = vocab_bytes(o->vocab, id, true);
    bool control = vocab_type(o->vocab, id) == TOKEN_CONTROL;
    o->n_reasoning += o->thinking;
    buf_str(&o->raw, bytes);
    if (o->parser) {
        if (!toolcall_feed(o->parser, bytes, control ? TOOLCALL_CONTROL : TOOLCALL_PLAIN))
            o->failed = true;
    } else {
        if (!o->open) block_start(o, HOLD_TEXT, 0);
        vocab_stream_add(o->vocab, &o->stream, id, false, &o->text);
        if (o->text.len) flush_text(o, false);
    }
    o->failed = o->failed || o->raw.failed || o->text.failed || o->name.failed;
}

bool output_ends_call(const struct output *o, int32_t id) {
    struct str end = vocab_bytes(o->vocab, id, true);
    return o->parser && end.len && str_find(o->call_close, end, 0) >= 0;
}

void output_finish(struct output *o, bool cut) {
    if (o->finished) return;
    o->finished = true;
    if (o->parser && !toolcall_finish(o->parser, cut)) o->failed = true;
    toolcall_close(o->parser); /* it reads what is the model's */
    if (o->open && o->stopped < 0 && !o->parser) vocab_stream_end(&o->stream, &o->text);
    o->parser = NULL;
    block_end(o, cut, o->raw.len);
}
