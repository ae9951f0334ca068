/* The allocator: malloc behind a switch that can fail the n-th call, and arenas.
 * Owns the fail counter; called from everywhere. */
#include "base/mem.h"
#include "base/os.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BLOCK = 16384, ALIGN = 64, HUGE_FROM = 4 << 20 };

static atomic_llong fail_in;
static _Thread_local const char *forbidden;

int64_t mem_fail_after(int64_t n) {
    return atomic_exchange(&fail_in, n);
}
void mem_forbid(const char *phase) {
    forbidden = phase;
}

static bool refused(void) {
    if (forbidden) {
        fprintf(stderr, "holdfast: allocation inside %s\n", forbidden);
        abort();
    }
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) <= 0) return false;
    return atomic_fetch_sub(&fail_in, 1) == 1;
}

void *mem_alloc(size_t size) {
    return refused() ? NULL : malloc(size ? size : 1);
}

void *mem_calloc(size_t n, size_t size) {
    return refused() ? NULL : calloc(n ? n : 1, size);
}

void *mem_array(size_t n, size_t size) {
    if (size && n > SIZE_MAX / size) return NULL;
    return mem_alloc(n * size);
}

void *mem_realloc(void *p, size_t n, size_t size) {
    if (refused() || (size && n > SIZE_MAX / size)) return NULL;
    size_t total = n * size;
    return realloc(p, total ? total : 1);
}

char *mem_strndup(const char *s, size_t len) {
    if (len == SIZE_MAX) return NULL;
    char *p = mem_alloc(len + 1);
    if (!p) return NULL;
    if (len) memcpy(p, s, len);
    p[len] = 0;
    return p;
}

char *mem_strdup(const char *s) {
    return mem_strndup(s, strlen(s));
}
void mem_free(void *p) {
    free(p);
}

void *mem_aligned(size_t size) {
    if (refused() || size > SIZE_MAX - HUGE_FROM) return NULL;
    size_t align = size >= HUGE_FROM ? (size_t)2 << 20 : ALIGN;
    size = (size + align - 1) / align * align;
    void *p = aligned_alloc(align, size ? size : align);
    if (!p) return NULL;
    if (size >= HUGE_FROM) os_advise_huge(p, size);
    memset(p, 0, size);
    return p;
}

void mem_free_aligned(void *p) {
    free(p);
}

bool mem_grow(void **array, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t n = *cap ? *cap : 16;
    while (n < need) {
        if (n > SIZE_MAX / 2) return false;
        n *= 2;
    }
    void *p = mem_realloc(*array, n, size);
    if (!p) return false;
    *array = p;
    *cap = n;
    return true;
}

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

void *arena_alloc(struct arena *a, size_t size) {
    if (size > SIZE_MAX - sizeof(struct arena_block) - 16) return NULL;
    size = (size + 15) & ~(size_t)15;
    struct arena_block *b = a->head;
    if (!b || b->size - b->used < size) {
        size_t want = size > ARENA_BLOCK ? size : ARENA_BLOCK;
        if (a->limit && (want > a->limit || a->total > a->limit - want)) return NULL;
        b = mem_alloc(sizeof *b + want);
        if (!b) return NULL;
        b->used = 0;
        b->size = want;
        a->total += want;
        /* A block made for one large piece goes behind the head, which may still have room. */
        if (size > ARENA_BLOCK && a->head) {
            b->next = a->head->next;
            a->head->next = b;
        } else {
            b->next = a->head;
            a->head = b;
        }
    }
    void *p = b->data + b->used;
    b->used += size;
    return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size) {
    if (size && n > SIZE_MAX / size) return NULL;
    void *p = arena_alloc(a, n * size);
    if (p) memset(p, 0, n * size);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len) {
    if (len == SIZE_MAX) return NULL;
    char *p = arena_alloc(a, len + 1);
    if (!p) return NULL;
    if (len) memcpy(p, s, len);
    p[len] = 0;
    return p;
}

void arena_free(struct arena *a) {
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    *a = (struct arena){.limit = a->limit};
}
