/* Pages made of the rows: the man page, docs/commands.md, completions for bash, zsh and fish, and all of it as
 * JSON. The tests compare docs/commands.md with what this prints. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>

#include "cli/cli.h"

static bool belongs(const struct cli_option *o, int command)
{
    return o->commands != UINT64_MAX && o->commands >> command & 1;
}

static bool everywhere(const struct cli_option *o, int command)
{
    return o->commands == UINT64_MAX;
}

typedef bool choose_fn(const struct cli_option *o, int command);

/* ---- man ------------------------------------------------------------------------------------- */

/* roff takes a dash as a hyphen and a leading dot as a request. */
static void roff(FILE *to, const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p == '-' || *p == '\\')
            fprintf(to, "\\%c", *p);
        else if ((*p == '.' || *p == '\'') && p == text)
            fprintf(to, "\\&%c", *p);
        else
            fputc(*p, to);
}

static void man_options(FILE *to, choose_fn *choose, int command)
{
    struct buf text;
    char env[64];
    buf_init(&text, MEM_CLI, 4096);
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct cli_option *o = &cli_options[i];
        if (!choose(o, command))
            continue;
        fputs(".TP\n.B ", to);
        roff(to, help_spelling(o, &text));
        fputs("\n", to);
        buf_reset(&text);
        buf_str(&text, o->doc);
        if (o->kind == KIND_CHOICE)
            buf_printf(&text, ": %s", o->value);
        if (o->fallback && o->kind != KIND_FLAG)
            buf_printf(&text, " [%s]", o->fallback);
        cli_env_name(o, env);
        buf_printf(&text, ". Environment: %s.", env);
        roff(to, buf_cstr(&text));
        fputs("\n", to);
    }
    buf_free(&text);
}

int help_man(FILE *to)
{
    fputs(".TH NUNCHI 1\n.SH NAME\nnunchi \\- run and train multimodal language models\n.SH SYNOPSIS\n.B nunchi\n"
          "COMMAND [OPTION...] [ARGUMENT...]\n.SH DESCRIPTION\nData go to standard output, talk to standard error. "
          "The exit status is 0 for success, 1 for a negative answer, 2 for an error.\n.SH OPTIONS EVERYWHERE\n", to);
    man_options(to, everywhere, 0);
    fputs(".SH COMMANDS\n", to);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(to, ".SS nunchi %s ", cli_commands[i].name);
        roff(to, cli_commands[i].arguments);
        fputs("\n", to);
        roff(to, cli_commands[i].doc);
        fputs(".\n.PP\n.EX\n", to);
        roff(to, cli_commands[i].example);
        fputs("\n.EE\n", to);
        man_options(to, belongs, i);
    }
    return 0;
}

/* ---- Markdown -------------------------------------------------------------------------------- */

static void cell(FILE *to, const char *text)
{
    for (; *text; text++)
        fprintf(to, *text == '|' ? "\\|" : "%c", *text);
}

static void markdown_options(FILE *to, choose_fn *choose, int command)
{
    struct buf text;
    char env[64];
    bool any = false;
    buf_init(&text, MEM_CLI, 4096);
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct cli_option *o = &cli_options[i];
        if (!choose(o, command))
            continue;
        if (!any)
            fputs("\n| option | what | without it | environment |\n|---|---|---|---|\n", to);
        any = true;
        fprintf(to, "| `%s`", help_spelling(o, &text));
        buf_reset(&text);
        help_also(o, "", &text);
        if (o->also)
            fprintf(to, " (also `%s`)", buf_cstr(&text));
        fputs(" | ", to);
        cell(to, o->doc);
        if (o->kind == KIND_CHOICE) {
            fputs(": ", to);
            cell(to, o->value);
        }
        cli_env_name(o, env);
        fprintf(to, " | %s | `%s` |\n", o->fallback ? o->fallback : "", env);
    }
    buf_free(&text);
}

int help_markdown(FILE *to)
{
    fputs("# Commands\n\nMade by `nunchi help --markdown`; do not edit. Data go to stdout, talk to stderr; the exit "
          "status is 0, 1 for a negative\nanswer (not all right, stopped early), 2 for an error. What is typed wins "
          "over the environment.\n\n## Everywhere\n", to);
    markdown_options(to, everywhere, 0);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(to, "\n## nunchi %s\n\n`nunchi %s [OPTION...] %s`: %s.\n\n    %s\n", cli_commands[i].name,
                cli_commands[i].name, cli_commands[i].arguments, cli_commands[i].doc, cli_commands[i].example);
        markdown_options(to, belongs, i);
    }
    return 0;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *option_json(const struct cli_option *o)
{
    static const char *const kinds[] = {
        [KIND_FLAG] = "flag", [KIND_INT] = "integer", [KIND_SEED] = "seed", [KIND_NUMBER] = "number",
        [KIND_TEXT] = "text", [KIND_CHOICE] = "choice", [KIND_LIST] = "list",
    };
    char env[64], letter[] = {o->letter, '\0'};
    json_t *commands = json_array();
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (everywhere(o, i) || belongs(o, i))
            json_array_append_new(commands, json_string(cli_commands[i].name));
    cli_env_name(o, env);
    json_t *out = json_pack("{s:s, s:s*, s:s*, s:s, s:s*, s:s*, s:s, s:o, s:s}", "name", o->name, "letter",
                            o->letter ? letter : NULL, "also", o->also, "kind", kinds[o->kind], "value", o->value,
                            "default", o->fallback, "environment", env, "commands", commands, "doc", o->doc);
    if (o->lo < o->hi)
        json_object_set_new(out, "range", json_pack("[f, f]", o->lo, o->hi));
    return out;
}

