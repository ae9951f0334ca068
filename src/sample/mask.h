/* Inside of this room: the vocabulary as a trie, and masks. */
#ifndef HOLDFAST_SAMPLE_MASK_H
#define HOLDFAST_SAMPLE_MASK_H

#include "sample/automaton.h"

enum token_use { TOKEN_USE_TEXT, TOKEN_USE_ID_ONLY, TOKEN_USE_END };
/* How the trie sees a token; bytes must stay valid. The vocabulary's, or a test's. */
typedef enum token_use (*token_view)(const void *ctx, int32_t id, struct str *bytes);

/* Nodes in depth-first order: a subtree is a range, of nodes and of the sorted tokens. */
struct trie_node {
    uint32_t size;         /* nodes of the subtree, itself included */
    uint32_t token;        /* first of its own tokens; they end at the next node's */
    uint16_t above, chars; /* characters that begin up to it; from it on, on the longest path */
    uint8_t byte;
    uint64_t groups; /* of the characters from it on; see mask_loop */
};
struct trie {
    struct trie_node *node; /* n_nodes + 1 */
    uint32_t n_nodes, n_tokens;
    uint32_t height; /* bytes of the longest token */
    int32_t *token;  /* ids, sorted by their bytes */
    uint16_t *chars; /* of each, in that order */
};
bool trie_build(struct trie *t, const struct str *bytes, const uint8_t *use, int32_t n_vocab,
                struct err *e);
void trie_free(struct trie *t);

/* mask_loop.c. Groups of characters, by their first two bytes; GROUPS_ODD where a subtree does not
 * begin at the beginning of a character, or is no UTF-8. */
#define GROUPS_ODD (1ull << 63)
unsigned mask_group(uint8_t byte, uint8_t second);
uint64_t mask_groups(uint8_t byte); /* of all that begin with it */
enum { UTF8_WHOLE, UTF8_BROKEN, UTF8_ONE_MORE, UTF8_TWO_MORE, UTF8_FORM };
uint8_t mask_utf8_next(uint8_t state, uint8_t byte);
/* From set, characters of which groups all lead the same way, and for how many characters (`room`,
 * looked for up to `chars`)? No such path comes by an exit. With end SET_DEAD and not enough room,
 * no further character of the groups is allowed; otherwise nothing is said of them. */
struct loop mask_loop(struct machine *m, uint32_t set);
struct loop mask_loop_of(struct machine *m, uint32_t set, uint32_t chars);

enum { MASK_ENDS = 64 };
struct local;
struct grammar_vocab {
    const struct vocab *vocab; /* NULL in tests */
    int32_t n_vocab;
    size_t n_words;
    struct str *bytes; /* by id; empty when only the id counts */
    uint8_t *use;
    int32_t end[MASK_ENDS]; /* tokens that end a generation */
    uint32_t n_ends;
    struct trie trie;
    struct machine *machines;
    uint64_t serial;
    struct local *local; /* what one stack element allows, whatever is below */
    size_t n_locals, cap_locals, local_bytes;
    uint32_t *local_bucket;
    uint32_t *masks; /* cached masks of sets, n_words each */
    uint32_t n_masks, generation;
    uint32_t *scratch; /* one bit per sorted token */
    uint32_t *all;     /* the tokens of the trie, by id */
    struct walk_frame {
        uint32_t end, set, row;
        bool exit;
    } * frame;
};

struct grammar_vocab *mask_vocab_new(const void *ctx, int32_t n_vocab, token_view view,
                                     struct err *e);
/* The machine for g, shared by all sequences that use it; release it when done. */
struct machine *mask_machine(struct grammar_vocab *gv, struct grammar *g, struct err *e);
void mask_release(struct grammar_vocab *gv, struct machine *m);
/* Sets the bits of the tokens that set allows (bits is cleared first). false: m->failed. */
bool mask_fill(struct grammar_vocab *gv, struct machine *m, uint32_t set, uint32_t *bits);
/* The set after a token; SET_DEAD: not allowed. End tokens lead back to the same set. */
uint32_t mask_accept(struct grammar_vocab *gv, struct machine *m, uint32_t set, int32_t id);
/* Does a token exist that begins with `text`, is longer, and is allowed behind it (set: the
 * position behind text)? */
bool mask_crosses(struct grammar_vocab *gv, struct machine *m, struct str text, uint32_t set);

#endif
