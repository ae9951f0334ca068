/* The ledger (contract in ledger.h): a hash table with chains, and a ring in the order of use. */
#include "engine/ledger.h"
#include "base/limits.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>
#include <xxhash.h>

enum { BUCKETS = 4096 };

struct use { /* link in the ring; first member of an entry */
    struct use *prev, *next;
};

struct entry {
    struct use use;
    struct entry *chain;
    uint64_t key;
    size_t bytes;
    size_t text_len, from, to, n, lead_len, n_lead;
    bool opens;
    int32_t token[]; /* n, n_lead of the lead, and behind them the text and the lead */
};

struct ledger {
    pthread_mutex_t lock;
    struct disk *disk; /* or NULL */
    size_t bytes, max_bytes;
    struct use ring; /* next: used last */
    struct entry *bucket[BUCKETS];
};

struct ledger *ledger_new(size_t max_bytes, struct err *e) {
    struct ledger *l = mem_calloc(1, sizeof *l);
    if (!l) {
        err_nomem(e, "the ledger", sizeof *l);
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    l->max_bytes = max_bytes;
    l->ring = (struct use){&l->ring, &l->ring};
    return l;
}

static char *entry_text(const struct entry *n) {
    return (char *)(uintptr_t)(n->token + n->n + n->n_lead);
}

/* Of tokens and texts. */
static size_t entry_bytes(const struct entry *n) {
    return (n->n + n->n_lead) * sizeof *n->token + n->text_len + n->lead_len;
}

static void use_unlink(struct use *u) {
    u->prev->next = u->next;
    u->next->prev = u->prev;
}

static void use_now(struct ledger *l, struct entry *n) {
    n->use = (struct use){&l->ring, l->ring.next};
    n->use.prev->next = n->use.next->prev = &n->use;
}

static void drop(struct ledger *l, struct entry *n) {
    struct entry **at = &l->bucket[n->key % BUCKETS];
    while (*at != n) at = &(*at)->chain;
    *at = n->chain;
    use_unlink(&n->use);
    l->bytes -= n->bytes;
    mem_free(n);
}

void ledger_free(struct ledger *l) {
    if (!l) return;
    while (l->ring.next != &l->ring) drop(l, (struct entry *)l->ring.next);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

struct str ledger_core(struct str s) {
    while (s.len && strchr(" \t\r\n", s.p[s.len - 1])) s.len--;
    while (s.len && strchr(" \t\r\n", *s.p)) s.p++, s.len--;
    return s;
}

static uint64_t key_of(uint64_t scope, struct str s, bool is_id) {
    return (str_hash(s) ^ scope) * 0x9E3779B97F4A7C15u + is_id;
}

static struct entry *find(struct ledger *l, uint64_t key) {
    struct entry *n = l->bucket[key % BUCKETS];
    while (n && n->key != key) n = n->chain;
    return n;
}

struct stored { /* of an entry on the disk: the first part; the second is as in memory */
    uint64_t key, text_len, from, to, n, lead_len, n_lead, opens;
};

static void store(struct disk *d, struct entry *n) {
    struct stored h = {n->key, n->text_len, n->from, n->to, n->n, n->lead_len, n->n_lead, n->opens};
    size_t bytes = entry_bytes(n);
    struct disk_item item = {.kind = SEGMENT_LEDGER,
                             .hash = XXH3_64bits_withSeed(n->token, bytes, n->key),
                             .n_parts = 2,
                             .part = {{&h, sizeof h}, {n->token, bytes}}};
    disk_put(d, &item); /* when the queue is full it is lost to a restart, and nothing else */
}

static void copy_piece(struct entry *n, const struct ledger_piece *p) {
    char *text = entry_text(n);
    memcpy(n->token, p->token, p->n * sizeof *p->token);
    memcpy(text, p->text.p, p->text.len);
    if (!p->n_lead) return;
    memcpy(n->token + p->n, p->lead_token, p->n_lead * sizeof *p->token);
    memcpy(text + p->text.len, p->lead.p, p->lead.len);
}

/* Adds under a key; the entry, or NULL: it is too large, or there is no memory. */
static struct entry *add(struct ledger *l, uint64_t key, const struct ledger_piece *p) {
    struct entry head = {.key = key,
                         .text_len = p->text.len,
                         .from = p->from,
                         .to = p->to,
                         .n = p->n,
                         .lead_len = p->n_lead ? p->lead.len : 0,
                         .n_lead = p->n_lead,
                         .opens = p->opens};
    size_t bytes = head.bytes = sizeof head + entry_bytes(&head);
    if (p->n == 0 || bytes > l->max_bytes / 4) return NULL;
    struct entry *n = mem_alloc(bytes);
    if (!n) return NULL;
    *n = head;
    copy_piece(n, p);
    struct entry *old = find(l, n->key);
    if (old) drop(l, old);
    while (l->bytes + bytes > l->max_bytes) drop(l, (struct entry *)l->ring.prev);
    n->chain = l->bucket[n->key % BUCKETS];
    l->bucket[n->key % BUCKETS] = n;
    l->bytes += bytes;
    use_now(l, n);
    return n;
}

void ledger_add(struct ledger *l, uint64_t scope, const char *call_id,
                const struct ledger_piece *p) {
    pthread_mutex_lock(&l->lock);
    struct entry *n = add(l, key_of(scope, call_id ? str_of(call_id) : p->text, call_id), p);
    if (n && l->disk) store(l->disk, n);
    pthread_mutex_unlock(&l->lock);
}

/* ---- the disk ----------------------------------------------------------------------------- */
static void restore(void *ctx, const struct disk_item *item) {
    struct ledger *l = ctx;
    struct stored h;
    size_t rest = item->n_parts == 2 ? item->part[1].bytes : 0;
    if (item->n_parts != 2 || item->part[0].bytes != sizeof h) return;
    memcpy(&h, item->part[0].data, sizeof h);
    size_t most = rest / sizeof(int32_t);
    if (h.n > most || h.n_lead > most - h.n) return;
    rest -= (h.n + h.n_lead) * sizeof(int32_t);
    if (h.text_len > rest || h.lead_len != rest - h.text_len) return;
    if (h.from > h.to || h.to > h.text_len) return;
    const int32_t *token = item->part[1].data;
    const char *text = (const char *)(token + h.n + h.n_lead);
    add(l, h.key,
        &(struct ledger_piece){{text, h.text_len},
                               h.from,
                               h.to,
                               token,
                               h.n,
                               {text + h.text_len, h.lead_len},
                               token + h.n,
                               h.n_lead,
                               h.opens});
}

void ledger_keep_on(struct ledger *l, struct disk *d) {
    disk_each(d, SEGMENT_LEDGER, restore, l);
    l->disk = d;
}

/* ---- looking up --------------------------------------------------------------------------- */
static bool copy_hit(struct ledger *l, struct entry *n, struct arena *mem,
                     struct ledger_piece *hit) {
    char *text = arena_strndup(mem, entry_text(n), n->text_len + n->lead_len);
    int32_t *token = arena_alloc(mem, (n->n + n->n_lead) * sizeof *token);
    if (!text || !token) return false;
    memcpy(token, n->token, (n->n + n->n_lead) * sizeof *token);
    *hit = (struct ledger_piece){.text = {text, n->text_len},
                                 .from = n->from,
                                 .to = n->to,
                                 .token = token,
                                 .n = n->n,
                                 .lead = {text + n->text_len, n->lead_len},
                                 .lead_token = token + n->n,
                                 .n_lead = n->n_lead,
                                 .opens = n->opens};
    use_unlink(&n->use);
    use_now(l, n);
    return true;
}

bool ledger_find_text(struct ledger *l, uint64_t scope, struct str text, struct arena *mem,
                      struct ledger_piece *hit) {
    pthread_mutex_lock(&l->lock);
    struct entry *n = find(l, key_of(scope, text, false));
    bool ok =
        n && str_eq(text, (struct str){entry_text(n), n->text_len}) && copy_hit(l, n, mem, hit);
    pthread_mutex_unlock(&l->lock);
    return ok;
}

bool ledger_find_call(struct ledger *l, uint64_t scope, const char *call_id, const json_t *args,
                      struct arena *mem, struct ledger_piece *hit) {
    struct err e;
    pthread_mutex_lock(&l->lock);
    struct entry *n = find(l, key_of(scope, str_of(call_id), true));
    bool ok = n && copy_hit(l, n, mem, hit);
    pthread_mutex_unlock(&l->lock);
    if (!ok) return false;
    json_t *own = json_parse(hit->text, LIMIT_JSON_BYTES, &e);
    ok = own && json_equal(own, args);
    json_decref(own);
    return ok;
}
