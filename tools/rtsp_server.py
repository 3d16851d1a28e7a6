"""Serve H.264 over RTSP on loopback, as a camera does, for tests and benchmarks.

`rtsp_server.py PORT picture WIDTH HEIGHT` sends a moving test picture, `rtsp_server.py PORT folder
DIR FPS` the JPEG files `0000.jpg`, `0001.jpg`, ... of a folder, again and again. Port 0 takes a
free one. Run it with the system's Python, whose `gi` Debian packages
(tools/install-test-packages.sh). It prints `ready PORT` when clients may connect; the address is `rtsp://127.0.0.1:PORT/test`.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PAYLOAD = "h264parse ! rtph264pay name=pay0 pt=96 config-interval=1"
PICTURE = (
    "( videotestsrc is-live=true pattern=ball ! "
    "video/x-raw,width={},height={},framerate=25/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 ! " + PAYLOAD + " )"
)
FOLDER = (
    "( multifilesrc location={0}/%04d.jpg loop=true caps=image/jpeg,framerate={1}/1 ! "
    "jpegdec ! videoconvert ! video/x-raw,format=I420 ! identity sync=true ! "
    "x264enc tune=zerolatency speed-preset=ultrafast bitrate=900 key-int-max={1} threads=1 ! "
    + PAYLOAD
    + " )"
)
PIPELINES = {"picture": PICTURE, "folder": FOLDER}


def main(port: str, kind: str, *values: str) -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(PIPELINES[kind].format(*values))
    factory.set_shared(True)
    server.get_mount_points().add_factory("/test", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is in use")
    sys.stdout.write(f"ready {server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
