#include "pharos/controlplane/zone/zone_data.hh"

#include "pharos/shared/answer.hh"
#include "pharos/wire/name.hh"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <utility>

namespace pharos::controlplane {
namespace {

using dns::Type;

constexpr std::uint64_t arena_bytes_max = std::numeric_limits<std::uint32_t>::max();

// What a record is sorted by: the key of its owner below the origin, of which the start stands at hand.
struct SortEntry {
  std::uint64_t head;
  std::uint32_t key;  // offset
  std::uint16_t key_bytes;
  std::uint16_t type;
  std::uint32_t record;
};

[[nodiscard]] std::uint64_t head_of(const std::byte* key, unsigned bytes) noexcept {
  std::uint64_t head = 0;
  std::memcpy(&head, key, std::min(bytes, 8U));
  return byte_swap(head);
}

[[nodiscard]] int compare_bytes(ConstBytes a, ConstBytes b) noexcept {
  const int order = std::memcmp(a.data(), b.data(), std::min(a.size(), b.size()));
  if (order != 0) return order;
  return a.size() == b.size() ? 0 : (a.size() < b.size() ? -1 : 1);
}

// Where the names begin with which RDATA of a type ends, and which count as equal whatever their case (RFC 4034, 6.2,
// and RFC 4343). Types that came later keep theirs (RFC 3597, 7): SVCB and HTTPS among them.
[[nodiscard]] std::size_t names_at(std::uint16_t type, ConstBytes rdata) noexcept {
  switch (type) {
    case 2:   // NS
    case 3:   // MD
    case 4:   // MF
    case 5:   // CNAME
    case 7:   // MB
    case 8:   // MG
    case 9:   // MR
    case 12:  // PTR
    case 14:  // MINFO
    case 17:  // RP
    case 39:  // DNAME
      return 0;
    case 15:  // MX
    case 18:  // AFSDB
    case 21:  // RT
    case 26:  // PX
    case 36:  // KX
      return 2;
    case 33:  // SRV
      return 6;
    case 35: {  // NAPTR: two numbers and three strings
      std::size_t at = 4;
      for (int i = 0; i < 3 && at < rdata.size(); ++i) at += 1U + static_cast<unsigned>(rdata[at]);
      return at;
    }
    default:
      return rdata.size();
  }
}

// Octets of names that are lengths are below 64: folding leaves them as they are.
[[nodiscard]] int compare_rdata(std::uint16_t type, ConstBytes a, ConstBytes b) noexcept {
  const std::size_t folded_from = std::min(names_at(type, a), names_at(type, b));
  const std::size_t bytes = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < bytes; ++i) {
    const std::byte x = i < folded_from ? a[i] : dns::fold_byte(a[i]);
    const std::byte y = i < folded_from ? b[i] : dns::fold_byte(b[i]);
    if (x != y) return x < y ? -1 : 1;
  }
  return a.size() == b.size() ? 0 : (a.size() < b.size() ? -1 : 1);
}

[[nodiscard]] std::uint64_t hash_owner(ConstBytes owner) noexcept {
  std::array<std::byte, dns::name_bytes_max + dns::name_slack_bytes + 1> slack{};
  std::ranges::copy(owner, slack.begin());
  dns::FoldedName folded;
  dns::fold_name(slack.data(), static_cast<unsigned>(owner.size()), folded);
  return dns::hash_name(folded.bytes.data(), folded.length, dns::NameHashKey{});
}

void keep(std::vector<Error>& kept, std::uint64_t& more, Error error) {
  if (kept.size() < zone_mistakes_max) {
    kept.push_back(std::move(error));
  } else {
    ++more;
  }
}

// A TTL may differ between the signatures of one name: it follows the RRset that they cover.
[[nodiscard]] bool is_signature(std::uint16_t type) noexcept {
  return type == std::to_underlying(Type::rrsig);
}

}  // namespace

void ZoneReport::error(std::string what, std::string where, std::string hint) {
  keep(errors, more_errors,
       {ErrorCode::invalid, std::move(what), std::move(where), std::move(hint)});
}

void ZoneReport::warning(std::string what, std::string where, std::string hint) {
  keep(warnings, more_warnings,
       {ErrorCode::invalid, std::move(what), std::move(where), std::move(hint)});
}

std::string ZoneReport::text() const {
  std::string out;
  for (const auto& error : errors) out += "error: " + error.text() + "\n";
  if (more_errors > 0) out += "error: and " + std::to_string(more_errors) + " more\n";
  for (const auto& warning : warnings) out += "warning: " + warning.text() + "\n";
  if (more_warnings > 0) out += "warning: and " + std::to_string(more_warnings) + " more\n";
  return out;
}

