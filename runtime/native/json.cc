#include "runtime/native/json.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "runtime/native/errors.h"

namespace edge {
namespace {

constexpr int kMaxDepth = 64;

// A double as Python's repr gives it: the shortest digits, as a plain number where its first digit
// is worth 1e-4 to 1e15.
std::string PythonNumber(double value) {
  char digits[40];
  const auto end =
      std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::scientific).ptr;
  const std::string text(digits, end);
  const int exponent = std::atoi(text.c_str() + text.find('e') + 1);
  if (exponent < -4 || exponent >= 16) return text;
  const auto stop =
      std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::fixed).ptr;
  const std::string plain(digits, stop);
  return plain.find('.') == std::string::npos ? plain + ".0" : plain;
}

}  // namespace

Json ParseJson(const std::string& text) {
  const auto shallow = [](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) throw ArtifactError("not valid JSON: nested too deeply");
    return true;
  };
  try {
    return Json::parse(text, shallow);
  } catch (const Json::exception& error) {
    throw ArtifactError(std::string("not valid JSON: ") + error.what());
  }
}

std::string CanonicalJson(const Json& value) {
  if (value.is_number_float()) return PythonNumber(value.get<double>());
  if (!value.is_structured()) return value.dump(-1, ' ', /*ensure_ascii=*/true);
  std::string text;
  for (const auto& [key, item] : value.items()) {
    if (!text.empty()) text += ',';
    if (value.is_object()) text += Json(key).dump(-1, ' ', true) + ":";
    text += CanonicalJson(item);
  }
  return value.is_object() ? "{" + text + "}" : "[" + text + "]";
}

}  // namespace edge
