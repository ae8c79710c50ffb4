/* Sizes of recurrent layers, derived from configs and checked; see ssm_rows.h. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "models/ssm_rows.h"

int ssm_inner(const struct stack_read *r, const char *key, const char *expand, int64_t def)
{
    int64_t inner = 0, times = def;
    TRY(json_get_int(r->config, r->place, key, 1, MAX_WIDTH, &inner));
    TRY(json_get_int(r->config, r->place, expand, 1, 64, &times));
    r->f->ssm.inner = (int)(inner ? inner : times * r->f->hidden);
    if (r->f->ssm.inner > MAX_WIDTH)
        return err_set(NUN_ELIMIT, "%s: %s %lld of hidden_size %d is more than %d", r->place, expand, (long long)times, r->f->hidden, MAX_WIDTH);
    return 0;
}

static bool is_auto(const json_t *config, const char *key)
{
    const char *text = json_string_value(json_object_get(config, key));
    return text && !strcmp(text, "auto");
}

int ssm_rank(const struct stack_read *r, const char *key)
{
    int64_t rank = (r->f->hidden + 15) / 16;
    if (!is_auto(r->config, key))
        TRY(json_get_int(r->config, r->place, key, 1, MAX_WIDTH, &rank));
    r->f->ssm.rank = (int)rank;
    return 0;
}

/* One end of time_step_limit; infinity comes as a number or by name. */
static int limit_end(const struct stack_read *r, const json_t *value, float *out)
{
    const char *name = json_string_value(value);
    if (!json_is_number(value) && !(name && !strcmp(name, "Infinity")))
        return err_set(NUN_EFORMAT, "%s: time_step_limit: expected two numbers", r->place);
    *out = name ? INFINITY : (float)json_number_value(value);
    return 0;
}

static int step_limit(const struct stack_read *r)
{
    const json_t *list = NULL;
    struct nn_ssm *s = &r->f->ssm;
    s->dt_min = 0;
    s->dt_max = INFINITY;
    TRY(json_get_array(r->config, r->place, "time_step_limit", &list));
    if (!list)
        return 0;
    TRY(limit_end(r, json_array_get(list, 0), &s->dt_min));
    TRY(limit_end(r, json_array_get(list, 1), &s->dt_max));
    if (!(s->dt_min <= s->dt_max) || json_array_size(list) != 2)
        return err_set(NUN_EFORMAT, "%s: time_step_limit: expected [least, most], found [%g, %g]", r->place, (double)s->dt_min, (double)s->dt_max);
    return 0;
}

int ssm_heads(const struct stack_read *r, const char *key)
{
    const struct nn_ssm *s = &r->f->ssm;
    int64_t width = s->heads ? s->inner / s->heads : 0;
    if (!is_auto(r->config, key))
        TRY(json_get_int(r->config, r->place, key, 1, MAX_WIDTH, &width));
    if (width * s->heads != s->inner)
        return err_set(NUN_EFORMAT, "%s: %d heads of %s %lld are not the %d channels", r->place, s->heads, key, (long long)width, s->inner);
    if (s->groups < 1 || s->heads % s->groups)
        return err_set(NUN_EFORMAT, "%s: %d heads do not fall into %d groups", r->place, s->heads, s->groups);
    return step_limit(r);
}
