/* nunchi verify: one line a case and path, how far the numbers are from the stored reference. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>

#include "cli/cli.h"
#include "nunchi/verify.h"

struct listener { struct cli *c; const char *folder; json_t *cases; };

static json_t *case_json(const struct nun_verify_case *v, const char *folder)
{
    json_t *items = json_array();
    for (size_t i = 0; i < v->n_items; i++) {
        const struct nun_verify_item *t = &v->items[i];
        json_array_append_new(items, json_pack("{s:s, s:b, s:f, s:f, s:f, s:b}", "name", t->name, "module", t->module,
                                               "max_abs", t->max_abs, "excess", t->excess, "row_cosine",
                                               t->row_cosine, "ok", t->ok));
    }
    json_t *out = json_pack("{s:s, s:s, s:s, s:b, s:f, s:i, s:i, s:i, s:o}", "model", folder, "case", v->name, "path",
                            v->path, "ok", v->ok, "max_abs", v->max_abs, "greedy_same", v->greedy_same, "greedy_total",
                            v->greedy_total, "arg_max_wrong", v->arg_max_wrong, "outputs", items);
    if (v->error)
        json_object_set_new(out, "error", json_string(v->error));
    return out;
}

static void on_case(void *arg, const struct nun_verify_case *v)
{
    struct listener *l = arg;
    if (l->c->json) {
        json_array_append_new(l->cases, case_json(v, l->folder));
        return;
    }
    printf("%-6s %s %s %s", v->ok ? "ok" : v->error ? "ERROR" : "FAILED", l->folder, v->name, v->path);
    if (v->error) {
        printf(": %s\n", v->error);
        return;
    }
    printf("  worst %.2e", v->max_abs);
    if (v->greedy_total)
        printf("  greedy %d/%d", v->greedy_same, v->greedy_total);
    if (v->arg_max_wrong)
        printf("  arg-max wrong %d", v->arg_max_wrong);
    putchar('\n');
    for (size_t i = 0; i < v->n_items; i++)
        if (cli_flag(l->c, OPT_verbose) || !v->items[i].ok)
            printf("       %-6s %-48s %.2e  of allowed %.3g  cosine %.7f\n", v->items[i].ok ? "" : "differs",
                   v->items[i].name, v->items[i].max_abs, v->items[i].excess, v->items[i].row_cosine);
    fflush(stdout);
}

static int verify_all(struct cli *c, struct listener *l)
{
    struct nun_verify_options o = {
        .threads = cli_int(c, OPT_threads), .cases = cli_text(c, OPT_cases), .dump = cli_text(c, OPT_dump),
        .modules = cli_flag(c, OPT_verbose), .no_train = cli_flag(c, OPT_no_train), .report = on_case, .arg = l};
    int worst = 0;
    while ((l->folder = cli_word(c))) {
        int rc = hub_resolve(c, &l->folder);
        if (rc >= 0)
            rc = nun_verify(l->folder, &o, NULL);
        if (rc < 0) {
            err_at(rc, "%s", l->folder);
            fprintf(stderr, "nunchi: %s\n", nun_error());
            rc = 2;
        }
        worst = rc > worst ? rc : worst;
    }
    return worst;
}

int cmd_verify(struct cli *c)
{
    struct listener l = {.c = c};
    if (!c->n_words)
        return cli_missing(c, "a model folder");
    if (c->n_words > 1 && cli_text(c, OPT_dump))
        return err_set(NUN_EARG, "verify: --dump: expected one folder, found %d", c->n_words);
    l.cases = json_array();
    int rc = verify_all(c, &l);
    if (c->json)
        cli_print_json(l.cases, true);
    else
        json_decref(l.cases);
    return rc;
}
