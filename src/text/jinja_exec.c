/* Runs statements and renders: the outer half of the interpreter. The output goes to r->sink, a
 * string under construction; macros and set blocks put their own there while they run. */
#include "text/jinja_eval.h"
#include "base/limits.h"
#include "base/str.h"

#include <string.h>

enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAIL };

enum { MEMORY_BASE = 24 << 20 }; /* and 8 bytes more for each byte of content */

static enum flow exec(struct jrender *r, const struct jnode *n);

static enum flow flow_of(bool ok) {
    return ok ? FLOW_NEXT : FLOW_FAIL;
}

static enum flow exec_body(struct jrender *r, const struct jnode *n) {
    for (uint32_t i = 0; i < n->n; i++) {
        enum flow f = exec(r, n->kid[i]);
        if (f != FLOW_NEXT) return f;
    }
    return FLOW_NEXT;
}

static enum flow exec_text(struct jrender *r, const struct jnode *n) {
    return flow_of(jb_add(r->sink, js(n->value.s), JINJA_TEMPLATE));
}

static enum flow exec_print(struct jrender *r, const struct jnode *n) {
    struct jvalue v;
    return flow_of(jr_eval(r, n->kid[0], &v) && jp_str(r->sink, &v));
}

static enum flow exec_if(struct jrender *r, const struct jnode *n) {
    uint32_t i = 0;
    for (; i + 1 < n->n; i += 2) {
        struct jvalue v;
        bool truth;
        if (!jr_eval(r, n->kid[i], &v) || !jv_truth(r, &v, &truth)) return FLOW_FAIL;
        if (truth) return exec(r, n->kid[i + 1]);
    }
    return i < n->n ? exec(r, n->kid[i]) : FLOW_NEXT;
}

/* ---- assignment */

static bool assign_attribute(struct jrender *r, const struct jnode *target, struct jvalue v) {
    struct jvalue object, key;
    if (!jr_eval(r, target->kid[0], &object)) return false;
    r->pos = target->pos;
    if (object.type != JV_NAMESPACE)
        return jr_fail(r, "TemplateRuntimeError",
                       "cannot assign attribute on non-namespace object");
    struct str name = js(&r->t->name[target->name]);
    if (name.p[0] == '_')
        return jr_fail(r, "SecurityError", "a namespace has no attribute '%.*s'", (int)name.len,
                       name.p);
    return jv_text(r, name, JINJA_TEMPLATE, &key) && jdict_set(r, object.dict, key, v);
}

static bool assign(struct jrender *r, const struct jnode *target, struct jvalue v) {
    struct jlist *l;
    if (target->kind == JN_NAME) return jr_set(r, target->name, v);
    if (target->kind == JN_ATTR) return assign_attribute(r, target, v);
    r->pos = target->pos;
    if (!jv_items(r, &v, &l)) return false;
    if (l->n != target->n)
        return jr_fail(r, "ValueError", "%s values to unpack (expected %u)",
                       l->n > target->n ? "too many" : "not enough", target->n);
    if (!jr_enter(r)) return false;
    bool ok = true;
    for (uint32_t i = 0; ok && i < target->n; i++) ok = assign(r, target->kid[i], l->v[i]);
    r->depth--;
    return ok;
}

static enum flow exec_set(struct jrender *r, const struct jnode *n) {
    struct jvalue v;
    return flow_of(jr_eval(r, n->kid[1], &v) && assign(r, n->kid[0], v));
}

/* Runs a body in a scope of its own with its output caught; a jump out of it goes on. */
static enum flow capture(struct jrender *r, const struct jnode *body, struct jscope *scope,
                         struct jvalue *out) {
    struct jbuild *sink = r->sink, *own = jb_new(r);
    struct jscope *outer = r->scope;
    if (!own || !scope) return FLOW_FAIL;
    r->sink = own;
    r->scope = scope;
    enum flow f = exec(r, body);
    r->scope = outer;
    r->sink = sink;
    return f == FLOW_FAIL || !jb_done(own, out) ? FLOW_FAIL : f;
}

