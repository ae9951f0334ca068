/* Regular languages as tables: construction, intersection, complement, trimming, and the
 * translation into the inside of JSON strings. Called by build.c and the schema files. */
#include "sample/lang.h"
#include "base/mem.h"
#include "sample/nfa.h"

#include <string.h>

/* Steps that the parts of the work count as. */
enum { WORK_ADD = 8, WORK_ROW = 64, WORK_PAIRS = 256 };
static _Thread_local uint64_t work_left = UINT64_MAX;

void lang_set_work(uint64_t steps) {
    work_left = steps;
}

uint64_t lang_work(void) {
    return work_left;
}

static bool spend(uint64_t steps) {
    if (work_left != UINT64_MAX) work_left -= steps < work_left ? steps : work_left;
    return work_left > 0;
}

void lang_free(struct lang *l) {
    if (!l) return;
    mem_free(l->next);
    mem_free(l->final);
    mem_free(l);
}

uint32_t lang_size(const struct lang *l) {
    return l->n;
}

/* A new state, or 0 when there is no room. */
static uint32_t add(struct lang *l) {
    if (l->n == LANG_STATES || !spend(WORK_ADD)) return 0;
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 16;
        void *next = mem_realloc(l->next, cap, sizeof *l->next);
        if (next) l->next = next;
        void *final = mem_realloc(l->final, cap, sizeof *l->final);
        if (final) l->final = final;
        if (!next || !final) return 0;
        l->cap = cap;
    }
    memset(l->next[l->n], 0, sizeof *l->next);
    l->final[l->n] = false;
    return l->n++;
}

/* Dead and start state. */
static struct lang *make(void) {
    struct lang *l = mem_calloc(1, sizeof *l);
    if (!l) return NULL;
    add(l);
    if (add(l) != LANG_START) {
        lang_free(l);
        return NULL;
    }
    return l;
}

static void *drop(struct lang *l) {
    lang_free(l);
    return NULL;
}

struct lang *lang_copy(const struct lang *l) {
    struct lang *c = mem_calloc(1, sizeof *c);
    if (!c) return NULL;
    *c = (struct lang){.n = l->n, .cap = l->n, .any = l->any};
    c->next = mem_array(l->n, sizeof *l->next);
    c->final = mem_array(l->n, sizeof *l->final);
    if (!c->next || !c->final) return drop(c);
    memcpy(c->next, l->next, l->n * sizeof *l->next);
    memcpy(c->final, l->final, l->n * sizeof *l->final);
    return c;
}

/* Makes states from which nothing can be accepted dead. Backward sweeps until nothing changes. */
static bool trim(struct lang *l) {
    bool *live = mem_calloc(l->n, 1);
    uint32_t n_dead = 0;
    if (!live) return false;
    for (bool changed = true; changed;) {
        changed = false;
        if (!spend((uint64_t)l->n * WORK_ROW)) break;
        for (uint32_t i = l->n; i-- > 1;) {
            if (live[i]) continue;
            bool ok = l->final[i];
            for (unsigned c = 0; c < 256 && !ok; c++) ok = live[l->next[i][c]];
            if (ok) live[i] = changed = true;
        }
    }
    for (uint32_t i = 1; i < l->n; i++) n_dead += !live[i];
    for (uint32_t i = 1; i < l->n && n_dead; i++)
        for (unsigned c = 0; c < 256; c++)
            if (!live[l->next[i][c]]) l->next[i][c] = LANG_DEAD;
    mem_free(live);
    return work_left > 0;
}

static bool from_subsets(struct lang *l, struct subset *s) {
    for (uint32_t i = 0; i < s->n; i++) {
        struct subset_run run[256];
        int n = subset_runs(s, i, run);
        if (n < 0) return false;
        while (l->n < s->n + 1)
            if (!add(l)) return false;
        for (uint32_t k = 0; k < s->set[i].n; k++)
            if (s->item[s->set[i].first + k] == 0) l->final[i + 1] = true;
        for (int k = 0; k < n; k++)
            for (unsigned c = run[k].lo; c <= run[k].hi; c++)
                l->next[i + 1][c] = (uint16_t)(run[k].to + 1);
    }
    return trim(l);
}

