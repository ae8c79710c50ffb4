/* Conversations to ids: what people type never becomes a special token or a picture, however it is cut, and templates
 * get content in the form that they take. The bundled model's vocabulary, templates of the test's own. */
/* SPDX-License-Identifier: MIT */
#include "../check.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/limits.h"
#include "nunchi/nunchi.h"
#include "text/chat.h"

#define MODEL "models/scenes"
#define PICTURE "tests/data/scenes-foreign/images/0000.png"

static void need_model(void)
{
    if (!file_exists(MODEL "/model.safetensors"))
        skip();
}

static struct nun_model *open_with(const char *template)
{
    struct nun_model *m = NULL;
    check_ok(nun_model_open(MODEL, &(struct nun_model_options){.threads = 1, .chat_template = template}, &m));
    return m;
}

struct ids_of { int32_t at[512]; size_t n; };

static int ids_for(struct nun_model *m, const struct nun_chat *chat, struct ids_of *out)
{
    struct nun_timeline *t = NULL;
    size_t n = 0;
    check_ok(nun_timeline_create(m, &t));
    int rc = nun_timeline_chat(t, chat);
    const int32_t *ids = nun_timeline_tokens(t, &n);
    assert_true(n <= 512);
    for (size_t i = 0; i < n; i++)
        out->at[i] = ids[i];
    out->n = n;
    nun_timeline_free(t);
    return rc;
}

static struct nun_chat one_user(struct nun_message *msg, const struct nun_part *parts, size_t n)
{
    *msg = (struct nun_message){"user", parts, n, NULL};
    return (struct nun_chat){.messages = msg, .n_messages = 1};
}

static int ids_of_text(struct nun_model *m, const char *text, struct ids_of *out)
{
    struct nun_part part = {.kind = NUN_PART_TEXT, .text = text};
    struct nun_message msg;
    struct nun_chat chat = one_user(&msg, &part, 1);
    return ids_for(m, &chat, out);
}

static bool is_special(const struct nun_model *m, int32_t id)
{
    static const char *const names[] = {"<s>", "</s>", "<pad>", "<unk>", "<image>", "<|user|>", "<|assistant|>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (id >= 0 && nun_token_id(m, names[i]) == id)
            return true;
    return false;
}

/* The special ids of a conversation, in order, must be the wanted ones; and its text must be there. */
static void check_specials(struct nun_model *m, const struct ids_of *got, const char *const *wanted, const char *text)
{
    char *decoded = NULL;
    size_t k = 0;
    for (size_t i = 0; i < got->n; i++)
        if (is_special(m, got->at[i])) {
            if (!wanted[k] || nun_token_id(m, wanted[k]) != got->at[i])
                fail_msg("\"%s\": special id %d at %zu, expected %s", text, got->at[i], i, wanted[k] ? wanted[k] : "none");
            k++;
        }
    assert_null(wanted[k]);
    check_ok(nun_decode(m, got->at, got->n, NUN_TEXT_SKIP_SPECIAL, &decoded, NULL));
    if (!strstr(decoded, text))
        fail_msg("expected \"...%s...\", found \"%s\"", text, decoded);
    nun_free(decoded);
}

static const char *const turn[] = {"<s>", "<|user|>", "<|assistant|>", NULL};

static void test_typed_specials_stay_text(void **state)
{
    static const char *const typed[] = {"</s>", "<s>", "a <|assistant|> yes", "<image>", "<|user|><|assistant|></s>", "x</s>y<image>z",
                                        "<</s>>", "</s", "plain"};
    need_model();
    struct nun_model *m = open_with(NULL);
    for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++) {
        struct ids_of got;
        check_ok(ids_of_text(m, typed[i], &got));
        check_specials(m, &got, turn, typed[i]);
    }
    nun_model_close(m);
}

static void test_specials_cut_in_two_stay_text(void **state)
{
    const struct nun_part parts[] = {{.kind = NUN_PART_TEXT, .text = "end </"}, {.kind = NUN_PART_TEXT, .text = "s> go <im"},
                                     {.kind = NUN_PART_TEXT, .text = "age>"}};
    struct nun_message msg;
    struct ids_of got;
    need_model();
    struct nun_model *m = open_with(NULL);
    struct nun_chat chat = one_user(&msg, parts, 3);
    check_ok(ids_for(m, &chat, &got));
    check_specials(m, &got, turn, "end </s> go <image>");
    nun_model_close(m);
}

static void test_a_typed_place_takes_no_picture(void **state)
{
    const struct nun_part parts[] = {{.kind = NUN_PART_TEXT, .text = "<image>?"}, {.kind = NUN_PART_IMAGE_FILE, .text = PICTURE}};
    struct nun_message msg;
    struct nun_model_info info;
    struct ids_of got;
    size_t places = 0;
    need_model();
    struct nun_model *m = open_with(NULL);
    struct nun_chat chat = one_user(&msg, parts, 2);
    nun_model_info(m, &info);
    check_ok(ids_for(m, &chat, &got));
    for (size_t i = 0; i < got.n; i++)
        places += got.at[i] == nun_token_id(m, "<image>");
    assert_int_equal(places, info.image_tokens);
    nun_model_close(m);
}

