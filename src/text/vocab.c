/* Reads a vocabulary from a GGUF and answers questions about its tokens. Owns the tables that the
 * tokenizer runs on; special ids and the end-of-generation rules are in special.c. Everything is
 * checked here, so that ids and texts in the tables can be trusted afterwards. */
#include "text/vocab.h"
#include "base/limits.h"
#include "base/log.h"
#include "gguf/gguf.h"
#include "text/vocab_impl.h"

#include <stdlib.h>
#include <string.h>

void tokens_free(struct tokens *t) {
    mem_free(t->id);
    *t = (struct tokens){0};
}

bool tokens_add(struct tokens *t, int32_t id) {
    void *p = t->id;
    if (!mem_grow(&p, &t->cap, t->n + 1, sizeof *t->id)) return false;
    t->id = p;
    t->id[t->n++] = id;
    return true;
}

/* What a text is looked up by. Up to 7 bytes it is the text itself with its length behind it; a
 * longer one is hashed and has to be compared. Most lookups so touch one cache line. */
static uint64_t text_key(struct str t) {
    uint64_t key = 0, word;
    if (t.len < 8) {
        if (t.len) memcpy(&key, t.p, t.len);
        return key << 8 | t.len;
    }
    for (size_t i = 0; i < t.len - 8; i += 8) {
        memcpy(&word, t.p + i, 8);
        key = (key ^ word) * 0x9E3779B97F4A7C15u;
        key ^= key >> 32;
    }
    memcpy(&word, t.p + t.len - 8, 8);
    return (key ^ word ^ t.len << 32) * 0xC2B2AE3D27D4EB4Fu | 0xFF;
}

/* The slot of a text, or the free slot where it would go. */
static struct text_slot *text_place(const struct vocab *v, struct str text, uint64_t key) {
    uint64_t h = (key ^ key >> 32) * 0x9E3779B97F4A7C15u;
    size_t mask = v->n_by_text - 1, i = (h ^ h >> 29) & mask;
    for (; v->by_text[i].id_1; i = (i + 1) & mask)
        if (v->by_text[i].key == key &&
            (text.len < 8 || str_eq(v->text[v->by_text[i].id_1 - 1], text)))
            break;
    return &v->by_text[i];
}

static int32_t find_text(const struct vocab *v, struct str text) {
    return text.len > v->longest ? -1 : text_place(v, text, text_key(text))->id_1 - 1;
}

int32_t vocab_find(const struct vocab *v, struct str text) {
    int32_t id = find_text(v, text);
    return id < v->n ? id : -1;
}

int32_t vocab_find_plain(const struct vocab *v, struct str text) {
    int32_t id = find_text(v, text);
    return id >= 0 && id < v->n && vocab_is_control(v, id) ? -1 : id;
}

/* Makes the table anew with room for n texts. */
static bool index_texts(struct vocab *v, size_t n) {
    size_t size = 64;
    while (size < 2 * n) size *= 2;
    mem_free_aligned(v->by_text);
    v->by_text = mem_aligned(size * sizeof *v->by_text);
    v->n_by_text = size;
    if (!v->by_text) return false;
    for (size_t i = 0; i < v->n_texts; i++) {
        uint64_t key = text_key(v->text[i]);
        *text_place(v, v->text[i], key) = (struct text_slot){key, (int32_t)i + 1};
    }
    return true;
}

/* The id of a text; one that is new gets an id behind the tokens. -1: no memory. */
static int32_t intern(struct vocab *v, struct str text) {
    uint64_t key = text_key(text);
    struct text_slot *place = text_place(v, text, key);
    if (place->id_1) return place->id_1 - 1;
    void *texts = v->text;
    if (!mem_grow(&texts, &v->cap_texts, v->n_texts + 1, sizeof *v->text)) return -1;
    v->text = texts;
    char *copy = arena_strndup(&v->arena, text.p, text.len);
    if (!copy) return -1;
    v->text[v->n_texts++] = (struct str){copy, text.len};
    if (text.len > v->longest) v->longest = text.len;
    int32_t id_1 = (int32_t)v->n_texts;
    *place = (struct text_slot){key, id_1};
    if (2 * v->n_texts > v->n_by_text && !index_texts(v, 2 * v->n_texts)) return -1;
    return id_1 - 1;
}

/* An array key of the kind asked for; NULL with e filled, or NULL alone when absent. */
static const struct gguf_kv *find_array(const struct gguf *g, const char *key, bool of_text,
                                        struct err *e) {
    const struct gguf_kv *kv = gguf_find(g, key);
    if (!kv) return NULL;
    if (kv->kind == GGUF_ARR && (kv->elem == GGUF_STR) == of_text) return kv;
    err_set(e, ERR_FORMAT, "%s: expected an array of %s", key, of_text ? "strings" : "numbers");
    return NULL;
}

