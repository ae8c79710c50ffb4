/* Scoring of answers in the world of scenes: normalise both sides, compare by the kind's rule. */
/* SPDX-License-Identifier: MIT */
#include "data/scenes_score.h"
#include <math.h>
#include "base/err.h"
#include "formats/json.h"

static int row_of(struct span name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (span_is(name, names[i]))
            return i;
    return -1;
}

int scene_kind_of(struct span name) { return row_of(name, scene_kind_names, SCENE_KIND_COUNT); }
int scene_negative_of(struct span name) { return row_of(name, scene_negative_names, SCENE_NEG_COUNT); }

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static struct span trim(struct span s)
{
    while (s.len && is_space(s.ptr[0]))
        s = span_from(s, 1);
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

/* The next character of a normalised answer: 0 at the end, a run of space as one. */
static char next_char(struct span *s, bool fold)
{
    if (!s->len)
        return 0;
    char c = s->ptr[0];
    do
        *s = span_from(*s, 1);
    while (is_space(c) && s->len && is_space(s->ptr[0]));
    return is_space(c) ? ' ' : fold ? lower(c) : c;
}

static bool same_words(struct span a, struct span b, bool fold)
{
    char x, y;
    do {
        x = next_char(&a, fold);
        y = next_char(&b, fold);
    } while (x == y && x);
    return x == y;
}

static struct span without_stop(struct span s)
{
    s = trim(s);
    if (span_ends(s, SPAN(".")))
        s.len--;
    return trim(s);
}

static struct span first_word(struct span s)
{
    size_t n = 0;
    while (n < s.len && ((s.ptr[n] | 32) >= 'a' && (s.ptr[n] | 32) <= 'z'))
        n++;
    return (struct span){s.ptr, n};
}

static bool right_words(struct span expected, struct span given)
{
    if (span_is(expected, "yes") || span_is(expected, "no"))
        given = first_word(given);
    return same_words(expected, given, true);
}

static bool right_number(struct span expected, struct span given)
{
    static const char *const words[] = {"zero", "one", "two", "three", "four", "five", "six",
                                        "seven", "eight", "nine"};
    if (expected.len == 1 && expected.ptr[0] >= '0' && expected.ptr[0] <= '9' &&
        same_words(span_str(words[expected.ptr[0] - '0']), given, true))
        return true;
    return right_words(expected, given);
}

static bool right_print(struct span expected, struct span given) { return same_words(expected, given, false); }

static bool right_json(struct span expected, struct span given)
{
    json_t *a = NULL, *b = NULL;
    bool same = json_parse_span(expected, "expected answer", &a) == 0 && json_parse_span(given, "answer", &b) == 0 &&
                json_equal(a, b);
    json_decref(a);
    json_decref(b);
    err_clear(); /* a malformed answer is wrong, not an error */
    return same;
}

typedef bool right_fn(struct span expected, struct span given);
static right_fn *const right_by[SCENE_KIND_COUNT] = {
    [SCENE_ASK_EXISTENCE] = right_words, [SCENE_ASK_COUNT] = right_number,   [SCENE_ASK_COLOUR] = right_words,
    [SCENE_ASK_SHAPE] = right_words,     [SCENE_ASK_SIZE] = right_words,     [SCENE_ASK_POSITION] = right_words,
    [SCENE_ASK_RELATION] = right_words,  [SCENE_ASK_TEXT] = right_print,     [SCENE_ASK_BARS] = right_number,
    [SCENE_ASK_CAPTION] = right_words,   [SCENE_ASK_LIST] = right_words,     [SCENE_ASK_JSON] = right_json,
    [SCENE_ASK_ORDER] = right_words,
};

bool scene_answer_right(enum scene_kind kind, struct span expected, struct span given)
{
    return right_by[kind](without_stop(expected), without_stop(given));
}

bool scene_tally_add(struct scene_tally *t, enum scene_kind kind, enum scene_negative negative, struct span expected,
                     struct span given)
{
    bool right = scene_answer_right(kind, expected, given);
    t->asked[kind]++;
    t->right[kind] += right;
    if (kind == SCENE_ASK_EXISTENCE && span_is(without_stop(expected), "yes"))
        (*(right ? &t->yes_right : &t->yes_wrong))++;
    else if (kind == SCENE_ASK_EXISTENCE)
        (right ? t->no_right : t->no_wrong)[negative]++;
    return right;
}

void scene_tally_merge(struct scene_tally *a, const struct scene_tally *b)
{
    for (int k = 0; k < SCENE_KIND_COUNT; k++) {
        a->asked[k] += b->asked[k];
        a->right[k] += b->right[k];
    }
    a->yes_right += b->yes_right;
    a->yes_wrong += b->yes_wrong;
    for (int k = 0; k < SCENE_NEG_COUNT; k++) {
        a->no_right[k] += b->no_right[k];
        a->no_wrong[k] += b->no_wrong[k];
    }
}

double scene_tally_share(const struct scene_tally *t, int kind)
{
    int asked = 0, right = 0;
    for (int k = 0; k < SCENE_KIND_COUNT; k++) {
        asked += kind < 0 || k == kind ? t->asked[k] : 0;
        right += kind < 0 || k == kind ? t->right[k] : 0;
    }
    return asked ? (double)right / asked : NAN;
}

static double ratio(double a, double b) { return b > 0 ? a / b : NAN; }

void scene_tally_pope(const struct scene_tally *t, enum scene_negative negative, struct scene_pope *out)
{
    double yes = t->yes_right + t->yes_wrong, no = t->no_right[negative] + t->no_wrong[negative];
    double scale = ratio(no, yes); /* as many questions about what is there as about what is not */
    double tp = t->yes_right * scale, fn = t->yes_wrong * scale, fp = t->no_wrong[negative], tn = t->no_right[negative];
    out->accuracy = ratio(tp + tn, tp + tn + fp + fn);
    out->precision = ratio(tp, tp + fp);
    out->recall = ratio(tp, tp + fn);
    out->f1 = ratio(2 * tp, 2 * tp + fp + fn);
    out->yes_ratio = ratio(tp + fp, tp + tn + fp + fn);
}
