/* What the files of OpenAI's API share: api_openai.c (routes, models, errors, completions),
 * api_openai_body.c (bodies), api_openai_tools.c (their tools) and api_openai_chat.c (answers of
 * chat/completions). */
#ifndef HOLDFAST_SERVE_API_OPENAI_H
#define HOLDFAST_SERVE_API_OPENAI_H

#include "serve/answer.h"

/* What of the body the answer's shape depends on. */
struct openai_want {
    bool usage;    /* stream_options.include_usage */
    bool logprobs; /* and, for completions, how they look */
    bool echo;
    char *prompt; /* to be echoed; owned */
};

/* Fills an ask from a body; false with e filled. *k is opened and is the caller's to free. */
bool openai_chat_ask(struct ask *k, struct models *m, const json_t *body, struct openai_want *want,
                     struct http_error *e);
bool openai_text_ask(struct ask *k, struct models *m, const json_t *body, struct openai_want *want,
                     struct http_error *e);
/* The fields of a chat body, for an ask that is open. */
bool openai_chat_fields(struct ask *k, const json_t *body, struct openai_want *want,
                        struct http_error *e);
/* One text or a list of tokens as the prompt. */
bool openai_prompt(struct ask *k, const json_t *v, struct http_error *e);
/* The fields of both: sampling, limits, grammars, stop; also of responses. */
bool openai_common(struct ask *k, const json_t *body, struct http_error *e);
/* tools, tool_choice, parallel_tool_calls; custom tools are noted in k->custom. */
bool openai_tools(struct ask *k, const json_t *body, struct http_error *e);
/* The messages with calls of custom tools as calls of functions; NULL: no memory. */
json_t *openai_history(json_t *messages);
/* reasoning_effort, reasoning.effort, enable_thinking, chat_template_kwargs */
bool openai_thinking(struct ask *k, const json_t *body, struct http_error *e);
/* text, json_object or json_schema; param names the field. */
bool openai_format(struct ask *k, const json_t *f, const char *param, struct http_error *e);
/* Fill in the middle: ids of prefix, suffix and the model's markers as the prompt. */
bool openai_fim(struct ask *k, struct str prefix, struct str suffix, struct http_error *e);

void openai_refuse(struct http_req *r, const struct http_error *e);
json_t *openai_error(const struct http_error *e);
json_t *openai_usage(const struct answer *a);
/* llama-server's figures: n tokens and ms of prompt and answer. */
json_t *openai_timings(const struct answer *a);
const char *openai_finish(const struct hold_done *d);
/* {"content": [...]} as chat has it, of n tokens. */
json_t *openai_logprobs(const struct answer *a, const struct answer_token *t, size_t n);
/* Appends a token's entry to *list, which is made at the first one. */
void openai_logprobs_add(const struct answer *a, json_t **list, const struct hold_token *t);

void openai_chat(struct http_req *r); /* a handler */

#endif
