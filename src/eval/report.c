/* The report of an evaluation: one HTML file with bars and intervals as SVG, POPE's figures, and sample
 * answers with the pictures that the model saw. Everything is inside the file. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "eval/task.h"

enum { REPORT_BYTES = 64 << 20 };

static void escaped(struct buf *b, const char *text)
{
    static const struct { char from; const char *to; } table[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"},
    };
    for (; *text; text++) {
        const char *as = NULL;
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if (*text == table[i].from)
                as = table[i].to;
        if (as)
            buf_str(b, as);
        else
            buf_char(b, *text);
    }
}

static void base64(struct buf *b, const unsigned char *p, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        unsigned v = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0u) | (left > 2 ? p[i + 2] : 0u);
        char four[4] = {digit[v >> 18], digit[v >> 12 & 63], left > 1 ? digit[v >> 6 & 63] : '=',
                        left > 2 ? digit[v & 63] : '='};
        buf_append(b, four, 4);
    }
}

/* ---- bars ------------------------------------------------------------------------------------ */

enum { BAR_LEFT = 120, BAR_WIDTH = 520, BAR_HEIGHT = 26 };

static void bar(struct buf *b, int row, const char *name, const struct nun_eval_share *s)
{
    double y = row * BAR_HEIGHT + 4, middle = y + 9;
    double low = BAR_LEFT + s->low * BAR_WIDTH, high = BAR_LEFT + s->high * BAR_WIDTH;
    buf_printf(b, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">", BAR_LEFT - 8, middle + 5);
    escaped(b, name);
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
    escaped(b, e->id);
    buf_printf(b, "\" src=\"data:%s;base64,", e->media);
    base64(b, e->picture, e->picture_bytes);
    buf_str(b, "\"><figcaption><b>");
    escaped(b, e->question);
    buf_printf(b, "</b><br>%s ", e->right ? "✓" : "✗");
    escaped(b, e->given);
    if (!e->right) {
        buf_str(b, "<br><span class=\"dim\">expected: ");
        escaped(b, e->expected);
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

static const char style[] =
    "<style>\n"
    "body{font:16px/1.45 system-ui,sans-serif;max-width:980px;margin:2em auto;padding:0 1em;color:#222}\n"
    "svg{width:100%;font-size:14px}.bar{fill:#5b8fd6}.all{fill:#2f5d9e}.whisker{stroke:#111;fill:none}\n"
    ".grid{stroke:#ddd}.dim{fill:#777;color:#777}table{border-collapse:collapse}\n"
    "td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}\n"
    "td:first-child,th:first-child{text-align:left}.answers{display:flex;flex-wrap:wrap;gap:1em}\n"
    "figure{width:200px;margin:0;padding:8px;border-radius:8px;border:2px solid #cfe6cf;font-size:14px}\n"
    "figure.wrong{border-color:#e8b4b4}figcaption{overflow-wrap:anywhere}\n"
    "img{width:100%;image-rendering:pixelated;border-radius:4px}\n"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#ddd}.grid{stroke:#444}\n"
    ".whisker{stroke:#eee}td,th{border-color:#444}}\n</style>\n";

static void heading(struct buf *b, const struct nun_eval_options *o, const struct nun_model_info *model,
                    const struct nun_eval_result *r)
{
    buf_str(b, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">"
               "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    escaped(b, o->task);
    buf_str(b, ": ");
    escaped(b, path_base(model->folder));
    buf_printf(b, "</title>\n%s<h1>", style);
    escaped(b, model->folder);
    buf_printf(b, " on %s</h1>\n<p>%zu questions about %zu pictures", o->task, r->questions, r->pictures);
    if (o->data) {
        buf_str(b, " of ");
        escaped(b, o->data);
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
