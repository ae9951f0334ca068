/* The backend interface: what the forward pass is made of. Each op is one parallel phase (or a
 * few) in fused form. The CPU implementation executes at once; a GPU one may record.
 * All float matrices are row-major (n_rows, ld). One owner thread (the engine's).
 * size: the whole contract between model and hardware stands in this one file. */
#ifndef HOLDFAST_OPS_OPS_H
#define HOLDFAST_OPS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "quant/quant.h"

/* ---- K/V pages as the ops see them -------------------------------------------------------
 * Positions are grouped in units of 64. A page holds page_units units of every layer of one
 * layer group; the block of (layer, unit u) stands at page + u * unit_bytes + layer offset, and
 * holds for each kv head its K block and then its V block, in the form of kern/attn.h. */
enum { KV_UNIT = 64 };
enum kv_type { KV_F32, KV_F16, KV_Q8_0, KV_Q4_0, KV_TYPES };

struct kv_layer { /* geometry of one layer's K/V */
    int group;    /* index into kv_view.tables */
    int n_kv, k_dim, v_dim;
    enum kv_type k_type, v_type;
    size_t k_bytes, v_bytes; /* of one head in one unit */
    size_t offset;           /* of this layer's block in a unit */
};
struct kv_table {                /* page table of one sequence for one layer group */
    unsigned char *const *pages; /* pages[pos / (KV_UNIT * page_units)]; NULL where dropped */
    int page_units;
    size_t unit_bytes;
};
struct kv_view {
    const struct kv_table *tables; /* one per layer group */
};

/* ---- activations ------------------------------------------------------------------------- */
/* Rows of floats that also exist, on demand, in the quantized form matmuls read. `fresh` is
 * cleared by whoever writes x; the matmul ops quantize when it is not set. */
struct act {
    float *x; /* (n_rows, ld) */
    int64_t n, ld;
    int n_rows;
    bool fresh;
    void *q, *packed; /* the backend's */
    size_t q_cap, packed_cap;
};

/* A stored matrix with its optional companions. dim = [in, out] or [in, out, n_expert]; expert e
 * begins expert_rows * e rows behind the first (more than dim[1] in a view of a fused tensor). */
struct weight {
    const struct tensor *w; /* NULL: absent */
    const float *bias;      /* (out) or (n_expert, expert_rows), or NULL */
    const float *scale;     /* (1) or (n_expert), on the result before the bias, or NULL */
    int64_t expert_rows;
};

/* ---- batch --------------------------------------------------------------------------------*/
enum { BATCH_LOGITS = 1, BATCH_HIDDEN = 2 /* only what the head would read */ };
struct batch_seq {
    int first, n; /* rows [first, first + n) of the batch, consecutive positions */
    int32_t pos;  /* of the first row */
    struct kv_view kv;
    void *state; /* recurrent state slot, or NULL */
};
struct batch {
    int n_rows;
    const int32_t *token;       /* (n_rows) */
    const uint8_t *want_logits; /* (n_rows) 0, or one of the above */
    int n_seqs;
    const struct batch_seq *seqs;
};

/* ---- op arguments -------------------------------------------------------------------------*/
enum ops_act { OPS_SILU, OPS_GELU, OPS_RELU2, OPS_SWIGLU_OAI }; /* ORDER ACT: kern.h */

struct op_linear { /* out[r] = scale * (W x[r]), or out[r] += ... */
    struct weight w;
    float *out;
    int64_t out_ld;
    bool add;
    float scale; /* 1 for none */
};

enum rope_kind { ROPE_NONE, ROPE_NORM, ROPE_NEOX };
struct rope_spec { /* spec/architectures.md C1 */
    enum rope_kind kind;
    int n_rot;
    double base, freq_scale, magnitude; /* magnitude multiplies cos and sin */
    bool yarn;
    double yarn_lo, yarn_hi; /* ramp bounds in pairs */
    const float *factors;    /* (n_rot/2) divisors, or NULL */
};

