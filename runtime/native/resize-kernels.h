// The two passes of the resize, in plain C++ and for AVX2; equal bit for bit.
#pragma once

#include <cstdint>

#include "runtime/native/resize-weights.h"

namespace edge {

// A borrowed uint8 image of interleaved BGR pixels; rows may lie any distance apart.
struct Frame {
  const std::uint8_t* data;
  int width;
  int height;
  std::int64_t row_stride;  // bytes from one row to the next; may be negative
};

// Elements that may be read, and do not matter, past a middle row.
constexpr int kMiddlePadding = 8;

struct ResizeKernels {
  const char* name;

  // Row `row` of the middle image, 3 * frame.width elements. An element is the value with 8
  // fractional bits less 32768: the fast multiplications take signed 16-bit numbers.
  void (*vertical)(const Frame& frame, const AxisWeights& axis, int row, std::int16_t* middle);

  // Two rows of the result, from two rows of the middle image. A pixel of the result is 4 bytes,
  // BGR and one that means nothing, since 4 are written as fast as 1.
  void (*horizontal)(const std::int16_t* const middle[2], const AxisWeights& axis,
                     std::uint8_t* const output[2]);
};

const ResizeKernels& PortableKernels();

// Null where they were not compiled or this processor cannot run them.
const ResizeKernels* Avx2Kernels();

}  // namespace edge
