/* Conversations as they are learnt: the prompt is that of serving, the learnt tokens are the answers, the loss is what the
 * served model's logits say, and packing shows in neither loss nor gradients. Over a folder of our own, and over folders of
 * other families where they are. Runs from the project's root. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../check.h"
#include "../torture.h"
#include "base/file.h"
#include "formats/safetensors.h"
#include "train/talk.h"

#define FIXTURES "../shared/fixtures/"
#define OWN "build/test-talk/start"
#define RECIPE "tests/data/train/talk.yaml"
#define RUNS "build/test-talk/runs"
#define OUT "build/test-talk/model"

enum { SAMPLES = 6, TOKENS = 4096 };

static struct recipe_data pictures = {(char *)"tests/data/train/talk.json", (char *)"tests/data", 0};
static struct recipe_data texts = {(char *)"tests/data/train/talk.jsonl", NULL, 0};

/* A trainer of one stage that learns from one file with everything. */
struct school {
    struct recipe_stage stage;
    struct recipe recipe;
    struct nun_train_options options;
    struct trainer t;
};

static void school_open(struct school *s, const char *model, const char *tokenizer, struct recipe_data *data)
{
    *s = (struct school){
        .stage = {.name = (char *)"talk", .task = (char *)"conversations", .pictures = 16, .batch = SAMPLES, .tokens = TOKENS, .lr = 1e-3f,
                  .data = data, .eval_data = data, .data_count = 1, .eval_data_count = 1},
        .recipe = {.name = (char *)"talk", .model = (char *)model, .tokenizer = (char *)tokenizer, .compute = (char *)"f32", .seed = 3,
                   .stages_count = 1}};
    s->recipe.stages = &s->stage;
    s->t = (struct trainer){.options = &s->options, .recipe = &s->recipe};
    check_ok(pool_create(2, &s->t.pool));
    check_ok(train_make_parts(&s->t));
    check_ok(model_pack(s->t.model, GEMM_F32, true, s->t.pool));
    stage_set_learning(&s->t, &s->stage);
}

static void school_close(struct school *s)
{
    engine_close_prompts(s->t.prompts);
    model_free(s->t.model);
    tokenizer_free(s->t.tokenizer);
    pool_free(s->t.pool);
}

static bool absent(const char *folder)
{
    if (!file_is_dir(folder))
        print_message("no %s: skipped\n", folder);
    return !file_is_dir(folder);
}

/* ---- what is learnt ------------------------------------------------------------------------------ */

/* The learnt tokens of the sample as text, special tokens left out. */
static void learnt_text(const struct nun_model *m, const struct talk *t, struct buf *out)
{
    struct ids ids = {0};
    buf_init(out, MEM_TEST, 1 << 16);
    for (int i = 0; i < t->tokens; i++)
        if (t->learnt[i])
            check_ok(ids_push(&ids, t->line->ids.at[i]));
    check_ok(tokenizer_decode(m->tokenizer, ids.at, ids.n, TOK_SKIP_SPECIAL, out));
    ids_free(&ids);
}

/* Letters and digits of s, so that blanks and what a template writes around answers do not count. */
static void plain(const char *s, char *out)
{
    for (; *s; s++)
        if (*s > ' ')
            *out++ = *s;
    *out = 0;
}

static void answers_are_learnt(const struct nun_model *m, const struct data_sample *s, const struct talk *t)
{
    struct buf text, all;
    char wanted[1024], found[1024];
    int ends = 0;
    learnt_text(m, t, &text);
    buf_init(&all, MEM_TEST, sizeof wanted);
    for (int i = 0; i < s->turns; i++)
        buf_str(&all, s->turn[i].answer);
    plain(buf_cstr(&all), wanted);
    plain(buf_cstr(&text), found);
    buf_free(&all);
    assert_string_equal(found, wanted);
    for (int i = 0; i < t->tokens; i++)
        ends += t->learnt[i] && tokenizer_is_special(m->tokenizer, t->line->ids.at[i]);
    assert_true(ends >= 1 && ends <= s->turns + 1); /* at least the last answer is ended, each by its template or all by one */
    buf_free(&text);
}