static bool read_kind(struct vocab *v, const struct gguf *g, struct err *e) {
    static const char *const names[] = {"llama", "gpt2", "gemma4"}; /* ORDER vocab_kind */
    struct str model = {0}, pre = {0};
    if (!gguf_str(g, "tokenizer.ggml.model", &model, e)) {
        if (e->code) return false;
        return err_set(e, ERR_FORMAT, "the file has no tokenizer (key tokenizer.ggml.model)");
    }
    int kind = 0;
    while (kind < 3 && !str_is(model, names[kind])) kind++;
    if (kind == 3)
        return err_set(e, ERR_UNSUPPORTED,
                       "tokenizer.ggml.model is '%.*s'; this build knows llama, gpt2 and gemma4",
                       (int)(model.len < 64 ? model.len : 64), model.p);
    v->kind = (enum vocab_kind)kind;
    if (v->kind != VOCAB_BYTE_BPE) return true;
    if (!gguf_str(g, "tokenizer.ggml.pre", &pre, e)) {
        if (e->code) return false;
        log_warn("the file names no pre-tokenizer (tokenizer.ggml.pre): taking 'default'; the "
                 "ids may differ from those the model was trained with");
        pre = STR("default");
    }
    v->words = pretok_find(pre);
    if (!v->words)
        return err_set(e, ERR_UNSUPPORTED, "tokenizer.ggml.pre: there is no pre-tokenizer '%.*s'",
                       (int)(pre.len < 64 ? pre.len : 64), pre.p);
    unsigned flags = pretok_flags(v->words);
    if (flags & PRETOK_RAW) v->kind = VOCAB_RAW_BPE;
    v->ignore_merges = flags & PRETOK_IGNORE_MERGES;
    v->clean_spaces = flags & PRETOK_CLEAN_SPACES;
    return true;
}

static bool read_tokens(struct vocab *v, const struct gguf *g, struct err *e) {
    const char *key = "tokenizer.ggml.tokens";
    const struct gguf_kv *kv = find_array(g, key, true, e);
    if (!kv) return e->code ? false : err_set(e, ERR_FORMAT, "the file has no key %s", key);
    if (kv->count == 0 || kv->count > LIMIT_VOCAB)
        return err_set(e, ERR_LIMIT, "%s: %llu tokens, expected 1 to %d", key,
                       (unsigned long long)kv->count, LIMIT_VOCAB);
    v->n = (int32_t)kv->count;
    size_t n = (size_t)v->n, total = 0;
    for (size_t i = 0; i < n; i++) total += gguf_arr_str(kv, i).len + 1;
    v->n_texts = v->cap_texts = n;
    v->text = mem_array(n, sizeof *v->text);
    v->type = arena_calloc(&v->arena, n, sizeof *v->type);
    v->flags = arena_calloc(&v->arena, n, sizeof *v->flags);
    char *copy = arena_alloc(&v->arena, total);
    if (!v->text || !v->type || !v->flags || !copy) return err_nomem(e, "the vocabulary", total);
    for (size_t i = 0; i < n; i++) {
        struct str t = gguf_arr_str(kv, i);
        if (t.len == 0) {
            struct buf name = {0};
            buf_printf(&name, "[EMPTY_%zu]", i);
            char *p = name.failed ? NULL : arena_strndup(&v->arena, name.p, name.len);
            v->text[i] = (struct str){p, name.len};
            buf_free(&name);
            if (!p) return err_nomem(e, "the vocabulary", total);
        } else {
            memcpy(copy, t.p, t.len);
            v->text[i] = (struct str){copy, t.len};
            copy += t.len;
        }
        if (v->text[i].len > v->longest) v->longest = v->text[i].len;
    }
    return true;
}

/* Types are numbers of the file; those it does not define print nothing. */
static bool read_types(struct vocab *v, const struct gguf *g, struct err *e) {
    const char *key = "tokenizer.ggml.token_type";
    const struct gguf_kv *kv = find_array(g, key, false, e);
    if (e->code) return false;
    if (kv && kv->count < (uint64_t)v->n)
        return err_set(e, ERR_FORMAT, "%s: %llu entries for %d tokens", key,
                       (unsigned long long)kv->count, v->n);
    for (int32_t i = 0; i < v->n; i++) {
        int64_t type = kv ? gguf_arr_int(kv, (uint64_t)i) : TOKEN_NORMAL;
        v->type[i] = (uint8_t)(type >= 0 && type <= TOKEN_BYTE ? type : TOKEN_UNDEFINED);
    }
    return true;
}

/* Numbers that sort as the scores do, highest first. */
static uint32_t score_priority(float score) {
    uint32_t u;
    if (score == 0) score = 0; /* -0 */
    memcpy(&u, &score, sizeof u);
    return u & 0x80000000u ? u : ~(u | 0x80000000u);
}

