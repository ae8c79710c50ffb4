/* Numbers of JSON Schema as automata over their digits: bounds by comparing with a decimal, multiples by
 * remainders. Where a bound or a multiple is asked for, exponents are left out: the same numbers can be
 * written without. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "text/gram_schema.h"

enum { LESS = 1, EQUAL = 2, GREATER = 4 };
enum { DIGITS_MAX = 400 };
struct decimal { bool minus; int whole_n, part_n; char whole[DIGITS_MAX], part[DIGITS_MAX]; };
static const char letters[] = "-.0123456789";

/* ---- decimals ------------------------------------------------------------------------------ */

/* The value with all its digits; beyond 2^53 a double says too little. */
static int read_decimal(const struct schema *s, const json_t *at, const char *key, const json_t *v, struct decimal *d)
{
    struct buf text;
    if (json_is_real(v) && !(fabs(json_real_value(v)) < 9007199254740992.0))
        return schema_refuse(s, at, key, "the number is too great to be exact");
    buf_init(&text, MEM_TEXT, 512);
    if (json_is_integer(v))
        buf_printf(&text, "%lld", (long long)json_integer_value(v));
    else
        json_write_real(json_real_value(v), &text);
    const char *p = buf_cstr(&text), *e = strpbrk(p, "eE");
    long power = e ? strtol(e + 1, NULL, 10) : 0;
    char digits[64];
    int n = 0, point = -1;
    *d = (struct decimal){.minus = *p == '-'};
    for (p += *p == '-'; *p && *p != 'e' && *p != 'E' && n < 63; p++) {
        if (*p == '.')
            point = n;
        else
            digits[n++] = *p;
    }
    point = (int)((point < 0 ? n : point) + power);
    buf_free(&text);
    if (point < -300 || point > 300)
        return schema_refuse(s, at, key, "the number is too small to be exact");
    for (int i = point < 0 ? point : 0; i < point || i < n; i++) {
        char c = i >= 0 && i < n ? digits[i] : '0';
        if (i < point && (d->whole_n || c != '0'))
            d->whole[d->whole_n++] = c;
        else if (i >= point)
            d->part[d->part_n++] = c;
    }
    while (d->part_n && d->part[d->part_n - 1] == '0')
        d->part_n--;
    if (!d->whole_n)
        d->whole[d->whole_n++] = '0';
    d->minus &= !(d->whole_n == 1 && d->whole[0] == '0' && !d->part_n);
    return 0;
}

/* ---- comparing ----------------------------------------------------------------------------- */

/* A place: [0] the phase, [1] whether behind a minus, [2] digits read of this part, [3] the relation so far. */
enum { START, SIGNED, WHOLE, PART };
struct comparison { const struct decimal *d, *zero; int accept; };

/* Behind a minus magnitudes are compared; a bound of the other sign is as good as zero. */
static const struct decimal *measure(const struct comparison *c, const struct dfa_place *p)
{
    return (p->at[1] != 0) == c->d->minus ? c->d : c->zero;
}

static void next_digit(const struct decimal *d, struct dfa_place *p, char c)
{
    const char *digits = p->at[0] == WHOLE ? d->whole : d->part;
    int n = p->at[0] == WHOLE ? d->whole_n : d->part_n, i = p->at[2];
    char other = i < n ? digits[i] : '0';
    if (p->at[0] == WHOLE && i >= n) {
        p->at[3] = GREATER;
    } else if (p->at[3] == EQUAL && (p->at[0] == WHOLE || i <= n)) {
        p->at[3] = c < other ? LESS : c > other ? GREATER : EQUAL;
    }
    if (i < n + (p->at[0] == WHOLE))
        p->at[2]++;
}

/* What the whole part alone says. */
static int whole_relation(const struct decimal *d, const struct dfa_place *p)
{
    return p->at[2] < d->whole_n ? LESS : p->at[2] > d->whole_n ? GREATER : p->at[3];
}

