/* The pictures of a study's report, as SVG: bars with whiskers, scatter, curves of the loss. Dark text on white;
 * nothing is said by colour alone. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/html.h"
#include "formats/json.h"
#include "train/study_parts.h"

static const char *colour(int i)
{
    static const char *const colours[] = {"#2f5d9e", "#d1495b", "#2a9d5c", "#e0a030", "#7b4fb5", "#2aa7b8", "#b0543c", "#6b8e23",
                                          "#d070b0", "#506070", "#9a7b20", "#3070d0"};
    return colours[i % (int)(sizeof colours / sizeof *colours)];
}

static void begin(struct buf *b, int width, int height, const char *shows)
{
    buf_printf(b, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", width, height);
    html_text(b, shows);
    buf_str(b, "\">\n");
}

static double within(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* ---- bars ------------------------------------------------------------------------------------- */

enum { BAR_LEFT = 250, BAR_WIDTH = 430, BAR_STEP = 22, BAR_GAP = 14 };

static void bar(struct buf *b, double y, const char *name, int hue, struct study_estimate e)
{
    double middle = y + 9;
    buf_printf(b, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">", BAR_LEFT - 8, middle + 5);
    html_text(b, name);
    buf_str(b, "</text>");
    if (!e.n)
        return;
    buf_printf(b, "<rect x=\"%d\" y=\"%.0f\" width=\"%.1f\" height=\"17\" fill=\"%s\"/>", BAR_LEFT, y, e.mean * BAR_WIDTH, colour(hue));
    double end = e.mean;
    if (e.how != INTERVAL_NONE) {
        double low = BAR_LEFT + within(e.low, 0, 1) * BAR_WIDTH, high = BAR_LEFT + within(e.high, 0, 1) * BAR_WIDTH;
        end = within(e.high, e.mean, 1);
        buf_printf(b, "<path d=\"M%.1f %.0fH%.1fM%.1f %.0fv10M%.1f %.0fv10\" class=\"whisker\"/>", low, middle, high, low, middle - 5,
                   high, middle - 5);
    }
    buf_printf(b, "<text x=\"%.0f\" y=\"%.0f\">%.1f %%</text>\n", BAR_LEFT + end * BAR_WIDTH + 8, middle + 5, e.mean * 100);
}

static bool asked_any(const struct study_results *r, const struct study_members *m, struct study_slice s)
{
    for (int i = 0; i < m->n; i++)
        if (study_accuracy(r, m->at[i], s).n)
            return true;
    return false;
}

/* A block of bars for each kind: its name, then the variants. */
void study_bars(struct buf *b, const struct study_results *r, const struct study_members *m)
{
    int blocks = 0;
    for (int k = -1; k < r->n_kinds; k++)
        blocks += asked_any(r, m, (struct study_slice){k < 0 ? NULL : r->kinds[k], PART_ALL});
    int height = blocks * ((m->n + 1) * BAR_STEP + BAR_GAP), bottom = height + 4;
    begin(b, 760, height + 28, "right answers by kind and variant");
    for (int percent = 0; percent <= 100; percent += 20) {
        int x = BAR_LEFT + percent * BAR_WIDTH / 100;
        buf_printf(b, "<path d=\"M%d 0V%d\" class=\"grid\"/><text x=\"%d\" y=\"%d\" class=\"dim\" text-anchor=\"middle\">%d %%</text>\n", x,
                   bottom, x, bottom + 18, percent);
    }
    double y = 0;
    for (int k = -1; k < r->n_kinds; k++) {
        struct study_slice s = {k < 0 ? NULL : r->kinds[k], PART_ALL};
        if (!asked_any(r, m, s))
            continue;
        buf_printf(b, "<text x=\"0\" y=\"%.0f\" font-weight=\"bold\">", y + 16);
        html_text(b, k < 0 ? "all questions" : r->kinds[k]);
        buf_str(b, "</text>\n");
        for (int i = 0; i < m->n; i++)
            bar(b, y + (i + 1) * BAR_STEP, study_label(m->at[i]->spec), i, study_accuracy(r, m->at[i], s));
        y += (m->n + 1) * BAR_STEP + BAR_GAP;
    }
    buf_str(b, "</svg>\n");
}

/* ---- scatter ---------------------------------------------------------------------------------- */

enum { PLOT_LEFT = 64, PLOT_TOP = 16, PLOT_WIDTH = 620, PLOT_HEIGHT = 280 };
struct axis { double low, high; };

static void widen(struct axis *a, double x)
{
    if (!isfinite(x))
        return;
    a->low = isnan(a->low) || x < a->low ? x : a->low;
    a->high = isnan(a->high) || x > a->high ? x : a->high;
}

