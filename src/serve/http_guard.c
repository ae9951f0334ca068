/* Who may ask: keys, Host (against DNS rebinding) and Origin (against other sites' scripts), and
 * the socket to listen on, which is loopback unless there are keys. */
#include "base/log.h"
#include "base/mem.h"
#include "serve/http_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { KEYS_MAX = 1000, KEY_LINE = 512, BACKLOG = 128 };

/* ---- keys --------------------------------------------------------------------------------- */
static bool add_key(struct http_server *s, const char *name, const char *secret, struct err *e) {
    if (s->n_keys == KEYS_MAX)
        return err_set(e, ERR_LIMIT, "%s: more than %d keys", s->o.key_file, KEYS_MAX);
    struct http_named_key *k = &s->key[s->n_keys++];
    k->name = mem_strdup(name);
    k->secret = mem_strdup(secret);
    k->used.name = k->name;
    return (k->name && k->secret) || err_nomem(e, "keys", strlen(secret));
}

static bool take_line(struct http_server *s, char *line, int number, struct err *e) {
    char *end = line + strcspn(line, "\r\n");
    while (end > line && (end[-1] == ' ' || end[-1] == '\t')) end--;
    *end = 0;
    line += strspn(line, " \t");
    if (!*line || *line == '#') return true;
    char *colon = strchr(line, ':'), name[32];
    const char *secret = colon ? colon + 1 : line;
    if (colon) *colon = 0;
    if (strlen(secret) < 8)
        return err_set(e, ERR_ARG, "%s:%d: a key has at least 8 characters (a line is NAME:KEY)",
                       s->o.key_file, number);
    snprintf(name, sizeof name, "key%zu", s->n_keys + 1);
    return add_key(s, colon ? line : name, secret, e);
}

/* A key of this start only. */
static bool add_local_key(struct http_server *s, struct err *e) {
    unsigned char random[24];
    char text[2 * sizeof random + 1];
    FILE *f = fopen("/dev/urandom", "rb");
    bool ok = f && fread(random, 1, sizeof random, f) == sizeof random;
    if (f) fclose(f);
    if (!ok) return err_set(e, ERR_IO, "cannot read /dev/urandom");
    for (size_t i = 0; i < sizeof random; i++) snprintf(text + 2 * i, 3, "%02x", random[i]);
    if (!add_key(s, "local", text, e)) return false;
    s->local_key = s->key[s->n_keys - 1].secret;
    return true;
}

bool guard_load_keys(struct http_server *s, struct err *e) {
    if (!s->o.key_file) return true;
    FILE *f = fopen(s->o.key_file, "r");
    if (!f) return err_set(e, ERR_IO, "cannot open %s: %s", s->o.key_file, strerror(errno));
    struct stat st;
    if (fstat(fileno(f), &st) == 0 && (st.st_mode & 077))
        log_warn("%s can be read by other users; chmod 600 it", s->o.key_file);
    s->key = mem_calloc(KEYS_MAX, sizeof *s->key);
    bool ok = s->key || err_nomem(e, "keys", KEYS_MAX * sizeof *s->key);
    char line[KEY_LINE];
    for (int n = 1; ok && fgets(line, sizeof line, f); n++) ok = take_line(s, line, n, e);
    fclose(f);
    if (ok && !s->n_keys) ok = err_set(e, ERR_FORMAT, "%s holds no key", s->o.key_file);
    return ok && add_local_key(s, e);
}

void guard_free_keys(struct http_server *s) {
    for (size_t i = 0; i < s->n_keys; i++) {
        mem_free(s->key[i].name);
        mem_free(s->key[i].secret);
    }
    mem_free(s->key);
}

/* Takes as long for a wrong key as for the right one. */
static bool same_secret(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    unsigned diff = n != m;
    for (size_t i = 0; i < n; i++) diff |= (unsigned char)(a[i] ^ b[m ? i % m : 0]);
    return diff == 0;
}

static const char *given_key(const struct http_req *r) {
    const char *auth = http_header(r, "Authorization");
    if (auth && strncasecmp(auth, "Bearer ", 7) == 0) return auth + 7;
    return http_header(r, "x-api-key");
}

static bool check_key(struct http_req *r, struct http_error *e) {
    struct http_server *s = r->server;
    if (!s->n_keys) return true;
    const char *given = given_key(r);
    for (size_t i = 0; given && i < s->n_keys; i++)
        if (same_secret(given, s->key[i].secret)) r->key = (int)i;
    if (r->key >= 0 || (r->route && (r->route->flags & HTTP_OPEN))) return true;
    e->status = 401;
    e->why.code = HOLD_ERR_ARG;
    snprintf(e->why.msg, sizeof e->why.msg, "%s (Authorization: Bearer KEY, or x-api-key)",
             given ? "the API key is not one of this server's" : "an API key is required");
    return false;
}

