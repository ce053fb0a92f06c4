#include "worker/model/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weights weights = {0};
    struct error err;
    if (safetensors_read(&weights, "input", data, size, &err) && weights_finish(&weights, &err))
        weights_check_finite(&weights, &err); /* touches every byte of every tensor */
    weights_free(&weights);
    return 0;
}
