/* nunchi run: one question, one answer. Pictures come by --image or as paths among the words of the
 * prompt; the prompt may come on stdin; the answer streams to stdout. */
/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/seam.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"

enum { IMAGES_MAX = 256 };

struct question {
    struct buf prompt;
    const char *image[IMAGES_MAX];     /* paths, "-" is stdin */
    struct buf picture[IMAGES_MAX];    /* their bytes */
    int images;
};

struct answer {
    const struct cli *c;
    const struct nun_model *model;
    json_t *tokens, *logprobs;
    bool wrote;
    char last;
};

/* ---- the question ---------------------------------------------------------------------------- */

static bool looks_like_picture(struct span word)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp", ".PNG", ".JPG", ".JPEG", ".WEBP"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (word.len > strlen(endings[i]) && span_ends(word, span_str(endings[i])))
            return true;
    return false;
}

static int add_image(struct question *q, const char *path)
{
    if (q->images == IMAGES_MAX)
        return err_set(NUN_ELIMIT, "run: at most %d pictures", IMAGES_MAX);
    buf_init(&q->picture[q->images], MEM_CLI, LIMIT_OF(image_file_bytes));
    q->image[q->images++] = path;
    return ask_read(path, &q->picture[q->images - 1]);
}

/* A word that ends like a picture and is a file becomes one; all else stays as it was typed. */
static int take_word(struct cli *c, struct question *q, struct span word)
{
    if (looks_like_picture(word)) {
        char *path = arena_strndup(c->arena, word.ptr, word.len);
        if (!path)
            return NUN_ENOMEM;
        if (file_exists(path))
            return add_image(q, path);
    }
    buf_span(&q->prompt, word);
    return 0;
}

static void cut(struct buf *b, size_t len)
{
    if (b->len > len)
        b->ptr[b->len = len] = '\0';
}

static int take_text(struct cli *c, struct question *q, const char *text)
{
    struct span rest = span_str(text);
    if (looks_like_picture(rest) && !memchr(rest.ptr, ' ', rest.len) && !file_exists(text))
        return err_set(NUN_EIO, "%s: no such picture", text);
    if (looks_like_picture(rest) && file_exists(text))
        return add_image(q, text);
    while (rest.len) {
        size_t blank = strspn(rest.ptr, " \t\r\n"), n = strcspn(rest.ptr + blank, " \t\r\n");
        size_t before = q->prompt.len;
        buf_append(&q->prompt, rest.ptr, blank);
        size_t spaced = q->prompt.len;
        TRY(take_word(c, q, span_of(rest.ptr + blank, n)));
        if (n && q->prompt.len == spaced)
            cut(&q->prompt, before); /* a picture: its blank goes with it */
        rest = span_from(rest, blank + n);
    }
    return 0;
}

static int take_stdin(struct cli *c, struct question *q)
{
    struct buf text;
    buf_init(&text, MEM_CLI, LIMIT_OF(text_bytes));
    int rc = ask_read("-", &text);
    while (rc >= 0 && text.len && strchr("\r\n", text.ptr[text.len - 1]))
        cut(&text, text.len - 1);
    if (rc >= 0)
        rc = take_text(c, q, buf_cstr(&text));
    buf_free(&text);
    return rc;
}

/* Append one argument; between two texts a blank. */
static int take_argument(struct cli *c, struct question *q, const char *text)
{
    size_t before = q->prompt.len;
    if (before)
        buf_char(&q->prompt, ' ');
    TRY(!strcmp(text, "-") ? take_stdin(c, q) : take_text(c, q, text));
    if (before && q->prompt.len == before + 1)
        cut(&q->prompt, before); /* it was a picture */
    return 0;
}

