#include "runtime/native/step-cache.h"

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

TEST(StepsPayWhereClipsHaveThemInCommon) {
  EXPECT(StepCache::Pays(1, 2, 4));
  EXPECT(StepCache::Pays(2, 2, 4));
  EXPECT(!StepCache::Pays(3, 2, 4));
  EXPECT(!StepCache::Pays(8, 2, 4));
  EXPECT(!StepCache::Pays(0, 2, 4));
  EXPECT(!StepCache::Pays(2, 2, 1));
}

}  // namespace
