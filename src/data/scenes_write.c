/* Writes scenes as a dataset folder: draw, encode, note the conversation, next. */
/* SPDX-License-Identifier: MIT */
#include "data/scenes_write.h"
#include <fcntl.h>
#include <stdio.h>
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/seam.h"
#include "data/dataset.h"
#include "media/image_write.h"

enum { PATH_BYTES = 4096 };

struct writer {
    const struct scenes_write_options *o;
    struct scene_fonts *fonts; /* ours, when the options brought none */
    struct scene_config config;
    uint8_t *rgb, *scratch;
    struct buf file, json;
};

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

static int write_picture(struct writer *w, const struct scene *s, const char *format, const char *name)
{
    char path[PATH_BYTES];
    struct image img = {.width = s->side, .height = s->side, .channels = 3, .data = w->rgb};
    TRY(path_join(path, sizeof path, w->o->dir, name));
    TRY(scene_draw(s, w->rgb, w->scratch));
    buf_reset(&w->file);
    TRY(image_encode(&img, format, w->o->quality, &w->file));
    return write_file(path, &w->file);
}

static void note_conversation(struct writer *w, const struct scene *s, const char *id, const char *name)
{
    struct scene_qa qa[SCENE_MAX_QUESTIONS];
    struct data_turn turn[SCENE_MAX_QUESTIONS];
    int n = scene_questions(&w->config, s, qa, w->o->questions);
    for (int i = 0; i < n; i++)
        turn[i] = (struct data_turn){qa[i].question, qa[i].answer, i == 0, scene_kind_names[qa[i].kind],
                                     qa[i].negative ? scene_negative_names[qa[i].negative] : NULL};
    const char *const image[] = {name};
    data_sample_write(&(struct data_sample){.id = id, .image = image, .images = 1, .turn = turn, .turns = n}, &w->json);
}

static int write_scene(struct writer *w, int i)
{
    static const char *const formats[] = {"png", "jpg", "webp"};
    const char *format = w->o->format ? w->o->format : formats[i % 3];
    char id[64], name[96];
    struct scene s;
    scene_make(&w->config, w->o->seed, w->o->first + (uint64_t)i, &s);
    snprintf(id, sizeof id, "scenes-%s-%llu-%llu", scene_split_names[w->config.split], (unsigned long long)w->o->seed,
             (unsigned long long)w->o->first + (unsigned long long)i);
    snprintf(name, sizeof name, "images/%06d.%s", i, format);
    TRY(write_picture(w, &s, format, name));
    buf_str(&w->json, i ? ",\n" : "[\n");
    note_conversation(w, &s, id, name);
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
    w->config = o->config;
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
