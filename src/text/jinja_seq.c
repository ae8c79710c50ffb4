/* Sequences of templates: iteration over anything, slices, a stable sort. Rows and the walk call it. */
/* SPDX-License-Identifier: MIT */
#include "base/ck.h"
#include "text/jinja_int.h"

/* ---- iteration ----------------------------------------------------------------------------------------------------- */

static int items_of_string(struct jinja_run *r, const struct jinja_value *v, struct jinja_seq **out)
{
    struct span s = jinja_span(v->s);
    *out = jinja_seq_new(r, jinja_chars(v->s));
    if (!*out)
        return NUN_ENOMEM;
    for (size_t i = 0, n; i < s.len; i += n) {
        struct jinja_value one;
        uint32_t cp;
        n = jinja_next_char(s, i, &cp);
        TRY(jinja_part(r, v, span_of(s.ptr + i, n), &one));
        TRY(jinja_push(r, *out, one));
    }
    return jinja_charge(r, s.len);
}

/* What is left of a generator; afterwards it is empty. */
static int drain(struct jinja_run *r, struct jinja_seq *s, struct jinja_seq **out)
{
    *out = arena_alloc(&r->arena, sizeof **out);
    if (!*out)
        return NUN_ENOMEM;
    **out = (struct jinja_seq){.at = s->at + s->next, .n = s->n - s->next, .cap = s->n - s->next};
    s->next = s->n;
    return 0;
}

int jinja_items_of(struct jinja_run *r, const struct jinja_value *v, struct jinja_seq **out)
{
    struct jinja_value keys;
    if (v->kind == JV_GENERATOR)
        return drain(r, v->seq, out);
    if (jinja_is_seq(v)) {
        *out = v->seq;
        return 0;
    }
    if (v->kind == JV_STRING)
        return items_of_string(r, v, out);
    if (v->kind == JV_DICT) {
        TRY(jinja_dict_view(r, v->dict, JINJA_KEYS, &keys));
        *out = keys.seq;
        return 0;
    }
    if (v->kind == JV_UNDEFINED || v->kind == JV_LOOP) {
        *out = v->kind == JV_LOOP ? v->loop->items : jinja_seq_new(r, 0);
        return *out ? 0 : NUN_ENOMEM;
    }
    return jinja_error(r, "'%s' object is not iterable", jinja_kind_name(v));
}

int jinja_copy_seq(struct jinja_run *r, const struct jinja_seq *s, struct jinja_seq **out)
{
    *out = jinja_seq_new(r, s->n);
    if (!*out)
        return NUN_ENOMEM;
    for (size_t i = 0; i < s->n; i++)
        (*out)->at[i] = s->at[i];
    (*out)->n = s->n;
    return jinja_charge(r, s->n / 4);
}

/* ---- slices ----------------------------------------------------------------------------------------------------------- */

static int slice_bound(struct jinja_run *r, const struct jinja_value *v, int64_t n, int64_t lo, int64_t hi, int64_t fallback,
                       int64_t *out)
{
    *out = fallback;
    if (v->kind == JV_NONE)
        return 0;
    if (v->kind == JV_UNDEFINED || !jinja_is_int(v))
        return jinja_error(r, "slice indices must be integers or None, not %s", jinja_kind_name(v));
    int64_t i = jinja_as_int(v);
    i = i < 0 && i < -n ? -1 : i < 0 ? i + n : i;
    *out = i < lo ? lo : i > hi ? hi : i;
    return 0;
}

struct slice { int64_t start, step; size_t n; };

static int resolve_slice(struct jinja_run *r, const struct jinja_value *parts, size_t length, struct slice *out)
{
    int64_t n = (int64_t)length, step = 1, stop;
    if (parts[2].kind != JV_NONE) {
        if (!jinja_is_int(&parts[2]))
            return jinja_error(r, "slice indices must be integers or None, not %s", jinja_kind_name(&parts[2]));
        step = jinja_as_int(&parts[2]);
    }
    if (step == 0)
        return jinja_error(r, "slice step cannot be zero");
    bool back = step < 0;
    if (back && step < -INT64_MAX)
        step = -INT64_MAX;
    TRY(slice_bound(r, &parts[0], n, back ? -1 : 0, back ? n - 1 : n, back ? n - 1 : 0, &out->start));
    TRY(slice_bound(r, &parts[1], n, back ? -1 : 0, back ? n - 1 : n, back ? -1 : n, &stop));
    int64_t distance = back ? out->start - stop : stop - out->start, stride = back ? -step : step;
    out->step = step;
    out->n = distance > 0 ? (size_t)((distance - 1) / stride + 1) : 0;
    return 0;
}

