/* The law with pictures, for every way of seeing: a request gives the same bytes whatever the chunk, the threads, the
 * neighbours in a batch and their order, whether its pictures were encoded before, over forks and adopted prefixes. On the
 * fixtures' own prompts; skipped where they are absent. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../check.h"
#include "base/file.h"
#include "base/mem.h"
#include "formats/json.h"
#include "models/sight.h"
#include "runtime/timeline.h"

static const char *const folders[] = {
    "llava", "vipllava", "llava-next", "llava-onevision", "video-llava", "gemma3", "paligemma", "qwen2-vl", "qwen2-5-vl", "qwen3-vl",
    "internvl2", "internvl-hf", "nvlm-d", "pixtral", "mistral3", "idefics2", "idefics3", "smolvlm", "blip2", "instructblip", "fuyu",
    "tests/data/nunchi_vl/decoder", "tests/data/nunchi_vl/cross", "tests/data/nunchi_vl/hybrid", "tests/data/nunchi_vl/patches",
    "tests/data/nunchi_vl/patches-beside", "tests/data/nunchi_vl/hybrid-box", "tests/data/nunchi_vl/perceiver",
    "tests/data/nunchi_vl/qformer", "tests/data/nunchi_vl/hybrid-linear", "tests/data/nunchi_vl/hybrid-queries", "tests/data/phi3v",
};
enum { FOLDERS = sizeof folders / sizeof folders[0], STEPS = 6, CASES = 3, PICTURES = 4, PATH = 512 };

struct setting { const char *name; enum nun_compute compute; };

/* A case with pictures: its ids, and the files that stand in them. */
struct request { int32_t ids[512]; size_t n; char file[PICTURES][PATH]; int files; char told[256]; };
struct requests { struct request at[CASES]; int n; };

static void load_requests(const char *name, struct requests *out)
{
    char path[PATH];
    json_t *file;
    const json_t *one, *id;
    size_t i, k;
    snprintf(path, sizeof path, "%s%s/verify/case.json", check_root(name), name);
    check_ok(json_load_file_limited(path, &file));
    out->n = 0;
    json_array_foreach(json_object_get(file, "cases"), i, one) {
        const json_t *images = json_object_get(one, "images");
        bool plain = json_array_size(images) && !json_array_size(json_object_get(one, "videos")) && !json_object_get(one, "nested") &&
                     !json_object_get(one, "processor_arguments") && !json_object_get(one, "max_dynamic_patch");
        if (!plain || out->n == CASES || json_array_size(images) > PICTURES)
            continue;
        struct request *r = &out->at[out->n++];
        *r = (struct request){.files = (int)json_array_size(images)};
        json_array_foreach(json_object_get(one, "input_ids"), k, id)
            r->ids[r->n++] = (int32_t)json_integer_value(id);
        for (int p = 0; p < r->files; p++)
            snprintf(r->file[p], PATH, "%s%s/verify/%s", check_root(name), name, json_string_value(json_array_get(images, (size_t)p)));
        snprintf(r->told, sizeof r->told, "%s", json_string_value(json_object_get(one, "prompt")));
    }
    json_decref(file);
}

static struct nun_timeline *ask(struct nun_model *m, const struct request *r)
{
    struct nun_timeline *t;
    struct picture *list[PICTURES];
    check_ok(nun_timeline_create(m, &t));
    for (int i = 0; i < r->files; i++) {
        const char *path = r->file[i];
        check_ok(picture_from_files(m, &path, 1, 0, 1, NULL, &list[i]));
        check_ok(picture_tell(m, list[i], span_str(r->told)));
    }
    check_ok(timeline_append(t, r->ids, r->n, list, (size_t)r->files));
    return t;
}

/* ---- traces -------------------------------------------------------------------------------- */

struct trace { const struct nun_timeline *t; int steps; struct digest logits[STEPS]; };

static int note(void *arg, const struct nun_token *token)
{
    struct trace *tr = arg;
    assert_true(tr->steps < STEPS);
    digest_of(tr->t->logits, (size_t)tr->t->m->model->text.facts.vocab * sizeof(float), &tr->logits[tr->steps++]);
    return 0;
}

