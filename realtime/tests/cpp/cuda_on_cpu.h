// What persistent.cu takes from CUDA, for one block of threads of the host: see test_persistent.py.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cmath>
#include <cstddef>

#define __device__ static
#define __global__
#define __shared__ static

struct Index {
    int x;
};
static thread_local Index threadIdx{0};
static Index blockIdx{0}, blockDim{1}, gridDim{1};
static pthread_barrier_t barrier;

static inline void __syncthreads() { pthread_barrier_wait(&barrier); }

static inline int __syncthreads_or(int mine) {
    static std::atomic<int> any;
    any |= mine;
    __syncthreads();
    const int all = any;
    __syncthreads();
    any = 0;
    __syncthreads();
    return all;
}

static inline void atomicXor(unsigned long long *at, unsigned long long value) {
    __atomic_fetch_xor(at, value, __ATOMIC_RELAXED);
}

static inline unsigned acquired(const unsigned *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
static inline void released(unsigned *at, unsigned value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }

extern "C" void begin_block(int threads) {
    blockDim.x = threads;
    pthread_barrier_init(&barrier, nullptr, static_cast<unsigned>(threads));
}

extern "C" void be_thread(int index) { threadIdx.x = index; }
