/* Statements of templates: tags to nodes, one row a tag, and the parser's common steps. Depth is
 * bounded by the limits table, so that the smallest stack is enough. Expressions are jinja_expr.c's. */
/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>

#include "base/ck.h"
#include "base/limits.h"
#include "text/jinja_int.h"

/* ---- common steps ---------------------------------------------------------------------------------------- */

int jinja_fail(const struct jinja_parser *p, const struct jinja_token *at, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(NUN_EFORMAT, "%s:%u:%u: %s", p->t->place, at->line, at->column, what);
}

int jinja_unexpected(const struct jinja_parser *p, const char *wanted)
{
    static const char *const names[] = {
        [TOKEN_END] = "the end of the template", [TOKEN_DATA] = "text", [TOKEN_VAR_BEGIN] = "'{{'", [TOKEN_VAR_END] = "'}}'",
        [TOKEN_BLOCK_BEGIN] = "'{%'", [TOKEN_BLOCK_END] = "'%}'"};
    const struct jinja_token *t = &p->token;
    if (t->type <= TOKEN_BLOCK_END)
        return jinja_fail(p, t, "expected %s, found %s", wanted, names[t->type]);
    return jinja_fail(p, t, "expected %s, found '%.*s'", wanted, (int)(t->text.len < 80 ? t->text.len : 80), t->text.ptr);
}

int jinja_advance(struct jinja_parser *p)
{
    if (!p->has_ahead)
        return jinja_lex(&p->lexer, &p->token);
    p->token = p->ahead;
    p->has_ahead = false;
    return 0;
}

int jinja_look(struct jinja_parser *p, struct jinja_token *out)
{
    if (!p->has_ahead)
        TRY(jinja_lex(&p->lexer, &p->ahead));
    p->has_ahead = true;
    *out = p->ahead;
    return 0;
}

bool jinja_at_name(const struct jinja_parser *p, const char *name)
{
    return p->token.type == TOKEN_NAME && span_is(p->token.text, name);
}

bool jinja_at_op(const struct jinja_parser *p, enum jinja_op op)
{
    return p->token.type == TOKEN_OP && p->token.op == op;
}

int jinja_expect_op(struct jinja_parser *p, enum jinja_op op, const char *spelling)
{
    return jinja_at_op(p, op) ? jinja_advance(p) : jinja_unexpected(p, spelling);
}

int jinja_intern(struct jinja_parser *p, struct span name, const struct jinja_str **out)
{
    int64_t at;
    if (map_get(&p->names, name, &at)) {
        *out = (const struct jinja_str *)(intptr_t)at;
        return 0;
    }
    struct jinja_str *made = arena_alloc(&p->t->arena, sizeof *made);
    if (!made)
        return NUN_ENOMEM;
    *made = (struct jinja_str){.ptr = name.ptr, .len = name.len, .chars = JINJA_UNCOUNTED};
    *out = made;
    return map_put(&p->names, name, (int64_t)(intptr_t)made, NULL);
}

int jinja_take_name(struct jinja_parser *p, const struct jinja_str **out)
{
    if (p->token.type != TOKEN_NAME)
        return jinja_unexpected(p, "a name");
    TRY(jinja_intern(p, p->token.text, out));
    return jinja_advance(p);
}

int jinja_node(struct jinja_parser *p, const struct jinja_token *at, enum jinja_type type, struct jinja_node **out)
{
    if (++p->nodes > LIMIT_OF(template_nodes))
        return err_set(NUN_ELIMIT, "%s:%u:%u: more than %zu texts, tags, names and operators", p->t->place, at->line, at->column,
                       LIMIT_OF(template_nodes));
    struct jinja_node *n = arena_alloc(&p->t->arena, sizeof *n);
    if (!n)
        return NUN_ENOMEM;
    n->type = (uint8_t)type;
    n->line = at->line;
    n->column = at->column;
    *out = n;
    return 0;
}

