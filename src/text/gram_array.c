/* Arrays of JSON Schema: items by position, then any number of the rest, with a counter where their number
 * matters, a second one for `contains`, and a memory of what came for uniqueItems. */
/* SPDX-License-Identifier: MIT */
#include "text/gram_schema.h"

struct array {
    struct schema *s;
    const struct branch *b;
    uint64_t prefix, min, max;       /* positions with schemas of their own */
    bool closed, unique;
    const json_t *contains;          /* NULL: none */
    enum lit_kind contains_kind;
    uint64_t least, most;            /* of contained items */
    bool counts;
};

enum { PREFIX_MAX = 256 };

/* ---- what is asked for --------------------------------------------------------------------- */

static const json_t *prefix_of(const struct schema *s, const json_t *at)
{
    const json_t *prefix = json_object_get(at, "prefixItems"), *items = json_object_get(at, "items");
    return prefix ? prefix : !s->standard && json_is_array(items) ? items : NULL;
}

static int read_contains(struct array *a, const struct fact *f)
{
    const json_t *schema = f->kind == FACT_CONTAINS ? f->lit.json : json_object_get(f->json, "contains");
    uint64_t least = 1, most = UINT64_MAX;
    if (!schema)
        return 0;
    if (f->kind == FACT_ITEMS) {
        TRY(schema_count(a->s, f->json, "minContains", 1, &least));
        TRY(schema_count(a->s, f->json, "maxContains", UINT64_MAX, &most));
    }
    if (!least && most == UINT64_MAX)
        return 0;
    if (a->contains)
        return schema_refuse(a->s, f->json ? f->json : schema, NULL, "more than one contains holds for the same array");
    a->contains = schema;
    a->contains_kind = f->kind == FACT_CONTAINS ? (enum lit_kind)f->lit.kind : LIT_SCHEMA;
    a->least = least;
    a->most = most;
    return 0;
}

static int read_items(struct array *a, const struct fact *f)
{
    const json_t *prefix = prefix_of(a->s, f->json), *items = json_object_get(f->json, "items");
    uint64_t min, max, n = json_array_size(prefix);
    TRY(schema_count(a->s, f->json, "minItems", 0, &min));
    TRY(schema_count(a->s, f->json, "maxItems", UINT64_MAX, &max));
    if (a->s->standard && json_is_array(items))
        return schema_refuse(a->s, f->json, "items", "expected a schema (lists are prefixItems)");
    if (!a->s->standard && prefix && !json_object_get(f->json, "minItems"))
        min = n; /* without $schema a tuple is whole */
    if (!a->s->standard && prefix && (prefix == items || !items))
        max = max < n ? max : n;
    a->prefix = n > a->prefix ? n : a->prefix;
    a->min = min > a->min ? min : a->min;
    a->max = max < a->max ? max : a->max;
    a->unique |= json_is_true(json_object_get(f->json, "uniqueItems"));
    return read_contains(a, f);
}

static int read_array(struct array *a)
{
    for (const struct fact *f = a->b->facts; f; f = f->next) {
        uint64_t n = json_array_size(f->json);
        if (f->kind == FACT_ITEMS)
            TRY(read_items(a, f));
        if (f->kind == FACT_CONTAINS)
            TRY(read_contains(a, f));
        if (f->kind == FACT_ITEM && f->n != UINT64_MAX && f->n >= a->prefix)
            a->prefix = f->n + 1;
        if (f->kind == FACT_LENGTH && !f->negative && f->n > a->min)
            a->min = f->n;
        if (f->kind == FACT_LENGTH && f->negative && f->n < a->max)
            a->max = f->n;
        if (f->kind == FACT_IS && json_is_array(f->json)) {
            a->min = n > a->min ? n : a->min;
            a->max = n < a->max ? n : a->max;
            a->prefix = n > a->prefix ? n : a->prefix;
        }
    }
    if (a->prefix > PREFIX_MAX)
        return schema_refuse(a->s, a->s->root, NULL, "more than 256 positions of an array with schemas of their own");
    a->counts = a->min > 0 || a->max != UINT64_MAX;
    return 0;
}

