#include "runtime/native/preprocess.h"

#include <cstdint>
#include <vector>

#include "runtime/native/errors.h"
#include "runtime/native/test.h"

namespace {

constexpr std::array<double, 3> kMean = {0.4, 0.45, 0.5};
constexpr std::array<double, 3> kStd = {0.2, 0.225, 0.25};

std::vector<std::uint8_t> Noise(int width, int height) {
  std::vector<std::uint8_t> pixels(3 * static_cast<std::size_t>(width) * height);
  std::uint32_t state = 1;
  for (std::uint8_t& value : pixels) {
    state = state * 1664525 + 1013904223;
    value = static_cast<std::uint8_t>(state >> 24);
  }
  return pixels;
}

TEST(BothSortsOfKernelsGiveTheSameBytes) {
  for (const auto& [width, height] : {std::pair{64, 48}, {1, 7}, {333, 97}, {97, 1280}}) {
    const std::vector<std::uint8_t> pixels = Noise(width, height);
    const edge::Frame frame{pixels.data(), width, height, 3 * width};
    const edge::Preprocess fast(40, 56, kMean, kStd), plain(40, 56, kMean, kStd, true);
    std::vector<float> one(fast.plane_count()), other(fast.plane_count());
    fast.Run(frame, one.data());
    plain.Run(frame, other.data());
    EXPECT(one == other);
  }
}

TEST(AFlatFrameStaysFlatInRgb) {
  std::vector<std::uint8_t> pixels(3 * 30 * 20);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(i % 3 == 0 ? 51 : i % 3 == 1 ? 102 : 255);  // BGR
  }
  const edge::Preprocess preprocess(8, 8, {0, 0, 0}, {1, 1, 1});
  std::vector<float> planes(preprocess.plane_count());
  preprocess.Run({pixels.data(), 30, 20, 90}, planes.data());
  for (int i = 0; i < 64; ++i) {
    EXPECT(planes[static_cast<std::size_t>(i)] == 1.0F);
    EXPECT(planes[static_cast<std::size_t>(64 + i)] == 0.4F);
    EXPECT(planes[static_cast<std::size_t>(128 + i)] == 0.2F);
  }
}

TEST(SizesThatCannotBeAreRefused) {
  EXPECT(
      !edge::test::ErrorOf<edge::ConfigError>([] { edge::Preprocess(0, 8, kMean, kStd); }).empty());
  EXPECT(!edge::test::ErrorOf<edge::ConfigError>([] {
            edge::Preprocess(8, 8, kMean, {0, 1, 1});
          }).empty());
}

}  // namespace
