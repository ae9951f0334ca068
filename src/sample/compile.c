/* From rules to the automaton: each rule is determinised over bytes, calls and tokens stay as
 * they are; then dead ends are cut and left recursion is refused. Called by build_finish only. */
#include "base/limits.h"
#include "sample/automaton.h"
#include "sample/lang.h"
#include "sample/nfa.h"

#include <string.h>

enum {
    WORK = 8 << 20,
    RULE_NFA = 1 << 18,
    RULE_NODES = 1 << 12
}; /* WORK: steps of the subset construction */

struct compile {
    struct build *b;
    struct grammar *g;
    struct err *e;
    struct nfa nfa;
    size_t n_nodes, cap_nodes, n_edges, cap_edges, n_tokens, cap_tokens, n_calls, cap_calls;
    uint32_t *rule_start; /* node, by rule */
    uint32_t *call_rule;  /* rule, by call */
    size_t cap_call_rule;
    uint32_t *node_rule;
    size_t cap_node_rule;
    bool *nullable;     /* by rule */
    uint64_t work_left; /* for all rules together */
};

static bool grow(struct compile *c, void **array, size_t *cap, size_t need, size_t size) {
    return mem_grow(array, cap, need, size) || err_nomem(c->e, "a grammar", need * size);
}
#define GROW(c, array, cap, need) grow(c, (void **)&(array), cap, need, sizeof *(array))

static const char *rule_name(const struct compile *c, uint32_t rule) {
    const char *name = c->b->rule[rule].name;
    return name ? name : "(unnamed)";
}

static bool add_edge(struct compile *c, struct edge x) {
    struct grammar *g = c->g;
    size_t first = g->node[c->n_nodes - 1].edge;
    struct edge *last = c->n_edges > first ? &g->edge[c->n_edges - 1] : NULL;
    if (last && last->to == x.to && last->hi + 1 == x.lo) {
        last->hi = x.hi;
        return true;
    }
    if (!GROW(c, g->edge, &c->cap_edges, c->n_edges + 1)) return false;
    g->edge[c->n_edges++] = x;
    return true;
}

static bool add_token(struct compile *c, int32_t id, uint32_t to) {
    if (!GROW(c, c->g->token, &c->cap_tokens, c->n_tokens + 1)) return false;
    c->g->token[c->n_tokens++] = (struct token_edge){id, to};
    return true;
}

/* All calls of one rule out of a set become one call whose successor is the union of theirs. */
static bool add_calls(struct compile *c, struct subset *s, uint32_t set, uint32_t base,
                      bool merge) {
    uint32_t n = s->set[set].n, n_left = 0;
    uint32_t *left = mem_array(2 * (size_t)n + 1, sizeof *left), *to = left ? left + n : NULL;
    if (!left) return err_nomem(c->e, "a grammar", n * sizeof *left);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t state = s->item[s->set[set].first + i];
        if (c->nfa.state[state].kind == NFA_CALL) left[n_left++] = state;
    }
    bool ok = true;
    while (n_left > 0 && ok) { /* the first one takes its equals along */
        const struct nfa_state first = c->nfa.state[left[0]];
        uint32_t n_to = 0, kept = 0;
        for (uint32_t i = 0; i < n_left; i++) {
            const struct nfa_state *x = &c->nfa.state[left[i]];
            bool same = i == 0 || (merge && !memcmp(&x->u.call, &first.u.call, sizeof x->u.call));
            if (same) to[n_to++] = x->a;
            else left[kept++] = left[i];
        }
        s->work += n_left;
        n_left = kept;
        uint32_t next = subset_add(s, to, n_to);
        ok = next != NFA_NONE && GROW(c, c->g->call, &c->cap_calls, c->n_calls + 1) &&
             GROW(c, c->call_rule, &c->cap_call_rule, c->n_calls + 1);
        if (!ok) break;
        c->call_rule[c->n_calls] = first.u.call.rule;
        c->g->call[c->n_calls++] =
            (struct call){0, first.u.call.min, first.u.call.max, base + next};
    }
    mem_free(left);
    return ok;
}