/* ---- the schemas of a position ------------------------------------------------------------- */

struct lits { struct gram_vec v; };

static int add(struct lits *l, const json_t *json, enum lit_kind kind)
{
    TRY(gram_vec_room(&l->v, 1, sizeof(struct lit)));
    GRAM_AT(l->v, struct lit)[l->v.n++] = (struct lit){json, kind};
    return 0;
}

/* Does any fact within the reach of `by` look at position i? */
static bool evaluated(const struct array *a, const struct fact *by, uint64_t i)
{
    for (const struct fact *f = a->b->facts; f; f = f->next) {
        if (f->kind != FACT_ITEMS || !schema_within(f, by->by))
            continue;
        if (json_object_get(f->json, "items") || i < json_array_size(prefix_of(a->s, f->json)) ||
            (f != by && json_object_get(f->json, "unevaluatedItems")))
            return true;
    }
    return false;
}

static int item_of(const struct array *a, const struct fact *f, uint64_t i, struct lits *l)
{
    const json_t *prefix = prefix_of(a->s, f->json), *items = json_object_get(f->json, "items"), *rest = json_object_get(f->json, "unevaluatedItems");
    if (i < json_array_size(prefix))
        TRY(add(l, json_array_get(prefix, i), LIT_SCHEMA));
    else if (items && prefix != items)
        TRY(add(l, items, LIT_SCHEMA));
    if (!rest)
        return 0;
    for (const struct fact *c = a->b->facts; c; c = c->next)
        if (c->kind == FACT_ITEMS && json_object_get(c->json, "contains") && schema_within(c, f->by))
            return schema_refuse(a->s, f->json, "unevaluatedItems", "beside contains it is not supported");
    return evaluated(a, f, i) ? 0 : add(l, rest, LIT_SCHEMA);
}

/* Position i; i = prefix stands for all behind. */
static int item_lits(const struct array *a, uint64_t i, struct lits *l)
{
    for (const struct fact *f = a->b->facts; f; f = f->next) {
        if (f->kind == FACT_ITEMS)
            TRY(item_of(a, f, i, l));
        if (f->kind == FACT_ITEM && (f->n == i || f->n == UINT64_MAX))
            TRY(add(l, f->lit.json, (enum lit_kind)f->lit.kind));
        if (f->kind == FACT_IS && json_is_array(f->json) && i < json_array_size(f->json))
            TRY(add(l, json_array_get(f->json, i), LIT_CONST));
    }
    return 0;
}

/* ---- expressions --------------------------------------------------------------------------- */

static struct gram_expr *count(struct array *a, enum gram_effect_kind kind, uint32_t slot, uint64_t n)
{
    return ex_effect(&a->s->b, (struct gram_effect){.kind = kind, .slot = slot, .n = (uint32_t)n});
}

/* A value that must differ from all before: written down, so it must be a scalar within this rule. */
static struct gram_expr *unique_item(struct array *a, const struct lits *l)
{
    struct schema *s = a->s;
    struct branches list = {{NULL, 0, 0}};
    struct gram_expr *any = ex_new(&s->b, EX_ALT);
    int rc = schema_unfold(s, l->v.at, l->v.n, &list);
    for (uint32_t i = 0; i < list.list.n && rc >= 0; i++) {
        const struct branch *b = GRAM_AT(list.list, struct branch) + i;
        if (b->types & (T_ARRAY | T_OBJECT)) {
            rc = schema_refuse(s, l->v.n ? GRAM_AT(l->v, struct lit)[0].json : s->root, NULL, "uniqueItems needs items that are no arrays or objects");
            break;
        }
        for (uint32_t t = T_NULL; t <= T_STRING; t *= 2)
            if (b->types & t)
                any = ex_add(&s->b, any, schema_scalar(s, b, t, true));
    }
    mem_free(list.list.at);
    if (rc < 0)
        return schema_fail(s, rc);
    return EX_SEQ_OF(&s->b, ex_effect(&s->b, (struct gram_effect){.kind = FX_NOTE}), any, ex_effect(&s->b, (struct gram_effect){.kind = FX_UNIQUE}));
}

