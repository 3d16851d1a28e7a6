#include "runtime/native/resize.h"

namespace edge {

Resize::Resize(int source_width, int source_height, int width, int height,
               const ResizeKernels& kernels)
    : source_width_(source_width),
      source_height_(source_height),
      height_(height),
      kernels_(kernels),
      vertical_(TriangleWeights(source_height, height)),
      horizontal_(TriangleWeights(source_width, width)) {}

void Resize::Rows(const Frame& frame, int row, std::int16_t* scratch,
                  std::uint8_t* const output[2]) const {
  const bool last = row + 1 == height_;
  std::int16_t* const top = scratch;
  std::int16_t* const bottom = last ? top : top + middle_size();
  kernels_.vertical(frame, vertical_, row, top);
  if (!last) kernels_.vertical(frame, vertical_, row + 1, bottom);
  const std::int16_t* const middle[2] = {top, bottom};
  kernels_.horizontal(middle, horizontal_, output);
}

}  // namespace edge
