/* libholdfast: language models in one process. The only public header; the program's own verbs and
 * its server use nothing else.
 *
 * Three nouns. An engine owns the compute threads, the memory of all caches and one thread that
 * steps every sequence. A model is a GGUF file loaded into it. A request is one prompt and its
 * answer; it is submitted from any thread and read as a stream of events by one consumer thread.
 *
 * The library never prints, exits or touches signals. Text is UTF-8; `const char *` ends in NUL
 * unless a length stands beside it. Option structs are filled by their _init function, which takes
 * sizeof the caller's struct, so that later versions can append fields. A function that fails
 * returns false or NULL and fills the hold_error (which may be NULL).
 * size: the whole public API stands in this one file. */
#ifndef HOLDFAST_H
#define HOLDFAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

const char *hold_version(void);

/* ---- errors and messages ------------------------------------------------------------------ */
enum hold_code { /* ORDER ERR: base/err.h */
                 HOLD_OK,
                 HOLD_ERR_IO,
                 HOLD_ERR_FORMAT,
                 HOLD_ERR_LIMIT,
                 HOLD_ERR_NOMEM,
                 HOLD_ERR_ARG,
                 HOLD_ERR_UNSUPPORTED,
                 HOLD_ERR_CANCELLED,
                 HOLD_ERR_OVERFLOW, /* n_prompt and n_ctx are filled */
                 HOLD_ERR_BUSY
};
struct hold_error {
    enum hold_code code;
    int64_t pos;             /* byte offset in the input, or -1 */
    int64_t n_prompt, n_ctx; /* tokens: of the prompt, and what the context holds */
    char msg[500];           /* what, where, expected, found, hint */
};

enum hold_level { HOLD_LOG_ERROR, HOLD_LOG_WARN, HOLD_LOG_INFO, HOLD_LOG_DEBUG };
/* Set before the first engine is opened. Called from any thread. NULL discards. */
void hold_log_sink(void (*fn)(void *ctx, enum hold_level level, const char *text), void *ctx);

/* Frees what a function of this header gave away. */
void hold_free(void *p);

/* ---- engine ------------------------------------------------------------------------------- */
struct hold_engine;
struct hold_engine_options {
    size_t size;
    int n_threads;        /* 0 = one per physical core; the engine's own thread counts */
    bool pin;             /* pin the compute threads to cores */
    uint64_t kv_bytes;    /* budget of the K/V pages of all models; 0 = half of what is free */
    const char *disk_dir; /* folder of the disk cache, or NULL for none */
    uint64_t disk_bytes;  /* size limit of the disk cache */
    double prefill_share; /* least share of the time for prefill while others decode, 0..1 */
    int page_units;       /* K/V page size in units of 64 positions; 0 = default */
};
void hold_engine_options_init(struct hold_engine_options *o, size_t size);
struct hold_engine *hold_engine_open(const struct hold_engine_options *o, struct hold_error *e);
/* Cancels what runs, waits, unloads the models. Requests must be freed before. */
void hold_engine_close(struct hold_engine *eng);

/* ---- model -------------------------------------------------------------------------------- */
struct hold_model;
struct hold_model_options {
    size_t size;
    const char *path;
    const char *alias;           /* its name; NULL: the file's name without .gguf */
    int n_ctx;                   /* most positions of one sequence; 0 = trained */
    const char *k_type, *v_type; /* f32, f16, q8_0, q4_0; auto: q8_0, or f16 for biased K */
    bool flash_attn;             /* accepted for llama.cpp's users; attention is always fused */
    const char *load;            /* "mmap", or "copy": read into memory of our own */
    int n_batch;                 /* accepted; prompt tokens taken up between two looks for cancel */
    int n_ubatch;                /* most rows in one forward */
    int n_parallel;              /* most sequences in one step */
    const char *chat_template;   /* Jinja text instead of the file's; NULL: the file's */
    void (*progress)(void *ctx, double fraction);
    void *progress_ctx;
};
void hold_model_options_init(struct hold_model_options *o, size_t size);
/* Blocks until the model is ready; other models' sequences pause between two steps only. */
struct hold_model *hold_model_load(struct hold_engine *eng, const struct hold_model_options *o,
                                   struct hold_error *e);
/* Cancels its requests and drops its cache. Its requests must be freed before or soon: they keep
 * their events, but nothing else of the model. */
void hold_model_unload(struct hold_model *m);

