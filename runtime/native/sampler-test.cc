#include "runtime/native/sampler.h"

#include <cmath>
#include <limits>

#include "runtime/native/errors.h"
#include "runtime/native/test.h"

namespace {

using edge::ConfigError;
using edge::Sample;
using edge::Sampler;
using edge::test::ErrorOf;
using edge::test::Says;

Sampler Nano() { return Sampler(4, 30.0); }

TEST(EveryFourthFrameOfThirtyIsASample) {
  Sampler sampler = Nano();
  int taken = 0;
  for (int i = 0; i < 300; ++i) {
    const Sample sample = sampler.Offer(i / 30.0);
    EXPECT(sample.repeats == 0);
    EXPECT((sample.takes == 1) == (i % 4 == 0));
    taken += sample.takes;
  }
  EXPECT(taken == 75);
  EXPECT(!sampler.slow() && sampler.repeated() == 0 && sampler.gaps() == 0);
}

TEST(TheGridDoesNotDriftAt2997) {
  Sampler sampler(1, 29.97);
  std::int64_t filled = 0;
  for (int i = 0; i < 100000; ++i) filled = sampler.Offer(i / 29.97).filled;
  EXPECT(filled == 100000);
}

TEST(ASlowSourceRepeatsItsFrames) {
  Sampler sampler = Nano();
  std::int64_t filled = 0;
  for (int i = 0; i < 20; ++i) filled = sampler.Offer(i / 2.5).filled;
  EXPECT(sampler.slow());
  EXPECT(sampler.repeated() > 0);
  EXPECT(filled >= 19 * 3);
}

TEST(AGapBeginsTheClipAnew) {
  Sampler sampler = Nano();
  sampler.Offer(0.0);
  sampler.Offer(0.1);
  const Sample late = sampler.Offer(0.8);
  EXPECT(late.gap == "no frame for 0.70 s (limit 0.50 s)");
  EXPECT(late.takes == 1 && late.filled == 1 && late.wanted());
  EXPECT(sampler.Offer(0.5).gap == "time went back by 0.300 s");
  EXPECT(sampler.gaps() == 2);
}

TEST(TheSameTimeAgainIsIgnored) {
  Sampler sampler = Nano();
  sampler.Offer(1.0);
  EXPECT(!sampler.Offer(1.0).wanted());
  EXPECT(sampler.gaps() == 0);
}

TEST(ARestartIsNoGap) {
  Sampler sampler = Nano();
  sampler.Offer(5.0);
  sampler.Restart();
  const Sample first = sampler.Offer(1.0);
  EXPECT(first.gap.empty() && first.takes == 1 && first.filled == 1);
}

TEST(NumbersThatAreNoneAreRefused) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT(Says(ErrorOf<ConfigError>([&] { Sampler(4, nan); }), "fps is nan"));
  EXPECT(Says(ErrorOf<ConfigError>([] { Sampler(0, 30.0); }), "sampling_rate is 0"));
  EXPECT(Says(ErrorOf<ConfigError>([] { Sampler(4, 30.0, 0.0); }), "max_gap_s is 0"));
  EXPECT(Says(ErrorOf<ConfigError>([&] { Nano().Offer(nan); }), "finite"));
}

}  // namespace
