/* From an expression without rules to an automaton over code points: a network of empty and character steps,
 * then sets of its places, as far as they are reached. Anchors are steps that may be taken only before
 * the first character, or when the text has ended. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_run.h"

enum nfa_op { NFA_CHAR, NFA_SPLIT, NFA_BEGIN, NFA_END, NFA_DONE };
struct nfa_node { enum nfa_op op; uint32_t class, a, b; };

struct nfa {
    struct arena *arena;
    const struct grammar *g;
    struct gram_vec nodes, states, edges;   /* nfa_node; dfa_state, dfa_edge of the result */
    struct intern sets;                     /* sorted places: the states of the result */
    struct gram_vec set, todo, cuts;        /* of one step */
    uint32_t *seen, round;
    size_t steps;
};

/* ---- the network --------------------------------------------------------------------------- */

static int add(struct nfa *f, struct nfa_node x, uint32_t *out)
{
    TRY(limit_check(LIMIT_grammar_dfa, f->nodes.n / 8, "regular expression, written out"));
    TRY(gram_vec_room(&f->nodes, 1, sizeof x));
    GRAM_AT(f->nodes, struct nfa_node)[f->nodes.n] = x;
    *out = f->nodes.n++;
    return 0;
}

static int network(struct nfa *f, const struct gram_expr *e, uint32_t next, uint32_t *out);

static int star(struct nfa *f, const struct gram_expr *child, uint32_t next, uint32_t *out)
{
    uint32_t body;
    TRY(add(f, (struct nfa_node){NFA_SPLIT, 0, next, next}, out));
    TRY(network(f, child, *out, &body));
    GRAM_AT(f->nodes, struct nfa_node)[*out].a = body;
    return 0;
}

static int repeat(struct nfa *f, const struct gram_expr *e, uint32_t next, uint32_t *out)
{
    uint32_t times = e->max == REPEAT_FOREVER ? e->min : e->max;
    *out = next;
    if (e->max == REPEAT_FOREVER)
        TRY(star(f, e->last, next, out));
    for (uint32_t i = times; i > 0; i--) {
        uint32_t before = f->nodes.n;
        TRY(network(f, e->last, *out, out));
        if (i > e->min)
            TRY(add(f, (struct nfa_node){NFA_SPLIT, 0, *out, next}, out));
        if (f->nodes.n == before) /* nothing to repeat */
            return 0;
    }
    return 0;
}

static int network(struct nfa *f, const struct gram_expr *e, uint32_t next, uint32_t *out)
{
    uint32_t one;
    *out = next;
    switch (e->kind) {
    case EX_CLASS: return add(f, (struct nfa_node){NFA_CHAR, e->a, next, 0}, out);
    case EX_EDGE: return add(f, (struct nfa_node){e->a ? NFA_END : NFA_BEGIN, 0, next, 0}, out);
    case EX_REPEAT: return repeat(f, e, next, out);
    case EX_SEQ:
        for (const struct gram_expr *c = e->last; c; c = c->prev)
            TRY(network(f, c, *out, out));
        return 0;
    case EX_ALT:
        TRY(network(f, e->last, next, out));
        for (const struct gram_expr *c = e->last->prev; c; c = c->prev) {
            TRY(network(f, c, next, &one));
            TRY(add(f, (struct nfa_node){NFA_SPLIT, 0, one, *out}, out));
        }
        return 0;
    default: return 0;
    }
}

/* ---- sets of places ------------------------------------------------------------------------ */

static int push(struct nfa *f, uint32_t at)
{
    if (f->seen[at] == f->round)
        return 0;
    f->seen[at] = f->round;
    TRY(limit_check(LIMIT_grammar_steps, ++f->steps, "regular expression: steps"));
    TRY(gram_vec_room(&f->todo, 1, sizeof at));
    GRAM_AT(f->todo, uint32_t)[f->todo.n++] = at;
    return 0;
}

/* All that empty steps reach from what was pushed; characters, ends and the goal stay in the set. */
static int close_set(struct nfa *f, bool begin, bool end)
{
    f->set.n = 0;
    while (f->todo.n) {
        uint32_t at = GRAM_AT(f->todo, uint32_t)[--f->todo.n];
        struct nfa_node x = GRAM_AT(f->nodes, struct nfa_node)[at];
        if (x.op == NFA_SPLIT) {
            TRY(push(f, x.a));
            TRY(push(f, x.b));
        } else if ((x.op == NFA_BEGIN && begin) || (x.op == NFA_END && end)) {
            TRY(push(f, x.a));
        }
        if (x.op == NFA_CHAR || x.op == NFA_DONE || x.op == NFA_END) {
            TRY(gram_vec_room(&f->set, 1, sizeof at));
            GRAM_AT(f->set, uint32_t)[f->set.n++] = at;
        }
    }
    return 0;
}

