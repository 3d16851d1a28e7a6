#include "runtime/native/step-cache.h"

#include <algorithm>

namespace edge {
namespace {

constexpr std::int64_t kEmpty = -1;

Shape OneStep(Shape features) {
  features[0] = 1;
  return features;
}

}  // namespace

StepCache::StepCache(const Shape& stem, const Shape& trunk)
    : stem_shape_(stem),
      trunk_shape_(trunk),
      step_shape_(OneStep(trunk)),
      num_steps_(static_cast<int>(trunk[0])),
      step_size_(ElementCount(step_shape_)),
      serials_(static_cast<std::size_t>(stem[0] * trunk[0]), kEmpty),
      slots_(serials_.size() * static_cast<std::size_t>(step_size_)),
      gathered_(static_cast<std::size_t>(ElementCount(trunk))) {}

bool StepCache::Pays(int stride, int samples_per_step, int num_steps) {
  if (stride <= 0 || num_steps < 2) return false;
  // By single samples each clip has one new step; else the steps of the next clip have to begin
  // where those of this one do.
  if (stride == 1) return true;
  return stride % samples_per_step == 0 && stride / samples_per_step < num_steps;
}

bool StepCache::Take(int step, std::int64_t sample) {
  if (sample < 0 || serials_[SlotOf(sample)] != sample) return false;
  std::copy_n(Slot(sample), step_size_, gathered(step));
  return true;
}

void StepCache::Keep(int step, std::int64_t sample) {
  if (sample < 0) return;
  std::copy_n(gathered(step), step_size_, Slot(sample));
  serials_[SlotOf(sample)] = sample;
}

}  // namespace edge
