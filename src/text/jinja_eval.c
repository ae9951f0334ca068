/* Evaluates expressions. One function per kind of node; the table eval_fn is the dispatch.
 * Every evaluation costs a step and a level of depth. */
#include "text/jinja_eval.h"

#include <string.h>

/* ---- variables */

struct jscope *jr_scope(struct jrender *r, struct jscope *up) {
    struct jscope *s = jr_alloc(r, 1, sizeof *s);
    if (s) s->up = up;
    return s;
}

bool jr_set(struct jrender *r, int32_t name, struct jvalue v) {
    struct jscope *s = r->scope;
    if (!s) {
        r->global[name] = v;
        return true;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->var[i].name != name) continue;
        s->var[i].value = v;
        return true;
    }
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 4;
        struct jvar *var = jr_alloc(r, cap, sizeof *var);
        if (!var) return false;
        if (s->n) memcpy(var, s->var, s->n * sizeof *var);
        s->var = var;
        s->cap = cap;
    }
    s->var[s->n++] = (struct jvar){name, v};
    return true;
}

/* The first look at a top-level name: a variable of the caller, or a global function. */
static bool find_global(struct jrender *r, int32_t name, struct jvalue *v) {
    const struct jstr *s = &r->t->name[name];
    const json_t *json = r->in->vars ? json_object_getn(r->in->vars, s->p, s->len) : NULL;
    if (json) {
        bool token = str_is(js(s), "bos_token") || str_is(js(s), "eos_token");
        char *key = r->in->origin ? arena_strndup(&r->arena, s->p, s->len) : NULL;
        uint32_t origin = token ? JINJA_TEMPLATE : JINJA_CONTENT;
        if (key) origin = r->in->origin(r->in->origin_ctx, 0, key, 0, json);
        return jv_json(r, json, origin, v);
    }
    if (!jf_global(r, js(s), v)) return false;
    return v->type != JV_ABSENT || jv_missing(r, NULL, js(s), v);
}

static bool eval_name(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    for (const struct jscope *s = r->scope; s; s = s->up) {
        for (uint32_t i = 0; i < s->n; i++) {
            if (s->var[i].name != n->name) continue;
            *out = s->var[i].value;
            return true;
        }
    }
    struct jvalue *v = &r->global[n->name];
    if (v->type == JV_ABSENT && !find_global(r, n->name, v)) return false;
    *out = *v;
    return true;
}

/* ---- literals */

static bool eval_const(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    (void)r;
    *out = n->value;
    return true;
}

static bool eval_items(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    if (!jv_list(r, n->kind == JN_LIST ? JV_LIST : JV_TUPLE, n->n, out)) return false;
    struct jlist *l = out->list;
    for (uint32_t i = 0; i < n->n; i++) {
        struct jvalue v;
        if (!jr_eval(r, n->kid[i], &v) || !jlist_add(r, l, v)) return false;
    }
    return true;
}

static bool eval_dict(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    if (!jv_dict(r, out)) return false;
    struct jdict *d = out->dict;
    for (uint32_t i = 0; i + 1 < n->n; i += 2) {
        struct jvalue key, v;
        if (!jr_eval(r, n->kid[i], &key) || !jr_eval(r, n->kid[i + 1], &v) ||
            !jdict_set(r, d, key, v))
            return false;
    }
    return true;
}

/* ---- access */

static bool eval_attr(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jvalue object;
    if (!jr_eval(r, n->kid[0], &object)) return false;
    r->pos = n->pos;
    return jo_attr(r, &object, js(&r->t->name[n->name]), out);
}

static bool eval_item(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jvalue object, key;
    if (!jr_eval(r, n->kid[0], &object) || !jr_eval(r, n->kid[1], &key)) return false;
    r->pos = n->pos;
    return jo_item(r, &object, &key, out);
}

static bool eval_slice(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jvalue object, part[3] = {0};
    if (!jr_eval(r, n->kid[0], &object)) return false;
    for (int i = 0; i < 3; i++)
        if (n->kid[i + 1] && !jr_eval(r, n->kid[i + 1], &part[i])) return false;
    r->pos = n->pos;
    return jo_slice(r, &object, part, out);
}

/* ---- calls */

static bool add_arg(struct jrender *r, struct jargs *a, struct str key, struct jvalue v) {
    if (a->n == JARGS_MAX) return jr_fail(r, "limit", "more than %d arguments", JARGS_MAX);
    a->key[a->n] = key;
    a->arg[a->n++] = v;
    return true;
}

