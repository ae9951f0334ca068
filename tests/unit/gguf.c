/* src/gguf: what the writer writes the reader reads; every way in which a file can lie is refused;
 * truncations and mutations of a small file, with a guard page behind it; no memory; full disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gguf/gguf.h"
#include "quant/mix.h"

/* --- a GGUF put together by hand, so that it can be wrong --- */

struct bytes {
    unsigned char p[1 << 16];
    size_t len;
};

static void put(struct bytes *b, uint64_t v, int n) {
    for (int i = 0; i < n; i++) b->p[b->len++] = (unsigned char)(v >> (8 * i));
}
static void put_str(struct bytes *b, const char *s) {
    put(b, strlen(s), 8);
    memcpy(b->p + b->len, s, strlen(s));
    b->len += strlen(s);
}
static void put_key(struct bytes *b, const char *key, int kind) {
    put_str(b, key);
    put(b, (uint64_t)kind, 4);
}
static void put_head(struct bytes *b, unsigned version, uint64_t n_tensors, uint64_t n_kv) {
    b->len = 0;
    memcpy(b->p, "GGUF", 4);
    b->len = 4;
    put(b, version, 4);
    put(b, n_tensors, 8);
    put(b, n_kv, 8);
}
static void put_info(struct bytes *b, const char *name, int n_dims, const int64_t *dim, int type,
                     uint64_t offset) {
    put_str(b, name);
    put(b, (uint64_t)n_dims, 4);
    for (int i = 0; i < n_dims; i++) put(b, (uint64_t)dim[i], 8);
    put(b, (uint64_t)type, 4);
    put(b, offset, 8);
}
static void pad(struct bytes *b, size_t alignment) {
    while (b->len % alignment) b->p[b->len++] = 0;
}

