/* Conversations with pictures and videos become exactly the ids that the reference's template, processor and tokenizer
 * give, whatever was typed; and what cannot be right is an error with both numbers. Skipped where the fixtures are absent. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../check.h"
#include "base/file.h"
#include "formats/json.h"
#include "models/sight.h"
#include "runtime/prompt.h"

static const char *const folders[] = {
    "llava", "llava-siglip", "vipllava", "llava-next", "llava-onevision", "video-llava", "gemma3", "paligemma", "paligemma2",
    "qwen2-vl", "qwen2-5-vl", "qwen3-vl",
    "internvl2", "internvl2-internlm2", "internvl-hf", "nvlm-d", "pixtral", "mistral3",
    "idefics2", "idefics3", "smolvlm", "fuyu", "blip2", "instructblip",
    "mllama",
    "tests/data/nunchi_vl/decoder", "tests/data/nunchi_vl/cross", "tests/data/nunchi_vl/hybrid", "tests/data/nunchi_vl/patches",
    "tests/data/nunchi_vl/patches-beside", "tests/data/nunchi_vl/hybrid-box", "tests/data/nunchi_vl/perceiver",
    "tests/data/nunchi_vl/qformer", "tests/data/nunchi_vl/hybrid-linear", "tests/data/nunchi_vl/hybrid-queries", "tests/data/phi3v",
};
enum { FOLDERS = sizeof folders / sizeof folders[0], PARTS = 32, MESSAGES = 8, PATH = 512 };

/* A conversation under construction; pictures and videos come in the order of the case. */
struct talk {
    const char *name;
    const json_t *one;
    size_t image, video;
    struct nun_part part[PARTS];
    size_t parts;
    struct nun_message message[MESSAGES];
    size_t messages;
    char paths[PARTS][PATH], *frames[PARTS][16];
    char frame_paths[64][PATH];
    size_t n_frames;
};

/* NULL: the case has a bare prompt. */
static const json_t *messages_of(const json_t *one)
{
    const json_t *list = json_object_get(one, "messages");
    return json_is_array(list) ? list : NULL;
}

static void path_of(const struct talk *t, const char *file, char out[PATH])
{
    snprintf(out, PATH, strchr(file, '/') ? "%s%s/%s" : "%s%s/verify/%s", check_root(t->name), t->name, file);
}

static void add_text(struct talk *t, const char *text, size_t len)
{
    assert_true(t->parts < PARTS);
    if (len)
        t->part[t->parts++] = (struct nun_part){.kind = NUN_PART_TEXT, .text = text, .len = len};
}

static void add_image(struct talk *t)
{
    const char *file = json_string_value(json_array_get(json_object_get(t->one, "images"), t->image++));
    assert_true(t->parts < PARTS && file);
    path_of(t, file, t->paths[t->parts]);
    t->part[t->parts] = (struct nun_part){.kind = NUN_PART_IMAGE_FILE, .text = t->paths[t->parts]};
    t->parts++;
}

static void add_video(struct talk *t)
{
    const json_t *list = json_object_get(t->one, "frames"), *fps = json_object_get(t->one, "video_fps");
    list = list ? list : json_array_get(json_object_get(t->one, "videos"), t->video++);
    size_t n = json_array_size(list);
    assert_true(t->parts < PARTS && n && n <= 16 && t->n_frames + n <= 64);
    for (size_t i = 0; i < n; i++) {
        path_of(t, json_string_value(json_array_get(list, i)), t->frame_paths[t->n_frames]);
        t->frames[t->parts][i] = t->frame_paths[t->n_frames++];
    }
    double rate = json_number_value(json_is_array(fps) ? json_array_get(fps, 0) : fps);
    t->part[t->parts] = (struct nun_part){.kind = NUN_PART_FRAME_FILES, .files = (const char *const *)t->frames[t->parts],
                                          .n_files = n, .fps = rate > 0 ? rate : 1};
    t->parts++;
}

/* Text with the marks of pictures and videos in it. */
static void add_marked(struct talk *t, const struct nun_model *m, const char *text)
{
    struct span mark[2] = {prompt_mark_text(m, false), prompt_mark_text(m, true)};
    const char *from = text;
    while (*from) {
        const char *at = NULL;
        int which = 0;
        for (int i = 0; i < 2; i++) {
            const char *found = mark[i].len ? memmem(from, strlen(from), mark[i].ptr, mark[i].len) : NULL;
            if (found && (!at || found < at))
                at = found, which = i;
        }
        add_text(t, from, at ? (size_t)(at - from) : strlen(from));
        if (!at)
            return;
        which ? add_video(t) : add_image(t);
        from = at + mark[which].len;
    }
}

static void add_content(struct talk *t, const struct nun_model *m, const json_t *content)
{
    const json_t *part;
    size_t i;
    if (json_is_string(content))
        add_marked(t, m, json_string_value(content));
    json_array_foreach(content, i, part) {
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!strcmp(type, "text"))
            add_text(t, json_string_value(json_object_get(part, "text")), json_string_length(json_object_get(part, "text")));
        else
            !strcmp(type, "video") ? add_video(t) : add_image(t);
    }
}

static void end_message(struct talk *t, const char *role, size_t from)
{
    assert_true(t->messages < MESSAGES);
    t->message[t->messages++] = (struct nun_message){.role = role, .parts = t->part + from, .n_parts = t->parts - from};
}

