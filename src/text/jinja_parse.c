/* The parser of the template language: tokens to the tree of jinja_ast.h. Chains of operators
 * become one node, so that the depth of the tree is the nesting of the source, which is limited.
 * Called once per template. */
#include "text/jinja_ast.h"
#include "text/jinja_run.h"
#include "base/limits.h"

#include <string.h>

struct parser {
    struct jinja *t;
    const struct jtoken *tok; /* the next one */
    struct err *e;
    int depth, loops;
    uint8_t macro_flags; /* JM_* names seen since the innermost macro began */
    int32_t *hash;       /* names: open addressing, -1 free */
    size_t hash_size;
};

/* A list of nodes that grows while its length is unknown. */
struct nodes {
    struct jnode **kid;
    int32_t *names;
    uint16_t *ops;
    size_t n, cap_kid, cap_names, cap_ops;
};

static void nodes_free(struct nodes *l) {
    mem_free(l->kid);
    mem_free(l->names);
    mem_free(l->ops);
}

static struct jnode *fail(struct parser *p, const char *what) {
    struct str got = p->tok->text;
    if (p->tok->kind == JT_END) got = STR("the end of the template");
    if (p->tok->kind == JT_BLOCK_END || p->tok->kind == JT_PRINT_END)
        got = STR("the end of the tag");
    if (got.len > 40) got.len = 40;
    jinja_error_at(p->t, p->e, ERR_FORMAT, p->tok->pos, "TemplateSyntaxError: %s, found '%.*s'",
                   what, (int)got.len, got.p ? got.p : "");
    return NULL;
}

static struct jnode *no_memory(struct parser *p) {
    err_nomem(p->e, "the parsed template", sizeof(struct jnode));
    return NULL;
}

static bool push(struct parser *p, struct nodes *l, struct jnode *kid, int32_t name, uint16_t op) {
    void *k = l->kid, *n = l->names, *o = l->ops;
    bool ok = mem_grow(&k, &l->cap_kid, l->n + 1, sizeof *l->kid);
    l->kid = k;
    ok = ok && mem_grow(&n, &l->cap_names, l->n + 1, sizeof *l->names);
    l->names = n;
    ok = ok && mem_grow(&o, &l->cap_ops, l->n + 1, sizeof *l->ops);
    l->ops = o;
    if (!ok) return no_memory(p) != NULL;
    l->kid[l->n] = kid;
    l->names[l->n] = name;
    l->ops[l->n++] = op;
    return true;
}

static void *keep(struct parser *p, const void *data, size_t n, size_t size) {
    void *copy = arena_alloc(&p->t->arena, n * size);
    if (copy && n) memcpy(copy, data, n * size);
    return copy;
}

static struct jnode *node(struct parser *p, enum jnode_kind kind, uint32_t pos) {
    struct jnode *n = arena_calloc(&p->t->arena, 1, sizeof *n);
    if (!n) return no_memory(p);
    n->kind = (uint8_t)kind;
    n->pos = pos;
    n->name = -1;
    return n;
}

enum keep_what { KEEP_KIDS, KEEP_NAMES, KEEP_OPS };

/* Makes a node of a finished list and frees the list; NULL passes a failure on. */
static struct jnode *close_list(struct parser *p, enum jnode_kind kind, uint32_t pos,
                                struct nodes *l, enum keep_what what, bool ok) {
    struct jnode *n = ok ? node(p, kind, pos) : NULL;
    if (n) {
        n->n = (uint32_t)l->n;
        n->kid = keep(p, l->kid, l->n, sizeof *l->kid);
        if (what == KEEP_NAMES) n->names = keep(p, l->names, l->n, sizeof *l->names);
        if (what == KEEP_OPS) n->ops = keep(p, l->ops, l->n, sizeof *l->ops);
        if (!n->kid || (what == KEEP_NAMES && !n->names) || (what == KEEP_OPS && !n->ops))
            n = no_memory(p);
    }
    nodes_free(l);
    return n;
}

/* Kids given one by one; a NULL among the first n_needed passes a failure on. */
static struct jnode *node_of(struct parser *p, enum jnode_kind kind, uint32_t pos, int n_needed,
                             int n, struct jnode **kids) {
    for (int i = 0; i < n_needed; i++)
        if (!kids[i]) return NULL;
    struct jnode *out = node(p, kind, pos);
    if (!out) return NULL;
    out->n = (uint32_t)n;
    out->kid = keep(p, kids, (size_t)n, sizeof *kids);
    return out->kid ? out : no_memory(p);
}

