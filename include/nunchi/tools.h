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

/* What a model folder, .safetensors or .gguf file says about itself, as a JSON object: format, path,
 * architecture, parameters, bytes, dtypes {name: bytes}, config {...} and tensors [{name, dtype, shape,
 * bytes}]. Nothing but headers is read. */
int nun_inspect(const char *path, char **json, size_t *len);
/* Every tensor as float32 under its own name, as one safetensors file. */
int nun_dump_tensors(const char *path, const char *out);

/* ---- adapters ---------------------------------------------------------------------------------- */

struct nun_lora; /* nunchi.h */
/* The model folder under adapters, written whole to the new folder `out` with all that lies beside the weights,
 * in the number format that its config names. */
int nun_merge(const char *folder, const struct nun_lora *loras, size_t n, const char *out);

/* ---- tokenizers -------------------------------------------------------------------------------- */

struct nun_tokenizer;
int nun_tokenizer_open(const char *path, struct nun_tokenizer **out); /* a folder, tokenizer.json, ... */
void nun_tokenizer_close(struct nun_tokenizer *t);
/* flags as nun_encode and nun_decode have them (enum nun_text_flags). */
int nun_tokenizer_encode(const struct nun_tokenizer *t, const char *text, size_t len, unsigned flags, int32_t **ids,
                         size_t *n);
int nun_tokenizer_decode(const struct nun_tokenizer *t, const int32_t *ids, size_t n, unsigned flags, char **text,
                         size_t *len);

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

#ifdef __cplusplus
}
#endif
#endif
