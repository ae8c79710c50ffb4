/* Statements of templates, run: output, branches, loops, assignments, macros; and a rendering from
 * beginning to end. Scopes nest as in jinja2: loops, macros and with-blocks have their own, branches
 * have none. */
/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "text/jinja_int.h"

enum { STACK_VALUES = 4096 };

/* ---- bounds and errors --------------------------------------------------------------------------------------------- */

int jinja_charge(struct jinja_run *r, size_t units)
{
    r->steps += units;
    if (r->steps <= r->max_steps)
        return 0;
    return err_set(NUN_ELIMIT, "the template takes more than %zu steps", r->max_steps);
}

int jinja_deeper(struct jinja_run *r)
{
    if (++r->depth <= r->max_depth)
        return 0;
    return err_set(NUN_ELIMIT, "more than %zu levels within each other", r->max_depth);
}

int (jinja_error)(struct jinja_run *r, const char *fmt, ...)
{
    char what[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(NUN_EFORMAT, "%s", what);
}

int (jinja_error_undefined)(struct jinja_run *r, const struct jinja_value *v)
{
    struct jinja_value from = {.kind = v->flag};
    if (!v->s)
        return jinja_error(r, "a value is undefined");
    if (v->flag == JV_ABSENT)
        return jinja_error(r, "'%.*s' is undefined", (int)v->s->len, v->s->ptr);
    return jinja_error(r, "'%s object' has no attribute '%.*s'", jinja_kind_name(&from), (int)v->s->len, v->s->ptr);
}

int jinja_cut(struct jinja_run *r, size_t mark, struct jinja_value *out)
{
    TRY(buf_error(r->out));
    TRY(jinja_new_str(r, span_of(buf_cstr(r->out) + mark, r->out->len - mark), out));
    jinja_rewind(r, mark);
    return 0;
}

void jinja_rewind(struct jinja_run *r, size_t mark)
{
    r->out->len = mark;
    if (r->out->ptr)
        r->out->ptr[mark] = '\0';
}

/* ---- scopes ----------------------------------------------------------------------------------------------------------- */

static int scope_set(struct jinja_run *r, struct jinja_scope *s, const struct jinja_str *name, struct jinja_value v)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->at[i].name == name) {
            s->at[i].value = v;
            return 0;
        }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 4;
        struct jinja_slot *at = arena_array(&r->arena, cap, sizeof *at);
        if (!at)
            return NUN_ENOMEM;
        if (s->n)
            memcpy(at, s->at, s->n * sizeof *at);
        s->at = at;
        s->cap = cap;
    }
    s->at[s->n++] = (struct jinja_slot){name, v};
    return 0;
}

static int scope_new(struct jinja_run *r, struct jinja_scope *parent, struct jinja_scope **out)
{
    *out = arena_alloc(&r->arena, sizeof **out);
    if (!*out)
        return NUN_ENOMEM;
    (*out)->parent = parent;
    return 0;
}

static int assign_attribute(struct jinja_run *r, const struct jinja_node *target, struct jinja_value v)
{
    struct jinja_value ns, key = jinja_string(target->name);
    TRY(jinja_eval(r, target->a, &ns));
    if (ns.kind != JV_NAMESPACE)
        return jinja_error(r, "cannot assign attribute on non-namespace object");
    return jinja_dict_put(r, ns.dict, &key, v);
}

/* Recursion is bounded by the brackets of the target. */
static int assign(struct jinja_run *r, const struct jinja_node *target, struct jinja_value v)
{
    struct jinja_seq *items;
    size_t n = 0;
    if (target->type == JN_NAME)
        return scope_set(r, r->scope, target->name, v);
    if (target->type == JN_NSREF)
        return assign_attribute(r, target, v);
    TRY(jinja_items_of(r, &v, &items));
    for (const struct jinja_node *item = target->list; item; item = item->next)
        n++;
    if (items->n != n)
        return jinja_error(r, "%s values to unpack (expected %zu, got %zu)", items->n < n ? "not enough" : "too many", n,
                           items->n);
    n = 0;
    for (const struct jinja_node *item = target->list; item; item = item->next)
        TRY(assign(r, item, items->at[n++]));
    return 0;
}

/* ---- statements -------------------------------------------------------------------------------------------------------- */

typedef int exec_fn(struct jinja_run *r, const struct jinja_node *n);

static int exec_text(struct jinja_run *r, const struct jinja_node *n)
{
    buf_span(r->out, jinja_span(n->value.s));
    TRY(jinja_charge(r, n->value.s->len / 64));
    return buf_error(r->out);
}