/* What a file says of how its vectors are pooled to an embedding. */
enum hold_pooling { HOLD_POOL_NONE, HOLD_POOL_MEAN, HOLD_POOL_LAST, HOLD_POOL_OTHER };
struct hold_model_info {
    const char *alias, *path, *arch, *name; /* name: general.name, may be "" */
    const char *k_type, *v_type;
    int32_t n_layer, n_embd, n_vocab, n_ctx_train, n_ctx, n_ubatch, n_parallel;
    int64_t n_params;
    uint64_t file_bytes, weight_bytes;
    uint64_t kv_bytes_per_token; /* over all layers whose K/V grow with the context */
    uint64_t state_bytes;        /* of recurrent layers, per sequence */
    uint64_t fingerprint;
    enum hold_pooling pooling;
    int32_t bos, eos, eot, fim_pre, fim_suf, fim_mid; /* token ids, -1: none */
    bool add_bos, add_eos;
    bool has_template, has_system, has_tools, has_reasoning; /* what the chat template can do */
    const char *template_notes; /* one line each: what it refuses or adapts; may be "" */
};
/* Valid until the model is unloaded. */
const struct hold_model_info *hold_model_info(const struct hold_model *m);

struct hold_memory {
    uint64_t weights; /* mapped: shared with other processes and dropped under pressure */
    uint64_t kv;      /* one sequence at n_ctx */
    uint64_t compute; /* activations and scratch, roughly */
    uint64_t total, available;
    int n_ctx;
};
/* What loading would need; reads metadata only. */
bool hold_memory_estimate(const struct hold_model_options *o, struct hold_memory *out,
                          struct hold_error *e);

/* ---- text --------------------------------------------------------------------------------- */
enum {
    HOLD_ADD_SPECIAL = 1,  /* tokenize: BOS/EOS as the model wants them */
    HOLD_PARSE_SPECIAL = 2 /* tokenize: control tokens may form; detokenize: they print */
};
/* *ids and *text belong to the caller: hold_free. */
bool hold_tokenize(const struct hold_model *m, const char *text, size_t len, int flags,
                   int32_t **ids, size_t *n, struct hold_error *e);
bool hold_detokenize(const struct hold_model *m, const int32_t *ids, size_t n, int flags,
                     char **text, size_t *len, struct hold_error *e);
/* The bytes a token prints (control tokens: their text); valid as long as the model. */
const char *hold_token_bytes(const struct hold_model *m, int32_t id, size_t *len);
bool hold_token_is_end(const struct hold_model *m, int32_t id); /* ends an answer */

enum hold_tool_choice { HOLD_TOOLS_AUTO, HOLD_TOOLS_NONE, HOLD_TOOLS_REQUIRED, HOLD_TOOLS_NAMED };
/* A conversation, in the JSON of OpenAI's chat API (with reasoning_content where there is any). */
struct hold_chat {
    const char *messages; /* array */
    const char *tools;    /* array, or NULL */
    const char *kwargs;   /* object: further template variables (reasoning_effort, ...), or NULL */
    enum hold_tool_choice tool_choice;
    const char *tool_name;   /* HOLD_TOOLS_NAMED */
    bool one_call;           /* at most one call in the answer */
    int thinking;            /* enable_thinking: 1 on, 0 off, -1 as the template does */
    bool continue_last;      /* the last assistant message is the start of the answer */
    bool no_generation_turn; /* render only what was said */
};
struct hold_rendering {
    char *text;
    size_t text_len;
    int32_t *ids;
    size_t n_ids;
    char *notes; /* what was adapted to the template, one line each; "" for nothing */
};
bool hold_render(const struct hold_model *m, const struct hold_chat *c, struct hold_rendering *out,
                 struct hold_error *e);
void hold_rendering_free(struct hold_rendering *r);

/* ---- requests ----------------------------------------------------------------------------- */
struct hold_bias {
    int32_t id;
    float bias; /* -INFINITY forbids */
};
/* Names, meaning and defaults as llama.cpp's users know them. temp <= 0 is the exact argmax. */
struct hold_sampling {
    double temp, top_p, min_p, typical_p, top_n_sigma;
    int64_t top_k, min_keep;
    double repeat_penalty, presence_penalty, frequency_penalty;
    int64_t repeat_last_n; /* -1 = whole context */
    double dry_multiplier, dry_base;
    int64_t dry_allowed_length, dry_last_n;
    const char *const *dry_breakers;
    size_t n_dry_breakers;
    double xtc_probability, xtc_threshold;
    int64_t mirostat; /* 0 or 2 */
    double mirostat_tau, mirostat_eta;
    uint64_t seed; /* the same request with the same seed gives the same tokens */
    const struct hold_bias *bias;
    size_t n_bias;
};
enum hold_grammar { /* what hold_request_options.grammar is written in */
                    HOLD_GRAMMAR_NONE,
                    HOLD_GRAMMAR_GBNF,
                    HOLD_GRAMMAR_SCHEMA, /* JSON Schema; "{}" is any JSON */
                    HOLD_GRAMMAR_REGEX,
                    HOLD_GRAMMAR_CHOICES, /* JSON array of strings */
                    HOLD_GRAMMAR_LARK
};
enum hold_priority { HOLD_INTERACTIVE, HOLD_BACKGROUND };

