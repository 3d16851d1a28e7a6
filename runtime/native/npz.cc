#include "runtime/native/npz.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "runtime/native/errors.h"

namespace edge {
namespace {

// Of the ZIP format (APPNOTE.TXT 4.3): signatures, sizes of headers, and where fields are in them.
constexpr std::uint64_t kEndOfDirectory = 0x06054b50;
constexpr std::uint64_t kDirectoryEntry = 0x02014b50;
constexpr std::uint64_t kLocalHeader = 0x04034b50;
constexpr std::size_t kEndSize = 22;
constexpr std::size_t kEntrySize = 46;
constexpr std::size_t kLocalSize = 30;
constexpr std::uint64_t kStored = 0;

std::string ShapeInHeader(const Shape& shape) {
  std::string text = "'shape': (";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

}  // namespace

Npz::Npz(const std::string& path) : path_(path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ArtifactError(path + " cannot be read; export or copy the bundle again");
  content_.assign(std::istreambuf_iterator<char>(file), {});
  ReadDirectory();
}

void Npz::Require(bool fits) const {
  if (!fits) throw ArtifactError(path_ + " is no whole archive of arrays; export the bundle again");
}

std::uint64_t Npz::Number(std::size_t offset, int bytes) const {
  Require(offset <= content_.size() && content_.size() - offset >= static_cast<std::size_t>(bytes));
  std::uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) {
    value = value << 8 | static_cast<std::uint8_t>(content_[offset + static_cast<std::size_t>(i)]);
  }
  return value;
}

void Npz::ReadDirectory() {
  Require(content_.size() >= kEndSize);
  const std::size_t end = content_.size() - kEndSize;  // NumPy writes no comment behind it
  Require(Number(end, 4) == kEndOfDirectory);
  std::size_t at = Number(end + 16, 4);
  for (std::uint64_t left = Number(end + 10, 2); left > 0; --left) {
    Require(Number(at, 4) == kDirectoryEntry);
    const std::uint64_t method = Number(at + 10, 2);
    const std::size_t size = Number(at + 24, 4);
    const std::size_t name_size = Number(at + 28, 2);
    const std::size_t local = Number(at + 42, 4);
    Require(at + kEntrySize + name_size <= content_.size());
    const std::string name = content_.substr(at + kEntrySize, name_size);
    at += kEntrySize + name_size + Number(at + 30, 2) + Number(at + 32, 2);
    Require(Number(local, 4) == kLocalHeader);
    const std::size_t data = local + kLocalSize + Number(local + 26, 2) + Number(local + 28, 2);
    if (method != kStored) {
      compressed_ = true;
      continue;
    }
    Require(data <= content_.size() && size <= content_.size() - data);
    entries_[name] = {data, size};
  }
}

NpyArray Npz::At(const std::string& name, const std::string& dtype, const Shape& shape) const {
  const auto found = entries_.find(name + ".npy");
  if (found == entries_.end()) {
    throw ArtifactError(path_ + " lacks " + name + "; export the bundle again");
  }
  const Entry& entry = found->second;
  // NEP 1: magic, version, length of the header, header, values.
  Require(entry.size >= 10 && content_.compare(entry.offset, 6, "\x93NUMPY") == 0 &&
          Number(entry.offset + 6, 1) == 1);
  const std::size_t header_size = Number(entry.offset + 8, 2);
  Require(header_size <= entry.size - 10);
  const std::string header = content_.substr(entry.offset + 10, header_size);
  const auto says = [&](const std::string& text) { return header.find(text) != std::string::npos; };
  const std::size_t width = dtype == "<f4" ? 4 : 1;
  const std::size_t values = entry.size - 10 - header_size;
  if (!says("'descr': '" + dtype + "'") || !says("'fortran_order': False") ||
      !says(ShapeInHeader(shape)) ||
      values != width * static_cast<std::size_t>(ElementCount(shape))) {
    throw ArtifactError(path_ + " has " + name + " as " + header.substr(0, 80) + ", expected " +
                        dtype + " " + ShapeText(shape) + "; export the bundle again");
  }
  return {dtype, shape, content_.data() + entry.offset + 10 + header_size};
}

}  // namespace edge
