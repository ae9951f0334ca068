/* The servers of this user that run now: one small file each in a private folder, locked by its
 * server as long as it lives, so that a file left behind by a crash is known as such. */
#ifndef HOLDFAST_CMD_RUNNING_H
#define HOLDFAST_CMD_RUNNING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/json.h"

struct running_server {
    int pid, port;
    const char *host, *unix_path; /* unix_path or NULL */
    const char *secret;           /* lets this user in where keys are needed, or NULL */
};
struct running_file {
    int fd;
    char path[512];
};
/* Called by serve. The file is 0600. */
bool running_write(struct running_file *f, const struct running_server *s, struct err *e);
void running_remove(struct running_file *f);

/* Calls fn for each; returns how many there are. Files of the dead are removed. */
int running_each(void (*fn)(void *ctx, const struct running_server *s), void *ctx);

/* GET of a server's path as JSON; NULL when it does not answer. The caller owns the reference. */
json_t *running_get(const struct running_server *s, const char *path);

#endif
