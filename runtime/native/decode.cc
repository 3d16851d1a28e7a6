#include "runtime/native/decode.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "runtime/native/errors.h"

namespace edge {
namespace {

void CheckFinite(const float* values, std::int64_t size, const char* name) {
  for (std::int64_t i = 0; i < size; ++i) {
    if (!std::isfinite(values[i])) {
      throw DecodeError(std::string(name) + " holds " + std::to_string(values[i]) + " at " +
                        std::to_string(i) +
                        ": the engine computed nonsense; export again, or choose another artifact");
    }
  }
}

float Sigmoid(float logit) {
  return static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(logit))));
}

float Clip01(float value) { return std::min(std::max(value, 0.0F), 1.0F); }

void AppendCorners(const float* box, float width, float height, std::vector<float>* xyxy) {
  const float half_width = box[2] * 0.5F;
  const float half_height = box[3] * 0.5F;
  xyxy->push_back(Clip01(box[0] - half_width) * width);
  xyxy->push_back(Clip01(box[1] - half_height) * height);
  xyxy->push_back(Clip01(box[0] + half_width) * width);
  xyxy->push_back(Clip01(box[1] + half_height) * height);
}

}  // namespace

Detections Decode(const Triplets& triplets, double conf, int width, int height) {
  if (!(conf >= 0.0 && conf <= 1.0)) {
    throw ConfigError("conf is " + std::to_string(conf) + ", expected a value in [0, 1]");
  }
  if (width < 1 || height < 1) {
    throw ConfigError("size_wh is (" + std::to_string(width) + ", " + std::to_string(height) +
                      "), expected at least 1 pixel each");
  }
  CheckFinite(triplets.boxes, 4 * triplets.tokens, "pred_boxes");
  CheckFinite(triplets.actor, triplets.tokens, "pred_actor");
  CheckFinite(triplets.actions, triplets.tokens * triplets.num_actions, "pred_actions");

  std::vector<float> scores(triplets.tokens);
  Detections found;
  for (std::int64_t i = 0; i < triplets.tokens; ++i) {
    scores[i] = Sigmoid(triplets.actor[i]);
    if (static_cast<double>(scores[i]) > conf) found.token.push_back(i);
  }
  std::stable_sort(found.token.begin(), found.token.end(),
                   [&](std::int64_t a, std::int64_t b) { return scores[a] > scores[b]; });
  for (const std::int64_t token : found.token) {
    AppendCorners(triplets.boxes + 4 * token, static_cast<float>(width), static_cast<float>(height),
                  &found.xyxy);
    found.actor.push_back(scores[token]);
    const float* logits = triplets.actions + token * triplets.num_actions;
    for (std::int64_t c = 0; c < triplets.num_actions; ++c) {
      found.actions.push_back(Sigmoid(logits[c]));
    }
  }
  return found;
}

}  // namespace edge
