/* The disk cache (contract in disk.h). The index of what is there is an open-addressing table from
 * hashes to places; it stands in memory and is made from the records' headers at start. The queue
 * is one ring of bytes, so that putting neither allocates nor waits; the disk's thread encodes and
 * writes from it, one record at a time, and turns to fetches first. The lock is never held over
 * an operation on files, but for the making of the index. */
#include "cache/disk.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os.h"
#include "cache/disk_files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

enum { PATH_BYTES = 4096, FILES_KEPT = 8 /* parts of max_bytes that are dropped at once */ };
enum { ZSTD_LEVEL = 1, SAVES_AT_LEAST = 16 /* of a record, or it stands as it is */ };

struct place {
    uint64_t hash, at;
    uint32_t file; /* id; 0: free */
    uint32_t kind;
};
struct file {
    uint32_t id;
    uint64_t bytes;
    char name[DISK_NAME];
};
struct queued { /* in the ring, before its parts */
    struct segment_record r;
    uint64_t size; /* in the ring; 0: the next one stands at its begin */
};

struct disk {
    char dir[PATH_BYTES - DISK_NAME];
    uint64_t max_bytes;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows, up to the thread's own */
    pthread_cond_t work, fetched;
    struct place *place; /* n_slots, a power of two, at most half full */
    size_t n_places, n_slots;
    struct file *file; /* oldest first */
    size_t n_files, file_cap;
    uint64_t bytes; /* of all files */
    unsigned char *ring;
    uint64_t ring_size, head, tail, queued; /* offsets; bytes in between */
    struct disk_fetch *fetches;
    struct disk_stats stats;
    bool started, stop, off;
    /* The thread's own. */
    int fd; /* of the file that is written, the last in file; -1: none */
    uint32_t next_id;
    unsigned char *stored, *raw; /* one record */
    size_t stored_cap, raw_cap;
    ZSTD_CCtx *zstd;
};

/* ---- the index ---------------------------------------------------------------------------- */
static struct place *slot_of(const struct disk *d, uint64_t hash) {
    size_t i = (size_t)(hash & (d->n_slots - 1));
    while (d->place[i].file && d->place[i].hash != hash) i = (i + 1) & (d->n_slots - 1);
    return &d->place[i];
}

/* Moves the places into n slots, but for those of the file `without`. */
static bool index_rebuild(struct disk *d, size_t n, uint32_t without) {
    struct place *old = d->place, *fresh = mem_calloc(n, sizeof *fresh);
    size_t n_old = d->n_slots;
    if (!fresh) return false;
    d->place = fresh;
    d->n_slots = n;
    d->n_places = 0;
    for (size_t i = 0; i < n_old; i++) {
        if (!old[i].file || old[i].file == without) continue;
        *slot_of(d, old[i].hash) = old[i];
        d->n_places++;
    }
    mem_free(old);
    return true;
}

static bool index_add(struct disk *d, const struct segment_record *r, uint32_t file, uint64_t at) {
    if (2 * (d->n_places + 1) > d->n_slots && !index_rebuild(d, 2 * d->n_slots, 0)) return false;
    struct place *p = slot_of(d, r->hash);
    d->n_places += !p->file;
    *p = (struct place){.hash = r->hash, .at = at, .file = file, .kind = (uint32_t)r->kind};
    return true;
}

/* The chain behind a removed place closes up. */
static void index_remove(struct disk *d, uint64_t hash) {
    struct place *p = slot_of(d, hash);
    if (!p->file) return;
    d->n_places--;
    size_t mask = d->n_slots - 1, hole = (size_t)(p - d->place);
    p->file = 0;
    for (size_t i = (hole + 1) & mask; d->place[i].file; i = (i + 1) & mask) {
        struct place moved = d->place[i];
        d->place[i].file = 0;
        *slot_of(d, moved.hash) = moved;
    }
}

/* ---- files -------------------------------------------------------------------------------- */
static void path_of(const struct disk *d, const char *name, char *out) {
    snprintf(out, PATH_BYTES, "%s/%s", d->dir, name);
}

