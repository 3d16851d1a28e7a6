// Separable antialiased resize in fixed point, equal bit for bit to runtime/preprocess.py.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/native/resize-kernels.h"
#include "runtime/native/resize-weights.h"

namespace edge {

// The weights of one source size and one target size; immutable, so shared between threads.
class Resize {
 public:
  Resize(int source_width, int source_height, int width, int height, const ResizeKernels& kernels);

  int source_width() const { return source_width_; }
  int source_height() const { return source_height_; }

  // Elements of the scratch that Rows() needs. It is the caller's, so that threads do not share it.
  std::size_t scratch_size() const { return 2 * middle_size(); }

  // Computes rows `row` and `row + 1` of the result, 4 * width bytes each: BGR and one byte that
  // means nothing. Past the last row, the second output repeats it.
  void Rows(const Frame& frame, int row, std::int16_t* scratch,
            std::uint8_t* const output[2]) const;

 private:
  std::size_t middle_size() const {
    return 3 * static_cast<std::size_t>(source_width_) + kMiddlePadding;
  }

  int source_width_;
  int source_height_;
  int height_;
  const ResizeKernels& kernels_;
  AxisWeights vertical_;
  AxisWeights horizontal_;
};

}  // namespace edge
