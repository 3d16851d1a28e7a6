// The time of each frame of a file: the file's own clock, repaired where it is silent. The rule is
// that of MediaClock in runtime/sources/media_clock.py.
#pragma once

#include <cmath>
#include <optional>
#include <string>

#include "runtime/native/text.h"

namespace edge {

class MediaClock {
 public:
  // interval_s: the time between two frames where the file gives none.
  explicit MediaClock(double interval_s) : interval_s_(interval_s) {}

  // Tells whether a position of 0 may be a time, or OpenCV's word for a time that it does not know:
  // the position of the frame behind it, given to Stamp, decides.
  bool Doubts(double position) const { return position == 0 && last_ && IsJump(position); }

  // Returns the next frame's time, seconds; `jump` says how far the clock jumped, else it is empty.
  // following: the position of the frame behind it, where Doubts asked for it.
  double Stamp(double position, std::string* jump, double following = 0.0) {
    jump->clear();
    const bool usable = std::isfinite(position) && position >= 0;
    if (!last_) {
      last_ = usable ? position : 0.0;
      return *last_;
    }
    // Behind the first frame of another recording comes its second.
    const bool begins = following > 0 && following <= kJumpIntervals * interval_s_;
    if (usable && IsJump(position) && (position > 0 || begins)) {
      *jump =
          "the file's clock jumps from " + Fixed(*last_, 2) + " s to " + Fixed(position, 2) + " s";
    }
    const bool take = usable && (!jump->empty() || position > *last_);
    last_ = take ? position : *last_ + interval_s_;
    return *last_;
  }

 private:
  // A clock that goes back by more than this was set anew: what follows is of another time.
  static constexpr double kJumpIntervals = 5.0;

  bool IsJump(double position) const { return position < *last_ - kJumpIntervals * interval_s_; }

  double interval_s_;
  std::optional<double> last_;
};

}  // namespace edge
