// Keys of demand and capacity, of maintenance, and of services: how they come back and what they give up.
// Private to include/pharos/config.
#include "pharos/config/keys.hh"
#include "pharos/config/wall_time.hh"

#include <string>
#include <utility>

namespace pharos::config {

namespace {

void check_assign(Reader& reader, const Node& node, void* object) {
  const auto& assign = *static_cast<AssignConfig*>(object);
  if (assign.low_watermark < assign.high_watermark) return;
  const char* name = node.find("low_watermark") != nullptr ? "low_watermark" : "high_watermark";
  reader.mistakes.add(node.find(name)->place, "low_watermark is not below high_watermark",
                      "clients begin to move at the first, and have moved at the second");
}

Key time_key(std::string name, WallTime MaintenanceConfig::* member, std::string description) {
  Key key;
  key.name = std::move(name);
  key.description = std::move(description);
  key.example = "2026-11-21T02:00:00Z";
  key.shape = {.kind = Shape::Kind::text,
               .word = "time, UTC",
               .pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?Z$"};
  key.required = true;
  key.read = [member](Reader& reader, const Node& node, void* to) {
    const auto* text = scalar_of(reader, node, "time");
    if (text == nullptr) return;
    if (const auto time = parse_wall_time(*text)) {
      static_cast<MaintenanceConfig*>(to)->*member = *time;
    } else {
      reader.mistake(node, time.error());
    }
  };
  return key;
}

void check_maintenance(Reader& reader, const Node& node, void* object) {
  const auto& planned = *static_cast<MaintenanceConfig*>(object);
  const Member* to = node.find("to");
  if (planned.from.ns == 0 || planned.to.ns == 0 || to == nullptr || planned.from < planned.to)
    return;
  reader.mistakes.add(to->place, "maintenance '" + planned.id + "' ends before it begins",
                      "'from' comes before 'to'");
}

}  // namespace

template <>
const Table* table_of<AssignConfig>() {
  using C = AssignConfig;
  static const Table table{
      "controlplane.assign",
      "Demand against capacity: no site beyond its limit while another has room. It works where "
      "sites or endpoints "
      "have a `capacity_rps`.",
      {
          key("enabled", &C::enabled, boolean(),
              "off: clients go where the scores send them, whatever the load", "false"),
          key("interval", &C::interval, duration(milliseconds(100), seconds(3600)),
              "between two assignments; a site's loss does not wait for it", "2s"),
          key("window", &C::window, duration(seconds(1), seconds(3600)),
              "over which demand is averaged", "1m"),
          key("low_watermark", &C::low_watermark, ratio(),
              "share of a capacity above which load begins to move to other sites", "60%"),
          key("high_watermark", &C::high_watermark, ratio(),
              "... and above which it goes wherever there is room", "85%"),
          key("step", &C::step, ratio(),
              "shares that would move by less than this stay as they are", "5%"),
          key("degrade", &C::degrade,
              choice<Degrade>(
                  {{"proportional", Degrade::proportional}, {"importance", Degrade::importance}}),
              "when all sites together are short: `proportional` takes every site beyond its limit "
              "by the same share, "
              "`importance` serves services of higher `importance` first, and what is left over "
              "goes to the sites that "
              "carry the least of them",
              "importance"),
      },
      check_assign};
  return &table;
}

template <>
const Table* table_of<MaintenanceConfig>() {
  using C = MaintenanceConfig;
  static const Table table{
      "maintenance[]",
      "Planned work. The sites drain while it lasts, and answers made before it live no longer "
      "than until it begins.",
      {
          required(key("id", &C::id, identifier("maintenance id"), "its name in lists and messages",
                       "fra-power")),
          required(key_into<C>(
              "sites", one_or_more(identifier("site id")), "the sites that drain", "[fra]",
              [](Reader& reader, const Node& node, C& to, std::vector<std::string> sites) {
                for (const auto& site : sites) {
                  reader.references.push_back(
                      {Thing::site, site, "maintenance '" + to.id + "'", node.place});
                }
                to.sites = std::move(sites);
              })),
          time_key("from", &C::from, "when it begins"),
          time_key("to", &C::to, "when it is over"),
      },
      check_maintenance};
  return &table;
}

std::vector<Key> service_steering_keys() {
  using C = ServiceConfig;
  return {
      key("failback", &C::failback,
          choice<Failback>({{"auto", Failback::automatic},
                            {"manual", Failback::manual},
                            {"hold", Failback::hold}}),
          "when an endpoint that was down and is well again takes clients: `auto` at once, `hold` "
          "once it has been well "
          "for `failback_hold`, `manual` when `pharosctl endpoints auto` says so",
          "hold"),
      key("failback_hold", &C::failback_hold, duration({}, seconds(604'800)),
          "with `failback: hold`", "10m"),
      key("slow_start", &C::slow_start, duration({}, seconds(86'400)),
          "an endpoint that comes back takes its share of the clients step by step within this "
          "time; 0: at once",
          "2m"),
      key("importance", &C::importance, whole_signed(-1000, 1000),
          "with `controlplane.assign.degrade: importance`: the higher is served first", "10"),
      key("probe_share", &C::probe_share, ratio(),
          "share of its demand that each healthy site gets at the least, so that its health stays "
          "known",
          "1%"),
  };
}

void check_service_steering(Reader& reader, const Node& node, const ServiceConfig& service) {
  const Member* hold = node.find("failback_hold");
  if (hold == nullptr || service.failback == Failback::hold) return;
  reader.mistakes.add(hold->place,
                      "'failback_hold' does nothing with 'failback: " +
                          std::string(name_of(service.failback)) + "'",
                      "leave it out, or write failback: hold");
}

}  // namespace pharos::config
