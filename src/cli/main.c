/* main: the one place that reads the environment and ends the process. Sets up what is the same for all
 * commands (threads' instruction sets, log level, interrupts), calls the command and turns its code into an
 * exit status: 0 done, 1 a negative answer, 2 an error. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"

#ifndef NUNCHI_VERSION
#define NUNCHI_VERSION "unknown"
#endif

extern char **environ;

static int print_version(const struct cli *c)
{
    char active[256];
    TRY(nun_isa(NULL, active, sizeof active));
    if (c->json) {
        cli_print_json(json_pack("{s:s, s:s}", "version", NUNCHI_VERSION, "kernels", active), false);
        return 0;
    }
    printf("nunchi %s\nkernels: %s\n", NUNCHI_VERSION, active);
    return 0;
}

static int print_limits(const struct cli *c)
{
    json_t *list = json_array();
    for (int i = 0; i < LIMIT_COUNT; i++) {
        const struct limit *l = &limits_table[i];
        if (c->json)
            json_array_append_new(list, json_pack("{s:s, s:I, s:s, s:s}", "name", l->name, "value",
                                                  (json_int_t)l->value, "unit", l->unit, "doc", l->doc));
        else
            printf("%-20s %12zu %-9s %s\n", l->name, l->value, l->unit, l->doc);
    }
    if (c->json)
        cli_print_json(list, true);
    else
        json_decref(list);
    return 0;
}

static int dispatch(struct cli *c)
{
    if (cli_flag(c, OPT_help)) {
        if (c->json)
            help_json(c->has_command ? (int)c->command : -1);
        else if (c->has_command)
            help_command(stdout, c->command, !c->short_help);
        else
            help_overview(stdout);
        return 0;
    }
    int rc = cli_text(c, OPT_cpu_mask) ? nun_isa(cli_text(c, OPT_cpu_mask), NULL, 0) : 0;
    if (rc < 0)
        return err_at(rc, "--cpu-mask");
    if (cli_flag(c, OPT_version))
        return print_version(c);
    if (cli_flag(c, OPT_limits))
        return print_limits(c);
    if (!c->has_command) {
        help_overview(stderr);
        return 2;
    }
    return cli_commands[c->command].fn(c);
}

static int run(struct cli *c, int argc, char **argv)
{
    TRY(cli_parse(c, argc, argv));
    log_set_level(cli_flag(c, OPT_quiet) ? LOG_ERROR : cli_flag(c, OPT_verbose) ? LOG_INFO : LOG_WARN);
    cli_warn_environment(c);
    int rc = dispatch(c);
    if (rc >= 0 && (fflush(stdout) != 0 || ferror(stdout)))
        return err_errno("stdout");
    return rc;
}

static const char *read_environment(const char *name)
{
    return getenv(name);
}

int main(int argc, char **argv)
{
    struct arena arena;
    struct cli c = {.env = read_environment, .environ = (const char *const *)environ, .arena = &arena};
    signal(SIGPIPE, SIG_DFL); /* a reader that has had enough ends us without a word */
    arena_init(&arena, MEM_CLI, 0);
    int rc = run(&c, argc, argv);
    if (rc < 0)
        fprintf(stderr, "nunchi: %s\n", nun_error());
    nun_grammar_close(c.grammar);
    arena_free(&arena);
    return rc < 0 ? 2 : rc;
}
