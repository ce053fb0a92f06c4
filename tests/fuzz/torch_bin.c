#include "worker/model/torch_bin.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weights weights = {0};
    struct error err;
    if (torch_bin_read(&weights, "input", data, size, &err) && weights_finish(&weights, &err))
        weights_check_finite(&weights, &err);
    weights_free(&weights);
    return 0;
}
