/* Which parts of the trie need no walk. A position that most bytes lead back to (the inside of a
 * string, of a name, of a number) allows a whole subtree at once when the subtree holds nothing but
 * such bytes. Bytes are put into groups; each trie node knows the groups that occur below it, each
 * position the groups that lead back to it. Called by mask.c and mask_trie.c. */
#include "sample/expr.h"
#include "sample/mask.h"

#include <string.h>

/* Small letters, punctuation and the blank have a group each. */
enum { GROUP_UPPER = 26, GROUP_DIGIT, GROUP_PUNCTUATION, GROUP_CONTROL = 61, GROUP_MORE };

unsigned mask_group(uint8_t byte) {
    static const char punctuation[] = " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    if (byte >= 'a' && byte <= 'z') return byte - 'a';
    if (byte >= 'A' && byte <= 'Z') return GROUP_UPPER;
    if (byte >= '0' && byte <= '9') return GROUP_DIGIT;
    if (byte >= 0x80) return GROUP_MORE;
    const char *at = byte ? strchr(punctuation, byte) : NULL;
    return at ? GROUP_PUNCTUATION + (unsigned)(at - punctuation) : GROUP_CONTROL;
}

/* The forms of characters of several bytes: first byte, second byte, how many follow. */
static const struct form {
    uint8_t lo, hi, second_lo, second_hi;
    int more;
} forms[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1}, {0xE1, 0xEC, 0x80, 0xBF, 1},
    {0xED, 0xED, 0x80, 0x9F, 1}, {0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2},
    {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2},
};
enum { N_FORMS = sizeof forms / sizeof *forms };

uint8_t mask_utf8_next(uint8_t state, uint8_t byte) {
    if (state == UTF8_BROKEN) return UTF8_BROKEN;
    if (state == UTF8_WHOLE) {
        if (byte < 0x80) return UTF8_WHOLE;
        for (uint8_t i = 0; i < N_FORMS; i++)
            if (byte >= forms[i].lo && byte <= forms[i].hi) return (uint8_t)(UTF8_FORM + i);
        return UTF8_BROKEN;
    }
    uint8_t lo = 0x80, hi = 0xBF, left = 0;
    if (state >= UTF8_FORM) {
        const struct form *f = &forms[state - UTF8_FORM];
        lo = f->second_lo;
        hi = f->second_hi;
        left = (uint8_t)f->more;
    } else {
        left = (uint8_t)(state - UTF8_ONE_MORE);
    }
    if (byte < lo || byte > hi) return UTF8_BROKEN;
    return left == 0 ? UTF8_WHOLE : (uint8_t)(UTF8_ONE_MORE + left - 1);
}

/* Does the step from set to `to` come back: to the set itself, or to the next turn of a counted
 * call? */
static bool comes_back(const struct machine *m, uint32_t set, uint32_t to) {
    if (to == set) return true;
    if (to == SET_DEAD || m->set[set].n != 1 || m->set[to].n != 1) return false;
    struct elem a = m->elem[m->set[set].first], b = m->elem[m->set[to].first];
    return a.node >= m->g->n_nodes && a.node < NODE_UNKNOWN && a.node == b.node &&
           a.below == b.below && a.count + 1 == b.count;
}

/* Do all characters of this form come back, without an exit on the way? */
static bool form_comes_back(struct machine *m, uint32_t set, uint32_t at, const uint8_t range[2],
                            const struct form *f, int more) {
    int class = -1;
    for (unsigned b = range[0]; b <= range[1]; b++) {
        if (m->g->byte_class[b] == class) continue;
        class = m->g->byte_class[b];
        uint32_t to = machine_step(m, at, (uint8_t)b);
        if (more < 0) {
            if (!comes_back(m, set, to)) return false;
            continue;
        }
        const struct closed *c = to ? machine_close(m, to) : NULL;
        static const uint8_t any[2] = {0x80, 0xBF};
        const uint8_t second[2] = {f->second_lo, f->second_hi};
        if (!c || c->exit) return false;
        if (!form_comes_back(m, set, to, more == f->more ? second : any, f, more - 1)) return false;
    }
    return true;
}

static uint64_t groups_of(struct machine *m, uint32_t set) {
    const struct closed *c = machine_close(m, set);
    if (!c || c->exit) return 0;
    uint64_t groups = (1ull << GROUP_MORE) - 1;
    for (unsigned b = 0; b < 0x80; b++) {
        uint64_t bit = 1ull << mask_group((uint8_t)b);
        if ((groups & bit) && !comes_back(m, set, machine_step(m, set, (uint8_t)b))) groups &= ~bit;
    }
    bool more = groups != 0;
    for (int i = 0; i < N_FORMS && more; i++) {
        const uint8_t first[2] = {forms[i].lo, forms[i].hi};
        more = form_comes_back(m, set, set, first, &forms[i], forms[i].more);
    }
    if (more) groups |= 1ull << GROUP_MORE;
    return m->failed ? 0 : groups;
}

struct loop mask_loop(struct machine *m, uint32_t set) {
    if (!machine_close(m, set)) return (struct loop){0};
    uint32_t at = m->set[set].closed;
    if (m->closed[at].looked) return m->closed[at].loop;
    struct loop loop = {groups_of(m, set), UINT32_MAX};
    struct elem e = m->elem[m->set[set].first];
    if (loop.groups && m->set[set].n == 1 && e.node >= m->g->n_nodes && e.node < NODE_UNKNOWN) {
        struct call c = m->g->call[e.node - m->g->n_nodes];
        if (c.max != COUNT_MANY) loop.room = c.max - e.count;
        if (e.count < c.min && c.min < c.max) { /* what may follow the least number may interfere */
            e.count = c.min;
            loop.groups &= groups_of(m, machine_single(m, e));
        }
    }
    m->closed[at].loop = loop;
    m->closed[at].looked = true;
    return loop;
}
