/* Sources of written grammars (contract in source.h). */
#include "sample/source.h"
#include "base/limits.h"
#include "sample/grammar.h"

#include <stdio.h>
#include <string.h>

struct expr *source_bad(struct source *p, size_t at, const char *what) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < p->s.len; i++) {
        column++;
        if (p->s.p[i] == '\n') line++, column = 1;
    }
    err_set_at(p->e, ERR_FORMAT, (int64_t)at, "grammar, line %zu column %zu: %s", line, column,
               what);
    return NULL;
}

int source_peek(const struct source *p) {
    return p->at < p->s.len ? (unsigned char)p->s.p[p->at] : -1;
}

bool source_starts(const struct source *p, const char *text) {
    return str_starts((struct str){p->s.p + p->at, p->s.len - p->at}, str_of(text));
}

int source_rule(struct source *p, struct str text, size_t pos) {
    uint32_t *at = &p->bucket[str_hash(text) % SOURCE_BUCKETS];
    for (uint32_t i = *at; i; i = p->name[i - 1].chain)
        if (str_eq(p->name[i - 1].text, text)) return p->name[i - 1].rule;
    void *grown = p->name;
    if (!mem_grow(&grown, &p->cap_names, p->n_names + 1, sizeof *p->name)) return -1;
    p->name = grown;
    char copy[SOURCE_NAME];
    size_t n = text.len < sizeof copy - 1 ? text.len : sizeof copy - 1;
    memcpy(copy, text.p, n);
    copy[n] = 0;
    int rule = build_rule(p->b, copy, (int64_t)pos);
    if (rule < 0) return rule;
    p->name[p->n_names++] = (struct source_name){text, rule, *at};
    *at = (uint32_t)p->n_names;
    return rule;
}

bool source_hex(struct source *p, int digits, uint32_t *cp) {
    *cp = 0;
    for (int i = 0; i < digits; i++, p->at++) {
        int c = source_peek(p);
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) return source_bad(p, p->at, "a hexadecimal digit is expected") != NULL;
        *cp = *cp * 16 + (uint32_t)d;
    }
    return *cp <= 0x10FFFF || source_bad(p, p->at, "there is no such character") != NULL;
}

bool source_number(struct source *p, int64_t *value) {
    size_t start = p->at;
    *value = 0;
    while (source_peek(p) >= '0' && source_peek(p) <= '9') {
        if (*value <= INT32_MAX) *value = *value * 10 + (source_peek(p) - '0');
        p->at++;
    }
    return p->at > start;
}

static bool check(struct source *p, const char *start, bool (*parse)(struct source *p)) {
    char what[SOURCE_NAME + 40];
    if (p->s.len > LIMIT_GRAMMAR_BYTES)
        return err_set(p->e, ERR_LIMIT, "a grammar of %zu bytes is larger than the limit of %d",
                       p->s.len, LIMIT_GRAMMAR_BYTES);
    if (!utf8_valid(p->s.p, p->s.len))
        return err_set(p->e, ERR_FORMAT, "the grammar is not valid UTF-8");
    if (!parse(p)) return false;
    bool found = false;
    for (size_t i = 0; i < p->n_names; i++) {
        struct source_name *n = &p->name[i];
        found |= str_is(n->text, start);
        if (build_defined(p->b, n->rule)) continue;
        snprintf(what, sizeof what, "rule '%.*s' is not defined",
                 (int)(n->text.len < SOURCE_NAME ? n->text.len : SOURCE_NAME), n->text.p);
        return source_bad(p, (size_t)p->b->rule[n->rule].pos, what) != NULL;
    }
    snprintf(what, sizeof what, "there is no rule '%s'", start);
    return found || source_bad(p, 0, what) != NULL;
}

struct expr *source_expr(struct build *b, struct str source, const char *start,
                         bool (*parse)(struct source *p), struct err *e) {
    struct source *p = mem_calloc(1, sizeof *p);
    size_t n_rules = b->n_rules, n_loops = b->n_loops;
    struct err found = {0};
    struct expr *x = NULL;
    if (!p) {
        err_nomem(e, "a grammar", sizeof *p);
        return NULL;
    }
    p->b = b;
    p->s = source;
    p->e = &found;
    if (check(p, start, parse)) x = build_call(b, source_rule(p, str_of(start), 0));
    if (!x && !found.code) err_set(&found, ERR_LIMIT, "the grammar is too large");
    if (!x) { /* what it has begun is forgotten: the builder may go on without it */
        b->n_rules = n_rules;
        b->n_loops = n_loops;
        if (e) *e = found;
    }
    mem_free(p->name);
    mem_free(p);
    return x;
}

struct grammar *source_grammar(struct str source, const char *start,
                               bool (*parse)(struct source *p), struct err *e) {
    struct build *b = build_new(e);
    struct expr *x = b ? source_expr(b, source, start, parse, e) : NULL;
    if (x) return build_finish(b, x, e);
    build_free(b);
    return NULL;
}
