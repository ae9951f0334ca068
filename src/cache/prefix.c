/* The prefix tree (contract in prefix.h).
 * Children stand in a list: a conversation forks rarely, and a comparison ends at the first token
 * that differs. Leaves of all trees are linked, because only they can be evicted. `users` counts
 * the sequences that hold a node or something below it; what has none counts as evictable.
 * Scores are GreedyDual-Size (Cao and Irani 1997): clock + cost / bytes, where the clock is the
 * score of the last victim; so what is cheap to recompute, large, or long unused goes first. */
#include "cache/prefix.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

struct leaf { /* link in the ring of leaves; first member of a node */
    struct leaf *prev, *next;
};

struct prefix_node {
    struct leaf leaf;                          /* next NULL: not in the ring */
    struct prefix_node *parent, *child, *next; /* next: sibling, or in the stock */
    struct prefix_tree *tree;
    struct prefix_mark *marks;
    struct page *page;
    uint64_t hash;
    double score;
    int users;
    int pos; /* of the first token */
    int n;
    int32_t token[];
};

struct prefix_tree {
    struct prefix *owner;
    struct prefix_tree *next;
    struct prefix_key key;
    struct prefix_node *root;
};

struct prefix {
    struct pages *pool;
    struct prefix_tree *trees;
    struct prefix_node *stock;
    int n_stock, page_len;
    struct leaf leaves; /* where the ring closes */
    double clock;
    size_t evictable;
};

static struct prefix_node *node_alloc(const struct prefix *p) {
    return mem_calloc(1, sizeof(struct prefix_node) + (size_t)p->page_len * sizeof(int32_t));
}

struct prefix *prefix_new(struct pages *pool, int page_len, struct err *e) {
    struct prefix *p = mem_calloc(1, sizeof *p);
    if (!p) {
        err_nomem(e, "the prefix cache", sizeof *p);
        return NULL;
    }
    p->pool = pool;
    p->page_len = page_len;
    p->leaves = (struct leaf){&p->leaves, &p->leaves};
    return p;
}

/* ---- small parts -------------------------------------------------------------------------- */
static void leaf_link(struct prefix *p, struct prefix_node *n) {
    n->leaf = (struct leaf){p->leaves.prev, &p->leaves};
    n->leaf.prev->next = n->leaf.next->prev = &n->leaf;
}

static void leaf_unlink(struct prefix_node *n) {
    if (!n->leaf.next) return;
    n->leaf.prev->next = n->leaf.next;
    n->leaf.next->prev = n->leaf.prev;
    n->leaf = (struct leaf){0};
}

static size_t mark_bytes(const struct prefix_mark *m) {
    size_t bytes = 0;
    for (int i = 0; i < m->n_pages; i++) bytes += m->page[i].page->bytes;
    return bytes;
}

static size_t node_bytes(const struct prefix_node *n) {
    size_t bytes = n->page ? n->page->bytes : 0;
    for (const struct prefix_mark *m = n->marks; m; m = m->next) bytes += mark_bytes(m);
    return bytes;
}

static void node_score(struct prefix_node *n) {
    const struct prefix_key *k = &n->tree->key;
    double middle = n->pos + n->n / 2.0;
    double cost = n->n * (k->token_cost + k->depth_cost * middle);
    n->score = n->tree->owner->clock + cost / (double)node_bytes(n);
}

static void mark_free(struct prefix *p, struct prefix_mark *m) {
    for (int i = 0; i < m->n_pages; i++) page_unref(p->pool, m->page[i].page);
    mem_free(m);
}

/* Takes a leaf out of its tree and back into the stock. Returns the bytes it pinned. */
static size_t node_drop(struct prefix_node *n) {
    struct prefix *p = n->tree->owner;
    size_t bytes = node_bytes(n);
    assert(!n->child && n->users == 0);
    struct prefix_node **at = &n->parent->child;
    while (*at != n) at = &(*at)->next;
    *at = n->next;
    if (!n->parent->child && n->parent->page) leaf_link(p, n->parent);
    leaf_unlink(n);
    for (struct prefix_mark *m = n->marks, *next; m; m = next) {
        next = m->next;
        mark_free(p, m);
    }
    page_unref(p->pool, n->page);
    p->evictable -= bytes;
    n->next = p->stock;
    p->stock = n;
    p->n_stock++;
    return bytes;
}

