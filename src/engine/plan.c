/* Plans (contract in plan.h). */
#include "engine/plan.h"

#include <string.h>

bool plan_alloc(struct plan *p, size_t rows, size_t seqs) {
    *p = (struct plan){.token = mem_array(rows, sizeof *p->token),
                       .want = mem_array(rows, sizeof *p->want),
                       .seqs = mem_array(seqs, sizeof *p->seqs),
                       .part = mem_array(seqs, sizeof *p->part)};
    return p->token && p->want && p->seqs && p->part;
}

void plan_free(struct plan *p) {
    mem_free(p->token);
    mem_free(p->want);
    mem_free(p->seqs);
    mem_free(p->part);
}

void plan_clear(struct plan *p) {
    p->n_parts = p->n_rows = p->n_decode = p->n_logits = 0;
    p->batch.n_rows = 0;
}

bool plan_has(const struct plan *p, const struct hold_request *r) {
    for (int i = 0; i < p->n_parts; i++)
        if (p->part[i].r == r) return true;
    return false;
}

/* Rows that are streamed need a free block first. */
void plan_add(struct plan *p, struct hold_request *r, int n) {
    const struct hold_model *m = r->model;
    float *rows = NULL;
    int64_t before = r->o.logits_from - r->seq.n_past; /* rows that are not */
    int skip = before <= 0 ? 0 : before < n ? (int)before : n;
    if (request_streams(r) && skip < n) {
        int cap = m->n_logits - p->n_logits;
        if (cap > m->stream_rows) cap = m->stream_rows;
        if (n > skip + cap) n = skip + cap;
        if (n > skip) rows = events_rows_get(&r->events);
        if (!rows && !(n = skip)) return;
    }
    if (r->state == REQUEST_DECODE) p->n_decode++;
    p->n_logits += rows ? n - skip : 1;
    p->n_rows += n;
    p->part[p->n_parts++] = (struct plan_part){r, n, rows};
}

void plan_leave(struct plan *p, const struct hold_request *r) {
    int left = 0;
    for (int i = 0; i < p->n_parts; i++) {
        if (p->part[i].r == r) {
            p->part[i].r = NULL;
            if (p->batch.n_rows) {
                memset(p->want + p->seqs[i].first, 0, (size_t)p->seqs[i].n);
                p->seqs[i].n = 0;
            }
        }
        left += p->part[i].r != NULL;
    }
    if (left == 0) p->n_parts = 0;
}

void plan_build(struct plan *p) {
    int row = 0, n_parts = 0;
    p->n_decode = 0;
    for (int i = 0; i < p->n_parts; i++) {
        const struct plan_part part = p->part[i];
        const struct hold_request *r = part.r;
        if (!r) continue;
        const struct seq *s = &r->seq;
        bool last = s->n_past + part.n == s->n && r->o.max_tokens != 0;
        p->part[n_parts] = part;
        p->seqs[n_parts++] = (struct batch_seq){
            .first = row, .n = part.n, .pos = s->n_past, .kv = {.tables = r->seq.kv}};
        memcpy(p->token + row, s->token + s->n_past, (size_t)part.n * sizeof *p->token);
        uint8_t streamed = r->o.want_hidden ? BATCH_HIDDEN : BATCH_LOGITS;
        for (int k = 0; k < part.n; k++)
            p->want[row + k] = part.rows && s->n_past + k >= r->o.logits_from ? streamed
                               : last && k == part.n - 1                      ? BATCH_LOGITS
                                                                              : 0;
        row += part.n;
        p->n_decode += r->state == REQUEST_DECODE;
    }
    p->n_parts = n_parts;
    p->n_rows = row;
    p->batch = (struct batch){.n_rows = row,
                              .token = p->token,
                              .want_logits = p->want,
                              .n_seqs = n_parts,
                              .seqs = p->seqs};
}
