/* How fast the world is: microseconds a picture on one core to lay out, draw and ask. Training takes a few
 * hundred pictures a second, so all three together should stay under 200. Prints, judges nothing. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "base/err.h"
#include "base/seam.h"
#include "data/scenes.h"

enum { SIDE = 112, PICTURES = 20000, QUESTIONS = 11 };

static int time_world(const struct scene_config *cfg, const char *name)
{
    static uint8_t rgb[SIDE * SIDE * 3], scratch[SIDE * SIDE * 6];
    static struct scene_qa qa[QUESTIONS];
    uint64_t spent[3] = {0};
    long asked = 0;
    for (uint64_t i = 0; i < PICTURES; i++) {
        struct scene s;
        uint64_t t0 = seam_now_ns();
        scene_make(cfg, 1, i, &s);
        uint64_t t1 = seam_now_ns();
        TRY(scene_draw(&s, rgb, scratch));
        uint64_t t2 = seam_now_ns();
        asked += scene_questions(cfg, &s, qa, QUESTIONS);
        uint64_t t3 = seam_now_ns();
        spent[0] += t1 - t0;
        spent[1] += t2 - t1;
        spent[2] += t3 - t2;
    }
    const double us = 1e3 * PICTURES;
    printf("%-12s make %6.1f us  draw %6.1f us  ask %6.1f us  (%.1f questions)\n", name, (double)spent[0] / us,
           (double)spent[1] / us, (double)spent[2] / us, (double)asked / PICTURES);
    return 0;
}

int main(void)
{
    struct scene_fonts *fonts;
    uint64_t t0 = seam_now_ns();
    int rc = scene_fonts_open(SIDE, &fonts);
    if (rc == 0) {
        printf("fonts        %6.1f ms\n", (double)(seam_now_ns() - t0) / 1e6);
        struct scene_config cfg = scene_config_default;
        cfg.fonts = fonts;
        rc = time_world(&cfg, "as trained");
        cfg.augment = 0;
        rc = rc ? rc : time_world(&cfg, "plain");
        scene_fonts_close(fonts);
    }
    if (rc < 0)
        fprintf(stderr, "%s\n", nun_error());
    return rc < 0;
}
