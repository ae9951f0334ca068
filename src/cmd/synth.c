/* `holdfast synth SHAPE -o FILE`: random weights at a published shape, streamed to disk through the
 * GGUF writer, so that speed and memory can be known before a download. The file has the usual
 * quantizer's mix of types and a made-up tokenizer of the right size; what the model says means
 * nothing. Ctrl-C, a full disk or any other error leave no file behind. */
#include "cmd/cmd.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "base/str.h"
#include "gguf/gguf.h"
#include "model/describe.h"
#include "quant/mix.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CHUNK_ELEMENTS = 1 << 20, MAX_LAYERS = 512 };

struct options {
    const char *out, *type;
    int64_t n_layer, seed;
    bool force, list;
};

static const struct opt opts[] = {
    {"-o, --output", "FILE", OPT_STR, offsetof(struct options, out), "the file to write"},
    {"--type", "TYPE", OPT_STR, offsetof(struct options, type),
     "q4_k_m (default), q8_0, q4_0, f16 ..., as the quantizer mixes them"},
    {"--layers", "N", OPT_INT, offsetof(struct options, n_layer),
     "N layers instead of the shape's own number"},
    {"--seed", "N", OPT_INT, offsetof(struct options, seed), "another set of random weights"},
    {"-f, --force", NULL, OPT_FLAG, offsetof(struct options, force), "write over a file"},
    {"--list", NULL, OPT_FLAG, offsetof(struct options, list), "list shapes and types"},
};

/* --- the tokenizer --- */

/* Merges in order of rank; every part and result is a token. A leading '_' stands for a space. */
static const char *const merges[] = {
    "_ t",   "i n", "h e", "r e", "o n",  "_ a",  "_t he", "e r", "a t", "_ s",  "o u", "_ w",
    "n d",   "_ o", "e s", "i t", "_ c",  "o r",  "e n",   "a n", "_ p", "in g", "_ b", "_ f",
    "_a nd", "e d", "i s", "_ m", "_t o", "_o f", "_ in",  "a l", "l l", "_ d",  "_ h", "i on",
};
enum { N_BYTES = 256, N_MERGES = sizeof merges / sizeof *merges, N_CONTROL = 3 };

static const char *const controls[N_CONTROL] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
static const char chat_template[] =
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

/* Byte-level BPE writes byte b as this code point (spec/tokenizer.md). */
static uint32_t byte_symbol(int b) {
    bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
    if (printable) return (uint32_t)b;
    if (b <= ' ') return 256 + (uint32_t)b;
    return b == 0xAD ? 256 + 67 : 256 + 33 + (uint32_t)(b - 127);
}

static const struct str space = {"\xC4\xA0", 2}; /* symbol of ' ' */

/* A word made of two syllables or more, another one for each number; longer than any merge. */
static void add_word(struct buf *b, unsigned n) {
    static const char consonant[] = "bdfgklmnprstvz", vowel[] = "aeiou";
    enum { C = sizeof consonant - 1, V = sizeof vowel - 1 };
    buf_str(b, space);
    for (int syllable = 0; syllable < 2 || n > 0; syllable++, n /= C * V) {
        buf_char(b, consonant[n % (C * V) / V]);
        buf_char(b, vowel[n % V]);
    }
}

struct vocab_text {
    struct buf text, merge_text;
    size_t *end;       /* of each token in text */
    struct str *token; /* (n) */
    struct str merge[N_MERGES];
    int32_t *type; /* (n) */
    int64_t n;
};

static void vocab_text_free(struct vocab_text *v) {
    buf_free(&v->text);
    buf_free(&v->merge_text);
    mem_free(v->end);
    mem_free(v->token);
    mem_free(v->type);
}

/* Merge k with or without the space between its parts. */
static void add_merge(struct buf *b, int k, bool joined) {
    for (const char *p = merges[k]; *p; p++) {
        if (*p == '_') buf_str(b, space);
        else if (*p != ' ' || !joined) buf_char(b, *p);
    }
}

/* 256 bytes, merges, made-up words, control tokens: n in all. */
static bool make_vocab(struct vocab_text *v, int64_t n, struct err *e) {
    v->n = n;
    v->end = mem_array((size_t)n, sizeof *v->end);
    v->token = mem_array((size_t)n, sizeof *v->token);
    v->type = mem_array((size_t)n, sizeof *v->type);
    if (!v->end || !v->token || !v->type) return err_nomem(e, "the vocabulary", (uint64_t)n);
    for (int64_t i = 0; i < n; i++) {
        int64_t control = i - (n - N_CONTROL);
        if (i < N_BYTES) buf_utf8(&v->text, byte_symbol((int)i));
        else if (i < N_BYTES + N_MERGES) add_merge(&v->text, (int)i - N_BYTES, true);
        else if (control < 0) add_word(&v->text, (unsigned)(i - N_BYTES - N_MERGES));
        else buf_cstr(&v->text, controls[control]);
        v->end[i] = v->text.len;
        v->type[i] = control < 0 ? 1 : 3; /* normal, control */
    }
    size_t ends[N_MERGES];
    for (int i = 0; i < N_MERGES; i++) {
        add_merge(&v->merge_text, i, false);
        ends[i] = v->merge_text.len;
    }
    if (v->text.failed || v->merge_text.failed) return err_nomem(e, "the vocabulary", v->text.len);
    for (int64_t i = 0; i < n; i++) {
        size_t start = i ? v->end[i - 1] : 0;
        v->token[i] = (struct str){v->text.p + start, v->end[i] - start};
    }
    for (int i = 0; i < N_MERGES; i++) {
        size_t start = i ? ends[i - 1] : 0;
        v->merge[i] = (struct str){v->merge_text.p + start, ends[i] - start};
    }
    return true;
}

