/* Classes: one character of a set as a small automaton over bytes, either plain UTF-8 or as it may be
 * written inside a JSON string (itself, a short escape, \uXXXX, a surrogate pair). Windows of code points that
 * lie wholly in the set share their states. Called while grammars are built and at every new state. */
/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "text/gram_int.h"

int gram_vec_room(struct gram_vec *v, uint32_t more, size_t size)
{
    size_t want = (size_t)v->n + more, cap = v->cap ? v->cap : 16;
    TRY(limit_check(LIMIT_grammar_nodes, want, "grammar"));
    if (want <= v->cap)
        return 0;
    while (cap < want)
        cap *= 2;
    void *p = mem_realloc(MEM_TEXT, v->at, cap * size);
    if (!p)
        return NUN_ENOMEM;
    v->at = p;
    v->cap = (uint32_t)cap;
    return 0;
}

/* ---- a state in the making ----------------------------------------------------------------- */

struct making { struct byte_edge e[256]; uint32_t n; };

static void arrow(struct making *m, uint32_t byte, uint32_t to)
{
    if (to == BYTE_DEAD)
        return;
    if (m->n && m->e[m->n - 1].to == to && m->e[m->n - 1].hi + 1u == byte)
        m->e[m->n - 1].hi = (uint8_t)byte;
    else
        m->e[m->n++] = (struct byte_edge){(uint8_t)byte, (uint8_t)byte, to};
}

static int keep(struct grammar *g, const struct making *m, uint32_t *out)
{
    *out = BYTE_DEAD;
    if (!m->n)
        return 0;
    TRY(gram_vec_room(&g->byte_states, 1, sizeof(struct byte_state)));
    TRY(gram_vec_room(&g->byte_edges, m->n, sizeof(struct byte_edge)));
    memcpy(GRAM_AT(g->byte_edges, struct byte_edge) + g->byte_edges.n, m->e, m->n * sizeof *m->e);
    GRAM_AT(g->byte_states, struct byte_state)[g->byte_states.n] = (struct byte_state){g->byte_edges.n, m->n};
    g->byte_edges.n += m->n;
    *out = g->byte_states.n++;
    return 0;
}

/* ---- UTF-8 --------------------------------------------------------------------------------- */

/* `left` bytes of 6 bits are to come, the code points are lo .. lo + 64^left - 1. `from` is the least of them
 * that this length may spell. */
static int tail(struct grammar *g, const struct cp_set *s, uint32_t lo, uint32_t left, uint32_t from, uint32_t *out)
{
    uint32_t size = 1u << (6 * left), least = lo > from ? lo : from, most = lo + size - 1;
    *out = BYTE_DEAD;
    if (most > CP_MAX)
        most = CP_MAX;
    enum cp_cover c = least > most ? CP_NONE : cp_set_cover(s, least, most);
    if (c == CP_NONE)
        return 0;
    if (!left) {
        *out = BYTE_DONE;
        return 0;
    }
    bool whole = c == CP_ALL && least == lo && most == lo + size - 1;
    if (whole && g->full[left]) {
        *out = g->full[left] - 1;
        return 0;
    }
    struct making m = {.n = 0};
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t to;
        TRY(tail(g, s, lo + i * (size / 64), left - 1, from, &to));
        arrow(&m, 0x80 + i, to);
    }
    TRY(keep(g, &m, out));
    if (whole)
        g->full[left] = *out + 1;
    return 0;
}

static int utf8_arrows(struct grammar *g, const struct cp_set *s, struct making *m, bool json)
{
    static const struct { uint32_t lead, count, left, from; } forms[] = {{0xc0, 32, 1, 0x80}, {0xe0, 16, 2, 0x800}, {0xf0, 5, 3, 0x10000}};
    for (uint32_t cp = json ? 0x20 : 0; cp < 0x80; cp++)
        if (cp_set_has(s, cp) && !(json && cp == '"') && !(json && cp == '\\'))
            arrow(m, cp, BYTE_DONE);
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
        for (uint32_t i = 0; i < forms[f].count; i++) {
            uint32_t to;
            TRY(tail(g, s, i << (6 * forms[f].left), forms[f].left, forms[f].from, &to));
            arrow(m, forms[f].lead + i, to);
        }
    return 0;
}

