/* The report of a training: its log as curves, SVG inside one HTML file. Loss by step, right answers by kind,
 * learning rate, and speed; stages are marked. Reads the log that the trainer keeps, knows nothing else of it. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/html.h"
#include "formats/json.h"
#include "train/curves.h"

enum { LEFT = 76, WIDTH = 760, HEIGHT = 240, LINES = 24, MARKS = 64, REPORT_BYTES = 16 << 20 };

/* One value for each of WIDTH columns: the mean of what fell into it. */
struct line { char name[32]; double sum[WIDTH]; int n[WIDTH]; };
struct curves {
    double steps;
    struct line loss, rate, norm, speed, eval_loss, kind[LINES];
    int kinds, marks;
    struct { char name[48]; double step; } mark[MARKS];
};

static void put(struct line *l, double at, double value)
{
    int column = (int)(at * (WIDTH - 1) + 0.5);
    if (column < 0 || column >= WIDTH || !isfinite(value))
        return;
    l->sum[column] += value;
    l->n[column]++;
}

static struct line *kind_line(struct curves *c, const char *name)
{
    for (int i = 0; i < c->kinds; i++)
        if (!strcmp(c->kind[i].name, name))
            return &c->kind[i];
    if (c->kinds == LINES)
        return NULL;
    struct line *l = &c->kind[c->kinds++];
    snprintf(l->name, sizeof l->name, "%s", name);
    return l;
}

/* {"step", "eval_loss", kind: percent, ...} */
static void read_score(struct curves *c, const json_t *o, double at)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)o, key, value) {
        struct line *l = !strcmp(key, "eval_loss") ? &c->eval_loss : strcmp(key, "step") ? kind_line(c, key) : NULL;
        if (l)
            put(l, at, json_number_value(value));
    }
}

static void read_step(struct curves *c, const json_t *o, double at)
{
    static const struct { const char *key; size_t line; } rows[] = {
        {"loss", offsetof(struct curves, loss)}, {"rate", offsetof(struct curves, rate)},
        {"grad_norm", offsetof(struct curves, norm)}, {"gflops", offsetof(struct curves, speed)}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const json_t *v = json_object_get(o, rows[i].key);
        if (json_is_number(v))
            put((struct line *)((char *)c + rows[i].line), at, json_number_value(v));
    }
    const char *stage = json_string_value(json_object_get(o, "stage"));
    bool fresh = stage && (!c->marks || strcmp(c->mark[c->marks - 1].name, stage) != 0);
    if (fresh && c->marks < MARKS) {
        snprintf(c->mark[c->marks].name, sizeof c->mark[0].name, "%s", stage);
        c->mark[c->marks++].step = at;
    }
}

static int read_log(struct curves *c, struct span log)
{
    while (log.len) {
        const char *end = memchr(log.ptr, '\n', log.len);
        size_t len = end ? (size_t)(end - log.ptr) : log.len;
        json_t *o;
        TRY(json_parse_span(span_of(log.ptr, len), "log", &o));
        double at = c->steps > 0 ? json_number_value(json_object_get(o, "step")) / c->steps : 0;
        if (json_object_get(o, "eval_loss"))
            read_score(c, o, at);
        else
            read_step(c, o, at);
        json_decref(o);
        log = span_from(log, len + (end != NULL));
    }
    return 0;
}

/* ---- drawing --------------------------------------------------------------------------------- */

struct axis { const char *title, *unit; bool logarithmic; double low, high; };

static double height_of(const struct axis *a, double v)
{
    double low = a->low, high = a->high;
    if (a->logarithmic) {
        low = log10(low);
        high = log10(high);
        v = log10(v > a->low ? v : a->low);
    }
    double share = high > low ? (v - low) / (high - low) : 0;
    return HEIGHT - 20 - (share < 0 ? 0 : share > 1 ? 1 : share) * (HEIGHT - 40);
}

static void range(struct axis *a, const struct line *l)
{
    for (int i = 0; i < WIDTH; i++) {
        double v = l->n[i] ? l->sum[i] / l->n[i] : NAN;
        if (isnan(v) || (a->logarithmic && v <= 0))
            continue;
        a->low = isnan(a->low) || v < a->low ? v : a->low;
        a->high = isnan(a->high) || v > a->high ? v : a->high;
    }
}

static void curve(struct buf *b, const struct axis *a, const struct line *l, int colour)
{
    static const char *const colours[] = {"#2f5d9e", "#d1495b", "#2a9d5c", "#e0a030", "#7b4fb5", "#2aa7b8", "#b0543c",
                                          "#6b8e23", "#d070b0", "#506070", "#9a7b20", "#3070d0", "#c04040"};
    const char *pen = "M";
    buf_printf(b, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" d=\"",
               colours[colour % (int)(sizeof colours / sizeof colours[0])]);
    for (int i = 0; i < WIDTH; i++)
        if (l->n[i]) {
            buf_printf(b, "%s%d %.1f", pen, LEFT + i, height_of(a, l->sum[i] / l->n[i]));
            pen = "L";
        }
    buf_printf(b, "\"><title>%s</title></path>\n", l->name);
}

