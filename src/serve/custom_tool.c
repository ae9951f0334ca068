/* Custom tools as functions (contract in custom_tool.h); the first string value in JSON that comes
 * in pieces is found and decoded. */
#include "serve/custom_tool.h"

#include <string.h>

/* x-lark is our own keyword. */
json_t *custom_parameters(const json_t *grammar) {
    json_t *rule = json_object_get(grammar, "definition");
    bool lark = str_is(json_get_str(grammar, "syntax"), "lark");
    json_t *input = json_pack("{s:s}", "type", "string");
    if (json_is_string(rule) && lark) json_object_set(input, "x-lark", rule);
    else if (json_is_string(rule)) /* a schema's pattern may match anywhere */
        json_object_set_new(input, "pattern", json_sprintf("^(?:%s)$", json_string_value(rule)));
    return json_pack("{s:s, s:{s:o}, s:[s], s:b}", "type", "object", "properties", "input", input,
                     "required", "input", "additionalProperties", 0);
}

json_t *custom_arguments(json_t *input) {
    struct buf text = {0};
    json_t *made = json_pack("{s:O}", "input", input);
    json_t *out = made && json_write(&text, made) ? json_text(buf_view(&text)) : NULL;
    json_decref(made);
    buf_free(&text);
    return out;
}

/* Half of a pair without the other half is no character. */
static void end_pair(struct custom_input *in, struct buf *out) {
    if (in->high) buf_utf8(out, 0xFFFD);
    in->high = 0;
}

static void add_code(struct custom_input *in, struct buf *out) {
    uint32_t c = in->code;
    if (in->high && c >= 0xDC00 && c < 0xE000) {
        buf_utf8(out, 0x10000 + ((in->high - 0xD800) << 10) + (c - 0xDC00));
        in->high = 0;
        return;
    }
    end_pair(in, out);
    if (c >= 0xD800 && c < 0xDC00) in->high = c;
    else buf_utf8(out, c >= 0xDC00 && c < 0xE000 ? 0xFFFD : c);
}

static void before(struct custom_input *in, char c) {
    if (in->quoted) in->quoted = c != '"';
    else if (c == ':') in->value = true;
    else if (c == '"' && in->value) in->at = INPUT_TEXT;
    else if (c == '"') in->quoted = true;
}

static void in_text(struct custom_input *in, char c, struct buf *out) {
    in->at = c == '\\' ? INPUT_ESCAPE : c == '"' ? INPUT_AFTER : INPUT_TEXT;
    if (in->at == INPUT_ESCAPE) return;
    end_pair(in, out);
    if (in->at == INPUT_TEXT) buf_char(out, c);
}

static void escape(struct custom_input *in, char c, struct buf *out) {
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *known = memchr(from, c, sizeof from - 1);
    in->at = c == 'u' ? INPUT_HEX : INPUT_TEXT;
    in->n_hex = 0;
    in->code = 0;
    if (c == 'u') return;
    end_pair(in, out);
    buf_char(out, known ? to[known - from] : c);
}

static void hex(struct custom_input *in, char c, struct buf *out) {
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *d = memchr(digits, c, sizeof digits - 1);
    uint32_t value = d ? (uint32_t)(d - digits) : 0;
    in->code = in->code * 16 + (value > 15 ? value - 6 : value);
    if (++in->n_hex < 4) return;
    in->at = INPUT_TEXT;
    add_code(in, out);
}

void custom_input_add(struct custom_input *in, struct str json, struct buf *out) {
    for (size_t i = 0; i < json.len; i++) {
        char c = json.p[i];
        switch (in->at) {
        case INPUT_BEFORE:
            before(in, c);
            break;
        case INPUT_TEXT:
            in_text(in, c, out);
            break;
        case INPUT_ESCAPE:
            escape(in, c, out);
            break;
        case INPUT_HEX:
            hex(in, c, out);
            break;
        case INPUT_AFTER:
            return;
        }
    }
}
