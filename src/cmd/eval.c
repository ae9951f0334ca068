/* holdfast eval: how good a file is. Perplexity of a text, distance to saved logits (KL
 * divergence, best-token agreement, NMSE), or the logits themselves. Positions are independent of
 * how the text is cut into batches, so a figure is reproducible to the last bit. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/str.h"
#include "cmd/flags.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct eval_flags {
    struct model_flags model;
    const char *file, *tokens, *logits, *reference, *nll;
    bool json;
};

#define FIELD(f) offsetof(struct eval_flags, f)
static const struct opt options[] = {
    MODEL_OPTS(struct eval_flags, model),
    {"-f, --file", "FILE", OPT_STR, FIELD(file), "text to evaluate (-: stdin)"},
    {"--tokens", "ID,...", OPT_STR, FIELD(tokens), "token ids to evaluate, taken as they are"},
    {"--logits", "FILE", OPT_STR, FIELD(logits),
     "write the logits of every position, float32 [n_tokens, n_vocab]"},
    {"--kl", "FILE", OPT_STR, FIELD(reference),
     "compare with logits that --logits wrote (KL divergence, best token, NMSE)"},
    {"--nll", "FILE", OPT_STR, FIELD(nll), "write -log p of every next token, one a line"},
    {"--json", NULL, OPT_FLAG, FIELD(json), "figures as one JSON object"},
};

static int run_main(int argc, char **argv);
const struct verb verb_eval = {
    .name = "eval",
    .args = "[OPTIONS] -m MODEL -f TEXT",
    .summary = "Perplexity of a text, or distance to another file's logits.",
    .examples = "  holdfast eval -m model.gguf -f prose.txt\n"
                "  holdfast eval -m f16.gguf -f prose.txt --logits base.f32\n"
                "  holdfast eval -m q4.gguf -f prose.txt --kl base.f32\n"
                "  holdfast eval -m model.gguf --tokens 1,15043,3186 --logits out.f32\n",
    .opts = options,
    .n_opts = sizeof options / sizeof *options,
    .run = run_main,
};

struct eval {
    struct eval_flags f;
    struct hold_engine *engine;
    struct hold_model *model;
    int32_t *ids;
    size_t n_ids;
    FILE *out, *nll_out;
    char out_tmp[4096];
    struct os_map reference;
    /* sums over positions that have a next token, and over all compared ones */
    double nll, nll_sq, kl, err, sum;
    int64_t n_nll, n_compared, n_same;
};

static bool fail(struct hold_error *e, enum hold_code code, const char *what, const char *where) {
    *e = (struct hold_error){.code = code};
    snprintf(e->msg, sizeof e->msg, "%s %s%s%s", what, where, errno ? ": " : "",
             errno ? strerror(errno) : "");
    return false;
}

static bool parse_tokens(struct eval *v, struct hold_error *e) {
    int32_t n_vocab = hold_model_info(v->model)->n_vocab;
    size_t cap = 0;
    for (const char *p = v->f.tokens; *p;) {
        char *end;
        long id = strtol(p, &end, 10);
        void *grown = v->ids;
        errno = 0;
        if (end == p || (*end && *end != ',') || id < 0 || id >= n_vocab)
            return fail(e, HOLD_ERR_ARG, "no token id of this model at", p);
        if (!mem_grow(&grown, &cap, v->n_ids + 1, sizeof *v->ids))
            return fail(e, HOLD_ERR_NOMEM, "no memory for", "the tokens");
        v->ids = grown;
        v->ids[v->n_ids++] = (int32_t)id;
        p = *end ? end + 1 : end;
    }
    return true;
}

static bool read_text(struct eval *v, struct hold_error *e) {
    struct buf text = {0};
    struct err bad;
    if (!cmd_read(v->f.file, LIMIT_PROMPT_BYTES, &text, &bad)) {
        *e = (struct hold_error){.code = HOLD_ERR_IO};
        memcpy(e->msg, bad.msg, sizeof e->msg);
        return false;
    }
    bool ok = hold_tokenize(v->model, text.p ? text.p : "", text.len, HOLD_ADD_SPECIAL, &v->ids,
                            &v->n_ids, e);
    buf_free(&text);
    return ok;
}

