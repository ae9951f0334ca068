/* From one word to token ids: symbols are merged pair by pair, the best pair first, with a heap
 * over a linked list: O(n log n). What "best" means is the only difference between byte-pair
 * encoding (lowest rank in the list of merges) and SPM (highest score of the merged text); ties go
 * left. Called by tokenize.c for every word; knows nothing of special tokens. */
#include "text/vocab_impl.h"

#include <string.h>

/* A word longer than a window is merged window by window, so that memory stays bounded. The last
 * tokens of a window depend on what follows: those in its last OVERLAP bytes are done again with
 * the next one. */
enum { WINDOW = 1 << 15, OVERLAP = 1 << 11 };

struct best {
    uint32_t priority;
    int32_t merged;
};

/* Hash of a pair: both multipliers are odd and random. */
static size_t pair_hash(int32_t left, int32_t right) {
    uint64_t h = (uint32_t)left * 0x9E3779B97F4A7C15u + (uint32_t)right * 0xC2B2AE3D27D4EB4Fu;
    return (size_t)(h ^ h >> 32);
}

/* Where (left, right) is or would be put. */
static struct pair_slot *pair_place(const struct vocab *v, int32_t left, int32_t right) {
    size_t mask = v->n_pairs - 1, i = pair_hash(left, right) & mask;
    while (v->pairs[i].merged_1 && (v->pairs[i].left != left || v->pairs[i].right != right))
        i = (i + 1) & mask;
    return &v->pairs[i];
}

void merge_add_pair(struct vocab *v, int32_t left, int32_t right, int32_t merged, uint32_t rank) {
    struct pair_slot *p = pair_place(v, left, right);
    if (!p->merged_1) *p = (struct pair_slot){left, right, merged + 1, rank};
}

/* What the adjacent symbols a and b merge to; false: nothing. */
static bool find_pair(const struct vocab *v, const struct merge_symbol *a,
                      const struct merge_symbol *b, struct str text, struct best *out) {
    if (v->kind != VOCAB_SPM) {
        if (a->id < 0 || b->id < 0 || v->n_pairs == 0) return false;
        const struct pair_slot *p = pair_place(v, a->id, b->id);
        *out = (struct best){p->rank, p->merged_1 - 1};
        return p->merged_1 != 0;
    }
    int32_t id = vocab_find_plain(v, text);
    if (id < 0) return false;
    *out = (struct best){v->priority[id], id};
    return true;
}

static bool heap_push(struct merger *m, struct merge_pair p) {
    void *heap = m->heap;
    if (!mem_grow(&heap, &m->cap_heap, m->n_heap + 1, sizeof p)) return false;
    m->heap = heap;
    size_t i = m->n_heap++;
    for (; i > 0 && m->heap[(i - 1) / 2].order > p.order; i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = p;
    return true;
}

static struct merge_pair heap_pop(struct merger *m) {
    struct merge_pair top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0, child;
    for (; (child = 2 * i + 1) < m->n_heap; i = child) {
        if (child + 1 < m->n_heap && m->heap[child + 1].order < m->heap[child].order) child++;
        if (m->heap[child].order >= last.order) break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = last;
    return top;
}

/* Queues the pair of symbol i and its right neighbour. */
static bool queue_pair(struct merger *m, const char *text, int32_t i) {
    if (i < 0 || m->sym[i].next < 0) return true;
    const struct merge_symbol *a = &m->sym[i], *b = &m->sym[a->next];
    uint32_t begin = a->prev < 0 ? 0 : m->sym[a->prev].end;
    struct best best;
    if (!find_pair(m->v, a, b, (struct str){text + begin, b->end - begin}, &best)) return true;
    return heap_push(
        m, (struct merge_pair){(uint64_t)best.priority << 32 | (uint32_t)i, best.merged, b->end});
}

static bool add_symbols(struct merger *m, struct str text, size_t *n) {
    const struct vocab *v = m->v;
    void *sym = m->sym;
    if (!mem_grow(&sym, &m->cap_sym, text.len, sizeof *m->sym)) return false;
    m->sym = sym;
    *n = 0;
    for (size_t at = 0; at < text.len; ++*n) {
        int32_t id;
        if (v->kind == VOCAB_BYTE_BPE) {
            id = v->byte_id[(unsigned char)text.p[at++]];
        } else {
            uint32_t cp;
            size_t len = utf8_decode(text.p + at, text.len - at, &cp);
            id = vocab_find_plain(v, (struct str){text.p + at, len});
            at += len;
        }
        m->sym[*n] = (struct merge_symbol){id, (uint32_t)at, (int32_t)*n - 1, (int32_t)*n + 1};
    }
    m->sym[*n - 1].next = -1;
    return true;
}

/* Merges until nothing is left to merge. */
static bool merge_all(struct merger *m, const char *text, size_t n) {
    m->n_heap = 0;
    for (size_t i = 0; i + 1 < n; i++)
        if (!queue_pair(m, text, (int32_t)i)) return false;
    while (m->n_heap) {
        struct merge_pair p = heap_pop(m);
        int32_t left = (int32_t)(uint32_t)p.order;
        struct merge_symbol *a = &m->sym[left];
        if (a->end == 0 || a->next < 0 || m->sym[a->next].end != p.end) continue;
        struct merge_symbol *b = &m->sym[a->next];
        *a = (struct merge_symbol){p.merged, b->end, a->prev, b->next};
        b->end = 0; /* consumed */
        if (a->next >= 0) m->sym[a->next].prev = left;
        if (!queue_pair(m, text, a->prev) || !queue_pair(m, text, left)) return false;
    }
    return true;
}

/* A symbol that is no token comes out byte by byte. */
static bool emit(const struct vocab *v, int32_t id, struct str text, struct tokens *out,
                 struct err *e) {
    if (id >= 0 && id < v->n) return tokens_add(out, id) || err_nomem(e, "token ids", out->cap);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char b = (unsigned char)text.p[i];
        int32_t byte = v->byte_id[b];
        bool known = byte >= 0 && byte < v->n;
        if (!known && v->kind == VOCAB_BYTE_BPE) continue;
        if (!known) byte = v->special.unk;
        if (byte < 0)
            return err_set(e, ERR_FORMAT, "the vocabulary has no token for the byte 0x%02X", b);
        if (!tokens_add(out, byte)) return err_nomem(e, "token ids", out->cap);
    }
    return true;
}

bool merge_word(struct merger *m, struct str word, struct tokens *out, struct err *e) {
    while (word.len) {
        struct str part = word;
        if (part.len > WINDOW)
            part.len = WINDOW - OVERLAP + utf8_complete(word.p + WINDOW - OVERLAP, OVERLAP);
        size_t n, final = part.len < word.len ? WINDOW - OVERLAP : part.len, done = 0;
        if (!add_symbols(m, part, &n) || !merge_all(m, part.p, n))
            return err_nomem(e, "merging a word", part.len);
        for (int32_t i = 0; i >= 0 && done < final; i = m->sym[i].next) {
            struct str text = {part.p + done, m->sym[i].end - done};
            if (!emit(m->v, m->sym[i].id, text, out, e)) return false;
            done = m->sym[i].end;
        }
        word = (struct str){word.p + done, word.len - done};
    }
    return true;
}

void merge_free(struct merger *m) {
    mem_free(m->sym);
    mem_free(m->heap);
}
