/* What the files of OpenAI's Responses API share: api_responses.c (routes, errors),
 * api_responses_body.c (fields and tools), api_responses_items.c (items to messages),
 * api_responses_out.c (answers) and api_responses_store.c (what previous_response_id finds). */
#ifndef HOLDFAST_SERVE_API_RESPONSES_H
#define HOLDFAST_SERVE_API_RESPONSES_H

#include "serve/answer.h"
#include "serve/serve.h"

/* Every tool is a function to the model, under one flat name; this is how it came. */
enum responses_kind {
    RESPONSES_FUNCTION,
    RESPONSES_CUSTOM, /* free text: a function with the one parameter `input` */
    RESPONSES_SEARCH  /* tool_search that the client runs */
};
struct responses_tool {
    const char *flat, *name, *space; /* space: its namespace, or NULL */
    enum responses_kind kind;
};

/* What of the body the answer depends on; lives in the ask's arena but for the JSON. */
struct responses_want {
    const struct responses_tool *tool;
    size_t n_tools;
    json_t *items;  /* owned: the whole conversation as items, what went before included */
    json_t *echo;   /* owned: the fields that a response repeats of its request */
    bool store;     /* may be asked for later */
    bool encrypted; /* reasoning carries encrypted_content */
    bool logprobs;
};
void responses_want_free(struct responses_want *w);

/* Fills an ask; false with e filled. key: whose stored responses it may go on from. *k is opened
 * and is the caller's to free, w too. */
bool responses_ask(struct ask *k, struct serve *s, const char *key, const json_t *body,
                   struct responses_want *w, struct http_error *e);
/* w->tool and k->tools from the body's tools and those that a tool_search found in the items. */
bool responses_tools(struct ask *k, const json_t *body, struct responses_want *w,
                     struct http_error *e);
/* The flat name of a tool: SPACE__NAME. In the ask's arena; NULL: no memory. */
const char *responses_flat(struct ask *k, struct str space, struct str name);
/* k->messages from the instructions and w->items. */
bool responses_messages(struct ask *k, const json_t *instructions, const struct responses_want *w,
                        struct http_error *e);

/* encrypted_content: the reasoning itself, so that it survives a restart of the server. */
json_t *responses_seal(struct str reasoning);
json_t *responses_unseal(const json_t *sealed); /* NULL: not one of ours */

/* Runs the ask and answers (both are taken over). */
void responses_run(struct http_req *r, struct ask *k, const struct responses_want *w);
/* A response that failed before there was an answer. */
json_t *responses_failed(const struct http_req *r, const struct http_error *e);

/* ---- the store; any thread ---------------------------------------------------------------- */
struct responses_store *responses_store_new(void);
void responses_store_free(struct responses_store *s);
/* Keeps a response and its items under its id; drops the oldest when they are too many. */
void responses_store_put(struct responses_store *s, const char *key, const char *id,
                         const json_t *response, const json_t *items);
enum responses_part { RESPONSES_RESPONSE, RESPONSES_ITEMS };
/* A copy; NULL: there is none of this key. */
json_t *responses_store_get(struct responses_store *s, const char *key, const char *id,
                            enum responses_part part);
/* An output item by its own id. */
json_t *responses_store_item(struct responses_store *s, const char *key, const char *id);
bool responses_store_delete(struct responses_store *s, const char *key, const char *id);

#endif
