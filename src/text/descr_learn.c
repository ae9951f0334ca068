/* Learns a descriptor from renderings: finds the words of the probes and takes what stands
 * between them apart. Works on texts only; descr_probe.c makes them. Every text is kept as the
 * template writes it. The order matters: reasoning, turn header, text, calls, ends. */
#include "text/descr.h"

#include <string.h>

const struct descr_words descr_words = {.user = "Wq usr probe",
                                        .content = "Vk content probe",
                                        .reasoning = "Zj thought probe",
                                        .name1 = "qx_first",
                                        .name2 = "qy_second",
                                        .key1 = "kfa",
                                        .key2 = "kgb",
                                        .text1 = "tmh",
                                        .text2 = "tni",
                                        .number = "7351",
                                        .id1 = "idp4q5r6s",
                                        .id2 = "idw7x8y9z"};

/* ---- text helpers */

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}
static struct str from(struct str s, size_t i) {
    if (!s.p) return s;
    return i >= s.len ? (struct str){s.p + s.len, 0} : (struct str){s.p + i, s.len - i};
}
static struct str upto(struct str s, size_t n) {
    return (struct str){s.p, n < s.len ? n : s.len};
}
static struct str between(struct str s, size_t a, size_t b) {
    return from(upto(s, b), a);
}
static struct str ltrim(struct str s) {
    while (s.len && is_space(s.p[0])) s = from(s, 1);
    return s;
}
static struct str rtrim(struct str s) {
    while (s.len && is_space(s.p[s.len - 1])) s.len--;
    return s;
}
static struct str trim(struct str s) {
    return ltrim(rtrim(s));
}
static int64_t find(struct str s, const char *word, size_t at) {
    return str_find(s, str_of(word), at);
}
/* The last occurrence that ends at or before `end`, or -1. */
static int64_t find_before(struct str s, struct str word, size_t end) {
    int64_t last = -1;
    if (!word.len) return -1;
    for (int64_t i = 0; (i = str_find(upto(s, end), word, (size_t)i)) >= 0; i++) last = i;
    return last;
}
/* What stands behind the user's message; empty when it is not there. */
static struct str behind_user(struct str s) {
    int64_t at = find_before(s, str_of(descr_words.user), s.len);
    return at < 0 ? (struct str){0} : from(s, (size_t)at + strlen(descr_words.user));
}

/* ---- tags: <...>, and [NAME] in capitals */

static bool tag_starts(struct str s, size_t i) {
    if (s.p[i] == '<') return true;
    return s.p[i] == '[' && i + 1 < s.len &&
           ((s.p[i + 1] >= 'A' && s.p[i + 1] <= 'Z') || s.p[i + 1] == '/');
}

/* Whether a cut in front of s.p[i] would split a tag, and where that tag begins and ends in s. */
static bool splits_tag(struct str s, size_t i, size_t *start, size_t *end) {
    size_t j = i;
    while (j > 0 && s.p[j - 1] != '>' && !tag_starts(s, j - 1)) j--;
    if (j > 0 && s.p[j - 1] == '>') return false;
    char close = j > 0 && s.p[j - 1] == '[' ? ']' : '>';
    if (j > 0 && memchr(s.p + j, close, i - j)) return false;
    size_t e = i;
    while (e < s.len && s.p[e] != close && s.p[e] != '<') e++;
    bool closed = e < s.len && s.p[e] == close;
    if (j == 0 && !closed) return false; /* a tag that begins before s has to end in it */
    *start = j > 0 ? j - 1 : 0;
    *end = closed ? e + 1 : s.len;
    return true;
}

static size_t common_prefix(struct str a, struct str b) {
    size_t n = 0, start, end;
    while (n < a.len && n < b.len && a.p[n] == b.p[n]) n++;
    while (n && ((n < a.len && splits_tag(a, n, &start, &end)) ||
                 (n < b.len && splits_tag(b, n, &start, &end))))
        n = start;
    return n;
}

static size_t common_suffix(struct str a, struct str b) {
    size_t n = 0, start, end;
    while (n < a.len && n < b.len && a.p[a.len - 1 - n] == b.p[b.len - 1 - n]) n++;
    for (;;) {
        size_t before = n;
        if (n && n < a.len && splits_tag(a, a.len - n, &start, &end) && end <= a.len)
            n = a.len - end;
        if (n && n < b.len && splits_tag(b, b.len - n, &start, &end) && end <= b.len)
            n = b.len - end;
        if (n == before) return n;
    }
}

