/* The parts of the hosted client that need no server: where a reference leads, limits, verdicts, bodies,
 * prices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "worker/hosted/bucket.h"
#include "worker/hosted/completion.h"
#include "worker/hosted/prices.h"
#include "worker/hosted/target.h"
#include "worker/hosted/verdict.h"

#define SECOND UINT64_C(1000000000)

static void expect_target(struct hosted_request request, const char *url, const char *model, const char *key)
{
    struct target target;
    struct error err;
    if (!target_resolve(&request, "localhost", &target, &err))
        fail_msg("%s: %s", request.reference, err.message);
    assert_string_equal(target.url, url);
    assert_string_equal(target.model, model);
    assert_string_equal(target.key ? target.key : "", key);
    target_free(&target);
}

static void references_lead_to_servers(void **state)
{
    (void)state;
    setenv("OPENAI_API_KEY", "env-key\n", 1);
    setenv("MISTRAL_API_BASE", "https://mistral.example", 1);
    unsetenv("OPENAI_API_BASE");
    unsetenv("MISTRAL_API_KEY");
    expect_target((struct hosted_request){.reference = "oai://gpt-4o"},
        "https://api.openai.com/v1/chat/completions", "gpt-4o", "env-key");
    expect_target((struct hosted_request){.reference = "oai://gpt-4o", .key = "mine"},
        "https://api.openai.com/v1/chat/completions", "gpt-4o", "mine");
    expect_target((struct hosted_request){.reference = "mistral://small"},
        "https://mistral.example/v1/chat/completions", "small", "");
    expect_target((struct hosted_request){.reference = "oai://deepseek-chat", .provider = "deepseek"},
        "https://api.deepseek.com/v1/chat/completions", "deepseek-chat", "");
    /* The worker's own key stays at home. */
    expect_target((struct hosted_request){.reference = "oai://m", .base_url = "http://localhost:8080"},
        "http://localhost:8080/v1/chat/completions", "m", "");
    expect_target((struct hosted_request){.reference = "http://localhost:8080/v1/#llama"},
        "http://localhost:8080/v1/chat/completions", "llama", "");
    expect_target((struct hosted_request){.reference = "http://localhost/v1/chat/completions"},
        "http://localhost/v1/chat/completions", "default", "");
    expect_target((struct hosted_request){.reference = "hf://org/name", .base_url = "http://localhost/api"},
        "http://localhost/api/chat/completions", "org/name", "");
}

