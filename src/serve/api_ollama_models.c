/* Ollama's lists of models: those that there are, those that are loaded, and one in full. */
#include "serve/api_ollama.h"
#include "serve/serve.h"
#include "serve/sse.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The version of Ollama whose API this is; clients look whether it is new enough for them. */
static const char api_version[] = "0.30.0";

json_t *ollama_time(int64_t seconds) {
    char text[40];
    struct tm tm;
    time_t t = (time_t)seconds;
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

/* 134.5M, 1.2B */
static json_t *size_text(int64_t n) {
    char text[32];
    bool billions = n >= 1000000000;
    snprintf(text, sizeof text, "%.1f%c", (double)n / (billions ? 1e9 : 1e6), billions ? 'B' : 'M');
    return json_string(text);
}

/* Files are named after their quantization: the last part, if it has a digit behind a letter. */
static const char *quant_of(const char *name) {
    const char *part = strrchr(name, '.');
    if (!part) part = strrchr(name, '-');
    part = part ? part + 1 : "";
    return isalpha((unsigned char)part[0]) && strpbrk(part, "0123456789") ? part : "";
}

static json_t *details(const struct model_view *v) {
    const char *family = v->has_info ? v->info.arch : "";
    json_t *size = v->has_info ? size_text(v->info.n_params) : json_string("");
    return json_pack("{s:s, s:s, s:s, s:[s], s:o, s:s}", "parent_model", "", "format", "gguf",
                     "family", family, "families", family, "parameter_size", size,
                     "quantization_level", quant_of(v->config->name));
}

static json_t *model_json(const struct model_view *v) {
    char digest[20];
    uint64_t known = v->has_info ? v->info.fingerprint : str_hash(str_of(v->config->path));
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)known);
    return json_pack("{s:s, s:s, s:o, s:I, s:s, s:o}", "name", v->config->name, "model",
                     v->config->name, "modified_at", ollama_time(v->mtime), "size",
                     (json_int_t)v->file_bytes, "digest", digest, "details", details(v));
}

void ollama_tags(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct model_view v;
    json_t *list = json_array();
    for (size_t i = 0; models_view(s->models, i, &v); i++)
        json_array_append_new(list, model_json(&v));
    json_reply(r, 200, json_pack("{s:o}", "models", list));
}

void ollama_ps(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct model_view v;
    json_t *list = json_array();
    for (size_t i = 0; models_view(s->models, i, &v); i++) {
        if (v.state != MODEL_LOADED) continue;
        json_t *m = model_json(&v);
        double left = v.config->idle_seconds - v.idle_seconds;
        int64_t far = 100LL * 365 * 86400; /* it stays: a date that nobody waits for */
        bool stays = v.config->pinned || v.config->idle_seconds <= 0;
        json_object_set_new(m, "expires_at",
                            ollama_time((int64_t)time(NULL) + (stays ? far : (int64_t)left)));
        json_object_set_new(m, "size_vram", json_integer(0));
        json_object_set_new(m, "context_length", json_integer(v.info.n_ctx));
        json_array_append_new(list, m);
    }
    json_reply(r, 200, json_pack("{s:o}", "models", list));
}

static json_t *capabilities(const struct hold_model_info *i) {
    json_t *list = json_pack("[s]", "completion");
    if (i->has_tools) json_array_append_new(list, json_string("tools"));
    if (i->fim_mid >= 0) json_array_append_new(list, json_string("insert"));
    if (i->pooling != HOLD_POOL_NONE) json_array_append_new(list, json_string("embedding"));
    if (i->has_reasoning) json_array_append_new(list, json_string("thinking"));
    return list;
}

/* Metadata under the names that the file has them by. */
static json_t *model_info(const struct hold_model_info *i) {
    json_t *out = json_pack("{s:s, s:s, s:I}", "general.architecture", i->arch, "general.basename",
                            i->name, "general.parameter_count", (json_int_t)i->n_params);
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {{"context_length", i->n_ctx_train},
                  {"embedding_length", i->n_embd},
                  {"block_count", i->n_layer},
                  {"vocab_size", i->n_vocab}};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        char key[100];
        snprintf(key, sizeof key, "%.64s.%s", i->arch, counts[k].key);
        json_object_set_new(out, key, json_integer(counts[k].value));
    }
    return out;
}

void ollama_show(struct http_req *r) {
    struct serve *s = http_ctx(r);
    struct http_error e = {0};
    struct ask k = {0};
    struct model_view v;
    json_t *body = ask_body(r, &e);
    bool ok = body && ollama_open(&k, s->models, body, &e);
    if (ok && models_find(s->models, k.entry->config->name, &v)) {
        char parameters[64];
        const struct hold_model_info *i = hold_model_info(k.entry->model);
        snprintf(parameters, sizeof parameters, "num_ctx %d", (int)i->n_ctx);
        json_reply(r, 200,
                   json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "license", "", "modelfile",
                             "", "parameters", parameters, "template", "", "details", details(&v),
                             "model_info", model_info(i), "capabilities", capabilities(i),
                             "modified_at", ollama_time(v.mtime)));
    } else {
        ollama_refuse(r, &e);
    }
    json_decref(body);
    ask_free(&k);
}

void ollama_version(struct http_req *r) {
    json_reply(r, 200, json_pack("{s:s}", "version", api_version));
}