void help_json(int command)
{
    json_t *commands = json_array(), *options = json_array();
    for (int i = 0; i < COMMAND_COUNT; i++) {
        const struct cli_command *k = &cli_commands[i];
        if (command >= 0 && command != i)
            continue;
        json_array_append_new(commands, json_pack("{s:s, s:s, s:s, s:s}", "name", k->name, "arguments", k->arguments,
                                                  "doc", k->doc, "example", k->example));
    }
    for (int i = 0; i < OPT_COUNT; i++)
        if (command < 0 || everywhere(&cli_options[i], command) || belongs(&cli_options[i], command))
            json_array_append_new(options, option_json(&cli_options[i]));
    cli_print_json(json_pack("{s:o, s:o}", "commands", commands, "options", options), true);
}

/* ---- completions ----------------------------------------------------------------------------- */

static void choices(FILE *to, const char *value)
{
    for (; *value; value++)
        fputc(*value == '|' ? ' ' : *value, to);
}

static void command_names(FILE *to)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "%s%s", i ? " " : "", cli_commands[i].name);
}

static void option_names(FILE *to, choose_fn *choose, int command)
{
    for (int i = 0; i < OPT_COUNT; i++)
        if (choose(&cli_options[i], command))
            fprintf(to, " --%s", cli_options[i].name);
}

static void bash(FILE *to)
{
    fputs("# bash completion of nunchi; put it where bash-completion looks, or source it.\n_nunchi() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options=\"", to);
    option_names(to, everywhere, 0);
    fputs("\"\n    case $before in\n", to);
    for (int i = 0; i < OPT_COUNT; i++)
        if (cli_options[i].kind == KIND_CHOICE) {
            fprintf(to, "    --%s) COMPREPLY=($(compgen -W \"", cli_options[i].name);
            choices(to, cli_options[i].value);
            fputs("\" -- \"$word\")); return ;;\n", to);
        }
    fputs("    esac\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W \"", to);
    command_names(to);
    fputs(" $options\" -- \"$word\")); return\n    fi\n    case ${COMP_WORDS[1]} in\n", to);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(to, "    %s) options+=\"", cli_commands[i].name);
        option_names(to, belongs, i);
        fputs("\" ;;\n", to);
    }
    fputs("    esac\n    if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
          "    else COMPREPLY=($(compgen -f -- \"$word\")); fi\n}\ncomplete -o filenames -F _nunchi nunchi\n", to);
}

/* Single-quoted for zsh and fish; in zsh brackets and colons mean something. */
static void quoted(FILE *to, const char *text, bool zsh)
{
    for (; *text; text++)
        if (*text == '\'')
            fputs(zsh ? "'\\''" : "\\'", to);
        else
            fprintf(to, zsh && strchr("[]:\\", *text) ? "\\%c" : "%c", *text);
}

static void zsh_options(FILE *to, choose_fn *choose, int command)
{
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct cli_option *o = &cli_options[i];
        if (!choose(o, command))
            continue;
        fprintf(to, " \\\n        '%s--%s[", o->kind == KIND_LIST ? "*" : "", o->name);
        quoted(to, o->doc, true);
        fputs("]", to);
        if (o->kind == KIND_CHOICE) {
            fputs(":which:(", to);
            choices(to, o->value);
            fputs(")", to);
        } else if (o->value) {
            fprintf(to, ":%s:_files", o->value);
        }
        fputs("'", to);
    }
}

static void zsh(FILE *to)
{
    fputs("#compdef nunchi\n_nunchi() {\n    if (( CURRENT == 2 )); then compadd -- ", to);
    command_names(to);
    fputs("; return; fi\n    case $words[2] in\n", to);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(to, "    %s) _arguments", cli_commands[i].name);
        zsh_options(to, everywhere, 0);
        zsh_options(to, belongs, i);
        fputs(" \\\n        '*:file:_files' ;;\n", to);
    }
    fputs("    esac\n}\n_nunchi \"$@\"\n", to);
}

static void fish(FILE *to)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(to, "complete -c nunchi -n __fish_use_subcommand -f -a %s -d '", cli_commands[i].name);
        quoted(to, cli_commands[i].doc, false);
        fputs("'\n", to);
    }
    for (int i = 0; i < OPT_COUNT; i++) {
        const struct cli_option *o = &cli_options[i];
        fputs("complete -c nunchi", to);
        if (o->commands != UINT64_MAX) {
            fputs(" -n '__fish_seen_subcommand_from", to);
            for (int k = 0; k < COMMAND_COUNT; k++)
                if (belongs(o, k))
                    fprintf(to, " %s", cli_commands[k].name);
            fputs("'", to);
        }
        fprintf(to, " -l %s", o->name);
        if (o->letter)
            fprintf(to, " -s %c", o->letter);
        if (o->kind == KIND_CHOICE) {
            fputs(" -x -a '", to);
            choices(to, o->value);
            fputs("'", to);
        } else if (o->value) {
            fputs(" -r", to);
        }
        fputs(" -d '", to);
        quoted(to, o->doc, false);
        fputs("'\n", to);
    }
}

int help_completions(FILE *to, const char *shell)
{
    static const struct { const char *name; void (*write)(FILE *to); } shells[] = {
        {"bash", bash}, {"zsh", zsh}, {"fish", fish},
    };
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (!strcmp(shells[i].name, shell)) {
            shells[i].write(to);
            return 0;
        }
    return err_set(NUN_EARG, "no completions for %s", shell);
}
