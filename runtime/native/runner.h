// Frames in, result lines out: sampling, clip buffer, engine and decode in one loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/native/bundle.h"
#include "runtime/native/clip-assembler.h"
#include "runtime/native/decode.h"
#include "runtime/native/engine.h"
#include "runtime/native/runner-options.h"
#include "runtime/native/video.h"

namespace edge {

class Runner {
 public:
  // Throws ArtifactError when the program is not the one that the bundle describes.
  Runner(const Bundle& bundle, const RunnerOptions& options);

  // The configuration in use, one line.
  std::string Describe() const;
  // Takes one frame; returns the lines that it completes, mostly none: a gap before it, a result.
  std::string Offer(const TimedFrame& frame);
  // The closing lines: counts, and times by stage. Throws CaptureError when there was no clip,
  // unless the run was stopped.
  std::string Summary(bool stopped) const;

 private:
  Detections Decide();
  std::string Actions(const float* scores) const;
  std::string GapLine(double t, const std::string& reason) const;
  std::string Line(const Detections& found, double latency_ms) const;

  Bundle bundle_;
  double conf_;
  std::vector<double> action_conf_;  // of each class
  std::string action_conf_text_;
  int stride_points_;                // samples from one decision to the next
  std::optional<int> rounded_from_;  // --stride, where it is no multiple of the sampling rate
  Engine engine_;
  Sampler sampler_;
  ClipAssembler assembler_;
  std::vector<std::vector<float>> outputs_;
  std::int64_t frames_ = 0;
  std::int64_t decisions_ = 0;
  std::int64_t gaps_ = 0;
  int width_ = 0;
  int height_ = 0;
  double preprocess_pending_ms_ = 0.0;
  std::optional<double> self_test_;  // largest error at the golden clip, as a share of its limit
  std::vector<double> preprocess_ms_;
  std::vector<double> inference_ms_;
  std::vector<double> decode_ms_;
  std::vector<double> latency_ms_;
};

}  // namespace edge
