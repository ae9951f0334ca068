/* Finding functions by name and binding arguments to their parameters. */
#include "text/jinja_funcs.h"

#include <string.h>

static const struct jfunc *find(const struct jfunc *t, int n, struct str name) {
    int lo = 0, hi = n;
    while (lo < hi) { /* the first row whose name is not before */
        int mid = (lo + hi) / 2;
        size_t len = strlen(t[mid].name), least = len < name.len ? len : name.len;
        int c = memcmp(t[mid].name, name.p, least);
        if (c < 0 || (c == 0 && len < name.len)) lo = mid + 1;
        else hi = mid;
    }
    return lo < n && str_is(name, t[lo].name) ? &t[lo] : NULL;
}

const struct jfunc *jf_filter(struct str name) {
    return find(jf_filters, jf_n_filters, name);
}
const struct jfunc *jf_test(struct str name) {
    return find(jf_tests, jf_n_tests, name);
}

/* The first method of this name; both tables may have one. */
const struct jfunc *jf_method(struct str name) {
    const struct jfunc *f = find(jf_object_methods, jf_n_object_methods, name);
    return f ? f : find(jf_str_methods, jf_n_str_methods, name);
}

const struct jfunc *jf_method_of(const struct jfunc *first, const struct jvalue *v) {
    if (!first) return NULL;
    const struct jfunc *end = jf_object_methods + jf_n_object_methods;
    for (const struct jfunc *f = first; f < end && f >= jf_object_methods; f++) {
        if (strcmp(f->name, first->name) != 0) break;
        if (f->on >> v->type & 1) return f;
    }
    if (v->type != JV_STR) return NULL;
    return find(jf_str_methods, jf_n_str_methods, str_of(first->name));
}

/* Index of a parameter in the list of names, or -1. */
static int param_index(const char *params, struct str name) {
    for (int i = 0; *params; i++) {
        size_t n = strcspn(params, " ");
        if (n == name.len && memcmp(params, name.p, n) == 0) return i;
        params += n;
        params += *params == ' ';
    }
    return -1;
}

static int n_params(const char *params) {
    int n = *params != 0;
    for (; *params; params++) n += *params == ' ';
    return n;
}

bool jf_bind(struct jrender *r, struct jargs *a) {
    const char *params = a->func->params;
    if (strcmp(params, "*") == 0) return true;
    struct jvalue bound[JARGS_MAX] = {0};
    int max = n_params(params), given = 0;
    for (int i = 0; i < a->n; i++) {
        int at = a->key[i].p ? param_index(params, a->key[i]) : i;
        if (at < 0)
            return jr_fail(r, "TypeError", "%s() got an unexpected keyword argument '%.*s'",
                           a->func->name, (int)a->key[i].len, a->key[i].p);
        if (at >= max)
            return jr_fail(r, "TypeError", "%s() takes at most %d arguments", a->func->name, max);
        if (bound[at].type != JV_ABSENT)
            return jr_fail(r, "TypeError", "%s() got an argument twice", a->func->name);
        bound[at] = a->arg[i];
        if (at + 1 > given) given = at + 1;
    }
    for (int i = 0; i < a->func->n_required; i++)
        if (bound[i].type == JV_ABSENT)
            return jr_fail(r, "TypeError", "%s() needs at least %d arguments", a->func->name,
                           a->func->n_required);
    memcpy(a->arg, bound, sizeof bound);
    a->n = given;
    return true;
}

bool jf_run(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return jf_bind(r, a) && a->func->fn(r, a, out);
}

static bool bad_type(struct jrender *r, const struct jargs *a, const struct jvalue *v,
                     const char *want) {
    if (v->type == JV_UNDEFINED) return jo_attr(r, v, STR(""), &(struct jvalue){0});
    return jr_fail(r, "TypeError", "%s() wants %s, not '%s'", a->func->name, want, jv_type_name(v));
}

bool ja_int(struct jrender *r, const struct jargs *a, int i, int64_t def, int64_t *out) {
    const struct jvalue *v = &a->arg[i];
    *out = def;
    if (v->type == JV_ABSENT) return true;
    if (v->type != JV_INT && v->type != JV_BOOL) return bad_type(r, a, v, "an integer");
    *out = jv_integer(v);
    return true;
}

bool ja_bool(struct jrender *r, const struct jargs *a, int i, bool def, bool *out) {
    *out = def;
    return a->arg[i].type == JV_ABSENT || jv_truth(r, &a->arg[i], out);
}

bool ja_str(struct jrender *r, const struct jargs *a, int i, struct str *out) {
    const struct jvalue *v = &a->arg[i];
    if (v->type != JV_STR) return bad_type(r, a, v, "a text");
    *out = js(v->s);
    return true;
}
