/* The state of one rendering, and how filters, tests, functions and methods are described. */
#ifndef HOLDFAST_TEXT_JINJA_STATE_H
#define HOLDFAST_TEXT_JINJA_STATE_H

#include "text/jinja_value.h"

/* One rendering. */
struct jrender {
    const struct jinja *t;
    const struct jinja_input *in;
    struct jinja_output *out;
    struct err *e;
    struct arena arena;
    int64_t steps; /* left */
    int depth;     /* nested evaluations and values */
    uint32_t pos;  /* of the node that runs, for errors */
    bool failed;
    struct jvalue *global; /* by name; JV_ABSENT: not looked up yet */
    struct jscope *scope;  /* innermost local scope; NULL: top level */
    struct jbuild *sink;
    struct jloop *loop;
};

/* A filter, test, function or method. params: names of the arguments behind the subject,
 * separated by blanks; "*" takes any. */
struct jargs;
typedef bool (*jfunc_fn)(struct jrender *r, struct jargs *a, struct jvalue *out);
struct jfunc {
    const char *name;
    jfunc_fn fn;
    const char *params;
    int n_required;
    uint32_t on; /* methods: 1 << type of the objects that have it */
};
enum { JARGS_MAX = 16 };
struct jargs {
    const struct jfunc *func;
    struct jvalue self; /* subject of a filter or test, object of a method */
    int n;              /* arguments given; arg[i] behind that is JV_ABSENT */
    struct jvalue arg[JARGS_MAX];
    struct str key[JARGS_MAX]; /* "*": keywords, p NULL for positional ones */
};

#endif
