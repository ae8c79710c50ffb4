/* Expressions of templates: precedence climbing over jinja2's grammar, postfix chains, filters, tests,
 * calls. Every name of a filter or test is looked up here, so that an unknown one is refused when the
 * template is read. jinja_parse.c calls it for what stands inside tags. */
/* SPDX-License-Identifier: MIT */
#include "base/limits.h"
#include "text/jinja_int.h"

static int primary(struct jinja_parser *p, struct jinja_node **out);
static int postfix(struct jinja_parser *p, struct jinja_node **node);

/* ---- operators ------------------------------------------------------------------------------------------ */

/* How tightly a binary operator binds; all lean left. Or, and, not, comparisons lie below. */
enum { BIND_OR, BIND_AND, BIND_NOT, BIND_COMPARE, BIND_SUM, BIND_CONCAT, BIND_PRODUCT, BIND_POWER, BIND_UNARY };

static int binding(enum jinja_op op)
{
    static const uint8_t rows[OP_NOTIN + 1] = {
        [OP_ADD] = BIND_SUM, [OP_SUB] = BIND_SUM, [OP_TILDE] = BIND_CONCAT, [OP_MUL] = BIND_PRODUCT,
        [OP_DIV] = BIND_PRODUCT, [OP_FLOORDIV] = BIND_PRODUCT, [OP_MOD] = BIND_PRODUCT, [OP_POW] = BIND_POWER};
    return rows[op];
}

static int operators(struct jinja_parser *p, int bind, struct jinja_node **out);

static int unary(struct jinja_parser *p, bool with_filters, struct jinja_node **out)
{
    struct jinja_token at = p->token;
    bool minus = jinja_at_op(p, OP_SUB);
    TRY(jinja_enter(p));
    if (minus || jinja_at_op(p, OP_ADD)) {
        TRY(jinja_advance(p));
        TRY(jinja_node(p, &at, minus ? JN_NEG : JN_POS, out));
        TRY(unary(p, false, &(*out)->a));
    } else {
        TRY(primary(p, out));
    }
    TRY(postfix(p, out));
    p->depth--;
    return with_filters ? jinja_filters(p, false, *out, out) : 0;
}

/* a ~ b ~ c is one node, which joins once. */
static int concat(struct jinja_parser *p, const struct jinja_token *at, struct jinja_node **left)
{
    struct jinja_node *node, *item;
    TRY(jinja_node(p, at, JN_CONCAT, &node));
    struct jinja_list list = jinja_list_of(&node->list);
    jinja_link(&list, *left);
    while (jinja_at_op(p, OP_TILDE)) {
        TRY(jinja_advance(p));
        TRY(operators(p, BIND_PRODUCT, &item));
        jinja_link(&list, item);
    }
    *left = node;
    return 0;
}

static int operators(struct jinja_parser *p, int bind, struct jinja_node **out)
{
    TRY(unary(p, true, out));
    for (;;) {
        struct jinja_token at = p->token;
        int here = at.type == TOKEN_OP ? binding(at.op) : 0;
        struct jinja_node *node;
        if (here < bind || !here)
            return 0;
        if (at.op == OP_TILDE) {
            TRY(concat(p, &at, out));
            continue;
        }
        TRY(jinja_advance(p));
        TRY(jinja_node(p, &at, JN_BINARY, &node));
        node->op = (uint8_t)at.op;
        node->a = *out;
        TRY(here == BIND_POWER ? unary(p, true, &node->b) : operators(p, here + 1, &node->b));
        *out = node;
    }
}

/* The comparison that stands here, consumed; OP_NOTHING when there is none. */
static int take_comparison(struct jinja_parser *p, enum jinja_op *op)
{
    struct jinja_token next;
    *op = OP_NOTHING;
    if (p->token.type == TOKEN_OP && p->token.op >= OP_EQ && p->token.op <= OP_LE) {
        *op = p->token.op;
    } else if (jinja_at_name(p, "in")) {
        *op = OP_IN;
    } else if (jinja_at_name(p, "not")) {
        TRY(jinja_look(p, &next));
        if (next.type == TOKEN_NAME && span_is(next.text, "in")) {
            TRY(jinja_advance(p));
            *op = OP_NOTIN;
        }
    }
    return *op == OP_NOTHING ? 0 : jinja_advance(p);
}

