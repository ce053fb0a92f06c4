#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/model/fake_hub.h"
#include "tests/unit/model/files.h"
#include "worker/model/hub.h"

enum { WEIGHTS_BYTES = 300000 };

static uint8_t weights[WEIGHTS_BYTES];
static char *cache; /* of the running test */

static const struct fake_file plain_files[] = {
    {"README.md", "hello", 5, false},
    {"config.json", "{\"model_type\":\"bart\"}", 21, false},
    {"tokenizer.json", "{}", 2, false},
    {"model.safetensors", weights, WEIGHTS_BYTES, true},
    {"pytorch_model.bin", weights, 10, true},
};

static int set_up(void **state)
{
    (void)state;
    static const char *const unset[] = {"HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE",
        "http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
        unsetenv(unset[i]);
    for (size_t i = 0; i < WEIGHTS_BYTES; i++)
        weights[i] = (uint8_t)(i * 2654435761U >> 24);
    cache = scratch_directory();
    return setenv("HF_HOME", cache, 1);
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(cache);
    return 0;
}

static char *fetch_with(const char *text, const struct model_options *options, struct error *err)
{
    struct reference reference;
    memset(err, 0, sizeof *err);
    assert_true(reference_parse(text, &reference, err));
    return hub_fetch(&reference, options, err);
}

static char *fetch(const char *text, struct error *err)
{
    static const struct model_options none;
    return fetch_with(text, &none, err);
}

static char *expect_fetched(const char *text)
{
    struct error err;
    char *path = fetch(text, &err);
    if (path == NULL)
        fail_msg("%s", err.message);
    return path;
}

static void expect_file(const char *dir, const char *name, const void *data, size_t len)
{
    char path[1024];
    size_t got;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    uint8_t *bytes = scratch_read(path, &got);
    assert_int_equal(got, len);
    assert_memory_equal(bytes, data, len);
    free(bytes);
}

static bool exists(const char *dir, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void empty_cache(void)
{
    scratch_remove(cache);
    cache = scratch_directory();
    setenv("HF_HOME", cache, 1);
}

/* Starts a hub with these faults, expects an error, stops it. */
static void expect_failure(
    const struct fake_hub *wanted, enum error_code code, const char *message, const char *hint)
{
    struct fake_hub hub = {.files = plain_files, .file_count = 5};
    struct error err;
    empty_cache();
    memcpy(&hub.faults, &wanted->faults, sizeof hub.faults);
    fake_hub_start(&hub);
    char *path = fetch("hf://org/model", &err);
    if (path != NULL)
        fail_msg("fetched; expected \"%s\"", message);
    expect_error(&err, code, message);
    if (strstr(err.hint, hint) == NULL)
        fail_msg("hint \"%s\" lacks \"%s\"", err.hint, hint);
    fake_hub_stop(&hub);
}
#define EXPECT_FAILURE(code, message, hint, ...)                                                             \
    expect_failure(&(struct fake_hub){.faults = {__VA_ARGS__}}, code, message, hint)

static void fetches_what_is_needed_into_the_shared_layout(void **state)
{
    (void)state;
    struct fake_hub hub = {.files = plain_files, .file_count = 5};
    fake_hub_start(&hub);
    char *path = expect_fetched("hf://org/model");
    char expected[1024], target[1024] = "";
    snprintf(expected, sizeof expected, "%s/hub/models--org--model/snapshots/" FAKE_HUB_COMMIT, cache);
    assert_string_equal(path, expected);
    expect_file(path, "model.safetensors", weights, WEIGHTS_BYTES);
    expect_file(path, "config.json", plain_files[1].data, plain_files[1].len);
    assert_true(exists(path, "tokenizer.json"));
    assert_false(exists(path, "README.md"));
    assert_false(exists(path, "pytorch_model.bin")); /* safetensors are preferred */
    expect_file(cache, "hub/models--org--model/refs/main", FAKE_HUB_COMMIT, 40);
    snprintf(expected, sizeof expected, "%s/model.safetensors", path);
    assert_true(readlink(expected, target, sizeof target - 1) > 0);
    assert_int_equal(strncmp(target, "../../blobs/", 12), 0);
    assert_int_equal(strlen(target), 12 + 64);
    free(path);
    int downloads = hub.downloads;
    free(expect_fetched("hf://org/model"));
    assert_int_equal(hub.downloads, downloads); /* everything is there */
    int requests = hub.requests;
    free(expect_fetched("hf://org/model@" FAKE_HUB_COMMIT));
    assert_int_equal(hub.requests, requests); /* a commit never changes: the hub is not asked */
    fake_hub_stop(&hub);
}

static void works_offline_from_the_cache(void **state)
{
    (void)state;
    struct fake_hub hub = {.files = plain_files, .file_count = 5};
    struct error err;
    setenv("HF_HUB_OFFLINE", "1", 1);
    setenv("HF_ENDPOINT", "http://127.0.0.1:9", 1);
    assert_null(fetch("hf://org/model", &err));
    expect_error(&err, ERROR_NOT_FOUND, "hf://org/model@main is not in the cache");
    assert_non_null(strstr(err.hint, "HF_HUB_OFFLINE"));
    unsetenv("HF_HUB_OFFLINE");
    fake_hub_start(&hub);
    free(expect_fetched("hf://org/model"));
    fake_hub_stop(&hub);
    free(expect_fetched("hf://org/model")); /* the hub is gone: the cache serves */
    setenv("HF_HUB_OFFLINE", "1", 1);
    char *path = expect_fetched("hf://org/model"), *weight = NULL;
    assert_true(asprintf(&weight, "%s/model.safetensors", path) > 0);
    assert_int_equal(unlink(weight), 0);
    assert_null(fetch("hf://org/model", &err));
    expect_error(&err, ERROR_NOT_FOUND, "not completely in the cache");
    free(weight);
    free(path);
}

static void fetches_shards_and_gguf_files(void **state)
{
    (void)state;
    static const char index[] = "{\"weight_map\":{\"a\":\"s-1.safetensors\",\"b\":\"s-2.safetensors\"}}";
    static const struct fake_file files[] = {{"config.json", "{}", 2, false},
        {"model.safetensors.index.json", index, sizeof index - 1, false},
        {"s-1.safetensors", weights, 1000, true}, {"s-2.safetensors", weights, 2000, true},
        {"Q4/m.gguf", weights, 3000, true}};
    struct fake_hub hub = {.files = files, .file_count = 5};
    struct error err;
    fake_hub_start(&hub);
    char *path = expect_fetched("hf://org/model");
    expect_file(path, "s-1.safetensors", weights, 1000);
    expect_file(path, "s-2.safetensors", weights, 2000);
    free(path);
    path = expect_fetched("hf://org/model/Q4/m.gguf");
    size_t len;
    uint8_t *bytes = scratch_read(path, &len);
    assert_int_equal(len, 3000);
    free(bytes);
    free(path);
    assert_null(fetch("hf://org/model/other.gguf", &err));
    expect_error(&err, ERROR_NOT_FOUND, "has no file other.gguf");
    fake_hub_stop(&hub);
}

static void names_gguf_files_when_there_is_nothing_else(void **state)
{
    (void)state;
    static const struct fake_file files[] = {{"config.json", "{}", 2, false}, {"m.gguf", weights, 30, true}};
    struct fake_hub hub = {.files = files, .file_count = 2};
    struct error err;
    fake_hub_start(&hub);
    assert_null(fetch("hf://org/model", &err));
    expect_error(&err, ERROR_NOT_FOUND, "has no safetensors or torch weights");
    assert_non_null(strstr(err.hint, ".gguf"));
    fake_hub_stop(&hub);
}

static void resumes_broken_downloads(void **state)
{
    (void)state;
    struct fake_hub hub = {.files = plain_files, .file_count = 5, .faults = {.cut_downloads = 6}};
    fake_hub_start(&hub);
    char *path = expect_fetched("hf://org/model");
    expect_file(path, "model.safetensors", weights, WEIGHTS_BYTES);
    assert_true(hub.range_requests > 0);
    free(path);
    fake_hub_stop(&hub);
}

static void starts_over_when_ranges_are_ignored(void **state)
{
    (void)state;
    struct fake_hub hub = {
        .files = plain_files, .file_count = 5, .faults = {.cut_downloads = 3, .ignores_ranges = true}};
    fake_hub_start(&hub);
    char *path = expect_fetched("hf://org/model");
    expect_file(path, "model.safetensors", weights, WEIGHTS_BYTES);
    free(path);
    fake_hub_stop(&hub);
}

/* What an interrupted download leaves: the weights' blob under its temporary name. Returns the path. */
static char *plant_incomplete(const void *data, size_t len)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof hash + 1], name[256];
    crypto_hash_sha256(hash, weights, WEIGHTS_BYTES);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(name, sizeof name, "hub/models--org--model/blobs/%s.incomplete", hex);
    return scratch_write(cache, name, data, len);
}

