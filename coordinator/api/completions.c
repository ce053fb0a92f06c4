/* Completions of the first API: one text, summarized by a hosted model. */
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/query.h"
#include "coordinator/api/server.h"

enum { MAX_RETRIES = 3 };

void handle_completion_list(struct request *request)
{
    request_answer_json(request, MHD_HTTP_OK, json_pack("[s, s]", "openai", "mistral"));
}

static void on_completion(void *context, json_t *prediction, unsigned status, const struct error *err)
{
    struct request *request = context;
    if (err)
        query_answer_failure(request, status, err);
    else
        request_answer_json(request, MHD_HTTP_OK, json_pack("{s:o}", "text", prediction));
}

static void complete(struct request *request, const char *scheme, const char *model)
{
    char *reference = alloc_format("%s://%s", scheme, model);
    const struct query_spec spec = {"completion", reference,
        json_pack("{s:s, s:i}", "task", "summarization", "max_retries", MAX_RETRIES),
        json_object_get(request->json, "text"), request->actor};
    query_start(request->api, &spec, on_completion, request);
    free(reference);
}

void handle_completion_openai(struct request *request)
{
    complete(request, "oai", request->api->options.openai_model);
}

void handle_completion_mistral(struct request *request)
{
    complete(request, "mistral", request->api->options.mistral_model);
}
