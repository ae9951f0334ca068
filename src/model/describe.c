/* Memory a context takes, from metadata alone. Shapes by name are in shapes.c. */
#include "model/describe.h"
#include "model/config.h"

bool describe_kv_bytes(const struct gguf *g, int64_t n_ctx, const char *k_type, const char *v_type,
                       uint64_t *bytes, struct err *e) {
    int k = kv_type_by_name(k_type), v = kv_type_by_name(v_type);
    if (k < 0 || v < 0)
        return err_set(e, ERR_ARG, "there is no KV cache type '%s'; use f32, f16, q8_0 or q4_0",
                       k < 0 ? k_type : v_type);
    struct arena arena = {0};
    struct config c;
    bool ok = config_read(&c, g, 0, &arena, e);
    if (ok && n_ctx <= 0) n_ctx = c.n_ctx_train;
    *bytes = 0;
    for (int il = 0; ok && il < c.n_layer; il++) {
        const struct layer_spec *s = &c.layer[il];
        if (s->mixer != MIXER_ATTN) continue;
        int64_t seen = s->window > 0 && s->window < n_ctx ? s->window : n_ctx;
        size_t unit = kv_block_bytes((enum kv_type)k, s->k_dim, false) +
                      kv_block_bytes((enum kv_type)v, s->v_dim, true);
        *bytes += (uint64_t)((seen + KV_UNIT - 1) / KV_UNIT) * (uint64_t)s->n_kv * unit;
    }
    arena_free(&arena);
    return ok;
}
