/* nunchi bench: how fast a model reads and writes here, or single kernels, as shares of what this machine
 * was measured to do at most. Warm-up runs are not counted; the median is shown. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/seam.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"
#include "nunchi/tools.h"

enum { PEAKS_MAX = 16, REPEAT_MAX = 1000 };

struct bench {
    struct cli *c;
    json_t *peaks, *rows;
    double read_bytes, flops[2]; /* limits of all threads: memory, products in bf16 and f32 */
};

/* ---- this machine ---------------------------------------------------------------------------- */

static const char *scaled(double rate, const char *unit, char out[32])
{
    static const struct { double by; const char *prefix; } scales[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1, ""}};
    size_t i = 0;
    while (i < 3 && rate < scales[i].by)
        i++;
    snprintf(out, 32, "%.3g %s%s", rate / scales[i].by, scales[i].prefix, unit);
    return out;
}

static void on_peak(void *arg, const struct nun_peak *p)
{
    struct bench *b = arg;
    static const struct { const char *name; int row; } use[] = {{"bf16", 0}, {"tile_bf16", 0}, {"f32", 1}};
    json_object_set_new(b->peaks, p->name, json_pack("{s:s, s:f, s:f}", "unit", p->unit, "one", p->one, "all", p->all));
    if (!strcmp(p->name, "read"))
        b->read_bytes = p->all;
    for (size_t i = 0; i < sizeof use / sizeof *use; i++)
        if (!strcmp(use[i].name, p->name) && p->all > b->flops[use[i].row])
            b->flops[use[i].row] = p->all;
}

static void print_peaks(const struct bench *b)
{
    const char *name;
    json_t *p;
    char one[32], all[32];
    printf("%-12s %18s %18s\n", "limit", "one core", "all threads");
    json_object_foreach(b->peaks, name, p) {
        const char *unit = json_string_value(json_object_get(p, "unit"));
        double a = json_number_value(json_object_get(p, "one")), z = json_number_value(json_object_get(p, "all"));
        printf("%-12s %18s %18s\n", name, a > 0 ? scaled(a, unit, one) : "-", z > 0 ? scaled(z, unit, all) : "-");
    }
}

/* ---- kernels --------------------------------------------------------------------------------- */

static void on_kernel(void *arg, const struct nun_kernel_speed *r)
{
    struct bench *b = arg;
    char speed[32];
    if (b->c->json) {
        json_t *row = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:s, s:f}", "kernel", r->kernel, "role",
                                r->role, "m", r->m, "n", r->n, "k", r->k, "threads", r->threads, "seconds", r->seconds,
                                "rate", r->rate, "unit", r->unit, "share", r->share);
        json_array_append_new(b->rows, row);
        return;
    }
    printf("%-26s %-18s %6d %6d %6d %8d %16s %7.1f %%\n", r->kernel, r->role, r->m, r->n, r->k, r->threads,
           scaled(r->rate, r->unit, speed), r->share * 100);
    fflush(stdout);
}

static int bench_kernels(struct bench *b)
{
    if (!b->c->json) {
        print_peaks(b);
        printf("\n%-26s %-18s %6s %6s %6s %8s %16s %9s\n", "kernel", "role", "M", "N", "K", "threads", "speed",
               "of limit");
    }
    return nun_bench_kernels(cli_int(b->c, OPT_threads), on_kernel, b);
}

/* ---- a model --------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A sentence over and over; without a tokenizer, ids that never come twice in a row. */
static int put_prompt(struct nun_model *m, struct nun_timeline *t, const struct nun_model_info *info, int n)
{
    static const char text[] = "Is there a red circle left of the large blue square? How many stars do you see? ";
    int32_t *words = NULL, id[256];
    size_t n_words = 0;
    if (info->has_tokenizer)
        TRY(nun_encode(m, text, sizeof text - 1, 0, &words, &n_words));
    int rc = 0;
    for (int at = 0, k; at < n && rc >= 0; at += k) {
        for (k = 0; k < 256 && at + k < n; k++) {
            unsigned i = (unsigned)(at + k);
            id[k] = n_words ? words[i % n_words] : (int32_t)(i * 7919u % (unsigned)info->vocab);
        }
        rc = nun_timeline_ids(t, id, (size_t)k);
    }
    nun_free(words);
    return rc;
}

/* Seconds for the whole prompt, and for one token after it. */
static int time_once(struct nun_model *m, const struct nun_model_info *info, int prompt, int gen, double *prefill,
                     double *decode)
{
    struct nun_timeline *t;
    struct nun_result r = {0};
    struct nun_generate_options o = {.max_tokens = gen, .ignore_eos = true};
    TRY(nun_timeline_create(m, &t));
    int rc = put_prompt(m, t, info, prompt > 0 ? prompt : 1);
    uint64_t began = seam_now_ns();
    if (rc >= 0)
        rc = nun_timeline_prefill(t);
    *prefill = (double)(seam_now_ns() - began) / 1e9;
    if (rc >= 0 && gen)
        rc = nun_generate(t, &o, &r);
    *decode = r.decode_steps ? r.decode_s / (double)r.decode_steps : 0;
    nun_timeline_free(t);
    return rc;
}

