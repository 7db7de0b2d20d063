// The pool list: what the ranking ranks, in the one order that catalog, ranking image and engine
// share.
//
// A pool is one RRset type of one service (all its versions, told apart by preference), and its
// index in this list is the pool index of the images. The order is by service id, then version,
// then type: it depends on what is configured, never on the order in which it is written. Pure; any
// thread.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/wire/dns.hh"

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pharos::controlplane {

struct Pool {
  std::string service;            // ServiceConfig::id
  std::string version;            // empty: all versions of the service
  dns::Type type = dns::Type::a;  // of the RRset that it answers

  friend auto operator<=>(const Pool&, const Pool&) = default;
  // "service/A", "service@version/AAAA": for people and for the image's names.
  [[nodiscard]] std::string name() const;
  [[nodiscard]] bool holds_addresses() const noexcept {
    return type == dns::Type::a || type == dns::Type::aaaa;
  }
};

// The pools of a configuration: for each service an A pool where any of its endpoints has an IPv4
// address, an AAAA pool where any has an IPv6 address, and SRV, SVCB and HTTPS pools of all
// endpoints where it is configured to answer those.
[[nodiscard]] std::vector<Pool> pools_of(const config::Config& config);

// Index of a pool in an ordered list; nothing where the service has no such answers.
[[nodiscard]] std::optional<std::uint32_t> find_pool(std::span<const Pool> pools,
                                                     const std::string& service, dns::Type type);

// Digest of an ordered pool list: `content_id` of the catalog image built with it (FNV-1a, 64 bits,
// never 0).
[[nodiscard]] std::uint64_t pools_digest(std::span<const Pool> pools) noexcept;

}  // namespace pharos::controlplane
