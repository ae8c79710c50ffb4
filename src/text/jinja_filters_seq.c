/* Filters of templates that work on sequences and dicts, and those that pick by attribute or test: one
 * row each. Where jinja2 gives a generator, so do these, though all items are made at once. */
/* SPDX-License-Identifier: MIT */
#include "text/jinja_int.h"

static int generator(struct jinja_run *r, struct jinja_seq *s, struct jinja_value *out)
{
    *out = jinja_of_seq(JV_GENERATOR, s);
    return jinja_charge(r, s->n / 4);
}

static int empty_result(const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_undefined(NULL, (enum jinja_kind)c->self.kind);
    return 0;
}

/* ---- attributes ---------------------------------------------------------------------------------------------------------- */

static bool all_digits(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return s.len != 0;
}

/* One step of a path; digits are an index. */
static int step(struct jinja_run *r, struct span part, const struct jinja_value *fallback, struct jinja_value *v)
{
    struct jinja_value key, next;
    int64_t index;
    TRY(jinja_borrow_str(r, part, &key));
    if (all_digits(part) && jinja_read_int(part, 10, &index))
        key = jinja_int(index);
    TRY(jinja_getitem(r, v, &key, &next));
    *v = fallback && next.kind == JV_UNDEFINED ? *fallback : next;
    return 0;
}

int jinja_path(struct jinja_run *r, const struct jinja_value *item, const struct jinja_value *attribute,
               const struct jinja_value *fallback, struct jinja_value *out)
{
    struct jinja_value v = *item, next;
    if (!jinja_given(attribute) || attribute->kind == JV_NONE) {
        *out = v;
        return 0;
    }
    if (fallback && (!jinja_given(fallback) || fallback->kind == JV_NONE))
        fallback = NULL;
    if (attribute->kind != JV_STRING) {
        TRY(jinja_getitem(r, &v, attribute, &next));
        *out = fallback && next.kind == JV_UNDEFINED ? *fallback : next;
        return 0;
    }
    struct span path = jinja_span(attribute->s);
    for (const char *dot; (dot = path.len ? memchr(path.ptr, '.', path.len) : NULL);) {
        size_t n = (size_t)(dot - path.ptr);
        TRY(step(r, span_of(path.ptr, n), fallback, &v));
        path = span_from(path, n + 1);
    }
    TRY(step(r, path, fallback, &v));
    *out = v;
    return 0;
}

/* The items and, for each, what it is ordered by. */
static int items_and_keys(struct jinja_run *r, const struct jinja_call *c, const struct jinja_value *attribute,
                          const struct jinja_value *fallback, bool case_sensitive, struct jinja_seq **items,
                          struct jinja_seq **keys)
{
    struct jinja_seq *all;
    TRY(jinja_items_of(r, &c->self, &all));
    TRY(jinja_copy_seq(r, all, items));
    *keys = jinja_seq_new(r, all->n);
    if (!*keys)
        return NUN_ENOMEM;
    for (size_t i = 0; i < all->n; i++) {
        struct jinja_value key;
        TRY(jinja_path(r, &all->at[i], attribute, fallback, &key));
        if (!case_sensitive)
            TRY(jinja_lower_key(r, &key));
        TRY(jinja_push(r, *keys, key));
    }
    return jinja_charge(r, all->n);
}

/* ---- order ----------------------------------------------------------------------------------------------------------------- */

/* sort(attribute="a,b"): stable, so the last one first. */
static int filter_sort(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_call again = *c;
    struct jinja_value attribute = c->arg[2], part;
    struct jinja_seq *items = NULL, *keys;
    struct span rest = attribute.kind == JV_STRING ? jinja_span(attribute.s) : SPAN("");
    do {
        const char *comma = rest.len ? memrchr(rest.ptr, ',', rest.len) : NULL;
        size_t from = comma ? (size_t)(comma - rest.ptr) + 1 : 0;
        if (attribute.kind == JV_STRING) {
            TRY(jinja_borrow_str(r, span_from(rest, from), &part));
            attribute = part;
        }
        TRY(items_and_keys(r, &again, &attribute, NULL, jinja_arg_true(c, 1), &items, &keys));
        TRY(jinja_sort(r, items, keys, jinja_arg_true(c, 0)));
        again.self = jinja_of_seq(JV_LIST, items);
        rest.len = from ? from - 1 : 0;
    } while (rest.len);
    *out = again.self;
    return 0;
}

