/* The list of families and stacks, and finding the row that a config asks for. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "models/families.h"

const struct stack_row *const stack_rows[] = {
#define STACK(row) &row,
#define FAMILY(row)
#include "models/families.def"
#undef STACK
#undef FAMILY
    NULL};

const struct family_row *const family_rows[] = {
#define STACK(row)
#define FAMILY(row) &row,
#include "models/families.def"
#undef STACK
#undef FAMILY
    NULL};

int stack_find(const char *model_type, const char *place, const struct stack_row **out)
{
    for (const struct stack_row *const *r = stack_rows; *r; r++)
        if (!strcmp((*r)->model_type, model_type)) {
            *out = *r;
            return 0;
        }
    return err_set(NUN_EUNSUP, "%s: model_type \"%s\" is not one that nunchi knows", place, model_type);
}

const char *stack_path(const json_t *config, const struct stack_place *where)
{
    return where->or_top && !json_dig(config, where->config) ? "" : where->config;
}

int family_find(const json_t *config, const char *place, const struct family_row **out)
{
    const json_t *list = json_object_get(config, "architectures");
    const char *arch = json_string_value(json_array_get(list, 0));
    const char *type = json_string_value(json_object_get(config, "model_type"));
    for (const struct family_row *const *r = family_rows; *r; r++)
        if (arch ? !strcmp((*r)->architecture, arch) : type && !strcmp((*r)->model_type, type)) {
            *out = *r;
            return 0;
        }
    return err_set(NUN_EUNSUP, "%s: architecture \"%s\" (model_type \"%s\") is not one that nunchi knows", place,
                   arch ? arch : "", type ? type : "");
}
