/* What the files of Ollama's API share: api_ollama.c (chat and generate), api_ollama_body.c (their
 * bodies) and api_ollama_models.c (tags, show, ps, version). */
#ifndef HOLDFAST_SERVE_API_OLLAMA_H
#define HOLDFAST_SERVE_API_OLLAMA_H

#include "serve/answer.h"

/* Fill an ask from a body; false with e filled. *k is opened and is the caller's to free. *empty:
 * there is nothing to answer, the client only wants the model loaded. */
bool ollama_chat_ask(struct ask *k, struct models *m, const json_t *body, bool *empty,
                     struct http_error *e);
bool ollama_generate_ask(struct ask *k, struct models *m, const json_t *body, bool *empty,
                         struct http_error *e);
/* The model's name, "name:latest" being "name". Into the ask's arena. */
bool ollama_open(struct ask *k, struct models *m, const json_t *body, struct http_error *e);

void ollama_refuse(struct http_req *r, const struct http_error *e);
json_t *ollama_error(const struct http_error *e);
/* 2025-01-31T12:00:00Z */
json_t *ollama_time(int64_t seconds);

void ollama_tags(struct http_req *r);
void ollama_show(struct http_req *r);
void ollama_ps(struct http_req *r);
void ollama_version(struct http_req *r);

#endif
