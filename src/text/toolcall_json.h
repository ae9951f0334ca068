/* JSON as models write it, byte by byte: checked, and passed on as valid JSON text. */
#ifndef HOLDFAST_TEXT_TOOLCALL_JSON_H
#define HOLDFAST_TEXT_TOOLCALL_JSON_H

#include <stdbool.h>

#include "base/limits.h"
#include "base/str.h"

enum json_state {
    SCAN_VALUE,
    SCAN_FIRST_ITEM,
    SCAN_FIRST_KEY,
    SCAN_KEY,
    SCAN_COLON,
    SCAN_NEXT,
    SCAN_STRING,
    SCAN_ESCAPE,
    SCAN_HEX,
    SCAN_WORD,
    SCAN_NUMBER,
    SCAN_END
};
struct json_scan {
    enum json_state state;
    unsigned char is_object[LIMIT_JSON_DEPTH / 8 + 1];
    int depth, hex, number;
    bool in_key;
    const char *word_text, *word; /* true, false, null (or Python's), and its rest */
    const char *word_json;
};
enum json_step { SCAN_MORE, SCAN_DONE, SCAN_DONE_BEFORE, SCAN_BAD };
void json_scan_start(struct json_scan *s);
/* Takes one byte and appends what it means to out: raw control characters in strings become
 * escapes, Python's words JSON's. DONE: the value ended with this byte; DONE_BEFORE: with the one
 * before. */
enum json_step json_scan_byte(struct json_scan *s, char c, struct buf *out);
/* Ends a number at the end of its text. */
bool json_scan_end(struct json_scan *s);

/* Appends text as a JSON string's inside. */
void json_escape(struct buf *out, struct str text);
/* A JSON string's text (with quotes) decoded into out. */
bool json_unescape(struct str quoted, struct buf *out);
/* Whether the text is exactly one JSON value; out gets it, white space trimmed. */
bool json_whole(struct str text, struct buf *out);

#endif
