#include "runtime/native/picture-format.h"

#include <vector>

#include "runtime/native/test.h"

namespace {

using edge::DeepGreyBits;
using edge::FindFormat;

// Beginnings of packets as FFmpeg's encoders make them.
const std::string kH264 =
    "0000000109f0000000016764001eacd940a02ff970110000030001000003003c0f162d960000000168ebe3cb22c0";
const std::string kH264Interlaced =
    "0000016764001eacd940a063f3e022000003000200000300643e28532c0000000168fba3cb22c0";
const std::string kHevc =
    "0000000140010c01ffff02200000030090000003000003003f95980900000001420101022000000300900000030000"
    "03003fa005020169365959a4932bc05a7080000003008000000f04";
const std::string kMpeg2 =
    "000001b328016833ffffe018000001b5148200010000000001b80008004000000100000ffff8000001b58ffff38000"
    "0000000101";
const std::string kMpeg2Progressive = "000001b328016033ffffe018000001b5148a00010000000001b8000800";
const std::string kJpeg = "ffd8ffe000046162ffffc00011080168028003012200021100031100";
const std::string kProRes = "0001d14a69637066009400004c617663028001688400020202400003040404040404";
const std::string kVp8 = "9098019d012a800268010007088585888584";
const std::string kVp9 = "824983420027f016760038241c184a1005";
const std::string kVp9Of422 = "a24983420804fe02cec007048383094200b0";

std::vector<std::uint8_t> BytesOf(const std::string& hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string TextOf(const std::string& hex) {
  const std::vector<std::uint8_t> bytes = BytesOf(hex);
  const auto found = FindFormat(bytes.data(), bytes.size());
  return found ? found->ToText() : "nothing";
}

TEST(SizeAndColoursAreReadFromTheHeaderOfEachCodec) {
  EXPECT(TextOf(kH264) == "640x360 4:2:0");
  EXPECT(TextOf(kHevc) == "640x360 4:2:0 with 10 bits");
  EXPECT(TextOf(kMpeg2Progressive) == "640x352 4:2:0");
  EXPECT(TextOf(kJpeg) == "640x360 4:2:0");
  // The same, as encoders write it.
  for (const auto& [factors, colours] : {std::pair{"221111", "4:2:0"},
                                         {"211111", "4:2:2"},
                                         {"221212", "4:2:2"},
                                         {"111111", "4:4:4"},
                                         {"222222", "4:4:4"},
                                         {"411111", "of another colour format"}}) {
    std::string other = kJpeg;
    for (int c = 0; c < 3; ++c) other.replace(other.size() - 16 + 6 * c, 2, factors + 2 * c, 2);
    EXPECT(TextOf(other) == std::string("640x360 ") + colours);
  }
  EXPECT(TextOf(kVp8) == "640x360 4:2:0");
  EXPECT(TextOf(kVp9) == "640x360 4:2:0");
  EXPECT(TextOf(kVp9Of422) == "640x360 4:2:2");
}

TEST(InterlacingIsReadWhereTheHeaderTells) {
  EXPECT(TextOf(kH264Interlaced) == "640x360 4:2:0, interlaced");
  EXPECT(TextOf(kMpeg2) == "640x360 4:2:0, interlaced");
  EXPECT(TextOf(kProRes) == "640x360 4:2:2 with 10 bits, interlaced");
  // A whole picture in a sequence that may have others.
  std::string whole = kMpeg2;
  whole.replace(whole.find("8ffff38000"), 10, "8ffff38080");
  EXPECT(TextOf(whole) == "640x360 4:2:0");
}

TEST(APictureIsOfAnotherLayoutWhereADecoderHoldsItOtherwise) {
  const auto plain = BytesOf(kH264);
  const auto interlaced = BytesOf(kH264Interlaced);
  const auto a = FindFormat(plain.data(), plain.size());
  const auto b = FindFormat(interlaced.data(), interlaced.size());
  EXPECT(a && a->SameLayout(*a));
  EXPECT(a && b && !a->SameLayout(*b));  // 368 and 384 lines
  EXPECT(a && a->stored_height == 368 && b && b->stored_height == 384);
}

TEST(WhatIsNoHeaderIsNothing) {
  EXPECT(TextOf("") == "nothing");
  EXPECT(TextOf("000001419a246c41ffd8ffe0000000016764001eacd940a02ff970") == "nothing");  // pixels
  EXPECT(TextOf("000001b3001007000001b610621dae7be4ccb3e4dc73") == "nothing");            // MPEG-4
  EXPECT(TextOf("89375d2074906d7640e9ae3a38dd07acb806161ee22d56") == "nothing");          // FFV1
  EXPECT(TextOf("00000000000000000000000000000000000000000000000000") == "nothing");
}

TEST(AHeaderThatIsCutOffOrDamagedIsNoError) {
  for (const std::string& hex : {kH264, kH264Interlaced, kHevc, kMpeg2, kMpeg2Progressive, kJpeg,
                                 kProRes, kVp8, kVp9, kVp9Of422}) {
    const std::vector<std::uint8_t> whole = BytesOf(hex);
    for (std::size_t size = 0; size <= whole.size(); ++size) {
      // In memory of its own, so that a sanitizer sees what is read behind it.
      const std::vector<std::uint8_t> part(whole.begin(), whole.begin() + size);
      FindFormat(part.data(), part.size());
    }
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (const int value : {0x00, 0x7F, 0xFF}) {
        std::vector<std::uint8_t> damaged = whole;
        damaged[i] = static_cast<std::uint8_t>(value);
        const auto found = FindFormat(damaged.data(), damaged.size());
        EXPECT(!found || !found->ToText().empty());
      }
    }
  }
}

TEST(GreyOfMoreThan8BitsIsKnownByItsTag) {
  EXPECT(DeepGreyBits(0x10003159) == 16);  // gray16le
  EXPECT(DeepGreyBits(0x59310010) == 16);  // gray16be
  EXPECT(DeepGreyBits(0x0a003159) == 10);
  EXPECT(DeepGreyBits(0x08003159) == 0);
  EXPECT(DeepGreyBits(0x30323449) == 0);  // I420
  EXPECT(DeepGreyBits(0xffffffff) == 0);  // none
  EXPECT(DeepGreyBits(0x100b3359) == 0);  // yuv420p16le
}

}  // namespace
