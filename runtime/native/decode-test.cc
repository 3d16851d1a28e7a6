#include "runtime/native/decode.h"

#include <cmath>
#include <limits>

#include "runtime/native/errors.h"
#include "runtime/native/test.h"

namespace {

using edge::Decode;
using edge::Detections;
using edge::Triplets;

const float kBoxes[] = {0.5F, 0.5F, 0.5F, 0.5F, 0.0F, 0.0F, 0.5F, 0.5F, 0.5F, 0.5F, 4.0F, 4.0F};
const float kActor[] = {0.0F, 2.0F, -3.0F};
const float kActions[] = {0.0F, 1.0F, 2.0F, 3.0F, 4.0F, 5.0F};

Triplets All() { return {kBoxes, kActor, kActions, 3, 2}; }

TEST(TokensAboveTheThresholdComeByFallingScore) {
  const Detections found = Decode(All(), 0.25, 200, 100);
  EXPECT((found.token == std::vector<std::int64_t>{1, 0}));
  EXPECT((found.xyxy == std::vector<float>{0, 0, 50, 25, 50, 25, 150, 75}));
  EXPECT(found.actor[1] == 0.5F);
  EXPECT(found.actions.size() == 4);
}

TEST(AScoreThatEqualsTheThresholdIsNotKept) {
  EXPECT((Decode(All(), 0.5, 10, 10).token == std::vector<std::int64_t>{1}));
}

TEST(BoxesEndAtTheFrame) {
  const Detections found = Decode(All(), 0.0, 200, 100);
  EXPECT(found.token.back() == 2);
  EXPECT((std::vector<float>(found.xyxy.end() - 4, found.xyxy.end()) ==
          std::vector<float>{0, 0, 200, 100}));
}

TEST(ValuesThatAreNoNumbersAreRefused) {
  const float actor[] = {0.0F, std::numeric_limits<float>::quiet_NaN(), 0.0F};
  const Triplets bad{kBoxes, actor, kActions, 3, 2};
  EXPECT(!edge::test::ErrorOf<edge::DecodeError>([&] { Decode(bad, 0.5, 10, 10); }).empty());
  EXPECT(!edge::test::ErrorOf<edge::ConfigError>([] { Decode(All(), 1.5, 10, 10); }).empty());
  EXPECT(!edge::test::ErrorOf<edge::ConfigError>([] { Decode(All(), 0.5, 0, 10); }).empty());
}

}  // namespace
