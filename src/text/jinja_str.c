/* Python's str methods. Each builds its result from pieces of its operands, so that every byte
 * keeps its origin. The table at the end is the list. */
#include "text/jinja_run.h"
#include "text/jinja_funcs.h"
#include "gen/pystr.h"

#include <string.h>

/* ---- characters */

static uint32_t map_case(const struct pystr_case *t, int n, uint32_t cp) {
    int lo = 0, hi = n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (t[mid].last < cp) lo = mid + 1;
        else hi = mid;
    }
    if (lo == n || cp < t[lo].first || (cp - t[lo].first) % (uint32_t)t[lo].step) return cp;
    return (uint32_t)((int64_t)cp + t[lo].delta);
}

static uint32_t to_lower(uint32_t cp) {
    if (cp < 0x80) return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    return map_case(pystr_lower, n_pystr_lower, cp);
}

static uint32_t to_upper(uint32_t cp) {
    if (cp < 0x80) return cp >= 'a' && cp <= 'z' ? cp - 32 : cp;
    return map_case(pystr_upper, n_pystr_upper, cp);
}

static const char *upper_many(uint32_t cp) {
    for (int i = 0; cp >= 0x80 && i < n_pystr_upper_many && pystr_upper_many[i].cp <= cp; i++)
        if (pystr_upper_many[i].cp == cp) return pystr_upper_many[i].text;
    return NULL;
}

static bool is_cased(uint32_t cp) {
    return to_lower(cp) != cp || to_upper(cp) != cp || upper_many(cp);
}

static bool is_alpha(uint32_t cp) {
    if (cp < 0x80) return (cp | 32) >= 'a' && (cp | 32) <= 'z';
    for (int lo = 0, hi = n_pystr_alpha; lo < hi;) {
        int mid = (lo + hi) / 2;
        if (pystr_alpha[mid].last < cp) lo = mid + 1;
        else if (pystr_alpha[mid].first > cp) hi = mid;
        else return true;
    }
    return false;
}

enum letter { LOWER, UPPER, TITLE, CAPITALIZE, SWAP };

static bool put_case(struct jbuild *b, uint32_t cp, bool upper, uint32_t origin) {
    const char *many = upper ? upper_many(cp) : NULL;
    if (many) return jb_add(b, str_of(many), origin);
    return jb_utf8(b, upper ? to_upper(cp) : to_lower(cp), origin);
}

/* python_title: str.title() starts a word behind any character without case, the filter `title`
 * behind white space and brackets only. */
static bool change_case(struct jrender *r, const struct jstr *s, enum letter how, bool python_title,
                        struct jvalue *out) {
    struct jbuild b = {.r = r};
    bool start = true;
    if (!jr_step(r, s->len / 16)) return false;
    for (size_t i = 0; i < s->len;) {
        uint32_t cp;
        size_t n = utf8_decode(s->p + i, s->len - i, &cp);
        bool invalid = n == 1 && (unsigned char)s->p[i] >= 0x80;
        bool upper = how == UPPER || (how == SWAP && to_lower(cp) == cp) ||
                     ((how == TITLE || how == CAPITALIZE) && start);
        bool ok = invalid ? jb_sub(&b, s, i, i + 1) : put_case(&b, cp, upper, js_origin_at(s, i));
        if (!ok) return false;
        if (how == CAPITALIZE) start = false;
        else if (python_title) start = !is_cased(cp);
        else start = cp < 0x80 && strchr("-({[<", (int)cp) && cp;
        if (how == TITLE && !python_title)
            start = start || js_space_prefix((struct str){s->p + i, n}) == n;
        i += n;
    }
    return jb_done(&b, out);
}

bool js_case(struct jrender *r, const struct jstr *s, const char *how, struct jvalue *out) {
    static const char *const name[] = {"lower", "upper", "title", "capitalize"};
    enum letter l = LOWER;
    while (strcmp(name[l], how) != 0) l++;
    return change_case(r, s, l, false, out);
}

