/* JSON Schema to grammar. A *literal* is a schema, its negation, or a constant; a set of literals that must hold
 * together becomes one rule. Such a set unfolds into *branches*: cases, each a set of types and facts about
 * them. Every type then writes its own facts as an expression. Called by grammar_from_schema alone. */
/* SPDX-License-Identifier: MIT */
#ifndef TEXT_GRAM_SCHEMA_H
#define TEXT_GRAM_SCHEMA_H
#include "formats/json.h"
#include "text/gram_run.h"

enum { T_NULL = 1, T_TRUE = 2, T_FALSE = 4, T_NUMBER = 8, T_STRING = 16, T_ARRAY = 32, T_OBJECT = 64, T_ANY = 127 };

enum lit_kind { LIT_SCHEMA, LIT_NOT, LIT_CONST, LIT_NOT_CONST };
struct lit { const json_t *json; uint64_t kind; };
struct lit_node { struct lit lit; const struct lit_node *from; struct lit_node *next; }; /* from: who asked for it, one of `done` */

/* Facts hold for values of their type and say nothing of others. */
enum fact_kind {
    FACT_NUMBER,      /* key, json: a keyword of numbers and its value */
    FACT_STRING,      /* the same for strings */
    FACT_IS,          /* json: the value is this one */
    FACT_ONE_OF,      /* json: a list of values; those of other types do not matter */
    FACT_INTEGER,
    FACT_ITEMS,       /* json: a schema with keywords of arrays */
    FACT_ITEM,        /* lit: of item `n`, or of all with n = UINT64_MAX */
    FACT_CONTAINS,    /* lit: of one item at least */
    FACT_LENGTH,      /* n: as minItems; negative: as maxItems */
    FACT_MEMBERS,     /* json: a schema with keywords of objects */
    FACT_MEMBER,      /* key, lit: of that property */
    FACT_HAS,         /* key: that property is there */
    FACT_COUNT,       /* n: as minProperties; negative: as maxProperties */
};
struct fact {
    enum fact_kind kind;
    bool negative;
    const char *key;
    const json_t *json;
    struct lit lit;
    uint64_t n;
    const struct lit_node *by;   /* who says so */
    struct fact *next;
};
struct branch { uint32_t types; struct fact *facts; struct lit_node *todo, *done; };

struct text_list { const char **at; size_t n; };

struct schema {
    struct gram_builder b;
    struct arena *arena;             /* the grammar's */
    const json_t *root;
    const char *place;
    size_t steps;                    /* of unfolding, so far */
    bool standard;                   /* there is a $schema: to the letter */
    struct gram_vec homes;           /* schema_home */
    struct intern sets;              /* sets of literals: id i is rule `rule_of[i]` */
    struct gram_vec rule_of;
    uint32_t ws, end_ws;             /* rules of white space: anywhere, and behind the whole */
    struct dfa number, plain_number, integer, plain_integer, any_text;
};

/* NUN_EUNSUP, with the JSON path of `at` in the document and its keyword (NULL: the schema itself). */
int schema_refuse(const struct schema *s, const json_t *at, const char *key, const char *why);
/* Counts work: a limit once there is too much of it. */
int schema_steps(struct schema *s, size_t n);
/* The pending sentence with the same in front. */
int schema_at(const struct schema *s, const json_t *at, const char *key, int code);
/* A count: a whole number that is not negative. */
int schema_count(const struct schema *s, const json_t *at, const char *key, uint64_t fallback, uint64_t *out);

/* ---- places of the document (gram_refs.c) ---- */
int schema_find_homes(struct schema *s);
int schema_resolve(const struct schema *s, const json_t *at, const char *ref, const json_t **out);
int schema_resolve_dynamic(const struct schema *s, const json_t *at, const char *ref, const json_t **out);

/* ---- cases (gram_unfold.c) ---- */
struct branches { struct gram_vec list; };   /* struct branch */
/* Does what f says count as evaluated for the unevaluated... keyword that `by` has? */
bool schema_within(const struct fact *f, const struct lit_node *by);
int schema_unfold(struct schema *s, const struct lit *lits, size_t n, struct branches *out);
bool schema_disjoint(const struct schema *s, const json_t *a, const json_t *b);
uint32_t schema_type_of(const json_t *v);

/* ---- expressions (gram_schema.c and one file a type) ---- */
/* The rule of a set of literals, made when it is new. */
int schema_rule(struct schema *s, const struct lit *lits, size_t n, uint32_t *out);
struct gram_expr *schema_call(struct schema *s, const struct lit *lits, size_t n);
struct gram_expr *schema_ws(struct schema *s);
struct gram_expr *schema_noted(struct gram_expr *e);
struct gram_expr *schema_scalar(struct schema *s, const struct branch *b, uint32_t type, bool noted);
struct gram_expr *schema_array(struct schema *s, const struct branch *b);
struct gram_expr *schema_object(struct schema *s, const struct branch *b);
void *schema_fail(struct schema *s, int code);

int schema_number(struct schema *s, const struct branch *b, struct dfa *out);
int schema_string(struct schema *s, const struct branch *b, struct dfa *out, bool *any);
/* The strings that all literals allow. */
int schema_strings(struct schema *s, const struct lit *lits, size_t n, struct dfa *out);
int schema_regex(struct schema *s, struct span text, const char *place, bool search, struct dfa *out);
/* The regular expression of a format; NULL: unknown. */
const char *schema_format(const char *name);
bool json_same(const json_t *a, const json_t *b); /* as JSON Schema compares: 1 is 1.0 */

#endif
