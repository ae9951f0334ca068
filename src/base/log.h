/* Messages for people. The library never prints: a host sets a sink, cmd/ sets one to stderr. */
#ifndef HOLDFAST_BASE_LOG_H
#define HOLDFAST_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

typedef void (*log_fn)(void *ctx, enum log_level level, const char *text);

/* Set once at start, before other threads run; NULL discards. */
void log_sink(log_fn fn, void *ctx);
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_warn(...) log_msg(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_msg(LOG_INFO, __VA_ARGS__)

#endif
