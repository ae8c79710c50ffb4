/* Automata over code points: words, lengths, products, and leaving out what leads nowhere. JSON Schema says
 * with them which strings and numbers fit. Everything lies in the caller's arena. */
/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"
#include "text/gram_run.h"

/* ---- making -------------------------------------------------------------------------------- */

static int room(struct arena *a, uint32_t states, size_t edges, struct dfa *out)
{
    *out = (struct dfa){arena_array(a, states + 1, sizeof *out->states), arena_array(a, edges + 1, sizeof *out->edges), states, 0};
    return out->states && out->edges ? 0 : NUN_ENOMEM;
}

static void edge(struct dfa *d, uint32_t state, uint32_t lo, uint32_t hi, uint32_t to)
{
    if (!d->states[state].n)
        d->states[state].first = d->n_edges;
    d->states[state].n++;
    d->edges[d->n_edges++] = (struct dfa_edge){lo, hi, to};
}

bool dfa_empty(const struct dfa *d)
{
    return !d->n;
}

int dfa_any(struct arena *a, struct dfa *out)
{
    TRY(room(a, 1, 1, out));
    out->states[0].accepts = true;
    edge(out, 0, 0, CP_MAX, 0);
    return 0;
}

int dfa_length(struct arena *a, uint64_t min, uint64_t max, struct dfa *out)
{
    bool forever = max == UINT64_MAX;
    uint64_t last = forever ? min : max;
    if (max < min) {
        *out = (struct dfa){NULL, NULL, 0, 0};
        return 0;
    }
    TRY(limit_check(LIMIT_grammar_dfa, last, "length of a string"));
    TRY(room(a, (uint32_t)last + 1, last + 1, out));
    for (uint32_t i = 0; i <= last; i++) {
        out->states[i].accepts = i >= min;
        if (i < last || forever)
            edge(out, i, 0, CP_MAX, i < last ? i + 1 : i);
    }
    return 0;
}

/* ---- words --------------------------------------------------------------------------------- */

static int by_text(const void *x, const void *y)
{
    const struct span *a = x, *b = y;
    size_t n = a->len < b->len ? a->len : b->len;
    int c = n ? memcmp(a->ptr, b->ptr, n) : 0;
    return c ? c : (a->len > b->len) - (a->len < b->len);
}

/* Words lo..hi of the sorted list share what was read before byte `at`; they grow from `state`. Each round
 * of the outer list handles one state, so nothing recurses. */
struct growth { size_t lo, hi, at; uint32_t state; };

static int grow(struct dfa *d, const struct span *w, struct growth now, struct growth *todo, size_t *n)
{
    size_t i = now.lo;
    for (; i < now.hi && w[i].len == now.at; i++)
        d->states[now.state].accepts = true;
    while (i < now.hi) {
        uint32_t cp, other;
        size_t from = i, len = utf8_decode(w[i].ptr + now.at, w[i].len - now.at, &cp);
        if (!len)
            return err_set(NUN_EFORMAT, "a name or constant is not UTF-8");
        while (i < now.hi && utf8_decode(w[i].ptr + now.at, w[i].len - now.at, &other) && other == cp)
            i++;
        edge(d, now.state, cp, cp, d->n);
        todo[(*n)++] = (struct growth){from, i, now.at + len, d->n++};
    }
    return 0;
}

int dfa_words(struct arena *a, const struct span *words, size_t n, struct dfa *out)
{
    size_t bytes = 0, todo_n = 0;
    struct span *w = arena_array(a, n + 1, sizeof *w);
    if (!w)
        return NUN_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        w[i] = words[i];
        bytes += words[i].len;
    }
    qsort(w, n, sizeof *w, by_text);
    TRY(limit_check(LIMIT_grammar_nodes, bytes, "names or constants"));
    struct growth *todo = arena_array(a, bytes + 1, sizeof *todo);
    TRY(room(a, (uint32_t)bytes + 1, bytes, out));
    if (!todo)
        return NUN_ENOMEM;
    out->n = n ? 1 : 0;
    todo[todo_n++] = (struct growth){0, n, 0, 0};
    for (size_t i = 0; i < todo_n && n; i++)
        TRY(grow(out, w, todo[i], todo, &todo_n));
    return 0;
}

bool dfa_match(const struct dfa *d, struct span utf8)
{
    uint32_t at = 0, cp;
    for (size_t i = 0, n; i < utf8.len && d->n; i += n) {
        const struct dfa_state *s = &d->states[at];
        uint32_t k = 0;
        n = utf8_decode(utf8.ptr + i, utf8.len - i, &cp);
        if (!n)
            return false;
        while (k < s->n && d->edges[s->first + k].hi < cp)
            k++;
        if (k == s->n || d->edges[s->first + k].lo > cp)
            return false;
        at = d->edges[s->first + k].to;
    }
    return d->n && d->states[at].accepts;
}

