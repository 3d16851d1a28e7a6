// The device tests itself before it is trusted: the golden clip's answers against those recorded at
// export (runtime/engine.py does the same for Python).
#pragma once

#include <optional>

#include "runtime/native/bundle.h"
#include "runtime/native/engine.h"

namespace edge {

// Returns the largest error as a share of its tolerance; nothing where there is no golden clip, or
// a compressed one, as bundles of older exports have it.
// Throws ArtifactError when an output is off by more than is allowed, or the golden clip does not
// fit the bundle.
std::optional<double> SelfTest(const Bundle& bundle, Engine* engine);

}  // namespace edge
