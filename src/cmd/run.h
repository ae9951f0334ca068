/* Shared by run.c (options, streaming) and run_chat.c (the conversation). */
#ifndef HOLDFAST_CMD_RUN_H
#define HOLDFAST_CMD_RUN_H

#include "base/json.h"
#include "base/str.h"
#include "cmd/flags.h"

struct run_flags {
    struct model_flags model;
    struct sample_flags sample;
    const char *prompt, *file, *system, *schema, *grammar, *tools, *tool_choice, *thinking;
    int64_t n_predict, reasoning_budget;
    bool raw, ignore_eos, no_status;
};

struct run {
    struct run_flags flags;
    struct hold_engine *engine;
    struct hold_model *model;
    struct buf grammar, tools; /* contents of the files */
    enum hold_grammar grammar_kind;
    struct hold_bias bias[BIAS_MAX];
};

struct run_answer { /* what came, for the history */
    struct buf content, reasoning, call;
    char call_id[64], call_name[128];
    json_t *calls;
    struct hold_done done;
};

bool run_request(struct run *r, const struct hold_chat *chat, const char *text,
                 struct hold_request_options *o, struct hold_error *e);
void run_chat_options(const struct run *r, const char *messages, struct hold_chat *c);
/* Prints the answer as it comes; Ctrl-C cancels it. */
bool run_stream(struct run *r, struct hold_request *q, struct run_answer *a, struct hold_error *e);
void run_add_call(struct run_answer *a, bool cut);
void run_answer_free(struct run_answer *a);
void run_status(const struct hold_done *d);
void run_say(json_t *messages, const char *role, const char *text);
/* Whether Ctrl-C was pressed since the last call. */
bool run_interrupted(void);
int run_conversation(struct run *r);

#endif
