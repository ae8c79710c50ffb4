/* The machine: a set of items, each a character that may come next. A byte advances some; what follows them is
 * found by walking the nodes; a rule that ends wakes what waits on its stack. All that call the same rule at
 * one place share one stack, so ambiguity costs no more than a chart parser pays; a call at the very end of a
 * rule hands on that rule's own stack, so right recursion stays flat. States, stacks and data are interned:
 * a state seen before costs one look into its row. */
/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "text/gram_run.h"

struct call { uint32_t rank, rule; struct cont back; };

/* ---- one step's work ----------------------------------------------------------------------- */

static int grow_seen(struct gram_run *r)
{
    uint32_t cap = r->cap_seen ? r->cap_seen * 2 : 256;
    struct seen *old = r->seen, *fresh = mem_calloc(MEM_TEXT, cap, sizeof *fresh);
    if (!fresh)
        return NUN_ENOMEM;
    for (uint32_t i = 0; i < r->cap_seen; i++) {
        if (old[i].round != r->round)
            continue;
        uint32_t h = (uint32_t)hash64(&old[i].c, sizeof old[i].c, 0) & (cap - 1);
        while (fresh[h].round)
            h = (h + 1) & (cap - 1);
        fresh[h] = old[i];
    }
    mem_free(old);
    r->seen = fresh;
    r->cap_seen = cap;
    return 0;
}

/* Look at a place, unless this step did. */
static int push(struct gram_run *r, struct cont c)
{
    if (r->n_seen * 2 >= r->cap_seen)
        TRY(grow_seen(r));
    uint32_t h = (uint32_t)hash64(&c, sizeof c, 0) & (r->cap_seen - 1);
    for (; r->seen[h].round == r->round; h = (h + 1) & (r->cap_seen - 1))
        if (memcmp(&r->seen[h].c, &c, sizeof c) == 0)
            return 0;
    r->seen[h] = (struct seen){c, r->round};
    TRY(limit_check(LIMIT_grammar_items, ++r->n_seen / 8, "grammar: readings of one place"));
    TRY(limit_check(LIMIT_grammar_steps, ++r->steps, "grammar: steps"));
    TRY(gram_vec_room(&r->todo, 1, sizeof c));
    GRAM_AT(r->todo, struct cont)[r->todo.n++] = c;
    return 0;
}

static int keep(struct gram_run *r, struct item it)
{
    TRY(limit_check(LIMIT_grammar_items, r->kernel.n, "grammar: readings at once"));
    TRY(limit_check(LIMIT_grammar_steps, ++r->steps, "grammar: steps"));
    TRY(gram_vec_room(&r->kernel, 1, sizeof it));
    GRAM_AT(r->kernel, struct item)[r->kernel.n++] = it;
    return 0;
}