static void continues_an_earlier_download(void **state)
{
    (void)state;
    struct fake_hub hub = {.files = plain_files, .file_count = 5};
    free(scratch_write(cache, "hub/x", "", 0));
    char *incomplete = plant_incomplete(weights, 100000);
    fake_hub_start(&hub);
    char *path = expect_fetched("hf://org/model");
    expect_file(path, "model.safetensors", weights, WEIGHTS_BYTES);
    assert_int_equal(hub.range_requests, 1);
    free(path);
    free(incomplete);
    fake_hub_stop(&hub);
}

static void throws_wrong_beginnings_away(void **state)
{
    (void)state;
    static uint8_t wrong[WEIGHTS_BYTES + 5];
    static const size_t lengths[] = {1000, WEIGHTS_BYTES, WEIGHTS_BYTES + 5};
    for (size_t i = 0; i < 3; i++) {
        struct fake_hub hub = {.files = plain_files, .file_count = 5};
        char *incomplete = plant_incomplete(wrong, lengths[i]);
        fake_hub_start(&hub);
        char *path = expect_fetched("hf://org/model");
        expect_file(path, "model.safetensors", weights, WEIGHTS_BYTES);
        free(path);
        free(incomplete);
        fake_hub_stop(&hub);
        empty_cache();
    }
}

