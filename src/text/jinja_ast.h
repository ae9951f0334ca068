/* The parsed form of a template: what jinja_lex.c and jinja_parse.c make and jinja_eval.c walks.
 * Everything lives in the template's arena and never changes after parsing. */
#ifndef HOLDFAST_TEXT_JINJA_AST_H
#define HOLDFAST_TEXT_JINJA_AST_H

#include "base/mem.h"
#include "text/jinja_value.h"

enum jtoken_kind {
    JT_TEXT, /* template text between tags, white space control applied */
    JT_PRINT_BEGIN,
    JT_PRINT_END,
    JT_BLOCK_BEGIN,
    JT_BLOCK_END,
    JT_NAME,
    JT_INT,
    JT_FLOAT,
    JT_STRING, /* escapes resolved */
    JT_OP,     /* op is one character, or two as 'a' << 8 | 'b' */
    JT_END
};

struct jtoken {
    uint8_t kind;
    uint16_t op;
    uint32_t pos;
    struct str text;
    union {
        int64_t integer;
        double real;
    };
};

struct jtokens {
    struct jtoken *tok; /* ends with JT_END */
    size_t n, cap;
};

/* ORDER JN: the tables eval_fn and exec_fn in jinja_eval.c */
enum jnode_kind {
    /* expressions; kids in brackets */
    JN_CONST,   /* value */
    JN_NAME,    /* name */
    JN_LIST,    /* [item ...] */
    JN_TUPLE,   /* [item ...] */
    JN_DICT,    /* [key, value ...] */
    JN_ATTR,    /* [object] . name; func: first method of that name, or NULL */
    JN_ITEM,    /* [object, key] */
    JN_SLICE,   /* [object, from, to, step]; each but the first may be NULL */
    JN_CALL,    /* [callee, argument ...] names: keyword of each argument */
    JN_FILTER,  /* [subject, argument ...] | func */
    JN_TEST,    /* [subject, argument ...] is func */
    JN_NOT,     /* [x] */
    JN_SIGN,    /* op [x] */
    JN_AND,     /* [x ...] */
    JN_OR,      /* [x ...] */
    JN_COMPARE, /* [x ...] ops[i] stands before kid i */
    JN_MATH,    /* [x ...] ops: left to right */
    JN_CONCAT,  /* [x ...] */
    JN_COND,    /* [condition, then, else or NULL] */
    JN_EXPRS,
    /* statements */
    JN_BODY = JN_EXPRS, /* [statement ...] */
    JN_TEXT,            /* value: a string */
    JN_PRINT,           /* [expression] */
    JN_IF,              /* [condition, body, condition, body ... (else body)] */
    JN_FOR,             /* [target, iterable, filter or NULL, body, else or NULL]; op: recursive */
    JN_SET,             /* [target, value] */
    JN_SET_BLOCK,       /* [target, body, filter chain or NULL] */
    JN_MACRO,           /* name, names: parameters, [body, default or NULL ...] flags JM_* */
    JN_CALL_BLOCK,      /* [call, macro] */
    JN_FILTER_BLOCK,    /* [filter chain, body] */
    JN_WITH,            /* [body, target, value ...] */
    JN_BREAK,
    JN_CONTINUE,
    JN_KINDS
};

/* ORDER JNAME: the first names of every template; JM_* is 1 << (name - JNAME_VARARGS) */
enum { JNAME_LOOP, JNAME_VARARGS, JNAME_KWARGS, JNAME_CALLER };
enum { JM_VARARGS = 1, JM_KWARGS = 2, JM_CALLER = 4 };

/* keyword index of an argument in JN_CALL, JN_FILTER, JN_TEST */
enum { JARG_POSITIONAL = -1, JARG_STAR = -2, JARG_STAR_STAR = -3 };

struct jnode {
    uint8_t kind, flags;
    uint16_t op;
    uint32_t pos;
    uint32_t n; /* kids */
    int32_t name;
    struct jnode **kid;
    union {
        struct jvalue value;
        const uint16_t *ops;
        const int32_t *names;
    };
    const struct jfunc *func;
};

struct jinja {
    struct arena arena;
    struct str source; /* line ends normalised */
    struct jnode *root;
    struct jstr *name; /* interned names */
    size_t n_names, cap_names;
    struct str *literal; /* closed by an empty one */
    size_t n_literals;
};

/* Splits t->source. false with e filled. The array is freed by the caller, texts live in the
 * arena or the source. */
bool jinja_lex(struct jinja *t, struct jtokens *out, struct err *e);
/* Fills t->root and the names. */
bool jinja_parse_tokens(struct jinja *t, const struct jtokens *tokens, struct err *e);
/* 1-based line and column (in characters) of a byte of the source. */
void jinja_position(const struct jinja *t, size_t pos, int *line, int *column);
/* "line L column C: " + message, code ERR_FORMAT or as given; false. */
bool jinja_error_at(const struct jinja *t, struct err *e, enum err_code code, size_t pos,
                    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