static bool enter(struct parser *p) {
    if (++p->depth <= LIMIT_TEMPLATE_DEPTH) return true;
    jinja_error_at(p->t, p->e, ERR_LIMIT, p->tok->pos, "nested deeper than %d levels",
                   LIMIT_TEMPLATE_DEPTH);
    return false;
}

/* ---- names and constants */

static struct jstr *new_string(struct parser *p, struct str text) {
    struct jstr *s = arena_calloc(&p->t->arena, 1, sizeof *s);
    if (!s) return (struct jstr *)no_memory(p);
    s->p = text.p;
    s->len = (uint32_t)text.len;
    s->n_run = 1;
    s->run = &s->one;
    s->n_chars = -1;
    s->n_chars = js_chars(s); /* shared by threads later: counted now */
    return s;
}

static bool grow_hash(struct parser *p) {
    size_t size = p->hash_size ? p->hash_size * 2 : 256;
    int32_t *hash = mem_array(size, sizeof *hash);
    if (!hash) return no_memory(p) != NULL;
    memset(hash, 0xFF, size * sizeof *hash);
    for (size_t i = 0; i < p->t->n_names; i++) {
        size_t k = str_hash(js(&p->t->name[i])) & (size - 1);
        while (hash[k] >= 0) k = (k + 1) & (size - 1);
        hash[k] = (int32_t)i;
    }
    mem_free(p->hash);
    p->hash = hash;
    p->hash_size = size;
    return true;
}

/* The number of a name; -1 without memory. */
static int32_t intern(struct parser *p, struct str text) {
    struct jinja *t = p->t;
    if (t->n_names * 2 >= p->hash_size && !grow_hash(p)) return -1;
    size_t k = str_hash(text) & (p->hash_size - 1);
    for (; p->hash[k] >= 0; k = (k + 1) & (p->hash_size - 1))
        if (str_eq(js(&t->name[p->hash[k]]), text)) return p->hash[k];
    void *array = t->name;
    if (!mem_grow(&array, &t->cap_names, t->n_names + 1, sizeof *t->name)) {
        no_memory(p);
        return -1;
    }
    t->name = array;
    struct jstr *s = new_string(p, text);
    if (!s) return -1;
    t->name[t->n_names] = *s;
    return p->hash[k] = (int32_t)t->n_names++;
}

static struct jnode *constant(struct parser *p, uint32_t pos, struct jvalue v) {
    struct jnode *n = node(p, JN_CONST, pos);
    if (n) n->value = v;
    return n;
}

/* ---- tokens */

static bool is_op(const struct parser *p, uint16_t op) {
    return p->tok->kind == JT_OP && p->tok->op == op;
}
static bool skip_op(struct parser *p, uint16_t op) {
    if (!is_op(p, op)) return false;
    p->tok++;
    return true;
}
static bool is_word(const struct parser *p, const char *word) {
    return p->tok->kind == JT_NAME && str_is(p->tok->text, word);
}
static bool skip_word(struct parser *p, const char *word) {
    if (!is_word(p, word)) return false;
    p->tok++;
    return true;
}
static bool expect_op(struct parser *p, uint16_t op, const char *what) {
    return skip_op(p, op) || fail(p, what) != NULL;
}
static bool expect_end(struct parser *p) {
    if (p->tok->kind != JT_BLOCK_END) return fail(p, "expected the end of the tag") != NULL;
    p->tok++;
    return true;
}
static int32_t take_name(struct parser *p) {
    if (p->tok->kind != JT_NAME) {
        fail(p, "expected a name");
        return -1;
    }
    return intern(p, p->tok++->text);
}

/* ---- expressions */

static struct jnode *parse_expr(struct parser *p);
static struct jnode *parse_or(struct parser *p);
static struct jnode *parse_unary(struct parser *p, bool with_filters);

enum { TUPLE_COND = 1, TUPLE_EMPTY = 2 }; /* parse_tuple: a if b else c allowed; () allowed */

static bool ends_tuple(const struct parser *p) {
    return p->tok->kind == JT_PRINT_END || p->tok->kind == JT_BLOCK_END || is_op(p, ')') ||
           is_word(p, "in") || is_word(p, "recursive") || p->tok->kind == JT_END;
}

static struct jnode *parse_tuple(struct parser *p, int how) {
    uint32_t pos = p->tok->pos;
    struct nodes l = {0};
    bool ok = true, tuple = false;
    while (ok && !ends_tuple(p)) {
        struct jnode *x = how & TUPLE_COND ? parse_expr(p) : parse_or(p);
        ok = x && push(p, &l, x, 0, 0);
        if (!ok || !is_op(p, ',')) break;
        p->tok++;
        tuple = true;
    }
    if (ok && !tuple && l.n == 1) {
        struct jnode *only = l.kid[0];
        nodes_free(&l);
        return only;
    }
    if (ok && l.n == 0 && !(how & TUPLE_EMPTY)) ok = fail(p, "expected an expression") != NULL;
    return close_list(p, JN_TUPLE, pos, &l, KEEP_KIDS, ok);
}