static int comparison(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_token at = p->token;
    struct jinja_node *first, *operand;
    struct jinja_list list = {0};
    enum jinja_op op;
    TRY(operators(p, BIND_SUM, &first));
    *out = first;
    for (;;) {
        struct jinja_token here = p->token;
        TRY(take_comparison(p, &op));
        if (op == OP_NOTHING)
            return 0;
        if (*out == first) {
            TRY(jinja_node(p, &at, JN_COMPARE, out));
            (*out)->a = first;
            list = jinja_list_of(&(*out)->list);
        }
        TRY(jinja_node(p, &here, JN_OPERAND, &operand));
        operand->op = (uint8_t)op;
        TRY(operators(p, BIND_SUM, &operand->a));
        jinja_link(&list, operand);
    }
}

static int negation(struct jinja_parser *p, struct jinja_node **out)
{
    while (jinja_at_name(p, "not")) {
        TRY(jinja_node(p, &p->token, JN_NOT, out));
        TRY(jinja_advance(p));
        out = &(*out)->a;
    }
    return comparison(p, out);
}

static int conjunction(struct jinja_parser *p, struct jinja_node **out)
{
    TRY(negation(p, out));
    while (jinja_at_name(p, "and")) {
        struct jinja_node *node;
        TRY(jinja_node(p, &p->token, JN_AND, &node));
        TRY(jinja_advance(p));
        node->a = *out;
        TRY(negation(p, &node->b));
        *out = node;
    }
    return 0;
}

static int disjunction(struct jinja_parser *p, struct jinja_node **out)
{
    TRY(conjunction(p, out));
    while (jinja_at_name(p, "or")) {
        struct jinja_node *node;
        TRY(jinja_node(p, &p->token, JN_OR, &node));
        TRY(jinja_advance(p));
        node->a = *out;
        TRY(conjunction(p, &node->b));
        *out = node;
    }
    return 0;
}

int jinja_expression(struct jinja_parser *p, struct jinja_node **out)
{
    TRY(jinja_enter(p));
    TRY(disjunction(p, out));
    while (jinja_at_name(p, "if")) {
        struct jinja_node *node;
        TRY(jinja_node(p, &p->token, JN_COND, &node));
        TRY(jinja_advance(p));
        node->a = *out;
        TRY(disjunction(p, &node->b));
        if (jinja_at_name(p, "else")) {
            TRY(jinja_advance(p));
            TRY(jinja_expression(p, &node->c));
        }
        *out = node;
    }
    p->depth--;
    return 0;
}

/* ---- tuples, lists, dicts --------------------------------------------------------------------------------- */

static bool tuple_ends(const struct jinja_parser *p, const char *until)
{
    return p->token.type == TOKEN_VAR_END || p->token.type == TOKEN_BLOCK_END || jinja_at_op(p, OP_RPAREN) ||
           (until && jinja_at_name(p, until));
}

static int no_condition(struct jinja_parser *p, struct jinja_node **out)
{
    TRY(jinja_enter(p));
    TRY(disjunction(p, out));
    p->depth--;
    return 0;
}

/* item: how one is parsed. One without a comma is itself. */
static int tuple_of(struct jinja_parser *p, int (*item)(struct jinja_parser *, struct jinja_node **), int flags,
                    const char *until, struct jinja_node **out)
{
    struct jinja_token at = p->token;
    struct jinja_node *node, *one = NULL;
    size_t n = 0;
    bool comma = false;
    TRY(jinja_node(p, &at, JN_TUPLE, &node));
    struct jinja_list list = jinja_list_of(&node->list);
    while (!tuple_ends(p, until)) {
        TRY(item(p, &one));
        jinja_link(&list, one);
        n++;
        if (!jinja_at_op(p, OP_COMMA))
            break;
        TRY(jinja_advance(p));
        comma = true;
    }
    if (!n && !(flags & JINJA_EMPTY_OK))
        return jinja_unexpected(p, "an expression");
    *out = n == 1 && !comma ? one : node;
    return 0;
}