static struct file *file_add(struct disk *d, const char *name) {
    void *p = d->file;
    if (!mem_grow(&p, &d->file_cap, d->n_files + 1, sizeof *d->file)) return NULL;
    d->file = p;
    struct file *f = &d->file[d->n_files++];
    *f = (struct file){.id = ++d->next_id};
    snprintf(f->name, sizeof f->name, "%s", name);
    return f;
}

static struct file *file_of(struct disk *d, uint32_t id) {
    for (size_t i = 0; i < d->n_files; i++)
        if (d->file[i].id == id) return &d->file[i];
    return NULL;
}

/* Forgets a file and what stood in it. Under the lock. */
static void file_forget(struct disk *d, struct file *f) {
    d->bytes -= f->bytes;
    uint32_t id = f->id;
    size_t i = (size_t)(f - d->file);
    memmove(f, f + 1, (--d->n_files - i) * sizeof *f);
    if (index_rebuild(d, d->n_slots, id)) return;
    for (size_t k = 0; k < d->n_slots; k++) /* without memory: one by one */
        while (d->place[k].file == id) index_remove(d, d->place[k].hash);
}

/* Under the lock. */
static void file_gone(struct disk *d, uint32_t id) {
    if (d->fd >= 0 && d->file[d->n_files - 1].id == id) {
        close(d->fd);
        d->fd = -1;
    }
    struct file *f = file_of(d, id);
    if (f) file_forget(d, f);
}

/* Drops the oldest files until the rest keeps the limit; the one that is written stays. */
static void keep_limit(struct disk *d) {
    char path[PATH_BYTES];
    pthread_mutex_lock(&d->lock);
    while (d->bytes > d->max_bytes && d->n_files > (d->fd >= 0)) {
        path_of(d, d->file[0].name, path);
        file_forget(d, &d->file[0]);
        pthread_mutex_unlock(&d->lock);
        unlink(path);
        pthread_mutex_lock(&d->lock);
    }
    pthread_mutex_unlock(&d->lock);
}

struct reading {
    struct disk *d;
    uint32_t file;
    bool ok;
};
static bool take_record(void *ctx, const struct segment_record *r, uint64_t at) {
    struct reading *x = ctx;
    return x->ok = index_add(x->d, r, x->file, at);
}

/* Indexes what an earlier process has left. */
static bool read_files(struct disk *d, struct err *e) {
    struct disk_names l;
    char path[PATH_BYTES];
    bool ok = disk_names_read(&l, d->dir, e);
    for (size_t i = 0; ok && i < l.n; i++) {
        struct os_map map;
        path_of(d, l.name[i], path);
        if (!os_map_open(&map, path, NULL)) { /* empty: a process was killed as it began */
            unlink(path);
            continue;
        }
        struct file *f = file_add(d, l.name[i]);
        struct reading x = {d, f ? f->id : 0, f != NULL};
        uint64_t whole = f ? segment_scan(map.data, map.len, take_record, &x) : 0;
        if (f) f->bytes = map.len;
        d->bytes += map.len;
        if (x.ok && whole < map.len) {
            log_warn("disk cache: %s is damaged or cut short at byte %" PRIu64 "; the last %" PRIu64
                     " bytes are not used",
                     path, whole, (uint64_t)map.len - whole);
            d->stats.n_damaged++;
        }
        ok = x.ok || err_nomem(e, "the index of the disk cache", d->n_slots * sizeof *d->place);
        os_map_close(&map);
    }
    disk_names_free(&l);
    return ok;
}

/* ---- writing (the disk's thread) ---------------------------------------------------------- */
static void turn_off(struct disk *d, const char *what, int error) {
    log_warn("disk cache: cannot %s in %s: %s; nothing more is stored", what, d->dir,
             strerror(error));
    pthread_mutex_lock(&d->lock);
    d->off = true;
    pthread_mutex_unlock(&d->lock);
}

