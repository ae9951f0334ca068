/* A sequence: one timeline of tokens, the pages that hold their K/V, and what chooses the next.
 * Grows, shares with the prefix tree and gives back; what is computed when is sched.c's business.
 * The engine thread's, but for seq_init and seq_free. */
#ifndef HOLDFAST_ENGINE_SEQ_H
#define HOLDFAST_ENGINE_SEQ_H

#include "cache/disk.h"
#include "cache/pages.h"
#include "cache/prefix.h"
#include "model/model.h"
#include "sample/grammar.h"
#include "sample/sampler.h"

struct hold_model;

enum { ENGINE_GROUPS_MAX = 8 };

struct seq_table {
    struct page **page;   /* NULL where there is none */
    unsigned char **data; /* the same as the ops see it */
    int first, n;         /* entries [first, n) are there */
};
struct seq {
    int32_t *token; /* prompt, then answer */
    int n_prompt, n, cap;
    int n_past; /* tokens whose K/V stand in pages */
    struct seq_table table[ENGINE_GROUPS_MAX];
    struct kv_table kv[ENGINE_GROUPS_MAX];
    struct prefix_tree *tree; /* NULL: not cached */
    struct prefix_node *node; /* held; deepest full page in the tree */
    int n_shared;             /* depth of node in pages */
    int n_stored;             /* pages that the disk has been offered, and the hash of their end */
    uint64_t stored_hash;
    struct disk_fetch fetch; /* pages on their way from the disk: store.c */
    bool fetching;
    struct sampler *sampler;
    struct grammar_state *grammar;
};

bool seq_init(struct seq *s, const struct hold_model *m, int cap, struct err *e);
void seq_free(struct seq *s);
/* Takes over what is cached of the tokens, up to `limit`. */
void seq_adopt(struct seq *s, struct hold_model *m, int limit, struct prefix_path *path);
/* Pages for n more positions; false: the pool is full and nothing can be evicted. */
bool seq_cover(struct seq *s, struct hold_model *m, int n);
/* After a forward pass over n positions: shares full pages, drops what left the windows. */
void seq_advance(struct seq *s, struct hold_model *m, int n);
/* Further pages that another sequence has put into the tree meanwhile. */
void seq_catch_up(struct seq *s, struct hold_model *m, int limit);
/* Gives up what stands behind the last full page; not for models with windows. */
void seq_drop_partial(struct seq *s, struct hold_model *m);
/* Puts the last, partial page into the tree as well, with a mark where the model needs one. */
void seq_share_tail(struct seq *s, struct hold_model *m);
/* Gives all pages back (what is in the tree stays there). */
void seq_leave(struct seq *s, struct hold_model *m);
/* Bytes of pages that n positions take. */
uint64_t seq_bytes(const struct hold_model *m, int n);

#endif
