/* K/V pages (contract in pages.h). Memory is taken from the system page by page and goes back at
 * once, so that a long context costs nothing while it is empty. New pages are zero: a masked
 * position weighs 0, and 0 times what another type left behind must not be NaN. */
#include "cache/pages.h"
#include "base/mem.h"

#include <assert.h>

struct pages {
    uint64_t budget, used;
};

struct pages *pages_open(uint64_t budget, struct err *e) {
    struct pages *p = mem_calloc(1, sizeof *p);
    if (p) p->budget = budget;
    else err_nomem(e, "the page pool", sizeof *p);
    return p;
}

void pages_close(struct pages *p) {
    assert(!p || p->used == 0);
    mem_free(p);
}

struct page *page_new(struct pages *p, size_t bytes) {
    if (bytes > p->budget - p->used) return NULL;
    struct page *g = mem_alloc(sizeof *g);
    unsigned char *data = mem_aligned(bytes);
    if (!g || !data) {
        mem_free(g);
        mem_free_aligned(data);
        return NULL;
    }
    *g = (struct page){.data = data, .bytes = bytes, .refs = 1};
    p->used += bytes;
    return g;
}

void page_ref(struct page *g) {
    g->refs++;
}

void page_unref(struct pages *p, struct page *g) {
    if (!g || --g->refs > 0) return;
    p->used -= g->bytes;
    mem_free_aligned(g->data);
    mem_free(g);
}

uint64_t pages_used(const struct pages *p) {
    return p->used;
}
uint64_t pages_budget(const struct pages *p) {
    return p->budget;
}
