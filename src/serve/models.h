/* The models a server may host: files of a folder and of the configuration, loaded by name when a
 * request asks for them, unloaded when idle for long or when another one needs the memory.
 * Any thread. */
#ifndef HOLDFAST_SERVE_MODELS_H
#define HOLDFAST_SERVE_MODELS_H

#include "serve/config.h"
#include "serve/http.h"

struct models;

enum model_state { MODEL_UNLOADED, MODEL_LOADING, MODEL_LOADED, MODEL_FAILED };
struct model_entry {
    const struct model_config *config; /* name, path, aliases, defaults */
    struct hold_model *model;          /* while it is held by models_use */
};

/* Scans the folder; files that the configuration names keep its settings, others are added to c.
 * Loads what is pinned. */
struct models *models_open(struct hold_engine *eng, struct config *c, struct err *e);
void models_close(struct models *m);

/* The model of that name or alias (also its file's name), loaded if it is not, and kept loaded
 * until models_done. NULL or "" is the default one; so is any name when the server was given one
 * model only (agents send names of their own). NULL with e filled: 404 unknown, 503 when memory is
 * short now, 400 when it can never fit, 500 when its file is bad. */
const struct model_entry *models_use(struct models *m, const char *name, struct http_error *e);
void models_done(struct models *m, const struct model_entry *entry);

/* Unloads an idle model. false with 409 while requests use it. */
bool models_unload(struct models *m, const char *name, struct http_error *e);

/* A copy of what is known of one model, also when it is not loaded; strings hold as long as m. */
struct model_view {
    const struct model_config *config;
    enum model_state state;
    double progress; /* of loading, 0..1 */
    int n_users;
    double idle_seconds;
    bool has_info; /* info is filled: it was loaded once. Its strings are "" while it is not now. */
    struct hold_model_info info;
    struct hold_stats stats; /* while loaded */
    uint64_t file_bytes;
    int64_t mtime; /* of the file, seconds since 1970 */
    char error[500];
};
/* The i-th in order of name; false past the end. */
bool models_view(struct models *m, size_t i, struct model_view *out);
bool models_find(struct models *m, const char *name, struct model_view *out);

struct models_memory {
    uint64_t budget, kv,
        weights; /* bytes: --memory, of it the K/V cache, what loaded models hold */
};
void models_memory(struct models *m, struct models_memory *out);

#endif
