#include "worker/task/simulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

enum { WORDS = 20 };

struct simulation {
    uint64_t sample_ns, due_ns;
    uint64_t fail_every;
    bool has_poison;
    uint64_t poison;
    size_t next;
};

static const struct task_provenance PROVENANCE = {"simulated", "simulated", "none", "sim", 0, NULL};

bool simulate_matches(const char *model_reference)
{
    return strncmp(model_reference, "sim://", 6) == 0;
}

static bool set_parameter(struct simulation *sim, const char *name, const char *value, struct error *err)
{
    char *end = NULL;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || !(number >= 0) || number > 1e12)
        return error_set(err, ERROR_INVALID, "sim://: %.40s is not a number", name);
    if (strcmp(name, "seconds") == 0) {
        sim->sample_ns = (uint64_t)(number * 1e9);
    } else if (strcmp(name, "fail") == 0) {
        sim->fail_every = (uint64_t)number;
    } else if (strcmp(name, "poison") == 0) {
        sim->has_poison = true;
        sim->poison = (uint64_t)number;
    } else if (strcmp(name, "model_error") == 0) {
        return error_set(err, ERROR_INVALID, "sim://: the simulated model cannot be loaded");
    } else {
        return error_set(
            err, ERROR_INVALID, "sim:// knows seconds, fail, poison and model_error, not %.40s", name);
    }
    return true;
}

static bool parse_parameters(struct simulation *sim, const char *reference, struct error *err)
{
    const char *query = strchr(reference, '?');
    char text[512];
    char *save = NULL;
    if (!query)
        return true;
    snprintf(text, sizeof(text), "%s", query + 1);
    for (char *pair = strtok_r(text, "&", &save); pair; pair = strtok_r(NULL, "&", &save)) {
        char *value = strchr(pair, '=');
        if (!value)
            return error_set(err, ERROR_INVALID, "sim://: %.40s has no value", pair);
        *value++ = '\0';
        if (!set_parameter(sim, pair, value, err))
            return false;
    }
    return true;
}

void simulate_open(struct active *active)
{
    struct error err;
    struct simulation *sim = calloc(1, sizeof(*sim));
    if (!sim) {
        error_set(&err, ERROR_MEMORY, "no memory for a simulated task");
        active_fail(active, &err);
        return;
    }
    active->simulation = sim;
    if (!parse_parameters(sim, active->assign->model, &err))
        active_fail(active, &err);
    sim->due_ns = active->started_ns + sim->sample_ns;
}

void simulate_close(struct active *active)
{
    free(active->simulation);
    active->simulation = NULL;
}

static size_t first_words(const char *text, size_t len)
{
    size_t words = 0;
    for (size_t i = 0; i < len; i++) {
        bool space = text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r';
        if (space && i > 0 && ++words == WORDS)
            return i;
    }
    return len;
}

static void end_sample(struct active *active, const struct simulation *sim, size_t position)
{
    const Lumigrid__Sample *sample = active->assign->samples[position];
    if (sim->has_poison && sample->index == sim->poison) {
        log_error("sim:// was told to die at this sample", "index", LOG_INT(sample->index));
        abort();
    }
    if (sim->fail_every && sample->index % sim->fail_every == sim->fail_every - 1) {
        struct error err;
        error_set(&err, ERROR_INVALID, "sim:// was told to fail this sample");
        active_sample_failed(active, position, &err, &PROVENANCE);
        return;
    }
    const char *text = sample->text.len ? (const char *)sample->text.data : "";
    size_t len = first_words(text, sample->text.len);
    struct active_prediction prediction = {.text = text,
        .text_len = len,
        .new_tokens = len > 0 ? WORDS : 0,
        .seconds = (double)sim->sample_ns / 1e9,
        .finish_reason = "eos"};
    active_sample_done(active, position, &prediction, &PROVENANCE);
}

uint64_t simulate_step(struct active *active, uint64_t now_ns)
{
    struct simulation *sim = active->simulation;
    while (sim->next < active->assign->n_samples) {
        if (sim->sample_ns && now_ns < sim->due_ns)
            return sim->due_ns;
        end_sample(active, sim, sim->next++);
        sim->due_ns += sim->sample_ns;
    }
    return UINT64_MAX;
}
