/* Prometheus' text format. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "common/alloc.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"

enum { PAGE_BYTES_MAX = 16 * 1024 };

struct page {
    char *text;
    size_t used;
};

static void add(struct page *page, const char *name, const char *type, const char *help, double value)
{
    int n = snprintf(page->text + page->used, PAGE_BYTES_MAX - page->used,
        "# HELP lumigrid_%s %s\n# TYPE lumigrid_%s %s\nlumigrid_%s %.17g\n", name, help, name, type, name,
        value);
    page->used += (size_t)n;
}

static double resident_peak_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage); /* not /proc: no file is read on the loop */
    return (double)usage.ru_maxrss * 1024;
}

void handle_metrics(struct request *request)
{
    const struct api *api = request->api;
    struct scheduler_counts c;
    struct page page = {alloc_zero(PAGE_BYTES_MAX, 1), 0};
    scheduler_counts(api->scheduler, &c);
    add(&page, "up_seconds", "gauge", "Time since the coordinator started.",
        (double)(uv_hrtime() - api->started_ns) / 1e9);
    add(&page, "database_active", "gauge", "1 while the database serves.",
        store_state(api->store) == STORE_ACTIVE);
    add(&page, "resident_peak_bytes", "gauge", "Most memory the coordinator has held.",
        resident_peak_bytes());
    add(&page, "jobs", "gauge", "Jobs that have not ended.", (double)c.jobs);
    add(&page, "workers", "gauge", "Workers connected.", (double)c.workers);
    add(&page, "slots", "gauge", "Tasks that the workers take at once.", (double)c.slots);
    add(&page, "tasks", "gauge", "Tasks leased now.", (double)c.tasks);
    add(&page, "samples_remaining", "gauge", "Samples that wait for a lease.", (double)c.samples_remaining);
    add(&page, "samples_leased", "gauge", "Samples with workers now.", (double)c.samples_leased);
    add(&page, "tasks_assigned_total", "counter", "Leases given.", (double)c.tasks_assigned);
    add(&page, "tasks_done_total", "counter", "Leases that ended well.", (double)c.tasks_done);
    add(&page, "tasks_failed_total", "counter", "Leases that failed.", (double)c.tasks_failed);
    add(&page, "leases_expired_total", "counter", "Leases that timed out.", (double)c.leases_expired);
    add(&page, "samples_committed_total", "counter", "Results made durable.", (double)c.samples_committed);
    add(&page, "samples_given_up_total", "counter", "Samples that ended with an error of the cluster.",
        (double)c.samples_given_up);
    add(&page, "results_duplicate_total", "counter", "Results that arrived twice.", (double)c.duplicates);
    add(&page, "http_requests_total", "counter", "Requests answered.", (double)api->counts.requests);
    add(&page, "http_client_errors_total", "counter", "Answers 400 to 499.",
        (double)api->counts.errors_client);
    add(&page, "http_server_errors_total", "counter", "Answers from 500.", (double)api->counts.errors_server);
    add(&page, "http_request_seconds_total", "counter", "Time from a request's headers to its answer's end.",
        api->counts.seconds);
    add(&page, "http_upload_bytes_total", "counter", "Bytes of datasets received.",
        (double)api->counts.bytes_uploaded);
    request_answer_bytes(
        request, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", page.text, page.used);
}
