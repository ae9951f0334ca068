/* What a rendering shows of its messages: the bytes of each message are found through their
 * origin, so this needs no knowledge of the template. Letters and digits count; white space and
 * punctuation may be trimmed or escaped. */
#include "text/chat_impl.h"
#include "base/json.h"
#include "base/mem.h"

#include <string.h>

/* ---- origins */

static bool is_known_role(const json_t *v) {
    static const char *const roles[] = {"system",   "user",      "assistant",
                                        "tool",     "developer", "model",
                                        "function", "ipython",   "latest_reminder"};
    const char *s = json_string_value(v);
    for (size_t i = 0; s && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(s, roles[i]) == 0) return true;
    return false;
}

static enum chat_part message_part(const char *key, const json_t *value) {
    static const struct {
        const char *key;
        enum chat_part part;
    } parts[] = {{"content", CHAT_CONTENT},
                 {"reasoning_content", CHAT_REASONING},
                 {"thinking", CHAT_REASONING},
                 {"reasoning", CHAT_REASONING},
                 {"tool_calls", CHAT_CALL}};
    /* some templates make a token of the role: '<|' + role + '|>' */
    if (strcmp(key, "role") == 0 && is_known_role(value)) return CHAT_TEMPLATE;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(key, parts[i].key) == 0) return parts[i].part;
    return CHAT_MESSAGE;
}

uint32_t chat_origin(void *ctx, uint32_t parent, const char *key, size_t index,
                     const json_t *value) {
    (void)ctx;
    uint32_t above = parent >> CHAT_PART_BITS << CHAT_PART_BITS;
    enum chat_part part = chat_part_of(parent);
    if (parent == JINJA_TEMPLATE) {
        if (strcmp(key, "messages") == 0) return CHAT_MESSAGE;
        if (strcmp(key, "tools") == 0 || strcmp(key, "functions") == 0) return CHAT_TOOLS;
        bool token = strcmp(key, "bos_token") == 0 || strcmp(key, "eos_token") == 0;
        return token ? JINJA_TEMPLATE : CHAT_VARIABLE;
    }
    if (part == CHAT_MESSAGE && above == 0)
        return ((uint32_t)index + 1) << CHAT_PART_BITS | CHAT_MESSAGE;
    if (part == CHAT_MESSAGE && key) {
        enum chat_part own = message_part(key, value);
        return own == CHAT_TEMPLATE ? JINJA_TEMPLATE : above | own;
    }
    if (part == CHAT_CONTENT && key && strcmp(key, "thinking") == 0) return above | CHAT_REASONING;
    return parent;
}

/* ---- comparing */

