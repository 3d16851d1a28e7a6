#include "runtime/native/clip-assembler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "runtime/native/errors.h"

namespace edge {

ClipAssembler::ClipAssembler(std::shared_ptr<const Preprocess> preprocess, int num_frames,
                             int stride)
    : buffer_(std::move(preprocess), num_frames), stride_(stride) {
  if (stride < 1) {
    throw ConfigError("stride is " + std::to_string(stride) + " samples, expected 1 or more");
  }
}

void ClipAssembler::Push(const Frame& frame, std::int64_t index, double t, const Sample& sample) {
  if (sample.takes == 0 && sample.repeats == 0) return;
  const std::int64_t before = sample.filled - sample.takes - sample.repeats;
  if (filled_ != 0 && before != filled_) {
    buffer_.Flush();
    origins_.clear();
  }
  filled_ = sample.filled;
  for (int i = 0; i < sample.repeats && !origins_.empty(); ++i) Repeat(origins_.back());
  for (int i = 0; i < sample.takes; ++i) {
    if (i > 0) {
      Repeat({index, t});
    } else {
      buffer_.Push(frame);
      Keep({index, t});
    }
  }
}

void ClipAssembler::Repeat(const Origin& origin) {
  buffer_.Repeat();
  Keep(origin);
}

void ClipAssembler::Keep(const Origin& origin) {
  if (static_cast<int>(origins_.size()) == buffer_.num_frames()) origins_.pop_front();
  origins_.push_back(origin);
}

void ClipAssembler::Flush() {
  buffer_.Flush();
  origins_.clear();
  filled_ = 0;
  decided_at_ = kNever;
}

bool ClipAssembler::due() const {
  return full() && (decided_at_ == kNever || filled_ - decided_at_ >= stride_);
}

std::int64_t ClipAssembler::Decide() {
  const std::int64_t due = decided_at_ == kNever ? 1 : (filled_ - decided_at_) / stride_;
  decided_at_ = filled_;
  return std::max<std::int64_t>(0, due - 1);
}

}  // namespace edge
