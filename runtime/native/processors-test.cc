#include "runtime/native/processors.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "runtime/native/test.h"

namespace {

namespace fs = std::filesystem;
using edge::UsableProcessors;

// A root folder with files in it, removed at the end.
class Root {
 public:
  Root() {
    std::string name = (fs::temp_directory_path() / "edge-processors-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Root() { fs::remove_all(path_); }

  void Write(const std::string& name, const std::string& text) const {
    const fs::path path = fs::path(path_) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(WithoutControlGroupsTheScheduledOnesCount) {
  const Root root;
  EXPECT(UsableProcessors(root.path()) >= 1);
}

TEST(AQuotaOfVersionTwoIsALimitAlsoFromAbove) {
  const Root root;
  root.Write("proc/self/cgroup", "0::/kube/pod/one\n");
  root.Write("sys/fs/cgroup/kube/pod/one/cpu.max", "max 100000\n");
  const int all = UsableProcessors(root.path());
  root.Write("sys/fs/cgroup/kube/cpu.max", "100000 100000\n");
  EXPECT(UsableProcessors(root.path()) == 1);
  root.Write("sys/fs/cgroup/kube/cpu.max", "50000 100000\n");
  EXPECT(UsableProcessors(root.path()) == 1);
  root.Write("sys/fs/cgroup/kube/cpu.max", "99900000 100000\n");
  EXPECT(UsableProcessors(root.path()) == all);
}

TEST(AQuotaOfVersionOneIsALimit) {
  const Root root;
  root.Write("proc/self/cgroup", "3:cpuset:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
  const int all = UsableProcessors(root.path());
  root.Write("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "100000\n");
  EXPECT(UsableProcessors(root.path()) == 1);
  // Inside a container the group's own folder is the mount.
  root.Write("sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
  root.Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "120000\n");
  root.Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT(UsableProcessors(root.path()) == 1);
  EXPECT(all >= 1);
}

TEST(WhatCannotBeReadIsNoLimit) {
  const Root root;
  const int all = UsableProcessors(root.path());
  root.Write("proc/self/cgroup", "garbage\n0:\n1:cpu:relative\n0::/a\n");
  root.Write("sys/fs/cgroup/a/cpu.max", "? ?\n");
  EXPECT(UsableProcessors(root.path()) == all);
}

}  // namespace
