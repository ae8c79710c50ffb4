/* A study's numbers for programs (summary.json) and for pages (summary.md). What depends on the machine stands
 * under "measured"; all else is the same whenever the same runs are made. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "formats/json.h"
#include "train/study_parts.h"

enum { PAGE_BYTES = 16 << 20 };

/* ---- JSON ------------------------------------------------------------------------------------- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *estimate(struct study_estimate e)
{
    json_t *o = json_object();
    json_object_set_new(o, "mean", number(e.mean));
    if (e.how != INTERVAL_NONE) {
        json_object_set_new(o, "low", number(e.low));
        json_object_set_new(o, "high", number(e.high));
    }
    json_object_set_new(o, "seeds", json_integer(e.n));
    json_object_set_new(o, "interval", json_string(study_interval_names[e.how]));
    return o;
}

typedef struct study_estimate estimate_of(const struct study_results *r, const struct study_variant *v, const struct study_variant *base,
                                          struct study_slice s);

static struct study_estimate accuracy(const struct study_results *r, const struct study_variant *v, const struct study_variant *base,
                                      struct study_slice s)
{
    return study_accuracy(r, v, s);
}

static struct study_estimate loss(const struct study_results *r, const struct study_variant *v, const struct study_variant *base,
                                  struct study_slice s)
{
    return study_loss(r, v, s);
}

static void set_slice(json_t *o, const char *name, struct study_estimate e)
{
    if (e.n)
        json_object_set_new(o, name, estimate(e));
}

static json_t *slices(const struct study_results *r, const struct study_variant *v, const struct study_variant *base, estimate_of *of)
{
    json_t *o = json_object(), *kinds = json_object();
    set_slice(o, "all", of(r, v, base, (struct study_slice){NULL, PART_ALL}));
    set_slice(o, "fine", of(r, v, base, (struct study_slice){NULL, PART_FINE}));
    set_slice(o, "coarse", of(r, v, base, (struct study_slice){NULL, PART_COARSE}));
    for (int k = 0; k < r->n_kinds; k++)
        set_slice(kinds, r->kinds[k], of(r, v, base, (struct study_slice){r->kinds[k], PART_ALL}));
    json_object_set_new(o, "kinds", kinds);
    return o;
}

static json_t *stages(const struct study_results *r, const struct study_variant *v)
{
    json_t *list = json_array();
    const struct study_scores *s = NULL;
    for (uint32_t k = 0; k < r->plan->n_seeds && !s; k++)
        s = v->by_seed[k];
    for (int i = 0; s && i < s->n_stages; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "stage", json_string(s->stage[i].name));
        json_object_set_new(o, "learnt", json_string(s->stage[i].learnt));
        set_slice(o, "test", study_stage_accuracy(r, v, s->stage[i].name, false));
        set_slice(o, "text", study_stage_accuracy(r, v, s->stage[i].name, true));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *variant(const struct study_results *r, const struct study_variant *v)
{
    json_t *o = json_object(), *seeds = json_array(), *costs = json_object(), *measured = json_object();
    json_object_set_new(o, "name", json_string(v->spec->name));
    json_object_set_new(o, "label", json_string(study_label(v->spec)));
    for (uint32_t k = 0; k < r->plan->n_seeds; k++)
        if (v->by_seed[k])
            json_array_append_new(seeds, json_integer((json_int_t)r->plan->seeds[k]));
    json_object_set_new(o, "seeds", seeds);
    json_object_set_new(o, "right", slices(r, v, NULL, accuracy));
    json_object_set_new(o, "loss", slices(r, v, NULL, loss));
    json_object_set_new(o, "stages", stages(r, v));
    for (size_t c = 0; c < study_costs_count; c++) {
        struct study_estimate e = study_cost_of(r, v, &study_costs[c]);
        if (e.n)
            json_object_set_new(study_costs[c].measured ? measured : costs, study_costs[c].key, estimate(e));
    }
    json_object_set_new(o, "costs", costs);
    json_object_set_new(o, "measured", measured);
    return o;
}

static int group(struct study_results *r, const struct study_group *g, json_t *list)
{
    struct study_members m;
    TRY(study_members_of(r, g, &m));
    json_t *o = json_object(), *names = json_array(), *gains = json_object();
    json_object_set_new(o, "name", json_string(g->name));
    json_object_set_new(o, "baseline", json_string(g->baseline));
    for (int i = 0; i < m.n; i++) {
        json_array_append_new(names, json_string(m.at[i]->spec->name));
        if (m.at[i] != m.baseline)
            json_object_set_new(gains, m.at[i]->spec->name, slices(r, m.at[i], m.baseline, study_gain));
    }
    json_object_set_new(o, "variants", names);
    json_object_set_new(o, "differences", gains);
    return json_array_append_new(list, o) ? err_nomem(0) : 0;
}

int study_summary_json(struct study_results *r, const char *path)
{
    const struct study *s = r->plan->study;
    unsigned mark = json_mark();
    json_t *o = json_object(), *variants = json_array(), *groups = json_array();
    int rc = 0;
    json_object_set_new(o, "study", json_string(s->name));
    json_object_set_new(o, "missing", json_integer((json_int_t)r->missing));
    for (uint32_t i = 0; i < s->variants_count; i++)
        json_array_append_new(variants, variant(r, &r->variants[i]));
    for (uint32_t i = 0; i < s->groups_count && rc >= 0; i++)
        rc = group(r, &s->groups[i], groups);
    json_object_set_new(o, "variants", variants);
    json_object_set_new(o, "groups", groups);
    if (rc >= 0)
        rc = json_check(mark);
    if (rc >= 0)
        rc = json_write_file(path, o);
    json_decref(o);
    return rc;
}

/* ---- Markdown --------------------------------------------------------------------------------- */

static void cell(struct buf *b, const char *text)
{
    for (; *text; text++) {
        if (*text == '|' || *text == '*')
            buf_char(b, '\\');
        buf_char(b, *text);
    }
}

static void table(struct buf *b, const struct study_grid *g)
{
    if (g->rows < 2)
        return;
    buf_printf(b, "### %s\n\n%s.\n\n", g->title, g->note);
    for (int y = 0; y < g->rows; y++) {
        for (int x = 0; x < g->columns; x++) {
            buf_str(b, x ? " | " : "| ");
            cell(b, g->cell[y * g->columns + x]);
        }
        buf_str(b, " |\n");
        for (int x = 0; !y && x < g->columns; x++)
            buf_str(b, x ? "---:|" : "|---|");
        buf_str(b, y ? "" : "\n");
    }
    buf_str(b, "\n");
}

static int page(struct study_results *r, struct buf *b)
{
    const struct study *s = r->plan->study;
    for (uint32_t i = 0; i < s->groups_count; i++) {
        struct study_members m;
        struct study_grid grids[STUDY_GRIDS];
        TRY(study_members_of(r, &s->groups[i], &m));
        TRY(study_grids(r, &m, grids));
        buf_printf(b, "## %s\n\n", s->groups[i].title ? s->groups[i].title : s->groups[i].name);
        for (int k = 0; k < STUDY_GRIDS; k++)
            table(b, &grids[k]);
    }
    return buf_error(b);
}

int study_summary_md(struct study_results *r, const char *path)
{
    struct buf b;
    buf_init(&b, MEM_TRAIN, PAGE_BYTES);
    int rc = page(r, &b);
    if (rc >= 0)
        rc = file_write_durable(path, b.ptr, b.len);
    buf_free(&b);
    return rc < 0 ? err_at(rc, "summary") : 0;
}
