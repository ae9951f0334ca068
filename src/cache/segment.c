/* Records of the disk cache (contract in segment.h). A record's header, little-endian:
 *   0 magic u32, kind u16, n_parts u16 (bit 15: zstd)
 *   8 model, tenant, parent, hash, raw bytes, stored bytes, checksum: u64 each
 *  64 bytes of each part u32 x 9, 0 u32 x 3
 * 112 XXH3 of the bytes before it, u64 */
#include "cache/segment.h"
#include "base/limits.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

enum { RECORD_MAGIC = 0x52464C48, ZSTD_BIT = 1 << 15, N_WORDS = 7, AT_PARTS = 64, AT_SUM = 112 };
static const char file_magic[SEGMENT_HEADER] = "HOLDFASTCACHE\0\0\1"; /* the last: version */

static_assert(AT_PARTS + 4 * (SEGMENT_PARTS + 3) == AT_SUM, "layout of a record's header");
static_assert(AT_SUM + 8 == SEGMENT_RECORD, "layout of a record's header");

void segment_header(unsigned char *out) {
    memcpy(out, file_magic, SEGMENT_HEADER);
}

void segment_pack(const struct segment_record *r, unsigned char *out) {
    const uint32_t magic = RECORD_MAGIC;
    const uint16_t kind = (uint16_t)r->kind;
    const uint16_t parts = (uint16_t)(r->n_parts | (r->zstd ? ZSTD_BIT : 0));
    const uint64_t word[N_WORDS] = {r->model,     r->tenant,       r->parent,  r->hash,
                                    r->raw_bytes, r->stored_bytes, r->checksum};
    memset(out, 0, SEGMENT_RECORD);
    memcpy(out, &magic, 4);
    memcpy(out + 4, &kind, 2);
    memcpy(out + 6, &parts, 2);
    memcpy(out + 8, word, sizeof word);
    memcpy(out + AT_PARTS, r->part_bytes, (size_t)r->n_parts * 4);
    const uint64_t sum = XXH3_64bits(out, AT_SUM);
    memcpy(out + AT_SUM, &sum, 8);
}

bool segment_unpack(const unsigned char *in, struct segment_record *r) {
    uint32_t magic;
    uint16_t kind, parts;
    uint64_t word[N_WORDS], sum, total = 0;
    memcpy(&magic, in, 4);
    memcpy(&sum, in + AT_SUM, 8);
    if (magic != RECORD_MAGIC || sum != XXH3_64bits(in, AT_SUM)) return false;
    memcpy(&kind, in + 4, 2);
    memcpy(&parts, in + 6, 2);
    memcpy(word, in + 8, sizeof word);
    *r = (struct segment_record){.kind = (enum segment_kind)kind,
                                 .model = word[0],
                                 .tenant = word[1],
                                 .parent = word[2],
                                 .hash = word[3],
                                 .n_parts = parts & (ZSTD_BIT - 1),
                                 .raw_bytes = word[4],
                                 .stored_bytes = word[5],
                                 .checksum = word[6],
                                 .zstd = parts & ZSTD_BIT};
    if (r->n_parts > SEGMENT_PARTS || (kind != SEGMENT_PAGE && kind != SEGMENT_LEDGER))
        return false;
    memcpy(r->part_bytes, in + AT_PARTS, (size_t)r->n_parts * 4);
    for (int i = 0; i < r->n_parts; i++) total += r->part_bytes[i];
    return total == r->raw_bytes && total <= LIMIT_CACHE_RECORD && r->stored_bytes <= total + 16 &&
           (r->zstd || r->stored_bytes == total);
}

uint64_t segment_step(const struct segment_record *r) {
    uint64_t bytes = SEGMENT_RECORD + r->stored_bytes;
    return (bytes + SEGMENT_ALIGN - 1) / SEGMENT_ALIGN * SEGMENT_ALIGN;
}

bool segment_decode(const struct segment_record *r, const unsigned char *stored,
                    unsigned char *out) {
    if (XXH3_64bits(stored, r->stored_bytes) != r->checksum) return false;
    if (r->zstd) return ZSTD_decompress(out, r->raw_bytes, stored, r->stored_bytes) == r->raw_bytes;
    memcpy(out, stored, r->raw_bytes);
    return true;
}

uint64_t segment_scan(const unsigned char *data, uint64_t len,
                      bool (*fn)(void *ctx, const struct segment_record *r, uint64_t at),
                      void *ctx) {
    if (len < SEGMENT_HEADER || memcmp(data, file_magic, SEGMENT_HEADER) != 0) return 0;
    uint64_t at = SEGMENT_HEADER;
    struct segment_record r;
    while (len - at >= SEGMENT_RECORD && segment_unpack(data + at, &r)) {
        if (segment_step(&r) > len - at || !fn(ctx, &r, at)) break;
        at += segment_step(&r);
    }
    return at;
}
