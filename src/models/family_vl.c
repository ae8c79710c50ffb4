/* nunchi_vl: the models trained here. One config says how pictures reach the decoder: as tokens in the sequence, as rows beside
 * it, or both (arXiv:2409.11402 compares them), through which connector, from which tower or none. docs/nunchi-vl.md. */
/* SPDX-License-Identifier: MIT */
#include "base/err.h"
#include "models/families.h"
#include "models/sight.h"
#include "models/tags.h"
#include "nn/connector.h"

enum { MOST_TAG = 64, DEFAULT_SIDE = 448, COLOURS = 3 };

static const struct json_name paradigms[] = {{"decoder", VL_DECODER}, {"cross", VL_CROSS}, {"hybrid", VL_HYBRID}, {NULL, 0}};
#define TAGS(name, doc) {#name, TAGS_##name},
static const struct json_name tags[] = {
#include "models/tags.def"
    {NULL, 0}};
#undef TAGS
#define CONNECTOR(name, squares, queries, matrices, doc) {#name, NN_CONNECT_##name},
static const struct json_name connectors[] = {
#include "nn/connectors.def"
    {NULL, 0}};
#undef CONNECTOR

#define INTEGER(key, member, least, most, def) \
    {key, JSON_KIND_INT, offsetof(struct family_facts, member), false, least, most, def, NULL, NULL, 0, 0}
static const struct json_field vl_fields[] = {
    {"paradigm", JSON_KIND_ENUM, offsetof(struct family_facts, vl.paradigm), true, 0, 0, 0, NULL, paradigms, 0, 0},
    {"connector", JSON_KIND_ENUM, offsetof(struct family_facts, vl.connector), true, 0, 0, 0, NULL, connectors, 0, 0},
    {"image_token_id", JSON_KIND_INT, offsetof(struct family_facts, image_token), true, 0, MAX_VOCAB, 0, NULL, NULL, 0, 0},
    {"tile_tags", JSON_KIND_ENUM, offsetof(struct family_facts, vl.tags), false, 0, 0, TAGS_none, NULL, tags, 0, 0},
    {"tile_tag_ids", JSON_KIND_NODE, offsetof(struct family_facts, vl.ids), false, 0, 0, 0, NULL, NULL, 0, 0},
    INTEGER("image_size", vl.side, 1, 1 << 16, 0),
    INTEGER("patch_size", vl.patch, 1, 1 << 12, 0),
    INTEGER("max_tiles", vl.most, 1, TAG_MOST_TILES, 6),
    {"thumbnail", JSON_KIND_BOOL, offsetof(struct family_facts, vl.thumbnail), false, 0, 0, true, NULL, NULL, 0, 0},
    INTEGER("downsample", vl.step, 1, 64, 2),
    INTEGER("queries", tile_tokens, 1, MAX_WIDTH, 64),
    {"vision_feature_layer", JSON_KIND_INTS, offsetof(struct family_facts, feature_layers), false, -MAX_LAYERS, MAX_LAYERS, 0, NULL, NULL,
     offsetof(struct family_facts, n_feature_layers), 1},
    {"vision_feature_norm", JSON_KIND_BOOL, offsetof(struct family_facts, tower_norm), false, 0, 0, true, NULL, NULL, 0, 0},
};
static const char *const vl_ignore[] = {"connector_layers", "connector_heads", "connector_act", "connector_norm_eps", "initializer_range",
                                        NULL};

/* ---- weights ------------------------------------------------------------------------------- */

static const struct nn_connector_kind *kind_of(const struct model *m)
{
    return &nn_connectors[m->facts.vl.connector];
}

static bool two_matrices(const struct weight_ask *a) { return kind_of(a->m)->matrices > 1; }
static bool is_qformer(const struct weight_ask *a) { return a->m->facts.vl.connector == NN_CONNECT_qformer; }
/* A sequence tells patches apart by itself; layers and queries that look at them do not. */
static bool lacks_positions(const struct weight_ask *a)
{
    return !a->m->vision.facts.layers && (a->m->facts.vl.paradigm != VL_DECODER || kind_of(a->m)->queries);
}

