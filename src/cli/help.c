/* Help for people at a terminal: the overview, and one command in short (-h) or in full (--help).
 * Everything comes from the rows. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/cli.h"

enum { WIDTH_MAX = 100, LEFT = 30 };

static int width(FILE *to)
{
    int columns = term_columns(to);
    return columns < WIDTH_MAX ? columns : WIDTH_MAX;
}

/* Words of `text` in lines of `columns`, each but the first after `indent` blanks; `at` is where the
 * first begins. */
void help_wrapped(FILE *to, const char *text, int indent, int at, int columns)
{
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > indent && at + 1 + n > columns) {
            fprintf(to, "\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', to);
            at++;
        }
        fprintf(to, "%.*s", n, text);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

const char *help_spelling(const struct cli_option *o, struct buf *out)
{
    buf_reset(out);
    if (o->letter)
        buf_printf(out, "-%c, ", o->letter);
    buf_printf(out, "--%s", o->name);
    if (o->value)
        buf_printf(out, " %s", o->kind == KIND_CHOICE ? "WHICH" : o->value);
    return buf_cstr(out);
}

void help_also(const struct cli_option *o, const char *before, struct buf *out)
{
    for (const char *p = o->also; p && *p;) {
        size_t len = strcspn(p, " ");
        buf_printf(out, "%s%s%.*s", p == o->also ? before : ", ", *p == '-' ? "" : "--", (int)len, p);
        p += len + (p[len] == ' ');
    }
}

static void option_lines(FILE *to, const struct cli_option *o, bool in_full)
{
    struct buf text;
    char env[64];
    buf_init(&text, MEM_CLI, 4096);
    int at = fprintf(to, "  %s%s", o->letter ? "" : "    ", help_spelling(o, &text));
    at += fprintf(to, "%*s", at < LEFT ? LEFT - at : 2, "");
    buf_reset(&text);
    buf_str(&text, o->doc);
    if (o->kind == KIND_CHOICE)
        buf_printf(&text, ": %s", o->value);
    if (o->fallback && o->kind != KIND_FLAG)
        buf_printf(&text, " [%s]", o->fallback);
    help_wrapped(to, buf_cstr(&text), LEFT, LEFT, width(to));
    if (in_full) {
        cli_env_name(o, env);
        fprintf(to, "%*s", LEFT, "");
        buf_reset(&text);
        help_also(o, "Also ", &text);
        if (o->also)
            buf_str(&text, ". ");
        buf_printf(&text, "Environment: %s", env);
        help_wrapped(to, buf_cstr(&text), LEFT, LEFT, width(to));
    }
    buf_free(&text);
}

static void options_where(FILE *to, const char *title, uint64_t commands, bool exactly, bool in_full)
{
    bool any = false;
    for (int i = 0; i < OPT_COUNT; i++) {
        bool everywhere = cli_options[i].commands == UINT64_MAX;
        if (exactly != everywhere || !(cli_options[i].commands & commands))
            continue;
        if (!any)
            fprintf(to, "\n%s\n", title);
        any = true;
        option_lines(to, &cli_options[i], in_full);
    }
}

void help_command(FILE *to, enum cli_command_id id, bool in_full)
{
    const struct cli_command *c = &cli_commands[id];
    fprintf(to, "nunchi %s:", c->name);
    help_wrapped(to, c->doc, 0, (int)strlen(c->name) + 8, width(to));
    fprintf(to, "\nUsage: nunchi %s [OPTION...] %s\n", c->name, c->arguments);
    options_where(to, "Options:", UINT64_C(1) << id, false, in_full);
    options_where(to, "Everywhere:", UINT64_C(1) << id, true, in_full);
    fprintf(to, "\nExample:\n  %s\n", c->example);
    if (!in_full)
        fputs("\n--help tells more: the environment twin and other spellings of each option.\n", to);
}

void help_overview(FILE *to)
{
    fputs("nunchi: run and train multimodal language models, in plain C\n\nUsage: nunchi COMMAND [OPTION...] "
          "[ARGUMENT...]\n\nCommands:\n", to);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        int at = fprintf(to, "  %s", cli_commands[i].name);
        at += fprintf(to, "%*s", 13 - at, "");
        help_wrapped(to, cli_commands[i].doc, 13, at, width(to));
    }
    options_where(to, "Everywhere:", UINT64_MAX, true, false);
    fprintf(to, "\nExample:\n  %s\n\nnunchi COMMAND -h explains a command.\n", cli_commands[0].example);
}
