/* The inside of the template engine: values, nodes, and what its files offer each other. A template is
 * lexed and parsed once to nodes in an arena (jinja_lex, jinja_parse, jinja_expr) and walked for each
 * rendering (jinja_exec, jinja_eval), whose values live in an arena of their own. Filters, tests, methods
 * and globals are rows. Values and their printing follow Python. Only jinja_*.c includes this. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_JINJA_INT_H
#define TEXT_JINJA_INT_H
#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "text/jinja.h"

/* ---- values -------------------------------------------------------------------------------------- */

enum jinja_kind {
    JV_ABSENT, /* an argument that was not given; never seen by templates */
    JV_UNDEFINED, JV_NONE, JV_BOOL, JV_INT, JV_FLOAT, JV_STRING,
    JV_LIST, JV_TUPLE, JV_RANGE, JV_VIEW, JV_GENERATOR, /* all have a seq */
    JV_DICT, JV_NAMESPACE,                              /* both have a dict */
    JV_MACRO, JV_NATIVE, JV_LOOP, JV_SLICE,
    JV_KIND_COUNT
};

/* Bytes that never change. `tail` lets text that grows at its end share one buffer. */
struct jinja_tail;
struct jinja_str {
    const char *ptr;
    size_t len;
    size_t chars; /* code points; JINJA_UNCOUNTED until asked for */
    struct jinja_tail *tail;
};
#define JINJA_UNCOUNTED SIZE_MAX

struct jinja_value {
    uint8_t kind;
    uint8_t flag; /* string: markup; undefined: kind of the object that lacks it; view: enum jinja_view */
    union {
        bool b;
        int64_t i;
        double f;
        const struct jinja_str *s; /* undefined: the name, or NULL */
        struct jinja_seq *seq;
        struct jinja_dict *dict;
        struct jinja_macro *macro;
        struct jinja_native *native;
        struct jinja_loop *loop;
        struct jinja_value *slice; /* [3]: start, stop, step */
    };
};
enum jinja_view { JINJA_KEYS, JINJA_VALUES, JINJA_ITEMS };

struct jinja_seq {
    struct jinja_value *at; /* [n] */
    size_t n, cap;
    size_t next;            /* of a generator: how many are consumed */
    int64_t start, stop, step; /* of a range: as it prints */
};
struct jinja_pair { struct jinja_value key, value; };
struct jinja_dict {
    struct jinja_pair *at; /* [n], in order of insertion */
    size_t n, cap;
    uint32_t *index;       /* [index_cap] of place + 1, by hash; NULL while small */
    size_t index_cap;
};
struct jinja_slot { const struct jinja_str *name; struct jinja_value value; };
struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_slot *at; /* [n]; names are interned */
    size_t n, cap;
};
struct jinja_macro {
    const struct jinja_node *node;
    struct jinja_scope *scope; /* where it was defined */
};
struct jinja_native {
    const struct jinja_row *row;
    struct jinja_value self;
};
struct jinja_loop {
    const struct jinja_node *node;
    struct jinja_scope *scope; /* around the loop */
    struct jinja_seq *items;
    size_t index0;
    int64_t depth0;
    struct jinja_value changed; /* the arguments of the last changed() */
};

