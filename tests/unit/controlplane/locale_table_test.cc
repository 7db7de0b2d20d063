// Imports: lines and ranges of CSV, MaxMind DB files, and the table that a configuration's locales make.
#include "pharos/controlplane/locale/locale_table.hh"

#include "pharos/base/fd.hh"
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/controlplane/locale/csv_import.hh"
#include "pharos/controlplane/locale/mmdb_import.hh"
#include "pharos/shared/locale_image.hh"

#include <zlib.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <tuple>

namespace pharos {
namespace {

using namespace controlplane;
namespace fs = std::filesystem;

IpPrefix prefix(const std::string& text) {
  return IpPrefix::parse(text).value();
}
IpAddress address(const char* text) {
  return IpAddress::parse(text).value();
}

// A directory of this test's own, removed at its end.
class LocaleTableTest : public testing::Test {
 protected:
  LocaleTableTest() {
    std::string pattern = (fs::temp_directory_path() / "pharos-locale-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~LocaleTableTest() override { fs::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& text) const {
    const auto path = directory_ / name;
    std::ofstream(path) << text;
    return path.string();
  }
  std::string write_gz(const std::string& name, const std::string& text) const {
    const auto path = (directory_ / name).string();
    const gzFile file = gzopen(path.c_str(), "wb");
    EXPECT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
              static_cast<int>(text.size()));
    EXPECT_EQ(gzclose(file), Z_OK);
    return path;
  }
  fs::path directory_;
};

config::LocaleConfig locale(const std::string& id) {
  config::LocaleConfig result;
  result.id = id;
  result.source = {"pharos.yaml", 7};
  return result;
}

// "prefix,value" of each line, or the error.
std::vector<std::string> lines_of(const std::string& file) {
  std::vector<std::string> result;
  const auto status = read_csv(file, [&](const CsvLine& line, std::uint32_t number) -> Status {
    for (const auto& p : line.prefixes) {
      result.push_back(std::to_string(number) + " " + p.text() + " " + std::string(line.value));
    }
    return {};
  });
  if (!status) result.push_back("error " + status.error().text());
  return result;
}
using Lines = std::vector<std::string>;

TEST_F(LocaleTableTest, CsvTakesPrefixesAndRangesWithCommentsBlanksAndQuotes) {
  const auto file = write("a.csv",
                          "# a comment\n"
                          "country,prefix\r\n"
                          "\n"
                          "192.0.2.0/24,DE\r\n"
                          "  fr , 198.51.100.0/25 \n"
                          "\"2001:db8::/32\",\"US\"\n"
                          "203.0.113.1,203.0.113.4,JP\n"
                          "203.0.113.9\n"
                          "2001:db8::,2001:db8::1,AT");
  EXPECT_EQ(lines_of(file),
            (Lines{"4 192.0.2.0/24 DE", "5 198.51.100.0/25 fr", "6 2001:db8::/32 US",
                   "7 203.0.113.1/32 JP", "7 203.0.113.2/31 JP", "7 203.0.113.4/32 JP",
                   "8 203.0.113.9/32 ", "9 2001:db8::/127 AT"}));
  EXPECT_EQ(lines_of(write("empty.csv", "")), Lines{});
}

TEST_F(LocaleTableTest, CsvErrorsNameFileAndLine) {
  const auto error_of = [&](const std::string& text) {
    return lines_of(write("e.csv", "10.0.0.0/8,A\n" + text)).back();
  };
  const std::string at = "error " + (directory_ / "e.csv").string() + ":2: ";
  EXPECT_EQ(error_of("10.0.0.1/8,A"),
            at + "'10.0.0.1/8' has bits set behind its prefix length (write 10.0.0.0/8)");
  EXPECT_EQ(error_of("10.0.0.0/33,A"),
            at + "'10.0.0.0/33' has no valid prefix length (write 192.0.2.0/24 or 2001:db8::/32)");
  EXPECT_EQ(error_of("A,B"),
            at + "'A,B' is no line of client prefixes (write prefix,value or first,last,value)");
  EXPECT_EQ(error_of("10.0.0.0/8,A,B"), at + "'10.0.0.0/8,A,B' is no line of client prefixes "
                                             "(write prefix,value or first,last,value)");
  EXPECT_EQ(error_of("10.0.0.2,10.0.0.1,A"),
            at + "10.0.0.2 to 10.0.0.1 is no range of addresses (give the lower address first, "
                 "both of one family)");
  EXPECT_EQ(error_of("10.0.0.2,2001:db8::,A"),
            at + "10.0.0.2 to 2001:db8:: is no range of addresses (give the lower address first, "
                 "both of one family)");
  EXPECT_EQ(error_of(std::string(5000, 'x')), at + "the line is longer than 4096 bytes");
  EXPECT_EQ(error_of("1.2.3,A"),
            at + "'1.2.3' is not an IP address (write 192.0.2.1 or 2001:db8::1)");
  EXPECT_NE(lines_of((directory_ / "absent.csv").string()).back().find("No such file"),
            std::string::npos);
  EXPECT_NE(lines_of(directory_.string()).back().find("Is a directory"), std::string::npos);
}

TEST_F(LocaleTableTest, CsvIsReadFromGzipAndDamageIsFound) {
  std::string text;
  for (int i = 0; i < 5000; ++i)
    text += "10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24,X\n";
  const auto file = write_gz("a.csv.gz", text);
  EXPECT_EQ(lines_of(file).size(), 5000U);
  EXPECT_EQ(lines_of(file).front(), "1 10.0.0.0/24 X");

  std::ifstream in(file, std::ios::binary);
  const std::string packed((std::istreambuf_iterator<char>(in)), {});
  const auto cut = lines_of(write("cut.csv.gz", packed.substr(0, packed.size() / 2))).back();
  EXPECT_NE(cut.find("the compressed data is damaged"), std::string::npos) << cut;
  std::string flipped = packed;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 0x10);
  const auto bad = lines_of(write("bad.csv.gz", flipped)).back();
  EXPECT_NE(bad.find("error"), std::string::npos) << bad;
}

TEST_F(LocaleTableTest, ARangeBecomesTheFewestPrefixesThatCoverItExactly) {
  std::mt19937 random(4);
  for (int round = 0; round < 300; ++round) {
    const std::uint32_t base = round % 3 == 0 ? 0xffffff00 : round % 3 == 1 ? 0 : 0x0a0000f0;
    const auto a = static_cast<std::uint32_t>(base + random() % 256);
    const auto b = static_cast<std::uint32_t>(base + random() % 256);
    const auto [low, high] = std::minmax(a, b);
    const auto prefixes =
        prefixes_of_range(IpAddress::from_ipv4(low), IpAddress::from_ipv4(high)).value();
    std::uint64_t next = low;
    std::uint64_t blocks = 0;
    for (const auto& p : prefixes) {
      ASSERT_EQ(p.address.ipv4(), next) << low << "-" << high;
      ASSERT_EQ(p.masked(), p);
      next += std::uint64_t{1} << (32 - p.length);
      ++blocks;
    }
    ASSERT_EQ(next, std::uint64_t{high} + 1);
    // Fewest: no two neighbours are the halves of one larger block.
    for (std::size_t i = 1; i < prefixes.size(); ++i) {
      IpPrefix whole{prefixes[i - 1].address, static_cast<std::uint8_t>(prefixes[i].length - 1)};
      ASSERT_FALSE(prefixes[i - 1].length == prefixes[i].length && whole.masked() == whole);
    }
    ASSERT_LE(blocks, 62U);
  }
  EXPECT_EQ(prefixes_of_range(address("0.0.0.0"), address("255.255.255.255")).value(),
            std::vector{prefix("0.0.0.0/0")});
  EXPECT_EQ(
      prefixes_of_range(address("::"), address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")).value(),
      std::vector{prefix("::/0")});
  // 127 prefixes to 7fff:..., 15 to fffe:..., and ffff::.
  EXPECT_EQ(prefixes_of_range(address("::1"), address("ffff::")).value().size(), 143U);
}

TEST_F(LocaleTableTest, WithoutLocalesThereIsOnlyTheDefault) {
  const auto table = load_locales({}).value();
  EXPECT_EQ(table.names, std::vector<std::string>{"default"});
  EXPECT_TRUE(table.prefixes.empty());
}

TEST_F(LocaleTableTest, PrefixesAndCsvOfAllLocalesComeTogetherInOrder) {
  config::Config config;
  const auto csv =
      write("c.csv", "10.1.0.0/16,DE\n10.2.0.0/16,FR\n10.3.0.0/16,jp\n10.4.0.0/16,US\n");
  config.locales = {locale("europe"), locale("asia"), locale("default")};
  config.locales[0].csv = {{csv, {"de", "FR"}}};
  config.locales[1].csv = {{csv, {"JP"}}};
  config.locales[1].prefixes = {prefix("10.1.0.0/24")};
  config.locales[2].prefixes = {prefix("10.1.1.0/24")};
  const auto table = load_locales(config);
  ASSERT_TRUE(table) << table.error().text();
  EXPECT_EQ(table->names, (std::vector<std::string>{"default", "europe", "asia"}));
  EXPECT_EQ(table->prefixes, (std::vector<LocalePrefix>{{prefix("10.1.0.0/16"), 1},
                                                        {prefix("10.1.0.0/24"), 2},
                                                        {prefix("10.1.1.0/24"), 0},
                                                        {prefix("10.2.0.0/16"), 1},
                                                        {prefix("10.3.0.0/16"), 2}}));
}

TEST_F(LocaleTableTest, TheSamePrefixFromEquallyCloseSourcesIsAConflictThatNamesBoth) {
  config::Config config;
  config.locales = {locale("a"), locale("b")};
  config.locales[0].prefixes = config.locales[1].prefixes = {prefix("10.0.0.0/8")};
  config.locales[1].source.line = 19;
  auto error = load_locales(config).error();
  EXPECT_EQ(error.code, ErrorCode::conflict);
  EXPECT_EQ(error.what,
            "10.0.0.0/8 belongs to locale 'a' (pharos.yaml:7) and to locale 'b' (pharos.yaml:19)");

  const auto one = write("1.csv", "10.0.0.0/8,A\n");
  const auto two = write("2.csv", "#\n10.0.0.0/8,B\n");
  config.locales[0].prefixes.clear();
  config.locales[1].prefixes.clear();
  config.locales[0].csv = {{one, {}}};
  config.locales[1].csv = {{two, {}}};
  error = load_locales(config).error();
  EXPECT_EQ(error.what,
            "10.0.0.0/8 belongs to locale 'a' (" + one + ":1) and to locale 'b' (" + two + ":2)");

  // Written in the configuration, it beats both.
  config.locales[1].prefixes = {prefix("10.0.0.0/8")};
  const auto table = load_locales(config);
  ASSERT_TRUE(table) << table.error().text();
  EXPECT_EQ(table->prefixes, (std::vector<LocalePrefix>{{prefix("10.0.0.0/8"), 2}}));
  // The same locale may hear of a prefix as often as it likes.
  config.locales[1].csv.clear();
  config.locales[0].csv.push_back({two, {}});
  EXPECT_TRUE(load_locales(config));
}

TEST_F(LocaleTableTest, MistakesInSelectionsAreErrors) {
  config::Config config;
  config.locales = {locale("a")};
  const auto csv = write("c.csv", "10.0.0.0/8,DE\n");
  config.locales[0].csv = {{csv, {"DE", "DEU"}}};
  auto error = load_locales(config).error();
  EXPECT_EQ(error.code, ErrorCode::not_found);
  EXPECT_EQ(error.text(), "pharos.yaml:7: locale 'a': " + csv + " has no prefix with value 'DEU'");
  config.locales[0].csv.clear();
  config.locales[0].mmdb = {{csv, "town", {"Bonn"}}};
  EXPECT_EQ(load_locales(config).error().where, "pharos.yaml:7");
  config.locales[0].mmdb = {{csv, "country", {}}};
  EXPECT_EQ(load_locales(config).error().code, ErrorCode::invalid);
  config.locales[0].mmdb = {{csv, "country", {"DE"}}};
  EXPECT_EQ(load_locales(config).error().what,
            "not a sound MaxMind DB: The MaxMind DB file contains invalid metadata");
  config.locales[0].mmdb = {{(directory_ / "absent.mmdb").string(), "country", {"DE"}}};
  EXPECT_NE(load_locales(config).error().what.find("No such file"), std::string::npos);
  config.locales = {locale("a"), locale("a")};
  EXPECT_EQ(load_locales(config).error().code, ErrorCode::conflict);
}

// Data beside the project's root, where it is there.
std::optional<fs::path> shared_data(const char* name) {
  const auto path = fs::path(PHAROS_SOURCE_ROOT) / "../shared/data" / name;
  return fs::exists(path) ? std::optional(path) : std::nullopt;
}

class MmdbTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto path = shared_data("geoip-mmdb-test");
    if (!path) GTEST_SKIP() << "../shared/data/geoip-mmdb-test is absent";
    data_ = *path;
  }
  // All networks and their values; an error's text under the prefix 0.0.0.0/0.
  std::map<IpPrefix, std::string> walk(const char* file, MmdbField field) const {
    std::map<IpPrefix, std::string> result;
    const auto status = walk_mmdb(
        (data_ / file).string(), field, [&](const IpPrefix& p, const std::string& value) -> Status {
          EXPECT_EQ(p.masked(), p);
          EXPECT_TRUE(result.emplace(p, value).second) << p.text() << " came twice";
          return {};
        });
    EXPECT_TRUE(status) << status.error().text();
    return result;
  }
  Error error_of(const char* file, MmdbField field) const {
    const auto status = walk_mmdb((data_ / file).string(), field,
                                  [](const auto&, const auto&) { return Status{}; });
    return status ? Error{ErrorCode::not_found, "no error", {}, {}} : status.error();
  }
  fs::path data_;
};

