/* The report of a study: one HTML file with everything inside. The same numbers give the same bytes. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/html.h"
#include "train/study_parts.h"

enum { REPORT_BYTES = 64 << 20 };

/* White in dark rooms too: the plots are meant to be copied. */
static const char light[] =
    "<style>:root{color-scheme:light}body{background:#fff;color:#222}text{fill:#222}.dim{fill:#555;color:#555}.grid{stroke:#ddd}\n"
    ".whisker{stroke:#111}td,th{border-color:#ddd}.wide{overflow-x:auto}svg{max-width:760px;font-family:system-ui,sans-serif}</style>\n";

static void paragraph_of_intervals(struct buf *b, const struct study_results *r)
{
    if (r->plan->n_seeds > 1)
        buf_printf(b, "<p>Means over %u seeds with 95 %% intervals of Student's t over the seeds; only one seed is there, or all agree, "
                      "Wilson's interval of the counted answers, and Newcombe's of a difference of two.</p>\n", r->plan->n_seeds);
    else
        buf_str(b, "<p>One seed: 95 % intervals are Wilson's of the counted answers, and Newcombe's of a difference of two. They say "
                   "nothing of what another seed would give.</p>\n");
}

static void heading(struct buf *b, const struct study_results *r)
{
    const struct study *s = r->plan->study;
    html_begin(b, s->name);
    buf_str(b, light);
    buf_str(b, "<h1>Study ");
    html_text(b, s->name);
    buf_printf(b, "</h1>\n<p>%u variants, seeds", s->variants_count);
    for (uint32_t k = 0; k < r->plan->n_seeds; k++)
        buf_printf(b, "%s %llu", k ? "," : "", (unsigned long long)r->plan->seeds[k]);
    buf_printf(b, "; %u shared runs.", s->shared_count);
    if (r->missing)
        buf_printf(b, " <b>%zu runs are not there yet</b> and not part of these numbers.", r->missing);
    buf_str(b, "</p>\n");
    paragraph_of_intervals(b, r);
}

static void table(struct buf *b, const struct study_grid *g)
{
    if (g->rows < 2)
        return;
    buf_str(b, "<h3>");
    html_text(b, g->title);
    buf_str(b, "</h3>\n<p class=\"dim\">");
    html_text(b, g->note);
    buf_str(b, "</p>\n<div class=\"wide\"><table>\n");
    for (int y = 0; y < g->rows; y++) {
        buf_str(b, "<tr>");
        for (int x = 0; x < g->columns; x++) {
            buf_str(b, y ? "<td>" : "<th>");
            html_text(b, g->cell[y * g->columns + x]);
        }
        buf_str(b, "</tr>\n");
    }
    buf_str(b, "</table></div>\n");
}

static const struct study_cost *cost_named(const char *key)
{
    for (size_t i = 0; i < study_costs_count; i++)
        if (!strcmp(study_costs[i].key, key))
            return &study_costs[i];
    return NULL;
}

static int plots(struct buf *b, const struct study_results *r, const struct study_members *m)
{
    static const char *const against[] = {"flops_per_picture", "pictures_per_s", "prefill_pictures_per_s"};
    study_bars(b, r, m);
    for (size_t i = 0; i < sizeof against / sizeof *against; i++) {
        const struct study_cost *c = cost_named(against[i]);
        buf_printf(b, "<h3>Right answers against %s</h3>\n", c->title);
        study_scatter(b, r, m, c);
    }
    buf_str(b, "<h3>Loss of training, run by run</h3>\n<p class=\"dim\">a line a seed; by the share of the steps done</p>\n");
    return study_curves(b, r, m);
}

static int group(struct buf *b, struct study_results *r, const struct study_group *g)
{
    struct study_members m;
    struct study_grid grids[STUDY_GRIDS];
    TRY(study_members_of(r, g, &m));
    TRY(study_grids(r, &m, grids));
    buf_str(b, "<h2>");
    html_text(b, g->title ? g->title : g->name);
    buf_str(b, "</h2>\n");
    TRY(plots(b, r, &m));
    for (int i = 0; i < STUDY_GRIDS; i++)
        table(b, &grids[i]);
    return 0;
}

int study_report_html(struct study_results *r, const char *path)
{
    struct buf b;
    const struct study *s = r->plan->study;
    buf_init(&b, MEM_TRAIN, REPORT_BYTES);
    heading(&b, r);
    int rc = 0;
    for (uint32_t i = 0; i < s->groups_count && rc >= 0; i++)
        rc = group(&b, r, &s->groups[i]);
    buf_str(&b, "</html>\n");
    if (rc >= 0)
        rc = buf_error(&b);
    if (rc >= 0)
        rc = file_write_durable(path, b.ptr, b.len);
    buf_free(&b);
    return rc < 0 ? err_at(rc, "report") : 0;
}
