/* Fuzz target: JSON Schema. What is read must be walked without contradiction. */
/* SPDX-License-Identifier: MIT */
#include "formats/json.h"
#include "grammar_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct grammar *g;
    json_t *schema;
    if (json_parse_span(span_of(data, size), "input", &schema) != 0)
        return 0;
    if (grammar_from_schema(schema, "input", &g) == 0) {
        fuzz_walk(g, (uint32_t)size * 2654435761u);
        grammar_free(g);
    }
    json_decref(schema);
    return 0;
}
