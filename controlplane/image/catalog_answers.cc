#include "pharos/controlplane/image/catalog_answers.hh"

#include "pharos/base/assert.hh"

#include <algorithm>
#include <utility>

namespace pharos::controlplane {
namespace {

using dns::Type;
using Section = AnswerWriter::Section;

// Additional records that may be left out are not taken past what the common reply holds, for without room for all
// of them none is sent: 1232 bytes less header, question and EDNS.
constexpr std::size_t optional_body_bytes_max = 1232 - 12 - 4 - 40;

[[nodiscard]] constexpr std::uint16_t number(Type type) noexcept {
  return std::to_underlying(type);
}

[[nodiscard]] std::uint16_t type_of(const ZoneData& zone, const Rrset& rrset) noexcept {
  return zone.records()[rrset.first].type;
}

[[nodiscard]] bool is_address(std::uint16_t type) noexcept {
  return type == number(Type::a) || type == number(Type::aaaa);
}

[[nodiscard]] std::unexpected<Error> too_large(ConstBytes name, std::uint16_t type) {
  return fail(ErrorCode::exhausted,
              "the answer for '" + dns::name_text(name) + "' " + dns::type_text(type) +
                  " is larger than 32 KiB",
              {}, "use fewer records");
}

[[nodiscard]] bool is_service_binding(std::uint16_t type) noexcept {
  return type == number(Type::svcb) || type == number(Type::https);
}

// Notes `name`; false where it was seen before. Several records may name one target, also in another case.
[[nodiscard]] bool is_new(std::vector<ConstBytes>& seen, ConstBytes name) {
  if (std::ranges::any_of(seen, [&](ConstBytes other) { return dns::names_equal(other, name); }))
    return false;
  seen.push_back(name);
  return true;
}

// The name that a client looks up next. A target of "." in ServiceMode is the owner itself (RFC 9460, 2.5.2).
[[nodiscard]] ConstBytes next_name(std::uint16_t type, ConstBytes owner, ConstBytes rdata) {
  const ConstBytes target = target_of(type, rdata);
  if (target.size() != 1 || !is_service_binding(type)) return target;
  return load<Be16>(rdata.data()) == 0 ? ConstBytes{} : owner;
}

[[nodiscard]] const ZoneRecord& soa_of(const ZoneData& zone) {
  return zone.records_of(*zone.find(zone.origin(), number(Type::soa)))[0];
}

}  // namespace

bool CatalogAnswers::write_records(const ZoneData& zone, const Rrset& rrset, ConstBytes owner,
                                   Section section) {
  return std::ranges::all_of(zone.records_of(rrset), [&](const ZoneRecord& record) {
    return writer_.add(section, owner, record.type, record.ttl_s, zone.rdata_of(record));
  });
}

Status CatalogAnswers::write_rrset(const ZoneData& zone, const Rrset& rrset, ConstBytes name,
                                   bool wildcard, std::vector<std::byte>& out) {
  writer_.start(name, wildcard);
  if (!write_records(zone, rrset, name, Section::answer)) {
    return too_large(name, type_of(zone, rrset));
  }
  writer_.mark_required();
  write_optional(zone, rrset, {});
  writer_.finish(out);
  return {};
}

Status CatalogAnswers::write_made(const MadeRrset& rrset, ConstBytes name, bool wildcard,
                                  std::vector<std::byte>& out) {
  writer_.start(name, wildcard);
  for (const auto& rdata : rrset.rdata) {
    if (!writer_.add(Section::answer, name, rrset.type, rrset.ttl_s, rdata)) {
      return too_large(name, rrset.type);
    }
  }
  writer_.finish(out);
  return {};
}

// Addresses of the names that records lead to, where we have them (RFC 1034, 4.3.2, step 6), but not of those at or
// below `but`. An alias of SVCB or HTTPS leads to records of its own type first (RFC 9460, 4.1).
void CatalogAnswers::write_optional(const ZoneData& zone, const Rrset& rrset, ConstBytes but) {
  const std::uint16_t type = type_of(zone, rrset);
  if (type == number(Type::cname) || type == number(Type::dname) || type == number(Type::ptr) ||
      type == number(Type::soa)) {
    return;
  }
  std::vector<ConstBytes> seen;
  for (const ZoneRecord& record : zone.records_of(rrset)) {
    const ConstBytes owner = zone.owner_of(record);
    const ConstBytes target = next_name(type, owner, zone.rdata_of(record));
    if (target.size() <= 1 || (!but.empty() && dns::is_at_or_below(target, but))) continue;
    if (!is_new(seen, target)) continue;
    // Where a wildcard names itself, it names the QNAME, as the writer knows it.
    const ConstBytes as_written = target.data() == owner.data() ? writer_.name() : target;
    const bool alias = is_service_binding(type) && load<Be16>(zone.rdata_of(record).data()) == 0;
    if (!write_data_of(zone, target, as_written, alias ? type : 0)) return;
  }
}

// The addresses of `name`, and its records of one type more. False: there is no room for any more.
bool CatalogAnswers::write_data_of(const ZoneData& asking, ConstBytes name, ConstBytes as_written,
                                   std::uint16_t type_more) {
  const ZoneData* holder = zones_.holder_of(name);
  if (holder != &asking) foreign_.push_back({name, holder});
  const auto there = holder == &asking ? asking.find_all(name) : rrsets_for_others(holder, name);
  for (const Rrset& rrset : there) {
    const ZoneData& zone = *holder;
    const std::uint16_t type = type_of(zone, rrset);
    if (!is_address(type) && type != type_more) continue;
    std::size_t most = writer_.body_bytes();
    for (const ZoneRecord& record : zone.records_of(rrset))
      most += name.size() + 10U + record.rdata_bytes;
    if (most > optional_body_bytes_max) return false;
    if (!write_records(zone, rrset, as_written, Section::additional)) return false;
  }
  return true;
}

std::vector<ForeignTarget> CatalogAnswers::take_foreign() {
  std::ranges::sort(foreign_, std::ranges::lexicographical_compare, &ForeignTarget::name);
  const auto doubles = std::ranges::unique(foreign_, std::ranges::equal, &ForeignTarget::name);
  foreign_.erase(doubles.begin(), doubles.end());
  return std::exchange(foreign_, {});
}

Status CatalogAnswers::write_referral(const ZoneData& zone, const Rrset& servers, ConstBytes cut,
                                      std::vector<std::byte>& out) {
  writer_.start(cut, false);
  bool fits = write_records(zone, servers, cut, Section::authority);
  std::vector<ConstBytes> seen;
  for (const ZoneRecord& server : zone.records_of(servers)) {
    const ConstBytes target = target_of(server.type, zone.rdata_of(server));
    if (!fits || !dns::is_at_or_below(target, cut) || !is_new(seen, target)) continue;
    for (const Rrset& address : zone.find_all(target)) {
      if (!is_address(type_of(zone, address))) continue;
      fits = fits && write_records(zone, address, target, Section::additional);
    }
  }
  if (!fits) return too_large(cut, number(Type::ns));
  writer_.mark_required();
  write_optional(zone, servers, cut);
  writer_.finish(out);
  return {};
}

std::uint32_t CatalogAnswers::negative_ttl_s(const ZoneData& zone) {
  const ZoneRecord& soa = soa_of(zone);
  const ConstBytes rdata = zone.rdata_of(soa);
  return std::min<std::uint32_t>(soa.ttl_s, load<Be32>(rdata.data() + rdata.size() - 4));
}

void CatalogAnswers::write_negative(const ZoneData& zone, ConstBytes name,
                                    std::vector<std::byte>& out) {
  writer_.start(name, false);
  // One SOA is 12 + 255 + 10 + 2 * 255 + 20 bytes at the most.
  REQUIRE(writer_.add(Section::authority, zone.origin(), number(Type::soa), negative_ttl_s(zone),
                      zone.rdata_of(soa_of(zone))));
  writer_.finish(out);
}

Status CatalogAnswers::write_ds(const ZoneData& outer, ConstBytes name,
                                std::vector<std::byte>& out) {
  if (const Rrset* rrset = outer.find(name, number(Type::ds)); rrset != nullptr) {
    return write_rrset(outer, *rrset, name, false, out);
  }
  write_negative(outer, name, out);
  return {};
}

}  // namespace pharos::controlplane