static struct jnode *parse_list(struct parser *p, uint32_t pos) {
    struct nodes l = {0};
    bool ok = true;
    while (ok && !is_op(p, ']')) {
        struct jnode *x = parse_expr(p);
        ok = x && push(p, &l, x, 0, 0) &&
             (is_op(p, ']') || expect_op(p, ',', "expected ',' or ']'"));
    }
    p->tok += ok;
    return close_list(p, JN_LIST, pos, &l, KEEP_KIDS, ok);
}

static struct jnode *parse_dict(struct parser *p, uint32_t pos) {
    struct nodes l = {0};
    bool ok = true;
    while (ok && !is_op(p, '}')) {
        struct jnode *key = parse_expr(p), *value = NULL;
        if (key && expect_op(p, ':', "expected ':'")) value = parse_expr(p);
        ok = value && push(p, &l, key, 0, 0) && push(p, &l, value, 0, 0) &&
             (is_op(p, '}') || expect_op(p, ',', "expected ',' or '}'"));
    }
    p->tok += ok;
    return close_list(p, JN_DICT, pos, &l, KEEP_KIDS, ok);
}

static struct jnode *parse_string(struct parser *p) {
    uint32_t pos = p->tok->pos;
    struct str text = p->tok++->text;
    if (p->tok->kind == JT_STRING) { /* adjacent literals are one */
        struct buf b = {0};
        buf_str(&b, text);
        while (p->tok->kind == JT_STRING) buf_str(&b, p->tok++->text);
        text = (struct str){arena_strndup(&p->t->arena, b.p, b.len), b.len};
        bool ok = !b.failed && text.p;
        buf_free(&b);
        if (!ok) return no_memory(p);
    }
    struct jstr *s = new_string(p, text);
    return s ? constant(p, pos, jv_of_str(s)) : NULL;
}

static struct jnode *parse_word(struct parser *p) {
    static const struct {
        const char *word;
        uint8_t type, b;
    } words[] = {{"true", JV_BOOL, 1},  {"True", JV_BOOL, 1}, {"false", JV_BOOL, 0},
                 {"False", JV_BOOL, 0}, {"none", JV_NONE, 0}, {"None", JV_NONE, 0}};
    uint32_t pos = p->tok->pos;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (skip_word(p, words[i].word))
            return constant(p, pos, (struct jvalue){.type = words[i].type, .b = words[i].b});
    struct jnode *n = node(p, JN_NAME, pos);
    if (!n || (n->name = take_name(p)) < 0) return NULL;
    if (n->name >= JNAME_VARARGS && n->name <= JNAME_CALLER)
        p->macro_flags |= (uint8_t)(1 << (n->name - JNAME_VARARGS));
    return n;
}

static struct jnode *parse_primary(struct parser *p) {
    const struct jtoken *tok = p->tok;
    struct jnode *n = NULL;
    switch (tok->kind) {
    case JT_NAME:
        return parse_word(p);
    case JT_STRING:
        return parse_string(p);
    case JT_INT:
        p->tok++;
        return constant(p, tok->pos, jv_int(tok->integer));
    case JT_FLOAT:
        p->tok++;
        return constant(p, tok->pos, jv_float(tok->real));
    }
    if (!enter(p)) return NULL;
    if (skip_op(p, '(')) {
        n = parse_tuple(p, TUPLE_COND | TUPLE_EMPTY);
        if (n && !expect_op(p, ')', "expected ')'")) n = NULL;
    } else if (skip_op(p, '[')) {
        n = parse_list(p, tok->pos);
    } else if (skip_op(p, '{')) {
        n = parse_dict(p, tok->pos);
    } else {
        fail(p, "expected an expression");
    }
    p->depth--;
    return n;
}

/* "(a, k=b, *c, **d)": appends to l, the opening bracket still stands. */
static bool parse_args(struct parser *p, struct nodes *l) {
    if (!expect_op(p, '(', "expected '('")) return false;
    while (!is_op(p, ')')) {
        int32_t name = JARG_POSITIONAL;
        if (skip_op(p, '*')) name = JARG_STAR;
        else if (skip_op(p, JOP2('*', '*'))) name = JARG_STAR_STAR;
        else if (p->tok->kind == JT_NAME && p->tok[1].kind == JT_OP && p->tok[1].op == '=') {
            if ((name = take_name(p)) < 0) return false;
            p->tok++;
        }
        struct jnode *x = parse_expr(p);
        if (!x || !push(p, l, x, name, 0)) return false;
        if (!is_op(p, ')') && !expect_op(p, ',', "expected ',' or ')'")) return false;
    }
    p->tok++;
    return true;
}

