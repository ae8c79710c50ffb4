/* config.json to facts: finds the family's row, reads each stack's keys through its table, refuses
 * what no row knows. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "models/loader.h"
#include "models/sight.h"
#include "models/conv_rows.h"

const char *const *config_ignore(struct arena *a, const char *const *own)
{
    size_t n = 0, m = 0;
    while (family_harmless[n])
        n++;
    while (own && own[m])
        m++;
    const char **list = arena_array(a, n + m + 1, sizeof *list);
    if (!list)
        return NULL;
    for (size_t i = 0; i < n; i++)
        list[i] = family_harmless[i];
    for (size_t i = 0; i < m; i++)
        list[n + i] = own[i];
    return list;
}

/* Every layer as the stack's facts say, before finish makes differences. */
static int make_layers(struct model *m, const char *place, struct nn_facts *f)
{
    TRY(limit_check(LIMIT_layers, (size_t)f->layers, place));
    if (!(f->layer = arena_array(&m->arena, (size_t)f->layers, sizeof *f->layer)))
        return NUN_ENOMEM;
    for (int i = 0; i < f->layers; i++)
        f->layer[i] = (struct nn_layer){.mixer = NN_MIX_attention, .channel = NN_CHANNEL_mlp};
    return 0;
}

/* Some configs name a decoder by its architecture and carry another one's model_type (NVLM-D). */
static void type_by_architecture(const json_t *config, const char **type)
{
    const char *named = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    for (const struct family_row *const *f = family_rows; named && *f; f++)
        if (!strcmp((*f)->architecture, named) && (*f)->text.config && !*(*f)->text.config)
            *type = (*f)->model_type;
}

static int read_stack(struct model *m, const char *place, const struct stack_place *where, struct nn_stack *s,
                      const struct stack_row **row)
{
    const char *path = stack_path(m->config, where), *type = where->model_type;
    const json_t *config = *path ? json_dig(m->config, path) : m->config;
    if (!config)
        return json_missing(place, path);
    if (!type || (*path && !where->alone)) /* a stack of the top config may be named by the family alone */
        TRY(json_get_string(config, place, "model_type", &type));
    if (*path && !where->alone)
        type_by_architecture(config, &type);
    if (!type)
        return json_missing(place, "model_type");
    TRY(stack_find(type, place, row));
    const char *const *ignore = config_ignore(&m->arena, (*row)->ignore);
    if (!ignore)
        return NUN_ENOMEM;
    struct json_unknown unknown = {.strict = true, .ignore = ignore};
    s->facts = (*row)->fixed;
    TRY(json_read(m->config, place, path, (*row)->fields, (*row)->n_fields, &s->facts, &unknown));
    TRY(make_layers(m, place, &s->facts));
    struct stack_read r = {config, place, &s->facts, &m->arena};
    if ((*row)->finish)
        TRY((*row)->finish(&r));
    return family_layers(&r);
}

static int read_family(struct model *m, const char *place)
{
    const struct family_row *fam = m->family;
    m->facts = fam->fixed;
    if (!fam->n_fields)
        return 0;
    const char *const *ignore = config_ignore(&m->arena, fam->ignore);
    if (!ignore)
        return NUN_ENOMEM;
    struct json_unknown unknown = {.strict = true, .ignore = ignore};
    struct family_facts fixed = m->facts;
    TRY(json_read(m->config, place, "", fam->fields, fam->n_fields, &m->facts, &unknown));
    if (!m->facts.n_feature_layers) {
        memcpy(m->facts.feature_layers, fixed.feature_layers, sizeof fixed.feature_layers);
        m->facts.n_feature_layers = fixed.n_feature_layers;
    }
    return 0;
}

/* The width of both encoders' projections stands at the top of a contrastive config. */
static int shared_projection(struct model *m, const char *place)
{
    int64_t width = 0;
    TRY(json_get_int(m->config, place, "projection_dim", 1, MAX_WIDTH, &width));
    if (width)
        m->text.facts.projection = m->vision.facts.projection = (int)width;
    return 0;
}

static int check_features(const struct model *m, const char *place)
{
    int layers = m->vision.facts.layers;
    for (int i = 0; i < m->facts.n_feature_layers && layers; i++) {
        int at = m->facts.feature_layers[i];
        if (at > layers || at < -layers - 1)
            return err_set(NUN_EFORMAT, "%s: vision feature layer %d, but the tower has %d layers", place, at, layers);
    }
    if (m->vision.facts.merge && m->vision.facts.projection && m->vision.facts.projection != m->text.facts.hidden)
        return err_set(NUN_EFORMAT, "%s: the tower's features are %d wide, the decoder's states %d", place, m->vision.facts.projection,
                       m->text.facts.hidden);
    if (m->vision.facts.deep > m->text.facts.layers)
        return err_set(NUN_EFORMAT, "%s: features for %d layers, but the decoder has %d", place, m->vision.facts.deep, m->text.facts.layers);
    int ids = nn_ids(&m->text.facts), behind = m->family->sight && !m->family->sight->tokens;
    if (layers && m->family->kind == FAMILY_DECODER && m->facts.image_token >= ids + behind)
        return err_set(NUN_EFORMAT, "%s: image token %d is outside the vocabulary of %d", place, m->facts.image_token, ids);
    return 0;
}

/* A row of the model's own. */
static int own_row(struct model *m, struct family_row **own)
{
    if (!(*own = arena_array(&m->arena, 1, sizeof **own)))
        return NUN_ENOMEM;
    **own = *m->family;
    m->family = *own;
    return 0;
}

/* A tower that sees in a way of its own makes another row of the family. */
static int tower_sight(struct model *m, const struct stack_row *tower)
{
    struct family_row *own;
    TRY(own_row(m, &own));
    own->sight = tower->sight;
    return 0;
}

static int arrange(struct model *m, const char *place)
{
    struct family_row *own;
    if (!m->family->arrange)
        return 0;
    TRY(own_row(m, &own));
    return own->arrange(m, place, own);
}

int model_read_config(struct model *m, const char *place, const struct stack_row **text, const struct stack_row **vision)
{
    TRY(family_find(m->config, place, &m->family));
    *text = *vision = NULL;
    if (m->family->conv)
        return conv_read_config(m, place);
    TRY(read_family(m, place));
    TRY(arrange(m, place));
    if (m->family->text.config)
        TRY(read_stack(m, place, &m->family->text, &m->text, text));
    if (m->family->vision.config)
        TRY(read_stack(m, place, &m->family->vision, &m->vision, vision));
    if (*vision && (*vision)->sight && m->family->kind == FAMILY_DECODER)
        TRY(tower_sight(m, *vision));
    for (int i = 0; i < 4 && m->family->more[i].config; i++) {
        const struct stack_row *row;
        TRY(read_stack(m, place, &m->family->more[i], &m->more[i], &row));
    }
    /* transformers reads tie_word_embeddings of the text config; older files have it at the top only */
    bool tied = m->text.facts.tied;
    TRY(json_get_bool(m->config, place, "tie_word_embeddings", &tied));
    m->text.facts.tied = m->text.facts.tied || tied;
    if (m->facts.uncapped)
        m->text.facts.logit_softcap = 0;
    if (m->family->kind == FAMILY_CONTRASTIVE)
        TRY(shared_projection(m, place));
    TRY(check_features(m, place));
    return m->family->settle ? m->family->settle(m, place) : 0;
}
