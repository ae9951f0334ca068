/* The folder of a disk cache: names, listing, clearing (contracts in disk_files.h and disk.h). */
#include "cache/disk_files.h"
#include "base/mem.h"
#include "base/os.h"
#include "cache/disk.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, HEX = 16 };

uint64_t disk_name_time(const char *name) {
    size_t n = strlen(name);
    if (n < 9 + HEX || n >= DISK_NAME || strncmp(name, "kv-", 3) != 0) return 0;
    if (strspn(name + 3, "0123456789abcdef") != HEX || name[3 + HEX] != '-') return 0;
    if (strcmp(name + n - 4, ".seg") != 0) return 0;
    return strtoull(name + 3, NULL, 16);
}

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

bool disk_names_read(struct disk_names *l, const char *dir, struct err *e) {
    *l = (struct disk_names){0};
    DIR *d = opendir(dir);
    if (!d && errno == ENOENT) return true;
    if (!d) return err_set(e, ERR_IO, "cannot read the folder %s: %s", dir, strerror(errno));
    bool ok = true;
    for (struct dirent *f; ok && (f = readdir(d));) {
        if (!disk_name_time(f->d_name)) continue;
        void *p = l->name;
        ok = mem_grow(&p, &l->cap, l->n + 1, sizeof *l->name);
        l->name = p;
        if (ok) memcpy(l->name[l->n++], f->d_name, strlen(f->d_name) + 1); /* < DISK_NAME */
    }
    closedir(d);
    if (l->n) qsort(l->name, l->n, sizeof *l->name, by_name);
    return ok || err_nomem(e, "the list of cache files", l->n * sizeof *l->name);
}

void disk_names_free(struct disk_names *l) {
    mem_free(l->name);
    *l = (struct disk_names){0};
}

bool disk_make_dir(const char *dir, struct err *e) {
    char path[PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s", dir) >= sizeof path)
        return err_set(e, ERR_LIMIT, "the path of the cache folder is too long");
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        mkdir(path, 0700);
        *p = '/';
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST ||
           err_set(e, ERR_IO, "cannot create the cache folder %s: %s", dir, strerror(errno));
}

/* ---- listing and clearing ----------------------------------------------------------------- */
static bool count(void *ctx, const struct segment_record *r, uint64_t at) {
    struct disk_file *f = ctx;
    (void)at;
    if (r->kind == SEGMENT_PAGE) f->n_pages++;
    else f->n_entries++;
    return true;
}

bool disk_list(const char *dir, void (*fn)(void *ctx, const struct disk_file *f), void *ctx,
               struct err *e) {
    struct disk_names l;
    bool ok = disk_names_read(&l, dir, e);
    for (size_t i = 0; ok && i < l.n; i++) {
        char path[PATH_BYTES];
        struct os_map map;
        snprintf(path, sizeof path, "%s/%s", dir, l.name[i]);
        struct disk_file f = {.path = path, .created_ns = disk_name_time(l.name[i])};
        if (os_map_open(&map, path, NULL)) {
            f.bytes = map.len;
            f.whole = segment_scan(map.data, map.len, count, &f);
            os_map_close(&map);
        }
        fn(ctx, &f);
    }
    disk_names_free(&l);
    return ok;
}

bool disk_clear(const char *dir, uint64_t *bytes, struct err *e) {
    struct disk_names l;
    *bytes = 0;
    bool ok = disk_names_read(&l, dir, e);
    for (size_t i = 0; ok && i < l.n; i++) {
        char path[PATH_BYTES];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", dir, l.name[i]);
        if (stat(path, &st) == 0) *bytes += (uint64_t)st.st_size;
        if (unlink(path) != 0 && errno != ENOENT)
            ok = err_set(e, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
    }
    disk_names_free(&l);
    return ok;
}
