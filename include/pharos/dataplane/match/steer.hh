// Steering: which answer of a pool a client gets, and for how large a block of clients that holds.
//
// Workers call it. The client is who the ECS option names, where it does and we listen, else the packet's source.
// The three steps are apart so that a burst can prefetch between them; `steer` does all at once.
#pragma once

#include "pharos/dataplane/table/root.hh"
#include "pharos/shared/client_hash.hh"

#include <cstdint>

namespace pharos::dataplane {

struct Steering {
  ranking::Ref cell = 0;
  std::uint32_t client_hash = 0;
  std::uint8_t scope_length = 0;  // of ECS: bits around the client that get the same answer
};

// The locale's scope ends where slots end: caches are never asked to keep more than one entry a /24 or /56.
[[nodiscard]] constexpr std::uint8_t scope_of(std::uint8_t locale_scope, bool ipv4,
                                              bool slotted) noexcept {
  const unsigned limit = ipv4 ? ranking::slot_prefix_ipv4_bits : ranking::slot_prefix_ipv6_bits;
  return static_cast<std::uint8_t>(slotted || locale_scope > limit ? limit : locale_scope);
}

// Where the cell of a client stands: for prefetching.
struct CellPlace {
  const ranking::Ref* cell = nullptr;
  std::uint8_t locale_scope = 0;
};
[[nodiscard]] inline CellPlace locate(const TableRoot& root, std::uint32_t pool,
                                      const IpAddress& client) noexcept {
  const locale_map::Locale locale = root.locales.find(client);
  return {root.ranking.row(pool) + locale.index, locale.scope_length};
}

[[nodiscard]] inline Steering read_cell(const CellPlace& place, const IpAddress& client,
                                        const ranking::ClientHashKey& key) noexcept {
  const ranking::Ref cell = *place.cell;
  const bool slotted = ranking::is_slotted(cell);
  return {cell, slotted ? ranking::client_hash(client, key) : 0U,
          scope_of(place.locale_scope, client.is_ipv4(), slotted)};
}

struct Steered {
  const Answer* answer = nullptr;  // nullptr: the pool answers nothing
  std::uint8_t scope_length = 0;
};
[[nodiscard]] inline Steered steer(const TableRoot& root, std::uint32_t pool,
                                   const IpAddress& client) noexcept {
  const Steering steering =
      read_cell(locate(root, pool, client), client, root.catalog.summary().client_key);
  return {root.ranking.answer(steering.cell, steering.client_hash), steering.scope_length};
}

}  // namespace pharos::dataplane
