/* holdfast quantize: a file's matrices in another type. Decodes and encodes row by row, so memory
 * stays small; metadata is copied as it stands. */
#include "base/mem.h"
#include "cmd/cmd.h"
#include "gguf/gguf.h"
#include "quant/mix.h"

#include <stdio.h>
#include <string.h>

static int run_main(int argc, char **argv);
const struct verb verb_quantize = {
    .name = "quantize",
    .args = "IN.gguf OUT.gguf TYPE",
    .summary = "Write a model file with its matrices in another type.",
    .examples =
        "  holdfast quantize model-f16.gguf model-q4.gguf q4_k_m\n"
        "  holdfast quantize model-q4.gguf exact.gguf f32   # decoded weights, to compare with\n",
    .run = run_main,
};

/* Matrices change type; norms, biases and the router of experts stay. */
static bool is_matrix(const struct gguf_tensor *t) {
    return t->n_dims >= 2 && t->t.dim[1] > 1 && !strstr(t->name, "norm") &&
           !strstr(t->name, "ffn_gate_inp") && strstr(t->name, ".weight");
}

static int new_type(const struct gguf *g, const struct gguf_tensor *t, const struct quant_mix *mix,
                    int n_layer) {
    int layer = -1;
    if (!is_matrix(t)) return t->t.type;
    if (sscanf(t->name, "blk.%d.", &layer) != 1) layer = -1;
    bool tied = !gguf_tensor_find(g, "output.weight");
    return quant_mix_type(mix, t->name, t->t.dim[0], layer, n_layer, tied);
}

static bool check_types(const struct gguf *g, const struct quant_mix *mix, int n_layer,
                        struct err *e) {
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        int type = new_type(g, t, mix, n_layer);
        const struct quant_info *from = quant_info(t->t.type), *to = quant_info(type);
        if (type == t->t.type) continue;
        if (!from->decode)
            return err_set(e, ERR_UNSUPPORTED, "tensor %s: this build cannot read %s", t->name,
                           from->name);
        if (!to->encode)
            return err_set(e, ERR_UNSUPPORTED, "tensor %s: this build cannot write %s", t->name,
                           to->name);
    }
    return true;
}

static bool write_head(struct gguf_writer *w, const struct gguf *g, const struct quant_mix *mix,
                       int n_layer) {
    bool ok = true;
    for (uint64_t i = 0; ok && i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        if (str_is(kv->key, "general.file_type"))
            ok = gguf_write_u32(w, "general.file_type", (uint32_t)quant_mix_file_type(mix));
        else if (!str_starts(kv->key, STR("split.")) && !str_is(kv->key, "general.alignment"))
            ok = gguf_write_kv(w, kv);
    }
    for (uint64_t i = 0; ok && i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        ok = gguf_write_tensor(w, t->name, new_type(g, t, mix, n_layer), t->n_dims, t->t.dim);
    }
    return ok;
}

static bool write_tensor(struct gguf_writer *w, const struct gguf_tensor *t, int type,
                         struct err *e) {
    if (type == t->t.type) return gguf_write_data(w, t->t.data, t->bytes);
    int64_t n = t->t.dim[0];
    size_t bytes = quant_row_bytes(type, n);
    float *row = mem_array((size_t)n, sizeof *row);
    unsigned char *out = mem_alloc(bytes);
    bool ok = row && out ? true : err_nomem(e, "a row", (uint64_t)n * sizeof *row);
    for (int64_t r = 0; ok && r < tensor_rows(&t->t); r++) {
        tensor_row(&t->t, r, row);
        quant_info(type)->encode(row, out, n);
        ok = gguf_write_data(w, out, bytes);
    }
    mem_free(row);
    mem_free(out);
    return ok;
}

static bool convert(const struct gguf *g, const char *path, const struct quant_mix *mix,
                    struct err *e) {
    struct str arch;
    char key[96];
    int64_t n_layer = 0;
    if (gguf_str(g, "general.architecture", &arch, e)) {
        snprintf(key, sizeof key, "%.*s.block_count", (int)(arch.len < 64 ? arch.len : 64), arch.p);
        gguf_int(g, key, 0, INT32_MAX, &n_layer, e);
    }
    if (!check_types(g, mix, (int)n_layer, e)) return false;
    struct gguf_writer *w = gguf_write_open(path, e);
    if (!w) return false;
    bool ok = write_head(w, g, mix, (int)n_layer);
    uint64_t n = gguf_n_tensors(g);
    for (uint64_t i = 0; ok && i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        cmd_progress("writing", (double)i, (double)n);
        ok = write_tensor(w, t, new_type(g, t, mix, (int)n_layer), e);
    }
    cmd_progress("writing", 1, 1);
    if (e->code != ERR_NOMEM) return gguf_write_close(w, e);
    gguf_write_abort(w);
    return false;
}

static int run_main(int argc, char **argv) {
    const char *words[3];
    int n_words, code;
    struct err e = {0};
    struct {
        int none;
    } flags;
    char path[4096];
    if (!cmd_parse(&verb_quantize, argc, argv, &flags, words, 3, &n_words, &code)) return code;
    if (n_words != 3) {
        err_set(&e, ERR_ARG, "expected IN.gguf OUT.gguf TYPE; see holdfast quantize --help");
        return cmd_fail("quantize", &e);
    }
    const struct quant_mix *mix = quant_mix_by_name(words[2]);
    if (!mix) {
        err_set(&e, ERR_ARG, "there is no type '%s'; e.g. f32, f16, q8_0, q4_0, q4_k_m", words[2]);
        return cmd_fail("quantize", &e);
    }
    struct gguf *g = cmd_model_path(words[0], path, sizeof path, &e) ? gguf_open(path, &e) : NULL;
    bool ok = g && convert(g, words[1], mix, &e);
    gguf_close(g);
    return ok ? 0 : cmd_fail("quantize", &e);
}
