/* What filters, methods, tests and globals share: reading bound arguments, and text work that
 * exists both as a method and as a filter. */
#ifndef HOLDFAST_TEXT_JINJA_FUNCS_H
#define HOLDFAST_TEXT_JINJA_FUNCS_H

#include "text/jinja_run.h"

/* The tables, each sorted by name. */
extern const struct jfunc jf_str_methods[], jf_object_methods[], jf_filters[], jf_tests[];
extern const int jf_n_str_methods, jf_n_object_methods, jf_n_filters, jf_n_tests;

/* Argument i, or the default when it was not given. Fail for other types (jinja_call.c). */
bool ja_int(struct jrender *r, const struct jargs *a, int i, int64_t def, int64_t *out);
bool ja_bool(struct jrender *r, const struct jargs *a, int i, bool def, bool *out);
bool ja_str(struct jrender *r, const struct jargs *a, int i, struct str *out); /* no default */

/* jinja_str.c */
bool js_case(struct jrender *r, const struct jstr *s, const char *how, struct jvalue *out);
bool js_has_case(const struct jstr *s, bool upper);
bool js_strip(struct jrender *r, const struct jstr *s, const struct jvalue *chars, int sides,
              struct jvalue *out);
bool js_replace(struct jrender *r, const struct jstr *s, const struct jstr *from,
                const struct jstr *to, int64_t max, struct jvalue *out);
bool js_pad(struct jrender *r, const struct jstr *s, int64_t width, const struct jstr *fill,
            int where, struct jvalue *out);

/* jinja_json.c: the filters tojson and from_json */
bool jf_tojson(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_from_json(struct jrender *r, struct jargs *a, struct jvalue *out);

/* jinja_list.c: filters over lists that need an order or a grouping */
bool jf_sort(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_dictsort(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_unique(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_groupby(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_min(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_max(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_map(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_select(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_reject(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_selectattr(struct jrender *r, struct jargs *a, struct jvalue *out);
bool jf_rejectattr(struct jrender *r, struct jargs *a, struct jvalue *out);
/* The list method sort(): in place, case counts. */
bool jl_sort(struct jrender *r, struct jlist *l, bool reverse);

#endif
