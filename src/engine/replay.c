/* Replaying what was generated (contract in replay.h). A hit splits the text: what stands before
 * it is tokenized on its own, as it was when the answer began there. Before a call that is the
 * markup which the model wrote itself, with other blanks than the template's, perhaps. */
#include "engine/replay.h"
#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

enum { SHOWN_READ = 16 }; /* a text is searched for objects with so many times its bytes at most */

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
    const struct replay *x = j->x;
    bool ok = x->memo
                  ? token_memo_tokenize(x->memo, x->scope, j->span, j->n, add_special, j->out, j->e)
                  : vocab_tokenize_spans(x->vocab, j->span, j->n, add_special, j->out, j->e);
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
    for (size_t i = 0; i < hit->n + hit->n_lead; i++) {
        int32_t id = i < hit->n ? hit->token[i] : hit->lead_token[i - hit->n];
        if (id < 0 || id >= vocab_size(j->x->vocab)) return false;
    }
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

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* How much of the text is not the lead, whatever blanks are in either; -1: it does not end so. */
static int64_t without_lead(struct str text, struct str lead) {
    for (;;) {
        while (lead.len && is_blank(lead.p[lead.len - 1])) lead.len--;
        if (!lead.len) return (int64_t)text.len;
        while (text.len && is_blank(text.p[text.len - 1])) text.len--;
        if (!text.len || text.p[--text.len] != lead.p[--lead.len]) return -1;
    }
}

/* The bytes that stay in front of the lead: of an answer that it opens those up to the end of the
 * generation prompt, else none; -1: something else stands there. */
static int64_t before_lead(const struct joiner *j, struct str text,
                           const struct ledger_piece *hit) {
    int64_t n = without_lead(text, hit->lead);
    if (n < 0) return -1;
    struct str rest = {text.p, (size_t)n}, prompt = j->x->prompt;
    while (rest.len && is_blank(rest.p[rest.len - 1])) rest.len--;
    if (!hit->opens) return rest.len ? -1 : 0;
    size_t blanks = prompt.len;
    while (prompt.len && is_blank(prompt.p[prompt.len - 1])) prompt.len--;
    blanks -= prompt.len;
    bool same = prompt.len && str_ends(rest, prompt) && text.len - rest.len >= blanks &&
                (!blanks || memcmp(rest.p + rest.len, prompt.p + prompt.len, blanks) == 0);
    return same ? (int64_t)(rest.len + blanks) : -1;
}

/* Leaves the first n bytes of what is not tokenized yet. */
static void shorten(struct joiner *j, size_t n) {
    size_t i = 0;
    for (; i < j->n && j->span[i].text.len <= n; i++) n -= j->span[i].text.len;
    if (i < j->n && n) j->span[i++].text.len = n;
    j->n = i;
}

static bool add_tokens(struct joiner *j, const int32_t *id, size_t n) {
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = tokens_add(j->out, id[i]) || err_nomem(j->e, "a prompt", n * sizeof *id);
    return ok;
}

/* What stands before the hit: as it was generated where that is known, else as text. */
static bool take_lead(struct joiner *j, struct str before, const struct ledger_piece *hit) {
    struct buf text = {0};
    for (size_t i = 0; hit->n_lead && i < j->n; i++) buf_str(&text, j->span[i].text);
    buf_str(&text, before);
    buf_add(&text, hit->text.p, hit->from);
    int64_t keep = hit->n_lead && !text.failed ? before_lead(j, buf_view(&text), hit) : -1;
    buf_free(&text);
    if (keep < 0)
        return add(j, before, false) && add(j, (struct str){hit->text.p, hit->from}, false) &&
               flush(j);
    shorten(j, (size_t)keep);
    return flush(j) && add_tokens(j, hit->lead_token, hit->n_lead);
}

/* The text before the hit, then its tokens; what is behind it waits for the text that follows. */
static bool take(struct joiner *j, struct str before, const struct ledger_piece *hit,
                 struct str behind) {
    bool ok = take_lead(j, before, hit) && add_tokens(j, hit->token, hit->n);
    j->begun = true;
    return ok && add(j, (struct str){hit->text.p + hit->to, hit->text.len - hit->to}, false) &&
           add(j, behind, false);
}

