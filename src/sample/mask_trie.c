/* The vocabulary as a trie in one array. Built once per model, then read only. */
#include "base/mem.h"
#include "sample/mask.h"

#include <stdlib.h>
#include <string.h>

struct sorted {
    struct str s;
    int32_t id;
};

static int by_bytes(const void *a, const void *b) {
    const struct sorted *x = a, *y = b;
    size_t n = x->s.len < y->s.len ? x->s.len : y->s.len;
    int d = memcmp(x->s.p, y->s.p, n);
    if (d) return d;
    if (x->s.len != y->s.len) return x->s.len < y->s.len ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static size_t common(struct str a, struct str b) {
    size_t n = 0;
    while (n < a.len && n < b.len && a.p[n] == b.p[n]) n++;
    return n;
}

/* The nodes of the text that was added last. */
struct path {
    uint32_t *node;
    uint8_t *utf8; /* state behind each byte */
    size_t depth;
};

/* The groups of the characters of which the first two bytes end in the deepest node of the path. */
static uint64_t own_groups(const struct trie *t, const struct path *p) {
    const struct trie_node *n = &t->node[p->node[p->depth]], *up = &t->node[p->node[p->depth - 1]];
    uint8_t before = p->utf8[p->depth - 1], behind = p->utf8[p->depth];
    if (behind == UTF8_BROKEN) return GROUPS_ODD;
    if (before >= UTF8_FORM) return 1ull << mask_group(up->byte, n->byte);
    if (before != UTF8_WHOLE || (behind != UTF8_WHOLE && n->size > 1)) return 0;
    return mask_groups(n->byte);
}

/* Adds the deepest node of the path, whose subtree is complete, to what its parent knows. */
static void add_below(struct trie *t, const struct path *p) {
    struct trie_node *n = &t->node[p->node[p->depth]], *up = &t->node[p->node[p->depth - 1]];
    bool begins = p->utf8[p->depth - 1] == UTF8_WHOLE;
    n->chars = (uint16_t)(n->chars + begins);
    n->groups |= own_groups(t, p);
    if (n->chars > up->chars) up->chars = n->chars;
    up->groups |= n->groups;
    if (!begins) n->groups |= GROUPS_ODD;
}

static void close_to(struct trie *t, struct path *p, size_t depth) {
    while (p->depth > depth) {
        struct trie_node *n = &t->node[p->node[p->depth]];
        n->size = t->n_nodes - p->node[p->depth];
        add_below(t, p);
        p->depth--;
    }
}

static void add_text(struct trie *t, struct path *p, struct str s, uint32_t rank) {
    for (size_t i = p->depth; i < s.len; i++) {
        uint8_t byte = (uint8_t)s.p[i];
        p->node[++p->depth] = t->n_nodes;
        uint8_t before = p->utf8[p->depth - 1];
        p->utf8[p->depth] = mask_utf8_next(before, byte);
        uint16_t above = t->node[p->node[p->depth - 1]].above;
        if (before == UTF8_WHOLE) above++;
        t->node[t->n_nodes++] = (struct trie_node){1, rank, above, 0, byte, 0};
    }
}

bool trie_build(struct trie *t, const struct str *bytes, const uint8_t *use, int32_t n_vocab,
                struct err *e) {
    struct sorted *list = mem_array((size_t)n_vocab + 1, sizeof *list);
    size_t n = 0, total = 1, longest = 0;
    for (int32_t id = 0; list && id < n_vocab; id++) {
        if (use[id] != TOKEN_USE_TEXT || bytes[id].len == 0 || bytes[id].len > UINT16_MAX) continue;
        list[n++] = (struct sorted){bytes[id], id};
        total += bytes[id].len;
        if (bytes[id].len > longest) longest = bytes[id].len;
    }
    if (list && n) qsort(list, n, sizeof *list, by_bytes);
    for (size_t i = 1; i < n; i++) total -= common(list[i - 1].s, list[i].s);
    struct path path = {mem_array(longest + 2, sizeof *path.node), mem_calloc(longest + 2, 1), 0};
    *t = (struct trie){.node = mem_array(total + 1, sizeof *t->node),
                       .token = mem_array(n + 1, sizeof *t->token),
                       .chars = mem_array(n + 1, sizeof *t->chars),
                       .height = (uint32_t)longest};
    bool ok = list && path.node && path.utf8 && t->node && t->token && t->chars;
    if (!ok) {
        err_nomem(e, "the vocabulary's trie", total * sizeof *t->node);
        trie_free(t);
    } else {
        t->node[t->n_nodes++] = (struct trie_node){1, 0, 0, 0, 0, 0};
        path.node[0] = 0;
        for (size_t i = 0; i < n; i++) {
            if (i) close_to(t, &path, common(list[i - 1].s, list[i].s));
            add_text(t, &path, list[i].s, (uint32_t)i);
            t->token[i] = list[i].id;
            t->chars[i] = t->node[path.node[path.depth]].above;
        }
        close_to(t, &path, 0);
        t->n_tokens = (uint32_t)n;
        t->node[0].size = t->n_nodes;
        t->node[t->n_nodes] = (struct trie_node){0, t->n_tokens, 0, 0, 0, 0};
    }
    mem_free(path.node);
    mem_free(path.utf8);
    mem_free(list);
    return ok;
}

void trie_free(struct trie *t) {
    mem_free(t->node);
    mem_free(t->token);
    mem_free(t->chars);
    *t = (struct trie){0};
}
