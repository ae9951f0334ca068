/* One process-wide sink for messages. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static log_fn sink;
static void *sink_ctx;

void log_sink(log_fn fn, void *ctx) {
    sink = fn;
    sink_ctx = ctx;
}

void log_msg(enum log_level level, const char *fmt, ...) {
    if (!sink) return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sink(sink_ctx, level, text);
}