int jinja_enter(struct jinja_parser *p)
{
    if (++p->depth <= LIMIT_OF(json_depth))
        return 0;
    return err_set(NUN_ELIMIT, "%s:%u:%u: nested more than %zu deep", p->t->place, p->token.line, p->token.column,
                   LIMIT_OF(json_depth));
}

/* ---- bodies ------------------------------------------------------------------------------------------------ */

static int statement(struct jinja_parser *p, struct jinja_list *list);

static int output(struct jinja_parser *p, struct jinja_list *list)
{
    struct jinja_node *n;
    TRY(jinja_node(p, &p->token, JN_OUTPUT, &n));
    TRY(jinja_advance(p));
    TRY(jinja_tuple(p, 0, NULL, &n->a));
    if (p->token.type != TOKEN_VAR_END)
        return jinja_unexpected(p, "'}}'");
    jinja_link(list, n);
    return jinja_advance(p);
}

static int text(struct jinja_parser *p, struct jinja_list *list)
{
    struct jinja_node *n;
    TRY(jinja_node(p, &p->token, JN_TEXT, &n));
    struct jinja_str *s = arena_alloc(&p->t->arena, sizeof *s);
    if (!s)
        return NUN_ENOMEM;
    *s = (struct jinja_str){.ptr = p->token.text.ptr, .len = p->token.text.len, .chars = JINJA_UNCOUNTED};
    n->value = jinja_string(s);
    jinja_link(list, n);
    return jinja_advance(p);
}

static bool at_any_name(const struct jinja_parser *p, const char *const *names)
{
    for (; names && *names; names++)
        if (jinja_at_name(p, *names))
            return true;
    return false;
}

static int block_end(struct jinja_parser *p)
{
    return p->token.type == TOKEN_BLOCK_END ? jinja_advance(p) : jinja_unexpected(p, "'%}'");
}

/* What stands up to a tag of `ends` (NULL: the end of the template), which stays the current token. */
static int body_until(struct jinja_parser *p, const char *const *ends, struct jinja_node **head)
{
    struct jinja_list list = jinja_list_of(head);
    TRY(jinja_enter(p));
    for (;;) {
        if (p->token.type == TOKEN_END && ends)
            return jinja_fail(p, &p->token, "expected '%s', found the end of the template", *ends);
        if (p->token.type == TOKEN_END)
            break;
        if (p->token.type == TOKEN_DATA) {
            TRY(text(p, &list));
        } else if (p->token.type == TOKEN_VAR_BEGIN) {
            TRY(output(p, &list));
        } else {
            TRY(jinja_advance(p));
            if (at_any_name(p, ends))
                break;
            TRY(statement(p, &list));
            TRY(block_end(p));
        }
    }
    p->depth--;
    return 0;
}

/* A tag's own end, its body, and its closing tag up to the '%}', which the caller of the row expects. */
static int body(struct jinja_parser *p, const char *end, struct jinja_node **head)
{
    const char *const ends[] = {end, NULL};
    if (jinja_at_op(p, OP_COLON))
        TRY(jinja_advance(p));
    TRY(block_end(p));
    TRY(body_until(p, ends, head));
    return jinja_advance(p);
}

/* A body that becomes a function of its own: loops around it are out of reach. */
static int function_body(struct jinja_parser *p, const char *end, struct jinja_node *macro)
{
    struct jinja_around around = {p->around, macro};
    unsigned loops = p->loops;
    p->loops = 0;
    p->around = &around;
    TRY(body(p, end, &macro->list));
    p->around = around.outer;
    p->loops = loops;
    return 0;
}

/* ---- one row a tag ------------------------------------------------------------------------------------------- */

static int parse_if(struct jinja_parser *p, struct jinja_node *n)
{
    static const char *const ends[] = {"endif", "elif", "else", NULL}, *const last[] = {"endif", NULL};
    struct jinja_list list = jinja_list_of(&n->list);
    bool test = true;
    n->type = JN_IF;
    for (;;) {
        struct jinja_node *branch;
        TRY(jinja_node(p, &p->token, JN_BRANCH, &branch));
        if (test)
            TRY(jinja_tuple(p, JINJA_NO_COND, NULL, &branch->a));
        jinja_link(&list, branch);
        if (jinja_at_op(p, OP_COLON))
            TRY(jinja_advance(p));
        TRY(block_end(p));
        TRY(body_until(p, test ? ends : last, &branch->list));
        bool more = !jinja_at_name(p, "endif");
        test = jinja_at_name(p, "elif");
        TRY(jinja_advance(p));
        if (!more)
            return 0;
    }
}

