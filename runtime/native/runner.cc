#include "runtime/native/runner.h"

#include <algorithm>
#include <chrono>

#include "runtime/native/errors.h"
#include "runtime/native/json.h"
#include "runtime/native/self-test.h"
#include "runtime/native/text.h"

namespace edge {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

std::string Percentiles(const char* name, const std::vector<double>& values) {
  std::string text = std::string("; ") + name + " p50/p95/p99 ";
  return text + Fixed(Percentile(values, 0.5), 1) + "/" + Fixed(Percentile(values, 0.95), 1) + "/" +
         Fixed(Percentile(values, 0.99), 1) + " ms";
}

// Keeps memory flat on an endless stream: percentiles are of the last results.
void Keep(double value, std::vector<double>* values) {
  constexpr std::size_t kMost = 1 << 16;
  if (values->size() == kMost) values->erase(values->begin(), values->begin() + kMost / 2);
  values->push_back(value);
}

int StridePoints(const RunnerOptions& options, const Bundle& bundle) {
  constexpr int kDefault = 2;
  if (!options.stride) return kDefault;
  return (*options.stride + bundle.sampling_rate - 1) / bundle.sampling_rate;
}

std::vector<double> ActionConf(const RunnerOptions& options, const Bundle& bundle) {
  if (!options.action_conf) return bundle.action_conf;
  return std::vector<double>(bundle.class_names.size(), *options.action_conf);
}

std::string ActionConfText(const RunnerOptions& options, const Bundle& bundle) {
  if (options.action_conf) return Fixed(*options.action_conf, 2);
  if (bundle.own_action_confs == 0) return "0.50";
  return "0.50 (" + std::to_string(bundle.own_action_confs) + " of " +
         std::to_string(bundle.class_names.size()) + " actions have their own)";
}

}  // namespace

Runner::Runner(const Bundle& bundle, const RunnerOptions& options)
    : bundle_(bundle),
      conf_(options.conf.value_or(bundle.conf)),
      action_conf_(ActionConf(options, bundle)),
      action_conf_text_(ActionConfText(options, bundle)),
      stride_points_(StridePoints(options, bundle)),
      engine_(bundle.path, options.threads, stride_points_),
      sampler_(bundle.sampling_rate, bundle.fps),
      assembler_(std::make_shared<Preprocess>(bundle.height, bundle.width, bundle.mean, bundle.std),
                 bundle.num_frames, stride_points_) {
  const Shape clip = {1, bundle.num_frames, 3, bundle.height, bundle.width};
  const std::int64_t tokens = bundle.num_tokens;
  const auto classes = static_cast<std::int64_t>(bundle.class_names.size());
  const std::vector<Shape> outputs = {{1, tokens, 4}, {1, tokens}, {1, tokens, classes}};
  if (engine_.input_shape() != clip || engine_.output_shapes() != outputs) {
    throw ArtifactError(bundle.artifact + " takes " + ShapeText(engine_.input_shape()) +
                        ", the bundle says " + ShapeText(clip) + " and " + std::to_string(tokens) +
                        " tokens: it is the program of another model; export it again");
  }
  if (options.stride && *options.stride % bundle.sampling_rate != 0) rounded_from_ = options.stride;
  for (const Shape& shape : outputs) outputs_.emplace_back(ElementCount(shape));
  self_test_ = SelfTest(bundle, &engine_);
}

std::string Runner::Describe() const {
  const int count = Engine::num_threads();
  const std::string threads = std::to_string(count) + (count == 1 ? " thread" : " threads");
  std::string text =
      "edge_runner: bundle " + bundle_.name + " (" + bundle_.artifact + ", " + bundle_.precision +
      "), conf " + Fixed(conf_, 4) + ", action-conf " + action_conf_text_ + ", stride " +
      std::to_string(stride_points_ * bundle_.sampling_rate) + " frames at " +
      Fixed(bundle_.fps, 2) + " fps, " + threads +
      ", ExecuTorch " EDGE_EXECUTORCH_VERSION ", loaded in " + Fixed(engine_.load_ms(), 0) + " ms";
  if (engine_.shares_steps()) text += ", overlapping clips share their steps";
  if (self_test_) {
    text += ", self-test passed at " + Fixed(100.0 * *self_test_, 0) + "% of its limit";
  } else if (bundle_.golden_path.empty()) {
    text += ", not self-tested (a program alone has no golden clip)";
  } else {
    text += ", not self-tested (the golden clip is compressed; export the bundle again)";
  }
  if (rounded_from_) {
    text += "\nwarning: --stride " + std::to_string(*rounded_from_) + " rounded up to " +
            std::to_string(stride_points_ * bundle_.sampling_rate) +
            ", a multiple of sampling_rate " + std::to_string(bundle_.sampling_rate);
  }
  if (!bundle_.trained) text += "\nwarning: the weights are untrained: results mean nothing";
  return text;
}

