/* Base64, three bytes at a time (contract in base64.h). */
#include "base/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool base64_encode(struct buf *out, const void *data, size_t len) {
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t x = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (n > 2 ? (uint32_t)p[i + 2] : 0);
        char four[4] = {digits[x >> 18], digits[x >> 12 & 63], digits[x >> 6 & 63], digits[x & 63]};
        memset(four + n + 1, '=', 3 - n);
        buf_add(out, four, sizeof four);
    }
    return !out->failed;
}

bool base64_decode(struct buf *out, struct str text) {
    if (text.len % 4) return false;
    for (size_t i = 0; i < text.len; i += 4) {
        bool last = i + 4 == text.len;
        size_t pad = !last || text.p[i + 3] != '=' ? 0 : text.p[i + 2] != '=' ? 1 : 2;
        uint32_t x = 0;
        for (size_t k = 0; k < 4 - pad; k++) {
            const char *d = memchr(digits, text.p[i + k], sizeof digits - 1);
            if (!d) return false;
            x |= (uint32_t)(d - digits) << (18 - 6 * k);
        }
        char three[3] = {(char)(x >> 16), (char)(x >> 8), (char)x};
        buf_add(out, three, 3 - pad);
    }
    return !out->failed;
}
