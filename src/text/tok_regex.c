/* Regexes of tokenizer files: translation from Oniguruma's dialect, compilation, matching. Searching goes
 * through windows of the text, and what is tried beyond them is paid for from a credit that grows with the text:
 * a pattern and a text that would take more than linear time are an error instead of a hang. */
/* SPDX-License-Identifier: MIT */
#include "text/tok_regex.h"
#include <pcre2.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/utf8.h"

struct tok_regex {
    pcre2_code *code;
    struct tok_regex *next;
    size_t len;
    char source[]; /* [len] as the file has it, for errors */
};
struct tok_match {
    pcre2_match_data *data;
    pcre2_match_context *limits;
    int64_t credit; /* bytes of windows that may still be tried for single places */
};

static void *pcre_alloc(size_t n, void *unused)
{
    return mem_alloc(MEM_TEXT, n);
}

static void pcre_free(void *p, void *unused)
{
    mem_free(p);
}

/* ---- translation ---- */

struct xlate {
    struct span in;
    size_t i;
    struct buf out;
};

static int refuse(const struct xlate *x, const char *what)
{
    return err_set(NUN_EUNSUP, "regex at byte %zu: %s in \"%.*s\"", x->i, what, (int)x->in.len, x->in.ptr);
}

static bool ahead(const struct xlate *x, const char *s)
{
    return span_starts(span_from(x->in, x->i), span_str(s));
}

/* Escapes that differ: PCRE2's own \s has U+180E besides White_Space, its \w lacks the marks.
 * Outside of classes Oniguruma counts Latin-1's superscripts and fractions as word characters too. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define LATIN1_NUMBERS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
static const struct { char c; const char *in_class, *alone; } escapes[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', WORD, "[" WORD LATIN1_NUMBERS "]"},
    {'W', NULL, "[^" WORD LATIN1_NUMBERS "]"},
    {'h', "0-9a-fA-F", "[0-9a-fA-F]"},
    {'H', NULL, "[^0-9a-fA-F]"},
};

/* Long property names that are not scripts. In PCRE2 a bare script name also matches extensions. */
static const char *const not_scripts[] = {"Any", "Alphabetic", "Alpha", "White_Space", "Uppercase", "Lowercase",
    "Emoji", "Emoji_Presentation", "Extended_Pictographic", "Ideographic", "Join_Control", NULL};

/* At "p{" or "P{" after the backslash. */
static int property(struct xlate *x)
{
    const char *close = memchr(x->in.ptr + x->i, '}', x->in.len - x->i);
    if (!close)
        return refuse(x, "property without a closing brace");
    struct span name = {x->in.ptr + x->i + 2, (size_t)(close - x->in.ptr) - x->i - 2};
    bool negated = name.len && *name.ptr == '^';
    name = span_from(name, negated);
    bool script = name.len > 2 && !memchr(name.ptr, ':', name.len);
    for (size_t i = 0; not_scripts[i]; i++)
        script = script && !span_is(name, not_scripts[i]);
    buf_printf(&x->out, "\\%c{%s%s%.*s}", x->in.ptr[x->i], negated ? "^" : "", script ? "sc:" : "", (int)name.len, name.ptr);
    x->i = (size_t)(close - x->in.ptr) + 1;
    return 0;
}

static int escape(struct xlate *x, bool in_class)
{
    if (++x->i == x->in.len)
        return refuse(x, "backslash at the end");
    char c = x->in.ptr[x->i];
    if (ahead(x, "p{") || ahead(x, "P{"))
        return property(x);
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        if (escapes[i].c == c) {
            const char *s = in_class ? escapes[i].in_class : escapes[i].alone;
            if (!s)
                return refuse(x, "negated set inside a class");
            buf_str(&x->out, s);
            x->i++;
            return 0;
        }
    if (c == 'u') {
        struct span hex = span_from(x->in, x->i + 1);
        if (hex.len < 4)
            return refuse(x, "\\u without four digits");
        buf_printf(&x->out, "\\x{%.4s}", hex.ptr);
        x->i += 5;
        return 0;
    }
    buf_char(&x->out, '\\');
    buf_char(&x->out, c);
    x->i++;
    return 0;
}

/* The members of a class up to its "]" or "&&"; a plain nested class is a union and loses its brackets. */
static int members(struct xlate *x, int depth)
{
    for (bool start = true; x->i < x->in.len; start = false) {
        char c = x->in.ptr[x->i];
        if (ahead(x, "&&") || (c == ']' && !start))
            return 0;
        if (c == '\\') {
            TRY(escape(x, true));
        } else if (ahead(x, "[:")) {
            do
                buf_char(&x->out, x->in.ptr[x->i++]);
            while (x->i < x->in.len && x->in.ptr[x->i - 1] != ']');
        } else if (c == '[') {
            if (depth || ahead(x, "[^"))
                return refuse(x, "class inside a class");
            x->i++;
            TRY(members(x, 1));
            if (!ahead(x, "]"))
                return refuse(x, "intersection inside a nested class");
            x->i++;
        } else {
            buf_char(&x->out, c);
            x->i++;
        }
    }
    return refuse(x, "class without a closing bracket");
}

