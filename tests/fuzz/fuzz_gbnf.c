/* Fuzz target: GBNF grammars. What is read must be walked without contradiction. */
/* SPDX-License-Identifier: MIT */
#include "grammar_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grammar *g;
    if (grammar_from_gbnf(span_of(data, size), "input", &g) == 0) {
        fuzz_walk(g, (uint32_t)size * 2654435761u);
        grammar_free(g);
    }
    return 0;
}