static void retries_what_may_pass(void **state)
{
    (void)state;
    struct fake_hub hub = {.files = plain_files, .file_count = 5, .faults = {.transient_failures = 3}};
    fake_hub_start(&hub);
    free(expect_fetched("hf://org/model"));
    fake_hub_stop(&hub);
    empty_cache();
    struct fake_hub busy = {
        .files = plain_files, .file_count = 5, .faults = {.transient_failures = 1, .transient_status = 429}};
    fake_hub_start(&busy);
    free(expect_fetched("hf://org/model"));
    fake_hub_stop(&busy);
}

static void a_second_try_repairs_one_bad_transfer(void **state)
{
    (void)state;
    struct fake_hub hub = {.files = plain_files, .file_count = 5, .faults = {.corrupt_downloads = 1}};
    fake_hub_start(&hub);
    char *path = expect_fetched("hf://org/model");
    expect_file(path, "model.safetensors", weights, WEIGHTS_BYTES);
    free(path);
    fake_hub_stop(&hub);
}

static void says_what_to_do_when_refused(void **state)
{
    (void)state;
    EXPECT_FAILURE(ERROR_DENIED, "does not exist, or it is private", "HF_TOKEN", .status = 401);
    EXPECT_FAILURE(ERROR_DENIED, "is gated", "accept the licence at http://127.0.0.1", .status = 401,
        .error_code = "GatedRepo");
    EXPECT_FAILURE(
        ERROR_DENIED, "is gated", "/org/model and set HF_TOKEN", .status = 403, .error_code = "GatedRepo");
    EXPECT_FAILURE(ERROR_DENIED, "without a token", "set HF_TOKEN", .status = 403);
    EXPECT_FAILURE(ERROR_NOT_FOUND, "has no hf://org/model", "check the name", .status = 404);
    EXPECT_FAILURE(ERROR_NOT_FOUND, "no such revision", "", .status = 404, .error_code = "RevisionNotFound");
    setenv("HF_TOKEN", "hf_x", 1);
    EXPECT_FAILURE(ERROR_DENIED, "the token is not accepted", "HF_TOKEN", .status = 401);
    EXPECT_FAILURE(ERROR_DENIED, "does not let this token", "licence", .status = 403);
}

