/* nunchi chat: a conversation in the terminal. Lines that begin with a slash are commands, rows of a
 * table. The state of what was said before is kept: only what is new is computed. */
/* SPDX-License-Identifier: MIT */
#include <histedit.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "nunchi/nunchi.h"

enum { MESSAGES_MAX = 4096, PARTS_MAX = 64 };

struct turn {
    const char *role;
    struct nun_part part[PARTS_MAX];
    const char *path[PARTS_MAX]; /* of a picture part */
    size_t n;
    bool pictures;
};

struct chat {
    struct cli *c;
    struct nun_model *model;
    struct nun_timeline *timeline;  /* state of what was said; NULL: nothing yet */
    struct turn *turn[MESSAGES_MAX];
    size_t n;
    struct turn *next;              /* the message being written: its pictures */
    bool over, failed;              /* failed: a question had no answer */
};

/* ---- messages -------------------------------------------------------------------------------- */

static int new_turn(struct chat *k, const char *role, struct turn **out)
{
    struct turn *t = arena_alloc(k->c->arena, sizeof *t);
    if (!t)
        return NUN_ENOMEM;
    t->role = role;
    *out = t;
    return 0;
}

static int push(struct chat *k, struct turn *t)
{
    if (k->n == MESSAGES_MAX)
        return err_set(NUN_ELIMIT, "chat: at most %d messages; /clear begins anew", MESSAGES_MAX);
    k->turn[k->n++] = t;
    return 0;
}

static int add_text(struct chat *k, struct turn *t, const char *text, size_t len)
{
    char *copy = arena_strndup(k->c->arena, text, len);
    if (!copy)
        return NUN_ENOMEM;
    if (t->n == PARTS_MAX)
        return err_set(NUN_ELIMIT, "chat: at most %d pictures in a message", PARTS_MAX - 1);
    t->part[t->n++] = (struct nun_part){.kind = NUN_PART_TEXT, .text = copy, .len = len};
    return 0;
}

static int add_picture(struct chat *k, struct turn *t, const char *path)
{
    struct buf bytes;
    char *name = arena_strdup(k->c->arena, path);
    if (t->n + 1 >= PARTS_MAX)
        return err_set(NUN_ELIMIT, "chat: at most %d pictures in a message", PARTS_MAX - 1);
    buf_init(&bytes, MEM_CLI, LIMIT_OF(image_file_bytes));
    int rc = name ? file_read(path, &bytes) : NUN_ENOMEM;
    if (rc >= 0)
        term_preview(k->c, bytes.ptr, bytes.len);
    char *copy = rc >= 0 ? arena_strndup(k->c->arena, bytes.ptr, bytes.len) : NULL;
    if (rc >= 0 && !copy)
        rc = NUN_ENOMEM;
    if (rc >= 0) {
        t->path[t->n] = name;
        t->part[t->n++] = (struct nun_part){.kind = NUN_PART_IMAGE_BYTES, .bytes = copy, .len = bytes.len};
        t->pictures = true;
    }
    buf_free(&bytes);
    return rc;
}

static void forget(struct chat *k)
{
    nun_timeline_free(k->timeline);
    k->timeline = NULL;
}

/* ---- answering ------------------------------------------------------------------------------- */

static int on_piece(void *arg, const char *text, size_t len)
{
    term_write(stdout, text, len);
    fflush(stdout);
    return term_interrupted();
}

static void print_answer(const struct nun_result *r)
{
    cli_print_json(json_pack("{s:s, s:s%, s:s}", "role", "assistant", "text", r->text, r->text_len, "finish_reason",
                             nun_finish_name(r->finish)), false);
    fflush(stdout);
}

static int render(struct chat *k, struct nun_timeline **out)
{
    struct nun_message *list = mem_calloc(MEM_CLI, k->n, sizeof *list);
    struct nun_timeline *t = NULL;
    int rc = list ? nun_timeline_create(k->model, &t) : NUN_ENOMEM;
    for (size_t i = 0; i < k->n && rc >= 0; i++)
        list[i] = (struct nun_message){k->turn[i]->role, k->turn[i]->part, k->turn[i]->n, NULL};
    if (rc >= 0)
        rc = nun_timeline_chat(t, &(struct nun_chat){.messages = list, .n_messages = k->n});
    mem_free(list);
    if (rc < 0)
        nun_timeline_free(t);
    else
        *out = t;
    return rc;
}

/* The conversation so far as a timeline, on top of the state that is there already. A new picture
 * cannot be appended as ids: then the whole is computed anew. */