/* ---- JSON escapes -------------------------------------------------------------------------- */

enum { FULL_HEX = 3, FULL_LOW = 7 };
static int hex(struct grammar *g, const struct cp_set *s, uint32_t unit, uint32_t left, uint32_t base, uint32_t *out);

/* After a high surrogate: \u and a low one of the window of 1024 code points at `base`. */
static int low_surrogate(struct grammar *g, const struct cp_set *s, uint32_t base, uint32_t *out)
{
    struct making m = {.n = 0};
    uint32_t to;
    enum cp_cover c = cp_set_cover(s, base, base + 0x3ff);
    *out = BYTE_DEAD;
    if (c == CP_NONE)
        return 0;
    if (c == CP_ALL && g->full[FULL_LOW]) {
        *out = g->full[FULL_LOW] - 1;
        return 0;
    }
    TRY(hex(g, s, 0, 4, base, &to));
    arrow(&m, 'u', to);
    TRY(keep(g, &m, &to));
    m.n = 0;
    arrow(&m, '\\', to);
    TRY(keep(g, &m, out));
    if (c == CP_ALL)
        g->full[FULL_LOW] = *out + 1;
    return 0;
}

/* What all units of the window `unit` .. `unit` + 16^left - 1 mean together. With a base they are low
 * surrogates of its window. */
static enum cp_cover units(const struct cp_set *s, uint32_t lo, uint32_t hi, uint32_t base)
{
    if (base) {
        if (hi < 0xdc00 || lo > 0xdfff)
            return CP_NONE;
        return lo >= 0xdc00 && hi <= 0xdfff ? cp_set_cover(s, base + (lo - 0xdc00), base + (hi - 0xdc00)) : CP_SOME;
    }
    if (hi < 0xd800 || lo > 0xdfff)
        return cp_set_cover(s, lo, hi);
    if (lo >= 0xdc00 && hi <= 0xdfff)
        return CP_NONE;
    return CP_SOME;
}

static int hex(struct grammar *g, const struct cp_set *s, uint32_t unit, uint32_t left, uint32_t base, uint32_t *out)
{
    enum cp_cover c = units(s, unit, unit + (1u << (4 * left)) - 1, base);
    uint32_t to[16];
    *out = BYTE_DEAD;
    if (c == CP_NONE)
        return 0;
    if (!left && !base && unit >= 0xd800 && unit < 0xdc00)
        return low_surrogate(g, s, 0x10000 + (unit - 0xd800) * 0x400, out);
    if (!left) {
        *out = BYTE_DONE;
        return 0;
    }
    if (c == CP_ALL && g->full[FULL_HEX + left]) {
        *out = g->full[FULL_HEX + left] - 1;
        return 0;
    }
    struct making m = {.n = 0};
    for (uint32_t i = 0; i < 16; i++)
        TRY(hex(g, s, unit + (i << (4 * (left - 1))), left - 1, base, &to[i]));
    for (uint32_t i = 0; i < 10; i++)
        arrow(&m, '0' + i, to[i]);
    for (uint32_t i = 10; i < 16; i++)
        arrow(&m, 'A' + i - 10, to[i]);
    for (uint32_t i = 10; i < 16; i++)
        arrow(&m, 'a' + i - 10, to[i]);
    TRY(keep(g, &m, out));
    if (c == CP_ALL && left < 4)
        g->full[FULL_HEX + left] = *out + 1;
    return 0;
}

