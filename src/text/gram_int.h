/* The inside of grammars. A front end builds expressions; gram_build.c turns them into nodes of a recursive
 * transition network; gram_run.c walks it as an Earley machine over bytes, whose sets of items are interned,
 * so that they become the states of an automaton built on demand. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_GRAM_INT_H
#define TEXT_GRAM_INT_H
#include "base/arena.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "text/grammar.h"

/* ---- sets of code points ------------------------------------------------------------------- */

enum { CP_MAX = 0x10ffff, CP_SURROGATE = 0xd800, CP_AFTER_SURROGATES = 0xe000 };
struct cp_range { uint32_t lo, hi; };                       /* both inside */
struct cp_set { struct cp_range *at; uint32_t n; };         /* ascending, never touching, without surrogates */

/* Sorts, merges and leaves surrogates out; the array is the arena's and is changed. */
int cp_set_make(struct arena *a, struct cp_range *ranges, size_t n, struct cp_set *out);
int cp_set_invert(struct arena *a, const struct cp_set *s, struct cp_set *out);
int cp_set_one(struct arena *a, uint32_t lo, uint32_t hi, struct cp_set *out);
bool cp_set_has(const struct cp_set *s, uint32_t cp);
/* How much of lo..hi is in the set. */
enum cp_cover { CP_NONE, CP_SOME, CP_ALL };
enum cp_cover cp_set_cover(const struct cp_set *s, uint32_t lo, uint32_t hi);

/* ---- growing arrays ------------------------------------------------------------------------ */

struct gram_vec { void *at; uint32_t n, cap; };
/* Room for `more` further elements of `size` bytes each: NUN_ELIMIT above the table's grammar_nodes. */
int gram_vec_room(struct gram_vec *v, uint32_t more, size_t size);
#define GRAM_AT(vec, type) ((type *)(vec).at)

/* ---- classes: one character of a set, in one coding ---------------------------------------- */

enum gram_coding { GRAM_RAW, GRAM_JSON };                   /* UTF-8; as inside a JSON string, escapes too */
struct byte_edge { uint8_t lo, hi; uint32_t to; };          /* `to`: a byte state, or BYTE_DONE */
struct byte_state { uint32_t first, n; };                   /* edges, ascending */
enum { BYTE_DONE = UINT32_MAX, BYTE_DEAD = UINT32_MAX - 1 };
/* narrow: where an answer in the making begins, which has no escapes but those that JSON needs */
struct gram_class { struct cp_set set; enum gram_coding coding; uint32_t start, narrow, hash; };

/* ---- nodes --------------------------------------------------------------------------------- */

enum gram_op {
    OP_CHAR,    /* a: class */
    OP_NOTED,   /* the same, and its bytes are written down in the item's data */
    OP_CALL,    /* a: rule */
    OP_SPLIT,   /* a: first edge, next: how many */
    OP_EFFECT,  /* a: effect */
    OP_END,     /* of a rule */
};
struct gram_node { uint32_t op, a, next; };
enum { NODE_END = 0, NODE_FAIL = 1 };

/* What happens to the data of an item; a condition that does not hold ends the item. */
enum gram_effect_kind {
    FX_TICK,     /* counter `slot` grows by one, at most to n */
    FX_BELOW,    /* counter `slot` must be below n */
    FX_LEAST,    /* counter `slot` must be n at least */
    FX_SEE,      /* name n of `object` comes; it must not have come, nor anything that stands behind it */
    FX_CLOSE,    /* all that `object` needs must have come */
    FX_NOTE,     /* write down from here */
    FX_WIDE,     /* the run reads what others wrote; an answer in the making is held to less */
    FX_UNIQUE,   /* what was written down must be new among all that was */
};
struct gram_effect { enum gram_effect_kind kind; uint32_t slot, n, object; };

/* Names of a JSON object as far as memory is needed. Sets of names are bits, `words` words each. */
enum { GRAM_NAME_WORDS = 16 };
struct gram_object {
    uint32_t names, words, max;
    uint64_t *required;      /* [words] */
    uint64_t *before;        /* [names][words]: must not come after name i */
    uint64_t *needs;         /* [names][words]: name i needs these; NULL: none does */
};

struct gram_rule {
    const char *name;        /* NULL: made by the front end */
    struct gram_expr *body;
    struct gram_expr *uses;  /* expressions that call it */
    uint32_t entry, rank;    /* rank: callers that may call it first thing have a smaller one */
    bool nullable, productive;
};

struct grammar {
    struct arena arena;
    struct gram_vec nodes, edges, rules, classes, byte_states, byte_edges, effects, objects, slots;
    uint32_t root;
    struct cp_set category[40]; /* general categories that were asked for, in the order of their names */
    uint32_t full[8];        /* byte states that take anything, shared */
};

static inline struct gram_node *gram_node_at(const struct grammar *g, uint32_t i) { return GRAM_AT(g->nodes, struct gram_node) + i; }
static inline struct gram_rule *gram_rule_at(const struct grammar *g, uint32_t i) { return GRAM_AT(g->rules, struct gram_rule) + i; }
static inline struct gram_class *gram_class_at(const struct grammar *g, uint32_t i) { return GRAM_AT(g->classes, struct gram_class) + i; }

