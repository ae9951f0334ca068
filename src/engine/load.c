/* Models: loading into an engine, unloading, what is known about them, what one would need. Files
 * are opened on the caller's thread; weights are bound on the engine's, between two steps. */
#include "base/os.h"
#include "engine/engine.h"
#include "gguf/gguf.h"
#include "model/describe.h"

#include <stdio.h>
#include <string.h>

enum {
    N_UBATCH_DEFAULT = 512,
    N_PARALLEL_DEFAULT = 16,
    STREAM_BYTES = 32 << 20, /* of one block of streamed logits */
    STREAM_ROWS_MIN = 8
};

void hold_model_options_init(struct hold_model_options *o, size_t size) {
    struct hold_model_options d = {.size = size,
                                   .k_type = "auto",
                                   .v_type = "auto",
                                   .flash_attn = true,
                                   .load = "mmap",
                                   .n_batch = 2048,
                                   .n_ubatch = N_UBATCH_DEFAULT,
                                   .n_parallel = N_PARALLEL_DEFAULT};
    memset(o, 0, size);
    memcpy(o, &d, size < sizeof d ? size : sizeof d);
}

/* ---- on the engine thread ----------------------------------------------------------------- */
struct loading {
    struct hold_model *m;
    struct model_options o;
    struct err e;
    bool ok;
};

static bool take_groups(struct hold_model *m, struct err *e) {
    int n;
    const struct model_group *g = model_groups(m->model, &n);
    if (n > ENGINE_GROUPS_MAX)
        return err_set(e, ERR_UNSUPPORTED, "%d layer groups; at most %d", n, ENGINE_GROUPS_MAX);
    m->n_groups = n;
    for (int i = 0; i < n; i++) {
        m->group[i] = g[i];
        m->page_bytes[i] = g[i].unit_bytes * (size_t)g[i].page_units;
        m->windowed = m->windowed || (i > 0 && g[i].window > 0);
    }
    return true;
}

/* What cached pages depend on beside the weights: K/V types, and with LongRoPE the context. */
static uint64_t cache_fingerprint(const struct hold_model *m, const struct model_options *o) {
    char key[96];
    bool long_rope = gguf_tensor_find(m->gguf, "rope_factors_long.weight") != NULL;
    int n = snprintf(key, sizeof key, "%016llx %d %d %d %d",
                     (unsigned long long)model_info(m->model)->fingerprint, o->k_type, o->v_type,
                     o->page_units, long_rope ? m->info.n_ctx : 0);
    return str_hash((struct str){key, (size_t)n});
}

static bool bind(struct hold_model *m, const struct model_options *o, struct err *e) {
    m->model = model_load(m->gguf, m->eng->backend, o, e);
    if (!m->model || !take_groups(m, e)) return false;
    const struct model_info *mi = model_info(m->model);
    struct hold_model_info *i = &m->info;
    if (mi->n_vocab != vocab_size(m->vocab))
        return err_set(e, ERR_FORMAT, "the vocabulary has %d tokens, the embedding %d rows",
                       (int)vocab_size(m->vocab), mi->n_vocab);
    i->arch = arena_strndup(&m->arena, mi->arch, strlen(mi->arch));
    i->name = arena_strndup(&m->arena, mi->name, strlen(mi->name));
    if (!i->arch || !i->name) return err_nomem(e, "the model's name", 0);
    i->n_layer = mi->n_layer;
    i->n_embd = mi->n_embd;
    i->n_ctx_train = mi->n_ctx_train;
    i->n_ctx = mi->n_ctx;
    i->pooling = mi->pooling == 0   ? HOLD_POOL_NONE
                 : mi->pooling == 1 ? HOLD_POOL_MEAN
                 : mi->pooling == 3 ? HOLD_POOL_LAST
                                    : HOLD_POOL_OTHER;
    i->n_params = mi->n_params;
    i->weight_bytes = mi->weight_bytes;
    i->kv_bytes_per_token = mi->kv_bytes_per_token;
    i->state_bytes = mi->state_bytes;
    m->key.model = i->fingerprint = cache_fingerprint(m, o);
    m->key.token_cost = 2.0 * (double)i->n_params;
    m->key.depth_cost = 4.0 * i->n_embd * i->n_layer;
    return sched_model_init(m, e);
}

static void load_call(void *ctx) {
    struct loading *l = ctx;
    l->ok = bind(l->m, &l->o, &l->e);
    if (!l->ok) return;
    pthread_mutex_lock(&l->m->eng->lock);
    struct hold_model **end = &l->m->eng->models;
    while (*end) end = &(*end)->next;
    *end = l->m;
    pthread_mutex_unlock(&l->m->eng->lock);
}

