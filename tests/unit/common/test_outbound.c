/* Whom users' URLs may reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "common/outbound.h"

static void only_listed_hosts_may_be_called(void **state)
{
    (void)state;
    const char *allowed = "localhost,127.0.0.1, [::1],vllm.example:8000";
    const char *good[] = {"http://localhost:8080/v1", "https://LOCALHOST", "http://127.0.0.1/",
        "http://[::1]:9/x", "http://vllm.example:8000/v1"};
    const char *bad[] = {"http://169.254.169.254/latest", "http://localhost@evil.example/",
        "http://localhost.evil.example", "http://vllm.example/v1", "http://vllm.example:80001",
        "ftp://localhost/", "http://", "http:///x", "http://evil.example\\@localhost/", "http://[::2]/",
        "file:///etc/passwd", "localhost"};
    struct error err;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!outbound_url_allowed(good[i], allowed, NULL, &err))
            fail_msg("%s: %s", good[i], err.message);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (outbound_url_allowed(bad[i], allowed, NULL, &err))
            fail_msg("%s was allowed", bad[i]);
    assert_true(outbound_url_allowed("https://anything.example", "*", NULL, &err));
    assert_false(outbound_url_allowed("https://anything.example", "", NULL, &err));
}

static void a_star_allows_no_private_address(void **state)
{
    (void)state;
    const char *bad[] = {"http://localhost", "http://127.0.0.1", "http://10.1.2.3/v1", "http://[::1]/",
        "http://169.254.169.254/latest", "http://[fd00::1]:80/", "http://192.168.1.1:8080"};
    struct error err;
    bool named = true;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (outbound_url_allowed(bad[i], "*", NULL, &err))
            fail_msg("%s was allowed", bad[i]);
    assert_true(outbound_url_allowed("http://8.8.8.8/", "*", &named, &err));
    assert_false(named);
    assert_true(outbound_url_allowed("http://10.1.2.3/v1", "*,10.1.2.3", &named, &err));
    assert_true(named);
}

static bool public_v4(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, text, &address.sin_addr), 1);
    return outbound_address_public((const struct sockaddr *)&address);
}

static bool public_v6(const char *text)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
    return outbound_address_public((const struct sockaddr *)&address);
}

static void addresses_inside_are_told_from_public_ones(void **state)
{
    (void)state;
    const char *inside4[] = {"0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.255",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1", "198.18.0.1", "224.0.0.1",
        "255.255.255.255"};
    const char *outside4[] = {"8.8.8.8", "1.1.1.1", "172.32.0.1", "172.15.0.1", "100.128.0.1", "192.169.0.1",
        "11.0.0.1", "223.255.255.254"};
    const char *inside6[] = {"::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::1", "2001:db8::1", "2001::1"};
    const char *outside6[] = {"2606:4700::1111", "::ffff:8.8.8.8", "2a00::1"};
    for (size_t i = 0; i < sizeof(inside4) / sizeof(inside4[0]); i++)
        if (public_v4(inside4[i]))
            fail_msg("%s", inside4[i]);
    for (size_t i = 0; i < sizeof(outside4) / sizeof(outside4[0]); i++)
        if (!public_v4(outside4[i]))
            fail_msg("%s", outside4[i]);
    for (size_t i = 0; i < sizeof(inside6) / sizeof(inside6[0]); i++)
        if (public_v6(inside6[i]))
            fail_msg("%s", inside6[i]);
    for (size_t i = 0; i < sizeof(outside6) / sizeof(outside6[0]); i++)
        if (!public_v6(outside6[i]))
            fail_msg("%s", outside6[i]);
    const struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(outbound_address_public(&local));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_listed_hosts_may_be_called),
        cmocka_unit_test(a_star_allows_no_private_address),
        cmocka_unit_test(addresses_inside_are_told_from_public_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