int gram_class_of(struct grammar *g, const struct cp_set *set, enum gram_coding coding, uint32_t *out);
/* The byte state after `byte`; BYTE_DONE, BYTE_DEAD. */
uint32_t gram_byte_step(const struct grammar *g, uint32_t state, uint8_t byte);

/* ---- automata over code points ------------------------------------------------------------- */

struct dfa_edge { uint32_t lo, hi, to; };
struct dfa_state { uint32_t first, n; bool accepts; };
struct dfa { struct dfa_state *states; struct dfa_edge *edges; uint32_t n, n_edges; }; /* state 0 begins; n 0: nothing */

/* ---- expressions --------------------------------------------------------------------------- */

enum gram_kind { EX_EMPTY, EX_CLASS, EX_SEQ, EX_ALT, EX_REPEAT, EX_RULE, EX_EFFECT, EX_DFA, EX_NEED, EX_EDGE };
enum { REPEAT_FOREVER = UINT32_MAX };
struct gram_expr {
    enum gram_kind kind;
    bool nullable, productive, noted;
    uint32_t a;                  /* class, rule or effect; EX_EDGE: 0 the beginning of the text, 1 its end */
    uint32_t min, max;           /* EX_REPEAT */
    uint32_t waits_null, waits_productive;
    struct gram_expr *parent, *last, *prev, *same_rule, *older;
    const struct dfa *dfa;       /* EX_DFA */
    enum gram_coding coding;
    bool is_body;                /* the whole of rule a */
};

/* Building is sticky: NULL and a first error that gram_builder_error tells. */
struct gram_builder { struct grammar *g; struct gram_expr *newest; uint32_t exprs; int error; };
struct gram_expr *ex_new(struct gram_builder *b, enum gram_kind kind);
/* Appends a child; NULL is an error that happened before. */
struct gram_expr *ex_add(struct gram_builder *b, struct gram_expr *parent, struct gram_expr *child);
struct gram_expr *ex_class(struct gram_builder *b, const struct cp_set *set, enum gram_coding coding);
struct gram_expr *ex_char(struct gram_builder *b, uint32_t cp, enum gram_coding coding);
struct gram_expr *ex_text(struct gram_builder *b, const char *ascii);
struct gram_expr *ex_rule(struct gram_builder *b, uint32_t rule);
struct gram_expr *ex_repeat(struct gram_builder *b, struct gram_expr *child, uint32_t min, uint32_t max);
struct gram_expr *ex_effect(struct gram_builder *b, struct gram_effect fx);
struct gram_expr *ex_dfa(struct gram_builder *b, const struct dfa *d, enum gram_coding coding);
/* A sequence of up to n parts (NULL ends it early only by error). */
struct gram_expr *ex_seq(struct gram_builder *b, struct gram_expr *const *parts, size_t n);
#define EX_SEQ_OF(b, ...) ex_seq(b, (struct gram_expr *[]){__VA_ARGS__}, sizeof((struct gram_expr *[]){__VA_ARGS__}) / sizeof(void *))
uint32_t gram_new_rule(struct gram_builder *b, const char *name);

int gram_builder_start(struct gram_builder *b);
/* Analyse, emit, check. Takes the grammar over; `place` begins sentences. */
int gram_builder_finish(struct gram_builder *b, uint32_t root, const char *place, struct grammar **out);
void gram_builder_drop(struct gram_builder *b);

/* ---- DFAs ---------------------------------------------------------------------------------- */

/* All in the arena; NUN_ELIMIT above the table's grammar_dfa states. */
enum dfa_mode { DFA_AND, DFA_MINUS, DFA_OR };
int dfa_product(struct arena *a, const struct dfa *x, const struct dfa *y, enum dfa_mode mode, struct dfa *out);
int dfa_any(struct arena *a, struct dfa *out);                         /* every text */
int dfa_words(struct arena *a, const struct span *words, size_t n, struct dfa *out); /* these texts */
int dfa_length(struct arena *a, uint64_t min, uint64_t max, struct dfa *out); /* max UINT64_MAX: any */
/* Of an expression without rules and effects; `search`: anywhere in the text, edges as they say. */
int dfa_of_expr(struct arena *a, const struct grammar *g, const struct gram_expr *e, bool search, struct dfa *out);
bool dfa_match(const struct dfa *d, struct span utf8);
int dfa_trim(struct arena *a, const struct dfa *d, struct dfa *out);   /* without states that lead nowhere */
bool dfa_empty(const struct dfa *d);

/* An automaton over ASCII as a function: states are four numbers. */
struct dfa_place { int32_t at[4]; };
struct dfa_table {
    bool (*step)(const void *arg, struct dfa_place *s, char c); /* false: no way on */
    bool (*accepts)(const void *arg, const struct dfa_place *s);
    const void *arg;
    const char *letters;     /* ascending */
};
int dfa_tabulate(struct arena *a, const struct dfa_table *t, struct dfa_place start, struct dfa *out);

/* ---- regular expressions ------------------------------------------------------------------- */

/* The expression as it is written, anchors as EX_EDGE. */
int regex_parse(struct gram_builder *b, struct span text, const char *place, struct gram_expr **out);

#endif
