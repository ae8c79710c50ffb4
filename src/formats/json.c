/* JSON parsing: one linear pass bounds the nesting and finds the numbers that jansson would refuse,
 * then jansson parses. Called through json.h by everything that reads JSON. */
/* SPDX-License-Identifier: MIT */
#include "formats/json.h"
#include <ctype.h>
#include "base/ck.h"
#include "base/err.h"
#include "base/file.h"
#include "base/limits.h"

/* jansson's scanner asserts when its own buffer cannot grow. While it parses, a failing allocation is
 * therefore served from a reserve taken beforehand, and the parse is given up afterwards. */
static _Thread_local unsigned failures;
static _Thread_local struct { char *ptr; size_t used, size; } reserve;

static void *heap_alloc(size_t size)
{
    void *p = mem_alloc(MEM_FORMAT, size);
    if (p)
        return p;
    failures++;
    size_t need;
    if (ck_pad(size, 16, &need) || need > reserve.size - reserve.used)
        return NULL;
    p = reserve.ptr + reserve.used;
    reserve.used += need;
    return p;
}

static void heap_free(void *p)
{
    char *c = p;
    if (!reserve.ptr || c < reserve.ptr || c >= reserve.ptr + reserve.size)
        mem_free(p);
}

/* Enough for what one parse may still ask for: its buffer doubles up to the text, nodes follow the text. */
static int reserve_take(size_t text)
{
    reserve.size = 0;
    if (!(reserve.ptr = mem_alloc(MEM_FORMAT, 4 * text + (64u << 10))))
        return NUN_ENOMEM;
    reserve.size = 4 * text + (64u << 10);
    reserve.used = 0;
    return 0;
}

static void reserve_drop(void)
{
    mem_free(reserve.ptr);
    reserve.ptr = NULL;
    reserve.size = reserve.used = 0;
}

unsigned json_mark(void) { return failures; }

int json_check(unsigned mark)
{
    return failures == mark ? 0 : err_set(NUN_ENOMEM, "out of memory while building JSON");
}

/* Before main, so that no value can be allocated by one heap and freed by another. */
__attribute__((constructor)) static void use_tagged_heap(void)
{
    json_set_alloc_funcs(heap_alloc, heap_free);
}

/* ---- the pass before the parser ------------------------------------------------------------ */

struct scan {
    struct span text;
    const char *place;
    bool python;       /* accept NaN and Infinity */
    size_t at, copied; /* text[0..copied) is in `fixed` */
    size_t depth, memory; /* of the values so far, more or less */
    struct buf *fixed; /* the text with rewritten numbers; empty when there were none */
};

static int scan_error(const struct scan *s, int code, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < s->at; i++) {
        column++;
        if (s->text.ptr[i] == '\n')
            line++, column = 1;
    }
    return err_set(code, "%s:%zu:%zu: %s", s->place, line, column, what);
}

/* Replace text[begin..end) by before + itself + after. */
static void rewrite(struct scan *s, size_t begin, size_t end, const char *before, const char *after)
{
    buf_append(s->fixed, s->text.ptr + s->copied, begin - s->copied);
    buf_str(s->fixed, before);
    buf_append(s->fixed, s->text.ptr + begin, end - begin);
    buf_str(s->fixed, after);
    s->copied = end;
}

static void scan_string(struct scan *s)
{
    for (s->at++; s->at < s->text.len && s->text.ptr[s->at] != '"'; s->at++)
        if (s->text.ptr[s->at] == '\\')
            s->at++;
    s->at++;
}

static bool word_at(const struct scan *s, size_t at, struct span word)
{
    return span_starts(span_from(s->text, at), word);
}

static bool beyond_64_bits(struct span digits, bool negative)
{
    uint64_t v = 0;
    for (size_t i = 0; i < digits.len; i++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(digits.ptr[i] - '0'), &v))
            return true;
    return v > (uint64_t)INT64_MAX + negative;
}

