/* Between jinja_eval.c (expressions) and jinja_exec.c (statements). */
#ifndef HOLDFAST_TEXT_JINJA_EVAL_H
#define HOLDFAST_TEXT_JINJA_EVAL_H

#include "text/jinja_ast.h"
#include "text/jinja_run.h"

/* Variables of a loop body, macro, with block ...; the top level is r->global. */
struct jscope {
    struct jscope *up;
    struct jvar {
        int32_t name;
        struct jvalue value;
    } * var;
    uint32_t n, cap;
    bool captured; /* a macro defined here may outlive it */
};

bool jr_eval(struct jrender *r, const struct jnode *n, struct jvalue *out);
/* Innermost scope's variable. */
bool jr_set(struct jrender *r, int32_t name, struct jvalue v);
struct jscope *jr_scope(struct jrender *r, struct jscope *up);
/* Calls a filter node with this subject. */
bool jr_filter(struct jrender *r, const struct jnode *n, const struct jvalue *subject,
               struct jvalue *out);

/* jinja_exec.c */
bool jr_call_macro(struct jrender *r, const struct jmacro *m, const struct jargs *a,
                   struct jvalue *out);
bool jr_call_loop(struct jrender *r, const struct jloop *l, const struct jvalue *items,
                  struct jvalue *out);

#endif