static bool add_bytes(struct compile *c, struct subset *s, uint32_t set, uint32_t base,
                      bool merge) {
    if (merge) {
        struct subset_run run[256];
        int n = subset_runs(s, set, run);
        for (int i = 0; i < n; i++)
            if (!add_edge(c, (struct edge){run[i].lo, run[i].hi, base + run[i].to})) return false;
        return n >= 0;
    }
    struct subset_run *run = NULL;
    size_t n = 0, cap = 0;
    bool ok = subset_edges(s, set, &run, &n, &cap);
    for (size_t i = 0; i < n && ok; i++)
        ok = add_edge(c, (struct edge){run[i].lo, run[i].hi, base + run[i].to});
    mem_free(run);
    return ok;
}

static bool add_node(struct compile *c, struct subset *s, uint32_t set, uint32_t rule,
                     uint32_t base, bool merge) {
    if (c->n_nodes >= LIMIT_GRAMMAR_STATES)
        return err_set(c->e, ERR_LIMIT, "the grammar needs more than %d states",
                       LIMIT_GRAMMAR_STATES);
    if (!GROW(c, c->g->node, &c->cap_nodes, c->n_nodes + 2) ||
        !GROW(c, c->node_rule, &c->cap_node_rule, c->n_nodes + 1))
        return false;
    struct node *node = &c->g->node[c->n_nodes];
    *node =
        (struct node){(uint32_t)c->n_edges, (uint32_t)c->n_tokens, (uint32_t)c->n_calls, 0, 0, 0};
    c->node_rule[c->n_nodes++] = rule;
    for (uint32_t i = 0; i < s->set[set].n; i++) {
        struct nfa_state *x = &c->nfa.state[s->item[s->set[set].first + i]];
        if (x->kind == NFA_ACCEPT) c->g->node[c->n_nodes - 1].final = true;
        if (x->kind != NFA_TOKEN) continue;
        uint32_t to = subset_add(s, &x->a, 1);
        if (to == NFA_NONE || !add_token(c, x->u.token, base + to)) return false;
    }
    return add_bytes(c, s, set, base, merge) && add_calls(c, s, set, base, merge);
}

/* false with *why set: try another way; false with *why NULL: c->e is filled. */
static bool add_rule_nodes(struct compile *c, uint32_t rule, uint32_t start, bool merge,
                           const char **why) {
    struct subset s;
    size_t limit = merge ? RULE_NODES + 4 * c->nfa.n : LIMIT_GRAMMAR_STATES;
    *why = NULL;
    if (!subset_init(&s, &c->nfa, limit, merge ? c->work_left / 2 : c->work_left))
        return err_nomem(c->e, "a grammar", 0);
    uint32_t base = (uint32_t)c->n_nodes;
    c->rule_start[rule] = base;
    bool ok = subset_add(&s, &start, 1) == 0;
    for (uint32_t i = 0; i < s.n && ok; i++)
        ok = add_node(c, &s, i, rule, base, merge) && s.work <= s.work_limit;
    if (!ok) *why = s.fail ? s.fail : s.work > s.work_limit ? "it needs too many states" : NULL;
    c->work_left = s.work < c->work_left ? c->work_left - s.work : 0;
    subset_free(&s);
    return ok;
}

static bool add_rule(struct compile *c, uint32_t rule) {
    const struct build_rule *r = &c->b->rule[rule];
    if (!r->body)
        return err_set_at(c->e, ERR_FORMAT, r->pos, "rule '%s' is not defined", rule_name(c, rule));
    uint32_t start = nfa_compile(&c->nfa, r->body, false);
    const char *why = c->nfa.fail;
    if (start != NFA_NONE) {
        size_t nodes = c->n_nodes, edges = c->n_edges, tokens = c->n_tokens, calls = c->n_calls;
        if (add_rule_nodes(c, rule, start, true, &why)) return true;
        if (!why) return false;
        c->n_nodes = nodes;
        c->n_edges = edges;
        c->n_tokens = tokens;
        c->n_calls = calls;
        if (add_rule_nodes(c, rule, start, false, &why)) return true;
        if (!why) return false;
    }
    return err_set_at(c->e, ERR_LIMIT, r->pos, "rule '%s' is too large: %s", rule_name(c, rule),
                      why);
}

