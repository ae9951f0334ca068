/* The one allocator of the program, and arenas on top of it.
 * mem_fail_after lets tests make the n-th allocation fail; no other code calls malloc. */
#ifndef HOLDFAST_BASE_MEM_H
#define HOLDFAST_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All return NULL when memory is refused or n * size overflows; free with mem_free. Any thread. */
void *mem_alloc(size_t size);
void *mem_calloc(size_t n, size_t size);
void *mem_array(size_t n, size_t size);
void *mem_realloc(void *p, size_t n, size_t size);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t len);
void mem_free(void *p);

/* 64-byte aligned and zeroed; large blocks ask for 2 MiB pages. Free with mem_free_aligned. */
void *mem_aligned(size_t size);
void mem_free_aligned(void *p);

/* Makes the n-th allocation from now fail (n = 1: the next), once, on any thread; 0 turns it off.
 * Returns what was left of the n before; 0: it has happened. */
int64_t mem_fail_after(int64_t n);
/* While on, every allocation on the calling thread aborts with this phase's name; NULL turns it
 * off. The engine sets it around step() in debug builds. */
void mem_forbid(const char *phase);

/* Doubles *cap (elements of `size` bytes) until it holds `need`; false when memory is refused. */
bool mem_grow(void **array, size_t *cap, size_t need, size_t size);

/* A bag of allocations that are freed together. Zero-initialise; not shared between threads. */
struct arena {
    struct arena_block *head;
    size_t total, limit; /* limit 0 = none */
};
/* 16-byte aligned, not zeroed; NULL when memory is refused or the limit is passed. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_calloc(struct arena *a, size_t n, size_t size);
char *arena_strndup(struct arena *a, const char *s, size_t len);
void arena_free(struct arena *a);

#endif
