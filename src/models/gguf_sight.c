/* Towers in a GGUF file of their own (llama.cpp's mmproj): the row of gguf_rows.c says which decoder they belong to and
 * what its names become; here two files become one model. What the writers cut apart (q, k and v; the frames of a
 * patch) is joined again. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "models/families.h"
#include "models/gguf_map.h"
#include "models/gguf_model.h"

/* The decoder's file, and the tower's. */
struct pair_files { const struct gguf *text; const char *text_path, *path; };

/* What keeps the tensors of both. */
struct pair {
    struct safetensors *text, *tower;
    struct arena arena;              /* names, and what was joined */
    struct st_tensor *tensors;
    size_t n;
    bool swapped;                    /* up is called down, as in files of 2023 */
};

static void pair_free(void *arg)
{
    struct pair *p = arg;
    st_close(p->text);
    st_close(p->tower);
    mem_free(p->tensors);
    arena_free(&p->arena);
    mem_free(p);
}

/* ---- config ------------------------------------------------------------------------------------ */

/* Ids of the placeholders, by their spelling in the decoder's vocabulary; one that is not there is left out. */
static int put_tokens(const struct gguf_sight *s, const struct gguf *g, const char *text_path, json_t *config)
{
    const struct gguf_value *tokens = NULL;
    struct span token;
    int rc = gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens);
    size_t at = 0;
    for (int64_t id = 0; rc == 0 && gguf_next_string(tokens, &at, &token); id++)
        for (int i = 0; i < 3; i++)
            if (s->token[i] && span_is(token, s->token[i]))
                json_object_set_new(config, s->token_key[i], json_integer(id));
    if (rc < 0)
        return rc;
    if (s->untold && tokens && !json_object_get(config, s->token_key[0])) {
        int64_t rows = gguf_config_int(json_object_get(config, "text_config"), "vocab_size", 0), n = (int64_t)tokens->count;
        json_object_set_new(config, s->token_key[0], json_integer(n > rows ? n : rows));
    }
    return json_object_get(config, s->token_key[0]) ? 0 : err_set(NUN_EFORMAT, "%s: expected the token %s for pictures in the vocabulary, found none",
                                                                 text_path, s->token[0]);
}

/* What the tower's file says of the whole. */
static void lift(const struct gguf_sight *s, json_t *vision, json_t *config)
{
    for (size_t i = 0; i < sizeof s->lifted / sizeof *s->lifted && s->lifted[i]; i++)
        if (json_object_get(vision, s->lifted[i])) {
            json_object_set(config, s->lifted[i], json_object_get(vision, s->lifted[i]));
            json_object_del(vision, s->lifted[i]);
        }
}

/* tower: its own config, with the architecture of the whole. */
static int whole_config(const struct gguf_sight *s, const struct pair_files *files, const json_t *text, const json_t *tower, json_t **out)
{
    json_t *config;
    TRY(json_parse_span(span_str(s->whole ? s->whole : "{}"), files->path, &config));
    unsigned mark = json_mark();
    json_t *decoder = json_copy((json_t *)(uintptr_t)text), *vision = json_copy((json_t *)(uintptr_t)tower);
    json_object_set(config, "architectures", json_object_get(tower, "architectures"));
    json_object_del(vision, "architectures");
    if (!json_object_get(config, "model_type")) {
        json_object_set(config, "model_type", json_object_get(tower, "model_type"));
        json_object_del(vision, "model_type");
    }
    json_object_del(decoder, "architectures");
    for (const char *const *key = (const char *const[]){"bos_token_id", "eos_token_id", "pad_token_id", NULL}; *key; key++)
        if (json_object_get(decoder, *key))
            json_object_set(config, *key, json_object_get(decoder, *key));
    lift(s, vision, config);
    json_object_set_new(config, s->text_key ? s->text_key : "text_config", decoder);
    json_object_set_new(config, "vision_config", vision);
    int rc = put_tokens(s, files->text, files->text_path, config);
    if (json_check(mark) < 0)
        rc = NUN_ENOMEM; /* not that a token is missing */
    if (rc < 0)
        json_decref(config);
    else
        *out = config;
    return rc;
}

