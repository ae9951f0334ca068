/* Options that several verbs share: where the model is and how it is loaded, and how tokens are
 * chosen. A verb embeds the structs in its own and lists the rows with these macros. */
#ifndef HOLDFAST_CMD_FLAGS_H
#define HOLDFAST_CMD_FLAGS_H

#include "cmd/cmd.h"
#include "holdfast.h"

struct model_flags {
    const char *model, *k_type, *v_type, *load, *chat_template;
    int64_t n_ctx, n_threads, n_batch, n_ubatch, n_parallel;
    double memory_gib;
    bool flash, pin, no_mmap;
};

struct sample_flags {
    double temp, top_p, min_p, typical_p, top_n_sigma;
    double repeat_penalty, presence_penalty, frequency_penalty;
    double dry_multiplier, dry_base, xtc_probability, xtc_threshold, mirostat_tau, mirostat_eta;
    int64_t top_k, repeat_last_n, dry_allowed_length, dry_last_n, mirostat, seed;
    struct opt_list bias, stop;
};

#define MODEL_OPTS(T, f)                                                                           \
    {"-m, --model", "FILE", OPT_STR, offsetof(T, f.model),                                         \
     "GGUF file, or its name in the models folder"},                                               \
        {"-c, --ctx-size", "N", OPT_INT, offsetof(T, f.n_ctx),                                     \
         "context in tokens (0: what the model was trained with)"},                                \
        {"-t, --threads", "N", OPT_INT, offsetof(T, f.n_threads),                                  \
         "compute threads (0: one per physical core)"},                                            \
        {"-b, --batch-size", "N", OPT_INT, offsetof(T, f.n_batch),                                 \
         "prompt tokens between two looks for cancel"},                                            \
        {"-ub, --ubatch-size", "N", OPT_INT, offsetof(T, f.n_ubatch),                              \
         "most tokens in one forward pass"},                                                       \
        {"-fa, --flash-attn", "on|off", OPT_ON_OFF, offsetof(T, f.flash),                          \
         "accepted for llama.cpp's users: attention is always fused"},                             \
        {"-ctk, --cache-type-k", "TYPE", OPT_STR, offsetof(T, f.k_type),                           \
         "K cache: f32, f16, q8_0, q4_0 (auto: q8_0; f16 where K has a bias)"},                    \
        {"-ctv, --cache-type-v", "TYPE", OPT_STR, offsetof(T, f.v_type),                           \
         "V cache: f32, f16, q8_0, q4_0 (auto: q8_0)"},                                            \
        {"--load", "mmap|copy", OPT_STR, offsetof(T, f.load),                                      \
         "map the weights, or copy them into 2 MiB pages"},                                        \
        {"--no-mmap", NULL, OPT_FLAG, offsetof(T, f.no_mmap), "the same as --load copy"},          \
        {"--memory", "GIB", OPT_REAL, offsetof(T, f.memory_gib),                                   \
         "budget of the K/V cache (0: half of what is free)"},                                     \
        {"--pin", NULL, OPT_FLAG, offsetof(T, f.pin), "pin compute threads to cores"}, {           \
        "--chat-template-file", "FILE", OPT_STR, offsetof(T, f.chat_template),                     \
            "Jinja template to use instead of the file's"                                          \
    }

#define SAMPLE_OPTS(T, f)                                                                          \
    {"--temp", "X", OPT_REAL, offsetof(T, f.temp), "temperature; 0 is greedy"},                    \
        {"--top-k", "N", OPT_INT, offsetof(T, f.top_k), "keep the N best (0: off)"},               \
        {"--top-p", "X", OPT_REAL, offsetof(T, f.top_p), "keep the best of total probability X"},  \
        {"--min-p", "X", OPT_REAL, offsetof(T, f.min_p),                                           \
         "keep what has at least X times the best probability"},                                   \
        {"--typical", "X", OPT_REAL, offsetof(T, f.typical_p), "locally typical sampling"},        \
        {"--top-nsigma", "X", OPT_REAL, offsetof(T, f.top_n_sigma),                                \
         "keep logits within X standard deviations of the best (-1: off)"},                        \
        {"--repeat-penalty", "X", OPT_REAL, offsetof(T, f.repeat_penalty), "1: off"},              \
        {"--repeat-last-n", "N", OPT_INT, offsetof(T, f.repeat_last_n),                            \
         "tokens that penalties look at (-1: the context)"},                                       \
        {"--presence-penalty", "X", OPT_REAL, offsetof(T, f.presence_penalty), "0: off"},          \
        {"--frequency-penalty", "X", OPT_REAL, offsetof(T, f.frequency_penalty), "0: off"},        \
        {"--dry-multiplier", "X", OPT_REAL, offsetof(T, f.dry_multiplier), "DRY; 0: off"},         \
        {"--dry-base", "X", OPT_REAL, offsetof(T, f.dry_base), "growth of the DRY penalty"},       \
        {"--dry-allowed-length", "N", OPT_INT, offsetof(T, f.dry_allowed_length),                  \
         "repeats of this length are free"},                                                       \
        {"--dry-penalty-last-n", "N", OPT_INT, offsetof(T, f.dry_last_n),                          \
         "tokens that DRY looks at (-1: the context)"},                                            \
        {"--xtc-probability", "X", OPT_REAL, offsetof(T, f.xtc_probability), "0: off"},            \
        {"--xtc-threshold", "X", OPT_REAL, offsetof(T, f.xtc_threshold), "above 0.5: off"},        \
        {"--mirostat", "N", OPT_INT, offsetof(T, f.mirostat), "0: off, 2: mirostat 2"},            \
        {"--mirostat-ent", "X", OPT_REAL, offsetof(T, f.mirostat_tau), "target surprise"},         \
        {"--mirostat-lr", "X", OPT_REAL, offsetof(T, f.mirostat_eta), "learning rate"},            \
        {"-l, --logit-bias", "ID+X", OPT_LIST, offsetof(T, f.bias),                                \
         "add X to a token's logit, e.g. 15043-1.5"},                                              \
        {"-s, --seed", "N", OPT_INT, offsetof(T, f.seed), "seed of the sampler (-1: random)"}, {   \
        "-r, --reverse-prompt, --stop", "TEXT", OPT_LIST, offsetof(T, f.stop),                     \
            "end the answer at this text"                                                          \
    }

void flags_init(struct model_flags *m, struct sample_flags *s);
/* Opens an engine and loads the model with progress on a terminal; closes what it opened and
 * returns false with e filled when anything fails. extra may be NULL: further engine options. */
bool flags_open(const struct model_flags *f, struct hold_engine **engine, struct hold_model **model,
                struct hold_error *e);
/* Fills sampling and stop; *bias (BIAS_MAX) must live as long as o. */
enum { BIAS_MAX = OPT_LIST_MAX };
bool flags_sampling(const struct sample_flags *f, struct hold_request_options *o,
                    struct hold_bias *bias, struct hold_error *e);
int flags_fail(const char *verb, const struct hold_error *e);

#endif
