#include <algorithm>
#include <cstddef>

#include "runtime/native/resize-kernels.h"

#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// Plain loops, in the form that compilers turn into the SIMD of any 64-bit processor.

namespace edge {
namespace {

constexpr int kBlock = 64;
constexpr int kRowGroup = 4;

// 64 bytes of columns, four source rows at a time: the sums then travel to memory and back once
// per four taps rather than once per tap.
void SumFullBlock(const std::uint8_t* row, std::int64_t stride, const std::int16_t* weights,
                  int count, std::int32_t* sums) {
  int tap = 0;
  for (; tap + kRowGroup <= count; tap += kRowGroup, row += kRowGroup * stride) {
    const std::uint8_t* a = row;
    const std::uint8_t* b = a + stride;
    const std::uint8_t* c = b + stride;
    const std::uint8_t* d = c + stride;
    const std::int32_t wa = weights[tap], wb = weights[tap + 1];
    const std::int32_t wc = weights[tap + 2], wd = weights[tap + 3];
    for (int i = 0; i < kBlock; ++i) sums[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
  }
  for (; tap < count; ++tap, row += stride) {
    const std::int32_t weight = weights[tap];
    for (int i = 0; i < kBlock; ++i) sums[i] += weight * row[i];
  }
}

void Vertical(const Frame& frame, const AxisWeights& axis, int row, std::int16_t* middle) {
  const std::uint8_t* first_row = frame.data + axis.first[row] * frame.row_stride;
  const std::int16_t* weights = axis.weights.data() + static_cast<std::size_t>(row) * axis.stride;
  const int count = axis.count[row];
  const int size = 3 * frame.width;
  for (int start = 0; start < size; start += kBlock) {
    // The last block overlaps the one before it: recomputing equals is cheaper than a tail loop.
    const int x = std::max(0, std::min(start, size - kBlock));
    const int width = std::min(kBlock, size);
    std::int32_t sums[kBlock] = {};
    if (width == kBlock) {
      SumFullBlock(first_row + x, frame.row_stride, weights, count, sums);
    } else {
      const std::uint8_t* source = first_row;
      for (int tap = 0; tap < count; ++tap, source += frame.row_stride) {
        for (int i = 0; i < width; ++i) sums[i] += weights[tap] * source[i];
      }
    }
    for (int i = 0; i < width; ++i) {
      middle[x + i] = static_cast<std::int16_t>(((sums[i] + 32) >> 6) - 32768);
    }
  }
}

// Adds a weighted pixel to sums of four lanes: its three channels, and the next pixel's first so
// that compilers see whole registers. NEON is spelled out, since left to themselves they vectorise
// over the taps, which are few.
#if defined(__ARM_NEON)
using Sums = int32x4_t;

inline Sums SumsOf(std::int32_t value) { return vdupq_n_s32(value); }

inline Sums AddPixel(Sums sums, const std::int16_t* pixel, std::int16_t weight) {
  return vmlal_n_s16(sums, vld1_s16(pixel), weight);
}

inline void StorePixel(Sums even, Sums odd, std::uint8_t* output) {
  const Sums pixel = vshrq_n_s32(vaddq_s32(even, odd), 22);
  output[0] = static_cast<std::uint8_t>(vgetq_lane_s32(pixel, 0));
  output[1] = static_cast<std::uint8_t>(vgetq_lane_s32(pixel, 1));
  output[2] = static_cast<std::uint8_t>(vgetq_lane_s32(pixel, 2));
}
#else
struct Sums {
  std::int32_t lanes[4];
};

inline Sums SumsOf(std::int32_t value) { return {{value, value, value, value}}; }

inline Sums AddPixel(Sums sums, const std::int16_t* pixel, std::int16_t weight) {
  for (int c = 0; c < 4; ++c) sums.lanes[c] += weight * pixel[c];
  return sums;
}

inline void StorePixel(Sums even, Sums odd, std::uint8_t* output) {
  for (int c = 0; c < 3; ++c) {
    output[c] = static_cast<std::uint8_t>((even.lanes[c] + odd.lanes[c]) >> 22);
  }
}
#endif

void HorizontalRow(const std::int16_t* middle, const AxisWeights& axis, std::uint8_t* output) {
  // What was taken off each element, times weights that sum to 16384, and half of the last bit.
  constexpr std::int32_t kStart = (32768 << 14) + (1 << 21);
  const int width = static_cast<int>(axis.first.size());
  const int stride = axis.stride;
  const std::int32_t* first = axis.first.data();
  const std::int32_t* counts = axis.count.data();
  const std::int16_t* weights = axis.weights.data();
  for (int x = 0; x < width; ++x, weights += stride, output += 4) {
    const std::int16_t* source = middle + 3 * static_cast<std::ptrdiff_t>(first[x]);
    const int count = counts[x];
    Sums even = SumsOf(kStart);
    Sums odd = SumsOf(0);
    // An odd count is rounded up: the weight past it is zero, and the middle row is padded.
    for (int k = 0; k < count; k += 2, source += 6) {
      even = AddPixel(even, source, weights[k]);
      odd = AddPixel(odd, source + 3, weights[k + 1]);
    }
    StorePixel(even, odd, output);
  }
}

void Horizontal(const std::int16_t* const middle[2], const AxisWeights& axis,
                std::uint8_t* const output[2]) {
  for (int side = 0; side < 2; ++side) HorizontalRow(middle[side], axis, output[side]);
}

}  // namespace

const ResizeKernels& PortableKernels() {
  static constexpr ResizeKernels kernels{"portable", &Vertical, &Horizontal};
  return kernels;
}

}  // namespace edge
