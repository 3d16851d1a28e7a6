#include "runtime/native/self-test.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "runtime/native/errors.h"
#include "runtime/native/npz.h"
#include "runtime/native/preprocess.h"
#include "runtime/native/sha256.h"

namespace edge {
namespace {

constexpr const char* kOutputs[] = {"pred_boxes", "pred_actor", "pred_actions"};

std::string Short(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

std::vector<float> ClipOf(const Bundle& bundle, const NpyArray& frames_rgb) {
  const Preprocess preprocess(bundle.height, bundle.width, bundle.mean, bundle.std);
  const std::size_t frame_size = preprocess.plane_count();
  std::vector<std::uint8_t> bgr(frame_size);
  std::vector<float> clip(frame_size * static_cast<std::size_t>(bundle.num_frames));
  for (int t = 0; t < bundle.num_frames; ++t) {
    const std::uint8_t* rgb = frames_rgb.Bytes() + frame_size * static_cast<std::size_t>(t);
    for (std::size_t i = 0; i < frame_size; i += 3) {
      bgr[i] = rgb[i + 2];
      bgr[i + 1] = rgb[i + 1];
      bgr[i + 2] = rgb[i];
    }
    const Frame frame{bgr.data(), bundle.width, bundle.height, 3 * bundle.width};
    preprocess.Run(frame, clip.data() + frame_size * static_cast<std::size_t>(t));
  }
  return clip;
}

// Of runtime/self_test.py, with the reasons there.
constexpr double kColumn = 2.0;
constexpr double kNearer = 2.0;
constexpr double kSamePlace = 0.8;
constexpr float kMostLogit = 8.0F;
constexpr double kLeastShare = 0.05;

std::array<double, 3> Shift(const std::string& precision) {
  if (precision == "int8") return {0.9, 0.5, 0.5};
  return {1.0, 1.0, 1.0};
}

std::array<double, 3> Rounding(const std::string& precision) {
  if (precision == "fp32") return {0.005, 0.005, 0.005};
  if (precision == "fp16") return {0.03, 0.03, 0.03};
  if (precision == "bf16") return {0.04, 0.08, 0.06};
  return {0.06, 0.22, 0.08};
}

// Logits from -8 to 8, boxes as they are. What is not a number stays so.
std::vector<float> Bounded(std::size_t output, std::vector<float> values) {
  if (output == 0) return values;
  for (float& value : values) {
    if (value > kMostLogit) value = kMostLogit;
    if (value < -kMostLogit) value = -kMostLogit;
  }
  return values;
}

double AllowedMean(const std::vector<float>& recorded, double largest, double rounding) {
  const double count = static_cast<double>(recorded.size());
  double mean = 0.0;
  for (const float value : recorded) mean += value;
  mean /= count;
  double squares = 0.0;
  for (const float value : recorded) squares += (value - mean) * (value - mean);
  return std::max(rounding * std::sqrt(squares / count), kLeastShare * largest);
}

// The largest share so far and its reason; a share that is no number is larger than any.
class Worst {
 public:
  void Add(double share, std::string reason) {
    if (std::isnan(result_.share) || (!std::isnan(share) && share <= result_.share)) return;
    result_ = {share, std::move(reason)};
  }
  const SelfTestResult& result() const { return result_; }

 private:
  SelfTestResult result_{-1.0, ""};
};

// Two outputs (rows, columns) of one name.
struct Pair {
  const char* name;
  const std::vector<float>& found;
  const std::vector<float>& recorded;
  std::size_t columns;

  std::size_t rows() const { return found.size() / columns; }
  // Mean difference of a column from one of the record.
  double Apart(std::size_t mine, std::size_t theirs) const {
    double sum = 0.0;
    for (std::size_t row = 0; row < rows(); ++row) {
      sum += std::abs(static_cast<double>(found[row * columns + mine]) -
                      static_cast<double>(recorded[row * columns + theirs]));
    }
    return sum / static_cast<double>(rows());
  }
};

// Rounding goes both ways: a box side, or an output of logits as a whole, does not move.
void CompareShift(const Pair& pair, double allowed, Worst* worst) {
  const std::size_t parts = pair.name == std::string(kOutputs[0]) ? pair.columns : 1;
  for (std::size_t part = 0; part < parts; ++part) {
    double sum = 0.0;
    double count = 0.0;
    for (std::size_t i = part; i < pair.found.size(); i += parts) {
      sum += static_cast<double>(pair.found[i]) - static_cast<double>(pair.recorded[i]);
      count += 1.0;
    }
    const double moved = sum / count;
    worst->Add(std::abs(moved) / allowed, std::string(pair.name) + " as a whole is off by " +
                                              Short(moved) + ", " + Short(allowed) +
                                              " is rounding");
  }
}

void CompareColumns(const Pair& pair, double allowed, Worst* worst) {
  for (std::size_t mine = 0; mine < pair.columns; ++mine) {
    const double off = pair.Apart(mine, mine);
    const std::string column = "column " + std::to_string(mine) + " of " + pair.name;
    worst->Add(off / (kColumn * allowed), column + " is off by " + Short(off) + " on average");
    if (off < allowed / kNearer) continue;
    std::size_t nearest = mine;
    double least = off;
    for (std::size_t theirs = 0; theirs < pair.columns; ++theirs) {
      const double apart = pair.Apart(mine, theirs);
      if (apart < least) {
        least = apart;
        nearest = theirs;
      }
    }
    worst->Add(off / (kNearer * std::max(least, 1e-12)),
               column + " is column " + std::to_string(nearest) + " of the record");
  }
}

void Compare(const Pair& pair, double largest, double allowed, double shift, Worst* worst) {
  double sum = 0.0;
  double most = 0.0;
  for (std::size_t i = 0; i < pair.found.size(); ++i) {
    const double off =
        std::abs(static_cast<double>(pair.found[i]) - static_cast<double>(pair.recorded[i]));
    sum += off;
    if (!(off <= most)) most = off;  // not `>`: what is no number must stay
  }
  const double mean = sum / static_cast<double>(pair.found.size());
  const std::string name = pair.name;
  worst->Add(mean / allowed, name + " of the golden clip is off by " + Short(mean) +
                                 " on average, " + Short(allowed) + " is rounding");
  worst->Add(most / largest, name + " of the golden clip is off by " + Short(most) + ", " +
                                 Short(largest) + " is allowed");
  CompareShift(pair, shift * allowed, worst);
  if (pair.columns > 1) CompareColumns(pair, allowed, worst);
}

// How many tokens are on the other side of θ, but for those at θ.
std::size_t Crossed(const std::vector<float>& found, const std::vector<float>& recorded,
                    double conf, double allowed) {
  const double theta = std::log(conf / (1.0 - conf));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const bool clear = std::abs(recorded[i] - theta) > kColumn * allowed;
    wrong += clear && (found[i] >= theta) != (recorded[i] >= theta) ? 1 : 0;
  }
  return wrong;
}

// The least overlap of a box (cx, cy, w, h) that is above θ in both answers with its record.
double LeastOverlap(const Answer& found, const Answer& recorded, double conf) {
  const double theta = std::log(conf / (1.0 - conf));
  double least = 1.0;
  for (std::size_t i = 0; i < found[1].size(); ++i) {
    if (!(found[1][i] >= theta && recorded[1][i] >= theta)) continue;
    double shared = 1.0;
    std::array<double, 2> areas = {1.0, 1.0};
    for (std::size_t side = 0; side < 2; ++side) {
      const double mine = found[0][4 * i + side];
      const double wanted = recorded[0][4 * i + side];
      const double my_size = found[0][4 * i + 2 + side];
      const double size = recorded[0][4 * i + 2 + side];
      const double low = std::max(mine - my_size / 2, wanted - size / 2);
      const double high = std::min(mine + my_size / 2, wanted + size / 2);
      shared *= std::max(high - low, 0.0);
      areas[0] *= my_size;
      areas[1] *= size;
    }
    least = std::min(least, shared / std::max(areas[0] + areas[1] - shared, 1e-12));
  }
  return least;
}

std::vector<float> Floats(const NpyArray& array) {
  std::vector<float> values(static_cast<std::size_t>(ElementCount(array.shape)));
  std::memcpy(values.data(), array.data, values.size() * sizeof(float));
  return values;
}

}  // namespace

SelfTestResult CheckAnswer(const std::function<Answer(const std::vector<float>&)>& run,
                           const std::vector<float>& clip, Record record) {
  // An engine that answers with what it was asked before would pass with the first clip alone.
  const Answer other = run(std::vector<float>(clip.size(), 0.0F));
  const Answer found = run(clip);
  const std::array<double, 3> rounding = Rounding(record.precision);
  const std::array<std::size_t, 3> columns = {4, 1, static_cast<std::size_t>(record.classes)};
  Worst worst;
  for (std::size_t i = 0; i < found.size(); ++i) {
    record.answer[i] = Bounded(i, std::move(record.answer[i]));
    const std::vector<float>& recorded = record.answer[i];
    if (found[i].size() != recorded.size()) {
      throw ArtifactError(std::string(kOutputs[i]) + " has another size than its record");
    }
    const std::vector<float> mine = Bounded(i, found[i]);
    Compare({kOutputs[i], mine, recorded, columns[i]}, record.largest[i],
            AllowedMean(recorded, record.largest[i], rounding[i]), Shift(record.precision)[i],
            &worst);
  }
  SelfTestResult result = worst.result();
  if (result.share <= 1.0) {
    result.fault.clear();
    const double allowed = AllowedMean(record.answer[1], record.largest[1], rounding[1]);
    const std::size_t crossed = Crossed(found[1], record.answer[1], record.conf, allowed);
    if (crossed > 0) {
      result.fault = std::to_string(crossed) + " tokens are on the other side of the threshold";
    } else if (const double overlap = LeastOverlap(found, record.answer, record.conf);
               overlap < kSamePlace) {
      result.fault = "a detection overlaps its recorded box by " + Short(overlap);
    } else if (other == found) {
      result.fault = "the answer to a black clip is the same";
    }
  }
  return result;
}

std::optional<double> SelfTest(const Bundle& bundle, Engine* engine) {
  if (bundle.golden_path.empty()) return std::nullopt;
  if (FileSha256(bundle.golden_path) != bundle.golden_sha256) {
    throw ArtifactError(bundle.golden_path +
                        " is not the golden clip that the bundle describes; copy it again");
  }
  const Npz golden(bundle.golden_path);
  if (golden.compressed()) return std::nullopt;
  const NpyArray frames =
      golden.At("frames_rgb", "|u1", {bundle.num_frames, bundle.height, bundle.width, 3});
  const std::vector<float> clip = ClipOf(bundle, frames);
  const auto run = [engine](const std::vector<float>& input) {
    Answer answer;
    std::vector<float*> places;
    for (std::size_t i = 0; i < answer.size(); ++i) {
      answer[i].resize(static_cast<std::size_t>(ElementCount(engine->output_shapes()[i])));
      places.push_back(answer[i].data());
    }
    engine->Run(input.data(), places);
    return answer;
  };
  const std::string stem = bundle.artifact.substr(0, bundle.artifact.rfind('.'));
  Record record{{},
                bundle.num_tokens,
                static_cast<std::int64_t>(bundle.class_names.size()),
                bundle.self_test_tolerance,
                bundle.precision,
                bundle.conf};
  for (std::size_t i = 0; i < record.answer.size(); ++i) {
    Shape shape = engine->output_shapes()[i];
    shape.erase(shape.begin());
    record.answer[i] = Floats(golden.At(stem + "/" + kOutputs[i], "<f4", shape));
  }
  const SelfTestResult result = CheckAnswer(run, clip, std::move(record));
  if (!result.fault.empty()) {
    throw ArtifactError("self-test of " + bundle.artifact + " failed: " + result.fault +
                        "; export it again on, or for, this kind of machine");
  }
  return result.share;
}

}  // namespace edge