static bool m_lower(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return change_case(r, a->self.s, LOWER, true, out);
}
static bool m_upper(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return change_case(r, a->self.s, UPPER, true, out);
}
static bool m_title(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return change_case(r, a->self.s, TITLE, true, out);
}
static bool m_capitalize(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return change_case(r, a->self.s, CAPITALIZE, true, out);
}
static bool m_swapcase(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return change_case(r, a->self.s, SWAP, true, out);
}

/* True if s is not empty and every character passes. */
static bool all_chars(const struct jstr *s, bool (*test)(uint32_t cp)) {
    for (size_t i = 0; i < s->len;) {
        uint32_t cp;
        i += utf8_decode(s->p + i, s->len - i, &cp);
        if (!test(cp)) return false;
    }
    return s->len > 0;
}
static bool is_digit(uint32_t cp) {
    return cp >= '0' && cp <= '9';
}
static bool is_alnum(uint32_t cp) {
    return is_alpha(cp) || is_digit(cp);
}
static bool m_isdigit(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv_bool(all_chars(a->self.s, is_digit));
    return jr_step(r, a->self.s->len / 64);
}
static bool m_isalpha(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv_bool(all_chars(a->self.s, is_alpha));
    return jr_step(r, a->self.s->len / 64);
}
static bool m_isalnum(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv_bool(all_chars(a->self.s, is_alnum));
    return jr_step(r, a->self.s->len / 64);
}
static bool m_isspace(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct str s = js(a->self.s);
    *out = jv_bool(s.len > 0 && js_space_prefix(s) == s.len);
    return jr_step(r, s.len / 64);
}

/* Some letters have case, and all of those have this one. */
bool js_has_case(const struct jstr *s, bool upper) {
    bool some = false;
    for (size_t i = 0; i < s->len;) {
        uint32_t cp;
        i += utf8_decode(s->p + i, s->len - i, &cp);
        if (upper ? to_upper(cp) != cp || upper_many(cp) : to_lower(cp) != cp) return false;
        some = some || is_cased(cp);
    }
    return some;
}
static bool m_isupper(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv_bool(js_has_case(a->self.s, true));
    return jr_step(r, a->self.s->len / 64);
}
static bool m_islower(struct jrender *r, struct jargs *a, struct jvalue *out) {
    *out = jv_bool(js_has_case(a->self.s, false));
    return jr_step(r, a->self.s->len / 64);
}

/* ---- stripping */

static bool has_char(struct str set, const char *p, size_t n) {
    return str_find(set, (struct str){p, n}, 0) >= 0;
}

/* Bytes at the front, or at the end, that consist of characters of set. */
static size_t span_of(struct str s, struct str set, bool at_end) {
    size_t taken = 0;
    while (taken < s.len) {
        size_t k = at_end ? s.len - taken - 1 : taken, n = 1;
        uint32_t cp;
        if (at_end)
            while (k > 0 && n < 4 && ((unsigned char)s.p[k] & 0xC0) == 0x80) k--, n++;
        else n = utf8_decode(s.p + k, s.len - k, &cp);
        if (!has_char(set, s.p + k, n)) break;
        taken += n;
    }
    return taken;
}

/* sides: 1 left, 2 right */
bool js_strip(struct jrender *r, const struct jstr *s, const struct jvalue *chars, int sides,
              struct jvalue *out) {
    struct str text = js(s);
    size_t left = 0, right = 0;
    if (chars->type != JV_ABSENT && chars->type != JV_NONE && chars->type != JV_STR)
        return jr_fail(r, "TypeError", "strip arg must be None or str");
    bool spaces = chars->type != JV_STR;
    if (sides & 1) left = spaces ? js_space_prefix(text) : span_of(text, js(chars->s), false);
    struct str rest = {text.p + left, text.len - left};
    if (sides & 2) right = spaces ? js_space_suffix(rest) : span_of(rest, js(chars->s), true);
    return jr_step(r, (left + right) / 16) && js_sub(r, s, left, text.len - right, out);
}

