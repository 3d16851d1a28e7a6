#include "runtime/native/clip-buffer.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "runtime/native/errors.h"

namespace edge {

std::int64_t ClipBuffer::FirstSerial() {
  static std::atomic<std::int64_t> buffers{0};
  return buffers.fetch_add(1) << kSerialBits;
}

ClipBuffer::ClipBuffer(std::shared_ptr<const Preprocess> preprocess, int num_frames)
    : preprocess_(std::move(preprocess)),
      num_frames_(num_frames),
      sample_size_(static_cast<std::int64_t>(preprocess_->plane_count())),
      serial_(FirstSerial()) {
  if (num_frames < 1 || num_frames > 256) {
    throw ConfigError("num_frames is " + std::to_string(num_frames) + ", expected 1 to 256");
  }
  samples_.resize(2 * static_cast<std::size_t>(num_frames) * sample_size_);
}

int ClipBuffer::count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return count_;
}

void ClipBuffer::Push(const Frame& frame) {
  const std::lock_guard<std::mutex> lock(mutex_);
  preprocess_->Run(frame, Slot(next_));  // throws before it writes, or not at all
  Advance(Slot(next_));
}

void ClipBuffer::Repeat() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (count_ == 0) throw ConfigError("the clip buffer is empty: there is no sample to repeat");
  Advance(Slot((next_ + num_frames_ - 1) % num_frames_));
}

void ClipBuffer::Advance(const float* source) {
  float* slot = Slot(next_);
  if (source != slot) std::copy(source, source + sample_size_, slot);
  std::copy(source, source + sample_size_, Slot(next_ + num_frames_));
  next_ = (next_ + 1) % num_frames_;
  count_ = std::min(count_ + 1, num_frames_);
  ++serial_;
}

void ClipBuffer::Flush() {
  const std::lock_guard<std::mutex> lock(mutex_);
  next_ = 0;
  count_ = 0;
}

std::int64_t ClipBuffer::first() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return serial_ - count_;
}

const float* ClipBuffer::clip() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (count_ < num_frames_) {
    throw ConfigError("the clip buffer holds " + std::to_string(count_) + " of " +
                      std::to_string(num_frames_) + " samples: wait until it is full");
  }
  return samples_.data() + next_ * sample_size_;
}

}  // namespace edge
