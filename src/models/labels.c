/* Names of the classes that a classifier tells apart: config.json's id2label. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/err.h"
#include "models/families.h"
#include "models/model.h"

enum { DEFAULT_LABELS = 2 }; /* of a config that says nothing */

int family_labels(const struct stack_read *r)
{
    const json_t *names = NULL;
    int64_t n = DEFAULT_LABELS;
    TRY(json_get_int(r->config, r->place, "num_labels", 1, MAX_VOCAB, &n));
    TRY(json_get_object(r->config, r->place, "id2label", &names));
    if (names && json_object_size(names))
        n = (int64_t)json_object_size(names);
    if (n > MAX_VOCAB)
        return err_set(NUN_ELIMIT, "%s: id2label: %lld classes, the limit is %d", r->place, (long long)n, MAX_VOCAB);
    r->f->labels = (int)n;
    return 0;
}

const char *model_label(const struct model *m, int i, char made[32])
{
    char key[16];
    snprintf(key, sizeof key, "%d", i);
    const char *name = json_string_value(json_object_get(json_object_get(m->config, "id2label"), key));
    if (name)
        return name;
    snprintf(made, 32, "LABEL_%d", i);
    return made;
}
