/* A finished model as a folder that the ecosystem loads: weights, tokenizer, processor files, template. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "train/trainer.h"

/* The conversation that batch.h lays out; <s> comes from the tokenizer's post-processor. */
static const char chat_template[] =
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' }}{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
    "{% else %}{{ raise_exception('roles are user and assistant, got ' + message['role']) }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

static int write_object(const char *dir, const char *name, json_t *o)
{
    char path[4096];
    if (!o)
        return err_nomem(0);
    int rc = path_join(path, sizeof path, dir, name);
    if (rc >= 0)
        rc = json_write_file(path, o);
    json_decref(o);
    return rc;
}

/* Files of a folder that say how the model is used, and do not change with its weights. */
static const char *const beside[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt",
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json", "generation_config.json", "chat_template.jinja",
    "chat_template.json", "added_tokens.json"};

static int copy_file(const char *from, const char *dir, const char *name)
{
    char to[4096];
    struct buf bytes;
    TRY(path_join(to, sizeof to, dir, name));
    buf_init(&bytes, MEM_TRAIN, LIMIT_OF(json_bytes));
    int rc = file_read(from, &bytes);
    if (rc >= 0)
        rc = file_write_durable(to, bytes.ptr, bytes.len);
    buf_free(&bytes);
    return rc;
}

/* A model that went on from a folder is used as that one is. */
static int copy_beside(const struct trainer *t, const char *dir)
{
    char from[4096];
    enum { TOKENIZER_FILES = 7 }; /* the first ones */
    for (size_t i = t->prompts ? 0 : TOKENIZER_FILES; i < sizeof beside / sizeof beside[0]; i++) {
        TRY(path_join(from, sizeof from, train_folder(t), beside[i]));
        if (file_exists(from))
            TRY(copy_file(from, dir, beside[i]));
    }
    return 0;
}

/* ---- a model of our own ---------------------------------------------------------------------- */

static json_t *triple(const double v[3])
{
    return json_pack("[f,f,f]", v[0], v[1], v[2]);
}

/* The square that the tower was taught, whatever a picture's shape. */
static int write_square(const struct trainer *t, const char *dir, const char *type, const char *class)
{
    int side = model_image_size(t->model);
    const struct preprocess_facts *f = &t->source.processor;
    unsigned mark = json_mark();
    json_t *pre = json_pack("{s:b,s:b,s:b,s:b,s:o,s:s,s:o,s:s*,s:i,s:f,s:{s:i,s:i}}", "do_convert_rgb", 1, "do_normalize", 1,
                            "do_rescale", 1, "do_resize", 1, "image_mean", triple(f->mean), "image_processor_type",
                            type, "image_std", triple(f->std), "processor_class", class,
                            "resample", 3, "rescale_factor", 1.0 / 255.0, "size", "height", side, "width", side);
    if (!strcmp(type, "CLIPImageProcessor"))
        json_object_set_new(pre, "do_center_crop", json_false());
    int rc = json_check(mark); /* a text that may be absent is left out where memory fails, too */
    if (rc < 0) {
        json_decref(pre);
        return rc;
    }
    return write_object(dir, "preprocessor_config.json", pre);
}

static int write_llava(const struct trainer *t, const char *dir)
{
    TRY(write_square(t, dir, "SiglipImageProcessor", "LlavaProcessor"));
    json_t *proc = json_pack("{s:s,s:i,s:i,s:s,s:s}", "image_token", "<image>", "num_additional_image_tokens", 0, "patch_size",
                             t->model->vision.facts.patch, "processor_class", "LlavaProcessor", "vision_feature_select_strategy",
                             t->model->facts.drop_class ? "default" : "full");
    return write_object(dir, "processor_config.json", proc);
}

static int write_tower(const struct trainer *t, const char *dir)
{
    static const struct { const char *architecture, *type, *class; } rows[] = {
        {"CLIPModel", "CLIPImageProcessor", "CLIPProcessor"}, {"SiglipModel", "SiglipImageProcessor", "SiglipProcessor"},
        {NULL, "ViTImageProcessor", NULL}};
    size_t i = 0;
    while (rows[i].architecture && strcmp(rows[i].architecture, t->model->family->architecture))
        i++;
    return write_square(t, dir, rows[i].type, rows[i].class);
}

static int write_processor(const struct trainer *t, const char *dir)
{
    bool decoder = t->model->family->kind == FAMILY_DECODER;
    if (decoder && !t->model->family->sight)
        return 0;
    if (t->recipe->processor)
        return copy_file(t->recipe->processor, dir, "preprocessor_config.json");
    return decoder ? write_llava(t, dir) : write_tower(t, dir);
}

static int write_own(const struct trainer *t, const char *dir)
{
    char path[4096];
    TRY(write_processor(t, dir));
    if (t->model->family->kind != FAMILY_DECODER)
        return 0;
    json_t *gen = json_pack("{s:b,s:i,s:i,s:i,s:b}", "_from_model_config", 1, "bos_token_id", (int)t->source.bos, "eos_token_id",
                            (int)t->source.eos, "pad_token_id", (int)t->source.pad, "do_sample", 0);
    TRY(write_object(dir, "generation_config.json", gen));
    TRY(path_join(path, sizeof path, dir, "chat_template.jinja"));
    return file_write_durable(path, chat_template, sizeof chat_template - 1);
}

int train_publish(struct trainer *t, const char *dir)
{
    enum dtype dt = DT_BF16;
    const struct recipe_stage *last = &t->recipe->stages[t->recipe->stages_count - 1];
    if (last->decoder_layers && (int)last->decoder_layers < t->model->text.facts.layers)
        TRY(model_truncate(t->model, (int)last->decoder_layers)); /* the others did not take part any more */
    if (t->recipe->tower_neurons && (int)t->recipe->tower_neurons < t->model->vision.facts.intermediate)
        TRY(model_prune_tower(t->model, (int)t->recipe->tower_neurons)); /* the lightest, which say almost nothing */
    if (t->recipe->save_dtype)
        TRY(dtype_parse(span_str(t->recipe->save_dtype), &dt));
    TRY(model_save(t->model, dir, dt));
    if (t->tokenizer && !t->prompts) /* else its folder's files are taken over */
        TRY(tokenizer_save(t->tokenizer, dir));
    return t->prompts || file_is_dir(t->recipe->model) ? copy_beside(t, dir) : write_own(t, dir);
}