/* What the serving door makes of the first question. */
static void begins_as_served(struct nun_model *served, const struct dataset *d, const struct data_sample *s, const struct talk *t)
{
    struct nun_timeline *line;
    char path[4][4096];
    struct nun_part part[5] = {0};
    int n = s->turn[0].images;
    struct nun_message message[2] = {{0}};
    struct nun_part system = {.text = s->system};
    for (int i = 0; i < n; i++) {
        check_ok(dataset_image_path(d, s, i, path[i], sizeof path[i]));
        part[i] = (struct nun_part){.kind = NUN_PART_IMAGE_FILE, .text = path[i]};
    }
    part[n].text = s->turn[0].question;
    message[0] = (struct nun_message){.role = "system", .parts = &system, .n_parts = 1};
    message[s->system != NULL] = (struct nun_message){.role = "user", .parts = part, .n_parts = (size_t)n + 1};
    check_ok(nun_timeline_create(served, &line));
    check_ok(nun_timeline_chat(line, &(struct nun_chat){.messages = message, .n_messages = 1 + (s->system != NULL)}));
    size_t first = 0;
    while (!t->learnt[first])
        first++;
    assert_true(line->ids.n >= first && line->ids.n <= first + 2); /* the last tokens may join with the answer */
    assert_memory_equal(line->ids.at, t->line->ids.at, first * sizeof(int32_t));
    for (int i = 0; i < n; i++) /* also what they read, where they read the question */
        assert_memory_equal(&line->placed[i].picture->identity, &t->line->placed[i].picture->identity, sizeof(struct digest));
    nun_timeline_free(line);
}

/* ---- the loss ------------------------------------------------------------------------------------ */

/* Sum over the learnt tokens of -log p, from logits of the served model. */
static double served_loss(struct nun_model *m, struct talk *t)
{
    size_t V = (size_t)m->model->text.facts.vocab, n = (size_t)t->tokens;
    float *logits = malloc(n * V * sizeof *logits);
    double loss = 0;
    engine_lock(m);
    timeline_follow_length(t->line);
    check_ok(timeline_see(t->line, (int64_t)n));
    for (int64_t at = 0, to; at < (int64_t)n; at = to) {
        to = timeline_chunk_end(t->line, at, m->chunk);
        check_ok(engine_run(m, &(struct engine_span){t->line, at, to, NULL, logits + (size_t)at * V}, 1));
    }
    engine_unlock(m);
    for (size_t i = 1; i < n; i++) {
        if (!t->learnt[i])
            continue;
        const float *row = logits + (i - 1) * V;
        double most = row[0], sum = 0;
        for (size_t v = 1; v < V; v++)
            most = row[v] > most ? row[v] : most;
        for (size_t v = 0; v < V; v++)
            sum += exp(row[v] - most);
        loss += log(sum) + most - row[t->line->ids.at[i]];
    }
    free(logits);
    return loss;
}

static double run_row(struct school *s, struct train_graph *g, float share)
{
    g->share->data = &share;
    check_ok(exec_run(g->plan, &(struct exec){.pool = s->t.pool}));
    return (double)g_f32(g->loss)[0];
}

static void zero_gradients(struct model *m)
{
    for (int i = 0; i < m->n_params; i++)
        if (m->params[i]->grad)
            memset(m->params[i]->grad, 0, (size_t)g_count(&(struct g_tensor){.shape = m->params[i]->shape}) * 4);
}

static size_t take_gradients(const struct model *m, float *out)
{
    size_t all = 0;
    for (int i = 0; i < m->n_params; i++) {
        size_t n = (size_t)g_count(&(struct g_tensor){.shape = m->params[i]->shape});
        if (m->params[i]->grad && out)
            memcpy(out + all, m->params[i]->grad, n * sizeof *out);
        all += m->params[i]->grad ? n : 0;
    }
    return all;
}

/* Samples [0, n) in rows of at most `each`: the loss over all labels, and its gradient. */
static double learn_rows(struct school *s, int n, int each, double labels, float *gradients)
{
    struct stage_run r;
    double loss = 0;
    int rows = 0;
    check_ok(stage_open(&s->t, &s->stage, true, SCENE_TRAIN, &r));
    zero_gradients(s->t.model);
    for (int at = 0; at < n; rows++) {
        struct train_graph *g;
        r.end = (uint64_t)(at + each < n ? at + each : n);
        check_ok(r.task->fill(&r, (uint64_t)at, &g));
        assert_true(g->rows > 0 && g->rows <= each && g->weight > 0);
        loss += run_row(s, g, (float)(g->weight / labels)) * g->weight / labels;
        at += g->rows;
    }
    assert_true(each > 1 ? rows < n : rows == n);
    take_gradients(s->t.model, gradients);
    stage_close(&r);
    return loss;
}

