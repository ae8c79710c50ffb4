/* Fuzz target: tiktoken ranks. A file whose number of ranks belongs to no family is tried as one all the same. */
/* SPDX-License-Identifier: MIT */
#include "tok_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tok_raw raw;
    tok_raw_init(&raw);
    int rc = tok_tiktoken_parse(span_of(data, size), "input", &raw);
    if (rc == NUN_EUNSUP)
        raw.preset = tok_preset_named(SPAN("gpt-2"));
    if (rc == 0 || rc == NUN_EUNSUP)
        use_raw(&raw);
    tok_raw_free(&raw);
    return 0;
}
