/* Runs a grammar: interned sets of stacks, their closures and transitions. Owns all tables of one
 * machine; never frees a single set (mask.c copies what is alive into a new machine when the
 * tables are too large). Called by grammar.c and mask.c; one thread. */
#include "sample/automaton.h"
#include "base/limits.h"
#include "sample/expr.h"

#include <string.h>

enum {
    MEMO_SLOTS = 1 << 12,
    SET_ELEMS = 1 << 12,   /* alternatives in one set */
    STACK_DEPTH = 1 << 12, /* calls inside calls */
    BUCKETS_AT_FIRST = 1 << 8
};

/* An element found while closing a set; the same node and count appear once. */
struct work {
    struct elem e;
    uint32_t next; /* with the same node, + 1 */
    bool queued;
};

static bool fail(struct machine *m) {
    m->failed = true;
    return false;
}

static bool room(struct machine *m, void **array, size_t *cap, size_t need, size_t size) {
    return mem_grow(array, cap, need, size) || fail(m);
}
#define ROOM(m, array, cap, need) room(m, (void **)&(array), cap, need, sizeof *(array))

static uint64_t hash_elems(const struct elem *e, size_t n) {
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        h = hash_mix(h, (uint64_t)e[i].node << 32 | e[i].below);
        h = hash_mix(h, e[i].count);
    }
    return h;
}

static bool rehash(struct machine *m) {
    size_t n = m->n_buckets ? m->n_buckets * 4 : BUCKETS_AT_FIRST;
    uint32_t *bucket = mem_calloc(n, sizeof *bucket);
    if (!bucket) return fail(m);
    for (uint32_t i = 1; i < m->n_sets; i++) {
        struct set *s = &m->set[i];
        uint32_t *at = &bucket[hash_elems(m->elem + s->first, s->n) & (n - 1)];
        s->chain = *at;
        *at = i;
    }
    mem_free(m->bucket);
    m->bucket = bucket;
    m->n_buckets = n;
    return true;
}

/* The number of the set of these elements, which must be sorted and different. */
static uint32_t intern(struct machine *m, const struct elem *e, size_t n) {
    if (n == 0) return SET_DEAD;
    if (m->n_sets >= m->n_buckets && !rehash(m)) return SET_DEAD;
    uint64_t h = hash_elems(e, n);
    for (uint32_t i = m->bucket[h & (m->n_buckets - 1)]; i; i = m->set[i].chain) {
        const struct set *s = &m->set[i];
        if (s->n != n) continue;
        const struct elem *x = m->elem + s->first;
        size_t k = 0;
        while (k < n && x[k].node == e[k].node && x[k].count == e[k].count &&
               x[k].below == e[k].below)
            k++;
        if (k == n) return i;
    }
    if (n > SET_ELEMS || !ROOM(m, m->set, &m->cap_sets, m->n_sets + 1) ||
        !ROOM(m, m->elem, &m->cap_elems, m->n_elems + n)) {
        fail(m);
        return SET_DEAD;
    }
    uint32_t depth = 0;
    for (size_t i = 0; i < n; i++)
        if (m->set[e[i].below].depth > depth) depth = m->set[e[i].below].depth;
    memcpy(m->elem + m->n_elems, e, n * sizeof *e);
    uint32_t *at = &m->bucket[h & (m->n_buckets - 1)];
    m->set[m->n_sets] = (struct set){
        .first = (uint32_t)m->n_elems, .n = (uint32_t)n, .chain = *at, .depth = depth + 1};
    m->n_elems += n;
    return *at = (uint32_t)m->n_sets++;
}

uint32_t machine_single(struct machine *m, struct elem e) {
    return intern(m, &e, 1);
}

static bool less(struct elem a, struct elem b) {
    return a.node != b.node ? a.node < b.node : a.count < b.count;
}

static bool push_tmp(struct machine *m, struct elem e) {
    if (!ROOM(m, m->tmp, &m->cap_tmp, m->n_tmp + 1)) return false;
    m->tmp[m->n_tmp++] = e;
    return true;
}

