// What a zone may not hold, found in one walk in canonical order, in which all below a name follow it at once.
//
// The walk carries the delegation and the DNAME that it is below, if any: what hides what needs no more than that.
#include "pharos/controlplane/zone/zone_data.hh"
#include "pharos/shared/answer.hh"
#include "pharos/wire/svc_params.hh"

#include <algorithm>
#include <utility>

namespace pharos::controlplane {
namespace {

using dns::Type;

constexpr unsigned record_fixed_bytes = 2 + 10;  // a pointer as owner, type, class, TTL, length

[[nodiscard]] constexpr std::uint16_t number(Type type) noexcept {
  return std::to_underlying(type);
}

// Types that may stand beside a CNAME (RFC 4035, 2.5; KEY: RFC 3007).
[[nodiscard]] bool goes_with_cname(std::uint16_t type) noexcept {
  return type == number(Type::cname) || type == number(Type::rrsig) || type == number(Type::nsec) ||
         type == 25;
}

// Types that a parent answers at a delegation, and addresses, which are glue there.
[[nodiscard]] bool goes_with_cut(std::uint16_t type) noexcept {
  return type == number(Type::ns) || type == number(Type::ds) || type == number(Type::rrsig) ||
         type == number(Type::nsec) || type == number(Type::a) || type == number(Type::aaaa);
}

// OPT, and what only questions use (RFC 6895, 3.1).
[[nodiscard]] bool is_meta(std::uint16_t type) noexcept {
  return type == 0 || type == number(Type::opt) || (type >= 128 && type <= 255);
}

class ZoneChecker {
 public:
  ZoneChecker(const ZoneData& zone, ZoneReport& report) : zone_(zone), report_(report) {}

  void run() {
    check_apex();
    const auto all = zone_.rrsets();
    for (std::size_t i = 0; i < all.size();) {
      std::size_t end = i + 1;
      while (end < all.size() && dns::names_equal(owner(all[i]), owner(all[end]))) ++end;
      check_name(all.subspan(i, end - i));
      i = end;
    }
  }

 private:
  [[nodiscard]] const ZoneRecord& first(const Rrset& rrset) const {
    return zone_.records()[rrset.first];
  }
  [[nodiscard]] ConstBytes owner(const Rrset& rrset) const { return zone_.owner_of(first(rrset)); }
  [[nodiscard]] std::string place(const Rrset& rrset) const { return zone_.place_of(first(rrset)); }
  // Of the record that was read last: the one too many.
  [[nodiscard]] std::string last_place(const Rrset& rrset) const {
    const auto later = [](const ZoneRecord& a, const ZoneRecord& b) {
      return std::pair(a.file, a.line) < std::pair(b.file, b.line);
    };
    return zone_.place_of(*std::ranges::max_element(zone_.records_of(rrset), later));
  }
  [[nodiscard]] const Rrset* of_type(std::span<const Rrset> name, Type type) const {
    const auto at =
        std::ranges::find_if(name, [&](const Rrset& r) { return first(r).type == number(type); });
    return at == name.end() ? nullptr : &*at;
  }

  void check_apex() {
    const Rrset* soa = zone_.find(zone_.origin(), number(Type::soa));
    const auto where = zone_.files().empty() ? zone_.name() : zone_.files().front();
    if (soa == nullptr) {
      report_.error("the zone '" + zone_.name() + "' has no SOA record at its apex", where,
                    "its first record should be: @ SOA ns1 hostmaster 1 1h 10m 1w 1m");
    } else if (soa->count > 1) {
      report_.error("the zone has more than one SOA record", last_place(*soa), "keep one");
    }
    if (zone_.find(zone_.origin(), number(Type::ns)) == nullptr) {
      report_.error("the zone '" + zone_.name() + "' has no NS record at its apex", where,
                    "add the names of its servers: @ NS ns1");
    }
  }