static int read_question(struct cli *c, struct question *q)
{
    const struct cli_value *images = &c->value[OPT_image];
    const char *word = cli_text(c, OPT_prompt);
    bool stdin_taken = false;
    for (int i = 0; i < images->count; i++) {
        stdin_taken |= !strcmp(images->list[i], "-");
        TRY(add_image(q, images->list[i]));
    }
    if (word)
        TRY(take_argument(c, q, word));
    while ((word = cli_word(c)))
        TRY(take_argument(c, q, word));
    if (!q->prompt.len && !stdin_taken && !isatty(STDIN_FILENO))
        TRY(take_stdin(c, q));
    TRY(buf_error(&q->prompt));
    if (!q->prompt.len && !q->images)
        return err_set(NUN_EARG, "run: expected a prompt or a picture, found neither; see nunchi run -h");
    return 0;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static int on_piece(void *arg, const char *text, size_t len)
{
    struct answer *a = arg;
    if (!a->c->json && len) {
        term_write(stdout, text, len);
        fflush(stdout);
        a->wrote = true;
        a->last = text[len - 1];
    }
    return term_interrupted();
}

/* What a token says behind others: its second time, as the blank before a first word is not given out. NULL without
 * a tokenizer, as ids are all there is then. */
static char *text_of_token(const struct nun_model *m, int32_t id, const char **text, size_t *len)
{
    const int32_t twice[] = {id, id};
    char *once, *both;
    size_t before;
    if (nun_decode(m, twice, 1, 0, &once, &before) < 0)
        return NULL;
    nun_free(once);
    if (nun_decode(m, twice, 2, 0, &both, len) < 0)
        return NULL;
    before = before < *len ? before : *len;
    *text = both + before;
    *len -= before;
    return both;
}

/* {"id", "text", "logprob"}; bytes that are no character alone are U+FFFD in "text". */
static json_t *logprob_json(const struct answer *a, int32_t id, float logprob)
{
    const char *text;
    size_t len;
    char *memory = text_of_token(a->model, id, &text, &len);
    json_t *v = json_pack("{s:i, s:f}", "id", id, "logprob", (double)logprob);
    if (memory)
        json_object_set_new(v, "text", json_stringn(text, len));
    nun_free(memory);
    return v;
}

static int on_token(void *arg, const struct nun_token *t)
{
    struct answer *a = arg;
    json_array_append_new(a->tokens, json_integer(t->id));
    if (t->n_top) {
        json_t *top = json_array();
        for (size_t i = 0; i < t->n_top; i++)
            json_array_append_new(top, logprob_json(a, t->top[i].id, t->top[i].logprob));
        json_t *this = logprob_json(a, t->id, t->logprob);
        json_object_set_new(this, "top", top);
        json_array_append_new(a->logprobs, this);
    }
    return 0;
}

static double rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

static void print_json(const struct answer *a, const struct nun_result *r, double load_s, double total_s)
{
    size_t fresh = r->prompt_tokens - r->cached_tokens;
    json_t *usage = json_pack("{s:I, s:I, s:I, s:I}", "prompt_tokens", (json_int_t)r->prompt_tokens, "cached_tokens",
                              (json_int_t)r->cached_tokens, "completion_tokens", (json_int_t)r->generated_tokens,
                              "total_tokens", (json_int_t)(r->prompt_tokens + r->generated_tokens));
    json_t *timings = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "load_s", load_s, "image_s", r->image_s,
                                "prefill_s", r->prefill_s, "decode_s", r->decode_s, "total_s", total_s,
                                "prefill_tokens_per_s", rate((double)fresh, r->prefill_s), "decode_tokens_per_s",
                                rate((double)r->decode_steps, r->decode_s));
    json_t *root = json_pack("{s:s%, s:O, s:s, s:o, s:o}", "text", r->text, r->text_len, "tokens", a->tokens,
                             "finish_reason", nun_finish_name(r->finish), "usage", usage, "timings", timings);
    if (r->stop)
        json_object_set_new(root, "stop", json_string(r->stop));
    if (json_array_size(a->logprobs))
        json_object_set(root, "logprobs", a->logprobs);
    cli_print_json(root, false);
}

