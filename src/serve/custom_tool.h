/* OpenAI's custom tools, which take one free text, bound by a grammar perhaps. To the model they
 * are functions of {"input": "TEXT"}; the client gets TEXT, piece by piece as it comes. */
#ifndef HOLDFAST_SERVE_CUSTOM_TOOL_H
#define HOLDFAST_SERVE_CUSTOM_TOOL_H

#include "base/json.h"
#include "base/str.h"

/* The parameters of the function. grammar: an object with `syntax` and `definition`, or NULL. */
json_t *custom_parameters(const json_t *grammar);
/* The arguments of the function, as JSON text; NULL: no memory. */
json_t *custom_arguments(json_t *input);

/* Finds the text in the arguments. Zero-initialise. */
struct custom_input {
    enum { INPUT_BEFORE, INPUT_TEXT, INPUT_ESCAPE, INPUT_HEX, INPUT_AFTER } at;
    bool quoted, value; /* in a name's quotes; a colon was there */
    int n_hex;
    uint32_t code, high; /* of \uXXXX; the first half of a surrogate pair */
};
/* Appends what these bytes of the arguments say of the text. */
void custom_input_add(struct custom_input *in, struct str json, struct buf *out);

#endif
