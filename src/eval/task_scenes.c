/* The tasks "scenes" and "scenes-hd": every question of a dataset of pictures, asked alone, answered greedily, judged by the
 * world's rules.
 *
 * A picture is encoded once: the timelines of its first two questions say where prompts begin to differ;
 * what they share is computed once and forked for every question. Answers are made many at a time: a
 * slot that finishes takes the next question at once, so that a long list holds nobody up. Neither
 * changes an answer (nunchi.h: same request, same bytes). */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/seam.h"
#include "base/span.h"
#include "base/err.h"
#include "eval/task.h"
#include "nunchi/data.h"
#include "nunchi/tools.h"

enum { SLOTS_MAX = 256, PATH_BYTES = 4096 };

static const char *const details[] = {"fine", "coarse"};

struct slot {
    struct nun_timeline *timeline;
    struct nun_generation *generation;
    size_t sample;
    int turn;
};

struct asking {
    struct nun_model *model;
    const struct nun_eval_options *o;
    struct eval_samples *samples;
    struct nun_eval_result *out;
    struct nun_dataset *data;
    struct nun_scenes_tally *tally;
    struct slot slot[SLOTS_MAX];
    size_t sample, pictures; /* the next question, and how many pictures to go through */
    int turn;
    size_t base_of;          /* the sample that `base` belongs to, plus one; 0: none */
    struct nun_timeline *base;
    struct buf picture;      /* of that sample, as shown to the model */
    size_t done, total;
    int parsed, parse_asked, right;
    int detail_asked[2], detail_right[2]; /* by what the data says of a question: rows of `details` */
};

/* ---- pictures -------------------------------------------------------------------------------- */

static int degrade(const struct nun_eval_options *o, struct buf *picture)
{
    void *bytes;
    size_t n;
    if (!o->quality && !(o->rescale > 0))
        return 0;
    TRY(nun_image_recode(picture->ptr, picture->len, o->rescale > 0 ? o->rescale : 1, o->quality ? "jpeg" : "png",
                         o->quality, &bytes, &n));
    buf_reset(picture);
    buf_append(picture, bytes, n);
    nun_free(bytes);
    return buf_error(picture);
}

static int load_picture(struct asking *a, size_t sample)
{
    char path[PATH_BYTES];
    if (nun_dataset_images(a->data, sample) != 1)
        return err_set(NUN_EUNSUP, "eval: sample %s: expected one picture, found %d", nun_dataset_id(a->data, sample),
                       nun_dataset_images(a->data, sample));
    TRY(nun_dataset_image_path(a->data, sample, 0, path, sizeof path));
    buf_reset(&a->picture);
    TRY(file_read(path, &a->picture));
    int rc = degrade(a->o, &a->picture);
    return rc < 0 ? err_at(rc, "%s", path) : 0;
}

/* ---- prompts --------------------------------------------------------------------------------- */

static int prompt_of(struct asking *a, size_t sample, int turn, struct nun_timeline **out)
{
    struct nun_data_turn q;
    nun_dataset_turn(a->data, sample, turn, &q);
    struct nun_part part[] = {{.kind = NUN_PART_IMAGE_BYTES, .bytes = a->picture.ptr, .len = a->picture.len},
                              {.kind = NUN_PART_TEXT, .text = q.question}};
    struct nun_message user = {"user", part, 2, NULL};
    struct nun_timeline *t;
    TRY(nun_timeline_create(a->model, &t));
    int rc = nun_timeline_chat(t, &(struct nun_chat){.messages = &user, .n_messages = 1});
    if (rc < 0)
        nun_timeline_free(t);
    else
        *out = t;
    return rc;
}

