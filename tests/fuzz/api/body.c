#include <stdlib.h>

#include "coordinator/api/schema.h"
#include "tests/fuzz/fuzz.h"

/* The first byte chooses the schema; the rest is the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const NAMES[] = {
        "ExperimentSubmission", "InferenceSubmission", "EvaluatorSubmission", "SecretUpload", "TokenRequest"};
    static struct schemas *schemas;
    struct error err;
    if (!schemas)
        schemas = schemas_open(&err);
    if (size == 0 || !schemas)
        return 0;
    json_t *body = json_loadb((const char *)data + 1, size - 1, JSON_DECODE_ANY, NULL);
    if (!body)
        return 0;
    json_t *problems = json_array();
    bool good = schema_validate(schemas, NAMES[data[0] % (sizeof(NAMES) / sizeof(NAMES[0]))], body, problems);
    if (good != (json_array_size(problems) == 0))
        abort();
    json_decref(problems);
    json_decref(body);
    return 0;
}
