#include "responder.hh"

#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/controlplane/image/ranking_builder.hh"

#include <algorithm>

namespace pharos::oracle {
namespace {

constexpr std::uint16_t payload_bytes_max = 4096;
constexpr Version version{1, 1};
constexpr std::uint64_t no_pools_id = 1;

[[nodiscard]] Result<dataplane::SharedImage> share(ConstBytes image) {
  const auto fd = seal_in_memfd(image, "oracle");
  if (!fd) return std::unexpected(fd.error());
  auto mapping = map_sealed(fd->get());
  if (!mapping) return std::unexpected(mapping.error());
  return std::make_shared<const Mapping>(std::move(*mapping));
}

}  // namespace

Responder::Responder() {
  dataplane::ServeOptions options;
  options.udp_payload_max_bytes = payload_bytes_max;
  state_ = std::make_unique<dataplane::ServeState>(options);
  counters_ = std::make_unique<dataplane::CoreCounters>();
}

Result<Responder> Responder::start(std::span<const ZoneFile> zones) {
  std::vector<controlplane::ZoneData> loaded;
  for (const auto& zone : zones) {
    config::ZoneConfig config;
    config.id = zone.origin;
    config.file = zone.path;
    auto data = controlplane::load_zone(config);
    if (!data) return std::unexpected(data.error());
    loaded.push_back(std::move(data->data));
  }
  std::vector<const controlplane::ZoneData*> pointers;
  for (const auto& zone : loaded) pointers.push_back(&zone);
  dns::NameHashKey key;
  std::ranges::generate(key.bytes, [i = 0]() mutable { return static_cast<std::byte>(++i * 29); });
  const auto catalog = controlplane::build_catalog(pointers, {}, 0, no_pools_id, key, version);
  if (!catalog) return std::unexpected(catalog.error());
  const controlplane::LocaleTable locales{{"default"}, {}};
  const auto map = controlplane::build_locale_image(locales, version);
  if (!map) return std::unexpected(map.error());
  controlplane::RankingBuilder ranking({}, locales.names, no_pools_id,
                                       controlplane::locales_id_of(locales.names));
  const auto base = ranking.build_base(version);
  if (!base) return std::unexpected(base.error());

  dataplane::NewImages images;
  for (const auto& [image, slot] : {std::pair{&*catalog, &images.catalog},
                                    {&*map, &images.locale_map},
                                    {&*base, &images.ranking_base}}) {
    auto shared = share(*image);
    if (!shared) return std::unexpected(shared.error());
    *slot = std::move(*shared);
  }
  auto root = dataplane::make_root(nullptr, version, images);
  if (!root) return std::unexpected(root.error());
  Responder responder;
  responder.root_ = std::move(*root);
  return responder;
}

std::vector<std::byte> Responder::ask(ConstBytes query, dataplane::Transport transport) {
  std::vector<std::byte> buffer(65535 + dataplane::query_slack_bytes);
  std::ranges::copy(query, buffer.begin());
  dataplane::Query one;
  one.message = buffer.data();
  one.length = static_cast<std::uint16_t>(query.size());
  one.transport = transport;
  one.capacity =
      transport == dataplane::Transport::tcp ? dns::message_bytes_max : payload_bytes_max;
  one.source = IpAddress::from_ipv4(0x7f000001);
  dataplane::serve_burst(*state_, *root_, std::span(&one, 1), *counters_);
  if (one.verdict != dataplane::Verdict::answered) return {};
  buffer.resize(one.reply_bytes);
  return buffer;
}

}  // namespace pharos::oracle
