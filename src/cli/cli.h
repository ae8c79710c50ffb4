/* The command line's own house: rows of commands and options, the values that were given, and manners
 * towards terminals. Knows only the public doors and base. */
/* SPDX-License-Identifier: MIT */
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "nunchi/tools.h"

/* ---- rows ------------------------------------------------------------------------------------ */

struct cli;
typedef int cli_command_fn(struct cli *c); /* an exit status: 0, 1, 2; or a negative code, which becomes 2 */

enum cli_command_id {
#define COMMAND(name, arguments, doc, example) COMMAND_##name,
#include "cli/commands.def"
#undef COMMAND
    COMMAND_COUNT
};
struct cli_command { const char *name, *arguments, *doc, *example; cli_command_fn *fn; };
extern const struct cli_command cli_commands[COMMAND_COUNT];

#define COMMAND(name, arguments, doc, example) cli_command_fn cmd_##name;
#include "cli/commands.def"
#undef COMMAND

enum cli_option_id {
#define OPTION(name, letter, also, kind, value, fallback, lo, hi, commands, doc) OPT_##name,
#include "cli/options.def"
#undef OPTION
    OPT_COUNT
};
enum cli_kind { KIND_FLAG, KIND_INT, KIND_SEED, KIND_NUMBER, KIND_TEXT, KIND_CHOICE, KIND_LIST };
struct cli_option {
    const char *name;      /* as typed, without dashes in front */
    char letter;           /* 0: none */
    const char *also;      /* further spellings, blanks between; NULL */
    enum cli_kind kind;
    const char *value;     /* what it takes; NULL for a flag */
    const char *fallback;  /* NULL: unset */
    double lo, hi;
    uint64_t commands;     /* bits of cli_command_id */
    const char *doc;
};
extern const struct cli_option *const cli_options; /* [OPT_COUNT] */

/* ---- what was given -------------------------------------------------------------------------- */

enum { CLI_LIST_MAX = 256 };
struct cli_value {
    bool set;              /* typed or in the environment, not the fallback */
    const char *text;
    int64_t number;
    double real;
    const char **list;     /* [count] */
    int count;
};

struct cli {
    enum cli_command_id command;
    bool has_command;
    struct cli_value value[OPT_COUNT];
    char *words[CLI_LIST_MAX]; /* what is not an option, without the command */
    int n_words;
    const char *(*env)(const char *name);
    const char *const *environ;
    struct nun_grammar *grammar; /* of ask_constraint; closed with the command */
    struct arena *arena;   /* lives as long as the command */
    bool short_help, json;
};

/* argv to values: the line first, then the environment, then fallbacks. */
int cli_parse(struct cli *c, int argc, char **argv);
/* NUNCHI_ variables that no option has, told to stderr: nothing is ignored in silence. */
void cli_warn_environment(const struct cli *c);
void cli_env_name(const struct cli_option *o, char out[64]);
/* The nearest of `names` (NULL at the end) to what was typed; NULL when none is near. */
const char *cli_suggest(const char *typed, const char *const *names);

static inline bool cli_flag(const struct cli *c, enum cli_option_id id) { return c->value[id].number != 0; }
static inline int cli_int(const struct cli *c, enum cli_option_id id) { return (int)c->value[id].number; }
static inline double cli_real(const struct cli *c, enum cli_option_id id) { return c->value[id].real; }
static inline const char *cli_text(const struct cli *c, enum cli_option_id id) { return c->value[id].text; }
static inline bool cli_given(const struct cli *c, enum cli_option_id id) { return c->value[id].set; }

/* The cache of huggingface_hub, NULL when the environment names no place; a variable that it shares with us. */
const char *hub_cache(struct cli *c);
const char *hub_variable(const struct cli *c, const char *name);
/* "org/name" becomes its folder in the cache, where it is neither a file nor absent there. */
int hub_resolve(struct cli *c, const char **model);

/* The next word, or NULL; and the model: --model, or the next word. */
const char *cli_word(struct cli *c);
int cli_model(struct cli *c, const char **out);
/* NUN_EARG when words are left over; and what to say when a word is missing. */
int cli_no_more_words(struct cli *c);
int cli_missing(const struct cli *c, const char *expected);

struct nun_timeline;
/* Print what the prompt in `t` takes. */
int dry_run(struct cli *c, struct nun_timeline *t);

/* ---- help ------------------------------------------------------------------------------------ */

void help_overview(FILE *to);
void help_command(FILE *to, enum cli_command_id id, bool in_full);
int help_man(FILE *to);
void help_json(int command);          /* its rows, or all for -1 */
int help_markdown(FILE *to);
int help_completions(FILE *to, const char *shell);
/* "-n, --predict N" */
const char *help_spelling(const struct cli_option *o, struct buf *out);
/* `before`, then "--n-predict, --max-tokens"; nothing where an option has no further spelling. */
void help_also(const struct cli_option *o, const char *before, struct buf *out);
void help_wrapped(FILE *to, const char *text, int indent, int at, int width);

/* ---- manners --------------------------------------------------------------------------------- */

bool term_is(FILE *f);
int term_columns(FILE *f);            /* 80 where unknown */
/* Bytes of a model or a file; on a terminal control characters other than newline and tab are shown
 * harmlessly. */
void term_write(FILE *f, const char *text, size_t len);
/* Show a picture on stderr when it is a terminal and --preview says so. Failing is not an error. */
void term_preview(const struct cli *c, const void *bytes, size_t n);
/* A line that is written over: bar, then text. `share` of the work done; nothing without a terminal. */
void term_bar(double share, const char *text);
void term_bar_end(void);
/* A second SIGINT or SIGTERM kills; the first only makes this true. */
void term_catch_interrupt(void);
bool term_interrupted(void);
void term_uncatch_interrupt(void);
/* "3.1 s", "4:05", "1:02:03" */
const char *term_duration(double seconds, char out[32]);
/* "1.5 MB" */
const char *term_bytes(double bytes, char out[32]);
/* JSON to stdout, one line or indented; takes the reference. */
struct json_t;
void cli_print_json(struct json_t *value, bool indented);
/* Talk, unless --quiet. */
void cli_say(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- shared by commands ---------------------------------------------------------------------- */

struct nun_model;
struct nun_generate_options;
struct nun_lora;
struct nun_model_options;
/* --cache-type, and its words for keys and values. */
void ask_cache(const struct cli *c, struct nun_model_options *o);
/* FOLDER[:SCALE] */
int ask_lora(struct cli *c, const char *text, struct nun_lora *out);
int ask_open(struct cli *c, const char *path, int context, struct nun_model **out); /* with a word on stderr */
/* The model's own settings, with what was given on the line over them. */
int ask_options(struct cli *c, const struct nun_model *m, struct nun_generate_options *out);
/* The text of --json-schema, --grammar-file or --regex: 1, 0 without one. *place names it in sentences. */
int ask_grammar(struct cli *c, struct buf *text, enum nun_grammar_kind *kind, const char **place);
/* The same as a grammar of the options; it is read once and lives as long as the command. */
int ask_constraint(struct cli *c, struct nun_generate_options *out);
/* A whole file, or stdin for "-". */
int ask_read(const char *path, struct buf *out);
/* Calls `each` for every line of stdin that is not empty; the first failure ends it. */
int ask_lines(int (*each)(void *arg, struct span line), void *arg);

#endif