TEST_F(MmdbTest, CountriesContinentsAndSubdivisionsOfTheCityFile) {
  const auto countries = walk("GeoIP2-City-Test.mmdb", MmdbField::country);
  EXPECT_EQ(countries.at(prefix("81.2.69.142/31")), "GB");
  EXPECT_EQ(countries.at(prefix("2001:218::/32")), "JP");
  const auto continents = walk("GeoIP2-City-Test.mmdb", MmdbField::continent);
  EXPECT_EQ(continents.at(prefix("81.2.69.142/31")), "EU");
  const auto subdivisions = walk("GeoIP2-City-Test.mmdb", MmdbField::subdivision);
  EXPECT_EQ(subdivisions.at(prefix("81.2.69.142/31")), "GB-ENG");
  EXPECT_EQ(subdivisions.at(prefix("216.160.83.56/29")), "US-WA");
  for (const auto& [p, value] : subdivisions)
    EXPECT_EQ(countries.at(p), value.substr(0, 2)) << p.text();
}

TEST_F(MmdbTest, AsnsOfTheAsnFile) {
  const auto asns = walk("GeoLite2-ASN-Test.mmdb", MmdbField::asn);
  EXPECT_EQ(asns.at(prefix("1.128.0.0/11")), "1221");
  EXPECT_EQ(asns.at(prefix("2600:6000::/20")), "237");
  EXPECT_TRUE(walk("GeoLite2-ASN-Test.mmdb", MmdbField::country).empty());
}

