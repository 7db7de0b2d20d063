#include "pharos/dataplane/core/service_manager.hh"

#include <systemd/sd-daemon.h>

#include <cstdint>

namespace pharos::dataplane {

namespace {

void notify(const std::string& text) {
  ::sd_notify(0, text.c_str());
}

}  // namespace

ServiceManager::ServiceManager() {
  std::uint64_t watchdog_us = 0;
  if (::sd_watchdog_enabled(0, &watchdog_us) > 0) {
    watchdog_interval_ = microseconds(static_cast<std::int64_t>(watchdog_us / 2));
  }
}

void ServiceManager::ready(const std::string& status) const {
  notify("READY=1\nSTATUS=" + status);
}
void ServiceManager::status(const std::string& text) const {
  notify("STATUS=" + text);
}
void ServiceManager::stopping() const {
  notify("STOPPING=1\nSTATUS=stopping");
}
void ServiceManager::alive() const {
  notify("WATCHDOG=1");
}

// Type=notify-reload wants the time stamp that the manager compares with (sd_notify(3)).
void ServiceManager::reloading() const {
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_now().ns / 1000));
}

}  // namespace pharos::dataplane