struct lang *lang_from_expr(const struct expr *x, struct err *e) {
    struct nfa nfa = {.limit = EXPR_REGULAR};
    struct subset s = {0};
    struct lang *l = make();
    uint32_t start = x ? nfa_compile(&nfa, x, true) : NFA_NONE;
    uint64_t most = work_left < EXPR_WORK ? work_left : EXPR_WORK;
    bool ok = l && start != NFA_NONE && subset_init(&s, &nfa, LANG_STATES - 2, most);
    ok = ok && subset_add(&s, &start, 1) == 0 && from_subsets(l, &s);
    ok = spend(s.work) && ok;
    if (!ok) {
        const char *why = nfa.fail ? nfa.fail : s.fail ? s.fail : "it needs too many states";
        err_set(e, ERR_LIMIT, "the pattern is too large: %s", why);
        lang_free(l);
        l = NULL;
    }
    subset_free(&s);
    nfa_free(&nfa);
    return l;
}

/* Adds the states that lead with valid UTF-8 from `from` back to `to`, one character. Returns
 * false when there is no room. Bytes that already lead somewhere are kept. */
static bool add_char(struct lang *l, uint32_t from, uint32_t to) {
    static const struct {
        unsigned char lo, hi, next_lo, next_hi;
        int more;
    } lead[] = {{0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1},
                {0xE1, 0xEC, 0x80, 0xBF, 1}, {0xED, 0xED, 0x80, 0x9F, 1},
                {0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2},
                {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2}};
    uint32_t tail[3] = {to, 0, 0}; /* 0, 1, 2 continuation bytes are left */
    for (int i = 1; i < 3; i++) {
        if (!(tail[i] = add(l))) return false;
        for (unsigned c = 0x80; c < 0xC0; c++) l->next[tail[i]][c] = (uint16_t)tail[i - 1];
    }
    for (unsigned c = 0; c < 0x80; c++)
        if (!l->next[from][c]) l->next[from][c] = (uint16_t)to;
    for (size_t i = 0; i < sizeof lead / sizeof *lead; i++) {
        uint32_t second = add(l);
        if (!second) return false;
        for (unsigned c = lead[i].next_lo; c <= lead[i].next_hi; c++)
            l->next[second][c] = (uint16_t)tail[lead[i].more];
        for (unsigned c = lead[i].lo; c <= lead[i].hi; c++)
            if (!l->next[from][c]) l->next[from][c] = (uint16_t)second;
    }
    return true;
}

struct lang *lang_utf8(void) {
    struct lang *l = make();
    if (!l) return NULL;
    l->final[LANG_START] = true;
    return add_char(l, LANG_START, LANG_START) ? l : drop(l);
}

/* Adds a text to a trie; returns its last state, 0 when there is no room. */
static uint32_t add_path(struct lang *l, struct str s) {
    uint32_t at = LANG_START;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!l->next[at][c]) {
            uint32_t q = add(l);
            if (!q) return 0;
            l->next[at][c] = (uint16_t)q;
        }
        at = l->next[at][c];
    }
    return at;
}

/* Aho and Corasick 1975: the trie of the markers, completed by breadth-first failure links. */
struct lang *lang_until(const struct str *marker, size_t n, bool with_marker) {
    struct lang *l = make();
    if (!l) return NULL;
    bool *hit = mem_calloc(LANG_STATES, sizeof *hit);
    uint16_t *fail = mem_calloc(LANG_STATES, sizeof *fail);
    uint16_t *queue = mem_array(LANG_STATES, sizeof *queue);
    bool ok = hit && fail && queue;
    for (size_t i = 0; i < n && ok; i++) {
        uint32_t end = add_path(l, marker[i]);
        ok = end > LANG_START;
        if (ok) hit[end] = true;
    }
    if (!ok) goto fail;
    size_t head = 0, tail = 0;
    queue[tail++] = LANG_START;
    while (head < tail) {
        uint32_t q = queue[head++], f = fail[q];
        if (q != LANG_START && hit[f]) hit[q] = true;
        for (unsigned c = 0; c < 256; c++) {
            uint16_t to = l->next[q][c];
            uint16_t back = q == LANG_START ? LANG_START : l->next[f][c];
            if (to) {
                fail[to] = back;
                queue[tail++] = to;
            } else {
                l->next[q][c] = back;
            }
        }
    }
    for (uint32_t q = LANG_START; q < l->n; q++) {
        l->final[q] = hit[q] == with_marker;
        if (hit[q]) memset(l->next[q], 0, sizeof *l->next);
    }
    mem_free(hit);
    mem_free(fail);
    mem_free(queue);
    return trim(l) ? l : drop(l);
fail:
    mem_free(hit);
    mem_free(fail);
    mem_free(queue);
    return drop(l);
}

