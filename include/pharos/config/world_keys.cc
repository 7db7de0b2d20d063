// Keys of `sites`, `locales` and `zones`. Private to include/pharos/config.
#include "pharos/config/keys.hh"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <fstream>

namespace pharos::config {

namespace {

Shape coordinates_shape() {
  return {
      .kind = Shape::Kind::list,
      .word = "[latitude, longitude]",
      .parts = {{.kind = Shape::Kind::number, .word = "degrees", .minimum = -180, .maximum = 180}},
      .count_min = 2,
      .count_max = 2};
}

bool read_coordinates(Reader& reader, const Node& node, double& latitude, double& longitude) {
  constexpr const char* hint = "write degrees as [latitude, longitude], such as [50.11, 8.68]";
  if (node.kind != Node::Kind::list || node.items.size() != 2) {
    reader.mistake(node, "a location is two numbers", hint);
    return false;
  }
  double read[2] = {};
  for (unsigned i = 0; i < 2; ++i) {
    if (!number(-180, 180).read(reader, *node.items[i], read[i])) return false;
  }
  if (std::abs(read[0]) > 90) {
    reader.mistake(node, "latitude " + number_text(read[0]) + " is not between -90 and 90",
                   std::abs(read[1]) <= 90 ? "latitude comes first: are they swapped?" : hint);
    return false;
  }
  latitude = read[0];
  longitude = read[1];
  return true;
}

template <typename Object>
Key location_key() {
  Key key;
  key.name = "location";
  key.description = "degrees, latitude first";
  key.example = "[50.11, 8.68]";
  key.shape = coordinates_shape();
  key.read = [](Reader& reader, const Node& node, void* to) {
    double latitude = 0, longitude = 0;
    if (!read_coordinates(reader, node, latitude, longitude)) return;
    static_cast<Object*>(to)->latitude = latitude;
    static_cast<Object*>(to)->longitude = longitude;
  };
  return key;
}

// ---- keys of sites ----

void check_key(Reader& reader, const Node& node, void*) {
  const bool secret = node.find("secret") != nullptr, file = node.find("file") != nullptr;
  if (secret == file) {
    reader.mistake(
        node,
        secret ? "a key has both 'secret' and 'file'" : "a key has neither 'secret' nor 'file'",
        "give one of them: {id: 1, file: /etc/pharos/site.key}");
  }
}

void check_site(Reader& reader, const Node& node, void* object) {
  const auto& site = *static_cast<SiteConfig*>(object);
  const Member* keys = node.find("keys");
  if (const Member* interval = node.find("beacon_interval");
      interval != nullptr && keys == nullptr) {
    reader.mistakes.add(
        interval->place,
        "site '" + site.id + "' expects beacons, but has no keys to check them with",
        "add keys, or leave beacon_interval out");
  }
  for (std::size_t i = 1; i < site.keys.size(); ++i) {
    if (std::ranges::find(site.keys.begin(), site.keys.begin() + static_cast<std::ptrdiff_t>(i),
                          site.keys[i].id,
                          &KeyConfig::id) != site.keys.begin() + static_cast<std::ptrdiff_t>(i)) {
      reader.mistakes.add(
          keys->place,
          "site '" + site.id + "' has two keys with the id " + std::to_string(site.keys[i].id),
          "give each its own id, so that beacons can say which one they use");
    }
  }
}

// ---- keys of locales ----

void read_prefixes(Reader& reader, const Node& node, LocaleConfig& to) {
  const auto type = ip_prefix();
  const auto take = [&](const Node& item) {
    IpPrefix prefix;
    if (!type.read(reader, item, prefix)) return;
    reader.prefixes.push_back({prefix, reader.locale, item.place});
    to.prefixes.push_back(prefix);
  };
  if (node.kind == Node::Kind::scalar) return take(node);
  if (!is_list(reader, node, "prefix")) return;
  for (const Node* item : node.items) take(*item);
}

Key prefixes_key() {
  Key key;
  key.name = "prefixes";
  key.description = "blocks of client addresses; the longest match decides";
  key.example = "[198.51.100.0/24, \"2001:db8:1::/48\"]";
  key.shape = one_or_more(ip_prefix()).shape;
  key.read = [](Reader& reader, const Node& node, void* to) {
    read_prefixes(reader, node, *static_cast<LocaleConfig*>(to));
  };
  return key;
}

Key latency_key() {
  Key key;
  key.name = "latency";
  key.description =
      "measured round-trip times from the clients to sites; a site without one is placed by "
      "distance";
  key.example = "{fra: 12ms, nyc: 95ms}";
  key.shape = {.kind = Shape::Kind::map,
               .word = "site: duration",
               .parts = {duration({}, seconds(60)).shape}};
  key.read = [](Reader& reader, const Node& node, void* to) {
    auto& locale = *static_cast<LocaleConfig*>(to);
    for_each_member(reader, node, "site: duration", [&](const Member& member) {
      reader.references.push_back(
          {Thing::site, member.key, "latency of locale '" + reader.locale + "'", member.place});
      Duration value;
      if (duration({}, seconds(60)).read(reader, *member.value, value))
        locale.latency[member.key] = value;
    });
  };
  return key;
}

void store_data_file(Reader& reader, const Node& node, std::string& to, std::string path) {
  reader.require_file(node, path);
  to = std::move(path);
}

void check_mmdb(Reader& reader, const Node& node, void* object) {
  const auto& select = *static_cast<MmdbSelect*>(object);
  if (select.field != "nearest_site") return;
  for (const auto& site : select.values) {
    reader.references.push_back(
        {Thing::site, site, "nearest_site of locale '" + reader.locale + "'", node.place});
  }
}

void check_locale(Reader& reader, const Node& node, void* object) {
  const auto& locale = *static_cast<LocaleConfig*>(object);
  if (node.find("prefixes") == nullptr && locale.csv.empty() && locale.mmdb.empty()) {
    reader.mistake(node, "locale '" + locale.id + "' selects no clients",
                   "add prefixes, csv or mmdb");
  }
  reader.locale.clear();
}

// ---- keys of zones ----

// A name, relative to the zone unless it ends with a dot; kept as written.
Type<std::string> relative_name(std::string word) {
  return {Shape{.kind = Shape::Kind::text, .word = std::move(word)},
          [](Reader& reader, const Node& node, std::string& to) {
            const auto* name = scalar_of(reader, node, "a name");
            if (name == nullptr) return false;
            if (const auto parsed = parse_domain_name(*name, false); !parsed) {
              auto error = parsed.error();
              if (name->contains('@'))
                error.hint = "in DNS the '@' of a mail address is written as '.'";
              reader.mistake(node, error);
              return false;
            }
            to = *name;
            return true;
          },
          [](const std::string& value) { return value; }};
}

Key hosts_key() {
  Key key;
  key.name = "hosts";
  key.description =
      "addresses of names of the zone. A nameserver of the zone without any gets those of our "
      "ports";
  key.example = "{ns1: [192.0.2.53, \"2001:db8::53\"]}";
  key.shape = {.kind = Shape::Kind::map,
               .word = "name: addresses",
               .parts = {one_or_more(ip_address()).shape}};
  key.read = [](Reader& reader, const Node& node, void* to) {
    auto& zone = *static_cast<ZoneConfig*>(to);
    for_each_member(reader, node, "name: addresses", [&](const Member& member) {
      if (const auto name = parse_domain_name(member.key, false); !name) {
        reader.mistakes.add(member.place, name.error().what, name.error().hint);
        return;
      }
      (void)one_or_more(ip_address(), 32).read(reader, *member.value, zone.hosts[member.key]);
    });
  };
  return key;
}

void check_zone(Reader& reader, const Node& node, void* object) {
  const auto& zone = *static_cast<ZoneConfig*>(object);
  if (zone.file.empty()) return;
  for (const char* name : {"primary", "contact", "nameservers", "hosts", "ttl", "negative_ttl"}) {
    if (const Member* member = node.find(name)) {
      reader.mistakes.add(member->place,
                          "'" + std::string(name) + "' does nothing in a zone that has a file",
                          "write it into " + zone.file);
    }
  }
}

}  // namespace

void Reader::require_file(const Node& node, const std::string& path) {
  if (!secrets || path.empty()) return;
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    mistake(node, "file '" + path + "' is not there, or may not be read",
            "paths are relative to the file they stand in");
  } else if (!S_ISREG(info.st_mode)) {
    mistake(node, "'" + path + "' is not a file");
  }
}

