/* The filters tojson and from_json: exactly what Python's json.dumps prints. */
#include "text/jinja_funcs.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

enum { FROM_JSON_BYTES = 2 << 20 }; /* jansson allocates outside of the arena */

/* Brackets, quotes and separators have the origin of what they enclose. */
struct dump {
    struct jbuild b;
    bool ascii, sort, pretty;
    struct jstr *indent; /* one level */
    struct jstr *item, *key;
};

static bool dump_value(struct dump *d, const struct jvalue *v, int level);

static bool dump_char(struct dump *d, uint32_t cp, uint32_t origin) {
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    char text[16];
    const char *hit = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
    if (hit) snprintf(text, sizeof text, "\\%c", to[hit - from]);
    else if (cp < 0x20) snprintf(text, sizeof text, "\\u%04x", cp);
    else if (cp < 0x10000) snprintf(text, sizeof text, "\\u%04x", cp);
    else
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + ((cp - 0x10000) >> 10),
                 0xDC00 + ((cp - 0x10000) & 0x3FF));
    return jb_add(&d->b, str_of(text), origin);
}

static bool dump_str(struct dump *d, const struct jstr *s) {
    size_t plain = 0, i = 0;
    uint32_t quotes = s->run[0].origin;
    if (!jb_char(&d->b, '"', quotes) || !jr_step(d->b.r, s->len / 64)) return false;
    while (i < s->len) {
        unsigned char c = (unsigned char)s->p[i];
        uint32_t cp = c;
        size_t n = 1;
        if (c >= 0x80) n = utf8_decode(s->p + i, s->len - i, &cp);
        if (c == '"' || c == '\\' || c < 0x20 || (d->ascii && c >= 0x7F)) {
            if (!jb_sub(&d->b, s, plain, i) || !dump_char(d, cp, js_origin_at(s, i))) return false;
            plain = i + n;
        }
        i += n;
    }
    return jb_sub(&d->b, s, plain, s->len) && jb_char(&d->b, '"', quotes);
}

/* Before an item of a container, and before its closing bracket. */
static bool line(struct dump *d, int level, uint32_t origin) {
    if (!d->pretty) return true;
    if (!jb_char(&d->b, '\n', origin)) return false;
    for (int i = 0; i < level; i++)
        if (!jb_add(&d->b, js(d->indent), origin)) return false;
    return true;
}

static bool dump_list(struct dump *d, struct jlist *l, int level) {
    if (!jlist_open(d->b.r, l)) return false;
    if (l->n == 0) return jb_add(&d->b, STR("[]"), l->origin);
    if (!jb_char(&d->b, '[', l->origin)) return false;
    for (uint32_t i = 0; i < l->n; i++)
        if ((i && !jb_add(&d->b, js(d->item), l->origin)) || !line(d, level + 1, l->origin) ||
            !dump_value(d, &l->v[i], level + 1))
            return false;
    return line(d, level, l->origin) && jb_char(&d->b, ']', l->origin);
}

static bool dump_key(struct dump *d, const struct jvalue *key) {
    struct jvalue text;
    struct jbuild b = {.r = d->b.r};
    switch (key->type) {
    case JV_STR:
        return dump_str(d, key->s);
    case JV_NONE:
        return jb_add(&d->b, STR("\"null\""), JINJA_TEMPLATE);
    case JV_BOOL:
        return jb_add(&d->b, str_of(key->b ? "\"true\"" : "\"false\""), key->origin);
    case JV_INT:
    case JV_FLOAT:
        return jp_str(&b, key) && jb_done(&b, &text) && dump_str(d, text.s);
    default:
        return jr_fail(b.r, "TypeError", "keys must be str, int, float, bool or None, not %s",
                       jv_type_name(key));
    }
}

/* The order of the entries: as they stand, or by key. */
static bool order_keys(struct dump *d, struct jdict *dict, struct jlist **keys) {
    struct jvalue list;
    if (!jv_list(d->b.r, JV_LIST, dict->n, &list)) return false;
    *keys = list.list;
    for (uint32_t i = 0; i < dict->n; i++)
        if (!jlist_add(d->b.r, *keys, dict->e[i].key)) return false;
    return !d->sort || jl_sort(d->b.r, *keys, false);
}

static bool dump_dict(struct dump *d, struct jdict *dict, int level) {
    struct jlist *keys = NULL;
    uint32_t origin = dict->origin;
    if (!jdict_open(d->b.r, dict)) return false;
    if (dict->n == 0) return jb_add(&d->b, STR("{}"), origin);
    if ((d->sort && !order_keys(d, dict, &keys)) || !jb_char(&d->b, '{', origin)) return false;
    for (uint32_t i = 0; i < dict->n; i++) {
        struct jvalue *value = &dict->e[i].value, key = dict->e[i].key;
        if (keys) {
            key = keys->v[i];
            if (!jdict_find(d->b.r, dict, key, &value)) return false;
        }
        if ((i && !jb_add(&d->b, js(d->item), origin)) || !line(d, level + 1, origin) ||
            !dump_key(d, &key) || !jb_add(&d->b, js(d->key), origin) ||
            !dump_value(d, value, level + 1))
            return false;
    }
    return line(d, level, origin) && jb_char(&d->b, '}', origin);
}