/* special: a special token follows, and no text. */
static bool is_known(struct joiner *j, const struct chat_span *s, struct str core, bool special,
                     struct ledger_piece *hit) {
    return find(j, s, core, hit) && in_vocab(j, hit) &&
           (!j->x->space_prefix || /* no text may begin here */
            (special && hit->to == hit->text.len));
}

static bool put(struct joiner *j, const struct chat_span *s, struct str text, bool special) {
    struct str core = ledger_core(text), before = {text.p, (size_t)(core.p - text.p)};
    struct str behind = {core.p + core.len, text.len - before.len - core.len};
    struct ledger_piece hit;
    return is_known(j, s, core, special && !behind.len, &hit) ? take(j, before, &hit, behind)
                                                              : add(j, text, s->special);
}

/* Length of the JSON object that text begins with; 0: none. *left: bytes that may still be read. */
static size_t object_len(struct str text, size_t *left) {
    json_error_t e = {.position = 0};
    json_t *v = json_loadb(text.p, text.len, JSON_DISABLE_EOF_CHECK, &e);
    size_t read = 1 + (e.position > 0 ? (size_t)e.position : 0);
    json_decref(v);
    *left -= read < *left ? read : *left;
    return v ? read - 1 : 0;
}

/* The content of a message with calls, in a template that has no place for those: they are shown in
 * it, as text. What can be found there are objects that equal the arguments. */
static bool put_with_calls(struct joiner *j, const struct chat_span *s, const json_t *message) {
    struct str text = {j->r->text.p + s->start, s->len};
    struct str said = ledger_core(json_get_str(message, "content"));
    struct chat_span call = *s;
    bool ok = true;
    call.part = CHAT_CALL;
    if (said.len && str_starts(text, said)) {
        ok = put(j, s, (struct str){text.p, said.len}, false);
        text = (struct str){text.p + said.len, text.len - said.len};
    }
    int64_t at = 0;
    size_t left = SHOWN_READ * text.len;
    while (ok && left) {
        struct ledger_piece hit;
        if ((at = str_find(text, STR("{"), (size_t)at)) < 0) break;
        struct str object = {text.p + at, text.len - (size_t)at}, before = {text.p, (size_t)at};
        object.len = object_len(object, &left);
        if (!object.len || !is_known(j, &call, object, false, &hit)) {
            at++;
            continue;
        }
        ok = take(j, before, &hit, STR(""));
        text = (struct str){object.p + object.len, text.len - (size_t)at - object.len};
        at = 0;
    }
    return ok && add(j, text, s->special);
}

bool replay_tokenize(const struct replay *x, const struct chat_rendering *r, struct tokens *out,
                     struct err *e) {
    struct joiner j = {.x = x, .r = r, .out = out, .e = e, .message = -1};
    bool ok = true;
    for (size_t i = 0; ok && i < r->n_span; i++) {
        const struct chat_span *s = &r->span[i];
        const json_t *m = s->message < 0 ? NULL : json_array_get(x->messages, (size_t)s->message);
        bool shown = x->ledger && s->part == CHAT_CONTENT && !s->special &&
                     json_array_size(json_object_get(m, "tool_calls"));
        ok = shown ? put_with_calls(&j, s, m)
                   : put(&j, s, (struct str){r->text.p + s->start, s->len}, special_follows(r, i));
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
    const int32_t *next = token; /* behind the last piece that was kept */
    size_t end = 0;              /* of its bytes */
    for (size_t i = 0; i < o->n_pieces; i++) {
        const struct output_piece *b = &o->piece[i];
        if (!b->exact || b->to <= b->from) continue;
        struct str core = ledger_core((struct str){o->raw.p + b->from, b->to - b->from});
        size_t from = (size_t)(core.p - o->raw.p);
        struct ledger_piece p = aligned(o, token, n, from, from + core.len);
        if (p.n == 0) continue;
        if (b->kind == HOLD_CALL) {
            p.lead = (struct str){o->raw.p + end, from + p.from - end};
            p.lead_token = next;
            p.n_lead = (size_t)(p.token - next);
            p.opens = next == token;
        }
        ledger_add(l, scope, b->kind == HOLD_CALL ? b->id : NULL, &p);
        next = p.token + p.n;
        end = from + p.to;
    }
}
