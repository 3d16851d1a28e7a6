from __future__ import annotations

from pathlib import Path

import pytest

from runtime.probes import Rapl
from tests.runtime.probes.conftest import Tree, by_name, values

_ROOT = "sys/class/powercap"


def _zone(zone: str, name: str, microjoules: str, most: int) -> dict[str, str]:
    return {
        f"{_ROOT}/{zone}/name": name, f"{_ROOT}/{zone}/energy_uj": microjoules,
        f"{_ROOT}/{zone}/max_energy_range_uj": str(most),
    }  # fmt: skip


LAPTOP = {
    **_zone("intel-rapl:0", "package-0", "160143525019", 262143328850),
    **_zone("intel-rapl:0:0", "core", "41302513977", 262143328850),
    **_zone("intel-rapl:0:1", "uncore", "1105131776", 262143328850),
    **_zone("intel-rapl:1", "psys", "98012345678", 262143328850),
    **_zone("intel-rapl-mmio:0", "package-0", "160143525019", 262143328850),
}
SERVER = {
    **_zone("intel-rapl:0", "package-0", "1000000", 65532610987),
    **_zone("intel-rapl:0:0", "dram", "500000", 65712999613),
    **_zone("intel-rapl:1", "package-1", "2000000", 65532610987),
}
AMD = _zone("intel-rapl:0", "package-0", "31337000000", 65532610987)


@pytest.mark.parametrize(
    ("files", "totals", "others"),
    [
        pytest.param(
            LAPTOP, {"package-0": 160143.525},
            {"package-0 core": 41302.514, "package-0 uncore": 1105.132, "psys": 98012.346},
            id="laptop",
        ),
        pytest.param(
            SERVER, {"package-0": 1.0, "package-1": 2.0}, {"package-0 dram": 0.5}, id="server"
        ),
        pytest.param(AMD, {"package-0": 31337.0}, {}, id="AMD"),
    ],
)  # fmt: skip
def test_counters_in_joules_each_package_once(
    tree: Tree, files: dict[str, str], totals: dict[str, float], others: dict[str, float]
) -> None:
    found = Rapl(tree(files)).read()
    assert values([r for r in found if r.total], "energy") == totals
    assert values([r for r in found if not r.total], "energy") == others
    assert all(r.wraps_at > 60_000 for r in found)


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        pytest.param("energy_uj", "", "empty", id="empty"),
        pytest.param("energy_uj", "-1", "cannot be true", id="below zero"),
        pytest.param("energy_uj", "99999999999999", "beyond max_energy_range_uj", id="beyond"),
        pytest.param("max_energy_range_uj", "?", "max_energy_range_uj", id="no range"),
    ],
)
def test_a_counter_that_cannot_be_right_is_unknown(
    tree: Tree, file: str, text: str, reason: str
) -> None:
    found = Rapl(tree({**AMD, f"{_ROOT}/intel-rapl:0/{file}": text})).read()
    assert found[0].value is None
    assert reason in found[0].reason


def test_a_counter_for_root_says_how_to_open_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(AMD)
    read = Path.read_bytes

    def closed(path: Path) -> bytes:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", closed)
    found = by_name(Rapl(root).read(), "energy")["package-0"]
    assert found.value is None
    assert "sudo chmod a+r" in found.reason


def test_a_virtual_machine_has_none(tree: Tree) -> None:
    assert "virtual machine" in str(Rapl(tree({})).missing())
