/* Every limit on input in one place. A limit is what we refuse to go beyond, with an error that
 * names it; it is never a silent cut. */
#ifndef HOLDFAST_BASE_LIMITS_H
#define HOLDFAST_BASE_LIMITS_H

enum {
    /* GGUF container (spec/gguf.md 3) */
    LIMIT_GGUF_NAME = 64,        /* bytes of a tensor name, NUL included */
    LIMIT_GGUF_KEY = 256,        /* bytes of a key that is copied to another file, NUL included */
    LIMIT_GGUF_ARRAY = 1 << 30,  /* elements */
    LIMIT_GGUF_STRING = 1 << 30, /* bytes */
    LIMIT_GGUF_SHARDS = 1024,
    LIMIT_GGUF_KEYS = 1 << 16,
    LIMIT_GGUF_TENSORS = 1 << 20,
    LIMIT_GGUF_PROBES = 1024, /* in a hash table of names */

    /* model */
    LIMIT_LAYERS = 512,
    LIMIT_EXPERTS = 1024,
    LIMIT_VOCAB = 1 << 22,
    LIMIT_MERGES = 1 << 24,
    LIMIT_DIM = 1 << 20,
    LIMIT_HEADS = 1024,
    LIMIT_HEAD_DIM = 1024,

    /* disk cache */
    LIMIT_CACHE_RECORD = 1 << 30, /* bytes of one record's parts */

    /* text */
    LIMIT_PROMPT_BYTES = 64 << 20,
    LIMIT_TEMPLATE_BYTES = 1 << 20,
    LIMIT_TEMPLATE_DEPTH = 100,
    LIMIT_TEMPLATE_STEPS = 2000000,
    LIMIT_TEMPLATE_OUTPUT = 64 << 20,
    LIMIT_CALL_NAME = 256,      /* bytes of a tool's or parameter's name in a generation */
    LIMIT_CALL_HOLD = 512,      /* bytes held back because markup may begin there */
    LIMIT_CALL_VALUE = 1 << 20, /* bytes of an argument collected before it is converted */
    LIMIT_JSON_BYTES = 64 << 20,
    LIMIT_JSON_DEPTH = 128,
    LIMIT_SCHEMA_BYTES = 1 << 20,
    LIMIT_SCHEMA_DEPTH = 64,
    LIMIT_GRAMMAR_BYTES = 1 << 18,
    LIMIT_GRAMMAR_STATES = 1 << 20,

    /* server */
    LIMIT_HTTP_BODY = 64 << 20,     /* bytes of one request */
    LIMIT_HTTP_BODIES = 512 << 20,  /* of all requests together */
    LIMIT_HTTP_HEADERS = 128 << 10, /* of one request, the line included */
    LIMIT_HTTP_PIECE = 16 << 10,    /* bytes of a stream sent at once */
    LIMIT_CONFIG_BYTES = 1 << 20,
    LIMIT_STOPS = 64,                /* stop strings of a request */
    LIMIT_BIASES = 4096,             /* tokens of a request's logit_bias */
    LIMIT_RESPONSES_BYTES = 64 << 20 /* of all stored responses together */
};

#endif
