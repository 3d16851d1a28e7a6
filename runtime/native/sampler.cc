#include "runtime/native/sampler.h"

#include <algorithm>
#include <cmath>

#include "runtime/native/errors.h"

namespace edge {

// Every operation below is in the order of runtime/sampler.py: both must choose the same frames.

Sampler::Sampler(int sampling_rate, double fps)
    : period_s_(sampling_rate / fps), max_gap_s_(std::max(0.5, 2 * period_s_)) {}

Sample Sampler::First(double t, bool gap) {
  origin_ = prev_ = newest_ = t;
  last_interval_ = std::numeric_limits<double>::infinity();
  filled_ = 1;
  return {0, 1, 1, gap};
}

Sample Sampler::Offer(double t) {
  if (!std::isfinite(t)) throw CaptureError("a frame has no finite time");
  if (filled_ == 0) return First(t, false);
  const double interval = t - prev_;
  if (interval < 0 || interval > max_gap_s_) return First(t, true);
  if (interval == 0) return {0, 0, filled_, false};
  const double reach = t + 0.5 * std::min(interval, last_interval_);
  last_interval_ = interval;
  prev_ = t;
  Sample sample{0, 0, 0, false};
  while (true) {
    const double point = origin_ + static_cast<double>(filled_) * period_s_;
    if (!(point <= reach)) break;
    point - newest_ < t - point ? ++sample.repeats : ++sample.takes;
    ++filled_;
  }
  if (sample.takes > 0) newest_ = t;
  sample.filled = filled_;
  return sample;
}

}  // namespace edge
