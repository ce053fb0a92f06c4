#include "worker/model/hub_download.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "worker/model/file_map.h"

enum {
    PARALLEL_MAX = 4,
    POLL_MS = 100,
    ATTEMPTS_TOTAL_MAX = 100, /* also those that brought a few bytes */
    PROGRESS_INTERVAL_MS = 100,
    SHA256_HEX_LEN = 64,
};

enum state {
    WAITING, /* for its lock, a free place or the time of its next attempt */
    RUNNING,
    DONE,
};

struct transfer {
    const struct hub_download *download;
    struct batch *batch;
    enum state state;
    char *blob, *incomplete;
    int lock_fd, fd; /* -1: not open */
    uint64_t done_bytes;
    uint64_t attempt_start_bytes, best_bytes;
    unsigned attempts, barren_attempts; /* barren: got no further than one before */
    int64_t not_before_ms, reported_ms;
    bool was_rejected; /* its content had the wrong hash once */
    struct hub_answer answer;
    CURL *curl;
    char *url;
    char detail[CURL_ERROR_SIZE];
    bool write_failed; /* the batch's error is set */
};

struct batch {
    struct hub_session *session;
    const struct hub_cache *cache;
    const struct model_options *options;
    CURLM *multi;
    struct transfer *transfers;
    size_t count, running;
    struct error *err;
};

static int64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static bool storage_error(struct batch *batch, const char *path, struct error *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    error_set(err, ERROR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
    if (full)
        error_hint(err,
            "make room in %s or set HF_HOME to a larger disk; the download then goes on where it stopped",
            batch->cache->root);
    return false;
}

static bool report(struct transfer *transfer, bool always)
{
    const struct model_options *options = transfer->batch->options;
    int64_t now = now_ms();
    if (options->progress == NULL || (!always && now - transfer->reported_ms < PROGRESS_INTERVAL_MS))
        return true;
    transfer->reported_ms = now;
    if (options->progress(
            options->context, transfer->download->file, transfer->done_bytes, transfer->download->size_bytes))
        return true;
    return error_set(transfer->batch->err, ERROR_CANCELLED, "the download of hf://%s was cancelled",
        transfer->batch->session->repository);
}

/* The first bytes of an answer decide where they go: a server may ignore the range and start over. */
static bool start_writing(struct transfer *transfer)
{
    const struct hub_answer *answer = &transfer->answer;
    long status = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    bool resumed = status == 206 && answer->has_range_start &&
                   answer->range_start_bytes == transfer->attempt_start_bytes;
    if (!resumed && transfer->done_bytes > 0) {
        if (ftruncate(transfer->fd, 0) != 0 || lseek(transfer->fd, 0, SEEK_SET) != 0)
            return storage_error(transfer->batch, transfer->incomplete, transfer->batch->err);
        transfer->done_bytes = 0;
        transfer->attempt_start_bytes = 0;
    }
    return resumed || status == 200 ||
           error_set(transfer->batch->err, ERROR_UNAVAILABLE,
               "the hub answers %ld for a part of %s of hf://%s", status, transfer->download->file,
               transfer->batch->session->repository);
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, data, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        data += written;
        len -= (size_t)written;
    }
    return true;
}

static size_t write_content(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    struct batch *batch = transfer->batch;
    size_t len = size * count;
    long status = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 300)
        return len; /* the text of an error page */
    transfer->write_failed = true;
    if (transfer->done_bytes == transfer->attempt_start_bytes && !start_writing(transfer))
        return 0;
    if (len > transfer->download->size_bytes - transfer->done_bytes) {
        error_set(batch->err, ERROR_INVALID,
            "the hub sends more of %s of hf://%s than the %llu bytes it announced", transfer->download->file,
            batch->session->repository, (unsigned long long)transfer->download->size_bytes);
        return 0;
    }
    if (!write_all(transfer->fd, data, len)) {
        storage_error(batch, transfer->incomplete, batch->err);
        return 0;
    }
    transfer->done_bytes += len;
    if (!report(transfer, false))
        return 0;
    transfer->write_failed = false;
    return len;
}

