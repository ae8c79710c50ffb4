/* What a recipe begins with: tokenizer, processor, world, and a model of random weights, of a folder's, or of both. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "models/tags.h"
#include "runtime/engine.h"
#include "train/start.h"
#include "train/talk.h"
#include "train/trainer.h"

enum { CORPUS_PICTURES = 3000, VOCAB = 512 };

static const struct tok_special special[] = {{"<s>", TOK_BOS}, {"</s>", TOK_EOS}, {"<pad>", TOK_PAD},
                                             {"<image>", TOK_NO_ROLE}, {"<|user|>", TOK_NO_ROLE}, {"<|assistant|>", TOK_NO_ROLE}};

static const struct task_text conversation = {special, sizeof special / sizeof special[0], true, false};

/* What the first stage that reads text reads; NULL: none does. */
static int text_of(const struct recipe *r, const struct task_text **out)
{
    *out = NULL;
    for (uint32_t i = 0; i < r->stages_count && !*out; i++) {
        const struct train_task *task;
        TRY(stage_task(&r->stages[i], &task));
        if (!task->wordless)
            *out = task->text ? task->text : &conversation;
    }
    return 0;
}

static bool from_folder(const struct recipe *r)
{
    return file_is_dir(r->model);
}

/* The recipe's, the folder's, or one trained on what the world says. */
static int make_tokenizer(struct trainer *t)
{
    const struct recipe *r = t->recipe;
    const struct world *w = &t->source.world;
    const struct task_text *text;
    TRY(text_of(r, &text));
    if (!text)
        return 0;
    if (r->tokenizer || from_folder(r))
        return tokenizer_load(r->tokenizer ? r->tokenizer : r->model, &t->tokenizer);
    struct tok_train how = {.vocab_size = r->vocab ? r->vocab : VOCAB, .special = text->special,
                            .n_special = text->n_special, .pattern = w->row->pattern, .add_bos = text->add_bos, .add_eos = text->add_eos};
    struct buf corpus;
    buf_init(&corpus, MEM_TRAIN, LIMIT_OF(text_bytes));
    int rc = w->row->corpus(w, CORPUS_PICTURES, &corpus);
    struct span words = buf_view(&corpus);
    if (rc >= 0)
        rc = tokenizer_train_bpe(&words, 1, &how, &t->tokenizer);
    buf_free(&corpus);
    return rc;
}

/* The recipe's, the folder's, or that of one square. */
static int make_processor(struct trainer *t, int side)
{
    struct preprocess_facts *f = &t->source.processor;
    const struct recipe *r = t->recipe;
    if (r->processor)
        return preprocess_load(r->processor, f);
    if (from_folder(r))
        return preprocess_open(r->model, PREPROCESS_PICTURES, f);
    TRY(preprocess_default("SiglipImageProcessor", f));
    f->size = (struct preprocess_sides){.height = side, .width = side};
    t->source.square = true;
    return 0;
}

/* What the recipe's config leaves to the tokenizer: the vocabulary's size, the placeholder, what tags are in it. */
static int fit_config(const struct trainer *t, json_t *config)
{
    unsigned mark = json_mark();
    json_t *text = json_object_get(config, "text_config");
    const char *placeholder = json_object_get(config, "image_token_id") ? "image_token_id" : "image_token_index";
    int32_t image = tokenizer_id_of(t->tokenizer, SPAN("<image>"));
    json_object_set_new(text ? text : config, "vocab_size", json_integer((json_int_t)tokenizer_vocab_size(t->tokenizer)));
    if (text && image >= 0)
        json_object_set_new(config, placeholder, json_integer(image));
    TRY(json_check(mark));
    return tags_fit(config, t->recipe->model, t->tokenizer);
}

/* Random weights for the recipe's config, whose vocabulary is the tokenizer's. */
static int make_random(struct trainer *t, json_t *config)
{
    if (t->tokenizer)
        TRY(fit_config(t, config));
    TRY(model_init(config, t->recipe->seed, &t->model));
    return start_apply(t->model, t->recipe);
}