static inline struct jinja_value jinja_none(void) { return (struct jinja_value){.kind = JV_NONE}; }
static inline struct jinja_value jinja_bool(bool b) { return (struct jinja_value){.kind = JV_BOOL, .b = b}; }
static inline struct jinja_value jinja_int(int64_t i) { return (struct jinja_value){.kind = JV_INT, .i = i}; }
static inline struct jinja_value jinja_float(double f) { return (struct jinja_value){.kind = JV_FLOAT, .f = f}; }
static inline struct jinja_value jinja_string(const struct jinja_str *s)
{
    return (struct jinja_value){.kind = JV_STRING, .s = s};
}
/* `from`: kind of the object that has no such attribute; JV_ABSENT: a variable. */
static inline struct jinja_value jinja_undefined(const struct jinja_str *name, enum jinja_kind from)
{
    return (struct jinja_value){.kind = JV_UNDEFINED, .flag = (uint8_t)from, .s = name};
}
static inline struct jinja_value jinja_of_seq(enum jinja_kind kind, struct jinja_seq *seq)
{
    return (struct jinja_value){.kind = (uint8_t)kind, .seq = seq};
}
static inline struct jinja_value jinja_of_dict(enum jinja_kind kind, struct jinja_dict *dict)
{
    return (struct jinja_value){.kind = (uint8_t)kind, .dict = dict};
}
static inline struct span jinja_span(const struct jinja_str *s) { return (struct span){s->ptr, s->len}; }
static inline bool jinja_given(const struct jinja_value *v) { return v->kind != JV_ABSENT; }
static inline bool jinja_is_seq(const struct jinja_value *v) { return v->kind >= JV_LIST && v->kind <= JV_GENERATOR; }
static inline bool jinja_is_int(const struct jinja_value *v) { return v->kind == JV_INT || v->kind == JV_BOOL; }
static inline bool jinja_is_number(const struct jinja_value *v) { return jinja_is_int(v) || v->kind == JV_FLOAT; }
static inline int64_t jinja_as_int(const struct jinja_value *v) { return v->kind == JV_BOOL ? v->b : v->i; }
static inline double jinja_as_double(const struct jinja_value *v)
{
    return v->kind == JV_FLOAT ? v->f : (double)jinja_as_int(v);
}

/* ---- nodes --------------------------------------------------------------------------------------- */

/* NODE(name, what a, b, c and list are) */
#define JINJA_NODES(X)                                                                      \
    X(CONST) X(NAME) X(LIST) X(TUPLE)                                                       \
    X(DICT)      /* list of PAIR */                                                         \
    X(PAIR)      /* a: key, b: value */                                                     \
    X(GETATTR)   /* a.name */                                                               \
    X(GETITEM)   /* a[b] */                                                                 \
    X(SLICE)     /* a:b:c, each may be NULL */                                              \
    X(CALL)      /* a(list of ARG) */                                                       \
    X(ARG)       /* a; name of a keyword; op '*' or '2' for a splat */                      \
    X(FILTER)    /* a|row(list); a is NULL at the head of a filter block */                 \
    X(TEST)      /* a is row(list) */                                                       \
    X(NOT) X(NEG) X(POS) X(AND) X(OR)                                                       \
    X(COND)      /* a if b else c */                                                        \
    X(BINARY)    /* a op b */                                                               \
    X(CONCAT)    /* list */                                                                 \
    X(COMPARE)   /* a, then list of OPERAND */                                              \
    X(OPERAND)   /* op a */                                                                 \
    X(NSREF)     /* name.value: an assignment's target */                                   \
    X(TEXT)      /* value */                                                                \
    X(OUTPUT)    /* a */                                                                    \
    X(IF)        /* list of BRANCH */                                                       \
    X(BRANCH)    /* a: test or NULL, list: body */                                          \
    X(FOR)       /* target a in b if c: list, else d */                                     \
    X(SET)       /* a = b */                                                                \
    X(SETBLOCK)  /* a = list, through the filters b */                                      \
    X(MACRO)     /* name, params in d, body in list */                                      \
    X(PARAM)     /* name, default a */                                                      \
    X(CALLBLOCK) /* a: CALL, b: a MACRO that becomes its caller */                          \
    X(FILTERBLOCK) /* a: FILTER, list */                                                    \
    X(WITH)      /* d: list of SET, then list */                                            \
    X(GENERATION) X(BREAK) X(CONTINUE)

enum jinja_type {
#define X(name) JN_##name,
    JINJA_NODES(X)
#undef X
    JN_COUNT
};

