#include "runtime/native/processors.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

namespace edge {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

// The first words of a file; empty where it cannot be read.
std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

double Processors(double quota_us, double period_us) {
  return quota_us > 0 && period_us > 0 ? quota_us / period_us : kNoLimit;
}

double NumberIn(const std::string& path) {
  std::istringstream words(FirstLine(path));
  double value = 0.0;
  return words >> value ? value : 0.0;
}

double LimitOfV2(const std::string& folder) {
  std::istringstream words(FirstLine(folder + "/cpu.max"));  // "max 100000", "150000 100000"
  double quota = 0.0;
  double period = 0.0;
  return words >> quota >> period ? Processors(quota, period) : kNoLimit;
}

double LimitOfV1(const std::string& folder) {
  return Processors(NumberIn(folder + "/cpu.cfs_quota_us"),  // -1: none
                    NumberIn(folder + "/cpu.cfs_period_us"));
}

// The smallest limit of a group and of those around it, up to the mount.
double LimitUpwards(const std::string& mount, std::string group,
                    double (*limit)(const std::string&)) {
  double smallest = limit(mount);
  while (!group.empty() && group != "/") {
    smallest = std::min(smallest, limit(mount + group));
    group.resize(group.find_last_of('/'));
  }
  return smallest;
}

bool Has(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

double GroupLimit(const std::string& root) {
  std::ifstream groups(root + "/proc/self/cgroup");  // "4:cpu,cpuacct:/docker/1", "0::/user"
  const std::string mounts = root + "/sys/fs/cgroup";
  double smallest = kNoLimit;
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (group.empty() || group[0] != '/') continue;
    if (controllers.empty()) {
      smallest = std::min(smallest, LimitUpwards(mounts, group, LimitOfV2));
    } else if (Has(controllers, "cpu")) {
      for (const std::string& name : {controllers, std::string("cpu")}) {
        smallest = std::min(smallest, LimitUpwards(mounts + "/" + name, group, LimitOfV1));
      }
    }
  }
  return smallest;
}

int Scheduled() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(CPU_COUNT(&set), 1);
  return std::max(static_cast<int>(std::thread::hardware_concurrency()), 1);
}

}  // namespace

int UsableProcessors(const std::string& root) {
  const double limit = GroupLimit(root);
  const int scheduled = Scheduled();
  // Rounded: under a quota of 1.5 two threads were as fast as one or faster, under 1.0 they were
  // not.
  return limit < scheduled ? std::max(static_cast<int>(std::lround(limit)), 1) : scheduled;
}

}  // namespace edge