/* The loss of all samples in file order, as evaluation has it. */
static double evaluated(struct school *s, int n)
{
    struct train_score score;
    check_ok(train_evaluate(&s->t, &s->stage, SCENE_VAL, 0, n, &score));
    assert_int_equal(score.pictures, n);
    return score.loss;
}

static void packing_does_not_show(struct school *s, int n, double labels, const char *name)
{
    size_t values = take_gradients(s->t.model, NULL);
    float *alone = malloc(values * sizeof *alone), *packed = malloc(values * sizeof *packed);
    double a = learn_rows(s, n, 1, labels, alone), b = learn_rows(s, n, n, labels, packed), norm = 0, diff = 0;
    for (size_t i = 0; i < values; i++) {
        norm += (double)alone[i] * alone[i];
        diff += ((double)alone[i] - packed[i]) * ((double)alone[i] - packed[i]);
    }
    print_message("%-16s loss %.6f alone, %.6f packed; gradients differ by %.1e of their norm\n", name, a, b, sqrt(diff / norm));
    assert_true(fabs(a - b) < 2e-6 * a);
    assert_true(norm > 0 && sqrt(diff / norm) < 2e-5);
    free(alone);
    free(packed);
}

/* name: for the report. served: the folder as it is served. */
static void is_learnt_as_served(const char *name, const char *model, const char *tokenizer, struct recipe_data *data)
{
    struct school s;
    struct nun_model *served;
    struct dataset *d;
    double loss = 0, labels = 0;
    school_open(&s, model, tokenizer, data);
    served = s.t.prompts;
    if (!tokenizer)
        check_ok(nun_model_open(model, &(struct nun_model_options){.compute = NUN_F32, .threads = 2}, &served));
    check_ok(dataset_open(data->file, data->pictures, &d));
    int n = (int)dataset_count(d);
    for (int i = 0; i < n; i++) {
        struct talk t;
        check_ok(talk_make(served, d, dataset_at(d, (size_t)i), TOKENS, &t));
        assert_string_equal(t.cut, "");
        answers_are_learnt(served, dataset_at(d, (size_t)i), &t);
        if (dataset_at(d, (size_t)i)->images == dataset_at(d, (size_t)i)->turn[0].images) /* several may be cut otherwise than one */
            begins_as_served(served, d, dataset_at(d, (size_t)i), &t);
        labels += t.labels;
        loss += tokenizer ? 0 : served_loss(served, &t);
        talk_free(&t);
    }
    double ours = evaluated(&s, n);
    if (!tokenizer) {
        print_message("%-16s loss %.6f, of served logits %.6f\n", name, ours, loss / labels);
        assert_true(fabs(ours - loss / labels) < 2e-5 * ours);
        nun_model_close(served);
    }
    packing_does_not_show(&s, n, labels, name);
    dataset_close(d);
    school_close(&s);
}

/* ---- families ------------------------------------------------------------------------------------ */

static void families_that_see(void **state)
{
    static const char *const names[] = {"llava", "llava-next", "llava-onevision", "qwen2-vl", "internvl-hf", "idefics3", "smolvlm",
                                        "mllama", "gemma3"};
    char folder[256];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(folder, sizeof folder, FIXTURES "%s", names[i]);
        if (!absent(folder))
            is_learnt_as_served(names[i], folder, NULL, &pictures);
    }
}

/* Those whose pictures come before all text cannot be served one that comes later. */
static void families_whose_pictures_are_first(void **state)
{
    static const char *const names[] = {"blip2", "instructblip"};
    static struct recipe_data first = {(char *)"build/test-talk/first.json", (char *)"tests/data", 0};
    char folder[256];
    json_t *all;
    check_ok(json_load_file_limited(pictures.file, &all));
    json_array_remove(all, 4); /* the sample "later" */
    check_ok(file_mkdirs("build/test-talk"));
    check_ok(json_write_file(first.file, all));
    json_decref(all);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(folder, sizeof folder, FIXTURES "%s", names[i]);
        if (!absent(folder))
            is_learnt_as_served(names[i], folder, NULL, &first);
    }
}

