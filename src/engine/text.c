/* Text functions of the public API; any thread. */
#include "base/limits.h"
#include "engine/engine.h"

#include <string.h>

bool hold_tokenize(const struct hold_model *m, const char *text, size_t len, int flags,
                   int32_t **ids, size_t *n, struct hold_error *error) {
    struct err e = {0};
    struct tokens t = {0};
    bool ok = len <= LIMIT_PROMPT_BYTES ||
              err_set(&e, ERR_LIMIT, "a text of %zu bytes is larger than the limit of %d", len,
                      LIMIT_PROMPT_BYTES);
    ok = ok && vocab_tokenize(m->vocab, (struct str){text, len}, flags & HOLD_ADD_SPECIAL,
                              flags & HOLD_PARSE_SPECIAL, &t, &e);
    if (!ok) {
        error_out(error, &e);
        tokens_free(&t);
        return false;
    }
    *ids = t.id;
    *n = t.n;
    return true;
}

bool hold_detokenize(const struct hold_model *m, const int32_t *ids, size_t n, int flags,
                     char **text, size_t *len, struct hold_error *error) {
    struct err e = {0};
    struct buf b = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = (ids[i] >= 0 && ids[i] < m->info.n_vocab) ||
             err_set(&e, ERR_ARG, "token %zu is %d; the vocabulary has %d", i, (int)ids[i],
                     (int)m->info.n_vocab);
    if (ok && !vocab_detokenize(m->vocab, ids, n, flags & HOLD_PARSE_SPECIAL, &b))
        ok = err_nomem(&e, "a text", n);
    if (ok && !buf_add(&b, "", 0)) ok = err_nomem(&e, "a text", n);
    if (!ok) {
        error_out(error, &e);
        buf_free(&b);
        return false;
    }
    *text = b.p;
    *len = b.len;
    return true;
}

const char *hold_token_bytes(const struct hold_model *m, int32_t id, size_t *len) {
    struct str s = {0};
    if (id >= 0 && id < m->info.n_vocab) s = vocab_bytes(m->vocab, id, true);
    *len = s.len;
    return s.p ? s.p : "";
}

bool hold_token_is_end(const struct hold_model *m, int32_t id) {
    return id >= 0 && id < m->info.n_vocab && vocab_is_eog(m->vocab, id);
}

bool hold_render(const struct hold_model *m, const struct hold_chat *c, struct hold_rendering *out,
                 struct hold_error *error) {
    struct err e = {0};
    struct prompt p;
    *out = (struct hold_rendering){0};
    bool ok = prompt_render(&p, &m->templates, &(struct replay){.vocab = m->vocab}, c, &e);
    if (ok) {
        const struct buf *text = &p.text.text, *notes = &p.text.notes;
        out->text = mem_strndup(text->p ? text->p : "", text->len);
        out->text_len = text->len;
        out->notes = mem_strndup(notes->p ? notes->p : "", notes->len);
        out->ids = p.ids.id;
        out->n_ids = p.ids.n;
        p.ids = (struct tokens){0};
        ok = (out->text && out->notes) || err_nomem(&e, "a rendering", text->len);
    }
    prompt_free(&p);
    if (ok) return true;
    error_out(error, &e);
    hold_rendering_free(out);
    return false;
}

void hold_rendering_free(struct hold_rendering *r) {
    mem_free(r->text);
    mem_free(r->ids);
    mem_free(r->notes);
    *r = (struct hold_rendering){0};
}