/* A heap, smallest rank first. */
static int add_call(struct gram_run *r, struct call c)
{
    TRY(gram_vec_room(&r->calls, 1, sizeof c));
    struct call *heap = r->calls.at;
    uint32_t i = r->calls.n++;
    for (; i && heap[(i - 1) / 2].rank > c.rank; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = c;
    return 0;
}

static struct call take_call(struct gram_run *r)
{
    struct call *heap = r->calls.at, first = heap[0], last = heap[--r->calls.n];
    uint32_t i = 0;
    for (uint32_t k; (k = 2 * i + 1) < r->calls.n; i = k) {
        if (k + 1 < r->calls.n && heap[k + 1].rank < heap[k].rank)
            k++;
        if (heap[k].rank >= last.rank)
            break;
        heap[i] = heap[k];
    }
    heap[i] = last;
    return first;
}

static int end_rule(struct gram_run *r, uint32_t stack)
{
    uint32_t n;
    if (stack == STACK_BOTTOM) {
        r->may_end = true;
        return 0;
    }
    intern_at(&r->stacks, stack, &n);
    for (uint32_t i = 0; i < n / sizeof(struct cont); i++)
        TRY(push(r, ((const struct cont *)intern_at(&r->stacks, stack, &n))[i]));
    return 0;
}

static int look_at(struct gram_run *r, struct cont c)
{
    const struct grammar *g = r->g;
    const struct gram_node *x = gram_node_at(g, c.node);
    if (x->op == OP_END)
        return end_rule(r, c.stack);
    if (x->op == OP_CHAR || x->op == OP_NOTED)
        return keep(r, (struct item){c, r->wide ? gram_class_at(g, x->a)->start : gram_class_at(g, x->a)->narrow});
    if (x->op == OP_SPLIT) {
        for (uint32_t i = 0; i < x->next; i++)
            TRY(push(r, (struct cont){GRAM_AT(g->edges, uint32_t)[x->a + i], c.data, c.stack}));
        return 0;
    }
    if (x->op == OP_EFFECT) {
        int rc = gram_apply(r, GRAM_AT(g->effects, struct gram_effect) + x->a, c.data, &c.data);
        c.node = x->next;
        return rc > 0 ? push(r, c) : rc;
    }
    struct cont back = {x->next, c.data, c.stack};
    if (gram_rule_at(g, x->a)->nullable)
        TRY(push(r, back));
    return add_call(r, (struct call){gram_rule_at(g, x->a)->rank, x->a, back});
}

static int by_cont(const void *x, const void *y)
{
    return memcmp(x, y, sizeof(struct cont));
}

static int gather(struct gram_run *r, struct cont c)
{
    TRY(limit_check(LIMIT_grammar_items, r->gather.n, "grammar: callers of one rule"));
    TRY(limit_check(LIMIT_grammar_steps, ++r->steps, "grammar: steps"));
    TRY(gram_vec_room(&r->gather, 1, sizeof c));
    GRAM_AT(r->gather, struct cont)[r->gather.n++] = c;
    return 0;
}

/* What waits for a call; at the end of a rule, what waits for that rule. */
static int gather_back(struct gram_run *r, struct cont back)
{
    uint32_t n;
    if (gram_node_at(r->g, back.node)->op != OP_END || back.stack == STACK_BOTTOM)
        return gather(r, back);
    const struct cont *c = intern_at(&r->stacks, back.stack, &n);
    for (uint32_t i = 0; i < n / sizeof *c; i++)
        TRY(gather(r, c[i]));
    return 0;
}

/* One stack for all that call this rule here. Deeper than the limit nothing fits. */
static int enter(struct gram_run *r, uint32_t rule)
{
    struct cont *c = r->gather.at;
    uint32_t n = 0, depth = 0, id;
    qsort(c, r->gather.n, sizeof *c, by_cont);
    for (uint32_t i = 0; i < r->gather.n; i++)
        if (!i || by_cont(&c[i], &c[n - 1]))
            c[n++] = c[i];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t d = GRAM_AT(r->depth, uint32_t)[c[i].stack] + 1;
        depth = d > depth ? d : depth;
    }
    if (depth > LIMIT_OF(grammar_depth))
        return 0;
    TRY(intern_put(&r->stacks, c, n * (uint32_t)sizeof *c, &id));
    if (id == r->depth.n) {
        TRY(gram_vec_room(&r->depth, 1, sizeof depth));
        GRAM_AT(r->depth, uint32_t)[r->depth.n++] = depth;
    }
    return push(r, (struct cont){gram_rule_at(r->g, rule)->entry, DATA_NONE, id});
}

/* All that follows from what was pushed. Rules are entered in the order of their ranks, so that whoever calls
 * one has been seen before it is entered. */
static int close_items(struct gram_run *r)
{
    for (;;) {
        while (r->todo.n) {
            struct cont c = GRAM_AT(r->todo, struct cont)[--r->todo.n];
            TRY(look_at(r, c));
        }
        if (!r->calls.n)
            return 0;
        struct call first = take_call(r);
        r->gather.n = 0;
        TRY(gather_back(r, first.back));
        while (r->calls.n && GRAM_AT(r->calls, struct call)[0].rank == first.rank)
            TRY(gather_back(r, take_call(r).back));
        TRY(enter(r, first.rule));
    }
}

/* ---- states -------------------------------------------------------------------------------- */

static int by_item(const void *x, const void *y)
{
    return memcmp(x, y, sizeof(struct item));
}

