# Cross build for aarch64 Linux (Raspberry Pi, Jetson's CPU) with Debian's compiler.
#
# Used by the preset `aarch64`; tools/cross_build_aarch64.sh is the one command that does it all.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# The target's C library, and what the emulator loads from.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
# Programs are of this machine; libraries, headers and packages never are: OpenCV of x86-64 must
# not be found.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