static bool add_rules(struct compile *c) {
    struct grammar *g = c->g;
    c->nfa.limit = RULE_NFA;
    for (uint32_t i = 0; i < c->b->n_rules; i++)
        if (!add_rule(c, i)) return false;
    g->n_nodes = (uint32_t)c->n_nodes;
    g->n_calls = (uint32_t)c->n_calls;
    if (!GROW(c, g->node, &c->cap_nodes, c->n_nodes + 1)) return false;
    g->node[c->n_nodes] =
        (struct node){(uint32_t)c->n_edges, (uint32_t)c->n_tokens, (uint32_t)c->n_calls, 0, 0, 0};
    for (size_t i = 0; i < c->n_calls; i++) g->call[i].start = c->rule_start[c->call_rule[i]];
    return true;
}

/* Who has to be looked at again when something becomes known of a node: `from` in the places
 * first[node] .. first[node + 1]. */
struct backward {
    uint32_t *first, *from;
};

static void backward_free(struct backward *w) {
    mem_free(w->first);
    mem_free(w->from);
}

static void note_from(struct backward *w, uint32_t to, uint32_t from, bool count) {
    if (count) w->first[to + 2]++;
    else w->from[w->first[to + 1]++] = from;
}

static void note_all(const struct grammar *g, struct backward *w, uint32_t n_nodes, bool count) {
    for (uint32_t i = 0; i < n_nodes; i++) {
        const struct node *n = &g->node[i];
        for (uint32_t k = n->edge; k < n[1].edge; k++) note_from(w, g->edge[k].to, i, count);
        for (uint32_t k = n->token; k < n[1].token; k++) note_from(w, g->token[k].to, i, count);
        for (uint32_t k = n->call; k < n[1].call; k++) {
            note_from(w, g->call[k].start, i, count);
            note_from(w, g->call[k].next, i, count);
        }
    }
}

static bool backward_make(const struct compile *c, struct backward *w) {
    uint32_t n = (uint32_t)c->n_nodes;
    size_t n_from = c->n_edges + c->n_tokens + 2 * c->n_calls;
    w->first = mem_calloc((size_t)n + 3, sizeof *w->first);
    w->from = mem_array(n_from + 1, sizeof *w->from);
    if (!w->first || !w->from) return err_nomem(c->e, "a grammar", n_from * sizeof *w->from);
    note_all(c->g, w, n, true);
    for (uint32_t i = 0; i < n; i++) w->first[i + 2] += w->first[i + 1];
    note_all(c->g, w, n, false);
    return true;
}

/* A property that holds of a node because of others: found from those of which it holds at once. */
static bool settle(const struct compile *c, const struct backward *w,
                   bool (*holds)(const struct compile *, uint32_t, bool *), bool *by_node) {
    uint32_t *queue = mem_array(c->n_nodes + 1, sizeof *queue);
    size_t n = 0;
    if (!queue) return err_nomem(c->e, "a grammar", c->n_nodes * sizeof *queue);
    for (uint32_t i = (uint32_t)c->n_nodes; i-- > 0;)
        if (holds(c, i, by_node)) by_node[queue[n++] = i] = true;
    for (size_t at = 0; at < n; at++)
        for (uint32_t k = w->first[queue[at]]; k < w->first[queue[at] + 1]; k++) {
            uint32_t i = w->from[k];
            if (!by_node[i] && holds(c, i, by_node)) by_node[queue[n++] = i] = true;
        }
    mem_free(queue);
    return true;
}

