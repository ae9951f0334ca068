/* holdfast bench: tokens per second of prefill and decode, at depths and for cache types. Flags
 * and result fields are llama-bench's, so that its users' scripts work. Results go to stdout in
 * the format of -o; --plot draws them, beside result files of other runs or engines. */
#include "cmd/bench.h"
#include "base/fmath.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/os.h"
#include "base/str.h"
#include "cmd/flags.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LIST_MAX = 32, REPS_MAX = 1000, SERIES_MAX = 16 };

struct bench_flags {
    const char *model, *n_prompt, *n_gen, *pair, *depth, *k_type, *v_type, *threads, *n_ubatch;
    const char *output, *plot, *load;
    int64_t reps, n_batch;
    bool flash, no_warmup, pin;
};

#define FIELD(f) offsetof(struct bench_flags, f)
static const struct opt options[] = {
    {"-m, --model", "FILE", OPT_STR, FIELD(model), "GGUF files, separated by commas"},
    {"-p, --n-prompt", "N,...", OPT_STR, FIELD(n_prompt), "prefill sizes (512; 0: none)"},
    {"-n, --n-gen", "N,...", OPT_STR, FIELD(n_gen), "tokens to decode (128; 0: none)"},
    {"-pg", "P,N", OPT_STR, FIELD(pair), "prefill P and decode N in one test"},
    {"-d, --n-depth", "N,...", OPT_STR, FIELD(depth), "tokens already in the context (0)"},
    {"-t, --threads", "N,...", OPT_STR, FIELD(threads), "threads (0: one per physical core)"},
    {"-b, --batch-size", "N", OPT_INT, FIELD(n_batch), "accepted; a forward takes -ub rows"},
    {"-ub, --ubatch-size", "N,...", OPT_STR, FIELD(n_ubatch), "most rows in one forward (512)"},
    {"-ctk, --cache-type-k", "TYPE,...", OPT_STR, FIELD(k_type), "K cache types (auto)"},
    {"-ctv, --cache-type-v", "TYPE,...", OPT_STR, FIELD(v_type), "V cache types (auto)"},
    {"-fa, --flash-attn", "on|off", OPT_ON_OFF, FIELD(flash), "accepted: always fused"},
    {"--load", "mmap|copy", OPT_STR, FIELD(load), "how the weights are held"},
    {"-r, --repetitions", "N", OPT_INT, FIELD(reps), "runs per test (5)"},
    {"--no-warmup", NULL, OPT_FLAG, FIELD(no_warmup), "no untimed run first"},
    {"--pin", NULL, OPT_FLAG, FIELD(pin), "pin threads to cores"},
    {"-o, --output", "md|csv|json|jsonl", OPT_STR, FIELD(output), "result format (md)"},
    {"--plot", "FILE.svg", OPT_STR, FIELD(plot),
     "draw tok/s over depth; further words are JSON result files to draw too"},
};

static int run_main(int argc, char **argv);
const struct verb verb_bench = {
    .name = "bench",
    .args = "[OPTIONS] -m MODEL [RESULTS.json ...]",
    .summary = "Measure prefill and decode speed, at depths, for cache types.",
    .examples = "  holdfast bench -m model.gguf -p 512 -n 128 -d 0,4096,16384 -t 2\n"
                "  holdfast bench -m model.gguf -d 0,4096 -o json > ours.json\n"
                "  holdfast bench --plot speed.svg ours.json llama-bench.json\n",
    .opts = options,
    .n_opts = sizeof options / sizeof *options,
    .run = run_main,
};

struct list {
    int n;
    char item[LIST_MAX][256];
};

static bool split(const char *text, const char *def, struct list *out, struct err *e) {
    out->n = 0;
    for (const char *p = text ? text : def; *p;) {
        size_t len = strcspn(p, ",");
        if (out->n == LIST_MAX || len >= sizeof out->item[0] || len == 0)
            return err_set(e, ERR_ARG, "bad list '%s'", text);
        memcpy(out->item[out->n], p, len);
        out->item[out->n++][len] = 0;
        p += len + (p[len] == ',');
    }
    return true;
}

static bool numbers(const struct list *l, int *out, struct err *e) {
    for (int i = 0; i < l->n; i++) {
        char *end;
        long v = strtol(l->item[i], &end, 10);
        if (*end || v < 0 || v > INT32_MAX)
            return err_set(e, ERR_ARG, "'%s' is no count", l->item[i]);
        out[i] = (int)v;
    }
    return true;
}

struct test {
    int n_prompt, n_gen, n_depth;
};

/* What is loaded for a group of tests. */
struct setup {
    const char *path, *k_type, *v_type;
    int threads, n_ubatch;
};

