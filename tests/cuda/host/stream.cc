/* Streams, events and graphs.
 *
 * Work is queued and runs only when the host waits for it (or for something behind it), so that a missing
 * wait shows: pinned memory is read when the copy runs, and results are not there before. Streams that no
 * event ties together run in an order that no program should count on: whoever is waited for goes first. */
#include "stream.h"

#include <algorithm>
#include <chrono>
#include <set>

using namespace cuda_emulation;

struct CUstream_st {
    std::deque<work> queue;
    std::shared_ptr<capture> capturing;
    bool blocking; /* ordered with the NULL stream */
    size_t done, queued;
};
struct CUevent_st {
    cudaStream_t stream;
    size_t position; /* the stream's work that must be done */
    std::shared_ptr<capture> captured;
    bool timed, recorded;
    std::shared_ptr<double> time_ms;
};
struct CUgraph_st {
    std::vector<work> steps;
};
struct CUgraphExec_st {
    std::vector<work> steps;
};

namespace
{

CUstream_st null_stream{{}, nullptr, true, 0, 0};
std::set<cudaStream_t> streams;

cudaStream_t stream_of(cudaStream_t stream)
{
    return stream ? stream : &null_stream;
}

cudaError_t run_until(cudaStream_t stream, size_t position)
{
    while (stream->done < position && !stream->queue.empty()) {
        work step = std::move(stream->queue.front());
        stream->queue.pop_front();
        stream->done++;
        cudaError_t error = step();
        if (error != cudaSuccess)
            return fail(error);
    }
    return cudaSuccess;
}

/* Work in the NULL stream and in blocking streams is ordered with each other: as it is queued, the other side
 * runs. */
cudaError_t order_with_null(cudaStream_t stream)
{
    if (stream == &null_stream) {
        for (cudaStream_t other : streams)
            if (other->blocking && !other->capturing)
                if (cudaError_t error = run_until(other, other->queued))
                    return error;
        return cudaSuccess;
    }
    return stream->blocking ? run_until(&null_stream, null_stream.queued) : cudaSuccess;
}

double now_ms()
{
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

} // namespace

namespace cuda_emulation
{

bool is_capturing(cudaStream_t stream)
{
    return stream_of(stream)->capturing != nullptr;
}

cudaError_t refuse_in_capture()
{
    for (cudaStream_t stream : streams)
        if (stream->capturing) {
            stream->capturing->invalid = true;
            return fail(cudaErrorStreamCaptureUnsupported);
        }
    return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t handle, work step)
{
    cudaStream_t stream = stream_of(handle);
    if (stream->capturing) {
        stream->capturing->steps.push_back(std::move(step));
        return cudaSuccess;
    }
    if (cudaError_t error = order_with_null(stream))
        return error;
    stream->queue.push_back(std::move(step));
    stream->queued++;
    return cudaSuccess;
}

cudaError_t drain(cudaStream_t handle)
{
    cudaStream_t stream = stream_of(handle);
    if (stream->capturing) {
        stream->capturing->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    if (cudaError_t error = order_with_null(stream))
        return error;
    return run_until(stream, stream->queued);
}

cudaError_t drain_all()
{
    if (cudaError_t error = refuse_in_capture())
        return error;
    for (cudaStream_t stream : streams)
        if (cudaError_t error = run_until(stream, stream->queued))
            return error;
    return run_until(&null_stream, null_stream.queued);
}

} // namespace cuda_emulation

#define LOCK std::lock_guard<std::recursive_mutex> lock(cuda_emulation::mutex)
#define CALL                                                                                                 \
    LOCK;                                                                                                    \
    if (cudaError_t broken = start_call())                                                                   \
        return broken;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags)
{
    CALL *stream = new CUstream_st{{}, nullptr, !(flags & cudaStreamNonBlocking), 0, 0};
    streams.insert(*stream);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned int flags, int)
{
    return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    LOCK;
    if (!streams.erase(stream))
        return fail(cudaErrorInvalidResourceHandle);
    cudaError_t error = run_until(stream, stream->queued);
    delete stream;
    return error;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    CALL count_synchronisation();
    return drain(stream);
}
/* Something is done at every question, so that a program that polls gets on. */
cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    CALL cudaStream_t stream = stream_of(handle);
    if (stream->queue.empty())
        return cudaSuccess;
    if (cudaError_t error = run_until(stream, stream->done + 1))
        return error;
    return cudaErrorNotReady;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data)
{
    CALL return enqueue(stream, [function, data] {
        function(data);
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags)
{
    CALL *event = new CUevent_st{nullptr, 0, nullptr, !(flags & cudaEventDisableTiming), false, nullptr};
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    LOCK;
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle)
{
    CALL cudaStream_t stream = stream_of(handle);
    event->captured = stream->capturing;
    event->recorded = true;
    event->stream = stream;
    auto time = event->time_ms = std::make_shared<double>(0);
    cudaError_t error = enqueue(handle, [time] {
        *time = now_ms();
        return cudaSuccess;
    });
    event->position = stream->queued;
    return error;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned int)
{
    CALL cudaStream_t stream = stream_of(handle);
    if (!event->recorded)
        return cudaSuccess;
    if (event->captured) { /* the stream joins the capture; steps are kept in the order of the calls */
        if (stream->capturing && stream->capturing != event->captured)
            return fail(cudaErrorStreamCaptureInvalidated);
        stream->capturing = event->captured;
        return cudaSuccess;
    }
    if (stream->capturing)
        return cudaSuccess; /* recorded before the capture began: done before the graph runs, or never waited
                               for */
    return enqueue(handle, [other = event->stream, position = event->position] {
        return streams.count(other) || other == &null_stream ? run_until(other, position) : cudaSuccess;
    });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    CALL count_synchronisation();
    if (!event->recorded)
        return cudaSuccess;
    if (event->captured)
        return fail(cudaErrorStreamCaptureUnsupported);
    return streams.count(event->stream) || event->stream == &null_stream
               ? run_until(event->stream, event->position)
               : cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    CALL if (!event->recorded || !(streams.count(event->stream) || event->stream == &null_stream) ||
             event->stream->done >= event->position) return cudaSuccess;
    if (cudaError_t error = run_until(event->stream, event->stream->done + 1))
        return error;
    return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    CALL if (!start->timed || !end->timed || !start->recorded || !end->recorded) return fail(
        cudaErrorInvalidResourceHandle);
    if (*start->time_ms == 0 || *end->time_ms == 0)
        return cudaErrorNotReady;
    *ms = (float)(*end->time_ms - *start->time_ms);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    CALL if (stream == nullptr || stream->capturing) return fail(cudaErrorStreamCaptureUnsupported);
    stream->capturing = std::make_shared<capture>(capture{{}, stream, false});
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    CALL *graph = nullptr;
    if (!stream_of(stream)->capturing || stream->capturing->origin != stream)
        return fail(cudaErrorStreamCaptureUnmatched);
    std::shared_ptr<capture> ended = stream->capturing;
    for (cudaStream_t other : streams)
        if (other->capturing == ended)
            other->capturing = nullptr;
    if (ended->invalid)
        return fail(cudaErrorStreamCaptureInvalidated);
    *graph = new CUgraph_st{ended->steps};
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    CALL *status = !is_capturing(stream)                   ? cudaStreamCaptureStatusNone
                   : stream_of(stream)->capturing->invalid ? cudaStreamCaptureStatusInvalidated
                                                           : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *)
{
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    CALL *exec = new CUgraphExec_st{graph->steps};
    return cudaSuccess;
}
cudaError_t cudaGraphExecUpdate(
    cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo *result)
{
    CALL result->result =
        exec->steps.size() == graph->steps.size() ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateError;
    if (result->result != cudaGraphExecUpdateSuccess)
        return fail(cudaErrorInvalidValue);
    exec->steps = graph->steps;
    return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t)
{
    CALL return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    CALL count_graph_launch();
    /* The steps are copied: a graph may be destroyed while it runs. */
    return enqueue(stream, [steps = exec->steps] {
        for (const work &step : steps)
            if (cudaError_t error = step())
                return error;
        return cudaSuccess;
    });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    LOCK;
    delete exec;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    LOCK;
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *count)
{
    CALL *count = graph->steps.size();
    return cudaSuccess;
}

} /* extern "C" */