static int common(const int32_t *a, const int32_t *b, int n) {
    int i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

/* ---- trees -------------------------------------------------------------------------------- */
struct prefix_tree *prefix_tree(struct prefix *p, const struct prefix_key *k) {
    for (struct prefix_tree *t = p->trees; t; t = t->next)
        if (t->key.model == k->model && t->key.tenant == k->tenant) return t;
    struct prefix_tree *t = mem_calloc(1, sizeof *t);
    struct prefix_node *root = node_alloc(p);
    if (!t || !root) {
        mem_free(t);
        mem_free(root);
        return NULL;
    }
    *t = (struct prefix_tree){.owner = p, .next = p->trees, .key = *k, .root = root};
    root->tree = t;
    root->hash = XXH3_64bits_withSeed(&k->tenant, sizeof k->tenant, k->model);
    p->trees = t;
    return t;
}

static void tree_free(struct prefix_tree *t) {
    struct prefix_node *n = t->root;
    while (n != t->root || n->child) {
        if (n->child) {
            n = n->child;
            continue;
        }
        struct prefix_node *up = n->parent;
        node_drop(n);
        n = up;
    }
    mem_free(t->root);
    mem_free(t);
}

void prefix_drop_model(struct prefix *p, uint64_t model) {
    for (struct prefix_tree **at = &p->trees; *at;) {
        struct prefix_tree *t = *at;
        if (t->key.model != model) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        tree_free(t);
    }
}

void prefix_free(struct prefix *p) {
    if (!p) return;
    while (p->trees) {
        struct prefix_tree *t = p->trees;
        p->trees = t->next;
        tree_free(t);
    }
    while (p->stock) {
        struct prefix_node *n = p->stock;
        p->stock = n->next;
        mem_free(n);
    }
    mem_free(p);
}

struct prefix_node *prefix_root(struct prefix_tree *t) {
    return t->root;
}
struct prefix_node *prefix_parent(struct prefix_node *n) {
    return n->parent;
}
struct page *prefix_page(const struct prefix_node *n) {
    return n->page;
}
uint64_t prefix_hash(const struct prefix_node *n) {
    return n->hash;
}
uint64_t prefix_hash_next(uint64_t parent, const int32_t *token, int n) {
    return XXH3_64bits_withSeed(token, (size_t)n * sizeof *token, parent);
}
const struct prefix_key *prefix_tree_key(const struct prefix_tree *t) {
    return &t->key;
}

/* ---- looking up --------------------------------------------------------------------------- */
void prefix_match(struct prefix_tree *t, const int32_t *token, int n, struct prefix_path *out) {
    *out = (struct prefix_path){.node = t->root};
    int page_len = t->owner->page_len;
    for (;;) {
        struct prefix_node *whole = NULL;
        int best = 0, left = n - out->n;
        out->part = NULL;
        for (struct prefix_node *c = out->node->child; c && !whole; c = c->next) {
            int same = common(c->token, token + out->n, c->n < left ? c->n : left);
            if (same == page_len) whole = c;
            else if (same > best) best = same, out->part = c;
        }
        if (!whole) {
            out->n += best;
            return;
        }
        out->node = whole;
        out->n += page_len;
        out->n_pages++;
    }
}

struct prefix_node *prefix_step(struct prefix_node *at, const int32_t *token) {
    int page_len = at->tree->owner->page_len;
    for (struct prefix_node *c = at->child; c; c = c->next)
        if (c->n == page_len && common(c->token, token, page_len) == page_len) return c;
    return NULL;
}

int prefix_behind(const struct prefix_path *path, int32_t *token, int max) {
    const struct prefix_node *n = path->part ? path->part : path->node->child;
    int skip = path->n - path->n_pages * path->node->tree->owner->page_len, got = 0;
    for (; n && got < max; n = n->child, skip = 0)
        for (int i = skip; i < n->n && got < max; i++) token[got++] = n->token[i];
    return got;
}

/* ---- holding ------------------------------------------------------------------------------ */
void prefix_hold(struct prefix_node *n) {
    for (; n; n = n->parent)
        if (n->users++ == 0) n->tree->owner->evictable -= node_bytes(n);
}

void prefix_release(struct prefix_node *n) {
    for (; n; n = n->parent) {
        assert(n->users > 0);
        if (--n->users == 0) n->tree->owner->evictable += node_bytes(n);
    }
}

void prefix_touch(struct prefix_node *n) {
    for (; n->parent; n = n->parent) node_score(n);
}

/* ---- adding ------------------------------------------------------------------------------- */
bool prefix_reserve(struct prefix *p, int n) {
    while (p->n_stock < n) {
        struct prefix_node *fresh = node_alloc(p);
        if (!fresh) return false;
        fresh->next = p->stock;
        p->stock = fresh;
        p->n_stock++;
    }
    return true;
}

/* Hands the marks of a leaf that is going away to the node that continues it. */
static void take_marks(struct prefix_node *to, struct prefix_node *from) {
    struct prefix_mark **end = &to->marks;
    while (*end) end = &(*end)->next;
    *end = from->marks;
    from->marks = NULL;
}

/* Leaves below `at` whose tokens the new node starts with say nothing of their own any more. */
static void drop_shorter(struct prefix_node *at, struct prefix_node *fresh) {
    struct prefix *p = at->tree->owner;
    for (struct prefix_node *c = at->child, *next; c; c = next) {
        next = c->next;
        bool shorter = c != fresh && c->n < fresh->n && !c->child && c->users == 0 &&
                       common(c->token, fresh->token, c->n) == c->n;
        if (!shorter) continue;
        size_t before = node_bytes(c);
        take_marks(fresh, c);
        p->evictable -= before - node_bytes(c);
        node_drop(c);
    }
}

struct prefix_node *prefix_add(struct prefix_node *at, const int32_t *token, int n,
                               struct page **page) {
    struct prefix *p = at->tree->owner;
    assert(n > 0 && n <= p->page_len);
    for (struct prefix_node *c = at->child; c; c = c->next) {
        if (c->n < n || common(c->token, token, n) < n) continue;
        if (c->page != *page) {
            page_ref(c->page);
            page_unref(p->pool, *page);
            *page = c->page;
        }
        return c;
    }
    struct prefix_node *f = p->stock;
    if (!f) return NULL;
    p->stock = f->next;
    p->n_stock--;
    *f = (struct prefix_node){.parent = at, .next = at->child, .tree = at->tree, .page = *page};
    f->pos = at->pos + at->n;
    f->n = n;
    memcpy(f->token, token, (size_t)n * sizeof *token);
    f->hash = prefix_hash_next(at->hash, token, n);
    page_ref(f->page);
    at->child = f;
    drop_shorter(at, f);
    leaf_unlink(at);
    leaf_link(p, f);
    node_score(f);
    p->evictable += node_bytes(f);
    return f;
}

/* ---- marks -------------------------------------------------------------------------------- */
bool prefix_add_mark(struct prefix_node *n, int from, int to, const struct prefix_mark_page *pages,
                     int n_pages) {
    struct prefix *p = n->tree->owner;
    size_t list = (size_t)n_pages * sizeof *pages;
    struct prefix_mark *m = mem_alloc(sizeof *m + list);
    if (!m) return false;
    *m = (struct prefix_mark){.from = from, .to = to, .n_pages = n_pages};
    memcpy(m->page, pages, list);
    for (int i = 0; i < n_pages; i++) page_ref(m->page[i].page);
    size_t before = node_bytes(n);
    for (struct prefix_mark **at = &n->marks; *at;) {
        struct prefix_mark *old = *at;
        if (old->to != to) {
            at = &old->next;
            continue;
        }
        *at = old->next;
        mark_free(p, old);
    }
    m->next = n->marks;
    n->marks = m;
    if (n->users == 0) p->evictable += node_bytes(n) - before;
    node_score(n);
    return true;
}

static const struct prefix_mark *best_mark(const struct prefix_node *n, int limit, int *at) {
    const struct prefix_mark *best = NULL;
    for (const struct prefix_mark *m = n->marks; m; m = m->next) {
        int start = m->to < limit ? m->to : limit;
        if (start < m->from || (best && start <= *at)) continue;
        best = m;
        *at = start;
    }
    return best;
}

const struct prefix_mark *prefix_find_mark(const struct prefix_path *path, int limit, int *at) {
    if (limit > path->n) limit = path->n;
    const struct prefix_mark *found = path->part ? best_mark(path->part, limit, at) : NULL;
    for (const struct prefix_node *n = path->node; n && !found; n = n->parent)
        found = best_mark(n, limit, at);
    return found;
}

/* ---- eviction ----------------------------------------------------------------------------- */
size_t prefix_evict(struct prefix *p, size_t bytes) {
    size_t freed = 0;
    while (freed < bytes) {
        struct prefix_node *victim = NULL;
        for (struct leaf *l = p->leaves.next; l != &p->leaves; l = l->next) {
            struct prefix_node *n = (struct prefix_node *)l;
            if (n->users == 0 && (!victim || n->score < victim->score)) victim = n;
        }
        if (!victim) break;
        if (victim->score > p->clock) p->clock = victim->score;
        freed += node_drop(victim);
    }
    return freed;
}

size_t prefix_evictable(const struct prefix *p) {
    return p->evictable;
}
