/* Attention in float32, over rows or pages of float32 or 16 bits: every decoder step, and all of it in exact
 * models.
 *
 * A piece is ROWS pairs of a query row and a head of one key head's group: beams that look at the same
 * encoder and heads that share keys load them once. A block of four warps takes a piece and a key head; a
 * warp owns ROWS / 4 rows from their scores to their result, so that only tiles of 32 keys (then values) are
 * shared, through shared memory: a lane a key for scores, a lane a column for results.
 *
 * Keys are worked through in splits of SPLIT_KEYS from key 0: scores, maximum, e^, sum, values; then the
 * split is joined to those before it. Blocks take all splits one after another, or, where there are too few
 * blocks to fill the device, one each (grid z), joined by attention_join: the same operations in the same
 * order, so the same bits. What a row does not see adds exact zeros, or is skipped: chunks, windows and
 * batches do not change a result either.
 *
 * Reads (rows / ROWS) times keys and values, mostly from L2; shared memory: queries ROWS x head, a tile of 32
 * x head, scores ROWS x SPLIT_KEYS. Grid: [pieces][key heads][splits or 1]. */
#include "worker/backend/cuda/attention.cuh"

enum { WARPS = 4, THREADS = WARPS * WARP, COLUMNS_MAX = HEAD_DIM_MAX / WARP };

static __host__ __device__ __forceinline__ int padded(int dim)
{
    return (dim + 3) / 4 * 4;
}

/* One more vector, so that lanes reading 16 bytes of their own keys hit different banks. */
static __host__ __device__ __forceinline__ int tile_stride(const attention_kernel &a)
{
    const int widest = a.head_dim > a.value_dim ? a.head_dim : a.value_dim;
    return padded(widest) + 4;
}

