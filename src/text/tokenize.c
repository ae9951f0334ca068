/* Text to token ids: cuts out the tokens that are matched verbatim, cuts the rest into words, and
 * has each word merged (merge.c). A word that came up earlier in the same text is copied from the
 * output. Owns the joined text of a call; nothing outlives the call. */
#include "base/limits.h"
#include "text/vocab_impl.h"

#include <string.h>

/* How much of what follows may become a token of each class. */
struct reach {
    size_t control; /* bytes: CONTROL and UNKNOWN tokens end within these */
    size_t marker;  /* USER_DEFINED ones that look like markup for the model */
};

enum { CACHE_SLOTS = 8192, CACHE_MIN_TEXT = 4096, CACHE_MAX_WORD = 64 };

/* An earlier word of the text and its ids in the output. */
struct seen_word {
    struct str text;
    size_t at, n;
};

struct encoder {
    const struct vocab *v;
    struct tokens *out;
    struct err *e;
    struct merger merger;
    struct buf escaped;     /* one word in the vocabulary's spelling */
    struct seen_word *seen; /* (CACHE_SLOTS), NULL for short texts */
    bool prefix;            /* the next word gets a space in front */
};

/* The longest token that is cut out at p; NULL: none. */
static const struct cut_token *match_cut(const struct vocab *v, const char *p, size_t len,
                                         struct reach reach) {
    unsigned char first = (unsigned char)*p;
    size_t lo = v->cut_from[first], hi = v->cut_from[first + 1];
    const struct cut_token *best = NULL;
    /* cut[lo..hi) begin with the depth bytes at p; a text that ends there comes first */
    for (size_t depth = 1; lo < hi; depth++) {
        const struct cut_token *c = &v->cut[lo];
        if (c->text.len == depth) {
            size_t within = vocab_is_control(v, c->id)          ? reach.control
                            : v->flags[c->id] & TOKEN_IS_MARKER ? reach.marker
                                                                : len;
            if (depth <= within) best = c;
            lo++;
        }
        if (depth == len) break;
        unsigned char next = (unsigned char)p[depth];
        size_t from = lo, to = hi;
        while (from < to) { /* first with a byte >= next */
            size_t mid = (from + to) / 2;
            if ((unsigned char)v->cut[mid].text.p[depth] < next) from = mid + 1;
            else to = mid;
        }
        lo = from, to = hi;
        while (from < to) { /* first with a byte > next */
            size_t mid = (from + to) / 2;
            if ((unsigned char)v->cut[mid].text.p[depth] <= next) from = mid + 1;
            else to = mid;
        }
        hi = from;
    }
    return best;
}

static bool add_id(struct encoder *c, int32_t id) {
    return tokens_add(c->out, id) || err_nomem(c->e, "token ids", c->out->n * sizeof id);
}

/* The word as the vocabulary writes it. False: no memory. */
static bool escape(struct encoder *c, struct str w, bool prefix) {
    struct buf *out = &c->escaped;
    buf_clear(out);
    if (prefix) buf_cstr(out, WORD_SPACE);
    for (size_t i = 0; i < w.len; i++) {
        if (c->v->kind == VOCAB_BYTE_BPE) buf_utf8(out, vocab_byte_char((unsigned char)w.p[i]));
        else if (w.p[i] == ' ') buf_cstr(out, WORD_SPACE);
        else buf_char(out, w.p[i]);
    }
    return !out->failed;
}

static bool encode_word(struct encoder *c, struct str w, bool prefix) {
    const struct vocab *v = c->v;
    bool bytes = v->kind == VOCAB_BYTE_BPE;
    bool whole = bytes ? v->ignore_merges && w.len <= v->longest
                       : v->kind == VOCAB_RAW_BPE && w.p[0] == '\n';
    if ((whole || !bytes) && !escape(c, w, prefix)) return err_nomem(c->e, "a word", w.len);
    int32_t id = whole ? vocab_find_plain(v, buf_view(&c->escaped)) : -1;
    if (id >= 0 && id < v->n) return add_id(c, id);
    return merge_word(&c->merger, bytes ? w : buf_view(&c->escaped), c->out, c->e);
}

