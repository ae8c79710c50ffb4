/* Methods of lists, tuples, dicts and loops in templates: one row each. */
/* SPDX-License-Identifier: MIT */
#include "text/jinja_int.h"

/* ---- lists --------------------------------------------------------------------------------------------------------------- */

static int nothing(struct jinja_value *out)
{
    *out = jinja_none();
    return 0;
}

static int list_append(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    TRY(jinja_push(r, c->self.seq, c->arg[0]));
    return nothing(out);
}

static int list_extend(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *more;
    TRY(jinja_items_of(r, &c->arg[0], &more));
    for (size_t i = 0, n = more->n; i < n; i++)
        TRY(jinja_push(r, c->self.seq, more->at[i]));
    TRY(jinja_charge(r, more->n / 4));
    return nothing(out);
}

static int list_clear(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    c->self.seq->n = 0;
    return nothing(out);
}

static int list_copy(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s;
    TRY(jinja_copy_seq(r, c->self.seq, &s));
    *out = jinja_of_seq(JV_LIST, s);
    return 0;
}

static int list_insert(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s = c->self.seq;
    int64_t at, n = (int64_t)s->n;
    TRY(jinja_arg_int(r, c, 0, 0, &at));
    at = at < -n ? 0 : at < 0 ? at + n : at > n ? n : at;
    TRY(jinja_push(r, s, c->arg[1]));
    memmove(s->at + at + 1, s->at + at, (size_t)(n - at) * sizeof *s->at);
    s->at[at] = c->arg[1];
    TRY(jinja_charge(r, s->n / 16));
    return nothing(out);
}

static int list_pop(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s = c->self.seq;
    int64_t at, n = (int64_t)s->n;
    TRY(jinja_arg_int(r, c, 0, -1, &at));
    at += at < 0 ? n : 0;
    if (at < 0 || at >= n)
        return jinja_error(r, n ? "pop index out of range" : "pop from empty list");
    *out = s->at[at];
    memmove(s->at + at, s->at + at + 1, (size_t)(n - at - 1) * sizeof *s->at);
    s->n--;
    return jinja_charge(r, s->n / 16);
}

/* Where the first argument lies; n when it does not. */
static int place_of(struct jinja_run *r, const struct jinja_call *c, size_t *out)
{
    bool same = false;
    for (*out = 0; *out < c->self.seq->n; ++*out) {
        TRY(jinja_equal(r, &c->self.seq->at[*out], &c->arg[0], &same));
        if (same)
            break;
    }
    return jinja_charge(r, *out / 4);
}

static int list_index(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    size_t at;
    TRY(place_of(r, c, &at));
    *out = jinja_int((int64_t)at);
    return at == c->self.seq->n ? jinja_error(r, "%s.index(x): x not in %s", jinja_kind_name(&c->self), jinja_kind_name(&c->self))
                                : 0;
}

static int list_remove(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s = c->self.seq;
    size_t at;
    TRY(place_of(r, c, &at));
    if (at == s->n)
        return jinja_error(r, "list.remove(x): x not in list");
    memmove(s->at + at, s->at + at + 1, (s->n - at - 1) * sizeof *s->at);
    s->n--;
    return nothing(out);
}

static int list_count(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    int64_t n = 0;
    for (size_t i = 0; i < c->self.seq->n; i++) {
        bool same;
        TRY(jinja_equal(r, &c->self.seq->at[i], &c->arg[0], &same));
        n += same;
    }
    *out = jinja_int(n);
    return jinja_charge(r, c->self.seq->n / 4);
}

static int list_reverse(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *s = c->self.seq;
    for (size_t i = 0; i < s->n / 2; i++) {
        struct jinja_value v = s->at[i];
        s->at[i] = s->at[s->n - 1 - i];
        s->at[s->n - 1 - i] = v;
    }
    TRY(jinja_charge(r, s->n / 4));
    return nothing(out);
}

static int list_sort(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *keys;
    if (jinja_given(&c->arg[0]) && c->arg[0].kind != JV_NONE)
        return err_set(NUN_EUNSUP, "sort(): key is not supported");
    TRY(jinja_copy_seq(r, c->self.seq, &keys));
    TRY(jinja_sort(r, c->self.seq, keys, jinja_arg_true(c, 1)));
    return nothing(out);
}

static const struct jinja_row list_rows[] = {
    {"append", list_append, "object"},
    {"clear", list_clear, ""},
    {"copy", list_copy, ""},
    {"count", list_count, "value"},
    {"extend", list_extend, "iterable"},
    {"index", list_index, "value"},
    {"insert", list_insert, "index object"},
    {"pop", list_pop, "?index"},
    {"remove", list_remove, "value"},
    {"reverse", list_reverse, ""},
    {"sort", list_sort, "?key ?reverse"},
};
const struct jinja_table jinja_methods_list = JINJA_TABLE(list_rows);

