/* lumigrid key, token, secret, model, config: administration. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/net.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/listing.h"
#include "coordinator/cli/local.h"
#include "coordinator/cli/terminal.h"

enum { SECRET_CHARS_MAX = 1024 };

/* ---- keys: files in a key directory, which the coordinator reads at its start and on SIGHUP ---- */

static const struct config_option KEY_OPTIONS[] = {
    {"keys", "DIR", NULL, "the coordinator's key directory; the local cluster's otherwise", false, false},
    {"data", "DIR", NULL, "the local cluster's folder", false, false}, {0}};

static char *keys_directory(const struct command_context *context, struct local *local, struct error *err)
{
    if (!local_open(config_text(context->config, "data"), local, err))
        return NULL;
    const char *given = config_text(context->config, "keys");
    return given ? alloc_string(given) : local_path(local, "keys", "", "");
}

static bool check_name(const char *name, struct error *err)
{
    if (*name && *name != '.' && strlen(name) < 64 && !strchr(name, '/'))
        return true;
    return error_set(err, ERROR_INVALID, "a key's name has 1 to 63 characters, no slash and no dot in front");
}

/* The running local coordinator takes changes over at once; another one does on SIGHUP. */
static void tell_coordinator(const struct local *local)
{
    pid_t pid = local_pid(local, "coordinator");
    if (pid)
        kill(pid, SIGHUP);
    else
        fputs("the coordinator takes this over on SIGHUP or at its next start\n", stderr);
}

static int key_generate(const struct command_context *context)
{
    struct error err = {0};
    struct net_keypair pair;
    const char *path = command_argument(context, 0);
    if (access(path, F_OK) == 0) {
        error_set(&err, ERROR_CONFLICT, "%s exists already and is left as it is", path);
        return command_fail(&err);
    }
    if (!net_keypair_generate(&pair, &err) || !net_keypair_save(path, &pair, &err))
        return command_fail(&err);
    puts(pair.public_key);
    return EXIT_DONE;
}

static int key_admit(const struct command_context *context)
{
    struct error err = {0};
    struct local local;
    char key[NET_KEY_CHARS + 1];
    const char *name = command_argument(context, 0), *given = command_argument(context, 1);
    char *keys = keys_directory(context, &local, &err);
    bool ok = keys && check_name(name, &err);
    if (ok && net_public_key_valid(given))
        memcpy(key, given, sizeof(key));
    else if (ok)
        ok = net_public_key_load(given, key, &err);
    if (ok) {
        char *path = alloc_format("%s/workers/%s.pub", keys, name);
        ok = net_public_key_save(path, key, &err);
        free(path);
    }
    free(keys);
    if (!ok)
        return command_fail(&err);
    tell_coordinator(&local);
    return EXIT_DONE;
}

static int key_revoke(const struct command_context *context)
{
    struct error err = {0};
    struct local local;
    const char *name = command_argument(context, 0);
    char *keys = keys_directory(context, &local, &err);
    bool ok = keys && check_name(name, &err);
    if (ok) {
        char *path = alloc_format("%s/workers/%s.pub", keys, name);
        if (unlink(path) != 0)
            ok = error_set(
                &err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_DENIED, "%s: %s", path, strerror(errno));
        free(path);
    }
    free(keys);
    if (!ok)
        return command_fail(&err);
    tell_coordinator(&local);
    return EXIT_DONE;
}

static json_t *read_admitted(const char *keys, struct error *err)
{
    char *directory = alloc_format("%s/workers", keys);
    DIR *entries = opendir(directory);
    json_t *list = entries ? json_array() : NULL;
    if (!entries)
        error_set(err, ERROR_NOT_FOUND, "%s: %s", directory, strerror(errno));
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        char key[NET_KEY_CHARS + 1];
        size_t len = strlen(entry->d_name);
        if (len <= 4 || strcmp(entry->d_name + len - 4, ".pub") != 0)
            continue;
        char *path = alloc_format("%s/%s", directory, entry->d_name);
        if (net_public_key_load(path, key, NULL))
            json_array_append_new(
                list, json_pack("{s:s#,s:s}", "name", entry->d_name, (int)len - 4, "public_key", key));
        free(path);
    }
    if (entries)
        closedir(entries);
    free(directory);
    return list;
}

static int key_list(const struct command_context *context)
{
    static const struct listing_column columns[] = {
        {"NAME", "name", LISTING_TEXT}, {"PUBLIC KEY", "public_key", LISTING_TEXT}, {0}};
    struct error err = {0};
    struct local local;
    char *keys = keys_directory(context, &local, &err);
    json_t *list = keys ? read_admitted(keys, &err) : NULL;
    free(keys);
    if (!list)
        return command_fail(&err);
    listing_print(list, columns, context->json);
    json_decref(list);
    return EXIT_DONE;
}

/* ---- tokens ---- */

static const struct config_option TOKEN_OPTIONS[] = {
    {"role", "admin|user|viewer", "user", "what its bearer may do", false, false},
    {"expires-s", "N", "0", "its life in seconds; 0: for ever", false, false}, {0}};

