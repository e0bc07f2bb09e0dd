// Reading a kernel to run it: address spaces vanish, threads are fibers, threadgroups run one after another.
//
// A simdgroup is 32 fibers. A fiber runs until it ends or reaches simd_sum; when every fiber of the simdgroup is there,
// the sum is formed in the order of the lanes. A simd_sum that some lanes never reach is an error here: Metal leaves
// its result open. Threadgroup memory and barriers are not there, as no kernel uses them.
#pragma once
#include "metal_common.h"
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>
#define device
#define constant
#define threadgroup
#define thread

namespace emulation {
constexpr int WIDTH = 32;
constexpr int STACK = 64 << 10;
enum State { RUNNING, WAITING, DONE };

struct Lane {
  ucontext_t context;
  State state;
  uint3 in_grid, in_group;
  double value;
};
static Lane lanes[WIDTH];
static char stacks[WIDTH][STACK] __attribute__((aligned(64)));
static ucontext_t scheduler;
static int current;
static uint simdgroup;
static uint3 group, group_size, grid_size;
static void (*body)(void**);
static void** arguments;

static sigjmp_buf outside;

static void fault(int) { siglongjmp(outside, 1); }

static void enter() {
  body(arguments);
  lanes[current].state = DONE;
}

inline double exchange(double value) {
  Lane& me = lanes[current];
  me.value = value;
  me.state = WAITING;
  swapcontext(&me.context, &scheduler);
  return me.value;
}

// Run the lanes [0, n) to their end; false when only some of them reached a simd_sum.
static bool run_simdgroup(int n) {
  for (int i = 0; i < n; i++) {
    lanes[i].state = RUNNING;
    getcontext(&lanes[i].context);
    lanes[i].context.uc_stack.ss_sp = stacks[i];
    lanes[i].context.uc_stack.ss_size = STACK;
    lanes[i].context.uc_link = &scheduler;
    makecontext(&lanes[i].context, enter, 0);
  }
  for (;;) {
    int waiting = 0;
    for (current = 0; current < n; current++) {
      if (lanes[current].state == DONE) continue;
      lanes[current].state = RUNNING;
      swapcontext(&scheduler, &lanes[current].context);
      waiting += lanes[current].state == WAITING;
    }
    if (waiting == 0) return true;
    if (waiting != n) return false;
    float total = 0.0f;
    for (int i = 0; i < n; i++) total += float(lanes[i].value);
    for (int i = 0; i < n; i++) lanes[i].value = total;
  }
}

// As Metal's dispatchThreads: the last threadgroup of a row may be smaller.
static int run_grid(void (*kernel_body)(void**), void** args, const uint* grid, const uint* group_shape) {
  body = kernel_body;
  arguments = args;
  grid_size = {grid[0], grid[1], grid[2]};
  group_size = {group_shape[0], group_shape[1], group_shape[2]};
  const uint per_group = group_size.x * group_size.y * group_size.z;
  for (group.z = 0; group.z * group_size.z < grid[2]; group.z++)
    for (group.y = 0; group.y * group_size.y < grid[1]; group.y++)
      for (group.x = 0; group.x * group_size.x < grid[0]; group.x++)
        for (simdgroup = 0; simdgroup * WIDTH < per_group; simdgroup++) {
          int n = 0;
          for (uint t = simdgroup * WIDTH; t < (simdgroup + 1) * WIDTH && t < per_group; t++) {
            uint3 at = {t % group_size.x, t / group_size.x % group_size.y, t / (group_size.x * group_size.y)};
            uint3 all = {group.x * group_size.x + at.x, group.y * group_size.y + at.y, group.z * group_size.z + at.z};
            if (all.x >= grid[0] || all.y >= grid[1] || all.z >= grid[2]) continue;
            lanes[n].in_group = at;
            lanes[n++].in_grid = all;
          }
          if (!run_simdgroup(n)) return 1;
        }
  return 0;
}

// 0, or what went wrong; see FAULTS of metal.py. Arrays lie between pages that nobody may touch.
static int launch(void (*kernel_body)(void**), void** args, const uint* grid, const uint* group_shape) {
  struct sigaction ours = {}, segv, bus;
  ours.sa_handler = fault;
  ours.sa_flags = SA_NODEFER;
  sigaction(SIGSEGV, &ours, &segv);
  sigaction(SIGBUS, &ours, &bus);
  int status = sigsetjmp(outside, 1) ? 2 : run_grid(kernel_body, args, grid, group_shape);
  sigaction(SIGSEGV, &segv, nullptr);
  sigaction(SIGBUS, &bus, nullptr);
  return status;
}

// The thread positions that a kernel may name.
inline uint thread_index_in_simdgroup() { return uint(current); }
inline uint simdgroup_index_in_threadgroup() { return simdgroup; }
inline uint3 threadgroup_position_in_grid() { return group; }
inline uint3 thread_position_in_grid() { return lanes[current].in_grid; }
inline uint3 thread_position_in_threadgroup() { return lanes[current].in_group; }
inline uint3 threads_per_grid() { return grid_size; }
}  // namespace emulation

namespace metal {
template <typename T> T min(T a, T b) { return b < a ? b : a; }
template <typename T> T simd_sum(T value) { return T(emulation::exchange(double(value))); }
inline uint popcount(uint value) { return uint(__builtin_popcount(value)); }
inline float exp(float x) { return expf(x); }
}  // namespace metal