static int filter_dictsort(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_call pairs = *c;
    struct span by = SPAN("key");
    struct jinja_seq *items, *keys;
    TRY(jinja_arg_str(r, c, 1, &by));
    bool value = span_is(by, "value");
    if (!value && !span_is(by, "key"))
        return jinja_error(r, "dictsort: by must be \"key\" or \"value\"");
    if (c->self.kind != JV_DICT)
        return jinja_error(r, "dictsort: expected a dict, found %s", jinja_kind_name(&c->self));
    struct jinja_value place = jinja_int(value);
    TRY(jinja_dict_view(r, c->self.dict, JINJA_ITEMS, &pairs.self));
    TRY(items_and_keys(r, &pairs, &place, NULL, jinja_arg_true(c, 0), &items, &keys));
    TRY(jinja_sort(r, items, keys, jinja_arg_true(c, 2)));
    *out = jinja_of_seq(JV_LIST, items);
    return 0;
}

static int extreme(struct jinja_run *r, const struct jinja_call *c, bool max, struct jinja_value *out)
{
    struct jinja_seq *items, *keys;
    size_t best = 0;
    TRY(items_and_keys(r, c, &c->arg[1], NULL, jinja_arg_true(c, 0), &items, &keys));
    if (!items->n)
        return empty_result(c, out);
    for (size_t i = 1; i < items->n; i++) {
        int order;
        TRY(jinja_order(r, &keys->at[i], &keys->at[best], max ? ">" : "<", &order));
        if (max ? order > 0 : order < 0)
            best = i;
    }
    *out = items->at[best];
    return 0;
}

static int filter_min(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return extreme(r, c, false, out);
}

static int filter_max(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return extreme(r, c, true, out);
}

static int filter_unique(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *items, *keys, *kept = jinja_seq_new(r, 0);
    struct jinja_dict *seen = jinja_dict_new(r, 0);
    if (!kept || !seen)
        return NUN_ENOMEM;
    TRY(items_and_keys(r, c, &c->arg[1], NULL, jinja_arg_true(c, 0), &items, &keys));
    for (size_t i = 0; i < items->n; i++) {
        int rc = jinja_dict_get(r, seen, &keys->at[i], NULL);
        TRY(rc);
        if (rc) {
            TRY(jinja_dict_put(r, seen, &keys->at[i], jinja_none()));
            TRY(jinja_push(r, kept, items->at[i]));
        }
    }
    return generator(r, kept, out);
}

/* Pairs (value, items that have it), sorted by value. */
static int filter_groupby(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *items, *keys, *sorted_keys, *groups = jinja_seq_new(r, 0), *group = NULL;
    bool same = false;
    if (!groups)
        return NUN_ENOMEM;
    TRY(items_and_keys(r, c, &c->arg[0], &c->arg[1], jinja_arg_true(c, 2), &items, &keys));
    TRY(jinja_copy_seq(r, keys, &sorted_keys));
    TRY(jinja_sort(r, items, keys, false));
    TRY(jinja_sort(r, sorted_keys, keys, false));
    for (size_t i = 0; i < items->n; i++) {
        if (i)
            TRY(jinja_equal(r, &sorted_keys->at[i - 1], &sorted_keys->at[i], &same));
        if (!i || !same) {
            struct jinja_seq *pair = jinja_seq_new(r, 2);
            group = jinja_seq_new(r, 0);
            if (!pair || !group)
                return NUN_ENOMEM;
            TRY(jinja_path(r, &items->at[i], &c->arg[0], &c->arg[1], &pair->at[0]));
            pair->at[1] = jinja_of_seq(JV_LIST, group);
            pair->n = 2;
            TRY(jinja_push(r, groups, jinja_of_seq(JV_TUPLE, pair)));
        }
        TRY(jinja_push(r, group, items->at[i]));
    }
    *out = jinja_of_seq(JV_LIST, groups);
    return 0;
}

