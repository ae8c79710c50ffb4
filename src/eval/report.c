/* The report of an evaluation: one HTML file with bars and intervals as SVG, POPE's figures, and sample
 * answers with the pictures that the model saw. Everything is inside the file. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "eval/task.h"
#include "base/html.h"

enum { REPORT_BYTES = 64 << 20 };

/* ---- bars ------------------------------------------------------------------------------------ */

enum { BAR_LEFT = 120, BAR_WIDTH = 520, BAR_HEIGHT = 26 };

static void bar(struct buf *b, int row, const char *name, const struct nun_eval_share *s)
{
    double y = row * BAR_HEIGHT + 4, middle = y + 9;
    double low = BAR_LEFT + s->low * BAR_WIDTH, high = BAR_LEFT + s->high * BAR_WIDTH;
    buf_printf(b, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">", BAR_LEFT - 8, middle + 5);
    html_text(b, name);
    buf_printf(b, "</text><rect x=\"%d\" y=\"%.0f\" width=\"%.1f\" height=\"18\" class=\"%s\"/>", BAR_LEFT, y,
               s->share * BAR_WIDTH, !strcmp(name, "all") ? "all" : "bar");
    buf_printf(b, "<path d=\"M%.1f %.0fH%.1fM%.1f %.0fv10M%.1f %.0fv10\" class=\"whisker\"/>", low, middle, high, low,
               middle - 5, high, middle - 5);
    buf_printf(b, "<text x=\"%d\" y=\"%.0f\">%.1f %% <tspan class=\"dim\">%.1f to %.1f, %d of %d</tspan></text>\n",
               BAR_LEFT + BAR_WIDTH + 12, middle + 5, s->share * 100, s->low * 100, s->high * 100, s->right, s->asked);
}

static void bars(struct buf *b, const struct nun_eval_result *r)
{
    int rows = 1, row = 0;
    for (int i = 0; i < r->n_kinds; i++)
        rows += r->kind[i].share.asked > 0;
    buf_printf(b, "<svg viewBox=\"0 0 900 %d\" role=\"img\" aria-label=\"share of right answers by kind\">\n",
               rows * BAR_HEIGHT + 20);
    for (int percent = 0; percent <= 100; percent += 20) {
        int x = BAR_LEFT + percent * BAR_WIDTH / 100, bottom = rows * BAR_HEIGHT;
        buf_printf(b, "<path d=\"M%d 0V%d\" class=\"grid\"/>", x, bottom);
        buf_printf(b, "<text x=\"%d\" y=\"%d\" class=\"dim\" text-anchor=\"middle\">%d</text>", x, bottom + 16,
                   percent);
    }
    for (int i = 0; i < r->n_kinds; i++)
        if (r->kind[i].share.asked > 0)
            bar(b, row++, r->kind[i].name, &r->kind[i].share);
    if (r->all.asked > 0)
        bar(b, row, "all", &r->all);
    buf_str(b, "</svg>\n");
}

/* ---- tables and samples ---------------------------------------------------------------------- */

static void pope(struct buf *b, const struct nun_eval_result *r)
{
    if (!r->n_pope)
        return;
    buf_str(b, "<h2>Existence, as POPE counts it</h2>\n<table><tr><th>absent things are<th>there<th>absent<th>accuracy"
               "<th>precision<th>recall<th>F1<th>yes ratio</tr>\n");
    for (int i = 0; i < r->n_pope; i++) {
        const struct nun_eval_pope *p = &r->pope[i];
        buf_printf(b, "<tr><td>%s<td>%d<td>%d<td>%.2f<td>%.2f<td>%.2f<td>%.2f<td>%.2f</tr>\n", p->name, p->yes, p->no,
                   p->accuracy * 100, p->precision * 100, p->recall * 100, p->f1 * 100, p->yes_ratio * 100);
    }
    buf_str(b, "</table>\n");
}

static int in_order(const void *x, const void *y)
{
    const struct eval_sample *a = x, *b = y;
    int kinds = strcmp(a->kind, b->kind);
    if (kinds)
        return kinds;
    if (a->right != b->right)
        return a->right - b->right;
    return (a->order > b->order) - (a->order < b->order);
}

static void sample(struct buf *b, const struct eval_sample *e)
{
    buf_printf(b, "<figure class=\"%s\"><img alt=\"", e->right ? "right" : "wrong");
    html_text(b, e->id);
    buf_printf(b, "\" src=\"data:%s;base64,", e->media);
    html_base64(b, e->picture, e->picture_bytes);
    buf_str(b, "\"><figcaption><b>");
    html_text(b, e->question);
    buf_printf(b, "</b><br>%s ", e->right ? "✓" : "✗");
    html_text(b, e->given);
    if (!e->right) {
        buf_str(b, "<br><span class=\"dim\">expected: ");
        html_text(b, e->expected);
        buf_str(b, "</span>");
    }
    buf_str(b, "</figcaption></figure>\n");
}

static void sample_list(struct buf *b, const struct eval_samples *samples)
{
    struct eval_sample sorted[sizeof samples->at / sizeof *samples->at];
    memcpy(sorted, samples->at, sizeof sorted);
    qsort(sorted, (size_t)samples->n, sizeof *sorted, in_order);
    buf_str(b, "<h2>Answers</h2>\n<p class=\"dim\">Of each kind the first wrong ones and the first right ones.</p>\n");
    for (int i = 0; i < samples->n; i++) {
        if (i == 0 || strcmp(sorted[i].kind, sorted[i - 1].kind) != 0)
            buf_printf(b, "%s<h3>%s</h3><div class=\"answers\">\n", i ? "</div>" : "", sorted[i].kind);
        sample(b, &sorted[i]);
    }
    buf_str(b, samples->n ? "</div>\n" : "");
}

static void heading(struct buf *b, const struct nun_eval_options *o, const struct nun_model_info *model,
                    const struct nun_eval_result *r)
{
    char title[256];
    snprintf(title, sizeof title, "%s: %s", o->task, path_base(model->folder));
    html_begin(b, title);
    buf_str(b, "<h1>");
    html_text(b, model->folder);
    buf_printf(b, " on %s</h1>\n<p>%zu questions about %zu pictures", o->task, r->questions, r->pictures);
    if (o->data) {
        buf_str(b, " of ");
        html_text(b, o->data);
    } else {
        buf_printf(b, " of split %s, seed %llu", o->split, (unsigned long long)o->seed);
    }
    if (o->rescale > 0)
        buf_printf(b, ", rescaled to %g", o->rescale);
    if (o->quality)
        buf_printf(b, ", as JPEG of quality %d", o->quality);
    buf_printf(b, "; greedy answers. %s, %.1f million parameters. Whiskers are 95 %% Wilson intervals.</p>\n",
               model->architecture, (double)model->parameters / 1e6);
    if (r->parsed.asked)
        buf_printf(b, "<p>Answers asked for as JSON that parse: %d of %d.</p>\n", r->parsed.right, r->parsed.asked);
}

int eval_report(const struct nun_eval_options *o, const struct nun_model_info *model, const struct nun_eval_result *r,
                const struct eval_samples *samples)
{
    struct buf b;
    buf_init(&b, MEM_EVAL, REPORT_BYTES);
    heading(&b, o, model, r);
    bars(&b, r);
    pope(&b, r);
    sample_list(&b, samples);
    buf_str(&b, "</html>\n");
    int rc = buf_error(&b);
    if (rc >= 0)
        rc = file_write_durable(o->report, b.ptr, b.len);
    buf_free(&b);
    return rc < 0 ? err_at(rc, "report") : 0;
}