/* Takes the blob's lock if nobody has it. *locked says whether; false only on an error. */
static bool try_lock(struct transfer *transfer, bool *locked)
{
    struct batch *batch = transfer->batch;
    char *path = hub_cache_lock_path(batch->cache, transfer->download->etag, batch->err);
    bool ok = path != NULL && hub_cache_make_parents(path, batch->err);
    *locked = false;
    if (ok) {
        transfer->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        ok = transfer->lock_fd >= 0 || storage_error(batch, path, batch->err);
    }
    if (ok) {
        *locked = flock(transfer->lock_fd, LOCK_EX | LOCK_NB) == 0;
        ok = *locked || errno == EWOULDBLOCK || errno == EINTR ||
             error_set(batch->err, ERROR_UNAVAILABLE, "cannot lock %s: %s", path, strerror(errno));
    }
    if (!*locked && transfer->lock_fd >= 0) {
        close(transfer->lock_fd);
        transfer->lock_fd = -1;
    }
    free(path);
    return ok;
}

static void unlock(struct transfer *transfer)
{
    if (transfer->fd >= 0)
        close(transfer->fd);
    if (transfer->lock_fd >= 0)
        close(transfer->lock_fd); /* releases the lock; the file stays, as huggingface_hub leaves it */
    transfer->fd = transfer->lock_fd = -1;
}

/* Opens the .incomplete file and finds how much of it is there. */
static bool open_incomplete(struct transfer *transfer)
{
    struct batch *batch = transfer->batch;
    struct stat st;
    if (!hub_cache_make_parents(transfer->incomplete, batch->err))
        return false;
    transfer->fd = open(transfer->incomplete, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (transfer->fd < 0 || fstat(transfer->fd, &st) != 0)
        return storage_error(batch, transfer->incomplete, batch->err);
    if ((uint64_t)st.st_size > transfer->download->size_bytes) {
        if (ftruncate(transfer->fd, 0) != 0)
            return storage_error(batch, transfer->incomplete, batch->err);
        st.st_size = 0;
    }
    transfer->done_bytes = (uint64_t)st.st_size;
    if (lseek(transfer->fd, 0, SEEK_END) < 0)
        return storage_error(batch, transfer->incomplete, batch->err);
    struct statvfs disk;
    uint64_t missing = transfer->download->size_bytes - transfer->done_bytes;
    if (fstatvfs(transfer->fd, &disk) == 0 && missing / disk.f_frsize > disk.f_bavail) {
        error_set(batch->err, ERROR_UNAVAILABLE,
            "%s of hf://%s needs %llu bytes more, the disk of %s has %llu", transfer->download->file,
            batch->session->repository, (unsigned long long)missing, batch->cache->root,
            (unsigned long long)disk.f_bavail * disk.f_frsize);
        return error_hint(batch->err, "make room or set HF_HOME to a larger disk");
    }
    return true;
}

static bool prepare_request(struct transfer *transfer)
{
    CURL *curl = transfer->curl;
    char range[32];
    curl_easy_reset(curl);
    hub_prepare(transfer->batch->session, curl);
    curl_easy_setopt(curl, CURLOPT_URL, transfer->url);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->detail);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer->answer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, write_content);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, transfer);
    if (transfer->done_bytes > 0) {
        snprintf(range, sizeof range, "%llu-", (unsigned long long)transfer->done_bytes);
        curl_easy_setopt(curl, CURLOPT_RANGE, range);
    }
    transfer->attempt_start_bytes = transfer->done_bytes;
    if (transfer->best_bytes < transfer->done_bytes)
        transfer->best_bytes = transfer->done_bytes;
    transfer->attempts++;
    transfer->state = RUNNING;
    transfer->batch->running++;
    return curl_multi_add_handle(transfer->batch->multi, curl) == CURLM_OK ||
           error_set(transfer->batch->err, ERROR_INTERNAL, "libcurl does not take a transfer");
}

/* SHA-256 of the whole file, as hex. */
static bool hash_file(int fd, char hex[SHA256_HEX_LEN + 1])
{
    static _Thread_local uint8_t buffer[1 << 16];
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state state;
    ssize_t count;
    crypto_hash_sha256_init(&state);
    if (lseek(fd, 0, SEEK_SET) != 0)
        return false;
    while ((count = read(fd, buffer, sizeof buffer)) > 0)
        crypto_hash_sha256_update(&state, buffer, (size_t)count);
    crypto_hash_sha256_final(&state, hash);
    sodium_bin2hex(hex, SHA256_HEX_LEN + 1, hash, sizeof hash);
    return count == 0;
}