int jinja_tuple(struct jinja_parser *p, int flags, const char *until, struct jinja_node **out)
{
    return tuple_of(p, flags & JINJA_NO_COND ? no_condition : jinja_expression, flags, until, out);
}

static int list_literal(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_node *item;
    TRY(jinja_node(p, &p->token, JN_LIST, out));
    struct jinja_list list = jinja_list_of(&(*out)->list);
    TRY(jinja_advance(p));
    while (!jinja_at_op(p, OP_RBRACKET)) {
        TRY(jinja_expression(p, &item));
        jinja_link(&list, item);
        if (!jinja_at_op(p, OP_RBRACKET))
            TRY(jinja_expect_op(p, OP_COMMA, "',' or ']'"));
    }
    return jinja_advance(p);
}

static int dict_literal(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_node *pair;
    TRY(jinja_node(p, &p->token, JN_DICT, out));
    struct jinja_list list = jinja_list_of(&(*out)->list);
    TRY(jinja_advance(p));
    while (!jinja_at_op(p, OP_RBRACE)) {
        TRY(jinja_node(p, &p->token, JN_PAIR, &pair));
        TRY(jinja_expression(p, &pair->a));
        TRY(jinja_expect_op(p, OP_COLON, "':'"));
        TRY(jinja_expression(p, &pair->b));
        jinja_link(&list, pair);
        if (!jinja_at_op(p, OP_RBRACE))
            TRY(jinja_expect_op(p, OP_COMMA, "',' or '}'"));
    }
    return jinja_advance(p);
}

/* ---- names and literals ------------------------------------------------------------------------------------- */

static const struct { const char *name; struct jinja_value value; } constants[] = {
    {"true", {.kind = JV_BOOL, .b = true}},   {"True", {.kind = JV_BOOL, .b = true}}, {"false", {.kind = JV_BOOL}},
    {"False", {.kind = JV_BOOL}},             {"none", {.kind = JV_NONE}},            {"None", {.kind = JV_NONE}}};

