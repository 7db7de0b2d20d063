#include "observe_line.hh"

#include "pharos/config/scalars.hh"

#include "capture.hh"

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
  auto* names = hooks_.add(&app, "names", "the names that are asked for most", [this]() -> Status {
    const auto told = hooks_.ask("dataplane", Access::read, "names", {{"rows", rows_}});
    if (!told) return std::unexpected(told.error());
    hooks_.print("names", *told);
    return {};
  });
  names->add_option("--rows", rows_, "so many")->check(CLI::Range(1, 200))->capture_default_str();
  add_capture(app);
}

void ObserveLine::add_capture(CLI::App& app) {
  auto* command = hooks_.add(&app, "capture", "frames of a port into a file that tcpdump reads",
                             [this] { return capture(); });
  command->add_option("--write", file_, "the file (pcapng), or - for standard output")->required();
  command->add_option("--port", port_, "which; may be left out where there is one");
  command->add_option("--name", name_,
                      "only questions for this name; *.NAME: below it; .NAME: both");
  command->add_option("--client", client_, "only to and from these addresses: 192.0.2.0/24");
  command->add_option("--rcode", rcode_, "only what is answered so: NXDOMAIN")
      ->transform([](const std::string& text) {
        std::string upper;
        for (const char c : text)
          upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        return upper;
      });
  command->add_option("--count", frames_, "end after so many frames; 0: never")
      ->capture_default_str();
  command->add_option("--seconds", seconds_, "end after this time; 0: never")
      ->check(CLI::Range(0.0, 31'536'000.0))
      ->capture_default_str();
  command->add_option("--size", file_size_, "end before the file is larger than this: 100MiB")
      ->check([](const std::string& text) -> std::string {
        const auto size = config::parse_size(text);
        return size && *size >= 4096 ? "" : "'" + text + "' is no size from 4KiB: write 100MiB";
      });
  command
      ->add_option("--files", files_,
                   "with --size: do not end, keep so many files, FILE and FILE.1 and so on")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--frame-bytes", frame_bytes_, "what is kept of a frame")
      ->check(CLI::Range(60, 2048))
      ->capture_default_str();
  command->add_flag("--whole-addresses", whole_addresses_,
                    "clients' addresses as they are, instead of their /24 and /56");
}

Status ObserveLine::capture() const {
  json order = {{"frame_bytes", frame_bytes_}, {"whole_addresses", whole_addresses_}};
  for (const auto& [argument, value] :
       {std::pair("port", &port_), {"name", &name_}, {"client", &client_}, {"rcode", &rcode_}}) {
    if (!value->empty()) order[argument] = *value;
  }
  PcapngTarget target;
  target.path = file_;
  target.files = files_;
  target.frame_bytes_max = frame_bytes_;
  target.comment = whole_addresses_ ? "whole addresses" : "client addresses cut to /24 and /56";
  if (!file_size_.empty()) target.file_bytes_max = config::parse_size(file_size_).value_or(0);
  if (files_ > 1 && (target.file_bytes_max == 0 || file_ == "-"))
    return fail(ErrorCode::invalid, "several files need a size and a name", "--files",
                "add --size 100MiB");
  const auto ask = [this](const std::string& command, const json& arguments) {
    return hooks_.ask("dataplane", Access::write, command, arguments);
  };
  return ctl::capture(
      capture_by_the_clock(ask), order, std::move(target),
      {.frames = frames_, .time = nanoseconds(static_cast<std::int64_t>(seconds_ * 1e9))},
      hooks_.terminal);
}

}  // namespace pharos::controlplane::ctl
