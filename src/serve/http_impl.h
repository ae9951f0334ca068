/* What the three files of the HTTP layer share: http.c (requests and answers), http_guard.c (who
 * may ask, where to listen) and http_watch.c (hang-ups and deadlines). Nobody else includes it. */
#ifndef HOLDFAST_SERVE_HTTP_IMPL_H
#define HOLDFAST_SERVE_HTTP_IMPL_H

#include "base/rng.h"
#include "serve/http.h"

#include <microhttpd.h>
#include <pthread.h>

enum conn_state {
    CONN_IDLE,    /* the next request has not begun, or only its headers: it makes room */
    CONN_READING, /* a request has to be whole by the deadline */
    CONN_RUNNING, /* a handler works on it: a hang-up is reported */
    CONN_WRITING  /* the client has to take what we have by the deadline */
};
/* One connection; guarded by the server's lock. */
struct conn {
    struct conn *next, *prev;
    int fd;
    enum conn_state state;
    uint64_t since; /* when it entered the state */
    bool noisy;     /* it sent more than it should, so its hang-up cannot be seen */
    bool shut;      /* we closed our side */
    bool extra;     /* one too many: its requests are refused */
    bool gone;      /* the client did */
    void (*on_gone)(void *ctx);
    void *gone_ctx;
};

struct http_named_key {
    char *name, *secret;
    struct http_usage used; /* guarded by the server's lock */
};

struct http_server {
    struct MHD_Daemon *daemon;
    struct http_options o;
    int port;
    struct http_named_key *key;
    size_t n_keys;
    const char *local_key;
    pthread_mutex_t lock;
    pthread_cond_t quiet; /* a function of on_gone returned */
    struct conn *conns;
    int n_conns;
    struct conn *calling; /* whose on_gone runs now */
    pthread_t watcher;
    int wake[2]; /* a pipe: the watcher looks again */
    bool draining, stopping, watching;
    int n_running;
    size_t body_bytes; /* held by all requests */
    struct rng ids;
    uint64_t id_count;
};

struct http_req {
    struct http_server *server;
    struct MHD_Connection *mhd;
    struct conn *conn;
    const struct http_route *route;
    const char *method, *path, *rest, *origin; /* origin: allowed, or NULL */
    int key;                                   /* index, or -1 */
    char id[32];
    struct buf body, note;
    bool too_large, running, replied, failed;
    int status;
    uint64_t start, sent;
    struct { /* headers of the answer */
        const char *name;
        char value[128];
    } header[8];
    int n_headers;
    struct { /* a stream */
        bool (*fill)(void *ctx, struct buf *out);
        void (*done)(void *ctx);
        void *ctx;
        struct buf out;
        size_t at;
        bool over;
    } stream;
};

/* ---- http_guard.c ---- */
/* NULL-terminated keys of the file; false with e filled. */
bool guard_load_keys(struct http_server *s, struct err *e);
void guard_free_keys(struct http_server *s);
/* A listening socket, or -1. Sets s->port. */
int guard_listen(struct http_server *s, struct err *e);
/* Checks Host, Origin and key; false with e filled. Sets r->origin and r->key. */
bool guard_check(struct http_req *r, struct http_error *e);

/* ---- http_watch.c ---- */
bool watch_start(struct http_server *s, struct err *e);
void watch_stop(struct http_server *s);
struct conn *watch_add(struct http_server *s, int fd);
void watch_remove(struct http_server *s, struct conn *c);
void watch_state(struct http_server *s, struct conn *c, enum conn_state state);

#endif