static void wrong_targets_are_refused(void **state)
{
    (void)state;
    const struct hosted_request bad[] = {
        {.reference = "http://10.0.0.1/v1"},
        {.reference = "oai://m", .base_url = "http://evil.example"},
        {.reference = "hf://org/name"},
        {.reference = "oai://m", .base_url = "http://localhost", .key = "a\r\nHost: evil"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct target target;
        struct error err = {0};
        assert_false(target_resolve(&bad[i], "localhost", &target, &err));
        assert_true(err.message[0]);
        target_free(&target);
    }
}

static void a_bucket_leaks_as_the_provider_says(void **state)
{
    (void)state;
    struct bucket bucket = {0};
    assert_int_equal(bucket_wait_ns(&bucket, 1, SECOND), 0); /* nothing is known */
    bucket_heard(&bucket, 10, 2, 4, 1, SECOND);              /* 1 is left, two a second come back */
    assert_int_equal(bucket_wait_ns(&bucket, 1, SECOND), 0);
    bucket_take(&bucket, 1);
    uint64_t wait = bucket_wait_ns(&bucket, 1, SECOND);
    assert_true(wait >= SECOND / 2 && wait < SECOND);
    assert_int_equal(bucket_wait_ns(&bucket, 1, SECOND + wait), 0);
    assert_int_equal(bucket_wait_ns(&bucket, 1000, 100 * SECOND), 0); /* more than all is all */
    bucket_heard(&bucket, -1, -1, -1, 0, 100 * SECOND);
    assert_int_equal(bucket_wait_ns(&bucket, 10, 100 * SECOND), 0);
    bucket_heard(&bucket, 10, 0, 1e30, 0, 100 * SECOND); /* a wait for ever is no wait for ever */
    assert_true(bucket_wait_ns(&bucket, 10, 100 * SECOND) <= 301 * SECOND);
    bucket_limit(&bucket, 60, SECOND);
    assert_int_equal(bucket_wait_ns(&bucket, 1, SECOND), 0);
    bucket_take(&bucket, 1);
    assert_true(bucket_wait_ns(&bucket, 1, SECOND) >= SECOND);
}

static void durations_are_read(void **state)
{
    (void)state;
    assert_true(bucket_parse_duration("1s") == 1);
    assert_true(bucket_parse_duration("6m0s") == 360);
    assert_true(bucket_parse_duration("1h2m3.5s") == 3723.5);
    assert_true(bucket_parse_duration("20ms") > 0.0199 && bucket_parse_duration("20ms") < 0.0201);
    assert_true(bucket_parse_duration("7") == 7);
    const char *bad[] = {"", "x", "1x", "-1s", "1s2", "nan", "inf", "1e99s"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (bucket_parse_duration(bad[i]) != -1)
            fail_msg("%s", bad[i]);
}

static void statuses_are_judged(void **state)
{
    (void)state;
    static const struct {
        long status;
        const char *body;
        enum verdict verdict;
        enum error_code code;
    } CASES[] = {
        {200, "", VERDICT_DONE, ERROR_NONE},
        {400, "{\"error\":{\"message\":\"too\\nlong\"}}", VERDICT_FAILED, ERROR_INVALID},
        {401, "{\"error\":{\"message\":\"bad key sk-secret here\"}}", VERDICT_FAILED, ERROR_DENIED},
        {404, "<html>", VERDICT_FAILED, ERROR_NOT_FOUND},
        {302, "", VERDICT_FAILED, ERROR_INVALID},
        {408, "", VERDICT_AGAIN, ERROR_UNAVAILABLE},
        {409, "", VERDICT_AGAIN, ERROR_UNAVAILABLE},
        {429, "{\"message\":\"slower\"}", VERDICT_LIMITED, ERROR_UNAVAILABLE},
        {429, "{\"error\":{\"code\":\"insufficient_quota\"}}", VERDICT_FAILED, ERROR_DENIED},
        {503, NULL, VERDICT_AGAIN, ERROR_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct error err = {0};
        const char *body = CASES[i].body;
        assert_int_equal(
            verdict_of(CASES[i].status, "http://h", "m", body, body ? strlen(body) : 0, "sk-secret", &err),
            CASES[i].verdict);
        assert_int_equal(err.code, CASES[i].code);
        assert_null(strstr(err.message, "sk-secret"));
        assert_null(strchr(err.message, '\n'));
    }
}

static void headers_are_read(void **state)
{
    (void)state;
    struct limits limits;
    limits_clear(&limits);
    const char *lines[] = {"Retry-After: 7\r\n", "X-RateLimit-Remaining-Requests:  3\r\n", "no colon",
        "x-ratelimit-reset-tokens: 1m30s\r\n", "x-ratelimit-limit-requests: nonsense\r\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        limits_read(&limits, lines[i], strlen(lines[i]));
    assert_true(limits.retry_after_s == 7 && limits.requests_remaining == 3 && limits.tokens_reset_s == 90);
    assert_true(limits.requests_limit == -1 && limits.tokens_limit == -1);
    const char date[] = "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n";
    limits_read(&limits, date, sizeof(date) - 1);
    assert_true(limits.retry_after_s < 0);
}

static void answers_are_read_or_refused(void **state)
{
    (void)state;
    const char good[] =
        "{\"choices\":[{\"message\":{\"content\":\"h\\u00e9\"},\"finish_reason\":\"length\"}],"
        "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}";
    const char parts[] =
        "{\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"x\":1},"
        "{\"text\":\"b\"}]}}],\"usage\":{\"prompt_tokens\":-3}}";
    const char *bad[] = {"", "[]", "{}", "{\"choices\":[]}", "{\"choices\":[{\"message\":7}]}", "{\"choices",
        "{\"choices\":[{\"message\":{\"content\":null}}]}",
        "{\"choices\":[{\"message\":{\"content\":\"\\u0000\"}}]}"};
    struct hosted_answer answer = {0};
    struct error err;
    json_t *root;
    assert_true(completion_parse(good, strlen(good), &root, &answer, &err));
    assert_string_equal(answer.text, "h\xC3\xA9");
    assert_string_equal(answer.finish_reason, "length");
    assert_true(answer.prompt_tokens == 3 && answer.new_tokens == 2);
    json_decref(root);
    assert_true(completion_parse(parts, strlen(parts), &root, &answer, &err));
    assert_string_equal(answer.text, "ab");
    assert_int_equal(answer.prompt_tokens, 0);
    json_decref(root);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (completion_parse(bad[i], strlen(bad[i]), &root, &answer, &err))
            fail_msg("%s", bad[i]);
        json_decref(root);
    }
}

static void prices_are_found_by_the_longest_name(void **state)
{
    (void)state;
    struct error err;
    json_t *table = prices_open(NULL, &err);
    assert_non_null(table);
    assert_true(prices_of(table, "gpt-4o", 1000000, 0) == 2.5);
    assert_true(prices_of(table, "gpt-4o-2024-08-06", 0, 1000000) == 10);
    assert_true(prices_of(table, "gpt-4o-mini", 1000000, 0) == 0.15);
    assert_true(prices_of(table, "mistral-large-latest", 0, 1000000) == 6);
    assert_true(prices_of(table, "gpt-4o-audio", 1, 1) == -1);
    assert_true(prices_of(table, "note", 1, 1) == -1);
    json_decref(table);
    assert_null(prices_open("/nonexistent/prices.json", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_lead_to_servers),
        cmocka_unit_test(wrong_targets_are_refused),
        cmocka_unit_test(a_bucket_leaks_as_the_provider_says),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(statuses_are_judged),
        cmocka_unit_test(headers_are_read),
        cmocka_unit_test(answers_are_read_or_refused),
        cmocka_unit_test(prices_are_found_by_the_longest_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