static bool compare_step(const void *arg, struct dfa_place *p, char c)
{
    const struct comparison *cmp = arg;
    if (c == '-') {
        bool first = p->at[0] == START;
        *p = (struct dfa_place){{SIGNED, 1, 0, EQUAL}};
        return first;
    }
    const struct decimal *d = measure(cmp, p);
    if (c == '.') {
        if (p->at[0] != WHOLE)
            return false;
        *p = (struct dfa_place){{PART, p->at[1], 0, whole_relation(d, p)}};
        return true;
    }
    if (p->at[0] == START || p->at[0] == SIGNED)
        *p = (struct dfa_place){{WHOLE, p->at[1], 0, EQUAL}};
    next_digit(d, p, c);
    return true;
}

static bool compare_accepts(const void *arg, const struct dfa_place *p)
{
    const struct comparison *cmp = arg;
    const struct decimal *d = measure(cmp, p);
    bool nonzero = false;
    if (p->at[0] == START || p->at[0] == SIGNED)
        return false;
    int r = p->at[0] == WHOLE ? whole_relation(d, p) : p->at[3], read = p->at[0] == PART ? p->at[2] : 0;
    for (int i = read; i < d->part_n; i++)
        nonzero |= d->part[i] != '0';
    if (r == EQUAL && nonzero)
        r = LESS;
    if (p->at[1])
        r = r == LESS ? GREATER : r == GREATER ? LESS : EQUAL;
    if (d == cmp->zero && r == EQUAL) /* a zero beside a bound of the other sign */
        r = cmp->d->minus ? GREATER : cmp->d->whole_n == 1 && cmp->d->whole[0] == '0' && !cmp->d->part_n ? EQUAL : LESS;
    return r & cmp->accept;
}

static int compared(struct schema *s, const struct decimal *d, int accept, struct dfa *out)
{
    struct decimal zero = {.whole_n = 1, .whole = "0"};
    struct comparison c = {d, &zero, accept};
    struct dfa_table t = {compare_step, compare_accepts, &c, letters};
    return dfa_tabulate(s->arena, &t, (struct dfa_place){{START, 0, 0, EQUAL}}, out);
}

/* ---- multiples ----------------------------------------------------------------------------- */

/* A place: phase, remainder, digits behind the point. */
struct multiple { int64_t of; int places; };

static bool multiple_step(const void *arg, struct dfa_place *p, char c)
{
    const struct multiple *m = arg;
    if (c == '-') {
        bool first = p->at[0] == START;
        p->at[0] = SIGNED;
        return first;
    }
    if (c == '.') {
        bool whole = p->at[0] == WHOLE;
        p->at[0] = PART;
        return whole;
    }
    if (p->at[0] == PART && p->at[2] == m->places)
        return c == '0';
    p->at[2] += p->at[0] == PART;
    p->at[0] = p->at[0] == PART ? PART : WHOLE;
    p->at[1] = (int32_t)(((int64_t)p->at[1] * 10 + (c - '0')) % m->of);
    return true;
}

static bool multiple_accepts(const void *arg, const struct dfa_place *p)
{
    const struct multiple *m = arg;
    int64_t r = p->at[1];
    for (int i = p->at[2]; i < m->places; i++)
        r = r * 10 % m->of;
    return p->at[0] >= WHOLE && r == 0;
}

static int multiples(struct schema *s, const json_t *at, const json_t *v, struct dfa *out)
{
    struct decimal d;
    struct multiple m = {0, 0};
    TRY(read_decimal(s, at, "multipleOf", v, &d));
    for (int i = 0; i < d.whole_n && m.of < 1000000; i++)
        m.of = m.of * 10 + (d.whole[i] - '0');
    for (; m.places < d.part_n && m.of < 1000000; m.places++)
        m.of = m.of * 10 + (d.part[m.places] - '0');
    if (d.minus || !m.of)
        return schema_refuse(s, at, "multipleOf", "expected a number above zero");
    if (m.of >= 1000000 || (m.of + 1) * (m.places + 1) > (int64_t)LIMIT_OF(grammar_dfa))
        return schema_refuse(s, at, "multipleOf", "the number has too many digits");
    struct dfa_table t = {multiple_step, multiple_accepts, &m, letters};
    return dfa_tabulate(s->arena, &t, (struct dfa_place){{START, 0, 0, 0}}, out);
}

