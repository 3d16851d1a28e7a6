// From a camera's frame to the network's planes: resize, BGR to RGB, normalise.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>

#include "runtime/native/resize.h"

namespace edge {

// Thread safety: calls may run at the same time; they share only the weights, under a mutex.
class Preprocess {
 public:
  // mean and std: RGB, in units of a [0, 1] pixel. portable: use the plain kernels even where this
  // processor has faster ones; the result is the same. Throws ConfigError.
  Preprocess(int height, int width, const std::array<double, 3>& mean,
             const std::array<double, 3>& std, bool portable = false);

  int height() const { return height_; }
  int width() const { return width_; }
  const char* kernels() const { return kernels_.name; }  // "avx2" or "portable"
  std::size_t plane_count() const { return 3 * static_cast<std::size_t>(height_) * width_; }

  // Writes (3, height, width) RGB floats.
  void Run(const Frame& frame, float* output) const;
  // Writes (height, width, 3) BGR bytes: the first half of Run alone.
  void ResizeOnly(const Frame& frame, std::uint8_t* output) const;

 private:
  std::shared_ptr<const Resize> PlanFor(const Frame& frame) const;
  template <typename StoreRow>
  void ForEachRow(const Frame& frame, StoreRow store) const;

  int height_;
  int width_;
  const ResizeKernels& kernels_;
  std::array<std::array<float, 256>, 3> table_;  // by RGB channel
  mutable std::mutex mutex_;
  mutable std::list<std::shared_ptr<const Resize>> plans_;  // newest first, a few sizes
};

}  // namespace edge
