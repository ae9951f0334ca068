/* The disk cache: pages of K/V and entries of the ledger, written as they become complete and
 * found again after a restart or a crash. One thread of its own reads and writes; nobody else
 * waits for the disk. Each process appends to files of its own and drops the oldest files of all
 * when there is too much; several may share a folder. What goes wrong is logged and counted, and
 * costs nothing but the cache: a full disk turns writing off, a damaged record is a miss. */
#ifndef HOLDFAST_CACHE_DISK_H
#define HOLDFAST_CACHE_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cache/segment.h"

struct disk;

struct disk_options {
    const char *dir;      /* made when it is not there; files are 0600 */
    uint64_t max_bytes;   /* of all files */
    uint64_t queue_bytes; /* of what waits to be written */
};
/* Reads the headers of what is there. NULL with e filled: the folder cannot be used. */
struct disk *disk_open(const struct disk_options *o, struct err *e);
/* Writes what is queued. No fetch may be on its way. */
void disk_close(struct disk *d);

/* What a record is, and where its parts are in memory. */
struct disk_item {
    enum segment_kind kind;
    uint64_t model, tenant, parent, hash;
    int n_parts;
    struct disk_part {
        void *data;
        size_t bytes;
    } part[SEGMENT_PARTS];
};

/* Whether a record with this hash is there. Never waits for the disk. Any thread. */
bool disk_has(struct disk *d, uint64_t hash);
enum disk_put { DISK_TAKEN, DISK_LATER, DISK_NEVER };
/* Copies an item into the queue, unless it is there already. LATER: the queue is full; NEVER: it
 * is off, or the item is larger than the queue. Never allocates, never waits for the disk. Any
 * thread. */
enum disk_put disk_put(struct disk *d, const struct disk_item *item);

/* Fills the parts of up to n items from the disk. part[0] says what has to stand there (the
 * tokens); the others are written to. Stops at the first item that is missing or damaged. */
enum { DISK_FETCH_MAX = 8 };
struct disk_fetch {
    struct disk_item item[DISK_FETCH_MAX];
    int n, n_good;
    void (*wake)(void *ctx); /* called on the disk's thread when done */
    void *wake_ctx;
    atomic_bool done; /* n_good is final, and the disk looks at nothing here any more */
    struct disk_fetch *next;
};
void disk_fetch(struct disk *d, struct disk_fetch *f);
void disk_wait(struct disk *d, struct disk_fetch *f);

/* Calls fn with every record of a kind, oldest first, before anything was put; its parts are valid
 * during the call. Damaged ones are skipped and counted. */
void disk_each(struct disk *d, enum segment_kind kind,
               void (*fn)(void *ctx, const struct disk_item *item), void *ctx);

struct disk_stats {
    uint64_t bytes, queue_bytes;           /* of the files; not written yet */
    uint64_t n_written, n_read, n_damaged; /* records */
    uint64_t n_files, n_records;
    bool off;
};
void disk_stats(struct disk *d, struct disk_stats *out);

/* The files of a folder, without opening it as a cache. fn may be NULL. */
struct disk_file {
    const char *path;
    uint64_t bytes, whole; /* whole: up to where it can be read */
    uint64_t n_pages, n_entries;
    uint64_t created_ns; /* since 1970 */
};
bool disk_list(const char *dir, void (*fn)(void *ctx, const struct disk_file *f), void *ctx,
               struct err *e);
/* Removes them; *bytes is what they had. */
bool disk_clear(const char *dir, uint64_t *bytes, struct err *e);

#endif