/* A chain of filters around what a block printed: the innermost filter has no subject. */
static bool filter_chain(struct jrender *r, const struct jnode *n, const struct jvalue *text,
                         struct jvalue *out) {
    struct jvalue inner = *text;
    if (n->kid[0] && (!jr_enter(r) || !filter_chain(r, n->kid[0], text, &inner))) return false;
    if (n->kid[0]) r->depth--;
    return jr_filter(r, n, &inner, out);
}

static enum flow exec_set_block(struct jrender *r, const struct jnode *n) {
    struct jvalue text, v;
    enum flow f = capture(r, n->kid[1], jr_scope(r, r->scope), &text);
    if (f != FLOW_NEXT) return f;
    v = text;
    if (n->kid[2] && !filter_chain(r, n->kid[2], &text, &v)) return FLOW_FAIL;
    return flow_of(assign(r, n->kid[0], v));
}

static enum flow exec_filter_block(struct jrender *r, const struct jnode *n) {
    struct jvalue text, v;
    enum flow f = capture(r, n->kid[1], jr_scope(r, r->scope), &text);
    if (f != FLOW_NEXT) return f;
    return flow_of(filter_chain(r, n->kid[0], &text, &v) && jp_str(r->sink, &v));
}

static enum flow exec_with(struct jrender *r, const struct jnode *n) {
    struct jscope *outer = r->scope, *own = jr_scope(r, outer);
    if (!own) return FLOW_FAIL;
    for (uint32_t i = 1; i + 1 < n->n; i += 2) {
        struct jvalue v;
        bool ok = jr_eval(r, n->kid[i + 1], &v);
        r->scope = own;
        ok = ok && jr_set(r, n->kid[i]->name, v);
        r->scope = outer;
        if (!ok) return FLOW_FAIL;
    }
    r->scope = own;
    enum flow f = exec(r, n->kid[0]);
    r->scope = outer;
    return f;
}

/* ---- loops */

static bool filter_items(struct jrender *r, const struct jnode *n, struct jlist **items) {
    struct jlist *all = *items;
    struct jscope *outer = r->scope;
    struct jvalue kept, v;
    bool ok = jv_list(r, JV_LIST, 0, &kept) && (r->scope = jr_scope(r, outer)) != NULL;
    for (uint32_t i = 0; ok && i < all->n; i++) {
        bool truth;
        ok = assign(r, n->kid[0], all->v[i]) && jr_eval(r, n->kid[2], &v) &&
             jv_truth(r, &v, &truth) && (!truth || jlist_add(r, kept.list, all->v[i]));
    }
    r->scope = outer;
    *items = kept.list;
    return ok;
}

/* Each round begins with an empty scope; it is a new one only if a macro holds the last. */
static bool next_scope(struct jrender *r, struct jscope *outer) {
    if (r->scope && !r->scope->captured) {
        r->scope->n = 0;
        return true;
    }
    return (r->scope = jr_scope(r, outer)) != NULL;
}

/* *completed: at least one round ran to its end (what `else` looks at). */
static enum flow run_loop(struct jrender *r, const struct jnode *n, struct jloop *l,
                          bool *completed) {
    struct jscope *outer = r->scope;
    struct jvalue loop = jv(JV_LOOP);
    enum flow f = FLOW_NEXT;
    loop.loop = l;
    r->scope = NULL;
    for (l->at = 0; l->at < l->items->n; l->at++) {
        bool ok = next_scope(r, outer) && jr_step(r, 1) && jr_set(r, JNAME_LOOP, loop) &&
                  assign(r, n->kid[0], l->items->v[l->at]);
        f = ok ? exec(r, n->kid[3]) : FLOW_FAIL;
        if (f == FLOW_BREAK || f == FLOW_FAIL) break;
        if (f == FLOW_NEXT) *completed = true;
    }
    r->scope = outer;
    return f == FLOW_FAIL ? f : FLOW_NEXT;
}

static enum flow loop_over(struct jrender *r, const struct jnode *n, const struct jvalue *items,
                           int depth) {
    struct jloop *l = jr_alloc(r, 1, sizeof *l);
    if (!l || !jv_items(r, items, &l->items)) return FLOW_FAIL;
    if (n->kid[2] && !filter_items(r, n, &l->items)) return FLOW_FAIL;
    l->node = n;
    l->scope = r->scope;
    l->depth = depth;
    bool completed = false;
    enum flow f = run_loop(r, n, l, &completed);
    if (f == FLOW_FAIL || completed || !n->kid[4]) return f;
    struct jscope *outer = r->scope;
    if (!(r->scope = jr_scope(r, outer))) return FLOW_FAIL;
    f = exec(r, n->kid[4]);
    r->scope = outer;
    return f;
}