static const struct weight_row vl_weights[] = {
    {NN_conn_pos_w, "connector.positions", lacks_positions},
    {NN_conn_1_w, "connector.linear_1.weight", W_ALWAYS, {0}, "h%"},
    {NN_conn_1_b, "connector.linear_1.bias"},
    {NN_conn_2_w, "connector.linear_2.weight", two_matrices},
    {NN_conn_2_b, "connector.linear_2.bias", two_matrices},
    {NN_queries_w, "connector.queries", is_qformer},
};

/* ---- what the config changes --------------------------------------------------------------- */

static const struct sight_row *const sights[] = {&sight_vl_decoder, &sight_vl_cross, &sight_vl_hybrid, NULL};

static int vl_arrange(const struct model *m, const char *place, struct family_row *own)
{
    static const struct stack_place perceiver = {"", "connector.perceiver.", "nunchi_vl_perceiver"},
                                    qformer = {"", "connector.qformer.", "nunchi_vl_qformer"};
    own->sight = sights[m->facts.vl.paradigm];
    if (!json_dig(m->config, "vision_config"))
        own->vision = (struct stack_place){0};
    if (kind_of(m)->queries)
        own->more[0] = m->facts.vl.connector == NN_CONNECT_qformer ? qformer : perceiver;
    return 0;
}

/* Patches go to the connector as they are: a stack without layers whose states are a patch's pixels. */
static int settle_patches(struct model *m, const char *place)
{
    struct vl_facts *vl = &m->facts.vl;
    struct nn_facts *f = &m->vision.facts;
    vl->side = vl->side ? vl->side : DEFAULT_SIDE;
    if (!vl->patch)
        return err_set(NUN_EFORMAT, "%s: expected vision_config, or patch_size for a model without a tower", place);
    if (vl->side % vl->patch)
        return err_set(NUN_EFORMAT, "%s: image_size %d is not a multiple of patch_size %d", place, vl->side, vl->patch);
    vl->grid = vl->side / vl->patch;
    *f = (struct nn_facts){.image_size = vl->side, .patch = vl->patch, .channels = COLOURS, .hidden = COLOURS * vl->patch * vl->patch,
                           .positions = vl->grid * vl->grid};
    return 0;
}

static int settle_tower(struct model *m, const char *place)
{
    struct vl_facts *vl = &m->facts.vl;
    struct nn_facts *f = &m->vision.facts;
    bool windows = f->tower == NN_TOWER_windows;
    if ((f->tower != NN_TOWER_patches && !windows) || f->merge || m->family->sight != sights[vl->paradigm])
        return err_set(NUN_EUNSUP, "%s: vision_config: this tower sees pictures in a way of its own; others take squares", place);
    if (windows && (m->facts.feature_layers[0] != -1 || !m->facts.tower_norm))
        return err_set(NUN_EUNSUP, "%s: vision_feature_layer: of a tower in stages only the last states, behind the norm", place);
    if (vl->patch)
        return err_set(NUN_EFORMAT, "%s: patch_size %d, but there is a tower, which has its own", place, vl->patch);
    vl->side = vl->side ? vl->side : f->image_size;
    if (vl->side != f->image_size && !f->stretch && (!windows || f->positions))
        return err_set(NUN_EFORMAT, "%s: image_size: expected the tower's %d, found %d", place, f->image_size, vl->side);
    f->image_size = vl->side;
    vl->grid = windows ? (vl->side + f->patch - 1) / f->patch : vl->side / f->patch;
    for (int i = 1; i < f->stages; i++)
        vl->grid = (vl->grid + 1) / 2;
    return 0;
}

/* Only squares need to fit the grid; without them a step is of one state. */
static int settle_connector(struct model *m, const char *place)
{
    struct vl_facts *vl = &m->facts.vl;
    vl->step = kind_of(m)->squares ? vl->step : 1;
    m->facts.merge = vl->connector == NN_CONNECT_pixel_shuffle ? vl->step : 1;
    if (vl->grid < 1 || vl->grid % vl->step)
        return err_set(NUN_EFORMAT, "%s: downsample %d does not divide a tile's %d states a side", place, vl->step, vl->grid);
    return 0;
}