static int exec_output(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v;
    TRY(jinja_eval(r, n->a, &v));
    return jinja_put(r, &v);
}

static int exec_if(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value test = jinja_bool(true);
    for (const struct jinja_node *branch = n->list; branch; branch = branch->next) {
        if (branch->a)
            TRY(jinja_eval(r, branch->a, &test));
        if (!branch->a || jinja_truth(&test))
            return jinja_exec(r, branch->list);
    }
    return 0;
}

static int exec_set(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v;
    TRY(jinja_eval(r, n->b, &v));
    return assign(r, n->a, v);
}

/* Run a body in a scope of its own; what it writes becomes *out. A jump throws that away. */
static int capture(struct jinja_run *r, struct jinja_scope *scope, const struct jinja_node *list, struct jinja_value *out)
{
    struct jinja_scope *around = r->scope;
    size_t mark = jinja_mark(r);
    r->scope = scope;
    int rc = jinja_exec(r, list);
    r->scope = around;
    if (rc > 0)
        jinja_rewind(r, mark);
    return rc ? rc : jinja_cut(r, mark, out);
}

/* The filters of a block, innermost first; the chain ends where a is NULL. */
static int apply_chain(struct jinja_run *r, const struct jinja_node *filter, struct jinja_value *v)
{
    struct jinja_value in;
    if (filter->a) {
        TRY(jinja_deeper(r));
        TRY(apply_chain(r, filter->a, v));
        r->depth--;
    }
    in = *v;
    return jinja_apply(r, filter, &in, v);
}

static int exec_setblock(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_scope *scope;
    struct jinja_value v;
    TRY(scope_new(r, r->scope, &scope));
    int rc = capture(r, scope, n->list, &v);
    if (rc)
        return rc;
    if (n->b)
        TRY(apply_chain(r, n->b, &v));
    return assign(r, n->a, v);
}

static int exec_filterblock(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_scope *scope;
    struct jinja_value v;
    TRY(scope_new(r, r->scope, &scope));
    int rc = capture(r, scope, n->list, &v);
    if (rc)
        return rc;
    TRY(apply_chain(r, n->a, &v));
    return jinja_put(r, &v);
}

static int exec_scoped(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_scope *scope, *around = r->scope;
    TRY(scope_new(r, around, &scope));
    for (const struct jinja_node *set = n->d; set; set = set->next) {
        struct jinja_value v;
        TRY(jinja_eval(r, set->b, &v)); /* sees what is around, not the targets before it */
        r->scope = scope;
        TRY(assign(r, set->a, v));
        r->scope = around;
    }
    r->scope = scope;
    int rc = jinja_exec(r, n->list);
    r->scope = around;
    return rc;
}

static int exec_jump(struct jinja_run *r, const struct jinja_node *n)
{
    return n->type == JN_BREAK ? JINJA_BREAK : JINJA_CONTINUE;
}

/* ---- loops -------------------------------------------------------------------------------------------------------------- */

/* The items that the loop's own "if" lets through. */
static int filter_items(struct jinja_run *r, const struct jinja_node *n, struct jinja_scope *scope, struct jinja_seq **items)
{
    struct jinja_seq *all = *items;
    struct jinja_value test;
    *items = jinja_seq_new(r, 0);
    if (!*items)
        return NUN_ENOMEM;
    for (size_t i = 0; i < all->n; i++) {
        TRY(jinja_charge(r, 1));
        scope->n = 0;
        TRY(assign(r, n->a, all->at[i]));
        TRY(jinja_eval(r, n->c, &test));
        if (jinja_truth(&test))
            TRY(jinja_push(r, *items, all->at[i]));
    }
    return 0;
}

static int iterate(struct jinja_run *r, struct jinja_loop *l, struct jinja_scope *scope)
{
    struct jinja_value self = {.kind = JV_LOOP, .loop = l};
    for (; l->index0 < l->items->n; l->index0++) {
        TRY(jinja_charge(r, 1)); /* a body may be empty */
        scope->n = 0;
        TRY(scope_set(r, scope, r->t->loop, self));
        TRY(assign(r, l->node->a, l->items->at[l->index0]));
        int rc = jinja_exec(r, l->node->list);
        if (rc < 0 || rc == JINJA_BREAK)
            return rc < 0 ? rc : 0;
    }
    return 0;
}