static bool m_strip(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return js_strip(r, a->self.s, &a->arg[0], 3, out);
}
static bool m_lstrip(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return js_strip(r, a->self.s, &a->arg[0], 1, out);
}
static bool m_rstrip(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return js_strip(r, a->self.s, &a->arg[0], 2, out);
}
static bool m_removeprefix(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct str x;
    if (!ja_str(r, a, 0, &x)) return false;
    size_t n = str_starts(js(a->self.s), x) ? x.len : 0;
    return js_sub(r, a->self.s, n, a->self.s->len, out);
}
static bool m_removesuffix(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct str x;
    if (!ja_str(r, a, 0, &x)) return false;
    size_t n = str_ends(js(a->self.s), x) ? x.len : 0;
    return js_sub(r, a->self.s, 0, a->self.s->len - n, out);
}

/* A search may look at every byte of the needle at every place. */
bool js_charge_search(struct jrender *r, size_t hay, size_t needle) {
    return jr_step(r, hay / 32 * (1 + needle / 32));
}

/* ---- splitting */

static bool add_piece(struct jrender *r, const struct jstr *s, size_t from, size_t to,
                      struct jlist *l) {
    struct jvalue piece;
    return jr_step(r, 1) && js_sub(r, s, from, to, &piece) && jlist_add(r, l, piece);
}

/* At white space, runs of it being one separator; from the right: the list is built backwards. */
static bool split_spaces(struct jrender *r, const struct jstr *s, int64_t max, bool right,
                         struct jlist *l) {
    size_t a = js_space_prefix(js(s)), b = s->len - js_space_suffix(js(s));
    if (right) { /* rare: split all, then join the first pieces again */
        if (!split_spaces(r, s, -1, false, l)) return false;
        uint32_t n = l->n;
        if (max < 0 || n <= max + 1) return true;
        const struct jstr *last = l->v[n - 1 - (uint32_t)max].s;
        size_t end = (size_t)(last->p - s->p) + last->len;
        uint32_t kept = (uint32_t)max;
        if (!js_sub(r, s, a < end ? a : end, end, &l->v[0])) return false;
        memmove(l->v + 1, l->v + (n - kept), kept * sizeof *l->v);
        l->n = kept + 1;
        return true;
    }
    for (int64_t n = 0; a < b; n++) {
        size_t end = a;
        if (n == max) return add_piece(r, s, a, s->len, l);
        while (end < b && js_space_prefix((struct str){s->p + end, 1}) == 0) {
            uint32_t cp;
            size_t k = utf8_decode(s->p + end, b - end, &cp);
            if (k > 1 && js_space_prefix((struct str){s->p + end, k}) == k) break;
            end += k;
        }
        if (!add_piece(r, s, a, end, l)) return false;
        a = end + js_space_prefix((struct str){s->p + end, b - end});
    }
    return true;
}

/* Byte offset of the last needle that ends at or before `end`, or -1. */
static int64_t find_last(struct str s, struct str needle, size_t end) {
    if (needle.len > end) return -1;
    for (size_t i = end - needle.len + 1; i-- > 0;)
        if (memcmp(s.p + i, needle.p, needle.len) == 0) return (int64_t)i;
    return -1;
}

static bool split_right(struct jrender *r, const struct jstr *s, struct str sep, int64_t max,
                        struct jlist *l) {
    size_t end = s->len;
    int64_t hit;
    for (; max != 0 && (hit = find_last(js(s), sep, end)) >= 0; max--) {
        if (!add_piece(r, s, (size_t)hit + sep.len, end, l)) return false;
        end = (size_t)hit;
    }
    if (!add_piece(r, s, 0, end, l)) return false;
    for (uint32_t i = 0, k = l->n - 1; i < k; i++, k--) {
        struct jvalue t = l->v[i];
        l->v[i] = l->v[k];
        l->v[k] = t;
    }
    return true;
}

