/* Values as text: Python's str(), repr() and float formatting, and the two format languages
 * ('%s' % x and '{}'.format(x)). Knows no JSON; tojson is a filter. */
#include "text/jinja_run.h"
#include "gen/pystr.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers */

size_t jp_float(double f, char out[40]) {
    if (isnan(f)) return (size_t)snprintf(out, 40, "nan");
    if (isinf(f)) return (size_t)snprintf(out, 40, f < 0 ? "-inf" : "inf");
    char digits[40];
    int precision = 1;
    do snprintf(digits, sizeof digits, "%.*e", precision - 1, f);
    while (strtod(digits, NULL) != f && precision++ < 17);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) { /* d.ddde+XX, without a point when there is one digit */
        return (size_t)snprintf(out, 40, "%.*e", precision - 1, f);
    }
    int decimals = precision - 1 - exponent;
    return (size_t)snprintf(out, 40, "%.*f", decimals > 0 ? decimals : 1, f);
}

/* ---- repr of a string */

static bool in_ranges(const struct pystr_range *t, int n, uint32_t cp) {
    int lo = 0, hi = n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (t[mid].last < cp) lo = mid + 1;
        else hi = mid;
    }
    return lo < n && t[lo].first <= cp;
}

static bool repr_char(struct jbuild *b, uint32_t cp, char quote, uint32_t origin) {
    char text[12];
    const char *simple = cp == '\n'   ? "\\n"
                         : cp == '\r' ? "\\r"
                         : cp == '\t' ? "\\t"
                         : cp == '\\' ? "\\\\"
                                      : NULL;
    if (simple) return jb_add(b, str_of(simple), origin);
    if (cp == (unsigned char)quote) return jb_char(b, '\\', origin) && jb_char(b, quote, origin);
    if (cp >= 0x20 && cp != 0x7F &&
        (cp < 0x7F || !in_ranges(pystr_unprintable, n_pystr_unprintable, cp)))
        return jb_utf8(b, cp, origin);
    snprintf(text, sizeof text, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
    return jb_add(b, str_of(text), origin);
}

static bool repr_str(struct jbuild *b, const struct jstr *s) {
    bool single = s->len && memchr(s->p, '\'', s->len), twice = s->len && memchr(s->p, '"', s->len);
    char quote = single && !twice ? '"' : '\'';
    uint32_t quotes = s->run[0].origin;
    if (!jb_char(b, quote, quotes)) return false;
    for (size_t i = 0; i < s->len;) {
        uint32_t cp;
        size_t n = utf8_decode(s->p + i, s->len - i, &cp);
        if (!repr_char(b, cp, quote, js_origin_at(s, i))) return false;
        i += n;
    }
    return jb_char(b, quote, quotes);
}

/* ---- repr of containers */

static bool repr_list(struct jbuild *b, struct jlist *l, const char *open, const char *close) {
    if (!jlist_open(b->r, l) || !jb_add(b, str_of(open), l->origin)) return false;
    for (uint32_t i = 0; i < l->n; i++) {
        if (i && !jb_add(b, STR(", "), l->origin)) return false;
        if (!jp_repr(b, &l->v[i])) return false;
    }
    return jb_add(b, str_of(close), l->origin);
}

static bool repr_dict(struct jbuild *b, struct jdict *d) {
    if (!jdict_open(b->r, d) || !jb_char(b, '{', d->origin)) return false;
    for (uint32_t i = 0; i < d->n; i++) {
        if (i && !jb_add(b, STR(", "), d->origin)) return false;
        if (!jp_repr(b, &d->e[i].key) || !jb_add(b, STR(": "), d->origin) ||
            !jp_repr(b, &d->e[i].value))
            return false;
    }
    return jb_char(b, '}', d->origin);
}

static bool repr_view(struct jbuild *b, const struct jvalue *v) {
    const char *open = v->markup == 'k'   ? "dict_keys(["
                       : v->markup == 'v' ? "dict_values(["
                                          : "dict_items([";
    return repr_list(b, v->list, open, "])");
}

static bool print_range(struct jbuild *b, const struct jrange *x) {
    char text[80];
    if (x->step == 1)
        snprintf(text, sizeof text, "range(%lld, %lld)", (long long)x->start, (long long)x->stop);
    else
        snprintf(text, sizeof text, "range(%lld, %lld, %lld)", (long long)x->start,
                 (long long)x->stop, (long long)x->step);
    return jb_add(b, str_of(text), JINJA_TEMPLATE);
}

static bool print_plain(struct jbuild *b, const struct jvalue *v) {
    char text[64];
    switch (v->type) {
    case JV_NONE:
        return jb_add(b, STR("None"), v->origin);
    case JV_BOOL:
        return jb_add(b, str_of(v->b ? "True" : "False"), v->origin);
    case JV_INT:
        snprintf(text, sizeof text, "%lld", (long long)v->i);
        return jb_add(b, str_of(text), v->origin);
    case JV_FLOAT:
        jp_float(v->f, text);
        return jb_add(b, str_of(text), v->origin);
    case JV_RANGE:
        return print_range(b, v->range);
    case JV_UNDEFINED:
        return jb_add(b, STR("Undefined"), JINJA_TEMPLATE);
    default:
        snprintf(text, sizeof text, "<%s object>", jv_type_name(v));
        return jb_add(b, str_of(text), JINJA_TEMPLATE);
    }
}

bool jp_repr(struct jbuild *b, const struct jvalue *v) {
    struct jrender *r = b->r;
    bool ok;
    if (!jr_step(r, 1) || !jr_enter(r)) return false;
    switch (v->type) {
    case JV_STR:
        ok = repr_str(b, v->s);
        break;
    case JV_LIST:
        ok = repr_list(b, v->list, "[", "]");
        break;
    case JV_TUPLE:
        ok = repr_list(b, v->list, "(", v->list->n == 1 ? ",)" : ")");
        break;
    case JV_VIEW:
        ok = repr_view(b, v);
        break;
    case JV_DICT:
        ok = repr_dict(b, v->dict);
        break;
    default:
        ok = print_plain(b, v);
    }
    r->depth--;
    return ok;
}

bool jp_str(struct jbuild *b, const struct jvalue *v) {
    if (v->type == JV_STR) return jb_str(b, v->s);
    if (v->type == JV_UNDEFINED || v->type == JV_ABSENT) return true;
    return jp_repr(b, v);
}

bool jv_to_str(struct jrender *r, const struct jvalue *v, struct jvalue *out) {
    if (v->type == JV_STR) {
        *out = *v;
        return true;
    }
    struct jbuild b = {.r = r};
    return jp_str(&b, v) && jb_done(&b, out);
}

/* ---- formats: one conversion, common to both languages */

struct spec {
    char fill, align; /* '<', '>', '^', 0 */
    bool zero, plus, alternate;
    int64_t width, precision; /* -1: none */
    char type;                /* 0: by value */
};

static bool put_padded(struct jbuild *b, const struct spec *s, const struct jvalue *text,
                       char align) {
    int64_t pad = s->width - js_chars(text->s);
    int64_t left = pad <= 0 ? 0 : align == '>' ? pad : align == '^' ? pad / 2 : 0;
    for (int64_t i = 0; i < left; i++)
        if (!jb_char(b, s->fill, JINJA_TEMPLATE)) return false;
    if (!jb_str(b, text->s)) return false;
    for (int64_t i = left; i < pad; i++)
        if (!jb_char(b, s->fill, JINJA_TEMPLATE)) return false;
    return true;
}

static bool format_integer(struct jrender *r, const struct spec *s, const struct jvalue *v,
                           char text[400]) {
    if (v->type != JV_INT && v->type != JV_BOOL && !(v->type == JV_FLOAT && s->type == 'd'))
        return jr_fail(r, "TypeError", "an integer is required for %%%c, not %s", s->type,
                       jv_type_name(v));
    if (v->type == JV_FLOAT && !(fabs(v->f) < 9e18))
        return jr_fail(r, "OverflowError", "cannot convert float to integer");
    long long i = v->type == JV_FLOAT ? (long long)v->f : (long long)jv_integer(v);
    unsigned long long u = i < 0 ? 0 - (unsigned long long)i : (unsigned long long)i;
    const char *sign = i < 0 ? "-" : s->plus ? "+" : "";
    const char *format = s->type == 'x'   ? "%s%0*llx"
                         : s->type == 'X' ? "%s%0*llX"
                         : s->type == 'o' ? "%s%0*llo"
                                          : "%s%0*llu";
    int zeros = s->zero && s->width > 0 ? (int)s->width - (int)strlen(sign) : 1;
    snprintf(text, 400, format, sign, zeros > 0 ? zeros : 1, u);
    return true;
}

static bool format_real(struct jrender *r, const struct spec *s, const struct jvalue *v,
                        char text[400]) {
    if (!jv_is_number(v))
        return jr_fail(r, "TypeError", "must be real number, not %s", jv_type_name(v));
    char format[16];
    snprintf(format, sizeof format, "%%%s%s*.*%c", s->plus ? "+" : "", s->zero ? "0" : "", s->type);
    int precision = s->precision < 0 ? 6 : (int)s->precision;
    snprintf(text, 400, format, s->zero ? (int)s->width : 0, precision, jv_real(v));
    return true;
}

static bool put_converted(struct jbuild *b, const struct spec *s, const struct jvalue *v) {
    char text[400];
    struct jvalue str;
    struct jrender *r = b->r;
    if (s->width > 10000 || s->precision > 60)
        return jr_fail(r, "limit", "a width or precision in a format is too large");
    bool number = s->type && strchr("dixXo", s->type), real = s->type && strchr("eEfFgG", s->type);
    if (number || real) {
        if (!(number ? format_integer : format_real)(r, s, v, text)) return false;
        char *copy = arena_strndup(&r->arena, text, strlen(text));
        if (!copy) return jr_fail(r, "memory", "no memory for a format");
        if (!jv_text(r, str_of(copy), jv_origin(v), &str)) return false;
    } else {
        struct jbuild one = {.r = r};
        if (!(s->type == 'r' ? jp_repr : jp_str)(&one, v) || !jb_done(&one, &str)) return false;
        if (s->precision >= 0 && !js_sub(r, str.s, 0, js_offset(str.s, s->precision), &str))
            return false;
        number = s->type == 0 && jv_is_number(v);
    }
    return put_padded(b, s, &str, s->align ? s->align : number || real ? '>' : '<');
}

static size_t read_number(struct str f, size_t i, int64_t *n) {
    for (*n = 0; i < f.len && f.p[i] >= '0' && f.p[i] <= '9'; i++)
        if (*n < 1000000) *n = *n * 10 + (f.p[i] - '0');
    return i;
}

/* ---- '%s' % x */

struct percent {
    struct jbuild b;
    const struct jvalue *args;
    uint32_t used;
    bool html;
};

static bool percent_argument(struct percent *p, struct jvalue *v) {
    struct jlist *l = p->args->type == JV_TUPLE ? p->args->list : NULL;
    if (p->used >= (l ? l->n : 1))
        return jr_fail(p->b.r, "TypeError", "not enough arguments for format string");
    *v = l ? l->v[p->used] : *p->args;
    p->used++;
    return true;
}

/* f[i] stands behind '%'; returns the index behind the conversion, 0 after an error. */
static size_t percent_one(struct percent *p, struct str f, size_t i) {
    struct spec s = {.fill = ' ', .width = 0, .precision = -1};
    struct jvalue v;
    for (; i < f.len && strchr("-+ 0#", f.p[i]) && f.p[i]; i++) {
        if (f.p[i] == '-') s.align = '<';
        if (f.p[i] == '0') s.zero = true;
        if (f.p[i] == '+') s.plus = true;
    }
    i = read_number(f, i, &s.width);
    if (i < f.len && f.p[i] == '.') i = read_number(f, i + 1, &s.precision);
    s.type = i < f.len ? f.p[i] : 0;
    if (s.type == '%') return jb_char(&p->b, '%', JINJA_TEMPLATE) ? i + 1 : 0;
    if (!s.type || !strchr("sdiuxXoeEfFgGrac", s.type)) {
        jr_fail(p->b.r, "ValueError", "unsupported format character");
        return 0;
    }
    if (s.type == 'i' || s.type == 'u') s.type = 'd';
    if (!s.align) s.align = '>';
    if (!percent_argument(p, &v)) return 0;
    if (p->html && s.type == 's' && !js_escape_html(p->b.r, &v, &v)) return 0;
    return put_converted(&p->b, &s, &v) ? i + 1 : 0;
}

bool jp_format_percent(struct jrender *r, const struct jvalue *format, const struct jvalue *args,
                       struct jvalue *out) {
    struct percent p = {.b = {.r = r}, .args = args, .html = format->markup};
    struct str f = js(format->s);
    for (size_t i = 0; i < f.len;) {
        const char *hit = memchr(f.p + i, '%', f.len - i);
        size_t end = hit ? (size_t)(hit - f.p) : f.len;
        if (!jb_sub(&p.b, format->s, i, end)) return false;
        i = end;
        if (hit && !(i = percent_one(&p, f, end + 1))) return false;
    }
    if (args->type == JV_TUPLE ? p.used < args->list->n : p.used == 0 && args->type != JV_DICT)
        return jr_fail(r, "TypeError", "not all arguments converted during string formatting");
    if (!jb_done(&p.b, out)) return false;
    out->markup = format->markup;
    return true;
}

/* ---- '{}'.format(x) */

static void read_spec(struct str f, struct spec *s) {
    size_t i = 0;
    if (f.len > 1 && strchr("<>^", f.p[1])) s->fill = f.p[0], s->align = f.p[1], i = 2;
    else if (f.len && strchr("<>^", f.p[0])) s->align = f.p[0], i = 1;
    if (i < f.len && f.p[i] == '+') s->plus = true, i++;
    if (i < f.len && f.p[i] == '#') s->alternate = true, i++;
    if (i < f.len && f.p[i] == '0' && !s->align) s->zero = true, i++;
    i = read_number(f, i, &s->width);
    if (i < f.len && f.p[i] == '.') i = read_number(f, i + 1, &s->precision);
    if (i < f.len && f.p[i] != 's') s->type = f.p[i];
}

/* The value of a field's name: a number, a keyword, or the next one; then .attr and [item]. */
static bool field_value(struct jrender *r, struct jargs *a, struct str name, int *next,
                        struct jvalue *v) {
    size_t i = 0;
    int64_t at = -1;
    while (i < name.len && name.p[i] != '.' && name.p[i] != '[') i++;
    struct str head = {name.p, i};
    int64_t n;
    if (i == 0) at = (*next)++;
    else if (read_number(name, 0, &n) == i) at = n;
    for (int k = 0, positional = 0; k < a->n; k++) {
        bool hit = a->key[k].p ? at < 0 && str_eq(a->key[k], head) : positional++ == at;
        if (!hit) continue;
        *v = a->arg[k];
        while (i < name.len) {
            bool item = name.p[i] == '[';
            size_t from = ++i;
            while (i < name.len && (item ? name.p[i] != ']' : name.p[i] != '.' && name.p[i] != '['))
                i++;
            if (!jo_attr(r, v, (struct str){name.p + from, i - from}, v)) return false;
            i += item;
        }
        return true;
    }
    return at >= 0 ? jr_fail(r, "IndexError", "Replacement index %lld out of range", (long long)at)
                   : jr_fail(r, "KeyError", "'%.*s'", (int)head.len, head.p);
}

/* f[i] stands behind '{'; returns the index behind '}', 0 after an error. */
static size_t braces_one(struct jbuild *b, struct jargs *a, struct str f, size_t i, int *next) {
    size_t end = i, colon;
    struct spec s = {.fill = ' ', .width = 0, .precision = -1};
    struct jvalue v;
    while (end < f.len && f.p[end] != '}') end++;
    if (end == f.len) {
        jr_fail(b->r, "ValueError", "expected '}' before end of string");
        return 0;
    }
    for (colon = i; colon < end && f.p[colon] != ':';) colon++;
    size_t name_end = colon;
    char conversion = 0;
    if (colon >= i + 2 && f.p[colon - 2] == '!') conversion = f.p[colon - 1], name_end = colon - 2;
    if (colon < end) read_spec((struct str){f.p + colon + 1, end - colon - 1}, &s);
    if (!field_value(b->r, a, (struct str){f.p + i, name_end - i}, next, &v)) return 0;
    if (conversion == 'r') s.type = 'r';
    return put_converted(b, &s, &v) ? end + 1 : 0;
}

bool jp_format_braces(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jbuild b = {.r = r};
    struct str f = js(a->self.s);
    int next = 0;
    for (size_t i = 0; i < f.len;) {
        char c = f.p[i];
        if ((c == '{' || c == '}') && i + 1 < f.len && f.p[i + 1] == c) {
            if (!jb_sub(&b, a->self.s, i, i + 1)) return false;
            i += 2;
        } else if (c == '{') {
            if (!(i = braces_one(&b, a, f, i + 1, &next))) return false;
        } else if (c == '}') {
            return jr_fail(r, "ValueError", "Single '}' encountered in format string");
        } else {
            if (!jb_sub(&b, a->self.s, i, i + 1)) return false;
            i++;
        }
    }
    return jb_done(&b, out);
}
