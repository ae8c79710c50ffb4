/* Studies: intervals against published figures, refusals with their place, expansion, what is made and what is
 * kept, kills, and the facts of the report. Runs from the project's root. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../check.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "formats/json.h"
#include "train/recipe.h"
#include "train/study_parts.h"

#define DIR "build/test-study"
#define FILE_ DIR "/study.yaml"

static void near(double a, double b, double within)
{
    if (!(fabs(a - b) <= within))
        fail_msg("expected %.7g, found %.7g", b, a);
}

static void write_file(const char *path, const char *text)
{
    check_ok(file_mkdirs(DIR));
    check_ok(file_write_durable(path, text, strlen(text)));
}

static void fresh(void)
{
    if (file_exists(DIR))
        check_ok(file_remove_tree(DIR));
    check_ok(file_mkdirs(DIR));
}

static char *slurp(const char *path)
{
    struct buf b;
    buf_init(&b, MEM_TEST, 64u << 20);
    check_ok(file_read(path, &b));
    return buf_take(&b);
}

static void holds(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("not there: %s", part);
}

/* ---- intervals -------------------------------------------------------------------------------- */

/* Student's t, two-sided 5 %: the table of every textbook. */
static void quantiles_are_those_of_the_tables(void **state)
{
    static const struct { int freedom; double t; } rows[] = {{1, 12.7062}, {2, 4.30265}, {3, 3.18245}, {4, 2.77645}, {9, 2.26216},
                                                             {30, 2.04227}, {63, 1.99834}, {120, 1.97993}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        near(study_t95(rows[i].freedom), rows[i].t, 1e-4);
}

static void means_have_intervals_from_two_on(void **state)
{
    const double x[] = {1, 2, 3};
    struct study_estimate e = study_mean(x, 3);
    near(e.mean, 2, 0);
    near(e.high - e.mean, 2.48414, 1e-4); /* 4.30265 / sqrt(3) */
    near(e.mean - e.low, 2.48414, 1e-4);
    assert_int_equal(e.how, INTERVAL_STUDENT);
    e = study_mean(x, 1);
    assert_true(e.mean == 1 && isnan(e.low) && e.how == INTERVAL_NONE);
    e = study_mean(x, 0);
    assert_true(isnan(e.mean) && e.n == 0);
}

/* Newcombe (1998), interval estimation for the difference: 56/70 against 48/80, and 9/10 against 3/10. */
static void shares_and_their_differences(void **state)
{
    struct study_estimate d = study_share_gain(study_share(56, 70), study_share(48, 80));
    near(d.mean, 0.2, 1e-12);
    near(d.low, 0.0524, 5e-5);
    near(d.high, 0.3339, 5e-5);
    d = study_share_gain(study_share(9, 10), study_share(3, 10));
    near(d.low, 0.1705, 5e-5);
    near(d.high, 0.8090, 5e-5);
    near(study_share(81, 263).low, 0.2553, 5e-5);
    assert_int_equal(study_share(0, 0).n, 0);
}

/* ---- the file --------------------------------------------------------------------------------- */

#define TOP "name: t\noutput: " DIR "/out\nseeds: [1, 2]\ngroups:\n  - {name: g, title: Things, baseline: a}\n"
#define A "  - {name: a, groups: [g], recipe: tests/data/train/torture.yaml}\n"

static void bad_studies_are_refused(void **state)
{
    static const struct { const char *text, *part; } bad[] = {
        {"name: t\n", "Missing required mapping field: output"},
        {TOP "variants:\n" A "wrong: 3\n", "wrong"},
        {TOP "variants:\n" A "wrong: 3\n", "line: "},
        {TOP "variants:\n" A A, "two of that name"},
        {TOP "variants:\n  - {name: b, groups: [g], recipe: r}\n", "baseline \"a\" is no variant"},
        {TOP "variants:\n" A "  - {name: b, groups: [h], recipe: r}\n", "\"h\" is none of the study's groups"},
        {TOP "variants:\n" A "  - {name: ../b, groups: [g], recipe: r}\n", "letters, digits"},
        {TOP "variants:\n" A "  - {name: recipes, groups: [g], recipe: r}\n", "taken by"},
        {TOP "variants:\n" A "  - {name: b, groups: [g], recipe: r, set: [seed = 3]}\n", "the study decides"},
        {TOP "variants:\n" A "quick: {seeds: [1, 1]}\n", "there twice"},
        {TOP "variants:\n" A "quick: {set: [output = x]}\n", "the study decides"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct study *s;
        write_file(FILE_, bad[i].text);
        check_fails(NUN_EFORMAT, bad[i].part, study_load(FILE_, &s));
        holds(nun_error(), "study.yaml");
        assert_null(s);
    }
}

static const char recipe_text[] = "# a comment\nname: r\nseed: 1\nstages:\n  - name: one\n    lr: 0.1\n    learn: [x.]\n  - {name: two, lr: 0.2}\n";

static int edit(const char *change, struct buf *out)
{
    buf_reset(out);
    return study_edit(span_str(recipe_text), "r.yaml", &change, 1, out);
}

static void recipes_are_changed_in_place(void **state)
{
    struct buf b;
    buf_init(&b, MEM_TEST, 1 << 16);
    check_ok(edit("seed = 12", &b));
    assert_string_equal(buf_cstr(&b), "name: r\nseed: 12\nstages:\n- name: one\n  lr: 0.1\n  learn: [x.]\n- {name: two, lr: 0.2}\n");
    check_ok(edit("stages[*].lr=3e-4", &b));
    assert_string_equal(buf_cstr(&b), "name: r\nseed: 1\nstages:\n- name: one\n  lr: 3e-4\n  learn: [x.]\n- {name: two, lr: 3e-4}\n");
    check_ok(edit("stages[0].learn = [a., b.]", &b));
    holds(buf_cstr(&b), "learn: [a., b.]");
    check_ok(edit("stages[two].questions_mix = [{name: text, weight: 1}]", &b));
    holds(buf_cstr(&b), "{name: two, lr: 0.2, questions_mix: [{name: text, weight: 1}]}");
    check_ok(edit("model = a = b.json", &b)); /* the first sign counts */
    holds(buf_cstr(&b), "model: a = b.json");
    check_fails(NUN_EFORMAT, "expected KEY = VALUE", edit("seed 3", &b));
    check_fails(NUN_EFORMAT, "expected KEY = VALUE", edit("= 3", &b));
    check_fails(NUN_EFORMAT, "no stage [three] among the recipe's 2", edit("stages[three].lr = 1", &b));
    check_fails(NUN_EFORMAT, "no stage [2]", edit("stages[2].lr = 1", &b));
    check_fails(NUN_EFORMAT, "stages[WHICH].KEY", edit("stages[2] = 1", &b));
    check_fails(NUN_EFORMAT, "expected a key of the recipe", edit("a.b = 1", &b));
    check_fails(NUN_EFORMAT, "nothing", edit("seed = ", &b));
    check_fails(NUN_EFORMAT, "did not find", edit("seed = [1", &b));
    check_fails(NUN_EFORMAT, "nested deeper", edit("seed = [[[[[[[[[1]]]]]]]]]", &b));
    buf_free(&b);
}

static const char study_text[] =
    TOP
    "shared:\n  - {name: base, recipe: tests/data/train/torture.yaml}\n"
    "variants:\n" A
    "  - name: b\n    label: B & co\n    groups: [g]\n    recipe: tests/data/train/torture.yaml\n"
    "    set: [\"stages[captions].lr = 0.001\", \"model = " DIR "/b.json\"]\n"
    "quick:\n  seeds: [5]\n  set: [\"stages[*].pictures = 8\"]\n";

static int plan(const char *text, bool quick, struct study_plan *p)
{
    char *config = slurp("tests/data/train/torture-config.json");
    write_file(FILE_, text);
    write_file(DIR "/b.json", config);
    mem_free(config);
    return study_plan_make(&(struct nun_study_options){.study = FILE_, .quick = quick}, p);
}

static void studies_become_runs(void **state)
{
    static const char *const names[] = {"base", "a-s1", "b-s1", "a-s2", "b-s2"};
    struct study_plan p;
    struct recipe *r;
    check_ok(plan(study_text, false, &p));
    assert_int_equal(p.n_runs, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(p.runs[i].name, names[i]);
    check_ok(recipe_load(DIR "/out/recipes/b-s2.yaml", &r));
    assert_int_equal(r->seed, 2);
    assert_string_equal(r->runs, DIR "/out/b-s2");
    assert_string_equal(r->output, DIR "/out/b-s2/model");
    assert_string_equal(r->model, DIR "/b.json");
    near((double)r->stages[0].lr, 0.001, 1e-9);
    near(p.runs[4].pictures, 4, 0);
    recipe_free(r);
    check_ok(recipe_load(DIR "/out/recipes/base.yaml", &r));
    assert_int_equal(r->seed, 7); /* a shared run keeps its own */
    recipe_free(r);
    study_plan_free(&p);
    check_ok(plan(study_text, true, &p));
    assert_int_equal(p.n_runs, 3);
    assert_string_equal(p.runs[2].dir, DIR "/out/quick/b-s5");
    near(p.runs[2].pictures, 8, 0);
    study_plan_free(&p);
}

static void changes_to_no_recipe_are_refused(void **state)
{
    struct study_plan p;
    check_fails(NUN_EFORMAT, "run a-s1", plan(TOP "variants:\n  - {name: a, groups: [g], recipe: tests/data/train/torture.yaml, "
                                                  "set: [sede = 3]}\n", false, &p));
    holds(nun_error(), "sede");
    study_plan_free(&p);
    check_fails(NUN_EARG, "no quick form", plan(TOP "variants:\n" A, true, &p));
    study_plan_free(&p);
}

/* ---- runs ------------------------------------------------------------------------------------- */

#define NO_TOKENS ", \"tokens\": 0, \"nats\": 0, \"fine_tokens\": 0, \"fine_nats\": 0"

/* Scores that name and seed decide: B is 10 of 100 better at counting, and each seed adds one. */
static void write_scores(const struct recipe *r)
{
    char path[4200], text[4096];
    int right = 40 + (int)r->seed + (strstr(r->name, "b-s") ? 10 : 0);
    snprintf(path, sizeof path, "%s/scores.json", r->runs);
    snprintf(text, sizeof text,
             "{\"recipe\": \"%s\", \"recipe_hash\": \"00\", \"seed\": %d, \"parameters\": 1000, \"stages\": ["
             "{\"name\": \"start\", \"pictures\": 0, \"steps\": 0, \"seconds\": 0, \"flops_per_picture\": 0, \"pictures_per_s\": 0, "
             "\"tokens_per_s\": 0, \"sequence_tokens\": 0, \"picture_tokens\": 0, \"side_rows\": 0, \"memory_bytes\": 0, \"learnt\": [], "
             "\"scores\": {\"test\": {\"loss\": 5, \"kinds\": {\"count\": {\"asked\": 100, \"right\": 0, \"fine_asked\": 0, "
             "\"fine_right\": 0" NO_TOKENS "}}}, \"text\": {\"loss\": 2, \"kinds\": {\"count\": {\"asked\": 100, \"right\": 77, \"fine_asked\": 0, "
             "\"fine_right\": 0" NO_TOKENS "}}}}},"
             "{\"name\": \"end\", \"pictures\": 4, \"steps\": 1, \"seconds\": 2, \"flops_per_picture\": 3e9, \"pictures_per_s\": 2, "
             "\"tokens_per_s\": 50, \"sequence_tokens\": 20, \"picture_tokens\": 9, \"side_rows\": 0, \"memory_bytes\": 5000000, "
             "\"learnt\": [\"language_model.\"], \"scores\": {\"test\": {\"loss\": 1.5, \"kinds\": {"
             "\"count\": {\"asked\": 100, \"right\": %d, \"fine_asked\": 50, \"fine_right\": 10, \"tokens\": 100, "
             "\"nats\": %d, \"fine_tokens\": 40, \"fine_nats\": 80}, "
             "\"text\": {\"asked\": 100, \"right\": 50, \"fine_asked\": 0, \"fine_right\": 0" NO_TOKENS "}}}}}], "
             "\"prefill\": {\"pictures_per_s\": 7, \"tokens\": 24, \"seconds_to_first_token\": 0.1}}",
             r->name, (int)r->seed, right, 200 - right);
    check_ok(file_write_durable(path, text, strlen(text)));
}

static int trained; /* how often the stand-in was called */

static int stand_in(const struct nun_train_options *o)
{
    struct recipe *r;
    trained++;
    TRY(recipe_load(o->recipe, &r));
    check_ok(file_mkdirs(r->output));
    char path[4200];
    snprintf(path, sizeof path, "%s/config.json", r->output);
    check_ok(file_write_durable(path, r->name, strlen(r->name)));
    int stop = o->progress(o->arg, &(struct nun_train_progress){.stage = "end", .step = 1, .steps = 1, .loss = 1});
    write_scores(r);
    recipe_free(r);
    return stop ? err_set(NUN_ESTOP, "stopped") : 0;
}

static int study(const char *output, const char *only, struct nun_study_result *out)
{
    return study_run(&(struct nun_study_options){.study = FILE_, .output = output, .only = &only, .n_only = only != NULL, .threads = 1},
                     stand_in, out);
}

static void finished_runs_are_kept(void **state)
{
    struct nun_study_result r;
    struct study_plan p;
    fresh();
    check_ok(plan(study_text, false, &p));
    study_plan_free(&p);
    trained = 0;
    check_ok(study(NULL, "b", &r)); /* and what is shared */
    assert_int_equal(r.made, 3);
    assert_int_equal(r.missing, 2);
    check_ok(study(NULL, NULL, &r));
    assert_int_equal(trained, 5);
    assert_true(r.made == 2 && r.kept == 3 && r.missing == 0);
    char *first = slurp(DIR "/out/report.html"), *numbers = slurp(DIR "/out/summary.json");
    check_ok(study(NULL, NULL, &r));
    assert_true(trained == 5 && r.made == 0 && r.kept == 5);
    char *second = slurp(DIR "/out/report.html"), *again = slurp(DIR "/out/summary.json");
    assert_string_equal(first, second);
    assert_string_equal(numbers, again);
    char *picture = slurp(DIR "/out/g-answers.svg"), *inside = strchr(picture, '\n') + 1; /* after <svg> and the style of its own */
    assert_non_null(strstr(picture, "<svg xmlns="));
    assert_non_null(strstr(first, strchr(inside, '\n') + 1));
    mem_free(picture);
    write_file(DIR "/b.json", "{}"); /* another model: B is made again, A stays */
    check_ok(study(NULL, NULL, &r));
    assert_true(trained == 7 && r.made == 2 && r.kept == 3);
    check_fails(NUN_EARG, "\"c\"", study(NULL, "c", &r));
    mem_free(first);
    mem_free(second);
    mem_free(numbers);
    mem_free(again);
}

/* A run that stands on a shared one, in whatever way, is made again with it. */
static void follows_what_is_shared(const char *set)
{
    struct nun_study_result r;
    fresh();
    static const char text[] = TOP "shared:\n  - {name: base, recipe: tests/data/train/torture.yaml, set: [vocab = 270]}\n"
                                   "variants:\n  - {name: a, groups: [g], recipe: tests/data/train/torture.yaml, set: [\"%s\"]}\n";
    char now[2048];
    snprintf(now, sizeof now, text, set);
    write_file(FILE_, now);
    trained = 0;
    check_ok(study(NULL, NULL, &r));
    assert_true(r.made == 3 && trained == 3);
    char *recipe = slurp(DIR "/out/recipes/a-s1.yaml");
    holds(recipe, DIR "/out/base/model");
    assert_null(strstr(recipe, "{study}"));
    mem_free(recipe);
    check_ok(study(NULL, NULL, &r));
    assert_true(r.made == 0 && trained == 3);
    check_ok(file_write_durable(DIR "/out/base/model/config.json", "other", 5));
    check_ok(study(NULL, NULL, &r));
    assert_true(r.made == 2 && r.kept == 1);
    check_ok(study(DIR "/elsewhere", NULL, &r));
    assert_int_equal(r.made, 3);
    assert_string_equal(r.report, DIR "/elsewhere/report.html");
}

static void what_is_shared_is_followed(void **state)
{
    follows_what_is_shared("model = '{study}/base/model'");
    follows_what_is_shared("tokenizer = '{study}/base/model'");
    follows_what_is_shared("processor = '{study}/base/model/config.json'");
    follows_what_is_shared("start = [{from: '{study}/base/model', ours: x.}, {from: '{study}/base/model'}]");
}

static int stop_at_second(void *arg, const struct nun_study_progress *p)
{
    assert_int_equal(p->runs, 5);
    if (p->train)
        assert_true(p->seconds_left >= 0);
    return p->at == 2 && p->train;
}

static void a_stopped_study_goes_on(void **state)
{
    struct nun_study_result r;
    struct study_plan p;
    fresh();
    check_ok(plan(study_text, false, &p));
    study_plan_free(&p);
    struct nun_study_options o = {.study = FILE_, .progress = stop_at_second};
    check_fails(NUN_ESTOP, "a-s1 (2 of 5)", study_run(&o, stand_in, &r));
    assert_int_equal(r.made, 1);
    check_ok(study(NULL, NULL, &r));
    assert_int_equal(r.missing, 0);
}

/* ---- the report ------------------------------------------------------------------------------- */

static void the_report_says_what_was_counted(void **state)
{
    struct nun_study_result r;
    struct study_plan p;
    fresh();
    check_ok(plan(study_text, false, &p));
    study_plan_free(&p);
    check_ok(study(NULL, NULL, &r));
    char *html = slurp(r.report), *md = slurp(DIR "/out/summary.md");
    /* counting: A 41 and 42, B 51 and 52 of 100; t of one degree is 12.706, so +- 6.35 */
    holds(md, "| questions | a | B & co |");
    holds(md, "| count | 41.5 [35.1, 47.9] | 51.5 [45.1, 57.9] |");
    holds(md, "| text | 50.0 [40.4, 59.6] | 50.0 [40.4, 59.6] |");
    holds(md, "| count | 0 | +10.0 [-3.8, +23.3] |");
    holds(md, "| count, fine | 20.0 [11.2, 33.0] |");
    holds(md, "| count, coarse | 63.0 [50.3, 75.7] |");
    holds(md, "| count | 1.585 [1.521, 1.649] | 1.485 [1.421, 1.549] |"); /* 159 and 158, 149 and 148 nats of 100 tokens */
    holds(md, "| count, fine | 2.000 [2.000, 2.000] |");
    holds(md, "| start | nothing | 0.0 [0.0, 3.7] | 77.0 [67.8, 84.2] |");
    holds(md, "| end | language_model. |");
    holds(md, "| training FLOPs a picture | 3 G | 3 G |");
    holds(md, "training, pictures/s (measured)");
    holds(html, "B &amp; co");
    holds(html, "Student");
    holds(html, "<svg");
    holds(html, "41.5 %");
    assert_null(strstr(html, "nan"));
    assert_null(strstr(html, "http"));
    assert_null(strstr(html, "<script"));
    mem_free(html);
    mem_free(md);
    json_t *o;
    double mean = 0, low = 0;
    check_ok(json_load_file_limited(r.summary, &o));
    const json_t *b = json_array_get(json_object_get(o, "variants"), 1);
    check_ok(json_get_double(b, "summary", "right.kinds.count.mean", 0, 1, &mean));
    check_ok(json_get_double(b, "summary", "right.kinds.count.low", 0, 1, &low));
    near(mean, 0.515, 1e-12);
    near(low, 0.515 - 0.005 * 12.7062, 1e-5);
    assert_non_null(json_dig(b, "measured.pictures_per_s"));
    assert_null(json_dig(b, "costs.pictures_per_s"));
    json_decref(o);
}

static void foreign_scores_are_refused(void **state)
{
    struct study_scores *s = mem_alloc(MEM_TEST, sizeof *s);
    struct recipe r = {.name = (char *)"x", .runs = (char *)DIR, .seed = 1};
    static const struct { const char *from, *to, *part; } rows[] = {
        {"\"steps\"", "\"stops\"", "steps"}, {"\"seed\"", "\"extra\": 1, \"seed\"", "extra"}, {"\"fine_asked\": 50", "\"fine_asked\": 500", "cannot be"},
        {"\"prefill\"", "\"prefall\"", "prefall"},
        {"\"learnt\": []", "\"learnt\": [3]", "learnt[0]"}, {"\"right\": 50", "\"right\": 150", "cannot be"}};
    assert_non_null(s);
    check_ok(file_mkdirs(DIR));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b;
        write_scores(&r);
        check_ok(study_scores_read(DIR "/scores.json", s));
        assert_true(s->n_stages == 2 && s->stage[1].test.n == 2 && s->stage[0].text.there && !s->stage[1].text.there);
        char *text = slurp(DIR "/scores.json"), *at = strstr(text, rows[i].from);
        buf_init(&b, MEM_TEST, 1 << 16);
        buf_append(&b, text, (size_t)(at - text));
        buf_str(&b, rows[i].to);
        buf_str(&b, at + strlen(rows[i].from));
        check_ok(file_write_durable(DIR "/scores.json", b.ptr, b.len));
        int rc = study_scores_read(DIR "/scores.json", s);
        assert_true(rc < 0);
        holds(nun_error(), rows[i].part);
        holds(nun_error(), "scores.json");
        buf_free(&b);
        mem_free(text);
    }
    mem_free(s);
}

/* ---- real trainings, killed ------------------------------------------------------------------- */

static const char real_text[] = TOP "variants:\n  - {name: a, groups: [g], recipe: tests/data/train/torture.yaml, set: [\"stages[0].pictures = 16\"]}\n"
                                    "  - {name: b, groups: [g], recipe: tests/data/train/torture.yaml, set: [\"stages[0].lr = 0.001\"]}\n";

/* The numbers are made up, the training is not. */
static int train_and_score(const struct nun_train_options *o)
{
    struct recipe *r;
    TRY(nun_train(o));
    TRY(recipe_load(o->recipe, &r));
    write_scores(r);
    recipe_free(r);
    return 0;
}

static int real(const char *output)
{
    struct nun_study_result r;
    return study_run(&(struct nun_study_options){.study = FILE_, .output = output, .threads = 1}, train_and_score, &r);
}

/* 1 when the child came to the end. */
static int run_and_kill(useconds_t us)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(real(DIR "/killed") == 0 ? 0 : 3);
    for (useconds_t waited = 0; waited < us; waited += 2000) {
        if (waitpid(child, &status, WNOHANG) == child) {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            return 1;
        }
        usleep(2000);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return 0;
}

static void same_file(const char *name)
{
    char one[256], two[256];
    struct file_map a, b;
    snprintf(one, sizeof one, DIR "/whole/%s", name);
    snprintf(two, sizeof two, DIR "/killed/%s", name);
    check_ok(file_map(one, &a));
    check_ok(file_map(two, &b));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.ptr, b.ptr, a.len);
    file_unmap(&a);
    file_unmap(&b);
}

static void killed_studies_end_the_same(void **state)
{
    struct rng random = rng_at(11, 0);
    int kills = 0;
    fresh();
    write_file(FILE_, real_text);
    check_ok(real(DIR "/whole"));
    while (!run_and_kill(20000 + rng_below(&random, 400000) + (useconds_t)kills * 100000))
        kills++;
    print_message("%d kills\n", kills);
    same_file("a-s1/model/model.safetensors");
    same_file("b-s2/model/model.safetensors");
    same_file("summary.json");
    same_file("summary.md");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_those_of_the_tables), cmocka_unit_test(means_have_intervals_from_two_on),
        cmocka_unit_test(shares_and_their_differences), cmocka_unit_test(bad_studies_are_refused),
        cmocka_unit_test(recipes_are_changed_in_place), cmocka_unit_test(studies_become_runs),
        cmocka_unit_test(changes_to_no_recipe_are_refused), cmocka_unit_test(finished_runs_are_kept),
        cmocka_unit_test(what_is_shared_is_followed), cmocka_unit_test(a_stopped_study_goes_on),
        cmocka_unit_test(the_report_says_what_was_counted), cmocka_unit_test(foreign_scores_are_refused),
        cmocka_unit_test(killed_studies_end_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
