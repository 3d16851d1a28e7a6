#include "runtime/native/video.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <vector>

#include "runtime/native/errors.h"

#ifdef EDGE_WITH_OPENCV
#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>
#endif

namespace edge {
namespace {

class StdinReader : public FrameReader {
 public:
  StdinReader(int width, int height, double fps)
      : width_(width),
        height_(height),
        fps_(fps),
        pixels_(3 * static_cast<std::size_t>(width) * height) {}

  bool Read(TimedFrame* frame) override {
    double time = 0.0;
    const bool timed = fps_ == 0 && std::fread(&time, sizeof(time), 1, stdin) == 1;
    const std::size_t got = std::fread(pixels_.data(), 1, pixels_.size(), stdin);
    if (got == 0 && !timed) {
      if (index_ == 0) throw CaptureError("no frame came on stdin");
      return false;
    }
    if (got != pixels_.size()) {
      throw CaptureError("stdin ended within a frame: " + std::to_string(got) + " of " +
                         std::to_string(pixels_.size()) + " bytes; does the size of --raw fit?");
    }
    frame->frame = {pixels_.data(), width_, height_, 3 * static_cast<std::int64_t>(width_)};
    frame->t = timed ? time : static_cast<double>(index_) / fps_;
    ++index_;
    return true;
  }

 private:
  int width_;
  int height_;
  double fps_;
  std::vector<std::uint8_t> pixels_;
  std::int64_t index_ = 0;
};

#ifdef EDGE_WITH_OPENCV
class VideoReader : public FrameReader {
 public:
  VideoReader(const std::string& source, double fps) : source_(source) {
    if (source.find("://") == std::string::npos && !std::ifstream(source)) {
      throw CaptureError("no such file: " + source);
    }
    capture_.open(source, cv::CAP_FFMPEG);
    if (!capture_.isOpened()) {
      throw CaptureError(source + " cannot be opened as a video: it is damaged, or no video");
    }
    const double stated = capture_.get(cv::CAP_PROP_FPS);
    interval_s_ = 1.0 / (stated > 0 && stated <= 1000 ? stated : fps);
  }

  bool Read(TimedFrame* frame) override {
    if (!capture_.read(image_) || image_.empty()) {
      if (count_ == 0) throw CaptureError(source_ + " gives no frame: it is damaged, or no video");
      return false;
    }
    if (image_.type() != CV_8UC3) throw CaptureError(source_ + " gives no 8-bit BGR frames");
    frame->frame = {image_.data, image_.cols, image_.rows, static_cast<std::int64_t>(image_.step)};
    frame->t = Stamp(capture_.get(cv::CAP_PROP_POS_MSEC) / 1000.0);
    return true;
  }

 private:
  // As MediaClock of runtime/sources/grabber.py: time never stands still nor goes back.
  double Stamp(double position) {
    const bool usable = std::isfinite(position) && position >= 0;
    if (count_++ == 0) {
      last_s_ = usable ? position : 0.0;
    } else if (usable && position > last_s_) {
      last_s_ = position;
    } else {
      last_s_ += interval_s_;
    }
    return last_s_;
  }

  std::string source_;
  double interval_s_ = 0.0;
  double last_s_ = 0.0;
  cv::VideoCapture capture_;
  cv::Mat image_;
  std::int64_t count_ = 0;
};
#endif

}  // namespace

std::unique_ptr<FrameReader> OpenStdin(int width, int height, double fps) {
  return std::make_unique<StdinReader>(width, height, fps);
}

std::unique_ptr<FrameReader> OpenVideo(const std::string& source, [[maybe_unused]] double fps) {
#ifdef EDGE_WITH_OPENCV
  return std::make_unique<VideoReader>(source, fps);
#else
  throw ConfigError("this edge_runner was built without OpenCV and cannot open " + source +
                    ": pipe frames to --raw, or install libopencv-dev and build again");
#endif
}

}  // namespace edge