template <>
const Table* table_of<KeyConfig>() {
  using C = KeyConfig;
  static const Table table{
      "sites[].keys[]",
      "A key that signs beacons. Two may live at once, for rotation.",
      {
          required(key("id", &C::id, as<std::uint8_t>(whole(0, 255)),
                       "beacons say which key they use by this", "1")),
          key_into<C>("secret", text("secret", 128), "32 bytes, hexadecimal or base64",
                      "\"<64 hexadecimal digits>\"",
                      [](Reader& reader, const Node& node, C& to, const std::string& text) {
                        std::array<std::uint8_t, 32> secret{};
                        if (read_secret(reader, node, text, secret) && reader.secrets)
                          to.secret = secret;
                      }),
          key_into<C>("file", file_path(),
                      "a file whose first line is the secret, closed to other users",
                      "/etc/pharos/fra.key",
                      [](Reader& reader, const Node& node, C& to, const std::string& path) {
                        if (reader.secrets) (void)read_secret_file(reader, node, path, to.secret);
                      }),
      },
      check_key};
  return &table;
}

template <>
const Table* table_of<SiteConfig>() {
  using C = SiteConfig;
  static const Table table{
      "sites[]",
      "A place that runs things.",
      {
          required(key_into<C>("id", identifier("site id"), "its name everywhere", "fra",
                               [](Reader& reader, const Node& node, C& to, std::string id) {
                                 reader.declarations.push_back({Thing::site, {}, id, node.place});
                                 to.id = std::move(id);
                               })),
          key("region", &C::region, identifier("region"),
              "failure domain; sites of one fail together", "eu"),
          required(location_key<C>()),
          key("capacity_rps", &C::capacity_rps, maybe(rate()),
              "requests per second that it can take; default: unlimited", "50k"),
          key("in_flight_max", &C::in_flight_max, maybe(rate()),
              "requests at a time that it can take; default: unlimited", "2k"),
          key("beacon_interval", &C::beacon_interval, duration(milliseconds(10), seconds(3600)),
              "expected between beacons until it is measured", "500ms"),
          key("keys", &C::keys, list_of(object<KeyConfig>(), 0, 2),
              "of its beacons; default: none, and the site never beacons and counts as up",
              "[{id: 1, file: /etc/pharos/fra.key}]"),
      },
      check_site};
  return &table;
}

