/* Datasets: what is read back is what was written, and what is malformed is refused with its place.
 * Scoring: right and wrong by each kind's rule. */
/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/scenes_score.h"
#include "data/scenes_write.h"
#include "media/image.h"
#include "nunchi/data.h"

static char folder[] = "/tmp/nun-dataset-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder);
}

static int open_text(const char *name, const char *text, struct dataset **out)
{
    char path[128];
    assert_int_equal(path_join(path, sizeof path, folder, name), 0);
    assert_int_equal(file_write_durable(path, text, strlen(text)), 0);
    return dataset_open(path, NULL, out);
}

static void llava_file_is_read(void **state)
{
    (void)state;
    static const char text[] =
        "[{\"id\": 7, \"image\": \"images/a.png\", \"conversations\": ["
        "{\"from\": \"human\", \"value\": \"<image>\\nIs there a red circle?\"},"
        "{\"from\": \"gpt\", \"value\": \"yes\", \"kind\": \"existence\"},"
        "{\"from\": \"human\", \"value\": \"Where?\"}, {\"from\": \"gpt\", \"value\": \"top\"}]},"
        " {\"id\": \"t\", \"conversations\": [{\"from\": \"system\", \"value\": \"Be brief.\"},"
        "{\"from\": \"human\", \"value\": \"Hello\"}, {\"from\": \"gpt\", \"value\": \"Hi\"}]},"
        " {\"id\": \"two\", \"image\": [\"a.png\", \"b.png\"], \"conversations\": ["
        "{\"from\": \"human\", \"value\": \"Compare\\n<image>\"}, {\"from\": \"gpt\", \"value\": \"same\"},"
        "{\"from\": \"human\", \"value\": \"And <image>?\"}, {\"from\": \"gpt\", \"value\": \"no\"}]}]";
    struct dataset *d;
    char path[128];
    assert_int_equal(open_text("data.json", text, &d), 0);
    assert_int_equal(dataset_count(d), 3);
    const struct data_sample *s = dataset_at(d, 0);
    assert_string_equal(s->id, "7");
    assert_int_equal(s->turns, 2);
    assert_string_equal(s->turn[0].question, "Is there a red circle?");
    assert_string_equal(s->turn[0].kind, "existence");
    assert_int_equal(s->turn[0].images, 1);
    assert_null(s->turn[1].kind);
    assert_int_equal(dataset_image_path(d, s, 0, path, sizeof path), 0);
    assert_true(span_starts(span_str(path), span_str(folder)) && span_ends(span_str(path), SPAN("/images/a.png")));
    assert_int_equal(dataset_image_path(d, s, 1, path, sizeof path), NUN_EARG);
    assert_string_equal(dataset_at(d, 1)->system, "Be brief.");
    s = dataset_at(d, 2);
    assert_int_equal(s->images, 2);
    assert_string_equal(s->turn[0].question, "Compare");
    assert_string_equal(s->turn[1].question, "And ?");
    assert_null(dataset_at(d, 3));
    dataset_close(d);
    assert_int_equal(dataset_open(folder, "/elsewhere", &d), 0); /* the folder's data.json */
    assert_int_equal(dataset_image_path(d, dataset_at(d, 0), 0, path, sizeof path), 0);
    assert_string_equal(path, "/elsewhere/images/a.png");
    dataset_close(d);
}

static void written_samples_read_back(void **state)
{
    (void)state;
    const struct data_turn turns[] = {{"What \"is\" it?\n", "a\tb \xc3\xa9", 1, "shape", NULL, "fine"},
                                      {"Q", "A", 0, NULL, "popular", NULL}};
    const char *const one[] = {"images/0.png"}, *const two[] = {"x.jpg", "y.webp"};
    const struct data_sample in[] = {
        {"0", "sys", one, 1, turns, 2, 1}, {"1", NULL, NULL, 0, turns + 1, 1, 2},
        {"2", NULL, two, 2, (const struct data_turn[]){{"both", "ok", 2, NULL, NULL, NULL}}, 1, 3},
    };
    struct buf text;
    buf_init(&text, MEM_TEST, 1 << 16);
    for (int i = 0; i < 3; i++) {
        data_sample_write(&in[i], &text);
        buf_char(&text, '\n');
    }
    assert_int_equal(buf_error(&text), 0);
    struct dataset *d;
    assert_int_equal(open_text("data.jsonl", buf_cstr(&text), &d), 0);
    assert_int_equal(dataset_count(d), 3);
    for (int i = 0; i < 3; i++) {
        const struct data_sample *s = dataset_at(d, (size_t)i);
        assert_string_equal(s->id, in[i].id);
        assert_int_equal(s->images, in[i].images);
        assert_int_equal(s->turns, in[i].turns);
        for (int k = 0; k < s->images; k++)
            assert_string_equal(s->image[k], in[i].image[k]);
        for (int k = 0; k < s->turns; k++) {
            assert_string_equal(s->turn[k].question, in[i].turn[k].question);
            assert_string_equal(s->turn[k].answer, in[i].turn[k].answer);
            assert_int_equal(s->turn[k].images, in[i].turn[k].images);
        }
    }
    assert_string_equal(dataset_at(d, 0)->turn[1].negative, "popular");
    assert_string_equal(dataset_at(d, 0)->turn[0].detail, "fine");
    assert_null(dataset_at(d, 0)->turn[1].detail);
    dataset_close(d);
    buf_free(&text);
}