/* Compute what the prompts of a picture share. */
static int make_base(struct asking *a, size_t sample, const struct nun_timeline *first)
{
    struct nun_timeline *second;
    nun_timeline_free(a->base);
    a->base = NULL;
    a->base_of = sample + 1;
    if (nun_dataset_turns(a->data, sample) < 2)
        return 0;
    TRY(prompt_of(a, sample, 1, &second));
    size_t shared = nun_timeline_common(first, second);
    nun_timeline_free(second);
    TRY(nun_timeline_fork(first, &a->base));
    TRY(nun_timeline_rewind(a->base, shared));
    return shared ? nun_timeline_prefill(a->base) : 0;
}

/* The same prompt on top of the shared state. */
static int onto_base(struct asking *a, const struct nun_timeline *prompt, struct nun_timeline **out)
{
    size_t n, shared = nun_timeline_common(a->base, prompt);
    const int32_t *ids = nun_timeline_tokens(prompt, &n);
    struct nun_timeline *t;
    TRY(nun_timeline_fork(a->base, &t));
    int rc = nun_timeline_rewind(t, shared);
    if (rc >= 0)
        rc = nun_timeline_ids(t, ids + shared, n - shared);
    if (rc < 0)
        nun_timeline_free(t);
    else
        *out = t;
    return rc;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int ask(struct asking *a, struct slot *s, size_t sample, int turn)
{
    struct nun_timeline *prompt = NULL;
    struct nun_generate_options g = {.max_tokens = a->o->max_tokens};
    int rc = 0;
    if (a->base_of != sample + 1)
        rc = load_picture(a, sample);
    if (rc >= 0)
        rc = prompt_of(a, sample, turn, &prompt);
    if (rc >= 0 && a->base_of != sample + 1)
        rc = make_base(a, sample, prompt);
    if (rc >= 0 && a->base) {
        rc = onto_base(a, prompt, &s->timeline);
        nun_timeline_free(prompt);
    } else {
        s->timeline = prompt;
    }
    if (rc >= 0)
        rc = nun_generation_start(s->timeline, &g, &s->generation);
    s->sample = sample;
    s->turn = turn;
    return rc;
}

/* Put the next question into a free slot; 1 when there is none left. */
static int fill(struct asking *a, struct slot *s)
{
    while (a->sample < a->pictures && a->turn >= nun_dataset_turns(a->data, a->sample)) {
        a->sample++;
        a->turn = 0;
    }
    if (a->sample >= a->pictures)
        return 1;
    TRY(ask(a, s, a->sample, a->turn));
    a->turn++;
    return 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool is_json(const char *text, size_t len)
{
    json_t *v = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    json_decref(v);
    return v != NULL;
}

static int kind_of(const char *name)
{
    for (int i = 0; nun_scenes_kind(i); i++)
        if (!strcmp(nun_scenes_kind(i), name))
            return i < NUN_EVAL_KINDS ? i : -1;
    return -1;
}

/* What the model saw, for the report. */
static int keep_picture(struct asking *a, size_t sample, struct eval_sample *e)
{
    struct buf bytes;
    char path[PATH_BYTES];
    TRY(nun_dataset_image_path(a->data, sample, 0, path, sizeof path));
    buf_init(&bytes, MEM_EVAL, LIMIT_OF(image_file_bytes));
    int rc = file_read(path, &bytes);
    if (rc >= 0)
        rc = degrade(a->o, &bytes);
    if (rc >= 0) {
        const char *format = nun_image_format(bytes.ptr, bytes.len);
        void *copy = arena_alloc(&a->samples->arena, bytes.len + 1);
        if (copy)
            memcpy(copy, bytes.ptr, bytes.len);
        e->picture = copy;
        e->picture_bytes = bytes.len;
        e->media = arena_printf(&a->samples->arena, "image/%s", format ? format : "png");
        rc = copy && e->media ? 0 : NUN_ENOMEM;
    }
    buf_free(&bytes);
    return rc;
}

static int keep(struct asking *a, const struct slot *s, const struct nun_data_turn *q, const struct nun_result *r,
                bool right)
{
    struct eval_samples *all = a->samples;
    int kind = kind_of(q->kind), *kept = kind < 0 ? NULL : right ? &all->right[kind] : &all->wrong[kind];
    if (!a->o->report || !kept || *kept >= (right ? EVAL_KEEP_RIGHT : EVAL_KEEP_WRONG))
        return 0;
    struct eval_sample *e = &all->at[all->n];
    *e = (struct eval_sample){
        .id = arena_strdup(&all->arena, nun_dataset_id(a->data, s->sample)), .kind = nun_scenes_kind(kind),
        .question = arena_strdup(&all->arena, q->question), .expected = arena_strdup(&all->arena, q->answer),
        .given = arena_strndup(&all->arena, r->text, r->text_len), .right = right,
        .order = s->sample * 64 + (size_t)s->turn};
    if (!e->id || !e->question || !e->expected || !e->given)
        return NUN_ENOMEM;
    TRY(keep_picture(a, s->sample, e));
    ++*kept;
    all->n++;
    return 0;
}

static int judge(struct asking *a, const struct slot *s, const struct nun_result *r)
{
    struct nun_data_turn q;
    nun_dataset_turn(a->data, s->sample, s->turn, &q);
    int right = nun_scenes_tally_add(a->tally, &q, r->text, r->text_len);
    if (right < 0)
        return err_at(right, "sample %s", nun_dataset_id(a->data, s->sample));
    if (!strcmp(q.kind, "json")) {
        a->parse_asked++;
        a->parsed += is_json(r->text, r->text_len);
    }
    for (int d = 0; d < 2; d++)
        if (q.detail && !strcmp(q.detail, details[d])) {
            a->detail_asked[d]++;
            a->detail_right[d] += right;
        }
    a->right += right;
    a->done++;
    a->out->generated_tokens += r->generated_tokens;
    a->out->prompt_tokens += r->prompt_tokens;
    a->out->cached_tokens += r->cached_tokens;
    return keep(a, s, &q, r, right);
}

static void empty_slot(struct slot *s)
{
    nun_generation_free(s->generation);
    nun_timeline_free(s->timeline);
    *s = (struct slot){0};
}

static int finish(struct asking *a, struct slot *s)
{
    struct nun_result r;
    nun_generation_result(s->generation, &r);
    if (r.finish == NUN_FINISH_NONE)
        return 0;
    const char *id = nun_dataset_id(a->data, s->sample);
    int rc = r.finish == NUN_FINISH_ERROR ? err_set(r.code, "sample %s: %s", id, r.error) : judge(a, s, &r);
    empty_slot(s);
    return rc;
}

/* One step of all slots: fill what is empty, advance, take what is finished. 1 when all is done. */
static int step(struct asking *a)
{
    struct nun_generation *busy[SLOTS_MAX];
    size_t n = 0;
    for (int i = 0; i < a->o->batch; i++) {
        if (!a->slot[i].generation)
            TRY(fill(a, &a->slot[i]));
        if (a->slot[i].generation)
            busy[n++] = a->slot[i].generation;
    }
    if (!n)
        return 1;
    TRY(nun_batch_step(a->model, busy, n));
    for (int i = 0; i < a->o->batch; i++)
        if (a->slot[i].generation)
            TRY(finish(a, &a->slot[i]));
    return 0;
}

static int ask_all(struct asking *a)
{
    int rc = 0;
    uint64_t began = seam_now_ns();
    size_t told = 0;
    while (rc == 0) {
        rc = step(a);
        if (rc == 0 && a->o->progress && a->done != told) {
            told = a->done;
            if (a->o->progress(a->o->arg, "questions", a->done, a->total, (double)a->right / (double)a->done))
                rc = err_set(NUN_ESTOP, "eval: stopped after %zu questions", a->done);
        }
    }
    a->out->seconds = (double)(seam_now_ns() - began) / 1e9;
    for (int i = 0; i < SLOTS_MAX; i++)
        empty_slot(&a->slot[i]);
    nun_timeline_free(a->base);
    return rc < 0 ? rc : 0;
}

/* ---- figures --------------------------------------------------------------------------------- */

static void figures(const struct asking *a)
{
    struct nun_eval_result *r = a->out;
    int asked, right, all_asked = 0, all_right = 0;
    for (int k = 0; nun_scenes_kind(k) && k < NUN_EVAL_KINDS - 2; k++) {
        nun_scenes_tally_kind(a->tally, k, &asked, &right);
        all_asked += asked;
        all_right += right;
        r->kind[r->n_kinds++] = (struct nun_eval_kind){nun_scenes_kind(k), nun_eval_wilson(right, asked)};
    }
    for (int d = 0; d < 2; d++)
        if (a->detail_asked[d])
            r->kind[r->n_kinds++] = (struct nun_eval_kind){details[d], nun_eval_wilson(a->detail_right[d], a->detail_asked[d])};
    for (int k = 1; nun_scenes_negative(k) && r->n_pope < NUN_EVAL_NEGATIVES; k++) {
        struct nun_scenes_pope p;
        if (nun_scenes_tally_pope(a->tally, k, &p))
            r->pope[r->n_pope++] = (struct nun_eval_pope){nun_scenes_negative(k), p.yes, p.no, p.accuracy, p.precision,
                                                          p.recall, p.f1, p.yes_ratio};
    }
    r->all = nun_eval_wilson(all_right, all_asked);
    r->parsed = nun_eval_wilson(a->parsed, a->parse_asked);
    r->pictures = a->pictures;
    r->questions = a->done;
}

static int evaluate(struct asking *a, const char *folder)
{
    TRY(nun_dataset_open(folder, &a->data));
    TRY(nun_scenes_tally_create(&a->tally));
    a->pictures = nun_dataset_count(a->data);
    if (a->pictures > (size_t)a->o->count)
        a->pictures = (size_t)a->o->count;
    for (size_t i = 0; i < a->pictures; i++)
        a->total += (size_t)nun_dataset_turns(a->data, i);
    TRY(ask_all(a));
    figures(a);
    return 0;
}

/* ---- the pictures made for the call ---------------------------------------------------------- */

static void on_picture(void *arg, int done, int count)
{
    const struct nun_eval_options *o = arg;
    if (o->progress && (done % 64 == 0 || done == count))
        o->progress(o->arg, "pictures", (size_t)done, (size_t)count, NAN); /* drawing is short: asking can be stopped */
}

/* Where the pictures will be changed anyway they are drawn without loss, so that it is paid once. */
static int make_pictures(const struct nun_eval_options *o, const char *folder)
{
    return nun_scenes_write(&(struct nun_scenes_options){
        .world = o->task, .folder = folder, .split = o->split, .format = o->quality || o->rescale > 0 ? "png" : NULL, .seed = o->seed,
        .count = o->count, .questions = o->questions, .progress = on_picture, .arg = (void *)(uintptr_t)o});
}

int eval_scenes(struct nun_model *m, const struct nun_eval_options *o, struct eval_samples *samples,
                struct nun_eval_result *out)
{
    struct asking *a = mem_calloc(MEM_EVAL, 1, sizeof *a);
    char made[PATH_BYTES];
    if (!a)
        return NUN_ENOMEM;
    a->model = m;
    a->o = o;
    a->samples = samples;
    a->out = out;
    buf_init(&a->picture, MEM_EVAL, LIMIT_OF(image_file_bytes));
    int rc = 0;
    if (o->batch < 1 || o->batch > SLOTS_MAX)
        rc = err_set(NUN_EARG, "eval: batch: expected 1 to %d, found %d", SLOTS_MAX, o->batch);
    if (rc >= 0 && !o->data)
        rc = path_join(made, sizeof made, o->scratch, o->task);
    if (rc >= 0 && !o->data)
        rc = make_pictures(o, made);
    if (rc >= 0)
        rc = evaluate(a, o->data ? o->data : made);
    nun_scenes_tally_free(a->tally);
    nun_dataset_close(a->data);
    buf_free(&a->picture);
    mem_free(a);
    return rc;
}
