/* The door of grammars: positions, feeding, rollback, forced text. Owns the history of one
 * sequence; the automaton's tables are the machine's (machine.c), masks are mask.c's. */
#include "sample/grammar.h"
#include "base/mem.h"
#include "sample/mask.h"

#include <string.h>

enum {
    HISTORY = 4096,           /* steps that can be taken back, at least */
    MACHINE_LIMIT = 24 << 20, /* bytes of tables, then they are cleaned */
    FORCED_BYTES = 4096
};

struct grammar_state {
    struct grammar_vocab *gv;
    struct machine *m;
    struct grammar_state *next; /* of the same machine */
    uint32_t at;
    uint32_t *past; /* sets before each step */
    size_t n_past, cap_past;
};

void grammar_ref(struct grammar *g) {
    atomic_fetch_add(&g->refs, 1);
}

void grammar_free(struct grammar *g) {
    if (!g || atomic_fetch_sub(&g->refs, 1) > 1) return;
    mem_free(g->node);
    mem_free(g->edge);
    mem_free(g->token);
    mem_free(g->call);
    mem_free(g);
}

static struct grammar_state *attach(struct machine *m, struct grammar_vocab *gv, struct err *e) {
    struct grammar_state *s = mem_calloc(1, sizeof *s);
    if (!s) {
        err_nomem(e, "a grammar's state", sizeof *s);
        return NULL;
    }
    s->gv = gv;
    s->m = m;
    s->next = m->states;
    m->states = s;
    return s;
}

struct grammar_state *grammar_start(struct grammar *g, struct grammar_vocab *gv, struct err *e) {
    struct machine *m = gv ? mask_machine(gv, g, e) : machine_new(g, e);
    if (!m) return NULL;
    if (!gv) m->refs = 1;
    struct grammar_state *s = attach(m, gv, e);
    if (!s) {
        if (gv) mask_release(gv, m);
        else machine_free(m);
        return NULL;
    }
    s->at = machine_start(m);
    if (s->at != SET_DEAD) return s;
    err_set(e, ERR_NOMEM, "no memory for a grammar's state");
    grammar_end(s);
    return NULL;
}

struct grammar_state *grammar_fork(const struct grammar_state *from, struct err *e) {
    struct grammar_state *s = attach(from->m, from->gv, e);
    if (!s) return NULL;
    from->m->refs++;
    s->at = from->at;
    if (from->n_past) {
        s->past = mem_array(from->n_past, sizeof *s->past);
        if (!s->past) {
            grammar_end(s);
            err_nomem(e, "a grammar's state", from->n_past * sizeof *s->past);
            return NULL;
        }
        memcpy(s->past, from->past, from->n_past * sizeof *s->past);
        s->n_past = s->cap_past = from->n_past;
    }
    return s;
}

void grammar_end(struct grammar_state *s) {
    if (!s) return;
    struct grammar_state **p = &s->m->states;
    while (*p != s) p = &(*p)->next;
    *p = s->next;
    if (s->gv) mask_release(s->gv, s->m);
    else if (--s->m->refs == 0) machine_free(s->m);
    mem_free(s->past);
    mem_free(s);
}

/* Moves what is still needed into fresh tables. On failure the old ones stay. */
static void clean(struct machine *m) {
    struct machine *fresh = machine_new(m->g, NULL);
    uint32_t *map = mem_calloc(m->n_sets, sizeof *map);
    bool ok = fresh && map;
    for (struct grammar_state *s = m->states; s && ok; s = s->next) {
        machine_copy(fresh, m, s->at, map);
        for (size_t i = 0; i < s->n_past; i++) machine_copy(fresh, m, s->past[i], map);
        ok = !fresh->failed;
    }
    if (ok) {
        for (struct grammar_state *s = m->states; s; s = s->next) {
            if (s->at >= SET_FIRST_FREE) s->at = map[s->at];
            for (size_t i = 0; i < s->n_past; i++)
                if (s->past[i] >= SET_FIRST_FREE) s->past[i] = map[s->past[i]];
        }
        struct machine old = *m;
        *m = *fresh;
        *fresh = old;
        m->refs = old.refs;
        m->next = old.next;
        m->states = old.states;
        m->serial = old.serial;
        m->used = old.used;
    }
    machine_free(fresh);
    mem_free(map);
}

