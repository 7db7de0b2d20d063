#include "pharos/controlplane/ctl/command_line.hh"

#include "pharos/config/model.hh"
#include "pharos/config/scalars.hh"
#include "pharos/controlplane/ctl/live.hh"
#include "pharos/controlplane/ctl/local.hh"
#include "pharos/controlplane/ctl/view.hh"
#include "pharos/shared/control_protocol.hh"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <sstream>

#include "explain_line.hh"
#include "history_line.hh"
#include "local_line.hh"
#include "observe_line.hh"
#include "zone_line.hh"

namespace pharos::controlplane::ctl {

namespace {

using control::Access;
using nlohmann::json;

constexpr const char* default_run_directory = "/run/pharos";

struct Options {
  std::string run_directory = default_run_directory;
  bool as_json = false;
  bool dataplane = false;
  bool controlplane = false;
  double timeout_s = 10;
};

// The tree of subcommands. Each one's callback fills `action`, which runs once the whole line is parsed.
class CommandLine {
 public:
  explicit CommandLine(const Terminal& terminal) : terminal_(terminal) {
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.set_version_flag("--version", std::string("pharosctl ") + PHAROS_VERSION);
    app_.add_option("--run-directory", options_.run_directory, "where the daemons' sockets are")
        ->envname("PHAROS_RUN_DIRECTORY")
        ->capture_default_str();
    app_.add_flag("--json", options_.as_json, "print the result as JSON");
    auto* dataplane = app_.add_flag("--dataplane", options_.dataplane, "ask the data plane");
    app_.add_flag("--controlplane", options_.controlplane, "ask the control plane")
        ->excludes(dataplane);
    app_.add_option("--timeout", options_.timeout_s, "seconds to wait for an answer")
        ->check(CLI::Range(0.001, 86400.0))
        ->capture_default_str();
    app_.footer("Exit status: 0 when it worked, 1 when it did not, 2 for a wrong command line.");
    add_looks();
    add_endpoints();
    add_weights();
    add_maintenance();
    add_factors();
    add_live();
    add_changes();
    add_others();
  }

  int run(int count, const char* const* arguments) {
    try {
      app_.parse(count, arguments);
    } catch (const CLI::RequiredError& error) {
      auto unknown = unknown_command(count, arguments);
      if (unknown.empty()) unknown = missing_order();
      if (unknown.empty()) return app_.exit(error, terminal_.out, terminal_.error), exit_usage;
      terminal_.error << unknown << "\nRun with --help for more information.\n";
      return exit_usage;
    } catch (const CLI::ParseError& error) {
      const int code = app_.exit(error, terminal_.out, terminal_.error);
      if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr)
        terminal_.error << unknown_order(count, arguments);
      return code == 0 ? finish({}) : exit_usage;
    }
    return finish(action_());
  }

  [[nodiscard]] std::vector<std::string> names() {
    std::vector<std::string> all;
    for (auto* command : app_.get_subcommands({})) {
      all.push_back(command->get_name());
      for (auto* below : command->get_subcommands({}))
        all.push_back(command->get_name() + " " + below->get_name());
    }
    return all;
  }

 private:
  using Action = std::function<Status()>;

  CLI::App* add(CLI::App* parent, const char* name, const char* summary, Action action) {
    auto* command = parent->add_subcommand(name, summary);
    command->fallthrough();
    // Of a line such as "endpoints drain", both callbacks run, the inner one first: it counts.
    command->callback([this, action = std::move(action)] {
      if (!action_) action_ = action;
    });
    return command;
  }

  // A group of subcommands, one of which is needed.
  CLI::App* add_group(const char* name, const char* summary) {
    auto* command = app_.add_subcommand(name, summary);
    command->fallthrough();
    command->require_subcommand(1);
    return command;
  }