/* log sum exp of a row, in double. */
static double log_total(const float *x, int n) {
    float most = x[0];
    double sum = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > most) most = x[i];
    for (int i = 0; i < n; i++) sum += exp((double)x[i] - (double)most);
    return (double)most + log(sum);
}

static int best(const float *x, int n) {
    int b = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[b]) b = i;
    return b;
}

static void compare(struct eval *v, const float *x, const float *ref, int n) {
    double lx = log_total(x, n), lr = log_total(ref, n), kl = 0;
    for (int i = 0; i < n; i++) {
        double p = (double)ref[i] - lr, q = (double)x[i] - lx, d = (double)x[i] - (double)ref[i];
        kl += exp(p) * (p - q);
        v->err += d * d;
        v->sum += (double)ref[i] * (double)ref[i];
    }
    v->kl += kl;
    v->n_compared++;
    v->n_same += best(x, n) == best(ref, n);
}

static bool take_rows(struct eval *v, size_t base, const struct hold_logits *l,
                      struct hold_error *e) {
    for (int r = 0; r < l->n_rows; r++) {
        size_t at = base + (size_t)l->first + (size_t)r, n = (size_t)l->n_cols;
        const float *x = l->rows + (size_t)r * n;
        if (v->out && fwrite(x, sizeof *x, n, v->out) != n)
            return fail(e, HOLD_ERR_IO, "cannot write", v->f.logits);
        if (v->reference.data)
            compare(v, x, (const float *)(const void *)v->reference.data + at * n, l->n_cols);
        if ((size_t)l->first + (size_t)r + 1 >= v->n_ids - base) continue;
        double nll = log_total(x, l->n_cols) - (double)x[v->ids[at + 1]];
        v->nll += nll;
        v->nll_sq += nll * nll;
        v->n_nll++;
        if (v->nll_out && fprintf(v->nll_out, "%.9g\n", nll) < 0)
            return fail(e, HOLD_ERR_IO, "cannot write", v->f.nll);
    }
    return true;
}

/* One window of the text, its logits row by row. */
static bool window(struct eval *v, size_t base, size_t n, struct hold_error *e) {
    struct hold_request_options o;
    hold_request_options_init(&o, sizeof o);
    o.ids = v->ids + base;
    o.n_ids = n;
    o.max_tokens = 0;
    o.want_logits = true;
    o.raw = o.no_cache = true;
    struct hold_request *q = hold_request_submit(v->model, &o, e);
    struct hold_event ev;
    bool ok = q != NULL;
    while (ok && hold_request_next(q, &ev, -1) > 0) {
        if (ev.kind == HOLD_ERROR) {
            *e = ev.error;
            ok = false;
        } else if (ev.kind == HOLD_LOGITS) {
            ok = take_rows(v, base, &ev.logits, e);
            cmd_progress("evaluating", (double)(base + (size_t)ev.logits.first),
                         (double)v->n_ids + 1);
        }
    }
    if (q) hold_request_free(q);
    return ok;
}

static bool open_files(struct eval *v, struct hold_error *e) {
    size_t n_vocab = (size_t)hold_model_info(v->model)->n_vocab;
    struct err bad;
    if (v->f.logits) {
        snprintf(v->out_tmp, sizeof v->out_tmp, "%s.tmp", v->f.logits);
        v->out = fopen(v->out_tmp, "wb");
        if (!v->out) return fail(e, HOLD_ERR_IO, "cannot write", v->out_tmp);
    }
    if (v->f.nll && !(v->nll_out = fopen(v->f.nll, "w")))
        return fail(e, HOLD_ERR_IO, "cannot write", v->f.nll);
    if (!v->f.reference) return true;
    if (!os_map_open(&v->reference, v->f.reference, &bad)) {
        *e = (struct hold_error){.code = HOLD_ERR_IO};
        memcpy(e->msg, bad.msg, sizeof e->msg);
        return false;
    }
    if (v->reference.len == v->n_ids * n_vocab * sizeof(float)) return true;
    *e = (struct hold_error){.code = HOLD_ERR_FORMAT};
    snprintf(e->msg, sizeof e->msg,
             "%s has %zu bytes; %zu tokens of a vocabulary of %zu take %zu: it belongs to another "
             "text or model",
             v->f.reference, v->reference.len, v->n_ids, n_vocab, v->n_ids * n_vocab * 4);
    return false;
}

