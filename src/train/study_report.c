/* The report of a study: one HTML file with everything inside, and its pictures once more as files. The same numbers give
 * the same bytes. */
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

/* ---- pictures ---------------------------------------------------------------------------------- */

static const struct study_cost *cost_named(const char *key)
{
    for (size_t i = 0; i < study_costs_count; i++)
        if (!strcmp(study_costs[i].key, key))
            return &study_costs[i];
    return NULL;
}

static int draw_answers(struct buf *b, const struct study_results *r, const struct study_members *m, const char *cost)
{
    (void)cost;
    study_bars(b, r, m);
    return 0;
}

static int draw_against(struct buf *b, const struct study_results *r, const struct study_members *m, const char *cost)
{
    return study_scatter(b, r, m, cost_named(cost));
}

static int draw_losses(struct buf *b, const struct study_results *r, const struct study_members *m, const char *cost)
{
    (void)cost;
    return study_curves(b, r, m);
}

/* The pictures of a group: what they are called as files, and what stands over them on the page. */
static const struct picture {
    const char *name, *over;
    int (*draw)(struct buf *b, const struct study_results *r, const struct study_members *m, const char *cost);
    const char *cost;
} pictures[] = {
    {"answers", "", draw_answers, NULL},
    {"flops", "<h3>Right answers against FLOPs</h3>\n", draw_against, "flops_per_picture"},
    {"training", "<h3>Right answers against the speed of training</h3>\n", draw_against, "pictures_per_s"},
    {"prefill", "<h3>Right answers against the speed of prefill</h3>\n", draw_against, "prefill_pictures_per_s"},
    {"loss", "<h3>Loss of training, run by run</h3>\n<p class=\"dim\">a line a seed; by the share of the steps done</p>\n",
     draw_losses, NULL},
};
enum { PICTURES = sizeof pictures / sizeof *pictures };

/* A picture that stands alone says what it is and brings its style, and white behind it. */
static int write_picture(const struct study_results *r, const struct study_members *m, const struct picture *p, const char *path)
{
    static const char tag[] = "<svg", name_space[] = " xmlns=\"http://www.w3.org/2000/svg\"";
    static const char alone[] = "<style>svg{font:14px system-ui,sans-serif}text{fill:#222}.dim{fill:#555}.grid{stroke:#ddd}"
                                ".whisker{stroke:#111;fill:none}</style><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
    struct buf drawn, file;
    buf_init(&drawn, MEM_TRAIN, REPORT_BYTES);
    buf_init(&file, MEM_TRAIN, REPORT_BYTES);
    int rc = p->draw(&drawn, r, m, p->cost);
    if (rc >= 0)
        rc = buf_error(&drawn);
    if (rc >= 0 && drawn.len) {
        size_t named = strlen(tag), opening = strcspn(buf_cstr(&drawn), "\n") + 1; /* <svg ...> is a line */
        buf_printf(&file, "%s%s", tag, name_space);
        buf_append(&file, drawn.ptr + named, opening - named);
        buf_str(&file, alone);
        buf_append(&file, drawn.ptr + opening, drawn.len - opening);
        rc = buf_error(&file);
        if (rc >= 0)
            rc = file_write_durable(path, file.ptr, file.len);
    }
    buf_free(&drawn);
    buf_free(&file);
    return rc;
}

int study_pictures(struct study_results *r, const char *dir)
{
    const struct study *s = r->plan->study;
    char name[256], path[4096];
    for (uint32_t i = 0; i < s->groups_count; i++) {
        struct study_members m;
        TRY(study_members_of(r, &s->groups[i], &m));
        for (int k = 0; k < PICTURES; k++) {
            snprintf(name, sizeof name, "%.200s-%s.svg", s->groups[i].name, pictures[k].name);
            TRY(path_join(path, sizeof path, dir, name));
            TRY(write_picture(r, &m, &pictures[k], path));
        }
    }
    return 0;
}

/* ---- the page ---------------------------------------------------------------------------------- */

static int group(struct buf *b, struct study_results *r, const struct study_group *g)
{
    struct study_members m;
    struct study_grid grids[STUDY_GRIDS];
    TRY(study_members_of(r, g, &m));
    TRY(study_grids(r, &m, grids));
    buf_str(b, "<h2>");
    html_text(b, g->title ? g->title : g->name);
    buf_str(b, "</h2>\n");
    for (int k = 0; k < PICTURES; k++) {
        buf_str(b, pictures[k].over);
        TRY(pictures[k].draw(b, r, &m, pictures[k].cost));
    }
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