static int by_number(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

static int intern_set(struct nfa *f, uint32_t *out)
{
    qsort(f->set.at, f->set.n, sizeof(uint32_t), by_number);
    TRY(intern_put(&f->sets, f->set.at, f->set.n * (uint32_t)sizeof(uint32_t), out));
    return limit_check(LIMIT_grammar_dfa, *out, "regular expression");
}

static const struct cp_set *set_of(const struct nfa *f, struct nfa_node x)
{
    return &gram_class_at(f->g, x.class)->set;
}

/* Where any of the places' sets begins or ends. */
static int find_cuts(struct nfa *f, uint32_t state)
{
    uint32_t n;
    const uint32_t *places = intern_at(&f->sets, state, &n);
    f->cuts.n = 0;
    for (uint32_t i = 0; i < n / sizeof *places; i++) {
        struct nfa_node x = GRAM_AT(f->nodes, struct nfa_node)[places[i]];
        const struct cp_set *s = x.op == NFA_CHAR ? set_of(f, x) : NULL;
        for (uint32_t k = 0; s && k < s->n; k++) {
            TRY(gram_vec_room(&f->cuts, 2, sizeof(uint32_t)));
            GRAM_AT(f->cuts, uint32_t)[f->cuts.n++] = s->at[k].lo;
            GRAM_AT(f->cuts, uint32_t)[f->cuts.n++] = s->at[k].hi + 1;
        }
    }
    if (f->cuts.n)
        qsort(f->cuts.at, f->cuts.n, sizeof(uint32_t), by_number);
    return 0;
}

static int arrow(struct nfa *f, uint32_t state, uint32_t lo, uint32_t hi)
{
    uint32_t n, to;
    f->round++;
    const uint32_t *places = intern_at(&f->sets, state, &n);
    for (uint32_t i = 0; i < n / sizeof *places; i++) {
        struct nfa_node x = GRAM_AT(f->nodes, struct nfa_node)[places[i]];
        if (x.op == NFA_CHAR && cp_set_has(set_of(f, x), lo))
            TRY(push(f, x.a));
    }
    if (!f->todo.n)
        return 0;
    TRY(close_set(f, false, false));
    if (!f->set.n)
        return 0;
    TRY(intern_set(f, &to));
    struct dfa_state *s = GRAM_AT(f->states, struct dfa_state) + state;
    struct dfa_edge *last = s->n ? GRAM_AT(f->edges, struct dfa_edge) + f->edges.n - 1 : NULL;
    if (last && last->to == to && last->hi + 1 == lo) {
        last->hi = hi;
        return 0;
    }
    TRY(gram_vec_room(&f->edges, 1, sizeof *last));
    GRAM_AT(f->edges, struct dfa_edge)[f->edges.n++] = (struct dfa_edge){lo, hi, to};
    s->n++;
    return 0;
}

static int accepts(struct nfa *f, uint32_t state, bool *yes)
{
    uint32_t n;
    const uint32_t *places = intern_at(&f->sets, state, &n);
    *yes = false;
    f->round++;
    for (uint32_t i = 0; i < n / sizeof *places; i++)
        TRY(push(f, places[i]));
    TRY(close_set(f, false, true));
    for (uint32_t i = 0; i < f->set.n; i++)
        if (GRAM_AT(f->nodes, struct nfa_node)[GRAM_AT(f->set, uint32_t)[i]].op == NFA_DONE)
            *yes = true;
    return 0;
}

static int one_state(struct nfa *f, uint32_t state)
{
    TRY(gram_vec_room(&f->states, 1, sizeof(struct dfa_state)));
    GRAM_AT(f->states, struct dfa_state)[f->states.n++] = (struct dfa_state){f->edges.n, 0, false};
    bool yes;
    TRY(accepts(f, state, &yes));
    GRAM_AT(f->states, struct dfa_state)[state].accepts = yes;
    TRY(find_cuts(f, state));
    for (uint32_t i = 0; i + 1 < f->cuts.n; i++) {
        uint32_t lo = GRAM_AT(f->cuts, uint32_t)[i], hi = GRAM_AT(f->cuts, uint32_t)[i + 1];
        if (lo < hi)
            TRY(arrow(f, state, lo, hi - 1));
    }
    return 0;
}

static int any_star(struct nfa *f, const struct cp_set *all, uint32_t next, uint32_t *out)
{
    uint32_t class, body;
    TRY(gram_class_of((struct grammar *)f->g, all, GRAM_RAW, &class));
    TRY(add(f, (struct nfa_node){NFA_SPLIT, 0, next, next}, out));
    TRY(add(f, (struct nfa_node){NFA_CHAR, class, *out, 0}, &body));
    GRAM_AT(f->nodes, struct nfa_node)[*out].a = body;
    return 0;
}

static int build(struct nfa *f, const struct gram_expr *e, bool search)
{
    struct cp_set none = {NULL, 0}, all;
    uint32_t start, first;
    TRY(cp_set_invert(f->arena, &none, &all));
    TRY(add(f, (struct nfa_node){NFA_DONE, 0, 0, 0}, &start));
    if (search)
        TRY(any_star(f, &all, start, &start));
    TRY(network(f, e, start, &start));
    if (search)
        TRY(any_star(f, &all, start, &start));
    f->seen = mem_calloc(MEM_TEXT, f->nodes.n, sizeof *f->seen);
    if (!f->seen)
        return NUN_ENOMEM;
    f->round = 1;
    TRY(push(f, start));
    TRY(close_set(f, true, false));
    TRY(intern_set(f, &first));
    for (uint32_t i = 0; i < f->sets.ends.n; i++)
        TRY(one_state(f, i));
    return 0;
}

int dfa_of_expr(struct arena *a, const struct grammar *g, const struct gram_expr *e, bool search, struct dfa *out)
{
    struct nfa f = {.arena = a, .g = g};
    struct dfa d = {NULL, NULL, 0, 0};
    int rc = build(&f, e, search);
    if (rc >= 0) {
        d = (struct dfa){f.states.at, f.edges.at, f.states.n, f.edges.n};
        rc = dfa_trim(a, &d, out);
    }
    struct gram_vec *all[] = {&f.nodes, &f.states, &f.edges, &f.set, &f.todo, &f.cuts};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]->at);
    intern_free(&f.sets);
    mem_free(f.seen);
    return rc;
}
