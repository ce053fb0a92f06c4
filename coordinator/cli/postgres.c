/* A private Postgres: its data in the cluster's folder, reachable only through a Unix socket in a folder that
 * only its user (and root) can enter, so that local connections need no password. */
#include <dirent.h>
#include <errno.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "coordinator/cli/local.h"

enum { START_TIMEOUT_MS = 60000, STOP_TIMEOUT_MS = 30000, POLL_MS = 20 };

static const char SETTINGS[] = "\n# written by lumigrid up\n"
                               "listen_addresses = ''\n"
                               "max_connections = 60\n"
                               "shared_buffers = 128MB\n"
                               "max_wal_size = 2GB\n"
                               "log_destination = stderr\n"
                               "timezone = UTC\n";

/* The newest installed server's program of that name; malloc'd. */
static char *find_program(const char *name, struct error *err)
{
    char *best = NULL;
    int best_version = 0;
    DIR *versions = opendir("/usr/lib/postgresql");
    for (struct dirent *entry; versions && (entry = readdir(versions));) {
        int version = atoi(entry->d_name); /* NOLINT(cert-err34-c): no number counts as 0 */
        char *path = alloc_format("/usr/lib/postgresql/%s/bin/%s", entry->d_name, name);
        if (version > best_version && access(path, X_OK) == 0) {
            free(best);
            best = path;
            best_version = version;
        } else {
            free(path);
        }
    }
    if (versions)
        closedir(versions);
    if (!best) {
        error_set(err, ERROR_NOT_FOUND, "Postgres is not installed (no /usr/lib/postgresql/*/bin/%s)", name);
        error_hint(err, "run: apt-get install postgresql");
    }
    return best;
}

/* Postgres refuses to run as root: then it runs as the user that Debian's package makes. */
static const char *server_user(void)
{
    return geteuid() == 0 ? "postgres" : NULL;
}

static bool own_directory(const char *path, const char *user, struct error *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set(err, ERROR_DENIED, "folder %s cannot be made: %s", path, strerror(errno));
    const struct passwd *entry = user ? getpwnam(user) : NULL;
    if (user && !entry)
        return error_set(err, ERROR_NOT_FOUND, "there is no user %s for Postgres to run as", user);
    /* Under /tmp somebody else may have made it first. */
    struct stat info;
    if (lstat(path, &info) != 0 || !S_ISDIR(info.st_mode) || (info.st_mode & 077) ||
        (info.st_uid != geteuid() && !(entry && info.st_uid == entry->pw_uid)))
        return error_set(err, ERROR_DENIED, "folder %s is not this user's alone", path);
    if (entry && chown(path, entry->pw_uid, entry->pw_gid) != 0)
        return error_set(
            err, ERROR_DENIED, "folder %s cannot be given to %s: %s", path, user, strerror(errno));
    return true;
}

static bool append_settings(const char *data, const char *socket, struct error *err)
{
    char *path = alloc_format("%s/postgresql.conf", data);
    FILE *file = fopen(path, "ae");
    bool ok =
        file && fputs(SETTINGS, file) >= 0 && fprintf(file, "unix_socket_directories = '%s'\n", socket) > 0;
    ok = file && fclose(file) == 0 && ok;
    if (!ok)
        error_set(err, ERROR_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
    free(path);
    return ok;
}

/* initdb into a neighbouring folder, renamed when whole: a kill in the middle leaves nothing that looks
 * ready. */
static bool initialise(const struct local *local, const char *data, struct error *err)
{
    char *program = find_program("initdb", err);
    if (!program)
        return false;
    char *fresh = alloc_format("%s.new", data);
    char *remove[] = {"/bin/rm", "-rf", fresh, NULL};
    char *argv[] = {
        program, "-D", fresh, "-U", "lumigrid", "--auth=trust", "--no-locale", "-E", "UTF8", NULL};
    bool ok = local_run(local, "postgres", remove, NULL, err) && own_directory(fresh, server_user(), err) &&
              local_run(local, "postgres", argv, server_user(), err) &&
              append_settings(fresh, local->socket, err);
    if (ok && rename(fresh, data) != 0)
        ok = error_set(err, ERROR_UNAVAILABLE, "%s cannot be renamed: %s", fresh, strerror(errno));
    free(fresh);
    free(program);
    return ok;
}

char *local_postgres_conninfo(const struct local *local)
{
    return alloc_format("host='%s' user=lumigrid dbname=lumigrid", local->socket);
}

static bool wait_until_ready(const struct local *local, const char *conninfo, struct error *err)
{
    for (int waited = 0; waited < START_TIMEOUT_MS; waited += POLL_MS) {
        if (PQping(conninfo) == PQPING_OK)
            return true;
        if (!local_pid(local, "postgres"))
            break;
        nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
    }
    char *words = local_last_words(local, "postgres");
    error_set(err, ERROR_UNAVAILABLE, "Postgres does not start: %s", words);
    error_hint(err, "see: lumigrid logs postgres");
    free(words);
    return false;
}

static bool create_database(const char *conninfo, struct error *err)
{
    PGconn *connection = PQconnectdb(conninfo);
    bool ok = PQstatus(connection) == CONNECTION_OK;
    PGresult *result = ok ? PQexec(connection, "CREATE DATABASE lumigrid") : NULL;
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    ok = ok && (PQresultStatus(result) == PGRES_COMMAND_OK || (state && strcmp(state, "42P04") == 0));
    if (!ok)
        error_set(err, ERROR_UNAVAILABLE, "the database cannot be created: %s", PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
    return ok;
}

bool local_postgres_start(const struct local *local, struct error *err)
{
    char *data = local_path(local, "postgres", "", "");
    char *program = find_program("postgres", err);
    char *marker = alloc_format("%s/PG_VERSION", data);
    char *admin = alloc_format("host='%s' user=lumigrid dbname=postgres connect_timeout=5", local->socket);
    char *socket = alloc_string(local->socket);
    char *argv[] = {program, "-D", data, "-k", socket, NULL};
    bool ok = program && own_directory(local->socket, server_user(), err) &&
              (access(marker, F_OK) == 0 || initialise(local, data, err)) &&
              (local_pid(local, "postgres") || local_spawn(local, "postgres", argv, server_user(), err)) &&
              wait_until_ready(local, admin, err) && create_database(admin, err);
    free(socket);
    free(admin);
    free(marker);
    free(program);
    free(data);
    return ok;
}

void local_postgres_stop(const struct local *local)
{
    local_stop(local, "postgres", SIGINT, STOP_TIMEOUT_MS); /* fast shutdown: sessions end, nothing is lost */
}