static bool on_word(void *ctx, struct str w) {
    struct encoder *c = ctx;
    bool prefix = c->prefix;
    c->prefix = false;
    if (prefix || !c->seen || w.len > CACHE_MAX_WORD) return encode_word(c, w, prefix);
    struct seen_word *s = &c->seen[str_hash(w) % CACHE_SLOTS];
    if (!str_eq(s->text, w)) {
        size_t at = c->out->n;
        if (!encode_word(c, w, false)) return false;
        *s = (struct seen_word){w, at, c->out->n - at};
        return true;
    }
    for (size_t i = 0; i < s->n; i++)
        if (!add_id(c, c->out->id[s->at + i])) return false;
    return true;
}

/* SPM and raw BPE have no patterns: a fragment is one word, or for gemma4 one word per line and
 * run of line feeds. Merges inside it seldom reach over a space; it is cut further where the
 * vocabulary shows that none can, so that words are short and recur. */
static bool split_raw(struct encoder *c, struct str text) {
    const struct vocab *v = c->v;
    size_t from = 0;
    for (size_t i = 1; i < text.len; i++) {
        unsigned char last = (unsigned char)text.p[i - 1], now = (unsigned char)text.p[i];
        bool at_space = now == ' ' && last != ' ' && !v->before_space[last];
        bool at_line = v->kind == VOCAB_RAW_BPE && (now == '\n') != (last == '\n');
        if (!at_space && !at_line) continue;
        if (!on_word(c, (struct str){text.p + from, i - from})) return false;
        from = i;
    }
    return text.len == 0 || on_word(c, (struct str){text.p + from, text.len - from});
}

/* A stretch without cut tokens. */
static bool encode_fragment(struct encoder *c, struct str text) {
    c->prefix = c->v->add_space_prefix;
    if (c->v->kind != VOCAB_BYTE_BPE) return split_raw(c, text);
    return pretok_split(c->v->words, text, on_word, c);
}

