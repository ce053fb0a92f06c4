/* A tokenizer.json, then text and ids through it. */
#include <jansson.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "worker/model/tokenizer/implementation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        " Hello, W\xC3\xB6rld! <s> I'll \xE6\x9D\xB1\xE4\xBA\xAC 123\n\n \x80 e\xCC\x81";
    struct error err = {0};
    json_t *json = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL), *config = json_object();
    struct tokenizer *t = calloc(1, sizeof(*t));
    if (json && config && t && word_cache_init(&t->cache, &err) &&
        tokenizer_load_json(t, json, config, &err)) {
        struct token_ids ids = {0};
        size_t len;
        tokenizer_encode(t, text, sizeof(text) - 1, TOKENIZER_ADD_SPECIAL, &ids, &err);
        free(tokenizer_decode(t, ids.ids, ids.count, false, &len, &err));
        token_ids_free(&ids);
    }
    tokenizer_close(t);
    json_decref(config);
    json_decref(json);
    return 0;
}