static bool split(struct jrender *r, struct jargs *a, bool right, struct jvalue *out) {
    const struct jstr *s = a->self.s;
    int64_t max;
    struct str sep;
    if (!ja_int(r, a, 1, -1, &max) || !jv_list(r, JV_LIST, 0, out) || !jr_step(r, s->len / 64))
        return false;
    if (a->arg[0].type == JV_ABSENT || a->arg[0].type == JV_NONE)
        return split_spaces(r, s, max, right, out->list);
    if (!ja_str(r, a, 0, &sep)) return false;
    if (sep.len == 0) return jr_fail(r, "ValueError", "empty separator");
    if (!js_charge_search(r, s->len, sep.len)) return false;
    if (right) return split_right(r, s, sep, max, out->list);
    size_t from = 0;
    int64_t hit;
    for (; max != 0 && (hit = str_find(js(s), sep, from)) >= 0; max--) {
        if (!add_piece(r, s, from, (size_t)hit, out->list)) return false;
        from = (size_t)hit + sep.len;
    }
    return add_piece(r, s, from, s->len, out->list);
}
static bool m_split(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return split(r, a, false, out);
}
static bool m_rsplit(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return split(r, a, true, out);
}

static bool m_splitlines(struct jrender *r, struct jargs *a, struct jvalue *out) {
    const struct jstr *s = a->self.s;
    bool keep = false;
    if (!ja_bool(r, a, 0, false, &keep) || !jv_list(r, JV_LIST, 0, out)) return false;
    for (size_t i = 0, from = 0; i < s->len; from = i) {
        while (i < s->len && s->p[i] != '\n' && s->p[i] != '\r') i++;
        size_t end = i;
        if (i < s->len) i += s->p[i] == '\r' && i + 1 < s->len && s->p[i + 1] == '\n' ? 2 : 1;
        if (!add_piece(r, s, from, keep ? i : end, out->list)) return false;
    }
    return true;
}

static bool partition(struct jrender *r, struct jargs *a, bool right, struct jvalue *out) {
    const struct jstr *s = a->self.s;
    struct str sep;
    if (!ja_str(r, a, 0, &sep) || !jv_list(r, JV_TUPLE, 3, out)) return false;
    if (sep.len == 0) return jr_fail(r, "ValueError", "empty separator");
    int64_t hit = right ? find_last(js(s), sep, s->len) : str_find(js(s), sep, 0);
    size_t cut[4] = {0, (size_t)hit, (size_t)hit + sep.len, s->len};
    if (hit < 0) cut[1] = cut[2] = right ? 0 : s->len;
    for (int i = 0; i < 3; i++)
        if (!add_piece(r, s, cut[i], cut[i + 1], out->list)) return false;
    return js_charge_search(r, s->len, sep.len);
}
static bool m_partition(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return partition(r, a, false, out);
}
static bool m_rpartition(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return partition(r, a, true, out);
}

/* ---- looking for text */

/* startswith and endswith take a text or a tuple of texts. */
static bool affix(struct jrender *r, struct jargs *a, bool (*test)(struct str, struct str),
                  struct jvalue *out) {
    const struct jvalue *x = &a->arg[0];
    struct str one;
    *out = jv_bool(false);
    if (x->type != JV_TUPLE) {
        if (!ja_str(r, a, 0, &one)) return false;
        out->b = test(js(a->self.s), one);
        return true;
    }
    for (uint32_t i = 0; !out->b && i < x->list->n; i++) {
        if (x->list->v[i].type != JV_STR) return jr_fail(r, "TypeError", "expected a tuple of str");
        out->b = test(js(a->self.s), js(x->list->v[i].s));
    }
    return true;
}
static bool m_startswith(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return affix(r, a, str_starts, out);
}
static bool m_endswith(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return affix(r, a, str_ends, out);
}