static bool write_tokenizer(struct gguf_writer *w, int64_t n, struct err *e) {
    struct vocab_text v = {0};
    bool ok = make_vocab(&v, n, e) && gguf_write_str(w, "tokenizer.ggml.model", STR("gpt2")) &&
              gguf_write_str(w, "tokenizer.ggml.pre", STR("default")) &&
              gguf_write_array(w, "tokenizer.ggml.tokens", GGUF_STR, v.token, (uint64_t)n) &&
              gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_I32, v.type, (uint64_t)n) &&
              gguf_write_array(w, "tokenizer.ggml.merges", GGUF_STR, v.merge, N_MERGES) &&
              gguf_write_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)(n - 3)) &&
              gguf_write_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)(n - 1)) &&
              gguf_write_u32(w, "tokenizer.ggml.padding_token_id", (uint32_t)(n - 3)) &&
              gguf_write_bool(w, "tokenizer.ggml.add_bos_token", false) &&
              gguf_write_str(w, "tokenizer.chat_template", STR(chat_template));
    vocab_text_free(&v);
    return ok;
}

/* --- the weights --- */

static volatile sig_atomic_t interrupted;
static void on_interrupt(int sig) {
    (void)sig;
    interrupted = 1;
}

struct job {
    struct gguf_writer *w;
    const struct quant_mix *mix;
    const struct options *o;
    bool tied;
    uint64_t bytes, done, params;
    unsigned char *chunk; /* CHUNK_ELEMENTS of f32: room for any type */
    struct err *e;
};

static int type_of(const struct job *j, const struct described_tensor *t) {
    return t->is_matrix ? quant_mix_type(j->mix, t->name, t->dim[0], t->layer, t->n_layer, j->tied)
                        : QUANT_F32;
}

static bool write_info(void *ctx, const struct described_tensor *t) {
    struct job *j = ctx;
    int type = type_of(j, t);
    uint64_t n = (uint64_t)(t->dim[0] * t->dim[1] * t->dim[2]);
    j->params += n;
    j->bytes += n / (uint64_t)quant_info(type)->block * (uint64_t)quant_info(type)->bytes;
    return gguf_write_tensor(j->w, t->name, type, t->n_dims, t->dim);
}

/* A spread that keeps activations near 1: 1/sqrt(inputs), less where residuals add up. */
static float spread_of(const struct described_tensor *t) {
    bool adds = strstr(t->name, "attn_output") || strstr(t->name, "ffn_down");
    bool head = t->layer < 0;
    float std = 1 / sqrtf((float)t->dim[0]);
    if (adds) std /= sqrtf(2 * (float)t->n_layer);
    return head ? 2 * std : std;
}

static void fill_vector(const struct described_tensor *t, struct rng *rng, float *out) {
    for (int64_t i = 0; i < t->dim[0]; i++)
        out[i] = t->values ? t->values[i] : 1 + 0.05f * rng_normal(rng);
}

static bool write_weights(void *ctx, const struct described_tensor *t) {
    struct job *j = ctx;
    int type = type_of(j, t);
    struct rng rng = {str_hash(str_of(t->name)) ^ (uint64_t)j->o->seed};
    int64_t left = t->dim[0] * t->dim[1] * t->dim[2];
    while (left > 0) {
        int64_t n = left < CHUNK_ELEMENTS ? left : CHUNK_ELEMENTS;
        if (t->is_matrix) quant_random(type, spread_of(t), &rng, j->chunk, n);
        else fill_vector(t, &rng, (float *)(void *)j->chunk);
        size_t bytes = quant_row_bytes(type, n);
        if (interrupted) return err_set(j->e, ERR_CANCELLED, "interrupted, nothing was written");
        if (!gguf_write_data(j->w, j->chunk, bytes)) return false;
        left -= n;
        j->done += bytes;
        cmd_progress("writing", (double)j->done, (double)j->bytes);
    }
    return true;
}

/* --- before writing --- */

/* Tells at once what would otherwise fail after minutes. */
static bool check_space(const char *path, uint64_t need, struct err *e) {
    char dir[4096];
    struct statvfs fs;
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash) slash[slash == dir] = 0;
    if (statvfs(slash ? dir : ".", &fs) != 0) return true; /* opening will say why */
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room >= need) return true;
    return err_set(e, ERR_IO,
                   "%s needs %.0f MB, the disk has %.0f MB free; --layers N makes it smaller", path,
                   (double)need / 1e6, (double)room / 1e6);
}