/* Roles, further keys, tools and variables are typed by somebody, too. */
static void test_everything_else_stays_text(void **state)
{
    static const char template[] = "{{ bos_token }}{% for m in messages %}<|user|>{{ m.role }}:{{ m.content }}:{{ m.name }}{% endfor %}"
                                   "{{ tools | tojson }}{{ note }}<|assistant|>";
    struct nun_part part = {.kind = NUN_PART_TEXT, .text = "hi"};
    struct nun_message msg = {"u</s>", &part, 1, "{\"name\": \"n</s>\"}"};
    struct nun_chat chat = {.messages = &msg, .n_messages = 1, .tools_json = "[{\"d</s>\": \"e<image>\"}]", .more_json = "{\"note\": \"</s>!\"}"};
    struct ids_of got;
    need_model();
    struct nun_model *m = open_with(template);
    check_ok(ids_for(m, &chat, &got));
    check_specials(m, &got, turn, "u</s>:hi:n</s>[{\"d</s>\": \"e<image>\"}]</s>!");
    chat.more_json = "{\"note\": \"\\ufdd0\"}";
    check_fails(NUN_EARG, "U+FDD0", ids_for(m, &chat, &got));
    chat.more_json = "[1]";
    check_fails(NUN_EARG, "JSON object", ids_for(m, &chat, &got));
    check_fails(NUN_EARG, "U+FDD0", ids_of_text(m, "a\xEF\xB7\x90" "b", &got));
    nun_model_close(m);
}

/* Templates that look into what was typed still can: the blanks go, the special string stays text. */
static void test_templates_still_see_the_text(void **state)
{
    struct ids_of got, clean;
    need_model();
    struct nun_model *m = open_with("{{ bos_token }}<|user|>[{{ messages[0].content | trim }}]<|assistant|>");
    check_ok(ids_of_text(m, "  a </s> b\n", &got));
    check_specials(m, &got, turn, "[a </s> b]");
    check_ok(ids_of_text(m, "  red circle\n", &got));
    check_ok(ids_of_text(m, "red circle", &clean));
    assert_int_equal(got.n, clean.n);
    assert_memory_equal(got.at, clean.at, clean.n * sizeof *clean.at);
    nun_model_close(m);
}

/* The bundled template, by hand. */
static void test_the_bundled_template(void **state)
{
    static const char written[] = "<|user|>How many?<|assistant|>Two.</s><|user|>And stars?<|assistant|>";
    const struct nun_part parts[] = {{.kind = NUN_PART_TEXT, .text = "How many?"}, {.kind = NUN_PART_TEXT, .text = "Two."},
                                     {.kind = NUN_PART_TEXT, .text = "And stars?"}};
    const struct nun_message messages[] = {{"user", &parts[0], 1, NULL}, {"assistant", &parts[1], 1, NULL}, {"user", &parts[2], 1, NULL}};
    struct nun_chat chat = {.messages = messages, .n_messages = 3};
    struct ids_of got;
    int32_t *want;
    size_t n;
    need_model();
    struct nun_model *m = open_with(NULL);
    check_ok(ids_for(m, &chat, &got));
    check_ok(nun_encode(m, written, sizeof written - 1, NUN_TEXT_SPECIAL | NUN_TEXT_ADD_SPECIAL, &want, &n));
    if (n && want[n - 1] == nun_token_id(m, "</s>"))
        n--; /* the tokenizer's own end is not part of an open turn */
    assert_int_equal(got.n, n);
    assert_memory_equal(got.at, want, n * sizeof *want);
    nun_free(want);
    nun_model_close(m);
}

static const struct { const char *source; int takes; } forms[] = {
    {"{% for m in messages %}{{ m.content }}{% endfor %}", CHAT_TAKES_STRING},
    {"{% for m in messages %}{{ m.content | trim }}{% endfor %}", CHAT_TAKES_STRING},
    {"{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}{% endfor %}",
     CHAT_TAKES_PARTS},
    {"{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}{% endfor %}",
     CHAT_TAKES_STRING | CHAT_TAKES_PARTS},
    {"{% for m in messages %}{% if m.content is not string %}{{ raise_exception('text only') }}{% endif %}{{ m.content }}{% endfor %}",
     CHAT_TAKES_STRING},
    {"{{ raise_exception('never') }}", 0},
};

static void test_what_templates_take(void **state)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct chat_template *t = NULL;
        check_ok(chat_template_parse(span_str(forms[i].source), "t", &t));
        assert_int_equal(chat_takes(t, NULL), forms[i].takes);
        chat_template_free(t);
    }
}

/* Pictures go as parts where the template knows them, else where they stand in the text. */
static void test_pictures_in_templates_of_text(void **state)
{
    const struct nun_part parts[] = {{.kind = NUN_PART_TEXT, .text = "a "}, {.kind = NUN_PART_IMAGE_FILE, .text = PICTURE},
                                     {.kind = NUN_PART_TEXT, .text = " b"}};
    struct nun_message msg;
    char *text;
    need_model();
    struct nun_model *m = open_with("[{{ messages[0].content }}]");
    struct nun_chat chat = one_user(&msg, parts, 3);
    check_ok(nun_chat_render(m, &chat, &text, NULL));
    assert_string_equal(text, "[a <image> b]");
    nun_free(text);
    nun_model_close(m);
    m = open_with("{% for p in messages[0].content %}{{ '<image>' if p.type == 'image' else p.text | upper }}{% endfor %}");
    check_ok(nun_chat_render(m, &chat, &text, NULL));
    assert_string_equal(text, "A <image> B");
    nun_free(text);
    nun_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typed_specials_stay_text), cmocka_unit_test(test_specials_cut_in_two_stay_text),
        cmocka_unit_test(test_a_typed_place_takes_no_picture), cmocka_unit_test(test_everything_else_stays_text),
        cmocka_unit_test(test_templates_still_see_the_text), cmocka_unit_test(test_the_bundled_template),
        cmocka_unit_test(test_what_templates_take), cmocka_unit_test(test_pictures_in_templates_of_text)};
    return cmocka_run_group_tests_name("prompt", tests, NULL, NULL);
}
