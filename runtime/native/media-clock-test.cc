#include "runtime/native/media-clock.h"

#include <limits>

#include "runtime/native/test.h"

namespace {

using edge::MediaClock;
using edge::test::Says;

TEST(AFileWithoutTimesHasThoseOfItsRate) {
  MediaClock clock(0.1);
  std::string jump;
  for (int i = 0; i < 5; ++i) {
    EXPECT(std::abs(clock.Stamp(0.0, &jump) - 0.1 * i) < 1e-9);
    EXPECT(jump.empty());
  }
}

TEST(AFrameThatIsALittleOlderComesOneIntervalLater) {
  MediaClock clock(0.1);
  std::string jump;
  clock.Stamp(1.0, &jump);
  EXPECT(std::abs(clock.Stamp(0.9, &jump) - 1.1) < 1e-9);
  EXPECT(jump.empty());
}

TEST(AClockThatWasSetBackIsAJumpAndKeepsItsTimes) {
  MediaClock clock(0.04);
  std::string jump;
  clock.Stamp(30.0, &jump);
  EXPECT(std::abs(clock.Stamp(0.04, &jump) - 0.04) < 1e-9);
  EXPECT(Says(jump, "jumps from 30.00 s to 0.04 s"));
  EXPECT(std::abs(clock.Stamp(0.08, &jump) - 0.08) < 1e-9);
  EXPECT(jump.empty());
}

TEST(AZeroIsATimeWhereTheNextFrameComesBehindIt) {
  MediaClock clock(0.04);
  std::string jump;
  EXPECT(!clock.Doubts(0.0));
  clock.Stamp(30.0, &jump);
  EXPECT(clock.Doubts(0.0));
  EXPECT(!clock.Doubts(0.04));
  EXPECT(clock.Stamp(0.0, &jump, 0.04) == 0.0);
  EXPECT(Says(jump, "jumps from 30.00 s to 0.00 s"));
  EXPECT(!clock.Doubts(0.0));
  EXPECT(std::abs(clock.Stamp(0.04, &jump) - 0.04) < 1e-9);
  EXPECT(jump.empty());
}

TEST(AZeroIsNoTimeWhereTheNextFrameGoesOn) {
  for (const double following : {0.0, 30.08, std::numeric_limits<double>::quiet_NaN()}) {
    MediaClock clock(0.04);
    std::string jump;
    clock.Stamp(30.0, &jump);
    EXPECT(std::abs(clock.Stamp(0.0, &jump, following) - 30.04) < 1e-9);
    EXPECT(jump.empty());
  }
}

TEST(TimesThatAreNoneAreRepaired) {
  MediaClock clock(0.5);
  std::string jump;
  EXPECT(clock.Stamp(std::numeric_limits<double>::quiet_NaN(), &jump) == 0.0);
  EXPECT(clock.Stamp(-3.0, &jump) == 0.5);
}

}  // namespace
