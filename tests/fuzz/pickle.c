#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "worker/model/pickle.h"

static volatile int64_t sum; /* so that no read is left out */

/* Reads what a value says of itself, not what it refers to: values may be cyclic. */
static void touch(const struct pickle_value *value)
{
    if (value->kind == PICKLE_TENSOR) {
        for (int i = 0; i < value->tensor.rank; i++)
            sum ^= value->tensor.shape[i] ^ value->tensor.stride[i];
        sum ^= value->tensor.storage->storage.elements;
    } else if (value->kind == PICKLE_STRING) {
        for (size_t i = 0; i < value->text.len; i++)
            sum += value->text.data[i];
    } else if (value->kind == PICKLE_DICT || value->kind == PICKLE_LIST || value->kind == PICKLE_TUPLE) {
        for (size_t i = 0; i < value->list.count; i++)
            sum += value->list.items[i]->kind;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pickle *pickle = NULL;
    struct error err;
    if (!pickle_read("input", data, size, &pickle, &err))
        return 0;
    const struct pickle_value *root = pickle_root(pickle), *dict = pickle_dict_get(root, "state_dict");
    touch(root);
    if (dict != NULL)
        touch(dict);
    for (size_t i = 0; root->kind == PICKLE_DICT && i < root->list.count; i++)
        touch(root->list.items[i]);
    pickle_free(pickle);
    return 0;
}
