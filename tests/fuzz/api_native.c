/* Fuzz target of the bodies of the native API, of llama-server's endpoints and of embeddings, over
 * the wire to a server in this process (first byte: which). Every answer is one of HTTP, whole, and
 * what says to be JSON is. */
#include "tests/fuzz/api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int dial(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    require(fd >= 0);
    require(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

static void send_all(int fd, const void *data, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, (const char *)data + at, size - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue; /* libFuzzer's alarms */
        if (n <= 0) return;
        at += (size_t)n;
    }
}

static void check(const struct buf *answer) {
    struct str all = buf_view(answer);
    struct err e;
    int64_t end = str_find(all, STR("\r\n\r\n"), 0);
    if (!str_starts(all, STR("HTTP/1.1 ")) || end < 0)
        fuzz_fail(__FILE__, __LINE__, "a whole answer of HTTP", all.len ? all.p : "nothing");
    struct str head = {all.p, (size_t)end};
    if (str_find(head, STR("application/json"), 0) < 0) return; /* a stream */
    json_t *body =
        json_parse((struct str){all.p + end + 4, all.len - (size_t)end - 4}, LIMIT_JSON_BYTES, &e);
    if (!body) fuzz_fail(__FILE__, __LINE__, e.msg, all.p);
    json_decref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const paths[] = {"/api/v1/models/load",
                                        "/api/v1/models/unload",
                                        "/tokenize",
                                        "/detokenize",
                                        "/apply-template",
                                        "/completion",
                                        "/infill",
                                        "/v1/embeddings",
                                        "/api/embed",
                                        "/api/show"};
    struct serve *s = fuzz_server();
    char head[300], part[4096];
    struct buf answer = {0};
    if (!size) return 0;
    const char *path = paths[data[0] % (sizeof paths / sizeof *paths)];
    int n = snprintf(head, sizeof head,
                     "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     path, size - 1);
    int fd = dial(http_port(s->http));
    send_all(fd, head, (size_t)n);
    send_all(fd, data + 1, size - 1);
    for (ssize_t got = 1; got > 0 || (got < 0 && errno == EINTR);) {
        got = recv(fd, part, sizeof part, 0);
        if (got > 0) buf_add(&answer, part, (size_t)got);
    }
    close(fd);
    check(&answer);
    buf_free(&answer);
    return 0;
}
