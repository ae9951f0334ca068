/* Descriptors that are not learnt from calls: the generic format, formats that a template only
 * talks about, and small helpers. */
#include "text/descr.h"

#include <string.h>

const char *descr_syntax_name(enum descr_syntax s) {
    static const char *const name[DESCR_N_SYNTAX] = {/* ORDER SYNTAX */
                                                     "none", "json",   "object", "named",
                                                     "tags", "python", "gemma"};
    return s < DESCR_N_SYNTAX ? name[s] : "?";
}

void descr_free(struct descr *d) {
    arena_free(&d->mem);
    *d = (struct descr){0};
}

void descr_set_generic(struct descr *d) {
    d->syntax = DESCR_OBJECT;
    d->section_open = d->section_close = (struct str){0};
    d->call_sep = STR("\n");
    d->call_open = STR("<tool_call>\n{\"name\": \"");
    d->name_args = STR("\", \"arguments\": ");
    d->call_close = STR("}\n</tool_call>");
    d->name_key = STR("name");
    d->args_key = STR("arguments");
    d->id_place = DESCR_ID_NONE;
    d->array = d->bare = false;
    d->parallel = d->generic = true;
}

struct str descr_trigger(const struct descr *d) {
    struct str s = d->section_open.len ? d->section_open : d->call_open;
    if (d->bare || d->syntax == DESCR_NO_CALLS) return (struct str){0};
    bool object = d->syntax == DESCR_OBJECT || d->syntax == DESCR_NAMED;
    if (object && !d->section_open.len) {
        const char *brace = memchr(s.p, '{', s.len);
        if (brace) s.len = (size_t)(brace - s.p);
    }
    while (s.len && strchr(" \n\r\t", s.p[s.len - 1])) s.len--;
    while (s.len && strchr(" \n\r\t", s.p[0])) s.p++, s.len--;
    if (d->array && s.len > 1 && s.p[s.len - 1] == '[' && strchr(">]\n", s.p[s.len - 2])) s.len--;
    return s;
}

/* Adds the <...> and [CAPITALS] of a text. */
static size_t add_tags(struct str s, struct str out[DESCR_TAGS_MAX], size_t n) {
    for (size_t i = 0; i < s.len && n < DESCR_TAGS_MAX; i++) {
        bool angle = s.p[i] == '<';
        bool square = s.p[i] == '[' && i + 1 < s.len &&
                      ((s.p[i + 1] >= 'A' && s.p[i + 1] <= 'Z') || s.p[i + 1] == '/');
        if (!angle && !square) continue;
        const char *end = memchr(s.p + i, angle ? '>' : ']', s.len - i);
        if (!end) continue;
        struct str tag = {s.p + i, (size_t)(end - s.p) - i + 1};
        bool known = false;
        for (size_t k = 0; k < n; k++) known |= str_eq(out[k], tag);
        if (!known) out[n++] = tag;
        i += tag.len - 1;
    }
    return n;
}

size_t descr_tags(const struct descr *d, struct str out[DESCR_TAGS_MAX]) {
    const struct str texts[] = {d->think_open, d->think_close,    d->section_open, d->call_open,
                                d->id_sep,     d->name_again,     d->name_args,    d->param_open,
                                d->key_close,  d->key_close_json, d->value_close,  d->quote,
                                d->call_close, d->call_sep,       d->section_close};
    size_t n = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) n = add_tags(texts[i], out, n);
    return n;
}
