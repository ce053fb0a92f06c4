/* A hub on loopback that answers as the real one does, and misbehaves on demand. One repository, "org/model".
 */
#ifndef LUMIGRID_TESTS_UNIT_MODEL_FAKE_HUB_H
#define LUMIGRID_TESTS_UNIT_MODEL_FAKE_HUB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_HUB_COMMIT "0123456789abcdef0123456789abcdef01234567"

enum { FAKE_HUB_FILES_MAX = 16 };

struct fake_file {
    const char *name;
    const void *data;
    size_t len;
    bool is_lfs; /* SHA-256 ETag, and sent by a redirect to the second server ("the CDN") */
};

/* What goes wrong. Counters count down: the first n such requests fail. */
struct fake_faults {
    unsigned status;               /* every request is answered so */
    const char *error_code;        /* X-Error-Code of that answer */
    atomic_int transient_failures; /* 503 to the first requests */
    unsigned transient_status;     /* another status instead of 503 */
    atomic_int cut_downloads;      /* downloads that break off after half of what is left */
    bool always_cut_at_once;       /* every download breaks off before its first byte */
    bool ignores_ranges;           /* 200 with the whole file to a range request */
    size_t announced_too_much;     /* added to X-Linked-Size */
    bool sends_extra;              /* a body longer than announced */
    bool corrupts;                 /* the last byte of LFS files is wrong */
    atomic_int corrupt_downloads;  /* so many times only */
    const char *bad_etag;          /* instead of every ETag */
    const char *bad_list;          /* instead of the file list */
    bool redirects_in_circles;
    uint64_t huge_size; /* X-Linked-Size of LFS files */
};

struct fake_hub {
    struct MHD_Daemon *hub, *cdn;
    unsigned hub_port, cdn_port;
    const struct fake_file *files;
    size_t file_count;
    struct fake_faults faults;
    /* What was seen. */
    atomic_int requests, downloads, range_requests;
    atomic_int token_to_hub, token_to_cdn; /* requests with an Authorization header */
};

/* Starts both servers and sets HF_ENDPOINT. `hub` is zeroed but for its files and faults. */
void fake_hub_start(struct fake_hub *hub);
void fake_hub_stop(struct fake_hub *hub);

#endif