template <>
const Table* table_of<CsvSelect>() {
  using C = CsvSelect;
  static const Table table{
      "locales[].csv[]",
      "Prefixes from a file: lines `prefix,value` or `first,last,value`, `#` comments, `.gz` "
      "taken.",
      {
          required(key_into<C>("file", file_path(), "the file", "geo/cities.csv",
                               [](Reader& reader, const Node& node, C& to, std::string path) {
                                 store_data_file(reader, node, to.file, std::move(path));
                               })),
          key("values", &C::values, one_or_more(text("value")),
              "lines with these values; default: every line", "[fra, ber]"),
      }};
  return &table;
}

template <>
const Table* table_of<MmdbSelect>() {
  using C = MmdbSelect;
  static const Table table{
      "locales[].mmdb[]",
      "Prefixes from a MaxMind database.",
      {
          required(key_into<C>("file", file_path(), "the database",
                               "/var/lib/GeoIP/GeoLite2-Country.mmdb",
                               [](Reader& reader, const Node& node, C& to, std::string path) {
                                 store_data_file(reader, node, to.file, std::move(path));
                               })),
          required(key("field", &C::field,
                       choice<std::string>({{"country", "country"},
                                            {"continent", "continent"},
                                            {"subdivision", "subdivision"},
                                            {"asn", "asn"},
                                            {"nearest_site", "nearest_site"}}),
                       "what the values are", "country")),
          required(key("values", &C::values, one_or_more(text("value")),
                       "`DE` (country), `EU` (continent), `US-CA` (subdivision), `64500` (asn), or "
                       "ids of sites (nearest_site): networks placed nearer to them than to others",
                       "[DE, AT, CH]")),
      },
      check_mmdb};
  return &table;
}

