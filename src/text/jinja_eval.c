/* Expressions of templates, evaluated: one function a kind of node, operators with Python's meaning,
 * attributes and subscripts, calls. Statements are jinja_exec.c's. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "base/ck.h"
#include "text/jinja_int.h"

/* ---- operators ------------------------------------------------------------------------------------------------- */

static const char *const op_names[] = {
    [OP_ADD] = "+", [OP_SUB] = "-", [OP_MUL] = "*", [OP_DIV] = "/", [OP_FLOORDIV] = "//", [OP_MOD] = "%", [OP_POW] = "**",
    [OP_EQ] = "==", [OP_NE] = "!=", [OP_GT] = ">", [OP_GE] = ">=", [OP_LT] = "<", [OP_LE] = "<=", [OP_IN] = "in",
    [OP_NOTIN] = "not in"};

static int no_operator(struct jinja_run *r, enum jinja_op op, const struct jinja_value *a, const struct jinja_value *b)
{
    return jinja_error(r, "unsupported operand type(s) for %s: '%s' and '%s'", op_names[op], jinja_kind_name(a),
                       jinja_kind_name(b));
}

static int int_power(struct jinja_run *r, int64_t base, int64_t e, struct jinja_value *out)
{
    int64_t v = 1;
    bool over = false;
    if (e < 0) {
        *out = jinja_float(pow((double)base, (double)e));
        return base ? 0 : jinja_error(r, "0 cannot be raised to a negative power");
    }
    if (base == 0 || base == 1 || base == -1)
        v = e == 0 ? 1 : base == -1 && e % 2 == 0 ? 1 : base;
    else
        while (e-- && !over)
            over = __builtin_mul_overflow(v, base, &v);
    *out = jinja_int(v);
    return over ? err_set(NUN_ELIMIT, "an integer beyond 64 bits") : 0;
}

/* Quotients are floored, remainders have the divisor's sign, as in Python. */
static int int_arithmetic(struct jinja_run *r, enum jinja_op op, int64_t a, int64_t b, struct jinja_value *out)
{
    int64_t v = 0;
    bool over = false, divides = op == OP_FLOORDIV || op == OP_MOD;
    if (op == OP_POW)
        return int_power(r, a, b, out);
    if (divides && b == 0)
        return jinja_error(r, "integer division or modulo by zero");
    switch (op) {
    case OP_ADD: over = __builtin_add_overflow(a, b, &v); break;
    case OP_SUB: over = __builtin_sub_overflow(a, b, &v); break;
    case OP_MUL: over = __builtin_mul_overflow(a, b, &v); break;
    case OP_FLOORDIV:
        over = a == INT64_MIN && b == -1;
        v = over ? 0 : a / b - (a % b != 0 && (a % b < 0) != (b < 0));
        break;
    default:
        v = b == -1 ? 0 : a % b;
        v += v != 0 && (v < 0) != (b < 0) ? b : 0;
        break;
    }
    *out = jinja_int(v);
    return over ? err_set(NUN_ELIMIT, "an integer beyond 64 bits") : 0;
}

static int float_arithmetic(struct jinja_run *r, enum jinja_op op, double a, double b, struct jinja_value *out)
{
    double v;
    if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && b == 0)
        return jinja_error(r, "division by zero");
    switch (op) {
    case OP_ADD: v = a + b; break;
    case OP_SUB: v = a - b; break;
    case OP_MUL: v = a * b; break;
    case OP_DIV: v = a / b; break;
    case OP_POW: v = pow(a, b); break;
    default:
        v = fmod(a, b);
        v += v != 0 && (v < 0) != (b < 0) ? b : 0;
        if (op == OP_FLOORDIV)
            v = floor((a - v) / b + 0.5);
        break;
    }
    *out = jinja_float(v);
    return 0;
}

static int escaped(struct jinja_run *r, struct jinja_value *v)
{
    size_t mark = jinja_mark(r);
    if (v->flag)
        return 0;
    jinja_put_escaped(jinja_span(v->s), r->out);
    TRY(jinja_cut(r, mark, v));
    v->flag = 1;
    return 0;
}

