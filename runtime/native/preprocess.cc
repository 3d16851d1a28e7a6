#include "runtime/native/preprocess.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "runtime/native/errors.h"

namespace edge {
namespace {

constexpr std::size_t kMaxPlans = 4;

void CheckFrame(const Frame& frame) {
  if (frame.data == nullptr || frame.width < 1 || frame.height < 1) {
    throw ConfigError("a frame of " + std::to_string(frame.width) + "x" +
                      std::to_string(frame.height) + " pixels has nothing to resize");
  }
}

const ResizeKernels& ChooseKernels(bool portable) {
  const ResizeKernels* fast = portable ? nullptr : Avx2Kernels();
  return fast != nullptr ? *fast : PortableKernels();
}

}  // namespace

Preprocess::Preprocess(int height, int width, const std::array<double, 3>& mean,
                       const std::array<double, 3>& std, bool portable)
    : height_(height), width_(width), kernels_(ChooseKernels(portable)) {
  if (height < 1 || width < 1 || height > 4096 || width > 4096) {
    throw ConfigError("a network input of " + std::to_string(width) + "x" + std::to_string(height) +
                      " pixels is not in [1, 4096]");
  }
  for (int channel = 0; channel < 3; ++channel) {
    if (!std::isfinite(mean[channel]) || !std::isfinite(std[channel]) || std[channel] <= 0) {
      throw ConfigError("mean must be finite and std finite and above 0 for every channel");
    }
    for (int value = 0; value < 256; ++value) {
      table_[channel][value] = static_cast<float>((value / 255.0 - mean[channel]) / std[channel]);
    }
  }
}

std::shared_ptr<const Resize> Preprocess::PlanFor(const Frame& frame) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto plan = plans_.begin(); plan != plans_.end(); ++plan) {
    if ((*plan)->source_width() == frame.width && (*plan)->source_height() == frame.height) {
      plans_.splice(plans_.begin(), plans_, plan);
      return plans_.front();
    }
  }
  plans_.push_front(
      std::make_shared<const Resize>(frame.width, frame.height, width_, height_, kernels_));
  if (plans_.size() > kMaxPlans) plans_.pop_back();
  return plans_.front();
}

// Calls store(row, pixels) for each row of the result, with pixels of 4 bytes.
template <typename StoreRow>
void Preprocess::ForEachRow(const Frame& frame, StoreRow store) const {
  CheckFrame(frame);
  const std::shared_ptr<const Resize> plan = PlanFor(frame);
  const std::size_t row_size = 4 * static_cast<std::size_t>(width_);
  std::vector<std::int16_t> scratch(plan->scratch_size());
  std::vector<std::uint8_t> pixels(2 * row_size);
  std::uint8_t* const rows[2] = {pixels.data(), pixels.data() + row_size};
  for (int row = 0; row < height_; row += 2) {
    plan->Rows(frame, row, scratch.data(), rows);
    store(row, rows[0]);
    if (row + 1 < height_) store(row + 1, rows[1]);
  }
}

void Preprocess::Run(const Frame& frame, float* output) const {
  const std::size_t plane = static_cast<std::size_t>(height_) * width_;
  ForEachRow(frame, [&](int row, const std::uint8_t* pixel) {
    float* red = output + static_cast<std::size_t>(row) * width_;
    float* green = red + plane;
    float* blue = green + plane;
    for (int x = 0; x < width_; ++x, pixel += 4) {
      blue[x] = table_[2][pixel[0]];
      green[x] = table_[1][pixel[1]];
      red[x] = table_[0][pixel[2]];
    }
  });
}

void Preprocess::ResizeOnly(const Frame& frame, std::uint8_t* output) const {
  ForEachRow(frame, [&](int row, const std::uint8_t* pixel) {
    std::uint8_t* target = output + 3 * static_cast<std::size_t>(row) * width_;
    for (int x = 0; x < width_; ++x, pixel += 4, target += 3) std::copy(pixel, pixel + 3, target);
  });
}

}  // namespace edge
