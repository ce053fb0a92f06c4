/* Sending a result document. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_RESULTS_H
#define LUMIGRID_COORDINATOR_API_RESULTS_H

#include "coordinator/report/report.h"

struct request;
struct store_job;

/* Answers with the document of a job that has succeeded. */
void result_send(struct request *request, const struct store_job *job, enum report_kind kind);

#endif
