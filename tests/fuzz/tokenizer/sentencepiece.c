/* A SentencePiece model, then text through it. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "worker/model/tokenizer/sentencepiece.h"

static bool decode(void *context, const char *piece, size_t len, int32_t id, struct error *err)
{
    (void)id;
    return sentencepiece_decode_piece(context, piece, len, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        "  Hello, W\xC3\xB6rld! <tool> \xE6\x9D\xB1\xE4\xBA\xAC 123\n \xEF\xAC\x81 e\xCC\x81 ";
    struct sentencepiece model;
    struct error err = {0};
    if (!sentencepiece_open(&model, "input", (const char *)data, size, &err))
        return 0;
    struct sentencepiece_decoder decoder = {.model = &model};
    if (sentencepiece_encode(&model, text, sizeof(text) - 1, decode, &decoder, &err))
        sentencepiece_decode_end(&decoder, &err);
    buffer_free(&decoder.text);
    buffer_free(&decoder.bytes);
    sentencepiece_free(&model);
    return 0;
}
