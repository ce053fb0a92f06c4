/* Suggested models, from one data file. */
#include <string.h>

#include "coordinator/api/embedded.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/models.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"

static const char *const TASKS[] = {"summarization", "translation", "text-generation"};

bool models_open(struct api *api, struct error *err)
{
    json_error_t where;
    const char *file = api->options.models_file;
    api->models = file ? json_load_file(file, 0, &where)
                       : json_loadb((const char *)embedded_models_json, embedded_models_json_size, 0, &where);
    if (json_is_array(api->models))
        return true;
    error_set(err, ERROR_INVALID, "the list of models %s, line %d: %s", file ? file : "(built in)",
        where.line, api->models ? "it is no list" : where.text);
    return false;
}

struct wanted {
    const char *tasks[8];
    size_t count;
    bool wrong;
    char unknown[64];
};

static void on_task(void *context, const char *value)
{
    struct wanted *wanted = context;
    for (size_t i = 0; i < sizeof(TASKS) / sizeof(TASKS[0]); i++) {
        if (strcmp(TASKS[i], value) != 0)
            continue;
        if (wanted->count < sizeof(wanted->tasks) / sizeof(wanted->tasks[0]))
            wanted->tasks[wanted->count++] = TASKS[i];
        return;
    }
    wanted->wrong = true;
    size_t len = strlen(value) < sizeof(wanted->unknown) - 1 ? strlen(value) : sizeof(wanted->unknown) - 1;
    memcpy(wanted->unknown, value, len);
    wanted->unknown[len] = '\0';
}

static bool serves(const json_t *model, const struct wanted *wanted)
{
    size_t i;
    json_t *task;
    json_array_foreach(json_object_get(model, "tasks"), i, task)
    {
        for (size_t k = 0; k < wanted->count; k++)
            if (json_object_get(task, wanted->tasks[k]))
                return true;
    }
    return wanted->count == 0;
}

void handle_model_list(struct request *request)
{
    struct wanted wanted = {0};
    size_t i;
    json_t *model, *list = json_array();
    request_query_each(request, "tasks", on_task, &wanted);
    if (wanted.wrong) {
        json_decref(list);
        request_answer_detail(request, MHD_HTTP_BAD_REQUEST,
            "unknown task \"%s\": use summarization, translation or text-generation", wanted.unknown);
        return;
    }
    json_array_foreach(request->api->models, i, model) if (serves(model, &wanted))
        json_array_append(list, model);
    request_answer_json(request, MHD_HTTP_OK, view_listing(json_array_size(list), list));
}
