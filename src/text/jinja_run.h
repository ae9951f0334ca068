/* What the files of the interpreter offer each other while a template runs. Functions that give
 * bool return false after jr_fail; those that give pointers return NULL after jr_fail. */
#ifndef HOLDFAST_TEXT_JINJA_RUN_H
#define HOLDFAST_TEXT_JINJA_RUN_H

#include "text/jinja_state.h"

enum { JR_FRAMES = 1200, JR_RANGE_MAX = 100000 };

/* ---- errors and limits (jinja_value.c). kind is the name of Python's exception. */
bool jr_fail(struct jrender *r, const char *kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool jr_step(struct jrender *r, size_t work); /* charges `work` units */
bool jr_enter(struct jrender *r);             /* one level deeper; pair with r->depth-- */
void *jr_alloc(struct jrender *r, size_t n, size_t size); /* zeroed */

/* ---- making values (jinja_value.c) */
static inline struct jvalue jv(enum jtype type) {
    return (struct jvalue){.type = (uint8_t)type};
}
static inline struct jvalue jv_bool(bool b) {
    return (struct jvalue){.type = JV_BOOL, .b = b};
}
static inline struct jvalue jv_int(int64_t i) {
    return (struct jvalue){.type = JV_INT, .i = i};
}
static inline struct jvalue jv_float(double f) {
    return (struct jvalue){.type = JV_FLOAT, .f = f};
}
static inline struct jvalue jv_of_str(struct jstr *s) {
    return (struct jvalue){.type = JV_STR, .s = s};
}
bool jv_text(struct jrender *r, struct str text, uint32_t origin, struct jvalue *out);
bool jv_list(struct jrender *r, enum jtype type, size_t cap, struct jvalue *out);
bool jv_pair(struct jrender *r, struct jvalue a, struct jvalue b, struct jvalue *out);
bool jv_dict(struct jrender *r, struct jvalue *out);
bool jv_missing(struct jrender *r, const char *owner, struct str name, struct jvalue *out);
bool jv_json(struct jrender *r, const json_t *json, uint32_t origin, struct jvalue *out);
bool jlist_add(struct jrender *r, struct jlist *l, struct jvalue v);
bool jlist_open(struct jrender *r, struct jlist *l);
bool jdict_open(struct jrender *r, struct jdict *d);
bool jdict_set(struct jrender *r, struct jdict *d, struct jvalue key, struct jvalue value);
bool jdict_find(struct jrender *r, struct jdict *d, struct jvalue key, struct jvalue **out);
bool jv_is_hashable(const struct jvalue *v);
void jdict_remove(struct jdict *d, struct jvalue *at);

/* ---- looking at values (jinja_value.c) */
const char *jv_type_name(const struct jvalue *v); /* Python's: "str", "dict" ... */
bool jv_truth(struct jrender *r, const struct jvalue *v, bool *out);
bool jv_equal(struct jrender *r, const struct jvalue *a, const struct jvalue *b, bool *out);
/* *out < 0, 0, > 0; fails for kinds that have no order. */
bool jv_compare(struct jrender *r, const struct jvalue *a, const struct jvalue *b, const char *op,
                int *out);
bool jv_contains(struct jrender *r, const struct jvalue *hay, const struct jvalue *x, bool *out);
bool jv_len(struct jrender *r, const struct jvalue *v, int64_t *out);
/* Any iterable as a list (shared when it is one). */
bool jv_items(struct jrender *r, const struct jvalue *v, struct jlist **out);
/* Callable kinds and what `is iterable` and `is sequence` see. */
bool jv_is_callable(const struct jvalue *v);
static inline bool jv_is_number(const struct jvalue *v) {
    return v->type == JV_INT || v->type == JV_FLOAT || v->type == JV_BOOL;
}
static inline double jv_real(const struct jvalue *v) {
    return v->type == JV_FLOAT ? v->f : v->type == JV_BOOL ? v->b : (double)v->i;
}
static inline int64_t jv_integer(const struct jvalue *v) {
    return v->type == JV_BOOL ? v->b : v->i;
}
uint32_t jv_origin(const struct jvalue *v); /* of a string: of its first content */
static inline bool jv_is_str(const struct jvalue *v, const char *text) {
    return v->type == JV_STR && str_is((struct str){v->s->p, v->s->len}, text);
}

/* ---- strings (jinja_text.c) */
static inline struct str js(const struct jstr *s) {
    return (struct str){s->p, s->len};
}
bool jb_add(struct jbuild *b, struct str text, uint32_t origin);
bool jb_char(struct jbuild *b, char c, uint32_t origin);
bool jb_utf8(struct jbuild *b, uint32_t cp, uint32_t origin);
bool jb_sub(struct jbuild *b, const struct jstr *s, size_t from, size_t to);
bool jb_str(struct jbuild *b, const struct jstr *s);
/* The finished string; the builder lives on as its `grow` when it was allocated (jb_new). */
bool jb_done(struct jbuild *b, struct jvalue *out);
struct jbuild *jb_new(struct jrender *r);
/* A piece of a string: shares the bytes. */
bool js_sub(struct jrender *r, const struct jstr *s, size_t from, size_t to, struct jvalue *out);
bool js_concat(struct jrender *r, struct jstr *a, struct jstr *b, struct jvalue *out);
uint32_t js_origin_at(const struct jstr *s, size_t byte);
int64_t js_chars(const struct jstr *s);                 /* length in characters */
size_t js_offset(const struct jstr *s, int64_t n_char); /* byte of the n-th character */
bool js_escape_html(struct jrender *r, const struct jvalue *v, struct jvalue *out);
bool js_charge_search(struct jrender *r, size_t hay, size_t needle);
size_t js_space_prefix(struct str s); /* bytes of white space, Python's idea of it */
size_t js_space_suffix(struct str s);

/* ---- printing (jinja_print.c) */
bool jp_str(struct jbuild *b, const struct jvalue *v);  /* str(v) */
bool jp_repr(struct jbuild *b, const struct jvalue *v); /* repr(v) */
size_t jp_float(double f, char out[40]);                /* repr of a float */
/* v as a string value: itself, or its str(). */
bool jv_to_str(struct jrender *r, const struct jvalue *v, struct jvalue *out);
bool jp_format_percent(struct jrender *r, const struct jvalue *format, const struct jvalue *args,
                       struct jvalue *out);
bool jp_format_braces(struct jrender *r, struct jargs *a, struct jvalue *out);

/* ---- operations (jinja_ops.c) */
bool jo_math(struct jrender *r, uint16_t op, const struct jvalue *a, const struct jvalue *b,
             struct jvalue *out);
bool jo_attr(struct jrender *r, const struct jvalue *v, struct str name, struct jvalue *out);
bool jo_item(struct jrender *r, const struct jvalue *v, const struct jvalue *key,
             struct jvalue *out);
/* part[i] absent or none: not given */
bool jo_slice(struct jrender *r, const struct jvalue *v, const struct jvalue part[3],
              struct jvalue *out);

/* ---- functions (jinja_filters.c, jinja_methods.c, jinja_globals.c, jinja_tests.c) */
const struct jfunc *jf_filter(struct str name); /* NULL: there is none */
const struct jfunc *jf_test(struct str name);
const struct jfunc *jf_method(struct str name); /* the first of that name, others follow it */
bool jf_global(struct jrender *r, struct str name, struct jvalue *out); /* JV_ABSENT: none */
/* The method of v, or NULL. */
const struct jfunc *jf_method_of(const struct jfunc *first, const struct jvalue *v);
/* Puts arguments in the order of func's parameters; args->key says which came by name. */
bool jf_bind(struct jrender *r, struct jargs *a);
/* Binds and runs a->func. */
bool jf_run(struct jrender *r, struct jargs *a, struct jvalue *out);
/* Any callable value (jinja_eval.c). */
bool jr_call(struct jrender *r, const struct jvalue *callee, struct jargs *a, struct jvalue *out);

#endif
