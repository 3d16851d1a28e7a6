// The triangle filter of one axis in fixed point, equal bit for bit to runtime/preprocess.py.
#pragma once

#include <cstdint>
#include <vector>

namespace edge {

// Output i is the sum over k < count[i] of weights[i * stride + k] * input[first[i] + k]. Each row
// of weights sums to 16384 (Q14), so that a flat image stays flat. The stride is even and weights
// past count[i] are zero: kernels may take taps two by two.
struct AxisWeights {
  int stride;
  std::vector<std::int32_t> first;
  std::vector<std::int32_t> count;
  std::vector<std::int16_t> weights;
};

// Throws ConfigError unless both sizes are in [1, 65536].
AxisWeights TriangleWeights(int input_size, int output_size);

}  // namespace edge