/* After "&&": one look-ahead (?=[...]) or (?![...]) that the character must pass too. */
static int intersect(struct xlate *x)
{
    x->i += 2;
    bool bracket = ahead(x, "["), negated = ahead(x, "[^");
    x->i += negated ? 2 : bracket;
    buf_str(&x->out, negated ? "(?![" : "(?=[");
    TRY(members(x, 1));
    buf_str(&x->out, "])");
    if (bracket) {
        if (!ahead(x, "]"))
            return refuse(x, "unfinished intersection");
        x->i++;
    }
    return ahead(x, "]") ? 0 : refuse(x, "more than one intersection");
}

/* [A] stays; [A&&[^B]] becomes (?:(?![B])[A]). */
static int char_class(struct xlate *x)
{
    struct buf whole = x->out;
    buf_init(&x->out, MEM_TEXT, whole.max);
    buf_char(&x->out, x->in.ptr[x->i++]);
    bool negated = ahead(x, "^");
    if (negated)
        buf_char(&x->out, x->in.ptr[x->i++]);
    int rc = members(x, 0);
    struct buf base = x->out;
    x->out = whole;
    if (rc == 0)
        rc = buf_error(&base);
    if (rc == 0 && ahead(x, "&&")) {
        buf_str(&x->out, "(?:");
        rc = negated ? refuse(x, "intersection in a negated class") : intersect(x);
        buf_span(&x->out, buf_view(&base));
        buf_str(&x->out, "])");
    } else {
        buf_span(&x->out, buf_view(&base));
        buf_char(&x->out, ']');
    }
    x->i++;
    buf_free(&base);
    return rc;
}

static int translate(struct xlate *x)
{
    while (x->i < x->in.len) {
        char c = x->in.ptr[x->i];
        if (c == '\\') {
            TRY(escape(x, false));
        } else if (c == '[') {
            TRY(char_class(x));
        } else {
            buf_char(&x->out, c);
            x->i++;
        }
    }
    return buf_error(&x->out);
}

/* ---- compilation ---- */

/* What looks back far does so again at every character. */
static int check_behind(const pcre2_code *code)
{
    uint32_t chars = 0;
    pcre2_pattern_info(code, PCRE2_INFO_MAXLOOKBEHIND, &chars);
    return limit_check(LIMIT_regex_behind, chars, "regex: characters looked back");
}

static int compile(struct span pattern, pcre2_code **out)
{
    pcre2_general_context *heap = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    pcre2_compile_context *how = heap ? pcre2_compile_context_create(heap) : NULL;
    int error = 0, rc = 0;
    size_t at = 0;
    if (how) {
        pcre2_set_parens_nest_limit(how, (uint32_t)LIMIT_OF(json_depth));
        *out = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &at, how);
    }
    if (!how || error == PCRE2_ERROR_NOMEMORY) {
        rc = NUN_ENOMEM;
    } else if (!*out) {
        char why[128] = "";
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
        rc = err_set(NUN_EFORMAT, "regex at byte %zu: %s in \"%.*s\"", at, why, (int)pattern.len, pattern.ptr);
    } else if (pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD) == PCRE2_ERROR_NOMEMORY) {
        rc = err_set(NUN_ENOMEM, "regex: out of memory while compiling"); /* other refusals: the interpreter gives the same matches */
    }
    pcre2_compile_context_free(how);
    pcre2_general_context_free(heap);
    return rc;
}

/* Patterns that real files have and that take quadratic time as they stand, with others that match the same. */
static const struct { const char *pattern, *same; } faster[] = {
    {"\\s+$", "(?<!\\s)\\s+$"}, /* where a run of blanks does not match from its start, it does not from later on */
};