/* Markup escapes what it is joined with. */
static int add_strings(struct jinja_run *r, struct jinja_value a, struct jinja_value b, struct jinja_value *out)
{
    bool markup = a.flag || b.flag;
    if (markup) {
        TRY(escaped(r, &a));
        TRY(escaped(r, &b));
    }
    TRY(jinja_join2(r, a.s, b.s, out));
    out->flag = markup;
    return 0;
}

static int add_seqs(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b, struct jinja_value *out)
{
    struct jinja_seq *s = jinja_seq_new(r, a->seq->n + b->seq->n);
    if (!s)
        return NUN_ENOMEM;
    for (size_t i = 0; i < a->seq->n; i++)
        s->at[s->n++] = a->seq->at[i];
    for (size_t i = 0; i < b->seq->n; i++)
        s->at[s->n++] = b->seq->at[i];
    *out = jinja_of_seq(a->kind, s);
    return jinja_charge(r, s->n / 4);
}

static int repeat(struct jinja_run *r, const struct jinja_value *v, int64_t times, struct jinja_value *out)
{
    size_t n = times > 0 ? (size_t)times : 0, total;
    if (v->kind == JV_STRING) {
        size_t mark = jinja_mark(r);
        jinja_put_padding(r, jinja_span(v->s), v->s->len ? n : 0);
        TRY(jinja_charge(r, v->s->len ? n / 16 : 0));
        TRY(jinja_cut(r, mark, out));
        out->flag = v->flag;
        return 0;
    }
    if (ck_mul(v->seq->n, n, &total))
        return err_set(NUN_ELIMIT, "a list of %zu times %zu items", n, v->seq->n);
    struct jinja_seq *s = jinja_seq_new(r, total);
    if (!s)
        return NUN_ENOMEM;
    for (; s->n < total; s->n++)
        s->at[s->n] = v->seq->at[s->n % v->seq->n];
    *out = jinja_of_seq(v->kind, s);
    return jinja_charge(r, total / 4);
}

static bool repeats(const struct jinja_value *v)
{
    return v->kind == JV_STRING || v->kind == JV_LIST || v->kind == JV_TUPLE;
}

int jinja_binary(struct jinja_run *r, enum jinja_op op, const struct jinja_value *a, const struct jinja_value *b,
                 struct jinja_value *out)
{
    if (op == OP_MOD && a->kind == JV_STRING) {
        size_t mark = jinja_mark(r);
        TRY(jinja_percent(r, jinja_span(a->s), b));
        return jinja_cut(r, mark, out);
    }
    if (a->kind == JV_UNDEFINED || b->kind == JV_UNDEFINED)
        return jinja_error_undefined(r, a->kind == JV_UNDEFINED ? a : b);
    if (jinja_is_int(a) && jinja_is_int(b) && op != OP_DIV)
        return int_arithmetic(r, op, jinja_as_int(a), jinja_as_int(b), out);
    if (jinja_is_number(a) && jinja_is_number(b))
        return float_arithmetic(r, op, jinja_as_double(a), jinja_as_double(b), out);
    if (op == OP_ADD && a->kind == JV_STRING && b->kind == JV_STRING)
        return add_strings(r, *a, *b, out);
    if (op == OP_ADD && a->kind == b->kind && (a->kind == JV_LIST || a->kind == JV_TUPLE))
        return add_seqs(r, a, b, out);
    if (op == OP_ADD && a->kind == JV_STRING)
        return jinja_error(r, "can only concatenate str (not \"%s\") to str", jinja_kind_name(b));
    if (op == OP_MUL && repeats(a) && jinja_is_int(b))
        return repeat(r, a, jinja_as_int(b), out);
    if (op == OP_MUL && repeats(b) && jinja_is_int(a))
        return repeat(r, b, jinja_as_int(a), out);
    return no_operator(r, op, a, b);
}

