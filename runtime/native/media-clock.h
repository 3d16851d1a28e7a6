// The time of each frame of a file: the file's own clock, repaired where it is silent. The rule is
// that of MediaClock in runtime/sources/grabber.py.
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

  // Returns the next frame's time, seconds; `jump` says how far the clock jumped, else it is empty.
  double Stamp(double position, std::string* jump) {
    // A clock that goes back by more than this was set anew: what follows is of another time.
    constexpr double kJumpIntervals = 5.0;
    jump->clear();
    const bool usable = std::isfinite(position) && position >= 0;
    if (!last_) {
      last_ = usable ? position : 0.0;
      return *last_;
    }
    // OpenCV says 0 where it knows no time: a new beginning shows in the frame behind it.
    if (usable && position > 0 && position < *last_ - kJumpIntervals * interval_s_) {
      *jump =
          "the file's clock jumps from " + Fixed(*last_, 2) + " s to " + Fixed(position, 2) + " s";
    }
    const bool take = usable && (!jump->empty() || position > *last_);
    last_ = take ? position : *last_ + interval_s_;
    return *last_;
  }

 private:
  double interval_s_;
  std::optional<double> last_;
};

}  // namespace edge