static void gives_up_on_a_hub_that_fails(void **state)
{
    (void)state;
    struct error err;
    EXPECT_FAILURE(ERROR_UNAVAILABLE, "answers 500", "", .status = 500);
    EXPECT_FAILURE(ERROR_UNAVAILABLE, "of hf://org/model", "", .always_cut_at_once = true);
    EXPECT_FAILURE(ERROR_UNAVAILABLE, "redirects", "", .redirects_in_circles = true);
    setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
    assert_null(fetch("hf://org/model", &err));
    expect_error(&err, ERROR_UNAVAILABLE, "cannot fetch the file list of hf://org/model");
    assert_non_null(strstr(err.hint, "check the network"));
    setenv("HF_ENDPOINT", "ftp://x", 1);
    assert_null(fetch("hf://org/model", &err));
    expect_error(&err, ERROR_INVALID, "HF_ENDPOINT");
}

static void believes_no_lies(void **state)
{
    (void)state;
    EXPECT_FAILURE(ERROR_UNAVAILABLE, "ends after 300000 of 300005 bytes", "", .announced_too_much = 5);
    EXPECT_FAILURE(ERROR_INVALID, "arrives damaged", "", .corrupts = true);
    EXPECT_FAILURE(ERROR_UNAVAILABLE, "ETag", "", .bad_etag = "../../../etc/passwd");
    EXPECT_FAILURE(ERROR_UNAVAILABLE, "ETag", "", .bad_etag = "..");
    EXPECT_FAILURE(ERROR_UNAVAILABLE, "needs", "HF_HOME", .huge_size = UINT64_C(1) << 60);
    EXPECT_FAILURE(ERROR_INVALID, "invalid JSON", "", .bad_list = "<html>");
    EXPECT_FAILURE(
        ERROR_UNAVAILABLE, "names no commit", "", .bad_list = "{\"sha\":\"../x\",\"siblings\":[]}");
    EXPECT_FAILURE(ERROR_NOT_FOUND, "has no config.json", "",
        .bad_list = "{\"sha\":\"" FAKE_HUB_COMMIT "\",\"siblings\":[1,{\"rfilename\":2},null]}");
}

static void stops_a_body_that_does_not_end(void **state)
{
    (void)state;
    static const struct fake_file files[] = {
        {"config.json", "{}", 2, false}, {"model.safetensors", weights, 1000, true}};
    struct fake_hub hub = {.files = files, .file_count = 2, .faults = {.sends_extra = true}};
    struct error err;
    fake_hub_start(&hub);
    assert_null(fetch("hf://org/model", &err));
    expect_error(&err, ERROR_INVALID, "more of model.safetensors of hf://org/model than the 1000 bytes");
    fake_hub_stop(&hub);
}

static void the_token_stays_with_its_host(void **state)
{
    (void)state;
    struct fake_hub hub = {.files = plain_files, .file_count = 5};
    setenv("HF_TOKEN", "hf_secret\r\nX-Evil: 1", 1);
    fake_hub_start(&hub);
    free(expect_fetched("hf://org/model"));
    assert_true(hub.token_to_hub > 0);
    assert_int_equal(hub.token_to_cdn, 0);
    fake_hub_stop(&hub);
}

