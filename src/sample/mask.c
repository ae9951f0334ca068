/* Which tokens may come next. What one stack element allows by itself is a "local": the tokens
 * that stay inside its rule, and the places in the trie where the rule ends and what is below
 * decides. Locals are kept per model and shared by all grammars in which the same automaton
 * occurs (the inside of a JSON string is one of them); what is below is walked only behind the
 * exits. Owns the trie and all caches; one thread. Called by grammar.c. */
#include "sample/mask.h"
#include "sample/expr.h"

#include <string.h>

enum {
    BUCKETS = 1 << 12,
    LOCAL_BYTES = 64 << 20, /* then all locals are dropped and found again */
    MASKS = 1024,           /* cached masks */
    MACHINES = 64,
    MACHINE_BYTES = 64 << 20, /* of machines that nobody uses */
    LOOP_NODES = 8,           /* subtrees smaller than this are walked anyway */
    LOOP_CHARS = 32,          /* and those that hold longer texts than this */
    LIST_TOKENS = 1024,       /* locals with fewer are lists */
    KEY_NODES = 96            /* automata with more nodes are not recognised in other grammars */
};

#define NO_KEY 1ull

struct local {
    uint64_t key;
    uint32_t chain, n_ids, n_exits;
    int32_t *id;    /* when n_ids <= LIST_TOKENS */
    uint32_t *bits; /* by id, otherwise */
    uint32_t *exit; /* trie nodes, ascending; never the root, see mask_fill */
};

/* A walk through the trie: a local that is being made, or what is below one. */
struct walk {
    struct grammar_vocab *gv;
    struct machine *m;
    uint32_t *bits; /* allowed tokens by id; NULL: by rank, in gv->scratch */
    uint32_t *exit;
    size_t n_exits, cap_exits;
    uint32_t lo, hi; /* words of gv->scratch that were touched */
    bool failed;
};

static void touch(struct walk *w, uint32_t from, uint32_t to) {
    if (from >> 5 < w->lo) w->lo = from >> 5;
    if ((to - 1) >> 5 >= w->hi) w->hi = ((to - 1) >> 5) + 1;
}

/* The tokens of the ranks from..to-1. */
static void allow(struct walk *w, uint32_t from, uint32_t to) {
    if (from >= to) return;
    const int32_t *id = w->gv->trie.token;
    if (w->bits) {
        for (uint32_t i = from; i < to; i++) w->bits[id[i] >> 5] |= 1u << (id[i] & 31);
        return;
    }
    touch(w, from, to);
    uint32_t *word = w->gv->scratch, first = from >> 5, last = (to - 1) >> 5;
    uint32_t head = UINT32_MAX << (from & 31), tail = UINT32_MAX >> (31 - ((to - 1) & 31));
    word[first] |= first == last ? head & tail : head;
    for (uint32_t i = first + 1; i < last; i++) word[i] = UINT32_MAX;
    if (last > first) word[last] |= tail;
}

/* ---- keys: the automaton behind an element, numbered in the order of discovery ---- */

struct numbering {
    const struct machine *m;
    uint32_t node[KEY_NODES];
    uint32_t n;
    bool full;
};

static uint32_t number_of(struct numbering *b, uint32_t node) {
    for (uint32_t i = 0; i < b->n; i++)
        if (b->node[i] == node) return i;
    if (b->n == KEY_NODES) {
        b->full = true;
        return 0;
    }
    b->node[b->n] = node;
    return b->n++;
}

static uint64_t hash_nodes(struct numbering *b, uint64_t h) {
    const struct grammar *g = b->m->g;
    for (uint32_t i = 0; i < b->n && !b->full; i++) {
        const struct node *n = &g->node[b->node[i]];
        h = hash_mix(h, 1u + n->final);
        for (uint32_t k = n->edge; k < n[1].edge; k++) {
            uint32_t bytes = (uint32_t)g->edge[k].lo << 8 | g->edge[k].hi;
            h = hash_mix(h, (uint64_t)number_of(b, g->edge[k].to) << 16 | bytes);
        }
        for (uint32_t k = n->token; k < n[1].token; k++)
            h = hash_mix(h,
                         (uint64_t)number_of(b, g->token[k].to) << 32 | (uint32_t)g->token[k].id);
        for (uint32_t k = n->call; k < n[1].call; k++) {
            const struct call *c = &g->call[k];
            h = hash_mix(h, (uint64_t)c->min << 32 | c->max);
            uint64_t start = number_of(b, c->start);
            h = hash_mix(h, start << 32 | number_of(b, c->next));
        }
    }
    return h;
}