static int filter_reverse(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *all, *s;
    if (c->self.kind == JV_UNDEFINED || c->self.kind == JV_NAMESPACE)
        return c->self.kind == JV_UNDEFINED ? generator(r, jinja_seq_new(r, 1), out)
                                            : jinja_error(r, "reverse: the argument must be iterable");
    TRY(jinja_items_of(r, &c->self, &all));
    s = jinja_seq_new(r, all->n);
    if (!s)
        return NUN_ENOMEM;
    for (size_t i = all->n; i-- > 0;)
        TRY(jinja_push(r, s, all->at[i]));
    if (c->self.kind == JV_GENERATOR) {
        *out = jinja_of_seq(JV_LIST, s);
        return 0;
    }
    if (c->self.kind != JV_STRING)
        return generator(r, s, out);
    size_t mark = jinja_mark(r);
    for (size_t i = 0; i < s->n; i++)
        buf_span(r->out, jinja_span(s->at[i].s));
    return jinja_cut(r, mark, out);
}

/* ---- ends, lengths, sums ------------------------------------------------------------------------------------------------------ */

static int filter_first(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s;
    if (c->self.kind == JV_GENERATOR) { /* takes one, leaves the rest */
        s = c->self.seq;
        if (s->next == s->n)
            return empty_result(c, out);
        *out = s->at[s->next++];
        return 0;
    }
    TRY(jinja_items_of(r, &c->self, &s));
    if (!s->n)
        return empty_result(c, out);
    *out = s->at[0];
    return 0;
}

static int filter_last(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s;
    if (c->self.kind == JV_GENERATOR)
        return jinja_error(r, "'generator' object is not reversible");
    TRY(jinja_items_of(r, &c->self, &s));
    if (!s->n)
        return empty_result(c, out);
    *out = s->at[s->n - 1];
    return 0;
}

static int filter_length(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    size_t n;
    int rc = jinja_length(r, &c->self, &n);
    if (rc > 0)
        return jinja_error(r, "object of type '%s' has no len()", jinja_kind_name(&c->self));
    *out = jinja_int((int64_t)n);
    return rc;
}

static int filter_list(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *all, *s;
    TRY(jinja_items_of(r, &c->self, &all));
    TRY(jinja_copy_seq(r, all, &s));
    *out = jinja_of_seq(JV_LIST, s);
    return 0;
}

static int filter_sum(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s;
    struct jinja_value sum = jinja_given(&c->arg[1]) ? c->arg[1] : jinja_int(0), v;
    TRY(jinja_items_of(r, &c->self, &s));
    if (sum.kind == JV_STRING)
        return jinja_error(r, "sum() can't sum strings");
    for (size_t i = 0; i < s->n; i++) {
        TRY(jinja_path(r, &s->at[i], &c->arg[0], NULL, &v));
        TRY(jinja_binary(r, OP_ADD, &sum, &v, &sum));
    }
    *out = sum;
    return jinja_charge(r, s->n);
}

static int filter_join(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value between, v;
    struct jinja_seq *s;
    TRY(jinja_items_of(r, &c->self, &s));
    between = c->arg[0];
    if (!jinja_given(&between))
        TRY(jinja_borrow_str(r, SPAN(""), &between));
    TRY(jinja_to_str(r, &between, &between));
    size_t mark = jinja_mark(r);
    for (size_t i = 0; i < s->n; i++) {
        TRY(jinja_path(r, &s->at[i], &c->arg[1], NULL, &v));
        if (i)
            buf_span(r->out, jinja_span(between.s));
        TRY(jinja_put(r, &v));
    }
    TRY(jinja_charge(r, s->n));
    return jinja_cut(r, mark, out);
}

static int filter_items(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    if (c->self.kind == JV_UNDEFINED)
        return generator(r, jinja_seq_new(r, 1), out);
    if (c->self.kind != JV_DICT)
        return jinja_error(r, "Can only get item pairs from a mapping, not %s", jinja_kind_name(&c->self));
    TRY(jinja_dict_view(r, c->self.dict, JINJA_ITEMS, out));
    return generator(r, out->seq, out);
}

/* ---- cutting into rows ------------------------------------------------------------------------------------------------------------ */

