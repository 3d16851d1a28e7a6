"""Bad input through the real command line: one sentence, exit 1 or 2, nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.data.demo_clip import write_demo_clip
from runtime.bundle import DEFAULT_BUNDLE
from runtime.bundle_spec import DIGEST_KEY, content_digest
from runtime.sources.opencv import count_frames

REPOSITORY = Path(__file__).resolve().parent.parent


def edge(*argv: str, module: str = "edge.cli", **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a person would."""
    code = f"import sys; from {module} import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        cwd=REPOSITORY, env={**os.environ, **env}, capture_output=True, text=True,
        timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def sentence_of(done: subprocess.CompletedProcess[str], *, code: int) -> str:
    """Return the one error line, after checking exit code and the absence of a traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == lines[0], "the error is the last thing said"
    return lines[0]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "clip.mp4"
    write_demo_clip(path, seconds=2.0)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle"))


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        pytest.param(["--sauce", "x"], "Did you mean '--source'", id="unknown flag"),
        pytest.param([], "--source", id="no source"),
        pytest.param(["--source", "x", "--conf", "7"], "--conf is 7", id="conf 7"),
        pytest.param(["--source", "x", "--conf", "nan"], "--conf is nan", id="conf not a number"),
        pytest.param(["--source", "x", "--iou", "0.5"], "there is no NMS", id="iou"),
        pytest.param(["--source", "x", "--device", "gpu"], "Choose from: auto, cpu", id="device"),
        pytest.param(["--source", "x", "--stride", "0"], "--stride is 0", id="stride 0"),
        pytest.param(["--source", "x", "--stride", "-3"], "--stride is -3", id="stride -3"),
    ],
)
@pytest.mark.parametrize("module", ["edge.cli", "runtime.cli"])
def test_wrong_use_exits_2_with_one_sentence(argv: list[str], sentence: str, module: str) -> None:
    assert sentence in sentence_of(edge("run", *argv, module=module), code=2)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        pytest.param(["--calib-data", "", "--out", "o"], "--calib-data is empty", id="no data"),
        pytest.param(["--calib-data", "v", "--out", ""], "--out is empty", id="no out"),
        pytest.param(
            ["--calib-data", "v", "--out", "o", "--calib-clips", "0"], "is 0", id="no clips"
        ),
    ],
)
@pytest.mark.parametrize("verb", ["calibrate", "export"])
def test_wrong_use_of_calibration_exits_2(verb: str, argv: list[str], sentence: str) -> None:
    assert sentence in sentence_of(edge(verb, "--model", "m.pt", *argv), code=2)


def test_importing_the_exporter_adds_no_line_to_the_sentence(tmp_path: Path) -> None:
    pytest.importorskip("torchao", reason="export needs torchao")
    flags = ["--model", str(tmp_path / "no.pt"), "--calib-data", "v", "--out", str(tmp_path / "o")]
    done = edge("export", *flags)
    assert done.stderr == sentence_of(done, code=1) + "\n"


def test_a_negative_seed_exits_2() -> None:
    done = edge("calibrate", "--model", "m", "--calib-data", "v", "--out", "o", "--seed", "-1")
    assert "--seed is -1" in sentence_of(done, code=2)


def test_an_unknown_verb_is_suggested() -> None:
    assert "Did you mean 'export'" in sentence_of(edge("exprot"), code=2)


def zero_bytes(folder: Path, _: Path) -> Path:
    path = folder / "zero.mp4"
    path.write_bytes(b"")
    return path


def text_named_mp4(folder: Path, _: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("this is no video\n" * 100, encoding="utf-8")
    return path


def truncated(folder: Path, clip: Path) -> Path:
    """The index of this mp4 stands at its end: what is left cannot be opened."""
    path = folder / "truncated.mp4"
    path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    return path


def too_short(folder: Path, _: Path) -> Path:
    """Half a second, where a clip takes a whole one."""
    path = folder / "short.mp4"
    write_demo_clip(path, seconds=0.5)
    return path


def missing(folder: Path, _: Path) -> Path:
    return folder / "nowhere.mp4"


def empty_folder(folder: Path, _: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def folder_of_text(folder: Path, _: Path) -> Path:
    path = folder / "images"
    path.mkdir()
    (path / "a.png").write_text("no image", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "make",
    [zero_bytes, text_named_mp4, truncated, too_short, missing, empty_folder, folder_of_text],
    ids=lambda f: f.__name__,
)
def test_a_source_that_is_no_video_is_named_and_nothing_is_written(
    make: object, tmp_path: Path, clip: Path
) -> None:
    assert callable(make)
    source = make(tmp_path, clip)
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    done = edge("run", "--source", str(source), "--save", str(out), "--save-json", str(lines))
    assert source.name in sentence_of(done, code=1)
    left = {p.name for p in tmp_path.iterdir()} - {source.name}
    assert not left, "nothing half-written stays"


def test_a_stream_that_nobody_serves_is_given_up(tmp_path: Path) -> None:
    done = edge("run", "--source", "rtsp://127.0.0.1:9/none", "--save-json", str(tmp_path / "o"))
    assert "127.0.0.1:9" in sentence_of(done, code=1)
    assert not list(tmp_path.iterdir())


def test_a_camera_that_is_not_there_is_named() -> None:
    assert "97" in sentence_of(edge("run", "--source", "97"), code=1)


def flip_a_byte(folder: Path) -> str:
    path = next(folder.glob("*.pte"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    return "SHA-256"


def newer_schema(folder: Path) -> str:
    path = folder / "bundle.json"
    content = json.loads(path.read_text("utf-8"))
    content["schema_version"] = 99
    content[DIGEST_KEY] = content_digest(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return "update bmvit-edge"


def program_of_another_model(folder: Path) -> str:
    """A program that is whole, with its right hash in the bundle, but of another clip length."""
    path = folder / "bundle.json"
    content = json.loads(path.read_text("utf-8"))
    content["clip"]["num_frames"] *= 2
    content[DIGEST_KEY] = content_digest(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return "of another model"


def program_is_text(folder: Path) -> str:
    import hashlib

    program = next(folder.glob("*.pte"))
    program.write_text("no program", encoding="utf-8")
    path = folder / "bundle.json"
    content = json.loads(path.read_text("utf-8"))
    content["artifacts"][0]["sha256"] = hashlib.sha256(program.read_bytes()).hexdigest()
    content["artifacts"][0]["size_bytes"] = program.stat().st_size
    content[DIGEST_KEY] = content_digest(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return program.name


def no_golden_clip(folder: Path) -> str:
    (folder / "golden.npz").unlink()
    return "golden.npz"


@pytest.mark.parametrize(
    "damage",
    [flip_a_byte, newer_schema, program_of_another_model, program_is_text, no_golden_clip],
    ids=lambda f: f.__name__,
)
def test_a_bundle_that_does_not_fit_is_refused(damage: object, bundle: Path, clip: Path) -> None:
    assert callable(damage)
    sentence = damage(bundle)
    done = edge("run", "--model", str(bundle), "--source", str(clip))
    assert sentence in sentence_of(done, code=1)


@pytest.mark.parametrize("name", ["nothing", "folder", "text.pte"])
def test_a_model_that_is_no_bundle_is_refused(name: str, tmp_path: Path, clip: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.pte").write_text("text", encoding="utf-8")
    done = edge("run", "--model", str(tmp_path / name), "--source", str(clip))
    assert name in sentence_of(done, code=1)


class Payload:
    """What a hostile checkpoint would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch pwned",))


