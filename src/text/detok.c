/* Token ids to text: what each token prints (made once, at load), whole sequences, and streams
 * that never end inside a character. */
#include "text/vocab_impl.h"

#include <string.h>

/* Bytes that stand for themselves in texts of byte-level BPE; the other 68 get U+0100 and on. */
static bool is_own_char(unsigned b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

uint32_t vocab_byte_char(unsigned char b) {
    if (is_own_char(b)) return b;
    return b <= 0x20 ? 0x100u + b : b <= 0xA0 ? 0x121u + b - 0x7F : 0x143;
}

/* The inverse; -1: cp stands for no byte. */
static int byte_of_char(uint32_t cp) {
    if (cp < 256) return is_own_char(cp) ? (int)cp : -1;
    if (cp <= 0x120) return (int)cp - 0x100;
    if (cp <= 0x142) return (int)cp - 0x121 + 0x7F;
    return cp == 0x143 ? 0xAD : -1;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that a text <0xHH> names, or -1. */
static int named_byte(struct str t) {
    if (t.len != 6 || !str_starts(t, STR("<0x")) || t.p[5] != '>') return -1;
    int hi = hex_digit(t.p[3]), lo = hex_digit(t.p[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

/* Writes what token id prints to out, at most as many bytes as its text has. */
static size_t print_token(const struct vocab *v, int32_t id, char *out) {
    struct str t = v->text[id];
    size_t n = 0;
    int byte;
    switch ((enum token_type)v->type[id]) {
    case TOKEN_UNDEFINED:
    case TOKEN_UNKNOWN:
    case TOKEN_CONTROL:
    case TOKEN_UNUSED:
        return 0;
    case TOKEN_BYTE:
        if ((byte = named_byte(t)) < 0) break;
        out[0] = (char)byte;
        return 1;
    case TOKEN_USER:
        break;
    case TOKEN_NORMAL:
        for (size_t i = 0, len; i < t.len; i += len) {
            uint32_t cp;
            len = utf8_decode(t.p + i, t.len - i, &cp);
            byte = v->kind != VOCAB_BYTE_BPE ? (cp == 0x2581 ? ' ' : -1)
                   : len > 1 || cp < 128     ? byte_of_char(cp)
                                             : -1;
            if (byte >= 0) out[n++] = (char)byte;
            else memcpy(out + n, t.p + i, len), n += len;
        }
        return n;
    }
    memcpy(out, t.p, t.len);
    return t.len;
}

bool vocab_make_bytes(struct vocab *v, struct err *e) {
    size_t total = 0;
    for (int32_t i = 0; i < v->n; i++) total += v->text[i].len;
    v->bytes = arena_calloc(&v->arena, (size_t)v->n, sizeof *v->bytes);
    char *out = arena_alloc(&v->arena, total + 1);
    if (!v->bytes || !out) return err_nomem(e, "token texts", total);
    for (int32_t i = 0; i < v->n; i++) {
        v->bytes[i] = (struct str){out, print_token(v, i, out)};
        out += v->bytes[i].len;
    }
    return true;
}

struct str vocab_bytes(const struct vocab *v, int32_t id, bool special) {
    if (id < 0 || id >= v->n) return (struct str){"", 0};
    return special && vocab_is_control(v, id) ? v->text[id] : v->bytes[id];
}

/* The spaces that some vocabularies' detokenizers take back, pass by pass. */
static void clean_spaces(char *p, size_t *len) {
    static const struct {
        const char *found, *kept;
    } passes[] = {{" ?", "?"},   {" !", "!"},   {" .", "."},     {" ,", ","},    {" ' ", "'"},
                  {" 's", "'s"}, {" 'm", "'m"}, {" 're", "'re"}, {" 've", "'ve"}};
    for (size_t k = 0; k < sizeof passes / sizeof *passes; k++) {
        struct str found = str_of(passes[k].found), kept = str_of(passes[k].kept);
        size_t from = 0, to = 0;
        for (int64_t hit; (hit = str_find((struct str){p, *len}, found, from)) >= 0;) {
            size_t gap = (size_t)hit - from;
            memmove(p + to, p + from, gap);
            memcpy(p + to + gap, kept.p, kept.len);
            to += gap + kept.len;
            from = (size_t)hit + found.len;
        }
        memmove(p + to, p + from, *len - from);
        *len = to + *len - from;
    }
}

bool vocab_detokenize(const struct vocab *v, const int32_t *ids, size_t n, bool special,
                      struct buf *out) {
    size_t start = out->len;
    for (size_t i = 0; i < n; i++) {
        struct str b = vocab_bytes(v, ids[i], special);
        if (i == 0 && v->add_space_prefix && b.len && b.p[0] == ' ') b.p++, b.len--;
        buf_str(out, b);
    }
    if (v->clean_spaces && !out->failed && out->len > start) {
        size_t len = out->len - start;
        clean_spaces(out->p + start, &len);
        out->len = start + len;
        out->p[out->len] = 0;
    }
    return !out->failed;
}

bool vocab_stream_add(const struct vocab *v, struct vocab_stream *s, int32_t id, bool special,
                      struct buf *out) {
    struct str b = vocab_bytes(v, id, special);
    for (size_t i = 0; i < b.len; i++) {
        s->pending[s->n_pending++] = b.p[i];
        size_t len = (size_t)s->n_pending, whole = utf8_complete(s->pending, len), at = 0;
        while (at < whole) {
            uint32_t cp;
            at += utf8_decode(s->pending + at, whole - at, &cp);
            buf_utf8(out, cp);
        }
        memmove(s->pending, s->pending + whole, len - whole); /* at most 3 bytes */
        s->n_pending = (int)(len - whole);
    }
    return !out->failed;
}

bool vocab_stream_end(struct vocab_stream *s, struct buf *out) {
    if (s->n_pending) buf_utf8(out, 0xFFFD);
    s->n_pending = 0;
    return !out->failed;
}
