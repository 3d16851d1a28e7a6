"""Command-line flags from a dataclass: one place for name, type, default and help.

Plain argparse, because a device installs nothing for its command line (`docs/adr/0004`). Flags are
`--kebab-case` of the field's name, and the same words work in a `--config` file. A field whose type
is a dataclass is a section: its options are flags beside the others, so that one dataclass serves
the command line and the code that it configures.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import io
import json
import os
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from runtime._option import (
    CommonOptions,
    LongJobOptions,
    check_options,
    current_names,
    defaults_of,
    flag_of,
    from_flat,
    leaves,
    option,
    parse_share,
    section,
    to_flat,
)
from runtime.errors import ConfigError, EdgeError
from runtime.secrets import redact

__all__ = [
    "EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_OK", "EXIT_USAGE", "CommonOptions",
    "LongJobOptions", "OptionParser",
    "add_flags", "check_options", "config_flags", "current_names", "defaults_of", "did_you_mean",
    "flag_of", "flags_from", "from_flat", "guarded", "option", "parse_share", "read_config",
    "section", "to_flat",
]  # fmt: skip

T = TypeVar("T")

# Flags of tools that people come from, and what they are called here, where the verb has it.
ELSEWHERE = {
    "--lr": ("--lr0",), "--learning-rate": ("--lr0",), "--batch-size": ("--batch",),
    "--num-workers": ("--workers",), "--amp": ("--precision bf16",),
    "--half": ("--precision fp16", "--precision bf16", "--artifact"),
    "--fp16": ("--precision fp16", "--precision bf16", "--artifact"),
    "--bf16": ("--precision bf16", "--artifact"),
    "--int8": ("--targets xnnpack-int8", "--artifact"),
    "--weights": ("--init", "--model"), "--pretrained": ("--init",), "--ckpt": ("--model",),
    "--img": ("--imgsz",), "--img-size": ("--imgsz",), "--input-size": ("--imgsz",),
    "--conf-thres": ("--conf",), "--threshold": ("--conf",), "--score-thr": ("--conf",),
    "--project": ("--out",), "--output": ("--out", "--save"), "--name": ("--out",),
    "--exist-ok": ("--overwrite",), "--input": ("--source",), "--video": ("--source",),
    "--view-img": ("--show",), "--save-txt": ("--save-json",), "--threads": ("--num-threads",),
    "--gpu": ("--device cuda",), "--format": ("--targets",), "--data-root": ("--data",),
}  # fmt: skip
# Flags share their hyphens: `--half` is no misspelt `--help`.
_LEAST_OF_FLAGS = 0.75
_ALONE = "alone_"  # before the name of an option whose value stood without its flag

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def did_you_mean(word: str, choices: Iterable[str], *, least: float = 0.6) -> str:
    """Return ` Did you mean 'x'?` for the nearest choice, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=least)
    return f" Did you mean {near[0]!r}?" if near else ""


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Help with defaults, except those that say nothing: none at all, or a switch that is off."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default in (None, "", Path()) or action.default is False
        return action.help if silent else super()._get_help_string(action)


