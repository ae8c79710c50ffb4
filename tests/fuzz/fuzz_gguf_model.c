/* Fuzz target: a GGUF file as a model. What opens must have readable tensors under other names, and must be refused
 * or written again without harm. */
/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "models/gguf_model.h"
#include "tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *config = NULL;
    struct safetensors *st = NULL;
    log_set_level(LOG_ERROR);
    if (gguf_model_open_bytes(span_of(data, size), "input", &config, &st) < 0)
        return 0;
    fuzz_read_tensors(st);
    if (!json_is_object(config))
        __builtin_trap();
    json_decref(config);
    st_close(st);
    return 0;
}
