/* The watcher: one thread that polls the sockets of all connections whose own threads are busy.
 * libmicrohttpd sees a hang-up only when it next reads or writes; a prefill would run on for
 * nobody. It also shuts connections that miss their deadline, so that clients who send or read a
 * byte a second cannot hold a thread for ever. */
#include "base/mem.h"
#include "base/os.h"
#include "serve/http_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TICK_MS = 500, IDLE_NS = 1000000000 };

static void wake(struct http_server *s) {
    char c = 0;
    if (write(s->wake[1], &c, 1) < 0) return; /* full: it is awake anyway */
}

/* Under the lock, which is released while the function runs: it may take the lock of an engine. */
static void tell_gone(struct http_server *s, struct conn *c) {
    void (*fn)(void *) = c->on_gone;
    void *ctx = c->gone_ctx;
    c->gone = true;
    c->on_gone = NULL;
    if (!fn) return;
    s->calling = c;
    pthread_mutex_unlock(&s->lock);
    fn(ctx);
    pthread_mutex_lock(&s->lock);
    s->calling = NULL;
    pthread_cond_broadcast(&s->quiet);
}

static void look(struct http_server *s, struct conn *c) {
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0) c->noisy = true; /* the next request came early */
    else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) tell_gone(s, c);
}

static void check_deadline(struct http_server *s, struct conn *c) {
    int limit = s->o.request_seconds;
    uint64_t now = os_now_ns(); /* not earlier than c->since, which moves while others are told */
    if (c->state == CONN_RUNNING || c->shut || now - c->since < (uint64_t)limit * 1000000000u)
        return;
    c->shut = true;
    shutdown(c->fd, SHUT_RDWR);
    if (c->state == CONN_WRITING && !c->gone) tell_gone(s, c);
}

/* The connection of that address, if it is still there. */
static struct conn *find(struct http_server *s, const struct conn *wanted) {
    struct conn *c = s->conns;
    while (c && c != wanted) c = c->next;
    return c;
}

struct watch_list {
    struct pollfd *fd;
    struct conn **conn;
    size_t n, cap, cap_conn;
};

static void gather(struct http_server *s, struct watch_list *w) {
    w->n = 0;
    for (struct conn *c = s->conns; c; c = c->next) {
        if (!mem_grow((void **)&w->fd, &w->cap, w->n + 2, sizeof *w->fd) ||
            !mem_grow((void **)&w->conn, &w->cap_conn, w->n + 2, sizeof *w->conn))
            break;
        bool busy = c->state > CONN_READING && !c->noisy && !c->gone;
        w->conn[w->n] = c;
        w->fd[w->n++] = (struct pollfd){.fd = busy ? c->fd : -1, .events = POLLIN};
    }
    w->fd[w->n] = (struct pollfd){.fd = s->wake[0], .events = POLLIN};
}

static void *watch(void *arg) {
    struct http_server *s = arg;
    struct watch_list w = {0};
    bool ok = mem_grow((void **)&w.fd, &w.cap, 64, sizeof *w.fd);
    pthread_mutex_lock(&s->lock);
    while (ok && s->watching) {
        gather(s, &w);
        int wait = s->conns ? TICK_MS : -1;
        pthread_mutex_unlock(&s->lock);
        poll(w.fd, w.n + 1, wait);
        char drop[64];
        if (w.fd[w.n].revents && read(s->wake[0], drop, sizeof drop) < 0) drop[0] = 0;
        pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < w.n; i++) {
            struct conn *c = find(s, w.conn[i]);
            if (c && w.fd[i].revents && c->state > CONN_READING && !c->gone) look(s, c);
            c = find(s, w.conn[i]);
            if (c) check_deadline(s, c);
        }
    }
    pthread_mutex_unlock(&s->lock);
    mem_free(w.fd);
    mem_free(w.conn);
    return NULL;
}

bool watch_start(struct http_server *s, struct err *e) {
    if (pipe(s->wake) != 0) return err_set(e, ERR_IO, "cannot make a pipe: %s", strerror(errno));
    for (int i = 0; i < 2; i++) fcntl(s->wake[i], F_SETFL, O_NONBLOCK);
    s->watching = true;
    if (pthread_create(&s->watcher, NULL, watch, s) == 0) return true;
    s->watching = false;
    close(s->wake[0]);
    close(s->wake[1]);
    return err_set(e, ERR_IO, "cannot start a thread");
}

void watch_stop(struct http_server *s) {
    if (!s->watching) return;
    pthread_mutex_lock(&s->lock);
    s->watching = false;
    pthread_mutex_unlock(&s->lock);
    wake(s);
    pthread_join(s->watcher, NULL);
    close(s->wake[0]);
    close(s->wake[1]);
}

/* Hangs up on the connection that was idle longest, if any was for a while; false: none. */
static bool make_room(struct http_server *s, uint64_t now) {
    struct conn *oldest = NULL;
    for (struct conn *c = s->conns; c; c = c->next)
        if (c->state == CONN_IDLE && !c->shut && now - c->since > IDLE_NS &&
            (!oldest || c->since < oldest->since))
            oldest = c;
    if (!oldest) return false;
    oldest->shut = true;
    shutdown(oldest->fd, SHUT_RDWR);
    return true;
}

struct conn *watch_add(struct http_server *s, int fd) {
    struct conn *c = mem_calloc(1, sizeof *c);
    if (!c) return NULL;
    c->fd = fd;
    c->since = os_now_ns();
    pthread_mutex_lock(&s->lock);
    c->extra = s->n_conns++ >= s->o.max_connections && !make_room(s, c->since);
    c->next = s->conns;
    if (c->next) c->next->prev = c;
    s->conns = c;
    pthread_mutex_unlock(&s->lock);
    wake(s);
    return c;
}

void watch_remove(struct http_server *s, struct conn *c) {
    pthread_mutex_lock(&s->lock);
    while (s->calling == c) pthread_cond_wait(&s->quiet, &s->lock);
    if (c->next) c->next->prev = c->prev;
    if (c->prev) c->prev->next = c->next;
    else s->conns = c->next;
    s->n_conns--;
    pthread_mutex_unlock(&s->lock);
    mem_free(c);
}

void watch_state(struct http_server *s, struct conn *c, enum conn_state state) {
    pthread_mutex_lock(&s->lock);
    bool news = (c->state > CONN_READING) != (state > CONN_READING);
    c->state = state;
    if (state != CONN_READING) c->since = os_now_ns(); /* its time runs from when it was idle */
    if (state == CONN_IDLE) c->noisy = false;
    pthread_mutex_unlock(&s->lock);
    if (news) wake(s);
}

void http_on_gone(struct http_req *r, void (*fn)(void *ctx), void *ctx) {
    struct http_server *s = r->server;
    pthread_mutex_lock(&s->lock);
    while (s->calling == r->conn) pthread_cond_wait(&s->quiet, &s->lock);
    bool late = r->conn->gone;
    r->conn->on_gone = late ? NULL : fn;
    r->conn->gone_ctx = ctx;
    pthread_mutex_unlock(&s->lock);
    if (late && fn) fn(ctx);
}

bool http_gone(struct http_req *r) {
    pthread_mutex_lock(&r->server->lock);
    bool gone = r->conn->gone;
    pthread_mutex_unlock(&r->server->lock);
    return gone;
}
