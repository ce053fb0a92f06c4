#include "coordinator/api/rotation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/api/server.h"
#include "coordinator/store/store.h"

struct rotation {
    struct api *api;
    char **names;
    size_t count, next, sealed, lost;
};

static void rotation_end(struct rotation *rotation, const struct error *err)
{
    struct api *api = rotation->api;
    struct error own = {0};
    if (err && err->code != ERROR_CANCELLED)
        log_error_value(LOG_LEVEL_WARN, "the rotation of the master key goes on later", err);
    if (!err && rotation->lost)
        log_warn("the previous master key is kept: secrets open with neither key; set them anew", "secrets",
            LOG_INT(rotation->lost));
    if (!err && !rotation->lost) {
        if (keys_forget_previous(api->options.data_dir, &api->keys, &own))
            log_info("the master key is rotated", "secrets_sealed_anew", LOG_INT(rotation->sealed));
        else
            log_error_value(LOG_LEVEL_ERROR, "the previous master key stays", &own);
    }
    api->rotation = err ? ROTATION_IDLE : ROTATION_OVER;
    for (size_t i = 0; i < rotation->count; i++)
        free(rotation->names[i]);
    free(rotation->names);
    free(rotation);
}

static void next_secret(struct rotation *rotation);

static void on_resealed(void *context, const struct error *err)
{
    struct rotation *rotation = context;
    if (err) {
        rotation_end(rotation, err);
        return;
    }
    rotation->sealed++;
    next_secret(rotation);
}

static void on_secret(void *context, const struct store_secret *secret, const struct error *err)
{
    struct rotation *rotation = context;
    const struct api *api = rotation->api;
    bool old = false;
    if (err && err->code != ERROR_NOT_FOUND) {
        rotation_end(rotation, err);
        return;
    }
    if (err) { /* deleted meanwhile */
        next_secret(rotation);
        return;
    }
    char *value = alloc_zero(secret->sealed_size + 1, 1);
    bool opened = keys_unseal(&api->keys, secret->name, secret->sealed, secret->sealed_size, value, &old);
    if (!opened) {
        rotation->lost++;
        log_warn("a secret opens with neither master key", "secret", secret->name);
    }
    if (opened && old) {
        unsigned char *sealed = alloc_zero(secret->sealed_size, 1);
        keys_seal(&api->keys, secret->name, value, secret->sealed_size - KEYS_SEAL_OVERHEAD, sealed);
        store_secret_reseal(api->store, secret->name, secret->sealed, secret->sealed_size, sealed,
            secret->sealed_size, on_resealed, rotation);
        free(sealed);
    }
    sodium_memzero(value, secret->sealed_size);
    free(value);
    if (!opened || !old)
        next_secret(rotation);
}

static void next_secret(struct rotation *rotation)
{
    struct error stopping = {0};
    error_set(&stopping, ERROR_CANCELLED, "the coordinator is stopping");
    if (rotation->api->closing)
        rotation_end(rotation, &stopping);
    else if (rotation->next == rotation->count)
        rotation_end(rotation, NULL);
    else
        store_secret_get(rotation->api->store, rotation->names[rotation->next++], on_secret, rotation);
}

static void on_list(void *context, const struct store_secret *items, size_t count, const struct error *err)
{
    struct rotation *rotation = context;
    if (err) {
        rotation_end(rotation, err);
        return;
    }
    rotation->names = alloc_zero(count, sizeof(*rotation->names));
    rotation->count = count;
    for (size_t i = 0; i < count; i++)
        rotation->names[i] = alloc_string(items[i].name);
    next_secret(rotation);
}

void rotation_tick(struct api *api)
{
    if (!api->keys.has_previous || api->rotation != ROTATION_IDLE || api->closing ||
        store_state(api->store) != STORE_ACTIVE)
        return;
    struct rotation *rotation = alloc_zero(1, sizeof(*rotation));
    rotation->api = api;
    api->rotation = ROTATION_RUNNING;
    store_secret_list(api->store, on_list, rotation);
}
