/* The prefix tree: which token sequences have their K/V in pages, shared by every sequence of an
 * engine. A node is one page of the growing layer group and the tokens whose K/V stand in it; full
 * nodes have children, partial ones are leaves. Trees are keyed by model and tenant; eviction is
 * over all of them. One owner thread (the engine's). Adding nodes takes from a stock that
 * prefix_reserve fills, so that a step never allocates. */
#ifndef HOLDFAST_CACHE_PREFIX_H
#define HOLDFAST_CACHE_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cache/pages.h"

struct prefix;      /* every tree of an engine */
struct prefix_tree; /* of one model and tenant */
struct prefix_node;

/* page_len: positions per page, the same for all models of an engine. */
struct prefix *prefix_new(struct pages *pool, int page_len, struct err *e);
void prefix_free(struct prefix *p);

struct prefix_key {
    uint64_t model, tenant; /* fingerprint of everything that decides the bits; hash of the key */
    double token_cost;      /* to recompute one token, any unit that is the same for all models */
    double depth_cost;      /* and what each position before it adds */
};
/* Finds or makes the tree. NULL: no memory. */
struct prefix_tree *prefix_tree(struct prefix *p, const struct prefix_key *k);
/* Drops every tree of a model. No sequence may hold one of its nodes. */
void prefix_drop_model(struct prefix *p, uint64_t model);

/* What is cached of a token sequence. */
struct prefix_path {
    struct prefix_node *node; /* the deepest full page that matches, or the root */
    struct prefix_node *part; /* child that matches further, but not as a whole; or NULL */
    int n_pages;              /* full pages that match */
    int n;                    /* tokens that match, those in part included */
};
void prefix_match(struct prefix_tree *t, const int32_t *token, int n, struct prefix_path *out);
/* One page further down from a full node: the child that matches token[0, page_len) as a whole. */
struct prefix_node *prefix_step(struct prefix_node *at, const int32_t *token);
/* The cached tokens behind the match, at most max; what an explanation shows. */
int prefix_behind(const struct prefix_path *path, int32_t *token, int max);

struct prefix_node *prefix_root(struct prefix_tree *t);
struct prefix_node *prefix_parent(struct prefix_node *n);
struct page *prefix_page(const struct prefix_node *n); /* NULL for the root */
uint64_t prefix_hash(const struct prefix_node *n);     /* of key and all tokens up to here */
/* The hash of a node with these tokens below one with hash `parent`. */
uint64_t prefix_hash_next(uint64_t parent, const int32_t *token, int n);
const struct prefix_key *prefix_tree_key(const struct prefix_tree *t);

/* A sequence that stands on a node holds it: neither it nor its ancestors are evicted. */
void prefix_hold(struct prefix_node *n);
void prefix_release(struct prefix_node *n);
/* Marks the nodes up to the root as just used. */
void prefix_touch(struct prefix_node *n);

/* Makes sure that n nodes can be added. */
bool prefix_reserve(struct prefix *p, int n);
/* Adds token[0, n) (n <= page_len) and its page (*page) below a full node. When the same tokens
 * are there already, nothing is added and *page becomes the page that is there (references are
 * exchanged); shorter leaves that the new node continues are dropped. NULL only when the stock is
 * empty. */
struct prefix_node *prefix_add(struct prefix_node *at, const int32_t *token, int n,
                               struct page **page);

/* Window layers keep only their last positions, so a sequence of such a model can start only where
 * those were pinned: at a mark. Recurrent states will hang here too. */
struct prefix_mark {
    struct prefix_mark *next;
    int from, to; /* a sequence may start at any position in [from, to] */
    int n_pages;
    struct prefix_mark_page {
        int group, index; /* page table and entry */
        struct page *page;
    } page[];
};
/* Pins copies of the references in pages[0, n). Replaces a mark of the same `to`. false: no
 * memory. */
bool prefix_add_mark(struct prefix_node *n, int from, int to, const struct prefix_mark_page *pages,
                     int n_pages);
/* The mark that lets a sequence which matches path start furthest on; *at is where. NULL: none. */
const struct prefix_mark *prefix_find_mark(const struct prefix_path *path, int limit, int *at);

/* Frees leaves that no sequence holds, lowest (cost to recompute) / (bytes) first, aged by use,
 * until `bytes` are free or nothing is left. Returns the bytes of the pages given up. */
size_t prefix_evict(struct prefix *p, size_t bytes);
size_t prefix_evictable(const struct prefix *p); /* bytes that only the trees hold */

#endif
