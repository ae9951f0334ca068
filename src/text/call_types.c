/* What the schemas of the tools say about a parameter: whether its value may be a string, may be
 * something else, or is unknown. Follows $ref inside the tool's schema and the combining keywords.
 */
#include "text/toolcall_impl.h"

#include <string.h>

const json_t *call_tool(const json_t *tools, struct str name) {
    size_t i;
    json_t *tool;
    json_array_foreach(tools, i, tool) {
        json_t *f = json_object_get(tool, "function");
        if (!json_is_object(f)) f = tool;
        const json_t *n = json_object_get(f, "name");
        if (json_is_string(n) &&
            str_eq(name, (struct str){json_string_value(n), json_string_length(n)}))
            return f;
    }
    return NULL;
}

static unsigned type_name(const char *t) {
    return !t ? TYPE_UNKNOWN : strcmp(t, "string") == 0 ? TYPE_STRING : TYPE_OTHER;
}

static unsigned value_types(const json_t *values) {
    unsigned mask = 0;
    size_t i;
    json_t *v;
    json_array_foreach(values, i, v) mask |= json_is_string(v) ? TYPE_STRING : TYPE_OTHER;
    return mask;
}

/* "#/$defs/x" inside root. */
static const json_t *resolve(const json_t *root, const char *ref) {
    if (!ref || ref[0] != '#') return NULL;
    const json_t *at = root;
    for (ref++; at && *ref == '/';) {
        size_t n = strcspn(++ref, "/");
        char key[LIMIT_CALL_NAME];
        if (n >= sizeof key) return NULL;
        memcpy(key, ref, n);
        key[n] = 0;
        at = json_object_get(at, key);
        ref += n;
    }
    return at;
}

static unsigned schema_types(const json_t *root, const json_t *schema, int depth);

/* The union of what the schemas of a list allow. */
static unsigned any_of(const json_t *root, const json_t *list, int depth) {
    unsigned mask = 0;
    size_t i;
    json_t *s;
    json_array_foreach(list, i, s) mask |= schema_types(root, s, depth + 1);
    return mask;
}

static unsigned schema_types(const json_t *root, const json_t *schema, int depth) {
    if (!json_is_object(schema) || depth > 16) return TYPE_UNKNOWN;
    const json_t *ref = json_object_get(schema, "$ref");
    if (ref) return schema_types(root, resolve(root, json_string_value(ref)), depth + 1);
    unsigned mask = 0;
    const json_t *type = json_object_get(schema, "type");
    if (json_is_string(type)) mask |= type_name(json_string_value(type));
    size_t i;
    json_t *t;
    json_array_foreach(type, i, t) mask |= type_name(json_string_value(t));
    if (mask) return mask;
    const json_t *constant = json_object_get(schema, "const");
    if (constant) return json_is_string(constant) ? TYPE_STRING : TYPE_OTHER;
    mask = value_types(json_object_get(schema, "enum"));
    static const char *const lists[] = {"anyOf", "oneOf", "allOf"};
    for (i = 0; !mask && i < sizeof lists / sizeof *lists; i++)
        mask = any_of(root, json_object_get(schema, lists[i]), depth);
    if (!mask && json_object_get(schema, "properties")) mask = TYPE_OTHER;
    return mask ? mask : TYPE_UNKNOWN;
}

unsigned call_type(const json_t *tools, struct str tool, struct str param) {
    const json_t *f = call_tool(tools, tool);
    static const char *const names[] = {"parameters", "input_schema", "inputSchema"};
    const json_t *schema = NULL;
    for (size_t i = 0; !schema && i < sizeof names / sizeof *names; i++)
        schema = json_object_get(f, names[i]);
    const json_t *properties = json_object_get(schema, "properties");
    const char *key;
    json_t *s;
    json_object_foreach((json_t *)(uintptr_t)properties, key, s) {
        if (str_is(param, key)) return schema_types(schema, s, 0);
    }
    return TYPE_UNKNOWN;
}
