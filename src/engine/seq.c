/* A sequence's pages: taking over a cached prefix, growing, sharing, leaving (contracts in
 * seq.h). A page below n_shared belongs to the tree as well and is never written again; the one
 * at n_shared may stand in the tree as a partial leaf, whose positions are never written again
 * either: whoever continues behind a partial match works on a copy. */
#include "engine/seq.h"
#include "engine/engine.h"
#include "engine/store.h"

#include <assert.h>
#include <string.h>

bool seq_init(struct seq *s, const struct hold_model *m, int cap, struct err *e) {
    size_t entries = (size_t)(cap + m->eng->page_len - 1) / (size_t)m->eng->page_len;
    *s = (struct seq){.cap = cap, .token = mem_array((size_t)cap, sizeof *s->token)};
    bool ok = s->token;
    for (int g = 0; g < m->n_groups; g++) {
        s->table[g].page = mem_calloc(entries, sizeof *s->table[g].page);
        s->table[g].data = mem_calloc(entries, sizeof *s->table[g].data);
        ok = ok && s->table[g].page && s->table[g].data;
        s->kv[g] = (struct kv_table){.pages = s->table[g].data,
                                     .page_units = m->group[g].page_units,
                                     .unit_bytes = m->group[g].unit_bytes};
    }
    return ok || err_nomem(e, "a sequence", (uint64_t)cap * sizeof *s->token);
}

void seq_free(struct seq *s) {
    for (int g = 0; g < ENGINE_GROUPS_MAX; g++) {
        mem_free(s->table[g].page);
        mem_free(s->table[g].data);
    }
    mem_free(s->token);
    sampler_free(s->sampler);
    grammar_end(s->grammar);
}

uint64_t seq_bytes(const struct hold_model *m, int n) {
    uint64_t bytes = 0;
    for (int g = 0; g < m->n_groups; g++) {
        int window = g > 0 ? m->group[g].window : 0;
        int keep = window && window < n ? window : n;
        bytes += m->page_bytes[g] * (uint64_t)(keep / m->eng->page_len + 1);
    }
    return bytes;
}

/* ---- pages -------------------------------------------------------------------------------- */
static struct page *new_page(struct hold_engine *eng, size_t bytes) {
    struct page *p;
    while (!(p = page_new(eng->pool, bytes)))
        if (prefix_evict(eng->prefix, bytes) == 0) return NULL;
    return p;
}

static void table_set(struct seq_table *t, int i, struct page *p) {
    t->page[i] = p;
    t->data[i] = p ? p->data : NULL;
}

static bool table_own(struct seq_table *t, int i, struct hold_engine *eng,
                      const struct page *from) {
    struct page *p = new_page(eng, from->bytes);
    if (!p) return false;
    memcpy(p->data, from->data, from->bytes);
    table_set(t, i, p);
    return true;
}

static void table_share(struct seq_table *t, int i, struct page *p) {
    page_ref(p);
    table_set(t, i, p);
}

/* Gives entries [from, to) back. */
static void table_drop(struct seq_table *t, struct hold_engine *eng, int from, int to) {
    for (int i = from; i < to; i++) {
        page_unref(eng->pool, t->page[i]);
        table_set(t, i, NULL);
    }
}

bool seq_cover(struct seq *s, struct hold_model *m, int n) {
    int need = (s->n_past + n + m->eng->page_len - 1) / m->eng->page_len;
    for (int g = 0; g < m->n_groups; g++) {
        struct seq_table *t = &s->table[g];
        for (; t->n < need; t->n++) {
            struct page *p = new_page(m->eng, m->page_bytes[g]);
            if (!p) return false;
            table_set(t, t->n, p);
        }
    }
    return true;
}

/* ---- the tree ----------------------------------------------------------------------------- */
static void stand_on(struct seq *s, struct prefix_node *n, int depth) {
    prefix_hold(n);
    if (s->node) prefix_release(s->node);
    s->node = n;
    s->n_shared = depth;
}

/* Takes over full pages down to `node` at `depth`, and the first `tail` positions of `part`. */
static void take_pages(struct seq *s, struct hold_model *m, struct prefix_node *node, int depth,
                       const struct page *part, int tail) {
    struct seq_table *t = &s->table[0];
    stand_on(s, node, depth);
    int i = depth;
    for (struct prefix_node *n = node; i > 0; n = prefix_parent(n))
        table_share(t, --i, prefix_page(n));
    t->n = depth;
    s->n_past = depth * m->eng->page_len;
    if (tail > 0 && table_own(t, depth, m->eng, part)) {
        t->n = depth + 1;
        s->n_past += tail;
    }
    prefix_touch(node);
}

/* A model with windows starts at a mark, whose pages stand for the window groups. */
static bool adopt_at_mark(struct seq *s, struct hold_model *m, int limit,
                          const struct prefix_path *path) {
    int at = 0, page_len = m->eng->page_len;
    const struct prefix_mark *mark = prefix_find_mark(path, limit, &at);
    if (!mark || at == 0) return false;
    int depth = at / page_len, tail = at % page_len, d = path->n_pages;
    struct prefix_node *node = path->node, *below = path->part;
    for (; d > depth; d--) below = node, node = prefix_parent(node);
    take_pages(s, m, node, depth, tail ? prefix_page(below) : NULL, tail);
    bool ok = s->n_past == at;
    for (int g = 1; g < m->n_groups; g++) s->table[g].first = s->table[g].n = depth + (tail > 0);
    for (int i = 0; ok && i < mark->n_pages; i++) {
        const struct prefix_mark_page *p = &mark->page[i];
        struct seq_table *t = &s->table[p->group];
        if (p->index * page_len >= at) continue; /* behind the start */
        if (p->index == depth) ok = table_own(t, p->index, m->eng, p->page);
        else table_share(t, p->index, p->page);
        if (p->index < t->first) t->first = p->index;
    }
    return ok;
}

