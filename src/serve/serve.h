/* The server: one engine, the models it hosts and the APIs that speak to them. Called by cmd/.
 * Each API is a file of its own with a table of routes; JSON field names stand only there. */
#ifndef HOLDFAST_SERVE_SERVE_H
#define HOLDFAST_SERVE_SERVE_H

#include "serve/config.h"
#include "serve/http.h"
#include "serve/models.h"
#include "serve/track.h"

struct serve { /* http_ctx() of every request */
    struct config *config;
    struct hold_engine *engine;
    struct models *models;
    struct http_server *http;
    struct track *track;               /* running and past requests */
    struct responses_store *responses; /* what previous_response_id finds */
    uint64_t started_ns;
    int64_t started;
};

/* Opens the engine, the models and the socket. */
bool serve_open(struct serve *s, struct config *c, struct err *e);
/* Refuses new requests, waits at most this long for running ones, then closes everything. */
void serve_close(struct serve *s, double seconds);

/* ---- the APIs' tables --------------------------------------------------------------------- */
extern const struct http_routes openai_routes, llama_routes, native_routes, metrics_routes,
    metrics_open_routes; /* without a key */
extern const struct http_routes anthropic_routes, responses_routes, ollama_routes, embed_routes;

#endif