/* ---- Host and Origin ---------------------------------------------------------------------- */
/* Copies the host of "host:port" or "[v6]:port" without brackets. */
static void host_name(const char *text, char out[256]) {
    bool v6 = *text == '[';
    size_t n = strcspn(text + v6, v6 ? "]" : ":/");
    snprintf(out, 256, "%.*s", (int)(n < 255 ? n : 255), text + v6);
}

static bool is_address(const char *host) {
    unsigned char a[16];
    return inet_pton(AF_INET, host, a) == 1 || inet_pton(AF_INET6, host, a) == 1;
}

/* Rebinding needs a name that the attacker controls; addresses cannot be rebound. */
static bool known_host(const struct http_server *s, const char *text) {
    char host[256], own[256] = "";
    host_name(text, host);
    if (is_address(host) || strcasecmp(host, "localhost") == 0) return true;
    gethostname(own, sizeof own - 1);
    if (*own && strcasecmp(host, own) == 0) return true;
    if (s->o.host && strcasecmp(host, s->o.host) == 0) return true;
    for (const char *const *h = s->o.allow_hosts; h && *h; h++)
        if (strcasecmp(host, *h) == 0) return true;
    return false;
}

static bool known_origin(const struct http_server *s, const char *origin, const char *host) {
    for (const char *const *o = s->o.allow_origins; o && *o; o++)
        if (strcasecmp(origin, *o) == 0 || strcmp(*o, "*") == 0) return true;
    const char *at = strstr(origin, "://");
    return at && host && strcasecmp(at + 3, host) == 0; /* our own pages */
}

static bool forbid(struct http_error *e, const char *what, const char *value, const char *option) {
    e->status = 403;
    e->why.code = HOLD_ERR_ARG;
    snprintf(e->why.msg, sizeof e->why.msg,
             "the %s '%.200s' is not allowed; start with %s to allow it", what, value, option);
    return false;
}

bool guard_check(struct http_req *r, struct http_error *e) {
    const char *host = http_header(r, "Host"), *origin = http_header(r, "Origin");
    if (host && !r->server->o.unix_path && !known_host(r->server, host))
        return forbid(e, "Host", host, "--allow-host");
    if (origin) {
        if (!known_origin(r->server, origin, host))
            return forbid(e, "Origin", origin, "--allow-origin");
        r->origin = origin;
        if (strcmp(r->method, "OPTIONS") == 0) return true; /* a preflight carries no key */
    }
    return check_key(r, e);
}

/* ---- listening ---------------------------------------------------------------------------- */
static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static int listen_unix(struct http_server *s, struct err *e) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const char *path = s->o.unix_path;
    struct stat st;
    if (strlen(path) >= sizeof a.sun_path) {
        err_set(e, ERR_ARG, "%s is longer than %zu bytes", path, sizeof a.sun_path - 1);
        return -1;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) {
            err_set(e, ERR_BUSY, "another server listens on %s", path);
            close(fd);
            return -1;
        }
        unlink(path); /* left behind by one that was killed */
        close(fd);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
    }
    mode_t old = umask(0177);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, BACKLOG) == 0;
    umask(old);
    if (ok) return fd;
    err_set(e, ERR_IO, "cannot listen on %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

static int listen_tcp(struct http_server *s, const struct addrinfo *a, struct err *e) {
    int fd = socket(a->ai_family, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_storage got;
    socklen_t len = sizeof got;
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&got, &len) != 0) {
        err_set(e, errno == EADDRINUSE ? ERR_BUSY : ERR_IO, "cannot listen on %s port %d: %s",
                s->o.host, s->o.port, strerror(errno));
        if (fd >= 0) close(fd);
        return -1;
    }
    s->port = ntohs(got.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&got)->sin6_port
                                              : ((struct sockaddr_in *)&got)->sin_port);
    return fd;
}

int guard_listen(struct http_server *s, struct err *e) {
    if (s->o.unix_path) return listen_unix(s, e);
    struct addrinfo hint = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    const char *host = strcmp(s->o.host, "localhost") == 0 ? "127.0.0.1" : s->o.host;
    char port[16];
    snprintf(port, sizeof port, "%d", s->o.port);
    int rc = getaddrinfo(host, port, &hint, &found), fd = -1;
    if (rc != 0) {
        err_set(e, ERR_ARG, "there is no address %s: %s", host, gai_strerror(rc));
        return -1;
    }
    if (!is_loopback(found->ai_addr) && !s->n_keys)
        err_set(e, ERR_ARG,
                "listening on %s lets other machines in: that needs --api-key-file FILE "
                "(lines NAME:KEY)",
                host);
    else fd = listen_tcp(s, found, e);
    freeaddrinfo(found);
    return fd;
}