/* The first tag, or the first word. */
static struct str first_tag(struct str s) {
    s = ltrim(s);
    if (!s.len) return s;
    size_t n = 1;
    if (tag_starts(s, 0)) {
        char close = s.p[0] == '<' ? '>' : ']';
        while (n < s.len && s.p[n - 1] != close) n++;
    } else {
        while (n < s.len && !is_space(s.p[n]) && !tag_starts(s, n)) n++;
    }
    return upto(s, n);
}

/* The last tag and what follows it; all of the text when there is none. */
static struct str last_tag(struct str s) {
    s = trim(s);
    for (size_t i = s.len; i > 0; i--)
        if (tag_starts(s, i - 1)) return from(s, i - 1);
    return s;
}

struct learn {
    struct descr *d;
    const struct descr_renders *r;
    size_t base; /* bytes behind the user's message that belong to its own turn */
    bool failed; /* no memory */
    struct str prompt, text, history, reasoning, call, calls; /* from there on */
};

/* A copy that lives as long as the descriptor. */
static struct str keep(struct learn *l, struct str s) {
    if (!s.len) return (struct str){0};
    char *p = arena_strndup(&l->d->mem, s.p, s.len);
    l->failed |= !p;
    return p ? (struct str){p, s.len} : (struct str){0};
}

/* ---- the turn */

static struct str tail(const struct learn *l, struct str render) {
    return from(behind_user(render), l->base);
}

static void learn_base(struct learn *l) {
    const struct descr_renders *r = l->r;
    /* where the template writes the user's message alone, that is the base; it may already hold
     * the header of the next turn, then what all have in common */
    struct str user = behind_user(r->user);
    struct str others[] = {behind_user(r->prompt), behind_user(r->text), behind_user(r->call)};
    bool alone = r->user.len > 0;
    size_t n = user.len;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (!others[i].len) continue;
        size_t c = common_prefix(alone ? user : others[0], others[i]);
        n = c < n || !alone ? c : n;
    }
    l->base = n;
    l->prompt = tail(l, r->prompt);
    l->text = tail(l, r->text);
    l->reasoning = tail(l, r->reasoning);
    l->call = tail(l, r->call);
    l->calls = tail(l, r->calls);
    /* in the history the next user message is the last one */
    int64_t at = find(r->history, descr_words.user, 0);
    l->history = at < 0 ? (struct str){0}
                        : from(r->history, (size_t)at + strlen(descr_words.user) + l->base);
}

static struct str before_word(struct str s, const char *word) {
    int64_t at = find(s, word, 0);
    return at < 0 ? (struct str){0} : upto(s, (size_t)at);
}

/* What all assistant turns begin with. */
static struct str turn_header(const struct learn *l) {
    struct str think = tail(l, l->r->prompt_think), nothink = tail(l, l->r->prompt_nothink);
    struct str parts[] = {think,
                          nothink,
                          before_word(l->text, descr_words.content),
                          before_word(l->history, descr_words.content),
                          l->reasoning,
                          l->call};
    struct str h = l->prompt;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t n = common_prefix(h, parts[i]);
        bool other = i < 2 && !n; /* thinking is switched inside the user's message */
        if (parts[i].len && !other) h = upto(h, n);
    }
    return h;
}

/* The header of each message ends in the same tag, and that of a call holds its name. */
static bool is_framed(const struct learn *l, struct str thought) {
    struct str content = before_word(l->text, descr_words.content);
    struct str end = last_tag(content);
    if (!end.len || !thought.len || !str_eq(end, last_tag(thought))) return false;
    if (str_eq(trim(content), trim(thought))) return false;
    int64_t name = find(l->call, descr_words.name1, 0);
    if (name < 0) return false;
    int64_t behind = str_find(l->call, end, (size_t)name);
    int64_t value = find(l->call, descr_words.text1, 0);
    return behind >= 0 && behind < value;
}