static const struct jinja_row tuple_rows[] = {
    {"count", list_count, "value"},
    {"index", list_index, "value"},
};
const struct jinja_table jinja_methods_tuple = JINJA_TABLE(tuple_rows);

/* ---- dicts ------------------------------------------------------------------------------------------------------------------ */

static int dict_view(struct jinja_run *r, const struct jinja_call *c, enum jinja_view view, struct jinja_value *out)
{
    return jinja_dict_view(r, c->self.dict, view, out);
}

static int dict_keys(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return dict_view(r, c, JINJA_KEYS, out);
}

static int dict_values(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return dict_view(r, c, JINJA_VALUES, out);
}

static int dict_items(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return dict_view(r, c, JINJA_ITEMS, out);
}

static int dict_get(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    int rc = jinja_dict_get(r, c->self.dict, &c->arg[0], out);
    if (rc > 0)
        *out = jinja_given(&c->arg[1]) ? c->arg[1] : jinja_none();
    return rc < 0 ? rc : 0;
}

static int dict_setdefault(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    int rc = jinja_dict_get(r, c->self.dict, &c->arg[0], out);
    if (rc <= 0)
        return rc;
    *out = jinja_given(&c->arg[1]) ? c->arg[1] : jinja_none();
    return jinja_dict_put(r, c->self.dict, &c->arg[0], *out);
}

static int dict_pop(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    int rc = jinja_dict_pop(r, c->self.dict, &c->arg[0], out);
    if (rc > 0 && !jinja_given(&c->arg[1]))
        return jinja_error(r, "pop(): the key is not there");
    if (rc > 0)
        *out = c->arg[1];
    return rc < 0 ? rc : 0;
}

static int dict_popitem(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_dict *d = c->self.dict;
    struct jinja_seq *pair = jinja_seq_new(r, 2);
    if (!pair)
        return NUN_ENOMEM;
    if (!d->n)
        return jinja_error(r, "popitem(): dictionary is empty");
    pair->n = 2;
    pair->at[0] = d->at[d->n - 1].key;
    *out = jinja_of_seq(JV_TUPLE, pair);
    int rc = jinja_dict_pop(r, d, &pair->at[0], &pair->at[1]);
    return rc < 0 ? rc : 0;
}

static int dict_update(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_native make = {jinja_find_global(SPAN("dict")), jinja_none()};
    struct jinja_value f = {.kind = JV_NATIVE, .native = &make}, more;
    TRY(jinja_call_value(r, &f, &c->all, &more));
    for (size_t i = 0; i < more.dict->n; i++)
        TRY(jinja_dict_put(r, c->self.dict, &more.dict->at[i].key, more.dict->at[i].value));
    return nothing(out);
}

static int dict_copy(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_args args = {.at = &c->self, .n = 1};
    struct jinja_native make = {jinja_find_global(SPAN("dict")), jinja_none()};
    struct jinja_value f = {.kind = JV_NATIVE, .native = &make};
    return jinja_call_value(r, &f, &args, out);
}

static int dict_clear(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    c->self.dict->n = c->self.dict->index_cap = 0;
    c->self.dict->index = NULL;
    return nothing(out);
}

static const struct jinja_row dict_rows[] = {
    {"clear", dict_clear, ""},
    {"copy", dict_copy, ""},
    {"get", dict_get, "key ?default"},
    {"items", dict_items, ""},
    {"keys", dict_keys, ""},
    {"pop", dict_pop, "key ?default"},
    {"popitem", dict_popitem, ""},
    {"setdefault", dict_setdefault, "key ?default"},
    {"update", dict_update, "*"},
    {"values", dict_values, ""},
};
const struct jinja_table jinja_methods_dict = JINJA_TABLE(dict_rows);

/* ---- loops ------------------------------------------------------------------------------------------------------------------- */

static int loop_cycle(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    if (!c->all.n)
        return jinja_error(r, "no items for cycling given");
    *out = c->all.at[c->self.loop->index0 % c->all.n];
    return 0;
}

/* Are the arguments others than at the last call? */
static int loop_changed(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_seq *now = jinja_seq_new(r, c->all.n);
    bool same = false;
    if (!now)
        return NUN_ENOMEM;
    for (size_t i = 0; i < c->all.n; i++)
        TRY(jinja_push(r, now, c->all.at[i]));
    struct jinja_value v = jinja_of_seq(JV_TUPLE, now);
    if (jinja_given(&c->self.loop->changed))
        TRY(jinja_equal(r, &c->self.loop->changed, &v, &same));
    c->self.loop->changed = v;
    *out = jinja_bool(!same);
    return 0;
}

static const struct jinja_row loop_rows[] = {
    {"changed", loop_changed, "*"},
    {"cycle", loop_cycle, "*"},
};
const struct jinja_table jinja_methods_loop = JINJA_TABLE(loop_rows);