/* ---- tensors ----------------------------------------------------------------------------------- */

static int add(struct pair *p, const struct st_tensor *t, const char *name)
{
    struct st_tensor *to = &p->tensors[p->n];
    *to = *t;
    if (!(to->name = arena_strdup(&p->arena, name)))
        return NUN_ENOMEM;
    p->n++;
    return 0;
}

/* out: "before" + `to` + "after" for a name "before" + `from` + "after". */
static bool replaced(const char *name, const char *from, const char *to, char out[256])
{
    const char *at = strstr(name, from);
    if (!at)
        return false;
    return snprintf(out, 256, "%.*s%s%s", (int)(at - name), name, to, at + strlen(from)) < 256;
}

static int floats_of(struct pair *p, const struct st_tensor *t, size_t extra, float **out)
{
    size_t n;
    TRY(shape_count(&t->shape, &n));
    if (!(*out = arena_array(&p->arena, n + extra + 1, sizeof **out)))
        return NUN_ENOMEM;
    return dtype_to_f32(t->dtype, t->data, *out, n);
}

/* q, k and v one after the other, as floats. */
static int add_joined(struct pair *p, const struct st_tensor *q)
{
    static const char *const parts[] = {".q.", ".k.", ".v."};
    struct st_tensor out = *q;
    float *all = NULL;
    char name[256];
    size_t n;
    TRY(shape_count(&q->shape, &n));
    for (int i = 0; i < 3; i++) {
        const struct st_tensor *t;
        float *one;
        if (!replaced(q->name, ".q.", parts[i], name))
            return err_set(NUN_ELIMIT, "%s: the name is too long", q->name);
        TRY(st_need(p->tower, span_str(name), &q->shape, &t));
        TRY(floats_of(p, t, i ? 0 : 2 * n, &one));
        all = i ? all : one;
        memcpy(all + (size_t)i * n, one, n * (i ? sizeof *one : 0));
    }
    out.shape.d[0] *= 3;
    out.dtype = DT_F32;
    out.data = all;
    out.bytes = 3 * n * sizeof *all;
    return replaced(q->name, ".q.", ".qkv.", name) ? add(p, &out, name) : err_set(NUN_ELIMIT, "%s: the name is too long", q->name);
}

/* [H, C, P, P] of two frames as [H, C, 2, P, P]. */
static int add_frames(struct pair *p, const struct st_tensor *first, const struct st_tensor *second)
{
    struct st_tensor out = *first;
    const int64_t *d = first->shape.d;
    float *a, *b, *both;
    size_t n;
    if (first->shape.n != 4 || !shape_eq(&first->shape, &second->shape))
        return err_set(NUN_EFORMAT, "%s: the frames of a patch do not fit each other", first->name);
    TRY(shape_count(&first->shape, &n));
    TRY(floats_of(p, first, 0, &a));
    TRY(floats_of(p, second, 0, &b));
    if (!(both = arena_array(&p->arena, 2 * n + 1, sizeof *both)))
        return NUN_ENOMEM;
    size_t area = (size_t)(d[2] * d[3]);
    for (size_t i = 0; area && i < n / area; i++) {
        memcpy(both + 2 * i * area, a + i * area, area * sizeof *a);
        memcpy(both + (2 * i + 1) * area, b + i * area, area * sizeof *b);
    }
    out.shape = (struct shape){5, {d[0], d[1], 2, d[2], d[3]}};
    out.dtype = DT_F32;
    out.data = both;
    out.bytes = 2 * n * sizeof *both;
    return add(p, &out, first->name);
}

/* Features of inner layers are numbered by the layer there, by their turn here. */
static int add_deep(struct pair *p, const struct st_tensor *t, const char *at, const json_t *layers)
{
    char name[256];
    int layer = 0, used = 0;
    size_t i;
    const json_t *one;
    if (sscanf(at, GGUF_DEEP ".%d%n", &layer, &used) == 1)
        json_array_foreach(layers, i, one)
            if (json_integer_value(one) == layer) {
                snprintf(name, sizeof name, "%.*s" GGUF_DEEP ".%zu%s", (int)(at - t->name), t->name, i, at + used);
                return add(p, t, name);
            }
    return err_set(NUN_EFORMAT, "%s: expected at one of the layers whose states are features", t->name);
}

