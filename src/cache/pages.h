/* K/V pages: fixed-size, reference-counted memory from one pool with one byte budget for every
 * sequence and every loaded model. A page's size is its layer group's; what stands in it is
 * between model and ops. Memory is taken from the system as pages are first asked for, so a long
 * context costs nothing while it is empty; pages given back stay idle in the pool for the next
 * one of their size. One owner thread (the engine's). */
#ifndef HOLDFAST_CACHE_PAGES_H
#define HOLDFAST_CACHE_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pages;
struct page {
    unsigned char *data; /* 64-byte aligned; the ops clear a unit when its first position comes */
    size_t bytes;
    int refs;
    void *memory;      /* the pool's: what the system gave */
    struct page *next; /* the pool's: idle pages of one size */
};

struct pages *pages_open(uint64_t budget, struct err *e);
/* Every page must have been given back. */
void pages_close(struct pages *p);

/* A page with one reference, or NULL: the budget is spent (or the system refuses memory). Idle
 * pages of other sizes make room first. */
struct page *page_new(struct pages *p, size_t bytes);
void page_ref(struct page *g);
void page_unref(struct pages *p, struct page *g); /* g may be NULL */
/* Gives every idle page back to the system: a model was unloaded, the machine is needed. */
void pages_trim(struct pages *p);

uint64_t pages_used(const struct pages *p); /* bytes that are referenced */
uint64_t pages_idle(const struct pages *p); /* bytes held for the next page_new */
uint64_t pages_peak(const struct pages *p); /* the most that pages_used has been */
uint64_t pages_budget(const struct pages *p);

#endif
