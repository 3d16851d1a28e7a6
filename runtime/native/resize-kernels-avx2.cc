#include "runtime/native/resize-kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

// One binary serves every x86-64, so only these functions are compiled for AVX2.
#define EDGE_AVX2 __attribute__((target("avx2")))

// Both passes rest on vpmaddwd: two 16-bit products and their sum, per 32-bit lane.

namespace edge {
namespace {

constexpr int kBlock = 64;

// Two neighbouring weights in every lane.
EDGE_AVX2 inline __m256i LoadWeightPair(const std::int16_t* weights) {
  std::int32_t pair;
  std::memcpy(&pair, weights, sizeof(pair));
  return _mm256_set1_epi32(pair);
}

EDGE_AVX2 inline __m256i LoadHalves(const std::int16_t* low, const std::int16_t* high) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(half),
                                 _mm_loadu_si128(reinterpret_cast<const __m128i*>(high)), 1);
}

// Adds two rows of 32 columns. Unpacking works within 128-bit halves, so the sums are of columns
// (0-3, 16-19), (4-7, 20-23), (8-11, 24-27) and (12-15, 28-31).
EDGE_AVX2 inline void AddRows(const std::uint8_t* top, const std::uint8_t* bottom, __m256i pair,
                              __m256i sums[4]) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(top));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bottom));
  const __m256i low = _mm256_unpacklo_epi8(a, b);
  const __m256i high = _mm256_unpackhi_epi8(a, b);
  const __m256i products[4] = {_mm256_madd_epi16(_mm256_unpacklo_epi8(low, zero), pair),
                               _mm256_madd_epi16(_mm256_unpackhi_epi8(low, zero), pair),
                               _mm256_madd_epi16(_mm256_unpacklo_epi8(high, zero), pair),
                               _mm256_madd_epi16(_mm256_unpackhi_epi8(high, zero), pair)};
  for (int i = 0; i < 4; ++i) sums[i] = _mm256_add_epi32(sums[i], products[i]);
}

// Bits 6 to 21 of two sums as 16-bit elements. The packing saturates and the plain kernels do not,
// so it only gets what fits: sources above 16384 pixels can have weights below zero.
EDGE_AVX2 inline __m256i PackMiddle(__m256i first, __m256i second) {
  return _mm256_packs_epi32(_mm256_srai_epi32(_mm256_slli_epi32(first, 10), 16),
                            _mm256_srai_epi32(_mm256_slli_epi32(second, 10), 16));
}

// Puts 32 columns back in order.
EDGE_AVX2 inline void StoreMiddle(const __m256i sums[4], std::int16_t* middle) {
  const __m256i left = PackMiddle(sums[0], sums[1]);   // 0-7, 16-23
  const __m256i right = PackMiddle(sums[2], sums[3]);  // 8-15, 24-31
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(middle),
                      _mm256_permute2x128_si256(left, right, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(middle + 16),
                      _mm256_permute2x128_si256(left, right, 0x31));
}

EDGE_AVX2 void Vertical(const Frame& frame, const AxisWeights& axis, int row,
                        std::int16_t* middle) {
  const int size = 3 * frame.width;
  if (size < kBlock) {
    PortableKernels().vertical(frame, axis, row, middle);
    return;
  }
  const std::int64_t stride = frame.row_stride;
  const std::uint8_t* first_row = frame.data + axis.first[row] * stride;
  const std::int16_t* weights = axis.weights.data() + static_cast<std::size_t>(row) * axis.stride;
  const int count = axis.count[row];
  const __m256i start = _mm256_set1_epi32(32 - (32768 << 6));
  for (int column = 0; column < size; column += kBlock) {
    // The last block overlaps the one before it: recomputing equals is cheaper than a tail loop.
    const int x = std::min(column, size - kBlock);
    const std::uint8_t* source = first_row + x;
    __m256i left[4] = {start, start, start, start};
    __m256i right[4] = {start, start, start, start};
    int tap = 0;
    for (; tap + 2 <= count; tap += 2, source += 2 * stride) {
      const __m256i pair = LoadWeightPair(weights + tap);
      AddRows(source, source + stride, pair, left);
      AddRows(source + 32, source + stride + 32, pair, right);
    }
    if (tap < count) {  // the second weight is zero: any row that exists will do
      const __m256i pair = LoadWeightPair(weights + tap);
      AddRows(source, source, pair, left);
      AddRows(source + 32, source + 32, pair, right);
    }
    StoreMiddle(left, middle + x);
    StoreMiddle(right, middle + x + 32);
  }
}

// The upper half of each register works on the second row.
EDGE_AVX2 void Horizontal(const std::int16_t* const middle[2], const AxisWeights& axis,
                          std::uint8_t* const output[2]) {
  // What was taken off each element, times weights that sum to 16384, and half of the last bit.
  const __m256i start = _mm256_set1_epi32((32768 << 14) + (1 << 21));
  // Two pixels b g r b g r to b b g g r r; the fourth lane is zero.
  const __m256i interleave = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1));
  const __m256i low_bytes = _mm256_set1_epi32(0x0C080400);
  const int width = static_cast<int>(axis.first.size());
  const std::int16_t* weights = axis.weights.data();
  for (int x = 0; x < width; ++x, weights += axis.stride) {
    const std::ptrdiff_t offset = 3 * static_cast<std::ptrdiff_t>(axis.first[x]);
    const std::int16_t* top = middle[0] + offset;
    const std::int16_t* bottom = middle[1] + offset;
    const int count = axis.count[x];
    __m256i sums = start;
    for (int k = 0; k < count; k += 2, top += 6, bottom += 6) {
      const __m256i pixels = LoadHalves(top, bottom);
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, interleave),
                                                      LoadWeightPair(weights + k)));
    }
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_srli_epi32(sums, 22), low_bytes);
    const std::int32_t pixel[2] = {_mm256_extract_epi32(bytes, 0), _mm256_extract_epi32(bytes, 4)};
    std::memcpy(output[0] + 4 * x, &pixel[0], 4);
    std::memcpy(output[1] + 4 * x, &pixel[1], 4);
  }
}

}  // namespace

const ResizeKernels* Avx2Kernels() {
  static constexpr ResizeKernels kernels{"avx2", &Vertical, &Horizontal};
  return __builtin_cpu_supports("avx2") ? &kernels : nullptr;
}

}  // namespace edge

#else

namespace edge {

const ResizeKernels* Avx2Kernels() { return nullptr; }

}  // namespace edge

#endif
