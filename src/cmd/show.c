/* `holdfast show FILE`: what a GGUF is, its metadata and tensors, totals per type, and the memory
 * that weights and context take. Reads the file's head only, whatever its size. Everything that
 * comes from the file is printed with control characters escaped. */
#include "cmd/cmd.h"
#include "base/json.h"
#include "base/str.h"
#include "gguf/gguf.h"
#include "model/describe.h"
#include "quant/mix.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    NAME_WIDTH = 72,
    MIN_WIDTH = 60,
    DEFAULT_WIDTH = 100,
    ALL_WIDTH = 1 << 30,
    JSON_ELEMENTS = 16
};

struct options {
    bool all, tensors, json;
    int64_t n_ctx;
    const char *kv_type[2]; /* K, V */
};

static const struct opt opts[] = {
    {"-c, --ctx-size", "N", OPT_INT, offsetof(struct options, n_ctx),
     "memory for a context of N tokens (default: a few sizes)"},
    {"-ctk, --cache-type-k", "TYPE", OPT_STR, offsetof(struct options, kv_type[0]),
     "K cache: f32, f16, q8_0, q4_0 (auto: q8_0; f16 where K has a bias)"},
    {"-ctv, --cache-type-v", "TYPE", OPT_STR, offsetof(struct options, kv_type[1]),
     "V cache: f32, f16, q8_0, q4_0 (auto: q8_0)"},
    {"--tensors", NULL, OPT_FLAG, offsetof(struct options, tensors), "list every tensor"},
    {"--all", NULL, OPT_FLAG, offsetof(struct options, all),
     "long strings and arrays in full, and every tensor"},
    {"--json", NULL, OPT_FLAG, offsetof(struct options, json), "print JSON"},
};

/* --- pieces of text --- */

/* Appends text from the file, at most `max` characters of it, safe to print and on one line. */
static void add_escaped(struct buf *b, struct str s, size_t max) {
    size_t at = 0;
    for (size_t shown = 0; at < s.len && shown < max; shown++) {
        uint32_t cp;
        size_t n = utf8_decode(s.p + at, s.len - at, &cp);
        bool invalid = cp == 0xFFFD && n == 1, control = cp < 32 || (cp >= 127 && cp < 160);
        bool turns = cp >= 0x202A && cp <= 0x202E; /* changes the direction of writing */
        if (cp == '\n') buf_cstr(b, "\\n");
        else if (cp == '\t') buf_cstr(b, "\\t");
        else if (invalid) buf_printf(b, "\\x%02X", (unsigned char)s.p[at]);
        else if (control || turns) buf_printf(b, "\\u%04X", cp);
        else buf_add(b, s.p + at, n);
        at += n;
    }
    if (at < s.len) buf_cstr(b, "...");
}

static void add_element(struct buf *b, const struct gguf_kv *kv, uint64_t i, size_t max) {
    enum gguf_kind k = kv->elem;
    if (k == GGUF_STR) {
        buf_char(b, '"');
        add_escaped(b, gguf_arr_str(kv, i), max);
        buf_char(b, '"');
    } else if (k == GGUF_F32) buf_printf(b, "%.7g", gguf_arr_real(kv, i));
    else if (k == GGUF_F64) buf_printf(b, "%.15g", gguf_arr_real(kv, i));
    else if (k == GGUF_BOOL) buf_cstr(b, gguf_arr_int(kv, i) ? "true" : "false");
    else buf_printf(b, "%" PRId64, gguf_arr_int(kv, i));
}

/* Appends a key's value within about `width` characters. */
static void add_value(struct buf *b, const struct gguf_kv *kv, size_t width) {
    if (kv->kind != GGUF_ARR) {
        add_element(b, kv, 0, width);
        return;
    }
    size_t start = b->len;
    uint64_t i = 0;
    buf_char(b, '[');
    for (; i < kv->count && !b->failed; i++) {
        size_t before = b->len;
        if (i) buf_cstr(b, ", ");
        add_element(b, kv, i, width);
        if (b->len - start + 5 > width && i > 0) {
            b->len = before;
            break;
        }
    }
    buf_cstr(b, i < kv->count ? ", ...]" : "]");
}

