// Separable antialiased resize in fixed point, equal bit for bit to runtime/preprocess.py.
#pragma once

#include <cstdint>
#include <vector>

namespace edge {

// A borrowed uint8 image of interleaved BGR pixels; rows may lie any distance apart.
struct Frame {
  const std::uint8_t* data;
  int width;
  int height;
  std::int64_t row_stride;  // bytes from one row to the next; may be negative
};

// The triangle filter of one axis: output i is the sum over k < taps of
// weights[i * taps + k] * input[first[i] + k]. Each row of weights sums to 16384 (Q14).
struct AxisWeights {
  int taps;
  std::vector<std::int32_t> first;
  std::vector<std::int32_t> count;  // weights past count[i] are zero and their input is not read
  std::vector<std::int32_t> weights;
};

// Throws ConfigError unless both sizes are in [1, 65536].
AxisWeights TriangleWeights(int input_size, int output_size);

// The weights of one source size and one target size; immutable, so shared between threads.
class Resize {
 public:
  Resize(int source_width, int source_height, int width, int height);

  int source_width() const { return source_width_; }
  int source_height() const { return source_height_; }
  std::size_t scratch_size() const;

  // Computes one row of the result (width * 3 interleaved BGR bytes). `scratch` holds
  // scratch_size() elements and is the caller's, so that threads do not share it.
  void Row(const Frame& frame, int row, std::uint16_t* scratch, std::uint8_t* output) const;

 private:
  int source_width_;
  int source_height_;
  int width_;
  AxisWeights vertical_;
  AxisWeights horizontal_;
};

}  // namespace edge