struct hold_request_options {
    size_t size;
    /* The prompt: exactly one of the three. */
    const struct hold_chat *chat;
    const char *text;
    size_t text_len;
    const int32_t *ids; /* taken as they are */
    size_t n_ids;
    int text_flags; /* of text: HOLD_ADD_SPECIAL, HOLD_PARSE_SPECIAL */

    int64_t max_tokens; /* -1: until the context is full; 0: prefill only */
    const char *const *stop;
    size_t n_stop;
    bool ignore_end; /* go on behind end-of-generation tokens */
    struct hold_sampling sampling;
    enum hold_grammar grammar_kind;
    const char *grammar;
    bool grammar_strict;      /* refuse what a schema asks for and we cannot enforce */
    int64_t reasoning_budget; /* most tokens of reasoning, -1: no bound */
    bool raw;                 /* no blocks: everything generated is one text block */

    bool want_tokens; /* HOLD_TOKEN events */
    int64_t n_probs;  /* with the log probabilities of the n best */
    bool want_logits; /* HOLD_LOGITS events for prompt positions >= logits_from and answers */
    bool want_hidden; /* instead: HOLD_HIDDEN, what the head would read (embeddings) */
    int64_t logits_from;

    enum hold_priority priority;
    const char *cache_key; /* requests share cached prefixes within one key (a tenant); NULL: "" */
    bool no_cache;         /* neither use nor keep cached prefixes */
    bool no_ledger;        /* do not map re-sent answers to the tokens they were generated as */

    void (*wake)(void *ctx); /* an event is there for a consumer that may sleep; must not block,
                                nor call into the request; never called after hold_request_free */
    void *wake_ctx;
};
void hold_request_options_init(struct hold_request_options *o, size_t size);

struct hold_request;
/* Renders, tokenizes and compiles on the calling thread, then queues. Copies everything.
 * HOLD_ERR_OVERFLOW when the prompt does not fit the context. */
struct hold_request *hold_request_submit(struct hold_model *m, const struct hold_request_options *o,
                                         struct hold_error *e);
/* Ends it at the next step with HOLD_FINISH_CANCELLED; its prefix stays cached. Any thread. */
void hold_request_cancel(struct hold_request *r);
/* Cancels if it still runs, and forgets it. */
void hold_request_free(struct hold_request *r);

/* ---- events ------------------------------------------------------------------------------- */
enum hold_event_kind {
    HOLD_PROGRESS,    /* prefill goes on */
    HOLD_BLOCK_START, /* blocks come in order and do not nest */
    HOLD_BLOCK_DELTA,
    HOLD_BLOCK_END,
    HOLD_TOKEN,
    HOLD_LOGITS,
    HOLD_HIDDEN,
    HOLD_DONE, /* the last event, or: */
    HOLD_ERROR /* the last event */
};
enum hold_block_kind { HOLD_TEXT, HOLD_REASONING, HOLD_CALL };
enum hold_finish {
    HOLD_FINISH_STOP,        /* the model ended its answer */
    HOLD_FINISH_STOP_STRING, /* done.stop says which */
    HOLD_FINISH_LENGTH,      /* max_tokens, or the context is full */
    HOLD_FINISH_CALLS,       /* it ended and made at least one call */
    HOLD_FINISH_CANCELLED
};
struct hold_done {
    enum hold_finish finish;
    int stop; /* index in options.stop, or -1 */
    int64_t n_prompt, n_cached, n_generated, n_reasoning;
    int64_t n_ctx;                                   /* of the sequence */
    double queue_ms, prefill_ms, decode_ms, ttft_ms; /* ttft: from submit to the first token */
};
struct hold_top {
    int32_t id;
    float logprob;
};
struct hold_progress {
    int64_t n_done, n_total, n_cached; /* prompt tokens */
};
struct hold_block { /* start: id and name of a call; delta: text; end: the rest */
    int index;
    enum hold_block_kind kind;
    const char *id, *name;
    const char *text; /* of a call: a piece of the arguments' JSON */
    size_t len;
    bool cut;                 /* ended by a limit, not by the model */
    int64_t raw_from, raw_to; /* bytes of hold_request_raw it was read from */
};
struct hold_token {
    int32_t id;
    float logprob; /* of the model's distribution */
    const char *bytes;
    size_t len;
    int n_top;
    const struct hold_top *top; /* best first */
};
struct hold_logits {
    int64_t first; /* position of the first row; row i predicts position first + i + 1 */
    int n_rows, n_cols;
    const float *rows; /* (n_rows, n_cols); n_cols: n_vocab, of HOLD_HIDDEN n_embd */
};
struct hold_event {
    enum hold_event_kind kind;
    union {
        struct hold_progress progress; /* HOLD_PROGRESS */
        struct hold_block block;       /* HOLD_BLOCK_* */
        struct hold_token token;       /* HOLD_TOKEN */
        struct hold_logits logits;     /* HOLD_LOGITS, HOLD_HIDDEN */
        struct hold_done done;         /* HOLD_DONE */
        struct hold_error error;       /* HOLD_ERROR */
    };
};
/* Waits at most timeout_ms (-1: for ever, 0: not at all) for the next event. 1: *ev is filled, its
 * pointers hold until the next call; 0: none yet; -1: the last event was read. One thread. An
 * answer waits for a consumer that does not read; nobody else does. */