static bool is_nan(const struct jinja_value *v) { return v->kind == JV_FLOAT && isnan(v->f); }

int jinja_compare(struct jinja_run *r, enum jinja_op op, const struct jinja_value *a, const struct jinja_value *b, bool *out)
{
    int order;
    if (op == OP_EQ || op == OP_NE) {
        TRY(jinja_equal(r, a, b, out));
        *out ^= op == OP_NE;
        return 0;
    }
    if (op == OP_IN || op == OP_NOTIN) {
        TRY(jinja_contains(r, b, a, out));
        *out ^= op == OP_NOTIN;
        return 0;
    }
    TRY(jinja_order(r, a, b, op_names[op], &order));
    *out = op == OP_GT ? order > 0 : op == OP_GE ? order >= 0 : op == OP_LT ? order < 0 : order <= 0;
    *out = *out && !is_nan(a) && !is_nan(b);
    return 0;
}

/* ---- attributes and subscripts ---------------------------------------------------------------------------------- */

static int loop_attribute(const struct jinja_loop *l, struct span name, struct jinja_value *out)
{
    size_t n = l->items->n, i = l->index0;
    const struct { const char *name; struct jinja_value value; } rows[] = {
        {"index", jinja_int((int64_t)i + 1)},
        {"index0", jinja_int((int64_t)i)},
        {"first", jinja_bool(i == 0)},
        {"last", jinja_bool(i + 1 >= n)},
        {"length", jinja_int((int64_t)n)},
        {"revindex", jinja_int((int64_t)n - (int64_t)i)},
        {"revindex0", jinja_int((int64_t)n - (int64_t)i - 1)},
        {"depth", jinja_int(l->depth0 + 1)},
        {"depth0", jinja_int(l->depth0)},
        {"previtem", i ? l->items->at[i - 1] : jinja_undefined(NULL, JV_LOOP)},
        {"nextitem", i + 1 < n ? l->items->at[i + 1] : jinja_undefined(NULL, JV_LOOP)},
    };
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
        if (span_is(name, rows[k].name)) {
            *out = rows[k].value;
            return 0;
        }
    return 1;
}

/* What Python finds with getattr: methods, and fields of our own objects. 1: nothing. */
static int own_attribute(struct jinja_run *r, const struct jinja_value *v, const struct jinja_str *name, bool maybe_method,
                         struct jinja_value *out)
{
    const struct jinja_row *row = maybe_method ? jinja_find_method(v->kind, jinja_span(name)) : NULL;
    if (row) {
        struct jinja_native *n = arena_alloc(&r->arena, sizeof *n);
        if (!n)
            return NUN_ENOMEM;
        *n = (struct jinja_native){row, *v};
        *out = (struct jinja_value){.kind = JV_NATIVE, .native = n};
        return 0;
    }
    if (v->kind == JV_NAMESPACE) {
        struct jinja_value key = jinja_string(name);
        return jinja_dict_get(r, v->dict, &key, out);
    }
    if (v->kind == JV_LOOP)
        return loop_attribute(v->loop, jinja_span(name), out);
    if (v->kind == JV_MACRO && span_is(jinja_span(name), "name")) {
        *out = jinja_string(v->macro->node->name);
        return 0;
    }
    return 1;
}

int jinja_getattr(struct jinja_run *r, const struct jinja_value *v, const struct jinja_str *name, bool maybe_method,
                  struct jinja_value *out)
{
    struct jinja_value key = jinja_string(name);
    if (v->kind == JV_UNDEFINED)
        return jinja_error_undefined(r, v);
    int rc = own_attribute(r, v, name, maybe_method, out);
    if (rc > 0 && v->kind == JV_DICT)
        rc = jinja_dict_get(r, v->dict, &key, out);
    if (rc > 0)
        *out = jinja_undefined(name, v->kind);
    return rc < 0 ? rc : 0;
}