/* The trie of the names in which every way out leads to the state `any`. A way out inside of a
 * character goes through the states that complete it. */
struct lang *lang_not_names(const struct str *name, size_t n) {
    struct lang *l = make();
    if (!l) return NULL;
    bool ascii = true;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < name[i].len; k++) ascii = ascii && (name[i].p[k] & 0x80) == 0;
    if (!ascii) { /* the general way: all texts without those of the trie */
        for (size_t i = 0; i < n; i++) {
            uint32_t end = add_path(l, name[i]);
            if (!end) return drop(l);
            l->final[end] = true;
        }
        struct lang *all = lang_utf8();
        struct lang *r = all ? lang_combine(all, l, LANG_AND_NOT) : NULL;
        lang_free(all);
        lang_free(l);
        return r;
    }
    l->final[LANG_START] = true;
    uint32_t any = add(l);
    if (!any) return drop(l);
    l->any = any;
    for (size_t i = 0; i < n; i++)
        if (!add_path(l, name[i])) return drop(l);
    uint32_t n_trie = l->n;
    for (uint32_t q = LANG_START; q < n_trie; q++) l->final[q] = true;
    for (size_t i = 0; i < n; i++) l->final[add_path(l, name[i])] = false;
    if (!add_char(l, any, any)) return drop(l);
    for (uint32_t q = LANG_START; q < n_trie; q++)
        for (unsigned c = 0; c < 256; c++)
            if (!l->next[q][c]) l->next[q][c] = l->next[any][c];
    return l;
}

/* Pairs of states, found through a hash table. */
struct pairs {
    struct lang *l;
    uint32_t *a, *b, *bucket, *chain;
};

static uint32_t pair(struct pairs *p, uint32_t a, uint32_t b) {
    uint32_t *at = &p->bucket[(a * 2654435761u ^ b * 40503u) % LANG_STATES];
    for (uint32_t i = *at; i; i = p->chain[i])
        if (p->a[i] == a && p->b[i] == b) return i;
    uint32_t i = add(p->l);
    if (!i) return 0;
    p->a[i] = a;
    p->b[i] = b;
    p->chain[i] = *at;
    return *at = i;
}

static bool product(struct pairs *p, const struct lang *a, const struct lang *b, enum lang_op op) {
    p->l = mem_calloc(1, sizeof *p->l);
    p->a = mem_calloc(LANG_STATES, sizeof *p->a);
    p->b = mem_calloc(LANG_STATES, sizeof *p->b);
    p->chain = mem_calloc(LANG_STATES, sizeof *p->chain);
    p->bucket = mem_calloc(LANG_STATES, sizeof *p->bucket);
    if (!p->l || !p->a || !p->b || !p->chain || !p->bucket) return false;
    add(p->l);
    if (pair(p, LANG_START, LANG_START) != LANG_START) return false;
    for (uint32_t i = LANG_START; i < p->l->n; i++) {
        uint32_t x = p->a[i], y = p->b[i];
        if (!spend(WORK_PAIRS)) return false;
        p->l->final[i] = a->final[x] && b->final[y] == (op == LANG_AND);
        uint32_t last_x = 0, last_y = 0, last = 0;
        for (unsigned c = 0; c < 256; c++) {
            uint32_t to_x = a->next[x][c], to_y = b->next[y][c];
            if (!to_x || (!to_y && op == LANG_AND)) continue;
            if (!last || to_x != last_x || to_y != last_y) {
                last = pair(p, to_x, to_y);
                last_x = to_x;
                last_y = to_y;
                if (!last) return false;
            }
            p->l->next[i][c] = (uint16_t)last;
        }
        if (a->any && op == LANG_AND_NOT && x == a->any && !y) p->l->any = i;
    }
    return trim(p->l);
}

struct lang *lang_combine(const struct lang *a, const struct lang *b, enum lang_op op) {
    struct pairs p = {0};
    bool ok = product(&p, a, b, op);
    mem_free(p.a);
    mem_free(p.b);
    mem_free(p.chain);
    mem_free(p.bucket);
    return ok ? p.l : drop(p.l);
}

