/* From expressions to a network of nodes: which may be empty and which can be fulfilled at all (one pass over
 * a worklist), then nodes from right to left, then the order in which rules call each other before they read
 * anything. Left recursion is refused here. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_int.h"

/* ---- empty and productive ------------------------------------------------------------------ */

/* The two questions have one shape: leaves know, a sequence needs all its parts, an alternative one. */
struct question { struct gram_expr **todo; uint32_t n; bool productive; };

static bool leaf_says(const struct grammar *g, const struct gram_expr *e, bool productive)
{
    switch (e->kind) {
    case EX_EMPTY: case EX_EFFECT: return true;
    case EX_NEED: return !productive;
    case EX_CLASS: return productive && gram_class_at(g, e->a)->set.n;
    case EX_SEQ: return !e->last;
    case EX_REPEAT: return !e->min || !e->max;
    case EX_DFA: return !dfa_empty(e->dfa) && (productive || e->dfa->states[0].accepts);
    default: return false;
    }
}

static void say(struct question *q, struct gram_expr *e)
{
    bool *flag = q->productive ? &e->productive : &e->nullable;
    if (*flag)
        return;
    *flag = true;
    q->todo[q->n++] = e;
}

static void tell_parent(struct question *q, struct gram_expr *p)
{
    uint32_t *waits = q->productive ? &p->waits_productive : &p->waits_null;
    if (p->kind != EX_SEQ || --*waits == 0)
        say(q, p);
}

static void tell_rule(const struct grammar *g, struct question *q, const struct gram_expr *body)
{
    struct gram_rule *r = gram_rule_at(g, body->a);
    *(q->productive ? &r->productive : &r->nullable) = true;
    for (struct gram_expr *use = r->uses; use; use = use->same_rule)
        say(q, use);
}

static int ask(struct gram_builder *b, bool productive)
{
    struct question q = {.productive = productive};
    q.todo = arena_array(&b->g->arena, b->exprs + 1, sizeof *q.todo);
    if (!q.todo)
        return NUN_ENOMEM;
    for (struct gram_expr *e = b->newest; e; e = e->older)
        if (leaf_says(b->g, e, productive))
            say(&q, e);
    while (q.n) {
        struct gram_expr *e = q.todo[--q.n];
        if (e->is_body)
            tell_rule(b->g, &q, e);
        else if (e->parent)
            tell_parent(&q, e->parent);
    }
    return 0;
}

/* Every rule's body is wrapped in an alternative of one that knows its rule; sequences count their parts. */
static int prepare(struct gram_builder *b)
{
    for (uint32_t i = 0; i < b->g->rules.n; i++) {
        struct gram_expr *wrap = ex_new(b, EX_ALT), *body = gram_rule_at(b->g, i)->body;
        if (!wrap)
            return b->error;
        wrap->a = i;
        wrap->is_body = true;
        if (body)
            ex_add(b, wrap, body);
        gram_rule_at(b->g, i)->body = wrap;
    }
    for (struct gram_expr *e = b->newest; e; e = e->older)
        if (e->parent && e->parent->kind == EX_SEQ) {
            e->parent->waits_null++;
            e->parent->waits_productive++;
        }
    return 0;
}

/* ---- nodes --------------------------------------------------------------------------------- */

static int emit(struct grammar *g, const struct gram_expr *e, uint32_t next, uint32_t *out);

static int node(struct grammar *g, enum gram_op op, uint32_t a, uint32_t next, uint32_t *out)
{
    TRY(gram_vec_room(&g->nodes, 1, sizeof(struct gram_node)));
    *gram_node_at(g, g->nodes.n) = (struct gram_node){op, a, next};
    *out = g->nodes.n++;
    return 0;
}

static int put_edges(struct grammar *g, const uint32_t *to, uint32_t n, uint32_t *first)
{
    TRY(gram_vec_room(&g->edges, n, sizeof *to));
    memcpy(GRAM_AT(g->edges, uint32_t) + g->edges.n, to, n * sizeof *to);
    *first = g->edges.n;
    g->edges.n += n;
    return 0;
}