template <class T, int ROWS> struct split_worker {
    enum { MINE = ROWS / WARPS }; /* rows of a warp */
    const attention_kernel &a;
    const sequence s;
    const key_view<T> keys;
    const int first, group, head;
    const int warp, lane;
    float *const queries, *const tile, *const scores;
    const int q_stride, stride;

    __device__ split_worker(const attention_kernel &a, const piece &p, float *shared)
        : a(a), s(a.sequences[p.sequence]), keys(a, s, static_cast<int>(blockIdx.y)), first(p.first),
          group(a.heads / a.kv_heads), head(static_cast<int>(blockIdx.y) * group),
          warp(static_cast<int>(threadIdx.x) / WARP), lane(static_cast<int>(threadIdx.x) % WARP),
          queries(shared), tile(queries + ROWS * padded(a.head_dim)), scores(tile + WARP * tile_stride(a)),
          q_stride(padded(a.head_dim)), stride(tile_stride(a))
    {
    }
    __device__ int pairs() const
    {
        return min(ROWS, s.q_rows * group - first);
    }
    __device__ int row_of(int r) const
    {
        return (first + r) / group;
    }
    __device__ int head_of(int r) const
    {
        return head + (first + r) % group;
    }
    __device__ bool seen(int begin, int end) const
    {
        return any_sees(a, s.q_position + row_of(0), s.q_position + row_of(pairs() - 1), begin, end);
    }

    __device__ void load_queries() const
    {
        for (int r = warp; r < ROWS; r += WARPS)
            for (int d = lane; d < q_stride; d += WARP)
                queries[r * q_stride + d] =
                    r < pairs() && d < a.head_dim
                        ? a.q[(s.q_row + row_of(r)) * a.q_stride + head_of(r) * a.head_dim + d]
                        : 0.0F;
    }

    __device__ void load_tile(int begin, bool values) const
    {
        const int dim = values ? a.value_dim : a.head_dim;
        for (int j = warp; j < WARP; j += WARPS)
            for (int d = lane; d < padded(dim); d += WARP) {
                const bool there = begin + j < s.k_rows && d < dim;
                tile[j * stride + d] = !there   ? 0.0F
                                       : values ? keys.value(begin + j, d)
                                                : keys.key(begin + j, d);
            }
    }

    /* Scores of the tile's keys, a lane a key, one multiply-add after another along the head. */
    __device__ void score_tile(int begin, int column) const
    {
        float sums[MINE] = {};
        const float4 *k = reinterpret_cast<const float4 *>(tile + lane * stride);
        for (int d = 0; d < q_stride / 4; d++) {
            const float4 key = k[d];
#pragma unroll
            for (int i = 0; i < MINE; i++) {
                const float4 q = reinterpret_cast<const float4 *>(queries + (warp * MINE + i) * q_stride)[d];
                sums[i] = fmaf(q.x, key.x, sums[i]);
                sums[i] = fmaf(q.y, key.y, sums[i]);
                sums[i] = fmaf(q.z, key.z, sums[i]);
                sums[i] = fmaf(q.w, key.w, sums[i]);
            }
        }
#pragma unroll
        for (int i = 0; i < MINE; i++) {
            const int r = warp * MINE + i, key = begin + lane;
            float score = -INFINITY;
            if (r < pairs() && key < s.k_rows && sees(a, s.q_position + row_of(r), key))
                score = capped(
                    __fadd_rn(__fmul_rn(sums[i], a.scale), score_bias(a, s, row_of(r), head_of(r), key)),
                    a.soft_cap);
            scores[r * SPLIT_KEYS + column + lane] = score;
        }
    }

    /* Scores to weights e^(score - maximum); lanes sum their own keys. */
    __device__ void weigh(int begin, int end, float (&maximum)[MINE], float (&sum)[MINE]) const
    {
#pragma unroll
        for (int i = 0; i < MINE; i++) {
            float *row = scores + (warp * MINE + i) * SPLIT_KEYS + lane;
            maximum[i] = -INFINITY;
            for (int key = begin; key < end; key += WARP)
                if (seen(key, key + WARP))
                    maximum[i] = fmaxf(maximum[i], row[key - begin]);
            maximum[i] = warp_max(maximum[i]);
            sum[i] = 0.0F;
            for (int key = begin; key < end; key += WARP)
                if (seen(key, key + WARP)) {
                    const float weight =
                        row[key - begin] == -INFINITY ? 0.0F : expf(row[key - begin] - maximum[i]);
                    row[key - begin] = weight;
                    sum[i] += weight;
                }
            sum[i] = warp_sum(sum[i]);
        }
    }

    /* values[i][c] += weights * the tile's values, column c * 32 + lane. */
    __device__ void add_values(int column, float (&values)[MINE][COLUMNS_MAX]) const
    {
        for (int j = 0; j < WARP; j++) {
            float weight[MINE];
#pragma unroll
            for (int i = 0; i < MINE; i++)
                weight[i] = scores[(warp * MINE + i) * SPLIT_KEYS + column + j];
#pragma unroll
            for (int c = 0; c < COLUMNS_MAX; c++)
                if (c * WARP < a.value_dim) {
                    const float value = tile[j * stride + min(c * WARP + lane, a.value_dim - 1)];
#pragma unroll
                    for (int i = 0; i < MINE; i++)
                        values[i][c] = fmaf(weight[i], value, values[i][c]);
                }
        }
    }

    __device__ void run(
        int begin, float (&maximum)[MINE], float (&sum)[MINE], float (&values)[MINE][COLUMNS_MAX]) const
    {
        const int end = min(begin + SPLIT_KEYS, s.k_rows);
        for (int key = begin; key < end; key += WARP)
            if (seen(key, key + WARP)) {
                load_tile(key, false);
                __syncthreads();
                score_tile(key, key - begin);
                __syncthreads();
            }
        weigh(begin, end, maximum, sum);
        __syncwarp();
        for (int key = begin; key < end; key += WARP)
            if (seen(key, key + WARP)) {
                load_tile(key, true);
                __syncthreads();
                add_values(key - begin, values);
                __syncthreads();
            }
    }
};

