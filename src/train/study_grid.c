/* The tables of a study's report, as texts: what HTML and Markdown have in common. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "train/study_parts.h"

const char *study_label(const struct study_spec *s)
{
    return s->label ? s->label : s->name;
}

int study_members_of(struct study_results *r, const struct study_group *g, struct study_members *out)
{
    const struct study *s = r->plan->study;
    *out = (struct study_members){.at = arena_array(&r->arena, s->variants_count, sizeof *out->at)};
    if (!out->at)
        return NUN_ENOMEM;
    for (uint32_t i = 0; i < s->variants_count; i++) {
        if (!study_in_group(&s->variants[i], g->name))
            continue;
        out->at[out->n++] = &r->variants[i];
        if (!strcmp(s->variants[i].name, g->baseline))
            out->baseline = &r->variants[i];
    }
    return 0;
}

/* ---- cells ------------------------------------------------------------------------------------ */

static const char *cell_share(struct arena *a, struct study_estimate e)
{
    if (!e.n)
        return "-";
    if (e.how == INTERVAL_NONE)
        return arena_printf(a, "%.1f", e.mean * 100);
    return arena_printf(a, "%.1f [%.1f, %.1f]", e.mean * 100, e.low * 100, e.high * 100);
}

/* In points; a star where the interval leaves zero out. */
static const char *cell_gain(struct arena *a, struct study_estimate e)
{
    if (!e.n)
        return "-";
    if (e.how == INTERVAL_NONE)
        return arena_printf(a, "%+.1f", e.mean * 100);
    return arena_printf(a, "%+.1f [%+.1f, %+.1f]%s", e.mean * 100, e.low * 100, e.high * 100, e.low > 0 || e.high < 0 ? " *" : "");
}

static const char *cell_number(struct arena *a, double x)
{
    static const struct { double from, by; const char *unit; } rows[] = {
        {1e15, 1e15, " P"}, {1e12, 1e12, " T"}, {1e9, 1e9, " G"}, {1e6, 1e6, " M"}, {1e4, 1e3, " k"}};
    if (isnan(x))
        return "-";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (x >= rows[i].from)
            return arena_printf(a, "%.3g%s", x / rows[i].by, rows[i].unit);
    return arena_printf(a, "%.4g", x);
}

/* ---- grids ------------------------------------------------------------------------------------ */

static int grid_start(struct arena *a, struct study_grid *g, const char *title, const char *note, int columns, int most)
{
    *g = (struct study_grid){.title = title, .note = note, .columns = columns};
    g->cell = arena_array(a, (size_t)columns * (size_t)most, sizeof *g->cell);
    return g->cell ? 0 : NUN_ENOMEM;
}

static const char **grid_row(struct study_grid *g, const char *name)
{
    const char **row = g->cell + (size_t)g->rows++ * (size_t)g->columns;
    row[0] = name;
    return row;
}

static void head(struct study_grid *g, const char *first, const struct study_members *m)
{
    const char **row = grid_row(g, first);
    for (int i = 0; i < m->n; i++)
        row[i + 1] = study_label(m->at[i]->spec);
}

typedef const char *cell_of(struct study_results *r, const struct study_members *m, const struct study_variant *v, struct study_slice s);

static const char *accuracy_cell(struct study_results *r, const struct study_members *m, const struct study_variant *v, struct study_slice s)
{
    return cell_share(&r->arena, study_accuracy(r, v, s));
}

static const char *gain_cell(struct study_results *r, const struct study_members *m, const struct study_variant *v, struct study_slice s)
{
    return v == m->baseline ? "0" : cell_gain(&r->arena, study_gain(r, v, m->baseline, s));
}

static const char *loss_cell(struct study_results *r, const struct study_members *m, const struct study_variant *v, struct study_slice s)
{
    struct study_estimate e = study_loss(r, v, s);
    return !e.n                        ? "-"
           : e.how == INTERVAL_STUDENT ? arena_printf(&r->arena, "%.3f [%.3f, %.3f]", e.mean, e.low, e.high)
                                       : arena_printf(&r->arena, "%.3f", e.mean);
}

/* A row of that slice, where any of the variants was asked such questions. */
static void slice_row(struct study_results *r, const struct study_members *m, struct study_grid *g, const char *name, struct study_slice s,
                      cell_of *cell)
{
    int known = 0;
    for (int i = 0; i < m->n; i++)
        known += study_accuracy(r, m->at[i], s).n;
    if (!known)
        return;
    const char **row = grid_row(g, name);
    for (int i = 0; i < m->n; i++)
        row[i + 1] = cell(r, m, m->at[i], s);
}

static void slice_rows(struct study_results *r, const struct study_members *m, struct study_grid *g, cell_of *cell)
{
    head(g, "questions", m);
    slice_row(r, m, g, "all", (struct study_slice){NULL, PART_ALL}, cell);
    for (int k = 0; k < r->n_kinds; k++)
        slice_row(r, m, g, r->kinds[k], (struct study_slice){r->kinds[k], PART_ALL}, cell);
}

