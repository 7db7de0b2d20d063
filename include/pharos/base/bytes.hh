// Network-order integers and spans of bytes.
//
// BeN is the only way in which this project holds a number in network order: it is converted once, at
// the field. All are byte-aligned, so that a struct of them can be laid over any byte of a packet.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace pharos {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

static_assert(std::endian::native == std::endian::little, "Pharos runs on x86-64");

template <typename T>
[[nodiscard]] constexpr T byte_swap(T value) noexcept {
  if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(value));
  if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(value));
  if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(value));
}

// An unsigned integer in network order at any alignment.
template <typename T>
class BigEndian {
 public:
  constexpr BigEndian() noexcept = default;
  constexpr BigEndian(T value) noexcept { *this = value; }  // NOLINT: converting on purpose
  constexpr BigEndian& operator=(T value) noexcept {
    bytes_ = std::bit_cast<Raw>(byte_swap(value));
    return *this;
  }
  [[nodiscard]] constexpr operator T() const noexcept {
    return byte_swap(std::bit_cast<T>(bytes_));
  }

 private:
  struct Raw {
    unsigned char at[sizeof(T)];
    friend constexpr bool operator==(const Raw&, const Raw&) noexcept = default;
  };
  Raw bytes_{};
};

using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;
using Be64 = BigEndian<std::uint64_t>;
static_assert(sizeof(Be16) == 2 && alignof(Be16) == 1);
static_assert(sizeof(Be32) == 4 && alignof(Be32) == 1);
static_assert(sizeof(Be64) == 8 && alignof(Be64) == 1);

// Unaligned loads and stores; the caller has checked the bounds.
template <typename T>
[[nodiscard]] inline T load(const void* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename T>
inline void store(void* to, const T& value) noexcept {
  std::memcpy(to, &value, sizeof value);
}

[[nodiscard]] inline ConstBytes as_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}
template <typename T>
[[nodiscard]] inline ConstBytes object_bytes(const T& object) noexcept {
  return std::as_bytes(std::span(&object, 1));
}
[[nodiscard]] inline std::string_view as_text(ConstBytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <typename T>
[[nodiscard]] constexpr T round_up(T value, T multiple) noexcept {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace pharos
