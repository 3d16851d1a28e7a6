// How many processors this process may really use.
#pragma once

#include <string>

namespace edge {

// The smaller of the processors that it may be scheduled on and the time that its control groups
// (v1 or v2, its own and those around it) allow, in whole processors, at least 1. A limit that
// cannot be read is none. `root` stands for `/`.
int UsableProcessors(const std::string& root = "");

}  // namespace edge