struct lang *lang_length(int64_t lo, int64_t hi) {
    struct lang *l = make();
    if (!l) return NULL;
    int64_t states = hi < 0 ? lo : hi;
    uint32_t at = LANG_START;
    for (int64_t i = 0; i <= states; i++) {
        l->final[at] = i >= lo;
        uint32_t to = i < states ? add(l) : hi < 0 ? at : 0;
        if (i < states && !to) return drop(l);
        if (to && !add_char(l, at, to)) return drop(l);
        at = to;
    }
    return l;
}

/* States in an order in which every step leads to a later one; returns how many have one (fewer
 * than l->n - 1: there is a cycle). waits, order: n each. */
static uint32_t sort_states(const struct lang *l, uint32_t *waits, uint32_t *order) {
    uint32_t n = 0;
    for (uint32_t i = 1; i < l->n; i++)
        for (unsigned c = 0; c < 256; c++) waits[l->next[i][c]]++;
    for (uint32_t i = 1; i < l->n; i++)
        if (waits[i] == 0) order[n++] = i;
    for (uint32_t k = 0; k < n; k++)
        for (unsigned c = 0; c < 256; c++) {
            uint32_t to = l->next[order[k]][c];
            if (to && --waits[to] == 0) order[n++] = to;
        }
    return n;
}

/* Takes a state's successors into account: characters to the nearest and the farthest end. Bytes
 * that start a character count 1. */
static bool relax(const struct lang *l, uint32_t i, int64_t *least, int64_t *most) {
    bool changed = false;
    for (unsigned c = 0; c < 256; c++) {
        uint32_t to = l->next[i][c];
        int64_t step = (c & 0xC0) != 0x80;
        if (!to || most[to] < 0) continue;
        if (most[to] + step > most[i]) most[i] = most[to] + step;
        if (least[to] + step >= least[i]) continue;
        least[i] = least[to] + step;
        changed = true;
    }
    return changed;
}

int64_t lang_longest(const struct lang *l, int64_t *shortest) {
    int64_t *most = mem_calloc(l->n, sizeof *most), *least = mem_calloc(l->n, sizeof *least);
    uint32_t *waits = mem_calloc(l->n, sizeof *waits), *order = mem_calloc(l->n, sizeof *order);
    int64_t longest = -1;
    *shortest = 0;
    if (!most || !least || !waits || !order || !spend((uint64_t)l->n * WORK_PAIRS)) goto end;
    for (uint32_t i = 0; i < l->n; i++) {
        most[i] = l->final[i] ? 0 : -1;
        least[i] = l->final[i] ? 0 : INT64_MAX / 2;
    }
    if (sort_states(l, waits, order) == l->n - 1) {
        for (uint32_t k = l->n - 1; k-- > 0;) relax(l, order[k], least, most);
        longest = most[LANG_START];
    } else {
        for (bool changed = true; changed;) {
            changed = false;
            if (!spend((uint64_t)l->n * WORK_PAIRS)) goto end;
            for (uint32_t i = l->n; i-- > 1;) changed = relax(l, i, least, most) || changed;
        }
    }
    *shortest = least[LANG_START];
end:
    mem_free(most);
    mem_free(least);
    mem_free(waits);
    mem_free(order);
    return longest;
}

/* State 2 + j * m + r: j digits behind the point, the digits so far are r modulo m. */
struct lang *lang_multiple(uint32_t m, uint32_t k) {
    struct lang *l = m && (uint64_t)m * (k + 1) + 2 < LANG_STATES ? make() : NULL;
    if (!l) return NULL;
    uint32_t zero = add(l), n = m * (k + 1);
    for (uint32_t i = 0; i < n; i++)
        if (!add(l)) return drop(l);
    uint32_t base = zero + 1, point = zero + 1 + n;
    for (uint32_t r = 0; r < m && k; r++)
        if (!add(l)) return drop(l);
    for (uint32_t j = 0; j <= k; j++) {
        for (uint32_t r = 0; r < m; r++) {
            uint32_t q = base + j * m + r;
            uint64_t rest = r;
            for (uint32_t i = j; i < k; i++) rest = rest * 10 % m;
            l->final[q] = rest == 0;
            for (uint32_t d = 0; d < 10 && (j == 0 || j < k); d++) {
                uint32_t to = (j ? j + 1 : 0) * m + (r * 10 + d) % m;
                l->next[q]['0' + d] = (uint16_t)(base + to);
            }
            if (j || !k) continue;
            l->next[q]['.'] = (uint16_t)(point + r);
            for (uint32_t d = 0; d < 10; d++)
                l->next[point + r]['0' + d] = (uint16_t)(base + m + (r * 10 + d) % m);
        }
    }
    l->next[LANG_START]['0'] = (uint16_t)zero;
    l->final[zero] = true;
    if (k) l->next[zero]['.'] = (uint16_t)point;
    for (uint32_t d = 1; d < 10; d++) l->next[LANG_START]['0' + d] = (uint16_t)(base + d % m);
    return trim(l) ? l : drop(l);
}

