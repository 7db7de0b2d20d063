// Answers of addresses, written down byte by byte: what encoded ones are compared with. Tests only.
#pragma once

#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/shared/answer.hh"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace pharos {

inline constexpr std::uint16_t type_a = 1;
inline constexpr std::uint16_t type_aaaa = 28;

inline IpAddress address(std::uint32_t number) {
  return IpAddress::from_ipv4(0xc0000200 + number);
}

// The records that an answer should have, written down byte by byte.
inline std::vector<std::uint8_t> expected_body(const controlplane::CellContent& content,
                                               const std::vector<IpAddress>& slot) {
  std::vector<std::uint8_t> body;
  for (const auto& a : slot) {
    const auto wire = a.wire();
    const auto ttl = content.ttl_s;
    for (const unsigned byte :
         {0xc0U, 12U, 0U, unsigned{content.type}, 0U, 1U, ttl >> 24, ttl >> 16 & 255,
          ttl >> 8 & 255, ttl & 255, 0U, static_cast<unsigned>(wire.size())}) {
      body.push_back(static_cast<std::uint8_t>(byte));
    }
    for (const auto byte : wire) body.push_back(std::to_integer<std::uint8_t>(byte));
  }
  return body;
}

inline void expect_answer(const Answer* answer, const controlplane::CellContent& content,
                          std::uint32_t client_hash) {
  const std::vector<IpAddress> nothing;
  const auto& slot =
      content.slots.empty() ? nothing : content.slots[client_hash & (content.slots.size() - 1)];
  if (slot.empty()) {
    ASSERT_EQ(answer, nullptr);
    return;
  }
  ASSERT_NE(answer, nullptr);
  const auto body = expected_body(content, slot);
  ASSERT_EQ(answer->answer_count, slot.size());
  ASSERT_EQ(answer->body_bytes, body.size());
  ASSERT_EQ(std::memcmp(answer->body(), body.data(), body.size()), 0);
}

}  // namespace pharos
