/* Thin over jansson: limits before parsing, errors in our form. */
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"

/* Brackets outside strings; jansson's own limit is 2048 deep, ours is lower. */
static bool depth_ok(struct str s) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (quoted) {
            if (c == '\\') i++;
            else if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > LIMIT_JSON_DEPTH) return false;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return true;
}

/* jansson's lexer cannot take a refusal: without memory for the token it reads it asserts. So what
 * a token of the whole text would take, twice while it is moved, is asked for first. */
static bool room_for(struct str text, struct err *e) {
    size_t bytes = 4 * text.len;
    void *probe = mem_alloc(bytes + 1);
    mem_free(probe);
    return probe || err_nomem(e, "JSON", bytes);
}

json_t *json_parse(struct str text, size_t max_bytes, struct err *e) {
    if (text.len > max_bytes) {
        err_set(e, ERR_LIMIT, "JSON of %zu bytes is larger than the limit of %zu", text.len,
                max_bytes);
        return NULL;
    }
    if (!depth_ok(text)) {
        err_set(e, ERR_LIMIT, "JSON is nested deeper than %d levels", LIMIT_JSON_DEPTH);
        return NULL;
    }
    if (!room_for(text, e)) return NULL;
    json_error_t je;
    json_t *v = json_loadb(text.p ? text.p : "", text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
    if (!v)
        err_set_at(e, json_error_code(&je) == json_error_out_of_memory ? ERR_NOMEM : ERR_FORMAT,
                   je.position, "JSON line %d column %d: %s", je.line, je.column, je.text);
    return v;
}

static int add(const char *data, size_t len, void *out) {
    return buf_add(out, data, len) ? 0 : -1;
}

bool json_write(struct buf *out, const json_t *value) {
    return json_dump_callback(value, add, out, JSON_COMPACT | JSON_ENCODE_ANY) == 0;
}

struct str json_get_str(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);
    if (!json_is_string(v)) return (struct str){0};
    return (struct str){json_string_value(v), json_string_length(v)};
}

json_t *json_text(struct str s) {
    struct buf clean = {0};
    json_t *out =
        buf_clean(&clean, s) ? json_stringn_nocheck(clean.p ? clean.p : "", clean.len) : NULL;
    buf_free(&clean);
    return out;
}

json_t *json_load(const char *path, size_t max_bytes, struct err *e) {
    struct os_map map;
    if (!os_map_open(&map, path, e)) return NULL;
    json_t *v = json_parse((struct str){(const char *)map.data, map.len}, max_bytes, e);
    os_map_close(&map);
    if (!v) err_prefix(e, "%s", path);
    return v;
}
