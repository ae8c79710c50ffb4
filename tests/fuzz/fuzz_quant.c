/* Fuzz target: a quantised folder. Two bytes of length, that much of a quantization_config, then a safetensors file;
 * every weight that the file could mean is asked for, and what comes must be readable to its last value. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "models/quant_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The weights that a tensor of this name could be a part of: its name cut at each dot, and at "_". */
static void ask(struct quant_folder *q, const char *name)
{
    char weight[600];
    volatile float sink;
    for (size_t i = 0; name[i] && i < 500; i++) {
        const struct st_tensor *t;
        if (name[i] != '.' && name[i] != '_')
            continue;
        snprintf(weight, sizeof weight, "%.*s%s", (int)i, name, name[i] == '.' ? ".weight" : "");
        if (!quant_folder_has(q, span_str(weight)) || quant_folder_need(q, span_str(weight), NULL, &t) < 0)
            continue;
        float last;
        if (t->dtype == DT_F32 && t->bytes >= sizeof last) {
            memcpy(&last, (const char *)t->data + t->bytes - sizeof last, sizeof last);
            sink = last;
            (void)sink;
        }
    }
    quant_folder_part(q, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors *st = NULL;
    struct quant_folder *q = NULL;
    struct arena arena;
    json_t *settings = NULL;
    size_t n = size >= 2 ? (size_t)data[0] | (size_t)data[1] << 8 : 0;
    if (size < 2 + n || json_parse_span(span_of(data + 2, n), "input", &settings) < 0)
        return 0;
    json_t *config = json_pack("{s:o}", "quantization_config", settings);
    arena_init(&arena, MEM_TEST, 64 << 20);
    if (config && st_open_bytes(span_of(data + 2 + n, size - 2 - n), "input", &st) == 0 &&
        quant_folder_open(config, "input", st, &arena, &q) == 0)
        for (size_t i = 0; i < st_count(st); i++)
            ask(q, st_at(st, i)->name);
    quant_folder_close(q);
    arena_free(&arena);
    st_close(st);
    json_decref(config);
    return 0;
}
