/* Learns what a template refuses or drops: small conversations are rendered in each style until
 * all of their text comes out. Runs once per template; a few dozen renderings. */
#include "text/chat_impl.h"
#include "base/json.h"
#include "base/mem.h"

#include <string.h>

/* ---- one attempt */

static bool set_new(json_t *vars, const char *key, json_t *v) {
    return json_object_set_new(vars, key, v) == 0;
}

static json_t *text_value(struct str s) {
    return json_stringn(s.p ? s.p : "", s.len);
}

/* Dates that the reference gives to templates which do not call strftime_now. */
static bool set_dates(json_t *vars, const struct tm *now) {
    struct tm local;
    char a[32], b[32];
    time_t t = time(NULL);
    if (!now && localtime_r(&t, &local)) now = &local;
    if (!now) return true;
    strftime(a, sizeof a, "%d %b %Y", now);
    strftime(b, sizeof b, "%b %d %Y", now);
    return set_new(vars, "date_string", json_string(a)) &&
           set_new(vars, "datetime", json_string(b));
}

/* `tools` stays undefined without tools. Firefunction reads them as text from `functions`. */
static bool set_tools(json_t *vars, const json_t *tools) {
    struct buf text = {0};
    bool ok = tools ? json_write(&text, tools) : buf_cstr(&text, "[]");
    ok = ok && set_new(vars, "functions", text_value(buf_view(&text))) &&
         (!tools || json_object_set(vars, "tools", (json_t *)tools) == 0);
    buf_free(&text);
    return ok;
}

static json_t *make_vars(const struct chat_variables *v, const struct chat_work *w) {
    json_t *vars = json_object();
    bool ok = vars && set_new(vars, "bos_token", text_value(v->bos)) &&
              set_new(vars, "eos_token", text_value(v->eos)) && set_dates(vars, v->now) &&
              set_new(vars, "add_generation_prompt", json_boolean(v->prompt));
    if (ok && v->thinking >= 0)
        ok = set_new(vars, "enable_thinking", json_boolean(v->thinking > 0));
    if (ok) ok = set_tools(vars, w->style->v[STYLE_TOOLS] == 0 ? w->tools : NULL);
    if (ok && v->kwargs) ok = json_object_update(vars, (json_t *)v->kwargs) == 0;
    if (ok && json_object_set(vars, "messages", w->out) == 0) return vars;
    json_decref(vars);
    return NULL;
}

bool chat_attempt(const struct jinja *t, const struct chat_variables *v, struct chat_attempt *a,
                  struct err *e) {
    if (!chat_adapt(&a->work) || !(a->vars = make_vars(v, &a->work)))
        return err_nomem(e, "a conversation", 0);
    struct jinja_input in = {.vars = a->vars, .origin = chat_origin, .now = v->now};
    if (!jinja_render(t, &in, &a->out, e)) return false;
    return chat_check(&a->work, &a->out, &a->missing) || err_nomem(e, "a conversation", 0);
}

void chat_attempt_free(struct chat_attempt *a) {
    json_decref(a->vars);
    chat_work_free(&a->work);
    jinja_output_free(&a->out);
    chat_missing_free(&a->missing);
    *a = (struct chat_attempt){0};
}

/* ---- probing */

#define USER   "{'role':'user','content':'Marigold asks'}"
#define SYSTEM "{'role':'system','content':'Juniper rules'}"
#define ANSWER "{'role':'assistant','content':'Hyacinth replies'}"
#define CALLS(args, more)                                                                          \
    "'tool_calls':[{'id':'call_Zk3PqLr8','type':'function','function':{'name':'find_larch',"       \
    "'arguments':" args "}}" more "]"
#define CALL(content, args, more) "{'role':'assistant'," content CALLS(args, more) "}"
#define TOOL_CALLS                CALLS(ARGS, "")
#define NO_TEXT                   "'content':null,"
#define ARGS                      "{'spruce':'Tamarack words'}"
#define RESULT                                                                                     \
    "{'role':'tool','tool_call_id':'call_Zk3PqLr8','name':'find_larch','content':'Bilberry "       \
    "found'}"
#define SECOND_CALL                                                                                \
    ",{'id':'call_Mn7VwXy2','type':'function','function':{'name':'find_larch','arguments':"        \
    "{'spruce':'Sequoia words'}}}"
#define SECOND_RESULT                                                                              \
    "{'role':'tool','tool_call_id':'call_Mn7VwXy2','name':'find_larch','content':'Elder found'}"
#define REASONING(content, more)                                                                   \
    "{'role':'assistant','reasoning_content':'Foxglove ponders'," content more "}"

static const char probe_tools[] =
    "[{'type':'function','function':{'name':'find_larch','description':'Finds Larkspur',"
    "'parameters':{'type':'object','properties':{'spruce':{'type':'string','description':"
    "'Yarrow'}},'required':['spruce']}}}]";