static void malformed_files_are_refused(void **state)
{
    (void)state;
#define GOOD "{\"id\":\"a\"," \
    "\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}]}"
#define TURNS "\"conversations\":[{\"from\":\"human\",\"value\":\"<image>\"},{\"from\":\"gpt\",\"value\":\"a\"}]}"
    static const struct { const char *text, *says; int code; } rows[] = {
        {"[]", "expected samples, found none", NUN_EFORMAT},
        {"{}", "expected a list of samples, found an object", NUN_EFORMAT},
        {"[" GOOD ", 5]", "sample 1: sample: expected an object, found an integer", NUN_EFORMAT},
        {"[" GOOD ", {\"id\":\"b\"}]", "sample 1: conversations: expected a list, found nothing", NUN_EFORMAT},
        {"[{\"id\":\"b\",\"conversations\":[]}]", "expected pairs of human and gpt, found 0", NUN_EFORMAT},
        {"[{\"id\":\"b\",\"conversations\":[{\"from\":\"gpt\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}]}]",
         "from: expected \"human\" here, found \"gpt\"", NUN_EFORMAT},
        {"[{\"id\":\"b\",\"imgae\":\"x.png\"," TURNS "]", "expected no key \"imgae\"", NUN_EUNSUP},
        {"[{\"id\":\"b\"," TURNS "]", "expected 0 marks <image> for its pictures, found 1", NUN_EFORMAT},
        {"[{\"id\":\"b\",\"image\":[\"x\",\"y\"]," TURNS "]",
         "expected 2 marks <image> for its pictures, found 1", NUN_EFORMAT},
        {"[{\"id\":\"b\",\"image\":\"a/../../x\"," TURNS "]", "expected a path inside the data's folder", NUN_EFORMAT},
        {"[{\"id\":\"b\",\"image\":\"/etc/x\"," TURNS "]", "expected a path inside the data's folder", NUN_EFORMAT},
        {"[{\"id\":\"b\",\"image\":5," TURNS "]",
         "image: expected a path or a list of paths, found an integer", NUN_EFORMAT},
        {"[{\"id\":null," TURNS "]", "id: expected a string, found null", NUN_EFORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dataset *d;
        assert_int_equal(open_text("bad.json", rows[i].text, &d), rows[i].code);
        assert_null(d);
        if (!strstr(nun_error(), rows[i].says))
            fail_msg("expected \"%s\" in \"%s\"", rows[i].says, nun_error());
    }
    struct dataset *d;
    assert_true(open_text("bad.jsonl", GOOD "\n{\"id\":\n", &d) < 0);
    assert_non_null(strstr(nun_error(), "sample 1"));
}

static void allocation_failures_leave_nothing(void **state)
{
    (void)state;
    struct dataset *d;
    struct mem_stats before, after;
    assert_int_equal(open_text("ok.jsonl", GOOD "\n" GOOD "\n", &d), 0);
    dataset_close(d);
    char path[128];
    assert_int_equal(path_join(path, sizeof path, folder, "ok.jsonl"), 0);
    mem_stats(MEM_TAG_COUNT, &before);
    int rc = NUN_ENOMEM;
    for (uint64_t n = 1; rc < 0; n++) {
        mem_fail_at(n, false);
        rc = dataset_open(path, NULL, &d);
        mem_fail_at(0, false);
        if (rc == 0)
            dataset_close(d);
        else
            assert_null(d);
        mem_stats(MEM_TAG_COUNT, &after);
        assert_int_equal(before.live_blocks, after.live_blocks);
    }
}

static void answers_are_scored_by_kind(void **state)
{
    (void)state;
    static const struct { enum scene_kind kind; const char *expected, *given; bool right; } rows[] = {
        {SCENE_ASK_EXISTENCE, "yes", " Yes.\n", true},
        {SCENE_ASK_EXISTENCE, "yes", "Yes, there is.", true},
        {SCENE_ASK_EXISTENCE, "no", "none", false},
        {SCENE_ASK_RELATION, "no", "yes", false},
        {SCENE_ASK_COUNT, "3", "three", true},
        {SCENE_ASK_COUNT, "3", "3.", true},
        {SCENE_ASK_COUNT, "3", "13", false},
        {SCENE_ASK_POSITION, "top left", "Top  left", true},
        {SCENE_ASK_POSITION, "top left", "top", false},
        {SCENE_ASK_TEXT, "KART7", "KART7.", true},
        {SCENE_ASK_TEXT, "KART7", "kart7", false},
        {SCENE_ASK_BARS, "4", "four", true},
        {SCENE_ASK_BARS, "red", "Red", true},
        {SCENE_ASK_COLOUR, "red", "", false},
        {SCENE_ASK_JSON, "[{\"a\":\"x\",\"b\":\"y\"},{\"a\":\"z\"}]",
         "[ {\"b\":\"y\", \"a\":\"x\"}, {\"a\":\"z\"} ]", true},
        {SCENE_ASK_JSON, "[{\"a\":\"x\"},{\"a\":\"z\"}]", "[{\"a\":\"z\"},{\"a\":\"x\"}]", false},
        {SCENE_ASK_JSON, "[{\"a\":\"x\"}]", "[{\"a\":\"x\"}", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (scene_answer_right(rows[i].kind, span_str(rows[i].expected), span_str(rows[i].given)) != rows[i].right)
            fail_msg("%s: \"%s\" for \"%s\"", scene_kind_names[rows[i].kind], rows[i].given, rows[i].expected);
    assert_int_equal(scene_kind_of(SPAN("relation")), SCENE_ASK_RELATION);
    assert_int_equal(scene_kind_of(SPAN("nothing")), -1);
}

static void tally_gives_popes_figures(void **state)
{
    (void)state;
    struct scene_tally t = {0}, u = {0};
    for (int i = 0; i < 8; i++)
        scene_tally_add(&t, SCENE_ASK_EXISTENCE, SCENE_NEG_NONE, SPAN("yes"), i < 6 ? SPAN("yes") : SPAN("no"));
    for (int i = 0; i < 4; i++)
        scene_tally_add(&u, SCENE_ASK_EXISTENCE, SCENE_NEG_POPULAR, SPAN("no"), i < 3 ? SPAN("no") : SPAN("yes"));
    scene_tally_merge(&t, &u);
    struct scene_pope p;
    scene_tally_pope(&t, SCENE_NEG_POPULAR, &p);
    assert_true(fabs(p.accuracy - 0.75) < 1e-12 && fabs(p.recall - 0.75) < 1e-12 && fabs(p.yes_ratio - 0.5) < 1e-12);
    assert_true(fabs(p.precision - 0.75) < 1e-12 && fabs(p.f1 - 0.75) < 1e-12);
    assert_true(fabs(scene_tally_share(&t, SCENE_ASK_EXISTENCE) - 0.75) < 1e-12);
    assert_true(isnan(scene_tally_share(&t, SCENE_ASK_COUNT)));
}

static void read_whole(const char *dir, const char *name, struct buf *out)
{
    char path[160];
    assert_int_equal(path_join(path, sizeof path, dir, name), 0);
    assert_int_equal(file_read(path, out), 0);
}

/* The folder holds what the world says, in all three formats, and once more gives the same bytes. */
static void scenes_are_written_and_read_back(void **state)
{
    (void)state;
    enum { PICTURES = 30 };
    char dir[2][80];
    struct scenes_write_options o = {.config = scene_config_default, .seed = 5, .first = 100, .count = PICTURES,
                                     .questions = 6};
    o.config.split = SCENE_TEST;
    for (int i = 0; i < 2; i++) {
        snprintf(dir[i], sizeof dir[i], "%s/scenes%d", folder, i);
        o.dir = dir[i];
        assert_int_equal(scenes_write(&o), 0);
    }
    assert_int_equal(scenes_write(&o), NUN_EARG);
    assert_non_null(strstr(nun_error(), "found a dataset"));
    struct dataset *d;
    assert_int_equal(dataset_open(dir[0], NULL, &d), 0);
    assert_int_equal(dataset_count(d), PICTURES);
    struct buf a, b;
    buf_init(&a, MEM_TEST, 1 << 20);
    buf_init(&b, MEM_TEST, 1 << 20);
    for (int i = 0; i < PICTURES; i++) {
        const struct data_sample *s = dataset_at(d, (size_t)i);
        struct image img;
        char path[160];
        assert_int_equal(dataset_image_path(d, s, 0, path, sizeof path), 0);
        assert_int_equal(image_load(path, NULL, &img), 0);
        assert_true(img.width == 112 && img.height == 112);
        image_free(&img);
        assert_true(s->turns >= 1 && s->turns <= 6 && scene_kind_of(span_str(s->turn[0].kind)) >= 0);
        read_whole(dir[0], s->image[0], &a);
        read_whole(dir[1], s->image[0], &b);
        assert_true(span_eq(buf_view(&a), buf_view(&b)));
        buf_reset(&a);
        buf_reset(&b);
    }
    read_whole(dir[0], "data.json", &a);
    read_whole(dir[1], "data.json", &b);
    assert_true(span_eq(buf_view(&a), buf_view(&b)));
    buf_free(&a);
    buf_free(&b);
    dataset_close(d);
}

/* The set that another program drew from docs/scenes.md: every picture decodes, every kind is there. */
static void foreign_set_is_whole(void **state)
{
    (void)state;
    struct dataset *d;
    int asked[SCENE_KIND_COUNT] = {0};
    assert_int_equal(dataset_open("tests/data/scenes-foreign", NULL, &d), 0);
    assert_int_equal(dataset_count(d), 64);
    for (size_t i = 0; i < dataset_count(d); i++) {
        const struct data_sample *s = dataset_at(d, i);
        struct image img;
        char path[160];
        assert_int_equal(dataset_image_path(d, s, 0, path, sizeof path), 0);
        assert_int_equal(image_load(path, NULL, &img), 0);
        assert_true(img.width == 112 && img.height == 112 && img.channels == 3);
        image_free(&img);
        for (int k = 0; k < s->turns; k++) {
            int kind = scene_kind_of(span_str(s->turn[k].kind));
            struct span answer = span_str(s->turn[k].answer);
            assert_true(kind >= 0);
            asked[kind]++;
            assert_true(scene_answer_right((enum scene_kind)kind, answer, answer));
            if (s->turn[k].negative)
                assert_true(scene_negative_of(span_str(s->turn[k].negative)) > 0 && span_is(answer, "no"));
        }
    }
    for (int k = 0; k < SCENE_KIND_COUNT; k++)
        assert_true(asked[k] >= 4 || scene_config_default.question_weight[k] == 0);
    dataset_close(d);
}

/* ---- messages ---- */

static int parse_lines(const char *text, struct dataset **out)
{
    return dataset_parse(span_str(text), true, "m.jsonl", NULL, out);
}

static void messages_are_read(void **state)
{
    struct dataset *d;
    assert_int_equal(parse_lines("{\"messages\": [{\"role\": \"developer\", \"content\": \"be brief\"},"
                                 "{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {\"url\": \"file:a/b.png\"}},"
                                 "{\"type\": \"image_url\", \"image_url\": {\"url\": \"c.jpg\", \"detail\": \"low\"}},"
                                 "{\"type\": \"text\", \"text\": \"Which\"}, {\"type\": \"text\", \"text\": \" one?\"}]},"
                                 "{\"role\": \"assistant\", \"content\": \"both\"}]}\n\n"
                                 "{\"id\": 7, \"messages\": [{\"role\": \"user\", \"content\": \"what?\"}, {\"role\": \"assistant\", \"content\": \"no\"}]}\n",
                                 &d), 0);
    const struct data_sample *s = dataset_at(d, 0), *t = dataset_at(d, 1);
    assert_string_equal(s->system, "be brief");
    assert_int_equal(s->images, 2);
    assert_string_equal(s->image[0], "a/b.png");
    assert_string_equal(s->image[1], "c.jpg");
    assert_int_equal(s->turn[0].images, 2);
    assert_string_equal(s->turn[0].question, "Which one?");
    assert_string_equal(s->turn[0].answer, "both");
    assert_string_equal(s->id, "0");
    assert_string_equal(t->id, "7");
    assert_int_equal(t->line, 3);
    assert_int_equal(t->images, 0);
    assert_string_equal(t->turn[0].question, "what?");
    dataset_close(d);
}

static void bad_messages_are_refused(void **state)
{
#define TURN(user) "{\"messages\": [{\"role\": \"user\", \"content\": " user "}, {\"role\": \"assistant\", \"content\": \"a\"}]}"
    static const struct { const char *text, *what; } bad[] = {
        {"{\"messages\": []}", "expected pairs of user and assistant, found 0"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}]}", "pairs of user and assistant"},
        {TURN("[{\"type\": \"image_url\", \"image_url\": {\"url\": \"https://x.y/z.png\"}}]"), "expected a file of the data's folder"},
        {TURN("[{\"type\": \"image_url\", \"image_url\": {\"url\": \"../z.png\"}}]"), "inside the data's folder"},
        {TURN("[{\"type\": \"text\", \"text\": \"t\"}, {\"type\": \"image_url\", \"image_url\": {\"url\": \"z.png\"}}]"), "pictures before the text"},
        {TURN("[{\"type\": \"input_audio\"}]"), "expected parts of type text or image_url, found input_audio"},
        {TURN("\"is <image> here?\""), "expected no mark <image> in text"},
        {TURN("5"), "content: expected a string, found an integer"},
        {"{\"messages\": [{\"role\": \"tool\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}]}", "expected \"user\" here, found \"tool\""},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\", \"weight\": 0}]}", "weight: expected 1, found 0"},
        {"{\"messages\": 5}", "messages: expected a list, found an integer"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"q\", \"name\": \"n\"}]}", "expected"},
    };
    struct dataset *d;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text, TURN("\"q\"") "\n%s", bad[i].text);
        assert_true(parse_lines(text, &d) < 0);
        if (!strstr(nun_error(), bad[i].what) || !strstr(nun_error(), "m.jsonl:2: sample 1"))
            fail_msg("%s: %s", bad[i].text, nun_error());
    }
}