static struct nun_generate_options options_of(struct trace *tr)
{
    return (struct nun_generate_options){.max_tokens = STEPS, .ignore_eos = true, .token = note, .arg = tr};
}

static void run(struct nun_timeline *t, struct trace *tr)
{
    *tr = (struct trace){.t = t};
    struct nun_generate_options o = options_of(tr);
    check_ok(nun_generate(t, &o, NULL));
}

static void check_same(const char *what, const struct trace *want, const struct trace *got)
{
    if (want->steps != got->steps || memcmp(want->logits, got->logits, sizeof want->logits))
        fail_msg("%s: other bytes", what);
}

static struct nun_model *open_model(const struct setting *s, int threads, int chunk)
{
    struct nun_model_options o = {.threads = threads, .compute = s->compute, .prefill_chunk = chunk};
    struct nun_model *m;
    char folder[PATH];
    snprintf(folder, sizeof folder, "%s%s", check_root(s->name), s->name);
    check_ok(nun_model_open(folder, &o, &m));
    return m;
}

/* All of them in one batch, the first of them last. */
static void together(struct nun_model *m, const struct requests *r, const struct trace *want)
{
    struct nun_timeline *t[CASES];
    struct nun_generation *g[CASES];
    struct trace got[CASES];
    for (int i = 0; i < r->n; i++) {
        int which = r->n - 1 - i;
        t[i] = ask(m, &r->at[which]);
        got[i] = (struct trace){.t = t[i]};
        struct nun_generate_options o = options_of(&got[i]);
        check_ok(nun_generation_start(t[i], &o, &g[i]));
    }
    int busy;
    do {
        busy = nun_batch_step(m, g, (size_t)r->n);
        check_ok(busy);
    } while (busy);
    for (int i = 0; i < r->n; i++) {
        check_same("batch", &want[r->n - 1 - i], &got[i]);
        nun_generation_free(g[i]);
        nun_timeline_free(t[i]);
    }
}

static void invariance(void **state)
{
    static const struct { int threads, chunk; } ways[] = {{1, 1}, {2, 7}, {1, 64}};
    const struct setting *s = *state;
    struct requests r;
    struct trace want[CASES], got;
    char folder[PATH];
    snprintf(folder, sizeof folder, "%s%s", check_root(s->name), s->name);
    if (!file_is_dir(folder))
        skip();
    load_requests(s->name, &r);
    assert_true(r.n > 0);
    struct nun_model *m = open_model(s, 2, 0);
    for (int i = 0; i < r.n; i++) {
        struct nun_timeline *t = ask(m, &r.at[i]), *again = ask(m, &r.at[i]), *fork;
        run(t, &want[i]);
        assert_int_equal(want[i].steps, STEPS);
        check_ok(nun_timeline_adopt(again, t)); /* its pictures are encoded, its beginning is computed */
        check_ok(nun_timeline_fork(again, &fork));
        run(again, &got);
        check_same("adopted", &want[i], &got);
        run(fork, &got);
        check_same("forked", &want[i], &got);
        nun_timeline_free(t);
        nun_timeline_free(again);
        nun_timeline_free(fork);
    }
    together(m, &r, want);
    nun_model_close(m);
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        m = open_model(s, ways[w].threads, ways[w].chunk);
        for (int i = 0; i < r.n; i++) {
            struct nun_timeline *t = ask(m, &r.at[i]);
            run(t, &got);
            check_same("chunk", &want[i], &got);
            nun_timeline_free(t);
        }
        nun_model_close(m);
    }
}

int main(void)
{
    struct CMUnitTest tests[2 * FOLDERS];
    static struct setting settings[2 * FOLDERS];
    static char names[2 * FOLDERS][64];
    for (int i = 0; i < 2 * FOLDERS; i++) {
        settings[i] = (struct setting){folders[i / 2], i % 2 ? NUN_BF16 : NUN_F32};
        snprintf(names[i], sizeof names[i], "%s, %s", folders[i / 2], i % 2 ? "bf16" : "f32");
        tests[i] = (struct CMUnitTest){names[i], invariance, NULL, NULL, &settings[i]};
    }
    return cmocka_run_group_tests_name("sight_invariance", tests, NULL, NULL);
}