static void margins(struct axis *a, double least)
{
    double room = fmax((a->high - a->low) * 0.12, least);
    a->low -= room;
    a->high += room;
}

static double at_x(struct axis a, double x) { return PLOT_LEFT + (x - a.low) / (a.high - a.low) * PLOT_WIDTH; }
static double at_y(struct axis a, double y) { return PLOT_TOP + (1 - (within(y, a.low, a.high) - a.low) / (a.high - a.low)) * PLOT_HEIGHT; }

/* The largest of 1, 2, 5 times a power of ten that gives at least three steps. */
static double tick_step(struct axis a)
{
    double span = a.high - a.low, power = pow(10, floor(log10(span)));
    static const double tries[] = {1, 0.5, 0.2, 0.1};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        if (span / (power * tries[i]) >= 3)
            return power * tries[i];
    return power * 0.1;
}

static void frame(struct buf *b, struct axis x, struct axis y, double y_scale, const char *x_name, const char *y_name)
{
    double step = tick_step(y);
    for (double v = ceil(y.low / step) * step; v <= y.high; v += step)
        buf_printf(b, "<path d=\"M%d %.1fh%d\" class=\"grid\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n", PLOT_LEFT,
                   at_y(y, v), PLOT_WIDTH, PLOT_LEFT - 6, at_y(y, v) + 5, fabs(v) < step / 2 ? 0 : v * y_scale);
    step = tick_step(x);
    for (double v = ceil(x.low / step) * step; v <= x.high; v += step)
        buf_printf(b, "<path d=\"M%.1f %dv%d\" class=\"grid\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>\n", at_x(x, v),
                   PLOT_TOP, PLOT_HEIGHT, at_x(x, v), PLOT_TOP + PLOT_HEIGHT + 18, fabs(v) < step / 2 ? 0 : v);
    buf_printf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", PLOT_LEFT + PLOT_WIDTH / 2, PLOT_TOP + PLOT_HEIGHT + 38);
    html_text(b, x_name);
    buf_printf(b, "</text><text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">", PLOT_TOP + PLOT_HEIGHT / 2);
    html_text(b, y_name);
    buf_str(b, "</text>\n");
}

enum { DOT = 6, LETTER = 8, LINE = 16 };
struct box { double left, right, top, bottom; };
struct mark { double x, y; struct box whole, label; const char *name; }; /* a dot; whole: with its whisker */

static bool apart(const struct box *a, const struct box *b)
{
    return a->right <= b->left || b->right <= a->left || a->bottom <= b->top || b->bottom <= a->top;
}

static struct box dot_box(const struct mark *m)
{
    return (struct box){m->x - DOT, m->x + DOT, m->y - DOT, m->y + DOT};
}

/* How far below a mark its label may end, the best first, on either side. */
static const double label_down[] = {-8, 22, 7, -24, 38, -40, 54, -56, 70};
enum { PLACES = 2 * sizeof label_down / sizeof *label_down };

static struct box label_at(const struct mark *m, int place)
{
    double width = LETTER * (double)strlen(m->name), bottom = m->y + label_down[place / 2];
    bool before = (m->x > PLOT_LEFT + PLOT_WIDTH * 0.6) == (place % 2 == 0);
    double left = before ? m->x - DOT - 4 - width : m->x + DOT + 4;
    return (struct box){left, left + width, bottom - LINE, bottom};
}

/* Where the label of mark i stands: where it hides nothing, else only whiskers. */
static struct box label_place(const struct mark *marks, int n, int i)
{
    for (int k = 0; k < 2 * PLACES; k++) {
        struct box at = label_at(&marks[i], k % PLACES);
        bool fits = at.left >= PLOT_LEFT && at.right <= PLOT_LEFT + PLOT_WIDTH + 20 && at.top >= 0 && at.bottom <= PLOT_TOP + PLOT_HEIGHT;
        for (int j = 0; j < n && fits; j++) {
            struct box taken = k < PLACES ? marks[j].whole : dot_box(&marks[j]);
            fits = apart(&at, &taken) && (j >= i || apart(&at, &marks[j].label));
        }
        if (fits)
            return at;
    }
    return label_at(&marks[i], 0);
}

static void dot(struct buf *b, struct axis x, struct axis y, const char *hue, struct mark *m, double cost, struct study_estimate e)
{
    m->x = at_x(x, cost);
    m->y = at_y(y, e.mean);
    m->whole = dot_box(m);
    if (e.how != INTERVAL_NONE) {
        m->whole.top = fmin(m->whole.top, at_y(y, e.high));
        m->whole.bottom = fmax(m->whole.bottom, at_y(y, e.low));
        buf_printf(b, "<path d=\"M%.1f %.1fV%.1f\" class=\"whisker\"/>", m->x, at_y(y, e.low), at_y(y, e.high));
    }
    buf_printf(b, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" fill=\"%s\"/>\n", m->x, m->y, DOT, hue);
}

static void label(struct buf *b, const struct mark *m)
{
    bool left = m->label.left < m->x;
    buf_printf(b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", left ? m->label.right : m->label.left, m->label.bottom - 3,
               left ? "end" : "start");
    html_text(b, m->name);
    buf_str(b, "</text>\n");
}

/* In thousands, millions, ... so that ticks stay short. */
static double unit_of(double high, const char **name)
{
    static const struct { double by; const char *name; } rows[] = {
        {1e12, "10^12 "}, {1e9, "10^9 "}, {1e6, "10^6 "}, {1e3, "10^3 "}};
    *name = "";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (high >= 10 * rows[i].by) {
            *name = rows[i].name;
            return rows[i].by;
        }
    return 1;
}

/* Both axes; false: there is nothing to show. */
static bool scatter_axes(const struct study_results *r, const struct study_members *m, const struct study_cost *c, struct axis *x,
                         struct axis *y)
{
    *x = *y = (struct axis){NAN, NAN};
    for (int i = 0; i < m->n; i++) {
        struct study_estimate e = study_accuracy(r, m->at[i], (struct study_slice){NULL, PART_ALL});
        widen(x, study_cost_of(r, m->at[i], c).mean);
        widen(y, e.mean);
        widen(y, within(e.low, 0, 1));
        widen(y, within(e.high, 0, 1));
    }
    return !isnan(x->low) && !isnan(y->low);
}

int study_scatter(struct buf *b, const struct study_results *r, const struct study_members *m, const struct study_cost *c)
{
    struct axis x, y;
    const char *unit;
    char name[128];
    int n = 0;
    if (!scatter_axes(r, m, c, &x, &y))
        return 0;
    struct mark *marks = mem_calloc(MEM_TRAIN, (size_t)m->n, sizeof *marks);
    if (!marks)
        return NUN_ENOMEM;
    double by = unit_of(x.high, &unit);
    x = (struct axis){x.low / by, x.high / by};
    margins(&x, fmax(fabs(x.high) * 0.02, 1e-9));
    margins(&y, 0.01);
    snprintf(name, sizeof name, "%s%s%s", unit, c->title, c->measured ? " (measured)" : "");
    begin(b, 720, PLOT_TOP + PLOT_HEIGHT + 48, c->title);
    frame(b, x, y, 100, name, "right answers, %");
    for (int i = 0; i < m->n; i++) {
        struct study_estimate e = study_accuracy(r, m->at[i], (struct study_slice){NULL, PART_ALL});
        marks[n].name = study_label(m->at[i]->spec);
        if (e.n)
            dot(b, x, y, colour(i), &marks[n++], study_cost_of(r, m->at[i], c).mean / by, e);
    }
    for (int i = 0; i < n; i++) {
        marks[i].label = label_place(marks, n, i);
        label(b, &marks[i]);
    }
    buf_str(b, "</svg>\n");
    mem_free(marks);
    return 0;
}

/* ---- curves ----------------------------------------------------------------------------------- */

enum { COLUMNS = 200, LOG_BYTES = 256 << 20 };
/* The mean of what fell into each of COLUMNS parts of the steps. */
struct curve { double sum[COLUMNS]; int n[COLUMNS]; double steps; };

/* `use` 0 counts the steps, 1 fills the columns. */
static int read_line(struct curve *c, struct span line, int use)
{
    json_t *o;
    TRY(json_parse_span(line, "log.jsonl", &o));
    double step = json_number_value(json_object_get(o, "step"));
    const json_t *value = json_object_get(o, "loss");
    if (!use)
        c->steps = step > c->steps ? step : c->steps;
    else if (json_is_number(value)) {
        int column = (int)within(step / c->steps * (COLUMNS - 1), 0, COLUMNS - 1);
        c->sum[column] += json_number_value(value);
        c->n[column]++;
    }
    json_decref(o);
    return 0;
}

static int read_lines(struct curve *c, struct span log)
{
    int rc = 0;
    for (int use = 0; use < 2; use++)
        for (struct span rest = log; rest.len && rc >= 0;) {
            const char *end = memchr(rest.ptr, '\n', rest.len);
            size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
            rc = read_line(c, span_of(rest.ptr, len), use);
            rest = span_from(rest, len + (end != NULL));
        }
    return rc;
}

static int read_curve(const struct study_run *run, struct curve *c)
{
    char path[4096];
    struct buf log;
    *c = (struct curve){.steps = 0};
    TRY(path_join(path, sizeof path, run->dir, "log.jsonl"));
    if (!file_exists(path))
        return 0;
    buf_init(&log, MEM_TRAIN, LOG_BYTES);
    int rc = file_read(path, &log);
    if (rc >= 0)
        rc = read_lines(c, buf_view(&log));
    buf_free(&log);
    return rc < 0 ? err_at(rc, "run %s", run->name) : 0;
}

static void draw_curve(struct buf *b, const struct curve *c, struct axis x, struct axis y, int hue, const char *name)
{
    const char *pen = "M";
    buf_printf(b, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.4\" d=\"", colour(hue));
    for (int i = 0; i < COLUMNS; i++)
        if (c->n[i]) {
            buf_printf(b, "%s%.1f %.1f", pen, at_x(x, (double)i / (COLUMNS - 1) * 100), at_y(y, log10(c->sum[i] / c->n[i])));
            pen = "L";
        }
    buf_str(b, "\"><title>");
    html_text(b, name);
    buf_str(b, "</title></path>\n");
}

static int hue_of(const struct study_members *m, const struct study_run *run)
{
    for (int i = 0; i < m->n; i++)
        if (m->at[i]->spec == run->spec)
            return i;
    return -1;
}

/* The names, in as many rows as they take; how many. Without b they are only counted. */
static int legend(struct buf *b, const struct study_members *m, int top)
{
    double place = PLOT_LEFT;
    int row = 0;
    for (int i = 0; i < m->n; i++) {
        const char *name = study_label(m->at[i]->spec);
        double width = 40 + LETTER * (double)strlen(name);
        if (place > PLOT_LEFT && place + width > PLOT_LEFT + PLOT_WIDTH + 20) {
            place = PLOT_LEFT;
            row++;
        }
        if (b) {
            buf_printf(b, "<rect x=\"%.0f\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%.0f\" y=\"%d\">", place,
                       top + 20 * row, colour(i), place + 16, top + 20 * row + 11);
            html_text(b, name);
            buf_str(b, "</text>\n");
        }
        place += width;
    }
    return row + 1;
}

static void curve_frame(struct buf *b, struct axis x, struct axis y, const struct study_members *m)
{
    begin(b, 720, PLOT_TOP + PLOT_HEIGHT + 52 + 20 * legend(NULL, m, 0), "loss of every run");
    for (int i = 0; i <= 4; i++) {
        double v = y.low + i * (y.high - y.low) / 4, at = at_y(y, v);
        buf_printf(b, "<path d=\"M%d %.1fh%d\" class=\"grid\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n", PLOT_LEFT, at,
                   PLOT_WIDTH, PLOT_LEFT - 6, at + 5, pow(10, v));
    }
    for (int percent = 0; percent <= 100; percent += 25)
        buf_printf(b, "<text x=\"%.0f\" y=\"%d\" text-anchor=\"middle\">%d %%</text>\n", at_x(x, percent), PLOT_TOP + PLOT_HEIGHT + 18, percent);
    legend(b, m, PLOT_TOP + PLOT_HEIGHT + 40);
}

int study_curves(struct buf *b, const struct study_results *r, const struct study_members *m)
{
    const struct study_plan *p = r->plan;
    struct curve *all = mem_calloc(MEM_TRAIN, p->n_runs, sizeof *all);
    struct axis x = {0, 100}, y = {NAN, NAN};
    int rc = all ? 0 : NUN_ENOMEM;
    for (size_t i = 0; i < p->n_runs && rc >= 0; i++) {
        if (hue_of(m, &p->runs[i]) < 0)
            continue;
        rc = read_curve(&p->runs[i], &all[i]);
        for (int k = 0; k < COLUMNS; k++)
            if (all[i].n[k] && all[i].sum[k] > 0)
                widen(&y, log10(all[i].sum[k] / all[i].n[k]));
    }
    if (rc >= 0 && !isnan(y.low)) {
        margins(&y, 0.02);
        curve_frame(b, x, y, m);
        for (size_t i = 0; i < p->n_runs; i++)
            if (hue_of(m, &p->runs[i]) >= 0)
                draw_curve(b, &all[i], x, y, hue_of(m, &p->runs[i]), p->runs[i].name);
        buf_str(b, "</svg>\n");
    }
    mem_free(all);
    return rc;
}
