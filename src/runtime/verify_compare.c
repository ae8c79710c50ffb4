/* Judging: element by element against the tolerance; on the fast path against how far the reference
 * itself moves in bfloat16, and by the arg max of rows with a clear winner. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "runtime/verify_int.h"

static const double CLEAR_GAP = 0.25;
static const double NEAR = 0.99; /* cosine of the fast path's rows where the reference gives no yardstick */
enum { FEW_VALUES = 16 };

/* ---- the dump ------------------------------------------------------------------------------ */

int verify_dump(struct verify *v, const char *key, enum dtype dt, struct shape shape, const void *data)
{
    size_t n, bytes;
    if (!v->o->dump)
        return 0;
    for (size_t i = 0; i < v->n_dump; i++)
        if (!strcmp(v->dump[i].name, key))
            return 0;
    TRY(shape_count(&shape, &n));
    TRY(dtype_bytes(dt, n, &bytes));
    if (v->n_dump == v->cap_dump) {
        size_t cap = v->cap_dump ? 2 * v->cap_dump : 64;
        struct st_item *grown = mem_realloc(MEM_RUNTIME, v->dump, cap * sizeof *grown);
        if (!grown)
            return NUN_ENOMEM;
        v->dump = grown;
        v->cap_dump = cap;
    }
    void *copy = arena_alloc(&v->arena, bytes ? bytes : 1);
    char *name = arena_strdup(&v->arena, key);
    if (!copy || !name)
        return NUN_ENOMEM;
    memcpy(copy, data, bytes);
    v->dump[v->n_dump++] = (struct st_item){.name = name, .dtype = dt, .shape = shape, .data = copy};
    return 0;
}

/* ---- comparing ----------------------------------------------------------------------------- */

static double row_cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return aa == 0 && bb == 0 ? 1 : aa == 0 || bb == 0 ? 0 : ab / sqrt(aa * bb);
}

static void measure(const struct verify *v, const float *got, const float *want, size_t count, size_t width,
                    struct nun_verify_item *out)
{
    out->row_cosine = 1;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)got[i] - want[i]), allowed = v->atol + v->rtol * fabs((double)want[i]);
        if (!(d <= out->max_abs)) /* also not a number */
            out->max_abs = d;
        if (!(d / allowed <= out->excess))
            out->excess = d / allowed;
    }
    for (size_t r = 0; width && r < count / width; r++) {
        double c = row_cosine(got + r * width, want + r * width, width);
        out->row_cosine = c < out->row_cosine ? c : out->row_cosine;
    }
}

/* Rows whose winner is clear in the reference and another here. */
static int wrong_winners(const float *got, const float *want, size_t rows, size_t width)
{
    int wrong = 0;
    for (size_t r = 0; r < rows; r++, got += width, want += width) {
        size_t first = 0, mine = 0;
        double second = -INFINITY;
        for (size_t i = 1; i < width; i++) {
            first = want[i] > want[first] ? i : first;
            mine = got[i] > got[mine] ? i : mine;
        }
        for (size_t i = 0; i < width; i++)
            if (i != first && want[i] > second)
                second = want[i];
        wrong += mine != first && want[first] - second >= CLEAR_GAP;
    }
    return wrong;
}

/* How far the reference moved in one case. 1: it does not say. */
static int yardstick(const json_t *json, const char *name, double *cosine, double *max_abs)
{
    const json_t *yard = json_object_get(json_object_get(json, "bfloat16"), name);
    double c = 1, m = 0;
    if (!yard)
        return 1;
    TRY(json_get_double(yard, name, "min_row_cosine", -1, 1, &c));
    TRY(json_get_double(yard, name, "max_abs", 0, 1e30, &m));
    *cosine = c < *cosine ? c : *cosine;
    *max_abs = m > *max_abs ? m : *max_abs;
    return 0;
}

/* As close as the reference's own bfloat16. An output of a few values is one draw of its rounding, so
 * there all cases together are the yardstick. */
