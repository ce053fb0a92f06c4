#include "worker/task/hosted_task.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/languages.h"

enum { MAX_RETRIES = 3 };

/* A sample's end, on its way from the client's thread. */
struct letter {
    struct letter *next;
    size_t position;
    bool failed;
    struct error error;
    char *text;
    const char *finish_reason; /* static */
    struct hosted_answer answer;
};

struct hosted_task {
    struct hosted *client;
    pthread_mutex_t lock; /* guards the letters */
    struct letter *first, **last;
    void (*wake)(void *context);
    void *wake_context;
    char *system_prompt;
    struct task_provenance provenance;
};

/* The base_url that a user gave; NULL: none. */
static const char *base_url_of(const struct active *active)
{
    const char *url = json_string_value(json_object_get(active->settings.root, "base_url"));
    return url && *url ? url : NULL;
}

bool hosted_task_matches(const struct active *active)
{
    return hosted_scheme(active->assign->model) || base_url_of(active);
}

/* A provider's word for why a text ended, in ours. */
static const char *finish_name(const char *reason)
{
    static const char *const KNOWN[][2] = {{"stop", "eos"}, {"length", "length"}, {"model_length", "length"},
        {"content_filter", "content_filter"}};
    for (size_t i = 0; i < sizeof(KNOWN) / sizeof(KNOWN[0]); i++)
        if (strcmp(reason, KNOWN[i][0]) == 0)
            return KNOWN[i][1];
    return "other";
}

static void on_done(void *context, const struct hosted_answer *answer, const struct error *error)
{
    const struct active_sample *sample = context;
    struct hosted_task *task = sample->active->hosted;
    struct letter *letter = alloc_zero(1, sizeof(*letter));
    letter->position = sample->position;
    letter->failed = error != NULL;
    if (error) {
        letter->error = *error;
    } else {
        letter->answer = *answer;
        letter->text = alloc_copy(answer->text, answer->text_len);
        letter->finish_reason = finish_name(answer->finish_reason);
    }
    pthread_mutex_lock(&task->lock);
    *task->last = letter;
    task->last = &letter->next;
    pthread_mutex_unlock(&task->lock);
    task->wake(task->wake_context);
}

static void letter_free(struct letter *letter)
{
    free(letter->text);
    free(letter);
}

/* What a model is told that comes without instructions of its own. */
static char *default_prompt(const struct task_settings *settings)
{
    const struct language *from = settings->source_language ? language_find(settings->source_language) : NULL;
    const struct language *to = settings->target_language ? language_find(settings->target_language) : NULL;
    if (from && to)
        return alloc_format("You are a helpful assistant, expert in text translation. For every prompt you "
                            "receive, provide a translation of its contents from %s to %s.",
            from->name, to->name);
    if (strcmp(settings->task, "summarization") == 0)
        return alloc_string("You are a helpful assistant, expert in text summarization. For every prompt you "
                            "receive, provide a summary of its contents in at most two sentences.");
    return NULL;
}

static uint32_t retries_of(const struct active *active)
{
    const json_t *value = json_object_get(active->settings.root, "max_retries");
    json_int_t count = json_integer_value(value);
    return json_is_integer(value) && count >= 0 && count <= 100 ? (uint32_t)count : MAX_RETRIES;
}

void hosted_task_begin(
    struct active *active, struct hosted *client, void (*wake)(void *context), void *context)
{
    struct hosted_task *task = alloc_zero(1, sizeof(*task));
    const struct task_settings *settings = &active->settings;
    struct error err;
    active->hosted = task;
    active->begun = true;
    *task = (struct hosted_task){.client = client, .wake = wake, .wake_context = context};
    task->last = &task->first;
    pthread_mutex_init(&task->lock, NULL);
    task->system_prompt =
        settings->system_prompt ? alloc_string(settings->system_prompt) : default_prompt(settings);
    task->provenance = (struct task_provenance){.model_digest = "hosted",
        .tokenizer_digest = "hosted",
        .dtype = "none",
        .backend = "hosted",
        .seed = settings->seed};
    struct hosted_request request = {
        .reference = active->assign->model,
        .provider = json_string_value(json_object_get(settings->root, "provider")),
        .base_url = base_url_of(active),
        .key = active->assign->secret,
        .system_prompt = task->system_prompt,
        .generation = settings->generation,
        .seed = settings->seed,
        .max_retries = retries_of(active),
        .on_done = on_done,
        .owner = task,
    };
    for (size_t i = 0; i < active->assign->n_samples; i++) {
        const Lumigrid__Sample *sample = active->assign->samples[i];
        request.text = sample->text.len ? (const char *)sample->text.data : "";
        request.text_len = sample->text.len;
        request.context = &active->samples[i];
        if (!hosted_submit(client, &request, &err)) {
            active_fail(active, &err);
            return;
        }
    }
}

static void end_sample(struct active *active, const struct letter *letter)
{
    const struct task_provenance *provenance = &active->hosted->provenance;
    bool hopeless = letter->error.code == ERROR_DENIED || letter->error.code == ERROR_NOT_FOUND ||
                    letter->error.code == ERROR_UNSUPPORTED;
    if (letter->failed && hopeless) {
        active_fail(active, &letter->error);
        return;
    }
    if (letter->failed) {
        active_sample_failed(active, letter->position, &letter->error, provenance);
        return;
    }
    struct active_prediction prediction = {.text = letter->text,
        .text_len = letter->answer.text_len,
        .prompt_tokens = letter->answer.prompt_tokens,
        .new_tokens = letter->answer.new_tokens,
        .seconds = letter->answer.seconds,
        .finish_reason = letter->finish_reason,
        .has_price = letter->answer.price_usd >= 0,
        .price_usd = letter->answer.price_usd};
    active_sample_done(active, letter->position, &prediction, provenance);
}

static struct letter *take_letters(struct hosted_task *task)
{
    pthread_mutex_lock(&task->lock);
    struct letter *first = task->first;
    task->first = NULL;
    task->last = &task->first;
    pthread_mutex_unlock(&task->lock);
    return first;
}

void hosted_task_step(struct active *active)
{
    struct letter *letter = take_letters(active->hosted);
    while (letter) {
        struct letter *next = letter->next;
        if (!active_done(active))
            end_sample(active, letter);
        letter_free(letter);
        letter = next;
    }
}

void hosted_task_close(struct active *active)
{
    struct hosted_task *task = active->hosted;
    hosted_cancel(task->client, task);
    for (struct letter *letter = take_letters(task), *next; letter; letter = next) {
        next = letter->next;
        letter_free(letter);
    }
    pthread_mutex_destroy(&task->lock);
    free(task->system_prompt);
    free(task);
    active->hosted = NULL;
}
