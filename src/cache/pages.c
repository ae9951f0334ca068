/* K/V pages (contract in pages.h): idle lists per page size over the allocator. used + idle never
 * exceeds the budget. Pages are large (a unit of every layer: up to megabytes), so each is an
 * allocation of its own. */
#include "cache/pages.h"
#include "base/mem.h"
#include "base/os.h"

#include <assert.h>

enum { SIZES = 64 /* distinct page sizes kept idle */, ALIGN = 4096, HUGE_FROM = 2 << 20 };

struct pages {
    uint64_t budget, used, idle, peak;
    struct idle_list {
        size_t bytes;
        struct page *first;
    } list[SIZES];
    int n_lists;
};

struct pages *pages_open(uint64_t budget, struct err *e) {
    struct pages *p = mem_calloc(1, sizeof *p);
    if (p) p->budget = budget;
    else err_nomem(e, "the page pool", sizeof *p);
    return p;
}

void pages_close(struct pages *p) {
    if (!p) return;
    assert(p->used == 0);
    pages_trim(p);
    mem_free(p);
}

static void page_free(struct page *g) {
    mem_free(g->memory);
    mem_free(g);
}

/* Gives idle pages back until `bytes` more fit into the budget. */
static void make_room(struct pages *p, uint64_t bytes) {
    for (int i = 0; i < p->n_lists; i++) {
        struct idle_list *l = &p->list[i];
        while (l->first && p->budget - p->used - p->idle < bytes) {
            struct page *g = l->first;
            l->first = g->next;
            p->idle -= g->bytes;
            page_free(g);
        }
    }
}

void pages_trim(struct pages *p) {
    make_room(p, UINT64_MAX);
    p->n_lists = 0;
}

/* The idle list of a size; NULL when it is new and the table is full. */
static struct idle_list *list_of(struct pages *p, size_t bytes) {
    for (int i = 0; i < p->n_lists; i++)
        if (p->list[i].bytes == bytes) return &p->list[i];
    if (p->n_lists == SIZES) return NULL;
    p->list[p->n_lists] = (struct idle_list){.bytes = bytes};
    return &p->list[p->n_lists++];
}

/* Aligned by hand: rounding large pages up to huge ones would overrun the budget. */
static struct page *page_alloc(size_t bytes) {
    struct page *g = mem_alloc(sizeof *g);
    void *memory = mem_alloc(bytes + ALIGN);
    if (!g || !memory) {
        mem_free(g);
        mem_free(memory);
        return NULL;
    }
    uintptr_t at = ((uintptr_t)memory + ALIGN - 1) / ALIGN * ALIGN;
    *g = (struct page){.data = (unsigned char *)at, .bytes = bytes, .memory = memory};
    if (bytes >= HUGE_FROM) os_advise_huge(g->data, bytes);
    return g;
}

struct page *page_new(struct pages *p, size_t bytes) {
    if (bytes > p->budget - p->used) return NULL;
    struct idle_list *l = list_of(p, bytes);
    struct page *g = l ? l->first : NULL;
    if (g) {
        l->first = g->next;
        p->idle -= bytes;
    } else {
        make_room(p, bytes);
        g = page_alloc(bytes);
        if (!g) return NULL;
    }
    g->refs = 1;
    g->next = NULL;
    p->used += bytes;
    if (p->used > p->peak) p->peak = p->used;
    return g;
}

void page_ref(struct page *g) {
    assert(g->refs > 0);
    g->refs++;
}

void page_unref(struct pages *p, struct page *g) {
    if (!g || --g->refs > 0) return;
    assert(g->refs == 0);
    p->used -= g->bytes;
    struct idle_list *l = list_of(p, g->bytes);
    if (!l) {
        page_free(g);
        return;
    }
    g->next = l->first;
    l->first = g;
    p->idle += g->bytes;
}

uint64_t pages_used(const struct pages *p) {
    return p->used;
}
uint64_t pages_idle(const struct pages *p) {
    return p->idle;
}
uint64_t pages_peak(const struct pages *p) {
    return p->peak;
}
uint64_t pages_budget(const struct pages *p) {
    return p->budget;
}
