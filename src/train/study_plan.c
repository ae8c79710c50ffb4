/* From a study to its runs: each with a folder, and a recipe of its own beside them, checked before anything is
 * trained. What a run was made from is kept in its folder as a digest, so that a change makes it again. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "train/recipe.h"
#include "train/study_parts.h"

enum { EDITS_MAX = 64 + 64 + 8 };

/* ---- one recipe ------------------------------------------------------------------------------- */

/* With {study} as the study's folder, wherever it stands. */
static const char *filled(struct arena *a, const char *edit, const char *dir)
{
    const char *done = "", *at;
    while (edit && done && (at = strstr(edit, "{study}"))) {
        done = arena_printf(a, "%s%.*s%s", done, (int)(at - edit), edit, dir);
        edit = at + strlen("{study}");
    }
    return done && *done ? arena_printf(a, "%s%s", done, edit) : done ? edit : NULL;
}

static int edits_of(const struct study_plan *p, const struct study_run *r, bool quick, struct arena *a, const char *edits[EDITS_MAX],
                    size_t *n)
{
    *n = 0;
    for (uint32_t i = 0; i < r->spec->set_count; i++)
        edits[(*n)++] = filled(a, r->spec->set[i], p->dir);
    for (uint32_t i = 0; quick && i < p->study->quick->set_count; i++)
        edits[(*n)++] = filled(a, p->study->quick->set[i], p->dir);
    edits[(*n)++] = arena_printf(a, "name = %s", r->name);
    edits[(*n)++] = arena_printf(a, "runs = \"%s\"", r->dir);
    edits[(*n)++] = arena_printf(a, "output = \"%s/model\"", r->dir);
    if (!r->shared)
        edits[(*n)++] = arena_printf(a, "seed = %llu", (unsigned long long)r->seed);
    for (size_t i = 0; i < *n; i++)
        if (!edits[i])
            return NUN_ENOMEM;
    return 0;
}

static int write_text(const char *path, struct span now)
{
    struct buf old;
    buf_init(&old, MEM_TRAIN, LIMIT_OF(recipe_bytes));
    bool same = file_exists(path) && file_read(path, &old) >= 0 && span_eq(buf_view(&old), now);
    buf_free(&old);
    return same ? 0 : file_write_durable(path, now.ptr, now.len);
}

static int count_pictures(struct study_run *r)
{
    struct recipe *recipe;
    TRY(recipe_load(r->recipe, &recipe));
    for (uint32_t i = 0; i < recipe->stages_count; i++)
        r->pictures += recipe->stages[i].pictures;
    recipe_free(recipe);
    return 0;
}

static int write_recipe(const struct study_plan *p, struct study_run *r, bool quick)
{
    const char *edits[EDITS_MAX];
    size_t n;
    struct buf from, to;
    struct arena a;
    arena_init(&a, MEM_TRAIN, 0);
    buf_init(&from, MEM_TRAIN, LIMIT_OF(recipe_bytes));
    buf_init(&to, MEM_TRAIN, LIMIT_OF(recipe_bytes));
    int rc = file_read(r->spec->recipe, &from);
    if (rc >= 0)
        rc = edits_of(p, r, quick, &a, edits, &n);
    if (rc >= 0)
        rc = study_edit(buf_view(&from), r->spec->recipe, edits, n, &to);
    if (rc >= 0)
        rc = write_text(r->recipe, buf_view(&to));
    if (rc >= 0)
        rc = count_pictures(r);
    buf_free(&from);
    buf_free(&to);
    arena_free(&a);
    return rc < 0 ? err_at(rc, "run %s", r->name) : 0;
}

/* ---- all runs --------------------------------------------------------------------------------- */

static int place(const struct study_plan *p, struct study_run *r)
{
    char name[200], recipes[4096];
    snprintf(name, sizeof name, "%s.yaml", r->name);
    TRY(path_join(r->dir, sizeof r->dir, p->dir, r->name));
    TRY(path_join(recipes, sizeof recipes, p->dir, "recipes"));
    TRY(path_join(r->recipe, sizeof r->recipe, recipes, name));
    if (strpbrk(p->dir, "\"\\"))
        return err_set(NUN_EARG, "%s: a study's folder has no quotation marks or backslashes in its name", p->dir);
    for (const struct study_run *other = p->runs; other < r; other++)
        if (!strcmp(other->name, r->name))
            return err_set(NUN_EFORMAT, "two runs would be called %s", r->name);
    return file_mkdirs(recipes);
}

