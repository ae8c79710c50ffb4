/* Functions that templates find without being given them: range, namespace, dict, joiner, and those of
 * the transformers library, strftime_now and raise_exception. The clock is base's seam. */
/* SPDX-License-Identifier: MIT */
#include <time.h>

#include "base/seam.h"
#include "text/jinja_int.h"

enum { RANGE_ITEMS = 100000, TIME_BYTES = 4096 }; /* jinja2's sandbox has the same bound for ranges */

static int global_range(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    int64_t a, b, step;
    bool one = !jinja_given(&c->arg[1]);
    if (!jinja_is_int(&c->arg[0]) || (!one && !jinja_is_int(&c->arg[1])))
        return jinja_error(r, "range() takes integers, not %s", jinja_kind_name(&c->arg[one || !jinja_is_int(&c->arg[0]) ? 0 : 1]));
    TRY(jinja_arg_int(r, c, 0, 0, &a));
    TRY(jinja_arg_int(r, c, 1, 0, &b));
    TRY(jinja_arg_int(r, c, 2, 1, &step));
    int64_t start = one ? 0 : a, stop = one ? a : b;
    if (step == 0)
        return jinja_error(r, "range() arg 3 must not be zero");
    __int128 distance = step > 0 ? (__int128)stop - start : (__int128)start - stop;
    __int128 n = distance > 0 ? (distance - 1) / (step > 0 ? (__int128)step : -(__int128)step) + 1 : 0;
    if (n > RANGE_ITEMS)
        return err_set(NUN_ELIMIT, "a range of more than %d items", RANGE_ITEMS);
    struct jinja_seq *s = jinja_seq_new(r, (size_t)n);
    if (!s)
        return NUN_ENOMEM;
    for (size_t i = 0; i < (size_t)n; i++)
        s->at[i] = jinja_int(start + (int64_t)i * step);
    s->n = (size_t)n;
    s->start = start;
    s->stop = stop;
    s->step = step;
    *out = jinja_of_seq(JV_RANGE, s);
    return jinja_charge(r, s->n / 4);
}

/* dict(other, key=value): from a dict or from pairs. */
static int fill_dict(struct jinja_run *r, const struct jinja_call *c, struct jinja_dict *d)
{
    struct jinja_seq *items, *pair;
    struct jinja_value view;
    if (c->all.n > 1)
        return jinja_error(r, "%s() takes at most one positional argument", c->row->name);
    if (c->all.n && c->all.at[0].kind == JV_DICT) {
        TRY(jinja_dict_view(r, c->all.at[0].dict, JINJA_ITEMS, &view));
        items = view.seq;
    } else if (c->all.n) {
        TRY(jinja_items_of(r, &c->all.at[0], &items));
    }
    for (size_t i = 0; c->all.n && i < items->n; i++) {
        TRY(jinja_items_of(r, &items->at[i], &pair));
        if (pair->n != 2)
            return jinja_error(r, "%s(): item %zu has %zu values, not 2", c->row->name, i, pair->n);
        TRY(jinja_dict_put(r, d, &pair->at[0], pair->at[1]));
    }
    for (size_t i = 0; i < c->all.n_kw; i++)
        TRY(jinja_dict_put(r, d, &c->all.kw[i].key, c->all.kw[i].value));
    return 0;
}

static int global_dict(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_dict *d = jinja_dict_new(r, 0);
    *out = jinja_of_dict(JV_DICT, d);
    return d ? fill_dict(r, c, d) : NUN_ENOMEM;
}

static int global_namespace(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_dict *d = jinja_dict_new(r, 0);
    *out = jinja_of_dict(JV_NAMESPACE, d);
    return d ? fill_dict(r, c, d) : NUN_ENOMEM;
}

static int global_raise(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value text;
    TRY(jinja_to_str(r, &c->arg[0], &text));
    return jinja_error(r, "%.*s", (int)(text.s->len < 1000 ? text.s->len : 1000), text.s->ptr);
}

/* What a naive Python datetime prints itself: no zone, no finer clock than seconds. */
static void put_format(struct span format, struct buf *out)
{
    for (size_t i = 0; i < format.len; i++) {
        char next = format.ptr[i] == '%' && i + 1 < format.len ? format.ptr[i + 1] : 0;
        if (next == 'f')
            buf_str(out, "000000");
        else if (next && next != 'z' && next != 'Z')
            buf_append(out, format.ptr + i, 2);
        else if (!next)
            buf_char(out, format.ptr[i]);
        i += next != 0;
    }
}

static int global_strftime_now(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    char text[TIME_BYTES];
    time_t now = (time_t)seam_get()->wall_s();
    struct tm tm;
    struct span format;
    size_t mark = jinja_mark(r);
    int rc = jinja_arg_str(r, c, 0, &format);
    if (rc > 0)
        return jinja_error(r, "strftime_now() takes a string");
    TRY(rc);
    put_format(format, r->out);
    buf_char(r->out, '.'); /* so that an empty text is told from one that does not fit */
    TRY(buf_error(r->out));
    if (!localtime_r(&now, &tm))
        return jinja_error(r, "the clock shows no date");
    size_t n = strftime(text, sizeof text, buf_cstr(r->out) + mark, &tm);
    jinja_rewind(r, mark);
    if (!n)
        return err_set(NUN_ELIMIT, "strftime_now(): more than %d bytes", TIME_BYTES);
    return jinja_new_str(r, span_of(text, n - 1), out);
}

/* A joiner is empty when first called, and its separator afterwards. */
static int joiner_call(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_value *used = &c->self.seq->at[1];
    *out = c->self.seq->at[0];
    if (!used->b)
        TRY(jinja_borrow_str(r, SPAN(""), out));
    *used = jinja_bool(true);
    return 0;
}

static int global_joiner(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    static const struct jinja_row row = {"joiner", joiner_call, ""};
    struct jinja_native *n = arena_alloc(&r->arena, sizeof *n);
    struct jinja_seq *s = jinja_seq_new(r, 2);
    if (!n || !s)
        return NUN_ENOMEM;
    s->n = 2;
    s->at[0] = c->arg[0];
    s->at[1] = jinja_bool(false);
    if (!jinja_given(&c->arg[0]))
        TRY(jinja_borrow_str(r, SPAN(", "), &s->at[0]));
    *n = (struct jinja_native){&row, jinja_of_seq(JV_LIST, s)};
    *out = (struct jinja_value){.kind = JV_NATIVE, .native = n};
    return 0;
}

static const struct jinja_row rows[] = {
    {"range", global_range, "start ?stop ?step"},
    {"dict", global_dict, "*"},
    {"namespace", global_namespace, "*"},
    {"joiner", global_joiner, "?sep"},
    {"raise_exception", global_raise, "message"},
    {"strftime_now", global_strftime_now, "format"},
};
const struct jinja_table jinja_globals = JINJA_TABLE(rows);