static struct jnode *parse_call(struct parser *p, struct jnode *callee) {
    struct nodes l = {0};
    uint32_t pos = p->tok->pos;
    bool ok = push(p, &l, callee, JARG_POSITIONAL, 0) && parse_args(p, &l);
    return close_list(p, JN_CALL, pos, &l, KEEP_NAMES, ok);
}

/* Behind '[': an index or a slice. */
static struct jnode *parse_index(struct parser *p, struct jnode *object, uint32_t pos) {
    struct jnode *kid[4] = {object};
    int n = 1;
    bool slice = false;
    if (!is_op(p, ':')) {
        if (!(kid[1] = parse_tuple(p, TUPLE_COND))) return NULL;
    }
    while (n < 3 && skip_op(p, ':')) {
        slice = true;
        n++;
        if (!is_op(p, ':') && !is_op(p, ']') && !(kid[n] = parse_expr(p))) return NULL;
    }
    if (!expect_op(p, ']', "expected ']'")) return NULL;
    return slice ? node_of(p, JN_SLICE, pos, 1, 4, kid) : node_of(p, JN_ITEM, pos, 2, 2, kid);
}

static struct jnode *parse_attribute(struct parser *p, struct jnode *object, uint32_t pos) {
    if (p->tok->kind == JT_INT) {
        struct jnode *kid[2] = {object, constant(p, pos, jv_int(p->tok->integer))};
        p->tok++;
        return node_of(p, JN_ITEM, pos, 2, 2, kid);
    }
    int32_t name = take_name(p);
    struct jnode *n = name < 0 ? NULL : node_of(p, JN_ATTR, pos, 1, 1, &object);
    if (!n) return NULL;
    n->name = name;
    n->func = jf_method(js(&p->t->name[name]));
    return n;
}

static struct jnode *parse_postfix(struct parser *p, struct jnode *n) {
    for (int links = 0; n; links++) {
        uint32_t pos = p->tok->pos;
        if (links > LIMIT_TEMPLATE_DEPTH) return fail(p, "too many links in a chain");
        if (skip_op(p, '.')) n = parse_attribute(p, n, pos);
        else if (skip_op(p, '[')) n = parse_index(p, n, pos);
        else if (is_op(p, '(')) n = parse_call(p, n);
        else return n;
    }
    return NULL;
}

/* Behind '|': one filter with its arguments; subject may be NULL (filter blocks fill it in). */
static struct jnode *parse_filter(struct parser *p, struct jnode *subject) {
    uint32_t pos = p->tok->pos;
    int32_t name = take_name(p);
    if (name < 0) return NULL;
    struct nodes l = {0};
    bool ok = push(p, &l, subject, JARG_POSITIONAL, 0);
    if (ok && is_op(p, '(')) ok = parse_args(p, &l);
    struct jnode *n = close_list(p, JN_FILTER, pos, &l, KEEP_NAMES, ok);
    if (!n) return NULL;
    n->name = name;
    n->func = jf_filter(js(&p->t->name[name]));
    return n;
}

/* Whether an argument without brackets follows a test's name, as in `is divisibleby 3`. */
static bool starts_test_argument(const struct parser *p) {
    static const char *const no[] = {"else", "or", "and", "if", "in", "is", "not", "recursive"};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (is_word(p, no[i])) return false;
    return (p->tok->kind >= JT_NAME && p->tok->kind <= JT_STRING) || is_op(p, '[') || is_op(p, '{');
}

static struct jnode *parse_test(struct parser *p, struct jnode *subject) {
    uint32_t pos = p->tok->pos;
    bool negated = skip_word(p, "not");
    int32_t name = take_name(p);
    if (name < 0) return NULL;
    struct nodes l = {0};
    bool ok = push(p, &l, subject, JARG_POSITIONAL, 0);
    if (ok && is_op(p, '(')) {
        ok = parse_args(p, &l);
    } else if (ok && starts_test_argument(p)) {
        struct jnode *x = parse_postfix(p, parse_primary(p));
        ok = x && push(p, &l, x, JARG_POSITIONAL, 0);
    }
    struct jnode *n = close_list(p, JN_TEST, pos, &l, KEEP_NAMES, ok);
    if (!n) return NULL;
    n->name = name;
    n->func = jf_test(js(&p->t->name[name]));
    return negated ? node_of(p, JN_NOT, pos, 1, 1, &n) : n;
}

