#include "runtime/native/resize-weights.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "runtime/native/errors.h"

namespace edge {
namespace {

constexpr int kMaxSize = 65536;
constexpr int kOne = 16384;  // 1.0 in Q14

// Writes one row of Q14 weights; the same operations in the same order as the NumPy twin.
void FillWeights(double centre, double width, int first, int count, std::int16_t* output) {
  std::vector<double> values(count);
  double total = 0.0;
  for (int k = 0; k < count; ++k) {
    const double distance = ((first + k) - centre + 0.5) / width;
    values[k] = std::max(0.0, 1.0 - std::abs(distance));
    total += values[k];
  }
  int sum = 0;
  for (int k = 0; k < count; ++k) {
    output[k] = static_cast<std::int16_t>(std::floor(values[k] / total * kOne + 0.5));
    sum += output[k];
  }
  std::int16_t* largest = std::max_element(output, output + count);
  *largest = static_cast<std::int16_t>(*largest + kOne - sum);
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
  int taps = 0;
  for (int i = 0; i < output_size; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - width + 0.5), 0);
    const int last = std::min(static_cast<int>(centre + width + 0.5), input_size);
    axis.first[i] = first;
    axis.count[i] = last - first;
    taps = std::max(taps, last - first);
  }
  axis.stride = taps + taps % 2;
  axis.weights.assign(static_cast<std::size_t>(output_size) * axis.stride, 0);
  for (int i = 0; i < output_size; ++i) {
    FillWeights((i + 0.5) * scale, width, axis.first[i], axis.count[i],
                axis.weights.data() + static_cast<std::size_t>(i) * axis.stride);
  }
  return axis;
}

}  // namespace edge
