#include "history_view.hh"

#include "view_parts.hh"

namespace pharos::controlplane::ctl {
namespace {

std::string version(const json& row) {
  const auto& from = at(row, "version").is_object() ? at(row, "version") : row;
  return version_text(from);
}

std::string history_table(const json& rows, bool colours) {
  TextTable table({"AT", "VERSION", "POOL", "LOCALE", "ANSWERS", ">TTL", "WHY"});
  if (!rows.is_array()) return {};
  for (const auto& row : rows) {
    const auto slots = with(row, "slots", [](double n) { return count_text(n); });
    const bool dealt = at(row, "slots").is_number() && at(row, "slots").get<double>() > 1;
    table.add(
        {word(at(row, "at")),
         version(row),
         word(at(row, "pool")),
         word(at(row, "locale")),
         dealt ? slots + " slots" : joined(at(row, "answers")),
         word(at(row, "ttl_s")) + "s",
         {word(at(row, "cause")), at(row, "panic") == json(true) ? Colour::bad : Colour::none}});
  }
  return table.empty() ? "nothing was decided\n" : table.text(colours);
}

std::string configurations_table(const json& rows, bool colours) {
  TextTable table({">ID", "AT", "VERSION", "CHANGES"});
  if (!rows.is_array()) return {};
  for (const auto& row : rows)
    table.add({word(at(row, "id")), word(at(row, "at")), version(row), word(at(row, "changes"))});
  return table.empty() ? "none is known\n" : table.text(colours);
}

std::string audit_table(const json& rows, bool colours) {
  TextTable table({"AT", "DOOR", "CALLER", "FROM", "COMMAND", "ARGUMENTS", "OUTCOME"});
  if (!rows.is_array()) return {};
  for (const auto& row : rows) {
    const auto outcome = word(at(row, "outcome"));
    table.add({word(at(row, "at")),
               word(at(row, "door")),
               word(at(row, "caller")),
               word(at(row, "peer")),
               word(at(row, "command")),
               word(at(row, "arguments")),
               {outcome, outcome == "done" ? Colour::none : Colour::warning}});
  }
  return table.empty() ? "nothing was changed, and nobody was denied\n" : table.text(colours);
}

std::string lines_text(const json& lines, bool colours) {
  std::string out;
  if (!lines.is_array()) return out;
  for (const auto& line : lines) {
    const auto text = harmless(word(line));
    const auto colour = text.starts_with('+')   ? Colour::good
                        : text.starts_with('-') ? Colour::bad
                                                : Colour::none;
    out += coloured(text, colour, colours) + "\n";
  }
  return out;
}

std::string changed_text(const json& result) {
  std::string out;
  if (const auto& changed = at(result, "changed"); changed.is_array()) {
    for (const auto& change : changed) out += harmless(word(change)) + "\n";
    if (changed.empty()) out += "nothing changes\n";
  }
  return out;
}

std::string plan_text(const json& result, bool colours) {
  auto out = lines_text(at(result, "lines"), colours) + changed_text(result);
  if (at(result, "stale") == json(true))
    out += coloured("the file has changed since the draft began", Colour::warning, colours) + "\n";
  TextTable table({"SITE", ">SHARE", ">PLANNED", ">LOAD", ">PLANNED LOAD", ">CAPACITY"});
  if (const auto& sites = at(result, "sites"); sites.is_array()) {
    for (const auto& site : sites) {
      const auto colour = at(site, "overloaded") == json(true) ? Colour::bad : Colour::none;
      table.add({word(at(site, "site")),
                 with(site, "share", share_text),
                 with(site, "planned_share", share_text),
                 with(site, "load_rps", count_text),
                 {with(site, "planned_rps", count_text), colour},
                 with(site, "capacity_rps", count_text)});
    }
  }
  if (!table.empty()) out += table.text(colours);
  out += "clients moved   " + with(result, "moved_share", share_text) + "\n";
  if (const auto& services = at(result, "services"); services.is_array()) {
    for (const auto& row : services)
      out += "  " + harmless(word(at(row, "service"))) + " " +
             with(row, "moved_share", share_text) + "\n";
  }
  out += "TTL exposure    " + word(at(result, "ttl_exposure_s")) + "s " +
         harmless(word(at(result, "exposed_pool"))) + "\n";
  if (const auto source = word(at(result, "load_source")); source == "none") {
    out += "no demand was counted and no site reports requests: load is not known\n";
  } else if (source == "sites") {
    out += "no demand was counted yet: load is what the sites report\n";
  }
  if (const auto& overloads = at(result, "overloads"); overloads.is_array()) {
    for (const auto& one : overloads)
      out += coloured(harmless(word(one)), Colour::bad, colours) + "\n";
  }
  return out;
}

std::string change_text(std::string_view command, const json& result, bool colours) {
  auto out = lines_text(at(result, "lines"), colours);
  if (const auto& files = at(result, "files"); files.is_array()) {
    for (const auto& file : files) {
      out += harmless(word(file.is_object() ? at(file, "path") : file)) + "\n";
      if (file.is_object()) out += lines_text(at(file, "lines"), colours);
    }
  }
  if (const auto& aside = at(result, "aside"); aside.is_array()) {
    for (const auto& path : aside) out += "moved aside: " + harmless(word(path)) + "\n";
  }
  out += changed_text(result);
  if (at(result, "version").is_object()) out += "version " + version(result) + "\n";
  if (!out.empty()) return out;
  return command == "draft-abort" ? "the draft is forgotten\n" : "no line differs\n";
}

}  // namespace

std::optional<std::string> render_history(std::string_view command, const json& result,
                                          bool colours) {
  if (command == "history") return history_table(result, colours);
  if (command == "configurations") return configurations_table(result, colours);
  if (command == "audit") return audit_table(result, colours);
  if (command == "plan" || command == "draft-diff") return plan_text(result, colours);
  if (command == "draft-begin" || command == "draft-commit" || command == "draft-abort" ||
      command == "rollback" || command == "backup" || command == "restore")
    return change_text(command, result, colours);
  return std::nullopt;
}

}  // namespace pharos::controlplane::ctl
