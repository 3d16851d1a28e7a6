#include "runtime/native/step-cache.h"

#include <cstdint>

#include "runtime/native/test.h"

namespace {

using edge::StepCache;

TEST(AStepIsKnownAgainByItsFirstSample) {
  StepCache cache({2, 3, 4, 4}, {4, 5});
  EXPECT(cache.num_steps() == 4);
  EXPECT(!cache.Take(0, 10));
  for (int i = 0; i < 5; ++i) cache.gathered(1)[i] = static_cast<float>(i);
  cache.Keep(1, 10);
  EXPECT(cache.Take(3, 10));
  EXPECT(cache.gathered(3)[4] == 4.0F);
  EXPECT(!cache.Take(0, 18));  // the same slot, another step
  EXPECT(!cache.Take(0, -1));
}

std::int64_t SampleOfBuffer(std::int64_t buffer) { return (buffer << 40) + 10; }

TEST(BuffersLeaveEachOthersStepsAlone) {
  StepCache cache({2, 3, 4, 4}, {4, 5});
  cache.gathered(0)[0] = 1.0F;
  cache.Keep(0, SampleOfBuffer(1));
  cache.gathered(0)[0] = 2.0F;
  cache.Keep(0, SampleOfBuffer(2));
  EXPECT(cache.Take(0, SampleOfBuffer(1)));
  EXPECT(cache.gathered(0)[0] == 1.0F);
  EXPECT(cache.Take(0, SampleOfBuffer(2)));
  EXPECT(cache.gathered(0)[0] == 2.0F);
  EXPECT(!cache.Take(0, SampleOfBuffer(3)));
}

TEST(OfTooManyBuffersTheOneLongestUnusedIsForgotten) {
  StepCache cache({2, 3, 4, 4}, {4, 5});
  const auto most = static_cast<std::int64_t>(StepCache::kShelves);
  for (std::int64_t i = 0; i < most; ++i) cache.Keep(0, SampleOfBuffer(i));
  EXPECT(cache.Take(0, SampleOfBuffer(0)));
  cache.Keep(0, SampleOfBuffer(most));
  EXPECT(cache.Take(0, SampleOfBuffer(0)));
  EXPECT(!cache.Take(0, SampleOfBuffer(1)));
  EXPECT(cache.Take(0, SampleOfBuffer(2)));
  EXPECT(cache.Take(0, SampleOfBuffer(most)));
}

TEST(StepsPayWhereClipsHaveThemInCommon) {
  EXPECT(StepCache::Pays(1, 2, 4));
  EXPECT(StepCache::Pays(2, 2, 4));
  EXPECT(!StepCache::Pays(3, 2, 4));
  EXPECT(!StepCache::Pays(8, 2, 4));
  EXPECT(!StepCache::Pays(0, 2, 4));
  EXPECT(!StepCache::Pays(2, 2, 1));
}

}  // namespace
