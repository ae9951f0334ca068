/* Special ids, end of generation and what a chat model's vocabulary needs put right (spec sections
 * 1, 2 and 12). Runs once, at load, after tokens, types and merges are read. */
#include "base/log.h"
#include "gguf/gguf.h"
#include "text/vocab_impl.h"

#include <ctype.h>
#include <string.h>

enum { MAX_TEXTS = 12 };

/* One special id: its keys, the defaults by kind, and the texts that it is found by when no key
 * names it (the first one present wins). `control`: a token found so is made CONTROL. */
struct special_row {
    size_t field;
    const char *keys[2];
    int32_t spm, bpe;
    bool control;
    const char *texts[MAX_TEXTS];
};

#define FIELD(name) offsetof(struct vocab_special, name)
static const struct special_row rows[] = {
    {FIELD(bos), {"tokenizer.ggml.bos_token_id"}, 1, 11, false, {0}},
    {FIELD(eos), {"tokenizer.ggml.eos_token_id"}, 2, 11, false, {0}},
    {FIELD(unk), {"tokenizer.ggml.unknown_token_id"}, 0, -1, false, {0}},
    {FIELD(sep), {"tokenizer.ggml.seperator_token_id"}, -1, -1, false, {0}},
    {FIELD(pad), {"tokenizer.ggml.padding_token_id"}, -1, -1, false, {0}},
    {FIELD(eot),
     {"tokenizer.ggml.eot_token_id"},
     -1,
     -1,
     true,
     {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
      "<EOT>", "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>"}},
    {FIELD(eom), {"tokenizer.ggml.eom_token_id"}, -1, -1, true, {"<|eom_id|>"}},
    {FIELD(fim_pre),
     {"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
     -1,
     -1,
     true,
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<PRE>", "▁<PRE>", "<｜fim▁begin｜>"}},
    {FIELD(fim_suf),
     {"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
     -1,
     -1,
     true,
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<SUF>", "▁<SUF>", "<｜fim▁hole｜>"}},
    {FIELD(fim_mid),
     {"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
     -1,
     -1,
     true,
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<MID>", "▁<MID>", "<｜fim▁end｜>"}},
    {FIELD(fim_pad),
     {"tokenizer.ggml.fim_pad_token_id"},
     -1,
     -1,
     true,
     {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {FIELD(fim_rep),
     {"tokenizer.ggml.fim_rep_token_id"},
     -1,
     -1,
     true,
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {FIELD(fim_sep), {"tokenizer.ggml.fim_sep_token_id"}, -1, -1, true, {"<|file_sep|>"}},
};

/* Texts that end a generation, whatever the keys say. */
static const char *const eog_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
};

static int32_t *field(struct vocab *v, const struct special_row *r) {
    return (int32_t *)(void *)((char *)&v->special + r->field);
}

static int32_t find(const struct vocab *v, const char *text) {
    return vocab_find(v, str_of(text));
}

static void make_control(struct vocab *v, int32_t id) {
    if (v->type[id] == TOKEN_CONTROL) return;
    log_msg(LOG_DEBUG, "token %d '%.*s' ends or steers a generation: treated as a control token",
            id, (int)v->text[id].len, v->text[id].p);
    v->type[id] = TOKEN_CONTROL;
}

static bool read_ids(struct vocab *v, const struct gguf *g, struct err *e) {
    bool no_bos = v->words && pretok_flags(v->words) & PRETOK_NO_BOS;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct special_row *r = &rows[i];
        int64_t id = v->kind == VOCAB_SPM ? r->spm : v->kind == VOCAB_BYTE_BPE ? r->bpe : -1;
        if (no_bos && r->field == FIELD(bos)) id = -1;
        const char *from = "the default";
        for (int k = 1; k >= 0; k--)
            if (r->keys[k] && gguf_int(g, r->keys[k], INT64_MIN, INT64_MAX, &id, e))
                from = r->keys[k];
        if (e->code) return false;
        bool valid = id >= 0 && id < v->n;
        if (!valid && id >= 0 && from == r->keys[0])
            log_warn("%s is %lld, but there are %d tokens: ignored", from, (long long)id, v->n);
        *field(v, r) = valid ? (int32_t)id : -1;
    }
    return true;
}

static void find_by_text(struct vocab *v) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t *id = field(v, &rows[i]);
        for (int k = 0; *id < 0 && k < MAX_TEXTS && rows[i].texts[k]; k++)
            if ((*id = find(v, rows[i].texts[k])) >= 0) make_control(v, *id);
    }
}

static bool is_eog(const struct vocab *v, int32_t id) {
    return id >= 0 && v->flags[id] & TOKEN_IS_EOG;
}

static void mark_eog(struct vocab *v) {
    const struct vocab_special *s = &v->special;
    for (size_t i = 0; i < sizeof eog_texts / sizeof *eog_texts; i++) {
        int32_t id = find(v, eog_texts[i]);
        if (id < 0) continue;
        make_control(v, id);
        v->flags[id] |= TOKEN_IS_EOG;
    }
    const int32_t by_key[] = {s->eos, s->eot, s->eom, s->fim_pad, s->fim_rep, s->fim_sep};
    for (size_t i = 0; i < sizeof by_key / sizeof *by_key; i++)
        if (by_key[i] >= 0) v->flags[by_key[i]] |= TOKEN_IS_EOG;
}

/* Models whose end tokens also stand inside a turn. */
static void mend_families(struct vocab *v) {
    int32_t end = find(v, "<|end|>"), s = find(v, "</s>");
    bool harmony = is_eog(v, find(v, "<|return|>")) && is_eog(v, find(v, "<|call|>"));
    bool solar = is_eog(v, find(v, "<|calls|>")) && is_eog(v, find(v, "<|flush|>"));
    if ((harmony || solar) && end >= 0) {
        v->flags[end] &= (uint8_t)~TOKEN_IS_EOG;
        v->type[end] = TOKEN_USER;
    }
    static const char *const shown[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};
    for (size_t i = 0; harmony && i < sizeof shown / sizeof *shown; i++) {
        int32_t id = find(v, shown[i]);
        if (id >= 0) v->type[id] = TOKEN_USER;
    }
    if (is_eog(v, find(v, "<|tool_response>")) && is_eog(v, s)) {
        v->flags[s] &= (uint8_t)~TOKEN_IS_EOG;
        v->type[s] = TOKEN_NORMAL;
    }
}

/* Phi-3's special tokens swallow the whitespace behind them. */
static bool mark_stripping(struct vocab *v, const struct gguf *g, struct err *e) {
    struct str name = {0};
    if (!gguf_str(g, "general.name", &name, e)) return e->code == ERR_NONE;
    bool phi3 = false;
    for (size_t i = 0; !phi3 && i + 4 <= name.len; i++) {
        size_t dash = i + 4 < name.len && name.p[i + 3] == '-';
        phi3 = tolower((unsigned char)name.p[i]) == 'p' &&
               tolower((unsigned char)name.p[i + 1]) == 'h' &&
               tolower((unsigned char)name.p[i + 2]) == 'i' && name.p[i + 3 + dash] == '3';
    }
    if (!phi3) return true;
    static const char *const not [] = {"<unk>", "<s>", "<|endoftext|>"};
    for (int32_t i = 0; i < v->n; i++)
        if (vocab_is_control(v, i) || v->type[i] == TOKEN_USER || str_is(v->text[i], "</s>"))
            v->flags[i] |= TOKEN_STRIPS_RIGHT;
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++) {
        int32_t id = find(v, not [i]);
        if (id >= 0) v->flags[id] &= (uint8_t)~TOKEN_STRIPS_RIGHT;
    }
    return true;
}

/* Whether a USER_DEFINED token is markup between model and program, which content must not form:
 * <|so|> and the like everywhere; in byte-level vocabularies also <this> (<tool_call>, <think>),
 * while SPM ones list HTML tags and runs of spaces that belong to ordinary text. */
static bool is_markup(const struct vocab *v, struct str t) {
    static const char *const open[] = {"<|", "<｜"}, *const close[] = {"|>", "｜>"};
    for (int i = 0; i < 2; i++)
        if (str_starts(t, str_of(open[i])) || str_ends(t, str_of(close[i]))) return true;
    return v->kind == VOCAB_BYTE_BPE && t.len > 2 && t.p[0] == '<' && t.p[t.len - 1] == '>';
}

static bool read_bool(const struct gguf *g, const char *key, bool *out, struct err *e) {
    return gguf_bool(g, key, out, e) || e->code == ERR_NONE;
}

bool vocab_read_special(struct vocab *v, const struct gguf *g, struct err *e) {
    struct vocab_special *s = &v->special;
    if (!read_ids(v, g, e)) return false;
    s->add_bos = v->kind != VOCAB_BYTE_BPE || pretok_flags(v->words) & PRETOK_ADD_BOS;
    v->add_space_prefix = v->kind == VOCAB_SPM;
    if (!read_bool(g, "tokenizer.ggml.add_bos_token", &s->add_bos, e) ||
        !read_bool(g, "tokenizer.ggml.add_eos_token", &s->add_eos, e))
        return false;
    if (v->kind == VOCAB_RAW_BPE) s->add_bos = true;
    if (v->kind == VOCAB_SPM &&
        !read_bool(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix, e))
        return false;
    find_by_text(v);
    mark_eog(v);
    mend_families(v);
    for (int32_t i = 0; i < v->n; i++)
        if (v->type[i] == TOKEN_USER && is_markup(v, v->text[i])) v->flags[i] |= TOKEN_IS_MARKER;
    return mark_stripping(v, g, e);
}