static void add_row(struct bench *b, const char *name, int tokens, double per_token, double limit)
{
    double rate = per_token > 0 ? 1 / per_token : 0, share = limit > 0 ? rate / limit : 0;
    json_array_append_new(b->rows, json_pack("{s:s, s:i, s:f, s:f, s:f}", "test", name, "tokens", tokens,
                                             "tokens_per_s", rate, "limit_tokens_per_s", limit, "share", share));
    if (!b->c->json)
        printf("%-10s %8d %14.1f %16.1f %8.1f %%\n", name, tokens, rate, limit, share * 100);
}

static int bench_times(struct bench *b, struct nun_model *m, const struct nun_model_info *info)
{
    static double prefill[REPEAT_MAX], decode[REPEAT_MAX];
    int n = cli_int(b->c, OPT_repeat), p = cli_int(b->c, OPT_n_prompt), g = cli_int(b->c, OPT_n_gen);
    TRY(time_once(m, info, p, g > 8 ? 8 : g, prefill, decode)); /* warm up */
    for (int i = 0; i < n; i++)
        TRY(time_once(m, info, p, g, prefill + i, decode + i));
    qsort(prefill, (size_t)n, sizeof *prefill, by_size);
    qsort(decode, (size_t)n, sizeof *decode, by_size);
    if (!b->c->json)
        printf("%-10s %8s %14s %16s %10s\n", "test", "tokens", "tokens/s", "limit tokens/s", "of limit");
    /* products with weights alone: of a prompt only the last token goes through the head */
    double body = (double)info->token_parameters - (double)info->vocab * info->hidden;
    double bytes = (double)info->token_parameters * (info->compute == NUN_F32 ? 4 : 2);
    if (p)
        add_row(b, "prefill", p, prefill[n / 2] / p, b->flops[info->compute == NUN_F32] / (2 * body));
    if (g)
        add_row(b, "decode", g, decode[n / 2], b->read_bytes / bytes);
    return 0;
}

static int bench_picture(struct bench *b, struct nun_model *m, const struct nun_model_info *info)
{
    const char *size = cli_text(b->c, OPT_picture);
    struct nun_picture_speed s;
    int width, height, used = 0;
    if (!size || !*size)
        return 0;
    if (sscanf(size, "%dx%d%n", &width, &height, &used) != 2 || size[used])
        return err_set(NUN_EARG, "--picture: expected WIDTHxHEIGHT, found %s", size);
    TRY(nun_bench_picture(m, width, height, cli_int(b->c, OPT_repeat), &s));
    double rate = s.flops / s.seconds, peak = b->flops[info->compute == NUN_F32];
    json_array_append_new(b->rows, json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f}", "test", "picture", "width", width,
                                             "height", height, "tiles", s.tiles, "tile_width", s.tile_width, "tile_height",
                                             s.tile_height, "tokens", s.features, "seconds", s.seconds, "flops_per_s", rate, "share", peak > 0 ? rate / peak : 0));
    char speed[32];
    if (!b->c->json)
        printf("picture    %d x %d: %d of %d x %d, %d tokens, %.3f s, %s, %.1f %% of the limit of products\n", width, height, s.tiles,
               s.tile_width, s.tile_height, s.features, s.seconds, scaled(rate, "FLOP/s", speed), peak > 0 ? rate / peak * 100 : 0);
    return 0;
}

static int bench_model(struct bench *b)
{
    struct nun_model *m;
    struct nun_model_info info;
    const char *path;
    char size[32];
    TRY(cli_model(b->c, &path));
    TRY(cli_no_more_words(b->c));
    TRY(ask_open(b->c, path, cli_int(b->c, OPT_ctx_size), &m));
    nun_model_info(m, &info);
    if (!b->c->json) {
        print_peaks(b);
        printf("\n%s: %s, %.1f M parameters, %s, %d threads, %s\n", path, info.architecture,
               (double)info.parameters / 1e6, term_bytes((double)info.weight_bytes, size), info.threads,
               info.compute == NUN_F32 ? "f32" : "bf16");
    }
    int rc = bench_times(b, m, &info);
    if (rc >= 0)
        rc = bench_picture(b, m, &info);
    nun_model_close(m);
    return rc;
}

int cmd_bench(struct cli *c)
{
    struct bench b = {.c = c, .peaks = json_object(), .rows = json_array()};
    int rc = nun_peaks(cli_int(c, OPT_threads), on_peak, &b);
    if (rc >= 0)
        rc = cli_flag(c, OPT_kernels) ? bench_kernels(&b) : bench_model(&b);
    const char *rows = cli_flag(c, OPT_kernels) ? "kernels" : "tests";
    if (rc >= 0 && c->json)
        cli_print_json(json_pack("{s:O, s:O}", "peaks", b.peaks, rows, b.rows), true);
    json_decref(b.peaks);
    json_decref(b.rows);
    return rc;
}