static int parse_for(struct jinja_parser *p, struct jinja_node *n)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    n->type = JN_FOR;
    TRY(jinja_target(p, "in", false, &n->a));
    if (!jinja_at_name(p, "in"))
        return jinja_unexpected(p, "'in'");
    TRY(jinja_advance(p));
    TRY(jinja_tuple(p, JINJA_NO_COND, "recursive", &n->b));
    if (jinja_at_name(p, "if")) {
        TRY(jinja_advance(p));
        TRY(jinja_expression(p, &n->c));
    }
    n->flag = jinja_at_name(p, "recursive");
    if (n->flag)
        TRY(jinja_advance(p));
    if (jinja_at_op(p, OP_COLON))
        TRY(jinja_advance(p));
    TRY(block_end(p));
    p->loops++;
    TRY(body_until(p, ends, &n->list));
    p->loops--;
    bool has_else = jinja_at_name(p, "else");
    TRY(jinja_advance(p));
    return has_else ? body(p, "endfor", &n->d) : 0;
}

static int parse_set(struct jinja_parser *p, struct jinja_node *n)
{
    n->type = JN_SET;
    TRY(jinja_target(p, NULL, true, &n->a));
    if (jinja_at_op(p, OP_ASSIGN)) {
        TRY(jinja_advance(p));
        return jinja_tuple(p, 0, NULL, &n->b);
    }
    n->type = JN_SETBLOCK;
    TRY(jinja_filters(p, false, NULL, &n->b));
    return body(p, "endset", &n->list);
}

/* (a, b=1) */
static int signature(struct jinja_parser *p, struct jinja_node *macro)
{
    struct jinja_list list = jinja_list_of(&macro->d);
    struct jinja_node *param;
    bool defaults = false;
    TRY(jinja_expect_op(p, OP_LPAREN, "'('"));
    while (!jinja_at_op(p, OP_RPAREN)) {
        if (macro->d)
            TRY(jinja_expect_op(p, OP_COMMA, "',' or ')'"));
        TRY(jinja_node(p, &p->token, JN_PARAM, &param));
        TRY(jinja_take_name(p, &param->name));
        if (jinja_at_op(p, OP_ASSIGN)) {
            TRY(jinja_advance(p));
            TRY(jinja_expression(p, &param->a));
            defaults = true;
        } else if (defaults) {
            return jinja_unexpected(p, "a default, as the parameter before has one");
        }
        jinja_link(&list, param);
    }
    return jinja_advance(p);
}

static int parse_macro(struct jinja_parser *p, struct jinja_node *n)
{
    n->type = JN_MACRO;
    TRY(jinja_take_name(p, &n->name));
    TRY(signature(p, n));
    return function_body(p, "endmacro", n);
}

static int parse_call(struct jinja_parser *p, struct jinja_node *n)
{
    n->type = JN_CALLBLOCK;
    TRY(jinja_node(p, &p->token, JN_MACRO, &n->b));
    n->b->name = p->t->caller;
    if (jinja_at_op(p, OP_LPAREN))
        TRY(signature(p, n->b));
    TRY(jinja_expression(p, &n->a));
    if (n->a->type != JN_CALL)
        return jinja_unexpected(p, "a call in a call block");
    return function_body(p, "endcall", n->b);
}

static int parse_filter(struct jinja_parser *p, struct jinja_node *n)
{
    n->type = JN_FILTERBLOCK;
    TRY(jinja_filters(p, true, NULL, &n->a));
    return body(p, "endfilter", &n->list);
}

