// A kernel that stays on the device: it polls slots in mapped host memory for syndromes and answers by min-sum, as
// min_sum.py has it (sources there). NEVER RUN ON A GPU: compiled with NVRTC 12.9, and run as C++ by host threads in the tests.
//
// A block serves its patches in turn; blocks never wait for each other and launch nothing, so the grid need not be
// cooperative, but each block must be resident: the host asks for fewer than the device has multiprocessors.
// Words of a slot (32 bits): 0 asked (a count); 1.. syndrome, bit c of word c/32 for check c; at `answer_at`, on another
// cache line: answered (the count), iterations (0: did not converge), observables to flip (low, high).

#ifdef __CUDACC__ // PTX, for NVRTC has no <cuda/atomic> without headers; needs compute capability 7.0
__device__ unsigned acquired(const unsigned *at) {
    unsigned value;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
    return value;
}
__device__ void released(unsigned *at, unsigned value) {
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}
#endif

struct Problem {
    int checks, degree, errors, weight;
    const int *errors_of; // degree x checks; `errors` where a check has fewer
    const int *edges_of;  // weight x errors; degree * checks where an error has fewer
    const float *prior;
    int iterations;
    float scaling, memory;
};

#define FAR 1e4f
#define MOST_CHECKS 4096

// All threads of a block. Returns the iterations it took, the same in all threads; 0 if they did not suffice.
__device__ int min_sum(const Problem &it, const unsigned *syndrome, float *belief, float *messages) {
    const int edges = it.degree * it.checks;
    for (int e = threadIdx.x; e < it.errors; e += blockDim.x) belief[e] = it.prior[e];
    for (int at = threadIdx.x; at < edges; at += blockDim.x) messages[at] = 0;
    __syncthreads();
    for (int turn = 1; turn <= it.iterations; ++turn) {
        const float scaling = it.scaling > 0 ? it.scaling : 1 - exp2f(-turn);
        for (int c = threadIdx.x; c < it.checks; c += blockDim.x) {
            bool odd = syndrome[c / 32] >> (c % 32) & 1;
            float least = FAR, second = FAR;
            int least_at = -1, end = c;
            for (; end < edges && it.errors_of[end] != it.errors; end += it.checks) {
                const float incoming = belief[it.errors_of[end]] - messages[end];
                const float size = fminf(fabsf(incoming), FAR);
                odd ^= incoming <= 0;
                if (least_at < 0 || size < least) {
                    second = least;
                    least = size;
                    least_at = end;
                } else if (size < second) {
                    second = size;
                }
            }
            for (int at = c; at < end; at += it.checks) {
                const bool negative = belief[it.errors_of[at]] - messages[at] <= 0;
                const float size = (at == least_at ? second : least) * scaling;
                messages[at] = odd != negative ? -size : size;
            }
        }
        __syncthreads();
        for (int e = threadIdx.x; e < it.errors; e += blockDim.x) {
            float sum = 0;
            for (int w = e; w < it.weight * it.errors && it.edges_of[w] != edges; w += it.errors)
                sum += messages[it.edges_of[w]];
            belief[e] = it.prior[e] + it.memory * (belief[e] - it.prior[e]) + sum;
        }
        __syncthreads();
        int wrong = 0;
        for (int c = threadIdx.x; c < it.checks; c += blockDim.x) {
            bool odd = syndrome[c / 32] >> (c % 32) & 1;
            for (int at = c; at < edges && it.errors_of[at] != it.errors; at += it.checks)
                odd ^= belief[it.errors_of[at]] <= 0;
            wrong |= odd;
        }
        if (!__syncthreads_or(wrong)) return turn;
    }
    return 0;
}

extern "C" __global__ void serve(unsigned *slots, const unsigned *stop, unsigned *seen, int patches, int slot_words,
                                 int answer_at, int checks, int degree, int errors, int weight, const int *errors_of,
                                 const int *edges_of, const float *prior, const unsigned long long *flips_of,
                                 float *scratch, int iterations, float scaling, float memory) {
    const Problem it = {checks, degree, errors, weight, errors_of, edges_of, prior, iterations, scaling, memory};
    float *belief = scratch + (size_t)blockIdx.x * (errors + degree * checks);
    __shared__ unsigned syndrome[MOST_CHECKS / 32], asked, leave;
    __shared__ unsigned long long flips;
    for (;;) {
        for (int patch = blockIdx.x; patch < patches; patch += gridDim.x) {
            unsigned *slot = slots + (size_t)patch * slot_words;
            __syncthreads(); // nobody reads the shared variables of the patch before any more
            if (threadIdx.x == 0) {
                asked = acquired(slot);
                flips = 0;
            }
            __syncthreads();
            const unsigned now = asked;
            if (now == seen[patch]) continue; // alike in all threads
            for (int w = threadIdx.x; w < (checks + 31) / 32; w += blockDim.x)
                syndrome[w] = ((volatile unsigned *)slot)[1 + w];
            __syncthreads();
            const int turns = min_sum(it, syndrome, belief, belief + errors);
            unsigned long long mine = 0;
            for (int e = threadIdx.x; e < errors; e += blockDim.x)
                if (turns && belief[e] <= 0) mine ^= flips_of[e];
            if (mine) atomicXor(&flips, mine);
            __syncthreads();
            if (threadIdx.x == 0) {
                volatile unsigned *answer = slot + answer_at;
                seen[patch] = now;
                answer[1] = turns;
                answer[2] = (unsigned)flips;
                answer[3] = (unsigned)(flips >> 32);
                released(slot + answer_at, now);
            }
        }
        if (threadIdx.x == 0) leave = acquired(stop);
        __syncthreads();
        if (leave) return;
    }
}
