// Reading a kernel to check it: address spaces are real, so that a pointer into the wrong one is an error. Nothing is
// run; functions of Metal are declared only.
#pragma once
#include "metal_common.h"
#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
#define thread

namespace metal {
template <typename T> T min(T a, T b);
template <typename T> T simd_sum(T value);
uint popcount(uint value);
float exp(float x);
}  // namespace metal
