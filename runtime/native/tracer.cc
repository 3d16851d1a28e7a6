#include "runtime/native/tracer.h"

#include <executorch/runtime/platform/platform.h>

#include <chrono>
#include <utility>

namespace executorch::runtime {
// Exported by the wheel, in a header that it keeps to itself.
et_timestamp_t pal_current_ticks();
et_tick_ratio_t pal_ticks_to_ns_multiplier();
}  // namespace executorch::runtime

namespace edge {

namespace rt = executorch::runtime;

// Far more than a run has: a caller that never takes its events must not fill the memory.
constexpr std::size_t kMostEvents = 1 << 20;

double SteadySeconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

Tracer::Tracer() {
  const et_tick_ratio_t ratio = rt::pal_ticks_to_ns_multiplier();
  tick_s_ = 1e-9 * static_cast<double>(ratio.numerator) / static_cast<double>(ratio.denominator);
  ticks_began_s_ = SteadySeconds() - tick_s_ * static_cast<double>(rt::pal_current_ticks());
}

std::vector<TraceEvent> Tracer::Take() {
  open_.clear();
  return std::exchange(events_, {});
}

rt::EventTracerEntry Tracer::Start(const char* name, bool delegated, std::int64_t step) {
  rt::EventTracerEntry entry{};
  entry.event_id = static_cast<std::int64_t>(open_.size());
  open_.push_back({method_, name == nullptr ? "" : name, delegated, step, SteadySeconds(), 0.0});
  return entry;
}

void Tracer::End(const rt::EventTracerEntry& entry) {
  const auto id = static_cast<std::size_t>(entry.event_id);
  if (id >= open_.size()) return;
  TraceEvent& event = open_[id];
  event.duration_s = SteadySeconds() - event.start_s;
  if (events_.size() < kMostEvents) events_.push_back(event);
  if (id == 0) open_.clear();  // the outermost has ended
}

rt::EventTracerEntry Tracer::start_profiling(const char* name, rt::ChainID chain,
                                             rt::DebugHandle handle) {
  const bool inside = chain != rt::kUnsetChainId || chain_id_ != rt::kUnsetChainId;
  const std::int64_t step = handle != rt::kUnsetDebugHandle ? handle : debug_handle_;
  return Start(name, false, inside ? step : -1);
}

void Tracer::end_profiling(rt::EventTracerEntry entry) { End(entry); }

rt::EventTracerEntry Tracer::start_profiling_delegate(const char* name, rt::DelegateDebugIntId) {
  return Start(name, true, debug_handle_);
}

void Tracer::end_profiling_delegate(rt::EventTracerEntry entry, const void*, std::size_t) {
  End(entry);
}

void Tracer::log_profiling_delegate(const char* name, rt::DelegateDebugIntId index,
                                    et_timestamp_t start, et_timestamp_t end, const void*,
                                    std::size_t) {
  if (events_.size() >= kMostEvents) return;
  const std::string word = name == nullptr ? "operator " + std::to_string(index) : name;
  const double begun_s = ticks_began_s_ + tick_s_ * static_cast<double>(start);
  const double duration_s = tick_s_ * static_cast<double>(end - start);
  events_.push_back({method_, word, true, debug_handle_, begun_s, duration_s});
}

}  // namespace edge