static enum flow exec_for(struct jrender *r, const struct jnode *n) {
    struct jvalue items;
    if (!jr_eval(r, n->kid[1], &items)) return FLOW_FAIL;
    r->pos = n->kid[1]->pos;
    return loop_over(r, n, &items, 0);
}

bool jr_call_loop(struct jrender *r, const struct jloop *l, const struct jvalue *items,
                  struct jvalue *out) {
    struct jbuild *sink = r->sink;
    struct jscope *outer = r->scope;
    if (!l->node->op) return jr_fail(r, "TypeError", "only a recursive loop can be called");
    if (!jr_enter(r) || !(r->sink = jb_new(r))) return false;
    r->scope = l->scope;
    struct jbuild *own = r->sink;
    bool ok = loop_over(r, l->node, items, l->depth + 1) != FLOW_FAIL && jb_done(own, out);
    r->scope = outer;
    r->sink = sink;
    r->depth--;
    return ok;
}

static enum flow exec_break(struct jrender *r, const struct jnode *n) {
    (void)r;
    return n->kind == JN_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
}

/* ---- macros */

static bool make_macro(struct jrender *r, const struct jnode *n, struct jvalue *out) {
    *out = jv(JV_MACRO);
    if (!(out->macro = jr_alloc(r, 1, sizeof *out->macro))) return false;
    for (struct jscope *s = r->scope; s; s = s->up) s->captured = true;
    *out->macro = (struct jmacro){n, r->scope, &r->t->name[n->name]};
    return true;
}

static enum flow exec_macro(struct jrender *r, const struct jnode *n) {
    struct jvalue macro;
    return flow_of(make_macro(r, n, &macro) && jr_set(r, n->name, macro));
}

static enum flow exec_call_block(struct jrender *r, const struct jnode *n) {
    const struct jnode *call = n->kid[0];
    struct jvalue callee, caller, v;
    struct jargs a = {0};
    if (!make_macro(r, n->kid[1], &caller) || !jr_eval(r, call->kid[0], &callee)) return FLOW_FAIL;
    for (uint32_t i = 1; i < call->n; i++) {
        if (a.n + 1 >= JARGS_MAX || call->names[i] < JARG_POSITIONAL) {
            jr_fail(r, "limit", "arguments of a call block");
            return FLOW_FAIL;
        }
        if (!jr_eval(r, call->kid[i], &a.arg[a.n])) return FLOW_FAIL;
        if (call->names[i] >= 0) a.key[a.n] = js(&r->t->name[call->names[i]]);
        a.n++;
    }
    a.key[a.n] = STR("caller");
    a.arg[a.n++] = caller;
    return flow_of(jr_call(r, &callee, &a, &v) && jp_str(r->sink, &v));
}

/* Index of the parameter an argument belongs to: n->n if to none. */
static uint32_t parameter(const struct jrender *r, const struct jnode *n, const struct jargs *a,
                          int i) {
    if (!a->key[i].p) return (uint32_t)i + 1 < n->n ? (uint32_t)i + 1 : n->n;
    uint32_t k = 1;
    while (k < n->n && !str_eq(js(&r->t->name[n->names[k]]), a->key[i])) k++;
    return k;
}

/* What fits no parameter: varargs, kwargs, caller, or an error. */
static bool extra_argument(struct jrender *r, const struct jmacro *m, const struct jargs *a, int i,
                           struct jlist *varargs, struct jdict *kwargs) {
    struct jvalue key;
    const struct jnode *n = m->node;
    if (!a->key[i].p) {
        if (n->flags & JM_VARARGS) return jlist_add(r, varargs, a->arg[i]);
        return jr_fail(r, "TypeError", "macro '%.*s' takes not more than %u argument(s)",
                       (int)m->name->len, m->name->p, n->n - 1);
    }
    if (str_is(a->key[i], "caller") && n->flags & JM_CALLER)
        return jr_set(r, JNAME_CALLER, a->arg[i]);
    if (n->flags & JM_KWARGS)
        return jv_text(r, a->key[i], JINJA_TEMPLATE, &key) && jdict_set(r, kwargs, key, a->arg[i]);
    return jr_fail(r, "TypeError", "macro '%.*s' takes no keyword argument '%.*s'",
                   (int)m->name->len, m->name->p, (int)a->key[i].len, a->key[i].p);
}