int tok_regex_compile(struct span pattern, struct tok_regex **out)
{
    TRY(limit_check(LIMIT_token_bytes, pattern.len, "regex"));
    struct tok_regex *r = mem_calloc(MEM_TEXT, 1, sizeof *r + pattern.len);
    if (!r)
        return NUN_ENOMEM;
    r->len = pattern.len;
    if (pattern.len)
        memcpy(r->source, pattern.ptr, pattern.len);
    for (size_t i = 0; i < sizeof faster / sizeof *faster; i++)
        if (span_is(pattern, faster[i].pattern))
            pattern = span_str(faster[i].same);
    struct xlate x = {.in = pattern};
    buf_init(&x.out, MEM_TEXT, 32 * LIMIT_OF(token_bytes));
    int rc = translate(&x);
    if (rc == 0)
        rc = compile(span_of(buf_cstr(&x.out), x.out.len), &r->code);
    if (rc == 0)
        rc = check_behind(r->code);
    buf_free(&x.out);
    if (rc < 0) {
        tok_regex_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void tok_regex_link(struct tok_regex *r, struct tok_regex *next)
{
    r->next = next;
}

void tok_regex_free(struct tok_regex *r)
{
    while (r) {
        struct tok_regex *next = r->next;
        pcre2_code_free(r->code);
        mem_free(r);
        r = next;
    }
}

/* ---- matching ---- */

int tok_match_create(struct tok_match **out)
{
    struct tok_match *m = mem_calloc(MEM_TEXT, 1, sizeof *m);
    pcre2_general_context *heap = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (m && heap) {
        m->data = pcre2_match_data_create(1, heap);
        m->limits = pcre2_match_context_create(heap);
    }
    pcre2_general_context_free(heap);
    if (!m || !m->data || !m->limits) {
        tok_match_free(m);
        return NUN_ENOMEM;
    }
    m->credit = (int64_t)LIMIT_OF(regex_steps);
    pcre2_set_heap_limit(m->limits, (uint32_t)(LIMIT_OF(regex_heap) >> 10));
    *out = m;
    return 0;
}

void tok_match_free(struct tok_match *m)
{
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->limits);
    mem_free(m);
}

enum {
    WINDOW = 512,  /* bytes of text that a search sees at first, more than the words of real texts have */
    STEPS = 8,     /* backtracking allowed for each of them */
    CREDIT = 1024, /* bytes of windows that a byte of text pays for */
    SHOWN = 80,    /* bytes of a pattern in an error */
};

static size_t next_char(struct span text, size_t at)
{
    do
        at++;
    while (at < text.len && ((unsigned char)text.ptr[at] & 0xc0) == 0x80);
    return at;
}

/* Where a window of n bytes ends: between characters. */
static size_t window_end(struct span text, size_t at, size_t n)
{
    return n < text.len - at ? next_char(text, at + n - 1) : text.len;
}

/* PCRE2 on text[0..end), from `at`: its code. Wherever more text could change the result that is
 * PCRE2_ERROR_PARTIAL. */
static int look(const struct tok_regex *r, struct tok_match *m, struct span text, size_t at, size_t n, uint32_t options)
{
    PCRE2_SPTR s = (PCRE2_SPTR)(text.ptr ? text.ptr : "");
    size_t end = window_end(text, at, n), most = LIMIT_OF(regex_steps);
    options |= PCRE2_NO_UTF_CHECK | (end < text.len ? PCRE2_PARTIAL_HARD : 0);
    pcre2_set_match_limit(m->limits, (uint32_t)(STEPS * n < most ? STEPS * n : most));
    int rc = pcre2_match(r->code, s, end, at, options, m->data, m->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its stack on the heap */
        rc = pcre2_match(r->code, s, end, at, options | PCRE2_NO_JIT, m->data, m->limits);
    return rc;
}

/* Only at `at`: sees and does twice as much until that is enough, as long as there is credit. */
static int look_closely(const struct tok_regex *r, struct tok_match *m, struct span text, size_t at)
{
    for (size_t n = 2 * WINDOW;; n *= 2) {
        m->credit -= (int64_t)n;
        int rc = m->credit < 0 ? PCRE2_ERROR_MATCHLIMIT : look(r, m, text, at, n, PCRE2_ANCHORED);
        bool more = rc == PCRE2_ERROR_PARTIAL || (rc == PCRE2_ERROR_MATCHLIMIT && STEPS * n < LIMIT_OF(regex_steps));
        if (!more || m->credit < 0)
            return rc;
    }
}

/* From `at` on: the code, with the match in m->data. Window by window, and what a window cannot decide closely. */
static int search(const struct tok_regex *r, struct tok_match *m, struct span text, size_t at)
{
    while (true) {
        size_t end = window_end(text, at, WINDOW), stop = end;
        int rc = look(r, m, text, at, WINDOW, 0);
        bool seen = rc >= 0 || rc == PCRE2_ERROR_PARTIAL;
        size_t start = seen ? pcre2_get_startchar(m->data) : at; /* where it matched, or wants to see more */
        if (end < text.len && (rc == PCRE2_ERROR_NOMATCH || (seen && start == end))) {
            at = end; /* nothing begins in this window */
            continue;
        }
        if (rc == PCRE2_ERROR_PARTIAL)
            stop = next_char(text, at = start);
        else if (rc != PCRE2_ERROR_MATCHLIMIT || at == end)
            return rc;
        for (; at < stop; at = next_char(text, at))
            if ((rc = look_closely(r, m, text, at)) != PCRE2_ERROR_NOMATCH)
                return rc;
    }
}

int tok_regex_find(const struct tok_regex *r, struct tok_match *m, struct span text, size_t at, size_t *from, size_t *to)
{
    int rc = search(r, m, text, at);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) {
        char why[128] = "";
        size_t shown = r->len < SHOWN ? r->len : SHOWN;
        shown -= utf8_incomplete_tail(r->source, shown);
        pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
        return err_set(rc == PCRE2_ERROR_NOMEMORY ? NUN_ENOMEM : NUN_ELIMIT, "regex \"%.*s\" on %zu bytes of text: %s", (int)shown,
                       r->source, text.len, why);
    }
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(m->data);
    m->credit += (int64_t)(CREDIT * ((rc < 0 ? text.len : v[1]) - at));
    if (rc < 0)
        return 0;
    *from = v[0] < v[1] ? v[0] : v[1]; /* \K in a look-ahead may put the start behind the end */
    *to = v[1];
    return 1;
}