/* *list and **dict */
static bool spread(struct jrender *r, struct jargs *a, int32_t how, const struct jvalue *v) {
    struct jlist *l;
    struct str none = {0};
    if (how == JARG_STAR) {
        if (!jv_items(r, v, &l)) return false;
        for (uint32_t i = 0; i < l->n; i++)
            if (!add_arg(r, a, none, l->v[i])) return false;
        return true;
    }
    if (v->type != JV_DICT) return jr_fail(r, "TypeError", "argument after ** must be a mapping");
    if (!jdict_open(r, v->dict)) return false;
    for (uint32_t i = 0; i < v->dict->n; i++) {
        const struct jentry *e = &v->dict->e[i];
        if (e->key.type != JV_STR) return jr_fail(r, "TypeError", "keywords must be strings");
        if (!add_arg(r, a, js(e->key.s), e->value)) return false;
    }
    return true;
}

/* Kids 1.. of a call, filter or test. */
static bool eval_args(struct jrender *r, const struct jnode *n, struct jargs *a) {
    for (uint32_t i = 1; i < n->n; i++) {
        struct jvalue v;
        struct str key = {0};
        int32_t name = n->names[i];
        if (!jr_eval(r, n->kid[i], &v)) return false;
        if (name >= 0) key = js(&r->t->name[name]);
        if (!(name < JARG_POSITIONAL ? spread(r, a, name, &v) : add_arg(r, a, key, v)))
            return false;
    }
    r->pos = n->pos;
    return true;
}

static bool missing_function(struct jrender *r, const struct jnode *n, const char *what) {
    const struct jstr *name = &r->t->name[n->name];
    r->pos = n->pos;
    return jr_fail(r, "TemplateAssertionError", "No %s named '%.*s'.", what, (int)name->len,
                   name->p);
}

bool jr_filter(struct jrender *r, const struct jnode *n, const struct jvalue *subject,
               struct jvalue *out) {
    struct jargs a = {.func = n->func, .self = *subject};
    if (!n->func) return missing_function(r, n, "filter");
    return eval_args(r, n, &a) && jf_run(r, &a, out);
}

static bool eval_filter(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jvalue subject;
    return jr_eval(r, n->kid[0], &subject) && jr_filter(r, n, &subject, out);
}

static bool eval_test(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jargs a = {.func = n->func};
    if (!n->func) return missing_function(r, n, "test");
    return jr_eval(r, n->kid[0], &a.self) && eval_args(r, n, &a) && jf_run(r, &a, out);
}

bool jr_call(struct jrender *r, const struct jvalue *callee, struct jargs *a, struct jvalue *out) {
    switch (callee->type) {
    case JV_FUNC:
        a->func = callee->bound->func;
        a->self = callee->bound->self;
        return jf_run(r, a, out);
    case JV_MACRO:
        return jr_call_macro(r, callee->macro, a, out);
    case JV_LOOP:
        if (a->n != 1) return jr_fail(r, "TypeError", "loop() takes one iterable");
        return jr_call_loop(r, callee->loop, &a->arg[0], out);
    case JV_JOINER:
        *out = callee->list->v[callee->list->origin ? 1 : 0];
        callee->list->origin = 1;
        return true;
    case JV_UNDEFINED:
        return jo_attr(r, callee, STR(""), out);
    default:
        return jr_fail(r, "TypeError", "'%s' object is not callable", jv_type_name(callee));
    }
}

/* object.method(...) without making a bound method of it first. */
static bool eval_method(struct jrender *r, const struct jnode *n, const struct jnode *attr,
                        struct jvalue *out) {
    struct jvalue callee;
    struct jargs a = {0};
    if (!jr_eval(r, attr->kid[0], &a.self)) return false;
    a.func = jf_method_of(attr->func, &a.self);
    if (a.func) return eval_args(r, n, &a) && jf_run(r, &a, out);
    r->pos = attr->pos;
    return jo_attr(r, &a.self, js(&r->t->name[attr->name]), &callee) && eval_args(r, n, &a) &&
           jr_call(r, &callee, &a, out);
}

static bool eval_call(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jvalue callee;
    struct jargs a = {0};
    if (n->kid[0]->kind == JN_ATTR) return eval_method(r, n, n->kid[0], out);
    return jr_eval(r, n->kid[0], &callee) && eval_args(r, n, &a) && jr_call(r, &callee, &a, out);
}

/* ---- operators */

static bool eval_truth(struct jrender *r, const struct jnode *n, bool *out) {
    struct jvalue v;
    return jr_eval(r, n, &v) && jv_truth(r, &v, out);
}

