/* Tests of templates ("is defined", "is divisibleby 3"): one row each. jinja_expr.c looks them up. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "text/jinja_int.h"
#include "text/tok_chars.h"

/* ---- kinds ---------------------------------------------------------------------------------------------------------- */

static uint32_t bit(enum jinja_kind kind) { return 1u << kind; }

/* One bit a kind that passes; what needs more than the kind has a function below. */
static int is_kind(const struct jinja_call *c, uint32_t kinds, struct jinja_value *out)
{
    *out = jinja_bool(kinds >> c->self.kind & 1);
    return 0;
}

#define KIND_TEST(name, kinds)                                                                        \
    static int test_##name(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)  \
    {                                                                                                 \
        return is_kind(c, (kinds), out);                                                              \
    }
KIND_TEST(defined, ~bit(JV_UNDEFINED))
KIND_TEST(undefined, bit(JV_UNDEFINED))
KIND_TEST(none, bit(JV_NONE))
KIND_TEST(boolean, bit(JV_BOOL))
KIND_TEST(integer, bit(JV_INT))
KIND_TEST(float, bit(JV_FLOAT))
KIND_TEST(number, bit(JV_INT) | bit(JV_FLOAT) | bit(JV_BOOL))
KIND_TEST(string, bit(JV_STRING))
KIND_TEST(mapping, bit(JV_DICT))
KIND_TEST(sequence, bit(JV_STRING) | bit(JV_LIST) | bit(JV_TUPLE) | bit(JV_RANGE) | bit(JV_DICT) | bit(JV_UNDEFINED))
KIND_TEST(iterable, bit(JV_STRING) | bit(JV_LIST) | bit(JV_TUPLE) | bit(JV_RANGE) | bit(JV_VIEW) | bit(JV_GENERATOR) |
                        bit(JV_DICT) | bit(JV_UNDEFINED) | bit(JV_LOOP))
KIND_TEST(callable, bit(JV_MACRO) | bit(JV_NATIVE) | bit(JV_LOOP) | bit(JV_UNDEFINED))

static int test_true(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_bool(c->self.kind == JV_BOOL && c->self.b);
    return 0;
}

static int test_false(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_bool(c->self.kind == JV_BOOL && !c->self.b);
    return 0;
}

static int test_escaped(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_bool(c->self.kind == JV_STRING && c->self.flag);
    return 0;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------------- */

static int remainder_is(struct jinja_run *r, const struct jinja_call *c, int64_t by, int64_t wanted, struct jinja_value *out)
{
    struct jinja_value divisor = jinja_int(by), want = jinja_int(wanted);
    bool same;
    TRY(jinja_binary(r, OP_MOD, &c->self, jinja_given(&c->arg[0]) ? &c->arg[0] : &divisor, out));
    TRY(jinja_equal(r, out, &want, &same));
    *out = jinja_bool(same);
    return 0;
}

static int test_odd(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return remainder_is(r, c, 2, 1, out);
}

static int test_even(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return remainder_is(r, c, 2, 0, out);
}

/* ---- comparisons --------------------------------------------------------------------------------------------------------- */

static int compare(struct jinja_run *r, const struct jinja_call *c, enum jinja_op op, struct jinja_value *out)
{
    bool holds;
    TRY(jinja_compare(r, op, &c->self, &c->arg[0], &holds));
    *out = jinja_bool(holds);
    return 0;
}

#define COMPARE_TEST(name, op)                                                                        \
    static int test_##name(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)  \
    {                                                                                                 \
        return compare(r, c, (op), out);                                                              \
    }
COMPARE_TEST(eq, OP_EQ)
COMPARE_TEST(ne, OP_NE)
COMPARE_TEST(gt, OP_GT)
COMPARE_TEST(ge, OP_GE)
COMPARE_TEST(lt, OP_LT)
COMPARE_TEST(le, OP_LE)
COMPARE_TEST(in, OP_IN)

static int test_sameas(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    const struct jinja_value *a = &c->self, *b = &c->arg[0];
    bool same = a->kind == b->kind;
    if (same && a->kind >= JV_LIST)
        same = a->seq == b->seq;
    else if (same)
        TRY(jinja_equal(r, a, b, &same));
    *out = jinja_bool(same);
    return 0;
}

/* ---- names and letters ------------------------------------------------------------------------------------------------------ */

static int test_filter(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_bool(c->self.kind == JV_STRING && jinja_find_filter(jinja_span(c->self.s)));
    return 0;
}

static int test_test(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    *out = jinja_bool(c->self.kind == JV_STRING && jinja_find_test(jinja_span(c->self.s)));
    return 0;
}

/* The method of that name on the value's text. */
static int text_method(struct jinja_run *r, const struct jinja_call *c, struct span name, struct jinja_value *out)
{
    struct jinja_args none = {0};
    struct jinja_value text;
    TRY(jinja_to_str(r, &c->self, &text));
    return jinja_call_row(r, jinja_find_method(JV_STRING, name), &text, &none, out);
}

static int test_lower(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return text_method(r, c, SPAN("islower"), out);
}

static int test_upper(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out)
{
    return text_method(r, c, SPAN("isupper"), out);
}

static const struct jinja_row rows[] = {
    {"odd", test_odd, ""},
    {"even", test_even, ""},
    {"divisibleby", test_even, "num"}, /* even, with another divisor */
    {"defined", test_defined, ""},
    {"undefined", test_undefined, ""},
    {"filter", test_filter, ""},
    {"test", test_test, ""},
    {"none", test_none, ""},
    {"boolean", test_boolean, ""},
    {"false", test_false, ""},
    {"true", test_true, ""},
    {"integer", test_integer, ""},
    {"float", test_float, ""},
    {"lower", test_lower, ""},
    {"upper", test_upper, ""},
    {"string", test_string, ""},
    {"mapping", test_mapping, ""},
    {"number", test_number, ""},
    {"sequence", test_sequence, ""},
    {"iterable", test_iterable, ""},
    {"callable", test_callable, ""},
    {"sameas", test_sameas, "other"},
    {"escaped", test_escaped, ""},
    {"in", test_in, "seq"},
    {"==", test_eq, "other"},
    {"eq", test_eq, "other"},
    {"equalto", test_eq, "other"},
    {"!=", test_ne, "other"},
    {"ne", test_ne, "other"},
    {">", test_gt, "other"},
    {"gt", test_gt, "other"},
    {"greaterthan", test_gt, "other"},
    {"ge", test_ge, "other"},
    {">=", test_ge, "other"},
    {"<", test_lt, "other"},
    {"lt", test_lt, "other"},
    {"lessthan", test_lt, "other"},
    {"<=", test_le, "other"},
    {"le", test_le, "other"},
};
const struct jinja_table jinja_tests = JINJA_TABLE(rows);