class OptionParser(argparse.ArgumentParser):
    """argparse with errors as one sentence, a suggestion, and no abbreviated flags."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["formatter_class"] = _Defaults
        kwargs["allow_abbrev"] = False
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise the usage error; `guarded` prints it and exits 2."""
        raise ConfigError(f"{message} (try '{self.prog} --help')")

    def flags(self) -> list[str]:
        """Return every flag that this parser knows."""
        return [flag for action in self._actions for flag in action.option_strings]

    def parse_into(self, kind: type[T], argv: Sequence[str], *, flags_in_file: bool = True) -> T:
        """Parse flags (and a `--config` file below them) into the dataclass `kind`.

        Args:
            kind: The dataclass.
            argv: The words of the command line.
            flags_in_file: Whether the file of `--config` holds flags; else it is the caller's.

        Raises:
            ConfigError: A flag is unknown, refused, of another type or out of range.
        """
        add_flags(self, kind)
        path = _config_path(argv) if flags_in_file else None
        if path is not None:
            # The file's keys become flags in front of the real ones: same checks, and they lose.
            argv = [*config_flags(path, kind), *argv]
        # Before argparse, which would complain of a missing flag first and hide the misspelt one.
        for word in argv:
            name = word.split("=")[0]
            if name.startswith("--") and name != "--" and name not in self.flags():
                self.error(f"unknown flag {name!r}.{self._instead(name)}")
        values, unknown = self.parse_known_args(list(argv))
        if unknown:
            self.error(f"unknown argument {unknown[0]!r}")
        found = {name: _frozen(value) for name, value in vars(values).items()}
        for leaf in leaves(kind):
            if leaf.spec.metadata["positional"]:
                self._settle(found, leaf.spec)
        try:
            return from_flat(kind, found)
        except ConfigError as error:
            self.error(str(error))

    def _instead(self, name: str) -> str:
        """Return what a flag of another tool is called here, or the nearest flag."""
        for ours in ELSEWHERE.get(name, ()):
            flag, _, value = ours.partition(" ")
            action = self._option_string_actions.get(flag)
            if action is not None and self._takes(action, value):
                return f" Use {ours!r}"
        return did_you_mean(name, self.flags(), least=_LEAST_OF_FLAGS)

    def _takes(self, action: argparse.Action, value: str) -> bool:
        return not value or action.choices is None or value in action.choices

    def _settle(self, found: dict[str, Any], spec: dataclasses.Field[Any]) -> None:
        """Take the value that stood alone for the flag's, unless there are both or neither."""
        flag, alone = found[spec.name], found.pop(_ALONE + spec.name)
        if flag is not None and alone is not None:
            self.error(f"both {alone!r} and {flag_of(spec.name)} {flag}; give one")
        found[spec.name] = alone if flag is None else flag
        if found[spec.name] is None and spec.default is dataclasses.MISSING:
            self.error(f"the following arguments are required: {flag_of(spec.name)}")


def add_flags(parser: argparse.ArgumentParser, kind: type) -> None:
    """Add one flag for each option of the dataclass `kind` and its sections to the parser."""
    for leaf in leaves(kind):
        spec, meta = leaf.spec, leaf.spec.metadata
        names = [flag_of(spec.name), *meta["aliases"]]
        if meta["positional"]:
            parser.add_argument(_ALONE + spec.name, nargs="?", help=argparse.SUPPRESS)
        if meta["refused"]:
            parser.add_argument(
                *names, dest=spec.name, action=_Refuse, sentence=meta["refused"], nargs="?",
                help=argparse.SUPPRESS,
            )  # fmt: skip
            continue
        required = spec.default is dataclasses.MISSING and not meta["positional"]
        # argparse puts values into help texts at each %; ours are plain sentences.
        sentence = str(meta["help"]).replace("%", "%%")
        settings: dict[str, Any] = {"dest": spec.name, "help": sentence}
        if required:
            settings["required"] = True
        else:
            missing = spec.default is dataclasses.MISSING
            settings["default"] = None if missing else spec.default
        if leaf.hint is bool:
            settings["action"] = argparse.BooleanOptionalAction if spec.default else "store_true"
        else:
            settings |= _value_settings(leaf.hint, meta)
        parser.add_argument(*names, **settings)
        if meta["former"]:
            hidden = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS, "required": False}
            parser.add_argument(flag_of(meta["former"]), **{**settings, **hidden})