  // What to say of a first word that is no command; nothing where it is one, or there is none.
  [[nodiscard]] std::string unknown_command(int count, const char* const* arguments) {
    std::vector<std::string> known;
    for (auto* command : app_.get_subcommands({})) known.push_back(command->get_name());
    for (int i = 1; i < count; ++i) {
      const std::string word = arguments[i];
      if (word == "--run-directory" || word == "--timeout") ++i;
      if (word.starts_with('-')) continue;
      if (std::ranges::find(known, word) != known.end()) return {};
      const auto near = config::nearest(word, known);
      return "there is no command '" + word + "'" +
             (near.empty() ? "" : " (did you mean '" + near + "'?)");
    }
    return {};
  }

  // What a line that ends too early could go on with; nothing where it lacks something else.
  [[nodiscard]] std::string missing_order() {
    auto* at = &app_;
    while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
    if (at->get_require_subcommand_min() == 0) return {};
    std::string orders;
    for (const auto* order : at->get_subcommands({}))
      orders += (orders.empty() ? "" : ", ") + order->get_name();
    return (at == &app_ ? "a command" : "an order of '" + at->get_name() + "'") +
           " is missing: " + orders;
  }

  // Where a command that lists, too, got a word that is none of its orders ("endpoints away www/fra"): those that there are.
  [[nodiscard]] std::string unknown_order(int count, const char* const* arguments) {
    for (auto* command : app_.get_subcommands({})) {
      const auto below = command->get_subcommands({});
      const auto at = std::find(arguments + 1, arguments + count, command->get_name());
      if (below.empty() || at == arguments + count || at + 1 == arguments + count) continue;
      std::string orders;
      for (const auto* order : below) {
        if (order->get_name() == at[1]) return {};
        orders += (orders.empty() ? "" : ", ") + order->get_name();
      }
      return "'" + std::string(at[1]) + "' is no order of '" + command->get_name() +
             "' (there are: " + orders + ")\n";
    }
    return {};
  }

  int finish(const Status& status) {
    terminal_.out.flush();
    if (!status) {
      terminal_.error << "pharosctl: " << status.error().text() << "\n";
      return exit_failed;
    }
    if (!terminal_.out.good()) {
      terminal_.error << "pharosctl: the output could not be written\n";
      return exit_failed;
    }
    return exit_worked;
  }

  // ---- asking daemons ----

  [[nodiscard]] Result<json> ask(const char* daemon, Access access, const std::string& command,
                                 const json& arguments) const {
    const auto timeout = nanoseconds(static_cast<std::int64_t>(options_.timeout_s * 1e9));
    return control::call(control::socket_path(options_.run_directory, daemon, access), command,
                         arguments, timeout);
  }

  // One daemon's result, as a table or as it is.
  [[nodiscard]] Status show(const char* daemon, Access access, const std::string& command,
                            const json& arguments = json::object()) {
    const auto result = ask(daemon, access, command, arguments);
    if (!result) return std::unexpected(result.error());
    print(command, *result);
    return {};
  }

  void print(const std::string& command, const json& result) {
    if (options_.as_json) {
      terminal_.out << result.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
    } else {
      terminal_.out << render(command, result, terminal_.colours);
    }
  }

  // The daemon that was chosen, or both. With one absent, the other is shown all the same, and the whole has failed.
  [[nodiscard]] Status show_both(Access access, const std::string& command,
                                 const json& arguments = json::object()) {
    if (options_.dataplane) return show("dataplane", access, command, arguments);
    if (options_.controlplane) return show("controlplane", access, command, arguments);
    auto all = json::object();
    Status outcome;
    for (const char* daemon : {"dataplane", "controlplane"}) {
      const auto result = ask(daemon, access, command, arguments);
      if (result) {
        all[daemon] = *result;
      } else if (outcome) {
        outcome = std::unexpected(result.error());
      } else {
        terminal_.error << "pharosctl: " << result.error().text() << "\n";
      }
    }
    if (options_.as_json) {
      if (!all.empty()) print(command, all);
      return outcome;
    }
    bool first = true;
    for (const auto& [daemon, result] : all.items()) {
      if (!std::exchange(first, false)) terminal_.out << "\n";
      if (command != "status" && command != "stats") {
        terminal_.out << coloured("pharos-" + daemon, Colour::faint, terminal_.colours) << "\n";
      }
      print(command, result);
    }
    return outcome;
  }