/* Fills r->scope, which is the macro's own. */
static bool bind_parameters(struct jrender *r, const struct jmacro *m, const struct jargs *a) {
    const struct jnode *n = m->node;
    struct jvalue varargs, kwargs, v;
    if (!jv_list(r, JV_TUPLE, 0, &varargs) || !jv_dict(r, &kwargs)) return false;
    uint64_t given = 0;
    if (n->n > 64) return jr_fail(r, "limit", "a macro has more than 63 parameters");
    for (int i = 0; i < a->n; i++) {
        uint32_t k = parameter(r, n, a, i);
        if (k == n->n) {
            if (!extra_argument(r, m, a, i, varargs.list, kwargs.dict)) return false;
            continue;
        }
        if (given >> k & 1) return jr_fail(r, "TypeError", "a macro got an argument twice");
        given |= (uint64_t)1 << k;
        if (!jr_set(r, n->names[k], a->arg[i])) return false;
    }
    for (uint32_t k = 1; k < n->n; k++) {
        if (given >> k & 1) continue;
        bool ok = n->kid[k] ? jr_eval(r, n->kid[k], &v)
                            : jv_missing(r, NULL, js(&r->t->name[n->names[k]]), &v);
        if (!ok || !jr_set(r, n->names[k], v)) return false;
    }
    return (!(n->flags & JM_VARARGS) || jr_set(r, JNAME_VARARGS, varargs)) &&
           (!(n->flags & JM_KWARGS) || jr_set(r, JNAME_KWARGS, kwargs));
}

bool jr_call_macro(struct jrender *r, const struct jmacro *m, const struct jargs *a,
                   struct jvalue *out) {
    struct jscope *outer = r->scope, *own = jr_scope(r, m->scope);
    uint32_t pos = r->pos;
    if (!own || !jr_enter(r)) return false;
    r->scope = own;
    bool ok = bind_parameters(r, m, a);
    r->scope = outer;
    ok = ok && capture(r, m->node->kid[0], own, out) != FLOW_FAIL;
    r->depth--;
    if (ok) r->pos = pos;
    return ok;
}

/* ---- dispatch */

typedef enum flow (*exec_fn)(struct jrender *r, const struct jnode *n);
static const exec_fn exec_of[JN_KINDS] = {/* ORDER JN */
                                          [JN_BODY] = exec_body,
                                          [JN_TEXT] = exec_text,
                                          [JN_PRINT] = exec_print,
                                          [JN_IF] = exec_if,
                                          [JN_FOR] = exec_for,
                                          [JN_SET] = exec_set,
                                          [JN_SET_BLOCK] = exec_set_block,
                                          [JN_MACRO] = exec_macro,
                                          [JN_CALL_BLOCK] = exec_call_block,
                                          [JN_FILTER_BLOCK] = exec_filter_block,
                                          [JN_WITH] = exec_with,
                                          [JN_BREAK] = exec_break,
                                          [JN_CONTINUE] = exec_break};

static enum flow exec(struct jrender *r, const struct jnode *n) {
    r->pos = n->pos;
    if (!jr_step(r, 1) || !jr_enter(r)) return FLOW_FAIL;
    enum flow f = exec_of[n->kind](r, n);
    r->depth--;
    return f;
}

/* ---- the door */

/* CR LF and CR become LF; one newline at the end goes. */
static bool normalise(struct jinja *t, struct str source) {
    char *p = arena_alloc(&t->arena, source.len + 1);
    size_t n = 0;
    if (!p) return false;
    for (size_t i = 0; i < source.len; i++) {
        if (source.p[i] != '\r') p[n++] = source.p[i];
        else if (i + 1 == source.len || source.p[i + 1] != '\n') p[n++] = '\n';
    }
    if (n && p[n - 1] == '\n') n--;
    p[n] = 0;
    t->source = (struct str){p, n};
    return true;
}