bool lang_match(const struct lang *l, struct str text) {
    uint32_t at = LANG_START;
    for (size_t i = 0; i < text.len && at; i++) at = l->next[at][(unsigned char)text.p[i]];
    return l->final[at];
}

bool lang_is_empty(const struct lang *l) {
    if (l->final[LANG_START]) return false;
    for (unsigned c = 0; c < 256; c++)
        if (l->next[LANG_START][c]) return false;
    return true;
}

/* Adds from q the escape \u00XY of each control character that q takes. */
static bool add_hex(struct lang *l, uint32_t slash, const uint16_t take[256]) {
    uint32_t at = slash;
    static const char head[] = "u00";
    for (int i = 0; i < 3; i++) {
        uint32_t to = add(l);
        if (!to) return false;
        l->next[at][(unsigned char)head[i]] = (uint16_t)to;
        at = to;
    }
    for (unsigned high = 0; high < 2; high++) {
        uint32_t to = add(l);
        if (!to) return false;
        l->next[at]['0' + high] = (uint16_t)to;
        for (unsigned low = 0; low < 16; low++) {
            l->next[to][(unsigned char)"0123456789abcdef"[low]] = take[high * 16 + low];
            l->next[to][(unsigned char)"0123456789ABCDEF"[low]] = take[high * 16 + low];
        }
    }
    return true;
}

struct escape {
    char written, means;
};

/* The state behind a backslash from q. States that take the same share it. */
static uint32_t slash_state(struct lang *r, const uint16_t take[256], const struct escape *esc,
                            size_t n) {
    uint32_t slash = add(r);
    bool controls = false;
    if (!slash) return 0;
    for (unsigned c = 0; c < 0x20; c++) controls = controls || take[c];
    for (size_t i = 0; i < n; i++)
        r->next[slash][(unsigned char)esc[i].written] = take[(unsigned char)esc[i].means];
    return controls && !add_hex(r, slash, take) ? 0 : slash;
}

static bool same_escapes(const uint16_t a[256], const uint16_t b[256], const struct escape *esc,
                         size_t n) {
    bool same = memcmp(a, b, 0x20 * sizeof *a) == 0;
    for (size_t i = 0; i < n && same; i++)
        same = a[(unsigned char)esc[i].means] == b[(unsigned char)esc[i].means];
    return same;
}

static struct lang *escaped(const struct lang *l, const struct escape *esc, size_t n, char quote) {
    struct lang *r = lang_copy(l);
    if (!r) return NULL;
    uint32_t states = r->n, slash = 0, from = 0;
    for (uint32_t q = LANG_START; q < states; q++) {
        if (!from || !same_escapes(l->next[q], l->next[from], esc, n))
            slash = slash_state(r, l->next[q], esc, n);
        if (!slash) return drop(r);
        from = q;
        memset(r->next[q], 0, 0x20 * sizeof(uint16_t));
        r->next[q][(unsigned char)quote] = LANG_DEAD;
        r->next[q]['\\'] = (uint16_t)slash;
    }
    return trim(r) ? r : drop(r);
}

struct lang *lang_json(const struct lang *l) {
    static const struct escape esc[] = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},  {'b', '\b'},
                                        {'f', '\f'}, {'n', '\n'},  {'r', '\r'}, {'t', '\t'}};
    return escaped(l, esc, sizeof esc / sizeof *esc, '"');
}

struct lang *lang_quoted(const struct lang *l, char quote) {
    const struct escape esc[] = {
        {quote, quote}, {'\\', '\\'}, {'n', '\n'}, {'r', '\r'}, {'t', '\t'}};
    return escaped(l, esc, sizeof esc / sizeof *esc, quote);
}
