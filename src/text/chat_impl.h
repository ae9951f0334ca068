/* Inside of chat rendering: how messages are adapted (chat_adapt.c), what a rendering shows of
 * them (chat_check.c), and how both are learnt from a template (chat_probe.c). */
#ifndef HOLDFAST_TEXT_CHAT_IMPL_H
#define HOLDFAST_TEXT_CHAT_IMPL_H

#include "text/chat.h"
#include "text/jinja.h"

/* ORDER STYLE: what a template wants; option 0 of each is the request as it stands. The rows of
 * chat_probe.c say what is tried. */
enum chat_axis {
    STYLE_CONTENT,   /* texts as strings; as lists of parts */
    STYLE_SYSTEM,    /* first system message; put in front of the first user text */
    STYLE_DEVELOPER, /* role developer; as system */
    STYLE_SECOND,    /* a second system message behind the first; joined to it */
    STYLE_LATE,      /* system messages further on; as user */
    STYLE_REPEAT,    /* equal roles in a row; joined */
    STYLE_OPENING,   /* assistant first; behind an empty user turn */
    STYLE_TOOLS,     /* variable `tools`; explained in the system text */
    STYLE_CALLS,     /* tool_calls; as text */
    STYLE_ARGUMENTS, /* arguments as objects; as JSON text */
    STYLE_IDS,       /* ids as given; nine characters; functions.NAME:N */
    STYLE_EMPTY,     /* content beside calls when there is none: null; ""; no key */
    STYLE_BESIDE,    /* text beside calls; in a message of its own before them */
    STYLE_RESULTS,   /* role tool; as user */
    STYLE_PARALLEL,  /* several calls in a message; one after the other with their results */
    STYLE_MALFORMED, /* arguments that are no JSON as they are; the call as text */
    STYLE_RESUME,    /* turns around tool results; empty ones so that roles alternate; blank */
    STYLE_UNKNOWN,   /* roles that nobody knows; as user */
    STYLE_REASONING, /* reasoning_content; thinking; reasoning; parts of type thinking; thinking
                        without a text beside it */
    STYLE_AXES
};
struct chat_style {
    uint8_t v[STYLE_AXES];
};

/* Messages as they are given to the template. */
struct chat_work {
    const struct chat_style *style;
    const json_t *in;    /* the request's messages */
    const json_t *tools; /* normalised, or NULL */
    const bool *as_text; /* per message of `in`: put into plain turns; NULL: none */
    struct buf *notes;   /* what was adapted; may be NULL */
    json_t *out;
    int *from; /* per message of out: its index in `in`, or -1 */
    size_t n, cap;
    bool *used; /* per message of in: a result that already stands behind its call */
    bool told[STYLE_AXES];
    bool failed; /* no memory */
};
/* Fills w->out and w->from. false: no memory. */
bool chat_adapt(struct chat_work *w);
void chat_work_free(struct chat_work *w);
/* OpenAI's shape for every tool; NULL for none. */
json_t *chat_normal_tools(const json_t *tools);
/* What is said of an option other than 0; NULL: nothing, it changes no text. */
extern const char *const chat_axis_note[STYLE_AXES];

/* Origins of jinja.h: part in the low bits, index + 1 of the adapted message above. */
enum { CHAT_PART_BITS = 4 };
uint32_t chat_origin(void *ctx, uint32_t parent, const char *key, size_t index,
                     const json_t *value);
static inline enum chat_part chat_part_of(uint32_t origin) {
    return (enum chat_part)(origin & ((1u << CHAT_PART_BITS) - 1));
}
static inline int chat_index_of(uint32_t origin) {
    return (int)(origin >> CHAT_PART_BITS) - 1;
}

/* What of the messages is missing in a rendering. */
struct chat_missing {
    int content, reasoning, calls, tools; /* numbers of messages, or of tools */
    int garbage;   /* messages without content for which some was printed ("None") */
    bool *message; /* per message of `work->in`: content or a call of it is not shown */
    size_t n;
};
/* false: no memory. */
bool chat_check(const struct chat_work *w, const struct jinja_output *out, struct chat_missing *m);
void chat_missing_free(struct chat_missing *m);

/* One attempt: adapt, render, check. */
struct chat_attempt {
    struct chat_work work;
    struct jinja_output out;
    struct chat_missing missing;
    json_t *vars;
};
struct chat_variables {
    struct str bos, eos;
    const json_t *kwargs;
    int thinking;
    bool prompt;
    const struct tm *now;
};
/* a: zeroed, its work filled up to notes. false with e->code ERR_NOMEM or the template's error. */
bool chat_attempt(const struct jinja *t, const struct chat_variables *v, struct chat_attempt *a,
                  struct err *e);
void chat_attempt_free(struct chat_attempt *a);

/* Learns the style of a template. notes: one line per finding. false: not even one user message
 * can be rendered (e says why), or no memory (e->code). */
bool chat_probe(const struct jinja *t, struct str bos, struct str eos, struct chat_style *style,
                struct chat_can *can, struct buf *notes, struct err *e);

/* The built-in format for a vocabulary: its name and template. */
const char *chat_builtin(const struct chat_source *s, struct str *template);

#endif
