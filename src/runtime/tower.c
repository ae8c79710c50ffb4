/* Pictures as vectors and as probabilities of classes. A graph is made once for each size and number of pictures;
 * neighbours of one size are computed together. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "runtime/tower_int.h"

#define PUBLIC __attribute__((visibility("default")))

enum { TOGETHER = 8, PLANS_MOST = 16 };

struct tower_plan {
    struct tower_plan *next;
    int n, width, height;        /* pictures and their sides */
    struct arena arena;
    struct graph *graph;
    struct plan *plan;
    struct views in;
    size_t each;                 /* numbers of a picture */
    struct g_tensor *vectors, *logits; /* [n, width], [n, labels] or NULL */
};

/* ---- numbers ------------------------------------------------------------------------------- */

int tower_width(const struct model *m)
{
    const struct nn_stack *v = &m->vision;
    if (m->conv.n_blocks)
        return m->conv.width;
    return v->w[NN_head_w] ? v->facts.projection : nn_dim(&v->facts, 'O');
}

void tower_normalize(float *x, int n)
{
    double square = 0;
    for (int i = 0; i < n; i++)
        square += (double)x[i] * x[i];
    double length = fmax(sqrt(square), 1e-12);
    for (int i = 0; i < n; i++)
        x[i] = (float)(x[i] / length);
}

/* Classes that the model has itself. */
static int own_classes(const struct model *m)
{
    if (m->conv.n_blocks)
        return m->conv.head_w ? m->conv.classes : 0;
    return m->facts.classifies ? m->vision.facts.labels : 0;
}

static void to_probabilities(float *x, int n, bool independent)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (int i = 0; i < n; i++)
        sum += exp(x[i] - most);
    for (int i = 0; i < n; i++)
        x[i] = (float)(independent ? 1 / (1 + exp(-(double)x[i])) : exp(x[i] - most) / sum);
}

static int check_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return err_set(NUN_ENUMERIC, "tower: a state that is no number");
    return 0;
}

/* ---- one graph ----------------------------------------------------------------------------- */

static void plan_drop(struct tower_plan *p)
{
    plan_free(p->plan);
    graph_free(p->graph);
    arena_free(&p->arena);
    mem_free(p);
}

/* Room for n pictures like `like`. */
static int inputs_like(struct tower_plan *p, const struct views *like, int patch)
{
    struct views *v = &p->in;
    *v = *like;
    v->n = p->n;
    p->each = like->patches ? (size_t)like->tokens * 3 * (size_t)patch * (size_t)patch
                            : 3 * (size_t)like->width * (size_t)like->height;
    float *values = arena_array(&p->arena, (size_t)p->n * p->each, sizeof *values);
    v->grids = arena_array(&p->arena, (size_t)p->n, sizeof *v->grids);
    if (!values || !v->grids)
        return NUN_ENOMEM;
    for (int i = 0; i < p->n; i++)
        memcpy(v->grids[i], like->grids[0], sizeof v->grids[i]);
    v->patches = like->patches ? values : NULL;
    v->pixels = like->patches ? NULL : values;
    return 0;
}

static int plan_build(const struct nun_tower *t, struct tower_plan *p, const struct views *like)
{
    const struct model *m = t->m->model;
    struct nn_pictures in;
    struct model_pooled out;
    arena_init(&p->arena, MEM_RUNTIME, 0);
    TRY(inputs_like(p, like, m->vision.facts.patch));
    TRY(graph_create(t->m->compute, t->m->threads, &p->graph));
    views_inputs(p->graph, m, &p->in, &in);
    TRY(model_view(p->graph, m, &in, &out));
    p->vectors = out.embeds ? out.embeds : out.pooled;
    if (!p->vectors) /* a tower without any head: the mean of its states */
        p->vectors = g_mean_pool(p->graph, g_reshape(p->graph, out.hidden, SHAPE3(p->n, g_rows(out.hidden) / p->n, g_last(out.hidden))));
    TRY(graph_error(p->graph));
    if (g_last(p->vectors) != t->width)
        return err_set(NUN_EUNSUP, "tower: vectors of %lld, expected %d", (long long)g_last(p->vectors), t->width);
    g_output(p->vectors);
    if ((p->logits = out.logits))
        g_output(p->logits);
    return plan_create(p->graph, &p->plan);
}

