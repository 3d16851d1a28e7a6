#include "runtime/native/runner.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>

#include "runtime/native/errors.h"
#include "runtime/native/json.h"

namespace edge {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// The shortest text that reads back as the same value.
template <typename T>
std::string Shortest(T value, int max_digits) {
  char buffer[40];
  for (int digits = 1; digits <= max_digits; ++digits) {
    std::snprintf(buffer, sizeof(buffer), "%.*g", digits, static_cast<double>(value));
    if (static_cast<T>(std::strtod(buffer, nullptr)) == value) break;
  }
  return buffer;
}

std::string Text(float value) { return Shortest(value, 9); }
std::string Text(double value) { return Shortest(value, 17); }

std::string Fixed(double value, int digits) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), "%.*f", digits, value);
  return buffer;
}

double Mean(const std::vector<double>& values) {
  if (values.empty()) return 0.0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::string Percentiles(std::vector<double> values) {
  if (values.empty()) return "";
  std::sort(values.begin(), values.end());
  const auto at = [&](double p) {
    return Fixed(values[static_cast<std::size_t>(p * static_cast<double>(values.size() - 1))], 1);
  };
  return "; inference p50 " + at(0.5) + " p95 " + at(0.95) + " p99 " + at(0.99) + " ms";
}

}  // namespace

Runner::Runner(const Bundle& bundle, const RunnerOptions& options)
    : bundle_(bundle),
      conf_(options.conf.value_or(bundle.conf)),
      action_conf_(options.action_conf),
      stride_(options.stride.value_or(2 * bundle.sampling_rate)),
      engine_(bundle.path, options.threads),
      buffer_(std::make_shared<Preprocess>(bundle.height, bundle.width, bundle.mean, bundle.std),
              bundle.num_frames),
      sampler_(bundle.sampling_rate, bundle.fps) {
  const Shape clip = {1, bundle.num_frames, 3, bundle.height, bundle.width};
  const std::int64_t tokens = bundle.num_tokens;
  const auto classes = static_cast<std::int64_t>(bundle.class_names.size());
  const std::vector<Shape> outputs = {{1, tokens, 4}, {1, tokens}, {1, tokens, classes}};
  if (engine_.input_shape() != clip || engine_.output_shapes() != outputs) {
    throw ArtifactError(bundle.artifact + " takes " + ShapeText(engine_.input_shape()) +
                        ", the bundle says " + ShapeText(clip) + " and " + std::to_string(tokens) +
                        " tokens: it is the program of another model; export it again");
  }
  for (const Shape& shape : outputs) outputs_.emplace_back(ElementCount(shape));
  next_due_ = bundle.num_frames;
}

std::string Runner::Describe() const {
  std::string text = "edge_runner: bundle " + bundle_.name + " (" + bundle_.artifact + ", " +
                     bundle_.precision + "), conf " + Text(conf_) + ", action-conf " +
                     Text(action_conf_) + ", stride " + std::to_string(stride_) + " frames at " +
                     Text(bundle_.fps) + " fps, " + std::to_string(Engine::num_threads()) +
                     " threads, ExecuTorch " EDGE_EXECUTORCH_VERSION ", loaded in " +
                     Fixed(engine_.load_ms(), 0) + " ms";
  if (!bundle_.trained) text += "\nwarning: the weights are untrained: results mean nothing";
  return text;
}

void Runner::Flush() {
  buffer_.Flush();
  origins_.clear();
  points_ = 0;
  next_due_ = bundle_.num_frames;
}

void Runner::Take(const Origin& origin) {
  origins_.push_back(origin);
  if (static_cast<int>(origins_.size()) > bundle_.num_frames) origins_.pop_front();
  ++points_;
}

bool Runner::Due() const { return buffer_.full() && points_ >= next_due_; }

