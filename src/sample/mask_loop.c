/* Which parts of the trie need no walk. A position that most bytes lead back to (the inside of a
 * string, of a name, of a number), or through a chain of positions that are alike (of a text with
 * a greatest length), allows a whole subtree at once when the subtree holds nothing but such bytes.
 * Bytes are put into groups; each trie node knows the groups that occur below it, each position
 * the groups that lead to one and the same next position. Called by mask.c and mask_trie.c. */
#include "sample/expr.h"
#include "sample/mask.h"

#include <string.h>

/* Small letters and most marks have a group each. Of longer characters those stand alone that begin
 * like some white space, which many patterns leave out. */
enum { GROUP_UPPER = 26, GROUP_DIGIT, GROUP_CONTROL, GROUP_MARK, GROUP_LONG = GROUP_MARK + 25 };
static const uint8_t alone[][2] = {{0xC2, 0xA0}, {0xE1, 0x9A}, {0xE2, 0x80},
                                   {0xE2, 0x81}, {0xE3, 0x80}, {0xEF, 0xBB}};
enum { N_ALONE = sizeof alone / sizeof *alone };

static unsigned ascii_group(uint8_t byte) {
    static const char mark[] = " \"'*+,-./:<=>?@\\_`{}[]()#$%&!;^|~";
    static const char kind[] = "abcddefghijklmnopqrstuvvwwwwxxyyy";
    if (byte >= 'a' && byte <= 'z') return byte - 'a';
    if (byte >= 'A' && byte <= 'Z') return GROUP_UPPER;
    if (byte >= '0' && byte <= '9') return GROUP_DIGIT;
    const char *at = byte ? strchr(mark, byte) : NULL;
    return at ? GROUP_MARK + (unsigned)(kind[at - mark] - 'a') : GROUP_CONTROL;
}

static unsigned long_group(uint8_t byte) {
    return GROUP_LONG + N_ALONE + (byte < 0xE0 ? 0 : byte < 0xF0 ? 1 : 2);
}

unsigned mask_group(uint8_t byte, uint8_t second) {
    if (byte < 0x80) return ascii_group(byte);
    for (unsigned i = 0; i < N_ALONE; i++)
        if (byte == alone[i][0] && second == alone[i][1]) return GROUP_LONG + i;
    return long_group(byte);
}

