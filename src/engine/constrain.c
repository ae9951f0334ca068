/* What an answer is bound to: a grammar that the request gives, or the grammar of a turn, made from
 * the template's call format and the tools. On the caller's thread; masks are the engine's. */
#include "base/json.h"
#include "base/limits.h"
#include "engine/constrain.h"
#include "sample/turn.h"

static struct grammar *from_choices(struct str source, struct err *e) {
    json_t *list = json_parse(source, LIMIT_GRAMMAR_BYTES, e);
    struct grammar *g = NULL;
    struct str *choice = list ? mem_array(json_array_size(list) + 1, sizeof *choice) : NULL;
    size_t n = json_array_size(list);
    bool ok = choice && n > 0;
    for (size_t i = 0; ok && i < n; i++) {
        const json_t *v = json_array_get(list, i);
        ok = json_is_string(v);
        if (ok) choice[i] = (struct str){json_string_value(v), json_string_length(v)};
    }
    if (ok) g = grammar_from_choices(choice, n, e);
    else if (list) err_set(e, ERR_ARG, "choices are a JSON array of strings, at least one");
    mem_free(choice);
    json_decref(list);
    return g;
}

static struct grammar *compile(void *ctx, struct buf *notes, struct err *e) {
    const struct hold_request_options *o = ctx;
    struct str source = str_of(o->grammar);
    switch (o->grammar_kind) {
    case HOLD_GRAMMAR_GBNF:
        return grammar_from_gbnf(source, e);
    case HOLD_GRAMMAR_SCHEMA:
        return grammar_from_schema(source, o->grammar_strict, notes, e);
    case HOLD_GRAMMAR_REGEX:
        return grammar_from_regex(source, e);
    case HOLD_GRAMMAR_CHOICES:
        return from_choices(source, e);
    case HOLD_GRAMMAR_LARK:
        return grammar_from_lark(source, e);
    case HOLD_GRAMMAR_NONE:
        break;
    }
    err_set(e, ERR_ARG, "no grammar of kind %d", (int)o->grammar_kind);
    return NULL;
}

/* Takes over the grammar; the masks of a model are made once, by the first request that needs them.
 */
static bool use(struct hold_request *r, struct grammar *g, struct err *e) {
    struct hold_model *m = r->model;
    if (!g) return err_prefix(e, "grammar");
    r->grammar = g;
    pthread_mutex_lock(&m->text_lock);
    if (!m->grammar_vocab) m->grammar_vocab = grammar_vocab_new(m->vocab, e);
    pthread_mutex_unlock(&m->text_lock);
    return m->grammar_vocab != NULL;
}

/* The grammar that make compiles, or one that a request with an equal key has left behind. */
static struct grammar *cached(struct hold_request *r, const struct buf *key, grammar_make make,
                              void *ctx, struct err *e) {
    if (key->failed) {
        err_nomem(e, "a grammar's key", key->len);
        return NULL;
    }
    return grammar_cache_get(r->model->grammars, buf_view(key), make, ctx, &r->notes, e);
}

bool constrain_text(struct hold_request *r, struct err *e) {
    if (r->o.grammar_kind == HOLD_GRAMMAR_NONE) return true;
    struct buf key = {0};
    buf_printf(&key, "text %d %d ", (int)r->o.grammar_kind, (int)r->o.grammar_strict);
    buf_cstr(&key, r->o.grammar);
    struct grammar *g = cached(r, &key, compile, &r->o, e);
    buf_free(&key);
    return use(r, g, e);
}

/* ---- turns -------------------------------------------------------------------------------- */
static struct turn_format format_of(const struct descr *d) {
    static const enum turn_syntax syntax[DESCR_N_SYNTAX] = {/* ORDER SYNTAX */
                                                            [DESCR_TAGS] = TURN_TAGS,
                                                            [DESCR_PYTHON] = TURN_PYTHON,
                                                            [DESCR_GEMMA] = TURN_GEMMA};
    static const enum turn_id id[] = {[DESCR_ID_NONE] = TURN_ID_NONE,
                                      [DESCR_ID_FIRST] = TURN_ID_FIRST,
                                      [DESCR_ID_SECOND] = TURN_ID_SECOND,
                                      [DESCR_ID_LAST] = TURN_ID_LAST};
    return (struct turn_format){.turn_open = d->turn_open,
                                .think_open = d->think_open,
                                .think_close = d->think_close,
                                .framed = d->framed,
                                .header_end = d->header_end,
                                .think_header = d->think_header,
                                .text_header = d->text_header,
                                .syntax = syntax[d->syntax],
                                .section_open = d->section_open,
                                .section_close = d->section_close,
                                .call_sep = d->call_sep,
                                .call_open = d->call_open,
                                .name_again = d->name_again,
                                .name_args = d->name_args,
                                .call_close = d->call_close,
                                .id_place = id[d->id_place],
                                .id_sep = d->id_sep,
                                .trigger = descr_trigger(d),
                                .param_open = d->param_open,
                                .key_close = d->key_close,
                                .value_close = d->value_close,
                                .param_sep = d->param_sep,
                                .key_close_json = d->key_close_json,
                                .quote = d->quote};
}