static int char_at(struct jinja_run *r, const struct jinja_value *v, int64_t i, struct jinja_value *out)
{
    size_t n = jinja_chars(v->s), from;
    uint32_t cp;
    TRY(jinja_charge(r, v->s->len / 64));
    i += i < 0 ? (int64_t)n : 0;
    if (i < 0 || (uint64_t)i >= n)
        return 1;
    from = jinja_char_offset(v->s, (size_t)i);
    return jinja_part(r, v, span_of(v->s->ptr + from, jinja_next_char(jinja_span(v->s), from, &cp)), out);
}

/* 1: Python would raise a LookupError or TypeError, and the value is undefined. */
static int item_at(struct jinja_run *r, const struct jinja_value *v, const struct jinja_value *key, struct jinja_value *out)
{
    if (v->kind == JV_DICT)
        return key->kind == JV_LIST || key->kind == JV_DICT ? 1 : jinja_dict_get(r, v->dict, key, out);
    if (!jinja_is_int(key))
        return 1;
    int64_t i = jinja_as_int(key);
    if (v->kind == JV_STRING)
        return char_at(r, v, i, out);
    if (v->kind != JV_LIST && v->kind != JV_TUPLE && v->kind != JV_RANGE)
        return 1;
    i += i < 0 ? (int64_t)v->seq->n : 0;
    if (i < 0 || (uint64_t)i >= v->seq->n)
        return 1;
    *out = v->seq->at[i];
    return 0;
}

int jinja_getitem(struct jinja_run *r, const struct jinja_value *v, const struct jinja_value *key, struct jinja_value *out)
{
    if (v->kind == JV_UNDEFINED)
        return jinja_error_undefined(r, v);
    if (key->kind == JV_SLICE)
        return jinja_slice(r, v, key, out);
    int rc = item_at(r, v, key, out);
    if (rc > 0 && key->kind == JV_STRING)
        rc = own_attribute(r, v, key->s, true, out);
    if (rc > 0)
        *out = jinja_undefined(key->kind == JV_STRING ? key->s : NULL, v->kind);
    return rc < 0 ? rc : 0;
}

/* ---- one function a kind of node ------------------------------------------------------------------------------------ */

typedef int eval_fn(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out);

static int eval_const(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    *out = n->value;
    return 0;
}

static int eval_name(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value key = jinja_string(n->name);
    for (const struct jinja_scope *s = r->scope; s; s = s->parent)
        for (size_t i = s->n; i-- > 0;)
            if (s->at[i].name == n->name) {
                *out = s->at[i].value;
                return 0;
            }
    int rc = jinja_dict_get(r, r->context, &key, out);
    if (rc <= 0)
        return rc;
    const struct jinja_row *row = jinja_find_global(jinja_span(n->name));
    if (!row) {
        *out = jinja_undefined(n->name, JV_ABSENT);
        return 0;
    }
    struct jinja_native *made = arena_alloc(&r->arena, sizeof *made);
    if (!made)
        return NUN_ENOMEM;
    made->row = row;
    *out = (struct jinja_value){.kind = JV_NATIVE, .native = made};
    return 0;
}

static int eval_items(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_seq *s = jinja_seq_new(r, 0);
    struct jinja_value v;
    if (!s)
        return NUN_ENOMEM;
    for (const struct jinja_node *item = n->list; item; item = item->next) {
        TRY(jinja_eval(r, item, &v));
        TRY(jinja_push(r, s, v));
    }
    *out = jinja_of_seq(n->type == JN_LIST ? JV_LIST : JV_TUPLE, s);
    return 0;
}

static int eval_dict(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_dict *d = jinja_dict_new(r, 0);
    struct jinja_value key, v;
    if (!d)
        return NUN_ENOMEM;
    for (const struct jinja_node *pair = n->list; pair; pair = pair->next) {
        TRY(jinja_eval(r, pair->a, &key));
        TRY(jinja_eval(r, pair->b, &v));
        TRY(jinja_dict_put(r, d, &key, v));
    }
    *out = jinja_of_dict(JV_DICT, d);
    return 0;
}

