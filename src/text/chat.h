/* Chat rendering: messages, tools and variables to the text that a model sees, every byte with its
 * origin, so that message content never forms a special token. A template is probed once with
 * small conversations; messages are then adapted, in place, to what it refuses or drops, and what
 * was adapted or could not be shown is reported in notes. Does not tokenize. BOS: a template may
 * write it itself; has_bos says so, and who tokenizes passes add_special = !has_bos. */
#ifndef HOLDFAST_TEXT_CHAT_H
#define HOLDFAST_TEXT_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

struct gguf;
struct vocab;
struct jinja;
struct text_span;

/* A template with what probing found; immutable after chat_open, any thread may render. */
struct chat;

struct chat_source {
    struct str template;      /* empty: a built-in format */
    struct str tool_template; /* the variant for requests with tools; may be empty */
    struct str bos, eos;      /* texts of those tokens; may be empty */
    /* Whether the vocabulary has this token: picks the built-in format. NULL: ChatML. */
    bool (*has_token)(const void *ctx, const char *text);
    const void *ctx;
};
/* Never fails for a bad template: the built-in format takes its place, with a note. NULL only
 * without memory. */
struct chat *chat_open(const struct chat_source *s, struct err *e);
/* The template of a model's file, or `template` instead of it when that is not empty. v may be
 * NULL: then special tokens are not known. */
struct chat *chat_open_model(const struct gguf *g, const struct vocab *v, struct str template,
                             struct err *e);
void chat_close(struct chat *c);

/* One line each, about the template itself: fallback taken, what it refuses, what is adapted. */
const char *chat_notes(const struct chat *c);
/* The template in use, with or without tools, for probing. */
const struct jinja *chat_jinja(const struct chat *c, bool with_tools);
struct chat_can {
    bool system, tools, calls, parallel, results, reasoning;
    const char *builtin; /* name of the built-in format in use, or NULL */
};
struct chat_can chat_can(const struct chat *c);
struct str chat_bos(const struct chat *c);
struct str chat_eos(const struct chat *c);

enum chat_part {
    CHAT_TEMPLATE, /* and nothing else may form special tokens */
    CHAT_VARIABLE, /* a value of kwargs */
    CHAT_TOOLS,
    CHAT_MESSAGE, /* anything of a message that is none of the following */
    CHAT_CONTENT,
    CHAT_REASONING,
    CHAT_CALL /* of tool_calls: names, ids, arguments */
};
struct chat_span {
    size_t start, len; /* bytes of the text */
    enum chat_part part;
    bool special; /* special tokens may form in it */
    int message;  /* index in the request's messages; -1: none */
};

struct chat_request {
    const json_t *messages; /* array, OpenAI's shape */
    const json_t *tools;    /* array, or NULL */
    const json_t *kwargs;   /* object: further variables, or NULL */
    int thinking;           /* enable_thinking: 1 on, 0 off, -1 as the template does */
    bool no_prompt;         /* leave the generation prompt out */
    bool continue_last;     /* the last message, an assistant's, is the start of the answer */
    const struct tm *now;   /* clock of the template; NULL: local time */
    /* Markup of reasoning and calls, from the template's descriptor: in the text of assistant
     * messages these may form special tokens too. */
    const struct str *markers;
    size_t n_markers;
};

/* Zero-initialise; free with chat_rendering_free; may be used again. */
struct chat_rendering {
    struct buf text;
    struct chat_span *span;
    size_t n_span, span_cap;
    bool has_bos;     /* the text begins with the BOS token's text */
    struct buf notes; /* what was adapted or is not shown, one line each */
};
/* false with e filled: malformed request, or no memory. What the template refuses even adapted is
 * rendered in the built-in format, with a note. */
bool chat_render(const struct chat *c, const struct chat_request *q, struct chat_rendering *out,
                 struct err *e);
void chat_rendering_free(struct chat_rendering *r);

/* The spans as the tokenizer wants them, neighbours of one kind joined. *out is freed by the
 * caller with mem_free; texts point into r. false: no memory. */
bool chat_text_spans(const struct chat_rendering *r, struct text_span **out, size_t *n);

/* What the generation prompt adds behind this request's messages: the rendering with it minus the
 * common prefix with the rendering without it. It may open a reasoning block. */
bool chat_generation_prompt(const struct chat *c, const struct chat_request *q, struct buf *out,
                            struct err *e);

#endif