struct op_attn {
    const struct batch *batch;
    int n_head, n_kv, k_dim, v_dim;
    float *q;     /* (n_rows, n_head * k_dim), changed in place */
    float *k, *v; /* (n_rows, n_kv * k_dim), (n_rows, n_kv * v_dim); NULL: reads kv only */
    float *out;   /* (n_rows, n_head * v_dim) */
    int64_t q_ld, k_ld, v_ld, out_ld;
    const float *q_norm, *k_norm; /* (k_dim) RMS weights before rope, or NULL */
    bool v_norm;                  /* RMS without weight on each v head */
    float norm_eps;
    int rope;             /* index given to rope_prepare, or -1 */
    float scale, softcap; /* softcap 0: none */
    int window;           /* 0: none; visible iff query - key < window */
    const float *sinks;   /* (n_head) or NULL */
    const float *q_scale; /* (n_rows) extra factor on q after rope, or NULL */
    struct kv_layer kv;
};

enum moe_gating { MOE_SOFTMAX, MOE_SOFTMAX_TOP }; /* over all logits, or over the chosen ones */
struct op_moe {
    struct weight router, gate, up, down;
    const float *select_bias; /* (n_expert) or NULL */
    int n_expert, n_used, n_ff;
    enum moe_gating gating;
    bool norm;
    float scale; /* 0 or 1: none */
    enum ops_act act;
    float *out; /* (n_rows, out_ld), out += out_scale * result */
    int64_t out_ld;
    float out_scale;
};

struct ops_need { /* the largest of each over all layers; 0 where there is none */
    int n_rows, n_embd, n_head, n_kv, head_dim;
    int n_expert, n_used, n_ff_expert;
    int64_t n_ctx;
};

struct backend {
    const char *name;
    void *self;
    void (*close)(struct backend *b);
    /* Reserves every buffer for batches up to this size; nothing is allocated afterwards. */
    bool (*reserve)(struct backend *b, const struct ops_need *need, struct err *e);

    bool (*act_alloc)(struct backend *b, struct act *a, int n_rows, int64_t n, struct err *e);
    void (*act_free)(struct backend *b, struct act *a);

    /* out[r] = scale * table[token[r]] */
    void (*embed)(struct backend *b, const struct tensor *table, const int32_t *token, float scale,
                  struct act *out);
    /* out.x[r] = RMS(x[rows[r]]) * w for r < out->n_rows; w f32 [n]; rows NULL: all, in order */
    void (*norm)(struct backend *b, const struct act *x, const int32_t *rows, const float *w,
                 float eps, struct act *out);
    /* All jobs read the same input. */
    void (*linear)(struct backend *b, struct act *in, const struct op_linear *jobs, int n_jobs);
    /* out = act(gate in) * (up in) */
    void (*glu)(struct backend *b, struct act *in, struct weight gate, struct weight up,
                enum ops_act act, struct act *out);
    /* Angles for the rows of a batch; specs stay valid until the next call. */
    void (*rope_prepare)(struct backend *b, const struct batch *batch,
                         const struct rope_spec *specs, int n_specs);
    /* Norms, rope, store of k and v, attention. */
    void (*attn)(struct backend *b, const struct op_attn *a);
    void (*moe)(struct backend *b, struct act *in, const struct op_moe *m);
    /* x = x + scale * y */
    void (*add)(struct backend *b, struct act *x, const struct act *y, float scale);
    void (*softcap)(struct backend *b, float *x, float cap, int64_t n);
};

/* The CPU backend on n_threads threads. NULL with e filled. */
struct backend *backend_cpu(int n_threads, bool pin, struct err *e);

/* Bytes of one head's K or V block of dim values in a unit; kern/attn.h has the layouts. */
size_t kv_block_bytes(enum kv_type type, int dim, bool is_v);
int kv_type_by_name(const char *name); /* -1: unknown */
const char *kv_type_name(enum kv_type t);

#endif
