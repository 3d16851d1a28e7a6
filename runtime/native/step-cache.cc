#include "runtime/native/step-cache.h"

#include <algorithm>

#include "runtime/native/clip-buffer.h"

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
      num_slots_(static_cast<std::size_t>(stem[0] * trunk[0])),
      gathered_(static_cast<std::size_t>(ElementCount(trunk))) {}

bool StepCache::Pays(int stride, int samples_per_step, int num_steps) {
  if (stride <= 0 || num_steps < 2) return false;
  // By single samples each clip has one new step; else the steps of the next clip have to begin
  // where those of this one do.
  if (stride == 1) return true;
  return stride % samples_per_step == 0 && stride / samples_per_step < num_steps;
}

StepCache::Shelf* StepCache::Find(std::int64_t sample) {
  const std::int64_t buffer = ClipBuffer::BufferOf(sample);
  for (Shelf& shelf : shelves_) {
    if (shelf.buffer != buffer) continue;
    shelf.used = ++uses_;
    return &shelf;
  }
  return nullptr;
}

StepCache::Shelf& StepCache::FindOrMake(std::int64_t sample) {
  if (Shelf* found = Find(sample)) return *found;
  if (shelves_.size() < kShelves) {
    shelves_.push_back({0, 0, std::vector<std::int64_t>(num_slots_),
                        std::vector<float>(num_slots_ * static_cast<std::size_t>(step_size_))});
  }
  Shelf& shelf = *std::min_element(shelves_.begin(), shelves_.end(),
                                   [](const Shelf& a, const Shelf& b) { return a.used < b.used; });
  shelf.buffer = ClipBuffer::BufferOf(sample);
  shelf.used = ++uses_;
  std::fill(shelf.serials.begin(), shelf.serials.end(), kEmpty);
  return shelf;
}

bool StepCache::Take(int step, std::int64_t sample) {
  Shelf* shelf = sample < 0 ? nullptr : Find(sample);
  if (shelf == nullptr || shelf->serials[SlotOf(sample)] != sample) return false;
  std::copy_n(Slot(*shelf, sample), step_size_, gathered(step));
  return true;
}

void StepCache::Keep(int step, std::int64_t sample) {
  if (sample < 0) return;
  Shelf& shelf = FindOrMake(sample);
  std::copy_n(gathered(step), step_size_, Slot(shelf, sample));
  shelf.serials[SlotOf(sample)] = sample;
}

}  // namespace edge