static void learn_turn(struct learn *l) {
    struct descr *d = l->d;
    struct str h = turn_header(l);
    struct str thought = before_word(l->reasoning, descr_words.reasoning);
    if (thought.len || find(l->reasoning, descr_words.reasoning, 0) == 0) {
        size_t at = thought.len + strlen(descr_words.reasoning);
        d->think_close = keep(l, first_tag(from(l->reasoning, at)));
        d->framed = is_framed(l, thought);
        struct str open = trim(from(thought, h.len));
        if (d->framed) {
            d->header_end = keep(l, last_tag(thought));
            d->think_header =
                keep(l, upto(from(thought, h.len), rtrim(thought).len - h.len - d->header_end.len));
            struct str content = before_word(l->text, descr_words.content);
            d->text_header =
                keep(l, upto(from(content, h.len), content.len - h.len - d->header_end.len));
        } else {
            struct str added = trim(from(l->prompt, h.len));
            bool prompt_only = !open.len && added.len && !str_starts(added, d->think_close);
            open = prompt_only ? added : last_tag(thought);
        }
        d->think_open = keep(l, open);
    } else {
        d->think_open = keep(l, l->r->known_open);
        d->think_close = keep(l, l->r->known_close);
    }
    if (d->think_open.len && !d->framed && str_ends(rtrim(h), d->think_open))
        h = upto(h, rtrim(h).len - d->think_open.len);
    d->turn_open = keep(l, h);
    d->prompt = keep(l, l->prompt);
}

/* Drops an empty reasoning block, or the tag that ends one, from the beginning. */
static struct str skip_thought(const struct descr *d, struct str s) {
    struct str t = ltrim(s);
    if (d->think_open.len && str_starts(t, d->think_open))
        s = t = ltrim(from(t, d->think_open.len));
    if (d->think_close.len && str_starts(t, d->think_close)) return from(t, d->think_close.len);
    return s;
}

static void learn_text(struct learn *l) {
    struct descr *d = l->d;
    struct str before = before_word(l->text, descr_words.content);
    struct str rest = trim(skip_thought(d, from(before, d->turn_open.len)));
    if (!d->framed && rest.len && tag_starts(rest, 0)) d->text_open = keep(l, rest);
    struct str open = d->think_open, close = d->think_close;
    int64_t o = find_before(d->prompt, open, d->prompt.len);
    d->prompt_thinks = o >= 0 && o > find_before(d->prompt, close, d->prompt.len);
}

static void add_end(struct learn *l, struct str s) {
    struct descr *d = l->d;
    s = trim(s);
    if (!s.len || d->n_ends == DESCR_ENDS || str_eq(s, trim(d->turn_open))) return;
    for (int i = 0; i < d->n_ends; i++)
        if (str_eq(s, d->ends[i])) return;
    d->ends[d->n_ends++] = keep(l, s);
}

/* ---- calls */

/* One call in a rendering: where its pieces begin and end. */
struct seen {
    bool ok;
    size_t name, name_end, key, value, value_end; /* of the first argument */
    size_t start, args, args_end, end; /* call, arguments, behind the call's own brackets */
};

static bool quoted(struct str s, size_t a, size_t b) {
    return a > 0 && b < s.len && s.p[a - 1] == '"' && s.p[b] == '"';
}

static size_t skip_space(struct str s, size_t i) {
    while (i < s.len && is_space(s.p[i])) i++;
    return i;
}
static size_t back_space(struct str s, size_t i) { /* the position behind the last non-space */
    while (i > 0 && is_space(s.p[i - 1])) i--;
    return i;
}

static enum descr_syntax syntax_of(struct str s, const struct seen *c) {
    size_t key_end = c->key + strlen(descr_words.key1);
    size_t k = skip_space(s, key_end + 1);
    if (quoted(s, c->key, key_end) && k < s.len && s.p[k] == ':') {
        if (!quoted(s, c->name, c->name_end)) return DESCR_JSON;
        size_t b = back_space(s, c->name - 1);
        if (b && s.p[b - 1] == ':') return DESCR_OBJECT;
        return b && s.p[b - 1] == '{' ? DESCR_NAMED : DESCR_JSON;
    }
    if (s.p[key_end] == '=' && s.p[c->name_end] == '(') return DESCR_PYTHON;
    if (s.p[key_end] == ':' && s.p[c->name_end] == '{') return DESCR_GEMMA;
    return DESCR_TAGS;
}

/* Finds the call with this name and this text argument; number2: a second argument follows. */
static struct seen find_call(struct str s, const char *name, const char *text, bool two) {
    struct seen c = {0};
    int64_t v = find(s, text, 0);
    if (v < 0) return c;
    int64_t k = find_before(s, str_of(descr_words.key1), (size_t)v);
    int64_t n = k < 0 ? -1 : find_before(s, str_of(name), (size_t)k);
    if (n < 0) return c;
    c.ok = true;
    c.name = (size_t)n;
    c.name_end = c.name + strlen(name);
    c.key = (size_t)k;
    c.value = (size_t)v;
    c.value_end = c.value + strlen(text);
    int64_t num = two ? find(s, descr_words.number, c.value_end) : -1;
    if (num >= 0) c.value_end = (size_t)num + strlen(descr_words.number);
    return c;
}

