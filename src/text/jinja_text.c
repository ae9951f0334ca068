/* Strings and their builder: bytes with runs of origin. Every string of a rendering that is not a
 * view of the template or of the JSON is built here. */
#include "text/jinja_run.h"

#include <string.h>

/* ---- building */

static bool reserve(struct jbuild *b, size_t more) {
    size_t need = b->len + more;
    if (need <= b->cap) return true;
    if (need > UINT32_MAX / 2) return jr_fail(b->r, "limit", "a text is larger than 2 GiB");
    size_t cap = b->cap ? b->cap * 2 : 64;
    while (cap < need) cap *= 2;
    char *p = jr_alloc(b->r, cap, 1);
    if (!p) return false;
    if (b->len) memcpy(p, b->p, b->len);
    b->p = p;
    b->cap = cap;
    return true;
}

static bool add_run(struct jbuild *b, uint32_t origin) {
    if (b->n_run && b->run[b->n_run - 1].origin == origin) return true;
    if (b->n_run == b->run_cap) {
        size_t cap = b->run_cap ? b->run_cap * 2 : 4;
        struct jinja_run *run = jr_alloc(b->r, cap, sizeof *run);
        if (!run) return false;
        if (b->n_run) memcpy(run, b->run, b->n_run * sizeof *run);
        b->run = run;
        b->run_cap = cap;
    }
    b->run[b->n_run++] = (struct jinja_run){b->len, origin};
    return true;
}

bool jb_add(struct jbuild *b, struct str text, uint32_t origin) {
    if (text.len == 0) return true;
    if (!reserve(b, text.len) || !add_run(b, origin) || !jr_step(b->r, text.len / 256))
        return false;
    memcpy(b->p + b->len, text.p, text.len);
    b->len += text.len;
    return true;
}

bool jb_char(struct jbuild *b, char c, uint32_t origin) {
    return jb_add(b, (struct str){&c, 1}, origin);
}

bool jb_utf8(struct jbuild *b, uint32_t cp, uint32_t origin) {
    char c[4];
    return jb_add(b, (struct str){c, utf8_encode(cp, c)}, origin);
}

/* Index of the run that holds this byte. */
static uint32_t run_at(const struct jstr *s, size_t byte) {
    uint32_t lo = 0, hi = s->n_run;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->run[mid].start <= byte) lo = mid;
        else hi = mid;
    }
    return lo;
}

uint32_t js_origin_at(const struct jstr *s, size_t byte) {
    return s->run[run_at(s, byte)].origin;
}

bool jb_sub(struct jbuild *b, const struct jstr *s, size_t from, size_t to) {
    for (uint32_t i = run_at(s, from); from < to; i++) {
        size_t end = i + 1 < s->n_run && s->run[i + 1].start < to ? s->run[i + 1].start : to;
        if (!jb_add(b, (struct str){s->p + from, end - from}, s->run[i].origin)) return false;
        from = end;
    }
    return true;
}

bool jb_str(struct jbuild *b, const struct jstr *s) {
    return jb_sub(b, s, 0, s->len);
}

struct jbuild *jb_new(struct jrender *r) {
    struct jbuild *b = jr_alloc(r, 1, sizeof *b);
    if (b) b->r = r;
    return b;
}

static bool done(struct jbuild *b, struct jbuild *grow, struct jvalue *out) {
    if (!jv_text(b->r, (struct str){b->p, b->len}, JINJA_TEMPLATE, out)) return false;
    if (b->n_run > 1) {
        out->s->run = b->run;
        out->s->n_run = (uint32_t)b->n_run;
    } else if (b->n_run == 1) {
        out->s->one = b->run[0];
    }
    out->s->grow = grow;
    return true;
}

bool jb_done(struct jbuild *b, struct jvalue *out) {
    return done(b, NULL, out);
}

/* ---- pieces and joins */

bool js_sub(struct jrender *r, const struct jstr *s, size_t from, size_t to, struct jvalue *out) {
    uint32_t first = run_at(s, from), last = to > from ? run_at(s, to - 1) : first;
    if (!jv_text(r, (struct str){s->p + from, to - from}, s->run[first].origin, out)) return false;
    if (first == last) return true;
    struct jinja_run *run = jr_alloc(r, last - first + 1, sizeof *run);
    if (!run) return false;
    for (uint32_t i = first; i <= last; i++)
        run[i - first] =
            (struct jinja_run){i == first ? 0 : s->run[i].start - from, s->run[i].origin};
    out->s->run = run;
    out->s->n_run = last - first + 1;
    return true;
}

/* A text that grows by + in a loop is copied once, not every time: when a still ends its
 * builder's text, b goes behind it in place. */
bool js_concat(struct jrender *r, struct jstr *a, struct jstr *b, struct jvalue *out) {
    if (b->len == 0 || a->len == 0) {
        *out = jv_of_str(b->len == 0 ? a : b);
        return true;
    }
    struct jbuild *g = a->grow;
    bool in_place = g && a->p == g->p && a->len == g->len;
    if (!in_place && (!(g = jb_new(r)) || !jb_str(g, a))) return false;
    return jb_str(g, b) && done(g, g, out);
}

int64_t js_chars(const struct jstr *s) {
    if (s->n_chars >= 0) return s->n_chars;
    int64_t n = 0;
    for (size_t i = 0; i < s->len; n++) {
        uint32_t cp;
        i += (unsigned char)s->p[i] < 0x80 ? 1 : utf8_decode(s->p + i, s->len - i, &cp);
    }
    ((struct jstr *)s)->n_chars = n; /* a cache; constants are counted before threads share them */
    return n;
}

size_t js_offset(const struct jstr *s, int64_t n_char) {
    if (n_char >= js_chars(s)) return s->len;
    if (s->n_chars == s->len) return (size_t)n_char;
    size_t i = 0;
    for (uint32_t cp; n_char > 0; n_char--) i += utf8_decode(s->p + i, s->len - i, &cp);
    return i;
}

/* ---- white space as str.isspace() sees it */

static bool is_space(uint32_t c) {
    return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t js_space_prefix(struct str s) {
    size_t i = 0;
    while (i < s.len) {
        uint32_t cp;
        size_t n = utf8_decode(s.p + i, s.len - i, &cp);
        if (!is_space(cp)) break;
        i += n;
    }
    return i;
}

size_t js_space_suffix(struct str s) {
    size_t end = s.len;
    while (end > 0) {
        size_t k = end - 1;
        while (k > 0 && end - k < 4 && ((unsigned char)s.p[k] & 0xC0) == 0x80) k--;
        uint32_t cp;
        if (utf8_decode(s.p + k, end - k, &cp) != end - k || !is_space(cp)) break;
        end = k;
    }
    return s.len - end;
}

bool js_escape_html(struct jrender *r, const struct jvalue *v, struct jvalue *out) {
    static const char from[] = "&<>\"'";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    struct jvalue text;
    if (!jv_to_str(r, v, &text)) return false;
    *out = text;
    out->markup = 1;
    if (text.markup) return true;
    struct jbuild b = {.r = r};
    for (size_t i = 0; i < text.s->len; i++) {
        char c = text.s->p[i];
        const char *hit = c ? strchr(from, c) : NULL;
        bool ok = hit ? jb_add(&b, str_of(to[hit - from]), js_origin_at(text.s, i))
                      : jb_sub(&b, text.s, i, i + 1);
        if (!ok) return false;
    }
    if (!jb_done(&b, out)) return false;
    out->markup = 1;
    return true;
}