  void check_name(std::span<const Rrset> name) {
    const ConstBytes at = owner(name[0]);
    const bool apex = dns::names_equal(at, zone_.origin());
    const std::string text = dns::name_text(at);
    if (!cut_.empty() && !dns::is_at_or_below(at, cut_)) cut_ = {};
    if (!dname_.empty() && !dns::is_at_or_below(at, dname_)) dname_ = {};
    for (const Rrset& rrset : name) check_rrset(rrset, apex, text);
    if (!dname_.empty()) {
      report_.error("'" + text + "' lies below the DNAME at '" + dns::name_text(dname_) + "'",
                    place(name[0]), "nothing may (RFC 6672, 2.4)");
    }
    if (!cut_.empty()) return check_hidden(name, text);
    check_aliases(name, text);
    if (!apex && of_type(name, Type::ns) != nullptr) check_cut(name, text);
    if (of_type(name, Type::ds) != nullptr && of_type(name, Type::ns) == nullptr) {
      report_.warning("'" + text + "' has DS records but is no delegation",
                      place(*of_type(name, Type::ds)), "add its NS records");
    }
    for (const Rrset& rrset : name) check_targets(rrset, apex);
    if (of_type(name, Type::dname) != nullptr) dname_ = at;
  }

  void check_rrset(const Rrset& rrset, bool apex, const std::string& text) {
    const std::uint16_t type = first(rrset).type;
    const std::string type_name = dns::type_text(type);
    std::uint64_t bytes = 0;
    for (const ZoneRecord& record : zone_.records_of(rrset)) {
      bytes += record_fixed_bytes + record.rdata_bytes;
      if (!rdata_is_sound(type, zone_.rdata_of(record))) {
        report_.error(
            "the data of '" + text + "' " + type_name + " do not have the form of that type",
            zone_.place_of(record));
      } else if (type == number(Type::svcb) || type == number(Type::https)) {
        check_params(record, text);
      }
      if (record.ttl_s > dns::ttl_max_s) {
        report_.error("TTL " + std::to_string(record.ttl_s) + " is larger than 2147483647",
                      zone_.place_of(record));
      }
    }
    if (bytes > answer_body_bytes_max) {
      report_.error("the records of '" + text + "' " + type_name + " take " +
                        std::to_string(bytes) + " bytes; at most " +
                        std::to_string(answer_body_bytes_max) + " can be answered",
                    place(rrset), "use fewer records");
    }
    if (is_meta(type)) report_.error(type_name + " is no type that a zone can hold", place(rrset));
    if (type == number(Type::soa) && !apex) {
      report_.error("'" + text + "' has a SOA record but is not the apex of '" + zone_.name() + "'",
                    place(rrset), "make it a zone of its own");
    }
  }

  // RFC 9460, 2.2: a client drops the whole RRset where one record is malformed.
  void check_params(const ZoneRecord& record, const std::string& text) {
    const ConstBytes rdata = zone_.rdata_of(record);
    const auto fault =
        dns::svc_params_fault(rdata.subspan(2 + target_of(record.type, rdata).size()));
    if (fault.empty()) return;
    report_.error("'" + text + "' " + dns::type_text(record.type) + ": " + fault,
                  zone_.place_of(record), "see RFC 9460, 7 and 8");
  }

  void check_aliases(std::span<const Rrset> name, const std::string& text) {
    if (const Rrset* cname = of_type(name, Type::cname); cname != nullptr) {
      if (cname->count > 1) {
        report_.error("'" + text + "' has more than one CNAME", last_place(*cname), "keep one");
      }
      for (const Rrset& rrset : name) {
        if (goes_with_cname(first(rrset).type)) continue;
        report_.error(
            "'" + text + "' has a CNAME and " + dns::type_text(first(rrset).type) + " records",
            place(rrset), "a CNAME stands alone (RFC 1034, 3.6.2)");
      }
    }
    const Rrset* dname = of_type(name, Type::dname);
    const bool wildcard = text.starts_with("*.");
    if (dname == nullptr) return;
    if (dname->count > 1) {
      report_.error("'" + text + "' has more than one DNAME", last_place(*dname), "keep one");
    }
    if (wildcard) {
      report_.error("'" + text + "' is a wildcard with a DNAME", place(*dname),
                    "what that means is not defined (RFC 4592, 4.4)");
    }
  }

