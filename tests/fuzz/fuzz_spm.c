/* Fuzz target: SentencePiece's tokenizer.model. */
/* SPDX-License-Identifier: MIT */
#include "tok_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tok_raw raw;
    tok_raw_init(&raw);
    if (tok_spm_parse(span_of(data, size), "input", &raw) == 0)
        use_raw(&raw);
    tok_raw_free(&raw);
    return 0;
}