std::string Runner::Offer(const TimedFrame& frame) {
  const std::int64_t index = frames_++;
  const bool resized = index > 0 && (frame.frame.width != width_ || frame.frame.height != height_);
  width_ = frame.frame.width;
  height_ = frame.frame.height;
  if (resized) sampler_ = Sampler(bundle_.sampling_rate, bundle_.fps);
  const Sample sample = sampler_.Offer(frame.t);
  if (sample.gap || resized) {
    Flush();
    ++gaps_;
  }
  std::string lines;
  for (int i = 0; i < sample.repeats; ++i) {
    buffer_.Repeat();
    Take(origins_.back());
    if (Due()) lines += Decide(frame);
  }
  for (int i = 0; i < sample.takes; ++i) {
    const Clock::time_point start = Clock::now();
    if (i == 0) {
      buffer_.Push(frame.frame);
    } else {
      buffer_.Repeat();
    }
    preprocess_pending_ms_ += MillisecondsSince(start);
    Take({index, frame.t});
    if (Due()) lines += Decide(frame);
  }
  return lines;
}

std::string Runner::Decide(const TimedFrame& frame) {
  while (next_due_ <= points_) {
    // Strides are counted in frames of the bundle's rate, decisions fall on samples.
    const std::int64_t strides =
        ((next_due_ - bundle_.num_frames) * bundle_.sampling_rate) / stride_ + 1;
    const std::int64_t frames = strides * stride_;
    next_due_ = bundle_.num_frames + (frames + bundle_.sampling_rate - 1) / bundle_.sampling_rate;
  }
  const Clock::time_point start = Clock::now();
  engine_.Run(buffer_.clip(), {outputs_[0].data(), outputs_[1].data(), outputs_[2].data()});
  inference_ms_.push_back(MillisecondsSince(start));
  const Clock::time_point decode_start = Clock::now();
  const Triplets triplets{outputs_[0].data(), outputs_[1].data(), outputs_[2].data(),
                          bundle_.num_tokens,
                          static_cast<std::int64_t>(bundle_.class_names.size())};
  const Detections found = Decode(triplets, conf_, width_, height_);
  decode_ms_.push_back(MillisecondsSince(decode_start));
  preprocess_ms_.push_back(preprocess_pending_ms_);
  preprocess_pending_ms_ = 0.0;
  ++decisions_;
  return Line(frame, found, MillisecondsSince(start));
}

std::string Runner::Line(const TimedFrame& frame, const Detections& found,
                         double latency_ms) const {
  const Origin& keyframe = origins_[static_cast<std::size_t>(bundle_.num_frames / 2)];
  std::string line = "{\"frame\": " + std::to_string(frames_ - 1) + ", \"t\": " + Text(frame.t) +
                     ", \"keyframe\": " + std::to_string(keyframe.frame) +
                     ", \"keyframe_t\": " + Text(keyframe.t) +
                     ", \"latency_ms\": " + Fixed(latency_ms, 2) + ", \"detections\": [";
  const std::size_t classes = bundle_.class_names.size();
  for (std::size_t k = 0; k < found.token.size(); ++k) {
    line += k > 0 ? ", {\"xyxy\": [" : "{\"xyxy\": [";
    for (std::size_t i = 0; i < 4; ++i) {
      line += (i > 0 ? ", " : "") + Text(found.xyxy[4 * k + i]);
    }
    line += "], \"actor\": " + Text(found.actor[k]) + ", \"actions\": {";
    std::string actions;
    for (std::size_t c = 0; c < classes; ++c) {
      const float score = found.actions[k * classes + c];
      if (!(static_cast<double>(score) > action_conf_)) continue;
      actions += (actions.empty() ? "" : ", ") + JsonQuote(bundle_.class_names[c]) + ": ";
      actions += Text(score);
    }
    line += actions + "}}";
  }
  return line + "]}\n";
}

std::string Runner::Summary() const {
  const std::string counts = std::to_string(frames_) + " frames, " + std::to_string(decisions_) +
                             " results, " + std::to_string(gaps_) + " gaps";
  if (decisions_ == 0) {
    return counts + ": the source was too short for one clip of " +
           Fixed((bundle_.num_frames - 1) * sampler_.period_s(), 2) + " s";
  }
  return counts + "\nSpeed: " + Fixed(Mean(preprocess_ms_), 1) + " ms preprocess, " +
         Fixed(Mean(inference_ms_), 1) + " ms inference, " + Fixed(Mean(decode_ms_), 2) +
         " ms decode per clip at " + ShapeText(engine_.input_shape()) + Percentiles(inference_ms_);
}

}  // namespace edge