static const char *human_bytes(uint64_t n, char out[32]) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)n;
    int u = 0;
    while (v >= 1024 && u < 4) v /= 1024, u++;
    snprintf(out, 32,
             u == 0    ? "%.0f %s"
             : v < 10  ? "%.2f %s"
             : v < 100 ? "%.1f %s"
                       : "%.0f %s",
             v, unit[u]);
    return out;
}

static const char *human_count(uint64_t n, char out[32]) {
    static const char *const unit[] = {"", " K", " M", " B", " T"};
    double v = (double)n;
    int u = 0;
    while (v >= 1000 && u < 4) v /= 1000, u++;
    snprintf(out, 32, u == 0 ? "%.0f%s" : v < 100 ? "%.2f%s" : "%.1f%s", v, unit[u]);
    return out;
}

static void dims_text(const struct gguf_tensor *t, char out[96]) {
    int at = snprintf(out, 96, "%" PRId64, t->t.dim[0]);
    for (int i = 1; i < t->n_dims && at > 0 && at < 96; i++)
        at += snprintf(out + at, 96 - (size_t)at, " x %" PRId64, t->t.dim[i]);
}

static size_t terminal_width(void) {
    struct winsize w;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0) return DEFAULT_WIDTH;
    return w.ws_col < MIN_WIDTH ? MIN_WIDTH : w.ws_col;
}

/* --- totals --- */

struct total {
    int type;
    uint64_t tensors, elements, bytes;
};

/* Totals per type, the largest first; returns how many, and the sum in all. */
static int sum_types(const struct gguf *g, struct total by[QUANT_TYPES], struct total *all) {
    struct total of[QUANT_TYPES] = {0};
    *all = (struct total){0};
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        struct total *o = &of[t->t.type];
        *o = (struct total){t->t.type, o->tensors + 1,
                            o->elements + (t->bytes ? (uint64_t)tensor_count(&t->t) : 0),
                            o->bytes + t->bytes};
    }
    int n = 0;
    for (int i = 0; i < QUANT_TYPES; i++) {
        if (!of[i].tensors) continue;
        int at = n++;
        for (; at > 0 && by[at - 1].bytes < of[i].bytes; at--) by[at] = by[at - 1];
        by[at] = of[i];
        all->tensors += of[i].tensors;
        all->elements += of[i].elements;
        all->bytes += of[i].bytes;
    }
    return n;
}

/* --- the model in a few lines --- */

/* An integer key below the architecture's name, or 0; of an array its first nonzero element. */
static int64_t arch_int(const struct gguf *g, const char *name) {
    struct str arch = {0};
    char key[160];
    gguf_str(g, "general.architecture", &arch, NULL);
    snprintf(key, sizeof key, "%.*s.%s", (int)(arch.len < 64 ? arch.len : 64), arch.p, name);
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv || kv->elem == GGUF_STR) return 0;
    for (uint64_t i = 0; i < kv->count; i++)
        if (gguf_arr_int(kv, i) != 0) return gguf_arr_int(kv, i);
    return 0;
}

static void add_fact(struct buf *b, int64_t n, const char *what) {
    if (n) buf_printf(b, ", %" PRId64 " %s", n, what);
}

static void add_heads(struct buf *b, const struct gguf *g) {
    int64_t heads = arch_int(g, "attention.head_count"), dim = arch_int(g, "attention.key_length");
    int64_t kv = arch_int(g, "attention.head_count_kv");
    if (!heads) return;
    if (!dim) dim = arch_int(g, "embedding_length") / heads;
    buf_printf(b, ", %" PRId64 " heads", heads);
    if (kv && kv != heads) buf_printf(b, " (%" PRId64 " KV)", kv);
    buf_printf(b, " of %" PRId64, dim);
}

/* The name the quantizer gave the file's mix of types, or NULL. */
static const char *file_type(const struct gguf *g) {
    int64_t id;
    bool there = gguf_int(g, "general.file_type", 0, INT32_MAX, &id, NULL);
    return there ? quant_file_type_name(id) : NULL;
}

