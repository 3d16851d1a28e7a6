// The features of a clip's steps, kept for the clips that overlap with it.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/native/shape.h"

namespace edge {

// A step is a few neighbouring samples, known by the serial number of its first one. The samples of
// a clip are numbered without a hole, so the numbers of all steps that a later clip of the same
// buffer can still want differ by less than the clip's length: each has its own slot, at its number
// modulo that length. Each buffer has a shelf of slots, so that streams that share an engine leave
// each other's steps alone; where there are more than kShelves, the one longest unused is taken.
//
// Thread safety: none of its own; Engine holds its mutex.
class StepCache {
 public:
  // stem: shape of the samples of one step; trunk: that of the features of a clip's steps.
  StepCache(const Shape& stem, const Shape& trunk);

  static constexpr std::size_t kShelves = 16;

  // Whether clips that begin `stride` samples apart have enough steps in common.
  static bool Pays(int stride, int samples_per_step, int num_steps);

  int num_steps() const { return num_steps_; }
  const Shape& stem_shape() const { return stem_shape_; }
  const Shape& trunk_shape() const { return trunk_shape_; }
  const Shape& step_shape() const { return step_shape_; }
  std::int64_t SampleOf(std::int64_t first, int step) const {
    return first + step * stem_shape_[0];
  }

  // The features of the clip, from those of one step on.
  float* gathered(int step) { return gathered_.data() + step * step_size_; }
  // Puts the features of the step that begins with a sample into their place in the clip; false
  // where they are not known. A number below 0 is never known.
  bool Take(int step, std::int64_t sample);
  // Remembers the features that now are in that place.
  void Keep(int step, std::int64_t sample);

 private:
  struct Shelf {
    std::int64_t buffer;
    std::int64_t used;
    std::vector<std::int64_t> serials;
    std::vector<float> slots;
  };

  std::size_t SlotOf(std::int64_t sample) const {
    return static_cast<std::size_t>(sample) % num_slots_;
  }
  float* Slot(Shelf& shelf, std::int64_t sample) {
    return shelf.slots.data() + static_cast<std::int64_t>(SlotOf(sample)) * step_size_;
  }
  // The shelf of a sample's buffer, or null.
  Shelf* Find(std::int64_t sample);
  Shelf& FindOrMake(std::int64_t sample);

  Shape stem_shape_;
  Shape trunk_shape_;
  Shape step_shape_;
  int num_steps_;
  std::int64_t step_size_;
  std::size_t num_slots_;
  std::int64_t uses_ = 0;
  std::vector<Shelf> shelves_;
  std::vector<float> gathered_;
};

}  // namespace edge
