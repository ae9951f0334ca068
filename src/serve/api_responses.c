/* OpenAI's Responses API: routes. Responses are kept in memory unless store is false, so that
 * previous_response_id and GET find them. */
#include "serve/api_responses.h"
#include "serve/api_openai.h"
#include "serve/sse.h"

#include <string.h>

static bool open_ask(struct http_req *r, struct ask *k, struct responses_want *w) {
    struct serve *s = http_ctx(r);
    struct http_error e = {0};
    json_t *body = ask_body(r, &e);
    bool ok = body && responses_ask(k, s, http_key(r), body, w, &e);
    json_decref(body);
    if (ok) return true;
    openai_refuse(r, &e);
    responses_want_free(w);
    ask_free(k);
    return false;
}

static void create(struct http_req *r) {
    struct ask k = {0};
    struct responses_want w = {0};
    if (open_ask(r, &k, &w)) responses_run(r, &k, &w);
}

static void count(struct http_req *r) {
    struct ask k = {0};
    struct responses_want w = {0};
    struct hold_rendering text = {0};
    struct http_error e = {0};
    if (!open_ask(r, &k, &w)) return;
    bool ok = ask_chat(&k, &e);
    if (ok && !(ok = hold_render(k.entry->model, &k.chat, &text, &e.why)))
        e.status = ask_status(e.why.code);
    if (ok)
        json_reply(r, 200,
                   json_pack("{s:s, s:I}", "object", "response.input_tokens", "input_tokens",
                             (json_int_t)text.n_ids));
    else openai_refuse(r, &e);
    hold_rendering_free(&text);
    responses_want_free(&w);
    ask_free(&k);
}

static void missing(struct http_req *r, const char *id) {
    struct http_error e;
    ask_refuse(&e, 404, NULL, "there is no stored response '%.100s' (any more)", id);
    openai_refuse(r, &e);
}

/* /v1/responses/ID and /v1/responses/ID/input_items */
static void get(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct str rest = str_of(http_rest(r)), tail = STR("/input_items");
    bool want_items = str_ends(rest, tail);
    char *id = mem_strndup(rest.p, rest.len - (want_items ? tail.len : 0));
    json_t *found = id ? responses_store_get(s->responses, http_key(r), id,
                                             want_items ? RESPONSES_ITEMS : RESPONSES_RESPONSE)
                       : NULL;
    if (found && want_items)
        found = json_pack("{s:s, s:o, s:b}", "object", "list", "data", found, "has_more", 0);
    if (found) json_reply(r, 200, found);
    else missing(r, id ? id : "");
    mem_free(id);
}

static void delete (struct http_req *r) {
    struct serve *s = http_ctx(r);
    const char *id = http_rest(r);
    if (responses_store_delete(s->responses, http_key(r), id))
        json_reply(r, 200,
                   json_pack("{s:s, s:s, s:b}", "id", id, "object", "response", "deleted", 1));
    else missing(r, id);
}

static const struct http_route routes[] = {
    {"POST", "/v1/responses", create, openai_refuse, 0},
    {"POST", "/responses", create, openai_refuse, 0},
    {"POST", "/v1/responses/input_tokens", count, openai_refuse, 0},
    {"GET", "/v1/responses/*", get, openai_refuse, 0},
    {"DELETE", "/v1/responses/*", delete, openai_refuse, 0},
};
const struct http_routes responses_routes = {routes, sizeof routes / sizeof *routes};
