// A slow, obvious responder: the algorithm of RFC 1034, 4.3.2 with RFC 2308, 4592, 6672, 6891, 7871, 7873, 8482, 9018
// and 9471 on std::map of names, for random tests to compare the packet path with.
//
// It reads and writes messages by itself and knows neither images nor the packet path's code. It compresses no name and
// knows no limit of size: which records may be left out, it says.
#pragma once

#include "pharos/base/ip_address.hh"
#include "pharos/controlplane/zone/zone_data.hh"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "reference_message.hh"

namespace pharos::oracle {

// A client prefix and whose answers it gets.
struct ReferenceLocale {
  IpPrefix prefix;
  std::uint16_t locale = 0;
};

// Whose client subnets a service goes by.
enum class ReferenceEcs { all, listed, ignored };

// What a service answers to a locale: one list of RDATA a slot.
struct ReferenceCell {
  std::uint32_t ttl_s = 0;
  std::vector<std::vector<std::string>> slots;
};

class ReferenceResponder {
 public:
  // Constant while it answers:
  std::uint16_t payload_bytes = 1232;
  std::string nsid;
  std::string version_text;
  std::array<std::byte, 16> cookie_secret{};
  std::uint32_t wall_s = 0;
  std::vector<ReferenceLocale> locales;  // clients in none are of locale 0
  std::vector<IpPrefix> ecs_resolvers;   // of ReferenceEcs::listed
  // The slot of a client among so many.
  std::function<std::size_t(const IpAddress&, std::size_t)> slot_of;

  // Outer zones before inner ones, services last.
  void add_zone(const controlplane::ZoneData& data);
  void add_service(const Name& name, std::uint16_t type,
                   std::map<std::uint16_t, ReferenceCell> cells,
                   ReferenceEcs ecs = ReferenceEcs::all);

  // Whether a service of that name could stand in a zone of ours: nothing hides it, no data of that type or alias there.
  [[nodiscard]] bool has_room(const Name& name, std::uint16_t type) const;

  // Nothing where no reply is due.
  [[nodiscard]] std::optional<ReferenceReply> answer(const Octets& request,
                                                     const IpAddress& source) const;

 private:
  struct Rrset {
    std::uint32_t ttl_s = 0;
    std::vector<std::string> rdata;
    std::optional<std::map<std::uint16_t, ReferenceCell>> cells;  // in place of the two above
    ReferenceEcs ecs = ReferenceEcs::all;
  };
  using Node = std::map<std::uint16_t, Rrset>;
  struct Zone {
    Name origin;
    std::map<Name, Node, AncestorsFirst> nodes;
    [[nodiscard]] const Node* at(const Name& name) const;
    [[nodiscard]] const Node& data_at(const Name& name) const;  // nothing where it has none
    [[nodiscard]] bool exists(const Name& name) const;          // or a name below it does
    [[nodiscard]] bool has(const Name& name, std::uint16_t type) const;
    // The delegation or DNAME that hides a name, from the apex down.
    [[nodiscard]] std::optional<Name> cut_above(const Name& name, bool at_name_too) const;
    [[nodiscard]] std::optional<Name> dname_above(const Name& name) const;
  };
  struct Asked;  // one question on its way

  [[nodiscard]] const Zone* zone_of(const Name& name) const;
  void resolve(Asked& asked) const;
  bool step(Asked& asked) const;
  bool at_data(Asked& asked, const Zone& zone, const Node& node, const Name& node_name) const;
  bool follow_dname(Asked& asked, const Zone& zone, const Name& at) const;
  void answer_rrset(Asked& asked, const Zone& zone, std::uint16_t type, const Rrset& rrset,
                    const Name& node_name) const;
  void answer_service(Asked& asked, const Zone& zone, std::uint16_t type, const Rrset& rrset) const;
  void deny(Asked& asked, const Zone& zone, unsigned rcode) const;
  void refer(Asked& asked, const Zone& zone, const Name& cut) const;
  void add_targets(Asked& asked, const Zone& zone, std::uint16_t type, const Rrset& rrset,
                   const Name& owner, const Name& but) const;
  void add_addresses(Asked& asked, const Zone& asking, const Name& name, const Name& as_written,
                     std::uint16_t type_more) const;
  [[nodiscard]] bool hears_subnet(const Rrset& rrset, const IpAddress& source) const;
  [[nodiscard]] std::uint16_t locale_of(const IpAddress& client, unsigned bits) const;
  [[nodiscard]] bool is_alike(const IpAddress& client, unsigned bits) const;
  void answer_chaos(ReferenceReply& reply, const ReferenceRequest& request) const;
  [[nodiscard]] Octets opt_of(const ReferenceRequest& request, unsigned rcode, unsigned scope,
                              std::optional<std::uint16_t> info_code) const;
  [[nodiscard]] Octets server_cookie(const ReferenceRequest& request) const;

  std::map<Name, Zone> zones_;
};

}  // namespace pharos::oracle
