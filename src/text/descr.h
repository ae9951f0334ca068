/* What the markup of a chat template is: reasoning, calls, turn ends. Pure data, learnt once per
 * template by rendering probe conversations and looking where their words come out, never from a
 * model's name. From it come the output parser (toolcall.h) and the grammar of a turn.
 *
 * All texts are literal, as the template writes them, white space included:
 *   turn  = turn_open [think_open REASONING think_close] [text_open] TEXT [calls] end
 *   calls = section_open call (call_sep call)* section_close
 *   call  = call_open [ID id_sep] NAME [name_again NAME] [id_sep ID] name_args ARGUMENTS
 *           [id_sep ID] call_close            (where the id stands, if anywhere, is id_place)
 * ARGUMENTS is one JSON object, except
 *   tags:   (param_open KEY key_close VALUE value_close)*, param_sep between
 *   python: KEY=LITERAL joined by ", " (name_args and call_close hold the brackets)
 *   gemma:  {KEY:VALUE,...} with bare keys and strings between two `quote` texts */
#ifndef HOLDFAST_TEXT_DESCR_H
#define HOLDFAST_TEXT_DESCR_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

struct jinja;

enum descr_syntax { /* ORDER SYNTAX */
                    DESCR_NO_CALLS,
                    DESCR_JSON,   /* NAME as text, then a JSON object */
                    DESCR_OBJECT, /* {"name": NAME, "arguments": {...}}; name_key, args_key */
                    DESCR_NAMED,  /* {NAME: {...}} */
                    DESCR_TAGS,   /* one tag per parameter */
                    DESCR_PYTHON, /* NAME(key=literal, ...) */
                    DESCR_GEMMA,  /* call:NAME{key:value} */
                    DESCR_N_SYNTAX
};

enum descr_id { DESCR_ID_NONE, DESCR_ID_FIRST, DESCR_ID_SECOND, DESCR_ID_LAST };

enum { DESCR_ENDS = 6 };

struct descr {
    /* the turn */
    struct str turn_open; /* the header of an assistant turn */
    struct str prompt;    /* the generation prompt: turn_open and what the template adds */
    struct str text_open; /* a marker in front of content, or a tag that means nothing */
    struct str ends[DESCR_ENDS];
    int n_ends; /* texts that close a turn or a message of it */

    /* reasoning; no think_close: the template has none */
    struct str think_open, think_close;
    bool prompt_thinks; /* `prompt` opens the reasoning block itself */

    /* messages with a header: turn_open HEADER header_end BODY end, several in a turn. A header
     * with call_open and a name is a call, one that holds think_header is reasoning */
    bool framed;
    struct str header_end, think_header, text_header;

    /* calls */
    enum descr_syntax syntax;
    struct str section_open, section_close, call_sep;
    struct str call_open, name_again, name_args, call_close;
    enum descr_id id_place;
    struct str id_sep;
    bool array;    /* section_open ends in [ and section_close begins with ] */
    bool parallel; /* the template writes more than one call per turn */
    bool bare;     /* nothing marks a call: an object at the start that names a known tool */
    bool generic;  /* not the template's own: tools have to be explained in the prompt */
    struct str name_key, args_key, id_key;                    /* DESCR_OBJECT */
    struct str param_open, key_close, value_close, param_sep; /* DESCR_TAGS */
    struct str key_close_json; /* a second form of key_close, for values that are no strings; then
                                  the first is for strings only. Empty: the schema decides */
    struct str quote;          /* DESCR_GEMMA */

    struct arena mem; /* of the texts */
};

/* Learns the descriptor of a template. bos and eos are the texts of those tokens (may be empty).
 * false: no memory; a template that cannot be probed gives the generic descriptor. The caller
 * frees with descr_free. */
bool descr_probe(struct descr *d, const struct jinja *t, struct str bos, struct str eos,
                 struct err *e);
void descr_free(struct descr *d);

/* Adds the generic call format (one JSON object per call inside <tool_call> tags) where a template
 * has none of its own. */
void descr_set_generic(struct descr *d);

/* The text that starts the calls of a turn: what a lazy grammar waits for. White space at its ends
 * and, for JSON formats, the brackets behind it are left out. Empty when calls are bare. */
struct str descr_trigger(const struct descr *d);
const char *descr_syntax_name(enum descr_syntax s);
/* The tags in the markup of reasoning and calls, each once: what may form special tokens in the
 * text of an assistant's message (chat_request.markers). Returns how many. */
enum { DESCR_TAGS_MAX = 24 };
size_t descr_tags(const struct descr *d, struct str out[DESCR_TAGS_MAX]);

/* The renderings that the descriptor is learnt from; descr_probe makes them. Texts that could not
 * be rendered are empty. `user` is the conversation with one user message, the others continue it
 * with one assistant message. */
struct descr_renders {
    struct str user;
    struct str prompt, prompt_think, prompt_nothink; /* with the generation prompt */
    struct str text, history;           /* content; the same, followed by a user message */
    struct str reasoning;               /* reasoning and content, or reasoning and a call */
    struct str call;                    /* one call, content where it is shown */
    struct str calls;                   /* two calls */
    struct str known_open, known_close; /* reasoning tags that the template mentions, in case it
                                           does not write reasoning into the history */
};
/* The words of the probes. */
extern const struct descr_words {
    const char *user, *content, *reasoning, *name1, *name2, *key1, *key2, *text1, *text2, *number;
    const char *id1, *id2;
} descr_words;
/* The learning itself, on texts only. */
bool descr_learn(struct descr *d, const struct descr_renders *r);

#endif