enum jinja_op {
    OP_NOTHING, OP_ADD, OP_SUB, OP_DIV, OP_FLOORDIV, OP_MUL, OP_MOD, OP_POW, OP_TILDE, OP_LBRACKET, OP_RBRACKET,
    OP_LPAREN, OP_RPAREN, OP_LBRACE, OP_RBRACE, OP_EQ, OP_NE, OP_GT, OP_GE, OP_LT, OP_LE, OP_ASSIGN, OP_DOT, OP_COLON,
    OP_PIPE, OP_COMMA, OP_SEMICOLON, OP_IN, OP_NOTIN
};

/* What a macro's body mentions. */
enum { JINJA_USES_CALLER = 1, JINJA_USES_VARARGS = 2, JINJA_USES_KWARGS = 4 };

struct jinja_node {
    uint8_t type, op;
    uint8_t flag;  /* MACRO: JINJA_USES_*; FOR: recursive; GETATTR: some kind has a method of that name */
    uint32_t line, column;
    struct jinja_node *a, *b, *c, *d;
    struct jinja_node *list; /* children, linked by next */
    struct jinja_node *next;
    const struct jinja_str *name; /* interned */
    const struct jinja_row *row;
    struct jinja_value value;
};

struct jinja {
    struct arena arena;
    const char *place;
    struct jinja_node *body;
    const struct jinja_str *loop, *caller, *varargs, *kwargs; /* interned */
};

/* ---- lexing and parsing -------------------------------------------------------------------------- */

enum jinja_token_type {
    TOKEN_END, TOKEN_DATA, TOKEN_VAR_BEGIN, TOKEN_VAR_END, TOKEN_BLOCK_BEGIN, TOKEN_BLOCK_END, TOKEN_NAME, TOKEN_STRING,
    TOKEN_NUMBER, TOKEN_OP
};
struct jinja_token {
    enum jinja_token_type type;
    enum jinja_op op;
    struct span text;
    uint32_t line, column;
    struct jinja_value value; /* strings and numbers */
};

enum { JINJA_BRACKETS = 128 };
struct jinja_lexer {
    struct arena *arena;
    const char *place;
    const char *p, *end, *line_start;
    uint32_t line;
    int state;                   /* enum in jinja_lex.c */
    enum jinja_token_type begin; /* a tag's begin that follows the text just given; TOKEN_END: none */
    bool line_starting;
    char closers[JINJA_BRACKETS];
    unsigned n_closers;
};
int jinja_lex_open(struct jinja_lexer *x, struct arena *arena, struct span source, const char *place);
int jinja_lex(struct jinja_lexer *x, struct jinja_token *out);

/* One macro around the place that is being parsed. */
struct jinja_around { struct jinja_around *outer; struct jinja_node *macro; };
struct jinja_parser {
    struct jinja *t;
    struct jinja_lexer lexer;
    struct jinja_token token, ahead;
    bool has_ahead;
    struct map names;
    struct jinja_around *around;
    unsigned depth, loops;
    size_t nodes;
};
/* Nodes linked in order. */
struct jinja_list { struct jinja_node *first, **last; };
static inline struct jinja_list jinja_list_of(struct jinja_node **head) { return (struct jinja_list){NULL, head}; }
static inline void jinja_link(struct jinja_list *l, struct jinja_node *n)
{
    *l->last = n;
    l->last = &n->next;
}