static int prepare(struct chat *k)
{
    struct nun_timeline *fresh;
    TRY(render(k, &fresh));
    if (!k->timeline || k->turn[k->n - 1]->pictures) {
        forget(k);
        k->timeline = fresh;
        return 0;
    }
    size_t n, shared = nun_timeline_common(k->timeline, fresh);
    const int32_t *ids = nun_timeline_tokens(fresh, &n);
    int rc = nun_timeline_rewind(k->timeline, shared);
    if (rc >= 0)
        rc = nun_timeline_ids(k->timeline, ids + shared, n - shared);
    nun_timeline_free(fresh);
    return rc;
}

static int answer(struct chat *k)
{
    struct nun_generate_options o;
    struct nun_result r = {0};
    struct turn *t;
    TRY(prepare(k));
    TRY(ask_options(k->c, k->model, &o));
    o.piece = k->c->json ? NULL : on_piece;
    term_catch_interrupt();
    int rc = nun_generate(k->timeline, &o, &r);
    bool stopped = term_interrupted();
    term_uncatch_interrupt();
    if (!k->c->json)
        putchar('\n');
    TRY(rc);
    if (k->c->json)
        print_answer(&r);
    if (stopped)
        cli_say(k->c, "(stopped)\n");
    if (r.finish == NUN_FINISH_CONTEXT)
        cli_say(k->c, "(the context is full: /clear begins anew)\n");
    TRY(new_turn(k, "assistant", &t));
    TRY(add_text(k, t, r.text, r.text_len));
    return push(k, t);
}

static int say(struct chat *k, const char *text, size_t len)
{
    struct turn *t = k->next;
    size_t before = k->n;
    if (!t)
        TRY(new_turn(k, "user", &t));
    TRY(add_text(k, t, text, len));
    TRY(push(k, t));
    int rc = answer(k);
    k->next = NULL;
    if (rc < 0) { /* as if it had not been said */
        k->failed = true;
        k->n = before;
        forget(k);
    }
    return rc;
}

/* ---- commands -------------------------------------------------------------------------------- */

static int do_image(struct chat *k, const char *path)
{
    if (!*path)
        return err_set(NUN_EARG, "/image: expected a file");
    if (!k->next)
        TRY(new_turn(k, "user", &k->next));
    return add_picture(k, k->next, path);
}

static json_t *turn_json(const struct turn *t)
{
    json_t *content = json_array();
    for (size_t i = 0; i < t->n; i++) {
        const struct nun_part *p = &t->part[i];
        json_array_append_new(content, t->path[i] ? json_pack("{s:s, s:s}", "type", "image", "path", t->path[i])
                                                  : json_pack("{s:s, s:s%}", "type", "text", "text", p->text, p->len));
    }
    return json_pack("{s:s, s:o}", "role", t->role, "content", content);
}

static int to_buf(const char *bytes, size_t n, void *arg)
{
    buf_append(arg, bytes, n);
    return 0;
}

static int do_save(struct chat *k, const char *path)
{
    struct buf text;
    if (!*path)
        return err_set(NUN_EARG, "/save: expected a file");
    json_t *list = json_array();
    for (size_t i = 0; i < k->n; i++)
        json_array_append_new(list, turn_json(k->turn[i]));
    buf_init(&text, MEM_CLI, LIMIT_OF(text_bytes));
    json_dump_callback(list, to_buf, &text, JSON_INDENT(2));
    buf_char(&text, '\n');
    json_decref(list);
    int rc = buf_error(&text);
    if (rc >= 0)
        rc = file_write_durable(path, text.ptr, text.len);
    buf_free(&text);
    if (rc >= 0)
        cli_say(k->c, "%zu messages in %s\n", k->n, path);
    return rc;
}

static int do_undo(struct chat *k, const char *rest)
{
    k->next = NULL;
    while (k->n && strcmp(k->turn[k->n - 1]->role, "user") != 0 && strcmp(k->turn[k->n - 1]->role, "system") != 0)
        k->n--;
    if (!k->n || strcmp(k->turn[k->n - 1]->role, "user") != 0)
        return err_set(NUN_EARG, "/undo: nothing was said yet");
    k->n--;
    return 0;
}

static int do_clear(struct chat *k, const char *rest)
{
    k->n = k->n && !strcmp(k->turn[0]->role, "system");
    k->next = NULL;
    forget(k);
    return 0;
}

static int do_quit(struct chat *k, const char *rest)
{
    k->over = true;
    return 0;
}

static int do_help(struct chat *k, const char *rest);

