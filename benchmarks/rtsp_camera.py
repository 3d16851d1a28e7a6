"""Serve a folder of JPEG pictures as H.264 over RTSP, again and again: a camera for benchmarks.

Run by the system's Python, whose `gi` Debian packages (tools/install-test-packages.sh): argv is the
port (0 for a free one), the folder of `0000.jpg`, `0001.jpg`, ..., and the frames a second. Prints
`ready PORT` when clients may connect.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURES = (
    "( multifilesrc location={folder}/%04d.jpg loop=true caps=image/jpeg,framerate={fps}/1 ! "
    "jpegdec ! videoconvert ! video/x-raw,format=I420 ! identity sync=true ! "
    "x264enc tune=zerolatency speed-preset=ultrafast bitrate=900 key-int-max={fps} threads=1 ! "
    "h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def main(port: str, folder: str, fps: str) -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(PICTURES.format(folder=folder, fps=fps))
    factory.set_shared(True)
    server.get_mount_points().add_factory("/main", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is in use")
    sys.stdout.write(f"ready {server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:4])