static int fill_up(struct jinja_run *r, struct jinja_seq *row, int64_t n, const struct jinja_value *fill)
{
    while (jinja_given(fill) && fill->kind != JV_NONE && (int64_t)row->n < n)
        TRY(jinja_push(r, row, *fill));
    return jinja_charge(r, row->n);
}

static int filter_batch(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s, *rows = jinja_seq_new(r, 0), *row = NULL;
    int64_t n;
    TRY(jinja_arg_int(r, c, 0, 0, &n));
    TRY(jinja_items_of(r, &c->self, &s));
    if (!rows)
        return NUN_ENOMEM;
    for (size_t i = 0; i < s->n; i++) {
        if (!row || (int64_t)row->n == n) {
            row = jinja_seq_new(r, 0);
            if (!row)
                return NUN_ENOMEM;
            TRY(jinja_push(r, rows, jinja_of_seq(JV_LIST, row)));
        }
        TRY(jinja_push(r, row, s->at[i]));
    }
    if (row)
        TRY(fill_up(r, row, n, &c->arg[1]));
    return generator(r, rows, out);
}

static int filter_slice(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s, *rows = jinja_seq_new(r, 0);
    int64_t n;
    TRY(jinja_arg_int(r, c, 0, 0, &n));
    TRY(jinja_items_of(r, &c->self, &s));
    if (n < 1 || !rows)
        return rows ? jinja_error(r, "slice: expected at least one slice, found %lld", (long long)n) : NUN_ENOMEM;
    size_t at = 0, each = s->n / (size_t)n, extra = s->n % (size_t)n;
    for (size_t i = 0; i < (size_t)n; i++) {
        struct jinja_seq *row = jinja_seq_new(r, 0);
        if (!row)
            return NUN_ENOMEM;
        for (size_t k = 0; k < each + (i < extra); k++)
            TRY(jinja_push(r, row, s->at[at++]));
        if (i >= extra)
            TRY(fill_up(r, row, (int64_t)row->n + 1, &c->arg[1]));
        TRY(jinja_push(r, rows, jinja_of_seq(JV_LIST, row)));
    }
    return generator(r, rows, out);
}

static const struct jinja_row seq_rows[] = {
    {"batch", filter_batch, "linecount ?fill_with"},
    {"count", filter_length, ""},
    {"dictsort", filter_dictsort, "?case_sensitive ?by ?reverse"},
    {"first", filter_first, ""},
    {"groupby", filter_groupby, "attribute ?default ?case_sensitive"},
    {"items", filter_items, ""},
    {"join", filter_join, "?d ?attribute"},
    {"last", filter_last, ""},
    {"length", filter_length, ""},
    {"list", filter_list, ""},
    {"max", filter_max, "?case_sensitive ?attribute"},
    {"min", filter_min, "?case_sensitive ?attribute"},
    {"reverse", filter_reverse, ""},
    {"slice", filter_slice, "slices ?fill_with"},
    {"sort", filter_sort, "?reverse ?case_sensitive ?attribute"},
    {"sum", filter_sum, "?attribute ?start"},
    {"unique", filter_unique, "?case_sensitive ?attribute"},
};
const struct jinja_table jinja_filters_seq = JINJA_TABLE(seq_rows);

/* ---- picking ---------------------------------------------------------------------------------------------------------------------- */

static int filter_default(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    bool use = c->self.kind == JV_UNDEFINED || (jinja_arg_true(c, 1) && !jinja_truth(&c->self));
    *out = use ? c->arg[0] : c->self;
    return use && !jinja_given(&c->arg[0]) ? jinja_borrow_str(r, SPAN(""), out) : 0;
}

static int filter_attr(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct span name;
    int rc = jinja_arg_str(r, c, 0, &name);
    if (rc > 0)
        return jinja_error(r, "attr: expected a name");
    TRY(rc);
    struct jinja_value self = c->self;
    if (self.kind == JV_DICT) { /* attributes only, never keys */
        self.dict = jinja_dict_new(r, 0);
        if (!self.dict)
            return NUN_ENOMEM;
    }
    return jinja_getattr(r, &self, c->arg[0].s, true, out);
}

