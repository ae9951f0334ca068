/* Kept tokenizations (contract in memo.h). An entry is a joined text, where its spans end, its ids
 * and the places behind each token that was cut out. Of the entry that begins most like the new
 * text the ids up to the last such place are copied. */
#include "text/memo.h"
#include "base/limits.h"
#include "text/vocab_impl.h"

#include <pthread.h>
#include <string.h>

enum { ENTRIES = 8, MIN_TEXT = 4096, MAX_TEXT = 4 << 20 };

struct entry {
    uint64_t scope, used;
    bool add_special;
    struct buf text;
    struct span_end *ends; /* (n_ends) */
    size_t n_ends;
    struct tokens ids;
    struct token_marks marks;
};
struct token_memo {
    const struct vocab *v;
    size_t margin;        /* bytes that a token which is cut out may look ahead */
    pthread_mutex_t lock; /* guards what follows */
    struct entry entry[ENTRIES];
    uint64_t clock;
};

struct token_memo *token_memo_new(const struct vocab *v) {
    struct token_memo *m = mem_calloc(1, sizeof *m);
    if (!m) return NULL;
    m->v = v;
    for (size_t i = 0; i < v->n_cut; i++)
        if (v->cut[i].text.len > m->margin) m->margin = v->cut[i].text.len;
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

static void entry_clear(struct entry *t) {
    buf_free(&t->text);
    tokens_free(&t->ids);
    mem_free(t->ends);
    mem_free(t->marks.m);
    *t = (struct entry){0};
}

void token_memo_free(struct token_memo *m) {
    if (!m) return;
    for (int i = 0; i < ENTRIES; i++) entry_clear(&m->entry[i]);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static size_t common_bytes(struct str a, struct str b) {
    enum { BLOCK = 256 };
    size_t n = a.len < b.len ? a.len : b.len, i = 0;
    while (i + BLOCK <= n && memcmp(a.p + i, b.p + i, BLOCK) == 0) i += BLOCK;
    while (i < n && a.p[i] == b.p[i]) i++;
    return i;
}

/* The last mark that both texts have: equal bytes and spans up to there, and as far on as a cut
 * token may reach. NULL: none. */
static const struct token_mark *last_common(const struct token_memo *m, const struct entry *t,
                                            const struct joined *j) {
    size_t same = common_bytes(buf_view(&t->text), j->text), end = 0;
    for (size_t i = 0; i < t->n_ends && i < j->n; i++) {
        bool equal = t->ends[i].at == j->ends[i].at && t->ends[i].special == j->ends[i].special;
        if (!equal || t->ends[i].at > same) break;
        end = t->ends[i].at;
    }
    if (same < m->margin) return NULL;
    if (end > same - m->margin) end = same - m->margin;
    size_t lo = 0, hi = t->marks.n; /* marks before lo are within end */
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (t->marks.m[mid].text <= end) lo = mid + 1;
        else hi = mid;
    }
    return lo ? &t->marks.m[lo - 1] : NULL;
}

/* Copies what is known of the text into out and marks. */
static bool take_known(struct token_memo *m, uint64_t scope, bool add_special,
                       const struct joined *j, struct tokens *out, struct token_marks *marks) {
    const struct token_mark *best = NULL;
    struct entry *from = NULL;
    for (int i = 0; i < ENTRIES; i++) {
        struct entry *t = &m->entry[i];
        if (!t->used || t->scope != scope || t->add_special != add_special) continue;
        const struct token_mark *mark = last_common(m, t, j);
        if (mark && (!best || mark->text > best->text)) best = mark, from = t;
    }
    if (!best) return true;
    from->used = ++m->clock;
    for (size_t i = 0; i < best->id; i++)
        if (!tokens_add(out, from->ids.id[i])) return false;
    for (const struct token_mark *k = from->marks.m; k <= best; k++)
        if (!token_marks_add(marks, *k)) return false;
    return true;
}

/* Keeps a tokenization in place of the one that was used least lately; takes over the marks. */
static void keep(struct token_memo *m, uint64_t scope, bool add_special, struct joined *j,
                 const int32_t *id, size_t n, struct token_marks *marks) {
    struct entry *t = &m->entry[0];
    for (int i = 1; i < ENTRIES; i++)
        if (m->entry[i].used < t->used) t = &m->entry[i];
    entry_clear(t);
    bool ok = buf_str(&t->text, j->text);
    for (size_t i = 0; ok && i < n; i++) ok = tokens_add(&t->ids, id[i]);
    if (!ok) {
        entry_clear(t);
        return;
    }
    t->scope = scope;
    t->add_special = add_special;
    t->used = ++m->clock;
    t->ends = j->ends;
    t->n_ends = j->n;
    t->marks = *marks;
    j->ends = NULL;
    *marks = (struct token_marks){0};
}

bool token_memo_tokenize(struct token_memo *m, uint64_t scope, const struct text_span *spans,
                         size_t n, bool add_special, struct tokens *out, struct err *e) {
    struct joined j = {.n = n};
    struct token_marks marks = {0};
    struct tokens ids = {0};
    bool ok = token_join(m->v, spans, &j, e);
    bool kept = ok && j.text.len >= MIN_TEXT && j.text.len <= MAX_TEXT;
    if (kept) {
        pthread_mutex_lock(&m->lock);
        ok = take_known(m, scope, add_special, &j, &ids, &marks) ||
             err_nomem(e, "token ids", ids.n * sizeof *ids.id);
        pthread_mutex_unlock(&m->lock);
    }
    struct token_mark from = marks.n ? marks.m[marks.n - 1] : (struct token_mark){0};
    ok = ok && token_encode(m->v, &j, from.text, add_special, &ids, kept ? &marks : NULL, e);
    for (size_t i = 0; ok && i < ids.n; i++)
        ok = tokens_add(out, ids.id[i]) || err_nomem(e, "token ids", ids.n * sizeof *ids.id);
    if (ok && kept && marks.n) {
        pthread_mutex_lock(&m->lock);
        keep(m, scope, add_special, &j, ids.id, ids.n, &marks);
        pthread_mutex_unlock(&m->lock);
    }
    tokens_free(&ids);
    mem_free(marks.m);
    joined_free(&j);
    return ok;
}
