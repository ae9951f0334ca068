/* libFuzzer: the first byte picks a vocabulary and which half is special; the rest
 * is text. Once the input starts with GGUF it is a vocabulary file instead. Run from the root. */
#include "gguf/gguf.h"
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct vocab *v, const char *p, size_t n, bool special) {
    struct tokens t = {0};
    struct buf out = {0};
    struct vocab_stream s = {0};
    struct text_span spans[] = {{{p, n / 2}, special}, {{p + n / 2, n - n / 2}, !special}};
    if (vocab_tokenize_spans(v, spans, 2, special, &t, NULL)) {
        for (size_t i = 0; i < t.n; i++) vocab_stream_add(v, &s, t.id[i], special, &out);
        vocab_stream_end(&s, &out);
        if (out.len && !utf8_valid(out.p, out.len)) abort();
    }
    t.n = 0;
    buf_clear(&out);
    if (vocab_tokenize(v, (struct str){p, n}, special, special, &t, NULL))
        vocab_detokenize(v, t.id, t.n, special, &out);
    tokens_free(&t);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct vocab *vocabs[3];
    static const char *const paths[] = {"tests/vectors/vocab-bpe.gguf",
                                        "tests/vectors/vocab-spm.gguf",
                                        "tests/vectors/vocab-gemma4.gguf"};
    struct err e = {0};
    if (size >= 4 && memcmp(data, "GGUF", 4) == 0) {
        struct gguf *g = gguf_open_memory(data, size, &e);
        struct vocab *v = g ? vocab_open(g, &e) : NULL;
        gguf_close(g);
        if (v) use(v, "Hello <|im_start|> w\xC3\xB6rld\n\n \xFF 12345", 34, true);
        vocab_close(v);
        return 0;
    }
    for (int i = 0; i < 3 && !vocabs[i]; i++) {
        struct gguf *g = gguf_open(paths[i], &e);
        vocabs[i] = g ? vocab_open(g, &e) : NULL;
        gguf_close(g);
        if (!vocabs[i]) abort();
    }
    if (size) use(vocabs[data[0] % 3], (const char *)data + 1, size - 1, data[0] & 4);
    return 0;
}
