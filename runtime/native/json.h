// The little JSON that a device without Python needs: reading a bundle, writing result lines.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace edge {

// One JSON value. Objects keep the order of the file; numbers keep their text, so that the seal of
// a bundle can be computed over what was written.
class Json {
 public:
  enum class Type { kNull, kBool, kNumber, kString, kArray, kObject };

  // Throws ArtifactError with the place of the first fault.
  static Json Parse(const std::string& text);

  Type type() const { return type_; }
  // These throw ArtifactError when the value is of another type, or out of range.
  bool Bool() const;
  double Number() const;
  int Integer() const;
  const std::string& String() const;
  const std::vector<Json>& Array() const;
  // A member of an object; `where` names the object in the error.
  const Json& At(const std::string& key) const;
  // The same, nullptr where the object does not have it.
  const Json* Find(const std::string& key) const;

  // Keys sorted, no blanks, ASCII only: json.dumps(sort_keys=True, separators=(",", ":")).
  // A key of the outermost object can be left out.
  std::string Canonical(const std::string& without = "") const;

 private:
  friend class JsonParser;

  Type type_ = Type::kNull;
  bool bool_ = false;
  std::string text_;  // of a string or number
  std::vector<Json> items_;
  std::vector<std::pair<std::string, Json>> members_;
};

// A string as JSON, with its quotes. `ascii` writes everything else as \uXXXX, as Python does.
std::string JsonQuote(const std::string& text, bool ascii = false);

}  // namespace edge
