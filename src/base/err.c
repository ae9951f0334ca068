/* Formats errors. Owns no state; any thread. */
#include "base/err.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(struct err *e, enum err_code code, int64_t pos, const char *fmt, va_list ap) {
    if (!e) return;
    e->code = code;
    e->pos = pos;
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
}

bool err_set(struct err *e, enum err_code code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fill(e, code, -1, fmt, ap);
    va_end(ap);
    return false;
}

bool err_set_at(struct err *e, enum err_code code, int64_t pos, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fill(e, code, pos, fmt, ap);
    va_end(ap);
    return false;
}

bool err_prefix(struct err *e, const char *fmt, ...) {
    if (!e) return false;
    char head[sizeof e->msg], tail[sizeof e->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    memcpy(tail, e->msg, sizeof tail);
    size_t n = strnlen(head, sizeof head - 3);
    memcpy(e->msg, head, n);
    memcpy(e->msg + n, ": ", 2);
    size_t room = sizeof e->msg - n - 3, m = strnlen(tail, sizeof tail - 1);
    if (m > room) m = room;
    memcpy(e->msg + n + 2, tail, m);
    e->msg[n + 2 + m] = 0;
    return false;
}

bool err_nomem(struct err *e, const char *what, uint64_t bytes) {
    return err_set(e, ERR_NOMEM, "no memory for %s: %" PRIu64 " bytes were refused", what, bytes);
}
