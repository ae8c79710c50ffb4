/* How fast the world of large pictures is: on one core, milliseconds to lay out, draw and ask, by tiles, and how
 * many questions of each kind a picture gives. Prints, judges nothing. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/seam.h"
#include "data/hd.h"

enum { PICTURES = 1200, QUESTIONS = 12 };

static int time_grid(struct hd_config *cfg, int grid)
{
    static uint8_t rgb[HD_MAX_PIXELS * 3];
    static struct scene_qa qa[QUESTIONS];
    uint64_t spent[3] = {0};
    int n = PICTURES / (hd_grids[grid].columns * hd_grids[grid].rows);
    memset(cfg->grid_weight, 0, sizeof cfg->grid_weight);
    cfg->grid_weight[grid] = 1;
    for (int i = 0; i < n; i++) {
        struct hd_scene s;
        uint64_t t0 = seam_now_ns();
        hd_make(cfg, 1, (uint64_t)i, &s);
        uint64_t t1 = seam_now_ns();
        TRY(hd_draw(&s, rgb));
        uint64_t t2 = seam_now_ns();
        hd_questions(cfg, &s, qa, QUESTIONS);
        uint64_t t3 = seam_now_ns();
        spent[0] += t1 - t0;
        spent[1] += t2 - t1;
        spent[2] += t3 - t2;
    }
    const double ms = 1e6 * n;
    printf("%d x %d  make %7.4f ms  draw %7.4f ms  ask %7.4f ms  %7.0f pictures/s\n", hd_grids[grid].columns,
           hd_grids[grid].rows, (double)spent[0] / ms, (double)spent[1] / ms, (double)spent[2] / ms,
           1e9 * n / (double)(spent[0] + spent[1] + spent[2]));
    return 0;
}

static void count_questions(const struct hd_config *cfg)
{
    static struct scene_qa qa[QUESTIONS];
    int asked[SCENE_KIND_COUNT] = {0}, fine[SCENE_KIND_COUNT] = {0}, all = 0;
    for (int i = 0; i < PICTURES; i++) {
        struct hd_scene s;
        hd_make(cfg, 1, (uint64_t)i, &s);
        int n = hd_questions(cfg, &s, qa, QUESTIONS);
        all += n;
        for (int k = 0; k < n; k++) {
            asked[qa[k].kind]++;
            fine[qa[k].kind] += qa[k].fine;
        }
    }
    printf("%.2f questions a picture of at most %d\n", (double)all / PICTURES, QUESTIONS);
    for (int k = 0; k < SCENE_KIND_COUNT; k++)
        if (asked[k])
            printf("%-10s %5.2f  fine %5.1f %%\n", scene_kind_names[k], (double)asked[k] / PICTURES,
                   100.0 * fine[k] / asked[k]);
}

int main(void)
{
    struct scene_fonts *fonts;
    uint64_t t0 = seam_now_ns();
    int rc = hd_fonts_open(&fonts);
    if (rc == 0) {
        printf("fonts  %.1f ms\n", (double)(seam_now_ns() - t0) / 1e6);
        struct hd_config cfg = hd_config_default;
        cfg.fonts = fonts;
        count_questions(&cfg);
        for (int g = 0; g < HD_GRIDS && rc == 0; g++)
            rc = time_grid(&cfg, g);
        scene_fonts_close(fonts);
    }
    if (rc < 0)
        fprintf(stderr, "%s\n", nun_error());
    return rc < 0;
}