static const char *nearest(const char *(*name_at)(int), const char *wrong) {
    const char *best = NULL;
    int least = (int)strlen(wrong) / 2 + 2;
    for (int i = 0; name_at(i); i++) {
        int d = str_distance(name_at(i), wrong);
        if (d < least) least = d, best = name_at(i);
    }
    return best;
}

static const char *shape_name(int i) {
    return describe_shape_names()[i];
}

static bool unknown(const char *what, const char *name, const char *(*name_at)(int),
                    struct err *e) {
    const char *near = nearest(name_at, name);
    return err_set(e, ERR_ARG, "there is no %s '%s'%s%s%s; holdfast synth --list shows them", what,
                   name, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int list(void) {
    printf("shapes:\n");
    for (int i = 0; shape_name(i); i++)
        printf("  %-16s %s\n", shape_name(i),
               describe_shape_summary(describe_shape(shape_name(i))));
    printf("types:\n ");
    for (int i = 0; quant_mix_name(i); i++) printf(" %s", quant_mix_name(i));
    printf("\n");
    return 0;
}

static bool check_options(const struct options *o, const char *name, struct err *e) {
    struct stat st;
    if (!name) return err_set(e, ERR_ARG, "which shape? holdfast synth --list shows them");
    if (!describe_shape(name)) return unknown("shape", name, shape_name, e);
    if (!quant_mix_by_name(o->type)) return unknown("type", o->type, quant_mix_name, e);
    if (!o->out) return err_set(e, ERR_ARG, "where to? give a file with -o FILE");
    if (o->n_layer < 0 || o->n_layer > MAX_LAYERS)
        return err_set(e, ERR_ARG, "--layers: expected 1 to %d, found %" PRId64, MAX_LAYERS,
                       o->n_layer);
    if (stat(o->out, &st) != 0) return true;
    if (!S_ISREG(st.st_mode)) return err_set(e, ERR_ARG, "%s is not a regular file", o->out);
    return o->force || err_set(e, ERR_ARG, "%s is there already; -f writes over it", o->out);
}

/* --- the verb --- */

static bool synth(const struct options *o, const struct shape *s, struct job *j) {
    int n_layer = (int)o->n_layer;
    j->w = gguf_write_open(o->out, j->e);
    j->chunk = mem_array(CHUNK_ELEMENTS, sizeof(float));
    if (!j->w) return false;
    if (!j->chunk) return err_nomem(j->e, "a buffer", CHUNK_ELEMENTS * sizeof(float));
    bool ok = describe_write_keys(s, n_layer, j->w) &&
              gguf_write_u32(j->w, "general.file_type", (uint32_t)quant_mix_file_type(j->mix)) &&
              gguf_write_u32(j->w, "general.quantization_version", 2) &&
              write_tokenizer(j->w, describe_vocab(s), j->e) &&
              describe_tensors(s, n_layer, write_info, j) && check_space(o->out, j->bytes, j->e) &&
              describe_tensors(s, n_layer, write_weights, j);
    if (!ok && j->e->code != ERR_NONE) return false;
    ok = gguf_write_close(j->w, j->e);
    j->w = NULL;
    return ok;
}

static int run(int argc, char **argv) {
    struct options o = {.type = "q4_k_m"};
    const char *words[1];
    int n_words, code;
    struct err e = {0};
    if (!cmd_parse(&verb_synth, argc, argv, &o, words, 1, &n_words, &code)) return code;
    if (o.list) return list();
    if (!check_options(&o, n_words ? words[0] : NULL, &e)) return cmd_fail(argv[0], &e);
    const struct shape *s = describe_shape(words[0]);
    struct job j = {.mix = quant_mix_by_name(o.type), .o = &o, .tied = describe_tied(s), .e = &e};
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    uint64_t start = os_now_ns();
    bool ok = synth(&o, s, &j);
    gguf_write_abort(j.w); /* removes what is half done; nothing if it is closed */
    mem_free(j.chunk);
    cmd_progress("writing", 1, 1);
    if (!ok) return cmd_fail(argv[0], &e);
    printf("%s: %s, %.2f B parameters, %.0f MB in %.1f s\n", o.out, o.type, (double)j.params / 1e9,
           (double)j.bytes / 1e6, (double)(os_now_ns() - start) / 1e9);
    return 0;
}

const struct verb verb_synth = {
    "synth",
    "[OPTIONS] SHAPE -o FILE",
    "write random weights at a published shape",
    "  holdfast synth --list\n"
    "  holdfast synth llama3.2-1b -o 1b.gguf\n"
    "  holdfast synth qwen3-30b-a3b --type q4_k_m --layers 8 -o moe.gguf\n",
    opts,
    sizeof opts / sizeof *opts,
    run,
};