/* Pictures of any shape make many plans; the oldest go. */
static void forget_oldest(struct nun_tower *t)
{
    struct tower_plan **at = &t->plans;
    int n = 0;
    for (; *at; n++)
        if (n + 1 >= PLANS_MOST) {
            struct tower_plan *old = *at;
            *at = old->next;
            plan_drop(old);
        } else {
            at = &(*at)->next;
        }
}

static int plan_for(struct nun_tower *t, int n, const struct views *like, struct tower_plan **out)
{
    for (struct tower_plan *p = t->plans; p; p = p->next)
        if (p->n == n && p->width == like->width && p->height == like->height) {
            *out = p;
            return 0;
        }
    struct tower_plan *p = mem_calloc(MEM_RUNTIME, 1, sizeof *p);
    if (!p)
        return NUN_ENOMEM;
    p->n = n;
    p->width = like->width;
    p->height = like->height;
    int rc = plan_build(t, p, like);
    if (rc < 0) {
        plan_drop(p);
        return rc;
    }
    forget_oldest(t);
    p->next = t->plans;
    t->plans = *out = p;
    return 0;
}

/* ---- pictures ------------------------------------------------------------------------------ */

static int load(const struct nun_image *image, enum image_alpha alpha, struct image *out)
{
    const struct image_options how = {.alpha = alpha, .apply_orientation = true};
    struct buf file;
    if (!image->file)
        return image_decode(span_of(image->bytes, image->len), &how, out);
    buf_init(&file, MEM_RUNTIME, LIMIT_OF(image_file_bytes));
    int rc = file_read(image->file, &file);
    if (rc >= 0 && (rc = image_decode(buf_view(&file), &how, out)) < 0)
        rc = err_at(rc, "%s", image->file);
    buf_free(&file);
    return rc;
}

/* What is done with a picture's vector and logits. */
struct result { bool classify, normalize; float *out; size_t width; };

static int take(const struct nun_tower *t, const struct tower_plan *p, const struct result *r, size_t first)
{
    size_t width = (size_t)t->width;
    for (size_t i = 0; i < (size_t)p->n; i++) {
        float *vector = g_f32(p->vectors) + i * width, *to = r->out + (first + i) * r->width;
        TRY(check_finite(vector, width));
        if (!r->classify) {
            memcpy(to, vector, width * sizeof *to);
            if (r->normalize)
                tower_normalize(to, t->width);
            continue;
        }
        if (t->labels.n)
            tower_scores(t, vector, to);
        else
            memcpy(to, g_f32(p->logits) + i * r->width, r->width * sizeof *to);
        TRY(check_finite(to, r->width));
        to_probabilities(to, (int)r->width, t->independent);
    }
    return 0;
}

static int compute(struct nun_tower *t, const struct views *views, int n, const struct result *r, size_t first)
{
    struct tower_plan *p;
    TRY(plan_for(t, n, &views[0], &p));
    float *to = p->in.patches ? p->in.patches : p->in.pixels;
    for (int i = 0; i < n; i++)
        memcpy(to + (size_t)i * p->each, views[i].patches ? views[i].patches : views[i].pixels, p->each * sizeof *to);
    TRY(exec_run(p->plan, &(struct exec){.pool = t->m->pool}));
    return take(t, p, r, first);
}

/* Pictures of one size that wait to be computed together. */
struct waiting { struct views views[TOGETHER]; int n, width, height; struct arena arena; };

static int flush(struct nun_tower *t, struct waiting *w, const struct result *r, size_t end)
{
    int rc = w->n ? compute(t, w->views, w->n, r, end - (size_t)w->n) : 0;
    w->n = 0;
    arena_reset(&w->arena);
    return rc;
}

static int add(struct nun_tower *t, struct waiting *w, const struct image *img, const struct result *r, size_t at)
{
    int width, height;
    TRY(views_size(t->m, &t->m->preprocess, img, &width, &height));
    if (w->n == TOGETHER || (w->n && (width != w->width || height != w->height)))
        TRY(flush(t, w, r, at));
    w->width = width;
    w->height = height;
    return views_make(t->m, &t->m->preprocess, img, 1, 0, &w->arena, &w->views[w->n++]);
}

static int see_all(struct nun_tower *t, const struct nun_image *images, size_t n, const struct result *r, struct waiting *w)
{
    for (size_t i = 0; i < n; i++) {
        struct image img = {0};
        TRY(load(&images[i], t->m->preprocess.alpha, &img));
        int rc = add(t, w, &img, r, i);
        image_free(&img);
        TRY(rc < 0 && images[i].file ? err_at(rc, "%s", images[i].file) : rc);
    }
    return flush(t, w, r, n);
}

