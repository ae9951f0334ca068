/* Values of the template language and the state of one rendering. Strings carry the origin of
 * every byte as runs; whatever builds a string does so through struct jbuild, so no filter or
 * method can lose it. Everything is allocated from the rendering's arena and dies with it. */
#ifndef HOLDFAST_TEXT_JINJA_VALUE_H
#define HOLDFAST_TEXT_JINJA_VALUE_H

#include "base/mem.h"
#include "text/jinja.h"

/* ORDER JV: names in jinja_value.c */
enum jtype {
    JV_ABSENT, /* no argument was given; never a value of the language */
    JV_UNDEFINED,
    JV_NONE,
    JV_BOOL,
    JV_INT,
    JV_FLOAT,
    JV_STR,
    JV_LIST,
    JV_TUPLE,
    JV_DICT,
    JV_GENERATOR, /* what map, select, items ... give: a list that is no sequence */
    JV_VIEW,      /* dict.keys(), .values(), .items() */
    JV_RANGE,
    JV_NAMESPACE,
    JV_LOOP,
    JV_MACRO,
    JV_FUNC, /* a global function or a method bound to a value */
    JV_CYCLER,
    JV_JOINER,
    JV_TYPES
};

struct jvalue {
    uint8_t type;
    uint8_t markup;  /* JV_STR: HTML (`safe`, `e`); JV_VIEW: 'k', 'v' or 'i' */
    uint32_t origin; /* of numbers and booleans; strings have runs */
    union {
        bool b;
        int64_t i;
        double f;
        struct jstr *s;
        struct jlist *list; /* LIST, TUPLE, GENERATOR, VIEW, CYCLER (origin: position), JOINER */
        struct jdict *dict; /* DICT, NAMESPACE */
        struct jrange *range;
        struct jloop *loop;
        struct jmacro *macro;
        struct jbound *bound;
        struct jmiss *miss; /* UNDEFINED: what was looked for */
    };
};

struct jstr {
    const char *p;
    uint32_t len, n_run;
    const struct jinja_run *run; /* n_run >= 1, the first starts at 0; ends where the next starts */
    struct jinja_run one;        /* storage when there is only one */
    int64_t n_chars;             /* -1: not counted yet */
    struct jbuild *grow;         /* the builder whose text this ends; + appends to it in place */
};

/* A string under construction. Zero-initialise with r. */
struct jbuild {
    struct jrender *r;
    char *p;
    size_t len, cap;
    struct jinja_run *run;
    size_t n_run, run_cap;
};

#define JOP2(a, b) ((uint16_t)((a) << 8 | (b))) /* an operator of two characters */

struct jlist {
    struct jvalue *v;
    uint32_t n, cap;
    const json_t *json; /* not NULL: not looked into yet, see jlist_open */
    uint32_t origin;
};

struct jentry {
    struct jvalue key, value;
};
struct jdict {
    struct jentry *e;
    uint32_t n, cap;
    uint32_t *index; /* open addressing over e, sized 2^index_bits, when n > 8 */
    uint32_t index_bits;
    const json_t *json;
    uint32_t origin;
};

struct jrange {
    int64_t start, stop, step, n;
};
struct jbound { /* a function and the value it is a method of */
    const struct jfunc *func;
    struct jvalue self;
};
struct jmacro {
    const struct jnode *node;
    struct jscope *scope; /* where it was defined */
    struct jstr *name;
};
struct jloop {
    struct jlist *items;
    uint32_t at;
    int depth;
    const struct jnode *node;
    struct jscope *scope; /* around the loop, for recursion */
    struct jvalue changed;
};
struct jmiss {
    const char *owner; /* "dict object", or NULL: a variable */
    struct str name;
    bool unsafe; /* an attribute the sandbox refuses */
};

#endif
