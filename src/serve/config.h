/* Settings of the server and of each model, from the command line and a file:
 *
 *   # ~/.config/holdfast/config.ini
 *   [server]
 *   port = 8080
 *   models-dir = "~/models"
 *   [model.coder]                 # answers to the name "coder"
 *   path = "qwen2.5-coder.gguf"   # relative to models-dir
 *   alias = "gpt-4o, claude-sonnet"
 *   ctx-size = 32768
 *   pinned = true
 *   temp = 0.2
 *
 * Keys are the long options of `holdfast serve` without the dashes. A flag beats the file. */
#ifndef HOLDFAST_SERVE_CONFIG_H
#define HOLDFAST_SERVE_CONFIG_H

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "holdfast.h"

enum { CONFIG_MODELS_MAX = 256, CONFIG_LIST_MAX = 32 };

struct model_config {
    const char *name, *path;
    const char *aliases;                                /* separated by commas, or NULL */
    const char *k_type, *v_type, *load, *chat_template; /* the last: a file's name */
    int64_t n_ctx, n_ubatch, n_parallel;
    bool pinned;         /* loaded at start, never evicted */
    double idle_seconds; /* unloaded after this much without a request; 0: stays */
    /* Defaults for requests that do not say; NAN: the engine's. */
    double temp, top_p, min_p, top_k, repeat_penalty, presence_penalty, frequency_penalty;
    int64_t max_tokens, reasoning_budget; /* -1: no bound */
};

struct config {
    struct arena arena; /* strings of the file */
    const char *host, *unix_path, *models_dir, *key_file, *log_prompts, *disk_dir, *web_dir;
    int64_t port, n_threads, max_connections, request_seconds, alive_seconds;
    double memory_gib, kv_gib, disk_gib, prefill_share;
    bool pin, no_disk_cache, metrics_open;
    const char *allow_hosts[CONFIG_LIST_MAX + 1], *allow_origins[CONFIG_LIST_MAX + 1];
    struct model_config base; /* what models start from */
    struct model_config model[CONFIG_MODELS_MAX];
    size_t n_models;
};

void config_init(struct config *c);
/* Appends a model with the settings of c->base; NULL when there are too many. */
struct model_config *config_add_model(struct config *c, const char *name, const char *path);
/* Reads one part of the file over what c holds: the settings ([server], [model]), then, when the
 * command line has had its say, the models, which start from c->base. Errors name file and line,
 * and the nearest known key. */
enum config_part { CONFIG_SETTINGS, CONFIG_MODELS };
bool config_parse(struct config *c, enum config_part part, struct str text, const char *file,
                  struct err *e);
void config_free(struct config *c);

#endif
