#include "observe_line.hh"

namespace pharos::controlplane::ctl {

using control::Access;
using nlohmann::json;

ObserveLine::ObserveLine(CLI::App& app, ObserveHooks hooks) : hooks_(std::move(hooks)) {
  hooks_.add(&app, "dnstap", "copies of messages for the dnstap reader", [this]() -> Status {
    const auto told = hooks_.ask("dataplane", Access::read, "dnstap", json::object());
    if (!told) return std::unexpected(told.error());
    hooks_.print("dnstap", *told);
    return {};
  });
}

}  // namespace pharos::controlplane::ctl