std::string Runner::Offer(const TimedFrame& frame) {
  const Clock::time_point arrival = Clock::now();
  const Frame& pixels = frame.frame;
  const std::int64_t index = frames_++;
  const bool resized = index > 0 && (pixels.width != width_ || pixels.height != height_);
  std::string gap = frame.jump;
  if (gap.empty() && resized) {
    gap = "frames are " + std::to_string(pixels.width) + "x" + std::to_string(pixels.height) +
          " now, before " + std::to_string(width_) + "x" + std::to_string(height_);
  }
  width_ = pixels.width;
  height_ = pixels.height;
  if (!gap.empty()) sampler_.Restart();
  const Sample sample = sampler_.Offer(frame.t);
  if (gap.empty()) gap = sample.gap;
  std::string lines;
  if (!gap.empty()) {
    assembler_.Flush();
    ++gaps_;
    lines = GapLine(frame.t, gap);
  }
  assembler_.Push(pixels, index, frame.t, sample);
  preprocess_pending_ms_ += MillisecondsSince(arrival);
  if (!assembler_.due()) return lines;
  assembler_.Decide();
  const Detections found = Decide();
  const double latency_ms = MillisecondsSince(arrival);
  Keep(latency_ms, &latency_ms_);
  return lines + Line(found, latency_ms);
}

// As Event.to_dict in runtime/results.py.
std::string Runner::GapLine(double t, const std::string& reason) const {
  return "{\"event\": \"gap\", \"t\": " + Fixed(t, 6) +
         ", \"message\": " + JsonQuote(reason + "; the clip starts again") + "}\n";
}

Detections Runner::Decide() {
  const Clock::time_point start = Clock::now();
  engine_.Run(assembler_.buffer().clip(),
              {outputs_[0].data(), outputs_[1].data(), outputs_[2].data()},
              assembler_.buffer().first());
  Keep(MillisecondsSince(start), &inference_ms_);
  const Clock::time_point ran = Clock::now();
  const auto classes = static_cast<std::int64_t>(bundle_.class_names.size());
  const Triplets triplets{outputs_[0].data(), outputs_[1].data(), outputs_[2].data(),
                          bundle_.num_tokens, classes};
  Detections found = Decode(triplets, conf_, width_, height_);
  Keep(MillisecondsSince(ran), &decode_ms_);
  Keep(preprocess_pending_ms_, &preprocess_ms_);
  preprocess_pending_ms_ = 0.0;
  ++decisions_;
  return found;
}

std::string Runner::Actions(const float* scores) const {
  std::vector<std::size_t> kept;
  for (std::size_t c = 0; c < bundle_.class_names.size(); ++c) {
    if (static_cast<double>(scores[c]) >= action_conf_[c]) kept.push_back(c);
  }
  std::stable_sort(kept.begin(), kept.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  std::string text;
  for (const std::size_t c : kept) {
    text += (text.empty() ? "" : ", ") + JsonQuote(bundle_.class_names[c]) + ": ";
    text += Fixed(scores[c], 6);
  }
  return "{" + text + "}";
}

// The same keys, order and decimals as KeyframeResult.to_dict in runtime/results.py.
std::string Runner::Line(const Detections& found, double latency_ms) const {
  const auto& origins = assembler_.origins();
  const auto& keyframe = origins[static_cast<std::size_t>(bundle_.num_frames / 2)];
  const auto& newest = origins.back();
  std::string line = "{\"frame\": " + std::to_string(newest.frame) +
                     ", \"t\": " + Fixed(newest.t, 6) +
                     ", \"keyframe\": " + std::to_string(keyframe.frame) +
                     ", \"keyframe_t\": " + Fixed(keyframe.t, 6) +
                     ", \"latency_ms\": " + Fixed(latency_ms, 3) + ", \"detections\": [";
  const std::size_t classes = bundle_.class_names.size();
  for (std::size_t k = 0; k < found.token.size(); ++k) {
    line += k > 0 ? ", {\"xyxy\": [" : "{\"xyxy\": [";
    for (std::size_t i = 0; i < 4; ++i) {
      line += (i > 0 ? ", " : "") + Fixed(found.xyxy[4 * k + i], 2);
    }
    line += "], \"actor\": " + Fixed(found.actor[k], 6) +
            ", \"actions\": " + Actions(found.actions.data() + k * classes) + "}";
  }
  return line + (bundle_.trained ? "]}\n" : "], \"trained\": false}\n");
}

std::string Runner::Summary(bool stopped) const {
  const std::string counts = std::to_string(frames_) + " frames, " + std::to_string(gaps_) +
                             " gaps, " + std::to_string(decisions_) + " keyframes";
  if (decisions_ == 0 && !stopped) {
    throw CaptureError(counts + ": the first clip needs " + std::to_string(bundle_.num_frames) +
                       " samples over " + Fixed((bundle_.num_frames - 1) * sampler_.period_s(), 2) +
                       " s without a gap; give a longer source");
  }
  return counts + "\nSpeed: " + Fixed(Percentile(preprocess_ms_, 0.5), 1) + " ms preprocess, " +
         Fixed(Percentile(inference_ms_, 0.5), 1) + " ms inference, " +
         Fixed(Percentile(decode_ms_, 0.5), 1) + " ms decode per clip at " +
         ShapeText(engine_.input_shape()) + Percentiles("inference", inference_ms_) +
         Percentiles("latency", latency_ms_);
}

}  // namespace edge