/* What a special token may cover from `at` on; advances the span. */
static size_t special_reach(const struct joined *j, size_t at, size_t *span) {
    while (*span < j->n && at >= j->ends[*span].at) ++*span;
    return *span < j->n && j->ends[*span].special ? j->ends[*span].at - at : 0;
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool token_marks_add(struct token_marks *k, struct token_mark mark) {
    void *p = k->m;
    if (!mem_grow(&p, &k->cap, k->n + 1, sizeof *k->m)) return false;
    k->m = p;
    k->m[k->n++] = mark;
    return true;
}

/* From a place that is the beginning or behind a cut token. */
static bool encode_text(struct encoder *c, const struct joined *j, size_t from, bool cut_markers,
                        struct token_marks *marks) {
    const struct vocab *v = c->v;
    const char *p = j->text.p;
    size_t len = j->text.len, span = 0;
    for (size_t at = from; at < len;) {
        unsigned char first = (unsigned char)p[at];
        const struct cut_token *t = NULL;
        if (v->cut_from[first] < v->cut_from[first + 1]) {
            size_t special = special_reach(j, at, &span);
            struct reach reach = {special, cut_markers ? len - at : special};
            t = match_cut(v, p + at, len - at, reach);
        }
        if (!t) {
            at++;
            continue;
        }
        if (!encode_fragment(c, (struct str){p + from, at - from})) return false;
        if (!add_id(c, t->id)) return false;
        at += t->text.len;
        if (v->flags[t->id] & TOKEN_STRIPS_RIGHT)
            while (at < len && is_space(p[at])) at++;
        from = at;
        if (marks && !token_marks_add(marks, (struct token_mark){at, c->out->n}))
            return err_nomem(c->e, "token marks", marks->n * sizeof *marks->m);
    }
    return encode_fragment(c, (struct str){p + from, len - from});
}

/* Appends text with every invalid byte as U+FFFD. */
static void add_valid(struct buf *out, struct str text) {
    for (size_t i = 0; i < text.len;) {
        uint32_t cp;
        i += utf8_decode(text.p + i, text.len - i, &cp);
        buf_utf8(out, cp);
    }
}

/* Byte-level and raw BPE work on code points, so invalid bytes become U+FFFD here; SPM has a token
 * for every byte and keeps them. */
bool token_join(const struct vocab *v, const struct text_span *spans, struct joined *j,
                struct err *e) {
    size_t total = 0;
    for (size_t i = 0; i < j->n; i++) {
        if (spans[i].text.len > LIMIT_PROMPT_BYTES - total)
            return err_set(e, ERR_LIMIT, "the text is longer than the limit of %d bytes",
                           LIMIT_PROMPT_BYTES);
        total += spans[i].text.len;
    }
    j->ends = mem_array(j->n + 1, sizeof *j->ends);
    if (!j->ends) return err_nomem(e, "text spans", j->n * sizeof *j->ends);
    bool copied = j->n != 1;
    for (size_t i = 0; i < j->n; i++) {
        struct str t = spans[i].text;
        if (v->kind != VOCAB_SPM && !utf8_valid(t.p, t.len)) {
            copied = true;
            add_valid(&j->copy, t);
        } else if (copied) {
            buf_str(&j->copy, t);
        }
        j->ends[i] = (struct span_end){copied ? j->copy.len : t.len, spans[i].special};
    }
    if (j->copy.failed) return err_nomem(e, "the joined text", total);
    j->text = copied ? buf_view(&j->copy) : spans[0].text;
    return true;
}

void joined_free(struct joined *j) {
    buf_free(&j->copy);
    mem_free(j->ends);
}

static bool encode(struct encoder *c, const struct joined *j, size_t from, bool add_special,
                   bool cut_markers, struct token_marks *marks) {
    const struct vocab_special *s = &c->v->special;
    if (j->text.len - from >= CACHE_MIN_TEXT)
        c->seen = mem_calloc(CACHE_SLOTS, sizeof *c->seen); /* without it: slower, not wrong */
    bool ok = true;
    if (from == 0 && add_special && s->add_bos && s->bos >= 0) ok = add_id(c, s->bos);
    ok = ok && encode_text(c, j, from, cut_markers, marks);
    if (ok && add_special && s->add_eos && s->eos >= 0) ok = add_id(c, s->eos);
    merge_free(&c->merger);
    buf_free(&c->escaped);
    mem_free(c->seen);
    return ok;
}

bool token_encode(const struct vocab *v, const struct joined *j, size_t from, bool add_special,
                  struct tokens *out, struct token_marks *marks, struct err *e) {
    struct encoder c = {.v = v, .out = out, .e = e, .merger = {.v = v}};
    return encode(&c, j, from, add_special, false, marks);
}

static bool tokenize(const struct vocab *v, const struct text_span *spans, size_t n,
                     bool add_special, bool cut_markers, struct tokens *out, struct err *e) {
    struct encoder c = {.v = v, .out = out, .e = e, .merger = {.v = v}};
    struct joined j = {.n = n};
    bool ok = token_join(v, spans, &j, e) && encode(&c, &j, 0, add_special, cut_markers, NULL);
    joined_free(&j);
    return ok;
}

bool vocab_tokenize(const struct vocab *v, struct str text, bool add_special, bool parse_special,
                    struct tokens *out, struct err *e) {
    struct text_span span = {text, parse_special};
    return tokenize(v, &span, 1, add_special, true, out, e);
}

bool vocab_tokenize_spans(const struct vocab *v, const struct text_span *spans, size_t n,
                          bool add_special, struct tokens *out, struct err *e) {
    return tokenize(v, spans, n, add_special, false, out, e);
}