/* A step, after which `set` is the position. */
static bool advance(struct grammar_state *s, uint32_t set) {
    if (s->n_past >= 2 * HISTORY) {
        memmove(s->past, s->past + HISTORY, (s->n_past - HISTORY) * sizeof *s->past);
        s->n_past -= HISTORY;
    }
    void *p = s->past;
    if (!mem_grow(&p, &s->cap_past, s->n_past + 1, sizeof *s->past)) return false;
    s->past = p;
    s->past[s->n_past++] = s->at;
    s->at = set;
    if (machine_bytes(s->m) > MACHINE_LIMIT) clean(s->m);
    return true;
}

bool grammar_bytes(struct grammar_state *s, struct str bytes, size_t *accepted) {
    uint32_t at = s->at;
    size_t i = 0;
    for (; i < bytes.len; i++) {
        uint32_t to = machine_step(s->m, at, (uint8_t)bytes.p[i]);
        if (to == SET_DEAD) break;
        at = to;
    }
    *accepted = i;
    return (i == 0 || advance(s, at)) && i == bytes.len;
}

bool grammar_token(struct grammar_state *s, int32_t id) {
    uint32_t to = s->gv ? mask_accept(s->gv, s->m, s->at, id) : machine_token(s->m, s->at, id);
    return to != SET_DEAD && advance(s, to);
}

bool grammar_done(const struct grammar_state *s) {
    const struct closed *c = machine_close(s->m, s->at);
    return c && c->accept;
}

bool grammar_next(struct grammar_state *s, uint64_t live[4]) {
    const struct closed *c = machine_close(s->m, s->at);
    if (c) memcpy(live, c->live, sizeof c->live);
    return c != NULL;
}

bool grammar_mask(struct grammar_state *s, uint32_t *mask) {
    return s->gv && mask_fill(s->gv, s->m, s->at, mask);
}

/* The only byte that can follow, or -1. */
static int only_byte(const struct closed *c) {
    if (c->accept || c->tokens) return -1;
    int found = -1;
    for (int w = 0; w < 4; w++) {
        uint64_t x = c->live[w];
        if (!x) continue;
        if (found >= 0 || (x & (x - 1))) return -1;
        for (found = w * 64; !(x & 1); x >>= 1) found++;
    }
    return found;
}

static bool forced(struct grammar_state *s, struct buf *out, uint32_t *end) {
    uint32_t at = s->at;
    for (int n = 0; n < FORCED_BYTES; n++) {
        const struct closed *c = machine_close(s->m, at);
        int byte = c ? only_byte(c) : -1;
        if (byte < 0) break;
        if (!buf_char(out, (char)byte)) return false;
        at = machine_step(s->m, at, (uint8_t)byte);
    }
    *end = at;
    return !s->m->failed;
}

bool grammar_forced(struct grammar_state *s, struct buf *out) {
    uint32_t end;
    return forced(s, out, &end);
}

/* Cuts tokens where a longer token that the grammar allows would reach beyond the forced text:
 * from the first byte on at which one could begin, the model has to choose itself. */
bool grammar_forced_tokens(struct grammar_state *s, struct tokens *out, struct err *e) {
    struct buf text = {0};
    uint32_t end;
    size_t first = out->n, keep, at = 0, n = 0;
    bool ok = forced(s, &text, &end);
    if (!ok) err_nomem(e, "forced text", FORCED_BYTES);
    if (!ok || text.len == 0 || !s->gv || !s->gv->vocab) goto end;
    size_t from = text.len > s->gv->trie.height ? text.len - s->gv->trie.height : 0;
    for (keep = from; keep < text.len; keep++)
        if (mask_crosses(s->gv, s->m, (struct str){text.p + keep, text.len - keep}, end)) break;
    ok = vocab_tokenize(s->gv->vocab, buf_view(&text), false, false, out, e);
    for (size_t i = first; ok && i < out->n; i++) {
        struct str t = s->gv->bytes[out->id[i]];
        bool same = at + t.len <= text.len && t.len && !memcmp(text.p + at, t.p, t.len);
        if (!same || at + t.len > keep) break;
        at += t.len;
        n++;
    }
    out->n = first + n;
end:
    buf_free(&text);
    return ok;
}

bool grammar_rollback(struct grammar_state *s, size_t n) {
    if (n > s->n_past) return false;
    if (n == 0) return true;
    s->at = s->past[s->n_past - n];
    s->n_past -= n;
    return true;
}

size_t grammar_memory(const struct grammar_state *s) {
    return sizeof *s + s->cap_past * sizeof *s->past + machine_bytes(s->m) + s->m->g->bytes;
}