static int settle_paradigm(const struct model *m, const char *place)
{
    const struct vl_facts *vl = &m->facts.vl;
    int looking = 0;
    for (int i = 0; i < m->text.facts.layers; i++)
        looking += nn_looks(&m->text.facts, i);
    if (vl->paradigm == VL_DECODER && looking)
        return err_set(NUN_EFORMAT, "%s: cross_attention_layers: %d, but with paradigm decoder no rows are beside the sequence", place, looking);
    if (vl->paradigm != VL_DECODER && !looking)
        return err_set(NUN_EFORMAT, "%s: text_config.cross_attention_layers: expected at least one layer with paradigm %s", place,
                       paradigms[vl->paradigm].name);
    if (vl->paradigm == VL_HYBRID && !vl->thumbnail)
        return err_set(NUN_EFORMAT, "%s: thumbnail: paradigm hybrid puts it into the sequence, found false", place);
    if (m->facts.image_token >= nn_ids(&m->text.facts))
        return err_set(NUN_EFORMAT, "%s: image_token_id %d is outside the vocabulary of %d", place, m->facts.image_token,
                       nn_ids(&m->text.facts));
    return 0;
}

/* ---- tags ---------------------------------------------------------------------------------- */

static int read_tag(struct model *m, const char *place, int k, const json_t *list)
{
    struct vl_facts *vl = &m->facts.vl;
    size_t n = json_array_size(list);
    int at = vl->tag_at[k];
    struct tag_place where = {0};
    bool reached = tag_at((enum tag_kind)vl->tags, vl->most, k, &where);
    if (!json_is_array(list) || n > MOST_TAG || (reached && n < 1))
        return err_set(NUN_EFORMAT, "%s: tile_tag_ids[%d]: expected a list of 1 to %d ids", place, k, (int)MOST_TAG);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(list, i);
        int64_t id = json_is_integer(one) ? json_integer_value(one) : -1;
        if (id < 0 || id >= nn_ids(&m->text.facts) || id == m->facts.image_token)
            return err_set(NUN_EFORMAT, "%s: tile_tag_ids[%d][%zu]: expected an id of text below %d, found %lld", place, k, i,
                           nn_ids(&m->text.facts), (long long)id);
        vl->tag_id[at++] = (int32_t)id;
    }
    vl->tag_at[k + 1] = at;
    return 0;
}

static int settle_tags(struct model *m, const char *place)
{
    struct vl_facts *vl = &m->facts.vl;
    int n = tag_count((enum tag_kind)vl->tags, vl->most);
    if (!vl->ids && (vl->paradigm != VL_HYBRID || vl->tags == TAGS_none))
        return 0;
    if (!vl->ids)
        return err_set(NUN_EFORMAT, "%s: tile_tag_ids: paradigm hybrid looks at its tags: expected %d lists of ids, found none", place, n);
    if (vl->tags == TAGS_none)
        return err_set(NUN_EFORMAT, "%s: tile_tag_ids, but tile_tags is none", place);
    if (!json_is_array(vl->ids) || json_array_size(vl->ids) != (size_t)n)
        return err_set(NUN_EFORMAT, "%s: tile_tag_ids: expected %d lists of ids, found %zu", place, n, json_array_size(vl->ids));
    vl->tag_at = arena_array(&m->arena, (size_t)n + 1, sizeof *vl->tag_at);
    vl->tag_id = arena_array(&m->arena, (size_t)n * MOST_TAG, sizeof *vl->tag_id);
    if (!vl->tag_at || !vl->tag_id)
        return NUN_ENOMEM;
    for (int k = 0; k < n; k++)
        TRY(read_tag(m, place, k, json_array_get(vl->ids, (size_t)k)));
    vl->n_tags = n;
    return 0;
}

static int vl_settle(struct model *m, const char *place)
{
    TRY(m->vision.facts.layers ? settle_tower(m, place) : settle_patches(m, place));
    TRY(settle_connector(m, place));
    TRY(settle_paradigm(m, place));
    return settle_tags(m, place);
}

const struct family_row family_vl = {
    "NunchiVLForConditionalGeneration", "nunchi_vl", FAMILY_DECODER,
    {"text_config", "language_model.", "nunchi_vl_text"}, {"vision_config", "vision_tower.", "siglip_vision_model"},
    ROWS(vl_fields), vl_ignore, ROWS(vl_weights), {.feature_layers = {-1}, .n_feature_layers = 1, .drop_class = true},
    .sight = &sight_vl_decoder, .sights = sights, .arrange = vl_arrange, .settle = vl_settle};