/* One of every kind of value, three tensors. */
static void sample(struct bytes *b, unsigned version) {
    static const int size[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    put_head(b, version, 3, 15);
    put_key(b, "general.architecture", GGUF_STR);
    put_str(b, "llama");
    for (int k = GGUF_U8; k <= GGUF_F64; k++) {
        char key[16];
        if (k == GGUF_STR || k == GGUF_ARR) continue;
        snprintf(key, sizeof key, "scalar.%d", k);
        put_key(b, key, k);
        float f = 1.5f;
        double d = -2.5;
        uint64_t v = k == GGUF_BOOL ? 1 : (uint64_t)-3;
        if (k == GGUF_F32) memcpy(&v, &f, 4);
        if (k == GGUF_F64) memcpy(&v, &d, 8);
        put(b, v, size[k]);
    }
    put_key(b, "tokens", GGUF_ARR);
    put(b, GGUF_STR, 4);
    put(b, 3, 8);
    put_str(b, "a");
    put_str(b, "");
    put_str(b, "ccc");
    put_key(b, "scores", GGUF_ARR);
    put(b, GGUF_I16, 4);
    put(b, 4, 8);
    for (int i = 0; i < 4; i++) put(b, (uint64_t)(i - 2), 2);
    put_key(b, "general.alignment", GGUF_U32);
    put(b, 64, 4);
    put_info(b, "norm", 1, (const int64_t[]){8}, QUANT_F32, 0);
    put_info(b, "w.weight", 2, (const int64_t[]){32, 2}, QUANT_Q8_0, 64);
    put_info(b, "scalar", 0, NULL, QUANT_F32, 192);
    pad(b, 64);
    for (int i = 0; i < 196; i++) b->p[b->len++] = (unsigned char)i;
}

static struct gguf *open_bytes(const struct bytes *b, struct err *e) {
    *e = (struct err){0};
    return gguf_open_memory(b->p, b->len, e);
}

static void expect_refused(const struct bytes *b, enum err_code code, const char *words) {
    struct err e;
    assert_null(open_bytes(b, &e));
    if (e.code != code || !strstr(e.msg, words)) print_error("got %d: %s\n", e.code, e.msg);
    assert_int_equal(e.code, code);
    assert_non_null(strstr(e.msg, words));
}

/* --- reading --- */

static void test_read(void **state) {
    (void)state;
    static struct bytes b;
    for (unsigned version = 2; version <= 3; version++) {
        struct err e;
        sample(&b, version);
        struct gguf *g = open_bytes(&b, &e);
        assert_non_null(g);
        assert_int_equal(gguf_version(g), version);
        assert_int_equal(gguf_n_kv(g), 15);
        assert_int_equal(gguf_file_bytes(g), b.len);
        struct str s;
        assert_true(gguf_str(g, "general.architecture", &s, &e) && str_is(s, "llama"));
        const struct gguf_kv *kv = gguf_find(g, "tokens");
        assert_int_equal(kv->count, 3);
        assert_true(str_is(gguf_arr_str(kv, 0), "a") && gguf_arr_str(kv, 1).len == 0);
        assert_true(str_is(gguf_arr_str(kv, 2), "ccc"));
        kv = gguf_find(g, "scores");
        for (int i = 0; i < 4; i++) {
            assert_int_equal(gguf_arr_int(kv, (uint64_t)i), i - 2);
            assert_true(gguf_arr_real(kv, (uint64_t)i) == i - 2);
        }
        assert_int_equal(gguf_n_tensors(g), 3);
        const struct gguf_tensor *t = gguf_tensor_find(g, "w.weight");
        assert_true(t == gguf_tensor_at(g, 1));
        assert_int_equal(t->bytes, 68);
        assert_int_equal(((const unsigned char *)t->t.data)[0], 64);
        assert_int_equal(tensor_count(&gguf_tensor_find(g, "scalar")->t), 1);
        assert_null(gguf_tensor_find(g, "w"));
        assert_null(gguf_find(g, "scalar"));
        gguf_close(g);
    }
}

static void test_lenient_scalars(void **state) {
    (void)state;
    static struct bytes b;
    struct err e = {0};
    sample(&b, 3);
    struct gguf *g = open_bytes(&b, &e);
    static const struct {
        const char *key;
        int64_t value; /* INT64_MIN: not an integer, or out of range */
    } ints[] = {{"scalar.0", 253},       {"scalar.1", -3},         {"scalar.2", 65533},
                {"scalar.3", -3},        {"scalar.4", 4294967293}, {"scalar.5", -3},
                {"scalar.6", INT64_MIN}, {"scalar.7", INT64_MIN},  {"scalar.11", -3},
                {"tokens", INT64_MIN}};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        int64_t v = 77;
        e = (struct err){0};
        bool ok = gguf_int(g, ints[i].key, -10, INT64_C(1) << 40, &v, &e);
        assert_int_equal(ok, ints[i].value != INT64_MIN);
        assert_int_equal(v, ok ? ints[i].value : 77);
        assert_int_equal(e.code, ok ? ERR_NONE : ERR_FORMAT);
    }
    int64_t v = 5;
    double r = 0;
    bool flag = false;
    struct str s;
    e = (struct err){0};
    assert_false(gguf_int(g, "absent", 0, 9, &v, &e));
    assert_int_equal(e.code, ERR_NONE);
    assert_false(gguf_int(g, "scalar.1", 0, 9, &v, &e)); /* -3 */
    assert_non_null(strstr(e.msg, "expected 0 to 9, found -3"));
    assert_int_equal(v, 5);
    assert_true(gguf_real(g, "scalar.6", &r, &e) && r == 1.5);
    assert_true(gguf_real(g, "scalar.12", &r, &e) && r == -2.5);
    assert_true(gguf_real(g, "scalar.1", &r, &e) && r == -3);
    assert_true(gguf_bool(g, "scalar.7", &flag, &e) && flag);
    assert_false(gguf_bool(g, "scalar.6", &flag, &e));
    assert_false(gguf_str(g, "scalar.6", &s, &e));
    gguf_close(g);
}

/* A file by another writer (tools/oracle/gguf_file.py). */
static void test_vectors(void **state) {
    (void)state;
    struct err e = {0};
    struct gguf *g = gguf_open("tests/vectors/models/llama-half.gguf", &e);
    assert_non_null(g);
    assert_int_equal(gguf_tensor_find(g, "token_embd.weight")->t.dim[1], 288);
    assert_int_equal(gguf_find(g, "tokenizer.ggml.tokens")->count, 288);
    bool seen[QUANT_TYPES] = {0};
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) seen[gguf_tensor_at(g, i)->t.type] = true;
    assert_true(seen[QUANT_F32] && seen[QUANT_F16] && seen[QUANT_BF16]);
    gguf_close(g);
}