static void our_own(void **state)
{
    is_learnt_as_served("our own", OWN, NULL, &pictures);
    is_learnt_as_served("text alone", "tests/data/train/talk-llama.json", OWN, &texts);
}

/* Random weights for a family's config, with the vocabulary of our own tokenizer: text alone. States of recurrent layers, windows
 * and experts do not know of neighbours either. */
static void families_of_text(void **state)
{
    static const char *const names[] = {"jamba", "mamba2", "falcon-h1", "rwkv", "zamba2", "recurrent-gemma", "gemma2", "mixtral", "deepseek-v3"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *config;
        snprintf(path, sizeof path, FIXTURES "%s/config.json", names[i]);
        if (!file_exists(path)) {
            print_message("no %s: skipped\n", path);
            continue;
        }
        check_ok(json_load_file_limited(path, &config));
        json_object_set_new(config, "vocab_size", json_integer(400));
        snprintf(path, sizeof path, "build/test-talk/%s.json", names[i]);
        check_ok(json_write_file(path, config));
        json_decref(config);
        is_learnt_as_served(names[i], path, OWN, &texts);
    }
}

/* ---- whole runs ---------------------------------------------------------------------------------- */

static int train(const char *recipe, int threads, bool resume, uint64_t stop_after)
{
    return nun_train(&(struct nun_train_options){.recipe = recipe, .threads = threads, .resume = resume, .stop_after = stop_after});
}

static void read_whole(const char *path, struct buf *out)
{
    buf_init(out, MEM_TEST, 64u << 20);
    check_ok(file_read(path, out));
}

static void same_files(const char *a, const char *b)
{
    struct buf x, y;
    read_whole(a, &x);
    read_whole(b, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.ptr, y.ptr, x.len);
    buf_free(&x);
    buf_free(&y);
}

static void fresh(void)
{
    if (file_exists(RUNS))
        check_ok(file_remove_tree(RUNS));
}

/* A run on one thread, for the others to be compared with. */
static void first_run(void **state)
{
    fresh();
    check_ok(train(RECIPE, 1, false, 0));
    struct buf b;
    read_whole(OUT "/model.safetensors", &b);
    check_ok(file_write_durable("build/test-talk/first.safetensors", b.ptr, b.len));
    buf_free(&b);
    read_whole(RUNS "/log.jsonl", &b);
    assert_non_null(strstr(buf_cstr(&b), "eval_loss"));
    assert_non_null(strstr(buf_cstr(&b), "\"stage\": \"both\""));
    buf_free(&b);
}

static void same_bytes_for_any_threads(void **state)
{
    fresh();
    check_ok(train(RECIPE, 2, false, 0));
    same_files(OUT "/model.safetensors", "build/test-talk/first.safetensors");
}

static void resume_is_the_same_run(void **state)
{
    for (uint64_t stop = 1; stop < 6; stop += 2) { /* between checkpoints, and in both stages */
        fresh();
        assert_int_equal(train(RECIPE, 2, false, stop), NUN_ESTOP);
        check_ok(train(RECIPE, 2, true, 0));
        same_files(OUT "/model.safetensors", "build/test-talk/first.safetensors");
    }
}

/* Of tensors whose names begin so: are their bytes those of the folder that was begun from? */
static void compare_tensors(const char *part, bool equal)
{
    struct safetensors *before, *after;
    int n = 0;
    size_t bytes;
    check_ok(st_open(OWN "/model.safetensors", &before));
    check_ok(st_open(OUT "/model.safetensors", &after));
    for (size_t i = 0; i < st_count(before); i++) {
        const struct st_tensor *a = st_at(before, i), *b = st_find(after, span_str(a->name));
        if (!span_starts(span_str(a->name), span_str(part)))
            continue;
        assert_non_null(b);
        assert_true(a->dtype == DT_BF16 && b->dtype == DT_BF16);
        size_t values;
        check_ok(shape_count(&a->shape, &values));
        check_ok(dtype_bytes(a->dtype, values, &bytes));
        assert_true(!equal == (memcmp(a->data, b->data, bytes) != 0));
        n++;
    }
    assert_true(n > 2);
    st_close(before);
    st_close(after);
}

