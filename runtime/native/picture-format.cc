#include "runtime/native/picture-format.h"

#include <algorithm>
#include <array>
#include <vector>

namespace edge {
namespace {

using Found = std::optional<PictureFormat>;

// The bits of a header; zeros behind its end.
class Bits {
 public:
  explicit Bits(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
  Bits(const std::uint8_t* data, std::size_t size) : bytes_(data, data + size) {}

  unsigned Take(int count) {
    unsigned value = 0;
    for (int i = 0; i < count; ++i, ++at_) {
      const unsigned byte = at_ / 8 < bytes_.size() ? bytes_[at_ / 8] : 0;
      value = 2 * value + ((byte >> (7 - at_ % 8)) & 1);
    }
    return value;
  }
  void Skip(std::size_t count) { at_ += count; }
  // An Exp-Golomb code of H.264.
  unsigned TakeCode() {
    int zeros = 0;
    while (zeros < 31 && !over() && Take(1) == 0) ++zeros;
    return (1U << zeros) - 1 + Take(zeros);
  }
  int TakeSignedCode() {
    const unsigned code = TakeCode();
    return code % 2 == 1 ? static_cast<int>(code / 2) + 1 : -static_cast<int>(code / 2);
  }
  bool over() const { return at_ > 8 * bytes_.size(); }

 private:
  std::vector<std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

// Without the bytes that keep start codes out of a unit.
Bits Unescaped(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kMost = 1024;  // a header with all its lists is shorter
  std::vector<std::uint8_t> bytes;
  int zeros = 0;
  for (std::size_t i = 0; i < std::min(size, kMost); ++i) {
    if (zeros >= 2 && data[i] == 3) {
      zeros = 0;
      continue;
    }
    zeros = data[i] == 0 ? zeros + 1 : 0;
    bytes.push_back(data[i]);
  }
  return Bits(std::move(bytes));
}

// With what is cut off: left, right, top, bottom, in units of chroma samples.
void Crop(Bits* bits, int rows, PictureFormat* format) {
  std::array<int, 4> cut{};
  for (int& side : cut) side = static_cast<int>(std::min(bits->TakeCode(), 1U << 16));
  format->width -= (cut[0] + cut[1]) * (format->chroma == 1 || format->chroma == 2 ? 2 : 1);
  format->height -= (cut[2] + cut[3]) * (format->chroma == 1 ? 2 : 1) * rows;
}

Found Checked(const PictureFormat& format, const Bits& bits) {
  const bool sane = !bits.over() && format.width > 0 && format.height > 0 &&
                    format.width <= 65536 && format.height <= 65536;
  return sane ? Found(format) : std::nullopt;
}

void SkipScalingLists(Bits* bits, int count) {
  for (int i = 0; i < count; ++i) {
    if (bits->Take(1) == 0) continue;
    int last = 8;
    int next = 8;
    for (int k = 0; k < (i < 6 ? 16 : 64) && next != 0; ++k) {
      next = (last + bits->TakeSignedCode()) & 255;
      if (next != 0) last = next;
    }
  }
}

// A sequence parameter set of H.264, behind the byte of its type (7.3.2.1.1).
Found ReadH264(Bits bits) {
  PictureFormat format;
  const unsigned profile = bits.Take(8);
  bits.Skip(16);
  bits.TakeCode();
  for (const unsigned high : {100U, 110U, 122U, 244U, 44U, 83U, 86U, 118U, 128U}) {
    if (profile != high) continue;
    format.chroma = bits.TakeCode();
    if (format.chroma == 3) bits.Skip(1);
    format.bits = 8 + static_cast<int>(bits.TakeCode() & 15);
    bits.TakeCode();
    bits.Skip(1);
    if (bits.Take(1) == 1) SkipScalingLists(&bits, format.chroma == 3 ? 12 : 8);
  }
  bits.TakeCode();
  const unsigned order = bits.TakeCode();
  if (order == 0) bits.TakeCode();
  if (order == 1) {
    bits.Skip(1);
    bits.TakeCode();
    bits.TakeCode();
    for (unsigned left = std::min(bits.TakeCode(), 255U); left > 0; --left) bits.TakeCode();
  }
  bits.TakeCode();
  bits.Skip(1);
  format.width = 16 * static_cast<int>(std::min(bits.TakeCode(), 4095U) + 1);
  format.height = 16 * static_cast<int>(std::min(bits.TakeCode(), 4095U) + 1);
  format.interlaced = bits.Take(1) == 0;  // frame_mbs_only_flag
  if (format.interlaced) format.height *= 2;
  bits.Skip(format.interlaced ? 2 : 1);
  format.stored_width = format.width;
  format.stored_height = format.height;
  if (bits.Take(1) == 1) Crop(&bits, format.interlaced ? 2 : 1, &format);
  return Checked(format, bits);
}

// One of HEVC, behind the two bytes of its type (7.3.2.2).
Found ReadHevc(Bits bits) {
  PictureFormat format;
  bits.Skip(4);
  const unsigned layers = bits.Take(3);
  bits.Skip(1 + 96);
  std::array<unsigned, 8> given{};
  for (unsigned i = 0; i < layers; ++i) given[i] = bits.Take(2);
  if (layers > 0) bits.Skip(2 * (8 - layers));
  for (unsigned i = 0; i < layers; ++i) {
    bits.Skip((given[i] & 2 ? 88 : 0) + (given[i] & 1 ? 8 : 0));
  }
  bits.TakeCode();
  format.chroma = bits.TakeCode();
  if (format.chroma == 3) bits.Skip(1);
  format.width = static_cast<int>(std::min(bits.TakeCode(), 1U << 17));
  format.height = static_cast<int>(std::min(bits.TakeCode(), 1U << 17));
  format.stored_width = format.width;
  format.stored_height = format.height;
  if (bits.Take(1) == 1) Crop(&bits, 1, &format);
  format.bits = 8 + static_cast<int>(bits.TakeCode() & 15);
  return Checked(format, bits);
}

// Units with start codes, up to the first that holds pixels.
Found ReadUnits(const std::uint8_t* data, std::size_t size) {
  Found found;
  bool mpeg2 = false;
  for (std::size_t i = 0; i + 4 < size; ++i) {
    if (data[i] != 0 || data[i + 1] != 0 || data[i + 2] != 1) {
      if (i == 0 && (data[0] != 0 || data[1] != 0 || data[2] != 0 || data[3] != 1)) return {};
      continue;
    }
    const std::uint8_t* const unit = data + i + 3;
    const std::size_t left = size - i - 3;
    if (unit[0] == 0xB3 && left > 4) {  // a sequence header of MPEG-2
      mpeg2 = true;
      Bits bits(unit + 1, 3);
      found.emplace();
      found->width = found->stored_width = static_cast<int>(bits.Take(12));
      found->height = found->stored_height = static_cast<int>(bits.Take(12));
      found->bits = 0;  // until its extension came: MPEG-4 has units of this type, too
    } else if (mpeg2 && unit[0] == 0xB5 && left > 5) {
      Bits bits(unit + 1, std::min<std::size_t>(left - 1, 8));
      const unsigned type = bits.Take(4);
      if (type == 1) {
        bits.Skip(8);
        found->interlaced = bits.Take(1) == 0;
        found->chroma = bits.Take(2);
        found->bits = 8;
      } else if (type == 8 && left > 6) {
        bits.Skip(28);
        if (bits.Take(1) == 1) found->interlaced = false;  // progressive_frame
      }
    } else if (mpeg2 && unit[0] >= 0x01 && unit[0] <= 0xAF) {
      break;
    } else if (!mpeg2 && (unit[0] & 0x9F) == 7 && (unit[0] & 0x60) != 0) {
      return ReadH264(Unescaped(unit + 1, left - 1));
    } else if (!mpeg2 && unit[0] == 0x42 && unit[1] == 0x01) {
      return ReadHevc(Unescaped(unit + 2, left - 2));
    } else if (!mpeg2 && ((unit[0] & 0x9F) == 1 || (unit[0] & 0x9F) == 5)) {
      return {};
    }
  }
  return found && found->bits > 0 ? found : std::nullopt;
}

int Sixteen(const std::uint8_t* data) { return 256 * data[0] + data[1]; }

// Of three components, each a number, its samples (across and down) and a table.
unsigned JpegChroma(const std::uint8_t* components) {
  const unsigned luma = components[1];
  const unsigned other = components[4];
  const bool half_across = (luma >> 4) == 2 * (other >> 4);
  const bool half_down = (luma & 15) == 2 * (other & 15);
  if (components[7] != other) return 1000 + luma;
  if (luma == other) return 3;
  if (half_across && half_down) return 1;
  if (half_across && (luma & 15) == (other & 15)) return 2;
  return 256 * luma + other;
}

Found ReadJpeg(const std::uint8_t* data, std::size_t size) {
  for (std::size_t i = 2; i + 9 < size && data[i] == 0xFF;) {
    const std::uint8_t mark = data[i + 1];
    if (mark == 0xFF) {
      ++i;
      continue;
    }
    const bool frame = mark >= 0xC0 && mark <= 0xCF && mark != 0xC4 && mark != 0xC8 && mark != 0xCC;
    if (!frame) {
      i += 2 + static_cast<std::size_t>(Sixteen(data + i + 2));
      continue;
    }
    PictureFormat format;
    format.bits = data[i + 4];
    format.height = format.stored_height = Sixteen(data + i + 5);
    format.width = format.stored_width = Sixteen(data + i + 7);
    const unsigned components = data[i + 9];
    if (components == 1) format.chroma = 0;
    if (components == 3 && i + 17 < size) format.chroma = JpegChroma(data + i + 10);
    if (components != 1 && components != 3) format.chroma = 10 + components;
    return format;
  }
  return {};
}

Found ReadProRes(const std::uint8_t* data) {
  PictureFormat format;
  format.width = format.stored_width = Sixteen(data + 16);
  format.height = format.stored_height = Sixteen(data + 18);
  format.chroma = data[20] >> 6;
  format.bits = 10;
  format.interlaced = (data[20] & 0x0C) != 0;
  return format;
}

Found ReadVp8(const std::uint8_t* data) {
  PictureFormat format;
  format.width = format.stored_width = (data[7] & 0x3F) * 256 + data[6];
  format.height = format.stored_height = (data[9] & 0x3F) * 256 + data[8];
  return format;
}

// A keyframe of VP9, profiles 0 to 2.
Found ReadVp9(const std::uint8_t* data, std::size_t size) {
  PictureFormat format;
  Bits bits(data, std::min<std::size_t>(size, 16));
  bits.Skip(2);
  const unsigned low = bits.Take(1);
  const unsigned profile = low + 2 * bits.Take(1);
  bits.Skip(4 + 24);
  if (profile >= 2) format.bits = bits.Take(1) == 1 ? 12 : 10;
  const bool srgb = bits.Take(3) == 7;
  if (!srgb) bits.Skip(1);
  if (profile == 1 && srgb) format.chroma = 3;
  if (profile == 1 && !srgb) {  // whether chroma is halved across, and down
    const unsigned halved = bits.Take(2);
    format.chroma = halved == 0 ? 3 : halved == 2 ? 2 : 10 + halved;
    bits.Skip(1);
  }
  format.width = format.stored_width = static_cast<int>(bits.Take(16)) + 1;
  format.height = format.stored_height = static_cast<int>(bits.Take(16)) + 1;
  return Checked(format, bits);
}

}  // namespace

bool PictureFormat::SameLayout(const PictureFormat& other) const {
  return width == other.width && height == other.height && stored_width == other.stored_width &&
         stored_height == other.stored_height && chroma == other.chroma && bits == other.bits;
}

std::string PictureFormat::ToText() const {
  static const std::array<const char*, 4> kChroma = {" grey", " 4:2:0", " 4:2:2", " 4:4:4"};
  std::string text = std::to_string(width) + "x" + std::to_string(height);
  text += chroma < kChroma.size() ? kChroma[chroma] : " of another colour format";
  if (bits != 8) text += " with " + std::to_string(bits) + " bits";
  return text + (interlaced ? ", interlaced" : "");
}

std::optional<PictureFormat> FindFormat(const std::uint8_t* data, std::size_t size) {
  if (size < 12) return {};
  if (data[0] == 0 && data[1] == 0) return ReadUnits(data, size);
  if (data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF) return ReadJpeg(data, size);
  if (size > 28 && std::string(data + 4, data + 8) == "icpf") return ReadProRes(data);
  if ((data[0] & 1) == 0 && data[3] == 0x9D && data[4] == 0x01 && data[5] == 0x2A) {
    return ReadVp8(data);
  }
  const bool vp9_key = (data[0] & 0xCC) == 0x80 && (data[0] & 0x30) != 0x30;
  if (vp9_key && data[1] == 0x49 && data[2] == 0x83 && data[3] == 0x42) return ReadVp9(data, size);
  return {};
}

int DeepGreyBits(std::uint32_t tag) {
  // FFmpeg's tags: `Y1`, 0 and the bits; the other way round where the high byte comes first.
  const int b[4] = {int(tag & 255), int(tag >> 8 & 255), int(tag >> 16 & 255), int(tag >> 24)};
  const bool little = b[0] == 'Y' && b[1] == '1' && b[2] == 0;
  const bool big = b[3] == 'Y' && b[2] == '1' && b[1] == 0;
  const int bits = little ? b[3] : big ? b[0] : 0;
  return bits > 8 ? bits : 0;
}

}  // namespace edge