template <>
const Table* table_of<LocaleConfig>() {
  using C = LocaleConfig;
  static const Table table{
      "locales[]",
      "A group of client prefixes that are answered alike. Clients in none belong to `default`, "
      "which is always there.",
      {
          required(key_into<C>("id", identifier("locale id"), "its name everywhere", "europe",
                               [](Reader& reader, const Node& node, C& to, std::string id) {
                                 if (id == "default") {
                                   reader.mistake(
                                       node, "the locale 'default' is everyone in no other locale",
                                       "choose another id");
                                 }
                                 reader.declarations.push_back({Thing::locale, {}, id, node.place});
                                 reader.locale = id;
                                 to.id = std::move(id);
                               })),
          location_key<C>(),
          prefixes_key(),
          key("csv", &C::csv, list_of(object<CsvSelect>()), "prefixes from CSV files",
              "[{file: cities.csv, values: [fra]}]"),
          key("mmdb", &C::mmdb, list_of(object<MmdbSelect>()), "prefixes from MaxMind databases",
              "[{file: country.mmdb, field: country, values: [DE]}]"),
          latency_key(),
          key("demand_weight", &C::demand_weight, number(0, 1e6),
              "requests that stand behind one query of its resolvers, compared with other locales",
              "2.5"),
      },
      check_locale};
  return &table;
}

template <>
const Table* table_of<ZoneConfig>() {
  using C = ZoneConfig;
  static const Table table{
      "zones[]",
      "A zone that we answer for: from a zone file, or made from the keys below.",
      {
          required(key_into<C>("id", domain_name(false), "its origin", "example.com",
                               [](Reader& reader, const Node& node, C& to, std::string id) {
                                 reader.declarations.push_back({Thing::zone, {}, id, node.place});
                                 to.id = std::move(id);
                               })),
          key_into<C>("file", file_path(),
                      "zone file (RFC 1035, 5); default: the zone is made from the keys below",
                      "zones/example.com.zone",
                      [](Reader& reader, const Node& node, C& to, std::string path) {
                        store_data_file(reader, node, to.file, std::move(path));
                      }),
          key("primary", &C::primary, relative_name("name"),
              "SOA MNAME; relative to the zone unless it ends with a dot", "ns1"),
          key("contact", &C::contact, relative_name("mail address, '@' written as '.'"),
              "SOA RNAME", "hostmaster"),
          key("nameservers", &C::nameservers, one_or_more(relative_name("name"), 13), "NS records",
              "[ns1, ns2]"),
          hosts_key(),
          key("ttl", &C::ttl, duration({}, seconds(604'800)), "of NS, SOA and host records", "1h"),
          key("negative_ttl", &C::negative_ttl, duration({}, seconds(86'400)),
              "of answers that something does not exist (RFC 2308)", "60s"),
      },
      check_zone};
  return &table;
}

}  // namespace pharos::config
