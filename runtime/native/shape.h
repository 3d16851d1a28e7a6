// Sizes of a tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace edge {

using Shape = std::vector<std::int64_t>;

std::int64_t ElementCount(const Shape& shape);
std::string ShapeText(const Shape& shape);

}  // namespace edge