static void free_call(void *ctx) {
    struct hold_model *m = ctx;
    struct hold_engine *eng = m->eng;
    if (m->step) sched_cancel_all(m);
    prefix_drop_model(eng->prefix, m->key.model);
    pages_trim(eng->pool);
    pthread_mutex_lock(&eng->lock);
    for (struct hold_model **at = &eng->models; *at; at = &(*at)->next) {
        if (*at != m) continue;
        *at = m->next;
        break;
    }
    pthread_mutex_unlock(&eng->lock);
    sched_model_free(m);
    model_free(m->model);
}

/* ---- on the caller's thread --------------------------------------------------------------- */
static void model_destroy(struct hold_model *m) {
    engine_call(m->eng, free_call, m);
    grammar_vocab_free(m->grammar_vocab);
    grammar_cache_free(m->grammars);
    prompt_template_close(&m->templates);
    token_memo_free(m->memo);
    vocab_close(m->vocab);
    gguf_close(m->gguf);
    pthread_mutex_destroy(&m->text_lock);
    arena_free(&m->arena);
    mem_free(m);
}

void hold_model_unload(struct hold_model *m) {
    if (m) model_destroy(m);
}

static const char *base_name(struct arena *a, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct str s = str_of(name);
    if (str_ends(s, STR(".gguf"))) s.len -= 5;
    return arena_strndup(a, s.p, s.len);
}

static void fill_vocab_info(struct hold_model *m) {
    const struct vocab_special *s = vocab_special(m->vocab);
    struct hold_model_info *i = &m->info;
    struct chat_can can = chat_can(m->templates.chat);
    i->n_vocab = vocab_size(m->vocab);
    i->bos = s->bos;
    i->eos = s->eos;
    i->eot = s->eot;
    i->fim_pre = s->fim_pre;
    i->fim_suf = s->fim_suf;
    i->fim_mid = s->fim_mid;
    i->add_bos = s->add_bos;
    i->add_eos = s->add_eos;
    i->has_template = can.builtin == NULL;
    i->has_system = can.system;
    i->has_tools = can.tools && can.calls;
    i->has_reasoning = m->templates.descr[0].think_close.len > 0;
    i->template_notes = chat_notes(m->templates.chat);
}

/* Checks the options and turns them into the model's. */
static bool read_options(struct hold_model *m, const struct hold_model_options *o,
                         struct model_options *out, struct err *e) {
    struct hold_model_info *i = &m->info;
    bool copy = o->load && strcmp(o->load, "copy") == 0;
    if (o->load && !copy && strcmp(o->load, "mmap") != 0)
        return err_set(e, ERR_ARG, "load is '%s'; expected mmap or copy", o->load);
    if (o->n_ctx < 0 || o->n_ubatch < 1 || o->n_parallel < 1)
        return err_set(e, ERR_ARG, "n_ctx %d, n_ubatch %d and n_parallel %d must be positive",
                       o->n_ctx, o->n_ubatch, o->n_parallel);
    *out = (struct model_options){.n_ctx = o->n_ctx,
                                  .n_ubatch = o->n_ubatch,
                                  .page_units = m->eng->o.page_units,
                                  .load_copy = copy,
                                  .progress = o->progress,
                                  .progress_ctx = o->progress_ctx};
    i->n_ubatch = o->n_ubatch;
    i->n_parallel = o->n_parallel < o->n_ubatch ? o->n_parallel : o->n_ubatch;
    return true;
}

static bool read_kv_types(struct hold_model *m, const struct hold_model_options *o,
                          struct model_options *out, struct err *e) {
    const char *type[2] = {o->k_type, o->v_type};
    if (!describe_kv_types(m->gguf, type, e)) return false;
    out->k_type = (enum kv_type)kv_type_by_name(type[0]);
    out->v_type = (enum kv_type)kv_type_by_name(type[1]);
    m->info.k_type = kv_type_name(out->k_type);
    m->info.v_type = kv_type_name(out->v_type);
    return true;
}

static void size_logits(struct hold_model *m, struct model_options *o) {
    int rows = STREAM_BYTES / 4 / (int)(m->info.n_vocab ? m->info.n_vocab : 1);
    if (rows < STREAM_ROWS_MIN) rows = STREAM_ROWS_MIN;
    if (rows > o->n_ubatch) rows = o->n_ubatch;
    m->stream_rows = rows;
    m->n_logits = rows + m->info.n_parallel;
    if (m->n_logits > o->n_ubatch) m->n_logits = o->n_ubatch;
    o->n_logits = m->n_logits;
}

