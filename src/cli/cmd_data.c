/* nunchi data: makes sets of scenes, and reads datasets as strictly as training does. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>

#include "base/file.h"
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

static int data_scenes(struct cli *c, const char *folder)
{
    const char *format = cli_text(c, OPT_format);
    struct nun_scenes_options o = {
        .folder = folder, .split = cli_text(c, OPT_split), .format = strcmp(format, "mixed") ? format : NULL,
        .seed = (uint64_t)c->value[OPT_seed].number, .first = (uint64_t)cli_int(c, OPT_first),
        .count = cli_int(c, OPT_count), .questions = cli_int(c, OPT_questions), .side = cli_int(c, OPT_side),
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

struct tally { size_t samples, turns, images, missing; };

static int count_sample(const struct nun_dataset *d, size_t i, struct tally *t)
{
    char path[4096];
    t->turns += (size_t)nun_dataset_turns(d, i);
    for (int k = 0; k < nun_dataset_images(d, i); k++) {
        TRY(nun_dataset_image_path(d, i, k, path, sizeof path));
        t->images++;
        if (!file_exists(path)) {
            fprintf(stderr, "%s: sample %s: no such picture: %s\n", "data", nun_dataset_id(d, i), path);
            t->missing++;
        }
    }
    return 0;
}

static int data_check(struct cli *c, const char *path)
{
    struct nun_dataset *d;
    struct tally t = {0};
    TRY(nun_dataset_open(path, &d));
    int rc = 0;
    for (; t.samples < nun_dataset_count(d) && rc >= 0; t.samples++)
        rc = count_sample(d, t.samples, &t);
    nun_dataset_close(d);
    TRY(rc);
    printf(c->json ? "{\"samples\": %zu, \"turns\": %zu, \"pictures\": %zu, \"missing\": %zu}\n"
                   : "%zu samples, %zu questions, %zu pictures, %zu of them missing\n",
           t.samples, t.turns, t.images, t.missing);
    return t.missing > 0;
}

int cmd_data(struct cli *c)
{
    static const struct { const char *name; int (*fn)(struct cli *c, const char *path); } verbs[] = {
        {"scenes", data_scenes}, {"check", data_check},
    };
    const char *verb = cli_word(c), *path = cli_word(c);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (verb && path && !strcmp(verbs[i].name, verb)) {
            TRY(cli_no_more_words(c));
            return verbs[i].fn(c, path);
        }
    return err_set(NUN_EARG, "nunchi data: expected %s and a path, found %s%s%s; see nunchi data -h", "scenes or check",
                   verb ? verb : "nothing", path ? " " : "", path ? path : "");
}
