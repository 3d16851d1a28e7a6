#include "runtime/native/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "runtime/native/errors.h"

// One binary for every x86-64: the loader picks the widest clone. Sanitizers' start-up and the
// ifuncs behind clones do not go together. On aarch64 the plain loops become NEON.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EDGE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGE_CLONES
#endif

namespace edge {
namespace {

constexpr int kMaxSize = 65536;
constexpr int kOne = 16384;  // 1.0 in Q14
constexpr int kTapGroup = 4;
constexpr int kBlock = 64;

// The vertical pass of 64 bytes, four source rows at a time: the sums then travel to memory and
// back once per four taps rather than once per tap.
EDGE_CLONES
void VerticalBlocks(const std::uint8_t* first_row, std::int64_t row_stride,
                    const std::int32_t* weights, int count, int size, std::uint16_t* output) {
  for (int start = 0; start < size; start += kBlock) {
    // The last block overlaps the one before it: recomputing equals is cheaper than a tail loop.
    const int x = std::max(0, std::min(start, size - kBlock));
    const int width = std::min(kBlock, size);
    std::int32_t sums[kBlock] = {};
    const std::uint8_t* row = first_row + x;
    int tap = 0;
    if (width == kBlock) {
      for (; tap + kTapGroup <= count; tap += kTapGroup) {
        const std::uint8_t* a = row;
        const std::uint8_t* b = a + row_stride;
        const std::uint8_t* c = b + row_stride;
        const std::uint8_t* d = c + row_stride;
        const std::int32_t wa = weights[tap], wb = weights[tap + 1];
        const std::int32_t wc = weights[tap + 2], wd = weights[tap + 3];
        for (int i = 0; i < kBlock; ++i) {
          sums[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
        }
        row += kTapGroup * row_stride;
      }
      for (; tap < count; ++tap, row += row_stride) {
        const std::int32_t weight = weights[tap];
        for (int i = 0; i < kBlock; ++i) sums[i] += weight * row[i];
      }
    } else {
      for (; tap < count; ++tap, row += row_stride) {
        for (int i = 0; i < width; ++i) sums[i] += weights[tap] * row[i];
      }
    }
    for (int i = 0; i < width; ++i) {
      output[x + i] = static_cast<std::uint16_t>((sums[i] + 32) >> 6);
    }
  }
}

#if defined(__GNUC__)
typedef std::int32_t Int4 __attribute__((vector_size(16)));
typedef std::uint16_t Half4 __attribute__((vector_size(8)));

inline Int4 LoadPixel(const std::uint16_t* pixel) {
  Half4 half;
  std::memcpy(&half, pixel, sizeof(half));  // reads one element past the pixel: scratch is padded
  return __builtin_convertvector(half, Int4);
}
#endif

// A pixel's three channels, and one lane to spare, in one register.
EDGE_CLONES
void HorizontalRow(const std::uint16_t* input, const std::int32_t* first, const std::int32_t* count,
                   const std::int32_t* weights, int taps, int width, std::uint8_t* output) {
  for (int x = 0; x < width; ++x, weights += taps, output += 3) {
    const std::uint16_t* pixel = input + 3 * static_cast<std::ptrdiff_t>(first[x]);
    const int n = count[x];
#if defined(__GNUC__)
    Int4 even = {1 << 21, 1 << 21, 1 << 21, 0};
    Int4 odd = {0, 0, 0, 0};
    int k = 0;
    for (; k + 2 <= n; k += 2, pixel += 6) {
      even += LoadPixel(pixel) * weights[k];
      odd += LoadPixel(pixel + 3) * weights[k + 1];
    }
    if (k < n) even += LoadPixel(pixel) * weights[k];
    even = (even + odd) >> 22;
    output[0] = static_cast<std::uint8_t>(even[0]);
    output[1] = static_cast<std::uint8_t>(even[1]);
    output[2] = static_cast<std::uint8_t>(even[2]);
#else
    std::int32_t sums[3] = {1 << 21, 1 << 21, 1 << 21};
    for (int k = 0; k < n; ++k, pixel += 3) {
      for (int c = 0; c < 3; ++c) sums[c] += weights[k] * pixel[c];
    }
    for (int c = 0; c < 3; ++c) output[c] = static_cast<std::uint8_t>(sums[c] >> 22);
#endif
  }
}

// Writes one row of Q14 weights; the same operations in the same order as the NumPy twin.
void FillWeights(double centre, double width, int first, int count, std::int32_t* output) {
  std::vector<double> values(count);
  double total = 0.0;
  for (int k = 0; k < count; ++k) {
    const double distance = ((first + k) - centre + 0.5) / width;
    values[k] = std::max(0.0, 1.0 - std::abs(distance));
    total += values[k];
  }
  int sum = 0;
  for (int k = 0; k < count; ++k) {
    output[k] = static_cast<std::int32_t>(std::floor(values[k] / total * kOne + 0.5));
    sum += output[k];
  }
  *std::max_element(output, output + count) += kOne - sum;
}

}  // namespace

AxisWeights TriangleWeights(int input_size, int output_size) {
  if (input_size < 1 || input_size > kMaxSize || output_size < 1 || output_size > kMaxSize) {
    throw ConfigError("cannot resize " + std::to_string(input_size) + " to " +
                      std::to_string(output_size) + " pixels: sizes must be in [1, 65536]");
  }
  const double scale = static_cast<double>(input_size) / output_size;
  const double width = std::max(scale, 1.0);
  AxisWeights axis;
  axis.first.resize(output_size);
  axis.count.resize(output_size);
  axis.taps = 0;
  for (int i = 0; i < output_size; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - width + 0.5), 0);
    const int last = std::min(static_cast<int>(centre + width + 0.5), input_size);
    axis.first[i] = first;
    axis.count[i] = last - first;
    axis.taps = std::max(axis.taps, last - first);
  }
  axis.weights.assign(static_cast<std::size_t>(output_size) * axis.taps, 0);
  for (int i = 0; i < output_size; ++i) {
    FillWeights((i + 0.5) * scale, width, axis.first[i], axis.count[i],
                axis.weights.data() + static_cast<std::size_t>(i) * axis.taps);
  }
  return axis;
}

Resize::Resize(int source_width, int source_height, int width, int height)
    : source_width_(source_width),
      source_height_(source_height),
      width_(width),
      vertical_(TriangleWeights(source_height, height)),
      horizontal_(TriangleWeights(source_width, width)) {}

std::size_t Resize::scratch_size() const { return 3 * static_cast<std::size_t>(source_width_) + 1; }

void Resize::Row(const Frame& frame, int row, std::uint16_t* scratch, std::uint8_t* output) const {
  const std::size_t offset = static_cast<std::size_t>(row) * vertical_.taps;
  VerticalBlocks(frame.data + vertical_.first[row] * frame.row_stride, frame.row_stride,
                 vertical_.weights.data() + offset, vertical_.count[row], 3 * source_width_,
                 scratch);
  HorizontalRow(scratch, horizontal_.first.data(), horizontal_.count.data(),
                horizontal_.weights.data(), horizontal_.taps, width_, output);
}

}  // namespace edge