/* The mix of a file that the usual quantizer wrote is the mix that we would choose. */
static void test_reference_mix(void **state) {
    (void)state;
    char path[512];
    struct err e = {0};
    const char *shared = getenv("HOLDFAST_SHARED");
    snprintf(path, sizeof path, "%s/vectors/quant/Q4_K_M.gguf", shared ? shared : "../shared");
    struct gguf *g = gguf_open(path, &e);
    if (!g) skip();
    const struct quant_mix *mix = quant_mix_by_name("q4_k_m");
    bool tied = !gguf_tensor_find(g, "output.weight");
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        int layer = -1;
        sscanf(t->name, "blk.%d.", &layer);
        if (t->n_dims < 2) continue;
        assert_int_equal(t->t.type, quant_mix_type(mix, t->name, t->t.dim[0], layer, 3, tied));
    }
    gguf_close(g);
}

/* --- lies --- */

static void test_header_lies(void **state) {
    (void)state;
    static struct bytes b;
    static const struct {
        const char *start, *words;
    } others[] = {{"GGML", "starts with 'GGML'"},
                  {"version https://git-lfs.github.com/spec/v1", "git lfs pull"},
                  {"<!DOCTYPE html>", "web page"},
                  {"PK\003\004", "zip"},
                  {"\x40\0\0\0\0\0\0\0{\"a\":", "starts with"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        put_head(&b, 3, 0, 0);
        memcpy(b.p, others[i].start, strlen(others[i].start));
        expect_refused(&b, ERR_FORMAT, others[i].words);
    }
    for (unsigned version = 0; version < 6; version++) {
        put_head(&b, version, 0, 0);
        struct err e;
        struct gguf *g = open_bytes(&b, &e);
        assert_int_equal(g != NULL, version == 2 || version == 3);
        gguf_close(g);
    }
    put_head(&b, 0x03000000, 0, 0);
    expect_refused(&b, ERR_UNSUPPORTED, "big-endian");
    put_head(&b, 3, 1, 0);
    expect_refused(&b, ERR_FORMAT, "announces 1 tensors");
    put_head(&b, 3, 0, UINT64_MAX);
    expect_refused(&b, ERR_FORMAT, "keys");
    put_head(&b, 3, (uint64_t)INT64_MAX, 0);
    expect_refused(&b, ERR_FORMAT, "tensors");
}

static void test_key_lies(void **state) {
    (void)state;
    static struct bytes b;
    put_head(&b, 3, 0, 2);
    for (int i = 0; i < 2; i++) put_key(&b, "twice", GGUF_U8), put(&b, 1, 1);
    expect_refused(&b, ERR_FORMAT, "twice occurs twice");
    put_head(&b, 3, 0, 1);
    put_key(&b, "", GGUF_U8), put(&b, 1, 1);
    expect_refused(&b, ERR_FORMAT, "no name");
    put_head(&b, 3, 0, 1);
    put_key(&b, "kind", 13), put(&b, 1, 8);
    expect_refused(&b, ERR_FORMAT, "unknown value type 13");

    static const struct {
        uint64_t elem, count;
        enum err_code code;
        const char *words;
    } arrays[] = {
        {GGUF_ARR, 1, ERR_UNSUPPORTED, "array of arrays"},  {99, 1, ERR_FORMAT, "value type 99"},
        {GGUF_U64, UINT64_MAX / 8 + 2, ERR_LIMIT, "limit"}, {GGUF_U64, 1 << 30, ERR_FORMAT, "ends"},
        {GGUF_STR, 1 << 30, ERR_FORMAT, "cannot hold"},     {GGUF_STR, 2, ERR_FORMAT, "ends"},
        {GGUF_STR, UINT64_MAX, ERR_LIMIT, "limit"},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        put_head(&b, 3, 0, 1);
        put_key(&b, "list", GGUF_ARR);
        put(&b, arrays[i].elem, 4), put(&b, arrays[i].count, 8);
        put_str(&b, "one string, and that is all");
        expect_refused(&b, arrays[i].code, arrays[i].words);
    }
    put_head(&b, 3, 0, 1);
    put(&b, UINT64_MAX, 8), put(&b, 0, 8);
    expect_refused(&b, ERR_LIMIT, "limit");
    static const uint64_t bad_alignment[] = {0, 3, 48};
    for (int i = 0; i < 3; i++) {
        put_head(&b, 3, 0, 1);
        put_key(&b, "general.alignment", GGUF_U32), put(&b, bad_alignment[i], 4);
        expect_refused(&b, ERR_FORMAT, "power of two");
    }
    put_head(&b, 3, 0, 1);
    put_key(&b, "general.alignment", GGUF_U64), put(&b, 32, 8);
    expect_refused(&b, ERR_FORMAT, "expected u32");
}

static void test_tensor_lies(void **state) {
    (void)state;
    static struct bytes b;
    const int64_t big = INT64_C(1) << 40;
    static char long_name[65];
    memset(long_name, 'n', 64);
    const struct {
        const char *name;
        int n_dims;
        int64_t dim[5];
        int type;
        uint64_t offset;
        const char *words;
    } lies[] = {
        {long_name, 1, {32}, 0, 0, "less than 64"},
        {"t", 5, {1, 1, 1, 1, 1}, 0, 0, "at most 4"},
        {"t", 1, {-1}, 0, 0, "dimension 0"},
        {"t", 3, {big, big, big}, 0, 0, "2^63"},
        {"t", 4, {INT64_MAX, 1, 1, 2}, 0, 0, "2^63"},
        {"t", 1, {INT64_MAX}, 28, 0, "overflow"},
        {"t", 1, {33}, QUANT_Q8_0, 0, "multiples of 32"},
        {"t", 1, {32}, 4, 0, "type 4"},
        {"t", 1, {32}, 43, 0, "type 43"},
        {"t", 1, {32}, -5, 0, "type 43"},
        {"t", 1, {32}, 0, 16, "alignment"},
        {"t", 1, {32}, 0, 32, "data section"},
        {"t", 1, {33}, 0, 0, "data section"},
        {"t", 1, {32}, 0, UINT64_MAX - 31, "data section"},
        {"t", 2, {32, INT64_MAX / 64}, 0, 0, "data section"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        put_head(&b, 3, 1, 0);
        put_info(&b, lies[i].name, lies[i].n_dims, lies[i].dim, lies[i].type, lies[i].offset);
        pad(&b, 32);
        memset(b.p + b.len, 0, 128), b.len += 128;
        struct err e;
        assert_null(open_bytes(&b, &e));
        if (!strstr(e.msg, lies[i].words)) print_error("%zu: %s\n", i, e.msg);
        assert_non_null(strstr(e.msg, lies[i].words));
    }
    put_head(&b, 3, 2, 0);
    for (int i = 0; i < 2; i++) put_info(&b, "same", 1, (const int64_t[]){0}, 0, 0);
    expect_refused(&b, ERR_FORMAT, "same occurs twice");
    put_head(&b, 3, 1, 0);
    put_info(&b, "n.l", 1, (const int64_t[]){0}, 0, 0);
    b.p[24 + 8 + 1] = 0;
    expect_refused(&b, ERR_FORMAT, "NUL");
    /* Tolerated by the container: empty tensors, a type we cannot decode, padding that is missing.
     */
    put_head(&b, 3, 2, 0);
    put_info(&b, "empty", 3, (const int64_t[]){0, big, 3}, 0, 0);
    put_info(&b, "iq1_s", 1, (const int64_t[]){256}, 19, 0);
    pad(&b, 32);
    memset(b.p + b.len, 0, 50), b.len += 50;
    struct err e;
    struct gguf *g = open_bytes(&b, &e);
    assert_non_null(g);
    assert_int_equal(gguf_tensor_at(g, 0)->bytes, 0);
    assert_int_equal(gguf_tensor_at(g, 1)->bytes, 50);
    gguf_close(g);
}

/* With an alignment of 1, numbers that cannot be read in place are copied. */
static void test_unaligned(void **state) {
    (void)state;
    static struct bytes b;
    float f = 3.25f;
    put_head(&b, 3, 1, 1);
    put_key(&b, "general.alignment", GGUF_U32), put(&b, 1, 4);
    put_info(&b, "x", 1, (const int64_t[]){1}, QUANT_F32, 0);
    /* the data section begins right behind the infos */
    size_t offset = (uintptr_t)(b.p + b.len) % 4 == 0;
    b.len -= 8, put(&b, offset, 8);
    memcpy(b.p + b.len + offset, &f, 4), b.len += offset + 4;
    struct err e;
    struct gguf *g = open_bytes(&b, &e);
    assert_non_null(g);
    const float *x = gguf_tensor_at(g, 0)->t.data;
    assert_int_equal((uintptr_t)x % 4, 0);
    assert_true(*x == f);
    gguf_close(g);
}

/* --- truncation and mutation, right in front of a page that may not be read --- */

struct guarded {
    unsigned char *map, *end;
    size_t len;
};
static struct guarded guard_new(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (size + page - 1) / page;
    struct guarded g = {.len = (pages + 1) * page};
    g.map = mmap(NULL, g.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    g.end = g.map + pages * page;
    assert_int_equal(mprotect(g.end, page, PROT_NONE), 0);
    return g;
}

static volatile unsigned sink;

/* Opens and, when that works, touches all that the views promise. */
static bool open_and_read(const unsigned char *p, size_t len) {
    struct err e = {0};
    struct gguf *g = gguf_open_memory(p, len, &e);
    if (!g) {
        assert_int_not_equal(e.code, ERR_NONE);
        assert_true(e.msg[0] != 0);
        return false;
    }
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        for (uint64_t k = 0; k < kv->count; k++) {
            if (kv->elem == GGUF_STR) {
                struct str s = gguf_arr_str(kv, k);
                for (size_t c = 0; c < s.len; c++) sink += (unsigned char)s.p[c];
            } else {
                sink += (unsigned)gguf_arr_int(kv, k);
            }
        }
    }
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        const unsigned char *data = t->t.data;
        for (uint64_t k = 0; k < t->bytes; k++) sink += data[k];
        assert_true(gguf_tensor_find(g, t->name) == t);
    }
    gguf_close(g);
    return true;
}

static void test_truncation(void **state) {
    (void)state;
    static struct bytes b;
    sample(&b, 3);
    struct guarded guard = guard_new(b.len);
    for (size_t len = 0; len <= b.len; len++) {
        memcpy(guard.end - len, b.p, len);
        assert_int_equal(open_and_read(guard.end - len, len), len == b.len);
    }
    munmap(guard.map, guard.len);
}

static void test_mutation(void **state) {
    (void)state;
    static struct bytes b;
    struct rng rng = {42};
    sample(&b, 3);
    struct guarded guard = guard_new(b.len);
    unsigned char *p = guard.end - b.len;
    static const uint64_t nasty[] = {0,          1,         255,        0x7FFFFFFF,
                                     0xFFFFFFFF, INT64_MAX, UINT64_MAX, 1u << 30};
    int opened = 0;
    for (int round = 0; round < 20000; round++) {
        memcpy(p, b.p, b.len);
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--) {
            size_t at = rng_below(&rng, b.len - 8);
            uint64_t v = nasty[rng_below(&rng, 8)];
            switch (rng_below(&rng, 4)) {
            case 0:
                p[at] = (unsigned char)rng_u64(&rng);
                break;
            case 1:
                p[at] ^= (unsigned char)(1u << rng_below(&rng, 8));
                break;
            case 2:
                memcpy(p + at, &v, 8);
                break;
            case 3:
                memcpy(p + at, &v, 4);
                break;
            }
        }
        opened += open_and_read(p, b.len);
    }
    assert_true(opened > 100 && opened < 20000);
    munmap(guard.map, guard.len);
}