static int split(struct grammar *g, const uint32_t *to, uint32_t n, uint32_t *out)
{
    uint32_t first;
    if (n == 1) {
        *out = to[0];
        return 0;
    }
    if (!n) {
        *out = NODE_FAIL;
        return 0;
    }
    TRY(put_edges(g, to, n, &first));
    return node(g, OP_SPLIT, first, n, out);
}

static int effect(struct grammar *g, enum gram_effect_kind kind, uint32_t n, uint32_t next, uint32_t *out)
{
    TRY(gram_vec_room(&g->effects, 1, sizeof(struct gram_effect)));
    GRAM_AT(g->effects, struct gram_effect)[g->effects.n] = (struct gram_effect){.kind = kind, .n = n};
    return node(g, OP_EFFECT, g->effects.n++, next, out);
}

/* Any number: a split that the body comes back to. */
static int emit_star(struct grammar *g, const struct gram_expr *child, bool once, uint32_t next, uint32_t *out)
{
    uint32_t loop, body, first;
    TRY(node(g, OP_SPLIT, 0, 0, &loop));
    TRY(emit(g, child, loop, &body));
    TRY(put_edges(g, (uint32_t[]){body, next}, 2, &first));
    gram_node_at(g, loop)->a = first;
    gram_node_at(g, loop)->next = 2;
    *out = once ? body : loop;
    return 0;
}

/* A counted repetition is a rule whose item counts. */
static int emit_counter(struct grammar *g, const struct gram_expr *e, uint32_t min, uint32_t next, uint32_t *out)
{
    const struct gram_expr *child = e->last;
    bool forever = e->max == REPEAT_FOREVER;
    uint32_t loop, body, leave, first, rule;
    TRY(node(g, OP_SPLIT, 0, 0, &loop));
    TRY(effect(g, FX_TICK, forever ? min : e->max, loop, &body));
    TRY(emit(g, child, body, &body));
    if (!forever)
        TRY(effect(g, FX_BELOW, e->max, body, &body));
    TRY(effect(g, FX_LEAST, min, NODE_END, &leave));
    TRY(put_edges(g, (uint32_t[]){body, leave}, 2, &first));
    gram_node_at(g, loop)->a = first;
    gram_node_at(g, loop)->next = 2;
    TRY(gram_vec_room(&g->rules, 1, sizeof(struct gram_rule)));
    rule = g->rules.n++;
    *gram_rule_at(g, rule) = (struct gram_rule){.entry = loop, .nullable = !min, .productive = true};
    return node(g, OP_CALL, rule, next, out);
}

enum { UNROLL_MAX = 32 };

/* A character a few times is written out. */
static int emit_unrolled(struct grammar *g, const struct gram_expr *e, uint32_t next, uint32_t *out)
{
    uint32_t times = e->max == REPEAT_FOREVER ? e->min : e->max, at = next;
    if (e->max == REPEAT_FOREVER)
        TRY(emit_star(g, e->last, false, next, &at));
    for (uint32_t i = times; i > 0; i--) {
        TRY(emit(g, e->last, at, &at));
        if (i > e->min)
            TRY(split(g, (uint32_t[]){at, next}, 2, &at));
    }
    *out = at;
    return 0;
}

static int emit_repeat(struct grammar *g, const struct gram_expr *e, uint32_t next, uint32_t *out)
{
    const struct gram_expr *child = e->last;
    uint32_t min = child->nullable ? 0 : e->min, at;
    bool forever = e->max == REPEAT_FOREVER;
    if (!e->max || !child->productive) {
        *out = next;
        return 0;
    }
    if (forever && min <= 1)
        return emit_star(g, child, min, next, out);
    if (e->max == 1) {
        TRY(emit(g, child, next, &at));
        return min ? (*out = at, 0) : split(g, (uint32_t[]){at, next}, 2, out);
    }
    if (child->kind == EX_CLASS && (forever ? min : e->max) <= UNROLL_MAX)
        return emit_unrolled(g, e, next, out);
    return emit_counter(g, e, min, next, out);
}

static int emit_alt(struct grammar *g, const struct gram_expr *e, uint32_t next, uint32_t *out)
{
    uint32_t n = 0, k = 0;
    for (const struct gram_expr *c = e->last; c; c = c->prev)
        n += c->productive;
    uint32_t *to = arena_array(&g->arena, n + 1, sizeof *to);
    if (!to)
        return NUN_ENOMEM;
    for (const struct gram_expr *c = e->last; c; c = c->prev)
        if (c->productive)
            TRY(emit(g, c, next, &to[k++]));
    return split(g, to, n, out);
}

