#include "pharos/controlplane/ctl/local.hh"

#include "pharos/config/model.hh"
#include "pharos/config/scalars.hh"
#include "pharos/controlplane/api/callers.hh"
#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/shared/catalog_image.hh"
#include "pharos/shared/image.hh"
#include "pharos/shared/locale_image.hh"
#include "pharos/shared/ranking_image.hh"

#include <nlohmann/json.hpp>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <ostream>

namespace pharos::controlplane::ctl {

namespace {

using nlohmann::json;

// Proves one image after the other; deltas need what came before them.
class ImageProver {
 public:
  // The contents as text where `dump`, else nothing.
  Result<std::string> prove(ConstBytes bytes, ImageKind kind, bool dump) {
    switch (kind) {
      case ImageKind::catalog:
        return print(catalog::View::prove(bytes), dump);
      case ImageKind::locale_map:
        return print(locale_map::View::prove(bytes), dump);
      case ImageKind::ranking_base:
        return stack(ranking::View::prove_base(bytes), bytes, dump);
      case ImageKind::ranking_delta:
        if (!stack_) {
          return fail(ErrorCode::invalid, "a ranking delta cannot be proven alone", {},
                      "give its base and the deltas between first, in the order of publishing");
        }
        return stack(stack_->prove_delta(bytes), bytes, dump);
    }
    return fail(ErrorCode::unsupported, "an image of an unknown kind");
  }

 private:
  template <typename View>
  static Result<std::string> print(const Result<View>& view, bool dumped) {
    if (!view) return std::unexpected(view.error());
    return dumped ? dump(*view) : std::string();
  }
  Result<std::string> stack(Result<ranking::View> view, ConstBytes bytes, bool dumped) {
    if (!view) return std::unexpected(std::move(view.error()));
    stack_ = std::move(*view);
    return dumped ? ranking::dump(bytes) : std::string();
  }
  std::optional<ranking::View> stack_;
};

json describe(const std::string& file, const ImageHeader& header) {
  return {{"file", file},
          {"kind", name_of(header.kind)},
          {"version", {{"epoch", header.version.epoch}, {"generation", header.version.generation}}},
          {"bytes", header.image_bytes},
          {"content_id", header.content_id},
          {"sections", header.section_count}};
}

json to_json(const std::vector<Error>& errors) {
  auto list = json::array();
  for (const auto& error : errors) {
    list.push_back({{"where", error.where}, {"what", error.what}, {"hint", error.hint}});
  }
  return list;
}

void print_json(const json& value, const Terminal& terminal) {
  terminal.out << value.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
}

}  // namespace

Status image_command(const std::vector<std::string>& files, bool dump, bool as_json,
                     const Terminal& terminal) {
  std::vector<Mapping> kept;  // views borrow them
  ImageProver prover;
  auto all = json::array();
  for (const auto& file : files) {
    auto bytes = read_image_file(file);
    if (!bytes) return std::unexpected(std::move(bytes.error()));
    kept.push_back(std::move(*bytes));
    const auto header = read_image_header(kept.back().bytes());
    if (!header) return std::unexpected(Error(header.error()).in(file));
    auto contents = prover.prove(kept.back().bytes(), header->kind, dump);
    if (!contents) return std::unexpected(std::move(contents.error()).in(file));
    auto description = describe(file, *header);
    if (as_json) {
      if (dump) description["contents"] = *contents;
      all.push_back(std::move(description));
    } else if (dump) {
      terminal.out << *contents;
    } else {
      terminal.out << file << ": sound: " << name_of(header->kind) << " " << header->version.epoch
                   << "." << header->version.generation << ", "
                   << bytes_text(static_cast<double>(header->image_bytes)) << "\n";
    }
  }
  if (as_json) print_json(all, terminal);
  return {};
}

Status check_config(const std::string& file, bool as_json, const Terminal& terminal) {
  const auto config = config::load(file);
  if (as_json) {
    print_json({{"ok", config.has_value()},
                {"mistakes", config ? json::array() : to_json(config.error().errors)}},
               terminal);
  }
  if (!config) {
    if (!as_json) terminal.error << config.error().text();
    const auto count = config.error().errors.size();
    return fail(ErrorCode::invalid, std::to_string(count) + (count == 1 ? " mistake" : " mistakes"),
                file, "a daemon would refuse it and keep what it has");
  }
  if (!as_json) {
    std::size_t endpoints = 0;
    for (const auto& service : config->services) endpoints += service.endpoints.size();
    terminal.out << file << ": sound: " << config->sites.size() << " sites, "
                 << config->locales.size() << " locales, " << config->zones.size() << " zones, "
                 << config->services.size() << " services, " << endpoints << " endpoints, "
                 << config->files.size() << " files\n";
  }
  return {};
}

Status check_zone_file(const std::string& origin, const std::string& file, bool as_json,
                       const Terminal& terminal) {
  auto name = config::parse_domain_name(origin, false);
  if (!name) return std::unexpected(std::move(name.error()));
  config::ZoneConfig zone;
  zone.id = std::move(*name);
  zone.file = file;
  const auto report = check_zone(zone);
  if (as_json) {
    print_json({{"ok", report.errors.empty()},
                {"errors", to_json(report.errors)},
                {"warnings", to_json(report.warnings)}},
               terminal);
  }
  if (!as_json) terminal.error << report.text();
  if (!report.errors.empty()) {
    const auto count = report.errors.size() + report.more_errors;
    return fail(ErrorCode::invalid, std::to_string(count) + (count == 1 ? " mistake" : " mistakes"),
                file, "a daemon would refuse it and keep what it has");
  }
  if (!as_json) terminal.out << file << ": sound\n";
  return {};
}

Status generate_token(const std::string& id, const std::string& role, bool as_json,
                      const Terminal& terminal) {
  if (sodium_init() < 0) {
    return fail(ErrorCode::unavailable, "the system gives no random numbers", "libsodium");
  }
  const auto token = make_token();
  const auto hash = hash_of_token(token);
  std::array<char, 2 * hash.size() + 1> digits{};
  sodium_bin2hex(digits.data(), digits.size(), hash.data(), hash.size());
  if (as_json) {
    print_json({{"token", token}, {"id", id}, {"role", role}, {"hash", digits.data()}}, terminal);
  } else {
    terminal.out << token << "\n{id: " << id << ", role: " << role << ", hash: \"" << digits.data()
                 << "\"}\n";
  }
  return {};
}

Status generate_key(const NewKey& key, bool as_json, const Terminal& terminal) {
  if (sodium_init() < 0) {
    return fail(ErrorCode::unavailable, "the system gives no random numbers", "libsodium");
  }
  std::array<unsigned char, 32> secret{};
  const std::size_t bytes = std::min<std::size_t>(key.bytes, secret.size());
  randombytes_buf(secret.data(), bytes);
  std::array<char, 2 * secret.size() + 1> text{};
  sodium_bin2hex(text.data(), text.size(), secret.data(), bytes);
  const bool of_beacons = bytes == secret.size();  // others have no id
  if (as_json) {
    json line = {{"secret", text.data()}};
    if (of_beacons) line["id"] = key.id;
    print_json(line, terminal);
  } else if (key.bare) {
    terminal.out << text.data() << "\n";
  } else {
    terminal.out << "{" << (of_beacons ? "id: " + std::to_string(key.id) + ", " : "")
                 << "secret: \"" << text.data() << "\"}\n";
  }
  sodium_memzero(secret.data(), secret.size());
  sodium_memzero(text.data(), text.size());
  return {};
}

}  // namespace pharos::controlplane::ctl