/* What never learns stays as it lies in its file, in the finished folder too, and no checkpoint has it. */
static void frozen_weights_stay(void **state)
{
    struct ckpt_store *store;
    struct ckpt_info info;
    struct safetensors *st;
    char path[4096];
    compare_tensors("vision_tower.", true);
    compare_tensors("multi_modal_projector.", false);
    compare_tensors("language_model.model.layers.", false);
    check_ok(ckpt_open(RUNS, 2, &store));
    check_ok(ckpt_latest(store, &info));
    check_ok(path_join(path, sizeof path, info.path, "model.safetensors"));
    check_ok(st_open(path, &st));
    int learnt = 0;
    for (size_t i = 0; i < st_count(st); i++) {
        learnt += span_starts(span_str(st_at(st, i)->name), SPAN("language_model."));
        assert_false(span_starts(span_str(st_at(st, i)->name), SPAN("vision_tower.")));
    }
    assert_true(learnt > 10);
    st_close(st);
    ckpt_close(store);
}

/* A checkpoint over other frozen weights is not gone on from. */
static void other_frozen_weights_are_refused(void **state)
{
    const char *copy = "build/test-talk/start/model.safetensors";
    struct buf b;
    struct safetensors *st;
    fresh();
    assert_int_equal(train(RECIPE, 2, false, 1), NUN_ESTOP);
    check_ok(st_open(copy, &st));
    const struct st_tensor *t = st_find(st, SPAN("vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight"));
    assert_non_null(t);
    struct span at = span_of(t->data, 64);
    read_whole(copy, &b);
    char *found = memmem(b.ptr, b.len, at.ptr, at.len);
    st_close(st);
    assert_non_null(found);
    found[0] ^= 1;
    check_ok(file_write_durable(copy, b.ptr, b.len));
    check_fails(NUN_EFORMAT, "frozen weights", train(RECIPE, 2, true, 0));
    found[0] ^= 1;
    check_ok(file_write_durable(copy, b.ptr, b.len));
    buf_free(&b);
}

/* The finished folder has the files of the one that was begun from, and answers. */
static void the_folder_is_whole(void **state)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json",
                                        "processor_config.json", "generation_config.json", "chat_template.jinja"};
    char a[256], b[256];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(a, sizeof a, OWN "/%s", names[i]);
        snprintf(b, sizeof b, OUT "/%s", names[i]);
        same_files(a, b);
    }
    struct nun_model *m;
    struct nun_timeline *t;
    struct nun_part part[] = {{.kind = NUN_PART_IMAGE_FILE, .text = "tests/data/media/444.jpg"}, {.text = "Is it dark?"}};
    struct nun_message user = {"user", part, 2, NULL};
    check_ok(nun_model_open(OUT, NULL, &m));
    check_ok(nun_timeline_create(m, &t));
    check_ok(nun_timeline_chat(t, &(struct nun_chat){.messages = &user, .n_messages = 1}));
    check_ok(nun_timeline_prefill(t));
    nun_timeline_free(t);
    nun_model_close(m);
}

/* The first and the last loss of held-out data in the log. */
static void losses(const char *path, double *first, double *last)
{
    static const char key[] = "\"eval_loss\": ";
    struct buf b;
    *first = *last = 0;
    read_whole(path, &b);
    for (const char *at = buf_cstr(&b); (at = strstr(at, key)); ) {
        *last = strtod(at += sizeof key - 1, NULL);
        *first = *first > 0 ? *first : *last;
    }
    buf_free(&b);
}

/* A decoder without any weights to begin from learns the few answers by heart, and says them. */
static void text_is_learnt(void **state)
{
    const char *const runs = "build/test-talk/text-runs";
    double first, last;
    struct nun_model *m;
    struct nun_timeline *t;
    struct nun_part part = {.text = "Say a word."};
    struct nun_message user = {"user", &part, 1, NULL};
    struct nun_result answer;
    if (file_exists(runs))
        check_ok(file_remove_tree(runs));
    check_ok(train("tests/data/train/talk-text.yaml", 2, false, 0));
    losses("build/test-talk/text-runs/log.jsonl", &first, &last);
    print_message("held-out loss %.4f, then %.4f\n", first, last);
    assert_true(first > 0 && last > 0 && last < 0.02 * first + 0.05);
    check_ok(nun_model_open("build/test-talk/text", NULL, &m));
    check_ok(nun_timeline_create(m, &t));
    check_ok(nun_timeline_chat(t, &(struct nun_chat){.messages = &user, .n_messages = 1}));
    check_ok(nun_generate(t, &(struct nun_generate_options){.max_tokens = 20}, &answer));
    assert_int_equal(answer.text_len, 4);
    assert_memory_equal(answer.text, "word", 4);
    nun_timeline_free(t);
    nun_model_close(m);
}