static void print_timings(const struct cli *c, const struct nun_result *r, double load_s)
{
    bool live = term_is(stderr);
    if (!live && !cli_flag(c, OPT_verbose))
        return;
    cli_say(c, "%s%zu tokens in (%.0f/s), %zu out (%.0f/s), loaded in %.2f s, picture %.3f s%s\n",
            live ? "\033[2m" : "", r->prompt_tokens,
            rate((double)(r->prompt_tokens - r->cached_tokens), r->prefill_s), r->generated_tokens,
            rate((double)r->decode_steps, r->decode_s), load_s, r->image_s, live ? "\033[0m" : "");
}

static int put_question(struct cli *c, struct nun_timeline *t, const struct question *q)
{
    struct nun_part part[IMAGES_MAX + 1], system = {.kind = NUN_PART_TEXT, .text = cli_text(c, OPT_system)};
    int n = 0;
    for (int i = 0; i < q->images; i++) {
        const struct buf *p = &q->picture[i];
        part[n++] = (struct nun_part){.kind = NUN_PART_IMAGE_BYTES, .bytes = p->ptr, .len = p->len};
    }
    if (cli_flag(c, OPT_raw))
        return nun_timeline_marked(t, buf_cstr(&q->prompt), q->prompt.len, part, (size_t)n);
    if (q->prompt.len)
        part[n++] = (struct nun_part){.kind = NUN_PART_TEXT, .text = buf_cstr(&q->prompt), .len = q->prompt.len};
    struct nun_message message[] = {{"system", &system, 1, NULL}, {"user", part, (size_t)n, NULL}};
    bool skip = !system.text;
    return nun_timeline_chat(t, &(struct nun_chat){.messages = message + skip, .n_messages = skip ? 1u : 2u});
}

static int answer(struct cli *c, struct nun_model *m, const struct question *q, double load_s, uint64_t began)
{
    struct answer a = {.c = c, .model = m, .tokens = json_array(), .logprobs = json_array()};
    struct nun_timeline *t = NULL;
    struct nun_generate_options o;
    struct nun_result r = {0};
    int rc = nun_timeline_create(m, &t);
    if (rc >= 0)
        rc = put_question(c, t, q);
    bool dry = cli_flag(c, OPT_dry_run);
    if (rc >= 0)
        rc = dry ? dry_run(c, t) : ask_options(c, m, &o);
    if (rc >= 0 && !dry) {
        o.piece = on_piece;
        o.token = on_token;
        o.arg = &a;
        term_catch_interrupt();
        rc = nun_generate(t, &o, &r);
        term_uncatch_interrupt();
        if (a.wrote && (rc < 0 || a.last != '\n'))
            putchar('\n');
    }
    if (rc >= 0 && !dry && c->json)
        print_json(&a, &r, load_s, (double)(seam_now_ns() - began) / 1e9);
    if (rc >= 0 && !dry && !c->json) {
        fflush(stdout);
        print_timings(c, &r, load_s);
    }
    json_decref(a.tokens);
    json_decref(a.logprobs);
    bool cancelled = r.finish == NUN_FINISH_CANCEL;
    nun_timeline_free(t);
    return rc < 0 ? rc : cancelled;
}

int cmd_run(struct cli *c)
{
    struct question q = {.images = 0};
    struct nun_model *m = NULL;
    const char *path;
    uint64_t began = seam_now_ns();
    buf_init(&q.prompt, MEM_CLI, LIMIT_OF(text_bytes));
    TRY(cli_model(c, &path));
    if (cli_int(c, OPT_logprobs) && !c->json)
        return err_set(NUN_EARG, "--logprobs: expected --json with it, which shows them");
    int rc = read_question(c, &q);
    for (int i = 0; i < q.images && rc >= 0; i++)
        term_preview(c, q.picture[i].ptr, q.picture[i].len);
    if (rc >= 0)
        rc = ask_open(c, path, cli_int(c, OPT_ctx_size), &m);
    if (rc >= 0)
        rc = answer(c, m, &q, (double)(seam_now_ns() - began) / 1e9, began);
    nun_model_close(m);
    for (int i = 0; i < q.images; i++)
        buf_free(&q.picture[i]);
    buf_free(&q.prompt);
    return rc;
}
