/* The parser: argv and the environment to values, driven by options.def. Strict: an unknown option, a
 * number out of range or a value too few is an error that names both, with the nearest spelling. */
/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "cli/cli.h"

#define ALL UINT64_MAX
#define ON(command) (UINT64_C(1) << COMMAND_##command)

const struct cli_command cli_commands[COMMAND_COUNT] = {
#define COMMAND(name, arguments, doc, example) {#name, arguments, doc, example, cmd_##name},
#include "cli/commands.def"
#undef COMMAND
};

/* Names are turned from identifiers to spellings once. */
static struct cli_option rows[OPT_COUNT] = {
#define OPTION(name, letter, also, kind, value, fallback, lo, hi, commands, doc) \
    {#name, letter, also, KIND_##kind, value, fallback, lo, hi, commands, doc},
#include "cli/options.def"
#undef OPTION
};
const struct cli_option *const cli_options = rows;

static int spell(struct arena *a)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        char *name = arena_strdup(a, rows[i].name);
        if (!name)
            return NUN_ENOMEM;
        for (char *p = name; *p; p++)
            if (*p == '_')
                *p = '-';
        rows[i].name = name;
    }
    return 0;
}

/* ---- near misses ----------------------------------------------------------------------------- */

enum { NAME_MAX_BYTES = 40, NEAR = 2 };

static int least(int a, int b) { return a < b ? a : b; }

/* Insertions, deletions, changes and swaps of neighbours that turn a into b. */
static int distance(const char *a, const char *b)
{
    int d[3][NAME_MAX_BYTES + 1], n = (int)strlen(a), m = (int)strlen(b);
    if (n > NAME_MAX_BYTES || m > NAME_MAX_BYTES)
        return NAME_MAX_BYTES;
    for (int j = 0; j <= m; j++)
        d[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = d[i % 3], *before = d[(i + 2) % 3], *earlier = d[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            now[j] = least(least(before[j], now[j - 1]) + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return d[n % 3][m];
}

const char *cli_suggest(const char *typed, const char *const *names)
{
    const char *best = NULL;
    int least_far = NEAR + 1;
    size_t len = strlen(typed);
    for (; *names; names++) {
        int far = distance(typed, *names);
        if (len >= 3 && strncmp(typed, *names, len) == 0)
            far = least(far, NEAR); /* the beginning of a name */
        if (far < least_far) {
            least_far = far;
            best = *names;
        }
    }
    return best;
}

/* ---- finding rows ---------------------------------------------------------------------------- */

static bool spelled(const struct cli_option *o, const char *name, size_t len)
{
    if (strlen(o->name) == len && !memcmp(o->name, name, len))
        return true;
    for (const char *p = o->also; p && *p;) {
        size_t n = strcspn(p, " ");
        if (n == len && !memcmp(p, name, len))
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

static bool applies(const struct cli *c, const struct cli_option *o)
{
    return o->commands == ALL || (c->has_command && o->commands >> c->command & 1);
}

/* Names and further spellings of all options that apply here. */
static void spellings(const struct cli *c, const char **names, int room)
{
    int n = 0;
    for (int i = 0; i < OPT_COUNT; i++) {
        if (!applies(c, &rows[i]))
            continue;
        names[n++] = rows[i].name;
        for (const char *p = rows[i].also; p && *p && n < room - OPT_COUNT;) {
            size_t len = strcspn(p, " ");
            const char *copy = *p == '-' ? NULL : arena_strndup(c->arena, p, len);
            if (copy)
                names[n++] = copy;
            p += len + (p[len] == ' ');
        }
    }
    names[n] = NULL;
}

static int unknown(const struct cli *c, const char *typed)
{
    const char *names[2 * OPT_COUNT + 1];
    spellings(c, names, 2 * OPT_COUNT);
    const char *command = c->has_command ? cli_commands[c->command].name : "", *near = cli_suggest(typed, names);
    return err_set(NUN_EARG, "unknown option --%s%s%s%s; see nunchi %s%s-h", typed, near ? ": did you mean --" : "",
                   near ? near : "", near ? "?" : "", command, *command ? " " : "");
}

static bool find_spelled(const struct cli *c, const char *name, size_t len, enum cli_option_id *out)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (applies(c, &rows[i]) && spelled(&rows[i], name, len)) {
            *out = (enum cli_option_id)i;
            return true;
        }
    return false;
}

static int find_long(const struct cli *c, const char *name, size_t len, enum cli_option_id *out)
{
    char typed[NAME_MAX_BYTES + 1];
    if (find_spelled(c, name, len, out))
        return 0;
    snprintf(typed, sizeof typed, "%.*s", (int)least((int)len, NAME_MAX_BYTES), name);
    return unknown(c, typed);
}

static int find_letter(const struct cli *c, char letter, enum cli_option_id *out)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (applies(c, &rows[i]) && rows[i].letter == letter) {
            *out = (enum cli_option_id)i;
            return 0;
        }
    return err_set(NUN_EARG, "unknown option -%c; see nunchi %s%s-h", isprint((unsigned char)letter) ? letter : '?',
                   c->has_command ? cli_commands[c->command].name : "", c->has_command ? " " : "");
}

/* ---- one value ------------------------------------------------------------------------------- */

typedef int take_fn(struct cli *c, const struct cli_option *o, struct cli_value *v, const char *text, const char *from);

static int take_flag(struct cli *c, const struct cli_option *o, struct cli_value *v, const char *text, const char *from)
{
    static const char *const yes[] = {"1", "true", "yes", "on"}, *const no[] = {"0", "false", "no", "off", ""};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!strcmp(text, yes[i])) {
            v->number = 1;
            return 0;
        }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (!strcmp(text, no[i])) {
            v->number = 0;
            return 0;
        }
    return err_set(NUN_EARG, "%s: expected 1 or 0, found \"%s\"", from, text);
}

static int in_range(const struct cli_option *o, double x, const char *text, const char *from)
{
    if (o->lo == o->hi || (x >= o->lo && x <= o->hi))
        return 0;
    return err_set(NUN_EARG, "%s: expected %.12g to %.12g, found %s", from, o->lo, o->hi, text);
}

static int take_int(struct cli *c, const struct cli_option *o, struct cli_value *v, const char *text, const char *from)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return err_set(NUN_EARG, "%s: expected a whole number, found \"%s\"", from, text);
    TRY(in_range(o, (double)n, text, from));
    v->number = n;
    return 0;
}

static int take_seed(struct cli *c, const struct cli_option *o, struct cli_value *v, const char *text, const char *from)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 0);
    if (end == text || *end || errno || *text == '-')
        return err_set(NUN_EARG, "%s: expected a whole number from 0 to 2^64-1, found \"%s\"", from, text);
    v->number = (int64_t)n;
    return 0;
}