/* ---- automata as nodes --------------------------------------------------------------------- */

/* All ranges of one state that lead to the same place become one class. */
static int dfa_arrow(struct grammar *g, const struct gram_expr *e, const struct dfa_edge *edge, uint32_t n, uint32_t to, uint32_t *out)
{
    struct cp_range *r = arena_array(&g->arena, n + 1, sizeof *r);
    struct cp_set set;
    uint32_t k = 0, class;
    if (!r)
        return NUN_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        if (edge[i].to == edge[0].to)
            r[k++] = (struct cp_range){edge[i].lo, edge[i].hi};
    TRY(cp_set_make(&g->arena, r, k, &set));
    TRY(gram_class_of(g, &set, e->coding, &class));
    return node(g, e->noted ? OP_NOTED : OP_CHAR, class, to, out);
}

static bool earlier(const struct dfa_edge *edge, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (edge[k].to == edge[i].to)
            return true;
    return false;
}

static int dfa_state(struct grammar *g, const struct gram_expr *e, uint32_t s, uint32_t base, uint32_t next)
{
    const struct dfa *d = e->dfa;
    const struct dfa_state *st = &d->states[s];
    const struct dfa_edge *edge = d->edges + st->first;
    uint32_t *to = arena_array(&g->arena, st->n + 1, sizeof *to), n = 0, first;
    if (!to)
        return NUN_ENOMEM;
    for (uint32_t i = 0; i < st->n; i++)
        if (!earlier(edge, i))
            TRY(dfa_arrow(g, e, edge + i, st->n - i, base + edge[i].to, &to[n++]));
    if (st->accepts)
        to[n++] = next;
    TRY(put_edges(g, to, n, &first));
    *gram_node_at(g, base + s) = (struct gram_node){OP_SPLIT, first, n};
    return 0;
}

static int emit_dfa(struct grammar *g, const struct gram_expr *e, uint32_t next, uint32_t *out)
{
    const struct dfa *d = e->dfa;
    TRY(gram_vec_room(&g->nodes, d->n, sizeof(struct gram_node)));
    *out = g->nodes.n;
    g->nodes.n += d->n;
    memset(gram_node_at(g, *out), 0, d->n * sizeof(struct gram_node));
    for (uint32_t s = 0; s < d->n; s++)
        TRY(dfa_state(g, e, s, *out, next));
    return 0;
}

static int emit_seq(struct grammar *g, const struct gram_expr *e, uint32_t next, uint32_t *out)
{
    for (const struct gram_expr *c = e->last; c; c = c->prev)
        TRY(emit(g, c, next, &next));
    *out = next;
    return 0;
}

/* Depth: that of the source, which its parser bounds. */
static int emit(struct grammar *g, const struct gram_expr *e, uint32_t next, uint32_t *out)
{
    *out = NODE_FAIL;
    if (!e->productive)
        return 0;
    switch (e->kind) {
    case EX_SEQ: return emit_seq(g, e, next, out);
    case EX_ALT: return emit_alt(g, e, next, out);
    case EX_REPEAT: return emit_repeat(g, e, next, out);
    case EX_DFA: return emit_dfa(g, e, next, out);
    case EX_CLASS: return node(g, e->noted ? OP_NOTED : OP_CHAR, e->a, next, out);
    case EX_RULE: return node(g, OP_CALL, e->a, next, out);
    case EX_EFFECT: return node(g, OP_EFFECT, e->a, next, out);
    default: *out = next; return 0;
    }
}

/* ---- which rules call which before reading ------------------------------------------------- */

struct order {
    struct grammar *g;
    uint32_t *seen;              /* [nodes]: rule + 1 that looked at it last */
    uint32_t *todo;              /* [edges + nodes] */
    struct gram_vec calls;       /* rules */
    uint32_t *first;             /* [rules + 1] into calls */
};

static void look(struct order *o, uint32_t rule, uint32_t *n, uint32_t at)
{
    if (o->seen[at] != rule + 1) {
        o->seen[at] = rule + 1;
        o->todo[(*n)++] = at;
    }
}

