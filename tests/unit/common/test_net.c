/* Router and dealer on one loop over loopback: admission, refusal, order, sizes, key files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net.h"

enum { PATIENCE_MS = 20000 }; /* a bound that only a failure reaches */

struct world {
    uv_loop_t loop;
    uv_timer_t patience;
    struct net_router *router;
    struct net_dealer *dealer;
    struct net_keypair server, worker;
    bool admit;
    size_t expected;
    size_t router_messages, dealer_messages;
    size_t last_len;
    char proven_key[NET_KEY_CHARS + 1];
    char trouble[256];
    bool timed_out;
};

static bool admit(void *context, const char *public_key, const char *address)
{
    struct world *w = context;
    assert_true(strncmp(address, "127.0.0.1", 9) == 0 || strstr(address, "127.0.0.1"));
    return w->admit && strcmp(public_key, w->worker.public_key) == 0;
}

static void router_message(
    void *context, const struct net_peer *peer, const char *key, const uint8_t *data, size_t len)
{
    struct world *w = context;
    uint32_t number;
    assert_true(len >= sizeof(number));
    memcpy(&number, data, sizeof(number));
    assert_int_equal(number, w->router_messages); /* in order */
    w->router_messages++;
    w->last_len = len;
    snprintf(w->proven_key, sizeof(w->proven_key), "%s", key);
    struct error err;
    assert_true(net_router_send(w->router, peer, data, sizeof(number), &err));
}

static void dealer_message(void *context, const uint8_t *data, size_t len)
{
    struct world *w = context;
    (void)data;
    assert_int_equal(len, sizeof(uint32_t));
    if (++w->dealer_messages == w->expected)
        uv_stop(&w->loop);
}

static void dealer_trouble(void *context, const char *reason)
{
    struct world *w = context;
    snprintf(w->trouble, sizeof(w->trouble), "%s", reason);
    if (w->expected == 0)
        uv_stop(&w->loop);
}

static void on_patience(uv_timer_t *timer)
{
    struct world *w = timer->data;
    w->timed_out = true;
    uv_stop(&w->loop);
}

static void world_open(struct world *w, bool let_in, const char *server_key)
{
    struct error err;
    memset(w, 0, sizeof(*w));
    w->admit = let_in;
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->patience);
    w->patience.data = w;
    uv_timer_start(&w->patience, on_patience, PATIENCE_MS, 0);
    assert_true(net_keypair_generate(&w->server, &err));
    assert_true(net_keypair_generate(&w->worker, &err));
    struct net_router_options router = {"tcp://127.0.0.1:*", &w->server, admit, router_message, w};
    assert_true(net_router_open(&w->loop, &router, &w->router, &err));
    struct net_dealer_options dealer = {net_router_endpoint(w->router),
        server_key ? server_key : w->server.public_key, &w->worker, dealer_message, dealer_trouble, w};
    assert_true(net_dealer_open(&w->loop, &dealer, &w->dealer, &err));
}