static bool find(struct jrender *r, struct jargs *a, bool right, bool must, struct jvalue *out) {
    const struct jstr *s = a->self.s;
    struct str x;
    if (!ja_str(r, a, 0, &x) || !js_charge_search(r, s->len, x.len)) return false;
    int64_t hit = right ? find_last(js(s), x, s->len) : str_find(js(s), x, 0);
    if (hit < 0 && must) return jr_fail(r, "ValueError", "substring not found");
    struct jstr head = {.p = s->p, .len = hit < 0 ? 0 : (uint32_t)hit, .n_chars = -1};
    *out = jv_int(hit < 0 ? -1 : js_chars(&head));
    return true;
}
static bool m_find(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return find(r, a, false, false, out);
}
static bool m_rfind(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return find(r, a, true, false, out);
}
static bool m_index(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return find(r, a, false, true, out);
}
static bool m_rindex(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return find(r, a, true, true, out);
}

static bool m_count(struct jrender *r, struct jargs *a, struct jvalue *out) {
    const struct jstr *s = a->self.s;
    struct str x;
    int64_t n = 0, hit;
    if (!ja_str(r, a, 0, &x) || !js_charge_search(r, s->len, x.len)) return false;
    if (x.len == 0) n = js_chars(s) + 1;
    else
        for (size_t i = 0; (hit = str_find(js(s), x, i)) >= 0; n++) i = (size_t)hit + x.len;
    *out = jv_int(n);
    return true;
}

/* ---- replacing, joining, padding */

/* max < 0: all. An empty `from` matches before every character and at the end. */
bool js_replace(struct jrender *r, const struct jstr *s, const struct jstr *from,
                const struct jstr *to, int64_t max, struct jvalue *out) {
    struct jbuild b = {.r = r};
    size_t i = 0;
    if (!js_charge_search(r, s->len, from->len)) return false;
    for (int64_t hit; max != 0 && from->len && (hit = str_find(js(s), js(from), i)) >= 0; max--) {
        if (!jr_step(r, 1) || !jb_sub(&b, s, i, (size_t)hit) || !jb_str(&b, to)) return false;
        i = (size_t)hit + from->len;
    }
    for (; max != 0 && from->len == 0 && i < s->len; max--) {
        uint32_t cp;
        size_t n = utf8_decode(s->p + i, s->len - i, &cp);
        if (!jr_step(r, 1) || !jb_str(&b, to) || !jb_sub(&b, s, i, i + n)) return false;
        i += n;
    }
    if (max != 0 && from->len == 0 && !jb_str(&b, to)) return false;
    return jb_sub(&b, s, i, s->len) && jb_done(&b, out);
}

static bool m_replace(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct str x;
    int64_t max;
    if (!ja_str(r, a, 0, &x) || !ja_str(r, a, 1, &x) || !ja_int(r, a, 2, -1, &max)) return false;
    return js_replace(r, a->self.s, a->arg[0].s, a->arg[1].s, max, out);
}

static bool m_join(struct jrender *r, struct jargs *a, struct jvalue *out) {
    struct jbuild b = {.r = r};
    struct jlist *l;
    if (!jv_items(r, &a->arg[0], &l)) return false;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->v[i].type != JV_STR)
            return jr_fail(r, "TypeError", "sequence item %u: expected str instance, %s found", i,
                           jv_type_name(&l->v[i]));
        if ((i && !jb_str(&b, a->self.s)) || !jb_str(&b, l->v[i].s) || !jr_step(r, 1)) return false;
    }
    return jb_done(&b, out);
}

/* where: share of the padding that goes to the left, in halves; fill NULL: blanks */
bool js_pad(struct jrender *r, const struct jstr *s, int64_t width, const struct jstr *fill,
            int where, struct jvalue *out) {
    static const struct jstr blank = {" ", 1, 1, &blank.one, {0, JINJA_TEMPLATE}, 1, NULL};
    struct jbuild b = {.r = r};
    int64_t n = width - js_chars(s);
    if (n < 0) n = 0;
    if (!fill) fill = &blank;
    /* Python's center puts the odd one to the left when both are odd */
    int64_t left = where == 2 ? n : where == 0 ? 0 : n / 2 + (n & width & 1);
    for (int64_t i = 0; i < left; i++)
        if (!jr_step(r, 1) || !jb_str(&b, fill)) return false;
    if (!jb_str(&b, s)) return false;
    for (int64_t i = left; i < n; i++)
        if (!jr_step(r, 1) || !jb_str(&b, fill)) return false;
    return jb_done(&b, out);
}