static int make_state(struct gram_run *r, uint32_t *out)
{
    struct item *it = r->kernel.at;
    uint32_t n = 0, end = r->may_end;
    *out = STATE_DEAD;
    if (!r->kernel.n && !end)
        return 0;
    if (r->kernel.n)
        qsort(it, r->kernel.n, sizeof *it, by_item);
    for (uint32_t i = 0; i < r->kernel.n; i++)
        if (!i || by_item(&it[i], &it[n - 1]))
            it[n++] = it[i];
    r->scratch.n = 0;
    TRY(gram_vec_room(&r->scratch, 4 + n * (uint32_t)sizeof *it, 1));
    memcpy(r->scratch.at, &end, 4);
    if (n)
        memcpy(GRAM_AT(r->scratch, char) + 4, it, n * sizeof *it);
    TRY(intern_put(&r->states, r->scratch.at, 4 + n * (uint32_t)sizeof *it, out));
    if (*out == r->notes.n) {
        TRY(gram_vec_room(&r->notes, 1, sizeof(struct state_note)));
        GRAM_AT(r->notes, struct state_note)[r->notes.n++] = (struct state_note){NULL, NULL};
    }
    return 0;
}

static void new_round(struct gram_run *r)
{
    r->round++;
    r->n_seen = r->todo.n = r->kernel.n = r->calls.n = 0;
    r->may_end = false;
}

static int advance(struct gram_run *r, struct item it, uint8_t byte)
{
    const struct gram_node *x = gram_node_at(r->g, it.at.node);
    it.sub = gram_byte_step(r->g, it.sub, byte);
    if (it.sub == BYTE_DEAD)
        return 0;
    if (x->op == OP_NOTED) {
        int rc = gram_note(r, it.at.data, byte, &it.at.data);
        if (rc <= 0)
            return rc;
    }
    if (it.sub != BYTE_DONE)
        return keep(r, it);
    it.at.node = x->next;
    return push(r, it.at);
}

static int compute(struct gram_run *r, uint32_t state, uint8_t byte, uint32_t *out)
{
    uint32_t n;
    intern_at(&r->states, state, &n);
    new_round(r);
    for (uint32_t at = 4; at < n; at += sizeof(struct item)) {
        struct item it;
        memcpy(&it, (const char *)intern_at(&r->states, state, &n) + at, sizeof it);
        TRY(advance(r, it, byte));
    }
    TRY(close_items(r));
    return make_state(r, out);
}

int gram_step(struct gram_run *r, uint32_t state, uint8_t byte, uint32_t *out)
{
    enum { ROW = 256 };
    uint32_t *row = GRAM_AT(r->notes, struct state_note)[state].row;
    *out = STATE_DEAD;
    if (state == STATE_DEAD)
        return 0;
    if (row && row[byte]) {
        *out = row[byte] - 1;
        return 0;
    }
    TRY(compute(r, state, byte, out));
    if (!row) {
        TRY(limit_check(LIMIT_grammar_state, gram_run_bytes(r), "grammar: the state of an answer"));
        row = mem_calloc(MEM_TEXT, ROW, sizeof *row);
        if (!row)
            return NUN_ENOMEM;
        GRAM_AT(r->notes, struct state_note)[state].row = row;
        r->note_bytes += ROW * sizeof *row;
    }
    row[byte] = *out + 1;
    return 0;
}

/* ---- the door ------------------------------------------------------------------------------ */

int gram_run_begin(struct gram_run *r)
{
    uint32_t root = r->g->root;
    new_round(r);
    r->steps = 0;
    TRY(push(r, (struct cont){gram_rule_at(r->g, root)->entry, DATA_NONE, STACK_BOTTOM}));
    TRY(close_items(r));
    return make_state(r, &r->now);
}

int gram_run_restart(struct gram_run *r)
{
    return gram_run_begin(r);
}

int gram_run_feed(struct gram_run *r, struct span bytes)
{
    uint32_t before = r->now, at = r->now;
    r->steps = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        TRY(gram_step(r, at, (uint8_t)bytes.ptr[i], &at));
        if (at == STATE_DEAD) {
            r->now = before;
            return 0;
        }
        if (gram_run_bytes(r) > LIMIT_OF(grammar_state) / 2) { /* ids change: `before` goes */
            r->now = at;
            TRY(gram_tidy(r, false));
            at = before = r->now;
        }
    }
    r->now = at;
    return 1;
}

bool gram_run_may_end(const struct gram_run *r)
{
    uint32_t n, end;
    memcpy(&end, intern_at(&r->states, r->now, &n), sizeof end);
    return end == 1;
}

bool gram_run_must_end(const struct gram_run *r)
{
    uint32_t n;
    intern_at(&r->states, r->now, &n);
    return n == sizeof n;
}