struct bench {
    struct bench_flags f;
    struct test tests[LIST_MAX * LIST_MAX];
    int n_tests, deepest;
    json_t *results;
    bool first;
};

static bool add_test(struct bench *b, struct test t, struct err *e) {
    if (b->n_tests == LIST_MAX * LIST_MAX) return err_set(e, ERR_LIMIT, "too many tests");
    int n = t.n_prompt + t.n_gen + t.n_depth;
    if (n > b->deepest) b->deepest = n;
    b->tests[b->n_tests++] = t;
    return true;
}

static bool plan(struct bench *b, struct err *e) {
    struct list p, n, d, pg = {0};
    int np[LIST_MAX], nn[LIST_MAX], nd[LIST_MAX], npg[LIST_MAX];
    if (!split(b->f.n_prompt, "512", &p, e) || !split(b->f.n_gen, "128", &n, e) ||
        !split(b->f.depth, "0", &d, e) || (b->f.pair && !split(b->f.pair, "", &pg, e)) ||
        !numbers(&p, np, e) || !numbers(&n, nn, e) || !numbers(&d, nd, e) || !numbers(&pg, npg, e))
        return false;
    if (b->f.pair && pg.n != 2) return err_set(e, ERR_ARG, "-pg wants P,N, not '%s'", b->f.pair);
    bool ok = true;
    for (int i = 0; ok && i < d.n; i++) {
        for (int j = 0; ok && j < p.n; j++)
            if (np[j]) ok = add_test(b, (struct test){np[j], 0, nd[i]}, e);
        for (int j = 0; ok && j < n.n; j++)
            if (nn[j]) ok = add_test(b, (struct test){0, nn[j], nd[i]}, e);
        if (ok && pg.n == 2) ok = add_test(b, (struct test){npg[0], npg[1], nd[i]}, e);
    }
    return ok;
}

static void cpu_name(char *out, size_t size) {
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    snprintf(out, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "model name", 10) != 0) continue;
        char *p = strchr(line, ':');
        if (p) snprintf(out, size, "%.*s", (int)strcspn(p + 2, "\n"), p + 2);
        break;
    }
    if (f) fclose(f);
}

static void mean_stddev(const double *x, int n, double *mean, double *dev) {
    double sum = 0, sq = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    *mean = sum / n;
    for (int i = 0; i < n; i++) sq += (x[i] - *mean) * (x[i] - *mean);
    *dev = n > 1 ? sqrt(sq / (n - 1)) : 0;
}

/* One result with llama-bench's fields. */
static json_t *result(const struct bench *b, const struct hold_model *m, const struct setup *s,
                      const struct test *t, const uint64_t *ns) {
    const struct hold_model_info *info = hold_model_info(m);
    int reps = (int)b->f.reps;
    double nsd[REPS_MAX], ts[REPS_MAX], ns_mean, ns_dev, ts_mean, ts_dev;
    json_t *samples_ns = json_array(), *samples_ts = json_array();
    for (int i = 0; i < reps; i++) {
        nsd[i] = (double)ns[i];
        ts[i] = 1e9 * (t->n_prompt + t->n_gen) / nsd[i];
        json_array_append_new(samples_ns, json_integer((json_int_t)ns[i]));
        json_array_append_new(samples_ts, json_real(ts[i]));
    }
    mean_stddev(nsd, reps, &ns_mean, &ns_dev);
    mean_stddev(ts, reps, &ts_mean, &ts_dev);
    char when[32], cpu[128];
    time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    cpu_name(cpu, sizeof cpu);
    json_t *r = json_pack(
        "{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:i, s:s, s:s, s:i, s:b, s:b, "
        "s:b}",
        "build_commit", "holdfast-" HOLDFAST_VERSION, "build_number", 0, "cpu_info", cpu,
        "gpu_info", "", "backends", "CPU", "model_filename", info->path, "model_type", info->arch,
        "model_size", (json_int_t)info->weight_bytes, "model_n_params", (json_int_t)info->n_params,
        "n_batch", (int)b->f.n_batch, "n_ubatch", info->n_ubatch, "n_threads", s->threads, "type_k",
        info->k_type, "type_v", info->v_type, "n_gpu_layers", 0, "flash_attn", 1, "use_mmap",
        !(b->f.load && strcmp(b->f.load, "copy") == 0), "embeddings", 0);
    json_t *more =
        json_pack("{s:i, s:i, s:i, s:s, s:I, s:I, s:f, s:f, s:o, s:o}", "n_prompt", t->n_prompt,
                  "n_gen", t->n_gen, "n_depth", t->n_depth, "test_time", when, "avg_ns",
                  (json_int_t)ns_mean, "stddev_ns", (json_int_t)ns_dev, "avg_ts", ts_mean,
                  "stddev_ts", ts_dev, "samples_ns", samples_ns, "samples_ts", samples_ts);
    json_object_update(r, more);
    json_decref(more);
    return r;
}

