// JSON by nlohmann/json, with errors in our words, and the canonical text that a bundle is sealed
// over.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace edge {

using Json = nlohmann::json;

// Throws ArtifactError when the text is not JSON, or is nested more than 64 levels deep.
Json ParseJson(const std::string& text);

// What Python's json.dumps(value, sort_keys=True, separators=(",", ":")) gives: keys sorted, no
// blanks, ASCII only, each number with the fewest digits that read back as it.
std::string CanonicalJson(const Json& value);

// A string as JSON, with its quotes. Its UTF-8 must be whole.
inline std::string JsonQuote(const std::string& text) { return Json(text).dump(); }

}  // namespace edge
