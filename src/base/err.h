/* Errors of the second and third kind (environment, file, request); bugs are asserts.
 * A function that can fail returns bool (or NULL) and fills a struct err. Messages name
 * what failed, where, what was expected, what was found and, where we know, what to do. */
#ifndef HOLDFAST_BASE_ERR_H
#define HOLDFAST_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

enum err_code {
    ERR_NONE,
    ERR_IO,          /* the operating system refused: open, read, write, map */
    ERR_FORMAT,      /* the input is not what it should be */
    ERR_LIMIT,       /* the input is well formed but larger than limits.h allows */
    ERR_NOMEM,       /* an allocation failed */
    ERR_ARG,         /* the caller or user asked for something that makes no sense */
    ERR_UNSUPPORTED, /* well formed, but not something this build can do */
    ERR_CANCELLED,
    ERR_OVERFLOW, /* the prompt or the answer does not fit the context */
    ERR_BUSY      /* try again later: the queue is full, the model is being loaded */
};

struct err {
    enum err_code code;
    int64_t pos; /* byte offset in the input, or -1 */
    char msg[500];
};

/* Fills e (which may be NULL) and returns false, so that callers write `return err_set(...)`. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with a byte position in the input. */
bool err_set_at(struct err *e, enum err_code code, int64_t pos, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts "prefix: " before the message that is already in e; returns false. */
bool err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* ERR_NOMEM with the size that was asked for; returns false. */
bool err_nomem(struct err *e, const char *what, uint64_t bytes);

#endif
