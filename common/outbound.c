#include "common/outbound.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool ipv4_public(uint32_t address)
{
    static const struct {
        uint32_t net;
        int bits;
    } PRIVATE[] = {
        {0x00000000, 8},  /* this network */
        {0x0A000000, 8},  /* private */
        {0x64400000, 10}, /* shared by carriers */
        {0x7F000000, 8},  /* loopback */
        {0xA9FE0000, 16}, /* link-local, clouds' metadata */
        {0xAC100000, 12}, /* private */
        {0xC0000000, 24}, /* protocol assignments */
        {0xC0000200, 24}, /* documentation */
        {0xC0A80000, 16}, /* private */
        {0xC6120000, 15}, /* benchmarks */
        {0xC6336400, 24}, /* documentation */
        {0xCB007100, 24}, /* documentation */
        {0xE0000000, 3},  /* multicast, reserved, broadcast */
    };
    for (size_t i = 0; i < sizeof(PRIVATE) / sizeof(PRIVATE[0]); i++)
        if ((address ^ PRIVATE[i].net) >> (32 - PRIVATE[i].bits) == 0)
            return false;
    return true;
}

static uint32_t ipv4_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Only 2000::/3 is given out; inside it, tunnels (2002::/16, 2001::/32) and wrappers lead to IPv4. */
static bool ipv6_public(const uint8_t *a)
{
    static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    static const uint8_t TRANSLATED[12] = {0, 0x64, 0xFF, 0x9B};
    if (memcmp(a, MAPPED, sizeof(MAPPED)) == 0 || memcmp(a, TRANSLATED, sizeof(TRANSLATED)) == 0)
        return ipv4_public(ipv4_at(a + 12));
    if (a[0] == 0x20 && a[1] == 0x02)
        return ipv4_public(ipv4_at(a + 2));
    bool teredo = a[0] == 0x20 && a[1] == 0x01 && a[2] == 0 && a[3] == 0;
    bool documentation = a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0D && a[3] == 0xB8;
    return (a[0] & 0xE0) == 0x20 && !teredo && !documentation;
}

bool outbound_address_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ipv4_public(ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
    if (address->sa_family == AF_INET6)
        return ipv6_public(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
    return false;
}

/* A host written as an address that is not public. Names are judged once they are resolved. */
static bool private_literal(const char *host, size_t len)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char text[64];
    bool brackets = len > 2 && host[0] == '[';
    snprintf(text, sizeof(text), "%.*s", (int)(brackets ? len - 2 : len), brackets ? host + 1 : host);
    if (strcasecmp(text, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return !outbound_address_public((const struct sockaddr *)&v4);
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        return !outbound_address_public((const struct sockaddr *)&v6);
    return false;
}

bool outbound_url_allowed(const char *url, const char *allowed, bool *named, struct error *err)
{
    size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
    bool any = false, is_named = false;
    if (scheme == 0)
        return error_set(err, ERROR_INVALID, "the URL must begin with http:// or https://");
    size_t authority = strcspn(url + scheme, "/?#");
    const char *host = url + scheme;
    if (authority == 0 || memchr(host, '@', authority) || memchr(host, '\\', authority))
        return error_set(err, ERROR_INVALID, "the URL names no plain host");
    size_t name = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
    for (const char *p = allowed; *p;) {
        size_t len = strcspn(p, ",");
        any = any || (len == 1 && *p == '*');
        is_named = is_named || (len == name && strncasecmp(p, host, name) == 0) ||
                   (len == authority && strncasecmp(p, host, authority) == 0);
        p += len;
        p += strspn(p, ", ");
    }
    if (named)
        *named = is_named;
    if (is_named || (any && !private_literal(host, name)))
        return true;
    error_set(err, ERROR_DENIED, "the host %.*s is not among those that may be called",
        (int)(authority < 200 ? authority : 200), host);
    return error_hint(err, "an administrator can allow it (option outbound-hosts)");
}
