#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "worker/model/gguf.h"
#include "worker/model/gguf_names.h"

/* Every getter on every key. */
static void read_metadata(const struct gguf *file)
{
    for (size_t i = 0; i < gguf_key_count(file); i++) {
        const char *key = gguf_key_at(file, i);
        enum gguf_type type;
        size_t count = 0;
        int64_t integer;
        double number;
        bool flag;
        struct gguf_string text;
        gguf_get_bool(file, key, &flag);
        gguf_get_int(file, key, &integer);
        gguf_get_float(file, key, &number);
        gguf_get_string(file, key, &text);
        gguf_get_array(file, key, &type, &count);
        for (size_t j = 0; j <= count && j < 100; j++) {
            gguf_array_int(file, key, j, &integer);
            gguf_array_float(file, key, j, &number);
            gguf_array_string(file, key, j, &text);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *file = NULL;
    struct error err;
    struct weights weights = {0};
    uint8_t *aligned = aligned_alloc(32, (size + 32) / 32 * 32); /* as a mapping would be */
    if (size > 0)
        memcpy(aligned, data, size);
    if (gguf_open_memory("input", aligned, size, &file, &err)) {
        read_metadata(file);
        const struct gguf_architecture *architecture = gguf_architecture_of(file, &err);
        if (architecture != NULL && gguf_add_tensors(file, architecture, &weights, &err)) {
            weights_check_finite(&weights, &err);
            json_decref(gguf_config(file, architecture, &err));
        }
    }
    weights_free(&weights);
    gguf_close(file);
    free(aligned);
    return 0;
}