static uint32_t clamp(uint32_t x, uint32_t most) {
    return x < most ? x : most;
}

static uint64_t cached_hash(struct machine *m, uint32_t at, uint32_t first, uint32_t second) {
    if (m->node_hash[at]) return m->node_hash[at];
    struct numbering b = {.m = m};
    number_of(&b, first);
    number_of(&b, second);
    uint64_t h = hash_nodes(&b, 7);
    return m->node_hash[at] = b.full ? NO_KEY : h | 2;
}

/* The same for elements that allow the same, as far as texts of at most `reach` bytes go. NO_KEY:
 * not recognisable. */
static uint64_t element_key(struct machine *m, struct elem e, uint32_t reach) {
    const struct grammar *g = m->g;
    if (e.node < g->n_nodes) return cached_hash(m, e.node, e.node, e.node);
    if (e.node >= NODE_UNKNOWN) return NO_KEY;
    const struct call *c = &g->call[e.node - g->n_nodes];
    uint64_t left = e.count < c->min ? clamp(c->min - e.count, reach + 1) : 0;
    uint64_t most = c->max == COUNT_MANY ? reach + 1 : clamp(c->max - e.count, reach + 1);
    uint64_t h = cached_hash(m, e.node, c->start, c->next);
    return h == NO_KEY ? h : hash_mix(hash_mix(h, left), most) | 2;
}

/* Far from both bounds, one count is as good as another. */
static struct elem normal(const struct machine *m, struct elem e, uint32_t reach) {
    if (e.node < m->g->n_nodes || e.node >= NODE_UNKNOWN) return e;
    const struct call *c = &m->g->call[e.node - m->g->n_nodes];
    bool far = c->max == COUNT_MANY || c->max - e.count > reach;
    if (far && e.count >= c->min) e.count = c->min;
    else if (far && c->min - e.count > reach) e.count = 0;
    return e;
}

/* ---- locals ---- */

static void add_exit(struct walk *w, uint32_t node) {
    void *p = w->exit;
    if (!mem_grow(&p, &w->cap_exits, w->n_exits + 1, sizeof *w->exit)) {
        w->failed = true;
        return;
    }
    w->exit = p;
    w->exit[w->n_exits++] = node;
}

/* machine_step with the frame's row at hand. */
static inline uint32_t step(struct machine *m, struct walk_frame *f, uint8_t byte) {
    if (f->row) {
        uint32_t to = m->row[f->row * (size_t)m->g->n_classes + m->g->byte_class[byte]];
        if (to != ROW_UNSET) return to;
    }
    uint32_t to = machine_step(m, f->set, byte);
    f->row = m->closed[m->set[f->set].closed].row;
    return to;
}

/* Is everything from a node on allowed in set, but for what a counted call has no room for? Then
 * the tokens are dealt with. */
static bool loops_on(struct walk *w, const struct trie_node *n, uint32_t set, uint32_t *run) {
    const struct trie *t = &w->gv->trie;
    struct loop l = mask_loop(w->m, set);
    if (n->groups & ~l.groups) return false;
    if (n->chars > l.room) l = mask_loop_of(w->m, set, clamp(n->chars, LOOP_CHARS));
    if (n->chars <= l.room) return true;
    if (l.end != SET_DEAD) return false;
    for (uint32_t i = n->token; i < n[n->size].token; i++) {
        if ((uint32_t)(t->chars[i] - n->above + 1) <= l.room) continue;
        allow(w, *run, i);
        *run = i + 1;
    }
    return true;
}

