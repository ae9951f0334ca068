/* Turns shared options into engine, model and request options. */
#include "cmd/flags.h"
#include "base/os.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void flags_init(struct model_flags *m, struct sample_flags *s) {
    struct hold_request_options r;
    hold_request_options_init(&r, sizeof r);
    const struct hold_sampling *d = &r.sampling;
    if (m) *m = (struct model_flags){.flash = true};
    if (!s) return;
    *s = (struct sample_flags){.temp = d->temp,
                               .top_p = d->top_p,
                               .min_p = d->min_p,
                               .typical_p = d->typical_p,
                               .top_n_sigma = d->top_n_sigma,
                               .repeat_penalty = d->repeat_penalty,
                               .presence_penalty = d->presence_penalty,
                               .frequency_penalty = d->frequency_penalty,
                               .dry_multiplier = d->dry_multiplier,
                               .dry_base = d->dry_base,
                               .xtc_probability = d->xtc_probability,
                               .xtc_threshold = d->xtc_threshold,
                               .mirostat_tau = d->mirostat_tau,
                               .mirostat_eta = d->mirostat_eta,
                               .top_k = d->top_k,
                               .repeat_last_n = d->repeat_last_n,
                               .dry_allowed_length = d->dry_allowed_length,
                               .dry_last_n = d->dry_last_n,
                               .mirostat = d->mirostat,
                               .seed = -1};
}

static void progress(void *ctx, double fraction) {
    (void)ctx;
    cmd_progress("loading", fraction, 1);
}

/* Copies an error of the inner kind into one of the API's. */
static bool fail(struct hold_error *out, const struct err *e) {
    *out = (struct hold_error){.code = (enum hold_code)e->code, .pos = e->pos};
    memcpy(out->msg, e->msg, sizeof out->msg);
    return false;
}

static bool in_int(int64_t v, int64_t min, const char *what, int *out, struct hold_error *e) {
    struct err bad;
    if (v < min || v > INT32_MAX) {
        err_set(&bad, ERR_ARG, "%s must be %lld or more, not %lld", what, (long long)min,
                (long long)v);
        return fail(e, &bad);
    }
    *out = (int)v;
    return true;
}

bool flags_open(const struct model_flags *f, struct hold_engine **engine, struct hold_model **model,
                struct hold_error *e) {
    struct hold_engine_options eo;
    struct hold_model_options mo;
    struct err bad = {0};
    struct buf template = {0};
    char path[4096];
    hold_engine_options_init(&eo, sizeof eo);
    hold_model_options_init(&mo, sizeof mo);
    *engine = NULL;
    if (!cmd_model_path(f->model, path, sizeof path, &bad)) return fail(e, &bad);
    if (!in_int(f->n_threads, 0, "-t", &eo.n_threads, e) ||
        !in_int(f->n_ctx, 0, "-c", &mo.n_ctx, e))
        return false;
    if (f->n_batch && !in_int(f->n_batch, 1, "-b", &mo.n_batch, e)) return false;
    if (f->n_ubatch && !in_int(f->n_ubatch, 1, "-ub", &mo.n_ubatch, e)) return false;
    if (f->n_parallel && !in_int(f->n_parallel, 1, "-np", &mo.n_parallel, e)) return false;
    eo.pin = f->pin;
    eo.kv_bytes = (uint64_t)(f->memory_gib * 0x1p30);
    mo.path = path;
    mo.flash_attn = f->flash;
    if (f->k_type) mo.k_type = f->k_type;
    if (f->v_type) mo.v_type = f->v_type;
    if (f->load || f->no_mmap) mo.load = f->no_mmap ? "copy" : f->load;
    mo.progress = progress;
    if (f->chat_template) {
        if (!cmd_read(f->chat_template, 1 << 20, &template, &bad)) return fail(e, &bad);
        mo.chat_template = template.p;
    }
    *engine = hold_engine_open(&eo, e);
    *model = *engine ? hold_model_load(*engine, &mo, e) : NULL;
    buf_free(&template);
    cmd_progress("loading", 1, 1);
    if (*model) return true;
    if (*engine) hold_engine_close(*engine);
    *engine = NULL;
    return false;
}

/* "ID+X" or "ID-X"; "ID-inf" forbids. */
static bool parse_bias(const char *text, struct hold_bias *out) {
    char *end;
    long id = strtol(text, &end, 10);
    if (end == text || (*end != '+' && *end != '-')) return false;
    const char *number = end;
    out->id = (int32_t)id;
    out->bias = strtof(number, &end);
    return end != number && *end == 0;
}

bool flags_sampling(const struct sample_flags *f, struct hold_request_options *o,
                    struct hold_bias *bias, struct hold_error *e) {
    struct hold_sampling *s = &o->sampling;
    s->temp = f->temp;
    s->top_p = f->top_p;
    s->min_p = f->min_p;
    s->typical_p = f->typical_p;
    s->top_n_sigma = f->top_n_sigma;
    s->repeat_penalty = f->repeat_penalty;
    s->presence_penalty = f->presence_penalty;
    s->frequency_penalty = f->frequency_penalty;
    s->dry_multiplier = f->dry_multiplier;
    s->dry_base = f->dry_base;
    s->xtc_probability = f->xtc_probability;
    s->xtc_threshold = f->xtc_threshold;
    s->mirostat_tau = f->mirostat_tau;
    s->mirostat_eta = f->mirostat_eta;
    s->top_k = f->top_k;
    s->repeat_last_n = f->repeat_last_n;
    s->dry_allowed_length = f->dry_allowed_length;
    s->dry_last_n = f->dry_last_n;
    s->mirostat = f->mirostat;
    s->seed = f->seed >= 0 ? (uint64_t)f->seed : os_now_ns();
    for (int i = 0; i < f->bias.n; i++) {
        if (!parse_bias(f->bias.item[i], &bias[i])) {
            struct err bad;
            err_set(&bad, ERR_ARG, "bad logit bias '%s': expected ID+X or ID-X", f->bias.item[i]);
            return fail(e, &bad);
        }
    }
    s->bias = bias;
    s->n_bias = (size_t)f->bias.n;
    o->stop = f->stop.item;
    o->n_stop = (size_t)f->stop.n;
    return true;
}

int flags_fail(const char *verb, const struct hold_error *e) {
    fprintf(stderr, "holdfast %s: %s\n", verb, e->msg);
    return 1;
}