static int escape(struct grammar *g, const struct cp_set *s, bool wide, uint32_t *out)
{
    static const struct { char letter; uint32_t cp; } shorts[] = {
        {'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 8}, {'f', 12}, {'n', 10}, {'r', 13}, {'t', 9}};
    struct making m = {.n = 0};
    uint32_t to;
    for (size_t i = 0; i < sizeof shorts / sizeof *shorts; i++)
        if (cp_set_has(s, shorts[i].cp) && (wide || shorts[i].cp != '/'))
            arrow(&m, (uint8_t)shorts[i].letter, BYTE_DONE);
    struct cp_range controls[32]; /* which have no other way, but for five of them */
    struct cp_set least = {controls, 0};
    for (uint32_t cp = 0; cp < 32 && !wide; cp++)
        if (cp_set_has(s, cp))
            controls[least.n++] = (struct cp_range){cp, cp};
    TRY(hex(g, wide ? s : &least, 0, 4, 0, &to));
    arrow(&m, 'u', to);
    return keep(g, &m, out);
}

/* ---- classes ------------------------------------------------------------------------------- */

static int byte_automaton(struct grammar *g, const struct cp_set *s, enum gram_coding coding, bool wide, uint32_t *out)
{
    struct making m = {.n = 0};
    uint32_t to = BYTE_DEAD;
    TRY(utf8_arrows(g, s, &m, coding == GRAM_JSON));
    if (coding == GRAM_JSON)
        TRY(escape(g, s, wide, &to));
    if (to != BYTE_DEAD) { /* the backslash has its place among the edges: keep them ascending */
        uint32_t at = 0;
        while (at < m.n && m.e[at].hi < '\\')
            at++;
        memmove(m.e + at + 1, m.e + at, (m.n - at) * sizeof *m.e);
        m.e[at] = (struct byte_edge){'\\', '\\', to};
        m.n++;
    }
    return keep(g, &m, out);
}

static bool same(const struct gram_class *c, const struct cp_set *s, enum gram_coding coding)
{
    return c->coding == coding && c->set.n == s->n && memcmp(c->set.at, s->at, s->n * sizeof *s->at) == 0;
}

/* The table of classes by content doubles when it is half full. */
static int grow_slots(struct grammar *g)
{
    uint32_t cap = g->slots.n ? g->slots.n * 2 : 64;
    uint32_t *slot = mem_calloc(MEM_TEXT, cap, sizeof *slot);
    if (!slot)
        return NUN_ENOMEM;
    for (uint32_t i = 0; i < g->classes.n; i++) {
        uint32_t h = gram_class_at(g, i)->hash & (cap - 1);
        while (slot[h])
            h = (h + 1) & (cap - 1);
        slot[h] = i + 1;
    }
    mem_free(g->slots.at);
    g->slots = (struct gram_vec){slot, cap, cap};
    return 0;
}

int gram_class_of(struct grammar *g, const struct cp_set *set, enum gram_coding coding, uint32_t *out)
{
    uint32_t hash = (uint32_t)hash64(set->at, set->n * sizeof *set->at, coding);
    if (g->classes.n * 2 >= g->slots.n)
        TRY(grow_slots(g));
    uint32_t *slot = g->slots.at, h = hash & (g->slots.n - 1);
    for (; slot[h]; h = (h + 1) & (g->slots.n - 1))
        if (same(gram_class_at(g, slot[h] - 1), set, coding)) {
            *out = slot[h] - 1;
            return 0;
        }
    uint32_t start, narrow;
    TRY(byte_automaton(g, set, coding, true, &start));
    narrow = start;
    if (coding == GRAM_JSON)
        TRY(byte_automaton(g, set, coding, false, &narrow));
    TRY(gram_vec_room(&g->classes, 1, sizeof(struct gram_class)));
    *gram_class_at(g, g->classes.n) = (struct gram_class){*set, coding, start, narrow, hash};
    slot[h] = g->classes.n + 1;
    *out = g->classes.n++;
    return 0;
}

uint32_t gram_byte_step(const struct grammar *g, uint32_t state, uint8_t byte)
{
    if (state == BYTE_DEAD)
        return BYTE_DEAD;
    struct byte_state s = GRAM_AT(g->byte_states, struct byte_state)[state];
    const struct byte_edge *e = GRAM_AT(g->byte_edges, struct byte_edge) + s.first;
    uint32_t lo = 0, hi = s.n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (e[mid].hi < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s.n && e[lo].lo <= byte ? e[lo].to : BYTE_DEAD;
}
