// From timed frames to clips: what the sampler says of each frame is done to the ring, and a
// decision is due every few samples. Both front ends use this class.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "runtime/native/clip-buffer.h"
#include "runtime/native/sampler.h"

namespace edge {

// Thread safety: none of its own.
class ClipAssembler {
 public:
  // A sample of the clip: which frame of the source it was taken from, and that frame's time.
  struct Origin {
    std::int64_t frame;
    double t;
  };

  // stride: samples from one decision to the next.
  ClipAssembler(std::shared_ptr<const Preprocess> preprocess, int num_frames, int stride);

  // Puts a frame into the clip as often as its sample says.
  // A sample that does not follow the last one (a reader was too slow) begins the clip anew; its
  // gap is not looked at: Flush is for the caller, who reports it.
  void Push(const Frame& frame, std::int64_t index, double t, const Sample& sample);
  // Empties the clip.
  void Flush();
  // Whether the clip is full and `stride` samples have come since the last decision.
  bool due() const;
  // Counts a decision for the samples so far, and returns how many were due before it and are lost.
  std::int64_t Decide();

  const ClipBuffer& buffer() const { return buffer_; }
  bool full() const { return buffer_.full(); }
  // Of the samples so far, oldest first.
  const std::deque<Origin>& origins() const { return origins_; }

 private:
  void Repeat(const Origin& origin);
  void Keep(const Origin& origin);

  ClipBuffer buffer_;
  int stride_;
  std::deque<Origin> origins_;
  std::int64_t filled_ = 0;
  std::int64_t decided_at_ = kNever;

  static constexpr std::int64_t kNever = -1;
};

}  // namespace edge