static int token_create(const struct command_context *context)
{
    struct error err = {0};
    int64_t expires_s;
    if (!config_integer(context->config, "expires-s", 0, INT32_MAX, &expires_s, &err))
        return command_fail(&err);
    json_t *body = json_pack(
        "{s:s,s:s}", "name", command_argument(context, 0), "role", config_text(context->config, "role"));
    if (expires_s > 0)
        json_object_set_new(body, "expires_in_s", json_integer(expires_s));
    json_t *answer = client_call("POST", "/auth/tokens", body, &err);
    json_decref(body);
    if (!answer)
        return command_fail(&err);
    if (context->json)
        terminal_json(answer);
    else
        puts(json_string_value(json_object_get(answer, "token")));
    json_decref(answer);
    return EXIT_DONE;
}

static int token_list(const struct command_context *context)
{
    static const struct listing_column columns[] = {{"ID", "id", LISTING_TEXT},
        {"NAME", "name", LISTING_TEXT}, {"ROLE", "role", LISTING_TEXT},
        {"CREATED", "created_at", LISTING_TIME}, {"EXPIRES", "expires_at", LISTING_TIME},
        {"USED", "used_at", LISTING_TIME}, {0}};
    return listing_run(context, "/auth/tokens", columns);
}

static int token_revoke(const struct command_context *context)
{
    char *path = alloc_format("/auth/tokens/%s", command_argument(context, 0));
    int status = listing_call(context, "DELETE", path, "revoked");
    free(path);
    return status;
}

/* ---- secrets ---- */

static const struct config_option SECRET_OPTIONS[] = {
    {"description", "TEXT", "", "what it is for", false, false}, {0}};

/* The value comes from stdin, so that it is in no shell history and no process list. */
static int secret_set(const struct command_context *context)
{
    struct error err = {0};
    char value[SECRET_CHARS_MAX * 4 + 2];
    if (isatty(STDIN_FILENO))
        fputs("value: ", stderr);
    if (!fgets(value, sizeof(value), stdin)) {
        error_set(&err, ERROR_INVALID, "the secret's value is read from standard input, and there is none");
        return command_fail(&err);
    }
    value[strcspn(value, "\r\n")] = '\0';
    json_t *body =
        json_pack("{s:s,s:s}", "value", value, "description", config_text(context->config, "description"));
    memset(value, 0, sizeof(value));
    char *path = alloc_format("/settings/secrets/%s", command_argument(context, 0));
    json_t *answer = client_call("PUT", path, body, &err);
    free(path);
    json_decref(body);
    if (!answer)
        return command_fail(&err);
    json_decref(answer);
    puts("stored");
    return EXIT_DONE;
}

static int secret_list(const struct command_context *context)
{
    static const struct listing_column columns[] = {
        {"NAME", "name", LISTING_TEXT}, {"DESCRIPTION", "description", LISTING_TEXT}, {0}};
    return listing_run(context, "/settings/secrets/", columns);
}

static int secret_delete(const struct command_context *context)
{
    char *path = alloc_format("/settings/secrets/%s", command_argument(context, 0));
    int status = listing_call(context, "DELETE", path, "deleted");
    free(path);
    return status;
}

/* ---- models, configuration ---- */

static int model_list(const struct command_context *context)
{
    static const struct listing_column columns[] = {{"NAME", "display_name", LISTING_TEXT},
        {"MODEL", "model", LISTING_TEXT}, {"PROVIDER", "provider", LISTING_TEXT}, {0}};
    return listing_run(context, "/models/", columns);
}

static int config_check(const struct command_context *context)
{
    config_print(context->config, stdout);
    return EXIT_DONE;
}

const struct command ADMIN_COMMANDS[] = {
    {"model list", "", 0, 0, "suggested models", NULL, model_list},
    {"secret set", "NAME", 1, 1, "store a secret; its value is read from stdin", SECRET_OPTIONS, secret_set},
    {"secret list", "", 0, 0, "names of secrets, never values", NULL, secret_list},
    {"secret delete", "NAME", 1, 1, "delete it", NULL, secret_delete},
    {"key generate", "FILE", 1, 1, "make a worker's key pair and print its public key", NULL, key_generate},
    {"key list", "", 0, 0, "admitted workers' keys", KEY_OPTIONS, key_list},
    {"key admit", "NAME KEY|FILE", 2, 2, "let workers with this public key connect", KEY_OPTIONS, key_admit},
    {"key revoke", "NAME", 1, 1, "no longer", KEY_OPTIONS, key_revoke},
    {"token create", "NAME", 1, 1, "make an HTTP token; it is printed once", TOKEN_OPTIONS, token_create},
    {"token list", "", 0, 0, "the tokens", NULL, token_list},
    {"token revoke", "ID", 1, 1, "it no longer works", NULL, token_revoke},
    {"config check", "", 0, 0, "print every option with its value and where that comes from", NULL,
        config_check},
    {0},
};