static void add_summary(struct buf *b, const struct gguf *g) {
    struct str s = {0};
    char n[32];
    struct total by[QUANT_TYPES], all;
    int types = sum_types(g, by, &all);
    const struct gguf_kv *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    buf_printf(b, "%s\n", gguf_path(g));
    if (gguf_str(g, "general.name", &s, NULL)) {
        buf_cstr(b, "  name          ");
        add_escaped(b, s, NAME_WIDTH);
        buf_char(b, '\n');
    }
    if (gguf_str(g, "general.type", &s, NULL) && !str_is(s, "model")) {
        buf_cstr(b, "  kind          ");
        add_escaped(b, s, NAME_WIDTH);
        buf_cstr(b, " (not a language model)\n");
    }
    if (gguf_str(g, "general.architecture", &s, NULL)) {
        buf_cstr(b, "  architecture  ");
        add_escaped(b, s, NAME_WIDTH);
        add_fact(b, arch_int(g, "block_count"), "layers");
        add_fact(b, arch_int(g, "embedding_length"), "wide");
        add_heads(b, g);
        add_fact(b, arch_int(g, "feed_forward_length"), "feed-forward");
        add_fact(b, arch_int(g, "expert_count"), "experts");
        add_fact(b, arch_int(g, "expert_used_count"), "used");
        buf_char(b, '\n');
    }
    if (tokens) buf_printf(b, "  vocabulary    %" PRIu64 " tokens\n", tokens->count);
    if (arch_int(g, "context_length"))
        buf_printf(b, "  context       %" PRId64 " tokens trained\n",
                   arch_int(g, "context_length"));
    if (types)
        buf_printf(b, "  parameters    %s of %.2f bits", human_count(all.elements, n),
                   8 * (double)all.bytes / (double)all.elements);
    const char *mix = file_type(g);
    if (types && mix) buf_printf(b, ", %s", mix);
    if (types) buf_char(b, '\n');
    buf_printf(b, "  file          %s", human_bytes(gguf_file_bytes(g), n));
    if (gguf_n_shards(g) > 1) buf_printf(b, " in %d files", gguf_n_shards(g));
    buf_printf(b, ", GGUF v%" PRIu32 ", %" PRIu64 " keys, %" PRIu64 " tensors\n", gguf_version(g),
               gguf_n_kv(g), gguf_n_tensors(g));
}

/* --- sections --- */

/* Context sizes to show: the one asked for, else a few up to the trained one. */
static int context_sizes(const struct gguf *g, const struct options *o, int64_t out[4]) {
    int64_t trained = arch_int(g, "context_length");
    int n = 0;
    if (o->n_ctx) {
        out[n++] = o->n_ctx;
        return n;
    }
    for (int64_t size = 4096; size <= 65536 && size < trained; size *= 4) out[n++] = size;
    if (trained) out[n++] = trained;
    return n;
}

static void add_memory(struct buf *b, const struct gguf *g, const struct options *o) {
    struct total by[QUANT_TYPES], all;
    char n[32], m[32];
    int64_t sizes[4];
    sum_types(g, by, &all);
    buf_printf(b, "\nmemory\n  weights       %s\n", human_bytes(all.bytes, n));
    int count = context_sizes(g, o, sizes);
    for (int i = 0; i < count; i++) {
        uint64_t kv;
        struct err why = {0};
        if (!describe_kv_bytes(g, sizes[i], o->kv_type[0], o->kv_type[1], &kv, &why)) {
            buf_printf(b, "  context       unknown: %s\n", why.msg);
            break;
        }
        if (i == 0)
            buf_printf(b, "  context       K %s, V %s    with weights\n", o->kv_type[0],
                       o->kv_type[1]);
        buf_printf(b, "  %10" PRId64 "  %12s    %12s\n", sizes[i], human_bytes(kv, n),
                   human_bytes(kv + all.bytes, m));
    }
}

static void add_types(struct buf *b, const struct gguf *g) {
    struct total by[QUANT_TYPES], all;
    char n[32], m[32];
    int count = sum_types(g, by, &all);
    if (count) buf_cstr(b, "\ntypes       tensors   parameters         size   share   bits\n");
    for (int i = 0; i < count; i++)
        buf_printf(b, "  %-8s %8" PRIu64 " %12s %12s %6.1f%% %6.2f%s\n",
                   quant_info(by[i].type)->name, by[i].tensors, human_count(by[i].elements, n),
                   human_bytes(by[i].bytes, m),
                   100 * (double)by[i].bytes / (double)(all.bytes ? all.bytes : 1),
                   8.0 * quant_info(by[i].type)->bytes / quant_info(by[i].type)->block,
                   quant_info(by[i].type)->decode ? "" : "  (not supported)");
}