/* In scopes of its own inside r->scope; the caller puts r->scope back. */
static int run_loop(struct jinja_run *r, const struct jinja_node *n, const struct jinja_value *over, int64_t depth0)
{
    struct jinja_loop *l = arena_alloc(&r->arena, sizeof *l);
    struct jinja_scope *scope, *around = r->scope;
    struct jinja_value all = *over;
    if (!l)
        return NUN_ENOMEM;
    *l = (struct jinja_loop){.node = n, .scope = around, .depth0 = depth0};
    TRY(jinja_items_of(r, &all, &l->items));
    TRY(scope_new(r, around, &scope));
    r->scope = scope;
    if (n->c)
        TRY(filter_items(r, n, scope, &l->items));
    if (l->items->n)
        return iterate(r, l, scope);
    scope->n = 0;
    return jinja_exec(r, n->d);
}

static int exec_for(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_scope *around = r->scope;
    struct jinja_value over;
    TRY(jinja_eval(r, n->b, &over));
    int rc = run_loop(r, n, &over, 0);
    r->scope = around;
    return rc;
}

/* loop(items) inside a recursive loop: the whole loop again, over other items. */
int jinja_call_loop(struct jinja_run *r, const struct jinja_loop *l, const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_scope *around = r->scope;
    size_t mark = jinja_mark(r);
    if (!l->node->flag)
        return jinja_error(r, "The loop must have the 'recursive' marker to be called recursively.");
    if (args->n != 1 || args->n_kw)
        return jinja_error(r, "a loop takes one argument when called");
    r->scope = l->scope;
    TRY(run_loop(r, l->node, &args->at[0], l->depth0 + 1));
    r->scope = around;
    return jinja_cut(r, mark, out);
}

/* ---- macros -------------------------------------------------------------------------------------------------------------- */

static int make_macro(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_macro *m = arena_alloc(&r->arena, sizeof *m);
    if (!m)
        return NUN_ENOMEM;
    *m = (struct jinja_macro){n, r->scope};
    *out = (struct jinja_value){.kind = JV_MACRO, .macro = m};
    return 0;
}

static int exec_macro(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_value v;
    TRY(make_macro(r, n, &v));
    return scope_set(r, r->scope, n->name, v);
}

static int exec_callblock(struct jinja_run *r, const struct jinja_node *n)
{
    struct jinja_pair caller = {.key = jinja_string(r->t->caller)};
    struct jinja_value v;
    TRY(make_macro(r, n->b, &caller.value));
    TRY(jinja_eval_call(r, n->a, &caller, &v));
    return jinja_put(r, &v);
}

static bool key_is(const struct jinja_pair *kw, const struct jinja_str *name)
{
    return kw->key.s == name || span_eq(jinja_span(kw->key.s), jinja_span(name));
}

static const struct jinja_value *find_keyword(const struct jinja_args *args, const struct jinja_str *name)
{
    for (size_t i = 0; i < args->n_kw; i++)
        if (key_is(&args->kw[i], name))
            return &args->kw[i].value;
    return NULL;
}

static bool has_param(const struct jinja_node *macro, size_t skip, const struct jinja_str *name)
{
    for (const struct jinja_node *p = macro->d; p; p = p->next) {
        if (skip) {
            skip--;
            continue;
        }
        if (span_eq(jinja_span(p->name), jinja_span(name)))
            return true;
    }
    return false;
}

/* Positional, keyword, default, or undefined, in the order of the parameters. */
static int bind_params(struct jinja_run *r, const struct jinja_node *macro, const struct jinja_args *args, size_t *n_params)
{
    struct jinja_value v;
    size_t i = 0;
    for (const struct jinja_node *p = macro->d; p; p = p->next, i++) {
        const struct jinja_value *given = i < args->n ? &args->at[i] : find_keyword(args, p->name);
        v = given ? *given : jinja_undefined(p->name, JV_ABSENT);
        if (!given && p->a)
            TRY(jinja_eval(r, p->a, &v));
        TRY(scope_set(r, r->scope, p->name, v));
    }
    *n_params = i;
    return 0;
}

static int bind_caller(struct jinja_run *r, const struct jinja_node *macro, const struct jinja_args *args)
{
    const struct jinja_value *caller = find_keyword(args, r->t->caller);
    if (!(macro->flag & JINJA_USES_CALLER) || has_param(macro, 0, r->t->caller))
        return 0;
    return scope_set(r, r->scope, r->t->caller, caller ? *caller : jinja_undefined(r->t->caller, JV_ABSENT));
}