static int slice_string(struct jinja_run *r, const struct jinja_value *v, const struct slice *s, struct jinja_value *out)
{
    struct jinja_seq *chars;
    size_t mark = jinja_mark(r);
    if (s->step == 1) {
        size_t from = jinja_char_offset(v->s, (size_t)s->start), to = jinja_char_offset(v->s, (size_t)s->start + s->n);
        TRY(jinja_charge(r, v->s->len / 64));
        return jinja_part(r, v, span_of(v->s->ptr + from, to - from), out);
    }
    TRY(items_of_string(r, v, &chars));
    for (size_t i = 0; i < s->n; i++)
        buf_span(r->out, jinja_span(chars->at[s->start + (int64_t)i * s->step].s));
    return jinja_cut(r, mark, out);
}

int jinja_slice(struct jinja_run *r, const struct jinja_value *v, const struct jinja_value *slice, struct jinja_value *out)
{
    struct slice s;
    size_t length;
    bool seq = v->kind == JV_LIST || v->kind == JV_TUPLE || v->kind == JV_RANGE;
    if (v->kind != JV_STRING && !seq)
        return jinja_error(r, "'%s' object cannot be sliced", jinja_kind_name(v));
    TRY(jinja_length(r, v, &length));
    TRY(resolve_slice(r, slice->slice, length, &s));
    if (!seq)
        return slice_string(r, v, &s, out);
    struct jinja_seq *made = jinja_seq_new(r, s.n);
    if (!made)
        return NUN_ENOMEM;
    for (size_t i = 0; i < s.n; i++)
        made->at[i] = v->seq->at[s.start + (int64_t)i * s.step];
    made->n = s.n;
    if (v->kind == JV_RANGE) {
        made->start = v->seq->start + s.start * v->seq->step;
        if (__builtin_mul_overflow(v->seq->step, s.step, &made->step) ||
            __builtin_mul_overflow((int64_t)s.n, made->step, &made->stop) ||
            __builtin_add_overflow(made->start, made->stop, &made->stop))
            return err_set(NUN_ELIMIT, "a range beyond 64 bits");
    }
    *out = jinja_of_seq(v->kind, made);
    return jinja_charge(r, s.n / 4);
}

/* ---- sorting ----------------------------------------------------------------------------------------------------------- */

struct order { struct jinja_run *r; const struct jinja_value *keys; bool reverse; };

/* Does the item at place b go before the one at a, which came first? */
static int before(const struct order *o, uint32_t b, uint32_t a, bool *out)
{
    int c;
    TRY(jinja_order(o->r, &o->keys[b], &o->keys[a], "<", &c));
    *out = o->reverse ? c > 0 : c < 0;
    return 0;
}

static int merge(const struct order *o, const uint32_t *from, uint32_t *to, size_t lo, size_t mid, size_t hi)
{
    size_t a = lo, b = mid;
    for (size_t i = lo; i < hi; i++) {
        bool second = a == mid;
        if (a < mid && b < hi)
            TRY(before(o, from[b], from[a], &second));
        to[i] = second ? from[b++] : from[a++];
    }
    return jinja_charge(o->r, (hi - lo) / 4);
}

static size_t at_most(size_t a, size_t b) { return a < b ? a : b; }

/* Places in sorted order; bottom-up, between two arrays. */
static int sort_places(const struct order *o, uint32_t *a, uint32_t *b, size_t n, uint32_t **sorted)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width)
            TRY(merge(o, a, b, lo, at_most(lo + width, n), at_most(lo + 2 * width, n)));
        uint32_t *t = a;
        a = b;
        b = t;
    }
    *sorted = a;
    return 0;
}

int jinja_sort(struct jinja_run *r, struct jinja_seq *s, struct jinja_seq *keys, bool reverse)
{
    struct order o = {r, keys->at, reverse};
    uint32_t *places = arena_array(&r->arena, s->n * 2, sizeof *places), *sorted;
    struct jinja_seq *old;
    if (!places)
        return NUN_ENOMEM;
    for (size_t i = 0; i < s->n; i++)
        places[i] = (uint32_t)i;
    TRY(sort_places(&o, places, places + s->n, s->n, &sorted));
    TRY(jinja_copy_seq(r, s, &old));
    for (size_t i = 0; i < s->n; i++)
        s->at[i] = old->at[sorted[i]];
    return 0;
}
