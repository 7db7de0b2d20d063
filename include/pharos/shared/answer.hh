// A prepared answer: the bytes that go behind the question, as they stand in catalog and ranking images.
//
//   +----------------+------------------------------------------+----- ... -----+
//   | Answer (16 B)  | body: answer | authority | additional RRs | relocations   |
//   +----------------+------------------------------------------+----- ... -----+
//                    |<------ required_bytes ------>|           ^ padded to 2
//                    |<------------- body_bytes --------------->|
//
// The body may hold compression pointers of two kinds: into its owner's name (the QNAME or a suffix of
// it) and into itself. They are stored resolved for the common place: owner at offset 12 of the message
// and body right behind the question of that owner. Anywhere else (a zone's negative answer under a
// longer name, the end of a CNAME chain, a wildcard), the writer adds to each pointer listed in
// `relocations` how far its base has moved, and adds the same to the checksum.
#pragma once

#include "pharos/base/bytes.hh"

#include <cstdint>
#include <type_traits>

namespace pharos {

struct Answer {
  std::uint16_t body_bytes;      // all records
  std::uint16_t required_bytes;  // without the additional records that may be left out
  Be16 answer_count;             // in wire order: copied into the header as they are
  Be16 authority_count;
  Be16 additional_count;                    // all of them
  std::uint16_t required_additional_count;  // glue that RFC 9471 demands
  std::uint16_t relocation_count;
  // Ones' complement sum of the body (RFC 1071), taken as native 16-bit words from an even offset,
  // folded, not inverted; swap its bytes at an odd one.
  std::uint16_t checksum;

  [[nodiscard]] const std::byte* body() const noexcept {
    return reinterpret_cast<const std::byte*>(this) + sizeof(Answer);
  }
  [[nodiscard]] const std::uint16_t* relocations() const noexcept {
    return reinterpret_cast<const std::uint16_t*>(body() + (body_bytes + 1U) / 2 * 2);
  }
};
static_assert(sizeof(Answer) == 16 && alignof(Answer) == 2 && std::is_trivially_copyable_v<Answer>);

// A relocation is the offset of a pointer within the body, with this bit set where the pointer's base is
// the body, clear where it is the owner's name.
inline constexpr std::uint16_t relocation_of_body = 0x8000;
// So that every offset fits beside that bit.
inline constexpr unsigned answer_body_bytes_max = 0x7fff;

// Pointers stay below this offset as built, so that moving them never leaves the 14 bits (the base moves
// by less than a whole name and a chain of names, 4 KiB together).
inline constexpr unsigned pointer_target_max = 0x3fff - 4096;

// Bytes that an answer with these counts takes in its section.
[[nodiscard]] constexpr std::uint64_t answer_record_bytes(std::uint32_t body_bytes,
                                                          std::uint32_t relocation_count) noexcept {
  return sizeof(Answer) + (body_bytes + 1U) / 2 * 2 + relocation_count * 2U;
}

// The checksum field of `body`.
[[nodiscard]] std::uint16_t answer_checksum(ConstBytes body) noexcept;

// Proves one answer of which `available_bytes` are inside of its section: sizes, that its records parse
// and add up to the counts, and that every relocation names a compression pointer that lies whole in the body.
[[nodiscard]] bool answer_is_sound(const Answer* answer, std::uint64_t available_bytes) noexcept;

}  // namespace pharos