enum { SEE_REASONING = 1 }; /* reasoning counts, not only content and calls */

/* In this order: later rows build on what earlier ones found. */
static const struct row {
    enum chat_axis axis;
    int n_options;
    bool tools;
    int see;
    const char *conversation[3];
} rows[] = {
    {STYLE_CONTENT, 2, false, 0, {USER}},
    {STYLE_SYSTEM, 2, false, 0, {SYSTEM "," USER}},
    {STYLE_REPEAT, 2, false, 0, {USER "," USER, USER "," ANSWER "," ANSWER "," USER}},
    {STYLE_SECOND, 2, false, 0, {SYSTEM "," SYSTEM "," USER}},
    {STYLE_DEVELOPER, 2, false, 0, {"{'role':'developer','content':'Juniper rules'}," USER}},
    {STYLE_OPENING, 2, false, 0, {ANSWER "," USER}},
    {STYLE_UNKNOWN, 2, false, 0, {USER ",{'role':'narrator','content':'Nettle tells'}," USER}},
    {STYLE_LATE,
     2,
     false,
     0,
     {SYSTEM "," USER "," ANSWER "," USER ",{'role':'system','content':'Nettle rules'}",
      USER ",{'role':'system','content':'Nettle rules'}," ANSWER "," USER}},
    {STYLE_TOOLS, 2, true, 0, {SYSTEM "," USER, USER}},
    {STYLE_CALLS, 2, true, 0, {USER "," CALL(NO_TEXT, ARGS, "") "," RESULT}},
    {STYLE_RESULTS, 2, true, 0, {USER "," CALL(NO_TEXT, ARGS, "") "," RESULT}},
    {STYLE_BESIDE, 2, true, 0, {USER "," CALL("'content':'Heather says',", ARGS, "") "," RESULT}},
    {STYLE_PARALLEL,
     2,
     true,
     0,
     {USER "," CALL(NO_TEXT, ARGS, SECOND_CALL) "," RESULT "," SECOND_RESULT}},
    {STYLE_SYSTEM,
     2,
     true,
     0,
     {SYSTEM "," USER "," CALL(NO_TEXT, ARGS, "") "," RESULT, SYSTEM "," USER "," ANSWER "," USER}},
    {STYLE_MALFORMED, 2, true, 0, {USER "," CALL(NO_TEXT, "'Aspen [broken'", "") "," RESULT}},
    {STYLE_RESUME,
     3,
     true,
     0,
     {USER "," CALL(NO_TEXT, ARGS, "") "," RESULT "," USER,
      USER "," CALL("'content':'Heather says',", ARGS, "") "," RESULT "," ANSWER "," USER}},
    {STYLE_REASONING,
     5,
     true,
     SEE_REASONING,
     {USER "," REASONING(NO_TEXT, TOOL_CALLS) "," RESULT,
      USER "," REASONING("'content':'Heather says',", TOOL_CALLS) "," RESULT}},
};

struct prober {
    const struct jinja *t;
    struct chat_variables v;
    struct chat_style *style;
    json_t *tools;
    struct err *e;
    bool no_memory;
};

/* The tables use ' for ". */
static json_t *parse(struct prober *p, const char *head, const char *text, const char *tail) {
    struct buf b = {0};
    buf_printf(&b, "%s%s%s", head, text, tail);
    for (size_t i = 0; i < b.len; i++)
        if (b.p[i] == '\'') b.p[i] = '"';
    json_t *v = b.failed ? NULL : json_parse(buf_view(&b), 1 << 16, p->e);
    if (!v) p->no_memory = true;
    buf_free(&b);
    return v;
}

/* How badly a conversation comes out: 0 is perfect. */
static int badness(struct prober *p, const char *conversation, bool tools, int see) {
    enum { REFUSED = 1000 };
    struct chat_attempt a = {.work = {.style = p->style, .tools = tools ? p->tools : NULL}};
    json_t *messages = parse(p, "[", conversation, "]");
    a.work.in = messages;
    int bad = REFUSED;
    if (messages && chat_attempt(p->t, &p->v, &a, p->e)) {
        const struct chat_missing *m = &a.missing;
        bad = 10 * (m->content + m->calls + m->tools) + m->garbage;
        if (see & SEE_REASONING) bad += m->reasoning;
    } else if (p->e->code == ERR_NOMEM) {
        p->no_memory = true;
    }
    chat_attempt_free(&a);
    json_decref(messages);
    return bad;
}

static int row_badness(struct prober *p, const struct row *row) {
    int bad = 0;
    for (int i = 0; i < 3 && row->conversation[i]; i++)
        bad += badness(p, row->conversation[i], row->tools, row->see);
    return bad;
}