static int take_number(struct cli *c, const struct cli_option *o, struct cli_value *v, const char *text,
                       const char *from)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || x != x)
        return err_set(NUN_EARG, "%s: expected a number, found \"%s\"", from, text);
    TRY(in_range(o, x, text, from));
    v->real = x;
    return 0;
}

static int take_text(struct cli *c, const struct cli_option *o, struct cli_value *v, const char *text, const char *from)
{
    v->text = text;
    return 0;
}

static int take_choice(struct cli *c, const struct cli_option *o, struct cli_value *v, const char *text,
                       const char *from)
{
    size_t len = strlen(text);
    int64_t at = 0;
    for (const char *p = o->value; *p; at++) {
        size_t n = strcspn(p, "|");
        if (n == len && !memcmp(p, text, n)) {
            v->text = text;
            v->number = at;
            return 0;
        }
        p += n + (p[n] == '|');
    }
    return err_set(NUN_EARG, "%s: expected one of %s, found \"%s\"", from, o->value, text);
}

static int take_list(struct cli *c, const struct cli_option *o, struct cli_value *v, const char *text, const char *from)
{
    if (!v->list && !(v->list = arena_array(c->arena, CLI_LIST_MAX, sizeof *v->list)))
        return NUN_ENOMEM;
    if (v->count == CLI_LIST_MAX)
        return err_set(NUN_ELIMIT, "%s: at most %d times", from, CLI_LIST_MAX);
    v->list[v->count++] = text;
    return 0;
}

static take_fn *const take_by[] = {
    [KIND_FLAG] = take_flag, [KIND_INT] = take_int,       [KIND_SEED] = take_seed, [KIND_NUMBER] = take_number,
    [KIND_TEXT] = take_text, [KIND_CHOICE] = take_choice, [KIND_LIST] = take_list,
};

static int take(struct cli *c, enum cli_option_id id, const char *text, const char *from)
{
    c->value[id].set = true;
    return take_by[rows[id].kind](c, &rows[id], &c->value[id], text, from);
}

/* ---- the line -------------------------------------------------------------------------------- */

struct line { int argc, at; char **argv; };

static int value_of(struct cli *c, struct line *l, enum cli_option_id id, const char *attached, const char *from)
{
    if (rows[id].kind == KIND_FLAG)
        return take(c, id, attached ? attached : "1", from);
    if (attached)
        return take(c, id, attached, from);
    if (l->at >= l->argc)
        return err_set(NUN_EARG, "%s: expected %s after it, found nothing", from, rows[id].value);
    return take(c, id, l->argv[l->at++], from);
}

static int long_option(struct cli *c, struct line *l, const char *arg)
{
    enum cli_option_id id = OPT_COUNT;
    char from[NAME_MAX_BYTES + 4];
    size_t len = strcspn(arg, "=");
    TRY(find_long(c, arg, len, &id));
    snprintf(from, sizeof from, "--%s", rows[id].name);
    return value_of(c, l, id, arg[len] ? arg + len + 1 : NULL, from);
}

