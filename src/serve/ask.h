/* What a client asks for, in no API's terms: every API fills a struct ask from its body, and
 * answer.h runs it. Strings and JSON of an ask live in its arena or are held by it. */
#ifndef HOLDFAST_SERVE_ASK_H
#define HOLDFAST_SERVE_ASK_H

#include "base/json.h"
#include "base/mem.h"
#include "serve/http.h"
#include "serve/models.h"

enum { ASK_N_MAX = 16 };

struct ask {
    struct arena arena;
    const struct model_entry *entry; /* held; ask_free gives it back */
    struct models *models;

    /* The prompt: a conversation in the shape of OpenAI's chat API, or text, or token ids. */
    json_t *messages, *tools, *kwargs; /* owned; tools and kwargs may be NULL */
    json_t *custom;                    /* owned: the names of tools that take one text, or NULL */
    struct hold_chat chat;             /* choice, thinking, ...: the JSON is filled by ask_chat */
    struct str text;
    const int32_t *ids;
    size_t n_ids;
    bool is_text; /* text is the prompt, even when it is empty */

    struct hold_request_options o; /* sampling, stop, grammar, limits: as holdfast.h says */
    int n;                         /* answers, 1..ASK_N_MAX */
    bool stream;
    bool progress; /* the client asked for prefill progress */
};

/* Takes the model (loading it when need be) and its defaults. After this an API sets fields. */
bool ask_open(struct ask *a, struct models *m, const char *model, struct http_error *e);
void ask_free(struct ask *a);

/* Copies into the arena; NULL when there is no memory. */
const char *ask_text(struct ask *a, struct str s);

/* ---- fields of a body, table-driven ------------------------------------------------------- */
enum ask_kind {
    ASK_REAL, /* double */
    ASK_INT,  /* int64_t */
    ASK_UINT, /* uint64_t, negative values as "choose one" (seed) */
    ASK_BOOL  /* bool */
};
struct ask_field {
    const char *name; /* in the body */
    enum ask_kind kind;
    size_t offset; /* in struct ask */
    double min, max;
};
/* Reads the fields that are there and not null; refuses a wrong type or range, naming it. */
bool ask_fields(struct ask *a, const json_t *body, const struct ask_field *f, size_t n,
                struct http_error *e);
/* Every sampler under the names of llama-server's API, which others borrow. */
extern const struct ask_field ask_sampling[];
extern const size_t ask_n_sampling;

/* stop: a string or an array of strings. */
bool ask_stop(struct ask *a, const json_t *stop, struct http_error *e);
/* {"ID": bias} or [[ID or "text", bias or false]] */
bool ask_bias(struct ask *a, const json_t *bias, struct http_error *e);
/* A grammar held as text or as JSON. */
bool ask_grammar(struct ask *a, enum hold_grammar kind, const json_t *value, struct http_error *e);
/* Images and sounds, which no model here can take in: refused when the user sends them now; in an
 * older message their place says that something was there, so that a conversation can go on. */
bool ask_media(struct ask *a, struct http_error *e);
/* Writes the conversation into a->chat, as the engine takes it; media are answered for first. */
bool ask_chat(struct ask *a, struct http_error *e);
/* low, medium, high, none ...: a template variable and, where it says how much, a budget. */
bool ask_effort(struct ask *a, const char *effort, struct http_error *e);

/* Fills e; returns false. */
bool ask_refuse(struct http_error *e, int status, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The HTTP status of an error of the engine. */
int ask_status(enum hold_code code);
/* Parses a body as a JSON object, or refuses. */
json_t *ask_body(struct http_req *r, struct http_error *e);

#endif