static bool can_be_empty(const struct compile *c, uint32_t i, bool *yes) {
    const struct grammar *g = c->g;
    if (g->node[i].final) return true;
    for (uint32_t k = g->node[i].call; k < g->node[i + 1].call; k++)
        if ((g->call[k].min == 0 || yes[g->call[k].start]) && yes[g->call[k].next]) return true;
    return false;
}

static bool can_end(const struct compile *c, uint32_t i, bool *yes) {
    const struct grammar *g = c->g;
    const struct node *n = &g->node[i];
    if (n->final) return true;
    for (uint32_t k = n->edge; k < n[1].edge; k++)
        if (yes[g->edge[k].to]) return true;
    for (uint32_t k = n->token; k < n[1].token; k++)
        if (yes[g->token[k].to]) return true;
    for (uint32_t k = n->call; k < n[1].call; k++)
        if ((g->call[k].min == 0 || yes[g->call[k].start]) && yes[g->call[k].next]) return true;
    return false;
}

/* Removes what leads nowhere, so that every position can be completed. */
static bool cut_dead_ends(struct compile *c, const struct backward *w) {
    struct grammar *g = c->g;
    bool *ends = mem_calloc(c->n_nodes + 1, 1);
    if (!ends) return err_nomem(c->e, "a grammar", c->n_nodes);
    if (!settle(c, w, can_end, ends)) {
        mem_free(ends);
        return false;
    }
    uint32_t n_edges = 0, n_tokens = 0, n_calls = 0;
    for (uint32_t i = 0; i < c->n_nodes; i++) {
        struct node old = g->node[i], end = g->node[i + 1];
        g->node[i].edge = n_edges;
        g->node[i].token = n_tokens;
        g->node[i].call = n_calls;
        for (uint32_t k = old.edge; k < end.edge; k++)
            if (ends[g->edge[k].to]) g->edge[n_edges++] = g->edge[k];
        for (uint32_t k = old.token; k < end.token; k++)
            if (ends[g->token[k].to]) g->token[n_tokens++] = g->token[k];
        for (uint32_t k = old.call; k < end.call; k++) {
            struct call x = g->call[k];
            if (!ends[x.next] || (x.min > 0 && !ends[x.start])) continue;
            if (!ends[x.start]) x.max = 0;
            c->call_rule[n_calls] = c->call_rule[k];
            g->call[n_calls++] = x;
        }
    }
    struct node *last = &g->node[c->n_nodes];
    *last = (struct node){.edge = n_edges, .token = n_tokens, .call = n_calls};
    c->n_edges = n_edges;
    c->n_tokens = n_tokens;
    c->n_calls = g->n_calls = n_calls;
    for (struct node *n = g->node; n < last; n++) {
        bool only_calls = n->edge == n[1].edge && n->token == n[1].token;
        n->leaf = n->final && only_calls && n->call == n[1].call;
        n->through = !n->final && only_calls && n->call + 1 == n[1].call &&
                     g->call[n->call].min == 1 && g->call[n->call].max == 1;
    }
    bool ok = true;
    for (uint32_t r = 0; r < c->b->n_rules && ok; r++)
        if (!ends[c->rule_start[r]] && c->b->rule[r].pos >= 0)
            ok = err_set_at(c->e, ERR_FORMAT, c->b->rule[r].pos,
                            "rule '%s' never ends: nothing matches it", rule_name(c, r));
    if (ok && !ends[g->start]) ok = err_set(c->e, ERR_FORMAT, "nothing matches the grammar");
    mem_free(ends);
    return ok;
}

