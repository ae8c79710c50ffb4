/* Calls in templates: rows found by name, arguments bound to their parameters, and whatever can be
 * called. Knows no row's meaning. */
/* SPDX-License-Identifier: MIT */
#include "text/jinja_int.h"

/* ---- rows by name ------------------------------------------------------------------------------------------------- */

const struct jinja_row *jinja_find(const struct jinja_table *t, struct span name)
{
    for (size_t i = 0; i < t->n; i++)
        if (span_is(name, t->rows[i].name))
            return &t->rows[i];
    return NULL;
}

static const struct jinja_row *find_in(const struct jinja_table *const *tables, size_t n, struct span name)
{
    const struct jinja_row *row = NULL;
    for (size_t i = 0; i < n && !row; i++)
        row = jinja_find(tables[i], name);
    return row;
}

const struct jinja_row *jinja_find_filter(struct span name)
{
    static const struct jinja_table *const tables[] = {&jinja_filters_text, &jinja_filters_seq, &jinja_filters_pick};
    return find_in(tables, sizeof tables / sizeof tables[0], name);
}

const struct jinja_row *jinja_find_test(struct span name)
{
    return jinja_find(&jinja_tests, name);
}

const struct jinja_row *jinja_find_global(struct span name)
{
    return jinja_find(&jinja_globals, name);
}

static const struct { enum jinja_kind kind; const struct jinja_table *table; } method_tables[] = {
    {JV_STRING, &jinja_methods_str}, {JV_STRING, &jinja_methods_str_is}, {JV_LIST, &jinja_methods_list},
    {JV_TUPLE, &jinja_methods_tuple}, {JV_DICT, &jinja_methods_dict},    {JV_LOOP, &jinja_methods_loop}};

const struct jinja_row *jinja_find_method(enum jinja_kind kind, struct span name)
{
    const struct jinja_row *row = NULL;
    for (size_t i = 0; i < sizeof method_tables / sizeof method_tables[0] && !row; i++)
        if (method_tables[i].kind == kind)
            row = jinja_find(method_tables[i].table, name);
    return row;
}

bool jinja_any_method(struct span name)
{
    for (size_t i = 0; i < sizeof method_tables / sizeof method_tables[0]; i++)
        if (jinja_find(method_tables[i].table, name))
            return true;
    return false;
}

/* ---- arguments ------------------------------------------------------------------------------------------------------ */

/* The next word of a row's params, without its '?'. */
static bool next_param(const char **params, struct span *name, bool *optional)
{
    const char *p = *params + strspn(*params, " ");
    *optional = *p == '?';
    p += *optional;
    *name = span_of(p, strcspn(p, " "));
    *params = p + name->len;
    return name->len != 0;
}

static int bind(struct jinja_run *r, struct jinja_call *c)
{
    const char *params = c->row->params, *name = c->row->name;
    struct span param;
    bool optional;
    size_t n = 0, used = 0;
    for (; next_param(&params, &param, &optional); n++) {
        if (n < c->all.n)
            c->arg[n] = c->all.at[n];
        for (size_t i = 0; i < c->all.n_kw; i++) {
            if (!span_eq(jinja_span(c->all.kw[i].key.s), param))
                continue;
            if (jinja_given(&c->arg[n]))
                return jinja_error(r, "%s() got multiple values for argument '%.*s'", name, (int)param.len, param.ptr);
            c->arg[n] = c->all.kw[i].value;
            used++;
        }
        if (!optional && !jinja_given(&c->arg[n]))
            return jinja_error(r, "%s() misses its argument '%.*s'", name, (int)param.len, param.ptr);
    }
    if (c->all.n > n)
        return jinja_error(r, "%s() takes at most %zu arguments, %zu given", name, n, c->all.n);
    if (used < c->all.n_kw)
        return jinja_error(r, "%s() got a keyword argument that it does not have", name);
    return 0;
}

int jinja_call_row(struct jinja_run *r, const struct jinja_row *row, const struct jinja_value *self,
                   const struct jinja_args *args, struct jinja_value *out)
{
    struct jinja_call c = {.row = row, .self = *self, .all = *args};
    TRY(jinja_deeper(r)); /* map('map', ...) goes as deep as it has arguments */
    if (row->params[0] != '*')
        TRY(bind(r, &c));
    TRY(row->fn(r, &c, out));
    r->depth--;
    return 0;
}

int jinja_call_value(struct jinja_run *r, const struct jinja_value *f, const struct jinja_args *args, struct jinja_value *out)
{
    switch (f->kind) {
    case JV_NATIVE: return jinja_call_row(r, f->native->row, &f->native->self, args, out);
    case JV_MACRO: return jinja_call_macro(r, f->macro, args, out);
    case JV_LOOP: return jinja_call_loop(r, f->loop, args, out);
    case JV_UNDEFINED: return jinja_error_undefined(r, f);
    default: return jinja_error(r, "'%s' object is not callable", jinja_kind_name(f));
    }
}

int jinja_arg_int(struct jinja_run *r, const struct jinja_call *c, int i, int64_t fallback, int64_t *out)
{
    const struct jinja_value *v = &c->arg[i];
    *out = fallback;
    if (!jinja_given(v) || v->kind == JV_NONE)
        return 0;
    if (!jinja_is_int(v))
        return jinja_error(r, "%s(): '%s' object cannot be interpreted as an integer", c->row->name, jinja_kind_name(v));
    *out = jinja_as_int(v);
    return 0;
}

int jinja_arg_str(struct jinja_run *r, const struct jinja_call *c, int i, struct span *out)
{
    const struct jinja_value *v = &c->arg[i];
    if (!jinja_given(v) || v->kind == JV_NONE)
        return 1;
    if (v->kind == JV_UNDEFINED)
        return jinja_error_undefined(r, v);
    if (v->kind != JV_STRING)
        return jinja_error(r, "%s(): expected a string, found %s", c->row->name, jinja_kind_name(v));
    *out = jinja_span(v->s);
    return 0;
}

bool jinja_arg_true(const struct jinja_call *c, int i)
{
    return jinja_truth(&c->arg[i]);
}