/* ---- order --------------------------------------------------------------------------------------- */

/* Every pass shows every sample once, each in an order of its own; and a number is the same sample whenever it is asked for. */
static void passes_are_shuffled(void **state)
{
    enum { PASSES = 40 };
    struct talk_set *set;
    const struct dataset *d;
    const struct data_sample *s[PASSES * SAMPLES], *again;
    int orders = 0;
    check_ok(talk_set_open(&pictures, 1, true, 9, &set));
    assert_int_equal(talk_set_count(set), SAMPLES);
    for (int i = 0; i < PASSES * SAMPLES; i++)
        talk_set_at(set, (uint64_t)i, &d, &s[i]);
    for (int p = 0; p < PASSES; p++) {
        unsigned seen = 0;
        for (int i = 0; i < SAMPLES; i++)
            seen |= 1u << (s[p * SAMPLES + i] - dataset_at(d, 0));
        assert_int_equal(seen, (1u << SAMPLES) - 1);
        orders += p && memcmp(s, s + p * SAMPLES, SAMPLES * sizeof *s) != 0;
    }
    assert_true(orders > PASSES / 2);
    for (int i = PASSES * SAMPLES - 1; i >= 0; i -= 7) {
        talk_set_at(set, (uint64_t)i, &d, &again);
        assert_ptr_equal(again, s[i]);
    }
    talk_set_close(set);
}

static void weights_are_shares(void **state)
{
    struct recipe_data two[] = {pictures, texts};
    struct talk_set *set;
    const struct dataset *d, *first = NULL;
    const struct data_sample *s;
    int of_first = 0;
    two[0].weight = 1;
    two[1].weight = 3;
    check_ok(talk_set_open(two, 2, true, 9, &set));
    for (uint64_t i = 0; i < 400; i++) {
        talk_set_at(set, i, &d, &s);
        first = strstr(dataset_path(d), "talk.json") && !strstr(dataset_path(d), "jsonl") ? d : first;
        of_first += d == first;
    }
    assert_int_equal(of_first, 100);
    talk_set_close(set);
}

/* ---- what is refused, what is cut ---------------------------------------------------------------- */

/* A recipe that is the one on disk with `old` replaced by `new`. */
static int train_changed(const char *old, const char *new)
{
    struct buf b, changed;
    read_whole(RECIPE, &b);
    buf_init(&changed, MEM_TEST, 1 << 20);
    const char *at = strstr(buf_cstr(&b), old);
    assert_non_null(at);
    buf_append(&changed, b.ptr, (size_t)(at - b.ptr));
    buf_str(&changed, new);
    buf_str(&changed, at + strlen(old));
    check_ok(file_write_durable("build/test-talk/changed.yaml", changed.ptr, changed.len));
    buf_free(&b);
    buf_free(&changed);
    return train("build/test-talk/changed.yaml", 2, false, 1);
}

static void bad_recipes_are_refused(void **state)
{
    const char data[] = "[\n{\"id\":\"a\",\"image\":\"nowhere.png\",\"conversations\":[{\"from\":\"human\",\"value\":\"<image>?\"},"
                        "{\"from\":\"gpt\",\"value\":\"b\"}]},\n{\"id\":\"c\",\"conversations\":[{\"from\":\"human\",\"value\":"
                        "\"<image>?\"},{\"from\":\"gpt\",\"value\":\"b\"}]}\n]\n";
    check_ok(file_write_durable("build/test-talk/bad.json", data, sizeof data - 1));
    fresh();
    check_fails(NUN_EFORMAT, "2 problems", train_changed("tests/data/train/talk.json, pictures: tests/data}", "build/test-talk/bad.json}"));
    check_fails(NUN_EIO, "nowhere.json", train_changed("tests/data/train/talk.json, ", "tests/data/nowhere.json, "));
    check_fails(NUN_EFORMAT, "tokens 0", train_changed("    tokens: 320\n", ""));
    check_fails(NUN_EFORMAT, "expected one of them", train_changed("    samples: 12\n", ""));
    check_fails(NUN_EFORMAT, "none at all", train_changed(", weight: 0.4", ""));
    check_fails(NUN_EFORMAT, "learns from its data", train_changed("    task: conversations\n", ""));
}

