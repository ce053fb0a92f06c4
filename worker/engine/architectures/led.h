/* LED's encoder attention: each token sees a window around it and the first token; the first token sees all,
 * through projections of its own. https://arxiv.org/abs/2004.05150 */
#ifndef LUMIGRID_WORKER_ENGINE_ARCHITECTURES_LED_H
#define LUMIGRID_WORKER_ENGINE_ARCHITECTURES_LED_H

#include "worker/engine/loader.h"

struct led_attention;
struct led_attention *led_attention_load(
    struct loader *l, size_t width, size_t heads, const char *name, size_t layer);
void led_attention_run(struct forward *f, const struct led_attention *a, struct tensor in, struct tensor out,
    const struct tensor *residual);

#endif