/* Where the arguments and the call begin and end. value_close: of tags, "" otherwise. */
static bool bound_call(struct str s, struct seen *c, enum descr_syntax syntax, size_t close_len) {
    c->start = c->name;
    c->args = c->name_end;
    c->end = c->args_end = c->value_end + close_len;
    if (syntax == DESCR_TAGS) return true;
    const char *close = syntax == DESCR_PYTHON ? ")" : "}";
    int64_t e = find(s, close, c->value_end);
    if (e < 0) return false;
    c->args_end = c->end = (size_t)e + 1;
    if (syntax == DESCR_PYTHON) return true;
    int64_t a = find_before(s, STR("{"), c->key);
    if (a < 0) return false;
    c->args = (size_t)a;
    if (syntax != DESCR_OBJECT && syntax != DESCR_NAMED) return true;
    int64_t o = find_before(s, STR("{"), c->name), oe = find(s, "}", c->args_end);
    if (o < 0 || oe < 0) return false;
    c->start = (size_t)o;
    c->end = (size_t)oe + 1;
    return true;
}

/* The last quoted word in s. */
static struct str last_quoted(struct str s) {
    int64_t b = find_before(s, STR("\""), s.len);
    int64_t a = b < 0 ? -1 : find_before(s, STR("\""), (size_t)b);
    return a < 0 ? (struct str){0} : between(s, (size_t)a + 1, (size_t)b);
}
static struct str first_quoted(struct str s) {
    int64_t a = find(s, "\"", 0);
    int64_t b = a < 0 ? -1 : find(s, "\"", (size_t)a + 1);
    return b < 0 ? (struct str){0} : between(s, (size_t)a + 1, (size_t)b);
}

/* Where the id is when it is not the one we gave: a number that counts the calls. Gives its
 * place in `one`, the text of the first call, by comparing with the second. */
static bool find_counter(struct str one, struct str two, size_t *at) {
    size_t n = 0;
    while (n < one.len && n < two.len && one.p[n] == two.p[n]) n++;
    bool digits = n < one.len && n < two.len && one.p[n] >= '0' && one.p[n] <= '9' &&
                  two.p[n] >= '0' && two.p[n] <= '9';
    *at = n;
    return digits && str_eq(from(one, n + 1), from(two, n + 1));
}

/* The pieces inside of one call: head stands before the name, `mid` between name and arguments,
 * `end` between arguments and the end of the object. Finds the id in one of them. */
struct pieces {
    struct str head, mid, end;
};

static void learn_id(struct learn *l, struct pieces *p, const struct pieces *second) {
    struct descr *d = l->d;
    struct str *part[] = {&p->head, &p->mid, &p->end};
    const struct str *other[] = {&second->head, &second->mid, &second->end};
    for (int i = 0; i < 3; i++) {
        int64_t at = find(*part[i], descr_words.id1, 0);
        size_t len = strlen(descr_words.id1), n;
        if (at < 0 && second->mid.p && i < 2 && find_counter(*part[i], *other[i], &n)) {
            at = (int64_t)n;
            len = 1;
        }
        if (at < 0) continue;
        struct str before = upto(*part[i], (size_t)at), after = from(*part[i], (size_t)at + len);
        d->id_place = (enum descr_id)(DESCR_ID_FIRST + i);
        d->id_sep = keep(l, i == 0 ? after : before);
        if (d->syntax == DESCR_OBJECT)
            d->id_key =
                keep(l, i == 0 ? first_quoted(before) : last_quoted(upto(before, before.len - 1)));
        *part[i] = i == 0 ? before : after;
        return;
    }
}

/* Tags: from the text between name and first key, and between the first value and second key. */
static bool learn_tags(struct learn *l, struct seen *c, struct str *mid) {
    struct descr *d = l->d;
    struct str s = l->call;
    size_t v_end = c->value + strlen(descr_words.text1);
    int64_t k2 = find(s, descr_words.key2, v_end);
    if (k2 < 0) return false;
    struct str a = between(s, c->name_end, c->key), b = between(s, v_end, (size_t)k2);
    size_t n = common_suffix(a, b);
    struct str open = ltrim(from(b, b.len - n));
    struct str close = upto(b, b.len - open.len);
    d->param_open = keep(l, open);
    d->param_sep = keep(l, from(close, rtrim(close).len));
    d->value_close = keep(l, rtrim(close));
    struct str kv = between(s, c->key + strlen(descr_words.key1), c->value);
    size_t k2_end = (size_t)k2 + strlen(descr_words.key2);
    struct str kv2 = between(s, k2_end, c->value_end - strlen(descr_words.number));
    d->key_close = keep(l, kv);
    if (!str_eq(kv, kv2)) d->key_close_json = keep(l, kv2);
    *mid = upto(a, a.len - open.len);
    return open.len && rtrim(close).len && trim(kv).len;
}

