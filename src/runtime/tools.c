/* The public door to single parts (nunchi/tools.h): tokenizers, pictures, peaks and kernel speeds.
 * Thin: every line of work is done in the room that owns it. Scripts and the command line come here. */
/* SPDX-License-Identifier: MIT */
#include "nunchi/tools.h"

#include "base/err.h"
#include "base/limits.h"
#include "kernels/kernel_bench.h"
#include "media/image_write.h"
#include "media/preview.h"
#include "media/resize.h"
#include "nunchi/nunchi.h"
#include "text/tokenizer.h"

#define PUBLIC __attribute__((visibility("default")))

/* The buffer's bytes become the caller's. */
static int hand_over(int rc, struct buf *b, char **out, size_t *len)
{
    if (rc >= 0) {
        buf_append(b, "", 0);
        rc = buf_error(b);
    }
    size_t n = b->len;
    char *bytes = rc >= 0 ? buf_take(b) : NULL;
    if (rc >= 0 && !bytes)
        rc = NUN_ENOMEM;
    buf_free(b);
    if (rc < 0)
        return rc;
    *out = bytes;
    if (len)
        *len = n;
    return 0;
}

/* ---- tokenizers -------------------------------------------------------------------------------- */

struct nun_tokenizer { struct tokenizer *of; };

static const struct { unsigned from, to; } text_flags[] = {
    {NUN_TEXT_SPECIAL, TOK_PARSE_SPECIAL},
    {NUN_TEXT_ADD_SPECIAL, TOK_ADD_SPECIAL},
    {NUN_TEXT_SKIP_SPECIAL, TOK_SKIP_SPECIAL},
};

static unsigned flags_inside(unsigned flags)
{
    unsigned out = 0;
    for (size_t i = 0; i < sizeof text_flags / sizeof *text_flags; i++)
        out |= flags & text_flags[i].from ? text_flags[i].to : 0;
    return out;
}

PUBLIC int nun_tokenizer_open(const char *path, struct nun_tokenizer **out)
{
    struct nun_tokenizer *t = mem_calloc(MEM_RUNTIME, 1, sizeof *t);
    int rc = t ? tokenizer_load(path, &t->of) : NUN_ENOMEM;
    if (rc < 0)
        mem_free(t);
    else
        *out = t;
    return rc;
}

PUBLIC void nun_tokenizer_close(struct nun_tokenizer *t)
{
    if (t)
        tokenizer_free(t->of);
    mem_free(t);
}

PUBLIC int nun_tokenizer_encode(const struct nun_tokenizer *t, const char *text, size_t len, unsigned flags,
                                int32_t **ids, size_t *n)
{
    struct ids v = {0};
    int rc = tokenizer_encode(t->of, span_of(text, len), flags_inside(flags), &v);
    if (rc >= 0)
        rc = ids_reserve(&v, 1); /* so that no ids are a valid block too */
    if (rc < 0) {
        ids_free(&v);
        return rc;
    }
    *ids = v.at;
    *n = v.n;
    return 0;
}

PUBLIC int nun_tokenizer_decode(const struct nun_tokenizer *t, const int32_t *ids, size_t n, unsigned flags,
                                char **text, size_t *len)
{
    struct buf b;
    buf_init(&b, MEM_RUNTIME, LIMIT_OF(text_bytes));
    return hand_over(tokenizer_decode(t->of, ids, n, flags_inside(flags), &b), &b, text, len);
}

/* ---- pictures ---------------------------------------------------------------------------------- */

enum { PREVIEW_BYTES = 64 << 20 };

PUBLIC int nun_image_preview(const void *bytes, size_t n, const char *style, int columns, char **text, size_t *len)
{
    struct image img;
    struct buf b;
    TRY(image_decode(span_of(bytes, n), NULL, &img));
    buf_init(&b, MEM_RUNTIME, PREVIEW_BYTES);
    int rc = preview_render(&img, style, columns, &b);
    image_free(&img);
    return hand_over(rc, &b, text, len);
}

static int scaled(const struct image *in, double scale, struct image *out)
{
    if (!(scale > 0 && scale <= 16))
        return err_set(NUN_EARG, "picture: scale: expected above 0 and at most 16, found %g", scale);
    int w = (int)(in->width * scale + 0.5), h = (int)(in->height * scale + 0.5);
    return image_resize(in, w > 0 ? w : 1, h > 0 ? h : 1, RESIZE_BICUBIC, out);
}

PUBLIC int nun_image_recode(const void *bytes, size_t n, double scale, const char *format, int quality, void **out,
                            size_t *len)
{
    struct image img, sized = {0};
    struct buf b;
    char *text;
    TRY(image_decode(span_of(bytes, n), NULL, &img));
    buf_init(&b, MEM_RUNTIME, LIMIT_OF(image_file_bytes));
    int rc = scaled(&img, scale, &sized);
    if (rc >= 0)
        rc = image_encode(&sized, format, quality, &b);
    image_free(&sized);
    image_free(&img);
    TRY(hand_over(rc, &b, &text, len));
    *out = text;
    return 0;
}

PUBLIC const char *nun_image_format(const void *bytes, size_t n)
{
    struct image_info info;
    if (image_probe(span_of(bytes, n), NULL, &info) == 0)
        return info.format;
    err_clear();
    return NULL;
}

/* ---- this machine ------------------------------------------------------------------------------ */

PUBLIC int nun_peaks(int threads, void (*emit)(void *arg, const struct nun_peak *peak), void *arg)
{
    struct pool *pool;
    struct peaks p;
    TRY(pool_create(threads, &pool));
    int rc = peaks_measure(pool, &p);
    pool_free(pool);
    for (int i = 0; i < PEAK_COUNT && rc >= 0; i++)
        emit(arg, &(struct nun_peak){peak_rows[i].name, peak_rows[i].unit, peak_rows[i].doc, p.one[i], p.all[i]});
    return rc < 0 ? rc : 0;
}

struct kernel_listener {
    void (*emit)(void *arg, const struct nun_kernel_speed *row);
    void *arg;
};

static void pass_on(void *arg, const struct kernel_bench_row *r)
{
    const struct kernel_listener *l = arg;
    l->emit(l->arg, &(struct nun_kernel_speed){r->kernel, r->role, r->unit, r->M, r->N, r->K, r->threads, r->seconds,
                                               r->rate, r->share});
}

PUBLIC int nun_bench_kernels(int threads, void (*emit)(void *arg, const struct nun_kernel_speed *row), void *arg)
{
    struct kernel_listener l = {emit, arg};
    struct pool *pool;
    struct peaks p;
    TRY(pool_create(threads, &pool));
    int rc = kernels_bench(pool, &p, pass_on, &l);
    pool_free(pool);
    return rc < 0 ? rc : 0;
}
