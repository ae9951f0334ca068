/* The table of mixes and its three rules: the output head gets more bits, some layers of attn_v
 * and ffn_down get more bits, and a row that is no multiple of the block falls back to a type of
 * smaller blocks. */
#include "quant/mix.h"
#include "quant/quant.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

enum more { /* which layers of attn_v and ffn_down get `better` */
            NO_MORE,
            FIRST, /* the first four of attn_v, the first eighth of ffn_down */
            THIRDS /* the first and last eighth, and every third between them */
};

struct quant_mix {
    const char *name;
    int file_type; /* general.file_type */
    enum quant_type base;
    enum more more;
    enum quant_type better;
};

static const struct quant_mix mixes[] = {
    {"f32", 0, QUANT_F32, NO_MORE, 0},
    {"f16", 1, QUANT_F16, NO_MORE, 0},
    {"bf16", 32, QUANT_BF16, NO_MORE, 0},
    {"q8_0", 7, QUANT_Q8_0, NO_MORE, 0},
    {"q4_0", 2, QUANT_Q4_0, NO_MORE, 0},
    {"q4_1", 3, QUANT_Q4_1, NO_MORE, 0},
    {"q5_0", 8, QUANT_Q5_0, NO_MORE, 0},
    {"q5_1", 9, QUANT_Q5_1, NO_MORE, 0},
    {"q4_k_m", 15, QUANT_Q4_K, THIRDS, QUANT_Q6_K},
    {"q4_k_s", 14, QUANT_Q4_K, FIRST, QUANT_Q5_K},
    {"q5_k_m", 17, QUANT_Q5_K, THIRDS, QUANT_Q6_K},
    {"q5_k_s", 16, QUANT_Q5_K, NO_MORE, 0},
    {"q6_k", 18, QUANT_Q6_K, NO_MORE, 0},
    {"q2_k", 10, QUANT_Q2_K, NO_MORE, 0},
    {"q3_k", 11, QUANT_Q3_K, NO_MORE, 0},
    {"iq4_nl", 25, QUANT_IQ4_NL, NO_MORE, 0},
    {"iq4_xs", 30, QUANT_IQ4_XS, NO_MORE, 0},
    {"mxfp4", 38, QUANT_MXFP4, NO_MORE, 0},
    {"nvfp4", 39, QUANT_NVFP4, NO_MORE, 0},
};
enum { N_MIXES = sizeof mixes / sizeof *mixes };

/* Names of general.file_type that other programs write and no mix of ours has. */
static const struct {
    int file_type;
    const char *name;
} others[] = {
    {11, "q3_k_s"}, {12, "q3_k_m"}, {13, "q3_k_l"},  {19, "iq2_xxs"}, {20, "iq2_xs"},
    {21, "q2_k_s"}, {22, "iq3_xs"}, {23, "iq3_xxs"}, {24, "iq1_s"},   {26, "iq3_s"},
    {27, "iq3_m"},  {28, "iq2_s"},  {29, "iq2_m"},   {31, "iq1_m"},   {36, "tq1_0"},
    {37, "tq2_0"},  {40, "q1_0"},   {41, "q2_0"},
};

const struct quant_mix *quant_mix_by_name(const char *name) {
    for (int i = 0; i < N_MIXES; i++)
        if (strcasecmp(mixes[i].name, name) == 0) return &mixes[i];
    return NULL;
}

const char *quant_mix_name(int i) {
    return i >= 0 && i < N_MIXES ? mixes[i].name : NULL;
}

const char *quant_file_type_name(int64_t file_type) {
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].file_type == file_type) return others[i].name;
    for (int i = 0; i < N_MIXES; i++)
        if (mixes[i].file_type == file_type) return mixes[i].name;
    return NULL;
}

int quant_mix_file_type(const struct quant_mix *m) {
    return m->file_type;
}

/* What takes the place of a type whose blocks do not divide the row. */
static enum quant_type fall_back(enum quant_type t) {
    switch (t) {
    case QUANT_Q2_K:
    case QUANT_Q3_K:
        return QUANT_Q4_0;
    case QUANT_Q4_K:
        return QUANT_Q5_0;
    case QUANT_Q5_K:
        return QUANT_Q5_1;
    case QUANT_Q6_K:
        return QUANT_Q8_0;
    case QUANT_IQ4_XS:
    case QUANT_NVFP4:
        return QUANT_IQ4_NL;
    default:
        return QUANT_F16;
    }
}

static bool gets_more(const struct quant_mix *m, bool is_v, int layer, int n) {
    int eighth = n / 8;
    if (m->more == FIRST) return layer < (is_v ? 4 : eighth);
    return m->more == THIRDS && (layer < eighth || layer >= 7 * n / 8 || (layer - eighth) % 3 == 2);
}

int quant_mix_type(const struct quant_mix *m, const char *tensor, int64_t row, int layer,
                   int n_layer, bool tied) {
    enum quant_type t = m->base;
    bool quantized = quant_info((int)t)->block > 1;
    bool head = strcmp(tensor, tied ? "token_embd.weight" : "output.weight") == 0;
    bool is_v = strstr(tensor, ".attn_v.") != NULL, is_down = strstr(tensor, ".ffn_down") != NULL;
    if (strstr(tensor, ".ffn_gate_inp")) return QUANT_F32; /* a router decides, it is never cut */
    if (quantized && head && t != QUANT_Q8_0)
        t = row % quant_info((int)t)->block == 0 ? QUANT_Q6_K : QUANT_Q8_0;
    else if ((is_v || is_down) && gets_more(m, is_v, layer, n_layer)) t = m->better;
    while (row % quant_info((int)t)->block != 0) t = fall_back(t);
    return (int)t;
}