/* What stands before the first call of a turn: behind the content, or behind the turn's header. */
static struct str before_call(const struct learn *l, struct str s, size_t start) {
    const struct descr *d = l->d;
    struct str pre = upto(s, start);
    int64_t c = find_before(pre, str_of(descr_words.content), pre.len);
    struct str turn = trim(d->turn_open);
    if (c >= 0) pre = from(pre, (size_t)c + strlen(descr_words.content));
    int64_t h = find_before(pre, turn, pre.len);
    if (h >= 0) pre = from(pre, (size_t)h + turn.len);
    if (d->framed) return pre;
    pre = ltrim(skip_thought(d, pre));
    if (d->text_open.len && str_starts(pre, d->text_open)) pre = from(pre, d->text_open.len);
    return ltrim(pre);
}

/* Length of the end of a turn that stands behind its calls. `end`: of one with content only. */
static size_t end_length(struct str post, struct str end) {
    int64_t at = str_find(post, first_tag(end), 0);
    size_t n = common_suffix(post, end);
    return first_tag(end).len && at >= 0 && post.len - (size_t)at > n ? post.len - (size_t)at : n;
}

/* Length of what closes a section at the beginning of s: a bracket, and one tag or a line. */
static size_t close_length(struct str s) {
    struct str t = ltrim(s);
    if (t.len && t.p[0] == ']') t = ltrim(from(t, 1));
    if (t.len && tag_starts(t, 0)) t = from(t, first_tag(t).len);
    else t = from(t, t.len);
    return (size_t)(t.p - s.p);
}

/* Takes what stands around the calls apart. pre: before the first, mid: between two (empty: only
 * one is ever written), post: behind the last, end: behind content at the end of a turn. */
static void learn_around(struct learn *l, const struct pieces *p, struct str pre, struct str mid,
                         struct str post, struct str end) {
    struct descr *d = l->d;
    int64_t content = find(post, descr_words.content, 0);
    if (content >= 0) post = upto(post, (size_t)content); /* it is written behind the calls */
    size_t n_end = content >= 0 && !end.len ? 0 : end_length(post, end);
    struct str inner = upto(post, post.len - n_end), last = rtrim(pre), open = pre, close = {0};
    bool list = d->syntax == DESCR_OBJECT || d->syntax == DESCR_NAMED || d->syntax == DESCR_PYTHON;
    d->array = list && last.len && last.p[last.len - 1] == '[' && ltrim(post).len &&
               ltrim(post).p[0] == ']';
    if (d->array) {
        open = (struct str){0};
    } else if (mid.len) {
        open = ltrim(from(pre, pre.len - common_suffix(pre, mid)));
        close = rtrim(upto(mid, common_prefix(mid, post)));
    } else if (!(d->framed && d->syntax == DESCR_JSON)) {
        close = rtrim(inner);
    }
    struct str section = upto(pre, pre.len - open.len);
    d->section_open = keep(l, trim(section).len ? section : (struct str){0});
    if (d->section_open.len) {
        struct str rest = from(post, close.len);
        struct str shut =
            upto(rest, close_length(inner.len > close.len ? from(inner, close.len) : rest));
        d->section_close = keep(l, shut);
        add_end(l, first_tag(from(rest, shut.len)));
    }
    if (mid.len) d->call_sep = keep(l, between(mid, close.len, mid.len - open.len));
    struct buf b = {0};
    buf_str(&b, open);
    buf_str(&b, p->head);
    d->call_open = keep(l, buf_view(&b));
    buf_clear(&b);
    buf_str(&b, p->end);
    buf_str(&b, close);
    d->call_close = keep(l, buf_view(&b));
    buf_free(&b);
    if (!d->section_close.len) add_end(l, first_tag(from(post, close.len)));
    add_end(l, first_tag(from(post, post.len - n_end)));
}