static void add_metadata(struct buf *b, const struct gguf *g, size_t width) {
    int name_width = 0;
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) {
        size_t len = gguf_kv_at(g, i)->key.len;
        if (len <= NAME_WIDTH && (int)len > name_width) name_width = (int)len;
    }
    buf_cstr(b, "\nmetadata\n");
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        char kind[48];
        if (kv->kind == GGUF_ARR)
            snprintf(kind, sizeof kind, "%s[%" PRIu64 "]", gguf_kind_name(kv->elem), kv->count);
        else snprintf(kind, sizeof kind, "%s", gguf_kind_name(kv->kind));
        size_t start = b->len;
        buf_cstr(b, "  ");
        add_escaped(b, kv->key, NAME_WIDTH);
        int gap = name_width + 2 - (int)(b->len - start);
        buf_printf(b, "%*s  %-14s  ", gap > 0 ? gap : 0, "", kind);
        size_t used = b->len - start + 8;
        add_value(b, kv, width > used + 20 ? width - used : 20);
        buf_char(b, '\n');
    }
}

static void add_tensors(struct buf *b, const struct gguf *g) {
    int widest = 8;
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        int len = (int)strlen(gguf_tensor_at(g, i)->name);
        if (len > widest) widest = len;
    }
    buf_printf(b, "\n%-*s  %-8s  %24s  %12s", widest + 2, "tensors", "type", "shape", "size");
    buf_cstr(b, gguf_n_shards(g) > 1 ? "  file\n" : "\n");
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        char dims[96], size[32];
        dims_text(t, dims);
        size_t start = b->len;
        buf_cstr(b, "  ");
        add_escaped(b, str_of(t->name), NAME_WIDTH);
        int gap = widest + 2 - (int)(b->len - start);
        buf_printf(b, "%*s  %-8s  %24s  %12s", gap > 0 ? gap : 0, "", quant_info(t->t.type)->name,
                   dims, human_bytes(t->bytes, size));
        if (gguf_n_shards(g) > 1) buf_printf(b, "  %d", t->shard + 1);
        buf_char(b, '\n');
    }
}

/* --- JSON --- */

static json_t *escaped_json(struct str s) {
    json_t *v = json_stringn(s.p ? s.p : "", s.len);
    if (v) return v;
    struct buf b = {0}; /* not UTF-8 */
    add_escaped(&b, s, SIZE_MAX);
    v = json_stringn(b.p ? b.p : "", b.len);
    buf_free(&b);
    return v;
}

static json_t *json_element(const struct gguf_kv *kv, uint64_t i) {
    switch (kv->elem) {
    case GGUF_STR:
        return escaped_json(gguf_arr_str(kv, i));
    case GGUF_F32:
    case GGUF_F64:
        return json_real(gguf_arr_real(kv, i)); /* NULL, so null, unless finite */
    case GGUF_BOOL:
        return json_boolean(gguf_arr_int(kv, i));
    default:
        return json_integer(gguf_arr_int(kv, i));
    }
}

static json_t *json_metadata(const struct gguf *g, bool all) {
    json_t *out = json_object();
    struct buf key = {0};
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        json_t *v = NULL;
        if (kv->kind == GGUF_ARR) {
            v = json_array();
            for (uint64_t k = 0; k < kv->count && (all || k < JSON_ELEMENTS); k++) {
                json_t *one = json_element(kv, k);
                json_array_append_new(v, one ? one : json_null());
            }
            if (!all && kv->count > JSON_ELEMENTS)
                v = json_pack("{s:s, s:I, s:o}", "elements", gguf_kind_name(kv->elem), "count",
                              (json_int_t)kv->count, "first", v);
        } else {
            v = json_element(kv, 0);
        }
        buf_clear(&key);
        add_escaped(&key, kv->key, SIZE_MAX);
        json_object_set_new(out, key.p ? key.p : "", v ? v : json_null());
    }
    buf_free(&key);
    return out;
}

static json_t *json_tensors(const struct gguf *g) {
    json_t *out = json_array();
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        json_t *dims = json_array();
        for (int d = 0; d < t->n_dims; d++) json_array_append_new(dims, json_integer(t->t.dim[d]));
        json_array_append_new(out, json_pack("{s:o, s:s, s:o, s:I, s:I, s:i}", "name",
                                             escaped_json(str_of(t->name)), "type",
                                             quant_info(t->t.type)->name, "shape", dims, "bytes",
                                             (json_int_t)t->bytes, "offset", (json_int_t)t->offset,
                                             "shard", t->shard));
    }
    return out;
}

