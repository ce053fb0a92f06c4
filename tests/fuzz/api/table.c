#include "coordinator/api/table.h"

#include "common/text.h"
#include "tests/fuzz/fuzz.h"

static bool on_row(void *context, const struct table_row *row, struct error *err)
{
    (void)context;
    (void)err;
    const struct table_text *cells[] = {&row->examples, &row->ground_truth, &row->predictions};
    if (!row->examples.bytes)
        __builtin_trap();
    for (int i = 0; i < 3; i++)
        if (cells[i]->bytes && !text_valid(cells[i]->bytes, cells[i]->size))
            __builtin_trap(); /* what passes is UTF-8 */
    return true;
}

/* The first byte says the format and the size of the pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    if (size == 0)
        return 0;
    size_t step = data[0] / 3 + 1u;
    struct table *t = table_open((enum table_format)(data[0] % 3), on_row, NULL);
    bool ok = true;
    for (size_t at = 1; ok && at < size; at += step)
        ok = table_feed(t, (const char *)data + at, size - at < step ? size - at : step, &err);
    if (ok)
        table_finish(t, &err);
    table_close(t);
    return 0;
}