int hold_request_next(struct hold_request *r, struct hold_event *ev, int64_t timeout_ms);
/* Everything generated, with markers, as text; to be called after the last event. Valid until the
 * request is freed. */
const char *hold_request_raw(const struct hold_request *r, size_t *len);
/* What was adapted when the conversation was rendered; "" for nothing. */
const char *hold_request_notes(const struct hold_request *r);

/* Why a prompt was not served from the cache further than it was. */
struct hold_miss {
    int64_t n_prompt, n_cached;
    int64_t n_match; /* tokens equal to the nearest cached prompt; <= what pages could serve */
    int32_t cached, found; /* the two tokens at n_match, -1: past the end */
    int message;           /* index in chat.messages where it differs, -1: unknown or none */
    char cached_text[128], found_text[128]; /* what follows there, shortened */
};
/* false: not looked up yet. Any thread. */
bool hold_request_explain(const struct hold_request *r, struct hold_miss *out);

/* ---- disk cache --------------------------------------------------------------------------- */
struct hold_cache_file {
    const char *path;
    uint64_t bytes, n_pages, n_entries; /* pages of K/V; entries of the ledger */
    uint64_t n_unusable;                /* bytes behind a damaged place or a torn end */
    int64_t created;                    /* seconds since 1970 */
};
/* Calls fn with each file of a cache folder, oldest first. Needs no engine. */
bool hold_cache_list(const char *dir, void (*fn)(void *ctx, const struct hold_cache_file *f),
                     void *ctx, struct hold_error *e);
/* Removes the files; *bytes is what they had. Running servers go on without them. */
bool hold_cache_clear(const char *dir, uint64_t *bytes, struct hold_error *e);

/* ---- numbers ------------------------------------------------------------------------------ */
struct hold_stats {
    size_t size;                            /* set by the caller */
    uint64_t kv_budget, kv_used, kv_cached; /* bytes; cached: of used, what could be dropped */
    int n_models, n_queued, n_running, n_parked;
    uint64_t n_requests, n_finished, n_failed, n_cancelled;
    uint64_t n_prompt_tokens, n_cached_tokens, n_generated_tokens, n_steps;
    double prefill_rate, decode_rate; /* tokens per second, over the last seconds of work */
    uint64_t disk_bytes, disk_queue_bytes;
};
void hold_engine_stats(const struct hold_engine *eng, struct hold_stats *out);
/* The same for one model; kv_budget is the engine's. */
void hold_model_stats(const struct hold_model *m, struct hold_stats *out);

/* Times the forward pass on random tokens without sampling, as llama-bench does: a prefill of
 * n_prompt tokens, then n_gen tokens one by one, both behind n_depth tokens that are not timed.
 * Runs alone on the engine's thread. */
struct hold_bench_options {
    int n_prompt, n_gen, n_depth;
    int n_reps;
    bool no_warmup;
    /* After each repetition; false ends the run. May be NULL. */
    bool (*each)(void *ctx, int rep, uint64_t ns);
    void *ctx;
};
/* ns: n_reps durations of n_prompt + n_gen tokens. */
bool hold_bench(struct hold_model *m, const struct hold_bench_options *o, uint64_t *ns,
                struct hold_error *e);

#ifdef __cplusplus
}
#endif
#endif
