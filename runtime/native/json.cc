#include "runtime/native/json.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "runtime/native/errors.h"

namespace edge {
namespace {

constexpr int kMaxDepth = 64;

// Decodes one UTF-8 character at `i` and steps over it; 0xFFFD for a broken one.
std::uint32_t NextCodePoint(const std::string& text, std::size_t* i) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char lead = byte((*i)++);
  if (lead < 0x80) return lead;
  const int extra = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : -1;
  if (extra < 0) return 0xFFFD;
  std::uint32_t code = lead & (0x3F >> extra);
  for (int k = 0; k < extra; ++k) {
    if (*i >= text.size() || (byte(*i) & 0xC0) != 0x80) return 0xFFFD;
    code = (code << 6) | (byte((*i)++) & 0x3F);
  }
  return code;
}

void AppendUtf8(std::uint32_t code, std::string* text) {
  if (code < 0x80) {
    text->push_back(static_cast<char>(code));
    return;
  }
  const int extra = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  const int lead = extra == 1 ? 0xC0 : extra == 2 ? 0xE0 : 0xF0;
  text->push_back(static_cast<char>(lead | (code >> (6 * extra))));
  for (int k = extra - 1; k >= 0; --k) {
    text->push_back(static_cast<char>(0x80 | ((code >> (6 * k)) & 0x3F)));
  }
}

void AppendEscape(std::uint32_t unit, std::string* text) {
  char buffer[16];
  std::snprintf(buffer, sizeof(buffer), "\\u%04x", static_cast<unsigned>(unit));
  text->append(buffer);
}

}  // namespace

std::string JsonQuote(const std::string& text, bool ascii) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    const std::uint32_t code = NextCodePoint(text, &i);
    static const char* const kShort = "\"\\\b\f\n\r\t";
    static const char* const kLetter = "\"\\bfnrt";
    const char* found = nullptr;
    for (const char* s = kShort; *s != 0; ++s) {
      if (static_cast<std::uint32_t>(*s) == code) found = kLetter + (s - kShort);
    }
    if (found != nullptr) {
      out.push_back('\\');
      out.push_back(*found);
    } else if (code < 0x20 || (ascii && code == 0x7F)) {
      AppendEscape(code, &out);
    } else if (!ascii || code < 0x80) {
      out.append(text, start, i - start);
    } else if (code >= 0x10000) {
      AppendEscape(0xD800 + ((code - 0x10000) >> 10), &out);
      AppendEscape(0xDC00 + ((code - 0x10000) & 0x3FF), &out);
    } else {
      AppendEscape(code, &out);
    }
  }
  return out + "\"";
}

class JsonParser {
 public:
  explicit JsonParser(const std::string& text) : text_(text) {}

  Json Document() {
    Json value = Value(0);
    SkipBlanks();
    if (at_ != text_.size()) Fail("text after the end");
    return value;
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const {
    throw ArtifactError("not valid JSON: " + what + " at byte " + std::to_string(at_));
  }

  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void SkipBlanks() {
    while (at_ < text_.size() &&
           (Peek() == ' ' || Peek() == '\n' || Peek() == '\r' || Peek() == '\t')) {
      ++at_;
    }
  }

  void Expect(char c) {
    SkipBlanks();
    if (Peek() != c) Fail(std::string("expected '") + c + "'");
    ++at_;
  }

  bool Take(char c) {
    SkipBlanks();
    if (Peek() != c) return false;
    ++at_;
    return true;
  }

  Json Value(int depth) {
    if (depth > kMaxDepth) Fail("nested too deeply");
    SkipBlanks();
    Json value;
    switch (Peek()) {
      case '{':
        Object(depth, &value);
        break;
      case '[':
        Array(depth, &value);
        break;
      case '"':
        value.type_ = Json::Type::kString;
        value.text_ = String();
        break;
      default:
        if (!Word("null") && !Boolean(&value)) Number(&value);
    }
    return value;
  }

  bool Word(const char* word) {
    const std::string wanted(word);
    if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
    at_ += wanted.size();
    return true;
  }

  bool Boolean(Json* value) {
    const bool yes = Word("true");
    if (!yes && !Word("false")) return false;
    value->type_ = Json::Type::kBool;
    value->bool_ = yes;
    return true;
  }

  void Number(Json* value) {
    const std::size_t end = text_.find_first_not_of("+-.0123456789eE", at_);
    value->type_ = Json::Type::kNumber;
    value->text_ = text_.substr(at_, end == std::string::npos ? end : end - at_);
    char* stop = nullptr;
    std::strtod(value->text_.c_str(), &stop);
    if (value->text_.empty() || *stop != '\0') Fail("expected a value");
    at_ += value->text_.size();
  }

  void Array(int depth, Json* value) {
    value->type_ = Json::Type::kArray;
    Expect('[');
    if (Take(']')) return;
    do {
      value->items_.push_back(Value(depth + 1));
    } while (Take(','));
    Expect(']');
  }

  void Object(int depth, Json* value) {
    value->type_ = Json::Type::kObject;
    Expect('{');
    if (Take('}')) return;
    do {
      SkipBlanks();
      std::string key = String();
      Expect(':');
      value->members_.emplace_back(std::move(key), Value(depth + 1));
    } while (Take(','));
    Expect('}');
  }

  std::uint32_t Hex4() {
    if (at_ + 4 > text_.size()) Fail("expected four hexadecimal digits");
    std::uint32_t code = 0;
    for (int k = 0; k < 4; ++k) {
      const char c = text_[at_++];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) Fail("expected four hexadecimal digits");
      code = code * 16 + static_cast<std::uint32_t>(digit);
    }
    return code;
  }

