// One random set of zones, services, locales and resolvers, in both forms: as tables for the packet path, and for the
// reference responder.
#pragma once

#include "pharos/dataplane/dns/serve.hh"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../packets/world.hh"
#include "random.hh"
#include "reference_responder.hh"

namespace pharos::oracle {

inline constexpr std::uint32_t wall_s = 1'800'000'000;
inline constexpr std::uint16_t payload_bytes_max = 4096;

class TwoResponders {
 public:
  explicit TwoResponders(std::uint64_t seed);

  // Nothing where the packet path sends none.
  [[nodiscard]] std::optional<Octets> served(const Octets& request, const IpAddress& source,
                                             dataplane::Transport transport);

  // A name of few labels in or near the zones.
  [[nodiscard]] Name name();
  // Of few blocks, so that it often shares one with a locale or a resolver.
  [[nodiscard]] IpAddress client();

  ReferenceResponder reference;
  std::string zone_text;  // all of it, for messages

 private:
  void add_zones(std::uint64_t seed);
  [[nodiscard]] std::string large_rrsets();
  void add_zone(const std::string& origin, const std::string& text);
  [[nodiscard]] IpPrefix prefix();
  void add_locales();
  void add_resolvers();
  void add_service();
  // The addresses of one slot, in both forms.
  struct Slot {
    std::vector<std::string> texts;
    std::vector<std::string> rdata;
  };
  [[nodiscard]] std::vector<Slot> slots(bool ipv6);

  Random random_;
  std::vector<Name> origins_;
  packets::World world_;
  packets::World::Root root_;
  std::unique_ptr<dataplane::ServeState> state_;
  dataplane::CoreCounters counters_;
};

}  // namespace pharos::oracle