static bool pad(struct jrender *r, struct jargs *a, int where, struct jvalue *out) {
    int64_t width;
    struct str fill;
    if (!ja_int(r, a, 0, 0, &width)) return false;
    bool given = a->arg[1].type != JV_ABSENT;
    if (given && !ja_str(r, a, 1, &fill)) return false;
    return js_pad(r, a->self.s, width, given ? a->arg[1].s : NULL, where, out);
}
static bool m_center(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return pad(r, a, 1, out);
}
static bool m_ljust(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return pad(r, a, 0, out);
}
static bool m_rjust(struct jrender *r, struct jargs *a, struct jvalue *out) {
    return pad(r, a, 2, out);
}
static bool m_zfill(struct jrender *r, struct jargs *a, struct jvalue *out) {
    static const struct jstr zero = {"0", 1, 1, &zero.one, {0, JINJA_TEMPLATE}, 1, NULL};
    int64_t width;
    return ja_int(r, a, 0, 0, &width) && js_pad(r, a->self.s, width, &zero, 2, out);
}
static bool m_encode(struct jrender *r, struct jargs *a, struct jvalue *out) {
    (void)a;
    (void)out;
    return jr_fail(r, "TypeError", "bytes do not exist here");
}

enum { ON_STR = 1 << JV_STR };

/* sorted by name */
const struct jfunc jf_str_methods[] = {
    {"capitalize", m_capitalize, "", 0, ON_STR},
    {"center", m_center, "width fillchar", 1, ON_STR},
    {"count", m_count, "sub", 1, ON_STR},
    {"encode", m_encode, "*", 0, ON_STR},
    {"endswith", m_endswith, "suffix", 1, ON_STR},
    {"find", m_find, "sub", 1, ON_STR},
    {"format", jp_format_braces, "*", 0, ON_STR},
    {"index", m_index, "sub", 1, ON_STR},
    {"isalnum", m_isalnum, "", 0, ON_STR},
    {"isalpha", m_isalpha, "", 0, ON_STR},
    {"isdigit", m_isdigit, "", 0, ON_STR},
    {"islower", m_islower, "", 0, ON_STR},
    {"isspace", m_isspace, "", 0, ON_STR},
    {"isupper", m_isupper, "", 0, ON_STR},
    {"join", m_join, "iterable", 1, ON_STR},
    {"ljust", m_ljust, "width fillchar", 1, ON_STR},
    {"lower", m_lower, "", 0, ON_STR},
    {"lstrip", m_lstrip, "chars", 0, ON_STR},
    {"partition", m_partition, "sep", 1, ON_STR},
    {"removeprefix", m_removeprefix, "prefix", 1, ON_STR},
    {"removesuffix", m_removesuffix, "suffix", 1, ON_STR},
    {"replace", m_replace, "old new count", 2, ON_STR},
    {"rfind", m_rfind, "sub", 1, ON_STR},
    {"rindex", m_rindex, "sub", 1, ON_STR},
    {"rjust", m_rjust, "width fillchar", 1, ON_STR},
    {"rpartition", m_rpartition, "sep", 1, ON_STR},
    {"rsplit", m_rsplit, "sep maxsplit", 0, ON_STR},
    {"rstrip", m_rstrip, "chars", 0, ON_STR},
    {"split", m_split, "sep maxsplit", 0, ON_STR},
    {"splitlines", m_splitlines, "keepends", 0, ON_STR},
    {"startswith", m_startswith, "prefix", 1, ON_STR},
    {"strip", m_strip, "chars", 0, ON_STR},
    {"swapcase", m_swapcase, "", 0, ON_STR},
    {"title", m_title, "", 0, ON_STR},
    {"upper", m_upper, "", 0, ON_STR},
    {"zfill", m_zfill, "width", 1, ON_STR},
};
const int jf_n_str_methods = (int)(sizeof jf_str_methods / sizeof *jf_str_methods);
