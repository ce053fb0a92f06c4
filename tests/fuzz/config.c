#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "worker/model/generation_config.h"
#include "worker/model/json_file.h"
#include "worker/model/reference.h"

/* config.json, and the same bytes as a model reference: both come from outside. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct json_limits limits = {.bytes_max = 1 << 20, .values_max = 10000};
    struct error err;
    struct reference reference;
    json_t *config = json_object_parse("input", (const char *)data, size, &limits, &err);
    if (config != NULL)
        json_decref(generation_config_derive(config, &err));
    json_decref(config);
    char *text = malloc(size + 1);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    reference_parse(text, &reference, &err);
    free(text);
    return 0;
}