/* --- no memory --- */

static void test_no_memory(void **state) {
    (void)state;
    static struct bytes b;
    sample(&b, 3);
    int n = 1;
    for (;; n++) {
        struct err e = {0};
        mem_fail_after(n);
        struct gguf *g = gguf_open_memory(b.p, b.len, &e);
        mem_fail_after(0);
        if (g) {
            gguf_close(g);
            break;
        }
        assert_int_equal(e.code, ERR_NOMEM);
    }
    assert_true(n > 5);
}

/* --- writing --- */

static char dir[64];
static char *in_dir(const char *name) {
    static char path[4][128];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}
static int setup(void **state) {
    (void)state;
    strcpy(dir, "/tmp/holdfast-gguf-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}
static int teardown(void **state) {
    (void)state;
    return rmdir(dir); /* fails when a test left something behind */
}
static bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

static const float numbers[64] = {1, 2, 3};

static bool write_sample(struct gguf_writer *w, int shard, int n_shards) {
    const struct str words[] = {STR("x"), STR(""), STR("yz")};
    const uint16_t shorts[] = {1, 2, 65535};
    char name[2][16];
    snprintf(name[0], sizeof name[0], "a.%d", shard);
    snprintf(name[1], sizeof name[1], "b.%d", shard);
    bool ok = gguf_write_str(w, "general.architecture", STR("none")) && gguf_write_u32(w, "u", 7) &&
              gguf_write_f32(w, "f", 0.5f) && gguf_write_bool(w, "b", true) &&
              gguf_write_array(w, "words", GGUF_STR, words, 3) &&
              gguf_write_array(w, "shorts", GGUF_U16, shorts, 3);
    if (n_shards > 1)
        ok = ok && gguf_write_u32(w, "split.no", (uint32_t)shard) &&
             gguf_write_u32(w, "split.count", (uint32_t)n_shards) &&
             gguf_write_u32(w, "split.tensors.count", 2 * (uint32_t)n_shards);
    return ok && gguf_write_tensor(w, name[0], QUANT_F32, 2, (const int64_t[]){3, 1}) &&
           gguf_write_tensor(w, name[1], QUANT_F32, 1, (const int64_t[]){64}) &&
           gguf_write_data(w, numbers, 4) && gguf_write_data(w, numbers + 1, 8) &&
           gguf_write_data(w, numbers, sizeof numbers);
}

static void test_write(void **state) {
    (void)state;
    struct err e = {0};
    const char *path = in_dir("w.gguf");
    struct gguf_writer *w = gguf_write_open(path, &e);
    assert_non_null(w);
    assert_true(write_sample(w, 0, 1));
    assert_false(exists(path));
    assert_true(gguf_write_close(w, &e));
    assert_false(exists(in_dir("w.gguf.tmp")));
    struct gguf *g = gguf_open(path, &e);
    assert_non_null(g);
    gguf_prefetch(g);
    assert_string_equal(gguf_path(g), path);
    int64_t u = 0;
    double f = 0;
    bool flag = false;
    assert_true(gguf_int(g, "u", 0, 9, &u, &e) && u == 7);
    assert_true(gguf_real(g, "f", &f, &e) && f == 0.5);
    assert_true(gguf_bool(g, "b", &flag, &e) && flag);
    assert_true(str_is(gguf_arr_str(gguf_find(g, "words"), 2), "yz"));
    assert_int_equal(gguf_arr_int(gguf_find(g, "shorts"), 2), 65535);
    assert_memory_equal(gguf_tensor_find(g, "a.0")->t.data, numbers, 12);
    assert_memory_equal(gguf_tensor_find(g, "b.0")->t.data, numbers, sizeof numbers);
    assert_int_equal(gguf_tensor_find(g, "b.0")->offset, 32);
    gguf_close(g);
    unlink(path);
}

static void test_write_mistakes(void **state) {
    (void)state;
    struct err e = {0};
    const char *path = in_dir("m.gguf");
    struct gguf_writer *w = gguf_write_open(path, &e);
    gguf_write_tensor(w, "t", QUANT_F32, 1, (const int64_t[]){2});
    assert_true(gguf_write_data(w, numbers, 4));
    assert_false(gguf_write_close(w, &e)); /* 4 of 8 bytes */
    assert_non_null(strstr(e.msg, "4 of 8"));
    w = gguf_write_open(path, &e);
    gguf_write_tensor(w, "t", QUANT_F32, 1, (const int64_t[]){2});
    assert_false(gguf_write_data(w, numbers, 12));
    assert_false(gguf_write_data(w, numbers, 8)); /* the first error sticks */
    assert_false(gguf_write_close(w, &e));
    w = gguf_write_open(path, &e);
    gguf_write_abort(w);
    assert_false(exists(path) || exists(in_dir("m.gguf.tmp")));
    assert_null(gguf_write_open("/nonexistent/x.gguf", &e));
    assert_int_equal(e.code, ERR_IO);
    assert_null(gguf_open(dir, &e));
    assert_null(gguf_open(path, &e));
    assert_int_equal(e.code, ERR_IO);
}

static void test_write_full(void **state) {
    (void)state;
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    signal(SIGXFSZ, SIG_IGN);
    struct err e = {0};
    for (rlim_t limit = 0; limit < 600; limit += 100) {
        struct gguf_writer *w = gguf_write_open(in_dir("f.gguf"), &e);
        small.rlim_cur = limit;
        setrlimit(RLIMIT_FSIZE, &small);
        write_sample(w, 0, 1);
        e = (struct err){0};
        bool ok = gguf_write_close(w, &e);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_false(ok);
        assert_int_equal(e.code, ERR_IO);
        assert_non_null(strstr(e.msg, "cannot write"));
        assert_false(exists(in_dir("f.gguf")) || exists(in_dir("f.gguf.tmp")));
    }
    signal(SIGXFSZ, SIG_DFL);
}

static void test_write_no_memory(void **state) {
    (void)state;
    bool done = false;
    for (int n = 1; !done; n++) {
        struct err e = {0};
        mem_fail_after(n);
        struct gguf_writer *w = gguf_write_open(in_dir("n.gguf"), &e);
        if (w) {
            write_sample(w, 0, 1);
            done = gguf_write_close(w, &e);
        }
        mem_fail_after(0);
        assert_int_equal(e.code, done ? ERR_NONE : ERR_NOMEM);
        assert_int_equal(exists(in_dir("n.gguf")), done);
        assert_false(exists(in_dir("n.gguf.tmp")));
    }
    unlink(in_dir("n.gguf"));
}

/* --- shards --- */

static void write_shards(const char *prefix, int n) {
    for (int i = 0; i < n; i++) {
        char name[64];
        struct err e = {0};
        snprintf(name, sizeof name, "%s-%05d-of-%05d.gguf", prefix, i + 1, n);
        struct gguf_writer *w = gguf_write_open(in_dir(name), &e);
        assert_non_null(w);
        assert_true(write_sample(w, i, n));
        assert_true(gguf_write_close(w, &e));
    }
}

static void test_shards(void **state) {
    (void)state;
    struct err e = {0};
    write_shards("s", 3);
    struct gguf *g = gguf_open(in_dir("s-00001-of-00003.gguf"), &e);
    assert_non_null(g);
    assert_int_equal(gguf_n_shards(g), 3);
    assert_int_equal(gguf_n_tensors(g), 6);
    assert_int_equal(gguf_tensor_find(g, "b.2")->shard, 2);
    assert_memory_equal(gguf_tensor_find(g, "b.2")->t.data, numbers, sizeof numbers);
    gguf_close(g);
    assert_null(gguf_open(in_dir("s-00002-of-00003.gguf"), &e));
    assert_non_null(strstr(e.msg, "shard 2 of 3; open"));
    rename(in_dir("s-00001-of-00003.gguf"), in_dir("renamed.gguf"));
    assert_null(gguf_open(in_dir("renamed.gguf"), &e));
    assert_non_null(strstr(e.msg, "-00001-of-00003.gguf"));
    rename(in_dir("renamed.gguf"), in_dir("s-00001-of-00003.gguf"));
    /* a shard in the wrong place, a name twice, one missing */
    rename(in_dir("s-00002-of-00003.gguf"), in_dir("keep"));
    assert_null(gguf_open(in_dir("s-00001-of-00003.gguf"), &e));
    assert_int_equal(e.code, ERR_IO);
    assert_int_equal(link(in_dir("s-00003-of-00003.gguf"), in_dir("s-00002-of-00003.gguf")), 0);
    assert_null(gguf_open(in_dir("s-00001-of-00003.gguf"), &e));
    assert_non_null(strstr(e.msg, "expected split.no 1, found 2"));
    unlink(in_dir("s-00002-of-00003.gguf"));
    assert_int_equal(link(in_dir("s-00001-of-00003.gguf"), in_dir("s-00002-of-00003.gguf")), 0);
    assert_null(gguf_open(in_dir("s-00001-of-00003.gguf"), &e));
    assert_non_null(strstr(e.msg, "occurs twice"));
    static const char *const left[] = {"keep", "s-00001-of-00003.gguf", "s-00002-of-00003.gguf",
                                       "s-00003-of-00003.gguf"};
    for (int i = 0; i < 4; i++) unlink(in_dir(left[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_lenient_scalars),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_reference_mix),
        cmocka_unit_test(test_header_lies),
        cmocka_unit_test(test_key_lies),
        cmocka_unit_test(test_tensor_lies),
        cmocka_unit_test(test_unaligned),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_mutation),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_mistakes),
        cmocka_unit_test(test_write_full),
        cmocka_unit_test(test_write_no_memory),
        cmocka_unit_test(test_shards),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
