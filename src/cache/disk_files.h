/* The files of a disk cache's folder by name and age. Names are kv-TIME-PID.seg, the time in
 * nanoseconds since 1970 as 16 hex digits, so that their order is their age. Private to cache/. */
#ifndef HOLDFAST_CACHE_DISK_FILES_H
#define HOLDFAST_CACHE_DISK_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { DISK_NAME = 64 };
struct disk_names {
    char (*name)[DISK_NAME]; /* oldest first */
    size_t n, cap;
};
/* A folder that is not there has no files. */
bool disk_names_read(struct disk_names *l, const char *dir, struct err *e);
void disk_names_free(struct disk_names *l);
uint64_t disk_name_time(const char *name); /* 0: it is none of our names */

/* Makes the folder and those above it, 0700. */
bool disk_make_dir(const char *dir, struct err *e);

#endif