static void grid(struct buf *b, const struct axis *a, const struct curves *c)
{
    for (int i = 0; i <= 4; i++) {
        double share = i / 4.0, v = a->low + share * (a->high - a->low);
        if (a->logarithmic)
            v = pow(10, log10(a->low) + share * (log10(a->high) - log10(a->low)));
        double y = height_of(a, v);
        buf_printf(b, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"dim\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n",
                   LEFT, y, LEFT + WIDTH, LEFT - 6, y + 5, v);
    }
    for (int i = 0; i < c->marks; i++) {
        double x = LEFT + c->mark[i].step * WIDTH;
        buf_printf(b, "<path class=\"grid\" d=\"M%.1f 20V%d\"/><text class=\"dim\" font-size=\"11\" transform=\"translate(%.1f 24) rotate(90)\">",
                   x, HEIGHT - 20, x + 3);
        html_text(b, c->mark[i].name);
        buf_str(b, "</text>\n");
    }
}

static void chart(struct buf *b, const struct curves *c, struct axis a, const struct line *const *lines, int n)
{
    if (isnan(a.low) || isnan(a.high))
        for (int i = 0; i < n; i++)
            range(&a, lines[i]);
    if (isnan(a.low) || isnan(a.high) || !n)
        return;
    buf_printf(b, "<h2>%s</h2>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s by step\">\n", a.title,
               LEFT + WIDTH + 20, HEIGHT, a.title);
    grid(b, &a, c);
    for (int i = 0; i < n; i++)
        curve(b, &a, lines[i], i);
    buf_printf(b, "<text class=\"dim\" x=\"%d\" y=\"%d\">step 0</text><text class=\"dim\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%.0f</text></svg>\n",
               LEFT, HEIGHT - 4, LEFT + WIDTH, HEIGHT - 4, c->steps);
    if (n > 1 || *a.unit)
        buf_printf(b, "<p class=\"dim\">%s</p>\n", a.unit);
}

static void last_scores(struct buf *b, const struct curves *c)
{
    if (!c->kinds)
        return;
    buf_str(b, "<table><tr><th>kind<th>at the last evaluation, %</tr>\n");
    for (int k = 0; k < c->kinds; k++)
        for (int i = WIDTH - 1; i >= 0; i--)
            if (c->kind[k].n[i]) {
                buf_printf(b, "<tr><td>%s<td>%.1f</tr>\n", c->kind[k].name, c->kind[k].sum[i] / c->kind[k].n[i]);
                break;
            }
    buf_str(b, "</table>\n");
}

static void draw(struct buf *b, const char *name, const struct curves *c)
{
    const struct line *kinds[LINES], *losses[] = {&c->loss, &c->eval_loss};
    for (int k = 0; k < c->kinds; k++)
        kinds[k] = &c->kind[k];
    html_begin(b, name);
    buf_str(b, "<h1>Training ");
    html_text(b, name);
    buf_printf(b, "</h1>\n<p>%.0f steps in %d stages. <a href=\"samples.html\">Answers of the finished model</a></p>\n", c->steps,
               c->marks);
    chart(b, c, (struct axis){"Loss", "blue: training; red: pictures of the validation split", true, NAN, NAN}, losses, 2);
    chart(b, c, (struct axis){"Right answers", "per cent of the validation questions by kind; point at a curve for its name", false, 0, 100},
          kinds, c->kinds);
    last_scores(b, c);
    chart(b, c, (struct axis){"Learning rate", "", false, 0, NAN}, (const struct line *[]){&c->rate}, 1);
    chart(b, c, (struct axis){"Norm of the gradient", "", true, NAN, NAN}, (const struct line *[]){&c->norm}, 1);
    chart(b, c, (struct axis){"Speed", "GFLOP/s", false, NAN, NAN}, (const struct line *[]){&c->speed}, 1);
    buf_str(b, "</html>\n");
}

int train_curves(const char *path, const char *name, struct span log, uint64_t steps)
{
    struct buf b;
    struct curves *c = mem_calloc(MEM_TRAIN, 1, sizeof *c);
    if (!c)
        return NUN_ENOMEM;
    c->steps = (double)steps;
    snprintf(c->loss.name, sizeof c->loss.name, "training");
    snprintf(c->eval_loss.name, sizeof c->eval_loss.name, "validation");
    buf_init(&b, MEM_TRAIN, REPORT_BYTES);
    int rc = read_log(c, log);
    if (rc >= 0) {
        draw(&b, name, c);
        rc = buf_error(&b);
    }
    if (rc >= 0)
        rc = file_write_durable(path, b.ptr, b.len);
    buf_free(&b);
    mem_free(c);
    return rc < 0 ? err_at(rc, "report") : 0;
}
