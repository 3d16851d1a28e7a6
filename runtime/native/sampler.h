// Chooses by time which frames of a source become the samples of a clip; the rule is in
// runtime/sampler.py. Both front ends use this class.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace edge {

// What one frame means for the clip.
struct Sample {
  int repeats = 0;          // the newest sample again, this often, before this frame
  int takes = 0;            // this frame, this often
  std::int64_t filled = 0;  // grid points since the last restart, after this frame
  std::string gap;          // why the clip so far is void; empty where it is not

  bool wanted() const { return takes > 0 || repeats > 0 || !gap.empty(); }
};

// Thread safety: none of its own.
class Sampler {
 public:
  // max_gap_s: the longest time between two frames of one clip; by default the larger of 0.5 s and
  // two periods. Throws ConfigError when a value is no number above 0.
  Sampler(double sampling_rate, double fps, std::optional<double> max_gap_s = std::nullopt);

  double period_s() const { return period_s_; }
  double max_gap_s() const { return max_gap_s_; }
  // The smaller of the last two intervals, seconds; infinite before there are any.
  double interval_s() const { return interval_s_; }
  // Whether frames come further apart than the clip's samples; one late frame is not enough.
  bool slow() const;
  std::int64_t repeated() const { return repeated_; }
  std::int64_t gaps() const { return gaps_; }

  // Forgets the frames so far; the next one is the first sample of a new clip.
  void Restart() { filled_ = 0; }
  // t: seconds on the source's clock. Throws ConfigError when it is not finite.
  Sample Offer(double t);

 private:
  static constexpr double kInfinite = std::numeric_limits<double>::infinity();

  Sample First(double t, std::string gap);

  double period_s_;
  double max_gap_s_;
  std::int64_t repeated_ = 0;
  std::int64_t gaps_ = 0;
  std::int64_t filled_ = 0;
  double origin_ = 0.0;
  double prev_ = 0.0;
  double newest_ = 0.0;
  double last_interval_s_ = kInfinite;
  double interval_s_ = kInfinite;
};

}  // namespace edge
