/* Fuzz target: the vocabulary inside a GGUF file. */
/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "formats/gguf.h"
#include "tok_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g = NULL;
    struct tok_raw raw;
    log_set_level(LOG_ERROR);
    if (gguf_open_bytes(span_of(data, size), "input", &g) != 0)
        return 0;
    tok_raw_init(&raw);
    if (tok_gguf_parse(g, "input", &raw) == 0)
        use_raw(&raw);
    tok_raw_free(&raw);
    gguf_close(g);
    return 0;
}