static bool read_scores(struct vocab *v, const struct gguf *g, struct err *e) {
    const char *key = "tokenizer.ggml.scores";
    const struct gguf_kv *kv = find_array(g, key, false, e);
    if (e->code) return false;
    if (kv && kv->count < (uint64_t)v->n)
        return err_set(e, ERR_FORMAT, "%s: %llu entries for %d tokens", key,
                       (unsigned long long)kv->count, v->n);
    v->priority = arena_calloc(&v->arena, (size_t)v->n, sizeof *v->priority);
    if (!v->priority) return err_nomem(e, key, (uint64_t)v->n * sizeof *v->priority);
    for (int32_t i = 0; i < v->n; i++)
        v->priority[i] = score_priority(kv ? (float)gguf_arr_real(kv, (uint64_t)i) : 0.0f);
    return true;
}

/* Splits "LEFT RIGHT" at the first space behind position 0; whole: both without the space. */
static bool split_merge(struct str m, struct str *left, struct str *right, struct buf *whole) {
    int64_t space = m.len ? str_find(m, STR(" "), 1) : -1;
    if (space < 0 || (size_t)space + 1 == m.len) return false;
    *left = (struct str){m.p, (size_t)space};
    *right = (struct str){m.p + space + 1, m.len - left->len - 1};
    buf_clear(whole);
    buf_str(whole, *left);
    buf_str(whole, *right);
    return true;
}

/* Merges come in the order of what they make: mostly the text of the merge before, or the next. */
static int32_t intern_near(struct vocab *v, struct str text, int32_t last) {
    for (int32_t id = last; id < v->n && id <= last + 1; id++)
        if (str_eq(v->text[id], text)) return id;
    return intern(v, text);
}

static bool read_merges(struct vocab *v, const struct gguf *g, struct err *e) {
    const char *key = "tokenizer.ggml.merges";
    const struct gguf_kv *kv = find_array(g, key, true, e);
    if (!kv) return e->code ? false : err_set(e, ERR_FORMAT, "the file has no key %s", key);
    if (kv->count > LIMIT_MERGES)
        return err_set(e, ERR_LIMIT, "%s: %llu merges, the limit is %d", key,
                       (unsigned long long)kv->count, LIMIT_MERGES);
    for (v->n_pairs = 64; v->n_pairs < 2 * kv->count;) v->n_pairs *= 2;
    v->pairs = mem_aligned(v->n_pairs * sizeof *v->pairs);
    if (!v->pairs) return err_nomem(e, key, v->n_pairs * sizeof *v->pairs);
    struct buf whole = {0};
    bool ok = true;
    int32_t merged = 0;
    for (uint64_t i = 0; ok && i < kv->count; i++) {
        struct str left, right;
        if (!split_merge(gguf_arr_str(kv, i), &left, &right, &whole)) {
            ok = err_set(e, ERR_FORMAT, "%s[%llu]: expected two texts with a space between them",
                         key, (unsigned long long)i);
            break;
        }
        int32_t a = intern(v, left), b = intern(v, right);
        merged = whole.failed ? -1 : intern_near(v, buf_view(&whole), merged);
        if (a < 0 || b < 0 || merged < 0) ok = err_nomem(e, key, kv->count);
        else merge_add_pair(v, a, b, merged, (uint32_t)i);
    }
    buf_free(&whole);
    return ok;
}

static bool check_unique(const struct vocab *v, struct err *e) {
    for (int32_t i = 0; i < v->n; i++) {
        int32_t other = find_text(v, v->text[i]);
        if (other != i)
            return err_set(e, ERR_FORMAT, "tokenizer.ggml.tokens: %d and %d are the same text", i,
                           other);
    }
    return true;
}

/* Which bytes come before a word space inside some text that merges can make. */
static void find_before_space(struct vocab *v) {
    const struct str space = STR(WORD_SPACE);
    for (size_t i = 0; i < v->n_texts; i++) {
        struct str t = v->text[i];
        if (i < (size_t)v->n && vocab_is_control(v, (int32_t)i)) continue;
        for (int64_t at = 0; (at = str_find(t, space, (size_t)at)) >= 0; at++)
            if (at > 0) v->before_space[(unsigned char)t.p[at - 1]] = true;
    }
}

static void find_byte_ids(struct vocab *v) {
    for (unsigned b = 0; b < 256; b++) {
        char text[8];
        size_t len;
        if (v->kind == VOCAB_BYTE_BPE) {
            len = utf8_encode(vocab_byte_char((unsigned char)b), text);
        } else {
            static const char hex[] = "0123456789ABCDEF";
            char name[] = {'<', '0', 'x', hex[b / 16], hex[b % 16], '>'};
            memcpy(text, name, len = sizeof name);
        }
        v->byte_id[b] = vocab_find_plain(v, (struct str){text, len});
        text[0] = (char)b;
        if (v->byte_id[b] < 0 && v->kind != VOCAB_BYTE_BPE)
            v->byte_id[b] = vocab_find_plain(v, (struct str){text, 1});
    }
}

