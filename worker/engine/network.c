#include "worker/engine/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/loader.h"

static const struct architecture *find_architecture(const char *model_type)
{
    for (size_t i = 0; i < architecture_count; i++)
        if (strcmp(architecture_table[i]->model_type, model_type) == 0)
            return architecture_table[i];
    return NULL;
}

static bool unsupported(const struct model *model, struct error *err)
{
    char names[240] = "";
    for (size_t i = 0; i < architecture_count; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", architecture_table[i]->model_type);
    }
    error_set(err, ERROR_UNSUPPORTED, "%s: the architecture \"%s\" is not implemented",
        model_reference(model), model_type(model));
    return error_hint(err, "implemented: %s", names);
}

bool network_open(struct backend *backend, const struct model *model, enum dtype compute,
    struct network **out, struct error *err)
{
    struct error own_error = {0};
    struct network *network = calloc(1, sizeof *network);
    if (!network)
        return error_set(err, ERROR_MEMORY, "out of memory");
    network->backend = backend;
    network->architecture = find_architecture(model_type(model));
    if (!network->architecture) {
        free(network);
        return unsupported(model, err);
    }
    network->input_positions = network->token_positions = network->trained_positions = SIZE_MAX;
    network->shareable_positions = SIZE_MAX;
    struct loader loader = {.network = network,
        .model = model,
        .config = model_config(model),
        .compute = compute,
        .prefix = "",
        .err = err ? err : &own_error};
    network->architecture->load(network, &loader);
    if (loader.failed) {
        network_close(network);
        return false;
    }
    *out = network;
    return true;
}

void network_close(struct network *network)
{
    if (!network)
        return;
    const struct backend_ops *ops = network->backend->ops;
    for (struct owned *item = network->owned, *next; item; item = next) {
        next = item->next;
        if (item->kind == OWNED_WEIGHT)
            ops->weight_free(network->backend, item->pointer);
        else if (item->kind == OWNED_VECTOR)
            ops->vector_free(network->backend, item->pointer);
        else
            free(item->pointer);
        free(item);
    }
    free(network);
}
