/* Fuzz target: a decoder's GGUF file and its tower's, as one model: how many bytes the first has (u64), then both. What
 * opens must have readable tensors, each under its name; the processor is read from the tower alone. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/log.h"
#include "models/gguf_model.h"
#include "tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_pair(struct span text, struct span tower)
{
    json_t *config = NULL;
    struct safetensors *st = NULL;
    if (gguf_sight_open_bytes(text, tower, &config, &st) < 0)
        return;
    fuzz_read_tensors(st);
    if (!json_is_object(json_object_get(config, "vision_config")))
        __builtin_trap();
    json_decref(config);
    st_close(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *processor;
    uint64_t n;
    if (size < sizeof n)
        return 0;
    memcpy(&n, data, sizeof n);
    struct span rest = span_of(data + sizeof n, size - sizeof n);
    size_t first = n < rest.len ? (size_t)n : rest.len;
    struct span text = span_of(rest.ptr, first), tower = span_of(rest.ptr + first, rest.len - first);
    log_set_level(LOG_ERROR);
    read_pair(text, tower);
    for (int video = 0; video < 2; video++)
        if (gguf_sight_processor_bytes(tower, video, &processor) == 0)
            json_decref(processor);
    return 0;
}