static int letters(struct cli *c, struct line *l, const char *arg)
{
    for (; *arg; arg++) {
        enum cli_option_id id = OPT_COUNT;
        char from[] = {'-', *arg, 0};
        TRY(find_letter(c, *arg, &id));
        if (id == OPT_help)
            c->short_help = true;
        if (rows[id].kind != KIND_FLAG)
            return value_of(c, l, id, arg[1] ? arg + 1 : NULL, from);
        TRY(take(c, id, "1", from));
    }
    return 0;
}

/* A word behind one dash, as -ctk; else letters. */
static int short_option(struct cli *c, struct line *l, const char *arg)
{
    enum cli_option_id id = OPT_COUNT;
    size_t len = strcspn(arg, "=");
    if (len > 2 && find_spelled(c, arg, len, &id))
        return value_of(c, l, id, arg[len] ? arg + len + 1 : NULL, arg);
    return letters(c, l, arg + 1);
}

static int find_command(struct cli *c, const char *word)
{
    const char *names[COMMAND_COUNT + 1];
    for (int i = 0; i < COMMAND_COUNT; i++) {
        names[i] = cli_commands[i].name;
        if (!strcmp(names[i], word)) {
            c->command = (enum cli_command_id)i;
            c->has_command = true;
            return 0;
        }
    }
    names[COMMAND_COUNT] = NULL;
    const char *near = cli_suggest(word, names);
    return err_set(NUN_EARG, "unknown command %s%s%s%s; see nunchi -h", word, near ? ": did you mean " : "",
                   near ? near : "", near ? "?" : "");
}

static int word(struct cli *c, char *arg)
{
    if (!c->has_command)
        return find_command(c, arg);
    if (c->n_words == CLI_LIST_MAX)
        return err_set(NUN_ELIMIT, "at most %d arguments", CLI_LIST_MAX);
    c->words[c->n_words++] = arg;
    return 0;
}

static int read_line(struct cli *c, int argc, char **argv)
{
    struct line l = {argc, 1, argv};
    bool options = true;
    while (l.at < argc) {
        char *arg = argv[l.at++];
        if (options && !strcmp(arg, "--"))
            options = false;
        else if (options && arg[0] == '-' && arg[1] == '-')
            TRY(long_option(c, &l, arg + 2));
        else if (options && arg[0] == '-' && arg[1])
            TRY(short_option(c, &l, arg));
        else
            TRY(word(c, arg));
    }
    return 0;
}

/* ---- environment and fallbacks --------------------------------------------------------------- */

void cli_env_name(const struct cli_option *o, char out[64])
{
    int n = snprintf(out, 64, "NUNCHI_%s", o->name);
    for (int i = 0; i < n && i < 63; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

static int fill_in(struct cli *c)
{
    char name[64];
    for (int i = 0; i < OPT_COUNT; i++) {
        if (c->value[i].set || !applies(c, &rows[i]))
            continue;
        cli_env_name(&rows[i], name);
        const char *text = c->env ? c->env(name) : NULL;
        if (text)
            TRY(take(c, (enum cli_option_id)i, text, name));
        else if (rows[i].fallback)
            TRY(take_by[rows[i].kind](c, &rows[i], &c->value[i], rows[i].fallback, rows[i].name));
    }
    return 0;
}

void cli_warn_environment(const struct cli *c)
{
    char name[64];
    for (const char *const *e = c->environ; e && *e; e++) {
        bool known = strncmp(*e, "NUNCHI_", 7) != 0;
        size_t len = strcspn(*e, "=");
        for (int i = 0; i < OPT_COUNT && !known; i++) {
            cli_env_name(&rows[i], name);
            known = strlen(name) == len && !memcmp(name, *e, len);
        }
        if (!known)
            log_warn("the environment has %.*s, which is no option of nunchi", (int)len, *e);
    }
}

int cli_parse(struct cli *c, int argc, char **argv)
{
    TRY(spell(c->arena));
    TRY(read_line(c, argc, argv));
    TRY(fill_in(c));
    c->json = cli_flag(c, OPT_json);
    return 0;
}

/* ---- words ----------------------------------------------------------------------------------- */

const char *cli_word(struct cli *c)
{
    if (!c->n_words)
        return NULL;
    const char *first = c->words[0];
    memmove(c->words, c->words + 1, (size_t)--c->n_words * sizeof *c->words);
    return first;
}

int cli_model(struct cli *c, const char **out)
{
    const char *m = cli_given(c, OPT_model) ? cli_text(c, OPT_model) : cli_word(c);
    if (!m)
        return cli_missing(c, "a model");
    *out = m;
    return hub_resolve(c, out);
}

int cli_no_more_words(struct cli *c)
{
    if (!c->n_words)
        return 0;
    return err_set(NUN_EARG, "%s: did not expect \"%s\"; see nunchi %s -h", cli_commands[c->command].name,
                   c->words[0], cli_commands[c->command].name);
}

int cli_missing(const struct cli *c, const char *expected)
{
    const char *name = cli_commands[c->command].name;
    return err_set(NUN_EARG, "%s: expected %s, found nothing; see nunchi %s -h", name, expected, name);
}