@pytest.mark.parametrize("kind", ["pickle", "torch zip", "text", "missing"])
def test_a_checkpoint_that_is_not_ours_is_refused(kind: str, tmp_path: Path, clip: Path) -> None:
    torch = pytest.importorskip("torch", reason="export needs torch")
    path = tmp_path / "model.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload()))
    elif kind == "torch zip":
        torch.save({"model": Payload()}, path)
    elif kind == "text":
        path.write_text("no checkpoint", encoding="utf-8")
    out = tmp_path / "bundle"
    done = edge("export", "--model", str(path), "--calib-data", str(clip), "--out", str(out))
    assert "model.pt" in sentence_of(done, code=1)
    assert not (REPOSITORY / "pwned").exists()
    assert not out.exists()


def test_outputs_are_not_replaced_without_being_told(tmp_path: Path, clip: Path) -> None:
    old = tmp_path / "out.jsonl"
    old.write_text("mine", encoding="utf-8")
    done = edge("run", "--source", str(clip), "--save-json", str(old))
    assert "--overwrite" in sentence_of(done, code=2)
    assert old.read_text("utf-8") == "mine"


def test_a_reader_that_had_enough_is_no_error(tmp_path: Path, clip: Path) -> None:
    lines = tmp_path / "out.jsonl"
    command = f"{sys.executable} -m edge run --source {clip} --json --save-json {lines}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frame"] > 0
    assert not [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert lines.exists(), "the file that was asked for is whole up to there"


@pytest.mark.parametrize("verb", ["info", "doctor", "run", "demo"])
def test_a_closed_stdout_is_no_error(verb: str, tmp_path: Path, clip: Path) -> None:
    flags = {"run": f"--source {clip}", "demo": f"--out {tmp_path} --seconds 1.2"}
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m edge {verb} {flags.get(verb, '')} >&-"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "[h264" not in done.stderr, "FFmpeg's own lines stay off stderr"


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["info"], ["doctor"]], ids=str)
def test_a_narrow_encoding_escapes_what_it_lacks(argv: list[str]) -> None:
    done = edge(*argv, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_a_full_disk_leaves_what_can_be_played(tmp_path: Path, clip: Path) -> None:
    """A file-size limit stands for the full disk: the same failure of write(2)."""
    out = tmp_path / "out.mp4"
    code = (
        "import resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "from edge.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--source", str(clip), "--save", str(out)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "out.mp4" in sentence_of(done, code=1)
    assert not out.exists()
    for kept in tmp_path.glob("out*"):
        assert f"{kept} can be played up to where it ends" in done.stderr
        assert count_frames(kept) > 0