static int eval_getattr(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value v;
    TRY(jinja_eval(r, n->a, &v));
    return jinja_getattr(r, &v, n->name, n->flag, out);
}

static int eval_getitem(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value v, key;
    TRY(jinja_eval(r, n->a, &v));
    TRY(jinja_eval(r, n->b, &key));
    return jinja_getitem(r, &v, &key, out);
}

static int eval_slice(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    const struct jinja_node *parts[] = {n->a, n->b, n->c};
    struct jinja_value *v = arena_array(&r->arena, 3, sizeof *v);
    if (!v)
        return NUN_ENOMEM;
    for (int i = 0; i < 3; i++) {
        v[i] = jinja_none();
        if (parts[i])
            TRY(jinja_eval(r, parts[i], &v[i]));
    }
    *out = (struct jinja_value){.kind = JV_SLICE, .slice = v};
    return 0;
}

static int eval_not(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    TRY(jinja_eval(r, n->a, out));
    *out = jinja_bool(!jinja_truth(out));
    return 0;
}

static int eval_sign(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    TRY(jinja_eval(r, n->a, out));
    if (out->kind == JV_UNDEFINED)
        return jinja_error_undefined(r, out);
    if (!jinja_is_number(out))
        return jinja_error(r, "bad operand type for unary %s: '%s'", n->type == JN_NEG ? "-" : "+", jinja_kind_name(out));
    if (out->kind == JV_FLOAT)
        out->f = n->type == JN_NEG ? -out->f : out->f;
    else if (n->type == JN_NEG)
        return int_arithmetic(r, OP_SUB, 0, jinja_as_int(out), out);
    else
        *out = jinja_int(jinja_as_int(out));
    return 0;
}

static int eval_logic(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    TRY(jinja_eval(r, n->a, out));
    return jinja_truth(out) == (n->type == JN_AND) ? jinja_eval(r, n->b, out) : 0;
}

static int eval_cond(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    TRY(jinja_eval(r, n->b, out));
    if (jinja_truth(out))
        return jinja_eval(r, n->a, out);
    if (n->c)
        return jinja_eval(r, n->c, out);
    *out = jinja_undefined(NULL, JV_ABSENT);
    return 0;
}

static int eval_binary(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value a, b;
    TRY(jinja_eval(r, n->a, &a));
    TRY(jinja_eval(r, n->b, &b));
    return jinja_binary(r, n->op, &a, &b, out);
}

static int eval_concat(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value v;
    TRY(jinja_eval(r, n->list, out));
    TRY(jinja_to_str(r, out, out));
    for (const struct jinja_node *item = n->list->next; item; item = item->next) {
        TRY(jinja_eval(r, item, &v));
        TRY(jinja_to_str(r, &v, &v));
        TRY(jinja_join2(r, out->s, v.s, out));
    }
    out->flag = 0;
    return 0;
}

