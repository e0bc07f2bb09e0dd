// What both readings of a kernel share: the names of Metal's scalar and vector types. Ours, not Apple's.
#pragma once
#include <stdint.h>
#include <string.h>
typedef unsigned int uint;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned long ulong;
typedef _Float16 half;
typedef half float16_t;  // a name of MLX
struct uint3 { uint x, y, z; };

template <typename T, typename U>
inline T as_type(U value) {
  static_assert(sizeof(T) == sizeof(U), "as_type between types of different size");
  return __builtin_bit_cast(T, value);
}
