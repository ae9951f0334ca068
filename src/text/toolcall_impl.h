/* What the files of the output parser share: its state, the markers of a template in the form in
 * which they are searched, and the way events get out. Not for other rooms.
 * toolcall.c       public functions, blocks and events
 * toolcall_mark.c  markers (toolcall_mark.h)
 * toolcall_json.c  the JSON scanner (toolcall_json.h)
 * toolcall_text.c  text, reasoning and message headers
 * toolcall_head.c  from a call's marker to its name, and from its end to the next
 * call_json.c      JSON arguments, alone or in an object that also holds the name
 * call_tags.c      one tag per parameter
 * call_literal.c   Python and Gemma values
 * call_types.c     what the tools' schemas say about parameters */
#ifndef HOLDFAST_TEXT_TOOLCALL_IMPL_H
#define HOLDFAST_TEXT_TOOLCALL_IMPL_H

#include "base/limits.h"
#include "base/str.h"
#include "text/toolcall.h"
#include "text/toolcall_json.h"
#include "text/toolcall_mark.h"

/* A step of the parser: it made progress, it waits for more input, or the input does not fit. */
enum step { STEP_ON, STEP_MORE, STEP_BAD };

/* ---- values that are nearly JSON */
struct literal {
    bool gemma;                   /* bare keys and words, strings between MARK_QUOTE */
    char stack[LIMIT_JSON_DEPTH]; /* k keyword arguments, d dict, l list, t tuple */
    int depth;
    enum { LIT_VALUE, LIT_KEY, LIT_COLON, LIT_NEXT, LIT_STRING, LIT_KEY_STRING, LIT_END } state;
    bool first;    /* no element of the container yet */
    char quote[4]; /* what ends a Python string */
};

/* ---- the call being read */
enum head_state { HEAD_OPEN, HEAD_NAME, HEAD_OBJECT };
enum envelope_state {
    ENV_START,
    ENV_KEY,
    ENV_IN_KEY,
    ENV_COLON,
    ENV_VALUE,
    ENV_NAME,
    ENV_ID,
    ENV_ARGS,
    ENV_ARGS_TEXT,
    ENV_SKIP,
    ENV_NEXT,
    ENV_END
};
enum tags_state { TAGS_NEXT, TAGS_KEY, TAGS_VALUE, TAGS_STREAM, TAGS_BUFFER };

struct call {
    enum head_state head;
    bool bare;      /* nothing marked it */
    bool announced; /* START is out */
    bool malformed;
    bool args_started, args_done;
    struct json_scan json;
    enum envelope_state env;
    int env_depth; /* 1 inside a wrapper such as "function" */
    bool env_args; /* arguments were seen */
    enum tags_state tags;
    bool cdata, any_param;
    unsigned type; /* TYPE_ bits of the parameter being read */
    struct literal lit;
};

enum state {
    STATE_HEADER,
    STATE_TEXT,
    STATE_REASONING,
    STATE_HEAD,
    STATE_ARGS,
    STATE_RAW,
    STATE_CLOSE,
    STATE_BETWEEN
};

struct toolcall {
    const struct descr *d;
    toolcall_fn fn;
    void *ctx;
    const json_t *tools;
    bool no_calls;

    struct marker mark[MARK_N];
    struct str name_prefix; /* tail of call_open that some models leave out: "functions." */
    bool newline_values;    /* values stand on lines of their own */

    struct buf in, source; /* bytes not yet done with, and one toolcall_source for each */
    size_t pos;            /* done with, in in.p */
    uint64_t base;         /* input offset of in.p[0] */
    uint64_t emitted;      /* input offset up to which events account */
    bool final, cut, failed, stopped;

    enum state state, back; /* back: what a call that turns out to be none returns to */
    size_t hold, hold_end;  /* the marker of the call being tried, in in.p */
    bool fresh;             /* nothing of this turn's text has come yet */
    bool keep_space;        /* nothing at all has come yet: leading white space is text */
    bool section, bracket;  /* inside section_open, inside its [ */

    bool open; /* a block is open */
    enum toolcall_kind kind;
    int n_blocks;
    bool block_malformed;

    struct call call;
    struct buf out;            /* arguments not yet emitted */
    struct buf id, name, text; /* text: a key, a name or a value being collected */
};

/* ---- toolcall.c */
void toolcall_emit(struct toolcall *p, struct toolcall_event *ev, size_t to);
void toolcall_block_start(struct toolcall *p, enum toolcall_kind kind, size_t to);
/* Emits n bytes at from as text of an open or new block, accounting up to their end. */
void toolcall_block_text(struct toolcall *p, enum toolcall_kind kind, size_t from, size_t n,
                         bool malformed);
void toolcall_block_end(struct toolcall *p, bool complete, size_t to);
void toolcall_call_start(struct toolcall *p); /* announces p->name, p->id */
void toolcall_flush_args(struct toolcall *p, bool all);
bool toolcall_is_tool(const struct toolcall *p, struct str name);

/* ---- the states */
enum step toolcall_step_text(struct toolcall *p);
enum step toolcall_step_header(struct toolcall *p);
void toolcall_try_call(struct toolcall *p, size_t at, size_t end, bool bare);
enum step toolcall_step_head(struct toolcall *p);
void toolcall_no_call(struct toolcall *p); /* back to the marker, which becomes text */
enum step toolcall_step_args(struct toolcall *p);
enum step toolcall_step_raw(struct toolcall *p);
enum step toolcall_step_close(struct toolcall *p);
enum step toolcall_step_between(struct toolcall *p);

/* ---- argument syntaxes: STEP_ON when the arguments are complete (args_done) or more can be read
 */
enum step call_json_args(struct toolcall *p);
enum step call_object(struct toolcall *p);
enum step call_tags(struct toolcall *p);
void call_literal_start(struct literal *l, bool gemma, char container);
enum step call_literal(struct toolcall *p);
/* Whether the text is exactly one Python literal; out gets it as JSON. */
bool literal_whole(struct str text, struct buf *out);

/* ---- call_types.c */
enum { TYPE_STRING = 1, TYPE_OTHER = 2, TYPE_UNKNOWN = 4 };
unsigned call_type(const json_t *tools, struct str tool, struct str param);
const json_t *call_tool(const json_t *tools, struct str name); /* NULL: not there */

#endif
