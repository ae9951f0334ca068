/* Views, buffers and UTF-8. Owns nothing but the buffers' memory. */
#include "base/str.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct str str_of(const char *s) {
    return (struct str){s, s ? strlen(s) : 0};
}

bool str_eq(struct str a, struct str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool str_is(struct str a, const char *s) {
    return str_eq(a, str_of(s));
}

bool str_starts(struct str a, struct str prefix) {
    return a.len >= prefix.len && str_eq((struct str){a.p, prefix.len}, prefix);
}

bool str_ends(struct str a, struct str suffix) {
    return a.len >= suffix.len &&
           str_eq((struct str){a.p + (a.len - suffix.len), suffix.len}, suffix);
}

int64_t str_find(struct str hay, struct str needle, size_t from) {
    if (needle.len == 0) return from <= hay.len ? (int64_t)from : -1;
    while (from < hay.len && hay.len - from >= needle.len) {
        const char *hit = memchr(hay.p + from, needle.p[0], hay.len - from - needle.len + 1);
        if (!hit) return -1;
        if (memcmp(hit, needle.p, needle.len) == 0) return hit - hay.p;
        from = (size_t)(hit - hay.p) + 1;
    }
    return -1;
}

uint64_t str_hash(struct str s) {
    uint64_t h = 14695981039346656037ull;
    for (size_t i = 0; i < s.len; i++) h = (h ^ (unsigned char)s.p[i]) * 1099511628211ull;
    return h ^ (h >> 29);
}

static bool reserve(struct buf *b, size_t more) {
    if (b->failed) return false;
    size_t max = b->limit ? b->limit : SIZE_MAX / 2;
    if (b->len > max || more > max - b->len) return !(b->failed = true);
    void *p = b->p;
    if (!mem_grow(&p, &b->cap, b->len + more + 1, 1)) return !(b->failed = true);
    b->p = p;
    return true;
}

bool buf_add(struct buf *b, const void *data, size_t len) {
    if (!reserve(b, len)) return false;
    if (len) memcpy(b->p + b->len, data, len);
    b->len += len;
    b->p[b->len] = 0;
    return true;
}

bool buf_str(struct buf *b, struct str s) {
    return buf_add(b, s.p, s.len);
}
bool buf_cstr(struct buf *b, const char *s) {
    return buf_add(b, s, strlen(s));
}
bool buf_char(struct buf *b, char c) {
    return buf_add(b, &c, 1);
}

bool buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !reserve(b, (size_t)n)) return false;
    va_start(ap, fmt);
    vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return true;
}

bool buf_utf8(struct buf *b, uint32_t cp) {
    char c[4];
    return buf_add(b, c, utf8_encode(cp, c));
}

bool buf_clean(struct buf *b, struct str s) {
    for (size_t i = 0; i < s.len;) {
        uint32_t cp;
        i += utf8_decode(s.p + i, s.len - i, &cp);
        buf_utf8(b, cp);
    }
    return !b->failed;
}

void buf_clear(struct buf *b) {
    b->len = 0;
    b->failed = false;
    if (b->p) b->p[0] = 0;
}

void buf_free(struct buf *b) {
    mem_free(b->p);
    *b = (struct buf){.limit = b->limit};
}

size_t utf8_decode(const char *s, size_t len, uint32_t *cp) {
    const unsigned char *p = (const unsigned char *)s;
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xC2 ? 0
               : p[0] < 0xE0 ? 2
               : p[0] < 0xF0 ? 3
               : p[0] < 0xF5 ? 4
                             : 0;
    if (n == 1) {
        *cp = p[0];
        return 1;
    }
    *cp = 0xFFFD;
    if (n == 0 || n > len) return 1;
    uint32_t c = p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) return 1;
        c = c << 6 | (p[i] & 0x3F);
    }
    if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 1;
    *cp = c;
    return n;
}

size_t utf8_encode(uint32_t cp, char out[4]) {
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) cp = 0xFFFD;
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)((0xF00u >> n & 0xFF) | cp);
    return n;
}

size_t utf8_complete(const char *p, size_t len) {
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)p[len - back];
        if ((c & 0xC0) == 0x80) continue;
        size_t need = c < 0xC2 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 1;
        return need > back ? len - back : len;
    }
    return len;
}

bool utf8_valid(const char *p, size_t len) {
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t n = utf8_decode(p + i, len - i, &cp);
        if (n == 1 && (unsigned char)p[i] >= 0x80) return false;
        i += n;
    }
    return true;
}

int str_distance(const char *a, const char *b) {
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b);
    if (n >= MAX || m >= MAX) return MAX;
    int row[MAX];
    for (size_t j = 0; j <= m; j++) row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diag = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = diag + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diag = row[j];
            row[j] = best;
        }
    }
    return row[m];
}