static void test_name(const struct test *t, char *out, size_t size) {
    char depth[24] = "";
    if (t->n_depth) snprintf(depth, sizeof depth, " @ d%d", t->n_depth);
    if (t->n_prompt && t->n_gen) snprintf(out, size, "pp%d+tg%d%s", t->n_prompt, t->n_gen, depth);
    else if (t->n_prompt) snprintf(out, size, "pp%d%s", t->n_prompt, depth);
    else snprintf(out, size, "tg%d%s", t->n_gen, depth);
}

static void print_md(struct bench *b, const json_t *r, const struct test *t) {
    char name[64], model[128];
    test_name(t, name, sizeof name);
    const char *path = json_string_value(json_object_get(r, "model_filename"));
    const char *base = strrchr(path, '/');
    snprintf(model, sizeof model, "%s", base ? base + 1 : path);
    if (b->first)
        printf("| %-36s | %10s | %9s | %7s | %6s | %6s | %15s | %18s |\n"
               "| %s | %s: | %s: | %s: | %s | %s | %s: | %s: |\n",
               "model", "size", "params", "threads", "type_k", "type_v", "test", "t/s",
               "------------------------------------", "---------", "--------", "------", "------",
               "------", "--------------", "-----------------");
    printf("| %-36s | %6.2f GiB | %7.2f B | %7d | %6s | %6s | %15s | %9.2f +- %5.2f |\n", model,
           json_number_value(json_object_get(r, "model_size")) / 0x1p30,
           json_number_value(json_object_get(r, "model_n_params")) / 1e9,
           (int)json_integer_value(json_object_get(r, "n_threads")),
           json_string_value(json_object_get(r, "type_k")),
           json_string_value(json_object_get(r, "type_v")), name,
           json_real_value(json_object_get(r, "avg_ts")),
           json_real_value(json_object_get(r, "stddev_ts")));
}

static void print_csv(struct bench *b, json_t *r) {
    const char *key;
    json_t *v;
    const char *sep = "";
    if (b->first) {
        json_object_foreach(r, key, v) {
            if (!json_is_array(v)) printf("%s%s", sep, key), sep = ",";
        }
        putchar('\n');
    }
    sep = "";
    json_object_foreach(r, key, v) {
        if (json_is_array(v)) continue;
        if (json_is_string(v)) printf("%s\"%s\"", sep, json_string_value(v));
        else if (json_is_boolean(v)) printf("%s\"%d\"", sep, json_is_true(v));
        else printf("%s\"%.10g\"", sep, json_number_value(v));
        sep = ",";
    }
    putchar('\n');
}

static void emit(struct bench *b, json_t *r, const struct test *t) {
    const char *o = b->f.output;
    if (strcmp(o, "md") == 0) print_md(b, r, t);
    else if (strcmp(o, "csv") == 0) print_csv(b, r);
    else if (strcmp(o, "jsonl") == 0) {
        json_dumpf(r, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10));
        putchar('\n');
    }
    b->first = false;
    fflush(stdout);
    json_array_append_new(b->results, r);
}

struct progress {
    struct bench *b;
    char what[128];
};

static bool each_rep(void *ctx, int rep, uint64_t ns) {
    struct progress *p = ctx;
    (void)ns;
    cmd_progress(p->what, rep + 1, (double)p->b->f.reps);
    return true;
}

static bool run_setup(struct bench *b, const struct setup *s, struct hold_error *e) {
    struct model_flags mf = {.model = s->path,
                             .k_type = s->k_type,
                             .v_type = s->v_type,
                             .load = b->f.load,
                             .n_ctx = b->deepest,
                             .n_threads = s->threads,
                             .n_ubatch = s->n_ubatch,
                             .n_parallel = 1,
                             .pin = b->f.pin,
                             .flash = true};
    struct hold_engine *engine;
    struct hold_model *model;
    if (!flags_open(&mf, &engine, &model, e)) return false;
    bool ok = true;
    for (int i = 0; ok && i < b->n_tests; i++) {
        const struct test *t = &b->tests[i];
        uint64_t ns[REPS_MAX];
        struct progress p = {.b = b};
        test_name(t, p.what, sizeof p.what);
        struct hold_bench_options o = {.n_prompt = t->n_prompt,
                                       .n_gen = t->n_gen,
                                       .n_depth = t->n_depth,
                                       .n_reps = (int)b->f.reps,
                                       .no_warmup = b->f.no_warmup,
                                       .each = each_rep,
                                       .ctx = &p};
        ok = hold_bench(model, &o, ns, e);
        if (ok) emit(b, result(b, model, s, t, ns), t);
    }
    hold_model_unload(model);
    hold_engine_close(engine);
    return ok;
}