static bool dump_any(struct dump *d, const struct jvalue *v, int level) {
    char text[40];
    switch (v->type) {
    case JV_NONE:
        return jb_add(&d->b, STR("null"), v->origin);
    case JV_BOOL:
        return jb_add(&d->b, str_of(v->b ? "true" : "false"), v->origin);
    case JV_INT:
        return jp_str(&d->b, v);
    case JV_FLOAT:
        jp_float(v->f, text);
        if (strcmp(text, "nan") == 0) strcpy(text, "NaN");
        if (strcmp(text, "inf") == 0) strcpy(text, "Infinity");
        if (strcmp(text, "-inf") == 0) strcpy(text, "-Infinity");
        return jb_add(&d->b, str_of(text), v->origin);
    case JV_STR:
        return dump_str(d, v->s);
    case JV_LIST:
    case JV_TUPLE:
    case JV_GENERATOR: /* json.dumps refuses these two; a list is what was meant */
    case JV_VIEW:
        return dump_list(d, v->list, level);
    case JV_DICT:
        return dump_dict(d, v->dict, level);
    default:
        return jr_fail(d->b.r, "TypeError", "Object of type %s is not JSON serializable",
                       jv_type_name(v));
    }
}

static bool dump_value(struct dump *d, const struct jvalue *v, int level) {
    struct jrender *r = d->b.r;
    if (!jr_step(r, 1) || !jr_enter(r)) return false;
    bool ok = dump_any(d, v, level);
    r->depth--;
    return ok;
}

static bool text_value(struct jrender *r, struct str text, struct jstr **out) {
    struct jvalue v;
    if (!jv_text(r, text, JINJA_TEMPLATE, &v)) return false;
    *out = v.s;
    return true;
}

static bool read_indent(struct jrender *r, const struct jvalue *v, struct dump *d) {
    static const char blanks[] = "                                ";
    if (v->type == JV_ABSENT || v->type == JV_NONE) return true;
    d->pretty = true;
    if (v->type == JV_STR) {
        d->indent = v->s;
        return true;
    }
    int64_t n = v->type == JV_INT || v->type == JV_BOOL ? jv_integer(v) : -1;
    if (n > (int64_t)sizeof blanks - 1)
        return jr_fail(r, "limit", "an indent of more than %zu blanks", sizeof blanks - 1);
    return text_value(r, (struct str){blanks, n > 0 ? (size_t)n : 0}, &d->indent);
}

static bool read_separators(struct jrender *r, const struct jvalue *v, struct dump *d) {
    if (v->type == JV_ABSENT || v->type == JV_NONE)
        return text_value(r, d->pretty ? STR(",") : STR(", "), &d->item) &&
               text_value(r, STR(": "), &d->key);
    struct jlist *l;
    if (!jv_items(r, v, &l)) return false;
    if (l->n != 2 || l->v[0].type != JV_STR || l->v[1].type != JV_STR)
        return jr_fail(r, "ValueError", "separators must be two texts");
    d->item = l->v[0].s;
    d->key = l->v[1].s;
    return true;
}

/* ensure_ascii indent separators sort_keys */
bool jf_tojson(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct dump d = {.b = {.r = r}};
    return ja_bool(r, a, 0, false, &d.ascii) && ja_bool(r, a, 3, false, &d.sort) &&
           read_indent(r, &a->arg[1], &d) && read_separators(r, &a->arg[2], &d) &&
           dump_value(&d, &a->self, 0) && jb_done(&d.b, out);
}

/* A copy that needs no json_t: everything has the origin of the text it was parsed from. */
static bool copy_json(struct jrender *r, const json_t *json, uint32_t origin, struct jvalue *out) {
    struct jvalue child, key;
    char *text;
    if (!jr_step(r, 1)) return false;
    if (json_is_string(json)) {
        size_t n = json_string_length(json);
        text = jr_alloc(r, n + 1, 1);
        if (!text) return false;
        memcpy(text, json_string_value(json), n);
        return jv_text(r, (struct str){text, n}, origin, out);
    }
    if (!jv_json(r, json, origin, out)) return false;
    if (out->type == JV_LIST) out->list->json = NULL;
    if (out->type == JV_DICT) out->dict->json = NULL;
    for (size_t i = 0; out->type == JV_LIST && i < json_array_size(json); i++)
        if (!copy_json(r, json_array_get(json, i), origin, &child) ||
            !jlist_add(r, out->list, child))
            return false;
    if (out->type != JV_DICT) return true;
    void *it = json_object_iter((json_t *)json);
    for (; it; it = json_object_iter_next((json_t *)json, it)) {
        size_t n = json_object_iter_key_len(it);
        if (!(text = jr_alloc(r, n + 1, 1))) return false;
        memcpy(text, json_object_iter_key(it), n);
        if (!jv_text(r, (struct str){text, n}, origin, &key) ||
            !copy_json(r, json_object_iter_value(it), origin, &child) ||
            !jdict_set(r, out->dict, key, child))
            return false;
    }
    return true;
}

bool jf_from_json(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct err e;
    if (a->self.type != JV_STR)
        return jr_fail(r, "TypeError", "from_json wants a text, not '%s'", jv_type_name(&a->self));
    if (!jr_step(r, a->self.s->len / 8)) return false;
    json_t *json = json_parse(js(a->self.s), FROM_JSON_BYTES, &e);
    if (!json) return jr_fail(r, "ValueError", "from_json: %s", e.msg);
    bool ok = copy_json(r, json, jv_origin(&a->self), out);
    json_decref(json);
    return ok;
}