static struct pieces pieces_of(struct str s, const struct seen *c, enum descr_syntax syntax) {
    bool object = syntax == DESCR_OBJECT || syntax == DESCR_NAMED;
    struct pieces p = {.head = between(s, c->start, c->name),
                       .mid = between(s, c->name_end, c->args),
                       .end = object ? between(s, c->args_end, c->end) : (struct str){0}};
    if (syntax == DESCR_PYTHON) {
        p.mid = STR("(");
        p.end = STR(")");
    }
    return p;
}

/* A name that stands in the message's header and again in its body. */
static void learn_name_again(struct learn *l, struct seen *c, struct str *pre) {
    int64_t first = find(*pre, descr_words.name1, 0);
    if (!l->d->framed || first < 0) return;
    size_t end = (size_t)first + strlen(descr_words.name1);
    l->d->name_again = keep(l, between(l->call, c->name - (pre->len - end), c->name));
    *pre = upto(*pre, (size_t)first);
}

static void learn_calls(struct learn *l) {
    struct descr *d = l->d;
    struct seen c = find_call(l->call, descr_words.name1, descr_words.text1, true);
    if (!c.ok) return;
    d->syntax = syntax_of(l->call, &c);
    struct str mid = {0};
    if (d->syntax == DESCR_TAGS && !learn_tags(l, &c, &mid)) d->syntax = DESCR_NO_CALLS;
    if (d->syntax == DESCR_NO_CALLS || !bound_call(l->call, &c, d->syntax, d->value_close.len)) {
        d->syntax = DESCR_NO_CALLS;
        return;
    }
    struct pieces p = pieces_of(l->call, &c, d->syntax), p2 = {0};
    if (d->syntax == DESCR_TAGS) p.mid = mid;
    struct str pre = before_call(l, l->call, c.start), post = from(l->call, c.end), sep = {0};
    struct seen a = find_call(l->calls, descr_words.name1, descr_words.text1, true);
    struct seen b = find_call(l->calls, descr_words.name2, descr_words.text2, false);
    d->parallel = a.ok && b.ok && bound_call(l->calls, &a, d->syntax, d->value_close.len) &&
                  bound_call(l->calls, &b, d->syntax, d->value_close.len);
    learn_name_again(l, &c, &pre);
    if (d->parallel && !d->framed) {
        sep = between(l->calls, a.end, b.start);
        post = from(l->calls, b.end);
        p2 = pieces_of(l->calls, &b, d->syntax);
    }
    if (d->syntax == DESCR_OBJECT) {
        d->name_key = keep(l, last_quoted(upto(p.head, p.head.len - 1)));
        d->args_key = keep(l, last_quoted(p.mid));
    }
    if (d->syntax == DESCR_GEMMA)
        d->quote = keep(l, between(l->call, c.key + strlen(descr_words.key1) + 1, c.value));
    /* an id in front of the name stands in what comes before the call */
    struct pieces id = p, id2 = p2;
    bool text = p.head.len == 0;
    if (text) {
        size_t n = find_before(pre, str_of(descr_words.id1), pre.len) < 0 ? 0 : pre.len;
        id.head = from(pre, pre.len - n);
        id2.head = (struct str){0};
    }
    learn_id(l, &id, &id2);
    if (text && d->id_place == DESCR_ID_FIRST) {
        size_t n = d->id_sep.len + strlen(descr_words.id1);
        pre = upto(pre, pre.len - n);
        if (sep.len) sep = upto(sep, sep.len - (d->id_sep.len + strlen(descr_words.id2)));
    } else if (!text) {
        p.head = id.head;
    }
    p.mid = id.mid;
    p.end = id.end;
    d->name_args = keep(l, p.mid);
    int64_t at = find(l->text, descr_words.content, 0);
    struct str end =
        at < 0 ? (struct str){0} : from(l->text, (size_t)at + strlen(descr_words.content));
    learn_around(l, &p, pre, sep, post, end);
    d->bare = d->syntax == DESCR_OBJECT && !trim(d->section_open).len && !pre.len;
}

bool descr_learn(struct descr *d, const struct descr_renders *r) {
    struct learn l = {.d = d, .r = r};
    learn_base(&l);
    learn_turn(&l);
    learn_text(&l);
    learn_calls(&l);
    int64_t at = find(l.text, descr_words.content, 0);
    if (at >= 0) add_end(&l, first_tag(from(l.text, (size_t)at + strlen(descr_words.content))));
    struct str user = first_tag(behind_user(r->user));
    if (at >= 0 && user.len && str_find(l.text, user, (size_t)at) >= 0) add_end(&l, user);
    if (d->framed) add_end(&l, d->think_close);
    return !l.failed;
}
