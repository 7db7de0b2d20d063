#include "pharos/controlplane/locale/mmdb_import.hh"

#include <maxminddb.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <vector>

namespace pharos::controlplane {
namespace {

struct FieldName {
  MmdbField field;
  std::string_view name;
};
constexpr std::array<FieldName, 5> field_names = {{{MmdbField::asn, "asn"},
                                                   {MmdbField::subdivision, "subdivision"},
                                                   {MmdbField::country, "country"},
                                                   {MmdbField::continent, "continent"},
                                                   {MmdbField::nearest_site, "nearest_site"}}};

// Directions from the centre of the Earth: the nearest place has the largest inner product.
class Places {
 public:
  explicit Places(std::span<const MmdbPlace> places) {
    for (const auto& place : places) named_.push_back({place.id, direction(place.at)});
  }
  [[nodiscard]] std::string nearest(Position at) const {
    const auto from = direction(at);
    const auto nearness = [&](const Named& place) {
      return std::inner_product(from.begin(), from.end(), place.direction.begin(), 0.0);
    };
    const auto best = std::ranges::max_element(named_, {}, nearness);
    return best == named_.end() ? std::string{} : best->id;
  }

 private:
  using Direction = std::array<double, 3>;
  struct Named {
    std::string id;
    Direction direction;
  };
  [[nodiscard]] static Direction direction(Position at) noexcept {
    constexpr double radians = std::numbers::pi / 180;
    const double latitude = at.latitude * radians;
    const double longitude = at.longitude * radians;
    return {std::cos(latitude) * std::cos(longitude), std::cos(latitude) * std::sin(longitude),
            std::sin(latitude)};
  }
  std::vector<Named> named_;
};

class Database {
 public:
  Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() {
    if (is_open_) MMDB_close(&mmdb_);
  }
  [[nodiscard]] Status open(const std::string& file) {
    const int code = MMDB_open(file.c_str(), MMDB_MODE_MMAP, &mmdb_);
    is_open_ = code == MMDB_SUCCESS;
    if (is_open_) return {};
    if (code == MMDB_FILE_OPEN_ERROR || code == MMDB_IO_ERROR) return fail_errno("open");
    return fail(ErrorCode::invalid, std::string("not a sound MaxMind DB: ") + MMDB_strerror(code));
  }
  [[nodiscard]] const MMDB_s& operator*() const { return mmdb_; }

 private:
  MMDB_s mmdb_{};
  bool is_open_ = false;
};

// A block of addresses as the tree counts: `length` in bits of all sixteen bytes.
struct Block {
  IpAddress address;
  unsigned length;

  [[nodiscard]] Block half(bool upper) const {
    Block result{address, length + 1};
    if (upper) result.address.bytes[length / 8] |= static_cast<std::uint8_t>(0x80U >> length % 8);
    return result;
  }
  // Whether it lies in ::/96, where IPv6 files keep IPv4, or around it.
  [[nodiscard]] bool touches_ipv4_place() const {
    return std::all_of(address.bytes.begin(), address.bytes.begin() + 12,
                       [](std::uint8_t byte) { return byte == 0; });
  }
};

[[nodiscard]] std::unexpected<Error> damaged(const std::string& what, const Block& block) {
  return fail(ErrorCode::invalid, what,
              "block " + block.address.text() + ", bit " + std::to_string(block.length),
              "the file is damaged: fetch it again");
}

// Visits all networks of a file. A damaged tree may lead around in circles, or into one node many
// times: visits are counted.
class Walk {
 public:
  Walk(const MMDB_s& mmdb, MmdbField field, const MmdbSink& sink, std::span<const MmdbPlace> places)
      : mmdb_(mmdb),
        field_(field),
        sink_(sink),
        places_(places),
        is_ipv4_file_(mmdb.metadata.ip_version == 4),
        visits_left_(std::uint64_t{4} * mmdb.metadata.node_count) {}

  [[nodiscard]] Status run() {
    return visit(0, is_ipv4_file_ ? Block{IpAddress::from_ipv4(0), 96} : Block{{}, 0});
  }

 private:
  [[nodiscard]] Status visit(std::uint32_t node_number, const Block& block) {
    if (visits_left_ == 0) return damaged("the search tree leads around in circles", block);
    --visits_left_;
    MMDB_search_node_s node;
    if (const int code = MMDB_read_node(&mmdb_, node_number, &node); code != MMDB_SUCCESS) {
      return damaged(MMDB_strerror(code), block);
    }
    auto status = visit_record(node.left_record, node.left_record_type, node.left_record_entry,
                               block.half(false));
    if (!status) return status;
    return visit_record(node.right_record, node.right_record_type, node.right_record_entry,
                        block.half(true));
  }

  [[nodiscard]] Status visit_record(std::uint64_t record, std::uint8_t type, MMDB_entry_s entry,
                                    const Block& block) {
    switch (type) {
      case MMDB_RECORD_TYPE_EMPTY:
        return {};
      case MMDB_RECORD_TYPE_SEARCH_NODE:
        if (block.length >= 128) {
          return damaged("the search tree is deeper than an address is long", block);
        }
        if (is_alias(record, block)) return {};
        return visit(static_cast<std::uint32_t>(record), block);
      case MMDB_RECORD_TYPE_DATA:
        return visit_data(entry, block);
      default:
        return damaged("the search tree holds an invalid record", block);
    }
  }