static bool run_all(struct bench *b, struct hold_error *he, struct err *e) {
    struct list models, ks, vs, ts, ubs;
    int threads[LIST_MAX], ub[LIST_MAX];
    if (!plan(b, e) || !split(b->f.model, "", &models, e) || !split(b->f.k_type, "auto", &ks, e) ||
        !split(b->f.v_type, "auto", &vs, e) || !split(b->f.threads, "0", &ts, e) ||
        !split(b->f.n_ubatch, "512", &ubs, e) || !numbers(&ts, threads, e) || !numbers(&ubs, ub, e))
        return false;
    int n = models.n * ks.n * vs.n * ts.n * ubs.n;
    for (int i = 0; i < n; i++) {
        int at = i;
        struct setup s;
        s.path = models.item[at % models.n], at /= models.n;
        s.k_type = ks.item[at % ks.n], at /= ks.n;
        s.v_type = vs.item[at % vs.n], at /= vs.n;
        s.threads = threads[at % ts.n] ? threads[at % ts.n] : os_physical_cores(), at /= ts.n;
        s.n_ubatch = ub[at % ubs.n];
        if (!run_setup(b, &s, he)) return false;
    }
    return true;
}

/* Our results and those of the files, as lines of one picture. */
static bool plot(const struct bench *b, const char *const *files, int n_files, struct err *e) {
    struct bench_series series[SERIES_MAX];
    json_t *loaded[SERIES_MAX] = {0};
    int n = 0;
    bool ok = true;
    if (json_array_size(b->results)) {
        snprintf(series[0].label, sizeof series[0].label, "holdfast");
        series[n++].results = b->results;
    }
    for (int i = 0; ok && i < n_files; i++) {
        loaded[i] = json_load(files[i], LIMIT_JSON_BYTES, e);
        ok = loaded[i] != NULL;
        if (!ok) break;
        const char *base = strrchr(files[i], '/');
        snprintf(series[n].label, sizeof series[n].label, "%s", base ? base + 1 : files[i]);
        char *dot = strrchr(series[n].label, '.');
        if (dot) *dot = 0;
        series[n++].results = loaded[i];
    }
    ok = ok && bench_plot(b->f.plot, series, n, e);
    for (int i = 0; i < n_files; i++) json_decref(loaded[i]);
    return ok;
}

static bool known_output(const char *o) {
    static const char *const names[] = {"md", "csv", "json", "jsonl"};
    for (int i = 0; i < 4; i++)
        if (strcmp(o, names[i]) == 0) return true;
    return false;
}

static int run_main(int argc, char **argv) {
    static struct bench b;
    struct err e = {0};
    struct hold_error he = {0};
    const char *files[SERIES_MAX - 1];
    int n_files, code;
    b = (struct bench){.f = {.output = "md", .reps = 5, .n_batch = 2048}, .first = true};
    if (!cmd_parse(&verb_bench, argc, argv, &b.f, files, SERIES_MAX - 1, &n_files, &code))
        return code;
    if (b.f.reps < 1 || b.f.reps > REPS_MAX) err_set(&e, ERR_ARG, "-r must be 1 .. %d", REPS_MAX);
    else if (!known_output(b.f.output))
        err_set(&e, ERR_ARG, "-o must be md, csv, json or jsonl, not '%s'", b.f.output);
    else if (!b.f.model && !(b.f.plot && n_files))
        err_set(&e, ERR_ARG, "give a model with -m, or result files to --plot");
    else if (n_files && !b.f.plot)
        err_set(&e, ERR_ARG, "'%s': result files are only for --plot", files[0]);
    if (e.code) return cmd_fail("bench", &e);
    b.results = json_array();
    bool ok = !b.f.model || run_all(&b, &he, &e);
    if (ok && b.f.model && strcmp(b.f.output, "json") == 0) {
        json_dumpf(b.results, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
        putchar('\n');
    }
    if (ok && (fflush(stdout) != 0 || ferror(stdout)))
        ok = err_set(&e, ERR_IO, "cannot write the results: is the disk full?");
    if (ok && b.f.plot) ok = plot(&b, files, n_files, &e);
    json_decref(b.results);
    if (ok) return 0;
    return e.code ? cmd_fail("bench", &e) : flags_fail("bench", &he);
}