/* ---- looking over ---- */

static void note_problem(void *arg, const char *sentence)
{
    size_t n = strlen(arg);
    snprintf((char *)arg + n, 4096 - n, "%s|", sentence);
}

static void every_problem_is_told(void **state)
{
    char dir[] = "/tmp/nun-lint-XXXXXX", path[64], said[4096] = "";
    struct nun_dataset_tally t;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/data.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("[\n{\"id\": \"a\", \"conversations\": [{\"from\": \"human\", \"value\": \"q [{\"}, {\"from\": \"gpt\", \"value\": \"a\"}]},\n\n"
          "{\"id\": \"b\", \"image\": \"gone.png\", \"conversations\": [{\"from\": \"human\", \"value\": \"<image>\\nq\"},\n {\"from\": \"gpt\", \"value\": \"a\"}]},\n"
          "{\"id\": \"c\", \"image\": \"x.png\", \"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, {\"from\": \"gpt\", \"value\": \"a\"}]},\n"
          "{\"id\": \"d\", \"image\": \"data.json\", \"conversations\": [{\"from\": \"human\", \"value\": \"<image>q\"}, {\"from\": \"gpt\", \"value\": \"a\"}]}]\n",
          f);
    fclose(f);
    assert_int_equal(nun_dataset_lint(dir, note_problem, said, &t), 0);
    assert_int_equal(t.samples, 3);
    assert_int_equal(t.problems, 3);
    assert_int_equal(t.pictures, 2);
    assert_non_null(strstr(said, "data.json:4: sample b: picture 1: "));
    assert_non_null(strstr(said, "data.json:6: sample 2: expected 1 marks <image> for its pictures, found 0"));
    assert_non_null(strstr(said, "data.json:7: sample d: picture 1: "));
    remove(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llava_file_is_read), cmocka_unit_test(written_samples_read_back),
        cmocka_unit_test(malformed_files_are_refused), cmocka_unit_test(allocation_failures_leave_nothing),
        cmocka_unit_test(answers_are_scored_by_kind), cmocka_unit_test(tally_gives_popes_figures),
        cmocka_unit_test(messages_are_read), cmocka_unit_test(bad_messages_are_refused), cmocka_unit_test(every_problem_is_told),
        cmocka_unit_test(scenes_are_written_and_read_back), cmocka_unit_test(foreign_set_is_whole),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