int jinja_fail(const struct jinja_parser *p, const struct jinja_token *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int jinja_unexpected(const struct jinja_parser *p, const char *wanted);
int jinja_advance(struct jinja_parser *p);
int jinja_look(struct jinja_parser *p, struct jinja_token *out);
bool jinja_at_name(const struct jinja_parser *p, const char *name);
bool jinja_at_op(const struct jinja_parser *p, enum jinja_op op);
int jinja_expect_op(struct jinja_parser *p, enum jinja_op op, const char *spelling);
int jinja_intern(struct jinja_parser *p, struct span name, const struct jinja_str **out);
int jinja_take_name(struct jinja_parser *p, const struct jinja_str **out);
int jinja_node(struct jinja_parser *p, const struct jinja_token *at, enum jinja_type type, struct jinja_node **out);
int jinja_enter(struct jinja_parser *p); /* one level deeper; NUN_ELIMIT */

/* Expressions. `until`: a name that may end a tuple ("in", "recursive"); NULL: none. */
enum { JINJA_NO_COND = 1, JINJA_EMPTY_OK = 2 };
int jinja_expression(struct jinja_parser *p, struct jinja_node **out);
int jinja_tuple(struct jinja_parser *p, int flags, const char *until, struct jinja_node **out);
int jinja_target(struct jinja_parser *p, const char *until, bool with_namespace, struct jinja_node **out);
int jinja_filters(struct jinja_parser *p, bool inline_first, struct jinja_node *value, struct jinja_node **out);

/* ---- rendering ----------------------------------------------------------------------------------- */

struct jinja_run {
    const struct jinja *t;
    struct arena arena;
    struct buf *out;
    struct jinja_dict *context;
    struct jinja_scope *scope;
    struct jinja_value *stack; /* [stack_cap]: arguments of the calls in progress */
    size_t stack_n, stack_cap;
    size_t steps, depth, max_steps, max_depth;
    bool placed;               /* the pending error names its place */
};
/* Statements tell these to the loop around them. */
enum { JINJA_BREAK = 1, JINJA_CONTINUE = 2 };

int jinja_eval(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out);
int jinja_exec(struct jinja_run *r, const struct jinja_node *list);
/* A CALL with one keyword more, or NULL; a FILTER or TEST on a value at hand. */
int jinja_eval_call(struct jinja_run *r, const struct jinja_node *n, const struct jinja_pair *extra,
                    struct jinja_value *out);
int jinja_apply(struct jinja_run *r, const struct jinja_node *n, const struct jinja_value *self, struct jinja_value *out);
/* Work that one step stands for too little of: a unit is a few dozen bytes or one item. */
int jinja_charge(struct jinja_run *r, size_t units);
int jinja_deeper(struct jinja_run *r); /* the caller lowers r->depth again on success */
/* "TypeError"-like failures; the place is put in front on the way up. */
int jinja_error(struct jinja_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int jinja_error_undefined(struct jinja_run *r, const struct jinja_value *v);
/* Both return a negative code always; said for the compiler's flow analysis, as base/err.h does. */
#define jinja_error(...) err_negative(jinja_error(__VA_ARGS__))
#define jinja_error_undefined(r, v) err_negative(jinja_error_undefined(r, v))
/* What is rendered after `mark` becomes a string, and is taken from the output. */
static inline size_t jinja_mark(const struct jinja_run *r) { return r->out->len; }
int jinja_cut(struct jinja_run *r, size_t mark, struct jinja_value *out);
void jinja_rewind(struct jinja_run *r, size_t mark);

/* Calls. Positional arguments and keywords lie on the run's stack. */
struct jinja_args {
    const struct jinja_value *at;              /* [n] */
    size_t n;
    const struct jinja_pair *kw;               /* [n_kw], keys are strings */
    size_t n_kw;
};
enum { JINJA_PARAMS = 5 };
struct jinja_call {
    const struct jinja_row *row;
    struct jinja_value self;
    struct jinja_value arg[JINJA_PARAMS]; /* bound by the row's params; JV_ABSENT when not given */
    struct jinja_args all;
};
typedef int jinja_fn(struct jinja_run *r, const struct jinja_call *c, struct jinja_value *out);
/* params: names in order, blanks between, '?' before those that may be left out; "*" alone: the function
 * looks at c->all itself. Filters and tests get what stands before them as c->self. */
struct jinja_row { const char *name; jinja_fn *fn; const char *params; };
struct jinja_table { const struct jinja_row *rows; size_t n; };
#define JINJA_TABLE(array) {(array), sizeof(array) / sizeof *(array)}

int jinja_call_row(struct jinja_run *r, const struct jinja_row *row, const struct jinja_value *self,
                   const struct jinja_args *args, struct jinja_value *out);
int jinja_call_value(struct jinja_run *r, const struct jinja_value *f, const struct jinja_args *args,
                     struct jinja_value *out);
int jinja_call_macro(struct jinja_run *r, const struct jinja_macro *m, const struct jinja_args *args,
                     struct jinja_value *out);
int jinja_call_loop(struct jinja_run *r, const struct jinja_loop *l, const struct jinja_args *args,
                    struct jinja_value *out);

const struct jinja_row *jinja_find(const struct jinja_table *t, struct span name);
const struct jinja_row *jinja_find_filter(struct span name);
const struct jinja_row *jinja_find_test(struct span name);
const struct jinja_row *jinja_find_global(struct span name);
const struct jinja_row *jinja_find_method(enum jinja_kind kind, struct span name);
bool jinja_any_method(struct span name);
extern const struct jinja_table jinja_filters_text, jinja_filters_seq, jinja_filters_pick, jinja_tests, jinja_globals;
extern const struct jinja_table jinja_methods_str, jinja_methods_str_is, jinja_methods_list, jinja_methods_tuple,
    jinja_methods_dict, jinja_methods_loop;

/* ---- values: jinja_value.c, jinja_seq.c, jinja_str.c, jinja_print.c ------------------------------------ */

const char *jinja_kind_name(const struct jinja_value *v);
bool jinja_truth(const struct jinja_value *v);
int jinja_equal(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b, bool *out);
/* < 0, 0, > 0 in *out; for values that Python orders. `op` is for the sentence ("<"). */
int jinja_order(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b, const char *op, int *out);
int jinja_contains(struct jinja_run *r, const struct jinja_value *in, const struct jinja_value *v, bool *out);
/* 1 when the value has no length. */
int jinja_length(struct jinja_run *r, const struct jinja_value *v, size_t *out);
int jinja_from_json(struct jinja_run *r, const json_t *v, struct jinja_value *out);
int jinja_compare(struct jinja_run *r, enum jinja_op op, const struct jinja_value *a, const struct jinja_value *b,
                  bool *out);
int jinja_binary(struct jinja_run *r, enum jinja_op op, const struct jinja_value *a, const struct jinja_value *b,
                 struct jinja_value *out);
int jinja_getattr(struct jinja_run *r, const struct jinja_value *v, const struct jinja_str *name, bool maybe_method,
                  struct jinja_value *out);
int jinja_getitem(struct jinja_run *r, const struct jinja_value *v, const struct jinja_value *key,
                  struct jinja_value *out);

struct jinja_seq *jinja_seq_new(struct jinja_run *r, size_t cap);
int jinja_push(struct jinja_run *r, struct jinja_seq *s, struct jinja_value v);
struct jinja_dict *jinja_dict_new(struct jinja_run *r, size_t cap);
int jinja_dict_put(struct jinja_run *r, struct jinja_dict *d, const struct jinja_value *key, struct jinja_value v);
/* 1 when it is not there; *out may be NULL. Negative for a key that cannot be one. */
int jinja_dict_get(struct jinja_run *r, const struct jinja_dict *d, const struct jinja_value *key,
                   struct jinja_value *out);
int jinja_dict_pop(struct jinja_run *r, struct jinja_dict *d, const struct jinja_value *key, struct jinja_value *out);
/* The items of anything iterable: a list or tuple itself, else a new seq; consumes a generator. */
int jinja_items_of(struct jinja_run *r, const struct jinja_value *v, struct jinja_seq **out);
int jinja_copy_seq(struct jinja_run *r, const struct jinja_seq *s, struct jinja_seq **out);
int jinja_slice(struct jinja_run *r, const struct jinja_value *v, const struct jinja_value *slice, struct jinja_value *out);
int jinja_dict_view(struct jinja_run *r, const struct jinja_dict *d, enum jinja_view view, struct jinja_value *out);
/* Stable. Sorts `s` by `keys`, both [n]. */
int jinja_sort(struct jinja_run *r, struct jinja_seq *s, struct jinja_seq *keys, bool reverse);

int jinja_new_str(struct jinja_run *r, struct span s, struct jinja_value *out); /* copies */
int jinja_borrow_str(struct jinja_run *r, struct span s, struct jinja_value *out);
int jinja_join2(struct jinja_run *r, const struct jinja_str *a, const struct jinja_str *b, struct jinja_value *out);
size_t jinja_chars(const struct jinja_str *s);
/* Byte offset of code point `index` (or the end). */
size_t jinja_char_offset(const struct jinja_str *s, size_t index);
size_t jinja_next_char(struct span s, size_t at, uint32_t *cp); /* its bytes */
bool jinja_is_space(uint32_t cp);
struct span jinja_strip(struct span s, const struct span *chars, bool left, bool right);
bool jinja_chars_have(struct span set, uint32_t cp);
enum jinja_case { JINJA_UPPER, JINJA_LOWER, JINJA_TITLE, JINJA_FOLD };
void jinja_put_case(struct span s, enum jinja_case how, struct buf *out);
void jinja_put_utf8(uint32_t cp, struct buf *out);
void jinja_put_escaped(struct span s, struct buf *out); /* & < > ' " */
void jinja_put_padding(struct jinja_run *r, struct span fill, size_t times);
int jinja_lower_key(struct jinja_run *r, struct jinja_value *v); /* strings to lower case, others as they are */
int jinja_part(struct jinja_run *r, const struct jinja_value *whole, struct span part, struct jinja_value *out);
/* Pieces of s, at most max_split + 1; sep NULL: runs of white space. */
int jinja_split(struct jinja_run *r, const struct jinja_value *s, const struct span *sep, int64_t max_split, bool from_right,
                struct jinja_value *out);
int jinja_split_lines(struct jinja_run *r, const struct jinja_value *s, bool keep_ends, struct jinja_value *out);
int jinja_replace(struct jinja_run *r, struct span s, struct span from, struct span to, int64_t count,
                  struct jinja_value *out);

int jinja_put(struct jinja_run *r, const struct jinja_value *v);      /* as str() */
int jinja_put_repr(struct jinja_run *r, const struct jinja_value *v);
int jinja_to_str(struct jinja_run *r, const struct jinja_value *v, struct jinja_value *out); /* a string stays itself */
void jinja_put_float(double f, struct buf *out);
struct jinja_json { bool ascii, sort, indented; struct span indent, item, key; };
int jinja_put_json(struct jinja_run *r, const struct jinja_value *v, const struct jinja_json *how);
/* "%" and .format(), to the output. */
int jinja_percent(struct jinja_run *r, struct span fmt, const struct jinja_value *args);
int jinja_format(struct jinja_run *r, struct span fmt, const struct jinja_args *args);

/* Numbers from text, as Python's int(text, base) and float(text) read them; false: they would not. */
bool jinja_read_int(struct span s, int64_t base, int64_t *out);
bool jinja_read_float(struct span s, double *out);
/* item.attribute, where attribute is a path ("a.0.b") or an index; `fallback` (may be NULL) for undefined. */
int jinja_path(struct jinja_run *r, const struct jinja_value *item, const struct jinja_value *attribute,
               const struct jinja_value *fallback, struct jinja_value *out);

/* Arguments with their Python meaning; NUN_EFORMAT with the row's name. */
int jinja_arg_int(struct jinja_run *r, const struct jinja_call *c, int i, int64_t fallback, int64_t *out);
int jinja_arg_str(struct jinja_run *r, const struct jinja_call *c, int i, struct span *out); /* 1: not given or None */
bool jinja_arg_true(const struct jinja_call *c, int i);

#endif
