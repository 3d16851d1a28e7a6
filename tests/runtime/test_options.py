"""Flags come from a dataclass, and a wrong one is answered by a sentence that helps."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.errors import ArtifactError, ConfigError
from runtime.options import (
    LongJobOptions,
    OptionParser,
    check_options,
    from_flat,
    guarded,
    option,
    section,
    to_flat,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    source: str = option(dataclasses.MISSING, "where frames come from", positional=True)
    conf: float | None = option(None, "threshold")
    num_threads: int = option(2, "threads", aliases=("--threads",))
    targets: tuple[str, ...] = option(("xnnpack-int8",), "targets")
    device: str = option("cpu", "where", choices=("cpu", "cuda"))
    save: bool = option(False, "write the video")
    verify: bool = option(True, "check the artifact")
    config: str | None = option(None, "file of flags")
    iou: float | None = option(None, "", refused="there is no NMS")

    def __post_init__(self) -> None:
        if self.conf is not None and not 0 <= self.conf <= 1:
            raise ConfigError(f"--conf is {self.conf:g}, expected 0..1")


def parse(*argv: str) -> Options:
    return OptionParser(prog="edge run").parse_into(Options, argv)


def test_flags_become_typed_fields() -> None:
    options = parse("--source", "0", "--conf", "0.5", "--targets", "a", "b", "--no-verify")
    assert options == Options(source="0", conf=0.5, targets=("a", "b"), verify=False)


def test_a_value_may_stand_alone() -> None:
    assert parse("film.mp4", "--conf", "0.5") == parse("--conf", "0.5", "--source", "film.mp4")
    assert parse("--save", "film.mp4").source == "film.mp4"


def test_an_alias_is_the_same_flag() -> None:
    assert parse("--source", "0", "--threads", "7").num_threads == 7


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        pytest.param(["--sorce", "0"], "--source", id="missing required"),
        pytest.param(
            ["--source", "0", "--conff", "1"], r"'--conff'\. Did you mean '--conf'", id="typo"
        ),
        pytest.param(["--source", "0", "--con", "1"], "unknown flag '--con'", id="abbreviation"),
        pytest.param(["--source", "0", "extra"], "both 'extra' and --source 0", id="two sources"),
        pytest.param(["0", "extra"], "unknown argument 'extra'", id="loose word"),
        pytest.param(
            ["0", "--int8"], "unknown flag '--int8'. Use '--targets xnnpack-int8'", id="elsewhere"
        ),
        pytest.param(["0", "--half"], r"unknown flag '--half'\. \(try", id="no misspelt --help"),
        pytest.param(["0", "--lr", "1"], "unknown flag '--lr'", id="elsewhere, not here"),
        pytest.param(["--source", "0", "--conf", "seven"], "invalid float", id="no number"),
        pytest.param(["--source", "0", "--conf", "7"], "--conf is 7, expected 0..1", id="range"),
        pytest.param(
            ["--source", "0", "--device", "cpuu"],
            "'cpuu' is not known. Did you mean 'cpu'. Choose from: cpu, cuda",
            id="choice",
        ),
        pytest.param(["--source", "0", "--iou", "0.5"], "--iou: there is no NMS", id="refused"),
        pytest.param(["--source", "0", "--iou=0.5"], "--iou: there is no NMS", id="refused with ="),
    ],
)
def test_a_wrong_flag_is_answered_by_one_sentence(argv: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse(*argv)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_config_file_uses_the_same_words_and_loses_against_flags(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"run{suffix}"
    text = '{"source": "cam", "conf": 0.25, "verify": false, "save": true, "num-threads": 3}'
    path.write_text(text, encoding="utf-8")
    assert parse("--config", str(path), "--conf", "0.5") == Options(
        source="cam", conf=0.5, verify=False, save=True, num_threads=3, config=str(path)
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param('{"sourc": "x"}', "unknown key 'sourc'. Did you mean 'source'", id="typo"),
        pytest.param('{"conf": "x"}', "invalid float", id="type"),
        pytest.param('{"device": "tpu"}', "'tpu' is not known", id="choice"),
        pytest.param("[1]", "expected keys: values", id="list"),
        pytest.param("{", "cannot be read", id="broken"),
    ],
)
def test_a_wrong_config_file_is_answered_by_one_sentence(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence):
        parse("--source", "0", "--config", str(path))


def test_a_missing_config_file_is_answered_by_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        parse("--source", "0", "--config", str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        pytest.param(ConfigError("a\nb"), 2, "error: a b\n", id="wrong use"),
        pytest.param(ArtifactError("broken"), 1, "error: broken\n", id="failed"),
        pytest.param(
            PermissionError(13, "Permission denied", "/a"),
            1,
            "error: /a: Permission denied\n",
            id="system",
        ),
        pytest.param(KeyboardInterrupt(), 130, "interrupted\n", id="interrupted"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(_: Sequence[str]) -> int:
        raise error

    assert guarded(main, []) == code
    assert capsys.readouterr() == ("", text)


@pytest.mark.parametrize(("error", "code"), [(ArtifactError("broken"), 1), (ConfigError("no"), 2)])
def test_verbose_shows_the_traceback_above_the_sentence(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(_: Sequence[str]) -> int:
        raise error

    assert guarded(main, ["--verbose"]) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == f"error: {error}"


def test_a_help_text_may_hold_a_percent_sign(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Shares:
        warm_up: float = option(0.1, "linear warm-up; by default 3 % of the schedule")

    with pytest.raises(SystemExit) as ended:
        OptionParser(prog="x").parse_into(Shares, ["--help"])
    assert ended.value.code == 0
    assert "by default 3 % of the schedule" in " ".join(capsys.readouterr().out.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A section."""

    pace: float = option(1.0, "how fast, m/s", above=0.0, most=9.0, former="haste")
    share: float = option(0.5, "of the way", least=0.0, most=1.0)
    inner: int = 3  # no flag

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Options with sections."""

    place: str = option(dataclasses.MISSING, "where to")
    speed: Speed = section(Speed)
    common: LongJobOptions = section(LongJobOptions)


def parse_walk(*argv: str) -> Walk:
    return OptionParser(prog="walk").parse_into(Walk, ["--place", "x", *argv])


def test_options_of_sections_are_flags_beside_the_others() -> None:
    walk = parse_walk("--pace", "2", "--quiet")
    assert walk == Walk(place="x", speed=Speed(pace=2.0), common=LongJobOptions(quiet=True))
    flat = to_flat(walk)
    assert flat == {"place": "x", "pace": 2.0, "share": 0.5, "quiet": True, "verbose": False,
                    "config": None}  # fmt: skip
    assert from_flat(Walk, flat) == walk
    with pytest.raises(TypeError, match="no option inner"):
        from_flat(Walk, {"place": "x", "inner": 4})


def test_a_former_name_is_read_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.json").write_text('{"haste": 3}', encoding="utf-8")
    assert parse_walk("--haste", "2").speed.pace == 2.0
    assert parse_walk("--config", str(tmp_path / "old.json")).speed.pace == 3.0
    with pytest.raises(SystemExit):
        parse_walk("--help")
    shown = capsys.readouterr().out
    assert "--pace" in shown
    assert "haste" not in shown
    assert "inner" not in shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--pace", "0"), "--pace is 0.0, expected a number above 0, at most 9"),
        (("--pace", "nan"), "--pace is nan"),
        (("--share", "1.5"), "--share is 1.5, expected 0 to 1"),
    ],
)
def test_a_value_out_of_range_is_a_usage_error(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_walk(*argv)


def test_a_name_in_a_config_file_is_that_of_the_command_line(tmp_path: Path) -> None:
    """Also where the locale says that names are ASCII."""
    (tmp_path / "caf\u00e9.mp4").write_bytes(b"text, no video")
    (tmp_path / "run.json").write_text('{"source": "caf\u00e9.mp4"}', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "run", "--config", "run.json"], cwd=tmp_path,
        capture_output=True, check=False,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert done.returncode == 1
    assert b"it holds text, not a video" in done.stderr