static struct gram_expr *plain_item(struct array *a, const struct lits *l)
{
    return a->unique && a->max > 1 ? unique_item(a, l) : schema_call(a->s, l->v.at, l->v.n);
}

/* One item that counts for `contains`, or one that does not. */
static struct gram_expr *contained_item(struct array *a, struct lits *l)
{
    struct gram_builder *b = &a->s->b;
    struct gram_expr *alt = ex_new(b, EX_ALT);
    uint64_t cap = a->most == UINT64_MAX ? a->least : a->most + 1;
    int rc = add(l, a->contains, a->contains_kind);
    if (rc < 0)
        return schema_fail(a->s, rc);
    struct gram_expr *hit = EX_SEQ_OF(b, a->most == UINT64_MAX ? ex_new(b, EX_EMPTY) : count(a, FX_BELOW, 1, a->most), plain_item(a, l),
                                      count(a, FX_TICK, 1, cap));
    alt = ex_add(b, alt, hit);
    l->v.n--;
    if (a->most != UINT64_MAX) /* then the others must not count */
        rc = add(l, a->contains, a->contains_kind ^ 1);
    return rc < 0 ? schema_fail(a->s, rc) : ex_add(b, alt, plain_item(a, l));
}

static struct gram_expr *item(struct array *a, uint64_t i)
{
    struct gram_builder *b = &a->s->b;
    struct lits l = {{NULL, 0, 0}};
    uint64_t cap = a->max == UINT64_MAX ? a->min : a->max;
    int rc = item_lits(a, i, &l);
    struct gram_expr *e = rc < 0 ? schema_fail(a->s, rc) : a->contains ? contained_item(a, &l) : plain_item(a, &l);
    mem_free(l.v.at);
    return a->counts ? EX_SEQ_OF(b, e, schema_ws(a->s), count(a, FX_TICK, 0, cap)) : EX_SEQ_OF(b, e, schema_ws(a->s));
}

static struct gram_expr *closing(struct array *a)
{
    struct gram_builder *b = &a->s->b;
    return EX_SEQ_OF(b, a->min ? count(a, FX_LEAST, 0, a->min) : ex_new(b, EX_EMPTY),
                     a->contains ? count(a, FX_LEAST, 1, a->least) : ex_new(b, EX_EMPTY), ex_char(b, ']', GRAM_RAW));
}

static struct gram_expr *further(struct array *a, uint64_t i)
{
    struct gram_builder *b = &a->s->b;
    return EX_SEQ_OF(b, a->max == UINT64_MAX ? ex_new(b, EX_EMPTY) : count(a, FX_BELOW, 0, a->max), ex_char(b, ',', GRAM_RAW), schema_ws(a->s), item(a, i));
}

/* What may stand behind the first item: built from the last position forwards. */
static struct gram_expr *rest(struct array *a)
{
    struct gram_builder *b = &a->s->b;
    struct gram_expr *e = EX_SEQ_OF(b, ex_repeat(b, further(a, a->prefix > 1 ? a->prefix : 1), 0, REPEAT_FOREVER), closing(a));
    for (uint64_t i = a->prefix; i-- > 1;) {
        struct gram_expr *alt = ex_new(b, EX_ALT);
        alt = ex_add(b, alt, closing(a));
        e = ex_add(b, alt, EX_SEQ_OF(b, further(a, i), e));
    }
    return e;
}

struct gram_expr *schema_array(struct schema *s, const struct branch *branch)
{
    struct array a = {.s = s, .b = branch, .max = UINT64_MAX};
    struct gram_builder *b = &s->b;
    int rc = read_array(&a);
    if (rc < 0)
        return schema_fail(s, rc);
    if (a.max < a.min)
        return ex_new(b, EX_ALT);
    struct gram_expr *alt = ex_add(b, ex_new(b, EX_ALT), closing(&a));
    if (a.max)
        alt = ex_add(b, alt, EX_SEQ_OF(b, item(&a, 0), rest(&a)));
    return EX_SEQ_OF(b, ex_char(b, '[', GRAM_RAW), schema_ws(s), alt);
}
