/* Markers: the texts of a descriptor in the form in which the output parser searches them. */
#ifndef HOLDFAST_TEXT_TOOLCALL_MARK_H
#define HOLDFAST_TEXT_TOOLCALL_MARK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "text/descr.h"

struct toolcall;
struct vocab;

enum marker_id { /* ORDER MARKER */
                 MARK_THINK_OPEN,
                 MARK_THINK_CLOSE,
                 MARK_TEXT_OPEN,
                 MARK_TURN_OPEN,
                 MARK_SECTION_OPEN,
                 MARK_SECTION_CLOSE,
                 MARK_CALL_OPEN,
                 MARK_CALL_SHORT, /* the last tag of call_open alone, which some models write */
                 MARK_HEADER_END,
                 MARK_ID_SEP,
                 MARK_NAME_ARGS,
                 MARK_PARAM_OPEN,
                 MARK_KEY_CLOSE,
                 MARK_KEY_CLOSE_JSON,
                 MARK_VALUE_CLOSE,
                 MARK_QUOTE,
                 MARK_CDATA,
                 MARK_CDATA_CLOSE,
                 MARK_END,                           /* DESCR_ENDS of them */
                 MARK_CLOSE = MARK_END + DESCR_ENDS, /* call_close, tag by tag */
                 MARK_N = MARK_CLOSE + 4
};
#define MARK(id)    (1ull << (id))
#define MARKS_END   (((1ull << DESCR_ENDS) - 1) << MARK_END)
#define MARKS_CLOSE (15ull << MARK_CLOSE)

struct marker {
    struct str text; /* no white space at its ends; a run inside stands for any run, also none */
    bool control;    /* begins with a control token of the vocabulary */
};
enum match { MATCH_NO, MATCH_PART, MATCH_FULL };
struct found {
    enum marker_id id;
    size_t at, end; /* offsets in the input buffer */
};

/* Makes the markers of p->d. */
void toolcall_marks(struct toolcall *p, const struct vocab *v);
enum match toolcall_match(const struct toolcall *p, enum marker_id id, size_t at, size_t *end);
/* The longest match at this place among the markers of a mask. */
enum match toolcall_match_any(const struct toolcall *p, uint64_t mask, size_t at, struct found *f);
/* The first match at or behind `from`; PART: f->at is where more input may complete one. */
enum match toolcall_find(const struct toolcall *p, uint64_t mask, size_t from, struct found *f);
bool toolcall_is_space(char c);
/* Moves pos over white space. */
void toolcall_skip_space(struct toolcall *p);

#endif