uint64_t mask_groups(uint8_t byte) {
    if (byte < 0x80) return 1ull << ascii_group(byte);
    uint64_t groups = 1ull << long_group(byte);
    for (unsigned i = 0; i < N_ALONE; i++)
        if (byte == alone[i][0]) groups |= 1ull << (GROUP_LONG + i);
    return groups;
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

/* Is `to` the next turn of the counted call that set is a turn of? */
static bool is_turn(const struct machine *m, uint32_t set, uint32_t to) {
    if (to == SET_DEAD || m->set[set].n != 1 || m->set[to].n != 1) return false;
    struct elem a = m->elem[m->set[set].first], b = m->elem[m->set[to].first];
    return a.node >= m->g->n_nodes && a.node < NODE_UNKNOWN && a.node == b.node &&
           a.below == b.below && a.count + 1 == b.count;
}

/* Where most ASCII bytes lead; SET_DEAD: nowhere. */
static uint32_t main_target(struct machine *m, uint32_t set) {
    uint32_t to[0x80], best = SET_DEAD;
    unsigned n_best = 0;
    for (unsigned b = 0; b < 0x80; b++) to[b] = machine_step(m, set, (uint8_t)b);
    for (unsigned b = 0; b < 0x80 && n_best < 0x40; b++) {
        if (to[b] == SET_DEAD || to[b] == best) continue;
        unsigned n = 0;
        for (unsigned k = b; k < 0x80; k++) n += to[k] == to[b];
        if (n > n_best) {
            n_best = n;
            best = to[b];
        }
    }
    return best;
}

/* Do the bytes of range lead to target, from which `more` further ones of a character follow?
 * No way there comes by an exit. */
static bool bytes_lead(struct machine *m, uint32_t target, uint32_t at, const uint8_t range[2],
                       int more) {
    static const uint8_t any[2] = {0x80, 0xBF};
    uint32_t last = SET_DEAD;
    int class = -1;
    for (unsigned b = range[0]; b <= range[1]; b++) {
        if (m->g->byte_class[b] == class) continue;
        class = m->g->byte_class[b];
        uint32_t to = machine_step(m, at, (uint8_t)b);
        if (to == SET_DEAD || (more == 0 && to != target)) return false;
        if (more == 0 || to == last) continue;
        const struct closed *c = machine_close(m, to);
        if (!c || c->exit || !bytes_lead(m, target, to, any, more - 1)) return false;
        last = to;
    }
    return true;
}

/* The groups among those of the characters whose first byte leads to `at` of which some do not
 * lead to target. */
static uint64_t form_misses(struct machine *m, uint32_t target, uint32_t at, uint8_t first,
                            const struct form *f) {
    const struct closed *c = at ? machine_close(m, at) : NULL;
    if (!c || c->exit) return mask_groups(first);
    uint64_t misses = 0;
    int class = -1;
    bool leads = false;
    for (unsigned b = f->second_lo; b <= f->second_hi; b++) {
        const uint8_t second[2] = {(uint8_t)b, (uint8_t)b};
        if (m->g->byte_class[b] != class) leads = bytes_lead(m, target, at, second, f->more);
        class = m->g->byte_class[b];
        if (!leads) misses |= 1ull << mask_group(first, (uint8_t)b);
    }
    return misses;
}

static uint64_t groups_of(struct machine *m, uint32_t set, uint32_t target) {
    const struct closed *c = machine_close(m, set);
    if (!c || c->exit || target == SET_DEAD) return 0;
    uint64_t groups = ~GROUPS_ODD;
    for (unsigned b = 0; b < 0x80; b++)
        if (machine_step(m, set, (uint8_t)b) != target)
            groups &= ~(1ull << ascii_group((uint8_t)b));
    for (int i = 0; i < N_FORMS && groups; i++) {
        uint32_t last = SET_DEAD;
        uint64_t last_groups = 0;
        for (unsigned b = forms[i].lo; b <= forms[i].hi; b++) {
            uint32_t at = machine_step(m, set, (uint8_t)b);
            uint64_t own = mask_groups((uint8_t)b);
            if (last_groups == own && at == last) continue; /* as the one before */
            groups &= ~form_misses(m, target, at, (uint8_t)b, &forms[i]);
            last = at;
            last_groups = own;
        }
    }
    return m->failed ? 0 : groups;
}

/* Among the turns of a counted call those are alike that are far from both bounds. */
static uint32_t like_turn(const struct call *c, uint32_t count) {
    return count + 1 >= c->max ? count : count >= c->min ? c->min : 0;
}

static struct loop turn_loop(struct machine *m, struct elem e, uint64_t groups) {
    struct call c = m->g->call[e.node - m->g->n_nodes];
    /* What may follow the call is in no group; but it may interfere behind the least number. */
    struct loop loop = {groups, c.max == COUNT_MANY ? UINT32_MAX : c.max - e.count, SET_DEAD};
    if (e.count < c.min && c.min < c.max && groups) {
        e.count = c.min;
        loop.groups &= mask_loop(m, machine_single(m, e)).groups;
    }
    return loop;
}

static struct loop find_loop(struct machine *m, uint32_t set) {
    struct elem e = m->elem[m->set[set].first];
    if (m->set[set].n == 1 && e.node >= m->g->n_nodes && e.node < NODE_UNKNOWN) {
        uint32_t like = like_turn(&m->g->call[e.node - m->g->n_nodes], e.count);
        struct elem other = {e.node, like, e.below};
        struct loop known = {0};
        if (like != e.count) known = mask_loop(m, machine_single(m, other));
        if (known.groups && known.end == SET_DEAD) return turn_loop(m, e, known.groups);
    }
    uint32_t target = main_target(m, set);
    uint64_t groups = groups_of(m, set, target);
    if (groups && is_turn(m, set, target)) return turn_loop(m, e, groups);
    return (struct loop){groups, target == set ? UINT32_MAX : 1, target};
}

struct loop mask_loop(struct machine *m, uint32_t set) {
    if (!machine_close(m, set)) return (struct loop){0};
    uint32_t at = m->set[set].closed;
    if (m->closed[at].looked) return m->closed[at].loop;
    struct loop loop = find_loop(m, set);
    m->closed[at].loop = loop;
    m->closed[at].looked = true;
    return loop;
}

/* One position after another, as long as all the groups lead on from it too. */
struct loop mask_loop_of(struct machine *m, uint32_t set, uint32_t chars) {
    struct loop loop = mask_loop(m, set);
    bool longer = false;
    while (loop.groups && loop.room < chars && loop.end != SET_DEAD && !m->failed) {
        struct loop next = mask_loop(m, loop.end);
        if (loop.groups & ~next.groups) break;
        bool ends = next.room > UINT32_MAX - loop.room;
        loop.room = ends ? UINT32_MAX : loop.room + next.room;
        loop.end = next.end;
        longer = true;
    }
    if (longer) m->closed[m->set[set].closed].loop = loop;
    return loop;
}
