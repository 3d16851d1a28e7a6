#include "runtime/native/video.h"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

#include "runtime/native/addresses.h"
#include "runtime/native/errors.h"
#include "runtime/native/media-clock.h"
#include "runtime/native/picture-format.h"
#include "runtime/native/stopping.h"

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
    if (Stopped()) return false;
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
// Of one frame: twice 8K video, as runtime/sources/quiet.py has it.
constexpr double kMaxPixels = 1 << 26;

// Reads the packets of a file beside the reader of its frames, undecoded, for what OpenCV does not
// tell: a picture of another size or colour format, which it shows wrongly, and interlacing.
class FormatWatch {
 public:
  // width and height: as the reader has them. Does nothing where it does not know the codec.
  FormatWatch(const std::string& path, int width, int height) : width_(width), height_(height) {
    packets_.open(path, cv::CAP_FFMPEG);
    open_ = packets_.isOpened() && packets_.set(cv::CAP_PROP_FORMAT, -1);
  }

  // Reads some packets more than there were frames; with frames < 0, all. Says in words what came
  // that the reader shows wrongly, else nothing.
  std::string Advance(std::int64_t frames) {
    // A packet is a frame, but for those that are damaged: the change must not come unseen.
    constexpr std::int64_t kAhead = 16;
    while (open_ && (frames < 0 || count_ < frames + kAhead)) {
      if (!packets_.read(packet_) || packet_.empty()) break;
      // Packets before the first keyframe are no frames.
      if (count_ == 0 && packets_.get(cv::CAP_PROP_LRF_HAS_KEY_FRAME) == 0) continue;
      ++count_;
      bytes_ += packet_.total();
      const std::string change = Check(FindFormat(packet_.data, packet_.total()));
      if (!change.empty()) return change;
    }
    return "";
  }

  // Whether a picture was coded as interlaced.
  bool interlaced() const { return interlaced_; }

 private:
  std::string Check(const std::optional<PictureFormat>& found) {
    // So many without a header are of a codec that is not known here.
    constexpr std::size_t kMostBytes = 1 << 24;
    if (!found) {
      if (!first_ && bytes_ > kMostBytes) open_ = false;
      return "";
    }
    if (!first_) {
      first_ = found;
      open_ = found->width == width_ && found->height == height_;
    }
    if (!open_) return "";
    interlaced_ = interlaced_ || found->interlaced;
    if (found->SameLayout(*first_)) return "";
    open_ = false;
    return "from about frame " + std::to_string(count_ - 1) + " on its pictures are " +
           found->ToText() + " (before: " + first_->ToText() + ")";
  }

  int width_;
  int height_;
  cv::VideoCapture packets_;
  cv::Mat packet_;
  std::optional<PictureFormat> first_;
  std::int64_t count_ = 0;
  std::size_t bytes_ = 0;
  bool open_ = false;
  bool interlaced_ = false;
};

class VideoReader : public FrameReader {
 public:
  VideoReader(const std::string& source, double fps) : source_(Redact(source)) {
    const bool file = source.find("://") == std::string::npos;
    if (file && !std::ifstream(source)) throw CaptureError("no such file: " + source_);
    if (file) source_ = source;  // which has no secrets
    // With its folder in front no part of a name is taken for a protocol.
    const std::string path = file ? std::filesystem::absolute(source).string() : source;
    capture_.open(path, cv::CAP_FFMPEG);
    if (!capture_.isOpened()) {
      throw CaptureError(source_ + " cannot be opened as a video: it is damaged, or no video");
    }
    const double width = capture_.get(cv::CAP_PROP_FRAME_WIDTH);
    const double height = capture_.get(cv::CAP_PROP_FRAME_HEIGHT);
    if (width * height > kMaxPixels) {
      throw CaptureError(source_ + ": its frames have " + std::to_string(int(width)) + "x" +
                         std::to_string(int(height)) +
                         " pixels, more than 67 million; make them smaller (ffmpeg -vf "
                         "scale=1920:-2)");
    }
    // Versions differ in what they do unasked (opencv#26795), and 4.6 turns the wrong way.
    turned_by_us_ = capture_.set(cv::CAP_PROP_ORIENTATION_AUTO, 0);
    RefuseDeepGrey();
    // A pipe can be read once; a second connection to a camera may be one too many.
    if (file && std::filesystem::is_regular_file(source)) {
      watch_.emplace(path, static_cast<int>(width), static_cast<int>(height));
    } else {
      NoteStreamHeader();
    }
    const double stated = capture_.get(cv::CAP_PROP_FPS);
    clock_.emplace(1.0 / (stated > 0 && stated <= 1000 ? stated : fps));
  }