def _value_settings(hint: Any, meta: Mapping[str, Any]) -> dict[str, Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        hint = next(a for a in args if a is not type(None))
        origin, args = typing.get_origin(hint), typing.get_args(hint)
    settings: dict[str, Any] = {"metavar": meta.get("metavar"), "type": hint}
    if meta["parse"]:
        return {**settings, "type": meta["parse"]}
    if hint is Path:
        settings["type"] = _path
    if origin is tuple:
        settings |= {"type": args[0], "nargs": "+"}
    if meta.get("choices"):
        settings |= {"choices": list(meta["choices"]), "type": _chosen(list(meta["choices"]))}
    return settings


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("is empty, expected a path")
    return Path(text)


def _chosen(choices: list[str]) -> Callable[[str], str]:
    def parse(word: str) -> str:
        if word not in choices:
            hint = did_you_mean(word, choices)
            raise argparse.ArgumentTypeError(
                f"{word!r} is not known.{hint} Choose from: {', '.join(choices)}"
            )
        return word

    return parse


class _Refuse(argparse.Action):
    """A flag that other tools have and this one leaves out on purpose."""

    def __init__(self, *args: Any, sentence: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sentence = sentence

    def __call__(self, parser: Any, namespace: Any, values: Any, flag: str | None = None) -> None:
        parser.error(f"{flag}: {self.sentence}")


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _config_path(argv: Sequence[str]) -> Path | None:
    for i, word in enumerate(argv):
        if word.startswith("--config="):
            return Path(word.split("=", 1)[1])
        if word == "--config" and i + 1 < len(argv):
            return Path(argv[i + 1])
    return None


def config_flags(path: Path, kind: type) -> list[str]:
    """Read a `--config` file as a list of flags.

    Raises:
        ConfigError: It cannot be read, or holds a key that is no option of `kind`.
    """
    return flags_from(read_config(path), kind, f"--config {path}")


def read_config(path: Path) -> Mapping[str, Any]:
    """Read a `--config` file: YAML where PyYAML is installed, else JSON.

    Raises:
        ConfigError: It cannot be read, or holds something else than keys and values.
    """
    try:
        content = _parse_config(path.read_text(encoding="utf-8"), path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"--config {path} holds {type(content).__name__}, expected keys: values")
    return {key: _as_argument(value) for key, value in content.items()}


def flags_from(content: Mapping[str, Any], kind: type, where: str) -> list[str]:
    """Turn keys and values into a list of flags.

    Args:
        content: The keys are names of options of `kind`, with dashes or underscores.
        kind: The dataclass.
        where: What a message calls the keys' origin.

    Raises:
        ConfigError: A key is no option of `kind`.
    """
    defaults = defaults_of(kind)
    flags: list[str] = []
    plain = {str(key).replace("-", "_"): value for key, value in content.items()}
    for name, value in current_names(plain, kind).items():
        flag = flag_of(name)
        if name not in defaults or name == "config":
            raise ConfigError(f"{where}: unknown key {name!r}.{did_you_mean(name, defaults)}")
        if value is None:
            continue
        if isinstance(value, bool):
            # Nothing for `name: false` where false is the default already.
            off = [flag.replace("--", "--no-", 1)] if defaults[name] is True else []
            flags += [flag] if value else off
        elif isinstance(value, list):
            flags += [flag, *map(str, value)]
        else:
            flags += [flag, str(value)]
    return flags


def _as_argument(value: Any) -> Any:
    """Return text as the command line gives it: names of files are bytes, here of UTF-8."""
    if isinstance(value, str):
        return os.fsdecode(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, list):
        return [_as_argument(one) for one in value]
    return value


def _parse_config(text: str, path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(text)
    try:
        import yaml  # an extra on development machines; the device may do without
    except ImportError:
        raise ConfigError(
            f"--config {path} needs PyYAML, which is not installed; write the same keys as .json"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def guarded(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run a command line's `main`: errors as one line on stderr, and the exit code they stand for.

    0 done, 1 failed, 2 wrong use, 130 interrupted. A traceback only with `--verbose`.
    """
    _usable_streams()
    try:
        return main(argv)
    except EdgeError as error:
        return _failed(str(error), EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED,
                       traceback_too="--verbose" in argv)  # fmt: skip
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout went away (`edge run ... | head`): nothing is wrong. What
        # is still buffered goes nowhere, or the interpreter would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        # A disk, a permission, a limit of this machine: no fault of the program, so no traceback.
        where = f"{error.filename}: " if error.filename is not None else ""
        return _failed(f"{where}{error.strerror or error}", EXIT_FAILED,
                       traceback_too="--verbose" in argv)  # fmt: skip


def _usable_streams() -> None:
    """Give closed streams (`>&-`) a sink, and let a narrow encoding escape what it lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Open until the interpreter ends, as the stream in whose place it stands would be.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _failed(sentence: str, code: int, *, traceback_too: bool) -> int:
    """Say the sentence, last of all, and return the exit code."""
    if traceback_too:
        sys.stderr.write(redact(traceback.format_exc()))
    sys.stderr.write(f"error: {redact(' '.join(sentence.split()))}\n")
    return code