static bool counts(unsigned char c) {
    return c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* Letters and digits only; unescape: \n, \" and \uXXXX are skipped, as JSON text shows them. */
static bool squeeze(struct buf *out, struct str s, bool unescape) {
    buf_clear(out);
    for (size_t i = 0; i < s.len; i++) {
        if (unescape && s.p[i] == '\\') i += i + 1 < s.len && s.p[i + 1] == 'u' ? 5 : 1;
        else if (counts((unsigned char)s.p[i])) buf_char(out, s.p[i]);
    }
    return buf_add(out, "", 0);
}

/* A text that holds a whole thinking block is shown when what stands behind the block is. */
static struct str behind_thinking(struct str s) {
    static const char *const closes[] = {"</think>", "[/THINK]", "<channel|>"};
    for (size_t k = 0; k < sizeof closes / sizeof *closes; k++) {
        struct str close = str_of(closes[k]);
        for (int64_t hit; (hit = str_find(s, close, 0)) >= 0;) {
            size_t skip = (size_t)hit + close.len;
            s = (struct str){s.p + skip, s.len - skip};
        }
    }
    return s;
}

struct compare {
    struct buf want, got;
    bool failed;
};

static bool shows(struct compare *c, struct str got, struct str want) {
    if (want.len == 0) return true;
    if (got.len >= want.len && str_find(got, want, 0) >= 0) return true; /* the usual case */
    for (int unescape = 0; unescape < 2; unescape++) {
        if (!squeeze(&c->want, want, false) || !squeeze(&c->got, got, unescape)) c->failed = true;
        if (str_find(buf_view(&c->got), buf_view(&c->want), 0) >= 0) return true;
        if (squeeze(&c->want, want, unescape) &&
            str_find(buf_view(&c->got), buf_view(&c->want), 0) >= 0)
            return true;
    }
    return false;
}

static bool shows_content(struct compare *c, struct str got, const json_t *content,
                          bool assistant) {
    if (json_is_string(content)) {
        struct str s = {json_string_value(content), json_string_length(content)};
        return shows(c, got, assistant ? behind_thinking(s) : s);
    }
    size_t i;
    json_t *part;
    json_array_foreach(content, i, part) {
        struct str text = json_get_str(part, "text");
        if (!shows(c, got, text)) return false;
    }
    return true;
}

/* Every string in the arguments. */
static bool shows_leaves(struct compare *c, struct str got, const json_t *v) {
    size_t i;
    const char *key;
    json_t *x;
    if (json_is_string(v))
        return shows(c, got, (struct str){json_string_value(v), json_string_length(v)});
    json_array_foreach(v, i, x) {
        if (!shows_leaves(c, got, x)) return false;
    }
    if (json_is_object(v)) json_object_foreach((json_t *)v, key, x) {
            if (!shows(c, got, str_of(key)) || !shows_leaves(c, got, x)) return false;
        }
    return true;
}

/* An object that is written as a JSON string shows every quote escaped: the model would learn to
 * write its arguments so. */
static bool is_double_encoded(struct str got, const json_t *args) {
    return json_is_string(args) && str_find(got, STR("{\\\""), 0) >= 0;
}

static bool shows_calls(struct compare *c, struct str got, const json_t *calls) {
    size_t i;
    json_t *call;
    json_array_foreach(calls, i, call) {
        const json_t *f = json_object_get(call, "function"),
                     *args = json_object_get(f, "arguments");
        if (!shows(c, got, json_get_str(f, "name")) || !shows_leaves(c, got, args)) return false;
        if (is_double_encoded(got, args)) return false;
    }
    return true;
}

/* ---- a whole rendering */

enum { SHOWN_CONTENT, SHOWN_REASONING, SHOWN_CALL, SHOWN_KINDS };

struct shown {
    struct buf text[SHOWN_KINDS];
};

static int shown_kind(enum chat_part part) {
    return part == CHAT_CONTENT     ? SHOWN_CONTENT
           : part == CHAT_REASONING ? SHOWN_REASONING
           : part == CHAT_CALL      ? SHOWN_CALL
                                    : -1;
}

/* Sorts the output's bytes by message and part. */
static bool gather(const struct jinja_output *out, struct shown *s, size_t n, struct buf *tools) {
    bool ok = true;
    for (size_t i = 0; i < out->n_run; i++) {
        size_t from = out->run[i].start,
               to = i + 1 < out->n_run ? out->run[i + 1].start : out->text.len;
        enum chat_part part = chat_part_of(out->run[i].origin);
        int at = chat_index_of(out->run[i].origin), kind = shown_kind(part);
        struct buf *b = part == CHAT_TOOLS                       ? tools
                        : kind >= 0 && at >= 0 && (size_t)at < n ? &s[at].text[kind]
                                                                 : NULL;
        if (b) ok = buf_add(b, out->text.p + from, to - from) && ok;
    }
    return ok;
}

static void mark(struct chat_missing *m, const struct chat_work *w, size_t at) {
    int from = w->from[at];
    if (from >= 0 && (size_t)from < m->n) m->message[from] = true;
}

static struct str reasoning_of(const json_t *message) {
    static const char *const keys[] = {"reasoning_content", "thinking", "reasoning"};
    struct str s = {0};
    for (size_t i = 0; s.len == 0 && i < 3; i++) s = json_get_str(message, keys[i]);
    return s;
}

static void check_message(struct compare *c, const struct chat_work *w, size_t i, struct shown *s,
                          struct chat_missing *m) {
    const json_t *message = json_array_get(w->out, i),
                 *content = json_object_get(message, "content");
    const json_t *calls = json_object_get(message, "tool_calls");
    struct str role = json_get_str(message, "role"), text = buf_view(&s->text[SHOWN_CONTENT]);
    if (!shows_content(c, text, content, str_is(role, "assistant"))) m->content++, mark(m, w, i);
    if ((!content || json_is_null(content)) && text.len) m->garbage++;
    /* a list of parts printed as a Python list: its keys come out */
    if (json_is_array(content) && str_find(text, STR("type"), 0) >= 0) m->garbage++;
    if (!shows(c, buf_view(&s->text[SHOWN_REASONING]), reasoning_of(message))) m->reasoning++;
    if (calls && !shows_calls(c, buf_view(&s->text[SHOWN_CALL]), calls)) m->calls++, mark(m, w, i);
}

bool chat_check(const struct chat_work *w, const struct jinja_output *out, struct chat_missing *m) {
    struct compare c = {0};
    struct buf tools = {0};
    struct shown *s = mem_calloc(w->n ? w->n : 1, sizeof *s);
    *m = (struct chat_missing){.n = json_array_size(w->in)};
    m->message = mem_calloc(m->n ? m->n : 1, sizeof *m->message);
    bool ok = s && m->message && gather(out, s, w->n, &tools);
    for (size_t i = 0; ok && i < w->n; i++) check_message(&c, w, i, &s[i], m);
    size_t k;
    json_t *tool;
    if (ok && w->style->v[STYLE_TOOLS] == 0) json_array_foreach(w->tools, k, tool) {
            const json_t *f = json_object_get(tool, "function");
            m->tools += !shows(&c, buf_view(&tools), json_get_str(f, "name"));
        }
    for (size_t i = 0; s && i < w->n; i++)
        for (int j = 0; j < SHOWN_KINDS; j++) buf_free(&s[i].text[j]);
    mem_free(s);
    buf_free(&tools);
    buf_free(&c.want);
    buf_free(&c.got);
    return ok && !c.failed;
}

void chat_missing_free(struct chat_missing *m) {
    mem_free(m->message);
    *m = (struct chat_missing){0};
}