static bool close_files(struct eval *v, bool ok, struct hold_error *e) {
    errno = 0;
    if (v->out) {
        bool closed = fclose(v->out) == 0;
        if (ok && closed) ok = rename(v->out_tmp, v->f.logits) == 0;
        if (ok && !closed) ok = false;
        if (!ok) {
            if (!e->msg[0]) fail(e, HOLD_ERR_IO, "cannot write", v->f.logits);
            remove(v->out_tmp);
        }
    }
    if (v->nll_out && fclose(v->nll_out) != 0 && ok)
        ok = fail(e, HOLD_ERR_IO, "cannot write", v->f.nll);
    os_map_close(&v->reference);
    return ok;
}

static void report(const struct eval *v) {
    double n = (double)v->n_nll, mean = v->n_nll ? v->nll / n : 0;
    double var = v->n_nll > 1 ? (v->nll_sq / n - mean * mean) / (n - 1) : 0;
    double ppl = exp(mean), c = (double)v->n_compared;
    if (v->f.json) {
        printf("{\"tokens\": %zu, \"nll\": %.9g, \"ppl\": %.9g, \"ppl_stderr\": %.6g", v->n_ids,
               mean, ppl, ppl * sqrt(var > 0 ? var : 0));
        if (v->n_compared)
            printf(", \"kl\": %.9g, \"top1\": %.6g, \"nmse\": %.6g", v->kl / c,
                   (double)v->n_same / c, v->err / v->sum);
        printf("}\n");
        return;
    }
    printf("tokens       %zu\n", v->n_ids);
    if (v->n_nll) printf("perplexity   %.4f +- %.4f\n", ppl, ppl * sqrt(var > 0 ? var : 0));
    if (v->n_compared)
        printf("KL           %.6f nats (mean, reference to this)\nbest token   %.2f %% equal\n"
               "NMSE         %.3g\n",
               v->kl / c, 100 * (double)v->n_same / c, v->err / v->sum);
}

static bool run_all(struct eval *v, struct hold_error *e) {
    if (!(v->f.tokens ? parse_tokens(v, e) : read_text(v, e))) return false;
    errno = 0;
    if (v->n_ids == 0) return fail(e, HOLD_ERR_ARG, "there are no tokens in", "the text");
    bool ok = open_files(v, e);
    size_t most = (size_t)hold_model_info(v->model)->n_ctx;
    for (size_t at = 0; ok && at < v->n_ids; at += most)
        ok = window(v, at, v->n_ids - at < most ? v->n_ids - at : most, e);
    cmd_progress("", 1, 1);
    return close_files(v, ok, e);
}

static int run_main(int argc, char **argv) {
    static struct eval v;
    struct hold_error e = {0};
    const char *word = NULL;
    int n_words, code;
    flags_init(&v.f.model, NULL);
    if (!cmd_parse(&verb_eval, argc, argv, &v.f, &word, 1, &n_words, &code)) return code;
    if (n_words && !v.f.file) v.f.file = word;
    if (!v.f.file == !v.f.tokens) {
        struct err bad;
        err_set(&bad, ERR_ARG, "give a text with -f, or ids with --tokens");
        return cmd_fail("eval", &bad);
    }
    if (!flags_open(&v.f.model, &v.engine, &v.model, &e)) return flags_fail("eval", &e);
    bool ok = run_all(&v, &e);
    if (ok) report(&v);
    hold_free(v.ids);
    hold_model_unload(v.model);
    hold_engine_close(v.engine);
    return ok ? 0 : flags_fail("eval", &e);
}