  void Escape(std::string* out) {
    static const std::string kLetters = "\"\\/bfnrt";
    static const std::string kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = Peek();
    ++at_;
    if (letter == 'u') {
      std::uint32_t code = Hex4();
      if (code >= 0xD800 && code < 0xDC00 && Word("\\u")) {
        code = 0x10000 + ((code - 0xD800) << 10) + ((Hex4() - 0xDC00) & 0x3FF);
      }
      AppendUtf8(code, out);
      return;
    }
    const std::size_t which = kLetters.find(letter);
    if (which == std::string::npos) Fail("unknown escape");
    out->push_back(kMeanings[which]);
  }

  std::string String() {
    if (Peek() != '"') Fail("expected a string");
    ++at_;
    std::string out;
    while (Peek() != '"') {
      if (at_ >= text_.size()) Fail("a string does not end");
      if (Peek() == '\\') {
        ++at_;
        Escape(&out);
      } else {
        out.push_back(text_[at_++]);
      }
    }
    ++at_;
    return out;
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

Json Json::Parse(const std::string& text) { return JsonParser(text).Document(); }

bool Json::Bool() const {
  if (type_ != Type::kBool) throw ArtifactError("expected true or false");
  return bool_;
}

double Json::Number() const {
  if (type_ != Type::kNumber) throw ArtifactError("expected a number");
  return std::strtod(text_.c_str(), nullptr);
}

int Json::Integer() const {
  const double value = Number();
  if (value != std::floor(value) || std::abs(value) > 1e9) {
    throw ArtifactError("expected a whole number, not " + text_);
  }
  return static_cast<int>(value);
}

const std::string& Json::String() const {
  if (type_ != Type::kString) throw ArtifactError("expected a string");
  return text_;
}

const std::vector<Json>& Json::Array() const {
  if (type_ != Type::kArray) throw ArtifactError("expected a list");
  return items_;
}

const Json& Json::At(const std::string& key) const {
  const Json* found = Find(key);
  if (found == nullptr) throw ArtifactError("'" + key + "' is missing");
  return *found;
}

const Json* Json::Find(const std::string& key) const {
  if (type_ != Type::kObject) throw ArtifactError("expected an object with '" + key + "'");
  for (const auto& [name, value] : members_) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string Json::Canonical(const std::string& without) const {
  if (type_ == Type::kNull) return "null";
  if (type_ == Type::kBool) return bool_ ? "true" : "false";
  if (type_ == Type::kNumber) return text_;
  if (type_ == Type::kString) return JsonQuote(text_, true);
  std::string out;
  if (type_ == Type::kArray) {
    for (const Json& item : items_) out += (out.empty() ? "" : ",") + item.Canonical();
    return "[" + out + "]";
  }
  std::vector<const std::pair<std::string, Json>*> sorted;
  for (const auto& member : members_) sorted.push_back(&member);
  // UTF-8 sorts by bytes as Python's strings sort by code point.
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->first < b->first; });
  for (const auto* member : sorted) {
    if (!without.empty() && member->first == without) continue;
    out += (out.empty() ? "" : ",") + JsonQuote(member->first, true) + ":";
    out += member->second.Canonical();
  }
  return "{" + out + "}";
}

}  // namespace edge