/* The tools that may be called: all, or the one of that name. */
static size_t pick_tools(const json_t *tools, const char *only, struct turn_tool *out) {
    size_t n = 0, i;
    const json_t *t;
    json_array_foreach(tools, i, t) {
        const json_t *f = json_object_get(t, "function");
        if (!f) f = t;
        struct str name = json_get_str(f, "name");
        if (!name.len || (only && !str_is(name, only))) continue;
        out[n++] = (struct turn_tool){name, json_object_get(f, "parameters")};
    }
    return n;
}

static struct grammar *make_turn(void *ctx, struct buf *notes, struct err *e) {
    struct turn_request q = *(struct turn_request *)ctx;
    q.notes = notes;
    return turn_grammar(&q, e);
}

static struct grammar *calls(struct hold_request *r, const struct prompt *p, struct err *e) {
    const struct hold_chat *c = r->o.chat;
    struct turn_format format = format_of(p->descr);
    struct turn_tool *tool = mem_array(json_array_size(p->tools) + 1, sizeof *tool);
    const char *only = c->tool_choice == HOLD_TOOLS_NAMED ? c->tool_name : NULL;
    if (!tool) {
        err_nomem(e, "tools", json_array_size(p->tools) * sizeof *tool);
        return NULL;
    }
    struct turn_request q = {.format = &format,
                             .vocab = r->model->vocab,
                             .tool = tool,
                             .n_tools = pick_tools(p->tools, only, tool),
                             .choice =
                                 c->tool_choice == HOLD_TOOLS_AUTO ? TURN_AUTO : TURN_REQUIRED,
                             .parallel = p->descr->parallel && !c->one_call,
                             .reasoning = prompt_opens_reasoning(p)};
    struct grammar *g = NULL;
    struct buf key = {0};
    buf_printf(&key, "calls %d %d %d %s ", q.choice, q.parallel, q.reasoning, only ? only : "");
    key.failed = !json_write(&key, p->tools);
    if (only && q.n_tools == 0) err_set(e, ERR_ARG, "there is no tool named '%s'", only);
    else g = cached(r, &key, make_turn, &q, e);
    buf_free(&key);
    mem_free(tool);
    return g;
}

static struct grammar *answer(struct hold_request *r, const struct prompt *p, struct err *e) {
    json_t *schema = json_parse(str_of(r->o.grammar), LIMIT_SCHEMA_BYTES, e);
    if (!schema) return NULL;
    struct turn_format format = format_of(p->descr);
    struct turn_request q = {.format = &format,
                             .vocab = r->model->vocab,
                             .choice = TURN_ANSWER,
                             .answer = schema,
                             .reasoning = prompt_opens_reasoning(p),
                             .strict = r->o.grammar_strict};
    struct buf key = {0};
    buf_printf(&key, "answer %d %d %d ", p->tools != NULL, q.strict, q.reasoning);
    buf_cstr(&key, r->o.grammar);
    struct grammar *g = cached(r, &key, make_turn, &q, e);
    buf_free(&key);
    json_decref(schema);
    return g;
}

bool constrain_chat(struct hold_request *r, const struct prompt *p, struct err *e) {
    const struct hold_chat *c = r->o.chat;
    bool has_tools = json_array_size(p->tools) > 0 && p->descr->syntax != DESCR_NO_CALLS;
    bool must_call = c->tool_choice == HOLD_TOOLS_REQUIRED || c->tool_choice == HOLD_TOOLS_NAMED;
    if (must_call && !has_tools)
        return err_set(e, ERR_ARG, "a tool call is required, but there are no tools");
    if (r->o.max_tokens == 0) return true;
    if (r->o.raw || (r->o.grammar_kind != HOLD_GRAMMAR_NONE && !must_call &&
                     r->o.grammar_kind != HOLD_GRAMMAR_SCHEMA))
        return constrain_text(r, e);
    r->grammar_is_turn = true;
    if (has_tools && r->o.grammar_kind != HOLD_GRAMMAR_NONE)
        buf_cstr(&r->notes, must_call ? "the grammar gives way to the required call\n"
                                      : "with a response schema no tool can be called\n");
    if (r->o.grammar_kind == HOLD_GRAMMAR_SCHEMA && !must_call) return use(r, answer(r, p, e), e);
    if (!has_tools) return true;
    struct grammar *g = calls(r, p, e);
    if (g || must_call || (e && e->code == ERR_NOMEM)) return use(r, g, e);
    buf_printf(&r->notes, "calls are not bound by their schemas: %s\n", e->msg);
    *e = (struct err){0};
    return true;
}