  [[nodiscard]] Status to_controlplane(Access access, const std::string& command,
                                       const json& arguments = json::object()) {
    if (options_.dataplane) {
      return fail(ErrorCode::invalid, "the data plane has no command '" + command + "'", {},
                  "leave --dataplane out");
    }
    return show("controlplane", access, command, arguments);
  }

  // {"service": "www"} where one was given.
  [[nodiscard]] static json filter(const char* name, const std::string& value) {
    auto arguments = json::object();
    if (!value.empty()) arguments[name] = value;
    return arguments;
  }

  // {"service": "www", "endpoint": "fra-1"} of "www/fra-1", which was checked.
  [[nodiscard]] json endpoint_arguments() const {
    const auto slash = target_.find('/');
    return {{"service", target_.substr(0, slash)}, {"endpoint", target_.substr(slash + 1)}};
  }

  void add_endpoint_option(CLI::App* command) {
    command->add_option("endpoint", target_, "SERVICE/ENDPOINT")
        ->required()
        ->check([](const std::string& text) -> std::string {
          const auto slash = text.find('/');
          const bool whole = slash != std::string::npos && slash > 0 && slash + 1 < text.size();
          return whole ? "" : "'" + text + "' names no endpoint: write SERVICE/ENDPOINT";
        });
  }

  // ---- the subcommands ----

  void add_looks() {
    add(&app_, "status", "state of both daemons",
        [this] { return show_both(Access::read, "status"); });
    add(&app_, "stats", "counters of both daemons",
        [this] { return show_both(Access::read, "stats"); });
    add(&app_, "alarms", "what is wrong now",
        [this] { return to_controlplane(Access::read, "alarms"); });
    add(&app_, "ports", "ports of the data plane",
        [this] { return show("dataplane", Access::read, "ports"); });
    add(&app_, "generations", "published tables and what became of them", [this] {
      return show(options_.dataplane ? "dataplane" : "controlplane", Access::read, "generations");
    });
    auto* sites = add(&app_, "sites", "sites, their state, beacons and load", [this] {
      return to_controlplane(Access::read, "sites", filter("site", name_));
    });
    sites->add_option("site", name_, "only this one");
    auto* services = add(&app_, "services", "services, their health and TTL", [this] {
      return to_controlplane(Access::read, "services", filter("service", name_));
    });
    services->add_option("service", name_, "only this one");
    auto* probes =
        add(&app_, "probes", "looks at endpoints from outside, and their quorum",
            [this] { return to_controlplane(Access::read, "probes", filter("service", name_)); });
    probes->add_option("service", name_, "only of this one");
    add(&app_, "commands", "commands of the daemons' control sockets",
        [this] { return show_both(Access::read, "commands"); });
  }

  void add_endpoints() {
    auto* endpoints = add(
        &app_, "endpoints", "endpoints; take them up, down, out, or leave them to the system",
        [this] { return to_controlplane(Access::read, "endpoints", filter("service", name_)); });
    const auto* of = endpoints->add_option("service", name_, "only of this one");
    const std::pair<const char*, const char*> states[] = {
        {"up", "answer with it whatever its health"},
        {"down", "take it out at once"},
        {"drain", "give it no new clients"},
        {"auto", "its health decides"},
    };
    for (const auto& [state, summary] : states) {
      auto* command = add(endpoints, state, summary, [this, state = std::string(state)] {
        auto arguments = endpoint_arguments();
        arguments["state"] = state;
        return to_controlplane(Access::write, "endpoint-set", arguments);
      });
      add_endpoint_option(command);
      // A second one would be taken for the service of the list, and forgotten.
      command->parse_complete_callback([of] {
        if (of->count() > 0) throw CLI::ExtrasError(of->results());
      });
    }
  }