/* Keywords that no parameter took, which only a body that mentions kwargs wants. */
static int bind_kwargs(struct jinja_run *r, const struct jinja_node *macro, const struct jinja_args *args)
{
    struct jinja_dict *rest = jinja_dict_new(r, 0);
    if (!rest)
        return NUN_ENOMEM;
    for (size_t i = 0; i < args->n_kw; i++) {
        const struct jinja_str *name = args->kw[i].key.s;
        bool is_caller = (macro->flag & JINJA_USES_CALLER) && key_is(&args->kw[i], r->t->caller);
        if (is_caller || has_param(macro, args->n, name))
            continue;
        if (!(macro->flag & JINJA_USES_KWARGS))
            return jinja_error(r, "macro '%.*s' takes no keyword argument '%.*s'", (int)macro->name->len, macro->name->ptr,
                               (int)name->len, name->ptr);
        TRY(jinja_dict_put(r, rest, &args->kw[i].key, args->kw[i].value));
    }
    return macro->flag & JINJA_USES_KWARGS ? scope_set(r, r->scope, r->t->kwargs, jinja_of_dict(JV_DICT, rest)) : 0;
}

static int bind_varargs(struct jinja_run *r, const struct jinja_node *macro, const struct jinja_args *args, size_t n_params)
{
    bool wants = macro->flag & JINJA_USES_VARARGS;
    if (!wants && args->n > n_params)
        return jinja_error(r, "macro '%.*s' takes not more than %zu argument(s)", (int)macro->name->len, macro->name->ptr,
                           n_params);
    struct jinja_seq *rest = wants ? jinja_seq_new(r, 0) : NULL;
    if (wants && !rest)
        return NUN_ENOMEM;
    for (size_t i = n_params; wants && i < args->n; i++)
        TRY(jinja_push(r, rest, args->at[i]));
    return wants ? scope_set(r, r->scope, r->t->varargs, jinja_of_seq(JV_TUPLE, rest)) : 0;
}

int jinja_call_macro(struct jinja_run *r, const struct jinja_macro *m, const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_scope *scope, *around = r->scope;
    size_t n_params;
    TRY(scope_new(r, m->scope, &scope));
    r->scope = scope;
    TRY(bind_kwargs(r, m->node, args));
    TRY(bind_caller(r, m->node, args));
    TRY(bind_params(r, m->node, args, &n_params));
    TRY(bind_varargs(r, m->node, args, n_params));
    TRY(capture(r, scope, m->node->list, out));
    r->scope = around;
    return 0;
}

/* ---- the walk ------------------------------------------------------------------------------------------------------------- */

static exec_fn *const execs[JN_COUNT] = {
    [JN_TEXT] = exec_text,         [JN_OUTPUT] = exec_output,           [JN_IF] = exec_if,
    [JN_FOR] = exec_for,           [JN_SET] = exec_set,                 [JN_SETBLOCK] = exec_setblock,
    [JN_MACRO] = exec_macro,       [JN_CALLBLOCK] = exec_callblock,     [JN_FILTERBLOCK] = exec_filterblock,
    [JN_WITH] = exec_scoped,       [JN_GENERATION] = exec_scoped,       [JN_BREAK] = exec_jump,
    [JN_CONTINUE] = exec_jump,
};

int jinja_exec(struct jinja_run *r, const struct jinja_node *list)
{
    TRY(jinja_deeper(r));
    for (const struct jinja_node *n = list; n; n = n->next) {
        TRY(jinja_charge(r, 1));
        int rc = execs[n->type](r, n);
        if (rc < 0 && !r->placed) {
            r->placed = true;
            return err_at(rc, "%s:%u:%u", r->t->place, n->line, n->column);
        }
        if (rc) {
            r->depth--;
            return rc;
        }
    }
    r->depth--;
    return 0;
}

static int render(struct jinja_run *r, const json_t *context)
{
    struct jinja_value v;
    if (!json_is_object(context))
        return err_set(NUN_EARG, "%s: the context must be a JSON object", r->t->place);
    r->stack_cap = STACK_VALUES;
    r->stack = arena_array(&r->arena, r->stack_cap, sizeof *r->stack);
    if (!r->stack)
        return NUN_ENOMEM;
    TRY(jinja_from_json(r, context, &v));
    r->context = v.dict;
    TRY(scope_new(r, NULL, &r->scope));
    return jinja_exec(r, r->t->body);
}

int jinja_render(const struct jinja *t, const json_t *context, struct buf *out)
{
    struct jinja_run r = {.t = t, .out = out, .max_steps = LIMIT_OF(template_steps), .max_depth = LIMIT_OF(template_depth)};
    size_t mark = out->len;
    TRY(buf_error(out));
    arena_init(&r.arena, MEM_TEXT, LIMIT_OF(template_memory));
    int rc = render(&r, context);
    if (rc < 0) {
        out->error = 0;
        jinja_rewind(&r, mark);
        if (!r.placed)
            err_at(rc, "%s", t->place);
    }
    arena_free(&r.arena);
    return rc < 0 ? rc : buf_error(out);
}
