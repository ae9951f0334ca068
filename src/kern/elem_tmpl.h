/* Element-wise kernels, written once over simd.h. elem_{scalar,avx2,avx512}.c include this with
 * their level's flags and give ELEM_FILL the name that kern.c calls. Tails are masked vectors:
 * a lane that is not there reads as 0 and adds nothing. */
#include "kern/fmath.h"
#include "kern/levels.h"

/* out[i] = expr over n values; expr reads its inputs by GET(array). */
#define GET(array) v_get((array) + at, here)
#define EACH(n, out, expr)                                                                         \
    do {                                                                                           \
        int64_t at = 0;                                                                            \
        for (const int64_t here = VL; at + VL <= (n); at += VL) v_store((out) + at, expr);         \
        const int64_t here = (n)-at;                                                               \
        if (here) v_store_n((out) + at, here, expr);                                               \
    } while (0)

static inline vf v_get(const float *p, int64_t n) {
    return n < VL ? v_load_n(p, n) : v_load(p);
}

static void rms_norm(const float *x, const float *w, float *out, int64_t n, float eps) {
    vf acc[V16];
    for (int j = 0; j < V16; j++) acc[j] = v_set(0);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < V16; j++) {
            vf t = v_load(x + i + j * VL);
            acc[j] = v_fma(t, t, acc[j]);
        }
    for (int j = 0; i < n; j++, i += VL) {
        vf t = v_get(x + i, n - i);
        acc[j] = v_fma(t, t, acc[j]);
    }
    vf inv = v_set(1.0f / sqrtf(v_sum16(acc) / (float)n + eps));
    if (w) EACH(n, out, v_mul(v_mul(GET(x), inv), GET(w)));
    else EACH(n, out, v_mul(GET(x), inv));
}

#define GLU(name, gate_fn, up_fn)                                                                  \
    static void name(const float *gate, const float *up, float *out, int64_t n) {                  \
        EACH(n, out, v_mul(gate_fn(GET(gate)), up_fn(GET(up))));                                   \
    }
#define AS_IS(x) x
GLU(glu_silu, v_silu, AS_IS)
GLU(glu_gelu, v_gelu, AS_IS)
GLU(glu_relu2, v_relu2, AS_IS)
GLU(glu_oai, v_oai_gate, v_oai_up)

static void glu(enum kern_act act, const float *gate, const float *up, float *out, int64_t n) {
    static void (*const fn[])(const float *, const float *, float *, int64_t) = {
        [KERN_SILU] = glu_silu,
        [KERN_GELU] = glu_gelu,
        [KERN_RELU2] = glu_relu2,
        [KERN_SWIGLU_OAI] = glu_oai,
    };
    fn[act](gate, up, out, n);
}

#define ACT(name, fn)                                                                              \
    static void name(const float *x, float *out, int64_t n) {                                      \
        EACH(n, out, fn(GET(x)));                                                                  \
    }
ACT(act_silu, v_silu)
ACT(act_gelu, v_gelu)
ACT(act_relu2, v_relu2)
ACT(act_oai, v_oai_gate)

static void act(enum kern_act kind, const float *x, float *out, int64_t n) {
    static void (*const fn[])(const float *, float *, int64_t) = {
        [KERN_SILU] = act_silu,
        [KERN_GELU] = act_gelu,
        [KERN_RELU2] = act_relu2,
        [KERN_SWIGLU_OAI] = act_oai,
    };
    fn[kind](x, out, n);
}

static void add(float *x, const float *y, float s, int64_t n) {
    vf f = v_set(s);
    EACH(n, x, v_fma(f, GET(y), GET(x)));
}

static void scale(float *x, float s, int64_t n) {
    vf f = v_set(s);
    EACH(n, x, v_mul(GET(x), f));
}

static void softcap(float *x, float cap, int64_t n) {
    vf c = v_set(cap);
    EACH(n, x, v_mul(c, v_tanh(v_div(GET(x), c))));
}

static void softmax(float *x, int64_t n) {
    if (n < 1) return;
    vf top[V16], acc[V16];
    for (int j = 0; j < V16; j++) {
        top[j] = v_set(x[0]);
        acc[j] = v_set(0);
    }
    int64_t i = 0;
    for (; i + VL <= n; i += VL) top[0] = v_max(v_load(x + i), top[0]);
    for (; i < n; i++) top[0] = v_max(v_set(x[i]), top[0]);
    vf max = v_set(v_max16(top));
    EACH(n, x, v_exp(v_sub(GET(x), max)));
    for (i = 0; i < n; i += VL) {
        vf *lane = &acc[i / VL % V16];
        *lane = v_add(*lane, v_get(x + i, n - i));
    }
    scale(x, 1.0f / v_sum16(acc), n);
}

void ELEM_FILL(struct kern *k) {
    k->rms_norm = rms_norm;
    k->glu = glu;
    k->act = act;
    k->add = add;
    k->scale = scale;
    k->softcap = softcap;
    k->softmax = softmax;
}
