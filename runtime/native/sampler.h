// Chooses by time which frames become the samples of a clip: the rule of runtime/sampler.py.
#pragma once

#include <cstdint>
#include <limits>

namespace edge {

// What one frame means for the clip.
struct Sample {
  int repeats;  // the newest sample again, this often, before this frame
  int takes;    // this frame, this often
  std::int64_t filled;
  bool gap;  // the clip so far is void
};

class Sampler {
 public:
  Sampler(int sampling_rate, double fps);

  double period_s() const { return period_s_; }
  // t: seconds on the source's clock. Throws CaptureError when it is not finite.
  Sample Offer(double t);

 private:
  Sample First(double t, bool gap);

  double period_s_;
  double max_gap_s_;
  std::int64_t filled_ = 0;
  double origin_ = 0.0;
  double prev_ = 0.0;
  double newest_ = 0.0;
  double last_interval_ = std::numeric_limits<double>::infinity();
};

}  // namespace edge
