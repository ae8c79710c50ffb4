/* Phrases about things and what they fit. See the header. */
/* SPDX-License-Identifier: MIT */
#include "data/scenes_words.h"
#include <stdio.h>
#include <string.h>

void words_fill(char *out, size_t cap, const char *form, const char *const *arg)
{
    size_t n = 0;
    for (const char *f = form; *f; f++) {
        const char one[2] = {*f, 0}, *piece = *f == '%' ? *arg++ : one;
        size_t len = strlen(piece);
        if (n + len + 1 > cap)
            break;
        memcpy(out + n, piece, len);
        n += len;
    }
    out[n] = 0;
}

bool thing_fits(const struct scene_object *o, struct thing t)
{
    return (t.size == ANY || o->size == t.size) && (t.colour == ANY || o->colour == t.colour) &&
           (t.shape == ANY || o->shape == t.shape);
}

int thing_count(const struct scene_object *object, int n, struct thing t)
{
    int found = 0;
    for (int i = 0; i < n; i++)
        found += thing_fits(&object[i], t);
    return found;
}

void thing_phrase(char out[PHRASE], struct thing t, bool plural)
{
    const char *noun = t.shape == ANY ? (plural ? "objects" : "object")
                       : plural       ? scene_shapes[t.shape].plural
                                      : scene_shapes[t.shape].name;
    snprintf(out, PHRASE, "%s%s%s%s%s", t.size == ANY ? "" : scene_size_names[t.size], t.size == ANY ? "" : " ",
             t.colour == ANY ? "" : scene_colours[t.colour].name, t.colour == ANY ? "" : " ", noun);
}

void thing_article(char out[PHRASE + 8], const char *noun)
{
    snprintf(out, PHRASE + 8, "%s %s", strchr("aeiou", noun[0]) ? "an" : "a", noun);
}

struct thing thing_said(const struct scene_object *o, struct say y)
{
    return (struct thing){y.size ? o->size : ANY, y.colour ? o->colour : ANY, y.shape ? o->shape : ANY};
}

int words_pick(const float *weight, int n, float at)
{
    float sum = 0;
    for (int k = 0; k < n; k++)
        sum += weight[k];
    at *= sum;
    int last = 0;
    for (int k = 0; k < n; k++) {
        if (weight[k] <= 0)
            continue;
        last = k;
        if (at < weight[k])
            break;
        at -= weight[k];
    }
    return last;
}

int words_extreme_bar(const struct scene_bar *bar, int n, bool tallest)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if ((bar[i].height > bar[best].height) == tallest)
            best = i;
    return best;
}
