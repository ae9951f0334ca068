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
