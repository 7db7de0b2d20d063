// Any bytes as a message that is to leave: what says who the client is must be gone, and nothing else may change.
//
// The first two bytes are the prefix lengths. What an obvious reader finds in OPT records of the masked message is held
// against them; a message that is masked again stays as it is.
#include "pharos/base/assert.hh"
#include "pharos/dataplane/observe/client_mask.hh"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

using Message = std::vector<std::uint8_t>;

// Reads front to back and never looks behind `bytes`.
class Reader {
 public:
  explicit Reader(const Message& message) : bytes_(message) {}
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t at() const { return at_; }
  unsigned u8() {
    if (at_ >= bytes_.size()) ok_ = false;
    return ok_ ? bytes_[at_++] : 0;
  }
  unsigned u16() {
    const unsigned high = u8();
    return high << 8 | u8();
  }
  void skip(std::size_t count) {
    for (std::size_t i = 0; i < count && ok_; ++i) (void)u8();
  }
  void name() {
    while (ok_) {
      const unsigned length = u8();
      if (length == 0) return;
      if (length >= 0xc0) return void(u8());
      skip(length);
    }
  }

 private:
  const Message& bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

// Whether bits behind `bits` of the `count` bytes next in `reader` are all zero.
void expect_cut(Reader& reader, unsigned count, unsigned bits) {
  for (unsigned i = 0; i < count; ++i) {
    const unsigned octet = reader.u8();
    const unsigned kept = bits > 8 * i ? bits - 8 * i : 0;
    if (kept < 8) REQUIRE((octet & (0xffU >> kept)) == 0);
  }
}

void expect_masked(const Message& message, unsigned ipv4_bits, unsigned ipv6_bits) {
  Reader reader(message);
  reader.skip(4);
  const unsigned questions = reader.u16();
  unsigned records = reader.u16();
  records += reader.u16();
  records += reader.u16();
  for (unsigned i = 0; i < questions; ++i) {
    reader.name();
    reader.skip(4);
  }
  for (unsigned i = 0; i < records; ++i) {
    reader.name();
    const unsigned type = reader.u16();
    reader.skip(6);
    const unsigned data_bytes = reader.u16();
    const std::size_t end = reader.at() + data_bytes;
    if (type != 41) reader.skip(data_bytes);
    while (reader.ok() && reader.at() < end) {
      const unsigned code = reader.u16();
      const unsigned bytes = reader.u16();
      if (code != 8) {
        reader.skip(bytes);
        continue;
      }
      const unsigned family = reader.u16();
      reader.skip(2);
      expect_cut(reader, bytes - 4, family == 1 ? ipv4_bits : family == 2 ? ipv6_bits : 0);
    }
    REQUIRE(reader.ok() && reader.at() == end);
  }
  REQUIRE(reader.ok() && reader.at() == message.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const pharos::dataplane::ClientMask mask{
      .ipv4_prefix_bits = static_cast<std::uint8_t>(data[0] % 25),
      .ipv6_prefix_bits = static_cast<std::uint8_t>(data[1] % 57),
      .key = std::nullopt};
  const Message original(data + 2, data + size);
  Message message = original;
  if (!mask_message(std::as_writable_bytes(std::span(message)), mask)) return 0;
  expect_masked(message, mask.ipv4_prefix_bits, mask.ipv6_prefix_bits);
  for (std::size_t i = 0; i < message.size(); ++i)
    REQUIRE(message[i] == original[i] || (message[i] & ~original[i]) == 0);
  Message again = message;
  REQUIRE(mask_message(std::as_writable_bytes(std::span(again)), mask));
  REQUIRE(again == message);
  return 0;
}
