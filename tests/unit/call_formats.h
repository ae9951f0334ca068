/* Call formats of our own invention, one per syntax and feature of a descriptor, for the tests and
 * the fuzz target of the output parser. */
#ifndef HOLDFAST_TESTS_CALL_FORMATS_H
#define HOLDFAST_TESTS_CALL_FORMATS_H

#include "text/descr.h"

enum {
    FORMAT_OBJECT,
    FORMAT_ARRAY,
    FORMAT_NAMED,
    FORMAT_JSON,
    FORMAT_JSON_ID,
    FORMAT_TAGS,
    FORMAT_KEYS,
    FORMAT_TYPED,
    FORMAT_PYTHON,
    FORMAT_GEMMA,
    FORMAT_FRAMED,
    FORMAT_BARE,
    N_FORMATS
};

#define T(literal)                                                                                 \
    { literal, sizeof(literal) - 1 }
#define CHAT                                                                                       \
    .turn_open = T("<|me|>\n"), .prompt = T("<|me|>\n"), .think_open = T("<muse>"),                \
    .think_close = T("</muse>"), .ends = {T("<|over|>")}, .n_ends = 1, .parallel = true

static const struct descr call_formats[N_FORMATS] = {
    [FORMAT_OBJECT] = {CHAT, .syntax = DESCR_OBJECT, .call_open = T("<call>\n{\"name\": \""),
                       .name_args = T("\", \"arguments\": "), .call_close = T("}\n</call>"),
                       .call_sep = T("\n"), .name_key = T("name"), .args_key = T("arguments")},
    [FORMAT_ARRAY] = {CHAT, .syntax = DESCR_OBJECT, .array = true, .section_open = T("<calls>["),
                      .section_close = T("]</calls>"), .call_open = T("{\"tool\": \""),
                      .name_args = T("\", \"with\": "), .id_sep = T(", \"ref\": \""),
                      .id_place = DESCR_ID_LAST, .call_close = T("\"}"), .call_sep = T(", "),
                      .name_key = T("tool"), .args_key = T("with"), .id_key = T("ref")},
    [FORMAT_NAMED] = {CHAT, .syntax = DESCR_NAMED, .array = true, .section_open = T("<calls>["),
                      .section_close = T("]</calls>"), .call_open = T("{\""),
                      .name_args = T("\": "), .call_close = T("}"), .call_sep = T(", ")},
    [FORMAT_JSON] = {CHAT, .syntax = DESCR_JSON, .call_open = T("[CALL]"),
                     .name_args = T("[WITH]")},
    [FORMAT_JSON_ID] = {CHAT, .syntax = DESCR_JSON, .section_open = T("<|calls|>"),
                        .section_close = T("<|end calls|>"), .call_open = T("<|call|>fn."),
                        .id_place = DESCR_ID_SECOND, .id_sep = T(":"), .name_args = T("<|with|>"),
                        .call_close = T("<|end call|>")},
    [FORMAT_TAGS] = {CHAT, .syntax = DESCR_TAGS, .call_open = T("<call>\n<tool="),
                     .name_args = T(">\n"), .call_close = T("\n</tool>\n</call>"),
                     .call_sep = T("\n"), .param_open = T("<arg="), .key_close = T(">\n"),
                     .value_close = T("\n</arg>"), .param_sep = T("\n")},
    [FORMAT_KEYS] = {CHAT, .syntax = DESCR_TAGS, .call_open = T("<call>"), .name_args = T("\n"),
                     .call_close = T("\n</call>"), .call_sep = T("\n"), .param_open = T("<key>"),
                     .key_close = T("</key>\n<val>"), .value_close = T("</val>"),
                     .param_sep = T("\n")},
    [FORMAT_TYPED] = {CHAT, .syntax = DESCR_TAGS, .section_open = T("<calls>\n"),
                      .section_close = T("\n</calls>"), .call_open = T("<do name=\""),
                      .name_args = T("\">\n"), .call_close = T("\n</do>"), .call_sep = T("\n"),
                      .param_open = T("<arg name=\""), .key_close = T("\" text=\"yes\">"),
                      .key_close_json = T("\" text=\"no\">"), .value_close = T("</arg>"),
                      .param_sep = T("\n")},
    [FORMAT_PYTHON] = {CHAT, .syntax = DESCR_PYTHON, .array = true, .section_open = T("<|calls|>["),
                       .section_close = T("]<|end calls|>"), .name_args = T("("),
                       .call_close = T(")"), .call_sep = T(", ")},
    [FORMAT_GEMMA] = {CHAT, .syntax = DESCR_GEMMA, .call_open = T("<|call>do:"),
                      .call_close = T("<call|>"), .quote = T("<|'|>")},
    [FORMAT_FRAMED] = {.turn_open = T("<|from|>me"),
                       .prompt = T("<|from|>me"),
                       .ends = {T("<|done|>"), T("<|go|>"), T("<|next|>")},
                       .n_ends = 3,
                       .framed = true,
                       .header_end = T("<|say|>"),
                       .think_header = T("<|way|>inner"),
                       .text_header = T("<|way|>outer"),
                       .think_open = T("<|way|>inner<|say|>"),
                       .think_close = T("<|next|>"),
                       .syntax = DESCR_JSON,
                       .call_open = T(" to=fn."),
                       .name_args = T("<|way|>tool json<|say|>")},
    [FORMAT_BARE] = {CHAT, .syntax = DESCR_OBJECT, .bare = true, .call_open = T("{\"name\": \""),
                     .name_args = T("\", \"parameters\": "), .call_close = T("}"),
                     .name_key = T("name"), .args_key = T("parameters")},
};
#undef CHAT
#undef T

#endif
