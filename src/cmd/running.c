/* Files of running servers and questions to them (contracts in running.h). */
#include "cmd/running.h"
#include "base/limits.h"

#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_BYTES = 4 << 20, TIMEOUT_SECONDS = 5 };

/* $XDG_RUNTIME_DIR/holdfast, else ~/.cache/holdfast/run; made when it is not there. */
static bool folder(char *path, size_t size) {
    const char *run = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
    if (run && *run) snprintf(path, size, "%s/holdfast", run);
    else snprintf(path, size, "%s/.cache", home ? home : "");
    if (!run || !*run) {
        static const char *const more[] = {"/holdfast", "/run"};
        for (size_t i = 0; i < 2; i++) {
            mkdir(path, 0700);
            size_t n = strlen(path);
            snprintf(path + n, size - n, "%s", more[i]);
        }
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

bool running_write(struct running_file *f, const struct running_server *s, struct err *e) {
    char dir[400];
    struct buf text = {0};
    f->fd = -1;
    if (!folder(dir, sizeof dir))
        return err_set(e, ERR_IO, "cannot create %s: %s", dir, strerror(errno));
    snprintf(f->path, sizeof f->path, "%s/%d.json", dir, s->pid);
    json_t *o = json_pack("{s:i, s:i, s:s, s:s?, s:s?}", "pid", s->pid, "port", s->port, "host",
                          s->host, "unix", s->unix_path, "secret", s->secret);
    unlink(f->path);
    f->fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = f->fd >= 0 && o && json_write(&text, o) && flock(f->fd, LOCK_EX | LOCK_NB) == 0 &&
              write(f->fd, text.p, text.len) == (ssize_t)text.len;
    if (!ok) err_set(e, ERR_IO, "cannot write %s: %s", f->path, strerror(errno));
    json_decref(o);
    buf_free(&text);
    return ok;
}

void running_remove(struct running_file *f) {
    if (f->fd < 0) return;
    unlink(f->path);
    close(f->fd);
}

static void visit(const char *path, int *n, void (*fn)(void *, const struct running_server *),
                  void *ctx) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) { /* its server is gone */
        unlink(path);
        close(fd);
        return;
    }
    struct err e;
    json_t *o = json_load(path, ANSWER_BYTES, &e);
    const char *host = json_string_value(json_object_get(o, "host"));
    struct running_server s = {.pid = (int)json_integer_value(json_object_get(o, "pid")),
                               .port = (int)json_integer_value(json_object_get(o, "port")),
                               .host = host,
                               .unix_path = json_string_value(json_object_get(o, "unix")),
                               .secret = json_string_value(json_object_get(o, "secret"))};
    if (host && s.pid > 0) {
        fn(ctx, &s);
        ++*n;
    }
    json_decref(o);
    close(fd);
}

int running_each(void (*fn)(void *ctx, const struct running_server *s), void *ctx) {
    char dir[400], path[800];
    int n = 0;
    DIR *d = folder(dir, sizeof dir) ? opendir(dir) : NULL;
    if (!d) return 0;
    for (struct dirent *f; (f = readdir(d));) {
        size_t len = strlen(f->d_name);
        if (len < 6 || strcmp(f->d_name + len - 5, ".json") != 0) continue;
        snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
        visit(path, &n, fn, ctx);
    }
    closedir(d);
    return n;
}

static size_t take(char *data, size_t size, size_t n, void *ctx) {
    struct buf *out = ctx;
    if (size * n > ANSWER_BYTES - out->len) return 0;
    return buf_add(out, data, size * n) ? size * n : 0;
}

json_t *running_get(const struct running_server *s, const char *path) {
    char url[700], auth[200];
    struct buf text = {0};
    struct curl_slist *headers = NULL;
    CURL *c = curl_easy_init();
    if (!c) return NULL;
    bool any = strcmp(s->host, "0.0.0.0") == 0 || strcmp(s->host, "::") == 0 || s->unix_path;
    bool v6 = strchr(s->host, ':') && !any;
    snprintf(url, sizeof url, "http://%s%s%s:%d%s", v6 ? "[" : "", any ? "127.0.0.1" : s->host,
             v6 ? "]" : "", s->unix_path ? 80 : s->port, path);
    snprintf(auth, sizeof auth, "Authorization: Bearer %s", s->secret ? s->secret : "");
    if (s->secret) headers = curl_slist_append(NULL, auth);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)TIMEOUT_SECONDS);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &text);
    if (s->unix_path) curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, s->unix_path);
    struct err e;
    bool ok = curl_easy_perform(c) == CURLE_OK;
    json_t *o = ok ? json_parse(buf_view(&text), ANSWER_BYTES, &e) : NULL;
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    buf_free(&text);
    return o;
}
