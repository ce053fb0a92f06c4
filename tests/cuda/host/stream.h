/* Streams: queues of work that runs when somebody waits for it, and no earlier. */
#ifndef CUDA_EMULATION_STREAM_H
#define CUDA_EMULATION_STREAM_H

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "inside.h"

namespace cuda_emulation
{

typedef std::function<cudaError_t()> work;

struct capture {
    std::vector<work> steps;
    cudaStream_t origin;
    bool invalid;
};

/* Appends to the stream, or to the graph being captured from it. */
cudaError_t enqueue(cudaStream_t stream, work step);
/* Runs what the stream holds. Refused during capture. */
cudaError_t drain(cudaStream_t stream);
cudaError_t drain_all();
bool is_capturing(cudaStream_t stream);
/* A call that may not happen while any stream is captured. */
cudaError_t refuse_in_capture();

} // namespace cuda_emulation

#endif
