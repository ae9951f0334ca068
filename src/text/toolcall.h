/* Reads what a model generates back into text, reasoning and calls, while it comes. One parser per
 * answer, one thread. Emits ordered blocks; every event carries the range of input bytes that it
 * accounts for, and the ranges of all events together are the input, without gap or overlap.
 * Markup that does not parse stays text and is marked. A call is announced once its name is
 * certain and never taken back; its arguments arrive as JSON text, whatever the template's syntax.
 * What is held back or buffered is bounded by limits.h. */
#ifndef HOLDFAST_TEXT_TOOLCALL_H
#define HOLDFAST_TEXT_TOOLCALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "text/descr.h"

struct toolcall;
struct vocab;

enum toolcall_kind { TOOLCALL_TEXT, TOOLCALL_REASONING, TOOLCALL_CALL };
enum toolcall_type {
    TOOLCALL_START, /* a block begins: kind, and id and name of a call */
    TOOLCALL_DELTA, /* more of it: text */
    TOOLCALL_END,   /* the block is over: complete or cut, malformed */
    TOOLCALL_STOP   /* the last event; accounts for what was left */
};

struct toolcall_event {
    enum toolcall_type type;
    enum toolcall_kind kind;
    int index;           /* of the block, from 0 */
    struct str id, name; /* of a call. id: as the model wrote it, may be empty or not unique; one
                            that comes behind the arguments is in the END event only */
    struct str text;     /* DELTA: whole characters; arguments are valid UTF-8 */
    uint64_t raw_from, raw_to; /* bytes of the input, from the first one fed */
    bool complete;             /* END: false when the input ended inside the block */
    bool malformed;            /* DELTA: markup that did not parse; END: the block holds some, and
                                  the arguments of a call may be no JSON */
};
typedef void (*toolcall_fn)(void *ctx, const struct toolcall_event *ev);

struct toolcall_options {
    const json_t *tools; /* OpenAI's array, or bare {"name", "parameters"}; NULL: none known. Read
                            while the parser lives: types of parameters, names of bare calls */
    const struct vocab *vocab; /* NULL: markers match by their text alone */
    struct str prompt;         /* the end of the rendered prompt; no text (p NULL): descr.prompt */
    bool no_calls;             /* leave call markup in the text (tool_choice none) */
};

/* d must outlive the parser. NULL with e filled when memory is refused. */
struct toolcall *toolcall_open(const struct descr *d, const struct toolcall_options *o,
                               toolcall_fn fn, void *ctx, struct err *e);
void toolcall_close(struct toolcall *p);

/* Where bytes come from. A marker that is a control token of the vocabulary matches bytes of that
 * token, or bytes of unknown source, never plain text that merely reads the same. */
enum toolcall_source { TOOLCALL_ANY, TOOLCALL_PLAIN, TOOLCALL_CONTROL };
/* Takes more of the answer and emits what has become certain. false: memory was refused, and the
 * parser takes nothing more. */
bool toolcall_feed(struct toolcall *p, struct str bytes, enum toolcall_source source);
/* The answer is over. cut: it ran into a limit. Emits the rest and STOP. */
bool toolcall_finish(struct toolcall *p, bool cut);

#endif
