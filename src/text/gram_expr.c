/* Expressions of a grammar: how front ends say what they mean. Building is sticky; nothing is checked here
 * but memory and size. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_int.h"

static void *fail(struct gram_builder *b, int code)
{
    if (!b->error)
        b->error = code;
    return NULL;
}

int gram_builder_start(struct gram_builder *b)
{
    *b = (struct gram_builder){.g = mem_calloc(MEM_TEXT, 1, sizeof *b->g)};
    if (!b->g)
        return NUN_ENOMEM;
    arena_init(&b->g->arena, MEM_TEXT, LIMIT_OF(grammar_memory));
    TRY(gram_vec_room(&b->g->nodes, 2, sizeof(struct gram_node)));
    GRAM_AT(b->g->nodes, struct gram_node)[NODE_END] = (struct gram_node){OP_END, 0, 0};
    GRAM_AT(b->g->nodes, struct gram_node)[NODE_FAIL] = (struct gram_node){OP_SPLIT, 0, 0};
    b->g->nodes.n = 2;
    return 0;
}

void gram_builder_drop(struct gram_builder *b)
{
    grammar_free(b->g);
    b->g = NULL;
}

void grammar_free(struct grammar *g)
{
    if (!g)
        return;
    struct gram_vec *all[] = {&g->nodes, &g->edges, &g->rules, &g->classes, &g->byte_states, &g->byte_edges, &g->effects,
                              &g->objects, &g->slots};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]->at);
    arena_free(&g->arena);
    mem_free(g);
}

struct gram_expr *ex_new(struct gram_builder *b, enum gram_kind kind)
{
    if (b->error)
        return NULL;
    struct gram_expr *e = arena_alloc(&b->g->arena, sizeof *e);
    if (!e)
        return fail(b, NUN_ENOMEM);
    int rc = limit_check(LIMIT_grammar_nodes, ++b->exprs, "grammar");
    if (rc < 0)
        return fail(b, rc);
    e->kind = kind;
    e->older = b->newest;
    b->newest = e;
    return e;
}

struct gram_expr *ex_add(struct gram_builder *b, struct gram_expr *parent, struct gram_expr *child)
{
    if (!parent || !child)
        return NULL;
    child->parent = parent;
    child->prev = parent->last;
    parent->last = child;
    return parent;
}

struct gram_expr *ex_class(struct gram_builder *b, const struct cp_set *set, enum gram_coding coding)
{
    struct gram_expr *e = ex_new(b, EX_CLASS);
    if (!e)
        return NULL;
    int rc = gram_class_of(b->g, set, coding, &e->a);
    return rc < 0 ? fail(b, rc) : e;
}

struct gram_expr *ex_char(struct gram_builder *b, uint32_t cp, enum gram_coding coding)
{
    struct cp_range range = {cp, cp};
    struct cp_set s = {&range, 1};
    struct gram_expr *e = ex_new(b, EX_CLASS);
    if (!e)
        return NULL;
    uint32_t before = b->g->classes.n;
    int rc = gram_class_of(b->g, &s, coding, &e->a);
    if (rc >= 0 && b->g->classes.n > before) /* a new class: its set must outlive this call */
        rc = cp_set_one(&b->g->arena, cp, cp, &gram_class_at(b->g, e->a)->set);
    return rc < 0 ? fail(b, rc) : e;
}

struct gram_expr *ex_text(struct gram_builder *b, const char *ascii)
{
    struct gram_expr *e = ex_new(b, EX_SEQ);
    for (; *ascii; ascii++)
        ex_add(b, e, ex_char(b, (uint8_t)*ascii, GRAM_RAW));
    return b->error ? NULL : e;
}

uint32_t gram_new_rule(struct gram_builder *b, const char *name)
{
    int rc = b->error ? b->error : gram_vec_room(&b->g->rules, 1, sizeof(struct gram_rule));
    if (rc < 0) {
        fail(b, rc);
        return 0;
    }
    *gram_rule_at(b->g, b->g->rules.n) = (struct gram_rule){.name = name};
    return b->g->rules.n++;
}

struct gram_expr *ex_rule(struct gram_builder *b, uint32_t rule)
{
    struct gram_expr *e = ex_new(b, EX_RULE);
    if (!e)
        return NULL;
    e->a = rule;
    e->same_rule = gram_rule_at(b->g, rule)->uses;
    gram_rule_at(b->g, rule)->uses = e;
    return e;
}

struct gram_expr *ex_repeat(struct gram_builder *b, struct gram_expr *child, uint32_t min, uint32_t max)
{
    struct gram_expr *e = ex_new(b, EX_REPEAT);
    if (!e)
        return NULL;
    e->min = min;
    e->max = max;
    return ex_add(b, e, child);
}

struct gram_expr *ex_effect(struct gram_builder *b, struct gram_effect fx)
{
    struct gram_expr *e = ex_new(b, EX_EFFECT);
    if (!e)
        return NULL;
    int rc = gram_vec_room(&b->g->effects, 1, sizeof fx);
    if (rc < 0)
        return fail(b, rc);
    GRAM_AT(b->g->effects, struct gram_effect)[e->a = b->g->effects.n++] = fx;
    return e;
}

struct gram_expr *ex_dfa(struct gram_builder *b, const struct dfa *d, enum gram_coding coding)
{
    struct gram_expr *e = ex_new(b, EX_DFA);
    if (!e)
        return NULL;
    e->dfa = d;
    e->coding = coding;
    return e;
}

struct gram_expr *ex_seq(struct gram_builder *b, struct gram_expr *const *parts, size_t n)
{
    struct gram_expr *e = ex_new(b, EX_SEQ);
    for (size_t i = 0; i < n && e; i++)
        e = ex_add(b, e, parts[i]);
    return e;
}