static int judge_fast(const struct verify_case *c, size_t count, struct nun_verify_item *item)
{
    const json_t *one;
    double cosine = 1, max_abs = 0;
    size_t i;
    int rc = yardstick(c->json, item->name, &cosine, &max_abs);
    if (rc == 1)
        item->ok = item->excess <= 1 || item->row_cosine >= NEAR;
    if (rc)
        return rc < 0 ? rc : 0;
    if (count < FEW_VALUES)
        json_array_foreach(json_object_get(c->v->json, "cases"), i, one)
            TRY(yardstick(one, item->name, &cosine, &max_abs));
    item->ok = item->row_cosine >= cosine && item->max_abs <= max_abs;
    return 0;
}

static int compare(struct verify_case *c, const char *key, const float *got, size_t count, struct nun_verify_item *item)
{
    struct arena arena;
    const struct st_tensor *t;
    const float *want;
    size_t n;
    TRY(st_need(c->v->expected, span_str(key), NULL, &t));
    TRY(shape_count(&t->shape, &n));
    if (n != count)
        return err_set(NUN_EFORMAT, "%s: expected %zu values, computed %zu", key, n, count);
    if (!c->fast)
        TRY(verify_dump(c->v, key, DT_F32, t->shape, got));
    arena_init(&arena, MEM_RUNTIME, 0);
    int rc = verify_values(t, &arena, &want);
    size_t width = t->shape.n ? (size_t)t->shape.d[t->shape.n - 1] : 1;
    if (rc >= 0) {
        measure(c->v, got, want, count, width, item);
        item->ok = item->excess <= 1;
        rc = c->fast && t->dtype == DT_F32 ? judge_fast(c, count, item) : 0; /* ids and sizes are exact */
    }
    if (rc >= 0 && c->fast && (!strcmp(item->name, "logits") || !strcmp(item->name, "class_logits")))
        c->r.arg_max_wrong += wrong_winners(got, want, count / width, width);
    arena_free(&arena);
    return rc < 0 ? rc : 0;
}

void verify_item(struct verify_case *c, const struct nun_verify_item *item)
{
    if (c->r.n_items == VERIFY_ITEMS)
        return;
    c->items[c->r.n_items++] = *item;
    if (item->module)
        return;
    c->r.ok = c->r.ok && item->ok;
    if (!(item->max_abs <= c->r.max_abs))
        c->r.max_abs = item->max_abs;
}

int verify_check(struct verify_case *c, const char *name, const float *got, size_t count)
{
    struct nun_verify_item item = {.name = name};
    const char *key = json_string_value(json_object_get(json_object_get(c->json, "expected"), name));
    for (size_t i = 0; i < c->r.n_items; i++)
        if (!c->items[i].module && !strcmp(c->items[i].name, name))
            return 0; /* seen */
    if (!key)
        return 0;
    TRY(compare(c, key, got, count, &item));
    verify_item(c, &item);
    return 0;
}

int verify_module(struct verify_case *c, const char *path, const float *got, size_t count)
{
    struct nun_verify_item item = {.name = path, .module = true};
    const json_t *modules = json_object_get(json_object_get(c->json, "expected"), "modules");
    const char *key = json_string_value(json_object_get(modules, path));
    if (!key || !c->v->o->modules)
        return 0;
    TRY(compare(c, key, got, count, &item));
    verify_item(c, &item);
    return 0;
}

void verify_finish(struct verify_case *c, int rc)
{
    struct nun_verify_summary *s = &c->v->sum;
    char sentence[512] = "";
    if (c->r.arg_max_wrong || (!c->fast && c->r.greedy_same != c->r.greedy_total))
        c->r.ok = false;
    if (rc < 0) {
        struct span text = span_str(nun_error());
        memcpy(sentence, text.ptr, text.len < sizeof sentence ? text.len : sizeof sentence - 1);
        c->r.ok = false;
        c->r.error = sentence;
        s->could_not_run++;
    }
    s->cases++;
    s->failed += !c->r.ok;
    if (!strcmp(c->r.path, "f32") && !(c->r.max_abs <= s->worst_f32))
        s->worst_f32 = c->r.max_abs;
    if (c->v->o->report)
        c->v->o->report(c->v->o->arg, &c->r);
}
