/* libFuzzer target: any bytes as a GGUF; whatever opens is read to the end. */
#include <stddef.h>
#include <stdint.h>

#include "gguf/gguf.h"

static volatile unsigned sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err e = {0};
    struct gguf *g = gguf_open_memory(data, size, &e);
    if (!g) return 0;
    for (uint64_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        for (uint64_t k = 0; k < kv->count; k++) {
            if (kv->elem != GGUF_STR) {
                sink += (unsigned)gguf_arr_int(kv, k);
                continue;
            }
            struct str s = gguf_arr_str(kv, k);
            if (s.len) sink += (unsigned char)s.p[0] + (unsigned char)s.p[s.len - 1];
        }
    }
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        const unsigned char *p = t->t.data;
        if (t->bytes) sink += p[0] + p[t->bytes - 1];
        const struct quant_info *q = quant_info(t->t.type);
        float row[4096];
        if (q->decode && t->bytes && t->t.dim[0] <= 4096) tensor_row(&t->t, 0, row);
    }
    gguf_close(g);
    return 0;
}
