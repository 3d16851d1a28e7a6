#include "runtime/native/clip-assembler.h"

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/native/errors.h"
#include "runtime/native/test.h"

namespace {

using edge::ClipAssembler;
using edge::Sample;

constexpr std::array<double, 3> kZero = {0.0, 0.0, 0.0};
constexpr std::array<double, 3> kOne = {1.0, 1.0, 1.0};

// Frames of 8x8 pixels, each of one grey.
class Feeder {
 public:
  explicit Feeder(int num_frames, int stride)
      : clip(std::make_shared<edge::Preprocess>(8, 8, kZero, kOne), num_frames, stride) {}

  void Push(int grey, const Sample& sample) {
    const std::vector<std::uint8_t> pixels(3 * 64, static_cast<std::uint8_t>(grey));
    clip.Push({pixels.data(), 8, 8, 24}, grey, grey / 10.0, sample);
  }

  // The grey of a sample of the clip.
  int Grey(int sample) const {
    return static_cast<int>(clip.buffer().clip()[sample * 3 * 64] * 255.0F + 0.5F);
  }

  ClipAssembler clip;
};

TEST(AClipHoldsTheNewestSamplesInOrder) {
  Feeder feeder(3, 2);
  for (int i = 0; i < 5; ++i) feeder.Push(i, {0, 1, i + 1, ""});
  EXPECT(feeder.clip.full());
  for (int i = 0; i < 3; ++i) {
    EXPECT(feeder.Grey(i) == i + 2);
    EXPECT(feeder.clip.origins()[static_cast<std::size_t>(i)].frame == i + 2);
  }
}

TEST(RepeatsAndSeveralTakesFillTheClip) {
  Feeder feeder(4, 1);
  feeder.Push(1, {0, 1, 1, ""});
  feeder.Push(2, {1, 2, 4, ""});
  EXPECT(feeder.clip.full());
  const std::array<int, 4> greys = {1, 1, 2, 2};
  for (int i = 0; i < 4; ++i) EXPECT(feeder.Grey(i) == greys[static_cast<std::size_t>(i)]);
}

TEST(ADecisionIsDueEachStride) {
  Feeder feeder(2, 3);
  std::vector<int> decided;
  for (int i = 0; i < 10; ++i) {
    feeder.Push(i, {0, 1, i + 1, ""});
    if (!feeder.clip.due()) continue;
    EXPECT(feeder.clip.Decide() == 0);
    decided.push_back(i);
  }
  EXPECT((decided == std::vector<int>{1, 4, 7}));
}

TEST(DecisionsThatCameDueMeanwhileAreCounted) {
  Feeder feeder(2, 1);
  feeder.Push(0, {0, 1, 1, ""});
  feeder.Push(1, {0, 1, 2, ""});
  EXPECT(feeder.clip.Decide() == 0);
  for (int i = 2; i < 6; ++i) feeder.Push(i, {0, 1, i + 1, ""});
  EXPECT(feeder.clip.Decide() == 3);
}

TEST(ALostSampleBeginsTheClipAnew) {
  Feeder feeder(3, 1);
  for (int i = 0; i < 3; ++i) feeder.Push(i, {0, 1, i + 1, ""});
  feeder.Push(9, {0, 1, 10, ""});
  EXPECT(!feeder.clip.full());
  EXPECT(feeder.clip.origins().size() == 1);
}

TEST(AFlushedClipIsDueWhenItIsFullAgain) {
  Feeder feeder(2, 100);
  feeder.Push(0, {0, 1, 1, ""});
  feeder.Push(1, {0, 1, 2, ""});
  feeder.clip.Decide();
  feeder.clip.Flush();
  EXPECT(!feeder.clip.due());
  feeder.Push(2, {0, 1, 1, "a gap"});
  feeder.Push(3, {0, 1, 2, ""});
  EXPECT(feeder.clip.due());
}

TEST(AStrideOfNoneIsRefused) {
  EXPECT(edge::test::Says(edge::test::ErrorOf<edge::ConfigError>([] { Feeder(2, 0); }),
                          "stride is 0 samples"));
}

}  // namespace
