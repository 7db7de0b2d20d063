// Any text as a configuration: loaded, or refused with mistakes that say where and what. Never a throw or a hang.
//
// Inputs with includes are left out: they would read the files of the machine that fuzzes.
#include "pharos/config/model.hh"
#include "pharos/config/scalars.hh"

#include <algorithm>
#include <cstdlib>
#include <string>

namespace {

using namespace pharos;

void require(bool holds) {
  if (!holds) std::abort();
}

// What the rest of the program takes for granted.
void check_sound(const config::Config& config) {
  const auto has_site = [&](const std::string& id) {
    return std::ranges::find(config.sites, id, &config::SiteConfig::id) != config.sites.end();
  };
  for (const auto& service : config.services) {
    require(!service.id.empty() && !service.names.empty() && !service.endpoints.empty());
    require(service.answers_max >= 1 && service.answers_max <= 32);
    require(service.ttl_floor <= service.ttl_ceiling);
    require(service.slots != 0 && (service.slots & (service.slots - 1)) == 0);
    for (const auto& endpoint : service.endpoints) {
      require(has_site(endpoint.site) && !endpoint.addresses.empty() && endpoint.weight >= 0);
    }
    for (const auto& name : service.names) require(name.ends_with('.') && name.size() <= 254);
  }
  for (const auto& port : config.dataplane.ports) require(!port.addresses.empty());
}

void try_scalars(std::string_view text) {
  if (const auto value = config::parse_duration(text)) {
    require(config::parse_duration(config::duration_text(*value)).value() == *value);
  }
  if (const auto value = config::parse_size(text)) {
    require(config::parse_size(config::size_text(*value)).value() == *value);
  }
  if (const auto value = config::parse_ratio(text)) require(*value >= 0 && *value <= 1);
  if (const auto value = config::parse_rate(text)) require(*value >= 0);
  if (const auto name = config::parse_domain_name(text, true)) {
    require(config::parse_domain_name(*name, true).value() == *name);
  }
  (void)config::parse_socket_address(text);
  (void)config::parse_secret(text);
  (void)config::parse_number(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try_scalars(text.substr(0, text.find('\n')));
  if (text.find("include") != std::string_view::npos) return 0;
  const auto config =
      config::load_text(text, "/nonexistent/fuzz.yaml", config::Reading::without_secrets);
  if (config) {
    check_sound(*config);
  } else {
    require(!config.error().errors.empty());
    for (const auto& error : config.error().errors) require(!error.what.empty());
  }
  return 0;
}