static struct jnode *parse_unary(struct parser *p, bool with_filters) {
    uint32_t pos = p->tok->pos;
    struct jnode *n = NULL;
    if (!enter(p)) return NULL;
    if (is_op(p, '-') || is_op(p, '+')) {
        uint16_t op = p->tok++->op;
        struct jnode *x = parse_unary(p, false);
        if ((n = node_of(p, JN_SIGN, pos, 1, 1, &x)) != NULL) n->op = op;
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    for (int links = 0; n && with_filters; links++) {
        if (links > LIMIT_TEMPLATE_DEPTH) n = fail(p, "too many links in a chain");
        else if (skip_op(p, '|')) n = parse_filter(p, n);
        else if (skip_word(p, "is")) n = parse_test(p, n);
        else if (is_op(p, '(')) n = parse_call(p, n);
        else break;
    }
    p->depth--;
    return n;
}

/* Left-to-right chains of operators with the same rank, loosest last. */
static const struct rank {
    uint8_t kind;
    uint16_t op[4];
} ranks[] = {
    {JN_MATH, {JOP2('*', '*')}},
    {JN_MATH, {'*', '/', JOP2('/', '/'), '%'}},
    {JN_CONCAT, {'~'}},
    {JN_MATH, {'+', '-'}},
};

static bool op_of_rank(const struct parser *p, const struct rank *rank) {
    for (int i = 0; i < 4; i++)
        if (rank->op[i] && is_op(p, rank->op[i])) return true;
    return false;
}

static struct jnode *parse_chain(struct parser *p, int rank) {
    if (rank < 0) return parse_unary(p, true);
    uint32_t pos = p->tok->pos;
    struct jnode *n = parse_chain(p, rank - 1);
    if (!n || !op_of_rank(p, &ranks[rank])) return n;
    struct nodes l = {0};
    bool ok = push(p, &l, n, 0, 0);
    while (ok && op_of_rank(p, &ranks[rank])) {
        uint16_t op = p->tok++->op;
        n = parse_chain(p, rank - 1);
        ok = n && push(p, &l, n, 0, op);
    }
    enum keep_what what = ranks[rank].kind == JN_MATH ? KEEP_OPS : KEEP_KIDS;
    return close_list(p, ranks[rank].kind, pos, &l, what, ok);
}

enum { OP_IN = JOP2('i', 'n'), OP_NOT_IN = JOP2('n', 'i') };

static uint16_t compare_op(struct parser *p) {
    static const uint16_t ops[] = {
        JOP2('=', '='), JOP2('!', '='), JOP2('<', '='), JOP2('>', '='), '<', '>'};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (skip_op(p, ops[i])) return ops[i];
    if (skip_word(p, "in")) return OP_IN;
    if (is_word(p, "not") && p->tok[1].kind == JT_NAME && str_is(p->tok[1].text, "in")) {
        p->tok += 2;
        return OP_NOT_IN;
    }
    return 0;
}

static struct jnode *parse_compare(struct parser *p) {
    enum { LOOSEST = sizeof ranks / sizeof *ranks - 1 };
    uint32_t pos = p->tok->pos;
    struct jnode *n = parse_chain(p, LOOSEST);
    uint16_t op = n ? compare_op(p) : 0;
    if (!op) return n;
    struct nodes l = {0};
    bool ok = push(p, &l, n, 0, 0);
    for (; ok && op; op = ok ? compare_op(p) : 0) {
        n = parse_chain(p, LOOSEST);
        ok = n && push(p, &l, n, 0, op);
    }
    return close_list(p, JN_COMPARE, pos, &l, KEEP_OPS, ok);
}

static struct jnode *parse_not(struct parser *p) {
    uint32_t pos = p->tok->pos;
    if (!is_word(p, "not")) return parse_compare(p);
    bool odd = false;
    while (skip_word(p, "not")) odd = !odd;
    struct jnode *n = parse_compare(p), *inner = n;
    n = node_of(p, JN_NOT, pos, 1, 1, &inner);
    return odd || !n ? n : node_of(p, JN_NOT, pos, 1, 1, &n);
}

static struct jnode *parse_logic(struct parser *p, const char *word, enum jnode_kind kind,
                                 struct jnode *(*next)(struct parser *)) {
    uint32_t pos = p->tok->pos;
    struct jnode *n = next(p);
    if (!n || !is_word(p, word)) return n;
    struct nodes l = {0};
    bool ok = push(p, &l, n, 0, 0);
    while (ok && skip_word(p, word)) {
        n = next(p);
        ok = n && push(p, &l, n, 0, 0);
    }
    return close_list(p, kind, pos, &l, KEEP_KIDS, ok);
}

static struct jnode *parse_and(struct parser *p) {
    return parse_logic(p, "and", JN_AND, parse_not);
}
static struct jnode *parse_or(struct parser *p) {
    return parse_logic(p, "or", JN_OR, parse_and);
}

static struct jnode *parse_expr(struct parser *p) {
    uint32_t pos = p->tok->pos;
    if (!enter(p)) return NULL;
    struct jnode *n = parse_or(p);
    while (n && skip_word(p, "if")) {
        struct jnode *kid[3] = {parse_or(p), n, NULL};
        bool has_else = kid[0] && skip_word(p, "else");
        if (has_else) kid[2] = parse_expr(p);
        n = has_else && !kid[2] ? NULL : node_of(p, JN_COND, pos, 2, 3, kid);
    }
    p->depth--;
    return n;
}

/* ---- statements */

static struct jnode *parse_body(struct parser *p, const char *const *ends);

/* The words of a closing tag's list, and whether the tag that ended a body is this one. */
static bool at_end_tag(struct parser *p, const char *word) {
    return p->tok->kind == JT_NAME && str_is(p->tok->text, word) ? (p->tok++, true) : false;
}

static struct jnode *parse_if(struct parser *p, uint32_t pos) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    struct nodes l = {0};
    bool ok = true;
    do {
        struct jnode *test = parse_tuple(p, 0);
        ok = test && expect_end(p) && push(p, &l, test, 0, 0);
        struct jnode *body = ok ? parse_body(p, ends) : NULL;
        ok = body && push(p, &l, body, 0, 0);
    } while (ok && at_end_tag(p, "elif"));
    if (ok && at_end_tag(p, "else")) {
        struct jnode *body = expect_end(p) ? parse_body(p, last) : NULL;
        ok = body && push(p, &l, body, 0, 0);
    }
    if (ok) p->tok++;
    return close_list(p, JN_IF, pos, &l, KEEP_KIDS, ok && expect_end(p));
}

