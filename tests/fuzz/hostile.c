/* Hostile input at full size: each row of hostile.def makes half a megabyte and a megabyte of one thing, and the
 * fuzz target of its parser reads both, each in a process of its own and on a stack of 256 KiB. Read, refused or
 * run into a limit: all are fine. Twice the input may take little more than twice the time, and memory is bounded.
 * Called by replay.c. */
/* SPDX-License-Identifier: MIT */
#include "hostile.h"
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/span.h"
#include "../sanitized.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where memmem is checked, every call costs as much as the whole text that it might have searched. */
__attribute__((used, visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "intercept_memmem=0:allocator_may_return_null=1";
}

enum { MEGABYTE = 1 << 20, TRIES = 3 };

#define SHORT_S (0.1 * SANITIZED_TIME)  /* quadratic takes seconds; what is over so soon measures the caches */
#define LONG_S (2.0 * SANITIZED_TIME)   /* the limits end everything long before */
#define GROWTH 3.0                      /* linear is 2, quadratic 4 */
#define MOST_MEMORY ((size_t)80 * MEGABYTE)      /* and for grammars what their limit says */

/* ---- inputs ------------------------------------------------------------------------------------ */

struct row { const char *parser; struct span head, middle, turn, tail, end; };

/* Eight bytes in a part that stand for a number. */
#define INDEX "########"      /* which repeat, as 8 hexadecimal digits */
#define NEXT "++++++++"       /* the one after it */
#define DECIMAL "@@@@@@@@"    /* which repeat, as a number behind blanks */
#define TIMES "\0\0TIMES\0"   /* how many repeats, as u64 */
#define OFFSET "\0\0PLACE\0"  /* 32 times the repeat, as u64 */
#define BEHIND "\0\0BYTES\0"  /* how many bytes follow, as u64; in the head */

/* Little-endian numbers of one byte, and what files begin with. */
#define U32(byte) byte "\0\0\0"
#define U64(byte) byte "\0\0\0\0\0\0\0"
#define GGUF(tensors, values) "GGUF" U32("\3") tensors values
#define GGUF_TEXT(key_len, key, len, text) U64(key_len) key U32("\10") U64(len) text
#define GGUF_LIST(key_len, key, type) U64(key_len) key U32("\11") U32(type) TIMES
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A256 A64 A64 A64 A64
#define PNG "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU"

static const struct row rows[] = {
#define HOSTILE(parser, head, middle, turn, tail, end) {#parser, SPAN(head), SPAN(middle), SPAN(turn), SPAN(tail), SPAN(end)},
#include "hostile.def"
#undef HOSTILE
};

struct text { char *ptr; size_t len, times; };

/* Puts the numbers of repeat i into the part that was just written. */
static void number(const struct text *t, size_t begin, size_t i)
{
    char word[32];
    for (char *p = t->ptr + begin; p + 8 <= t->ptr + t->len; p++) {
        uint64_t value = !memcmp(p, TIMES, 8) ? t->times : !memcmp(p, OFFSET, 8) ? 32 * i : UINT64_MAX;
        bool is_index = !memcmp(p, INDEX, 8), is_next = !memcmp(p, NEXT, 8);
        if (value != UINT64_MAX)
            memcpy(p, &value, 8);
        if (!is_index && !is_next && memcmp(p, DECIMAL, 8))
            continue;
        snprintf(word, sizeof word, is_index || is_next ? "%08zx" : "%8zu", i + is_next);
        memcpy(p, word, 8);
    }
}

static void add(struct text *t, struct span part, size_t i)
{
    memcpy(t->ptr + t->len, part.ptr, part.len);
    t->len += part.len;
    number(t, t->len - part.len, i);
}

static void say_how_many_follow(const struct text *t, size_t head)
{
    for (size_t i = 0; i + 8 <= head; i++)
        if (!memcmp(t->ptr + i, BEHIND, 8)) {
            uint64_t behind = t->len - i - 8;
            memcpy(t->ptr + i, &behind, 8);
        }
}

/* head, middle as often as fits, turn, tail as often, end. */
static struct span make(const struct row *r, size_t size)
{
    size_t fixed = r->head.len + r->turn.len + r->end.len;
    struct text t = {mem_alloc(MEM_TEST, size), 0, (size - fixed) / (r->middle.len + r->tail.len)};
    if (!t.ptr)
        return (struct span){NULL, 0};
    add(&t, r->head, 0);
    for (size_t i = 0; i < t.times; i++)
        add(&t, r->middle, i);
    add(&t, r->turn, 0);
    for (size_t i = 0; i < t.times; i++)
        add(&t, r->tail, i);
    add(&t, r->end, 0);
    say_how_many_follow(&t, r->head.len);
    char *exact = mem_alloc(MEM_TEST, t.len); /* one byte too far is seen by a sanitizer */
    if (exact)
        memcpy(exact, t.ptr, t.len);
    mem_free(t.ptr);
    return span_of(exact, exact ? t.len : 0);
}

/* ---- one run ----------------------------------------------------------------------------------- */

struct result { double seconds; size_t memory, left; };
struct run { struct span input; struct result result; };

static void *feed(void *arg)
{
    struct run *run = arg;
    struct mem_stats before, after;
    struct timespec used; /* of this thread alone: other programs do not count */
    mem_stats(MEM_TAG_COUNT, &before);
    LLVMFuzzerTestOneInput((const uint8_t *)run->input.ptr, run->input.len);
    mem_stats(MEM_TAG_COUNT, &after);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    run->result = (struct result){(double)used.tv_sec + (double)used.tv_nsec / 1e9, after.peak_bytes - before.live_bytes,
                                  after.live_bytes - before.live_bytes};
    return NULL;
}

/* In the child: feeds one input and tells the parent. */
static int run_child(const struct row *r, size_t size, int out)
{
    struct run run = {.input = make(r, size)};
    pthread_attr_t small;
    pthread_t thread;
    if (!run.input.ptr || pthread_attr_init(&small) || pthread_attr_setstacksize(&small, SMALL_STACK) ||
        pthread_create(&thread, &small, feed, &run))
        return 1;
    pthread_join(thread, NULL);
    pthread_attr_destroy(&small);
    mem_free((void *)(uintptr_t)run.input.ptr);
    return write(out, &run.result, sizeof run.result) != sizeof run.result;
}

/* 0, or what became of the child. */
static int run_once(const struct row *r, size_t size, struct result *out)
{
    int ends[2], status = -1;
    if (pipe(ends))
        return -1;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        exit(run_child(r, size, ends[1]));
    close(ends[1]);
    ssize_t n = read(ends[0], out, sizeof *out);
    close(ends[0]);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return n == sizeof *out ? status : status ? status : -1;
}

/* ---- verdicts ---------------------------------------------------------------------------------- */

/* The row's middle, printable. */
static const char *title(const struct row *r, char out[64])
{
    struct span s = r->middle;
    size_t n = 0;
    for (size_t i = 0; i < s.len && n < 40; i++)
        out[n++] = s.ptr[i] >= ' ' && s.ptr[i] < 127 ? s.ptr[i] : '.';
    out[n] = '\0';
    return out;
}

static size_t most_memory(const char *parser)
{
    bool grammar = !strcmp(parser, "schema") || !strcmp(parser, "regex") || !strcmp(parser, "gbnf");
    return grammar ? MOST_MEMORY + LIMIT_OF(grammar_memory) : MOST_MEMORY;
}

static const char *wrong(const struct row *r, const struct result *half, const struct result *whole)
{
    if (half->left || whole->left)
        return "left memory behind";
    if (whole->memory > most_memory(r->parser))
        return "took too much memory";
    if (whole->seconds > LONG_S)
        return "took too long";
    return whole->seconds > SHORT_S && whole->seconds > GROWTH * half->seconds ? "took more than linear time" : NULL;
}

/* What seems wrong is tried again, and the least times count: a busy machine is no verdict. */
static const char *judge(const struct row *r, struct result *half, struct result *whole)
{
    const char *what = "";
    for (int i = 0; what && i < TRIES; i++) {
        struct result h, w;
        if (run_once(r, MEGABYTE / 2, &h) || run_once(r, MEGABYTE, &w))
            return "ended badly";
        h.seconds = i && half->seconds < h.seconds ? half->seconds : h.seconds;
        w.seconds = i && whole->seconds < w.seconds ? whole->seconds : w.seconds;
        *half = h;
        *whole = w;
        what = wrong(r, half, whole);
    }
    return what;
}

int hostile_run(const char *parser)
{
    size_t seen = 0, failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct result half = {0, 0, 0}, whole = {0, 0, 0};
        char name[64];
        if (strcmp(rows[i].parser, parser) != 0)
            continue;
        const char *what = judge(&rows[i], &half, &whole);
        printf("%s: %.1f ms, %.1f ms, %.1f MiB: %s\n", title(&rows[i], name), 1e3 * half.seconds, 1e3 * whole.seconds,
               (double)whole.memory / MEGABYTE, what ? what : "fine");
        fflush(stdout);
        failed += what != NULL;
        seen++;
    }
    printf("[  %s ] hostile_%s\n", failed || !seen ? "FAILED " : "     OK", parser);
    return failed || !seen;
}