/* The union of two sets; where both have a node, what is below is united too. */
static uint32_t unite(struct machine *m, uint32_t a, uint32_t b) {
    if (a == b || b == SET_DEAD) return a;
    if (a == SET_DEAD) return b;
    if (a > b) {
        uint32_t swap = a;
        a = b;
        b = swap;
    }
    size_t slot = (a * 2654435761u ^ b * 40503u) % MEMO_SLOTS;
    if (m->memo[slot].a == a && m->memo[slot].b == b) return m->memo[slot].result;
    size_t base = m->n_tmp;
    uint32_t i = 0, k = 0;
    while (!m->failed && (i < m->set[a].n || k < m->set[b].n)) {
        struct elem x = i < m->set[a].n ? m->elem[m->set[a].first + i] : (struct elem){0};
        struct elem y = k < m->set[b].n ? m->elem[m->set[b].first + k] : (struct elem){0};
        if (k == m->set[b].n || (i < m->set[a].n && less(x, y))) {
            push_tmp(m, x);
            i++;
        } else if (i == m->set[a].n || less(y, x)) {
            push_tmp(m, y);
            k++;
        } else {
            x.below = unite(m, x.below, y.below);
            push_tmp(m, x);
            i++;
            k++;
        }
    }
    uint32_t result = m->failed ? SET_DEAD : intern(m, m->tmp + base, m->n_tmp - base);
    m->n_tmp = base;
    if (!m->failed) m->memo[slot] = (struct union_memo){a, b, result};
    return result;
}

/* Sorts the elements from base on, unites doubles, and interns them. */
static uint32_t intern_tmp(struct machine *m, size_t base) {
    size_t n = m->n_tmp - base;
    if (n == 0) return SET_DEAD;
    for (size_t i = 1; i < n; i++) {
        struct elem x = m->tmp[base + i];
        size_t k = i;
        for (; k > 0 && less(x, m->tmp[base + k - 1]); k--) m->tmp[base + k] = m->tmp[base + k - 1];
        m->tmp[base + k] = x;
    }
    size_t kept = 0;
    for (size_t i = 0; i < n && !m->failed; i++) {
        struct elem x = m->tmp[base + i], *last = kept ? &m->tmp[base + kept - 1] : NULL;
        if (last && last->node == x.node && last->count == x.count) {
            uint32_t below = unite(m, last->below, x.below);
            m->tmp[base + kept - 1].below = below;
        } else {
            m->tmp[base + kept++] = x;
        }
    }
    uint32_t s = m->failed ? SET_DEAD : intern(m, m->tmp + base, kept);
    m->n_tmp = base;
    return s;
}

/* A node that can only call is replaced by the start of what it calls: then equal rules look equal
 * wherever they are called from. */
static struct elem enter_calls(struct machine *m, struct elem e) {
    const struct grammar *g = m->g;
    while (g->node[e.node].through && m->set[e.below].depth < STACK_DEPTH && !m->failed) {
        const struct call *c = &g->call[g->node[e.node].call];
        if (!g->node[c->next].leaf) e.below = machine_single(m, (struct elem){c->next, 0, e.below});
        e.node = c->start;
    }
    return e;
}

/* An element after a step: a rule that is finished gives way to what is below it. */
static bool push_target(struct machine *m, uint32_t node, uint32_t below) {
    struct elem e = enter_calls(m, (struct elem){node, 0, below});
    node = e.node;
    below = e.below;
    if (!m->g->node[node].leaf) return push_tmp(m, (struct elem){node, 0, below});
    for (uint32_t i = 0; i < m->set[below].n; i++)
        if (!push_tmp(m, m->elem[m->set[below].first + i])) return false;
    return true;
}

static uint32_t head_of(const struct machine *m, uint32_t node) {
    uint32_t n = m->g->n_nodes + m->g->n_calls;
    return node == NODE_BOTTOM ? n : node == NODE_UNKNOWN ? n + 1 : node;
}

static bool work_add(struct machine *m, struct elem e) {
    uint32_t h = head_of(m, e.node);
    if (m->stamp[h] != m->generation) {
        m->stamp[h] = m->generation;
        m->head[h] = 0;
    }
    for (uint32_t i = m->head[h]; i; i = m->work[i - 1].next) {
        struct work *w = &m->work[i - 1];
        if (w->e.count != e.count) continue;
        uint32_t below = unite(m, w->e.below, e.below);
        if (below != w->e.below) {
            w->e.below = below;
            w->queued = true;
        }
        return !m->failed;
    }
    if (m->n_work >= SET_ELEMS || !ROOM(m, m->work, &m->cap_work, m->n_work + 1)) return fail(m);
    m->work[m->n_work++] = (struct work){e, m->head[h], true};
    m->head[h] = (uint32_t)m->n_work;
    return true;
}

