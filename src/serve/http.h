/* HTTP as the APIs see it, thin over libmicrohttpd: a route table, whole bodies, replies, streams.
 *
 * Every connection has a thread of its own, so a handler may block. A watcher thread polls the
 * sockets of requests that are being handled and calls http_on_gone's function within
 * milliseconds of a hang-up; it also shuts connections that take too long to send a request.
 * Keys, Host and Origin are checked before a handler runs. */
#ifndef HOLDFAST_SERVE_HTTP_H
#define HOLDFAST_SERVE_HTTP_H

#include "base/err.h"
#include "base/str.h"
#include "holdfast.h"

struct http_server;
struct http_req;

/* Why a request is refused; each API writes it in its own shape. */
struct http_error {
    int status;
    struct hold_error why; /* code, message, n_prompt and n_ctx of an overflow */
    const char *param;     /* the body's field at fault, or NULL */
};

typedef void (*http_handler)(struct http_req *r);
/* Replies with an API's error body: http_reply(r, e->status, ...). */
typedef void (*http_refuse)(struct http_req *r, const struct http_error *e);

enum {
    HTTP_OPEN = 1 /* needs no key (health, the app's files) */
};
struct http_route {
    const char *method; /* GET, POST, DELETE; GET serves HEAD too */
    const char *path;   /* a last '*' matches any rest, http_rest() */
    http_handler handle;
    http_refuse refuse;
    int flags;
};
struct http_routes {
    const struct http_route *route;
    size_t n;
};

struct http_options {
    const char *host;      /* address to listen on; loopback unless there are keys */
    int port;              /* 0: any free port */
    const char *unix_path; /* instead of host and port */
    const char *key_file;  /* lines "name:key" or "key", or NULL */
    const char *const *allow_hosts, *const *allow_origins; /* beside localhost; NULL at the end */
    int max_connections;
    int request_seconds; /* from the connection (or the last answer) to a whole request, and from
                            a piece of an answer until the client has taken it */
    const struct http_routes *tables;
    size_t n_tables;
    http_refuse refuse; /* where no route is found */
    void *ctx;          /* http_ctx() */
};

/* Listens; false when the address is taken or not allowed without keys. */
struct http_server *http_open(const struct http_options *o, struct err *e);
int http_port(const struct http_server *s);
/* A key made at start for this user's own tools (ps), or NULL where no keys are needed. */
const char *http_local_key(const struct http_server *s);
/* New requests get 503 from here on, running ones go on. */
void http_drain(struct http_server *s);
bool http_draining(struct http_server *s);
int http_n_running(struct http_server *s);
/* Hangs up on everybody, waits for the handlers. */
void http_close(struct http_server *s);

/* A named key and what was used with it; i from 0, false past the end. Any thread. */
struct http_usage {
    const char *name;
    uint64_t n_requests, n_prompt, n_cached, n_generated;
};
bool http_key_usage(struct http_server *s, size_t i, struct http_usage *out);

/* ---- a request; its handler's thread only, views hold until the request is over ----------- */
void *http_ctx(const struct http_req *r);
const char *http_id(const struct http_req *r); /* "req_...", unique; x-request-id of the answer */
const char *http_method(const struct http_req *r);
const char *http_path(const struct http_req *r); /* without the query */
const char *http_rest(const struct http_req *r); /* what '*' matched */
struct str http_body(const struct http_req *r);
const char *http_header(const struct http_req *r, const char *name); /* or NULL */
const char *http_query(const struct http_req *r, const char *name);  /* or NULL */
const char *http_key(const struct http_req *r); /* name of its key; "" when none is needed */
/* Adds tokens to its key's usage. */
void http_count(struct http_req *r, const struct hold_done *d);
/* Adds "name=value ..." to the request's line in the log. */
void http_note(struct http_req *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* fn(ctx) is called once, from the watcher, when the client hangs up; it must not block. Setting
 * NULL waits until a call that is under way is over. */
void http_on_gone(struct http_req *r, void (*fn)(void *ctx), void *ctx);
bool http_gone(struct http_req *r);

/* ---- answers: exactly one of these, as the last thing a handler does ---------------------- */
void http_header_add(struct http_req *r, const char *name, const char *value); /* before it */
void http_reply(struct http_req *r, int status, const char *type, struct str body);
/* fill(ctx, out) is called on the connection's thread after the handler returned, again and again;
 * it may block and appends what is to be sent. It returns false after the last piece. done(ctx) is
 * called once, also when the client left before. */
void http_stream(struct http_req *r, const char *type, bool (*fill)(void *ctx, struct buf *out),
                 void (*done)(void *ctx), void *ctx);

#endif
