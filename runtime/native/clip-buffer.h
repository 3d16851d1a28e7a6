// The last T preprocessed frames, always one contiguous clip.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/native/preprocess.h"

namespace edge {

// A mirrored ring: every sample is written at slot i and at slot i + T, so the T newest samples lie
// side by side wherever the ring stands, and a clip is a pointer, not a copy.
//
// Thread safety: calls are serialised by the buffer's mutex. What clip() points at lives as long as
// the buffer, and is changed by the next Push or Repeat.
class ClipBuffer {
 public:
  // Throws ConfigError unless num_frames is in [1, 256].
  ClipBuffer(std::shared_ptr<const Preprocess> preprocess, int num_frames);

  const Preprocess& preprocess() const { return *preprocess_; }
  int num_frames() const { return num_frames_; }
  int count() const;
  bool full() const { return count() == num_frames_; }

  void Push(const Frame& frame);
  // Takes the newest sample once more: a variable-rate source gave no newer frame in time.
  // Throws ConfigError when there is none.
  void Repeat();
  void Flush();
  // (T, 3, H, W) floats, oldest first. Throws ConfigError until full.
  const float* clip() const;
  // Serial number of the oldest sample; the others follow without a hole. No two samples of a
  // process have the same number, whatever buffer they are in.
  std::int64_t first() const;
  // Which buffer of the process a sample's number is of.
  static std::int64_t BufferOf(std::int64_t serial) { return serial >> kSerialBits; }

 private:
  // 2^40 samples at 30 a second are a thousand years of one buffer.
  static constexpr int kSerialBits = 40;

  static std::int64_t FirstSerial();
  float* Slot(std::int64_t index) { return samples_.data() + index * sample_size_; }
  void Advance(const float* source);

  std::shared_ptr<const Preprocess> preprocess_;
  int num_frames_;
  std::int64_t sample_size_;
  std::vector<float> samples_;
  mutable std::mutex mutex_;
  int next_ = 0;  // slot of the next sample, in [0, T)
  int count_ = 0;
  std::int64_t serial_;  // of the next sample
};

}  // namespace edge
