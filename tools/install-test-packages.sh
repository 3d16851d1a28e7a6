#!/bin/sh
# Install what some tests need beside pip's packages: an RTSP server of Debian's (GStreamer's, used
# from the system's Python) to test live sources against, an X server without a screen for --show,
# an MQTT broker for events, a browser for the page of edge serve, promtool for its metrics, and
# OpenCV's C++ libraries, with which edge_runner is built to read videos.
# Does nothing where it cannot (no root, no apt-get, no network): those tests are then skipped and
# say so.
set -eu

packages="python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base
  gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly xvfb
  mosquitto mosquitto-clients chromium prometheus libopencv-videoio-dev"

works() {
  command -v Xvfb >/dev/null 2>&1 || return 1
  PATH=$PATH:/usr/sbin command -v mosquitto >/dev/null 2>&1 || return 1
  command -v chromium >/dev/null 2>&1 || return 1
  command -v promtool >/dev/null 2>&1 || return 1
  [ -e /usr/include/opencv4/opencv2/videoio.hpp ] || return 1
  /usr/bin/python3 - >/dev/null 2>&1 <<'PYTHON'
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
for name in ("videotestsrc", "x264enc", "h264parse", "rtph264pay"):
    assert Gst.ElementFactory.find(name), name
PYTHON
}

if works; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "tests with RTSP, --show, MQTT, a browser and videos in edge_runner will be skipped; to run them, as root: apt-get install $(echo $packages)" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# The lists may be absent or old; a failing update is only fatal if the installation fails, too.
apt-get update -qq >/dev/null 2>&1 || true
# shellcheck disable=SC2086  # one word per package is meant
if ! apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1 || ! works; then
  echo "tests with RTSP, --show, MQTT, a browser and videos in edge_runner will be skipped: apt-get could not install $(echo $packages)" >&2
fi