/* ---- products ------------------------------------------------------------------------------ */

enum { NOWHERE = UINT32_MAX };
struct pair { uint32_t x, y; };
struct product {
    const struct dfa *x, *y;
    enum dfa_mode mode;
    struct intern pairs;
    struct gram_vec states, edges;
};

/* Edges of a state, none for NOWHERE. */
static const struct dfa_edge *edges_of(const struct dfa *d, uint32_t state, uint32_t *n)
{
    *n = state == NOWHERE ? 0 : d->states[state].n;
    return state == NOWHERE ? NULL : d->edges + d->states[state].first;
}

static bool accepting(const struct product *p, struct pair at)
{
    bool x = at.x != NOWHERE && p->x->states[at.x].accepts, y = at.y != NOWHERE && p->y->states[at.y].accepts;
    return p->mode == DFA_OR ? x || y : x && y == (p->mode == DFA_AND);
}

/* Can this pair still come to something? */
static bool hopeful(const struct product *p, struct pair at)
{
    if (p->mode == DFA_OR)
        return at.x != NOWHERE || at.y != NOWHERE;
    return at.x != NOWHERE && (p->mode == DFA_MINUS || at.y != NOWHERE);
}

static int put_edge(struct product *p, uint32_t state, uint32_t lo, uint32_t hi, struct pair to)
{
    uint32_t id;
    if (!hopeful(p, to))
        return 0;
    TRY(intern_put(&p->pairs, &to, sizeof to, &id));
    TRY(limit_check(LIMIT_grammar_dfa, id, "strings or numbers of a schema"));
    TRY(gram_vec_room(&p->edges, 1, sizeof(struct dfa_edge)));
    GRAM_AT(p->edges, struct dfa_edge)[p->edges.n++] = (struct dfa_edge){lo, hi, id};
    GRAM_AT(p->states, struct dfa_state)[state].n++;
    return 0;
}

/* Both lists of edges side by side, cut wherever either begins or ends. */
static int pair_state(struct product *p, uint32_t id, struct pair at)
{
    uint32_t nx, ny, i = 0, k = 0, from = 0;
    const struct dfa_edge *ex = edges_of(p->x, at.x, &nx), *ey = edges_of(p->y, at.y, &ny);
    TRY(gram_vec_room(&p->states, 1, sizeof(struct dfa_state)));
    GRAM_AT(p->states, struct dfa_state)[p->states.n++] = (struct dfa_state){p->edges.n, 0, accepting(p, at)};
    while (i < nx || k < ny) {
        bool in_x = i < nx && ex[i].lo <= from, in_y = k < ny && ey[k].lo <= from;
        uint32_t until = CP_MAX;
        if (i < nx)
            until = in_x ? ex[i].hi : ex[i].lo - 1;
        if (k < ny) {
            uint32_t other = in_y ? ey[k].hi : ey[k].lo - 1;
            until = other < until ? other : until;
        }
        if (in_x || in_y)
            TRY(put_edge(p, id, from, until, (struct pair){in_x ? ex[i].to : NOWHERE, in_y ? ey[k].to : NOWHERE}));
        from = until + 1;
        i += i < nx && ex[i].hi < from;
        k += k < ny && ey[k].hi < from;
    }
    return 0;
}

static int multiply(struct product *p)
{
    struct pair first = {p->x->n ? 0 : NOWHERE, p->y->n ? 0 : NOWHERE};
    uint32_t id, n;
    if (!hopeful(p, first))
        return 0;
    TRY(intern_put(&p->pairs, &first, sizeof first, &id));
    for (uint32_t i = 0; i < p->pairs.ends.n; i++) {
        struct pair at;
        memcpy(&at, intern_at(&p->pairs, i, &n), sizeof at);
        TRY(pair_state(p, i, at));
    }
    return 0;
}

int dfa_product(struct arena *a, const struct dfa *x, const struct dfa *y, enum dfa_mode mode, struct dfa *out)
{
    struct product p = {.x = x, .y = y, .mode = mode};
    int rc = multiply(&p);
    struct dfa d = {p.states.at, p.edges.at, p.states.n, p.edges.n};
    if (rc >= 0)
        rc = dfa_trim(a, &d, out);
    mem_free(p.states.at);
    mem_free(p.edges.at);
    intern_free(&p.pairs);
    return rc;
}

