#include "runtime/native/sampler.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "runtime/native/errors.h"
#include "runtime/native/text.h"

namespace edge {
namespace {

constexpr double kMinGapS = 0.5;

double Positive(const char* name, double value) {
  if (std::isfinite(value) && value > 0) return value;
  std::ostringstream text;
  text << name << " is " << value << "; it must be a number above 0";
  throw ConfigError(text.str());
}

}  // namespace

Sampler::Sampler(double sampling_rate, double fps, std::optional<double> max_gap_s)
    : period_s_(Positive("sampling_rate", sampling_rate) / Positive("fps", fps)),
      max_gap_s_(max_gap_s ? Positive("max_gap_s", *max_gap_s)
                           : std::max(kMinGapS, 2 * period_s_)) {}

bool Sampler::slow() const {
  return std::isfinite(interval_s_) && interval_s_ > period_s_ * (1 + 1e-6);
}

Sample Sampler::First(double t, std::string gap) {
  origin_ = prev_ = newest_ = t;
  last_interval_s_ = interval_s_ = kInfinite;
  filled_ = 1;
  gaps_ += gap.empty() ? 0 : 1;
  return {0, 1, 1, std::move(gap)};
}

Sample Sampler::Offer(double t) {
  if (!std::isfinite(t)) {
    throw ConfigError("a frame has a time that is not a finite number of seconds");
  }
  if (filled_ == 0) return First(t, "");
  const double d = t - prev_;
  if (d < 0) return First(t, "time went back by " + Fixed(-d, 3) + " s");
  if (d > max_gap_s_) {
    return First(t, "no frame for " + Fixed(d, 2) + " s (limit " + Fixed(max_gap_s_, 2) + " s)");
  }
  if (d == 0) return {0, 0, filled_, ""};
  interval_s_ = std::min(d, last_interval_s_);
  const double reach = t + 0.5 * interval_s_;
  last_interval_s_ = d;
  prev_ = t;
  Sample sample;
  while (true) {
    const double point = origin_ + static_cast<double>(filled_) * period_s_;
    if (!(point <= reach)) break;
    point - newest_ < t - point ? ++sample.repeats : ++sample.takes;
    ++filled_;
  }
  if (sample.takes > 0) newest_ = t;
  sample.filled = filled_;
  repeated_ += sample.repeats + std::max(0, sample.takes - 1);
  return sample;
}

}  // namespace edge