static bool expr_nullable(const struct compile *c, const struct expr *x, int depth) {
    if (depth > EXPR_DEPTH) return false;
    switch (x->kind) {
    case EXPR_LIT:
        return x->u.lit.len == 0;
    case EXPR_SEQ:
        for (uint32_t i = 0; i < x->u.list.n; i++)
            if (!expr_nullable(c, x->u.list.item[i], depth + 1)) return false;
        return true;
    case EXPR_ALT:
        for (uint32_t i = 0; i < x->u.list.n; i++)
            if (expr_nullable(c, x->u.list.item[i], depth + 1)) return true;
        return false;
    case EXPR_REPEAT:
        return x->u.repeat.min == 0 || expr_nullable(c, x->u.repeat.x, depth + 1);
    case EXPR_CALL:
        return c->nullable[x->u.rule];
    case EXPR_LANG:
        return x->u.lang.dfa->final[LANG_START] &&
               (!x->u.lang.close || expr_nullable(c, x->u.lang.close, depth + 1));
    default:
        return false;
    }
}

/* A repetition of something empty: an error where the author wrote it, and always where it would
 * be counted at run time. */
static bool check_loops(struct compile *c) {
    for (size_t i = 0; i < c->b->n_loops; i++) {
        const struct expr *x = c->b->loop[i];
        if (x->u.repeat.max > 1 && expr_nullable(c, x->u.repeat.x, 0))
            return err_set_at(c->e, ERR_FORMAT, x->u.repeat.pos,
                              "empty loop: what is repeated here can be empty");
    }
    for (size_t i = 0; i < c->n_calls; i++)
        if (c->g->call[i].max > 1 && c->nullable[c->call_rule[i]])
            return err_set(c->e, ERR_FORMAT,
                           "empty loop: something that can be empty is repeated "
                           "a counted number of times");
    return true;
}

/* Strongly connected components (Tarjan 1972) of "can be reached without reading anything": a
 * call whose callee lies in the caller's component is left recursion. */
struct tarjan {
    uint32_t *index, *low, *stack; /* by node; index 0: not seen */
    bool *open;
    struct visit {
        uint32_t node, call; /* the next call to look at, doubled; odd: its successor is next */
    } * visit;
    size_t n_visits, n_stack;
    uint32_t counter;
};

static void tarjan_open(struct tarjan *t, const struct grammar *g, uint32_t node) {
    t->index[node] = t->low[node] = ++t->counter;
    t->stack[t->n_stack++] = node;
    t->open[node] = true;
    t->visit[t->n_visits++] = (struct visit){node, g->node[node].call * 2};
}

static void tarjan_close(struct tarjan *t, uint32_t node) {
    t->n_visits--;
    if (t->n_visits) {
        uint32_t *low = &t->low[t->visit[t->n_visits - 1].node];
        if (t->low[node] < *low) *low = t->low[node];
    }
    if (t->low[node] != t->index[node]) return;
    uint32_t member;
    do {
        member = t->stack[--t->n_stack];
        t->open[member] = false;
        t->low[member] = t->index[node]; /* from here on: the component's number */
    } while (member != node);
}

static void tarjan_run(const struct compile *c, struct tarjan *t) {
    const struct grammar *g = c->g;
    for (uint32_t root = 0; root < c->n_nodes; root++) {
        if (!t->index[root]) tarjan_open(t, g, root);
        while (t->n_visits) {
            struct visit *v = &t->visit[t->n_visits - 1];
            uint32_t k = v->call / 2;
            if (k == g->node[v->node + 1].call) {
                tarjan_close(t, v->node);
                continue;
            }
            bool successor = v->call++ & 1;
            const struct call *x = &g->call[k];
            if (successor ? x->min > 0 && !c->nullable[c->call_rule[k]] : x->max == 0) continue;
            uint32_t to = successor ? x->next : x->start;
            if (!t->index[to]) tarjan_open(t, g, to);
            else if (t->open[to] && t->index[to] < t->low[v->node]) t->low[v->node] = t->index[to];
        }
    }
}