static inline struct walk_frame frame_of(struct walk *w, uint32_t end, uint32_t set) {
    struct machine *m = w->m;
    if (!m->set[set].closed && !machine_close(m, set)) {
        w->failed = true;
        return (struct walk_frame){0};
    }
    const struct closed *c = &m->closed[m->set[set].closed];
    return (struct walk_frame){end, set, c->row, c->exit};
}

/* Walks the trie below a node from set. A state that leads back to itself needs no frame, and
 * tokens are allowed in runs, up to the next one that is not: most of a string costs little. What
 * mask_loop_of knows is not walked at all. */
static void walk_below(struct walk *w, uint32_t node, uint32_t set) {
    const struct trie_node *t = w->gv->trie.node;
    struct walk_frame *f = w->gv->frame;
    uint32_t end = node + t[node].size, run = t[node + 1].token;
    f[0] = frame_of(w, end, set);
    for (uint32_t i = node + 1; i < end && !w->failed;) {
        while (i >= f->end) f--;
        const struct trie_node *n = &t[i++];
        if (n->size >= LOOP_NODES && loops_on(w, n, f->set, &run)) {
            i += n->size - 1;
            continue;
        }
        uint32_t to = step(w->m, f, n->byte);
        if (to == SET_DEAD) {
            allow(w, run, n->token);
            i += n->size - 1;
            run = t[i].token;
            continue;
        }
        if (n->size == 1) continue;
        struct walk_frame next = to == f->set ? *f : frame_of(w, i - 1 + n->size, to);
        if (next.exit) add_exit(w, i - 1);
        if (to != f->set) *++f = next;
    }
    allow(w, run, t[end].token);
    w->failed = w->failed || w->m->failed;
}

static uint32_t popcount(uint32_t x) {
    x = x - ((x >> 1) & 0x55555555u);
    x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
    return (((x + (x >> 4)) & 0x0F0F0F0Fu) * 0x01010101u) >> 24;
}

static unsigned lowest(uint32_t x) {
    return popcount((x & -x) - 1);
}

/* From ranks to ids: what is allowed, or in a set of all tokens what is not. */
static bool store_tokens(const struct walk *w, struct local *l) {
    struct grammar_vocab *gv = w->gv;
    const int32_t *token = gv->trie.token;
    for (uint32_t i = w->lo; i < w->hi; i++) l->n_ids += popcount(gv->scratch[i]);
    bool list = l->n_ids <= LIST_TOKENS, most = l->n_ids > gv->trie.n_tokens / 2;
    l->id = list ? mem_array(l->n_ids + 1, sizeof *l->id) : NULL;
    l->bits = list ? NULL : mem_calloc(gv->n_words, sizeof *l->bits);
    if (!l->id && !l->bits) return false;
    if (most && !list) memcpy(l->bits, gv->all, gv->n_words * sizeof *l->bits);
    uint32_t n = 0, flip = most && !list ? UINT32_MAX : 0;
    uint32_t from = flip ? 0 : w->lo, to = flip ? (gv->trie.n_tokens + 31) / 32 : w->hi;
    for (uint32_t i = from; i < to; i++)
        for (uint32_t word = gv->scratch[i] ^ flip; word; word &= word - 1) {
            uint32_t rank = i * 32 + lowest(word);
            if (rank >= gv->trie.n_tokens) break;
            if (list) l->id[n++] = token[rank];
            else l->bits[token[rank] >> 5] ^= 1u << (token[rank] & 31);
        }
    return true;
}

static void free_local(struct local *l) {
    mem_free(l->id);
    mem_free(l->bits);
    mem_free(l->exit);
}

static void drop_locals(struct grammar_vocab *gv) {
    for (size_t i = 0; i < gv->n_locals; i++) free_local(&gv->local[i]);
    gv->n_locals = gv->local_bytes = 0;
    memset(gv->local_bucket, 0, BUCKETS * sizeof *gv->local_bucket);
}

