/* The grammar of an assistant's turn: reasoning and text as they come, calls as the template
 * writes them, with names and arguments that fit the tools. Built from a template's descriptor
 * (text/descr.h, whose field names these are) and the request's tools. */
#ifndef HOLDFAST_SAMPLE_TURN_H
#define HOLDFAST_SAMPLE_TURN_H

#include <jansson.h>

#include "sample/grammar.h"

enum turn_syntax { TURN_JSON, TURN_TAGS, TURN_PYTHON, TURN_GEMMA }; /* of arguments */
enum turn_id { TURN_ID_NONE, TURN_ID_FIRST, TURN_ID_SECOND, TURN_ID_LAST };

/* call = call_open [ID id_sep] NAME [name_again NAME] [id_sep ID] name_args ARGUMENTS
 *        [id_sep ID] call_close;  calls = section_open call (call_sep call)* section_close */
struct turn_format {
    struct str turn_open;
    struct str think_open, think_close; /* no think_close: no reasoning */
    bool framed;                        /* messages with headers that end in header_end */
    struct str header_end, think_header, text_header;
    enum turn_syntax syntax;
    struct str section_open, section_close, call_sep;
    struct str call_open, name_again, name_args, call_close;
    enum turn_id id_place;
    struct str id_sep;
    struct str trigger; /* the part of section_open or call_open that makes text a call; empty:
                           the text begins with a call (descr.bare) */
    struct str param_open, key_close, value_close, param_sep, key_close_json;
    struct str quote;
};
struct turn_tool {
    struct str name;
    const json_t *parameters; /* NULL: none */
};
enum turn_choice {
    TURN_AUTO,     /* text, reasoning and calls; only what follows a call's trigger is bound */
    TURN_REQUIRED, /* after reasoning: a call */
    TURN_ANSWER    /* after reasoning: a JSON value of `answer` */
};
struct turn_request {
    const struct turn_format *format;
    const struct vocab *vocab;    /* markers that are control tokens match by id; NULL: by bytes */
    const struct turn_tool *tool; /* those that may be called; copied */
    size_t n_tools;
    enum turn_choice choice;
    const json_t *answer;
    bool parallel;  /* more than one call */
    bool reasoning; /* the prompt has opened a reasoning block */
    bool strict;    /* refuse what schemas ask for in vain; otherwise notes */
    struct buf *notes;
};
/* NULL with e filled. The grammar is for the whole answer: start it at the first token. */
struct grammar *turn_grammar(const struct turn_request *r, struct err *e);

#endif