template <class T, int ROWS>
static __global__ void __launch_bounds__(THREADS, 3) attend(const attention_kernel a)
{
    extern __shared__ __align__(16) float shared[];
    const split_worker<T, ROWS> w(a, a.pieces[blockIdx.x], shared);
    enum { MINE = ROWS / WARPS };
    float total_maximum[MINE], total_sum[MINE] = {}, totals[MINE][COLUMNS_MAX] = {};
    const bool all = a.splits == 1;
    const int begin = all ? 0 : static_cast<int>(blockIdx.z) * SPLIT_KEYS;
    const int end = all ? w.s.k_rows : min(begin + SPLIT_KEYS, w.s.k_rows);
#pragma unroll
    for (int i = 0; i < MINE; i++)
        total_maximum[i] = -INFINITY;
    w.load_queries();
    for (int key = begin; key < end; key += SPLIT_KEYS) {
        float maximum[MINE], sum[MINE], values[MINE][COLUMNS_MAX] = {}, before, added;
        if (!w.seen(key, min(key + SPLIT_KEYS, w.s.k_rows)))
            continue;
        w.run(key, maximum, sum, values);
#pragma unroll
        for (int i = 0; i < MINE; i++)
            if (join_sums(maximum[i], sum[i], total_maximum[i], total_sum[i], before, added))
#pragma unroll
                for (int c = 0; c < COLUMNS_MAX; c++)
                    totals[i][c] = join_values(totals[i][c], before, values[i][c], added);
    }
#pragma unroll
    for (int i = 0; i < MINE; i++) {
        const int r = w.warp * MINE + i;
        if (r >= w.pairs())
            break;
        const size_t row = w.s.q_row + w.row_of(r), pair = row * a.heads + w.head_of(r);
        const size_t part = static_cast<size_t>(blockIdx.z) * a.part_rows + pair;
        float *out =
            all ? a.out + row * a.out_stride + w.head_of(r) * a.value_dim : a.parts + part * a.value_dim;
        const float divisor = !all ? 1.0F : total_sum[i] == 0.0F ? INFINITY : total_sum[i];
#pragma unroll
        for (int c = 0; c < COLUMNS_MAX; c++)
            if (c * WARP + w.lane < a.value_dim)
                out[c * WARP + w.lane] = totals[i][c] / divisor;
        if (!all && w.lane < 2)
            a.part_sums[2 * part + w.lane] = w.lane == 0 ? total_maximum[i] : total_sum[i];
    }
}

/* A block a (query row, head): joins its splits. Grid: [pieces * piece_rows][key heads]. */
static __global__ void __launch_bounds__(WARP) join(const attention_kernel a)
{
    const piece p = a.pieces[blockIdx.x / a.piece_rows];
    const sequence s = a.sequences[p.sequence];
    const int group = a.heads / a.kv_heads, r = p.first + static_cast<int>(blockIdx.x) % a.piece_rows;
    const int lane = static_cast<int>(threadIdx.x);
    if (r >= s.q_rows * group)
        return;
    const size_t row = s.q_row + r / group;
    const int head = static_cast<int>(blockIdx.y) * group + r % group;
    float total_maximum = -INFINITY, total_sum = 0.0F, totals[COLUMNS_MAX] = {}, before, added;
    for (int split = 0; split * SPLIT_KEYS < s.k_rows; split++) {
        const size_t part = static_cast<size_t>(split) * a.part_rows + row * a.heads + head;
        const float *sums = a.part_sums + 2 * part, *values = a.parts + part * a.value_dim;
        if (join_sums(sums[0], sums[1], total_maximum, total_sum, before, added))
#pragma unroll
            for (int c = 0; c < COLUMNS_MAX; c++)
                if (c * WARP + lane < a.value_dim)
                    totals[c] = join_values(totals[c], before, values[c * WARP + lane], added);
    }
    const float divisor = total_sum == 0.0F ? INFINITY : total_sum;
#pragma unroll
    for (int c = 0; c < COLUMNS_MAX; c++)
        if (c * WARP + lane < a.value_dim)
            a.out[row * a.out_stride + head * a.value_dim + c * WARP + lane] = totals[c] / divisor;
}