static int parse_with(struct jinja_parser *p, struct jinja_node *n)
{
    struct jinja_list list = jinja_list_of(&n->d);
    struct jinja_node *set;
    n->type = JN_WITH;
    while (p->token.type != TOKEN_BLOCK_END) {
        if (n->d)
            TRY(jinja_expect_op(p, OP_COMMA, "',' or '%}'"));
        TRY(jinja_node(p, &p->token, JN_SET, &set));
        TRY(jinja_target(p, NULL, false, &set->a));
        TRY(jinja_expect_op(p, OP_ASSIGN, "'='"));
        TRY(jinja_expression(p, &set->b));
        jinja_link(&list, set);
    }
    return body(p, "endwith", &n->list);
}

static int parse_generation(struct jinja_parser *p, struct jinja_node *n)
{
    n->type = JN_GENERATION;
    return function_body(p, "endgeneration", n);
}

static int parse_print(struct jinja_parser *p, struct jinja_node *n)
{
    n->type = JN_OUTPUT;
    return jinja_expression(p, &n->a);
}

static int loop_control(struct jinja_parser *p, struct jinja_node *n, enum jinja_type type)
{
    struct jinja_token at = {.line = n->line, .column = n->column};
    n->type = (uint8_t)type;
    return p->loops ? 0 : jinja_fail(p, &at, "break and continue stand in loops only");
}

static int parse_break(struct jinja_parser *p, struct jinja_node *n)
{
    return loop_control(p, n, JN_BREAK);
}

static int parse_continue(struct jinja_parser *p, struct jinja_node *n)
{
    return loop_control(p, n, JN_CONTINUE);
}

static const struct { const char *name; int (*parse)(struct jinja_parser *, struct jinja_node *); } tags[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call},
    {"filter", parse_filter},
    {"with", parse_with},
    {"generation", parse_generation},
    {"print", parse_print},
    {"break", parse_break},
    {"continue", parse_continue},
};

static int statement(struct jinja_parser *p, struct jinja_list *list)
{
    struct jinja_token at = p->token;
    struct jinja_node *n;
    if (at.type != TOKEN_NAME)
        return jinja_unexpected(p, "the name of a tag");
    TRY(jinja_node(p, &at, JN_TEXT, &n));
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        if (span_is(at.text, tags[i].name)) {
            TRY(jinja_advance(p));
            TRY(tags[i].parse(p, n));
            jinja_link(list, n);
            return 0;
        }
    return jinja_fail(p, &at, "no tag '%.*s' is expected here", (int)at.text.len, at.text.ptr);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static int intern_own_names(struct jinja_parser *p)
{
    TRY(jinja_intern(p, SPAN("loop"), &p->t->loop));
    TRY(jinja_intern(p, SPAN("caller"), &p->t->caller));
    TRY(jinja_intern(p, SPAN("varargs"), &p->t->varargs));
    return jinja_intern(p, SPAN("kwargs"), &p->t->kwargs);
}

static int parse(struct jinja *t, struct span source, const char *place)
{
    struct jinja_parser p = {.t = t};
    TRY(limit_check(LIMIT_template_bytes, source.len, place));
    t->place = arena_strdup(&t->arena, place);
    if (!t->place)
        return NUN_ENOMEM;
    TRY(jinja_lex_open(&p.lexer, &t->arena, source, t->place));
    map_init(&p.names, MEM_TEXT);
    int rc = intern_own_names(&p);
    if (rc >= 0)
        rc = jinja_advance(&p);
    if (rc >= 0)
        rc = body_until(&p, NULL, &t->body);
    map_free(&p.names);
    return rc;
}

int jinja_parse(struct span source, const char *place, struct jinja **out)
{
    struct jinja *t = mem_calloc(MEM_TEXT, 1, sizeof *t);
    if (!t)
        return NUN_ENOMEM;
    arena_init(&t->arena, MEM_TEXT, LIMIT_OF(template_memory));
    int rc = parse(t, source, place);
    if (rc < 0) {
        jinja_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void jinja_free(struct jinja *t)
{
    if (!t)
        return;
    arena_free(&t->arena);
    mem_free(t);
}
