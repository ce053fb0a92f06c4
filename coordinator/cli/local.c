#include "coordinator/cli/local.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"

enum { POLL_MS = 20, TAIL_BYTES = 8192 };

char *local_path(const struct local *local, const char *sub, const char *name, const char *suffix)
{
    return alloc_format("%s/%s%s%s%s", local->data, sub, *name ? "/" : "", name, suffix);
}

/* Postgres' socket may not lie deeper than 107 bytes: a long data path gets a short name under /tmp. */
static void choose_socket(struct local *local)
{
    if (snprintf(local->socket, sizeof(local->socket), "%s/run/postgres", local->data) <
        (int)sizeof(local->socket) - 20)
        return;
    uint32_t hash = 2166136261u; /* FNV-1a of the path */
    for (const char *p = local->data; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    snprintf(local->socket, sizeof(local->socket), "/tmp/lumigrid-%u-%08x", (unsigned)getuid(), hash);
}

static bool default_directory(char *out, size_t size, struct error *err)
{
    const char *home = getenv("HOME"), *data = getenv("XDG_DATA_HOME");
    int len;
    if (geteuid() == 0)
        len = snprintf(out, size, "/var/lib/lumigrid");
    else if (data && data[0] == '/')
        len = snprintf(out, size, "%s/lumigrid", data);
    else if (home && home[0] == '/')
        len = snprintf(out, size, "%s/.local/share/lumigrid", home);
    else
        return error_set(err, ERROR_INVALID, "HOME is not set; name a data folder with --data");
    return len < (int)size || error_set(err, ERROR_INVALID, "the data folder's path is too long");
}

static void load_state(struct local *local)
{
    char *path = local_path(local, "cluster.json", "", "");
    json_t *state = json_load_file(path, 0, NULL);
    local->port = (int)json_integer_value(json_object_get(state, "port"));
    local->workers = (int)json_integer_value(json_object_get(state, "workers"));
    json_decref(state);
    free(path);
}

bool local_open(const char *given, struct local *out, struct error *err)
{
    memset(out, 0, sizeof(*out));
    char directory[PATH_MAX];
    if (given && given[0] != '/') {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof(here)) ||
            snprintf(directory, sizeof(directory), "%s/%s", here, given) >= (int)sizeof(directory))
            return error_set(err, ERROR_INVALID, "the data folder's path is too long");
    } else if (given) {
        if (snprintf(directory, sizeof(directory), "%s", given) >= (int)sizeof(directory))
            return error_set(err, ERROR_INVALID, "the data folder's path is too long");
    } else if (!default_directory(directory, sizeof(directory), err)) {
        return false;
    }
    size_t len = strlen(directory);
    while (len > 1 && directory[len - 1] == '/')
        directory[--len] = '\0';
    if (len >= sizeof(out->data))
        return error_set(err, ERROR_INVALID, "the data folder's path is too long");
    memcpy(out->data, directory, len + 1);
    choose_socket(out);
    load_state(out);
    return true;
}

bool local_save(const struct local *local, struct error *err)
{
    char *path = local_path(local, "cluster.json", "", "");
    json_t *state = json_pack("{s:i,s:i}", "port", local->port, "workers", local->workers);
    bool ok = json_dump_file(state, path, JSON_INDENT(2)) == 0;
    if (!ok)
        error_set(err, ERROR_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
    json_decref(state);
    free(path);
    return ok;
}

/* mkdir -p; folders on the way are readable by all, since Postgres' own user must pass through. */
static bool make_directory(const char *path, mode_t mode, struct error *err)
{
    char *partial = alloc_string(path);
    bool ok = true;
    for (char *slash = strchr(partial + 1, '/'); ok && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = mkdir(partial, 0755) == 0 || errno == EEXIST;
        *slash = '/';
    }
    ok = ok && (mkdir(partial, mode) == 0 || errno == EEXIST);
    free(partial);
    return ok || error_set(err, ERROR_DENIED, "folder %s cannot be made: %s", path, strerror(errno));
}

bool local_make_directories(const struct local *local, struct error *err)
{
    static const struct {
        const char *name;
        mode_t mode;
    } folders[] = {{"run", 0755}, {"logs", 0755}, {"keys", 0700}, {"keys/workers", 0700}};
    if (!make_directory(local->data, 0755, err))
        return false;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char *path = local_path(local, folders[i].name, "", "");
        bool ok = make_directory(path, folders[i].mode, err);
        free(path);
        if (!ok)
            return false;
    }
    return true;
}

char *local_program(const char *name, struct error *err)
{
    static const char *const places[] = {".", "../worker", "../coordinator", "../libexec/lumigrid"};
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len > 0) {
        self[len] = '\0';
        *strrchr(self, '/') = '\0';
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            char *path = alloc_format("%s/%s/%s", self, places[i], name);
            if (access(path, X_OK) == 0)
                return path;
            free(path);
        }
    }
    error_set(err, ERROR_NOT_FOUND, "the program %s is not beside lumigrid", name);
    error_hint(err, "build it, or install the package that has it");
    return NULL;
}