/* set: the element, with SET_UNKNOWN below. */
static bool make_local(struct grammar_vocab *gv, struct machine *m, uint64_t key, uint32_t set) {
    void *p = gv->local;
    if (!mem_grow(&p, &gv->cap_locals, gv->n_locals + 1, sizeof *gv->local)) return false;
    gv->local = p;
    struct walk w = {.gv = gv, .m = m, .lo = UINT32_MAX};
    struct local l = {.key = key};
    walk_below(&w, 0, set);
    l.exit = w.exit;
    l.n_exits = (uint32_t)w.n_exits;
    bool ok = !w.failed && store_tokens(&w, &l);
    if (w.lo < w.hi) memset(gv->scratch + w.lo, 0, (w.hi - w.lo) * sizeof *gv->scratch);
    if (ok) {
        uint32_t *at = &gv->local_bucket[key % BUCKETS];
        l.chain = *at;
        gv->local[gv->n_locals++] = l;
        *at = (uint32_t)gv->n_locals;
        gv->local_bytes += sizeof l + w.cap_exits * 4 + (l.id ? l.n_ids * 4 : gv->n_words * 4);
    } else {
        free_local(&l);
    }
    return ok;
}

static unsigned live_bytes(const struct closed *c) {
    unsigned n = 0;
    for (int i = 0; i < 4; i++)
        n += popcount((uint32_t)c->live[i]) + popcount((uint32_t)(c->live[i] >> 32));
    return n;
}

/* Only elements that take many bytes are worth recognising in other grammars. */
static const struct local *find_local(struct grammar_vocab *gv, struct machine *m, struct elem e) {
    uint32_t reach = gv->trie.height;
    uint32_t alone = machine_single(m, (struct elem){e.node, e.count, SET_UNKNOWN});
    const struct closed *c = machine_close(m, alone);
    if (!c) return NULL;
    uint64_t key = live_bytes(c) >= 32 ? element_key(m, e, reach) : NO_KEY;
    if (key == NO_KEY) key = hash_mix(hash_mix(hash_mix(1, m->serial), e.node), e.count) & ~2ull;
    for (uint32_t i = gv->local_bucket[key % BUCKETS]; i; i = gv->local[i - 1].chain)
        if (gv->local[i - 1].key == key) return &gv->local[i - 1];
    return make_local(gv, m, key, alone) ? &gv->local[gv->n_locals - 1] : NULL;
}

/* ---- masks ---- */

static bool add_local(struct grammar_vocab *gv, struct machine *m, const struct local *l,
                      uint32_t below, uint32_t *bits) {
    if (l->bits)
        for (size_t i = 0; i < gv->n_words; i++) bits[i] |= l->bits[i];
    else
        for (uint32_t i = 0; i < l->n_ids; i++) bits[l->id[i] >> 5] |= 1u << (l->id[i] & 31);
    if (l->n_exits == 0) return true;
    const struct closed *c = machine_close(m, below);
    if (!c) return false;
    if (live_bytes(c) == 0) return true;
    struct walk w = {.gv = gv, .m = m, .bits = bits};
    for (uint32_t i = 0; i < l->n_exits; i++) walk_below(&w, l->exit[i], below);
    return !w.failed;
}

static bool add_element(struct grammar_vocab *gv, struct machine *m, struct elem e,
                        uint32_t *bits) {
    if (e.node >= NODE_UNKNOWN) return true;
    e = normal(m, e, gv->trie.height);
    uint32_t single = machine_single(m, e);
    if (m->failed) return false;
    struct set *s = &m->set[single];
    if (!s->mask || s->mask_generation != gv->generation) {
        const struct local *l = find_local(gv, m, e);
        if (!l) return false;
        if (l->id && l->n_exits <= 32) return add_local(gv, m, l, e.below, bits);
        if (gv->n_masks == MASKS) {
            gv->n_masks = 0;
            gv->generation++;
        }
        uint32_t slot = gv->n_masks++;
        uint32_t *own = gv->masks + slot * gv->n_words;
        memset(own, 0, gv->n_words * sizeof *own);
        if (!add_local(gv, m, l, e.below, own)) return false;
        s = &m->set[single];
        s->mask = slot + 1;
        s->mask_generation = gv->generation;
    }
    const uint32_t *own = gv->masks + (s->mask - 1) * gv->n_words;
    for (size_t i = 0; i < gv->n_words; i++) bits[i] |= own[i];
    return true;
}

