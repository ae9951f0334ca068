/* Pages and ledger entries to and from the disk cache (contract in store.h). A page's record holds
 * the pages of every layer group at one depth, so a model with windows goes on behind any page
 * that was fetched. */
#include "engine/store.h"
#include "base/log.h"
#include "engine/engine.h"

enum { QUEUE_BYTES = 128 << 20 };

void store_open(struct hold_engine *eng) {
    struct err e = {0};
    struct disk_options o = {eng->o.disk_dir, eng->o.disk_bytes, QUEUE_BYTES};
    if (!o.dir) return;
    eng->disk = disk_open(&o, &e);
    eng->o.disk_dir = NULL; /* the caller's memory */
    if (eng->disk) ledger_keep_on(eng->ledger, eng->disk);
    else log_warn("no disk cache: %s", e.msg);
}

/* The record of the page at depth i; false: some group's page is not there. */
static bool item_at(const struct seq *s, const struct hold_model *m, int i, uint64_t parent,
                    struct disk_item *out) {
    int page_len = m->eng->page_len;
    int32_t *token = s->token + (size_t)i * (size_t)page_len;
    const struct prefix_key *key = prefix_tree_key(s->tree);
    *out = (struct disk_item){.kind = SEGMENT_PAGE,
                              .model = key->model,
                              .tenant = key->tenant,
                              .parent = parent,
                              .hash = prefix_hash_next(parent, token, page_len),
                              .n_parts = m->n_groups + 1};
    out->part[0] = (struct disk_part){token, (size_t)page_len * sizeof *token};
    for (int g = 0; g < m->n_groups; g++) {
        const struct seq_table *t = &s->table[g];
        if (i < t->first || i >= t->n || !t->page[i]) return false;
        out->part[g + 1] = (struct disk_part){t->data[i], m->page_bytes[g]};
    }
    return true;
}

void store_pages(struct seq *s, struct hold_model *m, int most) {
    struct disk *d = m->eng->disk;
    while (d && s->tree && s->n_stored < s->n_shared) {
        struct disk_item item;
        bool whole = item_at(s, m, s->n_stored, s->stored_hash, &item);
        if (whole && !disk_has(d, item.hash)) {
            if (most-- == 0 || disk_put(d, &item) == DISK_LATER) return;
        }
        s->stored_hash = item.hash;
        s->n_stored++;
    }
}

/* ---- fetching ----------------------------------------------------------------------------- */
/* How many pages behind the sequence's full ones the disk has. */
static int available(const struct seq *s, const struct hold_model *m, int limit) {
    int page_len = m->eng->page_len, n = 0;
    uint64_t hash = prefix_hash(s->node);
    for (; n < DISK_FETCH_MAX && (s->n_shared + n + 1) * page_len <= limit; n++) {
        hash = prefix_hash_next(hash, s->token + (s->n_shared + n) * page_len, page_len);
        if (!disk_has(m->eng->disk, hash)) break;
    }
    return n;
}

bool store_fetch(struct seq *s, struct hold_model *m, int limit) {
    if (!m->eng->disk || !s->tree) return false;
    seq_catch_up(s, m, limit);
    int n = available(s, m, limit), full = s->n_shared * m->eng->page_len;
    if (n == 0 || (m->windowed && s->n_past > full)) return false; /* it needs what is behind it */
    if (s->n_past > full) seq_drop_partial(s, m);
    if (!seq_cover(s, m, n * m->eng->page_len)) return false;
    uint64_t hash = prefix_hash(s->node);
    s->fetch = (struct disk_fetch){.n = n, .wake = engine_poke, .wake_ctx = m->eng};
    for (int i = 0; i < n; i++) {
        item_at(s, m, s->n_shared + i, hash, &s->fetch.item[i]);
        hash = s->fetch.item[i].hash;
    }
    s->fetching = true;
    disk_fetch(m->eng->disk, &s->fetch);
    return true;
}

bool store_take(struct seq *s, struct hold_model *m) {
    int n = s->fetch.n_good;
    s->fetching = false;
    if (!prefix_reserve(m->eng->prefix, n)) return false;
    seq_advance(s, m, n * m->eng->page_len);
    return n == s->fetch.n;
}

void store_wait(struct seq *s, struct hold_model *m) {
    if (!s->fetching) return;
    disk_wait(m->eng->disk, &s->fetch);
    s->fetching = false;
}

/* ---- the folder without an engine --------------------------------------------------------- */
struct listing {
    void (*fn)(void *ctx, const struct hold_cache_file *f);
    void *ctx;
};
static void list_file(void *ctx, const struct disk_file *f) {
    const struct listing *l = ctx;
    struct hold_cache_file out = {.path = f->path,
                                  .bytes = f->bytes,
                                  .n_pages = f->n_pages,
                                  .n_entries = f->n_entries,
                                  .n_unusable = f->bytes - f->whole,
                                  .created = (int64_t)(f->created_ns / 1000000000u)};
    l->fn(l->ctx, &out);
}

bool hold_cache_list(const char *dir, void (*fn)(void *ctx, const struct hold_cache_file *f),
                     void *ctx, struct hold_error *error) {
    struct err e = {0};
    struct listing l = {fn, ctx};
    bool ok = disk_list(dir, list_file, &l, &e);
    if (!ok) error_out(error, &e);
    return ok;
}

bool hold_cache_clear(const char *dir, uint64_t *bytes, struct hold_error *error) {
    struct err e = {0};
    bool ok = disk_clear(dir, bytes, &e);
    if (!ok) error_out(error, &e);
    return ok;
}