/* Whether the content is what the ETag promises. A wrong one is thrown away, and once fetched again: a
 * resumed download may have begun with another version's bytes. */
static bool verify(struct transfer *transfer, bool *accepted)
{
    struct batch *batch = transfer->batch;
    const char *etag = transfer->download->etag;
    char hex[SHA256_HEX_LEN + 1];
    *accepted = true;
    if (strlen(etag) != SHA256_HEX_LEN)
        return true; /* small files have Git's own hash; their length was checked */
    if (!hash_file(transfer->fd, hex))
        return error_set(
            batch->err, ERROR_UNAVAILABLE, "cannot read %s: %s", transfer->incomplete, strerror(errno));
    if (strcmp(hex, etag) == 0)
        return true;
    *accepted = false;
    if (ftruncate(transfer->fd, 0) != 0 || lseek(transfer->fd, 0, SEEK_SET) != 0)
        return storage_error(batch, transfer->incomplete, batch->err);
    transfer->done_bytes = 0;
    if (!transfer->was_rejected) {
        transfer->was_rejected = true;
        return true;
    }
    return error_set(batch->err, ERROR_INVALID,
        "%s of hf://%s arrives damaged: its SHA-256 is %s, the hub says %s", transfer->download->file,
        batch->session->repository, hex, etag);
}

/* All bytes are there: checks them and gives the blob its name. */
static bool complete(struct transfer *transfer)
{
    bool accepted;
    if (!verify(transfer, &accepted))
        return false;
    if (!accepted) {
        transfer->state = WAITING;
        return true;
    }
    if (fsync(transfer->fd) != 0 || rename(transfer->incomplete, transfer->blob) != 0)
        return storage_error(transfer->batch, transfer->blob, transfer->batch->err);
    unlock(transfer);
    transfer->state = DONE;
    return report(transfer, true);
}

/* Starts a waiting transfer if it can start now. */
static bool start(struct transfer *transfer)
{
    bool locked = transfer->lock_fd >= 0;
    if (!locked && !try_lock(transfer, &locked))
        return false;
    if (!locked) {
        transfer->not_before_ms = now_ms() + POLL_MS;
        return report(transfer, false); /* whoever waits may still cancel */
    }
    if (path_is_file(transfer->blob)) { /* another process was faster */
        unlock(transfer);
        transfer->state = DONE;
        transfer->done_bytes = transfer->download->size_bytes;
        return report(transfer, true);
    }
    if (transfer->fd < 0 && !open_incomplete(transfer))
        return false;
    if (transfer->done_bytes == transfer->download->size_bytes)
        return complete(transfer);
    return prepare_request(transfer);
}

static bool start_waiting(struct batch *batch)
{
    int64_t now = now_ms();
    for (size_t i = 0; i < batch->count; i++) {
        struct transfer *transfer = &batch->transfers[i];
        if (transfer->state == WAITING && batch->running < PARALLEL_MAX && now >= transfer->not_before_ms &&
            !start(transfer))
            return false;
    }
    return true;
}

/* Decides what the end of an attempt means: complete, another attempt, or an error. */
static bool finish_attempt(struct transfer *transfer, CURLcode code)
{
    struct batch *batch = transfer->batch;
    const char *file = transfer->download->file;
    long status = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    transfer->answer.status = status;
    if (transfer->write_failed)
        return false;
    if (status < 300 && transfer->done_bytes == transfer->download->size_bytes)
        return complete(transfer);
    bool is_short = code == CURLE_OK && status < 300; /* ended early, with a length that agreed */
    bool is_out_of_range = code == CURLE_OK && status == 416;
    bool transient = is_short || is_out_of_range ||
                     (code == CURLE_OK ? hub_status_is_transient(status) : hub_curl_is_transient(code));
    bool barren = transfer->done_bytes <= transfer->best_bytes;
    if (!barren)
        transfer->best_bytes = transfer->done_bytes;
    transfer->barren_attempts = barren ? transfer->barren_attempts + 1 : 0;
    if (transient && transfer->barren_attempts < HUB_ATTEMPTS_MAX &&
        transfer->attempts < ATTEMPTS_TOTAL_MAX) {
        if (is_out_of_range && ftruncate(transfer->fd, 0) == 0 && lseek(transfer->fd, 0, SEEK_SET) == 0)
            transfer->done_bytes = 0;
        unsigned step = transfer->barren_attempts > 0 ? transfer->barren_attempts : 1;
        transfer->not_before_ms = now_ms() + hub_retry_delay_ms(step, &transfer->answer);
        transfer->state = WAITING;
        return true;
    }
    if (is_short || is_out_of_range || code == CURLE_PARTIAL_FILE)
        return error_set(batch->err, ERROR_UNAVAILABLE,
            "%s of hf://%s ends after %llu of %llu bytes, also when tried again", file,
            batch->session->repository, (unsigned long long)transfer->best_bytes,
            (unsigned long long)transfer->download->size_bytes);
    if (code != CURLE_OK)
        return hub_curl_error(batch->session, code, transfer->detail, file, batch->err);
    return hub_status_error(batch->session, &transfer->answer, file, batch->err);
}