  void add_maintenance() {
    auto* works = add(&app_, "maintenance", "planned work: sites drain while it lasts",
                      [this] { return to_controlplane(Access::read, "maintenance"); });
    auto* plan = add(works, "plan", "plan work; it survives restarts", [this] {
      return to_controlplane(Access::write, "maintenance-set",
                             {{"id", name_}, {"sites", sites_}, {"from", from_}, {"to", to_}});
    });
    plan->add_option("id", name_, "its name")->required();
    plan->add_option("sites", sites_, "the sites that drain")->required();
    plan->add_option("--from", from_, "when it begins: 2026-11-21T02:00:00Z, now, or +2h")
        ->required();
    plan->add_option("--to", to_, "when it is over, the same")->required();
    auto* cancel = add(works, "cancel", "take back what was planned here", [this] {
      return to_controlplane(Access::write, "maintenance-set",
                             {{"id", name_}, {"sites", json::array()}});
    });
    cancel->add_option("id", name_, "its name")->required();
  }

  void add_weights() {
    auto* weights = add_group("weights", "weights of endpoints, tuned live");
    auto* get = add(weights, "get", "weights in use, and who set them", [this] {
      return to_controlplane(Access::read, "weights", filter("service", name_));
    });
    get->add_option("service", name_, "only of this one");
    auto* set = add(weights, "set", "set a weight; it survives restarts", [this] {
      auto arguments = endpoint_arguments();
      const auto weight = config::parse_number(weight_);
      arguments["weight"] = weight ? json(*weight) : json();
      return to_controlplane(Access::write, "weight-set", arguments);
    });
    add_endpoint_option(set);
    set->add_option("weight", weight_, "a number from 0, or 'default' for the configuration's")
        ->required()
        ->check([](const std::string& text) -> std::string {
          const auto weight = config::parse_number(text);
          if (text == "default" || (weight && *weight >= 0)) return "";
          return "'" + text + "' is no weight: write a number from 0, or 'default'";
        });
  }

  void add_factors() {
    auto* factors = add_group("factors", "how much each factor counts in a score, tuned live");
    add(factors, "get", "exponents in use, and who set them",
        [this] { return to_controlplane(Access::read, "factors"); });
    auto* set = add(factors, "set", "set a factor's exponent; it survives restarts", [this] {
      return to_controlplane(Access::write, "factor-set",
                             {{"factor", name_}, {"exponent", exponent_}});
    });
    set->add_option("factor", name_,
                    "proximity, health, headroom, condition, version, risk or "
                    "confidence")
        ->required();
    set->add_option("exponent", exponent_, "a number from 0 (does not count) to 16")->required();
    add(factors, "reset", "return to the configuration's exponents", [this] {
      return to_controlplane(Access::write, "factor-set",
                             {{"factor", "all"}, {"exponent", json()}});
    });
  }

  [[nodiscard]] LiveSource live_source() const {
    return by_the_clock([this](const char* daemon, const char* command) {
      return ask(daemon, Access::read, command, json::object());
    });
  }

  [[nodiscard]] LiveOptions live_options() const {
    return {.interval = nanoseconds(static_cast<std::int64_t>(interval_s_ * 1e9)),
            .rounds = rounds_,
            .rows = rows_,
            .as_json = options_.as_json,
            .screen = terminal_.screen};
  }

  void add_live() {
    auto* watch =
        add(&app_, "watch", "tell what happens, until Ctrl-C: sites, endpoints, tables, alarms",
            [this] { return ctl::watch(live_source(), live_options(), terminal_); });
    auto* top = add(&app_, "top", "a live view: rates, sites, endpoints by rank, tables", [this] {
      if (options_.as_json)
        return Status(
            fail(ErrorCode::invalid, "top is for people", "--json", "use stats or watch"));
      return ctl::top(live_source(), live_options(), terminal_);
    });
    top->add_option("--rows", rows_, "rows of each table")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    for (auto* command : {watch, top}) {
      command->add_option("--interval", interval_s_, "seconds between two looks")
          ->check(CLI::Range(0.01, 3600.0))
          ->capture_default_str();
      command->add_option("--rounds", rounds_, "end after this many looks; 0: never")
          ->capture_default_str();
    }
  }

