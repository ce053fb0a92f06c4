#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker/tools/tool.h"

static const struct config_option options[] = {
    TOOL_MODEL_OPTIONS,
    TOOL_ENGINE_OPTIONS,
    TOOL_LINES_OPTIONS("JSON lines {\"id\",\"ids\",\"decoder_ids\"?}; - is standard input",
        "a safetensors file: \"<id>\" [positions, vocabulary]; of an encoder \"<id>.<layer>\" [tokens, "
        "hidden]"),
    {0},
};

struct item {
    char *id;
    struct token_ids ids, decoder_ids;
};

struct items {
    struct item *list;
    size_t count, capacity;
};

static void items_free(struct items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        free(items->list[i].id);
        token_ids_free(&items->list[i].ids);
        token_ids_free(&items->list[i].decoder_ids);
    }
    free(items->list);
}

static struct item *items_push(struct items *items, struct error *err)
{
    if (items->count == items->capacity) {
        size_t capacity = items->capacity ? items->capacity * 2 : 64;
        struct item *list = realloc(items->list, capacity * sizeof *list);
        if (!list) {
            error_set(err, ERROR_MEMORY, "out of memory");
            return NULL;
        }
        items->list = list;
        items->capacity = capacity;
    }
    struct item *item = &items->list[items->count++];
    memset(item, 0, sizeof *item);
    return item;
}

static bool read_item(const struct subject *s, const json_t *object, struct item *item, struct error *err)
{
    size_t len;
    bool seq2seq = engine_kind(s->engine) == ENGINE_ENCODER_DECODER;
    const char *id = object_text(object, "id", &len, err);
    if (!id || !object_ids(object, "ids", false, &item->ids, err))
        return false;
    if (!(item->id = strdup(id)))
        return error_set(err, ERROR_MEMORY, "out of memory");
    if (!seq2seq)
        return true;
    if (!object_ids(object, "decoder_ids", true, &item->decoder_ids, err))
        return false;
    if (item->decoder_ids.count > 0)
        return true;
    struct generation_settings settings;
    if (!engine_settings_from_model(s->model, NULL, &settings, err))
        return false;
    int32_t start = settings.decoder_start_token_id;
    engine_settings_free(&settings);
    return start >= 0 ? token_ids_push(&item->decoder_ids, start, err)
                      : error_set(err, ERROR_INVALID, "\"decoder_ids\" is missing");
}

static bool read_items(const struct subject *s, const char *path, struct items *items, struct error *err)
{
    struct lines lines;
    json_t *object;
    bool fine = lines_open(&lines, path, err);
    while (fine && (object = lines_next_object(&lines, err))) {
        struct item *item = items_push(items, err);
        fine = item && (read_item(s, object, item, err) || lines_error(&lines, err));
        json_decref(object);
    }
    lines_close(&lines);
    return fine && err->code == ERROR_NONE;
}

/* ---- the safetensors file: its header's length, the header, the data in the header's order ---- */

static void add_tensor(json_t *header, const char *name, size_t rows, size_t width, size_t *offset)
{
    size_t end = *offset + rows * width * sizeof(float);
    json_object_set_new(header, name,
        json_pack("{ss s[II] s[II]}", "dtype", "F32", "shape", (json_int_t)rows, (json_int_t)width,
            "data_offsets", (json_int_t)*offset, (json_int_t)end));
    *offset = end;
}

static size_t layers_of(const struct subject *s)
{
    return engine_kind(s->engine) == ENGINE_ENCODER ? engine_layers(s->engine) + 1 : 0;
}

static bool write_header(const struct subject *s, const struct items *items, FILE *out, struct error *err)
{
    json_t *header = json_object();
    size_t offset = 0, layers = layers_of(s);
    char name[512];
    for (size_t i = 0; header && i < items->count; i++) {
        const struct item *item = &items->list[i];
        size_t rows = item->decoder_ids.count ? item->decoder_ids.count : item->ids.count;
        if (layers == 0)
            add_tensor(header, item->id, rows, engine_vocabulary_size(s->engine), &offset);
        for (size_t layer = 0; layer < layers; layer++) {
            snprintf(name, sizeof name, "%.400s.%zu", item->id, layer);
            add_tensor(header, name, rows, engine_hidden_size(s->engine), &offset);
        }
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    if (!text)
        return error_set(err, ERROR_MEMORY, "out of memory");
    uint64_t len = strlen(text);
    unsigned char little[8];
    for (size_t i = 0; i < sizeof little; i++)
        little[i] = (unsigned char)(len >> (8 * i));
    bool fine = fwrite(little, sizeof little, 1, out) == 1 && fwrite(text, 1, len, out) == len;
    free(text);
    return fine || error_set(err, ERROR_UNAVAILABLE, "writing: %s", strerror(errno));
}

static bool write_values(FILE *out, const float *values, size_t count, struct error *err)
{
    return fwrite(values, sizeof *values, count, out) == count ||
           error_set(err, ERROR_UNAVAILABLE, "writing: %s", strerror(errno));
}

static bool write_logits(struct subject *s, const struct item *item, FILE *out, struct error *err)
{
    size_t rows = item->decoder_ids.count ? item->decoder_ids.count : item->ids.count;
    size_t count = rows * engine_vocabulary_size(s->engine);
    float *values = malloc((count ? count : 1) * sizeof *values);
    if (!values)
        return error_set(err, ERROR_MEMORY, "out of memory");
    bool fine = engine_logits(s->engine, item->ids.ids, item->ids.count, item->decoder_ids.ids,
                    item->decoder_ids.count, values, err) &&
                write_values(out, values, count, err);
    free(values);
    return fine;
}

static bool write_states(struct subject *s, const struct item *item, FILE *out, struct error *err)
{
    size_t layers = layers_of(s), count = item->ids.count * engine_hidden_size(s->engine),
           total = layers * count;
    int *numbers = calloc(layers, sizeof *numbers);
    float **states = calloc(layers, sizeof *states);
    float *values = malloc((total ? total : 1) * sizeof *values);
    bool fine = numbers && states && values;
    if (!fine)
        error_set(err, ERROR_MEMORY, "out of memory");
    for (size_t i = 0; fine && i < layers; i++) {
        numbers[i] = (int)i;
        states[i] = values + i * count;
    }
    fine = fine && engine_hidden_states(s->engine, &item->ids, 1, numbers, layers, states, err) &&
           write_values(out, values, total, err);
    free(numbers);
    free(states);
    free(values);
    return fine;
}

static bool run(const struct config *config, bool *usage_error, struct error *err)
{
    struct subject subject = {0};
    struct items items = {0};
    const char *path = config_text(config, "output");
    FILE *out = NULL;
    bool fine = subject_open_model(&subject, config, usage_error, err) &&
                subject_open_engine(&subject, config, 0, usage_error, err) &&
                read_items(&subject, config_text(config, "input"), &items, err) &&
                (out = output_open(path, err)) && write_header(&subject, &items, out, err);
    for (size_t i = 0; fine && i < items.count; i++) {
        const struct item *item = &items.list[i];
        fine = layers_of(&subject) ? write_states(&subject, item, out, err)
                                   : write_logits(&subject, item, out, err);
        if (!fine)
            error_context(err, "sample \"%.80s\": ", item->id);
    }
    if (!output_close(out, path, fine ? err : NULL))
        fine = false;
    items_free(&items);
    subject_close(&subject);
    return fine;
}

const struct tool tool_logits = {"logits",
    "--model REF [--input FILE] [--output FILE]\n\nTeacher-forced logits, or an encoder's states after each "
    "layer.",
    options, run};