static void add_ids(struct grammar_vocab *gv, struct machine *m, const struct closed *c,
                    uint32_t *bits) {
    const struct grammar *g = m->g;
    for (uint32_t i = 0; i < c->n && c->tokens; i++) {
        uint32_t node = m->elem[c->first + i].node;
        for (uint32_t k = g->node[node].token; k < g->node[node + 1].token; k++) {
            int32_t id = g->token[k].id;
            if (id >= 0 && id < gv->n_vocab) bits[id >> 5] |= 1u << (id & 31);
        }
    }
    for (uint32_t i = 0; i < gv->n_ends && c->accept; i++)
        bits[gv->end[i] >> 5] |= 1u << (gv->end[i] & 31);
}

/* Can one of the elements end at once? */
static bool ends_at_once(struct machine *m, uint32_t set) {
    for (uint32_t i = 0; i < m->set[set].n; i++) {
        struct elem e = m->elem[m->set[set].first + i];
        if (e.node >= NODE_UNKNOWN) continue;
        e.below = SET_UNKNOWN;
        const struct closed *c = machine_close(m, machine_single(m, e));
        if (c && c->exit) return true;
    }
    return false;
}

/* What stands below an element that can end at once is an element among the others in the closed
 * set; otherwise the set itself has fewer. */
bool mask_fill(struct grammar_vocab *gv, struct machine *m, uint32_t set, uint32_t *bits) {
    memset(bits, 0, gv->n_words * sizeof *bits);
    if (gv->local_bytes > LOCAL_BYTES) drop_locals(gv);
    const struct closed *c = machine_close(m, set);
    if (!c) return false;
    add_ids(gv, m, c, bits);
    uint32_t first = c->first, n = c->n;
    if (!ends_at_once(m, set)) {
        first = m->set[set].first;
        n = m->set[set].n;
    }
    for (uint32_t i = 0; i < n; i++)
        if (!add_element(gv, m, m->elem[first + i], bits)) return false;
    return !m->failed;
}

uint32_t mask_accept(struct grammar_vocab *gv, struct machine *m, uint32_t set, int32_t id) {
    if (id < 0 || id >= gv->n_vocab) return SET_DEAD;
    uint32_t by_id = machine_token(m, set, id);
    if (gv->use[id] == TOKEN_USE_END) {
        const struct closed *c = machine_close(m, set);
        return by_id ? by_id : c && c->accept ? set : SET_DEAD;
    }
    struct str s = gv->bytes[id];
    uint32_t at = gv->use[id] == TOKEN_USE_TEXT && s.len ? set : SET_DEAD;
    for (size_t i = 0; i < s.len && at; i++) at = machine_step(m, at, (uint8_t)s.p[i]);
    return by_id ? by_id : at;
}

bool mask_crosses(struct grammar_vocab *gv, struct machine *m, struct str text, uint32_t set) {
    const struct trie_node *t = gv->trie.node;
    uint32_t at = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint32_t child = at + 1, end = at + t[at].size;
        while (child < end && t[child].byte != (uint8_t)text.p[i]) child += t[child].size;
        if (child >= end) return false;
        at = child;
    }
    for (uint32_t child = at + 1; child < at + t[at].size; child += t[child].size)
        if (machine_step(m, set, t[child].byte)) return true; /* some token goes on like this */
    return false;
}

/* ---- the vocabulary ---- */

static enum token_use view_vocab(const void *ctx, int32_t id, struct str *bytes) {
    const struct vocab *v = ctx;
    if (vocab_is_eog(v, id)) return TOKEN_USE_END;
    enum token_type type = vocab_type(v, id);
    bool text = type == TOKEN_NORMAL || type == TOKEN_USER || type == TOKEN_BYTE;
    if (text) *bytes = vocab_bytes(v, id, false);
    return text ? TOKEN_USE_TEXT : TOKEN_USE_ID_ONLY;
}