static bool check_left_recursion(struct compile *c) {
    size_t n = c->n_nodes + 1;
    struct tarjan t = {.index = mem_calloc(n, sizeof *t.index),
                       .low = mem_calloc(n, sizeof *t.low),
                       .stack = mem_calloc(n, sizeof *t.stack),
                       .open = mem_calloc(n, sizeof *t.open),
                       .visit = mem_array(n, sizeof *t.visit)};
    bool ok = t.index && t.low && t.stack && t.open && t.visit;
    if (ok) tarjan_run(c, &t);
    else err_nomem(c->e, "a grammar", n * sizeof *t.visit);
    for (uint32_t i = 0; i < c->n_nodes && ok; i++)
        for (uint32_t k = c->g->node[i].call; k < c->g->node[i + 1].call && ok; k++) {
            uint32_t rule = c->node_rule[i], callee = c->call_rule[k];
            if (c->g->call[k].max == 0 || t.low[i] != t.low[c->g->call[k].start]) continue;
            ok = err_set_at(c->e, ERR_FORMAT, c->b->rule[rule].pos,
                            "left recursion: rule '%s' can begin with '%s', which can begin with "
                            "'%s'",
                            rule_name(c, rule), rule_name(c, callee), rule_name(c, rule));
        }
    mem_free(t.index);
    mem_free(t.low);
    mem_free(t.stack);
    mem_free(t.open);
    mem_free(t.visit);
    return ok;
}

static bool check(struct compile *c) {
    struct backward w = {0};
    bool *empty = mem_calloc(c->n_nodes + 1, 1);
    c->nullable = mem_calloc(c->b->n_rules + 1, 1);
    bool ok = empty && c->nullable;
    if (!ok) err_nomem(c->e, "a grammar", c->n_nodes);
    ok = ok && backward_make(c, &w) && settle(c, &w, can_be_empty, empty);
    for (uint32_t r = 0; r < c->b->n_rules && ok; r++) c->nullable[r] = empty[c->rule_start[r]];
    ok = ok && check_loops(c) && check_left_recursion(c) && cut_dead_ends(c, &w);
    mem_free(empty);
    backward_free(&w);
    return ok;
}

/* Bytes that no edge tells apart share a class. */
static void classify(struct grammar *g) {
    bool border[257] = {true};
    for (uint32_t i = 0; i < g->node[g->n_nodes].edge; i++) {
        border[g->edge[i].lo] = true;
        border[g->edge[i].hi + 1] = true;
    }
    for (unsigned c = 0; c < 256; c++) {
        if (c && border[c]) g->n_classes++;
        g->byte_class[c] = (uint8_t)g->n_classes;
    }
    g->n_classes++;
}

struct grammar *build_finish(struct build *b, struct expr *x, struct err *e) {
    struct grammar *g = mem_calloc(1, sizeof *g);
    struct compile c = {.b = b, .g = g, .e = e, .work_left = WORK};
    int root = build_rule(b, NULL, -1);
    build_define(b, root, x);
    bool ok = g && x && !b->failed;
    if (!ok) err_set(e, ERR_NOMEM, "no memory for the grammar, or it is too large");
    if (ok) {
        c.rule_start = mem_calloc(b->n_rules, sizeof *c.rule_start);
        ok = c.rule_start || err_nomem(e, "a grammar", b->n_rules);
    }
    ok = ok && add_rules(&c);
    if (ok) {
        atomic_init(&g->refs, 1);
        g->start = c.rule_start[root];
        ok = check(&c);
    }
    if (ok) classify(g);
    mem_free(c.rule_start);
    mem_free(c.call_rule);
    mem_free(c.node_rule);
    mem_free(c.nullable);
    nfa_free(&c.nfa);
    build_free(b);
    if (!g) return NULL;
    g->bytes = sizeof *g + c.cap_nodes * sizeof *g->node + c.cap_edges * sizeof *g->edge +
               c.cap_tokens * sizeof *g->token + c.cap_calls * sizeof *g->call;
    if (!ok) {
        atomic_store(&g->refs, 1);
        grammar_free(g);
        return NULL;
    }
    return g;
}