TEST_F(MmdbTest, TreesOfEveryRecordSizeAreWalkedAndHaveNoCountries) {
  for (const auto* file : {"MaxMind-DB-test-mixed-24.mmdb", "MaxMind-DB-test-mixed-28.mmdb",
                           "MaxMind-DB-test-mixed-32.mmdb", "MaxMind-DB-test-decoder.mmdb",
                           "MaxMind-DB-no-ipv4-search-tree.mmdb"}) {
    EXPECT_TRUE(walk(file, MmdbField::country).empty()) << file;
  }
}

TEST_F(MmdbTest, DamagedFilesGiveClearErrors) {
  const auto tree = error_of("MaxMind-DB-test-broken-search-tree-24.mmdb", MmdbField::country);
  EXPECT_EQ(tree.code, ErrorCode::invalid);
  EXPECT_NE(tree.where.find("broken-search-tree-24.mmdb: block "), std::string::npos)
      << tree.text();
  const auto pointers = error_of("MaxMind-DB-test-broken-pointers-24.mmdb", MmdbField::country);
  EXPECT_EQ(pointers.code, ErrorCode::invalid) << pointers.text();
}

TEST_F(MmdbTest, EveryTruncationAndManyFlipsOfAFileAreSurvived) {
  std::ifstream in(data_ / "GeoLite2-Country-Test.mmdb", std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  std::string pattern = (fs::temp_directory_path() / "pharos-mmdb-XXXXXX").string();
  const UniqueFd fd(::mkstemp(pattern.data()));
  const auto try_bytes = [&](const std::string& bytes) {
    std::ofstream(pattern, std::ios::binary | std::ios::trunc) << bytes;
    std::size_t networks = 0;
    const auto status =
        walk_mmdb(pattern, MmdbField::country, [&](const auto&, const auto&) -> Status {
          return ++networks > 1'000'000 ? Status(fail(ErrorCode::exhausted, "too many")) : Status{};
        });
    if (!status) {
      EXPECT_NE(status.error().code, ErrorCode::exhausted);
      EXPECT_FALSE(status.error().what.empty());
    }
  };
  for (std::size_t size = 0; size < whole.size(); size += 97) try_bytes(whole.substr(0, size));
  std::mt19937 random(6);
  for (int i = 0; i < 400; ++i) {
    std::string bytes = whole;
    for (int flips = 0; flips < 4; ++flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    try_bytes(bytes);
  }
  ::unlink(pattern.c_str());
}

TEST_F(MmdbTest, ACountryAndOneOfItsSubdivisionsStandSideBySide) {
  config::Config config;
  const auto file = (data_ / "GeoIP2-City-Test.mmdb").string();
  config.locales = {locale("us"), locale("washington"), locale("north-america"), locale("level3")};
  config.locales[0].mmdb = {{file, "country", {"us"}}};
  config.locales[1].mmdb = {{file, "subdivision", {"US-WA"}}};
  config.locales[2].mmdb = {{file, "continent", {"NA"}}};
  config.locales[3].mmdb = {
      {(data_ / "GeoLite2-ASN-Test.mmdb").string(), "asn", {"AS1221", "237"}}};
  const auto table = load_locales(config);
  ASSERT_TRUE(table) << table.error().text();
  const auto image = build_locale_image(*table, {1, 1}).value();
  const auto view = locale_map::View::prove(image).value();
  const auto name = [&](const char* text) { return view.names()[view.find(address(text)).index]; };
  EXPECT_EQ(name("216.160.83.57"), "washington");
  EXPECT_EQ(name("149.101.100.1"), "us");
  EXPECT_EQ(name("81.2.69.142"), "default");
  EXPECT_EQ(name("1.128.0.1"), "level3");
}

TEST_F(MmdbTest, NetworksGoToTheLocaleOfTheSiteNearestToThem) {
  config::Config config;
  const auto file = (data_ / "GeoIP2-City-Test.mmdb").string();
  for (const auto& [id, latitude, longitude] :
       {std::tuple("ldn", 51.5, -0.1), {"sea", 47.6, -122.3}, {"tyo", 35.7, 139.8}}) {
    config.sites.emplace_back();
    config.sites.back().id = id;
    config.sites.back().latitude = latitude;
    config.sites.back().longitude = longitude;
    config.locales.push_back(locale(std::string("near-") + id));
    config.locales.back().mmdb = {{file, "nearest_site", {id}}};
  }
  const auto table = load_locales(config);
  ASSERT_TRUE(table) << table.error().text();
  const auto image = build_locale_image(*table, {1, 1}).value();
  const auto view = locale_map::View::prove(image).value();
  const auto name = [&](const char* text) { return view.names()[view.find(address(text)).index]; };
  EXPECT_EQ(name("81.2.69.142"), "near-ldn");
  EXPECT_EQ(name("216.160.83.57"), "near-sea");
  EXPECT_EQ(name("2001:218::1"), "near-tyo");
  EXPECT_EQ(name("175.16.199.1"), "near-tyo");  // Changchun
  EXPECT_EQ(name("203.0.113.1"), "default");
}

TEST(CountryMapTest, TheRealCountryMapAgreesWithItsPrefixes) {
  const auto data = shared_data("country-cidr");
  if (!data) GTEST_SKIP() << "../shared/data/country-cidr is absent";
  // All countries as locales, from both files.
  std::map<std::string, std::uint16_t> index;
  LocaleTable table{{"default"}, {}};
  for (const auto* file : {"country-ipv4.csv.gz", "country-ipv6.csv.gz"}) {
    const auto status =
        read_csv((*data / file).string(), [&](const CsvLine& line, std::uint32_t) -> Status {
          const auto [at, is_new] = index.try_emplace(
              std::string(line.value), static_cast<std::uint16_t>(table.names.size()));
          if (is_new) table.names.emplace_back(line.value);
          for (const auto& p : line.prefixes) table.prefixes.push_back({p, at->second});
          return {};
        });
    ASSERT_TRUE(status) << status.error().text();
  }
  EXPECT_EQ(table.prefixes.size(), 243034U);
  const auto image = build_locale_image(table, {1, 1});
  ASSERT_TRUE(image);
  const auto view = locale_map::View::prove(*image);
  ASSERT_TRUE(view) << view.error().text();
  // The prefixes of this map do not overlap, so each one's ends have its locale; and its scope is no longer.
  for (const auto& [p, locale] : table.prefixes) {
    IpAddress last = p.address;
    for (unsigned bit = 128 - address_bits(p.family()) + p.length; bit < 128; ++bit) {
      last.bytes[bit / 8] |= static_cast<std::uint8_t>(0x80U >> bit % 8);
    }
    for (const auto& end : {p.address, last}) {
      ASSERT_EQ(view->find(end).index, locale) << end.text();
      ASSERT_LE(view->find(end).scope_length, p.length) << end.text();
    }
  }
  // A scope is right when the block has one locale and the block twice its size has not.
  std::mt19937_64 random(8);
  for (int probe = 0; probe < 20'000; ++probe) {
    const bool ipv4 = probe % 2 == 0;
    IpAddress a = table.prefixes[random() % table.prefixes.size()].prefix.address;
    if (ipv4) a = IpAddress::from_ipv4(static_cast<std::uint32_t>(random()));
    a.bytes[15] = static_cast<std::uint8_t>(random());
    const auto found = view->find(a);
    const unsigned first_bit = 128 - address_bits(a.family());
    const auto behind_scope = [&](IpAddress at, unsigned from) {
      for (unsigned bit = first_bit + from; bit < 128; ++bit) {
        const auto mask = static_cast<std::uint8_t>(0x80U >> bit % 8);
        at.bytes[bit / 8] = static_cast<std::uint8_t>(
            random() % 2 == 0 ? at.bytes[bit / 8] | mask : at.bytes[bit / 8] & ~mask);
      }
      return at;
    };
    for (int i = 0; i < 4; ++i)
      ASSERT_EQ(view->find(behind_scope(a, found.scope_length)), found) << a.text();
    if (found.scope_length == 0) continue;
    // The other half of the doubled block is not one block with this locale.
    IpAddress sibling = a;
    const unsigned bit = first_bit + found.scope_length - 1U;
    sibling.bytes[bit / 8] ^= static_cast<std::uint8_t>(0x80U >> bit % 8);
    ASSERT_NE(view->find(sibling), found) << a.text();
  }
}

}  // namespace
}  // namespace pharos