/* Call k with `count` times done: leave it when it is enough, enter it when more is allowed. */
static bool work_call(struct machine *m, uint32_t k, uint32_t count, uint32_t below) {
    const struct grammar *g = m->g;
    struct call c = g->call[k];
    if (count >= c.min && !work_add(m, (struct elem){c.next, 0, below})) return false;
    if (count >= c.max) return true;
    struct elem back = {g->n_nodes + k, count + 1, below};
    if (c.max == COUNT_MANY && back.count > c.min) back.count = c.min;
    if (back.count == c.max) back = (struct elem){c.next, 0, below};
    uint32_t under = below;
    if (back.node >= g->n_nodes || !g->node[back.node].leaf) under = machine_single(m, back);
    if (m->failed) return false;
    if (m->set[under].depth > STACK_DEPTH) return true; /* this deep it cannot be entered */
    return work_add(m, (struct elem){c.start, 0, under});
}

static bool work_expand(struct machine *m, struct elem e) {
    const struct grammar *g = m->g;
    if (e.node == NODE_BOTTOM || e.node == NODE_UNKNOWN) return true;
    if (e.node >= g->n_nodes) return work_call(m, e.node - g->n_nodes, e.count, e.below);
    for (uint32_t k = g->node[e.node].call; k < g->node[e.node + 1].call; k++)
        if (!work_call(m, k, 0, e.below)) return false;
    if (!g->node[e.node].final) return true;
    for (uint32_t i = 0; i < m->set[e.below].n; i++)
        if (!work_add(m, m->elem[m->set[e.below].first + i])) return false;
    return true;
}

static void add_live(struct closed *c, const struct grammar *g, uint32_t node) {
    for (uint32_t k = g->node[node].edge; k < g->node[node + 1].edge; k++)
        set_add(c->live, g->edge[k].lo, g->edge[k].hi);
    c->tokens = c->tokens || g->node[node].token < g->node[node + 1].token;
}

/* Keeps what has edges; the rest has done its work. */
static bool work_keep(struct machine *m, struct closed *c) {
    const struct grammar *g = m->g;
    c->first = (uint32_t)m->n_elems;
    for (size_t i = 0; i < m->n_work; i++) {
        struct elem e = m->work[i].e;
        if (e.node == NODE_BOTTOM) c->accept = true;
        if (e.node == NODE_UNKNOWN) c->exit = true;
        if (e.node >= g->n_nodes) continue;
        const struct node *n = &g->node[e.node];
        if (n->edge == n[1].edge && n->token == n[1].token) continue;
        if (!ROOM(m, m->elem, &m->cap_elems, m->n_elems + 1)) return false;
        m->elem[m->n_elems++] = e;
        add_live(c, g, e.node);
        c->n++;
    }
    return true;
}

const struct closed *machine_close(struct machine *m, uint32_t set) {
    if (m->set[set].closed) return &m->closed[m->set[set].closed];
    if (m->failed) return NULL;
    m->n_work = 0;
    m->generation++;
    for (uint32_t i = 0; i < m->set[set].n; i++)
        if (!work_add(m, m->elem[m->set[set].first + i])) return NULL;
    bool again = true;
    while (again) {
        again = false;
        for (size_t i = 0; i < m->n_work; i++) {
            if (!m->work[i].queued) continue;
            m->work[i].queued = false;
            if (!work_expand(m, m->work[i].e)) return NULL;
            again = true;
        }
    }
    struct closed c = {0};
    if (!work_keep(m, &c) || !ROOM(m, m->closed, &m->cap_closed, m->n_closed + 1)) return NULL;
    m->closed[m->n_closed] = c;
    m->set[set].closed = (uint32_t)m->n_closed++;
    return &m->closed[m->set[set].closed];
}

static uint32_t follow_byte(struct machine *m, const struct closed *c, uint8_t byte) {
    const struct grammar *g = m->g;
    size_t base = m->n_tmp;
    for (uint32_t i = 0; i < c->n; i++) {
        struct elem e = m->elem[c->first + i];
        for (uint32_t k = g->node[e.node].edge; k < g->node[e.node + 1].edge; k++)
            if (g->edge[k].lo <= byte && byte <= g->edge[k].hi &&
                !push_target(m, g->edge[k].to, e.below))
                return SET_DEAD;
    }
    return intern_tmp(m, base);
}

