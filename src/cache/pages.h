/* K/V pages: fixed-size, reference-counted memory from one pool with one byte budget for every
 * sequence and every loaded model. A page's size is its layer group's; what stands in it is
 * between model and ops. One owner thread (the engine's). */
#ifndef HOLDFAST_CACHE_PAGES_H
#define HOLDFAST_CACHE_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pages;
struct page {
    unsigned char *data; /* 64-byte aligned; zero when new */
    size_t bytes;
    int refs;
};

struct pages *pages_open(uint64_t budget, struct err *e);
/* Every page must have been given back. */
void pages_close(struct pages *p);

/* A page with one reference, or NULL: the budget is spent (or the system refuses memory). */
struct page *page_new(struct pages *p, size_t bytes);
void page_ref(struct page *g);
void page_unref(struct pages *p, struct page *g); /* g may be NULL */

uint64_t pages_used(const struct pages *p); /* bytes */
uint64_t pages_budget(const struct pages *p);

#endif