/* The macros around must know whether their bodies ask for these. */
static void note_use(struct jinja_parser *p, struct span name)
{
    static const struct { const char *name; uint8_t flag; } rows[] = {
        {"caller", JINJA_USES_CALLER}, {"varargs", JINJA_USES_VARARGS}, {"kwargs", JINJA_USES_KWARGS}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (span_is(name, rows[i].name))
            for (struct jinja_around *a = p->around; a; a = a->outer)
                a->macro->flag |= rows[i].flag;
}

static int name_or_constant(struct jinja_parser *p, struct jinja_node **out)
{
    struct span name = p->token.text;
    TRY(jinja_node(p, &p->token, JN_NAME, out));
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (span_is(name, constants[i].name)) {
            (*out)->type = JN_CONST;
            (*out)->value = constants[i].value;
            return jinja_advance(p);
        }
    note_use(p, name);
    return jinja_take_name(p, &(*out)->name);
}

/* 'a' 'b' is 'ab'. */
static int strings(struct jinja_parser *p, struct jinja_node **out)
{
    TRY(jinja_node(p, &p->token, JN_CONST, out));
    (*out)->value = p->token.value;
    TRY(jinja_advance(p));
    while (p->token.type == TOKEN_STRING) {
        const struct jinja_str *a = (*out)->value.s, *b = p->token.value.s;
        struct jinja_str *both = arena_alloc(&p->t->arena, sizeof *both);
        char *text = both ? arena_alloc(&p->t->arena, a->len + b->len + 1) : NULL;
        if (!text)
            return NUN_ENOMEM;
        memcpy(text, a->ptr, a->len);
        memcpy(text + a->len, b->ptr, b->len);
        *both = (struct jinja_str){.ptr = text, .len = a->len + b->len, .chars = JINJA_UNCOUNTED};
        (*out)->value = jinja_string(both);
        TRY(jinja_advance(p));
    }
    return 0;
}

static int primary(struct jinja_parser *p, struct jinja_node **out)
{
    if (p->token.type == TOKEN_NAME)
        return name_or_constant(p, out);
    if (p->token.type == TOKEN_STRING)
        return strings(p, out);
    if (p->token.type == TOKEN_NUMBER) {
        TRY(jinja_node(p, &p->token, JN_CONST, out));
        (*out)->value = p->token.value;
        return jinja_advance(p);
    }
    if (jinja_at_op(p, OP_LPAREN)) {
        TRY(jinja_advance(p));
        TRY(jinja_tuple(p, JINJA_EMPTY_OK, NULL, out));
        return jinja_expect_op(p, OP_RPAREN, "')'");
    }
    if (jinja_at_op(p, OP_LBRACKET))
        return list_literal(p, out);
    return jinja_at_op(p, OP_LBRACE) ? dict_literal(p, out) : jinja_unexpected(p, "an expression");
}

/* ---- postfix: attributes, subscripts, calls -------------------------------------------------------------------- */

static int slice_part(struct jinja_parser *p, struct jinja_node **out)
{
    bool absent = jinja_at_op(p, OP_COLON) || jinja_at_op(p, OP_RBRACKET) || jinja_at_op(p, OP_COMMA);
    return absent ? 0 : jinja_expression(p, out);
}

static int subscribed(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_token at = p->token;
    struct jinja_node *start = NULL;
    if (!jinja_at_op(p, OP_COLON)) {
        TRY(jinja_expression(p, &start));
        *out = start;
        if (!jinja_at_op(p, OP_COLON))
            return 0;
    }
    TRY(jinja_node(p, &at, JN_SLICE, out));
    (*out)->a = start;
    TRY(jinja_advance(p));
    TRY(slice_part(p, &(*out)->b));
    if (!jinja_at_op(p, OP_COLON))
        return 0;
    TRY(jinja_advance(p));
    return slice_part(p, &(*out)->c);
}

static int subscript(struct jinja_parser *p, struct jinja_node *node)
{
    struct jinja_node *tuple, *item = NULL;
    size_t n = 0;
    TRY(jinja_node(p, &p->token, JN_TUPLE, &tuple));
    struct jinja_list list = jinja_list_of(&tuple->list);
    TRY(jinja_advance(p));
    while (!jinja_at_op(p, OP_RBRACKET)) {
        if (n++)
            TRY(jinja_expect_op(p, OP_COMMA, "',' or ']'"));
        TRY(subscribed(p, &item));
        jinja_link(&list, item);
    }
    node->b = n == 1 ? item : tuple;
    return jinja_advance(p);
}

/* .name, or .3 for [3] */
static int attribute(struct jinja_parser *p, struct jinja_node *node)
{
    TRY(jinja_advance(p));
    if (p->token.type == TOKEN_NUMBER && p->token.value.kind == JV_INT) {
        node->type = JN_GETITEM;
        TRY(jinja_node(p, &p->token, JN_CONST, &node->b));
        node->b->value = p->token.value;
        return jinja_advance(p);
    }
    if (p->token.type != TOKEN_NAME)
        return jinja_unexpected(p, "a name or a number after '.'");
    node->flag = jinja_any_method(p->token.text);
    return jinja_take_name(p, &node->name);
}

static int argument(struct jinja_parser *p, bool *keyword, struct jinja_node **out)
{
    struct jinja_token next;
    bool star = jinja_at_op(p, OP_MUL), stars = jinja_at_op(p, OP_POW);
    TRY(jinja_node(p, &p->token, JN_ARG, out));
    if (star || stars) {
        (*out)->op = star ? OP_MUL : OP_POW;
        TRY(jinja_advance(p));
    } else if (p->token.type == TOKEN_NAME) {
        TRY(jinja_look(p, &next));
        if (next.type == TOKEN_OP && next.op == OP_ASSIGN) {
            TRY(jinja_take_name(p, &(*out)->name));
            TRY(jinja_advance(p));
        }
    }
    if (*keyword && !star && !stars && !(*out)->name)
        return jinja_unexpected(p, "a keyword after other keywords");
    *keyword = *keyword || star || stars || (*out)->name;
    return jinja_expression(p, &(*out)->a);
}

static int arguments(struct jinja_parser *p, struct jinja_node **head)
{
    struct jinja_list list = jinja_list_of(head);
    struct jinja_node *arg;
    bool keyword = false;
    TRY(jinja_advance(p));
    while (!jinja_at_op(p, OP_RPAREN)) {
        TRY(argument(p, &keyword, &arg));
        jinja_link(&list, arg);
        if (!jinja_at_op(p, OP_RPAREN))
            TRY(jinja_expect_op(p, OP_COMMA, "',' or ')'"));
    }
    return jinja_advance(p);
}

static int call(struct jinja_parser *p, struct jinja_node **node)
{
    struct jinja_node *made;
    TRY(jinja_node(p, &p->token, JN_CALL, &made));
    made->a = *node;
    *node = made;
    return arguments(p, &made->list);
}

static int postfix(struct jinja_parser *p, struct jinja_node **node)
{
    for (;;) {
        bool dot = jinja_at_op(p, OP_DOT);
        struct jinja_node *made;
        if (jinja_at_op(p, OP_LPAREN)) {
            TRY(call(p, node));
            continue;
        }
        if (!dot && !jinja_at_op(p, OP_LBRACKET))
            return 0;
        TRY(jinja_node(p, &p->token, dot ? JN_GETATTR : JN_GETITEM, &made));
        made->a = *node;
        *node = made;
        TRY(dot ? attribute(p, made) : subscript(p, made));
    }
}

/* ---- filters and tests ------------------------------------------------------------------------------------------ */

/* map('upper') and select('odd') name a row too: a name that is written out is checked here. */
static int check_named_row(struct jinja_parser *p, const struct jinja_token *at, const struct jinja_node *filter)
{
    static const struct { const char *name; int place; bool test; } rows[] = {
        {"map", 0, false}, {"select", 0, true}, {"reject", 0, true}, {"selectattr", 1, true}, {"rejectattr", 1, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct jinja_node *arg = filter->list;
        if (strcmp(filter->row->name, rows[i].name) != 0)
            continue;
        for (int skip = rows[i].place; skip && arg; skip--)
            arg = arg->next;
        if (!arg || arg->name || arg->op || arg->a->type != JN_CONST || arg->a->value.kind != JV_STRING)
            return 0;
        struct span name = jinja_span(arg->a->value.s);
        if (!(rows[i].test ? jinja_find_test(name) : jinja_find_filter(name)))
            return jinja_fail(p, at, "no %s is called '%.*s'", rows[i].test ? "test" : "filter", (int)name.len, name.ptr);
    }
    return 0;
}

static int filter(struct jinja_parser *p, struct jinja_node *value, struct jinja_node **out)
{
    struct jinja_token at = p->token;
    TRY(jinja_node(p, &at, JN_FILTER, out));
    (*out)->a = value;
    if (at.type != TOKEN_NAME)
        return jinja_unexpected(p, "the name of a filter");
    (*out)->row = jinja_find_filter(at.text);
    TRY(jinja_advance(p));
    if (!(*out)->row || jinja_at_op(p, OP_DOT))
        return jinja_fail(p, &at, "no filter is called '%.*s'", (int)at.text.len, at.text.ptr);
    if (jinja_at_op(p, OP_LPAREN))
        TRY(arguments(p, &(*out)->list));
    return check_named_row(p, &at, *out);
}

/* A test's one argument may go without parentheses: "is divisibleby 3". */
static int bare_argument(struct jinja_parser *p, struct jinja_node *node)
{
    bool starts = p->token.type == TOKEN_STRING || p->token.type == TOKEN_NUMBER || jinja_at_op(p, OP_LBRACKET) ||
                  jinja_at_op(p, OP_LBRACE) || p->token.type == TOKEN_NAME;
    if (!starts || jinja_at_name(p, "else") || jinja_at_name(p, "or") || jinja_at_name(p, "and"))
        return 0;
    if (jinja_at_name(p, "is"))
        return jinja_unexpected(p, "one test, not a chain of them");
    TRY(jinja_node(p, &p->token, JN_ARG, &node->list));
    TRY(jinja_enter(p));
    TRY(primary(p, &node->list->a));
    p->depth--;
    return postfix(p, &node->list->a);
}

static int test(struct jinja_parser *p, struct jinja_node **node)
{
    struct jinja_token at = p->token;
    struct jinja_node *made, *negation_of;
    TRY(jinja_node(p, &at, JN_TEST, &made));
    TRY(jinja_advance(p));
    bool negated = jinja_at_name(p, "not");
    if (negated)
        TRY(jinja_advance(p));
    at = p->token;
    if (at.type != TOKEN_NAME)
        return jinja_unexpected(p, "the name of a test");
    made->a = *node;
    made->row = jinja_find_test(at.text);
    TRY(jinja_advance(p));
    if (!made->row || jinja_at_op(p, OP_DOT))
        return jinja_fail(p, &at, "no test is called '%.*s'", (int)at.text.len, at.text.ptr);
    TRY(jinja_at_op(p, OP_LPAREN) ? arguments(p, &made->list) : bare_argument(p, made));
    *node = made;
    if (!negated)
        return 0;
    TRY(jinja_node(p, &at, JN_NOT, &negation_of));
    negation_of->a = made;
    *node = negation_of;
    return 0;
}

int jinja_filters(struct jinja_parser *p, bool inline_first, struct jinja_node *value, struct jinja_node **out)
{
    *out = value;
    for (;; inline_first = false) {
        if (inline_first) {
            TRY(filter(p, *out, out));
        } else if (jinja_at_op(p, OP_PIPE)) {
            TRY(jinja_advance(p));
            TRY(filter(p, *out, out));
        } else if (*out && jinja_at_name(p, "is")) {
            TRY(test(p, out));
        } else if (*out && jinja_at_op(p, OP_LPAREN)) {
            TRY(call(p, out));
        } else {
            return 0;
        }
    }
}

/* ---- targets of assignments -------------------------------------------------------------------------------------- */

static int target_item(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_token next;
    TRY(jinja_look(p, &next));
    bool attr = p->token.type == TOKEN_NAME && next.type == TOKEN_OP && next.op == OP_DOT;
    if (!attr)
        return primary(p, out);
    TRY(jinja_node(p, &p->token, JN_NSREF, out));
    TRY(jinja_node(p, &p->token, JN_NAME, &(*out)->a));
    TRY(jinja_take_name(p, &(*out)->a->name));
    TRY(jinja_advance(p));
    if (p->token.type != TOKEN_NAME)
        return jinja_unexpected(p, "a name after '.'");
    return jinja_take_name(p, &(*out)->name);
}

/* Recursion is bounded by the brackets that made the tuples. */
static int check_target(struct jinja_parser *p, const struct jinja_token *at, const struct jinja_node *n, bool with_namespace)
{
    if (n->type == JN_NAME || (n->type == JN_NSREF && with_namespace))
        return 0;
    if (n->type != JN_TUPLE)
        return jinja_fail(p, at, "this cannot be assigned to");
    for (const struct jinja_node *item = n->list; item; item = item->next)
        TRY(check_target(p, at, item, with_namespace));
    return 0;
}

int jinja_target(struct jinja_parser *p, const char *until, bool with_namespace, struct jinja_node **out)
{
    struct jinja_token at = p->token;
    TRY(tuple_of(p, target_item, 0, until, out));
    return check_target(p, &at, *out, with_namespace);
}
