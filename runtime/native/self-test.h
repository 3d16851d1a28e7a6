// The device tests itself before it is trusted: the golden clip's answers against those recorded at
// export. The rules are those of runtime/self_test.py.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/native/bundle.h"
#include "runtime/native/engine.h"

namespace edge {

// pred_boxes (N, 4), pred_actor (N) and pred_actions (N, C) of one clip.
using Answer = std::array<std::vector<float>, 3>;

// What an answer is held against.
struct Record {
  Answer answer;
  std::int64_t tokens;
  std::int64_t classes;
  std::array<double, 3> largest;  // largest difference that each output may have
  std::string precision;
  double conf;  // θ of the artifact
};

struct SelfTestResult {
  double share;       // the largest difference as a share of what is allowed
  std::string fault;  // what is wrong; empty where it passed
};

// Runs the golden clip behind a black one, and compares.
SelfTestResult CheckAnswer(const std::function<Answer(const std::vector<float>&)>& run,
                           const std::vector<float>& clip, Record record);

// Returns the largest difference as a share of what is allowed; nothing where there is no golden
// clip, or a compressed one, as bundles of older exports have it.
// Throws ArtifactError when the engine's answer is not the one recorded, or the golden clip does
// not fit the bundle.
std::optional<double> SelfTest(const Bundle& bundle, Engine* engine);

}  // namespace edge
