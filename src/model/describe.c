/* Memory a context takes, from metadata alone. Shapes by name are in shapes.c. */
#include "model/describe.h"
#include "model/config.h"
#include "gguf/gguf.h"

#include <string.h>

bool describe_kv_types(const struct gguf *g, const char *type[2], struct err *e) {
    for (int i = 0; i < 2; i++) {
        bool biased = i == 0 && gguf_tensor_find(g, "blk.0.attn_k.bias");
        if (strcmp(type[i], "auto") == 0) type[i] = biased ? "f16" : "q8_0";
        if (kv_type_by_name(type[i]) < 0)
            return err_set(e, ERR_ARG,
                           "there is no K/V type '%s'; expected auto, f32, f16, q8_0 or q4_0",
                           type[i]);
    }
    return true;
}

bool describe_kv_bytes(const struct gguf *g, int64_t n_ctx, const char *k_type, const char *v_type,
                       uint64_t *bytes, struct err *e) {
    const char *type[2] = {k_type, v_type};
    if (!describe_kv_types(g, type, e)) return false;
    enum kv_type k = (enum kv_type)kv_type_by_name(type[0]);
    enum kv_type v = (enum kv_type)kv_type_by_name(type[1]);
    struct arena arena = {0};
    struct config c;
    bool ok = config_read(&c, g, 0, &arena, e);
    if (ok && n_ctx <= 0) n_ctx = c.n_ctx_train;
    *bytes = 0;
    for (int il = 0; ok && il < c.n_layer; il++) {
        const struct layer_spec *s = &c.layer[il];
        if (s->mixer != MIXER_ATTN) continue;
        int64_t seen = s->window > 0 && s->window < n_ctx ? s->window : n_ctx;
        size_t unit = kv_block_bytes(k, s->k_dim, false) + kv_block_bytes(v, s->v_dim, true);
        *bytes += (uint64_t)((seen + KV_UNIT - 1) / KV_UNIT) * (uint64_t)s->n_kv * unit;
    }
    arena_free(&arena);
    return ok;
}
