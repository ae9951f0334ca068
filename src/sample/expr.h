/* Inside of the builder: what an expression is. Seen by build.c, compile.c and lang.c only. */
#ifndef HOLDFAST_SAMPLE_EXPR_H
#define HOLDFAST_SAMPLE_EXPR_H

#include "base/mem.h"
#include "sample/build.h"

enum expr_kind {
    EXPR_LIT,    /* text; empty = the empty text */
    EXPR_SET,    /* one byte */
    EXPR_TOKEN,  /* token id */
    EXPR_SEQ,    /* list */
    EXPR_ALT,    /* list; empty = never */
    EXPR_REPEAT, /* x, min, max */
    EXPR_CALL,   /* rule */
    EXPR_LANG,   /* an automaton of lang.c */
    EXPR_LABEL,
    EXPR_GOTO
};

struct lang;
struct expr {
    enum expr_kind kind;
    bool regular;  /* no token, rule, label inside */
    uint32_t size; /* NFA states when unrolled, saturating */
    union {
        struct str lit;
        uint64_t set[4];
        int32_t token;
        struct {
            struct expr **item;
            uint32_t n, cap;
        } list;
        struct {
            struct expr *x;
            uint32_t min, max; /* COUNT_MANY = without end */
            int64_t pos;       /* >= 0: an error when x can be empty */
            int rule;          /* of x when it counts at run time, else -1 */
        } repeat;
        int rule, label;
        struct {
            const struct lang *dfa;
            struct expr *tail;  /* stands for the state lang->any and what follows, or NULL */
            struct expr *close; /* follows the other members, or NULL */
        } lang;
    } u;
};

#define COUNT_MANY UINT32_MAX
enum {
    EXPR_UNROLL = 256,      /* states up to which a repetition is unrolled */
    EXPR_DEPTH = 600,       /* nesting of expressions */
    EXPR_REGULAR = 1 << 14, /* states of a regular expression for lang.c */
    EXPR_WORK = 4 << 20,    /* steps for one of them */
    BUILD_WORK = 10 << 20,  /* and for all of one builder's schemas; see lang_set_work */
    BUILD_STATES = 1 << 17  /* of all its schemas: what compiles in 100 ms; see build.spent */
};

struct build_rule {
    const char *name;
    int64_t pos;
    struct expr *body;
};
struct build {
    struct arena arena;
    struct build_rule *rule;
    size_t n_rules, cap_rules;
    int n_labels;
    bool failed;    /* an allocation was refused */
    uint64_t work;  /* steps that its schemas may still spend on automata */
    uint64_t spent; /* about as many states as its expressions will become */
    struct lang **lang;
    size_t n_langs, cap_langs;
    struct schema_shared { /* schema.c: what the schemas of one style say alike */
        bool used;
        struct schema_style style;
        struct expr *any, *string, *string_tail, *number, *integer, *space, *raw;
        json_t *alike; /* place in x, by the text of a scalar */
        struct expr **x;
        size_t n, cap;
    } shared;
    struct expr **loop; /* repetitions with a position: checked for emptiness in the end */
    size_t n_loops, cap_loops;
};

/* A repetition whose body must not be empty; pos is reported when it is. */
struct expr *build_repeat_at(struct build *b, struct expr *x, int64_t min, int64_t max,
                             int64_t pos);
/* Takes ownership of dfa. tail, close: see struct expr. */
struct expr *build_lang(struct build *b, struct lang *dfa, struct expr *tail, struct expr *close);

static inline void set_add(uint64_t set[4], unsigned lo, unsigned hi) {
    for (unsigned c = lo; c <= hi; c++) set[c >> 6] |= 1ull << (c & 63);
}
static inline bool set_has(const uint64_t set[4], unsigned c) {
    return set[c >> 6] >> (c & 63) & 1;
}

#endif
