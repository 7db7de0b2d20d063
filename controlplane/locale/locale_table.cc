#include "pharos/controlplane/locale/locale_table.hh"

#include "pharos/controlplane/locale/csv_import.hh"
#include "pharos/controlplane/locale/mmdb_import.hh"
#include "pharos/shared/locale_image.hh"

#include <algorithm>
#include <map>
#include <unordered_map>

namespace pharos::controlplane {
namespace {

// Of all sources together; keeps a mistaken file from taking all memory (40 bytes each while loading).
constexpr std::size_t prefixes_max = 16'000'000;

// Which source wins where several name the very same prefix: the lowest.
enum class Closeness : std::uint8_t {
  configuration,
  csv,
  asn,
  nearest_site,
  subdivision,
  country,
  continent
};

[[nodiscard]] constexpr Closeness closeness_of(MmdbField field) {
  switch (field) {
    case MmdbField::asn:
      return Closeness::asn;
    case MmdbField::nearest_site:
      return Closeness::nearest_site;
    case MmdbField::subdivision:
      return Closeness::subdivision;
    case MmdbField::country:
      return Closeness::country;
    case MmdbField::continent:
      break;
  }
  return Closeness::continent;
}

// A prefix as one source gave it.
struct Found {
  LocalePrefix entry;
  Closeness closeness;
  std::uint32_t origin;  // index into Loader::origins_
  std::uint32_t line;    // 0: none
};

// Values are compared without regard to case, ASNs with or without "AS" in front.
[[nodiscard]] std::string normal_value(std::string_view value, bool is_asn) {
  std::string result(value);
  for (char& c : result) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  if (is_asn && result.starts_with("AS")) result.erase(0, 2);
  return result;
}

// What locales want of one file, or of one field of it.
struct Selection {
  struct Wish {
    std::uint16_t locale;
    const config::LocaleConfig* config;
    std::string written;  // the value as the configuration has it
    bool met = false;
  };
  std::unordered_map<std::string, std::vector<Wish>> by_value;
  std::vector<Wish> every_value;

  void add(std::uint16_t locale, const config::LocaleConfig& config,
           const std::vector<std::string>& values, bool is_asn) {
    for (const auto& value : values) {
      by_value[normal_value(value, is_asn)].push_back({locale, &config, value});
    }
    if (values.empty()) every_value.push_back({locale, &config, {}});
  }
};

class Loader {
 public:
  [[nodiscard]] Result<LocaleTable> load(const config::Config& config) {
    for (const auto& site : config.sites)
      places_.push_back({site.id, {site.latitude, site.longitude}});
    if (auto status = number_locales(config); !status) return std::unexpected(status.error());
    for (std::size_t i = 0; i < config.locales.size(); ++i) {
      if (auto status = add(config.locales[i], indices_[i]); !status) {
        return std::unexpected(status.error());
      }
    }
    for (auto& [file, selection] : csv_) {
      if (auto status = load_csv(file, selection); !status) return std::unexpected(status.error());
    }
    for (auto& [source, selection] : mmdb_) {
      if (auto status = load_mmdb(source.first, source.second, selection); !status) {
        return std::unexpected(status.error());
      }
    }
    if (auto status = settle(); !status) return std::unexpected(status.error());
    return std::move(table_);
  }

 private:
  [[nodiscard]] Status number_locales(const config::Config& config) {
    table_.names = {"default"};
    for (const auto& locale : config.locales) {
      const auto known = std::ranges::find(table_.names, locale.id);
      const auto index = static_cast<std::size_t>(known - table_.names.begin());
      if (known != table_.names.end() && index != 0) {
        return fail(ErrorCode::conflict, "locale '" + locale.id + "' is there twice",
                    locale.source.text(), "give each locale an id of its own");
      }
      if (known == table_.names.end()) table_.names.push_back(locale.id);
      if (table_.names.size() > locale_map::locales_max) {
        return fail(ErrorCode::exhausted, "there are more than 65536 locales",
                    locale.source.text());
      }
      indices_.push_back(static_cast<std::uint16_t>(index));
    }
    return {};
  }

  // Takes the prefixes of the configuration; notes what is wanted of files, so that each is read once.
  [[nodiscard]] Status add(const config::LocaleConfig& config, std::uint16_t locale) {
    origins_.push_back(config.source.text());
    for (const auto& prefix : config.prefixes) {
      if (auto status = add({prefix, locale}, Closeness::configuration, 0); !status) return status;
    }
    for (const auto& csv : config.csv) csv_[csv.file].add(locale, config, csv.values, false);
    for (const auto& mmdb : config.mmdb) {
      const auto field = mmdb_field(mmdb.field);
      if (!field) return std::unexpected(Error(field.error()).in(config.source.text()));
      if (mmdb.values.empty()) {
        return fail(ErrorCode::invalid,
                    "no value of '" + mmdb.field + "' is selected from " + mmdb.file,
                    config.source.text(), "list at least one value");
      }
      mmdb_[{mmdb.file, *field}].add(locale, config, mmdb.values, *field == MmdbField::asn);
    }
    return {};
  }

