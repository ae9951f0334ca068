/* Rendering and tokenizing conversations (contract in prompt.h). */
#include "engine/prompt.h"
#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

enum { TAIL_BYTES = 4096 };

/* ---- templates ---------------------------------------------------------------------------- */
bool prompt_template_open(struct prompt_template *t, const struct gguf *g, const struct vocab *v,
                          struct str override, struct err *e) {
    *t = (struct prompt_template){.chat = chat_open_model(g, v, override, e)};
    if (!t->chat) return false;
    struct tokens a = {0};
    bool ok = vocab_tokenize(v, STR("a"), false, false, &a, e);
    t->space_prefix = ok && a.n && vocab_bytes(v, a.id[0], false).p[0] == ' ';
    tokens_free(&a);
    if (!ok) return false;
    for (int tools = 0; tools < 2; tools++) {
        const struct jinja *j = chat_jinja(t->chat, tools);
        t->has_descr[tools] = true;
        if (!descr_probe(&t->descr[tools], j, chat_bos(t->chat), chat_eos(t->chat), e))
            return false;
    }
    return true;
}

void prompt_template_close(struct prompt_template *t) {
    for (int tools = 0; tools < 2; tools++)
        if (t->has_descr[tools]) descr_free(&t->descr[tools]);
    chat_close(t->chat);
}

/* ---- rendering ---------------------------------------------------------------------------- */
static bool parse(json_t **out, const char *text, const char *what, bool array, struct err *e) {
    if (!text) return true;
    *out = json_parse(str_of(text), LIMIT_JSON_BYTES, e);
    if (!*out) return err_prefix(e, "%s", what);
    if (array ? json_is_array(*out) : json_is_object(*out)) return true;
    return err_set(e, ERR_ARG, "%s: expected a JSON %s", what, array ? "array" : "object");
}

bool prompt_render(struct prompt *p, const struct prompt_template *t, const struct replay *how,
                   const struct hold_chat *c, struct err *e) {
    struct str mark[DESCR_TAGS_MAX];
    *p = (struct prompt){0};
    if (!c->messages) return err_set(e, ERR_ARG, "a conversation has messages");
    if (!parse(&p->messages, c->messages, "messages", true, e) ||
        !parse(&p->kwargs, c->kwargs, "kwargs", false, e) ||
        !parse(&p->tools, c->tools, "tools", true, e))
        return false;
    if (json_array_size(p->tools) == 0 || c->tool_choice == HOLD_TOOLS_NONE) {
        json_decref(p->tools);
        p->tools = NULL;
    }
    p->descr = &t->descr[p->tools != NULL];
    struct chat_request q = {.messages = p->messages,
                             .tools = p->tools,
                             .kwargs = p->kwargs,
                             .thinking = c->thinking,
                             .no_prompt = c->no_generation_turn,
                             .continue_last = c->continue_last,
                             .markers = mark,
                             .n_markers = descr_tags(p->descr, mark)};
    struct replay with = *how;
    with.messages = p->messages;
    with.space_prefix = t->space_prefix;
    with.prompt = p->descr->prompt;
    return chat_render(t->chat, &q, &p->text, e) && replay_tokenize(&with, &p->text, &p->ids, e);
}

void prompt_free(struct prompt *p) {
    chat_rendering_free(&p->text);
    tokens_free(&p->ids);
    json_decref(p->messages);
    json_decref(p->tools);
    json_decref(p->kwargs);
}

struct str prompt_tail(const struct prompt *p) {
    struct str all = buf_view(&p->text.text);
    size_t skip = all.len > TAIL_BYTES ? all.len - TAIL_BYTES : 0;
    while (skip < all.len && ((unsigned char)all.p[skip] & 0xC0) == 0x80) skip++;
    return (struct str){all.p + skip, all.len - skip};
}

static struct str trimmed(struct str s) {
    while (s.len && strchr(" \t\r\n", s.p[s.len - 1])) s.len--;
    while (s.len && strchr(" \t\r\n", *s.p)) s.p++, s.len--;
    return s;
}

bool prompt_opens_reasoning(const struct prompt *p) {
    struct str open = trimmed(p->descr->think_open);
    return open.len && p->descr->think_close.len && str_ends(trimmed(prompt_tail(p)), open);
}
