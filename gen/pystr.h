/* Tables of tools/gen_pystr.py; all sorted by their first character, from U+0080. */
#ifndef HOLDFAST_GEN_PYSTR_H
#define HOLDFAST_GEN_PYSTR_H

#include <stdint.h>

struct pystr_case { /* first, first + step ... last: add delta */
    uint32_t first, last;
    int32_t step, delta;
};
struct pystr_many { /* upper-cases to several characters */
    uint32_t cp;
    const char *text;
};
struct pystr_range {
    uint32_t first, last;
};
extern const struct pystr_case pystr_upper[], pystr_lower[];
extern const struct pystr_many pystr_upper_many[];
extern const struct pystr_range pystr_unprintable[], pystr_alpha[];
extern const int n_pystr_upper, n_pystr_lower, n_pystr_upper_many, n_pystr_unprintable,
    n_pystr_alpha;

#endif