/* The row that the argument at `i` names, and the arguments after it. */
static int named_row(struct jinja_run *r, const struct jinja_call *c, size_t i, bool test, const struct jinja_row **row,
                     struct jinja_args *rest)
{
    const struct jinja_value *name = &c->all.at[i];
    *row = NULL;
    if (name->kind == JV_STRING)
        *row = test ? jinja_find_test(jinja_span(name->s)) : jinja_find_filter(jinja_span(name->s));
    if (!*row)
        return jinja_error(r, "%s: no %s of that name", c->row->name, test ? "test" : "filter");
    *rest = c->all;
    rest->at += i + 1;
    rest->n -= i + 1;
    return 0;
}

static const struct jinja_value *keyword(const struct jinja_call *c, const char *name)
{
    for (size_t i = 0; i < c->all.n_kw; i++)
        if (span_is(jinja_span(c->all.kw[i].key.s), name))
            return &c->all.kw[i].value;
    return NULL;
}

static int filter_map(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    const struct jinja_value *attribute = c->all.n ? NULL : keyword(c, "attribute"), *fallback = keyword(c, "default");
    struct jinja_seq *all, *made = jinja_seq_new(r, 0);
    const struct jinja_row *row = NULL;
    struct jinja_args rest = {0};
    struct jinja_value v;
    if (!made)
        return NUN_ENOMEM;
    if (!jinja_truth(&c->self))
        return generator(r, made, out);
    if (!attribute && !c->all.n)
        return jinja_error(r, "map: expected the name of a filter, or attribute=");
    if (attribute && c->all.n_kw > (fallback ? 2u : 1u))
        return jinja_error(r, "map: attribute= goes with default= only");
    if (!attribute)
        TRY(named_row(r, c, 0, false, &row, &rest));
    TRY(jinja_items_of(r, &c->self, &all));
    for (size_t i = 0; i < all->n; i++) {
        TRY(jinja_charge(r, 1));
        TRY(attribute ? jinja_path(r, &all->at[i], attribute, fallback, &v) : jinja_call_row(r, row, &all->at[i], &rest, &v));
        TRY(jinja_push(r, made, v));
    }
    return generator(r, made, out);
}

static int pick(struct jinja_run *r, const struct jinja_call *c, bool by_attribute, bool wanted, struct jinja_value *out)
{
    struct jinja_seq *all, *kept = jinja_seq_new(r, 0);
    const struct jinja_row *row = NULL;
    struct jinja_args rest = {0};
    struct jinja_value v;
    if (!kept)
        return NUN_ENOMEM;
    if (!jinja_truth(&c->self))
        return generator(r, kept, out);
    if (c->all.n < by_attribute)
        return jinja_error(r, "%s: expected the name of an attribute", c->row->name);
    if (c->all.n > by_attribute)
        TRY(named_row(r, c, by_attribute, true, &row, &rest));
    TRY(jinja_items_of(r, &c->self, &all));
    for (size_t i = 0; i < all->n; i++) {
        TRY(jinja_charge(r, 1));
        v = all->at[i];
        if (by_attribute)
            TRY(jinja_path(r, &v, &c->all.at[0], NULL, &v));
        if (row)
            TRY(jinja_call_row(r, row, &v, &rest, &v));
        if (jinja_truth(&v) == wanted)
            TRY(jinja_push(r, kept, all->at[i]));
    }
    return generator(r, kept, out);
}

static int filter_select(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return pick(r, c, false, true, out);
}

static int filter_reject(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return pick(r, c, false, false, out);
}

static int filter_selectattr(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return pick(r, c, true, true, out);
}

static int filter_rejectattr(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return pick(r, c, true, false, out);
}

static const struct jinja_row pick_rows[] = {
    {"attr", filter_attr, "name"},
    {"d", filter_default, "?default_value ?boolean"},
    {"default", filter_default, "?default_value ?boolean"},
    {"map", filter_map, "*"},
    {"reject", filter_reject, "*"},
    {"rejectattr", filter_rejectattr, "*"},
    {"select", filter_select, "*"},
    {"selectattr", filter_selectattr, "*"},
};
const struct jinja_table jinja_filters_pick = JINJA_TABLE(pick_rows);