struct grammar_vocab *mask_vocab_new(const void *ctx, int32_t n_vocab, token_view view,
                                     struct err *e) {
    struct grammar_vocab *gv = mem_calloc(1, sizeof *gv);
    if (!gv) {
        err_nomem(e, "the vocabulary's masks", sizeof *gv);
        return NULL;
    }
    gv->n_vocab = n_vocab;
    gv->n_words = ((size_t)n_vocab + 31) / 32;
    gv->generation = 1;
    gv->bytes = mem_calloc((size_t)n_vocab + 1, sizeof *gv->bytes);
    gv->use = mem_calloc((size_t)n_vocab + 1, 1);
    gv->scratch = mem_calloc(gv->n_words + 1, sizeof *gv->scratch);
    gv->masks = mem_array(MASKS * gv->n_words + 1, sizeof *gv->masks);
    gv->local_bucket = mem_calloc(BUCKETS, sizeof *gv->local_bucket);
    gv->all = mem_calloc(gv->n_words + 1, sizeof *gv->all);
    bool ok = gv->bytes && gv->use && gv->scratch && gv->all && gv->masks && gv->local_bucket;
    for (int32_t id = 0; ok && id < n_vocab; id++) {
        gv->use[id] = (uint8_t)view(ctx, id, &gv->bytes[id]);
        if (gv->use[id] == TOKEN_USE_END && gv->n_ends < MASK_ENDS) gv->end[gv->n_ends++] = id;
    }
    if (!ok) err_nomem(e, "the vocabulary's masks", MASKS * gv->n_words * 4);
    ok = ok && trie_build(&gv->trie, gv->bytes, gv->use, n_vocab, e);
    if (ok) gv->frame = mem_array((size_t)gv->trie.height + 2, sizeof *gv->frame);
    if (ok && !gv->frame) ok = err_nomem(e, "the vocabulary's masks", gv->trie.height);
    for (uint32_t i = 0; ok && i < gv->trie.n_tokens; i++) {
        int32_t id = gv->trie.token[i];
        gv->all[id >> 5] |= 1u << (id & 31);
    }
    if (ok) return gv;
    grammar_vocab_free(gv);
    return NULL;
}

struct grammar_vocab *grammar_vocab_new(const struct vocab *v, struct err *e) {
    struct grammar_vocab *gv = mask_vocab_new(v, vocab_size(v), view_vocab, e);
    if (gv) gv->vocab = v;
    return gv;
}

void grammar_vocab_free(struct grammar_vocab *gv) {
    if (!gv) return;
    for (struct machine *m = gv->machines, *next; m; m = next) {
        next = m->next;
        machine_free(m);
    }
    if (gv->local_bucket) drop_locals(gv);
    mem_free(gv->local);
    mem_free(gv->local_bucket);
    mem_free(gv->masks);
    mem_free(gv->scratch);
    mem_free(gv->all);
    mem_free(gv->frame);
    mem_free(gv->bytes);
    mem_free(gv->use);
    trie_free(&gv->trie);
    mem_free(gv);
}

/* Frees the machines that nobody uses, longest unused first, until the rest fits. */
static void evict(struct grammar_vocab *gv) {
    for (;;) {
        struct machine **oldest = NULL;
        size_t n = 0, bytes = 0;
        for (struct machine **p = &gv->machines; *p; p = &(*p)->next) {
            if ((*p)->refs) continue;
            n++;
            bytes += machine_bytes(*p);
            if (!oldest || (*p)->used < (*oldest)->used) oldest = p;
        }
        if (!oldest || (n <= MACHINES && bytes <= MACHINE_BYTES)) return;
        struct machine *m = *oldest;
        *oldest = m->next;
        machine_free(m);
    }
}

struct machine *mask_machine(struct grammar_vocab *gv, struct grammar *g, struct err *e) {
    struct machine *m = gv->machines;
    while (m && (m->g != g || m->failed)) m = m->next;
    if (!m) {
        m = machine_new(g, e);
        if (!m) return NULL;
        m->serial = ++gv->serial;
        m->next = gv->machines;
        gv->machines = m;
    }
    m->refs++;
    m->used = ++gv->serial;
    return m;
}

void mask_release(struct grammar_vocab *gv, struct machine *m) {
    m->refs--;
    evict(gv);
}
