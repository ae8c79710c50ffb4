/* nunchi data: makes sets of scenes, and reads datasets as strictly as training does. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>

#include "cli/cli.h"
#include "nunchi/data.h"

static void on_picture(void *arg, int done, int count)
{
    char text[64];
    if (done % 16 && done != count)
        return;
    snprintf(text, sizeof text, "%d of %d pictures", done, count);
    if (!cli_flag(arg, OPT_quiet))
        term_bar((double)done / count, text);
}

static int write_world(struct cli *c, const char *world, const char *folder)
{
    const char *format = cli_text(c, OPT_format);
    struct nun_scenes_options o = {
        .world = world, .folder = folder, .split = cli_text(c, OPT_split), .format = strcmp(format, "mixed") ? format : NULL,
        .seed = (uint64_t)c->value[OPT_seed].number, .first = (uint64_t)cli_int(c, OPT_first),
        .count = cli_int(c, OPT_count), .questions = cli_int(c, OPT_questions), .side = cli_given(c, OPT_side) ? cli_int(c, OPT_side) : 0,
        .quality = cli_int(c, OPT_quality), .progress = on_picture, .arg = c};
    int rc = nun_scenes_write(&o);
    term_bar_end();
    TRY(rc);
    if (c->json)
        printf("{\"pictures\": %d}\n", o.count);
    else
        cli_say(c, "%s: %d pictures of split %s, seed %llu\n", folder, o.count, o.split, (unsigned long long)o.seed);
    return 0;
}

static int data_scenes(struct cli *c, const char *folder) { return write_world(c, "scenes", folder); }
static int data_scenes_hd(struct cli *c, const char *folder) { return write_world(c, "scenes-hd", folder); }

static void on_problem(void *arg, const char *sentence)
{
    fprintf(stderr, "%s\n", sentence);
}

static int data_lint(struct cli *c, const char *path)
{
    struct nun_dataset_tally t;
    TRY(nun_dataset_lint(path, on_problem, NULL, &t));
    printf(c->json ? "{\"samples\": %zu, \"turns\": %zu, \"pictures\": %zu, \"problems\": %zu}\n"
                   : "%zu samples, %zu questions, %zu pictures, %zu problems\n",
           t.samples, t.turns, t.pictures, t.problems);
    return t.problems > 0;
}

int cmd_data(struct cli *c)
{
    static const struct { const char *name; int (*fn)(struct cli *c, const char *path); } verbs[] = {
        {"scenes", data_scenes}, {"scenes-hd", data_scenes_hd}, {"lint", data_lint},
    };
    const char *verb = cli_word(c), *path = cli_word(c);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (verb && path && !strcmp(verbs[i].name, verb)) {
            TRY(cli_no_more_words(c));
            return verbs[i].fn(c, path);
        }
    return err_set(NUN_EARG, "data: expected %s and a path, found %s%s%s; see nunchi data -h", "scenes, scenes-hd or lint",
                   verb ? verb : "nothing", path ? " " : "", path ? path : "");
}