static int expand(struct study_plan *p)
{
    const struct study *s = p->study;
    p->n_runs = s->shared_count + (size_t)s->variants_count * p->n_seeds;
    p->runs = mem_calloc(MEM_TRAIN, p->n_runs, sizeof *p->runs);
    if (!p->runs)
        return NUN_ENOMEM;
    struct study_run *r = p->runs;
    for (uint32_t i = 0; i < s->shared_count; i++, r++) {
        *r = (struct study_run){.spec = &s->shared[i], .shared = true};
        snprintf(r->name, sizeof r->name, "%s", r->spec->name);
        TRY(place(p, r));
    }
    /* seed by seed: after the first there is something to see of every variant */
    for (uint32_t k = 0; k < p->n_seeds; k++)
        for (uint32_t i = 0; i < s->variants_count; i++, r++) {
            *r = (struct study_run){.spec = &s->variants[i], .seed = p->seeds[k]};
            snprintf(r->name, sizeof r->name, "%s-s%llu", r->spec->name, (unsigned long long)r->seed);
            TRY(place(p, r));
        }
    return 0;
}

static int check_only(const struct study_plan *p, const struct nun_study_options *o)
{
    for (size_t k = 0; k < o->n_only; k++) {
        size_t i = 0;
        while (i < p->n_runs && strcmp(p->runs[i].spec->name, o->only[k]) != 0)
            i++;
        if (i == p->n_runs)
            return err_set(NUN_EARG, "%s: no shared run or variant is called \"%s\"", o->study, o->only[k]);
    }
    return 0;
}

int study_plan_make(const struct nun_study_options *o, struct study_plan *out)
{
    *out = (struct study_plan){0};
    TRY(study_load(o->study, &out->study));
    const struct study *s = out->study;
    const char *dir = o->output ? o->output : s->output;
    if (o->quick && !s->quick)
        return err_set(NUN_EARG, "%s: has no quick form (a key `quick`)", o->study);
    out->seeds = o->quick && s->quick->seeds_count ? s->quick->seeds : s->seeds;
    out->n_seeds = o->quick && s->quick->seeds_count ? s->quick->seeds_count : s->seeds_count;
    if (snprintf(out->dir, sizeof out->dir, "%s%s", dir, o->quick ? "/quick" : "") >= (int)sizeof out->dir)
        return err_set(NUN_ELIMIT, "%s: path over %zu bytes", dir, sizeof out->dir - 1);
    TRY(expand(out));
    TRY(check_only(out, o));
    for (size_t i = 0; i < out->n_runs; i++) {
        int rc = write_recipe(out, &out->runs[i], o->quick);
        if (rc < 0)
            return err_at(rc, "%s", o->study);
    }
    return 0;
}

void study_plan_free(struct study_plan *p)
{
    mem_free(p->runs);
    study_free(p->study);
    *p = (struct study_plan){0};
}

/* ---- what a run is made from ------------------------------------------------------------------ */

static int digest_file(struct digest_state *d, const char *path)
{
    struct file_map map;
    TRY(file_map(path, &map));
    digest_update(d, map.ptr, map.len);
    file_unmap(&map);
    return 0;
}

/* The files right inside a folder, by name. */
static int digest_folder(struct digest_state *d, const char *dir)
{
    char **names, path[4096];
    size_t n;
    TRY(file_list(dir, &names, &n));
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        rc = path_join(path, sizeof path, dir, names[i]);
        if (rc < 0 || file_is_dir(path))
            continue;
        digest_update(d, names[i], strlen(names[i]) + 1);
        rc = digest_file(d, path);
    }
    mem_free(names);
    return rc;
}

static int digest_input(struct digest_state *d, const char *path)
{
    return !path ? 0 : file_is_dir(path) ? digest_folder(d, path) : digest_file(d, path);
}

static int digest_inputs(struct digest_state *d, const struct recipe *r)
{
    TRY(digest_input(d, r->model));
    TRY(digest_input(d, r->tokenizer));
    TRY(digest_input(d, r->processor));
    for (uint32_t i = 0; i < r->start_count; i++)
        TRY(digest_input(d, r->start[i].from));
    for (uint32_t k = 0; k < r->stages_count; k++)
        for (uint32_t i = 0; i < r->stages[k].data_count; i++)
            TRY(digest_input(d, r->stages[k].data[i].file));
    return 0;
}

int study_origin(const struct study_run *r, char hex[65])
{
    struct digest_state d;
    struct digest all;
    struct recipe *recipe;
    digest_begin(&d);
    TRY(digest_file(&d, r->recipe));
    TRY(recipe_load(r->recipe, &recipe));
    int rc = digest_inputs(&d, recipe);
    recipe_free(recipe);
    digest_end(&d, &all);
    digest_hex(&all, hex);
    return rc < 0 ? err_at(rc, "run %s", r->name) : 0;
}

int study_state(const struct study_run *r, const char *hex, enum study_state *out)
{
    char path[4096], scores[4096];
    struct buf made_from;
    *out = STUDY_NEW;
    TRY(path_join(path, sizeof path, r->dir, "made-from"));
    TRY(path_join(scores, sizeof scores, r->dir, "scores.json"));
    if (!file_exists(path))
        return 0;
    buf_init(&made_from, MEM_TRAIN, 4096);
    int rc = file_read(path, &made_from);
    if (rc >= 0 && span_is(buf_view(&made_from), hex))
        *out = file_exists(scores) ? STUDY_DONE : STUDY_BEGUN;
    buf_free(&made_from);
    return rc < 0 ? rc : 0;
}
