/* Text: views, a growable byte buffer, UTF-8, and the "did you mean" distance. */
#ifndef HOLDFAST_BASE_STR_H
#define HOLDFAST_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view of bytes that somebody else owns; need not end in NUL and may hold any byte. */
struct str {
    const char *p;
    size_t len;
};
#define STR(literal) ((struct str){literal, sizeof(literal) - 1})
struct str str_of(const char *s); /* NULL gives an empty view */
bool str_eq(struct str a, struct str b);
bool str_is(struct str a, const char *s);
bool str_starts(struct str a, struct str prefix);
bool str_ends(struct str a, struct str suffix);
/* Byte offset of the first needle at or after `from`, or -1. */
int64_t str_find(struct str hay, struct str needle, size_t from);
/* FNV-1a, 64 bits, for hash tables over text. */
uint64_t str_hash(struct str s);

/* Growable bytes, always NUL-terminated behind len once written to. Zero-initialise.
 * `failed` is sticky: append freely and look once at the end. */
struct buf {
    char *p;
    size_t len, cap, limit; /* limit 0 = none */
    bool failed;
};
bool buf_add(struct buf *b, const void *data, size_t len);
bool buf_str(struct buf *b, struct str s);
bool buf_cstr(struct buf *b, const char *s);
bool buf_char(struct buf *b, char c);
bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends one code point as UTF-8. */
bool buf_utf8(struct buf *b, uint32_t cp);
/* Appends text with every byte that is no UTF-8 as U+FFFD. */
bool buf_clean(struct buf *b, struct str s);
void buf_clear(struct buf *b);
void buf_free(struct buf *b);
static inline struct str buf_view(const struct buf *b) {
    return (struct str){b->p, b->len};
}

/* Decodes one code point at p (len >= 1); returns its bytes. An invalid byte gives U+FFFD and 1. */
size_t utf8_decode(const char *p, size_t len, uint32_t *cp);
/* Writes cp to out, returns 1..4. */
size_t utf8_encode(uint32_t cp, char out[4]);
/* Length of the longest prefix that does not end inside a character. */
size_t utf8_complete(const char *p, size_t len);
bool utf8_valid(const char *p, size_t len);

/* Edit distance of two short words (<= 64 bytes), capped at 64; for "did you mean". */
int str_distance(const char *a, const char *b);

#endif
