/* POST /datasets: the body on its way from the socket through multipart and table into the store, with the
 * store's back-pressure, in constant memory. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_DATASET_UPLOAD_H
#define LUMIGRID_COORDINATOR_API_DATASET_UPLOAD_H

#include <stddef.h>

struct request;
struct dataset_upload;

/* Headers are in. NULL when the request was answered at once. */
struct dataset_upload *dataset_upload_begin(struct request *request);

/* Takes a piece of the body and returns how many bytes; fewer than given (and no answer yet) means that
 * request_wake() will ask for the rest. */
size_t dataset_upload_feed(struct dataset_upload *upload, const char *bytes, size_t size);

/* The body is complete: commits and answers. */
void dataset_upload_finish(struct dataset_upload *upload);

/* The request is over, whatever happened: nothing half-written stays. Frees. */
void dataset_upload_abort(struct dataset_upload *upload);

#endif
