/* Requests and answers over libmicrohttpd, one thread per connection. The access handler is called
 * when the headers are there (refusals that need no body happen here), for each piece of the body,
 * and once more at its end, where the route's handler runs. */
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "serve/http_impl.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* So many more are let in to be told that there are too many. */
enum { SPARE_CONNECTIONS = 32 };

/* ---- a request ---------------------------------------------------------------------------- */
void *http_ctx(const struct http_req *r) {
    return r->server->o.ctx;
}
const char *http_id(const struct http_req *r) {
    return r->id;
}
const char *http_method(const struct http_req *r) {
    return r->method;
}
const char *http_path(const struct http_req *r) {
    return r->path;
}
const char *http_rest(const struct http_req *r) {
    return r->rest;
}
struct str http_body(const struct http_req *r) {
    return buf_view(&r->body);
}
const char *http_header(const struct http_req *r, const char *name) {
    return MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name);
}
const char *http_query(const struct http_req *r, const char *name) {
    return MHD_lookup_connection_value(r->mhd, MHD_GET_ARGUMENT_KIND, name);
}
const char *http_key(const struct http_req *r) {
    return r->key < 0 ? "" : r->server->key[r->key].name;
}

void http_count(struct http_req *r, const struct hold_done *d) {
    if (r->key < 0) return;
    pthread_mutex_lock(&r->server->lock);
    struct http_usage *u = &r->server->key[r->key].used;
    u->n_prompt += (uint64_t)d->n_prompt;
    u->n_cached += (uint64_t)d->n_cached;
    u->n_generated += (uint64_t)d->n_generated;
    pthread_mutex_unlock(&r->server->lock);
}

bool http_key_usage(struct http_server *s, size_t i, struct http_usage *out) {
    if (i >= s->n_keys) return false;
    pthread_mutex_lock(&s->lock);
    *out = s->key[i].used;
    pthread_mutex_unlock(&s->lock);
    return true;
}

void http_note(struct http_req *r, const char *fmt, ...) {
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_char(&r->note, ' ');
    buf_cstr(&r->note, text);
}

/* ---- answers ------------------------------------------------------------------------------ */
void http_header_add(struct http_req *r, const char *name, const char *value) {
    if (r->n_headers == (int)(sizeof r->header / sizeof *r->header)) return;
    r->header[r->n_headers].name = name;
    snprintf(r->header[r->n_headers++].value, sizeof r->header[0].value, "%s", value);
}

static void queue(struct http_req *r, int status, struct MHD_Response *response, const char *type) {
    assert(!r->replied);
    r->replied = true;
    r->status = status;
    if (!response) return; /* no memory: the access handler hangs up */
    if (type) MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "x-request-id", r->id);
    if (r->origin) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", r->origin);
        MHD_add_response_header(response, "Vary", "Origin");
    }
    for (int i = 0; i < r->n_headers; i++)
        MHD_add_response_header(response, r->header[i].name, r->header[i].value);
    r->failed = MHD_queue_response(r->mhd, (unsigned)status, response) != MHD_YES;
    MHD_destroy_response(response);
}

void http_reply(struct http_req *r, int status, const char *type, struct str body) {
    r->sent = body.len;
    queue(r, status,
          MHD_create_response_from_buffer(body.len, (void *)body.p, MHD_RESPMEM_MUST_COPY), type);
}

static ssize_t read_stream(void *ctx, uint64_t pos, char *to, size_t max) {
    struct http_req *r = ctx;
    (void)pos;
    watch_state(r->server, r->conn, CONN_RUNNING);
    while (r->stream.at == r->stream.out.len && !r->stream.over) {
        buf_clear(&r->stream.out);
        r->stream.at = 0;
        r->stream.over = !r->stream.fill(r->stream.ctx, &r->stream.out);
        if (r->stream.out.failed || http_gone(r)) return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t n = r->stream.out.len - r->stream.at;
    if (n == 0) return MHD_CONTENT_READER_END_OF_STREAM;
    if (n > max) n = max;
    memcpy(to, r->stream.out.p + r->stream.at, n);
    r->stream.at += n;
    r->sent += n;
    watch_state(r->server, r->conn, CONN_WRITING);
    return (ssize_t)n;
}

void http_stream(struct http_req *r, const char *type, bool (*fill)(void *ctx, struct buf *out),
                 void (*done)(void *ctx), void *ctx) {
    r->stream.fill = fill;
    r->stream.done = done;
    r->stream.ctx = ctx;
    http_header_add(r, "Cache-Control", "no-cache");
    http_header_add(r, "X-Accel-Buffering", "no");
    queue(
        r, 200,
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, LIMIT_HTTP_PIECE, read_stream, r, NULL),
        type);
}

/* ---- routing ------------------------------------------------------------------------------ */
static bool path_matches(const struct http_route *route, const char *path, const char **rest) {
    size_t n = strlen(route->path);
    if (route->path[n - 1] != '*') return strcmp(route->path, path) == 0;
    if (strncmp(route->path, path, n - 1) != 0) return false;
    *rest = path + n - 1;
    return true;
}

