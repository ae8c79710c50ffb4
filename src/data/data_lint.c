/* Looking a dataset over before hours are spent on it: every sample that training would refuse, every picture that is
 * missing, broken or too large, each with its file and line. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/err.h"
#include "base/file.h"
#include "data/dataset.h"
#include "media/image.h"
#include "nunchi/data.h"

#define PUBLIC __attribute__((visibility("default")))

struct looking {
    void (*emit)(void *arg, const char *sentence);
    void *arg;
    struct nun_dataset_tally *tally;
};

static void tell(void *arg, const char *sentence)
{
    struct looking *l = arg;
    l->tally->problems++;
    l->emit(l->arg, sentence);
}

static int probe(const char *path)
{
    struct file_map map;
    struct image_info info;
    TRY(file_map(path, &map));
    int rc = image_probe(span_of(map.ptr, map.len), NULL, &info);
    file_unmap(&map);
    return rc;
}

static void look_at(struct looking *l, const struct dataset *d, const struct data_sample *s, int k)
{
    char path[4096], sentence[8192];
    l->tally->pictures++;
    int rc = dataset_image_path(d, s, k, path, sizeof path);
    if (rc >= 0 && probe(path) >= 0)
        return;
    snprintf(sentence, sizeof sentence, "%s:%zu: sample %s: picture %d: %s", dataset_path(d), s->line, s->id, k + 1, nun_error());
    tell(l, sentence);
}

int dataset_look_over(const char *path, const char *image_root, const struct dataset_lint *to, struct nun_dataset_tally *out)
{
    struct looking l = {to->emit, to->arg, out};
    struct dataset_lint lint = {tell, &l};
    struct dataset *d;
    *out = (struct nun_dataset_tally){0};
    TRY(dataset_open_lint(path, image_root, &lint, &d));
    for (size_t i = 0; i < dataset_count(d); i++) {
        const struct data_sample *s = dataset_at(d, i);
        out->samples++;
        out->turns += (size_t)s->turns;
        for (int k = 0; k < s->images; k++)
            look_at(&l, d, s, k);
    }
    dataset_close(d);
    return 0;
}

PUBLIC int nun_dataset_lint(const char *path, void (*emit)(void *arg, const char *sentence), void *arg, struct nun_dataset_tally *out)
{
    return dataset_look_over(path, NULL, &(struct dataset_lint){emit, arg}, out);
}
