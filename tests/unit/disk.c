/* The disk cache: what was written is found again, and nothing else ever is: torn at every byte,
 * every byte changed, the disk full, files removed, two processes' files, the size limit. */
#include "cache/disk.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cache/disk_files.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { TOKENS = 16, BYTES = 200, MODEL = 7, TENANT = 9 };

static char top[64], dir[96];

static struct disk *open_disk(uint64_t max_bytes, uint64_t queue_bytes) {
    struct err e = {0};
    struct disk *d = disk_open(&(struct disk_options){dir, max_bytes, queue_bytes}, &e);
    if (!d) print_error("%s\n", e.msg);
    assert_non_null(d);
    return d;
}
static struct disk *open_small(void) {
    return open_disk(1 << 20, 1 << 20);
}

static void fresh_dir(void) {
    static int n;
    snprintf(dir, sizeof dir, "%s/%d/deep", top, n++);
}

/* Record i: odd ones are noise, even ones compress. */
struct record {
    int32_t token[TOKENS];
    unsigned char k[2][BYTES];
    struct disk_item item;
};
static void make(struct record *r, int i) {
    struct rng rng = {(uint64_t)i + 1};
    for (int k = 0; k < TOKENS; k++) r->token[k] = (int32_t)rng_below(&rng, 1000);
    for (int p = 0; p < 2; p++)
        for (int k = 0; k < BYTES; k++)
            r->k[p][k] = i % 2 ? (unsigned char)rng_below(&rng, 256) : (unsigned char)(i + p);
    r->item = (struct disk_item){
        .kind = SEGMENT_PAGE,
        .model = MODEL,
        .tenant = TENANT,
        .parent = (uint64_t)i,
        .hash = (uint64_t)(i + 1) * 1000,
        .n_parts = 3,
        .part = {{r->token, sizeof r->token}, {r->k[0], BYTES}, {r->k[1], BYTES - (size_t)i % 7}}};
}

static void put(struct disk *d, int from, int to) {
    for (int i = from; i < to; i++) {
        struct record r;
        make(&r, i);
        enum disk_put got;
        while ((got = disk_put(d, &r.item)) == DISK_LATER) usleep(100);
        assert_int_equal(got, DISK_TAKEN);
    }
}

static void drain(struct disk *d) {
    struct disk_stats s;
    do {
        usleep(200);
        disk_stats(d, &s);
    } while (s.queue_bytes);
}

/* Whether record i comes back, in which case it has to be the right one. */
static bool comes_back(struct disk *d, int i) {
    struct record want, got;
    struct disk_fetch f = {.n = 1};
    make(&want, i);
    got = want;
    got.item.part[0].data = got.token;
    got.item.part[1].data = got.k[0];
    got.item.part[2].data = got.k[1];
    memset(got.k, 0, sizeof got.k);
    f.item[0] = got.item;
    disk_fetch(d, &f);
    disk_wait(d, &f);
    if (!f.n_good) return false;
    for (int p = 0; p < 2; p++)
        assert_memory_equal(got.k[p], want.k[p], want.item.part[p + 1].bytes);
    return true;
}

/* The only file of the folder. */
static void only_file(char *path, size_t size) {
    struct disk_names l;
    assert_true(disk_names_read(&l, dir, NULL));
    assert_int_equal(l.n, 1);
    snprintf(path, size, "%s/%s", dir, l.name[0]);
    disk_names_free(&l);
}

