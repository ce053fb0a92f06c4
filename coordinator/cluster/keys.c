/* The public keys of admitted workers: KEYS/workers/NAME.pub. The folder is watched; it is read on libuv's
 * thread pool, never on the loop. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/cluster/state.h"

enum { ADMITTED_MAX = 65536 };

typedef char key[NET_KEY_CHARS + 1];

struct key_list {
    key *keys;
    size_t count;
};

struct admitted {
    uv_loop_t *loop;
    char *folder;
    struct key_list list;
    uv_fs_event_t *watch;
    bool reading, again, closed;
};

struct reading {
    uv_work_t work;
    struct admitted *admitted;
    char *folder;
    struct key_list list;
};

static bool is_public_key_file(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".pub") == 0;
}

/* Any thread. A file that cannot be read is logged and left out: one bad file must not lock the others out.
 */
static void read_folder(const char *folder, struct key_list *list)
{
    DIR *directory = opendir(folder);
    struct dirent *entry = NULL;
    while (directory && list->count < ADMITTED_MAX && (entry = readdir(directory))) {
        struct error err = {0};
        key found = "";
        if (!is_public_key_file(entry->d_name))
            continue;
        char *path = alloc_format("%s/%s", folder, entry->d_name);
        if (net_public_key_load(path, found, &err)) {
            list->keys = alloc_resize(list->keys, list->count + 1, sizeof *list->keys);
            memcpy(list->keys[list->count++], found, sizeof found);
        } else {
            log_error_value(LOG_LEVEL_WARN, "a worker's key cannot be read", &err);
        }
        free(path);
    }
    if (directory)
        closedir(directory);
}

static void on_work(uv_work_t *work)
{
    struct reading *reading = work->data;
    read_folder(reading->folder, &reading->list);
}

static void on_read(uv_work_t *work, int status)
{
    struct reading *reading = work->data;
    struct admitted *admitted = reading->admitted;
    (void)status;
    free(reading->folder);
    admitted->reading = false;
    if (admitted->closed) {
        free(reading->list.keys);
        free(admitted);
    } else {
        if (admitted->list.count != reading->list.count)
            log_info("worker keys read", "admitted", LOG_INT(reading->list.count));
        free(admitted->list.keys);
        admitted->list = reading->list;
        if (admitted->again)
            admitted_reload(admitted);
    }
    free(reading);
}

void admitted_reload(struct admitted *admitted)
{
    admitted->again = admitted->reading;
    if (admitted->reading)
        return;
    struct reading *reading = alloc_zero(1, sizeof *reading);
    reading->admitted = admitted;
    reading->folder = alloc_string(admitted->folder);
    reading->work.data = reading;
    admitted->reading = true;
    uv_queue_work(admitted->loop, &reading->work, on_work, on_read);
}

static void on_change(uv_fs_event_t *watch, const char *name, int events, int status)
{
    (void)name, (void)events;
    if (status == 0)
        admitted_reload(watch->data);
}

static void free_watch(uv_handle_t *handle)
{
    free(handle);
}

struct admitted *admitted_open(uv_loop_t *loop, const char *keys_dir)
{
    struct admitted *admitted = alloc_zero(1, sizeof *admitted);
    admitted->loop = loop;
    admitted->folder = alloc_format("%s/workers", keys_dir);
    read_folder(admitted->folder, &admitted->list);
    admitted->watch = alloc_zero(1, sizeof *admitted->watch);
    uv_fs_event_init(loop, admitted->watch);
    admitted->watch->data = admitted;
    if (uv_fs_event_start(admitted->watch, on_change, admitted->folder, 0))
        log_warn("the folder of admitted workers is not watched", "folder", admitted->folder, "hint",
            "make it, put NAME.pub files in, then send SIGHUP");
    return admitted;
}

bool admitted_has(const struct admitted *admitted, const char *public_key)
{
    for (size_t i = 0; i < admitted->list.count; i++)
        if (strcmp(admitted->list.keys[i], public_key) == 0)
            return true;
    return false;
}

void admitted_close(struct admitted *admitted)
{
    if (!admitted)
        return;
    uv_close((uv_handle_t *)admitted->watch, free_watch);
    free(admitted->folder);
    free(admitted->list.keys);
    admitted->closed = true;
    if (!admitted->reading)
        free(admitted);
}