static bool method_matches(const char *wanted, const char *method) {
    return strcmp(wanted, method) == 0 ||
           (strcmp(wanted, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* Sets r->route; false with 404 or 405. */
static bool find_route(struct http_req *r, struct http_error *e) {
    const struct http_options *o = &r->server->o;
    char allow[80] = "";
    for (size_t t = 0; t < o->n_tables; t++) {
        for (size_t i = 0; i < o->tables[t].n; i++) {
            const struct http_route *route = &o->tables[t].route[i];
            if (!path_matches(route, r->path, &r->rest)) continue;
            if (method_matches(route->method, r->method)) {
                r->route = route;
                return true;
            }
            size_t n = strlen(allow);
            snprintf(allow + n, sizeof allow - n, "%s%s", n ? ", " : "", route->method);
        }
    }
    e->status = *allow ? 405 : 404;
    e->why.code = HOLD_ERR_ARG;
    if (*allow) {
        http_header_add(r, "Allow", allow);
        snprintf(e->why.msg, sizeof e->why.msg, "%.300s takes %s, not %.20s", r->path, allow,
                 r->method);
    } else snprintf(e->why.msg, sizeof e->why.msg, "there is nothing at %.300s", r->path);
    return false;
}

static void refuse(struct http_req *r, const struct http_error *e) {
    http_refuse fn = r->route && r->route->refuse ? r->route->refuse : r->server->o.refuse;
    if (e->status == 401) http_header_add(r, "WWW-Authenticate", "Bearer");
    fn(r, e);
}

static void preflight(struct http_req *r) {
    http_header_add(r, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    http_header_add(r, "Access-Control-Allow-Headers",
                    "authorization, content-type, x-api-key, anthropic-version, anthropic-beta");
    http_header_add(r, "Access-Control-Max-Age", "600");
    http_reply(r, 204, NULL, STR(""));
}

static bool too_large(struct http_req *r, struct http_error *e) {
    e->status = 413;
    e->why.code = HOLD_ERR_LIMIT;
    snprintf(e->why.msg, sizeof e->why.msg, "the body is larger than the limit of %d bytes",
             LIMIT_HTTP_BODY);
    http_header_add(r, "Connection", "close");
    return false;
}

static bool busy(struct http_req *r, struct http_error *e, const char *why) {
    e->status = 503;
    e->why.code = HOLD_ERR_BUSY;
    snprintf(e->why.msg, sizeof e->why.msg, "%s", why);
    http_header_add(r, "Connection", "close");
    return false;
}

/* All that can be refused without the body; false with e filled. */
static bool admit(struct http_req *r, struct http_error *e) {
    bool found = find_route(r, e);
    struct http_error other = {0};
    if (!guard_check(r, &other)) {
        *e = other;
        return false;
    }
    if (strcmp(r->method, "OPTIONS") == 0 && r->origin) return true;
    if (!found) return false;
    const char *length = http_header(r, "Content-Length");
    if (length && (strlen(length) > 9 || strtoull(length, NULL, 10) > LIMIT_HTTP_BODY))
        return too_large(r, e);
    if (r->conn->extra) return busy(r, e, "there are too many connections");
    if (!http_draining(r->server) || (r->route->flags & HTTP_OPEN)) return true;
    return busy(r, e, "the server is stopping");
}

/* ---- life of a request -------------------------------------------------------------------- */
static struct http_req *begin(struct http_server *s, struct MHD_Connection *mhd, const char *path,
                              const char *method) {
    struct http_req *r = mem_calloc(1, sizeof *r);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (!r || !info || !info->socket_context) {
        mem_free(r);
        return NULL;
    }
    *r = (struct http_req){.server = s, .mhd = mhd, .conn = info->socket_context, .key = -1};
    watch_state(s, r->conn, CONN_READING);
    r->method = method; /* both live as long as the request does in libmicrohttpd */
    r->path = path;
    r->rest = "";
    r->start = os_now_ns();
    r->body.limit = LIMIT_HTTP_BODY;
    pthread_mutex_lock(&s->lock);
    uint64_t n = ++s->id_count, random = rng_u64(&s->ids);
    pthread_mutex_unlock(&s->lock);
    snprintf(r->id, sizeof r->id, "req_%016llx%08x", (unsigned long long)random, (unsigned)n);
    return r;
}

/* Body bytes of all requests together are bounded, so that many large ones cannot take the
 * machine's memory. */
static void take_body(struct http_req *r, const char *data, size_t len) {
    struct http_server *s = r->server;
    pthread_mutex_lock(&s->lock);
    bool fits = len <= LIMIT_HTTP_BODIES - s->body_bytes;
    if (fits && !r->too_large) s->body_bytes += len;
    pthread_mutex_unlock(&s->lock);
    if (r->too_large) return;
    size_t before = r->body.len;
    if (fits && buf_add(&r->body, data, len)) return;
    r->too_large = true;
    pthread_mutex_lock(&s->lock);
    s->body_bytes -= before + (fits ? len : 0);
    pthread_mutex_unlock(&s->lock);
    buf_free(&r->body);
}

static void run(struct http_req *r) {
    struct http_server *s = r->server;
    watch_state(s, r->conn, CONN_RUNNING);
    pthread_mutex_lock(&s->lock);
    s->n_running++;
    if (r->key >= 0) s->key[r->key].used.n_requests++;
    pthread_mutex_unlock(&s->lock);
    r->running = true;
    r->route->handle(r);
    assert(r->replied);
    if (!r->stream.fill) watch_state(s, r->conn, CONN_WRITING);
}

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *mhd, const char *path,
                                 const char *method, const char *version, const char *data,
                                 size_t *len, void **con_cls) {
    struct http_server *s = ctx;
    struct http_req *r = *con_cls;
    struct http_error e = {0};
    (void)version;
    if (!r) {
        *con_cls = r = begin(s, mhd, path, method);
        if (!r) return MHD_NO;
        if (!admit(r, &e)) refuse(r, &e);
        else if (!r->route) preflight(r);
        return r->failed ? MHD_NO : MHD_YES;
    }
    if (*len) {
        if (!r->replied) take_body(r, data, *len);
        *len = 0;
        return MHD_YES;
    }
    if (r->replied) return MHD_YES;
    if (r->too_large) {
        too_large(r, &e);
        refuse(r, &e);
    } else run(r);
    return r->failed || !r->replied ? MHD_NO : MHD_YES;
}

static void on_completed(void *ctx, struct MHD_Connection *mhd, void **con_cls,
                         enum MHD_RequestTerminationCode why) {
    struct http_server *s = ctx;
    struct http_req *r = *con_cls;
    (void)mhd;
    if (!r) return;
    http_on_gone(r, NULL, NULL);
    if (r->stream.done) r->stream.done(r->stream.ctx);
    bool whole = why == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    log_info("request id=%s method=%s path=%s status=%d key=%s in=%zu out=%zu ms=%.1f%s%s", r->id,
             r->method, r->path, r->status, http_key(r), r->body.len, (size_t)r->sent,
             (double)(os_now_ns() - r->start) / 1e6, whole ? "" : " client=gone",
             r->note.p ? r->note.p : "");
    pthread_mutex_lock(&s->lock);
    if (r->running) s->n_running--;
    s->body_bytes -= r->body.len;
    pthread_mutex_unlock(&s->lock);
    watch_state(s, r->conn, CONN_IDLE);
    buf_free(&r->body);
    buf_free(&r->note);
    buf_free(&r->stream.out);
    mem_free(r);
    *con_cls = NULL;
}

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **socket_ctx,
                          enum MHD_ConnectionNotificationCode what) {
    struct http_server *s = ctx;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_ctx = info ? watch_add(s, info->connect_fd) : NULL;
    } else if (*socket_ctx) {
        watch_remove(s, *socket_ctx);
        *socket_ctx = NULL;
    }
}

/* ---- the server --------------------------------------------------------------------------- */
struct http_server *http_open(const struct http_options *o, struct err *e) {
    struct http_server *s = mem_calloc(1, sizeof *s);
    if (!s) {
        err_nomem(e, "a server", sizeof *s);
        return NULL;
    }
    s->o = *o;
    s->ids.state = os_now_ns() ^ (uint64_t)getpid() << 40;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->quiet, NULL);
    int fd = -1;
    if (!guard_load_keys(s, e) || (fd = guard_listen(s, e)) < 0 || !watch_start(s, e)) {
        if (fd >= 0) close(fd);
        http_close(s);
        return NULL;
    }
    s->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL,
        NULL, on_access, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(o->max_connections + SPARE_CONNECTIONS), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)LIMIT_HTTP_HEADERS, MHD_OPTION_END);
    if (s->daemon) return s;
    err_set(e, ERR_IO, "cannot start the HTTP server");
    close(fd);
    http_close(s);
    return NULL;
}

int http_port(const struct http_server *s) {
    return s->port;
}

const char *http_local_key(const struct http_server *s) {
    return s->local_key;
}

void http_drain(struct http_server *s) {
    pthread_mutex_lock(&s->lock);
    s->draining = true;
    pthread_mutex_unlock(&s->lock);
}

bool http_draining(struct http_server *s) {
    pthread_mutex_lock(&s->lock);
    bool is = s->draining;
    pthread_mutex_unlock(&s->lock);
    return is;
}

int http_n_running(struct http_server *s) {
    pthread_mutex_lock(&s->lock);
    int n = s->n_running;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void http_close(struct http_server *s) {
    if (!s) return;
    http_drain(s);
    pthread_mutex_lock(&s->lock);
    for (struct conn *c = s->conns; c; c = c->next) shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->lock); /* the watcher sees the ends and tells the handlers */
    if (s->daemon) MHD_stop_daemon(s->daemon);
    watch_stop(s);
    if (s->o.unix_path && s->daemon) unlink(s->o.unix_path);
    guard_free_keys(s);
    pthread_cond_destroy(&s->quiet);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