/* Tries the options of one axis in order; keeps the first of the best. Returns its badness. */
static int choose(struct prober *p, const struct row *row, enum chat_axis axis, int n_options) {
    int best = INT32_MAX, at = 0;
    /* a role that the template does not know by name is none that its model was trained on */
    bool unknown = (axis == STYLE_DEVELOPER && !jinja_mentions(p->t, "developer")) ||
                   (axis == STYLE_RESULTS && !jinja_mentions(p->t, "tool"));
    for (int i = unknown; i < n_options && best > 0; i++) {
        p->style->v[axis] = (uint8_t)i;
        int bad = row_badness(p, row);
        if (bad < best) best = bad, at = i;
    }
    p->style->v[axis] = (uint8_t)at;
    return best;
}

/* Calls as such need the right kinds of arguments, ids and empty contents together; how results
 * look does not matter yet. */
static int choose_calls(struct prober *p, const struct row *row) {
    int best = INT32_MAX;
    struct chat_style keep = *p->style;
    for (int i = 0; i < 2 * 3 * 3 && best > 0; i++) {
        p->style->v[STYLE_ARGUMENTS] = (uint8_t)(i % 2);
        p->style->v[STYLE_EMPTY] = (uint8_t)(i / 2 % 3);
        p->style->v[STYLE_IDS] = (uint8_t)(i / 6);
        p->style->v[STYLE_RESULTS] = 0;
        int bad = row_badness(p, row);
        p->style->v[STYLE_RESULTS] = 1;
        int other = bad ? row_badness(p, row) : 0;
        p->style->v[STYLE_RESULTS] = 0;
        if (other < bad) bad = other;
        if (bad < best) best = bad, keep = *p->style;
    }
    *p->style = keep;
    if (best == 0) return 0;
    p->style->v[STYLE_CALLS] = 1;
    return row_badness(p, row);
}

static void note_axis(enum chat_axis axis, const struct chat_style *s, int bad, struct buf *notes) {
    static const char *const lost[STYLE_AXES] = {
        [STYLE_LATE] = "system messages further on",
        [STYLE_BESIDE] = "text beside tool calls",
        [STYLE_PARALLEL] = "parallel tool calls",
        [STYLE_RESULTS] = "tool results",
        [STYLE_REASONING] = "reasoning of earlier turns",
        [STYLE_MALFORMED] = "calls whose arguments are no JSON",
    };
    if (bad && lost[axis]) buf_printf(notes, "%s: not shown in full\n", lost[axis]);
    else if (s->v[axis] && chat_axis_note[axis] && axis != STYLE_UNKNOWN)
        buf_printf(notes, "%s\n", chat_axis_note[axis]);
}

static void set_can(struct chat_can *can, const struct chat_style *s, const int bad[STYLE_AXES]) {
    *can = (struct chat_can){.system = s->v[STYLE_SYSTEM] == 0 && bad[STYLE_SYSTEM] == 0,
                             .tools = s->v[STYLE_TOOLS] == 0 && bad[STYLE_TOOLS] == 0,
                             .calls = s->v[STYLE_CALLS] == 0,
                             .parallel = s->v[STYLE_CALLS] == 0 && s->v[STYLE_PARALLEL] == 0 &&
                                         bad[STYLE_PARALLEL] == 0,
                             .results = s->v[STYLE_RESULTS] == 0,
                             .reasoning = bad[STYLE_REASONING] == 0};
}

bool chat_probe(const struct jinja *t, struct str bos, struct str eos, struct chat_style *style,
                struct chat_can *can, struct buf *notes, struct err *e) {
    struct err first = {0};
    struct prober p = {.t = t, .v = {.bos = bos, .eos = eos, .thinking = -1, .prompt = true}};
    int bad[STYLE_AXES] = {0};
    *style = (struct chat_style){0};
    p.style = style;
    p.e = &first;
    p.tools = parse(&p, "", probe_tools, "");
    bool ok = p.tools != NULL;
    for (size_t i = 0; ok && i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        bad[row->axis] = row->axis == STYLE_CALLS ? choose_calls(&p, row)
                                                  : choose(&p, row, row->axis, row->n_options);
        ok = !p.no_memory && (row->axis != STYLE_CONTENT || bad[row->axis] == 0);
    }
    json_decref(p.tools);
    for (int i = 0; ok && i < STYLE_AXES; i++) note_axis((enum chat_axis)i, style, bad[i], notes);
    if (ok) set_can(can, style, bad);
    else if (p.no_memory || notes->failed) err_nomem(e, "probing a template", 0);
    else if (first.code) err_set(e, ERR_FORMAT, "%s", first.msg);
    else err_set(e, ERR_FORMAT, "it does not show the text of a user message");
    return ok && !notes->failed;
}