/* A new file with its header. */
static bool begin_file(struct disk *d) {
    char name[DISK_NAME], path[PATH_BYTES];
    struct timespec t;
    unsigned char header[SEGMENT_HEADER];
    clock_gettime(CLOCK_REALTIME, &t);
    snprintf(name, sizeof name, "kv-%016" PRIx64 "-%d.seg",
             (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec, (int)getpid());
    path_of(d, name, path);
    d->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (d->fd < 0) return false;
    segment_header(header);
    pthread_mutex_lock(&d->lock);
    struct file *f = file_add(d, name);
    if (f) f->bytes = SEGMENT_HEADER, d->bytes += SEGMENT_HEADER;
    pthread_mutex_unlock(&d->lock);
    if (!f) errno = ENOMEM;
    return f && pwrite(d->fd, header, sizeof header, 0) == SEGMENT_HEADER;
}

/* The file that takes `size` more bytes: the last, unless it is full or somebody removed it. */
static bool open_file(struct disk *d, uint64_t size) {
    struct stat st;
    if (d->fd >= 0) {
        uint64_t bytes = d->file[d->n_files - 1].bytes;
        bool gone = fstat(d->fd, &st) != 0 || st.st_nlink == 0;
        if (!gone && bytes + size <= d->max_bytes / FILES_KEPT) return true;
        if (gone) {
            pthread_mutex_lock(&d->lock);
            file_gone(d, d->file[d->n_files - 1].id);
            pthread_mutex_unlock(&d->lock);
        } else close(d->fd);
        d->fd = -1;
    }
    return begin_file(d);
}

static bool grow(unsigned char **p, size_t *cap, size_t need) {
    void *q = *p;
    bool ok = mem_grow(&q, cap, need, 1);
    *p = q;
    return ok;
}

/* The record as it stands in the file, in d->stored. Returns its length, padded; 0: no memory. */
static size_t encode(struct disk *d, struct segment_record *r, const unsigned char *parts) {
    size_t bound = ZSTD_compressBound(r->raw_bytes);
    if (!grow(&d->stored, &d->stored_cap, SEGMENT_RECORD + bound + SEGMENT_ALIGN)) return 0;
    unsigned char *body = d->stored + SEGMENT_RECORD;
    size_t n = ZSTD_compressCCtx(d->zstd, body, bound, parts, r->raw_bytes, ZSTD_LEVEL);
    r->zstd = !ZSTD_isError(n) && n < r->raw_bytes - r->raw_bytes / SAVES_AT_LEAST;
    if (!r->zstd) memcpy(body, parts, n = r->raw_bytes);
    r->stored_bytes = n;
    r->checksum = XXH3_64bits(body, n);
    segment_pack(r, d->stored);
    size_t size = (size_t)segment_step(r);
    memset(body + n, 0, size - SEGMENT_RECORD - n);
    return size;
}

static bool write_all(int fd, const unsigned char *p, size_t n, uint64_t at) {
    while (n > 0) {
        ssize_t k = pwrite(fd, p, n, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) {
            if (k == 0) errno = ENOSPC;
            return false;
        }
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return true;
}

static void write_record(struct disk *d, struct segment_record r, const unsigned char *parts) {
    size_t size = encode(d, &r, parts);
    errno = ENOMEM;
    bool ok = size > 0 && open_file(d, size);
    uint64_t at = ok ? d->file[d->n_files - 1].bytes : 0;
    if (ok && !write_all(d->fd, d->stored, size, at)) {
        int why = errno;
        ok = false;
        if (ftruncate(d->fd, (off_t)at) != 0) log_warn("disk cache: the last file has a torn tail");
        errno = why;
    }
    if (!ok) {
        turn_off(d, "write", errno);
        return;
    }
    pthread_mutex_lock(&d->lock);
    struct file *f = &d->file[d->n_files - 1];
    f->bytes += size;
    d->bytes += size;
    ok = index_add(d, &r, f->id, at);
    d->stats.n_written++;
    pthread_mutex_unlock(&d->lock);
    if (!ok) turn_off(d, "index", ENOMEM);
    keep_limit(d);
}

/* ---- reading (the disk's thread) ---------------------------------------------------------- */
static bool read_all(int fd, unsigned char *p, size_t n, uint64_t at) {
    while (n > 0) {
        ssize_t k = pread(fd, p, n, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return false;
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return true;
}

/* A record's parts into d->raw. NULL, or what is wrong with it. */
static const char *read_record(struct disk *d, int fd, uint64_t at, struct segment_record *r) {
    unsigned char header[SEGMENT_RECORD];
    const char *wrong = NULL;
    struct stat st;
    if (fstat(fd, &st) != 0 || !read_all(fd, header, sizeof header, at)) wrong = "cut short";
    else if (!segment_unpack(header, r)) wrong = "a damaged header";
    else if (r->stored_bytes > (uint64_t)st.st_size) wrong = "cut short";
    else if (!grow(&d->stored, &d->stored_cap, r->stored_bytes) ||
             !grow(&d->raw, &d->raw_cap, r->raw_bytes))
        wrong = "no memory";
    else if (!read_all(fd, d->stored, r->stored_bytes, at + SEGMENT_RECORD)) wrong = "cut short";
    else if (!segment_decode(r, d->stored, d->raw)) wrong = "damaged data";
    return wrong;
}

static void item_of(const struct segment_record *r, unsigned char *raw, struct disk_item *out) {
    *out = (struct disk_item){r->kind, r->model, r->tenant, r->parent, r->hash, r->n_parts, {{0}}};
    for (int i = 0; i < r->n_parts; i++) {
        out->part[i] = (struct disk_part){raw, r->part_bytes[i]};
        raw += r->part_bytes[i];
    }
}

/* Exactly what is asked for: everything that names it, its first part, the sizes of the others. */
static bool is_wanted(const struct disk_item *got, const struct disk_item *want) {
    bool same = got->kind == want->kind && got->model == want->model &&
                got->tenant == want->tenant && got->parent == want->parent &&
                got->hash == want->hash && got->n_parts == want->n_parts;
    for (int i = 0; same && i < want->n_parts; i++)
        same = got->part[i].bytes == want->part[i].bytes;
    return same && memcmp(got->part[0].data, want->part[0].data, want->part[0].bytes) == 0;
}

static bool fetch_item(struct disk *d, const struct disk_item *want) {
    char path[PATH_BYTES];
    struct segment_record r;
    struct disk_item got;
    pthread_mutex_lock(&d->lock);
    const struct place p = *slot_of(d, want->hash);
    const struct file *f = p.file ? file_of(d, p.file) : NULL;
    if (f) path_of(d, f->name, path);
    pthread_mutex_unlock(&d->lock);
    if (!f) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { /* somebody cleared the folder, or another process kept the limit */
        pthread_mutex_lock(&d->lock);
        file_gone(d, p.file);
        pthread_mutex_unlock(&d->lock);
        return false;
    }
    const char *wrong = read_record(d, fd, p.at, &r);
    close(fd);
    if (!wrong) {
        item_of(&r, d->raw, &got);
        if (!is_wanted(&got, want)) wrong = "something else stands there";
    }
    pthread_mutex_lock(&d->lock);
    if (wrong) index_remove(d, want->hash);
    d->stats.n_damaged += wrong != NULL;
    d->stats.n_read += !wrong;
    pthread_mutex_unlock(&d->lock);
    if (wrong) {
        log_warn("disk cache: %s, byte %" PRIu64 ": %s; it is computed again", path, p.at, wrong);
        return false;
    }
    for (int i = 1; i < want->n_parts; i++)
        memcpy(want->part[i].data, got.part[i].data, got.part[i].bytes);
    return true;
}

static void do_fetch(struct disk *d, struct disk_fetch *f) {
    while (f->n_good < f->n && fetch_item(d, &f->item[f->n_good])) f->n_good++;
    void (*wake)(void *ctx) = f->wake;
    void *ctx = f->wake_ctx;
    pthread_mutex_lock(&d->lock);
    atomic_store(&f->done, true);
    pthread_cond_broadcast(&d->fetched);
    pthread_mutex_unlock(&d->lock);
    if (wake) wake(ctx);
}

struct each {
    struct disk *d;
    const unsigned char *data;
    uint32_t file;
    enum segment_kind kind;
    void (*fn)(void *ctx, const struct disk_item *item);
    void *ctx;
};

static bool each_record(void *ctx, const struct segment_record *r, uint64_t at) {
    struct each *x = ctx;
    struct disk *d = x->d;
    struct disk_item item;
    const struct place *p = slot_of(d, r->hash);
    if (r->kind != x->kind || p->file != x->file || p->at != at) return true;
    if (grow(&d->raw, &d->raw_cap, r->raw_bytes) &&
        segment_decode(r, x->data + at + SEGMENT_RECORD, d->raw)) {
        item_of(r, d->raw, &item);
        x->fn(x->ctx, &item);
    } else d->stats.n_damaged++;
    return true;
}

void disk_each(struct disk *d, enum segment_kind kind,
               void (*fn)(void *ctx, const struct disk_item *item), void *ctx) {
    char path[PATH_BYTES];
    for (size_t i = 0; i < d->n_files; i++) {
        struct os_map map;
        path_of(d, d->file[i].name, path);
        if (!os_map_open(&map, path, NULL)) continue;
        struct each x = {d, map.data, d->file[i].id, kind, fn, ctx};
        segment_scan(map.data, map.len, each_record, &x);
        os_map_close(&map);
    }
}

/* ---- the queue ---------------------------------------------------------------------------- */
/* Room for `size` bytes in one piece behind the tail; NULL: not now. Under the lock. */
static struct queued *ring_take(struct disk *d, uint64_t size) {
    uint64_t at = d->tail, skip = 0;
    if (at + size + sizeof(struct queued) > d->ring_size) skip = d->ring_size - at, at = 0;
    if (d->queued + skip + size > d->ring_size) return NULL;
    if (skip) ((struct queued *)(void *)(d->ring + d->tail))->size = 0;
    d->tail = at + size;
    d->queued += skip + size;
    return (struct queued *)(void *)(d->ring + at);
}

/* The oldest that waits; NULL: none. Under the lock. */
static struct queued *ring_front(struct disk *d) {
    if (d->queued == 0) return NULL;
    struct queued *q = (struct queued *)(void *)(d->ring + d->head);
    if (q->size) return q;
    d->queued -= d->ring_size - d->head;
    d->head = 0;
    return ring_front(d);
}

bool disk_has(struct disk *d, uint64_t hash) {
    pthread_mutex_lock(&d->lock);
    bool has = slot_of(d, hash)->file != 0;
    pthread_mutex_unlock(&d->lock);
    return has;
}

enum disk_put disk_put(struct disk *d, const struct disk_item *item) {
    struct segment_record r = {.kind = item->kind,
                               .model = item->model,
                               .tenant = item->tenant,
                               .parent = item->parent,
                               .hash = item->hash,
                               .n_parts = item->n_parts};
    for (int i = 0; i < item->n_parts; i++) {
        r.part_bytes[i] = (uint32_t)item->part[i].bytes;
        r.raw_bytes += item->part[i].bytes;
    }
    uint64_t size = (sizeof(struct queued) + r.raw_bytes + 15) / 16 * 16;
    pthread_mutex_lock(&d->lock);
    bool never = d->off || size + sizeof(struct queued) > d->ring_size;
    bool has = !never && slot_of(d, r.hash)->file;
    struct queued *q = never || has ? NULL : ring_take(d, size);
    if (q) {
        *q = (struct queued){.r = r, .size = size};
        unsigned char *to = (unsigned char *)(q + 1);
        for (int i = 0; i < item->n_parts; i++) {
            memcpy(to, item->part[i].data, item->part[i].bytes);
            to += item->part[i].bytes;
        }
        pthread_cond_signal(&d->work);
    }
    pthread_mutex_unlock(&d->lock);
    return never ? DISK_NEVER : has || q ? DISK_TAKEN : DISK_LATER;
}

void disk_fetch(struct disk *d, struct disk_fetch *f) {
    f->n_good = 0;
    f->next = NULL;
    atomic_store(&f->done, false);
    pthread_mutex_lock(&d->lock);
    struct disk_fetch **end = &d->fetches;
    while (*end) end = &(*end)->next;
    *end = f;
    pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->lock);
}

void disk_wait(struct disk *d, struct disk_fetch *f) {
    pthread_mutex_lock(&d->lock);
    while (!atomic_load(&f->done)) pthread_cond_wait(&d->fetched, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

void disk_stats(struct disk *d, struct disk_stats *out) {
    pthread_mutex_lock(&d->lock);
    *out = d->stats;
    out->bytes = d->bytes;
    out->queue_bytes = d->queued;
    out->n_files = d->n_files;
    out->n_records = d->n_places;
    out->off = d->off;
    pthread_mutex_unlock(&d->lock);
}

/* ---- the thread --------------------------------------------------------------------------- */
/* Writes the front of the queue; the lock is held, and released meanwhile. */
static void write_front(struct disk *d, struct queued *q) {
    bool off = d->off || slot_of(d, q->r.hash)->file;
    pthread_mutex_unlock(&d->lock);
    if (!off) write_record(d, q->r, (const unsigned char *)(q + 1));
    pthread_mutex_lock(&d->lock);
    d->head += q->size;
    d->queued -= q->size;
    if (d->queued == 0) d->head = d->tail = 0;
}

static void *disk_main(void *arg) {
    struct disk *d = arg;
    os_background_thread();
    pthread_mutex_lock(&d->lock);
    for (;;) {
        struct disk_fetch *f = d->fetches;
        struct queued *q = f ? NULL : ring_front(d);
        if (f) {
            d->fetches = f->next;
            pthread_mutex_unlock(&d->lock);
            do_fetch(d, f);
            pthread_mutex_lock(&d->lock);
        } else if (q) {
            write_front(d, q);
        } else if (d->stop) break;
        else pthread_cond_wait(&d->work, &d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------- */
static void disk_free(struct disk *d) {
    if (d->fd >= 0) close(d->fd);
    ZSTD_freeCCtx(d->zstd);
    mem_free(d->place);
    mem_free(d->file);
    mem_free(d->ring);
    mem_free(d->stored);
    mem_free(d->raw);
    pthread_cond_destroy(&d->work);
    pthread_cond_destroy(&d->fetched);
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

static bool start(struct disk *d, const struct disk_options *o, struct err *e) {
    enum { SLOTS = 1024 };
    if ((size_t)snprintf(d->dir, sizeof d->dir, "%s", o->dir) >= sizeof d->dir)
        return err_set(e, ERR_LIMIT, "the path of the cache folder is too long");
    d->place = mem_calloc(SLOTS, sizeof *d->place);
    d->n_slots = SLOTS;
    d->ring = mem_alloc(o->queue_bytes);
    d->zstd = ZSTD_createCCtx();
    if (!d->place || !d->ring || !d->zstd) return err_nomem(e, "the disk cache", o->queue_bytes);
    if (!disk_make_dir(o->dir, e) || !read_files(d, e)) return false;
    keep_limit(d);
    d->started = pthread_create(&d->thread, NULL, disk_main, d) == 0;
    return d->started || err_set(e, ERR_IO, "cannot start the disk cache's thread");
}

struct disk *disk_open(const struct disk_options *o, struct err *e) {
    struct disk *d = mem_calloc(1, sizeof *d);
    if (!d) {
        err_nomem(e, "the disk cache", sizeof *d);
        return NULL;
    }
    d->fd = -1;
    d->max_bytes = o->max_bytes;
    d->ring_size = o->queue_bytes / 16 * 16;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->work, NULL);
    pthread_cond_init(&d->fetched, NULL);
    if (start(d, o, e)) return d;
    disk_free(d);
    return NULL;
}

void disk_close(struct disk *d) {
    if (!d) return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    disk_free(d);
}