static bool keep_literals(struct jinja *t, const struct jtokens *tokens) {
    t->literal = arena_calloc(&t->arena, tokens->n + 1, sizeof *t->literal);
    for (size_t i = 0; t->literal && i < tokens->n; i++) {
        const struct jtoken *tok = &tokens->tok[i];
        if ((tok->kind == JT_TEXT || tok->kind == JT_STRING) && tok->text.len)
            t->literal[t->n_literals++] = tok->text;
    }
    return t->literal != NULL;
}

static bool check_utf8(const struct jinja *t, struct err *e) {
    uint32_t cp;
    for (size_t i = 0, n; i < t->source.len; i += n) {
        n = utf8_decode(t->source.p + i, t->source.len - i, &cp);
        if (n == 1 && cp == 0xFFFD)
            return jinja_error_at(t, e, ERR_FORMAT, i, "the template is not valid UTF-8");
    }
    return true;
}

struct jinja *jinja_parse(struct str source, struct err *e) {
    if (source.len > LIMIT_TEMPLATE_BYTES) {
        err_set(e, ERR_LIMIT, "the template has %zu bytes, the limit is %d", source.len,
                LIMIT_TEMPLATE_BYTES);
        return NULL;
    }
    struct jinja *t = mem_calloc(1, sizeof *t);
    struct jtokens tokens = {0};
    bool ok = t != NULL;
    if (!ok || !normalise(t, source)) {
        ok = err_nomem(e, "a template", source.len);
    } else {
        ok = check_utf8(t, e) && jinja_lex(t, &tokens, e) && jinja_parse_tokens(t, &tokens, e);
        if (ok && !keep_literals(t, &tokens)) ok = err_nomem(e, "a template", source.len);
    }
    mem_free(tokens.tok);
    if (ok) return t;
    jinja_free(t);
    return NULL;
}

void jinja_free(struct jinja *t) {
    if (!t) return;
    arena_free(&t->arena);
    mem_free(t->name);
    mem_free(t);
}

bool jinja_mentions(const struct jinja *t, const char *name) {
    for (size_t i = 0; i < t->n_names; i++)
        if (str_is(js(&t->name[i]), name)) return true;
    for (size_t i = 0; i < t->n_literals; i++)
        if (str_is(t->literal[i], name)) return true;
    return false;
}

const struct str *jinja_literal(const struct jinja *t, size_t i) {
    return i < t->n_literals ? &t->literal[i] : NULL;
}

static bool give_out(struct jrender *r, struct jinja_output *out) {
    void *run = out->run;
    const struct jbuild *b = r->sink;
    if (b->len > LIMIT_TEMPLATE_OUTPUT)
        return jr_fail(r, "limit", "the output has more than %d bytes", LIMIT_TEMPLATE_OUTPUT);
    bool ok = buf_add(&out->text, b->p, b->len) &&
              mem_grow(&run, &out->run_cap, b->n_run, sizeof *out->run);
    out->run = run;
    if (!ok) return jr_fail(r, "memory", "no memory for the output");
    if (b->n_run) memcpy(out->run, b->run, b->n_run * sizeof *out->run);
    out->n_run = b->n_run;
    return true;
}

bool jinja_render(const struct jinja *t, const struct jinja_input *in, struct jinja_output *out,
                  struct err *e) {
    struct err ignored;
    struct jrender r = {.t = t, .in = in, .out = out, .e = e ? e : &ignored};
    r.steps = LIMIT_TEMPLATE_STEPS;
    r.arena.limit = MEMORY_BASE;
    buf_clear(&out->text);
    mem_free(out->message);
    out->message = NULL;
    out->n_run = 0;
    out->raised = false;
    r.global = jr_alloc(&r, t->n_names, sizeof *r.global);
    r.sink = jb_new(&r);
    bool ok = r.global && r.sink && exec(&r, t->root) != FLOW_FAIL && give_out(&r, out);
    arena_free(&r.arena);
    return ok;
}

void jinja_output_free(struct jinja_output *out) {
    buf_free(&out->text);
    mem_free(out->run);
    mem_free(out->message);
    *out = (struct jinja_output){0};
}
