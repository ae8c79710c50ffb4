/* Fonts of the world: FreeType outlines turned into grey bitmaps, for every size and sub-pixel phase,
 * so that drawing a word copies bytes. Not thread-safe while opening; read-only afterwards. */
/* SPDX-License-Identifier: MIT */
#include "data/scenes_font.h"
#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_OUTLINE_H
#include "base/arena.h"
#include "base/err.h"

enum { GLYPHS = 36, X_PHASES = 4, Y_PHASES = 2, PHASES = X_PHASES * Y_PHASES };

static const char *const font_paths[SCENE_FONTS] = {
    "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf",
};

struct scene_fonts {
    int side, sizes, phases;      /* phases: PHASES, or 1: pens stand on whole pixels */
    int px[SCENE_FONT_SIZES];
    struct arena arena;
    struct scene_glyph *glyph;    /* [SCENE_FONTS, sizes, GLYPHS, phases] */
};

static struct scene_glyph *glyph_at(const struct scene_fonts *f, int font, int size, int row, int phase)
{
    return f->glyph + (((size_t)font * (size_t)f->sizes + (size_t)size) * GLYPHS + (size_t)row) * (size_t)f->phases +
           phase;
}

static int glyph_row(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'Z' ? 10 + c - 'A' : -1;
}

static char glyph_char(int row) { return (char)(row < 10 ? '0' + row : 'A' + row - 10); }

static int draw_glyph(struct scene_fonts *f, FT_Face face, char c, int x_phase, int y_phase, struct scene_glyph *out)
{
    if (FT_Load_Char(face, (FT_ULong)c, FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP))
        return err_set(NUN_EFORMAT, "scenes: font %s: expected glyph '%c', found none", face->family_name, c);
    FT_GlyphSlot slot = face->glyph;
    FT_Outline_Translate(&slot->outline, x_phase * 64 / X_PHASES, -y_phase * 64 / Y_PHASES);
    if (FT_Render_Glyph(slot, FT_RENDER_MODE_NORMAL))
        return err_set(NUN_EFORMAT, "scenes: font %s: glyph '%c' cannot be drawn", face->family_name, c);
    int w = (int)slot->bitmap.width, h = (int)slot->bitmap.rows;
    uint8_t *alpha = arena_array(&f->arena, (size_t)w, (size_t)h);
    if (!alpha)
        return NUN_ENOMEM;
    for (int y = 0; y < h; y++)
        memcpy(alpha + (size_t)y * (size_t)w, slot->bitmap.buffer + y * slot->bitmap.pitch, (size_t)w);
    *out = (struct scene_glyph){w, h, slot->bitmap_left, slot->bitmap_top,
                                (float)slot->linearHoriAdvance / 65536.0f, alpha};
    return 0;
}

static int draw_face(struct scene_fonts *f, FT_Face face, int font)
{
    for (int size = 0; size < f->sizes; size++) {
        FT_F26Dot6 em = (FT_F26Dot6)(f->px[size] * 64 * f->side / SCENE_UNITS);
        if (FT_Set_Char_Size(face, 0, em, 72, 72))
            return err_set(NUN_EFORMAT, "scenes: font %s: expected a scalable font", face->family_name);
        for (int row = 0; row < GLYPHS; row++)
            for (int i = 0; i < f->phases; i++)
                TRY(draw_glyph(f, face, glyph_char(row), i % X_PHASES, i / X_PHASES, glyph_at(f, font, size, row, i)));
    }
    return 0;
}

static int load_fonts(struct scene_fonts *f)
{
    FT_Library library;
    if (FT_Init_FreeType(&library))
        return err_set(NUN_ENOMEM, "scenes: FreeType does not start");
    int rc = 0;
    for (int i = 0; i < SCENE_FONTS && rc == 0; i++) {
        FT_Face face;
        if (FT_New_Face(library, font_paths[i], 0, &face)) {
            rc = err_set(NUN_EIO, "scenes: expected the font %s, found none (packages fonts-dejavu-core and "
                         "fonts-liberation have them)", font_paths[i]);
            break;
        }
        rc = draw_face(f, face, i);
        FT_Done_Face(face);
    }
    FT_Done_FreeType(library);
    return rc;
}

int scene_fonts_open(int side, struct scene_fonts **out)
{
    int px[SCENE_PX_MAX - SCENE_PX_MIN + 1];
    for (int i = 0; i <= SCENE_PX_MAX - SCENE_PX_MIN; i++)
        px[i] = SCENE_PX_MIN + i;
    return scene_fonts_open_sizes(side, px, SCENE_PX_MAX - SCENE_PX_MIN + 1, false, out);
}

int scene_fonts_open_sizes(int side, const int *px, int n, bool whole, struct scene_fonts **out)
{
    *out = NULL;
    if (side < 32 || side > SCENE_SIDE_MAX)
        return err_set(NUN_EARG, "scenes: side: expected 32 to %d, found %d", SCENE_SIDE_MAX, side);
    if (n < 1 || n > SCENE_FONT_SIZES)
        return err_set(NUN_EARG, "scenes: sizes of a font: expected 1 to %d, found %d", SCENE_FONT_SIZES, n);
    struct scene_fonts *f = mem_calloc(MEM_DATA, 1, sizeof *f);
    if (!f)
        return NUN_ENOMEM;
    f->side = side;
    f->sizes = n;
    f->phases = whole ? 1 : PHASES;
    memcpy(f->px, px, sizeof *px * (size_t)n);
    arena_init(&f->arena, MEM_DATA, 0);
    f->glyph = arena_array(&f->arena, (size_t)(SCENE_FONTS * n * GLYPHS * f->phases), sizeof *f->glyph);
    int rc = f->glyph ? load_fonts(f) : NUN_ENOMEM;
    if (rc < 0) {
        scene_fonts_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

void scene_fonts_close(struct scene_fonts *f)
{
    if (!f)
        return;
    arena_free(&f->arena);
    mem_free(f);
}

int scene_fonts_side(const struct scene_fonts *f) { return f->side; }

const struct scene_glyph *scene_glyph(const struct scene_fonts *f, int font, int px, char c, int x_phase, int y_phase)
{
    int row = glyph_row(c), size = 0;
    while (size < f->sizes && f->px[size] != px)
        size++;
    return row < 0 || size == f->sizes ? NULL
                                       : glyph_at(f, font, size, row, f->phases > 1 ? y_phase * X_PHASES + x_phase : 0);
}

float scene_text_width(const struct scene_fonts *f, int font, int px, const char *chars)
{
    float width = 0;
    for (const char *c = chars; *c; c++)
        width += scene_glyph(f, font, px, *c, 0, 0)->advance;
    return width * SCENE_UNITS / (float)f->side;
}
