/* The parts alone, for scripts and for looking: files, tokenizers, pictures, this machine's speed. */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_TOOLS_H
#define NUNCHI_TOOLS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nunchi/error.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Text that functions below return is NUL-terminated and the caller's: free it with nun_free (nunchi.h). */

/* ---- files ------------------------------------------------------------------------------------- */

/* What a model folder, a folder with an adapter, a .safetensors or .gguf file says about itself, as a JSON object:
 * format, path, architecture, parameters, bytes, dtypes {name: bytes}, config {...} and tensors [{name, dtype, shape,
 * bytes}]. Nothing but headers is read. */
int nun_inspect(const char *path, char **json, size_t *len);
/* Every tensor as float32 under its own name, as one safetensors file. */
int nun_dump_tensors(const char *path, const char *out);

/* ---- adapters ---------------------------------------------------------------------------------- */

struct nun_lora; /* nunchi.h */
/* The model folder under adapters, written whole to the new folder `out` with all that lies beside the weights,
 * in the number format that its config names. */
int nun_merge(const char *folder, const struct nun_lora *loras, size_t n, const char *out);

/* ---- models in, models out ----------------------------------------------------------------------- */

struct nun_convert_options {
    const char *format;  /* "gguf" or "hf"; NULL: gguf when `out` ends so, else hf */
    const char *type;    /* "F16", "Q8_0", or a mixture as "Q4_K_M"; NULL: as the weights are */
    int threads;         /* 0: all CPUs */
    void (*progress)(void *arg, size_t done, size_t of, const char *tensor); /* may be NULL */
    void *arg;
};
/* A model folder or GGUF file written as the other, or as the same in other number formats: weights, config,
 * tokenizer, chat template. `out` must not be there. What the other side cannot say is refused. */
int nun_convert(const char *in, const char *out, const struct nun_convert_options *options);
/* Formats and mixtures that can be written: name i and what it is; NULL behind the last. */
const char *nun_convert_type(size_t i, const char **doc);

/* Random weights of a named shape, or of a config.json, with a tokenizer of bytes: for benchmarks and comparisons.
 * `out`: a new folder or .gguf file; options->progress is not called for a folder. */
int nun_init_model(const char *shape, const char *out, uint64_t seed, const struct nun_convert_options *options);
const char *nun_init_shape(size_t i, const char **doc); /* NULL behind the last */

/* ---- tokenizers -------------------------------------------------------------------------------- */

struct nun_tokenizer;
int nun_tokenizer_open(const char *path, struct nun_tokenizer **out); /* a folder, tokenizer.json, ... */
void nun_tokenizer_close(struct nun_tokenizer *t);
/* flags as nun_encode and nun_decode have them (enum nun_text_flags). */
int nun_tokenizer_encode(const struct nun_tokenizer *t, const char *text, size_t len, unsigned flags, int32_t **ids,
                         size_t *n);
int nun_tokenizer_decode(const struct nun_tokenizer *t, const int32_t *ids, size_t n, unsigned flags, char **text,
                         size_t *len);

/* ---- grammars: which texts an answer may be (docs/grammar.md) -------------------------------------- */

enum nun_grammar_kind { NUN_GRAMMAR_SCHEMA, NUN_GRAMMAR_GBNF, NUN_GRAMMAR_REGEX };
struct nun_grammar;
/* NUN_EFORMAT or NUN_EUNSUP say where and what: nothing that could not be enforced is taken. `place` begins
 * the sentence (a file's name). */
int nun_grammar_open(enum nun_grammar_kind kind, const char *text, size_t len, const char *place, struct nun_grammar **out);
void nun_grammar_close(struct nun_grammar *g);
/* 1: the text fits, 0: it does not. */
int nun_grammar_accepts(const struct nun_grammar *g, const char *text, size_t len);

/* ---- chat templates ---------------------------------------------------------------------------- */

struct nun_template;
/* Of a folder, a GGUF file, or a Jinja file; `name`: one of several ("tool_use"), NULL: the default one. */
int nun_template_open(const char *path, const char *name, struct nun_template **out);
/* Of Jinja text; `place` begins error sentences. */
int nun_template_parse(const char *text, size_t len, const char *place, struct nun_template **out);
void nun_template_close(struct nun_template *t);
/* context: the template's variables as a JSON object. The special tokens of the folder or file (bos_token, ...)
 * are there too, unless the context has its own. */
int nun_template_render(const struct nun_template *t, const char *context, size_t context_len, char **text, size_t *len);

/* ---- pictures ---------------------------------------------------------------------------------- */

/* For the terminal, `columns` cells wide. style: "blocks", "blocks256", "ascii", "sixel", "kitty". */
int nun_image_preview(const void *bytes, size_t n, const char *style, int columns, char **text, size_t *len);
/* The picture scaled by `scale` and written anew as "png", "jpeg" or "webp"; quality 0: the default. */
int nun_image_recode(const void *bytes, size_t n, double scale, const char *format, int quality, void **out, size_t *len);
/* "png", "jpeg", "webp" by the first bytes; NULL for anything else. */
const char *nun_image_format(const void *bytes, size_t n);

/* ---- this machine ------------------------------------------------------------------------------ */

/* One measured limit. */
struct nun_peak { const char *name, *unit, *doc; double one, all; }; /* one core, all threads; 0: not there */
/* Calls `emit` once a limit; takes about a tenth of a second each. threads 0: all CPUs. */
int nun_peaks(int threads, void (*emit)(void *arg, const struct nun_peak *peak), void *arg);

/* One timed kernel. */
struct nun_kernel_speed {
    const char *kernel, *role, *unit;
    int m, n, k, threads;
    double seconds, rate, share; /* of the peak of that unit on as many threads */
};
int nun_bench_kernels(int threads, void (*emit)(void *arg, const struct nun_kernel_speed *row), void *arg);

/* Pictures of width x height, of random pixels, through the model's processor, tower and connector. */
struct nun_model; /* nunchi.h */
struct nun_picture_speed {
    int tiles, tile_width, tile_height, features; /* what the processor makes of one, and the rows of features it becomes */
    double seconds, flops;                        /* median of encoding one, without decoding the file */
};
int nun_bench_picture(struct nun_model *m, int width, int height, int repeat, struct nun_picture_speed *out);

#ifdef __cplusplus
}
#endif
#endif