/* a, (b, c) or ns.attribute: what `set` and `for` assign to. */
static struct jnode *parse_target(struct parser *p) {
    struct nodes l = {0};
    uint32_t pos = p->tok->pos;
    bool ok = enter(p), tuple = false;
    while (ok) {
        struct jnode *x = NULL;
        if (skip_op(p, '(')) {
            x = parse_target(p);
            ok = x && expect_op(p, ')', "expected ')'");
        } else if (p->tok->kind == JT_NAME) {
            x = parse_word(p);
            if (x && x->kind != JN_NAME) x = fail(p, "cannot assign to a constant");
            if (x && is_op(p, '.')) x = parse_postfix(p, x);
            if (x && x->kind != JN_NAME && x->kind != JN_ATTR) x = fail(p, "cannot assign to this");
        } else {
            fail(p, "expected a name to assign to");
        }
        ok = ok && x && push(p, &l, x, 0, 0);
        if (!ok || !skip_op(p, ',')) break;
        tuple = true;
        if (p->tok->kind != JT_NAME && !is_op(p, '(')) break;
        if (is_word(p, "in")) break;
    }
    p->depth--;
    if (ok && !tuple) {
        struct jnode *only = l.kid[0];
        nodes_free(&l);
        return only;
    }
    return close_list(p, JN_TUPLE, pos, &l, KEEP_KIDS, ok);
}