/* Old writers called the matrix that widens down. */
static bool is_swapped(const struct pair *p, const json_t *vision)
{
    int64_t hidden = gguf_config_int(vision, "hidden_size", 0), wide = gguf_config_int(vision, "intermediate_size", 0);
    for (size_t i = 0; i < st_count(p->tower); i++) {
        const struct st_tensor *t = st_at(p->tower, i);
        if (span_ends(span_str(t->name), SPAN(".mlp.fc1.weight")))
            return hidden != wide && t->shape.n == 2 && t->shape.d[0] == hidden && t->shape.d[1] == wide;
    }
    return false;
}

static int add_tower(struct pair *p, const struct st_tensor *t, const json_t *vision)
{
    char name[256];
    if (p->swapped && (replaced(t->name, ".mlp.fc1.", ".mlp.fc2.", name) || replaced(t->name, ".mlp.fc2.", ".mlp.fc1.", name)))
        return add(p, t, name);
    const char *deep = strstr(t->name, GGUF_DEEP);
    bool second = replaced(t->name, GGUF_SECOND_FRAME, ".weight", name), part = strstr(t->name, ".attn.k.") || strstr(t->name, ".attn.v.");
    if (second || part)
        return 0; /* come with the first */
    if (strstr(t->name, ".attn.q."))
        return add_joined(p, t);
    if (deep)
        return add_deep(p, t, deep, json_object_get(vision, "deepstack_visual_indexes"));
    const struct st_tensor *more = replaced(t->name, ".weight", GGUF_SECOND_FRAME, name) ? st_find(p->tower, span_str(name)) : NULL;
    return more ? add_frames(p, t, more) : add(p, t, t->name);
}

static int add_all(struct pair *p, const struct gguf_sight *s, const json_t *vision)
{
    char name[256];
    size_t from = strlen(s->text_from);
    for (size_t i = 0; i < st_count(p->text); i++) {
        const struct st_tensor *t = st_at(p->text, i);
        bool fits = !strncmp(t->name, s->text_from, from);
        snprintf(name, sizeof name, "%s%s", fits ? s->text_to : "", t->name + (fits ? from : 0));
        TRY(add(p, t, name));
    }
    p->swapped = is_swapped(p, vision);
    for (size_t i = 0; i < st_count(p->tower); i++)
        TRY(add_tower(p, st_at(p->tower, i), vision));
    return 0;
}

/* ---- both files -------------------------------------------------------------------------------- */

static int sight_of_config(const json_t *config, const char *path, const struct gguf_sight **out)
{
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    const char *type = json_string_value(json_object_get(config, "model_type"));
    for (size_t i = 0; name && type && i < gguf_arch_count; i++)
        if (gguf_archs[i].sight && !strcmp(gguf_archs[i].architecture, name) && !strcmp(gguf_archs[i].model_type, type)) {
            *out = gguf_archs[i].sight;
            return 0;
        }
    return err_set(NUN_EUNSUP, "%s: expected a tower (general.architecture clip), found a model (%s)", path, name ? name : "");
}

static bool is_decoder(const struct gguf_sight *s, const char *architecture)
{
    for (const char *const *d = s->decoders; *d; d++)
        if (architecture && !strcmp(*d, architecture))
            return true;
    return false;
}

bool gguf_sight_exists(const char *decoder)
{
    for (size_t i = 0; i < gguf_arch_count; i++)
        if (gguf_archs[i].sight && is_decoder(gguf_archs[i].sight, decoder))
            return true;
    return false;
}

