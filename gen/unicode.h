/* General category and White_Space of code points. The table behind it is made by
 * tools/make_unicode.py. Code points above U+10FFFF are CN. */
#ifndef HOLDFAST_GEN_UNICODE_H
#define HOLDFAST_GEN_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

/* ORDER CATEGORY: tools/make_unicode.py, src/text/pretok.c */
enum unicode_category {
    UNICODE_CN,
    UNICODE_LU,
    UNICODE_LL,
    UNICODE_LT,
    UNICODE_LM,
    UNICODE_LO,
    UNICODE_MN,
    UNICODE_MC,
    UNICODE_ME,
    UNICODE_ND,
    UNICODE_NL,
    UNICODE_NO,
    UNICODE_PC,
    UNICODE_PD,
    UNICODE_PS,
    UNICODE_PE,
    UNICODE_PI,
    UNICODE_PF,
    UNICODE_PO,
    UNICODE_SM,
    UNICODE_SC,
    UNICODE_SK,
    UNICODE_SO,
    UNICODE_ZS,
    UNICODE_ZL,
    UNICODE_ZP,
    UNICODE_CC,
    UNICODE_CF,
    UNICODE_CO,
    UNICODE_CS
};
enum { UNICODE_N_CATEGORIES = UNICODE_CS + 1 };

enum unicode_category unicode_category(uint32_t cp);
bool unicode_is_space(uint32_t cp); /* White_Space: not U+200B, not U+FEFF */

#endif
