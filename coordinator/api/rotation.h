/* The end of a rotation of the master key: every secret is sealed anew, then the previous key is deleted.
 * Stopped at any point it begins again at the next start, since both keys are kept until nothing needs the
 * old one. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_ROTATION_H
#define LUMIGRID_COORDINATOR_API_ROTATION_H

struct api;

/* Called every second; begins once, when there is a previous key and the store serves. */
void rotation_tick(struct api *api);

#endif