static bool open_model(struct hold_model *m, const struct hold_model_options *o, struct err *e) {
    struct loading l = {.m = m};
    if (!o->path) return err_set(e, ERR_ARG, "no model file is given");
    if (!read_options(m, o, &l.o, e)) return false;
    m->info.path = arena_strndup(&m->arena, o->path, strlen(o->path));
    m->info.alias = o->alias ? arena_strndup(&m->arena, o->alias, strlen(o->alias))
                             : base_name(&m->arena, o->path);
    if (!m->info.path || !m->info.alias) return err_nomem(e, "the model's name", 0);
    m->gguf = gguf_open(o->path, e);
    if (!m->gguf || !read_kv_types(m, o, &l.o, e)) return false;
    m->info.file_bytes = gguf_file_bytes(m->gguf);
    m->vocab = vocab_open(m->gguf, e);
    if (!m->vocab ||
        !prompt_template_open(&m->templates, m->gguf, m->vocab, str_of(o->chat_template), e))
        return err_prefix(e, "%s", o->path);
    m->memo = token_memo_new(m->vocab); /* without it: slower, not wrong */
    fill_vocab_info(m);
    size_logits(m, &l.o);
    engine_call(m->eng, load_call, &l);
    if (l.ok) return true;
    *e = l.e;
    return err_prefix(e, "%s", o->path);
}

struct hold_model *hold_model_load(struct hold_engine *eng, const struct hold_model_options *o,
                                   struct hold_error *error) {
    struct err e = {0};
    struct hold_model_options all;
    hold_model_options_init(&all, sizeof all);
    options_take(&all, sizeof all, o);
    struct hold_model *m = mem_calloc(1, sizeof *m);
    if (!m) {
        err_nomem(&e, "the model", sizeof *m);
        error_out(error, &e);
        return NULL;
    }
    m->eng = eng;
    pthread_mutex_init(&m->text_lock, NULL);
    m->grammars = grammar_cache_new(&e);
    if (m->grammars && open_model(m, &all, &e)) return m;
    error_out(error, &e);
    model_destroy(m);
    return NULL;
}

const struct hold_model_info *hold_model_info(const struct hold_model *m) {
    return &m->info;
}

/* ---- estimate ----------------------------------------------------------------------------- */
static int64_t arch_int(const struct gguf *g, const char *name, int64_t otherwise) {
    struct err e = {0};
    struct str arch;
    char key[128];
    int64_t v = otherwise;
    if (!gguf_str(g, "general.architecture", &arch, &e) || arch.len > 64) return v;
    snprintf(key, sizeof key, "%.*s.%s", (int)arch.len, arch.p, name);
    gguf_int(g, key, 0, INT32_MAX, &v, &e);
    return v;
}

/* Activations of one forward pass (about twelve rows of n_embd and three of n_ff) and its logits.
 */
static uint64_t compute_bytes(const struct gguf *g, const struct hold_model_options *o) {
    int64_t n_embd = arch_int(g, "embedding_length", 4096);
    int64_t n_ff = arch_int(g, "feed_forward_length", 4 * n_embd);
    return (uint64_t)o->n_ubatch * 4 * (uint64_t)(12 * n_embd + 3 * n_ff) + 2 * STREAM_BYTES;
}

bool hold_memory_estimate(const struct hold_model_options *o, struct hold_memory *out,
                          struct hold_error *error) {
    struct err e = {0};
    struct hold_model_options all;
    hold_model_options_init(&all, sizeof all);
    options_take(&all, sizeof all, o);
    *out = (struct hold_memory){.available = os_memory_available()};
    struct gguf *g = all.path ? gguf_open(all.path, &e) : NULL;
    if (!g) {
        if (!all.path) err_set(&e, ERR_ARG, "no model file is given");
        error_out(error, &e);
        return false;
    }
    int64_t n_ctx = all.n_ctx ? all.n_ctx : arch_int(g, "context_length", 4096);
    for (uint64_t i = 0; i < gguf_n_tensors(g); i++) out->weights += gguf_tensor_at(g, i)->bytes;
    bool ok = describe_kv_bytes(g, n_ctx, all.k_type, all.v_type, &out->kv, &e);
    out->n_ctx = (int)n_ctx;
    out->compute = compute_bytes(g, &all);
    out->total = out->weights + out->kv + out->compute;
    gguf_close(g);
    if (!ok) error_out(error, &e);
    return ok;
}
