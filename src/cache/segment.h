/* Segment files of the disk cache: a header, then records one behind the other, each with its own
 * header, checksums and identity. This file knows bytes only; disk.c has the files and threads.
 * What is read back is never trusted: every length is checked against what is there, and a record
 * is used only when its checksums hold and it is exactly what was asked for. */
#ifndef HOLDFAST_CACHE_SEGMENT_H
#define HOLDFAST_CACHE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEGMENT_PARTS = 9,    /* of a record: tokens or text, and the pages of each layer group */
    SEGMENT_HEADER = 16,  /* bytes of a file's header */
    SEGMENT_RECORD = 120, /* bytes of a record's header */
    SEGMENT_ALIGN = 8     /* records begin at multiples of it */
};
enum segment_kind { SEGMENT_PAGE = 1, SEGMENT_LEDGER = 2 };

struct segment_record {
    enum segment_kind kind;
    uint64_t model, tenant; /* a page: what decides its bits; a ledger entry: 0, its scope */
    uint64_t parent, hash;  /* of all tokens before it; with its own. Of an entry: 0, its key */
    int n_parts;
    uint32_t part_bytes[SEGMENT_PARTS];
    uint64_t raw_bytes, stored_bytes; /* all parts; as they stand in the file */
    uint64_t checksum;                /* XXH3 of the stored bytes */
    bool zstd;
};

/* Puts a file's header into out (SEGMENT_HEADER bytes). */
void segment_header(unsigned char *out);
/* Puts a record's header into out (SEGMENT_RECORD bytes). */
void segment_pack(const struct segment_record *r, unsigned char *out);
/* Reads a record's header; false: damaged. */
bool segment_unpack(const unsigned char *in, struct segment_record *r);
/* Bytes from the begin of a record to the begin of the next. */
uint64_t segment_step(const struct segment_record *r);
/* Checks the stored bytes and puts the parts, one behind the other, into out (raw_bytes). */
bool segment_decode(const struct segment_record *r, const unsigned char *stored,
                    unsigned char *out);

/* Calls fn with each record of a file and its offset; false from fn ends it. Returns the bytes
 * that are whole: less than len where the tail is torn or a header damaged. */
uint64_t segment_scan(const unsigned char *data, uint64_t len,
                      bool (*fn)(void *ctx, const struct segment_record *r, uint64_t at),
                      void *ctx);

#endif