  // A delegation: what stands beside its NS records, and whether its servers can be found.
  void check_cut(std::span<const Rrset> name, const std::string& text) {
    const Rrset& servers = *of_type(name, Type::ns);
    if (text.starts_with("*.")) {
      report_.error("'" + text + "' is a wildcard with NS records", place(servers),
                    "what that means is not defined (RFC 4592, 4.2)");
    }
    if (const Rrset* dname = of_type(name, Type::dname); dname != nullptr) {
      report_.error("'" + text + "' has a DNAME and is a delegation", place(*dname),
                    "a DNAME stands in the zone that is delegated (RFC 6672, 2.4)");
    }
    cut_ = owner(servers);
    for (const Rrset& rrset : name) {
      if (goes_with_cut(first(rrset).type)) continue;
      report_.warning("'" + text + "' " + dns::type_text(first(rrset).type) +
                          " is hidden by the delegation of that name",
                      place(rrset), "put it into the delegated zone");
    }
    for (const ZoneRecord& record : zone_.records_of(servers)) {
      const auto target = target_of(record.type, zone_.rdata_of(record));
      if (target.empty() || !dns::is_at_or_below(target, cut_) || has_address(target)) continue;
      report_.warning(
          "'" + text + "' is delegated to '" + dns::name_text(target) + "', which has no glue",
          zone_.place_of(record), "add its A or AAAA record: nobody can find it without");
    }
  }

  // Names at or below a delegation: only addresses, as glue, are of any use.
  void check_hidden(std::span<const Rrset> name, const std::string& text) {
    for (const Rrset& rrset : name) {
      const std::uint16_t type = first(rrset).type;
      if (type == number(Type::a) || type == number(Type::aaaa)) continue;
      report_.warning("'" + text + "' " + dns::type_text(type) +
                          " is hidden by the delegation of '" + dns::name_text(cut_) + "'",
                      place(rrset), "put it into the delegated zone");
    }
  }

  // Servers and mail exchangers in this zone should be there, and be no alias (RFC 2181, 10.3).
  void check_targets(const Rrset& rrset, bool apex) {
    const std::uint16_t type = first(rrset).type;
    const bool server = type == number(Type::ns) && apex;
    if (!server && type != number(Type::mx)) return;
    for (const ZoneRecord& record : zone_.records_of(rrset)) {
      const auto target = target_of(type, zone_.rdata_of(record));
      if (target.size() <= 1 || !dns::is_at_or_below(target, zone_.origin())) continue;
      const std::string text = dns::type_text(type) + " '" + dns::name_text(target) + "'";
      if (zone_.find(target, number(Type::cname)) != nullptr) {
        report_.warning(text + " is an alias", zone_.place_of(record),
                        "name what the alias leads to (RFC 2181, 10.3)");
      } else if (server && !has_address(target)) {
        report_.warning(text + " has no address", zone_.place_of(record),
                        "add its A or AAAA record");
      }
    }
  }

  [[nodiscard]] bool has_address(ConstBytes name) const {
    return zone_.find(name, number(Type::a)) != nullptr ||
           zone_.find(name, number(Type::aaaa)) != nullptr;
  }

  const ZoneData& zone_;
  ZoneReport& report_;
  ConstBytes cut_;
  ConstBytes dname_;
};

}  // namespace

void check_finished_zone(const ZoneData& zone, ZoneReport& report) {
  ZoneChecker(zone, report).run();
}

}  // namespace pharos::controlplane
