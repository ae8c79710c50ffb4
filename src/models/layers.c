/* What most decoders derive from their config: head counts, windows, which layer is of which kind. Family files
 * call it from their finish functions; config.c ends with family_layers. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "models/families.h"

int family_heads(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    if (!f->kv_heads)
        f->kv_heads = f->heads;
    if (!f->head_dim) {
        if (f->hidden % f->heads)
            return err_set(NUN_EFORMAT, "%s: hidden_size %d is not a multiple of num_attention_heads %d", r->place, f->hidden, f->heads);
        f->head_dim = f->hidden / f->heads;
    }
    if (f->heads % f->kv_heads)
        return err_set(NUN_EFORMAT, "%s: num_attention_heads %d is not a multiple of num_key_value_heads %d", r->place, f->heads, f->kv_heads);
    return 0;
}

int family_finish(const struct stack_read *r)
{
    TRY(family_heads(r));
    return family_ropes(r);
}

int family_finish_window(const struct stack_read *r)
{
    for (int i = 0; i < r->f->layers; i++)
        r->f->layer[i].window = r->f->window;
    return family_finish(r);
}

void family_slide(struct nn_facts *f, int every)
{
    for (int i = 0; i < f->layers; i++)
        f->layer[i].window = (i + 1) % every ? f->window : 0;
}

int family_refuse(const struct stack_read *r, const char *key, bool only)
{
    bool value = only;
    TRY(json_get_bool(r->config, r->place, key, &value));
    if (value != only)
        return err_set(NUN_EUNSUP, "%s: %s: only %s is supported, found %s", r->place, key, only ? "true" : "false", value ? "true" : "false");
    return 0;
}

/* Names in layer_types. */
static const struct layer_type { const char *name; int mixer; bool slides; } layer_types[] = {
    {"full_attention", NN_MIX_attention, false},
    {"sliding_attention", NN_MIX_attention, true},
    {"attention", NN_MIX_attention, false},
    {"conv", NN_MIX_short_conv, false},
    {"linear_attention", NN_MIX_delta, false},
    {"mamba", NN_MIX_mamba2, false},
};

static int set_type(const struct stack_read *r, int layer, const char *name)
{
    struct nn_layer *l = &r->f->layer[layer];
    for (size_t i = 0; i < sizeof layer_types / sizeof layer_types[0]; i++) {
        const struct layer_type *t = &layer_types[i];
        if (strcmp(t->name, name))
            continue;
        if (t->slides && !r->f->window)
            return err_set(NUN_EFORMAT, "%s: layer_types[%d]: \"%s\", but there is no sliding_window", r->place, layer, name);
        if (t->mixer != NN_MIX_attention && t->mixer != r->f->other_mixer)
            break;
        if (r->f->other_mixer)
            l->mixer = (int8_t)t->mixer;
        l->window = t->slides ? r->f->window : 0;
        return 0;
    }
    return err_set(NUN_EUNSUP, "%s: layer_types[%d]: \"%s\" is not one that nunchi knows", r->place, layer, name);
}

static int read_types(const struct stack_read *r)
{
    const json_t *list = NULL, *name;
    size_t i;
    TRY(json_get_array(r->config, r->place, "layer_types", &list));
    if (!list)
        return 0;
    if (json_array_size(list) < (size_t)r->f->layers)
        return err_set(NUN_EFORMAT, "%s: layer_types: expected %d names, found %zu", r->place, r->f->layers, json_array_size(list));
    json_array_foreach(list, i, name) {
        if (!json_is_string(name))
            return err_set(NUN_EFORMAT, "%s: layer_types[%zu]: expected a name", r->place, i);
        if (i < (size_t)r->f->layers)
            TRY(set_type(r, (int)i, json_string_value(name)));
    }
    return 0;
}

int family_layers(const struct stack_read *r)
{
    struct nn_facts *f = r->f;
    TRY(read_types(r));
    for (int i = 0; i < f->layers; i++) {
        struct nn_layer *l = &f->layer[i];
        if (f->rope_slides_only && !l->window)
            l->rope = NN_NONE;
        if (l->rope == 0 && f->slides_apart && l->window)
            l->rope = 1;
        if (l->scale == 0)
            l->scale = f->attention_scale;
        if (l->scale == 0 && f->alibi > 0) /* there a head is wider than it looks */
            l->scale = 1.0f / sqrtf((float)f->head_dim);
    }
    return 0;
}