/* Does it learn in any stage? What never does needs no gradient and no state. */
static bool learns(const struct g_param *p, void *arg)
{
    const struct trainer *t = arg;
    bool any = false;
    for (uint32_t i = 0; i < t->recipe->stages_count; i++)
        any = any || stage_learns(t->model, &t->recipe->stages[i], p);
    return any;
}

/* Side of the pictures that the config's tower takes; 0: it says none. */
static int side_of(const json_t *config, const char *place, int *out)
{
    int64_t side = 0;
    const json_t *vision = NULL;
    TRY(json_get_object(config, place, "vision_config", &vision));
    TRY(json_get_int(vision ? vision : config, place, "image_size", 1, 1 << 16, &side));
    *out = (int)side;
    return 0;
}

static int config_of(const struct recipe *r, json_t **out)
{
    char path[4096];
    if (!from_folder(r))
        return json_load_file_limited(r->model, out);
    TRY(path_join(path, sizeof path, r->model, "config.json"));
    return json_load_file_limited(path, out);
}

const char *train_folder(const struct trainer *t)
{
    return from_folder(t->recipe) ? t->recipe->model : t->recipe->tokenizer;
}

static bool talks(const struct recipe *r)
{
    for (uint32_t i = 0; i < r->stages_count; i++)
        if (r->stages[i].data_count)
            return true;
    return false;
}

/* What the random weights are made for is as the config says it: the folder's tokenizer has to fit. */
static int make_talker(struct trainer *t, json_t *config)
{
    if (!recipe_draws(t->recipe))
        TRY(from_folder(t->recipe) ? model_load(t->recipe->model, &t->model) : model_init(config, t->recipe->seed, &t->model));
    if (!recipe_draws(t->recipe) && !from_folder(t->recipe))
        TRY(start_apply(t->model, t->recipe));
    if ((int)tokenizer_vocab_size(t->tokenizer) > nn_ids(&t->model->text.facts))
        log_warn("the tokenizer has %zu ids, the model %d", tokenizer_vocab_size(t->tokenizer), nn_ids(&t->model->text.facts));
    return engine_open_prompts(t->model, train_folder(t), &t->prompts);
}

/* Stages that learn from files alone: no world, and whatever tokens the folder's template writes. */
static int make_from_files(struct trainer *t, json_t *config)
{
    if (!from_folder(t->recipe) && !t->recipe->tokenizer)
        return err_set(NUN_EFORMAT, "recipe %s: conversations need a folder with tokenizer, chat template and processor: `tokenizer`, or "
                                    "`model` itself", t->recipe->name);
    TRY(make_tokenizer(t));
    TRY(make_talker(t, config));
    return model_make_trainable(t->model, learns, t);
}

static int make_all(struct trainer *t, json_t *config)
{
    int side;
    if (!recipe_draws(t->recipe))
        return make_from_files(t, config);
    TRY(side_of(config, t->recipe->model, &side));
    TRY(world_open(t->recipe->world, t->recipe->seed, side, &t->source.world));
    TRY(make_tokenizer(t));
    t->source.tok = t->tokenizer;
    if (side)
        TRY(make_processor(t, side));
    TRY(from_folder(t->recipe) ? model_load(t->recipe->model, &t->model) : make_random(t, config));
    if (talks(t->recipe) && !train_folder(t))
        return err_set(NUN_EFORMAT, "recipe %s: conversations need a folder with tokenizer, chat template and processor", t->recipe->name);
    if (talks(t->recipe))
        TRY(make_talker(t, config));
    return model_make_trainable(t->model, learns, t);
}

int train_make_parts(struct trainer *t)
{
    json_t *config;
    TRY(config_of(t->recipe, &config));
    int rc = make_all(t, config);
    json_decref(config);
    if (rc >= 0)
        rc = talk_check(t);
    return rc;
}
