#include "runtime/native/self-test.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "runtime/native/test.h"

namespace {

using edge::Answer;
using edge::Record;
using edge::test::Says;

constexpr std::size_t kTokens = 60;
constexpr std::size_t kClasses = 6;
constexpr std::size_t kClip = 12;

// A network of the test's own: its outputs depend on each value of the clip.
Answer Network(const std::vector<float>& clip) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> weight(-1.0F, 1.0F);
  Answer answer{std::vector<float>(4 * kTokens), std::vector<float>(kTokens),
                std::vector<float>(kClasses * kTokens)};
  for (std::size_t output = 0; output < 3; ++output) {
    for (float& value : answer[output]) {
      float sum = weight(random);
      for (const float input : clip) sum += 0.6F * weight(random) * input;
      value = output == 0 ? 0.5F + 0.4F * std::tanh(sum) : 3.0F * sum;
    }
  }
  return answer;
}

std::vector<float> Clip() {
  std::vector<float> clip(kClip);
  for (std::size_t i = 0; i < kClip; ++i) clip[i] = static_cast<float>(i) / 6.0F - 1.0F;
  return clip;
}

edge::SelfTestResult Check(const std::function<Answer(const std::vector<float>&)>& run) {
  Record record{Network(Clip()), kTokens, kClasses, {0.2, 4.0, 4.0}, "int8", 0.5};
  return CheckAnswer(run, Clip(), record);
}

// The same network, whose answer is changed.
bool Refused(const std::function<void(Answer*)>& change) {
  return !Check([&](const std::vector<float>& clip) {
            Answer answer = Network(clip);
            change(&answer);
            return answer;
          }).fault.empty();
}

void SwapColumns(std::vector<float>* values, std::size_t columns, std::size_t a, std::size_t b) {
  for (std::size_t row = 0; row < values->size() / columns; ++row) {
    std::swap((*values)[row * columns + a], (*values)[row * columns + b]);
  }
}

TEST(TheNetworkItselfPasses) {
  const edge::SelfTestResult result = Check(Network);
  EXPECT(result.fault.empty());
  EXPECT(result.share == 0.0);
}

TEST(RoundingPasses) {
  EXPECT(!Refused([](Answer* answer) {
    std::mt19937 random(1);
    std::normal_distribution<float> noise(0.0F, 0.1F);
    for (float& value : (*answer)[1]) value += noise(random);
    for (float& value : (*answer)[2]) value += noise(random);
  }));
}

TEST(ChangedOutputsAreRefused) {
  const auto add = [](std::size_t output, float what) {
    return [=](Answer* answer) {
      for (float& value : (*answer)[output]) value += what;
    };
  };
  EXPECT(Refused(add(1, 7.0F)));
  EXPECT(Refused(add(1, 2.0F)));
  EXPECT(Refused(add(1, 0.4F)));
  EXPECT(Refused(add(2, -0.3F)));
  EXPECT(Refused([](Answer* answer) {
    const auto best = std::max_element((*answer)[1].begin(), (*answer)[1].end());
    const auto token = static_cast<std::size_t>(best - (*answer)[1].begin());
    (*answer)[0][4 * token + 2] *= 0.7F;
  }));
  EXPECT(Refused(add(0, 0.03F)));
  EXPECT(Refused([](Answer* answer) {
    for (float& value : (*answer)[1]) value = -value;
  }));
  EXPECT(Refused([](Answer* answer) {
    for (float& value : (*answer)[1]) value = 1.0F / (1.0F + std::exp(-value));
  }));
  EXPECT(Refused([](Answer* answer) { SwapColumns(&(*answer)[2], kClasses, 1, 4); }));
  EXPECT(Refused([](Answer* answer) {
    SwapColumns(&(*answer)[0], 4, 0, 1);
    SwapColumns(&(*answer)[0], 4, 2, 3);
  }));
  EXPECT(
      Refused([](Answer* answer) { (*answer)[0][9] = std::numeric_limits<float>::quiet_NaN(); }));
  EXPECT(Refused([](Answer* answer) {
    for (auto& output : *answer) std::fill(output.begin(), output.end(), 0.0F);
  }));
  EXPECT(Refused([](Answer* answer) {
    for (auto& output : *answer) {
      std::copy(output.begin(), output.begin() + static_cast<std::ptrdiff_t>(output.size() / 2),
                output.begin() + static_cast<std::ptrdiff_t>(output.size() / 2));
    }
  }));
}

TEST(AnEngineThatReadsItsInputWronglyIsRefused) {
  const auto on_input = [](const std::function<void(std::vector<float>*)>& change) {
    return !Check([&](std::vector<float> clip) {
              change(&clip);
              return Network(clip);
            }).fault.empty();
  };
  EXPECT(on_input([](std::vector<float>* clip) { std::reverse(clip->begin(), clip->end()); }));
  EXPECT(on_input([](std::vector<float>* clip) {
    std::rotate(clip->begin(), clip->begin() + 4, clip->end());
  }));
}

TEST(AnEngineThatAnswersWithTheClipBeforeIsRefused) {
  Answer before = Network(Clip());
  const edge::SelfTestResult result = Check([&](const std::vector<float>& clip) {
    Answer answer = before;
    before = Network(clip);
    return answer;
  });
  EXPECT(!result.fault.empty());
}

TEST(AnEngineThatDoesNotLookAtItsInputIsRefused) {
  const edge::SelfTestResult result =
      Check([](const std::vector<float>&) { return Network(Clip()); });
  EXPECT(Says(result.fault, "the answer to a black clip is the same"));
}

}  // namespace
