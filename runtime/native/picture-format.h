// What the headers in a video's packets say of its pictures. OpenCV settles on size and colour
// format at the first picture, and tells nothing of interlacing (4.6 to 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace edge {

struct PictureFormat {
  int width = 0;
  int height = 0;
  int stored_width = 0;  // in whole blocks, as the decoder holds it
  int stored_height = 0;
  // chroma_format_idc of H.264: 0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4; another number is another
  // format.
  unsigned chroma = 1;
  int bits = 8;
  bool interlaced = false;  // coded so: the picture may be whole nevertheless

  // Whether a decoder holds both alike.
  bool SameLayout(const PictureFormat& other) const;
  // As in `640x360 4:2:0, interlaced`.
  std::string ToText() const;
};

// Reads a packet, or a stream's own header, of H.264 and HEVC (with start codes), MPEG-2, JPEG,
// ProRes, VP8 or VP9. Nothing where it holds no header, as most do not, or is of another codec.
std::optional<PictureFormat> FindFormat(const std::uint8_t* data, std::size_t size);

// How many bits a grey pixel has, by the tag that OpenCV gives as CAP_PROP_CODEC_PIXEL_FORMAT; 0
// where it is of another format, or of 8 bits.
int DeepGreyBits(std::uint32_t tag);

}  // namespace edge