  bool Read(TimedFrame* frame) override {
    if (watch_) RefuseChange(watch_->Advance(count_));
    const bool grabbed = grabbed_ || capture_.grab();
    grabbed_ = false;
    if (!grabbed || !capture_.retrieve(image_) || image_.empty()) {
      if (count_ == 0) throw CaptureError(source_ + " gives no frame: it is damaged, or no video");
      if (watch_) RefuseChange(watch_->Advance(-1));
      return false;
    }
    if (turned_by_us_) Turn();
    if (image_.type() != CV_8UC3) throw CaptureError(source_ + " gives no 8-bit BGR frames");
    frame->frame = {image_.data, image_.cols, image_.rows, static_cast<std::int64_t>(image_.step)};
    const double position = PositionS();
    double following = 0.0;
    if (clock_->Doubts(position)) {
      grabbed_ = capture_.grab();
      if (grabbed_) following = PositionS();
    }
    frame->t = clock_->Stamp(position, &frame->jump, following);
    frame->note = Note();
    ++count_;
    return true;
  }

 private:
  // Measured values of more than 8 bits, as a thermal camera's: OpenCV keeps the upper 8, of which
  // they use a few.
  void RefuseDeepGrey() {
    const auto tag = static_cast<std::int64_t>(capture_.get(cv::CAP_PROP_CODEC_PIXEL_FORMAT));
    const int bits = DeepGreyBits(static_cast<std::uint32_t>(tag));
    if (bits == 0) return;
    throw CaptureError(source_ + ": its pixels are grey values of " + std::to_string(bits) +
                       " bits, of which OpenCV keeps the upper 8: a thermal picture becomes nearly "
                       "black; stretch them (ffmpeg -i IN -vf normalize,format=yuv420p OUT.mp4), "
                       "or use `edge run`, which does");
  }

  void RefuseChange(const std::string& change) {
    if (change.empty()) return;
    throw CaptureError(source_ + ": " + change +
                       ", which OpenCV shows wrongly; make them alike (ffmpeg -i IN -vf "
                       "bwdif=send_frame:deint=interlaced,format=yuv420p OUT.mp4), or use `edge "
                       "run`, which reads them");
  }

  void NoteStreamHeader() {
    const int index = static_cast<int>(capture_.get(cv::CAP_PROP_CODEC_EXTRADATA_INDEX));
    cv::Mat header;
    if (index <= 0 || !capture_.retrieve(header, index) || header.empty()) return;
    const std::optional<PictureFormat> format = FindFormat(header.data, header.total());
    interlaced_ = format && format->interlaced;
  }

  std::string Note() {
    if (noted_ || !(interlaced_ || (watch_ && watch_->interlaced()))) return "";
    noted_ = true;
    return source_ +
           ": it is coded as interlaced, and OpenCV does not deinterlace: people who move may be "
           "missed; convert it (ffmpeg -i IN -vf bwdif=send_frame OUT.mp4), or use `edge run`, "
           "which deinterlaces";
  }

  double PositionS() { return capture_.get(cv::CAP_PROP_POS_MSEC) / 1000.0; }

  // Turns the picture clockwise by what the file asks for.
  void Turn() {
    // Up to 4.6 the angle is that of the other direction (opencv#22088).
    constexpr bool kReversed = CV_VERSION_MAJOR == 4 && CV_VERSION_MINOR < 7;
    const int angle = static_cast<int>(capture_.get(cv::CAP_PROP_ORIENTATION_META));
    if (angle == 180) {
      cv::rotate(image_, turned_, cv::ROTATE_180);
    } else if (angle == 90 || angle == 270) {
      const bool clockwise = (angle == 90) != kReversed;
      cv::rotate(image_, turned_,
                 clockwise ? cv::ROTATE_90_CLOCKWISE : cv::ROTATE_90_COUNTERCLOCKWISE);
    } else {
      return;
    }
    cv::swap(image_, turned_);
  }

  bool turned_by_us_ = false;
  bool interlaced_ = false;  // says the header of a stream
  bool noted_ = false;
  bool grabbed_ = false;  // the next frame, but not retrieved
  std::string source_;    // as it may be shown
  std::optional<MediaClock> clock_;
  std::optional<FormatWatch> watch_;
  cv::VideoCapture capture_;
  cv::Mat image_;
  cv::Mat turned_;
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
  throw ConfigError("this edge_runner was built without OpenCV and cannot open " + Redact(source) +
                    ": pipe frames to --raw, or install libopencv-dev and build again");
#endif
}

}  // namespace edge
