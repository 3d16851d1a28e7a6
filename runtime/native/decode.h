// From the network's logits to detections: one threshold, no NMS.
#pragma once

#include <cstdint>
#include <vector>

namespace edge {

// K detections by falling actor score; ties by token.
struct Detections {
  std::vector<float> xyxy;     // (K, 4) pixels of the source frame
  std::vector<float> actor;    // (K,) probability
  std::vector<float> actions;  // (K, C) probabilities
  std::vector<std::int64_t> token;
};

// What the network says of one clip: N tokens, C actions; borrowed.
struct Triplets {
  const float* boxes;    // (N, 4) cxcywh in [0, 1]
  const float* actor;    // (N,) logits
  const float* actions;  // (N, C) logits
  std::int64_t tokens;
  std::int64_t num_actions;
};

// Keeps the tokens whose actor score is above `conf`. Equal bit for bit to
// tests/runtime/reference.py. Throws DecodeError when a value is not finite, ConfigError for a conf
// outside [0, 1] or a size below 1.
Detections Decode(const Triplets& triplets, double conf, int width, int height);

}  // namespace edge