  void add_changes() {
    auto* reload =
        add(&app_, "reload", "read the configuration again; a mistake changes nothing", [this] {
          return show_both(Access::write, "reload",
                           force_ ? json{{"force", true}} : json::object());
        });
    reload->add_flag("--force", force_, "allow the removal of many names");
    auto* level = add(&app_, "log-level", "how much the daemons log", [this] {
      return show_both(Access::write, "log-level", {{"level", words_.back()}});
    });
    level->add_option("level", words_, "[dataplane|controlplane] trace|debug|info|warning|error")
        ->required()
        ->expected(1, 2);
    level->parse_complete_callback([this] { check_log_level(); });
  }

  // "dataplane debug" is short for "--dataplane debug".
  void check_log_level() {
    const auto is_one_of = [](const std::string& word, std::initializer_list<const char*> words) {
      return std::ranges::find(words, word) != words.end();
    };
    if (!is_one_of(words_.back(), {"trace", "debug", "info", "warning", "error"})) {
      throw CLI::ValidationError("'" + words_.back() + "' is no level",
                                 "write trace, debug, info, warning or error");
    }
    if (words_.size() == 1) return;
    if (!is_one_of(words_[0], {"dataplane", "controlplane"})) {
      throw CLI::ValidationError("'" + words_[0] + "' is no daemon",
                                 "write dataplane or controlplane");
    }
    options_.dataplane = words_[0] == "dataplane";
    options_.controlplane = !options_.dataplane;
  }

  // Those with files of their own.
  void add_others() {
    const LineHooks hooks{
        .add = [this](CLI::App* parent, const char* name, const char* summary,
                      Action action) { return add(parent, name, summary, std::move(action)); },
        .add_group = [this](const char* name,
                            const char* summary) { return add_group(name, summary); },
        .ask = [this](
                   Access access, const std::string& command,
                   const json& arguments) { return to_controlplane(access, command, arguments); },
        .print = [this](const std::string& command, const json& result) { print(command, result); },
        .show = [this](const char* daemon,
                       const std::string& command) { return show(daemon, Access::read, command); },
        .run_directory = [this] { return options_.run_directory; },
        .as_json = [this] { return options_.as_json; }};
    explain_ = std::make_unique<ExplainLine>(app_, hooks);
    zones_ = std::make_unique<ZoneLine>(hooks, terminal_);
    local_ = std::make_unique<LocalLine>(app_, hooks, terminal_);
    history_ = std::make_unique<HistoryLine>(app_, local_->config(), hooks);
    observe_ = std::make_unique<ObserveLine>(
        app_, ObserveHooks{.add = hooks.add,
                           .ask =
                               [this](const char* daemon, Access access, const std::string& command,
                                      const json& arguments) {
                                 return ask(daemon, access, command, arguments);
                               },
                           .print = hooks.print,
                           .terminal = terminal_});
  }

  const Terminal& terminal_;
  CLI::App app_{"Looks at the Pharos daemons, and steers them.", "pharosctl"};
  Options options_;
  Action action_;
  std::unique_ptr<ExplainLine> explain_;
  std::unique_ptr<ZoneLine> zones_;
  std::unique_ptr<LocalLine> local_;
  std::unique_ptr<HistoryLine> history_;
  std::unique_ptr<ObserveLine> observe_;
  std::string name_, target_, weight_, from_, to_;
  std::vector<std::string> sites_;
  std::vector<std::string> words_;
  double exponent_ = 1, interval_s_ = 1;
  unsigned rounds_ = 0, rows_ = 12;
  bool force_ = false;
};

}  // namespace

int run_command_line(int count, const char* const* arguments, const Terminal& terminal) {
  return CommandLine(terminal).run(count, arguments);
}

std::vector<std::string> subcommand_names() {
  std::ostringstream nowhere;
  const Terminal terminal{nowhere, nowhere};
  return CommandLine(terminal).names();
}

}  // namespace pharos::controlplane::ctl