static int see(struct nun_tower *t, const struct nun_image *images, size_t n, const struct result *r)
{
    struct waiting w = {0};
    if (n && (!images || !r->out))
        return err_set(NUN_EARG, "tower: no pictures, or nowhere to put what they give");
    arena_init(&w.arena, MEM_RUNTIME, 0);
    int rc = see_all(t, images, n, r, &w);
    arena_free(&w.arena);
    return rc;
}

/* ---- the door ------------------------------------------------------------------------------ */

PUBLIC int nun_tower_embed(struct nun_tower *t, const struct nun_image *images, size_t n, bool normalize, float *vectors)
{
    return see(t, images, n, &(struct result){.normalize = normalize, .out = vectors, .width = (size_t)t->width});
}

PUBLIC int nun_tower_classify(struct nun_tower *t, const struct nun_image *images, size_t n, float *probabilities)
{
    struct nun_tower_info info;
    nun_tower_info(t, &info);
    if (!info.classes)
        return err_set(t->reads ? NUN_EARG : NUN_EUNSUP, "classify: %s has no classes of its own%s", info.architecture,
                       t->reads ? "; expected labels" : "");
    return see(t, images, n, &(struct result){.classify = true, .out = probabilities, .width = (size_t)info.classes});
}

PUBLIC void nun_tower_info(const struct nun_tower *t, struct nun_tower_info *out)
{
    const struct model *m = t->m->model;
    int own = own_classes(m);
    *out = (struct nun_tower_info){.architecture = m->family->architecture, .width = t->width, .reads = t->reads,
                                   .classes = t->labels.n ? t->labels.n : own, .independent = t->independent};
}

PUBLIC const char *nun_tower_label(const struct nun_tower *t, int i)
{
    struct nun_tower_info info;
    nun_tower_info(t, &info);
    return i < 0 || i >= info.classes ? NULL : t->labels.names[i];
}

/* The classes' own names. */
static int own_labels(struct nun_tower *t)
{
    int n = own_classes(t->m->model);
    char made[32];
    if (!(t->labels.names = arena_array(&t->labels.arena, (size_t)n, sizeof *t->labels.names)))
        return NUN_ENOMEM;
    for (int i = 0; i < n; i++)
        if (!(t->labels.names[i] = arena_strdup(&t->labels.arena, model_label(t->m->model, i, made))))
            return NUN_ENOMEM;
    return 0;
}

static int settle(struct nun_tower *t, const char *folder)
{
    const struct model *m = t->m->model;
    enum family_kind kind = m->family->kind;
    const char *problem = NULL;
    if (kind != FAMILY_VISION && kind != FAMILY_CONV && kind != FAMILY_CONTRASTIVE)
        return err_set(NUN_EUNSUP, "%s: %s is no tower, classifier or pair", folder, m->family->architecture);
    if (!t->m->has_preprocess)
        return err_set(NUN_EUNSUP, "%s: there is no preprocessor_config.json", folder);
    TRY(json_get_string(m->config, "config.json", "problem_type", &problem));
    t->width = tower_width(m);
    t->reads = kind == FAMILY_CONTRASTIVE;
    t->independent = m->facts.sigmoid || (problem && !strcmp(problem, "multi_label_classification"));
    return own_labels(t);
}

PUBLIC int nun_tower_open(const char *folder, const struct nun_model_options *options, struct nun_tower **out)
{
    if (!folder || !out)
        return err_set(NUN_EARG, "nun_tower_open: no folder, or nowhere to put the tower");
    struct nun_tower *t = mem_calloc(MEM_RUNTIME, 1, sizeof *t);
    if (!t)
        return NUN_ENOMEM;
    arena_init(&t->labels.arena, MEM_RUNTIME, 0);
    int rc = nun_model_open(folder, options, &t->m);
    if (rc >= 0)
        rc = settle(t, folder);
    if (rc < 0) {
        nun_tower_close(t);
        return rc;
    }
    *out = t;
    return 0;
}

PUBLIC void nun_tower_close(struct nun_tower *t)
{
    if (!t)
        return;
    while (t->plans) {
        struct tower_plan *next = t->plans->next;
        plan_drop(t->plans);
        t->plans = next;
    }
    tower_texts_free(t);
    arena_free(&t->labels.arena);
    nun_model_close(t->m);
    mem_free(t);
}