ConstBytes target_of(std::uint16_t type, ConstBytes rdata) noexcept {
  const auto name_at = [rdata](std::size_t at) {
    return at < rdata.size() ? rdata.subspan(at, dns::name_bytes_at(rdata.subspan(at)))
                             : ConstBytes{};
  };
  switch (static_cast<Type>(type)) {
    case Type::ns:
    case Type::cname:
    case Type::dname:
    case Type::ptr:
    case Type::soa:
      return name_at(0);
    case Type::mx:
    case Type::svcb:
    case Type::https:
      return name_at(2);
    case Type::srv:
      return name_at(6);
    default:
      return {};
  }
}

bool rdata_is_sound(std::uint16_t type, ConstBytes rdata) noexcept {
  switch (static_cast<Type>(type)) {
    case Type::a:
      return rdata.size() == 4;
    case Type::aaaa:
      return rdata.size() == 16;
    case Type::ns:
    case Type::cname:
    case Type::dname:
    case Type::ptr:
      return dns::name_is_sound(rdata);
    case Type::mx:
      return rdata.size() > 2 && dns::name_is_sound(rdata.subspan(2));
    case Type::srv:
      return rdata.size() > 6 && dns::name_is_sound(rdata.subspan(6));
    case Type::svcb:
    case Type::https:
      return !target_of(type, rdata).empty();
    case Type::soa: {
      const auto primary = dns::name_bytes_at(rdata);
      const auto contact = primary == 0 ? 0 : dns::name_bytes_at(rdata.subspan(primary));
      return contact != 0 && rdata.size() == primary + contact + 20U;
    }
    default:
      return true;
  }
}

Status ZoneData::add(ConstBytes owner, std::uint16_t type, std::uint32_t ttl_s, ConstBytes rdata,
                     std::uint16_t file, std::uint32_t line) {
  if (bytes_.size() + owner.size() + rdata.size() > arena_bytes_max || rdata.size() > 0xffff) {
    return fail(ErrorCode::exhausted, "the zone has more than 4 GiB of names and data", name(),
                "split it");
  }
  ZoneRecord record{};
  record.type = type;
  record.ttl_s = ttl_s;
  record.file = file;
  record.line = line;
  record.owner_bytes = static_cast<std::uint8_t>(owner.size());
  record.rdata_bytes = static_cast<std::uint16_t>(rdata.size());
  // Records of one owner mostly follow each other: they share its bytes.
  if (!records_.empty() && std::ranges::equal(owner_of(records_.back()), owner)) {
    record.owner = records_.back().owner;
  } else {
    record.owner = static_cast<std::uint32_t>(bytes_.size());
    bytes_.insert(bytes_.end(), owner.begin(), owner.end());
  }
  record.rdata = static_cast<std::uint32_t>(bytes_.size());
  bytes_.insert(bytes_.end(), rdata.begin(), rdata.end());
  records_.push_back(record);
  return {};
}

std::uint16_t ZoneData::add_file(std::string path) {
  files_.push_back(std::move(path));
  return static_cast<std::uint16_t>(files_.size() - 1);
}

std::string ZoneData::place_of(const ZoneRecord& record) const {
  if (record.file >= files_.size()) return name();
  return files_[record.file] + ":" + std::to_string(record.line);
}

ZoneReport ZoneData::finish() {
  ZoneReport report;
  std::erase_if(records_, [&](const ZoneRecord& record) {
    if (dns::is_at_or_below(owner_of(record), origin())) return false;
    report.error("'" + dns::name_text(owner_of(record)) + "' is not in the zone '" + name() + "'",
                 place_of(record), "a name without a dot at its end is relative to $ORIGIN");
    return true;
  });
  sort_records();
  group_records(report);
  index_owners();
  if (const Rrset* soa = find(origin(), std::to_underlying(Type::soa)); soa != nullptr) {
    const auto rdata = rdata_of(records_[soa->first]);
    if (rdata_is_sound(std::to_underlying(Type::soa), rdata)) {
      serial_ = load<Be32>(rdata.data() + rdata.size() - 20);
    }
  }
  check_finished_zone(*this, report);
  return report;
}

