/* Replaying what was generated (contract in replay.h). A hit splits the text: what stands before
 * it is tokenized on its own, as it was when the answer began there. */
#include "engine/replay.h"
#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

struct joiner {
    const struct replay *x;
    const struct chat_rendering *r;
    struct tokens *out;
    struct err *e;
    struct text_span *span; /* not tokenized yet */
    size_t n, cap;
    bool begun;
    struct arena mem; /* of hits */
    size_t call;      /* calls of the current message that were found so far */
    int message;
};

static bool flush(struct joiner *j) {
    if (j->n == 0) return true;
    bool add_special = !j->begun && !j->r->has_bos;
    j->begun = true;
    bool ok = vocab_tokenize_spans(j->x->vocab, j->span, j->n, add_special, j->out, j->e);
    j->n = 0;
    return ok;
}

static bool add(struct joiner *j, struct str text, bool special) {
    struct text_span *last = j->n ? &j->span[j->n - 1] : NULL;
    if (text.len == 0) return true;
    if (last && last->special == special && last->text.p + last->text.len == text.p) {
        last->text.len += text.len;
        return true;
    }
    void *p = j->span;
    if (!mem_grow(&p, &j->cap, j->n + 1, sizeof *j->span))
        return err_nomem(j->e, "a prompt", j->n * sizeof *j->span);
    j->span = p;
    j->span[j->n++] = (struct text_span){text, special};
    return true;
}

/* The arguments of a call in this message, in the order of the calls. */
static bool find_call(struct joiner *j, const json_t *message, struct str text,
                      struct ledger_piece *hit) {
    struct err e;
    const json_t *calls = json_object_get(message, "tool_calls");
    if (text.p[0] != '{' || j->call >= json_array_size(calls)) return false;
    json_t *args = json_parse(text, LIMIT_JSON_BYTES, &e);
    bool found = false;
    for (size_t i = j->call; args && !found && i < json_array_size(calls); i++) {
        const char *id = json_string_value(json_object_get(json_array_get(calls, i), "id"));
        found = id && ledger_find_call(j->x->ledger, j->x->scope, id, args, &j->mem, hit);
        if (found) j->call = i + 1;
    }
    json_decref(args);
    return found;
}

/* What comes from the disk may be another vocabulary's. */
static bool in_vocab(const struct joiner *j, const struct ledger_piece *hit) {
    for (size_t i = 0; i < hit->n; i++)
        if (hit->token[i] < 0 || hit->token[i] >= vocab_size(j->x->vocab)) return false;
    return true;
}

/* core: the text of the span without white space at its ends. */
static bool find(struct joiner *j, const struct chat_span *s, struct str core,
                 struct ledger_piece *hit) {
    if (!j->x->ledger || s->message < 0 || s->special || core.len == 0) return false;
    const json_t *message = json_array_get(j->x->messages, (size_t)s->message);
    if (!str_is(json_get_str(message, "role"), "assistant")) return false;
    if (s->message != j->message) j->message = s->message, j->call = 0;
    if (s->part == CHAT_CALL) return find_call(j, message, core, hit);
    return (s->part == CHAT_CONTENT || s->part == CHAT_REASONING) &&
           ledger_find_text(j->x->ledger, j->x->scope, core, &j->mem, hit);
}

/* Whether what follows span i begins with a special token. */
static bool special_follows(const struct chat_rendering *r, size_t i) {
    return i + 1 == r->n_span || r->span[i + 1].special;
}

/* The text before the hit, then its tokens; what is behind it waits for the text that follows. */
static bool take(struct joiner *j, struct str before, const struct ledger_piece *hit,
                 struct str behind) {
    bool ok =
        add(j, before, false) && add(j, (struct str){hit->text.p, hit->from}, false) && flush(j);
    for (size_t i = 0; ok && i < hit->n; i++)
        ok = tokens_add(j->out, hit->token[i]) || err_nomem(j->e, "a prompt", hit->n * 4);
    j->begun = true;
    return ok && add(j, (struct str){hit->text.p + hit->to, hit->text.len - hit->to}, false) &&
           add(j, behind, false);
}

bool replay_tokenize(const struct replay *x, const struct chat_rendering *r, struct tokens *out,
                     struct err *e) {
    struct joiner j = {.x = x, .r = r, .out = out, .e = e, .message = -1};
    bool ok = true;
    for (size_t i = 0; ok && i < r->n_span; i++) {
        const struct chat_span *s = &r->span[i];
        struct str text = {r->text.p + s->start, s->len}, core = ledger_core(text);
        struct str before = {text.p, (size_t)(core.p - text.p)};
        struct str behind = {core.p + core.len, text.len - before.len - core.len};
        struct ledger_piece hit;
        bool found = find(&j, s, core, &hit) && in_vocab(&j, &hit);
        if (found && x->space_prefix) /* no text may begin here */
            found = hit.to == hit.text.len && behind.len == 0 && special_follows(r, i);
        ok = found ? take(&j, before, &hit, behind) : add(&j, text, s->special);
    }
    ok = ok && flush(&j);
    mem_free(j.span);
    arena_free(&j.mem);
    return ok;
}

/* ---- keeping ------------------------------------------------------------------------------ */
/* The tokens that lie wholly in bytes [from, to) of the answer. */
static struct ledger_piece aligned(const struct output *o, const int32_t *token, int n, size_t from,
                                   size_t to) {
    struct ledger_piece p = {.text = {o->raw.p + from, to - from}};
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        size_t len = vocab_bytes(o->vocab, token[i], true).len;
        if (at >= from && at + len <= to) {
            if (p.n == 0) p.token = token + i, p.from = at - from;
            p.n++;
            p.to = at + len - from;
        }
        at += len;
    }
    return p;
}

void replay_keep(struct ledger *l, uint64_t scope, const struct output *o, const int32_t *token,
                 int n) {
    for (size_t i = 0; i < o->n_pieces; i++) {
        const struct output_piece *b = &o->piece[i];
        if (!b->exact || b->to <= b->from) continue;
        struct str core = ledger_core((struct str){o->raw.p + b->from, b->to - b->from});
        size_t from = (size_t)(core.p - o->raw.p);
        struct ledger_piece p = aligned(o, token, n, from, from + core.len);
        ledger_add(l, scope, b->kind == HOLD_CALL ? b->id : NULL, &p);
    }
}