static void adopt(struct seq *s, struct hold_model *m, int limit, const struct prefix_path *path) {
    int page_len = m->eng->page_len, start = path->n < limit ? path->n : limit;
    struct prefix_node *node = path->node, *below = path->part;
    for (int d = path->n_pages; d > start / page_len; d--) below = node, node = prefix_parent(node);
    int tail = start % page_len;
    take_pages(s, m, node, start / page_len, tail ? prefix_page(below) : NULL, tail);
}

void seq_adopt(struct seq *s, struct hold_model *m, int limit, struct prefix_path *path) {
    *path = (struct prefix_path){0};
    struct prefix_tree *tree = prefix_tree(m->eng->prefix, &m->key);
    if (!tree) return;
    prefix_match(tree, s->token, s->n, path);
    /* Copying may evict: not what is being copied. */
    struct prefix_node *pinned = path->part ? path->part : path->node;
    prefix_hold(pinned);
    if (!m->windowed) {
        adopt(s, m, limit, path);
    } else if (!adopt_at_mark(s, m, limit, path)) {
        seq_leave(s, m);
        stand_on(s, prefix_root(tree), 0);
    }
    prefix_release(pinned);
    s->tree = tree;
    s->n_stored = 0;
    s->stored_hash = prefix_hash(prefix_root(tree));
}

void seq_drop_partial(struct seq *s, struct hold_model *m) {
    assert(!m->windowed);
    struct seq_table *t = &s->table[0];
    table_drop(t, m->eng, s->n_shared, t->n);
    t->n = s->n_shared;
    s->n_past = s->n_shared * m->eng->page_len;
}

void seq_catch_up(struct seq *s, struct hold_model *m, int limit) {
    int page_len = m->eng->page_len;
    struct seq_table *t = &s->table[0];
    if (!s->tree || m->windowed || s->n_past != s->n_shared * page_len) return;
    while (s->n_past + page_len <= limit) {
        struct prefix_node *next = prefix_step(s->node, s->token + s->n_past);
        if (!next) return;
        table_drop(t, m->eng, s->n_shared, t->n); /* a page that was waiting to be filled */
        table_share(t, s->n_shared, prefix_page(next));
        stand_on(s, next, s->n_shared + 1);
        prefix_touch(next);
        t->n = s->n_shared;
        s->n_past += page_len;
    }
}

/* Drops the pages of window groups whose positions no later query sees. One unit more is kept, so
 * that a prompt can be continued a little before its end. */
static void drop_left(struct seq *s, struct hold_model *m) {
    for (int g = 1; g < m->n_groups; g++) {
        struct seq_table *t = &s->table[g];
        int left = s->n_past - m->group[g].window - KV_UNIT;
        int first = m->group[g].window && left > 0 ? left / m->eng->page_len : 0;
        if (first <= t->first) continue;
        table_drop(t, m->eng, t->first, first);
        t->first = first;
    }
}

void seq_advance(struct seq *s, struct hold_model *m, int n) {
    int page_len = m->eng->page_len;
    int before = s->n_shared;
    s->n_past += n;
    while (s->tree && s->n_past >= (s->n_shared + 1) * page_len) {
        struct page **page = &s->table[0].page[s->n_shared];
        struct prefix_node *node =
            prefix_add(s->node, s->token + s->n_shared * page_len, page_len, page);
        assert(node); /* the stock was filled before the step */
        s->table[0].data[s->n_shared] = (*page)->data;
        stand_on(s, node, s->n_shared + 1);
    }
    store_pages(s, m, s->n_shared - before + 1);
    drop_left(s, m);
}

static void add_mark(struct seq *s, struct hold_model *m, struct prefix_node *node) {
    enum { MAX = 256 };
    struct prefix_mark_page pages[MAX];
    int n = 0, from = 0;
    for (int g = 1; g < m->n_groups; g++) {
        const struct seq_table *t = &s->table[g];
        for (int i = t->first; i < t->n; i++) {
            if (!t->page[i]) continue;
            if (n == MAX) return;
            pages[n++] = (struct prefix_mark_page){g, i, t->page[i]};
        }
        /* A query at p sees keys from p - window + 1 on. */
        int lowest = t->first ? t->first * m->eng->page_len + m->group[g].window - 1 : 0;
        if (lowest > from) from = lowest;
    }
    if (from <= s->n_past) prefix_add_mark(node, from, s->n_past, pages, n);
}

void seq_share_tail(struct seq *s, struct hold_model *m) {
    if (!s->tree) return;
    struct prefix_node *node = s->node;
    int begin = s->n_shared * m->eng->page_len, n = s->n_past - begin;
    if (n > 0 && prefix_reserve(m->eng->prefix, 1)) {
        struct page *page = s->table[0].page[s->n_shared];
        page_ref(page); /* the sequence keeps writing to its own, whatever the tree had */
        node = prefix_add(s->node, s->token + begin, n, &page);
        page_unref(m->eng->pool, page);
    }
    prefix_touch(node);
    if (m->windowed && s->n_past > 0) add_mark(s, m, node);
}

void seq_leave(struct seq *s, struct hold_model *m) {
    store_wait(s, m);
    for (int g = 0; g < m->n_groups; g++) {
        table_drop(&s->table[g], m->eng, s->table[g].first, s->table[g].n);
        s->table[g].first = s->table[g].n = 0;
    }
    if (s->node) prefix_release(s->node);
    s->node = NULL;
    s->tree = NULL;
    s->n_shared = s->n_past = s->n_stored = 0;
}