static bool finish_ended(struct batch *batch)
{
    int left;
    bool ok = true;
    for (CURLMsg *message; ok && (message = curl_multi_info_read(batch->multi, &left)) != NULL;) {
        struct transfer *transfer;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        curl_multi_remove_handle(batch->multi, transfer->curl);
        batch->running--;
        ok = finish_attempt(transfer, code);
    }
    return ok;
}

static bool is_finished(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->transfers[i].state != DONE)
            return false;
    }
    return true;
}

static bool run(struct batch *batch)
{
    while (!is_finished(batch)) {
        int running;
        if (!start_waiting(batch))
            return false;
        if (curl_multi_perform(batch->multi, &running) != CURLM_OK ||
            curl_multi_poll(batch->multi, NULL, 0, batch->running > 0 || !is_finished(batch) ? POLL_MS : 0,
                NULL) != CURLM_OK)
            return error_set(batch->err, ERROR_INTERNAL, "libcurl does not run its transfers");
        if (!finish_ended(batch))
            return false;
    }
    return true;
}

static bool open_transfer(
    struct transfer *transfer, struct batch *batch, const struct hub_download *download, const char *commit)
{
    transfer->download = download;
    transfer->batch = batch;
    transfer->blob = hub_cache_blob_path(batch->cache, download->etag, "", batch->err);
    transfer->incomplete = hub_cache_blob_path(batch->cache, download->etag, ".incomplete", batch->err);
    char *path = hub_file_path(batch->session, commit, download->file, batch->err);
    if (path != NULL && asprintf(&transfer->url, "%s%s", batch->session->endpoint, path) < 0)
        transfer->url = NULL;
    free(path);
    transfer->curl = curl_easy_init();
    return (transfer->blob != NULL && transfer->incomplete != NULL && transfer->url != NULL &&
               transfer->curl != NULL) ||
           error_set(batch->err, ERROR_MEMORY, "no memory for a download");
}

static void close_transfer(struct transfer *transfer)
{
    if (transfer->curl != NULL) {
        curl_multi_remove_handle(transfer->batch->multi, transfer->curl);
        curl_easy_cleanup(transfer->curl);
    }
    unlock(transfer);
    free(transfer->blob);
    free(transfer->incomplete);
    free(transfer->url);
}

bool hub_download_all(struct hub_session *session, const struct hub_cache *cache, const char *commit,
    const struct hub_download *downloads, size_t count, const struct model_options *options,
    struct error *err)
{
    struct error unused;
    struct batch batch = {.session = session,
        .cache = cache,
        .options = options,
        .multi = curl_multi_init(),
        .transfers = calloc(count + 1, sizeof *batch.transfers),
        .err = err != NULL ? err : &unused};
    bool ok = batch.multi != NULL && batch.transfers != NULL;
    if (!ok)
        error_set(err, ERROR_MEMORY, "no memory for a download");
    for (; ok && batch.count < count; batch.count++) {
        struct transfer *transfer = &batch.transfers[batch.count];
        transfer->lock_fd = transfer->fd = -1;
        ok = open_transfer(transfer, &batch, &downloads[batch.count], commit);
    }
    ok = ok && run(&batch);
    for (size_t i = 0; i < batch.count; i++)
        close_transfer(&batch.transfers[i]);
    free(batch.transfers);
    curl_multi_cleanup(batch.multi);
    return ok;
}