template <class T> static cudaError_t launch(const attention_kernel &a, cudaStream_t stream)
{
    const dim3 grid(a.piece_count, a.kv_heads, a.splits);
    const size_t bytes =
        sizeof(float) * (a.piece_rows * (padded(a.head_dim) + SPLIT_KEYS) + WARP * tile_stride(a));
    if (a.piece_rows == MANY_PIECE_ROWS)
        attend<T, MANY_PIECE_ROWS><<<grid, THREADS, bytes, stream>>>(a);
    else
        attend<T, FEW_PIECE_ROWS><<<grid, THREADS, bytes, stream>>>(a);
    return cudaGetLastError();
}

cudaError_t attention_exact_launch(const struct attention_kernel *a, cudaStream_t stream)
{
    if (!a->pages.data || a->pages.precision == PRECISION_EXACT)
        return launch<float>(*a, stream);
    return a->pages.precision == PRECISION_F16 ? launch<__half>(*a, stream)
                                               : launch<__nv_bfloat16>(*a, stream);
}

cudaError_t attention_join_launch(const struct attention_kernel *a, cudaStream_t stream)
{
    join<<<dim3(a->piece_count * a->piece_rows, a->kv_heads), WARP, 0, stream>>>(*a);
    return cudaGetLastError();
}

template <class T> static cudaError_t allow(void)
{
    enum {
        BYTES = sizeof(float) * (MANY_PIECE_ROWS * (HEAD_DIM_MAX + SPLIT_KEYS) + WARP * (HEAD_DIM_MAX + 4))
    };
    const cudaError_t status =
        cudaFuncSetAttribute(attend<T, MANY_PIECE_ROWS>, cudaFuncAttributeMaxDynamicSharedMemorySize, BYTES);
    return status != cudaSuccess ? status
                                 : cudaFuncSetAttribute(attend<T, FEW_PIECE_ROWS>,
                                       cudaFuncAttributeMaxDynamicSharedMemorySize, BYTES);
}

cudaError_t attention_prepare(void)
{
    cudaError_t status = allow<float>();
    status = status == cudaSuccess ? allow<__half>() : status;
    return status == cudaSuccess ? allow<__nv_bfloat16>() : status;
}

/* ---- DeBERTa's products with position vectors: a block of 8 rows x 32 positions of a head, a thread one sum
 * ---- */

enum { POSITION_ROWS = 8 };

static __global__ void __launch_bounds__(WARP *POSITION_ROWS) position_products(const position_kernel k)
{
    __shared__ float vectors[WARP][WARP + 1];
    const int lane = static_cast<int>(threadIdx.x) % WARP, line = static_cast<int>(threadIdx.x) / WARP;
    const int position = static_cast<int>(blockIdx.x) * WARP,
              row = static_cast<int>(blockIdx.y) * POSITION_ROWS + line;
    const size_t head = blockIdx.z * k.head_dim;
    float sum = 0.0F;
    for (int first = 0; first < k.head_dim; first += WARP) {
        for (int p = line; p < WARP; p += POSITION_ROWS)
            vectors[p][lane] = position + p < k.positions && first + lane < k.head_dim
                                   ? k.position[(position + p) * k.position_stride + head + first + lane]
                                   : 0.0F;
        __syncthreads();
        if (row < k.rows)
            for (int d = 0; d < min(WARP, k.head_dim - first); d++)
                sum = fmaf(k.x[row * k.x_stride + head + first + d], vectors[lane][d], sum);
        __syncthreads();
    }
    if (row < k.rows && position + lane < k.positions)
        k.out[(static_cast<size_t>(row) * k.heads + blockIdx.z) * k.positions + position + lane] = sum;
}

cudaError_t position_launch(const struct position_kernel *k, cudaStream_t stream)
{
    const dim3 grid(
        (k->positions + WARP - 1) / WARP, (k->rows + POSITION_ROWS - 1) / POSITION_ROWS, k->heads);
    position_products<<<grid, WARP * POSITION_ROWS, 0, stream>>>(*k);
    return cudaGetLastError();
}