static int check_decoder(const struct gguf_sight *s, const json_t *text, const char *path)
{
    const char *name = json_string_value(json_array_get(json_object_get(text, "architectures"), 0));
    char list[160] = "";
    if (is_decoder(s, name))
        return 0;
    for (const char *const *d = s->decoders; *d; d++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", *list ? " or " : "", *d);
    return err_set(NUN_EUNSUP, "%s: the tower belongs to a decoder of %s, the model is %s", path, list, name ? name : "");
}

static int check_width(const struct pair *p, const struct gguf_sight *s, const json_t *text, const char *path)
{
    const struct st_tensor *t = st_find(p->tower, span_str(s->width_of));
    int64_t width = gguf_config_int(text, "hidden_size", 0);
    if (!t || t->shape.n <= s->width_at || t->shape.d[s->width_at] == width)
        return 0; /* what is not there is missed when weights are bound */
    return err_set(NUN_EFORMAT, "%s: the tower's features are %lld wide, the model's states %lld: the files are not a pair", path,
                   (long long)t->shape.d[s->width_at], (long long)width);
}

/* p->tower is there; *weights is taken over on success. */
static int join(struct pair *p, const struct pair_files *files, const json_t *tower, json_t **config, struct safetensors **weights)
{
    const struct gguf_sight *s;
    json_t *whole = NULL;
    TRY(sight_of_config(tower, files->path, &s));
    TRY(check_decoder(s, *config, files->path));
    TRY(check_width(p, s, *config, files->path));
    p->tensors = mem_calloc(MEM_MODEL, st_count(*weights) + st_count(p->tower) + 1, sizeof *p->tensors);
    if (!p->tensors)
        return NUN_ENOMEM;
    TRY(whole_config(s, files, *config, tower, &whole));
    struct safetensors *both = NULL;
    p->text = *weights;
    int rc = add_all(p, s, tower);
    if (rc >= 0)
        rc = st_open_views(files->path, p->tensors, p->n, p, pair_free, &both);
    if (rc < 0) {
        p->text = NULL;
        json_decref(whole);
        return rc;
    }
    json_decref(*config);
    *config = whole;
    *weights = both;
    return 0;
}

/* Takes the tower's tensors over, whatever happens. */
static int add_opened(const struct pair_files *files, const json_t *tower, struct safetensors *tensors, json_t **config,
                      struct safetensors **weights)
{
    struct pair *p = mem_calloc(MEM_MODEL, 1, sizeof *p);
    if (!p) {
        st_close(tensors);
        return NUN_ENOMEM;
    }
    p->tower = tensors;
    arena_init(&p->arena, MEM_MODEL, 0);
    int rc = join(p, files, tower, config, weights);
    if (rc < 0)
        pair_free(p);
    return rc < 0 ? rc : 0;
}

int gguf_sight_add(const char *text_path, const char *path, json_t **config, struct safetensors **weights)
{
    struct gguf *g;
    json_t *tower = NULL;
    struct safetensors *tensors = NULL;
    TRY(gguf_open(text_path, &g));
    int rc = gguf_model_open(path, false, &tower, &tensors);
    if (rc >= 0)
        rc = add_opened(&(struct pair_files){g, text_path, path}, tower, tensors, config, weights);
    json_decref(tower);
    gguf_close(g);
    return rc;
}

int gguf_sight_open_bytes(struct span text, struct span file, json_t **config, struct safetensors **weights)
{
    struct gguf *g;
    json_t *tower = NULL;
    struct safetensors *tensors = NULL;
    TRY(gguf_model_open_bytes(text, "decoder", config, weights));
    int rc = gguf_open_bytes(text, "decoder", &g);
    if (rc >= 0) {
        rc = gguf_model_open_bytes(file, "tower", &tower, &tensors);
        if (rc >= 0)
            rc = add_opened(&(struct pair_files){g, "decoder", "tower"}, tower, tensors, config, weights);
        gguf_close(g);
    }
    json_decref(tower);
    if (rc < 0) {
        json_decref(*config);
        st_close(*weights);
    }
    return rc;
}

/* ---- the processor ----------------------------------------------------------------------------- */

static int put_colours(const struct gguf *g, const char *path, const char *key, const char *as, json_t *out)
{
    const struct gguf_value *v = NULL;
    int rc = gguf_get_array(g, key, GGUF_F32, &v);
    if (rc)
        return rc < 0 ? rc : err_set(NUN_EFORMAT, "%s: %s: expected, not found", path, key);
    json_t *list = json_array();
    for (size_t i = 0; i < v->count; i++)
        json_array_append_new(list, gguf_real((float)gguf_item_double(v, i)));
    json_object_set_new(out, as, list);
    return 0;
}

/* Lengths that the file says; what it does not say stays as published. */
static int put_sides(const struct gguf *g, const struct gguf_arch *arch, json_t *out)
{
    for (const struct gguf_side *s = arch->sight->sides; s->gguf; s++) {
        char key[128];
        int64_t n = 0;
        int rc = gguf_get_int(g, gguf_key(arch, s->gguf, key), 1, 1 << 16, &n);
        TRY(rc);
        if (rc > 0)
            continue;
        if (s->inner && !json_object_get(out, s->key))
            json_object_set_new(out, s->key, json_object());
        json_object_set_new(s->inner ? json_object_get(out, s->key) : out, s->inner ? s->inner : s->key, json_integer(n));
    }
    return 0;
}

static int processor_of(const struct gguf *g, const char *path, bool video, json_t **out)
{
    const struct gguf_arch *arch;
    json_t *o;
    TRY(gguf_arch_of_file(g, path, &arch));
    const char *text = arch->sight ? arch->sight->processor[video] : NULL;
    if (!text)
        return err_set(NUN_EUNSUP, "%s: it does not say how %s are prepared", path, video ? "videos" : "pictures");
    TRY(json_parse_span(span_str(text), path, &o));
    unsigned mark = json_mark();
    int rc = put_colours(g, path, "clip.vision.image_mean", "image_mean", o);
    if (rc >= 0)
        rc = put_colours(g, path, "clip.vision.image_std", "image_std", o);
    if (rc >= 0)
        rc = put_sides(g, arch, o);
    if (rc >= 0)
        rc = json_check(mark);
    if (rc < 0)
        json_decref(o);
    else
        *out = o;
    return rc < 0 ? rc : 0;
}

int gguf_sight_processor(const char *path, bool video, json_t **out)
{
    struct gguf *g;
    TRY(gguf_open(path, &g));
    int rc = processor_of(g, path, video, out);
    gguf_close(g);
    return rc;
}

int gguf_sight_processor_bytes(struct span file, bool video, json_t **out)
{
    struct gguf *g;
    TRY(gguf_open_bytes(file, "tower", &g));
    int rc = processor_of(g, "tower", video, out);
    gguf_close(g);
    return rc;
}

/* ---- what the rows cannot say ------------------------------------------------------------------ */

/* How many pairs turn by time, row and column; a fourth number is 0. */
static int read_sections(struct gguf_in *in, bool woven)
{
    char key[128];
    const struct gguf_value *v = NULL;
    int rc = gguf_get_array(in->g, gguf_key(in->arch, "rope.dimension_sections", key), GGUF_I32, &v);
    if (rc < 0)
        return rc;
    if (rc > 0 || v->count < 3 || v->count > 4 || (v->count == 4 && gguf_item_int(v, 3)))
        return err_set(NUN_EFORMAT, "%s: %s: expected three numbers", in->place, key);
    json_object_set_new(in->config, "rope_scaling",
                        json_pack("{s:s, s:[III], s:b}", "type", "mrope", "mrope_section", (json_int_t)gguf_item_int(v, 0),
                                  (json_int_t)gguf_item_int(v, 1), (json_int_t)gguf_item_int(v, 2), "mrope_interleaved", woven));
    return 0;
}

int gguf_read_sections(struct gguf_in *in)
{
    return read_sections(in, false);
}

int gguf_read_woven_sections(struct gguf_in *in)
{
    return read_sections(in, true);
}

static int few_layers(const struct gguf_in *in, const struct gguf_value *v)
{
    if (v->count <= MAX_LAYERS)
        return 0;
    return err_set(NUN_EFORMAT, "%s: %.*s: expected at most %d layers, found %zu", in->place, (int)v->key.len, v->key.ptr, MAX_LAYERS, v->count);
}

/* Every n-th layer sees all patches. */
int gguf_read_window_tower(struct gguf_in *in)
{
    int64_t every = 0, layers = gguf_config_int(in->config, "depth", 0);
    TRY(gguf_get_int(in->g, "clip.vision.n_wa_pattern", 1, 1 << 12, &every));
    layers = layers > MAX_LAYERS ? MAX_LAYERS : layers; /* more are refused with the config */
    json_t *list = json_array();
    for (int64_t i = every; every && i <= layers; i += every)
        json_array_append_new(list, json_integer(i - 1));
    json_object_set_new(in->config, "fullatt_block_indexes", list);
    return 0;
}

int gguf_read_deep_tower(struct gguf_in *in)
{
    const struct gguf_value *v = NULL;
    int rc = gguf_get_array(in->g, "clip.vision.is_deepstack_layers", GGUF_BOOL, &v);
    if (rc == 0)
        TRY(few_layers(in, v));
    json_t *list = json_array();
    for (size_t i = 0; rc == 0 && i < v->count; i++)
        if (gguf_item_bool(v, i))
            json_array_append_new(list, json_integer((json_int_t)i));
    json_object_set_new(in->config, "deepstack_visual_indexes", list);
    return rc < 0 ? rc : 0;
}

/* One layer's states, or those of several joined. The tower ends behind the last that is asked for. */
int gguf_read_clip_tower(struct gguf_in *in)
{
    const struct gguf_value *v = NULL;
    bool gelu = false, silu = false;
    if (gguf_value_find(in->g, "clip.vision.image_grid_pinpoints"))
        return err_set(NUN_EUNSUP, "%s: pictures in tiles of several shapes (LLaVA 1.6) are not read from GGUF", in->place);
    if (gguf_find(in->g, SPAN("mm.3.weight")))
        return err_set(NUN_EUNSUP, "%s: a projector with norms (mlp_norm, of Yi-VL) is not one that nunchi knows", in->place);
    TRY(gguf_get_bool(in->g, "clip.use_gelu", &gelu));
    TRY(gguf_get_bool(in->g, "clip.use_silu", &silu));
    json_object_set_new(in->config, "hidden_act", json_string(gelu ? "gelu" : silu ? "silu" : "quick_gelu"));
    int rc = gguf_get_array(in->g, "clip.vision.feature_layer", GGUF_I32, &v);
    TRY(rc);
    if (rc == 0)
        TRY(few_layers(in, v));
    json_t *layers = json_array();
    for (size_t i = 0; rc == 0 && i < v->count; i++)
        json_array_append_new(layers, json_integer((json_int_t)gguf_item_int(v, i)));
    if (rc > 0)
        json_array_append_new(layers, json_integer(-1));
    json_object_set_new(in->config, "vision_feature_layer", layers);
    return 0;
}

int gguf_read_pixtral_tower(struct gguf_in *in)
{
    int64_t step = 1;
    TRY(gguf_get_int(in->g, "clip.vision.spatial_merge_size", 1, 64, &step));
    if (step != 1)
        return err_set(NUN_EUNSUP, "%s: squares of %lld patches, but no matrix that joins them (mm.patch_merger)", in->place, (long long)step);
    return gguf_read_clip_tower(in);
}

/* Squares of patches are averaged. */
int gguf_read_gemma3_tower(struct gguf_in *in)
{
    int64_t image = gguf_config_int(in->config, "image_size", 0), patch = gguf_config_int(in->config, "patch_size", 0);
    int64_t step = gguf_config_int(in->config, "scale_factor", 0);
    if (patch < 1 || step < 1 || image / patch < step || image / patch > 1 << 12)
        return err_set(NUN_EFORMAT, "%s: sides of %lld pixels, patches of %lld, squares of %lld patches do not fit each other", in->place,
                       (long long)image, (long long)patch, (long long)step);
    json_object_del(in->config, "scale_factor");
    json_object_set_new(in->config, "mm_tokens_per_image", json_integer(image / patch / step * (image / patch / step)));
    return 0;
}

/* InternViT of 6 billion has norms without biases. */
int gguf_read_intern_tower(struct gguf_in *in)
{
    int64_t step = gguf_config_int(in->config, "scale_factor", 2);
    bool biased = gguf_find(in->g, SPAN("v.blk.0.ln1.bias")) != NULL;
    json_object_del(in->config, "scale_factor");
    json_object_set_new(in->config, "downsample_ratio", json_real(step > 0 ? 1.0 / (double)step : 0));
    json_object_set_new(in->config, "norm_type", json_string(biased ? "layer_norm" : "rms_norm"));
    return 0;
}