static json_t *json_memory(const struct gguf *g, const struct options *o, uint64_t weights) {
    int64_t sizes[4];
    json_t *list = json_array();
    int count = context_sizes(g, o, sizes);
    for (int i = 0; i < count; i++) {
        uint64_t kv;
        if (describe_kv_bytes(g, sizes[i], o->kv_type[0], o->kv_type[1], &kv, NULL))
            json_array_append_new(list, json_pack("{s:I, s:I}", "n_ctx", (json_int_t)sizes[i],
                                                  "kv_bytes", (json_int_t)kv));
    }
    return json_pack("{s:I, s:s, s:s, s:o}", "weight_bytes", (json_int_t)weights, "type_k",
                     o->kv_type[0], "type_v", o->kv_type[1], "contexts", list);
}

static bool add_json(struct buf *b, const struct gguf *g, const struct options *o) {
    struct total by[QUANT_TYPES], all;
    int count = sum_types(g, by, &all);
    json_t *types = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(
            types, json_pack("{s:s, s:I, s:I, s:I}", "type", quant_info(by[i].type)->name,
                             "tensors", (json_int_t)by[i].tensors, "parameters",
                             (json_int_t)by[i].elements, "bytes", (json_int_t)by[i].bytes));
    json_t *out = json_pack(
        "{s:o, s:I, s:i, s:i, s:I, s:o, s:o, s:o}", "path", escaped_json(str_of(gguf_path(g))),
        "bytes", (json_int_t)gguf_file_bytes(g), "files", gguf_n_shards(g), "version",
        (int)gguf_version(g), "parameters", (json_int_t)all.elements, "memory",
        json_memory(g, o, all.bytes), "types", types, "metadata", json_metadata(g, o->all));
    if (out && (o->tensors || o->all)) json_object_set_new(out, "tensors", json_tensors(g));
    bool ok = out && json_write(b, out) && buf_char(b, '\n');
    json_decref(out);
    return ok;
}

/* --- the verb --- */

static int run(int argc, char **argv) {
    struct options o = {.kv_type = {"auto", "auto"}};
    const char *words[1];
    char path[4096];
    int n_words, code;
    struct err e = {0};
    if (!cmd_parse(&verb_show, argc, argv, &o, words, 1, &n_words, &code)) return code;
    struct buf b = {0};
    struct gguf *g = NULL;
    bool ok = cmd_model_path(n_words ? words[0] : NULL, path, sizeof path, &e);
    if (ok && o.n_ctx < 0) ok = err_set(&e, ERR_ARG, "-c %" PRId64 " makes no sense", o.n_ctx);
    if (ok) ok = (g = gguf_open(path, &e)) != NULL && describe_kv_types(g, o.kv_type, &e);
    if (ok && o.json) {
        ok = add_json(&b, g, &o) || err_nomem(&e, "JSON", b.len);
    } else if (ok) {
        add_summary(&b, g);
        add_memory(&b, g, &o);
        add_types(&b, g);
        add_metadata(&b, g, o.all ? ALL_WIDTH : terminal_width());
        if (o.tensors || o.all) add_tensors(&b, g);
        if (b.failed) ok = err_nomem(&e, "the text", b.len);
    }
    if (ok && (fwrite(b.p, 1, b.len, stdout) != b.len || fflush(stdout) != 0))
        ok = err_set(&e, ERR_IO, "cannot write: %s", strerror(errno));
    buf_free(&b);
    gguf_close(g);
    return ok ? 0 : cmd_fail(argv[0], &e);
}

const struct verb verb_show = {
    "show",
    "[OPTIONS] FILE",
    "what a model file is, and the memory it takes",
    "  holdfast show model.gguf\n"
    "  holdfast show -c 32768 -ctk q8_0 -ctv q4_0 model.gguf\n"
    "  holdfast show --tensors model-00001-of-00003.gguf\n"
    "  holdfast show --json model.gguf | jq .metadata\n",
    opts,
    sizeof opts / sizeof *opts,
    run,
};