  // Whether the record repeats the IPv4 side of the tree anywhere but in its place.
  [[nodiscard]] bool is_alias(std::uint64_t record, const Block& block) const {
    const auto& start = mmdb_.ipv4_start_node;
    return !is_ipv4_file_ && start.netmask == 96 && record == start.node_value &&
           !(block.length == 96 && block.touches_ipv4_place());
  }

  [[nodiscard]] Status visit_data(MMDB_entry_s entry, const Block& block) {
    auto found = values_.find(entry.offset);
    if (found == values_.end()) {
      auto value = value_of(entry);
      if (!value) return damaged(value.error().what, block);
      found = values_.emplace(entry.offset, std::move(*value)).first;
    }
    return found->second.empty() ? Status{} : emit(block, found->second);
  }

  [[nodiscard]] Status emit(const Block& block, const std::string& value) {
    const auto in_ipv4 = static_cast<std::uint8_t>(block.length - 96);
    if (is_ipv4_file_) return sink_({block.address, in_ipv4}, value);
    if (block.touches_ipv4_place()) {
      const auto& b = block.address.bytes;
      const auto low = byte_swap(load<std::uint32_t>(b.data() + 12));
      if (block.length >= 96) return sink_({IpAddress::from_ipv4(low), in_ipv4}, value);
      // One network holds all of IPv4, and more.
      if (auto status = sink_({IpAddress::from_ipv4(0), 0}, value); !status) return status;
    }
    if (block.address.is_ipv4()) return sink_({block.address, in_ipv4}, value);
    return sink_({block.address, static_cast<std::uint8_t>(block.length)}, value);
  }

  // The field of a data record; empty where the record has none.
  [[nodiscard]] Result<std::string> value_of(MMDB_entry_s entry) const {
    switch (field_) {
      case MmdbField::asn:
        return text_at(entry, {"autonomous_system_number", nullptr});
      case MmdbField::country:
        return text_at(entry, {"country", "iso_code", nullptr});
      case MmdbField::continent:
        return text_at(entry, {"continent", "code", nullptr});
      case MmdbField::nearest_site:
        return nearest_to(entry);
      case MmdbField::subdivision:
        break;
    }
    auto country = text_at(entry, {"country", "iso_code", nullptr});
    if (!country || country->empty()) return country;
    auto subdivision = text_at(entry, {"subdivisions", "0", "iso_code", nullptr});
    if (!subdivision || subdivision->empty()) return subdivision;
    return *country + "-" + *subdivision;
  }

  [[nodiscard]] Result<std::string> nearest_to(MMDB_entry_s entry) const {
    const auto latitude = degrees_at(entry, {"location", "latitude", nullptr});
    if (!latitude) return std::unexpected(latitude.error());
    const auto longitude = degrees_at(entry, {"location", "longitude", nullptr});
    if (!longitude) return std::unexpected(longitude.error());
    if (!*latitude || !*longitude) return std::string{};
    return places_.nearest({**latitude, **longitude});
  }

  [[nodiscard]] static Result<std::optional<double>> degrees_at(
      MMDB_entry_s entry, const std::array<const char*, 3>& path) {
    MMDB_entry_data_s data{};
    const int code = MMDB_aget_value(&entry, &data, path.data());
    if (code == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR) return std::nullopt;
    if (code != MMDB_SUCCESS) return fail(ErrorCode::invalid, MMDB_strerror(code));
    if (!data.has_data) return std::nullopt;
    if (data.type == MMDB_DATA_TYPE_DOUBLE && std::abs(data.double_value) <= 360) {
      return data.double_value;
    }
    return fail(ErrorCode::invalid, std::string("'") + path[1] + "' holds no degrees");
  }

  [[nodiscard]] static Result<std::string> text_at(MMDB_entry_s entry,
                                                   const std::array<const char*, 4>& path) {
    MMDB_entry_data_s data{};
    const int code = MMDB_aget_value(&entry, &data, path.data());
    if (code == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR) return std::string{};
    if (code != MMDB_SUCCESS) return fail(ErrorCode::invalid, MMDB_strerror(code));
    if (!data.has_data) return std::string{};
    if (data.type == MMDB_DATA_TYPE_UINT32) return std::to_string(data.uint32);
    if (data.type == MMDB_DATA_TYPE_UTF8_STRING)
      return std::string(data.utf8_string, data.data_size);
    return fail(ErrorCode::invalid,
                std::string("'") + path[0] + "' holds neither text nor a number");
  }

  const MMDB_s& mmdb_;
  MmdbField field_;
  const MmdbSink& sink_;
  Places places_;
  bool is_ipv4_file_;
  std::uint64_t visits_left_;
  std::unordered_map<std::uint32_t, std::string> values_;  // by offset: networks share records
};

}  // namespace

std::string_view name_of(MmdbField field) noexcept {
  return std::ranges::find(field_names, field, &FieldName::field)->name;
}

Result<MmdbField> mmdb_field(std::string_view name) {
  const auto* found = std::ranges::find(field_names, name, &FieldName::name);
  if (found != field_names.end()) return found->field;
  return fail(ErrorCode::invalid,
              "'" + std::string(name) + "' is no field that we take from a MaxMind DB", {},
              "write asn, subdivision, country, continent or nearest_site");
}

Status walk_mmdb(const std::string& file, MmdbField field, const MmdbSink& sink,
                 std::span<const MmdbPlace> places) {
  Database database;
  auto status = database.open(file);
  if (status) status = Walk(*database, field, sink, places).run();
  if (!status) return std::unexpected(std::move(status).error().in(file));
  return {};
}

}  // namespace pharos::controlplane
