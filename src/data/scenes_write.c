/* Writes scenes as a dataset folder: draw, encode, note the conversation, next. */
/* SPDX-License-Identifier: MIT */
#include "data/scenes_write.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/seam.h"
#include "data/dataset.h"
#include "media/image_write.h"

enum { PATH_BYTES = 4096 };

struct writer {
    const struct scenes_write_options *o;
    const struct world *world;
    struct scene_fonts *fonts; /* ours, when the options brought none */
    struct scene_config config;
    struct hd_config hd;
    uint8_t *rgb, *scratch;
    struct buf file, json;
};

/* What the worlds do differently. */
struct world {
    const char *name;
    int (*open)(struct writer *w); /* check the config, take memory for pixels */
    /* One picture into w->rgb, and its questions; how many. */
    int (*make)(struct writer *w, uint64_t index, struct image *img, struct scene_qa *qa);
    bool detail;                   /* its questions say how fine the detail is that they need */
};

static int open_scenes(struct writer *w)
{
    w->config = w->o->config;
    if (!w->config.fonts) {
        TRY(scene_fonts_open(w->config.side, &w->fonts));
        w->config.fonts = w->fonts;
    }
    TRY(scene_config_check(&w->config));
    size_t side = (size_t)w->config.side;
    w->rgb = mem_alloc(MEM_DATA, side * side * 3);
    w->scratch = mem_alloc(MEM_DATA, scene_scratch_bytes(w->config.side));
    return w->rgb && w->scratch ? 0 : NUN_ENOMEM;
}

static int make_scene(struct writer *w, uint64_t index, struct image *img, struct scene_qa *qa)
{
    struct scene s;
    scene_make(&w->config, w->o->seed, index, &s);
    TRY(scene_draw(&s, w->rgb, w->scratch));
    img->width = img->height = s.side;
    return scene_questions(&w->config, &s, qa, w->o->questions);
}

static int open_hd(struct writer *w)
{
    w->hd = w->o->hd;
    if (!w->hd.fonts) {
        TRY(hd_fonts_open(&w->fonts));
        w->hd.fonts = w->fonts;
    }
    TRY(hd_config_check(&w->hd));
    w->rgb = mem_alloc(MEM_DATA, (size_t)HD_MAX_PIXELS * 3);
    return w->rgb ? 0 : NUN_ENOMEM;
}

static int make_hd(struct writer *w, uint64_t index, struct image *img, struct scene_qa *qa)
{
    struct hd_scene s;
    hd_make(&w->hd, w->o->seed, index, &s);
    TRY(hd_draw(&s, w->rgb));
    img->width = s.width;
    img->height = s.height;
    return hd_questions(&w->hd, &s, qa, w->o->questions);
}

static const struct world worlds[] = {{"scenes", open_scenes, make_scene, false}, {"scenes-hd", open_hd, make_hd, true}};

static enum scene_split split_of(const struct writer *w)
{
    return w->world->make == make_hd ? w->hd.split : w->config.split;
}

/* Not durable: the folder counts only once its data.json is there. */
static int write_file(const char *path, const struct buf *bytes)
{
    const struct seam *os = seam_get();
    int fd = os->open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_errno("%s", path);
    int rc = 0;
    for (size_t at = 0; at < bytes->len && rc == 0;) {
        ssize_t n = os->write(fd, bytes->ptr + at, bytes->len - at);
        if (n <= 0)
            rc = err_errno("%s: write", path);
        else
            at += (size_t)n;
    }
    if (os->close(fd) != 0 && rc == 0)
        rc = err_errno("%s: close", path);
    return rc;
}

static int write_picture(struct writer *w, const struct image *img, const char *format, const char *name)
{
    char path[PATH_BYTES];
    TRY(path_join(path, sizeof path, w->o->dir, name));
    buf_reset(&w->file);
    TRY(image_encode(img, format, w->o->quality, &w->file));
    return write_file(path, &w->file);
}

static void note_conversation(struct writer *w, const struct scene_qa *qa, int n, const char *id, const char *name)
{
    struct data_turn turn[SCENE_MAX_QUESTIONS];
    for (int i = 0; i < n; i++)
        turn[i] = (struct data_turn){qa[i].question, qa[i].answer, i == 0, scene_kind_names[qa[i].kind],
                                     qa[i].negative ? scene_negative_names[qa[i].negative] : NULL,
                                     !w->world->detail ? NULL : qa[i].fine ? "fine" : "coarse"};
    const char *const image[] = {name};
    data_sample_write(&(struct data_sample){.id = id, .image = image, .images = 1, .turn = turn, .turns = n}, &w->json);
}

static int write_scene(struct writer *w, int i)
{
    static const char *const formats[] = {"png", "jpg", "webp"};
    const char *format = w->o->format ? w->o->format : formats[i % 3];
    uint64_t index = w->o->first + (uint64_t)i;
    char id[64], name[96];
    struct scene_qa qa[SCENE_MAX_QUESTIONS];
    struct image img = {.channels = 3, .data = w->rgb};
    int n = w->world->make(w, index, &img, qa);
    TRY(n);
    snprintf(id, sizeof id, "%s-%s-%llu-%llu", w->world->name, scene_split_names[split_of(w)],
             (unsigned long long)w->o->seed, (unsigned long long)index);
    snprintf(name, sizeof name, "images/%06d.%s", i, format);
    TRY(write_picture(w, &img, format, name));
    buf_str(&w->json, i ? ",\n" : "[\n");
    note_conversation(w, qa, n, id, name);
    if (w->o->progress)
        w->o->progress(w->o->arg, i + 1, w->o->count);
    return buf_error(&w->json);
}

static int write_all(struct writer *w)
{
    char path[PATH_BYTES];
    TRY(path_join(path, sizeof path, w->o->dir, "images"));
    TRY(file_mkdirs(path));
    TRY(path_join(path, sizeof path, w->o->dir, "data.json"));
    if (file_exists(path))
        return err_set(NUN_EARG, "%s: expected a folder without one, found a dataset", path);
    for (int i = 0; i < w->o->count; i++)
        TRY(write_scene(w, i));
    buf_str(&w->json, "\n]\n");
    TRY(buf_error(&w->json));
    return file_write_durable(path, w->json.ptr, w->json.len);
}

static int prepare(struct writer *w)
{
    const struct scenes_write_options *o = w->o;
    if (o->count < 1 || o->questions < 1 || o->questions > SCENE_MAX_QUESTIONS)
        return err_set(NUN_EARG, "scenes: expected pictures from 1 and questions from 1 to %d, found %d and %d",
                       SCENE_MAX_QUESTIONS, o->count, o->questions);
    for (size_t i = 0; i < sizeof worlds / sizeof *worlds; i++)
        if (!strcmp(worlds[i].name, o->world ? o->world : "scenes"))
            w->world = &worlds[i];
    return w->world ? w->world->open(w)
                    : err_set(NUN_EARG, "scenes: world: expected scenes or scenes-hd, found %s", o->world);
}

int scenes_write(const struct scenes_write_options *o)
{
    struct writer w = {.o = o};
    buf_init(&w.file, MEM_DATA, LIMIT_OF(image_file_bytes));
    buf_init(&w.json, MEM_DATA, LIMIT_OF(json_bytes)); /* more could not be read again */
    int rc = prepare(&w);
    if (rc == 0)
        rc = write_all(&w);
    buf_free(&w.json);
    buf_free(&w.file);
    mem_free(w.scratch);
    mem_free(w.rgb);
    scene_fonts_close(w.fonts);
    return rc;
}