static struct jnode *parse_for(struct parser *p, uint32_t pos) {
    static const char *const ends[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    struct jnode *kid[5] = {parse_target(p)};
    if (!kid[0]) return NULL;
    if (!skip_word(p, "in")) return fail(p, "expected 'in'");
    if (!(kid[1] = parse_tuple(p, 0))) return NULL;
    if (skip_word(p, "if") && !(kid[2] = parse_expr(p))) return NULL;
    bool recursive = skip_word(p, "recursive");
    if (!expect_end(p)) return NULL;
    p->loops++;
    kid[3] = parse_body(p, ends);
    p->loops--;
    if (!kid[3]) return NULL;
    if (at_end_tag(p, "else") && (!expect_end(p) || !(kid[4] = parse_body(p, last)))) return NULL;
    p->tok++;
    struct jnode *n = expect_end(p) ? node_of(p, JN_FOR, pos, 2, 5, kid) : NULL;
    if (n) n->op = recursive;
    return n;
}

/* "| f | g(x)" onto `chain`. */
static struct jnode *parse_filters(struct parser *p, struct jnode *chain) {
    for (int links = 0; skip_op(p, '|'); links++) {
        if (links > LIMIT_TEMPLATE_DEPTH) return fail(p, "too many links in a chain");
        chain = parse_filter(p, chain);
        if (!chain) return NULL;
    }
    return chain;
}

static struct jnode *parse_set(struct parser *p, uint32_t pos) {
    static const char *const ends[] = {"endset", NULL};
    struct jnode *kid[3] = {parse_target(p)};
    if (!kid[0]) return NULL;
    if (skip_op(p, '=')) {
        kid[1] = parse_tuple(p, TUPLE_COND);
        return kid[1] && expect_end(p) ? node_of(p, JN_SET, pos, 2, 2, kid) : NULL;
    }
    if (is_op(p, '|') && !(kid[2] = parse_filters(p, NULL))) return NULL;
    if (!expect_end(p) || !(kid[1] = parse_body(p, ends))) return NULL;
    p->tok++;
    return expect_end(p) ? node_of(p, JN_SET_BLOCK, pos, 2, 3, kid) : NULL;
}

/* "(a, b=1)" of a macro or call block: parameters go to l, behind kid 0 which is the body. */
static bool parse_params(struct parser *p, struct nodes *l) {
    if (!expect_op(p, '(', "expected '('")) return false;
    while (!is_op(p, ')')) {
        struct jnode *value = NULL;
        int32_t name = take_name(p);
        if (name < 0) return false;
        if (skip_op(p, '=') && !(value = parse_expr(p))) return false;
        if (!push(p, l, value, name, 0)) return false;
        if (!is_op(p, ')') && !expect_op(p, ',', "expected ',' or ')'")) return false;
    }
    p->tok++;
    return true;
}

/* From the parameters on, of a macro or of the block of a call. */
static struct jnode *parse_macro_body(struct parser *p, uint32_t pos, struct nodes *l,
                                      const char *const *ends) {
    uint8_t outer = p->macro_flags;
    int loops = p->loops;
    p->macro_flags = 0;
    p->loops = 0;
    struct jnode *body = expect_end(p) ? parse_body(p, ends) : NULL;
    if (body) l->kid[0] = body, p->tok++;
    struct jnode *n = close_list(p, JN_MACRO, pos, l, KEEP_NAMES, body && expect_end(p));
    if (n) n->flags = p->macro_flags;
    p->macro_flags = outer;
    p->loops = loops;
    return n;
}

static struct jnode *parse_macro(struct parser *p, uint32_t pos) {
    static const char *const ends[] = {"endmacro", NULL};
    struct nodes l = {0};
    int32_t name = take_name(p);
    if (name < 0) return NULL;
    if (!push(p, &l, NULL, 0, 0) || !parse_params(p, &l)) {
        nodes_free(&l);
        return NULL;
    }
    struct jnode *n = parse_macro_body(p, pos, &l, ends);
    if (n) n->name = name;
    return n;
}

static struct jnode *parse_call_block(struct parser *p, uint32_t pos) {
    static const char *const ends[] = {"endcall", NULL};
    struct nodes l = {0};
    bool ok = push(p, &l, NULL, 0, 0) && (!is_op(p, '(') || parse_params(p, &l));
    struct jnode *kid[2] = {ok ? parse_expr(p) : NULL};
    if (kid[0] && kid[0]->kind != JN_CALL) kid[0] = fail(p, "expected a call");
    if (!kid[0]) {
        nodes_free(&l);
        return NULL;
    }
    kid[1] = parse_macro_body(p, pos, &l, ends);
    if (kid[1] && (kid[1]->name = intern(p, STR("caller"))) < 0) return NULL;
    return node_of(p, JN_CALL_BLOCK, pos, 2, 2, kid);
}

static struct jnode *parse_filter_block(struct parser *p, uint32_t pos) {
    static const char *const ends[] = {"endfilter", NULL};
    struct jnode *kid[2] = {parse_filter(p, NULL)};
    if (kid[0]) kid[0] = parse_filters(p, kid[0]);
    if (!kid[0] || !expect_end(p) || !(kid[1] = parse_body(p, ends))) return NULL;
    p->tok++;
    return expect_end(p) ? node_of(p, JN_FILTER_BLOCK, pos, 2, 2, kid) : NULL;
}

static struct jnode *parse_with(struct parser *p, uint32_t pos) {
    static const char *const ends[] = {"endwith", NULL};
    struct nodes l = {0};
    bool ok = push(p, &l, NULL, 0, 0);
    while (ok && p->tok->kind != JT_BLOCK_END) {
        struct jnode *target = parse_word(p), *value = NULL;
        if (target && target->kind != JN_NAME) target = fail(p, "expected a name");
        if (target && expect_op(p, '=', "expected '='")) value = parse_expr(p);
        ok = value && push(p, &l, target, 0, 0) && push(p, &l, value, 0, 0) &&
             (p->tok->kind == JT_BLOCK_END || expect_op(p, ',', "expected ','"));
    }
    struct jnode *body = ok && expect_end(p) ? parse_body(p, ends) : NULL;
    if (body) l.kid[0] = body, p->tok++;
    return close_list(p, JN_WITH, pos, &l, KEEP_KIDS, body && expect_end(p));
}

/* Marks what the training code masks; prints its body in a scope of its own. */
static struct jnode *parse_generation(struct parser *p, uint32_t pos) {
    static const char *const ends[] = {"endgeneration", NULL};
    struct jnode *body = expect_end(p) ? parse_body(p, ends) : NULL;
    if (!body) return NULL;
    p->tok++;
    return expect_end(p) ? node_of(p, JN_WITH, pos, 1, 1, &body) : NULL;
}

static struct jnode *parse_jump(struct parser *p, uint32_t pos, enum jnode_kind kind) {
    if (!p->loops) return fail(p, "break and continue belong into a loop");
    return expect_end(p) ? node(p, kind, pos) : NULL;
}
static struct jnode *parse_break(struct parser *p, uint32_t pos) {
    return parse_jump(p, pos, JN_BREAK);
}
static struct jnode *parse_continue(struct parser *p, uint32_t pos) {
    return parse_jump(p, pos, JN_CONTINUE);
}

static struct jnode *parse_statement(struct parser *p) {
    static const struct {
        const char *word;
        struct jnode *(*parse)(struct parser *p, uint32_t pos);
    } tags[] = {{"if", parse_if},           {"for", parse_for},
                {"set", parse_set},         {"macro", parse_macro},
                {"call", parse_call_block}, {"filter", parse_filter_block},
                {"with", parse_with},       {"generation", parse_generation},
                {"break", parse_break},     {"continue", parse_continue}};
    uint32_t pos = p->tok->pos;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (skip_word(p, tags[i].word)) return tags[i].parse(p, pos);
    return fail(p, p->tok->kind == JT_NAME ? "unknown tag" : "expected the name of a tag");
}

static struct jnode *parse_print(struct parser *p, uint32_t pos) {
    struct jnode *x = parse_tuple(p, TUPLE_COND);
    if (!x) return NULL;
    if (p->tok->kind != JT_PRINT_END) return fail(p, "expected '}}'");
    p->tok++;
    return node_of(p, JN_PRINT, pos, 1, 1, &x);
}

static struct jnode *parse_text(struct parser *p) {
    struct jnode *n = node(p, JN_TEXT, p->tok->pos);
    struct jstr *s = new_string(p, p->tok++->text);
    if (!n || !s) return NULL;
    n->value = jv_of_str(s);
    return n;
}

static bool is_one_of(const struct parser *p, const char *const *words) {
    for (; words && *words; words++)
        if (is_word(p, *words)) return true;
    return false;
}

/* Statements up to a tag whose word is in `ends`; stops at the word. NULL ends: the whole. */
static struct jnode *parse_body(struct parser *p, const char *const *ends) {
    uint32_t pos = p->tok->pos;
    struct nodes l = {0};
    bool ok = enter(p);
    while (ok && p->tok->kind != JT_END) {
        uint32_t at = p->tok->pos;
        struct jnode *n = NULL;
        if (p->tok->kind == JT_TEXT) {
            n = parse_text(p);
        } else if (p->tok->kind == JT_PRINT_BEGIN) {
            p->tok++;
            n = parse_print(p, at);
        } else {
            p->tok++;
            if (is_one_of(p, ends)) break;
            n = parse_statement(p);
        }
        ok = n && push(p, &l, n, 0, 0);
    }
    p->depth--;
    if (ok && ends && p->tok->kind == JT_END) {
        jinja_error_at(p->t, p->e, ERR_FORMAT, pos,
                       "TemplateSyntaxError: the template ends where '%s' was expected", ends[0]);
        ok = false;
    }
    return close_list(p, JN_BODY, pos, &l, KEEP_KIDS, ok);
}

bool jinja_parse_tokens(struct jinja *t, const struct jtokens *tokens, struct err *e) {
    static const char *const fixed[] = {"loop", "varargs", "kwargs", "caller"}; /* ORDER JNAME */
    struct parser p = {.t = t, .tok = tokens->tok, .e = e};
    bool ok = true;
    for (int i = 0; ok && i < 4; i++) ok = intern(&p, str_of(fixed[i])) == i;
    t->root = ok ? parse_body(&p, NULL) : NULL;
    mem_free(p.hash);
    return t->root != NULL;
}