static void world_close(struct world *w)
{
    net_dealer_close(w->dealer, 0);
    net_router_close(w->router, 0);
    uv_close((uv_handle_t *)&w->patience, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

static void messages_arrive_in_order_from_a_proven_key(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    enum { COUNT = 2000 };
    world_open(&w, true, NULL);
    w.expected = COUNT;
    for (uint32_t i = 0; i < COUNT; i++)
        assert_true(net_dealer_send(w.dealer, (const uint8_t *)&i, sizeof(i), &err));
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_false(w.timed_out);
    assert_int_equal(w.router_messages, COUNT);
    assert_string_equal(w.proven_key, w.worker.public_key);
    world_close(&w);
}

static void a_message_of_many_megabytes_arrives_whole(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    size_t len = 20u << 20;
    uint8_t *data = calloc(1, len);
    world_open(&w, true, NULL);
    w.expected = 1;
    assert_true(net_dealer_send(w.dealer, data, len, &err));
    assert_false(net_dealer_send(w.dealer, data, (size_t)NET_MESSAGE_BYTES_MAX + 1, &err));
    assert_int_equal(err.code, ERROR_TOO_LARGE);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_false(w.timed_out);
    assert_int_equal(w.last_len, len);
    free(data);
    world_close(&w);
}

static void a_key_that_is_not_admitted_is_told_so(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    uint32_t zero = 0;
    world_open(&w, false, NULL);
    assert_true(net_dealer_send(w.dealer, (const uint8_t *)&zero, sizeof(zero), &err));
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_false(w.timed_out);
    assert_int_equal(w.router_messages, 0);
    assert_non_null(strstr(w.trouble, "admit"));
    world_close(&w);
}

static void a_server_with_another_key_gets_nothing(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    struct net_keypair other;
    uint32_t zero = 0;
    assert_true(net_keypair_generate(&other, &err));
    world_open(&w, true, other.public_key);
    assert_true(net_dealer_send(w.dealer, (const uint8_t *)&zero, sizeof(zero), &err));
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_false(w.timed_out);
    assert_int_equal(w.router_messages, 0);
    assert_true(strlen(w.trouble) > 0);
    world_close(&w);
}

static void a_port_in_use_is_one_clear_error(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    world_open(&w, true, NULL);
    struct net_router *second = NULL;
    struct net_router_options options = {net_router_endpoint(w.router), &w.server, admit, router_message, &w};
    assert_false(net_router_open(&w.loop, &options, &second, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
    assert_non_null(strstr(err.message, "tcp://127.0.0.1:"));
    assert_true(strlen(err.hint) > 0);
    world_close(&w);
}

static void sending_to_a_peer_that_never_was_is_unavailable(void **state)
{
    (void)state;
    struct world w;
    struct error err;
    struct net_peer ghost = {{1, 2, 3, 4, 5}, 5};
    world_open(&w, true, NULL);
    assert_false(net_router_send(w.router, &ghost, (const uint8_t *)"x", 1, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    world_close(&w);
}

static void key_files_round_trip_and_stay_private(void **state)
{
    (void)state;
    char dir[] = "/tmp/lumigrid-keys-XXXXXX";
    char path[64], public_path[64];
    struct net_keypair made, read;
    struct error err;
    char key[NET_KEY_CHARS + 1];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/worker.key", dir);
    snprintf(public_path, sizeof(public_path), "%s/worker.pub", dir);
    assert_true(net_keypair_load_or_create(path, &made, &err));
    assert_true(net_keypair_load_or_create(path, &read, &err));
    assert_memory_equal(&made, &read, sizeof(made));
    assert_true(net_public_key_save(public_path, made.public_key, &err));
    assert_true(net_public_key_load(public_path, key, &err));
    assert_string_equal(key, made.public_key);
    assert_false(net_keypair_load(public_path, &read, &err)); /* no secret line */
    chmod(path, 0644);
    assert_false(net_keypair_load(path, &read, &err));
    assert_int_equal(err.code, ERROR_DENIED);
    assert_non_null(strstr(err.hint, "chmod 600"));
    chmod(path, 0600);
    FILE *file = fopen(path, "w");
    fputs("public short\n", file);
    fclose(file);
    assert_false(net_keypair_load(path, &read, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    unlink(path);
    unlink(public_path);
    rmdir(dir);
}

/* A process that was killed while it wrote leaves this; its number may come again (in containers: always). */
static void a_key_file_half_written_before_is_no_obstacle(void **state)
{
    (void)state;
    char folder[] = "/tmp/lumigrid-keys-XXXXXX", path[64], left[96];
    struct net_keypair made;
    struct error err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/w.pub", folder);
    snprintf(left, sizeof left, "%s.%ld.tmp", path, (long)getpid());
    FILE *file = fopen(left, "w");
    assert_non_null(file);
    fclose(file);
    assert_true(net_keypair_generate(&made, &err));
    assert_true(net_public_key_save(path, made.public_key, &err));
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_in_order_from_a_proven_key),
        cmocka_unit_test(a_message_of_many_megabytes_arrives_whole),
        cmocka_unit_test(a_key_that_is_not_admitted_is_told_so),
        cmocka_unit_test(a_server_with_another_key_gets_nothing),
        cmocka_unit_test(a_port_in_use_is_one_clear_error),
        cmocka_unit_test(sending_to_a_peer_that_never_was_is_unavailable),
        cmocka_unit_test(key_files_round_trip_and_stay_private),
        cmocka_unit_test(a_key_file_half_written_before_is_no_obstacle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