static size_t read_file(const char *path, unsigned char *out, size_t max) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(out, 1, max, f);
    fclose(f);
    return n;
}
static void write_file(const char *path, const unsigned char *p, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

static void test_comes_back(void **state) {
    (void)state;
    enum { N = 300 };
    struct stat st;
    char path[256];
    fresh_dir();
    struct disk *d = open_small();
    assert_false(comes_back(d, 0));
    put(d, 0, N);
    put(d, 0, N); /* once more: nothing is written twice */
    drain(d);
    struct disk_stats s;
    disk_stats(d, &s);
    assert_int_equal(s.n_written, N);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) assert_true(comes_back(d, i));
        assert_false(comes_back(d, N));
        disk_close(d);
        if (!round) d = open_small();
    }
    only_file(path, sizeof path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

/* What is asked for differs in one thing from what is there. */
static void test_only_what_is_asked_for(void **state) {
    (void)state;
    fresh_dir();
    struct disk *d = open_small();
    for (int what = 0; what < 6; what++) {
        struct record r;
        make(&r, what);
        put(d, what, what + 1);
        drain(d);
        struct disk_fetch f = {.n = 1, .item = {r.item}};
        struct disk_item *x = &f.item[0];
        if (what == 0) x->model++;
        if (what == 1) x->tenant++;
        if (what == 2) x->parent++;
        if (what == 3) r.token[TOKENS - 1]++;
        if (what == 4) x->part[2].bytes--;
        if (what == 5) x->n_parts--;
        disk_fetch(d, &f);
        disk_wait(d, &f);
        assert_int_equal(f.n_good, 0);
    }
    disk_close(d);
}

static int n_back(int n) {
    struct disk *d = open_small();
    int got = 0;
    for (int i = 0; i < n; i++) got += comes_back(d, i);
    disk_close(d);
    return got;
}

static void test_torn_at_every_byte(void **state) {
    (void)state;
    enum { N = 6 };
    static unsigned char bytes[1 << 16];
    char path[256];
    fresh_dir();
    struct disk *d = open_small();
    put(d, 0, N);
    disk_close(d);
    only_file(path, sizeof path);
    size_t len = read_file(path, bytes, sizeof bytes);
    assert_int_equal(n_back(N), N);
    int last = 0;
    for (size_t n = 0; n <= len; n++) {
        write_file(path, bytes, n); /* at n = 0 the reader removes it */
        int got = n_back(N);
        assert_true(got == last || got == last + 1);
        last = got;
    }
    assert_int_equal(last, N);
    /* Torn, and something new behind it: in a file of its own. */
    write_file(path, bytes, len - 1);
    d = open_small();
    put(d, N, N + 2);
    disk_close(d);
    assert_int_equal(n_back(N + 2), N + 1);
}

static void test_every_byte_changed(void **state) {
    (void)state;
    enum { N = 4 };
    static unsigned char bytes[1 << 16];
    char path[256];
    fresh_dir();
    struct disk *d = open_small();
    put(d, 0, N);
    disk_close(d);
    only_file(path, sizeof path);
    size_t len = read_file(path, bytes, sizeof bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= (unsigned char)(1 + i % 255);
        write_file(path, bytes, len);
        bytes[i] ^= (unsigned char)(1 + i % 255);
        assert_in_range(n_back(N), 0, N); /* the rest is checked in comes_back */
    }
    write_file(path, bytes, len);
    assert_int_equal(n_back(N), N);
    /* Damage while the store is open: a miss, counted, and the others are there. */
    d = open_small();
    bytes[SEGMENT_HEADER + SEGMENT_RECORD + 3]++;
    write_file(path, bytes, len);
    for (int i = 0; i < N; i++) assert_int_equal(comes_back(d, i), i != 0);
    assert_false(disk_has(d, 1000));
    struct disk_stats s;
    disk_stats(d, &s);
    assert_int_equal(s.n_damaged, 1);
    put(d, 0, 1); /* computed again, stored again */
    drain(d);
    assert_true(comes_back(d, 0));
    disk_close(d);
}

static void test_disk_full(void **state) {
    (void)state;
    enum { N = 100 };
    struct rlimit old, small = {20000, RLIM_INFINITY};
    struct disk_stats s;
    fresh_dir();
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    struct disk *d = open_small();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct record r;
    for (int i = 0; i < N; i++) {
        make(&r, 2 * i + 1);
        disk_put(d, &r.item);
    }
    drain(d);
    disk_stats(d, &s);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(s.off);
    assert_in_range(s.n_written, 10, N - 10);
    assert_int_equal(disk_put(d, &r.item), DISK_NEVER);
    for (int i = 0; i < (int)s.n_written; i++) assert_true(comes_back(d, 2 * i + 1));
    disk_close(d);
    /* What is there ends at a whole record. */
    d = open_small();
    uint64_t written = s.n_written;
    disk_stats(d, &s);
    assert_int_equal(s.n_damaged, 0);
    assert_int_equal(s.n_records, written);
    disk_close(d);
}

static void test_size_limit(void **state) {
    (void)state;
    enum { N = 2000, MAX_BYTES = 100000 };
    struct disk_stats s;
    fresh_dir();
    struct disk *d = open_disk(MAX_BYTES, 1 << 16);
    put(d, 0, N);
    drain(d);
    for (int round = 0; round < 2; round++) {
        disk_stats(d, &s);
        assert_true(s.bytes <= MAX_BYTES);
        assert_true(s.bytes > MAX_BYTES / 2);
        int first = N;
        while (first > 0 && comes_back(d, first - 1)) first--;
        assert_int_equal(s.n_records, N - first); /* the newest are there, in one piece */
        disk_close(d);
        d = open_disk(MAX_BYTES, 1 << 16);
    }
    disk_close(d);
    d = open_disk(MAX_BYTES / 4, 1 << 16); /* a smaller limit holds at once */
    disk_stats(d, &s);
    assert_true(s.bytes <= MAX_BYTES / 4);
    assert_true(comes_back(d, N - 1));
    disk_close(d);
}

static void test_full_queue(void **state) {
    (void)state;
    fresh_dir();
    struct disk *d = open_disk(1 << 20, 4096);
    struct record r;
    int later = 0, taken = 0;
    for (int i = 0; i < 2000; i++) {
        make(&r, i);
        enum disk_put got = disk_put(d, &r.item);
        assert_true(got != DISK_NEVER);
        later += got == DISK_LATER;
        taken += got == DISK_TAKEN;
    }
    assert_true(later > 0);
    drain(d);
    struct disk_stats s;
    disk_stats(d, &s);
    assert_int_equal(s.n_written, taken);
    static unsigned char large[5000];
    r.item.hash = 5;
    r.item.part[1] = (struct disk_part){large, sizeof large};
    assert_int_equal(disk_put(d, &r.item), DISK_NEVER);
    disk_close(d);
}

/* Files that vanish under an open store: misses, and new files. */
static void test_cleared_meanwhile(void **state) {
    (void)state;
    uint64_t bytes;
    fresh_dir();
    struct disk *d = open_small();
    put(d, 0, 20);
    drain(d);
    assert_true(disk_clear(dir, &bytes, NULL));
    assert_true(bytes > 1000);
    for (int i = 0; i < 20; i++) assert_false(comes_back(d, i));
    put(d, 0, 10);
    drain(d);
    assert_true(disk_clear(dir, &bytes, NULL));
    put(d, 10, 20); /* noticed by the write */
    drain(d);
    for (int i = 10; i < 20; i++) assert_true(comes_back(d, i));
    disk_close(d);
    assert_int_equal(n_back(20), 10);
}

static void count_entry(void *ctx, const struct disk_item *item) {
    int *n = ctx;
    assert_int_equal(item->hash, ++*n);
    assert_int_equal(item->part[0].bytes, 4);
    assert_memory_equal(item->part[0].data, n, 4);
}

static void count_file(void *ctx, const struct disk_file *f) {
    uint64_t *sum = ctx;
    sum[0] += f->n_pages;
    sum[1] += f->n_entries;
    assert_true(f->whole == f->bytes);
    assert_true(f->created_ns > 0);
}

static void test_each_in_order(void **state) {
    (void)state;
    fresh_dir();
    struct disk *d = open_small();
    for (int i = 1; i <= 50; i++) {
        struct disk_item item = {
            .kind = SEGMENT_LEDGER, .hash = (uint64_t)i, .n_parts = 1, .part = {{&i, 4}}};
        assert_int_equal(disk_put(d, &item), DISK_TAKEN);
        put(d, i, i + 1);
        if (i == 25) {
            disk_close(d);
            d = open_small();
        }
    }
    disk_close(d);
    d = open_small();
    int n = 0;
    disk_each(d, SEGMENT_LEDGER, count_entry, &n);
    assert_int_equal(n, 50);
    disk_close(d);
    uint64_t sum[2] = {0};
    assert_true(disk_list(dir, count_file, sum, NULL));
    assert_int_equal(sum[0], 50);
    assert_int_equal(sum[1], 50);
}

static void test_no_folder(void **state) {
    (void)state;
    struct err e = {0};
    fresh_dir();
    struct disk_options o = {"/proc/nowhere/x", 1 << 20, 1 << 16};
    assert_null(disk_open(&o, &e));
    assert_int_equal(e.code, ERR_IO);
    uint64_t bytes;
    assert_true(disk_clear(dir, &bytes, &e)); /* nothing there: nothing to do */
    assert_int_equal(bytes, 0);
}

static void test_no_memory(void **state) {
    (void)state;
    fresh_dir();
    struct disk *d = open_small();
    put(d, 0, 20);
    disk_close(d);
    bool done = false;
    for (int n = 1; !done; n++) {
        struct err e = {0};
        mem_fail_after(n);
        d = disk_open(&(struct disk_options){dir, 1 << 20, 1 << 16}, &e);
        for (int i = 0; d && i < 20; i++) comes_back(d, i);
        struct record r;
        make(&r, 20);
        if (d) disk_put(d, &r.item);
        disk_close(d);
        done = mem_fail_after(0) > 0;
    }
    assert_true(n_back(21) >= 20);
}

int main(void) {
    snprintf(top, sizeof top, "/tmp/holdfast-disk.XXXXXX");
    if (!mkdtemp(top)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),         cmocka_unit_test(test_only_what_is_asked_for),
        cmocka_unit_test(test_torn_at_every_byte), cmocka_unit_test(test_every_byte_changed),
        cmocka_unit_test(test_disk_full),          cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_full_queue),         cmocka_unit_test(test_cleared_meanwhile),
        cmocka_unit_test(test_each_in_order),      cmocka_unit_test(test_no_folder),
        cmocka_unit_test(test_no_memory),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command) ? 1 : rc;
}