static int by_bytes(const void *a, const void *b) {
    const struct cut_token *x = a, *y = b;
    size_t n = x->text.len < y->text.len ? x->text.len : y->text.len;
    int d = memcmp(x->text.p, y->text.p, n);
    return d ? d : (x->text.len > y->text.len) - (x->text.len < y->text.len);
}

/* The tokens that are cut out of the text verbatim, in the order of their bytes. */
static bool list_cut_tokens(struct vocab *v, struct err *e) {
    for (int32_t i = 0; i < v->n; i++)
        v->n_cut += vocab_is_control(v, i) || v->type[i] == TOKEN_USER;
    v->cut = arena_calloc(&v->arena, v->n_cut + 1, sizeof *v->cut);
    if (!v->cut) return err_nomem(e, "special tokens", v->n_cut * sizeof *v->cut);
    size_t n = 0;
    for (int32_t i = 0; i < v->n; i++)
        if (vocab_is_control(v, i) || v->type[i] == TOKEN_USER)
            v->cut[n++] = (struct cut_token){v->text[i], i};
    qsort(v->cut, n, sizeof *v->cut, by_bytes);
    for (size_t i = 0; i < n; i++) v->cut_from[(unsigned char)v->cut[i].text.p[0] + 1]++;
    for (size_t b = 0; b < 256; b++) v->cut_from[b + 1] += v->cut_from[b];
    return true;
}

static bool read_suppressed(struct vocab *v, const struct gguf *g, struct err *e) {
    const struct gguf_kv *kv = find_array(g, "tokenizer.ggml.suppress_tokens", false, e);
    if (!kv) return e->code == ERR_NONE;
    size_t n = kv->count < (uint64_t)v->n ? (size_t)kv->count : (size_t)v->n;
    v->suppress = arena_calloc(&v->arena, n + 1, sizeof *v->suppress);
    if (!v->suppress) return err_nomem(e, "suppressed tokens", n);
    for (size_t i = 0; i < n; i++) {
        int64_t id = gguf_arr_int(kv, i);
        if (id >= 0 && id < v->n) v->suppress[v->n_suppress++] = (int32_t)id;
    }
    return true;
}

static bool read_all(struct vocab *v, const struct gguf *g, struct err *e) {
    if (!read_kind(v, g, e) || !read_tokens(v, g, e)) return false;
    if (!index_texts(v, v->n_texts)) return err_nomem(e, "the vocabulary", v->n_texts);
    if (!check_unique(v, e) || !read_types(v, g, e)) return false;
    if (!(v->kind == VOCAB_SPM ? read_scores(v, g, e) : read_merges(v, g, e))) return false;
    if (!vocab_read_special(v, g, e) || !vocab_make_bytes(v, e)) return false;
    if (!list_cut_tokens(v, e) || !read_suppressed(v, g, e)) return false;
    find_byte_ids(v);
    find_before_space(v);
    return true;
}

struct vocab *vocab_open(const struct gguf *g, struct err *e) {
    struct err ignored = {0};
    if (!e) e = &ignored;
    e->code = ERR_NONE; /* absent and wrong keys are told apart by it */
    struct vocab *v = mem_calloc(1, sizeof *v);
    if (!v) {
        err_nomem(e, "the vocabulary", sizeof *v);
        return NULL;
    }
    if (read_all(v, g, e)) return v;
    vocab_close(v);
    return NULL;
}

void vocab_close(struct vocab *v) {
    if (!v) return;
    arena_free(&v->arena);
    mem_free(v->text);
    mem_free_aligned(v->by_text);
    mem_free_aligned(v->pairs);
    mem_free(v);
}

int32_t vocab_size(const struct vocab *v) {
    return v->n;
}
enum token_type vocab_type(const struct vocab *v, int32_t id) {
    return id >= 0 && id < v->n ? (enum token_type)v->type[id] : TOKEN_UNDEFINED;
}
struct str vocab_text(const struct vocab *v, int32_t id) {
    return id >= 0 && id < v->n ? v->text[id] : (struct str){"", 0};
}
bool vocab_is_eog(const struct vocab *v, int32_t id) {
    return id >= 0 && id < v->n && v->flags[id] & TOKEN_IS_EOG;
}
const struct vocab_special *vocab_special(const struct vocab *v) {
    return &v->special;
}
const int32_t *vocab_suppress(const struct vocab *v, int *n) {
    *n = v->n_suppress;
    return v->suppress;
}
