/* Between sequences and the disk cache: full pages go there as they are filled, and come back into
 * pages before a prompt is computed. The engine thread's; the disk's own thread does the rest. */
#ifndef HOLDFAST_ENGINE_STORE_H
#define HOLDFAST_ENGINE_STORE_H

#include <stdbool.h>

struct hold_engine;
struct hold_model;
struct seq;

/* Opens the disk cache that the engine's options ask for and reads the ledger from it. Without
 * one, or when it cannot be opened (which is logged), nothing else here does anything. */
void store_open(struct hold_engine *eng);

/* Offers full pages that were not offered yet; at most `most` are copied. */
void store_pages(struct seq *s, struct hold_model *m, int most);

/* Sends for the pages behind what the sequence has, up to `limit` tokens; false: there are none,
 * or no pages for them. Until the fetch is done, nothing else happens to the sequence. */
bool store_fetch(struct seq *s, struct hold_model *m, int limit);
/* Takes over what has come; false: less than was sent for. */
bool store_take(struct seq *s, struct hold_model *m);
/* Waits for a fetch that is on its way, and forgets it. */
void store_wait(struct seq *s, struct hold_model *m);

#endif