struct progress {
    int calls;
    uint64_t last_done, last_total;
    int cancel_at;
};

static bool note_progress(void *context, const char *file, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    progress->calls++;
    if (strcmp(file, "model.safetensors") == 0) {
        progress->last_done = done;
        progress->last_total = total;
    }
    return progress->cancel_at == 0 || progress->calls < progress->cancel_at;
}

static void reports_progress_and_can_be_cancelled(void **state)
{
    (void)state;
    struct fake_hub hub = {.files = plain_files, .file_count = 5};
    struct progress progress = {.cancel_at = 1};
    const struct model_options options = {.progress = note_progress, .context = &progress};
    struct error err;
    fake_hub_start(&hub);
    assert_null(fetch_with("hf://org/model", &options, &err));
    expect_error(&err, ERROR_CANCELLED, "was cancelled");
    progress.cancel_at = 0;
    char *path = fetch_with("hf://org/model", &options, &err);
    assert_non_null(path);
    assert_int_equal(progress.last_done, WEIGHTS_BYTES);
    assert_int_equal(progress.last_total, WEIGHTS_BYTES);
    free(path);
    fake_hub_stop(&hub);
}

struct holder {
    int lock_fd;
    char *blob;
    int calls;
};

/* Plays the other process: after a few waits it has the blob ready and lets go. */
static bool finish_as_other_process(void *context, const char *file, uint64_t done, uint64_t total)
{
    struct holder *holder = context;
    (void)done, (void)total;
    if (strcmp(file, "model.safetensors") == 0 && ++holder->calls == 2) {
        FILE *blob = fopen(holder->blob, "we");
        assert_non_null(blob);
        fwrite(weights, 1, WEIGHTS_BYTES, blob);
        fclose(blob);
        close(holder->lock_fd);
    }
    return true;
}

static void waits_for_another_process(void **state)
{
    (void)state;
    struct fake_hub hub = {.files = plain_files, .file_count = 5};
    char *incomplete = plant_incomplete("", 0), *lock = NULL;
    struct holder holder = {.blob = strdup(incomplete)};
    struct error err;
    *strstr(holder.blob, ".incomplete") = '\0';
    assert_true(asprintf(&lock, "hub/.locks/models--org--model/%s.lock", strrchr(holder.blob, '/') + 1) > 0);
    char *lock_path = scratch_write(cache, lock, "", 0);
    holder.lock_fd = open(lock_path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(holder.lock_fd, LOCK_EX), 0);
    const struct model_options options = {.progress = finish_as_other_process, .context = &holder};
    fake_hub_start(&hub);
    char *path = fetch_with("hf://org/model", &options, &err);
    assert_non_null(path);
    expect_file(path, "model.safetensors", weights, WEIGHTS_BYTES);
    assert_int_equal(hub.downloads, 2); /* config.json and tokenizer.json only */
    fake_hub_stop(&hub);
    free(path);
    free(lock_path);
    free(lock);
    free(holder.blob);
    free(incomplete);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(fetches_what_is_needed_into_the_shared_layout),
        TEST(works_offline_from_the_cache),
        TEST(fetches_shards_and_gguf_files),
        TEST(names_gguf_files_when_there_is_nothing_else),
        TEST(resumes_broken_downloads),
        TEST(starts_over_when_ranges_are_ignored),
        TEST(continues_an_earlier_download),
        TEST(throws_wrong_beginnings_away),
        TEST(retries_what_may_pass),
        TEST(a_second_try_repairs_one_bad_transfer),
        TEST(says_what_to_do_when_refused),
        TEST(gives_up_on_a_hub_that_fails),
        TEST(believes_no_lies),
        TEST(stops_a_body_that_does_not_end),
        TEST(the_token_stays_with_its_host),
        TEST(reports_progress_and_can_be_cancelled),
        TEST(waits_for_another_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