/* The process's start time (field 22 of its stat), which tells it from a later one with the same number. */
static unsigned long long start_time(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    char state = field && strrchr(text, ')')[1] ? strrchr(text, ')')[2] : 'Z';
    return field && state != 'Z' ? strtoull(field, NULL, 10) : 0;
}

pid_t local_pid(const struct local *local, const char *name)
{
    char *path = local_path(local, "run", name, ".pid");
    FILE *file = fopen(path, "re");
    free(path);
    char line[64] = "";
    if (!file)
        return 0;
    char *read = fgets(line, sizeof(line), file);
    fclose(file);
    char *rest = NULL;
    long pid = read ? strtol(line, &rest, 10) : 0;
    unsigned long long started = rest ? strtoull(rest, NULL, 10) : 0;
    return pid > 0 && started > 0 && start_time((pid_t)pid) == started ? (pid_t)pid : 0;
}

static bool write_pid(const struct local *local, const char *name, pid_t pid, struct error *err)
{
    char *path = local_path(local, "run", name, ".pid");
    FILE *file = fopen(path, "we");
    bool ok = file && fprintf(file, "%d %llu\n", (int)pid, start_time(pid)) > 0;
    ok = file && fclose(file) == 0 && ok;
    if (!ok)
        error_set(err, ERROR_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
    free(path);
    return ok;
}

static bool become(const char *user)
{
    if (!user)
        return true;
    const struct passwd *entry = getpwnam(user);
    return entry && initgroups(user, entry->pw_gid) == 0 && setgid(entry->pw_gid) == 0 &&
           setuid(entry->pw_uid) == 0;
}

/* Forks and executes. The child reports a failure before exec through a pipe that exec closes. */
static pid_t start(
    const struct local *local, const char *log, char *const argv[], const char *user, struct error *err)
{
    char *path = local_path(local, "logs", log, ".log");
    int output = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int pipes[2] = {-1, -1};
    int failure = errno;
    if (output < 0 || pipe2(pipes, O_CLOEXEC) != 0) {
        error_set(err, ERROR_UNAVAILABLE, "log %s cannot be opened: %s", path, strerror(failure));
        free(path);
        if (output >= 0)
            close(output);
        return -1;
    }
    free(path);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        int null = open("/dev/null", O_RDONLY);
        if (dup2(null, 0) >= 0 && dup2(output, 1) >= 0 && dup2(output, 2) >= 0 && become(user) &&
            chdir("/") == 0)
            execv(argv[0], argv);
        failure = errno;
        ssize_t written = write(pipes[1], &failure, sizeof(failure));
        _exit(written == sizeof(failure) ? 127 : 126);
    }
    close(pipes[1]);
    close(output);
    bool failed = pid < 0 || read(pipes[0], &failure, sizeof(failure)) > 0;
    close(pipes[0]);
    if (failed) {
        if (pid > 0)
            waitpid(pid, NULL, 0);
        error_set(err, ERROR_UNAVAILABLE, "%s cannot be started: %s", argv[0], strerror(failure));
        return -1;
    }
    return pid;
}

bool local_spawn(
    const struct local *local, const char *name, char *const argv[], const char *user, struct error *err)
{
    pid_t pid = start(local, name, argv, user, err);
    return pid > 0 && write_pid(local, name, pid, err);
}

bool local_run(
    const struct local *local, const char *log, char *const argv[], const char *user, struct error *err)
{
    int status = 0;
    pid_t pid = start(local, log, argv, user, err);
    if (pid < 0)
        return false;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    char *words = local_last_words(local, log);
    error_set(err, ERROR_UNAVAILABLE, "%s failed: %s", argv[0], words);
    free(words);
    return false;
}

bool local_stop(const struct local *local, const char *name, int number, int timeout_ms)
{
    pid_t pid = local_pid(local, name);
    if (!pid)
        return false;
    kill(pid, number);
    for (int waited = 0; local_pid(local, name) == pid; waited += POLL_MS) {
        waitpid(pid, NULL, WNOHANG); /* when it is our own child */
        if (waited == timeout_ms / POLL_MS * POLL_MS)
            kill(pid, SIGKILL);
        nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
    }
    char *path = local_path(local, "run", name, ".pid");
    unlink(path);
    free(path);
    return true;
}

char *local_last_words(const struct local *local, const char *name)
{
    char text[TAIL_BYTES + 1] = "";
    char *path = local_path(local, "logs", name, ".log");
    FILE *file = fopen(path, "re");
    free(path);
    if (!file)
        return alloc_string("");
    if (fseek(file, -TAIL_BYTES, SEEK_END) != 0)
        rewind(file);
    size_t len = fread(text, 1, TAIL_BYTES, file);
    fclose(file);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    const char *line = strrchr(text, '\n');
    return alloc_string(line ? line + 1 : text);
}
