// Where edge_runner's frames come from.
#pragma once

#include <memory>
#include <string>

#include "runtime/native/resize.h"

namespace edge {

struct TimedFrame {
  Frame frame;         // borrowed until the next Read
  double t;            // media time, seconds
  std::string jump{};  // how far the source's clock jumped before this frame; else empty
  std::string note{};  // to be said once, of the source; else empty
};

class FrameReader {
 public:
  virtual ~FrameReader() = default;
  // False at the end, and where a signal came. Throws CaptureError.
  virtual bool Read(TimedFrame* frame) = 0;
};

// Raw BGR24 frames on stdin, of a constant rate; with fps 0 each has its time before it, seconds as
// a double in this machine's byte order.
std::unique_ptr<FrameReader> OpenStdin(int width, int height, double fps);
// A video through OpenCV; fps serves where the container gives no time. Throws ConfigError in a
// build without OpenCV, CaptureError when it does not open.
std::unique_ptr<FrameReader> OpenVideo(const std::string& source, double fps);

}  // namespace edge
