#include <spdlog/spdlog.h>

#include <array>
#include <cmath>

#include "handlers.hh"

// What an operator sets: in force at once, and in the database before the answer.

namespace pharos::controlplane {
namespace {

constexpr double weight_max = 1e6;
constexpr double exponent_max = 16;

Result<config::Override> parse_override(const std::string& text) {
  for (const auto value : {config::Override::automatic, config::Override::up,
                           config::Override::down, config::Override::drain}) {
    if (config::name_of(value) == text) return value;
  }
  return fail(ErrorCode::invalid, "'" + text + "' is not a state", "arguments",
              "up, down, drain or auto");
}

Result<Json> set_endpoint(Daemon& daemon, const Json& arguments) {
  const auto service = text_argument(arguments, "service");
  const auto endpoint = text_argument(arguments, "endpoint");
  const auto state = text_argument(arguments, "state");
  for (const auto* argument : {&service, &endpoint, &state}) {
    if (!*argument) return std::unexpected(argument->error());
  }
  const auto value = parse_override(*state);
  if (!value) return std::unexpected(value.error());
  auto row = daemon.loop().ask([&](EngineSide& side) -> Result<Json> {
    const auto found = find_endpoint(side.engine.world(), *service, *endpoint);
    if (!found) return std::unexpected(found.error());
    side.engine.set_override(*found, *value, side.now);
    return endpoint_row(side, *found);
  });
  if (!row) return row;
  spdlog::info("operator: endpoint {}/{} is set to {}", *service, *endpoint, *state);
  daemon.store().save_override(*service, *endpoint, *value);
  if (auto kept = daemon.store().sync(); !kept) return std::unexpected(kept.error());
  return row;
}

// Null: back to the configuration's.
Result<std::optional<double>> weight_argument(const Json& arguments) {
  const auto at = arguments.find("weight");
  if (at != arguments.end() && at->is_null()) return std::nullopt;
  if (at == arguments.end() || !at->is_number()) {
    return fail(ErrorCode::invalid, "argument 'weight' is missing, or no number", "arguments");
  }
  const auto weight = at->get<double>();
  if (!std::isfinite(weight) || weight < 0 || weight > weight_max) {
    return fail(ErrorCode::invalid, at->dump() + " is not a weight", "arguments",
                "0 to 1000000, or null");
  }
  return weight;
}

Result<Json> set_weight(Daemon& daemon, const Json& arguments) {
  const auto service = text_argument(arguments, "service");
  const auto endpoint = text_argument(arguments, "endpoint");
  for (const auto* argument : {&service, &endpoint}) {
    if (!*argument) return std::unexpected(argument->error());
  }
  const auto weight = weight_argument(arguments);
  if (!weight) return std::unexpected(weight.error());
  auto row = daemon.loop().ask([&](EngineSide& side) -> Result<Json> {
    const auto found = find_endpoint(side.engine.world(), *service, *endpoint);
    if (!found) return std::unexpected(found.error());
    side.engine.set_weight(*found, *weight, side.now);
    return weight_row(side, *found);
  });
  if (!row) return row;
  spdlog::info("operator: weight of {}/{} is {}", *service, *endpoint,
               *weight ? std::to_string(**weight) : "as configured");
  daemon.store().save_weight(*service, *endpoint, *weight);
  if (auto kept = daemon.store().sync(); !kept) return std::unexpected(kept.error());
  return row;
}

Json exponents_of(const EngineSide& side) {
  Json exponents = Json::object();
  for (const auto& [name, member] : exponents_by_name)
    exponents[name] = side.engine.exponents().*member;
  return {{"exponents", std::move(exponents)},
          {"source", side.engine.decisions().exponents ? "operator" : "configuration"}};
}

Result<Json> set_exponent(Daemon& daemon, const Json& arguments) {
  const auto factor = text_argument(arguments, "factor");
  if (!factor) return std::unexpected(factor.error());
  const auto at = arguments.find("exponent");
  const bool reset = at != arguments.end() && at->is_null();
  const double exponent = at != arguments.end() && at->is_number() ? at->get<double>() : -1;
  if (!reset && !(exponent >= 0 && exponent <= exponent_max)) {
    return fail(ErrorCode::invalid, "argument 'exponent' is no number from 0 to 16", "arguments",
                "null returns all factors to the configuration's");
  }
  auto result = daemon.loop().ask(
      [&](EngineSide& side) -> Result<std::pair<Json, std::optional<config::ScoreConfig>>> {
        std::optional<config::ScoreConfig> next;
        if (!reset) {
          next = side.engine.exponents();
          bool known = false;
          for (const auto& [name, member] : exponents_by_name) {
            if (*factor != name) continue;
            (*next).*member = exponent;
            known = true;
          }
          if (!known) {
            return fail(ErrorCode::not_found, "no factor '" + *factor + "'", "arguments",
                        "proximity, health, headroom, condition, version, risk or confidence");
          }
        }
        side.engine.set_exponents(next, side.now);
        return std::pair(exponents_of(side), next);
      });
  if (!result) return std::unexpected(result.error());
  daemon.store().save_exponents(result->second);
  if (auto kept = daemon.store().sync(); !kept) return std::unexpected(kept.error());
  return result->first;
}

}  // namespace

void add_tuning_commands(control::Server& server, Daemon& daemon) {
  using control::Access;
  server.add({"endpoint-set", Access::write,
              "sets an endpoint up, down, drain or auto, beyond restarts",
              [&daemon](const Json& arguments) { return set_endpoint(daemon, arguments); }});
  server.add({"weight-set", Access::write, "sets the weight of an endpoint, beyond restarts",
              [&daemon](const Json& arguments) { return set_weight(daemon, arguments); }});
  server.add({"factors", Access::read, "exponents of the score's factors",
              [&daemon](const Json&) -> Result<Json> {
                return daemon.loop().ask([](EngineSide& side) { return exponents_of(side); });
              }});
  server.add({"factor-set", Access::write, "sets the exponent of a score's factor, beyond restarts",
              [&daemon](const Json& arguments) { return set_exponent(daemon, arguments); }});
}

}  // namespace pharos::controlplane