static bool eval_not(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    bool truth;
    if (!eval_truth(r, n->kid[0], &truth)) return false;
    *out = jv_bool(!truth);
    return true;
}

static bool eval_sign(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jvalue v, zero = jv_int(0);
    if (!jr_eval(r, n->kid[0], &v)) return false;
    r->pos = n->pos;
    if (v.type == JV_FLOAT) {
        *out = jv_float(n->op == '-' ? -v.f : v.f);
        out->origin = v.origin;
        return true;
    }
    return jo_math(r, n->op, &zero, &v, out);
}

/* The operand that decides, as in Python. */
static bool eval_logic(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    for (uint32_t i = 0; i < n->n; i++) {
        bool truth;
        if (!jr_eval(r, n->kid[i], out) || !jv_truth(r, out, &truth)) return false;
        if (truth == (n->kind == JN_OR)) break;
    }
    return true;
}

static bool compare(struct jrender *r, uint16_t op, const struct jvalue *a, const struct jvalue *b,
                    bool *out) {
    const char name[3] = {(char)(op >> 8 ? op >> 8 : op), (char)(op >> 8 ? op : 0), 0};
    int c;
    switch (op) {
    case JOP2('=', '='):
        return jv_equal(r, a, b, out);
    case JOP2('i', 'n'):
        return jv_contains(r, b, a, out);
    case JOP2('!', '='):
        if (!jv_equal(r, a, b, out)) return false;
        *out = !*out;
        return true;
    case JOP2('n', 'i'):
        if (!jv_contains(r, b, a, out)) return false;
        *out = !*out;
        return true;
    }
    if (!jv_compare(r, a, b, name, &c)) return false;
    *out = name[0] == '<' ? (name[1] ? c <= 0 : c < 0) : (name[1] ? c >= 0 : c > 0);
    return true;
}

/* a < b < c is (a < b) and (b < c) */
static bool eval_compare(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jvalue left, right;
    bool truth = true;
    if (!jr_eval(r, n->kid[0], &left)) return false;
    for (uint32_t i = 1; truth && i < n->n; i++, left = right) {
        if (!jr_eval(r, n->kid[i], &right)) return false;
        r->pos = n->pos;
        if (!compare(r, n->ops[i], &left, &right, &truth)) return false;
    }
    *out = jv_bool(truth);
    return true;
}

static bool eval_math(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jvalue left, right;
    if (!jr_eval(r, n->kid[0], &left)) return false;
    for (uint32_t i = 1; i < n->n; i++, left = *out) {
        if (!jr_eval(r, n->kid[i], &right)) return false;
        r->pos = n->kid[i]->pos;
        if (!jo_math(r, n->ops[i], &left, &right, out)) return false;
    }
    return true;
}

static bool eval_concat(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    struct jbuild *b = jb_new(r);
    if (!b) return false;
    for (uint32_t i = 0; i < n->n; i++) {
        struct jvalue v;
        if (!jr_eval(r, n->kid[i], &v) || !jp_str(b, &v)) return false;
    }
    return jb_done(b, out);
}

static bool eval_cond(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    bool truth;
    if (!eval_truth(r, n->kid[0], &truth)) return false;
    if (truth) return jr_eval(r, n->kid[1], out);
    if (n->kid[2]) return jr_eval(r, n->kid[2], out);
    return jv_missing(r, NULL, STR("an inline if without else"), out);
}

typedef bool (*eval_fn)(struct jrender *r, const struct jnode *n, struct jvalue *out);
static const eval_fn eval[JN_EXPRS] =
    {/* ORDER JN */
     [JN_CONST] = eval_const,     [JN_NAME] = eval_name,   [JN_LIST] = eval_items,
     [JN_TUPLE] = eval_items,     [JN_DICT] = eval_dict,   [JN_ATTR] = eval_attr,
     [JN_ITEM] = eval_item,       [JN_SLICE] = eval_slice, [JN_CALL] = eval_call,
     [JN_FILTER] = eval_filter,   [JN_TEST] = eval_test,   [JN_NOT] = eval_not,
     [JN_SIGN] = eval_sign,       [JN_AND] = eval_logic,   [JN_OR] = eval_logic,
     [JN_COMPARE] = eval_compare, [JN_MATH] = eval_math,   [JN_CONCAT] = eval_concat,
     [JN_COND] = eval_cond};

bool jr_eval(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    r->pos = n->pos;
    if (!jr_step(r, 1) || !jr_enter(r)) return false;
    bool ok = eval[n->kind](r, n, out);
    r->depth--;
    return ok;
}