static const struct verb {
    const char *name, *argument, *doc;
    int (*fn)(struct chat *k, const char *rest);
} verbs[] = {
    {"image", "FILE", "show a picture with what is said next", do_image},
    {"undo", "", "take back the last question and its answer", do_undo},
    {"clear", "", "begin anew", do_clear},
    {"save", "FILE", "write the conversation as JSON", do_save},
    {"help", "", "this list", do_help},
    {"quit", "", "end (or Ctrl-D)", do_quit},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

static int do_help(struct chat *k, const char *rest)
{
    for (int i = 0; i < VERBS; i++)
        fprintf(stderr, "  /%-6s %-5s %s\n", verbs[i].name, verbs[i].argument, verbs[i].doc);
    return 0;
}

static int command(struct chat *k, const char *line)
{
    size_t n = strcspn(line, " \t");
    const char *names[VERBS + 1] = {NULL}, *rest = line + n + strspn(line + n, " \t");
    char typed[32];
    for (int i = 0; i < VERBS; i++) {
        names[i] = verbs[i].name;
        if (strlen(verbs[i].name) == n && !memcmp(verbs[i].name, line, n))
            return verbs[i].fn(k, rest);
    }
    snprintf(typed, sizeof typed, "%.*s", (int)n, line);
    const char *near = cli_suggest(typed, names);
    return err_set(NUN_EARG, "unknown command /%s%s%s%s", typed, near ? ": did you mean /" : "; see /help",
                   near ? near : "", near ? "?" : "");
}

/* ---- lines ----------------------------------------------------------------------------------- */

static char *prompt(EditLine *el)
{
    static char text[] = "> ";
    return text;
}

/* The next line without its end, in `line`; false at the end of input. */
static bool next_line(EditLine *el, History *lines, struct buf *line)
{
    int n = 0, ch;
    buf_reset(line);
    if (el) {
        HistEvent event;
        const char *text = el_gets(el, &n);
        if (!text || n <= 0)
            return false;
        if (strspn(text, " \t\r\n") < (size_t)n)
            history(lines, &event, H_ENTER, text);
        buf_append(line, text, (size_t)n);
    } else {
        while ((ch = getchar()) != EOF && ch != '\n')
            buf_char(line, (char)ch);
        if (ch == EOF && !line->len)
            return false;
    }
    while (line->len && strchr("\r\n \t", line->ptr[line->len - 1]))
        line->ptr[--line->len] = '\0';
    return true;
}

static void talk(struct chat *k, EditLine *el, History *lines)
{
    struct buf line;
    buf_init(&line, MEM_CLI, LIMIT_OF(text_bytes));
    while (!k->over && next_line(el, lines, &line)) {
        const char *text = buf_cstr(&line);
        int rc = buf_error(&line);
        if (rc >= 0 && line.len)
            rc = text[0] == '/' ? command(k, text + 1) : say(k, text, line.len);
        if (rc < 0)
            fprintf(stderr, "nunchi: %s\n", nun_error());
    }
    buf_free(&line);
}

static int begin(struct chat *k)
{
    struct cli *c = k->c;
    if (cli_text(c, OPT_system)) {
        struct turn *t;
        TRY(new_turn(k, "system", &t));
        TRY(add_text(k, t, cli_text(c, OPT_system), strlen(cli_text(c, OPT_system))));
        TRY(push(k, t));
    }
    for (int i = 0; i < c->value[OPT_image].count; i++)
        TRY(do_image(k, c->value[OPT_image].list[i]));
    return 0;
}

int cmd_chat(struct cli *c)
{
    struct chat *k = arena_alloc(c->arena, sizeof *k);
    const char *path;
    HistEvent event;
    if (!k)
        return NUN_ENOMEM;
    k->c = c;
    TRY(cli_model(c, &path));
    TRY(cli_no_more_words(c));
    TRY(ask_open(c, path, cli_int(c, OPT_ctx_size), &k->model));
    bool live = isatty(STDIN_FILENO) && term_is(stdout);
    EditLine *el = live ? el_init("nunchi", stdin, stdout, stderr) : NULL;
    History *lines = el ? history_init() : NULL;
    if (el && lines) {
        history(lines, &event, H_SETSIZE, 1000);
        el_set(el, EL_PROMPT, prompt);
        el_set(el, EL_EDITOR, "emacs");
        el_set(el, EL_HIST, history, lines);
        cli_say(c, "/help lists commands; Ctrl-C stops an answer, Ctrl-D ends.\n");
    }
    int rc = begin(k);
    if (rc >= 0)
        talk(k, el, lines);
    forget(k);
    nun_model_close(k->model);
    if (lines)
        history_end(lines);
    if (el)
        el_end(el);
    return rc < 0 ? rc : k->failed && !live ? 2 : 0; /* a script learns that an answer is missing */
}