static int eval_compare(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value a, b;
    bool holds = true;
    TRY(jinja_eval(r, n->a, &a));
    for (const struct jinja_node *operand = n->list; operand && holds; operand = operand->next) {
        TRY(jinja_eval(r, operand->a, &b));
        TRY(jinja_compare(r, operand->op, &a, &b, &holds));
        a = b;
    }
    *out = jinja_bool(holds);
    return 0;
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

static int stack_push(struct jinja_run *r, struct jinja_value v)
{
    if (r->stack_n == r->stack_cap)
        return err_set(NUN_ELIMIT, "more than %zu arguments of calls within each other", r->stack_cap);
    r->stack[r->stack_n++] = v;
    return 0;
}

static int push_splat(struct jinja_run *r, const struct jinja_value *v)
{
    struct jinja_seq *s;
    TRY(jinja_items_of(r, v, &s));
    for (size_t i = 0; i < s->n; i++)
        TRY(stack_push(r, s->at[i]));
    return 0;
}

static int push_splat_dict(struct jinja_run *r, const struct jinja_value *v)
{
    if (v->kind != JV_DICT)
        return jinja_error(r, "argument after ** must be a mapping, not %s", jinja_kind_name(v));
    for (size_t i = 0; i < v->dict->n; i++) {
        if (v->dict->at[i].key.kind != JV_STRING)
            return jinja_error(r, "keywords must be strings");
        TRY(stack_push(r, v->dict->at[i].key));
        TRY(stack_push(r, v->dict->at[i].value));
    }
    return 0;
}

/* Positional values, then keywords as pairs, onto the stack. `extra`: one more keyword, or NULL. */
static int push_args(struct jinja_run *r, const struct jinja_node *list, const struct jinja_pair *extra, struct jinja_args *out)
{
    struct jinja_value v;
    size_t from = r->stack_n, n = 0;
    for (int keywords = 0; keywords < 2; keywords++) {
        for (const struct jinja_node *arg = list; arg; arg = arg->next) {
            if ((arg->name || arg->op == OP_POW) != keywords)
                continue;
            TRY(jinja_eval(r, arg->a, &v));
            if (arg->op)
                TRY(keywords ? push_splat_dict(r, &v) : push_splat(r, &v));
            else if (arg->name)
                TRY(stack_push(r, jinja_string(arg->name)));
            if (!arg->op)
                TRY(stack_push(r, v));
        }
        n = keywords ? n : r->stack_n - from;
    }
    if (extra) {
        TRY(stack_push(r, extra->key));
        TRY(stack_push(r, extra->value));
    }
    *out = (struct jinja_args){.at = r->stack + from, .n = n, .kw = (const struct jinja_pair *)(r->stack + from + n)};
    out->n_kw = (r->stack_n - from - n) / 2;
    return 0;
}

int jinja_eval_call(struct jinja_run *r, const struct jinja_node *n, const struct jinja_pair *extra, struct jinja_value *out)
{
    struct jinja_value f;
    struct jinja_args args;
    size_t from = r->stack_n;
    TRY(jinja_eval(r, n->a, &f));
    TRY(push_args(r, n->list, extra, &args));
    TRY(jinja_call_value(r, &f, &args, out));
    r->stack_n = from;
    return 0;
}

static int eval_call(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    return jinja_eval_call(r, n, NULL, out);
}

int jinja_apply(struct jinja_run *r, const struct jinja_node *n, const struct jinja_value *self, struct jinja_value *out)
{
    struct jinja_args args;
    size_t from = r->stack_n;
    TRY(push_args(r, n->list, NULL, &args));
    TRY(jinja_call_row(r, n->row, self, &args, out));
    r->stack_n = from;
    return 0;
}

static int eval_filter(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    struct jinja_value self;
    TRY(jinja_eval(r, n->a, &self));
    return jinja_apply(r, n, &self, out);
}

static eval_fn *const evals[JN_COUNT] = {
    [JN_CONST] = eval_const,     [JN_NAME] = eval_name,     [JN_LIST] = eval_items,     [JN_TUPLE] = eval_items,
    [JN_DICT] = eval_dict,       [JN_GETATTR] = eval_getattr, [JN_GETITEM] = eval_getitem, [JN_SLICE] = eval_slice,
    [JN_CALL] = eval_call,       [JN_FILTER] = eval_filter, [JN_TEST] = eval_filter,    [JN_NOT] = eval_not,
    [JN_NEG] = eval_sign,        [JN_POS] = eval_sign,      [JN_AND] = eval_logic,      [JN_OR] = eval_logic,
    [JN_COND] = eval_cond,       [JN_BINARY] = eval_binary, [JN_CONCAT] = eval_concat,  [JN_COMPARE] = eval_compare,
};

int jinja_eval(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out)
{
    TRY(jinja_charge(r, 1));
    TRY(jinja_deeper(r));
    int rc = evals[n->type](r, n, out);
    r->depth--;
    if (rc < 0 && !r->placed) {
        r->placed = true;
        return err_at(rc, "%s:%u:%u", r->t->place, n->line, n->column);
    }
    return rc;
}
