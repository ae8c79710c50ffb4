/* Fuzz target: LLaVA datasets, as a list and a sample a line. What is read must be written so that it reads the
 * same again. */
/* SPDX-License-Identifier: MIT */
#include "base/limits.h"
#include "data/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_all(const struct dataset *d, struct buf *out)
{
    buf_init(out, MEM_TEST, LIMIT_OF(json_bytes));
    for (size_t i = 0; i < dataset_count(d); i++) {
        data_sample_write(dataset_at(d, i), out);
        buf_char(out, '\n');
    }
}

static void try_input(struct span text, bool lines)
{
    struct dataset *a, *b;
    struct buf first, second;
    if (dataset_parse(text, lines, "input", NULL, &a) != 0)
        return;
    write_all(a, &first);
    if (buf_error(&first) == 0) {
        if (dataset_parse(buf_view(&first), true, "output", NULL, &b) != 0)
            __builtin_trap();
        write_all(b, &second);
        if (!span_eq(buf_view(&first), buf_view(&second)))
            __builtin_trap();
        buf_free(&second);
        dataset_close(b);
    }
    buf_free(&first);
    dataset_close(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_input(span_of(data, size), false);
    try_input(span_of(data, size), true);
    return 0;
}