/* Too long for a row: the last questions go, and it is said. */
static void long_ones_are_cut(void **state)
{
    struct school s;
    struct dataset *d;
    struct talk whole, cut;
    school_open(&s, OWN, NULL, &pictures);
    check_ok(dataset_open(pictures.file, pictures.pictures, &d));
    const struct data_sample *turns = dataset_at(d, 1);
    check_ok(talk_make(s.t.prompts, d, turns, TOKENS, &whole));
    check_ok(talk_make(s.t.prompts, d, turns, whole.tokens - 1, &cut));
    assert_non_null(strstr(cut.cut, "sample turns"));
    assert_non_null(strstr(cut.cut, "1 of 3 questions"));
    assert_true(cut.tokens > 10 && cut.tokens < whole.tokens && cut.labels > 0);
    assert_memory_equal(cut.line->ids.at, whole.line->ids.at, (size_t)cut.tokens * sizeof(int32_t));
    talk_free(&cut);
    check_ok(talk_make(s.t.prompts, d, turns, 8, &cut));
    assert_null(cut.line);
    assert_non_null(strstr(cut.cut, "3 of 3 questions"));
    talk_free(&cut);
    talk_free(&whole);
    dataset_close(d);
    school_close(&s);
}

/* What would be a picture or an end when a template wrote it is text when a question says it. */
static void typed_marks_stay_text(void **state)
{
    struct school s;
    struct dataset *d;
    struct talk t;
    school_open(&s, OWN, NULL, &pictures);
    check_ok(dataset_open(pictures.file, pictures.pictures, &d));
    const struct nun_model *m = s.t.prompts;
    check_ok(talk_make(s.t.prompts, d, dataset_at(d, 5), TOKENS, &t));
    int ends = 0, places = 0;
    for (int i = 0; i < t.tokens; i++) {
        ends += t.line->ids.at[i] == tokenizer_role(m->tokenizer, TOK_EOS);
        places += t.line->ids.at[i] == m->model->facts.image_token;
    }
    assert_int_equal(ends, 1); /* of the answer; the question says "</s>" too */
    assert_int_equal(places, t.line->placed[0].picture->n_tokens);
    talk_free(&t);
    dataset_close(d);
    school_close(&s);
}

static int fill_once(void *arg)
{
    struct school *s = arg;
    struct stage_run r;
    struct train_graph *g;
    int rc = stage_open(&s->t, &s->stage, true, SCENE_TRAIN, &r);
    r.end = 3;
    if (rc >= 0)
        rc = r.task->fill(&r, 0, &g);
    stage_close(&r);
    return rc;
}

/* Whichever allocation fails, the row is refused with a sentence, and nothing is left behind. */
static void no_memory_is_told(void **state)
{
    struct school s;
    school_open(&s, OWN, NULL, &pictures);
    uint64_t n = torture_run("a row of conversations", fill_once, &s, 3);
    print_message("%llu allocations, a third of them failed in turn\n", (unsigned long long)n);
    assert_true(n > 100);
    school_close(&s);
}

static int begin(void **state)
{
    if (file_exists("build/test-talk/start-runs") && file_remove_tree("build/test-talk/start-runs") < 0)
        return -1;
    int rc = train("tests/data/train/talk-start.yaml", 2, false, 0);
    if (rc < 0)
        print_error("%s\n", nun_error());
    return rc < 0 ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own), cmocka_unit_test(families_that_see), cmocka_unit_test(families_of_text),
        cmocka_unit_test(families_whose_pictures_are_first), cmocka_unit_test(first_run),
        cmocka_unit_test(same_bytes_for_any_threads), cmocka_unit_test(resume_is_the_same_run), cmocka_unit_test(frozen_weights_stay),
        cmocka_unit_test(the_folder_is_whole), cmocka_unit_test(text_is_learnt), cmocka_unit_test(passes_are_shuffled),
        cmocka_unit_test(weights_are_shares), cmocka_unit_test(bad_recipes_are_refused), cmocka_unit_test(long_ones_are_cut),
        cmocka_unit_test(typed_marks_stay_text), cmocka_unit_test(no_memory_is_told),
        cmocka_unit_test(other_frozen_weights_are_refused)};
    return cmocka_run_group_tests(tests, begin, NULL);
}
