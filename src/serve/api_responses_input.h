/* The text in a custom tool's call. The model writes {"input": "TEXT"}; the client gets TEXT, piece
 * by piece as it comes. */
#ifndef HOLDFAST_SERVE_API_RESPONSES_INPUT_H
#define HOLDFAST_SERVE_API_RESPONSES_INPUT_H

#include "base/str.h"

/* Zero-initialise. */
struct responses_input {
    enum { INPUT_BEFORE, INPUT_TEXT, INPUT_ESCAPE, INPUT_HEX, INPUT_AFTER } at;
    bool quoted, value; /* in a name's quotes; a colon was there */
    int n_hex;
    uint32_t code, high; /* of \uXXXX; the first half of a surrogate pair */
};
/* Appends what these bytes of the arguments say of the text. */
void responses_input_add(struct responses_input *in, struct str json, struct buf *out);

#endif