static void part_rows(struct study_results *r, const struct study_members *m, struct study_grid *g, cell_of *cell)
{
    static const struct { enum study_part part; const char *name; } parts[] = {{PART_FINE, "fine"}, {PART_COARSE, "coarse"}};
    head(g, "questions", m);
    for (int k = -1; k < r->n_kinds; k++) {
        const char *kind = k < 0 ? NULL : r->kinds[k];
        int fine = 0;
        for (int i = 0; i < m->n; i++)
            fine += study_accuracy(r, m->at[i], (struct study_slice){kind, PART_FINE}).n;
        for (size_t p = 0; fine && p < sizeof parts / sizeof *parts; p++)
            slice_row(r, m, g, arena_printf(&r->arena, "%s, %s", kind ? kind : "all", parts[p].name),
                      (struct study_slice){kind, parts[p].part}, cell);
    }
}

static void cost_rows(struct study_results *r, const struct study_members *m, struct study_grid *g)
{
    head(g, "of the last stage", m);
    for (size_t c = 0; c < study_costs_count; c++) {
        const struct study_cost *cost = &study_costs[c];
        const char **row = grid_row(g, cost->measured ? arena_printf(&r->arena, "%s (measured)", cost->title) : cost->title);
        for (int i = 0; i < m->n; i++)
            row[i + 1] = cell_number(&r->arena, study_cost_of(r, m->at[i], cost).mean);
    }
}

static const struct study_scores *first_run(const struct study_results *r, const struct study_variant *v)
{
    for (uint32_t k = 0; k < r->plan->n_seeds; k++)
        if (v->by_seed[k])
            return v->by_seed[k];
    return NULL;
}

/* A line a stage: what learnt in it, and what it left of seeing and of words. */
static void stage_rows(struct study_results *r, const struct study_members *m, struct study_grid *g)
{
    static const char *const names[] = {"variant", "stage", "learnt", "with the picture", "told in words"};
    const char **row = grid_row(g, names[0]);
    for (int i = 1; i < g->columns; i++)
        row[i] = names[i];
    for (int i = 0; i < m->n; i++) {
        const struct study_scores *s = first_run(r, m->at[i]);
        for (int k = 0; s && k < s->n_stages; k++) {
            row = grid_row(g, study_label(m->at[i]->spec));
            row[1] = s->stage[k].name;
            row[2] = *s->stage[k].learnt ? s->stage[k].learnt : "nothing";
            row[3] = cell_share(&r->arena, study_stage_accuracy(r, m->at[i], s->stage[k].name, false));
            row[4] = cell_share(&r->arena, study_stage_accuracy(r, m->at[i], s->stage[k].name, true));
        }
    }
}

static bool grid_whole(const struct study_grid *g)
{
    for (int i = 0; i < g->rows * g->columns; i++)
        if (!g->cell[i])
            return false;
    return true;
}

int study_grids(struct study_results *r, const struct study_members *m, struct study_grid out[STUDY_GRIDS])
{
    struct arena *a = &r->arena;
    int columns = m->n + 1, kinds = 2 * r->n_kinds + 4, stages = 1;
    for (int i = 0; i < m->n; i++)
        stages += first_run(r, m->at[i]) ? first_run(r, m->at[i])->n_stages : 0;
    TRY(grid_start(a, &out[0], "Right answers", "per cent of the questions after the last stage", columns, kinds));
    slice_rows(r, m, &out[0], accuracy_cell);
    const char *note = arena_printf(a, "points against %s, paired by seed; a star marks intervals without zero",
                                    study_label(m->baseline->spec));
    TRY(grid_start(a, &out[1], "Differences", note ? note : "", columns, kinds));
    slice_rows(r, m, &out[1], gain_cell);
    TRY(grid_start(a, &out[2], "Fine and coarse questions", "per cent right", columns, kinds));
    part_rows(r, m, &out[2], accuracy_cell);
    TRY(grid_start(a, &out[3], "What it costs", "means over seeds; measured figures depend on the machine and the hour", columns,
                   (int)study_costs_count + 1));
    cost_rows(r, m, &out[3]);
    static const char lower[] = "cross-entropy of the right answers after the last stage, nats a token: less is better";
    TRY(grid_start(a, &out[5], "Loss", lower, columns, kinds));
    slice_rows(r, m, &out[5], loss_cell);
    TRY(grid_start(a, &out[6], "Loss, fine and coarse", lower, columns, kinds));
    part_rows(r, m, &out[6], loss_cell);
    TRY(grid_start(a, &out[4], "Stage by stage",
                   "per cent right, shown the picture and told in words what is in it: text-only ability before and after", 5, stages));
    stage_rows(r, m, &out[4]);
    for (int i = 0; i < STUDY_GRIDS; i++)
        if (!note || !grid_whole(&out[i]))
            return NUN_ENOMEM;
    return 0;
}