uint32_t machine_step(struct machine *m, uint32_t set, uint8_t byte) {
    const struct closed *c = machine_close(m, set);
    if (!c || !set_has(c->live, byte)) return SET_DEAD;
    size_t n = m->g->n_classes;
    uint32_t at = m->set[set].closed, row = c->row;
    if (!row) {
        if (!ROOM(m, m->row, &m->cap_rows, (m->n_rows + 1) * n)) return SET_DEAD;
        row = (uint32_t)m->n_rows++;
        memset(m->row + row * n, 0xFF, n * sizeof *m->row);
        m->closed[at].row = row;
    }
    size_t slot = row * n + m->g->byte_class[byte];
    if (m->row[slot] != ROW_UNSET) return m->row[slot];
    struct closed copy = m->closed[at];
    uint32_t to = follow_byte(m, &copy, byte);
    if (!m->failed) m->row[slot] = to;
    return to;
}

uint32_t machine_token(struct machine *m, uint32_t set, int32_t id) {
    const struct closed *known = machine_close(m, set);
    if (!known || !known->tokens) return SET_DEAD;
    struct closed c = *known;
    const struct grammar *g = m->g;
    size_t base = m->n_tmp;
    for (uint32_t i = 0; i < c.n; i++) {
        struct elem e = m->elem[c.first + i];
        for (uint32_t k = g->node[e.node].token; k < g->node[e.node + 1].token; k++)
            if (g->token[k].id == id && !push_target(m, g->token[k].to, e.below)) return SET_DEAD;
    }
    return intern_tmp(m, base);
}

uint32_t machine_start(struct machine *m) {
    if (m->g->node[m->g->start].leaf) return SET_BOTTOM;
    return machine_single(m, enter_calls(m, (struct elem){m->g->start, 0, SET_BOTTOM}));
}

struct machine *machine_new(struct grammar *g, struct err *e) {
    struct machine *m = mem_calloc(1, sizeof *m);
    size_t heads = (size_t)g->n_nodes + g->n_calls + 2;
    bool ok = m != NULL;
    if (ok) {
        grammar_ref(g);
        m->g = g;
        m->n_closed = m->n_rows = 1;
        m->memo = mem_calloc(MEMO_SLOTS, sizeof *m->memo);
        m->head = mem_calloc(heads, sizeof *m->head);
        m->stamp = mem_calloc(heads, sizeof *m->stamp);
        m->node_hash = mem_calloc(heads, sizeof *m->node_hash);
        ok = m->memo && m->head && m->stamp && m->node_hash &&
             ROOM(m, m->set, &m->cap_sets, SET_FIRST_FREE) &&
             ROOM(m, m->closed, &m->cap_closed, 1) && rehash(m);
    }
    if (ok) {
        m->set[SET_DEAD] = (struct set){0};
        m->closed[0] = (struct closed){0};
        m->n_sets = 1;
        uint32_t bottom = machine_single(m, (struct elem){NODE_BOTTOM, 0, SET_DEAD});
        uint32_t unknown = machine_single(m, (struct elem){NODE_UNKNOWN, 0, SET_DEAD});
        ok = bottom == SET_BOTTOM && unknown == SET_UNKNOWN;
    }
    if (ok) return m;
    err_nomem(e, "a grammar's state", heads * 8);
    machine_free(m);
    return NULL;
}

void machine_free(struct machine *m) {
    if (!m) return;
    grammar_free(m->g);
    mem_free(m->elem);
    mem_free(m->set);
    mem_free(m->closed);
    mem_free(m->row);
    mem_free(m->bucket);
    mem_free(m->memo);
    mem_free(m->work);
    mem_free(m->head);
    mem_free(m->stamp);
    mem_free(m->tmp);
    mem_free(m->node_hash);
    mem_free(m);
}

size_t machine_bytes(const struct machine *m) {
    size_t heads = (size_t)m->g->n_nodes * 4 + (size_t)m->g->n_calls * 2;
    return sizeof *m + m->cap_elems * sizeof *m->elem + m->cap_sets * sizeof *m->set +
           m->cap_closed * sizeof *m->closed + m->cap_rows * sizeof *m->row +
           m->n_buckets * sizeof *m->bucket + m->cap_work * sizeof *m->work +
           MEMO_SLOTS * sizeof *m->memo + heads * sizeof *m->head;
}

uint32_t machine_copy(struct machine *to, const struct machine *from, uint32_t set, uint32_t *map) {
    if (set < SET_FIRST_FREE) return set;
    if (map[set]) return map[set];
    size_t base = to->n_tmp;
    for (uint32_t i = 0; i < from->set[set].n && !to->failed; i++) {
        struct elem e = from->elem[from->set[set].first + i];
        e.below = machine_copy(to, from, e.below, map);
        push_tmp(to, e);
    }
    return map[set] = intern_tmp(to, base);
}
