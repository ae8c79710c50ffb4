/* Cases that name a weight instead of an input: what a quantised folder's parts mean, what merging an adapter gives. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "runtime/verify_int.h"

static const struct g_param *find_param(const struct model *m, const char *name)
{
    for (int i = 0; i < m->n_params; i++)
        if (!strcmp(m->params[i]->name, name))
            return m->params[i];
    return NULL;
}

bool verify_names_weight(const json_t *json)
{
    return json_object_get(json, "tensor") && !json_object_get(json, "input_ids");
}

/* of the first case that has some */
static const json_t *first_ids(const struct verify *v)
{
    const json_t *one, *ids = NULL;
    size_t i;
    json_array_foreach(json_object_get(v->json, "cases"), i, one)
        if (!ids)
            ids = json_object_get(one, "input_ids");
    return ids;
}

int verify_weight(struct verify_case *c, struct arena *arena)
{
    const char *name = json_string_value(json_object_get(c->json, "tensor"));
    const struct g_param *p = name ? find_param(c->m->model, name) : NULL;
    const char *output;
    json_t *key;
    size_t n;
    if (!p)
        return err_set(NUN_EFORMAT, "%s: tensor: expected a weight of the model, found %s", c->r.name, name ? name : "none");
    TRY(shape_count(&p->shape, &n));
    float *values = arena_array(arena, n, sizeof *values);
    if (!values)
        return NUN_ENOMEM;
    TRY(dtype_to_f32(p->dt, p->data, values, n));
    json_object_foreach((json_t *)(uintptr_t)json_object_get(c->json, "expected"), output, key)
        TRY(strcmp(output, "logits") ? verify_check(c, output, values, n) : verify_logits(c, first_ids(c->v), output, arena));
    return 0;
}
