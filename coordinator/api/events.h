/* Server-sent events of a job: its row, progress and partial means while it runs. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_EVENTS_H
#define LUMIGRID_COORDINATOR_API_EVENTS_H

struct api;

void events_open(struct api *api);

/* The job changed: streams that watch it say so soon. */
void events_changed(struct api *api, const char *job_id);

/* Ends every stream; new ones end at once. The timer's handle counts in api->handles_open until it is closed.
 */
void events_end(struct api *api);
void events_close(struct api *api);

#endif
