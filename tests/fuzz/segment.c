/* libFuzzer target: any bytes as a file of the disk cache; what is whole is decoded. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "cache/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
};

static bool decode(void *ctx, const struct segment_record *r, uint64_t at) {
    const struct input *in = ctx;
    unsigned char header[SEGMENT_RECORD];
    if (r->raw_bytes > 1 << 24) return true;
    unsigned char *out = mem_alloc(r->raw_bytes);
    if (out) segment_decode(r, in->data + at + SEGMENT_RECORD, out);
    mem_free(out);
    segment_pack(r, header);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data};
    segment_scan(data, size, decode, &in);
    if (size >= SEGMENT_RECORD) {
        struct segment_record r;
        segment_unpack(data, &r);
    }
    return 0;
}
