/* Base64 (RFC 4648, section 4), with padding. */
#ifndef HOLDFAST_BASE_BASE64_H
#define HOLDFAST_BASE_BASE64_H

#include "base/str.h"

bool base64_encode(struct buf *out, const void *data, size_t len);
/* false: it is no base64, or no memory; what was appended before the fault stays. */
bool base64_decode(struct buf *out, struct str text);

#endif