void ZoneData::sort_records() {
  std::vector<SortEntry> entries;
  entries.reserve(records_.size());
  std::vector<std::byte> keys;
  dns::CanonicalKey key;
  const unsigned origin_key_bytes = dns::canonical_key(origin(), key);
  for (std::uint32_t i = 0; i < records_.size(); ++i) {
    const ZoneRecord& record = records_[i];
    SortEntry entry{};
    if (i > 0 && records_[i - 1].owner == record.owner) {
      entry = entries.back();
    } else {
      const unsigned bytes = dns::canonical_key(owner_of(record), key) - origin_key_bytes;
      const std::byte* start = key.data() + origin_key_bytes;
      entry.head = head_of(start, bytes);
      entry.key = static_cast<std::uint32_t>(keys.size());
      entry.key_bytes = static_cast<std::uint16_t>(bytes);
      keys.insert(keys.end(), start, start + bytes);
    }
    entry.type = record.type;
    entry.record = i;
    entries.push_back(entry);
  }
  const auto before = [&](const SortEntry& a, const SortEntry& b) {
    if (a.head != b.head) return a.head < b.head;
    const int order = a.key == b.key ? 0
                                     : compare_bytes(ConstBytes(keys).subspan(a.key, a.key_bytes),
                                                     ConstBytes(keys).subspan(b.key, b.key_bytes));
    if (order != 0) return order < 0;
    if (a.type != b.type) return a.type < b.type;
    const int by_data =
        compare_rdata(a.type, rdata_of(records_[a.record]), rdata_of(records_[b.record]));
    return by_data != 0 ? by_data < 0 : a.record < b.record;
  };
  if (!std::ranges::is_sorted(entries, before)) std::ranges::sort(entries, before);
  std::vector<ZoneRecord> sorted;
  sorted.reserve(entries.size());
  for (const SortEntry& entry : entries) sorted.push_back(records_[entry.record]);
  records_ = std::move(sorted);
}

// Drops records that stand there twice (the first one stays as it is spelled), makes RRsets and gives each one TTL: the smallest (RFC 2181, 5.2).
void ZoneData::group_records(ZoneReport& report) {
  rrsets_.clear();
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i < records_.size(); ++i) {
    const ZoneRecord record = records_[i];
    const ZoneRecord* last = kept == 0 ? nullptr : &records_[kept - 1];
    const bool same_set =
        last != nullptr && last->type == record.type &&
        (last->owner == record.owner || dns::names_equal(owner_of(*last), owner_of(record)));
    if (same_set && compare_rdata(record.type, rdata_of(*last), rdata_of(record)) == 0) {
      records_[kept - 1].ttl_s = std::min(records_[kept - 1].ttl_s, record.ttl_s);
      continue;
    }
    records_[kept++] = record;
    if (same_set) {
      ++rrsets_.back().count;
    } else {
      rrsets_.push_back({kept - 1, 1});
    }
  }
  records_.resize(kept);
  for (const Rrset& rrset : rrsets_) {
    const auto members = std::span(records_).subspan(rrset.first, rrset.count);
    const auto lowest = std::ranges::min(members, {}, &ZoneRecord::ttl_s);
    const auto highest = std::ranges::max(members, {}, &ZoneRecord::ttl_s);
    if (lowest.ttl_s == highest.ttl_s) continue;
    if (!is_signature(lowest.type)) {
      report.warning("the records of " + dns::name_text(owner_of(lowest)) + " " +
                         dns::type_text(lowest.type) + " have TTLs from " +
                         std::to_string(lowest.ttl_s) + " to " + std::to_string(highest.ttl_s) +
                         "; all are served with the smallest",
                     place_of(highest), "give all records of an RRset one TTL (RFC 2181, 5.2)");
    }
    for (ZoneRecord& member : members) member.ttl_s = lowest.ttl_s;
  }
}

void ZoneData::index_owners() {
  std::size_t owners = 0;
  const auto starts_owner = [&](std::size_t i) {
    return i == 0 || !dns::names_equal(owner_of(records_[rrsets_[i - 1].first]),
                                       owner_of(records_[rrsets_[i].first]));
  };
  std::vector<std::uint32_t> starts;
  for (std::size_t i = 0; i < rrsets_.size(); ++i) {
    if (starts_owner(i)) starts.push_back(static_cast<std::uint32_t>(i));
  }
  owners = starts.size();
  owner_index_.assign(std::bit_ceil(owners * 2 + 1), 0);
  const auto mask = owner_index_.size() - 1;
  for (const std::uint32_t start : starts) {
    auto at = hash_owner(owner_of(records_[rrsets_[start].first])) & mask;
    while (owner_index_[at] != 0) at = (at + 1) & mask;
    owner_index_[at] = start + 1;
  }
}

std::span<const Rrset> ZoneData::find_all(ConstBytes owner) const noexcept {
  if (owner_index_.empty()) return {};
  const auto mask = owner_index_.size() - 1;
  for (auto at = hash_owner(owner) & mask; owner_index_[at] != 0; at = (at + 1) & mask) {
    const std::size_t first = owner_index_[at] - 1;
    const auto name_of = [&](std::size_t i) { return owner_of(records_[rrsets_[i].first]); };
    if (!dns::names_equal(name_of(first), owner)) continue;
    std::size_t end = first + 1;
    while (end < rrsets_.size() && dns::names_equal(name_of(end), owner)) ++end;
    return rrsets().subspan(first, end - first);
  }
  return {};
}

const Rrset* ZoneData::find(ConstBytes owner, std::uint16_t type) const noexcept {
  for (const Rrset& rrset : find_all(owner)) {
    if (records_[rrset.first].type == type) return &rrset;
  }
  return nullptr;
}

}  // namespace pharos::controlplane