/* ---- facts --------------------------------------------------------------------------------- */

/* Every whole number is a multiple of 1, of 0.5, of 0.25, ... */
static bool says_nothing(const struct branch *b, const struct fact *f)
{
    double of = json_number_value(json_object_get(f->json, "multipleOf"));
    if (f->negative || strcmp(f->key, "multipleOf") || !(of > 0 && of <= 1) || floor(1 / of) * of != 1)
        return false;
    for (const struct fact *other = b->facts; other; other = other->next)
        if (other->kind == FACT_INTEGER && !other->negative)
            return true;
    return false;
}

static int keyword_numbers(struct schema *s, const struct fact *f, struct dfa *out)
{
    static const struct { const char *key; int accept; } bounds[] = {
        {"minimum", EQUAL | GREATER}, {"maximum", EQUAL | LESS}, {"exclusiveMinimum", GREATER}, {"exclusiveMaximum", LESS}};
    const json_t *v = json_object_get(f->json, f->key);
    struct decimal d;
    if (!json_is_number(v))
        return schema_refuse(s, f->json, f->key, "expected a number");
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (!strcmp(f->key, bounds[i].key)) {
            TRY(read_decimal(s, f->json, f->key, v, &d));
            return compared(s, &d, bounds[i].accept, out);
        }
    return multiples(s, f->json, v, out);
}

static int equal_numbers(struct schema *s, const struct fact *f, struct dfa *out)
{
    const json_t *list = f->kind == FACT_ONE_OF ? f->json : NULL;
    size_t all = list ? json_array_size(list) : 1, n = 0;
    struct dfa *one = arena_array(s->arena, all + 1, sizeof *one);
    struct decimal d;
    if (!one)
        return NUN_ENOMEM;
    for (size_t i = 0; i < all; i++) {
        const json_t *v = list ? json_array_get(list, i) : f->json;
        if (!json_is_number(v))
            continue;
        TRY(read_decimal(s, f->json, NULL, v, &d));
        TRY(compared(s, &d, EQUAL, &one[n++]));
    }
    for (; n > 1; n = (n + 1) / 2) /* in pairs, so that each is copied log n times */
        for (size_t i = 0; i < n / 2; i++)
            TRY(dfa_product(s->arena, &one[i], &one[n - 1 - i], DFA_OR, &one[i]));
    *out = n ? one[0] : (struct dfa){NULL, NULL, 0, 0};
    return 0;
}

static int narrow(struct schema *s, struct dfa *out, const struct fact *f)
{
    struct dfa one;
    if (f->kind == FACT_INTEGER)
        one = s->plain_integer;
    else if (f->kind == FACT_NUMBER)
        TRY(keyword_numbers(s, f, &one));
    else
        TRY(equal_numbers(s, f, &one));
    return dfa_product(s->arena, out, &one, f->negative ? DFA_MINUS : DFA_AND, out);
}

int schema_number(struct schema *s, const struct branch *b, struct dfa *out)
{
    bool whole = false, plain = false;
    for (const struct fact *f = b->facts; f; f = f->next) {
        whole |= f->kind == FACT_INTEGER && !f->negative;
        plain |= (f->kind == FACT_INTEGER && f->negative) || f->kind == FACT_IS || f->kind == FACT_ONE_OF ||
                 (f->kind == FACT_NUMBER && !says_nothing(b, f));
    }
    *out = whole ? (plain ? s->plain_integer : s->integer) : plain ? s->plain_number : s->number;
    for (const struct fact *f = b->facts; f; f = f->next) {
        bool done = f->kind == FACT_INTEGER && !f->negative;
        bool here = f->kind == FACT_INTEGER || f->kind == FACT_NUMBER || f->kind == FACT_IS || f->kind == FACT_ONE_OF;
        if (here && !done && !(f->kind == FACT_NUMBER && says_nothing(b, f)))
            TRY(narrow(s, out, f));
    }
    return 0;
}