  [[nodiscard]] Status load_csv(const std::string& file, Selection& selection) {
    origins_.push_back(file);
    auto status = read_csv(file, [&](const CsvLine& line, std::uint32_t number) {
      return add_wanted(selection, normal_value(line.value, false), line.prefixes, Closeness::csv,
                        number);
    });
    return status ? check_met(selection, file, "value") : status;
  }

  [[nodiscard]] Status load_mmdb(const std::string& file, MmdbField field, Selection& selection) {
    const auto name = std::string(name_of(field));
    origins_.push_back(file + ", " + name);
    const auto take = [&](const IpPrefix& prefix, const std::string& value) {
      return add_wanted(selection, normal_value(value, field == MmdbField::asn),
                        std::span(&prefix, 1), closeness_of(field), 0);
    };
    auto status = walk_mmdb(file, field, take, places_);
    return status ? check_met(selection, file, name) : status;
  }

  [[nodiscard]] Status add_wanted(Selection& selection, const std::string& value,
                                  std::span<const IpPrefix> prefixes, Closeness closeness,
                                  std::uint32_t line) {
    const auto wished = selection.by_value.find(value);
    const auto add_all = [&](std::vector<Selection::Wish>& wishes) -> Status {
      for (auto& wish : wishes) {
        wish.met = true;
        for (const auto& prefix : prefixes) {
          if (auto status = add({prefix, wish.locale}, closeness, line); !status) return status;
        }
      }
      return {};
    };
    auto status = add_all(selection.every_value);
    if (!status || wished == selection.by_value.end()) return status;
    return add_all(wished->second);
  }

  [[nodiscard]] Status add(const LocalePrefix& entry, Closeness closeness, std::uint32_t line) {
    if (found_.size() == prefixes_max) {
      return fail(ErrorCode::exhausted,
                  "the locales have more than " + std::to_string(prefixes_max) + " prefixes");
    }
    found_.push_back({entry, closeness, static_cast<std::uint32_t>(origins_.size() - 1), line});
    return {};
  }

  // A value that nothing has is a mistake: a locale without clients is never meant.
  [[nodiscard]] static Status check_met(const Selection& selection, const std::string& file,
                                        const std::string& what) {
    const Selection::Wish* unmet = nullptr;
    for (const auto& [value, wishes] : selection.by_value) {
      for (const auto& wish :
           wishes) {  // the first in order of text, whatever the order of the map
        if (!wish.met && (unmet == nullptr || wish.written < unmet->written)) unmet = &wish;
      }
    }
    if (unmet == nullptr) return {};
    return fail(ErrorCode::not_found,
                file + " has no prefix with " + what + " '" + unmet->written + "'",
                unmet->config->source.text() + ": locale '" + unmet->config->id + "'");
  }

  // Sorts what was found and keeps each prefix once, with the closest source's locale.
  [[nodiscard]] Status settle() {
    std::ranges::stable_sort(found_, [](const Found& a, const Found& b) {
      return std::pair(a.entry.prefix, a.closeness) < std::pair(b.entry.prefix, b.closeness);
    });
    const Found* winner = nullptr;
    for (const Found& next : found_) {
      if (winner == nullptr || winner->entry.prefix != next.entry.prefix) {
        winner = &next;
        table_.prefixes.push_back(next.entry);
      } else if (winner->closeness == next.closeness && winner->entry.locale != next.entry.locale) {
        return conflict(*winner, next);
      }
    }
    return {};
  }

  [[nodiscard]] std::unexpected<Error> conflict(const Found& a, const Found& b) const {
    const auto source = [&](const Found& found) {
      const auto line = found.line == 0 ? std::string{} : ":" + std::to_string(found.line);
      return "locale '" + table_.names[found.entry.locale] + "' (" + origins_[found.origin] + line +
             ")";
    };
    return fail(
        ErrorCode::conflict,
        a.entry.prefix.text() + " belongs to " + source(a) + " and to " + source(b), {},
        "leave it to one of them, or write it under `prefixes` of the one that shall have it");
  }

  LocaleTable table_;
  std::vector<MmdbPlace> places_;       // the sites
  std::vector<std::uint16_t> indices_;  // of config.locales
  std::vector<std::string> origins_;
  std::vector<Found> found_;
  std::map<std::string, Selection> csv_;
  std::map<std::pair<std::string, MmdbField>, Selection> mmdb_;
};

}  // namespace

Result<LocaleTable> load_locales(const config::Config& config) {
  return Loader().load(config);
}

}  // namespace pharos::controlplane