static int first_calls(struct order *o, uint32_t rule)
{
    struct grammar *g = o->g;
    uint32_t n = 0;
    look(o, rule, &n, gram_rule_at(g, rule)->entry);
    while (n) {
        const struct gram_node *x = gram_node_at(g, o->todo[--n]);
        if (x->op == OP_SPLIT)
            for (uint32_t i = 0; i < x->next; i++)
                look(o, rule, &n, GRAM_AT(g->edges, uint32_t)[x->a + i]);
        if (x->op == OP_EFFECT || (x->op == OP_CALL && gram_rule_at(g, x->a)->nullable))
            look(o, rule, &n, x->next);
        if (x->op == OP_CALL) {
            TRY(gram_vec_room(&o->calls, 1, sizeof(uint32_t)));
            GRAM_AT(o->calls, uint32_t)[o->calls.n++] = x->a;
        }
    }
    return 0;
}

static int left_recursion(const struct grammar *g, uint32_t rule, const char *place)
{
    const char *name = gram_rule_at(g, rule)->name;
    return err_set(NUN_EUNSUP, "%s: rule %s may call itself before it has read a character (left recursion)", place, name ? name : "(unnamed)");
}

/* Depth first without recursion: path[i] stands in the middle of its calls at next[]. */
static int rank_rules(struct order *o, const char *place)
{
    struct grammar *g = o->g;
    uint32_t rules = g->rules.n, done = 0, *next = arena_array(&g->arena, rules, sizeof *next), *path = arena_array(&g->arena, rules + 1, sizeof *path);
    uint8_t *mark = arena_array(&g->arena, rules + 1, 1); /* 1 on the path, 2 finished */
    if (!next || !path || !mark)
        return NUN_ENOMEM;
    for (uint32_t root = 0; root < rules; root++) {
        uint32_t n = 0;
        if (!mark[root]) {
            mark[root] = 1;
            path[n++] = root;
        }
        while (n) {
            uint32_t r = path[n - 1], i = o->first[r] + next[r];
            if (i == o->first[r + 1]) {
                mark[r] = 2;
                gram_rule_at(g, r)->rank = rules - ++done;
                n--;
                continue;
            }
            next[r]++;
            uint32_t to = GRAM_AT(o->calls, uint32_t)[i];
            if (mark[to] == 1)
                return left_recursion(g, to, place);
            if (!mark[to]) {
                mark[to] = 1;
                path[n++] = to;
            }
        }
    }
    return 0;
}

static int order_rules(struct grammar *g, const char *place)
{
    struct order o = {.g = g};
    int rc = 0;
    o.seen = mem_calloc(MEM_TEXT, g->nodes.n, sizeof *o.seen);
    o.todo = mem_calloc(MEM_TEXT, g->nodes.n, sizeof *o.todo);
    o.first = mem_calloc(MEM_TEXT, g->rules.n + 1, sizeof *o.first);
    if (!o.seen || !o.todo || !o.first)
        rc = NUN_ENOMEM;
    for (uint32_t i = 0; i < g->rules.n && rc >= 0; i++) {
        rc = first_calls(&o, i);
        o.first[i + 1] = o.calls.n;
    }
    if (rc >= 0)
        rc = rank_rules(&o, place);
    mem_free(o.seen);
    mem_free(o.todo);
    mem_free(o.first);
    mem_free(o.calls.at);
    return rc;
}

static int build(struct gram_builder *b, uint32_t root, const char *place)
{
    struct grammar *g = b->g;
    if (b->error)
        return b->error;
    TRY(prepare(b));
    TRY(ask(b, false));
    TRY(ask(b, true));
    for (uint32_t i = 0, n = g->rules.n; i < n; i++) {
        uint32_t entry;
        TRY(emit(g, gram_rule_at(g, i)->body, NODE_END, &entry));
        gram_rule_at(g, i)->entry = entry;
    }
    g->root = root;
    return order_rules(g, place);
}

int gram_builder_finish(struct gram_builder *b, uint32_t root, const char *place, struct grammar **out)
{
    int rc = build(b, root, place);
    if (rc < 0) {
        gram_builder_drop(b);
        return rc;
    }
    *out = b->g;
    b->g = NULL;
    return 0;
}