static void scan_number(struct scan *s)
{
    size_t begin = s->at;
    bool negative = s->text.ptr[begin] == '-', integer = true;
    if (negative && s->python && word_at(s, begin + 1, SPAN("Infinity"))) {
        s->at += 9;
        rewrite(s, begin, s->at, "\"", "\"");
        return;
    }
    for (s->at++; s->at < s->text.len; s->at++) {
        char c = s->text.ptr[s->at];
        if (c == '.' || c == 'e' || c == 'E')
            integer = false;
        else if (!isdigit((unsigned char)c) && c != '+' && c != '-')
            break;
    }
    struct span digits = span_of(s->text.ptr + begin + negative, s->at - begin - negative);
    if (integer && digits.len >= 19 && beyond_64_bits(digits, negative))
        rewrite(s, begin, s->at, "", ".0");
}

static void scan_word(struct scan *s)
{
    static const struct span words[] = {{"NaN", 3}, {"Infinity", 8}};
    for (size_t i = 0; s->python && i < 2; i++)
        if (word_at(s, s->at, words[i])) {
            rewrite(s, s->at, s->at + words[i].len, "\"", "\"");
            s->at += words[i].len;
            return;
        }
    s->at++;
}

/* What the parser's values take, beside the bytes of texts: "{}," is 70 times its size. */
static size_t value_bytes(char first)
{
    enum { VALUE = 64, ARRAY = 128, OBJECT = 256 };
    if (first == '{')
        return OBJECT;
    if (first == '[')
        return ARRAY;
    return first == '"' || first == '-' || isdigit((unsigned char)first) ? VALUE : 0; /* true, false and null are shared */
}

static int scan_text(struct scan *s)
{
    while (s->at < s->text.len) {
        char c = s->text.ptr[s->at];
        if (s->memory > LIMIT_OF(json_memory))
            return scan_error(s, NUN_ELIMIT, "more values than the limit json_memory allows");
        if (c == '\0') /* jansson takes it for the end of the text */
            return scan_error(s, NUN_EFORMAT, "expected JSON, found a NUL byte");
        if ((c == '[' || c == '{') && ++s->depth > LIMIT_OF(json_depth))
            return scan_error(s, NUN_ELIMIT, "nesting over the limit json_depth");
        if (c == ']' || c == '}')
            s->depth -= s->depth > 0;
        size_t before = s->at;
        if (c == '"')
            scan_string(s);
        else if (c == '-' || isdigit((unsigned char)c))
            scan_number(s);
        else
            scan_word(s);
        s->memory += s->at - before + value_bytes(c);
    }
    if (s->copied)
        buf_append(s->fixed, s->text.ptr + s->copied, s->text.len - s->copied);
    return buf_error(s->fixed);
}

/* ---- parsing ------------------------------------------------------------------------------- */

static int parse_failed(const char *place, const json_error_t *e)
{
    if (json_error_code(e) == json_error_out_of_memory)
        return err_set(NUN_ENOMEM, "%s: out of memory while parsing JSON", place);
    return err_set(NUN_EFORMAT, "%s:%d:%d: %s", place, e->line, e->column, e->text);
}

static int parse_checked(struct span text, const char *place, json_t **out)
{
    json_error_t e;
    unsigned mark = json_mark();
    TRY(reserve_take(text.len));
    json_t *tree = json_loadb(text.len ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    int rc = tree ? json_check(mark) : parse_failed(place, &e);
    if (rc < 0)
        json_decref(tree);
    else
        *out = tree;
    reserve_drop();
    return rc;
}

static int parse(struct span text, const char *place, bool python, json_t **out)
{
    TRY(limit_check(LIMIT_json_bytes, text.len, place));
    struct buf fixed;
    buf_init(&fixed, MEM_FORMAT, 2 * text.len + 64);
    struct scan s = {.text = text, .place = place, .python = python, .fixed = &fixed};
    int rc = scan_text(&s);
    if (rc == 0)
        rc = parse_checked(s.copied ? buf_view(&fixed) : text, place, out);
    buf_free(&fixed);
    return rc;
}

int json_parse_span(struct span text, const char *place, json_t **out)
{
    return parse(text, place, false, out);
}

int json_load_file_limited(const char *path, json_t **out)
{
    struct buf text;
    buf_init(&text, MEM_FORMAT, LIMIT_OF(json_bytes));
    int rc = file_read(path, &text);
    if (rc == 0)
        rc = parse(buf_view(&text), path, true, out);
    buf_free(&text);
    return rc;
}