/* ---- what leads nowhere -------------------------------------------------------------------- */

/* Backwards from accepting states: [n + 1] first of the edges that lead to a state, [edges] where they begin. */
static void find_living(const struct dfa *d, uint32_t *first, uint32_t *from, uint32_t *todo, bool *good)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < d->n; s++)
        for (uint32_t i = 0; i < d->states[s].n; i++)
            first[d->edges[d->states[s].first + i].to + 1]++;
    for (uint32_t s = 0; s < d->n; s++)
        first[s + 1] += first[s];
    for (uint32_t s = 0; s < d->n; s++)
        for (uint32_t i = 0; i < d->states[s].n; i++)
            from[first[d->edges[d->states[s].first + i].to]++] = s;
    for (uint32_t s = 0; s < d->n; s++)
        if (d->states[s].accepts) {
            good[s] = true;
            todo[n++] = s;
        }
    while (n) {
        uint32_t s = todo[--n];
        for (uint32_t i = s ? first[s - 1] : 0; i < first[s]; i++)
            if (!good[from[i]]) {
                good[from[i]] = true;
                todo[n++] = from[i];
            }
    }
}

static int copy_living(struct arena *a, const struct dfa *d, const bool *good, uint32_t *id, struct dfa *out)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < d->n; s++)
        id[s] = good[s] ? n++ : NOWHERE;
    TRY(room(a, n, d->n_edges, out));
    for (uint32_t s = 0; s < d->n; s++) {
        const struct dfa_state *old = &d->states[s];
        if (!good[s])
            continue;
        out->states[id[s]] = (struct dfa_state){out->n_edges, 0, old->accepts};
        for (uint32_t i = 0; i < old->n; i++) {
            const struct dfa_edge *e = &d->edges[old->first + i];
            if (good[e->to])
                edge(out, id[s], e->lo, e->hi, id[e->to]);
        }
    }
    return 0;
}

int dfa_trim(struct arena *a, const struct dfa *d, struct dfa *out)
{
    size_t n = d->n;
    uint32_t *work = mem_calloc(MEM_TEXT, 3 * n + 2 + d->n_edges, sizeof *work);
    bool *good = mem_calloc(MEM_TEXT, n, 1);
    int rc = work && good ? 0 : NUN_ENOMEM;
    *out = (struct dfa){NULL, NULL, 0, 0};
    if (rc >= 0) {
        find_living(d, work, work + 3 * n + 2, work + n + 1, good);
        if (n && good[0])
            rc = copy_living(a, d, good, work + 2 * n + 1, out);
    }
    mem_free(work);
    mem_free(good);
    return rc;
}

/* ---- tables -------------------------------------------------------------------------------- */

struct tabulation { struct intern places; struct gram_vec states, edges; };

static int tabulate_state(struct tabulation *b, const struct dfa_table *t, uint32_t id)
{
    uint32_t n, to;
    struct dfa_place at, next;
    memcpy(&at, intern_at(&b->places, id, &n), sizeof at);
    TRY(gram_vec_room(&b->states, 1, sizeof(struct dfa_state)));
    struct dfa_state *s = GRAM_AT(b->states, struct dfa_state) + b->states.n++;
    *s = (struct dfa_state){b->edges.n, 0, t->accepts(t->arg, &at)};
    for (const char *c = t->letters; *c; c++) {
        next = at;
        if (!t->step(t->arg, &next, *c))
            continue;
        TRY(intern_put(&b->places, &next, sizeof next, &to));
        TRY(limit_check(LIMIT_grammar_dfa, to, "numbers of a schema"));
        TRY(gram_vec_room(&b->edges, 1, sizeof(struct dfa_edge)));
        GRAM_AT(b->edges, struct dfa_edge)[b->edges.n++] = (struct dfa_edge){(uint8_t)*c, (uint8_t)*c, to};
        s->n++;
    }
    return 0;
}

int dfa_tabulate(struct arena *a, const struct dfa_table *t, struct dfa_place start, struct dfa *out)
{
    struct tabulation b = {.states = {NULL, 0, 0}};
    uint32_t id;
    int rc = intern_put(&b.places, &start, sizeof start, &id);
    for (uint32_t i = 0; rc >= 0 && i < b.places.ends.n; i++)
        rc = tabulate_state(&b, t, i);
    struct dfa d = {b.states.at, b.edges.at, b.states.n, b.edges.n};
    if (rc >= 0)
        rc = dfa_trim(a, &d, out);
    mem_free(b.states.at);
    mem_free(b.edges.at);
    intern_free(&b.places);
    return rc;
}