/* A bare prompt: pictures are at their marks, or, where there is no mark, before it. */
static void build(struct talk *t, const struct nun_model *m)
{
    const json_t *messages = messages_of(t->one), *one;
    const char *prompt = json_string_value(json_object_get(t->one, "prompt"));
    size_t i;
    json_array_foreach(messages, i, one) {
        size_t from = t->parts;
        add_content(t, m, json_object_get(one, "content"));
        end_message(t, json_string_value(json_object_get(one, "role")), from);
    }
    if (messages)
        return;
    struct span mark = prompt_mark_text(m, false), video = prompt_mark_text(m, true);
    bool marked = (mark.len && memmem(prompt, strlen(prompt), mark.ptr, mark.len)) ||
                  (video.len && memmem(prompt, strlen(prompt), video.ptr, video.len));
    while (!marked && t->image < json_array_size(json_object_get(t->one, "images")))
        add_image(t);
    add_marked(t, m, prompt);
    end_message(t, "user", 0);
}

static void check_ids(const char *name, const struct nun_timeline *timeline, const json_t *want)
{
    size_t n;
    const int32_t *got = nun_timeline_tokens(timeline, &n);
    for (size_t i = 0; i < n || i < json_array_size(want); i++)
        if (i >= n || got[i] != json_integer_value(json_array_get(want, i)))
            fail_msg("%s: token %zu of %zu: %d, expected %lld", name, i, n, i < n ? got[i] : -1,
                     (long long)json_integer_value(json_array_get(want, i)));
}

/* The prompt as it stands, without any template: the same ids; one picture more or less is refused with both numbers. */
static void check_marked(struct talk *t, const struct nun_model *m, const char *prompt, const json_t *want)
{
    struct nun_part pictures[PARTS];
    struct nun_timeline *timeline;
    size_t n = 0;
    char says[128];
    for (size_t i = 0; i < t->parts; i++)
        if (t->part[i].kind == NUN_PART_IMAGE_FILE)
            pictures[n++] = t->part[i];
    if (!n || t->video || t->n_frames || n == PARTS)
        return;
    check_ok(nun_timeline_create((struct nun_model *)(uintptr_t)m, &timeline));
    check_ok(nun_timeline_marked(timeline, prompt, strlen(prompt), pictures, n));
    check_ids("as it stands", timeline, want);
    nun_timeline_free(timeline);
    check_ok(nun_timeline_create((struct nun_model *)(uintptr_t)m, &timeline));
    snprintf(says, sizeof says, "pictures: %zu given, but the prompt has places for %zu", n - 1, n);
    check_fails(NUN_EARG, says, nun_timeline_marked(timeline, prompt, strlen(prompt), pictures, n - 1));
    pictures[n] = pictures[0];
    snprintf(says, sizeof says, "pictures: %zu given, but the prompt has places for %zu", n + 1, n);
    check_fails(NUN_EARG, says, nun_timeline_marked(timeline, prompt, strlen(prompt), pictures, n + 1));
    assert_int_equal(nun_timeline_length(timeline), 0);
    nun_timeline_free(timeline);
}

static void check_case(const char *name, const char *folder, const json_t *one)
{
    struct talk t = {.name = name, .one = one};
    const json_t *want = json_object_get(one, "input_ids"), *messages = messages_of(one);
    struct nun_model_options o = {.threads = 1, .compute = NUN_F32};
    struct nun_model *m;
    struct nun_timeline *timeline;
    check_ok(nun_model_open(folder, &o, &m));
    char bare[1024];
    const char *prompt = json_string_value(json_object_get(one, "prompt"));
    bool whole = !messages && (!m->model->family->sight->template || !strncmp(prompt, "USER: ", 6)); /* it is what a template wrote */
    if (whole) { /* again, with a template that is the prompt */
        nun_model_close(m);
        snprintf(bare, sizeof bare, "{%% raw %%}%s{%% endraw %%}", prompt);
        o.chat_template = bare;
        check_ok(nun_model_open(folder, &o, &m));
    }
    build(&t, m);
    check_ok(nun_timeline_create(m, &timeline));
    struct nun_chat chat = {.messages = t.message, .n_messages = t.messages,
                            .no_generation_prompt = messages && json_is_false(json_object_get(one, "add_generation_prompt"))};
    check_ok(nun_timeline_chat(timeline, &chat));
    check_ids(json_string_value(json_object_get(one, "name")), timeline, want);
    nun_timeline_free(timeline);
    if (!strncmp(prompt ? prompt : "", "USER: ", 6))
        check_marked(&t, m, prompt, want);
    nun_model_close(m);
}

/* The processor was told that each picture is a prompt of its own. */
static bool flat(const json_t *one)
{
    return json_object_get(json_object_get(one, "expected"), "batch_num_images") && !json_object_get(one, "nested") &&
           json_array_size(json_object_get(one, "images")) > 1;
}

static void test_prompts(void **state)
{
    char folder[PATH], path[PATH + 32];
    json_t *file;
    const json_t *one;
    size_t i;
    snprintf(folder, sizeof folder, "%s%s", check_root(*state), (const char *)*state);
    if (!file_is_dir(folder))
        skip();
    snprintf(path, sizeof path, "%s/verify/case.json", folder);
    check_ok(json_load_file_limited(path, &file));
    json_array_foreach(json_object_get(file, "cases"), i, one)
        if (json_object_get(one, "prompt") && json_object_get(one, "input_ids") && !json_object_get(one, "processor_arguments") && !json_object_get(one, "max_dynamic_patch") &&
            !flat(one))
            check_case(*state, folder, one);
    json_decref(file);
}

int main(void)
{
    struct CMUnitTest tests[FOLDERS];
    for (size_t i = 0; i < FOLDERS; i++)
        tests[i] = (struct CMUnitTest){folders[i], test_prompts, NULL, NULL, (void *)(uintptr_t)folders[i]};
    return cmocka_run_group_tests_name("sight_prompts", tests, NULL, NULL);
}
